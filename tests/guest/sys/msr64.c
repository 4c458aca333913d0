/* Control registers and MSRs: which bits and numbers are there, which are refused, and what refusing
 * leaves. SDM vol. 3, 2.5, and vol. 4. What CPUID does not announce must not be there.
 */
#include "sys.h"

CODE(wr_cr0, "mov %rsi, %cr0; ret");
CODE(wr_cr3, "mov %rsi, %cr3; ret");
CODE(wr_cr4, "mov %rsi, %cr4; ret");
CODE(wr_cr8, "mov %rsi, %cr8; ret");
CODE(rd_cr1, ".byte 0x0f, 0x20, 0xc8; ret");
CODE(wr_cr1, ".byte 0x0f, 0x22, 0xc8; ret");
CODE(rd_cr5, ".byte 0x0f, 0x20, 0xe8; ret");
CODE(rd_cr9, ".byte 0x44, 0x0f, 0x20, 0xc8; ret");
CODE(rd_dr8, ".byte 0x44, 0x0f, 0x21, 0xc0; ret");
CODE(mod0_cr0, ".byte 0x0f, 0x20, 0x00; ret"); /* MOV ignores the mod field */
CODE(cr0_opsize, ".byte 0x66, 0x0f, 0x20, 0xc0; ret");
CODE(lock_cr0, ".byte 0xf0, 0x0f, 0x20, 0xc0; ret");
CODE(u_cr0, "mov %cr0, %rax" DONE);
CODE(u_wr_cr0, "mov %rax, %cr0" DONE);
CODE(u_lmsw, "lmsw %ax" DONE);
CODE(u_clts, "clts" DONE);
CODE(u_rdmsr, "rdmsr" DONE);
CODE(u_wrmsr, "wrmsr" DONE);
CODE(u_rdtsc, "rdtsc" DONE);
CODE(u_rdtscp, "rdtscp" DONE);
CODE(u_rdpmc, "rdpmc" DONE);
CODE(u_hlt, "hlt" DONE);
CODE(u_invd, "invd" DONE);
CODE(u_wbinvd, "wbinvd" DONE);
CODE(u_lgdt, "lgdt (%rsi)" DONE);
CODE(u_lidt, "lidt (%rsi)" DONE);
CODE(u_lldt, "lldt %ax" DONE);
CODE(u_ltr, "ltr %ax" DONE);
CODE(u_cli, "cli" DONE);
CODE(u_in, "in $0x80, %al" DONE);
CODE(u_cr8, "mov %cr8, %rax" DONE);
CODE(do_lmsw, "lmsw %si; ret");
CODE(do_lgdt, "lgdt (%rsi); ret");
CODE(do_lidt, "lidt (%rsi); ret");
CODE(rd, "rdmsr; ret");
CODE(wr, "wrmsr; ret");
CODE(do_rdpmc, "rdpmc; ret");
CODE(do_rsm, "rsm; ret");
CODE(do_vmcall, ".byte 0x0f, 0x01, 0xc1; ret");
CODE(do_vmxon, "movq $0, -8(%rsp); vmxon -8(%rsp); ret");
CODE(do_getsec, "getsec; ret");
CODE(do_ud0, ".byte 0x0f, 0xff, 0xc0; ret");
CODE(do_ud1, ".byte 0x0f, 0xb9, 0xc0; ret");
CODE(do_xabort, ".byte 0x0f, 0x01, 0xd5; ret"); /* XEND */

static void cr(const char *what, const void *code, u64 value, int vector)
{
    ulong cr0 = get_cr0(), cr4 = get_cr4(), cr3 = get_cr3();

    in.si = value;
    run(code);
    EXPECT(what, vector, 0);
    if (vector != NONE) {
        CHECK("CR0 kept", get_cr0(), cr0);
        CHECK("CR3 kept", get_cr3(), cr3);
        CHECK("CR4 kept", get_cr4(), cr4);
    }
    set_cr4(cr4);
    set_cr0(cr0);
}

