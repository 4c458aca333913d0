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

struct jit_stats {
    uint64_t blocks, parts, insns, guest_bytes, host_bytes, flushes;
    uint64_t evicted; /* translations that have given way to others */
    uint64_t ns;      /* spent translating */
    uint64_t refused; /* hot blocks that cannot be translated */
    uint64_t enters, one, end, end_left, fills, broken, links, lookups, lookup_misses;
    uint64_t x87_loads; /* guest x87 registers brought into the host's */
};

/* In that many bytes, code and what is known of it; NULL: no backend for this host, or no such memory. */
#define JIT_MIN (256u * 1024)
struct jit *jit_new(struct cpu *cpu, size_t bytes);
void jit_free(struct jit *j);
const struct jit_stats *jit_stats(const struct jit *j);
/* Entries of a block before it is translated; 1 translates everything at once, single instructions
 * too, for tests. */
void jit_set_threshold(struct jit *j, unsigned entries);

/* The block cache tells: a block has been decoded, is dying, all are gone. */
void jit_block_made(struct cpu *cpu, struct block *b);
/* The code that begins with b goes: nothing leads into it any more. What runs in it must leave soon. */
void jit_drop_code(struct cpu *cpu, struct block *b);
void jit_flush(struct cpu *cpu);

#endif
