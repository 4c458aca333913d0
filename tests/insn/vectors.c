/* Finding and reading others' vectors: see vectors.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "tests/insn/vectors.h"

#ifndef TINAMOU_VECTORS_DEFAULT
#define TINAMOU_VECTORS_DEFAULT "../shared/vectors"
#endif

bool vectors_path(const char *name, char *buf, size_t size)
{
    const char *dir = getenv("TINAMOU_VECTORS");
    int n = snprintf(buf, size, "%s/%s", dir ? dir : TINAMOU_VECTORS_DEFAULT, name);
    if (n > 0 && (size_t)n < size && access(buf, R_OK) == 0)
        return true;
    printf("%s: not present\n", name);
    return false;
}

struct gzlines {
    gzFile file;
    char *line;
    size_t size;
};

struct gzlines *gzlines_open(const char *path)
{
    struct gzlines *g = calloc(1, sizeof(*g));
    if (!g)
        return NULL;
    g->size = 1 << 16;
    g->line = malloc(g->size);
    g->file = gzopen(path, "rb");
    if (!g->line || !g->file) {
        gzlines_close(g);
        return NULL;
    }
    gzbuffer(g->file, 1 << 18);
    return g;
}

char *gzlines_next(struct gzlines *g)
{
    size_t n = 0;
    while (gzgets(g->file, g->line + n, (int)(g->size - n))) {
        n += strlen(g->line + n);
        if (n && g->line[n - 1] == '\n') {
            g->line[n - 1] = 0;
            return g->line;
        }
        if (n + 1 == g->size) {
            char *more = realloc(g->line, g->size * 2);
            if (!more)
                return NULL;
            g->line = more;
            g->size *= 2;
        }
    }
    return n ? g->line : NULL;
}

void gzlines_close(struct gzlines *g)
{
    if (!g)
        return;
    if (g->file)
        gzclose(g->file);
    free(g->line);
    free(g);
}

bool vectors_unpack(const char *archive, const char *dir)
{
    char path[4096];
    int status;
    pid_t child;

    if (!vectors_path(archive, path, sizeof(path)))
        return false;
    mkdir(dir, 0777);
    child = fork();
    if (child == 0) {
        execlp("tar", "tar", "-xf", path, "-C", dir, (char *)NULL);
        _exit(127);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}
