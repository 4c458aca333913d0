/* The commands of IDE hard disks (ATA/ATAPI-6, chapter 8). */
#include "devices/ide_int.h"


/* ---- addresses -------------------------------------------------------------------------------- */

/* The address in the registers; false if no such sector can be. */
static bool get_address(const struct ide_drive *d, uint64_t *lba)
{
    uint32_t low = (uint32_t)(d->sector | d->lcyl << 8 | d->hcyl << 16);
    if (d->lba48) {
        *lba = low | (uint64_t)d->hob_sector << 24 | (uint64_t)d->hob_lcyl << 32 |
               (uint64_t)d->hob_hcyl << 40;
    } else if (d->select & ATA_SEL_LBA) {
        *lba = low | (uint64_t)(d->select & 15) << 24;
    } else {
        uint32_t cyl = low >> 8, head = d->select & 15;
        if (!d->sector || d->sector > d->sectors || head >= d->heads || cyl >= d->cyls)
            return false;
        *lba = ((uint64_t)cyl * d->heads + head) * d->sectors + d->sector - 1;
    }
    return true;
}

static void set_address(struct ide_drive *d, uint64_t lba)
{
    if (d->lba48 || d->select & ATA_SEL_LBA) {
        d->sector = (uint8_t)lba;
        d->lcyl = (uint8_t)(lba >> 8);
        d->hcyl = (uint8_t)(lba >> 16);
        d->hob_sector = (uint8_t)(lba >> 24);
        d->hob_lcyl = (uint8_t)(lba >> 32);
        d->hob_hcyl = (uint8_t)(lba >> 40);
        if (!d->lba48)
            d->select = (uint8_t)((d->select & 0xf0) | (lba >> 24 & 15));
        return;
    }
    uint64_t track = lba / d->sectors, cyl = track / d->heads;
    d->sector = (uint8_t)(lba % d->sectors + 1);
    d->select = (uint8_t)((d->select & 0xf0) | track % d->heads);
    d->lcyl = (uint8_t)cyl;
    d->hcyl = (uint8_t)(cyl >> 8);
}

static uint32_t get_count(const struct ide_drive *d)
{
    if (!d->lba48)
        return d->nsector ? d->nsector : 256;
    uint32_t n = (uint32_t)(d->hob_nsector << 8 | d->nsector);
    return n ? n : 65536;
}

/* Takes address and count from the registers; false if it failed the command. */
static bool take_range(struct ide_drive *d)
{
    d->left = get_count(d);
    bool ok = get_address(d, &d->lba);
    IDE_LOG(d, IDE_ID_FMT ": command %02x lba %llu count %u", IDE_ID(d), d->command,
            (unsigned long long)d->lba, d->left);
    if (!ok || d->lba > ide_sectors(d) || d->left > ide_sectors(d) - d->lba) {
        d->left = 0;
        ide_fail(d, ATA_E_IDNF, 0);
        return false;
    }
    d->power = 0xff;
    return true;
}

/* ---- moving sectors --------------------------------------------------------------------------- */

/* Reads the next chunk into the buffer. */
static bool load_chunk(struct ide_drive *d)
{
    uint32_t n = MIN(d->left, d->chunk);
    if (!block_read(d->cfg.block, d->lba * 512, d->buf, (size_t)n * 512)) {
        IDE_LOG(d, IDE_ID_FMT ": host cannot read sector %llu", IDE_ID(d),
                (unsigned long long)d->lba);
        set_address(d, d->lba);
        ide_fail(d, ATA_E_UNC, 0);
        return false;
    }
    d->lba += n;
    d->left -= n;
    d->pos = 0;
    d->end = d->len = n * 512;
    return true;
}

/* Expects the next chunk from the host. */
static void expect_chunk(struct ide_drive *d)
{
    uint32_t n = MIN(d->left, d->chunk);
    d->pos = 0;
    d->end = d->len = n * 512;
}

