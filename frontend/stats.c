/* --stats. Each count is a line: name, number, what to think of it. See docs/tinamou.1. */
#include "frontend/stats.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define TOP 10 /* instructions without code that are named */

static void line(const char *name, uint64_t n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void line(const char *name, uint64_t n, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "%-18s%16" PRIu64, name, n);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

static double per(uint64_t n, uint64_t of)
{
    return of ? (double)n / (double)of : 0;
}

/* "  reason 12, other reason 3", without those that did not happen. */
static void reasons(const char *const *names, const uint64_t *count, unsigned n)
{
    bool any = false;

    for (unsigned k = 0; k < n; k++) {
        if (!count[k])
            continue;
        fprintf(stderr, "%s%s %" PRIu64, any ? ", " : "  ", names[k], count[k]);
        any = true;
    }
    if (any)
        fputc('\n', stderr);
}

static const char *const slow_names[TNM_SLOWS] = {
    [TNM_SLOW_OTHER] = "other",        [TNM_SLOW_FILL] = "no TLB entry",
    [TNM_SLOW_WATCH] = "watched page", [TNM_SLOW_COPY] = "snapshot's page",
    [TNM_SLOW_TRACK] = "tracked page", [TNM_SLOW_CODE] = "page with code",
    [TNM_SLOW_IO] = "no memory",       [TNM_SLOW_CROSS] = "across pages",
    [TNM_SLOW_FAULT] = "faulted",
};
static const char *const exit_names[TNM_EXITS] = {
    [TNM_EXIT_OTHER] = "other",
    [TNM_EXIT_BUDGET] = "end of the slice",
    [TNM_EXIT_PENDING] = "interrupt or stop",
    [TNM_EXIT_END] = "instruction that ends a run",
    [TNM_EXIT_FAULT] = "fault",
    [TNM_EXIT_LINK] = "next block not translated",
    [TNM_EXIT_LOOKUP] = "branch to what is not translated",
    [TNM_EXIT_CODE] = "running code was written",
};

/* Misses of translated code are counted. Its hits are, too, if asked for; or else what is known is how
 * many of the translated instructions have a memory operand, and how many instructions ran. */
static void hit_rate(const tnm_stats *st)
{
    uint64_t misses = st->jit_slow_by[TNM_SLOW_FILL], all = st->jit_accesses;

    if (!all)
        all = (uint64_t)((double)st->jit_insns_run * per(st->jit_memory_insns, st->jit_insns));
    if (all > misses)
        fprintf(stderr, "%-18s%15.4f%%   of %s%" PRIu64 " accesses of translated code\n",
                "TLB hits", 100 * (1 - per(misses, all)), st->jit_accesses ? "" : "about ", all);
}

static void no_code(const tnm_machine *m)
{
    tnm_no_code list[TOP];
    unsigned n = tnm_get_no_code(m, list, TOP);

    for (unsigned k = 0; k < n; k++)
        fprintf(stderr, "  %-16s%16" PRIu64 "%s\n", list[k].name, list[k].count,
                list[k].ends ? "   ends a run" : "");
}

static void translator(const tnm_machine *m, const tnm_stats *st)
{
    line("translated blocks", st->jit_blocks, "   %.1f instructions each, %" PRIu64 " refused",
         per(st->jit_insns, st->jit_blocks), st->jit_refused);
    line("regions", st->jit_regions, "   of several blocks; %.2f on average",
         per(st->jit_parts, st->jit_blocks));
    line("translated code", st->jit_host_bytes,
         "   bytes, %.1f for one of the guest; %.1f without slow ways",
         per(st->jit_host_bytes, st->jit_guest_bytes),
         per(st->jit_main_bytes, st->jit_guest_bytes));
    fprintf(stderr, "translation time  %16.3f   seconds, %.2f us a block\n",
            (double)st->jit_ns / 1e9, per(st->jit_ns, st->jit_blocks) / 1e3);
    line("code cache emptied", st->jit_flushes, "   times");
    line("translations given up", st->jit_evicted, "   for others' room");
    line("x87 units loaded", st->jit_x87_loads, "%s", "");
    line("ran translated", st->jit_insns_run, "   instructions, %.3f%% of all",
         100 * per(st->jit_insns_run, st->insns));
    hit_rate(st);
    line("entries", st->jit_enters, "   %.0f instructions each; ended by",
         per(st->jit_insns_run, st->jit_enters));
    reasons(exit_names, st->jit_exits, TNM_EXITS);
    line("slow instructions", st->jit_slow - st->jit_no_code,
         "   %.3f%% of instructions; their code met", 100 * per(st->jit_slow, st->jit_insns_run));
    reasons(slow_names, st->jit_slow_by, TNM_SLOWS);
    line("branches looked up", st->jit_lookups, "   %.1f%% to code that is not translated",
         100 * per(st->jit_lookup_misses, st->jit_lookups));
    line("links made", st->jit_links, "%s", "");
    line("without code", st->jit_no_code + st->jit_exits[TNM_EXIT_END],
         "   instructions left to the interpreter; most often");
    no_code(m);
}

void stats_print(const struct session *s)
{
    tnm_stats st;
    double idle, mips;

    tnm_get_stats(s->machine, &st);
    mips = session_speed(s, &(tnm_stats){0}, &st, &idle);
    line("instructions", st.insns, "%s", "");
    fprintf(stderr, "MIPS              %16.1f\n", mips);
    line("blocks run", st.blocks, "   %.3f%% from the cache",
         100 * (1 - per(st.block_misses, st.blocks)));
    line("blocks decoded", st.block_misses, "%s", "");
    line("TLB slow paths", st.tlb_slow, "   %.3f%% of instructions without; because of",
         100 * (1 - per(st.tlb_slow, st.insns)));
    reasons(slow_names, st.tlb_slow_by, TNM_SLOWS);
    line("TLB fills", st.tlb_fills, "%s", "");
    line("TLB flushes", st.tlb_flushes, "%s", "");
    line("interrupts", st.interrupts, "%s", "");
    line("exceptions", st.exceptions, "%s", "");
    fprintf(stderr,
            "guest seconds     %16.3f\n"
            "idle              %15.1f%%\n"
            "host seconds      %16.3f\n",
            (double)st.virtual_ns / 1e9, idle * 100, (double)st.host_ns / 1e9);
    if (st.jit_blocks)
        translator(s->machine, &st);
}
