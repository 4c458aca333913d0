/* The progress bar on a terminal of some width: it stays in one line, whatever the name. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "frontend/progress.h"
#include "tests/unit/suite.h"

#define ESCAPE "\x1b[K"

static char drawn[8192];

/* What a bar for `what` writes to a terminal that is so wide, between a pause and its end. */
static void draw(const char *what, unsigned columns, bool shared)
{
    static const struct timespec pause = {.tv_nsec = 350 * 1000 * 1000};
    struct winsize size = {.ws_row = 25, .ws_col = (unsigned short)columns};
    int terminal = posix_openpt(O_RDWR | O_NOCTTY), old = dup(STDERR_FILENO);
    struct progress p;

    ck_assert(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    int other = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    ck_assert(other >= 0 && ioctl(other, TIOCSWINSZ, &size) == 0);
    dup2(other, STDERR_FILENO);
    progress_begin(&p, what);
    p.shared = shared;
    ck_assert(progress_update(&p, 1, 3)); /* too early to be shown */
    nanosleep(&pause, NULL);
    ck_assert(progress_update(&p, 1, 3));
    progress_end(&p);
    dup2(old, STDERR_FILENO);
    close(old);
    close(other);
    ssize_t n = read(terminal, drawn, sizeof(drawn) - 1);
    ck_assert_int_gt(n, 0);
    drawn[n] = '\0';
    close(terminal);
}

START_TEST(stays_in_its_line)
{
    static const unsigned widths[] = {70, 80, 132};
    char name[201];

    memset(name, 'x', 200);
    strcpy(name + 200 - 10, "/tail.snap");
    for (unsigned i = 0; i < ARRAY_LEN(widths); i++) {
        draw(name, widths[i], false);
        const char *end = strstr(drawn, ESCAPE);
        ck_assert_ptr_nonnull(end);
        ck_assert_int_eq(drawn[0], '\r');
        ck_assert_msg(end - drawn - 1 <= (long)widths[i], "%ld letters of %u: %s",
                      (long)(end - drawn - 1), widths[i], drawn);
        ck_assert_ptr_nonnull(strstr(drawn, " [========="));
        ck_assert_ptr_nonnull(strstr(drawn, " 33%, 0 s left"));
        if (widths[i] >= 80)
            ck_assert_ptr_nonnull(strstr(drawn, "/tail.snap"));
    }
    draw("a.snap", 80, false);
    ck_assert_msg(strncmp(drawn, "\ra.snap [", 9) == 0, "%s", drawn);
    ck_assert_str_eq(drawn + strlen(drawn) - strlen(ESCAPE), ESCAPE); /* and is wiped away */
}
END_TEST

START_TEST(leaves_the_guest_its_cursor)
{
    draw("a.snap", 80, true);
    ck_assert_msg(strncmp(drawn, "\0337\x1b[1;1Ha.snap", 14) == 0, "%s", drawn);
    ck_assert_str_eq(drawn + strlen(drawn) - 2, "\0338");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {stays_in_its_line, leaves_the_guest_its_cursor};

    return RUN_TESTS("progress", tests);
}
