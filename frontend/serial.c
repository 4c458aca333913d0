/* Host ends of serial ports: see serial.h.
 *
 * Output is collected while the guest runs and written between slices. Files and stdout are
 * written in full, waiting where the host makes us wait; a pseudo-terminal or socket with nobody
 * at the other end, or nobody reading, loses what does not fit, as a wire would.
 */
#define _GNU_SOURCE /* accept4, posix_openpt */
#include "frontend/serial.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

struct serial_port {
    enum serial_kind kind;
    unsigned number;
    const char *path;
    int in, out, listener; /* -1: none */
    bool lossy;
    uint8_t obuf[4096], ibuf[1024];
    size_t olen, ilen;
    size_t (*filter)(void *opaque, uint8_t *buf, size_t n);
    void *filter_opaque;
};

static bool fail(const char *what, const char *path, const char *todo)
{
    fprintf(stderr, "tinamou: cannot open %s %s: %s: %s\n", what, path, strerror(errno), todo);
    return false;
}

static bool open_pty(struct serial_port *p)
{
    struct termios t;
    const char *name;
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0 || !(name = ptsname(fd))) {
        fail("a", "pseudo-terminal", "use another kind of --serial");
        if (fd >= 0)
            close(fd);
        return false;
    }
    if (tcgetattr(fd, &t) == 0) {
        cfmakeraw(&t);
        tcsetattr(fd, TCSANOW, &t);
    }
    fprintf(stderr, "tinamou: COM%u is %s\n", p->number + 1, name);
    p->in = p->out = fd;
    p->lossy = true;
    return true;
}

/* A socket file that nobody listens on is what a killed run leaves. */
static bool remove_stale(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool stale = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 &&
                 errno == ECONNREFUSED;
    close(fd);
    return stale && unlink(addr->sun_path) == 0;
}

static bool open_socket(struct serial_port *p)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(p->path) >= sizeof(addr.sun_path)) {
        errno = ENAMETOOLONG;
        return fail("socket", p->path, "use a shorter path");
    }
    strcpy(addr.sun_path, p->path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail("socket", p->path, "close some files");
    int r = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
    if (r < 0 && errno == EADDRINUSE) {
        if (remove_stale(&addr))
            r = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
        else
            errno = EADDRINUSE;
    }
    if (r < 0 || listen(fd, 1) < 0) {
        fail("socket", p->path, "choose another path, or remove what is there");
        close(fd);
        return false;
    }
    p->listener = fd;
    p->lossy = true;
    return true;
}

static bool open_port(struct serial_port *p)
{
    switch (p->kind) {
    case SERIAL_STDIO:
        p->in = STDIN_FILENO;
        p->out = STDOUT_FILENO;
        return true;
    case SERIAL_FILE:
        p->out = open(p->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        return p->out >= 0 || fail("file", p->path, "name one that can be written");
    case SERIAL_PTY:
        return open_pty(p);
    case SERIAL_SOCKET:
        return open_socket(p);
    default:
        return true;
    }
}

struct serial_port *serial_open(const struct serial_option *opt, unsigned number)
{
    struct serial_port *p = calloc(1, sizeof(*p));
    if (!p) {
        fputs("tinamou: out of memory: free some\n", stderr);
        return NULL;
    }
    p->kind = opt->kind;
    p->number = number;
    p->path = opt->path;
    p->in = p->out = p->listener = -1;
    if (!open_port(p)) {
        free(p);
        return NULL;
    }
    return p;
}

static void drop_peer(struct serial_port *p)
{
    if (p->kind == SERIAL_SOCKET) {
        close(p->in);
        p->in = p->out = -1;
    }
}

static void flush(struct serial_port *p)
{
    size_t done = 0;

    while (p->out >= 0 && done < p->olen) {
        ssize_t n = p->kind == SERIAL_SOCKET
                        ? send(p->out, p->obuf + done, p->olen - done, MSG_NOSIGNAL)
                        : write(p->out, p->obuf + done, p->olen - done);
        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN && !p->lossy) {
            /* Someone made our stdout non-blocking. */
            struct pollfd fd = {.fd = p->out, .events = POLLOUT};
            poll(&fd, 1, 1000);
            continue;
        }
        if (n < 0 && errno != EAGAIN)
            drop_peer(p);
        break;
    }
    p->olen = 0;
}

void serial_close(struct serial_port *p)
{
    if (!p)
        return;
    flush(p);
    if (p->kind != SERIAL_STDIO) {
        if (p->out >= 0)
            close(p->out);
        if (p->listener >= 0) {
            close(p->listener);
            unlink(p->path);
        }
    }
    free(p);
}

void serial_out(void *opaque, uint8_t byte)
{
    struct serial_port *p = opaque;
    if (p->olen == sizeof(p->obuf))
        flush(p);
    p->obuf[p->olen++] = byte;
}

void serial_set_filter(struct serial_port *p, size_t (*filter)(void *opaque, uint8_t *buf, size_t n),
                       void *opaque)
{
    p->filter = filter;
    p->filter_opaque = opaque;
}

/* Fills ibuf if there is room and something to read. */
static void receive(struct serial_port *p)
{
    struct pollfd fd = {.fd = p->in, .events = POLLIN};

    if (p->in < 0 || p->ilen == sizeof(p->ibuf) || poll(&fd, 1, 0) <= 0)
        return;
    /* A pseudo-terminal that nobody has open only says POLLHUP. */
    if (p->kind == SERIAL_PTY && !(fd.revents & POLLIN))
        return;
    ssize_t n = read(p->in, p->ibuf + p->ilen, sizeof(p->ibuf) - p->ilen);
    if (n > 0) {
        size_t len = (size_t)n;
        if (p->filter)
            len = p->filter(p->filter_opaque, p->ibuf + p->ilen, len);
        p->ilen += len;
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        /* End of input; a socket's next client may come. */
        if (p->kind == SERIAL_SOCKET)
            drop_peer(p);
        else if (p->kind != SERIAL_PTY)
            p->in = -1;
    }
}

void serial_poll(struct serial_port *p, tnm_machine *m)
{
    if (p->listener >= 0 && p->in < 0) {
        int fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            p->in = p->out = fd;
    }
    flush(p);
    receive(p);
    if (p->ilen) {
        size_t taken = tnm_serial_input(m, p->number, p->ibuf, p->ilen);
        memmove(p->ibuf, p->ibuf + taken, p->ilen - taken);
        p->ilen -= taken;
    }
}
