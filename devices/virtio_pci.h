/* The PCI transport of virtio devices, transitional (virtio 1.0, 4.1): the legacy registers of 0.9.5
 * in an I/O BAR and the capabilities and memory BAR of 1.0 show the same device.
 *
 *     BAR 0  I/O     legacy registers, then the device's configuration
 *     BAR 1  memory  MSI-X
 *     BAR 4  memory  0000h common, 1000h ISR, 2000h device configuration, 3000h notification
 *
 * A device embeds struct virtio_pci after its struct device, with VM_STRUCT(struct x, virtio,
 * &vm_virtio_pci), calls virtio_pci_init from its init with its ops, _reset from its reset and _fini
 * from its fini. A notification makes one event, some microseconds later, that calls ops->run for
 * every queue with work; run takes requests off the queue and calls virtio_pci_interrupt.
 *
 * Known inaccuracies: the bus master bit is not asked for (old legacy drivers never set it).
 */
#ifndef DEVICES_VIRTIO_PCI_H
#define DEVICES_VIRTIO_PCI_H

#include "devices/bus.h"
#include "devices/pci.h"
#include "devices/virtio_ring.h"

#define VIRTIO_QUEUES          4u
#define VIRTIO_CONFIG_MAX      256u

#define VIRTIO_F_ANY_LAYOUT    BIT64(27)
#define VIRTIO_F_INDIRECT_DESC BIT64(28)
#define VIRTIO_F_EVENT_IDX     BIT64(29)
#define VIRTIO_F_VERSION_1     BIT64(32)

/* Device status. */
enum {
    VIRTIO_S_FEATURES_OK = 0x08,
    VIRTIO_S_DRIVER_OK = 0x04,
    VIRTIO_S_NEEDS_RESET = 0x40,
    VIRTIO_S_FAILED = 0x80,
};

struct virtio_ops {
    uint16_t type;   /* virtio device number: 2 is a block device */
    uint16_t pci_id; /* transitional: 1000h and up */
    uint32_t class_code;
    unsigned queues;
    unsigned config_len;
    /* Handles what is in queue n, at most its size of requests. */
    void (*run)(struct device *dev, unsigned n);
    /* The driver wrote a byte of the configuration. May be NULL. */
    void (*config_written)(struct device *dev, unsigned offset);
};

struct virtio_pci {
    struct pci_device pci;
    struct pci_msix msix;
    uint64_t driver_features;
    uint32_t device_select, driver_select; /* which half of the features is seen */
    uint16_t queue_select, config_vector;
    uint8_t status, isr;
    uint8_t work; /* bit per queue that was notified */
    struct virtq queue[VIRTIO_QUEUES];
    struct event event;
    uint8_t config[VIRTIO_CONFIG_MAX];

    struct device *dev;
    const struct virtio_ops *ops;
    uint64_t features; /* all that are offered */
    uint8_t cfg_cap;   /* offset of the capability for access through configuration space */
};
extern const struct vmstate vm_virtio_pci;

/* config[] is the device's to fill in before or after, ops its constant; features are those of the
 * device, to which the transport adds its own. */
bool virtio_pci_init(struct virtio_pci *v, struct device *dev, struct pci_bus *bus, unsigned devfn,
                     const struct virtio_ops *ops, uint64_t features, struct error *err);
void virtio_pci_reset(struct virtio_pci *v);
void virtio_pci_fini(struct virtio_pci *v);

static inline bool virtio_has(const struct virtio_pci *v, uint64_t feature)
{
    return (v->driver_features & feature) == feature;
}

/* Requests of queue n have been answered: interrupts if the driver wants it. Also reports a queue
 * that was found broken. */
void virtio_pci_interrupt(struct virtio_pci *v, unsigned n);

#endif
