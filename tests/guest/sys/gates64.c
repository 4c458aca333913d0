/* Privilege changes of long mode: IST, stack alignment, 64-bit call gates, IRET and RETF outward with
 * null stacks, compatibility mode, SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS. SDM vol. 3, 5.8 and 6.14.
 *
 * Targets end with INT 0x30, which pushes a frame of its own: trap.sp is where the gate left the stack.
 *
 * QEMU is known to differ: it pushes no RF, counts IDT entries in error codes as 8 bytes each, checks
 * gates and returns less, returns error codes of absent stacks as #NP, and takes SYSCALL in compatibility
 * mode as AMD's processors do.
 */
#include "sys.h"

enum { GATE = 0x60, CONF = 0x70, CODE1 = 0x78, DATA1 = 0x80, SCRATCH = 0x90, VEC = 0x40 };
#define SETGDT(sel, v) (gdt[(sel) / 8] = (v))
#define MSR_STAR       0xc0000081u
#define MSR_LSTAR      0xc0000082u
#define MSR_FMASK      0xc0000084u
#define MSR_FSBASE     0xc0000100u
#define MSR_GSBASE     0xc0000101u
#define MSR_KGS        0xc0000102u

static u64 *stack_words(void)
{
    return (u64 *)trap.sp;
}

LABEL(after_int);
CODE(int_vec, "int $0x40\n after_int:" DONE);
CODE(target, "mov %ss, %ecx;" DONE);
CODE(just_ud, "ud2");
CODE(int_200, "int $200" DONE);
CODE(int_mis, "sub $3, %rsp; int $0x40" DONE);

static void set_gate(const void *to, u16 sel, unsigned access, unsigned ist)
{
    idt_set(VEC, sel, to, access, ist);
}

static void int_fault(const char *what, int vector, u32 error)
{
    run_user(int_vec);
    expect_at_line(__LINE__, what, vector, error);
    CHECK("IP of it", trap.ip, (ulong)int_vec);
    CHECK("RSP kept by it", trap.sp, user.sp);
}

