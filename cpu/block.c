/* The block cache. See block.h. */
#include <stdlib.h>

#include "base/fifo.h"
#include "base/hostmem.h"
#include "cpu/block.h"
#include "cpu/decode.h"
#include "cpu/exec.h"
#include "cpu/interp.h"
#include "cpu/jit/jit.h"

#define HASH_BYTES     256u /* of the arena for each list: fewer than a block has */
#define BLOCK_ALIGN    32u
#define PAGE_HASH_SIZE 4096u
#define INSN_MAX       15u  /* bytes of the longest instruction */
#define BLOCK_BYTES    240u /* no instruction begins after so many */
#define CODE_COPY      (BLOCK_BYTES + INSN_MAX)
#define BUILD_TRIES    4 /* while others write to the code */

/* Which bytes of a page live blocks were decoded from; a few pages at a time, made when the page is
 * first written, and made anew when one of its blocks is no more. */
struct code_map {
    uint64_t page;
    uint64_t bits[PAGE_SIZE / 64];
    bool valid;
};
#define CODE_MAPS 64u

/* Where a linear address led last: valid in the generation of the TLB it was noted in, and as long as the
 * block has its memory. */
struct jump {
    uint64_t lin, generation;
    struct block *to;
    uint64_t time; /* of the block: fifo_time() */
};
#define JUMPS 4096u

struct block_cache {
    uint8_t *arena;
    struct fifo room; /* of the arena */
    uint64_t evicted;
    unsigned hash_bits;
    struct block **hash;
    struct block *pages[PAGE_HASH_SIZE];  /* by page of ra */
    struct block *pages2[PAGE_HASH_SIZE]; /* by ra2 */
    struct code_map maps[CODE_MAPS];
    struct jump jumps[JUMPS];
};

static struct block **hash_of(struct block_cache *c, uint64_t ra, uint32_t mode)
{
    return &c->hash[(ra ^ (uint64_t)mode << 40) * 0x9e3779b97f4a7c15ull >> (64 - c->hash_bits)];
}

static unsigned page_hash(uint64_t ra)
{
    return (unsigned)(ra >> PAGE_SHIFT) & (PAGE_HASH_SIZE - 1);
}

static size_t hash_bytes(const struct block_cache *c)
{
    return sizeof(struct block *) << c->hash_bits;
}

struct block_cache *block_cache_new(size_t arena_bytes)
{
    struct block_cache *c = hostmem_alloc(sizeof(*c));
    if (!c)
        return NULL;
    fifo_init(&c->room, arena_bytes);
    c->arena = hostmem_alloc_huge(arena_bytes);
    c->hash_bits = 63u - (unsigned)__builtin_clzll(arena_bytes / HASH_BYTES);
    c->hash = hostmem_alloc_huge(hash_bytes(c));
    if (!c->arena || !c->hash) {
        block_cache_free(c);
        return NULL;
    }
    return c;
}

void block_cache_free(struct block_cache *c)
{
    if (!c)
        return;
    if (c->arena)
        hostmem_free(c->arena, c->room.size);
    if (c->hash)
        hostmem_free(c->hash, hash_bytes(c));
    hostmem_free(c, sizeof(*c));
}

uint64_t blocks_evicted(const struct block_cache *c)
{
    return c->evicted;
}

static void no_code_in(struct cpu *cpu, uint64_t page)
{
    if (cpu->env.parallel)
        cpu->env.enter(cpu->env.opaque);
    physmap_code_set_lines(cpu->env.mem, cpu->index, page, 0);
    if (cpu->env.parallel)
        cpu->env.leave(cpu->env.opaque);
}

static void disarm_pages(struct cpu *cpu)
{
    struct block_cache *c = cpu->blocks;

    for (unsigned k = 0; k < PAGE_HASH_SIZE; k++) {
        for (const struct block *b = c->pages[k]; b; b = b->page_next)
            no_code_in(cpu, align_down(b->ra, PAGE_SIZE));
        for (const struct block *b = c->pages2[k]; b; b = b->page2_next)
            no_code_in(cpu, b->ra2);
    }
}

