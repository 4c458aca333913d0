/* Segments of 32-bit protected mode: limits of both directions, types, null selectors, loads, #SS or
 * #GP, 16-bit wraps, code limits, alignment checks, and LAR, LSL, VERR, VERW, ARPL. SDM vol. 3, 5.3 to
 * 5.7 and 6.15.
 *
 * QEMU is known to differ: TCG checks neither limits nor rights of segments.
 */
#include "sys.h"

enum { SEG = 0x60, SEG2 = 0x68, LDT = 0x70, CONF = 0x78, CODE16 = 0x80, STACK16 = 0x88 };
#define SETGDT(sel, v) (gdt[(sel) / 8] = (v))

static u8 *mem; /* two pages; the segment under test begins at mem + 0x800 */
static u32 base;

CODE(rd1, "mov %edi, %fs; movb %fs:(%esi), %al; ret");
CODE(rd2, "mov %edi, %fs; movw %fs:(%esi), %ax; ret");
CODE(rd4, "mov %edi, %fs; movl %fs:(%esi), %eax; ret");
CODE(wr4, "mov %edi, %fs; movl %eax, %fs:(%esi); ret");
CODE(rmw4, "mov %edi, %fs; addl %eax, %fs:(%esi); ret");
CODE(rd8, "mov %edi, %fs; fninit; fldl %fs:(%esi); ret");
CODE(rd10, "mov %edi, %fs; fninit; fldt %fs:(%esi); ret");
CODE(rd16, "mov %edi, %fs; movups %fs:(%esi), %xmm0; ret");
CODE(rd_cs, "movl %cs:(%esi), %eax; ret");
CODE(wr_cs, "movl %eax, %cs:(%esi); ret");
CODE(rd_far, "mov %edi, %fs; les %fs:(%esi), %eax; ret");
/* SS under test at level 3, whose faults have another stack */
CODE(ss_rd4, "mov %edi, %ss; mov %esi, %ebp; movl (%ebp), %eax" DONE);
CODE(ss_push, "mov %edi, %ss; mov %esi, %esp; push %eax" DONE);
CODE(ss_pop, "mov %edi, %ss; mov %esi, %esp; pop %eax" DONE);
CODE(ss_pushw, "mov %edi, %ss; mov %esi, %esp; pushw %ax" DONE);
CODE(ss_call, "mov %edi, %ss; mov %esi, %esp; call 1f\n 1:" DONE);
CODE(ss_enter, "mov %edi, %ss; mov %esi, %esp; mov $77, %ebp; enter $8, $0" DONE);
CODE(ss_leave, "mov %edi, %ss; mov %esi, %ebp; leave" DONE);
CODE(ss_pusha, "mov %edi, %ss; mov %esi, %esp; pushal" DONE);
CODE(ss_ret, "mov %edi, %ss; mov %esi, %esp; ret" DONE);
CODE(ss_popf, "mov %edi, %ss; mov %esi, %esp; popf" DONE);
CODE(ds_ebp, "mov %esi, %ebp; movl %ds:(%ebp), %eax; ret");
/* loads */
CODE(load_ds, "mov %edi, %ds; ret");
CODE(load_es, "mov %edi, %es; ret");
CODE(load_ss, "mov %edi, %ss; ret");
CODE(u_load_ds, "mov %edi, %ds" DONE);
CODE(u_load_ss, "mov %edi, %ss" DONE);
CODE(load_cs, ".byte 0x8e, 0xcf; ret"); /* mov %edi, %cs */
CODE(load_6, ".byte 0x8e, 0xf7; ret");
CODE(pop_ds, "push %edi; pop %ds; ret");
CODE(use_ds, "xor %eax, %eax; mov %eax, %ds; movl (%esi), %eax; ret");
CODE(lss_bad, "lss (%esi), %ecx; ret");

static void limit_at(int line, const char *what, const void *code, u32 offset, int vector)
{
    in.di = SEG;
    in.si = offset;
    run(code);
    expect_at_line(line, what, vector, 0);
    if (vector != NONE)
        check_at(line, "EAX kept", trap.r.ax, in.ax);
}
#define LIMIT(...) limit_at(__LINE__, __VA_ARGS__)

