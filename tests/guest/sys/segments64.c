/* Segmentation in long mode: what 64-bit code still sees of segments, compatibility mode beside it,
 * address sizes, canonical addresses in every kind of access, alignment checks, system descriptors of 16
 * bytes. SDM vol. 3, 3.2.4, 5.2.1 and 5.8.3; vol. 1, 3.3.7.
 *
 * QEMU is known to differ: it raises #GP for #SS, never #AC, and leaves limits alone in compatibility mode.
 */
#include "sys.h"

enum { SEG = 0x60, CODE32_LIM = 0x68, LDT = 0x70, SCRATCH = 0x80 };
#define SETGDT(sel, v) (gdt[(sel) / 8] = (v))
#define BAD            0x800000000000ul
#define MSR_FSBASE     0xc0000100u

static u64 words[8] __attribute__((aligned(64))) = {0x1111, 0x2222, 0x3333};

CODE(ds_load, "mov %edi, %ds; mov %edi, %es; mov (%rsi), %rax; ret");
CODE(ds_override, ".byte 0x3e; mov (%rsi), %rax; ret");
CODE(fs_read, "mov %fs:(%rsi), %rax; ret");
CODE(fs_load, "mov %edi, %fs; mov %fs:(%rsi), %rax; ret");
CODE(fs_neg, "mov %fs:-8, %rax; ret");
CODE(a32, "mov (%esi), %rax; ret");
CODE(a32_disp, "mov -8(%esi), %rax; ret");
CODE(fs_a32, "addr32 mov %fs:(%esi), %rax; ret");
CODE(lea32, "lea 8(%esi), %rax; ret");
CODE(rip_a32, "lea a32_here(%eip), %rax\n a32_here: ret");
LABEL(a32_here);
CODE(seg_write, "mov %edi, %ss; push %rax; pop %rax; ret");

static void bases(void)
{
    in.si = (ulong)words;
    in.di = 0;
    RUN("null DS and ES are usable", ds_load, NONE, 0);
    CHECK("value", trap.r.ax, 0x1111);
    SETGDT(SEG, seg_desc(0x1000, 0, ACC_DATA, 0));
    in.di = SEG;
    RUN("base and limit of DS are ignored", ds_load, NONE, 0);
    CHECK("value", trap.r.ax, 0x1111);
    RUN("DS override", ds_override, NONE, 0);
    SETGDT(SEG, seg_desc(0, 0, 0x91, 0));
    RUN("a read-only SS is refused all the same", seg_write, GP, SEG);
    SETGDT(SEG, seg_desc(0, 0, ACC_DATA, 0));
    RUN("a small SS is not", seg_write, NONE, 0);
    SETGDT(SEG, seg_desc(0x1000, 0, ACC_DATA & ~0x80, 0));
    RUN("an absent segment is refused", ds_load, NP, SEG);
    in.di = 0xff8;
    RUN("so is one beyond the GDT", ds_load, GP, 0xff8);

    wrmsr(MSR_FSBASE, (ulong)words);
    in.si = 8;
    RUN("FS base of 64 bits", fs_read, NONE, 0);
    CHECK("value", trap.r.ax, 0x2222);
    wrmsr(MSR_FSBASE, (ulong)words + 16);
    RUN("negative offset", fs_neg, NONE, 0);
    CHECK("value", trap.r.ax, 0x2222);
    SETGDT(SEG, seg_desc((u32)(ulong)words, 0, ACC_DATA, 0));
    in.di = SEG;
    RUN("FS from a descriptor: base counts, limit does not", fs_load, NONE, 0);
    CHECK("value", trap.r.ax, 0x2222);
    wrmsr(MSR_FSBASE, 0x7ffffffff000);
    in.si = 0x1000;
    RUN("FS base + offset beyond canonical", fs_read, GP, 0);
    wrmsr(MSR_FSBASE, 0xffff800000000000);
    in.si = 0 - 0xffff800000000000 + (ulong)words; /* wraps round */
    RUN("FS base + offset wrap in 64 bits", fs_read, NONE, 0);
    CHECK("value", trap.r.ax, 0x1111);
    wrmsr(MSR_FSBASE, (ulong)words);

    in.si = 0xabcdef0000000000 | (ulong)words;
    RUN("32-bit address", a32, NONE, 0);
    CHECK("value", trap.r.ax, 0x1111);
    in.si = 0xabcdef0000000000 | ((ulong)words + 16);
    RUN("32-bit address with displacement", a32_disp, NONE, 0);
    CHECK("value", trap.r.ax, 0x2222);
    in.si = 0xffffffff00000008;
    RUN("32-bit offset to a 64-bit base", fs_a32, NONE, 0);
    CHECK("value", trap.r.ax, 0x2222);
    in.si = 0xffffffff;
    RUN("32-bit LEA wraps", lea32, NONE, 0);
    CHECK("value", trap.r.ax, 7);
    RUN("EIP-relative", rip_a32, NONE, 0);
    CHECK("value", trap.r.ax, (ulong)a32_here);
}

/* ---- canonical addresses: #GP, or #SS with RSP and RBP ------------------------------------------ */

