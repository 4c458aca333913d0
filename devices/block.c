/* The block layer's front: finds the format, puts the discard overlay on top, and checks every
 * request before a format sees it.
 */
#include <stdlib.h>

#include "devices/block_int.h"

/* ---- formats by their first bytes ------------------------------------------------------------- */

#define PROBE_BYTES 128u

static const struct magic {
    uint8_t offset, len;
    const char *bytes;
    const char *name; /* as --disk format= knows it, or as people do */
    bool supported;
} magics[] = {
    {0, 4, "QFI\xfb", "qcow2", true},
    {0, 4, "QED\0", "QED", false},
    {0, 4, "KDMV", "VMDK", false},
    {0, 4, "COWD", "VMDK", false},
    {0, 21, "# Disk DescriptorFile", "VMDK", false},
    {64, 4, "\x7f\x10\xda\xbe", "VDI", false},
    {0, 8, "vhdxfile", "VHDX", false},
    {0, 8, "conectix", "VHD", false},
};

/* NULL: raw. */
static const struct magic *probe(const uint8_t *head, size_t len)
{
    for (unsigned i = 0; i < ARRAY_LEN(magics); i++) {
        const struct magic *m = &magics[i];
        if (len >= (size_t)m->offset + m->len && !memcmp(head + m->offset, m->bytes, m->len))
            return m;
    }
    return NULL;
}

/* ---- opening and closing ---------------------------------------------------------------------- */

static bool choose_format(const struct block_options *opt, const struct host_file *f, bool *qcow2,
                          bool *guessed, struct error *err)
{
    *guessed = !opt->format;
    if (opt->format) {
        *qcow2 = !strcmp(opt->format, "qcow2");
        if (!*qcow2 && strcmp(opt->format, "raw"))
            return error_set(err, ERR_INVALID,
                             "unknown disk format '%s': use format=raw or format=qcow2",
                             opt->format);
        return true;
    }
    uint8_t head[PROBE_BYTES] = {0};
    if (!host_file_read_padded(f, 0, head, sizeof(head)))
        return error_set(err, ERR_IO, "cannot read disk image '%s': check the host's disk",
                         opt->path);
    const struct magic *m = probe(head, (size_t)MIN(f->size, (uint64_t)sizeof(head)));
    *qcow2 = m && m->supported;
    if (m && !m->supported)
        return error_set(err, ERR_UNSUPPORTED,
                         "disk image '%s' has the format %s: convert it with 'qemu-img convert "
                         "-O qcow2', or say format=raw if it only looks so",
                         opt->path, m->name);
    return true;
}

struct block_dev *block_open_chained(const struct block_options *opt,
                                     const struct block_chain *above, struct error *err)
{
    struct host_file f = {.fd = -1};
    bool writable = !opt->readonly && !opt->discard;
    bool qcow2, guessed;
    if (!opt->path || !*opt->path) {
        error_set(err, ERR_INVALID, "no disk image named: give the path of one");
        return NULL;
    }
    if (!host_file_open(&f, opt->path, writable, err))
        return NULL;
    for (const struct block_chain *c = above; c; c = c->above) {
        if (c->depth >= BLOCK_MAX_DEPTH || (c->file->dev == f.dev && c->file->ino == f.ino)) {
            error_set(err, ERR_FORMAT,
                      "the chain of backing files %s at '%s': rebase the image with 'qemu-img "
                      "rebase'",
                      c->depth >= BLOCK_MAX_DEPTH ? "is too long" : "comes back to itself",
                      opt->path);
            host_file_close(&f);
            return NULL;
        }
    }
    if (!host_file_lock(&f, opt->path, err) || !choose_format(opt, &f, &qcow2, &guessed, err)) {
        host_file_close(&f);
        return NULL;
    }

    struct block_dev *b = calloc(1, sizeof(*b));
    if (!b) {
        host_file_close(&f);
        error_set(err, ERR_NOMEM, "not enough memory to open '%s'", opt->path);
        return NULL;
    }
    b->path = strdup(opt->path);
    if (!b->path) {
        free(b);
        host_file_close(&f);
        error_set(err, ERR_NOMEM, "not enough memory to open '%s'", opt->path);
        return NULL;
    }
    b->readonly = opt->readonly;
    b->guard_magic = guessed && !qcow2;
    b->drv = qcow2 ? &qcow2_driver : &raw_driver;
    b->state = qcow2 ? qcow2_open(&f, opt->path, above, &b->size, err)
                     : raw_open(&f, opt->path, &b->size, err);
    if (!b->state) {
        free(b->path);
        free(b);
        return NULL;
    }
    if (opt->discard && !opt->readonly) {
        struct block_dev *top = calloc(1, sizeof(*top));
        b->readonly = true;
        if (top) {
            *top = (struct block_dev){.drv = &overlay_driver, .size = b->size, .under = b};
            top->state = overlay_open(b, err);
        }
        if (!top || !top->state) {
            if (!top)
                error_set(err, ERR_NOMEM, "not enough memory to open '%s'", opt->path);
            free(top);
            block_close(b);
            return NULL;
        }
        b = top;
    }
    return b;
}

struct block_dev *block_open(const struct block_options *opt, struct error *err)
{
    return block_open_chained(opt, NULL, err);
}

void block_close(struct block_dev *b)
{
    if (!b)
        return;
    if (!b->readonly)
        b->drv->flush(b->state);
    b->drv->close(b->state);
    free(b->path);
    free(b);
}

