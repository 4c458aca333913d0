/* IEEE 754 arithmetic in software, with the behaviour of x86: the x87's 80-bit format and the two
 * formats of SSE. Bit-exact and the same on every host; no globals: rounding, masks and flags
 * travel in a struct fp_env.
 *
 *     struct fp_env e = {.precision = 64, .masks = FP_ALL, .x87 = true};
 *     f80 r = f80_add(&e, a, b);     // e.flags: what it raised, e.rounded_up: C1
 *
 * Flags accumulate in e.flags, which the caller clears. Masks matter to the results in two ways
 * only (SDM vol. 1, 4.9.1): an unmasked overflow or underflow gives the x87 a result with its
 * exponent adjusted by 24576, and an unmasked underflow is raised for every tiny result, also an
 * exact one. Whether a result may be stored after an unmasked exception is the caller's business.
 * Tininess is detected after rounding. "Unsupported" f80 encodings (unnormals, pseudo-infinities,
 * pseudo-NaNs; SDM vol. 1, table 8-3) are invalid operands everywhere.
 */
#ifndef CPU_SOFTFLOAT_H
#define CPU_SOFTFLOAT_H

#include "cpu/cpu.h"

typedef uint32_t f32;
typedef uint64_t f64;
typedef struct fpreg f80;

enum fp_round { FR_NEAREST, FR_DOWN, FR_UP, FR_ZERO }; /* as the RC fields count */

/* Exceptions, as in the x87 status word and in MXCSR. */
enum {
    FP_IE = 1, FP_DE = 2, FP_ZE = 4, FP_OE = 8, FP_UE = 16, FP_PE = 32,
    FP_PRE = FP_IE | FP_DE | FP_ZE, /* detected before the operation is made */
    FP_ALL = 0x3f,
};

struct fp_env {
    uint8_t rounding;  /* enum fp_round */
    uint8_t precision; /* significant bits of f80 results of add, sub, mul, div, sqrt: 24, 53, 64 */
    uint8_t masks;     /* FP_ bits: masked */
    uint8_t flags;     /* FP_ bits: raised */
    bool x87;          /* NaN selection and adjusted exponents as the x87 has them, else as SSE */
    bool daz, ftz;     /* SSE: denormal operands are 0; masked tiny results are 0 */
    bool rounded_up;   /* the last result's magnitude is above the exact one: the x87's C1 */
    bool wide_denormal; /* an operand was denormal before the caller widened it: counts for DE */
};

enum fp_order { FP_LESS = -1, FP_EQUAL = 0, FP_GREATER = 1, FP_UNORDERED = 2 };

#define F32_DEFAULT_NAN 0xffc00000u
#define F64_DEFAULT_NAN 0xfff8000000000000ull
#define F80_DEFAULT_NAN ((f80){0xc000000000000000ull, 0xffff})
#define F80_ZERO        ((f80){0, 0})
#define F80_ONE         ((f80){0x8000000000000000ull, 0x3fff})

/* ---- arithmetic ------------------------------------------------------------------------------ */

f32 f32_add(struct fp_env *e, f32 a, f32 b);
f32 f32_sub(struct fp_env *e, f32 a, f32 b);
f32 f32_mul(struct fp_env *e, f32 a, f32 b);
f32 f32_div(struct fp_env *e, f32 a, f32 b);
f32 f32_sqrt(struct fp_env *e, f32 a);
f64 f64_add(struct fp_env *e, f64 a, f64 b);
f64 f64_sub(struct fp_env *e, f64 a, f64 b);
f64 f64_mul(struct fp_env *e, f64 a, f64 b);
f64 f64_div(struct fp_env *e, f64 a, f64 b);
f64 f64_sqrt(struct fp_env *e, f64 a);
f80 f80_add(struct fp_env *e, f80 a, f80 b);
f80 f80_sub(struct fp_env *e, f80 a, f80 b);
f80 f80_mul(struct fp_env *e, f80 a, f80 b);
f80 f80_div(struct fp_env *e, f80 a, f80 b);
f80 f80_sqrt(struct fp_env *e, f80 a);

/* softfloat_fma.c: a * b + c, rounded once; negate: which of product and addend to negate. */
enum { FP_NEGATE_PRODUCT = 1, FP_NEGATE_ADDEND = 2 };
f32 f32_muladd(struct fp_env *e, f32 a, f32 b, f32 c, unsigned negate);
f64 f64_muladd(struct fp_env *e, f64 a, f64 b, f64 c, unsigned negate);

/* To an integer value in the same format. exact_flag: raise PE when that changed the value. */
f32 f32_round_int(struct fp_env *e, f32 a, bool exact_flag);
f64 f64_round_int(struct fp_env *e, f64 a, bool exact_flag);
f80 f80_round_int(struct fp_env *e, f80 a);

