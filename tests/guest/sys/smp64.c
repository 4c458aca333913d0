/* Several processors: INIT and SIPI, what state they bring, IPIs by every addressing, NMI to another,
 * HLT and its wake, and page table changes seen after a shootdown. SDM vol. 3, 8.4 and 10.6.
 */
#include "sys.h"

enum { VEC = 0x51 };
#define AP_PAGE 0x8000

static volatile unsigned got[MAX_CPUS], nmi_got[MAX_CPUS], halts[MAX_CPUS];
static volatile u32 apic_ids[MAX_CPUS], total;
static unsigned n;

static bool hook(struct frame *f)
{
    unsigned me = cpu_index();

    if (f->vector == NMI) {
        nmi_got[me]++;
        return true;
    }
    if (f->vector != VEC)
        return false;
    got[me]++;
    apic_write(0xb0, 0);
    return true;
}

static void ap_sti(void)
{
    apic_write(0x80, 0);
    apic_write(0xe0, 0xffffffff);
    apic_write(0xd0, 1u << (24 + cpu_index())); /* logical ID, flat */
    apic_ids[cpu_index()]++;
    __atomic_fetch_add(&total, 1, __ATOMIC_SEQ_CST);
    sti();
}

static void ap_halt(void)
{
    halts[cpu_index()]++;
    __asm__ volatile("sti; hlt");
    halts[cpu_index()]++;
}

static void wait_for(volatile unsigned *v, unsigned want)
{
    for (u32 k = 0; *v < want && k < 20000000; k++)
        __asm__ volatile("pause");
}

static void settle(void)
{
    u64 end = rdtsc() + 3000000;

    while (rdtsc() < end)
        __asm__ volatile("pause");
}

static void icr(u32 dest, u32 low)
{
    while (apic_read(0x300) & 0x1000)
        __asm__ volatile("pause");
    apic_write(0x310, dest << 24);
    apic_write(0x300, low);
}

static void reset_counts(void)
{
    for (unsigned k = 0; k < MAX_CPUS; k++)
        got[k] = nmi_got[k] = 0;
}

static void expect_got(const char *what, unsigned mask)
{
    sti();
    for (unsigned k = 0; k < n; k++) {
        if (mask >> k & 1)
            wait_for(&got[k], 1);
    }
    settle();
    cli();
    for (unsigned k = 0; k < n; k++)
        CHECK(what, got[k], mask >> k & 1);
    reset_counts();
}

static void ipis(void)
{
    for (unsigned k = 0; k < n; k++) {
        icr(k, VEC);
        expect_got("physical, one", 1u << k);
    }
    icr(0, 0x40000 | VEC);
    expect_got("self", 1);
    icr(0, 0x80000 | VEC);
    expect_got("all", (1u << n) - 1);
    icr(0, 0xc0000 | VEC);
    expect_got("all others", (1u << n) - 2);
    icr(0xff, VEC);
    expect_got("physical broadcast", (1u << n) - 1);
    icr(0x0a, 0x800 | VEC);
    expect_got("logical, flat", 0x0a & ((1u << n) - 1));
    icr(0x05, 0x800 | VEC);
    expect_got("logical, flat, self too", 0x05 & ((1u << n) - 1));
    icr(0x06, 0x900 | VEC); /* lowest priority: one of them */
    wait_for(&got[1], 1);
    settle();
    CHECK("lowest priority: just one", got[1] + got[2], 1);
    reset_counts();
    icr(1, 0x400);
    wait_for(&nmi_got[1], 1);
    CHECK("NMI to another", nmi_got[1], 1);
    icr(0, 0xc0400);
    for (unsigned k = 1; k < n; k++)
        wait_for(&nmi_got[k], k == 1 ? 2 : 1);
    for (unsigned k = 1; k < n; k++)
        CHECK("NMI to all others", nmi_got[k], k == 1 ? 2 : 1);
    CHECK("not to self", nmi_got[0], 0);
    icr(7, VEC);
    expect_got("nobody's ID", 0);
}

/* The number of a processor is its order of arrival; tests address them by APIC ID. */
static unsigned worker_of[MAX_CPUS];
static volatile unsigned who;

static void tell(void)
{
    who = cpu_index();
}

static void halting(void)
{
    reset_counts();
    cpu_do(worker_of[1], ap_halt);
    wait_for(&halts[1], 1);
    settle();
    CHECK("halted", halts[1], 1);
    icr(1, VEC);
    cpu_wait(worker_of[1]);
    CHECK("woken by an IPI", halts[1], 2);
    CHECK("after its handler", got[1], 1);
    cpu_do(worker_of[1], ap_halt);
    wait_for(&halts[1], 3);
    settle();
    icr(1, 0x400);
    cpu_wait(worker_of[1]);
    CHECK("woken by an NMI", halts[1], 4);
}

