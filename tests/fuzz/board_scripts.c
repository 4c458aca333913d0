/* Half-sensible use of single devices: what a driver does, with any of its numbers wrong. */
#include "devices/hpet.h"
#include "devices/ioapic.h"
#include "devices/pci.h"
#include "tests/fuzz/fuzz_board.h"

/* ---- PCI ------------------------------------------------------------------------------------- */

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define IO_BARS_AT     0xc000
#define MEM_BARS_AT    0xe0000000u
#define VENDOR_VIRTIO  0x1af4
#define CLASS_IDE      0x0101

static uint32_t config_read(struct bench *b, unsigned devfn, unsigned reg)
{
    out(b, CONFIG_ADDRESS, 0x80000000u | devfn << 8 | reg, 4);
    return in(b, CONFIG_DATA, 4);
}

static void config_write(struct bench *b, unsigned devfn, unsigned reg, uint32_t v)
{
    out(b, CONFIG_ADDRESS, 0x80000000u | devfn << 8 | reg, 4);
    out(b, CONFIG_DATA, v, 4);
}

static void map_function(struct bench *b, unsigned devfn, uint32_t *io, uint32_t *mem)
{
    uint32_t id = config_read(b, devfn, 0), class = config_read(b, devfn, 8) >> 16;

    for (unsigned reg = 0x10; reg <= 0x24; reg += 4) {
        config_write(b, devfn, reg, UINT32_MAX);
        uint32_t mask = config_read(b, devfn, reg);
        if (!mask)
            continue;
        if (mask & 1) {
            uint32_t size = (uint16_t)~(mask & 0xfffc) + 1u;
            *io = (uint32_t)align_up(*io, MAX(size, 64u));
            config_write(b, devfn, reg, *io);
            b->io_bar[b->io_bars++] = (uint16_t)*io;
            if ((id & 0xffff) == VENDOR_VIRTIO)
                b->virtio_io = b->io_bars;
            if (class == CLASS_IDE)
                b->bus_master = b->io_bars;
            *io += MAX(size, 64u);
            continue;
        }
        uint32_t size = ~(mask & ~15u) + 1;
        *mem = (uint32_t)align_up(*mem, MAX(size, 4096u));
        config_write(b, devfn, reg, *mem);
        b->mem_bar[b->mem_bars++] = *mem;
        if ((id & 0xffff) == VENDOR_VIRTIO)
            b->virtio_mem = b->mem_bars; /* the last: BAR 4 */
        *mem += MAX(size, 4096u);
        if ((mask & 6) == 4) {
            reg += 4;
            config_write(b, devfn, reg, 0);
        }
    }
    config_write(b, devfn, 4, 7);
}

void script_pci_map(struct bench *b)
{
    uint32_t io = IO_BARS_AT, mem = MEM_BARS_AT;

    b->io_bars = b->mem_bars = b->virtio_io = b->virtio_mem = b->bus_master = 0;
    for (unsigned devfn = 0; devfn < 8 * 8; devfn++) {
        if (config_read(b, devfn, 0) != UINT32_MAX)
            map_function(b, devfn, &io, &mem);
    }
}

void script_pci(struct bench *b)
{
    unsigned devfn = fuzz_below(b->f, 8 * 8), size = 1u << fuzz_below(b->f, 3);

    out(b, CONFIG_ADDRESS,
        (fuzz_one_in(b->f, 16) ? fuzz_u32(b->f) : 0x80000000u) | devfn << 8 | fuzz_u8(b->f), 4);
    for (unsigned n = 1 + fuzz_below(b->f, 4); n; n--) {
        if (fuzz_one_in(b->f, 2))
            in(b, (uint16_t)(CONFIG_DATA + fuzz_below(b->f, 4)), size);
        else
            out(b, (uint16_t)(CONFIG_DATA + fuzz_below(b->f, 4)), (uint32_t)any_address(b), size);
    }
}

/* ---- IDE ------------------------------------------------------------------------------------- */

static void bus_master(struct bench *b, unsigned channel)
{
    uint16_t base = (uint16_t)(b->io_bar[b->bus_master - 1] + channel * 8);
    uint32_t table = ram_address(b, 256);

    for (unsigned n = fuzz_below(b->f, 8); n; n--, table += 8) {
        poke(b, table, (uint32_t)any_address(b), 4);
        poke(b, table + 4,
             (fuzz_one_in(b->f, 2) ? fuzz_below(b->f, 9) * 512 : fuzz_u32(b->f)) |
                 (n == 1 ? 0x80000000u : 0),
             4);
    }
    out(b, base + 4, fuzz_one_in(b->f, 8) ? (uint32_t)any_address(b) : table & ~0x3fu, 4);
    out(b, base + 2, 6, 1);
    out(b, base, fuzz_one_in(b->f, 8) ? fuzz_u8(b->f) : fuzz_one_in(b->f, 2) ? 9 : 1, 1);
}

