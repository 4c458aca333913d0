/* The TLB: address spaces, filling, flushing, and the slow path of linear accesses. See mmu/mmu.h.
 *
 * Invariants:
 *  - A tag without low bits allows the access by (address + addend) and nothing else need happen.
 *  - A write tag without low bits is in a TLB only if its store page has the CPU's bit in tlb_out, so
 *    that mmu_protect_ra is called when the page gets a flag, and only if the page's D bit is set.
 *    With CPUs on threads, mmu_protect_ra waits until this CPU is between two blocks: a tag that has
 *    been compared holds until the end of the instruction.
 *  - An entry that is not all TLB_INVALID has its bit in `used`.
 *  - Entries of a table were walked under the current CR0, CR4, EFER and A20: changes flush.
 */
#include "mmu/walk.h"

#include "base/check.h"
#include "base/hostmem.h"
#include "mmu/physmap_priv.h"

#define CR0_WP    BIT64(16)
#define CR0_PG    BIT64(31)
#define CR4_PCIDE BIT64(17)
/* Control bits that entries depend on. */
#define CR0_STALE  (CR0_WP | CR0_PG)
#define CR4_STALE  (BIT64(4) | BIT64(5) | BIT64(7) | CR4_PCIDE | BIT64(20) | BIT64(21) | BIT64(22))
#define EFER_STALE (BIT64(10) | BIT64(11))

#define WORDS      (TLB_SIZE / 64)

static_assert(offsetof(struct tlb, e) == 0, "inline look-ups address the entries directly");
static_assert(sizeof(struct tlb_entry) == 32, "inline look-ups scale by 32");

/* ---- spaces ---------------------------------------------------------------------------------- */

/* Translations of code that t may have had do not hold any more. */
static void code_gone(struct mmu *u, struct tlb *t)
{
    memset(t->code, 0, sizeof(t->code));
    t->generation = ++u->generation;
}

static uint64_t *code_word(struct tlb *t, uint64_t lin)
{
    return &t->code[(lin >> PAGE_SHIFT) % TLB_CODE_BITS / 64];
}

static uint64_t code_bit(uint64_t lin)
{
    return BIT64((lin >> PAGE_SHIFT) & 63);
}

static void tlb_clear(struct mmu *u, struct tlb *t)
{
    memset(t->e, 0xff, sizeof(t->e));
    memset((uint8_t *)t + sizeof(t->e), 0, sizeof(*t) - sizeof(t->e));
    t->large_lo = UINT64_MAX;
    code_gone(u, t);
}

static void entry_drop(struct tlb *t, unsigned index, unsigned slot)
{
    struct tlb_entry *e = &t->e[index][slot];
    uint64_t keep = ~BIT64(slot & 63);

    e->read = e->write = e->exec = TLB_INVALID;
    t->used[index][slot / 64] &= keep;
    t->global[index][slot / 64] &= keep;
    t->large[index][slot / 64] &= keep;
}

static void tlb_flush(struct mmu *u, struct tlb *t, bool global_too)
{
    code_gone(u, t);
    for (unsigned index = 0; index < MMU_INDEXES; index++) {
        for (unsigned w = 0; w < WORDS; w++) {
            uint64_t bits = t->used[index][w];
            if (!global_too)
                bits &= ~t->global[index][w];
            for (; bits; bits &= bits - 1)
                entry_drop(t, index, w * 64 + (unsigned)__builtin_ctzll(bits));
        }
    }
    if (global_too) {
        t->large_lo = UINT64_MAX;
        t->large_hi = t->large_size = 0;
        t->keys = 0;
    }
}

/* Drops what translates lin, all pieces if that is a large page; globals_only for the other
 * address spaces of INVLPG. */
