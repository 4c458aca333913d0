/* The block cache. See block.h. */
#include <stdlib.h>

#include "base/hostmem.h"
#include "cpu/block.h"
#include "cpu/decode.h"
#include "cpu/exec.h"
#include "cpu/interp.h"
#include "cpu/jit/jit.h"

#define HASH_BITS 17
#define HASH_SIZE (1u << HASH_BITS)
#define PAGE_HASH_SIZE 4096u
#define INSN_MAX 15u /* bytes of the longest instruction */

/* Which bytes of a page live blocks were decoded from; a few pages at a time, made when the page is
 * first written. Bits of dead blocks may linger until the map is made anew. */
struct code_map {
    uint64_t page;
    uint64_t bits[PAGE_SIZE / 64];
    bool valid;
};
#define CODE_MAPS 64u

/* Where a linear address led last: valid in the address space and TLB generation it was noted in. */
struct jump {
    uint64_t lin, generation;
    const struct tlb *space;
    struct block *to;
};
#define JUMPS 4096u

struct block_cache {
    uint8_t *arena;
    size_t size, used;
    struct block *hash[HASH_SIZE];
    struct block *pages[PAGE_HASH_SIZE];  /* by page of ra */
    struct block *pages2[PAGE_HASH_SIZE]; /* by ra2 */
    struct code_map maps[CODE_MAPS];
    struct jump jumps[JUMPS];
};

static unsigned hash_of(uint64_t ra, uint32_t mode)
{
    return (unsigned)((ra ^ (uint64_t)mode << 40) * 0x9e3779b97f4a7c15ull >> (64 - HASH_BITS));
}

static unsigned page_hash(uint64_t ra)
{
    return (unsigned)(ra >> PAGE_SHIFT) & (PAGE_HASH_SIZE - 1);
}

struct block_cache *block_cache_new(size_t arena_bytes)
{
    struct block_cache *c = hostmem_alloc(sizeof(*c));
    if (!c)
        return NULL;
    c->size = arena_bytes;
    c->arena = hostmem_alloc(arena_bytes);
    if (!c->arena) {
        hostmem_free(c, sizeof(*c));
        return NULL;
    }
    return c;
}

void block_cache_free(struct block_cache *c)
{
    if (!c)
        return;
    hostmem_free(c->arena, c->size);
    hostmem_free(c, sizeof(*c));
}

