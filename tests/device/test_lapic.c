/* Local APICs: priorities, messages between CPUs, timer, x2APIC, the 8259's path. */
#include "devices/lapic.h"
#include "tests/device/harness.h"

#define CPUS 3

struct cpu_side {
    int intr;
    unsigned nmis, inits, sipis;
    uint8_t sipi_vector;
};

struct board {
    struct harness *h;
    struct apic_bus *bus;
    struct lapic *l[CPUS];
    struct cpu_side cpu[CPUS];
    unsigned current;
};

static void set_intr(void *opaque, int level)
{
    ((struct cpu_side *)opaque)->intr = level;
}

static void nmi(void *opaque)
{
    ((struct cpu_side *)opaque)->nmis++;
}

static void init(void *opaque)
{
    ((struct cpu_side *)opaque)->inits++;
}

static void sipi(void *opaque, uint8_t vector)
{
    ((struct cpu_side *)opaque)->sipis++;
    ((struct cpu_side *)opaque)->sipi_vector = vector;
}

static int pic_ack(void *opaque)
{
    return 0x08;
}

static unsigned current_cpu(void *opaque)
{
    return ((struct board *)opaque)->current;
}

static void setup(struct board *t)
{
    memset(t, 0, sizeof(*t));
    t->h = harness_new(64 * KIB);
    t->bus = harness_alloc(t->h, &apic_bus_class, "apic-bus");
    t->bus->cfg.current_cpu = current_cpu;
    t->bus->cfg.opaque = t;
    t->bus->cfg.cpus = CPUS;
    for (unsigned i = 0; i < CPUS; i++) {
        t->l[i] = harness_alloc(t->h, &lapic_class, "lapic");
        t->l[i]->cfg = (struct lapic_cfg){
            .bus = t->bus, .id = i, .x2apic = true, .opaque = &t->cpu[i], .set_intr = set_intr,
            .nmi = nmi, .init = init, .sipi = sipi, .pic_ack = pic_ack};
        t->bus->cfg.lapic[i] = t->l[i];
    }
    harness_start(t->h, &t->bus->dev);
    for (unsigned i = 0; i < CPUS; i++)
        harness_start(t->h, &t->l[i]->dev);
}

static uint32_t rd(struct board *t, unsigned offset)
{
    return (uint32_t)physmap_read(t->h->board.mem, LAPIC_BASE + offset, 4);
}

static void wr(struct board *t, unsigned offset, uint32_t v)
{
    physmap_write(t->h->board.mem, LAPIC_BASE + offset, v, 4);
}

static void enable_all(struct board *t)
{
    for (t->current = 0; t->current < CPUS; t->current++)
        wr(t, 0xf0, 0x1ff);
    t->current = 0;
}

static void message(struct board *t, uint8_t vector, bool level)
{
    struct apic_msg m = {.dest = 0, .vector = vector, .level = level};
    apic_bus_deliver(t->bus, &m);
}

START_TEST(each_cpu_sees_its_own)
{
    struct board t;
    setup(&t);
    for (t.current = 0; t.current < CPUS; t.current++) {
        ck_assert_uint_eq(rd(&t, 0x20), t.current << 24);
        ck_assert_uint_eq(rd(&t, 0x30), 0x50014);
    }
    ck_assert_uint_eq(lapic_get_base(t.l[0]), 0xfee00900);
    ck_assert_uint_eq(lapic_get_base(t.l[1]), 0xfee00800);
    harness_free(t.h);
}
END_TEST

