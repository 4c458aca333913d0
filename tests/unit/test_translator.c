/* What the translator tells about itself: statistics that add up, and its code as it is made and
 * dropped. The guest is the firmware (package seabios), which is 16-bit and 32-bit code.
 */
#include <string.h>

#include "include/tinamou.h"
#include "tests/unit/suite.h"

#define RUN_NS (150 * 1000 * 1000ull)

static struct {
    tnm_host_code code[1 << 18];
    unsigned n, made, routines;
    bool overlapped, dropped;
} live;

static bool apart(const tnm_host_code *c, const void *host, size_t size)
{
    const char *a = c->host, *b = host;
    return a + c->size <= b || b + size <= a;
}

static void code_made(void *opaque, const tnm_host_code *c)
{
    live.made++;
    live.routines += c->bits == 0;
    for (unsigned k = 0; k < live.n; k++)
        live.overlapped |= !apart(&live.code[k], c->host, c->size);
    if (live.n < sizeof(live.code) / sizeof(live.code[0]))
        live.code[live.n++] = *c;
}

static void code_dropped(void *opaque, const void *host, size_t size)
{
    unsigned n = 0;

    live.dropped = true;
    for (unsigned k = 0; k < live.n; k++)
        if (apart(&live.code[k], host, size))
            live.code[n++] = live.code[k];
    live.n = n;
}

static void run(enum tnm_engine engine, bool count, bool hooks, uint64_t cache, tnm_stats *st,
                tnm_no_code *list, unsigned *n)
{
    tnm_config cfg;
    tnm_error err = {0};
    tnm_machine *m;

    memset(&live, 0, sizeof(live));
    tnm_config_init(&cfg);
    cfg.memory = 16 << 20;
    cfg.clock = TNM_CLOCK_INSN;
    cfg.engine = engine;
    cfg.count_accesses = count;
    if (cache)
        cfg.code_cache = cache;
    if (hooks) {
        cfg.code_made = code_made;
        cfg.code_dropped = code_dropped;
    }
    m = tnm_create(&cfg, &err);
    ck_assert_msg(m != NULL, "%s", err.text);
    ck_assert_int_eq(tnm_run(m, RUN_NS), TNM_STOP_SLICE);
    tnm_get_stats(m, st);
    if (list)
        *n = tnm_get_no_code(m, list, *n);
    tnm_destroy(m);
}

static uint64_t sum(const uint64_t *v, unsigned n)
{
    uint64_t s = 0;
    while (n-- > 0)
        s += v[n];
    return s;
}

static bool has_translator(void)
{
    tnm_stats st;

    run(TNM_ENGINE_JIT, false, false, 0, &st, NULL, NULL);
    return st.jit_blocks != 0;
}

START_TEST(they_add_up)
{
    tnm_stats st;
    tnm_no_code list[1000];
    unsigned n = 1000;
    uint64_t one = 0;

    run(TNM_ENGINE_JIT, false, false, 0, &st, list, &n);
    ck_assert_uint_eq(sum(st.tlb_slow_by, TNM_SLOWS), st.tlb_slow);
    ck_assert_uint_gt(st.tlb_slow_by[TNM_SLOW_FILL], 0);
    if (!st.jit_blocks)
        return;
    ck_assert_uint_eq(sum(st.jit_exits, TNM_EXITS), st.jit_enters);
    ck_assert_uint_eq(sum(st.jit_slow_by, TNM_SLOWS) + st.jit_no_code, st.jit_slow);
    ck_assert_uint_gt(st.jit_exits[TNM_EXIT_END], 0);
    ck_assert_uint_gt(st.jit_slow_by[TNM_SLOW_FILL], 0);
    ck_assert_uint_gt(st.jit_insns_run, 0);
    ck_assert_uint_le(st.jit_insns_run, st.insns);
    ck_assert_uint_eq(st.jit_accesses, 0);
    ck_assert_uint_gt(n, 3);
    for (unsigned k = 0; k < n; k++) {
        ck_assert(k == 0 || list[k].count <= list[k - 1].count);
        ck_assert_uint_gt(list[k].count, 0);
        if (!list[k].ends)
            one += list[k].count;
    }
    ck_assert_uint_eq(one, st.jit_no_code);
}
END_TEST

/* Counting changes nothing but the count. */
START_TEST(accesses)
{
    tnm_stats without, with;

    run(TNM_ENGINE_JIT, false, false, 0, &without, NULL, NULL);
    run(TNM_ENGINE_JIT, true, false, 0, &with, NULL, NULL);
    ck_assert_uint_eq(without.insns, with.insns);
    ck_assert_uint_eq(without.jit_insns_run, with.jit_insns_run);
    if (!with.jit_blocks)
        return;
    ck_assert_uint_gt(with.jit_accesses, 1000);
    ck_assert_uint_lt(with.jit_accesses, with.jit_insns_run);
}
END_TEST

START_TEST(interpreted)
{
    tnm_stats st;
    unsigned n = 4;
    tnm_no_code list[4];

    run(TNM_ENGINE_INTERP, true, true, 0, &st, list, &n);
    ck_assert_uint_eq(n, 0);
    ck_assert_uint_eq(live.made, 0);
    ck_assert_uint_eq(st.jit_enters + st.jit_slow + st.jit_insns_run + st.jit_accesses, 0);
    ck_assert_uint_gt(st.tlb_slow, 0);
}
END_TEST

START_TEST(code)
{
    tnm_stats st;

    if (!has_translator())
        return;
    run(TNM_ENGINE_JIT, false, true, 0, &st, NULL, NULL);
    ck_assert_uint_eq(live.made - live.routines, st.jit_blocks);
    ck_assert_uint_ge(live.routines, 1);
    ck_assert(!live.overlapped);
    for (unsigned k = 0; k < live.n; k++) {
        const tnm_host_code *c = &live.code[k];
        ck_assert_ptr_nonnull(c->host);
        ck_assert_uint_gt(c->size, 0);
        ck_assert_uint_eq(c->cpu, 0);
        ck_assert(!c->user);
        ck_assert(c->bits == 0 || c->bits == 16 || c->bits == 32);
        ck_assert_uint_le(c->address, UINT32_MAX);
    }
}
END_TEST

/* What is made where code was is told to be dropped first. */
START_TEST(code_again)
{
    tnm_stats st;

    if (!has_translator())
        return;
    run(TNM_ENGINE_JIT, false, true, 1 << 20, &st, NULL, NULL);
    ck_assert(!live.overlapped);
    ck_assert_uint_ge(live.made, live.n);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {they_add_up, accesses, interpreted, code, code_again};
    return RUN_TESTS("translator", tests);
}
