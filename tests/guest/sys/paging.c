/* Page faults of every kind with every error bit, reserved bits, NX, accessed and dirty bits and WP,
 * in each paging mode: 2-level and PAE in the 32-bit guest, 4-level in the 64-bit one. SDM vol. 3,
 * chapter 4.
 *
 * QEMU is known to differ: a read-modify-write reads first and so faults with W clear and leaves A
 * set; reserved bits are reported without P.
 */
#include "sys.h"

#if BITS == 64
#define VA 0x8000000000ul /* where nothing is */
#else
#define VA 0x70000000ul
#endif

static ulong page, page2; /* the physical pages to look at */

#if BITS == 64
CODE(rd, "mov (%rsi), %eax; ret");
CODE(wr, "mov %eax, (%rsi); ret");
CODE(rmw, "addl %eax, (%rsi); ret");
CODE(rmw_nop, "addl $0, (%rsi); ret");
CODE(cmp_mem, "cmpl $0, (%rsi); ret");
CODE(cmpxchg_fail, "mov $-1, %eax; lock cmpxchg %ecx, (%rsi); ret");
CODE(bt_read, "btl $0, (%rsi); ret");
CODE(rd_user, "mov (%rsi), %eax" DONE);
CODE(wr_user, "mov %eax, (%rsi)" DONE);
CODE(rmw_user, "addl %eax, (%rsi)" DONE);
CODE(push_user, "mov %rsi, %rsp; push %rax" DONE);
CODE(call_si, "call *%rsi; ret");
CODE(jmp_si_user, "jmp *%rsi");
#else
CODE(rd, "mov (%esi), %eax; ret");
CODE(wr, "mov %eax, (%esi); ret");
CODE(rmw, "addl %eax, (%esi); ret");
CODE(rmw_nop, "addl $0, (%esi); ret");
CODE(cmp_mem, "cmpl $0, (%esi); ret");
CODE(cmpxchg_fail, "mov $-1, %eax; lock cmpxchg %ecx, (%esi); ret");
CODE(bt_read, "btl $0, (%esi); ret");
CODE(rd_user, "mov (%esi), %eax" DONE);
CODE(wr_user, "mov %eax, (%esi)" DONE);
CODE(rmw_user, "addl %eax, (%esi)" DONE);
CODE(push_user, "mov %esi, %esp; push %eax" DONE);
CODE(call_si, "call *%esi; ret");
CODE(jmp_si_user, "jmp *%esi");
#endif

static u64 flags_of_pte(void)
{
    return pte_get(VA) & 0xfff;
}

/* One access: with the entry's rights as given, what happens and what becomes of A and D. */
static void access_at(int line, const char *what, const void *code, bool as_user, u64 rights,
                      int vector, u32 error, u64 ad)
{
    in.si = VA + 0x123;
    in.ax = 1;
    in.cx = 1;
    pte_set(VA, page | rights);
    if (as_user)
        run_user(code);
    else
        run(code);
    expect_at_line(line, what, vector, error);
    if (vector == PF) {
        check_at(line, "CR2", trap.cr2, in.si - (code == push_user ? sizeof(ulong) : 0));
        if (!on_qemu()) /* which never sets it */
            check_at(line, "RF in the pushed flags", trap.flags & FL_RF, FL_RF);
    }
    if (!(rights & P))
        check_at(line, "entry that is not present is left alone", pte_get(VA), page | rights);
    else
        check_at(line, "A and D", flags_of_pte() & (A | D), ad);
}
#define ACCESS(...) access_at(__LINE__, __VA_ARGS__)

