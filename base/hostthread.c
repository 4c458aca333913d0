/* The host's clocks, and wake-ups. A wake-up is a pipe: writing a byte to it is all that a signal
 * handler may do, and it is enough. The atomic flag keeps the pipe from filling up and makes the
 * common wait-when-already-set cheap. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* ppoll */
#endif
#include "base/hostthread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

uint64_t host_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int64_t host_wallclock_sec(void)
{
    return (int64_t)time(NULL);
}

uint64_t host_random(void)
{
    uint64_t v;

    /* It cannot fail once the host has started, unless the kernel is older than the call. */
    if (getrandom(&v, sizeof(v), 0) == (ssize_t)sizeof(v))
        return v;
    return host_now_ns() * 0x9e3779b97f4a7c15u ^ (uint64_t)getpid() << 32;
}

unsigned host_processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

void host_yield(void)
{
    sched_yield();
}

#if defined(__x86_64__) || defined(__i386__)
void host_pause(void)
{
    __builtin_ia32_pause();
}
#else
void host_pause(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}
#endif

struct host_wake {
    atomic_bool set;
    int fds[2];
};

struct host_wake *host_wake_new(void)
{
    struct host_wake *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    if (pipe(w->fds)) {
        free(w);
        return NULL;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(w->fds[i], F_SETFL, O_NONBLOCK);
        fcntl(w->fds[i], F_SETFD, FD_CLOEXEC);
    }
    return w;
}

void host_wake_free(struct host_wake *w)
{
    if (!w)
        return;
    close(w->fds[0]);
    close(w->fds[1]);
    free(w);
}

void host_wake_set(struct host_wake *w)
{
    int saved = errno; /* may be called from a signal handler */
    if (!atomic_exchange(&w->set, true)) {
        while (write(w->fds[1], "", 1) < 0 && errno == EINTR)
            ;
    }
    errno = saved;
}

bool host_wake_wait(struct host_wake *w, uint64_t ns)
{
    uint64_t start = host_now_ns();
    char byte;

    while (!atomic_load(&w->set)) {
        uint64_t passed = host_now_ns() - start;
        struct pollfd fd = {.fd = w->fds[0], .events = POLLIN};
        if (ns != UINT64_MAX && passed >= ns)
            return false;
        uint64_t left = ns == UINT64_MAX ? 1000000000u : ns - passed;
        struct timespec ts = {.tv_sec = (time_t)(left / 1000000000u),
                              .tv_nsec = (long)(left % 1000000000u)};
        ppoll(&fd, 1, &ts, NULL);
    }
    while (read(w->fds[0], &byte, 1) < 0 && errno == EINTR)
        ;
    atomic_store(&w->set, false);
    return true;
}
