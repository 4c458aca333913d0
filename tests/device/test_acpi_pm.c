/* PIIX4 power management: the PM block's place, SCI, timer, soft-off, APM and SMBus. */
#include "devices/acpi_pm.h"
#include "tests/device/harness.h"

#define FN PCI_DEVFN(1, 3)

struct board {
    struct harness *h;
    struct pci_bus bus;
    struct acpi_pm *pm;
};

static void setup(struct board *t)
{
    memset(t, 0, sizeof(*t));
    t->h = harness_new(64 * KIB);
    pci_bus_init(&t->bus, &t->h->board);
    t->pm = harness_alloc(t->h, &acpi_pm_class, "pm");
    t->pm->cfg = (struct acpi_pm_cfg){&t->bus, FN, harness_irq(t->h, 9)};
    harness_start(t->h, &t->pm->dev);
    /* As SeaBIOS does. */
    pci_config_write(&t->bus, FN, 0x40, 0x601, 4);
    pci_config_write(&t->bus, FN, 0x80, 1, 1);
    pci_config_write(&t->bus, FN, 0x90, 0x701, 4);
    pci_config_write(&t->bus, FN, 0xd2, 9, 1);
}

static void teardown(struct board *t)
{
    harness_free(t->h);
}

START_TEST(block_moves)
{
    struct board t;
    setup(&t);
    ck_assert_uint_eq(pci_config_read(&t.bus, FN, 0, 4), 0x71138086);
    ck_assert_uint_eq(pci_config_read(&t.bus, FN, 0x58, 4) >> 25 & 1, 1);
    ck_assert_uint_eq(pci_config_read(&t.bus, FN, 0x40, 4), 0x601);
    ck_assert_uint_eq(inw(t.h, 0x604), 0);
    pci_config_write(&t.bus, FN, 0x40, 0xb001, 4);
    ck_assert_uint_eq(inw(t.h, 0x604), 0xffff);
    ck_assert_uint_eq(inw(t.h, 0xb004), 0);
    pci_config_write(&t.bus, FN, 0x80, 0, 1);
    ck_assert_uint_eq(inw(t.h, 0xb004), 0xffff);
    teardown(&t);
}
END_TEST

START_TEST(timer)
{
    struct board t;
    setup(&t);
    uint32_t a = inl(t.h, 0x608);
    harness_run(t.h, NS_PER_SEC);
    ck_assert_uint_eq((inl(t.h, 0x608) - a) & 0xffffff, 3579545);
    harness_run(t.h, 5 * NS_PER_SEC);
    ck_assert_uint_le(inl(t.h, 0x608), 0xffffff);
    ck_assert_uint_eq(t.h->irq[9].rises, 0);
    outb(t.h, 0xb2, ACPI_APM_ENABLE);
    ck_assert_uint_eq(inw(t.h, 0x604), 1);
    outw(t.h, 0x602, 1);
    harness_run(t.h, 3 * NS_PER_SEC); /* bit 23 changes every 2.34 s */
    ck_assert_int_eq(t.h->irq[9].level, 1);
    ck_assert_uint_eq(inw(t.h, 0x600) & 1, 1);
    outw(t.h, 0x600, 1);
    ck_assert_int_eq(t.h->irq[9].level, 0);
    harness_run(t.h, 3 * NS_PER_SEC);
    ck_assert_int_eq(t.h->irq[9].level, 1);
    outb(t.h, 0xb2, ACPI_APM_DISABLE);
    ck_assert_int_eq(t.h->irq[9].level, 0);
    teardown(&t);
}
END_TEST

START_TEST(button_and_soft_off)
{
    struct board t;
    setup(&t);
    outb(t.h, 0xb2, ACPI_APM_ENABLE);
    outw(t.h, 0x602, 0x100);
    acpi_pm_power_button(t.pm);
    ck_assert_int_eq(t.h->irq[9].level, 1);
    outb(t.h, 0x601, 1); /* by bytes, as some systems do */
    ck_assert_int_eq(t.h->irq[9].level, 0);
    outw(t.h, 0x604, 0x2001 | 1 << 10); /* S3 or so: not here */
    ck_assert_uint_eq(t.h->poweroffs, 0);
    outw(t.h, 0x604, 0x2001);
    ck_assert_uint_eq(t.h->poweroffs, 1);
    ck_assert_uint_eq(inw(t.h, 0x604) & 0x2000, 0);
    teardown(&t);
}
END_TEST

START_TEST(events_and_smbus)
{
    struct board t;
    setup(&t);
    outw(t.h, 0xafe2, 0x1234);
    ck_assert_uint_eq(inw(t.h, 0xafe2), 0x1234);
    ck_assert_uint_eq(inw(t.h, 0xafe0), 0);
    outb(t.h, 0x704, 0xa1);
    ck_assert_uint_eq(inb(t.h, 0x700), 0);
    outb(t.h, 0x702, 0x48); /* start */
    ck_assert_uint_eq(inb(t.h, 0x700), 4);
    outb(t.h, 0x700, 4);
    ck_assert_uint_eq(inb(t.h, 0x700), 0);
    harness_reset(t.h, RESET_HARD);
    ck_assert_uint_eq(inb(t.h, 0x700), 0xff);
    teardown(&t);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {block_moves, timer, button_and_soft_off, events_and_smbus};
    return harness_main("acpi_pm", tests, ARRAY_LEN(tests));
}
