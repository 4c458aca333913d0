/* Software floating point: arithmetic, comparison and rounding to integers in the three formats.
 * The operations themselves are in softfloat_impl.h; what stands here instantiates them.
 */
#include "cpu/softfloat_impl.h"

#define ARITHMETIC(F)                                                                              \
    F F##_add(struct fp_env *e, F a, F b)                                                          \
    {                                                                                              \
        return finish_##F(e, core_add(e, unpack_##F(e, a), unpack_##F(e, b), false));              \
    }                                                                                              \
    F F##_sub(struct fp_env *e, F a, F b)                                                          \
    {                                                                                              \
        return finish_##F(e, core_add(e, unpack_##F(e, a), unpack_##F(e, b), true));               \
    }                                                                                              \
    F F##_mul(struct fp_env *e, F a, F b)                                                          \
    {                                                                                              \
        return finish_##F(e, core_mul(e, unpack_##F(e, a), unpack_##F(e, b)));                     \
    }                                                                                              \
    F F##_div(struct fp_env *e, F a, F b)                                                          \
    {                                                                                              \
        return finish_##F(e, core_div(e, unpack_##F(e, a), unpack_##F(e, b)));                     \
    }                                                                                              \
    F F##_sqrt(struct fp_env *e, F a)                                                              \
    {                                                                                              \
        return finish_##F(e, core_sqrt(e, unpack_##F(e, a)));                                      \
    }

ARITHMETIC(f32)
ARITHMETIC(f64)

f80 f80_add(struct fp_env *e, f80 a, f80 b)
{
    return finish_f80(e, core_add(e, unpack_f80(a), unpack_f80(b), false), e->precision);
}

f80 f80_sub(struct fp_env *e, f80 a, f80 b)
{
    return finish_f80(e, core_add(e, unpack_f80(a), unpack_f80(b), true), e->precision);
}

f80 f80_mul(struct fp_env *e, f80 a, f80 b)
{
    return finish_f80(e, core_mul(e, unpack_f80(a), unpack_f80(b)), e->precision);
}

f80 f80_div(struct fp_env *e, f80 a, f80 b)
{
    return finish_f80(e, core_div(e, unpack_f80(a), unpack_f80(b)), e->precision);
}

f80 f80_sqrt(struct fp_env *e, f80 a)
{
    return finish_f80(e, core_sqrt(e, unpack_f80(a)), e->precision);
}

/* ---- comparison ------------------------------------------------------------------------------- */

static int magnitude_order(struct fp_num a, struct fp_num b)
{
    if (a.cls != b.cls) /* zero < normal < infinity */
        return a.cls < b.cls ? -1 : 1;
    if (a.cls != FC_NORMAL)
        return 0;
    if (a.exp != b.exp)
        return a.exp < b.exp ? -1 : 1;
    return a.sig < b.sig ? -1 : a.sig > b.sig;
}

static enum fp_order order(struct fp_num a, struct fp_num b)
{
    if (a.cls == FC_ZERO && b.cls == FC_ZERO)
        return FP_EQUAL;
    if (a.sign != b.sign)
        return a.sign ? FP_LESS : FP_GREATER;
    int m = magnitude_order(a, b);
    return a.sign ? -m : m;
}

static enum fp_order compare(struct fp_env *e, struct fp_num a, struct fp_num b, bool quiet)
{
    if (a.cls >= FC_QNAN || b.cls >= FC_QNAN) {
        if (!quiet || a.cls >= FC_SNAN || b.cls >= FC_SNAN)
            e->flags |= FP_IE;
        return FP_UNORDERED;
    }
    note_denormal(e, a.denormal | b.denormal);
    return order(a, b);
}

enum fp_order f32_compare(struct fp_env *e, f32 a, f32 b, bool quiet)
{
    return compare(e, unpack_f32(e, a), unpack_f32(e, b), quiet);
}

enum fp_order f64_compare(struct fp_env *e, f64 a, f64 b, bool quiet)
{
    return compare(e, unpack_f64(e, a), unpack_f64(e, b), quiet);
}

