/* The physical address space: see mmu/physmap.h.
 *
 * Regions are kept in a list in the order they were added. Every change rebuilds the flat view: the
 * boundaries of all enabled regions cut the 64-bit space into intervals, and the region on top of
 * each is looked up. With the few dozen regions of a PC that takes microseconds, and look-ups are
 * then a compare with the last answer or a binary search.
 *
 * The listener is told of a change of view only if the view really changed: firmware writes the
 * same PAM and BAR values again and again, and a TLB flush is not free.
 */
#include "mmu/physmap_priv.h"

#include "base/check.h"
#include "base/hostmem.h"
#include "base/io.h"

#include <stdlib.h>

#define CODE_LINE_SHIFT 7

/* ---- store ---------------------------------------------------------------------------------- */

struct physmap *physmap_new(uint64_t store_size, struct log *log, struct error *err)
{
    struct physmap *m = calloc(1, sizeof(*m));
    uint64_t pages;

    store_size = align_up(store_size, PAGE_SIZE);
    pages = store_size >> PAGE_SHIFT;
    if (!m)
        goto nomem;
    m->log = log;
    m->store_size = store_size;
    m->pending_lo = UINT64_MAX;
    m->view = calloc(1, sizeof(*m->view));
    m->spare = calloc(1, sizeof(*m->spare));
    if (store_size > SIZE_MAX / 2)
        goto nomem;
    m->store = hostmem_alloc((size_t)store_size);
    m->flags = hostmem_alloc((size_t)pages);
    m->notes = hostmem_alloc((size_t)pages);
    m->tlb_out = hostmem_alloc((size_t)pages);
    if (!m->view || !m->spare || !m->store || !m->flags || !m->notes || !m->tlb_out ||
        !physmap_set_cpus(m, 1, false))
        goto nomem;
    m->view->range[0] = (struct flat_range){.last = UINT64_MAX};
    m->view->n = 1;
    return m;
nomem:
    physmap_free(m);
    error_set(err, ERR_NOMEM, "the host cannot give %llu MiB of memory: choose a smaller --memory",
              (unsigned long long)(store_size / MIB));
    return NULL;
}

void physmap_free(struct physmap *m)
{
    if (!m)
        return;
    uint64_t pages = m->store_size >> PAGE_SHIFT;
    hostmem_free(m->store, (size_t)m->store_size);
    hostmem_free(m->flags, (size_t)pages);
    hostmem_free(m->notes, (size_t)pages);
    hostmem_free(m->tlb_out, (size_t)pages);
    hostmem_free(m->code_mask, (size_t)pages * m->cpus * sizeof(*m->code_mask));
    free(m->view);
    free(m->spare);
    free(m);
}

void physmap_set_listener(struct physmap *m, const struct physmap_listener *l)
{
    m->listener = *l;
}

bool physmap_set_cpus(struct physmap *m, unsigned cpus, bool shared)
{
    size_t pages = (size_t)(m->store_size >> PAGE_SHIFT);
    uint32_t *mask = hostmem_alloc(pages * cpus * sizeof(*mask));

    CHECK(cpus >= 1 && cpus <= PHYSMAP_MAX_CPUS);
    if (!mask)
        return false;
    hostmem_free(m->code_mask, pages * m->cpus * sizeof(*mask));
    m->code_mask = mask;
    m->cpus = cpus;
    m->shared = shared;
    return true;
}

uint64_t physmap_store_alloc(struct physmap *m, uint64_t size)
{
    uint64_t ra = m->store_used;

    size = align_up(size, PAGE_SIZE);
    if (size > m->store_size - ra)
        return RA_NONE;
    m->store_used += size;
    return ra;
}

uint8_t *physmap_host(const struct physmap *m, uint64_t ra)
{
    CHECK(ra < m->store_size);
    return m->store + ra;
}

