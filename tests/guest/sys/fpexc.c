/* Unmasked x87 and SSE exceptions and the bits of CR0 and CR4 that gate the units: #MF and when it
 * comes, the external way through IRQ 13 with CR0.NE clear, #XM or #UD, #NM by TS, MP and EM.
 * SDM vol. 1, 8.6 and 11.5; vol. 3, 2.5 and 9.2.
 *
 * QEMU is known to differ: unmasked x87 exceptions do not keep the operands, #XM never comes, and EM is
 * not looked at for SSE.
 */
#include "sys.h"

enum { IE = 1, DNE = 2, ZE = 4, OE = 8, UE = 16, PE = 32 };
enum { SW_ES = 0x80, SW_B = 0x8000 };
#define CR4_FX (CR4_OSFXSR | CR4_OSXMM)

u32 f_a, f_b, f_r;
u64 d_a, d_b, d_r;
u16 sw_out, cw_in;
u32 mxcsr_in, mxcsr_out;

#if BITS == 64
#define V(name) #name "(%rip)"
#else
#define V(name) #name
#endif

/* ---- x87 --------------------------------------------------------------------------------------- */

LABEL(div_wait);
LABEL(div_op);
CODE(div0, "fninit; fldcw " V(cw_in) "; fldz; fld1\n div_op: fdiv %st(1), %st\n nop\n"
                                     " fnstsw " V(sw_out) "\n div_wait: fwait\n ret");
CODE(div0_next, "fninit; fldcw " V(cw_in) "; fldz; fld1; fdiv %st(1), %st\n dn: fld1\n ret");
LABEL(dn);
CODE(div0_nowait, "fninit; fldcw " V(cw_in) "; fldz; fld1; fdiv %st(1), %st\n"
                                            " fnstsw %ax; fnstcw " V(cw_in) "; fnclex; fwait; ret");
CODE(div0_mmx,
     "fninit; fldcw " V(cw_in) "; fldz; fld1; fdiv %st(1), %st\n dm: paddb %mm0, %mm1\n ret");
LABEL(dm);
CODE(div0_emms, "fninit; fldcw " V(cw_in) "; fldz; fld1; fdiv %st(1), %st\n de: emms\n ret");
LABEL(de);
CODE(div0_fxsave,
     "fninit; fldcw " V(cw_in) "; fldz; fld1; fdiv %st(1), %st\n fxsave fx_area\n ret");
CODE(div0_sse,
     "fninit; fldcw " V(cw_in) "; fldz; fld1; fdiv %st(1), %st\n addss %xmm0, %xmm0\n ret");
CODE(div0_unmask, "fninit; fldz; fld1; fdiv %st(1), %st\n" /* masked, then unmasked */
                  " fldcw " V(cw_in) "\n du: fld1\n ret");
LABEL(du);
CODE(stack_over, "fninit; fldcw " V(cw_in) "; fld1;fld1;fld1;fld1;fld1;fld1;fld1;fld1; fldz\n"
                                           " fnstsw " V(sw_out) "\n fwait; ret");
CODE(stack_under, "fninit; fldcw " V(cw_in) "; fstp %st(0)\n fnstsw " V(sw_out) "\n fwait; ret");
CODE(store_over, "fninit; fldcw " V(cw_in) "; fldl " V(d_a) "; fstps " V(f_r) "\n fnstsw " V(
                     sw_out) "\n fwait; ret");
CODE(fist_inv, "fninit; fldcw " V(cw_in) "; fldl " V(d_a) "; fistpl " V(f_r) "\n fnstsw " V(
                   sw_out) "\n fwait; ret");
CODE(clear_fp, "fnclex; fninit; ret");
CODE(fstcw_ax, "fnstsw %ax; ret");
u8 fx_area[512] __attribute__((aligned(16)));

