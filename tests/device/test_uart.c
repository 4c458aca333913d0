/* The 16550A: identification, interrupts and their priorities, FIFOs, loopback, flow. */
#include "devices/uart.h"
#include "tests/device/harness.h"

#define MS 1000000ull

static struct harness *h;
static struct uart *uart;
static char sent[256];
static size_t nsent;

static void out(void *opaque, uint8_t byte)
{
    if (nsent < sizeof(sent))
        sent[nsent++] = (char)byte;
}

static void start(void)
{
    nsent = 0;
    h = harness_new(0);
    uart = harness_alloc(h, &uart_class, "uart0");
    uart->cfg.port = 0x3f8;
    uart->cfg.irq = harness_irq(h, 4);
    uart->cfg.out = out;
    harness_start(h, &uart->dev);
    outb(h, 0x3fb, 0x83);
    outb(h, 0x3f8, 1); /* 115200 */
    outb(h, 0x3f9, 0);
    outb(h, 0x3fb, 0x03);
}

static uint8_t reg(unsigned n)
{
    return inb(h, (uint16_t)(0x3f8 + n));
}

static void set(unsigned n, uint8_t v)
{
    outb(h, (uint16_t)(0x3f8 + n), v);
}

START_TEST(registers)
{
    start();
    set(7, 0x5a);
    ck_assert_uint_eq(reg(7), 0x5a);
    set(1, 0xff);
    ck_assert_uint_eq(reg(1), 0x0f);
    set(1, 0);
    ck_assert_uint_eq(reg(2), 0x01);
    set(2, 0x01);
    ck_assert_uint_eq(reg(2), 0xc1);
    ck_assert_uint_eq(reg(5), 0x60);
    ck_assert_uint_eq(reg(6), 0xb0);
    set(3, 0x83);
    ck_assert_uint_eq(reg(0), 1);
    harness_free(h);
}
END_TEST

START_TEST(transmit)
{
    start();
    set(4, 0x0b);
    set(1, 0x02);
    ck_assert_int_eq(h->irq[4].level, 1); /* empty already */
    ck_assert_uint_eq(reg(2), 0x02);
    ck_assert_int_eq(h->irq[4].level, 0);
    for (const char *s = "hello"; *s; s++) {
        unsigned rises = h->irq[4].rises;
        ck_assert_uint_eq(reg(5) & 0x20, 0x20);
        set(0, (uint8_t)*s);
        ck_assert_uint_eq(h->irq[4].rises, rises + 1);
    }
    ck_assert_uint_eq(nsent, 5);
    ck_assert_mem_eq(sent, "hello", 5);
    set(4, 0x03); /* without OUT2 nothing gets out */
    ck_assert_int_eq(h->irq[4].level, 0);
    harness_free(h);
}
END_TEST

START_TEST(receive)
{
    start();
    set(4, 0x0b);
    set(2, 0x81); /* FIFO, trigger at 8 */
    set(1, 0x01);
    ck_assert_uint_eq(uart_receive(uart, (const uint8_t *)"0123456789", 10), 10);
    harness_run(h, 7 * 87 * 1000);
    ck_assert_int_eq(h->irq[4].level, 0);
    harness_run(h, 87 * 1000);
    ck_assert_int_eq(h->irq[4].level, 1);
    ck_assert_uint_eq(reg(2), 0xc4);
    harness_run(h, MS);
    for (unsigned i = 0; i < 9; i++)
        ck_assert_uint_eq(reg(0), '0' + i);
    ck_assert_int_eq(h->irq[4].level, 0);
    harness_run(h, MS); /* one is left: timeout */
    ck_assert_uint_eq(reg(2), 0xcc);
    ck_assert_uint_eq(reg(5) & 1, 1);
    ck_assert_uint_eq(reg(0), '9');
    ck_assert_uint_eq(reg(2), 0xc1);
    ck_assert_uint_eq(reg(5) & 1, 0);
    harness_free(h);
}
END_TEST

START_TEST(bounded_queue)
{
    static uint8_t data[UART_QUEUE + 100];
    size_t n = 0;

    start();
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)i;
    ck_assert_uint_eq(uart_receive(uart, data, sizeof(data)), UART_QUEUE);
    ck_assert_uint_eq(uart_room(uart), 0);
    harness_run(h, NS_PER_SEC); /* held back, not overrun */
    ck_assert_uint_eq(reg(5) & 0x02, 0);
    while (n < UART_QUEUE) {
        harness_run(h, 100000);
        if (reg(5) & 1)
            ck_assert_uint_eq(reg(0), data[n++]);
    }
    ck_assert_uint_eq(reg(5) & 1, 0);
    harness_free(h);
}
END_TEST

START_TEST(loopback)
{
    start();
    set(4, 0x1f);
    reg(6);
    ck_assert_uint_eq(reg(6), 0xf0);
    set(4, 0x10);
    ck_assert_uint_eq(reg(6), 0x0f); /* all changed, RI by its trailing edge */
    set(0, 0x42);
    ck_assert_uint_eq(nsent, 0);
    ck_assert_uint_eq(reg(5) & 1, 1);
    set(0, 0x43); /* overruns the holding register */
    ck_assert_uint_eq(reg(5) & 2, 2);
    ck_assert_uint_eq(reg(0), 0x43);
    set(2, 0x01);
    for (unsigned i = 0; i < 17; i++)
        set(0, (uint8_t)i);
    set(1, 0x07);
    ck_assert_uint_eq(reg(2), 0xc6); /* line status comes first */
    ck_assert_uint_eq(reg(5) & 2, 2);
    ck_assert_uint_eq(reg(2), 0xc4);
    for (unsigned i = 0; i < 16; i++)
        ck_assert_uint_eq(reg(0), i);
    ck_assert_uint_eq(reg(2), 0xc2);
    ck_assert_uint_eq(reg(2), 0xc1);
    harness_free(h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {registers, transmit, receive, bounded_queue, loopback};
    return harness_main("uart", tests, ARRAY_LEN(tests));
}
