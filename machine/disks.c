/* Disks between drives and images while a save or a restore is under way: see machine/disks.h. */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/hostmem.h"
#include "devices/block.h"
#include "machine/disks.h"

struct disk {
    struct tnm_machine *m;
    unsigned index;
    struct block_watch watch;
    pthread_mutex_t lock;

    struct capture *capture; /* NULL: no save under way */
    unsigned stream;

    struct snap_file *file; /* NULL: no restore under way */
    const struct snap_stream *from;
    uint64_t units, left;
    uint8_t *pending;  /* by unit: to be brought back */
    bool failed, kept; /* kept: the image outlives the machine */
    struct snap_decoder *decoder;
    uint8_t buf[SNAP_UNIT], now[SNAP_UNIT];
};

struct block_dev *disk_block(const struct tnm_machine *m, unsigned i)
{
    return i < TNM_MAX_DISKS ? m->disk[i] : m->floppy;
}

const char *disk_name(unsigned i)
{
    static const char *const names[DISKS_MAX] = {"disk0", "disk1", "disk2", "disk3", "disk4",
                                                 "disk5", "disk6", "disk7", "floppy"};
    return names[i];
}

/* ---- bringing back --------------------------------------------------------------------------- */

static enum block_unit from_file(struct disk *d, uint64_t unit, uint8_t *buf)
{
    switch (snap_read_unit(d->decoder, d->from, unit, buf)) {
    case SNAP_IS_DATA:
        return BLOCK_DATA;
    case SNAP_IS_ZERO:
        return BLOCK_ZERO;
    case SNAP_IS_BASE:
        return BLOCK_AS_BASE;
    default:
        return BLOCK_ERROR;
    }
}

/* Most of an image is what it was: then nothing is written. */
static bool is_so_already(struct disk *d, uint64_t unit)
{
    const struct snap_entry *e = snap_resolve(d->from, unit);
    enum block_unit now = block_unit_get(disk_block(d->m, d->index), unit, d->now);

    switch (snap_kind(d->from, unit)) {
    case SNAP_ZERO:
        return now == BLOCK_ZERO || (now == BLOCK_DATA && snap_unit_zero(d->now));
    case SNAP_BASE:
        return now == BLOCK_AS_BASE;
    default:
        return now == BLOCK_DATA && hash64(d->now, SNAP_UNIT, 0) == e->hash;
    }
}

/* Under the lock. */
static bool bring(struct disk *d, uint64_t unit)
{
    bool ok = true;

    if (!d->pending[unit])
        return !d->failed;
    if (!is_so_already(d, unit)) {
        enum block_unit how = from_file(d, unit, d->buf);
        ok = how != BLOCK_ERROR && block_unit_put(disk_block(d->m, d->index), unit, how, d->buf);
    }
    d->failed |= !ok;
    d->pending[unit] = false;
    d->left--;
    return ok;
}

/* ---- the watch ------------------------------------------------------------------------------- */

static bool enter(void *opaque, uint64_t offset, uint64_t len, bool write)
{
    struct disk *d = opaque;
    uint64_t first = offset / SNAP_UNIT, end = (offset + len + SNAP_UNIT - 1) / SNAP_UNIT;
    bool ok = true;

    if (write && d->capture) {
        for (uint64_t u = first; u < end; u++)
            capture_disk(d->capture, d->stream, u);
    }
    pthread_mutex_lock(&d->lock);
    for (uint64_t u = first; ok && len && d->left && u < end; u++)
        ok = bring(d, u);
    if (!ok)
        pthread_mutex_unlock(&d->lock);
    return ok;
}

static void leave(void *opaque)
{
    struct disk *d = opaque;
    pthread_mutex_unlock(&d->lock);
}

static struct disk *get_disk(struct tnm_machine *m, unsigned i)
{
    struct disk *d = m->disks->disk[i];

