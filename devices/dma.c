/* The 8237A pair and its page registers: see dma.h for its use. Intel 8237A data sheet (231466);
 * the AT's page registers at 80h-8Fh, and the EISA high pages at 480h-48Fh.
 *
 * Known inaccuracies: memory-to-memory transfers and software requests (both unusable in an AT) are
 * stored but do nothing. Transfers take no time. Channel 4 need not be unmasked for channels 0 to 3
 * to work. A demand transfer and a single one are alike.
 */
#include "devices/dma.h"
#include "mmu/physmap.h"

enum { CMD_OFF = 0x04 };
enum {
    MODE_TYPE = 0x0c,
    MODE_VERIFY = 0x00,
    MODE_TO_MEMORY = 0x04,
    MODE_FROM_MEMORY = 0x08,
    MODE_AUTOINIT = 0x10,
    MODE_DOWN = 0x20
};

/* The page register of each channel, by offset from port 80h. */
static const uint8_t page_of[8] = {0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa};

static const struct vm_field dma_channel_fields[] = {
    VM_INT(struct dma_channel, base_addr), VM_INT(struct dma_channel, base_count),
    VM_INT(struct dma_channel, addr),      VM_INT(struct dma_channel, count),
    VM_INT(struct dma_channel, mode),      VM_END,
};
static const struct vmstate vm_dma_channel =
    VMSTATE("dma_channel", struct dma_channel, dma_channel_fields);

static const struct vm_field dma_chip_fields[] = {
    VM_STRUCTS(struct dma_chip, ch, &vm_dma_channel),
    VM_INT(struct dma_chip, command),
    VM_INT(struct dma_chip, mask),
    VM_INT(struct dma_chip, status_tc),
    VM_INT(struct dma_chip, request),
    VM_INT(struct dma_chip, dreq),
    VM_INT(struct dma_chip, temp),
    VM_INT(struct dma_chip, high_byte),
    VM_END,
};
static const struct vmstate vm_dma_chip = VMSTATE("dma_chip", struct dma_chip, dma_chip_fields);

static const struct vm_field dma_fields[] = {
    VM_DEVICE(struct dma),
    VM_STRUCTS(struct dma, chip, &vm_dma_chip),
    VM_BYTES(struct dma, page),
    VM_BYTES(struct dma, page_high),
    VM_END,
};
const struct vmstate vm_dma = VMSTATE("dma", struct dma, dma_fields);

/* ---- transfers ------------------------------------------------------------------------------ */

bool dma_ready(const struct dma *d, unsigned channel)
{
    const struct dma_chip *c = &d->chip[channel >> 2];

    return channel < 8 && channel != 4 && !(c->command & CMD_OFF) && !(c->mask & BIT(channel & 3));
}

void dma_set_dreq(struct dma *d, unsigned channel, bool level)
{
    struct dma_chip *c = &d->chip[channel >> 2 & 1];
    uint8_t bit = (uint8_t)BIT(channel & 3);

    c->dreq = level ? c->dreq | bit : c->dreq & ~bit;
}

static uint64_t channel_page(const struct dma *d, unsigned channel)
{
    unsigned reg = page_of[channel];
    uint8_t page = channel >= 4 ? d->page[reg] & 0xfe : d->page[reg];

    return (uint64_t)d->page_high[reg] << 24 | (uint64_t)page << 16;
}

static void move(struct dma *d, uint64_t paddr, uint8_t *buf, size_t len, unsigned type)
{
    struct physmap *mem = d->dev.board->mem;

    if (type == MODE_TO_MEMORY)
        physmap_write_buf(mem, paddr, buf, len);
    else if (type == MODE_FROM_MEMORY)
        physmap_read_buf(mem, paddr, buf, len);
}

size_t dma_transfer(struct dma *d, unsigned channel, void *buf, size_t len, bool to_memory,
                    bool *tc)
{
    struct dma_chip *c = &d->chip[channel >> 2 & 1];
    struct dma_channel *ch = &c->ch[channel & 3];
    unsigned unit = channel >= 4 ? 2 : 1;
    unsigned type = ch->mode & MODE_TYPE;
    size_t done = 0, units = len / unit;
    uint64_t page;

    *tc = false;
    if (!dma_ready(d, channel) ||
        (type != MODE_VERIFY && type != (to_memory ? MODE_TO_MEMORY : MODE_FROM_MEMORY)))
        return 0;
    if (type == MODE_VERIFY && !to_memory)
        memset(buf, 0, len);
    page = channel_page(d, channel);
    while (units && !*tc) {
        /* As far as the count and the 16-bit address let it run in one piece. */
        size_t n = MIN(units, (size_t)ch->count + 1);
        n = ch->mode & MODE_DOWN ? 1 : MIN(n, 0x10000u - ch->addr);
        move(d, page + (uint64_t)ch->addr * unit, (uint8_t *)buf + done, n * unit, type);
        ch->addr = (uint16_t)(ch->mode & MODE_DOWN ? ch->addr - n : ch->addr + n);
        *tc = n == (size_t)ch->count + 1;
        ch->count = (uint16_t)(ch->count - n);
        units -= n;
        done += n * unit;
    }
    if (*tc) {
        c->status_tc |= BIT(channel & 3);
        if (ch->mode & MODE_AUTOINIT) {
            ch->addr = ch->base_addr;
            ch->count = ch->base_count;
        } else {
            c->mask |= BIT(channel & 3);
        }
    }
    return done;
}

