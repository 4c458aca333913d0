/* IDE disks and CD-ROMs through the ports a driver uses. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "devices/ide.h"
#include "devices/pci.h"
#include "tests/device/harness.h"

#define DISK_SECTORS 20000u
#define CD_FRAMES    300u
#define BM           0xc000u
#define DEVFN        9u

static struct harness *h;
static struct pci_bus bus;
static struct ide *ide;
static struct block_dev *disk, *cd;

static struct block_dev *image(uint64_t sectors, bool discard)
{
    char name[] = "/tmp/tnm-ide-XXXXXX";
    uint8_t sector[512];
    struct error err = {0};
    int fd = mkstemp(name);
    ck_assert_int_ge(fd, 0);
    for (uint64_t i = 0; i < sectors; i++) {
        for (unsigned k = 0; k < 512; k += 4)
            st32(sector + k, (uint32_t)(i * 1000 + k));
        ck_assert_int_eq(write(fd, sector, 512), 512);
    }
    close(fd);
    struct block_dev *b = block_open(
        &(struct block_options){
            .path = name, .format = "raw", .discard = discard, .readonly = !discard},
        &err);
    unlink(name);
    ck_assert_msg(b != NULL, "%s", err.text);
    return b;
}

static void setup(void)
{
    h = harness_new(4 * MIB);
    memset(&bus, 0, sizeof(bus));
    pci_bus_init(&bus, &h->board);
    disk = image(DISK_SECTORS, true);
    cd = image(CD_FRAMES * 4, false);
    struct device *dev = harness_alloc(h, &ide_class, "ide");
    struct ide_cfg cfg = {.bus = &bus, .devfn = DEVFN};
    cfg.irq[0] = harness_irq(h, 14);
    cfg.irq[1] = harness_irq(h, 15);
    cfg.drive[0][0] = (struct ide_drive_cfg){.kind = IDE_DISK, .block = disk};
    cfg.drive[1][1] = (struct ide_drive_cfg){.kind = IDE_CDROM, .block = cd};
    ide_configure(dev, &cfg);
    harness_start(h, dev);
    ide = (struct ide *)dev;
    pci_config_write(&bus, DEVFN, 0x20, BM, 4);
    pci_config_write(&bus, DEVFN, 4, PCI_CMD_IO | PCI_CMD_MASTER, 2);
    harness_run(h, 1000000);
}

static void teardown(void)
{
    harness_free(h);
    block_close(disk);
    block_close(cd);
}

static const uint16_t base[2] = {0x1f0, 0x170};

/* Lets time pass until BSY is off; the status by the alternate register. */
static uint8_t settle(unsigned c)
{
    uint16_t alt = (uint16_t)(base[c] + 0x206);
    for (unsigned i = 0; i < 100 && inb(h, alt) & 0x80; i++)
        harness_run(h, 1000000);
    return inb(h, alt);
}

static void command(unsigned c, uint8_t select, uint32_t lba, uint8_t count, uint8_t cmd)
{
    outb(h, (uint16_t)(base[c] + 6), (uint8_t)(select | (lba >> 24 & 15)));
    outb(h, (uint16_t)(base[c] + 2), count);
    outb(h, (uint16_t)(base[c] + 3), (uint8_t)lba);
    outb(h, (uint16_t)(base[c] + 4), (uint8_t)(lba >> 8));
    outb(h, (uint16_t)(base[c] + 5), (uint8_t)(lba >> 16));
    outb(h, (uint16_t)(base[c] + 7), cmd);
}

static void read_words(unsigned c, uint8_t *buf, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += 2)
        st16(buf + i, inw(h, base[c]));
}

static void check_sector(const uint8_t *p, uint64_t lba)
{
    ck_assert_uint_eq(ld32(p), lba * 1000);
    ck_assert_uint_eq(ld32(p + 508), lba * 1000 + 508);
}

