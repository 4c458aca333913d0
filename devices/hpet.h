/* The high precision event timer at FED00000h: three comparators on one 64-bit counter of 100 MHz.
 * IA-PC HPET Specification 1.0a.
 */
#ifndef DEVICES_HPET_H
#define DEVICES_HPET_H

#include "devices/bus.h"
#include "mmu/physmap.h"

#define HPET_BASE 0xfed00000u
#define HPET_TIMERS 3
#define HPET_HZ 100000000ull
#define HPET_PERIOD_FS 10000000ull

struct hpet_cfg {
    struct irq_line gsi[24];  /* I/O APIC pins; only those in HPET_ROUTES are driven */
    struct irq_line legacy0;  /* ISA interrupt 0 (I/O APIC pin 2), timer 0 with legacy routing */
    struct irq_line legacy8;  /* ISA interrupt 8, timer 1 */
    /* Legacy replacement went on or off: while on, the 8254 and the CMOS clock do not drive
     * interrupts 0 and 8. May be NULL. */
    void (*legacy_mode)(void *opaque, bool on);
    void *opaque;
};
#define HPET_ROUTES 0x00f00104u /* pins 2, 8, 20 to 23 */

struct hpet_timer {
    uint64_t config;     /* without the read-only bits */
    uint64_t comparator;
    uint64_t period;     /* periodic mode: what is added */
    uint8_t level;       /* what it drives */
    struct event event;
    struct hpet *hpet;
    uint8_t n;
};

struct hpet {
    struct device dev;
    uint64_t config, status;
    uint64_t counter;    /* at counter_at */
    uint64_t counter_at; /* ns */
    struct hpet_timer timer[HPET_TIMERS];
    struct hpet_cfg cfg;
    struct phys_region region;
};
extern const struct device_class hpet_class;

#endif