START_TEST(priorities)
{
    struct board t;
    setup(&t);
    message(&t, 0x41, false); /* software-disabled: refused */
    ck_assert_int_eq(t.cpu[0].intr, 0);
    enable_all(&t);
    message(&t, 0x41, false);
    message(&t, 0x61, false);
    ck_assert_int_eq(t.cpu[0].intr, 1);
    ck_assert_int_eq(lapic_get_interrupt(t.l[0]), 0x61);
    /* 41h waits behind class 6 in service, 72h does not. */
    ck_assert_int_eq(t.cpu[0].intr, 0);
    ck_assert_uint_eq(rd(&t, 0xa0), 0x60);
    message(&t, 0x6f, false);
    ck_assert_int_eq(lapic_get_interrupt(t.l[0]), -1);
    message(&t, 0x72, false);
    ck_assert_int_eq(lapic_get_interrupt(t.l[0]), 0x72);
    wr(&t, 0xb0, 0);
    wr(&t, 0xb0, 0);
    ck_assert_int_eq(lapic_get_interrupt(t.l[0]), 0x6f);
    wr(&t, 0xb0, 0);
    lapic_set_cr8(t.l[0], 4);
    ck_assert_int_eq(t.cpu[0].intr, 0);
    ck_assert_uint_eq(rd(&t, 0x80), 0x40);
    lapic_set_cr8(t.l[0], 3);
    ck_assert_int_eq(t.cpu[0].intr, 1);
    ck_assert_int_eq(lapic_get_interrupt(t.l[0]), 0x41);
    message(&t, 0x05, false);
    wr(&t, 0x280, 0);
    ck_assert_uint_eq(rd(&t, 0x280), 0x40);
    harness_free(t.h);
}
END_TEST

START_TEST(ipis)
{
    struct board t;
    setup(&t);
    enable_all(&t);
    /* INIT, SIPI to all but self, as firmware starts the others. */
    wr(&t, 0x300, 0xc4500);
    wr(&t, 0x300, 0xc4610);
    ck_assert_uint_eq(t.cpu[0].inits + t.cpu[0].sipis, 0);
    for (unsigned i = 1; i < CPUS; i++) {
        ck_assert_uint_eq(t.cpu[i].inits, 1);
        ck_assert_uint_eq(t.cpu[i].sipis, 1);
        ck_assert_uint_eq(t.cpu[i].sipi_vector, 0x10);
    }
    wr(&t, 0x310, 2u << 24); /* physical, fixed */
    wr(&t, 0x300, 0x40fb);
    ck_assert_int_eq(t.cpu[2].intr, 1);
    ck_assert_int_eq(t.cpu[1].intr, 0);
    ck_assert_int_eq(lapic_get_interrupt(t.l[2]), 0xfb);
    wr(&t, 0x300, 0x44021); /* self */
    ck_assert_int_eq(lapic_get_interrupt(t.l[0]), 0x21);
    wr(&t, 0x310, 1u << 24);
    wr(&t, 0x300, 0x4400); /* NMI */
    ck_assert_uint_eq(t.cpu[1].nmis, 1);
    /* Logical, flat model. */
    for (t.current = 0; t.current < CPUS; t.current++)
        wr(&t, 0xd0, 1u << (24 + t.current));
    t.current = 0;
    wr(&t, 0x310, 6u << 24);
    wr(&t, 0x300, 0x4832);
    ck_assert_int_eq(lapic_get_interrupt(t.l[1]), 0x32);
    ck_assert_int_eq(lapic_get_interrupt(t.l[2]), -1); /* fb is in service */
    ck_assert_uint_eq(t.l[2]->irr[1], 1u << 0x12);
    /* Lowest priority goes to the one that has least to do. */
    lapic_set_cr8(t.l[0], 15);
    wr(&t, 0x310, 7u << 24);
    wr(&t, 0x300, 0x4955);
    ck_assert_int_eq(t.cpu[0].intr, 0);
    ck_assert_int_eq(t.cpu[1].intr, 1);
    /* Cluster model: cluster 1, members 1 and 2. */
    for (t.current = 0; t.current < CPUS; t.current++) {
        wr(&t, 0xe0, 0x0fffffff);
        wr(&t, 0xd0, (0x10u | 1u << t.current) << 24);
    }
    struct apic_msg m = {.dest = 0x16, .logical = true, .vector = 0x77};
    ck_assert(!lapic_accepts(t.l[0], &m));
    ck_assert(lapic_accepts(t.l[1], &m) && lapic_accepts(t.l[2], &m));
    m.dest = 0x26;
    ck_assert(!lapic_accepts(t.l[1], &m));
    harness_free(t.h);
}
END_TEST

