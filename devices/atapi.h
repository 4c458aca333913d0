/* The CD-ROM half of the IDE drives: packet commands (SFF-8020i, MMC-3, SPC-2). See ide_int.h. */
#ifndef DEVICES_ATAPI_H
#define DEVICES_ATAPI_H

#include "base/bits.h"
#include "snapshots/vmstate.h"

struct ide_drive;
struct block_dev;

#define CD_FRAME 2048u
#define CD_RAW   2352u

struct atapi {
    uint8_t sense_key, asc, ascq; /* for REQUEST SENSE */
    bool attention;               /* a unit attention is due: attention_asc */
    uint8_t attention_asc;
    uint8_t media_event; /* for GET EVENT STATUS NOTIFICATION: 1 eject, 2 new, 3 removed */
    bool loaded;         /* a medium is in the closed tray */
    bool tray_open, locked;
    bool raw;       /* the running transfer is of 2352-byte frames */
    uint32_t limit; /* bytes a PIO block may have */
};
extern const struct vmstate vm_atapi;

void atapi_reset(struct ide_drive *d, bool power_on);
void atapi_set_medium(struct ide_drive *d, struct block_dev *block);
void atapi_exec(struct ide_drive *d);   /* PACKET, IDENTIFY PACKET DEVICE, DEVICE RESET, ... */
void atapi_packet(struct ide_drive *d); /* the twelve bytes have arrived */
void atapi_next(struct ide_drive *d);
bool atapi_refill(struct ide_drive *d, bool *ok);

#endif
