/* A guest that does anything: random and half-sensible accesses to ports, registers and PCI
 * configuration of a whole machine, DMA from and to anywhere, time, input, media changes, resets,
 * and now and then the CPUs running whatever lies in memory.
 *
 * Besides what the sanitizers and the timer see (fuzz.h), each case asserts that images opened for
 * reading or with discard=on are untouched, that a writable raw image keeps its size, and, every
 * few cases, that the same choices lead to the same state.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/hpet.h"
#include "devices/ioapic.h"
#include "devices/vga.h"
#include "tests/fuzz/fuzz_board.h"

#define DISK_BYTES   (300 * KIB + 512)
#define CD_BYTES     (64 * KIB)
#define FLOPPY_BYTES (1440 * KIB)
#define BIOS_BYTES   (64 * KIB)
#define OLD          1000000000 /* modification time of every file at first */

/* ---- files ----------------------------------------------------------------------------------- */

enum { BIOS, VGA_BIOS, DISK_RO, DISK_DISCARD, DISK_VIRTIO, DISK_RW, CDROM, FLOPPY, FILES };
static char path[FILES][128];
static const bool kept[FILES] = {true, true, true, true, true, false, true, true};

static void make_file(const char *dir, unsigned which, const char *name, size_t size)
{
    struct fuzz f = {.state = which};
    uint8_t *data = malloc(size);

    FUZZ_ASSERT(data, "no memory");
    fuzz_bytes(&f, data, size);
    if (which == VGA_BIOS)
        memcpy(data, "\x55\xaa\x08\xcb", 4);
    snprintf(path[which], sizeof(path[which]), "%s/%s", dir, name);
    fuzz_write_file(path[which], data, size);
    struct timespec old[2] = {{.tv_sec = OLD}, {.tv_sec = OLD}};
    FUZZ_ASSERT(!utimensat(AT_FDCWD, path[which], old, 0), "cannot date %s", path[which]);
    free(data);
}

static void init(const char *dir)
{
    make_file(dir, BIOS, "bios", BIOS_BYTES);
    make_file(dir, VGA_BIOS, "vgabios", 4096);
    make_file(dir, DISK_RO, "readonly", DISK_BYTES);
    make_file(dir, DISK_DISCARD, "discard", DISK_BYTES);
    make_file(dir, DISK_VIRTIO, "virtio", DISK_BYTES);
    make_file(dir, DISK_RW, "writable", DISK_BYTES);
    make_file(dir, CDROM, "cdrom", CD_BYTES);
    make_file(dir, FLOPPY, "floppy", FLOPPY_BYTES);
    chmod(path[FLOPPY], 0444);
}

static void check_files(void)
{
    for (unsigned i = 0; i < FILES; i++) {
        struct stat st;
        FUZZ_ASSERT(!stat(path[i], &st), "%s is gone", path[i]);
        FUZZ_ASSERT(!kept[i] || st.st_mtime == OLD, "%s was changed", path[i]);
        FUZZ_ASSERT(i != DISK_RW || st.st_size == DISK_BYTES, "%s has another size", path[i]);
    }
}

/* ---- plain accesses -------------------------------------------------------------------------- */

void out(struct bench *b, uint16_t port, uint32_t v, unsigned size)
{
    portmap_write(b->m->ports, port, v, size);
}

uint32_t in(struct bench *b, uint16_t port, unsigned size)
{
    return portmap_read(b->m->ports, port, size);
}

void poke(struct bench *b, uint64_t at, uint64_t v, unsigned size)
{
    physmap_write(b->m->mem, at, v, size);
}

void advance(struct bench *b, uint64_t ns)
{
    clock_advance(&b->m->clock, b->m->clock.now + ns);
}

uint32_t ram_address(struct bench *b, uint32_t room)
{
    return fuzz_below(b->f, (uint32_t)(FUZZ_RAM - room) / 4) * 4;
}

/* Where registers and memories of devices are. */
static uint64_t device_address(struct bench *b)
{
    static const struct {
        uint32_t base, size;
    } fixed[] = {
        {0xa0000, 0x20000},     {0xc0000, 0x40000},        {0xfee00000, 0x1000},
        {IOAPIC_BASE, 0x1000},  {HPET_BASE, 0x400},        {0xffff0000, 0x10000},
        {0xfffff000, 0xffffffff}, {FUZZ_RAM - 16, 32},
    };
    unsigned n = fuzz_below(b->f, ARRAY_LEN(fixed) + b->mem_bars);

    if (n >= ARRAY_LEN(fixed))
        return b->mem_bar[n - ARRAY_LEN(fixed)] + fuzz_below(b->f, 0x4000);
    return fixed[n].base + (uint64_t)fuzz_below(b->f, fixed[n].size);
}

