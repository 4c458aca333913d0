/* Interrupt windows: the shadows of STI and MOV SS, HLT and what wakes it, NMIs and their blocking until
 * IRET, priorities. SDM vol. 3, 6.7 and 6.8.
 *
 * Interrupts are self-IPIs: they are pending when the store to the APIC has been done.
 */
#include "sys.h"

enum { V1 = 0x41, V2 = 0x61 };

static struct {
    ulong vector, ip, flags;
} seen[16];
static unsigned count, nested_nmis, depth, max_depth;
static bool nmi_again;

static void note(struct frame *f)
{
    if (count < 16) {
        seen[count].vector = f->vector;
        seen[count].ip = f->ip;
        seen[count].flags = f->flags;
    }
    count++;
}

static void send_nmi(void)
{
    apic_write(0x310, 0);
    apic_write(0x300, 0x4400); /* NMI, to this one: physical, ID 0 */
}

static bool hook(struct frame *f)
{
    if (f->vector == NMI) {
        note(f);
        if (++depth > max_depth)
            max_depth = depth;
        if (nmi_again) {
            nmi_again = false;
            send_nmi();
            for (volatile int k = 0; k < 100; k++)
                ;
            nested_nmis = count; /* 1: the second has waited */
        }
        depth--;
        return true;
    }
    if (f->vector == UD) {
        f->ip += 2;
        return true;
    }
    if (f->vector == DB) {
        note(f);
        return true;
    }
    if (f->vector != V1 && f->vector != V2)
        return false;
    note(f);
    apic_write(0xb0, 0);
    return true;
}

static void self_ipi(unsigned vector)
{
    apic_write(0x300, 0x40000 | vector);
}

#define LABELS(a, b, c)                                                                            \
    LABEL(a);                                                                                      \
    LABEL(b);                                                                                      \
    LABEL(c)
LABELS(s1, s2, s3);
CODE(sti_nop, "sti\n s1: nop\n s2: nop\n s3: cli; ret");
LABELS(c1, c2, c3);
CODE(sti_cli, "sti\n c1: cli\n c2: nop\n c3: ret");
LABELS(t1, t2, t3);
CODE(sti_sti, "sti\n t1: sti\n t2: nop\n t3: cli; ret");
LABELS(m1, m2, m3);
CODE(sti_mov_ss, "mov %ss, %eax; sti\n m1: mov %eax, %ss\n m2: nop\n m3: nop; cli; ret");
LABELS(h1, h2, h3);
CODE(sti_hlt, "sti\n h1: hlt\n h2: cli; ret\n h3:");
LABELS(p1, p2, p3);
#if BITS == 64
CODE(popf_if, "pushf; orl $0x200, (%rsp); popf\n p1: nop\n p2: cli; ret\n p3:");
#else
CODE(popf_if, "pushf; orl $0x200, (%esp); popf\n p1: nop\n p2: cli; ret\n p3:");
LABELS(q1, q2, q3);
CODE(sti_pop_ss, "push %ss; sti\n q1: pop %ss\n q2: nop\n q3: nop; cli; ret");
#endif
LABELS(r1, r2, r3);
CODE(sti_ud, "sti\n r1: ud2\n r2: nop\n r3: cli; ret");
CODE(user_loop, "mov $1000, %ecx\n 1: dec %ecx; jnz 1b" DONE);
LABELS(d1, d2, d3);
LABELS(e1, e2, e3);
static volatile u32 watched __attribute__((aligned(4)));
#if BITS == 64
CODE(sti_tf,
     "pushf; orl $0x100, (%rsp); popf; sti\n d1: nop\n d2: pushf; andl $~0x100, (%rsp); popf;"
     "cli; ret\n d3:");
CODE(sti_store, "sti; movl $1, (%rsi)\n e1: nop\n e2: cli; ret\n e3:");
#else
CODE(sti_tf,
     "pushf; orl $0x100, (%esp); popf; sti\n d1: nop\n d2: pushf; andl $~0x100, (%esp); popf;"
     "cli; ret\n d3:");
CODE(sti_store, "sti; movl $1, (%esi)\n e1: nop\n e2: cli; ret\n e3:");
#endif
CODE(hlt_nmi, "cli; hlt\n hn1: ret");
LABEL(hn1);

static void window(int line, const char *what, const void *code, const char *at, unsigned hits)
{
    count = 0;
    cli();
    self_ipi(V1);
    run(code);
    expect_at_line(line, what, NONE, 0);
    check_at(line, what, count, hits);
    if (hits && count)
        check_at(line, what, seen[0].ip, (ulong)at);
    if (!hits) {
        sti();
        __asm__ volatile("nop; nop");
        cli();
        check_at(line, "it was pending", count, 1);
    }
}
#define WINDOW(what, code, at, hits) window(__LINE__, what, code, at, hits)

static void two_shadows(const char *what, const void *code, const char *at1, const char *at2)
{
    count = 0;
    cli();
    self_ipi(V1);
    run(code);
    EXPECT(what, NONE, 0);
    CHECK(what, count, 1);
    CHECK_TRUE(what, seen[0].ip == (ulong)at1 || seen[0].ip == (ulong)at2);
}

