/* SSE floating-point arithmetic: ADD SUB MUL DIV SQRT MIN MAX RCP RSQRT, horizontal and alternating
 * additions, dot products; LDMXCSR and STMXCSR.
 */
#include "cpu/sse_fp.h"

/* ---- add, sub, mul, div ----------------------------------------------------------------------- */

SSE_INLINE f32 soft_f32(enum fp_op op, struct fp_env *e, f32 a, f32 b)
{
    switch (op) {
    case FPOP_ADD:
        return f32_add(e, a, b);
    case FPOP_SUB:
        return f32_sub(e, a, b);
    case FPOP_MUL:
        return f32_mul(e, a, b);
    default:
        return f32_div(e, a, b);
    }
}

SSE_INLINE f64 soft_f64(enum fp_op op, struct fp_env *e, f64 a, f64 b)
{
    switch (op) {
    case FPOP_ADD:
        return f64_add(e, a, b);
    case FPOP_SUB:
        return f64_sub(e, a, b);
    case FPOP_MUL:
        return f64_mul(e, a, b);
    default:
        return f64_div(e, a, b);
    }
}

SSE_INLINE bool arith_ss(struct cpu *cpu, const struct insn *i, enum fp_op op)
{
    uint8_t *dst = cpu->xmm[i->reg].b;
    f32 b, r;

    if (!sse_src32(cpu, i, &b))
        return false;
    if (!sse_host_usable(cpu) || !host_f32_op(op, ld32(dst), b, &r)) {
        struct fp_env e = sse_env(cpu);
        r = soft_f32(op, &e, ld32(dst), b);
        if (!sse_commit(cpu, &e))
            return false;
    }
    st32(dst, r);
    return true;
}

SSE_INLINE bool arith_sd(struct cpu *cpu, const struct insn *i, enum fp_op op)
{
    uint8_t *dst = cpu->xmm[i->reg].b;
    f64 b, r;

    if (!sse_src64(cpu, i, &b))
        return false;
    if (!sse_host_usable(cpu) || !host_f64_op(op, ld64(dst), b, &r)) {
        struct fp_env e = sse_env(cpu);
        r = soft_f64(op, &e, ld64(dst), b);
        if (!sse_commit(cpu, &e))
            return false;
    }
    st64(dst, r);
    return true;
}

/* r[n] = a[n] op b[n], the operation of odd elements possibly another. */
SSE_INLINE bool vector_f32(struct cpu *cpu, enum fp_op even, enum fp_op odd, const f32 *a,
                           const f32 *b, uint8_t *dst)
{
    bool host = sse_host_usable(cpu);
    f32 r[4];

    if (host && even == odd && host_f32x4_op(even, a, b, r)) {
        for (unsigned n = 0; n < 4; n++)
            st32(dst + n * 4, r[n]);
        return true;
    }
    struct fp_env e = sse_env(cpu);
    for (unsigned n = 0; n < 4; n++) {
        enum fp_op op = n & 1 ? odd : even;
        if (!host || !host_f32_op(op, a[n], b[n], &r[n]))
            r[n] = soft_f32(op, &e, a[n], b[n]);
    }
    if (UNLIKELY(e.flags) && !sse_commit(cpu, &e))
        return false;
    for (unsigned n = 0; n < 4; n++)
        st32(dst + n * 4, r[n]);
    return true;
}

SSE_INLINE bool vector_f64(struct cpu *cpu, enum fp_op even, enum fp_op odd, const f64 *a,
                           const f64 *b, uint8_t *dst)
{
    bool host = sse_host_usable(cpu);
    f64 r[2];

    if (host && host_f64_op(even, a[0], b[0], &r[0]) && host_f64_op(odd, a[1], b[1], &r[1])) {
        st64(dst, r[0]);
        st64(dst + 8, r[1]);
        return true;
    }
    struct fp_env e = sse_env(cpu);
    for (unsigned n = 0; n < 2; n++) {
        enum fp_op op = n & 1 ? odd : even;
        if (!host || !host_f64_op(op, a[n], b[n], &r[n]))
            r[n] = soft_f64(op, &e, a[n], b[n]);
    }
    if (UNLIKELY(e.flags) && !sse_commit(cpu, &e))
        return false;
    st64(dst, r[0]);
    st64(dst + 8, r[1]);
    return true;
}

SSE_INLINE bool packed_f32(struct cpu *cpu, const struct insn *i, enum fp_op even, enum fp_op odd)
{
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, 16);
    f32 a[4], b[4];

    if (!src)
        return false;
    for (unsigned n = 0; n < 4; n++) {
        a[n] = ld32(dst + n * 4);
        b[n] = ld32(src + n * 4);
    }
    return vector_f32(cpu, even, odd, a, b, dst);
}

