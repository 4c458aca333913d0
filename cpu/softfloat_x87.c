/* What only the x87 has: partial remainders, FSCALE, FXTRACT, packed BCD; and the approximate
 * reciprocals of SSE.
 */
#include "cpu/softfloat_impl.h"

f80 f80_rem(struct fp_env *e, f80 x, f80 y, bool nearest, unsigned *quotient, bool *done)
{
    struct fp_num a = unpack_f80(x), b = unpack_f80(y);

    *quotient = 0;
    *done = true;
    if (a.cls >= FC_QNAN || b.cls >= FC_QNAN)
        return finish_f80(e, res_nan2(e, a, b), 64);
    if (a.cls == FC_INF || b.cls == FC_ZERO)
        return finish_f80(e, res_default_nan(e), 64);
    note_denormal(e, a.denormal | b.denormal);
    e->rounded_up = false;
    if (a.cls == FC_ZERO || b.cls == FC_INF)
        return x; /* a denormal too, whose underflow is not reported */

    int diff = a.exp - b.exp;
    if (diff < -1 || (diff < 0 && !nearest))
        return finish_f80(e, res_num(a), 64);
    /* All in units of 2^(b.exp - 63 + rest): one quotient bit for each step of long division. A
     * difference of 64 and more is reduced by 32 to 63, as Intel's processors do. */
    int steps = diff;
    if (diff >= 64) {
        steps = (diff & 31) | 32;
        *done = false;
    }
    uint64_t rem = a.sig, q = 0;
    bool carry = false; /* bit 64 of rem */
    if (diff < 0) {     /* FPREM1 with the quotient between a quarter and one */
        rem >>= 1;      /* a.sig's lowest bit is put back below */
    } else {
        if (rem >= b.sig) {
            rem -= b.sig;
            q = 1;
        }
        for (int i = 0; i < steps; i++) {
            carry = rem >> 63;
            rem <<= 1;
            q <<= 1;
            if (carry || rem >= b.sig) {
                rem -= b.sig;
                q |= 1;
            }
        }
    }
    int exp = *done ? b.exp : a.exp - steps;
    bool sign = a.sign;
    struct u128 r = u128_make(rem, diff < 0 ? a.sig << 63 : 0);
    if (nearest && *done) {
        struct u128 other = u128_sub(u128_make(b.sig, 0), r);
        if (u128_lt(other, r) || (other.hi == r.hi && other.lo == r.lo && (q & 1))) {
            r = other;
            sign = !sign;
            q++;
        }
    }
    if (*done)
        *quotient = q & 7;
    if (u128_is_zero(r))
        return finish_f80(e, res_zero(a.sign), 64);
    return finish_f80(e, normalised(sign, exp, r), 64);
}

f80 f80_scale(struct fp_env *e, f80 x, f80 y)
{
    struct fp_num a = unpack_f80(x), b = unpack_f80(y);

    if (a.cls >= FC_QNAN || b.cls >= FC_QNAN)
        return finish_f80(e, res_nan2(e, a, b), 64);
    if (b.cls == FC_INF && ((a.cls == FC_INF && b.sign) || (a.cls == FC_ZERO && !b.sign)))
        return finish_f80(e, res_default_nan(e), 64);
    note_denormal(e, a.denormal | b.denormal);
    if (b.cls == FC_INF)
        return finish_f80(e, b.sign ? res_zero(a.sign) : res_inf(a.sign), 64);
    e->rounded_up = false;
    if (a.cls != FC_NORMAL || b.cls == FC_ZERO) {
        /* A denormal too, whose underflow is not reported; a pseudo-denormal becomes ordinary. */
        if (a.cls == FC_NORMAL && !(x.se & 0x7fff) && (x.mant & FP_INTBIT))
            x.se |= 1;
        return x;
    }
    /* The scale is chopped to an integer; 2^16 is past every range. */
    int scale = 0;
    if (b.exp > 16)
        scale = 0x1ffff;
    else if (b.exp >= 0)
        scale = (int)(b.sig >> (63 - b.exp));
    a.exp += b.sign ? -scale : scale;
    return finish_f80(e, res_num(a), 64);
}

