/* The Bochs VBE extension ("dispi") and the PCI function 1234:1111 that carries it, as
 * SeaBIOS's vgabios-stdvga, Linux's bochs-drm and many hobby systems know it (QEMU
 * docs/specs/standard-vga; Bochs VBE_DISPI interface).
 *
 *   ports 1CE index, 1CF (and 1D0) data, 16 bits
 *   BAR 0 video memory
 *   BAR 2 4 KiB: 400h ports 3C0-3DF, 500h dispi registers, 600h qemu extended registers
 *
 * Enabling a mode programs the VGA registers underneath, as the original does, because guests
 * switch memory maps and line compare off by it.
 *
 * Known inaccuracies: a mode whose size or depth makes no sense is taken as the nearest that does;
 * no EDID block (BAR 2 offset 0 reads as zeros).
 */
#include "devices/vga_internal.h"

#define DISPI_ID_FIRST 0xb0c0
#define DISPI_ID_LAST  0xb0c5
#define QEXT_SIZE      8
#define QEXT_LITTLE    0x1e1e1e1eu
#define QEXT_BIG       0xbebebebeu

static uint32_t bytes_per_pixel(const struct vga *v)
{
    return (v->dispi[DISPI_BPP] + 7u) / 8;
}

uint32_t vga_dispi_pitch(const struct vga *v)
{
    uint32_t width = v->dispi[DISPI_VIRT_WIDTH];
    return v->dispi[DISPI_BPP] == 4 ? width / 2 : width * bytes_per_pixel(v);
}

/* Lines of the virtual screen that fit in memory. */
static uint32_t virtual_height(const struct vga *v)
{
    uint32_t pitch = vga_dispi_pitch(v);
    uint32_t lines = pitch ? v->vram_size / pitch : 0;
    return MIN(lines, 0xffffu);
}

static bool known_depth(unsigned bits)
{
    return bits == 4 || bits == 8 || bits == 15 || bits == 16 || bits == 24 || bits == 32;
}

/* What fits: no line beyond the end of memory. */
static void clamp_mode(struct vga *v)
{
    uint16_t *d = v->dispi;
    d[DISPI_XRES] = (uint16_t)MIN(MAX(d[DISPI_XRES] & ~7u, 8u), (unsigned)VGA_MAX_WIDTH);
    d[DISPI_YRES] = (uint16_t)MIN(MAX(d[DISPI_YRES], 1u), (unsigned)VGA_MAX_HEIGHT);
    if (!known_depth(d[DISPI_BPP]))
        d[DISPI_BPP] = 8;
    d[DISPI_VIRT_WIDTH] = d[DISPI_XRES];
    d[DISPI_YRES] = (uint16_t)MIN(d[DISPI_YRES], MAX(virtual_height(v), 1u));
    d[DISPI_VIRT_HEIGHT] = (uint16_t)virtual_height(v);
    d[DISPI_X_OFFSET] = d[DISPI_Y_OFFSET] = 0;
}

static void program_vga(struct vga *v)
{
    uint32_t height = v->dispi[DISPI_YRES] - 1u;

    v->gr[GR_MISC] = (uint8_t)((v->gr[GR_MISC] & ~0x0c) | 0x05);
    v->cr[CR_MODE] |= 3;
    v->cr[CR_OFFSET] = (uint8_t)(vga_dispi_pitch(v) >> 3);
    v->cr[CR_H_DISPLAY_END] = (uint8_t)((v->dispi[DISPI_XRES] >> 3) - 1);
    v->cr[CR_V_DISPLAY_END] = (uint8_t)height;
    v->cr[CR_OVERFLOW] = (uint8_t)((v->cr[CR_OVERFLOW] & ~0x52) | (height >> 7 & 0x02) |
                                   (height >> 3 & 0x40) | 0x10);
    v->cr[CR_LINE_COMPARE] = 0xff;
    v->cr[CR_MAX_SCAN] = (uint8_t)((v->cr[CR_MAX_SCAN] & ~0x9f) | 0x40);
    if (v->dispi[DISPI_BPP] == 4) {
        v->gr[GR_MODE] &= (uint8_t)~0x60;
        v->sr[SR_CLOCKING] &= (uint8_t)~8;
    } else {
        v->sr[SR_MEMORY_MODE] |= 8;
        v->sr[SR_MAP_MASK] = 15;
        v->gr[GR_MODE] = (uint8_t)((v->gr[GR_MODE] & ~0x60) | 0x40);
    }
}

