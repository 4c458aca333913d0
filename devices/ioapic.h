/* The 82093AA I/O APIC at FEC00000h: 24 pins, each with a redirection entry. ISA interrupt 0 is
 * wired to pin 2 (the board does that), PCI's four lines to pins 16 to 19.
 */
#ifndef DEVICES_IOAPIC_H
#define DEVICES_IOAPIC_H

#include "devices/apic_bus.h"

#define IOAPIC_BASE 0xfec00000u
#define IOAPIC_PINS 24

struct ioapic_cfg {
    struct apic_bus *bus;
    uint8_t id;
};

struct ioapic {
    struct device dev;
    uint64_t redir[IOAPIC_PINS];
    uint32_t level; /* of each pin's wire */
    uint8_t id, select;
    struct ioapic_cfg cfg;
    struct phys_region region;
};
extern const struct device_class ioapic_class;

/* An irq_line function: n is the pin, opaque the ioapic. */
void ioapic_set_pin(void *ioapic, int n, int level);
void ioapic_eoi(struct ioapic *io, uint8_t vector); /* for apic_bus */

#endif
