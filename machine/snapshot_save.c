/* The life of a save: tnm_save_begin takes what is small (configuration, declared state, a thumbnail)
 * at once, write-protects memory and starts the capture; the guest goes on; tnm_save_poll tells when
 * the file has its name. See machine/snapshot.h.
 */
#include <stdlib.h>

#include "devices/vga.h"
#include "machine/disks.h"

#define THUMB_WIDTH      320u
#define THUMB_HEIGHT     240u
#define THUMB_SHRINK_MAX 64u        /* no screen is larger: see mean() */
#define POOL_MIN         (16 * MIB) /* for copies of what the guest is about to change */
#define POOL_MAX         (256 * MIB)

struct save {
    struct tnm_machine *m;
    struct capture *capture;
    char *path;
    struct snap_buf conf, stat, thumb;
    struct media *media;
    uint64_t pause_ns;
};

/* ---- pages ----------------------------------------------------------------------------------- */

static void before_write(void *opaque, uint64_t ra)
{
    struct tnm_machine *m = opaque;
    uint64_t unit_ra = ra, size = PAGE_SIZE;

    if (m->save)
        capture_memory(m->save->capture, ra, &unit_ra, &size);
    physmap_flag_clear(m->mem, unit_ra, size, PF_COPY);
}

static void bring_in(void *opaque, uint64_t ra)
{
    struct tnm_machine *m = opaque;

    if (m->lazy)
        lazy_bring_in(m->lazy, ra);
    else
        physmap_flag_clear(m->mem, ra, 1, PF_ABSENT);
}

void machine_set_keeper(struct tnm_machine *m)
{
    struct physmap_keeper k = {m, before_write, bring_in};
    physmap_set_keeper(m->mem, m->save || m->lazy ? &k : NULL);
}

static void flag_memory(struct tnm_machine *m, const struct source *s, unsigned n, bool on)
{
    for (unsigned i = 0; i < n; i++) {
        if (s[i].kind != SOURCE_MEMORY)
            continue;
        if (on)
            physmap_flag_set(m->mem, s[i].ra, s[i].size, PF_COPY);
        else
            physmap_flag_clear(m->mem, s[i].ra, s[i].size, PF_COPY);
    }
}

/* ---- thumbnail ------------------------------------------------------------------------------- */

/* The mean of f by f pixels, as three bytes. The guest waits for a hundred thousand divisions by f * f:
 * they are multiplications by inverse, 2^40 / (f * f) rounded up, exact for sums below 2^20. */
static void mean(uint8_t *rgb, const uint32_t *pixels, unsigned pitch, unsigned f, uint64_t inverse)
{
    uint64_t red_blue = 0; /* one above the other */
    uint32_t green = 0;

    for (unsigned y = 0; y < f; y++, pixels += pitch) {
        for (unsigned x = 0; x < f; x++) {
            uint32_t p = pixels[x];
            red_blue += (uint64_t)(p & 0xff0000) << 16 | (p & 0xff);
            green += p >> 8 & 0xff;
        }
    }
    rgb[0] = (uint8_t)((red_blue >> 32) * inverse >> 40);
    rgb[1] = (uint8_t)(green * inverse >> 40);
    rgb[2] = (uint8_t)((red_blue & UINT32_MAX) * inverse >> 40);
}

static void make_thumb(struct tnm_machine *m, struct snap_buf *out)
{
    struct vga_frame frame;

    vga_render(m->vga, &frame);
    m->screen_changed |= frame.changed; /* whoever shows the screen has not seen it */
    unsigned f = MAX((frame.width + THUMB_WIDTH - 1) / THUMB_WIDTH,
                     (frame.height + THUMB_HEIGHT - 1) / THUMB_HEIGHT);
    if (!f || f > THUMB_SHRINK_MAX)
        return;
    uint64_t inverse = BIT64(40) / (f * f) + 1;
    unsigned w = frame.width / f, h = frame.height / f;
    uint8_t *p = w && h ? snap_buf_grow(out, 8 + (size_t)w * h * 3) : NULL;
    if (!p)
        return;
    st32(p, w);
    st32(p + 4, h);
    for (unsigned y = 0; y < h; y++) {
        for (unsigned x = 0; x < w; x++)
            mean(p + 8 + ((size_t)y * w + x) * 3,
                 frame.pixels + (size_t)y * f * frame.width + (size_t)x * f, frame.width, f,
                 inverse);
    }
}

/* ---- beginning ------------------------------------------------------------------------------- */

static void save_free(struct save *s)
{
    media_free(s->m, s->media);
    snap_buf_free(&s->conf);
    snap_buf_free(&s->stat);
    snap_buf_free(&s->thumb);
    free(s->path);
    free(s);
}

/* Everything but the capture, which is gone. */
static void take_back(struct tnm_machine *m)
{
    struct source sources[MAX_SOURCES];
    struct save *s = m->save;

    disks_unwatch(m);
    m->save = NULL;
    flag_memory(m, sources, machine_sources(m, sources), false);
    machine_set_keeper(m);
    save_free(s);
}