static void rights(void)
{
    ACCESS("read, not present", rd, false, 0, PF, 0, 0);
    ACCESS("read, not present but all else", rd, false, W | U | D | G, PF, 0, 0);
    ACCESS("write, not present", wr, false, 0, PF, PFE_W, 0);
    ACCESS("user read, not present", rd_user, true, 0, PF, PFE_U, 0);
    ACCESS("user write, not present", wr_user, true, 0, PF, PFE_U | PFE_W, 0);
    ACCESS("read-modify-write, not present", rmw, false, 0, PF, PFE_W, 0);
    ACCESS("compare, not present", cmp_mem, false, 0, PF, 0, 0);
    ACCESS("bit test, not present", bt_read, false, 0, PF, 0, 0);
    ACCESS("failing CMPXCHG, not present", cmpxchg_fail, false, 0, PF, PFE_W, 0);

    ACCESS("read of a supervisor page", rd, false, P | W, NONE, 0, A);
    ACCESS("write of a supervisor page", wr, false, P | W, NONE, 0, A | D);
    ACCESS("read-modify-write", rmw, false, P | W, NONE, 0, A | D);
    ACCESS("adding nothing is a write", rmw_nop, false, P | W, NONE, 0, A | D);
    ACCESS("compare", cmp_mem, false, P | W, NONE, 0, A);
    ACCESS("bit test", bt_read, false, P | W, NONE, 0, A);
    ACCESS("failing CMPXCHG writes", cmpxchg_fail, false, P | W, NONE, 0, A | D);
    ACCESS("user read of a supervisor page", rd_user, true, P | W, PF, PFE_U | PFE_P, 0);
    ACCESS("user write of a supervisor page", wr_user, true, P | W, PF, PFE_U | PFE_P | PFE_W, 0);
    ACCESS("user read of a user page", rd_user, true, P | U, NONE, 0, A);
    ACCESS("user write of a user page", wr_user, true, P | U | W, NONE, 0, A | D);
    ACCESS("user write, read-only", wr_user, true, P | U, PF, PFE_U | PFE_P | PFE_W, 0);
    ACCESS("user read-modify-write, read-only", rmw_user, true, P | U, PF, PFE_U | PFE_P | PFE_W,
           0);
    ACCESS("user push, read-only", push_user, true, P | U, PF, PFE_U | PFE_P | PFE_W, 0);
    CHECK("SP kept by the fault", trap.sp, in.si);
    ACCESS("user push, not present", push_user, true, 0, PF, PFE_U | PFE_W, 0);

    set_cr0(get_cr0() & ~(ulong)CR0_WP);
    ACCESS("write, read-only, WP 0", wr, false, P | U, NONE, 0, A | D);
    ACCESS("write, read-only supervisor page, WP 0", wr, false, P, NONE, 0, A | D);
    ACCESS("user write, read-only, WP 0", wr_user, true, P | U, PF, PFE_U | PFE_P | PFE_W, 0);
    set_cr0(get_cr0() | CR0_WP);
    ACCESS("write, read-only, WP 1", wr, false, P | U, PF, PFE_P | PFE_W, 0);
    ACCESS("write, read-only supervisor page, WP 1", wr, false, P, PF, PFE_P | PFE_W, 0);
    ACCESS("failing CMPXCHG, read-only, WP 1", cmpxchg_fail, false, P, PF, PFE_P | PFE_W, 0);
    ACCESS("read, read-only, WP 1", rd, false, P, NONE, 0, A);

    /* The TLB may keep a right that is taken away until INVLPG, but not one that is given. */
    pte_set(VA, page | P | W);
    RUN("dirty it", wr, NONE, 0);
    CHECK("dirty", flags_of_pte() & (A | D), A | D);
    *(volatile u8 *)pte(VA) &= (u8)~D;
    invlpg(VA);
    RUN("write again after D was cleared", wr, NONE, 0);
    CHECK("dirty again", flags_of_pte() & D, D);
    pte_set(VA, page | P | A);
    RUN("read fills the TLB", rd, NONE, 0);
    CHECK("a read leaves D", flags_of_pte() & D, 0);
    *(volatile u8 *)pte(VA) |= W;
    RUN("a fault flushes the entry", wr, NONE, 0);
    CHECK("dirty", flags_of_pte() & D, D);

    /* A and D are set in the upper entries: A at each, D at none. */
    ulong *dir = (ulong *)pde(VA);
    if (paging_levels != 2) {
        *dir &= ~(ulong)A;
        pte_set(VA, page | P | W);
        RUN("write", wr, NONE, 0);
        CHECK("A, not D, in the directory", *dir & (A | D), A);
        *dir &= ~(ulong)A;
        pte_set(VA, 0);
        RUN("fault below", wr, PF, PFE_W);
        pte_set(VA, page | P);
        *dir &= ~(ulong)W;
        set_cr3(get_cr3());
        RUN("read-only directory", wr, PF, PFE_W | PFE_P);
        *dir = (*dir | W) & ~(ulong)U;
        ACCESS("supervisor directory", rd_user, true, P | U | W, PF, PFE_U | PFE_P, 0);
        *dir |= U;
        *dir &= ~(ulong)P;
        set_cr3(get_cr3());
        run_user(wr_user);
        EXPECT("absent directory", PF, PFE_U | PFE_W);
        *dir |= P;
        set_cr3(get_cr3());
    }
}

