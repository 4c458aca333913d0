/* Inside the block layer: what a format is to block.c, and host files with errors that say what to
 * do. Nothing outside devices/block*.c includes this.
 *
 * The layers of one image: block.c checks bounds and rights, then calls the driver on top, which is
 * the overlay (discard=on) or the format. Formats read and write struct host_file.
 */
#ifndef DEVICES_BLOCK_INT_H
#define DEVICES_BLOCK_INT_H

#include <sys/types.h>

#include "base/bits.h"
#include "base/error.h"
#include "devices/block.h"

#define SECTOR 512u

/* ---- host files ------------------------------------------------------------------------------- */

struct host_file {
    int fd; /* -1: not open */
    bool writable;
    bool regular;  /* false: a block device, whose size never changes */
    uint64_t size; /* kept current by host_file_write */
    dev_t dev;     /* identity, to find cycles of backing files */
    ino_t ino;
};

/* False with *err filled when it is missing, a directory or not permitted. */
bool host_file_open(struct host_file *f, const char *path, bool writable, struct error *err);
/* False with *err filled when somebody uses it in a way that excludes ours. Kept until closed. */
bool host_file_lock(struct host_file *f, const char *path, struct error *err);
/* An unnamed file for what will be thrown away. */
bool host_file_temp(struct host_file *f, struct error *err);
void host_file_close(struct host_file *f);
/* Exactly len bytes, or false. */
bool host_file_read(const struct host_file *f, uint64_t offset, void *buf, size_t len);
/* What lies past the end of the file reads as zeros. */
bool host_file_read_padded(const struct host_file *f, uint64_t offset, void *buf, size_t len);
bool host_file_write(struct host_file *f, uint64_t offset, const void *buf, size_t len);
bool host_file_flush(const struct host_file *f);
/* Gives the range's room back; it then reads as zeros. False where the host cannot. */
bool host_file_punch(const struct host_file *f, uint64_t offset, uint64_t len);

/* False only if the host says that the range lies in a hole, or past the end. */
bool host_file_has_data(const struct host_file *f, uint64_t offset, uint64_t len);

/* ---- formats ---------------------------------------------------------------------------------- */

struct block_driver {
    const char *name;
    /* Arguments are within the device's size; write, zero and trim only come when it is writable. */
    bool (*read)(void *state, uint64_t offset, void *buf, size_t len);
    bool (*write)(void *state, uint64_t offset, const void *buf, size_t len);
    /* Optional: false means "write them out", not an error. */
    bool (*zero)(void *state, uint64_t offset, uint64_t len);
    bool (*trim)(void *state, uint64_t offset, uint64_t len);
    bool (*flush)(void *state);
    void (*close)(void *state);
    /* For snapshots: see block_unit_get. Files of the base, when the device is written or when it is
     * not. Whether any of a range was written since the base (false only if none was, or if there is
     * no base and all is zeros); making it as the base has it again. NULL: no base but for reading. */
    unsigned (*bases)(const void *state, bool written, struct block_base *out, unsigned max);
    bool (*written)(void *state, uint64_t offset, uint64_t len);
    bool (*revert)(void *state, uint64_t offset, uint64_t len);
};

struct block_dev {
    const struct block_driver *drv;
    void *state;
    uint64_t size; /* a multiple of SECTOR */
    bool readonly;
    bool guard_magic;        /* format was guessed as raw: see block_write */
    char *path;              /* as it was named; of an overlay, NULL */
    struct block_dev *under; /* of an overlay */
    const struct block_watch *watch;
};

/* A chain of images being opened, innermost first: guards against cycles and silly depths. */
struct block_chain {
    const struct block_chain *above;
    const struct host_file *file;
    unsigned depth;
};
#define BLOCK_MAX_DEPTH 32

/* block_open for a backing file: read-only, and known to hang below `above`. */
struct block_dev *block_open_chained(const struct block_options *opt,
                                     const struct block_chain *above, struct error *err);

/* Openers take over *f (closed on failure too) and return the driver's state, or NULL. */
void *raw_open(struct host_file *f, const char *path, uint64_t *size, struct error *err);
void *qcow2_open(struct host_file *f, const char *path, const struct block_chain *above,
                 uint64_t *size, struct error *err);
/* Stands on `base`, which it closes when it is closed itself, though not after failure. */
void *overlay_open(struct block_dev *base, struct error *err);
extern const struct block_driver raw_driver, qcow2_driver, overlay_driver;

#endif
