/* The inside of the software floating point: numbers unpacked to one form, the core of each
 * operation on that form, and the one place that rounds. Included by the softfloat*.c files only.
 *
 * An unpacked number's significand is normalised, its integer bit is bit 63:
 *
 *     value = (-1)^sign * sig * 2^(exp - 63)
 *
 * Results on their way to rounding carry 64 more bits, of which the lowest is sticky. The format is
 * always a compile-time constant, so that every use gets its own code.
 */
#ifndef CPU_SOFTFLOAT_IMPL_H
#define CPU_SOFTFLOAT_IMPL_H

#include "cpu/softfloat.h"
#include "cpu/wide.h"

#define FP_INLINE static inline __attribute__((always_inline))
#define FP_QUIET  0x4000000000000000ull
#define FP_INTBIT 0x8000000000000000ull
#define FP_ADJUST 24576 /* exponent adjustment of unmasked x87 results, SDM vol. 1, 8.5.4 */

enum fp_class { FC_ZERO, FC_NORMAL, FC_INF, FC_QNAN, FC_SNAN, FC_BAD /* unsupported f80 */ };

struct fp_num {
    uint8_t cls; /* enum fp_class; denormals are FC_NORMAL */
    bool sign;
    bool denormal;
    int32_t exp;
    uint64_t sig; /* of NaNs: integer bit, quiet bit, payload from the left */
};

/* A result before rounding (FC_NORMAL), or a final one (all other classes). */
struct fp_res {
    uint8_t cls;
    bool sign;
    int32_t exp;
    uint64_t hi, lo;
};

struct fp_format {
    unsigned precision; /* significant bits */
    int emin, emax;     /* exponents of the smallest and largest normal numbers */
};
static const struct fp_format fmt_f32 = {24, -126, 127};
static const struct fp_format fmt_f64 = {53, -1022, 1023};
static const struct fp_format fmt_f80 = {64, -16382, 16383};

/* ---- unpacking -------------------------------------------------------------------------------- */

FP_INLINE struct fp_num unpack_ieee(bool sign, unsigned exp, uint64_t frac, unsigned frac_bits,
                                    int emin, unsigned exp_max, bool daz)
{
    struct fp_num n = {FC_ZERO, sign, false, 0, 0};
    uint64_t sig = frac << (63 - frac_bits);

    if (LIKELY(exp != 0 && exp != exp_max)) {
        n.cls = FC_NORMAL;
        n.exp = (int)exp - 1 + emin;
        n.sig = sig | FP_INTBIT;
    } else if (exp) {
        n.cls = !sig ? FC_INF : sig & FP_QUIET ? FC_QNAN : FC_SNAN;
        n.sig = sig | FP_INTBIT;
    } else if (sig && !daz) {
        unsigned shift = clz64(sig);
        n.cls = FC_NORMAL;
        n.denormal = true;
        n.exp = emin - (int)shift;
        n.sig = sig << shift;
    }
    return n;
}

FP_INLINE struct fp_num unpack_f32(const struct fp_env *e, f32 a)
{
    return unpack_ieee(a >> 31, a >> 23 & 0xff, a & 0x7fffff, 23, -126, 0xff, e->daz);
}

FP_INLINE struct fp_num unpack_f64(const struct fp_env *e, f64 a)
{
    return unpack_ieee(a >> 63, a >> 52 & 0x7ff, a & 0xfffffffffffffull, 52, -1022, 0x7ff, e->daz);
}

FP_INLINE struct fp_num unpack_f80(f80 a)
{
    unsigned exp = a.se & 0x7fff;
    struct fp_num n = {FC_ZERO, a.se >> 15, false, 0, a.mant};

    if (LIKELY(exp != 0 && exp != 0x7fff)) {
        n.cls = a.mant >> 63 ? FC_NORMAL : FC_BAD;
        n.exp = (int)exp - 16383;
    } else if (exp) {
        n.cls = !(a.mant >> 63)     ? FC_BAD
                : !(a.mant << 1)    ? FC_INF
                : a.mant & FP_QUIET ? FC_QNAN
                                    : FC_SNAN;
    } else if (a.mant) { /* denormals, and pseudo-denormals, which have their integer bit set */
        unsigned shift = clz64(a.mant);
        n.cls = FC_NORMAL;
        n.denormal = true;
        n.exp = -16382 - (int)shift;
        n.sig = a.mant << shift;
    }
    return n;
}

