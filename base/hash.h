/* A 64-bit hash for state comparison (not for security): the same on every host. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/bits.h"

/* Hashes len bytes, starting from seed (chain calls by passing the last result). */
uint64_t hash64(const void *data, size_t len, uint64_t seed);

#endif
