/* What `tinamou snapshot info` and `diff` print, for people or as JSON, to stdout. */
#ifndef FRONTEND_SNAPSHOT_PRINT_H
#define FRONTEND_SNAPSHOT_PRINT_H

#include "frontend/options.h"

/* Both return the exit status; errors are on stderr. */
int print_info(const tnm_snapshot *s, bool json);
int print_diff(tnm_snapshot *a, tnm_snapshot *b, bool json); /* STATUS_FAILED if they differ */

#endif
