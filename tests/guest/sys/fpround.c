/* Every rounding mode and precision of x87 and SSE, denormals, FTZ and DAZ: small sums whose exact
 * results are known, so that each answer follows from the definition alone. SDM vol. 1, 4.8 and 8.1.5.
 *
 * Values are bit patterns: the guest's compiler uses no floating point.
 *
 * QEMU is known to differ: its SSE has no DE.
 */
#include "sys.h"

enum { NEAREST, DOWN, UP, ZERO };
enum { SINGLE = 0, DOUBLE = 2, EXTENDED = 3 };
enum { IE = 1, DNE = 2, ZE = 4, OE = 8, UE = 16, PE = 32 };
#define FTZ 0x8000u
#define DAZ 0x40u

#if BITS == 64
#define V(name) #name "(%rip)"
#else
#define V(name) #name
#endif

u32 f_a, f_b, f_r, mx, mx_out;
u64 d_a, d_b, d_r;
u16 cw, sw;
struct {
    u64 m;
    u16 e, pad[3];
} t_a, t_b, t_r; /* 80 bits */

CODE(ss_add, "ldmxcsr " V(mx) "; movss " V(f_a) ", %xmm0; addss " V(f_b) ", %xmm0; movss %xmm0, " V(
                 f_r) "; stmxcsr " V(mx_out) "; ret");
CODE(ss_mul, "ldmxcsr " V(mx) "; movss " V(f_a) ", %xmm0; mulss " V(f_b) ", %xmm0; movss %xmm0, " V(
                 f_r) "; stmxcsr " V(mx_out) "; ret");
CODE(ss_div, "ldmxcsr " V(mx) "; movss " V(f_a) ", %xmm0; divss " V(f_b) ", %xmm0; movss %xmm0, " V(
                 f_r) "; stmxcsr " V(mx_out) "; ret");
CODE(ss_sqrt, "ldmxcsr " V(mx) "; sqrtss " V(f_a) ", %xmm0; movss %xmm0, " V(f_r) "; stmxcsr " V(
                  mx_out) "; ret");
CODE(sd_add, "ldmxcsr " V(mx) "; movsd " V(d_a) ", %xmm0; addsd " V(d_b) ", %xmm0; movsd %xmm0, " V(
                 d_r) "; stmxcsr " V(mx_out) "; ret");
CODE(sd_div, "ldmxcsr " V(mx) "; movsd " V(d_a) ", %xmm0; divsd " V(d_b) ", %xmm0; movsd %xmm0, " V(
                 d_r) "; stmxcsr " V(mx_out) "; ret");
CODE(sd_to_ss, "ldmxcsr " V(mx) "; cvtsd2ss " V(d_a) ", %xmm0; movss %xmm0, " V(f_r) "; stmxcsr " V(
                   mx_out) "; ret");
CODE(ss_to_int, "ldmxcsr " V(mx) "; cvtss2si " V(f_a) ", %eax; cvttss2si " V(
                    f_a) ", %ecx"
                         "; stmxcsr " V(mx_out) "; ret");
CODE(int_to_ss, "ldmxcsr " V(mx) "; cvtsi2ssl " V(f_a) ", %xmm0; movss %xmm0, " V(
                    f_r) "; stmxcsr " V(mx_out) "; ret");

/* x87: t_a op t_b to t_r and to the narrower ones */
CODE(x_add, "fninit; fldcw " V(cw) "; fldt " V(t_a) "; fldt " V(t_b) "; faddp; fnstsw " V(
                sw) "; fstpt " V(t_r) "; ret");
CODE(x_div, "fninit; fldcw " V(cw) "; fldt " V(t_a) "; fldt " V(t_b) "; fdivrp; fnstsw " V(
                sw) "; fstpt " V(t_r) "; ret");
CODE(x_sqrt,
     "fninit; fldcw " V(cw) "; fldt " V(t_a) "; fsqrt; fnstsw " V(sw) "; fstpt " V(t_r) "; ret");
CODE(x_rint,
     "fninit; fldcw " V(cw) "; fldt " V(t_a) "; frndint; fnstsw " V(sw) "; fstpt " V(t_r) "; ret");
