/* --engine lockstep: the same machine twice, interpreted and translated, a few instructions of the one and
 * as many of the other, compared. Stops at the first difference and tells both states. For finding
 * faults of the translator; the guest gets no input.
 */
#include <inttypes.h>
#include <stdio.h>

#include "frontend/pair.h"
#include "frontend/session.h"
#include "frontend/terminal.h"

#define SLICE_NS 10000000

static bool disks_can_be_shared(const struct options *opt)
{
    for (unsigned n = 0; n < opt->cfg.ndisks; n++) {
        if (!opt->cfg.disks[n].discard && !opt->cfg.disks[n].readonly) {
            fprintf(stderr, "tinamou: two machines cannot write %s: add ,discard=on to the disk\n",
                    opt->cfg.disks[n].path);
            return false;
        }
    }
    return true;
}

/* False: they differ. */
static bool compare(struct pair *p, const struct options *opt, int *status)
{
    enum tnm_stop stop;

    *status = STATUS_FAILED;

    if (opt->limit_insns)
        p->end = p->insns + opt->limit_insns;
    do {
        if (!pair_run(p, SLICE_NS, &stop))
            return false;
        if (opt->limit_ns && tnm_time_ns(p->interp) >= opt->limit_ns)
            break;
    } while (stop == TNM_STOP_SLICE);
    *status = stop == TNM_STOP_REQUEST ? 128 + terminal_signal()
              : stop == TNM_STOP_EXIT  ? tnm_exit_status(p->interp)
                                       : STATUS_OK;
    return true;
}

int run_lockstep(const struct options *opt)
{
    struct session s;
    struct pair p;
    tnm_machine *twin;
    tnm_error err;
    int status;

    if (!disks_can_be_shared(opt) || !session_open(&s, opt))
        return STATUS_FAILED;
    twin = session_twin(&s, TNM_ENGINE_AUTO, &err);
    if (!twin) {
        fprintf(stderr, "tinamou: %s\n", err.text);
        session_close(&s);
        return STATUS_FAILED;
    }
    pair_init(&p, s.machine, twin);
    bool same = compare(&p, opt, &status);
    fprintf(stderr, "tinamou: %s after %" PRIu64 " instructions\n",
            same ? "the engines agreed, and ended" : "different", p.insns);
    tnm_destroy(twin);
    session_close(&s);
    return status;
}
