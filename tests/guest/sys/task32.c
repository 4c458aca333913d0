/* Task switches: JMP, CALL, INT, exceptions and IRET, 16- and 32-bit TSS, nesting, busy bits, what is
 * saved and loaded, faults before and after the switch, the debug trap bit. SDM vol. 3, chapter 7.
 *
 * A task's code ends with INT 0x30, whose frame lies on the task's own stack; home() makes the guest's
 * own TSS current again.
 *
 * QEMU is known to differ in what a failed switch leaves behind.
 */
#include "sys.h"

enum {
    TASK = 0x60,
    TASK16 = 0x68,
    GATE = 0x70,
    SCRATCH = 0x78,
    LDT = 0x80,
    CODE1 = 0x88,
    DATA1 = 0x90,
    TASK_B = 0x98,
    SPARE = 0xa0,
    VEC = 0x40
};
#define SETGDT(sel, v) (gdt[(sel) / 8] = (v))
#define BUSY           (2ull << 40)
enum {
    T_CR3 = 0x1c,
    T_EIP = 0x20,
    T_FLAGS = 0x24,
    T_EAX = 0x28,
    T_ECX = 0x2c,
    T_EDX = 0x30,
    T_EBX = 0x34,
    T_ESP = 0x38,
    T_EBP = 0x3c,
    T_ESI = 0x40,
    T_EDI = 0x44,
    T_ES = 0x48,
    T_CS = 0x4c,
    T_SS = 0x50,
    T_DS = 0x54,
    T_FS = 0x58,
    T_GS = 0x5c,
    T_LDT = 0x60,
    T_TRAP = 0x64
};

static u8 *ta, *tb, *t16, *stack_a; /* two 32-bit TSSs, one of 16 bits */

LABEL(after_call);
LABEL(after_jmp);
LABEL(after_int);
CODE(task_body, "str %ax; mov %cr0, %edx;" DONE);
CODE(task_iret, "inc %ebx; iret; jmp task_iret");
CODE(task_iret_nt, "pushf; andl $~0x4000, (%esp); popf; push %cs; push $nothing; iret");
CODE(jmp_task, "ljmp $0x60, $0\n after_jmp: " DONE);
CODE(call_task, "lcall $0x60, $0\n after_call:" DONE);
CODE(jmp_task16, "ljmp $0x68, $0;" DONE);
CODE(call_task16, "lcall $0x68, $0;" DONE);
CODE(jmp_gate, "ljmp $0x73, $0;" DONE);
CODE(call_gate, "lcall $0x73, $0; mov $77, %ecx" DONE);
CODE(int_task, "int $0x40\n after_int:" DONE);
CODE(jmp_scratch, "ljmp $0x78, $0;" DONE);
CODE(jmp_scratch3, "ljmp $0x7b, $0;" DONE);
CODE(just_ud, "ud2");
CODE(nothing, "nop");
CODE(gp_fault, "mov $0x1238, %eax; mov %eax, %ds");
CODE(err_body, "mov (%esp), %ebx; mov %esp, %ecx" DONE);
CODE(task_user, "mov %cs, %eax" DONE);
CODE(iret_nt, "pushf; orl $0x4000, (%esp); popf; iret");

static u32 t32(u8 *t, unsigned at)
{
    return ld32(t + at);
}

static void task_set(u8 *t, const void *body)
{
    memset(t, 0, 104);
    st32(t + T_CR3, get_cr3());
    st32(t + T_EIP, (u32)body);
    st32(t + T_FLAGS, 2 | FL_CF);
    for (unsigned k = 0; k < 8; k++)
        st32(t + T_EAX + 4 * k, 0x10101010 * (k + 1));
    st32(t + T_ESP, (u32)stack_a + 4096);
    static const u16 sels[6] = {KDATA, KCODE, KDATA, KDATA, UDATA, UDATA2};
    for (unsigned k = 0; k < 6; k++)
        st32(t + T_ES + 4 * k, sels[k]);
    st16(t + 0x66, 104);
}