static void packet(struct bench *b, uint16_t base)
{
    static const uint8_t commands[] = {
        0x00, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2b, 0x35, 0x42, 0x43, 0x44, 0x46, 0x4a,
        0x4b, 0x51, 0x52, 0x55, 0x5a, 0xa8, 0xac, 0xad, 0xb9, 0xbb, 0xbd, 0xbe,
    };
    uint8_t p[12];

    fuzz_bytes(b->f, p, sizeof(p));
    p[0] = fuzz_one_in(b->f, 16) ? p[0] : FUZZ_PICK(b->f, commands);
    if (fuzz_one_in(b->f, 2)) { /* an address and a length that are there */
        memset(p + 1, 0, 11);
        p[5] = (uint8_t)fuzz_below(b->f, 34);
        p[8] = p[9] = (uint8_t)fuzz_below(b->f, 4);
    }
    for (unsigned i = 0; i < 12; i += 2)
        out(b, base, ld16(p + i), 2);
}

void script_ide(struct bench *b)
{
    static const uint8_t commands[] = {
        0x00, 0x08, 0x10, 0x20, 0x21, 0x24, 0x25, 0x27, 0x29, 0x30, 0x34, 0x35, 0x37, 0x39, 0x40,
        0x42, 0x70, 0x90, 0x91, 0xa0, 0xa0, 0xa1, 0xb0, 0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xe0, 0xe1,
        0xe2, 0xe3, 0xe5, 0xe6, 0xe7, 0xea, 0xec, 0xef, 0xf8, 0xf9,
    };
    unsigned channel = fuzz_below(b->f, 2);
    uint16_t base = channel ? 0x170 : 0x1f0, control = base + 0x206;
    uint8_t command = fuzz_one_in(b->f, 16) ? fuzz_u8(b->f) : FUZZ_PICK(b->f, commands);

    out(b, base + 6, 0xe0 | fuzz_below(b->f, 2) << 4 | (fuzz_one_in(b->f, 8) ? fuzz_u8(b->f) : 0),
        1);
    for (unsigned reg = 1; reg <= 5; reg++) {
        if (fuzz_one_in(b->f, 3))
            out(b, base + reg, fuzz_u8(b->f), 1); /* the older value for 48 bits */
        out(b, base + reg, fuzz_below(b->f, fuzz_one_in(b->f, 4) ? 256 : 3), 1);
    }
    if (b->bus_master && fuzz_one_in(b->f, 2))
        bus_master(b, channel);
    out(b, base + 7, command, 1);
    advance(b, fuzz_below(b->f, 3000000));
    if (command == 0xa0) {
        packet(b, base);
        advance(b, fuzz_below(b->f, 3000000));
    }
    for (unsigned n = fuzz_below(b->f, 4) * 128; n; n--) {
        unsigned size = 1u << fuzz_below(b->f, 3);
        if (fuzz_one_in(b->f, 2))
            in(b, base, size);
        else
            out(b, base, fuzz_u32(b->f), size);
        if (fuzz_one_in(b->f, 64))
            advance(b, 1000000);
    }
    in(b, base + 7, 1);
    if (fuzz_one_in(b->f, 4))
        out(b, control, fuzz_below(b->f, 8), 1);
}

/* ---- floppy and DMA -------------------------------------------------------------------------- */

void script_dma(struct bench *b)
{
    static const uint8_t pages[] = {0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a};
    unsigned channel = fuzz_one_in(b->f, 2) ? 2 : fuzz_below(b->f, 8), wide = channel >> 2;
    uint16_t base = wide ? 0xc0 : 0, step = wide ? 2 : 1;

    out(b, base + step * 12, 0, 1);
    out(b, base + step * 11, (fuzz_u8(b->f) & 0xfc) | (channel & 3), 1);
    for (unsigned reg = 0; reg < 2; reg++) {
        out(b, base + step * ((channel & 3) * 2 + reg), fuzz_u8(b->f), 1);
        out(b, base + step * ((channel & 3) * 2 + reg), fuzz_u8(b->f), 1);
    }
    out(b, pages[channel], fuzz_one_in(b->f, 2) ? fuzz_below(b->f, 4) * 16 : fuzz_u8(b->f), 1);
    out(b, base + step * 8, fuzz_one_in(b->f, 8) ? fuzz_u8(b->f) : 0, 1);
    out(b, base + step * 9, fuzz_u8(b->f), 1);
    out(b, base + step * 10, channel & 3, 1);
}