START_TEST(presence)
{
    /* Signatures after reset; the absent slave answers zeros, the absent master floats. */
    ck_assert_uint_eq(inb(h, 0x1f7), 0x50);
    ck_assert_uint_eq(inb(h, 0x1f1), 0x01);
    ck_assert_uint_eq(inb(h, 0x1f4) | inb(h, 0x1f5), 0);
    outb(h, 0x1f6, 0xb0);
    ck_assert_uint_eq(inb(h, 0x1f7), 0);
    ck_assert_uint_eq(inb(h, 0x177), 0x7f);
    outb(h, 0x176, 0xb0);
    ck_assert_uint_eq(inb(h, 0x177), 0);
    ck_assert_uint_eq(inb(h, 0x174), 0x14);
    ck_assert_uint_eq(inb(h, 0x175), 0xeb);
    outb(h, 0x1f6, 0xb0);
    outb(h, 0x1f7, 0xec); /* nobody hears it */
    harness_run(h, 10000000);
    ck_assert_uint_eq(h->irq[14].rises, 0);
    ck_assert_uint_eq(pci_config_read(&bus, DEVFN, 0, 4), 0x70108086);
    ck_assert_uint_eq(pci_config_read(&bus, DEVFN, 8, 4) >> 8, 0x010180);
}
END_TEST

START_TEST(identify)
{
    uint8_t b[512], sum = 0;
    command(0, 0xa0, 0, 0, 0xec);
    ck_assert_uint_eq(inb(h, 0x3f6) & 0x80, 0x80);
    ck_assert_uint_eq(h->irq[14].rises, 0); /* not before time has passed */
    ck_assert_uint_eq(settle(0), 0x58);
    ck_assert_int_eq(h->irq[14].level, 1);
    inb(h, 0x1f7);
    ck_assert_int_eq(h->irq[14].level, 0);
    read_words(0, b, 512);
    ck_assert_uint_eq(inb(h, 0x1f7), 0x50);
    ck_assert_uint_eq(h->irq[14].rises, 1);
    ck_assert_uint_eq(ld32(b + 120), DISK_SECTORS);
    ck_assert_uint_eq(ld64(b + 200), DISK_SECTORS);
    ck_assert_uint_eq(ld16(b + 2), DISK_SECTORS / 1008);
    ck_assert(!memcmp(b + 54, "iTanom uaHdrD si k", 18));
    for (unsigned i = 0; i < 512; i++)
        sum = (uint8_t)(sum + b[i]);
    ck_assert_uint_eq(sum, 0);
}
END_TEST

START_TEST(pio)
{
    uint8_t b[1536];
    command(0, 0xe0, 77, 3, 0x20);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(settle(0) & 0x88, 0x08);
        inb(h, 0x1f7);
        read_words(0, b + i * 512, 512);
    }
    ck_assert_uint_eq(settle(0), 0x50);
    ck_assert_uint_eq(h->irq[14].rises, 3);
    for (unsigned i = 0; i < 3; i++)
        check_sector(b + i * 512, 77 + i);

    /* The same sector by CHS: 78 is cylinder 0, head 1, sector 16. */
    command(0, 0xa1, 16, 1, 0x20);
    settle(0);
    read_words(0, b, 512);
    check_sector(b, 78);

    /* WRITE MULTIPLE of 5 sectors in blocks of 4, back by READ SECTORS EXT. */
    command(0, 0xe0, 0, 4, 0xc6);
    ck_assert_uint_eq(settle(0), 0x50);
    command(0, 0xe0, 500, 5, 0xc5);
    unsigned before = h->irq[14].rises;
    for (unsigned k = 0; k < 5; k++) {
        ck_assert_uint_eq(settle(0) & 8, 8);
        for (unsigned i = 0; i < 256; i++)
            outw(h, 0x1f0, (uint16_t)(0x5000 + k));
        inb(h, 0x1f7);
    }
    ck_assert_uint_eq(settle(0), 0x50);
    ck_assert_uint_eq(h->irq[14].rises, before + 2);
    outb(h, 0x1f2, 0);
    outb(h, 0x1f3, 0);
    outb(h, 0x1f4, 0);
    outb(h, 0x1f5, 0);
    command(0, 0xe0, 504, 1, 0x24);
    settle(0);
    read_words(0, b, 512);
    ck_assert_uint_eq(ld16(b), 0x5004);
}
END_TEST

