/* Runs a guest by a script and judges it: through the public API, deterministic unless the script
 * asks for the host's clock.
 *
 *     guest_test [-v] [--threads | --lockstep] SCRIPT NAME=VALUE...
 *
 * -v shows serial output and commands as they come. --threads runs the guest by the host's clock, each of
 * its processors on a thread of the host; all limits are then two and a half times what the script says, for
 * the host may be busy. --lockstep runs the guest twice side by side,
 * interpreted and translated, and fails at the first difference (frontend/pair.h). To find the
 * instruction: --from N --step 1, with N the last instruction after which both were the same.
 * --limit N ends the test well after N instructions, --force translates everything at once.
 *
 * A script is one command a line; $NAME is replaced by the value given. Before the first waiting
 * command, lines configure the machine:
 *     memory 64M | cpus 2 | model max | clock insn|host | engine auto|interp|jit | disk FILE | virtio FILE | cdrom FILE
 *     floppy FILE | kernel FILE | initrd FILE | append TEXT | boot cad
 * then they drive it. Every wait has a limit in guest seconds, set by `limit N` (default 60):
 *     serial TEXT     TEXT comes on COM1 (after what earlier waits have seen)
 *     screen TEXT     TEXT is on the text screen
 *     graphics WxH    the screen is in a graphics mode of this size and not blank
 *     noserial TEXT   TEXT has not come on COM1 so far
 *     type TEXT       on the keyboard (US layout); \n is Enter
 *     press KEY       one of ctrl-b, tab, esc, up, down...: see press() below
 *     send TEXT       into COM1
 *     run N           lets N guest seconds pass
 *     poweroff        the guest turns the machine off
 *
 * A test that fails prints the text screen and the end of the serial output; of a graphics screen it
 * leaves a picture, guest-failed.ppm, in the current directory.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/pair.h"

#define MAX_LINE   1024
#define SLICE_NS   5000000ull
#define SERIAL_MAX (4u << 20)
#define STEP       5000      /* --lockstep: instructions between comparisons of registers ... */
#define WHOLE      100000000 /* ... and of everything, which reads all memory */

struct guest {
    tnm_config cfg;
    tnm_machine *m;
    struct pair pair; /* with --lockstep; pair.jit is NULL without */
    bool lockstep, force, threads;
    uint64_t from, step, end;
    double limit;
    char *serial;
    size_t serial_len, serial_seen;
    enum tnm_stop last;
    bool verbose;
    const char *script;
    unsigned line;
};

static void save_picture(struct guest *g, const char *path)
{
    tnm_screen s;
    FILE *f;
    tnm_get_screen(g->m, &s);
    if (!s.pixels || !(f = fopen(path, "wb")))
        return;
    fprintf(f, "P6 %u %u 255\n", s.width, s.height);
    for (size_t k = 0; k < (size_t)s.width * s.height; k++) {
        fputc((int)(s.pixels[k] >> 16 & 0xff), f);
        fputc((int)(s.pixels[k] >> 8 & 0xff), f);
        fputc((int)(s.pixels[k] & 0xff), f);
    }
    fclose(f);
    printf("-- screen: see %s\n", path);
}

static void fail(struct guest *g, const char *what)
{
    char text[16384];
    size_t n = g->m ? tnm_get_text(g->m, text, sizeof(text)) : 0;
    printf("%s:%u: %s\n", g->script, g->line, what);
    if (g->m)
        printf("-- after %.3f guest seconds, %llu instructions\n", (double)tnm_time_ns(g->m) / 1e9,
               (unsigned long long)tnm_insns(g->m));
    if (n)
        printf("-- screen\n%.*s\n", (int)n, text);
    else if (g->m)
        save_picture(g, "guest-failed.ppm");
    size_t from = g->serial_len > 4000 ? g->serial_len - 4000 : 0;
    printf("-- serial, last part\n%s\n", g->serial + from);
    exit(1);
}

