/* The block layer: a disk image as the guest's drives see it, whatever the file's format.
 * Requests are synchronous and atomic towards the guest: a failed write changes nothing that later
 * reads can see half of. Sizes are in bytes; formats grow behind this interface.
 */
#ifndef DEVICES_BLOCK_H
#define DEVICES_BLOCK_H

#include "base/bits.h"
#include "base/error.h"

struct block_dev;

struct block_options {
    const char *path;
    const char *format; /* "raw", "qcow2", or NULL: looked at the file's first bytes */
    bool readonly;
    bool discard; /* writes go to memory or an unlinked temporary file, and are lost at close */
};

/* Opens an image; NULL with *err filled. An image may be open many times for reading (readonly,
 * discard, or as a backing file) or once for writing; what is in use otherwise is refused. Nothing
 * is written before the guest writes. */
struct block_dev *block_open(const struct block_options *opt, struct error *err);
void block_close(struct block_dev *b); /* flushes */
uint64_t block_size(const struct block_dev *b);
bool block_readonly(const struct block_dev *b);
/* offset + len within block_size. False on a host error (logged by the caller as a drive error). */
bool block_read(struct block_dev *b, uint64_t offset, void *buf, size_t len);
bool block_write(struct block_dev *b, uint64_t offset, const void *buf, size_t len);
bool block_flush(struct block_dev *b);
/* The guest no longer needs the range: it reads as anything it was or as zeros afterwards. */
bool block_trim(struct block_dev *b, uint64_t offset, uint64_t len);
/* The range reads as zeros afterwards; where the format can say so, without writing them. */
bool block_write_zeroes(struct block_dev *b, uint64_t offset, uint64_t len);

/* ---- snapshots ---------------------------------------------------------------------------------
 *
 * A snapshot holds what differs from the base: files under an image that nobody writes as long as the
 * machine runs. Those are a read-only image itself, the image under discard=on, and the backing files
 * of a qcow2 image. A writable image without any is its own contents, and all of it is held.
 */

#define BLOCK_UNIT 65536u

/* One file of the base, open for reading as long as b is. */
struct block_base {
    const char *path;
    int fd;
};
/* Fills in up to max of b's base files, topmost first; returns their number. */
unsigned block_bases(const struct block_dev *b, struct block_base *out, unsigned max);
const char *block_path(const struct block_dev *b);

enum block_unit { BLOCK_AS_BASE, BLOCK_ZERO, BLOCK_DATA, BLOCK_ERROR };
/* Units are numbered; the last may be cut short by the disk's end, and is then filled up with zeros.
 * Reading: how a unit stands to the base, its contents in buf if BLOCK_DATA. Writing: makes it so.
 * Both go past the watch below. */
enum block_unit block_unit_get(struct block_dev *b, uint64_t unit, uint8_t *buf);
bool block_unit_put(struct block_dev *b, uint64_t unit, enum block_unit how, const uint8_t *buf);

/* Somebody who wants to know of every request before it is carried out, and of its end; false from
 * enter makes the request fail without being carried out. len 0: a flush. */
struct block_watch {
    void *opaque;
    bool (*enter)(void *opaque, uint64_t offset, uint64_t len, bool write);
    void (*leave)(void *opaque);
};
void block_set_watch(struct block_dev *b, const struct block_watch *w); /* NULL: none any more */

#endif
