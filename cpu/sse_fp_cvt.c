/* SSE floating-point conversions, comparisons and rounding to integers.
 */
#include "cpu/decode.h"
#include "cpu/sse_fp.h"

/* ---- CMPccPS ... ------------------------------------------------------------------------------ */

/* Predicates 0 to 7: EQ LT LE UNORD NEQ NLT NLE ORD; LT, LE and their opposites signal quiet NaNs.
 * VEX forms have four times as many: bit 3 takes unordered operands the other way, bit 4 signals
 * the other way. */
static unsigned predicate_of(const struct insn *i)
{
    return (unsigned)i->imm & (insn_row(i)->attr & AT_AVX ? 31 : 7);
}

static bool predicate(unsigned imm, enum fp_order o)
{
    enum { LT = 1, EQ = 2, GT = 4, UN = 8, ALL = 15 };
    static const uint8_t holds_for[8] = {EQ, LT, LT | EQ, UN, EQ | UN, LT | UN, LT | EQ | UN, 0};
    unsigned set = holds_for[(imm & 3) | (imm >> 1 & 4)] ^ (imm & 4 ? ALL : 0);

    return set >> (o + 1) & 1; /* FP_LESS is -1, FP_UNORDERED 2 */
}

static bool predicate_quiet(unsigned imm)
{
    return ((imm & 3) == 0 || (imm & 3) == 3) ^ (imm >> 4 & 1);
}

/* Of plain numbers, which any host compares alike. */
SSE_INLINE enum fp_order order_host(double a, double b)
{
    return a < b ? FP_LESS : a > b ? FP_GREATER : FP_EQUAL;
}

SSE_INLINE enum fp_order order_f32(struct fp_env *e, f32 a, f32 b, bool quiet)
{
    if (LIKELY(f32_is_plain(a) && f32_is_plain(b)))
        return order_host(host_f32(a), host_f32(b));
    return f32_compare(e, a, b, quiet);
}

SSE_INLINE enum fp_order order_f64(struct fp_env *e, f64 a, f64 b, bool quiet)
{
    if (LIKELY(f64_is_plain(a) && f64_is_plain(b)))
        return order_host(host_f64(a), host_f64(b));
    return f64_compare(e, a, b, quiet);
}

bool op_cmpss(struct cpu *cpu, const struct insn *i)
{
    struct fp_env e = sse_env(cpu);
    uint8_t *dst = cpu->xmm[i->reg].b;
    unsigned imm = predicate_of(i);
    f32 b;

    if (!sse_src32(cpu, i, &b))
        return false;
    bool r = predicate(imm, order_f32(&e, ld32(dst), b, predicate_quiet(imm)));
    if (!sse_commit(cpu, &e))
        return false;
    st32(dst, r ? UINT32_MAX : 0);
    return true;
}

bool op_cmpsd(struct cpu *cpu, const struct insn *i)
{
    struct fp_env e = sse_env(cpu);
    uint8_t *dst = cpu->xmm[i->reg].b;
    unsigned imm = predicate_of(i);
    f64 b;

    if (!sse_src64(cpu, i, &b))
        return false;
    bool r = predicate(imm, order_f64(&e, ld64(dst), b, predicate_quiet(imm)));
    if (!sse_commit(cpu, &e))
        return false;
    st64(dst, r ? UINT64_MAX : 0);
    return true;
}

bool op_cmpps(struct cpu *cpu, const struct insn *i)
{
    struct fp_env e = sse_env(cpu);
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, 16);
    unsigned imm = predicate_of(i);
    bool r[4];

    if (!src)
        return false;
    for (unsigned n = 0; n < 4; n++)
        r[n] = predicate(imm, order_f32(&e, ld32(dst + n * 4), ld32(src + n * 4),
                                        predicate_quiet(imm)));
    if (!sse_commit(cpu, &e))
        return false;
    for (unsigned n = 0; n < 4; n++)
        st32(dst + n * 4, r[n] ? UINT32_MAX : 0);
    return true;
}

bool op_cmppd(struct cpu *cpu, const struct insn *i)
{
    struct fp_env e = sse_env(cpu);
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, 16);
    unsigned imm = predicate_of(i);
    bool r[2];

    if (!src)
        return false;
    for (unsigned n = 0; n < 2; n++)
        r[n] = predicate(imm, order_f64(&e, ld64(dst + n * 8), ld64(src + n * 8),
                                        predicate_quiet(imm)));
    if (!sse_commit(cpu, &e))
        return false;
    for (unsigned n = 0; n < 2; n++)
        st64(dst + n * 8, r[n] ? UINT64_MAX : 0);
    return true;
}

