/* Page walks: SDM vol. 3, chapter 4. Four kinds: none, 32-bit (with 4 MiB pages and PSE-36), PAE,
 * 4-level. A walk reads the structures through the store, checks reserved bits and rights, and only
 * when the access is allowed writes accessed and dirty bits back. Where CPUs run at the same time that
 * is a compare-and-swap, and an entry that has changed meanwhile makes the walk start over.
 *
 * Known difference from real CPUs: a faulting access sets no accessed bits at all, where a CPU may have
 * set those of upper levels.
 */
#include "mmu/walk.h"

#include "base/hostatomic.h"
#include "mmu/physmap_priv.h"

#define PTE_P         0x1ull
#define PTE_W         0x2ull
#define PTE_U         0x4ull
#define PTE_A         0x20ull
#define PTE_D         0x40ull
#define PTE_PS        0x80ull
#define PTE_G         0x100ull
#define PTE_XD        BIT64(63)
#define PTE_KEY_SHIFT 59

#define CR0_WP        BIT64(16)
#define CR0_PG        BIT64(31)
#define CR4_PSE       BIT64(4)
#define CR4_PAE       BIT64(5)
#define CR4_PGE       BIT64(7)
#define CR4_SMEP      BIT64(20)
#define CR4_SMAP      BIT64(21)
#define CR4_PKE       BIT64(22)
#define EFER_LMA      BIT64(10)
#define EFER_NXE      BIT64(11)

#define ADDR_MASK     0x000ffffffffff000ull

/* The entries a walk went through, for the write-back of A and D. */
struct path {
    uint64_t at[4], value[4];
    unsigned n;
    unsigned size; /* of an entry: 4 or 8 */
};

static bool fault(struct mmu *u, uint64_t lin, enum mmu_access acc, enum mmu_index index,
                  uint32_t error)
{
    if (acc == MMU_WRITE)
        error |= PFEC_W;
    if (index == MMU_USER)
        error |= PFEC_U;
    if (acc == MMU_FETCH && ((u->cr4 & CR4_SMEP) || ((u->cr4 & CR4_PAE) && (u->efer & EFER_NXE))))
        error |= PFEC_I;
    u->fault = (struct mmu_fault){.addr = lin, .error = error};
    return false;
}

bool mmu_canonical(struct mmu *u, uint64_t *lin)
{
    if (!(u->efer & EFER_LMA)) {
        *lin = (uint32_t)*lin;
        return true;
    }
    if (LIKELY((uint64_t)((int64_t)(*lin << 16) >> 16) == *lin))
        return true;
    u->fault = (struct mmu_fault){.addr = *lin, .gp = true};
    return false;
}

static uint64_t entry_read_slow(struct mmu *u, uint64_t at, unsigned size)
{
    if (u->enter)
        u->enter(u->outside);
    uint64_t value = physmap_read(u->map, at, size);
    if (u->leave)
        u->leave(u->outside);
    return value;
}

static inline uint64_t entry_read(struct mmu *u, struct path *p, uint64_t at)
{
    uint64_t value;

    at &= u->a20_mask;
    uint8_t *host = physmap_entry_host(u->map, &u->view_hint, at);
    if (p->size == 8)
        value = LIKELY(host) ? ld64(host) : entry_read_slow(u, at, 8);
    else
        value = LIKELY(host) ? ld32(host) : entry_read_slow(u, at, 4);
    p->at[p->n] = at;
    p->value[p->n++] = value;
    return value;
}

/* With the lock: whoever had to take it may have waited, and others may write to the page without it by now. */
static bool entry_mark_held(struct mmu *u, uint64_t at, uint64_t old, uint64_t bits, unsigned size)
{
    struct phys_page page;
    uint64_t ra;
    bool same;

    if (!physmap_page_at(u->map, &u->view_hint, at, &page) || page.read_ra == RA_NONE ||
        page.read_ra != page.write_ra) {
        same = physmap_read(u->map, at, size) == old;
        if (same)
            physmap_write(u->map, at, old | bits, size);
        return same;
    }
    ra = page.write_ra + (at & ~PAGE_MASK);
    physmap_touch(u->map, ra, size, true);
    same = host_cas(u->map->store + ra, size, old, old | bits);
    if (same)
        physmap_written(u->map, ra, size);
    return same;
}