CODE(c_read, "mov (%rsi), %al; ret");
CODE(c_rsp, "mov %rsi, %rsp; mov (%rsp), %rax" DONE);
CODE(c_rbp, "mov %rsi, %rbp; mov (%rbp), %rax; ret");
CODE(c_rbp_idx, "mov %rsi, %rbp; xor %eax, %eax; mov (%rax,%rbp), %rax; ret");
CODE(c_push, "mov %rsi, %rsp; push %rax" DONE);
CODE(c_pop, "mov %rsi, %rsp; pop %rax" DONE);
CODE(c_ret, "mov %rsi, %rsp; ret" DONE);
CODE(c_ret_to, "push %rsi\n cr: ret" DONE);
LABEL(cr);
CODE(c_call, "call *%rsi" DONE);
CODE(c_call_mem, "call *(%rsi)" DONE);
CODE(c_enter, "mov %rsi, %rsp; enter $0, $0" DONE);
CODE(c_leave, "mov %rsi, %rbp; leave" DONE);
CODE(c_movs, "mov %rsi, %rdi; lea words(%rip), %rsi; movsb; ret");
CODE(c_lods, "lodsq; ret");
CODE(c_xlat, "mov %rsi, %rbx; xlatb; ret");
CODE(c_clflush, "clflush (%rsi); ret");
CODE(c_prefetch, "prefetcht0 (%rsi); ret");
CODE(c_lea, "lea (%rsi), %rax; ret");
CODE(c_nop, "nopl (%rsi); ret");
CODE(c_movups, "movups (%rsi), %xmm0; ret");
CODE(c_movaps, "movaps (%rsi), %xmm0; ret");
CODE(c_fld, "fldl (%rsi); ret");
CODE(c_bt, "mov $0x7ffffffffff00000, %rax; bt %rax, words(%rip); ret");
CODE(c_sgdt, "sgdt (%rsi); ret");
CODE(c_invlpg, "invlpg (%rsi); ret");

static void canonical(void)
{
    static const struct {
        const void *code;
        const char *name;
        int vector;
    } all[] = {
        {c_read, "MOV", GP},        {c_rbp, "RBP-relative", SS},    {c_rbp_idx, "RBP as index", GP},
        {c_movs, "MOVSB", GP},      {c_lods, "LODSQ", GP},          {c_xlat, "XLATB", GP},
        {c_clflush, "CLFLUSH", GP}, {c_prefetch, "PREFETCH", NONE}, {c_lea, "LEA", NONE},
        {c_nop, "NOP", NONE},       {c_movups, "MOVUPS", GP},       {c_movaps, "MOVAPS", GP},
        {c_fld, "FLD", GP},         {c_sgdt, "SGDT", GP},           {c_invlpg, "INVLPG", NONE},
        {c_bt, "BT", GP},
    };
    static const struct {
        const void *code;
        const char *name;
        int vector;
    } stack[] = {
        {c_push, "PUSH", SS},   {c_pop, "POP", SS},     {c_ret, "RET's stack", SS},
        {c_enter, "ENTER", SS}, {c_leave, "LEAVE", SS}, {c_rsp, "RSP-relative", SS},
    };

    for (unsigned k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
        in.si = BAD;
        RUN(all[k].name, all[k].code, all[k].vector, 0);
        in.si = 0xffff7ffffffffff0;
        RUN(all[k].name, all[k].code, all[k].vector, 0);
    }
    for (unsigned k = 0; k < sizeof(stack) / sizeof(stack[0]); k++) {
        in.si = BAD + 64;
        USER(stack[k].name, stack[k].code, stack[k].vector, 0);
    }
    in.si = BAD;
    USER("CALL to it", c_call, GP, 0);
    CHECK("is a fault of CALL", trap.ip, (ulong)c_call);
    CHECK("nothing pushed", trap.sp, user.sp);
    USER("RET to it", c_ret_to, GP, 0);
    if (!on_qemu()) {
        CHECK("is a fault of RET", trap.ip, (ulong)cr);
        CHECK("nothing popped", trap.sp, user.sp - 8);
    }
    words[7] = BAD;
    in.si = (ulong)&words[7];
    USER("CALL through memory", c_call_mem, GP, 0);
    CHECK("is a fault of CALL", trap.ip, (ulong)c_call_mem);
}

/* ---- compatibility mode ------------------------------------------------------------------------ */

#define CODE_32(name, text)                                                                        \
    extern char name[], name##_end[];                                                              \
    __asm__(".pushsection .text\n.code32\n.balign 16\n" #name ":\n" text "\n" #name                \
            "_end:\n.code64\n.popsection\n")

CODE_32(k_limit, "mov %fs:(%esi), %eax" DONE);
CODE_32(k_null, "xor %eax, %eax; mov %eax, %fs; mov %fs:(%esi), %eax" DONE);
CODE_32(k_wrap, "mov $0xfffffff0, %ebx; mov 0x10(%ebx,%esi), %eax" DONE);
CODE_32(k_push, "push %eax; pop %ecx; mov %esp, %edx" DONE);
CODE_32(k_aaa, "aaa; daa; .byte 0xd6" DONE);
CODE_32(k_inc, "inc %eax; inc %ecx" DONE);
CODE_32(k_to64, "ljmp $0x2b, $k_in64" DONE);
CODE(k_in64, "mov $0x123456789abcdef0, %rax" DONE);

