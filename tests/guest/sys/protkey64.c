/* SMEP, SMAP, UMIP and protection keys. SDM vol. 3, 4.6 and 2.5.
 *
 * The identity map becomes the supervisor's; VA is the page under test. All that runs at level 3 lies
 * in one page of its own, mapped at USER_VA.
 */
#include "sys.h"

#define VA      0x8000000000ul
#define USER_VA 0x8000400000ul

static ulong page;
static u8 *upage; /* the page at USER_VA: code first, stack at its end */

CODE(rd, "mov (%rsi), %eax; ret");
CODE(wr, "mov %eax, (%rsi); ret");
CODE(rd_ac, "stac; mov (%rsi), %eax; clac; ret");
CODE(wr_ac, "stac; mov %eax, (%rsi); clac; ret");
CODE(call_si, "call *%rsi; ret");
CODE(push_there, "mov %rsi, %rsp; push %rax");
CODE(clac_only, "clac" DONE);
CODE(stac_popf, "pushf; orl $0x40000, (%rsp); popf; mov (%rsi), %eax; clac; ret");
CODE(u_rd, "mov (%rsi), %eax" DONE);
CODE(u_wr, "mov %eax, (%rsi)" DONE);
CODE(u_jmp, "jmp *%rsi");
CODE(lgdt_there, "sgdt (%rsi); ret");
CODE(implicit, "mov %edi, %ds; ret");
CODE(implicit_ac, "stac; mov %edi, %ds; clac; ret");

/* Runs a piece at level 3 from the user page. */
static int run_there(const char *from, const char *end)
{
    memset(upage, 0x90, 64);
    memcpy(upage, from, (size_t)(end - from));
    return run_user((void *)USER_VA);
}
#define THERE(what, code, vector, error) (run_there(code, code##_end), EXPECT(what, vector, error))

static void supervisor_identity(void)
{
    /* the image's large pages lose U; run_user's frames and the handlers need no more */
    for (ulong a = 0; a < 0x100000000; a += 0x200000)
        *pde(a) &= ~(u64)U;
    set_cr3(get_cr3());
    pte_set(USER_VA, (ulong)upage | P | W | U);
    user.sp = USER_VA + 4096;
}

static void smep(void)
{
    u8 *code = (u8 *)page;

    code[0] = 0xc3;
    in.si = VA;
    pte_set(VA, page | P | W | U);
    RUN("fetch of a user page, SMEP off", call_si, NONE, 0);
    set_cr4(get_cr4() | CR4_SMEP);
    RUN("fetch of a user page", call_si, PF, PFE_P | PFE_I);
    CHECK("IP", trap.ip, VA);
    CHECK("CR2", trap.cr2, VA);
    RUN("read of a user page", rd, NONE, 0);
    pte_set(VA, page | P | W);
    RUN("fetch of a supervisor page", call_si, NONE, 0);
    code[0] = 0xcd;
    code[1] = VEC_DONE;
    pte_set(VA, page | P | W | U);
    THERE("user fetch of a user page", u_jmp, NONE, 0);
    /* a supervisor entry above makes it a supervisor page */
    u64 *dir = pde(VA);
    code[0] = 0xc3;
    *dir &= ~(u64)U;
    set_cr3(get_cr3());
    RUN("user page below a supervisor directory", call_si, NONE, 0);
    *dir |= U;
    set_cr4(get_cr4() & ~(ulong)CR4_SMEP);
    RUN("SMEP off again", call_si, NONE, 0);
    set_cr4(get_cr4() | CR4_SMEP);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(u64)EFER_NXE);
    RUN("SMEP without NXE: I is told all the same", call_si, PF, PFE_P | PFE_I);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
    set_cr4(get_cr4() & ~(ulong)CR4_SMEP);
}