void script_fdc(struct bench *b)
{
    static const uint8_t commands[] = {
        0x02, 0x03, 0x04, 0x45, 0xc5, 0x46, 0xe6, 0x07, 0x08, 0x49, 0x4a, 0x4c, 0x4d, 0x0e,
        0x0f, 0x10, 0x51, 0x12, 0x13, 0x14, 0x16, 0x18, 0x59, 0x5d, 0x33, 0x8e, 0x8f, 0xcf, 0x94,
    };

    if (fuzz_one_in(b->f, 2)) {
        out(b, 0x3f2, fuzz_one_in(b->f, 8) ? fuzz_u8(b->f) : 0x1c, 1);
        advance(b, 2000000);
    }
    if (fuzz_one_in(b->f, 2))
        script_dma(b);
    out(b, 0x3f5, fuzz_one_in(b->f, 16) ? fuzz_u8(b->f) : FUZZ_PICK(b->f, commands), 1);
    for (unsigned n = fuzz_below(b->f, 10); n; n--)
        out(b, 0x3f5, fuzz_one_in(b->f, 3) ? fuzz_u8(b->f) : fuzz_below(b->f, 20), 1);
    advance(b, fuzz_below(b->f, 30000000));
    for (unsigned n = fuzz_below(b->f, 20); n; n--) {
        in(b, 0x3f4, 1);
        in(b, 0x3f5, 1);
        if (fuzz_one_in(b->f, 4))
            advance(b, fuzz_below(b->f, 1000000));
    }
}

/* ---- VGA ------------------------------------------------------------------------------------- */

static void indexed(struct bench *b, uint16_t port, unsigned count)
{
    for (unsigned n = 1 + fuzz_below(b->f, count); n; n--)
        out(b, port, fuzz_below(b->f, count) | (uint32_t)fuzz_u8(b->f) << 8, 2);
}

void script_vga(struct bench *b)
{
    switch (fuzz_below(b->f, 5)) {
    case 0:
        out(b, 0x3d4, 0x0011, 2); /* unlock */
        indexed(b, 0x3d4, 0x19);
        break;
    case 1:
        indexed(b, 0x3ce, 9);
        break;
    case 2:
        indexed(b, 0x3c4, 5);
        break;
    case 3:
        for (unsigned n = 1 + fuzz_below(b->f, 11); n; n--) {
            out(b, 0x1ce, fuzz_below(b->f, 11), 2);
            uint64_t v = fuzz_one_in(b->f, 2) ? fuzz_below(b->f, 2600) : fuzz_number(b->f);
            out(b, 0x1cf, (uint32_t)v, 2);
        }
        if (fuzz_one_in(b->f, 2)) {
            out(b, 0x1ce, 4, 2);
            out(b, 0x1cf, 0x41, 2);
        }
        break;
    default:
        out(b, 0x3c2, fuzz_u8(b->f) | 1, 1);
        in(b, 0x3da, 1);
        for (unsigned n = fuzz_below(b->f, 22) * 2; n; n--)
            out(b, 0x3c0, fuzz_u8(b->f) & 0x3f, 1);
        out(b, 0x3c0, 0x20, 1);
    }
    for (unsigned n = fuzz_below(b->f, 32); n; n--)
        poke(b, 0xa0000 + fuzz_below(b->f, 0x20000), fuzz_u64(b->f), 1u << fuzz_below(b->f, 4));
}

/* ---- virtio ---------------------------------------------------------------------------------- */

#define RING_ENTRIES 128