/* ---- TLB shootdown ----------------------------------------------------------------------------- */

#define VA 0x8000000000ul
static volatile u64 seen_value;

static void ap_read(void)
{
    seen_value = *(volatile u64 *)VA;
}
static void ap_invlpg(void)
{
    invlpg(VA);
    seen_value = *(volatile u64 *)VA;
}

static void shootdown(void)
{
    u64 *a = page_alloc(), *b = page_alloc();

    *a = 1;
    *b = 2;
    page_root = get_cr3(); /* all processors share it */
    paging_levels = 4;
    pte_set(VA, (ulong)a | P | W);
    cpu_do(worker_of[1], ap_read);
    cpu_wait(worker_of[1]);
    CHECK("the other sees the page", seen_value, 1);
    CHECK("and sets A in it", pte_get(VA) & A, A);
    pte_set(VA, (ulong)b | P | W);
    cpu_do(worker_of[1], ap_invlpg);
    cpu_wait(worker_of[1]);
    CHECK("after INVLPG there: the new one", seen_value, 2);
}

/* ---- INIT and SIPI ----------------------------------------------------------------------------- */

/* Real-mode code that tells the state it was started with. */
extern char sipi_code[], sipi_end[];
__asm__(
    ".pushsection .text\n.code16\n"
    "sipi_code:\n"
    " pushf; pop %cx\n mov %ax, %cs:0x80\n mov %ds, %ax; mov %ax, %cs:0x82\n" /* through CS: DS is 0 */
    " xor %ax, %ax; mov %ax, %ds\n"
    " mov %cs, %ax; mov %ax, 0x9084\n call 1f\n1: pop %ax; mov %ax, 0x9086\n"
    " mov %edx, 0x9088\n smsw %ax; mov %ax, 0x908c\n mov %cx, 0x908e\n"
    " mov %ss, %ax; mov %ax, 0x9090\n mov %cr0, %eax; mov %eax, 0x9094\n"
    " lock; incl 0x909c\n"
    "2: hlt; jmp 2b\n"
    "sipi_end:\n.code64\n.popsection");

static void init_sipi(void)
{
    volatile u8 *base = (u8 *)0x9000;

    memcpy((void *)base, sipi_code, (size_t)(sipi_end - sipi_code));
    memset((void *)(base + 0x80), 0, 0x20);
    icr(1, 0x4609); /* SIPI to one that runs: ignored */
    settle();
    CHECK("SIPI without INIT is ignored", *(volatile u32 *)(base + 0x9c), 0);
    icr(1, 0x4500); /* INIT */
    settle();
    u32 before = got[1];
    icr(1, VEC);
    icr(1, 0x400);
    settle();
    CHECK("waiting for SIPI: no interrupts", got[1], before);
    icr(1, 0x4609);
    wait_for((volatile unsigned *)(base + 0x9c), 1);
    settle();
    CHECK("started", *(volatile u32 *)(base + 0x9c), 1);
    CHECK("AX", *(volatile u16 *)(base + 0x80), 0);
    CHECK("DS", *(volatile u16 *)(base + 0x82), 0);
    CHECK("CS", *(volatile u16 *)(base + 0x84), 0x900);
    CHECK("PE", *(volatile u16 *)(base + 0x8c) & 1, 0);
    CHECK("flags", *(volatile u16 *)(base + 0x8e), 2);
    CHECK("SS", *(volatile u16 *)(base + 0x90), 0);
    CHECK("CR0 but CD and NW", *(volatile u32 *)(base + 0x94) & 0x9fffffff, 0x10);
    u32 r[4];
    cpuid(1, 0, r);
    CHECK("EDX is the signature", *(volatile u32 *)(base + 0x88) & 0xffffff0, r[0] & 0xffffff0);
    icr(1, 0x4609);
    settle();
    CHECK("second SIPI is ignored", *(volatile u32 *)(base + 0x9c), 1);
}

void guest_main(void)
{
    trap_hook = hook;
    n = cpus_start();
    settle();
    n = cpus_started;
    CHECK("processors", n, 4);
    if (n < 4)
        return;
    for (unsigned k = 1; k < n; k++) {
        cpu_do(k, tell);
        cpu_wait(k);
        worker_of[who] = k;
    }
    CHECK("BSP in its APIC base", rdmsr(0x1b) >> 8 & 1, 1);
    for (unsigned k = 1; k < n; k++) {
        cpu_do(k, ap_sti);
        cpu_wait(k);
    }
    ap_sti();
    cli();
    for (unsigned k = 0; k < n; k++)
        CHECK("each ID once", apic_ids[k], 1);
    CHECK("LOCK XADD counted them", total, n);
    ipis();
    halting();
    shootdown();
    init_sipi();
}
