/* One run of a machine from the command line, whatever shows it: owns the machine, the serial
 * ports' host ends, the signals and the terminal, and knows why the run ended. */
#ifndef FRONTEND_SESSION_H
#define FRONTEND_SESSION_H

#include "frontend/options.h"
#include "frontend/saver.h"
#include "frontend/serial.h"

struct session {
    const struct options *opt;
    tnm_machine *machine;
    enum tnm_clock clock;
    struct saver saver;
    struct symbols *symbols; /* NULL: without --jit-symbols */
    struct serial_port *ports[TNM_MAX_SERIALS];
    unsigned nports;
    uint64_t slice_ns;
    bool escaped; /* the terminal's escape key was the last one */
    bool quit;    /* the user wants to leave */
    int status;   /* for exit, once session_step has returned false */
};

/* Opens everything; on failure says why on stderr, leaves nothing behind, returns false. */
bool session_open(struct session *s, const struct options *opt);
/* A second machine like the session's, which drops what it sends; NULL with *err filled. */
tnm_machine *session_twin(struct session *s, enum tnm_engine engine, tnm_error *err);
/* About ten milliseconds of the run, and the serial ports' traffic. False when it is over. */
bool session_step(struct session *s);
/* Millions of instructions a second of host time in which the guest was not idle, between two
 * readings of the statistics; *idle, unless NULL, becomes the idle part of the time, 0 to 1. */
double session_speed(const struct session *s, const tnm_stats *from, const tnm_stats *to,
                     double *idle);
/* Screenshot at exit, statistics, and the end of the machine. Returns the exit status. */
int session_close(struct session *s);

/* frontend/lockstep.c: --engine lockstep; returns the exit status. */
int run_lockstep(const struct options *opt);

#endif
