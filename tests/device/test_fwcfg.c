/* fw_cfg through its ports and by DMA, and the ACPI and SMBIOS tables as firmware would install
 * them: the loader script is executed here as SeaBIOS does. */
#include "devices/acpi_tables.h"
#include "devices/fw_cfg.h"
#include "devices/smbios.h"
#include "tests/device/harness.h"

struct board {
    struct harness *h;
    struct fw_cfg *fw;
};

static void setup(struct board *t)
{
    t->h = harness_new(1 * MIB);
    t->fw = harness_alloc(t->h, &fw_cfg_class, "fw-cfg");
    harness_start(t->h, &t->fw->dev);
}

static void take(struct board *t, uint16_t key, void *buf, size_t len)
{
    outw(t->h, 0x510, key);
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)buf)[i] = inb(t->h, 0x511);
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_be32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* The file's key and size from the directory; 0 if there is none. */
static uint16_t find(struct board *t, const char *name, uint32_t *size)
{
    uint8_t n[4], e[64];
    uint16_t key = 0;
    take(t, FW_CFG_FILE_DIR, n, 4);
    for (uint32_t i = 0; i < be32(n); i++) {
        for (size_t k = 0; k < sizeof(e); k++)
            e[k] = inb(t->h, 0x511);
        if (strcmp((char *)e + 8, name) == 0) {
            key = (uint16_t)(e[4] << 8 | e[5]);
            *size = be32(e);
        }
    }
    return key;
}

static uint32_t load(struct board *t, const char *name, uint8_t *buf, uint32_t room)
{
    uint32_t size = 0;
    uint16_t key = find(t, name, &size);
    ck_assert_msg(key != 0 && size <= room, "%s", name);
    take(t, key, buf, size);
    return size;
}

START_TEST(ports)
{
    struct board t;
    uint8_t b[8];
    setup(&t);
    take(&t, FW_CFG_SIGNATURE, b, 4);
    ck_assert_mem_eq(b, "QEMU", 4);
    take(&t, FW_CFG_ID, b, 4);
    ck_assert_uint_eq(ld32(b), 3);
    ck_assert_uint_eq(inl(t.h, 0x514), 0x554d4551);
    take(&t, 0x1234, b, 2); /* no such item: zeros */
    ck_assert_uint_eq(ld16(b), 0);
    ck_assert(fw_cfg_add_u16(t.fw, FW_CFG_NB_CPUS, 4));
    take(&t, FW_CFG_NB_CPUS, b, 4);
    ck_assert_uint_eq(ld32(b), 4);
    ck_assert(fw_cfg_add_file(t.fw, "a", "12", 2));
    ck_assert(fw_cfg_add_file(t.fw, "a", "345", 3)); /* replaces */
    uint32_t size;
    take(&t, find(&t, "a", &size), b, 4);
    ck_assert_uint_eq(size, 3);
    ck_assert_mem_eq(b, "345", 4);
    harness_free(t.h);
}
END_TEST

START_TEST(dma)
{
    struct board t;
    setup(&t);
    ck_assert(fw_cfg_add(t.fw, FW_CFG_KERNEL_DATA, "0123456789", 10));
    uint8_t *d = harness_ram(t.h, 0x1000);
    put_be32(d, (uint32_t)FW_CFG_KERNEL_DATA << 16 | 8 | 4); /* select, skip */
    put_be32(d + 4, 3);
    outl(t.h, 0x518, __builtin_bswap32(0x1000));
    ck_assert_uint_eq(be32(d), 0);
    memset(harness_ram(t.h, 0x2000), 0xee, 16);
    put_be32(d, 2); /* read */
    put_be32(d + 4, 9);
    put_be32(d + 8, 0);
    put_be32(d + 12, 0x2000);
    outl(t.h, 0x514, 0);
    outl(t.h, 0x518, __builtin_bswap32(0x1000));
    ck_assert_uint_eq(be32(d), 0);
    ck_assert_mem_eq(harness_ram(t.h, 0x2000), "3456789\0\0\xee", 10);
    put_be32(d, 16); /* write: refused */
    outl(t.h, 0x518, __builtin_bswap32(0x1000));
    ck_assert_uint_eq(be32(d), 1);
    /* A length that is nonsense ends. */
    put_be32(d, 2);
    put_be32(d + 4, 0xffffffff);
    put_be32(d + 12, 0x80000);
    outl(t.h, 0x518, __builtin_bswap32(0x1000));
    harness_free(t.h);
}
END_TEST

