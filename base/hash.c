/* The state hash: four independent multiply-and-rotate lanes, so that the multiplier's latency
 * does not bound the speed over gigabytes of RAM, folded by a full avalanche. Words are read as
 * little-endian, so the value is the same on every host. Snapshot files hold such hashes, and
 * docs/snapshot-format.md describes the function: it never changes. */
#include "base/hash.h"

#define K1 0x9e3779b97f4a7c15ull /* 2^64 / golden ratio */
#define K2 0xd6e8feb86659fd93ull /* odd, with well-spread bits */

static inline uint64_t rotl(uint64_t v, unsigned n)
{
    return v << n | v >> (64 - n);
}

static inline uint64_t lane(uint64_t h, uint64_t word)
{
    return rotl(h ^ word * K1, 29) * K2;
}

static uint64_t avalanche(uint64_t h)
{
    h = (h ^ h >> 32) * K2;
    h = (h ^ h >> 32) * K2;
    return h ^ h >> 32;
}

uint64_t hash64(const void *data, size_t len, uint64_t seed)
{
    const uint8_t *p = data;
    uint64_t h[4] = {seed ^ K1, rotl(seed, 16) + K2, rotl(seed, 32) ^ len, seed + K1 * K2};
    uint8_t tail[8] = {0};

    for (size_t n = len / 32; n; n--, p += 32) {
        h[0] = lane(h[0], ld64(p));
        h[1] = lane(h[1], ld64(p + 8));
        h[2] = lane(h[2], ld64(p + 16));
        h[3] = lane(h[3], ld64(p + 24));
    }
    for (size_t n = len % 32 / 8; n; n--, p += 8)
        h[0] = lane(h[0], ld64(p));
    if (len % 8) {
        memcpy(tail, p, len % 8);
        h[1] = lane(h[1], ld64(tail));
    }
    return avalanche(lane(lane(lane(h[0], h[1]), h[2]), h[3]) ^ len);
}