START_TEST(msi_addresses)
{
    struct board t;
    setup(&t);
    enable_all(&t);
    apic_bus_msi(t.bus, 0xfee02000, 0x0051);
    ck_assert_int_eq(lapic_get_interrupt(t.l[2]), 0x51);
    apic_bus_msi(t.bus, 0xfee01000, 0x0400);
    ck_assert_uint_eq(t.cpu[1].nmis, 1);
    apic_bus_msi(t.bus, 0x1000, 0x0051); /* elsewhere: nothing */
    ck_assert_int_eq(t.cpu[0].intr, 0);
    harness_free(t.h);
}
END_TEST

START_TEST(timer_modes)
{
    struct board t;
    setup(&t);
    enable_all(&t);
    wr(&t, 0x3e0, 0x3); /* by 16 */
    wr(&t, 0x320, 0x40); /* one-shot */
    wr(&t, 0x380, 1000);
    harness_run(t.h, 8000);
    ck_assert_uint_eq(rd(&t, 0x390), 500);
    ck_assert_int_eq(t.cpu[0].intr, 0);
    harness_run(t.h, 8000);
    ck_assert_uint_eq(rd(&t, 0x390), 0);
    ck_assert_int_eq(lapic_get_interrupt(t.l[0]), 0x40);
    wr(&t, 0xb0, 0);
    harness_run(t.h, 100000);
    ck_assert_int_eq(t.cpu[0].intr, 0);

    wr(&t, 0x320, 0x20041); /* periodic */
    wr(&t, 0x380, 1000);
    for (int i = 0; i < 3; i++) {
        harness_run(t.h, 16000);
        ck_assert_int_eq(lapic_get_interrupt(t.l[0]), 0x41);
        wr(&t, 0xb0, 0);
    }
    harness_run(t.h, 4000);
    ck_assert_uint_eq(rd(&t, 0x390), 750);
    wr(&t, 0x320, 0x30041); /* masked: it goes on counting */
    harness_run(t.h, 32000);
    ck_assert_int_eq(t.cpu[0].intr, 0);
    ck_assert_uint_eq(rd(&t, 0x390), 750);
    wr(&t, 0x320, 0x20041);
    harness_run(t.h, 12000);
    ck_assert_int_eq(lapic_get_interrupt(t.l[0]), 0x41);
    wr(&t, 0xb0, 0);

    wr(&t, 0x320, 0x40042); /* deadline */
    ck_assert_uint_eq(rd(&t, 0x390), 0);
    uint64_t now = clock_now(&t.h->clock);
    lapic_set_tsc_deadline(t.l[0], now + 500);
    ck_assert_uint_eq(lapic_get_tsc_deadline(t.l[0]), now + 500);
    harness_run(t.h, 499);
    ck_assert_int_eq(t.cpu[0].intr, 0);
    harness_run(t.h, 1);
    ck_assert_int_eq(lapic_get_interrupt(t.l[0]), 0x42);
    ck_assert_uint_eq(lapic_get_tsc_deadline(t.l[0]), 0);
    harness_free(t.h);
}
END_TEST

START_TEST(tiny_period_does_not_hang)
{
    struct board t;
    setup(&t);
    enable_all(&t);
    wr(&t, 0x3e0, 0xb);
    wr(&t, 0x320, 0x20041);
    wr(&t, 0x380, 1);
    harness_run(t.h, NS_PER_SEC / 10);
    ck_assert_int_eq(t.cpu[0].intr, 1);
    harness_free(t.h);
}
END_TEST