static void tlb_flush_page(struct mmu *u, struct tlb *t, uint64_t lin, bool globals_only)
{
    uint64_t page = lin & PAGE_MASK;
    unsigned slot = (unsigned)(lin >> PAGE_SHIFT) & (TLB_SIZE - 1);
    bool large = lin >= t->large_lo && lin <= t->large_hi;

    if (large || (*code_word(t, lin) & code_bit(lin)))
        code_gone(u, t);
    for (unsigned index = 0; index < MMU_INDEXES; index++) {
        uint64_t bit = BIT64(slot & 63);
        const uint64_t *set = globals_only ? t->global[index] : t->used[index];
        const struct tlb_entry *e = &t->e[index][slot];
        if ((set[slot / 64] & bit) &&
            ((e->read & PAGE_MASK) == page || (e->write & PAGE_MASK) == page ||
             (e->exec & PAGE_MASK) == page))
            entry_drop(t, index, slot);
    }
    if (!large)
        return;
    uint64_t mask = ~(t->large_size - 1);
    for (unsigned index = 0; index < MMU_INDEXES; index++) {
        for (unsigned w = 0; w < WORDS; w++) {
            uint64_t bits = t->large[index][w];
            if (globals_only)
                bits &= t->global[index][w];
            for (; bits; bits &= bits - 1) {
                unsigned s = w * 64 + (unsigned)__builtin_ctzll(bits);
                const struct tlb_entry *e = &t->e[index][s];
                /* Any valid tag names the page; an invalid one matches the top page: harmless. */
                if (!((e->read ^ lin) & mask) || !((e->write ^ lin) & mask) ||
                    !((e->exec ^ lin) & mask))
                    entry_drop(t, index, s);
            }
        }
    }
}

static int space_of(const struct mmu *u, uint16_t pcid)
{
    for (int i = 0; i < MMU_SPACES; i++) {
        if (u->space_used[i] && u->space_pcid[i] == pcid)
            return i;
    }
    return -1;
}

/* Makes pcid's space the current one, emptying the one that was used longest ago if it is new. */
static void space_enter(struct mmu *u, uint16_t pcid)
{
    int n = space_of(u, pcid);

    if (n < 0) {
        n = 0;
        for (int i = 1; i < MMU_SPACES; i++) {
            if (u->space_used[i] < u->space_used[n])
                n = i;
        }
        if (u->space_used[n])
            tlb_flush(u, &u->spaces[n], true);
        else
            tlb_clear(u, &u->spaces[n]); /* untouched memory until now */
        u->space_pcid[n] = pcid;
        u->space_large[n] = false;
    }
    u->space_used[n] = ++u->use_counter;
    u->tlb = &u->spaces[n];
}

bool mmu_init(struct mmu *u, struct physmap *map)
{
    memset(u, 0, sizeof(*u));
    u->map = map;
    u->phys_mask = BIT64(PHYS_ADDR_BITS) - 1;
    u->a20_mask = UINT64_MAX;
    u->has_1g = u->has_pse36 = true;
    u->spaces = hostmem_alloc_huge(MMU_SPACES * sizeof(struct tlb));
    if (!u->spaces)
        return false;
    space_enter(u, 0);
    return true;
}

void mmu_fini(struct mmu *u)
{
    hostmem_free(u->spaces, MMU_SPACES * sizeof(struct tlb));
    u->spaces = u->tlb = NULL;
}

/* ---- flushes --------------------------------------------------------------------------------- */

static void flush_spaces(struct mmu *u, bool global_too)
{
    for (int i = 0; i < MMU_SPACES; i++) {
        if (u->space_used[i])
            tlb_flush(u, &u->spaces[i], global_too);
    }
    u->stat_flushes++;
}

void mmu_flush_all(struct mmu *u)
{
    flush_spaces(u, true);
}

void mmu_set_regs(struct mmu *u, uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    bool stale = ((u->cr0 ^ cr0) & CR0_STALE) || ((u->cr4 ^ cr4) & CR4_STALE) ||
                 ((u->efer ^ efer) & EFER_STALE);
    u->cr0 = cr0;
    u->cr4 = cr4;
    u->efer = efer;
    if (stale) {
        flush_spaces(u, true);
        space_enter(u, cr4 & CR4_PCIDE ? u->cr3 & 0xfff : 0);
    }
}

