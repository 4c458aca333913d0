/* Looking at snapshot files: what `tinamou snapshot` shows, compares and merges. See
 * machine/snapshot.h and the public header.
 */
#include <stdio.h>
#include <stdlib.h>

#include "machine/snapshot.h"

/* ---- info ------------------------------------------------------------------------------------ */

void tnm_snapshot_get_info(const tnm_snapshot *s, tnm_snapshot_info *out)
{
    const struct snap_file *f = s->file;
    const struct snap_object *config = snap_objects_find(&f->conf, "config");
    const struct snap_object *save = snap_objects_find(&f->conf, "save");

    *out = (tnm_snapshot_info){
        .path = f->path,
        .name = s->name ? s->name : "",
        .parent = f->parent_path,
        .format = f->version,
        .id = f->id,
        .parent_id = f->parent_id,
        .file_size = f->size,
        .memory = snap_object_get(config, "memory", 0),
        .cpus = (unsigned)snap_object_get(config, "cpus", 0),
        .cpu_model = s->cpu_model ? s->cpu_model : "",
        .time_ns = snap_object_get(save, "time_ns", 0),
        .insns = snap_object_get(save, "insns", 0),
        .depth = f->depth,
        .thumb_width = f->thumb_width,
        .thumb_height = f->thumb_height,
        .thumb = f->thumb,
    };
}

bool tnm_snapshot_get_stream(const tnm_snapshot *s, unsigned n, tnm_snapshot_stream *out)
{
    if (n >= s->file->nstreams)
        return false;
    const struct snap_stream *t = &s->file->streams[n];
    *out = (tnm_snapshot_stream){.name = t->name,
                                 .size = t->size,
                                 .zero = t->count[SNAP_ZERO],
                                 .base = t->count[SNAP_BASE],
                                 .parent = t->count[SNAP_PARENT],
                                 .stored = t->count[SNAP_DATA],
                                 .stored_bytes = t->stored_bytes};
    return true;
}

bool tnm_snapshot_get_base(const tnm_snapshot *s, unsigned n, tnm_snapshot_base *out)
{
    if (n >= s->nbases)
        return false;
    *out = s->base[n];
    return true;
}

static bool add_base(struct tnm_snapshot *s, const struct snap_object *o, unsigned i)
{
    char name[3][32];
    tnm_snapshot_base *grown = realloc(s->base, (s->nbases + 1) * sizeof(*s->base));

    if (!grown)
        return false;
    s->base = grown;
    snprintf(name[0], sizeof(name[0]), "base[%u].path", i);
    snprintf(name[1], sizeof(name[1]), "base[%u].size", i);
    snprintf(name[2], sizeof(name[2]), "base[%u].hash", i);
    tnm_snapshot_base *b = &s->base[s->nbases++];
    *b = (tnm_snapshot_base){.device = strdup(o->name),
                             .path = snap_object_get_str(o, name[0]),
                             .size = snap_object_get(o, name[1], 0),
                             .hash = snap_object_get(o, name[2], 0)};
    return b->device && b->path;
}

bool snapshot_find_bases(struct tnm_snapshot *s, struct error *err)
{
    const struct snap_objects *conf = &s->file->conf;

    for (unsigned n = 0; n < conf->count; n++) {
        for (unsigned i = 0;; i++) {
            char name[32];
            snprintf(name, sizeof(name), "base[%u].path", i);
            if (!snap_object_find(&conf->object[n], name, NULL))
                break;
            if (!add_base(s, &conf->object[n], i))
                return error_set(err, ERR_NOMEM,
                                 "not enough memory to open a snapshot: free some on the host");
        }
    }
    return true;
}

static tnm_snapshot_field public_field(const struct snap_object *o, const struct snap_field *f)
{
    return (tnm_snapshot_field){o->name, f->name, f->bytes, f->size, f->count, f->data};
}

