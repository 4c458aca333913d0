/* discard=on: writes go to an unnamed temporary file and are gone when the image is closed.
 *
 * The temporary file is sparse and has the disk's own layout; a bitmap says which grains of 4 KiB
 * it holds. The bitmap comes from hostmem_alloc, so that only the parts in use take memory: 2 MiB
 * for each 64 GiB that the guest has written all over.
 *
 * Limits: a disk larger than the temporary file system's largest file gives write errors past that.
 */
#include <stdlib.h>

#include "base/hostmem.h"
#include "devices/block_int.h"

#define GRAIN 4096u

struct overlay {
    struct block_dev *base;
    struct host_file temp;
    uint8_t *held; /* bit per grain */
    size_t held_size;
};

static bool grain_held(const struct overlay *o, uint64_t g)
{
    return o->held[g >> 3] >> (g & 7) & 1;
}

static void overlay_close(void *state)
{
    struct overlay *o = state;
    host_file_close(&o->temp);
    if (o->held)
        hostmem_free(o->held, o->held_size);
    block_close(o->base);
    free(o);
}

void *overlay_open(struct block_dev *base, struct error *err)
{
    struct overlay *o = calloc(1, sizeof(*o));
    if (o) {
        o->held_size = base->size / GRAIN / 8 + 1;
        o->held = hostmem_alloc(o->held_size);
    }
    if (!o || !o->held) {
        error_set(err, ERR_NOMEM, "not enough memory for the map of discarded writes");
        free(o);
        return NULL;
    }
    if (!host_file_temp(&o->temp, err)) {
        hostmem_free(o->held, o->held_size);
        free(o);
        return NULL;
    }
    o->base = base;
    return o;
}

static bool overlay_read(void *state, uint64_t offset, void *buf, size_t len)
{
    struct overlay *o = state;
    uint8_t *p = buf;
    while (len) {
        /* As many grains as come from the same place. */
        bool held = grain_held(o, offset / GRAIN);
        size_t n = (size_t)MIN((uint64_t)len, GRAIN - offset % GRAIN);
        while (n < len && grain_held(o, (offset + n) / GRAIN) == held)
            n = MIN(len, n + GRAIN);
        if (!(held ? host_file_read_padded(&o->temp, offset, p, n)
                   : block_read(o->base, offset, p, n)))
            return false;
        offset += n;
        p += n;
        len -= n;
    }
    return true;
}

/* Copies the rest of a grain that a write covers in part. */
static bool fill_grain(struct overlay *o, uint64_t g)
{
    uint8_t buf[GRAIN];
    if (grain_held(o, g))
        return true;
    size_t n = (size_t)MIN((uint64_t)GRAIN, o->base->size - g * GRAIN);
    return block_read(o->base, g * GRAIN, buf, n) && host_file_write(&o->temp, g * GRAIN, buf, n);
}

static bool overlay_write(void *state, uint64_t offset, const void *buf, size_t len)
{
    struct overlay *o = state;
    if (!len)
        return true;
    uint64_t first = offset / GRAIN, last = (offset + len - 1) / GRAIN;
    if ((offset % GRAIN && !fill_grain(o, first)) ||
        ((offset + len) % GRAIN && offset + len < o->base->size && !fill_grain(o, last)) ||
        !host_file_write(&o->temp, offset, buf, len))
        return false;
    for (uint64_t g = first; g <= last; g++)
        o->held[g >> 3] |= (uint8_t)(1u << (g & 7));
    return true;
}

static bool overlay_trim(void *state, uint64_t offset, uint64_t len)
{
    struct overlay *o = state;
    uint64_t g = (offset + GRAIN - 1) / GRAIN, end = (offset + len) / GRAIN;
    /* Runs of grains that are held; the others have nothing to give back. */
    while (g < end) {
        uint64_t run = g;
        while (run < end && grain_held(o, run))
            run++;
        if (run > g)
            host_file_punch(&o->temp, g * GRAIN, (run - g) * GRAIN);
        g = MAX(run, g + 1);
    }
    return true;
}

static bool overlay_flush(void *state)
{
    return true; /* nothing here outlives the process anyway */
}

/* ---- snapshots: the base is the image under it (block.c asks that) ---------------------------- */

static bool overlay_written(void *state, uint64_t offset, uint64_t len)
{
    struct overlay *o = state;
    for (uint64_t g = offset / GRAIN; g * GRAIN < offset + len; g++) {
        if (grain_held(o, g))
            return true;
    }
    return false;
}

/* Whole grains, as units are. */
static bool overlay_revert(void *state, uint64_t offset, uint64_t len)
{
    struct overlay *o = state;
    for (uint64_t g = offset / GRAIN; g * GRAIN < offset + len; g++)
        o->held[g >> 3] &= (uint8_t) ~(1u << (g & 7));
    return true;
}

const struct block_driver overlay_driver = {
    .name = "overlay",
    .read = overlay_read,
    .write = overlay_write,
    .trim = overlay_trim,
    .flush = overlay_flush,
    .close = overlay_close,
    .written = overlay_written,
    .revert = overlay_revert,
};
