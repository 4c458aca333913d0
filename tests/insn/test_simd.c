/* What rows do on CPU models that lack an instruction's feature. Everything else about them is compared
 * with a real processor by test_oracle.c.
 */
#include <check.h>
#include <stdlib.h>

#include "cpu/decode.h"
#include "cpu/exec.h"

/* F3 0F BC and BD on processors that do not know TZCNT and LZCNT. */
START_TEST(counts_fall_back_to_scans)
{
    struct insn i = {.modrm = 0xc0, .reg = REG_AX, .rm = REG_CX, .size = 4};
    bool op_tzcnt(struct cpu *, const struct insn *), op_lzcnt(struct cpu *, const struct insn *);
    struct cpu *c = calloc(1, sizeof(*c));

    c->r[REG_AX] = 77;
    ck_assert(op_lzcnt(c, &i) && op_tzcnt(c, &i));
    ck_assert_uint_eq(c->r[REG_AX], 77);
    ck_assert(cpu_flags(c) & FL_ZF);
    c->r[REG_CX] = 0x00f0;
    ck_assert(op_lzcnt(c, &i));
    ck_assert_uint_eq(c->r[REG_AX], 7);
    ck_assert(op_tzcnt(c, &i));
    ck_assert_uint_eq(c->r[REG_AX], 4);
    ck_assert(!(cpu_flags(c) & FL_ZF));
    free(c);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("simd");
    TCase *tc = tcase_create("simd");
    SRunner *sr;
    int failed;

    tcase_add_test(tc, counts_fall_back_to_scans);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? 1 : 0;
}
