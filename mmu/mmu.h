/* One CPU's view of memory: TLBs, page walks, and the slow path of every linear access.
 *
 * A TLB entry answers for one 4 KiB page and one privilege. The one-compare rule: an access of
 * `size` bytes at linear address a hits when ((a + size - 1) & PAGE_MASK) equals the tag at the
 * index of a; so a page-crossing access, a missing right, MMIO, a code page (writes), a watched
 * page, an invalid entry all fail the same compare and go to the slow path below. On a hit the host
 * address is a + addend.
 *
 * There is one set of tables for each of the last MMU_SPACES address spaces (PCIDs), so that a
 * guest's switch between them changes a pointer. Each set has three tables: user, supervisor
 * (SMAP enforced), supervisor with EFLAGS.AC (or no SMAP).
 */
#ifndef MMU_MMU_H
#define MMU_MMU_H

#include "base/bits.h"
#include "mmu/physmap.h"
#include "snapshots/vmstate.h"

#define TLB_BITS   12
#define TLB_SIZE   (1u << TLB_BITS)
#define MMU_SPACES 8
#define TLB_INVALID UINT64_MAX
#define TLB_CODE_BITS 2048u

enum mmu_index { MMU_USER, MMU_SUPER, MMU_SUPER_AC, MMU_INDEXES };
enum mmu_access { MMU_READ, MMU_WRITE, MMU_FETCH };

struct tlb_entry {
    uint64_t read, write, exec; /* page address, or with low bits set: slow path */
    uint64_t addend;            /* host address of byte a is (a + addend) */
};

/* Low bits of a tag. An entry whose tag has one of the first three is valid for the slow path. */
enum {
    TLB_IO = 1,      /* not directly mapped that way: by physical address */
    TLB_FLAGGED = 2, /* write tags: the store page has flags */
    TLB_WATCHED = 4, /* a watch lies in the page */
    TLB_NONE = 0x800, /* no right, or no entry; set in TLB_INVALID */
};

struct tlb {
    struct tlb_entry e[MMU_INDEXES][TLB_SIZE]; /* first: inline code addresses it */
    uint64_t phys[MMU_INDEXES][TLB_SIZE]; /* physical page of each entry */
    /* Bit per entry, so that flushes cost what is in the table and not its size. */
    uint64_t used[MMU_INDEXES][TLB_SIZE / 64];
    uint64_t global[MMU_INDEXES][TLB_SIZE / 64];
    uint64_t large[MMU_INDEXES][TLB_SIZE / 64]; /* a piece of a page over 4 KiB */
    uint64_t large_lo, large_hi; /* linear range with all large pages of this table */
    uint64_t large_size;         /* the largest of them; 0: none */
    uint16_t keys;               /* protection keys that entries depend on */
    /* What caches of translations of code compare: another number, of no other table, whenever one that
     * has stood here may have ended. */
    uint64_t generation;
    uint64_t code[TLB_CODE_BITS / 64]; /* pages, hashed, that could be fetched since it last changed */
};

/* Page-fault error code bits, SDM vol. 3, 4.7. */
enum { PFEC_P = 1, PFEC_W = 2, PFEC_U = 4, PFEC_RSVD = 8, PFEC_I = 16, PFEC_PK = 32 };

/* What kept an access from the inline compare, for statistics; the last that applies counts. */
enum mmu_slow {
    MMU_SLOW_OTHER, /* nothing: whoever came had no short way */
    MMU_SLOW_FILL,  /* there was no entry */
    MMU_SLOW_WATCH, /* a watch in the page */
    MMU_SLOW_COPY,  /* a write to a page that a snapshot has yet to copy */
    MMU_SLOW_TRACK, /* a write to a page that somebody wants to know of */
    MMU_SLOW_CODE,  /* a write to a page with code */
    MMU_SLOW_IO,    /* registers in memory, ROM, nothing at all */
    MMU_SLOW_CROSS, /* an access over two pages */
    MMU_SLOW_FAULT, /* it faulted */
    MMU_SLOWS
};

