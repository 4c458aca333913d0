/* The CMOS clock and its memory. The harness's date is Thursday 2026-01-01 00:00:00. */
#include <stdio.h>

#include "devices/cmos.h"
#include "tests/device/harness.h"

static struct harness *h;
static struct cmos *cmos;

#define MS 1000000ull

static void start(void)
{
    h = harness_new(0);
    cmos = harness_alloc(h, &cmos_class, "cmos");
    cmos->cfg.irq = harness_irq(h, 8);
    cmos->cfg.nmi_enable = harness_irq(h, 0);
    harness_start(h, &cmos->dev);
}

static uint8_t get(uint8_t reg)
{
    outb(h, 0x70, reg);
    return inb(h, 0x71);
}

static void set(uint8_t reg, uint8_t v)
{
    outb(h, 0x70, reg);
    outb(h, 0x71, v);
}

static void check_time(const char *want)
{
    char got[32];

    snprintf(got, sizeof(got), "%02x%02x-%02x-%02x %02x %02x:%02x:%02x", get(0x32), get(9), get(8),
             get(7), get(6), get(4), get(2), get(0));
    ck_assert_str_eq(got, want);
}

START_TEST(runs)
{
    start();
    check_time("2026-01-01 05 00:00:00");
    harness_run(h, 59 * NS_PER_SEC);
    check_time("2026-01-01 05 00:00:59");
    harness_run(h, NS_PER_SEC);
    check_time("2026-01-01 05 00:01:00");
    harness_run(h, (31 + 27) * 86400 * NS_PER_SEC);
    check_time("2026-02-28 07 00:01:00");
    harness_run(h, 86400 * NS_PER_SEC);
    check_time("2026-03-01 01 00:01:00");
    ck_assert_int_eq(cmos_time(cmos), 1772323260);
    harness_free(h);
}
END_TEST

START_TEST(setting)
{
    start();
    set(0x0b, 0x82); /* SET */
    set(0x32, 0x20);
    set(9, 0x24);
    set(8, 0x02);
    set(7, 0x29);
    set(4, 0x23);
    set(2, 0x59);
    set(0, 0x58);
    harness_run(h, 10 * NS_PER_SEC);
    check_time("2024-02-29 05 23:59:58");
    set(0x0b, 0x02);
    harness_run(h, 2 * NS_PER_SEC);
    check_time("2024-03-01 06 00:00:00");
    harness_reset(h, RESET_HARD);
    check_time("2024-03-01 06 00:00:00");
    harness_free(h);
}
END_TEST

START_TEST(formats)
{
    start();
    harness_run(h, (13 * 3600 + 45 * 60) * NS_PER_SEC);
    set(0x0b, 0x80); /* 12 hours, BCD */
    set(4, 0x81);    /* 1 pm */
    set(0x0b, 0x00);
    ck_assert_uint_eq(get(4), 0x81);
    ck_assert_uint_eq(get(2), 0x45);
    harness_run(h, 11 * 3600 * NS_PER_SEC);
    ck_assert_uint_eq(get(4), 0x12); /* midnight */
    set(0x0b, 0x86);
    set(4, 23);
    set(2, 59);
    set(9, 26);
    set(8, 1);
    set(7, 31);
    set(0x0b, 0x06); /* 24 hours, binary */
    ck_assert_uint_eq(get(4), 23);
    ck_assert_uint_eq(get(2), 59);
    harness_run(h, 60 * NS_PER_SEC);
    ck_assert_uint_eq(get(8), 2);
    harness_free(h);
}
END_TEST

START_TEST(update_in_progress)
{
    start();
    ck_assert_uint_eq(get(0x0a), 0x26);
    harness_run(h, 997 * MS);
    ck_assert_uint_eq(get(0x0a), 0x26);
    harness_run(h, 2 * MS);
    ck_assert_uint_eq(get(0x0a), 0xa6);
    ck_assert_uint_eq(get(0), 0);
    harness_run(h, MS);
    ck_assert_uint_eq(get(0x0a), 0x26);
    ck_assert_uint_eq(get(0), 1);
    /* Polled flag, no interrupt, no events. */
    ck_assert_uint_eq(get(0x0c) & 0x10, 0x10);
    ck_assert_uint_eq(get(0x0c), 0);
    ck_assert_uint_eq(clock_next_deadline(&h->clock), CLOCK_NEVER);
    harness_free(h);
}
END_TEST

