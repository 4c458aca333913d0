/* Declared state. A struct that holds guest-visible state has one table of its fields; snapshots,
 * state hashes, inspection and the field-coverage test all read that table, so nothing about state
 * is ever written twice.
 *
 *     struct pit { struct pit_channel ch[3]; uint8_t gate2; struct irq_line irq; };
 *     static const struct vm_field pit_fields[] = {
 *         VM_STRUCTS(struct pit, ch, &vm_pit_channel),
 *         VM_INT(struct pit, gate2),
 *         VM_SKIP(struct pit, irq, "wiring, set by the board"),
 *         VM_END,
 *     };
 *     const struct vmstate vm_pit = VMSTATE("pit", struct pit, pit_fields);
 *
 * Every byte of the struct is a field, a skip with a reason, or padding. Field names are part of
 * the snapshot format for ever: rename the C member if you must, never the string. A field that a
 * file lacks keeps the value that reset gave it.
 */
#ifndef SNAPSHOTS_VMSTATE_H
#define SNAPSHOTS_VMSTATE_H

#include "base/bits.h"

enum vm_kind {
    VMK_END,
    VMK_INT,        /* count integers of size bytes (1, 2, 4, 8), signed or not; bool is size 1 */
    VMK_BYTES,      /* count plain bytes */
    VMK_STRUCT,     /* count structs described by sub, size bytes each */
    VMK_PTR_BYTES,  /* the member is a pointer to count bytes, owned by the struct, never NULL */
    VMK_PTR_STRUCT, /* the member is a pointer to one struct described by sub; NULL: left out */
    VMK_SKIP,       /* not state: reason says why */
};

struct vmstate;
struct vm_field {
    const char *name;
    enum vm_kind kind;
    uint32_t offset;
    uint32_t size;
    uint32_t count;
    const struct vmstate *sub;
    const char *reason;
    bool is_bool; /* VMK_INT: a file's values become 0 or 1 */
};

struct vmstate {
    const char *name;
    size_t size;
    const struct vm_field *fields;
    /* Optional. pre_save brings lazily kept state into its declared fields; post_load rebuilds
     * what was skipped and returns false when the values make no sense. */
    void (*pre_save)(void *obj);
    bool (*post_load)(void *obj);
    const char *type; /* the C type: the coverage test looks it up in the debug data */
};

#define VM_MEMBER(S, m) ((S *)0)->m
#define VM_IS_BOOL(e)   _Generic((e), bool : true, default : false)
#define VM_INT(S, m)                                                                               \
    {                                                                                              \
#m, VMK_INT, offsetof(S, m), sizeof(VM_MEMBER(S, m)), 1, NULL, NULL,                       \
            VM_IS_BOOL(VM_MEMBER(S, m))                                                            \
    }
/* An array of integers, of any number of dimensions: elem is the innermost element's type. */
#define VM_INTS(S, m, elem)                                                                        \
    {                                                                                              \
#m, VMK_INT, offsetof(S, m), sizeof(elem), sizeof(VM_MEMBER(S, m)) / sizeof(elem), NULL,   \
            NULL, VM_IS_BOOL((elem)0)                                                              \
    }
#define VM_BYTES(S, m)                                                                             \
    {                                                                                              \
#m, VMK_BYTES, offsetof(S, m), 1, sizeof(VM_MEMBER(S, m)), NULL, NULL, false               \
    }
#define VM_STRUCT(S, m, vm)                                                                        \
    {                                                                                              \
#m, VMK_STRUCT, offsetof(S, m), sizeof(VM_MEMBER(S, m)), 1, vm, NULL, false                \
    }
#define VM_STRUCTS(S, m, vm)                                                                       \
    {                                                                                              \
#m, VMK_STRUCT, offsetof(S, m), sizeof(VM_MEMBER(S, m)[0]),                                \
            sizeof(VM_MEMBER(S, m)) / sizeof(VM_MEMBER(S, m)[0]), vm, NULL, false                  \
    }
#define VM_PTR_BYTES(S, m, n)                                                                      \
    {                                                                                              \
#m, VMK_PTR_BYTES, offsetof(S, m), sizeof(VM_MEMBER(S, m)), n, NULL, NULL, false           \
    }
#define VM_PTR_STRUCT(S, m, vm)                                                                    \
    {                                                                                              \
#m, VMK_PTR_STRUCT, offsetof(S, m), sizeof(VM_MEMBER(S, m)), 1, vm, NULL, false            \
    }
#define VM_SKIP(S, m, why)                                                                         \
    {                                                                                              \
#m, VMK_SKIP, offsetof(S, m), sizeof(VM_MEMBER(S, m)), 1, NULL, why, false                 \
    }
#define VM_END                                                                                     \
    {                                                                                              \
        NULL, VMK_END, 0, 0, 0, NULL, NULL, false                                                  \
    }
#define VMSTATE(nm, S, flds)                                                                       \
    {                                                                                              \
        nm, sizeof(S), flds, NULL, NULL, #S                                                        \
    }
#define VMSTATE_HOOKS(nm, S, flds, pre, post)                                                      \
    {                                                                                              \
        nm, sizeof(S), flds, pre, post, #S                                                         \
    }

/* Calls visit for every integer and byte run of obj, depth first, with its dotted path
 * ("ch[1].count"). data points at count elements of size bytes in host byte order. */
typedef void (*vm_visit_fn)(void *opaque, const char *path, const struct vm_field *field,
                            void *data);
void vmstate_walk(const struct vmstate *vm, void *obj, vm_visit_fn visit, void *opaque);

/* Hash of all declared state; equal on every host. Runs pre_save. */
uint64_t vmstate_hash(const struct vmstate *vm, void *obj, uint64_t seed);

/* Snapshots: snapshots/object.h has the encoding. vmstate_write runs pre_save and appends the object
 * under a name. vmstate_read takes over the fields that o has, and fails when one cannot be what
 * the name stands for; then call vmstate_loaded, which runs post_load, inner structs first. */
struct snap_buf;
struct snap_object;
struct error;
void vmstate_write(const struct vmstate *vm, void *obj, const char *name, struct snap_buf *out);
bool vmstate_read(const struct vmstate *vm, void *obj, const struct snap_object *o,
                  struct error *err);
bool vmstate_loaded(const struct vmstate *vm, void *obj);

#endif
