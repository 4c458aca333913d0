/* The virtio block device, as a legacy driver and as a modern one sees it, and with hostile rings.
 */
#include <stdlib.h>
#include <unistd.h>

#include "devices/pci.h"
#include "devices/virtio_blk.h"
#include "tests/device/harness.h"

#define SECTORS 4096u
#define IO      0xd000u
#define MMIO    0xe0000000u
#define DEVFN   0x20u
#define DESC    0x10000u
#define AVAIL   (DESC + 128 * 16)
#define USED    0x11000u

static struct harness *h;
static struct pci_bus bus;
static struct block_dev *disk;
static int pin;
static uint16_t avail_idx;

static unsigned map_pin(unsigned slot, unsigned p)
{
    return p;
}

static void set_pirq(void *opaque, unsigned n, int level)
{
    pin = level;
}

static void setup(void)
{
    char name[] = "/tmp/tnm-virtio-XXXXXX";
    struct error err = {0};
    int fd = mkstemp(name);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, SECTORS * 512), 0);
    close(fd);
    disk = block_open(&(struct block_options){.path = name, .format = "raw"}, &err);
    unlink(name);
    ck_assert_msg(disk != NULL, "%s", err.text);

    h = harness_new(4 * MIB);
    memset(&bus, 0, sizeof(bus));
    pci_bus_init(&bus, &h->board);
    bus.map_pin = map_pin;
    bus.set_pirq = set_pirq;
    struct device *dev = harness_alloc(h, &virtio_blk_class, "virtio0");
    virtio_blk_configure(
        dev, &(struct virtio_blk_cfg){.bus = &bus, .devfn = DEVFN, .block = disk, .serial = "abc"});
    harness_start(h, dev);
    pci_config_write(&bus, DEVFN, 0x10, IO, 4);
    pci_config_write(&bus, DEVFN, 0x20, MMIO, 4);
    pci_config_write(&bus, DEVFN, 4, PCI_CMD_IO | PCI_CMD_MEMORY | PCI_CMD_MASTER, 2);
    avail_idx = 0;
}

static void teardown(void)
{
    harness_free(h);
    block_close(disk);
}

static uint32_t rd(uint32_t offset, unsigned size)
{
    return (uint32_t)physmap_read(h->board.mem, MMIO + offset, size);
}

static void wr(uint32_t offset, uint32_t v, unsigned size)
{
    physmap_write(h->board.mem, MMIO + offset, v, size);
}

static void desc(uint64_t table, unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
                 uint16_t next)
{
    uint8_t *d = harness_ram(h, table + i * 16);
    st64(d, addr);
    st32(d + 8, len);
    st16(d + 12, flags);
    st16(d + 14, next);
}

static void offer(uint16_t head)
{
    st16(harness_ram(h, AVAIL + 4 + (avail_idx++ % 128) * 2u), head);
    st16(harness_ram(h, AVAIL + 2), avail_idx);
}

/* Header at 0x20000, data at 0x21000, status at 0x20100. */
static void request(uint32_t type, uint64_t sector, uint32_t len, bool to_device)
{
    uint8_t *p = harness_ram(h, 0x20000);
    st32(p, type);
    st32(p + 4, 0);
    st64(p + 8, sector);
    p[0x100] = 0xee;
    desc(DESC, 0, 0x20000, 16, 1, 1);
    desc(DESC, 1, 0x21000, len, to_device ? 1 : 3, 2);
    desc(DESC, 2, 0x20100, 1, 2, 0);
    offer(0);
}

static uint8_t status(void)
{
    harness_run(h, 1000000);
    return *harness_ram(h, 0x20100);
}

static void start_modern(void)
{
    wr(0x14, 0, 1);
    wr(0x14, 3, 1);
    for (unsigned i = 0; i < 2; i++) {
        wr(0x00, i, 4);
        wr(0x08, i, 4);
        wr(0x0c, rd(0x04, 4) & ~(i ? 0u : 1u << 29), 4); /* all but event indexes */
    }
    wr(0x14, 11, 1);
    ck_assert_uint_eq(rd(0x14, 1), 11);
    wr(0x16, 0, 2);
    ck_assert_uint_eq(rd(0x18, 2), 128);
    wr(0x20, DESC, 4);
    wr(0x28, AVAIL, 4);
    wr(0x30, USED, 4);
    wr(0x1c, 1, 2);
    wr(0x14, 15, 1);
    memset(harness_ram(h, DESC), 0, 0x2000);
    avail_idx = 0;
}

