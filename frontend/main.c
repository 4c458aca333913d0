/* tinamou: the program. Finds the command, parses its options, and chooses a front end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/frontend.h"
#include "frontend/snapshot_command.h"

#define VERSION "0.1.0"

static bool has_display(void)
{
    const char *x = getenv("DISPLAY"), *wayland = getenv("WAYLAND_DISPLAY");
    return (x && *x) || (wayland && *wayland);
}

static int command_run(int argc, char **argv)
{
    struct options opt;
    int status = STATUS_USAGE;

    if (options_parse_run(&opt, argc, argv)) {
        bool window = opt.display == DISPLAY_WINDOW ||
                      (opt.display == DISPLAY_AUTO && has_display());
        if (opt.help) {
            status = STATUS_OK;
        } else if (window && !opt.lockstep) {
            status = run_window(&opt);
        } else {
            if (opt.nserials == 0)
                opt.serial[opt.nserials++].kind = SERIAL_STDIO;
            status = opt.lockstep ? run_lockstep(&opt) : run_headless(&opt);
        }
    }
    options_free(&opt);
    return status;
}

static int command_help(int argc, char **argv)
{
    char *help[] = {"--help"};
    if (argc == 0) {
        options_print_help();
        return STATUS_OK;
    }
    if (argc == 1 && strcmp(argv[0], "run") == 0)
        return command_run(1, help);
    if (argc == 1 && strcmp(argv[0], "snapshot") == 0)
        return command_snapshot(1, help);
    fprintf(stderr, "tinamou: no command '%s': see 'tinamou --help'\n", argv[0]);
    return STATUS_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("tinamou: no command given: see 'tinamou --help'\n", stderr);
        return STATUS_USAGE;
    }
    if (strcmp(argv[1], "run") == 0)
        return command_run(argc - 2, argv + 2);
    if (strcmp(argv[1], "snapshot") == 0)
        return command_snapshot(argc - 2, argv + 2);
    if (strcmp(argv[1], "help") == 0)
        return command_help(argc - 2, argv + 2);
    if (strcmp(argv[1], "--help") == 0) {
        options_print_help();
        return STATUS_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("tinamou " VERSION);
        return STATUS_OK;
    }
    fprintf(stderr, "tinamou: no command '%s': see 'tinamou --help'\n", argv[1]);
    return STATUS_USAGE;
}
