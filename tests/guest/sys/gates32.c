/* Privilege changes of 32-bit protected mode: call gates, interrupt and trap gates, far returns and
 * IRET outward, SYSENTER. SDM vol. 2 (CALL, JMP, RET, INT, IRET), vol. 3, 5.8 and 6.12.
 *
 * The target of every gate ends with INT 0x30, so that trap.sp is where the gate left the stack and
 * trap.flags what it made of the flags. What shall fail goes to level 1, as the faults themselves
 * need a good level 0 stack.
 */
#include "sys.h"

enum {
    GATE = 0x60,
    GATE16 = 0x68,
    CONF = 0x70,
    CODE1 = 0x78,
    DATA1 = 0x80,
    BASED = 0x88,
    SCRATCH = 0x90,
    NOREAD = 0x98,
    KCODE_FEW = 0xa0,
    VEC = 0x40,
};
#define GATE32(dpl)    (0x8c | DPL(dpl))
#define SETGDT(sel, v) (gdt[(sel) / 8] = (v))

CODE(target, "mov %cs, %ax; mov %ss, %cx;" DONE);
CODE(call_params,
     "push $0x33333333; push $0x22222222; push $0x11111111\n lcall $0x63, $0x5a5a5a5a" DONE);
LABEL(after_call);
CODE(call_gate, "lcall $0x63, $0\n after_call:" DONE);
CODE(call_gate_rpl0, "lcall $0x60, $0" DONE);
CODE(jmp_gate, "ljmp $0x63, $0" DONE);
CODE(call16_params, "push $0x33333333; pushw $0x2222; pushw $0x1111\n lcall $0x6b, $0" DONE);
CODE(call_conf, "lcall $0x73, $conf_target" DONE);
CODE(conf_target, "mov %cs, %ax;" DONE);
CODE(jmp_kcode, "ljmp $8, $target" DONE);
CODE(jmp_kcode3, "ljmp $0xb, $target" DONE);
CODE(jmp_null, "ljmp $3, $target" DONE);
CODE(jmp_scratch, "ljmp $0x93, $target" DONE);
CODE(gate_and_back, "push $0x22222222; push $0x11111111; mov %esp, %esi; stc\n"
                    " lcall $0x63, $0\n mov %esp, %edi; sbb %eax, %eax" DONE);
CODE(inner_proc, "mov %cs, %bx; lret $8");

static u32 *stack_words(void)
{
    return (u32 *)trap.sp;
}

