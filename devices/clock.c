/* Virtual time and its queue of events: see devices/clock.h.
 *
 * The queue is a doubly linked list sorted by (when, priority, seq); a PC has a few dozen events
 * at most, nearly all far in the future, so that walking it beats anything cleverer.
 *
 * clock_now() never passes a deadline that has not fired: a device that looks at the time in the
 * middle of a slice must not see effects of later events missing, and callbacks must not see time
 * go back. When the source says that a deadline has come, the slice is asked to end.
 */
#include "devices/clock.h"

#include "base/check.h"

static const struct vm_field clock_fields[] = {
    VM_INT(struct clock, now),
    VM_INT(struct clock, next_seq),
    VM_SKIP(struct clock, head, "queue of the events, which are their owners' state"),
    VM_SKIP(struct clock, deadline_moved, "wiring"),
    VM_SKIP(struct clock, read, "wiring"),
    VM_SKIP(struct clock, opaque, "wiring"),
    VM_END,
};
const struct vmstate vm_clock = VMSTATE("clock", struct clock, clock_fields);

static bool before(const struct event *a, const struct event *b)
{
    if (a->when != b->when)
        return a->when < b->when;
    if (a->priority != b->priority)
        return a->priority < b->priority;
    return a->seq < b->seq;
}

static void unlink_event(struct event *e)
{
    if (!e->queued)
        return;
    if (e->prev)
        e->prev->next = e->next;
    else
        e->clock->head = e->next;
    if (e->next)
        e->next->prev = e->prev;
    e->next = e->prev = NULL;
    e->queued = false;
}

static void link_event(struct event *e)
{
    struct clock *c = e->clock;
    struct event *prev = NULL, *next = c->head;

    while (next && before(next, e)) {
        prev = next;
        next = next->next;
    }
    e->prev = prev;
    e->next = next;
    if (prev)
        prev->next = e;
    else
        c->head = e;
    if (next)
        next->prev = e;
    e->queued = true;
    if (!prev && c->deadline_moved)
        c->deadline_moved(c->opaque, e->when);
}

static bool event_post_load(void *obj)
{
    struct event *e = obj;
    unlink_event(e);
    if (e->when != CLOCK_NEVER)
        link_event(e);
    return true;
}

static const struct vm_field event_fields[] = {
    VM_INT(struct event, when),
    VM_INT(struct event, seq),
    VM_SKIP(struct event, clock, "wiring"),
    VM_SKIP(struct event, next, "queue, rebuilt from when and seq"),
    VM_SKIP(struct event, prev, "queue"),
    VM_SKIP(struct event, name, "constant"),
    VM_SKIP(struct event, fn, "wiring"),
    VM_SKIP(struct event, opaque, "wiring"),
    VM_SKIP(struct event, priority, "constant"),
    VM_SKIP(struct event, queued, "queue"),
    VM_END,
};
const struct vmstate vm_event =
    VMSTATE_HOOKS("event", struct event, event_fields, NULL, event_post_load);

void clock_init(struct clock *c)
{
    memset(c, 0, sizeof(*c));
}

uint64_t clock_next_deadline(const struct clock *c)
{
    return c->head ? c->head->when : CLOCK_NEVER;
}

uint64_t clock_now(struct clock *c)
{
    if (c->read) {
        uint64_t t = c->read(c->opaque), deadline = clock_next_deadline(c);
        if (t >= deadline) {
            t = deadline;
            if (c->deadline_moved)
                c->deadline_moved(c->opaque, deadline);
        }
        c->now = MAX(c->now, t);
    }
    return c->now;
}

void clock_advance(struct clock *c, uint64_t to)
{
    while (c->head && c->head->when <= to) {
        struct event *e = c->head;
        c->now = MAX(c->now, e->when);
        unlink_event(e);
        e->when = CLOCK_NEVER;
        e->fn(e->opaque);
    }
    c->now = MAX(c->now, to);
}

void clock_drop_events(struct clock *c)
{
    while (c->head)
        event_cancel(c->head);
}

void event_init(struct event *e, struct clock *c, const char *name, int priority, event_fn fn,
                void *opaque)
{
    *e = (struct event){
        .when = CLOCK_NEVER,
        .clock = c,
        .name = name,
        .priority = priority,
        .fn = fn,
        .opaque = opaque,
    };
}

void event_at(struct event *e, uint64_t when)
{
    CHECK(e->clock);
    unlink_event(e);
    e->when = when;
    if (when == CLOCK_NEVER)
        return;
    e->seq = e->clock->next_seq++;
    link_event(e);
}

void event_in(struct event *e, uint64_t delta)
{
    uint64_t now = clock_now(e->clock);
    event_at(e, delta < CLOCK_NEVER - now ? now + delta : CLOCK_NEVER);
}

void event_cancel(struct event *e)
{
    unlink_event(e);
    e->when = CLOCK_NEVER;
}
