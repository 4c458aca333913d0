/* Which image is which floppy, and its insertion: the part of fdc.h that knows of formats. */
#include "devices/fdc.h"

#define SECTOR 512u

static const struct geometry {
    uint8_t cyls, heads, sectors, rate;
} geometries[] = {
    {40, 1, 8, 2},  {40, 1, 9, 2},  {40, 2, 8, 2},  {40, 2, 9, 2},  {80, 2, 8, 2},
    {80, 2, 9, 2},  {80, 2, 10, 2}, {80, 2, 15, 0}, {80, 2, 18, 0}, {80, 2, 20, 0},
    {80, 2, 21, 0}, {82, 2, 21, 0}, {83, 2, 21, 0}, {80, 2, 36, 3},
};

static uint64_t geometry_bytes(const struct geometry *g)
{
    return (uint64_t)g->cyls * g->heads * g->sectors * SECTOR;
}

/* An image of exactly a format's size has that format; one that is shorter than a 1.44M or 2.88M
 * disk is its beginning, the rest reads as zeros. */
static const struct geometry *geometry_of(uint64_t bytes)
{
    static const struct geometry padded[] = {{80, 2, 18, 0}, {80, 2, 36, 3}};

    if (!bytes || bytes % SECTOR)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(geometries); i++)
        if (geometry_bytes(&geometries[i]) == bytes)
            return &geometries[i];
    for (size_t i = 0; i < ARRAY_LEN(padded); i++)
        if (bytes < geometry_bytes(&padded[i]))
            return &padded[i];
    return NULL;
}

bool fdc_size_ok(uint64_t bytes)
{
    return geometry_of(bytes) != NULL;
}

bool fdc_set_media(struct fdc *f, unsigned drive, struct block_dev *b)
{
    struct fdc_unit *u;
    const struct geometry *g = NULL;

    if (drive >= f->cfg.drives)
        return false;
    if (b) {
        g = geometry_of(block_size(b));
        if (!g)
            return false;
    }
    u = &f->unit[drive];
    f->cfg.media[drive] = b;
    u->cyls = g ? g->cyls : 0;
    u->heads = g ? g->heads : 0;
    u->sectors = g ? g->sectors : 0;
    u->rate = g ? g->rate : 0;
    u->readonly = b && block_readonly(b);
    u->changed = true;
    return true;
}

uint8_t fdc_drive_type(const struct fdc *f, unsigned drive)
{
    if (drive >= f->cfg.drives)
        return 0;
    return f->cfg.drive_type[drive] ? f->cfg.drive_type[drive] : 4;
}