void blocks_flush(struct cpu *cpu)
{
    struct block_cache *c = cpu->blocks;
    c->used = 0;
    memset(c->hash, 0, sizeof(c->hash));
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
    for (struct block **p = &c->hash[hash_of(b->ra, b->mode)]; *p; p = &(*p)->hash_next) {
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

static void kill(struct cpu *cpu, struct block *b)
{
    struct block_cache *c = cpu->blocks;

    if (b->dead)
        return;
    drop_code(cpu, b);
    b->dead = true;
    unhash(c, b);
    drop_links_in(b);
    drop_link_out(&b->link[0]);
    drop_link_out(&b->link[1]);
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

/* Takes dead blocks out of a page's list and adds the live ones to the map. */
static void sweep(struct block **head, bool second, uint64_t page, struct code_map *m)
{
    for (struct block **p = head; *p;) {
        struct block *b = *p, **next = second ? &b->page2_next : &b->page_next;
        if (b->dead) {
            *p = *next;
            continue;
        }
        map_add_block(m, b, page);
        p = next;
    }
}

static struct code_map *map_make(struct block_cache *c, uint64_t page)
{
    struct code_map *m = map_slot(c, page);
    memset(m, 0, sizeof(*m));
    m->page = page;
    m->valid = true;
    sweep(&c->pages[page_hash(page)], false, page, m);
    sweep(&c->pages2[page_hash(page)], true, page, m);
    return m;
}

static bool code_overlaps(struct cpu *cpu, uint64_t ra, unsigned size)
{
    uint64_t page = align_down(ra, PAGE_SIZE);
    struct code_map *m = map_slot(cpu->blocks, page);
    if (!m->valid || m->page != page)
        m = map_make(cpu->blocks, page);
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

/* Kills the blocks that overlap; the 128-byte lines of the page that live ones still cover, or may. Code
 * that is written is mostly met again in the same place, so the map is left as it is until a write hits
 * nothing. */
static uint32_t code_drop(struct cpu *cpu, uint64_t ra, unsigned size)
{
    struct block_cache *c = cpu->blocks;
    uint64_t page = align_down(ra, PAGE_SIZE), last = ra + size - 1;
    bool hit = false;
    uint32_t lines = 0;

    for (struct block **p = &c->pages[page_hash(page)], *b; (b = *p);) {
        if (b->ra <= last && b->ra + b->bytes > ra) {
            hit |= !b->dead;
            kill(cpu, b);
        }
        if (b->dead)
            *p = b->page_next;
        else
            p = &b->page_next;
    }
    for (struct block *b = c->pages2[page_hash(page)]; b; b = b->page2_next) {
        if (b->ra2 == page) {
            hit |= !b->dead;
            kill(cpu, b);
        }
    }
    struct code_map *m = map_slot(c, page);
    if (!hit || !m->valid || m->page != page)
        m = map_make(c, page);
    for (unsigned k = 0; k < 32; k++)
        lines |= m->bits[2 * k] | m->bits[2 * k + 1] ? 1u << k : 0;
    return lines;
}

void cpu_code_written(struct cpu *const *cpus, unsigned n, uint64_t ra, unsigned size)
{
    uint32_t lines = 0;
    bool overlaps = false;

    for (unsigned k = 0; k < n; k++)
        overlaps |= code_overlaps(cpus[k], ra, size);
    if (!overlaps)
        return;
    for (unsigned k = 0; k < n; k++)
        lines |= code_drop(cpus[k], ra, size);
    physmap_code_set_lines(cpus[0]->env.mem, align_down(ra, PAGE_SIZE), lines);
}

void cpu_view_changed(struct cpu *cpu)
{
    cpu_interrupt(cpu, CPU_FLUSH);
}

/* ---- finding --------------------------------------------------------------------------------- */

static struct block *search(struct block_cache *c, uint64_t ra, uint32_t mode)
{
    for (struct block *b = c->hash[hash_of(ra, mode)]; b; b = b->hash_next)
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
    return search(cpu->blocks, lin + e->addend - (uintptr_t)physmap_host(cpu->env.mem, 0), cpu->mode);
}

static struct block *lookup_slow(struct cpu *cpu, uint64_t lin, struct jump *j)
{
    struct block *b = by_address(cpu, lin);

    if (!b || b->ra2 != RA_NONE)
        return NULL;
    *j = (struct jump){lin, cpu->mmu.generation, cpu->mmu.tlb, b};
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

    if (UNLIKELY(!b || j->lin != lin || j->generation != cpu->mmu.generation ||
                 j->space != cpu->mmu.tlb || b->mode != cpu->mode || b->dead)) {
        b = lookup_slow(cpu, lin, j);
        if (!b)
            return NULL;
    }
    if (!(cpu->mode & (MODE_FLAT | MODE_CODE64)) && rip + b->bytes - 1 > cpu->seg[SEG_CS].limit)
        return NULL;
    return b;
}

/* ---- decoding -------------------------------------------------------------------------------- */

static struct block *arena_alloc(struct block_cache *c)
{
    size_t need = sizeof(struct block) + (BLOCK_MAX + 1) * sizeof(struct insn);
    if (c->used + need > c->size)
        return NULL;
    struct block *b = (struct block *)(void *)(c->arena + c->used);
    memset(b, 0, sizeof(*b));
    return b;
}

static void arena_commit(struct block_cache *c, const struct block *b)
{
    size_t bytes = sizeof(*b) + (b->n + 1u) * sizeof(struct insn);
    c->used += (bytes + 63) & ~(size_t)63;
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
                                       : (uint8_t)physmap_read(cpu->env.mem, paddr + k, 1);
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

    while (b->n < limit && off < 240 && off < avail) {
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

/* The instruction at lin does not end in its page, or its page is not in the store. */
static bool decode_one(struct cpu *cpu, struct block *b, uint64_t lin)
{
    uint8_t bytes[INSN_MAX];
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

static void insert(struct cpu *cpu, struct block *b)
{
    struct block_cache *c = cpu->blocks;
    unsigned h = hash_of(b->ra, b->mode), p = page_hash(b->ra);

    b->hash_next = c->hash[h];
    c->hash[h] = b;
    b->page_next = c->pages[p];
    c->pages[p] = b;
    map_note(c, b, align_down(b->ra, PAGE_SIZE));
    if (b->ra2 != RA_NONE) {
        unsigned p2 = page_hash(b->ra2), head = PAGE_SIZE - (unsigned)(b->ra & (PAGE_SIZE - 1));
        b->page2_next = c->pages2[p2];
        c->pages2[p2] = b;
        map_note(c, b, b->ra2);
        physmap_code_add(cpu->env.mem, b->ra, head);
        physmap_code_add(cpu->env.mem, b->ra2, b->bytes - head);
    } else {
        physmap_code_add(cpu->env.mem, b->ra, MAX(b->bytes, 1));
    }
}

/* In code segments with a limit, the whole block must lie within it. */
static bool within_limit(const struct cpu *cpu, const struct block *b)
{
    if (cpu->mode & (MODE_FLAT | MODE_CODE64))
        return true;
    return cpu->rip + b->bytes - 1 <= cpu->seg[SEG_CS].limit;
}

static struct block *build(struct cpu *cpu, uint64_t lin, uint64_t ra, uint32_t mode)
{
    struct block_cache *c = cpu->blocks;
    struct block *b;

    cpu->stat_block_misses++;
    b = arena_alloc(c);
    if (!b) {
        blocks_flush(cpu);
        b = arena_alloc(c);
    }
    b->ra = ra;
    b->ra2 = RA_NONE;
    b->mode = mode;
    if (ra != RA_NONE)
        decode_run(cpu, b, physmap_host(cpu->env.mem, ra),
                   PAGE_SIZE - (unsigned)(ra & (PAGE_SIZE - 1)));
    if (b->n == 0 && !decode_one(cpu, b, lin))
        return NULL;
    /* Outside the store nothing tells of changes: such a block is used once, and never linked. */
    if (ra == RA_NONE || ((lin & (PAGE_SIZE - 1)) + b->bytes > PAGE_SIZE && b->ra2 == RA_NONE)) {
        b->dead = true;
        return b;
    }
    arena_commit(c, b);
    insert(cpu, b);
    jit_block_made(cpu, b);
    return b;
}

struct block *block_at(struct cpu *cpu, uint64_t ra, uint32_t mode, bool decode)
{
    struct block *b = search(cpu->blocks, ra, mode);

    if (b || !decode || !(b = arena_alloc(cpu->blocks)))
        return b;
    b->ra = ra;
    b->ra2 = RA_NONE;
    b->mode = mode;
    decode_run(cpu, b, physmap_host(cpu->env.mem, ra),
               PAGE_SIZE - (unsigned)(ra & (PAGE_SIZE - 1)));
    if (b->n == 0)
        return NULL;
    arena_commit(cpu->blocks, b);
    insert(cpu, b);
    jit_block_made(cpu, b);
    return b;
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
