/* Writing snapshot files: see snapshots/snapfile.h.
 *
 * Nothing of the old file is touched before the new one is whole and on the disk: the header, which
 * makes a file valid, is written last but for the rename. The temporary name is always the same, so
 * that what a killed writer left is found and overwritten by the next one, and its lock is what keeps
 * two writers apart.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/hash.h"
#include "snapshots/snapformat.h"

struct snap_writer {
    int fd;
    char *path, *temp;
    uint64_t pos;
    struct snap_buf table;
    bool failed;
    struct error err;
};

static bool fail(struct snap_writer *w, int error)
{
    if (!w->failed)
        error_set(&w->err, error == ENOMEM ? ERR_NOMEM : ERR_IO,
                  "snapshot '%.300s' cannot be written: %s%s", w->path, strerror(error),
                  error == ENOSPC || error == EDQUOT ? ": free space, or choose another place"
                                                     : ": check the host's disk");
    w->failed = true;
    return false;
}

static bool write_at(struct snap_writer *w, uint64_t offset, const uint8_t *p, size_t len)
{
    while (len) {
        ssize_t n = pwrite(w->fd, p, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(w, n ? errno : ENOSPC);
        p += n;
        offset += (size_t)n;
        len -= (size_t)n;
    }
    return true;
}

/* Opens and locks the temporary file. The name may have been renamed away or removed between the
 * two by the writer that had it until now: then once more. */