CODE(x_fist, "fninit; fldcw " V(cw) "; fldt " V(t_a) "; fistpl " V(f_r) "; fnstsw " V(sw) "; ret");
CODE(x_fsts, "fninit; fldcw " V(cw) "; fldt " V(t_a) "; fstps " V(f_r) "; fnstsw " V(sw) "; ret");
CODE(x_fstl, "fninit; fldcw " V(cw) "; fldt " V(t_a) "; fstpl " V(d_r) "; fnstsw " V(sw) "; ret");
CODE(x_pi, "fninit; fldcw " V(cw) "; fldpi; fnstsw " V(sw) "; fstpt " V(t_r) "; ret");
CODE(x_ln2, "fninit; fldcw " V(cw) "; fldln2; fnstsw " V(sw) "; fstpt " V(t_r) "; ret");
CODE(x_fld4, "fninit; fldcw " V(cw) "; flds " V(f_a) "; fnstsw " V(sw) "; fstpt " V(t_r) "; ret");
CODE(x_fld10, "fninit; fldcw " V(cw) "; fldt " V(t_a) "; fnstsw " V(sw) "; fstpt " V(t_r) "; ret");

/* ---- SSE --------------------------------------------------------------------------------------- */

/* want: for nearest, down, up, to zero */
static void ss(int line, const char *what, const void *op, u32 a, u32 b, const u32 want[4],
               u32 flags)
{
    for (unsigned rc = 0; rc < 4; rc++) {
        f_a = a;
        f_b = b;
        mx = 0x1f80 | rc << 13;
        run(op);
        expect_at_line(line, what, NONE, 0);
        check_at(line, what, f_r, want[rc]);
        check_at(line, "flags", mx_out & 0x3f, flags);
        check_at(line, "the rest of MXCSR", mx_out & ~0x3fu, mx);
    }
}
#define SSE(what, op, a, b, n, d, u, z, flags)                                                     \
    do {                                                                                           \
        static const u32 want[4] = {n, d, u, z};                                                   \
        ss(__LINE__, what, op, a, b, want, flags);                                                 \
    } while (0)
#define ONE  0x3f800000u
#define MONE 0xbf800000u

