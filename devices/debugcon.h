/* The Bochs debug console: what the firmware writes to port 402h becomes lines of the log's "bios"
 * subsystem. Reading it gives E9h, by which SeaBIOS knows that it is there.
 */
#ifndef DEVICES_DEBUGCON_H
#define DEVICES_DEBUGCON_H

#include "devices/bus.h"

struct debugcon_config {
    uint16_t port; /* 0: 402h */
};

struct debugcon {
    struct device dev;
    struct debugcon_config cfg;
    uint16_t len;
    char line[256];
};

extern const struct device_class debugcon_class;
extern const struct vmstate vm_debugcon;

#endif