/* ---- COMISS, UCOMISS, COMISD, UCOMISD --------------------------------------------------------- */

/* All six arithmetic flags are written, so the lazy state is set outright. */
SSE_INLINE void order_to_flags(struct cpu *cpu, enum fp_order o)
{
    cpu->cc_op = CC_FLAGS * 4;
    cpu->cc_a = o == FP_LESS ? FL_CF : o == FP_UNORDERED ? FL_CF | FL_PF : 0;
    cpu->cc_res = o == FP_LESS || o == FP_GREATER;
}

SSE_INLINE bool comi_f32(struct cpu *cpu, const struct insn *i, bool quiet)
{
    f32 a = ld32(cpu->xmm[i->reg].b), b;

    if (!sse_src32(cpu, i, &b))
        return false;
    if (LIKELY(f32_is_plain(a) && f32_is_plain(b))) {
        order_to_flags(cpu, order_host(host_f32(a), host_f32(b)));
        return true;
    }
    struct fp_env e = sse_env(cpu);
    enum fp_order o = f32_compare(&e, a, b, quiet);
    if (!sse_commit(cpu, &e))
        return false;
    order_to_flags(cpu, o);
    return true;
}

SSE_INLINE bool comi_f64(struct cpu *cpu, const struct insn *i, bool quiet)
{
    f64 a = ld64(cpu->xmm[i->reg].b), b;

    if (!sse_src64(cpu, i, &b))
        return false;
    if (LIKELY(f64_is_plain(a) && f64_is_plain(b))) {
        order_to_flags(cpu, order_host(host_f64(a), host_f64(b)));
        return true;
    }
    struct fp_env e = sse_env(cpu);
    enum fp_order o = f64_compare(&e, a, b, quiet);
    if (!sse_commit(cpu, &e))
        return false;
    order_to_flags(cpu, o);
    return true;
}

bool op_comiss(struct cpu *cpu, const struct insn *i)
{
    return comi_f32(cpu, i, false);
}

bool op_ucomiss(struct cpu *cpu, const struct insn *i)
{
    return comi_f32(cpu, i, true);
}

bool op_comisd(struct cpu *cpu, const struct insn *i)
{
    return comi_f64(cpu, i, false);
}

bool op_ucomisd(struct cpu *cpu, const struct insn *i)
{
    return comi_f64(cpu, i, true);
}

/* ---- ROUNDPS ... ------------------------------------------------------------------------------ */

/* imm[2]: MXCSR's rounding, else imm[1:0]; imm[3]: inexactness is no exception. */
static struct fp_env round_env(const struct cpu *cpu, unsigned imm)
{
    struct fp_env e = sse_env(cpu);
    if (!(imm & 4))
        e.rounding = imm & 3;
    return e;
}

