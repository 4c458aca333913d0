/* Translated code for GDB: its JIT interface ("JIT Compilation Interface" in the manual). GDB has a
 * breakpoint in __jit_debug_register_code, and reads the list that __jit_debug_descriptor heads when it
 * gets there or attaches. The list's elements are object files in memory: here an ELF header, a section
 * that says where the code is, and a symbol for each block.
 *
 * A new block comes into the newest object of its vCPU, which is taken out of the list, made anew and put
 * back; so each is known to GDB at once, and there are not as many objects as blocks.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/symbols.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ELF_ORDER ELFDATA2LSB
#else
#define ELF_ORDER ELFDATA2MSB
#endif
#if defined(__aarch64__)
#define ELF_HOST EM_AARCH64
#elif defined(__s390x__)
#define ELF_HOST EM_S390
#else
#define ELF_HOST EM_X86_64
#endif

/* ---- what GDB looks for, by name and layout ----------------------------------------------------- */

enum { JIT_NOACTION, JIT_REGISTER, JIT_UNREGISTER };

struct jit_code_entry {
    struct jit_code_entry *next, *prev;
    const char *file;
    uint64_t size;
};

struct jit_descriptor {
    uint32_t version, action;
    struct jit_code_entry *relevant, *first;
};

/* The interface is one variable and one function of the process: this is why there is a global that
 * changes, and why it is in the program and not in the library. */
extern struct jit_descriptor __jit_debug_descriptor;
extern void __jit_debug_register_code(void);
struct jit_descriptor __jit_debug_descriptor = {1, JIT_NOACTION, NULL, NULL};
void __attribute__((noinline)) __jit_debug_register_code(void)
{
    __asm__ volatile("" ::: "memory");
}

/* ---- objects ------------------------------------------------------------------------------------ */

#define NAME_BYTES 48
#define OBJECT_MAX 256 /* symbols */

enum { SEC_NULL, SEC_TEXT, SEC_SYMTAB, SEC_STRTAB, SEC_SHSTRTAB, SECTIONS };

/* The file, as GDB reads it; the tables have room to grow. */
struct image {
    Elf64_Ehdr head;
    Elf64_Shdr section[SECTIONS];
    char section_names[40];
    Elf64_Sym symbol[1 + OBJECT_MAX];
    char names[1 + OBJECT_MAX * NAME_BYTES];
};

struct object {
    struct jit_code_entry entry; /* first: what is in GDB's list is one of these */
    struct object *next;
    unsigned cpu, n;
    uintptr_t from, to; /* host addresses of all its code */
    size_t name_bytes;
    bool listed;
    struct image image;
};

struct gdb_symbols {
    struct object *objects, *newest[TNM_MAX_CPUS];
};

static void list_object(struct object *o)
{
    struct jit_descriptor *d = &__jit_debug_descriptor;

    o->entry = (struct jit_code_entry){d->first, NULL, (const char *)&o->image, sizeof(o->image)};
    if (d->first)
        d->first->prev = &o->entry;
    d->first = d->relevant = &o->entry;
    d->action = JIT_REGISTER;
    o->listed = true;
    __jit_debug_register_code();
    d->action = JIT_NOACTION;
}

static void unlist_object(struct object *o)
{
    struct jit_descriptor *d = &__jit_debug_descriptor;

    if (!o->listed)
        return;
    if (o->entry.prev)
        o->entry.prev->next = o->entry.next;
    else
        d->first = o->entry.next;
    if (o->entry.next)
        o->entry.next->prev = o->entry.prev;
    d->relevant = &o->entry;
    d->action = JIT_UNREGISTER;
    o->listed = false;
    __jit_debug_register_code();
    d->action = JIT_NOACTION;
    d->relevant = NULL;
}

static void set_section(struct image *im, unsigned n, const char *name, uint32_t type,
                        const void *data, size_t bytes)
{
    Elf64_Shdr *s = &im->section[n];
    char *to = im->section_names + 1;

    while (*to)
        to += strlen(to) + 1;
    strcpy(to, name);
    s->sh_name = (Elf64_Word)(to - im->section_names);
    s->sh_type = type;
    s->sh_addralign = 1;
    s->sh_offset = (Elf64_Off)((const char *)data - (const char *)im);
    s->sh_size = bytes;
}

