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

#define FDC_DRIVES 2
#define FDC_FIFO   16
#define FDC_SECTOR_MAX 16384

struct fdc_drive {
    uint8_t cyl;     /* where the head stands */
    uint8_t head;
    uint8_t sector;  /* last one that passed, for READ ID */
    bool changed;    /* the disk change line */
    uint8_t cyls, heads, sectors; /* geometry of the medium; 0: no medium */
    uint8_t rate;    /* data rate of the medium, as in CCR */
    bool readonly;
};

struct fdc_config {
    struct irq_line irq;   /* IRQ 6 */
    struct dma *dma;       /* channel 2; NULL: only the non-DMA mode works */
    unsigned drives;       /* drives fitted, 0 to 2 */
    uint8_t drive_type[FDC_DRIVES]; /* as in CMOS register 10h; 0 means 1.44M (4) */
    struct block_dev *media[FDC_DRIVES]; /* at power-on; later fdc_set_media */
};

struct fdc {
    struct device dev;
    struct fdc_config cfg;
    struct fdc_drive drive[FDC_DRIVES];
    uint8_t dor, dsr, ccr, tdr;
    uint8_t srt_hut, hlt_nd;             /* SPECIFY */
    uint8_t config, pretrk;              /* CONFIGURE */
    uint8_t perp;                        /* PERPENDICULAR MODE */
    bool locked;
    uint8_t phase;                       /* enum fdc_phase in fdc.c */
    uint8_t cmd[16], cmd_len, cmd_want;  /* command phase */
    uint8_t result[16], result_pos, result_len;
    uint8_t st0_pending[4];              /* for SENSE INTERRUPT STATUS */
    uint8_t int_pending;                 /* bit per drive; bits 4-7 after a reset */
    uint8_t seeking;                     /* bit per drive, also MSR's low bits */
    uint8_t seek_to[4];
    bool recalibrating[4];
    bool irq_level;
    /* A transfer in progress. */
    uint8_t x_drive, x_cyl, x_head, x_sector, x_size, x_eot;
    bool x_tc;                           /* terminal count seen, or end of track */
    uint8_t x_scan;                      /* SCAN: 0 equal so far, 1 low, 2 high */
    uint32_t x_pos, x_len;               /* in buf */
    uint8_t buf[FDC_SECTOR_MAX];
    struct event step;                   /* head movement */
    struct event work;                   /* the next part of the running command */
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