static void call_gates(void)
{
    u32 *s, esp0;

    SETGDT(GATE, gate_desc(KCODE, (ulong)target, GATE32(3), 3));
    USER("call gate, 3 parameters", call_params, NONE, 0);
    s = stack_words();
    esp0 = ld32(tss + 4);
    CHECK("level of the target", trap.cs, KCODE);
    CHECK("its SS", trap.r.cx & 0xffff, KDATA);
    CHECK("stack pointer", trap.sp, esp0 - 28);
    CHECK("return CS", s[1] & 0xffff, UCODE);
    CHECK("return EIP", s[0], (ulong)call_params_end - 2);
    CHECK("parameter 0", s[2], 0x11111111);
    CHECK("parameter 1", s[3], 0x22222222);
    CHECK("parameter 2", s[4], 0x33333333);
    CHECK("old ESP", s[5], user.sp - 12);
    CHECK("old SS", s[6] & 0xffff, UDATA);

    SETGDT(GATE, gate_desc(KCODE, (ulong)inner_proc, GATE32(3), 2));
    USER("gate and RETF n", gate_and_back, NONE, 0);
    CHECK("inner CS", trap.r.bx & 0xffff, KCODE);
    CHECK("ESP after RETF 8", trap.r.di, trap.r.si + 8);
    CHECK("flags untouched", (u32)trap.r.ax, 0xffffffff);
    CHECK("back at level 3", trap.cs, UCODE);
    CHECK("DS of level 3 kept", trap.ds & 0xffff, UDATA);

    /* a 16-bit gate has a 16-bit offset: through a segment whose base is the target */
    SETGDT(BASED, seg_desc((ulong)target, 0xffff, ACC_CODE, FL_DB));
    /* (QEMU takes all 32 bits of it) */
    SETGDT(GATE16, gate_desc(BASED, on_qemu() ? 0 : 0xffff0000, 0x84 | DPL(3), 2));
    USER("16-bit call gate", call16_params, NONE, 0);
    u16 *h = (u16 *)trap.sp;
    CHECK("its stack pointer", trap.sp, esp0 - 12);
    CHECK("its return IP", h[0], ((ulong)call16_params_end - 2) & 0xffff);
    CHECK("its return CS", h[1], UCODE);
    CHECK("its parameter 0", h[2], 0x1111);
    CHECK("its parameter 1", h[3], 0x2222);
    CHECK("its old SP", h[4], (user.sp - 8) & 0xffff);
    CHECK("its old SS", h[5], UDATA);

    SETGDT(CONF, seg_desc(0, 0xfffff, ACC_CODE | 4, FL_G | FL_DB));
    USER("CALL to conforming code", call_conf, NONE, 0);
    CHECK("keeps the level", trap.cs, CONF | 3);
    SETGDT(GATE, gate_desc(CONF, (ulong)conf_target, GATE32(3), 5));
    USER("call gate to conforming code", call_gate, NONE, 0);
    CHECK("keeps the level", trap.cs, CONF | 3);
    CHECK("and the stack", trap.sp, user.sp - 8);
    CHECK("where the return address lies", stack_words()[0], (ulong)after_call);
    USER("JMP by a gate to conforming code", jmp_gate, NONE, 0);
    CHECK("pushes nothing", trap.sp, user.sp);

    SETGDT(CODE1, seg_desc(0, 0xfffff, ACC_CODE | DPL(1), FL_G | FL_DB));
    SETGDT(DATA1, seg_desc(0, 0xfffff, ACC_DATA | DPL(1), FL_G | FL_DB));
    u8 *stack1 = page_alloc();
    st32(tss + 12, (u32)(stack1 + 4096));
    st32(tss + 16, DATA1 | 1);
    SETGDT(GATE, gate_desc(CODE1, (ulong)target, GATE32(3), 0));
    USER("call gate to level 1", call_gate, NONE, 0);
    CHECK("level 1", trap.cs, CODE1 | 1);
    CHECK("its stack segment", trap.ss, DATA1 | 1);
    CHECK("its stack", trap.sp, (ulong)stack1 + 4096 - 16);
    CHECK("return address on it", stack_words()[0], (ulong)after_call);
}

static void gate_fault(const char *what, u64 gate, const void *code, int vector, u32 error)
{
    SETGDT(GATE, gate);
    run_user(code);
    expect_at_line(__LINE__, what, vector, error);
    CHECK("it is a fault", trap.ip, (ulong)code);
    CHECK("ESP kept by it", trap.sp, user.sp);
    CHECK("level kept by it", trap.cs, UCODE);
}