static void control(void)
{
    ulong cr0 = get_cr0(), cr4 = get_cr4();

    cr("CR0: PG without PE", wr_cr0, cr0 & ~(ulong)CR0_PE, GP);
    cr("CR0: PG cleared in 64-bit code", wr_cr0, cr0 & ~(ulong)CR0_PG, GP);
    cr("CR0: NW without CD", wr_cr0, cr0 | 1u << 29, GP);
    cr("CR0: CD and NW", wr_cr0, cr0 | 3u << 29, NONE);
    for (unsigned b = 32; b < 64; b++)
        cr("CR0: upper half", wr_cr0, cr0 | 1ull << b, GP);
    in.si = cr0 | 0x1ff8ffc0;
    RUN("CR0: reserved bits", wr_cr0, NONE, 0);
    CHECK("are not kept", get_cr0(), cr0);
    set_cr0(cr0);
    in.si = cr0 & ~0x10ul;
    RUN("CR0: ET", wr_cr0, NONE, 0);
    CHECK("is always set", get_cr0() & 0x10, 0x10);
    in.si = 0;
    RUN("LMSW of 0", do_lmsw, NONE, 0);
    CHECK("leaves PE", get_cr0() & CR0_PE, CR0_PE);
    CHECK("and NE", get_cr0() & CR0_NE, CR0_NE);
    in.si = 0xffff;
    RUN("LMSW of all", do_lmsw, NONE, 0);
    CHECK("sets TS, EM, MP and no more", get_cr0(), cr0 | CR0_TS | CR0_EM | CR0_MP);
    set_cr0(cr0);

    cr("CR4: PAE cleared in long mode", wr_cr4, cr4 & ~(ulong)CR4_PAE, GP);
    cr("CR4: LA57 in long mode", wr_cr4, cr4 | CR4_LA57, GP);
    for (unsigned b = 23; b < 64; b++) {
        if (b != 23 && b != 24 && b != 25 && b != 27 && b != 28) /* CET, PKS, UINTR, LASS, LAM */
            cr("CR4: reserved bits", wr_cr4, cr4 | 1ull << b, GP);
    }
    cr("CR4: bit 15", wr_cr4, cr4 | 1u << 15, GP);
    cr("CR4: bit 19 or Key Locker", wr_cr4, cr4 | 1u << 19, has(7, 2, 23) ? NONE : GP);
    if (!has(1, 2, 5))
        cr("CR4: VMXE", wr_cr4, cr4 | 1u << 13, GP);
    if (!has(1, 2, 6))
        cr("CR4: SMXE", wr_cr4, cr4 | 1u << 14, GP);
    if (!has(7, 2, 7))
        cr("CR4: CET", wr_cr4, cr4 | 1u << 23, GP);
    CHECK("LA57 in CPUID", has(7, 2, 16), 0);
    static const struct {
        u32 leaf;
        u8 reg, bit, cr4;
    } tied[] = {{1, 2, 17, 17}, {7, 1, 7, 20},  {7, 1, 20, 21}, {7, 2, 2, 11}, {7, 2, 3, 22},
                {7, 1, 0, 16},  {1, 2, 26, 18}, {1, 3, 3, 4},   {1, 3, 13, 7}, {1, 3, 1, 0}};
    for (unsigned k = 0; k < sizeof(tied) / sizeof(tied[0]); k++) {
        bool there = has(tied[k].leaf, tied[k].reg, tied[k].bit);

        cr("CR4's bit is there when CPUID says so", wr_cr4, cr4 | 1ull << tied[k].cr4,
           there ? NONE : GP);
    }
    u32 r[4];
    cpuid(0x80000008, 0, r);
    CHECK("linear addresses of 48 bits", r[0] >> 8 & 0xff, 48);
    if ((r[0] & 0xff) < 52)
        cr("CR3 beyond the physical width", wr_cr3, get_cr3() | 1ull << 51, GP);
    cr("CR3 bit 63 without PCIDE", wr_cr3, get_cr3() | 1ull << 63, GP);
    cr("CR8 above 15", wr_cr8, 16, GP);
    cr("CR8", wr_cr8, 0, NONE);
    RUN("CR1", rd_cr1, UD, 0);
    RUN("CR1, write", wr_cr1, UD, 0);
    RUN("CR5", rd_cr5, UD, 0);
    RUN("CR9", rd_cr9, UD, 0);
    RUN("DR8", rd_dr8, UD, 0);
    RUN("LOCK MOV CR0", lock_cr0, on_qemu() ? NONE : UD, 0);
    RUN("MOV CR0 with mod 0", mod0_cr0, NONE, 0);
    CHECK("is a register all the same", trap.r.ax, get_cr0());
    in.ax = 0xffffffffffffffff;
    RUN("MOV CR0 with an operand size prefix", cr0_opsize, NONE, 0);
    CHECK("reads 64 bits", trap.r.ax, get_cr0());
}