/* ---- regions and the flat view --------------------------------------------------------------- */

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static struct phys_region *top_at(const struct physmap *m, uint64_t addr)
{
    struct phys_region *best = NULL;
    for (struct phys_region *r = m->regions; r; r = r->next) {
        if (r->enabled && addr - r->base < r->size && (!best || r->priority >= best->priority))
            best = r;
    }
    return best;
}

static void make_range(struct flat_range *f, uint64_t start, struct phys_region *r)
{
    *f = (struct flat_range){.start = start, .region = r};
    if (!r)
        return;
    f->readable = r->read_ra != RA_NONE;
    f->writable = r->write_ra != RA_NONE;
    f->read_delta = f->readable ? r->read_ra - r->base : 0;
    f->write_delta = f->writable ? r->write_ra - r->base : 0;
}

static bool same_view(const struct flat_range *a, const struct flat_range *b)
{
    return a->start == b->start && a->last == b->last && a->region == b->region &&
           a->readable == b->readable && a->writable == b->writable &&
           a->read_delta == b->read_delta && a->write_delta == b->write_delta;
}

static void rebuild(struct physmap *m)
{
    uint64_t cuts[PHYSMAP_MAX_RANGES];
    struct flat_view *old = m->view;
    struct flat_range *view = m->spare->range;
    unsigned ncuts = 1, n = 0;
    bool changed;

    cuts[0] = 0;
    for (struct phys_region *r = m->regions; r; r = r->next) {
        if (!r->enabled || !r->size)
            continue;
        CHECK(ncuts + 2 <= PHYSMAP_MAX_RANGES);
        cuts[ncuts++] = r->base;
        if (r->base + r->size > r->base) /* a region at the very top has no end to cut at */
            cuts[ncuts++] = r->base + r->size;
    }
    qsort(cuts, ncuts, sizeof(cuts[0]), compare_u64);
    for (unsigned i = 0; i < ncuts; i++) {
        struct phys_region *top;
        if (i && cuts[i] == cuts[i - 1])
            continue;
        top = top_at(m, cuts[i]);
        if (n && view[n - 1].region == top)
            continue;
        if (n)
            view[n - 1].last = cuts[i] - 1;
        make_range(&view[n++], cuts[i], top);
    }
    view[n - 1].last = UINT64_MAX;

    changed = n != old->n;
    for (unsigned i = 0; !changed && i < n; i++)
        changed = !same_view(&view[i], &old->range[i]);
    if (!changed)
        return; /* nor need readers on other threads look again */
    m->spare->n = n;
    __atomic_store_n(&m->view, m->spare, __ATOMIC_RELEASE);
    __atomic_add_fetch(&m->view_count, 1, __ATOMIC_SEQ_CST); /* before the old one is built anew */
    m->spare = old;
    m->hint = 0;
    if (m->listener.view_changed)
        m->listener.view_changed(m->listener.opaque);
}

void physmap_begin(struct physmap *m)
{
    m->nesting++;
}

void physmap_commit(struct physmap *m)
{
    CHECK(m->nesting > 0);
    if (--m->nesting == 0)
        rebuild(m);
}

void physmap_add(struct physmap *m, struct phys_region *r)
{
    struct phys_region **p = &m->regions;

    physmap_begin(m);
    while (*p)
        p = &(*p)->next;
    r->next = NULL;
    *p = r;
    m->nregions++;
    physmap_commit(m);
}

void physmap_remove(struct physmap *m, struct phys_region *r)
{
    physmap_begin(m);
    for (struct phys_region **p = &m->regions; *p; p = &(*p)->next) {
        if (*p == r) {
            *p = r->next;
            r->next = NULL;
            m->nregions--;
            break;
        }
    }
    physmap_commit(m);
}

void physmap_add_ram(struct physmap *m, struct phys_region *r, const char *name, uint64_t base,
                     uint64_t size, uint64_t ra, int priority)
{
    *r = (struct phys_region){.name = name,
                              .base = base,
                              .size = size,
                              .priority = priority,
                              .enabled = true,
                              .read_ra = ra,
                              .write_ra = ra};
    physmap_add(m, r);
}

