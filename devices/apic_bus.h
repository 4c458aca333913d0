/* What connects local APICs, the I/O APIC and message-signalled interrupts: one message form, and
 * who it is for. Intel SDM vol. 3, 11.6 and 11.11. Also the memory page FEE00000h, where each CPU
 * sees its own local APIC.
 */
#ifndef DEVICES_APIC_BUS_H
#define DEVICES_APIC_BUS_H

#include "devices/bus.h"
#include "mmu/physmap.h"

#define APIC_MAX_CPUS 8
#define LAPIC_BASE 0xfee00000u

enum apic_delivery {
    APIC_FIXED = 0,
    APIC_LOWEST = 1,
    APIC_SMI = 2,
    APIC_NMI = 4,
    APIC_INIT = 5,
    APIC_SIPI = 6,
    APIC_EXTINT = 7,
};

struct apic_msg {
    uint32_t dest; /* 8 bits, or 32 with x2apic */
    bool logical;
    bool x2apic; /* dest has the 32-bit form */
    uint8_t delivery;
    uint8_t vector;
    bool level;    /* trigger mode */
    bool deassert; /* INIT level de-assert */
};

struct lapic;
struct ioapic;

struct apic_bus_cfg {
    /* Index of the CPU whose instruction is being executed: whose APIC stands at FEE00000h. */
    unsigned (*current_cpu)(void *opaque);
    void *opaque;
    struct lapic *lapic[APIC_MAX_CPUS];
    unsigned cpus;
    struct ioapic *ioapic; /* may be NULL */
};

struct apic_bus {
    struct device dev;
    uint8_t next_lowest; /* where the search for a lowest-priority target starts */
    struct apic_bus_cfg cfg;
    struct phys_region region;
};
extern const struct device_class apic_bus_class;

void apic_bus_deliver(struct apic_bus *bus, const struct apic_msg *msg);
/* A write to the MSI window, SDM vol. 3, 11.11; fits pci_bus.msi_write with the bus as opaque. */
void apic_bus_msi(void *bus, uint64_t addr, uint32_t data);
/* A level-triggered vector was completed on some CPU. */
void apic_bus_eoi(struct apic_bus *bus, uint8_t vector);

#endif