SSE_INLINE bool packed_f64(struct cpu *cpu, const struct insn *i, enum fp_op even, enum fp_op odd)
{
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, 16);

    if (!src)
        return false;
    f64 a[2] = {ld64(dst), ld64(dst + 8)}, b[2] = {ld64(src), ld64(src + 8)};
    return vector_f64(cpu, even, odd, a, b, dst);
}

#define ARITH(name, op)                                                                            \
    bool op_##name##ss(struct cpu *cpu, const struct insn *i)                                      \
    {                                                                                              \
        return arith_ss(cpu, i, op);                                                               \
    }                                                                                              \
    bool op_##name##sd(struct cpu *cpu, const struct insn *i)                                      \
    {                                                                                              \
        return arith_sd(cpu, i, op);                                                               \
    }                                                                                              \
    bool op_##name##ps(struct cpu *cpu, const struct insn *i)                                      \
    {                                                                                              \
        return packed_f32(cpu, i, op, op);                                                         \
    }                                                                                              \
    bool op_##name##pd(struct cpu *cpu, const struct insn *i)                                      \
    {                                                                                              \
        return packed_f64(cpu, i, op, op);                                                         \
    }

ARITH(add, FPOP_ADD)
ARITH(sub, FPOP_SUB)
ARITH(mul, FPOP_MUL)
ARITH(div, FPOP_DIV)

bool op_addsubps(struct cpu *cpu, const struct insn *i)
{
    return packed_f32(cpu, i, FPOP_SUB, FPOP_ADD);
}

bool op_addsubpd(struct cpu *cpu, const struct insn *i)
{
    return packed_f64(cpu, i, FPOP_SUB, FPOP_ADD);
}

/* ---- horizontal ------------------------------------------------------------------------------- */

SSE_INLINE bool horizontal_f32(struct cpu *cpu, const struct insn *i, enum fp_op op)
{
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, 16);

    if (!src)
        return false;
    f32 a[4] = {ld32(dst), ld32(dst + 8), ld32(src), ld32(src + 8)};
    f32 b[4] = {ld32(dst + 4), ld32(dst + 12), ld32(src + 4), ld32(src + 12)};
    return vector_f32(cpu, op, op, a, b, dst);
}

SSE_INLINE bool horizontal_f64(struct cpu *cpu, const struct insn *i, enum fp_op op)
{
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, 16);

    if (!src)
        return false;
    f64 a[2] = {ld64(dst), ld64(src)}, b[2] = {ld64(dst + 8), ld64(src + 8)};
    return vector_f64(cpu, op, op, a, b, dst);
}

bool op_haddps(struct cpu *cpu, const struct insn *i)
{
    return horizontal_f32(cpu, i, FPOP_ADD);
}

bool op_haddpd(struct cpu *cpu, const struct insn *i)
{
    return horizontal_f64(cpu, i, FPOP_ADD);
}

bool op_hsubps(struct cpu *cpu, const struct insn *i)
{
    return horizontal_f32(cpu, i, FPOP_SUB);
}

bool op_hsubpd(struct cpu *cpu, const struct insn *i)
{
    return horizontal_f64(cpu, i, FPOP_SUB);
}

/* Products where imm[7:4] says, else 0; added in pairs; the sum goes where imm[3:0] says. Each
 * stage raises its own exceptions (SDM vol. 2, DPPS). Each element adds in an order of its own, as
 * Intel's processors do, which shows only in which of several NaNs it gets. */
bool op_dpps(struct cpu *cpu, const struct insn *i)
{
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, 16);
    unsigned imm = (uint8_t)i->imm;
    struct fp_env e = sse_env(cpu);
    f32 p[4] = {0};

    if (!src)
        return false;
    for (unsigned n = 0; n < 4; n++)
        if (imm >> (4 + n) & 1)
            p[n] = f32_mul(&e, ld32(dst + n * 4), ld32(src + n * 4));
    if (!sse_commit(cpu, &e))
        return false;
    f32 pair[4], sum[4];
    for (unsigned n = 0; n < 4; n++)
        pair[n] = f32_add(&e, p[n ^ 1], p[n]);
    if (!sse_commit(cpu, &e))
        return false;
    for (unsigned n = 0; n < 4; n++)
        sum[n] = f32_add(&e, pair[n], pair[n ^ 2]);
    if (!sse_commit(cpu, &e))
        return false;
    for (unsigned n = 0; n < 4; n++)
        st32(dst + n * 4, imm >> n & 1 ? sum[n] : 0);
    return true;
}

