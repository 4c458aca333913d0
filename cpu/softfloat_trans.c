/* The x87's transcendental functions, below 1 ulp of the 80-bit format (very nearly correctly
 * rounded), in integer arithmetic and so the same on every host.
 *
 * Values are kept with 128-bit significands (struct ext); series are summed in 128-bit fixed point
 * and always have the form "argument times a polynomial near 1", so that small arguments keep their
 * relative precision. Polynomials are clamped to stay on the right side of 1, which makes directed
 * rounding and C1 right where the function is within 2^-126 of its argument. All results but the
 * exact special cases are inexact; ext_finish() says so.
 *
 * Angles are reduced with the 66-bit pi that Intel documents (SDM vol. 1, 8.3.8), exactly, so that
 * FSIN of arguments near multiples of pi gives what processors give. Rounding control is obeyed,
 * precision control is not (8.1.5.2).
 */
#include "cpu/softfloat_impl.h"

struct ext {
    bool sign;
    int exp; /* value = m * 2^(exp - 127), m normalised */
    struct u128 m;
};

/* 1 / n!, times 2^127 */
static const struct u128 inv_factorial[] = {
    {0x8000000000000000ull, 0x0000000000000000ull},
    {0x8000000000000000ull, 0x0000000000000000ull},
    {0x4000000000000000ull, 0x0000000000000000ull},
    {0x1555555555555555ull, 0x5555555555555555ull},
    {0x0555555555555555ull, 0x5555555555555555ull},
    {0x0111111111111111ull, 0x1111111111111111ull},
    {0x002d82d82d82d82dull, 0x82d82d82d82d82d8ull},
    {0x0006806806806806ull, 0x8068068068068068ull},
    {0x0000d00d00d00d00ull, 0xd00d00d00d00d00dull},
    {0x0000171de3a556c7ull, 0x338faac1c88e5001ull},
    {0x0000024fc9f6ef13ull, 0xeb8e5de02da7d4cdull},
    {0x00000035cc8acfeaull, 0x89c71fce8fc97070ull},
    {0x000000047bb63bfeull, 0x3625ed5136a61eb4ull},
    {0x000000005849184eull, 0xa1b425f28e0cc749ull},
    {0x00000000064e5d2aull, 0x301f27482eb7c517ull},
    {0x00000000006b9fcfull, 0x9ccee07c476195acull},
    {0x000000000006b9fcull, 0xf9ccee07c476195bull},
    {0x000000000000654bull, 0x1dc0c2b529ac9814ull},
    {0x00000000000005a0ull, 0x9e18ee5f65deec01ull},
    {0x000000000000004bull, 0xd26d1a05055c9328ull},
    {0x0000000000000003ull, 0xca8574804044a0f5ull},
    {0x0000000000000000ull, 0x2e371dedb9eae318ull},
    {0x0000000000000000ull, 0x0219c72db6ff0a53ull},
    {0x0000000000000000ull, 0x001761b41316381aull},
    {0x0000000000000000ull, 0x0000f96780cb97acull},
    {0x0000000000000000ull, 0x000009f9e66e8b30ull},
    {0x0000000000000000ull, 0x000000623a17f1a9ull},
    {0x0000000000000000ull, 0x00000003a356385cull},
    {0x0000000000000000ull, 0x000000002143144cull},
    {0x0000000000000000ull, 0x0000000001259f99ull},
};