static void limits(void)
{
    in.ax = 0x5a5a5a5a;
    SETGDT(SEG, seg_desc(base, 0xff, ACC_DATA, FL_DB));
    LIMIT("byte at the limit", rd1, 0xff, NONE);
    LIMIT("byte above", rd1, 0x100, GP);
    LIMIT("word at the limit", rd2, 0xfe, NONE);
    LIMIT("word across", rd2, 0xff, GP);
    LIMIT("dword", rd4, 0xfc, NONE);
    LIMIT("dword across by one", rd4, 0xfd, GP);
    LIMIT("dword across by three", rd4, 0xff, GP);
    LIMIT("write across", wr4, 0xfd, GP);
    LIMIT("read-modify-write across", rmw4, 0xfe, GP);
    LIMIT("8 bytes across", rd8, 0xf9, GP);
    LIMIT("8 bytes", rd8, 0xf8, NONE);
    LIMIT("10 bytes across", rd10, 0xf7, GP);
    LIMIT("16 bytes across", rd16, 0xf1, GP);
    LIMIT("16 bytes", rd16, 0xf0, NONE);
    LIMIT("far pointer across", rd_far, 0xfb, GP);
    LIMIT("negative offset", rd1, 0xffffffff, GP);
    LIMIT("dword at -2: across 4 GiB", rd4, 0xfffffffe, GP);
    SETGDT(SEG, seg_desc(base, 0, ACC_DATA, FL_G | FL_DB));
    LIMIT("granularity: 4095", rd1, 0xfff, NONE);
    LIMIT("granularity: 4096", rd1, 0x1000, GP);
    SETGDT(SEG, seg_desc(base, 0, ACC_DATA, FL_DB));
    LIMIT("limit 0: one byte", rd1, 0, NONE);
    LIMIT("limit 0: no word", rd2, 0, GP);
    /* expand-down: above the limit, up to 64 KiB or 4 GiB */
    SETGDT(SEG, seg_desc(base - 0x10000 + 0x100, 0xff7f, ACC_DATA | 4, 0));
    LIMIT("expand-down, at the limit", rd1, 0xff7f, GP);
    LIMIT("expand-down, above", rd1, 0xff80, NONE);
    LIMIT("expand-down, dword across the limit", rd4, 0xff7e, GP);
    LIMIT("expand-down, 16 bits: last word", rd2, 0xfffe, NONE);
    LIMIT("expand-down, 16 bits: across the end", rd2, 0xffff, GP);
    LIMIT("expand-down, 16 bits: beyond", rd1, 0x10000, GP);
    SETGDT(SEG, seg_desc(base, 0xfffef, ACC_DATA | 4, FL_G | FL_DB));
    LIMIT("expand-down, 32 bits: below", rd1, 0xfffeffff, GP);
    SETGDT(SEG, seg_desc(base + 0x1000, 0xffffe, ACC_DATA | 4, FL_G | FL_DB));
    LIMIT("expand-down, 32 bits: base and offset wrap", rd4, 0xfffff000, NONE);
    LIMIT("expand-down, 32 bits: last", rd4, 0xfffffffc, NONE);
    /* linear addresses wrap at 4 GiB */
    SETGDT(SEG, seg_desc(0xfffff000, 0xfffff, ACC_DATA, FL_G | FL_DB));
    st32(mem, 0x13572468);
    LIMIT("base + offset beyond 4 GiB", rd4, (u32)mem + 0x1000, NONE);
    CHECK("what it reads", trap.r.ax, 0x13572468);

    SETGDT(SEG, seg_desc(base, 0xff, 0x91, FL_DB));
    LIMIT("read of read-only", rd4, 0, NONE);
    LIMIT("write of read-only", wr4, 0, GP);
    LIMIT("read-modify-write of read-only", rmw4, 0, GP);
    SETGDT(SEG, seg_desc(base, 0xff, 0x9b, FL_DB));
    LIMIT("read of readable code", rd4, 0, NONE);
    LIMIT("write of code", wr4, 0, GP);
    in.si = (u32)mem;
    RUN("read through CS", rd_cs, NONE, 0);
    RUN("write through CS", wr_cs, GP, 0);
    in.di = 0;
    RUN("null FS", rd4, GP, 0);
    in.di = 3;
    RUN("null FS, RPL 3", rd4, GP, 0);
    RUN("null DS", use_ds, GP, 0);
    CHECK("at the access", trap.ip, (u32)use_ds_end - 3);
}