/* ---- NaNs ------------------------------------------------------------------------------------- */

FP_INLINE struct fp_res res_default_nan(struct fp_env *e)
{
    e->flags |= FP_IE;
    return (struct fp_res){FC_QNAN, true, 0, 0xc000000000000000ull, 0};
}

FP_INLINE struct fp_res res_nan(struct fp_num n)
{
    return (struct fp_res){FC_QNAN, n.sign, 0, n.sig | FP_QUIET, 0};
}

/* One operand, which is a NaN or unsupported. */
FP_INLINE struct fp_res res_nan1(struct fp_env *e, struct fp_num a)
{
    if (a.cls == FC_BAD)
        return res_default_nan(e);
    if (a.cls == FC_SNAN)
        e->flags |= FP_IE;
    return res_nan(a);
}

/* Two operands, at least one of them a NaN or unsupported. SDM vol. 1, table 4-7: the x87 takes a
 * quiet NaN before a signaling one and else the larger significand; SSE the first operand. */
static __attribute__((noinline, unused)) struct fp_res res_nan2(struct fp_env *e, struct fp_num a,
                                                                struct fp_num b)
{
    bool a_nan = a.cls >= FC_QNAN, b_nan = b.cls >= FC_QNAN;

    if (a.cls == FC_BAD || b.cls == FC_BAD)
        return res_default_nan(e);
    if (a.cls == FC_SNAN || b.cls == FC_SNAN)
        e->flags |= FP_IE;
    if (!a_nan || !b_nan || !e->x87)
        return res_nan(a_nan ? a : b);
    if (a.cls != b.cls)
        return res_nan(a.cls == FC_QNAN ? a : b);
    if (a.sig != b.sig)
        return res_nan(a.sig > b.sig ? a : b);
    return res_nan(a.sign ? b : a);
}

/* The denormal-operand exception; called once no operand is a NaN or invalid. */
FP_INLINE void note_denormal(struct fp_env *e, bool denormal)
{
    if (UNLIKELY(denormal | e->wide_denormal))
        e->flags |= FP_DE;
}

FP_INLINE struct fp_res res_zero(bool sign)
{
    return (struct fp_res){FC_ZERO, sign, 0, 0, 0};
}

FP_INLINE struct fp_res res_inf(bool sign)
{
    return (struct fp_res){FC_INF, sign, 0, FP_INTBIT, 0};
}

FP_INLINE struct fp_res res_num(struct fp_num n)
{
    return (struct fp_res){n.cls, n.sign, n.exp, n.sig, 0};
}

/* ---- rounding --------------------------------------------------------------------------------- */

struct fp_rounded {
    uint64_t sig; /* low bits below the precision cleared; 0 if it carried out of bit 63 */
    bool inexact, up;
};

/* Rounds hi:lo to precision bits counted from bit 63 of hi. */
FP_INLINE struct fp_rounded round_sig(uint64_t hi, uint64_t lo, unsigned precision,
                                      unsigned rounding, bool sign)
{
    struct fp_rounded r;
    uint64_t rest, unit;
    bool sticky;

    if (precision == 64) {
        rest = lo;
        sticky = false;
        unit = 1;
    } else {
        unit = 1ull << (64 - precision);
        rest = (hi & (unit - 1)) << precision;
        sticky = lo != 0;
    }
    r.sig = hi & ~(unit - 1);
    r.inexact = rest != 0 || sticky;
    if (rounding == FR_NEAREST)
        r.up = rest > FP_INTBIT || (rest == FP_INTBIT && (sticky || (hi & unit)));
    else
        r.up = r.inexact && rounding == (sign ? FR_DOWN : FR_UP);
    if (r.up)
        r.sig += unit;
    return r;
}