void mmu_load_cr3(struct mmu *u, uint64_t cr3, bool noflush)
{
    bool pcide = u->cr4 & CR4_PCIDE;

    u->cr3 = cr3;
    space_enter(u, pcide ? cr3 & 0xfff : 0);
    if (!(pcide && noflush)) {
        tlb_flush(u, u->tlb, false);
        u->stat_flushes++;
    }
}

void mmu_set_a20(struct mmu *u, bool on)
{
    uint64_t mask = on ? UINT64_MAX : ~BIT64(20);
    if (mask == u->a20_mask)
        return;
    u->a20_mask = mask;
    mmu_flush_all(u);
}

void mmu_set_pkru(struct mmu *u, uint32_t pkru)
{
    uint32_t changed = u->pkru ^ pkru;
    uint16_t keys = 0;

    u->pkru = pkru;
    for (unsigned k = 0; k < 16; k++) {
        if (changed >> k * 2 & 3)
            keys |= (uint16_t)BIT(k);
    }
    for (int i = 0; keys && i < MMU_SPACES; i++) {
        if (u->space_used[i] && (u->spaces[i].keys & keys))
            tlb_flush(u, &u->spaces[i], true);
    }
}

void mmu_invlpg(struct mmu *u, uint64_t lin)
{
    if (!mmu_canonical(u, &lin))
        return; /* SDM vol. 2, INVLPG: no operation */
    for (int i = 0; i < MMU_SPACES; i++) {
        if (u->space_used[i])
            tlb_flush_page(u, &u->spaces[i], lin, &u->spaces[i] != u->tlb);
    }
    u->stat_page_flushes++;
}

void mmu_invpcid_addr(struct mmu *u, uint16_t pcid, uint64_t lin)
{
    int n = space_of(u, pcid);

    u->stat_page_flushes++;
    if (n >= 0)
        tlb_flush_page(u, &u->spaces[n], lin, false);
}

void mmu_invpcid_single(struct mmu *u, uint16_t pcid)
{
    int n = space_of(u, pcid);

    u->stat_flushes++;
    if (n >= 0)
        tlb_flush(u, &u->spaces[n], false);
}

void mmu_invpcid_all(struct mmu *u, bool global_too)
{
    flush_spaces(u, global_too);
}

void mmu_protect_ra(struct mmu *u, uint64_t ra, uint64_t size)
{
    uint64_t host = (uint64_t)(uintptr_t)u->map->store + ra;

    for (int i = 0; i < MMU_SPACES; i++) {
        struct tlb *t = &u->spaces[i];
        if (!u->space_used[i])
            continue;
        for (unsigned index = 0; index < MMU_INDEXES; index++) {
            for (unsigned w = 0; w < WORDS; w++) {
                for (uint64_t bits = t->used[index][w]; bits; bits &= bits - 1) {
                    struct tlb_entry *e = &t->e[index][w * 64 + (unsigned)__builtin_ctzll(bits)];
                    uint64_t page = (e->write & PAGE_MASK) + e->addend;
                    if (!(e->write & (TLB_IO | TLB_NONE)) &&
                        page + (PAGE_SIZE - 1) - host < size + (PAGE_SIZE - 1))
                        e->write |= TLB_FLAGGED;
                }
            }
        }
    }
}

/* ---- watches --------------------------------------------------------------------------------- */

static bool overlaps(const struct mmu_watch *w, uint64_t addr, uint64_t size)
{
    return addr - w->addr < w->len || w->addr - addr < size;
}

