/* One run of a machine: see session.h. */
#include "frontend/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "frontend/png.h"
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

bool session_open(struct session *s, const struct options *opt)
{
    tnm_config cfg = opt->cfg;
    tnm_error err = {0};

    memset(s, 0, sizeof(*s));
    s->opt = opt;
    s->slice_ns = SLICE_NS;
    for (unsigned i = 0; i < opt->nserials; i++) {
        struct serial_port *p = serial_open(&opt->serial[i], i);
        if (!p) {
            close_ports(s);
            return false;
        }
        s->ports[s->nports++] = p;
        cfg.serial[i] = (tnm_serial){serial_out, p};
    }
    cfg.nserials = opt->nserials;
    cfg.log_line = print_log;
    cfg.state_hash = print_hash;
    cfg.opaque = s;

    s->machine = tnm_create(&cfg, &err);
    if (!s->machine) {
        fprintf(stderr, "tinamou: %s\n", err.text);
        close_ports(s);
        return false;
    }
    tnm_set_limits(s->machine, opt->limit_ns, opt->limit_insns);
    terminal_catch_signals(s->machine);
    return true;
}

/* Under the instruction clock a slice of guest time may take any host time: aim for what keeps
 * input and the picture fluid. */
static void adapt_slice(struct session *s, uint64_t took)
{
    if (s->opt->cfg.clock != TNM_CLOCK_INSN)
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
    uint64_t start = host_ns();
    enum tnm_stop stop = tnm_run(s->machine, s->slice_ns);

    for (unsigned i = 0; i < s->nports; i++)
        serial_poll(s->ports[i], s->machine);
    adapt_slice(s, host_ns() - start);

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
    bool skips = s->opt->cfg.clock == TNM_CLOCK_INSN;
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

static double percent_hit(uint64_t total, uint64_t misses)
{
    return total > misses ? 100.0 * (double)(total - misses) / (double)total : 0;
}

static void print_stats(const struct session *s)
{
    tnm_stats st;
    tnm_get_stats(s->machine, &st);
    double idle, mips = session_speed(s, &(tnm_stats){0}, &st, &idle);

    fprintf(stderr,
            "instructions      %16" PRIu64 "\n"
            "MIPS              %16.1f\n"
            "blocks run        %16" PRIu64 "   %.3f%% from the cache\n"
            "blocks decoded    %16" PRIu64 "\n"
            "TLB slow paths    %16" PRIu64 "   %.3f%% of instructions without\n"
            "TLB fills         %16" PRIu64 "\n"
            "TLB flushes       %16" PRIu64 "\n"
            "interrupts        %16" PRIu64 "\n"
            "exceptions        %16" PRIu64 "\n"
            "guest seconds     %16.3f\n"
            "idle              %15.1f%%\n"
            "host seconds      %16.3f\n",
            st.insns, mips, st.blocks,
            percent_hit(st.blocks, st.block_misses), st.block_misses, st.tlb_slow,
            percent_hit(st.insns, st.tlb_slow), st.tlb_fills, st.tlb_flushes, st.interrupts,
            st.exceptions, (double)st.virtual_ns / 1e9, idle * 100, (double)st.host_ns / 1e9);
}

int session_close(struct session *s)
{
    close_ports(s);
    terminal_restore();
    if (!screenshot(s))
        s->status = STATUS_FAILED;
    if (s->opt->stats)
        print_stats(s);
    terminal_catch_signals(NULL);
    tnm_destroy(s->machine);
    return s->status;
}