void tnm_snapshot_fields(const tnm_snapshot *s, tnm_field_fn fn, void *opaque)
{
    const struct snap_objects *all[] = {&s->file->conf, &s->file->stat};

    for (unsigned k = 0; k < ARRAY_LEN(all); k++) {
        for (unsigned i = 0; i < all[k]->count; i++) {
            const struct snap_object *o = &all[k]->object[i];
            for (unsigned n = 0; n < o->nfields; n++) {
                tnm_snapshot_field f = public_field(o, &o->field[n]);
                fn(opaque, &f);
            }
        }
    }
}

/* ---- verify ---------------------------------------------------------------------------------- */

struct tick {
    tnm_progress_fn fn;
    void *opaque;
    uint64_t done, total;
};

/* False when the caller has had enough. */
static bool tick(struct tick *t, struct error *err)
{
    t->done++;
    if (!t->fn || (t->done % 64 && t->done != t->total) ||
        t->fn(t->opaque, t->done * SNAP_UNIT, t->total * SNAP_UNIT))
        return true;
    return error_set(err, ERR_STATE, "cancelled");
}

static bool verify_file(const struct snap_file *f, struct tick *t, struct snap_decoder *d,
                        uint8_t *unit, struct error *err)
{
    for (unsigned i = 0; i < f->nstreams; i++) {
        const struct snap_stream *s = &f->streams[i];
        for (uint64_t u = 0; u < s->units; u++) {
            if (snap_kind(s, u) != SNAP_DATA)
                continue;
            if (!snap_check_unit(d, s, u, unit))
                return error_set(err, ERR_FORMAT,
                                 "snapshot '%.300s' is damaged: %s, from byte %llu on: use another "
                                 "copy",
                                 f->path, s->name, (unsigned long long)(u * SNAP_UNIT));
            if (!tick(t, err))
                return false;
        }
    }
    return true;
}

bool tnm_snapshot_verify(tnm_snapshot *s, tnm_progress_fn fn, void *opaque, tnm_error *err)
{
    struct snap_decoder *d = snap_decoder_new();
    uint8_t *unit = malloc(SNAP_UNIT);
    struct tick t = {.fn = fn, .opaque = opaque};
    struct error e = {0};
    bool ok = d && unit;

    if (!ok)
        error_set(&e, ERR_NOMEM, "not enough memory to check a snapshot: free some on the host");
    for (const struct snap_file *f = s->file; f; f = f->parent) {
        for (unsigned i = 0; i < f->nstreams; i++)
            t.total += f->streams[i].count[SNAP_DATA];
    }
    for (const struct snap_file *f = s->file; ok && f; f = f->parent)
        ok = verify_file(f, &t, d, unit, &e);
    snap_decoder_free(d);
    free(unit);
    return ok || give_error(&e, err);
}

/* ---- diff ------------------------------------------------------------------------------------ */

struct diff {
    tnm_diff_fn fn;
    void *opaque;
    bool same;
};

static void differ(struct diff *d, const tnm_snapshot_difference *what)
{
    d->same = false;
    if (d->fn)
        d->fn(d->opaque, what);
}

static void field_differs(struct diff *d, const struct snap_object *oa, const struct snap_field *fa,
                          const struct snap_object *ob, const struct snap_field *fb)
{
    tnm_snapshot_field a, b;
    tnm_snapshot_difference what = {0};

    if (fa && fb && fa->bytes == fb->bytes && fa->size == fb->size && fa->count == fb->count &&
        !memcmp(fa->data, fb->data, (size_t)fa->size * fa->count))
        return;
    if (fa) {
        a = public_field(oa, fa);
        what.a = &a;
    }
    if (fb) {
        b = public_field(ob, fb);
        what.b = &b;
    }
    differ(d, &what);
}