static void call_gate_faults(void)
{
    u64 good = gate_desc(CODE1, (ulong)target, GATE32(3), 0);
    u64 code1 = gdt[CODE1 / 8], data1 = gdt[DATA1 / 8];
    u32 esp1 = ld32(tss + 12), sp_page = esp1 - 4096;

    gate_fault("gate DPL 2 at CPL 3", gate_desc(CODE1, (ulong)target, GATE32(2), 0), call_gate, GP,
               GATE);
    gate_fault("gate not present", gate_desc(CODE1, (ulong)target, GATE32(3) & ~0x80, 0), call_gate,
               NP, GATE);
    gate_fault("DPL before presence", gate_desc(CODE1, (ulong)target, GATE32(2) & ~0x80, 0),
               call_gate, GP, GATE);
    gate_fault("JMP inward", good, jmp_gate, GP, CODE1);
    gate_fault("RPL 0 is no hindrance at DPL 3, code null",
               gate_desc(3, (ulong)target, GATE32(3), 0), call_gate_rpl0, GP, 0);
    gate_fault("gate to data", gate_desc(KDATA, (ulong)target, GATE32(3), 0), call_gate, GP, KDATA);
    gate_fault("gate to a gate", gate_desc(GATE16, (ulong)target, GATE32(3), 0), call_gate, GP,
               GATE16);
    gate_fault("gate beyond the GDT", gate_desc(0xff8, (ulong)target, GATE32(3), 0), call_gate, GP,
               0xff8);
    gate_fault("gate into a missing LDT", gate_desc(0x0c, (ulong)target, GATE32(3), 0), call_gate,
               GP, 0x0c);
    SETGDT(CODE1, code1 & ~(1ull << 47));
    gate_fault("gate to absent code", good, call_gate, NP, CODE1);
    SETGDT(CODE1, seg_desc(0, 0xfff, ACC_CODE | DPL(1), FL_DB));
    gate_fault("gate beyond the code's limit", good, call_gate, GP, 0);
    SETGDT(CODE1, code1);

    st32(tss + 16, 0);
    gate_fault("inner SS null", good, call_gate, TS, 0);
    st32(tss + 16, 0xff9);
    gate_fault("inner SS beyond the GDT", good, call_gate, TS, 0xff8);
    st32(tss + 16, DATA1);
    gate_fault("inner SS of wrong RPL", good, call_gate, TS, DATA1);
    st32(tss + 16, KDATA | 1);
    gate_fault("inner SS of wrong DPL", good, call_gate, TS, KDATA);
    st32(tss + 16, DATA1 | 1);
    SETGDT(DATA1, data1 & ~(2ull << 40));
    gate_fault("inner SS read-only", good, call_gate, TS, DATA1);
    SETGDT(DATA1, data1 & ~(1ull << 47));
    gate_fault("inner SS absent", good, call_gate, SS, DATA1);
    SETGDT(DATA1, seg_desc(0, sp_page >> 12, ACC_DATA | DPL(1), FL_G | FL_DB));
    st32(tss + 12, sp_page + 4096 + 8);
    gate_fault("inner stack above its limit", good, call_gate, SS, DATA1);
    SETGDT(DATA1, seg_desc(0, (sp_page >> 12) - 1, ACC_DATA | DPL(1) | 4, FL_G | FL_DB));
    st32(tss + 12, sp_page + 12);
    gate_fault("inner expand-down stack too small", good, call_gate, SS, DATA1);
    st32(tss + 12, sp_page + 16);
    SETGDT(GATE, good);
    USER("and just large enough", call_gate, NONE, 0);
    SETGDT(DATA1, data1);
    st32(tss + 12, esp1);

    /* The processor knows the TSS's limit from LTR only. */
    u64 tss_desc = gdt[TSS_SEL / 8];
    SETGDT(TSS_SEL, seg_desc((u32)tss, 16, 0x89, 0));
    __asm__ volatile("ltr %w0" ::"r"(TSS_SEL));
    gate_fault("inner SS beyond the TSS", good, call_gate, TS, TSS_SEL);
    SETGDT(TSS_SEL, tss_desc & ~(2ull << 40));
    __asm__ volatile("ltr %w0" ::"r"(TSS_SEL));

    USER("JMP to inner code", jmp_kcode, GP, KCODE);
    USER("JMP to inner code, RPL 3", jmp_kcode3, GP, KCODE);
    USER("JMP to null", jmp_null, GP, 0);
    SETGDT(SCRATCH, gdt[UCODE / 8] & ~(1ull << 47));
    USER("JMP to absent code", jmp_scratch, NP, SCRATCH);
    SETGDT(SCRATCH, seg_desc(0, 0xfff, ACC_CODE | DPL(3), FL_DB));
    USER("JMP beyond the limit", jmp_scratch, GP, 0);
    CHECK("stays in the old segment", trap.cs, UCODE);
    SETGDT(SCRATCH, seg_desc(0, 0xfffff, 0xf8, FL_G | FL_DB));
    USER("JMP to execute-only, unaccessed code", jmp_scratch, NONE, 0);
    CHECK("sets its accessed bit", gdt[SCRATCH / 8] >> 40 & 1, 1);
    SETGDT(SCRATCH, 0);
    USER("JMP to an empty descriptor", jmp_scratch, GP, SCRATCH);
    SETGDT(SCRATCH, seg_desc(0, 0xfffff, 0x82 | DPL(3), 0));
    USER("JMP to an LDT", jmp_scratch, GP, SCRATCH);
    SETGDT(SCRATCH, gate_desc(KCODE, 0, 0x8e | DPL(3), 0));
    USER("JMP to an interrupt gate", jmp_scratch, GP, SCRATCH);
}

/* ---- returns ----------------------------------------------------------------------------------- */

CODE(user_end, "" DONE);
u32 ret_frame[8];
#define RET_SEGS                                                                                   \
    "mov $0x10, %eax; mov %ax, %es; mov $0x70, %eax; mov %ax, %fs; mov $0x23, %eax; mov %ax, "     \
    "%gs\n"
