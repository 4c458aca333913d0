/* What IDE drives say of themselves: IDENTIFY DEVICE (ATA/ATAPI-6, 8.15), IDENTIFY PACKET DEVICE
 * (8.16) and SMART data (8.54). Nothing is announced that the commands do not do.
 */
#include <stdio.h>

#include "devices/ide_int.h"

#define GEN_HEADS   16u
#define GEN_SECTORS 63u
#define GEN_CYLS    16383u
#define LBA28_MAX   0x0fffffffull

uint64_t ide_sectors(const struct ide_drive *d)
{
    return d->cfg.block ? block_size(d->cfg.block) / 512 : 0;
}

void ide_default_geometry(uint64_t size, uint16_t *cyls, uint8_t *heads, uint8_t *sectors)
{
    uint64_t total = size / 512;
    *heads = GEN_HEADS;
    *sectors = GEN_SECTORS;
    if (total < GEN_HEADS * GEN_SECTORS) {
        /* Less than one such cylinder. */
        *heads = 1;
        *sectors = (uint8_t)MAX(MIN(total, (uint64_t)GEN_SECTORS), (uint64_t)1);
    }
    total /= *heads * *sectors;
    *cyls = (uint16_t)MAX(MIN(total, (uint64_t)GEN_CYLS), (uint64_t)1);
}

static void word(struct ide_drive *d, unsigned n, unsigned v)
{
    st16(d->buf + n * 2, (uint16_t)v);
}

/* ATA strings have the first character in the high byte and are padded with blanks. */
static void string(struct ide_drive *d, unsigned n, unsigned words, const char *s)
{
    for (unsigned i = 0; i < words * 2; i++)
        d->buf[(n * 2 + i) ^ 1] = (uint8_t)(*s ? *s++ : ' ');
}

static void names(struct ide_drive *d, const char *model)
{
    char serial[21];
    if (d->cfg.serial)
        snprintf(serial, sizeof(serial), "%s", d->cfg.serial);
    else
        snprintf(serial, sizeof(serial), "TN%05u", d->ch->number * IDE_UNITS + d->unit + 1u);
    string(d, 10, 10, serial);
    string(d, 23, 4, "1.0");
    string(d, 27, 20, model);
}

static void checksum(uint8_t *block)
{
    uint8_t sum = 0;
    for (unsigned i = 0; i < 511; i++)
        sum = (uint8_t)(sum + block[i]);
    block[511] = (uint8_t)-sum;
}

/* Words that disks and CD-ROMs share: transfer modes. */
static void modes(struct ide_drive *d)
{
    word(d, 53, 0x0007);                 /* 54-58, 64-70 and 88 are valid */
    word(d, 63, 0x0007u | d->mdma << 8); /* multiword DMA 0 to 2 */
    word(d, 64, 0x0003);                 /* PIO 3 and 4 */
    for (unsigned n = 65; n <= 68; n++)
        word(d, n, 120);                           /* ns a cycle */
    word(d, 88, 0x003fu | (unsigned)d->udma << 8); /* Ultra DMA 0 to 5; the chip may have less */
    word(d, 93, d->unit ? 0x4b00 : 0x600b);        /* 80-conductor cable; reset results */
}

void ide_identify(struct ide_drive *d)
{
    uint64_t total = ide_sectors(d);
    uint64_t lba28 = MIN(total, LBA28_MAX);
    uint16_t cyls;
    uint8_t heads, sectors;
    ide_default_geometry(total * 512, &cyls, &heads, &sectors);
    uint32_t chs = (uint32_t)d->cyls * d->heads * d->sectors;

    memset(d->buf, 0, 512);
    word(d, 0, 0x0040); /* fixed drive */
    word(d, 1, cyls);
    word(d, 3, heads);
    word(d, 4, 512u * sectors); /* retired: unformatted bytes a track and a sector */
    word(d, 5, 512);
    word(d, 6, sectors);
    word(d, 20, 3); /* retired: dual-ported buffer with look-ahead */
    word(d, 21, IDE_BUF / 512);
    word(d, 22, 4); /* obsolete: ECC bytes */
    names(d, "Tinamou Hard Disk");
    word(d, 47, 0x8010); /* READ MULTIPLE: at most 16 sectors */
    word(d, 48, 1);      /* obsolete: doubleword I/O */
    word(d, 49, 0x0f00); /* IORDY, LBA, DMA */
    word(d, 50, 0x4000);
    word(d, 51, 0x0200); /* obsolete: PIO and DMA timing modes */
    word(d, 52, 0x0200);
    modes(d);
    word(d, 54, d->cyls);
    word(d, 55, d->heads);
    word(d, 56, d->sectors);
    word(d, 57, chs & 0xffff);
    word(d, 58, chs >> 16);
    word(d, 59, d->multiple ? 0x0100u | d->multiple : 0);
    st32(d->buf + 120, (uint32_t)lba28);
    word(d, 80, 0x00f0); /* ATA-4 to ATA/ATAPI-7 */
    word(d, 82, 0x4069); /* NOP, look-ahead, write cache, power management, SMART */
    word(d, 83, 0x7400); /* FLUSH CACHE and EXT, 48-bit addresses */
    word(d, 84, 0x4000);
    word(d, 85,
         0x4008u | (d->look_ahead ? 0x40 : 0) | (d->write_cache ? 0x20 : 0) | (d->smart ? 1 : 0));
    word(d, 86, 0x3400);
    word(d, 87, 0x4000);
    st64(d->buf + 200, total);
    word(d, 105, 8);      /* blocks of ranges that one DATA SET MANAGEMENT takes */
    word(d, 169, 0x0001); /* and it trims */
    word(d, 217, 0x0001); /* does not rotate */
    d->buf[510] = 0xa5;
    checksum(d->buf);
}

void ide_identify_packet(struct ide_drive *d)
{
    memset(d->buf, 0, 512);
    word(d, 0, 0x85c0); /* ATAPI CD-ROM, removable, DRQ within 50 us of PACKET, 12-byte packets */
    names(d, "Tinamou CD-ROM");
    word(d, 48, 1);
    word(d, 49, 0x0b00); /* IORDY, LBA, DMA */
    word(d, 50, 0x4000);
    modes(d);
    word(d, 71, 30); /* ns from PACKET to bus release, and from SERVICE to BSY off: unused */
    word(d, 72, 30);
    word(d, 80, 0x00f0);
    word(d, 82, 0x4218); /* NOP, DEVICE RESET, PACKET, power management */
    word(d, 83, 0x4000);
    word(d, 84, 0x4000);
    word(d, 85, 0x4218);
    word(d, 87, 0x4000);
    d->buf[510] = 0xa5;
    checksum(d->buf);
}

/* SMART READ DATA (D0h) and READ THRESHOLDS (D1h): one healthy attribute that every tool knows. */
void ide_smart_data(struct ide_drive *d, uint8_t which)
{
    memset(d->buf, 0, 512);
    word(d, 0, 0x0010); /* revision of the attribute layout */
    d->buf[2] = 9;      /* power-on hours */
    if (which == 0xd0) {
        word(d, 0, 0x0010);
        st16(d->buf + 3, 0x0012);
        d->buf[5] = d->buf[6] = 100; /* value, worst */
        d->buf[362] = 0;             /* off-line data collection never started */
        d->buf[367] = 0x00;          /* no off-line abilities */
        st16(d->buf + 368, 0x0003);  /* saves attributes */
    }
    checksum(d->buf);
}
