/* The block cache: decoded instructions, keyed by store address and mode.
 *
 * A block is a straight run of at most BLOCK_MAX instructions in one page (only a lone instruction
 * may reach into the next), ending at the first branch or instruction with AT_END. A dead block (its
 * code was overwritten) keeps its memory, but every handler in it is replaced by one that leaves, so
 * that a block can die while it runs.
 *
 * Blocks live in an arena of fixed size. When it is full the oldest ones go, as many as the next one
 * needs room, between two runs of blocks: so decoding never waits for more than a few of them.
 *
 * Links lead from the end of a block straight into the next one in the same page and mode; a dying
 * block takes back the links into it.
 */
#ifndef CPU_BLOCK_H
#define CPU_BLOCK_H

#include "cpu/insn.h"

#define BLOCK_MAX 32

struct block_link {
    struct block *to;
    struct block_link *next_in; /* other links into the same block */
};

/* What a look-up needs comes first: half a cache line, and blocks are aligned to that. */
struct block {
    struct block *hash_next;
    uint64_t ra;         /* store address of the first byte */
    const uint8_t *code; /* the host's code, or NULL */
    uint32_t mode;
    uint16_t bytes;
    uint8_t n;           /* instructions, without the sentinel */
    bool dead;

    uint64_t ra2;        /* of the next page, if the block reaches into it; else RA_NONE */
    struct block *page_next;    /* other blocks that begin in the same page */
    struct block **page_at;     /* what leads to this one in that list */
    struct block *page2_next;   /* other blocks that reach into the same second page */
    struct block_link link[2];  /* 0: taken or fall-through, 1: not taken */
    struct block_link *links_in;

    /* Translation, cpu/jit/: the first handler counts entries, asks for it, or enters the code. */
    struct jit_exit *exits_in;  /* of translated blocks that lead straight here */
    insn_fn first_fn;           /* what insn[0].fn is without a translator */
    uint32_t piece;             /* of code memory, if there is code */
    uint32_t unit_lines;        /* 128-byte lines of the page that its instructions lie in */
    uint16_t unit_n;            /* instructions of all blocks that `code` runs through */
    uint16_t heat;              /* entries so far, while it is interpreted */
    bool vec;                   /* the code keeps vector registers in the host's */
    bool no_spans;              /* ... checks every access by itself */
    uint8_t broken;             /* how often a check for several accesses has failed, ... */
    uint64_t broken_since;      /* ... from this instruction on */
    bool x87;                   /* ... and x87 registers */
    bool in_unit;               /* code of other blocks goes on into this one */
    uint64_t seg_rip;           /* segmented code (cpu/jit/): the offset in CS that it is for, */
    uint32_t seg_limit;         /* and the limit of CS */
    uint32_t no_code;           /* bit n: instruction n is always the interpreter's (statistics) */
    struct insn insn[];         /* n, and a sentinel that goes to the next block */
};

#define BLOCK_ARENA_MIN 4096u
/* arena_bytes: at least BLOCK_ARENA_MIN. */
struct block_cache *block_cache_new(size_t arena_bytes);
void block_cache_free(struct block_cache *c);
/* Blocks that have given way to others. */
uint64_t blocks_evicted(const struct block_cache *c);
/* Drops everything. Not while a block runs. */
void blocks_flush(struct cpu *cpu);

/* The block at cpu->rip, decoded now if need be. NULL: a fault has been recorded. mode_extra is
 * or-ed to the key (MODE_SINGLE). Not while a block runs. */
struct block *block_find(struct cpu *cpu, uint32_t mode_extra);
/* The block for rip if it is in the cache and can be entered at once, else NULL; no faults, no
 * decoding: what branches between pages use. */
struct block *block_lookup(struct cpu *cpu, uint64_t rip);
/* The same in flat or 64-bit code, without the memory of where branches led last; also a block that
 * reaches into the next page, of which nothing has been looked up. */
struct block *block_lookup_any(struct cpu *cpu, uint64_t rip);
/* The block at store address ra, not to be entered now. If decode, it is decoded if need be and if it is
 * whole in its page. */
struct block *block_at(struct cpu *cpu, uint64_t ra, uint32_t mode, bool decode);
/* 128-byte lines of its (first) page that b lies in. */
uint32_t block_lines(const struct block *b);
/* Makes link lead to `to`. */
void block_set_link(struct block_link *link, struct block *to);

#endif
