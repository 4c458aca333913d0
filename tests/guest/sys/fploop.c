/* x87 and MMX in loops, long enough to be translated: sums, remainders, the idiom by which compilers
 * truncated to integers before SSE, branches on FNSTSW and on FCOMI, MMX that takes the unit over, and the
 * whole unit saved and loaded in the middle. What is wanted was computed by a processor (an Intel Xeon) that
 * ran the same loops; all of it follows from the manual. SDM vol. 1, chapters 8 and 9.
 */
#include "sys.h"

#if BITS == 64
#define V(name) #name "(%rip)"
#else
#define V(name) #name
#endif

u16 cw_nearest = 0x37f, cw_chop = 0xf7f, cw_short = 0x07f, out_sw;
u32 n_i, f_one = 0x3f800000;
u64 d_half = 0x3fe0000000000000, d_third = 0x3fd5555555555555, out_q;
u64 mm_a = 0x0123456789abcdef, mm_b = 0x1122334455667788;
u8 out_t[16], fx_area[512] __attribute__((aligned(16))), env[108];

#define DEFINED 0xb8ff /* all but the condition codes */

#define LOOP(n, body)                                                                              \
    "movl $1, " V(n_i) "\n 1: " body "\n incl " V(n_i) "\n cmpl $" #n ", " V(n_i) "\n jne 1b\n"
#define RESULT "fstpt " V(out_t) "; fnstsw " V(out_sw) "; fninit; ret"

/* 1 + 1/4 + 1/9 + ... */
CODE(squares,
     "fninit; fldz; fld1\n" LOOP(3000, "fildl " V(n_i) "; fmul %st(0), %st; fdivr %st(1), %st\n"
                                                       "faddp %st, %st(2)") "fstp %st(0);" RESULT);
/* 2 + 2/2 + 2/3 + ... to 24 bits */
CODE(narrow, "fninit; fldcw " V(cw_short) "; fldz\n" LOOP(
                 3000, "fildl " V(n_i) "; fmull " V(d_half) "; fdivrs " V(f_one) "\n"
                                                                                 "faddp %st, "
                                                                                 "%st(1)") RESULT);
/* x / 3 truncated, and n more */
CODE(chopped,
     "fninit; fldz\n" LOOP(
         3000, "fmull " V(d_third) "\n fldcw " V(cw_chop) "; fistpl " V(out_q) "; fldcw " V(
                   cw_nearest) "; fildl " V(out_q) "; fiaddl " V(n_i)) RESULT);
/* x = (x + ln 2) n mod ..., as often as C2 asks for more */
CODE(remainders,
     "fninit; fldpi; fldln2\n" LOOP(
         3000, "fadd %st, %st(1); fxch; fimull " V(
                   n_i) "; fxch; fxch\n 2: fprem\n"
                        "fnstsw %ax; testb $4, %ah; jnz 2b; fxch") "fstp %st(0);" RESULT);
/* Up by a third, and down by 2 from above that */
CODE(sawtooth, "fninit; fld1; fadd %st(0), %st; fldz\n" LOOP(
                   3000, "faddl " V(d_third) "; fcomi %st(1), %st; jbe 3f; fsub %st(1), %st\n"
                                             "3:") RESULT);
/* The whole unit saved, used, and loaded again */
CODE(saved,
     "fninit; fldz; fldpi\n" LOOP(
         600, "fadd %st, %st(1); fxsave " V(fx_area) "; fninit; fldl2e; fxrstor " V(
                  fx_area) "; fnsave " V(env) "; fld1; frstor " V(env)) "fstp %st(0);" RESULT);
/* Onto a full stack from the ninth push on, which leaves the default NaN */
CODE(overflow, "fninit\n" LOOP(3000, "fld1") RESULT);
/* From an empty one */
CODE(underflow,
     "fninit\n" LOOP(3000, "fstps " V(out_q) "; fincstp") "fnstsw " V(out_sw) "; fninit; ret");
/* Sums of words, products, saturated bytes, shifts, general registers */
CODE(
    mmx, "fninit; pxor %mm0, %mm0; movq " V(mm_a) ", %mm1; movq " V(
             mm_b) ", %mm2\n" LOOP(3000,
                                   "paddw %mm1, %mm0; pmullw %mm2, %mm1; paddusb %mm2, %mm1; "
                                   "movd " V(n_i) ", %mm3; psrlq $3, %mm0; pxor %mm3, %mm0; por "
                                                  "%mm2, %mm0\n"
                                                  "movd %mm0, %eax; movd %eax, %mm4; paddb %mm4, "
                                                  "%mm1") "movq %mm0, " V(out_q) "; fnstsw " V(out_sw) "; emms; ret");
/* MMX and x87 on the same registers, in turns */
CODE(turns, "fninit; fldz\n" LOOP(1000, "fstpl " V(out_q) "; movq " V(
                                            out_q) ", %mm0; psrlq $1, %mm0\n"
                                                   "paddd %mm0, %mm0; movq "
                                                   "%mm0, " V(out_q) "; emms\n"
                                                                     "fldl " V(out_q) "; fiaddl " V(
                                                                         n_i) "; fmull " V(d_third))
                RESULT);

static const struct {
    const char *what;
    const void *code;
    u64 mant;
    u16 se, sw;
} loops[] = {
    {"sum of inverse squares", squares, 0xd282466764e60d66, 0x3fff, 0x20},
    {"harmonic sum to 24 bits", narrow, 0x8955b30000000000, 0x4003, 0x20},
    {"truncation by control words", chopped, 0x8c88000000000000, 0x400b, 0x20},
    {"remainders until they are complete", remainders, 0xa93591d8a54ec2a4, 0x3ffe, 0x20},
    {"branches on FCOMI", sawtooth, 0xd5555555554d8600, 0x3fff, 0x3800},
    {"FXSAVE and FNSAVE", saved, 0xeb3a0c48ae160f01, 0x4009, 0x20},
    {"MMX and x87 in turns", turns, 0xf99ffffffffffc1a, 0x4007, 0x20},
    {"stack overflow", overflow, 0xc000000000000000, 0xffff, 0x1041},
};

void guest_main(void)
{
    for (unsigned k = 0; k < sizeof(loops) / sizeof(loops[0]); k++) {
        RUN(loops[k].what, loops[k].code, NONE, 0);
        CHECK("its significand", *(u64 *)out_t, loops[k].mant);
        CHECK("its exponent", *(u16 *)(out_t + 8), loops[k].se);
        CHECK("its status", out_sw & DEFINED, loops[k].sw);
    }
    RUN("stack underflow", underflow, NONE, 0);
    CHECK("stores the default NaN", (u32)out_q, 0xffc00000);
    CHECK("its status", out_sw & DEFINED, 0x3041);
    RUN("MMX", mmx, NONE, 0);
    CHECK("its sum", out_q, 0x136ff37f5dfe77a8);
    CHECK("its status", out_sw, 0);
}