static void flush_watched(struct mmu *u)
{
    for (unsigned n = 0; n < u->watches; n++) {
        const struct mmu_watch *w = &u->watch[n];
        if (w->len > 16 * PAGE_SIZE) {
            mmu_flush_all(u);
            return;
        }
        uint64_t pages = ((w->addr & ~PAGE_MASK) + w->len + PAGE_SIZE - 1) >> PAGE_SHIFT;
        for (uint64_t k = 0; k < pages; k++) {
            for (int i = 0; i < MMU_SPACES; i++) {
                if (u->space_used[i])
                    tlb_flush_page(u, &u->spaces[i], w->addr + (k << PAGE_SHIFT), false);
            }
        }
    }
}

void mmu_set_watches(struct mmu *u, const struct mmu_watch *w, unsigned n)
{
    CHECK(n <= MMU_WATCHES);
    flush_watched(u);
    for (unsigned i = 0; i < n; i++)
        u->watch[i] = w[i];
    u->watches = n;
    flush_watched(u);
}

static void check_watches(struct mmu *u, uint64_t lin, unsigned size, bool write)
{
    for (unsigned n = 0; n < u->watches; n++) {
        const struct mmu_watch *w = &u->watch[n];
        if ((write ? w->on_write : w->on_read) && overlaps(w, lin, size) && u->watch_hit)
            u->watch_hit(u->opaque, n, lin, size, write);
    }
}

static bool page_watched(const struct mmu *u, uint64_t page)
{
    for (unsigned n = 0; n < u->watches; n++) {
        if (overlaps(&u->watch[n], page, PAGE_SIZE))
            return true;
    }
    return false;
}

/* ---- what is shared ------------------------------------------------------------------------- */

static inline void outside_enter(struct mmu *u)
{
    if (u->enter)
        u->enter(u->outside);
}

static inline void outside_leave(struct mmu *u)
{
    if (u->leave)
        u->leave(u->outside);
}

/* ---- filling --------------------------------------------------------------------------------- */

static inline uint64_t *tag_of(struct tlb_entry *e, enum mmu_access acc)
{
    return acc == MMU_READ ? &e->read : acc == MMU_WRITE ? &e->write : &e->exec;
}

static void note_large(struct mmu *u, struct tlb *t, uint64_t lin, uint64_t size)
{
    uint64_t first = lin & ~(size - 1);
    t->large_lo = MIN(t->large_lo, first);
    t->large_hi = MAX(t->large_hi, first + (size - 1));
    t->large_size = MAX(t->large_size, size);
    u->space_large[t - u->spaces] = true;
}

/* mmu_fill has met the fault of this very access. */
static bool fault_kept(struct mmu *u, uint64_t lin, enum mmu_access acc)
{
    if (LIKELY(!u->fault.kept))
        return false;
    u->fault.kept = false;
    if (u->fault.acc != acc || (u->fault.addr & PAGE_MASK) != (lin & PAGE_MASK))
        return false;
    u->fault.addr = lin;
    return true;
}

static struct tlb_entry *tlb_fill(struct mmu *u, uint64_t lin, enum mmu_access acc,
                                  enum mmu_index index)
{
    uint64_t page = lin & PAGE_MASK;
    unsigned slot = (unsigned)(lin >> PAGE_SHIFT) & (TLB_SIZE - 1);
    uint64_t bit = BIT64(slot & 63);
    struct tlb *t = u->tlb;
    struct tlb_entry *e = &t->e[index][slot];
    struct mmu_xlat x;
    struct phys_page p;

    if (fault_kept(u, lin, acc) || !mmu_translate(u, lin, acc, index, &x)) {
        /* SDM vol. 3, 4.10.4.1: a page fault drops the entries of its address. */
        tlb_flush_page(u, t, lin, false);
        u->slow_seen |= BIT(MMU_SLOW_FAULT);
        return NULL;
    }
    u->stat_fills++;
    u->slow_seen |= BIT(MMU_SLOW_FILL);
    physmap_page_at(u->map, &u->view_hint, x.paddr, &p);
    if (UNLIKELY(u->map->kept) && p.read_ra != RA_NONE) {
        /* No entry, for whatever kind of access, stands for a page whose contents are not there. */
        outside_enter(u);
        physmap_touch(u->map, p.read_ra, 1, false);
        outside_leave(u);
        physmap_page_at(u->map, &u->view_hint, x.paddr, &p);
    }