/* Writes an entry with further bits. False: it is not what it was when it was read. */
static bool entry_mark(struct mmu *u, uint64_t at, uint64_t old, uint64_t bits, unsigned size)
{
    struct phys_page page;
    bool same;

    if (!u->enter) {
        physmap_write(u->map, at, old | bits, size);
        return true;
    }
    if (!u->map->kept && physmap_page_at(u->map, &u->view_hint, at, &page) &&
        page.read_ra != RA_NONE && page.read_ra == page.write_ra && !page.flags &&
        !physmap_note_tlb(u->map, u->cpu, page.write_ra))
        return host_cas(u->map->store + page.write_ra + (at & ~PAGE_MASK), size, old, old | bits);
    u->enter(u->outside);
    same = entry_mark_held(u, at, old, bits, size);
    u->leave(u->outside);
    return same;
}

static inline bool mark(struct mmu *u, const struct path *p, unsigned i, uint64_t bits)
{
    if (LIKELY((p->value[i] & bits) == bits))
        return true;
    return entry_mark(u, p->at[i], p->value[i], bits, p->size);
}

static bool again(struct mmu_xlat *x)
{
    x->again = true;
    return false;
}

/* Rights of a leaf, with W, U and XD accumulated over the levels in `rights`. */
static bool finish(struct mmu *u, uint64_t lin, enum mmu_access acc, enum mmu_index index,
                   struct path *p, uint64_t rights, uint64_t page, uint64_t size,
                   struct mmu_xlat *x)
{
    uint64_t leaf = p->value[p->n - 1];
    bool user = rights & PTE_U, wp = u->cr0 & CR0_WP, ok, pk_fault = false;
    uint32_t error = PFEC_P;

    if (index == MMU_USER) {
        x->read = user;
        x->write = user && (rights & PTE_W);
        x->exec = user && !(rights & PTE_XD);
    } else {
        x->read = !(user && index == MMU_SUPER && (u->cr4 & CR4_SMAP));
        x->write = x->read && ((rights & PTE_W) || !wp);
        x->exec = !(rights & PTE_XD) && !(user && (u->cr4 & CR4_SMEP));
    }
    x->keyed = user && (u->cr4 & CR4_PKE) && (u->efer & EFER_LMA);
    x->key = 0;
    if (x->keyed) {
        x->key = leaf >> PTE_KEY_SHIFT & 15;
        uint32_t deny = u->pkru >> x->key * 2 & 3; /* bit 0 AD, bit 1 WD */
        bool deny_write = (deny & 1) || ((deny & 2) && (index == MMU_USER || wp));
        pk_fault = acc == MMU_READ ? deny & 1 : acc == MMU_WRITE ? deny_write : false;
        x->read &= !(deny & 1);
        x->write &= !deny_write;
    }
    ok = acc == MMU_READ ? x->read : acc == MMU_WRITE ? x->write : x->exec;
    if (UNLIKELY(!ok)) {
        if (pk_fault)
            error |= PFEC_PK;
        return fault(u, lin, acc, index, error);
    }
    for (unsigned i = 0; i + 1 < p->n; i++) {
        if (UNLIKELY(!mark(u, p, i, PTE_A)))
            return again(x);
    }
    if (UNLIKELY(!mark(u, p, p->n - 1, acc == MMU_WRITE ? PTE_A | PTE_D : PTE_A)))
        return again(x);

    x->write &= acc == MMU_WRITE || (leaf & PTE_D);
    x->global = (leaf & PTE_G) && (u->cr4 & CR4_PGE);
    x->page_size = size;
    x->paddr = (page | (lin & (size - 1))) & u->a20_mask;
    return true;
}

static bool walk_legacy(struct mmu *u, uint64_t lin, enum mmu_access acc, enum mmu_index index,
                        struct mmu_xlat *x)
{
    struct path p = {.size = 4};
    uint64_t e = entry_read(u, &p, (u->cr3 & 0xfffff000) + (lin >> 22 & 1023) * 4);

