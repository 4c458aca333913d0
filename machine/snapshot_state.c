/* A machine's configuration and declared state as objects of a snapshot, and back.
 *
 * State objects are "machine", "cpu0" and on, and the devices by their names on the board. Loading
 * starts from reset, so that what a file does not say has its power-on value; a device that the file
 * does not know stays reset, one that the machine does not have is an error.
 *
 * What the guest cannot see is not compared: a snapshot of a machine with the host's clock goes on
 * under the instruction clock, and serial ports lead where the new machine's configuration says.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "devices/vga.h"
#include "devices/block.h"
#include "machine/disks.h"

/* ---- streams --------------------------------------------------------------------------------- */

static void add(struct source *out, unsigned *n, const struct source *s)
{
    if (s->size)
        out[(*n)++] = *s;
}

static void add_blob(struct source *out, unsigned *n, const char *name, const struct blob *b)
{
    struct source s = {.kind = SOURCE_BLOB, .size = b->size, .data = b->data, .missing = SNAP_ZERO};
    snprintf(s.name, sizeof(s.name), "%s", name);
    add(out, n, &s);
}

unsigned machine_sources(struct tnm_machine *m, struct source *out)
{
    unsigned n = 0;

    add(out, &n,
        &(struct source){.name = "ram",
                         .kind = SOURCE_MEMORY,
                         .size = m->ram_below_4g + m->ram_above_4g,
                         .ra = 0,
                         .missing = SNAP_ZERO});
    add(out, &n,
        &(struct source){.name = "vram",
                         .kind = SOURCE_MEMORY,
                         .size = vga_vram_size(m->vga),
                         .ra = vga_vram_ra(m->vga),
                         .missing = SNAP_ZERO});
    add_blob(out, &n, "firmware", &m->bios);
    add_blob(out, &n, "vga_firmware", &m->vga_bios);
    add_blob(out, &n, "kernel", &m->kernel);
    add_blob(out, &n, "initrd", &m->initrd);
    add_blob(out, &n, "fw_cfg", &m->fw_items);
    for (unsigned i = 0; i < DISKS_MAX; i++) {
        struct block_dev *b = disk_block(m, i);
        struct block_base base;
        if (!b || block_readonly(b))
            continue;
        struct source s = {.kind = SOURCE_DISK,
                           .size = block_size(b),
                           .disk = i,
                           .missing = block_bases(b, &base, 1) ? SNAP_BASE : SNAP_ZERO};
        snprintf(s.name, sizeof(s.name), "%s", disk_name(i));
        add(out, &n, &s);
    }
    return n;
}

/* ---- state ----------------------------------------------------------------------------------- */

void state_write(struct tnm_machine *m, struct snap_buf *out)
{
    char name[16];

    vmstate_write(&vm_machine, m, "machine", out);
    for (unsigned i = 0; i < m->ncpus; i++) {
        snprintf(name, sizeof(name), "cpu%u", i);
        vmstate_write(&vm_cpu, m->cpu[i], name, out);
    }
    for (unsigned i = 0; i < m->ndevices; i++) {
        struct device *d = m->dev[i];
        if (d && d->cls->vmstate)
            vmstate_write(d->cls->vmstate, d, d->id, out);
    }
}

static const struct vmstate *find_object(struct tnm_machine *m, const char *name, void **obj)
{
    char cpu[16];

    *obj = m;
    if (!strcmp(name, "machine"))
        return &vm_machine;
    for (unsigned i = 0; i < m->ncpus; i++) {
        snprintf(cpu, sizeof(cpu), "cpu%u", i);
        *obj = m->cpu[i];
        if (!strcmp(name, cpu))
            return &vm_cpu;
    }
    for (unsigned i = 0; i < m->ndevices; i++) {
        *obj = m->dev[i];
        if (m->dev[i] && m->dev[i]->cls->vmstate && !strcmp(name, m->dev[i]->id))
            return m->dev[i]->cls->vmstate;
    }
    return NULL;
}

static bool check_machine(const struct tnm_machine *m, struct error *err)
{
    return (m->current < m->ncpus && m->reset_kind <= RESET_INIT) ||
           error_set(err, ERR_FORMAT,
                     "the snapshot's state of the run loop makes no sense: use another copy");
}

bool state_read(struct tnm_machine *m, const struct snap_objects *o, struct error *err)
{
    void *obj;

    for (unsigned i = 0; i < o->count; i++) {
        if (!find_object(m, o->object[i].name, &obj))
            return error_set(err, ERR_FORMAT,
                             "the snapshot has a device %.40s, which this machine lacks: configure "
                             "it alike, or use a newer version",
                             o->object[i].name);
    }
    m->want_reset = m->want_poweroff = m->want_exit = false;
    board_reset(m, RESET_POWER_ON);
    clock_drop_events(&m->clock);
    for (unsigned i = 0; i < o->count; i++) {
        const struct vmstate *vm = find_object(m, o->object[i].name, &obj);
        if (!vmstate_read(vm, obj, &o->object[i], err))
            return false;
    }
    if (!check_machine(m, err))
        return false;
    for (unsigned i = 0; i < o->count; i++) {
        const struct vmstate *vm = find_object(m, o->object[i].name, &obj);
        if (!vmstate_loaded(vm, obj))
            return error_set(err, ERR_FORMAT,
                             "the snapshot's state of %.40s makes no sense: it is damaged, or made "
                             "by something else: use another copy",
                             o->object[i].name);
    }
    return true;
}