static void serial_out(void *opaque, uint8_t byte)
{
    struct guest *g = opaque;
    if (g->serial_len + 1 < SERIAL_MAX) {
        g->serial[g->serial_len++] = byte ? (char)byte : ' ';
        g->serial[g->serial_len] = 0;
    }
    if (g->verbose)
        putchar(byte);
}

static void log_line(void *opaque, const char *subsystem, const char *line)
{
    fprintf(stderr, "[%s] %s\n", subsystem, line);
}

/* ---- one machine or two -------------------------------------------------------------------------- */

/* Floppy images are locked by the machine that has them. */
static const char *copy_of(struct guest *g, const char *path)
{
    static char name[] = "/tmp/guest_test-XXXXXX";
    char buf[65536];
    FILE *from = fopen(path, "rb"), *to = fdopen(mkstemp(name), "wb");
    size_t n;

    if (!from || !to)
        fail(g, "the floppy image cannot be copied");
    while ((n = fread(buf, 1, sizeof(buf), from)) > 0)
        if (fwrite(buf, 1, n, to) != n)
            fail(g, "the floppy image cannot be copied");
    fclose(from);
    fclose(to);
    return name;
}

static void start(struct guest *g)
{
    tnm_error err;
    tnm_config twin;

    if (g->m)
        return;
    if (g->lockstep && g->cfg.clock != TNM_CLOCK_INSN)
        fail(g, "under the host's clock no two runs are the same");
    g->cfg.serial[0].out = serial_out;
    g->cfg.serial[0].opaque = g;
    g->cfg.nserials = 1;
    g->cfg.log_line = log_line;
    g->cfg.log = getenv("TINAMOU_LOG");
    if (g->lockstep)
        g->cfg.engine = TNM_ENGINE_INTERP;
    g->m = tnm_create(&g->cfg, &err);
    if (!g->m)
        fail(g, err.text);
    if (!g->lockstep)
        return;
    twin = g->cfg;
    twin.engine = g->force ? TNM_ENGINE_JIT : TNM_ENGINE_AUTO;
    twin.nserials = 0;
    if (twin.floppy)
        twin.floppy = copy_of(g, twin.floppy);
    pair_init(&g->pair, g->m, tnm_create(&twin, &err));
    if (twin.floppy)
        remove(twin.floppy); /* the machine has it open */
    if (!g->pair.jit)
        fail(g, err.text);
    g->pair.coarse = STEP;
    g->pair.step = g->step ? g->step : STEP;
    g->pair.from = g->from;
    g->pair.whole = g->step ? g->step * 1000 : WHOLE;
    if (g->end)
        g->pair.end = g->end;
}

/* As tnm_run. */
static enum tnm_stop run(struct guest *g, uint64_t ns)
{
    enum tnm_stop stop;

    if (!g->pair.jit)
        return tnm_run(g->m, ns);
    if (!pair_run(&g->pair, ns, &stop))
        fail(g, "the engines differ");
    if (stop == TNM_STOP_LIMIT) {
        printf("%s: the engines agreed for %llu instructions\n", g->script,
               (unsigned long long)g->pair.insns);
        exit(0);
    }
    return stop;
}

static void put_key(struct guest *g, unsigned code, bool down)
{
    tnm_key(g->m, code, down);
    if (g->pair.jit)
        tnm_key(g->pair.jit, code, down);
}

static size_t put_serial(struct guest *g, char c)
{
    size_t n = tnm_serial_input(g->m, 0, &c, 1);

    if (g->pair.jit && tnm_serial_input(g->pair.jit, 0, &c, 1) != n)
        fail(g, "the engines differ in what a serial port takes");
    return n;
}

/* ---- waiting ------------------------------------------------------------------------------------ */

static bool has_serial(struct guest *g, const char *text)
{
    const char *at = strstr(g->serial + g->serial_seen, text);
    if (at)
        g->serial_seen = (size_t)(at - g->serial) + strlen(text);
    return at != NULL;
}