    uint64_t watched = UNLIKELY(u->watches) && page_watched(u, page) ? TLB_WATCHED : 0;
    uint64_t read_bits = p.read_ra != RA_NONE ? 0 : TLB_IO;
    uint64_t write_bits = TLB_IO;
    /* One addend for both: else by address, also where only writes are direct, for a write tag lets
     * read-modify-write instructions read. */
    if (p.write_ra != RA_NONE && p.write_ra == p.read_ra) {
        write_bits = TLB_FLAGGED;
        if (!p.flags && !(x.write && physmap_note_tlb(u->map, u->cpu, p.write_ra)))
            write_bits = 0;
    }
    e->read = x.read ? page | read_bits | watched : TLB_INVALID;
    e->write = x.write ? page | write_bits | watched : TLB_INVALID;
    e->exec = x.exec ? page | read_bits : TLB_INVALID;
    e->addend = (uint64_t)(uintptr_t)u->map->store + p.read_ra - page;
    t->phys[index][slot] = x.paddr & PAGE_MASK;
    if (x.exec)
        *code_word(t, lin) |= code_bit(lin);

    t->used[index][slot / 64] |= bit;
    t->global[index][slot / 64] &= ~bit;
    t->large[index][slot / 64] &= ~bit;
    if (x.global)
        t->global[index][slot / 64] |= bit;
    if (x.page_size > PAGE_SIZE) {
        t->large[index][slot / 64] |= bit;
        if (UNLIKELY(lin < t->large_lo || lin > t->large_hi || x.page_size > t->large_size))
            note_large(u, t, lin, x.page_size);
    }
    if (x.keyed)
        t->keys |= (uint16_t)BIT(x.key);
    return e;
}

/* The entry that answers for an access of lin, or NULL with u->fault filled. */
static inline struct tlb_entry *lookup(struct mmu *u, uint64_t lin, enum mmu_access acc,
                                       enum mmu_index index)
{
    struct tlb_entry *e = tlb_slot(u, index, lin);
    uint64_t tag = *tag_of(e, acc);
    if (LIKELY(!((tag ^ (lin & PAGE_MASK)) & (PAGE_MASK | TLB_NONE))))
        return e;
    return tlb_fill(u, lin, acc, index);
}

/* ---- the slow path --------------------------------------------------------------------------- */

/* One page's part of an access: taken from its entry at once, for devices and code hits may change
 * the table. */
struct part {
    uint64_t host; /* host address, if direct */
    uint64_t paddr;
    unsigned size;
    bool direct, flagged;
};

/* Reasons for the slow path that flags of the page are. */
static uint32_t flag_reasons(uint8_t flags)
{
    return (flags & PF_CODE ? BIT(MMU_SLOW_CODE) : 0) |
           (flags & PF_TRACK ? BIT(MMU_SLOW_TRACK) : 0) |
           (flags & PF_COPY ? BIT(MMU_SLOW_COPY) : 0);
}

