/* vCPUs on host threads of their own: docs/adr/0004-vcpu-threads.md.
 *
 * Who may do what:
 *  - The board's lock (threads_enter): devices, interrupt controllers, the clock and its events, the
 *    physical map, requests to the machine. Held by a vCPU in the middle of an instruction, or by the
 *    thread in tnm_run, which keeps the time. Nobody who has it waits for a vCPU.
 *  - A vCPU's registers, TLB, decoded and translated code are its own thread's while it runs. While
 *    it stands still (parked between calls of tnm_run or halted, or held between two blocks) they
 *    may be touched by who made it: threads_alone, threads_protect, threads_park.
 *  - Guest memory is everybody's.
 *
 * All functions do what fits, or nothing, where the machine has no threads or is not running on them.
 */
#ifndef MACHINE_THREADS_H
#define MACHINE_THREADS_H

#include "machine/machine_int.h"

struct threads;

/* NULL: no memory. The threads themselves start with the first run. */
struct threads *threads_new(struct tnm_machine *m);
void threads_free(struct threads *t);
/* Whether vCPUs run, or may run, on their threads now. */
bool threads_active(const struct tnm_machine *m);

/* For the thread in tnm_run. False: the host gives no threads, and never will. */
bool threads_start(struct tnm_machine *m);
/* Keeps the time until `end`, or until somebody asks for attention. */
void threads_keep_time(struct tnm_machine *m, uint64_t end);
/* All stand still, with nothing left to be done, until the next threads_start. */
void threads_park(struct tnm_machine *m);

/* For vCPUs: see struct cpu_env. vcpu_ref is the opaque of both. */
void threads_enter(void *vcpu_ref);
void threads_leave(void *vcpu_ref);
/* As threads_enter, where no part of an access is under way: what is due is done first. */
void threads_enter_device(const struct vcpu_ref *r);
void threads_hold(void *vcpu_ref);
void threads_code_requests(void *vcpu_ref);
void threads_alone(void *vcpu_ref, bool on);
void threads_protect(void *vcpu_ref, unsigned cpus, uint64_t ra, uint64_t size);
void threads_spin(void *vcpu_ref);
/* The time now; no lock is needed. */
uint64_t threads_time(const struct vcpu_ref *r);

/* With the board's lock. */
bool threads_is_self(const struct tnm_machine *m, unsigned cpu); /* it is the one that asks */
void threads_kick(struct tnm_machine *m, unsigned cpu);          /* has got an interrupt */
void threads_attention(struct tnm_machine *m); /* tnm_run is to look: all vCPUs stop soon */
void threads_deadline(struct tnm_machine *m, uint64_t when);
void threads_code_written(struct tnm_machine *m, unsigned cpu, uint64_t ra, unsigned size);

/* One at a time into the log, from any thread. */
void threads_log(struct threads *t, bool begin);

#endif
