/* Units of contents: leaving out pages, compressing. See snapshots/snapfile.h. */
#include <stdlib.h>
#include <zlib.h>

#include "base/hash.h"
#include "snapshots/snapfile.h"

#define PLAIN_MAX (SNAP_PAGES * 8 + SNAP_UNIT)

/* Two seeds: two hashes that do not fail together. */
#define SEED_A 0x736e61702d612d31ull
#define SEED_B 0x736e61702d622d32ull

/* ---- pages ----------------------------------------------------------------------------------- */

static bool all_zero(const uint8_t *p, size_t len)
{
    /* By comparing with itself, one word on: as fast as memcmp is. */
    return !ld64(p) && !memcmp(p, p + 8, len - 8);
}

bool snap_unit_zero(const uint8_t *unit)
{
    return all_zero(unit, SNAP_UNIT);
}

void snap_plan_hash(struct snap_plan *p, const uint8_t *unit)
{
    for (unsigned i = 0; i < SNAP_PAGES; i++) {
        const uint8_t *page = unit + (size_t)i * SNAP_PAGE;
        if (all_zero(page, SNAP_PAGE)) {
            p->word[i] = 0;
            continue;
        }
        p->word[i] = 1;
        p->hash[i][0] = hash64(page, SNAP_PAGE, SEED_A);
        p->hash[i][1] = hash64(page, SNAP_PAGE, SEED_B);
    }
}

/* Open addressing, never more than half full. */
struct seen {
    uint64_t hash[2];
    uint64_t page_plus_1; /* 0: empty */
};

struct snap_dedupe {
    struct seen *slot;
    size_t slots, used; /* slots is a power of two */
};

struct snap_dedupe *snap_dedupe_new(void)
{
    struct snap_dedupe *d = calloc(1, sizeof(*d));
    if (!d)
        return NULL;
    d->slots = 4096;
    d->slot = calloc(d->slots, sizeof(*d->slot));
    if (!d->slot) {
        free(d);
        return NULL;
    }
    return d;
}

void snap_dedupe_free(struct snap_dedupe *d)
{
    if (!d)
        return;
    free(d->slot);
    free(d);
}

static struct seen *find(const struct snap_dedupe *d, const uint64_t hash[2])
{
    size_t i = (size_t)hash[0] & (d->slots - 1);
    while (d->slot[i].page_plus_1 &&
           (d->slot[i].hash[0] != hash[0] || d->slot[i].hash[1] != hash[1]))
        i = (i + 1) & (d->slots - 1);
    return &d->slot[i];
}

static bool grow(struct snap_dedupe *d)
{
    struct snap_dedupe bigger = {calloc(d->slots * 2, sizeof(*d->slot)), d->slots * 2, d->used};
    if (!bigger.slot)
        return false;
    for (size_t i = 0; i < d->slots; i++) {
        if (d->slot[i].page_plus_1)
            *find(&bigger, d->slot[i].hash) = d->slot[i];
    }
    free(d->slot);
    *d = bigger;
    return true;
}

void snap_plan_dedupe(struct snap_plan *p, struct snap_dedupe *d, uint64_t unit_number)
{
    for (unsigned i = 0; i < SNAP_PAGES; i++) {
        if (p->word[i] != 1)
            continue;
        struct seen *s = find(d, p->hash[i]);
        if (s->page_plus_1) {
            p->word[i] = (s->page_plus_1 - 1) << 2 | 2;
            continue;
        }
        if (d->used * 2 >= d->slots) {
            if (!grow(d))
                continue; /* without memory, pages are stored again */
            s = find(d, p->hash[i]);
        }
        *s = (struct seen){{p->hash[i][0], p->hash[i][1]}, unit_number * SNAP_PAGES + i + 1};
        d->used++;
    }
}

/* ---- compressing ----------------------------------------------------------------------------- */

struct snap_encoder {
    z_stream z;
    size_t out_size;
    uint8_t *out;
    uint8_t plain[PLAIN_MAX];
};

struct snap_encoder *snap_encoder_new(int level)
{
    struct snap_encoder *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    if (deflateInit(&e->z, level) != Z_OK) {
        free(e);
        return NULL;
    }
    e->out_size = deflateBound(&e->z, PLAIN_MAX);
    e->out = malloc(e->out_size);
    if (!e->out) {
        snap_encoder_free(e);
        return NULL;
    }
    return e;
}

void snap_encoder_free(struct snap_encoder *e)
{
    if (!e)
        return;
    deflateEnd(&e->z);
    free(e->out);
    free(e);
}

const uint8_t *snap_encode(struct snap_encoder *e, const struct snap_plan *p, const uint8_t *unit,
                           size_t *len)
{
    size_t n = 0;

    for (unsigned i = 0; i < SNAP_PAGES; i++, n += 8)
        st64(e->plain + n, p->word[i]);
    for (unsigned i = 0; i < SNAP_PAGES; i++) {
        if (p->word[i] != 1)
            continue;
        memcpy(e->plain + n, unit + (size_t)i * SNAP_PAGE, SNAP_PAGE);
        n += SNAP_PAGE;
    }
    if (deflateReset(&e->z) != Z_OK)
        return NULL;
    e->z.next_in = e->plain;
    e->z.avail_in = (uInt)n;
    e->z.next_out = e->out;
    e->z.avail_out = (uInt)e->out_size;
    if (deflate(&e->z, Z_FINISH) != Z_STREAM_END)
        return NULL;
    *len = e->out_size - e->z.avail_out;
    return e->out;
}