/* The second half of an access that crosses into a page faults: CR2 says where the page begins, and
 * the first half is not written. */
static void crossing(void)
{
    pte_set(VA, page | P | W | U);
    pte_set(VA + 4096, 0);
    st32((void *)(page + 4092), 0x11223344);
    in.si = VA + 4094;
    in.ax = 0xffffffff;
    RUN("write across, second absent", wr, PF, PFE_W);
    CHECK("CR2 is the second page", trap.cr2, VA + 4096);
    CHECK("first half not written", ld32((void *)(page + 4092)), 0x11223344);
    RUN("read across, second absent", rd, PF, 0);
    CHECK("CR2 is the second page", trap.cr2, VA + 4096);
    CHECK("EAX kept", trap.r.ax, in.ax);
    pte_set(VA + 4096, page2 | P | U);
    run_user(wr_user);
    EXPECT("write across, second read-only", PF, PFE_W | PFE_P | PFE_U);
    CHECK("CR2 is the second page", trap.cr2, VA + 4096);
    CHECK("first half not written", ld32((void *)(page + 4092)), 0x11223344);
    CHECK("first page not dirty or clean, but accessed", pte_get(VA) & P, P);
    pte_set(VA, 0);
    RUN("write across, first absent", wr, PF, PFE_W);
    CHECK("CR2 is the operand", trap.cr2, VA + 4094);
    pte_set(VA, page2 | P | W);
    pte_set(VA + 4096, page | P | W); /* the other way round in memory */
    in.ax = 0xaabbccdd;
    RUN("write across scattered pages", wr, NONE, 0);
    CHECK("low half", *(volatile u16 *)(page2 + 4094), 0xccdd);
    CHECK("high half", *(volatile u16 *)page, 0xaabb);
    RUN("read across scattered pages", rd, NONE, 0);
    CHECK("both halves", (u32)trap.r.ax, 0xaabbccdd);
}

