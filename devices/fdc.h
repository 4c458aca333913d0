/* An 82077AA/82078 floppy disk controller with up to two drives, ports 3F0h-3F5h and 3F7h.
 *
 * Commands take about the time that they take on a drive (fdc.c has the numbers), by one event.
 * Media are block devices owned by the caller.
 */
#ifndef DEVICES_FDC_H
#define DEVICES_FDC_H

#include "devices/block.h"
#include "devices/bus.h"
#include "devices/dma.h"

#define FDC_DRIVES 2 /* that can be fitted */
#define FDC_UNITS  4 /* that a command can name */

struct fdc;
struct fdc_unit {
    uint8_t cyl; /* where the head stands, and the controller thinks it does */
    uint8_t seek_to;
    bool recalibrating;
    uint8_t head;   /* last one selected */
    uint8_t sector; /* last one that passed, for READ ID */
    bool changed;   /* the disk change line */
    bool readonly;
    /* The medium; heads 0: there is none. */
    uint8_t cyls, heads, sectors;
    uint8_t rate;      /* as in CCR: 0 500, 2 250 (or 300), 3 1000 kbit/s */
    uint8_t st0;       /* for SENSE INTERRUPT STATUS, if its bit in int_pending is set */
    struct event step; /* the end of a seek */
    struct fdc *fdc;
};

struct fdc_config {
    struct irq_line irq;                 /* IRQ 6 */
    struct dma *dma;                     /* channel 2; NULL: only the non-DMA mode works */
    unsigned drives;                     /* drives fitted, 0 to 2 */
    uint8_t drive_type[FDC_DRIVES];      /* as in CMOS register 10h; 0 means 1.44M (4) */
    struct block_dev *media[FDC_DRIVES]; /* at power-on; later fdc_set_media */
};

struct fdc {
    struct device dev;
    struct fdc_config cfg;
    struct fdc_unit unit[FDC_UNITS];
    uint8_t dor, dsr, ccr, tdr;
    uint8_t srt_hut, hlt_nd; /* SPECIFY */
    uint8_t config, pretrk;  /* CONFIGURE */
    uint8_t perp;            /* PERPENDICULAR MODE */
    bool locked;
    uint8_t phase; /* enum fdc_phase in fdc.c */
    uint8_t cmd[16], cmd_len, cmd_want;
    uint8_t result[16], result_pos, result_len;
    uint8_t int_pending; /* bit per unit: st0 waits for SENSE INTERRUPT STATUS */
    uint8_t seeking;     /* bit per unit, the low bits of MSR */
    bool irq_level;
    /* The transfer in progress: the ID of its sector, and how it stands. */
    uint8_t x_cyl, x_head, x_sector, x_size, x_eot;
    uint8_t x_left;        /* VERIFY with EC: sectors still to go; FORMAT: likewise */
    bool x_tc;             /* terminal count came */
    bool x_unequal;        /* SCAN: this sector failed the comparison */
    bool x_differs;        /* SCAN: some byte of this sector was not equal */
    uint16_t x_pos, x_len; /* in buf, while bytes move through port 3F5h */
    uint8_t buf[512];
    struct event work; /* the next part of the running command, or the end of a reset */
};

extern const struct device_class fdc_class;
extern const struct vmstate vm_fdc;

/* Inserts (or with NULL ejects) a disk; false, with nothing changed, when its size is that of no
 * floppy or the drive is not there. b stays the caller's and must live until it is replaced. */
bool fdc_set_media(struct fdc *f, unsigned drive, struct block_dev *b);
/* The drive type for CMOS register 10h: 0 if there is no such drive. */
uint8_t fdc_drive_type(const struct fdc *f, unsigned drive);
/* Whether an image of that many bytes is a floppy. */
bool fdc_size_ok(uint64_t bytes);

#endif
