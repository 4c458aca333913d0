/* Saves and restores a machine again and again while a guest boots, and compares its state hashes
 * with those of a machine that was never touched.
 *
 *     roundtrip [--kernel FILE --initrd FILE --append TEXT] [--disk FILE] [--memory MIB] [--cpus N]
 *               [--debug-exit PORT] [--every INSNS] [--from INSNS] [--until INSNS] [--expect TEXT]
 *               [--delta] [--in-place] [--live] [--threads N] [--engine auto|interp|jit|each]
 *               [--code-cache KIB]
 *
 * Every step saves the machine, destroys it, makes another from the file (--in-place: restores the
 * file into the machine that has run on meanwhile) and, before that one runs, saves it again: the two
 * files must be equal byte for byte. --delta: each file is a delta on the one before, up to eight.
 * --live: the machine goes on while it is saved. --from: no step before that many instructions, so that
 * a small --every need not pass through all of the firmware. --expect: the run ends when the untouched
 * machine has sent this text to its first serial port, and fails if that does not come to pass in --until
 * instructions. A guest that ends itself (power off, --debug-exit) or stands still for good ends the run
 * earlier, and then has to do so in both machines. --engine: what executes the machine that is saved and
 * restored; each: every one made from a file has another engine than the one before; --code-cache: its
 * memory for code. The machine that is never touched has the defaults. Exit status 0: all hashes are
 * equal, the last one taken where the run ended, and so is what came out of the serial port.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/tinamou.h"

#define CHAIN_MAX 8
#define STILL_NS  10000000000 /* of guest time without an instruction: nothing will wake it */

static struct {
    tnm_config cfg;
    uint64_t every, from, until, code_cache;
    bool delta, in_place, live, each_engine;
    const char *expect;
    enum tnm_engine engine;
    unsigned threads;
    char dir[64];
} opt;

/* What a machine has shown of itself so far. */
struct trace {
    uint64_t *hash;
    size_t n, cap;
    char *text;
    size_t len, text_cap;
    uint64_t end; /* instructions at the end */
    enum tnm_stop why;
};

static void die(const char *what, const tnm_error *err)
{
    fprintf(stderr, "roundtrip: %s%s%s\n", what, err ? ": " : "", err ? err->text : "");
    exit(1);
}

static void note(void *opaque, uint64_t insns, uint64_t hash)
{
    struct trace *t = opaque;

    (void)insns;
    if (t->n == t->cap) {
        t->cap = t->cap * 2 + 64;
        t->hash = realloc(t->hash, t->cap * sizeof(*t->hash));
        if (!t->hash)
            die("no memory", NULL);
    }
    t->hash[t->n++] = hash;
}

static void serial_out(void *opaque, uint8_t byte)
{
    struct trace *t = opaque;

    if (t->len + 1 >= t->text_cap) {
        t->text_cap = t->text_cap * 2 + 4096;
        t->text = realloc(t->text, t->text_cap);
        if (!t->text)
            die("no memory", NULL);
    }
    t->text[t->len++] = byte ? (char)byte : '?';
    t->text[t->len] = '\0';
}

static void set_hooks(tnm_config *cfg, struct trace *t)
{
    cfg->clock = TNM_CLOCK_INSN;
    cfg->state_hash_every = opt.every;
    cfg->state_hash = note;
    cfg->opaque = t;
    cfg->nserials = 1;
    cfg->serial[0] = (tnm_serial){serial_out, t};
}

/* Runs to a number of instructions, which is TNM_STOP_LIMIT, or to where the guest ends the run.
 * TNM_STOP_SLICE: it has halted and waits for nothing that could come, as it has executed nothing from
 * one multiple of STILL_NS to the next; so both machines stop at the same time. */
static enum tnm_stop run_to(tnm_machine *m, uint64_t insns)
{
    enum tnm_stop why;
    uint64_t before;
    bool whole;

    do {
        uint64_t end = (tnm_time_ns(m) / STILL_NS + 1) * STILL_NS;
        before = tnm_insns(m);
        whole = tnm_time_ns(m) % STILL_NS == 0;
        tnm_set_limits(m, end, insns);
        while ((why = tnm_run(m, 1000000000)) == TNM_STOP_SLICE)
            ;
        if (why == TNM_STOP_LIMIT && tnm_insns(m) < insns)
            why = TNM_STOP_SLICE; /* the time's limit */
    } while (why == TNM_STOP_SLICE && !(whole && tnm_insns(m) == before));
    if (why == TNM_STOP_ERROR) {
        tnm_error err;
        tnm_get_error(m, &err);
        die("the machine stopped", &err);
    }
    return why;
}

/* Writes down where the run ended, and the state there. */
static void end_trace(tnm_machine *m, struct trace *t, enum tnm_stop why)
{
    t->end = tnm_insns(m);
    t->why = why;
    note(t, t->end, tnm_state_hash(m));
}