/* 1 / (2n + 1), times 2^127 */
static const struct u128 inv_odd[] = {
    {0x8000000000000000ull, 0x0000000000000000ull},
    {0x2aaaaaaaaaaaaaaaull, 0xaaaaaaaaaaaaaaabull},
    {0x1999999999999999ull, 0x999999999999999aull},
    {0x1249249249249249ull, 0x2492492492492492ull},
    {0x0e38e38e38e38e38ull, 0xe38e38e38e38e38eull},
    {0x0ba2e8ba2e8ba2e8ull, 0xba2e8ba2e8ba2e8cull},
    {0x09d89d89d89d89d8ull, 0x9d89d89d89d89d8aull},
    {0x0888888888888888ull, 0x8888888888888889ull},
    {0x0787878787878787ull, 0x8787878787878788ull},
    {0x06bca1af286bca1aull, 0xf286bca1af286bcaull},
    {0x0618618618618618ull, 0x6186186186186186ull},
    {0x0590b21642c8590bull, 0x21642c8590b21643ull},
    {0x051eb851eb851eb8ull, 0x51eb851eb851eb85ull},
    {0x04bda12f684bda12ull, 0xf684bda12f684bdaull},
    {0x0469ee58469ee584ull, 0x69ee58469ee5846aull},
    {0x0421084210842108ull, 0x4210842108421084ull},
    {0x03e0f83e0f83e0f8ull, 0x3e0f83e0f83e0f84ull},
    {0x03a83a83a83a83a8ull, 0x3a83a83a83a83a84ull},
    {0x03759f22983759f2ull, 0x2983759f2298375aull},
    {0x0348348348348348ull, 0x3483483483483483ull},
    {0x031f3831f3831f38ull, 0x31f3831f3831f383ull},
    {0x02fa0be82fa0be82ull, 0xfa0be82fa0be82faull},
    {0x02d82d82d82d82d8ull, 0x2d82d82d82d82d83ull},
    {0x02b9310572620ae4ull, 0xc415c9882b931057ull},
};

/* atan(n / 32), times 2^127 */
static const struct u128 atan_32nds[] = {
    {0x0000000000000000ull, 0x0000000000000000ull},
    {0x03ffaab7752ec495ull, 0x09de75ddb76a3188ull},
    {0x07fd56edcb3f7a71ull, 0xb6593c96e071706bull},
    {0x0bf70c1301788746ull, 0x093567e784cf8367ull},
    {0x0feadd4d5617b6e3ull, 0x2c897989f3e888efull},
    {0x13d6eee8c6626c58ull, 0x68ec33a4a06c1fd1ull},
    {0x17b97b4bce5b0226ull, 0x8f6169f103938e91ull},
    {0x1b90d7529260a204ull, 0x5ec434b8396aa5e0ull},
    {0x1f5b75f92c80dd62ull, 0xadb8f3debef442fdull},
    {0x2317eb4617e2f04cull, 0x3291d22c6fe20a63ull},
    {0x26c4ee6e0fd7979aull, 0x716aed26349ebccaull},
    {0x2a615b32a39a93b6ull, 0xa66dfddefdf67a30ull},
    {0x2dec3283c9bde11cull, 0xe2a8c848b73f9121ull},
    {0x31649a7294364adbull, 0x685d1ba47d428a37ull},
    {0x34c9dd879847f96dull, 0x909f257a40079c4eull},
    {0x381b69929d93df19ull, 0xf18c7b659e632e01ull},
    {0x3b58ce0ac3769ed1ull, 0x5bf9117b2f0ea341ull},
    {0x3e81ba16a8282f97ull, 0x19b48f1f57723b31ull},
    {0x4195fa536cc33f15ull, 0x25b504e5b0d28ae0ull},
    {0x4495766fef4aa3daull, 0x84a23c7e2395a57eull},
    {0x47802eaf7bfacfcdull, 0xae41af0b32e21ba4ull},
    {0x4a563964c238c37bull, 0x0c6279c9fbc5197cull},
    {0x4d17c07338deed10ull, 0x21137c711027f9deull},
    {0x4fc4fee27a5bd0f6ull, 0x7c5a4932278380f0ull},
    {0x525e3e8c9a7b8492ull, 0x0cd43f9522bed64full},
    {0x54e3d5ee24187ae4ull, 0x48b5425adf3c99fbull},
    {0x5756261c5a6c6040ull, 0x0a392f179f290385ull},
    {0x59b598e48f821b48ull, 0xac80a0ba22317c9dull},
    {0x5c029f15e118cf39ull, 0xe596d2a90852221full},
    {0x5e3daef574c57940ull, 0x6a0898037407d948ull},
    {0x606742dc56293320ull, 0x44eeb16237497d12ull},
    {0x627fd7fd5fc7deaaull, 0x465a1e885e4f0111ull},
    {0x6487ed5110b4611aull, 0x62633145c06e0e69ull},
};

