/* Objects of named fields: see snapshots/object.h. */
#include "snapshots/object.h"

#include <stdlib.h>

#define OBJECT_HEAD 10u
#define FIELD_HEAD  8u
enum { KIND_INTS = 1, KIND_BYTES = 2 };

/* ---- writing --------------------------------------------------------------------------------- */

void snap_buf_free(struct snap_buf *b)
{
    free(b->data);
    *b = (struct snap_buf){0};
}

uint8_t *snap_buf_grow(struct snap_buf *b, size_t len)
{
    if (b->failed)
        return NULL;
    if (len > b->cap - b->len) {
        size_t cap = MAX(b->cap * 2, b->len + len + 4096);
        uint8_t *data = realloc(b->data, cap);
        if (!data) {
            b->failed = true;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    b->len += len;
    return b->data + b->len - len;
}

void snap_object_begin(struct snap_buf *b, const char *name)
{
    size_t len = strlen(name);
    uint8_t *p;

    b->object = b->len;
    b->fields = 0;
    if (!(p = snap_buf_grow(b, OBJECT_HEAD + len)))
        return;
    st16(p, (uint16_t)len);
    memcpy(p + OBJECT_HEAD, name, len);
}

void snap_object_end(struct snap_buf *b)
{
    if (b->failed)
        return;
    uint8_t *p = b->data + b->object;
    st32(p + 2, b->fields);
    st32(p + 6, (uint32_t)(b->len - b->object - OBJECT_HEAD - ld16(p)));
}

static uint8_t *field(struct snap_buf *b, const char *name, uint8_t kind, uint8_t size,
                      uint32_t count)
{
    size_t len = strlen(name);
    uint8_t *p = snap_buf_grow(b, FIELD_HEAD + len + (size_t)size * count);

    if (!p)
        return NULL;
    b->fields++;
    st16(p, (uint16_t)len);
    p[2] = kind;
    p[3] = size;
    st32(p + 4, count);
    memcpy(p + FIELD_HEAD, name, len);
    return p + FIELD_HEAD + len;
}

void snap_object_bytes(struct snap_buf *b, const char *name, const void *data, uint32_t count)
{
    uint8_t *p = field(b, name, KIND_BYTES, 1, count);
    if (p && count)
        memcpy(p, data, count);
}

void snap_object_str(struct snap_buf *b, const char *name, const char *s)
{
    if (s)
        snap_object_bytes(b, name, s, (uint32_t)strlen(s));
}

uint8_t *snap_object_ints(struct snap_buf *b, const char *name, uint8_t size, uint32_t count)
{
    return field(b, name, KIND_INTS, size, count);
}

void snap_object_int(struct snap_buf *b, const char *name, unsigned size, uint64_t value)
{
    uint8_t *p = snap_object_ints(b, name, (uint8_t)size, 1);
    if (p)
        st_sized(p, value, size);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct cursor {
    const uint8_t *p;
    size_t left;
};

static const uint8_t *take(struct cursor *c, size_t n)
{
    const uint8_t *p = c->p;
    if (n > c->left)
        return NULL;
    c->p += n;
    c->left -= n;
    return p;
}

/* One pass that counts (o->object NULL), or one that fills in. */
static bool pass(struct snap_objects *o, struct cursor c, size_t *nfields, size_t *name_bytes)
{
    size_t fields = 0, bytes = 0;
    unsigned objects = 0;

    while (c.left) {
        const uint8_t *head = take(&c, OBJECT_HEAD), *name;
        if (!head || !(name = take(&c, ld16(head))))
            return false;
        uint32_t count = ld32(head + 2);
        struct cursor in = {NULL, ld32(head + 6)};
        if (!(in.p = take(&c, in.left)) || count > in.left / FIELD_HEAD)
            return false;
        if (o->object) {
            char *to = o->names + bytes;
            memcpy(to, name, ld16(head));
            o->object[objects] = (struct snap_object){to, count, o->fields + fields};
        }
        bytes += ld16(head) + 1u;
        objects++;
        for (uint32_t i = 0; i < count; i++) {
            const uint8_t *f = take(&in, FIELD_HEAD), *fname, *data;
            if (!f || !(fname = take(&in, ld16(f))))
                return false;
            uint8_t kind = f[2], size = f[3];
            uint64_t len = (uint64_t)size * ld32(f + 4);
            bool ints = kind == KIND_INTS && (size == 1 || size == 2 || size == 4 || size == 8);
            if ((!ints && !(kind == KIND_BYTES && size == 1)) || len > in.left)
                return false;
            data = take(&in, (size_t)len);
            if (o->object) {
                char *to = o->names + bytes;
                memcpy(to, fname, ld16(f));
                o->fields[fields] = (struct snap_field){to, !ints, size, ld32(f + 4), data};
            }
            bytes += ld16(f) + 1u;
            fields++;
        }
        if (in.left)
            return false;
    }
    o->count = objects;
    *nfields = fields;
    *name_bytes = bytes;
    return true;
}

bool snap_objects_parse(struct snap_objects *o, const uint8_t *data, size_t len)
{
    size_t nfields, bytes;

    *o = (struct snap_objects){0};
    if (!pass(o, (struct cursor){data, len}, &nfields, &bytes))
        return false;
    o->names = calloc(bytes + 1, 1);
    o->fields = calloc(nfields + 1, sizeof(*o->fields));
    o->object = calloc(o->count + 1u, sizeof(*o->object));
    if (!o->names || !o->fields || !o->object) {
        snap_objects_free(o);
        return false;
    }
    return pass(o, (struct cursor){data, len}, &nfields, &bytes);
}

void snap_objects_free(struct snap_objects *o)
{
    free(o->object);
    free(o->fields);
    free(o->names);
    *o = (struct snap_objects){0};
}

const struct snap_object *snap_objects_find(const struct snap_objects *o, const char *name)
{
    for (unsigned i = 0; i < o->count; i++) {
        if (!strcmp(o->object[i].name, name))
            return &o->object[i];
    }
    return NULL;
}

const struct snap_field *snap_object_find(const struct snap_object *o, const char *name,
                                          unsigned *next)
{
    unsigned start = next ? *next : 0;

    for (unsigned k = 0; k < o->nfields; k++) {
        unsigned i = start + k < o->nfields ? start + k : start + k - o->nfields;
        if (!strcmp(o->field[i].name, name)) {
            if (next)
                *next = i + 1 < o->nfields ? i + 1 : 0;
            return &o->field[i];
        }
    }
    return NULL;
}

uint64_t snap_object_get(const struct snap_object *o, const char *name, uint64_t missing)
{
    const struct snap_field *f = o ? snap_object_find(o, name, NULL) : NULL;
    return f && !f->bytes && f->count ? ld_sized(f->data, f->size) : missing;
}

char *snap_object_get_str(const struct snap_object *o, const char *name)
{
    const struct snap_field *f = o ? snap_object_find(o, name, NULL) : NULL;
    char *s = f && f->bytes ? malloc((size_t)f->count + 1) : NULL;

    if (s) {
        memcpy(s, f->data, f->count);
        s[f->count] = 0;
    }
    return s;
}
