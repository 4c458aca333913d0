/* Walking declared state: see snapshots/vmstate.h. Everything that reads state (hashes, inspection,
 * snapshots) goes through vmstate_walk, so that there is one order and one naming of fields. */
#include "snapshots/vmstate.h"

#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"
#include "snapshots/object.h"

#include <stdio.h>

#define PATH_MAX_LEN 256

static void walk(const struct vmstate *vm, uint8_t *obj, char *path, size_t len, vm_visit_fn visit,
                 void *opaque)
{
    for (const struct vm_field *f = vm->fields; f->kind != VMK_END; f++) {
        uint8_t *at = obj + f->offset;
        int n = snprintf(path + len, PATH_MAX_LEN - len, "%s%s", len ? "." : "", f->name);
        size_t end = MIN(len + (size_t)n, (size_t)PATH_MAX_LEN - 1);
        void *target;

        switch (f->kind) {
        case VMK_INT:
        case VMK_BYTES:
            visit(opaque, path, f, at);
            break;
        case VMK_PTR_BYTES:
            memcpy(&target, at, sizeof(target));
            visit(opaque, path, f, target);
            break;
        case VMK_STRUCT:
            for (uint32_t i = 0; i < f->count; i++) {
                size_t sub = end;
                if (f->count > 1) {
                    n = snprintf(path + end, PATH_MAX_LEN - end, "[%u]", i);
                    sub = MIN(end + (size_t)n, (size_t)PATH_MAX_LEN - 1);
                }
                walk(f->sub, at + (size_t)i * f->size, path, sub, visit, opaque);
            }
            break;
        case VMK_PTR_STRUCT:
            memcpy(&target, at, sizeof(target));
            if (target)
                walk(f->sub, target, path, end, visit, opaque);
            break;
        default:
            break;
        }
    }
    path[len] = 0;
}

void vmstate_walk(const struct vmstate *vm, void *obj, vm_visit_fn visit, void *opaque)
{
    char path[PATH_MAX_LEN] = "";
    walk(vm, obj, path, 0, visit, opaque);
}

static void run_pre_save(const struct vmstate *vm, uint8_t *obj)
{
    if (vm->pre_save)
        vm->pre_save(obj);
    for (const struct vm_field *f = vm->fields; f->kind != VMK_END; f++) {
        uint8_t *at = obj + f->offset;
        void *target = NULL;
        if (f->kind == VMK_STRUCT) {
            for (uint32_t i = 0; i < f->count; i++)
                run_pre_save(f->sub, at + (size_t)i * f->size);
        } else if (f->kind == VMK_PTR_STRUCT) {
            memcpy(&target, at, sizeof(target));
            if (target)
                run_pre_save(f->sub, target);
        }
    }
}

static uint64_t load_int(const uint8_t *p, uint32_t size)
{
    uint16_t v16;
    uint32_t v32;
    uint64_t v64;

    switch (size) {
    case 1:
        return *p;
    case 2:
        memcpy(&v16, p, 2);
        return v16;
    case 4:
        memcpy(&v32, p, 4);
        return v32;
    default:
        CHECK(size == 8);
        memcpy(&v64, p, 8);
        return v64;
    }
}

static void hash_field(void *opaque, const char *path, const struct vm_field *f, void *data)
{
    uint64_t *h = opaque;

    if (f->kind != VMK_INT || f->size == 1) {
        *h = hash64(data, (size_t)f->count, *h);
        return;
    }
    for (uint32_t i = 0; i < f->count; i++) {
        uint8_t le[8];
        st64(le, load_int((const uint8_t *)data + (size_t)i * f->size, f->size));
        *h = hash64(le, f->size, *h);
    }
}

uint64_t vmstate_hash(const struct vmstate *vm, void *obj, uint64_t seed)
{
    uint64_t h = hash64(vm->name, strlen(vm->name), seed);
    run_pre_save(vm, obj);
    vmstate_walk(vm, obj, hash_field, &h);
    return h;
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static void store_int(uint8_t *p, uint32_t size, uint64_t v)
{
    uint16_t v16 = (uint16_t)v;
    uint32_t v32 = (uint32_t)v;

    switch (size) {
    case 1:
        *p = (uint8_t)v;
        break;
    case 2:
        memcpy(p, &v16, 2);
        break;
    case 4:
        memcpy(p, &v32, 4);
        break;
    default:
        CHECK(size == 8);
        memcpy(p, &v, 8);
        break;
    }
}

static void write_field(void *opaque, const char *path, const struct vm_field *f, void *data)
{
    struct snap_buf *out = opaque;

    if (f->kind != VMK_INT) {
        snap_object_bytes(out, path, data, f->count);
        return;
    }
    uint8_t *to = snap_object_ints(out, path, (uint8_t)f->size, f->count);
    for (uint32_t i = 0; to && i < f->count; i++)
        st_sized(to + (size_t)i * f->size, load_int((uint8_t *)data + (size_t)i * f->size, f->size),
                 f->size);
}

void vmstate_write(const struct vmstate *vm, void *obj, const char *name, struct snap_buf *out)
{
    run_pre_save(vm, obj);
    snap_object_begin(out, name);
    vmstate_walk(vm, obj, write_field, out);
    snap_object_end(out);
}

struct reading {
    const struct snap_object *object;
    unsigned next; /* fields mostly come in the order of the tables */
    bool ok;
    struct error *err;
};

static void read_field(void *opaque, const char *path, const struct vm_field *f, void *data)
{
    struct reading *r = opaque;
    const struct snap_field *in = snap_object_find(r->object, path, &r->next);

    if (!in || !r->ok)
        return;
    if (in->bytes != (f->kind != VMK_INT) || in->count > f->count) {
        r->ok = error_set(r->err, ERR_FORMAT,
                          "the snapshot's field %s.%s is of another kind or larger than it can be "
                          "here: restore it with the version that made it, or a newer one",
                          r->object->name, path);
        return;
    }
    if (in->bytes) {
        memcpy(data, in->data, in->count);
        return;
    }
    for (uint32_t i = 0; i < in->count; i++) {
        uint64_t v = ld_sized(in->data + (size_t)i * in->size, in->size);
        if (f->size < 8 && v >> f->size * 8) {
            r->ok = error_set(r->err, ERR_FORMAT,
                              "the snapshot's field %s.%s has the value %llu, which does not fit "
                              "here: restore it with a newer version",
                              r->object->name, path, (unsigned long long)v);
            return;
        }
        store_int((uint8_t *)data + (size_t)i * f->size, f->size, f->is_bool ? v != 0 : v);
    }
}

bool vmstate_read(const struct vmstate *vm, void *obj, const struct snap_object *o,
                  struct error *err)
{
    struct reading r = {.object = o, .ok = true, .err = err};
    vmstate_walk(vm, obj, read_field, &r);
    return r.ok;
}

bool vmstate_loaded(const struct vmstate *vm, void *obj)
{
    for (const struct vm_field *f = vm->fields; f->kind != VMK_END; f++) {
        uint8_t *at = (uint8_t *)obj + f->offset;
        void *target = NULL;
        if (f->kind == VMK_STRUCT) {
            for (uint32_t i = 0; i < f->count; i++) {
                if (!vmstate_loaded(f->sub, at + (size_t)i * f->size))
                    return false;
            }
        } else if (f->kind == VMK_PTR_STRUCT) {
            memcpy(&target, at, sizeof(target));
            if (target && !vmstate_loaded(f->sub, target))
                return false;
        }
    }
    return !vm->post_load || vm->post_load(obj);
}
