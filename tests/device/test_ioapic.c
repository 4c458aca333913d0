/* The I/O APIC with one local APIC behind it. */
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "tests/device/harness.h"

struct board {
    struct harness *h;
    struct apic_bus *bus;
    struct lapic *l;
    struct ioapic *io;
};

static void setup(struct board *t)
{
    t->h = harness_new(64 * KIB);
    t->bus = harness_alloc(t->h, &apic_bus_class, "apic-bus");
    t->l = harness_alloc(t->h, &lapic_class, "lapic");
    t->io = harness_alloc(t->h, &ioapic_class, "ioapic");
    t->bus->cfg = (struct apic_bus_cfg){.cpus = 1, .lapic = {t->l}, .ioapic = t->io};
    t->l->cfg.bus = t->io->cfg.bus = t->bus;
    harness_start(t->h, &t->bus->dev);
    harness_start(t->h, &t->l->dev);
    harness_start(t->h, &t->io->dev);
    lapic_mmio_write(t->l, 0xf0, 0x1ff);
}

static uint32_t rd(struct board *t, unsigned reg)
{
    physmap_write(t->h->board.mem, IOAPIC_BASE, reg, 4);
    return (uint32_t)physmap_read(t->h->board.mem, IOAPIC_BASE + 0x10, 4);
}

static void wr(struct board *t, unsigned reg, uint32_t v)
{
    physmap_write(t->h->board.mem, IOAPIC_BASE, reg, 4);
    physmap_write(t->h->board.mem, IOAPIC_BASE + 0x10, v, 4);
}

START_TEST(registers)
{
    struct board t;
    setup(&t);
    ck_assert_uint_eq(rd(&t, 1), 0x00170020);
    ck_assert_uint_eq(rd(&t, 0x10), 0x10000);
    wr(&t, 0, 0x0f000000);
    ck_assert_uint_eq(rd(&t, 0), 0x0f000000);
    wr(&t, 0x12, 0xffffffff);
    ck_assert_uint_eq(rd(&t, 0x12), 0x1afff); /* status and remote IRR are not ours to set */
    wr(&t, 0x13, 0xffffffff);
    ck_assert_uint_eq(rd(&t, 0x13), 0xff000000);
    ck_assert_uint_eq(rd(&t, 0x40), 0);
    harness_free(t.h);
}
END_TEST

START_TEST(edges)
{
    struct board t;
    setup(&t);
    ioapic_set_pin(t.io, 4, 1); /* masked: lost */
    ioapic_set_pin(t.io, 4, 0);
    wr(&t, 0x18, 0x34);
    ck_assert_int_eq(lapic_get_interrupt(t.l), -1);
    ioapic_set_pin(t.io, 4, 1);
    ioapic_set_pin(t.io, 4, 1);
    ck_assert_int_eq(lapic_get_interrupt(t.l), 0x34);
    lapic_mmio_write(t.l, 0xb0, 0);
    ck_assert_int_eq(lapic_get_interrupt(t.l), -1);
    ioapic_set_pin(t.io, 24, 1); /* no such pin */
    harness_free(t.h);
}
END_TEST

START_TEST(levels)
{
    struct board t;
    setup(&t);
    ioapic_set_pin(t.io, 17, 1);
    wr(&t, 0x32, 0xa050); /* unmasking finds the standing level; active low means nothing here */
    ck_assert_int_eq(lapic_get_interrupt(t.l), 0x50);
    ck_assert_uint_eq(rd(&t, 0x32), 0xe050);
    ck_assert_int_eq(lapic_get_interrupt(t.l), -1);
    lapic_mmio_write(t.l, 0xb0, 0); /* still asserted: again */
    ck_assert_int_eq(lapic_get_interrupt(t.l), 0x50);
    ioapic_set_pin(t.io, 17, 0);
    lapic_mmio_write(t.l, 0xb0, 0);
    ck_assert_int_eq(lapic_get_interrupt(t.l), -1);
    ck_assert_uint_eq(rd(&t, 0x32), 0xa050);
    /* The EOI register of version 20h. */
    ioapic_set_pin(t.io, 17, 1);
    ck_assert_int_eq(lapic_get_interrupt(t.l), 0x50);
    ioapic_set_pin(t.io, 17, 0);
    physmap_write(t.h->board.mem, IOAPIC_BASE + 0x40, 0x50, 4);
    ck_assert_uint_eq(rd(&t, 0x32), 0xa050);
    /* Masked and made an edge entry: remote IRR goes. */
    lapic_mmio_write(t.l, 0xb0, 0);
    ioapic_set_pin(t.io, 17, 1);
    ck_assert_uint_eq(rd(&t, 0x32) & 0x4000, 0x4000);
    wr(&t, 0x32, 0x12050);
    ck_assert_uint_eq(rd(&t, 0x32) & 0x4000, 0);
    harness_free(t.h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {registers, edges, levels};
    return harness_main("ioapic", tests, ARRAY_LEN(tests));
}