static void diff_objects(struct diff *d, const struct snap_objects *a, const struct snap_objects *b)
{
    static const struct snap_object none = {.name = ""};

    for (unsigned i = 0; i < a->count; i++) {
        const struct snap_object *oa = &a->object[i], *ob = snap_objects_find(b, oa->name);
        unsigned next = 0;
        ob = ob ? ob : &none;
        for (unsigned n = 0; n < oa->nfields; n++)
            field_differs(d, oa, &oa->field[n], ob, snap_object_find(ob, oa->field[n].name, &next));
    }
    for (unsigned i = 0; i < b->count; i++) {
        const struct snap_object *ob = &b->object[i], *oa = snap_objects_find(a, ob->name);
        unsigned next = 0;
        oa = oa ? oa : &none;
        for (unsigned n = 0; n < ob->nfields; n++) {
            if (!snap_object_find(oa, ob->field[n].name, &next))
                field_differs(d, oa, NULL, ob, &ob->field[n]);
        }
    }
}

/* Contents of a unit; what is not there at all is all zeros. False: damaged. */
static bool get(struct snap_decoder *d, const struct snap_stream *s, uint64_t u, uint8_t *out,
                bool *base)
{
    enum snap_result r = s && u < s->units ? snap_read_unit(d, s, u, out) : SNAP_IS_ZERO;

    *base = r == SNAP_IS_BASE;
    if (r != SNAP_IS_DATA)
        memset(out, 0, SNAP_UNIT);
    return r != SNAP_DAMAGED;
}

/* Equal without a look at the contents. */
static bool same_entry(const struct snap_stream *a, const struct snap_stream *b, uint64_t u)
{
    if (!a || !b || u >= a->units || u >= b->units)
        return false;
    enum snap_kind ka = snap_kind(a, u), kb = snap_kind(b, u);
    if (ka < SNAP_PARENT || kb < SNAP_PARENT)
        return ka == kb;
    return a->entry[u].hash == b->entry[u].hash;
}

static bool diff_stream(struct diff *d, const char *name, const struct snap_stream *a,
                        const struct snap_stream *b, struct snap_decoder *dec, uint8_t *buf)
{
    uint64_t units = MAX(a ? a->units : 0, b ? b->units : 0);

    for (uint64_t u = 0; u < units; u++) {
        bool base_a, base_b;
        if (same_entry(a, b, u))
            continue;
        if (!get(dec, a, u, buf, &base_a) || !get(dec, b, u, buf + SNAP_UNIT, &base_b))
            return false;
        for (unsigned p = 0; p < SNAP_PAGES; p++) {
            size_t at = (size_t)p * SNAP_PAGE;
            if (base_a != base_b || memcmp(buf + at, buf + SNAP_UNIT + at, SNAP_PAGE) != 0)
                differ(d, &(tnm_snapshot_difference){.stream = name, .offset = u * SNAP_UNIT + at});
        }
    }
    return true;
}

bool tnm_snapshot_diff(tnm_snapshot *a, tnm_snapshot *b, tnm_diff_fn fn, void *opaque, bool *same,
                       tnm_error *err)
{
    struct diff d = {.fn = fn, .opaque = opaque, .same = true};
    struct snap_decoder *dec = snap_decoder_new();
    uint8_t *buf = malloc(2 * SNAP_UNIT);
    struct error e = {0};
    bool ok = dec && buf;

    if (!ok)
        error_set(&e, ERR_NOMEM, "not enough memory to compare snapshots: free some on the host");
    if (ok) {
        diff_objects(&d, &a->file->conf, &b->file->conf);
        diff_objects(&d, &a->file->stat, &b->file->stat);
    }
    for (unsigned i = 0; ok && i < a->file->nstreams; i++) {
        const struct snap_stream *s = &a->file->streams[i];
        ok = diff_stream(&d, s->name, s, snap_file_stream(b->file, s->name), dec, buf);
    }
    for (unsigned i = 0; ok && i < b->file->nstreams; i++) {
        const struct snap_stream *s = &b->file->streams[i];
        if (!snap_file_stream(a->file, s->name))
            ok = diff_stream(&d, s->name, NULL, s, dec, buf);
    }
    if (!ok && !e.code)
        error_set(&e, ERR_FORMAT,
                  "one of the snapshots is damaged: check them with 'snapshot "
                  "verify'");
    snap_decoder_free(dec);
    free(buf);
    if (same)
        *same = d.same;
    return ok || give_error(&e, err);
}

