/* The 8254: every mode's output at its exact tick, latches, read-back, BCD, the gate of counter 2,
 * and that nothing happens when nothing can be seen. */
#include "devices/pit.h"
#include "tests/device/harness.h"

static struct harness *h;
static struct pit *pit;

static void start(void)
{
    h = harness_new(0);
    pit = harness_alloc(h, &pit_class, "pit");
    pit->cfg.irq = harness_irq(h, 0);
    harness_start(h, &pit->dev);
}

/* To the beginning of the n-th tick from now. */
static void ticks(uint64_t n)
{
    uint64_t t = ns_to_ticks(clock_now(&h->clock), PIT_HZ) + n;

    clock_advance(&h->clock, ticks_to_ns(t, PIT_HZ));
}

static void program(unsigned channel, uint8_t mode, uint16_t count)
{
    outb(h, 0x43, (uint8_t)(channel << 6 | 0x30 | mode << 1));
    outb(h, (uint16_t)(0x40 + channel), (uint8_t)count);
    outb(h, (uint16_t)(0x40 + channel), (uint8_t)(count >> 8));
}

static uint16_t latched(unsigned channel)
{
    uint16_t port = (uint16_t)(0x40 + channel);
    uint16_t v;

    outb(h, 0x43, (uint8_t)(channel << 6));
    v = inb(h, port);
    return (uint16_t)(v | inb(h, port) << 8);
}

START_TEST(rate_generator)
{
    start();
    ticks(1);
    program(0, 2, 100);
    h->irq[0].rises = 0;
    ticks(1 + 98);
    ck_assert(pit_out(pit, 0));
    ck_assert_uint_eq(latched(0), 2);
    ticks(1);
    ck_assert(!pit_out(pit, 0));
    ck_assert_uint_eq(latched(0), 1);
    ck_assert_uint_eq(h->irq[0].rises, 0);
    ticks(1);
    ck_assert_uint_eq(h->irq[0].rises, 1);
    ck_assert_uint_eq(latched(0), 100);
    ticks(100 * 1000);
    ck_assert_uint_eq(h->irq[0].rises, 1001);
    /* A new count waits for the end of the period. */
    ticks(50);
    outb(h, 0x40, 10);
    outb(h, 0x40, 0);
    ticks(49);
    ck_assert_uint_eq(latched(0), 1);
    ticks(1);
    ck_assert_uint_eq(latched(0), 10);
    ticks(10);
    ck_assert_uint_eq(h->irq[0].rises, 1003);
    harness_free(h);
}
END_TEST

START_TEST(square_wave)
{
    start();
    program(0, 3, 5); /* high for 3, low for 2 */
    ticks(1);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(pit_out(pit, 0), i % 5 < 3);
        ck_assert_int_eq(h->irq[0].level, i % 5 < 3);
        ticks(1);
    }
    program(2, 3, 8);
    pit_set_gate2(pit, true);
    ticks(1);
    ck_assert_uint_eq(latched(2), 8);
    ticks(1);
    ck_assert_uint_eq(latched(2), 6);
    ticks(3);
    ck_assert(!pit_out(pit, 2));
    ck_assert_uint_eq(latched(2), 8);
    ck_assert_uint_eq(pit_tone_hz(pit), PIT_HZ / 8);
    pit_set_gate2(pit, false);
    ck_assert(pit_out(pit, 2)); /* at once */
    harness_free(h);
}
END_TEST

START_TEST(terminal_count)
{
    start();
    outb(h, 0x43, 0x30);
    ck_assert_int_eq(h->irq[0].level, 0);
    outb(h, 0x40, 50);
    outb(h, 0x40, 0);
    ticks(50);
    ck_assert_int_eq(h->irq[0].level, 0);
    ticks(1); /* N + 1 ticks after the write */
    ck_assert_int_eq(h->irq[0].level, 1);
    ck_assert_uint_eq(clock_next_deadline(&h->clock), CLOCK_NEVER);
    ticks(1);
    ck_assert_uint_eq(latched(0), 0xffff);
    outb(h, 0x40, 9); /* the first byte takes the output low */
    ck_assert_int_eq(h->irq[0].level, 0);
    harness_free(h);
}
END_TEST