static void sse(void)
{
    SSE("1 + 2^-24: a tie", ss_add, ONE, 0x33800000, ONE, ONE, ONE + 1, ONE, PE);
    SSE("1.0..1 + 2^-24: a tie to even", ss_add, ONE + 1, 0x33800000, ONE + 2, ONE + 1, ONE + 2,
        ONE + 1, PE);
    SSE("1 + (2^-24 and a bit)", ss_add, ONE, 0x33800001, ONE + 1, ONE, ONE + 1, ONE, PE);
    SSE("1 + the smallest denormal", ss_add, ONE, 1, ONE, ONE, ONE + 1, ONE, PE | DNE);
    SSE("-1 - 2^-24", ss_add, MONE, 0xb3800000, MONE, MONE + 1, MONE, MONE, PE);
    SSE("1 / 3", ss_div, ONE, 0x40400000, 0x3eaaaaab, 0x3eaaaaaa, 0x3eaaaaab, 0x3eaaaaaa, PE);
    SSE("-1 / 3", ss_div, MONE, 0x40400000, 0xbeaaaaab, 0xbeaaaaab, 0xbeaaaaaa, 0xbeaaaaaa, PE);
    SSE("2 / 1", ss_div, 0x40000000, ONE, 0x40000000, 0x40000000, 0x40000000, 0x40000000, 0);
    SSE("1 - 1: sign of zero", ss_add, ONE, MONE, 0, 0x80000000, 0, 0, 0);
    SSE("sqrt 2", ss_sqrt, 0x40000000, 0, 0x3fb504f3, 0x3fb504f3, 0x3fb504f4, 0x3fb504f3, PE);
    SSE("sqrt of a denormal", ss_sqrt, 1, 0, 0x1a3504f3, 0x1a3504f3, 0x1a3504f4, 0x1a3504f3,
        PE | DNE);
    SSE("overflow", ss_mul, 0x7f7fffff, 0x40000000, 0x7f800000, 0x7f7fffff, 0x7f800000, 0x7f7fffff,
        OE | PE);
    SSE("negative overflow", ss_mul, 0xff7fffff, 0x40000000, 0xff800000, 0xff800000, 0xff7fffff,
        0xff7fffff, OE | PE);
    SSE("exact denormal result: no underflow", ss_mul, 0x00800000, 0x3f000000, 0x00400000,
        0x00400000, 0x00400000, 0x00400000, 0);
    SSE("half the smallest denormal", ss_mul, 1, 0x3f000000, 0, 0, 1, 0, UE | PE | DNE);
    SSE("three quarters of it", ss_mul, 1, 0x3f400000, 1, 0, 1, 0, UE | PE | DNE);
    SSE("minus half of it", ss_mul, 0x80000001, 0x3f000000, 0x80000000, 0x80000001, 0x80000000,
        0x80000000, UE | PE | DNE);
    /* tininess is found after rounding: what rounds up to the smallest normal is not tiny when it
     * would be so with unbounded exponent too */
    SSE("rounds to the smallest normal", ss_mul, 0x3f7fffff, 0x00800001, 0x00800000, 0x00800000,
        0x00800001, 0x00800000, PE);
    SSE("tiny after rounding", ss_mul, 0x3f7fffff, 0x00800000, 0x00800000, 0x007fffff, 0x00800000,
        0x007fffff, UE | PE);
    SSE("NaN payload: the first operand's", ss_add, 0x7fc12345, 0x7fc54321, 0x7fc12345, 0x7fc12345,
        0x7fc12345, 0x7fc12345, 0);
    SSE("signalling NaN becomes quiet", ss_add, 0x7f812345, 0x7fc54321, 0x7fc12345, 0x7fc12345,
        0x7fc12345, 0x7fc12345, IE);
    SSE("signalling NaN second: the first's payload", ss_add, 0x7fc12345, 0x7f854321, 0x7fc12345,
        0x7fc12345, 0x7fc12345, 0x7fc12345, IE);
    SSE("infinity - infinity", ss_add, 0x7f800000, 0xff800000, 0xffc00000, 0xffc00000, 0xffc00000,
        0xffc00000, IE);
    SSE("0 / 0", ss_div, 0, 0, 0xffc00000, 0xffc00000, 0xffc00000, 0xffc00000, IE);
    SSE("denormal / 0: ZE and no DE", ss_div, 1, 0, 0x7f800000, 0x7f800000, 0x7f800000, 0x7f800000,
        ZE);
    SSE("sqrt of -0", ss_sqrt, 0x80000000, 0, 0x80000000, 0x80000000, 0x80000000, 0x80000000, 0);
    SSE("sqrt of -1", ss_sqrt, MONE, 0, 0xffc00000, 0xffc00000, 0xffc00000, 0xffc00000, IE);
    SSE("16777217 to single", int_to_ss, 16777217, 0, 0x4b800000, 0x4b800000, 0x4b800001,
        0x4b800000, PE);
    SSE("-16777217 to single", int_to_ss, -16777217u, 0, 0xcb800000, 0xcb800001, 0xcb800000,
        0xcb800000, PE);

    static const struct {
        u32 in;
        u32 want[4];
        u32 cut;
    } ints[] = {
        {0x3fc00000, {2, 1, 2, 1}, 1},                                    /* 1.5 */
        {0x40200000, {2, 2, 3, 2}, 2},                                    /* 2.5 */
        {0xbf000000, {0, -1u, 0, 0}, 0},                                  /* -0.5 */
        {0xbfc00000, {-2u, -2u, -1u, -1u}, -1u},                          /* -1.5 */
        {0x00000001, {0, 0, 1, 0}, 0},                                    /* the smallest */
        {0x4f000000, {1u << 31, 1u << 31, 1u << 31, 1u << 31}, 1u << 31}, /* 2^31: indefinite */
        {0xcf000000, {1u << 31, 1u << 31, 1u << 31, 1u << 31}, 1u << 31}, /* -2^31: exact */
    };
    for (unsigned k = 0; k < sizeof(ints) / sizeof(ints[0]); k++) {
        for (unsigned rc = 0; rc < 4; rc++) {
            f_a = ints[k].in;
            mx = 0x1f80 | rc << 13;
            run(ss_to_int);
            CHECK("CVTSS2SI", (u32)trap.r.ax, ints[k].want[rc]);
            CHECK("CVTTSS2SI", (u32)trap.r.cx, ints[k].cut);
        }
    }
}