START_TEST(legacy)
{
    ck_assert_uint_eq(pci_config_read(&bus, DEVFN, 0, 4), 0x10011af4);
    ck_assert_uint_eq(pci_config_read(&bus, DEVFN, 0x2c, 4), 0x00021af4);
    ck_assert_uint_eq(inl(h, IO + 20), SECTORS);
    outb(h, IO + 18, 3);
    outl(h, IO + 4, inl(h, IO) & (1u << 9));
    outw(h, IO + 14, 0);
    ck_assert_uint_eq(inw(h, IO + 12), 128);
    outl(h, IO + 8, DESC >> 12);
    outb(h, IO + 18, 7);

    memset(harness_ram(h, 0x21000), 0x5a, 4096);
    request(1, 8, 4096, true);
    outw(h, IO + 16, 0);
    ck_assert_int_eq(pin, 0); /* not within the notification */
    ck_assert_uint_eq(status(), 0);
    ck_assert_int_eq(pin, 1);
    ck_assert_uint_eq(inb(h, IO + 19), 1);
    ck_assert_int_eq(pin, 0);
    memset(harness_ram(h, 0x21000), 0, 4096);
    request(0, 9, 512, false);
    outw(h, IO + 16, 0);
    ck_assert_uint_eq(status(), 0);
    ck_assert_uint_eq(*harness_ram(h, 0x21000 + 511), 0x5a);
    ck_assert_uint_eq(*harness_ram(h, 0x21000 + 512), 0);
    ck_assert_uint_eq(ld16(harness_ram(h, USED + 2)), 2);
    ck_assert_uint_eq(ld32(harness_ram(h, USED + 4 + 8 + 4)), 513);
    outb(h, IO + 18, 0);
    ck_assert_uint_eq(inl(h, IO + 8), 0);
}
END_TEST

START_TEST(modern)
{
    start_modern();
    request(8, 0, 20, false);
    wr(0x3000, 0, 2);
    ck_assert_uint_eq(status(), 0);
    ck_assert_str_eq((char *)harness_ram(h, 0x21000), "abc");
    request(0, SECTORS - 1, 1024, false);
    wr(0x3000, 0, 2);
    ck_assert_uint_eq(status(), 1);
    request(0, UINT64_MAX / 512, 1024, false);
    wr(0x3000, 0, 2);
    ck_assert_uint_eq(status(), 1);
    request(99, 0, 512, false);
    wr(0x3000, 0, 2);
    ck_assert_uint_eq(status(), 2);

    memset(harness_ram(h, 0x21000), 0x77, 4096);
    request(1, 0, 4096, true);
    wr(0x3000, 0, 2);
    ck_assert_uint_eq(status(), 0);
    uint8_t *r = harness_ram(h, 0x21000);
    st64(r, 2); /* write zeroes: sectors 2 and 3 */
    st32(r + 8, 2);
    st32(r + 12, 1);
    request(13, 0, 16, true);
    wr(0x3000, 0, 2);
    ck_assert_uint_eq(status(), 0);
    uint8_t b[512];
    ck_assert(block_read(disk, 3 * 512, b, 512));
    ck_assert_uint_eq(b[511], 0);
    ck_assert(block_read(disk, 4 * 512, b, 512));
    ck_assert_uint_eq(b[0], 0x77);

    /* An indirect table. */
    st32(harness_ram(h, 0x20000), 0);
    st64(harness_ram(h, 0x20008), 4);
    desc(0x30000, 0, 0x20000, 16, 1, 1);
    desc(0x30000, 1, 0x21000, 512, 3, 2);
    desc(0x30000, 2, 0x20100, 1, 2, 0);
    desc(DESC, 5, 0x30000, 48, 4, 0);
    *harness_ram(h, 0x20100) = 0xee;
    offer(5);
    wr(0x3000, 0, 2);
    ck_assert_uint_eq(status(), 0);
    ck_assert_uint_eq(*harness_ram(h, 0x21000), 0x77);
}
END_TEST

/* The same registers through the capability in configuration space. */
START_TEST(config_access)
{
    unsigned cap = pci_config_read(&bus, DEVFN, 0x34, 1), seen = 0, cfg = 0;
    for (unsigned n = 0; cap && n < 16; n++) {
        if (pci_config_read(&bus, DEVFN, cap, 1) == 9) {
            unsigned type = pci_config_read(&bus, DEVFN, cap + 3, 1);
            seen |= 1u << type;
            cfg = type == 5 ? cap : cfg;
        }
        cap = pci_config_read(&bus, DEVFN, cap + 1, 1);
    }
    ck_assert_uint_eq(seen, 0x3e);
    pci_config_write(&bus, DEVFN, cfg + 4, 4, 1);
    pci_config_write(&bus, DEVFN, cfg + 8, 0x2000, 4);
    pci_config_write(&bus, DEVFN, cfg + 12, 4, 4);
    ck_assert_uint_eq(pci_config_read(&bus, DEVFN, cfg + 16, 4), SECTORS);
    pci_config_write(&bus, DEVFN, cfg + 8, 0x14, 4);
    pci_config_write(&bus, DEVFN, cfg + 12, 1, 4);
    pci_config_write(&bus, DEVFN, cfg + 16, 1, 1);
    ck_assert_uint_eq(rd(0x14, 1), 1);
}
END_TEST

START_TEST(features)
{
    wr(0x14, 3, 1);
    wr(0x08, 0, 4);
    wr(0x0c, 1u << 30, 4); /* never offered */
    wr(0x08, 1, 4);
    wr(0x0c, 1, 4);
    wr(0x14, 11, 1);
    ck_assert_uint_eq(rd(0x14, 1), 3);
    wr(0x08, 0, 4);
    wr(0x0c, 0, 4);
    wr(0x08, 1, 4);
    wr(0x0c, 0, 4); /* without VERSION_1 */
    wr(0x14, 11, 1);
    ck_assert_uint_eq(rd(0x14, 1), 3);
}
END_TEST