/* The rounded result: exp is biased as the format packs it, sig has its integer bit explicit. */
struct fp_packed {
    uint32_t exp;
    uint64_t sig;
};

/* An unmasked overflow or underflow of a format that has no adjusted results. SSE still reports
 * whether rounding with unbounded exponents was inexact; FST, which stores nothing, does not. */
static inline struct fp_packed no_result(struct fp_env *e, struct fp_res v, unsigned precision)
{
    if (!e->x87 && round_sig(v.hi, v.lo, precision, e->rounding, v.sign).inexact)
        e->flags |= FP_PE;
    return (struct fp_packed){0, 0};
}

/* Rounds a FC_NORMAL result to the format's range and to precision bits (which x87 precision
 * control may make fewer than the format's). */
FP_INLINE struct fp_packed round_res(struct fp_env *e, struct fp_res v, const struct fp_format *f,
                                     unsigned precision)
{
    unsigned rounding = e->rounding;
    int exp = v.exp;
    struct fp_rounded r;

    if (UNLIKELY(exp < f->emin)) {
        bool tiny = true;
        if (exp == f->emin - 1)
            tiny = round_sig(v.hi, v.lo, precision, rounding, v.sign).sig != 0;
        if (tiny && !(e->masks & FP_UE)) {
            e->flags |= FP_UE;
            if (f->emin != fmt_f80.emin)
                return no_result(e, v, precision);
            exp += FP_ADJUST;
            if (exp < f->emin) { /* only FSCALE goes that far: SDM vol. 1, 8.5.5 */
                e->flags |= FP_PE;
                return (struct fp_packed){0, 0};
            }
        } else if (tiny && e->ftz) {
            e->flags |= FP_UE | FP_PE;
            return (struct fp_packed){0, 0};
        } else {
            struct u128 sig = u128_shr_jam(u128_make(v.hi, v.lo), (unsigned)(f->emin - exp));
            r = round_sig(sig.hi, sig.lo, precision, rounding, v.sign);
            if (r.inexact)
                e->flags |= tiny ? FP_UE | FP_PE : FP_PE;
            e->rounded_up = r.up;
            return (struct fp_packed){(uint32_t)(r.sig >> 63), r.sig};
        }
    }
    r = round_sig(v.hi, v.lo, precision, rounding, v.sign);
    if (r.up && r.sig == 0) {
        r.sig = FP_INTBIT;
        exp++;
    }
    if (UNLIKELY(exp > f->emax)) {
        bool unmasked = !(e->masks & FP_OE);
        e->flags |= FP_OE;
        if (unmasked && f->emax != fmt_f80.emax)
            return no_result(e, v, precision);
        if (unmasked && exp - FP_ADJUST <= f->emax) {
            exp -= FP_ADJUST;
        } else {
            bool to_inf = rounding == FR_NEAREST || rounding == (v.sign ? FR_DOWN : FR_UP);
            to_inf |= unmasked; /* FSCALE past even the adjusted range */
            e->flags |= FP_PE;
            e->rounded_up = to_inf;
            if (to_inf)
                return (struct fp_packed){(uint32_t)(f->emax - f->emin + 2), FP_INTBIT};
            return (struct fp_packed){(uint32_t)(f->emax - f->emin + 1),
                                      ~0ull << (64 - precision)};
        }
    }
    if (r.inexact)
        e->flags |= FP_PE;
    e->rounded_up = r.up;
    return (struct fp_packed){(uint32_t)(exp - f->emin + 1), r.sig};
}

FP_INLINE f32 finish_f32(struct fp_env *e, struct fp_res v)
{
    f32 sign = (f32)v.sign << 31;

    e->rounded_up = false;
    if (v.cls == FC_ZERO)
        return sign;
    if (v.cls != FC_NORMAL)
        return sign | 0x7f800000 | ((f32)(v.hi >> 40) & 0x7fffff);
    struct fp_packed p = round_res(e, v, &fmt_f32, 24);
    return sign | p.exp << 23 | ((f32)(p.sig >> 40) & 0x7fffff);
}

