/* Making a machine from a snapshot, and turning one machine into another. See machine/snapshot.h.
 *
 * What can be wrong with a file is found before the machine changes: its structure and checksums when
 * it is opened, its configuration by comparison, and its state by loading it: if that fails, the state
 * from before is loaded again. Memory comes last and cannot fail, as it comes later (lazy.c); whoever
 * has something to lose asks for all of it to be checked first (tnm_restore_options.verify).
 */
#include <stdio.h>
#include <stdlib.h>

#include "devices/block.h"
#include "devices/fdc.h"
#include "devices/fw_cfg.h"
#include "devices/ide.h"
#include "machine/disks.h"

#define FW_ITEMS_MAX (16 * MIB) /* more than any machine tells its firmware */

bool give_error(const struct error *e, tnm_error *err)
{
    if (err) {
        err->code = (enum tnm_code)e->code;
        memcpy(err->text, e->text, sizeof(err->text));
    }
    return false;
}

/* ---- opening --------------------------------------------------------------------------------- */

tnm_snapshot *tnm_snapshot_open(const char *path, tnm_error *err)
{
    struct error e = {0};
    tnm_snapshot *s = calloc(1, sizeof(*s));

    if (s && (s->file = snap_file_open(path, &e)) && snapshot_find_bases(s, &e)) {
        s->name = snap_object_get_str(snap_objects_find(&s->file->conf, "save"), "name");
        s->cpu_model =
            snap_object_get_str(snap_objects_find(&s->file->conf, "config"), "cpu_model");
        return s;
    }
    if (!s)
        error_set(&e, ERR_NOMEM, "not enough memory to open a snapshot: free some on the host");
    tnm_snapshot_close(s);
    give_error(&e, err);
    return NULL;
}

void tnm_snapshot_close(tnm_snapshot *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->nstrings; i++)
        free(s->strings[i]);
    for (unsigned i = 0; i < s->nbases; i++) {
        free((char *)s->base[i].device);
        free((char *)s->base[i].path);
    }
    free(s->base);
    free(s->name);
    free(s->cpu_model);
    snap_file_unref(s->file);
    free(s);
}

/* ---- configuration --------------------------------------------------------------------------- */

/* Kept by s; NULL where the file says nothing. */
static const char *text(void *opaque, const struct snap_object *o, const char *name)
{
    tnm_snapshot *s = opaque;
    char *t = snap_object_get_str(o, name);
    if (t && s->nstrings < ARRAY_LEN(s->strings)) {
        s->strings[s->nstrings++] = t;
        return t;
    }
    free(t);
    return NULL;
}

void tnm_snapshot_config(const tnm_snapshot *snapshot, tnm_config *cfg)
{
    tnm_snapshot *s = (tnm_snapshot *)snapshot; /* a cache of texts is all that changes */
    const struct snap_object *o = snap_objects_find(&s->file->conf, "config");

    for (unsigned i = 0; i < s->nstrings; i++)
        free(s->strings[i]);
    s->nstrings = 0;
    tnm_config_init(cfg);
    cfg->memory = snap_object_get(o, "memory", cfg->memory);
    cfg->cpus = (unsigned)snap_object_get(o, "cpus", 1);
    const char *model = text(s, o, "cpu_model");
    if (model)
        cfg->cpu_model = model;
    cfg->clock = snap_object_get(o, "clock", 0) ? TNM_CLOCK_INSN : TNM_CLOCK_HOST;
    cfg->boot = text(s, o, "boot");
    cfg->kernel = text(s, o, "kernel");
    cfg->initrd = text(s, o, "initrd");
    cfg->append = text(s, o, "append");
    cfg->firmware = text(s, o, "firmware");
    cfg->vga_firmware = text(s, o, "vga_firmware");
    cfg->nserials = (unsigned)MIN(snap_object_get(o, "serials", 2), (uint64_t)TNM_MAX_SERIALS);
    cfg->debug_exit_port = (int)(uint32_t)snap_object_get(o, "debug_exit_port", UINT32_MAX);
    media_config(s->file, cfg, text, s);
}

bool origin_blob(const struct snap_file *f, const char *name, uint64_t max, struct blob *out,
                 struct error *err)
{
    struct snap_stream *s = snap_file_stream(f, name);
    struct snap_decoder *d = snap_decoder_new();
    bool ok = d != NULL;

