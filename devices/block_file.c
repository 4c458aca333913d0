/* Host files for the block layer.
 *
 * Locks: one writer or many readers. On Linux these are open-file-description locks on the bytes
 * that QEMU's file-posix driver uses (100 + n: permission n is in use; 200 + n: permission n is not
 * shared; n = 0 is reading, 1 writing), so that an image that a QEMU runs on is refused, and the
 * other way round. Elsewhere flock() keeps two Tinamous apart. File systems without locks are used
 * without them.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block_int.h"

enum lock_result { LOCK_TAKEN, LOCK_REFUSED, LOCK_UNAVAILABLE };

#ifdef F_OFD_SETLK

#define LOCK_USES_WRITE    101
#define LOCK_UNSHARE_WRITE 201

static int ofd_lock(int fd, int cmd, short type, off_t start, off_t len, bool *held)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    int r = fcntl(fd, cmd, &fl);
    *held = r == 0 && cmd == F_OFD_GETLK && fl.l_type != F_UNLCK;
    return r;
}

static enum lock_result lock_fd(int fd, bool writable)
{
    bool held;
    if (writable) {
        if (ofd_lock(fd, F_OFD_SETLK, F_WRLCK, 0, 0, &held) == 0)
            return LOCK_TAKEN;
        return errno == EAGAIN || errno == EACCES ? LOCK_REFUSED : LOCK_UNAVAILABLE;
    }
    if (ofd_lock(fd, F_OFD_SETLK, F_RDLCK, LOCK_UNSHARE_WRITE, 1, &held) != 0)
        return errno == EAGAIN || errno == EACCES ? LOCK_REFUSED : LOCK_UNAVAILABLE;
    if (ofd_lock(fd, F_OFD_GETLK, F_WRLCK, LOCK_USES_WRITE, 1, &held) == 0 && held)
        return LOCK_REFUSED;
    return LOCK_TAKEN;
}

#else

static enum lock_result lock_fd(int fd, bool writable)
{
    if (flock(fd, (writable ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0)
        return LOCK_TAKEN;
    return errno == EWOULDBLOCK ? LOCK_REFUSED : LOCK_UNAVAILABLE;
}

#endif

#if defined(FALLOC_FL_PUNCH_HOLE) && defined(FALLOC_FL_KEEP_SIZE)

bool host_file_punch(const struct host_file *f, uint64_t offset, uint64_t len)
{
    return fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                     (off_t)len) == 0;
}

#else

bool host_file_punch(const struct host_file *f, uint64_t offset, uint64_t len)
{
    return false;
}

#endif

#ifdef SEEK_DATA

bool host_file_has_data(const struct host_file *f, uint64_t offset, uint64_t len)
{
    if (offset >= f->size)
        return false;
    off_t at = lseek(f->fd, (off_t)offset, SEEK_DATA);
    /* ENXIO: no more data up to the end. Other errors: no answer. */
    return at < 0 ? errno != ENXIO : (uint64_t)at < offset + len;
}

#else

bool host_file_has_data(const struct host_file *f, uint64_t offset, uint64_t len)
{
    return offset < f->size;
}

#endif

static bool open_error(struct error *err, const char *path, bool writable)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        return error_set(err, ERR_NOTFOUND,
                         "disk image '%s' does not exist: check the path, or create the image",
                         path);
    case EISDIR:
        return error_set(err, ERR_INVALID, "'%s' is a directory: name a disk image file", path);
    case EACCES:
    case EPERM:
    case EROFS:
        if (writable)
            return error_set(err, ERR_IO,
                             "may not write to disk image '%s': change its permissions, or use "
                             "readonly=on or discard=on",
                             path);
        return error_set(err, ERR_IO,
                         "may not read disk image '%s': change its permissions or its owner", path);
    default:
        return error_set(err, ERR_IO, "cannot open disk image '%s': %s", path, strerror(errno));
    }
}

bool host_file_open(struct host_file *f, const char *path, bool writable, struct error *err)
{
    /* O_NONBLOCK so that a named pipe is refused below instead of waited for. */
    f->fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0)
        return open_error(err, path, writable);
    f->writable = writable;

    struct stat st;
    off_t end = -1;
    if (fstat(f->fd, &st) < 0)
        open_error(err, path, writable);
    else if (S_ISDIR(st.st_mode))
        error_set(err, ERR_INVALID, "'%s' is a directory: name a disk image file", path);
    else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        error_set(err, ERR_INVALID, "'%s' is neither a file nor a block device: name a disk image",
                  path);
    else if ((end = lseek(f->fd, 0, SEEK_END)) < 0)
        open_error(err, path, writable);
    if (end < 0) {
        host_file_close(f);
        return false;
    }
    f->regular = S_ISREG(st.st_mode);
    f->size = (uint64_t)end;
    f->dev = st.st_dev;
    f->ino = st.st_ino;
    return true;
}

bool host_file_lock(struct host_file *f, const char *path, struct error *err)
{
    if (lock_fd(f->fd, f->writable) != LOCK_REFUSED) {
        /* Whoever had it until now may have made it longer. */
        off_t end = lseek(f->fd, 0, SEEK_END);
        if (end < 0)
            return open_error(err, path, f->writable);
        f->size = (uint64_t)end;
        return true;
    }
    if (f->writable)
        return error_set(err, ERR_STATE,
                         "disk image '%s' is in use: stop the machine that uses it, or use "
                         "discard=on when it only reads",
                         path);
    return error_set(err, ERR_STATE,
                     "disk image '%s' is being written by another machine: stop that first", path);
}

bool host_file_temp(struct host_file *f, struct error *err)
{
    const char *dirs[] = {getenv("TMPDIR"), "/var/tmp", "/tmp"};
    *f = (struct host_file){.fd = -1, .writable = true, .regular = true};
    for (unsigned i = 0; i < ARRAY_LEN(dirs) && f->fd < 0; i++) {
        char name[4096];
        if (!dirs[i] || strlen(dirs[i]) > sizeof(name) - 32)
            continue;
        strcpy(name, dirs[i]);
        strcat(name, "/tinamou-XXXXXX");
        f->fd = mkostemp(name, O_CLOEXEC);
        if (f->fd >= 0)
            unlink(name);
    }
    if (f->fd < 0)
        return error_set(err, ERR_IO,
                         "cannot create a temporary file for discarded writes: %s: set TMPDIR to "
                         "a directory with room",
                         strerror(errno));
    return true;
}

void host_file_close(struct host_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

/* Reads up to len bytes; the number read is less at the end of the file. -1 on an error. */
static ssize_t read_some(const struct host_file *f, uint64_t offset, void *buf, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(f->fd, (uint8_t *)buf + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

bool host_file_read(const struct host_file *f, uint64_t offset, void *buf, size_t len)
{
    return read_some(f, offset, buf, len) == (ssize_t)len;
}

bool host_file_read_padded(const struct host_file *f, uint64_t offset, void *buf, size_t len)
{
    ssize_t n = read_some(f, offset, buf, len);
    if (n < 0)
        return false;
    memset((uint8_t *)buf + n, 0, len - (size_t)n);
    return true;
}

bool host_file_write(struct host_file *f, uint64_t offset, const void *buf, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pwrite(f->fd, (const uint8_t *)buf + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    if (f->regular)
        f->size = MAX(f->size, offset + len);
    return true;
}

bool host_file_flush(const struct host_file *f)
{
    int r;
    do
        r = fdatasync(f->fd);
    while (r < 0 && errno == EINTR);
    return r == 0;
}