/* At level 3 with a 16-bit stack, as the high half of ESP is not given; level 0's is at 0x7000. */
static void task16_set(const void *body)
{
    u16 *w = (u16 *)t16;

    memset(t16, 0, 44);
    w[1] = 0x7000;
    w[2] = KDATA;
    w[7] = (u16)(ulong)body;
    w[8] = 2;
    for (unsigned k = 0; k < 8; k++)
        w[9 + k] = (u16)(0x1010 * (k + 1));
    w[13] = 0x7800;
    w[17] = UDATA;
    w[18] = SPARE | 3; /* code whose base has the body's high half */
    w[19] = DATA1 | 3;
    w[20] = UDATA;
    SETGDT(SPARE, seg_desc((u32)body & 0xffff0000, 0xffff, ACC_CODE | DPL(3), FL_DB));
    SETGDT(DATA1, seg_desc(0, 0xffff, ACC_DATA | DPL(3), 0));
}

/* The guest's own TSS is current again, all are available; what was saved in it is forgotten. */
static void home(void)
{
    SETGDT(TASK, seg_desc((u32)ta, 103, 0x89, 0));
    SETGDT(TASK_B, seg_desc((u32)tb, 103, 0x89, 0));
    SETGDT(TASK16, seg_desc((u32)t16, 43, 0x81, 0));
    SETGDT(GATE, gate_desc(TASK, 0, 0x85 | DPL(3), 0));
    gdt[TSS_SEL / 8] &= ~BUSY;
    __asm__ volatile("clts; ltr %w0; lldt %w1" ::"r"(TSS_SEL), "r"(0));
}

static bool busy(unsigned sel)
{
    return gdt[sel / 8] & BUSY;
}

/* ---- what is saved, loaded and marked ---------------------------------------------------------- */

static void jumps(void)
{
    home();
    task_set(ta, task_body);
    in = (struct regs){0xa0, 0xc0, 0xd0, 0xb0, 0xbb, 0x51, 0xd1};
    RUN("JMP to a TSS", jmp_task, NONE, 0);
    CHECK("TR", trap.r.ax & 0xffff, TASK);
    CHECK("TS is set", trap.r.dx & CR0_TS, CR0_TS);
    CHECK("new busy", busy(TASK), 1);
    CHECK("old not busy", busy(TSS_SEL), 0);
    CHECK("no link", t32(ta, 0), 0);
    CHECK("flags", trap.flags, 2 | FL_CF);
    CHECK("ESP", trap.sp, (u32)stack_a + 4096);
    CHECK("ECX", trap.r.cx, 0x20202020);
    CHECK("EBX", trap.r.bx, 0x40404040);
    CHECK("EBP", trap.r.bp, 0x60606060);
    CHECK("ESI", trap.r.si, 0x70707070);
    CHECK("EDI", trap.r.di, 0x80808080);
    CHECK("FS", trap.fs & 0xffff, UDATA);
    CHECK("GS", trap.gs & 0xffff, UDATA2);
    CHECK("saved EIP", t32(tss, T_EIP), (u32)after_jmp);
    CHECK("saved EAX", t32(tss, T_EAX), 0xa0);
    CHECK("saved ECX", t32(tss, T_ECX), 0xc0);
    CHECK("saved EDX", t32(tss, T_EDX), 0xd0);
    CHECK("saved EBX", t32(tss, T_EBX), 0xb0);
    CHECK("saved ESP", t32(tss, T_ESP), (u32)run_stack_top - 4);
    CHECK("saved EBP", t32(tss, T_EBP), 0xbb);
    CHECK("saved ESI", t32(tss, T_ESI), 0x51);
    CHECK("saved EDI", t32(tss, T_EDI), 0xd1);
    CHECK("saved CS", t32(tss, T_CS) & 0xffff, KCODE);
    CHECK("saved SS", t32(tss, T_SS) & 0xffff, KDATA);
    CHECK("saved DS", t32(tss, T_DS) & 0xffff, KDATA);

    home();
    task_set(ta, task_body);
    RUN("CALL of a TSS", call_task, NONE, 0);
    CHECK("new busy", busy(TASK), 1);
    CHECK("old stays busy", busy(TSS_SEL), 1);
    CHECK("link", t32(ta, 0) & 0xffff, TSS_SEL);
    CHECK("NT", trap.flags, 2 | FL_CF | FL_NT);
    CHECK("saved EIP", t32(tss, T_EIP), (u32)after_call);

    home();
    task_set(ta, task_iret);
    RUN("CALL and IRET", call_task, NONE, 0);
    CHECK("TSS busy again", busy(TSS_SEL), 1);
    CHECK("task not busy", busy(TASK), 0);
    CHECK("its saved EIP: behind IRET", t32(ta, T_EIP), (u32)task_iret + 2);
    CHECK("its saved EBX", t32(ta, T_EBX), 0x40404041);
    CHECK("its saved flags have no NT", t32(ta, T_FLAGS) & FL_NT, 0);
    CHECK("registers back", trap.r.ax, 0xa0);
    CHECK("where", trap.ip, (u32)after_call + 2);
    /* once more: it goes on behind its IRET, with a JMP to its start */
    RUN("CALL again", call_task, NONE, 0);
    CHECK("its saved EBX", t32(ta, T_EBX), 0x40404042);

    home();
    task_set(ta, task_iret);
    USER("CALL of a task gate at level 3", call_gate, NONE, 0);
    CHECK("back at level 3", trap.cs, UCODE);
    CHECK("and on", trap.r.cx, 77);
    idt_set(VEC, TASK, 0, 0xe5, 0);
    task_set(ta, task_iret);
    USER("INT through a task gate", int_task, NONE, 0);
    CHECK("back at level 3", trap.cs, UCODE);
    CHECK("flags", trap.flags & FL_NT, 0);
    CHECK("its saved EBX", t32(ta, T_EBX), 0x40404041);
    task_set(ta, task_user);
    st32(ta + T_CS, UCODE);
    st32(ta + T_SS, UDATA);
    st32(ta + 8, KDATA);
    st32(ta + 4, (u32)stack_a + 2048);
    for (unsigned k = 0; k < 4; k++)
        st32(ta + (k ? T_DS + 4 * (k - 1) : T_ES), UDATA);
    st32(ta + T_ESP, (u32)user_stack_top);
    home();
    RUN("JMP to a task of level 3", jmp_task, NONE, 0);
    CHECK("level", trap.cs, UCODE);
    CHECK("stack of its own TSS for level 0", trap.frame_at, (u32)stack_a + 2048 - 20);
}

