/* The PIIX3's IDE function: command and control blocks, interrupts, bus master, PCI.
 * Intel 82371SB (PIIX3) data sheet 290550, 2.6, 2.7 and 3.9; ATA/ATAPI-6 (T13/1410D).
 * How a command runs is described in ide_int.h.
 *
 * Known inaccuracies:
 * - The legacy ports answer whatever IDETIM's decode enable and the PCI command register say, so that
 *   a machine without firmware has its disks; IDETIM, SIDETIM are storage, and the decode enables
 *   that drivers look at are set from the start (the chip has them clear).
 * - The time a command takes does not depend on the mode chosen, nor on where the heads were.
 * - A command that reaches past the end of the disk fails as a whole, not at the first bad sector.
 * - A bus master transfer is one moment at the end of its time, not a flow.
 */
#include "devices/ide_int.h"

#include <stdlib.h>

#define NS_COMMAND 10000u /* from the command to its first interrupt */
#define NS_RESET   50000u
#define NS_BLOCK   2000u /* between PIO blocks */
#define NS_DMA     5000u

#define BM_START   0x01
#define BM_TO_MEM  0x08
#define BM_ACTIVE  0x01
#define BM_ERROR   0x02
#define BM_IRQ     0x04
#define BM_CAPABLE 0x60

/* ---- interrupts ------------------------------------------------------------------------------- */

static struct ide_drive *selected(struct ide_channel *ch)
{
    return &ch->drive[ch->selected];
}

static void update_line(struct ide_channel *ch)
{
    bool on = selected(ch)->irq && !(ch->control & ATA_C_NIEN);
    if (on && !ch->line)
        ch->bm.status |= BM_IRQ;
    ch->line = on;
    irq_set(&ch->ide->cfg.irq[ch->number], on);
}

void ide_raise(struct ide_drive *d)
{
    d->irq = true;
    update_line(d->ch);
}

static void lower(struct ide_drive *d)
{
    if (!d->irq)
        return; /* status is polled a lot */
    d->irq = false;
    update_line(d->ch);
}

/* ---- steps of a command ----------------------------------------------------------------------- */

void ide_after(struct ide_drive *d, enum ide_op op, uint64_t ns)
{
    d->op = (uint8_t)op;
    d->status = (uint8_t)((d->status | ATA_BSY) & ~ATA_DRQ);
    event_in(&d->event, ns);
}

void ide_done(struct ide_drive *d)
{
    d->xfer = IDE_X_NONE;
    d->error = 0;
    d->status = ATA_DRDY | ATA_DSC;
    ide_raise(d);
}

void ide_fail(struct ide_drive *d, uint8_t error, uint8_t status)
{
    IDE_LOG(d, IDE_ID_FMT ": command %02x failed, error %02x", IDE_ID(d), d->command, error);
    d->xfer = IDE_X_NONE;
    d->error = error;
    d->status = (uint8_t)(ATA_DRDY | ATA_DSC | ATA_ERR | status);
    ide_raise(d);
}

/* ATA/ATAPI-6, 9.12: signature and persistence. */
void ide_signature(struct ide_drive *d)
{
    bool cd = d->cfg.kind == IDE_CDROM;
    d->nsector = d->sector = 1;
    d->lcyl = cd ? 0x14 : 0;
    d->hcyl = cd ? 0xeb : 0;
    d->select &= ATA_SEL_DEV;
    d->hob_feature = d->hob_nsector = d->hob_sector = d->hob_lcyl = d->hob_hcyl = 0;
}

void ide_drq(struct ide_drive *d, bool irq)
{
    d->status = ATA_DRDY | ATA_DSC | ATA_DRQ;
    if (irq)
        ide_raise(d);
}

void ide_dma_ready(struct ide_drive *d)
{
    struct ide_channel *ch = d->ch;
    d->status = ATA_DRDY | ATA_DSC | ATA_DRQ;
    if (ch->bm.command & BM_START && selected(ch) == d) {
        uint64_t bytes = d->len - d->pos + (uint64_t)d->left * 512;
        d->op = IDE_OP_DMA;
        d->status |= ATA_BSY;
        event_in(&d->event, NS_DMA + bytes * 2);
    }
}

