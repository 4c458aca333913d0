/* The engine of a save: see machine/snapshot.h.
 *
 * All units of all streams are numbered through; worker threads take the numbers in order, copy the
 * unit, compress the copy, and append it to the file. Meanwhile the machine's thread may be about to
 * change a unit that no worker has copied: it then copies it itself, into a bounded pool of buffers,
 * and queues it; workers serve that queue first. So what is written is the state at the beginning,
 * and the guest waits only for a copy of 64 KiB, or for a worker when the pool is empty.
 *
 * Whoever copies a unit of memory does so under its lock and marks it taken; any number of threads may
 * come with pages they are about to change. Appending, and looking
 * for pages that are there already, goes in the order of numbers, so that without a running guest the
 * file's bytes depend on the state alone; queued copies are appended when they come.
 *
 * The guest stands still until capture_go returns, so that starts one thread only, and everything that
 * takes time is left to it: opening the parents, what compressing needs, the other threads.
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "base/hash.h"
#include "base/hostmem.h"
#include "devices/block.h"
#include "machine/disks.h"

#define THREADS_MAX 32
#define LEVEL       1 /* of zlib: measured, others cost more than they save */

struct stream {
    struct source from;
    uint64_t units, first; /* number of its first unit */
    struct snap_entry *entry;
    struct snap_dedupe *dedupe;
    const struct snap_stream *parent;
    uint8_t *taken; /* by unit, under the unit's lock */
};

/* A copy made by the machine's thread. */
struct copy {
    struct copy *next;
    struct stream *stream;
    uint64_t unit;
    uint8_t *data;
};

struct capture {
    struct snap_writer *writer;
    struct capture_options opt; /* with a parent's path of our own */
    struct snap_file *parent;
    struct stream stream[MAX_SOURCES];
    unsigned nstreams;
    uint64_t units;

    pthread_mutex_t unit_lock[UNIT_LOCKS];

    pthread_mutex_t lock; /* of the following */
    pthread_cond_t changed;
    uint64_t next, done;
    uint64_t more, more_done, part; /* bytes of opt.last's work; of what it is at */
    struct copy *free, *queue, **queue_end;
    unsigned running;
    bool stop, finished;

    pthread_mutex_t order; /* of the following, the dedupe tables and the writer */
    pthread_cond_t turn;
    uint64_t turn_dedupe, turn_put, bytes;

    struct copy *copies;
    uint8_t *pool;
    unsigned nthreads;
    pthread_t thread[THREADS_MAX];
    bool ok;
    struct error err;
};

static pthread_mutex_t *lock_of(struct capture *c, uint64_t unit)
{
    return &c->unit_lock[unit % UNIT_LOCKS];
}

/* ---- workers --------------------------------------------------------------------------------- */

struct worker {
    struct capture *c;
    struct snap_encoder *encoder;
    struct snap_decoder *decoder;
    struct snap_plan plan;
    uint8_t buf[SNAP_UNIT];
};

static void worker_free(struct worker *w)
{
    snap_encoder_free(w->encoder);
    snap_decoder_free(w->decoder);
    free(w);
}

static struct worker *worker_new(struct capture *c)
{
    struct worker *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    w->c = c;
    w->encoder = snap_encoder_new(LEVEL);
    w->decoder = snap_decoder_new();
    if (w->encoder && w->decoder)
        return w;
    worker_free(w);
    return NULL;
}

static void fail(struct capture *c, enum error_code code, const char *why)
{
    pthread_mutex_lock(&c->lock);
    if (!c->stop)
        error_set(&c->err, code, "%s", why);
    c->stop = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_lock(&c->order);
    pthread_cond_broadcast(&c->turn);
    pthread_mutex_unlock(&c->order);
}

static bool stopped(struct capture *c)
{
    pthread_mutex_lock(&c->lock);
    bool stop = c->stop;
    pthread_mutex_unlock(&c->lock);
    return stop;
}

