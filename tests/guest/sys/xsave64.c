/* FXSAVE, XSAVE, XSAVEOPT and XSAVEC: what an image holds, what a header may say, XCR0, and the
 * initial state. SDM vol. 1, chapter 13; vol. 2 for each fault.
 *
 * QEMU is known to differ: it has no compacted form, and checks less of headers.
 */
#include "sys.h"

u8 area[4096] __attribute__((aligned(64)));
static u8 *far_page;
static bool opt, compact, in_use;

#define IMG32(at) (*(volatile u32 *)(area + (at)))
#define IMG64(at) (*(volatile u64 *)(area + (at)))
#define IMG16(at) (*(volatile u16 *)(area + (at)))
enum { XSTATE_BV = 512, XCOMP_BV = 520, YMM_AT = 576 };

CODE(do_fxsave, "fxsave64 (%rsi); ret");
CODE(do_fxrstor, "fxrstor64 (%rsi); ret");
CODE(do_fxsave32, "fxsave (%rsi); ret");
CODE(do_xsave, "xsave64 (%rsi); ret");
CODE(do_xsaveopt, "xsaveopt64 (%rsi); ret");
CODE(do_xsavec, "xsavec64 (%rsi); ret");
CODE(do_xrstor, "xrstor64 (%rsi); ret");
CODE(do_xgetbv, "xgetbv; ret");
CODE(do_xsetbv, "xsetbv; ret");
CODE(user_xsetbv, "xsetbv" DONE);
CODE(x87_load, "fninit; fld1; fldz; fldpi\n xl: fdivl operand; ret");
LABEL(xl);
u64 operand = 0x4000000000000000;
u32 mx = 0x1f80;
CODE(x87_clean, "fninit; ret");
CODE(
    sse_load,
    "mov $0x1122334455667788, %rax; movq %rax, %xmm0; movq %rax, %xmm15; punpcklqdq %xmm15, %xmm15;"
    "ldmxcsr mx; ret");
CODE(sse_zero, "pxor %xmm0, %xmm0; pxor %xmm15, %xmm15; ret");
CODE(sse_get, "movq %xmm0, %rax; movhlps %xmm15, %xmm1; movq %xmm1, %rdx; ret");
CODE(avx_load, "vmovups area_ymm, %ymm3; ret");
CODE(avx_get, "vmovups %ymm3, area_ymm; ret");
CODE(avx_zero, "vzeroall; ret");
u64 area_ymm[4] = {1, 2, 3, 4};
CODE(x87_tags, "fnstenv env; ret");
u8 env[28];

static void fill(u8 with)
{
    memset(area, with, sizeof(area));
    in.si = (ulong)area;
}

static void fxsave(void)
{
    fill(0xee);
    RUN("x87", x87_load, NONE, 0);
    mx = 0x1fa5;
    RUN("SSE", sse_load, NONE, 0);
    RUN("FXSAVE", do_fxsave, NONE, 0);
    CHECK("control word", IMG16(0), 0x37f);
    CHECK("status: TOP 5, inexact nothing", IMG16(2) & 0x3800, 5 << 11);
    CHECK("abridged tags", area[4], 0xe0);
    CHECK("reserved byte 5", area[5], 0);
    /* newer processors keep it after unmasked exceptions only (vol. 1, 8.1.9.1) */
    CHECK_TRUE("opcode of FDIV m64", IMG16(6) == 0x434 || !IMG16(6));
    if (!on_qemu()) {
        CHECK("FIP", IMG64(8), (ulong)xl);
        CHECK("FDP", IMG64(16), (ulong)&operand);
    }
    CHECK("MXCSR", IMG32(24), 0x1fa5);
    CHECK("MXCSR mask", IMG32(28), 0xffff);
    CHECK("ST0's exponent: pi / 2", IMG16(32 + 8), 0x3fff);
    CHECK("ST0's mantissa", IMG64(32), 0xc90fdaa22168c235);
    CHECK("ST2: 1", IMG16(32 + 2 * 16 + 8), 0x3fff);
    CHECK("XMM0", IMG64(160), 0x1122334455667788);
    CHECK("XMM15", IMG64(160 + 15 * 16 + 8), 0x1122334455667788);
    CHECK("bytes 464 to 511 are left", IMG32(464), 0xeeeeeeee);
    if (!on_qemu()) {
        RUN("32-bit FXSAVE", do_fxsave32, NONE, 0);
        CHECK("FIP and FCS", IMG32(8), (u32)(ulong)xl);
        CHECK("FDP", IMG32(16), (u32)(ulong)&operand);
    }
    in.si = (ulong)area + 8;
    RUN("FXSAVE not aligned", do_fxsave, GP, 0);
    RUN("FXRSTOR not aligned", do_fxrstor, GP, 0);
    in.si = (ulong)area;
    IMG32(24) = 0x10000;
    if (!on_qemu())
        RUN("FXRSTOR of reserved MXCSR bits", do_fxrstor, GP, 0);
    IMG32(24) = 0x1f80;
    area[4] = 0x01; /* only ST0's register */
    IMG16(2) = 0;
    IMG64(160) = 0x99;
    RUN("FXRSTOR", do_fxrstor, NONE, 0);
    RUN("SSE after it", sse_get, NONE, 0);
    CHECK("XMM0", trap.r.ax, 0x99);
    RUN("tags after it", x87_tags, NONE, 0);
    CHECK("one valid, the rest empty", *(u16 *)(env + 8) & 0xfffc, 0xfffc);
    in.si = 0x800000000000;
    RUN("FXSAVE to a non-canonical address", do_fxsave, GP, 0);
    /* a fault in its middle */
    in.si = (ulong)far_page + 4096 - 256;
    RUN("FXSAVE across into an absent page", do_fxsave, PF, PFE_W);
    CHECK("CR2", trap.cr2, (ulong)far_page + 4096);
    RUN("FXRSTOR across into an absent page", do_fxrstor, PF, 0);
    RUN("x87", x87_clean, NONE, 0);
}