bool op_dppd(struct cpu *cpu, const struct insn *i)
{
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, 16);
    unsigned imm = (uint8_t)i->imm;
    struct fp_env e = sse_env(cpu);
    f64 p[2] = {0};

    if (!src)
        return false;
    for (unsigned n = 0; n < 2; n++)
        if (imm >> (4 + n) & 1)
            p[n] = f64_mul(&e, ld64(dst + n * 8), ld64(src + n * 8));
    if (!sse_commit(cpu, &e))
        return false;
    f64 sum[2] = {f64_add(&e, p[0], p[1]), f64_add(&e, p[1], p[0])};
    if (!sse_commit(cpu, &e))
        return false;
    for (unsigned n = 0; n < 2; n++)
        st64(dst + n * 8, imm >> n & 1 ? sum[n] : 0);
    return true;
}

/* ---- minimum and maximum ---------------------------------------------------------------------- */

SSE_INLINE f32 min_max_f32(struct fp_env *e, f32 a, f32 b, bool max)
{
    if (LIKELY(f32_is_ordinary(a) && f32_is_ordinary(b)))
        return (max ? host_f32(a) > host_f32(b) : host_f32(a) < host_f32(b)) ? a : b;
    return max ? f32_max(e, a, b) : f32_min(e, a, b);
}

SSE_INLINE f64 min_max_f64(struct fp_env *e, f64 a, f64 b, bool max)
{
    if (LIKELY(f64_is_ordinary(a) && f64_is_ordinary(b)))
        return (max ? host_f64(a) > host_f64(b) : host_f64(a) < host_f64(b)) ? a : b;
    return max ? f64_max(e, a, b) : f64_min(e, a, b);
}

#define MIN_MAX(name, max)                                                                         \
    bool op_##name##ss(struct cpu *cpu, const struct insn *i)                                      \
    {                                                                                              \
        struct fp_env e = sse_env(cpu);                                                            \
        uint8_t *dst = cpu->xmm[i->reg].b;                                                         \
        f32 b;                                                                                     \
        if (!sse_src32(cpu, i, &b))                                                                \
            return false;                                                                          \
        f32 r = min_max_f32(&e, ld32(dst), b, max);                                                \
        if (!sse_commit(cpu, &e))                                                                  \
            return false;                                                                          \
        st32(dst, r);                                                                              \
        return true;                                                                               \
    }                                                                                              \
    bool op_##name##sd(struct cpu *cpu, const struct insn *i)                                      \
    {                                                                                              \
        struct fp_env e = sse_env(cpu);                                                            \
        uint8_t *dst = cpu->xmm[i->reg].b;                                                         \
        f64 b;                                                                                     \
        if (!sse_src64(cpu, i, &b))                                                                \
            return false;                                                                          \
        f64 r = min_max_f64(&e, ld64(dst), b, max);                                                \
        if (!sse_commit(cpu, &e))                                                                  \
            return false;                                                                          \
        st64(dst, r);                                                                              \
        return true;                                                                               \
    }                                                                                              \
    bool op_##name##ps(struct cpu *cpu, const struct insn *i)                                      \
    {                                                                                              \
        struct fp_env e = sse_env(cpu);                                                            \
        uint8_t buf[16], *dst = cpu->xmm[i->reg].b;                                                \
        const uint8_t *src = vec_src(cpu, i, buf, 16);                                             \
        f32 r[4];                                                                                  \
        if (!src)                                                                                  \
            return false;                                                                          \
        for (unsigned n = 0; n < 4; n++)                                                           \
            r[n] = min_max_f32(&e, ld32(dst + n * 4), ld32(src + n * 4), max);                     \
        if (!sse_commit(cpu, &e))                                                                  \
            return false;                                                                          \
        for (unsigned n = 0; n < 4; n++)                                                           \
            st32(dst + n * 4, r[n]);                                                               \
        return true;                                                                               \
    }                                                                                              \
    bool op_##name##pd(struct cpu *cpu, const struct insn *i)                                      \
    {                                                                                              \
        struct fp_env e = sse_env(cpu);                                                            \
        uint8_t buf[16], *dst = cpu->xmm[i->reg].b;                                                \
        const uint8_t *src = vec_src(cpu, i, buf, 16);                                             \
        if (!src)                                                                                  \
            return false;                                                                          \
        f64 r0 = min_max_f64(&e, ld64(dst), ld64(src), max);                                       \
        f64 r1 = min_max_f64(&e, ld64(dst + 8), ld64(src + 8), max);                               \
        if (!sse_commit(cpu, &e))                                                                  \
            return false;                                                                          \
        st64(dst, r0);                                                                             \
        st64(dst + 8, r1);                                                                         \
        return true;                                                                               \
    }