/* A part of the memory or blob; the last unit of a stream is filled up with zeros. */
static void copy_unit(uint8_t *to, const uint8_t *from, uint64_t size, uint64_t unit)
{
    size_t n = (size_t)MIN((uint64_t)SNAP_UNIT, size - unit * SNAP_UNIT);
    memcpy(to, from + unit * SNAP_UNIT, n);
    memset(to + n, 0, SNAP_UNIT - n);
}

static void copy_memory(struct capture *c, const struct stream *s, uint64_t unit, uint8_t *to)
{
    struct tnm_machine *m = c->opt.machine;

    if (m->lazy)
        lazy_fill(m->lazy, s->from.ra + unit * SNAP_UNIT, SNAP_UNIT);
    copy_unit(to, physmap_host(m->mem, s->from.ra), s->from.size, unit);
}

/* A unit of a disk, under its lock: the first one to come takes it. */
static enum block_unit take_disk(struct capture *c, struct stream *s, uint64_t unit, uint8_t *to)
{
    enum block_unit how = disk_unit(c->opt.machine, s->from.disk, unit, to);

    s->taken[unit] = true;
    if (how == BLOCK_AS_BASE)
        s->entry[unit].kind = SNAP_BASE;
    else if (how == BLOCK_ZERO)
        s->entry[unit].kind = SNAP_ZERO;
    else if (how == BLOCK_ERROR)
        fail(c, ERR_IO, "a disk image cannot be read: check the host's disk");
    return how;
}

enum got { GOT_DATA, GOT_NOTHING, GOT_FAILURE };

/* Contents of a unit by its source, or the entry's kind if there are none to store. */
static enum got get_unit(struct worker *w, struct stream *s, uint64_t unit)
{
    struct capture *c = w->c;
    struct snap_entry *e = &s->entry[unit];
    bool taken = false;

    switch (s->from.kind) {
    case SOURCE_MEMORY:
        pthread_mutex_lock(lock_of(c, unit));
        taken = s->taken[unit];
        if (!taken)
            copy_memory(c, s, unit, w->buf);
        s->taken[unit] = true;
        pthread_mutex_unlock(lock_of(c, unit));
        return taken ? GOT_NOTHING : GOT_DATA;
    case SOURCE_BLOB:
        copy_unit(w->buf, s->from.data, s->from.size, unit);
        return GOT_DATA;
    case SOURCE_FILE:
        switch (snap_read_unit(w->decoder, s->from.file, unit, w->buf)) {
        case SNAP_IS_DATA:
            return GOT_DATA;
        case SNAP_IS_ZERO:
            e->kind = SNAP_ZERO;
            return GOT_NOTHING;
        case SNAP_IS_BASE:
            e->kind = SNAP_BASE;
            return GOT_NOTHING;
        default:
            fail(c, ERR_FORMAT, "the snapshot is damaged: use another copy");
            return GOT_FAILURE;
        }
    default:
        disk_lock(c->opt.machine, s->from.disk);
        enum block_unit how = s->taken[unit] ? BLOCK_ZERO : take_disk(c, s, unit, w->buf);
        disk_unlock(c->opt.machine, s->from.disk);
        return how == BLOCK_DATA ? GOT_DATA : GOT_NOTHING;
    }
}

/* Waits until it is number t's turn, if in_order, and takes the order lock. */
static void order_lock(struct capture *c, const uint64_t *turn, uint64_t t, bool in_order)
{
    pthread_mutex_lock(&c->order);
    while (in_order && *turn != t)
        pthread_cond_wait(&c->turn, &c->order);
}

static void order_unlock(struct capture *c, uint64_t *turn, bool in_order)
{
    if (in_order) {
        ++*turn;
        pthread_cond_broadcast(&c->turn);
    }
    pthread_mutex_unlock(&c->order);
}

