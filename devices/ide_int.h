/* Inside the IDE controller. ide.c has the registers, the bus master and PCI; ide_ata.c the commands
 * of hard disks; ide_identify.c their tables of abilities; atapi.c CD-ROMs.
 *
 * A command goes through one drive like this:
 *
 *     command written -> BSY, event -> ide_exec -> no data:  ide_done
 *                                               -> PIO:  DRQ, host moves a block, BSY, event, ...
 *                                               -> DMA:  DRQ, bus master started, event, all of it
 *
 * Every step between the guest's accesses is one event of the drive, whose kind is `op`; so what is
 * in flight is all in the drive's fields and survives a snapshot.
 *
 * The buffer: bytes [pos, end) are to be moved in the present DRQ block or DMA run, bytes up to len
 * have been read (in) or are expected (out). `left` counts what has not been in the buffer yet, in
 * sectors of the medium.
 */
#ifndef DEVICES_IDE_INT_H
#define DEVICES_IDE_INT_H

#include "devices/atapi.h"
#include "devices/ide.h"
#include "devices/pci.h"

#define IDE_BUF 32768u
#define IDE_MAX_MULTIPLE 16u /* sectors of SET MULTIPLE MODE: they fit in the buffer */

/* Status, error and device control bits (ATA/ATAPI-6, 7.15, 7.9, 7.8). */
enum {
    ATA_ERR = 0x01,
    ATA_DRQ = 0x08,
    ATA_DSC = 0x10,
    ATA_DF = 0x20,
    ATA_DRDY = 0x40,
    ATA_BSY = 0x80,
};
enum { ATA_E_ABRT = 0x04, ATA_E_IDNF = 0x10, ATA_E_UNC = 0x40 };
enum { ATA_C_NIEN = 0x02, ATA_C_SRST = 0x04, ATA_C_HOB = 0x80 };
enum { ATA_SEL_DEV = 0x10, ATA_SEL_LBA = 0x40 };

/* What the drive's event will do. */
enum ide_op {
    IDE_OP_NONE,
    IDE_OP_EXEC,   /* run the command in the command register */
    IDE_OP_PACKET, /* run the packet in the buffer */
    IDE_OP_NEXT,   /* the host has emptied or filled a PIO block */
    IDE_OP_DMA,
    IDE_OP_RESET, /* end of a reset */
};

enum ide_xfer {
    IDE_X_NONE,
    IDE_X_READ,    /* from the medium */
    IDE_X_WRITE,   /* to the medium */
    IDE_X_BUF_IN,  /* what the buffer holds, once */
    IDE_X_BUF_OUT, /* into the buffer, then ide_buffer_filled */
    IDE_X_PACKET,  /* a command packet on its way in */
};

struct ide_drive {
    /* The command block; hob is what the registers held before the last write (48-bit feature). */
    uint8_t feature, nsector, sector, lcyl, hcyl, select;
    uint8_t hob_feature, hob_nsector, hob_sector, hob_lcyl, hob_hcyl;
    uint8_t error, status, command;
    bool irq; /* INTRQ wanted */

    uint8_t op;   /* enum ide_op */
    uint8_t xfer; /* enum ide_xfer */
    bool dma, lba48;
    uint8_t multiple; /* sectors a block, 0: not set */
    uint8_t power;    /* as CHECK POWER MODE reports it */
    bool asleep, write_cache, look_ahead, smart;
    uint8_t mdma, udma;     /* chosen modes, bit per mode */
    uint8_t heads, sectors; /* translation now in force */
    uint16_t cyls;
    uint32_t pos, end, len;
    uint32_t left;
    uint32_t chunk; /* sectors that go into the buffer at a time */
    uint64_t lba;   /* of the next sector to go through the buffer */
    struct event event;
    struct atapi cd;
    uint8_t buf[IDE_BUF];

    struct ide_channel *ch;
    struct ide_drive_cfg cfg;
    uint8_t unit;
};

/* One half of the bus master (82371SB data sheet, 2.7). */
struct ide_bm {
    uint8_t command, status;
    uint32_t table;       /* PRD table */
    uint32_t next;        /* PRD to fetch */
    uint32_t addr, count; /* rest of the present region */
    bool last;            /* the present PRD ends the table */
};

struct ide_channel {
    struct ide_drive drive[IDE_UNITS];
    struct ide_bm bm;
    uint8_t selected, control;
    bool line; /* level on the wire */

    struct ide *ide;
    uint8_t number;
};

struct ide {
    struct device dev;
    struct pci_device pci;
    struct ide_channel ch[IDE_CHANNELS];
    struct ide_cfg cfg;
};

/* Signals for people. */
#define IDE_LOG(d, ...) LOG((d)->ch->ide->dev.board->log, LOG_DISK, __VA_ARGS__)
#define IDE_ID_FMT      "ide%u.%u"
#define IDE_ID(d)       (d)->ch->number, (d)->unit

static inline bool ide_present(const struct ide_drive *d)
{
    return d->cfg.kind != IDE_NONE;
}

/* ---- ide.c ------------------------------------------------------------------------------------ */

void ide_after(struct ide_drive *d, enum ide_op op, uint64_t ns); /* BSY until then */
void ide_raise(struct ide_drive *d);
/* Ends the command well, badly, or with the signature in the registers. */
void ide_done(struct ide_drive *d);
void ide_fail(struct ide_drive *d, uint8_t error, uint8_t status);
void ide_signature(struct ide_drive *d);
/* Opens a DRQ block of the buffer's bytes [pos, end); with or without an interrupt. */
void ide_drq(struct ide_drive *d, bool irq);
/* The drive is ready for a DMA burst: goes on as soon as the bus master is started. */
void ide_dma_ready(struct ide_drive *d);

/* ---- ide_ata.c -------------------------------------------------------------------------------- */

void ide_ata_exec(struct ide_drive *d);
/* After a PIO block: the next one, or the end. */
void ide_ata_next(struct ide_drive *d);
/* DMA: gets more into the buffer (in) or makes room (out). False at the end of the command; *ok is
 * false when that came by an error, already reported. */
bool ide_ata_refill(struct ide_drive *d, bool *ok);
/* SET FEATURES 03h: the mode in the count register; false if it is none. */
bool ide_set_transfer_mode(struct ide_drive *d);
void ide_ata_reset(struct ide_drive *d); /* parameters back to power-on values */

/* ---- ide_identify.c --------------------------------------------------------------------------- */

void ide_identify(struct ide_drive *d); /* fills buf[0..511] */
void ide_identify_packet(struct ide_drive *d);
void ide_smart_data(struct ide_drive *d, uint8_t which);
uint64_t ide_sectors(const struct ide_drive *d);

#endif
