/* MC146818 real-time clock with 128 bytes of CMOS memory, ports 70h/71h; bit 7 of port 70h masks
 * the NMI.
 *
 * The clock is virtual time added to the date the board gives at power-on. The time registers are
 * worked out when read; interrupts are events, scheduled only while they are enabled.
 */
#ifndef DEVICES_CMOS_H
#define DEVICES_CMOS_H

#include "devices/bus.h"

enum {
    CMOS_SHUTDOWN = 0x0f,
    CMOS_FLOPPY = 0x10,
    CMOS_DISKS = 0x12,
    CMOS_EQUIPMENT = 0x14,
    CMOS_CENTURY = 0x32,
    CMOS_BOOT_FLAG1 = 0x38, /* SeaBIOS: bit 0 no floppy signature check, bits 4-7 third device */
    CMOS_BOOT_FLAG2 = 0x3d, /* SeaBIOS: first and second device */
};

struct cmos_config {
    struct irq_line irq;        /* IRQ 8 */
    struct irq_line nmi_enable; /* 1: port 70h lets NMIs through; may be unconnected */
};

struct cmos {
    struct device dev;
    struct cmos_config cfg;
    uint8_t ram[128]; /* registers 0 to 9 are current only while the clock is stopped */
    uint8_t index;    /* port 70h, with bit 7 */
    /* While it runs, the clock shows base_sec + (now - base_ns) / 1 s. */
    int64_t base_sec;
    uint64_t base_ns;
    uint64_t flags_at; /* virtual time up to which register C's flags are worked out */
    struct event periodic, update;
    bool irq_level;
    bool has_time; /* base_sec was taken from the board */
};

extern const struct device_class cmos_class;
extern const struct vmstate vm_cmos;

/* For the board, after init and before the first reset; the checksum at 2Eh is kept right. */
void cmos_set(struct cmos *c, unsigned reg, uint8_t value);
uint8_t cmos_get(const struct cmos *c, unsigned reg);
/* Registers 15h-18h, 30h/31h, 34h/35h, 5Bh-5Dh. below_4g and above_4g in bytes. */
void cmos_set_memory(struct cmos *c, uint64_t below_4g, uint64_t above_4g);
/* Drive types as in register 10h: 0 none, 2 1.2M, 4 1.44M, 5 2.88M. Also the equipment byte. */
void cmos_set_floppies(struct cmos *c, uint8_t type_a, uint8_t type_b);
/* SeaBIOS's (and Bochs's) boot order: 0 none, 1 floppy, 2 disk, 3 CD, 4 network. */
void cmos_set_boot_order(struct cmos *c, uint8_t first, uint8_t second, uint8_t third);
/* Letters a, c, d, n as on the command line; at most three count, others are ignored. */
void cmos_set_boot_letters(struct cmos *c, const char *letters);
/* Number of CPUs less one at 5Fh, as SeaBIOS reads it where fw_cfg does not say. */
void cmos_set_cpus(struct cmos *c, unsigned cpus);
/* Seconds since 1970 that the clock shows. */
int64_t cmos_time(struct cmos *c);

#endif