static void privileged(void)
{
    static const struct {
        const void *code;
        const char *name;
    } all[] = {
        {u_cr0, "MOV from CR0"}, {u_wr_cr0, "MOV to CR0"}, {u_lmsw, "LMSW"},
        {u_clts, "CLTS"},        {u_rdmsr, "RDMSR"},       {u_wrmsr, "WRMSR"},
        {u_hlt, "HLT"},          {u_invd, "INVD"},         {u_wbinvd, "WBINVD"},
        {u_lgdt, "LGDT"},        {u_lidt, "LIDT"},         {u_lldt, "LLDT"},
        {u_ltr, "LTR"},          {u_cli, "CLI"},           {u_in, "IN"},
        {u_cr8, "MOV from CR8"}, {u_rdpmc, "RDPMC"},
    };

    in.cx = 0x10;
    for (unsigned k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
        if (all[k].code == u_rdpmc && on_qemu())
            continue;
        USER(all[k].name, all[k].code, GP, 0);
        CHECK("IP", trap.ip, (ulong)all[k].code);
    }
    USER("RDTSC", u_rdtsc, NONE, 0);
    set_cr4(get_cr4() | CR4_TSD);
    USER("RDTSC with TSD", u_rdtsc, GP, 0);
    if (has(0x80000001, 3, 27))
        USER("RDTSCP with TSD", u_rdtscp, GP, 0);
    set_cr4(get_cr4() & ~(ulong)CR4_TSD);

    struct {
        u16 limit;
        u64 base;
    } __attribute__((packed)) old, bad;
    __asm__ volatile("sgdt %0" : "=m"(old));
    bad = old;
    bad.base = 0x800000000000;
    in.si = (ulong)&bad;
    if (!on_qemu()) {
        RUN("LGDT with a non-canonical base", do_lgdt, GP, 0);
        RUN("LIDT with a non-canonical base", do_lidt, GP, 0);
    }
    in.si = 0x8000000000;
    RUN("LGDT from an absent page", do_lgdt, PF, 0);
    RUN("RSM outside SMM", do_rsm, UD, 0);
    RUN("VMCALL", do_vmcall, UD, 0);
    RUN("VMXON", do_vmxon, UD, 0);
    RUN("GETSEC", do_getsec, UD, 0);
    RUN("UD0", do_ud0, UD, 0);
    RUN("UD1", do_ud1, UD, 0);
    if (!has(7, 1, 11))
        RUN("XEND", do_xabort, UD, 0);
}

static void msr_write(const char *what, u32 msr, u64 value, int vector)
{
    in.cx = 0xabcd000000000000 | msr; /* RCX's upper half is ignored */
    in.ax = 0x1111111100000000 | (u32)value;
    in.dx = 0x2222222200000000 | value >> 32;
    run(wr);
    EXPECT(what, vector, 0);
}

static void msr_read(const char *what, u32 msr, int vector)
{
    in.cx = msr;
    in.ax = in.dx = ~0ul;
    run(rd);
    EXPECT(what, vector, 0);
    CHECK("upper halves", vector == NONE ? (trap.r.ax | trap.r.dx) >> 32 : 0, 0);
    if (vector != NONE)
        CHECK("registers kept", trap.r.ax & trap.r.dx, ~0ul);
}

static void round_trip(const char *what, u32 msr, u64 value)
{
    u64 old = rdmsr(msr);

    wrmsr(msr, value);
    CHECK(what, rdmsr(msr), value);
    wrmsr(msr, old);
}

