/* Two machines side by side: see pair.h. */
#include "frontend/pair.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STEP  1000
#define WHOLE 2000000

void pair_init(struct pair *p, tnm_machine *interp, tnm_machine *jit)
{
    memset(p, 0, sizeof(*p));
    p->interp = interp;
    p->jit = jit;
    p->step = p->coarse = STEP;
    p->whole = WHOLE;
    p->end = UINT64_MAX;
    p->insns = tnm_insns(interp);
    p->whole_at = p->insns;
}

static void tell(const struct pair *p, const char *what)
{
    char text[PAIR_TEXT];

    fprintf(stderr,
            "tinamou: the engines differ in %s: they were the same after instruction %" PRIu64
            ", and are not after %" PRIu64 " interpreted and %" PRIu64
            " translated: report this, with what follows\n",
            what, p->insns, tnm_insns(p->interp), tnm_insns(p->jit));
    for (unsigned n = 0; n < TNM_MAX_CPUS && tnm_cpu_describe(p->interp, n, text, sizeof(text));
         n++) {
        if (p->before[n][0])
            fprintf(stderr, "-- vCPU %u, before, both:\n%s", n, p->before[n]);
        fprintf(stderr, "-- vCPU %u, interpreted:\n%s", n, text);
        tnm_cpu_describe(p->jit, n, text, sizeof(text));
        fprintf(stderr, "-- vCPU %u, translated:\n%s", n, text);
    }
}

static void describe(struct pair *p)
{
    for (unsigned n = 0; n < TNM_MAX_CPUS; n++)
        if (!tnm_cpu_describe(p->interp, n, p->before[n], PAIR_TEXT))
            p->before[n][0] = 0;
}

static bool same(struct pair *p, enum tnm_stop a, enum tnm_stop b)
{
    if (a != b || tnm_exit_status(p->interp) != tnm_exit_status(p->jit)) {
        tell(p, "why they stopped");
        return false;
    }
    if (tnm_insns(p->interp) != tnm_insns(p->jit) ||
        tnm_time_ns(p->interp) != tnm_time_ns(p->jit)) {
        tell(p, "how far they came");
        return false;
    }
    if (tnm_cpu_hash(p->interp) != tnm_cpu_hash(p->jit)) {
        tell(p, "registers");
        return false;
    }
    p->insns = tnm_insns(p->interp);
    if ((a == TNM_STOP_SLICE || a == TNM_STOP_LIMIT) && p->insns < p->whole_at)
        return true;
    p->whole_at = p->insns + p->whole;
    if (tnm_state_hash(p->interp) != tnm_state_hash(p->jit)) {
        tell(p, "memory or devices, though not in registers (some time in the last whole steps)");
        return false;
    }
    return true;
}

/* One step, not beyond guest time `end`. */
static bool step(struct pair *p, uint64_t end, enum tnm_stop *stop)
{
    uint64_t size = p->insns < p->from ? p->coarse : p->step, to = p->insns + size;
    enum tnm_stop other;

    if (p->insns < p->from && to > p->from)
        to = p->from;
    if (to > p->end)
        to = p->end;
    if (size <= STEP)
        describe(p);
    tnm_set_limits(p->interp, 0, to);
    tnm_set_limits(p->jit, 0, to);
    *stop = tnm_run(p->interp, end - tnm_time_ns(p->interp));
    if (*stop == TNM_STOP_REQUEST)
        return true; /* somebody is tired of it: there is nothing to compare */
    other = tnm_run(p->jit, end - tnm_time_ns(p->jit));
    return same(p, *stop, other);
}

bool pair_run(struct pair *p, uint64_t ns, enum tnm_stop *stop)
{
    uint64_t now = tnm_time_ns(p->interp), end = ns < UINT64_MAX - now ? now + ns : UINT64_MAX;

    do {
        if (!step(p, end, stop))
            return false;
    } while (*stop == TNM_STOP_LIMIT && p->insns < p->end && tnm_time_ns(p->interp) < end);
    if (*stop == TNM_STOP_LIMIT && p->insns < p->end)
        *stop = TNM_STOP_SLICE;
    return true;
}
