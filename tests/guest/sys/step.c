/* Single-stepping and its shadows. SDM vol. 3, 17.3.1.4, 6.8.3 and 6.12.1.3.
 *
 * User code is entered with TF set; the hook notes where each #DB comes and goes on. INT 0x30 ends the
 * piece without a trap, as every INT does. A CODE names the places with labels.
 *
 * QEMU is known to differ: LSS has the shadow of MOV SS, INT1 is a single step, and HLT and SYSENTER
 * are not stepped over.
 */
#include "sys.h"

#define MAX_STEPS 32
#define VEC       0x40

static struct {
    ulong ip, flags, dr6, cs;
} steps[MAX_STEPS];
static int count;

static bool hook(struct frame *f)
{
    if (f->vector == VEC || f->vector == BP || f->vector == OF)
        return true;
    if (f->vector == UD) {
        CHECK("TF in the flags a fault pushes", f->flags & FL_TF, FL_TF);
        f->ip += 2;
        return true;
    }
    if (f->vector != DB)
        return false;
    if (count < MAX_STEPS) {
        steps[count].ip = f->ip;
        steps[count].flags = f->flags;
        steps[count].cs = f->cs;
        steps[count].dr6 = get_dr6();
    }
    count++;
    set_dr6(0xffff0ff0);
    return true;
}

static void check_steps(int line, const char *what, const char *const *want, int n)
{
    check_at(line, what, (u64)count, (u64)n);
    for (int k = 0; k < n && k < count; k++) {
        check_at(line, what, steps[k].ip, (ulong)want[k]);
        check_at(line, "DR6: BS", steps[k].dr6, 0xffff4ff0);
        check_at(line, "TF in the pushed flags", steps[k].flags & FL_TF, FL_TF);
    }
}

static void step_user(int line, const char *what, const char *code, const char *const *want, int n)
{
    count = 0;
    user.flags = FL_TF | 2;
    run_user(code);
    expect_at_line(line, what, NONE, 0);
    check_steps(line, what, want, n);
    user.flags = 2;
}
#define STEP(what, code, ...)                                                                      \
    do {                                                                                           \
        const char *const want[] = {__VA_ARGS__};                                                  \
        step_user(__LINE__, what, code, want, sizeof(want) / sizeof(want[0]));                     \
    } while (0)
#define STEP0(what, code)                                                                          \
    do {                                                                                           \
        count = 0;                                                                                 \
        RUN(what, code, NONE, 0);                                                                  \
    } while (0)

#define LABELS(a, b, c, d)                                                                         \
    LABEL(a);                                                                                      \
    LABEL(b);                                                                                      \
    LABEL(c);                                                                                      \
    LABEL(d)

LABELS(p1, p2, p3, p4);
CODE(plain, "nop\n p1: add $1, %eax\n p2: jmp p4\n p3: nop\n p4:" DONE);
LABELS(s1, s2, s3, s4);
CODE(mov_ss, "mov %ss, %eax\n s1: mov %eax, %ss\n s2: nop\n s3: nop\n s4:" DONE);
LABELS(ss1, ss2, ss3, ss4);
CODE(mov_ss_twice,
     "mov %ss, %eax\n ss1: mov %eax, %ss\n ss2: mov %eax, %ss\n nop\n ss3: nop\n ss4:" DONE);
