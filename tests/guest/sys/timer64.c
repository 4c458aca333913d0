/* The local APIC of one processor: the timer's modes, TSC deadline, self-IPIs, task priority and error
 * status, the spurious vector, x2APIC. SDM vol. 3, chapter 10.
 *
 * The clocks' rates are not assumed: the timer is measured against the TSC and itself.
 */
#include "sys.h"

enum {
    ID = 0x20,
    VERSION = 0x30,
    TPR = 0x80,
    PPR = 0xa0,
    EOI = 0xb0,
    LDR = 0xd0,
    DFR = 0xe0,
    SVR = 0xf0,
    ISR = 0x100,
    TMR = 0x180,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR_HI = 0x310,
    LVT_TIMER = 0x320,
    LVT_LINT1 = 0x360,
    INITIAL = 0x380,
    CURRENT = 0x390,
    DIVIDE = 0x3e0
};
enum { VEC = 0x51, MASKED = 0x10000, PERIODIC = 0x20000, DEADLINE = 0x40000 };
#define MSR_DEADLINE 0x6e0
#define MSR_X2       0x800

static volatile unsigned count, spurious;
static volatile u64 last_tsc;
static bool no_eoi;

static bool hook(struct frame *f)
{
    if (f->vector == 0x3f) {
        spurious++;
        return true;
    }
    if (f->vector < 0x40)
        return false;
    last_tsc = rdtsc();
    count++;
    if (!no_eoi)
        apic_write(EOI, 0);
    return true;
}

static void wait_tsc(u64 ticks)
{
    u64 end = rdtsc() + ticks;

    while (rdtsc() < end)
        __asm__ volatile("pause");
}

/* With interrupts on until the count or a long time has been reached. */
static void until(unsigned n)
{
    u64 end = rdtsc() + 400000000;

    sti();
    while (count < n && rdtsc() < end)
        __asm__ volatile("pause");
    cli();
}

static bool bit_of(u32 reg, unsigned vector)
{
    return apic_read(reg + vector / 32 * 16) >> (vector % 32) & 1;
}

static void one_shot(void)
{
    apic_write(DIVIDE, 11); /* by 1 */
    apic_write(LVT_TIMER, VEC);
    count = 0;
    apic_write(INITIAL, 200000);
    u32 a = apic_read(CURRENT), b = apic_read(CURRENT);
    CHECK_TRUE("counts down", a <= 200000 && b <= a && a);
    until(1);
    CHECK("fires", count, 1);
    CHECK("and stays at 0", apic_read(CURRENT), 0);
    CHECK("initial count stays", apic_read(INITIAL), 200000);
    wait_tsc(2000000);
    sti();
    wait_tsc(1000000);
    cli();
    CHECK("once", count, 1);
    apic_write(INITIAL, 100000);
    apic_write(INITIAL, 0);
    CHECK("0 stops it", apic_read(CURRENT), 0);
    sti();
    wait_tsc(1000000);
    cli();
    CHECK("for good", count, 1);
    apic_write(LVT_TIMER, VEC | MASKED);
    apic_write(INITIAL, 1000);
    wait_tsc(1000000);
    CHECK("masked: runs down", apic_read(CURRENT), 0);
    CHECK("masked: nothing requested", bit_of(IRR, VEC), 0);
    apic_write(LVT_TIMER, VEC);
    wait_tsc(100000);
    CHECK("and not later", bit_of(IRR, VEC), 0);

    /* each divisor is half as fast as the one before */
    static const u8 codes[] = {11, 0, 1, 2, 3, 8, 9, 10};
    u64 first = 0;
    for (unsigned k = 0; k < 8; k++) {
        apic_write(DIVIDE, codes[k]);
        CHECK("divide configuration reads back", apic_read(DIVIDE), codes[k]);
        count = 0;
        u64 start = rdtsc();
        apic_write(INITIAL, 40000);
        until(1);
        u64 took = (last_tsc - start) >> k;
        if (!k)
            first = took;
        CHECK_TRUE("divided", took > first / 2 && took < first * 2);
    }
    apic_write(DIVIDE, 11);
    /* HLT waits for it */
    count = 0;
    apic_write(INITIAL, 100000);
    __asm__ volatile("sti; hlt; cli");
    CHECK("HLT until the timer", count, 1);
}

