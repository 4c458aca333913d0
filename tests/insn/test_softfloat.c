/* Software floating point against known answers, and the transcendental functions against MPFR.
 *
 * Known answers are Berkeley TestFloat vectors, looked for in the folder that the environment
 * variable TINAMOU_VECTORS names, by default TINAMOU_VECTORS_DEFAULT; without them that part says
 * "not present". What they leave out (NaN pairs, unsupported encodings, denormal-operand flags, C1,
 * unmasked results) test_oracle.c compares with the host. Seeds are fixed.
 */
#include <check.h>
#include <math.h>
#include <mpfr.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu/hostfloat.h"
#include "cpu/softfloat.h"

#ifndef TINAMOU_VECTORS_DEFAULT
#define TINAMOU_VECTORS_DEFAULT "../shared/vectors"
#endif

/* ---- TestFloat vectors ------------------------------------------------------------------------ */

struct value {
    uint64_t lo; /* integers, f32, f64, significand of f80 */
    uint16_t se;
};

static struct value parse(const char *hex)
{
    struct value v = {0, 0};
    size_t n = strlen(hex);
    if (n == 20) {
        char se[5];
        memcpy(se, hex, 4);
        se[4] = 0;
        v.se = (uint16_t)strtoul(se, NULL, 16);
        hex += 4;
    }
    v.lo = strtoull(hex, NULL, 16);
    return v;
}

static f80 as_f80(struct value v)
{
    return (f80){v.lo, v.se};
}

static struct value of_f80(f80 a)
{
    return (struct value){a.mant, a.se};
}

static struct value of_int(uint64_t v)
{
    return (struct value){v, 0};
}

static bool relation(const char *name, enum fp_order o)
{
    if (!strncmp(name, "eq", 2))
        return o == FP_EQUAL;
    if (!strncmp(name, "le", 2))
        return o == FP_EQUAL || o == FP_LESS;
    return o == FP_LESS;
}

static bool relation_quiet(const char *name)
{
    return strstr(name, "quiet") || !strcmp(name, "eq");
}

static f80 ieee_remainder(struct fp_env *e, f80 a, f80 b)
{
    unsigned q;
    bool done;
    do
        a = f80_rem(e, a, b, true, &q, &done);
    while (!done);
    return a;
}