LABELS(l1, l2, l3, l4);
CODE(lss, "nop\n l1: lss lss_ptr, %ebx\n l2: nop\n l3:" DONE "l4:");
u8 lss_ptr[6] = {0x78, 0x56, 0x34, 0x12, UDATA, 0};
LABELS(i1, i2, i3, i4);
CODE(int_n, "nop\n i1: int $0x40\n i2: nop\n i3: nop\n i4:" DONE);
LABELS(b1, b2, b3, b4);
CODE(int_3, "nop\n b1: int3\n b2: nop\n b3: nop\n b4:" DONE);
LABELS(r1, r2, r3, r4);
CODE(rep3, "mov $3, %ecx\n r1: rep; movsb\n r2: nop\n r3:" DONE "r4:");
LABELS(z1, z2, z3, z4);
CODE(rep0, "xor %ecx, %ecx\n z1: rep; movsb\n z2: nop\n z3:" DONE "z4:");
LABELS(e1, e2, e3, e4);
CODE(repe, "mov $5, %ecx\n e1: repe; cmpsb\n e2: nop\n e3:" DONE "e4:");
LABELS(f1, f2, f3, f4);
#if BITS == 64
CODE(popf_clear, "pushf\n f1: andl $~0x100, (%rsp)\n f2: popf\n f3: nop\n f4:" DONE);
CODE(popf_set, "pushf; orl $0x100, (%rsp); popf; nop\n g1: nop\n g2:" DONE "g3: g4:");
CODE(pushf_image, "pushf\n h1: pop %rbx\n h2:" DONE "h3: h4:");
#else
CODE(popf_clear, "pushf\n f1: andl $~0x100, (%esp)\n f2: popf\n f3: nop\n f4:" DONE);
CODE(popf_set, "pushf; orl $0x100, (%esp); popf; nop\n g1: nop\n g2:" DONE "g3: g4:");
CODE(pushf_image, "pushf\n h1: pop %ebx\n h2:" DONE "h3: h4:");
LABELS(ps1, ps2, ps3, ps4);
CODE(pop_ss, "push %ss\n ps1: pop %ss\n ps2: nop\n ps3: nop\n ps4:" DONE);
LABELS(in1, in2, in3, in4);
CODE(into_taken, "mov $0x7f, %al\n in1: inc %al\n in2: into\n in3: nop\n in4:" DONE);
LABELS(q1, q2, q3, q4);
CODE(into_not, "xor %eax, %eax\n q1: into\n q2: nop\n q3:" DONE "q4:");
#endif
LABELS(g1, g2, g3, g4);
LABELS(h1, h2, h3, h4);
LABELS(u1, u2, u3, u4);
CODE(faulting, "nop\n u1: ud2\n u2: nop\n u3: nop\n u4:" DONE);
LABELS(c1, c2, c3, c4);
CODE(callret, "nop\n c1: call c4\n c2: nop\n c3:" DONE "\n c4: ret");
LABELS(x1, x2, x3, x4);
CODE(cpuid_etc, "xor %eax, %eax\n x1: cpuid\n x2: rdtsc\n x3:" DONE "x4:");
LABELS(d1, d2, d3, d4);
CODE(sreg, "mov %ss, %eax\n d1: mov %eax, %es\n d2: nop\n d3:" DONE "d4:");
LABELS(t1, t2, t3, t4);
CODE(icebp, "nop\n t1: .byte 0xf1\n t2: nop\n t3: nop\n t4:" DONE);

/* At level 0: TF set by POPF and cleared at the end. */
#if BITS == 64
#define TF_ON  "pushf; orl $0x100, (%rsp); popf\n"
#define TF_OFF "pushf; andl $~0x100, (%rsp); popf; ret"
#else
#define TF_ON  "pushf; orl $0x100, (%esp); popf\n"
#define TF_OFF "pushf; andl $~0x100, (%esp); popf; ret"
#endif
LABELS(k1, k2, k3, k4);
CODE(hlt0, "cli\n" TF_ON "hlt\n k1: nop\n k2:" TF_OFF "\n k3: k4:");
LABELS(m1, m2, m3, m4);
CODE(sti0, "cli\n" TF_ON "sti\n m1: cli\n m2:" TF_OFF "\n m3: m4:");
LABELS(n1, n2, n3, n4);
CODE(movdr0, TF_ON "mov %esi, %esi\n n1: mov %cr0, %" /* a serializing one */
#if BITS == 64
                   "rax\n n2: mov %rax, %cr0"
#else
                   "eax\n n2: mov %eax, %cr0"
#endif
                   "\n n3:" TF_OFF "\n n4:");

static void user_code(void)
{
    static u8 text_a[8] = "abcdefg", text_b[8] = "abXdefg";

    STEP("plain instructions", plain, p1, p2, p4);
    STEP("MOV SS hides the trap after it", mov_ss, s1, s3, s4);
    /* two in a row: whether the second is shadowed too is the processor's affair (6.8.3) */
    count = 0;
    user.flags = FL_TF | 2;
    USER("MOV SS twice", mov_ss_twice, NONE, 0);
    user.flags = 2;
    CHECK("MOV SS twice: ends with a trap", steps[count - 1].ip, (ulong)ss4);
    STEP("LSS hides nothing", lss, l1, l2, l3);
    CHECK("LSS loads", (u32)trap.r.bx, 0x12345678);
    STEP("INT n", int_n, i1, i3, i4);
    STEP("INT3", int_3, b1, b3, b4);
    in.si = (ulong)text_a;
    in.di = (ulong)text_b;
    STEP("REPE CMPSB, differing at the third", repe, e1, e1, e1, e2, e3);
    in.si = (ulong)text_a;
    in.di = (ulong)text_b;
    STEP("REP MOVSB of three", rep3, r1, r1, r1, r2, r3);
    if (!on_qemu()) {
        CHECK("RF between its iterations", steps[1].flags & FL_RF, FL_RF);
        CHECK("RF between its iterations", steps[2].flags & FL_RF, FL_RF);
    }
    CHECK("no RF before it", steps[0].flags & FL_RF, 0);
    CHECK("no RF after the last", steps[3].flags & FL_RF, 0);
    STEP("REP MOVSB of none", rep0, z1, z2, z3);
    count = 0;
    user.flags = FL_TF | 2;
    USER("POPF that clears TF", popf_clear, NONE, 0);
    CHECK("POPF that clears TF: traps", count, 3);
    CHECK("POPF that clears TF: is trapped itself", steps[2].ip, (ulong)f3);
    CHECK("POPF that clears TF: pushed flags", steps[2].flags & FL_TF, 0);
    user.flags = 2;
    count = 0;
    USER("POPF that sets TF", popf_set, NONE, 0);
    const char *const want[] = {g1, g2};
    check_steps(__LINE__, "POPF that sets TF", want, 2);
    STEP("PUSHF", pushf_image, h1, h2);
    CHECK("pushes TF", trap.r.bx & FL_TF, FL_TF);
    STEP("a fault and the return from it", faulting, u1, u3, u4);
    STEP("CALL and RET", callret, c1, c4, c2, c3);
    STEP("CPUID, RDTSC", cpuid_etc, x1, x2, x3);
    STEP("MOV ES", sreg, d1, d2, d3);
#if BITS == 32
    STEP("POP SS hides the trap after it", pop_ss, ps1, ps3, ps4);
    STEP("INTO, taken", into_taken, in1, in2, in4);
    STEP("INTO, not taken", into_not, q1, q2, q3);
#endif
    count = 0;
    user.flags = FL_TF | 2;
    USER("INT1 under TF", icebp, NONE, 0);
    user.flags = 2;
    CHECK("INT1: number of traps", count, 4);
    CHECK("INT1: its #DB", steps[1].ip, (ulong)t2);
    CHECK("INT1: without BS", steps[1].dr6, 0xffff0ff0);
    CHECK("INT1: the next but one", steps[2].ip, (ulong)t3);
}