void blocks_flush(struct cpu *cpu)
{
    struct block_cache *c = cpu->blocks;
    disarm_pages(cpu);
    fifo_init(&c->room, c->room.size);
    memset(c->hash, 0, hash_bytes(c));
    memset(c->pages, 0, sizeof(c->pages));
    memset(c->pages2, 0, sizeof(c->pages2));
    memset(c->jumps, 0, sizeof(c->jumps));
    for (unsigned k = 0; k < CODE_MAPS; k++)
        c->maps[k].valid = false;
    cpu->blk = NULL;
    jit_flush(cpu);
}

/* ---- links ----------------------------------------------------------------------------------- */

void block_set_link(struct block_link *link, struct block *to)
{
    CHECK(!link->to && !to->dead);
    link->to = to;
    link->next_in = to->links_in;
    to->links_in = link;
}

static void drop_links_in(struct block *b)
{
    while (b->links_in) {
        struct block_link *l = b->links_in;
        b->links_in = l->next_in;
        l->to = NULL;
        l->next_in = NULL;
    }
}

static void drop_link_out(struct block_link *link)
{
    if (!link->to)
        return;
    for (struct block_link **p = &link->to->links_in; *p; p = &(*p)->next_in) {
        if (*p == link) {
            *p = link->next_in;
            break;
        }
    }
    link->to = NULL;
    link->next_in = NULL;
}

/* ---- death ----------------------------------------------------------------------------------- */

static void unhash(struct block_cache *c, struct block *b)
{
    for (struct block **p = hash_of(c, b->ra, b->mode); *p; p = &(*p)->hash_next) {
        if (*p == b) {
            *p = b->hash_next;
            return;
        }
    }
}

uint32_t block_lines(const struct block *b)
{
    unsigned first = (unsigned)(b->ra & (PAGE_SIZE - 1)) / 128;
    unsigned last = ((unsigned)(b->ra & (PAGE_SIZE - 1)) + MAX(b->bytes, 1u) - 1) / 128;

    return (uint32_t)(((1ull << (MIN(last, 31u) + 1)) - 1) & ~((1ull << first) - 1));
}

/* Translated code that runs through b, of whichever block. */
static void drop_code(struct cpu *cpu, struct block *b)
{
    uint64_t page = align_down(b->ra, PAGE_SIZE);
    uint32_t lines = block_lines(b);

    jit_drop_code(cpu, b);
    if (!b->in_unit)
        return;
    for (struct block *h = cpu->blocks->pages[page_hash(b->ra)]; h; h = h->page_next)
        if (h->code && align_down(h->ra, PAGE_SIZE) == page && (h->unit_lines & lines))
            jit_drop_code(cpu, h);
}

static void unlist(struct block_cache *c, struct block *b)
{
    *b->page_at = b->page_next;
    if (b->page_next)
        b->page_next->page_at = b->page_at;
    if (b->ra2 == RA_NONE)
        return;
    for (struct block **p = &c->pages2[page_hash(b->ra2)]; *p; p = &(*p)->page2_next) {
        if (*p == b) {
            *p = b->page2_next;
            return;
        }
    }
}

/* Nothing leads to b any more, nor counts it. */
static void detach(struct cpu *cpu, struct block *b)
{
    drop_code(cpu, b);
    b->dead = true;
    unhash(cpu->blocks, b);
    unlist(cpu->blocks, b);
    drop_links_in(b);
    drop_link_out(&b->link[0]);
    drop_link_out(&b->link[1]);
}

/* It may be running. */
static void kill(struct cpu *cpu, struct block *b)
{
    detach(cpu, b);
    for (unsigned k = 0; k <= b->n; k++)
        b->insn[k].fn = interp_leave_dead;
}

static struct code_map *map_slot(struct block_cache *c, uint64_t page)
{
    return &c->maps[(page >> PAGE_SHIFT) & (CODE_MAPS - 1)];
}