static void stack_at(int line, const char *what, const void *code, u32 offset, int vector)
{
    in.di = SEG | 3;
    in.si = offset;
    run_user(code);
    expect_at_line(line, what, vector, 0);
    if (vector != NONE && code != ss_rd4 && code != ss_leave)
        check_at(line, "ESP kept", trap.sp, offset);
}
#define STACK(...) stack_at(__LINE__, __VA_ARGS__)

static void stacks(void)
{
    SETGDT(SEG, seg_desc(base, 0xff, ACC_DATA | DPL(3), FL_DB));
    STACK("EBP-relative", ss_rd4, 0xfc, NONE);
    STACK("EBP-relative, across", ss_rd4, 0xfd, SS);
    STACK("push", ss_push, 0x100, NONE);
    STACK("push, across", ss_push, 0x101, SS);
    STACK("push at 0: wraps to 4 GiB", ss_push, 0, SS);
    STACK("push at 2", ss_push, 2, SS);
    STACK("pop", ss_pop, 0xfc, NONE);
    STACK("pop across", ss_pop, 0xfd, SS);
    STACK("call", ss_call, 0x104, SS);
    STACK("ret", ss_ret, 0x100, SS);
    STACK("popf", ss_popf, 0xfe, SS);
    STACK("enter", ss_enter, 2, SS);
    CHECK("EBP kept", trap.r.bp, 77);
    STACK("pusha", ss_pusha, 28, SS);
    STACK("pusha", ss_pusha, 32, NONE);
    STACK("leave", ss_leave, 0xfe, SS);
    SETGDT(SEG, seg_desc(base, 0xff, ACC_DATA | DPL(3) | 4, FL_DB));
    STACK("expand-down push", ss_push, 0x104, NONE);
    STACK("expand-down push, across", ss_push, 0x103, SS);
    /* 16-bit stack: SP wraps, and the high half of ESP stays */
    SETGDT(SEG, seg_desc(base, 0xffff, ACC_DATA | DPL(3), 0));
    in.di = SEG | 3;
    in.si = 0x12340100;
    in.ax = 0xabcd;
    USER("16-bit stack", ss_push, NONE, 0);
    CHECK("ESP", trap.sp, 0x123400fc);
    CHECK("where it went", ld32((void *)(base + 0xfc)), 0xabcd);
    in.si = 0x12340000;
    USER("push at SP 0", ss_pushw, NONE, 0);
    CHECK("ESP wraps in 16 bits", trap.sp, 0x1234fffe);
    in.si = 0x12340001;
    USER("push across the end", ss_pushw, SS, 0);
    in.si = 0x1234ffff;
    USER("pop across the end", ss_pop, SS, 0);
    in.si = 0x1234fffe;
    USER("EBP-relative has 32 bits all the same", ss_rd4, SS, 0);
    in.si = (u32)mem;
    RUN("a DS override makes it no stack access", ds_ebp, NONE, 0);
}

static void load_at(int line, const char *what, u64 desc, const void *code, u32 sel, int vector,
                    u32 err)
{
    SETGDT(SEG, desc);
    in.di = sel;
    if (code == u_load_ds || code == u_load_ss)
        run_user(code);
    else
        run(code);
    expect_at_line(line, what, vector, err);
}
#define LOAD(...)         load_at(__LINE__, __VA_ARGS__)
#define DATA_DESC(access) seg_desc(0, 0xfffff, access, FL_G | FL_DB)

