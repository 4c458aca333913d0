/* Saves and restores a machine again and again while a guest boots, and compares its state hashes
 * with those of a machine that was never touched.
 *
 *     roundtrip [--kernel FILE --initrd FILE --append TEXT] [--disk FILE] [--memory MIB] [--cpus N]
 *               [--every INSNS] [--until INSNS] [--delta] [--in-place] [--live] [--threads N]
 *               [--engine auto|interp|jit|each] [--code-cache KIB]
 *
 * Every step saves the machine, destroys it, makes another from the file (--in-place: restores the
 * file into the machine that has run on meanwhile) and, before that one runs, saves it again: the two
 * files must be equal byte for byte. --delta: each file is a delta on the one before, up to eight.
 * --live: the machine goes on while it is saved. --engine: what executes the machine that is saved and
 * restored; each: every one made from a file has another engine than the one before; --code-cache: its
 * memory for code. The machine that is never touched has the defaults. Exit status 0: all hashes are equal.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/tinamou.h"

#define CHAIN_MAX 8

static struct {
    tnm_config cfg;
    uint64_t every, until, code_cache;
    bool delta, in_place, live, each_engine;
    enum tnm_engine engine;
    unsigned threads;
    char dir[64];
} opt;

struct hashes {
    uint64_t *hash;
    size_t n, cap;
};

static void die(const char *what, const tnm_error *err)
{
    fprintf(stderr, "roundtrip: %s%s%s\n", what, err ? ": " : "", err ? err->text : "");
    exit(1);
}

static void note(void *opaque, uint64_t insns, uint64_t hash)
{
    struct hashes *h = opaque;

    (void)insns;
    if (h->n == h->cap) {
        h->cap = h->cap * 2 + 64;
        h->hash = realloc(h->hash, h->cap * sizeof(*h->hash));
        if (!h->hash)
            die("no memory", NULL);
    }
    h->hash[h->n++] = hash;
}

static void set_hooks(tnm_config *cfg, struct hashes *h)
{
    cfg->clock = TNM_CLOCK_INSN;
    cfg->state_hash_every = opt.every;
    cfg->state_hash = note;
    cfg->opaque = h;
}

/* Runs to a number of instructions; false when the guest has ended the run. */
static bool run_to(tnm_machine *m, uint64_t insns)
{
    enum tnm_stop why;

    tnm_set_limits(m, 0, insns);
    while ((why = tnm_run(m, 1000000000)) == TNM_STOP_SLICE)
        ;
    if (why == TNM_STOP_ERROR) {
        tnm_error err;
        tnm_get_error(m, &err);
        die("the machine stopped", &err);
    }
    return why == TNM_STOP_LIMIT;
}

static void compare_files(const char *a, const char *b)
{
    char command[256];
    snprintf(command, sizeof(command), "cmp %s %s", a, b);
    if (system(command) != 0)
        die("a machine that was just restored gives another file", NULL);
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

/* One step at the machine's present state; returns the machine to go on with. */
static tnm_machine *step(tnm_machine *m, unsigned n, struct hashes *h)
{
    char *parent = opt.delta && n % CHAIN_MAX ? strdup(file_name(n - 1, "")) : NULL;
    char *path = strdup(file_name(n, "")), *again = strdup(file_name(n, "b"));
    tnm_error err = {0};
    tnm_config cfg;
    size_t hashes = h->n;

    save(m, path, parent, (n + 2) * opt.every);
    tnm_snapshot *s = tnm_snapshot_open(path, &err);
    if (!s)
        die("open", &err);
    if (opt.in_place) {
        run_to(m, (n + 2) * opt.every);
        h->n = hashes;
        if (!tnm_snapshot_restore(m, s, NULL, &err))
            die("restore", &err);
    } else {
        tnm_destroy(m);
        h->n = hashes;
        tnm_snapshot_config(s, &cfg);
        set_hooks(&cfg, h);
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
        {"engine", 1, NULL, 'E'},   {"code-cache", 1, NULL, 'C'},
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

int main(int argc, char **argv)
{
    struct hashes plain = {0}, trip = {0};
    tnm_error err = {0};

    parse(argc, argv);
    strcpy(opt.dir, "/tmp/roundtrip-XXXXXX");
    if (!mkdtemp(opt.dir))
        die("no temporary folder", NULL);
    set_hooks(&opt.cfg, &plain);
    tnm_machine *m = tnm_create(&opt.cfg, &err);
    if (!m)
        die("create", &err);
    run_to(m, opt.until);
    tnm_destroy(m);

    opt.cfg.opaque = &trip;
    opt.cfg.engine = engine_of(0);
    opt.cfg.code_cache = opt.code_cache;
    if (!(m = tnm_create(&opt.cfg, &err)))
        die("create", &err);
    unsigned steps = 0;
    for (uint64_t at = opt.every; at < opt.until && run_to(m, at); at += opt.every)
        m = step(m, steps++, &trip);
    run_to(m, opt.until);
    tnm_destroy(m);
    for (unsigned i = 0; i < steps; i++)
        unlink(file_name(i, ""));
    rmdir(opt.dir);

    for (size_t i = 0; i < plain.n || i < trip.n; i++) {
        if (i < plain.n && i < trip.n && plain.hash[i] == trip.hash[i])
            continue;
        fprintf(stderr, "roundtrip: the state hash after %llu instructions differs\n",
                (unsigned long long)((i + 1) * opt.every));
        return 1;
    }
    printf("%u times saved and restored, %zu hashes equal\n", steps, plain.n);
    free(plain.hash);
    free(trip.hash);
    return plain.n == 0;
}