/* True if the contents in data have to be stored; otherwise the entry says what they are. */
static bool must_store(const struct stream *s, uint64_t unit, const uint8_t *data,
                       struct snap_entry *e)
{
    if (snap_unit_zero(data)) {
        e->kind = SNAP_ZERO;
        return false;
    }
    e->hash = hash64(data, SNAP_UNIT, 0);
    if (s->parent && unit < s->parent->units && snap_kind(s->parent, unit) >= SNAP_PARENT &&
        s->parent->entry[unit].hash == e->hash) {
        e->kind = SNAP_PARENT;
        return false;
    }
    e->kind = SNAP_DATA;
    return true;
}

/* Compresses and appends one unit; data NULL: there is nothing, only its turns pass. */
static void store_unit(struct worker *w, struct stream *s, uint64_t unit, const uint8_t *data,
                       bool in_order)
{
    struct capture *c = w->c;
    uint64_t number = s->first + unit;
    struct snap_entry *e = &s->entry[unit];
    const uint8_t *packed = NULL;
    size_t len = 0;
    bool store = data && must_store(s, unit, data, e), ok = true;

    if (store)
        snap_plan_hash(&w->plan, data);
    order_lock(c, &c->turn_dedupe, number, in_order);
    if (store)
        snap_plan_dedupe(&w->plan, s->dedupe, unit);
    order_unlock(c, &c->turn_dedupe, in_order);
    if (store) {
        packed = snap_encode(w->encoder, &w->plan, data, &len);
        if (!packed)
            fail(c, ERR_NOMEM, "not enough memory to compress a snapshot: free some on the host");
    }
    if (packed) {
        e->stored = (uint32_t)len;
        e->crc = (uint32_t)crc32_z(0, packed, len);
    }
    order_lock(c, &c->turn_put, number, in_order);
    if (packed)
        ok = snap_writer_put(c->writer, packed, len, &e->offset);
    c->bytes = snap_writer_bytes(c->writer);
    order_unlock(c, &c->turn_put, in_order);
    if (!ok)
        fail(c, ERR_IO, "the snapshot cannot be written"); /* the writer knows why */
}

static void serve_number(struct worker *w, uint64_t number)
{
    struct capture *c = w->c;
    unsigned i = c->nstreams - 1;

    while (c->stream[i].first > number)
        i--;
    struct stream *s = &c->stream[i];
    uint64_t unit = number - s->first;
    bool data = get_unit(w, s, unit) == GOT_DATA;
    store_unit(w, s, unit, data ? w->buf : NULL, true);
}

static void serve_copy(struct worker *w, struct copy *copy)
{
    struct capture *c = w->c;

    store_unit(w, copy->stream, copy->unit, copy->data, false);
    pthread_mutex_lock(&c->lock);
    copy->next = c->free;
    c->free = copy;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

/* The last worker to leave writes what remains and gives the file its name. Nobody but who cancels the
 * save looks at it meanwhile. */
static void finish(struct capture *c)
{
    bool ok = !stopped(c);
    struct error e = {0};

    for (unsigned i = 0; ok && i < c->nstreams; i++) {
        struct stream *s = &c->stream[i];
        ok = snap_writer_stream(c->writer, s->from.name, s->from.size, s->from.missing, s->entry);
    }
    ok = ok && c->opt.last(c->opt.opaque, c->writer, &e) && !stopped(c);
    snap_writer_failed(c->writer, &e);
    if (ok)
        ok = snap_writer_finish(c->writer, &e);
    else
        snap_writer_abort(c->writer);
    c->writer = NULL;
    pthread_mutex_lock(&c->lock);
    if (!ok && e.code)
        c->err = e;
    if (!ok && !c->err.code)
        error_set(&c->err, ERR_STATE, "the save was cancelled");
    c->ok = ok;
    pthread_mutex_unlock(&c->lock);
}

static void leave(struct capture *c)
{
    pthread_mutex_lock(&c->lock);
    bool last = --c->running == 0;
    pthread_mutex_unlock(&c->lock);
    if (!last)
        return;
    finish(c);
    pthread_mutex_lock(&c->lock);
    c->finished = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct capture *c = w->c;

    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        struct copy *copy = c->queue;
        if (copy) {
            c->queue = copy->next;
            if (!c->queue)
                c->queue_end = &c->queue;
            pthread_mutex_unlock(&c->lock);
            serve_copy(w, copy);
        } else if (c->next < c->units) {
            uint64_t number = c->next++;
            pthread_mutex_unlock(&c->lock);
            serve_number(w, number);
        } else {
            break;
        }
        pthread_mutex_lock(&c->lock);
        c->done++;
    }
    pthread_mutex_unlock(&c->lock);
    leave(c);
    worker_free(w);
    return NULL;
}

