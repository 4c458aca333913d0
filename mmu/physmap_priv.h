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
    PN_TLB_OUT = 2, /* some TLB may hold a tag that lets writes through */
    PN_PENDING = 4, /* PF_TRACK was set again, and the TLBs have not been told yet */
};

struct physmap {
    struct flat_range *ranges;
    struct flat_range *spare; /* where the next view is built */
    unsigned nranges;
    unsigned hint; /* range of the last look-up */
    uint8_t *store;
    uint64_t store_size, store_used;
    uint8_t *flags;      /* PF_, by store page */
    uint8_t *notes;      /* PN_, by store page */
    uint32_t *code_mask; /* by store page: bit n is line n of 128 bytes */
    struct phys_region *regions;
    unsigned nregions, nesting;
    uint64_t pending_lo, pending_hi; /* store range with PN_PENDING pages */
    struct log *log;
    struct physmap_listener listener;
    struct physmap_keeper keeper;
    bool kept; /* there is a keeper: accesses must ask physmap_touch */
};

static inline const struct flat_range *physmap_find(struct physmap *m, uint64_t paddr)
{
    const struct flat_range *r = &m->ranges[m->hint];
    if (LIKELY(paddr >= r->start && paddr <= r->last))
        return r;
    unsigned lo = 0, hi = m->nranges - 1;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (m->ranges[mid].last < paddr)
            lo = mid + 1;
        else
            hi = mid;
    }
    m->hint = lo;
    return &m->ranges[lo];
}

/* Host address of an aligned paging-structure entry, NULL where it must be read the slow way. */
static inline uint8_t *physmap_entry_host(struct physmap *m, uint64_t paddr)
{
    const struct flat_range *r = physmap_find(m, paddr);
    if (UNLIKELY(m->kept))
        return NULL;
    return LIKELY(r->readable && paddr + 7 <= r->last) ? m->store + paddr + r->read_delta : NULL;
}

/* The TLB is about to hold a tag that lets writes to this page through. */
static inline void physmap_note_tlb(struct physmap *m, uint64_t ra)
{
    m->notes[ra >> PAGE_SHIFT] |= PN_TLB_OUT;
}

#endif
