/* What op functions of VEX-encoded vector instructions share.
 *
 * insn.size is 16 or 32; a result clears everything above it up to bit 255 (SDM vol. 1, 14.1.1).
 * Most of these instructions do to each 128-bit lane what an SSE instruction does to its register,
 * with a destination that is no source. They come about in one of three ways:
 *
 *   - integer kernels of cpu/simd_kernels.h, called for each lane (cpu/avx.c);
 *   - avx_lanes(): the SSE instruction's own function, run for each lane between two registers that
 *     are borrowed for it;
 *   - avx_through(): the same for 128-bit and scalar forms, where the SSE function fetches its
 *     source, whatever it is, itself.
 */
#ifndef CPU_AVX_H
#define CPU_AVX_H

#include "cpu/simd_kernels.h"

/* Destination register n has got its bytes 0 to size - 1. */
VEC_INLINE void avx_clear_above(struct cpu *cpu, unsigned n, unsigned size)
{
    if (size < 32)
        memset(cpu->xmm[n].b + size, 0, 32 - size);
}

VEC_INLINE void avx_put(struct cpu *cpu, unsigned n, const void *v, unsigned size)
{
    memmove(cpu->xmm[n].b, v, size);
    avx_clear_above(cpu, n, size);
}

/* The W operand of the instruction's own size, in the register itself or in buf. */
VEC_INLINE const uint8_t *avx_src(struct cpu *cpu, const struct insn *i, union vec *buf)
{
    return i->size == 32 ? vec_src(cpu, i, buf->b, 32) : vec_src(cpu, i, buf->b, 16);
}

/* The register in the immediate's top half; eight registers outside 64-bit code. */
static inline unsigned avx_imm_reg(const struct cpu *cpu, const struct insn *i)
{
    return (unsigned)i->imm >> 4 & (cpu_code64(cpu) ? 15 : 7);
}

/* op on each lane: from `in` bytes of the source to `out` bytes of the result, 16 or fewer. */
bool avx_lanes(struct cpu *cpu, const struct insn *i, op_fn op, unsigned in, unsigned out);
/* op with VEX.vvvv as its first source; the result is the destination's low lane. */
bool avx_through(struct cpu *cpu, const struct insn *i, op_fn op);

#endif