static void fill_ring(struct bench *b, uint32_t desc, uint32_t avail)
{
    uint32_t header = ram_address(b, 16);

    poke(b, header, fuzz_one_in(b->f, 4) ? fuzz_u32(b->f) : fuzz_below(b->f, 14), 4);
    poke(b, header + 8, fuzz_one_in(b->f, 4) ? fuzz_number(b->f) : fuzz_below(b->f, 600), 8);
    for (unsigned i = 0; i < 12; i++) {
        uint32_t at = desc + i * 16, length = fuzz_one_in(b->f, 8) ? fuzz_u32(b->f)
                                              : i == 0             ? 16
                                                       : fuzz_below(b->f, 9) * 512;
        poke(b, at, i == 0 ? header : any_address(b), 8);
        poke(b, at + 8, fuzz_one_in(b->f, 8) ? 1 : length, 4);
        poke(b, at + 12, fuzz_one_in(b->f, 8) ? fuzz_u8(b->f) : fuzz_below(b->f, 4), 2);
        poke(b, at + 14, fuzz_one_in(b->f, 8) ? fuzz_u32(b->f) : i + 1, 2);
    }
    poke(b, avail, fuzz_below(b->f, 2), 2);
    poke(b, avail + 2, fuzz_one_in(b->f, 8) ? fuzz_u32(b->f) : fuzz_below(b->f, 8), 2);
    for (unsigned i = 0; i < 8; i++)
        poke(b, avail + 4 + i * 2, fuzz_one_in(b->f, 8) ? fuzz_u32(b->f) : fuzz_below(b->f, 4), 2);
}

static void virtio_legacy(struct bench *b, uint16_t base)
{
    uint32_t desc = (uint32_t)align_down(ram_address(b, 16384), 4096);

    fill_ring(b, desc, desc + RING_ENTRIES * 16);
    out(b, base + 18, 0, 1);
    out(b, base + 18, 3, 1);
    out(b, base + 4, fuzz_u32(b->f), 4);
    out(b, base + 14, fuzz_one_in(b->f, 16) ? fuzz_u32(b->f) : 0, 2);
    out(b, base + 8, fuzz_one_in(b->f, 8) ? fuzz_u32(b->f) : desc >> 12, 4);
    out(b, base + 18, 7, 1);
    out(b, base + 16, 0, 2);
}

static void virtio_modern(struct bench *b, uint64_t base)
{
    uint32_t desc = ram_address(b, RING_ENTRIES * 16), avail = ram_address(b, 512);

    fill_ring(b, desc, avail);
    poke(b, base + 0x14, 0, 1);
    poke(b, base + 0x14, 3, 1);
    for (unsigned i = 0; i < 2; i++) {
        poke(b, base + 0x08, i, 4);
        poke(b, base + 0x0c, i ? 1 : fuzz_u32(b->f) & 0x30006ed6, 4);
    }
    poke(b, base + 0x14, 0xb, 1);
    poke(b, base + 0x16, 0, 2);
    poke(b, base + 0x18, fuzz_one_in(b->f, 4) ? fuzz_u32(b->f) : BIT(fuzz_below(b->f, 8)), 2);
    poke(b, base + 0x1a, fuzz_below(b->f, 4), 2);
    poke(b, base + 0x20, fuzz_one_in(b->f, 8) ? any_address(b) : desc, 8);
    poke(b, base + 0x28, fuzz_one_in(b->f, 8) ? any_address(b) : avail, 8);
    poke(b, base + 0x30, any_address(b), 8);
    poke(b, base + 0x1c, 1, 2);
    poke(b, base + 0x14, 0xf, 1);
    poke(b, base + 0x3000, 0, 2);
}

void script_virtio(struct bench *b)
{
    if (b->virtio_io && fuzz_one_in(b->f, 2))
        virtio_legacy(b, b->io_bar[b->virtio_io - 1]);
    else if (b->virtio_mem)
        virtio_modern(b, b->mem_bar[b->virtio_mem - 1]);
    advance(b, fuzz_below(b->f, 2000000));
}

/* ---- the small ones -------------------------------------------------------------------------- */

void script_fw_cfg(struct bench *b)
{
    uint32_t at = ram_address(b, 16);

    out(b, 0x510, fuzz_one_in(b->f, 4) ? fuzz_u32(b->f) : fuzz_below(b->f, 0x50), 2);
    for (unsigned n = fuzz_below(b->f, 20); n; n--)
        in(b, 0x511, 1);
    /* control, length, address: big-endian */
    uint32_t what = fuzz_one_in(b->f, 8) ? fuzz_u8(b->f) : 8 | 1u << fuzz_below(b->f, 5);
    poke(b, at, __builtin_bswap32(fuzz_below(b->f, 0x50) << 16 | what), 4);
    poke(b, at + 4, __builtin_bswap32((uint32_t)fuzz_number(b->f)), 4);
    poke(b, at + 8, __builtin_bswap64(any_address(b)), 8);
    out(b, 0x514, fuzz_one_in(b->f, 8) ? fuzz_u32(b->f) : 0, 4);
    out(b, 0x518, __builtin_bswap32(at), 4);
}