START_TEST(pc_items)
{
    struct board t;
    uint8_t b[64];
    setup(&t);
    const struct fw_cfg_pc pc = {.cpus = 2, .ram_below_4g = 3 * GIB, .ram_above_4g = 1 * GIB,
                                 .bootorder = "/rom@genroms/linuxboot.bin\n",
                                 .boot_fail_wait_s = 0xffff};
    ck_assert(fw_cfg_add_pc(t.fw, &pc));
    ck_assert_uint_eq(load(&t, "etc/e820", b, sizeof(b)), 40);
    ck_assert_uint_eq(ld64(b + 8), 3 * GIB);
    ck_assert_uint_eq(ld64(b + 20), 4 * GIB);
    ck_assert_uint_eq(ld32(b + 36), 1);
    ck_assert_uint_eq(load(&t, "etc/boot-fail-wait", b, sizeof(b)), 4);
    ck_assert_uint_eq(ld32(b), 0xffffffff);
    ck_assert_uint_eq(load(&t, "bootorder", b, sizeof(b)), 28);
    take(&t, FW_CFG_MAX_CPUS, b, 2);
    ck_assert_uint_eq(ld16(b), 2);
    harness_free(t.h);
}
END_TEST

static uint8_t sum(const uint8_t *p, uint32_t n)
{
    uint8_t s = 0;
    while (n--)
        s = (uint8_t)(s + *p++);
    return s;
}

