/* Saving while the guest runs: see saver.h. */
#include "frontend/saver.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MAX_SAME_SECOND 1000

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void print_report(void *opaque, bool ok, const char *text)
{
    fprintf(stderr, "tinamou: %s\n", text);
}

void saver_init(struct saver *v, const char *dir, const char *parent, const char *name)
{
    *v = (struct saver){.dir = dir, .parent = parent, .report = print_report};
    snprintf(v->name, sizeof(v->name), "%s", name);
}

void saver_request(struct saver *v)
{
    v->wanted++;
}

/* The path of the n-th snapshot of a second; from the second on they have a number. */
static void make_path(struct saver *v, const char *stamp, unsigned n)
{
    char number[16] = "";

    if (n > 1)
        snprintf(number, sizeof(number), "-%u", n);
    snprintf(v->path, sizeof(v->path), "%s%s%s-%s%s.snap", v->dir ? v->dir : "", v->dir ? "/" : "",
             v->name, stamp, number);
}

/* None is written over, and of several machines that are told to save at once each finds a name. */
static bool begin_at_new_path(struct saver *v, tnm_machine *m, tnm_error *err)
{
    tnm_save_options opt = {.parent = v->parent, .name = v->name, .keep_old = true};
    char stamp[32];
    time_t now = time(NULL);
    struct tm tm;
    bool ok = false, taken = true;

    strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", localtime_r(&now, &tm));
    for (unsigned n = 1; !ok && taken && n < MAX_SAME_SECOND; n++) {
        make_path(v, stamp, n);
        ok = tnm_save_begin(m, v->path, &opt, err);
        taken = err->code == TNM_ERR_EXISTS || err->code == TNM_ERR_STATE;
    }
    return ok;
}

static void failed(struct saver *v, const tnm_error *err)
{
    char text[SAVER_PATH + sizeof(err->text)];

    v->running = false;
    progress_end(&v->bar);
    snprintf(text, sizeof(text), "no snapshot was saved: %s", err->text);
    v->report(v->opaque, false, text);
}

static void begin(struct saver *v, tnm_machine *m)
{
    tnm_error err = {0};

    v->wanted--;
    v->began_ms = now_ms();
    progress_begin(&v->bar, v->path);
    v->bar.shared = true;
    v->running = begin_at_new_path(v, m, &err);
    if (!v->running)
        failed(v, &err);
}

static void done(struct saver *v, const tnm_save_progress *p)
{
    char text[SAVER_PATH + 128];

    v->running = false;
    progress_end(&v->bar);
    snprintf(text, sizeof(text), "saved %s: %.1f MiB in %.1f s, the guest stood still for %.1f ms",
             v->path, (double)p->file_bytes / (1 << 20), (double)(now_ms() - v->began_ms) / 1e3,
             (double)p->pause_ns / 1e6);
    v->report(v->opaque, true, text);
}

void saver_poll(struct saver *v, tnm_machine *m)
{
    tnm_save_progress p;
    tnm_error err = {0};

    if (v->running) {
        switch (tnm_save_poll(m, &p, &err)) {
        case TNM_SAVE_DONE:
            done(v, &p);
            break;
        case TNM_SAVE_FAILED:
            failed(v, &err);
            break;
        default:
            progress_update(&v->bar, p.done, p.total);
            break;
        }
    }
    if (v->wanted && !v->running)
        begin(v, m);
}

bool saver_finish(struct saver *v, tnm_machine *m)
{
    static const struct timespec nap = {.tv_nsec = 5 * 1000 * 1000};
    tnm_save_progress p;
    tnm_error err = {0};
    bool ok = true;

    while (v->running || v->wanted) {
        if (!v->running) {
            begin(v, m);
            ok = ok && v->running;
            continue;
        }
        enum tnm_save_state state;
        progress_end(&v->bar);
        v->bar.shared = false; /* the guest says nothing any more */
        while ((state = tnm_save_poll(m, &p, &err)) == TNM_SAVE_RUNNING) {
            progress_update(&v->bar, p.done, p.total);
            nanosleep(&nap, NULL);
        }
        if (state == TNM_SAVE_DONE)
            done(v, &p);
        else
            failed(v, &err);
        ok = ok && state == TNM_SAVE_DONE;
    }
    return ok;
}