static const struct ext ext_ln2 = {false, -1, {0xb17217f7d1cf79abull, 0xc9e3b39803f2f6afull}};
static const struct ext ext_2_over_ln2 = {false, 1, {0xb8aa3b295c17f0bbull, 0xbe87fed0691d3e89ull}};
static const struct ext ext_pi = {false, 1, {0xc90fdaa22168c234ull, 0xc4c6628b80dc1cd1ull}};
static const struct ext ext_pi_2 = {false, 0, {0xc90fdaa22168c234ull, 0xc4c6628b80dc1cd1ull}};

static struct ext ext_from(struct fp_num n)
{
    return (struct ext){n.sign, n.exp, u128_make(n.sig, 0)};
}

static struct ext ext_normal(bool sign, int exp, struct u128 m)
{
    unsigned shift = u128_clz(m);
    return (struct ext){sign, exp - (int)shift, u128_shl(m, shift)};
}

/* An inexact result. The sticky bit stands for all that 128 bits do not show. */
static f80 ext_finish(struct fp_env *e, struct ext v)
{
    struct fp_res r = {FC_NORMAL, v.sign, v.exp, v.m.hi, v.m.lo | 1};
    return finish_f80(e, r, 64);
}

static struct ext ext_mul(struct ext a, struct ext b)
{
    return ext_normal(a.sign ^ b.sign, a.exp + b.exp + 1, u128_mul_hi(a.m, b.m));
}

static struct ext ext_div(struct ext a, struct ext b)
{
    int exp = a.exp - b.exp - 1;
    if (!u128_lt(a.m, b.m)) {
        a.m = u128_shr(a.m, 1);
        exp++;
    }
    return ext_normal(a.sign ^ b.sign, exp, u128_div_frac(a.m, b.m));
}

/* The sum is not 0 in any use. */
static struct ext ext_add(struct ext a, struct ext b)
{
    if (a.exp < b.exp || (a.exp == b.exp && u128_lt(a.m, b.m))) {
        struct ext t = a;
        a = b;
        b = t;
    }
    struct u128 y = u128_shr(b.m, (unsigned)(a.exp - b.exp));
    if (a.sign != b.sign)
        return ext_normal(a.sign, a.exp, u128_sub(a.m, y));
    struct u128 s = u128_add(a.m, y);
    if (u128_lt(s, y)) { /* carried */
        s = u128_shr(s, 1);
        s.hi |= FP_INTBIT;
        a.exp++;
    }
    a.m = s;
    return a;
}

/* |v| < 1 as a fraction of 2^128. */
static struct u128 ext_fraction(struct ext v)
{
    return u128_shr(v.m, (unsigned)(-1 - v.exp));
}

/* Polynomials in z (a fraction of 2^128) with coefficients times 2^127, terms of index 0, step,
 * 2 step... The first coefficient is 1. Alternating ones come out below 1, the others not. */
static struct ext sum_alternating(struct u128 z, const struct u128 *c, int terms, int step)
{
    struct u128 p = c[(terms - 1) * step];
    for (int k = terms - 2; k >= 0; k--)
        p = u128_sub(c[k * step], u128_mul_hi(z, p));
    if (p.hi >> 63)
        p = u128_make(FP_INTBIT - 1, UINT64_MAX);
    return ext_normal(false, 0, p);
}

static struct ext sum_positive(struct u128 z, const struct u128 *c, int terms)
{
    struct u128 p = c[terms - 1];
    for (int k = terms - 2; k >= 0; k--)
        p = u128_add(c[k], u128_mul_hi(z, p));
    return ext_normal(false, 0, p);
}

/* ---- F2XM1 ------------------------------------------------------------------------------------ */

f80 f80_exp2m1(struct fp_env *e, f80 x)
{
    struct fp_num a = unpack_f80(x);

    if (a.cls >= FC_QNAN)
        return finish_f80(e, res_nan1(e, a), 64);
    if (a.cls == FC_INF)
        return a.sign ? (f80){FP_INTBIT, 0xbfff} : x;
    if (a.cls == FC_ZERO)
        return x;
    note_denormal(e, a.denormal);
    if (a.exp >= 0) { /* 1 gives 1, -1 gives -1/2, inexact on processors too; beyond is undefined */
        e->rounded_up = false;
        e->flags |= FP_PE;
        return a.exp == 0 && a.sig == FP_INTBIT && a.sign ? (f80){FP_INTBIT, 0xbffe} : x;
    }
    struct ext y = ext_mul(ext_from(a), ext_ln2);
    y.sign = false;
    struct ext r = ext_mul(y, sum_positive(ext_fraction(y), inv_factorial + 1, 28));
    if (a.sign) { /* 2^-x - 1 = -(2^x - 1) / 2^x */
        struct ext one = {false, 0, {FP_INTBIT, 0}};
        r = ext_div(r, ext_add(one, r));
        r.sign = true;
    }
    return ext_finish(e, r);
}

