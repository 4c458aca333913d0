/* The small ones: ports 61h and 92h, the debug console, debug exit, delay ports. */
#include "devices/debug_exit.h"
#include "devices/debugcon.h"
#include "devices/misc_ports.h"
#include "devices/sysctl.h"
#include "tests/device/harness.h"

START_TEST(port61)
{
    struct harness *h = harness_new(0);
    struct pit *pit = harness_alloc(h, &pit_class, "pit");
    struct sysctl *s = harness_alloc(h, &sysctl_class, "sysctl");
    unsigned toggles = 0;
    uint8_t last;

    harness_start(h, &pit->dev);
    s->cfg.pit = pit;
    harness_start(h, &s->dev);
    outb(h, 0x61, 0xf1);
    ck_assert(pit_gate2(pit));
    ck_assert_uint_eq(inb(h, 0x61) & 0xcf, 0x01);
    /* How Linux and SeaBIOS calibrate: mode 0 on counter 2, wait for its output. */
    outb(h, 0x43, 0xb0);
    outb(h, 0x42, 0xff);
    outb(h, 0x42, 0x00);
    ck_assert_uint_eq(inb(h, 0x61) & 0x20, 0);
    harness_run(h, ticks_to_ns(257, PIT_HZ));
    ck_assert_uint_eq(inb(h, 0x61) & 0x20, 0x20);
    last = inb(h, 0x61) & 0x10;
    for (int i = 0; i < 10000; i++) {
        harness_run(h, 1000);
        if ((inb(h, 0x61) & 0x10) != last) {
            toggles++;
            last ^= 0x10;
        }
    }
    ck_assert_uint_ge(toggles, 660);
    ck_assert_uint_le(toggles, 667);
    harness_free(h);
}
END_TEST

START_TEST(port92)
{
    struct harness *h = harness_new(0);
    struct sysctl *s = harness_alloc(h, &sysctl_class, "sysctl");

    harness_start(h, &s->dev);
    ck_assert_uint_eq(inb(h, 0x92), 0x02);
    outb(h, 0x92, 0x00);
    ck_assert(!h->a20);
    outb(h, 0x92, 0x02);
    ck_assert(h->a20);
    ck_assert_uint_eq(h->resets, 0);
    outb(h, 0x92, 0x03);
    ck_assert_uint_eq(h->resets, 1);
    harness_free(h);
}
END_TEST

START_TEST(debug_console)
{
    struct harness *h = harness_new(0);
    struct debugcon *d = harness_alloc(h, &debugcon_class, "debugcon");

    harness_start(h, &d->dev);
    ck_assert_uint_eq(inb(h, 0x402), 0xe9);
    h->log.enabled = BIT(LOG_BIOS);
    h->lines = 0;
    for (const char *s = "SeaBIOS (version)\r\nnext"; *s; s++)
        outb(h, 0x402, (uint8_t)*s);
    ck_assert_uint_eq(h->lines, 1);
    ck_assert_str_eq(h->last_line, "SeaBIOS (version)");
    for (int i = 0; i < 1000; i++)
        outb(h, 0x402, 'x');
    ck_assert_uint_ge(h->lines, 4);
    harness_free(h);
}
END_TEST

START_TEST(exit_and_delay)
{
    struct harness *h = harness_new(0);
    struct debug_exit *e = harness_alloc(h, &debug_exit_class, "debug-exit");
    struct misc_ports *m = harness_alloc(h, &misc_ports_class, "misc");

    e->cfg.port = 0xf4;
    harness_start(h, &e->dev);
    harness_start(h, &m->dev);
    outl(h, 0xf4, 0x10);
    ck_assert_uint_eq(h->exits, 1);
    ck_assert_int_eq(h->exit_status, 0x21);
    outb(h, 0x80, 0x12);
    ck_assert_uint_eq(inb(h, 0x80), 0x12);
    outb(h, 0xed, 0x34);
    outb(h, 0x22, 0x70);
    outb(h, 0x23, 0x01);
    ck_assert_uint_eq(inb(h, 0x23), 0x01);
    ck_assert_uint_eq(inb(h, 0x201), 0xff);
    harness_free(h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {port61, port92, debug_console, exit_and_delay};
    return harness_main("ports", tests, ARRAY_LEN(tests));
}