/* To where the untouched machine ends, which is written down as the end for the other. */
static void run_plain(tnm_machine *m, struct trace *t)
{
    enum tnm_stop why = TNM_STOP_LIMIT;
    uint64_t at = opt.expect ? 0 : opt.until;

    if (!opt.expect)
        why = run_to(m, at);
    while (opt.expect && (!t->text || !strstr(t->text, opt.expect))) {
        at += opt.every;
        if (why != TNM_STOP_LIMIT || at > opt.until)
            die("the text that --expect names did not come", NULL);
        why = run_to(m, at);
    }
    opt.until = at;
    end_trace(m, t, why);
}

static void compare_files(const char *a, const char *b)
{
    static char buf[2][1 << 16];
    FILE *fa = fopen(a, "rb"), *fb = fopen(b, "rb");
    size_t na = 0, nb = 0;
    bool same = fa && fb;

    while (same && (na = fread(buf[0], 1, sizeof(buf[0]), fa)) > 0) {
        nb = fread(buf[1], 1, sizeof(buf[1]), fb);
        same = na == nb && memcmp(buf[0], buf[1], na) == 0;
    }
    if (!same || fgetc(fb) != EOF)
        die("a machine that was just restored gives another file", NULL);
    fclose(fa);
    fclose(fb);
}

static char *file_name(unsigned n, const char *kind)
{
    static char names[4][96];
    static unsigned turn;
    char *name = names[turn++ % 4];
    snprintf(name, sizeof(names[0]), "%s/%u%s.snap", opt.dir, n, kind);
    return name;
}

static void save(tnm_machine *m, const char *path, const char *parent, uint64_t on_to)
{
    tnm_error err = {0};
    tnm_save_options so = {.parent = parent, .threads = opt.threads};

    if (!opt.live) {
        if (!tnm_snapshot_save(m, path, &so, &err))
            die("save", &err);
        return;
    }
    enum tnm_save_state state;
    if (!tnm_save_begin(m, path, &so, &err))
        die("save", &err);
    tnm_set_limits(m, 0, on_to);
    while ((state = tnm_save_poll(m, NULL, &err)) == TNM_SAVE_RUNNING)
        tnm_run(m, 100000);
    if (state != TNM_SAVE_DONE)
        die("save", &err);
}

static enum tnm_engine engine_of(unsigned step)
{
    static const enum tnm_engine turn[] = {TNM_ENGINE_JIT, TNM_ENGINE_INTERP, TNM_ENGINE_AUTO};
    return opt.each_engine ? turn[step % 3] : opt.engine;
}

/* What came after a save does not count, as the machine is put back to it. */
static void rewind_trace(struct trace *t, size_t hashes, size_t len)
{
    t->n = hashes;
    t->len = len;
    if (t->text)
        t->text[len] = '\0';
}

/* One step at the machine's present state; returns the machine to go on with. */
static tnm_machine *step(tnm_machine *m, unsigned n, struct trace *t)
{
    char *parent = opt.delta && n % CHAIN_MAX ? strdup(file_name(n - 1, "")) : NULL;
    char *path = strdup(file_name(n, "")), *again = strdup(file_name(n, "b"));
    tnm_error err = {0};
    tnm_config cfg;
    size_t hashes = t->n, len = t->len;

    save(m, path, parent, tnm_insns(m) + opt.every);
    tnm_snapshot *s = tnm_snapshot_open(path, &err);
    if (!s)
        die("open", &err);
    if (opt.in_place) {
        run_to(m, tnm_insns(m) + opt.every);
        rewind_trace(t, hashes, len);
        if (!tnm_snapshot_restore(m, s, NULL, &err))
            die("restore", &err);
    } else {
        tnm_destroy(m);
        rewind_trace(t, hashes, len);
        tnm_snapshot_config(s, &cfg);
        set_hooks(&cfg, t);
        cfg.engine = engine_of(n + 1);
        cfg.code_cache = opt.code_cache;
        if (!(m = tnm_snapshot_create(s, &cfg, NULL, &err)))
            die("create", &err);
    }
    tnm_snapshot_close(s);
    if (!opt.live) {
        if (!tnm_snapshot_save(m, again,
                               &(tnm_save_options){.parent = parent, .threads = opt.threads}, &err))
            die("save again", &err);
        compare_files(path, again);
        unlink(again);
    }
    if (!opt.delta || n % CHAIN_MAX == CHAIN_MAX - 1) {
        for (unsigned i = n % CHAIN_MAX; i != UINT32_MAX; i--)
            unlink(file_name(n - i, ""));
    }
    free(parent);
    free(path);
    free(again);
    return m;
}

