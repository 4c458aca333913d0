/* Declared state to named fields and back: what older and newer files may hold, and what is refused. */
#include "snapshots/object.h"
#include "snapshots/vmstate.h"
#include "tests/unit/suite.h"

struct inner {
    uint16_t a;
    bool on;
};
static const struct vm_field inner_fields[] = {
    VM_INT(struct inner, a),
    VM_INT(struct inner, on),
    VM_END,
};
static const struct vmstate vm_inner = VMSTATE("inner", struct inner, inner_fields);

struct outer {
    uint32_t x;
    uint64_t list[4];
    struct inner in[2];
    uint8_t raw[5];
    int loaded;
};
static const struct vm_field outer_fields[] = {
    VM_INT(struct outer, x),
    VM_INTS(struct outer, list, uint64_t),
    VM_STRUCTS(struct outer, in, &vm_inner),
    VM_BYTES(struct outer, raw),
    VM_SKIP(struct outer, loaded, "test"),
    VM_END,
};
static bool outer_post_load(void *obj)
{
    struct outer *o = obj;
    o->loaded++;
    return o->x != 13;
}
static const struct vmstate vm_outer =
    VMSTATE_HOOKS("outer", struct outer, outer_fields, NULL, outer_post_load);

static const struct outer sample = {
    .x = 0x12345678, .list = {1, 2, 3, 1ull << 63}, .in = {{7, true}, {9, false}}, .raw = "abcd"};

/* Loads b's only object into *o. */
static bool load(const struct snap_buf *b, struct outer *o, struct error *err)
{
    struct snap_objects all;
    ck_assert(!b->failed && snap_objects_parse(&all, b->data, b->len));
    ck_assert_uint_eq(all.count, 1);
    bool ok = vmstate_read(&vm_outer, o, &all.object[0], err);
    snap_objects_free(&all);
    return ok;
}

START_TEST(there_and_back)
{
    struct snap_buf b = {0};
    struct outer from = sample, to = {0};
    struct error err;

    vmstate_write(&vm_outer, &from, "thing", &b);
    ck_assert(load(&b, &to, &err));
    ck_assert(vmstate_loaded(&vm_outer, &to));
    ck_assert_int_eq(to.loaded, 1);
    ck_assert_uint_eq(vmstate_hash(&vm_outer, &from, 0), vmstate_hash(&vm_outer, &to, 0));
    /* The bytes are the format: little-endian on every host. */
    static const uint8_t start[] = {5, 0, 7, 0, 0, 0};
    static const uint8_t field[] = {1, 0, 1, 4, 1, 0, 0, 0, 'x', 0x78, 0x56, 0x34, 0x12};
    ck_assert_mem_eq(b.data, start, sizeof(start));
    ck_assert_mem_eq(b.data + 10, "thing", 5);
    ck_assert_mem_eq(b.data + 15, field, sizeof(field));
    to.x = 13;
    ck_assert(!vmstate_loaded(&vm_outer, &to));
    /* Cut anywhere it is not well-formed. */
    for (size_t n = 1; n < b.len; n++) {
        struct snap_objects all;
        ck_assert_msg(!snap_objects_parse(&all, b.data, n), "%zu bytes", n);
    }
    snap_buf_free(&b);
}
END_TEST

START_TEST(other_versions)
{
    struct snap_buf b = {0};
    struct outer to = sample;
    struct error err;

    /* Any order, unknown fields, missing ones, other widths, shorter arrays, bools that are none. */
    snap_object_begin(&b, "thing");
    snap_object_int(&b, "in[1].on", 1, 77);
    snap_object_int(&b, "in[0].a", 8, 0xffff);
    snap_object_int(&b, "new", 4, 5);
    snap_object_int(&b, "in[2].a", 2, 5);
    snap_object_bytes(&b, "raw", "XY", 2);
    st64(snap_object_ints(&b, "list", 8, 1), 42);
    snap_object_end(&b);
    ck_assert(load(&b, &to, &err));
    ck_assert_uint_eq(to.x, sample.x);
    ck_assert_uint_eq(to.in[0].a, 0xffff);
    ck_assert_uint_eq(to.in[1].a, 9);
    ck_assert_int_eq(to.in[1].on, 1);
    ck_assert_uint_eq(to.list[0], 42);
    ck_assert_uint_eq(to.list[3], 1ull << 63);
    ck_assert_mem_eq(to.raw, "XYcd", 5);
    snap_buf_free(&b);
}
END_TEST

static void refused(const char *name, bool bytes, uint8_t size, uint32_t count, uint64_t value)
{
    struct snap_buf b = {0};
    struct outer to = sample;
    struct error err = {0};

    snap_object_begin(&b, "thing");
    if (bytes) {
        uint8_t zeros[16] = {0};
        snap_object_bytes(&b, name, zeros, count);
    } else {
        uint8_t *p = snap_object_ints(&b, name, size, count);
        memset(p, 0, (size_t)size * count);
        st_sized(p, value, size);
    }
    snap_object_end(&b);
    ck_assert_msg(!load(&b, &to, &err), "%s", name);
    ck_assert_msg(strstr(err.text, name) != NULL, "%s", err.text);
    snap_buf_free(&b);
}

START_TEST(what_does_not_fit)
{
    refused("in[0].a", false, 4, 1, 0x10000); /* too much for 16 bits */
    refused("x", false, 8, 1, 1ull << 32);
    refused("list", false, 8, 5, 0); /* more than there are */
    refused("raw", true, 1, 6, 0);
    refused("raw", false, 1, 5, 0); /* integers for bytes, and the other way round */
    refused("x", true, 1, 1, 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {there_and_back, other_versions, what_does_not_fit};
    return RUN_TESTS("snapshot_object", tests);
}
