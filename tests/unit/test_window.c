/* The window, looked at from outside: a virtual X server keeps its picture in a file, the program
 * shows a boot sector that paints two colours in mode 13h, and both must be on the screen, sharp and
 * in equal parts. The program to test is named by the environment's TINAMOU; Xvfb must be installed.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "tests/unit/suite.h"

#define RED   0xaa0000
#define GREEN 0x00aa00
#define WAIT_SECONDS 120

static const uint8_t boot_code[] = {
    0xb8, 0x13, 0x00, 0xcd, 0x10,       /* mov ax, 13h; int 10h */
    0xb8, 0x00, 0xa0, 0x8e, 0xc0,       /* mov ax, a000h; mov es, ax */
    0x31, 0xff, 0xfc,                   /* xor di, di; cld */
    0xb0, 0x04, 0xb9, 0x00, 0x7d,       /* mov al, 4; mov cx, 32000 */
    0xf3, 0xaa,                         /* rep stosb */
    0xb0, 0x02, 0xb9, 0x00, 0x7d,       /* mov al, 2; mov cx, 32000 */
    0xf3, 0xaa,                         /* rep stosb */
    0xf4, 0xeb, 0xfd,                   /* hlt; jmp to it */
};

static char dir[64], floppy[96], screen[96];
static pid_t server, program;

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 200 * 1000 * 1000}, NULL);
}

static void end(pid_t *pid)
{
    if (*pid > 0) {
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
    }
    *pid = 0;
}

static void clean_up(void)
{
    end(&program);
    end(&server);
    unlink(floppy);
    unlink(screen);
    rmdir(dir);
}

static void write_floppy(void)
{
    static uint8_t image[1440 * 1024];
    memcpy(image, boot_code, sizeof(boot_code));
    image[510] = 0x55;
    image[511] = 0xaa;
    FILE *f = fopen(floppy, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(image, 1, sizeof(image), f), sizeof(image));
    ck_assert_int_eq(fclose(f), 0);
}

/* Starts Xvfb, which chooses a free display and writes its number when it is ready. */
static void start_server(void)
{
    int fds[2];
    char fd[16], number[16] = "", display[24];

    ck_assert_int_eq(pipe(fds), 0);
    snprintf(fd, sizeof(fd), "%d", fds[1]);
    server = fork();
    if (server == 0) {
        close(fds[0]);
        execlp("Xvfb", "Xvfb", "-displayfd", fd, "-screen", "0", "1600x1200x24", "-fbdir", dir,
               "-nolisten", "tcp", (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    /* The number and its line end come in two writes, and the server minds a closed pipe. */
    for (size_t n = 0; n + 1 < sizeof(number) && !strchr(number, '\n'); n++)
        if (read(fds[0], number + n, 1) != 1)
            break;
    close(fds[0]);
    ck_assert_msg(strchr(number, '\n'), "Xvfb does not start: install the package xvfb");
    snprintf(display, sizeof(display), ":%d", atoi(number));
    setenv("DISPLAY", display, 1);
    unsetenv("WAYLAND_DISPLAY");
    unsetenv("SDL_VIDEODRIVER");
}

static void start_program(const char *path)
{
    program = fork();
    if (program == 0) {
        execl(path, "tinamou", "run", "--memory", "32M", "--floppy", floppy, "--boot", "a",
              (char *)NULL);
        _exit(127);
    }
}

/* Counts the pixels of a colour in the server's picture (an XWD file, X11/XWDFile.h). */
static void count_pixels(unsigned *red, unsigned *green)
{
    *red = *green = 0;
    FILE *f = fopen(screen, "rb");
    uint8_t head[100];
    if (!f || fread(head, 1, sizeof(head), f) != sizeof(head)) {
        if (f)
            fclose(f);
        return;
    }
    uint32_t width = be32(head + 16), height = be32(head + 20), bits = be32(head + 44);
    bool big_endian = be32(head + 28);
    ck_assert_uint_eq(bits, 32);
    uint8_t *line = malloc(width * 4);
    ck_assert_ptr_nonnull(line);
    fseek(f, (long)(be32(head) + be32(head + 76) * 12), SEEK_SET);
    for (uint32_t y = 0; y < height && fread(line, 4, width, f) == width; y++) {
        for (uint32_t x = 0; x < width; x++) {
            const uint8_t *p = line + x * 4;
            uint32_t color = (big_endian ? be32(p) : ld32(p)) & 0xffffff;
            *red += color == RED;
            *green += color == GREEN;
        }
    }
    free(line);
    fclose(f);
}

START_TEST(picture)
{
    const char *path = getenv("TINAMOU");
    unsigned red = 0, green = 0, scale;
    int status;

    ck_assert_msg(path, "set TINAMOU to the program to test");
    strcpy(dir, "/tmp/tinamou-window-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(floppy, sizeof(floppy), "%s/floppy", dir);
    snprintf(screen, sizeof(screen), "%s/Xvfb_screen0", dir);
    atexit(clean_up);
    write_floppy();
    start_server();
    start_program(path);

    /* Whole multiples only: the window holds 640x400 dots once, four or nine times. */
    bool good = false;
    for (unsigned i = 0; i < WAIT_SECONDS * 5 && !good; i++) {
        nap();
        ck_assert_msg(waitpid(program, &status, WNOHANG) == 0, "the program has ended");
        count_pixels(&red, &green);
        for (scale = 1; scale <= 3 && !good; scale++)
            good = red == 640 * 200 * scale * scale && green == red;
    }
    ck_assert_msg(good, "%u red and %u green pixels", red, green);

    kill(program, SIGTERM);
    ck_assert_int_eq(waitpid(program, &status, 0), program);
    program = 0;
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 128 + SIGTERM);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {picture};
    /* The time limit is in the test; without a fork the clean-up sees what it has to end. */
    setenv("CK_FORK", "no", 1);
    return RUN_TESTS("window", tests);
}
