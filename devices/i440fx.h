/* The 82441FX host bridge (8086:1237, "PMC"): the root of the PCI bus, and which of ROM, PCI and
 * RAM stands at A0000h to FFFFFh. Device 0, function 0.
 *
 * The board maps main RAM itself at priority 0; this device lays regions over it. Data sheet: Intel
 * 82441FX, order number 290549.
 */
#ifndef DEVICES_I440FX_H
#define DEVICES_I440FX_H

#include "devices/pci.h"

#define I440FX_PAM_SEGMENTS 13

struct i440fx_cfg {
    uint64_t ram_ra;   /* store address of guest physical 0 */
    uint64_t bios_ra;  /* store address of the system ROM */
    uint64_t bios_size; /* a multiple of 64 KiB; the last 128 KiB show at E0000h */
};

struct i440fx {
    struct device dev;
    struct pci_device pci;
    struct pci_bus bus; /* its pirq and msi callbacks are the board's to set */
    struct i440fx_cfg cfg;
    struct phys_region pam[I440FX_PAM_SEGMENTS];
    struct phys_region smram;
};
extern const struct device_class i440fx_class;

#endif