static inline bool part_get(struct mmu *u, uint64_t lin, unsigned size, enum mmu_access acc,
                            enum mmu_index index, struct part *p)
{
    struct tlb_entry *e = lookup(u, lin, acc, index);
    if (UNLIKELY(!e))
        return false;
    uint64_t tag = *tag_of(e, acc);
    unsigned slot = (unsigned)(lin >> PAGE_SHIFT) & (TLB_SIZE - 1);
    p->host = lin + e->addend;
    p->paddr = u->tlb->phys[index][slot] | (lin & ~PAGE_MASK);
    p->size = size;
    p->direct = !(tag & TLB_IO);
    p->flagged = tag & TLB_FLAGGED;
    if (UNLIKELY(tag & (TLB_IO | TLB_WATCHED)))
        u->slow_seen |= tag & TLB_IO ? BIT(MMU_SLOW_IO) : BIT(MMU_SLOW_WATCH);
    if (UNLIKELY(p->flagged)) {
        /* The flags may have gone since: then let the next write through at once. */
        uint64_t ra = p->host - (uint64_t)(uintptr_t)u->map->store;
        outside_enter(u);
        u->slow_seen |= flag_reasons(physmap_flags(u->map, ra));
        physmap_touch(u->map, ra, 1, true);
        if (!physmap_flags(u->map, ra)) {
            e->write &= ~(uint64_t)TLB_FLAGGED;
            physmap_note_tlb(u->map, u->cpu, ra);
            p->flagged = false;
        }
        outside_leave(u);
    }
    return true;
}

static inline uint8_t *host_ptr(uint64_t host)
{
    return (uint8_t *)(uintptr_t)host;
}

static uint64_t part_read(struct mmu *u, const struct part *p)
{
    uint8_t b[8] = {0};

    if (UNLIKELY(!p->direct)) {
        outside_enter(u);
        uint64_t v = physmap_read(u->map, p->paddr, p->size);
        outside_leave(u);
        return v;
    }
    switch (p->size) {
    case 1:
        return ld8(host_ptr(p->host));
    case 2:
        return ld16(host_ptr(p->host));
    case 4:
        return ld32(host_ptr(p->host));
    case 8:
        return ld64(host_ptr(p->host));
    default:
        memcpy(b, host_ptr(p->host), p->size);
        return ld64(b);
    }
}

static void part_write(struct mmu *u, const struct part *p, uint64_t value)
{
    uint8_t b[8];

    if (UNLIKELY(!p->direct || p->flagged))
        outside_enter(u);
    if (UNLIKELY(!p->direct)) {
        physmap_write(u->map, p->paddr, value, p->size);
        outside_leave(u);
        return;
    }
    switch (p->size) {
    case 1:
    case 2:
    case 4:
    case 8:
        st_sized(host_ptr(p->host), value, p->size);
        break;
    default:
        st64(b, value);
        memcpy(host_ptr(p->host), b, p->size);
        break;
    }
    if (p->flagged) {
        physmap_written(u->map, p->host - (uint64_t)(uintptr_t)u->map->store, p->size);
        outside_leave(u);
    }
}

/* Looks up both pages of [lin, lin+size), size up to a page. Returns the number of parts, 0 on a
 * fault. */
static inline unsigned split(struct mmu *u, uint64_t lin, unsigned size, enum mmu_access acc,
                             enum mmu_index index, struct part part[2])
{
    unsigned left = PAGE_SIZE - (unsigned)(lin & ~PAGE_MASK);

    if (LIKELY(size <= left))
        return part_get(u, lin, size, acc, index, &part[0]) ? 1 : 0;
    uint64_t second = lin + left;
    u->slow_seen |= BIT(MMU_SLOW_CROSS);
    if (!part_get(u, lin, left, acc, index, &part[0]) || !mmu_canonical(u, &second) ||
        !part_get(u, second, size - left, acc, index, &part[1]))
        return 0;
    return 2;
}

/* split, for an access that is counted. */
static inline unsigned split_counted(struct mmu *u, uint64_t lin, unsigned size,
                                     enum mmu_access acc, enum mmu_index index, struct part part[2])
{
    uint32_t before = u->slow_seen;
    unsigned n;

    u->slow_seen = 0;
    n = split(u, lin, size, acc, index, part);
    u->stat_slow[mmu_slow_reason(u->slow_seen)]++;
    u->slow_seen |= before;
    return n;
}