FP_INLINE f64 finish_f64(struct fp_env *e, struct fp_res v)
{
    f64 sign = (f64)v.sign << 63;

    e->rounded_up = false;
    if (v.cls == FC_ZERO)
        return sign;
    if (v.cls != FC_NORMAL)
        return sign | 0x7ff0000000000000ull | (v.hi >> 11 & 0xfffffffffffffull);
    struct fp_packed p = round_res(e, v, &fmt_f64, 53);
    return sign | (f64)p.exp << 52 | (p.sig >> 11 & 0xfffffffffffffull);
}

FP_INLINE f80 finish_f80(struct fp_env *e, struct fp_res v, unsigned precision)
{
    uint16_t sign = (uint16_t)(v.sign << 15);

    e->rounded_up = false;
    if (v.cls == FC_ZERO)
        return (f80){0, sign};
    if (v.cls != FC_NORMAL)
        return (f80){v.hi, (uint16_t)(sign | 0x7fff)};
    struct fp_packed p = round_res(e, v, &fmt_f80, precision);
    return (f80){p.sig, (uint16_t)(sign | p.exp)};
}

/* ---- the operations --------------------------------------------------------------------------- */

FP_INLINE struct fp_res normalised(bool sign, int exp, struct u128 sig)
{
    unsigned shift = u128_clz(sig);
    sig = u128_shl(sig, shift);
    return (struct fp_res){FC_NORMAL, sign, exp - (int)shift, sig.hi, sig.lo};
}

FP_INLINE struct fp_res core_add(struct fp_env *e, struct fp_num a, struct fp_num b, bool subtract)
{
    if (UNLIKELY(a.cls >= FC_QNAN || b.cls >= FC_QNAN))
        return res_nan2(e, a, b);
    b.sign ^= subtract;
    if (UNLIKELY(a.cls != FC_NORMAL || b.cls != FC_NORMAL)) {
        if (a.cls == FC_INF && b.cls == FC_INF && a.sign != b.sign)
            return res_default_nan(e);
        note_denormal(e, a.denormal | b.denormal);
        if (a.cls == FC_ZERO && b.cls == FC_ZERO)
            return res_zero(a.sign == b.sign ? a.sign : e->rounding == FR_DOWN);
        if (a.cls == FC_INF || b.cls == FC_ZERO)
            return res_num(a);
        return res_num(b);
    }
    note_denormal(e, a.denormal | b.denormal);
    if (a.exp < b.exp || (a.exp == b.exp && a.sig < b.sig)) {
        struct fp_num t = a;
        a = b;
        b = t;
    }
    struct u128 x = u128_make(a.sig, 0);
    struct u128 y = u128_shr_jam(u128_make(b.sig, 0), (unsigned)(a.exp - b.exp));
    if (a.sign == b.sign) {
        struct u128 s = u128_add(x, y);
        if (s.hi >= a.sig) /* no carry */
            return (struct fp_res){FC_NORMAL, a.sign, a.exp, s.hi, s.lo};
        s = u128_shr_jam(s, 1);
        return (struct fp_res){FC_NORMAL, a.sign, a.exp + 1, s.hi | FP_INTBIT, s.lo};
    }
    struct u128 d = u128_sub(x, y);
    if (u128_is_zero(d))
        return res_zero(e->rounding == FR_DOWN);
    return normalised(a.sign, a.exp, d);
}

FP_INLINE struct fp_res core_mul(struct fp_env *e, struct fp_num a, struct fp_num b)
{
    bool sign = a.sign ^ b.sign;

    if (UNLIKELY(a.cls >= FC_QNAN || b.cls >= FC_QNAN))
        return res_nan2(e, a, b);
    if (UNLIKELY(a.cls != FC_NORMAL || b.cls != FC_NORMAL)) {
        if ((a.cls == FC_INF && b.cls == FC_ZERO) || (a.cls == FC_ZERO && b.cls == FC_INF))
            return res_default_nan(e);
        note_denormal(e, a.denormal | b.denormal);
        return a.cls == FC_INF || b.cls == FC_INF ? res_inf(sign) : res_zero(sign);
    }
    note_denormal(e, a.denormal | b.denormal);
    struct u128 p = mul64(a.sig, b.sig);
    int exp = a.exp + b.exp + 1;
    if (!(p.hi >> 63)) {
        p = u128_shl(p, 1);
        exp--;
    }
    return (struct fp_res){FC_NORMAL, sign, exp, p.hi, p.lo};
}

