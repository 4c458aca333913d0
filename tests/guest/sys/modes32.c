/* Real mode with big segments, the A20 gate, and virtual-8086 mode with and without VME. SDM vol. 3,
 * chapter 20; vol. 2 of CLI, STI, PUSHF, POPF, INT, IRET.
 *
 * Pieces of 16-bit code are copied to CODE_AT. In real mode the runtime's stubs do not serve: the vectors
 * lead to rm_vectors, which note the frame and leave.
 *
 * QEMU is known to differ: no limits in either mode.
 */
#include "sys.h"

#define RM_AT   0x8000 /* the way there and back */
#define CODE_AT 0x9000
#define REGS_AT 0xa000 /* in: EAX.. as struct regs; out at +0x40; trap at +0x80 */
#define SP_AT   0xf000
enum { CODE16 = 0x60, DATA16 = 0x68, SCRATCH = 0x70 };

#define RM(label) label " - rm_start + 0x8000"

/* 32-bit entry: rm_enter. %ebx: 0, or what DS and ES are loaded with on the way (big segments). */
__asm__(
    ".pushsection .text\n"
    ".globl rm_start, rm_end, rm_enter, rm_vectors\n"
    ".code16\n.balign 16\n"
    "rm_start:\n"
    "rm_16: mov $0x68, %ax; mov %ax, %ss; mov %bx, %ds; mov %bx, %es\n"
    " mov %cr0, %eax; and $0xfffffffe, %eax; mov %eax, %cr0\n"
    " ljmp $0, $" RM(
        "rm_real") "\n"
                   "rm_real: xor %ax, %ax; mov %ax, %ss; mov $0xf000, %sp; mov %ax, %ds; mov %ax, "
                   "%es\n"
                   " lidtl %cs:" RM(
                       "rm_idt") "\n"
                                 " mov 0xa000, %eax; mov 0xa004, %ecx; mov 0xa008, %edx; mov "
                                 "0xa00c, %ebx\n"
                                 " mov 0xa010, %ebp; mov 0xa014, %esi; mov 0xa018, %edi\n"
                                 " call 0x9000 - 0x8000 + rm_start\n"
                                 "rm_out: mov %eax, %cs:0xa040; mov %ecx, %cs:0xa044; mov %edx, "
                                 "%cs:0xa048; mov %ebx, %cs:0xa04c\n"
                                 " mov %esi, %cs:0xa054; mov %edi, %cs:0xa058\n"
                                 "rm_leave: cli\n"
                                 " mov %cr0, %eax; or $1, %eax; mov %eax, %cr0\n"
                                 " ljmpl $0x08, $rm_back\n"
                                 "rm_vectors:\n" /* 8 bytes each, for vectors 0 to 15, and 0x40 as 16 */
                                 ".set v, 0\n .rept 17\n .balign 8\n pushw $v\n jmp rm_trap\n .set "
                                 "v, v + 1\n .endr\n"
                                 "rm_trap: mov %eax, %cs:0xa040; mov %ecx, %cs:0xa044; mov %esi, "
                                 "%cs:0xa054\n"
                                 " popw %cs:0xa080; mov %sp, %cs:0xa088; popw %cs:0xa082; popw "
                                 "%cs:0xa084; popw %cs:0xa086\n"
                                 " pushf; popw %cs:0xa08a; xor %ax, %ax; mov %ax, %ss; mov "
                                 "$0xf000, %sp\n"
                                 " jmp rm_leave\n"
                                 ".balign 4\n"
                                 "rm_idt: .word 0x3ff; .long 0\n"
                                 "rm_end:\n"
                                 ".code32\n"
                                 "rm_enter: push %ebx; push %ebp; push %esi; push %edi; pushf; "
                                 "cli\n"
                                 " mov 24(%esp), %ebx; mov %esp, rm_esp; ljmp $0x60, $0x8000\n"
                                 "rm_back: mov $0x10, %eax; mov %ax, %ds; mov %ax, %es; mov %ax, "
                                 "%fs; mov %ax, %gs; mov %ax, %ss\n"
                                 " mov rm_esp, %esp; popf; pop %edi; pop %esi; pop %ebp; pop %ebx; "
                                 "ret\n"
                                 ".popsection");
u32 rm_esp;
extern char rm_start[], rm_end[], rm_vectors[];
void rm_enter(u32 seg);
void idt_load(void);