/* ---- FYL2X, FYL2XP1 --------------------------------------------------------------------------- */

/* log2((1 + s) / (1 - s)) = 2 atanh(s) / ln 2, for |s| <= 0.18 */
static struct ext log2_ratio(struct ext s)
{
    struct u128 z = ext_fraction(ext_mul(s, s));
    return ext_mul(ext_mul(s, sum_positive(z, inv_odd, 24)), ext_2_over_ln2);
}

/* log2 of v > 0, which is not 1. */
static struct ext log2_ext(struct ext v)
{
    struct ext one = {false, 0, {FP_INTBIT, 0}};
    struct ext minus_one = {true, 0, {FP_INTBIT, 0}};
    int scale = v.exp;

    if (v.m.hi > 0xb504f333f9de6484ull) /* sqrt 2: [1/sqrt 2, sqrt 2] is nearest 1 */
        scale++;
    v.exp -= scale;
    if (v.exp == 0 && v.m.hi == FP_INTBIT && v.m.lo == 0) {
        struct ext whole = {scale < 0, 63, {(uint64_t)(scale < 0 ? -scale : scale), 0}};
        return ext_normal(whole.sign, whole.exp, whole.m);
    }
    struct ext r = log2_ratio(ext_div(ext_add(v, minus_one), ext_add(v, one)));
    if (scale) {
        struct u128 m = u128_make((uint64_t)(scale < 0 ? -scale : scale), 0);
        r = ext_add(r, ext_normal(scale < 0, 63, m));
    }
    return r;
}

/* y times a logarithm that is infinite (of the given sign), or whose sign is known and y is 0 or
 * infinite. */
static f80 y_times_special(struct fp_env *e, struct fp_num y, bool log_infinite, bool log_sign)
{
    if (y.cls == FC_ZERO && log_infinite)
        return finish_f80(e, res_default_nan(e), 64);
    note_denormal(e, y.denormal);
    bool sign = y.sign ^ log_sign;
    return finish_f80(e, y.cls == FC_ZERO ? res_zero(sign) : res_inf(sign), 64);
}

f80 f80_ylog2x(struct fp_env *e, f80 y, f80 x)
{
    struct fp_num a = unpack_f80(x), b = unpack_f80(y);

    if (a.cls >= FC_QNAN || b.cls >= FC_QNAN)
        return finish_f80(e, res_nan2(e, a, b), 64);
    if (a.cls == FC_ZERO) {
        if (b.cls == FC_NORMAL) {
            e->flags |= FP_ZE;
            return finish_f80(e, res_inf(!b.sign), 64);
        }
        return y_times_special(e, b, true, true);
    }
    if (a.sign)
        return finish_f80(e, res_default_nan(e), 64);
    if (a.cls == FC_INF)
        return y_times_special(e, b, true, false);
    bool is_one = a.exp == 0 && a.sig == FP_INTBIT;
    if (is_one) {
        if (b.cls == FC_INF)
            return finish_f80(e, res_default_nan(e), 64);
        note_denormal(e, b.denormal);
        return finish_f80(e, res_zero(b.sign), 64);
    }
    note_denormal(e, a.denormal | b.denormal);
    if (b.cls != FC_NORMAL)
        return y_times_special(e, b, false, a.exp < 0);
    struct ext l = log2_ext(ext_from(a));
    if (a.sig == FP_INTBIT) {
        /* A power of two: the product is exact or nearly so, though processors report it inexact,
         * and so as underflow if it is denormal. */
        struct u128 p = mul64(l.m.hi, b.sig);
        f80 r = finish_f80(e, normalised(l.sign ^ b.sign, l.exp + b.exp + 1, p), 64);
        e->flags |= r.se & 0x7fff ? FP_PE : FP_PE | FP_UE;
        return r;
    }
    return ext_finish(e, ext_mul(l, ext_from(b)));
}

