/* Guest memory at the speed of a TLB hit, for instruction bodies and op functions.
 *
 * One compare decides (see mmu/mmu.h): on a hit the access is the host's own load or store; all
 * else goes to the mem_ functions of cpu/exec.h, which check and fault as the manual says. The
 * short way is open only where segmentation cannot object: 64-bit code (a non-canonical address is in no
 * TLB tag), or 32-bit flat segments; and where no alignment is checked (MODE_AC).
 *
 * The functions return false when a fault has been recorded. A size must be a constant where the
 * caller is to be fast: everything here is inlined.
 */
#ifndef CPU_FASTMEM_H
#define CPU_FASTMEM_H

#include "cpu/exec.h"

#define FASTMEM_INLINE static inline __attribute__((always_inline))

/* The linear address of seg:ea if nothing needs checking. */
FASTMEM_INLINE bool fast_linear(const struct cpu *cpu, unsigned seg, uint64_t ea, bool write,
                                uint64_t *lin)
{
    uint32_t mode = cpu->mode & (MODE_CODE64 | MODE_FLAT | MODE_AC);

    if (LIKELY((mode & (MODE_CODE64 | MODE_AC)) == MODE_CODE64)) {
        *lin = ea + cpu->seg_base[seg];
        return true;
    }
    /* ES, CS, SS and DS are the first four; code segments are never writable. A flat access past
     * 4 GiB has its last byte in a page that no tag names outside 64-bit code. */
    *lin = ea;
    return mode == MODE_FLAT && seg <= SEG_DS && !(write && seg == SEG_CS);
}

/* True with the host's address of [lin, lin+size) if it may be read (written) directly. */
FASTMEM_INLINE bool fast_host(struct cpu *cpu, uint64_t lin, unsigned size, bool write,
                              uint8_t **host)
{
    const struct tlb_entry *e = tlb_slot(&cpu->mmu, cpu->mmu_index, lin);
    uint64_t tag = write ? e->write : e->read;

    *host = (uint8_t *)(uintptr_t)(lin + e->addend);
    return tag == ((lin + size - 1) & PAGE_MASK);
}

/* Integers of 1, 2, 4 or 8 bytes at seg:ea. */
FASTMEM_INLINE bool fast_load(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size,
                              uint64_t *v)
{
    uint64_t lin;
    uint8_t *host;

    if (LIKELY(fast_linear(cpu, seg, ea, false, &lin) &&
               fast_host(cpu, lin, size, false, &host))) {
        *v = ld_sized(host, size);
        return true;
    }
    return mem_read(cpu, seg, ea, size, v);
}

FASTMEM_INLINE bool fast_store(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size,
                               uint64_t v)
{
    uint64_t lin;
    uint8_t *host;

    if (LIKELY(fast_linear(cpu, seg, ea, true, &lin) &&
               fast_host(cpu, lin, size, true, &host))) {
        st_sized(host, v, size);
        return true;
    }
    return mem_write(cpu, seg, ea, size, v);
}

/* The memory operand of an instruction as one integer: fast_load8(cpu, i, &v) and so on. */
#define FASTMEM_SIZED(bits)                                                                        \
    FASTMEM_INLINE bool fast_load##bits(struct cpu *cpu, const struct insn *i, uint##bits##_t *v)  \
    {                                                                                              \
        uint64_t wide;                                                                             \
        bool ok = fast_load(cpu, i->seg, insn_ea(cpu, i), bits / 8, &wide);                        \
        if (LIKELY(ok))                                                                            \
            *v = (uint##bits##_t)wide;                                                             \
        return ok;                                                                                 \
    }                                                                                              \
    FASTMEM_INLINE bool fast_store##bits(struct cpu *cpu, const struct insn *i, uint##bits##_t v)  \
    {                                                                                              \
        return fast_store(cpu, i->seg, insn_ea(cpu, i), bits / 8, v);                              \
    }
FASTMEM_SIZED(8)
FASTMEM_SIZED(16)
FASTMEM_SIZED(32)
FASTMEM_SIZED(64)
#undef FASTMEM_SIZED

/* As fast_load, but alignment is never checked: VMASKMOV and gathers (SDM vol. 2, 2.4, types 6 and
 * 12). */
FASTMEM_INLINE bool fast_load_any(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size,
                                  uint64_t *v)
{
    uint8_t buf[8];
    uint64_t lin;
    uint8_t *host;

    if (LIKELY(fast_linear(cpu, seg, ea, false, &lin) &&
               fast_host(cpu, lin, size, false, &host))) {
        *v = ld_sized(host, size);
        return true;
    }
    if (!mem_read_bytes(cpu, seg, ea, buf, size))
        return false;
    *v = ld_sized(buf, size);
    return true;
}

/* The memory operand of an instruction as n bytes in guest order (2 to 64). Those of general size are
 * subject to alignment checks. */
FASTMEM_INLINE bool vec_load(struct cpu *cpu, const struct insn *i, void *dst, unsigned n)
{
    uint64_t ea = insn_ea(cpu, i), lin, v;
    uint8_t *host;

    if (LIKELY(fast_linear(cpu, i->seg, ea, false, &lin) &&
               fast_host(cpu, lin, n, false, &host))) {
        memcpy(dst, host, n);
        return true;
    }
    if (n == 10 && !mem_check_m80(cpu, i->seg, ea, false))
        return false;
    if (n > 8)
        return mem_read_bytes(cpu, i->seg, ea, dst, n);
    if (!mem_read(cpu, i->seg, ea, n, &v))
        return false;
    st_sized(dst, v, n);
    return true;
}

FASTMEM_INLINE bool vec_store(struct cpu *cpu, const struct insn *i, const void *src, unsigned n)
{
    uint64_t ea = insn_ea(cpu, i), lin;
    uint8_t *host;

    if (LIKELY(fast_linear(cpu, i->seg, ea, true, &lin) &&
               fast_host(cpu, lin, n, true, &host))) {
        memcpy(host, src, n);
        return true;
    }
    if (n == 10 && !mem_check_m80(cpu, i->seg, ea, true))
        return false;
    return n <= 8 ? mem_write(cpu, i->seg, ea, n, ld_sized(src, n))
                  : mem_write_bytes(cpu, i->seg, ea, src, n);
}

#endif
