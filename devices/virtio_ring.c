/* Split virtqueues: see virtio_ring.h. */
#include "devices/virtio_ring.h"

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
enum { AVAIL_NO_INTERRUPT = 1 };

static const struct vm_field virtq_fields[] = {
    VM_INT(struct virtq, desc),
    VM_INT(struct virtq, avail),
    VM_INT(struct virtq, used),
    VM_INT(struct virtq, size),
    VM_INT(struct virtq, last_avail),
    VM_INT(struct virtq, used_idx),
    VM_INT(struct virtq, signalled),
    VM_INT(struct virtq, vector),
    VM_INT(struct virtq, enabled),
    VM_INT(struct virtq, broken),
    VM_INT(struct virtq, event_idx),
    VM_INT(struct virtq, indirect),
    VM_END,
};

static bool virtq_loaded(void *obj)
{
    struct virtq *q = obj;
    return q->size && q->size <= VIRTQ_MAX && !(q->size & (q->size - 1));
}
const struct vmstate vm_virtq =
    VMSTATE_HOOKS("virtq", struct virtq, virtq_fields, NULL, virtq_loaded);

void virtq_reset(struct virtq *q)
{
    *q = (struct virtq){.size = VIRTQ_MAX, .vector = 0xffff};
}

static uint16_t read16(struct physmap *mem, uint64_t addr)
{
    return (uint16_t)physmap_read(mem, addr, 2);
}

/* Adds the descriptors of one table, from index i, to the chain. */
static bool follow(struct virtq *q, struct physmap *mem, struct virtio_elem *e, uint64_t table,
                   uint32_t entries, uint32_t i, bool inside)
{
    /* A chain that is longer than its table has a loop. */
    for (uint32_t steps = 0; steps < entries; steps++) {
        uint8_t d[16];
        physmap_read_buf(mem, table + (uint64_t)i * 16, d, sizeof(d));
        uint64_t addr = ld64(d);
        uint32_t len = ld32(d + 8);
        uint16_t flags = ld16(d + 12);
        if (flags & DESC_INDIRECT) {
            /* One level, alone or as the last of a chain (2.4.5.3). */
            if (inside || !q->indirect || flags & DESC_NEXT || !len || len % 16)
                return false;
            return follow(q, mem, e, addr, MIN(len / 16, VIRTIO_SEGS), 0, true);
        }
        unsigned n = e->nout + e->nin;
        if (n == VIRTIO_SEGS || (!(flags & DESC_WRITE) && e->nin))
            return false;
        e->seg[n] = (struct virtio_seg){addr, len};
        if (flags & DESC_WRITE) {
            e->nin++;
            e->in_len += len;
        } else {
            e->nout++;
            e->out_len += len;
        }
        if (!(flags & DESC_NEXT))
            return true;
        i = ld16(d + 14);
        if (i >= entries)
            return false;
    }
    return false;
}

bool virtq_more(struct virtq *q, struct physmap *mem)
{
    return q->enabled && !q->broken && read16(mem, q->avail + 2) != q->last_avail;
}

bool virtq_pop(struct virtq *q, struct physmap *mem, struct virtio_elem *e)
{
    if (!q->enabled || q->broken)
        return false;
    uint16_t idx = read16(mem, q->avail + 2);
    if (q->event_idx) /* tell us of the next one */
        physmap_write(mem, q->used + 4 + 8ull * q->size, idx, 2);
    if (idx == q->last_avail)
        return false;
    e->head = read16(mem, q->avail + 4 + 2ull * (q->last_avail & (q->size - 1)));
    e->nout = e->nin = 0;
    e->out_len = e->in_len = 0;
    if ((uint16_t)(idx - q->last_avail) > q->size || e->head >= q->size ||
        !follow(q, mem, e, q->desc, q->size, e->head, false)) {
        q->broken = true;
        return false;
    }
    q->last_avail++;
    return true;
}

void virtq_push(struct virtq *q, struct physmap *mem, const struct virtio_elem *e, uint32_t written)
{
    uint64_t entry = q->used + 4 + 8ull * (q->used_idx & (q->size - 1));
    physmap_write(mem, entry, e->head, 4);
    physmap_write(mem, entry + 4, written, 4);
    q->used_idx++;
    physmap_write(mem, q->used + 2, q->used_idx, 2);
}

bool virtq_wants_interrupt(struct virtq *q, struct physmap *mem)
{
    uint16_t old = q->signalled;
    q->signalled = q->used_idx;
    if (old == q->used_idx)
        return false;
    if (!q->event_idx)
        return !(read16(mem, q->avail) & AVAIL_NO_INTERRUPT);
    /* 2.4.7.1: the driver's index lies among those just used. */
    uint16_t event = read16(mem, q->avail + 4 + 2ull * q->size);
    return (uint16_t)(q->used_idx - event - 1) < (uint16_t)(q->used_idx - old);
}

static bool copy(struct physmap *mem, const struct virtio_seg *seg, unsigned n, uint64_t offset,
                 uint8_t *get, const uint8_t *put, size_t len)
{
    for (unsigned i = 0; i < n && len; i++) {
        if (offset >= seg[i].len) {
            offset -= seg[i].len;
            continue;
        }
        size_t part = (size_t)MIN((uint64_t)len, seg[i].len - offset);
        if (get) {
            physmap_read_buf(mem, seg[i].addr + offset, get, part);
            get += part;
        } else {
            physmap_write_buf(mem, seg[i].addr + offset, put, part);
            put += part;
        }
        len -= part;
        offset = 0;
    }
    return len == 0;
}

bool virtio_get(struct physmap *mem, const struct virtio_elem *e, uint64_t offset, void *buf,
                size_t len)
{
    return offset <= e->out_len && len <= e->out_len - offset &&
           copy(mem, e->seg, e->nout, offset, buf, NULL, len);
}

bool virtio_put(struct physmap *mem, const struct virtio_elem *e, uint64_t offset, const void *buf,
                size_t len)
{
    return offset <= e->in_len && len <= e->in_len - offset &&
           copy(mem, e->seg + e->nout, e->nin, offset, NULL, buf, len);
}