    *out = (struct blob){0};
    if (s && !s->size)
        s = NULL;
    if (s && s->size <= max)
        out->data = calloc(1, (size_t)(s->units * SNAP_UNIT));
    if (!ok || (s && !out->data))
        ok = error_set(err, ERR_NOMEM,
                       "not enough memory for the snapshot's %s: free some on the host", name);
    for (uint64_t u = 0; ok && s && u < s->units; u++) {
        enum snap_result r = snap_read_unit(d, s, u, out->data + u * SNAP_UNIT);
        if (r != SNAP_IS_DATA && r != SNAP_IS_ZERO)
            ok = error_set(err, ERR_FORMAT, "snapshot '%.300s' is damaged (%s): use another copy",
                           f->path, name);
    }
    snap_decoder_free(d);
    out->size = ok && s ? (size_t)s->size : 0;
    if (!ok)
        blob_free(out);
    return ok;
}

/* ---- restoring ------------------------------------------------------------------------------- */

/* Everything there is to check, before anything changes. */
static bool check(struct tnm_snapshot *s, const tnm_restore_options *opt, struct error *err)
{
    tnm_error e;

    if (!opt->verify || tnm_snapshot_verify(s, opt->progress, opt->opaque, &e))
        return true;
    return error_set(err, (enum error_code)e.code, "%s", e.text);
}

/* Removable media that are changed on the way. */
struct swap {
    bool cdrom, floppy;
    struct block_dev *old_cdrom, *old_floppy;
};

/* The file's medium where another one, or none, stands in the drive; *changed says that. */
static bool open_medium(const struct snap_file *f, const char *name, const struct block_dev *now,
                        struct block_dev *(*open)(const char *path, struct error *err),
                        struct block_dev **out, bool *changed, struct error *err)
{
    char *path = snap_object_get_str(snap_objects_find(&f->conf, name), "path");
    char *there = now ? realpath(block_path(now), NULL) : NULL;

    *out = NULL;
    *changed = path && there ? strcmp(path, there) != 0 : path || now;
    if (*changed && path)
        *out = open(path, err);
    bool ok = !*changed || !path || *out;
    free(path);
    free(there);
    return ok;
}

static bool swap_media(struct tnm_machine *m, const struct snap_file *f, struct swap *s,
                       struct error *err)
{
    struct block_dev *cdrom, *floppy;

    if (!open_medium(f, "cdrom", m->cdrom, board_open_cdrom, &cdrom, &s->cdrom, err))
        return false;
    if (!open_medium(f, "floppy", m->floppy, board_open_floppy, &floppy, &s->floppy, err)) {
        block_close(cdrom);
        s->cdrom = s->floppy = false;
        return false;
    }
    if (s->cdrom) {
        s->old_cdrom = m->cdrom;
        ide_set_cdrom(m->ide, m->cd_channel, m->cd_unit, cdrom);
        m->cdrom = cdrom;
    }
    if (s->floppy) {
        disks_floppy_leaves(m);
        s->old_floppy = m->floppy;
        fdc_set_media(m->fdc, 0, floppy);
        m->floppy = floppy;
    }
    return true;
}

/* Closes the old media or, back, puts them in again and closes the new. */
static void end_swap(struct tnm_machine *m, struct swap *s, bool back)
{
    struct block_dev *cdrom = s->old_cdrom, *floppy = s->old_floppy;

    if (back && s->cdrom) {
        cdrom = m->cdrom;
        m->cdrom = s->old_cdrom;
        ide_set_cdrom(m->ide, m->cd_channel, m->cd_unit, m->cdrom);
    }
    if (back && s->floppy) {
        floppy = m->floppy;
        m->floppy = s->old_floppy;
        fdc_set_media(m->fdc, 0, m->floppy);
    }
    block_close(cdrom);
    block_close(floppy);
}

/* What firmware is told, as bytes and ready to be put in; files of older versions have none, and the
 * machine keeps its own. */
struct told {
    struct blob bytes;
    struct fw_cfg_items *items;
};

static bool load_told(const struct snap_file *f, struct told *t, struct error *err)
{
    *t = (struct told){0};
    if (!snap_file_stream(f, "fw_cfg"))
        return true;
    if (!origin_blob(f, "fw_cfg", FW_ITEMS_MAX, &t->bytes, err))
        return false;
    t->items = fw_cfg_parse(t->bytes.data, t->bytes.size);
    if (t->items)
        return true;
    blob_free(&t->bytes);
    return error_set(err, ERR_FORMAT, "snapshot '%.300s' is damaged (fw_cfg): use another copy",
                     f->path);
}

static void use_told(struct tnm_machine *m, struct told *t)
{
    if (!t->items)
        return;
    fw_cfg_replace(m->fw_cfg, t->items);
    blob_free(&m->fw_items);
    m->fw_items = t->bytes;
}