START_TEST(periodic_interrupt)
{
    unsigned n = 0;

    start();
    set(0x0b, 0x42);
    for (uint64_t t = 0; t < NS_PER_SEC; t += 100000) {
        harness_run(h, 100000);
        if (h->irq[8].level) {
            ck_assert_uint_eq(get(0x0c), n && n % 1024 == 1023 ? 0xd0 : 0xc0);
            n++;
        }
    }
    ck_assert_uint_eq(n, 1024);
    /* Not acknowledged: no more of them. */
    harness_run(h, NS_PER_SEC);
    ck_assert_uint_eq(h->irq[8].rises, 1025);
    ck_assert_uint_eq(clock_next_deadline(&h->clock), CLOCK_NEVER);
    harness_free(h);
}
END_TEST

START_TEST(alarm)
{
    start();
    set(5, 0x01);
    set(3, 0x30);
    set(1, 0xff); /* any second of 01:30 */
    set(0x0b, 0x22);
    harness_run(h, 5399 * NS_PER_SEC + 999 * MS);
    ck_assert_int_eq(h->irq[8].level, 0);
    harness_run(h, MS);
    ck_assert_int_eq(h->irq[8].level, 1);
    ck_assert_uint_eq(get(0x0c), 0xf0);
    ck_assert_int_eq(h->irq[8].level, 0);
    harness_run(h, NS_PER_SEC);
    ck_assert_int_eq(h->irq[8].level, 1);
    get(0x0c);
    set(1, 0x99); /* never */
    ck_assert_uint_eq(clock_next_deadline(&h->clock), CLOCK_NEVER);
    set(0x0b, 0x12); /* update ended */
    harness_run(h, NS_PER_SEC);
    ck_assert_uint_eq(get(0x0c) & 0x90, 0x90);
    harness_free(h);
}
END_TEST

START_TEST(memory)
{
    unsigned sum = 0;

    start();
    cmos_set_memory(cmos, 3 * GIB, 5 * GIB);
    ck_assert_uint_eq(get(0x15) | get(0x16) << 8, 640);
    ck_assert_uint_eq(get(0x30) | get(0x31) << 8, 0xffff);
    ck_assert_uint_eq(get(0x34) | get(0x35) << 8, (3 * GIB - 16 * MIB) >> 16);
    ck_assert_uint_eq(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, 5 * GIB >> 16);
    cmos_set_floppies(cmos, 4, 0);
    ck_assert_uint_eq(get(0x10), 0x40);
    ck_assert_uint_eq(get(0x14) & 0xc1, 0x01);
    cmos_set_boot_letters(cmos, "dca");
    ck_assert_uint_eq(get(0x3d), 0x23);
    ck_assert_uint_eq(get(0x38) >> 4, 1);
    for (unsigned i = 0x10; i <= 0x2d; i++)
        sum += get((uint8_t)i);
    ck_assert_uint_eq(get(0x2e) << 8 | get(0x2f), sum);
    set(0x0f, 0x05);
    harness_reset(h, RESET_HARD);
    ck_assert_uint_eq(get(0x0f), 0x05);
    outb(h, 0x70, 0x8f);
    ck_assert_int_eq(h->irq[0].level, 0);
    ck_assert_uint_eq(inb(h, 0x71), 0x05);
    outb(h, 0x70, 0x0f);
    ck_assert_int_eq(h->irq[0].level, 1);
    harness_free(h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {runs,  setting, formats, update_in_progress, periodic_interrupt,
                                  alarm, memory};
    return harness_main("cmos", tests, ARRAY_LEN(tests));
}
