/* VEX-encoded instructions that compute what MMX and SSE instructions do: see cpu/avx.h for how.
 * op_vx is the VEX form of x, of 128 and 256 bits, op_vx_imm the one that shifts by an immediate.
 */
#include "cpu/avx.h"

#include "cpu/softfloat.h"

/* ---- integer kernels ------------------------------------------------------------------------- */

VEC_INLINE bool avx_binary(struct cpu *cpu, const struct insn *i, lane_kernel *kernel, unsigned in,
                           unsigned out)
{
    uint8_t *dst = cpu->xmm[i->reg].b;
    const uint8_t *first = cpu->xmm[i->vvvv].b, *src;
    union vec buf;

    if (!(src = avx_src(cpu, i, &buf)))
        return false;
    for (unsigned at = 0; at < i->size; at += 16) {
        union lane a, b, d;
        lane_get(&a, first + at, 16, in);
        lane_get(&b, src + at, 16, in);
        kernel(&d, &a, &b, 16);
        lane_put(dst + at, &d, 16, out);
    }
    avx_clear_above(cpu, i->reg, i->size);
    return true;
}

#define OP_AVX(x, in, out)                                                                         \
    bool op_v##x(struct cpu *cpu, const struct insn *i)                                            \
    {                                                                                              \
        return avx_binary(cpu, i, k_##x, in, out);                                                 \
    }
KERNELS_MMX_SSE(OP_AVX)
KERNELS_MMX32_SSE(OP_AVX)
KERNELS_SSE(OP_AVX)
KERNELS_AVX(OP_AVX)

/* Bits of the immediate that each further lane has for itself. */
enum {
    LANE_STEP_pshufd = 0, LANE_STEP_pshuflw = 0, LANE_STEP_pshufhw = 0, LANE_STEP_shufps = 0,
    LANE_STEP_shufpd = 2, LANE_STEP_palignr = 0, LANE_STEP_pblendw = 0, LANE_STEP_blendps = 4,
    LANE_STEP_blendpd = 2, LANE_STEP_mpsadbw = 3, LANE_STEP_permilpd = 2,
};

VEC_INLINE bool avx_imm(struct cpu *cpu, const struct insn *i, lane_kernel_imm *kernel, unsigned in,
                        unsigned out, unsigned step)
{
    uint8_t *dst = cpu->xmm[i->reg].b;
    const uint8_t *first = cpu->xmm[i->vvvv].b, *src;
    unsigned imm = (uint8_t)i->imm;
    union vec buf;

    if (!(src = avx_src(cpu, i, &buf)))
        return false;
    for (unsigned at = 0; at < i->size; at += 16, imm >>= step) {
        union lane a, b, d;
        lane_get(&a, first + at, 16, in);
        lane_get(&b, src + at, 16, in);
        kernel(&d, &a, &b, imm, 16);
        lane_put(dst + at, &d, 16, out);
    }
    avx_clear_above(cpu, i->reg, i->size);
    return true;
}

#define OP_AVX_IMM(x, in, out)                                                                     \
    bool op_v##x(struct cpu *cpu, const struct insn *i)                                            \
    {                                                                                              \
        return avx_imm(cpu, i, k_##x, in, out, LANE_STEP_##x);                                     \
    }
KERNELS_SSE_IMM(OP_AVX_IMM)
KERNELS_AVX_IMM(OP_AVX_IMM)

#define OP_AVX_BLENDV(x, in, out)                                                                  \
    bool op_v##x(struct cpu *cpu, const struct insn *i)                                            \
    {                                                                                              \
        uint8_t *dst = cpu->xmm[i->reg].b;                                                         \
        const uint8_t *first = cpu->xmm[i->vvvv].b, *src;                                          \
        const uint8_t *by = cpu->xmm[avx_imm_reg(cpu, i)].b;                                       \
        union vec buf;                                                                             \
        if (!(src = avx_src(cpu, i, &buf)))                                                        \
            return false;                                                                          \
        for (unsigned at = 0; at < i->size; at += 16) {                                            \
            union lane a, b, mask, d;                                                              \
            lane_get(&a, first + at, 16, in);                                                      \
            lane_get(&b, src + at, 16, in);                                                        \
            lane_get(&mask, by + at, 16, in);                                                      \
            k_##x(&d, &a, &b, &mask, 16);                                                          \
            lane_put(dst + at, &d, 16, out);                                                       \
        }                                                                                          \
        avx_clear_above(cpu, i->reg, i->size);                                                     \
        return true;                                                                               \
    }
KERNELS_BLENDV(OP_AVX_BLENDV)

/* ---- shifts ---------------------------------------------------------------------------------- */

VEC_INLINE void avx_shift(struct cpu *cpu, const struct insn *i, unsigned to, unsigned from,
                          lane_kernel_shift *kernel, uint64_t count, unsigned element)
{
    for (unsigned at = 0; at < i->size; at += 16) {
        union lane a, d;
        lane_get(&a, cpu->xmm[from].b + at, 16, element);
        kernel(&d, &a, count, 16);
        lane_put(cpu->xmm[to].b + at, &d, 16, element);
    }
    avx_clear_above(cpu, to, i->size);
}

/* The count is 128 bits wide in 256-bit forms too; the immediate forms' destination is vvvv. */
#define OP_AVX_SHIFT(x, in, out)                                                                   \
    bool op_v##x(struct cpu *cpu, const struct insn *i)                                            \
    {                                                                                              \
        uint8_t buf[16];                                                                           \
        const uint8_t *src = vec_src(cpu, i, buf, 16);                                             \
        if (!src)                                                                                  \
            return false;                                                                          \
        avx_shift(cpu, i, i->reg, i->vvvv, k_##x, ld64(src), in);                                  \
        return true;                                                                               \
    }                                                                                              \
    bool op_v##x##_imm(struct cpu *cpu, const struct insn *i)                                      \
    {                                                                                              \
        avx_shift(cpu, i, i->vvvv, i->rm, k_##x, (uint8_t)i->imm, in);                             \
        return true;                                                                               \
    }
KERNELS_SHIFT(OP_AVX_SHIFT)

VEC_INLINE void shift_bytes_left(union lane *d, const union lane *a, uint64_t n, unsigned bytes)
{
    k_pslldq(d, a, a, (unsigned)n, bytes);
}

VEC_INLINE void shift_bytes_right(union lane *d, const union lane *a, uint64_t n, unsigned bytes)
{
    k_psrldq(d, a, a, (unsigned)n, bytes);
}

bool op_vpslldq(struct cpu *cpu, const struct insn *i)
{
    avx_shift(cpu, i, i->vvvv, i->rm, shift_bytes_left, (uint8_t)i->imm, 1);
    return true;
}

bool op_vpsrldq(struct cpu *cpu, const struct insn *i)
{
    avx_shift(cpu, i, i->vvvv, i->rm, shift_bytes_right, (uint8_t)i->imm, 1);
    return true;
}

/* ---- flags ----------------------------------------------------------------------------------- */

/* ZF: no bit of mask is set in both; CF: none in the source alone. */
VEC_INLINE bool avx_test(struct cpu *cpu, const struct insn *i, uint64_t mask)
{
    const uint8_t *dst = cpu->xmm[i->reg].b, *src;
    uint64_t both = 0, alone = 0;
    union vec buf;

    if (!(src = avx_src(cpu, i, &buf)))
        return false;
    for (unsigned at = 0; at < i->size; at += 8) {
        both |= ld64(src + at) & ld64(dst + at);
        alone |= ld64(src + at) & ~ld64(dst + at);
    }
    cpu_put_arith(cpu, (both & mask ? 0 : FL_ZF) | (alone & mask ? 0 : FL_CF), FL_ARITH);
    return true;
}

bool op_vptest(struct cpu *cpu, const struct insn *i)
{
    return avx_test(cpu, i, UINT64_MAX);
}

bool op_vtestps(struct cpu *cpu, const struct insn *i)
{
    return avx_test(cpu, i, 0x8000000080000000ull);
}

bool op_vtestpd(struct cpu *cpu, const struct insn *i)
{
    return avx_test(cpu, i, 0x8000000000000000ull);
}

/* ---- SSE functions for each lane ------------------------------------------------------------- */

/* An exception in one lane counts for all: flags are put together as sse_commit() does for the
 * elements of one lane. Sticky flags stay in sight of the function, which is faster with PE set,
 * unless an exception is unmasked and what was raised just now matters. */
bool avx_lanes(struct cpu *cpu, const struct insn *i, op_fn op, unsigned in, unsigned out)
{
    unsigned lanes = i->size / 16, k;
    uint32_t mxcsr = cpu->fpu.mxcsr, masks = mxcsr >> 7 & FP_ALL, flags = 0;
    union vec buf, first, second, kept[2], r;
    const uint8_t *src;
    struct insn one = *i;
    bool ok = true;

    if (insn_is_mem(i))
        src = vec_load(cpu, i, buf.b, in * lanes) ? buf.b : NULL;
    else
        src = cpu->xmm[i->rm].b;
    if (!src)
        return false;
    memcpy(second.b, src, in * lanes);
    first = cpu->xmm[i->vvvv];
    memcpy(kept, cpu->xmm, sizeof(kept));
    one.reg = 0;
    one.rm = 1;
    one.modrm = 0xc0;
    for (k = 0; k < lanes; k++) {
        memcpy(cpu->xmm[0].b, first.b + 16 * k, 16);
        memcpy(cpu->xmm[1].b, second.b + in * k, in);
        cpu->fpu.mxcsr = masks == FP_ALL ? mxcsr : mxcsr & ~(uint32_t)FP_ALL;
        ok &= op(cpu, &one);
        flags |= cpu->fpu.mxcsr & FP_ALL;
        memcpy(r.b + out * k, cpu->xmm[0].b, out);
    }
    memcpy(cpu->xmm, kept, sizeof(kept));
    if (flags & ~masks & FP_PRE)
        flags &= FP_PRE;
    cpu->fpu.mxcsr = mxcsr | flags;
    if (ok)
        avx_put(cpu, i->reg, r.b, out * lanes);
    return ok;
}

bool avx_through(struct cpu *cpu, const struct insn *i, op_fn op)
{
    unsigned n = i->rm == 0; /* a register that is not the source */
    union vec kept = cpu->xmm[n], r;
    struct insn one = *i;
    bool ok;

    one.reg = (uint8_t)n;
    memmove(cpu->xmm[n].b, cpu->xmm[i->vvvv].b, 16);
    ok = op(cpu, &one);
    r = cpu->xmm[n];
    cpu->xmm[n] = kept;
    if (ok)
        avx_put(cpu, i->reg, r.b, 16);
    return ok;
}

/* X(name of the SSE instruction, bytes of source for a lane, bytes of result) */
#define LANE_OPS(X)                                                                                \
    X(addps, 16, 16) X(addpd, 16, 16) X(subps, 16, 16) X(subpd, 16, 16)                            \
    X(mulps, 16, 16) X(mulpd, 16, 16) X(divps, 16, 16) X(divpd, 16, 16)                            \
    X(minps, 16, 16) X(minpd, 16, 16) X(maxps, 16, 16) X(maxpd, 16, 16)                            \
    X(sqrtps, 16, 16) X(sqrtpd, 16, 16) X(rsqrtps, 16, 16) X(rcpps, 16, 16)                        \
    X(haddps, 16, 16) X(haddpd, 16, 16) X(hsubps, 16, 16) X(hsubpd, 16, 16)                        \
    X(addsubps, 16, 16) X(addsubpd, 16, 16) X(cmpps, 16, 16) X(cmppd, 16, 16)                      \
    X(dpps, 16, 16) X(dppd, 16, 16) X(roundps, 16, 16) X(roundpd, 16, 16)                          \
    X(cvtdq2ps, 16, 16) X(cvtps2dq, 16, 16) X(cvttps2dq, 16, 16)                                   \
    X(cvtps2pd, 8, 16) X(cvtdq2pd, 8, 16)                                                          \
    X(movsldup, 16, 16) X(movshdup, 16, 16)                                                        \
    X(pmovsxbw, 8, 16) X(pmovsxbd, 4, 16) X(pmovsxbq, 2, 16) X(pmovsxwd, 8, 16)                    \
    X(pmovsxwq, 4, 16) X(pmovsxdq, 8, 16)                                                          \
    X(pmovzxbw, 8, 16) X(pmovzxbd, 4, 16) X(pmovzxbq, 2, 16) X(pmovzxwd, 8, 16)                    \
    X(pmovzxwq, 4, 16) X(pmovzxdq, 8, 16)                                                          \
    X(aesenc, 16, 16) X(aesenclast, 16, 16) X(aesdec, 16, 16) X(aesdeclast, 16, 16)                \
    X(pclmulqdq, 16, 16)                                                                           \
    X(gf2p8mulb, 16, 16) X(gf2p8affineqb, 16, 16) X(gf2p8affineinvqb, 16, 16)

#define OP_LANES(x, in, out)                                                                       \
    bool op_##x(struct cpu *, const struct insn *);                                                \
    bool op_v##x(struct cpu *cpu, const struct insn *i)                                            \
    {                                                                                              \
        return avx_lanes(cpu, i, op_##x, in, out);                                                 \
    }
LANE_OPS(OP_LANES)

/* To elements of half the size: a 128-bit form clears the destination's upper half. */
#define OP_NARROW(x)                                                                               \
    bool op_##x(struct cpu *, const struct insn *);                                                \
    bool op_v##x(struct cpu *cpu, const struct insn *i)                                            \
    {                                                                                              \
        if (!avx_lanes(cpu, i, op_##x, 16, 8))                                                     \
            return false;                                                                          \
        avx_clear_above(cpu, i->reg, i->size / 2);                                                 \
        return true;                                                                               \
    }
OP_NARROW(cvtpd2ps)
OP_NARROW(cvtpd2dq)
OP_NARROW(cvttpd2dq)

bool op_movddup(struct cpu *, const struct insn *);
bool op_vmovddup(struct cpu *cpu, const struct insn *i)
{
    return avx_lanes(cpu, i, op_movddup, i->size == 32 ? 16 : 8, 16);
}

/* 128 bits and scalars */
#define THROUGH_OPS(X)                                                                             \
    X(addss) X(addsd) X(subss) X(subsd) X(mulss) X(mulsd) X(divss) X(divsd) X(minss) X(minsd)      \
    X(maxss) X(maxsd) X(sqrtss) X(sqrtsd) X(rsqrtss) X(rcpss) X(cmpss) X(cmpsd) X(roundss)         \
    X(roundsd) X(cvtss2sd) X(cvtsd2ss) X(cvtsi2ss) X(cvtsi2sd)                                     \
    X(movss_load) X(movsd_load) X(movlps_load) X(movhps_load) X(movd_v_e) X(movq_load)             \
    X(pinsrb) X(pinsrw) X(pinsrd) X(insertps) X(aesimc) X(aeskeygenassist)

#define OP_THROUGH(x)                                                                              \
    bool op_##x(struct cpu *, const struct insn *);                                                \
    bool op_v##x(struct cpu *cpu, const struct insn *i)                                            \
    {                                                                                              \
        return avx_through(cpu, i, op_##x);                                                        \
    }
THROUGH_OPS(OP_THROUGH)

bool op_pcmpestrm(struct cpu *, const struct insn *);
bool op_pcmpistrm(struct cpu *, const struct insn *);

static bool string_mask(struct cpu *cpu, const struct insn *i, op_fn op)
{
    if (!op(cpu, i))
        return false;
    avx_clear_above(cpu, 0, 16);
    return true;
}

bool op_vpcmpestrm(struct cpu *cpu, const struct insn *i)
{
    return string_mask(cpu, i, op_pcmpestrm);
}

bool op_vpcmpistrm(struct cpu *cpu, const struct insn *i)
{
    return string_mask(cpu, i, op_pcmpistrm);
}
