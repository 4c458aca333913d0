/* Reading snapshot files: see snapshots/snapfile.h.
 *
 * The file is somebody else's: every number is checked before it is used, and nothing is allocated
 * that the file's own size does not justify, but for a stream's table of entries, whose memory comes
 * zeroed from the host and is not resident where nothing is listed.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/hash.h"
#include "base/hostmem.h"
#include "snapshots/snapformat.h"

#define TABLE_MAX   (1u << 20)
#define OBJECTS_MAX (32 * MIB) /* more than any machine's state, less than a deflate bomb */
#define STREAMS_MAX 64
#define THUMB_MAX   1024u
#define PLAIN_MAX   (SNAP_PAGES * 8 + SNAP_UNIT)
#define STORED_MAX  (PLAIN_MAX + 4096u)

/* ---- the file -------------------------------------------------------------------------------- */

static bool damaged(const struct snap_file *f, struct error *err, const char *what)
{
    return error_set(err, ERR_FORMAT,
                     "snapshot '%.300s' is damaged or cut short (%s): use another copy", f->path,
                     what);
}

static bool no_memory(struct error *err)
{
    return error_set(err, ERR_NOMEM,
                     "not enough memory to read the snapshot: free some on the host");
}

static bool read_at(int fd, uint64_t offset, void *buf, size_t len)
{
    uint8_t *p = buf;
    while (len) {
        ssize_t n = pread(fd, p, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        offset += (size_t)n;
        len -= (size_t)n;
    }
    return true;
}

struct chunk {
    uint32_t type, flags, crc;
    uint64_t offset, stored, raw;
};

/* A chunk's bytes, checked and inflated, in *out. */
static bool load_chunk(const struct snap_file *f, const struct chunk *c, struct snap_buf *out,
                       struct error *err)
{
    if (c->stored > SIZE_MAX / 2 || c->raw > SIZE_MAX / 2)
        return no_memory(err);
    uint8_t *stored = malloc((size_t)c->stored + 1), *raw = stored;
    uLongf len = (uLongf)c->raw;

    if (!stored)
        return no_memory(err);
    if (!read_at(f->fd, c->offset, stored, (size_t)c->stored) ||
        (uint32_t)crc32_z(0, stored, (size_t)c->stored) != c->crc) {
        free(stored);
        return damaged(f, err, "checksum");
    }
    if (c->flags & SNAP_DEFLATED) {
        raw = malloc((size_t)c->raw + 1);
        int r = raw ? uncompress(raw, &len, stored, (uLong)c->stored) : Z_MEM_ERROR;
        free(stored);
        if (r != Z_OK || len != c->raw) {
            free(raw);
            return r == Z_MEM_ERROR ? no_memory(err) : damaged(f, err, "compressed data");
        }
    }
    *out = (struct snap_buf){.data = raw, .len = (size_t)c->raw, .cap = (size_t)c->raw};
    return true;
}

static bool load_objects(const struct snap_file *f, const struct chunk *c, struct snap_buf *bytes,
                         struct snap_objects *o, struct error *err)
{
    if (bytes->data || c->raw > OBJECTS_MAX)
        return damaged(f, err, "objects");
    if (!load_chunk(f, c, bytes, err))
        return false;
    return snap_objects_parse(o, bytes->data, bytes->len) || damaged(f, err, "objects");
}

static bool load_entries(struct snap_file *f, struct snap_stream *s, const uint8_t *p, uint64_t n,
                         struct error *err)
{
    uint64_t previous = 0;

    for (uint64_t i = 0; i < n; i++, p += SNAP_DIR_ENTRY) {
        uint64_t unit = ld32(p + SNAP_E_UNIT);
        uint32_t kind = ld32(p + SNAP_E_KIND);
        struct snap_entry e = {.hash = ld64(p + SNAP_E_HASH),
                               .offset = ld64(p + SNAP_E_OFFSET),
                               .stored = ld32(p + SNAP_E_STORED),
                               .crc = ld32(p + SNAP_E_CRC),
                               .kind = (uint8_t)kind};
        if (unit >= s->units || (i && unit <= previous) || !kind || kind >= SNAP_KINDS)
            return damaged(f, err, "directory");
        if (kind == SNAP_DATA && (!e.stored || e.stored > STORED_MAX || e.offset > f->size ||
                                  e.stored > f->size - e.offset))
            return damaged(f, err, "directory");
        s->entry[unit] = e;
        s->count[s->missing]--;
        s->count[kind]++;
        if (kind == SNAP_DATA)
            s->stored_bytes += e.stored;
        previous = unit;
    }
    return true;
}

static bool parse_stream(struct snap_file *f, const struct snap_buf *b, struct error *err)
{
    struct snap_stream *s = &f->streams[f->nstreams];
    const uint8_t *p = b->data;

    if (f->nstreams == STREAMS_MAX || b->len < SNAP_DIR_HEAD)
        return damaged(f, err, "directory");
    uint64_t size = ld64(p + SNAP_D_SIZE), listed = ld64(p + SNAP_D_ENTRIES);
    if (ld32(p + SNAP_D_UNIT) != SNAP_UNIT || ld32(p + SNAP_D_PAGE) != SNAP_PAGE ||
        (p[SNAP_D_MISSING] != SNAP_ZERO && p[SNAP_D_MISSING] != SNAP_BASE) ||
        size > SNAP_STREAM_MAX || listed != (b->len - SNAP_DIR_HEAD) / SNAP_DIR_ENTRY ||
        (b->len - SNAP_DIR_HEAD) % SNAP_DIR_ENTRY || p[SNAP_D_NAME + SNAP_NAME_MAX])
        return damaged(f, err, "directory");
    *s = (struct snap_stream){.size = size, .units = snap_units(size), .file = f};
    memcpy(s->name, p + SNAP_D_NAME, SNAP_NAME_MAX);
    s->missing = p[SNAP_D_MISSING];
    if (snap_file_stream(f, s->name) || s->units > UINT32_MAX ||
        s->units > SIZE_MAX / sizeof(*s->entry))
        return damaged(f, err, "directory");
    f->nstreams++;
    s->count[s->missing] = s->units;
    s->entry = hostmem_alloc((size_t)MAX(s->units, (uint64_t)1) * sizeof(*s->entry));
    if (!s->entry)
        return no_memory(err);
    return load_entries(f, s, p + SNAP_DIR_HEAD, listed, err);
}

static bool load_stream(struct snap_file *f, const struct chunk *c, struct error *err)
{
    struct snap_buf b = {0};
    if (c->raw > f->size * 64) /* never deflated so far; if so, not that much */
        return damaged(f, err, "directory");
    bool ok = load_chunk(f, c, &b, err) && parse_stream(f, &b, err);
    snap_buf_free(&b);
    return ok;
}

static bool load_thumb(struct snap_file *f, const struct chunk *c, struct error *err)
{
    struct snap_buf b = {0};

    if (f->thumb || c->raw < 8 || c->raw > 8 + THUMB_MAX * THUMB_MAX * 3)
        return damaged(f, err, "picture");
    if (!load_chunk(f, c, &b, err))
        return false;
    uint32_t w = ld32(b.data), h = ld32(b.data + 4);
    bool ok = w && h && w <= THUMB_MAX && h <= THUMB_MAX && b.len == 8 + (size_t)w * h * 3;
    if (ok && !(f->thumb = malloc((size_t)w * h * sizeof(*f->thumb)))) {
        snap_buf_free(&b);
        return no_memory(err);
    }
    for (size_t i = 0; ok && i < (size_t)w * h; i++) {
        const uint8_t *rgb = b.data + 8 + i * 3;
        f->thumb[i] = (uint32_t)(rgb[0] << 16 | rgb[1] << 8 | rgb[2]);
    }
    f->thumb_width = ok ? w : 0;
    f->thumb_height = ok ? h : 0;
    snap_buf_free(&b);
    return ok || damaged(f, err, "picture");
}

static bool load_one(struct snap_file *f, const struct chunk *c, struct error *err)
{
    switch (c->type) {
    case SNAP_CONF:
        return load_objects(f, c, &f->conf_bytes, &f->conf, err);
    case SNAP_STAT:
        return load_objects(f, c, &f->stat_bytes, &f->stat, err);
    case SNAP_SDIR:
        return load_stream(f, c, err);
    case SNAP_THMB:
        return load_thumb(f, c, err);
    default:
        if (c->flags & SNAP_REQUIRED)
            return error_set(err, ERR_UNSUPPORTED,
                             "snapshot '%.300s' holds something that this version does not know: "
                             "use a newer version",
                             f->path);
        return true;
    }
}

static bool load_table(struct snap_file *f, const uint8_t *table, size_t len, struct error *err)
{
    for (size_t at = 0; at < len; at += SNAP_TABLE_ENTRY) {
        const uint8_t *e = table + at;
        struct chunk c = {.type = ld32(e + SNAP_T_TYPE),
                          .flags = ld32(e + SNAP_T_FLAGS),
                          .crc = ld32(e + SNAP_T_CRC),
                          .offset = ld64(e + SNAP_T_OFFSET),
                          .stored = ld64(e + SNAP_T_STORED),
                          .raw = ld64(e + SNAP_T_RAW)};
        bool deflated = c.flags & SNAP_DEFLATED;
        if (c.offset > f->size || c.stored > f->size - c.offset ||
            (!deflated && c.raw != c.stored) ||
            (deflated && (c.raw / 1100 > c.stored || c.stored / 2 > c.raw + 4096)))
            return damaged(f, err, "chunk table");
        if (!load_one(f, &c, err))
            return false;
    }
    return (f->conf.object && f->stat.object) || damaged(f, err, "chunks are missing");
}

/* The header's bytes, checked but for what they say of the table. */
static bool load_header(struct snap_file *f, uint8_t h[SNAP_HEADER], struct error *err)
{
    struct stat st;

    if (fstat(f->fd, &st) || !S_ISREG(st.st_mode))
        return error_set(err, ERR_INVALID, "'%.300s' is not a plain file: name a snapshot",
                         f->path);
    f->size = (uint64_t)st.st_size;
    if (f->size < SNAP_HEADER || !read_at(f->fd, 0, h, SNAP_HEADER) ||
        memcmp(h, SNAP_MAGIC, 8) != 0)
        return error_set(err, ERR_FORMAT, "'%.300s' is no snapshot: name another file", f->path);
    f->version = ld32(h + SNAP_H_VERSION);
    if (f->version != SNAP_VERSION)
        return error_set(err, ERR_UNSUPPORTED,
                         "snapshot '%.300s' has format version %u, which this version does not "
                         "know: use a newer version",
                         f->path, f->version);
    f->id = ld64(h + SNAP_H_ID);
    if ((uint32_t)crc32_z(0, h, SNAP_H_CRC) != ld32(h + SNAP_H_CRC))
        return damaged(f, err, "header");
    if (ld64(h + SNAP_H_SIZE) != f->size)
        return damaged(f, err, "size");
    return true;
}

static bool load_file(struct snap_file *f, struct error *err)
{
    uint8_t h[SNAP_HEADER];

    if (!load_header(f, h, err))
        return false;
    uint64_t table = ld64(h + SNAP_H_TABLE), len = ld64(h + SNAP_H_TABLE_LEN);
    if (table > f->size || len > f->size - table || len > TABLE_MAX || len % SNAP_TABLE_ENTRY)
        return damaged(f, err, "chunk table");
    uint8_t *t = malloc((size_t)len + 1);
    if (!t)
        return no_memory(err);
    bool ok = read_at(f->fd, table, t, (size_t)len) &&
              (uint32_t)crc32_z(0, t, (size_t)len) == ld32(h + SNAP_H_TABLE_CRC) &&
              hash64(t, (size_t)len, 0) == f->id;
    ok = ok ? load_table(f, t, (size_t)len, err) : damaged(f, err, "chunk table");
    free(t);
    return ok;
}

/* ---- parents --------------------------------------------------------------------------------- */

static struct snap_file *open_file(const char *path, unsigned below, struct error *err);

/* A relative name starts from the child's own directory. */
static char *beside(const char *child, const char *name)
{
    const char *slash = strrchr(child, '/');
    size_t dir = slash && name[0] != '/' ? (size_t)(slash - child) + 1 : 0;
    char *full = malloc(dir + strlen(name) + 1);

    if (full) {
        memcpy(full, child, dir);
        strcpy(full + dir, name);
    }
    return full;
}

static bool needs_parent(const struct snap_file *f)
{
    for (unsigned i = 0; i < f->nstreams; i++) {
        if (f->streams[i].count[SNAP_PARENT])
            return true;
    }
    return false;
}

/* Every unit that is said to be in the parent is there, with the contents it had. */
static bool check_against_parent(struct snap_file *f, struct error *err)
{
    for (unsigned i = 0; i < f->nstreams; i++) {
        struct snap_stream *s = &f->streams[i];
        s->parent = f->parent ? snap_file_stream(f->parent, s->name) : NULL;
        if (!s->count[SNAP_PARENT])
            continue;
        for (uint64_t u = 0; u < s->units; u++) {
            const struct snap_entry *e = &s->entry[u];
            if (e->kind == SNAP_PARENT &&
                (!s->parent || u >= s->parent->units || s->parent->entry[u].kind < SNAP_PARENT ||
                 s->parent->entry[u].hash != e->hash))
                return damaged(f, err, "it does not fit its parent");
        }
    }
    return true;
}

static bool open_parent(struct snap_file *f, unsigned below, struct error *err)
{
    const struct snap_object *o = snap_objects_find(&f->conf, "parent");

    if (!o) {
        if (needs_parent(f))
            return damaged(f, err, "no parent is named");
        return check_against_parent(f, err);
    }
    f->parent_path = snap_object_get_str(o, "path");
    f->parent_id = snap_object_get(o, "id", 0);
    if (!f->parent_path)
        return damaged(f, err, "no parent is named");
    if (below >= SNAP_DEPTH_MAX)
        return error_set(err, ERR_FORMAT,
                         "snapshot '%.300s' has more than %u parents above each other: flatten one "
                         "of them",
                         f->path, SNAP_DEPTH_MAX);
    char *path = beside(f->path, f->parent_path);
    struct error inner = {0};
    if (!path)
        return no_memory(err);
    f->parent = open_file(path, below + 1, &inner);
    free(path);
    if (!f->parent)
        return error_set(err, inner.code, "parent of '%.160s': %.320s", f->path, inner.text);
    if (f->parent->id != f->parent_id)
        return error_set(
            err, ERR_FORMAT,
            "snapshot '%.200s' was made on another '%.200s' than there is now: put the "
            "right one there",
            f->path, f->parent_path);
    f->depth = f->parent->depth + 1;
    return check_against_parent(f, err);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* O_NONBLOCK so that a named pipe is refused instead of waited for. */
static int open_plain(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        error_set(err, errno == ENOENT ? ERR_NOTFOUND : ERR_IO,
                  "snapshot '%.300s' cannot be opened: %s: check its name and rights", path,
                  strerror(errno));
    return fd;
}

static struct snap_file *open_file(const char *path, unsigned below, struct error *err)
{
    struct snap_file *f = calloc(1, sizeof(*f));

    if (!f || !(f->path = strdup(path)) ||
        !(f->streams = calloc(STREAMS_MAX, sizeof(*f->streams)))) {
        if (f)
            free(f->path);
        free(f);
        no_memory(err);
        return NULL;
    }
    f->refs = 1;
    f->fd = open_plain(path, err);
    if (f->fd >= 0 && load_file(f, err) && open_parent(f, below, err))
        return f;
    snap_file_unref(f);
    return NULL;
}

bool snap_file_peek(const char *path, uint64_t *id, struct error *err)
{
    uint8_t h[SNAP_HEADER];
    struct snap_file f = {.path = (char *)path, .fd = open_plain(path, err)};

    if (f.fd < 0)
        return false;
    bool ok = load_header(&f, h, err);
    close(f.fd);
    *id = f.id;
    return ok;
}

struct snap_file *snap_file_open(const char *path, struct error *err)
{
    return open_file(path, 0, err);
}

struct snap_file *snap_file_ref(struct snap_file *f)
{
    __atomic_add_fetch(&f->refs, 1, __ATOMIC_RELAXED);
    return f;
}

void snap_file_unref(struct snap_file *f)
{
    if (!f || __atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL))
        return;
    if (f->fd >= 0)
        close(f->fd);
    for (unsigned i = 0; i < f->nstreams; i++) {
        struct snap_stream *s = &f->streams[i];
        hostmem_free(s->entry, (size_t)MAX(s->units, (uint64_t)1) * sizeof(*s->entry));
    }
    snap_objects_free(&f->conf);
    snap_objects_free(&f->stat);
    snap_buf_free(&f->conf_bytes);
    snap_buf_free(&f->stat_bytes);
    snap_file_unref(f->parent);
    free(f->streams);
    free(f->parent_path);
    free(f->thumb);
    free(f->path);
    free(f);
}

struct snap_stream *snap_file_stream(const struct snap_file *f, const char *name)
{
    for (unsigned i = 0; i < f->nstreams; i++) {
        if (!strcmp(f->streams[i].name, name))
            return &f->streams[i];
    }
    return NULL;
}

/* ---- units ----------------------------------------------------------------------------------- */

struct snap_decoder {
    z_stream z;
    uint8_t stored[STORED_MAX];
    uint8_t plain[PLAIN_MAX], other[PLAIN_MAX];
};

struct snap_decoder *snap_decoder_new(void)
{
    struct snap_decoder *d = calloc(1, sizeof(*d));
    if (d && inflateInit(&d->z) != Z_OK) {
        free(d);
        return NULL;
    }
    return d;
}

void snap_decoder_free(struct snap_decoder *d)
{
    if (!d)
        return;
    inflateEnd(&d->z);
    free(d);
}

static const struct snap_stream *home_of(const struct snap_stream *s, uint64_t unit)
{
    while (s->entry[unit].kind == SNAP_PARENT)
        s = s->parent; /* checked at opening: it is there */
    return s;
}

const struct snap_entry *snap_resolve(const struct snap_stream *s, uint64_t unit)
{
    return &home_of(s, unit)->entry[unit];
}

/* Inflates a unit of this very file; its pages' words and data are then in plain. */
static bool inflate_unit(struct snap_decoder *d, const struct snap_stream *s, uint64_t unit,
                         uint8_t *plain)
{
    const struct snap_entry *e = &s->entry[unit];
    size_t need = SNAP_PAGES * 8;

    if (!read_at(s->file->fd, e->offset, d->stored, e->stored) ||
        (uint32_t)crc32_z(0, d->stored, e->stored) != e->crc || inflateReset(&d->z) != Z_OK)
        return false;
    d->z.next_in = d->stored;
    d->z.avail_in = e->stored;
    d->z.next_out = plain;
    d->z.avail_out = PLAIN_MAX;
    if (inflate(&d->z, Z_FINISH) != Z_STREAM_END || d->z.total_out < need)
        return false;
    for (unsigned i = 0; i < SNAP_PAGES; i++)
        need += ld64(plain + i * 8) == 1 ? SNAP_PAGE : 0;
    return d->z.total_out == need;
}

/* Another page of the same stream and file, which must hold data of its own. */
static bool copy_page(struct snap_decoder *d, const struct snap_stream *s, uint64_t page,
                      uint64_t *loaded, uint8_t *out)
{
    uint64_t unit = page / SNAP_PAGES;
    unsigned n = (unsigned)(page % SNAP_PAGES);
    size_t at = SNAP_PAGES * 8;

    if (unit >= s->units || s->entry[unit].kind != SNAP_DATA)
        return false;
    if (*loaded != unit && !inflate_unit(d, s, unit, d->other))
        return false;
    *loaded = unit;
    if (ld64(d->other + n * 8) != 1)
        return false;
    for (unsigned i = 0; i < n; i++)
        at += ld64(d->other + i * 8) == 1 ? SNAP_PAGE : 0;
    memcpy(out, d->other + at, SNAP_PAGE);
    return true;
}

enum snap_result snap_read_unit(struct snap_decoder *d, const struct snap_stream *s, uint64_t unit,
                                uint8_t *out)
{
    uint64_t loaded = UINT64_MAX;
    size_t at = SNAP_PAGES * 8;

    s = home_of(s, unit);
    if (snap_kind(s, unit) == SNAP_ZERO)
        return SNAP_IS_ZERO;
    if (snap_kind(s, unit) == SNAP_BASE)
        return SNAP_IS_BASE;
    if (!inflate_unit(d, s, unit, d->plain))
        return SNAP_DAMAGED;
    for (unsigned i = 0; i < SNAP_PAGES; i++, out += SNAP_PAGE) {
        uint64_t word = ld64(d->plain + i * 8);
        if (word == 0) {
            memset(out, 0, SNAP_PAGE);
        } else if (word == 1) {
            memcpy(out, d->plain + at, SNAP_PAGE);
            at += SNAP_PAGE;
        } else if ((word & 3) != 2 || !copy_page(d, s, word >> 2, &loaded, out)) {
            return SNAP_DAMAGED;
        }
    }
    return SNAP_IS_DATA;
}

bool snap_check_unit(struct snap_decoder *d, const struct snap_stream *s, uint64_t unit,
                     uint8_t *scratch)
{
    enum snap_result r = snap_read_unit(d, s, unit, scratch);
    return r == SNAP_IS_DATA ? hash64(scratch, SNAP_UNIT, 0) == s->entry[unit].hash
                             : r != SNAP_DAMAGED;
}