static void loads(void)
{
    LOAD("unaccessed data", DATA_DESC(0x92), load_es, SEG, NONE, 0);
    CHECK("becomes accessed", gdt[SEG / 8] >> 40 & 0xff, 0x93);
    LOAD("execute-only code", DATA_DESC(0x99), load_es, SEG, GP, SEG);
    LOAD("readable code", DATA_DESC(0x9b), load_es, SEG, NONE, 0);
    LOAD("absent data", DATA_DESC(0x12), load_es, SEG, NP, SEG);
    CHECK("is not accessed", gdt[SEG / 8] >> 40 & 0xff, 0x12);
    LOAD("absent and wrong type", DATA_DESC(0x18), load_es, SEG, GP, SEG);
    LOAD("system segment", DATA_DESC(0x82), load_es, SEG, GP, SEG);
    LOAD("beyond the GDT", 0, load_es, 0x7f8, GP, 0x7f8);
    LOAD("no LDT", 0, load_es, 0x0c, GP, 0x0c);
    LOAD("null", 0, load_ds, 0, NONE, 0);
    LOAD("null with RPL 3", 0, load_ds, 3, NONE, 0);
    LOAD("RPL 3 to DPL 0", DATA_DESC(0x93), load_ds, SEG | 3, GP, SEG);
    LOAD("RPL 2 to DPL 2", DATA_DESC(0x93 | DPL(2)), load_ds, SEG | 2, NONE, 0);
    LOAD("level 3 to DPL 2", DATA_DESC(0x93 | DPL(2)), u_load_ds, SEG, GP, SEG);
    LOAD("level 3 to DPL 3", DATA_DESC(0x93 | DPL(3)), u_load_ds, SEG | 1, NONE, 0);
    LOAD("level 3 to conforming code of DPL 0", DATA_DESC(0x9f), u_load_ds, SEG | 3, NONE, 0);
    LOAD("level 3 to plain code of DPL 0", DATA_DESC(0x9b), u_load_ds, SEG | 3, GP, SEG);
    LOAD("POP DS", DATA_DESC(0x12), pop_ds, SEG, NP, SEG);
    CHECK("ESP kept", trap.sp, (u32)run_stack_top - 8);
    LOAD("SS null", 0, load_ss, 0, GP, 0);
    LOAD("SS read-only", DATA_DESC(0x91), load_ss, SEG, GP, SEG);
    LOAD("SS code", DATA_DESC(0x9b), load_ss, SEG, GP, SEG);
    LOAD("SS absent", DATA_DESC(0x13), load_ss, SEG, SS, SEG);
    LOAD("SS RPL 1", DATA_DESC(0x93), load_ss, SEG | 1, GP, SEG);
    LOAD("SS DPL 1", DATA_DESC(0x93 | DPL(1)), load_ss, SEG, GP, SEG);
    LOAD("SS beyond the GDT", 0, load_ss, 0x7f8, GP, 0x7f8);
    LOAD("SS unaccessed", DATA_DESC(0x92), load_ss, SEG, NONE, 0);
    CHECK("becomes accessed", gdt[SEG / 8] >> 40 & 0xff, 0x93);
    LOAD("level 3 SS null", 0, u_load_ss, 3, GP, 0);
    LOAD("level 3 SS of DPL 3", DATA_DESC(0x93 | DPL(3)), u_load_ss, SEG | 3, NONE, 0);
    LOAD("level 3 SS of RPL 0", DATA_DESC(0x93 | DPL(3)), u_load_ss, SEG, GP, SEG);
    LOAD("CS by MOV", DATA_DESC(0x9b), load_cs, SEG, UD, 0);
    LOAD("segment register 6", DATA_DESC(0x93), load_6, SEG, UD, 0);
    static u8 ptr[6];
    *(volatile u32 *)ptr = 0x1234;
    *(volatile u16 *)(ptr + 4) = SEG;
    in.si = (u32)ptr;
    in.cx = 0x99;
    LOAD("LSS of an absent segment", DATA_DESC(0x13), lss_bad, 0, SS, SEG);
    CHECK("ECX kept", trap.r.cx, 0x99);
    /* through an LDT */
    static u64 ldt[4];
    ldt[1] = DATA_DESC(0x93);
    SETGDT(LDT, seg_desc((u32)ldt, 15, 0x82, 0));
    __asm__ volatile("lldt %w0" ::"r"(LDT));
    LOAD("from the LDT", 0, load_es, 0x0c, NONE, 0);
    LOAD("beyond the LDT", 0, load_es, 0x14, GP, 0x14);
    LOAD("LDT entry 0 is no null selector", 0, load_es, 4, GP, 4);
    __asm__ volatile("lldt %w0" ::"r"(0));
}

/* ---- code limits ------------------------------------------------------------------------------- */

CODE(jmp_far_si, "push %edi; push %esi; lret");