FP_INLINE struct fp_res core_div(struct fp_env *e, struct fp_num a, struct fp_num b)
{
    bool sign = a.sign ^ b.sign;

    if (UNLIKELY(a.cls >= FC_QNAN || b.cls >= FC_QNAN))
        return res_nan2(e, a, b);
    if (UNLIKELY(a.cls != FC_NORMAL || b.cls != FC_NORMAL)) {
        if (a.cls == b.cls) /* infinity by infinity, zero by zero */
            return res_default_nan(e);
        if (b.cls == FC_ZERO && a.cls == FC_NORMAL) {
            e->flags |= FP_ZE;
            return res_inf(sign);
        }
        note_denormal(e, a.denormal | b.denormal);
        return a.cls == FC_INF || b.cls == FC_ZERO ? res_inf(sign) : res_zero(sign);
    }
    note_denormal(e, a.denormal | b.denormal);
    struct u128 n = u128_make(a.sig, 0);
    int exp = a.exp - b.exp - 1;
    if (a.sig >= b.sig) {
        n = u128_shr(n, 1);
        exp++;
    }
    uint64_t rem, rem2;
    uint64_t hi = div128_64(n, b.sig, &rem);
    uint64_t lo = div128_64(u128_make(rem, 0), b.sig, &rem2);
    return (struct fp_res){FC_NORMAL, sign, exp, hi, lo | (rem2 != 0)};
}

/* Floor of the root of n (at least 2^126), and whether a remainder is left and whether it is
 * larger than the root, which is the root's next bit. The host's square root is the first guess
 * only; what it rounds is put right in integers. */
static __attribute__((unused)) uint64_t sqrt128(struct u128 n, uint64_t *next)
{
    double guess = __builtin_sqrt((double)n.hi) * 4294967296.0;
    uint64_t r = guess >= 18446744073709549568.0 ? UINT64_MAX - 2047 : (uint64_t)guess;
    uint64_t rem;

    if (r < FP_INTBIT)
        r = FP_INTBIT;
    /* One step of Newton's: the mean of r and n / r. */
    uint64_t q = n.hi >= r ? UINT64_MAX : div128_64(n, r, &rem);
    r = (r >> 1) + (q >> 1) + (r & q & 1);
    for (;;) {
        struct u128 sq = mul64(r, r);
        if (u128_lt(n, sq)) {
            r--;
            continue;
        }
        struct u128 left = u128_sub(n, sq);
        if (left.hi > 1 || (left.hi == 1 && left.lo > r << 1)) {
            r++; /* the remainder may not exceed 2r, which is 2^64 and more */
            continue;
        }
        bool half = left.hi || left.lo > r;
        *next = (half ? FP_INTBIT : 0) | (left.hi || left.lo);
        return r;
    }
}

FP_INLINE struct fp_res core_sqrt(struct fp_env *e, struct fp_num a)
{
    if (UNLIKELY(a.cls >= FC_QNAN))
        return res_nan1(e, a);
    if (a.cls == FC_ZERO)
        return res_zero(a.sign);
    if (a.sign)
        return res_default_nan(e);
    note_denormal(e, a.denormal);
    if (a.cls == FC_INF)
        return res_inf(false);
    /* An even exponent's significand is halved, so that the radicand is in [2^126, 2^128). */
    struct u128 n = a.exp & 1 ? u128_make(a.sig, 0) : u128_shr(u128_make(a.sig, 0), 1);
    uint64_t lo;
    uint64_t hi = sqrt128(n, &lo);
    return (struct fp_res){FC_NORMAL, false, a.exp >> 1, hi, lo};
}

#endif