/* Sets the bits of [from, to), offsets in the page. */
static void map_add(struct code_map *m, unsigned from, unsigned to)
{
    for (unsigned k = from, n; k < to; k += n) {
        n = MIN(64 - k % 64, to - k);
        m->bits[k / 64] |= ~0ull >> (64 - n) << (k % 64);
    }
}

static void map_add_block(struct code_map *m, const struct block *b, uint64_t page)
{
    unsigned start = (unsigned)(b->ra & (PAGE_SIZE - 1)), bytes = MAX(b->bytes, 1u);
    if (align_down(b->ra, PAGE_SIZE) == page)
        map_add(m, start, MIN(start + bytes, PAGE_SIZE));
    if (b->ra2 == page)
        map_add(m, 0, start + bytes - PAGE_SIZE);
}

static struct code_map *map_make(struct block_cache *c, uint64_t page)
{
    struct code_map *m = map_slot(c, page);
    memset(m, 0, sizeof(*m));
    m->page = page;
    m->valid = true;
    for (const struct block *b = c->pages[page_hash(page)]; b; b = b->page_next)
        map_add_block(m, b, page);
    for (const struct block *b = c->pages2[page_hash(page)]; b; b = b->page2_next)
        map_add_block(m, b, page);
    return m;
}

static struct code_map *map_of(struct block_cache *c, uint64_t page)
{
    struct code_map *m = map_slot(c, page);
    return m->valid && m->page == page ? m : map_make(c, page);
}

/* Which of these 128-byte lines of the page live blocks cover. */
static uint32_t code_lines(struct block_cache *c, uint64_t page, uint32_t of)
{
    const struct code_map *m = map_of(c, page);
    uint32_t lines = 0;

    for (; of; of &= of - 1) {
        unsigned k = (unsigned)__builtin_ctz(of);
        lines |= m->bits[2 * k] | m->bits[2 * k + 1] ? 1u << k : 0;
    }
    return lines;
}

static bool code_overlaps(struct cpu *cpu, uint64_t ra, unsigned size)
{
    uint64_t page = align_down(ra, PAGE_SIZE);
    const struct code_map *m = map_of(cpu->blocks, page);
    for (unsigned k = (unsigned)(ra - page); k < ra - page + size; k++) {
        if (k % 64 == 0 && ra - page + size - k >= 64) { /* DMA: word by word */
            if (m->bits[k / 64])
                return true;
            k += 63;
        } else if (m->bits[k / 64] >> (k % 64) & 1) {
            return true;
        }
    }
    return false;
}

/* Kills the blocks that overlap. */
static void code_drop(struct cpu *cpu, uint64_t ra, unsigned size)
{
    struct block_cache *c = cpu->blocks;
    uint64_t page = align_down(ra, PAGE_SIZE), last = ra + size - 1;
    struct block *next;

    for (struct block *b = c->pages[page_hash(page)]; b; b = next) {
        next = b->page_next;
        if (b->ra <= last && b->ra + b->bytes > ra)
            kill(cpu, b);
    }
    for (struct block *b = c->pages2[page_hash(page)]; b; b = next) {
        next = b->page2_next;
        if (b->ra2 == page)
            kill(cpu, b);
    }
    map_slot(c, page)->valid = false;
}

void cpu_code_written(struct cpu *const *cpus, unsigned n, uint64_t ra, unsigned size)
{
    uint64_t page = align_down(ra, PAGE_SIZE);
    uint32_t hit = (2u << ((ra + size - 1 - page) >> 7)) - (1u << ((ra - page) >> 7));

    for (unsigned k = 0; k < n; k++) {
        struct block_cache *c = cpus[k]->blocks;
        bool overlaps = code_overlaps(cpus[k], ra, size);
        if (overlaps)
            code_drop(cpus[k], ra, size);
        /* Data beside code stay as they are; but of lines that have no code left no write is told again. */
        if (overlaps || code_lines(c, page, hit) != hit)
            physmap_code_set_lines(cpus[k]->env.mem, cpus[k]->index, page,
                                   code_lines(c, page, UINT32_MAX));
    }
}