START_TEST(strobe)
{
    start();
    program(0, 4, 20);
    ck_assert_int_eq(h->irq[0].level, 1);
    ticks(20);
    ck_assert_int_eq(h->irq[0].level, 1);
    ticks(1);
    ck_assert_int_eq(h->irq[0].level, 0);
    ticks(1);
    ck_assert_int_eq(h->irq[0].level, 1);
    ck_assert_uint_eq(clock_next_deadline(&h->clock), CLOCK_NEVER);
    harness_free(h);
}
END_TEST

START_TEST(gate_modes)
{
    start();
    program(2, 1, 10); /* one-shot */
    ticks(30);
    ck_assert(pit_out(pit, 2));
    pit_set_gate2(pit, true);
    ticks(1);
    ck_assert(!pit_out(pit, 2));
    ticks(9);
    ck_assert(!pit_out(pit, 2));
    ticks(1);
    ck_assert(pit_out(pit, 2));

    program(2, 0, 10); /* the gate's level counts */
    ticks(1 + 4);
    pit_set_gate2(pit, false);
    ticks(100);
    ck_assert_uint_eq(latched(2), 6);
    pit_set_gate2(pit, true);
    ticks(5);
    ck_assert(!pit_out(pit, 2));
    ticks(1);
    ck_assert(pit_out(pit, 2));

    pit_set_gate2(pit, false);
    program(2, 5, 10); /* hardware-triggered strobe */
    ticks(30);
    ck_assert(pit_out(pit, 2));
    pit_set_gate2(pit, true);
    ticks(11);
    ck_assert(!pit_out(pit, 2));
    ticks(1);
    ck_assert(pit_out(pit, 2));
    harness_free(h);
}
END_TEST

START_TEST(read_back)
{
    start();
    program(0, 2, 1000);
    outb(h, 0x43, 0xe2);                                 /* status of counter 0 */
    ck_assert_uint_eq(inb(h, 0x40), 0x80 | 0x40 | 0x34); /* null count: not loaded yet */
    ticks(1 + 10);
    outb(h, 0x43, 0xc2); /* count and status */
    ticks(10);
    outb(h, 0x43, 0xc2); /* ignored: not read yet */
    ck_assert_uint_eq(inb(h, 0x40), 0x80 | 0x34);
    ck_assert_uint_eq(inb(h, 0x40), 990 & 0xff);
    ck_assert_uint_eq(inb(h, 0x40), 990 >> 8);
    harness_free(h);
}
END_TEST

START_TEST(bcd)
{
    start();
    outb(h, 0x43, 0xb1); /* counter 2, mode 0, BCD */
    pit_set_gate2(pit, true);
    outb(h, 0x42, 0x00);
    outb(h, 0x42, 0x10); /* 1000 */
    ticks(2);
    ck_assert_uint_eq(latched(2), 0x0999);
    ticks(999);
    ck_assert(pit_out(pit, 2));
    ticks(1);
    ck_assert_uint_eq(latched(2), 0x9999);
    harness_free(h);
}
END_TEST

START_TEST(no_drift)
{
    start();
    program(0, 2, 11932); /* about 100 Hz */
    h->irq[0].rises = 0;
    harness_run(h, 3600 * NS_PER_SEC);
    ck_assert_uint_eq(h->irq[0].rises, 3600 * PIT_HZ / 11932);
    harness_free(h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {rate_generator, square_wave, terminal_count, strobe, gate_modes,
                                  read_back,      bcd,         no_drift};
    return harness_main("pit", tests, ARRAY_LEN(tests));
}