/* ---- the machine's threads ------------------------------------------------------------------- */

/* An empty buffer, waiting for one if need be; NULL when the save has failed. */
static struct copy *get_copy(struct capture *c)
{
    pthread_mutex_lock(&c->lock);
    while (!c->free && !c->stop)
        pthread_cond_wait(&c->changed, &c->lock);
    struct copy *copy = c->stop ? NULL : c->free;
    if (copy)
        c->free = copy->next;
    pthread_mutex_unlock(&c->lock);
    return copy;
}

static void put_copy(struct capture *c, struct copy *copy, bool full)
{
    pthread_mutex_lock(&c->lock);
    if (full) {
        copy->next = NULL;
        *c->queue_end = copy;
        c->queue_end = &copy->next;
    } else {
        copy->next = c->free;
        c->free = copy;
        pthread_cond_broadcast(&c->changed); /* another thread may wait for one */
    }
    pthread_mutex_unlock(&c->lock);
}

void capture_memory(struct capture *c, uint64_t ra, uint64_t *unit_ra, uint64_t *unit_size)
{
    struct stream *s = NULL;

    for (unsigned i = 0; i < c->nstreams && !s; i++) {
        struct stream *t = &c->stream[i];
        if (t->from.kind == SOURCE_MEMORY && ra - t->from.ra < t->from.size)
            s = t;
    }
    *unit_ra = ra & PAGE_MASK;
    *unit_size = PAGE_SIZE;
    if (!s)
        return;
    uint64_t unit = (ra - s->from.ra) / SNAP_UNIT;
    *unit_ra = s->from.ra + unit * SNAP_UNIT;
    *unit_size = MIN((uint64_t)SNAP_UNIT, s->from.size - unit * SNAP_UNIT);

    /* The buffer first: waiting for one with the unit locked would stop the worker who frees it. */
    pthread_mutex_lock(lock_of(c, unit));
    bool taken = s->taken[unit];
    pthread_mutex_unlock(lock_of(c, unit));
    struct copy *copy = taken ? NULL : get_copy(c);
    if (!copy)
        return;
    pthread_mutex_lock(lock_of(c, unit));
    taken = s->taken[unit];
    if (!taken) {
        copy_memory(c, s, unit, copy->data);
        copy->stream = s;
        copy->unit = unit;
        s->taken[unit] = true;
    }
    put_copy(c, copy, !taken); /* before a worker can see it taken and find the queue empty */
    pthread_mutex_unlock(lock_of(c, unit));
}

void capture_disk(struct capture *c, unsigned stream, uint64_t unit)
{
    struct stream *s = &c->stream[stream];
    struct tnm_machine *m = c->opt.machine;
    enum block_unit how = BLOCK_ZERO;

    /* As above; only this thread changes disks, so what it has seen taken stays so. */
    disk_lock(m, s->from.disk);
    bool taken = s->taken[unit];
    disk_unlock(m, s->from.disk);
    struct copy *copy = taken ? NULL : get_copy(c);
    if (!copy)
        return;
    disk_lock(m, s->from.disk);
    if (!s->taken[unit]) {
        how = take_disk(c, s, unit, copy->data);
        copy->stream = s;
        copy->unit = unit;
    }
    put_copy(c, copy, how == BLOCK_DATA);
    disk_unlock(m, s->from.disk);
}