static void execute(struct ide_drive *d)
{
    d->status = ATA_DRDY | ATA_DSC;
    d->error = 0;
    d->xfer = IDE_X_NONE;
    if (d->cfg.kind == IDE_CDROM)
        atapi_exec(d);
    else
        ide_ata_exec(d);
}

/* ---- bus master ------------------------------------------------------------------------------- */

/* The next region of the table: {address, count with 0 for 64 KiB, end-of-table in bit 63}. */
static bool next_region(struct ide *ide, struct ide_bm *bm)
{
    uint8_t prd[8];
    if (bm->count)
        return true;
    if (bm->last)
        return false;
    physmap_read_buf(ide->dev.board->mem, bm->next, prd, sizeof(prd));
    /* The table may not cross 64 KiB; the counter has 16 bits. */
    bm->next = (bm->next & 0xffff0000) | ((bm->next + 8) & 0xffff);
    bm->addr = ld32(prd) & ~1u;
    bm->count = ld16(prd + 4) & 0xfffe;
    if (!bm->count)
        bm->count = 0x10000;
    bm->last = prd[7] & 0x80;
    return true;
}

static bool refill(struct ide_drive *d, bool *ok)
{
    return d->cfg.kind == IDE_CDROM ? atapi_refill(d, ok) : ide_ata_refill(d, ok);
}

static void run_dma(struct ide_drive *d)
{
    struct ide *ide = d->ch->ide;
    struct ide_bm *bm = &d->ch->bm;
    bool in = d->xfer == IDE_X_READ || d->xfer == IDE_X_BUF_IN;
    bool ok = true;

    d->status = ATA_DRDY | ATA_DSC | ATA_DRQ;
    if (!(bm->command & BM_START) || !pci_bus_master(&ide->pci))
        return; /* stopped meanwhile, or not allowed: hangs, as a guest with that bug finds */
    if (in != !!(bm->command & BM_TO_MEM)) {
        LOG(ide->dev.board->log, LOG_GUEST_ERROR, "ide%u: bus master runs against the command",
            d->ch->number);
        bm->status = (uint8_t)((bm->status & ~BM_ACTIVE) | BM_ERROR);
        return;
    }
    for (;;) {
        if (d->pos == d->len && !refill(d, &ok))
            break;
        if (!next_region(ide, bm)) {
            /* The table is shorter than the command: the drive waits for another start. */
            bm->status &= (uint8_t)~BM_ACTIVE;
            bm->command &= (uint8_t)~BM_START;
            return;
        }
        uint32_t n = MIN(d->len - d->pos, bm->count);
        if (in)
            physmap_write_buf(ide->dev.board->mem, bm->addr, d->buf + d->pos, n);
        else
            physmap_read_buf(ide->dev.board->mem, bm->addr, d->buf + d->pos, n);
        d->pos += n;
        bm->addr += n;
        bm->count -= n;
    }
    /* Active stays when the table had more to give (2.7, status register, bit 0). */
    if (bm->last && !bm->count)
        bm->status &= (uint8_t)~BM_ACTIVE;
    if (ok)
        ide_done(d);
}

static void bm_command(struct ide_channel *ch, uint8_t v)
{
    struct ide_bm *bm = &ch->bm;
    uint8_t old = bm->command;
    bm->command = v & (BM_START | BM_TO_MEM);
    if (!(v & BM_START)) {
        bm->status &= (uint8_t)~BM_ACTIVE;
        return;
    }
    if (old & BM_START)
        return;
    bm->status |= BM_ACTIVE;
    bm->next = bm->table;
    bm->count = 0;
    bm->last = false;
    struct ide_drive *d = selected(ch);
    if (d->dma && d->status & ATA_DRQ && !(d->status & ATA_BSY) && d->xfer != IDE_X_NONE &&
        d->xfer != IDE_X_PACKET)
        ide_dma_ready(d);
}