static void doubles(void)
{
    static const u32 dwant[4] = {0x3eaaaaab, 0x3eaaaaaa, 0x3eaaaaab, 0x3eaaaaaa};
    static const u64 third[4] = {0x3fd5555555555555, 0x3fd5555555555555, 0x3fd5555555555556,
                                 0x3fd5555555555555};
    for (unsigned rc = 0; rc < 4; rc++) {
        mx = 0x1f80 | rc << 13;
        d_a = 0x3ff0000000000000;
        d_b = 0x4008000000000000;
        run(sd_div);
        CHECK("1 / 3, double", d_r, third[rc]);
        d_b = 0x0000000000000001;
        run(sd_add);
        CHECK("1 + the smallest, double", d_r, 0x3ff0000000000000 + (rc == UP));
        CHECK("flags", mx_out & 0x3f, PE | DNE);
        d_a = 0x3fd5555555555555;
        run(sd_to_ss);
        CHECK("1/3 to single", f_r, dwant[rc]);
        d_a = 0x36a0000000000000; /* 2^-149 */
        run(sd_to_ss);
        CHECK("2^-149 to single", f_r, 1);
        CHECK("flags", mx_out & 0x3f, 0);
        d_a = 0x3690000000000000; /* 2^-150 */
        run(sd_to_ss);
        CHECK("2^-150 to single", f_r, rc == UP);
        CHECK("flags", mx_out & 0x3f, UE | PE);
    }
}

static void flush(void)
{
    static const u32 same[2] = {0, 0x80000000};

    for (unsigned s = 0; s < 2; s++) {
        /* FTZ: tiny results become zero of their sign, whatever the rounding */
        for (unsigned rc = 0; rc < 4; rc++) {
            f_a = 0x00800000 | s << 31;
            f_b = 0x3f000000;
            mx = 0x1f80 | FTZ | rc << 13;
            run(ss_mul);
            CHECK("FTZ", f_r, same[s]);
            CHECK("its flags", mx_out & 0x3f, UE | PE);
        }
        f_a = 1 | s << 31;
        f_b = ONE;
        mx = 0x1f80 | DAZ;
        run(ss_mul);
        CHECK("DAZ", f_r, same[s]);
        CHECK("its flags: no DE", mx_out & 0x3f, 0);
        f_b = 0x7f000000;
        mx = 0x1f80 | FTZ;
        run(ss_mul);
        CHECK("FTZ leaves operands", f_r, 0x34800000 | s << 31);
        CHECK("DE", mx_out & 0x3f, DNE);
    }
    f_a = 1;
    f_b = 1;
    mx = 0x1f80 | DAZ;
    run(ss_div);
    CHECK("DAZ: denormal / denormal is 0 / 0", f_r, 0xffc00000);
    CHECK("its flags", mx_out & 0x3f, IE);
    mx = 0x1f80 | DAZ;
    run(ss_sqrt);
    CHECK("DAZ: sqrt", f_r, 0);
    /* FTZ acts only while underflow is masked */
    f_a = 0x00800000;
    f_b = 0x3f000000;
    mx = (0x1f80 & ~(UE << 7)) | FTZ;
    run(ss_mul);
    EXPECT("FTZ with underflow unmasked", XM, 0);
}

/* ---- x87 --------------------------------------------------------------------------------------- */

static void x87(int line, const char *what, const void *op, unsigned pc, const u64 m[4], u16 e,
                const u8 c1[4], u32 flags)
{
    for (unsigned rc = 0; rc < 4; rc++) {
        cw = (u16)(0x3f | pc << 8 | rc << 10);
        run(op);
        expect_at_line(line, what, NONE, 0);
        check_at(line, what, t_r.m, m[rc]);
        check_at(line, what, t_r.e, e);
        check_at(line, "flags", sw & 0x3f, flags);
        if (flags & PE)
            check_at(line, "C1: rounded up", sw >> 9 & 1, c1[rc]);
    }
}