static void int_gates(void)
{
    u64 esp0 = (ulong)run_stack_top, *s;
    u8 *ist = (u8 *)page_alloc() + 4096;

    user.flags = FL_IF | FL_CF | 2;
    set_gate(target, KCODE, 0xee, 0);
    USER("interrupt gate", int_vec, NONE, 0);
    s = stack_words();
    CHECK("its stack", trap.sp, esp0 - 40);
    CHECK("return RIP", s[0], (ulong)after_int);
    CHECK("return CS", s[1], UCODE64);
    CHECK("pushed flags", s[2], FL_IF | FL_CF | 2);
    CHECK("old RSP", s[3], user.sp);
    CHECK("old SS", s[4], UDATA);
    CHECK("SS is null", trap.r.cx & 0xffff, 0);
    CHECK("clears IF", trap.flags, FL_CF | 2);
    set_gate(target, KCODE, 0xef, 0);
    USER("trap gate", int_vec, NONE, 0);
    CHECK("leaves IF", trap.flags, FL_IF | FL_CF | 2);
    user.flags = 2;

    *(u64 *)(tss + 0x24 + 8 * 6) = (ulong)ist - 3;
    set_gate(target, KCODE, 0xee, 7);
    USER("IST 7, not aligned", int_vec, NONE, 0);
    CHECK("its stack, aligned", trap.sp, (ulong)ist - 16 - 40);
    RUN("IST 7 at the same level", int_vec, NONE, 0);
    CHECK("its stack", trap.sp, (ulong)ist - 16 - 40);
    s = stack_words();
    CHECK("old RSP on it", s[3], esp0 - 8);
    CHECK("SS kept", trap.r.cx & 0xffff, KDATA);
    CHECK("old SS on it", s[4], KDATA);
    set_gate(target, KCODE, 0xee, 0);
    RUN("same level, no IST, odd RSP", int_mis, NONE, 0);
    s = stack_words();
    CHECK("its stack is aligned", trap.sp, ((esp0 - 8 - 3) & ~15ull) - 40);
    CHECK("old RSP on it", s[3], esp0 - 8 - 3);

    *(u64 *)(tss + 0x24 + 8 * 6) = 0x900000000000;
    set_gate(target, KCODE, 0xee, 7);
    int_fault("non-canonical IST", SS, 0);
    *(u64 *)(tss + 0x24 + 8 * 6) = (ulong)ist;

    SETGDT(CONF, seg_desc(0, 0xfffff, ACC_CODE | 4, FL_G | FL_L));
    set_gate(target, CONF, 0xee, 0);
    USER("conforming handler", int_vec, NONE, 0);
    CHECK("keeps the level", trap.cs, CONF | 3);
    CHECK("pushes five words all the same", trap.sp, ((user.sp & ~15ul) - 40));
    CHECK("SS kept", trap.r.cx & 0xffff, UDATA);

    u32 err = VEC * 8 + 2;
    set_gate(target, KCODE, 0x8e, 0);
    int_fault("gate DPL 0", GP, err);
    set_gate(target, KCODE, 0x6e, 0);
    int_fault("gate absent", NP, err);
    static const u8 bad_types[] = {0xe0, 0xe1, 0xe2, 0xe4, 0xe5, 0xe6,
                                   0xe7, 0xe9, 0xeb, 0xec, 0xfe};
    for (unsigned k = 0; k < sizeof(bad_types); k++) {
        set_gate(target, KCODE, bad_types[k], 0);
        int_fault("gate of no 64-bit type", GP, err);
    }
    set_gate(target, 0, 0xee, 0);
    int_fault("null code", GP, 0);
    set_gate(target, KDATA, 0xee, 0);
    int_fault("data for code", GP, KDATA);
    set_gate(target, KCODE32, 0xee, 0);
    int_fault("32-bit code", GP, KCODE32);
    SETGDT(SCRATCH, seg_desc(0, 0xfffff, ACC_CODE, FL_G | FL_L | FL_DB));
    set_gate(target, SCRATCH, 0xee, 0);
    int_fault("code with L and D", GP, SCRATCH);
    SETGDT(SCRATCH, gdt[KCODE / 8] & ~(1ull << 47));
    set_gate(target, SCRATCH, 0xee, 0);
    int_fault("absent code", NP, SCRATCH);
    idt_raw(VEC, gate_desc(KCODE, (ulong)target, 0xee, 0), 0x8000);
    int_fault("non-canonical handler", GP, 0);
    set_gate(target, KCODE, 0x8e, 0);
    RUN("DPL 0 from level 0", int_vec, NONE, 0);

    idt_set(UD, KCODE, target, 0x0e, 0);
    USER("#UD with an absent gate", just_ud, NP, UD * 8 + 3);
    if (!on_qemu())
        CHECK("RF pushed", trap.flags & FL_RF, FL_RF);
    idt_default(UD);
    struct {
        u16 limit;
        u64 base;
    } __attribute__((packed)) old, cut;
    __asm__ volatile("sidt %0" : "=m"(old));
    cut = old;
    cut.limit = 200 * 16 + 14;
    __asm__ volatile("lidt %0" ::"m"(cut));
    USER("INT beyond the IDT's limit", int_200, GP, 200 * 8 + 2);
    __asm__ volatile("lidt %0" ::"m"(old));

    /* RSP0 that is not canonical: #SS in delivery of a benign event */
    *(u64 *)(tss + 12) = 0x900000000000; /* RSP1 */
    SETGDT(CODE1, seg_desc(0, 0xfffff, ACC_CODE | DPL(1), FL_G | FL_L));
    set_gate(target, CODE1, 0xee, 0);
    int_fault("non-canonical RSP1", SS, 0);
    *(u64 *)(tss + 12) = (ulong)ist;
    USER("handler at level 1", int_vec, NONE, 0);
    CHECK("level", trap.cs, CODE1 | 1);
    CHECK("SS is null with RPL 1", trap.ss, 1);
}

/* ---- call gates -------------------------------------------------------------------------------- */

static struct {
    u32 ip;
    u16 sel;
} __attribute__((packed)) far_gate = {0, GATE | 3};
struct far64 {
    u64 ip;
    u16 sel;
} __attribute__((packed)) far64;
LABEL(after_call);
CODE(call_gate, "lcall *(%rsi)\n after_call:" DONE);
CODE(jmp_gate, "ljmp *(%rsi)" DONE);
CODE(jmp_far64, ".byte 0x48; ljmp *(%rsi)" DONE);
CODE(gate_ret, "lcall *(%rsi); mov %ss, %eax" DONE);
CODE(inner_proc, "mov %ss, %ebx; lretq");