/* ---- registers ------------------------------------------------------------------------------ */

static void set_half(struct dma_chip *c, uint16_t *reg, uint8_t v)
{
    *reg = c->high_byte ? (uint16_t)((*reg & 0x00ff) | v << 8) : (uint16_t)((*reg & 0xff00) | v);
}

static void master_clear(struct dma_chip *c)
{
    c->command = 0;
    c->status_tc = 0;
    c->request = 0;
    c->temp = 0;
    c->high_byte = false;
    c->mask = 0x0f;
}

static void chip_write(struct dma_chip *c, unsigned reg, uint8_t v)
{
    struct dma_channel *ch = &c->ch[reg >> 1 & 3];
    uint8_t bit = (uint8_t)BIT(v & 3);

    switch (reg) {
    case 0x8:
        c->command = v;
        break;
    case 0x9:
        c->request = v & 4 ? c->request | bit : c->request & ~bit;
        break;
    case 0xa:
        c->mask = v & 4 ? c->mask | bit : c->mask & ~bit;
        break;
    case 0xb:
        c->ch[v & 3].mode = v;
        break;
    case 0xc:
        c->high_byte = false;
        break;
    case 0xd:
        master_clear(c);
        break;
    case 0xe:
        c->mask = 0;
        break;
    case 0xf:
        c->mask = v & 0x0f;
        break;
    default: /* base and current registers, address at even, count at odd offsets */
        set_half(c, reg & 1 ? &ch->base_count : &ch->base_addr, v);
        set_half(c, reg & 1 ? &ch->count : &ch->addr, v);
        c->high_byte = !c->high_byte;
        break;
    }
}

static uint8_t chip_read(struct dma_chip *c, unsigned reg)
{
    const struct dma_channel *ch = &c->ch[reg >> 1 & 3];
    uint16_t v;

    switch (reg) {
    case 0x8:
        v = (uint16_t)(c->dreq << 4 | c->status_tc);
        c->status_tc = 0;
        return (uint8_t)v;
    case 0xd:
        return c->temp;
    case 0xf:
        return c->mask | 0xf0;
    default:
        if (reg >= 8)
            return 0xff;
        v = reg & 1 ? ch->count : ch->addr;
        if (c->high_byte)
            v >>= 8;
        c->high_byte = !c->high_byte;
        return (uint8_t)v;
    }
}

static uint64_t low_read(void *opaque, uint64_t offset, unsigned size)
{
    return chip_read(&((struct dma *)opaque)->chip[0], (unsigned)offset);
}

static void low_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    chip_write(&((struct dma *)opaque)->chip[0], (unsigned)offset, (uint8_t)value);
}

/* The second chip hangs on address lines 1 to 4. */
static uint64_t high_read(void *opaque, uint64_t offset, unsigned size)
{
    return offset & 1 ? 0xff : chip_read(&((struct dma *)opaque)->chip[1], (unsigned)offset / 2);
}

static void high_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    if (!(offset & 1))
        chip_write(&((struct dma *)opaque)->chip[1], (unsigned)offset / 2, (uint8_t)value);
}

static uint64_t page_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct dma *)opaque)->page[offset + 1];
}

static void page_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct dma *d = opaque;

    d->page[offset + 1] = (uint8_t)value;
    d->page_high[offset + 1] = 0; /* so that old drivers need not know of it (EISA) */
}

static uint64_t page_high_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct dma *)opaque)->page_high[offset + 1];
}

static void page_high_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    ((struct dma *)opaque)->page_high[offset + 1] = (uint8_t)value;
}

static const struct io_ops low_ops = {"dma", low_read, low_write, 1, 1};
static const struct io_ops high_ops = {"dma2", high_read, high_write, 1, 1};
static const struct io_ops page_ops = {"dma page", page_read, page_write, 1, 1};
static const struct io_ops page_high_ops = {"dma high page", page_high_read, page_high_write, 1, 1};

static const struct {
    uint16_t base, count;
    const struct io_ops *ops;
} regions[] = {
    {0x00, 16, &low_ops},
    {0xc0, 32, &high_ops},
    {0x81, 15, &page_ops},
    {0x481, 15, &page_high_ops},
};

static bool dma_init(struct device *dev, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(regions); i++)
        portmap_add(dev->board->ports, regions[i].base, regions[i].count, regions[i].ops, dev);
    return true;
}

static void dma_reset(struct device *dev, enum reset_kind kind)
{
    struct dma *d = (struct dma *)dev;

    if (kind == RESET_INIT)
        return;
    for (unsigned i = 0; i < 2; i++) {
        memset(d->chip[i].ch, 0, sizeof(d->chip[i].ch));
        master_clear(&d->chip[i]);
    }
    memset(d->page, 0, sizeof(d->page));
    memset(d->page_high, 0, sizeof(d->page_high));
}

static void dma_fini(struct device *dev)
{
    for (size_t i = 0; i < ARRAY_LEN(regions); i++)
        portmap_remove(dev->board->ports, regions[i].base, regions[i].count, dev);
}

const struct device_class dma_class = {
    .name = "dma",
    .size = sizeof(struct dma),
    .vmstate = &vm_dma,
    .init = dma_init,
    .reset = dma_reset,
    .fini = dma_fini,
};