static uint64_t bm_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ide *ide = opaque;
    struct ide_bm *bm = &ide->ch[offset >> 3 & 1].bm;
    switch (offset & 7) {
    case 0:
        return bm->command;
    case 2:
        return bm->status;
    case 4:
    case 5:
    case 6:
    case 7:
        return bm->table >> (offset & 3) * 8 & 0xff;
    default:
        return 0xff;
    }
}

static void bm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct ide *ide = opaque;
    struct ide_channel *ch = &ide->ch[offset >> 3 & 1];
    struct ide_bm *bm = &ch->bm;
    switch (offset & 7) {
    case 0:
        bm_command(ch, (uint8_t)value);
        break;
    case 2:
        bm->status = (uint8_t)((bm->status & BM_ACTIVE) | (value & BM_CAPABLE) |
                               (bm->status & ~value & (BM_ERROR | BM_IRQ)));
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        bm->table = (uint32_t)bits_set(bm->table, (offset & 3) * 8, 8, value & 0xff) & ~3u;
        break;
    }
}

static const struct io_ops bm_ops = {
    .name = "ide-bm", .read = bm_read, .write = bm_write, .min_access = 1, .max_access = 1};

/* ---- events ----------------------------------------------------------------------------------- */

static void reset_done(struct ide_drive *d)
{
    ide_signature(d);
    d->error = 0x01; /* diagnostics passed */
    d->status = d->cfg.kind == IDE_CDROM ? 0 : ATA_DRDY | ATA_DSC;
}

static void on_event(void *opaque)
{
    struct ide_drive *d = opaque;
    enum ide_op op = d->op;
    d->op = IDE_OP_NONE;
    d->status &= (uint8_t)~ATA_BSY;
    switch (op) {
    case IDE_OP_NONE:
        break;
    case IDE_OP_EXEC:
        execute(d);
        break;
    case IDE_OP_PACKET:
        atapi_packet(d);
        break;
    case IDE_OP_NEXT:
        if (d->xfer == IDE_X_NONE)
            break;
        if (d->cfg.kind == IDE_CDROM)
            atapi_next(d);
        else
            ide_ata_next(d);
        break;
    case IDE_OP_DMA:
        if (d->xfer != IDE_X_NONE)
            run_dma(d);
        break;
    case IDE_OP_RESET:
        reset_done(d);
        break;
    }
}

/* ---- the command block ------------------------------------------------------------------------ */

/* Stops what the drive does and makes it busy until the reset is over. */
static void start_reset(struct ide_drive *d)
{
    d->xfer = IDE_X_NONE;
    d->dma = d->asleep = d->irq = false;
    d->power = 0xff;
    ide_after(d, IDE_OP_RESET, NS_RESET);
}

static void diagnose(struct ide_channel *ch)
{
    /* Both drives run it; drive 0 reports and interrupts (ATA/ATAPI-6, 8.9). */
    for (unsigned u = 0; u < IDE_UNITS; u++) {
        struct ide_drive *d = &ch->drive[u];
        if (!ide_present(d))
            continue;
        event_cancel(&d->event);
        d->op = IDE_OP_NONE;
        d->irq = false;
        d->xfer = IDE_X_NONE;
        d->select = 0;
        reset_done(d);
    }
    ch->selected = 0;
    if (ide_present(&ch->drive[0]))
        ide_raise(&ch->drive[0]);
    else
        update_line(ch);
}

static void write_command(struct ide_channel *ch, uint8_t v)
{
    struct ide_drive *d = selected(ch);
    if (v == 0x90 && !(d->status & ATA_BSY)) {
        diagnose(ch);
        return;
    }
    if (!ide_present(d))
        return;
    if (v == 0x08 && d->cfg.kind == IDE_CDROM) { /* DEVICE RESET goes through BSY */
        atapi_reset(d, false);
        start_reset(d);
        update_line(ch);
        return;
    }
    if (d->status & ATA_BSY || d->asleep) {
        LOG(ch->ide->dev.board->log, LOG_GUEST_ERROR, IDE_ID_FMT ": command %02x while %s",
            IDE_ID(d), v, d->asleep ? "asleep" : "busy");
        return;
    }
    lower(d);
    d->command = v;
    d->error = 0;
    d->dma = false;
    ide_after(d, IDE_OP_EXEC, NS_COMMAND);
}