static void xcr0(u64 value)
{
    __asm__ volatile("xsetbv" ::"a"((u32)value), "d"((u32)(value >> 32)), "c"(0));
}

static void control(u64 all)
{
    in.cx = 0;
    set_cr4(get_cr4() & ~(ulong)CR4_OSXSAVE);
    RUN("XGETBV without OSXSAVE", do_xgetbv, UD, 0);
    RUN("XSETBV without OSXSAVE", do_xsetbv, UD, 0);
    RUN("XSAVE without OSXSAVE", do_xsave, UD, 0);
    CHECK("CPUID.OSXSAVE", has(1, 2, 27), 0);
    set_cr4(get_cr4() | CR4_OSXSAVE);
    CHECK("CPUID.OSXSAVE", has(1, 2, 27), 1);
    RUN("XGETBV", do_xgetbv, NONE, 0);
    CHECK("XCR0 at reset", trap.r.ax | trap.r.dx << 32, 1);
    in.cx = 2;
    RUN("XGETBV with ECX 2", do_xgetbv, GP, 0);
    in.cx = 1;
    in.ax = 1;
    in.dx = 0;
    RUN("XSETBV with ECX 1", do_xsetbv, GP, 0);
    in.cx = 0;
    USER("XSETBV at level 3", user_xsetbv, GP, 0);
    static const u64 bad[] = {
        0, 2, 4, 5, 6, 9 | 8 /* half of MPX */, 1ull << 63 | 3, 1 | 1ull << 62};
    for (unsigned k = 0; k < sizeof(bad) / 8; k++) {
        in.ax = (u32)bad[k];
        in.dx = bad[k] >> 32;
        RUN("XSETBV of what cannot be", do_xsetbv, GP, 0);
    }
    in.ax = 0xffffffff;
    in.dx = 0xffffffff;
    RUN("XSETBV of everything", do_xsetbv, GP, 0);
    in.ax = 3;
    in.dx = 0;
    RUN("XSETBV 3", do_xsetbv, NONE, 0);
    u32 r[4];
    cpuid(13, 0, r);
    CHECK("CPUID: size for XCR0 3", r[1], 576);
    CHECK("CPUID: components", r[0] | (u64)r[3] << 32, all);
    if (all & 4) {
        cpuid(13, 2, r);
        CHECK("AVX state size", r[0], 256);
        CHECK("AVX state offset", r[1], 576);
        xcr0(7);
        cpuid(13, 0, r);
        CHECK("CPUID: size for XCR0 7", r[1], 832);
    }
}

