/* The translator: blocks that are entered often become host code.
 *
 * A block is interpreted until it is hot; then a backend translates it, and the handler of its first
 * instruction is replaced by one that enters the code. Code leads on to other translated blocks by
 * links that are patched as they are used, and by a table for indirect branches; it returns to the
 * run loop, with all guest state in struct cpu, when the budget of instructions is used up, when
 * somebody asks (cpu->pending), or where no translated block follows.
 *
 * Whatever the backend has no code for, and every slow case (a TLB miss, MMIO, a fault), is one
 * instruction run by the interpreter from inside the code: so there is one statement of what such
 * cases do. Both engines execute the same instructions and leave the same state.
 *
 * Code memory has a fixed size; when it is full the oldest translations go, one by one, as the next
 * needs their room, and their blocks are interpreted until they are hot again.
 *
 * Without a backend for the host jit_new returns NULL and everything is interpreted.
 */
#ifndef CPU_JIT_JIT_H
#define CPU_JIT_JIT_H

#include "cpu/block.h"

/* Why generated code returned to the run loop. */
enum jit_why {
    JIT_WHY_OTHER,   /* the second page of an instruction moved, unmasked SSE exceptions */
    JIT_WHY_BUDGET,  /* the next block has more instructions than may still be executed */
    JIT_WHY_PENDING, /* an interrupt, or somebody wants the CPU to stop */
    JIT_WHY_END,     /* an instruction that may have changed anything */
    JIT_WHY_FAULT,
    JIT_WHY_LINK,   /* what follows in the same page is not translated */
    JIT_WHY_LOOKUP, /* what an indirect branch or one to another page leads to is not translated */
    JIT_WHY_CODE,   /* the running block was written to */
    JIT_WHYS
};

/* Counted on slow ways only: code that runs undisturbed counts nothing, unless it was made with
 * count_accesses. */
struct jit_stats {
    uint64_t blocks, parts, insns, guest_bytes, host_bytes, flushes;
    uint64_t evicted;    /* translations that have given way to others */
    uint64_t regions;    /* units of several blocks */
    uint64_t main_bytes; /* of host_bytes: all but slow ways and exits */
    uint64_t ns;         /* spent translating */
    uint64_t refused;    /* hot blocks that cannot be translated */
    /* end: instructions that end a run; end_left: ... and nothing translated followed. */
    uint64_t enters, one, end, end_left, fills, broken, links, lookups, lookup_misses;
    uint64_t x87_loads;       /* guest x87 registers brought into the host's */
    uint64_t insns_run;       /* instructions executed from entry to exit */
    uint64_t exits[JIT_WHYS]; /* entries, by how they ended */
    /* Of `one`, slow ways that led back: instructions that have no code, and others by what kept them from
     * theirs. */
    uint64_t no_code, slow[MMU_SLOWS];
    /* By row of insn.def, of what had no code: in the middle of a block, and at its end. */
    uint64_t *row_one, *row_end;
    /* Instructions with a memory operand: translated ones, and executed ones if they are counted. */
    uint64_t memory_insns, accesses;
};

/* In that many bytes, code and what is known of it; NULL: no backend for this host, or no such memory. */
#define JIT_MIN (256u * 1024)
struct jit *jit_new(struct cpu *cpu, size_t bytes);
void jit_free(struct jit *j);
const struct jit_stats *jit_stats(const struct jit *j);
/* Entries of a block before it is translated; 1 translates everything at once, single instructions
 * too, for tests. */
void jit_set_threshold(struct jit *j, unsigned entries);
/* Code made from now on counts the accesses to memory that it makes, at one instruction a block. */
void jit_count_accesses(struct jit *j, bool on);

/* The block cache tells: a block has been decoded, is dying, all are gone. */
void jit_block_made(struct cpu *cpu, struct block *b);
/* The code that begins with b goes: nothing leads into it any more. What runs in it must leave soon. */
void jit_drop_code(struct cpu *cpu, struct block *b);
void jit_flush(struct cpu *cpu);

#endif