/* Pieces of 16-bit code that end with RET (real mode) or UD2 (virtual-8086 mode). */
#define CODE_16(name, text)                                                                        \
    extern char name[], name##_end[];                                                              \
    __asm__(".pushsection .text\n.code16\n.balign 16\n" #name ":\n" text "\n" #name                \
            "_end:\n.code32\n.popsection\n")

#define LOW16(at) (*(volatile u16 *)(ulong)(at))
#define LOW32(at) (*(volatile u32 *)(ulong)(at))

static struct {
    int vector;
    u16 ip, cs, flags, sp, now;
} rm;

static void rm_setup(void)
{
    memcpy((void *)RM_AT, rm_start, (size_t)(rm_end - rm_start));
    gdt[CODE16 / 8] = seg_desc(0, 0xffff, ACC_CODE, 0);
    gdt[DATA16 / 8] = seg_desc(0, 0xffff, ACC_DATA, 0);
    u32 at = RM_AT + (u32)(rm_vectors - rm_start);
    at = (at + 7) & ~7u;
    for (unsigned v = 0; v < 16; v++)
        LOW32(v * 4) = at + v * 8;
    LOW32(0x40 * 4) = at + 16 * 8;
}

/* In real mode; seg: a data selector whose limit DS and ES keep. */
static void real(const char *code, const char *end, u32 seg)
{
    memcpy((void *)CODE_AT, code, (size_t)(end - code));
    memcpy((void *)REGS_AT, &in, sizeof(in));
    LOW16(REGS_AT + 0x80) = 0xffff;
    rm_enter(seg);
    idt_load();
    rm.vector = (short)LOW16(REGS_AT + 0x80);
    rm.ip = LOW16(REGS_AT + 0x82);
    rm.cs = LOW16(REGS_AT + 0x84);
    rm.flags = LOW16(REGS_AT + 0x86);
    rm.sp = LOW16(REGS_AT + 0x88);
    rm.now = LOW16(REGS_AT + 0x8a);
    memcpy(&trap.r, (void *)(REGS_AT + 0x40), sizeof(trap.r));
}
#define REAL(what, code, seg, want)                                                                \
    do {                                                                                           \
        real(code, code##_end, seg);                                                               \
        CHECK(what, (u64)(u32)rm.vector, (u64)(u32)(want));                                        \
    } while (0)

CODE_16(r_rd, "mov (%esi), %eax; ret");
CODE_16(r_rd_es, "mov %es:(%esi), %eax; ret");
CODE_16(r_rd16, "mov (%si), %eax; ret");
CODE_16(r_wr, "mov %eax, (%esi); ret");
CODE_16(r_reload, "mov $0x1000, %dx; mov %dx, %ds; mov (%esi), %eax; ret");
CODE_16(r_pop, "mov %si, %sp; pop %ax; mov $0xeffe, %sp; ret");
CODE_16(r_ss_rd, "mov %si, %bp; mov (%bp), %eax; ret");
CODE_16(r_int, "sti; stc; int $0x40; ret");
CODE_16(r_de, "xor %cx, %cx; div %cx; ret");
CODE_16(r_ud, "ud2; ret");
CODE_16(r_bound, "mov $9, %ax; bound %ax, %cs:(0x9010); ret; .org r_bound + 16; .word 1, 5");
CODE_16(r_arpl, "arpl %ax, %bx; ret");
CODE_16(r_lldt, "lldt %ax; ret");
CODE_16(r_ltr, "ltr %ax; ret");
CODE_16(r_lar, "lar %ax, %bx; ret");
CODE_16(r_verr, "verr %ax; ret");
CODE_16(r_sldt, "sldt %ax; ret");
CODE_16(r_jmp_far_off, ".byte 0x66, 0xea, 0, 0, 1, 0, 0, 0; ret");
CODE_16(r_call32, "mov $0x12349020, %ecx; .byte 0x66, 0xff, 0xe1; ret");
CODE_16(r_into, "mov $0x7f, %al; inc %al; into; ret");
CODE_16(r_popf, "pushl $0x7ed7; popfw; pop %dx; pushf; pop %ax; push $0; popf; ret");
CODE_16(r_step, "pushf; pop %ax; or $0x100, %ax; push %ax; popf; nop; ret");
CODE_16(r_hlt_int3, "int3; ret");
CODE_16(r_lmsw, "smsw %ax; mov %eax, %ecx; ret");

static void real_mode(void)
{
    u8 *high = page_alloc();

    st32(high, 0xcafebabe);
    LOW32(0xb000) = 0x31415926;
    gdt[SCRATCH / 8] = seg_desc(0, 0xfffff, ACC_DATA, FL_G);
    in = (struct regs){0};
    in.si = 0xb000;
    REAL("32-bit address below 64 KiB", r_rd, DATA16, -1);
    CHECK("value", trap.r.ax, 0x31415926);
    in.si = 0xffff;
    REAL("across the limit", r_rd, DATA16, GP);
    CHECK("IP of it", rm.ip, CODE_AT);
    CHECK("CS", rm.cs, 0);
    CHECK("no error code is pushed", rm.sp, SP_AT - 2 - 6);
    REAL("across the limit, 16-bit address", r_rd16, DATA16, GP);
    in.si = 0x10000;
    REAL("above the limit", r_rd, DATA16, GP);
    in.si = (u32)high;
    REAL("big DS: above 1 MiB", r_rd, SCRATCH, -1);
    CHECK("value", trap.r.ax, 0xcafebabe);
    REAL("big ES", r_rd_es, SCRATCH, -1);
    in.ax = 0x600d;
    REAL("big DS: write", r_wr, SCRATCH, -1);
    CHECK("value", ld32(high), 0x600d);
    in.si = (u32)high - 0x10000;
    REAL("a load of DS moves the base and keeps the limit", r_reload, SCRATCH, -1);
    CHECK("value", trap.r.ax, 0x600d);
    in.si = (u32)high;
    REAL("and the limits are gone with DATA16", r_rd, DATA16, GP);

    in.si = 0xffff; /* (a push at SP 1 would leave no room for the frame: shutdown) */
    REAL("pop at SP FFFFh", r_pop, DATA16, SS);
    in.si = 0xfffe;
    REAL("BP-relative across the limit", r_ss_rd, DATA16, SS);
    in.si = 0;
    REAL("INT", r_int, DATA16, 16);
    CHECK("return IP", rm.ip, CODE_AT + 4);
    CHECK("pushed flags", rm.flags & 0x3303, 0x203);
    CHECK("IF is cleared", rm.now & FL_IF, 0);
    REAL("#DE", r_de, DATA16, DE);
    CHECK("is a fault", rm.ip, CODE_AT + 2);
    REAL("#UD", r_ud, DATA16, UD);
    REAL("BOUND", r_bound, DATA16, BR);
    REAL("INT3", r_hlt_int3, DATA16, BP);
    CHECK("is a trap", rm.ip, CODE_AT + 1);
    REAL("INTO", r_into, DATA16, OF);
    REAL("ARPL", r_arpl, DATA16, UD);
    REAL("LLDT", r_lldt, DATA16, UD);
    REAL("LTR", r_ltr, DATA16, UD);
    REAL("LAR", r_lar, DATA16, UD);
    REAL("VERR", r_verr, DATA16, UD);
    REAL("SLDT", r_sldt, DATA16, UD);
    REAL("far jump to offset 10000h", r_jmp_far_off, DATA16, GP);
    CHECK("is a fault of the jump", rm.ip, CODE_AT);
    REAL("near jump to 12349020h", r_call32, DATA16, GP);
    REAL("POPF", r_popf, DATA16, -1);
    CHECK("sets IOPL and NT too", trap.r.ax & 0xffff, 0x7ed7);
    REAL("single-step", r_step, DATA16, DB);
    CHECK("after the NOP", rm.ip, CODE_AT + (u32)(r_step_end - r_step) - 1);
    set_dr6(0xffff0ff0);
    REAL("SMSW", r_lmsw, DATA16, -1);
    CHECK("PE is clear", trap.r.cx & 1, 0);
}

/* ---- A20 --------------------------------------------------------------------------------------- */

CODE_16(a20_port92, "in $0x92, %al; and $0xfd, %al; out %al, $0x92\n"    /* off */
                    " mov $0xffff, %dx; mov %dx, %ds; mov 0x510, %ecx\n" /* 100500h */
                    " movl $0x22222222, 0x510\n"
                    " in $0x92, %al; or $2, %al; out %al, $0x92\n"
                    " mov 0x510, %esi; ret");
CODE_16(a20_code, "in $0x92, %al; and $0xfd, %al; out %al, $0x92\n"
                  " lcall $0xffff, $0x520\n mov %ax, %cx\n" /* 100510h: is 510h now */
                  " in $0x92, %al; or $2, %al; out %al, $0x92; ret");
CODE_16(a20_kbc, "1: in $0x64, %al; test $2, %al; jnz 1b; mov $0xd1, %al; out %al, $0x64\n"
                 "1: in $0x64, %al; test $2, %al; jnz 1b; mov $0xdd, %al; out %al, $0x60\n"
                 "1: in $0x64, %al; test $2, %al; jnz 1b\n"
                 " mov $0xffff, %dx; mov %dx, %ds; mov 0x510, %esi\n"
                 "1: in $0x64, %al; test $2, %al; jnz 1b; mov $0xd1, %al; out %al, $0x64\n"
                 "1: in $0x64, %al; test $2, %al; jnz 1b; mov $0xdf, %al; out %al, $0x60\n"
                 "1: in $0x64, %al; test $2, %al; jnz 1b\n"
                 " mov 0x510, %ecx; ret");

/* The image begins at 1 MiB: 100500h and 100510h lie in its text, which is put back. */
static void a20(void)
{
    u8 saved_high[32], saved_low[32];

    memcpy(saved_high, (void *)0x100500, 32);
    memcpy(saved_low, (void *)0x500, 32);
    LOW32(0x500) = 0x11111111;
    u32 high = LOW32(0x100500);
    in = (struct regs){0};
    REAL("A20 by port 92h", a20_port92, DATA16, -1);
    CHECK("off: 1 MiB + 500h reads 500h", trap.r.cx, 0x11111111);
    CHECK("and writes it", LOW32(0x500), 0x22222222);
    CHECK("on: what is there", trap.r.si, high);
    CHECK("unchanged", LOW32(0x100500), high);
    static const u8 low_code[] = {0xb8, 0x77, 0x77, 0xcb}; /* mov $0x7777, %ax; lret */
    memcpy((void *)0x510, low_code, sizeof(low_code));
    REAL("code fetched with A20 off", a20_code, DATA16, -1);
    CHECK("is that below", trap.r.cx & 0xffff, 0x7777);
    REAL("A20 by the keyboard controller", a20_kbc, DATA16, -1);
    CHECK("off", trap.r.si, 0x22222222);
    CHECK("on", trap.r.cx, high);
    memcpy((void *)0x100500, saved_high, 32);
    memcpy((void *)0x500, saved_low, 32);
}

/* ---- virtual-8086 mode ------------------------------------------------------------------------- */

u32 v86_frame[9]; /* EIP CS EFLAGS ESP SS ES DS FS GS */
CODE(enter_v86, "mov $9, %ebp\n 1: pushl v86_frame - 4(,%ebp,4); dec %ebp; jnz 1b; iret");
static u16 handler_ds, handler_gs;

static bool seg_hook(struct frame *f)
{
    handler_ds = (u16)(f->ds | f->es);
    handler_gs = (u16)(f->fs | f->gs);
    return false;
}

#define V_CS  (CODE_AT >> 4)
#define V_SEG 0x0b00
static void v86(const char *code, const char *end, u32 flags)
{
    u32 f[9] = {0, V_CS, flags | FL_VM | 2, 0x1000, 0x0c00, V_SEG, V_SEG, 0x1111, 0x2222};

    memcpy((void *)CODE_AT, code, (size_t)(end - code));
    memcpy(v86_frame, f, sizeof(f));
    st32(tss + 4, (u32)run_stack_top - 1024);
    run(enter_v86);
}
#define V86(what, code, flags, vector, error)                                                      \
    do {                                                                                           \
        v86(code, code##_end, flags);                                                              \
        EXPECT(what, vector, error);                                                               \
    } while (0)
#define END16 "\n ud2\n" /* INT would need IOPL 3 */
#define ENDED UD

CODE_16(v_plain, "mov %ds, %ax; mov %cs, %bx; mov (0), %ecx" END16);
CODE_16(v_cli, "cli" END16);
CODE_16(v_sti, "sti" END16);
CODE_16(v_pushf, "pushf; pop %ax" END16);
CODE_16(v_pushfd, "pushfl; pop %eax" END16);
CODE_16(v_popf, "push %ax; popf" END16);
CODE_16(v_popfd, "push %eax; popfl" END16);
CODE_16(v_int40, "int $0x40" END16);
CODE_16(v_int3, "int3" END16);
CODE_16(v_iret, "push %ax; push %cs; push $7; iret; nop; nop; nop; nop" END16);
CODE_16(v_hlt, "hlt" END16);
CODE_16(v_in, "in $0x80, %al" END16);
CODE_16(v_inw, "mov $0x80, %dx; in %dx, %ax" END16);
CODE_16(v_movcr, "mov %cr0, %eax" END16);
CODE_16(v_lgdt, "lgdt (0)" END16);
CODE_16(v_sldt, "sldt %ax" END16);
CODE_16(v_str, "str %ax" END16);
CODE_16(v_lar, "lar %ax, %bx" END16);
CODE_16(v_arpl, "arpl %ax, %bx" END16);
CODE_16(v_clts, "clts" END16);
CODE_16(v_limit, "mov $0xfffd, %si; mov (%si), %eax" END16);
CODE_16(v_limit32, "mov $0x10000, %esi; mov (%esi), %eax" END16);
CODE_16(v_stack, "mov $0xffff, %sp; pop %ax" END16);
CODE_16(v_push1, "mov $1, %sp; push %ax" END16);
CODE_16(v_segs,
        "mov $0xffff, %ax; mov %ax, %es; mov %es:0x10, %ecx; lds (0), %si; mov %ds, %bx" END16);
CODE_16(v_far, "lcall $0x900, $8\n nop; nop; nop; mov $5, %bx" END16);
CODE_16(v_ivt, "mov $0x6666, %bx; iret");

static void v86_plain(void)
{
    trap_hook = seg_hook;
    idt_set(0x40, KCODE, stub_table + 16 * 0x40, 0xee, 0);
    LOW32(V_SEG * 16) = 0x0b105555;
    in = (struct regs){0};
    V86("entering", v_plain, FL_IOPL, ENDED, 0);
    CHECK("DS", trap.r.ax & 0xffff, V_SEG);
    CHECK("CS", trap.r.bx & 0xffff, V_CS);
    CHECK("a read", trap.r.cx, 0x0b105555);
    CHECK("VM in the frame", trap.flags & FL_VM, FL_VM);
    CHECK("CS in the frame", trap.cs, V_CS);
    CHECK("SP in the frame", trap.sp, 0x1000);
    CHECK("SS in the frame", trap.ss, 0x0c00);
    CHECK("DS in the frame", trap.ds, V_SEG);
    CHECK("FS in the frame", trap.fs, 0x1111);
    CHECK("GS in the frame", trap.gs, 0x2222);
    CHECK("frame on the inner stack", trap.frame_at, (u32)run_stack_top - 1024 - 36);
    CHECK("DS, ES null in the handler", handler_ds, 0);
    CHECK("FS, GS null in the handler", handler_gs, 0);

    V86("CLI, IOPL 3", v_cli, FL_IOPL | FL_IF, ENDED, 0);
    CHECK("IF", trap.flags & FL_IF, 0);
    V86("CLI, IOPL 0", v_cli, FL_IF, GP, 0);
    V86("STI, IOPL 0", v_sti, 0, GP, 0);
    V86("PUSHF, IOPL 3", v_pushf, FL_IOPL | FL_CF, ENDED, 0);
    CHECK("its image", trap.r.ax & 0xffff, FL_IOPL | 3);
    V86("PUSHFD, IOPL 3", v_pushfd, FL_IOPL | FL_CF, ENDED, 0);
    CHECK("VM is not in it", trap.r.ax, FL_IOPL | 3);
    V86("PUSHF, IOPL 2", v_pushf, 0x2000, GP, 0);
    in.ax = FL_CF;
    V86("POPF, IOPL 3: IOPL cannot change", v_popf, FL_IOPL, ENDED, 0);
    CHECK("flags", trap.flags & 0xffff, FL_IOPL | 3);
    V86("POPFD, IOPL 3", v_popfd, FL_IOPL, ENDED, 0);
    CHECK("VM stays", trap.flags & (FL_VM | 0xffff), FL_VM | FL_IOPL | 3);
    V86("POPF, IOPL 0", v_popf, 0, GP, 0);
    V86("INT, IOPL 3", v_int40, FL_IOPL, 0x40, 0);
    CHECK("IP", trap.ip, 2);
    V86("INT, IOPL 0", v_int40, 0, GP, 0);
    V86("INT3, IOPL 0", v_int3, 0, BP, 0);
    V86("IRET, IOPL 0", v_iret, 0, GP, 0);
    in.ax = 2;
    V86("IRET, IOPL 3", v_iret, FL_IOPL, ENDED, 0);
    V86("HLT", v_hlt, FL_IOPL, GP, 0);
    V86("IN, IOPL 3, map forbids", v_in, FL_IOPL, GP, 0);
    tss[104 + 0x80 / 8] = 0xfe;
    V86("IN, map allows", v_in, 0, ENDED, 0);
    V86("word IN, half of it allowed", v_inw, 0, GP, 0);
    tss[104 + 0x80 / 8] = 0xfc;
    V86("word IN, allowed", v_inw, 0, ENDED, 0);
    tss[104 + 0x80 / 8] = 0xff;
    V86("MOV CR0", v_movcr, FL_IOPL, GP, 0);
    V86("LGDT", v_lgdt, FL_IOPL, GP, 0);
    V86("CLTS", v_clts, FL_IOPL, GP, 0);
    V86("SLDT", v_sldt, FL_IOPL, UD, 0);
    V86("STR", v_str, FL_IOPL, UD, 0);
    V86("LAR", v_lar, FL_IOPL, UD, 0);
    V86("ARPL", v_arpl, FL_IOPL, UD, 0);
    V86("across the limit", v_limit, FL_IOPL, GP, 0);
    V86("above the limit", v_limit32, FL_IOPL, GP, 0);
    V86("pop across the limit", v_stack, FL_IOPL, SS, 0);
    V86("push at SP 1", v_push1, FL_IOPL, SS, 0);
    V86("segments", v_segs, FL_IOPL, ENDED, 0);
    CHECK("FFFF:0010 is 1 MiB", trap.r.cx, LOW32(0x100000));
    CHECK("LDS", trap.r.bx & 0xffff, 0x0b10);
    V86("far call", v_far, FL_IOPL, ENDED, 0);
    CHECK("CS", trap.cs, 0x900);
    CHECK("on its stack", trap.sp, 0x1000 - 4);

    gdt[SCRATCH / 8] = seg_desc(0, 0xfffff, ACC_CODE | DPL(1), FL_G | FL_DB);
    idt_set(0x40, SCRATCH, stub_table, 0xee, 0);
    V86("handler of level 1", v_int40, FL_IOPL, GP, SCRATCH);
    gdt[SCRATCH / 8] = seg_desc(0, 0xfffff, ACC_CODE | 4, FL_G | FL_DB);
    V86("conforming handler", v_int40, FL_IOPL, GP, SCRATCH);
    idt_set(0x40, KCODE, stub_table + 16 * 0x40, 0x8e, 0);
    V86("gate of DPL 0", v_int40, FL_IOPL, GP, 0x40 * 8 + 2);
    idt_set(0x40, KCODE, stub_table + 16 * 0x40, 0xee, 0);
}

static u16 v_word(int n)
{
    return LOW16(0x0c00 * 16 + 0x1000 + 2 * n);
}

static void vme(void)
{
    u8 *map = tss + 136 - 32;

    set_cr4(get_cr4() | CR4_VME);
    memset(map, 0xff, 32);
    st16(tss + 102, 136);
    LOW32(0x40 * 4) = (u32)V_CS << 16 | 0x100;
    memcpy((void *)(CODE_AT + 0x100), v_ivt, (size_t)(v_ivt_end - v_ivt));
    LOW32(0x41 * 4) = (u32)V_CS << 16 | 0x180;
    static const u8 end[] = {0x0f, 0x0b};
    memcpy((void *)(CODE_AT + 0x180), end, 2);
    in = (struct regs){0};

    V86("CLI is virtual", v_cli, FL_IF | FL_VIF, ENDED, 0);
    CHECK("IF stays, VIF goes", trap.flags & (FL_IF | FL_VIF), FL_IF);
    V86("STI is virtual", v_sti, FL_IF, ENDED, 0);
    CHECK("VIF", trap.flags & (FL_IF | FL_VIF), FL_IF | FL_VIF);
    V86("STI with VIP", v_sti, FL_IF | FL_VIP, GP, 0);
    V86("CLI with VIP", v_cli, FL_IF | FL_VIP | FL_VIF, ENDED, 0);
    V86("PUSHF", v_pushf, FL_VIF, ENDED, 0);
    CHECK("shows VIF as IF, and IOPL 3", trap.r.ax & 0xffff, FL_IOPL | FL_IF | 2);
    V86("PUSHFD", v_pushfd, FL_VIF, GP, 0);
    in.ax = FL_IF | FL_CF;
    V86("POPF", v_popf, 0, ENDED, 0);
    CHECK("IF goes to VIF", trap.flags & (FL_IF | FL_VIF | FL_CF | FL_IOPL), FL_VIF | FL_CF);
    V86("POPF with IF and VIP", v_popf, FL_VIP, GP, 0);
    in.ax = FL_TF;
    V86("POPF with TF", v_popf, 0, GP, 0);
    in.ax = FL_IF;
    V86("POPFD", v_popfd, 0, GP, 0);
    V86("IRET", v_iret, 0, ENDED, 0);
    CHECK("IF goes to VIF", trap.flags & (FL_IF | FL_VIF), FL_VIF);
    V86("IRET with VIP", v_iret, FL_VIP, GP, 0);
    in.ax = 0;
    V86("INT, not redirected, IOPL 0", v_int40, 0, GP, 0);
    V86("INT, not redirected, IOPL 3", v_int40, FL_IOPL, 0x40, 0);
    map[0x40 / 8] = 0xfe;
    LOW32(0x40 * 4) = (u32)V_CS << 16 | 0x180;
    V86("INT, redirected, IOPL 0", v_int40, FL_IF | FL_VIF | FL_CF, ENDED, 0);
    CHECK("in the program's handler", trap.ip, 0x180);
    CHECK("its IP", v_word(-3), 2);
    CHECK("its CS", v_word(-2), V_CS);
    CHECK("its flags: VIF as IF, IOPL 3", v_word(-1), FL_IOPL | FL_IF | FL_CF | 2);
    CHECK("VIF is cleared, IF is not", trap.flags & (FL_IF | FL_VIF), FL_IF);
    V86("INT, redirected, IOPL 3", v_int40, FL_IOPL | FL_IF, ENDED, 0);
    CHECK("in the program's handler", trap.ip, 0x180);
    CHECK("IF is cleared", trap.flags & FL_IF, 0);
    CHECK("its flags", v_word(-1), FL_IOPL | FL_IF | 2);
    LOW32(0x40 * 4) = (u32)V_CS << 16 | 0x100;
    V86("INT and IRET", v_int40, FL_IF | FL_VIF, ENDED, 0);
    CHECK("handler ran", trap.r.bx & 0xffff, 0x6666);
    CHECK("back", trap.ip, 2);
    CHECK("VIF restored", trap.flags & FL_VIF, FL_VIF);
    V86("INT3 is never redirected", v_int3, 0, BP, 0);
    st16(tss + 102, 8000 + 600);
    V86("map beyond the TSS", v_int40, 0, GP, 0);
    st16(tss + 102, 104);
    set_cr4(get_cr4() & ~(ulong)CR4_VME);
}

/* Protected-mode virtual interrupts: CLI and STI at level 3. */
CODE(p_cli, "cli" DONE);
CODE(p_sti, "sti" DONE);
CODE(p_pushf, "pushf; pop %eax" DONE);

static void pvi(void)
{
    trap_hook = 0;
    USER("CLI without PVI", p_cli, GP, 0);
    set_cr4(get_cr4() | CR4_PVI);
    user.flags = FL_IF | FL_VIF | 2;
    USER("CLI", p_cli, NONE, 0);
    CHECK("VIF goes, IF stays", trap.flags & (FL_IF | FL_VIF), FL_IF);
    user.flags = FL_IF | 2;
    USER("STI", p_sti, NONE, 0);
    CHECK("VIF", trap.flags & (FL_IF | FL_VIF), FL_IF | FL_VIF);
    user.flags = FL_VIP | 2;
    USER("STI with VIP", p_sti, GP, 0);
    user.flags = FL_IF | 2;
    USER("PUSHF is not virtual", p_pushf, NONE, 0);
    CHECK("its image", trap.r.ax & 0xffff, FL_IF | 2);
    user.flags = FL_IOPL | FL_IF | 2;
    USER("CLI with IOPL 3 is real", p_cli, NONE, 0);
    CHECK("IF goes", trap.flags & FL_IF, 0);
    user.flags = 2;
    set_cr4(get_cr4() & ~(ulong)CR4_PVI);
}

void guest_main(void)
{
    rm_setup();
    real_mode();
    a20();
    v86_plain();
    if (has(1, 3, 1)) {
        vme();
        pvi();
    } else {
        skip("VME");
    }
}
