/* Ports that only have to be there: 80h (POST codes, and Linux's I/O delay), EDh (the other delay
 * port), and 22h/23h (IMCR and chipset index/data pairs, which here hold what is written). The game
 * port is absent: unclaimed ports read as all ones.
 */
#ifndef DEVICES_MISC_PORTS_H
#define DEVICES_MISC_PORTS_H

#include "devices/bus.h"

struct misc_ports {
    struct device dev;
    uint8_t post;  /* last POST code */
    uint8_t delay; /* EDh */
    uint8_t index22;
    uint8_t imcr; /* 23h with index 70h */
};

extern const struct device_class misc_ports_class;
extern const struct vmstate vm_misc_ports;

#endif
