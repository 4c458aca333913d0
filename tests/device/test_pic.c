/* The 8259 pair as drivers use it: priorities, EOIs, modes, the cascade, spurious requests. */
#include "devices/pic.h"
#include "tests/device/harness.h"

static struct harness *h;
static struct pic *pic;

/* Vectors 20h and 28h, everything unmasked. */
static void start(uint8_t icw4)
{
    h = harness_new(0);
    pic = harness_alloc(h, &pic_class, "pic");
    pic->cfg.intr = harness_irq(h, 0);
    harness_start(h, &pic->dev);
    outb(h, 0x20, 0x11);
    outb(h, 0x21, 0x20);
    outb(h, 0x21, 0x04);
    outb(h, 0x21, icw4);
    outb(h, 0xa0, 0x11);
    outb(h, 0xa1, 0x28);
    outb(h, 0xa1, 0x02);
    outb(h, 0xa1, 0x01);
    outb(h, 0x21, 0x00);
    outb(h, 0xa1, 0x00);
}

static void line(int n, int level)
{
    pic_set_irq(pic, n, level);
}

static uint8_t isr(uint16_t port)
{
    outb(h, port, 0x0b);
    return inb(h, port);
}

static uint8_t irr(uint16_t port)
{
    outb(h, port, 0x0a);
    return inb(h, port);
}

START_TEST(edge_and_eoi)
{
    start(1);
    line(1, 1);
    ck_assert_int_eq(h->irq[0].level, 1);
    ck_assert_uint_eq(irr(0x20), 0x02);
    ck_assert_int_eq(pic_ack(pic), 0x21);
    ck_assert_int_eq(h->irq[0].level, 0);
    ck_assert_uint_eq(isr(0x20), 0x02);
    outb(h, 0x20, 0x20);
    ck_assert_uint_eq(isr(0x20), 0);
    ck_assert_int_eq(h->irq[0].level, 0); /* still high, but no new edge */
    line(1, 0);
    line(1, 1);
    ck_assert_int_eq(h->irq[0].level, 1);
    harness_free(h);
}
END_TEST

START_TEST(priority_and_mask)
{
    start(1);
    line(4, 1);
    line(3, 1);
    ck_assert_int_eq(pic_ack(pic), 0x23);
    ck_assert_int_eq(h->irq[0].level, 0); /* 4 waits behind 3 */
    line(0, 1);
    ck_assert_int_eq(pic_ack(pic), 0x20); /* 0 nests */
    outb(h, 0x20, 0x60);
    outb(h, 0x20, 0x63);
    outb(h, 0x21, 0x10);
    ck_assert_int_eq(h->irq[0].level, 0);
    ck_assert_uint_eq(inb(h, 0x21), 0x10);
    outb(h, 0x21, 0x00);
    ck_assert_int_eq(pic_ack(pic), 0x24);
    harness_free(h);
}
END_TEST

START_TEST(cascade)
{
    start(1);
    line(12, 1);
    line(8, 1);
    ck_assert_int_eq(pic_ack(pic), 0x28);
    ck_assert_uint_eq(isr(0x20), 0x04);
    ck_assert_uint_eq(isr(0xa0), 0x01);
    outb(h, 0xa0, 0x20);
    ck_assert_int_eq(h->irq[0].level, 0); /* the master's input 2 is in service */
    outb(h, 0x20, 0x20);
    ck_assert_int_eq(pic_ack(pic), 0x2c);
    harness_free(h);
}
END_TEST

START_TEST(special_fully_nested)
{
    start(0x11);
    line(12, 1);
    ck_assert_int_eq(pic_ack(pic), 0x2c);
    line(8, 1);
    ck_assert_int_eq(h->irq[0].level, 1);
    ck_assert_int_eq(pic_ack(pic), 0x28);
    harness_free(h);
}
END_TEST

START_TEST(spurious)
{
    start(1);
    line(5, 1);
    harness_run(h, 10);
    line(5, 0);
    ck_assert_int_eq(h->irq[0].level, 0);
    ck_assert_int_eq(pic_ack(pic), 0x27);
    ck_assert_uint_eq(isr(0x20), 0);
    /* A pulse without length is not withdrawn. */
    line(6, 1);
    line(6, 0);
    ck_assert_int_eq(pic_ack(pic), 0x26);
    harness_free(h);
}
END_TEST

START_TEST(level_triggered)
{
    start(1);
    outb(h, 0x4d1, 0xff);
    ck_assert_uint_eq(inb(h, 0x4d1), 0xde);
    outb(h, 0x4d0, 0xff);
    ck_assert_uint_eq(inb(h, 0x4d0), 0xf8);
    line(11, 1);
    ck_assert_int_eq(pic_ack(pic), 0x2b);
    outb(h, 0xa0, 0x63);
    outb(h, 0x20, 0x62);
    ck_assert_int_eq(h->irq[0].level, 1); /* still asserted: again */
    line(11, 0);
    ck_assert_int_eq(h->irq[0].level, 0);
    harness_free(h);
}
END_TEST

START_TEST(auto_eoi_and_rotation)
{
    start(3);
    outb(h, 0x20, 0x80); /* rotate on AEOI */
    line(0, 1);
    line(1, 1);
    ck_assert_int_eq(pic_ack(pic), 0x20);
    ck_assert_uint_eq(isr(0x20), 0);
    line(0, 0);
    line(0, 1);
    ck_assert_int_eq(pic_ack(pic), 0x21); /* 0 went to the end */
    ck_assert_int_eq(pic_ack(pic), 0x20);
    harness_free(h);

    start(1);
    outb(h, 0x20, 0xc3); /* 3 lowest, 4 highest */
    line(0, 1);
    line(4, 1);
    ck_assert_int_eq(pic_ack(pic), 0x24);
    outb(h, 0x20, 0xa0); /* rotate on non-specific EOI */
    line(5, 1);
    ck_assert_int_eq(pic_ack(pic), 0x25);
    harness_free(h);
}
END_TEST

START_TEST(special_mask)
{
    start(1);
    line(1, 1);
    ck_assert_int_eq(pic_ack(pic), 0x21);
    line(3, 1);
    ck_assert_int_eq(h->irq[0].level, 0);
    outb(h, 0x21, 0x02);
    outb(h, 0x20, 0x68);
    ck_assert_int_eq(h->irq[0].level, 1);
    ck_assert_int_eq(pic_ack(pic), 0x23);
    outb(h, 0x20, 0x20); /* takes 3: 1 is masked */
    ck_assert_uint_eq(isr(0x20), 0x02);
    harness_free(h);
}
END_TEST

START_TEST(poll)
{
    start(1);
    outb(h, 0x20, 0x0c);
    ck_assert_uint_eq(inb(h, 0x20), 0);
    line(6, 1);
    outb(h, 0x20, 0x0c);
    ck_assert_uint_eq(inb(h, 0x20), 0x86);
    ck_assert_uint_eq(isr(0x20), 0x40);
    ck_assert_int_eq(h->irq[0].level, 0);
    harness_free(h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {edge_and_eoi,          priority_and_mask, cascade,
                                  special_fully_nested,  spurious,          level_triggered,
                                  auto_eoi_and_rotation, special_mask,      poll};
    return harness_main("pic", tests, ARRAY_LEN(tests));
}