static bool store_chunk(struct ide_drive *d)
{
    uint32_t n = d->len / 512;
    if (!block_write(d->cfg.block, d->lba * 512, d->buf, d->len) ||
        (!d->write_cache && !block_flush(d->cfg.block))) {
        IDE_LOG(d, IDE_ID_FMT ": host cannot write sector %llu", IDE_ID(d),
                (unsigned long long)d->lba);
        set_address(d, d->lba);
        ide_fail(d, ATA_E_ABRT, ATA_DF);
        return false;
    }
    d->lba += n;
    d->left -= n;
    return true;
}

/* DATA SET MANAGEMENT, trim: ranges of a 48-bit address and a 16-bit count; 0 is no range. */
static bool trim_ranges(struct ide_drive *d)
{
    for (uint32_t i = 0; i < d->len; i += 8) {
        uint64_t e = ld64(d->buf + i), lba = e & (BIT64(48) - 1), n = e >> 48;
        uint64_t total = ide_sectors(d);
        if (!n)
            continue;
        if (lba > total || n > total - lba) {
            ide_fail(d, ATA_E_IDNF, 0);
            return false;
        }
        if (!block_trim(d->cfg.block, lba * 512, n * 512)) {
            ide_fail(d, ATA_E_ABRT, 0);
            return false;
        }
    }
    return true;
}

static void finish_range(struct ide_drive *d)
{
    if (d->xfer == IDE_X_READ || d->xfer == IDE_X_WRITE)
        set_address(d, d->lba - 1);
    d->nsector = d->hob_nsector = 0;
    ide_done(d);
}

void ide_ata_next(struct ide_drive *d)
{
    switch (d->xfer) {
    case IDE_X_READ:
        if (load_chunk(d)) {
            if (!d->left)
                set_address(d, d->lba - 1);
            ide_drq(d, true);
        }
        break;
    case IDE_X_WRITE:
        if (!store_chunk(d))
            break;
        if (d->left) {
            expect_chunk(d);
            ide_drq(d, true);
        } else {
            finish_range(d);
        }
        break;
    default:
        ide_done(d);
        break;
    }
}

bool ide_ata_refill(struct ide_drive *d, bool *ok)
{
    switch (d->xfer) {
    case IDE_X_READ:
        if (!d->left) {
            set_address(d, d->lba - 1);
            return false;
        }
        *ok = load_chunk(d);
        return *ok;
    case IDE_X_WRITE:
        *ok = store_chunk(d);
        if (!*ok)
            return false;
        if (!d->left) {
            set_address(d, d->lba - 1);
            return false;
        }
        expect_chunk(d);
        return true;
    case IDE_X_BUF_OUT:
        *ok = trim_ranges(d);
        return false;
    default:
        return false;
    }
}

/* ---- commands --------------------------------------------------------------------------------- */

enum how { PIO, MULTIPLE, DMA };

static void read_sectors(struct ide_drive *d, enum how how)
{
    if (how == MULTIPLE && !d->multiple) {
        ide_fail(d, ATA_E_ABRT, 0);
        return;
    }
    if (!take_range(d))
        return;
    d->xfer = IDE_X_READ;
    d->dma = how == DMA;
    d->chunk = how == DMA ? IDE_BUF / 512 : how == MULTIPLE ? d->multiple : 1;
    d->pos = d->end = d->len = 0;
    if (d->dma)
        ide_dma_ready(d);
    else
        ide_ata_next(d);
}

static void write_sectors(struct ide_drive *d, enum how how)
{
    if ((how == MULTIPLE && !d->multiple) || block_readonly(d->cfg.block)) {
        ide_fail(d, ATA_E_ABRT, 0);
        return;
    }
    if (!take_range(d))
        return;
    d->xfer = IDE_X_WRITE;
    d->dma = how == DMA;
    d->chunk = how == DMA ? IDE_BUF / 512 : how == MULTIPLE ? d->multiple : 1;
    expect_chunk(d);
    if (d->dma)
        ide_dma_ready(d);
    else
        ide_drq(d, false); /* no interrupt asks for the first block */
}