static void code_limits(void)
{
    u8 *code = mem + 0x800;

    memset(code, 0x90, 256);
    SETGDT(SEG, seg_desc(base, 0x7f, ACC_CODE, FL_DB));
    in.di = SEG;
    in.si = 0x7c;
    RUN("running off the end", jmp_far_si, GP, 0);
    CHECK("EIP is beyond the limit", trap.ip, 0x80);
    CHECK("CS", trap.cs, SEG);
    code[0x7f] = 0xb8; /* a long one that begins before it */
    RUN("instruction across the end", jmp_far_si, GP, 0);
    CHECK("EIP is the instruction", trap.ip, 0x7f);
    in.si = 0x80;
    RUN("far return beyond the end", jmp_far_si, GP, 0);
    CHECK("is the return's", trap.cs, KCODE);
    code[0x7d] = 0xeb; /* jmp short beyond */
    code[0x7e] = 0x20;
    in.si = 0x7d;
    RUN("near jump beyond the end", jmp_far_si, GP, 0);
    CHECK("is the jump's", trap.ip, 0x7d);
    /* 15 bytes, and 16 */
    memset(code + 0x40, 0x2e, 14);
    code[0x4e] = 0x90;
    code[0x4f] = 0xcd;
    code[0x50] = VEC_DONE;
    in.si = 0x40;
    RUN("15 bytes", jmp_far_si, NONE, 0);
    memset(code + 0x40, 0x2e, 15);
    code[0x4f] = 0x90;
    RUN("16 bytes", jmp_far_si, GP, 0);
    CHECK("EIP", trap.ip, 0x40);
    /* a branch in 16-bit code is cut to 16 bits */
    SETGDT(CODE16, seg_desc(base, 0xffff, ACC_CODE, 0));
    static const u8 jmp16[] = {0x66, 0xe9, 0xfa,
                               0xff, 0x01, 0x00}; /* jmp 0x20000: 32-bit operand */
    memcpy(code, jmp16, sizeof(jmp16));
    in.di = CODE16;
    in.si = 0;
    RUN("32-bit jump out of a 16-bit segment", jmp_far_si, GP, 0);
    CHECK("is the jump's", trap.ip, 0);
}

/* ---- alignment checks -------------------------------------------------------------------------- */

CODE(ac_rd4, "movl (%esi), %eax" DONE);
CODE(ac_rd2, "movw (%esi), %ax" DONE);
CODE(ac_push, "mov %esi, %esp; push %eax" DONE);
CODE(ac_movaps, "movaps (%esi), %xmm0" DONE);
CODE(ac_fld8, "fldl (%esi)" DONE);
CODE(ac_kernel, "movl (%esi), %eax; ret");

static void alignment(void)
{
    in.si = (u32)mem + 1;
    user.flags = FL_AC | 2;
    USER("AC without AM", ac_rd4, NONE, 0);
    set_cr0(get_cr0() | CR0_AM);
    USER("dword at 1", ac_rd4, AC, 0);
    CHECK("IP", trap.ip, (u32)ac_rd4);
    USER("word at 1", ac_rd2, AC, 0);
    user.flags = 2;
    USER("AM without AC", ac_rd4, NONE, 0);
    user.flags = FL_AC | 2;
    RUN("level 0", ac_kernel, NONE, 0);
    in.si = (u32)mem + 2;
    USER("dword at 2", ac_rd4, AC, 0);
    USER("word at 2", ac_rd2, NONE, 0);
    in.si = (u32)mem + 4;
    USER("dword at 4", ac_rd4, NONE, 0);
    USER("8 bytes at 4", ac_fld8, AC, 0);
    in.si = (u32)mem + 66;
    USER("push", ac_push, AC, 0);
    CHECK("ESP kept", trap.sp, in.si);
    in.si = (u32)mem + 8;
    USER("MOVAPS at 8 is #GP", ac_movaps, GP, 0);
    set_cr0(get_cr0() & ~(ulong)CR0_AM);
    user.flags = 2;
}

/* ---- LAR, LSL, VERR, VERW, ARPL ---------------------------------------------------------------- */

CODE(do_lar, "lar %edi, %eax; ret");
CODE(do_lsl, "lsl %edi, %eax; ret");
CODE(do_verr, "verr %di; ret");
CODE(do_verw, "verw %di; ret");
CODE(u_lar, "lar %edi, %eax" DONE);
CODE(u_verr, "verr %di" DONE);
CODE(do_arpl, "arpl %si, %di; ret");

