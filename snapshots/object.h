/* Objects of named, typed fields, as they stand in a snapshot's CONF and STAT chunks, and a growing
 * buffer to write them to. docs/snapshot-format.md, "Objects", has the encoding:
 *
 *     object: u16 length of name, u32 number of fields, u32 bytes of all fields, name, fields
 *     field:  u16 length of name, u8 kind (1 integers, 2 bytes), u8 size of an element, u32 count,
 *             name, count elements; all little-endian
 *
 * A buffer that runs out of memory notes it in `failed` and ignores what follows, so that writers
 * need to look only once.
 */
#ifndef SNAPSHOTS_OBJECT_H
#define SNAPSHOTS_OBJECT_H

#include "base/bits.h"
#include "base/error.h"

struct snap_buf {
    uint8_t *data;
    size_t len, cap;
    size_t object; /* where the open object begins */
    uint32_t fields;
    bool failed;
};

void snap_buf_free(struct snap_buf *b);
/* len more bytes, to be filled in at once; NULL when there is no memory. */
uint8_t *snap_buf_grow(struct snap_buf *b, size_t len);

void snap_object_begin(struct snap_buf *b, const char *name);
void snap_object_end(struct snap_buf *b);
void snap_object_bytes(struct snap_buf *b, const char *name, const void *data, uint32_t count);
void snap_object_str(struct snap_buf *b, const char *name, const char *s); /* NULL: left out */
void snap_object_int(struct snap_buf *b, const char *name, unsigned size, uint64_t value);
/* Space for count integers of size bytes, to be filled in little-endian. */
uint8_t *snap_object_ints(struct snap_buf *b, const char *name, uint8_t size, uint32_t count);

struct snap_field {
    const char *name;
    bool bytes;
    uint8_t size; /* of an element */
    uint32_t count;
    const uint8_t *data; /* little-endian; lies in the parsed bytes */
};

struct snap_object {
    const char *name;
    unsigned nfields;
    struct snap_field *field;
};

struct snap_objects {
    struct snap_object *object;
    unsigned count;
    char *names;
    struct snap_field *fields;
};

/* The objects in [data, data+len), which must stay where it is. False if they are not well-formed. */
bool snap_objects_parse(struct snap_objects *o, const uint8_t *data, size_t len);
void snap_objects_free(struct snap_objects *o);
const struct snap_object *snap_objects_find(const struct snap_objects *o, const char *name);
/* A field by name; *next, if not NULL, is where to look first, and is moved on. */
const struct snap_field *snap_object_find(const struct snap_object *o, const char *name,
                                          unsigned *next);
/* The first integer of a field; `missing` where there is none. o may be NULL. */
uint64_t snap_object_get(const struct snap_object *o, const char *name, uint64_t missing);
/* A text in memory of its own; NULL if it is missing or there is no memory. o may be NULL. */
char *snap_object_get_str(const struct snap_object *o, const char *name);

#endif
