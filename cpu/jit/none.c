/* The translator of hosts that have no backend: none. */
#include "cpu/jit/jit.h"

struct jit *jit_new(struct cpu *cpu, size_t bytes)
{
    return NULL;
}

void jit_free(struct jit *j)
{
}

const struct jit_stats *jit_stats(const struct jit *j)
{
    return NULL;
}

void jit_set_threshold(struct jit *j, unsigned entries)
{
}

void jit_count_accesses(struct jit *j, bool on)
{
}

void jit_block_made(struct cpu *cpu, struct block *b)
{
}

void jit_drop_code(struct cpu *cpu, struct block *b)
{
}

void jit_flush(struct cpu *cpu)
{
}