#define ROUND_SCALAR(name, bits)                                                                   \
    bool op_##name(struct cpu *cpu, const struct insn *i)                                          \
    {                                                                                              \
        struct fp_env e = round_env(cpu, (unsigned)i->imm);                                        \
        f##bits a;                                                                                 \
        if (!sse_src##bits(cpu, i, &a))                                                            \
            return false;                                                                          \
        f##bits r = f##bits##_round_int(&e, a, !(i->imm & 8));                                     \
        if (!sse_commit(cpu, &e))                                                                  \
            return false;                                                                          \
        st##bits(cpu->xmm[i->reg].b, r);                                                           \
        return true;                                                                               \
    }

#define ROUND_PACKED(name, bits)                                                                   \
    bool op_##name(struct cpu *cpu, const struct insn *i)                                          \
    {                                                                                              \
        struct fp_env e = round_env(cpu, (unsigned)i->imm);                                        \
        uint8_t buf[16], r[16];                                                                    \
        const uint8_t *src = vec_src(cpu, i, buf, 16);                                             \
        if (!src)                                                                                  \
            return false;                                                                          \
        for (unsigned n = 0; n < 16; n += bits / 8)                                                \
            st##bits(r + n, f##bits##_round_int(&e, ld##bits(src + n), !(i->imm & 8)));            \
        if (!sse_commit(cpu, &e))                                                                  \
            return false;                                                                          \
        memcpy(cpu->xmm[i->reg].b, r, 16);                                                         \
        return true;                                                                               \
    }

ROUND_SCALAR(roundss, 32)
ROUND_SCALAR(roundsd, 64)
ROUND_PACKED(roundps, 32)
ROUND_PACKED(roundpd, 64)

/* ---- between the formats ---------------------------------------------------------------------- */

bool op_cvtss2sd(struct cpu *cpu, const struct insn *i)
{
    f32 a;

    if (!sse_src32(cpu, i, &a))
        return false;
    if (LIKELY(f32_is_ordinary(a))) {
        st64(cpu->xmm[i->reg].b, guest_f64((double)host_f32(a)));
        return true;
    }
    struct fp_env e = sse_env(cpu);
    f64 r = f32_to_f64(&e, a);
    if (!sse_commit(cpu, &e))
        return false;
    st64(cpu->xmm[i->reg].b, r);
    return true;
}

bool op_cvtsd2ss(struct cpu *cpu, const struct insn *i)
{
    f64 a;

    if (!sse_src64(cpu, i, &a))
        return false;
    if (sse_host_usable(cpu) && f64_is_ordinary(a)) {
        f32 r = guest_f32((float)host_f64(a));
        if (f32_is_inside(r)) {
            st32(cpu->xmm[i->reg].b, r);
            return true;
        }
    }
    struct fp_env e = sse_env(cpu);
    f32 r = f64_to_f32(&e, a);
    if (!sse_commit(cpu, &e))
        return false;
    st32(cpu->xmm[i->reg].b, r);
    return true;
}

bool op_cvtps2pd(struct cpu *cpu, const struct insn *i)
{
    struct fp_env e = sse_env(cpu);
    f64 v;

    if (!sse_src64(cpu, i, &v))
        return false;
    f64 r0 = f32_to_f64(&e, (f32)v), r1 = f32_to_f64(&e, (f32)(v >> 32));
    if (!sse_commit(cpu, &e))
        return false;
    st64(cpu->xmm[i->reg].b, r0);
    st64(cpu->xmm[i->reg].b + 8, r1);
    return true;
}

bool op_cvtpd2ps(struct cpu *cpu, const struct insn *i)
{
    struct fp_env e = sse_env(cpu);
    uint8_t buf[16];
    const uint8_t *src = vec_src(cpu, i, buf, 16);

    if (!src)
        return false;
    f32 r0 = f64_to_f32(&e, ld64(src)), r1 = f64_to_f32(&e, ld64(src + 8));
    if (!sse_commit(cpu, &e))
        return false;
    st32(cpu->xmm[i->reg].b, r0);
    st32(cpu->xmm[i->reg].b + 4, r1);
    st64(cpu->xmm[i->reg].b + 8, 0);
    return true;
}

/* ---- to general registers --------------------------------------------------------------------- */

SSE_INLINE bool f32_to_gpr(struct cpu *cpu, const struct insn *i, bool truncate)
{
    struct fp_env e = sse_env(cpu);
    unsigned size = insn_y_size(cpu, i);
    f32 a;

    if (!sse_src32(cpu, i, &a))
        return false;
    int64_t r = f32_to_int(&e, a, size * 8, truncate ? FR_ZERO : (enum fp_round)e.rounding);
    if (!sse_commit(cpu, &e))
        return false;
    reg_set(cpu, i->reg, (uint64_t)r, size);
    return true;
}

SSE_INLINE bool f64_to_gpr(struct cpu *cpu, const struct insn *i, bool truncate)
{
    unsigned size = insn_y_size(cpu, i);
    f64 a;

    if (!sse_src64(cpu, i, &a))
        return false;
    /* Truncation is C's own conversion, where it is in range and PE is set or not due. */
    unsigned exp = (unsigned)(a >> 52 & 0x7ff);
    if (truncate && exp - 1 < 1022 + size * 8 - 1) {
        int64_t v = (int64_t)host_f64(a);
        if ((cpu->fpu.mxcsr & HOSTFLOAT_MXCSR_MASK & ~0x6000) == HOSTFLOAT_MXCSR ||
            guest_f64((double)v) == a) {
            reg_set(cpu, i->reg, (uint64_t)v, size);
            return true;
        }
    }
    struct fp_env e = sse_env(cpu);
    int64_t r = f64_to_int(&e, a, size * 8, truncate ? FR_ZERO : (enum fp_round)e.rounding);
    if (!sse_commit(cpu, &e))
        return false;
    reg_set(cpu, i->reg, (uint64_t)r, size);
    return true;
}

bool op_cvtss2si(struct cpu *cpu, const struct insn *i)
{
    return f32_to_gpr(cpu, i, false);
}

bool op_cvttss2si(struct cpu *cpu, const struct insn *i)
{
    return f32_to_gpr(cpu, i, true);
}

bool op_cvtsd2si(struct cpu *cpu, const struct insn *i)
{
    return f64_to_gpr(cpu, i, false);
}

bool op_cvttsd2si(struct cpu *cpu, const struct insn *i)
{
    return f64_to_gpr(cpu, i, true);
}

/* ---- from general registers ------------------------------------------------------------------- */

SSE_INLINE bool gpr_signed(struct cpu *cpu, const struct insn *i, int64_t *v)
{
    unsigned size = insn_y_size(cpu, i);
    uint64_t u;

    if (!gpr_src(cpu, i, size, &u))
        return false;
    *v = size == 8 ? (int64_t)u : (int32_t)u;
    return true;
}

bool op_cvtsi2ss(struct cpu *cpu, const struct insn *i)
{
    struct fp_env e = sse_env(cpu);
    int64_t v;

    if (!gpr_signed(cpu, i, &v))
        return false;
    f32 r = i64_to_f32(&e, v);
    if (!sse_commit(cpu, &e))
        return false;
    st32(cpu->xmm[i->reg].b, r);
    return true;
}

bool op_cvtsi2sd(struct cpu *cpu, const struct insn *i)
{
    int64_t v;

    if (!gpr_signed(cpu, i, &v))
        return false;
    if (LIKELY(v == (int32_t)v)) { /* exact */
        st64(cpu->xmm[i->reg].b, guest_f64((double)v));
        return true;
    }
    struct fp_env e = sse_env(cpu);
    f64 r = i64_to_f64(&e, v);
    if (!sse_commit(cpu, &e))
        return false;
    st64(cpu->xmm[i->reg].b, r);
    return true;
}

/* ---- packed integers -------------------------------------------------------------------------- */

bool op_cvtdq2ps(struct cpu *cpu, const struct insn *i)
{
    struct fp_env e = sse_env(cpu);
    uint8_t buf[16];
    const uint8_t *src = vec_src(cpu, i, buf, 16);
    f32 r[4];

    if (!src)
        return false;
    for (unsigned n = 0; n < 4; n++)
        r[n] = i64_to_f32(&e, (int32_t)ld32(src + n * 4));
    if (!sse_commit(cpu, &e))
        return false;
    for (unsigned n = 0; n < 4; n++)
        st32(cpu->xmm[i->reg].b + n * 4, r[n]);
    return true;
}

bool op_cvtdq2pd(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if (!sse_src64(cpu, i, &v))
        return false;
    st64(cpu->xmm[i->reg].b, guest_f64((double)(int32_t)v));
    st64(cpu->xmm[i->reg].b + 8, guest_f64((double)(int32_t)(v >> 32)));
    return true;
}

SSE_INLINE bool f32_to_dq(struct cpu *cpu, const struct insn *i, bool truncate)
{
    struct fp_env e = sse_env(cpu);
    enum fp_round rounding = truncate ? FR_ZERO : (enum fp_round)e.rounding;
    uint8_t buf[16];
    const uint8_t *src = vec_src(cpu, i, buf, 16);
    uint32_t r[4];

    if (!src)
        return false;
    for (unsigned n = 0; n < 4; n++)
        r[n] = (uint32_t)f32_to_int(&e, ld32(src + n * 4), 32, rounding);
    if (!sse_commit(cpu, &e))
        return false;
    for (unsigned n = 0; n < 4; n++)
        st32(cpu->xmm[i->reg].b + n * 4, r[n]);
    return true;
}

SSE_INLINE bool f64_to_dq(struct cpu *cpu, const struct insn *i, bool truncate)
{
    struct fp_env e = sse_env(cpu);
    enum fp_round rounding = truncate ? FR_ZERO : (enum fp_round)e.rounding;
    uint8_t buf[16];
    const uint8_t *src = vec_src(cpu, i, buf, 16);

    if (!src)
        return false;
    uint32_t r0 = (uint32_t)f64_to_int(&e, ld64(src), 32, rounding);
    uint32_t r1 = (uint32_t)f64_to_int(&e, ld64(src + 8), 32, rounding);
    if (!sse_commit(cpu, &e))
        return false;
    st32(cpu->xmm[i->reg].b, r0);
    st32(cpu->xmm[i->reg].b + 4, r1);
    st64(cpu->xmm[i->reg].b + 8, 0);
    return true;
}

bool op_cvtps2dq(struct cpu *cpu, const struct insn *i)
{
    return f32_to_dq(cpu, i, false);
}

bool op_cvttps2dq(struct cpu *cpu, const struct insn *i)
{
    return f32_to_dq(cpu, i, true);
}

bool op_cvtpd2dq(struct cpu *cpu, const struct insn *i)
{
    return f64_to_dq(cpu, i, false);
}

bool op_cvttpd2dq(struct cpu *cpu, const struct insn *i)
{
    return f64_to_dq(cpu, i, true);
}

/* ---- with MMX registers: register forms touch the x87 state ---------------------------------- */

bool op_cvtpi2ps(struct cpu *cpu, const struct insn *i)
{
    struct fp_env e = sse_env(cpu);
    uint64_t v;

    if (!mmx_src(cpu, i, 8, &v))
        return false;
    f32 r0 = i64_to_f32(&e, (int32_t)v), r1 = i64_to_f32(&e, (int32_t)(v >> 32));
    if (!insn_is_mem(i))
        mmx_begin(cpu); /* whether or not #XM follows: so do processors */
    if (!sse_commit(cpu, &e))
        return false;
    st32(cpu->xmm[i->reg].b, r0);
    st32(cpu->xmm[i->reg].b + 4, r1);
    return true;
}

bool op_cvtpi2pd(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if (!mmx_src(cpu, i, 8, &v))
        return false;
    if (!insn_is_mem(i))
        mmx_begin(cpu);
    st64(cpu->xmm[i->reg].b, guest_f64((double)(int32_t)v));
    st64(cpu->xmm[i->reg].b + 8, guest_f64((double)(int32_t)(v >> 32)));
    return true;
}

SSE_INLINE bool f32_to_mmx(struct cpu *cpu, const struct insn *i, bool truncate)
{
    struct fp_env e = sse_env(cpu);
    enum fp_round rounding = truncate ? FR_ZERO : (enum fp_round)e.rounding;
    uint64_t v;

    if (!sse_src64(cpu, i, &v))
        return false;
    uint32_t r0 = (uint32_t)f32_to_int(&e, (f32)v, 32, rounding);
    uint32_t r1 = (uint32_t)f32_to_int(&e, (f32)(v >> 32), 32, rounding);
    mmx_begin(cpu);
    if (!sse_commit(cpu, &e))
        return false;
    mmx_set(cpu, i->reg, (uint64_t)r1 << 32 | r0);
    return true;
}

SSE_INLINE bool f64_to_mmx(struct cpu *cpu, const struct insn *i, bool truncate)
{
    struct fp_env e = sse_env(cpu);
    enum fp_round rounding = truncate ? FR_ZERO : (enum fp_round)e.rounding;
    uint8_t buf[16];
    const uint8_t *src = vec_src(cpu, i, buf, 16);

    if (!src)
        return false;
    uint32_t r0 = (uint32_t)f64_to_int(&e, ld64(src), 32, rounding);
    uint32_t r1 = (uint32_t)f64_to_int(&e, ld64(src + 8), 32, rounding);
    mmx_begin(cpu);
    if (!sse_commit(cpu, &e))
        return false;
    mmx_set(cpu, i->reg, (uint64_t)r1 << 32 | r0);
    return true;
}

bool op_cvtps2pi(struct cpu *cpu, const struct insn *i)
{
    return f32_to_mmx(cpu, i, false);
}

bool op_cvttps2pi(struct cpu *cpu, const struct insn *i)
{
    return f32_to_mmx(cpu, i, true);
}

bool op_cvtpd2pi(struct cpu *cpu, const struct insn *i)
{
    return f64_to_mmx(cpu, i, false);
}

bool op_cvttpd2pi(struct cpu *cpu, const struct insn *i)
{
    return f64_to_mmx(cpu, i, true);
}