struct mmu_fault {
    uint64_t addr;  /* for CR2 */
    uint32_t error; /* PFEC_ bits */
    bool gp;        /* not a page fault: a non-canonical address (#GP or #SS) */
    bool kept;      /* mmu_fill met it: the access that follows does, without another walk */
    uint8_t acc;    /* ... if it is of this kind, enum mmu_access */
};

/* A watched linear range (debug registers, debugger): len 1, 2, 4, 8 or any for a debugger. */
struct mmu_watch {
    uint64_t addr, len;
    bool on_read, on_write;
};
#define MMU_WATCHES 16

struct mmu {
    /* Set by mmu_set_regs from the CPU's registers. */
    uint64_t cr0, cr3, cr4, efer;
    uint32_t pkru;
    uint64_t phys_mask;    /* MAXPHYADDR bits; bits above are reserved in entries */
    uint64_t a20_mask;     /* ~0 or ~(1<<20) */
    bool has_1g, has_pse36;
    uint64_t pdpte[4];     /* PAE paging: the page-directory-pointer registers */

    struct physmap *map;
    struct tlb *tlb;      /* of the current address space: use tlb->e[index] */
    struct tlb *spaces;   /* MMU_SPACES of them */
    uint16_t space_pcid[MMU_SPACES];
    uint64_t space_used[MMU_SPACES]; /* for choosing the oldest; 0: empty */
    bool space_large[MMU_SPACES];    /* holds pieces of large pages: INVLPG must flush all */
    uint64_t use_counter;

    struct mmu_watch watch[MMU_WATCHES];
    unsigned watches;
    /* An access touched a watched range; told once for each watch, before the data moves. */
    void (*watch_hit)(void *opaque, unsigned watch, uint64_t addr, unsigned size, bool write);
    void *opaque;

    /* CPUs run at the same time: the board's lock, held for devices' registers, pages with flags and the
     * keeper. NULL: this thread is the only one. While a CPU waits for it nobody else touches its TLB. */
    void (*enter)(void *outside);
    void (*leave)(void *outside);
    void *outside;
    unsigned cpu;       /* its bit in physmap's tlb_out */
    unsigned view_hint; /* range of the last look-up in the physical map */

    struct mmu_fault fault;
    uint64_t generation; /* the last that a table was given */
    uint64_t stat_fills, stat_flushes, stat_page_flushes;
    uint64_t stat_slow[MMU_SLOWS]; /* mmu_read and mmu_write, by reason */
    uint32_t slow_seen;            /* reasons met, a bit for each; whoever asks clears it first */
};

bool mmu_init(struct mmu *u, struct physmap *map);
void mmu_fini(struct mmu *u);
/* Takes over control registers after a change, flushing what the change makes stale
 * (SDM vol. 3, 4.10.4.1). cr3 written by MOV CR3 goes through mmu_load_cr3 instead. */
void mmu_set_regs(struct mmu *u, uint64_t cr0, uint64_t cr4, uint64_t efer);
/* MOV to CR3 (noflush: bit 63 was set with CR4.PCIDE) and task switches. */
void mmu_load_cr3(struct mmu *u, uint64_t cr3, bool noflush);
/* PAE paging keeps its four page-directory-pointer entries in registers, read when MOV to CR3, CR0 or
 * CR4 or a task switch says so (SDM vol. 3, 4.4.1), and never again. False: a present one has
 * reserved bits set; nothing changed. */
bool mmu_load_pdptes(struct mmu *u, uint64_t cr3);
void mmu_set_a20(struct mmu *u, bool on);
void mmu_set_pkru(struct mmu *u, uint32_t pkru);
/* Flushes of INVLPG, of INVPCID types 0 to 3, and of everything. */
void mmu_invlpg(struct mmu *u, uint64_t lin);
void mmu_invpcid_addr(struct mmu *u, uint16_t pcid, uint64_t lin);
void mmu_invpcid_single(struct mmu *u, uint16_t pcid);
void mmu_invpcid_all(struct mmu *u, bool global_too);
void mmu_flush_all(struct mmu *u);
/* The store pages [ra, ra+size) got flags: their write tags must go (all spaces, all tables). */
void mmu_protect_ra(struct mmu *u, uint64_t ra, uint64_t size);
/* Replaces the watch list; pages in it take the slow path from now on. */
void mmu_set_watches(struct mmu *u, const struct mmu_watch *w, unsigned n);