static void shadows(void)
{
    WINDOW("STI: one instruction later", sti_nop, s2, 1);
    WINDOW("STI, CLI: not at all", sti_cli, 0, 0);
    WINDOW("STI, STI: after the second", sti_sti, t2, 1);
    WINDOW("STI, HLT: wakes it", sti_hlt, h2, 1);
    WINDOW("POPF: at once", popf_if, p1, 1);
    /* Of several in a row only the first is sure to shadow (vol. 2, MOV). */
    two_shadows("STI, MOV SS", sti_mov_ss, m2, m3);
#if BITS == 32
    two_shadows("STI, POP SS", sti_pop_ss, q2, q3);
#endif
    /* the fault's handler returns with IF set: the interrupt comes then, or in the handler's wake */
    WINDOW("STI, fault", sti_ud, r2, 1);
    count = 0;
    self_ipi(V1);
    user.flags = FL_IF | 2;
    USER("IRET that sets IF", user_loop, NONE, 0);
    CHECK("count", count, 1);
    CHECK("before the first instruction", seen[0].ip, (ulong)user_loop);
    user.flags = 2;
    /* priorities: the higher vector first, and the lower one after its EOI and IRET */
    count = 0;
    cli();
    self_ipi(V1);
    self_ipi(V2);
    sti();
    __asm__ volatile("nop; nop; nop");
    cli();
    CHECK("two", count, 2);
    CHECK("first", seen[0].vector, V2);
    CHECK("second", seen[1].vector, V1);
    CHECK("from the same place", seen[1].ip, seen[0].ip);
    /* the same one sent twice is one */
    count = 0;
    self_ipi(V1);
    self_ipi(V1);
    sti();
    __asm__ volatile("nop; nop; nop");
    cli();
    CHECK("one request of two", count, 1);
    /* the task priority holds off */
    count = 0;
    apic_write(0x80, 0x50);
    self_ipi(V1);
    self_ipi(V2);
    sti();
    __asm__ volatile("nop; nop; nop");
    cli();
    CHECK("only above the task priority", count, 1);
    CHECK("that one", seen[0].vector, V2);
    CHECK("the other is in IRR", apic_read(0x200 + (V1 / 32) * 0x10) >> (V1 % 32) & 1, 1);
    apic_write(0x80, 0);
    sti();
    __asm__ volatile("nop; nop; nop");
    cli();
    CHECK("and comes when it falls", count, 2);
#if BITS == 64
    count = 0;
    __asm__ volatile("mov %0, %%cr8" ::"r"(6ul));
    self_ipi(V1);
    CHECK("TPR by CR8", apic_read(0x80), 0x60);
    sti();
    __asm__ volatile("nop; nop; nop");
    CHECK("held by CR8", count, 0);
    __asm__ volatile("mov %0, %%cr8; nop; nop" ::"r"(0ul));
    cli();
    CHECK("comes when CR8 falls", count, 1);
#endif
}

/* Debug traps come before interrupts (table 6-2), and the handler's IRET ends the shadow of STI. */
static void with_traps(void)
{
    count = 0;
    cli();
    self_ipi(V1);
    RUN("STI under TF with an interrupt pending", sti_tf, NONE, 0);
    CHECK("first the trap", seen[0].vector, DB);
    CHECK("after STI", seen[0].ip, (ulong)d1);
    CHECK("then the interrupt", seen[1].vector, V1);
    CHECK("at the same place", seen[1].ip, (ulong)d1);
    CHECK("with TF in its frame", seen[1].flags & FL_TF, FL_TF);
    CHECK("then the next trap", seen[2].vector, DB);
    CHECK("one instruction on", seen[2].ip, (ulong)d2);
    set_dr6(0xffff0ff0);
    /* a data breakpoint on the store that makes the interrupt pending */
    count = 0;
    set_dr0((ulong)&watched);
    set_dr7(0x400 | 2 | 0xd0000); /* 4 bytes, write */
    in.si = (ulong)&watched;
    self_ipi(V1);
    RUN("data breakpoint and interrupt at once", sti_store, NONE, 0);
    set_dr7(0x400);
    CHECK("first the trap", seen[0].vector, DB);
    CHECK("after the store", seen[0].ip, (ulong)e1);
    CHECK("then the interrupt", seen[1].vector, V1);
    CHECK("at the same place", seen[1].ip, (ulong)e1);
    set_dr6(0xffff0ff0);
}

static void nmis(void)
{
    count = 0;
    cli();
    send_nmi();
    __asm__ volatile("nop; nop; nop");
    CHECK("NMI with IF clear", count, 1);
    CHECK("vector", seen[0].vector, NMI);
    count = 0;
    max_depth = 0;
    nmi_again = true;
    send_nmi();
    __asm__ volatile("nop; nop; nop");
    CHECK("a second one while the first is handled waits", nested_nmis, 1);
    CHECK("and comes after IRET", count, 2);
    CHECK("not nested", max_depth, 1);
    count = 0;
    nmi_again = false;
    /* HLT with interrupts off is ended by an NMI: by an NMI that is pending when it begins, too */
    send_nmi();
    CHECK("NMI before HLT", count, 1);
    /* the PIT through the PIC's output, which LINT0 makes an NMI */
    count = 0;
    static const u8 init[][2] = {{0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 1}, {0x21, 0xfe}};
    for (unsigned k = 0; k < 5; k++)
        outb(init[k][0], init[k][1]);
    apic_write(0x350, 0x400);
    outb(0x43, 0x30); /* channel 0, one-shot */
    outb(0x40, 0xe8);
    outb(0x40, 0x03);
    RUN("HLT until the NMI", hlt_nmi, NONE, 0);
    CHECK("one", count, 1);
    CHECK("behind HLT", seen[0].ip, (ulong)hn1);
    CHECK("IF is clear there", seen[0].flags & FL_IF, 0);
    apic_write(0x350, 0x10000);
    pic_mask_all();
}

void guest_main(void)
{
    trap_hook = hook;
    apic_on();
    shadows();
    with_traps();
    nmis();
}