START_TEST(acpi_installs)
{
    static uint8_t tables[16384], rsdp[64], script[8192];
    const uint32_t base = 0x7ffe0000;
    uint8_t dsdt[36 + 5 * 10] = "DSDT";
    struct board t;
    setup(&t);
    st32(dsdt + 4, sizeof(dsdt));
    static const char names[5][5] = {"NCPU", "PM32", "PL32", "PM64", "PL64"};
    for (unsigned i = 0; i < 5; i++) {
        uint8_t *p = dsdt + 36 + 10 * i;
        p[0] = 8;
        memcpy(p + 1, names[i], 4);
        p[5] = 0x0c;
    }
    const struct acpi_tables_cfg cfg = {.cpus = 4, .ram_below_4g = 512 * MIB, .dsdt = dsdt,
                                        .dsdt_len = sizeof(dsdt), .phys_bits = 40, .hpet = true};
    ck_assert(acpi_tables_add(t.fw, &cfg));
    uint32_t tables_len = load(&t, "etc/acpi/tables", tables, sizeof(tables));
    uint32_t rsdp_len = load(&t, "etc/acpi/rsdp", rsdp, sizeof(rsdp));
    uint32_t script_len = load(&t, "etc/table-loader", script, sizeof(script));
    ck_assert_uint_eq(script_len % 128, 0);
    for (uint8_t *e = script; e < script + script_len; e += 128) {
        bool in_rsdp = strcmp((char *)e + 4, "etc/acpi/rsdp") == 0;
        uint8_t *file = in_rsdp ? rsdp : tables;
        uint32_t len = in_rsdp ? rsdp_len : tables_len;
        if (ld32(e) == 2) {
            uint32_t off = ld32(e + 116);
            ck_assert_uint_le(off + e[120], len);
            st_sized(file + off, ld_sized(file + off, e[120]) + base, e[120]);
        } else if (ld32(e) == 3) {
            uint32_t off = ld32(e + 60), start = ld32(e + 64), n = ld32(e + 68);
            ck_assert_uint_le(start + n, len);
            file[off] = (uint8_t)(file[off] - sum(file + start, n));
        }
    }
    ck_assert_mem_eq(rsdp, "RSD PTR ", 8);
    ck_assert_uint_eq(sum(rsdp, 20), 0);
    const uint8_t *rsdt = tables + (ld32(rsdp + 16) - base);
    ck_assert_mem_eq(rsdt, "RSDT", 4);
    ck_assert_uint_eq(sum(rsdt, ld32(rsdt + 4)), 0);
    char seen[8][5] = {{0}};
    unsigned n = (ld32(rsdt + 4) - 36) / 4;
    ck_assert_uint_eq(n, 4);
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *tab = tables + (ld32(rsdt + 36 + 4 * i) - base);
        ck_assert_uint_eq(sum(tab, ld32(tab + 4)), 0);
        memcpy(seen[i], tab, 4);
    }
    const char *const want[] = {"FACP", "APIC", "HPET", "WAET"};
    for (unsigned i = 0; i < n; i++)
        ck_assert_str_eq(seen[i], want[i]);
    const uint8_t *fadt = tables + (ld32(rsdt + 36) - base);
    ck_assert_mem_eq(tables + (ld32(fadt + 36) - base), "FACS", 4);
    ck_assert_uint_eq(ld32(fadt + 36) % 64, 0);
    ck_assert_mem_eq(tables + (ld32(fadt + 40) - base), "DSDT", 4);
    ck_assert_uint_eq(ld64(fadt + 140), ld32(fadt + 40));
    const uint8_t *installed = tables + (ld32(fadt + 40) - base);
    ck_assert_uint_eq(sum(installed, sizeof(dsdt)), 0);
    ck_assert_uint_eq(ld32(installed + 36 + 6), 4);
    ck_assert_uint_eq(ld32(installed + 46 + 6), 0x80000000);
    ck_assert_uint_eq(ld32(installed + 56 + 6), 0x7ec00000);
    ck_assert_uint_eq(ld32(installed + 66 + 6), 4);
    ck_assert_uint_eq(ld32(installed + 76 + 6), 1020);
    const uint8_t *madt = tables + (ld32(rsdt + 40) - base);
    ck_assert_uint_eq(ld32(madt + 4), 44 + 4 * 8 + 12 + 5 * 10 + 6);
    harness_free(t.h);
}
END_TEST

START_TEST(smbios_is_well_formed)
{
    uint8_t b[4096], anchor[64];
    struct board t;
    setup(&t);
    const struct smbios_cfg cfg = {.cpus = 2, .ram_below_4g = 3 * GIB, .ram_above_4g = 2 * GIB,
                                   .version = "0.1"};
    ck_assert(smbios_add(t.fw, &cfg));
    uint32_t len = load(&t, "etc/smbios/smbios-tables", b, sizeof(b));
    ck_assert_uint_eq(load(&t, "etc/smbios/smbios-anchor", anchor, sizeof(anchor)), 31);
    static const uint8_t types[] = {0, 1, 3, 4, 4, 16, 17, 19, 19, 32, 127};
    static const uint8_t lengths[] = {24, 27, 22, 48, 48, 23, 40, 31, 31, 11, 4};
    uint32_t at = 0;
    unsigned n = 0;
    while (at < len) {
        ck_assert_uint_lt(n, ARRAY_LEN(types));
        ck_assert_uint_eq(b[at], types[n]);
        ck_assert_uint_eq(b[at + 1], lengths[n]);
        at += b[at + 1];
        while (b[at] || b[at + 1])
            at++;
        at += 2;
        n++;
    }
    ck_assert_uint_eq(at, len);
    ck_assert_uint_eq(n, ARRAY_LEN(types));
    ck_assert_uint_eq(ld16(anchor + 28), n);
    harness_free(t.h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {ports, dma, pc_items, acpi_installs, smbios_is_well_formed};
    return harness_main("fwcfg", tests, ARRAY_LEN(tests));
}