/* Instruction fetches. The page holds RET, or INT 0x30 for user code. */
static void fetches(bool nx)
{
    u8 *code = (u8 *)page;

    code[0x123] = 0xc3;
    in.si = VA + 0x123;
    pte_set(VA, page | P | W);
    RUN("fetch", call_si, NONE, 0);
    CHECK("A of it", flags_of_pte() & (A | D), A);
    pte_set(VA, 0);
    RUN("fetch, not present", call_si, PF, nx ? PFE_I : 0);
    CHECK("CR2", trap.cr2, in.si);
    CHECK("IP is the target", trap.ip, in.si);
    code[0x123] = 0xcd;
    code[0x124] = VEC_DONE;
    pte_set(VA, page | P | U);
    USER("user fetch", jmp_si_user, NONE, 0);
    pte_set(VA, page | P);
    USER("user fetch of a supervisor page", jmp_si_user, PF, PFE_P | PFE_U | (nx ? PFE_I : 0));
    CHECK("IP is the target", trap.ip, in.si);
    pte_set(VA, 0);
    USER("user fetch, not present", jmp_si_user, PF, PFE_U | (nx ? PFE_I : 0));
    if (nx) {
        pte_set(VA, page | P | U | XD);
        USER("user fetch, XD", jmp_si_user, PF, PFE_P | PFE_U | PFE_I);
        USER("user read, XD", rd_user, NONE, 0);
        pte_set(VA, page | P | XD);
        RUN("fetch, XD", call_si, PF, PFE_P | PFE_I);
        RUN("read, XD", rd, NONE, 0);
        u64 *dir = pde(VA);
        *dir |= XD;
        pte_set(VA, page | P | U);
        set_cr3(get_cr3());
        USER("user fetch, XD in the directory", jmp_si_user, PF, PFE_P | PFE_U | PFE_I);
        *dir &= ~XD;
        set_cr3(get_cr3());
    } else if (paging_levels != 2) {
        pte_set(VA, page | P | U | XD);
        RUN("XD is reserved without NXE", rd, PF, PFE_P | PFE_RSVD);
    }

    /* an instruction whose second half is not there, and one that ends with the page */
    code[4095] = 0xcd;
    pte_set(VA, page | P | U);
    pte_set(VA + 4096, 0);
    in.si = VA + 4095;
    USER("fetch across, second absent", jmp_si_user, PF, PFE_U | (nx ? PFE_I : 0));
    CHECK("CR2 is the second page", trap.cr2, VA + 4096);
    CHECK("IP is the instruction", trap.ip, VA + 4095);
    *(u8 *)page2 = VEC_DONE;
    pte_set(VA + 4096, page2 | P | U);
    USER("fetch across", jmp_si_user, NONE, 0);
    code[4095] = 0x90;
    pte_set(VA + 4096, 0);
    USER("instruction at the end of a page", jmp_si_user, PF, PFE_U | (nx ? PFE_I : 0));
    CHECK("has been executed", trap.ip, VA + 4096);
    code[4094] = 0x0f; /* UD2: the page behind is not looked at */
    code[4095] = 0x0b;
    in.si = VA + 4094;
    USER("#UD at the end of a page", jmp_si_user, UD, 0);
}