static void write_register(struct ide_channel *ch, unsigned reg, uint8_t v)
{
    if (reg == 7) {
        write_command(ch, v);
        return;
    }
    ch->control &= (uint8_t)~ATA_C_HOB;
    if (reg == 6) {
        uint8_t unit = v & ATA_SEL_DEV ? 1 : 0;
        if (selected(ch)->status & ATA_BSY && unit == ch->selected)
            return;
        ch->selected = unit;
        for (unsigned u = 0; u < IDE_UNITS; u++) {
            if (!(ch->drive[u].status & ATA_BSY))
                ch->drive[u].select = v;
        }
        update_line(ch);
        return;
    }
    /* Both drives hear a write; one that is busy does not listen. */
    for (unsigned u = 0; u < IDE_UNITS; u++) {
        struct ide_drive *d = &ch->drive[u];
        if (d->status & ATA_BSY)
            continue;
        switch (reg) {
        case 1:
            d->hob_feature = d->feature;
            d->feature = v;
            break;
        case 2:
            d->hob_nsector = d->nsector;
            d->nsector = v;
            break;
        case 3:
            d->hob_sector = d->sector;
            d->sector = v;
            break;
        case 4:
            d->hob_lcyl = d->lcyl;
            d->lcyl = v;
            break;
        case 5:
            d->hob_hcyl = d->hcyl;
            d->hcyl = v;
            break;
        }
    }
}

/* What an access finds when the selected drive is not there: a drive 0 answers zeros for it; with
 * no drive 0 nobody drives the cable, and DD7's pull-down gives 7Fh. */
static uint8_t absent(const struct ide_channel *ch)
{
    return ide_present(&ch->drive[0]) ? 0x00 : 0x7f;
}

static uint8_t read_register(struct ide_channel *ch, unsigned reg)
{
    struct ide_drive *d = selected(ch);
    bool hob = ch->control & ATA_C_HOB;
    if (!ide_present(d))
        return absent(ch);
    switch (reg) {
    case 1:
        return d->error;
    case 2:
        return hob ? d->hob_nsector : d->nsector;
    case 3:
        return hob ? d->hob_sector : d->sector;
    case 4:
        return hob ? d->hob_lcyl : d->lcyl;
    case 5:
        return hob ? d->hob_hcyl : d->hcyl;
    case 6:
        return d->select | 0xa0; /* obsolete bits read as 1 */
    default:
        lower(d);
        return d->status;
    }
}

static bool pio_open(const struct ide_drive *d, bool in)
{
    if (!(d->status & ATA_DRQ) || d->status & ATA_BSY || d->pos >= d->end)
        return false;
    if (d->xfer == IDE_X_PACKET)
        return !in;
    return !d->dma && in == (d->xfer == IDE_X_READ || d->xfer == IDE_X_BUF_IN);
}

static void block_over(struct ide_drive *d)
{
    if (d->xfer == IDE_X_PACKET) {
        ide_after(d, IDE_OP_PACKET, NS_COMMAND);
    } else if (d->command != 0xa0 && d->pos == d->len && !d->left &&
               (d->xfer == IDE_X_READ || d->xfer == IDE_X_BUF_IN)) {
        /* The last block in ends the command without an interrupt (ATA/ATAPI-6, 9.5). */
        d->xfer = IDE_X_NONE;
        d->status = ATA_DRDY | ATA_DSC;
    } else {
        ide_after(d, IDE_OP_NEXT, NS_BLOCK);
    }
}