static bool lock_temp(struct snap_writer *w, struct error *err)
{
    for (;;) {
        struct stat ours, named;
        w->fd = open(w->temp, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (w->fd < 0)
            return error_set(err, errno == ENOENT ? ERR_NOTFOUND : ERR_IO,
                             "snapshot '%.300s' cannot be written: %s: choose another place",
                             w->path, strerror(errno));
        if (flock(w->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
            return error_set(err, ERR_STATE,
                             "snapshot '%.300s' is being written by another machine: wait for it, "
                             "or choose another name",
                             w->path);
        if (fstat(w->fd, &ours) == 0 && stat(w->temp, &named) == 0 && ours.st_ino == named.st_ino &&
            ours.st_dev == named.st_dev)
            return true;
        close(w->fd);
    }
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void writer_free(struct snap_writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    snap_buf_free(&w->table);
    free(w->path);
    free(w->temp);
    free(w);
}

struct snap_writer *snap_writer_new(const char *path, bool keep, struct error *err)
{
    struct snap_writer *w = calloc(1, sizeof(*w));
    size_t len = strlen(path);

    if (!w) {
        error_set(err, ERR_NOMEM, "no memory to write a snapshot: free some on the host");
        return NULL;
    }
    w->fd = -1;
    w->path = strdup(path);
    w->temp = malloc(len + sizeof(".part"));
    if (!w->path || !w->temp) {
        error_set(err, ERR_NOMEM, "no memory to write a snapshot: free some on the host");
        goto failed;
    }
    sprintf(w->temp, "%s.part", path);
    if (!len || is_directory(path)) {
        error_set(err, ERR_INVALID, "'%.300s' is no name for a snapshot: name a file", path);
        goto failed;
    }
    if (!lock_temp(w, err))
        goto failed;
    if (keep && access(w->path, F_OK) == 0) {
        error_set(err, ERR_EXISTS, "'%.300s' exists: name a new file", path);
        unlink(w->temp);
        goto failed;
    }
    if (ftruncate(w->fd, 0)) {
        fail(w, errno);
        *err = w->err;
        unlink(w->temp);
        goto failed;
    }
    w->pos = SNAP_HEADER;
    return w;

failed:
    writer_free(w);
    return NULL;
}

bool snap_writer_put(struct snap_writer *w, const void *data, size_t len, uint64_t *offset)
{
    if (w->failed)
        return false;
    *offset = w->pos;
    if (!write_at(w, w->pos, data, len))
        return false;
    w->pos += len;
    return true;
}

bool snap_writer_chunk(struct snap_writer *w, uint32_t type, uint32_t flags, const void *data,
                       size_t len)
{
    const void *stored = data;
    uLongf stored_len = (uLongf)len;
    uint8_t *packed = NULL;
    uint64_t offset;

    if (flags & SNAP_DEFLATED) {
        stored_len = compressBound((uLong)len);
        packed = malloc(stored_len);
        if (!packed || compress2(packed, &stored_len, data, (uLong)len, 6) != Z_OK) {
            free(packed);
            return fail(w, ENOMEM);
        }
        stored = packed;
    }
    bool ok = snap_writer_put(w, stored, stored_len, &offset);
    uint8_t *e = ok ? snap_buf_grow(&w->table, SNAP_TABLE_ENTRY) : NULL;
    if (e) {
        memset(e, 0, SNAP_TABLE_ENTRY);
        st32(e + SNAP_T_TYPE, type);
        st32(e + SNAP_T_FLAGS, flags);
        st64(e + SNAP_T_OFFSET, offset);
        st64(e + SNAP_T_STORED, stored_len);
        st64(e + SNAP_T_RAW, len);
        st32(e + SNAP_T_CRC, (uint32_t)crc32_z(0, stored, stored_len));
    }
    free(packed);
    return e || (ok && fail(w, ENOMEM));
}

bool snap_writer_stream(struct snap_writer *w, const char *name, uint64_t size,
                        enum snap_kind missing, const struct snap_entry *entries)
{
    uint64_t units = snap_units(size), listed = 0;
    struct snap_buf b = {0};

    for (uint64_t i = 0; i < units; i++)
        listed += entries[i].kind != SNAP_ABSENT && entries[i].kind != missing;
    uint8_t *p = snap_buf_grow(&b, (size_t)(SNAP_DIR_HEAD + listed * SNAP_DIR_ENTRY));
    if (!p)
        return fail(w, ENOMEM);
    memset(p, 0, SNAP_DIR_HEAD);
    memcpy(p + SNAP_D_NAME, name, MIN(strlen(name), SNAP_NAME_MAX));
    st64(p + SNAP_D_SIZE, size);
    st32(p + SNAP_D_UNIT, SNAP_UNIT);
    st32(p + SNAP_D_PAGE, SNAP_PAGE);
    p[SNAP_D_MISSING] = (uint8_t)missing;
    st64(p + SNAP_D_ENTRIES, listed);
    p += SNAP_DIR_HEAD;
    for (uint64_t i = 0; i < units; i++) {
        const struct snap_entry *e = &entries[i];
        if (e->kind == SNAP_ABSENT || e->kind == missing)
            continue;
        st32(p + SNAP_E_UNIT, (uint32_t)i);
        st32(p + SNAP_E_KIND, e->kind);
        st64(p + SNAP_E_HASH, e->hash);
        st64(p + SNAP_E_OFFSET, e->offset);
        st32(p + SNAP_E_STORED, e->stored);
        st32(p + SNAP_E_CRC, e->crc);
        p += SNAP_DIR_ENTRY;
    }
    bool ok = snap_writer_chunk(w, SNAP_SDIR, SNAP_REQUIRED, b.data, b.len);
    snap_buf_free(&b);
    return ok;
}

bool snap_writer_check_parents(const struct snap_writer *w, const struct snap_file *f,
                               struct error *err)
{
    struct stat target, st;

    if (stat(w->path, &target))
        return true;
    for (; f; f = f->parent) {
        if (fstat(f->fd, &st) == 0 && st.st_dev == target.st_dev && st.st_ino == target.st_ino)
            return error_set(
                err, ERR_INVALID,
                "snapshot '%.300s' would overwrite its own parent: choose another name", w->path);
    }
    return true;
}

uint64_t snap_writer_bytes(const struct snap_writer *w)
{
    return w->pos;
}

bool snap_writer_failed(const struct snap_writer *w, struct error *err)
{
    if (w->failed && err)
        *err = w->err;
    return w->failed;
}

/* The rename must be on the disk too before anybody is told. */
static void sync_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd >= 0) {
        fsync(fd); /* file systems that cannot have nothing to lose */
        close(fd);
    }
    free(dir);
}

static bool finish(struct snap_writer *w)
{
    uint8_t h[SNAP_HEADER] = {0};
    uint64_t table;

    if (w->table.failed)
        return fail(w, ENOMEM);
    if (!snap_writer_put(w, w->table.data, w->table.len, &table))
        return false;
    memcpy(h + SNAP_H_MAGIC, SNAP_MAGIC, 8);
    st32(h + SNAP_H_VERSION, SNAP_VERSION);
    st32(h + SNAP_H_LENGTH, SNAP_HEADER);
    st64(h + SNAP_H_SIZE, w->pos);
    st64(h + SNAP_H_TABLE, table);
    st64(h + SNAP_H_TABLE_LEN, w->table.len);
    st64(h + SNAP_H_ID, hash64(w->table.data, w->table.len, 0));
    st32(h + SNAP_H_TABLE_CRC, (uint32_t)crc32_z(0, w->table.data, w->table.len));
    st32(h + SNAP_H_CRC, (uint32_t)crc32_z(0, h, SNAP_H_CRC));
    if (!write_at(w, 0, h, sizeof(h)))
        return false;
    if (fsync(w->fd) || rename(w->temp, w->path))
        return fail(w, errno);
    sync_directory(w->path);
    return true;
}

bool snap_writer_finish(struct snap_writer *w, struct error *err)
{
    bool ok = !w->failed && finish(w);
    if (!ok) {
        *err = w->err;
        unlink(w->temp);
    }
    writer_free(w);
    return ok;
}

void snap_writer_abort(struct snap_writer *w)
{
    if (!w)
        return;
    unlink(w->temp);
    writer_free(w);
}
