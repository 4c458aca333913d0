/* Two machines side by side: the same machine interpreted and translated, which must stay the same. They
 * run in steps of some instructions and are compared after each; the first difference is told.
 *
 *     pair_init(&p, interpreted, translated);
 *     while (pair_run(&p, ns, &stop) && stop == TNM_STOP_SLICE)
 *         ...what comes from outside goes to both...
 *
 * Both must have the instruction clock, and serial ports, disks and media of their own.
 */
#ifndef FRONTEND_PAIR_H
#define FRONTEND_PAIR_H

#include "include/tinamou.h"

#define PAIR_TEXT 8192 /* bytes of a vCPU in words */

struct pair {
    tnm_machine *interp, *jit;
    uint64_t step;  /* instructions between two comparisons of the vCPUs */
    uint64_t whole; /* ... and of everything: memory and devices */
    uint64_t from;  /* instructions before this one are compared in steps of `coarse` */
    uint64_t coarse;
    uint64_t end;   /* stop here (TNM_STOP_LIMIT); UINT64_MAX: nowhere */
    uint64_t insns; /* executed so far by both */
    uint64_t whole_at;
    /* The vCPUs as both had them last, in words; for steps so small that it tells something. */
    char before[TNM_MAX_CPUS][PAIR_TEXT];
};

void pair_init(struct pair *p, tnm_machine *interp, tnm_machine *jit);
/* Runs both for ns of guest time at most, as tnm_run. False: they differ; what is known of it is on
 * stderr. */
bool pair_run(struct pair *p, uint64_t ns, enum tnm_stop *stop);

#endif
