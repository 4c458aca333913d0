/* Running without a window, and the escape key of the terminal: Ctrl+A, then a letter.
 *
 * Only a real terminal has the escape key; bytes piped in reach the guest as they are.
 */
#include <stdio.h>
#include <string.h>

#include "frontend/frontend.h"
#include "frontend/terminal.h"

enum { ESCAPE_KEY = 1 }; /* Ctrl+A */

static void print_help(void)
{
    fputs("\nCtrl-A x  quit                   Ctrl-A r  reset\n"
          "Ctrl-A p  press the power button Ctrl-A t  print the text screen\n"
          "Ctrl-A c  print clock and speed  Ctrl-A a  send Ctrl-A\n"
          "Ctrl-A s  save a snapshot        Ctrl-A h  this help\n",
          stderr);
}

static void print_text(tnm_machine *m)
{
    char buf[64 * 1024];
    if (tnm_get_text(m, buf, sizeof(buf)))
        fprintf(stderr, "\n%s", buf);
    else
        fputs("\nthe screen is in a graphics mode: use --screenshot-at-exit\n", stderr);
}

static void print_clock(const struct session *s)
{
    tnm_stats st;
    tnm_get_stats(s->machine, &st);
    fprintf(stderr, "\n%.3f s of guest time, %.1f million instructions, %.1f MIPS\n",
            (double)st.virtual_ns / 1e9, (double)st.insns / 1e6,
            session_speed(s, &(tnm_stats){0}, &st, NULL));
}

static void command(struct session *s, uint8_t key)
{
    switch (key) {
    case 'x':
    case 'q':
        s->quit = true;
        break;
    case 'r':
        tnm_reset(s->machine);
        break;
    case 'p':
        tnm_power_button(s->machine);
        break;
    case 't':
        print_text(s->machine);
        break;
    case 's':
        saver_request(&s->saver);
        break;
    case 'c':
        print_clock(s);
        break;
    default:
        print_help();
        break;
    }
}

static size_t filter(void *opaque, uint8_t *buf, size_t n)
{
    struct session *s = opaque;
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        if (!s->escaped) {
            s->escaped = buf[i] == ESCAPE_KEY;
            if (!s->escaped)
                buf[kept++] = buf[i];
            continue;
        }
        s->escaped = false;
        if (buf[i] == 'a' || buf[i] == ESCAPE_KEY)
            buf[kept++] = ESCAPE_KEY;
        else
            command(s, buf[i]);
    }
    return kept;
}

void console_attach(struct session *s)
{
    for (unsigned i = 0; i < s->opt->nserials; i++) {
        if (s->opt->serial[i].kind != SERIAL_STDIO || !terminal_raw())
            continue;
        serial_set_filter(s->ports[i], filter, s);
        fprintf(stderr, "tinamou: the terminal is COM%u: Ctrl-A x quits, Ctrl-A h helps\n", i + 1);
    }
}

int run_headless(const struct options *opt)
{
    struct session s;

    if (!session_open(&s, opt))
        return STATUS_FAILED;
    console_attach(&s);
    while (session_step(&s))
        continue;
    return session_close(&s);
}