/* ---- 16 bits ----------------------------------------------------------------------------------- */

CODE(body16, "str %ax" DONE);

static void sixteen(void)
{
    u16 *w = (u16 *)t16;

    home();
    task16_set(body16);
    in = (struct regs){0x1a0a0, 0xc0, 0xd0, 0xb0, 0xbb, 0x51, 0xd1};
    RUN("JMP to a 16-bit TSS", jmp_task16, NONE, 0);
    CHECK("TR", trap.r.ax & 0xffff, TASK16);
    CHECK("CS", trap.cs, SPARE | 3);
    CHECK("SI", trap.r.si & 0xffff, 0x7070);
    CHECK("SP", trap.sp & 0xffff, 0x7800);
    CHECK("level 0 stack of a 16-bit TSS", trap.frame_at, 0x7000 - 20);
    CHECK("FS is null in a 16-bit task", trap.fs & 0xffff, 0);
    CHECK("GS is null in a 16-bit task", trap.gs & 0xffff, 0);
    CHECK("saved EAX of the 32-bit task", t32(tss, T_EAX), 0x1a0a0);
    home();
    task16_set(task_iret);
    RUN("CALL of a 16-bit TSS and back", call_task16, NONE, 0);
    CHECK("EAX whole", trap.r.ax, 0x1a0a0);
    CHECK("link", w[0], TSS_SEL);
    CHECK("its saved IP", w[7], ((u32)task_iret + 2) & 0xffff);
    CHECK("its saved BX", w[12], 0x4041);
    CHECK("its saved CS", w[18], SPARE | 3);
    CHECK("its saved flags", w[8] & FL_NT, 0);
}

/* ---- refused before the switch ----------------------------------------------------------------- */

static void refused(const char *what, const void *code, bool as_user, u64 desc, int vector,
                    u32 error)
{
    home();
    task_set(ta, task_body);
    SETGDT(SCRATCH, desc);
    if (as_user)
        run_user(code);
    else
        run(code);
    expect_at_line(__LINE__, what, vector, error);
    CHECK("IP of it", trap.ip, (u32)code);
    CHECK("own TSS still busy", busy(TSS_SEL), 1);
}