static bool has_screen(struct guest *g, const char *text)
{
    char buf[16384];
    size_t n = tnm_get_text(g->m, buf, sizeof(buf) - 1);
    buf[n < sizeof(buf) ? n : sizeof(buf) - 1] = 0;
    return strstr(buf, text) != NULL;
}

static bool has_graphics(struct guest *g, const char *text)
{
    char buf[64], size[32];
    tnm_screen s;
    if (tnm_get_text(g->m, buf, sizeof(buf)) != 0)
        return false;
    tnm_get_screen(g->m, &s);
    snprintf(size, sizeof(size), "%ux%u", s.width, s.height);
    if (s.blank || !s.pixels || strcmp(size, text) != 0)
        return false;
    for (size_t k = 1; k < (size_t)s.width * s.height; k++)
        if (s.pixels[k] != s.pixels[0])
            return true;
    return false;
}

static void wait_for(struct guest *g, bool (*met)(struct guest *, const char *), const char *text)
{
    uint64_t end;
    char what[MAX_LINE + 64];
    start(g);
    end = tnm_time_ns(g->m) + (uint64_t)(g->limit * 1e9);
    while (!met(g, text)) {
        if (tnm_time_ns(g->m) >= end) {
            snprintf(what, sizeof(what), "did not come in %.0f guest seconds: %s", g->limit, text);
            fail(g, what);
        }
        g->last = run(g, SLICE_NS);
        if (g->last != TNM_STOP_SLICE && !met(g, text)) {
            snprintf(what, sizeof(what), "the machine stopped (%d) before: %s", (int)g->last, text);
            fail(g, what);
        }
    }
}

static void run_seconds(struct guest *g, double seconds)
{
    uint64_t end;
    start(g);
    for (end = tnm_time_ns(g->m) + (uint64_t)(seconds * 1e9); tnm_time_ns(g->m) < end;)
        if (run(g, SLICE_NS) != TNM_STOP_SLICE)
            fail(g, "the machine stopped");
}

static void wait_poweroff(struct guest *g)
{
    uint64_t end;
    start(g);
    if (g->last == TNM_STOP_POWEROFF)
        return;
    end = tnm_time_ns(g->m) + (uint64_t)(g->limit * 1e9);
    do {
        g->last = run(g, SLICE_NS);
    } while (g->last == TNM_STOP_SLICE && tnm_time_ns(g->m) < end);
    if (g->last != TNM_STOP_POWEROFF)
        fail(g, "no power-off");
}

/* ---- typing ------------------------------------------------------------------------------------- */

static void key(struct guest *g, unsigned code, bool shift)
{
    if (shift)
        put_key(g, 0x2a, true);
    put_key(g, code, true);
    run_seconds(g, 0.03);
    put_key(g, code, false);
    if (shift)
        put_key(g, 0x2a, false);
    run_seconds(g, 0.03);
}

static void type(struct guest *g, const char *text)
{
    static const char plain[] =
        "\0\0331234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0\0\0 ";
    static const char shifted[] = "\0\0!@#$%^&*()_+\0\0QWERTYUIOP{}\0\0ASDFGHJKL:\"~\0|ZXCVBNM<>?";
    start(g);
    for (; *text; text++) {
        char c = text[0] == '\\' && text[1] == 'n' ? '\n' : text[0];
        text += text[0] == '\\' && text[1] == 'n';
        const char *p = memchr(plain + 1, c, sizeof(plain) - 2);
        const char *s = memchr(shifted + 1, c, sizeof(shifted) - 2);
        if (p)
            key(g, (unsigned)(p - plain), false);
        else if (s)
            key(g, (unsigned)(s - shifted), true);
        else
            fail(g, "a character that is on no key");
    }
}

