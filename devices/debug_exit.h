/* A port that ends the run: a write of v asks the board to exit with status (v << 1) | 1, as QEMU's
 * isa-debug-exit does.
 */
#ifndef DEVICES_DEBUG_EXIT_H
#define DEVICES_DEBUG_EXIT_H

#include "devices/bus.h"

struct debug_exit_config {
    uint16_t port; /* 4 ports from here; 0: 501h */
};

struct debug_exit {
    struct device dev;
    struct debug_exit_config cfg;
};

extern const struct device_class debug_exit_class;

#endif