static void gate_to(u16 sel, u64 to, unsigned access, u64 hi_extra)
{
    SETGDT(GATE, gate_desc(sel, to, access, 3));
    SETGDT(GATE + 8, to >> 32 | hi_extra);
}

static void gate_fault(const char *what, const void *code, int vector, u32 error)
{
    run_user(code);
    expect_at_line(__LINE__, what, vector, error);
    CHECK("IP of it", trap.ip, (ulong)code);
    CHECK("RSP kept by it", trap.sp, user.sp);
}

static void call_gates(void)
{
    u64 *s;

    in.si = (ulong)&far_gate;
    gate_to(KCODE, (ulong)target, 0xec, 0);
    USER("call gate", call_gate, NONE, 0);
    s = stack_words();
    CHECK("level", trap.cs, KCODE);
    CHECK("SS null", trap.r.cx & 0xffff, 0);
    CHECK("its stack: no parameters, no alignment", trap.sp, (ulong)run_stack_top - 32);
    CHECK("return RIP", s[0], (ulong)after_call);
    CHECK("return CS", s[1], UCODE64);
    CHECK("old RSP", s[2], user.sp);
    CHECK("old SS", s[3], UDATA);
    gate_to(KCODE, (ulong)inner_proc, 0xec, 0);
    USER("call gate and RETF", gate_ret, NONE, 0);
    CHECK("SS inside", trap.r.bx & 0xffff, 0);
    CHECK("SS back", trap.r.ax & 0xffff, UDATA);
    CHECK("RSP back", trap.sp, user.sp);
    gate_to(CONF, (ulong)target, 0xec, 0);
    USER("gate to conforming code", call_gate, NONE, 0);
    CHECK("its level", trap.cs, CONF | 3);
    CHECK("its stack", trap.sp, user.sp - 16);
    USER("JMP by a gate to conforming code", jmp_gate, NONE, 0);
    CHECK("its stack", trap.sp, user.sp);
    gate_to(KCODE, (ulong)target, 0xec, 0);
    gate_fault("JMP inward", jmp_gate, GP, KCODE);
    gate_to(KCODE, (ulong)target, 0xcc, 0);
    gate_fault("gate DPL 2", call_gate, GP, GATE);
    gate_to(KCODE, (ulong)target, 0x6c, 0);
    gate_fault("gate absent", call_gate, NP, GATE);
    gate_to(KCODE, (ulong)target, 0xe4, 0);
    gate_fault("16-bit gate", call_gate, GP, GATE);
    gate_to(KCODE, (ulong)target, 0xe5, 0);
    gate_fault("task gate", call_gate, GP, GATE);
    gate_to(KCODE, (ulong)target, 0xec, 1ull << 40);
    gate_fault("type in the upper half", call_gate, GP, GATE);
    gate_to(KCODE32, (ulong)target, 0xec, 0);
    gate_fault("gate to 32-bit code", call_gate, GP, KCODE32);
    gate_to(0, (ulong)target, 0xec, 0);
    gate_fault("gate to null", call_gate, GP, 0);
    gate_to(KCODE, 0x800000000000, 0xec, 0);
    gate_fault("gate to a non-canonical address", call_gate, GP, 0);
    u64 tss_desc = gdt[TSS_SEL / 8];
    SETGDT(SCRATCH, seg_desc((u32)(ulong)tss, 103, 0x8b | DPL(3), 0));
    far64.sel = SCRATCH | 3;
    in.si = (ulong)&far64;
    gate_fault("JMP to a TSS", jmp_far64, GP, SCRATCH);
    CHECK("TSS untouched", gdt[TSS_SEL / 8], tss_desc);
    if (!on_qemu()) {
        far64.sel = UCODE64;
        far64.ip = 0x1234567800000000;
        gate_fault("64-bit JMP to a non-canonical address", jmp_far64, GP, 0);
        far64.ip = (ulong)target;
        USER("64-bit JMP", jmp_far64, NONE, 0);
    }
}

/* ---- IRET -------------------------------------------------------------------------------------- */