/* ---- flatten --------------------------------------------------------------------------------- */

struct flatten {
    struct snap_file *file;
    struct snap_buf conf;
};

/* Configuration without the parent. */
static void copy_config(const struct snap_objects *from, struct snap_buf *out)
{
    for (unsigned i = 0; i < from->count; i++) {
        const struct snap_object *o = &from->object[i];
        if (!strcmp(o->name, "parent"))
            continue;
        snap_object_begin(out, o->name);
        for (unsigned n = 0; n < o->nfields; n++) {
            const struct snap_field *f = &o->field[n];
            if (f->bytes) {
                snap_object_bytes(out, f->name, f->data, f->count);
                continue;
            }
            uint8_t *to = snap_object_ints(out, f->name, f->size, f->count);
            if (to)
                memcpy(to, f->data, (size_t)f->size * f->count);
        }
        snap_object_end(out);
    }
}

static bool write_thumb(const struct snap_file *f, struct snap_writer *w)
{
    struct snap_buf b = {0};
    size_t pixels = (size_t)f->thumb_width * f->thumb_height;
    uint8_t *p = pixels ? snap_buf_grow(&b, 8 + pixels * 3) : NULL;
    bool ok = true;

    if (p) {
        st32(p, f->thumb_width);
        st32(p + 4, f->thumb_height);
        for (size_t i = 0; i < pixels; i++) {
            p[8 + i * 3] = (uint8_t)(f->thumb[i] >> 16);
            p[9 + i * 3] = (uint8_t)(f->thumb[i] >> 8);
            p[10 + i * 3] = (uint8_t)f->thumb[i];
        }
        ok = snap_writer_chunk(w, SNAP_THMB, SNAP_DEFLATED, b.data, b.len);
    }
    snap_buf_free(&b);
    return ok;
}

static bool flatten_rest(void *opaque, struct snap_writer *w, struct error *err)
{
    struct flatten *x = opaque;

    if (x->conf.failed)
        return error_set(err, ERR_NOMEM,
                         "not enough memory to write a snapshot: free some on the host");
    return write_thumb(x->file, w) &&
           snap_writer_chunk(w, SNAP_CONF, SNAP_DEFLATED | SNAP_REQUIRED, x->conf.data,
                             x->conf.len) &&
           snap_writer_chunk(w, SNAP_STAT, SNAP_DEFLATED | SNAP_REQUIRED, x->file->stat_bytes.data,
                             x->file->stat_bytes.len);
}

bool tnm_snapshot_flatten(tnm_snapshot *s, const char *path, tnm_progress_fn fn, void *opaque,
                          tnm_error *err)
{
    struct flatten x = {.file = s->file};
    struct source from[MAX_SOURCES] = {0};
    struct capture *c = NULL;
    struct snap_writer *w = NULL;
    struct error e = {0};
    unsigned n = 0;

    copy_config(&s->file->conf, &x.conf);
    for (unsigned i = 0; i < s->file->nstreams; i++) {
        const struct snap_stream *t = &s->file->streams[i];
        if (n == MAX_SOURCES) {
            error_set(&e, ERR_UNSUPPORTED,
                      "the snapshot has too many streams: use a newer version");
            break;
        }
        from[n] =
            (struct source){.kind = SOURCE_FILE, .size = t->size, .file = t, .missing = t->missing};
        memcpy(from[n++].name, t->name, sizeof(t->name));
    }
    if (!e.code && (w = snap_writer_new(path, true, &e)))
        c = capture_new(w, from, n, &(struct capture_options){.last = flatten_rest, .opaque = &x},
                        &e);
    if (c && !capture_go(c, &e)) {
        capture_free(c);
        c = NULL;
    }
    while (c && !capture_wait(c, 100)) {
        uint64_t done, total, bytes;
        capture_progress(c, &done, &total, &bytes);
        if (fn && !fn(opaque, done, total))
            capture_cancel(c);
    }
    bool ok = c && capture_end(c, &e);
    snap_buf_free(&x.conf);
    return ok || give_error(&e, err);
}