static void kernel_code(void)
{
    STEP0("HLT", hlt0);
    CHECK("HLT is ended by its own trap", steps[0].ip, (ulong)k1);
    CHECK("next", steps[1].ip, (ulong)k2);
    STEP0("STI", sti0);
    CHECK("STI does not hide debug traps", steps[0].ip, (ulong)m1);
    CHECK("next", steps[1].ip, (ulong)m2);
    STEP0("MOV CR0", movdr0);
    CHECK("before", steps[0].ip, (ulong)n1);
    CHECK("MOV from CR0", steps[1].ip, (ulong)n2);
    CHECK("MOV to CR0", steps[2].ip, (ulong)n3);
}

CODE(do_sysenter, "nop\n sysenter" DONE);
CODE(sysenter_entry, "nop\n nop" DONE);

/* SYSENTER leaves TF on: the trap comes at its target, and there DR6 says BS. */
static void sysenter(void)
{
    wrmsr(0x174, KCODE);
    wrmsr(0x175, (ulong)run_stack_top - 4096);
    wrmsr(0x176, (ulong)sysenter_entry);
    count = 0;
    user.flags = FL_TF | 2;
    USER("SYSENTER under TF", do_sysenter, NONE, 0);
    user.flags = 2;
    CHECK("first trap", steps[0].ip, (ulong)do_sysenter + 1);
    CHECK("trap at its target", steps[1].ip, (ulong)sysenter_entry);
    CHECK("at level 0", steps[1].cs, KCODE);
    CHECK("DR6 there", steps[1].dr6, 0xffff4ff0);
    CHECK("next trap", steps[2].ip, (ulong)sysenter_entry + 1);
}

#if BITS == 64
LABELS(y1, y2, y3, y4);
CODE(do_syscall, "nop\n y1: syscall\n y2: nop\n y3: nop\n y4:" DONE);
CODE(syscall_entry, "mov %r11, %rbx; nop; sysretq");
CODE(syscall_tf, "nop\n nop" DONE);

static void syscalls(void)
{
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
    wrmsr(0xc0000081, (u64)(UCODE32) << 48 | (u64)KCODE << 32);
    wrmsr(0xc0000082, (ulong)syscall_entry);
    wrmsr(0xc0000084, FL_TF | FL_IF);
    /* SYSRET's TF traps at once, as though the SYSCALL had been stepped over. */
    STEP("SYSCALL with TF masked, and SYSRET", do_syscall, y1, y2, y3, y4);
    CHECK("R11 has TF", trap.r.bx & FL_TF, FL_TF);
    wrmsr(0xc0000082, (ulong)syscall_tf);
    wrmsr(0xc0000084, 0);
    count = 0;
    user.flags = FL_TF | 2;
    USER("SYSCALL with TF not masked", do_syscall, NONE, 0);
    user.flags = 2;
    CHECK("trap at its target", steps[1].ip, (ulong)syscall_tf);
    CHECK("at level 0", steps[1].cs, KCODE);
}
#endif

void guest_main(void)
{
    trap_hook = hook;
    idt_set(VEC, KCODE, stub_table + 16 * VEC, 0xee, 0);
    user_code();
    kernel_code();
    sysenter();
#if BITS == 64
    syscalls();
#endif
}
