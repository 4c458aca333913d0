/* The frame of tests that call one instruction after the other by hand, in 64-bit code without paging: a
 * CPU of model "max", HAND_MEM bytes of memory at MEM_AT, random numbers, and a main(). One a program:
 *
 *     #define HAND_MEM 4096
 *     #include "tests/insn/hand_cpu.h"
 */
#ifndef TESTS_INSN_HAND_CPU_H
#define TESTS_INSN_HAND_CPU_H

#include <check.h>
#include <stdlib.h>

#include "cpu/decode.h"
#include "cpu/exec.h"

enum { MEM_AT = 0x100000 };

static struct cpu *cpu;
static struct physmap *map;
static uint8_t *guest_mem; /* what is at MEM_AT */

static void view_changed(void *opaque)
{
    cpu_view_changed(cpu);
}

static void setup(void)
{
    static struct phys_region ram;
    struct physmap_listener listener = {.view_changed = view_changed};
    struct cpu_env env = {0};
    struct error err;

    map = physmap_new(HAND_MEM, NULL, &err);
    ck_assert_ptr_nonnull(map);
    env.mem = map;
    cpu = cpu_new("max", 0, 1, &env, &err);
    ck_assert_ptr_nonnull(cpu);
    physmap_set_listener(map, &listener);
    physmap_add_ram(map, &ram, "ram", MEM_AT, HAND_MEM, 0, 0);
    guest_mem = physmap_host(map, 0);
    cpu_reset(cpu, false);
    cpu->mode = MODE_CODE64 | MODE_PE;
    cpu->mmu_index = MMU_SUPER_AC;
    cpu->cr0 = CR0_PE;
    cpu->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    cpu->xcr0 = 7;
    memset(cpu->seg_base, 0, sizeof(cpu->seg_base));
}

static void teardown(void)
{
    cpu_free(cpu);
    physmap_free(map);
}

static uint64_t seed = 4711;

static uint64_t any64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static int run_by_hand(const char *name, const TTest *const tests[], size_t n)
{
    Suite *s = suite_create(name);
    TCase *tc = tcase_create(name);
    SRunner *sr;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    for (size_t k = 0; k < n; k++)
        tcase_add_test(tc, tests[k]);
    tcase_set_timeout(tc, 120);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
