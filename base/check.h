/* Assertions: for our own bugs only. A guest's mistake becomes a guest fault, a host's mistake an
 * error code; neither may ever reach a CHECK.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include <assert.h>

#define CHECK(cond) assert(cond)
#define CHECK_UNREACHABLE() assert(!"unreachable")

#endif