static u64 frame[6];
CODE(user_end, "" DONE);
CODE(iret_frame, "mov %rsi, %rsp; iretq");
CODE(iretl_frame, "mov %rsi, %rsp; iretl");
CODE(retf_frame, "mov %rsi, %rsp; lretq");
CODE(iret_user, "mov %rsi, %rsp; iretq");
CODE(code32, ".code32\n mov %ss, %eax; mov %cs, %ebx; dec %edx; inc %edx" DONE ".code64");

static void set_frame(u64 ip, u64 cs, u64 flags, u64 sp, u64 ss)
{
    u64 f[5] = {ip, cs, flags, sp, ss};

    memcpy(frame, f, sizeof(f));
    in.si = (ulong)frame;
}

static void iret_fault(const char *what, u64 ip, u64 cs, u64 ss, int vector, u32 error)
{
    set_frame(ip, cs, 2, user.sp, ss);
    run(iret_frame);
    expect_at_line(__LINE__, what, vector, error);
    CHECK("RSP kept by it", trap.sp, (ulong)frame);
    CHECK("CS kept by it", trap.cs, KCODE);
    u64 f[4] = {ip, cs, user.sp, ss};
    memcpy(frame, f, sizeof(f));
    run(retf_frame);
    expect_at_line(__LINE__, what, vector, error);
    CHECK("RSP kept by RETF", trap.sp, (ulong)frame);
}

static void irets(void)
{
    set_frame((ulong)user_end, UCODE64, 0x3202 | FL_AC | FL_ID, 0x12345678deadbeef & 0x7fffffffffff,
              UDATA);
    RUN("IRET outward", iret_frame, NONE, 0);
    CHECK("flags", trap.flags, 0x3202 | FL_AC | FL_ID);
    CHECK("RSP", trap.sp, 0x12345678deadbeef & 0x7fffffffffff);
    set_frame((ulong)user_end, UCODE64, 2, 0x8000000000001234, UDATA);
    RUN("IRET to a non-canonical RSP", iret_frame, NONE, 0);
    CHECK("RSP", trap.sp, 0x8000000000001234);

    iret_fault("null CS", (ulong)user_end, 3, UDATA, GP, 0);
    iret_fault("data CS", (ulong)user_end, UDATA, UDATA, GP, UDATA & ~3);
    iret_fault("CS of DPL 0, RPL 3", (ulong)user_end, KCODE | 3, UDATA, GP, KCODE);
    iret_fault("null SS at level 3", (ulong)user_end, UCODE64, 0, GP, 0);
    iret_fault("null SS with RPL 3 at level 3", (ulong)user_end, UCODE64, 3, GP, 0);
    iret_fault("SS RPL 0", (ulong)user_end, UCODE64, UDATA & ~3, GP, UDATA & ~3);
    iret_fault("SS DPL 0", (ulong)user_end, UCODE64, KDATA | 3, GP, KDATA);
    SETGDT(SCRATCH, gdt[UDATA / 8] & ~(1ull << 47));
    iret_fault("SS absent", (ulong)user_end, UCODE64, SCRATCH | 3, SS, SCRATCH);
    SETGDT(SCRATCH, gdt[UCODE64 / 8] & ~(1ull << 47));
    iret_fault("CS absent", (ulong)user_end, SCRATCH | 3, UDATA, NP, SCRATCH);
    SETGDT(SCRATCH, seg_desc(0, 0xfffff, ACC_CODE | DPL(3), FL_G | FL_L | FL_DB));
    iret_fault("CS with L and D", (ulong)user_end, SCRATCH | 3, UDATA, GP, SCRATCH);
    iret_fault("non-canonical RIP", 0x800000000000, UCODE64, UDATA, GP, 0);
    set_frame((ulong)target, KCODE, 2, (ulong)run_stack_top - 512, 0);
    RUN("null SS at level 0", iret_frame, NONE, 0);
    CHECK("SS", trap.r.cx & 0xffff, 0);
    CHECK("RSP is popped at the same level too", trap.sp, (ulong)run_stack_top - 512);
    SETGDT(DATA1, seg_desc(0, 0xfffff, ACC_DATA | DPL(1), FL_G | FL_DB));
    set_frame((ulong)user_end, CODE1 | 1, 2, (ulong)user_stack_top, 1);
    RUN("null SS at level 1", iret_frame, NONE, 0);
    CHECK("SS", trap.ss, 1);
    set_frame((ulong)user_end, UCODE64, FL_NT | 2, user.sp, UDATA);
    USER("IRET inward", iret_user, NONE, 0);
    CHECK("level 3 may set NT", trap.flags, FL_NT | 2);
    RUN("IRET with NT in long mode", iret_frame, NONE, 0);
    user.flags = FL_NT | 2;
    USER("IRET while NT is set", iret_user, GP, 0);
    user.flags = 2;
    set_frame((ulong)target, KCODE, 2, user.sp, UDATA);
    USER("IRET inward", iret_user, GP, KCODE);

    set_frame((ulong)code32, UCODE32, 2, 0xffffffff12345678, UDATA);
    in.dx = 0xaaaaaaaa00000000;
    RUN("IRET to compatibility mode", iret_frame, NONE, 0);
    CHECK("CS there", trap.cs, UCODE32);
    CHECK("stack pointer of 32 bits", trap.sp & 0xffffffff, 0x12345678);
    CHECK("bytes 48 and 40 are DEC and INC there", (u32)trap.r.dx, 0);
    u32 *f32 = (u32 *)frame;
    f32[0] = (u32)(ulong)user_end;
    f32[1] = UCODE64;
    f32[2] = 2;
    f32[3] = 0x87654321;
    f32[4] = UDATA;
    RUN("32-bit IRET in 64-bit code", iretl_frame, NONE, 0);
    CHECK("its RSP", trap.sp, 0x87654321);
}