/* ---- life ------------------------------------------------------------------------------------ */

void capture_free(struct capture *c)
{
    snap_writer_abort(c->writer);
    for (unsigned i = 0; i < c->nstreams; i++) {
        struct stream *s = &c->stream[i];
        hostmem_free(s->entry, (size_t)(s->units + 1) * sizeof(*s->entry));
        hostmem_free(s->taken, (size_t)s->units + 1);
        snap_dedupe_free(s->dedupe);
    }
    for (unsigned i = 0; i < UNIT_LOCKS; i++)
        pthread_mutex_destroy(&c->unit_lock[i]);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->order);
    pthread_cond_destroy(&c->changed);
    pthread_cond_destroy(&c->turn);
    hostmem_free(c->pool, (size_t)c->opt.pool);
    free(c->copies);
    snap_file_unref(c->parent);
    free((char *)c->opt.parent);
    free(c);
}

static bool add_stream(struct capture *c, const struct source *from)
{
    struct stream *s = &c->stream[c->nstreams++];

    s->from = *from;
    s->units = (from->size + SNAP_UNIT - 1) / SNAP_UNIT;
    s->first = c->units;
    c->units += s->units;
    s->entry = hostmem_alloc((size_t)(s->units + 1) * sizeof(*s->entry));
    s->taken = hostmem_alloc((size_t)s->units + 1);
    s->dedupe = snap_dedupe_new();
    return s->entry && s->taken && s->dedupe;
}

static bool add_pool(struct capture *c)
{
    size_t n = (size_t)(c->opt.pool / SNAP_UNIT);

    c->queue_end = &c->queue;
    if (!n)
        return true;
    c->copies = calloc(n, sizeof(*c->copies));
    c->pool = hostmem_alloc((size_t)c->opt.pool);
    if (!c->copies || !c->pool)
        return false;
    for (size_t i = 0; i < n; i++) {
        c->copies[i].data = c->pool + i * SNAP_UNIT;
        c->copies[i].next = c->free;
        c->free = &c->copies[i];
    }
    return true;
}

static unsigned thread_count(unsigned asked)
{
    long host = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = asked ? asked : host > 0 ? (unsigned)host : 1;
    return MIN(n, (unsigned)THREADS_MAX);
}

/* One more thread beside the first; false without memory or threads for it. */
static bool start_worker(struct capture *c)
{
    struct worker *w = worker_new(c);

    if (!w)
        return false;
    pthread_mutex_lock(&c->lock);
    c->running++;
    pthread_mutex_unlock(&c->lock);
    if (pthread_create(&c->thread[c->nthreads], NULL, work, w) == 0) {
        c->nthreads++;
        return true;
    }
    pthread_mutex_lock(&c->lock);
    c->running--;
    pthread_mutex_unlock(&c->lock);
    worker_free(w);
    return false;
}

/* The parent is opened here and not while the guest waits: with all above it, that takes long. */
static bool open_parent(struct capture *c)
{
    struct error e = {0};

    if (!c->opt.parent)
        return true;
    c->parent = snap_file_open(c->opt.parent, &e);
    if (c->parent && c->parent->id != c->opt.parent_id)
        error_set(&e, ERR_STATE,
                  "snapshot '%.300s' was replaced while it became a parent: try again",
                  c->opt.parent);
    if (!e.code)
        snap_writer_check_parents(c->writer, c->parent, &e);
    if (e.code) {
        fail(c, e.code, e.text);
        return false;
    }
    for (unsigned i = 0; i < c->nstreams; i++)
        c->stream[i].parent = snap_file_stream(c->parent, c->stream[i].from.name);
    return true;
}