/* Minimum and maximum as MINSS and MAXSS define them: b when in doubt. */
f32 f32_min(struct fp_env *e, f32 a, f32 b);
f32 f32_max(struct fp_env *e, f32 a, f32 b);
f64 f64_min(struct fp_env *e, f64 a, f64 b);
f64 f64_max(struct fp_env *e, f64 a, f64 b);

/* quiet: only signaling NaNs raise IE, else every NaN does. */
enum fp_order f32_compare(struct fp_env *e, f32 a, f32 b, bool quiet);
enum fp_order f64_compare(struct fp_env *e, f64 a, f64 b, bool quiet);
enum fp_order f80_compare(struct fp_env *e, f80 a, f80 b, bool quiet);

/* ---- conversions ------------------------------------------------------------------------------ */

f64 f32_to_f64(struct fp_env *e, f32 a);
f32 f64_to_f32(struct fp_env *e, f64 a);
f80 f32_to_f80(struct fp_env *e, f32 a);
f80 f64_to_f80(struct fp_env *e, f64 a);
f32 f80_to_f32(struct fp_env *e, f80 a);
f64 f80_to_f64(struct fp_env *e, f80 a);
/* The same value in the wider format, signaling NaNs kept, nothing raised: memory operands of
 * x87 arithmetic. *denormal: what to put into wide_denormal. */
f80 f32_widen(f32 a, bool *denormal);
f80 f64_widen(f64 a, bool *denormal);

/* Half precision, in the low 16 bits of registers: as VCVTPH2PS and VCVTPS2PH have it. */
f32 f16_to_f32(struct fp_env *e, uint16_t a);
uint16_t f32_to_f16(struct fp_env *e, f32 a);

f32 i64_to_f32(struct fp_env *e, int64_t v);
f64 i64_to_f64(struct fp_env *e, int64_t v);
f80 i64_to_f80(int64_t v);

/* Out of range, NaN: IE and the "integer indefinite", the smallest number of bits (16, 32, 64).
 * rounding: e->rounding, or FR_ZERO for the truncating forms. */
int64_t f32_to_int(struct fp_env *e, f32 a, unsigned bits, enum fp_round rounding);
int64_t f64_to_int(struct fp_env *e, f64 a, unsigned bits, enum fp_round rounding);
int64_t f80_to_int(struct fp_env *e, f80 a, unsigned bits, enum fp_round rounding);

/* ---- the x87's own ---------------------------------------------------------------------------- */

/* FPREM (nearest false) and FPREM1. *done: the reduction is complete and *quotient holds its low
 * three bits; else the exponent was reduced by fewer than 64 (C2). */
f80 f80_rem(struct fp_env *e, f80 a, f80 b, bool nearest, unsigned *quotient, bool *done);
f80 f80_scale(struct fp_env *e, f80 a, f80 b);
/* FXTRACT: the significand; *exponent is the unbiased exponent as a number. */
f80 f80_extract(struct fp_env *e, f80 a, f80 *exponent);
/* 18 digits of packed BCD and a sign, 10 bytes in guest order. */
f80 bcd_to_f80(const uint8_t bcd[10]);
void f80_to_bcd(struct fp_env *e, f80 a, uint8_t bcd[10]);

/* softfloat_trans.c: below 1 ulp. The angle functions return false, with nothing done, when the
 * magnitude is 2^63 or more. */
f80 f80_exp2m1(struct fp_env *e, f80 a);
f80 f80_ylog2x(struct fp_env *e, f80 y, f80 x);
f80 f80_ylog2xp1(struct fp_env *e, f80 y, f80 x);
f80 f80_atan2(struct fp_env *e, f80 y, f80 x);
bool f80_sin_cos(struct fp_env *e, f80 a, f80 *sin, f80 *cos); /* either may be NULL */
bool f80_tan(struct fp_env *e, f80 a, f80 *tan);

/* RCPSS and RSQRTSS: exactly what Intel's processors return. Raise nothing, read no mode. */
f32 f32_rcp_approx(f32 a);
f32 f32_rsqrt_approx(f32 a);

/* ---- classification --------------------------------------------------------------------------- */

static inline bool f32_is_nan(f32 a)
{
    return (a & 0x7fffffff) > 0x7f800000;
}
static inline bool f64_is_nan(f64 a)
{
    return (a & 0x7fffffffffffffffull) > 0x7ff0000000000000ull;
}
static inline bool f80_is_unsupported(f80 a)
{
    return (a.se & 0x7fff) && !(a.mant >> 63);
}
static inline bool f80_is_nan(f80 a)
{
    return (a.se & 0x7fff) == 0x7fff && (a.mant >> 63) && a.mant << 1;
}

#endif
