/* The terminal that stdin is, and the signals that end a run. */
#ifndef FRONTEND_TERMINAL_H
#define FRONTEND_TERMINAL_H

#include "include/tinamou.h"

/* Makes the terminal raw, so that the guest gets every key; false if stdin is not one that is
 * ours. It is put back by terminal_restore, at exit, and when a signal kills the process. */
bool terminal_raw(void);
void terminal_restore(void);

/* From now on SIGUSR1 asks for a snapshot and does not kill: also while the machine is being made, which may
 * take its time, as when images have to be looked through. */
void terminal_catch_saves(void);
/* From now on SIGINT, SIGTERM and SIGHUP stop m; a second one kills. NULL: as before. */
void terminal_catch_signals(tnm_machine *m);
/* The signal that came, or 0. */
int terminal_signal(void);
/* How often SIGUSR1 came since the last call: each asks for a snapshot. */
unsigned terminal_save_requests(void);

#endif