enum fp_order f80_compare(struct fp_env *e, f80 a, f80 b, bool quiet)
{
    return compare(e, unpack_f80(a), unpack_f80(b), quiet);
}

/* MINSS and MAXSS return the second operand, unchanged, when either is a NaN or both are zero.
 * Under DAZ a denormal is a zero here too, also as the result. */
static bool takes_first(struct fp_env *e, struct fp_num a, struct fp_num b, enum fp_order wanted)
{
    return compare(e, a, b, false) == wanted;
}

#define MIN_MAX(F, EXP_MASK, SIGN)                                                                 \
    static F F##_daz(const struct fp_env *e, F a)                                                  \
    {                                                                                              \
        return e->daz && !(a & EXP_MASK) ? a & SIGN : a;                                           \
    }                                                                                              \
    F F##_min(struct fp_env *e, F a, F b)                                                          \
    {                                                                                              \
        bool first = takes_first(e, unpack_##F(e, a), unpack_##F(e, b), FP_LESS);                  \
        return F##_daz(e, first ? a : b);                                                          \
    }                                                                                              \
    F F##_max(struct fp_env *e, F a, F b)                                                          \
    {                                                                                              \
        bool first = takes_first(e, unpack_##F(e, a), unpack_##F(e, b), FP_GREATER);               \
        return F##_daz(e, first ? a : b);                                                          \
    }

MIN_MAX(f32, 0x7f800000u, 0x80000000u)
MIN_MAX(f64, 0x7ff0000000000000ull, 0x8000000000000000ull)

/* ---- rounding to integers --------------------------------------------------------------------- */

/* Rounds the magnitude of a normal number below 2^63 to an integer. */
static uint64_t integer_magnitude(struct fp_num a, unsigned rounding, bool *inexact, bool *up)
{
    struct u128 v;

    if (a.exp >= 0)
        v = u128_shr_jam(u128_make(a.sig, 0), (unsigned)(63 - a.exp));
    else
        v = u128_shr_jam(u128_make(0, a.sig), (unsigned)(-1 - a.exp));
    struct fp_rounded r = round_sig(v.hi, v.lo, 64, rounding, a.sign);
    *inexact = r.inexact;
    *up = r.up;
    return r.sig;
}

static struct fp_res round_to_integer(struct fp_env *e, struct fp_num a, unsigned rounding,
                                      bool exact_flag, bool *up)
{
    bool inexact;

    *up = false;
    if (a.cls >= FC_QNAN)
        return res_nan1(e, a);
    if (e->x87)
        note_denormal(e, a.denormal);
    if (a.cls != FC_NORMAL || a.exp >= 63)
        return res_num(a);
    uint64_t m = integer_magnitude(a, rounding, &inexact, up);
    if (inexact && exact_flag)
        e->flags |= FP_PE;
    if (!m)
        return res_zero(a.sign);
    return normalised(a.sign, 63, u128_make(m, 0));
}

f32 f32_round_int(struct fp_env *e, f32 a, bool exact_flag)
{
    bool up;
    return finish_f32(e, round_to_integer(e, unpack_f32(e, a), e->rounding, exact_flag, &up));
}

f64 f64_round_int(struct fp_env *e, f64 a, bool exact_flag)
{
    bool up;
    return finish_f64(e, round_to_integer(e, unpack_f64(e, a), e->rounding, exact_flag, &up));
}

f80 f80_round_int(struct fp_env *e, f80 a)
{
    bool up;
    f80 r = finish_f80(e, round_to_integer(e, unpack_f80(a), e->rounding, true, &up), 64);
    e->rounded_up = up;
    return r;
}

static int64_t to_int(struct fp_env *e, struct fp_num a, unsigned bits, unsigned rounding)
{
    uint64_t limit = 1ull << (bits - 1); /* magnitude of the smallest number, and indefinite */
    uint64_t m = 0;
    bool inexact = false, up = false;

    e->rounded_up = false;
    if (a.cls == FC_ZERO)
        return 0;
    if (a.cls == FC_NORMAL && a.exp < 63)
        m = integer_magnitude(a, rounding, &inexact, &up);
    else if (a.cls == FC_NORMAL && a.exp == 63)
        m = a.sig;
    else
        m = UINT64_MAX;
    if (a.cls != FC_NORMAL || a.exp > 63 || m > limit - !a.sign) {
        e->flags |= FP_IE;
        return -(int64_t)(limit - 1) - 1;
    }
    if (inexact)
        e->flags |= FP_PE;
    e->rounded_up = up;
    return (int64_t)(a.sign ? 0 - m : m);
}

int64_t f32_to_int(struct fp_env *e, f32 a, unsigned bits, enum fp_round rounding)
{
    return to_int(e, unpack_f32(e, a), bits, rounding);
}

int64_t f64_to_int(struct fp_env *e, f64 a, unsigned bits, enum fp_round rounding)
{
    return to_int(e, unpack_f64(e, a), bits, rounding);
}

int64_t f80_to_int(struct fp_env *e, f80 a, unsigned bits, enum fp_round rounding)
{
    return to_int(e, unpack_f80(a), bits, rounding);
}

/* ---- integers, and between the formats -------------------------------------------------------- */

static struct fp_res from_int(int64_t v)
{
    uint64_t m = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    if (!m)
        return res_zero(false);
    return normalised(v < 0, 63, u128_make(m, 0));
}

f32 i64_to_f32(struct fp_env *e, int64_t v)
{
    return finish_f32(e, from_int(v));
}

f64 i64_to_f64(struct fp_env *e, int64_t v)
{
    return finish_f64(e, from_int(v));
}

f80 i64_to_f80(int64_t v)
{
    if (!v)
        return F80_ZERO;
    uint64_t m = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    unsigned shift = clz64(m);
    return (f80){m << shift, (uint16_t)((v < 0 ? 0x8000 : 0) | (16383 + 63 - shift))};
}

static struct fp_res converted(struct fp_env *e, struct fp_num a, bool denormal_counts)
{
    if (a.cls >= FC_QNAN)
        return res_nan1(e, a);
    if (denormal_counts)
        note_denormal(e, a.denormal);
    return res_num(a);
}

f64 f32_to_f64(struct fp_env *e, f32 a)
{
    return finish_f64(e, converted(e, unpack_f32(e, a), true));
}

f32 f64_to_f32(struct fp_env *e, f64 a)
{
    return finish_f32(e, converted(e, unpack_f64(e, a), true));
}

f80 f32_to_f80(struct fp_env *e, f32 a)
{
    return finish_f80(e, converted(e, unpack_f32(e, a), true), 64);
}

f80 f64_to_f80(struct fp_env *e, f64 a)
{
    return finish_f80(e, converted(e, unpack_f64(e, a), true), 64);
}

/* FST: no denormal-operand exception, SDM vol. 2. */
f32 f80_to_f32(struct fp_env *e, f80 a)
{
    return finish_f32(e, converted(e, unpack_f80(a), false));
}

f64 f80_to_f64(struct fp_env *e, f80 a)
{
    return finish_f64(e, converted(e, unpack_f80(a), false));
}

static f80 widened(struct fp_num a, bool *denormal)
{
    uint16_t sign = (uint16_t)(a.sign << 15);

    *denormal = a.denormal;
    if (a.cls == FC_ZERO)
        return (f80){0, sign};
    if (a.cls != FC_NORMAL)
        return (f80){a.sig, (uint16_t)(sign | 0x7fff)};
    return (f80){a.sig, (uint16_t)(sign | (a.exp + 16383))};
}

f80 f32_widen(f32 a, bool *denormal)
{
    return widened(unpack_ieee(a >> 31, a >> 23 & 0xff, a & 0x7fffff, 23, -126, 0xff, false),
                   denormal);
}

f80 f64_widen(f64 a, bool *denormal)
{
    return widened(
        unpack_ieee(a >> 63, a >> 52 & 0x7ff, a & 0xfffffffffffffull, 52, -1022, 0x7ff, false),
        denormal);
}