f80 f80_extract(struct fp_env *e, f80 x, f80 *exponent)
{
    struct fp_num a = unpack_f80(x);

    if (a.cls >= FC_QNAN)
        return *exponent = finish_f80(e, res_nan1(e, a), 64);
    e->rounded_up = false;
    if (a.cls == FC_INF) {
        *exponent = (f80){FP_INTBIT, 0x7fff};
        return x;
    }
    if (a.cls == FC_ZERO) {
        e->flags |= FP_ZE;
        *exponent = (f80){FP_INTBIT, 0xffff};
        return x;
    }
    note_denormal(e, a.denormal);
    *exponent = i64_to_f80(a.exp);
    return (f80){a.sig, (uint16_t)(a.sign << 15 | 16383)};
}

/* ---- packed BCD ------------------------------------------------------------------------------- */

f80 bcd_to_f80(const uint8_t bcd[10])
{
    uint64_t v = 0;

    /* Digits above 9 count for what they are, as they do in hardware. */
    for (int i = 8; i >= 0; i--)
        v = v * 100 + (bcd[i] >> 4) * 10u + (bcd[i] & 15);
    f80 r = i64_to_f80((int64_t)v);
    r.se |= (uint16_t)((bcd[9] & 0x80) << 8);
    return r;
}

void f80_to_bcd(struct fp_env *e, f80 a, uint8_t bcd[10])
{
    uint8_t before = e->flags;
    int64_t v = f80_to_int(e, a, 64, (enum fp_round)e->rounding);
    uint64_t m = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    if (m > 999999999999999999ull) {
        /* The packed BCD indefinite, SDM vol. 1, table 4-4. */
        e->flags = before | FP_IE;
        e->rounded_up = false;
        memset(bcd, 0, 10);
        bcd[7] = 0xc0;
        bcd[8] = bcd[9] = 0xff;
        return;
    }
    for (int i = 0; i < 9; i++) {
        bcd[i] = to_bcd((unsigned)(m % 100));
        m /= 100;
    }
    bcd[9] = a.se >> 15 ? 0x80 : 0;
}

/* ---- RCPSS, RSQRTSS --------------------------------------------------------------------------- */

/* Intel's tables hold, for each interval of the leading significand bits, the reciprocal of the
 * interval's middle to 13 bits. That is little enough to compute. */
f32 f32_rcp_approx(f32 a)
{
    f32 sign = a & 0x80000000u;
    unsigned exp = a >> 23 & 0xff;

    if (f32_is_nan(a))
        return a | 0x400000;
    if (exp == 0xff)
        return sign;
    if (exp == 0) /* denormals too, whatever DAZ says */
        return sign | 0x7f800000;
    if (exp >= 253) /* the result would be denormal */
        return sign;
    uint32_t middle = 4097 + (a >> 12 & 0x7ff) * 2;        /* of [1, 2), times 4096 */
    uint32_t q = ((1u << 26) + middle) / (2 * middle);     /* in (1/2, 1], times 8192 */
    return sign | (253 - exp) << 23 | (q & 0xfff) << 11;
}

f32 f32_rsqrt_approx(f32 a)
{
    unsigned exp = a >> 23 & 0xff;

    if (f32_is_nan(a))
        return a | 0x400000;
    if (exp == 0)
        return (a & 0x80000000u) | 0x7f800000;
    if (a >> 31)
        return F32_DEFAULT_NAN;
    if (exp == 0xff)
        return 0;
    /* value = m * 2^(2k), m in [1, 4) */
    bool odd = !(exp & 1);
    uint32_t middle = (2049 + (a >> 13 & 0x3ff) * 2) << odd; /* times 2048 */
    /* Twice the root to 13 bits, by trial, so that it can be rounded. */
    uint64_t n = (1ull << 39) / middle;
    uint32_t root = 0;
    for (uint32_t bit = 1u << 14; bit; bit >>= 1)
        if ((uint64_t)(root | bit) * (root | bit) <= n)
            root |= bit;
    uint32_t q = (root + 1) >> 1; /* in (1/2, 1], times 8192 */
    unsigned half = (exp + (odd ? 0 : 1)) / 2; /* exponent of the root, biased by 64 */
    return (190 - half) << 23 | (q & 0xfff) << 11;
}
