/* Doing guest floating point on the host's own unit, where that is certain to be bit-exact.
 *
 * IEEE 754 leaves no choice in + - * / and square roots of normal numbers under round-to-nearest
 * with a normal result; what differs between hosts is flags, NaNs, denormals, tininess and modes. So
 * these functions answer only when operands and result are ordinary and well inside the range, and
 * their callers ask only when rounding is to nearest, all exceptions are masked, and the inexact
 * flag, the one exception that can occur, is set already. "false" means: do it in software.
 *
 * They count on the host's default floating-point environment in the calling thread, and on
 * -ffp-contract=off, which cpu/CMakeLists.txt sets.
 */
#ifndef CPU_HOSTFLOAT_H
#define CPU_HOSTFLOAT_H

#include "cpu/softfloat.h"

#include <float.h>

enum fp_op { FPOP_ADD, FPOP_SUB, FPOP_MUL, FPOP_DIV };

#define HOSTFLOAT_INLINE static inline __attribute__((always_inline))

/* Hosts that compute in a wider format round twice. */
#define HOSTFLOAT_EXACT (FLT_EVAL_METHOD == 0 && FLT_RADIX == 2 && DBL_MANT_DIG == 53)

/* MXCSR: nearest, all masked, PE set. DAZ and FTZ do not matter to ordinary numbers. */
#define HOSTFLOAT_MXCSR_MASK 0x7fa0
#define HOSTFLOAT_MXCSR      0x1fa0
/* x87: nearest, 64-bit precision, all masked; PE in the status word is asked for beside it. */
#define HOSTFLOAT_CW_MASK 0xf3f
#define HOSTFLOAT_CW      0x33f

HOSTFLOAT_INLINE double host_f64(f64 a)
{
    double d;
    memcpy(&d, &a, 8);
    return d;
}

HOSTFLOAT_INLINE f64 guest_f64(double d)
{
    f64 a;
    memcpy(&a, &d, 8);
    return a;
}

HOSTFLOAT_INLINE float host_f32(f32 a)
{
    float f;
    memcpy(&f, &a, 4);
    return f;
}

HOSTFLOAT_INLINE f32 guest_f32(float f)
{
    f32 a;
    memcpy(&a, &f, 4);
    return a;
}

/* Exponent field neither 0 nor all ones. */
HOSTFLOAT_INLINE bool f64_is_ordinary(f64 a)
{
    return (a >> 52 & 0x7ff) - 1 < 0x7fe;
}

HOSTFLOAT_INLINE bool f32_is_ordinary(f32 a)
{
    return (a >> 23 & 0xff) - 1 < 0xfe;
}

/* Ordinary or zero. */
HOSTFLOAT_INLINE bool f64_is_plain(f64 a)
{
    return f64_is_ordinary(a) || !(a << 1);
}

HOSTFLOAT_INLINE bool f32_is_plain(f32 a)
{
    return f32_is_ordinary(a) || !(a << 1);
}

/* A result that cannot have been tiny or have overflowed: one exponent of margin at the bottom,
 * where rounding up to the smallest normal number hides tininess. */
HOSTFLOAT_INLINE bool f64_is_inside(f64 a)
{
    return (a >> 52 & 0x7ff) - 2 < 0x7fd;
}

HOSTFLOAT_INLINE bool f32_is_inside(f32 a)
{
    return (a >> 23 & 0xff) - 2 < 0xfd;
}

/* Zeros are common operands and common sums, and exact; as products they may be underflows. */
HOSTFLOAT_INLINE bool host_f64_op(enum fp_op op, f64 a, f64 b, f64 *r)
{
    if (!HOSTFLOAT_EXACT)
        return false;
    double x = host_f64(a), y = host_f64(b);
    if (op == FPOP_ADD || op == FPOP_SUB) {
        if (!f64_is_plain(a) || !f64_is_plain(b))
            return false;
        *r = guest_f64(op == FPOP_ADD ? x + y : x - y);
        return f64_is_inside(*r) || !(*r << 1);
    }
    if (!f64_is_ordinary(a) || !f64_is_ordinary(b))
        return false;
    *r = guest_f64(op == FPOP_MUL ? x * y : x / y);
    return f64_is_inside(*r);
}

HOSTFLOAT_INLINE bool host_f32_op(enum fp_op op, f32 a, f32 b, f32 *r)
{
    if (!HOSTFLOAT_EXACT)
        return false;
    float x = host_f32(a), y = host_f32(b);
    if (op == FPOP_ADD || op == FPOP_SUB) {
        if (!f32_is_plain(a) || !f32_is_plain(b))
            return false;
        *r = guest_f32(op == FPOP_ADD ? x + y : x - y);
        return f32_is_inside(*r) || !(*r << 1);
    }
    if (!f32_is_ordinary(a) || !f32_is_ordinary(b))
        return false;
    *r = guest_f32(op == FPOP_MUL ? x * y : x / y);
    return f32_is_inside(*r);
}

/* Four at once, all or nothing: in vectors of the compiler's, which any host has or imitates. A
 * zero operand or result here sends all four back. */
