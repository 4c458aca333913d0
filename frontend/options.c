/* The command line of `tinamou run`: one table of options, which the parser and --help read. The
 * manual page docs/tinamou.1 says the same at more length; keep them in step.
 *
 * Everything is refused that can be refused without opening a file: unknown options, values that do
 * not parse to the last character, and combinations that make no sense.
 */
#include "frontend/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB (1024ull * 1024)

static bool usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static bool usage_error(const char *fmt, ...)
{
    va_list ap;
    fputs("tinamou: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return false;
}

/* Keeps s, from malloc, until options_free. NULL s is an out-of-memory error. */
static char *own(struct options *o, char *s)
{
    if (s)
        o->owned[o->nowned++] = s;
    else
        usage_error("out of memory: free some");
    return s;
}

/* ---- values ------------------------------------------------------------------------------------ */

/* Decimal or 0x hexadecimal, nothing around it. */
static bool parse_u64(const char *s, const char **end, uint64_t *out)
{
    char *e;
    if (*s < '0' || *s > '9')
        return false;
    errno = 0;
    /* Base 0 would read leading zeros as octal, which nobody means. */
    bool hex = s[0] == '0' && (s[1] | 0x20) == 'x';
    unsigned long long v = strtoull(s, &e, hex ? 16 : 10);
    if (errno || (hex && e == s + 2))
        return false;
    *out = v;
    *end = e;
    return true;
}

static bool parse_number(const char *name, const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
    const char *end;
    if (!parse_u64(s, &end, out) || *end || *out < min || *out > max)
        return usage_error("--%s '%s' is not a number from %" PRIu64 " to %" PRIu64
                           ": give one such number",
                           name, s, min, max);
    return true;
}

static bool parse_size(const char *name, const char *s, uint64_t *out)
{
    static const char suffixes[] = "KMGT";
    const char *end, *suffix;
    uint64_t v;

    if (!parse_u64(s, &end, &v))
        goto bad;
    if (*end) {
        suffix = strchr(suffixes, *end & ~0x20);
        if (!suffix || !*suffix || end[1])
            goto bad;
        unsigned shift = 10 * (unsigned)(suffix - suffixes + 1);
        if (v > UINT64_MAX >> shift)
            goto bad;
        v <<= shift;
    }
    *out = v;
    return true;
bad:
    return usage_error("--%s '%s' is not a size: write a number with K, M, G or T, as in 512M",
                       name, s);
}

/* Seconds with at most nine decimals. */
static bool parse_seconds(const char *name, const char *s, uint64_t *ns)
{
    const char *end;
    uint64_t v, unit = 1000000000;

    if (!parse_u64(s, &end, &v) || v > UINT64_MAX / unit - 1)
        goto bad;
    *ns = v * unit;
    if (*end == '.') {
        if (!*++end)
            goto bad;
        for (; *end >= '0' && *end <= '9' && unit > 1; end++) {
            unit /= 10;
            *ns += (uint64_t)(*end - '0') * unit;
        }
    }
    if (*end || *ns == 0)
        goto bad;
    return true;
bad:
    return usage_error("--%s '%s' is not a time: write seconds, as in 20 or 1.5", name, s);
}

/* ---- the options ------------------------------------------------------------------------------- */

static bool opt_memory(struct options *o, const char *name, const char *arg)
{
    if (!parse_size(name, arg, &o->cfg.memory))
        return false;
    if (o->cfg.memory < MIB)
        return usage_error(
            "--memory '%s' is less than a megabyte: sizes count bytes; write 64M for "
            "64 MiB",
            arg);
    return true;
}

static bool opt_cpus(struct options *o, const char *name, const char *arg)
{
    uint64_t n;
    if (!parse_number(name, arg, 1, TNM_MAX_CPUS, &n))
        return false;
    o->cfg.cpus = (unsigned)n;
    return true;
}

static bool opt_cpu(struct options *o, const char *name, const char *arg)
{
    const char *model;
    for (unsigned i = 0; (model = tnm_cpu_model_name(i)); i++) {
        if (strcmp(model, arg) == 0) {
            o->cfg.cpu_model = arg;
            return true;
        }
    }
    fprintf(stderr, "tinamou: no CPU model '%s': use one of", arg);
    for (unsigned i = 0; (model = tnm_cpu_model_name(i)); i++)
        fprintf(stderr, "%s %s", i ? "," : "", model);
    fputc('\n', stderr);
    return false;
}

static bool parse_switch(const char *key, const char *value, bool *out)
{
    *out = strcmp(value, "on") == 0;
    if (!*out && strcmp(value, "off") != 0)
        return usage_error("--disk: '%s=%s' is not understood: write %s=on or %s=off", key, value,
                           key, key);
    return true;
}

static bool disk_property(tnm_disk *d, char *word)
{
    char *value = strchr(word, '=');
    if (!value)
        return usage_error("--disk: '%s' is not understood: properties are if=, format=, readonly= "
                           "and discard=; a comma in a file name is written twice",
                           word);
    *value++ = '\0';
    if (strcmp(word, "if") == 0) {
        if (strcmp(value, "ide") == 0)
            d->interface = TNM_IF_IDE;
        else if (strcmp(value, "virtio") == 0)
            d->interface = TNM_IF_VIRTIO;
        else
            return usage_error("--disk: no interface '%s': use ide or virtio", value);
        return true;
    }
    if (strcmp(word, "format") == 0) {
        if (strcmp(value, "raw") != 0 && strcmp(value, "qcow2") != 0)
            return usage_error("--disk: no format '%s': use raw or qcow2", value);
        d->format = value;
        return true;
    }
    if (strcmp(word, "readonly") == 0)
        return parse_switch(word, value, &d->readonly);
    if (strcmp(word, "discard") == 0)
        return parse_switch(word, value, &d->discard);
    return usage_error("--disk: no property '%s': there are if, format, readonly and discard",
                       word);
}

static bool opt_disk(struct options *o, const char *name, const char *arg)
{
    if (o->cfg.ndisks == TNM_MAX_DISKS)
        return usage_error("more than %d disks: leave some out", TNM_MAX_DISKS);
    char *s = own(o, strdup(arg));
    if (!s)
        return false;
    tnm_disk *d = &o->cfg.disks[o->cfg.ndisks++];
    *d = (tnm_disk){.path = s};

    /* The file name ends at the first comma that is not doubled. */
    char *out = s, *in = s;
    for (; *in; in++) {
        if (*in == ',') {
            if (in[1] != ',')
                break;
            in++;
        }
        *out++ = *in;
    }
    bool more = *in == ',';
    *out = '\0';
    if (!*s)
        return usage_error("--disk '%s' names no file: write FILE first, then its properties", arg);
    while (more) {
        char *word = ++in;
        in += strcspn(in, ",");
        more = *in == ',';
        *in = '\0';
        if (!disk_property(d, word))
            return false;
    }
    return true;
}

static bool opt_string(const char **field, const char *name, const char *arg)
{
    if (!*arg)
        return usage_error("--%s is empty: name a file", name);
    *field = arg;
    return true;
}

static bool opt_cdrom(struct options *o, const char *name, const char *arg)
{
    return opt_string(&o->cfg.cdrom, name, arg);
}

static bool opt_floppy(struct options *o, const char *name, const char *arg)
{
    return opt_string(&o->cfg.floppy, name, arg);
}

static bool opt_kernel(struct options *o, const char *name, const char *arg)
{
    return opt_string(&o->cfg.kernel, name, arg);
}

static bool opt_initrd(struct options *o, const char *name, const char *arg)
{
    return opt_string(&o->cfg.initrd, name, arg);
}

static bool opt_append(struct options *o, const char *name, const char *arg)
{
    o->cfg.append = arg;
    return true;
}

static bool opt_firmware(struct options *o, const char *name, const char *arg)
{
    return opt_string(&o->cfg.firmware, name, arg);
}

static bool opt_vga_firmware(struct options *o, const char *name, const char *arg)
{
    return opt_string(&o->cfg.vga_firmware, name, arg);
}

static bool opt_screenshot(struct options *o, const char *name, const char *arg)
{
    return opt_string(&o->screenshot_at_exit, name, arg);
}

static bool opt_boot(struct options *o, const char *name, const char *arg)
{
    for (const char *p = arg; *p; p++)
        if (!strchr("acdn", *p) || strchr(p + 1, *p))
            return usage_error("--boot '%s' is not an order: write each of a (floppy), c (disk), "
                               "d (cd), n (network) at most once",
                               arg);
    return opt_string(&o->cfg.boot, name, arg);
}

static bool set_display(struct options *o, enum display_kind kind)
{
    if (o->display != DISPLAY_AUTO && o->display != kind)
        return usage_error("--headless and --window exclude each other: give one");
    o->display = kind;
    return true;
}

static bool opt_headless(struct options *o, const char *name, const char *arg)
{
    return set_display(o, DISPLAY_HEADLESS);
}

static bool opt_window(struct options *o, const char *name, const char *arg)
{
    return set_display(o, DISPLAY_WINDOW);
}

static bool opt_serial(struct options *o, const char *name, const char *arg)
{
    if (o->nserials == TNM_MAX_SERIALS)
        return usage_error("more than %d serial ports: leave some out", TNM_MAX_SERIALS);
    struct serial_option *s = &o->serial[o->nserials++];
    if (strcmp(arg, "stdio") == 0) {
        for (unsigned i = 0; i + 1 < o->nserials; i++)
            if (o->serial[i].kind == SERIAL_STDIO)
                return usage_error(
                    "--serial stdio given twice: only one port can have the terminal");
        s->kind = SERIAL_STDIO;
    } else if (strcmp(arg, "null") == 0) {
        s->kind = SERIAL_NULL;
    } else if (strcmp(arg, "pty") == 0) {
        s->kind = SERIAL_PTY;
    } else if (strncmp(arg, "file:", 5) == 0 && arg[5]) {
        s->kind = SERIAL_FILE;
        s->path = arg + 5;
    } else if (strncmp(arg, "socket:", 7) == 0 && arg[7]) {
        s->kind = SERIAL_SOCKET;
        s->path = arg + 7;
    } else {
        return usage_error("--serial '%s' is not understood: use stdio, file:PATH, null, pty or "
                           "socket:PATH",
                           arg);
    }
    return true;
}

static bool opt_engine(struct options *o, const char *name, const char *arg)
{
    if (strcmp(arg, "auto") == 0)
        o->cfg.engine = TNM_ENGINE_AUTO;
    else if (strcmp(arg, "interp") == 0)
        o->cfg.engine = TNM_ENGINE_INTERP;
    else if (strcmp(arg, "jit") == 0)
        o->cfg.engine = TNM_ENGINE_JIT;
    else if (strcmp(arg, "lockstep") == 0)
        o->cfg.engine = TNM_ENGINE_INTERP;
    else
        return usage_error("no engine '%s': use auto, interp, jit or lockstep", arg);
    o->lockstep = strcmp(arg, "lockstep") == 0;
    return true;
}

static bool opt_code_cache(struct options *o, const char *name, const char *arg)
{
    if (!parse_size(name, arg, &o->cfg.code_cache))
        return false;
    if (o->cfg.code_cache < MIB || o->cfg.code_cache > 2048 * MIB)
        return usage_error("--code-cache '%s' is not 1M to 2G: the default is 128M", arg);
    return true;
}

static bool opt_cpu_threads(struct options *o, const char *name, const char *arg)
{
    if (strcmp(arg, "on") != 0 && strcmp(arg, "off") != 0)
        return usage_error("--cpu-threads '%s' is not understood: write on or off", arg);
    o->cfg.cpu_turns = strcmp(arg, "off") == 0;
    return true;
}

static bool opt_jit_symbols(struct options *o, const char *name, const char *arg)
{
    for (const char *p = arg;; p++) {
        size_t len = strcspn(p, ",");
        if (len == 4 && memcmp(p, "perf", 4) == 0)
            o->symbols_perf = true;
        else if (len == 3 && memcmp(p, "gdb", 3) == 0)
            o->symbols_gdb = true;
        else
            return usage_error("--jit-symbols '%s' is not understood: write perf, gdb or both, as "
                               "perf,gdb",
                               arg);
        p += len;
        if (!*p)
            return true;
    }
}

static bool opt_clock(struct options *o, const char *name, const char *arg)
{
    if (strcmp(arg, "host") == 0)
        o->cfg.clock = TNM_CLOCK_HOST;
    else if (strcmp(arg, "insn") == 0)
        o->cfg.clock = TNM_CLOCK_INSN;
    else
        return usage_error("no clock '%s': use host or insn", arg);
    o->clock_given = true;
    return true;
}

static bool opt_debug_exit(struct options *o, const char *name, const char *arg)
{
    uint64_t n;
    if (!parse_number(name, arg, 1, 0xffff, &n))
        return false;
    o->cfg.debug_exit_port = (int)n;
    return true;
}

static bool opt_limit_time(struct options *o, const char *name, const char *arg)
{
    return parse_seconds(name, arg, &o->limit_ns);
}

static bool opt_limit_insns(struct options *o, const char *name, const char *arg)
{
    return parse_number(name, arg, 1, UINT64_MAX, &o->limit_insns);
}

static bool opt_state_hash(struct options *o, const char *name, const char *arg)
{
    return parse_number(name, arg, 1, UINT64_MAX, &o->cfg.state_hash_every);
}

/* Turns words as "all", "io", "exec=off" into the plain list that the library takes. */
static bool opt_log(struct options *o, const char *name, const char *arg)
{
    uint32_t on = 0;
    const char *sub;
    size_t len = 1;

    for (const char *p = arg;; p++) {
        size_t word = strcspn(p, ",="), value = strcspn(p + word, ",");
        bool set = value == 0 || (value == 3 && memcmp(p + word, "=on", 3) == 0);
        if (!set && !(value == 4 && memcmp(p + word, "=off", 4) == 0))
            return usage_error("--log: '%.*s' is not understood: the levels are on and off",
                               (int)(word + value), p);
        uint32_t mask = word == 3 && memcmp(p, "all", 3) == 0 ? UINT32_MAX : 0;
        for (unsigned i = 0; (sub = tnm_log_subsystem_name(i)); i++)
            if (strlen(sub) == word && memcmp(sub, p, word) == 0)
                mask = UINT32_C(1) << i;
        if (!mask) {
            fprintf(stderr, "tinamou: --log: no subsystem '%.*s': there are all", (int)word, p);
            for (unsigned i = 0; (sub = tnm_log_subsystem_name(i)); i++)
                fprintf(stderr, ", %s", sub);
            fputc('\n', stderr);
            return false;
        }
        on = set ? on | mask : on & ~mask;
        p += word + value;
        if (!*p)
            break;
    }
    for (unsigned i = 0; (sub = tnm_log_subsystem_name(i)); i++)
        len += strlen(sub) + 1;
    char *list = malloc(len);
    if (!list)
        return usage_error("out of memory: free some");
    *list = '\0';
    for (unsigned i = 0; (sub = tnm_log_subsystem_name(i)); i++) {
        if (!(on >> i & 1))
            continue;
        if (*list)
            strcat(list, ",");
        strcat(list, sub);
    }
    free((char *)o->cfg.log); /* given twice: the last counts */
    o->cfg.log = list;
    return true;
}

static bool opt_restore(struct options *o, const char *name, const char *arg)
{
    return opt_string(&o->restore, name, arg);
}

static bool opt_fresh_identity(struct options *o, const char *name, const char *arg)
{
    o->fresh_identity = true;
    return true;
}

static bool opt_name(struct options *o, const char *name, const char *arg)
{
    if (!*arg || *arg == '.' || strchr(arg, '/') || strlen(arg) > 60)
        return usage_error(
            "--name '%s' cannot begin a file's name: use up to 60 letters and digits", arg);
    o->name = arg;
    return true;
}

static bool opt_snapshot_dir(struct options *o, const char *name, const char *arg)
{
    if (!*arg)
        return usage_error("--%s is empty: name a folder", name);
    o->snapshot_dir = arg;
    return true;
}

static bool opt_parent(struct options *o, const char *name, const char *arg)
{
    if (!*arg)
        return usage_error("--%s is empty: name a snapshot", name);
    o->parent = arg;
    return true;
}

static bool opt_stats(struct options *o, const char *name, const char *arg)
{
    o->stats = true;
    return true;
}

static bool opt_stats_accesses(struct options *o, const char *name, const char *arg)
{
    o->stats = o->cfg.count_accesses = true;
    return true;
}

static bool opt_help(struct options *o, const char *name, const char *arg);

struct option_def {
    const char *name;
    const char *arg; /* NULL: takes none */
    bool (*set)(struct options *o, const char *name, const char *arg);
    const char *help; /* lines after the first are indented by the printer */
};

static const struct option_def run_options[] = {
    {"memory", "SIZE", opt_memory, "guest memory, as 64M or 2G (default 512M)"},
    {"cpus", "N", opt_cpus, "number of processors, 1 to 8 (default 1)"},
    {"cpu", "MODEL", opt_cpu, "processor model (default max)"},
    {"disk", "FILE[,PROP=VALUE]...", opt_disk,
     "a disk; repeatable. Properties:\n"
     "if=ide|virtio     interface (default ide)\n"
     "format=raw|qcow2  instead of looking at the file\n"
     "readonly=on       the guest may not write\n"
     "discard=on        writes are thrown away at exit"},
    {"cdrom", "FILE", opt_cdrom, "image of the CD in the drive"},
    {"floppy", "FILE", opt_floppy, "image of the floppy disk in the drive"},
    {"boot", "ORDER", opt_boot, "letters: a floppy, c disk, d cd, n network"},
    {"kernel", "FILE", opt_kernel, "start this Linux bzImage or multiboot ELF file directly"},
    {"initrd", "FILE", opt_initrd, "initial RAM disk for --kernel"},
    {"append", "TEXT", opt_append, "command line for --kernel"},
    {"firmware", "FILE", opt_firmware, "PC firmware instead of the SeaBIOS that is found"},
    {"vga-firmware", "FILE", opt_vga_firmware, "video firmware instead of the one that is found"},
    {"headless", NULL, opt_headless, "no window; the first serial port is the terminal"},
    {"window", NULL, opt_window, "a window (the default when there is a display)"},
    {"serial", "WHERE", opt_serial,
     "stdio, file:PATH, null, pty or socket:PATH; repeatable,\n"
     "the first is COM1 (default: stdio when headless)"},
    {"engine", "ENGINE", opt_engine,
     "auto: translate hot code; interp; jit: translate all code;\n"
     "lockstep: two machines side by side, compared (default auto)"},
    {"code-cache", "SIZE", opt_code_cache, "memory for decoded and translated code (default 128M)"},
    {"jit-symbols", "perf,gdb", opt_jit_symbols,
     "name translated code for perf (/tmp/perf-PID.map), GDB or\nboth"},
    {"clock", "CLOCK", opt_clock,
     "host: guest time follows the host's (default)\n"
     "insn: guest time counts instructions; repeatable"},
    {"cpu-threads", "on|off", opt_cpu_threads,
     "several processors under --clock host: each on a thread of\nthe host (default), or in turns"},
    {"debug-exit", "PORT", opt_debug_exit,
     "a guest's write of V to PORT ends the run with status\n(V<<1)|1"},
    {"restore", "SNAPSHOT", opt_restore,
     "go on from a saved machine, whose configuration it brings;\n"
     "--disk, --cdrom and --floppy say where its images are now"},
    {"fresh-identity", NULL, opt_fresh_identity,
     "with --restore: tell the guest that it is a copy, so that\nits random numbers are its own"},
    {"name", "NAME", opt_name, "begins the names of snapshots (default tinamou)"},
    {"snapshot-dir", "DIR", opt_snapshot_dir,
     "where snapshots are saved (default: the current folder)"},
    {"parent", "SNAPSHOT", opt_parent,
     "save deltas: only what differs from SNAPSHOT, without which\nthey cannot be restored"},
    {"limit-time", "SECONDS", opt_limit_time, "end with status 124 after that much guest time"},
    {"limit-insns", "N", opt_limit_insns, "end with status 124 after N instructions"},
    {"screenshot-at-exit", "FILE", opt_screenshot, "write the last picture as PNG"},
    {"state-hash-every", "N", opt_state_hash,
     "print a hash of all state every N instructions\n(needs --clock insn)"},
    {"log", "SUBSYSTEM[=on|off],...", opt_log,
     "trace to stderr: all, or as exec,int,io; 'all,exec=off'"},
    {"stats", NULL, opt_stats, "print counts and speed to stderr at the end"},
    {"stats-accesses", NULL, opt_stats_accesses,
     "the same, and translated code counts its accesses to memory,\nwhich makes the TLB's hit rate "
     "exact"},
    {"help", NULL, opt_help, "print this"},
};
#define RUN_OPTIONS (sizeof(run_options) / sizeof(run_options[0]))

#define HELP_COLUMN 32

static void print_option(const struct option_def *d)
{
    int len = printf("  --%s%s%s", d->name, d->arg ? " " : "", d->arg ? d->arg : "");
    if (len >= HELP_COLUMN)
        printf("\n%*s", HELP_COLUMN, "");
    else
        printf("%*s", HELP_COLUMN - len, "");
    for (const char *p = d->help; *p; p++) {
        putchar(*p);
        if (*p == '\n')
            printf("%*s", HELP_COLUMN, "");
    }
    putchar('\n');
}

static bool opt_help(struct options *o, const char *name, const char *arg)
{
    const char *model;
    puts("Usage: tinamou run [OPTION]...\nRun a PC.\n");
    for (unsigned i = 0; i < RUN_OPTIONS; i++)
        print_option(&run_options[i]);
    printf("\nCPU models:");
    for (unsigned i = 0; (model = tnm_cpu_model_name(i)); i++)
        printf(" %s", model);
    printf("\nLog subsystems:");
    for (unsigned i = 0; (model = tnm_log_subsystem_name(i)); i++)
        printf(" %s", model);
    puts("\n\nIn the terminal, Ctrl-A h lists the keys that reach Tinamou itself; in the window,\n"
         "Ctrl+Alt+G frees the mouse, F is full screen, R resets, P presses the power button,\n"
         "S takes a screenshot, N saves a snapshot, L lists them, Q quits. SIGUSR1 saves a\n"
         "snapshot, too, as NAME-DATE-TIME.snap.\n"
         "\nExit status: 0 fine, 1 failed, 2 wrong usage, 124 a limit was reached, 128+N ended by\n"
         "signal N; with --debug-exit what the guest says.");
    o->help = true;
    return true;
}

void options_print_help(void)
{
    puts("Usage: tinamou COMMAND [OPTION]...\n"
         "An x86 PC in software.\n"
         "\n"
         "Commands:\n"
         "  run        run a machine\n"
         "  snapshot   look at, check, compare and merge snapshots\n"
         "  help       print this; 'help COMMAND' is 'COMMAND --help'\n"
         "\n"
         "  --help     print this\n"
         "  --version  print the version\n"
         "\n"
         "'tinamou COMMAND --help' lists the options of a command; tinamou(1) says more.");
}

/* ---- parsing ----------------------------------------------------------------------------------- */

/* The option called name, or the only one that starts so. */
static const struct option_def *find_option(const char *name, size_t len)
{
    const struct option_def *found = NULL;
    unsigned count = 0;

    for (unsigned i = 0; i < RUN_OPTIONS; i++) {
        if (strncmp(run_options[i].name, name, len) != 0)
            continue;
        if (run_options[i].name[len] == '\0')
            return &run_options[i];
        found = &run_options[i];
        count++;
    }
    return count == 1 ? found : NULL;
}

/* What a snapshot brings with it. */
static bool describes_machine(const struct option_def *d)
{
    static const char *const names[] = {"memory",       "cpus",      "cpu",    "boot",
                                        "kernel",       "initrd",    "append", "firmware",
                                        "vga-firmware", "debug-exit"};

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(d->name, names[i]) == 0)
            return true;
    return false;
}

