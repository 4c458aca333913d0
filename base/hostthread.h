/* Host threads, locks and the host's monotonic clock. Only machine/ and front ends use the clock:
 * devices see virtual time only. */
#ifndef BASE_HOSTTHREAD_H
#define BASE_HOSTTHREAD_H

#include "base/bits.h"

uint64_t host_now_ns(void);       /* monotonic */
int64_t host_wallclock_sec(void); /* seconds since 1970, UTC */
uint64_t host_random(void);       /* from the host's kernel; unlike any other */
unsigned host_processors(void);   /* that are there to run threads */
void host_yield(void);            /* to threads that wait for a processor */
/* For a moment's wait in a loop that looks at memory. */
void host_pause(void);

/* A one-shot wake-up that any thread, or a signal handler, may set. */
struct host_wake;
struct host_wake *host_wake_new(void);
void host_wake_free(struct host_wake *w);
void host_wake_set(struct host_wake *w);
/* Sleeps until set or until ns have passed (UINT64_MAX: no limit); clears it. True if set. */
bool host_wake_wait(struct host_wake *w, uint64_t ns);

#endif