START_TEST(pic_and_nmi_pins)
{
    struct board t;
    setup(&t);
    /* Fresh from reset the 8259 reaches the boot processor. */
    lapic_set_lint(t.l[0], 0, 1);
    ck_assert_int_eq(t.cpu[0].intr, 1);
    ck_assert_int_eq(lapic_get_interrupt(t.l[0]), 8);
    lapic_set_lint(t.l[0], 0, 0);
    ck_assert_int_eq(t.cpu[0].intr, 0);
    enable_all(&t);
    wr(&t, 0x350, 0x10700); /* masked */
    lapic_set_lint(t.l[0], 0, 1);
    ck_assert_int_eq(t.cpu[0].intr, 0);
    wr(&t, 0x350, 0x700);
    ck_assert_int_eq(t.cpu[0].intr, 1);
    wr(&t, 0x360, 0x400);
    lapic_set_lint(t.l[0], 1, 1);
    lapic_set_lint(t.l[0], 1, 1);
    ck_assert_uint_eq(t.cpu[0].nmis, 1);
    /* Turned off altogether: the pins go straight through. */
    ck_assert(lapic_set_base(t.l[0], LAPIC_BASE | LAPIC_BASE_BSP));
    ck_assert_int_eq(t.cpu[0].intr, 1);
    ck_assert_uint_eq(rd(&t, 0x30), 0xffffffff);
    harness_free(t.h);
}
END_TEST

START_TEST(x2apic)
{
    struct board t;
    uint64_t v;
    setup(&t);
    struct lapic *l = t.l[1];
    ck_assert(!lapic_read_msr(l, 0x802, &v)); /* not in that mode */
    ck_assert(!lapic_set_base(l, LAPIC_BASE | LAPIC_BASE_EXTD));
    ck_assert(!lapic_set_base(l, LAPIC_BASE | LAPIC_BASE_ENABLE | 1));
    ck_assert(lapic_set_base(l, LAPIC_BASE | LAPIC_BASE_ENABLE | LAPIC_BASE_EXTD));
    ck_assert(!lapic_set_base(l, LAPIC_BASE | LAPIC_BASE_ENABLE)); /* not back directly */
    ck_assert(lapic_read_msr(l, 0x802, &v) && v == 1);
    ck_assert(lapic_read_msr(l, 0x80d, &v) && v == 2);
    ck_assert(!lapic_read_msr(l, 0x80b, &v));
    ck_assert(!lapic_write_msr(l, 0x802, 5));
    ck_assert(!lapic_write_msr(l, 0x808, 0x100));
    ck_assert(!lapic_write_msr(l, 0x80b, 1));
    ck_assert(lapic_write_msr(l, 0x80f, 0x1ff));
    ck_assert(lapic_write_msr(l, 0x83f, 0x99)); /* self IPI */
    ck_assert_int_eq(lapic_get_interrupt(l), 0x99);
    ck_assert(lapic_write_msr(l, 0x80b, 0));
    ck_assert(lapic_write_msr(l, 0x830, 1ull << 32 | 0x88));
    ck_assert(lapic_read_msr(l, 0x830, &v) && v == (1ull << 32 | 0x88));
    ck_assert_int_eq(lapic_get_interrupt(l), 0x88);
    ck_assert(lapic_write_msr(l, 0x830, 2ull << 32 | 0x8a8)); /* logical, cluster 0 */
    ck_assert_int_eq(lapic_get_interrupt(l), 0xa8);
    ck_assert_uint_eq((t.current = 1, rd(&t, 0x30)), 0xffffffff);
    harness_free(t.h);
}
END_TEST

START_TEST(state_survives)
{
    struct board t;
    setup(&t);
    enable_all(&t);
    message(&t, 0x41, false);
    uint64_t h = vmstate_hash(lapic_class.vmstate, t.l[0], 0);
    ck_assert_uint_eq(vmstate_hash(lapic_class.vmstate, t.l[0], 0), h);
    message(&t, 0x42, false);
    ck_assert_uint_ne(vmstate_hash(lapic_class.vmstate, t.l[0], 0), h);
    harness_reset(t.h, RESET_HARD);
    ck_assert_int_eq(t.cpu[0].intr, 0);
    ck_assert_uint_eq(rd(&t, 0xf0), 0xff);
    harness_free(t.h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        each_cpu_sees_its_own, priorities, ipis, msi_addresses, timer_modes,
        tiny_period_does_not_hang, pic_and_nmi_pins, x2apic, state_survives,
    };
    return harness_main("lapic", tests, ARRAY_LEN(tests));
}