    if (!(e & PTE_P))
        return fault(u, lin, acc, index, 0);
    if ((e & PTE_PS) && (u->cr4 & CR4_PSE)) {
        /* PSE-36: bits 20:13 are address bits 39:32 where the CPU has them, 21 is reserved. */
        uint64_t high = u->has_pse36 ? (e >> 13 & 0xff) << 32 & u->phys_mask : 0;
        uint64_t reserved = (e >> 13 & 0x1ff) ^ high >> 32;
        if (reserved)
            return fault(u, lin, acc, index, PFEC_P | PFEC_RSVD);
        return finish(u, lin, acc, index, &p, e & (PTE_W | PTE_U), high | (e & 0xffc00000), 4 * MIB,
                      x);
    }
    uint64_t rights = e;
    e = entry_read(u, &p, (e & 0xfffff000) + (lin >> 12 & 1023) * 4);
    if (!(e & PTE_P))
        return fault(u, lin, acc, index, 0);
    rights &= e;
    return finish(u, lin, acc, index, &p, rights & (PTE_W | PTE_U), e & 0xfffff000, PAGE_SIZE, x);
}

/* The tables with 512 entries: 4-level paging starts at level 3, the PML4, PAE at 1, the page
 * directory. */
static bool walk_levels(struct mmu *u, uint64_t lin, enum mmu_access acc, enum mmu_index index,
                        uint64_t table, int level, uint64_t reserved, struct mmu_xlat *x)
{
    struct path p = {.size = 8};
    uint64_t rights = PTE_W | PTE_U, xd = 0;

    for (;; level--) {
        unsigned shift = 12 + 9 * (unsigned)level;
        uint64_t e = entry_read(u, &p, table + (lin >> shift & 511) * 8);
        if (!(e & PTE_P))
            return fault(u, lin, acc, index, 0);
        uint64_t bad = e & reserved;
        if (level == 3 || (level == 2 && !u->has_1g))
            bad |= e & PTE_PS;
        bool leaf = level == 0 || (level <= 2 && (e & PTE_PS));
        if (leaf && level)
            bad |= e & ((BIT64(shift) - 1) & ~0x1fffull); /* 12 is PAT */
        if (UNLIKELY(bad))
            return fault(u, lin, acc, index, PFEC_P | PFEC_RSVD);
        rights &= e;
        xd |= e & PTE_XD;
        if (leaf) {
            uint64_t page = e & ADDR_MASK & ~(BIT64(shift) - 1);
            return finish(u, lin, acc, index, &p, rights | xd, page, BIT64(shift), x);
        }
        table = e & ADDR_MASK;
    }
}

bool mmu_load_pdptes(struct mmu *u, uint64_t cr3)
{
    /* Bits 2:1, 8:5 and all above the physical address: SDM vol. 3, table 4-8. */
    uint64_t reserved = ~u->phys_mask | 0x1e6, e[4];

    for (unsigned k = 0; k < 4; k++) {
        e[k] = entry_read_slow(u, ((cr3 & 0xffffffe0) + k * 8) & u->a20_mask, 8);
        if ((e[k] & PTE_P) && (e[k] & reserved))
            return false;
    }
    memcpy(u->pdpte, e, sizeof(e));
    return true;
}

static bool walk_pae(struct mmu *u, uint64_t lin, enum mmu_access acc, enum mmu_index index,
                     struct mmu_xlat *x)
{
    uint64_t e = u->pdpte[lin >> 30 & 3];

    if (!(e & PTE_P))
        return fault(u, lin, acc, index, 0);
    uint64_t reserved = ~u->phys_mask & ~PTE_XD;
    if (!(u->efer & EFER_NXE))
        reserved |= PTE_XD;
    return walk_levels(u, lin, acc, index, e & ADDR_MASK, 1, reserved, x);
}

