/* See kit.h. */
#include "tests/snapshot/kit.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

const char *kit_path(const char *name)
{
    static char paths[256][128];
    static unsigned turn;
    char *p = paths[turn++ % 256];

    if (!folder[0]) {
        strcpy(folder, "/tmp/tnm-snapshot-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(folder));
    }
    snprintf(p, sizeof(paths[0]), "%s/%s", folder, name);
    return p;
}

void kit_clean(void)
{
    char command[96];

    if (!folder[0])
        return;
    snprintf(command, sizeof(command), "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
    folder[0] = 0;
}

struct blob kit_read(const char *path)
{
    struct blob b = {0};
    struct stat st;
    FILE *f = fopen(path, "rb");

    ck_assert_msg(f != NULL, "%s", path);
    ck_assert_int_eq(fstat(fileno(f), &st), 0);
    b.size = (size_t)st.st_size;
    b.data = malloc(b.size + 1);
    ck_assert_uint_eq(fread(b.data, 1, b.size, f), b.size);
    fclose(f);
    return b;
}

void kit_write(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, size, f), size);
    ck_assert_int_eq(fclose(f), 0);
}

bool kit_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

void kit_config(tnm_config *cfg)
{
    tnm_config_init(cfg);
    cfg->memory = 16 * MIB;
    cfg->clock = TNM_CLOCK_INSN;
}

tnm_machine *kit_create(const tnm_config *cfg)
{
    tnm_error err = {0};
    tnm_machine *m = tnm_create(cfg, &err);
    ck_assert_msg(m != NULL, "%s", err.text);
    return m;
}

tnm_machine *kit_machine(void)
{
    tnm_config cfg;

    kit_config(&cfg);
    tnm_machine *m = kit_create(&cfg);
    ck_assert_int_eq(tnm_run(m, 10000000), TNM_STOP_SLICE);
    return m;
}

void kit_save(tnm_machine *m, const char *path, const char *parent)
{
    tnm_error err = {0};
    ck_assert_msg(tnm_snapshot_save(m, path, &(tnm_save_options){.parent = parent}, &err), "%s",
                  err.text);
}

tnm_snapshot *kit_open(const char *path)
{
    tnm_error err = {0};
    tnm_snapshot *s = tnm_snapshot_open(path, &err);
    ck_assert_msg(s != NULL, "%s", err.text);
    return s;
}

void kit_refused(const char *path, enum tnm_code code, const char *says)
{
    tnm_error err = {0};
    ck_assert_msg(!tnm_snapshot_open(path, &err), "%s is not refused: %s", path, says);
    ck_assert_msg(strstr(err.text, says) != NULL, "\"%s\" does not say \"%s\"", err.text, says);
    ck_assert_int_eq(err.code, code);
}

static void copy_object(const struct snap_object *o, struct snap_buf *out, const char *field,
                        uint64_t value)
{
    snap_object_begin(out, o->name);
    for (unsigned i = 0; i < o->nfields; i++) {
        const struct snap_field *f = &o->field[i];
        if (f->bytes) {
            snap_object_bytes(out, f->name, f->data, f->count);
            continue;
        }
        uint8_t *to = snap_object_ints(out, f->name, f->size, f->count);
        memcpy(to, f->data, (size_t)f->size * f->count);
        if (field && !strcmp(f->name, field))
            st_sized(to, value, f->size);
    }
    snap_object_end(out);
}

static void copy_stream(struct snap_writer *w, const struct snap_stream *s)
{
    struct snap_entry *e = calloc((size_t)s->units + 1, sizeof(*e));

    for (uint64_t u = 0; u < s->units; u++) {
        uint8_t stored[2 * SNAP_UNIT];
        e[u] = s->entry[u];
        if (snap_kind(s, u) != SNAP_DATA)
            continue;
        ck_assert_int_eq(pread(s->file->fd, stored, e[u].stored, (off_t)e[u].offset),
                         (ssize_t)e[u].stored);
        ck_assert(snap_writer_put(w, stored, e[u].stored, &e[u].offset));
    }
    ck_assert(snap_writer_stream(w, s->name, s->size, s->missing, e));
    free(e);
}

void kit_change_field(const char *from, const char *to, const char *object, const char *field,
                      uint64_t value)
{
    struct error err = {0};
    struct snap_file *f = snap_file_open(from, &err);
    struct snap_writer *w = snap_writer_new(to, false, &err);
    struct snap_buf stat = {0};
    bool found = false;

    ck_assert_msg(f && w, "%s", err.text);
    for (unsigned i = 0; i < f->nstreams; i++)
        copy_stream(w, &f->streams[i]);
    for (unsigned i = 0; i < f->stat.count; i++) {
        bool it = !strcmp(f->stat.object[i].name, object);
        found |= it && snap_object_find(&f->stat.object[i], field, NULL);
        copy_object(&f->stat.object[i], &stat, it ? field : NULL, value);
    }
    ck_assert(found);
    ck_assert(
        snap_writer_chunk(w, SNAP_CONF, SNAP_DEFLATED, f->conf_bytes.data, f->conf_bytes.len));
    ck_assert(snap_writer_chunk(w, SNAP_STAT, SNAP_DEFLATED, stat.data, stat.len));
    ck_assert_msg(snap_writer_finish(w, &err), "%s", err.text);
    snap_buf_free(&stat);
    snap_file_unref(f);
}