static bool check_restore(const struct options *o)
{
    if (o->machine_option)
        return usage_error("--restore brings its own machine: leave out --%s", o->machine_option);
    for (unsigned i = 0; i < o->cfg.ndisks; i++) {
        const tnm_disk *d = &o->cfg.disks[i];
        if (d->format || d->interface != TNM_IF_IDE || d->readonly || d->discard)
            return usage_error("--disk %s: with --restore only the file can be another: leave out "
                               "the properties",
                               d->path);
    }
    return true;
}

/* Combinations; what only the machine can judge is left to it. */
static bool check_options(const struct options *o)
{
    if (o->lockstep && (o->cfg.clock != TNM_CLOCK_INSN || o->restore))
        return usage_error("--engine lockstep compares runs from power-on that are repeatable: add "
                           "--clock insn, without --restore");
    if (o->restore)
        return check_restore(o);
    if (o->fresh_identity)
        return usage_error("--fresh-identity without --restore: name the snapshot too");
    if (o->cfg.initrd && !o->cfg.kernel)
        return usage_error("--initrd without --kernel: name the kernel too");
    if (o->cfg.append && !o->cfg.kernel)
        return usage_error("--append without --kernel: name the kernel too");
    if (o->cfg.state_hash_every && o->cfg.clock != TNM_CLOCK_INSN)
        return usage_error("--state-hash-every needs a repeatable run: add --clock insn");
    return true;
}