void physmap_add_rom(struct physmap *m, struct phys_region *r, const char *name, uint64_t base,
                     uint64_t size, uint64_t ra, int priority)
{
    *r = (struct phys_region){.name = name,
                              .base = base,
                              .size = size,
                              .priority = priority,
                              .enabled = true,
                              .read_ra = ra,
                              .write_ra = RA_NONE};
    physmap_add(m, r);
}

void physmap_add_io(struct physmap *m, struct phys_region *r, const char *name, uint64_t base,
                    uint64_t size, const struct io_ops *ops, void *opaque, int priority)
{
    *r = (struct phys_region){.name = name,
                              .base = base,
                              .size = size,
                              .priority = priority,
                              .enabled = true,
                              .read_ra = RA_NONE,
                              .write_ra = RA_NONE,
                              .ops = ops,
                              .opaque = opaque};
    physmap_add(m, r);
}

bool physmap_page_at(const struct physmap *m, unsigned *hint, uint64_t paddr, struct phys_page *out)
{
    uint64_t page = paddr & PAGE_MASK;
    const struct flat_range r = physmap_look(m, hint, page);

    *out = (struct phys_page){RA_NONE, RA_NONE, 0};
    if (page + (PAGE_SIZE - 1) > r.last)
        return false;
    if (r.readable)
        out->read_ra = page + r.read_delta;
    if (r.writable) {
        out->write_ra = page + r.write_delta;
        out->flags = __atomic_load_n(&m->flags[out->write_ra >> PAGE_SHIFT], __ATOMIC_RELAXED);
    }
    return r.readable || r.writable;
}

bool physmap_page(const struct physmap *m, uint64_t paddr, struct phys_page *out)
{
    unsigned hint = 0;
    return physmap_page_at(m, &hint, paddr, out);
}

/* ---- accesses -------------------------------------------------------------------------------- */

static const char *range_name(const struct flat_range *r)
{
    return r->region ? r->region->name : "unmapped";
}

/* Nothing answers there: DMA of gigabytes to such places, which guests get wrong, takes no time. */
static bool nobody(const struct flat_range *r)
{
    return !r->region || !r->region->ops;
}

/* What is left of the range from paddr on, at most len. */
static size_t span(const struct flat_range *r, uint64_t paddr, size_t len)
{
    uint64_t left = r->last - paddr;
    return left < len - 1 ? (size_t)left + 1 : len;
}

static uint64_t io_read(struct physmap *m, const struct flat_range *r, uint64_t paddr,
                        unsigned size)
{
    /* A device may change the map under us: take what is needed first. */
    struct phys_region *region = r->region;
    const char *name = range_name(r);
    uint64_t value = region && region->ops
                         ? io_ops_read(region->ops, region->opaque, paddr - region->base, size)
                         : io_size_mask(size);
    value &= io_size_mask(size);
    LOG(m->log, LOG_MMIO, "%s: read %llx -> %0*llx", name, (unsigned long long)paddr, (int)size * 2,
        (unsigned long long)value);
    return value;
}

static void io_write(struct physmap *m, const struct flat_range *r, uint64_t paddr, uint64_t value,
                     unsigned size)
{
    struct phys_region *region = r->region;
    value &= io_size_mask(size);
    LOG(m->log, LOG_MMIO, "%s: write %llx <- %0*llx", range_name(r), (unsigned long long)paddr,
        (int)size * 2, (unsigned long long)value);
    if (region && region->ops)
        io_ops_write(region->ops, region->opaque, paddr - region->base, value, size);
}

void physmap_set_keeper(struct physmap *m, const struct physmap_keeper *k)
{
    m->kept = k;
    if (k)
        m->keeper = *k;
}

void physmap_touch(struct physmap *m, uint64_t ra, uint64_t size, bool write)
{
    if (LIKELY(!m->kept) || !size)
        return;
    for (uint64_t p = ra >> PAGE_SHIFT; p <= (ra + size - 1) >> PAGE_SHIFT; p++) {
        if (m->flags[p] & PF_ABSENT)
            m->keeper.bring_in(m->keeper.opaque, p << PAGE_SHIFT);
        if (write && (m->flags[p] & PF_COPY))
            m->keeper.before_write(m->keeper.opaque, p << PAGE_SHIFT);
    }
}

