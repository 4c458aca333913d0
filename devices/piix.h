/* The PCI-to-ISA bridge of the 82371SB, PIIX3 (8086:7000): steers the bus's four interrupt lines to
 * ISA interrupts (registers 60h to 63h) and to I/O APIC pins 16 to 19, and resets the machine (port
 * CF9h). Device 1, function 0. ELCR (4D0h) belongs to the 8259 pair.
 *
 * Give piix3_set_pirq as set_pirq and piix3_map_pin as map_pin to the bus.
 */
#ifndef DEVICES_PIIX_H
#define DEVICES_PIIX_H

#include "devices/pci.h"

struct piix3_cfg {
    struct pci_bus *bus;
    unsigned devfn; /* PCI_DEVFN(1, 0) */
    struct irq_line isa[16];   /* to PIC and I/O APIC pins of the same number, shared with nobody */
    struct irq_line ioapic[4]; /* to I/O APIC pins 16 to 19 */
};

struct piix3 {
    struct device dev;
    struct pci_device pci;
    uint8_t pirq_level; /* bit per PIRQ */
    uint16_t isa_level; /* what was last driven on isa[] */
    uint8_t rcr;        /* CF9h */
    struct piix3_cfg cfg;
};
extern const struct device_class piix3_class;

unsigned piix3_map_pin(unsigned slot, unsigned pin);
void piix3_set_pirq(void *opaque, unsigned pirq, int level);

#endif
