/* Virtual time: firing order, rescheduling from callbacks, reads inside a slice. Port map: overlays
 * and sizes. */
#include "devices/bus.h"
#include "tests/unit/suite.h"

#include <stdio.h>

static char fired[128];
static struct clock clk;

struct timer {
    struct event e;
    const char *name;
    uint64_t again;
};

static void fire(void *opaque)
{
    struct timer *t = opaque;
    sprintf(fired + strlen(fired), "%s@%d ", t->name, (int)clock_now(&clk));
    if (t->again)
        event_in(&t->e, t->again);
}

static void setup(struct timer *t, const char *name, int priority, uint64_t again)
{
    t->name = name;
    t->again = again;
    event_init(&t->e, &clk, name, priority, fire, t);
}

START_TEST(order)
{
    struct timer a, b, c, d;

    clock_init(&clk);
    fired[0] = 0;
    setup(&a, "a", 1, 0);
    setup(&b, "b", 0, 0);
    setup(&c, "c", 1, 0);
    setup(&d, "d", 0, 0);
    event_at(&a.e, 10);
    event_at(&c.e, 10);
    event_at(&b.e, 10);
    event_at(&d.e, 5);
    ck_assert_uint_eq(clock_next_deadline(&clk), 5);
    clock_advance(&clk, 4);
    ck_assert_str_eq(fired, "");
    clock_advance(&clk, 10);
    ck_assert_str_eq(fired, "d@5 b@10 a@10 c@10 ");
    ck_assert(!event_pending(&a.e));
    ck_assert_uint_eq(clock_next_deadline(&clk), CLOCK_NEVER);
}
END_TEST

START_TEST(periodic_and_cancel)
{
    struct timer a, b;

    clock_init(&clk);
    fired[0] = 0;
    setup(&a, "a", 0, 3);
    setup(&b, "b", 0, 0);
    event_in(&a.e, 3);
    event_in(&b.e, 4);
    event_cancel(&b.e);
    event_cancel(&b.e);
    clock_advance(&clk, 10);
    ck_assert_str_eq(fired, "a@3 a@6 a@9 ");
    ck_assert_uint_eq(clock_next_deadline(&clk), 12);
    event_at(&a.e, 2); /* in the past: at once */
    clock_advance(&clk, 10);
    ck_assert_str_eq(fired, "a@3 a@6 a@9 a@10 ");
}
END_TEST

static uint64_t source, told;
static uint64_t read_source(void *opaque)
{
    return source;
}
static void moved(void *opaque, uint64_t when)
{
    told = when;
}

START_TEST(reads_inside_a_slice)
{
    struct timer a;

    clock_init(&clk);
    clk.read = read_source;
    clk.deadline_moved = moved;
    setup(&a, "a", 0, 0);
    event_at(&a.e, 100);
    ck_assert_uint_eq(told, 100);
    told = 0;
    source = 50;
    ck_assert_uint_eq(clock_now(&clk), 50);
    source = 40; /* never back */
    ck_assert_uint_eq(clock_now(&clk), 50);
    ck_assert_uint_eq(told, 0);
    source = 150; /* not past what has not fired; and the slice is asked to end */
    ck_assert_uint_eq(clock_now(&clk), 100);
    ck_assert_uint_eq(told, 100);
}
END_TEST

START_TEST(loaded_events_queue_again)
{
    struct timer a, b;

    clock_init(&clk);
    fired[0] = 0;
    setup(&a, "a", 0, 0);
    setup(&b, "b", 0, 0);
    event_at(&b.e, 7);
    a.e.when = 7;
    a.e.seq = 0;
    b.e.seq = 1;
    ck_assert(vm_event.post_load(&a.e));
    ck_assert(vm_event.post_load(&b.e));
    clock_advance(&clk, 8);
    ck_assert_str_eq(fired, "a@7 b@7 ");
}
END_TEST

START_TEST(tick_conversion)
{
    ck_assert_uint_eq(ns_to_ticks(1000000000, 1193182), 1193182);
    for (uint64_t t = 1; t < 100000; t += 997)
        ck_assert_uint_eq(ns_to_ticks(ticks_to_ns(t, 1193182), 1193182), t);
}
END_TEST

/* ---- ports ---- */

static char seen[256];
static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    sprintf(seen + strlen(seen), "r%s%d.%u ", (char *)opaque, (int)offset, size);
    return 0x44332211u >> offset * 8;
}
static void port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    sprintf(seen + strlen(seen), "w%s%d.%u=%x ", (char *)opaque, (int)offset, size, (int)value);
}
static const struct io_ops any = {.name = "any", .read = port_read, .write = port_write};
static const struct io_ops bytes = {
    .name = "bytes", .read = port_read, .write = port_write, .max_access = 1};
static const struct io_ops words = {
    .name = "words", .read = port_read, .write = port_write, .min_access = 4, .max_access = 4};

START_TEST(ports)
{
    struct portmap *p = portmap_new(NULL);

    portmap_add(p, 0x100, 4, &any, "a");
    portmap_add(p, 0x104, 4, &bytes, "b");
    portmap_add(p, 0x200, 4, &words, "c");
    seen[0] = 0;
    ck_assert_uint_eq(portmap_read(p, 0x100, 4), 0x44332211);
    ck_assert_uint_eq(portmap_read(p, 0x104, 2), 0x2211);
    ck_assert_uint_eq(portmap_read(p, 0x103, 2), 0x1144);
    ck_assert_uint_eq(portmap_read(p, 0x202, 1), 0x33);
    portmap_write(p, 0x201, 0xab, 1);
    portmap_write(p, 0x104, 0x1234, 2);
    ck_assert_str_eq(seen, "ra0.4 rb0.1 rb1.1 ra3.1 rb0.1 rc0.4 wc0.4=ab00 wb0.1=34 wb1.1=12 ");
    ck_assert_uint_eq(portmap_read(p, 0x300, 4), 0xffffffff);
    ck_assert_uint_eq(portmap_read(p, 0xffff, 2), 0xffff);

    portmap_add(p, 0x102, 1, &any, "over");
    seen[0] = 0;
    portmap_read(p, 0x102, 1);
    portmap_remove(p, 0x102, 1, "other"); /* opaque does not fit */
    portmap_read(p, 0x102, 1);
    portmap_remove(p, 0x102, 1, NULL);
    portmap_free(p);
    ck_assert_str_eq(seen, "rover0.1 rover0.1 ");

    char *opaque = "x";
    p = portmap_new(NULL);
    portmap_add(p, 0xfffe, 8, &any, "a"); /* cut at the top of the space */
    portmap_add(p, 0xfffe, 1, &any, opaque);
    portmap_remove(p, 0xfffe, 1, opaque);
    seen[0] = 0;
    portmap_read(p, 0xfffe, 2);
    ck_assert_str_eq(seen, "ra0.2 ");
    portmap_free(p);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {order,
                                  periodic_and_cancel,
                                  reads_inside_a_slice,
                                  loaded_events_queue_again,
                                  tick_conversion,
                                  ports};
    return RUN_TESTS("clock", tests);
}