/* The state, and all that can fail on the way to it. */
static bool load(struct tnm_machine *m, struct tnm_snapshot *s, const tnm_restore_options *opt,
                 bool fresh, struct error *err)
{
    struct told told;

    if (!bases_match(m, s->file, opt, err) || !load_told(s->file, &told, err))
        return false;
    struct lazy *lazy = NULL;
    if (!disks_prepare(m, s->file, fresh, err) || !(lazy = lazy_start(m, s->file, fresh, err)) ||
        !state_read(m, &s->file->stat, err)) {
        lazy_end(lazy);
        disks_abandon(m);
        fw_cfg_items_free(told.items);
        blob_free(&told.bytes);
        return false;
    }
    /* Nothing fails from here on. The TLBs are empty, as state was loaded. */
    lazy_end(m->lazy);
    m->lazy = lazy;
    use_told(m, &told);
    disks_go(m);
    lazy_go(lazy);
    machine_set_keeper(m);
    run_restored(m);
    return true;
}

/* As load, but for a machine that has a state to lose. */
static bool load_over(struct tnm_machine *m, struct tnm_snapshot *s, const tnm_restore_options *opt,
                      struct error *err)
{
    struct snap_buf before = {0};
    struct snap_objects old = {0};
    struct swap swap = {0};
    struct error again;

    state_write(m, &before);
    if (before.failed || !snap_objects_parse(&old, before.data, before.len)) {
        snap_buf_free(&before);
        return error_set(err, ERR_NOMEM, "not enough memory to restore: free some on the host");
    }
    bool ok = swap_media(m, s->file, &swap, err) && load(m, s, opt, false, err);
    end_swap(m, &swap, !ok);
    if (!ok && !state_read(m, &old, &again))
        CHECK_UNREACHABLE();
    snap_objects_free(&old);
    snap_buf_free(&before);
    return ok;
}

static bool restore(struct tnm_machine *m, struct tnm_snapshot *s, const tnm_restore_options *opt,
                    bool fresh, struct error *err)
{
    if (m->save)
        return error_set(err, ERR_STATE, "the machine is being saved: wait for that");
    if (!config_matches(m, s->file, err) || !check(s, opt, err))
        return false;
    if (!(fresh ? load(m, s, opt, true, err) : load_over(m, s, opt, err)))
        return false;
    if (opt->fresh_identity)
        board_fresh_identity(m);
    return true;
}

bool tnm_snapshot_restore(tnm_machine *m, tnm_snapshot *s, const tnm_restore_options *opt,
                          tnm_error *err)
{
    const tnm_restore_options none = {0};
    struct error e = {0};

    return restore(m, s, opt ? opt : &none, false, &e) || give_error(&e, err);
}

tnm_machine *tnm_snapshot_create(tnm_snapshot *s, const tnm_config *cfg,
                                 const tnm_restore_options *opt, tnm_error *err)
{
    const tnm_restore_options none = {0};
    struct error e = {0};
    tnm_config own;

    if (!cfg) {
        tnm_snapshot_config(s, &own);
        cfg = &own;
    }
    struct tnm_machine *m = machine_new(cfg, s->file, &e);
    if (m && restore(m, s, opt ? opt : &none, true, &e))
        return m;
    tnm_destroy(m);
    give_error(&e, err);
    return NULL;
}

/* ---- afterwards ------------------------------------------------------------------------------ */

bool tnm_restore_poll(tnm_machine *m, uint64_t *done, uint64_t *total)
{
    uint64_t d = 0, t = 0;
    bool under_way = m->lazy && !lazy_finished(m->lazy, &d, &t);

    if (done)
        *done = d;
    if (total)
        *total = t;
    return under_way;
}

void machine_restore_done(struct tnm_machine *m)
{
    /* The workers of a save look into it. */
    if (!m->lazy || m->save || !lazy_finished(m->lazy, NULL, NULL) || lazy_failed(m->lazy, NULL))
        return;
    lazy_end(m->lazy);
    m->lazy = NULL;
    machine_set_keeper(m);
}

void machine_bring_all_in(struct tnm_machine *m)
{
    if (m->lazy)
        lazy_fill(m->lazy, 0, m->ram_below_4g + m->ram_above_4g);
}

bool lazy_broken(const struct tnm_machine *m, struct error *err)
{
    return m->lazy && lazy_failed(m->lazy, err);
}

void tnm_get_error(const tnm_machine *m, tnm_error *err)
{
    struct error e = {0};

    lazy_broken(m, &e);
    give_error(&e, err);
}
