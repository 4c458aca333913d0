/* Others' vectors: recordings and known answers that are no part of this tree. They are looked for
 * in the folder that the environment variable TINAMOU_VECTORS names, by default
 * TINAMOU_VECTORS_DEFAULT; a test without them says "not present" and passes.
 */
#ifndef TESTS_INSN_VECTORS_H
#define TESTS_INSN_VECTORS_H

#include <stdbool.h>
#include <stddef.h>

/* Path of a file of the folder in buf. False: not present, and said so on stdout. */
bool vectors_path(const char *name, char *buf, size_t size);

/* Lines of a gzip file, one after the other, in a buffer that grows; NULL at the end. */
struct gzlines;
struct gzlines *gzlines_open(const char *path);
char *gzlines_next(struct gzlines *g);
void gzlines_close(struct gzlines *g);

/* Unpacks an archive of the folder with tar into a folder of that name in the current one (the
 * build's). False: not present, or tar failed. */
bool vectors_unpack(const char *archive, const char *dir);

#endif