static void before_the_switch(void)
{
    u32 a = (u32)ta;

    refused("busy TSS", jmp_scratch, false, seg_desc(a, 103, 0x8b, 0), GP, SCRATCH);
    refused("absent TSS", jmp_scratch, false, seg_desc(a, 103, 0x09, 0), NP, SCRATCH);
    refused("TSS of DPL 0 at level 3", jmp_scratch, true, seg_desc(a, 103, 0x89, 0), GP, SCRATCH);
    refused("RPL 3 to DPL 0", jmp_scratch3, false, seg_desc(a, 103, 0x89, 0), GP, SCRATCH);
    refused("TSS too small", jmp_scratch, false, seg_desc(a, 102, 0x89, 0), TS, SCRATCH);
    refused("16-bit TSS too small", jmp_scratch, false, seg_desc(a, 42, 0x81, 0), TS, SCRATCH);
    refused("task gate to nothing", jmp_scratch, false, gate_desc(0, 0, 0x85, 0), GP, 0);
    refused("task gate into the LDT", jmp_scratch, false, gate_desc(TASK | 4, 0, 0x85, 0), GP,
            TASK | 4);
    refused("task gate to code", jmp_scratch, false, gate_desc(KCODE, 0, 0x85, 0), GP, KCODE);
    refused("task gate to the busy TSS", jmp_scratch, false, gate_desc(TSS_SEL, 0, 0x85, 0), GP,
            TSS_SEL);
    refused("absent task gate", jmp_scratch, false, gate_desc(TASK, 0, 0x05, 0), NP, SCRATCH);
    refused("task gate of DPL 0 at level 3", jmp_scratch, true, gate_desc(TASK, 0, 0x85, 0), GP,
            SCRATCH);
    refused("task gate beyond the GDT", jmp_scratch, false, gate_desc(0x1000, 0, 0x85, 0), GP,
            0x1000);
    idt_set(VEC, TSS_SEL, 0, 0xe5, 0);
    refused("INT, task gate to a busy TSS", int_task, false, 0, GP, TSS_SEL);
    idt_set(VEC, TASK, 0, 0x85, 0);
    refused("INT, task gate of DPL 0", int_task, true, 0, GP, VEC * 8 + 2);
    idt_set(VEC, TASK, 0, 0x65, 0);
    refused("INT, absent task gate", int_task, true, 0, NP, VEC * 8 + 2);
    idt_set(VEC, 0, 0, 0xe5, 0);
    refused("INT, task gate to nothing", int_task, true, 0, GP, 0);
    idt_set(UD, SCRATCH, 0, 0x85, 0);
    refused("#UD, task gate to an absent TSS", just_ud, true, seg_desc(a, 103, 0x09, 0), NP,
            SCRATCH | 1);
    refused("#UD, task gate to a small TSS", just_ud, true, seg_desc(a, 50, 0x89, 0), TS,
            SCRATCH | 1);
    idt_default(UD);

    /* IRET with NT: the link must name a busy TSS */
    home();
    st16(tss, 0);
    RUN("IRET to no task", iret_nt, TS, 0);
    st16(tss, TASK);
    RUN("IRET to a TSS that is not busy", iret_nt, TS, TASK);
    st16(tss, TASK | 4);
    RUN("IRET to a TSS in the LDT", iret_nt, TS, TASK | 4);
    st16(tss, KCODE);
    RUN("IRET to code", iret_nt, TS, KCODE);
    SETGDT(SCRATCH, seg_desc(a, 103, 0x0b, 0));
    st16(tss, SCRATCH);
    RUN("IRET to an absent TSS", iret_nt, NP, SCRATCH);
    SETGDT(SCRATCH, seg_desc(a, 100, 0x8b, 0));
    RUN("IRET to a small TSS", iret_nt, TS, SCRATCH);
    st16(tss, 0);
}

/* ---- faults after the switch: of the new task, at its first instruction ------------------------ */

CODE(handler_task, "pop %ebx; mov %esp, %ecx" DONE);

/* The new task may have no stack to push a fault to, so the handler is a task too (7.3: "a task gate
 * should be used"). What it interrupts is the new task, before its first instruction. */
static void broken(const char *what, unsigned field, u32 value, int vector, u32 error)
{
    home();
    task_set(ta, task_body);
    st32(ta + field, value);
    task_set(tb, handler_task);
    st32(tb + T_ESP, (u32)stack_a + 2048);
    idt_set((unsigned)vector, TASK_B, 0, 0x85, 0);
    run(jmp_task);
    expect_at_line(__LINE__, what, NONE, 0);
    CHECK(what, trap.r.bx, error);
    CHECK("error code is all on its stack", trap.r.cx, (u32)stack_a + 2048);
    CHECK("it interrupts the new task", t32(tb, 0) & 0xffff, TASK);
    CHECK("at its first instruction", t32(ta, T_EIP), (u32)task_body);
    CHECK("with its registers", t32(ta, T_ECX), 0x20202020);
    CHECK("and the selector visible", t32(ta, field) & 0xffff, value);
    CHECK("new busy", busy(TASK), 1);
    CHECK("handler busy", busy(TASK_B), 1);
    CHECK("old not busy", busy(TSS_SEL), 0);
    idt_default((unsigned)vector);
}

