/* Judging vmstate tables by debug data (DWARF, read with elfutils' libdw): see vmstate_coverage.h.
 *
 * A table is looked up among the variables with its address; the struct that it describes is looked
 * up by name in the same compilation unit, which has seen the whole of it. Members are flattened
 * into runs of bytes, each with a path, and fields mark the bytes that they cover.
 */
#include "tests/unit/vmstate_coverage.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_STRUCT (1u << 20)
#define PATH_LEN   200

struct debug_info {
    int fd;
    Dwarf *dwarf;
    uintptr_t bias;
    char complaints[16384];
};

/* Of one table: for each byte, whether a member has it and which field covers it. */
struct coverage {
    struct debug_info *d;
    const struct vmstate *vm;
    uint8_t *member;               /* 0: padding */
    const struct vm_field **field; /* NULL: none */
    bool in_union;                 /* members share bytes: a field is one of them */
};

static void complain(struct coverage *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void complain(struct coverage *c, const char *fmt, ...)
{
    char *out = c->d->complaints;
    size_t len = strlen(out), size = sizeof(c->d->complaints);
    va_list ap;

    len += (size_t)snprintf(out + len, size - len, "%s: ", c->vm->type ? c->vm->type : "?");
    va_start(ap, fmt);
    if (len < size)
        len += (size_t)vsnprintf(out + len, size - len, fmt, ap);
    va_end(ap);
    if (len + 1 < size)
        strcpy(out + len, "\n");
}

/* ---- debug data ------------------------------------------------------------------------------- */

/* The type of die, without what does not matter to its shape. */
static bool type_of(Dwarf_Die *die, Dwarf_Die *type)
{
    Dwarf_Attribute attr;
    Dwarf_Die found;

    return dwarf_attr_integrate(die, DW_AT_type, &attr) && dwarf_formref_die(&attr, &found) &&
           dwarf_peel_type(&found, type) == 0;
}

static const char *name_of(Dwarf_Die *die)
{
    const char *name = dwarf_diename(die);
    return name ? name : "";
}

static bool is_aggregate(Dwarf_Die *type)
{
    int tag = dwarf_tag(type);
    return tag == DW_TAG_structure_type || tag == DW_TAG_union_type;
}

/* True if a typedef on the way to die's type is one of a width that every host agrees on. */
static bool has_fixed_width(Dwarf_Die *die)
{
    Dwarf_Attribute attr;
    Dwarf_Die type, next = *die;

    while (dwarf_attr_integrate(&next, DW_AT_type, &attr) && dwarf_formref_die(&attr, &type)) {
        const char *name = name_of(&type);
        if (strcmp(name, "uint64_t") == 0 || strcmp(name, "int64_t") == 0)
            return true;
        next = type;
    }
    return false;
}

static bool has_type(Dwarf_Die *die, const char *type)
{
    Dwarf_Die t;
    return type_of(die, &t) && dwarf_tag(&t) == DW_TAG_structure_type &&
           strcmp(name_of(&t), type) == 0;
}

/* The address of a variable in this process, or 0 if it has no fixed one. */
static uintptr_t address_of(struct debug_info *d, Dwarf_Die *variable)
{
    Dwarf_Attribute attr;
    Dwarf_Op *ops;
    size_t n;

    if (!dwarf_attr(variable, DW_AT_location, &attr) || dwarf_getlocation(&attr, &ops, &n) != 0 ||
        n != 1)
        return 0;
    if (ops[0].atom == DW_OP_addr)
        return ops[0].number + d->bias;
    /* DWARF 5 keeps addresses in a table of their own. */
    if (ops[0].atom == DW_OP_addrx && dwarf_getlocation_attr(&attr, ops, &attr) == 0) {
        Dwarf_Addr a;
        return dwarf_formaddr(&attr, &a) == 0 ? a + d->bias : 0;
    }
    return 0;
}

/* Calls fn for each variable outside functions; stops when it returns true. */
typedef bool (*variable_fn)(void *opaque, struct debug_info *d, Dwarf_Die *cu, Dwarf_Die *variable);
static bool each_variable(struct debug_info *d, variable_fn fn, void *opaque)
{
    Dwarf_Off offset = 0, next;
    size_t header;
    Dwarf_Die cu, die;

    while (dwarf_nextcu(d->dwarf, offset, &next, &header, NULL, NULL, NULL) == 0) {
        if (dwarf_offdie(d->dwarf, offset + header, &cu) && dwarf_child(&cu, &die) == 0) {
            do {
                if (dwarf_tag(&die) == DW_TAG_variable && fn(opaque, d, &cu, &die))
                    return true;
            } while (dwarf_siblingof(&die, &die) == 0);
        }
        offset = next;
    }
    return false;
}

struct search {
    const char *name;
    uintptr_t address;
    Dwarf_Die cu;
};

static bool find_by_name(void *opaque, struct debug_info *d, Dwarf_Die *cu, Dwarf_Die *variable)
{
    struct search *s = opaque;
    const char *name = dwarf_diename(variable);

    if (!name || strcmp(name, s->name) != 0)
        return false;
    s->address = address_of(d, variable);
    return s->address != 0;
}

static bool find_by_address(void *opaque, struct debug_info *d, Dwarf_Die *cu, Dwarf_Die *variable)
{
    struct search *s = opaque;

    if (address_of(d, variable) != s->address)
        return false;
    s->cu = *cu;
    return true;
}

struct debug_info *debug_info_open(uintptr_t address, const char *name)
{
    struct debug_info *d = calloc(1, sizeof(*d));
    struct search s = {.name = name};

    if (!d)
        return NULL;
    d->fd = open("/proc/self/exe", O_RDONLY);
    if (d->fd >= 0)
        d->dwarf = dwarf_begin(d->fd, DWARF_C_READ);
    if (!d->dwarf || !each_variable(d, find_by_name, &s)) {
        debug_info_close(d);
        return NULL;
    }
    d->bias = address - s.address;
    return d;
}

void debug_info_close(struct debug_info *d)
{
    if (d->dwarf)
        dwarf_end(d->dwarf);
    if (d->fd >= 0)
        close(d->fd);
    free(d);
}

struct listing {
    const char *type;
    void (*found)(void *opaque, const char *name, const void *variable);
    void *opaque;
};

static bool list_variable(void *opaque, struct debug_info *d, Dwarf_Die *cu, Dwarf_Die *variable)
{
    struct listing *l = opaque;
    uintptr_t address = address_of(d, variable);

    if (address && has_type(variable, l->type))
        l->found(l->opaque, name_of(variable), (const void *)address);
    return false;
}

void debug_info_variables(struct debug_info *d, const char *type,
                          void (*found)(void *opaque, const char *name, const void *variable),
                          void *opaque)
{
    struct listing l = {type, found, opaque};
    each_variable(d, list_variable, &l);
}

/* The complete type called name ("struct pit") among those of a compilation unit. */
static bool find_type(Dwarf_Die *cu, const char *name, Dwarf_Die *type)
{
    const char *space = strchr(name, ' ');
    int tag = strncmp(name, "union ", 6) == 0 ? DW_TAG_union_type : DW_TAG_structure_type;

    if (!space || dwarf_child(cu, type) != 0)
        return false;
    do {
        if (dwarf_tag(type) == tag && strcmp(name_of(type), space + 1) == 0 &&
            !dwarf_hasattr(type, DW_AT_declaration))
            return true;
    } while (dwarf_siblingof(type, type) == 0);
    return false;
}

/* ---- fields ----------------------------------------------------------------------------------- */

/* Peels an array: the element's type; *count becomes the number of elements, 1 for no array. */
static bool element_of(Dwarf_Die *type, uint64_t *count)
{
    Dwarf_Die range, element;
    Dwarf_Attribute attr;
    Dwarf_Word n;

    *count = 1;
    if (dwarf_tag(type) != DW_TAG_array_type)
        return true;
    if (dwarf_child(type, &range) != 0)
        return false;
    do {
        if (dwarf_attr(&range, DW_AT_count, &attr) && dwarf_formudata(&attr, &n) == 0)
            *count *= n;
        else if (dwarf_attr(&range, DW_AT_upper_bound, &attr) && dwarf_formudata(&attr, &n) == 0)
            *count *= n + 1;
        else
            return false; /* a flexible array is in nobody's size */
    } while (dwarf_siblingof(&range, &range) == 0);
    if (!type_of(type, &element))
        return false;
    *type = element;
    return true;
}

static void check_integer(struct coverage *c, const struct vm_field *f, Dwarf_Die *member,
                          Dwarf_Die *element)
{
    Dwarf_Attribute attr;
    Dwarf_Word encoding = 0, size = 0;
    int tag = dwarf_tag(element);

    dwarf_aggregate_size(element, &size);
    if (tag == DW_TAG_base_type && dwarf_attr(element, DW_AT_encoding, &attr))
        dwarf_formudata(&attr, &encoding);
    bool integer = tag == DW_TAG_enumeration_type || encoding == DW_ATE_signed ||
                   encoding == DW_ATE_unsigned || encoding == DW_ATE_boolean ||
                   encoding == DW_ATE_signed_char || encoding == DW_ATE_unsigned_char;
    if (!integer)
        complain(c, "field %s is declared an integer, and is none", f->name);
    else if (size != f->size)
        complain(c, "field %s has elements of %u bytes, not %u", f->name, (unsigned)size, f->size);
    else if (size == 8 && !has_fixed_width(member))
        complain(c, "field %s has not the same width on all hosts", f->name);
}

static void check_sub(struct coverage *c, const struct vm_field *f, Dwarf_Die *element)
{
    const char *space = f->sub && f->sub->type ? strchr(f->sub->type, ' ') : NULL;

    if (!space || !is_aggregate(element) || strcmp(space + 1, name_of(element)) != 0)
        complain(c, "field %s: its table describes %s, not the member's type", f->name,
                 space ? f->sub->type : "nothing");
}

/* A field against the member that starts where it does. */
static void check_shape(struct coverage *c, const struct vm_field *f, Dwarf_Die *member)
{
    Dwarf_Die type, target;
    uint64_t count = 0;
    bool known = type_of(member, &type);

    target = type;
    if (f->kind == VMK_SKIP)
        return;
    if (!known || !element_of(&type, &count)) {
        complain(c, "field %s: its type is not understood", f->name);
        return;
    }
    switch (f->kind) {
    case VMK_INT:
        check_integer(c, f, member, &type);
        break;
    case VMK_BYTES: {
        Dwarf_Word size = 0;
        dwarf_aggregate_size(&type, &size);
        if (size != 1)
            complain(c, "field %s is declared bytes, and has elements of %u", f->name,
                     (unsigned)size);
        break;
    }
    case VMK_STRUCT:
        check_sub(c, f, &type);
        break;
    case VMK_PTR_BYTES:
    case VMK_PTR_STRUCT:
        count = 1;
        if (dwarf_tag(&target) != DW_TAG_pointer_type)
            complain(c, "field %s is declared a pointer, and is none", f->name);
        else if (f->kind == VMK_PTR_STRUCT && type_of(&target, &type))
            check_sub(c, f, &type);
        break;
    default:
        break;
    }
    if (f->kind != VMK_PTR_BYTES && f->count != count)
        complain(c, "field %s has %u elements, not %u", f->name, (unsigned)count, f->count);
}

static void mark_field(struct coverage *c, const struct vm_field *f)
{
    bool pointer = f->kind == VMK_PTR_BYTES || f->kind == VMK_PTR_STRUCT;
    uint64_t size = pointer ? f->size : (uint64_t)f->size * f->count;

    if (f->kind == VMK_SKIP && !(f->reason && *f->reason))
        complain(c, "%s is skipped without a reason", f->name);
    if (f->offset + size > c->vm->size) {
        complain(c, "field %s reaches beyond the struct", f->name);
        return;
    }
    for (uint64_t at = f->offset; at < f->offset + size; at++) {
        if (c->field[at] && c->member[at]) {
            complain(c, "%s and %s cover the same bytes", c->field[at]->name, f->name);
            return;
        }
        c->field[at] = f;
    }
}

static const struct vm_field *field_at(const struct vmstate *vm, uint64_t offset)
{
    for (const struct vm_field *f = vm->fields; f->kind != VMK_END; f++)
        if (f->offset == offset)
            return f;
    return NULL;
}

static void check_names(struct coverage *c)
{
    for (const struct vm_field *f = c->vm->fields; f->kind != VMK_END; f++)
        for (const struct vm_field *g = c->vm->fields; g < f; g++)
            if (f->kind != VMK_SKIP && g->kind != VMK_SKIP && strcmp(f->name, g->name) == 0)
                complain(c, "two fields are called %s", f->name);
}

/* ---- members ---------------------------------------------------------------------------------- */

static bool member_offset(Dwarf_Die *member, Dwarf_Word *offset)
{
    Dwarf_Attribute attr;

    *offset = 0; /* a union's members have none */
    return !dwarf_attr(member, DW_AT_data_member_location, &attr) ||
           dwarf_formudata(&attr, offset) == 0;
}

/* Calls fn for each member of a struct, those of unnamed structs in it included. */
typedef void (*member_fn)(struct coverage *c, Dwarf_Die *member, const char *path, uint64_t at);
static void each_member(struct coverage *c, Dwarf_Die *type, const char *path, uint64_t base,
                        member_fn fn)
{
    Dwarf_Die member, inner;
    Dwarf_Word offset;
    char name[PATH_LEN];
    bool was = c->in_union;

    if (dwarf_child(type, &member) != 0)
        return;
    c->in_union = was || dwarf_tag(type) == DW_TAG_union_type;
    do {
        if (dwarf_tag(&member) != DW_TAG_member)
            continue;
        if (dwarf_hasattr(&member, DW_AT_bit_size) || !member_offset(&member, &offset)) {
            complain(c, "%s is a bit field: declare whole integers", name_of(&member));
            continue;
        }
        snprintf(name, sizeof(name), "%s%s%s", path, *path ? "." : "", name_of(&member));
        if (!dwarf_diename(&member) && type_of(&member, &inner) && is_aggregate(&inner))
            each_member(c, &inner, path, base + offset, fn);
        else
            fn(c, &member, name, base + offset);
    } while (dwarf_siblingof(&member, &member) == 0);
    c->in_union = was;
}

/* Marks what a member occupies; of structs inside, only what their members do. */
static void mark_member(struct coverage *c, Dwarf_Die *member, const char *path, uint64_t at)
{
    Dwarf_Die type;
    Dwarf_Word size = 0;
    uint64_t count;

    if (!type_of(member, &type) || !element_of(&type, &count) ||
        dwarf_aggregate_size(&type, &size) != 0)
        return; /* of no size: a flexible array */
    for (uint64_t i = 0; i < count; i++) {
        if (is_aggregate(&type))
            each_member(c, &type, path, at + i * size, mark_member);
        else if (at + (i + 1) * size <= c->vm->size)
            memset(c->member + at + i * size, 1, size);
    }
}

static void report_member(struct coverage *c, Dwarf_Die *member, const char *path, uint64_t at)
{
    Dwarf_Die type;
    Dwarf_Word size = 0;
    uint64_t count, missing = 0;
    const struct vm_field *f = field_at(c->vm, at);

    if (!type_of(member, &type) || !element_of(&type, &count) ||
        dwarf_aggregate_size(&type, &size) != 0)
        return;
    for (uint64_t i = at; i < at + size * count && i < c->vm->size; i++)
        missing += c->member[i] && !c->field[i];
    if (missing)
        complain(c, "%s: %u bytes are neither a field nor skipped", path, (unsigned)missing);
    /* A skip may span members; a field is one. */
    if (f && f->kind != VMK_SKIP && !c->in_union)
        check_shape(c, f, member);
}

const char *coverage_of(struct debug_info *d, const struct vmstate *vm)
{
    struct coverage c = {.d = d, .vm = vm};
    struct search s = {.address = (uintptr_t)vm};
    Dwarf_Die type;
    Dwarf_Word size;

    d->complaints[0] = '\0';
    if (vm->size > MAX_STRUCT || !vm->type || !each_variable(d, find_by_address, &s) ||
        !find_type(&s.cu, vm->type, &type)) {
        complain(&c, "the debug data do not know it");
        return d->complaints;
    }
    if (dwarf_aggregate_size(&type, &size) != 0 || size != vm->size) {
        complain(&c, "its table says %u bytes, the debug data %u", (unsigned)vm->size,
                 (unsigned)size);
        return d->complaints;
    }
    c.member = calloc(vm->size, 1);
    c.field = calloc(vm->size, sizeof(*c.field));
    if (c.member && c.field) {
        each_member(&c, &type, "", 0, mark_member);
        for (const struct vm_field *f = vm->fields; f->kind != VMK_END; f++)
            mark_field(&c, f);
        each_member(&c, &type, "", 0, report_member);
        check_names(&c);
    } else {
        complain(&c, "no memory");
    }
    free(c.member);
    free(c.field);
    return d->complaints[0] ? d->complaints : NULL;
}
