/* 128-bit unsigned arithmetic for software floating point: the same on every host. Where the
 * compiler has __int128 these become one or two host instructions; 32-bit hosts take the long way.
 */
#ifndef CPU_WIDE_H
#define CPU_WIDE_H

#include "base/bits.h"

struct u128 {
    uint64_t hi, lo;
};

static inline struct u128 u128_make(uint64_t hi, uint64_t lo)
{
    return (struct u128){hi, lo};
}

static inline struct u128 u128_add(struct u128 a, struct u128 b)
{
    uint64_t lo = a.lo + b.lo;
    return u128_make(a.hi + b.hi + (lo < a.lo), lo);
}

static inline struct u128 u128_sub(struct u128 a, struct u128 b)
{
    return u128_make(a.hi - b.hi - (a.lo < b.lo), a.lo - b.lo);
}

static inline bool u128_lt(struct u128 a, struct u128 b)
{
    return a.hi < b.hi || (a.hi == b.hi && a.lo < b.lo);
}

static inline bool u128_is_zero(struct u128 a)
{
    return !(a.hi | a.lo);
}

/* Shifts by any count; what is shifted in is 0. */
static inline struct u128 u128_shl(struct u128 a, unsigned n)
{
    if (n == 0)
        return a;
    if (n < 64)
        return u128_make(a.hi << n | a.lo >> (64 - n), a.lo << n);
    return n < 128 ? u128_make(a.lo << (n - 64), 0) : u128_make(0, 0);
}

static inline struct u128 u128_shr(struct u128 a, unsigned n)
{
    if (n == 0)
        return a;
    if (n < 64)
        return u128_make(a.hi >> n, a.lo >> n | a.hi << (64 - n));
    return n < 128 ? u128_make(0, a.hi >> (n - 64)) : u128_make(0, 0);
}

/* Right shift that keeps, in the lowest bit, whether anything was lost. */
static inline struct u128 u128_shr_jam(struct u128 a, unsigned n)
{
    if (n >= 128)
        return u128_make(0, (a.hi | a.lo) != 0);
    struct u128 r = u128_shr(a, n);
    struct u128 back = u128_shl(r, n);
    r.lo |= back.hi != a.hi || back.lo != a.lo;
    return r;
}

static inline unsigned clz64(uint64_t v) /* v is not 0 */
{
    return (unsigned)__builtin_clzll(v);
}

static inline unsigned u128_clz(struct u128 a) /* a is not 0 */
{
    return a.hi ? clz64(a.hi) : 64 + clz64(a.lo);
}

#ifdef __SIZEOF_INT128__

static inline struct u128 mul64(uint64_t a, uint64_t b)
{
    unsigned __int128 p = (unsigned __int128)a * b;
    return u128_make((uint64_t)(p >> 64), (uint64_t)p);
}

/* n / d where n.hi < d, so that the quotient fits. */
static inline uint64_t div128_64(struct u128 n, uint64_t d, uint64_t *rem)
{
    unsigned __int128 v = (unsigned __int128)n.hi << 64 | n.lo;
    *rem = (uint64_t)(v % d);
    return (uint64_t)(v / d);
}

#else

static inline struct u128 mul64(uint64_t a, uint64_t b)
{
    uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
    uint64_t ll = al * bl, lh = al * bh, hl = ah * bl, hh = ah * bh;
    uint64_t mid = (ll >> 32) + (uint32_t)lh + (uint32_t)hl;
    return u128_make(hh + (lh >> 32) + (hl >> 32) + (mid >> 32), mid << 32 | (uint32_t)ll);
}

static inline uint64_t div128_64(struct u128 n, uint64_t d, uint64_t *rem)
{
    uint64_t r = n.hi, q = 0;
    for (int i = 63; i >= 0; i--) {
        bool carry = r >> 63;
        r = r << 1 | (n.lo >> i & 1);
        if (carry || r >= d) {
            r -= d;
            q |= 1ull << i;
        }
    }
    *rem = r;
    return q;
}

#endif

/* The upper 128 bits of a 128 by 128 product, at most 2 below the exact value's. */
static inline struct u128 u128_mul_hi(struct u128 a, struct u128 b)
{
    struct u128 hh = mul64(a.hi, b.hi), hl = mul64(a.hi, b.lo), lh = mul64(a.lo, b.hi);
    struct u128 r = u128_add(hh, u128_make(0, hl.hi));
    r = u128_add(r, u128_make(0, lh.hi));
    uint64_t mid = hl.lo + lh.lo;
    return u128_add(r, u128_make(0, mid < hl.lo));
}

/* a * 2^128 / b for a < b and b with its top bit set, rounded down. */
static inline struct u128 u128_div_frac(struct u128 a, struct u128 b)
{
    uint64_t digit[2];
    for (int i = 0; i < 2; i++) {
        /* Estimate the digit from the top 64 bits of b: at most 2 too large. */
        uint64_t q, rem;
        if (a.hi >= b.hi)
            q = UINT64_MAX;
        else
            q = div128_64(a, b.hi, &rem);
        struct u128 lo = mul64(q, b.lo), hi = mul64(q, b.hi);
        /* prod = q * b as three words: p2 p1 p0 */
        uint64_t p0 = lo.lo, p1 = lo.hi + hi.lo, p2 = hi.hi + (p1 < lo.hi);
        /* (a.hi a.lo 0) - prod, which is negative when q is too large */
        uint64_t r0 = 0 - p0;
        uint64_t borrow = p0 != 0;
        uint64_t r1 = a.lo - p1, b1 = a.lo < p1;
        b1 |= r1 < borrow;
        r1 -= borrow;
        uint64_t r2 = a.hi - p2 - b1;
        while (r2 >> 63) {
            q--;
            uint64_t s0 = r0 + b.lo, c = s0 < r0;
            uint64_t s1 = r1 + b.hi, c1 = s1 < r1;
            s1 += c;
            c1 |= s1 < c;
            r0 = s0;
            r1 = s1;
            r2 += c1;
        }
        digit[i] = q;
        a = u128_make(r1, r0);
    }
    return u128_make(digit[0], digit[1]);
}

#endif