bool mmu_read(struct mmu *u, uint64_t lin, unsigned size, enum mmu_index index, uint64_t *value)
{
    struct part part[2];
    unsigned n;

    if (!mmu_canonical(u, &lin))
        return false;
    n = split_counted(u, lin, size, MMU_READ, index, part);
    if (UNLIKELY(!n))
        return false;
    if (UNLIKELY(u->watches))
        check_watches(u, lin, size, false);
    uint64_t v = part_read(u, &part[0]);
    if (n == 2)
        v |= part_read(u, &part[1]) << part[0].size * 8;
    *value = v;
    return true;
}

bool mmu_write(struct mmu *u, uint64_t lin, uint64_t value, unsigned size, enum mmu_index index)
{
    struct part part[2];
    unsigned n;

    if (!mmu_canonical(u, &lin))
        return false;
    n = split_counted(u, lin, size, MMU_WRITE, index, part);
    if (UNLIKELY(!n))
        return false;
    if (UNLIKELY(u->watches))
        check_watches(u, lin, size, true);
    part_write(u, &part[0], value);
    if (n == 2)
        part_write(u, &part[1], value >> part[0].size * 8);
    return true;
}

bool mmu_probe_write(struct mmu *u, uint64_t lin, unsigned size, enum mmu_index index)
{
    struct part part[2];

    /* No page is writable that is not readable. */
    return mmu_canonical(u, &lin) && split(u, lin, size, MMU_WRITE, index, part);
}

bool mmu_probe_read(struct mmu *u, uint64_t lin, unsigned size, enum mmu_index index)
{
    struct part part[2];

    return mmu_canonical(u, &lin) && split(u, lin, size, MMU_READ, index, part);
}

uint8_t *mmu_host(struct mmu *u, uint64_t lin, enum mmu_access acc, enum mmu_index index,
                  bool *faulted)
{
    struct part part;

    *faulted = true;
    if (!mmu_canonical(u, &lin) || !part_get(u, lin, 1, acc, index, &part))
        return NULL;
    *faulted = false;
    if (!part.direct || part.flagged ||
        (UNLIKELY(u->watches) && acc != MMU_FETCH && page_watched(u, lin & PAGE_MASK)))
        return NULL;
    return host_ptr(part.host);
}

bool mmu_fill(struct mmu *u, uint64_t lin, enum mmu_access acc, enum mmu_index index)
{
    uint64_t page = lin & PAGE_MASK;
    bool faulted;

    if (mmu_host(u, lin, acc, index, &faulted))
        return *tag_of(tlb_slot(u, index, lin), acc) == page;
    if (faulted && !u->fault.gp) {
        u->fault.kept = true;
        u->fault.acc = (uint8_t)acc;
    }
    return false;
}

uint8_t *mmu_lock_host(struct mmu *u, uint64_t lin, unsigned size, enum mmu_index index,
                       bool *flagged, bool *faulted)
{
    struct part part;

    *faulted = true;
    if (!mmu_canonical(u, &lin) || !part_get(u, lin, size, MMU_WRITE, index, &part))
        return NULL;
    *faulted = false;
    *flagged = part.flagged;
    if (!part.direct || (UNLIKELY(u->watches) && page_watched(u, lin & PAGE_MASK)))
        return NULL;
    return host_ptr(part.host);
}

bool mmu_fetch_ra(struct mmu *u, uint64_t lin, enum mmu_index index, uint64_t *ra, uint64_t *paddr)
{
    struct part part;

    if (!mmu_canonical(u, &lin) || !part_get(u, lin, 1, MMU_FETCH, index, &part))
        return false;
    *paddr = part.paddr;
    *ra = part.direct ? part.host - (uint64_t)(uintptr_t)u->map->store : RA_NONE;
    return true;
}

uint8_t mmu_fetch_io(struct mmu *u, uint64_t paddr)
{
    outside_enter(u);
    uint8_t byte = (uint8_t)physmap_read(u->map, paddr, 1);
    outside_leave(u);
    return byte;
}
