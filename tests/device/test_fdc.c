/* The floppy controller as a BIOS drives it, with DMA and without. */
#include <stdlib.h>
#include <unistd.h>

#include "devices/fdc.h"
#include "tests/device/harness.h"

#define MS 1000000ull

static struct harness *h;
static struct dma *dma;
static struct fdc *fdc;
static struct block_dev *disk;
static char path[64];

static struct block_dev *open_image(size_t bytes, bool readonly)
{
    struct block_options opt = {.path = path, .format = "raw", .readonly = readonly};
    struct error err = {0};
    struct block_dev *b;
    uint8_t sector[512];
    int fd;

    strcpy(path, "/tmp/tnm-floppy-XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    for (size_t i = 0; i < bytes / 512; i++) {
        memset(sector, (int)(i & 0xff), sizeof(sector));
        st32(sector, (uint32_t)i);
        ck_assert_int_eq(write(fd, sector, sizeof(sector)), sizeof(sector));
    }
    close(fd);
    b = block_open(&opt, &err);
    ck_assert_msg(b != NULL, "%s", err.text);
    unlink(path);
    return b;
}

static void reset_controller(void);

static void start(size_t bytes, bool readonly)
{
    h = harness_new(1 * MIB);
    disk = bytes ? open_image(bytes, readonly) : NULL;
    dma = harness_alloc(h, &dma_class, "dma");
    harness_start(h, &dma->dev);
    fdc = harness_alloc(h, &fdc_class, "fdc");
    fdc->cfg.irq = harness_irq(h, 6);
    fdc->cfg.dma = dma;
    fdc->cfg.drives = 1;
    fdc->cfg.media[0] = disk;
    harness_start(h, &fdc->dev);
    reset_controller();
}

static void stop(void)
{
    harness_free(h);
    if (disk)
        block_close(disk);
}

static void put(const uint8_t *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        ck_assert_uint_eq(inb(h, 0x3f4) & 0xc0, 0x80);
        outb(h, 0x3f5, bytes[i]);
    }
}
#define PUT(...)                                                                                   \
    do {                                                                                           \
        const uint8_t b_[] = {__VA_ARGS__};                                                        \
        put(b_, sizeof(b_));                                                                       \
    } while (0)

static unsigned results(uint8_t out[16])
{
    unsigned n = 0;

    while ((inb(h, 0x3f4) & 0xd0) == 0xd0 && n < 16)
        out[n++] = inb(h, 0x3f5);
    return n;
}

static void wait_irq(void)
{
    for (int i = 0; i < 1000 && !h->irq[6].level; i++)
        harness_run(h, MS / 10);
    ck_assert_int_eq(h->irq[6].level, 1);
}

static void reset_controller(void)
{
    uint8_t r[16];

    outb(h, 0x3f2, 0x00);
    ck_assert_uint_eq(inb(h, 0x3f4), 0);
    outb(h, 0x3f2, 0x1c); /* motor A, DMA gate */
    wait_irq();
    for (unsigned i = 0; i < 4; i++) {
        PUT(0x08);
        ck_assert_uint_eq(results(r), 2);
        ck_assert_uint_eq(r[0], 0xc0 | i);
        ck_assert_int_eq(h->irq[6].level, 0);
    }
    PUT(0x08);
    ck_assert_uint_eq(results(r), 1);
    ck_assert_uint_eq(r[0], 0x80);
    PUT(0x03, 0xdf, 0x02);
    outb(h, 0x3f7, 0x00); /* 500 kbit/s */
}

static void seek(uint8_t cyl)
{
    uint8_t r[16];

    PUT(0x0f, 0x00, cyl);
    wait_irq();
    PUT(0x08);
    ck_assert_uint_eq(results(r), 2);
    ck_assert_uint_eq(r[0], 0x20);
    ck_assert_uint_eq(r[1], cyl);
}

/* DMA channel 2: mode 46h to memory, 4Ah from memory. */
static void program_dma(uint8_t mode, uint32_t addr, unsigned bytes)
{
    outb(h, 0x0a, 0x06);
    outb(h, 0x0c, 0);
    outb(h, 0x04, (uint8_t)addr);
    outb(h, 0x04, (uint8_t)(addr >> 8));
    outb(h, 0x81, (uint8_t)(addr >> 16));
    outb(h, 0x05, (uint8_t)(bytes - 1));
    outb(h, 0x05, (uint8_t)((bytes - 1) >> 8));
    outb(h, 0x0b, mode);
    outb(h, 0x0a, 0x02);
}

static void check_result(uint8_t st0, uint8_t st1, uint8_t c, uint8_t hd, uint8_t s)
{
    uint8_t r[16];

    wait_irq();
    ck_assert_uint_eq(results(r), 7);
    ck_assert_int_eq(h->irq[6].level, 0);
    ck_assert_uint_eq(r[0], st0);
    ck_assert_uint_eq(r[1], st1);
    ck_assert_uint_eq(r[3], c);
    ck_assert_uint_eq(r[4], hd);
    ck_assert_uint_eq(r[5], s);
    ck_assert_uint_eq(r[6], 2);
}