static void write_enable(struct vga *v, uint16_t value)
{
    bool was_on = vga_dispi_on(v);

    v->dispi[DISPI_BANK] = 0;
    v->dispi[DISPI_ENABLE] = value;
    if (vga_dispi_on(v) && !was_on) {
        clamp_mode(v);
        program_vga(v);
        LOG(v->dev.board->log, LOG_VGA, "mode %ux%u, %u bits", v->dispi[DISPI_XRES],
            v->dispi[DISPI_YRES], v->dispi[DISPI_BPP]);
        if (!(value & DISPI_NOCLEAR)) {
            uint32_t len = vga_dispi_pitch(v) * v->dispi[DISPI_YRES];
            len = MIN(len, v->vram_size);
            vga_mem_touch(v, 0, len);
            memset(v->vram, 0, len);
            for (uint32_t a = 0; a < len; a += PAGE_SIZE)
                vga_mem_written(v, a, MIN(len - a, PAGE_SIZE));
        }
    }
    vga_mem_update(v);
}

static uint16_t dispi_read(struct vga *v, unsigned index)
{
    if (index >= DISPI_COUNT)
        return 0;
    if (v->dispi[DISPI_ENABLE] & DISPI_GETCAPS) {
        if (index == DISPI_XRES)
            return VGA_MAX_WIDTH;
        if (index == DISPI_YRES)
            return VGA_MAX_HEIGHT;
        if (index == DISPI_BPP)
            return 32;
    }
    if (index == DISPI_MEMORY_64K)
        return (uint16_t)(v->vram_size >> 16);
    return v->dispi[index];
}

bool vga_dispi_loaded(struct vga *v)
{
    uint16_t *d = v->dispi;

    d[DISPI_BANK] &= (uint16_t)((v->vram_size >> 16) - 1);
    if (d[DISPI_XRES] > VGA_MAX_WIDTH || d[DISPI_YRES] > VGA_MAX_HEIGHT)
        return false;
    return !vga_dispi_on(v) || (known_depth(d[DISPI_BPP]) && d[DISPI_XRES] && d[DISPI_YRES] &&
                                d[DISPI_VIRT_WIDTH] >= d[DISPI_XRES]);
}

static void dispi_write(struct vga *v, unsigned index, uint16_t value)
{
    switch (index) {
    case DISPI_ID:
        if (value >= DISPI_ID_FIRST && value <= DISPI_ID_LAST)
            v->dispi[index] = value;
        break;
    case DISPI_XRES:
        if (!vga_dispi_on(v) && value <= VGA_MAX_WIDTH)
            v->dispi[index] = value;
        break;
    case DISPI_YRES:
        if (!vga_dispi_on(v) && value <= VGA_MAX_HEIGHT)
            v->dispi[index] = value;
        break;
    case DISPI_BPP:
        if (!vga_dispi_on(v))
            v->dispi[index] = value ? value : 8;
        break;
    case DISPI_ENABLE:
        write_enable(v, value);
        break;
    case DISPI_BANK:
        v->dispi[index] = value & (uint16_t)((v->vram_size >> 16) - 1);
        vga_mem_update(v);
        break;
    case DISPI_VIRT_WIDTH:
        if (!vga_dispi_on(v) || value < v->dispi[DISPI_XRES])
            break;
        v->dispi[index] = value & (uint16_t)~7;
        v->dispi[DISPI_VIRT_HEIGHT] = (uint16_t)virtual_height(v);
        v->cr[CR_OFFSET] = (uint8_t)(vga_dispi_pitch(v) >> 3);
        break;
    case DISPI_X_OFFSET:
    case DISPI_Y_OFFSET:
        if (vga_dispi_on(v))
            v->dispi[index] = value;
        break;
    default: /* the height follows from the width */
        break;
    }
}

void vga_dispi_reset(struct vga *v)
{
    v->dispi_index = 0;
    memset(v->dispi, 0, sizeof(v->dispi));
    v->dispi[DISPI_ID] = DISPI_ID_LAST;
    v->dispi[DISPI_BPP] = 8;
}