/* Reserved bits of 8-byte entries: each is reported before rights are looked at. */
static void reserved(unsigned phys_bits)
{
    u64 *dir = pde(VA), keep = *dir;

    in.si = VA + 0x123;
    pte_set(VA, page | P | 1ull << 51);
    if (phys_bits <= 51) {
        RUN("bit 51", rd, PF, PFE_P | PFE_RSVD);
        USER("bit 51, user write", wr_user, PF, PFE_P | PFE_RSVD | PFE_U | PFE_W);
        pte_set(VA, page | 1ull << 51);
        RUN("bit 51, not present", rd, PF, 0);
        for (unsigned b = phys_bits; b < 52; b++) {
            pte_set(VA, page | P | 1ull << b);
            RUN("bit from the width to 51", rd, PF, PFE_P | PFE_RSVD);
        }
    }
    for (unsigned b = 52; b < 59; b++) {
        pte_set(VA, page | P | 1ull << b);
        /* PAE reserves them, 4-level paging ignores them (QEMU ignores them in PAE too) */
        if (BITS == 64)
            RUN("ignored bit", rd, NONE, 0);
        else if (!on_qemu())
            RUN("bit above 51 in PAE", rd, PF, PFE_P | PFE_RSVD);
    }
    /* a 2 MiB page: bits 13 to 20 */
    for (unsigned b = 13; b <= 20; b++) {
        *dir = P | W | PS | 1ull << b;
        set_cr3(get_cr3());
        RUN("reserved bit of a large page", rd, PF, PFE_P | PFE_RSVD);
    }
    *dir = P | W | PS | 1u << 12;
    set_cr3(get_cr3());
    RUN("PAT bit of a large page", rd, NONE, 0);
    CHECK("A of a large page", *dir & (A | D), A);
    *dir = P | W | PS | (page & ~0x1ffffful);
    set_cr3(get_cr3());
    in.si = (VA & ~0x1ffffful) + (page & 0x1fffff) + 8;
    in.ax = 0x1357;
    RUN("write through a large page", wr, NONE, 0);
    CHECK("D of a large page", *dir & (A | D), A | D);
    CHECK("where it went", ld32((void *)(page + 8)), 0x1357);
    *dir = keep;
    set_cr3(get_cr3());
#if BITS == 64
    u64 *pml4 = (u64 *)page_root, *e4 = &pml4[VA >> 39 & 511];
    u64 *e3 = (u64 *)(*e4 & 0xffffffffff000) + (VA >> 30 & 511), keep4 = *e4, keep3 = *e3;

    in.si = VA + 0x123;
    *e4 |= PS;
    set_cr3(get_cr3());
    RUN("PS in the PML4", rd, PF, PFE_P | PFE_RSVD);
    *e4 = keep4;
    if (HAS_1G) {
        *e3 = P | W | PS | 1ull << 13;
        set_cr3(get_cr3());
        RUN("reserved bit of a 1 GiB page", rd, PF, PFE_P | PFE_RSVD);
        *e3 = P | W | PS;
        set_cr3(get_cr3());
        in.si = (VA & ~0x3ffffffful) + page + 16;
        in.ax = 0x2468;
        RUN("write through a 1 GiB page", wr, NONE, 0);
        CHECK("where it went", ld32((void *)(page + 16)), 0x2468);
        CHECK("A and D of a 1 GiB page", *e3 & (A | D), A | D);
    }
    *e3 = keep3;
    set_cr3(get_cr3());
#endif
}

#if BITS == 64
CODE(rd_noncanon, "mov (%rsi), %rax; ret");
CODE(push_noncanon, "mov %rsi, %rsp; push %rax");
CODE(jmp_noncanon, "jmp *%rsi");
CODE(rd_bp, "mov (%rbp), %rax; ret");

static void canonical(void)
{
    in.si = 0x800000000000;
    RUN("read of a non-canonical address", rd_noncanon, GP, 0);
    in.si = 0x7ffffffffffd;
    pte_set(0x7ffffffff000, page | P | W);
    RUN("read across the end of canonical addresses", rd_noncanon, GP, 0);
    in.si = 0xffff7fffffffffff;
    RUN("read below the upper half", rd_noncanon, GP, 0);
    in.bp = 0x800000000000;
    RUN("read of the stack", rd_bp, SS, 0);
    in.si = 0x800000000008;
    USER("push to a non-canonical address", push_noncanon, SS, 0);
    CHECK("RSP kept", trap.sp, in.si);
    in.si = 0x800000000000;
    RUN("jump to a non-canonical address", jmp_noncanon, GP, 0);
    CHECK("is a fault of the jump", trap.ip, (ulong)jmp_noncanon);
}
#else
/* 4 MiB pages, with PSE-36's high bits, and without PSE. */
static void large_pages_4m(void)
{
    u32 *dir = (u32 *)page_root + (VA >> 22);

    *dir = P | W | U | PS | (page & 0xffc00000);
    set_cr3(get_cr3());
    in.si = VA + (page & 0x3fffff) + 8;
    in.ax = 0x7531;
    RUN("write through a 4 MiB page", wr, NONE, 0);
    CHECK("where it went", ld32((void *)(page + 8)), 0x7531);
    CHECK("A and D", *dir & (A | D), A | D);
    *dir = P | PS | 1u << 21;
    set_cr3(get_cr3());
    RUN("bit 21 of a 4 MiB page", rd, PF, PFE_P | PFE_RSVD);
    RUN("bit 21 of a 4 MiB page, write", wr, PF, PFE_P | PFE_RSVD | PFE_W);
    *dir = 0;
    set_cr3(get_cr3());
    (void)pte(VA);

    /* Without PSE, bit 7 says nothing: all the large pages would be tables. So only VA's page and
     * what the guest needs is mapped, by 4 KiB pages. */
    u32 *low = page_alloc(), *table = page_alloc();
    u32 root = page_root;
    u32 *new_root = page_alloc();

    for (u32 k = 0; k < 1024; k++)
        low[k] = k << 12 | P | W | U;
    new_root[0] = (u32)low | P | W | U;
    new_root[VA >> 22] = (u32)table | P | W | U | PS;
    table[VA >> 12 & 1023] = page | P | W;
    set_cr3((ulong)new_root);
    set_cr4(get_cr4() & ~(ulong)CR4_PSE);
    in.si = VA + 8;
    RUN("PS without CR4.PSE is a table", rd, NONE, 0);
    CHECK("what it reads", trap.r.ax, 0x7531);
    set_cr4(get_cr4() | CR4_PSE);
    set_cr3(root);
}