static void periodic(void)
{
    apic_write(LVT_TIMER, VEC | PERIODIC);
    count = 0;
    u64 start = rdtsc();
    apic_write(INITIAL, 100000);
    until(8);
    u64 eight = last_tsc - start;
    CHECK("periodic", count, 8);
    count = 0;
    start = rdtsc();
    apic_write(INITIAL, 200000);
    until(8);
    u64 twice = last_tsc - start;
    CHECK("periodic with another count", count, 8);
    CHECK_TRUE("takes twice as long", twice > eight * 3 / 2 && twice < eight * 5 / 2);
    u32 c = apic_read(CURRENT);
    CHECK_TRUE("reloads", c > 0 && c <= 200000);
    apic_write(LVT_TIMER, VEC); /* one-shot: the running count ends it */
    count = 0;
    until(1);
    sti();
    wait_tsc(2000000);
    cli();
    CHECK("back to one-shot: once more", count, 1);
    apic_write(INITIAL, 0);
}

static void deadline(void)
{
    if (!HAS_TSCDL) {
        skip("TSC deadline");
        return;
    }
    apic_write(LVT_TIMER, VEC);
    wrmsr(MSR_DEADLINE, rdtsc() + 100000);
    CHECK("ignored in another mode", rdmsr(MSR_DEADLINE), 0);
    apic_write(LVT_TIMER, VEC | DEADLINE);
    __asm__ volatile("mfence");
    apic_write(INITIAL, 1000);
    CHECK("the initial count is ignored", apic_read(CURRENT), 0);
    count = 0;
    u64 t = rdtsc() + 200000;
    wrmsr(MSR_DEADLINE, t);
    CHECK("reads back", rdmsr(MSR_DEADLINE), t);
    until(1);
    CHECK("fires", count, 1);
    CHECK_TRUE("not early", last_tsc >= t);
    CHECK_TRUE("not late", last_tsc < t + 2000000);
    CHECK("disarmed", rdmsr(MSR_DEADLINE), 0);
    count = 0;
    wrmsr(MSR_DEADLINE, rdtsc() - 1000);
    until(1);
    CHECK("in the past: at once", count, 1);
    count = 0;
    wrmsr(MSR_DEADLINE, rdtsc() + 300000);
    wrmsr(MSR_DEADLINE, 0);
    sti();
    wait_tsc(1000000);
    cli();
    CHECK("0 disarms", count, 0);
    wrmsr(MSR_DEADLINE, rdtsc() + 300000);
    apic_write(LVT_TIMER, VEC);
    sti();
    wait_tsc(1000000);
    cli();
    CHECK("leaving the mode disarms", count, 0);
    apic_write(LVT_TIMER, VEC | DEADLINE);
    CHECK("and coming back finds 0", rdmsr(MSR_DEADLINE), 0);
    count = 0;
    t = rdtsc() + 500000;
    wrmsr(MSR_DEADLINE, t);
    __asm__ volatile("sti; hlt; cli");
    CHECK("HLT until the deadline", count, 1);
    /* a written TSC counts against the deadline */
    count = 0;
    wrmsr(MSR_DEADLINE, rdtsc() + 1000000000000);
    wrmsr(0x10, rdtsc() + 2000000000000);
    if (!on_qemu()) {
        until(1);
        CHECK("writing the TSC beyond the deadline", count, 1);
    }
    wrmsr(MSR_DEADLINE, 0);
    apic_write(LVT_TIMER, VEC | MASKED);
}

