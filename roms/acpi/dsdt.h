/* The DSDT compiled from dsdt.asl by the build (target tnm_roms). */
#ifndef ROMS_ACPI_DSDT_H
#define ROMS_ACPI_DSDT_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t acpi_dsdt[];
extern const size_t acpi_dsdt_size;

#endif