static void smap(void)
{
    in.si = VA;
    pte_set(VA, page | P | W | U);
    set_cr4(get_cr4() | CR4_SMAP);
    RUN("read of a user page", rd, PF, PFE_P);
    CHECK("CR2", trap.cr2, VA);
    RUN("write of a user page", wr, PF, PFE_P | PFE_W);
    RUN("read after STAC", rd_ac, NONE, 0);
    RUN("write after STAC", wr_ac, NONE, 0);
    RUN("read after POPF sets AC", stac_popf, NONE, 0);
    RUN("and CLAC ends it", rd, PF, PFE_P);
    pte_set(VA, page | P | W);
    RUN("supervisor page", wr, NONE, 0);
    THERE("user read of a supervisor page", u_rd, PF, PFE_P | PFE_U);
    pte_set(VA, page | P | W | U);
    THERE("user read of a user page", u_rd, NONE, 0);
    pte_set(VA, page | P | U);
    RUN("write after STAC, read-only", wr, PF, PFE_P | PFE_W);
    pte_set(VA, page | P | U);
    *(u8 *)page = 0xc3;
    RUN("SMAP is not about fetches", call_si, NONE, 0);
    THERE("CLAC at level 3", clac_only, UD, 0);
    RUN("SGDT to a user page", lgdt_there, PF, PFE_P | PFE_W);

    /* Implicit supervisor accesses are not excused by AC. The table is an LDT, as every way into the
     * handler needs the GDT. */
    pte_set(VA, page | P | W | U);
    set_cr4(get_cr4() & ~(ulong)CR4_SMAP);
    *(u64 *)(page + 8) = gdt[UDATA / 8];
    gdt[GDT_FREE / 8] = seg_desc((u32)VA, 0xff, 0x82, 0);
    gdt[GDT_FREE / 8 + 1] = VA >> 32;
    __asm__ volatile("lldt %w0" ::"r"(GDT_FREE));
    in.di = 8 | 4 | 3;
    RUN("implicit access, SMAP off", implicit, NONE, 0);
    set_cr4(get_cr4() | CR4_SMAP);
    RUN("implicit access to a user page, AC clear", implicit, PF, PFE_P);
    if (!on_qemu()) /* which excuses them */
        RUN("implicit access to a user page, AC set", implicit_ac, PF, PFE_P);
    set_cr4(get_cr4() & ~(ulong)CR4_SMAP);
    __asm__ volatile("lldt %w0" ::"r"(0));
}

/* ---- UMIP -------------------------------------------------------------------------------------- */

CODE(u_sgdt, "sgdt -64(%rsp)" DONE);
CODE(u_sidt, "sidt -64(%rsp)" DONE);
CODE(u_sldt, "sldt %eax" DONE);
CODE(u_str, "str %eax" DONE);
CODE(u_smsw, "smsw %eax" DONE);
CODE(u_smsw_mem, "smsw (%rsi)" DONE);
CODE(s_all, "sgdt -64(%rsp); sidt -64(%rsp); sldt %eax; str %ebx; smsw %ecx; ret");

static void umip(void)
{
    static const struct {
        const char *code, *end, *name;
    } all[] = {
        {u_sgdt, u_sgdt_end, "SGDT"}, {u_sidt, u_sidt_end, "SIDT"}, {u_sldt, u_sldt_end, "SLDT"},
        {u_str, u_str_end, "STR"},    {u_smsw, u_smsw_end, "SMSW"},
    };

    for (unsigned k = 0; k < 5; k++) {
        run_there(all[k].code, all[k].end);
        EXPECT(all[k].name, NONE, 0);
    }
    set_cr4(get_cr4() | CR4_UMIP);
    for (unsigned k = 0; k < 5; k++) {
        run_there(all[k].code, all[k].end);
        EXPECT(all[k].name, GP, 0);
        CHECK("IP", trap.ip, USER_VA);
    }
    in.si = VA;
    pte_set(VA, 0);
    THERE("SMSW to an absent page: #GP comes first", u_smsw_mem, GP, 0);
    RUN("at level 0", s_all, NONE, 0);
    CHECK("TR", trap.r.bx & 0xffff, TSS_SEL);
    set_cr4(get_cr4() & ~(ulong)CR4_UMIP);
}

/* ---- protection keys --------------------------------------------------------------------------- */

CODE(do_rdpkru, "rdpkru; ret");
CODE(do_wrpkru, "wrpkru; ret");
CODE(u_wrpkru, "wrpkru" DONE);

static void set_pkru(u32 v)
{
    __asm__ volatile(".byte 0x0f, 0x01, 0xef" ::"a"(v), "c"(0), "d"(0));
}

