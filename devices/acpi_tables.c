/* ACPI tables. See acpi_tables.h; layouts are from the ACPI specification 5.2.
 *
 * All tables but the RSDP are one blob. Pointers in it are offsets from its start, and the loader
 * script tells firmware to add the blob's address to each and then to make the checksums right. The
 * script's form is that of SeaBIOS src/fw/romfile_loader.h.
 */
#include "devices/acpi_tables.h"
#include "devices/acpi_pm.h"
#include "devices/apic_bus.h"
#include "devices/hpet.h"
#include "devices/ioapic.h"

#define FILE_TABLES "etc/acpi/tables"
#define FILE_RSDP "etc/acpi/rsdp"
#define FILE_LOADER "etc/table-loader"

#define BLOB_MAX 16384
#define LOADER_ENTRY 128
#define LOADER_ENTRIES 32
#define LOADER_NAME 56
#define TABLE_HEADER 36
#define RSDP_LEN 20
#define FADT_LEN 244
#define FACS_LEN 64
#define TABLES_MAX 8

enum { LOADER_ALLOCATE = 1, LOADER_ADD_POINTER = 2, LOADER_ADD_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2 };

struct builder {
    uint8_t blob[BLOB_MAX];
    uint32_t len;
    uint8_t loader[LOADER_ENTRIES * LOADER_ENTRY];
    uint32_t entries;
    uint32_t table[TABLES_MAX]; /* offsets of what the RSDT lists */
    unsigned tables;
    bool full; /* no room, or the DSDT is not ours: the result is useless */
};

/* ---- the blob and the script ----------------------------------------------------------------- */

/* Room for len bytes at the blob's end, zeroed; returns its offset. */
static uint32_t reserve(struct builder *b, uint32_t len)
{
    uint32_t at = b->len;
    if (len > BLOB_MAX - b->len) {
        b->full = true;
        return 0;
    }
    b->len += len;
    return at;
}

static void put(struct builder *b, uint64_t v, unsigned size)
{
    uint32_t at = reserve(b, size);
    if (!b->full)
        st_sized(&b->blob[at], v, size);
}

static void put_bytes(struct builder *b, const void *p, uint32_t len)
{
    uint32_t at = reserve(b, len);
    if (!b->full)
        memcpy(&b->blob[at], p, len);
}

static uint8_t *loader_entry(struct builder *b, uint32_t command)
{
    if (b->entries == LOADER_ENTRIES) {
        b->full = true;
        return NULL;
    }
    uint8_t *e = &b->loader[b->entries++ * LOADER_ENTRY];
    st32(e, command);
    return e;
}

static void loader_name(uint8_t *to, const char *name)
{
    memcpy(to, name, strlen(name) + 1);
}

static void loader_allocate(struct builder *b, const char *file, uint32_t align, uint8_t zone)
{
    uint8_t *e = loader_entry(b, LOADER_ALLOCATE);
    if (!e)
        return;
    loader_name(e + 4, file);
    st32(e + 4 + LOADER_NAME, align);
    e[8 + LOADER_NAME] = zone;
}

/* The size bytes at offset in file hold an offset in the tables: make it an address. */
static void loader_pointer(struct builder *b, const char *file, uint32_t offset, uint8_t size)
{
    uint8_t *e = loader_entry(b, LOADER_ADD_POINTER);
    if (!e)
        return;
    loader_name(e + 4, file);
    loader_name(e + 4 + LOADER_NAME, FILE_TABLES);
    st32(e + 4 + 2 * LOADER_NAME, offset);
    e[8 + 2 * LOADER_NAME] = size;
}

static void loader_checksum(struct builder *b, const char *file, uint32_t offset, uint32_t start,
                            uint32_t len)
{
    uint8_t *e = loader_entry(b, LOADER_ADD_CHECKSUM);
    if (!e)
        return;
    loader_name(e + 4, file);
    st32(e + 4 + LOADER_NAME, offset);
    st32(e + 8 + LOADER_NAME, start);
    st32(e + 12 + LOADER_NAME, len);
}

/* A table's header (5.2.6); its length and checksum come with table_end. */
static uint32_t table_begin(struct builder *b, const char *signature, uint8_t revision)
{
    b->len = (uint32_t)align_up(b->len, 8);
    uint32_t at = b->len;
    put_bytes(b, signature, 4);
    put(b, 0, 4);
    put(b, revision, 1);
    put(b, 0, 1);
    put_bytes(b, "TNM   ", 6);
    put_bytes(b, "TNM", 3);
    put_bytes(b, signature, 4);
    put(b, ' ', 1);
    put(b, 1, 4);
    put_bytes(b, "TNM ", 4);
    put(b, 1, 4);
    return at;
}