static bool translate_once(struct mmu *u, uint64_t lin, enum mmu_access acc, enum mmu_index index,
                           struct mmu_xlat *x)
{
    x->again = false;
    if (u->efer & EFER_LMA) {
        /* Bits 62:52 are ignored, or hold the protection key. */
        uint64_t reserved = ADDR_MASK & ~u->phys_mask;
        if (!(u->efer & EFER_NXE))
            reserved |= PTE_XD;
        return walk_levels(u, lin, acc, index, u->cr3 & ADDR_MASK & u->phys_mask, 3, reserved, x);
    }
    lin = (uint32_t)lin;
    if (u->cr4 & CR4_PAE)
        return walk_pae(u, lin, acc, index, x);
    return walk_legacy(u, lin, acc, index, x);
}

bool mmu_translate(struct mmu *u, uint64_t lin, enum mmu_access acc, enum mmu_index index,
                   struct mmu_xlat *x)
{
    if (!(u->cr0 & CR0_PG)) {
        *x = (struct mmu_xlat){.paddr = lin & 0xffffffff & u->a20_mask,
                               .page_size = PAGE_SIZE,
                               .read = true,
                               .write = true,
                               .exec = true};
        return true;
    }
    while (!translate_once(u, lin, acc, index, x)) {
        if (LIKELY(!x->again))
            return false;
    }
    return true;
}

bool mmu_walk(struct mmu *u, uint64_t lin, enum mmu_access acc, enum mmu_index index,
              uint64_t *paddr, uint64_t *page_size, bool *writable, bool *global)
{
    struct mmu_xlat x;

    if (!mmu_canonical(u, &lin) || !mmu_translate(u, lin, acc, index, &x))
        return false;
    *paddr = x.paddr;
    *page_size = x.page_size;
    *writable = x.write;
    *global = x.global;
    return true;
}

/* ---- without side effects -------------------------------------------------------------------- */

static uint64_t peek_entry(struct mmu *u, uint64_t at, unsigned size)
{
    struct phys_page page;

    at &= u->a20_mask;
    if (!physmap_page(u->map, at, &page) || page.read_ra == RA_NONE)
        return 0; /* reading a device's registers would be a side effect */
    physmap_touch(u->map, page.read_ra, 1, false);
    return ld_sized(physmap_host(u->map, page.read_ra + (at & ~PAGE_MASK)), size);
}

bool mmu_peek(struct mmu *u, uint64_t lin, uint64_t *paddr)
{
    uint64_t table = u->cr3 & ADDR_MASK;
    int level = 3;

    if (!(u->efer & EFER_LMA))
        lin = (uint32_t)lin;
    if (!(u->cr0 & CR0_PG)) {
        *paddr = lin & u->a20_mask;
        return true;
    }
    if (!(u->efer & EFER_LMA) && !(u->cr4 & CR4_PAE)) {
        uint64_t e = peek_entry(u, (u->cr3 & 0xfffff000) + (lin >> 22 & 1023) * 4, 4);
        if ((e & PTE_P) && (e & PTE_PS) && (u->cr4 & CR4_PSE)) {
            uint64_t high = u->has_pse36 ? (e >> 13 & 0xff) << 32 : 0;
            *paddr = (high | (e & 0xffc00000) | (lin & 0x3fffff)) & u->a20_mask;
            return true;
        }
        if (e & PTE_P)
            e = peek_entry(u, (e & 0xfffff000) + (lin >> 12 & 1023) * 4, 4);
        *paddr = ((e & 0xfffff000) | (lin & 0xfff)) & u->a20_mask;
        return e & PTE_P;
    }
    if (!(u->efer & EFER_LMA)) {
        uint64_t e = u->pdpte[lin >> 30 & 3];
        if (!(e & PTE_P))
            return false;
        table = e & ADDR_MASK;
        level = 1;
    }
    for (;; level--) {
        unsigned shift = 12 + 9 * (unsigned)level;
        uint64_t e = peek_entry(u, table + (lin >> shift & 511) * 8, 8);
        if (!(e & PTE_P))
            return false;
        if (!level || (level <= 2 && (e & PTE_PS))) {
            uint64_t in_page = BIT64(shift) - 1;
            *paddr = ((e & ADDR_MASK & ~in_page) | (lin & in_page)) & u->a20_mask;
            return true;
        }
        table = e & ADDR_MASK;
    }
}