static void xsave(u64 all)
{
    xcr0(all & 4 ? 7 : 3);
    RUN("x87 clean", x87_clean, NONE, 0);
    mx = 0x1f80;
    RUN("SSE", sse_load, NONE, 0);
    fill(0xee);
    IMG64(XSTATE_BV) = 0xee00000000000000;
    in.ax = 2; /* SSE only */
    in.dx = 0;
    RUN("XSAVE of SSE alone", do_xsave, NONE, 0);
    CHECK("XMM0", IMG64(160), 0x1122334455667788);
    CHECK("x87 part not written", IMG64(0), 0xeeeeeeeeeeeeeeee);
    CHECK("MXCSR is", IMG32(24), 0x1f80);
    CHECK("MXCSR mask is", IMG32(28), 0xffff);
    CHECK("XSTATE_BV: bits not asked for stay", IMG64(XSTATE_BV) & ~1ull, 0xee00000000000002);
    CHECK("XCOMP_BV not written", IMG64(XCOMP_BV), 0xeeeeeeeeeeeeeeee);
    fill(0);
    in.ax = 0xffffffff;
    in.dx = 0xffffffff;
    RUN("XSAVE of all", do_xsave, NONE, 0);
    CHECK("XSTATE_BV has SSE, and nothing that is not", IMG64(XSTATE_BV) & ~(all & 5), 2);
    u64 bv = IMG64(XSTATE_BV);

    /* restoring: what XSTATE_BV does not have becomes initial */
    RUN("SSE away", sse_zero, NONE, 0);
    RUN("XRSTOR", do_xrstor, NONE, 0);
    RUN("SSE", sse_get, NONE, 0);
    CHECK("XMM0 back", trap.r.ax, 0x1122334455667788);
    CHECK("XMM15 back", trap.r.dx, 0x1122334455667788);
    RUN("x87 something", x87_load, NONE, 0);
    in.ax = 0xffffffff;
    IMG64(XSTATE_BV) = 0;
    IMG32(24) = 0x1fbf;
    RUN("XRSTOR with XSTATE_BV 0", do_xrstor, NONE, 0);
    RUN("SSE", sse_get, NONE, 0);
    CHECK("XMM0 is initial", trap.r.ax, 0);
    u32 m;
    __asm__ volatile("stmxcsr %0" : "=m"(m));
    CHECK("MXCSR is loaded all the same", m, 0x1fbf);
    RUN("x87", x87_tags, NONE, 0);
    CHECK("x87 is initial", *(u16 *)(env + 8), 0xffff);
    IMG64(XSTATE_BV) = bv;
    in.ax = 1;
    IMG64(160) = 0x77;
    RUN("XRSTOR of x87 alone", do_xrstor, NONE, 0);
    in.ax = 0xffffffff;
    RUN("SSE", sse_get, NONE, 0);
    CHECK("XMM0 not touched", trap.r.ax, 0);

    /* headers */
    IMG64(XSTATE_BV) = bv | 1ull << 40;
    RUN("XSTATE_BV beyond XCR0", do_xrstor, GP, 0);
    IMG64(XSTATE_BV) = 8;
    RUN("XSTATE_BV with BNDREGS", do_xrstor, GP, 0);
    IMG64(XSTATE_BV) = bv;
    IMG64(XCOMP_BV) = 1;
    RUN("XCOMP_BV in the standard form", do_xrstor, GP, 0);
    IMG64(XCOMP_BV) = 0;
    IMG64(XCOMP_BV + 8) = 1;
    RUN("header bytes 16 to 23", do_xrstor, GP, 0);
    IMG64(XCOMP_BV + 8) = 0;
    IMG32(24) = 0xffff0000;
    RUN("reserved MXCSR bits", do_xrstor, GP, 0);
    IMG32(24) = 0x1f80;
    RUN("good again", do_xrstor, NONE, 0);
    in.si = (ulong)area + 16;
    RUN("XSAVE aligned to 16", do_xsave, GP, 0);
    RUN("XRSTOR aligned to 16", do_xrstor, GP, 0);
    in.si = (ulong)far_page + 4096 - 64;
    RUN("XSAVE across into an absent page", do_xsave, PF, PFE_W);
    RUN("XRSTOR across into an absent page", do_xrstor, PF, 0);
    in.si = (ulong)area;
    set_cr0(get_cr0() | CR0_TS);
    RUN("XSAVE with TS", do_xsave, NM, 0);
    RUN("XRSTOR with TS", do_xrstor, NM, 0);
    RUN("XGETBV with TS", (in.cx = 0, do_xgetbv), NONE, 0);
    set_cr0(get_cr0() & ~(ulong)CR0_TS);

    if (all & 4) {
        RUN("AVX", avx_load, NONE, 0);
        fill(0);
        in.ax = 4;
        in.dx = 0;
        RUN("XSAVE of AVX alone", do_xsave, NONE, 0);
        CHECK("YMM3's high half", IMG64(YMM_AT + 3 * 16), 3);
        CHECK("MXCSR is saved with AVX alone", IMG32(24) & 0xffc0, 0x1f80);
        CHECK("XMM3 is not", IMG64(160 + 48), 0);
        RUN("AVX away", avx_zero, NONE, 0);
        RUN("XRSTOR of AVX alone", do_xrstor, NONE, 0);
        RUN("AVX", avx_get, NONE, 0);
        CHECK("high half back", area_ymm[2], 3);
        CHECK("low half not", area_ymm[0], 0);
        xcr0(3);
        RUN("AVX without XCR0's bit", avx_zero, UD, 0);
        xcr0(7);
        set_cr0(get_cr0() | CR0_TS);
        RUN("AVX with TS", avx_zero, NM, 0);
        set_cr0(get_cr0() & ~(ulong)CR0_TS);
        set_cr0(get_cr0() | CR0_EM);
        RUN("AVX does not look at EM", avx_zero, NONE, 0);
        set_cr0(get_cr0() & ~(ulong)CR0_EM);
        area_ymm[0] = 1;
    }
}

