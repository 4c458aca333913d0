/* What SSE floating-point instructions share: MXCSR as a struct fp_env, and exceptions.
 *
 * Results are computed into locals, then sse_commit() takes the flags over and may raise #XM, and
 * only then a register is written. Alignment of 16-byte operands has been checked (AT_ALIGN). The
 * first operand is the destination, which matters to NaNs.
 */
#ifndef CPU_SSE_FP_H
#define CPU_SSE_FP_H

#include "cpu/hostfloat.h"
#include "cpu/simd.h"
#include "cpu/softfloat.h"

#define SSE_INLINE static inline __attribute__((always_inline))

SSE_INLINE struct fp_env sse_env(const struct cpu *cpu)
{
    uint32_t m = cpu->fpu.mxcsr;
    return (struct fp_env){
        .rounding = m >> 13 & 3,
        .precision = 64,
        .masks = m >> 7 & FP_ALL,
        .daz = m >> 6 & 1,
        .ftz = m >> 15 & 1,
    };
}

/* The host's operations may be tried: see hostfloat.h. */
SSE_INLINE bool sse_host_usable(const struct cpu *cpu)
{
    return LIKELY((cpu->fpu.mxcsr & HOSTFLOAT_MXCSR_MASK) == HOSTFLOAT_MXCSR);
}

/* Flags into MXCSR. An unmasked exception found before the operation in any element hides those
 * found after it in all (SDM vol. 1, 11.5.3). False: #XM has been recorded, or #UD where the
 * system has not said that it knows #XM. */
static inline bool sse_commit(struct cpu *cpu, struct fp_env *e)
{
    unsigned flags = e->flags, unmasked = flags & ~e->masks;

    if (unmasked & FP_PRE)
        flags &= FP_PRE;
    cpu->fpu.mxcsr |= flags;
    if (LIKELY(!unmasked))
        return true;
    return cpu_raise(cpu, cpu->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
}

/* The W operand of scalar instructions. */
SSE_INLINE bool sse_src32(struct cpu *cpu, const struct insn *i, f32 *v)
{
    if (!insn_is_mem(i)) {
        *v = ld32(cpu->xmm[i->rm].b);
        return true;
    }
    return fast_load32(cpu, i, v);
}

SSE_INLINE bool sse_src64(struct cpu *cpu, const struct insn *i, f64 *v)
{
    if (!insn_is_mem(i)) {
        *v = ld64(cpu->xmm[i->rm].b);
        return true;
    }
    return fast_load64(cpu, i, v);
}

#endif