CODE(retf_out, RET_SEGS "mov $ret_frame, %esp; lret $4");
CODE(iret_out, RET_SEGS "mov $ret_frame, %esp; iret");
CODE(retf_user, "mov $ret_frame, %esp; lret");
CODE(iret_user, "mov $ret_frame, %esp; iret");
CODE(iret16_out, "mov $ret_frame, %esp; iretw");

static void set_frame(u32 a, u32 b, u32 c, u32 d, u32 e)
{
    u32 f[5] = {a, b, c, d, e};

    memcpy(ret_frame, f, sizeof(f));
}

static void nulled(void)
{
    CHECK("DS of level 0 nulled", trap.ds & 0xffff, 0);
    CHECK("ES of level 0 nulled", trap.es & 0xffff, 0);
    CHECK("FS, conforming code, kept", trap.fs & 0xffff, CONF);
    CHECK("GS of level 3 kept", trap.gs & 0xffff, UDATA);
}

static void ret_fault(const char *what, const void *code, u32 cs, u32 ss, int vector, u32 error)
{
    bool iret = code == iret_out;

    if (iret)
        set_frame((u32)user_end, cs, 2, user.sp, ss);
    else
        set_frame((u32)user_end, cs, 0, user.sp, ss);
    run(code);
    expect_at_line(__LINE__, what, vector, error);
    CHECK("ESP kept by it", trap.sp, (ulong)ret_frame);
    CHECK("CS kept by it", trap.cs, KCODE);
}

static void returns(void)
{
    SETGDT(CONF, seg_desc(0, 0xfffff, ACC_CODE | 4, FL_G | FL_DB));
    set_frame((u32)user_end, UCODE, 0, user.sp - 4, UDATA);
    RUN("RETF outward", retf_out, NONE, 0);
    CHECK("level 3", trap.cs, UCODE);
    CHECK("releases there too", trap.sp, user.sp);
    nulled();
    set_frame((u32)user_end, UCODE, 0x3002 | FL_AC | FL_ID, user.sp, UDATA);
    RUN("IRET outward", iret_out, NONE, 0);
    CHECK("its flags", trap.flags, 0x3002 | FL_AC | FL_ID);
    nulled();

    static const void *const how[] = {retf_out, iret_out};
    for (int k = 0; k < 2; k++) {
        const void *c = how[k];

        ret_fault("return to null CS", c, 3, UDATA, GP, 0);
        ret_fault("return to data", c, UDATA, UDATA, GP, UDATA & ~3);
        ret_fault("return beyond the GDT", c, 0x103b, UDATA, GP, 0x1038);
        ret_fault("CS DPL 0, RPL 3", c, KCODE | 3, UDATA, GP, KCODE);
        ret_fault("SS null", c, UCODE, 3, GP, 0);
        ret_fault("SS RPL 0", c, UCODE, UDATA & ~3, GP, UDATA & ~3);
        ret_fault("SS DPL 0", c, UCODE, KDATA | 3, GP, KDATA);
        ret_fault("SS code", c, UCODE, UCODE, GP, UCODE & ~3);
        SETGDT(SCRATCH, gdt[UCODE / 8] & ~(1ull << 47));
        ret_fault("CS absent", c, SCRATCH | 3, UDATA, NP, SCRATCH);
        SETGDT(SCRATCH, gdt[UDATA / 8] & ~(1ull << 47));
        ret_fault("SS absent", c, UCODE, SCRATCH | 3, SS, SCRATCH);
        SETGDT(SCRATCH, seg_desc(0, 0xfff, ACC_CODE | DPL(3), FL_DB));
        ret_fault("EIP beyond the limit", c, SCRATCH | 3, UDATA, GP, 0);
        SETGDT(SCRATCH, seg_desc(0, 0xfffff, ACC_CODE | DPL(3) | 4, FL_G | FL_DB));
        set_frame((u32)user_end, SCRATCH | 3, 2, user.sp, UDATA);
        run(c);
        EXPECT("return to conforming code of DPL 3", NONE, 0);
        SETGDT(SCRATCH, seg_desc(0, 0xfffff, ACC_CODE | DPL(3) | 4, FL_G | FL_DB));
        ret_fault("conforming code of DPL 3 at RPL 1", c, SCRATCH | 1, UDATA, GP, SCRATCH);
    }
    set_frame((u32)user_end, KCODE, 0, user.sp, UDATA);
    USER("RETF inward", retf_user, GP, KCODE);
    set_frame((u32)user_end, KCODE, 2, user.sp, UDATA);
    USER("IRET inward", iret_user, GP, KCODE);
    set_frame((u32)user_end, UCODE, 0x3202 | FL_VM | FL_VIF | FL_VIP | FL_AC, 0, 0);
    USER("IRET at level 3", iret_user, NONE, 0);
    CHECK("changes neither IF, IOPL, VM, VIF nor VIP", trap.flags, FL_AC | 2);
    user.flags = 0x2 | FL_IOPL;
    set_frame((u32)user_end, UCODE, 0x202 | FL_IOPL, 0, 0);
    USER("IRET at level 3, IOPL 3", iret_user, NONE, 0);
    CHECK("changes IF", trap.flags, 0x202 | FL_IOPL);
    user.flags = 2;

    u16 *f16 = (u16 *)ret_frame;
    SETGDT(BASED, seg_desc((u32)user_end, 0xffff, ACC_CODE | DPL(3), FL_DB));
    f16[0] = 0;
    f16[1] = BASED | 3;
    f16[2] = 0xd7;
    f16[3] = 0x1234;
    f16[4] = UDATA;
    RUN("16-bit IRET outward", iret16_out, NONE, 0);
    CHECK("its flags", trap.flags & 0xffff, 0xd7);
    CHECK("low half of its stack pointer", trap.sp & 0xffff, 0x1234);
}

