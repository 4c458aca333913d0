/* Split virtqueues (virtio 1.0, 2.4), with indirect descriptors and event indexes.
 *
 *     struct virtio_elem e;
 *     while (virtq_pop(q, mem, &e)) {
 *         virtio_get(mem, &e, 0, header, 16);       what the driver sent
 *         virtio_put(mem, &e, 0, answer, n);        what it gets back
 *         virtq_push(q, mem, &e, n);
 *     }
 *     if (virtq_wants_interrupt(q, mem)) ...
 *
 * All that lies in guest memory is hostile: chains are followed for at most VIRTIO_SEGS descriptors,
 * indexes are checked, and a ring that makes no sense sets `broken`, after which the queue is dead
 * until it is reset.
 */
#ifndef DEVICES_VIRTIO_RING_H
#define DEVICES_VIRTIO_RING_H

#include "base/bits.h"
#include "mmu/physmap.h"
#include "snapshots/vmstate.h"

#define VIRTQ_MAX   128u /* entries; firmware refuses much larger queues */
#define VIRTIO_SEGS 256u

struct virtq {
    uint64_t desc, avail, used; /* guest physical */
    uint16_t size;              /* entries, a power of two */
    uint16_t last_avail;        /* next entry of the available ring */
    uint16_t used_idx;
    uint16_t signalled; /* used_idx at the last interrupt decision */
    uint16_t vector;    /* MSI-X, ffffh: none */
    bool enabled, broken;
    bool event_idx, indirect; /* negotiated */
};
extern const struct vmstate vm_virtq;

struct virtio_seg {
    uint64_t addr;
    uint32_t len;
};

/* One chain: first the driver's segments (out), then the device's (in). */
struct virtio_elem {
    uint16_t head;
    uint16_t nout, nin;
    uint64_t out_len, in_len;
    struct virtio_seg seg[VIRTIO_SEGS];
};

void virtq_reset(struct virtq *q);
/* False when the ring is empty, off or broken. */
bool virtq_pop(struct virtq *q, struct physmap *mem, struct virtio_elem *e);
bool virtq_more(struct virtq *q, struct physmap *mem);
/* written: bytes stored in the device's segments. */
void virtq_push(struct virtq *q, struct physmap *mem, const struct virtio_elem *e,
                uint32_t written);
/* After a run of pushes: whether the driver asked to hear of them. */
bool virtq_wants_interrupt(struct virtq *q, struct physmap *mem);

/* Copy from the driver's or to the device's segments; false if they do not reach that far. */
bool virtio_get(struct physmap *mem, const struct virtio_elem *e, uint64_t offset, void *buf,
                size_t len);
bool virtio_put(struct physmap *mem, const struct virtio_elem *e, uint64_t offset, const void *buf,
                size_t len);

#endif
