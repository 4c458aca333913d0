/* Inside of the physical memory map, for mmu/ only: the page walker and the TLB fill look up pages
 * by the million, so the look-up is inline here. */
#ifndef MMU_PHYSMAP_PRIV_H
#define MMU_PHYSMAP_PRIV_H

#include "mmu/physmap.h"

#define PHYSMAP_MAX_RANGES 256

/* One run of the flat view: sorted, not overlapping, holes have region NULL (and are stored, so
 * that every address belongs to exactly one range). */
struct flat_range {
    uint64_t start, last; /* inclusive */
    uint64_t read_delta;  /* store offset of address a is a + delta; valid if readable */
    uint64_t write_delta;
    bool readable, writable;
    struct phys_region *region;
};

/* Notes about a store page that are not flags of PF_: they do not slow down accesses. */
enum {
    PN_DIRTY = 1,   /* written since physmap_dirty_take */
    PN_PENDING = 4, /* PF_TRACK was set again, and the TLBs have not been told yet */
};

struct flat_view {
    unsigned n;
    struct flat_range range[PHYSMAP_MAX_RANGES];
};

/* With CPUs on threads of their own (shared), all of it belongs to whoever holds the board's lock, and
 * everything else that runs at the same time reads `flags` and `view` as below, and writes only its own
 * bit of tlb_out.
 */
struct physmap {
    struct flat_view *view;
    struct flat_view *spare; /* where the next view is built */
    uint32_t view_count;     /* grows with each new one: who looked without the lock looks again */
    unsigned hint; /* range of the last look-up */
    uint8_t *store;
    uint64_t store_size, store_used;
    uint8_t *flags;      /* PF_, by store page */
    uint8_t *notes;      /* PN_, by store page */
    uint8_t *tlb_out;    /* by store page: bit n: CPU n's TLB may hold a tag that lets writes through */
    uint32_t *code_mask; /* by store page and CPU: bit n is line n of 128 bytes */
    unsigned cpus;
    bool shared;
    struct phys_region *regions;
    unsigned nregions, nesting;
    uint64_t pending_lo, pending_hi; /* store range with PN_PENDING pages */
    struct log *log;
    struct physmap_listener listener;
    struct physmap_keeper keeper;
    bool kept; /* there is a keeper: accesses must ask physmap_touch */
};

static inline const struct flat_range *flat_find(const struct flat_view *v, unsigned *hint,
                                                 uint64_t paddr)
{
    const struct flat_range *r = &v->range[*hint];
    if (LIKELY(paddr >= r->start && paddr <= r->last))
        return r;
    unsigned lo = 0, hi = v->n - 1;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (v->range[mid].last < paddr)
            lo = mid + 1;
        else
            hi = mid;
    }
    *hint = lo;
    return &v->range[lo];
}

/* With the lock, or as the only thread. */
static inline const struct flat_range *physmap_find(struct physmap *m, uint64_t paddr)
{
    return flat_find(m->view, &m->hint, paddr);
}

/* Without it: a copy of the range, which is whole although a device may be changing the map. hint is the
 * caller's, below PHYSMAP_MAX_RANGES; where it leads does not matter. A view lies still until the next
 * but one is built, so that an unchanged count says that nobody wrote to what was read. */
static inline struct flat_range physmap_look(const struct physmap *m, unsigned *hint, uint64_t paddr)
{
    for (;;) {
        uint32_t count = __atomic_load_n(&m->view_count, __ATOMIC_ACQUIRE);
        const struct flat_view *v = __atomic_load_n(&m->view, __ATOMIC_ACQUIRE);
        if (UNLIKELY(*hint >= v->n))
            *hint = 0;
        struct flat_range r = *flat_find(v, hint, paddr);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (LIKELY(count == __atomic_load_n(&m->view_count, __ATOMIC_RELAXED)))
            return r;
    }
}

/* Host address of an aligned paging-structure entry, NULL where it must be read the slow way. */
static inline uint8_t *physmap_entry_host(struct physmap *m, unsigned *hint, uint64_t paddr)
{
    if (UNLIKELY(m->kept))
        return NULL;
    const struct flat_range r = physmap_look(m, hint, paddr);
    return LIKELY(r.readable && paddr + 7 <= r.last) ? m->store + paddr + r.read_delta : NULL;
}

/* A TLB of CPU n is about to hold a tag that lets writes to this page through: the page's flags, which
 * must be 0. Whoever sets a flag does so before looking at tlb_out, so one of both sees the other. */
static inline uint8_t physmap_note_tlb(struct physmap *m, unsigned n, uint64_t ra)
{
    uint64_t p = ra >> PAGE_SHIFT;

    if (!m->shared) {
        m->tlb_out[p] |= (uint8_t)BIT(n);
        return m->flags[p];
    }
    __atomic_fetch_or(&m->tlb_out[p], (uint8_t)BIT(n), __ATOMIC_SEQ_CST);
    return __atomic_load_n(&m->flags[p], __ATOMIC_SEQ_CST);
}

/* What page paddr is in, for a CPU: see physmap_page. */
bool physmap_page_at(const struct physmap *m, unsigned *hint, uint64_t paddr, struct phys_page *out);

#endif