/* ---- fast system calls ------------------------------------------------------------------------- */

CODE(do_syscall, "syscall\n sc_next:" DONE);
LABEL(sc_next);
CODE(sc_entry, "mov %cs, %eax; mov %ss, %ebx;" DONE);
CODE(do_sysret, "sysretq");
CODE(do_sysretl, "sysretl");
CODE(sysret_user, "sysretq" DONE);
CODE(code32_syscall, ".code32\n syscall" DONE ".code64");
CODE(do_sysenter, "sysenter" DONE);
CODE(code32_sysenter, ".code32\n sysenter" DONE ".code64");
CODE(do_sysexit, "sysexitq");
CODE(do_sysexitl, "sysexitl");
CODE(user_seg, "mov %cs, %eax; mov %ss, %ebx" DONE);
CODE(code32_seg, ".code32\n mov %cs, %eax; mov %ss, %ebx" DONE ".code64");

static void syscalls(void)
{
    USER("SYSCALL with SCE clear", do_syscall, UD, 0);
    RUN("SYSRET with SCE clear", do_sysret, UD, 0);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
    wrmsr(MSR_STAR, (u64)(UCODE32 & ~3) << 48 | (u64)(KCODE | 3) << 32); /* RPLs are ignored */
    wrmsr(MSR_LSTAR, (ulong)sc_entry);
    wrmsr(MSR_FMASK, FL_IF | FL_DF | FL_AC | FL_CF);
    user.flags = FL_IF | FL_DF | FL_OF | FL_CF | 2;
    in.cx = in.r11 = 0x5555555555555555;
    USER("SYSCALL", do_syscall, NONE, 0);
    CHECK("RCX", trap.r.cx, (ulong)sc_next);
    CHECK("R11", trap.r.r11, user.flags);
    CHECK("flags", trap.flags, FL_OF | 2);
    CHECK("CS", trap.r.ax & 0xffff, KCODE);
    CHECK("SS", trap.r.bx & 0xffff, KDATA);
    CHECK("RSP is the user's", trap.sp, user.sp);
    user.flags = 2;
    wrmsr(MSR_FMASK, 0);

    in.cx = (ulong)user_seg;
    in.r11 = ~(u64)(FL_TF | FL_NT | FL_IF);
    RUN("SYSRET", do_sysret, NONE, 0);
    CHECK("CS", trap.r.ax & 0xffff, UCODE64);
    CHECK("SS", trap.r.bx & 0xffff, UDATA);
    CHECK("flags: what exists but RF and VM", trap.flags, 0x3c7cd7 & ~(u64)(FL_TF | FL_NT | FL_IF));
    in.r11 = 2;
    in.cx = 0xabcdef0000000000 | (ulong)code32_seg;
    RUN("32-bit SYSRET", do_sysretl, NONE, 0);
    CHECK("CS", trap.r.ax & 0xffff, UCODE32);
    CHECK("SS", trap.r.bx & 0xffff, UDATA);
    in.cx = 0x800000000000;
    if (!on_qemu()) { /* it faults at level 3, as AMD's processors do */
        RUN("SYSRET to a non-canonical address", do_sysret, GP, 0);
        CHECK("is a fault at level 0", trap.cs, KCODE);
    }
    USER("SYSRET at level 3", sysret_user, GP, 0);
    if (!on_qemu()) {
        user.cs = UCODE32;
        USER("SYSCALL in compatibility mode", code32_syscall, UD, 0);
        user.cs = UCODE64;
    }

    wrmsr(0x174, 0);
    USER("SYSENTER without CS", do_sysenter, GP, 0);
    wrmsr(0x174, KCODE);
    wrmsr(0x175, (ulong)run_stack_top - 64);
    wrmsr(0x176, (ulong)sc_entry);
    user.flags = FL_IF | FL_CF | 2;
    USER("SYSENTER", do_sysenter, NONE, 0);
    CHECK("CS", trap.r.ax & 0xffff, KCODE);
    CHECK("SS", trap.r.bx & 0xffff, KDATA);
    CHECK("RSP", trap.sp, (ulong)run_stack_top - 64);
    CHECK("flags", trap.flags, FL_CF | 2);
    user.cs = UCODE32;
    USER("SYSENTER from compatibility mode", code32_sysenter, NONE, 0);
    CHECK("CS", trap.cs, KCODE);
    user.cs = UCODE64;
    user.flags = 2;
    in.cx = user.sp;
    in.dx = (ulong)user_seg;
    RUN("SYSEXIT", do_sysexit, NONE, 0);
    CHECK("CS", trap.r.ax & 0xffff, UCODE64);
    CHECK("SS", trap.r.bx & 0xffff, UDATA2);
    in.dx = (ulong)code32_seg;
    RUN("32-bit SYSEXIT", do_sysexitl, NONE, 0);
    CHECK("CS", trap.r.ax & 0xffff, UCODE32);
    CHECK("SS", trap.r.bx & 0xffff, UDATA);
    in.dx = 0x800000000000;
    if (!on_qemu()) {
        RUN("SYSEXIT to a non-canonical address", do_sysexit, GP, 0);
        in.dx = (ulong)user_seg;
        in.cx = 0x800000000000;
        RUN("SYSEXIT with a non-canonical RSP", do_sysexit, GP, 0);
    }
    USER("SYSEXIT at level 3", do_sysexit, GP, 0);
}

