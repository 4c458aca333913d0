/* The progress bar: see progress.h. Work that is over at once shows none. A line that is wider than the
 * terminal would go on in the next, where it could not be drawn over: long names lose their beginning.
 */
#include "frontend/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define SAVE_CURSOR    "\0337"
#define RESTORE_CURSOR "\0338"
#define FIRST_LINE     "\x1b[1;1H"
#define ERASE_REST     "\x1b[K"

#define WIDTH          28
#define COLUMNS        80           /* where the terminal does not say */
#define BESIDE_NAME    (WIDTH + 22) /* the brackets, a percentage and the longest time */
#define FIRST_MS       300
#define STEP_MS        100

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void progress_begin(struct progress *p, const char *what)
{
    *p = (struct progress){.what = what, .terminal = isatty(STDERR_FILENO), .begun = now_ms()};
}

/* What fits of the name. */
static const char *shortened(const char *what, const char **dots)
{
    struct winsize w = {0};
    size_t len = strlen(what), columns = COLUMNS;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col)
        columns = w.ws_col;
    size_t room = columns > BESIDE_NAME ? columns - BESIDE_NAME : 0;
    *dots = "";
    if (len <= room)
        return what;
    *dots = room > 3 ? "..." : "";
    return what + len - (room > 3 ? room - 3 : 0);
}

bool progress_update(void *opaque, uint64_t done, uint64_t total)
{
    struct progress *p = opaque;
    uint64_t now = now_ms(), took = now - p->begun;
    char bar[WIDTH + 1];
    const char *dots;

    if (!p->terminal || took < FIRST_MS || now - p->drawn < STEP_MS || !total)
        return true;
    double part = done < total ? (double)done / (double)total : 1;
    unsigned full = (unsigned)(part * WIDTH);
    memset(bar, '=', full);
    memset(bar + full, ' ', WIDTH - full);
    bar[WIDTH] = '\0';
    const char *what = shortened(p->what, &dots);
    fprintf(stderr, "%s%s%s [%s] %3.0f%%", p->shared ? SAVE_CURSOR FIRST_LINE : "\r", dots, what,
            bar, part * 100);
    if (part > 0.02)
        fprintf(stderr, ", %" PRIu64 " s left", (uint64_t)((double)took * (1 / part - 1) / 1000));
    fputs(ERASE_REST, stderr); /* what an earlier, longer line left */
    if (p->shared)
        fputs(RESTORE_CURSOR, stderr);
    fflush(stderr);
    p->drawn = now;
    p->shown = true;
    return true;
}

void progress_end(struct progress *p)
{
    if (p->shown)
        fputs(p->shared ? SAVE_CURSOR FIRST_LINE ERASE_REST RESTORE_CURSOR : "\r" ERASE_REST,
              stderr);
    p->shown = false;
}