static void x87(void)
{
    cw_in = 0x037f & ~ZE;
    RUN("division by zero, unmasked", div0, MF, 0);
    CHECK("comes at the next waiting instruction", trap.ip, (ulong)div_wait);
    CHECK("status before that", sw_out & (SW_ES | SW_B | 0x3f), SW_ES | SW_B | ZE);
    CHECK("TOP: nothing popped or written", sw_out >> 11 & 7, 6);
    RUN("clear", clear_fp, NONE, 0);
    RUN("at an x87 instruction", div0_next, MF, 0);
    CHECK("its IP", trap.ip, (ulong)dn);
    RUN("clear", clear_fp, NONE, 0);
    RUN("non-waiting instructions do not raise it", div0_nowait, NONE, 0);
    CHECK("they see it", trap.r.ax & (SW_ES | SW_B | ZE), SW_ES | SW_B | ZE);
    cw_in = 0x037f & ~ZE;
    RUN("at an MMX instruction", div0_mmx, MF, 0);
    CHECK("its IP", trap.ip, (ulong)dm);
    RUN("clear", clear_fp, NONE, 0);
    RUN("at EMMS", div0_emms, MF, 0);
    CHECK("its IP", trap.ip, (ulong)de);
    RUN("clear", clear_fp, NONE, 0);
    RUN("FXSAVE does not raise it", div0_fxsave, NONE, 0);
    CHECK("and saves the status", *(u16 *)(fx_area + 2) & SW_ES, SW_ES);
    RUN("clear", clear_fp, NONE, 0);
    RUN("SSE does not raise it", div0_sse, NONE, 0);
    RUN("clear", clear_fp, NONE, 0);
    RUN("unmasking a recorded one", div0_unmask, MF, 0);
    CHECK("its IP", trap.ip, (ulong)du);
    RUN("clear", clear_fp, NONE, 0);
    cw_in = 0x037f & ~IE;
    RUN("stack overflow", stack_over, MF, 0);
    CHECK("IE, SF, C1", sw_out & (IE | 0x40 | 0x200), IE | 0x40 | 0x200);
    CHECK("TOP kept", sw_out >> 11 & 7, 0);
    RUN("clear", clear_fp, NONE, 0);
    RUN("stack underflow", stack_under, MF, 0);
    CHECK("IE, SF, no C1", sw_out & (IE | 0x40 | 0x200), IE | 0x40);
    RUN("clear", clear_fp, NONE, 0);
    cw_in = 0x037f & ~OE;
    d_a = 0x7fe0000000000000; /* 2^1023 */
    f_r = 0x12345678;
    RUN("store that overflows", store_over, MF, 0);
    CHECK("memory is not written", f_r, 0x12345678);
    CHECK("nor popped", sw_out >> 11 & 7, 7);
    CHECK("OE", sw_out & 0x3f, OE);
    RUN("clear", clear_fp, NONE, 0);
    cw_in = 0x037f & ~UE;
    d_a = 0x3690000000000000; /* 2^-150 */
    RUN("store that underflows", store_over, MF, 0);
    CHECK("memory is not written", f_r, 0x12345678);
    RUN("clear", clear_fp, NONE, 0);
    cw_in = 0x037f & ~PE;
    d_a = 0x3ff0000000000001;
    RUN("inexact store", store_over, MF, 0);
    CHECK("is done all the same", f_r, 0x3f800000);
    CHECK("and popped", sw_out >> 11 & 7, 0);
    RUN("clear", clear_fp, NONE, 0);
    cw_in = 0x037f & ~IE;
    d_a = 0x41f0000000000000; /* 2^32 */
    f_r = 0x12345678;
    RUN("FISTP out of range", fist_inv, MF, 0);
    CHECK("memory is not written", f_r, 0x12345678);
    RUN("clear", clear_fp, NONE, 0);
    cw_in = 0x037f;
    RUN("FISTP out of range, masked", fist_inv, NONE, 0);
    CHECK("integer indefinite", f_r, 0x80000000);
}

/* NE clear: FERR# goes to the PIC as IRQ 13, and a write to port F0h lets go of IGNNE#. */
static volatile unsigned irq13;

static bool irq_hook(struct frame *f)
{
    if (f->vector != 0x2d)
        return false;
    irq13++;
    outb(0xf0, 0);
    __asm__ volatile("fnclex");
    outb(0xa0, 0x20);
    outb(0x20, 0x20);
    return true;
}

CODE(div0_irq,
     "fninit; fldcw " V(cw_in) "; fldz; fld1; fdiv %st(1), %st\n sti; nop; nop; fwait; fld1\n"
                               " nop; nop; nop; cli; ret");

static void pic_setup(u8 master, u8 slave)
{
    static const u8 words[][2] = {{0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 1},
                                  {0xa0, 0x11}, {0xa1, 0x28}, {0xa1, 2}, {0xa1, 1}};

    for (unsigned k = 0; k < 8; k++)
        outb(words[k][0], words[k][1]);
    outb(0x21, master);
    outb(0xa1, slave);
}

static void ferr(void)
{
    trap_hook = irq_hook;
    pic_setup(0xfb, 0xdf); /* the slave, and 13 */
    set_cr0(get_cr0() & ~(ulong)CR0_NE);
    cw_in = 0x037f & ~ZE;
    RUN("unmasked exception with NE clear", div0_irq, NONE, 0);
    CHECK("IRQ 13", irq13, 1);
    set_cr0(get_cr0() | CR0_NE);
    RUN("clear", clear_fp, NONE, 0);
    trap_hook = 0;
    pic_mask_all();
}

/* ---- SSE --------------------------------------------------------------------------------------- */

CODE(sse_div, "ldmxcsr " V(mxcsr_in) "; movss " V(f_a) ", %xmm0; movss " V(
                  f_b) ", %xmm1\n"
                       " sd: divss %xmm1, %xmm0\n movss %xmm0, " V(f_r) "; ret");
