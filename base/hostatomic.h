/* Guest memory as several threads change it at once: compare-and-swap of what one instruction of the
 * host can do. Values are the guest's, little-endian in memory whatever the host is.
 *
 * Addresses must be such that the operand lies in one naturally aligned word of 8 bytes (16 for
 * host_cas16): then every host does it in one step, and no host takes a bus lock for it.
 */
#ifndef BASE_HOSTATOMIC_H
#define BASE_HOSTATOMIC_H

#include "base/bits.h"

/* Other threads see stores of this one, and this one theirs, in the order of the program, as x86
 * guests count on: only loads may pass older stores. */
#if defined(__x86_64__) || defined(__i386__) || defined(__s390x__)
#define HOST_IS_TSO 1
#else
#define HOST_IS_TSO 0
#endif

static inline bool host_in_word(const void *p, unsigned size)
{
    return ((uintptr_t)p & 7) + size <= 8;
}

/* *p = fresh if it is old; size 1, 2, 4 or 8, host_in_word. A full barrier. */
bool host_cas(void *p, unsigned size, uint64_t old, uint64_t fresh);
/* The same for 16 bytes, 16-aligned, low half first; false in *can if this host has no such
 * instruction. */
bool host_cas16(void *p, const uint64_t old[2], const uint64_t fresh[2], bool *can);

#endif