START_TEST(event_index)
{
    start_modern();
    wr(0x14, 0, 1);
    wr(0x14, 3, 1);
    wr(0x08, 0, 4);
    wr(0x0c, 1u << 29, 4);
    wr(0x08, 1, 4);
    wr(0x0c, 1, 4);
    wr(0x14, 11, 1);
    wr(0x20, DESC, 4);
    wr(0x28, AVAIL, 4);
    wr(0x30, USED, 4);
    wr(0x1c, 1, 2);
    wr(0x14, 15, 1);
    st16(harness_ram(h, AVAIL + 4 + 256), 1); /* interrupt after the second */
    request(8, 0, 20, false);
    wr(0x3000, 0, 2);
    ck_assert_uint_eq(status(), 0);
    ck_assert_int_eq(pin, 0);
    ck_assert_uint_eq(ld16(harness_ram(h, USED + 4 + 8 * 128)), 1);
    request(8, 0, 20, false);
    wr(0x3000, 0, 2);
    ck_assert_uint_eq(status(), 0);
    ck_assert_int_eq(pin, 1);
    ck_assert_uint_eq(rd(0x1000, 1), 1);
}
END_TEST

static void broken(void)
{
    wr(0x3000, 0, 2);
    harness_run(h, 1000000);
    ck_assert_uint_eq(rd(0x14, 1) & 0x40, 0x40);
    ck_assert_uint_eq(ld16(harness_ram(h, USED + 2)), 0);
}

START_TEST(hostile)
{
    start_modern(); /* a loop */
    desc(DESC, 0, 0x20000, 16, 1, 1);
    desc(DESC, 1, 0x20000, 16, 1, 0);
    offer(0);
    broken();
    start_modern(); /* a head and a link out of the table */
    offer(200);
    broken();
    start_modern();
    desc(DESC, 0, 0x20000, 16, 1, 128);
    offer(0);
    broken();
    start_modern(); /* more offered than there is room for */
    st16(harness_ram(h, AVAIL + 2), 129);
    broken();
    start_modern(); /* tables in tables, sizes that are none */
    desc(DESC, 0, 0x30000, 32, 4, 0);
    desc(0x30000, 0, 0x30000, 32, 4, 0);
    offer(0);
    broken();
    start_modern();
    desc(DESC, 0, 0x30000, 33, 4, 0);
    offer(0);
    broken();
    start_modern(); /* no place for the status; the driver's part after the device's */
    desc(DESC, 0, 0x20000, 16, 0, 0);
    offer(0);
    broken();
    start_modern();
    desc(DESC, 0, 0x20000, 16, 3, 1);
    desc(DESC, 1, 0x20000, 16, 0, 0);
    offer(0);
    broken();
    start_modern(); /* rings where there is nothing */
    wr(0x14, 0, 1);
    wr(0x20, 0xfffffff0, 4);
    wr(0x28, 0xfffffff0, 4);
    wr(0x30, 0xfffffff0, 4);
    wr(0x1c, 1, 2);
    wr(0x3000, 0, 2);
    harness_run(h, 10000000);
    start_modern(); /* and a device that works again afterwards */
    request(8, 0, 20, false);
    wr(0x3000, 0, 2);
    ck_assert_uint_eq(status(), 0);
}
END_TEST

START_TEST(nonsense)
{
    uint32_t r = (uint32_t)_i;
    start_modern();
    for (unsigned i = 0; i < 30000; i++) {
        r = r * 1664525 + 1013904223;
        uint32_t v = r * 2654435761u;
        switch (r >> 28) {
        case 0:
            outl(h, (uint16_t)(IO + (r >> 8 & 127)), v & 0x1ff);
            break;
        case 1:
            (void)inl(h, (uint16_t)(IO + (r >> 8 & 127)));
            break;
        case 2:
            wr(r >> 8 & 0x3f, v & 0x1ffff, 1u << (r >> 20 & 1));
            break;
        case 3:
            (void)rd(r >> 8 & 0x3fff, 4);
            break;
        case 4:
            harness_run(h, 6000);
            break;
        case 5:
            start_modern();
            break;
        case 6:
        case 7:
            wr(0x3000, 0, 2);
            break;
        case 8:
            offer((uint16_t)(v & 127));
            break;
        default: /* descriptors with small addresses, so that they chain into one another */
            desc(DESC, v & 15, v & 0x3fff0, v >> 20 & 0x7ff, r >> 8 & 7, r >> 12 & 15);
            break;
        }
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("virtio");
    TCase *tc = tcase_create("virtio");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, legacy);
    tcase_add_test(tc, modern);
    tcase_add_test(tc, config_access);
    tcase_add_test(tc, features);
    tcase_add_test(tc, event_index);
    tcase_add_test(tc, hostile);
    tcase_add_loop_test(tc, nonsense, 0, 4);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