/* Keys that are no characters, and characters with Ctrl. */
static void press(struct guest *g, const char *name)
{
    static const struct {
        const char *name;
        unsigned code;
    } keys[] = {{"esc", 1},    {"tab", 15},     {"enter", 28},    {"f1", 59},
                {"up", 0x148}, {"left", 0x14b}, {"right", 0x14d}, {"down", 0x150}};
    start(g);
    if (!strncmp(name, "ctrl-", 5)) {
        put_key(g, 29, true);
        type(g, name + 5);
        put_key(g, 29, false);
        run_seconds(g, 0.03);
        return;
    }
    for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
        if (!strcmp(name, keys[k].name)) {
            key(g, keys[k].code, false);
            return;
        }
    }
    fail(g, "no such key");
}

static void send(struct guest *g, const char *text)
{
    start(g);
    for (; *text; text++) {
        char c = text[0] == '\\' && text[1] == 'n' ? '\n' : text[0];
        text += text[0] == '\\' && text[1] == 'n';
        for (unsigned tries = 0; put_serial(g, c) == 0 && tries < 1000; tries++)
            run_seconds(g, 0.005);
        run_seconds(g, 0.005);
    }
}

/* ---- scripts ------------------------------------------------------------------------------------ */

static uint64_t size_of(struct guest *g, const char *s)
{
    char *end;
    uint64_t v = strtoull(s, &end, 10);
    if (*end == 'M')
        return v << 20;
    if (*end == 'G')
        return v << 30;
    fail(g, "a size needs M or G");
    return 0;
}

static void add_disk(struct guest *g, const char *path, enum tnm_disk_if interface)
{
    g->cfg.disks[g->cfg.ndisks++] =
        (tnm_disk){.path = strdup(path), .interface = interface, .discard = true};
}

static bool configure(struct guest *g, const char *cmd, const char *arg)
{
    if (!strcmp(cmd, "memory"))
        g->cfg.memory = size_of(g, arg);
    else if (!strcmp(cmd, "cpus"))
        g->cfg.cpus = (unsigned)atoi(arg);
    else if (!strcmp(cmd, "model"))
        g->cfg.cpu_model = strdup(arg);
    else if (!strcmp(cmd, "clock"))
        g->cfg.clock = strcmp(arg, "host") ? TNM_CLOCK_INSN : TNM_CLOCK_HOST;
    else if (!strcmp(cmd, "engine"))
        g->cfg.engine = !strcmp(arg, "interp") ? TNM_ENGINE_INTERP
                        : !strcmp(arg, "jit")  ? TNM_ENGINE_JIT
                                               : TNM_ENGINE_AUTO;
    else if (!strcmp(cmd, "disk"))
        add_disk(g, arg, TNM_IF_IDE);
    else if (!strcmp(cmd, "virtio"))
        add_disk(g, arg, TNM_IF_VIRTIO);
    else if (!strcmp(cmd, "cdrom"))
        g->cfg.cdrom = strdup(arg);
    else if (!strcmp(cmd, "floppy"))
        g->cfg.floppy = strdup(arg);
    else if (!strcmp(cmd, "kernel"))
        g->cfg.kernel = strdup(arg);
    else if (!strcmp(cmd, "initrd"))
        g->cfg.initrd = strdup(arg);
    else if (!strcmp(cmd, "append"))
        g->cfg.append = strdup(arg);
    else if (!strcmp(cmd, "boot"))
        g->cfg.boot = strdup(arg);
    else
        return false;
    if (g->m)
        fail(g, "the machine is running: too late to configure it");
    return true;
}

