/* The high precision event timer: counter, one-shot and periodic timers, levels, legacy routes. */
#include "devices/hpet.h"
#include "tests/device/harness.h"

struct board {
    struct harness *h;
    struct hpet *hpet;
    bool legacy;
};

static void legacy_mode(void *opaque, bool on)
{
    ((struct board *)opaque)->legacy = on;
}

/* Lines 0 and 8: legacy; 16 + n: I/O APIC pin n, for those under 16. */
static void setup(struct board *t)
{
    memset(t, 0, sizeof(*t));
    t->h = harness_new(64 * KIB);
    t->hpet = harness_alloc(t->h, &hpet_class, "hpet");
    t->hpet->cfg.legacy0 = harness_irq(t->h, 0);
    t->hpet->cfg.legacy8 = harness_irq(t->h, 8);
    t->hpet->cfg.gsi[2] = harness_irq(t->h, 18);
    t->hpet->cfg.gsi[20] = harness_irq(t->h, 20);
    t->hpet->cfg.legacy_mode = legacy_mode;
    t->hpet->cfg.opaque = t;
    harness_start(t->h, &t->hpet->dev);
}

static uint64_t rd(struct board *t, unsigned reg, unsigned size)
{
    return physmap_read(t->h->board.mem, HPET_BASE + reg, size);
}

static void wr(struct board *t, unsigned reg, uint64_t v, unsigned size)
{
    physmap_write(t->h->board.mem, HPET_BASE + reg, v, size);
}

START_TEST(counter)
{
    struct board t;
    setup(&t);
    ck_assert_uint_eq(rd(&t, 0, 4), 0x8086a201);
    ck_assert_uint_eq(rd(&t, 4, 4), 10000000);
    harness_run(t.h, 1000);
    ck_assert_uint_eq(rd(&t, 0xf0, 8), 0);
    wr(&t, 0xf0, 0x1fffffff0, 8);
    wr(&t, 0x10, 1, 4);
    harness_run(t.h, 1000);
    ck_assert_uint_eq(rd(&t, 0xf0, 8), 0x1fffffff0 + 100);
    ck_assert_uint_eq(rd(&t, 0xf4, 4), 2);
    wr(&t, 0x10, 0, 4);
    harness_run(t.h, 1000);
    ck_assert_uint_eq(rd(&t, 0xf0, 8), 0x1fffffff0 + 100);
    harness_free(t.h);
}
END_TEST

START_TEST(one_shot)
{
    struct board t;
    setup(&t);
    ck_assert_uint_eq(rd(&t, 0x104, 4), HPET_ROUTES);
    wr(&t, 0x10, 1, 4);
    wr(&t, 0x140, 20 << 9 | 4, 4); /* timer 2, pin 20, edge */
    wr(&t, 0x148, 500, 8);
    harness_run(t.h, 4999);
    ck_assert_uint_eq(t.h->irq[20].rises, 0);
    harness_run(t.h, 1);
    ck_assert_uint_eq(t.h->irq[20].rises, 1);
    harness_run(t.h, NS_PER_SEC);
    ck_assert_uint_eq(t.h->irq[20].rises, 1);
    /* Level: stands until the status bit is cleared. */
    wr(&t, 0x140, 20 << 9 | 6, 4);
    wr(&t, 0x148, rd(&t, 0xf0, 8) + 10, 8);
    harness_run(t.h, 200);
    ck_assert_int_eq(t.h->irq[20].level, 1);
    ck_assert_uint_eq(rd(&t, 0x20, 4), 4);
    wr(&t, 0x20, 4, 4);
    ck_assert_int_eq(t.h->irq[20].level, 0);
    /* A pin that is not offered. */
    wr(&t, 0x140, 19 << 9 | 4, 4);
    wr(&t, 0x148, rd(&t, 0xf0, 8) + 10, 8);
    harness_run(t.h, 200);
    harness_free(t.h);
}
END_TEST

START_TEST(periodic_as_linux_sets_it)
{
    struct board t;
    setup(&t);
    wr(&t, 0x10, 0, 4);
    wr(&t, 0xf0, 0, 8);
    wr(&t, 0x10, 3, 4);
    ck_assert(t.legacy);
    wr(&t, 0x100, 0x4c | 0x100, 4); /* enable, periodic, set value, 32 bits */
    wr(&t, 0x108, 100000, 4);
    wr(&t, 0x108, 100000, 4);
    harness_run(t.h, 10 * 1000000);
    ck_assert_uint_eq(t.h->irq[0].rises, 10);
    ck_assert_uint_eq(t.h->irq[18].rises, 0);
    wr(&t, 0x10, 1, 4);
    ck_assert(!t.legacy);
    wr(&t, 0x100, 0x4c | 0x100 | 2 << 9, 4);
    wr(&t, 0x108, (uint32_t)rd(&t, 0xf0, 4) + 1000, 4);
    wr(&t, 0x108, 1000, 4);
    harness_run(t.h, 100000);
    ck_assert_uint_eq(t.h->irq[18].rises, 10);
    harness_reset(t.h, RESET_HARD);
    harness_run(t.h, 1000000);
    ck_assert_uint_eq(t.h->irq[18].rises, 10);
    harness_free(t.h);
}
END_TEST

START_TEST(narrow_timers_wrap)
{
    struct board t;
    setup(&t);
    wr(&t, 0xf0, 0xfffffff0, 8);
    wr(&t, 0x140, 20 << 9 | 4 | 0x100, 4);
    wr(&t, 0x148, 0x10, 4);
    wr(&t, 0x10, 1, 4);
    harness_run(t.h, 0x20 * 10);
    ck_assert_uint_eq(t.h->irq[20].rises, 1);
    harness_run(t.h, (1ull << 32) * 10);
    ck_assert_uint_eq(t.h->irq[20].rises, 2);
    harness_free(t.h);
}
END_TEST

START_TEST(nonsense_periods_do_not_hang)
{
    struct board t;
    setup(&t);
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        wr(&t, 0x100 + 0x20 * i, 0x4c | 20 << 9, 4);
        wr(&t, 0x108 + 0x20 * i, i, 8);
    }
    wr(&t, 0x10, 1, 4);
    harness_run(t.h, NS_PER_SEC / 10);
    wr(&t, 0x128, UINT64_MAX, 8);
    wr(&t, 0xf0, UINT64_MAX - 5, 8);
    harness_run(t.h, NS_PER_SEC / 10);
    harness_free(t.h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        counter, one_shot, periodic_as_linux_sets_it, narrow_timers_wrap,
        nonsense_periods_do_not_hang,
    };
    return harness_main("hpet", tests, ARRAY_LEN(tests));
}