static void set80(void *to, u16 e, u64 m)
{
    struct {
        u64 m;
        u16 e;
    } *t = to;

    t->m = m;
    t->e = e;
}
#define X87(what, op, pc, e, mn, md, mu, mz, c1n, c1d, c1u, c1z, flags)                            \
    do {                                                                                           \
        static const u64 m[4] = {mn, md, mu, mz};                                                  \
        static const u8 c1[4] = {c1n, c1d, c1u, c1z};                                              \
        x87(__LINE__, what, op, pc, m, e, c1, flags);                                              \
    } while (0)
#define INT1 0x8000000000000000

static void precisions(void)
{
    set80(&t_a, 0x3fff, INT1);
    set80(&t_b, 0x4000, 0xc000000000000000);
    X87("1 / 3", x_div, EXTENDED, 0x3ffd, 0xaaaaaaaaaaaaaaab, 0xaaaaaaaaaaaaaaaa,
        0xaaaaaaaaaaaaaaab, 0xaaaaaaaaaaaaaaaa, 1, 0, 1, 0, PE);
    X87("1 / 3, double", x_div, DOUBLE, 0x3ffd, 0xaaaaaaaaaaaaa800, 0xaaaaaaaaaaaaa800,
        0xaaaaaaaaaaaab000, 0xaaaaaaaaaaaaa800, 0, 0, 1, 0, PE);
    X87("1 / 3, single", x_div, SINGLE, 0x3ffd, 0xaaaaab0000000000, 0xaaaaaa0000000000,
        0xaaaaab0000000000, 0xaaaaaa0000000000, 1, 0, 1, 0, PE);
    set80(&t_a, 0xbfff, INT1);
    X87("-1 / 3", x_div, EXTENDED, 0xbffd, 0xaaaaaaaaaaaaaaab, 0xaaaaaaaaaaaaaaab,
        0xaaaaaaaaaaaaaaaa, 0xaaaaaaaaaaaaaaaa, 1, 1, 0, 0, PE);
    set80(&t_a, 0x3fff, INT1);
    set80(&t_b, 0x3fff - 64, INT1);
    X87("1 + 2^-64: a tie", x_add, EXTENDED, 0x3fff, INT1, INT1, INT1 + 1, INT1, 0, 0, 1, 0, PE);
    set80(&t_b, 0x3fff - 63, INT1);
    X87("1 + 2^-63", x_add, EXTENDED, 0x3fff, INT1 + 1, INT1 + 1, INT1 + 1, INT1 + 1, 0, 0, 0, 0,
        0);
    X87("1 + 2^-63, double", x_add, DOUBLE, 0x3fff, INT1, INT1, INT1 + 0x800, INT1, 0, 0, 1, 0, PE);
    set80(&t_b, 0, 1);
    X87("1 + the smallest denormal", x_add, EXTENDED, 0x3fff, INT1, INT1, INT1 + 1, INT1, 0, 0, 1,
        0, PE | DNE);
    set80(&t_a, 0x4000, INT1);
    X87("sqrt 2", x_sqrt, EXTENDED, 0x3fff, 0xb504f333f9de6484, 0xb504f333f9de6484,
        0xb504f333f9de6485, 0xb504f333f9de6484, 0, 0, 1, 0, PE);
    set80(&t_a, 0x4000, 0xa000000000000000); /* 2.5 */
    X87("FRNDINT of 2.5: to 2", x_rint, EXTENDED, 0x4000, INT1, INT1, 0xc000000000000000, INT1, 0,
        0, 1, 0, PE);
    X87("the constant pi", x_pi, EXTENDED, 0x4000, 0xc90fdaa22168c235, 0xc90fdaa22168c234,
        0xc90fdaa22168c235, 0xc90fdaa22168c234, 0, 0, 0, 0, 0);
    X87("the constant ln 2", x_ln2, EXTENDED, 0x3ffe, 0xb17217f7d1cf79ac, 0xb17217f7d1cf79ab,
        0xb17217f7d1cf79ac, 0xb17217f7d1cf79ab, 0, 0, 0, 0, 0);
    X87("the constant pi is not cut by the precision", x_pi, SINGLE, 0x4000, 0xc90fdaa22168c235,
        0xc90fdaa22168c234, 0xc90fdaa22168c235, 0xc90fdaa22168c234, 0, 0, 0, 0, 0);
    f_a = 1;
    X87("loading a single denormal", x_fld4, EXTENDED, 0x3fff - 149, INT1, INT1, INT1, INT1, 0, 0,
        0, 0, DNE);
    set80(&t_a, 0, 1);
    X87("loading an extended denormal", x_fld10, EXTENDED, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0);
    set80(&t_a, 0x7fff, 0x8000000000000001);
    X87("loading an extended signalling NaN", x_fld10, EXTENDED, 0x7fff, 0x8000000000000001,
        0x8000000000000001, 0x8000000000000001, 0x8000000000000001, 0, 0, 0, 0, 0);
    f_a = 0x7f800001;
    X87("loading a single signalling NaN", x_fld4, EXTENDED, 0x7fff, 0xc000010000000000,
        0xc000010000000000, 0xc000010000000000, 0xc000010000000000, 0, 0, 0, 0, IE);
    set80(&t_a, 0x3fff, 0x4000000000000000); /* an unnormal: invalid */
    set80(&t_b, 0x3fff, INT1);
    X87("adding to an unnormal", x_add, EXTENDED, 0xffff, 0xc000000000000000, 0xc000000000000000,
        0xc000000000000000, 0xc000000000000000, 0, 0, 0, 0, IE);
    set80(&t_a, 0, INT1); /* a pseudo-denormal counts as a denormal of exponent 1 */
    set80(&t_b, 0, 0);
    X87("a pseudo-denormal and 0", x_add, EXTENDED, 1, INT1, INT1, INT1, INT1, 0, 0, 0, 0, DNE);
}

