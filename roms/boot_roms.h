/* The option ROMs of direct boot, assembled by the build (target tnm_bootroms). */
#ifndef ROMS_BOOT_ROMS_H
#define ROMS_BOOT_ROMS_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t rom_linuxboot[];
extern const size_t rom_linuxboot_size;
extern const uint8_t rom_multiboot[];
extern const size_t rom_multiboot_size;

#endif