typedef float host_v4f __attribute__((vector_size(16)));
typedef uint32_t host_v4u __attribute__((vector_size(16)));

HOSTFLOAT_INLINE bool host_f32x4_op(enum fp_op op, const f32 a[4], const f32 b[4], f32 r[4])
{
    host_v4f x, y, z;
    host_v4u ia, ib, iz;
    uint64_t outside[2];

    if (!HOSTFLOAT_EXACT)
        return false;
    memcpy(&x, a, 16);
    memcpy(&y, b, 16);
    memcpy(&ia, a, 16);
    memcpy(&ib, b, 16);
    z = op == FPOP_ADD ? x + y : op == FPOP_SUB ? x - y : op == FPOP_MUL ? x * y : x / y;
    memcpy(&iz, &z, 16);
    /* Without signs: exponents of 1 to 254, of 2 to 253 in results. */
    host_v4u bad = (host_v4u)((ia << 1) - 0x01000000 >= 0xfe000000);
    bad |= (host_v4u)((ib << 1) - 0x01000000 >= 0xfe000000);
    bad |= (host_v4u)((iz << 1) - 0x02000000 >= 0xfc000000);
    memcpy(outside, &bad, 16);
    if (outside[0] | outside[1])
        return false;
    memcpy(r, &z, 16);
    return true;
}

HOSTFLOAT_INLINE bool host_f64_sqrt(f64 a, f64 *r)
{
    if (!HOSTFLOAT_EXACT || a >> 63 || !f64_is_ordinary(a))
        return false;
    *r = guest_f64(__builtin_sqrt(host_f64(a)));
    return true;
}

HOSTFLOAT_INLINE bool host_f32_sqrt(f32 a, f32 *r)
{
    if (!HOSTFLOAT_EXACT || a >> 31 || !f32_is_ordinary(a))
        return false;
    *r = guest_f32(__builtin_sqrtf(host_f32(a)));
    return true;
}

/* ---- the 80-bit format ------------------------------------------------------------------------ */

HOSTFLOAT_INLINE bool f80_is_ordinary(const f80 *a)
{
    return (a->se & 0x7fff) - 1u < 0x7ffe && a->mant >> 63;
}

HOSTFLOAT_INLINE bool f80_is_zero(const f80 *a)
{
    return !(a->se & 0x7fff) && !a->mant;
}

HOSTFLOAT_INLINE bool f80_is_simple(const f80 *a)
{
    return f80_is_ordinary(a) || f80_is_zero(a);
}

/* The x87 control word is the ABI's 0x37f on these. The status word of the host's unit tells which
 * way it rounded (C1), which no C operator does, hence the assembly. */
#if defined(__x86_64__) || (defined(__i386__) && defined(__linux__))

#define HOSTFLOAT_F80(insn)                                                                        \
    __asm__("fldt %2\n\tfldt %3\n\t" insn "\n\tfnstsw %1\n\tfstpt %0"                              \
            : "=m"(*r), "=a"(sw)                                                                   \
            : "m"(*a), "m"(*b)                                                                     \
            : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)")

/* *c1: the result's magnitude was rounded up, as the C1 bit (0x200). r may be a or b. */
HOSTFLOAT_INLINE bool host_f80_op(enum fp_op op, const f80 *a, const f80 *b, f80 *r, uint16_t *c1)
{
    uint16_t sw;

    if (!f80_is_simple(a) || !(op == FPOP_DIV ? f80_is_ordinary(b) : f80_is_simple(b)))
        return false;
    bool zero_ok = op <= FPOP_SUB || !a->mant || !b->mant;
    if (op == FPOP_ADD)
        HOSTFLOAT_F80("faddp");
    else if (op == FPOP_SUB)
        HOSTFLOAT_F80(".byte 0xde, 0xe9"); /* FSUBP: assemblers disagree about its name */
    else if (op == FPOP_MUL)
        HOSTFLOAT_F80("fmulp");
    else
        HOSTFLOAT_F80(".byte 0xde, 0xf9"); /* FDIVP */
    *c1 = sw & 0x200;
    return (r->se & 0x7fff) - 2u < 0x7ffc || (zero_ok && f80_is_zero(r));
}

HOSTFLOAT_INLINE bool host_f80_sqrt(const f80 *a, f80 *r, uint16_t *c1)
{
    uint16_t sw;

    if (a->se >> 15 || !f80_is_ordinary(a))
        return false;
    __asm__("fldt %2\n\tfsqrt\n\tfnstsw %1\n\tfstpt %0"
            : "=m"(*r), "=a"(sw)
            : "m"(*a)
            : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
    *c1 = sw & 0x200;
    return true;
}

#undef HOSTFLOAT_F80

#else

HOSTFLOAT_INLINE bool host_f80_op(enum fp_op op, const f80 *a, const f80 *b, f80 *r, uint16_t *c1)
{
    return false;
}

HOSTFLOAT_INLINE bool host_f80_sqrt(const f80 *a, f80 *r, uint16_t *c1)
{
    return false;
}

#endif
#endif