MIN_MAX(min, false)
MIN_MAX(max, true)

/* ---- square roots, approximations ------------------------------------------------------------- */

SSE_INLINE f32 sqrt_f32(struct fp_env *e, bool host, f32 a)
{
    f32 r;
    return host && host_f32_sqrt(a, &r) ? r : f32_sqrt(e, a);
}

SSE_INLINE f64 sqrt_f64(struct fp_env *e, bool host, f64 a)
{
    f64 r;
    return host && host_f64_sqrt(a, &r) ? r : f64_sqrt(e, a);
}

bool op_sqrtss(struct cpu *cpu, const struct insn *i)
{
    struct fp_env e = sse_env(cpu);
    f32 a;

    if (!sse_src32(cpu, i, &a))
        return false;
    f32 r = sqrt_f32(&e, sse_host_usable(cpu), a);
    if (!sse_commit(cpu, &e))
        return false;
    st32(cpu->xmm[i->reg].b, r);
    return true;
}

bool op_sqrtsd(struct cpu *cpu, const struct insn *i)
{
    struct fp_env e = sse_env(cpu);
    f64 a;

    if (!sse_src64(cpu, i, &a))
        return false;
    f64 r = sqrt_f64(&e, sse_host_usable(cpu), a);
    if (!sse_commit(cpu, &e))
        return false;
    st64(cpu->xmm[i->reg].b, r);
    return true;
}

bool op_sqrtps(struct cpu *cpu, const struct insn *i)
{
    struct fp_env e = sse_env(cpu);
    uint8_t buf[16];
    const uint8_t *src = vec_src(cpu, i, buf, 16);
    f32 r[4];

    if (!src)
        return false;
    for (unsigned n = 0; n < 4; n++)
        r[n] = sqrt_f32(&e, sse_host_usable(cpu), ld32(src + n * 4));
    if (!sse_commit(cpu, &e))
        return false;
    for (unsigned n = 0; n < 4; n++)
        st32(cpu->xmm[i->reg].b + n * 4, r[n]);
    return true;
}

bool op_sqrtpd(struct cpu *cpu, const struct insn *i)
{
    struct fp_env e = sse_env(cpu);
    uint8_t buf[16];
    const uint8_t *src = vec_src(cpu, i, buf, 16);

    if (!src)
        return false;
    f64 r0 = sqrt_f64(&e, sse_host_usable(cpu), ld64(src));
    f64 r1 = sqrt_f64(&e, sse_host_usable(cpu), ld64(src + 8));
    if (!sse_commit(cpu, &e))
        return false;
    st64(cpu->xmm[i->reg].b, r0);
    st64(cpu->xmm[i->reg].b + 8, r1);
    return true;
}

SSE_INLINE bool approx_ss(struct cpu *cpu, const struct insn *i, f32 (*fn)(f32))
{
    f32 a;

    if (!sse_src32(cpu, i, &a))
        return false;
    st32(cpu->xmm[i->reg].b, fn(a));
    return true;
}

SSE_INLINE bool approx_ps(struct cpu *cpu, const struct insn *i, f32 (*fn)(f32))
{
    uint8_t buf[16];
    const uint8_t *src = vec_src(cpu, i, buf, 16);

    if (!src)
        return false;
    for (unsigned n = 0; n < 4; n++)
        st32(cpu->xmm[i->reg].b + n * 4, fn(ld32(src + n * 4)));
    return true;
}

bool op_rcpss(struct cpu *cpu, const struct insn *i)
{
    return approx_ss(cpu, i, f32_rcp_approx);
}

bool op_rcpps(struct cpu *cpu, const struct insn *i)
{
    return approx_ps(cpu, i, f32_rcp_approx);
}

bool op_rsqrtss(struct cpu *cpu, const struct insn *i)
{
    return approx_ss(cpu, i, f32_rsqrt_approx);
}

bool op_rsqrtps(struct cpu *cpu, const struct insn *i)
{
    return approx_ps(cpu, i, f32_rsqrt_approx);
}

/* ---- MXCSR ------------------------------------------------------------------------------------ */

bool op_ldmxcsr(struct cpu *cpu, const struct insn *i)
{
    uint32_t v;

    if (!fast_load32(cpu, i, &v))
        return false;
    if (v & ~0xffffu) /* reserved; all of the lower half exists: MXCSR_MASK is 0xffff */
        return cpu_gp0(cpu);
    cpu->fpu.mxcsr = v;
    return true;
}

bool op_stmxcsr(struct cpu *cpu, const struct insn *i)
{
    return fast_store32(cpu, i, cpu->fpu.mxcsr);
}