uint64_t block_size(const struct block_dev *b)
{
    return b->size;
}

bool block_readonly(const struct block_dev *b)
{
    return b->readonly;
}

/* ---- requests --------------------------------------------------------------------------------- */

static bool in_range(const struct block_dev *b, uint64_t offset, uint64_t len)
{
    return offset <= b->size && len <= b->size - offset;
}

/* Around everything that a request does. */
static bool enter(struct block_dev *b, uint64_t offset, uint64_t len, bool write)
{
    return LIKELY(!b->watch) || b->watch->enter(b->watch->opaque, offset, len, write);
}

static bool leave(struct block_dev *b, bool ok)
{
    if (UNLIKELY(b->watch))
        b->watch->leave(b->watch->opaque);
    return ok;
}

bool block_read(struct block_dev *b, uint64_t offset, void *buf, size_t len)
{
    return in_range(b, offset, len) && enter(b, offset, len, false) &&
           leave(b, b->drv->read(b->state, offset, buf, len));
}

static bool checked_write(struct block_dev *b, uint64_t offset, const void *buf, size_t len)
{
    /* An image taken for raw because nothing else matched must not become another format by what
     * a guest writes: the next start would follow the guest's backing file name to any file of the
     * host. Saying format=raw lifts this. */
    if (b->guard_magic && offset < PROBE_BYTES && len) {
        uint8_t head[PROBE_BYTES] = {0};
        size_t n = (size_t)MIN((uint64_t)sizeof(head), b->size);
        if (!b->drv->read(b->state, 0, head, n))
            return false;
        memcpy(head + offset, buf, MIN(len, sizeof(head) - (size_t)offset));
        if (probe(head, sizeof(head)))
            return false;
    }
    return b->drv->write(b->state, offset, buf, len);
}

bool block_write(struct block_dev *b, uint64_t offset, const void *buf, size_t len)
{
    return !b->readonly && in_range(b, offset, len) && enter(b, offset, len, true) &&
           leave(b, checked_write(b, offset, buf, len));
}

bool block_flush(struct block_dev *b)
{
    return b->readonly || (enter(b, 0, 0, false) && leave(b, b->drv->flush(b->state)));
}

bool block_trim(struct block_dev *b, uint64_t offset, uint64_t len)
{
    if (b->readonly || !in_range(b, offset, len))
        return false;
    return len == 0 || !b->drv->trim ||
           (enter(b, offset, len, true) && leave(b, b->drv->trim(b->state, offset, len)));
}

static bool zeroes(struct block_dev *b, uint64_t offset, uint64_t len)
{
    if (len == 0 || (b->drv->zero && b->drv->zero(b->state, offset, len)))
        return true;
    static const uint8_t zeros[64 * KIB];
    while (len) {
        size_t n = (size_t)MIN(len, (uint64_t)sizeof(zeros));
        if (!b->drv->write(b->state, offset, zeros, n))
            return false;
        offset += n;
        len -= n;
    }
    return true;
}

bool block_write_zeroes(struct block_dev *b, uint64_t offset, uint64_t len)
{
    return !b->readonly && in_range(b, offset, len) && enter(b, offset, len, true) &&
           leave(b, zeroes(b, offset, len));
}

/* ---- snapshots -------------------------------------------------------------------------------- */

void block_set_watch(struct block_dev *b, const struct block_watch *w)
{
    b->watch = w;
}

const char *block_path(const struct block_dev *b)
{
    return b->under ? block_path(b->under) : b->path;
}

unsigned block_bases(const struct block_dev *b, struct block_base *out, unsigned max)
{
    if (b->under)
        return block_bases(b->under, out, max);
    unsigned n = b->drv->bases(b->state, !b->readonly, out, max);
    for (unsigned i = 0; i < n; i++) {
        if (!out[i].path)
            out[i].path = b->path;
    }
    return n;
}

static size_t unit_len(const struct block_dev *b, uint64_t unit)
{
    return (size_t)MIN((uint64_t)BLOCK_UNIT, b->size - unit * BLOCK_UNIT);
}

static bool has_base(const struct block_dev *b)
{
    struct block_base one;
    return block_bases(b, &one, 1) > 0;
}

enum block_unit block_unit_get(struct block_dev *b, uint64_t unit, uint8_t *buf)
{
    uint64_t offset = unit * BLOCK_UNIT;
    size_t len = unit_len(b, unit);

    if (b->readonly)
        return BLOCK_AS_BASE;
    if (!b->drv->written(b->state, offset, len))
        return has_base(b) ? BLOCK_AS_BASE : BLOCK_ZERO;
    if (!b->drv->read(b->state, offset, buf, len))
        return BLOCK_ERROR;
    memset(buf + len, 0, BLOCK_UNIT - len);
    return BLOCK_DATA;
}

bool block_unit_put(struct block_dev *b, uint64_t unit, enum block_unit how, const uint8_t *buf)
{
    uint64_t offset = unit * BLOCK_UNIT;
    size_t len = unit_len(b, unit);

    switch (how) {
    case BLOCK_AS_BASE:
        return b->readonly || (b->drv->revert && b->drv->revert(b->state, offset, len));
    case BLOCK_ZERO:
        if (b->readonly)
            return false;
        if (!has_base(b) && !b->drv->written(b->state, offset, len))
            return true;
        return zeroes(b, offset, len);
    case BLOCK_DATA:
        return !b->readonly && b->drv->write(b->state, offset, buf, len);
    default:
        return false;
    }
}
