/* Statistics: sums over the vCPUs. */
#include <stdlib.h>

#include "cpu/insn.h"
#include "cpu/jit/jit.h"
#include "machine/machine_int.h"

_Static_assert(TNM_SLOWS == (int)MMU_SLOWS && TNM_SLOW_OTHER == (int)MMU_SLOW_OTHER &&
                   TNM_SLOW_FILL == (int)MMU_SLOW_FILL && TNM_SLOW_CODE == (int)MMU_SLOW_CODE &&
                   TNM_SLOW_FAULT == (int)MMU_SLOW_FAULT,
               "the public names of the MMU's reasons");
_Static_assert(TNM_EXITS == (int)JIT_WHYS && TNM_EXIT_BUDGET == (int)JIT_WHY_BUDGET &&
                   TNM_EXIT_LINK == (int)JIT_WHY_LINK && TNM_EXIT_CODE == (int)JIT_WHY_CODE,
               "the public names of the translator's");

static void add(uint64_t *to, const uint64_t *from, unsigned n)
{
    for (unsigned k = 0; k < n; k++)
        to[k] += from[k];
}

static void add_jit_stats(tnm_stats *out, const struct jit_stats *j)
{
    out->jit_blocks += j->blocks;
    out->jit_insns += j->insns;
    out->jit_guest_bytes += j->guest_bytes;
    out->jit_host_bytes += j->host_bytes;
    out->jit_main_bytes += j->main_bytes;
    out->jit_ns += j->ns;
    out->jit_refused += j->refused;
    out->jit_flushes += j->flushes;
    out->jit_evicted += j->evicted;
    out->jit_parts += j->parts;
    out->jit_regions += j->regions;
    out->jit_memory_insns += j->memory_insns;
    out->jit_insns_run += j->insns_run;
    out->jit_enters += j->enters;
    add(out->jit_exits, j->exits, JIT_WHYS);
    out->jit_slow += j->one;
    out->jit_no_code += j->no_code;
    add(out->jit_slow_by, j->slow, MMU_SLOWS);
    out->jit_ends += j->end;
    out->jit_links += j->links;
    out->jit_lookups += j->lookups;
    out->jit_lookup_misses += j->lookup_misses;
    out->jit_x87_loads += j->x87_loads;
}

void tnm_get_stats(const tnm_machine *m, tnm_stats *out)
{
    *out = (tnm_stats){.insns = machine_insns(m),
                       .host_ns = m->host_ns,
                       .idle_ns = m->idle_ns,
                       .virtual_ns = m->clock.now};
    for (unsigned i = 0; i < m->ncpus; i++) {
        const struct cpu *c = m->cpu[i];
        out->blocks += c->stat_blocks;
        out->block_misses += c->stat_block_misses;
        out->blocks_evicted += blocks_evicted(c->blocks);
        add(out->tlb_slow_by, c->mmu.stat_slow, MMU_SLOWS);
        out->tlb_fills += c->mmu.stat_fills;
        out->tlb_flushes += c->mmu.stat_flushes + c->mmu.stat_page_flushes;
        out->interrupts += c->stat_interrupts;
        out->exceptions += c->stat_exceptions;
        out->jit_accesses += c->tr.accesses;
        if (c->tr.jit)
            add_jit_stats(out, jit_stats(c->tr.jit));
    }
    for (unsigned k = 0; k < TNM_SLOWS; k++)
        out->tlb_slow += out->tlb_slow_by[k];
}

/* ---- instructions without code ----------------------------------------------------------------- */

static uint64_t row_count(const tnm_machine *m, unsigned row, bool ends)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < m->ncpus; i++) {
        if (!m->cpu[i]->tr.jit)
            continue;
        const struct jit_stats *s = jit_stats(m->cpu[i]->tr.jit);
        n += ends ? s->row_end[row] : s->row_one[row];
    }
    return n;
}

static int more_frequent_first(const void *a, const void *b)
{
    uint64_t x = ((const tnm_no_code *)a)->count, y = ((const tnm_no_code *)b)->count;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* Rows of one name are forms of one instruction. */
static void note(tnm_no_code *list, unsigned *n, const char *name, bool ends, uint64_t count)
{
    unsigned k = 0;

    while (k < *n && (list[k].ends != ends || strcmp(list[k].name, name) != 0))
        k++;
    if (k == *n)
        list[(*n)++] = (tnm_no_code){name, 0, ends};
    list[k].count += count;
}

unsigned tnm_get_no_code(const tnm_machine *m, tnm_no_code *out, unsigned n)
{
    tnm_no_code *list = calloc(2 * insn_row_count, sizeof(*list));
    unsigned found = 0;

    if (!list)
        return 0;
    for (unsigned row = 0; row < insn_row_count; row++) {
        for (unsigned ends = 0; ends < 2; ends++) {
            uint64_t count = row_count(m, row, ends);
            if (count)
                note(list, &found, insn_rows[row].name, ends, count);
        }
    }
    qsort(list, found, sizeof(*list), more_frequent_first);
    n = MIN(n, found);
    memcpy(out, list, n * sizeof(*list));
    free(list);
    return n;
}
