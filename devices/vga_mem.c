/* VGA memory as the CPU sees it at A0000-BFFFF: the data path of the graphics controller with its
 * latches, write modes 0 to 3 and read modes 0 and 1, and the addressing of planar, odd/even and
 * chain-4 modes (IBM PS/2 Video Subsystem, "Graphics controller registers" and "Memory modes").
 *
 * Two regions stand in the physical map. `window` sends every access through the data path.
 * `direct` lies over it, and is enabled only while an access would come out the same as plain
 * memory (mode 13h, banked linear modes), so that those run at memory speed.
 *
 * Known inaccuracies: reads through the direct region do not load the latches; the page bit of the
 * miscellaneous output register is ignored in odd/even modes.
 */
#include "devices/vga_internal.h"

#define WINDOW_BASE 0xa0000u
#define WINDOW_SIZE 0x20000u

/* A byte of ones for each set bit: plane masks as latch words. */
static const uint32_t expand4[16] = {
    0x00000000, 0x000000ff, 0x0000ff00, 0x0000ffff, 0x00ff0000, 0x00ff00ff, 0x00ffff00, 0x00ffffff,
    0xff000000, 0xff0000ff, 0xff00ff00, 0xff00ffff, 0xffff0000, 0xffff00ff, 0xffffff00, 0xffffffff,
};

void vga_mem_written(struct vga *v, uint32_t addr, uint32_t size)
{
    struct physmap *mem = v->dev.board->mem;
    uint64_t ra = v->vram_ra + addr;
    if (UNLIKELY(physmap_flags(mem, ra)))
        physmap_written(mem, ra, size);
}

void vga_mem_touch(struct vga *v, uint32_t addr, uint32_t size)
{
    physmap_touch(v->dev.board->mem, v->vram_ra + addr, size, true);
}

/* The banked window of the linear dispi modes shows memory as it is. */
static bool banked_linear(const struct vga *v)
{
    return vga_dispi_on(v) && v->dispi[DISPI_BPP] > 4;
}

static uint32_t bank_bytes(const struct vga *v)
{
    return vga_dispi_on(v) ? (uint32_t)v->dispi[DISPI_BANK] << 16 : 0;
}

/* Takes the memory map select into account: offset in the window to offset in the card's 64 or
 * 128 KiB. False where the card does not answer. */
static bool window_offset(const struct vga *v, uint64_t offset, uint32_t *out)
{
    static const uint32_t base[4] = {0, 0, 0x10000, 0x18000};
    static const uint32_t size[4] = {0x20000, 0x10000, 0x8000, 0x8000};
    unsigned map = v->gr[GR_MISC] >> 2 & 3;

    if (!(v->misc & 2) || offset < base[map] || offset - base[map] >= size[map])
        return false;
    *out = (uint32_t)offset - base[map];
    return true;
}

/* Plane offset and planes that a byte address means. */
static uint32_t address_word(const struct vga *v, uint32_t a)
{
    uint32_t word;
    if (v->sr[SR_MEMORY_MODE] & 8)
        word = (a >> 2) + (bank_bytes(v) >> 2);
    else if (v->gr[GR_MISC] & 2)
        word = (a & 0xfffe) + bank_bytes(v);
    else
        word = (a & 0xffff) + bank_bytes(v);
    return word & v->word_mask;
}

static uint8_t mem_read_byte(struct vga *v, uint32_t a)
{
    if (banked_linear(v))
        return v->vram[(a + bank_bytes(v)) & v->vram_mask];

    v->latch = ld32(v->vram + address_word(v, a) * 4);

    if (v->gr[GR_MODE] & 8) {
        /* Read mode 1: a bit is set where all planes that count equal the compare colour. */
        uint32_t differ = (v->latch ^ expand4[v->gr[GR_COMPARE]]) & expand4[v->gr[GR_DONT_CARE]];
        differ |= differ >> 16;
        return (uint8_t)~(differ | differ >> 8);
    }
    unsigned plane = v->gr[GR_READ_MAP];
    if (v->sr[SR_MEMORY_MODE] & 8)
        plane = a & 3;
    else if (v->gr[GR_MODE] & 0x10)
        plane = (plane & 2) | (a & 1);
    return (uint8_t)(v->latch >> plane * 8);
}

