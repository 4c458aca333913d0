/* Judges vmstate tables by the program's own debug data: every byte of a struct's members must be
 * covered once, by a field of the right shape or by a skip with its reason; what is left is padding.
 *
 *     struct debug_info *d = debug_info_open((uintptr_t)&vm_cpu, "vm_cpu");
 *     const char *wrong = coverage_of(d, table);     NULL if nothing is
 *
 * All tables of the program are found by their type, static ones too: nobody can forget to name
 * one here.
 */
#ifndef TESTS_UNIT_VMSTATE_COVERAGE_H
#define TESTS_UNIT_VMSTATE_COVERAGE_H

#include "snapshots/vmstate.h"

struct debug_info;

/* Of this program. The address and name of any external variable tell where it was loaded. NULL:
 * there is no debug data. */
struct debug_info *debug_info_open(uintptr_t address, const char *name);
void debug_info_close(struct debug_info *d);

/* Calls found for each variable "struct <type>" or "const struct <type>" of the program. */
void debug_info_variables(struct debug_info *d, const char *type,
                          void (*found)(void *opaque, const char *name, const void *variable),
                          void *opaque);

/* What is wrong with a table, one complaint a line; NULL if nothing is. Valid until the next call. */
const char *coverage_of(struct debug_info *d, const struct vmstate *vm);

#endif