static void compatibility(void)
{
    SETGDT(SEG, seg_desc((u32)(ulong)words, 7, ACC_DATA | DPL(3), FL_DB));
    user.cs = UCODE32;
    __asm__ volatile("mov %0, %%fs" ::"r"(SEG | 3));
    in.si = 4;
    USER("limits count again", k_limit, NONE, 0);
    in.si = 5;
    if (!on_qemu())
        USER("limit exceeded", k_limit, GP, 0);
    if (!on_qemu())
        USER("null FS", k_null, GP, 0);
    in.si = (ulong)words;
    USER("addresses wrap at 4 GiB", k_wrap, NONE, 0);
    CHECK("value", (u32)trap.r.ax, 0x1111);
    in.ax = 0xabcdef0012345678;
    USER("PUSH of 4 bytes", k_push, NONE, 0);
    CHECK("value", (u32)trap.r.cx, 0x12345678);
    CHECK("stack pointer", (u32)trap.r.dx, (u32)user.sp);
    USER("what 64-bit mode has not", k_aaa, NONE, 0);
    in.ax = in.cx = 0;
    USER("INC by one byte", k_inc, NONE, 0);
    CHECK("EAX", (u32)trap.r.ax, 1);
    in.r15 = 0x1234567812345678;
    USER("to 64-bit mode by a far jump", k_to64, NONE, 0);
    CHECK("RAX", trap.r.ax, 0x123456789abcdef0);
    CHECK("R15 kept on the way", trap.r.r15, 0x1234567812345678);
    CHECK("CS", trap.cs, UCODE64);
    user.cs = UCODE64;
    static const u8 gone[] = {0x06, 0x0e, 0x16, 0x1e, 0x27, 0x2f, 0x37, 0x3f, 0x60,
                              0x61, 0x82, 0x9a, 0xce, 0xd4, 0xd5, 0xd6, 0xea};
    u8 *page = page_alloc();
    for (unsigned k = 0; k < sizeof(gone); k++) {
        page[0] = gone[k];
        page[1] = 0x20;
        run(page);
        EXPECT("opcodes that 64-bit mode has not", UD, 0);
    }
}

/* ---- alignment checks, descriptors of 16 bytes -------------------------------------------------- */

CODE(ac8, "mov (%rsi), %rax" DONE);
CODE(ac4, "mov (%rsi), %eax" DONE);
CODE(ac_push, "mov %rsi, %rsp; push %rax" DONE);
CODE(ac_bad, "mov (%rsi), %rax" DONE);
CODE(do_lldt, "lldt %di; ret");
CODE(do_ltr, "ltr %di; ret");

static void the_rest(void)
{
    set_cr0(get_cr0() | CR0_AM);
    user.flags = FL_AC | 2;
    in.si = (ulong)words + 4;
    if (!on_qemu()) {
        USER("8 bytes at 4", ac8, AC, 0);
        in.si = (ulong)words + 36;
        USER("push at 4", ac_push, AC, 0);
    }
    in.si = (ulong)words + 4;
    USER("4 bytes at 4", ac4, NONE, 0);
    in.si = BAD + 1;
    USER("non-canonical and misaligned: #GP", ac_bad, GP, 0);
    user.flags = 2;
    set_cr0(get_cr0() & ~(ulong)CR0_AM);

    in.di = LDT;
    SETGDT(LDT, seg_desc((u32)(ulong)words, 63, 0x82, 0));
    SETGDT(LDT + 8, 0);
    RUN("LLDT", do_lldt, NONE, 0);
    SETGDT(LDT + 8, 0x8000);
    RUN("LLDT with a non-canonical base", do_lldt, GP, LDT);
    SETGDT(LDT + 8, 1ull << 40);
    if (!on_qemu())
        RUN("LLDT with a type in the upper half", do_lldt, GP, LDT);
    SETGDT(LDT + 8, 0);
    SETGDT(LDT, seg_desc((u32)(ulong)words, 63, 0x02, 0));
    RUN("LLDT, absent", do_lldt, NP, LDT);
    in.di = GDT_SIZE - 8; /* its upper half lies beyond */
    SETGDT(GDT_SIZE - 8, seg_desc((u32)(ulong)words, 63, 0x82, 0));
    RUN("LLDT whose upper half is beyond the GDT", do_lldt, GP, GDT_SIZE - 8);
    in.di = 0;
    RUN("LLDT of null", do_lldt, NONE, 0);
    RUN("LTR of null", do_ltr, GP, 0);
    in.di = TSS_SEL;
    RUN("LTR of a busy TSS", do_ltr, GP, TSS_SEL);
    SETGDT(SCRATCH, seg_desc((u32)(ulong)tss, 103, 0x81, 0));
    in.di = SCRATCH;
    RUN("LTR of a 16-bit TSS", do_ltr, GP, SCRATCH);
}

void guest_main(void)
{
    bases();
    canonical();
    compatibility();
    the_rest();
}