static void mem_write_byte(struct vga *v, uint32_t a, uint8_t value)
{
    if (banked_linear(v)) {
        uint32_t addr = (a + bank_bytes(v)) & v->vram_mask;
        vga_mem_touch(v, addr, 1);
        v->vram[addr] = value;
        vga_mem_written(v, addr, 1);
        return;
    }

    unsigned planes = v->sr[SR_MAP_MASK];
    if (v->sr[SR_MEMORY_MODE] & 8)
        planes &= BIT(a & 3);
    else if (!(v->sr[SR_MEMORY_MODE] & 4))
        planes &= a & 1 ? 0xa : 0x5;
    if (planes == 0)
        return;

    unsigned mode = v->gr[GR_MODE] & 3;
    unsigned rotate = v->gr[GR_ROTATE] & 7;
    uint8_t rotated = (uint8_t)(value >> rotate | value << (8 - rotate));
    uint32_t set_reset = expand4[v->gr[GR_SET_RESET]];
    uint32_t bit_mask = v->gr[GR_BIT_MASK] * 0x01010101u;
    uint32_t data, enable;

    switch (mode) {
    case 0:
        enable = expand4[v->gr[GR_ENABLE_SET_RESET]];
        data = ((rotated * 0x01010101u) & ~enable) | (set_reset & enable);
        break;
    case 1:
        data = v->latch;
        break;
    case 2:
        data = expand4[value & 15];
        break;
    default:
        bit_mask &= rotated * 0x01010101u;
        data = set_reset;
        break;
    }
    if (mode != 1) {
        switch (v->gr[GR_ROTATE] >> 3) {
        case 1:
            data &= v->latch;
            break;
        case 2:
            data |= v->latch;
            break;
        case 3:
            data ^= v->latch;
            break;
        default:
            break;
        }
        data = (data & bit_mask) | (v->latch & ~bit_mask);
    }

    uint32_t addr = address_word(v, a) * 4;
    uint32_t write = expand4[planes];
    vga_mem_touch(v, addr, 4);
    st32(v->vram + addr, (ld32(v->vram + addr) & ~write) | (data & write));
    vga_mem_written(v, addr, 4);
}

static uint64_t mem_read(void *opaque, uint64_t offset, unsigned size)
{
    struct vga *v = opaque;
    uint64_t r = 0;
    for (unsigned i = 0; i < size; i++) {
        uint32_t a;
        uint8_t byte = window_offset(v, offset + i, &a) ? mem_read_byte(v, a) : 0xff;
        r |= (uint64_t)byte << i * 8;
    }
    return r;
}

static void mem_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct vga *v = opaque;
    for (unsigned i = 0; i < size; i++) {
        uint32_t a;
        if (window_offset(v, offset + i, &a))
            mem_write_byte(v, a, (uint8_t)(value >> i * 8));
    }
}

static const struct io_ops mem_ops = {"vga", mem_read, mem_write, 1, 8};

/* True when chain-4 writes and reads are those of plain memory. */
static bool data_path_idle(const struct vga *v)
{
    return (v->sr[SR_MEMORY_MODE] & 8) && v->sr[SR_MAP_MASK] == 15 && !(v->gr[GR_MODE] & 0x0b) &&
           v->gr[GR_ENABLE_SET_RESET] == 0 && v->gr[GR_ROTATE] == 0 && v->gr[GR_BIT_MASK] == 0xff;
}

void vga_mem_update(struct vga *v)
{
    struct phys_region *r = &v->direct;
    unsigned map = v->gr[GR_MISC] >> 2 & 3;
    bool on = (v->misc & 2) && map <= 1 && (banked_linear(v) || data_path_idle(v));
    uint64_t ra = v->vram_ra + (bank_bytes(v) & v->vram_mask);

    if (r->enabled == on && (!on || r->read_ra == ra))
        return;
    physmap_begin(v->dev.board->mem);
    r->enabled = on;
    r->read_ra = r->write_ra = ra;
    physmap_commit(v->dev.board->mem);
}

bool vga_mem_init(struct vga *v, struct error *err)
{
    struct physmap *mem = v->dev.board->mem;
    uint32_t size = v->cfg.vram_size ? v->cfg.vram_size : 16 * MIB;

    if (size < 256 * KIB || size > 256 * MIB || (size & (size - 1)))
        return error_set(err, ERR_INVALID,
                         "video memory of %u bytes: use a power of two from 256K to 256M", size);
    v->vram_size = size;
    v->vram_mask = size - 1;
    v->word_mask = size / 4 - 1;
    v->vram_ra = physmap_store_alloc(mem, size);
    if (v->vram_ra == RA_NONE)
        return error_set(err, ERR_NOMEM, "no room for %u bytes of video memory: use less", size);
    v->vram = physmap_host(mem, v->vram_ra);
    physmap_track(mem, v->vram_ra, size);

    physmap_add_io(mem, &v->window, "vga", WINDOW_BASE, WINDOW_SIZE, &mem_ops, v, 3);
    v->direct = (struct phys_region){
        .name = "vga-direct", .base = WINDOW_BASE, .size = 0x10000, .priority = 4,
        .read_ra = v->vram_ra, .write_ra = v->vram_ra,
    };
    physmap_add(mem, &v->direct);
    return true;
}

void vga_mem_fini(struct vga *v)
{
    if (!v->vram)
        return;
    physmap_remove(v->dev.board->mem, &v->direct);
    physmap_remove(v->dev.board->mem, &v->window);
    v->vram = NULL;
}