static void parse_engine(const char *name)
{
    if (!strcmp(name, "each"))
        opt.each_engine = true;
    else if (!strcmp(name, "interp"))
        opt.engine = TNM_ENGINE_INTERP;
    else if (!strcmp(name, "jit"))
        opt.engine = TNM_ENGINE_JIT;
    else if (strcmp(name, "auto"))
        exit(2);
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"kernel", 1, NULL, 'k'},   {"initrd", 1, NULL, 'i'}, {"append", 1, NULL, 'a'},
        {"disk", 1, NULL, 'd'},     {"memory", 1, NULL, 'm'}, {"cpus", 1, NULL, 'c'},
        {"every", 1, NULL, 'e'},    {"until", 1, NULL, 'u'},  {"delta", 0, NULL, 'D'},
        {"in-place", 0, NULL, 'I'}, {"live", 0, NULL, 'L'},   {"threads", 1, NULL, 't'},
        {"engine", 1, NULL, 'E'},   {"expect", 1, NULL, 'x'}, {"code-cache", 1, NULL, 'C'},
        {"from", 1, NULL, 'f'},     {"debug-exit", 1, NULL, 'X'},
        {NULL, 0, NULL, 0},
    };
    int c;

    tnm_config_init(&opt.cfg);
    opt.code_cache = opt.cfg.code_cache;
    opt.every = 5000000;
    opt.until = 200000000;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'k':
            opt.cfg.kernel = optarg;
            break;
        case 'i':
            opt.cfg.initrd = optarg;
            break;
        case 'a':
            opt.cfg.append = optarg;
            break;
        case 'd':
            opt.cfg.disks[opt.cfg.ndisks++] = (tnm_disk){.path = optarg, .discard = true};
            break;
        case 'm':
            opt.cfg.memory = strtoull(optarg, NULL, 0) << 20;
            break;
        case 'c':
            opt.cfg.cpus = (unsigned)atoi(optarg);
            break;
        case 'e':
            opt.every = strtoull(optarg, NULL, 0);
            break;
        case 'f':
            opt.from = strtoull(optarg, NULL, 0);
            break;
        case 'X':
            opt.cfg.debug_exit_port = (int)strtol(optarg, NULL, 0);
            break;
        case 'u':
            opt.until = strtoull(optarg, NULL, 0);
            break;
        case 'D':
            opt.delta = true;
            break;
        case 'I':
            opt.in_place = true;
            break;
        case 'L':
            opt.live = true;
            break;
        case 'x':
            opt.expect = optarg;
            break;
        case 'E':
            parse_engine(optarg);
            break;
        case 'C':
            opt.code_cache = strtoull(optarg, NULL, 0) << 10;
            break;
        case 't':
            opt.threads = (unsigned)atoi(optarg);
            break;
        default:
            exit(2);
        }
    }
}

static void compare_traces(const struct trace *plain, const struct trace *trip)
{
    for (size_t i = 0; i < plain->n || i < trip->n; i++) {
        if (i < plain->n && i < trip->n && plain->hash[i] == trip->hash[i])
            continue;
        uint64_t at = (i + 1) * opt.every;
        fprintf(stderr, "roundtrip: the state hash after %llu instructions differs\n",
                (unsigned long long)(at < plain->end ? at : plain->end));
        exit(1);
    }
    if (plain->end != trip->end || plain->why != trip->why)
        die("it ended otherwise", NULL);
    if (plain->len != trip->len || (plain->len && memcmp(plain->text, trip->text, plain->len) != 0))
        die("the serial port's output differs", NULL);
}

/* The machine that is saved and restored all the way; returns how many times. */
static unsigned run_trip(tnm_machine *m, struct trace *t)
{
    uint64_t at = (opt.from / opt.every + 1) * opt.every;
    enum tnm_stop why = TNM_STOP_LIMIT;
    unsigned steps = 0;

    for (; at < opt.until && (why = run_to(m, at)) == TNM_STOP_LIMIT; at += opt.every)
        m = step(m, steps++, t);
    if (why == TNM_STOP_LIMIT)
        why = run_to(m, opt.until);
    end_trace(m, t, why);
    tnm_destroy(m);
    for (unsigned i = 0; i < steps; i++)
        unlink(file_name(i, ""));
    if (!steps)
        die("the run ended before the first step", NULL);
    return steps;
}

int main(int argc, char **argv)
{
    struct trace plain = {0}, trip = {0};
    tnm_error err = {0};

    parse(argc, argv);
    strcpy(opt.dir, "/tmp/roundtrip-XXXXXX");
    if (!mkdtemp(opt.dir))
        die("no temporary folder", NULL);
    set_hooks(&opt.cfg, &plain);
    tnm_machine *m = tnm_create(&opt.cfg, &err);
    if (!m)
        die("create", &err);
    run_plain(m, &plain);
    tnm_destroy(m);

    set_hooks(&opt.cfg, &trip);
    opt.cfg.engine = engine_of(0);
    opt.cfg.code_cache = opt.code_cache;
    if (!(m = tnm_create(&opt.cfg, &err)))
        die("create", &err);
    unsigned steps = run_trip(m, &trip);
    rmdir(opt.dir);

    compare_traces(&plain, &trip);
    printf("%u times saved and restored in %llu instructions, %zu hashes and %zu bytes of output "
           "equal\n",
           steps, (unsigned long long)plain.end, plain.n, plain.len);
    free(plain.hash);
    free(plain.text);
    free(trip.hash);
    free(trip.text);
    return 0;
}
