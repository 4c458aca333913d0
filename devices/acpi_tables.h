/* Builds the ACPI tables and the linker script with which SeaBIOS puts them into memory: fw_cfg
 * files etc/acpi/rsdp, etc/acpi/tables and etc/table-loader. The DSDT comes compiled from
 * roms/acpi/dsdt.asl; what depends on the machine (CPU count, PCI windows) is patched into it.
 */
#ifndef DEVICES_ACPI_TABLES_H
#define DEVICES_ACPI_TABLES_H

#include "devices/fw_cfg.h"

struct acpi_tables_cfg {
    unsigned cpus;
    uint64_t ram_below_4g, ram_above_4g;
    const uint8_t *dsdt; /* acpi_dsdt of roms/acpi/dsdt.h */
    size_t dsdt_len;
    unsigned phys_bits; /* over 36: a window for PCI above RAM is announced */
    bool hpet;
};
bool acpi_tables_add(struct fw_cfg *fw, const struct acpi_tables_cfg *cfg);

#endif