f80 f80_ylog2xp1(struct fp_env *e, f80 y, f80 x)
{
    struct fp_num a = unpack_f80(x), b = unpack_f80(y);

    if (a.cls >= FC_QNAN || b.cls >= FC_QNAN)
        return finish_f80(e, res_nan2(e, a, b), 64);
    if (a.cls == FC_INF)
        return a.sign ? finish_f80(e, res_default_nan(e), 64) : y_times_special(e, b, true, false);
    if (a.cls == FC_ZERO) {
        if (b.cls == FC_INF)
            return finish_f80(e, res_default_nan(e), 64);
        note_denormal(e, b.denormal);
        return finish_f80(e, res_zero(a.sign ^ b.sign), 64);
    }
    /* Arguments below -1/2 are outside the documented range; -1 and less have no logarithm. */
    if (a.sign && a.exp >= 0) {
        if (a.exp == 0 && a.sig == FP_INTBIT)
            return y_times_special(e, b, true, true);
        return finish_f80(e, res_default_nan(e), 64);
    }
    note_denormal(e, a.denormal | b.denormal);
    if (b.cls != FC_NORMAL)
        return y_times_special(e, b, false, a.sign);
    struct ext v = ext_from(a), l;
    struct ext one = {false, 0, {FP_INTBIT, 0}};
    if (v.exp < -2) {
        struct ext two = {false, 1, {FP_INTBIT, 0}};
        l = log2_ratio(ext_div(v, ext_add(two, v)));
    } else {
        l = log2_ext(ext_add(one, v));
    }
    return ext_finish(e, ext_mul(l, ext_from(b)));
}

/* ---- FPATAN ----------------------------------------------------------------------------------- */

/* atan(b / a) for 0 < b <= a: by the nearest 32nd k of the quotient,
 * atan(b / a) = atan(k / 32) + atan((b - a k/32) / (a + b k/32)). */
static struct ext atan_ratio(struct ext b, struct ext a)
{
    unsigned k = 0, shift = (unsigned)MIN(a.exp - b.exp, 127);

    if (shift < 7) {
        uint64_t num = b.m.hi >> shift >> 7, den = a.m.hi >> 12;
        k = (unsigned)((num + den / 2) / den); /* 32 b / a, to the nearest; 2^-52 matters little */
    }
    if (k == 0) {
        struct ext q = ext_div(b, a);
        struct ext z = ext_mul(q, q);
        return ext_mul(q, sum_alternating(ext_fraction(z), inv_odd, 12, 1));
    }
    struct ext c = ext_normal(false, 58, u128_make(k, 0)); /* k / 32 */
    struct ext bc = ext_mul(b, c), ac = ext_mul(a, c);
    struct ext whole = ext_normal(false, 0, atan_32nds[k]);
    if (ac.exp == b.exp && ac.m.hi == b.m.hi && ac.m.lo == b.m.lo)
        return whole;
    ac.sign = true;
    struct ext q = ext_div(ext_add(b, ac), ext_add(a, bc));
    struct ext z = ext_mul(q, q);
    return ext_add(whole, ext_mul(q, sum_alternating(ext_fraction(z), inv_odd, 12, 1)));
}

f80 f80_atan2(struct fp_env *e, f80 y, f80 x)
{
    struct fp_num a = unpack_f80(x), b = unpack_f80(y);
    struct ext r;

    if (a.cls >= FC_QNAN || b.cls >= FC_QNAN)
        return finish_f80(e, res_nan2(e, a, b), 64);
    note_denormal(e, a.denormal | b.denormal);
    if (b.cls == FC_ZERO || (a.cls == FC_INF && b.cls != FC_INF)) {
        if (!a.sign)
            return finish_f80(e, res_zero(b.sign), 64);
        r = ext_pi;
    } else if (a.cls == FC_ZERO || (b.cls == FC_INF && a.cls != FC_INF)) {
        r = ext_pi_2;
    } else {
        struct ext s = ext_from(b), c = ext_from(a);
        if (b.cls == FC_INF) /* both are: the diagonals */
            s = c = (struct ext){false, 0, {FP_INTBIT, 0}};
        s.sign = c.sign = false;
        if (s.exp < c.exp || (s.exp == c.exp && !u128_lt(c.m, s.m))) {
            r = atan_ratio(s, c);
            if (a.sign) {
                r.sign = true;
                r = ext_add(ext_pi, r);
            }
        } else {
            r = atan_ratio(c, s);
            r.sign = !a.sign;
            r = ext_add(ext_pi_2, r);
        }
    }
    r.sign = b.sign;
    return ext_finish(e, r);
}