CODE(load_cr3, "mov %esi, %cr3; ret");

/* The four PDPTEs are loaded with CR3, not walked (4.4.1). QEMU walks them. */
static void pdptes(void)
{
    u64 *root = (u64 *)page_root;

    in.si = page_root;
    for (unsigned b = 1; b < 9; b++) {
        if (b == 3 || b == 4)
            continue; /* PWT, PCD */
        root[2] |= 1u << b;
        if (!on_qemu())
            RUN("reserved bit of a PDPTE", load_cr3, GP, 0);
        root[2] &= ~(1ull << b);
    }
    root[2] |= 1ull << 63;
    if (!on_qemu())
        RUN("bit 63 of a PDPTE", load_cr3, GP, 0);
    root[2] &= ~(1ull << 63);
    root[2] |= 2;
    root[2] &= ~1ull;
    RUN("reserved bit of an absent PDPTE", load_cr3, NONE, 0);
    root[2] = (root[2] | 1) & ~2ull;
    RUN("good PDPTEs", load_cr3, NONE, 0);

    u64 keep = root[VA >> 30];
    in.si = VA + 0x123;
    pte_set(VA, page | P | W);
    root[VA >> 30] = 0;
    invlpg(VA);
    if (!on_qemu())
        RUN("a PDPTE changed in memory is not seen", rd, NONE, 0);
    set_cr3(page_root);
    RUN("until CR3 is loaded", rd, PF, 0);
    root[VA >> 30] = keep;
    if (!on_qemu())
        RUN("and seen as absent", rd, PF, 0);
    set_cr3(page_root);
    RUN("until CR3 is loaded again", rd, NONE, 0);
}
#endif

void guest_main(void)
{
    u32 r[4];

    page = (ulong)page_alloc();
    page2 = (ulong)page_alloc();
    cpuid(0x80000008, 0, r);
    set_cr0(get_cr0() | CR0_WP);
#if BITS == 64
    page_root = get_cr3();
    paging_levels = 4;
    (void)pte(VA);
    rights();
    crossing();
    fetches(true);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(u64)EFER_NXE);
    fetches(false);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
    reserved(r[0] & 0xff);
    canonical();
#else
    paging_on(2);
    (void)pte(VA);
    rights();
    crossing();
    fetches(false);
    large_pages_4m();
    paging_on(3);
    (void)pte(VA);
    rights();
    crossing();
    fetches(false);
    if (HAS_NX) {
        wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
        fetches(true);
        reserved(r[0] & 0xff);
    } else {
        skip("NX");
    }
    pdptes();
#endif
}
