/* The port map: 64 Ki ports, each with the number of the registration that is on top of it.
 *
 * Registrations are few and change rarely (PCI BARs), accesses are many: a change recomputes the
 * table for the ports it covers, an access is one look-up.
 */
#include "devices/bus.h"

#include <stdlib.h>

#define PORTS 65536u

struct port_range {
    uint32_t base, count; /* count 0: free slot */
    uint64_t order;       /* later registrations are on top */
    const struct io_ops *ops;
    void *opaque;
};

struct portmap {
    struct log *log;
    struct port_range *ranges; /* [0] stays free: no device */
    uint16_t nranges, capacity;
    uint64_t next_order;
    uint16_t top[PORTS];
};

struct portmap *portmap_new(struct log *log)
{
    struct portmap *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->log = log;
    p->capacity = 512;
    p->nranges = 1;
    p->ranges = calloc(p->capacity, sizeof(*p->ranges));
    if (!p->ranges) {
        free(p);
        return NULL;
    }
    return p;
}

void portmap_free(struct portmap *p)
{
    if (!p)
        return;
    free(p->ranges);
    free(p);
}

static void rebuild(struct portmap *p, uint32_t base, uint32_t count)
{
    for (uint32_t port = base; port < base + count; port++) {
        uint16_t best = 0;
        for (uint16_t i = 1; i < p->nranges; i++) {
            const struct port_range *r = &p->ranges[i];
            if (port - r->base < r->count && (!best || r->order > p->ranges[best].order))
                best = i;
        }
        p->top[port] = best;
    }
}

void portmap_add(struct portmap *p, uint16_t base, uint32_t count, const struct io_ops *ops,
                 void *opaque)
{
    uint16_t slot = 1;

    count = MIN(count, PORTS - base); /* a BAR at the top of the space wraps nowhere */
    if (!count)
        return;
    while (slot < p->nranges && p->ranges[slot].count)
        slot++;
    CHECK(slot < p->capacity); /* the board has far fewer blocks of registers */
    if (slot == p->nranges)
        p->nranges++;
    p->ranges[slot] = (struct port_range){base, count, ++p->next_order, ops, opaque};
    for (uint32_t i = 0; i < count; i++)
        p->top[base + i] = slot;
}

void portmap_remove(struct portmap *p, uint16_t base, uint32_t count, void *opaque)
{
    count = MIN(count, PORTS - base);
    for (uint16_t i = 1; count && i < p->nranges; i++) {
        struct port_range *r = &p->ranges[i];
        if (r->base == base && r->count == count && r->opaque == opaque) {
            r->count = 0;
            rebuild(p, base, count);
            return;
        }
    }
}

/* The registration that has all of [port, port+size); NULL if there is none or several. */
static const struct port_range *whole(const struct portmap *p, uint16_t port, unsigned size)
{
    uint16_t first = p->top[port];
    for (unsigned i = 1; i < size; i++) {
        if (port + i >= PORTS || p->top[port + i] != first)
            return NULL;
    }
    return &p->ranges[first];
}

uint32_t portmap_read(struct portmap *p, uint16_t port, unsigned size)
{
    const struct port_range *r = whole(p, port, size);
    uint32_t value = 0;

    if (!r) { /* across devices: as the bus would, in smaller cycles; past FFFFh wraps */
        for (unsigned i = 0; i < size; i++)
            value |= portmap_read(p, (uint16_t)(port + i), 1) << i * 8;
        return value;
    }
    const char *name = r->ops ? r->ops->name : "unclaimed";
    value = (uint32_t)(io_ops_read(r->ops, r->opaque, port - r->base, size) & io_size_mask(size));
    LOG(p->log, LOG_IO, "%s: in %04x -> %0*x", name, port, (int)size * 2, value);
    return value;
}

void portmap_write(struct portmap *p, uint16_t port, uint32_t value, unsigned size)
{
    const struct port_range *r = whole(p, port, size);

    if (!r) {
        for (unsigned i = 0; i < size; i++)
            portmap_write(p, (uint16_t)(port + i), value >> i * 8 & 0xff, 1);
        return;
    }
    value &= (uint32_t)io_size_mask(size);
    LOG(p->log, LOG_IO, "%s: out %04x <- %0*x", r->ops ? r->ops->name : "unclaimed", port,
        (int)size * 2, value);
    io_ops_write(r->ops, r->opaque, port - r->base, value, size);
}
