/* Fixed-width types, little-endian access to unaligned memory, and bit helpers.
 * Guest memory is little-endian whatever the host is; ld and st functions are the only way that
 * code outside generated code touches it.
 */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define BIT(n) (1u << (n))
#define BIT64(n) (1ull << (n))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

#define KIB (1024ull)
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LE16(x) ((uint16_t)(x))
#define LE32(x) ((uint32_t)(x))
#define LE64(x) ((uint64_t)(x))
#else
#define LE16(x) __builtin_bswap16(x)
#define LE32(x) __builtin_bswap32(x)
#define LE64(x) __builtin_bswap64(x)
#endif

/* Guest memory is read and written by virtual CPUs on several threads as the guest likes: such a race is the
 * guest's, not one of ours that ThreadSanitizer is to tell of. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GUEST_RACES __attribute__((no_sanitize("thread")))
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define GUEST_RACES __attribute__((no_sanitize_thread))
#endif
#ifndef GUEST_RACES
#define GUEST_RACES
#endif

GUEST_RACES static inline uint8_t ld8(const void *p)
{
    return *(const uint8_t *)p;
}

GUEST_RACES static inline uint16_t ld16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return LE16(v);
}

GUEST_RACES static inline uint32_t ld32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return LE32(v);
}

GUEST_RACES static inline uint64_t ld64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return LE64(v);
}

GUEST_RACES static inline void st8(void *p, uint8_t v)
{
    *(uint8_t *)p = v;
}

GUEST_RACES static inline void st16(void *p, uint16_t v)
{
    v = LE16(v);
    memcpy(p, &v, 2);
}

GUEST_RACES static inline void st32(void *p, uint32_t v)
{
    v = LE32(v);
    memcpy(p, &v, 4);
}

GUEST_RACES static inline void st64(void *p, uint64_t v)
{
    v = LE64(v);
    memcpy(p, &v, 8);
}

/* Reads size bytes (1, 2, 4 or 8), zero-extended. */
static inline uint64_t ld_sized(const void *p, unsigned size)
{
    switch (size) {
    case 1:
        return ld8(p);
    case 2:
        return ld16(p);
    case 4:
        return ld32(p);
    default:
        return ld64(p);
    }
}

/* Writes the low size bytes (1, 2, 4 or 8) of v. */
static inline void st_sized(void *p, uint64_t v, unsigned size)
{
    switch (size) {
    case 1:
        st8(p, (uint8_t)v);
        break;
    case 2:
        st16(p, (uint16_t)v);
        break;
    case 4:
        st32(p, (uint32_t)v);
        break;
    default:
        st64(p, v);
        break;
    }
}

/* The field of len bits (1 to 63) that starts at bit lo. */
static inline uint64_t bits_get(uint64_t v, unsigned lo, unsigned len)
{
    return (v >> lo) & ((1ull << len) - 1);
}

static inline uint64_t bits_set(uint64_t v, unsigned lo, unsigned len, uint64_t field)
{
    uint64_t mask = ((1ull << len) - 1) << lo;
    return (v & ~mask) | ((field << lo) & mask);
}

static inline uint64_t align_down(uint64_t v, uint64_t to)
{
    return v & ~(to - 1);
}

static inline uint64_t align_up(uint64_t v, uint64_t to)
{
    return (v + to - 1) & ~(to - 1);
}

/* Binary-coded decimal, one byte; v is 0 to 99. */
static inline uint8_t to_bcd(unsigned v)
{
    return (uint8_t)(v / 10 << 4 | v % 10);
}

static inline unsigned from_bcd(uint8_t v)
{
    return (v >> 4) * 10u + (v & 15);
}

#endif