/* Page walk with access checks and A/D updates; false with u->fault filled. index chooses the
 * privilege. Never touches the TLB. */
bool mmu_walk(struct mmu *u, uint64_t lin, enum mmu_access acc, enum mmu_index index,
              uint64_t *paddr, uint64_t *page_size, bool *writable, bool *global);
/* For debuggers: no A/D updates, no rights, no faults. False if not mapped. */
bool mmu_peek(struct mmu *u, uint64_t lin, uint64_t *paddr);

/* The slow path: called when the inline compare missed. size 1 to 8, any alignment; fills the TLB,
 * splits at page boundaries (both pages are checked before anything is written), calls MMIO,
 * reports code writes. False with u->fault filled and nothing changed. lin is canonical-checked
 * here when long is set (EFER.LMA); otherwise it is taken modulo 2^32. */
bool mmu_read(struct mmu *u, uint64_t lin, unsigned size, enum mmu_index index, uint64_t *value);
bool mmu_write(struct mmu *u, uint64_t lin, uint64_t value, unsigned size, enum mmu_index index);
/* Checks that [lin, lin+size) can be written (and read) without faulting, size up to 4096, setting
 * A and D as a write would; for read-modify-write and multi-part stores. */
bool mmu_probe_write(struct mmu *u, uint64_t lin, unsigned size, enum mmu_index index);
bool mmu_probe_read(struct mmu *u, uint64_t lin, unsigned size, enum mmu_index index);
/* Fills the TLB for an access to lin that is about to happen. True: a look at the tag of its kind is all
 * that it needs now. A page fault is kept in u->fault for the access: page tables in registers may
 * say something else the next time. If it is not made after all, clear fault.kept. */
bool mmu_fill(struct mmu *u, uint64_t lin, enum mmu_access acc, enum mmu_index index);
/* Host pointer for direct use of lin up to the end of its page, or NULL when the page cannot be
 * accessed directly that way (MMIO, flags set, watched); then *faulted says whether it would fault
 * (u->fault filled). For writes, the pointer is valid until the next call of anything here. */
uint8_t *mmu_host(struct mmu *u, uint64_t lin, enum mmu_access acc, enum mmu_index index,
                  bool *faulted);
/* Host address of [lin, lin+size), within a page, for a locked read-modify-write, as after a write of
 * it; NULL: by mmu_read and mmu_write, with all other CPUs standing still (or *faulted). *flagged: the
 * caller holds the lock over the store and calls physmap_written after it. */
uint8_t *mmu_lock_host(struct mmu *u, uint64_t lin, unsigned size, enum mmu_index index,
                       bool *flagged, bool *faulted);
/* Code fetch: store address of the byte at lin (RA_NONE when it is not in directly mapped memory:
 * then fetch with mmu_fetch_io byte by byte). False with u->fault filled. */
bool mmu_fetch_ra(struct mmu *u, uint64_t lin, enum mmu_index index, uint64_t *ra,
                  uint64_t *paddr);
/* One byte of code from where there is no store address. */
uint8_t mmu_fetch_io(struct mmu *u, uint64_t paddr);

static inline enum mmu_slow mmu_slow_reason(uint32_t seen)
{
    return seen ? (enum mmu_slow)(31 - __builtin_clz(seen)) : MMU_SLOW_OTHER;
}

static inline struct tlb_entry *tlb_slot(struct mmu *u, unsigned index, uint64_t lin)
{
    return &u->tlb->e[index][(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];
}

#endif
