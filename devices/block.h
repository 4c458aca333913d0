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

#endif
