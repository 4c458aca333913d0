/* Virtual time: one clock a machine, in nanoseconds since power-on, and its queue of events.
 * Devices read clock_now() and nothing else; who moves the clock is the run loop's business.
 *
 * An event is embedded in its owner. It fires once, when the clock reaches `when`; the callback may
 * schedule it again. Events due at the same time fire by priority (lower first), then in the order
 * of scheduling, so that a run is repeatable. `seq` and `when` are state; the rest is wiring.
 */
#ifndef DEVICES_CLOCK_H
#define DEVICES_CLOCK_H

#include "base/bits.h"
#include "snapshots/vmstate.h"

#define CLOCK_NEVER UINT64_MAX
#define NS_PER_SEC 1000000000ull

typedef void (*event_fn)(void *opaque);

struct event {
    uint64_t when; /* CLOCK_NEVER: not scheduled */
    uint64_t seq;
    struct clock *clock;
    struct event *next, *prev;
    const char *name;
    event_fn fn;
    void *opaque;
    int priority;
    bool queued;
};
extern const struct vmstate vm_event; /* fields when and seq; post_load queues it again */

struct clock {
    uint64_t now;
    uint64_t next_seq;
    struct event *head;
    /* Called when the earliest deadline moved nearer, so that a running CPU can be stopped early.
     * May be NULL. */
    void (*deadline_moved)(void *opaque, uint64_t when);
    /* Refreshes now from the host's clock in the middle of a run slice; NULL: now is exact only as
     * far as the run loop says. */
    uint64_t (*read)(void *opaque);
    void *opaque;
};
extern const struct vmstate vm_clock;

void clock_init(struct clock *c);
/* Current virtual time: finer than c->now while CPUs run (c->read). Never goes back. */
uint64_t clock_now(struct clock *c);
uint64_t clock_next_deadline(const struct clock *c); /* CLOCK_NEVER if none */
/* Moves the clock to `to` and fires what is due, in order; each callback sees its own time as
 * now. Called by the run loop only. */
void clock_advance(struct clock *c, uint64_t to);
/* Cancels all events: before state is loaded, whose events queue themselves again. */
void clock_drop_events(struct clock *c);

void event_init(struct event *e, struct clock *c, const char *name, int priority, event_fn fn,
                void *opaque);
void event_at(struct event *e, uint64_t when); /* (re)schedules; a time in the past fires at once
                                                  after the current callback or slice */
void event_in(struct event *e, uint64_t delta);
void event_cancel(struct event *e);
static inline bool event_pending(const struct event *e)
{
    return e->when != CLOCK_NEVER;
}

/* ticks of a counter of hz that fit in ns and back, without overflow for any uint64 result. */
static inline uint64_t ns_to_ticks(uint64_t ns, uint64_t hz)
{
    return (uint64_t)((unsigned __int128)ns * hz / NS_PER_SEC);
}
static inline uint64_t ticks_to_ns(uint64_t ticks, uint64_t hz) /* rounds up */
{
    return (uint64_t)(((unsigned __int128)ticks * NS_PER_SEC + hz - 1) / hz);
}

#endif