static void keys(void)
{
    in.si = VA;
    in.cx = 0;
    in.dx = 0;
    in.ax = 0;
    pte_set(VA, page | P | W | U | 5ull << 59);
    RUN("RDPKRU without PKE", do_rdpkru, UD, 0);
    THERE("any key without PKE", u_wr, NONE, 0);
    set_cr4(get_cr4() | CR4_PKE);
    CHECK("OSPKE in CPUID", has(7, 2, 4), 1);
    in.cx = 1;
    RUN("RDPKRU with ECX 1", do_rdpkru, GP, 0);
    RUN("WRPKRU with ECX 1", do_wrpkru, GP, 0);
    in.cx = 0;
    in.dx = 1;
    RUN("WRPKRU with EDX 1", do_wrpkru, GP, 0);
    in.dx = 0;
    in.ax = 0x12345678;
    THERE("WRPKRU at level 3", u_wrpkru, NONE, 0);
    in.dx = 0xffffffffffffffff;
    RUN("RDPKRU", do_rdpkru, NONE, 0);
    CHECK("value", trap.r.ax, 0x12345678);
    CHECK("EDX is cleared", trap.r.dx, 0);
    in.dx = 0;

    set_pkru(0);
    THERE("nothing forbidden", u_wr, NONE, 0);
    set_pkru(2u << 10); /* WD of key 5 */
    THERE("WD, read", u_rd, NONE, 0);
    THERE("WD, write", u_wr, PF, PFE_P | PFE_U | PFE_W | PFE_PK);
    set_cr0(get_cr0() | CR0_WP);
    RUN("WD, supervisor write, WP 1", wr, PF, PFE_P | PFE_W | PFE_PK);
    set_cr0(get_cr0() & ~(ulong)CR0_WP);
    RUN("WD, supervisor write, WP 0", wr, NONE, 0);
    set_cr0(get_cr0() | CR0_WP);
    set_pkru(1u << 10); /* AD of key 5 */
    THERE("AD, read", u_rd, PF, PFE_P | PFE_U | PFE_PK);
    THERE("AD, write", u_wr, PF, PFE_P | PFE_U | PFE_W | PFE_PK);
    RUN("AD, supervisor read", rd, PF, PFE_P | PFE_PK);
    set_cr0(get_cr0() & ~(ulong)CR0_WP);
    RUN("AD, supervisor read, WP 0", rd, PF, PFE_P | PFE_PK);
    set_cr0(get_cr0() | CR0_WP);
    *(u8 *)page = 0xcd;
    *(u8 *)(page + 1) = VEC_DONE;
    THERE("AD is not about fetches", u_jmp, NONE, 0);
    pte_set(VA, page | P | W | 5ull << 59);
    RUN("nor about supervisor pages", rd, NONE, 0);
    pte_set(VA, page | P | U | 5ull << 59);
    set_pkru(2u << 10);
    THERE("both forbid: PK is told too", u_wr, PF, PFE_P | PFE_U | PFE_W | PFE_PK);
    pte_set(VA, page | U | 5ull << 59);
    set_pkru(3u << 10);
    THERE("not present: no PK", u_rd, PF, PFE_U);
    pte_set(VA, page | P | W | U | 15ull << 59);
    set_pkru(1u << 30);
    THERE("key 15", u_rd, PF, PFE_P | PFE_U | PFE_PK);
    pte_set(VA, page | P | W | U);
    set_pkru(1);
    RUN("AD of key 0", rd, PF, PFE_P | PFE_PK);
    set_pkru(0);
    RUN("and without", rd, NONE, 0);
    set_cr4(get_cr4() & ~(ulong)CR4_PKE);
}

void guest_main(void)
{
    page_root = get_cr3();
    paging_levels = 4;
    page = (ulong)page_alloc();
    upage = page_alloc();
    (void)pte(VA);
    supervisor_identity();
    set_cr0(get_cr0() | CR0_WP);
    if (HAS_SMEP)
        smep();
    else
        skip("SMEP");
    if (HAS_SMAP)
        smap();
    else
        skip("SMAP");
    if (HAS_UMIP)
        umip();
    else
        skip("UMIP");
    if (HAS_PKU)
        keys();
    else
        skip("protection keys");
}