static uint32_t read_data(struct ide_channel *ch, unsigned size)
{
    struct ide_drive *d = selected(ch);
    uint32_t v = 0;
    if (!ide_present(d) || !pio_open(d, true))
        return ide_present(d) ? 0xffffffff : absent(ch) * 0x01010101u;
    for (unsigned i = 0; i < size && d->pos < d->end; i++)
        v |= (uint32_t)d->buf[d->pos++] << i * 8;
    if (d->pos == d->end)
        block_over(d);
    return v;
}

static void write_data(struct ide_channel *ch, uint32_t v, unsigned size)
{
    struct ide_drive *d = selected(ch);
    if (!ide_present(d) || !pio_open(d, false))
        return;
    for (unsigned i = 0; i < size && d->pos < d->end; i++)
        d->buf[d->pos++] = (uint8_t)(v >> i * 8);
    if (d->pos == d->end)
        block_over(d);
}

static uint64_t ide_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ide_channel *ch = opaque;
    uint64_t v = 0;
    if (offset == 0)
        return read_data(ch, size);
    for (unsigned i = 0; i < size; i++)
        v |= (uint64_t)read_register(ch, (unsigned)(offset + i) & 7) << i * 8;
    return v;
}

static void ide_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct ide_channel *ch = opaque;
    if (offset == 0) {
        write_data(ch, (uint32_t)value, size);
        return;
    }
    for (unsigned i = 0; i < size; i++)
        write_register(ch, (unsigned)(offset + i) & 7, (uint8_t)(value >> i * 8));
}

static const struct io_ops command_ops = {
    .name = "ide", .read = ide_read, .write = ide_write, .min_access = 1, .max_access = 4};

/* ---- the control block ------------------------------------------------------------------------ */

static uint64_t control_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ide_channel *ch = opaque;
    struct ide_drive *d = selected(ch);
    return ide_present(d) ? d->status : absent(ch);
}

static void control_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct ide_channel *ch = opaque;
    uint8_t old = ch->control;
    ch->control = value & (ATA_C_NIEN | ATA_C_SRST | ATA_C_HOB);
    for (unsigned u = 0; u < IDE_UNITS; u++) {
        struct ide_drive *d = &ch->drive[u];
        if (!ide_present(d))
            continue;
        if (value & ATA_C_SRST && !(old & ATA_C_SRST)) {
            start_reset(d);
            event_cancel(&d->event); /* busy as long as the bit is set */
            d->select = 0;
            ch->selected = 0;
            if (d->cfg.kind == IDE_CDROM)
                atapi_reset(d, false);
            else
                d->multiple = 0;
        } else if (!(value & ATA_C_SRST) && old & ATA_C_SRST) {
            ide_after(d, IDE_OP_RESET, NS_RESET);
        }
    }
    update_line(ch);
}

static const struct io_ops control_ops = {.name = "ide-control",
                                          .read = control_read,
                                          .write = control_write,
                                          .min_access = 1,
                                          .max_access = 1};

/* ---- device ----------------------------------------------------------------------------------- */

static const uint16_t command_base[IDE_CHANNELS] = {0x1f0, 0x170};
static const uint16_t control_base[IDE_CHANNELS] = {0x3f6, 0x376};

/* A snapshot from elsewhere must not lead outside the buffer. */
static bool drive_loaded(void *obj)
{
    struct ide_drive *d = obj;
    return d->len <= IDE_BUF && d->pos <= d->end && d->end <= d->len && d->chunk <= IDE_BUF / 512 &&
           d->op <= IDE_OP_RESET && d->xfer <= IDE_X_PACKET && d->multiple <= IDE_MAX_MULTIPLE &&
           (d->cfg.kind != IDE_DISK || (d->heads && d->sectors));
}

static bool channel_loaded(void *obj)
{
    struct ide_channel *ch = obj;
    return ch->selected < IDE_UNITS && ch->bm.count <= 0x10000;
}