START_TEST(bad_commands)
{
    command(0, 0xe0, DISK_SECTORS - 1, 2, 0x20);
    ck_assert_uint_eq(settle(0) & 0x89, 0x01);
    ck_assert_uint_eq(inb(h, 0x1f1), 0x10);
    command(0, 0xe0, 0, 1, 0xc4); /* no block size set */
    ck_assert_uint_eq(settle(0) & 1, 1);
    ck_assert_uint_eq(inb(h, 0x1f1), 0x04);
    command(0, 0xe0, 0, 0, 0x00);
    ck_assert_uint_eq(settle(0) & 1, 1);
    command(0, 0xe0, 0, 1, 0x87);
    ck_assert_uint_eq(settle(0) & 1, 1);
    command(0, 0xe0, 0, 0, 0xf8);
    settle(0);
    ck_assert_uint_eq(inb(h, 0x1f3) | inb(h, 0x1f4) << 8, DISK_SECTORS - 1);
    /* nIEN keeps the line down. */
    unsigned before = h->irq[14].rises;
    outb(h, 0x3f6, 2);
    command(0, 0xe0, 0, 0, 0xe7);
    ck_assert_uint_eq(settle(0), 0x50);
    ck_assert_uint_eq(h->irq[14].rises, before);
    /* A reset in the middle of a transfer. */
    command(0, 0xe0, 0, 8, 0x20);
    settle(0);
    inw(h, 0x1f0);
    outb(h, 0x3f6, 4);
    ck_assert_uint_eq(inb(h, 0x3f6) & 0x80, 0x80);
    harness_run(h, 1000000);
    ck_assert_uint_eq(inb(h, 0x3f6) & 0x80, 0x80);
    outb(h, 0x3f6, 0);
    ck_assert_uint_eq(settle(0), 0x50);
    ck_assert_uint_eq(inb(h, 0x1f2), 1);
}
END_TEST

START_TEST(dma)
{
    uint8_t *ram = harness_ram(h, 0);
    /* 40 sectors into two regions that do not match sectors. */
    st32(ram + 0x1000, 0x10000);
    st32(ram + 0x1004, 1000);
    st32(ram + 0x1008, 0x20000);
    st32(ram + 0x100c, 0x80000000u | (40 * 512 - 1000));
    outl(h, BM + 4, 0x1000);
    outb(h, BM + 2, 6);
    command(0, 0xe0, 100, 40, 0xc8);
    settle(0);
    outb(h, BM, 0x09);
    ck_assert_uint_eq(inb(h, BM + 2) & 7, 1);
    ck_assert_uint_eq(settle(0), 0x50);
    ck_assert_uint_eq(inb(h, BM + 2) & 7, 4);
    outb(h, BM, 0);
    outb(h, BM + 2, 4);
    ck_assert_uint_eq(inb(h, BM + 2) & 7, 0);
    check_sector(ram + 0x10000, 100);
    memmove(ram + 0x20000 - 1000, ram + 0x10000, 1000);
    for (unsigned i = 0; i < 40; i++)
        check_sector(ram + 0x20000 - 1000 + i * 512, 100 + i);

    /* A write, started before the command; then a table that is too short, in two starts. */
    st32(ram + 0x1000, 0x30000);
    st32(ram + 0x1004, 0x80000000u | 512);
    memset(ram + 0x30000, 0xab, 512);
    outb(h, BM, 0x01);
    command(0, 0xe0, 100, 2, 0xca);
    ck_assert_uint_eq(settle(0) & 0x88, 0x08);
    ck_assert_uint_eq(inb(h, BM + 2) & 1, 0);
    memset(ram + 0x30000, 0xcd, 512);
    outb(h, BM, 0x00);
    outb(h, BM, 0x01);
    ck_assert_uint_eq(settle(0), 0x50);
    uint8_t b[1024];
    ck_assert(block_read(disk, 100 * 512, b, 1024));
    ck_assert_uint_eq(b[0], 0xab);
    ck_assert_uint_eq(b[512], 0xcd);

    /* Against the direction: refused, memory untouched. */
    outb(h, BM, 0x00);
    outb(h, BM, 0x01);
    command(0, 0xe0, 100, 1, 0xc8);
    settle(0);
    ck_assert_uint_eq(inb(h, BM + 2) & 3, 2);
    ck_assert_uint_eq(ram[0x30000], 0xcd);
}
END_TEST

/* ---- CD-ROM ------------------------------------------------------------------------------------ */

