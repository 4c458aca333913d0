/* What the command line asked for, checked as far as it can be without opening anything. */
#ifndef FRONTEND_OPTIONS_H
#define FRONTEND_OPTIONS_H

#include "include/tinamou.h"

/* Exit statuses; a debug-exit or a signal has its own. */
enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_LIMIT = 124 };

enum serial_kind { SERIAL_NULL, SERIAL_STDIO, SERIAL_FILE, SERIAL_PTY, SERIAL_SOCKET };
struct serial_option {
    enum serial_kind kind;
    const char *path; /* of a file or socket */
};

enum display_kind { DISPLAY_AUTO, DISPLAY_HEADLESS, DISPLAY_WINDOW };

struct options {
    tnm_config cfg; /* serial, log and state_hash callbacks not yet set */
    struct serial_option serial[TNM_MAX_SERIALS];
    unsigned nserials;
    enum display_kind display;
    uint64_t limit_ns, limit_insns;
    const char *screenshot_at_exit;
    const char *restore;        /* a snapshot; what cfg says of the machine is then its */
    const char *machine_option; /* one that describes the machine, if any was given */
    const char *name, *snapshot_dir;
    const char *parent; /* of the snapshots that are saved; NULL: they are whole */
    bool fresh_identity, clock_given;
    bool lockstep; /* --engine lockstep; cfg.engine is that of the first machine */
    bool stats;
    bool symbols_perf, symbols_gdb; /* --jit-symbols */
    bool help;                      /* was asked for and printed: there is nothing to run */
    /* Strings that had to be cut out of arguments. */
    char *owned[TNM_MAX_DISKS + 2];
    unsigned nowned;
};

/* Parses the arguments after `tinamou run`; they must outlive *o. On a mistake prints what it is
 * and returns false. Call options_free either way. */
bool options_parse_run(struct options *o, int argc, char **argv);
void options_free(struct options *o);
void options_print_help(void); /* of the program */

#endif
