/* No byte of state is forgotten: all vmstate tables of the machine against the debug data, and
 * tables with each kind of mistake, which must be found. */
#include <stdio.h>

#include "cpu/cpu.h"
#include "devices/bus.h"
#include "include/tinamou.h"
#include "tests/unit/suite.h"
#include "tests/unit/vmstate_coverage.h"

/* ---- mistakes --------------------------------------------------------------------------------- */

struct part {
    uint16_t a;
    uint8_t b;
};
static const struct vm_field part_fields[] = {
    VM_INT(struct part, a),
    VM_INT(struct part, b),
    VM_END,
};
static const struct vmstate vm_part = VMSTATE("part", struct part, part_fields);

struct whole {
    uint8_t first; /* and seven bytes of padding */
    uint64_t wide;
    struct part parts[3];
    struct part *link;
    uint8_t tail[5];
};

#define FIRST VM_INT(struct whole, first)
#define WIDE  VM_INT(struct whole, wide)
#define PARTS VM_STRUCTS(struct whole, parts, &vm_part)
#define LINK  VM_PTR_STRUCT(struct whole, link, &vm_part)
#define TAIL  VM_BYTES(struct whole, tail)

#define TABLE(nm, ...)                                                                             \
    static const struct vm_field nm##_fields[] = {__VA_ARGS__, VM_END};                            \
    static const struct vmstate vm_##nm = VMSTATE(#nm, struct whole, nm##_fields)

TABLE(good, FIRST, WIDE, PARTS, LINK, TAIL);
TABLE(skipped, FIRST, WIDE, PARTS, VM_SKIP(struct whole, link, "wiring"), TAIL);
TABLE(forgotten, FIRST, PARTS, LINK, TAIL);
TABLE(forgotten_tail, FIRST, WIDE, PARTS, LINK);
TABLE(no_reason, FIRST, WIDE, PARTS, VM_SKIP(struct whole, link, ""), TAIL);
TABLE(twice, FIRST, WIDE, WIDE, PARTS, LINK, TAIL);
TABLE(pointer, FIRST, WIDE, PARTS, VM_INT(struct whole, link), TAIL);
TABLE(too_few, FIRST, WIDE, VM_STRUCT(struct whole, parts[0], &vm_part), LINK, TAIL);
TABLE(wrong_table, FIRST, WIDE, PARTS, VM_PTR_STRUCT(struct whole, link, &vm_good), TAIL);

struct unportable {
    size_t n;
};
static const struct vm_field unportable_fields[] = {VM_INT(struct unportable, n), VM_END};
static const struct vmstate vm_unportable =
    VMSTATE("unportable", struct unportable, unportable_fields);

static const struct {
    const struct vmstate *vm;
    const char *complaint; /* NULL: none */
} cases[] = {
    {&vm_good, NULL},
    {&vm_skipped, NULL},
    {&vm_forgotten, "wide: 8 bytes are neither a field nor skipped"},
    {&vm_forgotten_tail, "tail: 5 bytes are neither"},
    {&vm_no_reason, "link is skipped without a reason"},
    {&vm_twice, "wide and wide cover the same bytes"},
    {&vm_pointer, "link is declared an integer, and is none"},
    {&vm_too_few, "parts: 6 bytes are neither"},
    {&vm_wrong_table, "link: its table describes struct whole"},
    {&vm_unportable, "n has not the same width on all hosts"},
};

/* Links the whole machine, whose tables are to be judged. */
void (*const machine_is_linked)(tnm_machine *) = tnm_destroy;

/* ---- the tests -------------------------------------------------------------------------------- */

static struct debug_info *open_debug_info(void)
{
    struct debug_info *d = debug_info_open((uintptr_t)&vm_cpu, "vm_cpu");
    ck_assert_msg(d != NULL, "no debug data in this program: compile with -g");
    return d;
}

START_TEST(mistakes_are_found)
{
    struct debug_info *d = open_debug_info();

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        const char *wrong = coverage_of(d, cases[i].vm);
        if (!cases[i].complaint)
            ck_assert_msg(!wrong, "%s: %s", cases[i].vm->name, wrong);
        else
            ck_assert_msg(wrong && strstr(wrong, cases[i].complaint), "%s: %s", cases[i].vm->name,
                          wrong ? wrong : "nothing was found");
    }
    debug_info_close(d);
}
END_TEST

struct tally {
    struct debug_info *d;
    unsigned tables, wrong;
};

static bool is_case(const struct vmstate *vm)
{
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
        if (cases[i].vm == vm)
            return true;
    return vm == &vm_part;
}

static void judge(void *opaque, const char *name, const void *variable)
{
    struct tally *t = opaque;
    const char *wrong;

    if (is_case(variable))
        return;
    t->tables++;
    wrong = coverage_of(t->d, variable);
    if (wrong) {
        fprintf(stderr, "%s", wrong);
        t->wrong++;
    }
}

START_TEST(every_byte_of_every_table)
{
    struct tally t = {.d = open_debug_info()};

    debug_info_variables(t.d, "vmstate", judge, &t);
    ck_assert_msg(t.tables > 40, "only %u tables were found", t.tables);
    ck_assert_msg(t.wrong == 0, "%u of %u tables are wrong: see above", t.wrong, t.tables);
    debug_info_close(t.d);
}
END_TEST

static void judge_class(void *opaque, const char *name, const void *variable)
{
    const struct device_class *cls = variable;
    struct tally *t = opaque;

    t->tables++;
    if (cls->vmstate && cls->vmstate->size == cls->size)
        return;
    fprintf(stderr, "%s: %s\n", name,
            cls->vmstate ? "another struct's table" : "no table of state");
    t->wrong++;
}

START_TEST(every_device_has_a_table)
{
    struct tally t = {.d = open_debug_info()};

    debug_info_variables(t.d, "device_class", judge_class, &t);
    ck_assert_msg(t.tables > 20, "only %u devices were found", t.tables);
    ck_assert_msg(t.wrong == 0, "%u of %u devices: see above", t.wrong, t.tables);
    debug_info_close(t.d);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {mistakes_are_found, every_byte_of_every_table,
                                  every_device_has_a_table};
    return RUN_TESTS("vmstate coverage", tests);
}