static void verify(struct ide_drive *d)
{
    if (!take_range(d))
        return;
    d->chunk = IDE_BUF / 512;
    while (d->left) {
        if (!load_chunk(d))
            return;
    }
    set_address(d, d->lba - 1);
    ide_done(d);
}

static void send_buffer(struct ide_drive *d)
{
    d->xfer = IDE_X_BUF_IN;
    d->left = 0;
    d->pos = 0;
    d->end = d->len = 512;
    ide_drq(d, true);
}

bool ide_set_transfer_mode(struct ide_drive *d)
{
    unsigned kind = d->nsector >> 3, mode = d->nsector & 7;
    if (d->nsector <= 1 || (kind == 1 && mode <= 4))
        return true;
    if (kind == 4 && mode <= 2) {
        d->mdma = (uint8_t)BIT(mode);
        d->udma = 0;
        return true;
    }
    if (kind == 8 && mode <= 5) {
        d->udma = (uint8_t)BIT(mode);
        d->mdma = 0;
        return true;
    }
    return false;
}

static void set_features(struct ide_drive *d)
{
    bool ok = true;
    switch (d->feature) {
    case 0x02:
        d->write_cache = true;
        break;
    case 0x82:
        d->write_cache = false;
        if (!block_flush(d->cfg.block)) {
            ide_fail(d, ATA_E_ABRT, ATA_DF);
            return;
        }
        break;
    case 0x03:
        ok = ide_set_transfer_mode(d);
        break;
    case 0x55:
        d->look_ahead = false;
        break;
    case 0xaa:
        d->look_ahead = true;
        break;
    case 0x66: /* keep, or go back to, power-on defaults after a reset: nothing differs */
    case 0xcc:
        break;
    default:
        ok = false;
        break;
    }
    if (ok)
        ide_done(d);
    else
        ide_fail(d, ATA_E_ABRT, 0);
}

static void smart(struct ide_drive *d)
{
    if (d->lcyl != 0x4f || d->hcyl != 0xc2 || (!d->smart && d->feature != 0xd8)) {
        ide_fail(d, ATA_E_ABRT, 0);
        return;
    }
    switch (d->feature) {
    case 0xd0:
    case 0xd1:
        ide_smart_data(d, d->feature);
        send_buffer(d);
        return;
    case 0xd2: /* attribute autosave */
        break;
    case 0xd8:
        d->smart = true;
        break;
    case 0xd9:
        d->smart = false;
        break;
    case 0xda: /* the signature left as it is means healthy */
        break;
    default:
        ide_fail(d, ATA_E_ABRT, 0);
        return;
    }
    ide_done(d);
}

static void data_set_management(struct ide_drive *d)
{
    uint32_t blocks = get_count(d);
    if (d->feature != 1 || blocks > 8 || block_readonly(d->cfg.block)) {
        ide_fail(d, ATA_E_ABRT, 0);
        return;
    }
    d->xfer = IDE_X_BUF_OUT;
    d->dma = true;
    d->left = 0;
    d->pos = 0;
    d->end = d->len = blocks * 512;
    ide_dma_ready(d);
}

static void set_translation(struct ide_drive *d)
{
    uint8_t heads = (uint8_t)((d->select & 15) + 1);
    if (!d->nsector) {
        ide_fail(d, ATA_E_ABRT, 0);
        return;
    }
    d->heads = heads;
    d->sectors = d->nsector;
    d->cyls = (uint16_t)MIN(ide_sectors(d) / (d->heads * d->sectors), (uint64_t)16383);
    ide_done(d);
}

static void set_multiple(struct ide_drive *d)
{
    uint8_t n = d->nsector;
    if (n > IDE_MAX_MULTIPLE || (n & (n - 1))) {
        ide_fail(d, ATA_E_ABRT, 0);
        return;
    }
    d->multiple = n;
    ide_done(d);
}

static void set_power(struct ide_drive *d, uint8_t power)
{
    d->power = power;
    ide_done(d);
}