uint64_t any_address(struct bench *b)
{
    switch (fuzz_below(b->f, 8)) {
    case 0:
        return device_address(b);
    case 1:
        return fuzz_number(b->f);
    default:
        return ram_address(b, 4096) + fuzz_below(b->f, 4);
    }
}

static uint16_t any_port(struct bench *b)
{
    static const struct {
        uint16_t base, count;
    } known[] = {
        {0x000, 0x10}, {0x020, 2},    {0x040, 4},     {0x060, 5},     {0x070, 4},    {0x080, 0x20},
        {0x0a0, 2},    {0x0c0, 0x20}, {0x0f0, 2},     {0x170, 8},     {0x1ce, 4},    {0x1f0, 8},
        {0x2f8, 8},    {0x376, 2},    {0x3b0, 0x30},  {0x3f0, 8},     {0x3f8, 8},    {0x402, 2},
        {0x4d0, 2},    {0x501, 2},    {0x510, 12},    {0x600, 0x40},  {0xb000, 0x40}, {0xb100, 16},
        {0xcd8, 16},   {0xcf8, 8},
    };
    unsigned n = fuzz_below(b->f, ARRAY_LEN(known) + b->io_bars + 1);

    if (n < ARRAY_LEN(known))
        return (uint16_t)(known[n].base + fuzz_below(b->f, known[n].count));
    if (n < ARRAY_LEN(known) + b->io_bars)
        return (uint16_t)(b->io_bar[n - ARRAY_LEN(known)] + fuzz_below(b->f, 64));
    return (uint16_t)fuzz_u32(b->f);
}

static void step_ports(struct bench *b)
{
    uint16_t port = any_port(b);
    unsigned size = 1u << fuzz_below(b->f, 3);

    for (unsigned n = 1 + fuzz_below(b->f, 8); n; n--) {
        if (fuzz_one_in(b->f, 2))
            out(b, port, (uint32_t)fuzz_number(b->f), size);
        else
            in(b, port, size);
        if (fuzz_one_in(b->f, 2))
            port = any_port(b);
    }
}

static void step_mmio(struct bench *b)
{
    uint64_t at = device_address(b);

    for (unsigned n = 1 + fuzz_below(b->f, 8); n; n--) {
        unsigned size = 1 + fuzz_below(b->f, 8);
        if (fuzz_one_in(b->f, 3))
            physmap_read(b->m->mem, at, size);
        else
            poke(b, at, fuzz_number(b->f), size);
        at = fuzz_one_in(b->f, 2) ? device_address(b) : at + size;
    }
}

/* Memory full of numbers that mean something to a device which reads a table there. */
static void step_ram(struct bench *b)
{
    uint32_t at = ram_address(b, 4096);

    for (unsigned n = 1 + fuzz_below(b->f, 64); n; n--, at += 8)
        poke(b, at, fuzz_one_in(b->f, 3) ? any_address(b) : fuzz_number(b->f), 8);
}

/* ---- the outside ----------------------------------------------------------------------------- */

static void step_input(struct bench *b)
{
    uint8_t text[40];

    switch (fuzz_below(b->f, 3)) {
    case 0:
        for (unsigned n = fuzz_below(b->f, 40); n; n--)
            tnm_key(b->m, fuzz_u32(b->f) & (fuzz_one_in(b->f, 8) ? ~0u : 0x1ff), n & 1);
        break;
    case 1:
        for (unsigned n = fuzz_below(b->f, 40); n; n--)
            tnm_mouse(b->m, (int)fuzz_number(b->f), (int)fuzz_number(b->f), (int)fuzz_number(b->f),
                      fuzz_u8(b->f));
        break;
    default:
        fuzz_bytes(b->f, text, sizeof(text));
        tnm_serial_input(b->m, fuzz_below(b->f, 6), text, fuzz_below(b->f, sizeof(text) + 1));
    }
}

static void step_media(struct bench *b)
{
    const char *file = fuzz_one_in(b->f, 2) ? path[fuzz_one_in(b->f, 2) ? CDROM : FLOPPY] : NULL;

    if (fuzz_one_in(b->f, 2))
        tnm_change_cdrom(b->m, file, NULL);
    else
        tnm_change_floppy(b->m, file, NULL);
}

static void step_screen(struct bench *b)
{
    char text[300];
    tnm_screen s;
    volatile uint32_t seen; /* reads that the sanitizers watch */

    tnm_get_screen(b->m, &s);
    FUZZ_ASSERT(s.width <= VGA_MAX_WIDTH && s.height <= VGA_MAX_HEIGHT, "%ux%u pixels", s.width,
                s.height);
    for (size_t i = 0; i < (size_t)s.width * s.height; i += 61)
        seen = s.pixels[i];
    if (s.width && s.height)
        seen = s.pixels[(size_t)s.width * s.height - 1];
    (void)seen;
    size_t size = fuzz_below(b->f, sizeof(text) + 1), len = tnm_get_text(b->m, text, size);
    FUZZ_ASSERT(len == 0 || (len < size && !text[len]), "%zu bytes of text in %zu", len, size);
}

