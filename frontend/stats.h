/* --stats: what a run was made of, on stderr. */
#ifndef FRONTEND_STATS_H
#define FRONTEND_STATS_H

#include "frontend/session.h"

void stats_print(const struct session *s);

#endif
