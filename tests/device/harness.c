/* The board of the device tests: see harness.h. */
#include "tests/device/harness.h"

#include <stdlib.h>

static void record_irq(void *opaque, int n, int level)
{
    struct harness *h = opaque;
    struct harness_irq_record *r = &h->irq[n];

    if (r->level == level)
        return;
    r->level = level;
    if (level) {
        r->rises++;
        r->last_rise = clock_now(&h->clock);
    } else {
        r->falls++;
    }
}

static void request_reset(void *opaque, enum reset_kind kind, const char *why)
{
    struct harness *h = opaque;

    h->resets++;
    h->reset_kind = kind;
}

static void request_poweroff(void *opaque)
{
    ((struct harness *)opaque)->poweroffs++;
}

static void request_exit(void *opaque, int status)
{
    struct harness *h = opaque;

    h->exits++;
    h->exit_status = status;
}

static void set_a20(void *opaque, bool on)
{
    ((struct harness *)opaque)->a20 = on;
}

static int64_t wallclock(void *opaque)
{
    return ((struct harness *)opaque)->wallclock;
}

static void log_line(void *opaque, enum log_subsystem subsystem, const char *line)
{
    struct harness *h = opaque;

    strncpy(h->last_line, line, sizeof(h->last_line) - 1);
    h->lines++;
}

struct harness *harness_new(uint64_t ram)
{
    struct harness *h = calloc(1, sizeof(*h));
    struct error err;

    ck_assert_ptr_nonnull(h);
    clock_init(&h->clock);
    h->log.enabled = ~0u;
    h->log.sink = log_line;
    h->log.opaque = h;
    h->wallclock = 1767225600; /* 2026-01-01, a Thursday */
    h->a20 = true;
    h->board = (struct board_if){
        .clock = &h->clock,
        .ports = portmap_new(&h->log),
        .mem = physmap_new(ram ? ram : PAGE_SIZE, &h->log, &err),
        .log = &h->log,
        .opaque = h,
        .request_reset = request_reset,
        .request_poweroff = request_poweroff,
        .request_exit = request_exit,
        .set_a20 = set_a20,
        .wallclock = wallclock,
    };
    ck_assert_ptr_nonnull(h->board.ports);
    ck_assert_ptr_nonnull(h->board.mem);
    if (ram) {
        h->ram_ra = physmap_store_alloc(h->board.mem, ram);
        physmap_add_ram(h->board.mem, &h->ram, "ram", 0, ram, h->ram_ra, 0);
    }
    return h;
}

void harness_free(struct harness *h)
{
    while (h->ndevices > 0) {
        struct device *dev = h->devices[--h->ndevices];
        if (dev->cls->fini)
            dev->cls->fini(dev);
        free(dev);
    }
    portmap_free(h->board.ports);
    physmap_free(h->board.mem);
    free(h);
}

void *harness_alloc(struct harness *h, const struct device_class *cls, const char *id)
{
    struct device *dev = calloc(1, cls->size);

    ck_assert_ptr_nonnull(dev);
    ck_assert_uint_lt(h->ndevices, HARNESS_DEVICES);
    dev->cls = cls;
    dev->board = &h->board;
    dev->id = id;
    h->devices[h->ndevices++] = dev;
    return dev;
}

void harness_start(struct harness *h, struct device *dev)
{
    struct error err = {0};
    bool ok = dev->cls->init(dev, &err);

    ck_assert_msg(ok, "%s: %s", dev->id, err.text);
    if (dev->cls->reset)
        dev->cls->reset(dev, RESET_POWER_ON);
}

void harness_reset(struct harness *h, enum reset_kind kind)
{
    for (unsigned i = 0; i < h->ndevices; i++)
        if (h->devices[i]->cls->reset)
            h->devices[i]->cls->reset(h->devices[i], kind);
}

struct irq_line harness_irq(struct harness *h, int n)
{
    ck_assert_int_lt(n, HARNESS_IRQS);
    return (struct irq_line){record_irq, h, n};
}

void harness_run(struct harness *h, uint64_t ns)
{
    clock_advance(&h->clock, clock_now(&h->clock) + ns);
}

uint8_t *harness_ram(struct harness *h, uint64_t paddr)
{
    return physmap_host(h->board.mem, h->ram_ra + paddr);
}

uint8_t inb(struct harness *h, uint16_t port)
{
    return (uint8_t)portmap_read(h->board.ports, port, 1);
}

uint16_t inw(struct harness *h, uint16_t port)
{
    return (uint16_t)portmap_read(h->board.ports, port, 2);
}

uint32_t inl(struct harness *h, uint16_t port)
{
    return portmap_read(h->board.ports, port, 4);
}

void outb(struct harness *h, uint16_t port, uint8_t v)
{
    portmap_write(h->board.ports, port, v, 1);
}

void outw(struct harness *h, uint16_t port, uint16_t v)
{
    portmap_write(h->board.ports, port, v, 2);
}

void outl(struct harness *h, uint16_t port, uint32_t v)
{
    portmap_write(h->board.ports, port, v, 4);
}

int harness_main(const char *name, const TTest *const *tests, size_t n)
{
    Suite *s = suite_create(name);
    TCase *tc = tcase_create(name);
    SRunner *sr = srunner_create(s);
    int failed;

    for (size_t i = 0; i < n; i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