static const struct vm_field drive_fields[] = {
    VM_INT(struct ide_drive, feature),
    VM_INT(struct ide_drive, nsector),
    VM_INT(struct ide_drive, sector),
    VM_INT(struct ide_drive, lcyl),
    VM_INT(struct ide_drive, hcyl),
    VM_INT(struct ide_drive, select),
    VM_INT(struct ide_drive, hob_feature),
    VM_INT(struct ide_drive, hob_nsector),
    VM_INT(struct ide_drive, hob_sector),
    VM_INT(struct ide_drive, hob_lcyl),
    VM_INT(struct ide_drive, hob_hcyl),
    VM_INT(struct ide_drive, error),
    VM_INT(struct ide_drive, status),
    VM_INT(struct ide_drive, command),
    VM_INT(struct ide_drive, irq),
    VM_INT(struct ide_drive, op),
    VM_INT(struct ide_drive, xfer),
    VM_INT(struct ide_drive, dma),
    VM_INT(struct ide_drive, lba48),
    VM_INT(struct ide_drive, multiple),
    VM_INT(struct ide_drive, power),
    VM_INT(struct ide_drive, asleep),
    VM_INT(struct ide_drive, write_cache),
    VM_INT(struct ide_drive, look_ahead),
    VM_INT(struct ide_drive, smart),
    VM_INT(struct ide_drive, mdma),
    VM_INT(struct ide_drive, udma),
    VM_INT(struct ide_drive, heads),
    VM_INT(struct ide_drive, sectors),
    VM_INT(struct ide_drive, cyls),
    VM_INT(struct ide_drive, pos),
    VM_INT(struct ide_drive, end),
    VM_INT(struct ide_drive, len),
    VM_INT(struct ide_drive, left),
    VM_INT(struct ide_drive, chunk),
    VM_INT(struct ide_drive, lba),
    VM_STRUCT(struct ide_drive, event, &vm_event),
    VM_STRUCT(struct ide_drive, cd, &vm_atapi),
    VM_BYTES(struct ide_drive, buf),
    VM_SKIP(struct ide_drive, ch, "wiring, set by init"),
    VM_SKIP(struct ide_drive, cfg, "wiring, set by the board"),
    VM_SKIP(struct ide_drive, unit, "wiring, set by init"),
    VM_END,
};
static const struct vmstate vm_drive =
    VMSTATE_HOOKS("ide-drive", struct ide_drive, drive_fields, NULL, drive_loaded);

static const struct vm_field bm_fields[] = {
    VM_INT(struct ide_bm, command), VM_INT(struct ide_bm, status),
    VM_INT(struct ide_bm, table),   VM_INT(struct ide_bm, next),
    VM_INT(struct ide_bm, addr),    VM_INT(struct ide_bm, count),
    VM_INT(struct ide_bm, last),    VM_END,
};
static const struct vmstate vm_bm = VMSTATE("ide-bm", struct ide_bm, bm_fields);

static const struct vm_field channel_fields[] = {
    VM_STRUCTS(struct ide_channel, drive, &vm_drive),
    VM_STRUCT(struct ide_channel, bm, &vm_bm),
    VM_INT(struct ide_channel, selected),
    VM_INT(struct ide_channel, control),
    VM_INT(struct ide_channel, line),
    VM_SKIP(struct ide_channel, ide, "wiring, set by init"),
    VM_SKIP(struct ide_channel, number, "wiring, set by init"),
    VM_END,
};
static const struct vmstate vm_channel =
    VMSTATE_HOOKS("ide-channel", struct ide_channel, channel_fields, NULL, channel_loaded);

static const struct vm_field ide_fields[] = {
    VM_DEVICE(struct ide),
    VM_STRUCT(struct ide, pci, &vm_pci_device),
    VM_STRUCTS(struct ide, ch, &vm_channel),
    VM_SKIP(struct ide, cfg, "wiring, set by the board"),
    VM_END,
};
static const struct vmstate vm_ide = VMSTATE("ide", struct ide, ide_fields);

void ide_configure(struct device *dev, const struct ide_cfg *cfg)
{
    ((struct ide *)dev)->cfg = *cfg;
}