bool options_parse_run(struct options *o, int argc, char **argv)
{
    memset(o, 0, sizeof(*o));
    tnm_config_init(&o->cfg);

    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i], *value = NULL;
        if (strncmp(arg, "--", 2) != 0 || !arg[2])
            return usage_error("argument '%s' is not an option: see 'tinamou run --help'", arg);
        size_t len = strcspn(arg + 2, "=");
        const struct option_def *d = find_option(arg + 2, len);
        if (!d)
            return usage_error("unknown option '%.*s': see 'tinamou run --help'", (int)len + 2,
                               arg);
        if (arg[2 + len] == '=')
            value = arg + 3 + len;
        if (value && !d->arg)
            return usage_error("--%s takes no value: leave out '=%s'", d->name, value);
        if (!value && d->arg) {
            if (i + 1 == argc)
                return usage_error("--%s lacks its value: write --%s %s", d->name, d->name, d->arg);
            value = argv[++i];
        }
        if (!d->set(o, d->name, value))
            return false;
        if (describes_machine(d))
            o->machine_option = d->name;
        if (o->help)
            return true;
    }
    return check_options(o);
}

void options_free(struct options *o)
{
    free((char *)o->cfg.log);
    for (unsigned i = 0; i < o->nowned; i++)
        free(o->owned[i]);
}
