/* Port 61h (speaker, gate of timer 2, refresh toggle, NMI status) and port 92h (fast A20, fast
 * reset).
 */
#ifndef DEVICES_SYSCTL_H
#define DEVICES_SYSCTL_H

#include "devices/bus.h"
#include "devices/pit.h"

struct sysctl_config {
    struct pit *pit;
    /* What bit 0 of port 92h asks for; see kbc.h. */
    bool reset_is_init;
    /* Told when the speaker's enable changes (bit 1 of 61h); may be NULL. */
    void (*speaker)(void *opaque, bool on);
    void *opaque;
};

struct sysctl {
    struct device dev;
    struct sysctl_config cfg;
    uint8_t port61; /* the writable bits 0 to 3 */
    uint8_t port92;
};

extern const struct device_class sysctl_class;
extern const struct vmstate vm_sysctl;

#endif