/* Port 1CE is the index; 1CF and, for those who want it aligned, 1D0 are the data. */
static uint64_t dispi_port_read(void *opaque, uint64_t offset, unsigned size)
{
    struct vga *v = opaque;
    return offset ? dispi_read(v, v->dispi_index) : v->dispi_index;
}

static void dispi_port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct vga *v = opaque;
    if (offset)
        dispi_write(v, v->dispi_index, (uint16_t)value);
    else
        v->dispi_index = (uint16_t)value;
}

const struct io_ops vga_dispi_port_ops = {"vga-dispi", dispi_port_read, dispi_port_write, 1, 2};

/* ---- BAR 2 ------------------------------------------------------------------------------------- */

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    struct vga *v = opaque;
    uint64_t r = 0;

    if (offset >= 0x400 && offset < 0x420) {
        for (unsigned i = 0; i < size; i++)
            r |= (uint64_t)vga_port_read(v, 0x3c0 + (unsigned)(offset - 0x400) + i) << i * 8;
    } else if (offset >= 0x500 && offset < 0x500 + 2 * DISPI_COUNT) {
        r = dispi_read(v, (unsigned)(offset - 0x500) / 2) >> (offset & 1) * 8;
        if (size == 4)
            r |= (uint64_t)dispi_read(v, (unsigned)(offset - 0x500) / 2 + 1) << 16;
    } else if (offset == 0x600) {
        r = QEXT_SIZE;
    } else if (offset == 0x604) {
        r = v->big_endian ? QEXT_BIG : QEXT_LITTLE;
    }
    return r;
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct vga *v = opaque;

    if (offset >= 0x400 && offset < 0x420) {
        for (unsigned i = 0; i < size; i++)
            vga_port_write(v, 0x3c0 + (unsigned)(offset - 0x400) + i, (uint8_t)(value >> i * 8));
    } else if (offset >= 0x500 && offset < 0x500 + 2 * DISPI_COUNT && !(offset & 1)) {
        dispi_write(v, (unsigned)(offset - 0x500) / 2, (uint16_t)value);
        if (size == 4)
            dispi_write(v, (unsigned)(offset - 0x500) / 2 + 1, (uint16_t)(value >> 16));
    } else if (offset == 0x604) {
        if (value == QEXT_LITTLE)
            v->big_endian = 0;
        else if (value == QEXT_BIG)
            v->big_endian = 1;
    }
}

static const struct io_ops mmio_ops = {"vga-mmio", mmio_read, mmio_write, 1, 4};

/* ---- PCI --------------------------------------------------------------------------------------- */

static bool rom_init(struct vga *v, struct error *err)
{
    struct physmap *mem = v->dev.board->mem;
    uint32_t size = 4096;

    if (!v->cfg.rom)
        return true;
    if (v->cfg.rom_size == 0 || v->cfg.rom_size > 1 * MIB)
        return error_set(err, ERR_INVALID, "a video BIOS of %u bytes: use one of at most 1 MiB",
                         v->cfg.rom_size);
    while (size < v->cfg.rom_size)
        size *= 2;
    v->rom_ra = physmap_store_alloc(mem, size);
    if (v->rom_ra == RA_NONE)
        return error_set(err, ERR_NOMEM, "no room for the video BIOS: use less memory");
    memcpy(physmap_host(mem, v->rom_ra), v->cfg.rom, v->cfg.rom_size);
    v->rom_size = size;
    return true;
}

bool vga_pci_init(struct vga *v, struct error *err)
{
    static const struct pci_ident ident = {
        .vendor = 0x1234,
        .device = 0x1111,
        .class_code = 0x030000,
        .revision = 2,
    };

    if (!rom_init(v, err))
        return false;
    if (!v->cfg.pci)
        return true;
    if (!pci_register(v->cfg.pci, &v->pci, &v->dev, (unsigned)v->cfg.devfn, &ident, err))
        return false;
    v->pci_added = true;
    pci_add_bar_ram(&v->pci, 0, PCI_BAR_MEM32, true, v->vram_size, v->vram_ra, true);
    pci_add_bar_mem(&v->pci, 2, PCI_BAR_MEM32, false, 4096, &mmio_ops, v);
    if (v->rom_size)
        pci_add_rom(&v->pci, v->rom_size, v->rom_ra);
    return true;
}

void vga_pci_fini(struct vga *v)
{
    if (v->pci_added)
        pci_unregister(&v->pci);
    v->pci_added = false;
}