/* ---- FS, GS ------------------------------------------------------------------------------------ */

CODE(do_swapgs, "swapgs; ret");
CODE(user_swapgs, "swapgs" DONE);
CODE(load_gs, "mov %esi, %gs; ret");
CODE(gs_read, "mov %gs:0, %rax; ret");

static void bases(void)
{
    static u64 a = 0x1111, b = 0x2222;

    wrmsr(MSR_GSBASE, (ulong)&a);
    wrmsr(MSR_KGS, (ulong)&b);
    RUN("GS-relative read", gs_read, NONE, 0);
    CHECK("value", trap.r.ax, 0x1111);
    RUN("SWAPGS", do_swapgs, NONE, 0);
    CHECK("GS base", rdmsr(MSR_GSBASE), (ulong)&b);
    CHECK("kernel GS base", rdmsr(MSR_KGS), (ulong)&a);
    USER("SWAPGS at level 3", user_swapgs, GP, 0);
    in.si = UDATA;
    RUN("loading GS", load_gs, NONE, 0);
    CHECK("sets the base to the descriptor's", rdmsr(MSR_GSBASE), 0);
    wrmsr(MSR_GSBASE, (ulong)&b);
    in.si = 0;
    RUN("loading GS with null", load_gs, NONE, 0);
    CHECK("clears the base (Intel)", rdmsr(MSR_GSBASE), 0);
}

void guest_main(void)
{
    int_gates();
    call_gates();
    irets();
    syscalls();
    bases();
}