void cpu_view_changed(struct cpu *cpu)
{
    cpu_interrupt(cpu, CPU_FLUSH);
}

/* ---- finding --------------------------------------------------------------------------------- */

static struct block *search(struct block_cache *c, uint64_t ra, uint32_t mode)
{
    for (struct block *b = *hash_of(c, ra, mode); b; b = b->hash_next)
        if (b->ra == ra && b->mode == mode)
            return b;
    return NULL;
}

static uint64_t code_linear(const struct cpu *cpu, uint64_t rip)
{
    uint64_t lin = rip + cpu->seg_base[SEG_CS];
    return cpu->mode & MODE_CODE64 ? lin : (uint32_t)lin;
}

static struct block *by_address(struct cpu *cpu, uint64_t lin)
{
    const struct tlb_entry *e = &cpu->tlb[(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];

    if (e->exec != (lin & PAGE_MASK))
        return NULL;
    return search(cpu->blocks, lin + e->addend - (uintptr_t)physmap_host(cpu->env.mem, 0),
                  cpu->mode);
}

static struct block *lookup_slow(struct cpu *cpu, uint64_t lin, struct jump *j)
{
    struct block_cache *c = cpu->blocks;
    struct block *b = by_address(cpu, lin);

    if (!b || b->ra2 != RA_NONE)
        return NULL;
    *j = (struct jump){lin, cpu->mmu.tlb->generation, b,
                       fifo_time(&c->room, (size_t)((uint8_t *)b - c->arena))};
    return b;
}

struct block *block_lookup_any(struct cpu *cpu, uint64_t rip)
{
    struct block *b = block_lookup(cpu, rip);

    return b ? b : by_address(cpu, code_linear(cpu, rip));
}

struct block *block_lookup(struct cpu *cpu, uint64_t rip)
{
    uint64_t lin = code_linear(cpu, rip);
    struct jump *j = &cpu->blocks->jumps[(lin ^ lin >> 12) & (JUMPS - 1)];
    struct block *b = j->to;

    if (UNLIKELY(!b || j->lin != lin || j->generation != cpu->mmu.tlb->generation ||
                 j->time < fifo_oldest(&cpu->blocks->room) || b->mode != cpu->mode || b->dead)) {
        b = lookup_slow(cpu, lin, j);
        if (!b)
            return NULL;
    }
    if (!(cpu->mode & (MODE_FLAT | MODE_CODE64)) && rip + b->bytes - 1 > cpu->seg[SEG_CS].limit)
        return NULL;
    return b;
}

/* ---- decoding -------------------------------------------------------------------------------- */

static size_t block_bytes(unsigned insns)
{
    return (sizeof(struct block) + (insns + 1u) * sizeof(struct insn) + BLOCK_ALIGN - 1) &
           ~(size_t)(BLOCK_ALIGN - 1);
}

static bool page_has_blocks(const struct block_cache *c, uint64_t page)
{
    for (const struct block *b = c->pages[page_hash(page)]; b; b = b->page_next)
        if (align_down(b->ra, PAGE_SIZE) == page)
            return true;
    for (const struct block *b = c->pages2[page_hash(page)]; b; b = b->page2_next)
        if (b->ra2 == page)
            return true;
    return false;
}

/* One of the page's blocks has gone, without a write. */
static void page_lost(struct cpu *cpu, uint64_t page)
{
    struct code_map *m = map_slot(cpu->blocks, page);

    if (m->page == page)
        m->valid = false;
    if (!page_has_blocks(cpu->blocks, page))
        no_code_in(cpu, page);
}

static void evict_oldest(struct cpu *cpu)
{
    struct block_cache *c = cpu->blocks;
    struct block *b = (struct block *)(void *)(c->arena + c->room.tail);

    if (!b->dead) {
        detach(cpu, b);
        page_lost(cpu, align_down(b->ra, PAGE_SIZE));
        if (b->ra2 != RA_NONE)
            page_lost(cpu, b->ra2);
        c->evicted++;
    }
    fifo_give(&c->room, block_bytes(b->n));
}

/* NULL: there is no room, and while a block runs none is made. */
static struct block *arena_alloc(struct cpu *cpu)
{
    struct block_cache *c = cpu->blocks;
    struct block *b;