static void msrs(void)
{
    static const u32 absent[] = {0x12345678, 0xc0000085, 0xc0000104, 0x40000000,
                                 0xffffffff, 0x2,        0x9};
    static const u32 canonical[] = {0x175,      0x176,      0xc0000082, 0xc0000083,
                                    0xc0000100, 0xc0000101, 0xc0000102};

    if (!on_qemu()) {
        for (unsigned k = 0; k < sizeof(absent) / 4; k++) {
            msr_read("MSR that is not there", absent[k], GP);
            msr_write("MSR that is not there", absent[k], 0, GP);
        }
    }
    for (unsigned k = 0; k < sizeof(canonical) / 4; k++) {
        if (!on_qemu()) {
            msr_write("non-canonical", canonical[k], 0x800000000000, GP);
            msr_write("non-canonical", canonical[k], 0xff7fffffffffffff, GP);
        }
        round_trip("canonical", canonical[k], 0xffff800000000000);
    }
    msr_read("EFER", MSR_EFER, NONE);
    CHECK("LMA and LME", trap.r.ax & 0x500, 0x500);
    u64 efer = rdmsr(MSR_EFER);
    msr_write("EFER: LME cleared under paging", MSR_EFER, efer & ~(u64)EFER_LME, GP);
    CHECK("EFER kept", rdmsr(MSR_EFER), efer);
    msr_write("EFER: LMA is the processor's", MSR_EFER, efer & ~(u64)EFER_LMA, NONE);
    CHECK("EFER.LMA", rdmsr(MSR_EFER), efer);
    if (!on_qemu()) {
        for (unsigned b = 1; b < 64; b++) {
            if (b != 8 && b != 10 && b != 11)
                msr_write("EFER: reserved bits", MSR_EFER, efer | 1ull << b, GP);
        }
        msr_write("FMASK: upper half", 0xc0000084, 1ull << 32, GP);
        msr_write("TSC_AUX: upper half", 0xc0000103, 1ull << 32, GP);
        for (unsigned t = 0; t < 256; t++) {
            bool good = t == 0 || t == 1 || (t >= 4 && t <= 7);

            msr_write("PAT: types", 0x277, 0x0007040600070400 | t, good ? NONE : GP);
        }
        wrmsr(0x277, 0x0007040600070406);
        msr_write("MTRRCAP is read-only", 0xfe, 0, GP);
        msr_write("MTRR: type 2", 0x250, 2, GP);
        msr_write("MTRR: type 7", 0x250, 7, GP);
        msr_write("MTRR default: reserved bits", 0x2ff, 0x100, GP);
        msr_write("MTRR base: type 3", 0x200, 3, GP);
        msr_write("MTRR mask: low bits", 0x201, 0x400, GP);
        msr_write("beyond the variable MTRRs", 0x200 + 2 * (rdmsr(0xfe) & 0xff), 0, GP);
        msr_write("MCG_CAP is read-only", 0x179, 0, GP);
        msr_write("MCG_STATUS takes only 0", 0x17a, 1, GP);
        msr_write("APIC base: reserved bits", 0x1b, rdmsr(0x1b) | 1, GP);
        msr_write("APIC base beyond the physical width", 0x1b, rdmsr(0x1b) | 1ull << 51, GP);
    }
    round_trip("MTRR", 0x250, 0x0606060606060606);
    round_trip("variable MTRR", 0x200, 0x80000006);
    round_trip("variable MTRR's mask", 0x201, 0xffff0800);
    round_trip("STAR", 0xc0000081, 0xfedcba9876543210);
    if (has(0x80000001, 3, 27)) {
        wrmsr(0xc0000103, 0x89abcdef);
        u32 aux;
        __asm__ volatile("rdtscp" : "=c"(aux)::"eax", "edx");
        CHECK("RDTSCP reads TSC_AUX", aux, 0x89abcdef);
        wrmsr(0xc0000103, 0);
    }
    u64 t = rdtsc();
    wrmsr(0x10, t + 1000000000000);
    CHECK_TRUE("the TSC can be written", rdtsc() - t >= 1000000000000);
    if (has(7, 1, 1)) {
        u64 adjust = rdmsr(0x3b);
        t = rdtsc();
        wrmsr(0x3b, adjust + 5000000000);
        CHECK_TRUE("TSC_ADJUST moves the TSC", rdtsc() - t >= 5000000000);
        wrmsr(0x3b, 0);
    }
    if (!on_qemu())
        RUN("RDPMC of no counter", (in.cx = 0x7777, do_rdpmc), GP, 0);
    USER("RDMSR at level 3 of one that is not there", (in.cx = 0x12345678, u_rdmsr), GP, 0);
}

/* Under SMEP and SMAP the guest must lie in supervisor pages. */
static void identity_user(bool user_pages)
{
    page_root = get_cr3();
    paging_levels = 4;
    for (ulong a = 0; a < 0x100000000; a += 0x200000)
        *pde(a) = (*pde(a) & ~(u64)U) | (user_pages ? U : 0);
    set_cr3(get_cr3());
}

void guest_main(void)
{
    identity_user(false);
    control();
    identity_user(true);
    privileged();
    msrs();
}