static void stores(void)
{
    static const u32 third[4] = {0x3eaaaaab, 0x3eaaaaaa, 0x3eaaaaab, 0x3eaaaaaa};
    static const u32 two_half[4] = {2, 2, 3, 2};

    for (unsigned rc = 0; rc < 4; rc++) {
        cw = (u16)(0x33f | rc << 10);
        set80(&t_a, 0x3ffd, 0xaaaaaaaaaaaaaaaa);
        run(x_fsts);
        CHECK("FSTP of 1/3, single", f_r, third[rc]);
        CHECK("C1", sw >> 9 & 1, rc == NEAREST || rc == UP);
        run(x_fstl);
        CHECK("FSTP of 1/3, double", d_r, 0x3fd5555555555555 + (rc == UP));
        set80(&t_a, 0x3fff - 150, INT1);
        run(x_fsts);
        CHECK("FSTP of 2^-150, single", f_r, rc == UP);
        CHECK("flags", sw & 0x3f, UE | PE);
        set80(&t_a, 0x3fff - 149, INT1);
        run(x_fsts);
        CHECK("FSTP of 2^-149, single", f_r, 1);
        CHECK("flags", sw & 0x3f, 0);
        set80(&t_a, 0x3fff + 128, INT1);
        run(x_fsts);
        CHECK("FSTP of 2^128, single", f_r, rc == NEAREST || rc == UP ? 0x7f800000 : 0x7f7fffff);
        CHECK("flags", sw & 0x3f, OE | PE);
        set80(&t_a, 0x4000, 0xa000000000000000);
        run(x_fist);
        CHECK("FISTP of 2.5", f_r, two_half[rc]);
        set80(&t_a, 0xc000, 0xa000000000000000);
        run(x_fist);
        CHECK("FISTP of -2.5", f_r, rc == DOWN ? (u32)-3 : (u32)-2);
        set80(&t_a, 0x401d, 0xffffffff00000000); /* 2^31 - 1/2 */
        run(x_fist);
        CHECK("FISTP of 2^31 - 1/2", f_r, rc == NEAREST || rc == UP ? 0x80000000 : 0x7fffffff);
        CHECK("flags", sw & 0x3f, rc == NEAREST || rc == UP ? IE : PE);
    }
}

void guest_main(void)
{
    sse();
    if (HAS_SSE2)
        doubles();
    else
        skip("SSE2");
    flush();
    precisions();
    stores();
}