static void table_end(struct builder *b, uint32_t at, bool listed)
{
    if (b->full)
        return;
    st32(&b->blob[at + 4], b->len - at);
    loader_checksum(b, FILE_TABLES, at + 9, at, b->len - at);
    if (listed && b->tables < TABLES_MAX)
        b->table[b->tables++] = at;
}

/* ---- the tables ------------------------------------------------------------------------------ */

static uint32_t add_facs(struct builder *b)
{
    b->len = (uint32_t)align_up(b->len, 64);
    uint32_t at = reserve(b, FACS_LEN);
    memcpy(&b->blob[at], "FACS", 4);
    st32(&b->blob[at + 4], FACS_LEN);
    return at;
}

/* A generic address (5.2.3.2) of an I/O block. */
static void gas_io(uint8_t *p, uint8_t bits, uint8_t access, uint64_t addr)
{
    p[0] = 1;
    p[1] = bits;
    p[2] = 0;
    p[3] = access;
    st64(p + 4, addr);
}

/* FADT, 5.2.9, in its ACPI 2.0 length. */
static void add_fadt(struct builder *b, uint32_t facs, uint32_t dsdt)
{
    enum {
        WBINVD = 1 << 0,
        PROC_C1 = 1 << 2,
        SLP_BUTTON = 1 << 5, /* no fixed one */
        RTC_S4 = 1 << 7,
        RESET_REG = 1 << 10,
    };
    uint32_t at = table_begin(b, "FACP", 3);
    reserve(b, FADT_LEN - TABLE_HEADER);
    if (b->full)
        return;
    uint8_t *t = &b->blob[at];
    st32(t + 36, facs);
    st32(t + 40, dsdt);
    st16(t + 46, ACPI_SCI_IRQ);
    st32(t + 48, ACPI_APM_CMD);
    t[52] = ACPI_APM_ENABLE;
    t[53] = ACPI_APM_DISABLE;
    st32(t + 56, ACPI_PM_BASE);      /* PM1a event */
    st32(t + 64, ACPI_PM_BASE + 4);  /* PM1a control */
    st32(t + 76, ACPI_PM_BASE + 8);  /* timer */
    st32(t + 80, ACPI_GPE0_BASE);
    t[88] = 4;
    t[89] = 2;
    t[91] = 4;
    t[92] = 4;
    st16(t + 96, 0xfff); /* no C2 */
    st16(t + 98, 0xfff); /* no C3 */
    t[108] = 0x32;       /* century byte of the CMOS */
    st16(t + 109, 0x0003); /* there are ISA devices and an 8042 */
    st32(t + 112, WBINVD | PROC_C1 | SLP_BUTTON | RTC_S4 | RESET_REG);
    gas_io(t + 116, 8, 1, 0xcf9);
    t[128] = 0x06; /* full reset */
    st64(t + 140, dsdt);
    gas_io(t + 148, 32, 0, ACPI_PM_BASE);
    gas_io(t + 172, 16, 0, ACPI_PM_BASE + 4);
    gas_io(t + 208, 32, 0, ACPI_PM_BASE + 8);
    gas_io(t + 220, 32, 0, ACPI_GPE0_BASE);
    loader_pointer(b, FILE_TABLES, at + 36, 4);
    loader_pointer(b, FILE_TABLES, at + 40, 4);
    loader_pointer(b, FILE_TABLES, at + 140, 8);
    table_end(b, at, true);
}

/* Gives a Name of the DSDT its value: NameOp, the name, DWordPrefix, the value (20.2). */
static bool aml_patch(uint8_t *aml, size_t len, const char *name, uint64_t value)
{
    for (size_t i = TABLE_HEADER; i + 10 <= len; i++) {
        if (aml[i] == 0x08 && memcmp(&aml[i + 1], name, 4) == 0 && aml[i + 5] == 0x0c) {
            st32(&aml[i + 6], (uint32_t)value);
            return true;
        }
    }
    return false;
}

static uint32_t add_dsdt(struct builder *b, const struct acpi_tables_cfg *cfg)
{
    /* Where SeaBIOS starts to place BARs (src/fw/pciinit.c), or right after RAM. */
    uint64_t start32 = MAX(cfg->ram_below_4g, 0x80000000ull);
    if (start32 > 0x80000000ull && start32 <= 0xc0000000ull)
        start32 = 0xc0000000ull;
    uint64_t start64 = align_up(4 * GIB + cfg->ram_above_4g, GIB);
    uint64_t end64 = cfg->phys_bits > 36 ? 1ull << MIN(cfg->phys_bits, 46u) : 0;
    uint64_t len64 = end64 > start64 ? end64 - start64 : 0;
    const struct {
        char name[5];
        uint64_t value;
    } values[] = {
        {"NCPU", cfg->cpus},
        {"PM32", start32},
        {"PL32", IOAPIC_BASE - start32},
        {"PM64", start64 / GIB},
        {"PL64", len64 / GIB},
    };
    b->len = (uint32_t)align_up(b->len, 8);
    uint32_t at = b->len;
    put_bytes(b, cfg->dsdt, (uint32_t)cfg->dsdt_len);
    for (unsigned i = 0; i < ARRAY_LEN(values) && !b->full; i++) {
        if (!aml_patch(&b->blob[at], cfg->dsdt_len, values[i].name, values[i].value))
            b->full = true;
    }
    loader_checksum(b, FILE_TABLES, at + 9, at, (uint32_t)cfg->dsdt_len);
    return at;
}