static uint64_t load_bytes(const uint8_t *p, unsigned size)
{
    uint8_t b[8] = {0};
    memcpy(b, p, size);
    return ld64(b);
}

uint64_t physmap_read(struct physmap *m, uint64_t paddr, unsigned size)
{
    uint64_t value = 0;

    for (unsigned done = 0; done < size;) {
        const struct flat_range *r = physmap_find(m, paddr + done);
        unsigned n = (unsigned)span(r, paddr + done, size - done);
        if (r->readable && UNLIKELY(m->kept))
            physmap_touch(m, paddr + done + r->read_delta, n, false);
        uint64_t v = r->readable ? load_bytes(m->store + paddr + done + r->read_delta, n)
                                 : io_read(m, r, paddr + done, n);
        value |= v << done * 8;
        done += n;
    }
    return value;
}

void physmap_write(struct physmap *m, uint64_t paddr, uint64_t value, unsigned size)
{
    for (unsigned done = 0; done < size;) {
        const struct flat_range *r = physmap_find(m, paddr + done);
        unsigned n = (unsigned)span(r, paddr + done, size - done);
        if (r->writable) {
            uint64_t ra = paddr + done + r->write_delta;
            uint8_t b[8];
            st64(b, value >> done * 8);
            physmap_touch(m, ra, n, true);
            memcpy(m->store + ra, b, n);
            physmap_written(m, ra, n);
        } else {
            io_write(m, r, paddr + done, value >> done * 8, n);
        }
        done += n;
    }
}

void physmap_read_buf(struct physmap *m, uint64_t paddr, void *buf, size_t len)
{
    uint8_t *to = buf;

    while (len) {
        const struct flat_range *r = physmap_find(m, paddr);
        size_t n = span(r, paddr, len);
        if (r->readable) {
            physmap_touch(m, paddr + r->read_delta, n, false);
            memcpy(to, m->store + paddr + r->read_delta, n);
        } else if (nobody(r)) {
            memset(to, 0xff, n);
        } else {
            n = MIN(n, paddr & 3 ? 1u : 4u);
            uint8_t b[8];
            st64(b, io_read(m, r, paddr, (unsigned)n));
            memcpy(to, b, n);
        }
        to += n;
        paddr += n;
        len -= n;
    }
}

void physmap_write_buf(struct physmap *m, uint64_t paddr, const void *buf, size_t len)
{
    const uint8_t *from = buf;

    while (len) {
        const struct flat_range *r = physmap_find(m, paddr);
        size_t n = span(r, paddr, len);
        if (r->writable) {
            uint64_t ra = paddr + r->write_delta;
            n = MIN(n, (size_t)(PAGE_SIZE - (ra & ~PAGE_MASK)));
            physmap_touch(m, ra, n, true);
            memcpy(m->store + ra, from, n);
            physmap_written(m, ra, (unsigned)n);
        } else if (!nobody(r)) {
            n = MIN(n, paddr & 3 ? 1u : 4u);
            io_write(m, r, paddr, load_bytes(from, (unsigned)n), (unsigned)n);
        }
        from += n;
        paddr += n;
        len -= n;
    }
}

/* ---- page flags ------------------------------------------------------------------------------ */

uint8_t physmap_flags(const struct physmap *m, uint64_t ra)
{
    return m->flags[ra >> PAGE_SHIFT];
}

/* Each byte of p, n of them: sets bits, then clears bits; returns what was set in any of them. By
 * eight where it can be: a save sets a flag on all of memory while the guest waits. CPUs on other
 * threads may read single bytes meanwhile, but must not write any. */
