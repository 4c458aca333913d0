/* The PIIX3 IDE controller (82371SB function 1, 8086:7010) with two channels of two drives, each a
 * hard disk (ATA-6) or a CD-ROM (ATAPI, MMC-3), PIO and bus-master DMA.
 *
 *     struct ide_cfg cfg = { .bus = pci, .devfn = 0x09, .irq = { irq14, irq15 } };
 *     cfg.drive[0][0] = (struct ide_drive_cfg){ .kind = IDE_DISK, .block = b };
 *     cfg.drive[1][0] = (struct ide_drive_cfg){ .kind = IDE_CDROM };     (present, no medium)
 *     ide_configure(dev, &cfg);        before the class's init
 *
 * The board owns the block devices; it keeps them open until the IDE device is gone, or for a
 * CD-ROM until another medium has been set.
 */
#ifndef DEVICES_IDE_H
#define DEVICES_IDE_H

#include "devices/block.h"
#include "devices/bus.h"

#define IDE_CHANNELS 2
#define IDE_UNITS    2

struct pci_bus;
struct ide;

enum ide_kind { IDE_NONE, IDE_DISK, IDE_CDROM };

struct ide_drive_cfg {
    enum ide_kind kind;
    struct block_dev *block; /* IDE_DISK: never NULL; IDE_CDROM: NULL is an empty tray */
    const char *serial;      /* up to 20 characters; NULL: made from channel and unit */
};

struct ide_cfg {
    struct pci_bus *bus;
    unsigned devfn;
    struct irq_line irq[IDE_CHANNELS]; /* ISA lines 14 and 15 */
    struct ide_drive_cfg drive[IDE_CHANNELS][IDE_UNITS];
};

extern const struct device_class ide_class;

/* Copies *cfg; called once, before init. dev is a struct ide in the memory of ide_class.size. */
void ide_configure(struct device *dev, const struct ide_cfg *cfg);

/* Changes the medium of a CD-ROM drive; NULL opens the tray and takes it out. The guest sees a unit
 * attention. The old block device may be closed afterwards. Does nothing to other drives. */
void ide_set_cdrom(struct ide *ide, unsigned channel, unsigned unit, struct block_dev *block);

/* Cylinders, heads and sectors per track that a disk of size bytes has by default: what the board
 * should tell the firmware. */
void ide_default_geometry(uint64_t size, uint16_t *cyls, uint8_t *heads, uint8_t *sectors);

#endif
