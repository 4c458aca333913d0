/* The virtual machine generation ID: sixteen bytes that change when a machine becomes another one,
 * as when a snapshot is restored a second time. Guests that read them (Linux, Windows) mix them into
 * their random numbers, so that copies do not share keys. Interface: Microsoft, "Virtual Machine
 * Generation ID"; the ACPI device is in roms/acpi/dsdt.asl.
 */
#ifndef DEVICES_VMGENID_H
#define DEVICES_VMGENID_H

#include "devices/bus.h"
#include "mmu/physmap.h"

#define VMGENID_BASE 0xfedc0000u /* a page; roms/acpi/dsdt.asl says so too */
#define VMGENID_SIZE 16
#define VMGENID_GPE  5 /* likewise */

struct acpi_pm;

struct vmgenid_config {
    uint8_t id[VMGENID_SIZE]; /* at power-on */
    struct acpi_pm *pm;       /* raises the event */
};

struct vmgenid {
    struct device dev;
    uint8_t id[VMGENID_SIZE];
    struct phys_region region;
    struct vmgenid_config cfg;
};
extern const struct device_class vmgenid_class;

/* The machine is another one from here on; the guest gets the event. */
void vmgenid_change(struct vmgenid *v, const uint8_t id[VMGENID_SIZE]);

#endif
