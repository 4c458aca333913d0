/* --jit-symbols: see symbols.h. perf reads /tmp/perf-PID.map (tools/perf/Documentation/jit-interface.txt
 * in Linux's sources): a line for each piece of code, with address and size in hexadecimal, and its name.
 * The file has no way to say that code is gone: where other code came to lie, both names are in it.
 */
#include "frontend/symbols.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct symbols {
    pthread_mutex_t lock; /* vCPUs translate on threads of their own */
    FILE *map;            /* perf's, or NULL */
    struct gdb_symbols *gdb;
};

/* The name is perf's, in a folder where others may have put something under it. */
static FILE *open_map(void)
{
    char path[64];
    FILE *f = NULL;
    int fd;

    snprintf(path, sizeof(path), "/tmp/perf-%ld.map", (long)getpid());
    unlink(path); /* of a process that had our number */
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd >= 0 && !(f = fdopen(fd, "w")))
        close(fd);
    if (f)
        setvbuf(f, NULL, _IOLBF,
                4096); /* what is there when the program is killed is whole lines */
    else
        fprintf(stderr,
                "tinamou: cannot write %s: %s: remove it, or leave out --jit-symbols perf\n", path,
                strerror(errno));
    return f;
}

struct symbols *symbols_open(bool perf, bool gdb)
{
    struct symbols *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    pthread_mutex_init(&s->lock, NULL);
    if ((perf && !(s->map = open_map())) || (gdb && !(s->gdb = gdb_symbols_new()))) {
        symbols_close(s);
        return NULL;
    }
    return s;
}

void symbols_close(struct symbols *s)
{
    if (!s)
        return;
    if (s->map)
        fclose(s->map);
    gdb_symbols_free(s->gdb);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void symbols_made(struct symbols *s, const tnm_host_code *code)
{
    char name[48];

    if (code->bits)
        snprintf(name, sizeof(name), "tnm_%c%u_%016" PRIx64, code->user ? 'u' : 'k', code->bits,
                 code->address);
    else
        snprintf(name, sizeof(name), "tnm_routines_%u", code->cpu);
    pthread_mutex_lock(&s->lock);
    if (s->map)
        fprintf(s->map, "%" PRIxPTR " %zx %s\n", (uintptr_t)code->host, code->size, name);
    if (s->gdb)
        gdb_symbols_add(s->gdb, code, name);
    pthread_mutex_unlock(&s->lock);
}

void symbols_dropped(struct symbols *s, const void *host, size_t size)
{
    pthread_mutex_lock(&s->lock);
    if (s->gdb)
        gdb_symbols_remove(s->gdb, host, size);
    pthread_mutex_unlock(&s->lock);
}
