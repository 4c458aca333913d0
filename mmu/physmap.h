/* The physical address space: what stands at each guest physical address.
 *
 * All memory with contents (main RAM, video RAM, ROMs) lives in one host mapping, the store;
 * an offset into it is a "ram address" (ra). A region of the address space either maps a run of the
 * store directly, for reading, writing or both, or sends accesses to io_ops. Regions overlap by
 * priority: the highest enabled one is seen. Changing a region rebuilds the flat view and tells the
 * listener, which flushes the TLBs.
 *
 * Each page of the store has flags; a page with any flag set sends the CPUs' writes (or, for
 * watched pages, all accesses) to the slow path: this is how code pages, dirty-tracked pages,
 * snapshots and watchpoints cost nothing where they are not used.
 */
#ifndef MMU_PHYSMAP_H
#define MMU_PHYSMAP_H

#include "base/bits.h"
#include "base/error.h"
#include "base/log.h"

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096u
#define PAGE_MASK (~(uint64_t)(PAGE_SIZE - 1))
#define RA_NONE UINT64_MAX
#define PHYS_ADDR_BITS 40

/* Flags of a store page. */
enum {
    PF_CODE = 1,   /* decoded blocks lie in it: writes look at the line mask */
    PF_TRACK = 2,  /* someone wants to hear of the first write (video RAM) */
    PF_COPY = 4,   /* a save under way has yet to copy it: keeper.before_write comes first */
    PF_ABSENT = 8, /* its contents are still in a snapshot file: keeper.bring_in comes first */
};

struct io_ops;
struct physmap;

struct phys_region {
    const char *name;
    uint64_t base, size; /* page-aligned, except that io regions may have any size and base */
    int priority;        /* higher hides lower; RAM 0, ROM and holes 1, PCI BARs 2, legacy 3 */
    bool enabled;
    uint64_t read_ra;  /* store offset for direct reads and fetches, or RA_NONE */
    uint64_t write_ra; /* store offset for direct writes, or RA_NONE */
    const struct io_ops *ops; /* where not direct; NULL: reads all ones, writes dropped */
    void *opaque;
    struct phys_region *next; /* owned by physmap */
};

/* Told after the flat view changed, and after page flags were newly set (ra page range): write tags of
 * these pages must go. */
struct physmap_listener {
    void *opaque;
    void (*view_changed)(void *opaque);
    void (*flags_set)(void *opaque, uint64_t ra, uint64_t size);
    /* A write hit lines of code in [ra, ra+size): drop the blocks. Also called for DMA. */
    void (*code_written)(void *opaque, uint64_t ra, unsigned size);
};

/* Whoever set PF_COPY and PF_ABSENT. Each function is given a page that has the flag, on the thread
 * that runs the machine, and must clear it, for neighbours too if it likes. */
struct physmap_keeper {
    void *opaque;
    void (*before_write)(void *opaque, uint64_t ra);
    void (*bring_in)(void *opaque, uint64_t ra);
};

/* store_size: all the memory there will ever be, in bytes; ram_size of it, from offset 0, is main
 * RAM. NULL with *err filled if the host has not enough. */
struct physmap *physmap_new(uint64_t store_size, struct log *log, struct error *err);
void physmap_free(struct physmap *m);
void physmap_set_listener(struct physmap *m, const struct physmap_listener *l);
#define PHYSMAP_MAX_CPUS 8
/* How many CPUs there are (1 until told), and whether they run at the same time, on threads: then all
 * functions below belong to whoever holds the board's lock, and the listener sees to it that a page
 * with a new flag leaves the TLBs of CPUs that run (physmap_tlb_forget). Before any code is added.
 * False: no memory. */
bool physmap_set_cpus(struct physmap *m, unsigned cpus, bool shared);

/* Sets aside size bytes (rounded up to pages) of the store, zero; RA_NONE when it is full. */
uint64_t physmap_store_alloc(struct physmap *m, uint64_t size);
/* For what needs no keeper: see physmap_touch. */
uint8_t *physmap_host(const struct physmap *m, uint64_t ra);

/* The caller keeps *r until it is removed. A region may be changed in place between
 * physmap_begin and physmap_commit (they nest); add and remove are such changes by themselves. */
void physmap_add(struct physmap *m, struct phys_region *r);
void physmap_remove(struct physmap *m, struct phys_region *r);
void physmap_begin(struct physmap *m);
void physmap_commit(struct physmap *m);

