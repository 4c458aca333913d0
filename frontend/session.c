/* One run of a machine: see session.h. */
#include "frontend/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "frontend/png.h"
#include "frontend/stats.h"
#include "frontend/symbols.h"
#include "frontend/terminal.h"

#define SLICE_NS     (10 * 1000 * 1000ull)
#define MIN_SLICE_NS (1000ull)

static void print_log(void *opaque, const char *subsystem, const char *line)
{
    fprintf(stderr, "%s: %s\n", subsystem, line);
}

static void print_hash(void *opaque, uint64_t insns, uint64_t hash)
{
    fprintf(stderr, "state-hash %" PRIu64 " %016" PRIx64 "\n", insns, hash);
}

static void code_made(void *opaque, const tnm_host_code *code)
{
    symbols_made(((struct session *)opaque)->symbols, code);
}

static void code_dropped(void *opaque, const void *host, size_t size)
{
    symbols_dropped(((struct session *)opaque)->symbols, host, size);
}

static uint64_t host_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void close_ports(struct session *s)
{
    for (unsigned i = 0; i < s->nports; i++)
        serial_close(s->ports[i]);
    s->nports = 0;
}

static bool open_ports(struct session *s)
{
    for (unsigned i = 0; i < s->opt->nserials; i++) {
        struct serial_port *p = serial_open(&s->opt->serial[i], i);
        if (!p)
            return false;
        s->ports[s->nports++] = p;
    }
    return true;
}

/* What belongs to this host, whoever described the machine. */
static void host_side(struct session *s, tnm_config *cfg)
{
    for (unsigned i = 0; i < s->nports; i++)
        cfg->serial[i] = (tnm_serial){serial_out, s->ports[i]};
    if (cfg->nserials < s->nports)
        cfg->nserials = s->nports;
    cfg->engine = s->opt->cfg.engine;
    cfg->code_cache = s->opt->cfg.code_cache;
    cfg->cpu_turns = s->opt->cfg.cpu_turns;
    cfg->count_accesses = s->opt->cfg.count_accesses;
    cfg->log = s->opt->cfg.log;
    cfg->state_hash_every = s->opt->cfg.state_hash_every;
    cfg->log_line = print_log;
    cfg->state_hash = print_hash;
    if (s->symbols) {
        cfg->code_made = code_made;
        cfg->code_dropped = code_dropped;
    }
    cfg->opaque = s;
}

/* The guest has found as many ports as there were. */
static bool enough_ports(const struct session *s, const tnm_config *cfg, tnm_error *err)
{
    if (s->nports <= cfg->nserials)
        return true;
    snprintf(err->text, sizeof(err->text),
             "the snapshot's machine has %u serial ports: give no more than that with --serial",
             cfg->nserials);
    return false;
}

/* Images may have moved since the snapshot was taken. */
static bool other_paths(const struct options *opt, tnm_config *cfg, tnm_error *err)
{
    if (opt->cfg.ndisks > cfg->ndisks) {
        snprintf(err->text, sizeof(err->text),
                 "the snapshot's machine has %u disk%s: give no more than that with --disk",
                 cfg->ndisks, cfg->ndisks == 1 ? "" : "s");
        return false;
    }
    for (unsigned i = 0; i < opt->cfg.ndisks; i++)
        cfg->disks[i].path = opt->cfg.disks[i].path;
    if (opt->cfg.cdrom)
        cfg->cdrom = opt->cfg.cdrom;
    if (opt->cfg.floppy)
        cfg->floppy = opt->cfg.floppy;
    return true;
}

static tnm_machine *restore(struct session *s, tnm_error *err)
{
    const struct options *opt = s->opt;
    tnm_machine *m = NULL;
    struct progress bar;
    tnm_restore_options ro = {
        .fresh_identity = opt->fresh_identity, .progress = progress_update, .opaque = &bar};
    tnm_snapshot_info info;
    tnm_config cfg;
    tnm_snapshot *snap = tnm_snapshot_open(opt->restore, err);

    if (!snap)
        return NULL;
    progress_begin(&bar, opt->restore);
    tnm_snapshot_get_info(snap, &info);
    tnm_snapshot_config(snap, &cfg);
    bool fits = enough_ports(s, &cfg, err);
    host_side(s, &cfg);
    if (opt->clock_given)
        cfg.clock = opt->cfg.clock;
    s->clock = cfg.clock;
    if (!opt->name && info.name[0])
        saver_init(&s->saver, opt->snapshot_dir, opt->parent, info.name);
    if (fits && cfg.state_hash_every && cfg.clock != TNM_CLOCK_INSN)
        snprintf(err->text, sizeof(err->text),
                 "--state-hash-every needs a repeatable run: add --clock insn");
    else if (fits && other_paths(opt, &cfg, err))
        m = tnm_snapshot_create(snap, &cfg, &ro, err);
    progress_end(&bar);
    tnm_snapshot_close(snap);
    return m;
}

tnm_machine *session_twin(struct session *s, enum tnm_engine engine, tnm_error *err)
{
    tnm_config cfg = s->opt->cfg;

    cfg.engine = engine;
    cfg.clock = s->clock;
    cfg.nserials = 0;
    return tnm_create(&cfg, err);
}

static tnm_machine *create(struct session *s, tnm_error *err)
{
    tnm_config cfg = s->opt->cfg;

    if (s->opt->restore)
        return restore(s, err);
    cfg.nserials = s->nports;
    host_side(s, &cfg);
    s->clock = cfg.clock;
    return tnm_create(&cfg, err);
}