START_TEST(read_dma)
{
    start(1474560, false);
    seek(5);
    program_dma(0x46, 0x10000, 1024);
    PUT(0xe6, 0x04, 5, 1, 17, 2, 18, 0x1b, 0xff);
    ck_assert_uint_eq(inb(h, 0x3f4), 0x10);
    check_result(0x04, 0, 6, 0, 1); /* MT: the next is on head 0 of the next cylinder */
    ck_assert_uint_eq(ld32(harness_ram(h, 0x10000)), (5 * 2 + 1) * 18 + 16);
    ck_assert_uint_eq(ld32(harness_ram(h, 0x10200)), (5 * 2 + 1) * 18 + 17);
    /* Across heads. */
    program_dma(0x46, 0x10000, 1024);
    PUT(0xe6, 0x00, 5, 0, 18, 2, 18, 0x1b, 0xff);
    check_result(0x04, 0, 5, 1, 2);
    ck_assert_uint_eq(ld32(harness_ram(h, 0x10200)), (5 * 2 + 1) * 18);
    stop();
}
END_TEST

START_TEST(write_dma)
{
    uint8_t sector[512];

    start(1474560, false);
    seek(2);
    memset(harness_ram(h, 0x20000), 0xa5, 512);
    program_dma(0x4a, 0x20000, 512);
    PUT(0xc5, 0x00, 2, 0, 3, 2, 18, 0x1b, 0xff);
    check_result(0, 0, 2, 0, 4);
    ck_assert(block_read(disk, (2 * 36 + 2) * 512, sector, 512));
    ck_assert_uint_eq(sector[0], 0xa5);
    ck_assert_uint_eq(sector[511], 0xa5);
    stop();
}
END_TEST

START_TEST(errors)
{
    start(1474560, true);
    seek(1);
    program_dma(0x4a, 0x20000, 512);
    PUT(0xc5, 0x00, 1, 0, 3, 2, 18, 0x1b, 0xff);
    check_result(0x40, 0x02, 1, 0, 3); /* write protected */
    program_dma(0x46, 0x20000, 512);
    PUT(0xe6, 0x00, 1, 0, 19, 2, 18, 0x1b, 0xff);
    check_result(0x40, 0x04, 1, 0, 19); /* no such sector */
    PUT(0xe6, 0x00, 7, 0, 1, 2, 18, 0x1b, 0xff);
    check_result(0x40, 0x04, 7, 0, 1); /* another cylinder */
    program_dma(0x46, 0x20000, 1024);
    PUT(0x46, 0x00, 1, 0, 18, 2, 18, 0x1b, 0xff);
    check_result(0x40, 0x80, 2, 0, 1); /* end of track before TC */
    outb(h, 0x0a, 0x06);
    PUT(0x46, 0x00, 1, 0, 1, 2, 18, 0x1b, 0xff);
    check_result(0x40, 0x10, 1, 0, 1); /* nobody takes the data */
    outb(h, 0x3f7, 0x02);
    PUT(0x46, 0x00, 1, 0, 1, 2, 18, 0x1b, 0xff);
    check_result(0x40, 0x01, 1, 0, 1); /* wrong data rate */
    stop();
}
END_TEST

START_TEST(pio)
{
    uint8_t r[16];

    start(737280, false);
    outb(h, 0x3f7, 0x02);
    PUT(0x03, 0xdf, 0x03); /* non-DMA */
    seek(3);
    PUT(0x46, 0x00, 3, 0, 9, 2, 9, 0x1b, 0xff);
    for (unsigned i = 0; i < 512; i++) {
        wait_irq();
        ck_assert_uint_eq(inb(h, 0x3f4) & 0xf0, 0xf0);
        r[i & 3] = inb(h, 0x3f5);
        if (i == 3)
            ck_assert_uint_eq(ld32(r), 3 * 18 + 8);
    }
    check_result(0x40, 0x80, 4, 0, 1); /* without TC it ends at the end of the track */
    PUT(0x45, 0x00, 3, 0, 9, 2, 9, 0x1b, 0xff);
    for (unsigned i = 0; i < 512; i++) {
        wait_irq();
        ck_assert_uint_eq(inb(h, 0x3f4) & 0xf0, 0xb0);
        outb(h, 0x3f5, 0x77);
    }
    check_result(0x40, 0x80, 4, 0, 1);
    PUT(0x46, 0x00, 3, 0, 9, 2, 9, 0x1b, 0xff);
    wait_irq();
    ck_assert_uint_eq(inb(h, 0x3f5), 0x77);
    reset_controller(); /* in the middle */
    stop();
}
END_TEST

