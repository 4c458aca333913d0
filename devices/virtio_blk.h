/* A virtio block device on PCI (virtio 1.0, 5.2; transitional, 1AF4:1001).
 *
 *     virtio_blk_configure(dev, &(struct virtio_blk_cfg){ .bus = pci, .devfn = 0x20, .block = b });
 *
 * before the class's init. The board owns the block device and keeps it open until this one is gone.
 */
#ifndef DEVICES_VIRTIO_BLK_H
#define DEVICES_VIRTIO_BLK_H

#include "devices/block.h"
#include "devices/bus.h"

struct pci_bus;

struct virtio_blk_cfg {
    struct pci_bus *bus;
    unsigned devfn;
    struct block_dev *block; /* never NULL */
    const char *serial;      /* up to 20 characters; NULL: none */
};

extern const struct device_class virtio_blk_class;

/* Copies *cfg; dev lies in the memory of virtio_blk_class.size. */
void virtio_blk_configure(struct device *dev, const struct virtio_blk_cfg *cfg);

#endif
