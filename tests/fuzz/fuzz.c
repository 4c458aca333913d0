/* See fuzz.h. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#define STEP_SECONDS 10 /* of processor time, under sanitizers too */

static char directory[64];
static char running[128]; /* the case, for messages out of signal handlers */

/* ---- choices --------------------------------------------------------------------------------- */

static void arm(unsigned seconds)
{
    struct itimerval t = {.it_value.tv_sec = seconds};
    setitimer(ITIMER_PROF, &t, NULL);
}

bool fuzz_more(struct fuzz *f)
{
    arm(STEP_SECONDS);
    if (f->left == 0)
        return false;
    if (!f->data)
        f->left--;
    return true;
}

static uint64_t next(struct fuzz *f) /* splitmix64: any seed will do */
{
    uint64_t z = f->state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static uint64_t take(struct fuzz *f, unsigned bytes)
{
    uint64_t v = 0;

    if (!f->data)
        return next(f) & (UINT64_MAX >> (64 - bytes * 8));
    for (unsigned i = 0; i < bytes && f->left; i++, f->left--)
        v |= (uint64_t)*f->data++ << i * 8;
    return v;
}

uint64_t fuzz_u64(struct fuzz *f)
{
    return take(f, 8);
}

uint32_t fuzz_u32(struct fuzz *f)
{
    return (uint32_t)take(f, 4);
}

uint8_t fuzz_u8(struct fuzz *f)
{
    return (uint8_t)take(f, 1);
}

unsigned fuzz_below(struct fuzz *f, unsigned n)
{
    return (unsigned)(take(f, n <= 256 ? 1 : 4) % n);
}

bool fuzz_one_in(struct fuzz *f, unsigned n)
{
    return fuzz_below(f, n) == 0;
}

void fuzz_bytes(struct fuzz *f, void *buf, size_t len)
{
    uint8_t *p = buf;

    for (size_t i = 0; i < len; i += 8) {
        uint8_t b[8];
        st64(b, take(f, (unsigned)MIN(len - i, (size_t)8)));
        memcpy(p + i, b, MIN(len - i, sizeof(b)));
    }
}

uint64_t fuzz_number(struct fuzz *f)
{
    switch (fuzz_below(f, 8)) {
    case 0:
    case 1:
        return fuzz_below(f, 256);
    case 2:
        return BIT64(fuzz_below(f, 64)) + fuzz_below(f, 5) - 2;
    case 3:
        return UINT64_MAX - fuzz_below(f, 256);
    case 4:
        return BIT64(fuzz_below(f, 64)) | BIT64(fuzz_below(f, 64));
    case 5:
        return take(f, 2);
    case 6:
        return take(f, 4);
    default:
        return take(f, 8);
    }
}

/* ---- watching -------------------------------------------------------------------------------- */

/* Sanitizers that find something call this last. */
void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));
void __sanitizer_print_stack_trace(void) __attribute__((weak));

static void say_case(void)
{
    if (write(STDERR_FILENO, running, strlen(running)) < 0)
        return;
}

static void on_abort(int sig)
{
    say_case(); /* then abort() goes on */
}

static void on_timer(int sig)
{
    static const char text[] = "a step took too long\n";
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
        return;
    if (__sanitizer_print_stack_trace)
        __sanitizer_print_stack_trace();
    abort();
}

/* Not every build sets -fno-sanitize-recover. */
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return "halt_on_error=1:print_stacktrace=1";
}

void fuzz_fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    abort();
}

void fuzz_case(uint64_t seed, uint64_t number)
{
    snprintf(running, sizeof(running), "%s: --seed %llu --first %llu --cases 1\n", fuzz_target.name,
             (unsigned long long)seed, (unsigned long long)number);
}

void fuzz_begin(const char *what)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(running, sizeof(running), "%s: %s\n", fuzz_target.name, what);
    signal(SIGPROF, on_timer);
    signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(say_case);
    snprintf(directory, sizeof(directory), "%s/tnm-fuzz-XXXXXX",
             tmp && strlen(tmp) < 32         ? tmp
             : access("/dev/shm", W_OK) == 0 ? "/dev/shm" /* where flushes cost nothing */
                                             : "/tmp");
    FUZZ_ASSERT(mkdtemp(directory), "cannot make a directory like %s", directory);
    fuzz_target.init(directory);
}

void fuzz_end(void)
{
    struct dirent *e;

    arm(0);
    if (fuzz_target.fini)
        fuzz_target.fini();
    DIR *d = opendir(directory);
    while (d && (e = readdir(d))) {
        char path[sizeof(directory) + sizeof(e->d_name) + 1];
        snprintf(path, sizeof(path), "%s/%s", directory, e->d_name);
        unlink(path); /* says no to . and .. */
    }
    if (d)
        closedir(d);
    rmdir(directory);
}

void fuzz_write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    FUZZ_ASSERT(f && fwrite(data, 1, len, f) == len && !fclose(f), "cannot write %s", path);
}
