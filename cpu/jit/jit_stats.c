/* The translator's statistics: ways out of generated code and what they were for. Everything here is
 * called where generated code has been left already, and costs little next to that.
 */
#include <stdlib.h>

#include "cpu/jit/jit_int.h"

#define NEAR_END (4 * BLOCK_MAX) /* so few instructions left, and it was the budget */

bool jit_stats_init(struct jit *j)
{
    j->stats.row_one = calloc(insn_row_count, sizeof(uint64_t));
    j->stats.row_end = calloc(insn_row_count, sizeof(uint64_t));
    return j->stats.row_one && j->stats.row_end;
}

void jit_stats_fini(struct jit *j)
{
    free(j->stats.row_one);
    free(j->stats.row_end);
}

const struct jit_stats *jit_stats(const struct jit *j)
{
    return &j->stats;
}

void jit_count_accesses(struct jit *j, bool on)
{
    j->count_accesses = on;
}

/* Whoever moves the end of a slice moves both. */
static uint64_t executed(const struct cpu *cpu)
{
    return (uint64_t)(cpu->slice - cpu->budget);
}

void jit_stats_enter(struct cpu *cpu)
{
    struct jit_stats *s = &cpu->tr.jit->stats;

    cpu->tr.jit->why = JIT_WHY_OTHER;
    s->enters++;
    s->insns_run -= executed(cpu);
}

/* What generated code does by itself, it does not say: it has used up the budget or looked at
 * `pending`. */
void jit_stats_left(struct cpu *cpu)
{
    struct jit *j = cpu->tr.jit;
    enum jit_why why = j->why;

    if (why == JIT_WHY_OTHER && cpu_is_due(cpu))
        why = JIT_WHY_PENDING;
    else if (why == JIT_WHY_OTHER && cpu->budget < NEAR_END)
        why = JIT_WHY_BUDGET;
    j->stats.exits[why]++;
    j->stats.insns_run += executed(cpu);
}

void jit_stats_why(struct cpu *cpu, enum jit_why why)
{
    cpu->tr.jit->why = cpu_is_due(cpu) ? JIT_WHY_PENDING : why;
}

static bool has_code(const struct block *b, const struct insn *i)
{
    return !(b->no_code >> i->idx & 1);
}

void jit_stats_one(struct cpu *cpu, const struct block *b, const struct insn *i, uint32_t seen)
{
    struct jit_stats *s = &cpu->tr.jit->stats;

    s->one++;
    if (has_code(b, i)) {
        s->slow[mmu_slow_reason(seen)]++;
    } else {
        s->no_code++;
        s->row_one[i->row]++;
    }
}

void jit_stats_end(struct cpu *cpu, const struct block *b, const struct insn *i, bool left)
{
    struct jit *j = cpu->tr.jit;

    j->stats.end++;
    if (!has_code(b, i))
        j->stats.row_end[i->row]++;
    if (!left)
        return;
    j->stats.end_left++;
    j->why = cpu->exc_vector != EXC_NONE ? JIT_WHY_FAULT : JIT_WHY_END;
}