static void step_time(struct bench *b)
{
    static const uint32_t spans[] = {1, 1000, 60000, 1000000, 20000000};
    advance(b, fuzz_below(b->f, FUZZ_PICK(b->f, spans)) + 1);
}

/* The CPUs execute what is there: firmware that is noise, until they find something else. */
static void step_cpus(struct bench *b)
{
    b->m->want_poweroff = b->m->want_exit = false;
    tnm_run(b->m, 4 * (1 + fuzz_below(b->f, 2000)));
}

static void step_machine(struct bench *b)
{
    static const enum reset_kind kinds[] = {RESET_POWER_ON, RESET_HARD, RESET_INIT};

    switch (fuzz_below(b->f, 4)) {
    case 0:
        tnm_power_button(b->m);
        break;
    case 1:
        tnm_reset(b->m);
        break;
    case 2:
        board_reset(b->m, FUZZ_PICK(b->f, kinds));
        break;
    default:
        script_pci_map(b);
    }
}

/* ---- a case ---------------------------------------------------------------------------------- */

static void (*const steps[])(struct bench *b) = {
    step_ports,    step_ports,   step_ports,    step_mmio,     step_mmio,     step_ram,
    step_input,    step_screen,  step_time,     step_time,     step_cpus,     script_pci,
    script_ide,    script_ide,   script_ide,    script_fdc,    script_fdc,    script_dma,
    script_vga,    script_vga,   script_virtio, script_virtio, script_fw_cfg, script_apic,
    script_timers, script_kbc,   step_machine,  step_media,
};

static void serial_out(void *opaque, uint8_t byte)
{
}

static void log_line(void *opaque, const char *subsystem, const char *line)
{
}

static void configure(struct fuzz *f, tnm_config *cfg)
{
    static const char *const models[] = {"max", "max", "x86-64", "pentium3", "pentium"};

    tnm_config_init(cfg);
    cfg->memory = FUZZ_RAM;
    cfg->cpus = 1 + fuzz_below(f, 3);
    cfg->cpu_model = FUZZ_PICK(f, models);
    cfg->clock = TNM_CLOCK_INSN;
    cfg->firmware = path[BIOS];
    cfg->vga_firmware = path[VGA_BIOS];
    cfg->cdrom = path[CDROM];
    cfg->floppy = path[FLOPPY];
    cfg->disks[cfg->ndisks++] =
        (tnm_disk){.path = path[DISK_RO], .format = "raw", .readonly = true};
    cfg->disks[cfg->ndisks++] =
        (tnm_disk){.path = path[DISK_DISCARD], .format = "raw", .discard = true};
    cfg->disks[cfg->ndisks++] = (tnm_disk){
        .path = path[DISK_VIRTIO], .format = "raw", .interface = TNM_IF_VIRTIO, .discard = true};
    cfg->serial[0].out = serial_out;
    cfg->nserials = 4;
    cfg->debug_exit_port = 0x501;
    if (fuzz_one_in(f, 8)) {
        cfg->log = "all";
        cfg->log_line = log_line;
    }
}

static uint64_t run_once(struct fuzz *f, bool writable)
{
    tnm_config cfg;
    tnm_error err;
    struct bench b = {.f = f};

    configure(f, &cfg);
    if (writable)
        cfg.disks[cfg.ndisks++] = (tnm_disk){.path = path[DISK_RW], .format = "raw"};
    b.m = tnm_create(&cfg, &err);
    FUZZ_ASSERT(b.m, "%s", err.text);
    if (!fuzz_one_in(f, 8))
        script_pci_map(&b);
    while (fuzz_more(f)) {
        FUZZ_PICK(f, steps)(&b);
        if (b.m->want_reset && fuzz_one_in(f, 4))
            step_cpus(&b); /* takes it */
    }
    uint64_t hash = tnm_state_hash(b.m);
    tnm_destroy(b.m);
    check_files();
    return hash;
}

static void run(struct fuzz *f)
{
    struct fuzz again = *f;

    /* A writable disk is not the same the second time. */
    if (!f->data && f->state % 4) {
        run_once(f, true);
        return;
    }
    uint64_t first = run_once(f, false), second = run_once(&again, false);
    FUZZ_ASSERT(first == second, "the same accesses led to another state");
}

const struct fuzz_target fuzz_target = {
    .name = "fuzz_board", .cases = 150, .steps = 400, .init = init, .run = run};
