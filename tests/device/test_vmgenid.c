/* The generation ID: where it is, that it changes with an event, and what a reset leaves alone. */
#include "devices/acpi_pm.h"
#include "devices/vmgenid.h"
#include "tests/device/harness.h"

static const uint8_t first[VMGENID_SIZE] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const uint8_t second[VMGENID_SIZE] = {0xff, 0xee, 0xdd};

struct board {
    struct harness *h;
    struct pci_bus bus;
    struct acpi_pm *pm;
    struct vmgenid *v;
};

static void setup(struct board *t)
{
    memset(t, 0, sizeof(*t));
    t->h = harness_new(64 * KIB);
    pci_bus_init(&t->bus, &t->h->board);
    t->pm = harness_alloc(t->h, &acpi_pm_class, "pm");
    t->pm->cfg = (struct acpi_pm_cfg){&t->bus, PCI_DEVFN(1, 3), harness_irq(t->h, 9)};
    harness_start(t->h, &t->pm->dev);
    t->v = harness_alloc(t->h, &vmgenid_class, "vmgenid");
    memcpy(t->v->cfg.id, first, sizeof(first));
    t->v->cfg.pm = t->pm;
    harness_start(t->h, &t->v->dev);
}

static void read_id(struct board *t, uint8_t id[VMGENID_SIZE])
{
    physmap_read_buf(t->h->board.mem, VMGENID_BASE, id, VMGENID_SIZE);
}

START_TEST(read_and_ignored_writes)
{
    struct board t;
    uint8_t id[VMGENID_SIZE];

    setup(&t);
    read_id(&t, id);
    ck_assert_mem_eq(id, first, sizeof(id));
    ck_assert_uint_eq(physmap_read(t.h->board.mem, VMGENID_BASE + 8, 8), ld64(first + 8));
    ck_assert_uint_eq(physmap_read(t.h->board.mem, VMGENID_BASE + 12, 8), 0x100f0e0d);
    ck_assert_uint_eq(physmap_read(t.h->board.mem, VMGENID_BASE + 16, 4), 0);
    ck_assert_uint_eq(physmap_read(t.h->board.mem, VMGENID_BASE + 4092, 4), 0);
    physmap_write_buf(t.h->board.mem, VMGENID_BASE, second, sizeof(second));
    read_id(&t, id);
    ck_assert_mem_eq(id, first, sizeof(id));
    harness_free(t.h);
}
END_TEST

START_TEST(change_raises_the_event)
{
    struct board t;
    uint8_t id[VMGENID_SIZE];

    setup(&t);
    outb(t.h, 0xb2, ACPI_APM_ENABLE);
    outb(t.h, ACPI_GPE0_BASE + 2, 1 << VMGENID_GPE);
    ck_assert_int_eq(t.h->irq[9].level, 0);
    vmgenid_change(t.v, second);
    read_id(&t, id);
    ck_assert_mem_eq(id, second, sizeof(id));
    ck_assert_int_eq(t.h->irq[9].level, 1);
    ck_assert_uint_eq(inb(t.h, ACPI_GPE0_BASE), 1 << VMGENID_GPE);
    outb(t.h, ACPI_GPE0_BASE, 1 << VMGENID_GPE);
    ck_assert_int_eq(t.h->irq[9].level, 0);
    harness_reset(t.h, RESET_HARD);
    read_id(&t, id);
    ck_assert_mem_eq(id, second, sizeof(id));
    harness_free(t.h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {read_and_ignored_writes, change_raises_the_event};
    return harness_main("vmgenid", tests, ARRAY_LEN(tests));
}