static uint8_t change_bytes(uint8_t *p, uint64_t n, uint8_t set, uint8_t clear)
{
    const uint64_t ones = 0x0101010101010101ull;
    uint64_t set8 = set * ones, keep8 = ~(clear * ones), seen8 = 0;
    uint8_t seen = 0;

    for (; n && (uintptr_t)p & 7; n--, p++) {
        seen |= *p;
        __atomic_store_n(p, (uint8_t)((*p | set) & ~clear), __ATOMIC_RELAXED);
    }
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        seen8 |= v;
        __atomic_store_n((uint64_t *)(void *)p, (v | set8) & keep8, __ATOMIC_RELAXED);
    }
    for (; n; n--, p++) {
        seen |= *p;
        __atomic_store_n(p, (uint8_t)((*p | set) & ~clear), __ATOMIC_RELAXED);
    }
    for (; seen8; seen8 >>= 8)
        seen |= (uint8_t)seen8;
    return seen;
}

/* What is set in any of the bytes, which CPUs on other threads may be setting bits in. */
static uint8_t seen_in(const uint8_t *p, uint64_t n)
{
    uint8_t seen = 0;

    for (; n >= 8; n -= 8, p += 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        for (; UNLIKELY(v); v >>= 8)
            seen |= (uint8_t)v;
    }
    for (; n; n--, p++)
        seen |= __atomic_load_n(p, __ATOMIC_RELAXED);
    return seen;
}

static uint64_t pages_of(uint64_t ra, uint64_t size)
{
    return ((ra + size - 1) >> PAGE_SHIFT) - (ra >> PAGE_SHIFT) + 1;
}

void physmap_flag_set(struct physmap *m, uint64_t ra, uint64_t size, uint8_t flag)
{
    if (!size)
        return;
    uint64_t first = ra >> PAGE_SHIFT, n = pages_of(ra, size);
    change_bytes(m->flags + first, n, flag, 0);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* physmap_note_tlb */
    /* Pages that no TLB lets writes through to need no search through the TLBs. */
    bool tell =
        m->shared ? seen_in(m->tlb_out + first, n) : change_bytes(m->tlb_out + first, n, 0, 0xff);
    if (tell && m->listener.flags_set)
        m->listener.flags_set(m->listener.opaque, ra, size);
}

void physmap_tlb_forget(struct physmap *m, unsigned cpus, uint64_t ra, uint64_t size)
{
    uint8_t *p = m->tlb_out + (ra >> PAGE_SHIFT), clear = (uint8_t)cpus;

    for (uint64_t n = pages_of(ra, size); n; n--, p++) {
        if (__atomic_load_n(p, __ATOMIC_RELAXED) & clear)
            __atomic_fetch_and(p, (uint8_t)~clear, __ATOMIC_SEQ_CST);
    }
}

void physmap_flag_clear(struct physmap *m, uint64_t ra, uint64_t size, uint8_t flag)
{
    if (size)
        change_bytes(m->flags + (ra >> PAGE_SHIFT), pages_of(ra, size), 0, flag);
}

static uint32_t line_mask(uint64_t ra, unsigned size)
{
    unsigned first = (unsigned)(ra & ~PAGE_MASK) >> CODE_LINE_SHIFT;
    unsigned last = (unsigned)((ra & ~PAGE_MASK) + size - 1) >> CODE_LINE_SHIFT;
    uint32_t upto = last >= 31 ? UINT32_MAX : BIT(last + 1) - 1;
    return upto & ~(BIT(first) - 1);
}

void physmap_written(struct physmap *m, uint64_t ra, unsigned size)
{
    while (size) {
        unsigned n = (unsigned)MIN((uint64_t)size, PAGE_SIZE - (ra & ~PAGE_MASK));
        uint64_t p = ra >> PAGE_SHIFT;
        if (UNLIKELY(m->flags[p])) {
            if (m->flags[p] & PF_TRACK) {
                change_bytes(m->flags + p, 1, 0, PF_TRACK);
                m->notes[p] |= PN_DIRTY;
            }
            if ((m->flags[p] & PF_CODE) && m->listener.code_written && physmap_code_cpus(m, ra, n))
                m->listener.code_written(m->listener.opaque, ra, n);
        }
        ra += n;
        size -= n;
    }
}