LABEL(sd);
CODE(sse_state, "stmxcsr " V(mxcsr_out) "; movss %xmm0, " V(f_r) "; ret");
CODE(sse_packed, "ldmxcsr " V(mxcsr_in) "; movups pk_a, %xmm0; movups pk_b, %xmm1\n"
                                        " divps %xmm1, %xmm0\n ret");
u32 pk_a[4] = {0x3f800000, 0, 0x3f800000, 0x00000001}, pk_b[4] = {0x40400000, 0, 0, 0x3f800000};
CODE(sse_cvt,
     "ldmxcsr " V(mxcsr_in) "; movss " V(f_a) ", %xmm0; mov $77, %ecx; cvtss2si %xmm0, %ecx; ret");
CODE(sse_comi,
     "ldmxcsr " V(mxcsr_in) "; movss " V(f_a) ", %xmm0; xor %ecx, %ecx; comiss %xmm0, %xmm0; ret");
CODE(sse_ucomi, "ldmxcsr " V(mxcsr_in) "; movss " V(f_a) ", %xmm0; ucomiss %xmm0, %xmm0; ret");

static u32 after(void)
{
    run(sse_state);
    return mxcsr_out;
}

static void sse(void)
{
    static const struct {
        u32 a, b, flag;
        const char *what;
    } cases[] = {
        {0x3f800000, 0, ZE, "division by zero"},           {0, 0, IE, "0 / 0"},
        {0x00000001, 0x3f800000, DNE, "denormal operand"}, {0x7f7fffff, 0x3e800000, OE, "overflow"},
        {0x00800000, 0x40400000, UE, "underflow"},         {0x3f800000, 0x40400000, PE, "inexact"},
        {0x7f800001, 0x3f800000, IE, "signalling NaN"},
    };

    for (unsigned k = 0; k < 7; k++) {
        f_a = cases[k].a;
        f_b = cases[k].b;
        mxcsr_in = 0x1f80;
        RUN(cases[k].what, sse_div, NONE, 0);
        CHECK(cases[k].what, after() & cases[k].flag, cases[k].flag);
        mxcsr_in = 0x1f80 & ~(cases[k].flag << 7);
        f_r = 0x55555555;
        RUN(cases[k].what, sse_div, XM, 0);
        CHECK("IP", trap.ip, (ulong)sd);
        u32 m = after();
        CHECK("its flag", m & cases[k].flag, cases[k].flag);
        if (cases[k].flag == ZE || cases[k].flag == IE || cases[k].flag == DNE)
            CHECK("no flags of the result", m & (OE | UE | PE), 0);
        CHECK("the destination is kept", f_r, f_a);
        set_cr4(get_cr4() & ~(ulong)CR4_OSXMM);
        RUN("without OSXMMEXCPT", sse_div, UD, 0);
        CHECK("IP", trap.ip, (ulong)sd);
        set_cr4(get_cr4() | CR4_OSXMM);
    }
    /* flags that are set already raise nothing */
    mxcsr_in = (0x1f80 & ~(ZE << 7)) | ZE;
    f_a = 0x3f800000;
    f_b = 0x40000000;
    RUN("an old flag raises nothing", sse_div, NONE, 0);
    /* packed: all of the pre-computation flags of all elements, and none later */
    mxcsr_in = 0x1f80 & ~(ZE << 7);
    RUN("packed, one unmasked", sse_packed, XM, 0);
    CHECK("flags of all elements' operands, none of results", after() & 0x3f, IE | ZE | DNE);
    mxcsr_in = 0x1f80 & ~(PE << 7);
    RUN("packed, inexact unmasked", sse_packed, XM, 0);
    CHECK("flags", after() & 0x3f, IE | ZE | DNE | PE);
    mxcsr_in = 0x1f80 & ~(IE << 7);
    f_a = 0x7f800000;
    RUN("CVTSS2SI of infinity", sse_cvt, XM, 0);
    CHECK("ECX kept", (u32)trap.r.cx, 77);
    f_a = 0x7fc00000;
    RUN("COMISS of a quiet NaN", sse_comi, XM, 0);
    CHECK("flags kept", trap.flags & (FL_ZF | FL_PF | FL_CF), FL_ZF | FL_PF);
    RUN("UCOMISS of a quiet NaN", sse_ucomi, NONE, 0);
    CHECK("unordered", trap.flags & (FL_ZF | FL_PF | FL_CF), FL_ZF | FL_PF | FL_CF);
    mxcsr_in = 0x1f80;
    RUN("all masked", sse_comi, NONE, 0);
}

/* ---- TS, MP, EM, OSFXSR ------------------------------------------------------------------------ */