void script_apic(struct bench *b)
{
    static const uint16_t regs[] = {0x80,  0xb0,  0xd0,  0xe0,  0xf0,  0x280, 0x300, 0x310, 0x320,
                                    0x340, 0x350, 0x360, 0x370, 0x380, 0x3e0, 0x3f0};
    const uint64_t lapic = 0xfee00000;

    b->m->current = fuzz_below(b->f, b->m->ncpus); /* whose local APIC is seen */
    switch (fuzz_below(b->f, 4)) {
    case 0:
        poke(b, lapic + 0x310, fuzz_u32(b->f), 4);
        poke(b, lapic + 0x300, fuzz_u32(b->f), 4);
        break;
    case 1: /* the timer, fast */
        poke(b, lapic + 0xf0, 0x1ff, 4);
        poke(b, lapic + 0x320, 0x20000 | fuzz_u8(b->f), 4);
        poke(b, lapic + 0x3e0, 0xb, 4);
        poke(b, lapic + 0x380, fuzz_below(b->f, 2) ? 1 : fuzz_u32(b->f), 4);
        break;
    case 2:
        poke(b, IOAPIC_BASE, fuzz_below(b->f, 0x44), 4);
        poke(b, IOAPIC_BASE + 0x10, (uint32_t)fuzz_number(b->f), 4);
        break;
    default:
        poke(b, lapic + FUZZ_PICK(b->f, regs), (uint32_t)fuzz_number(b->f), 4);
    }
    struct cpu *cpu = b->m->cpu[b->m->current];
    uint32_t msr = fuzz_one_in(b->f, 4) ? 0x1b : fuzz_one_in(b->f, 4) ? 0x6e0
                                                                     : 0x800 + fuzz_u8(b->f);
    if (machine_cpu_has_apic(b->m)) {
        uint64_t v;
        cpu->env.msr_read(cpu->env.opaque, msr, &v);
        if (fuzz_one_in(b->f, 4))
            cpu->env.msr_write(cpu->env.opaque, msr, fuzz_number(b->f));
        if (fuzz_one_in(b->f, 2))
            cpu->env.intr_ack(cpu->env.opaque);
    }
}

void script_timers(struct bench *b)
{
    uint64_t timer = HPET_BASE + 0x100 + fuzz_below(b->f, 3) * 0x20;

    switch (fuzz_below(b->f, 3)) {
    case 0: /* HPET: as fast as it goes */
        poke(b, HPET_BASE + 0x10, fuzz_below(b->f, 4), 8);
        poke(b, timer, fuzz_one_in(b->f, 2) ? 0x4c : fuzz_u32(b->f), 8);
        poke(b, timer + 8, fuzz_number(b->f), 8);
        poke(b, timer + 8, fuzz_number(b->f), 8);
        poke(b, timer + 0x10, any_address(b), 8);
        poke(b, HPET_BASE + 0x10, 1, 8);
        break;
    case 1: /* PIT: small counts */
        out(b, 0x43, fuzz_u8(b->f), 1);
        out(b, (uint16_t)(0x40 + fuzz_below(b->f, 3)), fuzz_below(b->f, 4), 1);
        out(b, (uint16_t)(0x40 + fuzz_below(b->f, 3)), fuzz_below(b->f, 2), 1);
        break;
    default: /* CMOS clock: any date, any rate */
        for (unsigned n = fuzz_below(b->f, 12); n; n--) {
            out(b, 0x70, fuzz_below(b->f, 16), 1);
            out(b, 0x71, fuzz_u8(b->f), 1);
        }
        out(b, 0x70, 0x0a, 1);
        out(b, 0x71, 0x20 | fuzz_below(b->f, 16), 1);
    }
    advance(b, fuzz_below(b->f, 30000000));
}

void script_kbc(struct bench *b)
{
    for (unsigned n = fuzz_below(b->f, 8); n; n--) {
        if (fuzz_one_in(b->f, 2))
            out(b, 0x64, fuzz_one_in(b->f, 2) ? 0xd4 : fuzz_u8(b->f), 1);
        out(b, 0x60, fuzz_one_in(b->f, 2) ? 0xe0 | fuzz_u8(b->f) : fuzz_u8(b->f), 1);
        advance(b, fuzz_below(b->f, 3000000));
        in(b, 0x60, 1);
    }
}
