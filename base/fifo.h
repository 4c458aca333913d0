/* Where in a piece of memory records of any size stand that are given back in the order in which they
 * were taken. Offsets only: what lies there is the caller's business.
 *
 *      0     head            tail          end    size
 *      |#####|...............|#############|------|      wrapped: the oldest record is at tail
 *
 *      0     tail            head                 size
 *      |.....|###############|....................|      not wrapped
 *
 * A record never wraps: what is left behind `end` is not used in this lap.
 */
#ifndef BASE_FIFO_H
#define BASE_FIFO_H

#include "base/bits.h"

struct fifo {
    size_t size;
    size_t head; /* where the next record goes */
    size_t tail; /* the oldest record in use */
    size_t end;  /* if wrapped: behind the last record before the start */
    bool wrapped;
    uint64_t lap; /* bytes of all laps before that of head */
};

/* Empty, of that size. */
void fifo_init(struct fifo *f, size_t size);
/* Whether n bytes, at most half of the size, are free at head, which may have gone back to the start for
 * it. If not, the oldest record must be given back; fifo_empty() is never true then. */
bool fifo_room(struct fifo *f, size_t n);
/* Takes n bytes at head, no more than fifo_room() has found. */
void fifo_take(struct fifo *f, size_t n);
/* Gives back the oldest record, of n bytes. */
void fifo_give(struct fifo *f, size_t n);

static inline bool fifo_empty(const struct fifo *f)
{
    return !f->wrapped && f->head == f->tail;
}

/* Bytes in use, without what no record fits in. */
static inline size_t fifo_used(const struct fifo *f)
{
    return f->wrapped ? f->end - f->tail + f->head : f->head - f->tail;
}

/* When the record at an offset in use was taken: grows from record to record, and is never used again. */
static inline uint64_t fifo_time(const struct fifo *f, size_t offset)
{
    return f->lap + offset - (f->wrapped && offset >= f->tail ? f->size : 0);
}

/* Records with an earlier time have been given back. */
static inline uint64_t fifo_oldest(const struct fifo *f)
{
    return fifo_time(f, f->tail);
}

#endif
