/* Access functions of a block of device registers, and how accesses of a size the device does not
 * take are cut up. It stands here because both the port map (devices/) and the physical memory map
 * (mmu/) call devices through it.
 */
#ifndef BASE_IO_H
#define BASE_IO_H

#include "base/bits.h"

/* offset is from the region's start, size 1, 2, 4 (8 on memory regions only). A region that sets
 * min/max gets wider accesses cut into pieces of max_access and narrower ones turned into one of
 * min_access (0 means 1 and 4). Values come zero-extended, results are masked by the caller. */
struct io_ops {
    const char *name;
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned size);
    uint8_t min_access, max_access;
};

static inline uint64_t io_size_mask(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (1ull << size * 8) - 1;
}

/* Any size from 1 to 8; sizes that are not powers of two (accesses cut at a page or region
 * boundary) go in power-of-two pieces. ops may be NULL, as may its functions: all ones, ignored. */
uint64_t io_ops_read(const struct io_ops *ops, void *opaque, uint64_t offset, unsigned size);
void io_ops_write(const struct io_ops *ops, void *opaque, uint64_t offset, uint64_t value,
                  unsigned size);

#endif
