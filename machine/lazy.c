/* Contents of memory that are still in a snapshot: brought in when the guest touches them, and by a
 * thread behind it. See machine/snapshot.h.
 *
 * A unit is read, inflated and marked here under its lock, by whoever comes first. That the page flags
 * still say PF_ABSENT then does no harm: a thread of the machine, whose they are, finds the unit here
 * and clears them. A page whose flag is set is in no TLB, so that the thread may write to it.
 *
 * Any number of threads may come at once: each takes a decoder out of the store of those that nobody
 * uses, which grows to as many as were ever needed together.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/hostmem.h"
#include "devices/vga.h"
#include "machine/disks.h"

#define DECODERS_MAX 32 /* whoever finds all of them in use waits */

struct part {
    const struct snap_stream *stream;
    uint64_t ra, size, units;
    uint8_t *present; /* by unit, under the unit's lock */
};

struct lazy {
    struct tnm_machine *m;
    struct snap_file *file;
    bool fresh; /* where the file has zeros the store has them already */
    struct part part[2];
    unsigned nparts;
    uint64_t total; /* units to be brought in */
    pthread_mutex_t unit_lock[UNIT_LOCKS];
    pthread_mutex_t lock; /* of the following */
    pthread_cond_t returned;
    struct snap_decoder *idle[DECODERS_MAX];
    unsigned nidle, made;
    atomic_uint_fast64_t done;
    atomic_bool stop, finished, failed;
    bool started;
    pthread_t thread;
};

static bool needed(const struct lazy *l, const struct part *p, uint64_t unit)
{
    return !l->fresh || snap_kind(p->stream, unit) != SNAP_ZERO;
}

/* One that nobody else uses; lazy_start has made the first, so that there is always one to wait for. */
static struct snap_decoder *take_decoder(struct lazy *l)
{
    struct snap_decoder *d = NULL;

    pthread_mutex_lock(&l->lock);
    if (!l->nidle && l->made < DECODERS_MAX && (d = snap_decoder_new()))
        l->made++;
    while (!d && !l->nidle)
        pthread_cond_wait(&l->returned, &l->lock);
    if (!d)
        d = l->idle[--l->nidle];
    pthread_mutex_unlock(&l->lock);
    return d;
}

static void return_decoder(struct lazy *l, struct snap_decoder *d)
{
    pthread_mutex_lock(&l->lock);
    l->idle[l->nidle++] = d;
    pthread_cond_signal(&l->returned);
    pthread_mutex_unlock(&l->lock);
}

/* Under no lock. */
static void fill(struct lazy *l, struct part *p, uint64_t unit)
{
    pthread_mutex_t *lock = &l->unit_lock[unit % UNIT_LOCKS];
    uint8_t *to = physmap_host(l->m->mem, p->ra + unit * SNAP_UNIT);
    struct snap_decoder *d = take_decoder(l);

    pthread_mutex_lock(lock);
    if (!p->present[unit]) {
        switch (snap_read_unit(d, p->stream, unit, to)) {
        case SNAP_IS_DATA:
            break;
        case SNAP_IS_ZERO:
            if (!l->fresh)
                hostmem_discard(to, SNAP_UNIT);
            break;
        default:
            atomic_store(&l->failed, true);
            break;
        }
        p->present[unit] = true;
        atomic_fetch_add(&l->done, 1);
    }
    pthread_mutex_unlock(lock);
    return_decoder(l, d);
}

static struct part *part_of(struct lazy *l, uint64_t ra)
{
    for (unsigned i = 0; i < l->nparts; i++) {
        if (ra - l->part[i].ra < l->part[i].size)
            return &l->part[i];
    }
    return NULL;
}

void lazy_bring_in(struct lazy *l, uint64_t ra)
{
    struct part *p = part_of(l, ra);

    if (!p) {
        physmap_flag_clear(l->m->mem, ra, 1, PF_ABSENT);
        return;
    }
    uint64_t unit = (ra - p->ra) / SNAP_UNIT;
    fill(l, p, unit);
    physmap_flag_clear(l->m->mem, p->ra + unit * SNAP_UNIT, SNAP_UNIT, PF_ABSENT);
    if (atomic_load_explicit(&l->failed, memory_order_relaxed))
        run_shorten_slice(l->m);
}

void lazy_fill(struct lazy *l, uint64_t ra, uint64_t size)
{
    struct part *p = part_of(l, ra);

    if (!p || atomic_load(&l->finished))
        return;
    for (uint64_t u = (ra - p->ra) / SNAP_UNIT; u * SNAP_UNIT < ra - p->ra + size; u++) {
        if (u < p->units && needed(l, p, u))
            fill(l, p, u);
    }
}

