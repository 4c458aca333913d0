/* `tinamou snapshot`: the command line, and the commands that print little. info and diff, which
 * print much, are in snapshot_print.c. The manual page docs/tinamou.1 says the same; keep them in
 * step.
 */
#include "frontend/snapshot_command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/png.h"
#include "frontend/progress.h"
#include "frontend/snapshot_print.h"

#define MAX_FILES 64

struct snapshot_args {
    bool json, help;
    const char *thumbnail;
    const char *files[MAX_FILES];
    unsigned nfiles;
};

struct snapshot_command {
    const char *name, *usage, *help;
    unsigned min_files, max_files;
    bool takes_json, takes_thumbnail;
    int (*run)(const struct snapshot_args *a);
};

static int usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int usage_error(const char *fmt, ...)
{
    va_list ap;
    fputs("tinamou: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return STATUS_USAGE;
}

static int failed(const tnm_error *err)
{
    fprintf(stderr, "tinamou: %s\n", err->text);
    return STATUS_FAILED;
}

/* ---- the commands ------------------------------------------------------------------------------ */

static int write_thumbnail(const tnm_snapshot *s, const char *path)
{
    tnm_snapshot_info info;

    tnm_snapshot_get_info(s, &info);
    if (!info.thumb_width) {
        fprintf(stderr, "tinamou: %s has no thumbnail: leave out --thumbnail\n", info.path);
        return STATUS_FAILED;
    }
    if (png_write_file(path, info.thumb, info.thumb_width, info.thumb_height))
        return STATUS_OK;
    fprintf(stderr, "tinamou: cannot write %s: %s: name a file that can be written\n", path,
            strerror(errno));
    return STATUS_FAILED;
}

static int run_info(const struct snapshot_args *a)
{
    tnm_error err = {0};
    tnm_snapshot *s = tnm_snapshot_open(a->files[0], &err);
    int status = STATUS_OK;

    if (!s)
        return failed(&err);
    if (a->thumbnail)
        status = write_thumbnail(s, a->thumbnail);
    if (status == STATUS_OK)
        status = print_info(s, a->json);
    tnm_snapshot_close(s);
    return status;
}

static int run_verify(const struct snapshot_args *a)
{
    int status = STATUS_OK;

    for (unsigned i = 0; i < a->nfiles; i++) {
        tnm_error err = {0};
        struct progress bar;
        tnm_snapshot *s = tnm_snapshot_open(a->files[i], &err);

        progress_begin(&bar, a->files[i]);
        bool ok = s && tnm_snapshot_verify(s, progress_update, &bar, &err);
        progress_end(&bar);
        if (s)
            tnm_snapshot_close(s);
        if (ok)
            printf("%s: whole\n", a->files[i]);
        else
            status = failed(&err);
    }
    return status;
}

static int run_diff(const struct snapshot_args *a)
{
    tnm_error err = {0};
    tnm_snapshot *x = tnm_snapshot_open(a->files[0], &err);
    tnm_snapshot *y = x ? tnm_snapshot_open(a->files[1], &err) : NULL;
    int status = y ? print_diff(x, y, a->json) : failed(&err);

    if (y)
        tnm_snapshot_close(y);
    if (x)
        tnm_snapshot_close(x);
    return status;
}

static int run_flatten(const struct snapshot_args *a)
{
    tnm_error err = {0};
    struct progress bar;
    tnm_snapshot *s;
    bool ok;

    s = tnm_snapshot_open(a->files[0], &err);
    if (!s)
        return failed(&err);
    progress_begin(&bar, a->files[1]);
    ok = tnm_snapshot_flatten(s, a->files[1], progress_update, &bar, &err);
    progress_end(&bar);
    tnm_snapshot_close(s);
    return ok ? STATUS_OK : failed(&err);
}

/* ---- the command line -------------------------------------------------------------------------- */

static const struct snapshot_command commands[] = {
    {"info", "[--json] [--thumbnail FILE.png] SNAPSHOT",
     "prints what is in it: the configuration, sizes, and every field of every device", 1, 1, true,
     true, run_info},
    {"verify", "SNAPSHOT...", "reads everything and checks every checksum, parents included", 1,
     MAX_FILES, false, false, run_verify},
    {"diff", "[--json] SNAPSHOT SNAPSHOT",
     "names the fields and pages that differ; status 1 if there are any", 2, 2, true, false,
     run_diff},
    {"flatten", "SNAPSHOT NEW", "writes a delta and its parents as one snapshot that stands alone",
     2, 2, false, false, run_flatten},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int print_help(void)
{
    puts("Usage: tinamou snapshot COMMAND [OPTION]... SNAPSHOT...\n"
         "Look at, check, compare and merge saved machines.\n"
         "\n"
         "Commands:");
    for (unsigned i = 0; i < COMMANDS; i++)
        printf("  %s %s\n        %s\n", commands[i].name, commands[i].usage, commands[i].help);
    puts("\n"
         "  --json              print JSON\n"
         "  --thumbnail FILE    write the picture of the screen as PNG\n"
         "  --help              print this\n"
         "\n"
         "Exit status: 0 fine, 1 failed or different, 2 wrong usage.");
    return STATUS_OK;
}

/* True if the option was understood; *value is set if it has to come next. */
static bool parse_option(const struct snapshot_command *c, struct snapshot_args *a, const char *arg,
                         const char ***value)
{
    if (strcmp(arg, "--help") == 0)
        a->help = true;
    else if (strcmp(arg, "--json") == 0 && c->takes_json)
        a->json = true;
    else if (strcmp(arg, "--thumbnail") == 0 && c->takes_thumbnail)
        *value = &a->thumbnail;
    else if (strncmp(arg, "--thumbnail=", 12) == 0 && c->takes_thumbnail && arg[12])
        a->thumbnail = arg + 12;
    else
        return false;
    return true;
}

/* STATUS_OK, or a status to leave with. */
static int parse(const struct snapshot_command *c, struct snapshot_args *a, int argc, char **argv)
{
    const char **value = NULL;
    bool options = true;

    for (int i = 0; i < argc; i++) {
        if (value) {
            *value = argv[i];
            value = NULL;
        } else if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && argv[i][0] == '-' && argv[i][1]) {
            if (!parse_option(c, a, argv[i], &value))
                return usage_error(
                    "snapshot %s: unknown option '%s': see 'tinamou snapshot --help'", c->name,
                    argv[i]);
        } else if (a->nfiles == c->max_files) {
            return usage_error("snapshot %s: '%s' is too much: write %s", c->name, argv[i],
                               c->usage);
        } else {
            a->files[a->nfiles++] = argv[i];
        }
    }
    if (value)
        return usage_error("--thumbnail lacks its value: write --thumbnail FILE.png");
    if (!a->help && a->nfiles < c->min_files)
        return usage_error("snapshot %s names too few files: write %s", c->name, c->usage);
    return STATUS_OK;
}

int command_snapshot(int argc, char **argv)
{
    struct snapshot_args a = {0};

    if (argc == 0)
        return usage_error("snapshot: no command given: see 'tinamou snapshot --help'");
    if (strcmp(argv[0], "--help") == 0)
        return print_help();
    for (unsigned i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[0], commands[i].name) != 0)
            continue;
        int status = parse(&commands[i], &a, argc - 1, argv + 1);
        if (status != STATUS_OK)
            return status;
        return a.help ? print_help() : commands[i].run(&a);
    }
    return usage_error("snapshot: no command '%s': see 'tinamou snapshot --help'", argv[0]);
}