START_TEST(format_and_verify)
{
    uint8_t sector[512];

    start(1474560, false);
    seek(0);
    for (unsigned i = 0; i < 18; i++) {
        const uint8_t id[4] = {0, 0, (uint8_t)(i + 1), 2};
        memcpy(harness_ram(h, 0x30000 + i * 4), id, 4);
    }
    program_dma(0x4a, 0x30000, 18 * 4);
    PUT(0x4d, 0x00, 2, 18, 0x6c, 0xf6);
    check_result(0, 0, 0, 0, 18);
    ck_assert(block_read(disk, 17 * 512, sector, 512));
    ck_assert_uint_eq(sector[100], 0xf6);
    ck_assert(block_read(disk, 18 * 512, sector, 512));
    ck_assert_uint_eq(sector[100], 18);
    PUT(0x56, 0x80, 0, 0, 1, 2, 18, 0x1b, 5); /* five sectors */
    check_result(0, 0, 0, 0, 6);
    PUT(0x4a, 0x00); /* READ ID */
    check_result(0, 0, 0, 0, 6);
    stop();
}
END_TEST

START_TEST(control_commands)
{
    uint8_t r[16];

    start(1474560, false);
    PUT(0x10);
    ck_assert_uint_eq(results(r), 1);
    ck_assert_uint_eq(r[0], 0x90);
    PUT(0x13, 0x00, 0x57, 0x05);
    PUT(0x94); /* LOCK */
    ck_assert_uint_eq(results(r), 1);
    ck_assert_uint_eq(r[0], 0x10);
    reset_controller();
    PUT(0x0e);
    ck_assert_uint_eq(results(r), 10);
    ck_assert_uint_eq(r[4], 0xdf);
    ck_assert_uint_eq(r[7] & 0x80, 0x80);
    ck_assert_uint_eq(r[8], 0x57);
    /* Implied seek is on. */
    program_dma(0x46, 0x10000, 512);
    PUT(0x46, 0x00, 9, 0, 1, 2, 18, 0x1b, 0xff);
    check_result(0, 0, 9, 0, 2);
    PUT(0x04, 0x00);
    ck_assert_uint_eq(results(r), 1);
    ck_assert_uint_eq(r[0], 0x28);
    PUT(0x07, 0x00);
    wait_irq();
    PUT(0x08);
    results(r);
    ck_assert_uint_eq(r[0], 0x20);
    ck_assert_uint_eq(r[1], 0);
    PUT(0x07, 0x01); /* a drive that is not there */
    wait_irq();
    PUT(0x08);
    results(r);
    ck_assert_uint_eq(r[0], 0x71);
    PUT(0x1f);
    ck_assert_uint_eq(results(r), 1);
    ck_assert_uint_eq(r[0], 0x80);
    stop();
}
END_TEST

START_TEST(media_change)
{
    struct block_dev *odd;

    start(1474560, false);
    ck_assert_uint_eq(inb(h, 0x3f7) & 0x80, 0x80); /* since power-on */
    seek(1);
    ck_assert_uint_eq(inb(h, 0x3f7) & 0x80, 0);
    ck_assert(fdc_set_media(fdc, 0, NULL));
    ck_assert_uint_eq(inb(h, 0x3f7) & 0x80, 0x80);
    seek(0);
    ck_assert_uint_eq(inb(h, 0x3f7) & 0x80, 0x80); /* no disk: it stays */
    program_dma(0x46, 0x10000, 512);
    PUT(0x46, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
    check_result(0x40, 0x01, 0, 0, 1);
    odd = open_image(4096 * 1024, false);
    ck_assert(!fdc_set_media(fdc, 0, odd));
    block_close(odd);
    ck_assert(!fdc_set_media(fdc, 1, disk));
    ck_assert(fdc_set_media(fdc, 0, disk));
    seek(1);
    ck_assert_uint_eq(inb(h, 0x3f7) & 0x80, 0);
    ck_assert(fdc_size_ok(368640) && fdc_size_ok(2949120) && fdc_size_ok(1000 * 512));
    ck_assert(!fdc_size_ok(0) && !fdc_size_ok(1000) && !fdc_size_ok(4 * MIB));
    stop();
}
END_TEST

/* Random bytes at every register end in no crash and leave a controller that a reset revives. */
START_TEST(nonsense)
{
    uint64_t seed = 12345;

    start(1474560, false);
    for (int i = 0; i < 200000; i++) {
        uint32_t r;
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        r = (uint32_t)(seed >> 33);
        if (r & 1)
            outb(h, (uint16_t)(0x3f0 + (r >> 1) % 8), (uint8_t)(r >> 8));
        else
            inb(h, (uint16_t)(0x3f0 + (r >> 1) % 8));
        if ((r >> 20) % 16 == 0)
            harness_run(h, MS);
    }
    reset_controller();
    PUT(0x94);
    results((uint8_t[16]){0});
    stop();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {read_dma,          write_dma,        errors,       pio,
                                  format_and_verify, control_commands, media_change, nonsense};
    return harness_main("fdc", tests, ARRAY_LEN(tests));
}