static void after_the_switch(void)
{
    SETGDT(SPARE, seg_desc(0, 0xfffff, ACC_DATA & ~0x80, FL_G | FL_DB));
    SETGDT(CODE1, seg_desc(0, 0xfff, ACC_CODE, FL_DB));
    SETGDT(LDT, seg_desc((u32)gdt, 0x7f, 0x02, 0));
    broken("null CS", T_CS, 0, TS, 0);
    broken("data CS", T_CS, KDATA, TS, KDATA);
    broken("CS beyond the GDT", T_CS, 0x1000, TS, 0x1000);
    broken("CS of DPL 3, RPL 0", T_CS, UCODE & ~3u, TS, UCODE & ~3u);
    broken("CS absent", T_CS, 0xa8, TS, 0xa8);
    broken("null SS", T_SS, 0, TS, 0);
    broken("SS of RPL 3", T_SS, KDATA | 3, TS, KDATA);
    broken("SS code", T_SS, KCODE, TS, KCODE);
    broken("SS absent", T_SS, SPARE, SS, SPARE);
    broken("DS absent", T_DS, SPARE, NP, SPARE);
    broken("ES a TSS", T_ES, TSS_SEL, TS, TSS_SEL);
    broken("FS beyond the GDT", T_FS, 0x1000, TS, 0x1000);
    broken("GS of RPL 3 to DPL 0", T_GS, KDATA | 3, TS, KDATA);
    broken("LDT a code segment", T_LDT, KCODE, TS, KCODE);
    broken("LDT absent", T_LDT, LDT, TS, LDT);
    broken("LDT in the LDT", T_LDT, LDT | 4, TS, LDT | 4);
    home();
    task_set(ta, task_body);
    st32(ta + T_CS, CODE1);
    RUN("EIP beyond the limit", jmp_task, GP, 0);
    home();
    task_set(ta, task_body);
    SETGDT(LDT, seg_desc((u32)gdt, 0x7f, 0x82, 0));
    st32(ta + T_LDT, LDT);
    st32(ta + T_GS, KDATA | 4); /* the LDT is the GDT's start */
    RUN("segments from the new LDT", jmp_task, NONE, 0);
    CHECK("GS", trap.gs & 0xffff, KDATA | 4);
    u16 ldt;
    __asm__ volatile("sldt %0" : "=r"(ldt));
    CHECK("LDTR", ldt, LDT);
}

/* ---- error codes, debug trap, CR3, faults in reading the TSS ----------------------------------- */

static ulong db_ip, db_dr6, db_dr7;

static bool db_hook(struct frame *f)
{
    if (f->vector != DB)
        return false;
    db_ip = f->ip;
    db_dr6 = get_dr6();
    db_dr7 = get_dr7();
    set_dr6(0xffff0ff0);
    return true;
}