static bool check_snapshot_dir(const char *dir)
{
    struct stat st;

    if (!dir || (stat(dir, &st) == 0 && S_ISDIR(st.st_mode)))
        return true;
    fprintf(stderr, "tinamou: --snapshot-dir %s is no folder: make it first\n", dir);
    return false;
}

/* Now, and not hours later when the first snapshot is saved. */
static bool check_parent(const char *path)
{
    tnm_error err = {0};
    tnm_snapshot *s = path ? tnm_snapshot_open(path, &err) : NULL;

    if (path && !s)
        fprintf(stderr, "tinamou: --parent: %s\n", err.text);
    tnm_snapshot_close(s);
    return !path || s;
}

/* Limits count from where the run begins. */
static void set_limits(struct session *s)
{
    const struct options *opt = s->opt;

    tnm_set_limits(s->machine, opt->limit_ns ? tnm_time_ns(s->machine) + opt->limit_ns : 0,
                   opt->limit_insns ? tnm_insns(s->machine) + opt->limit_insns : 0);
}

static bool open_symbols(struct session *s)
{
    const struct options *opt = s->opt;

    if (opt->symbols_perf || opt->symbols_gdb)
        s->symbols = symbols_open(opt->symbols_perf, opt->symbols_gdb);
    return s->symbols || !(opt->symbols_perf || opt->symbols_gdb);
}

bool session_open(struct session *s, const struct options *opt)
{
    tnm_error err = {0};

    memset(s, 0, sizeof(*s));
    s->opt = opt;
    s->slice_ns = SLICE_NS;
    terminal_catch_saves();
    saver_init(&s->saver, opt->snapshot_dir, opt->parent, opt->name ? opt->name : "tinamou");
    if (!check_snapshot_dir(opt->snapshot_dir) || !check_parent(opt->parent))
        return false;
    if (!open_ports(s) || !open_symbols(s)) {
        close_ports(s);
        return false;
    }
    s->machine = create(s, &err);
    if (!s->machine) {
        fprintf(stderr, "tinamou: %s\n", err.text);
        close_ports(s);
        symbols_close(s->symbols);
        return false;
    }
    set_limits(s);
    terminal_catch_signals(s->machine);
    return true;
}

/* Under the instruction clock a slice of guest time may take any host time: aim for what keeps
 * input and the picture fluid. */
static void adapt_slice(struct session *s, uint64_t took)
{
    if (s->clock != TNM_CLOCK_INSN)
        return;
    if (took > 2 * SLICE_NS && s->slice_ns > MIN_SLICE_NS)
        s->slice_ns /= 2;
    else if (took < SLICE_NS / 2 && s->slice_ns < 100 * SLICE_NS)
        s->slice_ns *= 2;
}

static bool ended(struct session *s, int status)
{
    s->status = status;
    return false;
}

bool session_step(struct session *s)
{
    tnm_error err;
    uint64_t start = host_ns();
    enum tnm_stop stop = tnm_run(s->machine, s->slice_ns);

    for (unsigned i = 0; i < s->nports; i++)
        serial_poll(s->ports[i], s->machine);
    adapt_slice(s, host_ns() - start);
    for (unsigned n = terminal_save_requests(); n; n--)
        saver_request(&s->saver);
    saver_poll(&s->saver, s->machine);

    switch (stop) {
    case TNM_STOP_POWEROFF:
        return ended(s, STATUS_OK);
    case TNM_STOP_EXIT:
        return ended(s, tnm_exit_status(s->machine));
    case TNM_STOP_LIMIT:
        return ended(s, STATUS_LIMIT);
    case TNM_STOP_HASH_ERROR:
        fputs("tinamou: the state could not be hashed: report this\n", stderr);
        return ended(s, STATUS_FAILED);
    case TNM_STOP_ERROR:
        tnm_get_error(s->machine, &err);
        fprintf(stderr, "tinamou: %s\n", err.text);
        return ended(s, STATUS_FAILED);
    default:
        break;
    }
    if (terminal_signal())
        return ended(s, 128 + terminal_signal());
    if (s->quit)
        return ended(s, STATUS_OK);
    return true;
}

static bool screenshot(struct session *s)
{
    tnm_screen screen;
    const char *path = s->opt->screenshot_at_exit;

    if (!path)
        return true;
    tnm_get_screen(s->machine, &screen);
    if (png_write_file(path, screen.pixels, screen.width, screen.height))
        return true;
    fprintf(stderr, "tinamou: cannot write %s: %s: name a file that can be written\n", path,
            strerror(errno));
    return false;
}

double session_speed(const struct session *s, const tnm_stats *from, const tnm_stats *to,
                     double *idle)
{
    bool skips = s->clock == TNM_CLOCK_INSN;
    uint64_t all = to->host_ns - from->host_ns, idle_ns = to->idle_ns - from->idle_ns;
    uint64_t busy = all > idle_ns ? all - idle_ns : 0;

    /* Under the instruction clock idle time is skipped: it is the guest's, and costs no host time. */
    if (skips) {
        busy = all;
        all = to->virtual_ns - from->virtual_ns;
    }
    if (idle)
        *idle = all ? (double)(idle_ns < all ? idle_ns : all) / (double)all : 0;
    return busy ? (double)(to->insns - from->insns) * 1e3 / (double)busy : 0;
}

int session_close(struct session *s)
{
    close_ports(s);
    terminal_restore();
    if (!saver_finish(&s->saver, s->machine))
        s->status = STATUS_FAILED;
    if (!screenshot(s))
        s->status = STATUS_FAILED;
    if (s->opt->stats)
        stats_print(s);
    terminal_catch_signals(NULL);
    tnm_destroy(s->machine);
    symbols_close(s->symbols);
    return s->status;
}