/* ---- interrupt and trap gates ------------------------------------------------------------------ */

LABEL(after_int);
CODE(int_vec, "int $0x40\n after_int:" DONE);
CODE(int_flags, "pushl $0x4cd7; popf; int $0x40" DONE); /* with DF, OF, NT */
CODE(just_ud, "ud2");
CODE(just_int3, "int3" DONE);
CODE(just_into, "mov $0x7f, %al; inc %al; into" DONE);
CODE(int_200, "int $200" DONE);
CODE(bound_user, "mov $5, %eax; bound %eax, bounds" DONE);
u32 bounds[2] = {0, 3};

static void int_fault(const char *what, u64 gate, int vector, u32 error)
{
    idt_raw(VEC, gate, 0);
    run_user(int_vec);
    expect_at_line(__LINE__, what, vector, error);
    CHECK("IP of it", trap.ip, (ulong)int_vec);
    CHECK("ESP kept by it", trap.sp, user.sp);
}

static void int_gates(void)
{
    u32 esp0;
    u16 *h;

    user.flags = FL_IF | FL_OF | FL_CF | 2;
    idt_raw(VEC, gate_desc(KCODE, (ulong)target, 0xee, 0), 0);
    USER("interrupt gate", int_vec, NONE, 0);
    esp0 = ld32(tss + 4);
    u32 *s = stack_words();
    CHECK("its stack", trap.sp, esp0 - 20);
    CHECK("return EIP", s[0], (ulong)after_int);
    CHECK("return CS", s[1] & 0xffff, UCODE);
    CHECK("pushed flags", s[2], FL_IF | FL_OF | FL_CF | 2);
    CHECK("old ESP", s[3], user.sp);
    CHECK("old SS", s[4] & 0xffff, UDATA);
    CHECK("clears IF", trap.flags, FL_OF | FL_CF | 2);
    idt_raw(VEC, gate_desc(KCODE, (ulong)target, 0xef, 0), 0);
    USER("trap gate", int_vec, NONE, 0);
    CHECK("leaves IF", trap.flags, FL_IF | FL_OF | FL_CF | 2);
    RUN("trap gate at level 0", int_flags, NONE, 0);
    s = stack_words();
    CHECK("pushes NT", s[2], 0x4cd7);
    CHECK("clears NT", trap.flags, 0x0cd7);

    SETGDT(BASED, seg_desc((ulong)target, 0xffff, ACC_CODE, FL_DB));
    idt_raw(VEC, gate_desc(BASED, on_qemu() ? 0 : 0xffff0000, 0xe6, 0), 0);
    USER("16-bit interrupt gate", int_vec, NONE, 0);
    h = (u16 *)trap.sp;
    CHECK("its stack", trap.sp, esp0 - 10);
    CHECK("its return IP", h[0], (ulong)after_int & 0xffff);
    CHECK("its return CS", h[1], UCODE);
    CHECK("its flags", h[2], FL_IF | FL_OF | FL_CF | 2);
    CHECK("its old SP", h[3], user.sp & 0xffff);
    CHECK("its old SS", h[4], UDATA);
    CHECK("clears IF", trap.flags & FL_IF, 0);

    idt_raw(UD, gate_desc(BASED, 0, 0x87, 0), 0);
    USER("16-bit trap gate for #UD", just_ud, NONE, 0);
    h = (u16 *)trap.sp;
    CHECK("pushes no error code", trap.sp, esp0 - 10);
    CHECK("return IP is the instruction", h[0], (ulong)just_ud & 0xffff);
    CHECK("leaves IF", trap.flags & FL_IF, FL_IF);
    idt_default(UD);
    idt_raw(GP, gate_desc(BASED, 0, 0x87, 0), 0);
    USER("16-bit trap gate for #GP", jmp_kcode, NONE, 0);
    h = (u16 *)trap.sp;
    CHECK("pushes the error code as a word", trap.sp, esp0 - 12);
    CHECK("error code", h[0], KCODE);
    CHECK("return IP above it", h[1], (ulong)jmp_kcode & 0xffff);
    idt_default(GP);

    idt_raw(VEC, gate_desc(CONF, (ulong)conf_target, 0xee, 0), 0);
    USER("interrupt gate to conforming code", int_vec, NONE, 0);
    CHECK("keeps the level", trap.cs, CONF | 3);
    CHECK("and the stack", trap.sp, user.sp - 12);
    idt_raw(VEC, gate_desc(CODE1, (ulong)target, 0xee, 0), 0);
    USER("interrupt gate to level 1", int_vec, NONE, 0);
    CHECK("level 1", trap.cs, CODE1 | 1);
    CHECK("its stack", trap.sp, ld32(tss + 12) - 20);

    u32 err = VEC * 8 + 2;
    int_fault("gate DPL 0", gate_desc(KCODE, (ulong)target, 0x8e, 0), GP, err);
    int_fault("gate absent", gate_desc(KCODE, (ulong)target, 0x6e, 0), NP, err);
    int_fault("DPL before presence", gate_desc(KCODE, (ulong)target, 0x0e, 0), GP, err);
    int_fault("a call gate", gate_desc(KCODE, (ulong)target, 0xec, 0), GP, err);
    int_fault("code for a gate", gdt[UCODE / 8], GP, err);
    int_fault("nothing for a gate", 0, GP, err);
    int_fault("null code", gate_desc(0, (ulong)target, 0xee, 0), GP, 0);
    int_fault("data for code", gate_desc(KDATA, (ulong)target, 0xee, 0), GP, KDATA);
    int_fault("code beyond the GDT", gate_desc(0x2000, (ulong)target, 0xee, 0), GP, 0x2000);
    SETGDT(SCRATCH, gdt[KCODE / 8] & ~(1ull << 47));
    int_fault("absent code", gate_desc(SCRATCH, (ulong)target, 0xee, 0), NP, SCRATCH);
    SETGDT(SCRATCH, seg_desc(0, 0xfff, ACC_CODE, FL_DB));
    int_fault("handler beyond the limit", gate_desc(SCRATCH, (ulong)target, 0xee, 0), GP, 0);
    st32(tss + 16, KDATA | 1);
    int_fault("inner SS of wrong DPL", gate_desc(CODE1, (ulong)target, 0xee, 0), TS, KDATA);
    st32(tss + 16, DATA1 | 1);
    /* outward: from level 0 to a handler of level 1 */
    idt_raw(VEC, gate_desc(CODE1, (ulong)target, 0xee, 0), 0);
    RUN("interrupt outward", int_vec, GP, CODE1);

    /* The same for an exception has EXT set. */
    idt_raw(UD, gate_desc(KCODE, 0, 0x0e, 0), 0);
    USER("#UD with an absent gate", just_ud, NP, UD * 8 + 3);
    idt_raw(UD, gate_desc(0, 0, 0x8e, 0), 0);
    USER("#UD to null code", just_ud, GP, 1);
    idt_raw(UD, gate_desc(KDATA, 0, 0x8e, 0), 0);
    USER("#UD to data", just_ud, GP, KDATA | 1);
    CHECK("flags pushed by it have RF", trap.flags & FL_RF, FL_RF);
    idt_default(UD);

    u64 lo = gate_desc(KCODE, (ulong)(stub_table + 16 * BP), 0x8e, 0);
    idt_raw(BP, lo, 0);
    USER("INT3 with a gate of DPL 0", just_int3, GP, BP * 8 + 2);
    idt_default(BP);
    USER("INT3", just_int3, BP, 0);
    CHECK("is a trap", trap.ip, (ulong)just_int3 + 1);
    CHECK("without RF", trap.flags & FL_RF, 0);
    idt_raw(OF, gate_desc(KCODE, (ulong)(stub_table + 16 * OF), 0x8e, 0), 0);
    USER("INTO with a gate of DPL 0", just_into, GP, OF * 8 + 2);
    idt_default(OF);
    USER("INTO", just_into, OF, 0);
    CHECK("is a trap", trap.ip, (ulong)just_into_end - 2);
    USER("BOUND", bound_user, BR, 0);
    CHECK("is a fault", trap.ip, (ulong)bound_user + 5);
    CHECK("with RF", trap.flags & FL_RF, FL_RF);

    struct {
        u16 limit;
        u32 base;
    } __attribute__((packed)) old, cut;
    __asm__ volatile("sidt %0" : "=m"(old));
    cut = old;
    cut.limit = 200 * 8 + 6;
    __asm__ volatile("lidt %0" ::"m"(cut));
    USER("INT beyond the IDT's limit", int_200, GP, 200 * 8 + 2);
    __asm__ volatile("lidt %0" ::"m"(old));
    user.flags = 2;
}