/* ---- configuration --------------------------------------------------------------------------- */

/* So that the file can be found again from another folder. */
static void write_path(struct snap_buf *out, const char *name, const char *path)
{
    char *full = path ? realpath(path, NULL) : NULL;
    snap_object_str(out, name, full ? full : path);
    free(full);
}

/* A parent in the same folder is named by its last part, so that the two can move together. */
static void write_parent(const char *parent, uint64_t id, const char *path, struct snap_buf *out)
{
    char *above = realpath(parent, NULL), *dir = NULL;
    const char *slash = strrchr(path, '/'), *name = above ? above : parent;
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");

    if (folder)
        dir = realpath(folder, NULL);
    if (dir && above && !strncmp(above, dir, strlen(dir)) &&
        strrchr(above, '/') == above + (strcmp(dir, "/") ? strlen(dir) : 0))
        name = strrchr(above, '/') + 1;
    snap_object_begin(out, "parent");
    snap_object_str(out, "path", name);
    snap_object_int(out, "id", 8, id);
    snap_object_end(out);
    free(above);
    free(dir);
    free(folder);
}

void config_write(struct tnm_machine *m, const tnm_save_options *opt, uint64_t parent_id,
                  const char *path, struct snap_buf *out)
{
    const tnm_config *c = &m->cfg;

    snap_object_begin(out, "save");
    snap_object_str(out, "program", "tinamou 0.1");
    snap_object_str(out, "name", opt->name);
    snap_object_int(out, "time_ns", 8, m->clock.now);
    snap_object_int(out, "insns", 8, machine_insns(m));
    snap_object_end(out);
    if (opt->parent)
        write_parent(opt->parent, parent_id, path, out);

    snap_object_begin(out, "config");
    snap_object_int(out, "memory", 8, c->memory);
    snap_object_int(out, "cpus", 4, c->cpus);
    snap_object_str(out, "cpu_model", c->cpu_model);
    snap_object_int(out, "clock", 1, c->clock);
    snap_object_str(out, "boot", c->boot);
    write_path(out, "kernel", c->kernel);
    write_path(out, "initrd", c->initrd);
    snap_object_str(out, "append", c->append);
    write_path(out, "firmware", c->firmware);
    write_path(out, "vga_firmware", c->vga_firmware);
    snap_object_int(out, "serials", 4, MAX(c->nserials, 2u));
    snap_object_int(out, "debug_exit_port", 4, (uint32_t)c->debug_exit_port);
    snap_object_int(out, "disks", 4, c->ndisks);
    snap_object_end(out);
}

static bool differs(const char *what, struct error *err)
{
    return error_set(err, ERR_INVALID,
                     "the snapshot is of a machine with another %s: start one from the snapshot",
                     what);
}

static bool same_text(const struct snap_object *o, const char *name, const char *ours)
{
    char *theirs = snap_object_get_str(o, name);
    bool same = theirs && ours ? !strcmp(theirs, ours) : !theirs && !ours;
    free(theirs);
    return same;
}

/* By hash: the file's unit and ours. */
static bool same_blob(const struct snap_file *f, const char *name, const struct blob *b)
{
    struct snap_stream *s = snap_file_stream(f, name);
    uint8_t unit[SNAP_UNIT];

    if (!s || s->size != b->size)
        return !s && !b->size;
    for (uint64_t u = 0; u < s->units; u++) {
        size_t n = (size_t)MIN((uint64_t)SNAP_UNIT, b->size - u * SNAP_UNIT);
        memcpy(unit, b->data + u * SNAP_UNIT, n);
        memset(unit + n, 0, SNAP_UNIT - n);
        const struct snap_entry *e = &s->entry[u];
        bool zero = snap_kind(s, u) == SNAP_ZERO;
        if (zero ? !snap_unit_zero(unit) : hash64(unit, SNAP_UNIT, 0) != e->hash)
            return false;
    }
    return true;
}

bool config_matches(const struct tnm_machine *m, const struct snap_file *f, struct error *err)
{
    const struct snap_object *o = snap_objects_find(&f->conf, "config");
    const tnm_config *c = &m->cfg;

    if (snap_object_get(o, "memory", 0) != c->memory)
        return differs("size of memory", err);
    if (snap_object_get(o, "cpus", 0) != c->cpus || !same_text(o, "cpu_model", c->cpu_model))
        return differs("number or model of CPUs", err);
    if (snap_object_get(o, "serials", 2) != MAX(c->nserials, 2u) ||
        (int)snap_object_get(o, "debug_exit_port", UINT32_MAX) != c->debug_exit_port)
        return differs("set of ports", err);
    if (snap_object_get(o, "disks", 0) != c->ndisks)
        return differs("number of disks", err);
    if (!same_blob(f, "firmware", &m->bios) || !same_blob(f, "vga_firmware", &m->vga_bios))
        return differs("firmware", err);
    if (!same_blob(f, "kernel", &m->kernel) || !same_blob(f, "initrd", &m->initrd) ||
        !same_text(o, "append", c->append))
        return differs("kernel", err);
    return true;
}
