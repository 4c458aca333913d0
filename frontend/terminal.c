/* The terminal and the signals: see terminal.h.
 *
 * Signal handlers have no argument to carry state in, hence the globals. The handlers call
 * only what signal-safety(7) allows, and tnm_stop, which is made for it.
 */
#include "frontend/terminal.h"

#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved, raw;
static volatile sig_atomic_t is_raw;
static volatile sig_atomic_t caught;
static tnm_machine *volatile stop_machine;
static volatile sig_atomic_t saves_asked;
static sig_atomic_t saves_told;

static void set_terminal(const struct termios *t)
{
    tcsetattr(STDIN_FILENO, TCSANOW, t);
}

void terminal_restore(void)
{
    if (is_raw) {
        is_raw = 0;
        set_terminal(&saved);
    }
}

/* Signals that kill: put the terminal back, then die of the same signal. */
static void on_crash(int n)
{
    terminal_restore();
    signal(n, SIG_DFL);
    raise(n);
}

/* Stopped from outside (Ctrl+Z goes to the guest): lend the terminal to the shell meanwhile. */
static void on_suspend(int n)
{
    bool was_raw = is_raw;
    terminal_restore();
    raise(SIGSTOP);
    if (was_raw) {
        set_terminal(&raw);
        is_raw = 1;
    }
}

static void on_stop(int n)
{
    if (caught)
        on_crash(n);
    caught = n;
    if (stop_machine)
        tnm_stop(stop_machine);
}

static void on_save(int n)
{
    saves_asked++;
}

static void handle(int n, void (*fn)(int), int flags)
{
    struct sigaction sa = {.sa_handler = fn, .sa_flags = flags};
    sigemptyset(&sa.sa_mask);
    sigaction(n, &sa, NULL);
}

bool terminal_raw(void)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGQUIT, SIGALRM};

    /* In the background, touching the terminal would only get us stopped. */
    if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp() ||
        tcgetattr(STDIN_FILENO, &saved) < 0)
        return false;
    raw = saved;
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST; /* our own messages end in plain newlines */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    atexit(terminal_restore);
    for (unsigned i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        handle(fatal[i], on_crash, SA_NODEFER);
    handle(SIGTSTP, on_suspend, SA_RESTART);
    set_terminal(&raw);
    is_raw = 1;
    return true;
}

void terminal_catch_saves(void)
{
    handle(SIGUSR1, on_save, SA_RESTART);
}

void terminal_catch_signals(tnm_machine *m)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP};

    stop_machine = m;
    for (unsigned i = 0; i < sizeof(stops) / sizeof(stops[0]); i++)
        handle(stops[i], m ? on_stop : SIG_DFL, SA_RESTART | SA_NODEFER);
    handle(SIGUSR1, m ? on_save : SIG_DFL, SA_RESTART);
    handle(SIGPIPE, SIG_IGN, 0);
}

int terminal_signal(void)
{
    return caught;
}

unsigned terminal_save_requests(void)
{
    sig_atomic_t asked = saves_asked;
    unsigned n = (unsigned)(asked - saves_told);

    saves_told = asked;
    return n;
}
