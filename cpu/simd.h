/* What op functions of MMX, SSE and AVX instructions share: operands.
 *
 * Memory sources are read before anything changes; so MMX functions fetch first and call
 * mmx_begin() after it. SSE forms leave bytes 16 to 31 of a register alone (SDM vol. 1, 14.3).
 */
#ifndef CPU_SIMD_H
#define CPU_SIMD_H

#include "cpu/fastmem.h"

#define VEC_INLINE static inline __attribute__((always_inline))

/* Any MMX instruction clears TOP and, but for EMMS, marks all x87 registers valid (SDM vol. 1,
 * 9.5). */
static inline void mmx_begin(struct cpu *cpu)
{
    cpu->fpu.top = 0;
    cpu->fpu.tags = 0xff;
}

static inline uint64_t mmx_get(const struct cpu *cpu, unsigned n)
{
    return cpu->fpu.st[n & 7].mant; /* REX bits do not extend MMX registers */
}

static inline void mmx_set(struct cpu *cpu, unsigned n, uint64_t v)
{
    cpu->fpu.st[n & 7] = (struct fpreg){.mant = v, .se = 0xffff};
}

/* The Q operand: an MMX register, or size bytes of memory (4 or 8). */
VEC_INLINE bool mmx_src(struct cpu *cpu, const struct insn *i, unsigned size, uint64_t *v)
{
    if (!insn_is_mem(i)) {
        *v = mmx_get(cpu, i->rm);
        return true;
    }
    return fast_load(cpu, i->seg, insn_ea(cpu, i), size, v);
}

/* The W operand: n bytes in guest order, in the register itself or in buf; NULL on a fault. */
VEC_INLINE const uint8_t *vec_src(struct cpu *cpu, const struct insn *i, uint8_t *buf, unsigned n)
{
    if (!insn_is_mem(i))
        return cpu->xmm[i->rm].b;
    return vec_load(cpu, i, buf, n) ? buf : NULL;
}

/* The Ey operand's size: 8 with REX.W (VEX.W) in 64-bit code, which alone can have it. */
static inline unsigned insn_y_size(const struct cpu *cpu, const struct insn *i)
{
    return (i->prefix & PFX_REXW) && cpu_code64(cpu) ? 8 : 4;
}

/* An E operand of a vector instruction: size bytes (1, 2, 4, 8) of memory, or the low part of a
 * general register, which is never one of AH to BH. */
VEC_INLINE bool gpr_src(struct cpu *cpu, const struct insn *i, unsigned size, uint64_t *v)
{
    if (!insn_is_mem(i)) {
        *v = cpu->r[i->rm];
        return true;
    }
    return fast_load(cpu, i->seg, insn_ea(cpu, i), size, v);
}

#endif