CODE(i_fld, "fld1; ret");
CODE(i_fwait, "fwait; ret");
CODE(i_fnstsw, "fnstsw %ax; ret");
CODE(i_fninit, "fninit; ret");
CODE(i_mmx, "paddb %mm0, %mm0; ret");
CODE(i_sse, "addps %xmm0, %xmm0; ret");
CODE(i_sse2, "paddb %xmm0, %xmm0; ret");
CODE(i_ldmxcsr, "ldmxcsr " V(mxcsr_in) "; ret");
CODE(i_fxsave, "fxsave fx_area; ret");
CODE(i_fxrstor, "fxrstor fx_area; ret");
CODE(i_sfence, "sfence; ret");
CODE(i_prefetch, "prefetcht0 fx_area; ret");
CODE(i_movnti, "movnti %eax, fx_area; ret");
CODE(i_clflush, "clflush fx_area; ret");
CODE(i_cvtpi, "cvtpi2ps %mm0, %xmm0; ret");
CODE(i_crc, "crc32b %al, %ecx; ret");
CODE(i_clts, "clts; ret");
CODE(i_emms, "emms; ret");

static const struct gated {
    const char *name;
    const void *code;
    char kind; /* x: x87, w: FWAIT, m: MMX, s: SSE, 2: SSE2, f: FXSAVE; none of it: -, or n and 4,
                * which SSE2 and SSE4.2 brought */
} gated[] = {
    {"FLD1", i_fld, 'x'},        {"FNSTSW", i_fnstsw, 'x'},     {"FNINIT", i_fninit, 'x'},
    {"FWAIT", i_fwait, 'w'},     {"PADDB mm", i_mmx, 'm'},      {"EMMS", i_emms, 'm'},
    {"ADDPS", i_sse, 's'},       {"PADDB xmm", i_sse2, '2'},    {"LDMXCSR", i_ldmxcsr, 's'},
    {"CVTPI2PS", i_cvtpi, 's'},  {"FXSAVE", i_fxsave, 'f'},     {"FXRSTOR", i_fxrstor, 'f'},
    {"SFENCE", i_sfence, '-'},   {"PREFETCH", i_prefetch, '-'}, {"MOVNTI", i_movnti, 'n'},
    {"CLFLUSH", i_clflush, 'n'}, {"CRC32", i_crc, '4'},
};

/* SDM vol. 3, table 9-1 and 13.1; vol. 2 of each. */
static int gate_result(char kind, ulong cr0, ulong cr4)
{
    switch (kind) {
    case 'x':
        return cr0 & (CR0_EM | CR0_TS) ? NM : NONE;
    case 'w':
        return (cr0 & CR0_TS) && (cr0 & CR0_MP) ? NM : NONE;
    case 'm':
        return cr0 & CR0_EM ? UD : cr0 & CR0_TS ? NM : NONE;
    case 's':
    case '2':
        return (cr0 & CR0_EM) || !(cr4 & CR4_OSFXSR) ? UD : cr0 & CR0_TS ? NM : NONE;
    case 'f':
        return cr0 & (CR0_EM | CR0_TS) ? NM : NONE;
    default:
        return NONE;
    }
}

static void gates(void)
{
    ulong cr0 = get_cr0() & ~(ulong)(CR0_MP | CR0_EM | CR0_TS), cr4 = get_cr4();

    mxcsr_in = 0x1f80;
    RUN("image for FXRSTOR", clear_fp, NONE, 0);
    RUN("image for FXRSTOR", i_fxsave, NONE, 0);
    for (unsigned bits = 0; bits < 16; bits++) {
        ulong c0 = cr0 | (bits & 7) << 1, c4 = bits & 8 ? cr4 & ~(ulong)CR4_FX : cr4;

        set_cr4(c4);
        for (unsigned k = 0; k < sizeof(gated) / sizeof(gated[0]); k++) {
            char kind = gated[k].kind;

            if (((kind == '2' || kind == 'n') && !HAS_SSE2) || (kind == '4' && !HAS_SSE42))
                continue;
            if (kind == 'f' && (bits & 8))
                continue; /* what FXRSTOR does without OSFXSR is another matter */
            set_cr0(c0);
            run(gated[k].code);
            set_cr0(cr0);
            if (trap.vector != gate_result(gated[k].kind, c0, c4))
                say("at CR0 %x CR4 %x:\n", (u32)c0, (u32)c4);
            EXPECT(gated[k].name, gate_result(gated[k].kind, c0, c4), 0);
        }
        set_cr4(cr4);
    }
    set_cr0(cr0 | CR0_TS | CR0_MP);
    RUN("CLTS", i_clts, NONE, 0);
    CHECK("clears TS", get_cr0() & CR0_TS, 0);
    set_cr0(cr0 | CR0_MP);
}

void guest_main(void)
{
    x87();
    sse();
    gates();
    ferr();
}
