/* Saves snapshots of a running session: after SIGUSR1, after a key, or from the window's list. The
 * guest goes on while the file is written; what came of it is reported when the file is whole. All
 * calls come from the thread that runs the machine. */
#ifndef FRONTEND_SAVER_H
#define FRONTEND_SAVER_H

#include "frontend/options.h"
#include "frontend/progress.h"

#define SAVER_PATH 4096

struct saver {
    const char *dir;    /* NULL: the current one */
    const char *parent; /* what is saved are deltas on it; NULL: whole snapshots */
    char name[64];
    unsigned wanted; /* asked for and not yet begun */
    bool running;
    uint64_t began_ms;
    char path[SAVER_PATH];
    struct progress bar; /* on stderr, if that is a terminal */
    /* Says in a line what has been saved, or what went wrong. */
    void (*report)(void *opaque, bool ok, const char *text);
    void *opaque;
};

/* Reports go to stderr until the caller says otherwise. */
void saver_init(struct saver *v, const char *dir, const char *parent, const char *name);
/* One more snapshot, named NAME-DATE-TIME.snap. */
void saver_request(struct saver *v);
/* Between slices of the run. */
void saver_poll(struct saver *v, tnm_machine *m);
/* At the end of the run: waits for what was asked for. False if it failed. */
bool saver_finish(struct saver *v, tnm_machine *m);

#endif
