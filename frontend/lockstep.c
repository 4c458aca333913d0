/* --engine lockstep: the same machine twice, interpreted and translated, a few instructions of the one and
 * as many of the other, compared. Stops at the first difference and tells both states. For finding
 * faults of the translator; the guest gets no input.
 */
#include <inttypes.h>
#include <stdio.h>

#include "frontend/session.h"

#define STEP       1000    /* instructions */
#define WHOLE      2000000 /* ... between comparisons of memory and devices */
#define TEXT_BYTES 8192

struct pair {
    tnm_machine *interp, *jit;
    uint64_t insns;
    char before[TEXT_BYTES]; /* the state that both had last */
};

/* Runs to that many instructions; false if the guest has come to an end. */
static bool run_to(tnm_machine *m, uint64_t insns, enum tnm_stop *stop)
{
    tnm_set_limits(m, 0, insns);
    do
        *stop = tnm_run(m, UINT64_MAX);
    while (*stop == TNM_STOP_SLICE);
    return *stop == TNM_STOP_LIMIT;
}

static void tell(struct pair *p, const char *what)
{
    char text[TEXT_BYTES];

    fprintf(stderr,
            "tinamou: the engines differ in %s between instructions %" PRIu64 " and %" PRIu64
            ": report this, with what follows\n-- before, both:\n%s",
            what, p->insns, p->insns + STEP, p->before);
    tnm_cpu_describe(p->interp, 0, text, sizeof(text));
    fprintf(stderr, "-- after, interpreted:\n%s", text);
    tnm_cpu_describe(p->jit, 0, text, sizeof(text));
    fprintf(stderr, "-- after, translated:\n%s", text);
}

/* True to go on. */
static bool step(struct pair *p, int *status)
{
    enum tnm_stop a, b;
    bool go_on;

    tnm_cpu_describe(p->interp, 0, p->before, sizeof(p->before));
    go_on = run_to(p->interp, p->insns + STEP, &a);
    run_to(p->jit, p->insns + STEP, &b);
    *status = STATUS_FAILED;
    if (a != b) {
        tell(p, "how they ended");
        return false;
    }
    if (tnm_cpu_hash(p->interp) != tnm_cpu_hash(p->jit)) {
        tell(p, "registers");
        return false;
    }
    p->insns += STEP;
    if ((!go_on || p->insns % WHOLE == 0) && tnm_state_hash(p->interp) != tnm_state_hash(p->jit)) {
        tell(p, "memory or devices, though not in registers; in the last 2000000 instructions or");
        return false;
    }
    *status = a == TNM_STOP_EXIT ? tnm_exit_status(p->interp) : 0;
    return go_on;
}

int run_lockstep(const struct options *opt)
{
    struct session s;
    struct pair p = {0};
    tnm_error err;
    int status = 0;

    for (unsigned n = 0; n < opt->cfg.ndisks; n++) {
        if (!opt->cfg.disks[n].discard && !opt->cfg.disks[n].readonly) {
            fprintf(stderr, "tinamou: two machines cannot write %s: add ,discard=on to the disk\n",
                    opt->cfg.disks[n].path);
            return STATUS_FAILED;
        }
    }
    if (!session_open(&s, opt))
        return STATUS_FAILED;
    p.interp = s.machine;
    p.jit = session_twin(&s, TNM_ENGINE_AUTO, &err);
    if (!p.jit) {
        fprintf(stderr, "tinamou: %s\n", err.text);
        session_close(&s);
        return STATUS_FAILED;
    }
    p.insns = tnm_insns(p.interp);
    uint64_t end = opt->limit_insns ? p.insns + opt->limit_insns : UINT64_MAX;
    while (p.insns < end && step(&p, &status))
        if (opt->limit_ns && tnm_time_ns(p.interp) >= opt->limit_ns)
            break;
    fprintf(stderr, "tinamou: %s after %" PRIu64 " instructions\n",
            status == STATUS_FAILED ? "different" : "the engines agreed, and ended", p.insns);
    tnm_destroy(p.jit);
    session_close(&s);
    return status;
}
