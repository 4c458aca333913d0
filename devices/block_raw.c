/* Raw images: the file's bytes are the disk's.
 *
 * A file whose length is no multiple of 512 gives a disk that is rounded up; the missing bytes read
 * as zeros and the file never grows. A write that would store anything but zeros there fails.
 */
#include <stdlib.h>

#include "devices/block_int.h"

struct raw {
    struct host_file file;
};

void *raw_open(struct host_file *f, const char *path, uint64_t *size, struct error *err)
{
    struct raw *r = calloc(1, sizeof(*r));
    if (!r || f->size == 0) {
        if (!r)
            error_set(err, ERR_NOMEM, "not enough memory to open '%s'", path);
        else
            error_set(err, ERR_FORMAT,
                      "disk image '%s' is empty: give it a size (truncate -s 8G '%s') or name "
                      "another",
                      path, path);
        free(r);
        host_file_close(f);
        return NULL;
    }
    r->file = *f;
    *size = align_up(f->size, SECTOR);
    return r;
}

/* How much of a request lies in the file itself. */
static size_t inside(const struct raw *r, uint64_t offset, size_t len)
{
    return (size_t)MIN((uint64_t)len, r->file.size - MIN(r->file.size, offset));
}

static bool raw_read(void *state, uint64_t offset, void *buf, size_t len)
{
    struct raw *r = state;
    size_t n = inside(r, offset, len);
    memset((uint8_t *)buf + n, 0, len - n);
    return host_file_read(&r->file, offset, buf, n);
}

static bool raw_write(void *state, uint64_t offset, const void *buf, size_t len)
{
    struct raw *r = state;
    size_t n = inside(r, offset, len);
    for (size_t i = n; i < len; i++) {
        if (((const uint8_t *)buf)[i])
            return false;
    }
    return host_file_write(&r->file, offset, buf, n);
}

static bool raw_zero(void *state, uint64_t offset, uint64_t len)
{
    struct raw *r = state;
    uint64_t n = MIN(len, r->file.size - MIN(r->file.size, offset));
    return n == 0 || host_file_punch(&r->file, offset, n);
}

static bool raw_trim(void *state, uint64_t offset, uint64_t len)
{
    /* A host that cannot give room back loses nothing by it. */
    raw_zero(state, offset, len);
    return true;
}

static bool raw_flush(void *state)
{
    struct raw *r = state;
    return !r->file.writable || host_file_flush(&r->file);
}

static void raw_close(void *state)
{
    struct raw *r = state;
    host_file_close(&r->file);
    free(r);
}

/* ---- snapshots -------------------------------------------------------------------------------- */

static unsigned raw_bases(const void *state, bool written, struct block_base *out, unsigned max)
{
    const struct raw *r = state;
    if (written || !max)
        return 0;
    *out = (struct block_base){.fd = r->file.fd};
    return 1;
}

static bool raw_written(void *state, uint64_t offset, uint64_t len)
{
    struct raw *r = state;
    return host_file_has_data(&r->file, offset, len);
}

const struct block_driver raw_driver = {
    .name = "raw",
    .read = raw_read,
    .write = raw_write,
    .zero = raw_zero,
    .trim = raw_trim,
    .flush = raw_flush,
    .close = raw_close,
    .bases = raw_bases,
    .written = raw_written,
};