unsigned physmap_code_cpus(const struct physmap *m, uint64_t ra, unsigned size)
{
    const uint32_t *mask = m->code_mask + (ra >> PAGE_SHIFT) * m->cpus;
    uint32_t lines = line_mask(ra, size);
    unsigned cpus = 0;

    for (unsigned k = 0; k < m->cpus; k++)
        cpus |= mask[k] & lines ? BIT(k) : 0;
    return cpus;
}

/* Sets PF_CODE. Where CPUs run at the same time it may have been set by another, whose search through
 * the TLBs has not come to its end: what counts is who may have a tag. */
static unsigned code_arm(struct physmap *m, uint64_t ra)
{
    uint64_t p = ra >> PAGE_SHIFT;

    if (m->shared) {
        __atomic_fetch_or(&m->flags[p], PF_CODE, __ATOMIC_SEQ_CST);
        return __atomic_load_n(&m->tlb_out[p], __ATOMIC_SEQ_CST);
    }
    if (!(m->flags[p] & PF_CODE))
        physmap_flag_set(m, ra, 1, PF_CODE);
    return 0;
}

unsigned physmap_code_add(struct physmap *m, unsigned cpu, uint64_t ra, unsigned size)
{
    unsigned out = 0;

    while (size) {
        unsigned n = (unsigned)MIN((uint64_t)size, PAGE_SIZE - (ra & ~PAGE_MASK));
        m->code_mask[(ra >> PAGE_SHIFT) * m->cpus + cpu] |= line_mask(ra, n);
        out |= code_arm(m, ra);
        ra += n;
        size -= n;
    }
    return out;
}

void physmap_code_set_lines(struct physmap *m, unsigned cpu, uint64_t ra, uint32_t mask)
{
    m->code_mask[(ra >> PAGE_SHIFT) * m->cpus + cpu] = mask;
    if (physmap_code_cpus(m, ra & PAGE_MASK, PAGE_SIZE))
        code_arm(m, ra);
    else
        change_bytes(m->flags + (ra >> PAGE_SHIFT), 1, 0, PF_CODE);
}

void physmap_track(struct physmap *m, uint64_t ra, uint64_t size)
{
    for (uint64_t p = ra >> PAGE_SHIFT; p < (ra + size + PAGE_SIZE - 1) >> PAGE_SHIFT; p++)
        m->notes[p] |= PN_DIRTY; /* whoever asks first must draw everything */
    physmap_flag_set(m, ra, size, PF_TRACK);
}

bool physmap_dirty_take(struct physmap *m, uint64_t ra)
{
    uint64_t p = ra >> PAGE_SHIFT;

    if (!(m->notes[p] & PN_DIRTY))
        return false;
    m->notes[p] &= (uint8_t)~PN_DIRTY;
    if (!(m->flags[p] & PF_TRACK)) {
        change_bytes(m->flags + p, 1, PF_TRACK, 0);
        m->notes[p] |= PN_PENDING;
        m->pending_lo = MIN(m->pending_lo, ra & PAGE_MASK);
        m->pending_hi = MAX(m->pending_hi, (ra & PAGE_MASK) + PAGE_SIZE);
    }
    return true;
}

void physmap_sync(struct physmap *m)
{
    uint64_t lo = m->pending_lo, hi = m->pending_hi;
    bool tell = false;

    if (LIKELY(lo >= hi))
        return;
    m->pending_lo = UINT64_MAX;
    m->pending_hi = 0;
    for (uint64_t p = lo >> PAGE_SHIFT; p < hi >> PAGE_SHIFT; p++) {
        if (!(m->notes[p] & PN_PENDING))
            continue;
        tell |= m->tlb_out[p] != 0;
        m->notes[p] &= (uint8_t)~PN_PENDING;
        m->tlb_out[p] = 0;
    }
    if (tell && m->listener.flags_set)
        m->listener.flags_set(m->listener.opaque, lo, hi - lo);
}