/* ---- FSIN, FCOS, FPTAN ------------------------------------------------------------------------ */

/* Reduces |a| < 2^63 to *r in [-pi/4, pi/4] and returns the number of quarter turns modulo 4. All
 * of it is exact: from 1/2 upwards a's last bit is a multiple of 2^-65, as is pi/2's. An odd 66-bit
 * number times anything below 2^63 is not a 64-bit number, so *r is never 0. */
static unsigned reduce(struct fp_num a, struct ext *r)
{
    const struct u128 half_pi = {3, 0x243f6a8885a308d3ull}; /* times 2^65 */
    const struct u128 quarter_pi = {1, 0x921fb54442d18469ull};

    if (a.exp < -1) {
        *r = ext_from(a);
        r->sign = false;
        return 0;
    }
    struct u128 x = u128_shl(u128_make(0, a.sig), (unsigned)(a.exp + 2));
    unsigned q = 0;
    for (int i = MAX(a.exp, 0); i >= 0; i--) {
        struct u128 t = u128_shl(half_pi, (unsigned)i);
        q <<= 1;
        if (!u128_lt(x, t)) {
            x = u128_sub(x, t);
            q |= 1;
        }
    }
    bool negative = !u128_lt(x, quarter_pi);
    if (negative) {
        x = u128_sub(half_pi, x);
        q++;
    }
    *r = ext_normal(negative, 62, x);
    return q & 3;
}

static struct ext sin_of(struct ext r)
{
    struct u128 z = ext_fraction(ext_mul(r, r));
    return ext_mul(r, sum_alternating(z, inv_factorial + 1, 14, 2));
}

static struct ext cos_of(struct ext r)
{
    struct u128 z = ext_fraction(ext_mul(r, r));
    return sum_alternating(z, inv_factorial, 15, 2);
}

static bool angle_special(struct fp_env *e, struct fp_num a, f80 *result)
{
    if (a.cls >= FC_QNAN)
        *result = finish_f80(e, res_nan1(e, a), 64);
    else if (a.cls == FC_INF)
        *result = finish_f80(e, res_default_nan(e), 64);
    else if (a.cls == FC_ZERO)
        *result = finish_f80(e, res_zero(a.sign), 64);
    else
        return false;
    return true;
}

bool f80_sin_cos(struct fp_env *e, f80 x, f80 *sin, f80 *cos)
{
    struct fp_num a = unpack_f80(x);
    f80 special;

    if (angle_special(e, a, &special)) {
        if (sin)
            *sin = special;
        if (cos)
            *cos = a.cls == FC_ZERO ? F80_ONE : special;
        return true;
    }
    if (a.exp >= 63)
        return false;
    note_denormal(e, a.denormal);
    struct ext r;
    unsigned q = reduce(a, &r);
    if (sin) {
        struct ext v = q & 1 ? cos_of(r) : sin_of(r);
        v.sign ^= (q >> 1) ^ a.sign;
        *sin = ext_finish(e, v);
    }
    if (cos) {
        struct ext v = q & 1 ? sin_of(r) : cos_of(r);
        v.sign ^= (q == 1 || q == 2);
        *cos = ext_finish(e, v);
    }
    return true;
}

bool f80_tan(struct fp_env *e, f80 x, f80 *tan)
{
    struct fp_num a = unpack_f80(x);

    if (angle_special(e, a, tan))
        return true;
    if (a.exp >= 63)
        return false;
    note_denormal(e, a.denormal);
    struct ext r;
    unsigned q = reduce(a, &r);
    if (q & 1) {
        r = ext_div(cos_of(r), sin_of(r));
        r.sign ^= true;
    } else if (r.exp >= -64) { /* below, the argument and a sticky bit are the tangent */
        r = ext_div(sin_of(r), cos_of(r));
    }
    r.sign ^= a.sign;
    *tan = ext_finish(e, r);
    return true;
}