    if (d || !(d = calloc(1, sizeof(*d))))
        return d;
    d->m = m;
    d->index = i;
    d->watch = (struct block_watch){d, enter, leave};
    pthread_mutex_init(&d->lock, NULL);
    m->disks->disk[i] = d;
    return d;
}

static void set_watch(struct disk *d)
{
    struct block_dev *b = disk_block(d->m, d->index);
    if (b)
        block_set_watch(b, d->capture || d->file ? &d->watch : NULL);
}

void disk_lock(struct tnm_machine *m, unsigned i)
{
    pthread_mutex_lock(&m->disks->disk[i]->lock);
}

void disk_unlock(struct tnm_machine *m, unsigned i)
{
    pthread_mutex_unlock(&m->disks->disk[i]->lock);
}

enum block_unit disk_unit(struct tnm_machine *m, unsigned i, uint64_t unit, uint8_t *buf)
{
    struct disk *d = m->disks->disk[i];

    if (d->failed)
        return BLOCK_ERROR; /* what the image has is not what it should be */
    if (d->left && d->pending[unit])
        return from_file(d, unit, buf);
    return block_unit_get(disk_block(m, i), unit, buf);
}

/* ---- saving ---------------------------------------------------------------------------------- */

bool disks_ready(struct tnm_machine *m)
{
    for (unsigned i = 0; i < DISKS_MAX; i++) {
        if (disk_block(m, i) && !get_disk(m, i))
            return false;
    }
    return true;
}

void disks_watch(struct tnm_machine *m, struct capture *c, const unsigned *stream)
{
    for (unsigned i = 0; i < DISKS_MAX; i++) {
        if (stream[i] == UINT32_MAX)
            continue;
        m->disks->disk[i]->capture = c;
        m->disks->disk[i]->stream = stream[i];
        set_watch(m->disks->disk[i]);
    }
}

void disks_unwatch(struct tnm_machine *m)
{
    for (unsigned i = 0; i < DISKS_MAX; i++) {
        if (!m->disks->disk[i])
            continue;
        m->disks->disk[i]->capture = NULL;
        set_watch(m->disks->disk[i]);
    }
}

/* ---- restoring ------------------------------------------------------------------------------- */

static void forget(struct disk *d)
{
    hostmem_free(d->pending, (size_t)d->units + 1);
    snap_decoder_free(d->decoder);
    snap_file_unref(d->file);
    d->pending = NULL;
    d->decoder = NULL;
    d->file = NULL;
    d->from = NULL;
    d->left = d->units = 0;
    d->failed = false;
}

void disks_free(struct tnm_machine *m)
{
    for (unsigned i = 0; i < DISKS_MAX; i++) {
        struct disk *d = m->disks->disk[i];
        if (!d)
            continue;
        d->capture = NULL;
        forget(d);
        set_watch(d);
        pthread_mutex_destroy(&d->lock);
        free(d);
        m->disks->disk[i] = NULL;
    }
}

static bool prepare(struct tnm_machine *m, unsigned i, struct snap_file *f, bool fresh,
                    struct error *err)
{
    struct block_dev *b = disk_block(m, i);
    const struct snap_stream *s = snap_file_stream(f, disk_name(i));
    struct block_base base;

    if (!b || block_readonly(b))
        return !s || error_set(err, ERR_INVALID,
                               "the snapshot has contents of %s, which cannot be written here: "
                               "configure it as it was",
                               disk_name(i));
    if (!s || s->size != block_size(b))
        return error_set(err, ERR_INVALID,
                         "%s is not as large as in the snapshot, or was read-only there: use the "
                         "same image and options",
                         disk_name(i));
    if ((s->missing == SNAP_BASE) != (block_bases(b, &base, 1) > 0))
        return error_set(err, ERR_INVALID,
                         "%s was written directly in the snapshot and is not here, or the other "
                         "way round: use the same image and the same discard=",
                         disk_name(i));
    struct disk *d = get_disk(m, i);
    if (!d)
        return error_set(err, ERR_NOMEM, "not enough memory to restore: free some on the host");
    m->disks->next[i] = (struct disk_restore){.file = snap_file_ref(f), .from = s};
    struct disk_restore *r = &m->disks->next[i];
    r->kept = m->cfg.ndisks <= i || !m->cfg.disks[i].discard;
    r->pending = hostmem_alloc((size_t)s->units + 1);
    r->decoder = snap_decoder_new();
    if (!r->pending || !r->decoder)
        return error_set(err, ERR_NOMEM, "not enough memory to restore: free some on the host");
    for (uint64_t u = 0; u < s->units; u++) {
        /* Under a fresh overlay everything is as in the base. */
        r->pending[u] = !fresh || r->kept || snap_kind(s, u) != SNAP_BASE;
        r->left += r->pending[u];
    }
    return true;
}