static void the_rest(void)
{
    home();
    task_set(ta, err_body);
    idt_set(GP, TASK, 0, 0x85, 0);
    RUN("#GP through a task gate", gp_fault, NONE, 0);
    CHECK("error code on the task's stack", trap.r.bx, 0x1238);
    CHECK("as one word of 32 bits", trap.r.cx, (u32)stack_a + 4096 - 4);
    CHECK("saved EIP is the fault's", t32(tss, T_EIP), (u32)gp_fault + 5);
    if (!on_qemu())
        CHECK("saved flags have RF", t32(tss, T_FLAGS) & FL_RF, FL_RF);
    home();
    task16_set(body16);
    idt_set(GP, TASK16, 0, 0x85, 0);
    st32((void *)0x77fc, 0x55555555);
    RUN("#GP to a 16-bit task", gp_fault, NONE, 0);
    CHECK("error code as 16 bits", ld32((void *)0x77fc), 0x12385555);
    CHECK("its SP", trap.sp & 0xffff, 0x77fe);
    idt_default(GP);

    home();
    task_set(ta, task_body);
    st32(ta + T_TRAP, 0x00680001);
    trap_hook = db_hook;
    set_dr6(0xffff0ff0);
    set_dr7(0x4ff & ~0xffu); /* no breakpoint, LE and GE */
    set_dr0(0x12345678);
    set_dr7(0x400 | 1 | 8 | 0x100); /* L0, G1, LE */
    RUN("debug trap bit", jmp_task, NONE, 0);
    CHECK("before the task's first instruction", db_ip, (u32)task_body);
    CHECK("DR6.BT", db_dr6, 0xffff8ff0);
    CHECK("local enables are cleared, global kept", db_dr7, 0x408);
    set_dr7(0x400);
    trap_hook = 0;

    /* EFLAGS of the new task: VM and TF apply at once */
    home();
    task_set(ta, task_body);
    st32(ta + T_FLAGS, 2 | FL_TF);
    db_ip = 0;
    trap_hook = db_hook;
    RUN("TF of the new task", jmp_task, NONE, 0);
    CHECK("a trap after its last instruction but INT", db_ip, (u32)task_body_end - 2);
    trap_hook = 0;

    /* a task in virtual-8086 mode: its selectors are not selectors */
    home();
    task_set(ta, 0);
    st32(ta + T_FLAGS, 2 | FL_VM | FL_IOPL);
    for (unsigned k = 0; k < 6; k++)
        st32(ta + T_ES + 4 * k, 0xb00 + k);
    st32(ta + T_CS, 0x900);
    st32(ta + T_ESP, 0x1000);
    st32(ta + 4, (u32)stack_a + 2048);
    st32(ta + 8, KDATA);
    st32((void *)0x9000, 0x30cd); /* int $0x30 */
    RUN("JMP to a task in virtual-8086 mode", jmp_task, NONE, 0);
    CHECK("VM", trap.flags & FL_VM, FL_VM);
    CHECK("CS", trap.cs, 0x900);
    CHECK("IP", trap.ip, 2);
    CHECK("SP", trap.sp, 0x1000);
    CHECK("ES", trap.es, 0xb00);
    CHECK("GS", trap.gs, 0xb05);
    CHECK("level 0 stack of its TSS", trap.frame_at, (u32)stack_a + 2048 - 36);

    /* with paging: CR3 of the TSS, and a TSS whose page is absent */
    paging_on(2);
    home();
    u32 *root = page_alloc();
    memcpy(root, (void *)page_root, 4096);
    task_set(ta, task_body);
    st32(ta + T_CR3, (u32)root);
    RUN("CR3 of the new task", jmp_task, NONE, 0);
    CHECK("CR3", get_cr3(), (u32)root);
    set_cr3(page_root);
    u8 *far = (u8 *)0x70000000;
    pte_set((ulong)far, 0);
    pte_set((ulong)far + 4096, 0);
    home();
    SETGDT(TASK, seg_desc((u32)far + 4096 - 50, 103, 0x89, 0));
    RUN("absent TSS page", jmp_task, PF, 0);
    CHECK("IP is the old task's", trap.ip, (u32)jmp_task);
    CHECK("old still busy", busy(TSS_SEL), 1);
    CHECK("new not busy", busy(TASK), 0);
    u8 *page = page_alloc();
    pte_set((ulong)far, (ulong)page | P | W);
    RUN("absent second page of a TSS", jmp_task, PF, 0);
    CHECK("CR2", trap.cr2, (u32)far + 4096);
    CHECK("IP is the old task's", trap.ip, (u32)jmp_task);
    /* the old TSS becomes read-only: nothing can be saved; supervisor writes obey WP */
    set_cr0(get_cr0() | CR0_WP);
    home();
    task_set(ta, task_body);
    page = pages_alloc(3);
    memcpy(page, tss, 104);
    pte_set((ulong)far, (ulong)page | P);
    SETGDT(SCRATCH, seg_desc((u32)far, 103, 0x89, 0));
    __asm__ volatile("ltr %w0" ::"r"(SCRATCH));
    RUN("read-only old TSS", jmp_task, PF, PFE_P | PFE_W);
    CHECK("IP is the old task's", trap.ip, (u32)jmp_task);
    CHECK("new not busy", busy(TASK), 0);
    home();
}

void guest_main(void)
{
    ta = page_alloc();
    tb = page_alloc();
    t16 = page_alloc();
    stack_a = page_alloc();
    jumps();
    sixteen();
    before_the_switch();
    after_the_switch();
    the_rest();
}