/* Shorthands that fill *r and add it. */
void physmap_add_ram(struct physmap *m, struct phys_region *r, const char *name, uint64_t base,
                     uint64_t size, uint64_t ra, int priority);
void physmap_add_rom(struct physmap *m, struct phys_region *r, const char *name, uint64_t base,
                     uint64_t size, uint64_t ra, int priority);
void physmap_add_io(struct physmap *m, struct phys_region *r, const char *name, uint64_t base,
                    uint64_t size, const struct io_ops *ops, void *opaque, int priority);

/* What one address meets: a page-bounded piece of the flat view. */
struct phys_page {
    uint64_t read_ra;  /* of the page's first byte, or RA_NONE: use physmap_io_read */
    uint64_t write_ra; /* likewise */
    uint8_t flags;     /* of the write_ra page (0 if none) */
};
/* False if nothing maps the whole page directly for either direction (then both are RA_NONE). */
bool physmap_page(const struct physmap *m, uint64_t paddr, struct phys_page *out);

/* Accesses as a CPU's slow path or a device makes them, any alignment and place; size 1 to 8.
 * Reads of nothing give all ones. Writes to code pages tell the listener. */
uint64_t physmap_read(struct physmap *m, uint64_t paddr, unsigned size);
void physmap_write(struct physmap *m, uint64_t paddr, uint64_t value, unsigned size);
/* DMA: any length. */
void physmap_read_buf(struct physmap *m, uint64_t paddr, void *buf, size_t len);
void physmap_write_buf(struct physmap *m, uint64_t paddr, const void *buf, size_t len);

/* Page flags. Setting a flag on pages that lacked it tells the listener. */
uint8_t physmap_flags(const struct physmap *m, uint64_t ra);
void physmap_flag_set(struct physmap *m, uint64_t ra, uint64_t size, uint8_t flag);
void physmap_flag_clear(struct physmap *m, uint64_t ra, uint64_t size, uint8_t flag);

/* Must be called after any direct store to pages whose flags are not 0 (the CPU's slow path and
 * DMA do): clears PF_TRACK and notes the page dirty, and reports code hits by 128-byte lines. */
void physmap_written(struct physmap *m, uint64_t ra, unsigned size);

/* Must be called before any access to the store by physmap_host or a TLB entry not made by the MMU:
 * contents are brought in, and copied before a write, where a keeper has work to do. */
void physmap_touch(struct physmap *m, uint64_t ra, uint64_t size, bool write);
/* Arms the keeper: pages may have PF_COPY or PF_ABSENT from now on (NULL: no page has). Setting
 * PF_ABSENT needs the TLBs flushed by the caller; PF_COPY does not. */
void physmap_set_keeper(struct physmap *m, const struct physmap_keeper *k);

/* Lines of code of a CPU: 32 lines of 128 bytes a page. Adding the first sets PF_CODE. Where CPUs run at
 * the same time the listener does not hear of that; instead the result has a bit for each whose TLB
 * may still let writes to these pages through. */
unsigned physmap_code_add(struct physmap *m, unsigned cpu, uint64_t ra, unsigned size);
/* Replaces the lines of ra's page by exactly those of mask (bit n: bytes 128n to 128n+127), after
 * blocks have been dropped: a line that keeps its bit costs every later write a search. */
void physmap_code_set_lines(struct physmap *m, unsigned cpu, uint64_t ra, uint32_t mask);
/* The CPUs, one bit each, that have lines in [ra, ra+size), within one page. */
unsigned physmap_code_cpus(const struct physmap *m, uint64_t ra, unsigned size);
/* The TLBs of these CPUs (a bit each) let no writes to these pages through any more. */
void physmap_tlb_forget(struct physmap *m, unsigned cpus, uint64_t ra, uint64_t size);

/* Dirty tracking of a store range, for displays: track arms PF_TRACK; dirty_take says whether the
 * page at ra was written since it was last asked, and arms it again. So that a display can ask for
 * hundreds of pages, the listener hears of those armed again only at physmap_sync, which the run
 * loop calls before CPUs run. */
void physmap_track(struct physmap *m, uint64_t ra, uint64_t size);
bool physmap_dirty_take(struct physmap *m, uint64_t ra);
void physmap_sync(struct physmap *m);

#endif
