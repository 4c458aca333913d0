/* FMA and F16C.
 */
#include "cpu/avx.h"
#include "cpu/decode.h"
#include "cpu/sse_fp.h"

#include <math.h>

/* ---- FMA ------------------------------------------------------------------------------------- */

/* What the opcode's low byte says: the high digit, 9, A or B, how the operands (destination, vvvv,
 * rm) are used, the low one which signs there are. Negations of even and odd elements differ in
 * VFMADDSUB and VFMSUBADD. */
struct fma {
    uint8_t a, b, c; /* operand numbers of a * b + c */
    uint8_t even, odd;
};

static struct fma fma_of(const struct insn *i)
{
    static const uint8_t order[3][3] = {{0, 2, 1}, {1, 0, 2}, {1, 2, 0}}; /* 132, 213, 231 */
    static const uint8_t signs[5] = {0 /* 6, 7 */, 0, FP_NEGATE_ADDEND, FP_NEGATE_PRODUCT,
                                     FP_NEGATE_PRODUCT | FP_NEGATE_ADDEND};
    unsigned opcode = insn_row(i)->opcode & 0xff, kind = opcode & 15;
    const uint8_t *use = order[(opcode >> 4) - 9];
    struct fma f = {use[0], use[1], use[2], signs[(kind - 6) / 2], signs[(kind - 6) / 2]};

    if (kind == 6)
        f.even = FP_NEGATE_ADDEND;
    else if (kind == 7)
        f.odd = FP_NEGATE_ADDEND;
    return f;
}

/* The C library's fma() rounds once whatever the host can do; so as in hostfloat.h, it may be used
 * for ordinary numbers whose result is ordinary and not at the edge of the range. */
SSE_INLINE f32 muladd_f32(struct fp_env *e, bool host, f32 a, f32 b, f32 c, unsigned negate)
{
    if (host && f32_is_ordinary(a) && f32_is_ordinary(b) && f32_is_ordinary(c)) {
        float x = host_f32(negate & FP_NEGATE_PRODUCT ? a ^ 0x80000000u : a);
        float z = host_f32(negate & FP_NEGATE_ADDEND ? c ^ 0x80000000u : c);
        f32 r = guest_f32(fmaf(x, host_f32(b), z));
        if ((r >> 23 & 0xff) - 2 < 0xfc)
            return r;
    }
    return f32_muladd(e, a, b, c, negate);
}

SSE_INLINE f64 muladd_f64(struct fp_env *e, bool host, f64 a, f64 b, f64 c, unsigned negate)
{
    if (host && f64_is_ordinary(a) && f64_is_ordinary(b) && f64_is_ordinary(c)) {
        double x = host_f64(negate & FP_NEGATE_PRODUCT ? a ^ 1ull << 63 : a);
        double z = host_f64(negate & FP_NEGATE_ADDEND ? c ^ 1ull << 63 : c);
        f64 r = guest_f64(fma(x, host_f64(b), z));
        if ((r >> 52 & 0x7ff) - 2 < 0x7fc)
            return r;
    }
    return f64_muladd(e, a, b, c, negate);
}

SSE_INLINE bool fma_vector(struct cpu *cpu, const struct insn *i, unsigned element, unsigned n,
                           bool scalar)
{
    struct fma f = fma_of(i);
    struct fp_env e = sse_env(cpu);
    bool host = sse_host_usable(cpu);
    union vec buf, r = cpu->xmm[i->reg];
    const uint8_t *op[3] = {cpu->xmm[i->reg].b, cpu->xmm[i->vvvv].b, NULL};

    op[2] = scalar ? vec_src(cpu, i, buf.b, element) : avx_src(cpu, i, &buf);
    if (!op[2])
        return false;
    for (unsigned k = 0; k < n; k++) {
        unsigned at = k * element, negate = k & 1 ? f.odd : f.even;
        const uint8_t *a = op[f.a] + at, *b = op[f.b] + at, *c = op[f.c] + at;
        if (element == 4)
            st32(r.b + at, muladd_f32(&e, host, ld32(a), ld32(b), ld32(c), negate));
        else
            st64(r.b + at, muladd_f64(&e, host, ld64(a), ld64(b), ld64(c), negate));
    }
    if (!sse_commit(cpu, &e))
        return false;
    avx_put(cpu, i->reg, r.b, scalar ? 16 : i->size);
    return true;
}

bool op_vfma_ps(struct cpu *cpu, const struct insn *i)
{
    return fma_vector(cpu, i, 4, i->size / 4, false);
}

bool op_vfma_pd(struct cpu *cpu, const struct insn *i)
{
    return fma_vector(cpu, i, 8, i->size / 8, false);
}

bool op_vfma_ss(struct cpu *cpu, const struct insn *i)
{
    return fma_vector(cpu, i, 4, 1, true);
}

bool op_vfma_sd(struct cpu *cpu, const struct insn *i)
{
    return fma_vector(cpu, i, 8, 1, true);
}

/* ---- F16C ------------------------------------------------------------------------------------ */

bool op_vcvtph2ps(struct cpu *cpu, const struct insn *i)
{
    struct fp_env e = sse_env(cpu);
    uint8_t buf[16];
    const uint8_t *src = cpu->xmm[i->rm].b;
    union vec r;

    if (insn_is_mem(i)) { /* as bytes: alignment is never checked */
        if (!mem_read_bytes(cpu, i->seg, insn_ea(cpu, i), buf, i->size / 2))
            return false;
        src = buf;
    }
    for (unsigned k = 0; k < i->size / 4; k++)
        st32(r.b + 4 * k, f16_to_f32(&e, ld16(src + 2 * k)));
    if (!sse_commit(cpu, &e))
        return false;
    avx_put(cpu, i->reg, r.b, i->size);
    return true;
}

/* As processors do it, MXCSR has the flags, or #XM is raised, before the store can fault. */
bool op_vcvtps2ph(struct cpu *cpu, const struct insn *i)
{
    struct fp_env e = sse_env(cpu);
    const uint8_t *src = cpu->xmm[i->reg].b;
    unsigned bytes = i->size / 2;
    uint8_t r[16];

    if (!(i->imm & 4))
        e.rounding = i->imm & 3;
    for (unsigned k = 0; k < i->size / 4; k++)
        st16(r + 2 * k, f32_to_f16(&e, ld32(src + 4 * k)));
    if (!sse_commit(cpu, &e))
        return false;
    if (insn_is_mem(i))
        return mem_write_bytes(cpu, i->seg, insn_ea(cpu, i), r, bytes);
    avx_put(cpu, i->rm, r, bytes);
    return true;
}
