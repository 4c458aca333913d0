/* How the interpreter's handlers reach memory. VAR is the flavour of address arithmetic the block's
 * mode allows: 0 64-bit code, 1 flat 32-bit segments, 2 everything else (full segment checks).
 */
#ifndef CPU_INTERP_MEM_H
#define CPU_INTERP_MEM_H

#include "cpu/decode.h"
#include "cpu/exec.h"
#include "cpu/flags.h"

#define INTERP_VARIANTS 3

extern const insn_fn interp_table_8[][HF_COUNT][INTERP_VARIANTS];
extern const insn_fn interp_table_16[][HF_COUNT][INTERP_VARIANTS];
extern const insn_fn interp_table_32[][HF_COUNT][INTERP_VARIANTS];
extern const insn_fn interp_table_64[][HF_COUNT][INTERP_VARIANTS];

/* What MODIFY_DST declares in forms with a memory destination; these stand in for it where a body is
 * only parsed, in forms its instruction does not have. */
static void *const rmw_ = NULL;
static const uint64_t rmw_ea_ = 0, rmw_old_ = 0;

/* Slow ways, in interp.c: all checks; the value read is in cpu->temp. False: fault recorded. */
bool interp_load_slow(struct cpu *cpu, const struct insn *i, uint64_t ea, unsigned size);
bool interp_modify_slow(struct cpu *cpu, const struct insn *i, uint64_t ea, unsigned size);
bool interp_store_slow(struct cpu *cpu, const struct insn *i, uint64_t ea, uint64_t v,
                       unsigned size);
/* The write after interp_modify_slow, which read old: atomic if the instruction is. False also if the
 * instruction comes again. */
bool interp_modified_slow(struct cpu *cpu, const struct insn *i, uint64_t ea, uint64_t old,
                          uint64_t v, unsigned size);
bool interp_push_slow(struct cpu *cpu, const struct insn *i, uint64_t sp, uint64_t v,
                      unsigned size);
bool interp_pop_slow(struct cpu *cpu, const struct insn *i, uint64_t sp, unsigned size);

/* Host address of [lin, lin+size) on a TLB hit, else NULL: the one compare of mmu/mmu.h. */
static inline __attribute__((always_inline)) void *interp_tlb(struct cpu *cpu, uint64_t lin,
                                                              unsigned size, bool write)
{
    const struct tlb_entry *e = &cpu->tlb[(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];
    if (LIKELY((write ? e->write : e->read) == ((lin + size - 1) & PAGE_MASK)))
        return (void *)(uintptr_t)(lin + e->addend);
    return NULL;
}

static inline __attribute__((always_inline)) void *
interp_host(struct cpu *cpu, const struct insn *i, uint64_t ea, unsigned size, bool write, int var)
{
    if (var == 2)
        return NULL;
    return interp_tlb(cpu, var == 0 ? ea + cpu->seg_base[i->seg] : ea, size, write);
}

/* Near branch targets where neither flat variant applies. */
static inline bool interp_bad_target(const struct cpu *cpu, uint64_t target)
{
    if (cpu_code64(cpu))
        return (uint64_t)((int64_t)(target << 16) >> 16) != target;
    return target > cpu->seg[SEG_CS].limit;
}

static inline void interp_set_sp(struct cpu *cpu, uint64_t sp)
{
    reg_set(cpu, REG_SP, sp, cpu_stack_size(cpu));
}

/* Conditions of several flags. After a subtraction, the most common case by far, they are one
 * comparison of its operands, shifted up to the top of 64 bits. */
static inline bool interp_cf(const struct cpu *cpu)
{
    if (LIKELY(cpu->cc_op >> 2 == CC_SUB)) {
        unsigned drop = 64 - (8u << (cpu->cc_op & 3));
        return cpu->cc_a << drop < (cpu->cc_a - cpu->cc_res) << drop;
    }
    return flags_cf(cpu);
}

static inline bool interp_be(const struct cpu *cpu)
{
    return flags_zf(cpu) || interp_cf(cpu);
}

static inline bool interp_less(const struct cpu *cpu)
{
    if (cpu->cc_op >> 2 == CC_SUB) {
        unsigned drop = 64 - (8u << (cpu->cc_op & 3));
        int64_t a = (int64_t)(cpu->cc_a << drop);
        int64_t b = (int64_t)((cpu->cc_a - cpu->cc_res) << drop);
        return a < b;
    }
    return flags_sf(cpu) != flags_of(cpu);
}

static inline bool interp_less_equal(const struct cpu *cpu)
{
    return flags_zf(cpu) || interp_less(cpu);
}

#endif