static uint8_t packet(const uint8_t *cmd, uint16_t limit, uint8_t feature)
{
    outb(h, 0x176, 0xb0);
    outb(h, 0x171, feature);
    outb(h, 0x174, (uint8_t)limit);
    outb(h, 0x175, (uint8_t)(limit >> 8));
    outb(h, 0x177, 0xa0);
    ck_assert_uint_eq(settle(1) & 0x89, 0x08);
    ck_assert_uint_eq(inb(h, 0x172) & 3, 1);
    for (unsigned i = 0; i < 12; i += 2)
        outw(h, 0x170, ld16(cmd + i));
    return settle(1);
}

/* Runs a packet with PIO data in; the number of bytes. */
static unsigned packet_in(const uint8_t *cmd, uint8_t *buf, uint16_t limit)
{
    unsigned n = 0;
    uint8_t status = packet(cmd, limit, 0);
    while (status & 8) {
        unsigned part = (unsigned)(inb(h, 0x174) | inb(h, 0x175) << 8);
        ck_assert_uint_eq(inb(h, 0x172) & 3, 2);
        ck_assert_uint_le(part, limit);
        inb(h, 0x177);
        read_words(1, buf + n, part);
        n += part;
        status = settle(1);
    }
    ck_assert_uint_eq(status & 0x81, 0);
    ck_assert_uint_eq(inb(h, 0x172) & 3, 3);
    inb(h, 0x177);
    return n;
}

static unsigned sense(void)
{
    static const uint8_t cmd[12] = {0x03, 0, 0, 0, 18};
    uint8_t b[18];
    ck_assert_uint_eq(packet_in(cmd, b, 64), 18);
    return (unsigned)(b[2] << 16 | b[12] << 8 | b[13]);
}

START_TEST(atapi)
{
    static const uint8_t ready[12] = {0}, capacity[12] = {0x25};
    static const uint8_t toc[12] = {0x43, 2, 0, 0, 0, 0, 0, 0, 20};
    static const uint8_t inquiry[12] = {0x12, 0, 0, 0, 36};
    static uint8_t b[65536];

    outb(h, 0x176, 0xb0);
    outb(h, 0x177, 0xec);
    ck_assert_uint_eq(settle(1) & 1, 1);
    ck_assert_uint_eq(inb(h, 0x175), 0xeb);
    outb(h, 0x177, 0xa1);
    ck_assert_uint_eq(settle(1) & 8, 8);
    read_words(1, b, 512);
    ck_assert_uint_eq(ld16(b), 0x85c0);
    ck_assert_uint_eq(inb(h, 0x177) & 0x88, 0);

    ck_assert_uint_eq(packet(ready, 0, 0) & 1, 1); /* unit attention: power-on */
    ck_assert_uint_eq(sense(), 0x062900);
    ck_assert_uint_eq(packet(ready, 0, 0) & 1, 0);
    ck_assert_uint_eq(packet_in(capacity, b, 8), 8);
    ck_assert_uint_eq(b[2] << 8 | b[3], CD_FRAMES - 1);
    ck_assert_uint_eq(packet_in(toc, b, 100), 20);
    ck_assert_uint_eq(b[14], 0xaa);
    ck_assert_uint_eq((b[17] * 60u + b[18]) * 75u + b[19] - 150, CD_FRAMES);
    ck_assert_uint_eq(packet_in(inquiry, b, 11), 36); /* in blocks of 10 */
    ck_assert_uint_eq(b[0], 5);

    static const uint8_t read10[12] = {0x28, 0, 0, 0, 0, 20, 0, 0, 25};
    ck_assert_uint_eq(packet_in(read10, b, 0xfffe), 25 * 2048);
    for (unsigned i = 0; i < 100; i++)
        check_sector(b + i * 512, 80 + i);
    static const uint8_t beyond[12] = {0x28, 0, 0, 0, 1, 43, 0, 0, 2};
    ck_assert_uint_eq(packet(beyond, 2048, 0) & 1, 1);
    ck_assert_uint_eq(sense(), 0x052100);
    static const uint8_t raw[12] = {0xbe, 0, 0, 0, 0, 16, 0, 0, 1, 0xf8};
    ck_assert_uint_eq(packet_in(raw, b, 0xfffe), 2352);
    ck_assert_uint_eq(ld32(b), 0xffffff00);
    ck_assert_uint_eq(ld32(b + 12), 0x01160200); /* 00:02:16, mode 1 */
    check_sector(b + 16, 64);
    static const uint8_t nonsense[12] = {0xff};
    ck_assert_uint_eq(packet(nonsense, 2048, 0) & 1, 1);
    ck_assert_uint_eq(sense(), 0x052000);
}
END_TEST