static void ask(int line, const char *what, const void *code, u64 desc, u32 sel, bool zf, u32 value)
{
    SETGDT(SEG, desc);
    u32 hidden = code == do_lsl || !zf ? 0 : 0xf0000; /* undefined after LAR */

    in.di = sel;
    in.ax = 0x77777777;
    if (code == u_lar || code == u_verr)
        run_user(code);
    else
        run(code);
    expect_at_line(line, what, NONE, 0);
    check_at(line, what, !!(trap.flags & FL_ZF), zf);
    if (code == do_lar || code == do_lsl || code == u_lar)
        check_at(line, what, trap.r.ax & ~hidden, zf ? value : 0x77777777);
}
#define ASK(...) ask(__LINE__, __VA_ARGS__)

static void inspection(void)
{
    ASK("LAR of data", do_lar, seg_desc(0, 0xfffff, 0x92, FL_G | FL_DB), SEG, true, 0xc09200);
    ASK("LSL of data", do_lsl, seg_desc(0, 0x12345, 0x92, 0), SEG, true, 0x12345);
    ASK("LSL with granularity", do_lsl, seg_desc(0, 0x12345, 0x92, FL_G), SEG, true, 0x12345fff);
    ASK("LAR of absent data", do_lar, seg_desc(0, 0, 0x12, 0), SEG, true, 0x1200);
    ASK("LAR of null", do_lar, 0, 0, false, 0);
    ASK("LAR beyond", do_lar, 0, 0x7f8, false, 0);
    static const u16 lar_types =
        1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 9 | 1 << 11 | 1 << 12;
    static const u16 lsl_types = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 9 | 1 << 11;
    for (unsigned t = 0; t < 16; t++) {
        ASK("LAR of each system type", do_lar, seg_desc(0, 5, 0x80 | t, 0), SEG, lar_types >> t & 1,
            0x8000 | t << 8);
        ASK("LSL of each system type", do_lsl, seg_desc(0, 5, 0x80 | t, 0), SEG, lsl_types >> t & 1,
            5);
    }
    ASK("LAR, RPL 3 to DPL 0", do_lar, seg_desc(0, 0, 0x92, 0), SEG | 3, false, 0);
    ASK("LAR, level 3 to DPL 0", u_lar, seg_desc(0, 0, 0x92, 0), SEG, false, 0);
    ASK("LAR, level 3 to conforming code", u_lar, seg_desc(0, 0, 0x9e, 0), SEG | 3, true, 0x9e00);
    ASK("VERR of data", do_verr, seg_desc(0, 0, 0x90, 0), SEG, true, 0);
    ASK("VERW of read-only", do_verw, seg_desc(0, 0, 0x90, 0), SEG, false, 0);
    ASK("VERW of data", do_verw, seg_desc(0, 0, 0x92, 0), SEG, true, 0);
    ASK("VERR of execute-only", do_verr, seg_desc(0, 0, 0x98, 0), SEG, false, 0);
    ASK("VERR of readable code", do_verr, seg_desc(0, 0, 0x9a, 0), SEG, true, 0);
    ASK("VERW of code", do_verw, seg_desc(0, 0, 0x9a, 0), SEG, false, 0);
    ASK("VERR of a system segment", do_verr, seg_desc(0, 0, 0x82, 0), SEG, false, 0);
    ASK("VERR, level 3 to DPL 0", u_verr, seg_desc(0, 0, 0x92, 0), SEG | 3, false, 0);
    ASK("VERR, level 3 to conforming code", u_verr, seg_desc(0, 0, 0x9e, 0), SEG | 3, true, 0);
    in.di = 0x12340060;
    in.si = 3;
    RUN("ARPL raises", do_arpl, NONE, 0);
    CHECK("ZF", trap.flags & FL_ZF, FL_ZF);
    CHECK("selector", trap.r.di, 0x12340063);
    in.di = 0x12340063;
    in.si = 1;
    RUN("ARPL leaves", do_arpl, NONE, 0);
    CHECK("ZF", trap.flags & FL_ZF, 0);
    CHECK("selector", trap.r.di, 0x12340063);
}

void guest_main(void)
{
    mem = pages_alloc(32);
    base = (u32)mem + 0x800;
    limits();
    stacks();
    loads();
    code_limits();
    alignment();
    inspection();
}