static void command(struct guest *g, const char *cmd, const char *arg)
{
    if (g->verbose)
        fprintf(stderr, "[%s %s]\n", cmd, arg);
    if (configure(g, cmd, arg))
        return;
    if (!strcmp(cmd, "limit")) {
        g->limit = atof(arg) * (g->threads ? 2.5 : 1);
    } else if (!strcmp(cmd, "serial")) {
        wait_for(g, has_serial, arg);
    } else if (!strcmp(cmd, "screen")) {
        wait_for(g, has_screen, arg);
    } else if (!strcmp(cmd, "graphics")) {
        wait_for(g, has_graphics, arg);
    } else if (!strcmp(cmd, "noserial")) {
        if (strstr(g->serial, arg))
            fail(g, "this should not have come");
    } else if (!strcmp(cmd, "type")) {
        type(g, arg);
    } else if (!strcmp(cmd, "press")) {
        press(g, arg);
    } else if (!strcmp(cmd, "send")) {
        send(g, arg);
    } else if (!strcmp(cmd, "run")) {
        run_seconds(g, atof(arg));
    } else if (!strcmp(cmd, "poweroff")) {
        wait_poweroff(g);
    } else {
        fail(g, "unknown command");
    }
}

/* Copies line to out with $NAME replaced by what argv says. */
static void expand(struct guest *g, const char *line, char *out, char **vars)
{
    size_t n = 0;
    while (*line && n + 1 < MAX_LINE) {
        size_t len = 0;
        if (*line != '$') {
            out[n++] = *line++;
            continue;
        }
        while (isalnum((unsigned char)line[1 + len]) || line[1 + len] == '_')
            len++;
        char **v = vars;
        while (*v && (strncmp(*v, line + 1, len) || (*v)[len] != '='))
            v++;
        if (!*v)
            fail(g, "a variable that was not given");
        n += (size_t)snprintf(out + n, MAX_LINE - n, "%s", *v + len + 1);
        line += 1 + len;
    }
    out[n < MAX_LINE ? n : MAX_LINE - 1] = 0;
}

/* Takes options off the arguments; NULL: usage. */
static char **options(struct guest *g, char **argv)
{
    for (; *argv && **argv == '-'; argv++) {
        uint64_t *to = !strcmp(*argv, "--from")    ? &g->from
                       : !strcmp(*argv, "--step")  ? &g->step
                       : !strcmp(*argv, "--limit") ? &g->end
                                                   : NULL;
        if (!strcmp(*argv, "-v"))
            g->verbose = true;
        else if (!strcmp(*argv, "--lockstep"))
            g->lockstep = true;
        else if (!strcmp(*argv, "--force"))
            g->force = true;
        else if (!strcmp(*argv, "--threads"))
            g->threads = true;
        else if (to && argv[1])
            *to = strtoull(*++argv, NULL, 0);
        else
            return NULL;
    }
    return argv;
}

int main(int argc, char **argv)
{
    static struct guest g = {.limit = 60, .last = TNM_STOP_SLICE};
    char line[MAX_LINE], text[MAX_LINE];
    FILE *f;

    setvbuf(stdout, NULL, _IONBF, 0);
    argv = options(&g, argv + 1);
    g.script = argv ? *argv : NULL;
    f = g.script ? fopen(g.script, "r") : NULL;
    if (!f) {
        fprintf(stderr,
                "usage: guest_test [-v] [--threads] [--lockstep [--force] [--from N] [--step N] "
                "[--limit N]] SCRIPT NAME=VALUE...\n");
        return 2;
    }
    g.serial = calloc(1, SERIAL_MAX);
    tnm_config_init(&g.cfg);
    g.cfg.clock = g.threads ? TNM_CLOCK_HOST : TNM_CLOCK_INSN;
    while (fgets(line, sizeof(line), f)) {
        char *arg;
        g.line++;
        line[strcspn(line, "\n")] = 0;
        if (!line[0] || line[0] == '#')
            continue;
        expand(&g, line, text, argv + 1);
        arg = text + strcspn(text, " ");
        if (*arg)
            *arg++ = 0;
        command(&g, text, arg);
    }
    fclose(f);
    printf("%s: passed after %.3f guest seconds, %llu instructions\n", g.script,
           (double)tnm_time_ns(g.m) / 1e9, (unsigned long long)tnm_insns(g.m));
    tnm_destroy(g.pair.jit);
    tnm_destroy(g.m);
    return 0;
}