static void optimized(u64 all)
{
    in.ax = 7 & all;
    in.dx = 0;
    fill(0); /* FNINIT would leave the registers' contents */
    RUN("all initial, by XRSTOR", do_xrstor, NONE, 0);
    RUN("SSE", sse_load, NONE, 0);
    if (opt) {
        fill(0xee);
        IMG64(XSTATE_BV) = 7;
        RUN("XSAVEOPT", do_xsaveopt, NONE, 0);
        CHECK("SSE is in use", IMG64(XSTATE_BV) & 2, 2);
        CHECK("initial parts are not written", IMG64(YMM_AT), 0xeeeeeeeeeeeeeeee);
        CHECK("x87, initial, is not written", IMG64(32), 0xeeeeeeeeeeeeeeee);
        CHECK("their bits are clear", IMG64(XSTATE_BV) & 5, 0);
    } else {
        skip("XSAVEOPT");
    }
    if (!compact) {
        skip("XSAVEC");
        return;
    }
    fill(0xee);
    RUN("XSAVEC", do_xsavec, NONE, 0);
    CHECK("XCOMP_BV", IMG64(XCOMP_BV), 1ull << 63 | (7 & all));
    CHECK("XSTATE_BV: only what is in use", IMG64(XSTATE_BV), 2);
    CHECK("rest of the header not written", IMG64(XCOMP_BV + 8), 0xeeeeeeeeeeeeeeee);
    CHECK("SSE's part", IMG64(160), 0x1122334455667788);
    CHECK("x87's, initial, not written", IMG64(32), 0xeeeeeeeeeeeeeeee);
    if (all & 4) {
        area_ymm[2] = 0x5a;
        RUN("AVX", avx_load, NONE, 0);
        fill(0);
        in.ax = 4;
        RUN("XSAVEC of AVX alone", do_xsavec, NONE, 0);
        CHECK("XCOMP_BV", IMG64(XCOMP_BV), 1ull << 63 | 4);
        CHECK("comes first", IMG64(YMM_AT + 48), 0x5a);
        CHECK("MXCSR is not saved", IMG32(24), 0);
        RUN("AVX away", avx_zero, NONE, 0);
        in.ax = 7;
        RUN("SSE something", sse_load, NONE, 0);
        RUN("XRSTOR of the compacted form", do_xrstor, NONE, 0);
        RUN("AVX", avx_get, NONE, 0);
        CHECK("AVX back", area_ymm[2], 0x5a);
        RUN("SSE", sse_get, NONE, 0);
        CHECK("SSE initial, as not in XCOMP_BV", trap.r.ax, 0);
        IMG64(XSTATE_BV) = 6;
        RUN("XSTATE_BV with what XCOMP_BV lacks", do_xrstor, GP, 0);
        IMG64(XSTATE_BV) = 4;
    }
    IMG64(XCOMP_BV) = 1ull << 63 | 1ull << 40 | 7;
    RUN("XCOMP_BV beyond XCR0", do_xrstor, GP, 0);
    IMG64(XCOMP_BV) = 1ull << 63 | (7 & all);
    for (unsigned k = 528; k < 576; k += 8) {
        IMG64(k) = 1;
        RUN("reserved header bytes", do_xrstor, GP, 0);
        IMG64(k) = 0;
    }
    in.cx = 1;
    RUN("XGETBV 1: what is in use", do_xgetbv, in_use ? NONE : GP, 0);
    CHECK_TRUE("within XCR0", !in_use || (!(trap.r.ax & ~7ul) && !trap.r.dx));
}

void guest_main(void)
{
    u32 r[4];

    page_root = get_cr3();
    paging_levels = 4;
    far_page = (u8 *)0x8000000000;
    pte_set((ulong)far_page, (ulong)page_alloc() | P | W);
    pte_set((ulong)far_page + 4096, 0);
    fxsave();
    if (!HAS_XSAVE) {
        skip("XSAVE");
        return;
    }
    cpuid(13, 1, r);
    opt = r[0] & 1;
    compact = r[0] & 2;
    in_use = r[0] & 4;
    cpuid(13, 0, r);
    u64 all = r[0] | (u64)r[3] << 32;
    control(all);
    xsave(all & 7);
    optimized(all & 7);
}
