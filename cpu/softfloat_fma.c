/* What FMA and F16C need of software floating point: a product added to without rounding between,
 * and half precision.
 */
#include "cpu/softfloat_impl.h"

static const struct fp_format fmt_f16 = {11, -14, 15};

/* The first NaN in the order a, b, c (SDM vol. 1, 14.5.2). */
static struct fp_res res_nan3(struct fp_env *e, struct fp_num a, struct fp_num b, struct fp_num c)
{
    if (a.cls == FC_SNAN || b.cls == FC_SNAN || c.cls == FC_SNAN)
        e->flags |= FP_IE;
    return res_nan(a.cls >= FC_QNAN ? a : b.cls >= FC_QNAN ? b : c);
}

/* An exact product p (FC_NORMAL) plus c, which is a normal number. */
static struct fp_res add_to_product(struct fp_env *e, struct fp_res p, struct fp_num c)
{
    struct fp_res q = res_num(c);

    if (p.exp < q.exp || (p.exp == q.exp && u128_lt(u128_make(p.hi, p.lo), u128_make(q.hi, q.lo)))) {
        struct fp_res t = p;
        p = q;
        q = t;
    }
    struct u128 x = u128_make(p.hi, p.lo);
    struct u128 y = u128_shr_jam(u128_make(q.hi, q.lo), (unsigned)(p.exp - q.exp));
    if (p.sign == q.sign) {
        struct u128 s = u128_add(x, y);
        if (!u128_lt(s, x)) /* no carry */
            return (struct fp_res){FC_NORMAL, p.sign, p.exp, s.hi, s.lo};
        s = u128_shr_jam(s, 1);
        return (struct fp_res){FC_NORMAL, p.sign, p.exp + 1, s.hi | FP_INTBIT, s.lo};
    }
    struct u128 d = u128_sub(x, y);
    if (u128_is_zero(d))
        return res_zero(e->rounding == FR_DOWN);
    return normalised(p.sign, p.exp, d);
}

/* The product has at most 106 bits and its 128 hold c's 53 beside it unless one lies so far below
 * the other that it is a sticky bit only: nothing is lost that rounding would need. */
static struct fp_res core_muladd(struct fp_env *e, struct fp_num a, struct fp_num b,
                                 struct fp_num c, unsigned negate)
{
    if (UNLIKELY(a.cls >= FC_QNAN || b.cls >= FC_QNAN || c.cls >= FC_QNAN))
        return res_nan3(e, a, b, c);
    a.sign ^= (negate & FP_NEGATE_PRODUCT) != 0;
    c.sign ^= (negate & FP_NEGATE_ADDEND) != 0;
    bool denormal = a.denormal | b.denormal | c.denormal;
    struct fp_env product = {.rounding = e->rounding}; /* its flags are not the result's */
    struct fp_res p = core_mul(&product, a, b);
    if (p.cls == FC_QNAN || (p.cls == FC_INF && c.cls == FC_INF && p.sign != c.sign))
        return res_default_nan(e);
    note_denormal(e, denormal);
    if (p.cls == FC_INF || c.cls == FC_INF)
        return res_inf(p.cls == FC_INF ? p.sign : c.sign);
    if (p.cls == FC_ZERO && c.cls == FC_ZERO)
        return res_zero(p.sign == c.sign ? p.sign : e->rounding == FR_DOWN);
    if (p.cls == FC_ZERO)
        return res_num(c);
    if (c.cls == FC_ZERO)
        return p;
    return add_to_product(e, p, c);
}

f32 f32_muladd(struct fp_env *e, f32 a, f32 b, f32 c, unsigned negate)
{
    return finish_f32(
        e, core_muladd(e, unpack_f32(e, a), unpack_f32(e, b), unpack_f32(e, c), negate));
}

f64 f64_muladd(struct fp_env *e, f64 a, f64 b, f64 c, unsigned negate)
{
    return finish_f64(
        e, core_muladd(e, unpack_f64(e, a), unpack_f64(e, b), unpack_f64(e, c), negate));
}

/* ---- half precision -------------------------------------------------------------------------- */

/* Denormal halves are ordinary numbers here: no exception, and DAZ is not for them (SDM vol. 1,
 * 14.4.1). */
f32 f16_to_f32(struct fp_env *e, uint16_t a)
{
    struct fp_num n = unpack_ieee(a >> 15, a >> 10 & 31, a & 0x3ff, 10, -14, 31, false);

    return finish_f32(e, n.cls >= FC_QNAN ? res_nan1(e, n) : res_num(n));
}

/* FTZ is not for results in half precision. */
uint16_t f32_to_f16(struct fp_env *e, f32 a)
{
    struct fp_num n = unpack_f32(e, a);
    struct fp_env half = *e;
    uint16_t sign = (uint16_t)(n.sign << 15), r;

    half.ftz = false;
    if (n.cls >= FC_QNAN) {
        r = (uint16_t)(sign | 0x7c00 | (res_nan1(&half, n).hi >> 53 & 0x3ff));
    } else if (n.cls != FC_NORMAL) {
        r = (uint16_t)(sign | (n.cls == FC_INF ? 0x7c00 : 0));
    } else {
        note_denormal(&half, n.denormal);
        struct fp_packed p = round_res(&half, res_num(n), &fmt_f16, 11);
        /* What is denormal already is inexact, even where the unmasked UE stands for a result that
         * would not be: so processors do. */
        if (n.denormal)
            half.flags |= FP_PE;
        r = (uint16_t)(sign | p.exp << 10 | (p.sig >> 53 & 0x3ff));
    }
    e->flags = half.flags;
    return r;
}