/* By a worker, when all streams are in the file. */
static bool write_rest(void *opaque, struct snap_writer *w, struct error *err)
{
    struct save *s = opaque;

    /* What is still to be restored was copied out of the other file; if that turned out to be damaged,
     * some of the copies are of memory in which it never arrived. */
    if (lazy_broken(s->m, err) || !media_write(s->media, &s->conf, capture_tell, s->capture, err))
        return false;
    if (s->conf.failed || s->stat.failed)
        return error_set(err, ERR_NOMEM, "not enough memory to save: free some on the host");
    return (!s->thumb.len ||
            snap_writer_chunk(w, SNAP_THMB, SNAP_DEFLATED, s->thumb.data, s->thumb.len)) &&
           snap_writer_chunk(w, SNAP_CONF, SNAP_DEFLATED | SNAP_REQUIRED, s->conf.data,
                             s->conf.len) &&
           snap_writer_chunk(w, SNAP_STAT, SNAP_DEFLATED | SNAP_REQUIRED, s->stat.data,
                             s->stat.len);
}

static void watch_disks(struct tnm_machine *m, const struct source *s, unsigned n)
{
    unsigned stream[DISKS_MAX];

    for (unsigned i = 0; i < DISKS_MAX; i++)
        stream[i] = UINT32_MAX;
    for (unsigned i = 0; i < n; i++) {
        if (s[i].kind == SOURCE_DISK)
            stream[s[i].disk] = i;
    }
    disks_watch(m, m->save->capture, stream);
}

/* All that needs memory or the host's file system; the guest's state is not looked at yet. */
static struct save *prepare(struct tnm_machine *m, const char *path, const tnm_save_options *opt,
                            const struct source *sources, unsigned n, struct error *err)
{
    struct save *s = calloc(1, sizeof(*s));
    struct capture_options co = {
        .threads = opt->threads,
        .parent = opt->parent,
        .machine = m,
        .pool = align_up(MIN(MAX(m->cfg.memory / 16, POOL_MIN), POOL_MAX), SNAP_UNIT),
        .last = write_rest,
        .opaque = s,
    };

    if (s) {
        s->m = m;
        s->path = strdup(path);
        s->media = media_take(m);
    }
    if (!s || !s->path || !s->media || !disks_ready(m)) {
        error_set(err, ERR_NOMEM, "not enough memory to save: free some on the host");
        if (s)
            save_free(s);
        return NULL;
    }
    struct snap_writer *w = NULL;
    if ((!opt->parent || snap_file_peek(opt->parent, &co.parent_id, err)) &&
        (w = snap_writer_new(path, opt->keep_old, err)) &&
        (s->capture = capture_new(w, sources, n, &co, err))) {
        capture_more(s->capture, media_unknown(s->media));
        config_write(m, opt, co.parent_id, path, &s->conf);
        return s;
    }
    save_free(s);
    return NULL;
}

static bool begin(struct tnm_machine *m, const char *path, const tnm_save_options *opt,
                  struct error *err)
{
    struct source sources[MAX_SOURCES];
    unsigned n = machine_sources(m, sources);
    struct save *s = prepare(m, path, opt, sources, n, err);

    if (!s)
        return false;
    state_write(m, &s->stat);
    if (!opt->no_thumbnail)
        make_thumb(m, &s->thumb);
    flag_memory(m, sources, n, true);
    m->save = s;
    machine_set_keeper(m);
    watch_disks(m, sources, n);
    /* Last of all, as the host may give a new thread the processor at once. */
    if (capture_go(s->capture, err))
        return true;
    capture_free(s->capture);
    take_back(m);
    return false;
}

bool tnm_save_begin(tnm_machine *m, const char *path, const tnm_save_options *opt, tnm_error *err)
{
    const tnm_save_options none = {0};
    struct error e = {0};
    uint64_t start = host_now_ns();

    if (m->save)
        error_set(&e, ERR_STATE, "the machine is being saved already: wait for that");
    else if (!lazy_broken(m, &e))
        begin(m, path, opt ? opt : &none, &e);
    if (e.code)
        return give_error(&e, err);
    m->save->pause_ns = host_now_ns() - start;
    return true;
}

/* ---- going on -------------------------------------------------------------------------------- */

static void report(struct save *s, tnm_save_progress *out)
{
    if (!out)
        return;
    *out = (tnm_save_progress){.pause_ns = s->pause_ns, .path = s->path};
    capture_progress(s->capture, &out->done, &out->total, &out->file_bytes);
}

/* Waits for the threads and takes everything back. */
static bool end(struct tnm_machine *m, struct error *e)
{
    bool ok = capture_end(m->save->capture, e);
    take_back(m);
    return ok;
}

enum tnm_save_state tnm_save_poll(tnm_machine *m, tnm_save_progress *out, tnm_error *err)
{
    struct error e = {0};

    if (out)
        *out = (tnm_save_progress){0};
    if (!m->save)
        return TNM_SAVE_NONE;
    report(m->save, out);
    if (!capture_finished(m->save->capture))
        return TNM_SAVE_RUNNING;
    /* The name outlives the save until the next call. */
    free(m->saved_path);
    m->saved_path = m->save->path;
    m->save->path = NULL;
    if (out)
        out->path = m->saved_path;
    if (end(m, &e))
        return TNM_SAVE_DONE;
    give_error(&e, err);
    return TNM_SAVE_FAILED;
}

bool tnm_save_wait(tnm_machine *m, tnm_error *err)
{
    struct error e = {0};

    if (!m->save)
        return true;
    return end(m, &e) || give_error(&e, err);
}

void tnm_save_cancel(tnm_machine *m)
{
    struct error e;

    if (!m->save)
        return;
    capture_cancel(m->save->capture);
    end(m, &e);
}

bool tnm_snapshot_save(tnm_machine *m, const char *path, const tnm_save_options *opt,
                       tnm_error *err)
{
    return tnm_save_begin(m, path, opt, err) && tnm_save_wait(m, err);
}
