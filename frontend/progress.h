/* A bar on stderr for long work, where stderr is a terminal:
 *
 *     struct progress p;
 *     progress_begin(&p, "checking a.snap");
 *     ok = tnm_snapshot_verify(s, progress_update, &p, &err);
 *     progress_end(&p);
 *
 * Where a guest writes to the terminal meanwhile, the bar stands in the terminal's first line, and the
 * cursor goes back to where the guest has it.
 */
#ifndef FRONTEND_PROGRESS_H
#define FRONTEND_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what;
    bool terminal, shown;
    bool shared; /* with a guest's output; false unless the caller sets it after progress_begin */
    uint64_t begun, drawn; /* milliseconds */
};

void progress_begin(struct progress *p, const char *what);
bool progress_update(void *p, uint64_t done, uint64_t total); /* a tnm_progress_fn; true */
void progress_end(struct progress *p);                        /* wipes the bar away */

#endif