void disks_abandon(struct tnm_machine *m)
{
    for (unsigned i = 0; i < DISKS_MAX; i++) {
        struct disk_restore *r = &m->disks->next[i];
        if (r->from)
            hostmem_free(r->pending, (size_t)r->from->units + 1);
        snap_decoder_free(r->decoder);
        snap_file_unref(r->file);
        *r = (struct disk_restore){0};
    }
}

bool disks_prepare(struct tnm_machine *m, struct snap_file *f, bool fresh, struct error *err)
{
    bool ok = true;

    for (unsigned i = 0; ok && i < DISKS_MAX; i++)
        ok = prepare(m, i, f, fresh, err);
    if (!ok)
        disks_abandon(m);
    return ok;
}

void disks_go(struct tnm_machine *m)
{
    for (unsigned i = 0; i < DISKS_MAX; i++) {
        struct disk_restore *r = &m->disks->next[i];
        struct disk *d = m->disks->disk[i];
        if (!d)
            continue;
        forget(d);
        if (r->from) {
            d->file = r->file;
            d->from = r->from;
            d->units = r->from->units;
            d->pending = r->pending;
            d->decoder = r->decoder;
            d->left = r->left;
            d->kept = r->kept;
        }
        *r = (struct disk_restore){0};
        set_watch(d);
    }
}

bool disks_bring_rest(struct tnm_machine *m, const atomic_bool *stop, atomic_uint_fast64_t *done)
{
    bool ok = true;

    for (unsigned i = 0; i < DISKS_MAX; i++) {
        struct disk *d = m->disks->disk[i];
        bool more = d != NULL;
        for (uint64_t u = 0; more && !atomic_load(stop); u++) {
            pthread_mutex_lock(&d->lock);
            more = d->file && u < d->units;
            if (more && d->pending[u]) {
                ok = bring(d, u) && ok;
                atomic_fetch_add(done, 1);
            }
            ok = ok && !d->failed;
            pthread_mutex_unlock(&d->lock);
        }
    }
    return ok;
}

uint64_t disks_left(struct tnm_machine *m)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < DISKS_MAX; i++)
        n += m->disks->disk[i] ? m->disks->disk[i]->left : 0;
    return n;
}

void disks_floppy_leaves(struct tnm_machine *m)
{
    struct disk *d = m->disks->disk[DISKS_MAX - 1];
    struct block_dev *b = disk_block(m, DISKS_MAX - 1);

    if (!d || !b)
        return;
    if (d->capture) {
        for (uint64_t u = 0; u * SNAP_UNIT < block_size(b); u++)
            capture_disk(d->capture, d->stream, u);
        d->capture = NULL;
    }
    pthread_mutex_lock(&d->lock);
    for (uint64_t u = 0; d->file && u < d->units; u++)
        bring(d, u);
    forget(d);
    set_watch(d);
    pthread_mutex_unlock(&d->lock);
}

void disks_settle(struct tnm_machine *m)
{
    for (unsigned i = 0; i < DISKS_MAX; i++) {
        struct disk *d = m->disks->disk[i];
        if (!d || !d->file)
            continue;
        for (uint64_t u = 0; d->kept && u < d->units; u++)
            bring(d, u);
        forget(d);
        set_watch(d);
    }
}