START_TEST(atapi_dma_and_media)
{
    static const uint8_t ready[12] = {0}, read12[12] = {0xa8, 0, 0, 0, 0, 4, 0, 0, 0, 30};
    static const uint8_t eject[12] = {0x1b, 0, 0, 0, 2}, load[12] = {0x1b, 0, 0, 0, 3};
    static const uint8_t lock[12] = {0x1e, 0, 0, 0, 1}, unlock[12] = {0x1e};
    uint8_t *ram = harness_ram(h, 0);
    (void)packet(ready, 0, 0);
    st32(ram + 0x2000, 0x40000);
    st32(ram + 0x2004, 0x80000000u | 30 * 2048);
    outl(h, BM + 12, 0x2000);
    uint8_t status = packet(read12, 0, 1);
    ck_assert_uint_eq(status & 8, 8);
    outb(h, BM + 8, 9);
    ck_assert_uint_eq(settle(1) & 0x89, 0);
    ck_assert_uint_eq(inb(h, BM + 10) & 7, 4);
    for (unsigned i = 0; i < 120; i++)
        check_sector(ram + 0x40000 + i * 512, 16 + i);

    ck_assert_uint_eq(packet(lock, 0, 0) & 1, 0);
    ck_assert_uint_eq(packet(eject, 0, 0) & 1, 1);
    ck_assert_uint_eq(sense(), 0x055302);
    ck_assert_uint_eq(packet(unlock, 0, 0) & 1, 0);
    ck_assert_uint_eq(packet(eject, 0, 0) & 1, 0);
    ck_assert_uint_eq(packet(ready, 0, 0) & 1, 1);
    ck_assert_uint_eq(sense(), 0x023a02);
    ck_assert_uint_eq(packet(load, 0, 0) & 1, 0);
    ck_assert_uint_eq(packet(ready, 0, 0) & 1, 1);
    ck_assert_uint_eq(sense(), 0x062800);

    ide_set_cdrom(ide, 1, 1, NULL);
    ck_assert_uint_eq(packet(ready, 0, 0) & 1, 1);
    ck_assert_uint_eq(sense(), 0x023a02);
    ide_set_cdrom(ide, 1, 1, cd);
    static const uint8_t events[12] = {0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8};
    uint8_t b[8];
    ck_assert_uint_eq(packet_in(events, b, 8), 8);
    ck_assert_uint_eq(b[4], 2);
    ck_assert_uint_eq(packet(ready, 0, 0) & 1, 1);
    ck_assert_uint_eq(sense(), 0x062800);
    ck_assert_uint_eq(packet(ready, 0, 0) & 1, 0);
}
END_TEST

/* Nonsense on every register: nothing to see but the absence of a crash. */
START_TEST(nonsense)
{
    uint32_t r = (uint32_t)_i;
    for (unsigned i = 0; i < 60000; i++) {
        r = r * 1664525 + 1013904223;
        uint16_t port = (uint16_t)((r >> 8 & 1 ? 0x1f0 : 0x170) + (r >> 9 & 7));
        uint8_t v = (uint8_t)(r >> 24);
        if ((r >> 12 & 31) == 0)
            port = (uint16_t)(BM + (r >> 17 & 15));
        else if ((r >> 12 & 63) == 2)
            port = 0x3f6;
        if (r >> 20 & 1)
            outb(h, port, v);
        else if (r >> 21 & 1)
            outw(h, port, (uint16_t)(v * 257));
        else
            (void)inl(h, port);
        if ((r >> 22 & 15) == 0)
            harness_run(h, 20000);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ide");
    TCase *tc = tcase_create("ide");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, presence);
    tcase_add_test(tc, identify);
    tcase_add_test(tc, pio);
    tcase_add_test(tc, bad_commands);
    tcase_add_test(tc, dma);
    tcase_add_test(tc, atapi);
    tcase_add_test(tc, atapi_dma_and_media);
    tcase_add_loop_test(tc, nonsense, 0, 4);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
