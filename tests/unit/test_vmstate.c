/* Declared state: order and names of the walk, and a hash that sees every declared byte. */
#include "snapshots/vmstate.h"
#include "tests/unit/suite.h"

#include "base/hash.h"

#include <stdio.h>

struct inner {
    uint16_t a;
    uint8_t pad_skipped;
};
static const struct vm_field inner_fields[] = {
    VM_INT(struct inner, a),
    VM_SKIP(struct inner, pad_skipped, "test"),
    VM_END,
};
static const struct vmstate vm_inner = VMSTATE("inner", struct inner, inner_fields);

struct outer {
    uint32_t x;
    uint64_t grid[2][3];
    struct inner in[2];
    struct inner *opt;
    uint8_t *bytes;
    int lazy, shown;
};
static const struct vm_field outer_fields[] = {
    VM_INT(struct outer, x),
    VM_INTS(struct outer, grid, uint64_t),
    VM_STRUCTS(struct outer, in, &vm_inner),
    VM_PTR_STRUCT(struct outer, opt, &vm_inner),
    VM_PTR_BYTES(struct outer, bytes, 4),
    VM_SKIP(struct outer, lazy, "test"),
    VM_INT(struct outer, shown),
    VM_END,
};
static void outer_pre_save(void *obj)
{
    struct outer *o = obj;
    o->shown = o->lazy;
}
static const struct vmstate vm_outer =
    VMSTATE_HOOKS("outer", struct outer, outer_fields, outer_pre_save, NULL);

static void collect(void *opaque, const char *path, const struct vm_field *f, void *data)
{
    char *all = opaque;
    ck_assert_ptr_nonnull(data);
    sprintf(all + strlen(all), "%s*%u ", path, f->count);
}

START_TEST(walk_names)
{
    uint8_t bytes[4] = {0};
    struct inner opt = {0};
    struct outer o = {.bytes = bytes};
    char all[256] = "";

    vmstate_walk(&vm_outer, &o, collect, all);
    ck_assert_str_eq(all, "x*1 grid*6 in[0].a*1 in[1].a*1 bytes*4 shown*1 ");
    all[0] = 0;
    o.opt = &opt;
    vmstate_walk(&vm_outer, &o, collect, all);
    ck_assert_str_eq(all, "x*1 grid*6 in[0].a*1 in[1].a*1 opt.a*1 bytes*4 shown*1 ");
}
END_TEST

START_TEST(hash_sees_state)
{
    uint8_t bytes[4] = {0};
    struct outer o = {.bytes = bytes};
    uint64_t h = vmstate_hash(&vm_outer, &o, 1), h2;

    o.in[1].pad_skipped = 9;
    ck_assert_uint_eq(vmstate_hash(&vm_outer, &o, 1), h);
    ck_assert_uint_ne(vmstate_hash(&vm_outer, &o, 2), h);
    o.grid[1][2] = 1;
    h2 = vmstate_hash(&vm_outer, &o, 1);
    ck_assert_uint_ne(h2, h);
    o.grid[1][2] = 0;
    bytes[3] = 1;
    h2 = vmstate_hash(&vm_outer, &o, 1);
    ck_assert_uint_ne(h2, h);
    bytes[3] = 0;
    o.lazy = 5; /* seen through pre_save */
    ck_assert_uint_ne(vmstate_hash(&vm_outer, &o, 1), h);
}
END_TEST

START_TEST(hash_is_the_same_everywhere)
{
    uint8_t data[45];
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7);
    /* Every length is its own value, and a flipped bit anywhere changes it. */
    uint64_t h = hash64(data, sizeof(data), 0);
    for (unsigned i = 0; i < sizeof(data) * 8; i++) {
        data[i / 8] ^= 1u << i % 8;
        ck_assert_uint_ne(hash64(data, sizeof(data), 0), h);
        data[i / 8] ^= 1u << i % 8;
    }
    ck_assert_uint_ne(hash64(data, 44, 0), hash64(data, 43, 0));
    ck_assert_uint_eq(hash64("abc", 3, 7), 0x16538cacce469622ull);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {walk_names, hash_sees_state, hash_is_the_same_everywhere};
    return RUN_TESTS("vmstate", tests);
}