/* The first thread: makes ready what the pause has no time for, then works like the others. It counts
 * as running all the while, so that nobody finishes before all have started. */
static void *work_first(void *arg)
{
    struct capture *c = arg;
    struct worker *w = open_parent(c) ? worker_new(c) : NULL;

    if (!w)
        fail(c, ERR_NOMEM, "not enough memory to save: free some on the host");
    for (unsigned i = thread_count(c->opt.threads); w && i > 1 && start_worker(c); i--)
        ;
    if (w)
        return work(w);
    leave(c);
    return NULL;
}

struct capture *capture_new(struct snap_writer *w, const struct source *sources, unsigned n,
                            const struct capture_options *opt, struct error *err)
{
    struct capture *c = calloc(1, sizeof(*c));
    bool ok = true;

    if (!c) {
        snap_writer_abort(w);
        error_set(err, ERR_NOMEM, "not enough memory to save: free some on the host");
        return NULL;
    }
    c->writer = w;
    c->opt = *opt;
    for (unsigned i = 0; i < UNIT_LOCKS; i++)
        pthread_mutex_init(&c->unit_lock[i], NULL);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->order, NULL);
    pthread_cond_init(&c->changed, NULL);
    pthread_cond_init(&c->turn, NULL);
    for (unsigned i = 0; i < n; i++)
        ok = add_stream(c, &sources[i]) && ok;
    ok = add_pool(c) && ok;
    if (opt->parent) {
        c->opt.parent = strdup(opt->parent);
        ok = ok && c->opt.parent;
    }
    if (ok)
        return c;
    capture_free(c);
    error_set(err, ERR_NOMEM, "not enough memory to save: free some on the host");
    return NULL;
}

bool capture_go(struct capture *c, struct error *err)
{
    c->running = c->nthreads = 1;
    if (pthread_create(&c->thread[0], NULL, work_first, c) == 0)
        return true;
    return error_set(err, ERR_NOMEM, "the host gives no thread to save with: end other programs");
}

void capture_more(struct capture *c, uint64_t bytes)
{
    c->more += bytes;
}

bool capture_tell(void *opaque, uint64_t done, uint64_t total)
{
    struct capture *c = opaque;

    pthread_mutex_lock(&c->lock);
    if (done < c->part)
        c->more_done += c->part; /* it is at the next */
    c->part = done;
    bool more = !c->stop;
    pthread_mutex_unlock(&c->lock);
    return more;
}

void capture_progress(struct capture *c, uint64_t *done, uint64_t *total, uint64_t *bytes)
{
    pthread_mutex_lock(&c->lock);
    *done = MIN(c->done, c->units) * SNAP_UNIT + MIN(c->more_done + c->part, c->more);
    *total = c->units * SNAP_UNIT + c->more;
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_lock(&c->order);
    *bytes = c->bytes;
    pthread_mutex_unlock(&c->order);
}

bool capture_finished(struct capture *c)
{
    pthread_mutex_lock(&c->lock);
    bool finished = c->finished;
    pthread_mutex_unlock(&c->lock);
    return finished;
}

bool capture_wait(struct capture *c, unsigned ms)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&c->lock);
    while (!c->finished && pthread_cond_timedwait(&c->changed, &c->lock, &until) == 0)
        ;
    bool finished = c->finished;
    pthread_mutex_unlock(&c->lock);
    return finished;
}

bool capture_end(struct capture *c, struct error *err)
{
    /* The first one starts the others: their number is known when it has left. */
    for (unsigned i = 0; i < c->nthreads; i++)
        pthread_join(c->thread[i], NULL);
    bool ok = c->ok;
    if (!ok)
        *err = c->err;
    capture_free(c);
    return ok;
}

void capture_cancel(struct capture *c)
{
    fail(c, ERR_STATE, "the save was cancelled");
}
