/* Cutting register accesses into the sizes a device takes: see base/io.h. */
#include "base/io.h"

/* The largest piece, a power of two no larger than max, of an access of size bytes. */
static unsigned piece(unsigned size, unsigned max)
{
    unsigned n = size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
    return MIN(n, max);
}

uint64_t io_ops_read(const struct io_ops *ops, void *opaque, uint64_t offset, unsigned size)
{
    if (!ops || !ops->read)
        return io_size_mask(size);
    unsigned min = ops->min_access ? ops->min_access : 1;
    unsigned max = ops->max_access ? ops->max_access : 4;
    uint64_t value = 0;

    for (unsigned done = 0; done < size;) {
        unsigned n = piece(size - done, max);
        uint64_t at = offset + done, v;
        if (n < min) {
            uint64_t whole = align_down(at, min);
            n = (unsigned)MIN(size - done, whole + min - at);
            v = ops->read(opaque, whole, min) >> (at - whole) * 8;
        } else {
            v = ops->read(opaque, at, n);
        }
        value |= (v & io_size_mask(n)) << done * 8;
        done += n;
    }
    return value;
}

void io_ops_write(const struct io_ops *ops, void *opaque, uint64_t offset, uint64_t value,
                  unsigned size)
{
    if (!ops || !ops->write)
        return;
    unsigned min = ops->min_access ? ops->min_access : 1;
    unsigned max = ops->max_access ? ops->max_access : 4;

    for (unsigned done = 0; done < size;) {
        unsigned n = piece(size - done, max);
        uint64_t at = offset + done, v = value >> done * 8;
        if (n < min) {
            uint64_t whole = align_down(at, min);
            n = (unsigned)MIN(size - done, whole + min - at);
            ops->write(opaque, whole, (v & io_size_mask(n)) << (at - whole) * 8, min);
        } else {
            ops->write(opaque, at, v & io_size_mask(n), n);
        }
        done += n;
    }
}