static void madt_override(struct builder *b, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    put(b, 2, 1);
    put(b, 10, 1);
    put(b, 0, 1); /* ISA */
    put(b, irq, 1);
    put(b, gsi, 4);
    put(b, flags, 2);
}

/* MADT, 5.2.12. */
static void add_madt(struct builder *b, const struct acpi_tables_cfg *cfg)
{
    static const uint8_t level[] = {5, 9, 10, 11}; /* the PIRQs and the SCI */
    const uint16_t level_high = 0xd;
    uint32_t at = table_begin(b, "APIC", 3);
    put(b, LAPIC_BASE, 4);
    put(b, 1, 4); /* there is an 8259 pair, too */
    for (unsigned i = 0; i < cfg->cpus; i++) {
        put(b, 0, 1); /* local APIC */
        put(b, 8, 1);
        put(b, i, 1); /* _UID in the DSDT */
        put(b, i, 1); /* APIC ID */
        put(b, 1, 4);
    }
    put(b, 1, 1); /* I/O APIC */
    put(b, 12, 1);
    put(b, 0, 2);
    put(b, IOAPIC_BASE, 4);
    put(b, 0, 4);
    madt_override(b, 0, 2, 0);
    for (unsigned i = 0; i < ARRAY_LEN(level); i++)
        madt_override(b, level[i], level[i], level_high);
    put(b, 4, 1); /* LINT1 of every CPU is NMI */
    put(b, 6, 1);
    put(b, 0xff, 1);
    put(b, 0, 2);
    put(b, 1, 1);
    table_end(b, at, true);
}

/* IA-PC HPET specification 3.2.4. */
static void add_hpet(struct builder *b)
{
    uint32_t at = table_begin(b, "HPET", 1);
    put(b, 0x8086a201, 4);
    put(b, 0, 4); /* generic address: memory */
    put(b, HPET_BASE, 8);
    put(b, 0, 1);
    put(b, 0, 2);
    put(b, 0, 1);
    table_end(b, at, true);
}

/* Windows ACPI emulated devices table: the PM timer may be read once, the CMOS clock is precise. */
static void add_waet(struct builder *b)
{
    uint32_t at = table_begin(b, "WAET", 1);
    put(b, 2, 4);
    table_end(b, at, true);
}

static uint32_t add_rsdt(struct builder *b)
{
    uint32_t at = table_begin(b, "RSDT", 1);
    for (unsigned i = 0; i < b->tables; i++) {
        loader_pointer(b, FILE_TABLES, b->len, 4);
        put(b, b->table[i], 4);
    }
    table_end(b, at, false);
    return at;
}

bool acpi_tables_add(struct fw_cfg *fw, const struct acpi_tables_cfg *cfg)
{
    struct builder b = {.len = 0};
    uint8_t rsdp[RSDP_LEN] = "RSD PTR ";

    if (cfg->cpus < 1 || cfg->cpus > APIC_MAX_CPUS || cfg->dsdt_len < TABLE_HEADER ||
        cfg->dsdt_len > BLOB_MAX / 2)
        return false;
    loader_allocate(&b, FILE_RSDP, 16, ZONE_FSEG);
    loader_allocate(&b, FILE_TABLES, 64, ZONE_HIGH);
    uint32_t facs = add_facs(&b);
    uint32_t dsdt = add_dsdt(&b, cfg);
    add_fadt(&b, facs, dsdt);
    add_madt(&b, cfg);
    if (cfg->hpet)
        add_hpet(&b);
    add_waet(&b);
    uint32_t rsdt = add_rsdt(&b);
    memcpy(rsdp + 9, "TNM   ", 6);
    st32(rsdp + 16, rsdt);
    loader_pointer(&b, FILE_RSDP, 16, 4);
    loader_checksum(&b, FILE_RSDP, 8, 0, RSDP_LEN);
    return !b.full && fw_cfg_add_file(fw, FILE_RSDP, rsdp, sizeof(rsdp)) &&
           fw_cfg_add_file(fw, FILE_TABLES, b.blob, b.len) &&
           fw_cfg_add_file(fw, FILE_LOADER, b.loader, b.entries * LOADER_ENTRY);
}
