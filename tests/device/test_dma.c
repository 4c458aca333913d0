/* The 8237 pair: programmed transfers in both directions, wrap, autoinitialize, verify, masks. */
#include "devices/dma.h"
#include "tests/device/harness.h"

static struct harness *h;
static struct dma *dma;
static uint8_t buf[1024];

static void start(void)
{
    h = harness_new(16 * MIB);
    dma = harness_alloc(h, &dma_class, "dma");
    harness_start(h, &dma->dev);
    for (unsigned i = 0; i < sizeof(buf); i++)
        buf[i] = (uint8_t)(i * 7 + 1);
}

static void program(uint8_t mode, uint32_t addr, uint16_t count)
{
    outb(h, 0x0a, 0x06);
    outb(h, 0x0c, 0);
    outb(h, 0x04, (uint8_t)addr);
    outb(h, 0x04, (uint8_t)(addr >> 8));
    outb(h, 0x81, (uint8_t)(addr >> 16));
    outb(h, 0x05, (uint8_t)count);
    outb(h, 0x05, (uint8_t)(count >> 8));
    outb(h, 0x0b, mode | 2);
    outb(h, 0x0a, 0x02);
}

START_TEST(to_memory)
{
    bool tc;

    start();
    program(0x44, 0x123456, 999);
    ck_assert(dma_ready(dma, 2));
    ck_assert_uint_eq(dma_transfer(dma, 2, buf, 512, true, &tc), 512);
    ck_assert(!tc);
    ck_assert_mem_eq(harness_ram(h, 0x123456), buf, 512);
    ck_assert_uint_eq(dma_transfer(dma, 2, buf, 512, true, &tc), 488);
    ck_assert(tc);
    ck_assert_mem_eq(harness_ram(h, 0x123456 + 512), buf, 488);
    ck_assert_uint_eq(*harness_ram(h, 0x123456 + 1000), 0);
    ck_assert_uint_eq(dma_transfer(dma, 2, buf, 512, true, &tc), 0);
    ck_assert_uint_eq(inb(h, 0x08), 0x04); /* TC, cleared by the read */
    ck_assert_uint_eq(inb(h, 0x08), 0x00);
    outb(h, 0x0c, 0);
    ck_assert_uint_eq(inb(h, 0x05) | inb(h, 0x05) << 8, 0xffff);
    harness_free(h);
}
END_TEST

START_TEST(from_memory_autoinit)
{
    uint8_t got[64];
    bool tc;

    start();
    memcpy(harness_ram(h, 0x5000), buf, 64);
    program(0x58, 0x5000, 63);
    for (int i = 0; i < 3; i++) {
        memset(got, 0, sizeof(got));
        ck_assert_uint_eq(dma_transfer(dma, 2, got, 64, false, &tc), 64);
        ck_assert(tc);
        ck_assert_mem_eq(got, buf, 64);
    }
    ck_assert_uint_eq(dma_transfer(dma, 2, got, 64, true, &tc), 0); /* the other direction */
    harness_free(h);
}
END_TEST

START_TEST(wrap_down_verify)
{
    uint8_t got[16];
    bool tc;

    start();
    program(0x44, 0x2fff8, 15);
    ck_assert_uint_eq(dma_transfer(dma, 2, buf, 16, true, &tc), 16);
    ck_assert_mem_eq(harness_ram(h, 0x2fff8), buf, 8);
    ck_assert_mem_eq(harness_ram(h, 0x20000), buf + 8, 8); /* not into the next 64 KiB */
    program(0x64, 0x4003, 3);
    ck_assert_uint_eq(dma_transfer(dma, 2, buf, 4, true, &tc), 4);
    ck_assert_uint_eq(*harness_ram(h, 0x4003), buf[0]);
    ck_assert_uint_eq(*harness_ram(h, 0x4000), buf[3]);
    program(0x40, 0x6000, 15);
    ck_assert_uint_eq(dma_transfer(dma, 2, buf, 16, true, &tc), 16);
    ck_assert_uint_eq(*harness_ram(h, 0x6000), 0);
    program(0x40, 0x6000, 15);
    ck_assert_uint_eq(dma_transfer(dma, 2, got, 16, false, &tc), 16);
    ck_assert_uint_eq(got[0], 0);
    outb(h, 0x08, 0x04); /* controller off */
    program(0x44, 0x6000, 15);
    ck_assert(!dma_ready(dma, 2));
    harness_free(h);
}
END_TEST

START_TEST(words)
{
    bool tc;

    start();
    outb(h, 0xd4, 0x05);
    outb(h, 0xd8, 0);
    outb(h, 0xc4, 0x00); /* word address 8000h: 10000h in the page */
    outb(h, 0xc4, 0x80);
    outb(h, 0x8b, 0x42);
    outb(h, 0xc6, 0x07); /* 8 words */
    outb(h, 0xc6, 0x00);
    outb(h, 0xd6, 0x45);
    outb(h, 0xd4, 0x01);
    ck_assert_uint_eq(dma_transfer(dma, 5, buf, 64, true, &tc), 16);
    ck_assert(tc);
    ck_assert_mem_eq(harness_ram(h, 0x430000), buf, 16);
    harness_free(h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {to_memory, from_memory_autoinit, wrap_down_verify, words};
    return harness_main("dma", tests, ARRAY_LEN(tests));
}
