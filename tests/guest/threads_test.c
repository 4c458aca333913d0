/* vCPUs on threads seen from outside: the guest of sys/stress64.c, whose processors do all they can to
 * each other, is stopped from another thread, run in slices of any length, reset, saved and restored,
 * and thrown away in the middle. What it then prints must still be that nothing went wrong.
 *
 *     threads_test STRESS64.ELF SCRATCH-FILE [interp]
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "include/tinamou.h"

#define MS 1000000ull

static const char *elf, *scratch;
static enum tnm_engine engine;

struct guest {
    tnm_machine *m;
    char out[1 << 16];
    size_t len;
};

static void take(void *opaque, uint8_t byte)
{
    struct guest *g = opaque;

    if (g->len + 1 < sizeof(g->out))
        g->out[g->len++] = (char)byte;
}

static void fail(const struct guest *g, const char *what)
{
    fprintf(stderr, "threads_test: %s\n%s\n", what, g ? g->out : "");
    exit(1);
}

static void config(struct guest *g, tnm_config *cfg)
{
    tnm_config_init(cfg);
    cfg->memory = 64 << 20;
    cfg->cpus = 4;
    cfg->engine = engine;
    cfg->kernel = elf;
    cfg->debug_exit_port = 0xf4;
    cfg->serial[0] = (tnm_serial){take, g};
    cfg->nserials = 1;
}

static struct guest *start(void)
{
    struct guest *g = calloc(1, sizeof(*g));
    tnm_config cfg;
    tnm_error err;

    config(g, &cfg);
    g->m = tnm_create(&cfg, &err);
    if (!g->m)
        fail(NULL, err.text);
    return g;
}

static void end(struct guest *g)
{
    tnm_destroy(g->m);
    free(g);
}

static uint32_t next_random(void)
{
    static uint32_t s = 2463534242u;

    s ^= s << 13;
    s ^= s >> 17;
    s ^= s << 5;
    return s;
}

/* Slices of any length; false when the guest has ended. */
static bool slices(struct guest *g, unsigned n)
{
    while (n--) {
        enum tnm_stop why = tnm_run(g->m, next_random() % 2000 * 1000);
        if (why == TNM_STOP_EXIT)
            return false;
        if (why != TNM_STOP_SLICE && why != TNM_STOP_REQUEST)
            fail(g, "the guest stopped");
    }
    return true;
}

static void finish(struct guest *g)
{
    while (slices(g, 100)) {
        if (tnm_time_ns(g->m) > 600000 * MS)
            fail(g, "the guest does not come to its end");
    }
    if (tnm_exit_status(g->m) != 1 || !strstr(g->out, "checks passed"))
        fail(g, "the guest's checks failed");
}

/* ---- tnm_stop from another thread --------------------------------------------------------------- */

static atomic_bool stop_stopping;

static void *stopper(void *opaque)
{
    struct timespec ts = {.tv_nsec = 300000};

    while (!atomic_load(&stop_stopping)) {
        tnm_stop(((struct guest *)opaque)->m);
        nanosleep(&ts, NULL);
    }
    return NULL;
}

static void stopped(void)
{
    struct guest *g = start();
    pthread_t t;

    if (pthread_create(&t, NULL, stopper, g))
        fail(g, "no thread");
    finish(g);
    atomic_store(&stop_stopping, true);
    pthread_join(t, NULL);
    end(g);
}

/* ---- the rest ----------------------------------------------------------------------------------- */

static void thrown_away(void)
{
    end(start());
    for (unsigned k = 1; k < 12; k++) {
        struct guest *g = start();
        slices(g, k * 20);
        end(g);
    }
}

static void reset(void)
{
    struct guest *g = start();

    for (unsigned k = 1; k < 8; k++) {
        slices(g, k * 40);
        tnm_reset(g->m);
        g->len = 0;
        memset(g->out, 0, sizeof(g->out));
    }
    finish(g);
    end(g);
}

static void restored(void)
{
    struct guest *g = start();

    for (unsigned k = 0; k < 5 && slices(g, 100); k++) {
        struct guest *copy = start();
        tnm_error err;
        tnm_snapshot *s;

        if (!tnm_snapshot_save(g->m, scratch, NULL, &err) ||
            !(s = tnm_snapshot_open(scratch, &err)))
            fail(g, err.text);
        slices(copy, k * 30);
        if (!tnm_snapshot_restore(copy->m, s, NULL, &err))
            fail(g, err.text);
        copy->len = 0;
        tnm_snapshot_close(s);
        finish(copy);
        end(copy);
    }
    finish(g);
    end(g);
    remove(scratch);
}

/* Saved while it runs: its writes go through the copies before them. */
static void saved_live(void)
{
    struct guest *g = start();
    tnm_error err;
    bool running = true;

    while (running) {
        enum tnm_save_state state = TNM_SAVE_RUNNING;
        if (!tnm_save_begin(g->m, scratch, NULL, &err))
            fail(g, err.text);
        while (state == TNM_SAVE_RUNNING) {
            running = running && slices(g, 3);
            state = tnm_save_poll(g->m, NULL, &err);
        }
        if (state != TNM_SAVE_DONE)
            fail(g, err.text);
        running = running && slices(g, 50);
    }
    finish(g);
    end(g);
    remove(scratch);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: threads_test STRESS64.ELF SCRATCH-FILE [interp]\n");
        return 2;
    }
    elf = argv[1];
    scratch = argv[2];
    if (argc > 3)
        engine = TNM_ENGINE_INTERP;
    stopped();
    thrown_away();
    reset();
    restored();
    saved_live();
    puts("threads_test: passed");
    return 0;
}