static void registers(void)
{
    count = 0;
    no_eoi = true;
    apic_write(ICR, 0x40000 | 0x61);
    CHECK("self-IPI is in IRR", bit_of(IRR, 0x61), 1);
    CHECK("not in ISR", bit_of(ISR, 0x61), 0);
    CHECK("edge: not in TMR", bit_of(TMR, 0x61), 0);
    sti();
    __asm__ volatile("nop; nop");
    cli();
    CHECK("delivered", count, 1);
    CHECK("in ISR until EOI", bit_of(ISR, 0x61), 1);
    CHECK("not in IRR", bit_of(IRR, 0x61), 0);
    CHECK("processor priority", apic_read(PPR), 0x60);
    apic_write(ICR, 0x40000 | 0x6f); /* same class: waits */
    sti();
    __asm__ volatile("nop; nop");
    cli();
    CHECK("same class waits", count, 1);
    apic_write(ICR, 0x40000 | 0x71);
    sti();
    __asm__ volatile("nop; nop");
    cli();
    CHECK("higher class does not", count, 2);
    no_eoi = false;
    apic_write(EOI, 0);
    CHECK("EOI ends the highest", bit_of(ISR, 0x71), 0);
    CHECK("the lower stays", bit_of(ISR, 0x61), 1);
    apic_write(EOI, 0);
    sti();
    __asm__ volatile("nop; nop");
    cli();
    CHECK("then the waiting one", count, 3);

    apic_write(TPR, 0xff);
    CHECK("TPR", apic_read(TPR), 0xff);
    CHECK("PPR follows", apic_read(PPR), 0xff);
    apic_write(TPR, 0);
    apic_write(ESR, 0);
    apic_write(ESR, 0);
    CHECK("no errors", apic_read(ESR), 0);
    if (!on_qemu()) {
        apic_write(ICR, 0x40000 | 0x0f); /* vectors 0 to 15 are illegal */
        apic_write(ESR, 0);
        CHECK("send illegal vector", apic_read(ESR) & 0x20, 0x20);
        apic_write(ESR, 0);
        CHECK("ESR is cleared by writing", apic_read(ESR), 0);
    }
    apic_write(LVT_LINT1, 0xffffffff & ~0x5000u);
    CHECK("LINT1's bits", apic_read(LVT_LINT1), 0x1a7ff);
    apic_write(LVT_LINT1, MASKED);
    CHECK("version", apic_read(VERSION) & 0xff, apic_read(VERSION) & 0x1f);
    /* software disable masks the LVT and keeps it so */
    apic_write(LVT_TIMER, VEC);
    apic_write(SVR, 0x3f);
    CHECK("disabled: LVT masked", apic_read(LVT_TIMER) & MASKED, MASKED);
    apic_write(LVT_TIMER, VEC);
    CHECK("cannot be unmasked", apic_read(LVT_TIMER) & MASKED, MASKED);
    apic_write(SVR, 0x100 | VEC_SPUR);
    CHECK("enabling leaves it masked", apic_read(LVT_TIMER) & MASKED, MASKED);
}

CODE(rd_x2, "rdmsr; ret");
CODE(wr_x2, "wrmsr; ret");

static void x2apic(void)
{
    if (!has(1, 2, 21)) {
        skip("x2APIC");
        return;
    }
    in.cx = MSR_X2 + 2;
    RUN("x2APIC MSR in xAPIC mode", rd_x2, GP, 0);
    u64 base = rdmsr(0x1b);
    in.cx = 0x1b;
    in.ax = ((u32)base & ~0x800u) | 0x400;
    in.dx = base >> 32;
    RUN("EXTD without EN", wr_x2, GP, 0);
    wrmsr(0x1b, base | 0x400);
    u32 id = (u32)rdmsr(MSR_X2 + 2);
    CHECK("x2APIC ID", id, 0);
    CHECK("version", rdmsr(MSR_X2 + 3) & 0xff, rdmsr(MSR_X2 + 3) & 0x1f);
    CHECK("logical ID", rdmsr(MSR_X2 + 0xd), 1u << (id & 15) | id >> 4 << 16);
    in.cx = MSR_X2 + 0xd;
    in.ax = in.dx = 0;
    RUN("LDR is read-only", wr_x2, GP, 0);
    in.cx = MSR_X2 + 0xe;
    RUN("no DFR", rd_x2, GP, 0);
    in.cx = MSR_X2 + 0x31;
    RUN("no upper ICR", rd_x2, GP, 0);
    in.cx = MSR_X2 + 0x0b;
    in.ax = 1;
    RUN("EOI other than 0", wr_x2, GP, 0);
    RUN("EOI cannot be read", rd_x2, GP, 0);
    in.cx = MSR_X2 + 8;
    in.ax = 0x100;
    RUN("reserved bits of TPR", wr_x2, GP, 0);
    in.cx = MSR_X2 + 0x3f;
    RUN("SELF IPI cannot be read", rd_x2, GP, 0);
    count = 0;
    no_eoi = true;
    wrmsr(MSR_X2 + 0x3f, 0x66);
    sti();
    __asm__ volatile("nop; nop");
    cli();
    CHECK("SELF IPI", count, 1);
    wrmsr(MSR_X2 + 0x0b, 0);
    wrmsr(MSR_X2 + 0x30, 0x67); /* one ICR of 64 bits, to ID 0 */
    sti();
    __asm__ volatile("nop; nop");
    cli();
    CHECK("ICR", count, 2);
    wrmsr(MSR_X2 + 0x0b, 0);
    in.cx = 0x1b;
    in.ax = (u32)base | 0x800;
    in.dx = base >> 32;
    RUN("back to xAPIC directly", wr_x2, GP, 0);
    wrmsr(0x1b, base & ~0x800ull);
    CHECK("CPUID's APIC bit goes with EN", has(1, 3, 9), 0);
    wrmsr(0x1b, base);
    CHECK("and comes back", has(1, 3, 9), 1);
}

void guest_main(void)
{
    trap_hook = hook;
    apic_on();
    one_shot();
    periodic();
    deadline();
    registers();
    x2apic();
}