void ide_ata_exec(struct ide_drive *d)
{
    uint8_t c = d->command;
    /* The commands of the 48-bit feature set. */
    d->lba48 = c == 0x24 || c == 0x25 || c == 0x27 || c == 0x29 || c == 0x34 || c == 0x35 ||
               c == 0x39 || c == 0x42 || c == 0x06;
    if (c >> 4 == 1 || c >> 4 == 7) { /* RECALIBRATE, SEEK: every low half-byte */
        uint64_t lba;
        if (c >> 4 == 7 && (!get_address(d, &lba) || lba >= ide_sectors(d)))
            ide_fail(d, ATA_E_IDNF, 0);
        else
            ide_done(d);
        return;
    }
    switch (c) {
    case 0x06:
        data_set_management(d);
        break;
    case 0x20: /* READ SECTORS with and without retries, EXT */
    case 0x21:
    case 0x24:
        read_sectors(d, PIO);
        break;
    case 0xc4:
    case 0x29:
        read_sectors(d, MULTIPLE);
        break;
    case 0xc8:
    case 0xc9:
    case 0x25:
        read_sectors(d, DMA);
        break;
    case 0x30: /* WRITE SECTORS */
    case 0x31:
    case 0x34:
        write_sectors(d, PIO);
        break;
    case 0xc5:
    case 0x39:
        write_sectors(d, MULTIPLE);
        break;
    case 0xca:
    case 0xcb:
    case 0x35:
        write_sectors(d, DMA);
        break;
    case 0x40: /* READ VERIFY */
    case 0x41:
    case 0x42:
        verify(d);
        break;
    case 0x27: /* READ NATIVE MAX ADDRESS EXT */
        set_address(d, ide_sectors(d) - 1);
        ide_done(d);
        break;
    case 0xf8:
        d->select |= ATA_SEL_LBA;
        set_address(d, MIN(ide_sectors(d), (uint64_t)0x10000000) - 1);
        ide_done(d);
        break;
    case 0x91: /* INITIALIZE DEVICE PARAMETERS */
        set_translation(d);
        break;
    case 0xb0:
        smart(d);
        break;
    case 0xc6:
        set_multiple(d);
        break;
    case 0xe0: /* STANDBY (IMMEDIATE), with the codes of ATA-1 */
    case 0x94:
    case 0xe2:
    case 0x96:
        set_power(d, 0x00);
        break;
    case 0xe1: /* IDLE (IMMEDIATE) */
    case 0x95:
    case 0xe3:
    case 0x97:
        set_power(d, 0x80);
        break;
    case 0xe5: /* CHECK POWER MODE */
    case 0x98:
        d->nsector = d->power;
        ide_done(d);
        break;
    case 0xe6: /* SLEEP */
    case 0x99:
        d->asleep = true;
        set_power(d, 0x00);
        break;
    case 0xe7: /* FLUSH CACHE (EXT) */
    case 0xea:
        IDE_LOG(d, IDE_ID_FMT ": flush", IDE_ID(d));
        if (block_flush(d->cfg.block))
            ide_done(d);
        else
            ide_fail(d, ATA_E_ABRT, ATA_DF);
        break;
    case 0xec:
        ide_identify(d);
        send_buffer(d);
        break;
    case 0xef:
        set_features(d);
        break;
    default: /* NOP among them, which always aborts */
        if (c)
            LOG(d->ch->ide->dev.board->log, LOG_UNIMP, IDE_ID_FMT ": command %02x", IDE_ID(d), c);
        ide_fail(d, ATA_E_ABRT, 0);
        break;
    }
}

void ide_ata_reset(struct ide_drive *d)
{
    ide_default_geometry(block_size(d->cfg.block), &d->cyls, &d->heads, &d->sectors);
    d->multiple = 0;
    d->mdma = BIT(2); /* the PIIX3's best, as firmware would have chosen */
    d->udma = 0;
    d->write_cache = d->look_ahead = d->smart = true;
}
