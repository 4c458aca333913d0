/* --jit-symbols: names for translated code, so that perf and GDB show what of the guest runs. A name is
 * tnm_u64_0000000000401000: user or kernel code, its width, its linear address in the guest.
 */
#ifndef FRONTEND_SYMBOLS_H
#define FRONTEND_SYMBOLS_H

#include "include/tinamou.h"

struct symbols;

/* NULL, with the reason on stderr, if it cannot be done. Only one at a time may have gdb. */
struct symbols *symbols_open(bool perf, bool gdb);
void symbols_close(struct symbols *s);
/* tnm_config.code_made and code_dropped; any thread. */
void symbols_made(struct symbols *s, const tnm_host_code *code);
void symbols_dropped(struct symbols *s, const void *host, size_t size);

/* ---- symbols_gdb.c: without locks -------------------------------------------------------------- */

struct gdb_symbols;
struct gdb_symbols *gdb_symbols_new(void);
void gdb_symbols_free(struct gdb_symbols *g);
void gdb_symbols_add(struct gdb_symbols *g, const tnm_host_code *code, const char *name);
void gdb_symbols_remove(struct gdb_symbols *g, const void *host, size_t size);

#endif