static bool ide_init(struct device *dev, struct error *err)
{
    struct ide *ide = (struct ide *)dev;
    for (unsigned c = 0; c < IDE_CHANNELS; c++) {
        struct ide_channel *ch = &ide->ch[c];
        ch->ide = ide;
        ch->number = (uint8_t)c;
        for (unsigned u = 0; u < IDE_UNITS; u++) {
            struct ide_drive *d = &ch->drive[u];
            d->ch = ch;
            d->unit = (uint8_t)u;
            d->cfg = ide->cfg.drive[c][u];
            d->cd.loaded = d->cfg.kind == IDE_CDROM && d->cfg.block;
            event_init(&d->event, dev->board->clock, "ide", 0, on_event, d);
            if (d->cfg.kind == IDE_DISK && !d->cfg.block)
                return error_set(err, ERR_INVALID, "IDE disk %u has no image: give it one",
                                 c * IDE_UNITS + u);
        }
        portmap_add(dev->board->ports, command_base[c], 8, &command_ops, ch);
        portmap_add(dev->board->ports, control_base[c], 1, &control_ops, ch);
    }
    if (!pci_register(
            ide->cfg.bus, &ide->pci, dev, ide->cfg.devfn,
            &(struct pci_ident){.vendor = 0x8086, .device = 0x7010, .class_code = 0x010180}, err))
        return false;
    pci_set_wmask(&ide->pci, 0x40, 0xffffffff, 4); /* IDETIM of both channels */
    pci_set_initial(&ide->pci, 0x40, 0x80008000, 4);
    pci_set_wmask(&ide->pci, 0x44, 0xff, 1); /* SIDETIM */
    /* Fast back-to-back capable, medium DEVSEL timing (2.2.4). */
    pci_set_initial(&ide->pci, PCI_STATUS, 0x0280, 2);
    pci_add_bar_io(&ide->pci, 4, 16, &bm_ops, ide);
    return true;
}

static void ide_reset(struct device *dev, enum reset_kind kind)
{
    struct ide *ide = (struct ide *)dev;
    if (kind == RESET_INIT)
        return;
    pci_reset(&ide->pci);
    for (unsigned c = 0; c < IDE_CHANNELS; c++) {
        struct ide_channel *ch = &ide->ch[c];
        ch->selected = ch->control = 0;
        ch->bm = (struct ide_bm){0};
        for (unsigned u = 0; u < IDE_UNITS; u++) {
            struct ide_drive *d = &ch->drive[u];
            d->irq = false;
            d->status = 0;
            if (!ide_present(d))
                continue;
            d->select = d->feature = d->command = 0;
            d->pos = d->end = d->len = d->left = 0;
            start_reset(d);
            if (d->cfg.kind == IDE_CDROM)
                atapi_reset(d, true);
            else
                ide_ata_reset(d);
        }
        update_line(ch);
    }
}

static void ide_fini(struct device *dev)
{
    struct ide *ide = (struct ide *)dev;
    for (unsigned c = 0; c < IDE_CHANNELS; c++) {
        for (unsigned u = 0; u < IDE_UNITS; u++) {
            if (ide->ch[c].drive[u].event.clock)
                event_cancel(&ide->ch[c].drive[u].event);
        }
        portmap_remove(dev->board->ports, command_base[c], 8, &ide->ch[c]);
        portmap_remove(dev->board->ports, control_base[c], 1, &ide->ch[c]);
    }
    pci_unregister(&ide->pci);
}

const struct device_class ide_class = {
    .name = "ide",
    .size = sizeof(struct ide),
    .vmstate = &vm_ide,
    .init = ide_init,
    .reset = ide_reset,
    .fini = ide_fini,
};

void ide_set_cdrom(struct ide *ide, unsigned channel, unsigned unit, struct block_dev *block)
{
    CHECK(channel < IDE_CHANNELS && unit < IDE_UNITS);
    struct ide_drive *d = &ide->ch[channel].drive[unit];
    if (d->cfg.kind == IDE_CDROM)
        atapi_set_medium(d, block);
}