static void make_image(struct image *im)
{
    memcpy(im->head.e_ident, ELFMAG, SELFMAG);
    im->head.e_ident[EI_CLASS] = ELFCLASS64;
    im->head.e_ident[EI_DATA] = ELF_ORDER;
    im->head.e_ident[EI_VERSION] = EV_CURRENT;
    im->head.e_type = ET_EXEC;
    im->head.e_machine = ELF_HOST;
    im->head.e_version = EV_CURRENT;
    im->head.e_ehsize = sizeof(im->head);
    im->head.e_shoff = offsetof(struct image, section);
    im->head.e_shentsize = sizeof(im->section[0]);
    im->head.e_shnum = SECTIONS;
    im->head.e_shstrndx = SEC_SHSTRTAB;
    set_section(im, SEC_TEXT, ".text", SHT_NOBITS, im, 0);
    im->section[SEC_TEXT].sh_flags = SHF_ALLOC | SHF_EXECINSTR;
    set_section(im, SEC_SYMTAB, ".symtab", SHT_SYMTAB, im->symbol, sizeof(im->symbol[0]));
    im->section[SEC_SYMTAB].sh_entsize = sizeof(im->symbol[0]);
    im->section[SEC_SYMTAB].sh_link = SEC_STRTAB;
    im->section[SEC_SYMTAB].sh_info = 1; /* of the first symbol that is not local */
    im->section[SEC_SYMTAB].sh_addralign = 8;
    set_section(im, SEC_STRTAB, ".strtab", SHT_STRTAB, im->names, 1);
    set_section(im, SEC_SHSTRTAB, ".shstrtab", SHT_STRTAB, im->section_names,
                sizeof(im->section_names));
}

static struct object *new_object(struct gdb_symbols *g, const tnm_host_code *code)
{
    struct object *o = calloc(1, sizeof(*o));

    if (!o)
        return NULL;
    make_image(&o->image);
    o->cpu = code->cpu;
    o->from = o->to = (uintptr_t)code->host;
    o->name_bytes = 1;
    o->next = g->objects;
    g->objects = o;
    g->newest[code->cpu] = o;
    return o;
}

static void put_symbol(struct object *o, const tnm_host_code *code, const char *name)
{
    struct image *im = &o->image;
    size_t bytes = strlen(name) + 1;
    Elf64_Sym *s = &im->symbol[++o->n];

    s->st_name = (Elf64_Word)o->name_bytes;
    s->st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
    s->st_shndx = SEC_TEXT;
    s->st_value = (uintptr_t)code->host;
    s->st_size = code->size;
    memcpy(im->names + o->name_bytes, name, bytes);
    o->name_bytes += bytes;
    o->to = (uintptr_t)code->host + code->size;
    im->section[SEC_TEXT].sh_addr = o->from;
    im->section[SEC_TEXT].sh_size = o->to - o->from;
    im->section[SEC_SYMTAB].sh_size = (1 + o->n) * sizeof(*s);
    im->section[SEC_STRTAB].sh_size = o->name_bytes;
}

/* Whether code can go into o: objects of several vCPUs, or of places apart, must not overlap. */
static bool fits(const struct object *o, const tnm_host_code *code)
{
    uintptr_t at = (uintptr_t)code->host;

    return o && o->n < OBJECT_MAX && at >= o->to && at - o->to < 4096;
}

void gdb_symbols_add(struct gdb_symbols *g, const tnm_host_code *code, const char *name)
{
    struct object *o = g->newest[code->cpu];

    if (!fits(o, code))
        o = new_object(g, code);
    if (!o)
        return; /* out of memory: code without a name is no reason to stop */
    unlist_object(o);
    put_symbol(o, code, name);
    list_object(o);
}

static void free_object(struct gdb_symbols *g, struct object *o)
{
    unlist_object(o);
    if (g->newest[o->cpu] == o)
        g->newest[o->cpu] = NULL;
    free(o);
}

void gdb_symbols_remove(struct gdb_symbols *g, const void *host, size_t size)
{
    uintptr_t from = (uintptr_t)host, to = from + size;

    for (struct object **p = &g->objects; *p;) {
        struct object *o = *p;
        if (o->from < to && from < o->to) {
            *p = o->next;
            free_object(g, o);
        } else {
            p = &o->next;
        }
    }
}

struct gdb_symbols *gdb_symbols_new(void)
{
    return calloc(1, sizeof(struct gdb_symbols));
}

void gdb_symbols_free(struct gdb_symbols *g)
{
    if (!g)
        return;
    while (g->objects) {
        struct object *o = g->objects;
        g->objects = o->next;
        free_object(g, o);
    }
    free(g);
}