static void *bring_rest(void *arg)
{
    struct lazy *l = arg;

    for (unsigned i = 0; i < l->nparts; i++) {
        struct part *p = &l->part[i];
        for (uint64_t u = 0; u < p->units && !atomic_load(&l->stop); u++) {
            if (needed(l, p, u))
                fill(l, p, u);
        }
    }
    if (!disks_bring_rest(l->m, &l->stop, &l->done))
        atomic_store(&l->failed, true);
    if (!atomic_load(&l->stop))
        atomic_store(&l->finished, true);
    return NULL;
}

static bool add_part(struct lazy *l, const char *name, uint64_t ra, uint64_t size,
                     struct error *err)
{
    struct part *p = &l->part[l->nparts];

    *p = (struct part){.stream = snap_file_stream(l->file, name), .ra = ra, .size = size};
    if (!p->stream || p->stream->size != size || p->stream->missing != SNAP_ZERO ||
        size % SNAP_UNIT)
        return error_set(err, ERR_FORMAT,
                         "the snapshot's %s has another size than the machine's: use the version "
                         "that saved it",
                         name);
    p->units = p->stream->units;
    p->present = hostmem_alloc((size_t)p->units);
    if (!p->present)
        return error_set(err, ERR_NOMEM, "not enough memory to restore: free some on the host");
    l->nparts++;
    return true;
}

/* Sets the flag on all that has to be brought in, in runs. */
static void flag_part(struct lazy *l, struct part *p)
{
    uint64_t from = 0;

    for (uint64_t u = 0; u <= p->units; u++) {
        if (u < p->units && needed(l, p, u)) {
            l->total++;
            continue;
        }
        physmap_flag_set(l->m->mem, p->ra + from * SNAP_UNIT, (u - from) * SNAP_UNIT, PF_ABSENT);
        from = u + 1;
    }
}

struct lazy *lazy_start(struct tnm_machine *m, struct snap_file *f, bool fresh, struct error *err)
{
    struct lazy *l = calloc(1, sizeof(*l));
    bool ok = false;

    if (l) {
        l->m = m;
        l->file = snap_file_ref(f);
        l->fresh = fresh;
        for (unsigned i = 0; i < UNIT_LOCKS; i++)
            pthread_mutex_init(&l->unit_lock[i], NULL);
        pthread_mutex_init(&l->lock, NULL);
        pthread_cond_init(&l->returned, NULL);
        l->idle[0] = snap_decoder_new();
        ok = l->idle[0] != NULL;
        l->nidle = l->made = ok;
    }
    if (!ok)
        error_set(err, ERR_NOMEM, "not enough memory to restore: free some on the host");
    /* Video memory last: it goes in at once below, as the display reads it without asking. */
    ok = ok && add_part(l, "ram", 0, m->ram_below_4g + m->ram_above_4g, err) &&
         add_part(l, "vram", vga_vram_ra(m->vga), vga_vram_size(m->vga), err);
    if (!ok) {
        lazy_end(l);
        return NULL;
    }
    return l;
}

void lazy_go(struct lazy *l)
{
    struct part *vram = &l->part[1];

    flag_part(l, &l->part[0]);
    for (uint64_t u = 0; u < vram->units; u++) {
        if (needed(l, vram, u)) {
            l->total++;
            fill(l, vram, u);
        }
    }
    l->total += disks_left(l->m);
    /* Without a thread everything still comes when it is touched. */
    l->started = pthread_create(&l->thread, NULL, bring_rest, l) == 0;
}

bool lazy_finished(struct lazy *l, uint64_t *done, uint64_t *total)
{
    if (done)
        *done = atomic_load(&l->done) * SNAP_UNIT;
    if (total)
        *total = l->total * SNAP_UNIT;
    return atomic_load(&l->finished);
}

bool lazy_failed(const struct lazy *l, struct error *err)
{
    if (!atomic_load(&l->failed))
        return false;
    return !error_set(
        err, ERR_FORMAT,
        "contents of snapshot '%.300s' could not be read, or not be written to a disk "
        "image, and the machine cannot go on: check both",
        l->file->path);
}

void lazy_end(struct lazy *l)
{
    if (!l)
        return;
    atomic_store(&l->stop, true);
    if (l->started)
        pthread_join(l->thread, NULL);
    for (unsigned i = 0; i < l->nparts; i++) {
        physmap_flag_clear(l->m->mem, l->part[i].ra, l->part[i].size, PF_ABSENT);
        hostmem_free(l->part[i].present, (size_t)l->part[i].units);
    }
    for (unsigned i = 0; i < UNIT_LOCKS; i++)
        pthread_mutex_destroy(&l->unit_lock[i]);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->returned);
    for (unsigned i = 0; i < l->nidle; i++)
        snap_decoder_free(l->idle[i]);
    snap_file_unref(l->file);
    free(l);
}