/* ---- SYSENTER ---------------------------------------------------------------------------------- */

CODE(do_sysenter, "sysenter" DONE);
CODE(sysenter_target, "" DONE);
CODE(sysenter_back, "mov $user_end, %edx; mov $user_stack_top, %ecx; stc; sysexit");
CODE(do_sysexit, "sysexit" DONE);

static void sysenter(void)
{
    wrmsr(0x174, 0);
    USER("SYSENTER without CS", do_sysenter, GP, 0);
    wrmsr(0x174, 3);
    USER("SYSENTER with CS 3", do_sysenter, GP, 0);
    wrmsr(0x174, KCODE | 3); /* its RPL is ignored */
    wrmsr(0x175, 0x12345678);
    u8 *stack = page_alloc();
    wrmsr(0x175, (ulong)stack + 4096);
    wrmsr(0x176, (ulong)sysenter_target);
    user.flags = FL_IF | FL_CF | FL_AC | 2;
    in.cx = 0x1111;
    in.dx = 0x2222;
    USER("SYSENTER", do_sysenter, NONE, 0);
    CHECK("its CS", trap.cs, KCODE);
    CHECK("its stack", trap.sp, (ulong)stack + 4096);
    CHECK("its flags", trap.flags, FL_CF | FL_AC | 2);
    CHECK("ECX", trap.r.cx, 0x1111);
    CHECK("EDX", trap.r.dx, 0x2222);
    wrmsr(0x176, (ulong)sysenter_back);
    USER("SYSENTER and SYSEXIT", do_sysenter, NONE, 0);
    CHECK("back at level 3", trap.cs, UCODE);
    CHECK("its SS", trap.ss, UDATA);
    CHECK("its ESP", trap.sp, (ulong)user_stack_top);
    CHECK("SYSEXIT leaves the flags", trap.flags, FL_CF | FL_AC | 2);
    user.flags = 2;
    USER("SYSEXIT at level 3", do_sysexit, GP, 0);
    wrmsr(0x174, 0);
    RUN("SYSEXIT without CS", do_sysexit, GP, 0);
    /* the hidden parts are flat whatever the GDT says */
    u64 kdata = gdt[UDATA / 8];
    SETGDT(UDATA, 0);
    wrmsr(0x174, KCODE);
    in.dx = (ulong)user_end;
    in.cx = user.sp;
    RUN("SYSEXIT reads no descriptor", do_sysexit, NONE, 0);
    SETGDT(UDATA, kdata);
}

void guest_main(void)
{
    in.ax = 0x5555;
    call_gates();
    call_gate_faults();
    returns();
    int_gates();
    sysenter();
}