    while (!fifo_room(&c->room, block_bytes(BLOCK_MAX))) {
        if (cpu->blk)
            return NULL;
        evict_oldest(cpu);
    }
    b = (struct block *)(void *)(c->arena + c->room.head);
    memset(b, 0, sizeof(*b));
    return b;
}

/* Up to 15 bytes at lin that may cross into another page. How many could be had before a fault
 * (then *fault is true, recorded only in mmu.fault). */
static unsigned fetch_bytes(struct cpu *cpu, uint64_t lin, uint8_t *buf, uint64_t *ra2, bool *fault)
{
    unsigned n = 0;
    *fault = false;
    *ra2 = RA_NONE;
    while (n < INSN_MAX) {
        uint64_t at = code_linear(cpu, lin - cpu->seg_base[SEG_CS] + n), ra, paddr;
        unsigned run = MIN(INSN_MAX - n, PAGE_SIZE - (unsigned)(at & (PAGE_SIZE - 1)));
        if (!mmu_fetch_ra(&cpu->mmu, at, (enum mmu_index)cpu->mmu_index, &ra, &paddr)) {
            *fault = true;
            return n;
        }
        if (n > 0)
            *ra2 = ra == RA_NONE ? RA_NONE : align_down(ra, PAGE_SIZE);
        for (unsigned k = 0; k < run; k++)
            buf[n + k] = ra != RA_NONE ? physmap_host(cpu->env.mem, ra)[k]
                                       : mmu_fetch_io(&cpu->mmu, paddr + k);
        n += run;
    }
    return n;
}

static void make_raiser(struct block *b, struct insn *i, unsigned off, insn_fn fn)
{
    memset(i, 0, sizeof(*i));
    i->off = (uint8_t)off;
    i->len = 1;
    i->fn = fn;
    b->n++;
}

static void finish(struct cpu *cpu, struct block *b, unsigned bytes)
{
    struct insn *s = &b->insn[b->n];
    memset(s, 0, sizeof(*s));
    s->off = (uint8_t)bytes;
    s->idx = b->n;
    s->fn = interp_fall_through;
    b->bytes = (uint16_t)bytes;
}

/* Decodes from code, which has avail bytes up to the end of its page. */
static void decode_run(struct cpu *cpu, struct block *b, const uint8_t *code, unsigned avail)
{
    unsigned off = 0, limit = b->mode & (MODE_SINGLE | MODE_TRACE) ? 1 : BLOCK_MAX;
    struct decode_result res;

    while (b->n < limit && off < BLOCK_BYTES && off < avail) {
        struct insn *i = &b->insn[b->n];
        bool ok = insn_decode(cpu, code + off, avail - off, off, i, &res);
        i->idx = b->n;
        if (!ok) {
            if (res.need_more || b->n > 0)
                break; /* met again as the first of its own block */
            make_raiser(b, i, off, res.too_long ? interp_raise_gp : interp_raise_ud);
            off += MIN(avail - off, INSN_MAX); /* any of them may make it an instruction */
            break;
        }
        interp_bind(cpu, i);
        off += i->len;
        b->n++;
        if (insn_row(i)->attr & AT_END)
            break;
    }
    finish(cpu, b, off);
}

/* The instruction at lin does not end in its page, or its page is not in the store. Its bytes go to
 * `bytes`. */
static bool decode_one(struct cpu *cpu, struct block *b, uint64_t lin, uint8_t *bytes)
{
    uint64_t ra2;
    bool fault;
    struct decode_result res;
    unsigned avail = fetch_bytes(cpu, lin, bytes, &ra2, &fault);
    struct insn *i = &b->insn[0];

    b->n = 0;
    if (!insn_decode(cpu, bytes, avail, 0, i, &res)) {
        if (fault && (res.need_more || avail == 0))
            return cpu_raise_mmu(cpu, SEG_CS);
        make_raiser(b, i, 0, res.too_long ? interp_raise_gp : interp_raise_ud);
        b->ra2 = (lin & (PAGE_SIZE - 1)) + avail > PAGE_SIZE ? ra2 : RA_NONE;
        finish(cpu, b, avail);
        return true;
    }
    interp_bind(cpu, i);
    b->n = 1;
    b->ra2 = (lin & (PAGE_SIZE - 1)) + i->len > PAGE_SIZE ? ra2 : RA_NONE;
    finish(cpu, b, i->len);
    return true;
}

static void map_note(struct block_cache *c, const struct block *b, uint64_t page)
{
    struct code_map *m = map_slot(c, page);
    if (m->valid && m->page == page)
        map_add_block(m, b, page);
}

/* From now on this CPU hears of writes to [ra, ra+size), also of those of CPUs that run meanwhile:
 * these leave what they are at before their write tags are taken away. */
static void arm(struct cpu *cpu, uint64_t ra, unsigned size)
{
    struct physmap *mem = cpu->env.mem;
    uint64_t page = align_down(ra, PAGE_SIZE);
    unsigned cpus;

    if (!cpu->env.parallel) {
        physmap_code_add(mem, cpu->index, ra, size);
        return;
    }
    cpu->env.enter(cpu->env.opaque);
    cpus = physmap_code_add(mem, cpu->index, ra, size);
    cpu->env.leave(cpu->env.opaque);
    if (UNLIKELY(cpus))
        cpu->env.protect(cpu->env.opaque, cpus, page, PAGE_SIZE);
}

static void insert(struct cpu *cpu, struct block *b)
{
    struct block_cache *c = cpu->blocks;
    struct block **h = hash_of(c, b->ra, b->mode);
    unsigned p = page_hash(b->ra);

    b->hash_next = *h;
    *h = b;
    b->page_next = c->pages[p];
    b->page_at = &c->pages[p];
    if (b->page_next)
        b->page_next->page_at = &b->page_next;
    c->pages[p] = b;
    map_note(c, b, align_down(b->ra, PAGE_SIZE));
    if (b->ra2 != RA_NONE) {
        unsigned p2 = page_hash(b->ra2), head = PAGE_SIZE - (unsigned)(b->ra & (PAGE_SIZE - 1));
        b->page2_next = c->pages2[p2];
        c->pages2[p2] = b;
        map_note(c, b, b->ra2);
        arm(cpu, b->ra, head);
        arm(cpu, b->ra2, b->bytes - head);
    } else {
        arm(cpu, b->ra, MAX(b->bytes, 1));
    }
}

/* In code segments with a limit, the whole block must lie within it. */
static bool within_limit(const struct cpu *cpu, const struct block *b)
{
    if (cpu->mode & (MODE_FLAT | MODE_CODE64))
        return true;
    return cpu->rip + b->bytes - 1 <= cpu->seg[SEG_CS].limit;
}

/* Whether b's bytes in memory are still those it was decoded from. */
static bool unchanged(const struct cpu *cpu, const struct block *b, const uint8_t *code)
{
    unsigned head = MIN(b->bytes, PAGE_SIZE - (unsigned)(b->ra & (PAGE_SIZE - 1)));

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return !memcmp(code, physmap_host(cpu->env.mem, b->ra), head) &&
           (b->bytes == head ||
            !memcmp(code + head, physmap_host(cpu->env.mem, b->ra2), b->bytes - head));
}

/* With CPUs on threads the code may change under the decoder, which therefore reads a copy. When the page
 * is armed the two are compared. */
static const uint8_t *code_at(const struct cpu *cpu, uint64_t ra, uint8_t copy[CODE_COPY])
{
    const uint8_t *code = physmap_host(cpu->env.mem, ra);
    unsigned avail = PAGE_SIZE - (unsigned)(ra & (PAGE_SIZE - 1));

    return cpu->env.parallel ? memcpy(copy, code, MIN(avail, CODE_COPY)) : code;
}

/* b is in the cache from now on. False: it has died of a change at once. */
static bool keep(struct cpu *cpu, struct block *b, const uint8_t *copy)
{
    fifo_take(&cpu->blocks->room, block_bytes(b->n));
    insert(cpu, b);
    if (cpu->env.parallel && !unchanged(cpu, b, copy)) {
        kill(cpu, b);
        return false;
    }
    jit_block_made(cpu, b);
    return true;
}

/* Decodes what is at lin. *died: it changed meanwhile. last: make no more of it, use it once. */
static struct block *decode(struct cpu *cpu, uint64_t lin, uint64_t ra, uint32_t mode, bool last,
                            bool *died)
{
    uint8_t copy[CODE_COPY];
    struct block *b = arena_alloc(cpu);

    *died = false;
    CHECK(b);
    b->ra = ra;
    b->ra2 = RA_NONE;
    b->mode = mode;
    if (ra != RA_NONE)
        decode_run(cpu, b, code_at(cpu, ra, copy), PAGE_SIZE - (unsigned)(ra & (PAGE_SIZE - 1)));
    if (b->n == 0 && !decode_one(cpu, b, lin, copy))
        return NULL;
    /* Outside the store nothing tells of changes: such a block is used once, and never linked. */
    if (last || ra == RA_NONE ||
        ((lin & (PAGE_SIZE - 1)) + b->bytes > PAGE_SIZE && b->ra2 == RA_NONE)) {
        b->dead = true;
        return b;
    }
    *died = !keep(cpu, b, copy);
    return b;
}

static struct block *build(struct cpu *cpu, uint64_t lin, uint64_t ra, uint32_t mode)
{
    struct block *b;
    bool died = true;

