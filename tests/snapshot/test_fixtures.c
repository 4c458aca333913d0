/* Files of every released version of the format are loaded, go on, and can be saved again. What they
 * hold is told in fixture.asm. */
#include "tests/snapshot/kit.h"

#include <dirent.h>
#include <stdio.h>

static uint32_t word(tnm_machine *m, uint64_t paddr)
{
    return (uint32_t)physmap_read(m->mem, paddr, 4);
}

/* The program's own numbers, computed here. Between two of its stores one may be ahead. */
static void check_counts(tnm_machine *m)
{
    uint32_t n = word(m, 0x500), sum = 0, before = 0;

    for (uint32_t i = 1; i <= n; i++) {
        before = sum;
        sum += i * 2654435761u;
    }
    ck_assert(word(m, 0x508) == sum || word(m, 0x508) == before);
    for (uint32_t i = 0; i < 1024; i++) {
        uint32_t last = word(m, 0x600 + i * 4);
        ck_assert_uint_eq(last % 1024, last ? i : 0);
        ck_assert(last <= n + 1 && (last + 1024 > n || n < 1024));
    }
}

static void check_file(const char *path)
{
    tnm_snapshot *s = kit_open(path);
    tnm_snapshot_info info;
    tnm_error err = {0};

    tnm_snapshot_get_info(s, &info);
    ck_assert_str_eq(info.name, "fixture");
    ck_assert_uint_eq(info.memory, MIB);
    ck_assert_msg(tnm_snapshot_verify(s, NULL, NULL, &err), "%s", err.text);
    tnm_machine *m = tnm_snapshot_create(s, NULL, NULL, &err);
    ck_assert_msg(m != NULL, "%s: %s", path, err.text);
    ck_assert_uint_eq(tnm_time_ns(m), info.time_ns);
    ck_assert_uint_eq(tnm_insns(m), info.insns);
    check_counts(m);
    uint32_t n = word(m, 0x500), ticks = word(m, 0x510);
    ck_assert_uint_gt(n, 10000);
    /* 1193182 / 1000 interrupts a second; some instructions a turn of the loop. */
    ck_assert_uint_ge(ticks, info.time_ns * 1193 / 1000000000 - 2);
    ck_assert_uint_le(ticks, info.time_ns * 1194 / 1000000000);
    tnm_run(m, 100000000);
    check_counts(m);
    ck_assert_uint_gt(word(m, 0x500), n + 400000);
    ck_assert_uint_ge(word(m, 0x510) - ticks, 118);
    ck_assert_uint_le(word(m, 0x510) - ticks, 120);
    kit_save(m, kit_path("again"), NULL);
    tnm_snapshot_close(kit_open(kit_path("again")));
    tnm_destroy(m);
    tnm_snapshot_close(s);
}

START_TEST(all)
{
    DIR *dir = opendir(FIXTURES);
    unsigned files = 0;

    ck_assert_ptr_nonnull(dir);
    for (struct dirent *d; (d = readdir(dir));) {
        char path[512];
        const char *dot = strrchr(d->d_name, '.');
        if (!dot || strcmp(dot, ".snap") != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", FIXTURES, d->d_name);
        check_file(path);
        files++;
    }
    closedir(dir);
    ck_assert_uint_ge(files, 2);
    kit_clean();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {all};
    return RUN_TESTS("snapshot_fixtures", tests);
}