/* Runs one function on one vector. False: not a function of ours. */
static bool apply(const char *fn, struct fp_env *e, const struct value *x, struct value *r)
{
#define IS(s) (!strcmp(fn, s))
#define ARITH(F, name, of, as)                                                                     \
    if (IS(name "_add"))                                                                           \
        return *r = of(F##_add(e, as(x[0]), as(x[1]))), true;                                      \
    if (IS(name "_sub"))                                                                           \
        return *r = of(F##_sub(e, as(x[0]), as(x[1]))), true;                                      \
    if (IS(name "_mul"))                                                                           \
        return *r = of(F##_mul(e, as(x[0]), as(x[1]))), true;                                      \
    if (IS(name "_div"))                                                                           \
        return *r = of(F##_div(e, as(x[0]), as(x[1]))), true;                                      \
    if (IS(name "_sqrt"))                                                                          \
        return *r = of(F##_sqrt(e, as(x[0]))), true;                                               \
    if (IS(name "_to_i32"))                                                                        \
        return *r = of_int((uint32_t)F##_to_int(e, as(x[0]), 32, e->rounding)), true;              \
    if (IS(name "_to_i64"))                                                                        \
        return *r = of_int((uint64_t)F##_to_int(e, as(x[0]), 64, e->rounding)), true;              \
    if (!strncmp(fn, name "_eq", sizeof(name) + 2) || !strncmp(fn, name "_l", sizeof(name) + 1)) { \
        const char *rel = fn + sizeof(name);                                                       \
        *r = of_int(relation(rel, F##_compare(e, as(x[0]), as(x[1]), relation_quiet(rel))));       \
        return true;                                                                               \
    }
#define AS_INT(v) ((v).lo)
    ARITH(f32, "f32", of_int, AS_INT)
    ARITH(f64, "f64", of_int, AS_INT)
    ARITH(f80, "extF80", of_f80, as_f80)
    if (IS("extF80_rem"))
        *r = of_f80(ieee_remainder(e, as_f80(x[0]), as_f80(x[1])));
    else if (IS("f32_roundToInt"))
        *r = of_int(f32_round_int(e, (f32)x[0].lo, true));
    else if (IS("f64_roundToInt"))
        *r = of_int(f64_round_int(e, x[0].lo, true));
    else if (IS("extF80_roundToInt"))
        *r = of_f80(f80_round_int(e, as_f80(x[0])));
    else if (IS("f32_to_f64"))
        *r = of_int(f32_to_f64(e, (f32)x[0].lo));
    else if (IS("f64_to_f32"))
        *r = of_int(f64_to_f32(e, x[0].lo));
    else if (IS("f32_to_extF80"))
        *r = of_f80(f32_to_f80(e, (f32)x[0].lo));
    else if (IS("f64_to_extF80"))
        *r = of_f80(f64_to_f80(e, x[0].lo));
    else if (IS("extF80_to_f32"))
        *r = of_int(f80_to_f32(e, as_f80(x[0])));
    else if (IS("extF80_to_f64"))
        *r = of_int(f80_to_f64(e, as_f80(x[0])));
    else if (IS("i32_to_f32"))
        *r = of_int(i64_to_f32(e, (int32_t)x[0].lo));
    else if (IS("i32_to_f64"))
        *r = of_int(i64_to_f64(e, (int32_t)x[0].lo));
    else if (IS("i32_to_extF80"))
        *r = of_f80(i64_to_f80((int32_t)x[0].lo));
    else if (IS("i64_to_f32"))
        *r = of_int(i64_to_f32(e, (int64_t)x[0].lo));
    else if (IS("i64_to_f64"))
        *r = of_int(i64_to_f64(e, (int64_t)x[0].lo));
    else if (IS("i64_to_extF80"))
        *r = of_f80(i64_to_f80((int64_t)x[0].lo));
    else
        return false;
    return true;
#undef IS
#undef ARITH
#undef AS_INT
}

/* TestFloat's order of flags: inexact, underflow, overflow, divide by zero, invalid. */
static unsigned testfloat_flags(unsigned flags)
{
    return (flags & FP_PE ? 1u : 0) | (flags & FP_UE ? 2u : 0) | (flags & FP_OE ? 4u : 0) |
           (flags & FP_ZE ? 8u : 0) | (flags & FP_IE ? 16u : 0);
}

static bool vector_env(char *file, struct fp_env *e)
{
    static const char *const roundings[] = {"near_even", "min", "max", "minMag"};
    char *rounding = strchr(file, '.');
    if (!rounding)
        return false;
    *rounding++ = 0;
    char *precision = strchr(rounding, '.');
    if (!precision)
        return false;
    *precision++ = 0;
    *e = (struct fp_env){.precision = 64, .masks = FP_ALL, .x87 = !strncmp(file, "extF80", 6)};
    if (!strncmp(precision, "p32", 3))
        e->precision = 24;
    else if (!strncmp(precision, "p64", 3))
        e->precision = 53;
    for (unsigned n = 0; n < 4; n++)
        if (!strcmp(rounding, roundings[n]))
            return e->rounding = (uint8_t)n, true;
    return false;
}

START_TEST(test_known_answers)
{
    const char *dir = getenv("TINAMOU_VECTORS");
    char command[1024], line[256], fn[64] = "";
    struct fp_env e = {0};
    bool known = false;
    unsigned vectors = 0, left_out = 0;

    if (!dir)
        dir = TINAMOU_VECTORS_DEFAULT;
    snprintf(command, sizeof(command), "%s/testfloat.tar.xz", dir);
    FILE *there = fopen(command, "r");
    if (!there) {
        printf("TestFloat vectors not present\n");
        return;
    }
    fclose(there);
    /* Each file's lines come after a line "=NAME". */
    snprintf(command, sizeof(command),
             "tar -xJf '%s/testfloat.tar.xz' --wildcards '*.txt' "
             "--to-command='echo \"=$TAR_FILENAME\"; cat'",
             dir);
    FILE *p = popen(command, "r");
    ck_assert_ptr_nonnull(p);
    struct fp_env model = e;
    while (fgets(line, sizeof(line), p)) {
        char words[5][32];
        if (line[0] == '=') {
            char *name = strrchr(line, '/');
            name = name ? name + 1 : line + 1;
            known = vector_env(name, &model);
            snprintf(fn, sizeof(fn), "%.63s", name);
            continue;
        }
        int n = sscanf(line, "%31s %31s %31s %31s %31s", words[0], words[1], words[2], words[3],
                       words[4]);
        if (!known || n < 3 || n > 4) {
            left_out++;
            continue;
        }
        struct value x[2] = {parse(words[0]), parse(words[1])}, got = {0, 0};
        struct value want = parse(words[n - 2]);
        e = model;
        if (!apply(fn, &e, x, &got)) {
            left_out++;
            continue;
        }
        vectors++;
        ck_assert_msg(got.lo == want.lo && got.se == want.se &&
                          testfloat_flags(e.flags) == strtoul(words[n - 1], NULL, 16),
                      "%s rounding %u precision %u: %s got %04x%016llx flags %02x", fn, e.rounding,
                      e.precision, line, got.se, (unsigned long long)got.lo,
                      testfloat_flags(e.flags));
    }
    ck_assert_int_eq(pclose(p), 0);
    printf("%u TestFloat vectors, %u of functions not here\n", vectors, left_out);
    ck_assert_uint_gt(vectors, 10000);
}
END_TEST

/* ---- transcendental functions against MPFR ---------------------------------------------------- */

enum { MPFR_BITS = 320, MPFR_ROUNDS = 10000 };

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1dull;
}

/* A number with an exponent from low to high; -16383 makes it denormal. */
static f80 rnd_f80(int low, int high, bool may_be_negative)
{
    int exp = low + (int)(rnd() % (unsigned)(high - low + 1));
    uint64_t mant = rnd() % 4 ? rnd() : rnd() << rnd() % 63;
    bool negative = may_be_negative && (rnd() & 1);
    mant = exp == -16383 ? mant >> 1 | 1 : mant | 1ull << 63;
    return (f80){mant, (uint16_t)((exp + 16383) | (negative ? 0x8000 : 0))};
}

/* A number next to a multiple of pi / 2, where reduction leaves nothing but its last bits. */
static f80 near_half_pi(void)
{
    mpfr_t m;
    mpfr_init2(m, MPFR_BITS);
    mpfr_const_pi(m, MPFR_RNDN);
    mpfr_mul_ui(m, m, rnd() >> (1 + rnd() % 62), MPFR_RNDN);
    mpfr_div_2ui(m, m, 1, MPFR_RNDN);
    if (mpfr_zero_p(m))
        mpfr_set_ui(m, 1, MPFR_RNDN);
    long exp = mpfr_get_exp(m) - 1;
    mpfr_mul_2si(m, m, 63 - exp, MPFR_RNDN);
    f80 x = {mpfr_get_uj(m, MPFR_RNDZ), (uint16_t)(exp + 16383)};
    mpfr_clear(m);
    return exp > 62 ? (f80){1ull << 63, 16383} : x;
}

static void to_mpfr(mpfr_t m, f80 a)
{
    mpfr_set_ui_2exp(m, a.mant, MAX(a.se & 0x7fff, 1) - 16383 - 63, MPFR_RNDN);
    if (a.se >> 15)
        mpfr_neg(m, m, MPFR_RNDN);
}

/* Distance from the exact result in units of the last place of a. */
static double ulps(f80 a, mpfr_t exact)
{
    mpfr_t m;
    if ((a.se & 0x7fff) == 0x7fff) /* an overflow: right or altogether wrong */
        return a.mant == 1ull << 63 && mpfr_get_exp(exact) > 16384 &&
                       (mpfr_signbit(exact) != 0) == a.se >> 15
                   ? 0
                   : INFINITY;
    mpfr_init2(m, MPFR_BITS);
    to_mpfr(m, a);
    mpfr_sub(m, m, exact, MPFR_RNDN);
    mpfr_mul_2si(m, m, 63 + 16383 - MAX(a.se & 0x7fff, 1), MPFR_RNDN);
    double d = fabs(mpfr_get_d(m, MPFR_RNDN));
    mpfr_clear(m);
    return d;
}

enum trans { T_SIN, T_COS, T_TAN, T_ATAN2, T_EXP2M1, T_YLOG2X, T_YLOG2XP1, T_COUNT };

/* sin, cos and tan with the 66-bit pi of the x87: reduced by it, then exact. */
static void mpfr_angle(enum trans fn, mpfr_t r, mpfr_t x)
{
    mpfr_t half_pi, n, s, c;
    mpfr_inits2(MPFR_BITS, half_pi, n, s, c, (mpfr_ptr)NULL);
    mpfr_set_str(half_pi, "C90FDAA22168C234C@-17", 16, MPFR_RNDN); /* pi / 4 */
    mpfr_mul_ui(half_pi, half_pi, 2, MPFR_RNDN);
    mpfr_div(n, x, half_pi, MPFR_RNDN);
    mpfr_round(n, n);
    mpfr_fms(r, n, half_pi, x, MPFR_RNDN);
    mpfr_neg(r, r, MPFR_RNDN);
    mpfr_sin_cos(s, c, r, MPFR_RNDN);
    mpfr_fmod_ui(n, n, 4, MPFR_RNDN);
    unsigned quarter = (unsigned)(mpfr_get_si(n, MPFR_RNDN) + 4) & 3;
    bool swap = (quarter & 1) ^ (fn == T_COS);
    if (fn == T_TAN) {
        if (quarter & 1) {
            mpfr_div(r, c, s, MPFR_RNDN);
            mpfr_neg(r, r, MPFR_RNDN);
        } else {
            mpfr_div(r, s, c, MPFR_RNDN);
        }
    } else {
        mpfr_set(r, swap ? c : s, MPFR_RNDN);
        if (fn == T_SIN ? quarter & 2 : quarter == 1 || quarter == 2)
            mpfr_neg(r, r, MPFR_RNDN);
    }
    mpfr_clears(half_pi, n, s, c, (mpfr_ptr)NULL);
}

static double one_error(enum trans fn, f80 *x, f80 *y, f80 *r)
{
    struct fp_env e = {.precision = 64, .masks = FP_ALL, .x87 = true};
    mpfr_t mx, my, exact;
    static const int ranges[] = {2, 60, 16383}; /* the last: all there is */
    int range = ranges[rnd() % 3];

    *y = range == 16383 ? rnd_f80(-range, range, true) : rnd_f80(-1000, 1000, true);
    mpfr_inits2(MPFR_BITS, mx, my, exact, (mpfr_ptr)NULL);
    switch (fn) {
    case T_ATAN2:
        *x = rnd_f80(-range, range, true);
        *y = rnd_f80(-range, range, true);
        break;
    case T_EXP2M1:
        *x = rnd_f80(-range, -1, true);
        if (rnd() % 64 == 0)
            *x = (f80){1ull << 63, rnd() & 1 ? 0x3fff : 0xbfff};
        break;
    case T_YLOG2X:
        *x = rnd_f80(-range, range, false);
        if (rnd() % 3 == 0) /* near 1 */
            *x = rnd() & 1 ? (f80){1ull << 63 | rnd() >> (1 + rnd() % 62), 0x3fff}
                           : (f80){~(rnd() >> (1 + rnd() % 62)), 0x3ffe};
        break;
    case T_YLOG2XP1:
        *x = rnd_f80(-range, -2, true);
        break;
    default:
        *x = rnd() % 4 ? rnd_f80(-range, MIN(range, 62), true) : near_half_pi();
        break;
    }
    to_mpfr(mx, *x);
    to_mpfr(my, *y);
    switch (fn) {
    case T_SIN:
    case T_COS:
        ck_assert(f80_sin_cos(&e, *x, fn == T_SIN ? r : NULL, fn == T_COS ? r : NULL));
        mpfr_angle(fn, exact, mx);
        break;
    case T_TAN:
        ck_assert(f80_tan(&e, *x, r));
        mpfr_angle(fn, exact, mx);
        break;
    case T_ATAN2:
        *r = f80_atan2(&e, *y, *x);
        mpfr_atan2(exact, my, mx, MPFR_RNDN);
        break;
    case T_EXP2M1:
        *r = f80_exp2m1(&e, *x);
        mpfr_const_log2(exact, MPFR_RNDN);
        mpfr_mul(mx, mx, exact, MPFR_RNDN);
        mpfr_expm1(exact, mx, MPFR_RNDN);
        break;
    case T_YLOG2X:
        *r = f80_ylog2x(&e, *y, *x);
        mpfr_log2(exact, mx, MPFR_RNDN);
        mpfr_mul(exact, exact, my, MPFR_RNDN);
        break;
    default:
        *r = f80_ylog2xp1(&e, *y, *x);
        mpfr_log1p(exact, mx, MPFR_RNDN);
        mpfr_const_log2(mx, MPFR_RNDN);
        mpfr_div(exact, exact, mx, MPFR_RNDN);
        mpfr_mul(exact, exact, my, MPFR_RNDN);
        break;
    }
    double err = mpfr_zero_p(exact) ? 0 : ulps(*r, exact);
    mpfr_clears(mx, my, exact, (mpfr_ptr)NULL);
    return err;
}

START_TEST(test_transcendental_error)
{
    static const char *const names[T_COUNT] = {"FSIN",  "FCOS",  "FPTAN",  "FPATAN",
                                               "F2XM1", "FYL2X", "FYL2XP1"};
    for (unsigned fn = 0; fn < T_COUNT; fn++) {
        double worst = 0;
        for (unsigned k = 0; k < MPFR_ROUNDS; k++) {
            f80 x, y, r;
            double err = one_error((enum trans)fn, &x, &y, &r);
            ck_assert_msg(err < 0.5001,
                          "%s of x %04x:%016llx y %04x:%016llx is %04x:%016llx, %g ulp off",
                          names[fn], x.se, (unsigned long long)x.mant, y.se,
                          (unsigned long long)y.mant, r.se, (unsigned long long)r.mant, err);
            worst = fmax(worst, err);
        }
        printf("%s: at most %.6f ulp\n", names[fn], worst);
    }
    mpfr_free_cache();
}
END_TEST

/* ---- a few that are told by the manual -------------------------------------------------------- */

/* What is no number, or no argument: SDM vol. 2, tables of FSIN, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1. */
START_TEST(test_transcendental_special)
{
#define INF                                                                                        \
    {                                                                                              \
        1ull << 63, 0x7fff                                                                         \
    }
#define M_INF                                                                                      \
    {                                                                                              \
        1ull << 63, 0xffff                                                                         \
    }
#define ZERO                                                                                       \
    {                                                                                              \
        0, 0                                                                                       \
    }
#define M_ZERO                                                                                     \
    {                                                                                              \
        0, 0x8000                                                                                  \
    }
#define ONE                                                                                        \
    {                                                                                              \
        1ull << 63, 0x3fff                                                                         \
    }
#define M_ONE                                                                                      \
    {                                                                                              \
        1ull << 63, 0xbfff                                                                         \
    }
#define TWO                                                                                        \
    {                                                                                              \
        1ull << 63, 0x4000                                                                         \
    }
#define QNAN                                                                                       \
    {                                                                                              \
        3ull << 62, 0xffff                                                                         \
    } /* the default one */
#define PI                                                                                         \
    {                                                                                              \
        0xc90fdaa22168c235, 0x4000                                                                 \
    }
#define M_PI_                                                                                      \
    {                                                                                              \
        0xc90fdaa22168c235, 0xc000                                                                 \
    }
#define PI_2                                                                                       \
    {                                                                                              \
        0xc90fdaa22168c235, 0x3fff                                                                 \
    }
#define PI_4                                                                                       \
    {                                                                                              \
        0xc90fdaa22168c235, 0x3ffe                                                                 \
    }
#define PI3_4                                                                                      \
    {                                                                                              \
        0x96cbe3f9990e91a8, 0x4000                                                                 \
    }
    static const struct {
        enum trans fn;
        f80 x, y, r;
        uint32_t flags;
    } cases[] = {
        {T_SIN, ZERO, ZERO, ZERO, 0},         {T_SIN, M_ZERO, ZERO, M_ZERO, 0},
        {T_SIN, INF, ZERO, QNAN, FP_IE},      {T_COS, M_ZERO, ZERO, ONE, 0},
        {T_COS, M_INF, ZERO, QNAN, FP_IE},    {T_TAN, M_ZERO, ZERO, M_ZERO, 0},
        {T_TAN, INF, ZERO, QNAN, FP_IE},      {T_ATAN2, ZERO, ZERO, ZERO, 0},
        {T_ATAN2, M_ZERO, ZERO, PI, FP_PE},   {T_ATAN2, M_ZERO, M_ZERO, M_PI_, FP_PE},
        {T_ATAN2, ONE, M_ZERO, M_ZERO, 0},    {T_ATAN2, M_ONE, ZERO, PI, FP_PE},
        {T_ATAN2, ZERO, ONE, PI_2, FP_PE},    {T_ATAN2, INF, INF, PI_4, FP_PE},
        {T_ATAN2, M_INF, INF, PI3_4, FP_PE},  {T_ATAN2, INF, ONE, ZERO, 0},
        {T_ATAN2, M_INF, ONE, PI, FP_PE},     {T_ATAN2, ONE, INF, PI_2, FP_PE},
        {T_EXP2M1, ZERO, ZERO, ZERO, 0},      {T_EXP2M1, M_ZERO, ZERO, M_ZERO, 0},
        {T_EXP2M1, ONE, ZERO, ONE, FP_PE}, /* as powers of two for FYL2X */
        {T_EXP2M1, M_ONE, ZERO, {1ull << 63, 0xbffe}, FP_PE},        {T_YLOG2X, ONE, ONE, ZERO, 0},
        {T_YLOG2X, ONE, M_ONE, M_ZERO, 0},    {T_YLOG2X, ONE, INF, QNAN, FP_IE},
        {T_YLOG2X, TWO, ONE, ONE, FP_PE},         {T_YLOG2X, M_ONE, ONE, QNAN, FP_IE},
        {T_YLOG2X, ZERO, ONE, M_INF, FP_ZE},  {T_YLOG2X, M_ZERO, M_ONE, INF, FP_ZE},
        {T_YLOG2X, ZERO, ZERO, QNAN, FP_IE},  {T_YLOG2X, ZERO, INF, M_INF, 0},
        {T_YLOG2X, INF, ZERO, QNAN, FP_IE},   {T_YLOG2X, INF, M_ONE, M_INF, 0},
        {T_YLOG2X, INF, INF, INF, 0},         {T_YLOG2X, M_INF, ONE, QNAN, FP_IE},
        {T_YLOG2X, TWO, INF, INF, 0},         {T_YLOG2XP1, ZERO, ONE, ZERO, 0},
        {T_YLOG2XP1, M_ZERO, ONE, M_ZERO, 0}, {T_YLOG2XP1, ZERO, INF, QNAN, FP_IE},
        {T_YLOG2XP1, INF, ONE, INF, 0},
    };

    for (unsigned k = 0; k < ARRAY_LEN(cases); k++) {
        struct fp_env e = {.precision = 64, .masks = FP_ALL, .x87 = true};
        f80 x = cases[k].x, y = cases[k].y, r = ZERO;

        switch (cases[k].fn) {
        case T_SIN:
            ck_assert(f80_sin_cos(&e, x, &r, NULL));
            break;
        case T_COS:
            ck_assert(f80_sin_cos(&e, x, NULL, &r));
            break;
        case T_TAN:
            ck_assert(f80_tan(&e, x, &r));
            break;
        case T_ATAN2:
            r = f80_atan2(&e, y, x);
            break;
        case T_EXP2M1:
            r = f80_exp2m1(&e, x);
            break;
        case T_YLOG2X:
            r = f80_ylog2x(&e, y, x);
            break;
        default:
            r = f80_ylog2xp1(&e, y, x);
            break;
        }
        ck_assert_msg(
            r.se == cases[k].r.se && r.mant == cases[k].r.mant && e.flags == cases[k].flags,
            "case %u: %04x:%016llx, flags %x", k, r.se, (unsigned long long)r.mant, e.flags);
    }
    /* From 2^63 on, C2 says that nothing was done. */
    struct fp_env e = {.precision = 64, .masks = FP_ALL, .x87 = true};
    f80 r = ONE, big = {1ull << 63, 16383 + 63}, last = {UINT64_MAX, 0x8000 | (16383 + 62)};
    ck_assert(!f80_sin_cos(&e, big, &r, NULL) && !f80_tan(&e, big, &r));
    ck_assert_uint_eq(e.flags, 0);
    ck_assert_uint_eq(r.se, 0x3fff);
    ck_assert(f80_sin_cos(&e, last, &r, NULL) && f80_tan(&e, last, &r));
}
END_TEST

START_TEST(test_adjusted_results)
{
    /* SDM vol. 1, 8.5.4 and 8.5.5: unmasked, the exponent is off by 24576. */
    struct fp_env e = {.precision = 64, .x87 = true};
    f80 r = f80_mul(&e, (f80){1ull << 63, 0x7ffe}, (f80){1ull << 63, 0x4000});
    ck_assert_uint_eq(e.flags, FP_OE);
    ck_assert_uint_eq(r.se, 0x7fff - 24576);
    e.flags = 0;
    r = f80_div(&e, (f80){1ull << 63, 1}, (f80){1ull << 63, 0x4000});
    ck_assert_uint_eq(e.flags, FP_UE);
    ck_assert_uint_eq(r.se, 24576);
}
END_TEST

START_TEST(test_packed_decimal)
{
    struct fp_env e = {.precision = 64, .masks = FP_ALL, .x87 = true};
    static const uint8_t in[10] = {0x89, 0x67, 0x45, 0x23, 0x01, 0, 0, 0, 0x99, 0x80};
    uint8_t out[10];
    f80_to_bcd(&e, bcd_to_f80(in), out);
    ck_assert_mem_eq(in, out, 10);
    ck_assert_uint_eq(e.flags, 0);
    f80_to_bcd(&e, i64_to_f80(1000000000000000000), out);
    ck_assert_uint_eq(e.flags, FP_IE);
    ck_assert_uint_eq(ld16(out + 8), 0xffff);
    ck_assert_uint_eq(ld64(out), 0xc000000000000000ull);
}
END_TEST

START_TEST(test_approximations)
{
    /* The bound is 1.5 * 2^-12 (SDM vol. 2, RCPPS). */
    for (uint32_t a = 0x3f800000; a < 0x40800000; a += 911) {
        double x = host_f32(a);
        ck_assert(fabs(host_f32(f32_rcp_approx(a)) * x - 1) <= 1.5 / 4096);
        ck_assert(fabs(host_f32(f32_rsqrt_approx(a)) * sqrt(x) - 1) <= 1.5 / 4096);
    }
    ck_assert_uint_eq(f32_rcp_approx(0x3f800000), 0x3f7ff000);
    ck_assert_uint_eq(f32_rcp_approx(0x80000001), 0xff800000);
    ck_assert_uint_eq(f32_rsqrt_approx(0xbf800000), F32_DEFAULT_NAN);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("softfloat");
    TCase *tc = tcase_create("softfloat");
    SRunner *sr;
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_known_answers);
    tcase_add_test(tc, test_transcendental_error);
    tcase_add_test(tc, test_transcendental_special);
    tcase_add_test(tc, test_adjusted_results);
    tcase_add_test(tc, test_packed_decimal);
    tcase_add_test(tc, test_approximations);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? 1 : 0;
}