    cpu->stat_block_misses++;
    for (unsigned n = 1; died; n++)
        b = decode(cpu, lin, ra, mode, n == BUILD_TRIES, &died);
    return b;
}

struct block *block_at(struct cpu *cpu, uint64_t ra, uint32_t mode, bool decode)
{
    struct block *b = search(cpu->blocks, ra, mode);
    uint8_t copy[CODE_COPY];

    if (b || !decode || !(b = arena_alloc(cpu)))
        return b;
    b->ra = ra;
    b->ra2 = RA_NONE;
    b->mode = mode;
    decode_run(cpu, b, code_at(cpu, ra, copy), PAGE_SIZE - (unsigned)(ra & (PAGE_SIZE - 1)));
    if (b->n == 0)
        return NULL;
    return keep(cpu, b, copy) ? b : NULL;
}

struct block *block_find(struct cpu *cpu, uint32_t mode_extra)
{
    uint64_t lin = code_linear(cpu, cpu->rip), ra, paddr, ra2;
    uint32_t mode = cpu->mode | mode_extra;
    struct block *b;

    if (!(cpu->mode & (MODE_FLAT | MODE_CODE64)) && cpu->rip > cpu->seg[SEG_CS].limit) {
        cpu_gp0(cpu);
        return NULL;
    }
    if (!mmu_fetch_ra(&cpu->mmu, lin, (enum mmu_index)cpu->mmu_index, &ra, &paddr)) {
        cpu_raise_mmu(cpu, SEG_CS);
        return NULL;
    }
    b = ra == RA_NONE ? NULL : search(cpu->blocks, ra, mode);
    if (b && b->ra2 != RA_NONE) {
        uint64_t next = code_linear(cpu, cpu->rip + b->bytes - 1);
        if (!mmu_fetch_ra(&cpu->mmu, next, (enum mmu_index)cpu->mmu_index, &ra2, &paddr)) {
            cpu_raise_mmu(cpu, SEG_CS);
            return NULL;
        }
        if (ra2 == RA_NONE || align_down(ra2, PAGE_SIZE) != b->ra2) {
            kill(cpu, b);
            b = NULL;
        }
    }
    if (!b)
        b = build(cpu, lin, ra, mode);
    if (b && !within_limit(cpu, b)) {
        if (!(mode & MODE_SINGLE))
            return block_find(cpu, mode_extra | MODE_SINGLE);
        cpu_gp0(cpu);
        return NULL;
    }
    return b;
}
