/* Builds the SMBIOS 2.8 tables (types 0, 1, 3, 4, 16, 17, 19, 32, 127) as fw_cfg files
 * etc/smbios/smbios-anchor and etc/smbios/smbios-tables; SeaBIOS puts them into memory.
 */
#ifndef DEVICES_SMBIOS_H
#define DEVICES_SMBIOS_H

#include "devices/fw_cfg.h"

struct smbios_cfg {
    unsigned cpus;
    uint64_t ram_below_4g, ram_above_4g;
    uint8_t uuid[16]; /* all zero: none */
    const char *version; /* of the emulator */
};
bool smbios_add(struct fw_cfg *fw, const struct smbios_cfg *cfg);

#endif
