/* What MMX, SSE and AVX integer instructions compute, one 128-bit lane (or one 64-bit MMX register)
 * at a time, in the host's byte order.
 *
 * A kernel knows nothing of operands: it reads lanes a and b and writes lane d, which is never one
 * of them. `bytes` is 8 or 16 and a constant once inlined, so the loops become vector code. 256-bit
 * AVX forms call a kernel for each lane: no instruction listed here moves data between lanes there.
 *
 * The lists at the end name every kernel with the element sizes it reads and writes, which
 * lane_get() and lane_put() need on big-endian hosts; cpu/simd_int.c and the tests expand them.
 */
#ifndef CPU_SIMD_KERNELS_H
#define CPU_SIMD_KERNELS_H

#include "cpu/simd.h"

union lane {
    uint8_t b[16];
    uint16_t w[8];
    uint32_t d[4];
    uint64_t q[2];
    int8_t sb[16];
    int16_t sw[8];
    int32_t sd[4];
    int64_t sq[2];
};

/* Brings elements from memory order to the host's and back: nothing on little-endian hosts. */
VEC_INLINE void lane_swap(union lane *l, unsigned bytes, unsigned element)
{
    unsigned k;

    if (element == 2)
        for (k = 0; k < bytes / 2; k++)
            l->w[k] = LE16(l->w[k]);
    else if (element == 4)
        for (k = 0; k < bytes / 4; k++)
            l->d[k] = LE32(l->d[k]);
    else if (element == 8)
        for (k = 0; k < bytes / 8; k++)
            l->q[k] = LE64(l->q[k]);
}

VEC_INLINE void lane_get(union lane *l, const uint8_t *p, unsigned bytes, unsigned element)
{
    memcpy(l, p, bytes);
    lane_swap(l, bytes, element);
}

VEC_INLINE void lane_put(uint8_t *p, union lane *l, unsigned bytes, unsigned element)
{
    lane_swap(l, bytes, element);
    memcpy(p, l, bytes);
}

static inline int sat_s8(int v)
{
    return v > 127 ? 127 : v < -128 ? -128 : v;
}
static inline int sat_u8(int v)
{
    return v > 255 ? 255 : v < 0 ? 0 : v;
}
static inline int sat_s16(int v)
{
    return v > 32767 ? 32767 : v < -32768 ? -32768 : v;
}
static inline int sat_u16(int v)
{
    return v > 65535 ? 65535 : v < 0 ? 0 : v;
}

typedef void lane_kernel(union lane *d, const union lane *a, const union lane *b, unsigned bytes);
typedef void lane_kernel_imm(union lane *d, const union lane *a, const union lane *b, unsigned imm,
                             unsigned bytes);
typedef void lane_kernel_shift(union lane *d, const union lane *a, uint64_t count, unsigned bytes);

#define KERNEL(name)                                                                               \
    VEC_INLINE void k_##name(union lane *d, const union lane *a, const union lane *b,              \
                             unsigned bytes)

/* ---- one element of each operand to one of the result ---------------------------------------- */

#define EACH(name, m, T, expr)                                                                     \
    KERNEL(name)                                                                                   \
    {                                                                                              \
        for (unsigned k = 0; k < bytes / sizeof(T); k++) {                                         \
            T x = a->m[k], y = b->m[k];                                                            \
            (void)x;                                                                               \
            d->m[k] = (T)(expr);                                                                   \
        }                                                                                          \
    }

EACH(paddb, b, uint8_t, x + y)
EACH(paddw, w, uint16_t, x + y)
EACH(paddd, d, uint32_t, x + y)
EACH(paddq, q, uint64_t, x + y)
EACH(psubb, b, uint8_t, x - y)
EACH(psubw, w, uint16_t, x - y)
EACH(psubd, d, uint32_t, x - y)
EACH(psubq, q, uint64_t, x - y)
EACH(paddsb, sb, int8_t, sat_s8(x + y))
EACH(paddsw, sw, int16_t, sat_s16(x + y))
EACH(paddusb, b, uint8_t, sat_u8(x + y))
EACH(paddusw, w, uint16_t, sat_u16(x + y))
EACH(psubsb, sb, int8_t, sat_s8(x - y))
EACH(psubsw, sw, int16_t, sat_s16(x - y))
EACH(psubusb, b, uint8_t, sat_u8(x - y))
EACH(psubusw, w, uint16_t, sat_u16(x - y))
EACH(pmullw, w, uint16_t, (uint32_t)x * y)
EACH(pmulhw, sw, int16_t, (x * y) >> 16)
EACH(pmulhuw, w, uint16_t, ((uint32_t)x * y) >> 16)
EACH(pmulhrsw, sw, int16_t, ((x * y >> 14) + 1) >> 1)
EACH(pmulld, d, uint32_t, x *y)
EACH(pmuludq, q, uint64_t, (x & 0xffffffff) * (y & 0xffffffff))
EACH(pmuldq, sq, int64_t, (int64_t)(int32_t)x * (int32_t)y)
EACH(pavgb, b, uint8_t, (x + y + 1) >> 1)
EACH(pavgw, w, uint16_t, (x + y + 1) >> 1)
EACH(pminub, b, uint8_t, x < y ? x : y)
EACH(pminuw, w, uint16_t, x < y ? x : y)
EACH(pminud, d, uint32_t, x < y ? x : y)
EACH(pminsb, sb, int8_t, x < y ? x : y)
EACH(pminsw, sw, int16_t, x < y ? x : y)
EACH(pminsd, sd, int32_t, x < y ? x : y)
EACH(pmaxub, b, uint8_t, x > y ? x : y)
EACH(pmaxuw, w, uint16_t, x > y ? x : y)
EACH(pmaxud, d, uint32_t, x > y ? x : y)
EACH(pmaxsb, sb, int8_t, x > y ? x : y)
EACH(pmaxsw, sw, int16_t, x > y ? x : y)
EACH(pmaxsd, sd, int32_t, x > y ? x : y)
EACH(pcmpeqb, b, uint8_t, x == y ? -1 : 0)
EACH(pcmpeqw, w, uint16_t, x == y ? -1 : 0)
EACH(pcmpeqd, d, uint32_t, x == y ? -1 : 0)
EACH(pcmpeqq, q, uint64_t, x == y ? -1 : 0)
EACH(pcmpgtb, sb, int8_t, x > y ? -1 : 0)
EACH(pcmpgtw, sw, int16_t, x > y ? -1 : 0)
EACH(pcmpgtd, sd, int32_t, x > y ? -1 : 0)
EACH(pcmpgtq, sq, int64_t, x > y ? -1 : 0)
EACH(psignb, sb, int8_t, y < 0 ? -x : y ? x : 0)
EACH(psignw, sw, int16_t, y < 0 ? -x : y ? x : 0)
EACH(psignd, d, uint32_t, (int32_t)y < 0 ? 0u - x : y ? x : 0)
EACH(pabsb, b, uint8_t, (int8_t)y < 0 ? -y : y)
EACH(pabsw, w, uint16_t, (int16_t)y < 0 ? -y : y)
EACH(pabsd, d, uint32_t, (int32_t)y < 0 ? 0u - y : y)
EACH(pand, q, uint64_t, x &y)
EACH(pandn, q, uint64_t, ~x & y)
EACH(por, q, uint64_t, x | y)
EACH(pxor, q, uint64_t, x ^ y)
/* AVX: shifts with a count for each element, shuffles controlled by a register */
EACH(psrlvd, d, uint32_t, y < 32 ? x >> y : 0)
EACH(psrlvq, q, uint64_t, y < 64 ? x >> y : 0)
EACH(psllvd, d, uint32_t, y < 32 ? x << y : 0)
EACH(psllvq, q, uint64_t, y < 64 ? x << y : 0)
EACH(psravd, sd, int32_t, x >> ((uint32_t)y < 32 ? y : 31))
EACH(permilps_by, d, uint32_t, a->d[y & 3])
EACH(permilpd_by, q, uint64_t, a->q[y >> 1 & 1])
#undef EACH

/* ---- neighbours ------------------------------------------------------------------------------ */

#define UNPACK(name, m, T, high)                                                                   \
    KERNEL(name)                                                                                   \
    {                                                                                              \
        unsigned half = bytes / sizeof(T) / 2, from = (high) ? half : 0;                           \
        for (unsigned k = 0; k < half; k++) {                                                      \
            d->m[2 * k] = a->m[from + k];                                                          \
            d->m[2 * k + 1] = b->m[from + k];                                                      \
        }                                                                                          \
    }
UNPACK(punpcklbw, b, uint8_t, 0)
UNPACK(punpcklwd, w, uint16_t, 0)
UNPACK(punpckldq, d, uint32_t, 0)
UNPACK(punpcklqdq, q, uint64_t, 0)
UNPACK(punpckhbw, b, uint8_t, 1)
UNPACK(punpckhwd, w, uint16_t, 1)
UNPACK(punpckhdq, d, uint32_t, 1)
UNPACK(punpckhqdq, q, uint64_t, 1)
#undef UNPACK

#define PACK(name, from, to, n, sat)                                                               \
    KERNEL(name)                                                                                   \
    {                                                                                              \
        unsigned half = bytes / (n);                                                               \
        for (unsigned k = 0; k < half; k++) {                                                      \
            d->to[k] = sat(a->from[k]);                                                            \
            d->to[half + k] = sat(b->from[k]);                                                     \
        }                                                                                          \
    }
PACK(packsswb, sw, sb, 2, (int8_t)sat_s8)
PACK(packuswb, sw, b, 2, (uint8_t)sat_u8)
PACK(packssdw, sd, sw, 4, (int16_t)sat_s16)
PACK(packusdw, sd, w, 4, (uint16_t)sat_u16)
#undef PACK

#define HORIZONTAL(name, m, T, expr)                                                               \
    KERNEL(name)                                                                                   \
    {                                                                                              \
        unsigned half = bytes / sizeof(T) / 2;                                                     \
        for (unsigned k = 0; k < half; k++) {                                                      \
            T x = a->m[2 * k], y = a->m[2 * k + 1];                                                \
            d->m[k] = (T)(expr);                                                                   \
            x = b->m[2 * k], y = b->m[2 * k + 1];                                                  \
            d->m[half + k] = (T)(expr);                                                            \
        }                                                                                          \
    }
HORIZONTAL(phaddw, w, uint16_t, x + y)
HORIZONTAL(phaddd, d, uint32_t, x + y)
HORIZONTAL(phaddsw, sw, int16_t, sat_s16(x + y))
HORIZONTAL(phsubw, w, uint16_t, x - y)
HORIZONTAL(phsubd, d, uint32_t, x - y)
HORIZONTAL(phsubsw, sw, int16_t, sat_s16(x - y))
#undef HORIZONTAL

KERNEL(pmaddwd)
{
    /* Only -32768 four times overflows, to 0x80000000. */
    for (unsigned k = 0; k < bytes / 4; k++)
        d->d[k] = (uint32_t)(a->sw[2 * k] * b->sw[2 * k]) +
                  (uint32_t)(a->sw[2 * k + 1] * b->sw[2 * k + 1]);
}

KERNEL(pmaddubsw)
{
    for (unsigned k = 0; k < bytes / 2; k++)
        d->sw[k] = (int16_t)sat_s16(a->b[2 * k] * b->sb[2 * k] +
                                    a->b[2 * k + 1] * b->sb[2 * k + 1]);
}

KERNEL(psadbw)
{
    for (unsigned q = 0; q < bytes / 8; q++) {
        unsigned sum = 0;
        for (unsigned k = 8 * q; k < 8 * q + 8; k++)
            sum += (unsigned)(a->b[k] > b->b[k] ? a->b[k] - b->b[k] : b->b[k] - a->b[k]);
        d->q[q] = sum;
    }
}

KERNEL(pshufb)
{
    for (unsigned k = 0; k < bytes; k++)
        d->b[k] = b->b[k] & 0x80 ? 0 : a->b[b->b[k] & (bytes - 1)];
}

KERNEL(phminposuw)
{
    unsigned at = 0;

    (void)a, (void)bytes;
    for (unsigned k = 1; k < 8; k++)
        if (b->w[k] < b->w[at])
            at = k;
    memset(d, 0, sizeof(*d));
    d->w[0] = b->w[at];
    d->w[1] = (uint16_t)at;
}

/* ---- shifts by one count for all elements ---------------------------------------------------- */

#define SHIFT(name, m, T, over, expr)                                                              \
    VEC_INLINE void k_##name(union lane *d, const union lane *a, uint64_t count, unsigned bytes)   \
    {                                                                                              \
        unsigned bits = sizeof(T) * 8, n = (unsigned)count;                                        \
        if (count >= bits) {                                                                       \
            n = bits - 1;                                                                          \
            if (!(over)) {                                                                         \
                memset(d, 0, bytes);                                                               \
                return;                                                                            \
            }                                                                                      \
        }                                                                                          \
        for (unsigned k = 0; k < bytes / sizeof(T); k++) {                                         \
            T x = a->m[k];                                                                         \
            d->m[k] = (T)(expr);                                                                   \
        }                                                                                          \
    }
/* over: larger counts act as the largest (arithmetic shifts) instead of giving 0 */
SHIFT(psrlw, w, uint16_t, 0, x >> n)
SHIFT(psrld, d, uint32_t, 0, x >> n)
SHIFT(psrlq, q, uint64_t, 0, x >> n)
SHIFT(psllw, w, uint16_t, 0, (uint32_t)x << n)
SHIFT(pslld, d, uint32_t, 0, x << n)
SHIFT(psllq, q, uint64_t, 0, x << n)
SHIFT(psraw, sw, int16_t, 1, x >> n)
SHIFT(psrad, sd, int32_t, 1, x >> n)
#undef SHIFT

/* ---- with an immediate ----------------------------------------------------------------------- */

#define KERNEL_IMM(name)                                                                           \
    VEC_INLINE void k_##name(union lane *d, const union lane *a, const union lane *b,              \
                             unsigned imm, unsigned bytes)

KERNEL_IMM(pshufd)
{
    (void)a;
    for (unsigned k = 0; k < bytes / 4; k++)
        d->d[k] = b->d[imm >> (2 * k) & 3];
}

KERNEL_IMM(pshufw)
{
    (void)a, (void)bytes;
    for (unsigned k = 0; k < 4; k++)
        d->w[k] = b->w[imm >> (2 * k) & 3];
}

KERNEL_IMM(pshuflw)
{
    k_pshufw(d, a, b, imm, bytes);
    d->w[4] = b->w[4], d->w[5] = b->w[5], d->w[6] = b->w[6], d->w[7] = b->w[7];
}

KERNEL_IMM(pshufhw)
{
    (void)a, (void)bytes;
    for (unsigned k = 0; k < 4; k++) {
        d->w[k] = b->w[k];
        d->w[4 + k] = b->w[4 + (imm >> (2 * k) & 3)];
    }
}

KERNEL_IMM(shufps)
{
    (void)bytes;
    d->d[0] = a->d[imm & 3];
    d->d[1] = a->d[imm >> 2 & 3];
    d->d[2] = b->d[imm >> 4 & 3];
    d->d[3] = b->d[imm >> 6 & 3];
}

KERNEL_IMM(shufpd)
{
    (void)bytes;
    d->q[0] = a->q[imm & 1];
    d->q[1] = b->q[imm >> 1 & 1];
}

KERNEL_IMM(permilpd)
{
    k_shufpd(d, b, b, imm, bytes);
    (void)a;
}

KERNEL_IMM(palignr)
{
    uint8_t both[48];

    memcpy(both, b, bytes);
    memcpy(both + bytes, a, bytes);
    memset(both + 2 * bytes, 0, bytes);
    memcpy(d, both + MIN(imm, 2 * bytes), bytes);
}

/* PSLLDQ and PSRLDQ shift a by imm bytes. */
KERNEL_IMM(pslldq)
{
    uint8_t buf[32] = {0};

    (void)b;
    memcpy(buf + 16, a, bytes);
    memcpy(d, buf + 16 - MIN(imm, 16u), bytes);
}

KERNEL_IMM(psrldq)
{
    uint8_t buf[32] = {0};

    (void)b;
    memcpy(buf, a, bytes);
    memcpy(d, buf + MIN(imm, 16u), bytes);
}

#define BLEND(name, m, T)                                                                          \
    KERNEL_IMM(name)                                                                               \
    {                                                                                              \
        for (unsigned k = 0; k < bytes / sizeof(T); k++)                                           \
            d->m[k] = imm >> k & 1 ? b->m[k] : a->m[k];                                            \
    }
BLEND(pblendw, w, uint16_t)
BLEND(blendps, d, uint32_t)
BLEND(blendpd, q, uint64_t)
#undef BLEND

KERNEL_IMM(mpsadbw)
{
    unsigned from_a = imm & 4, from_b = (imm & 3) * 4;

    (void)bytes;
    for (unsigned k = 0; k < 8; k++) {
        int sum = 0;
        for (unsigned j = 0; j < 4; j++) {
            int diff = a->b[from_a + k + j] - b->b[from_b + j];
            sum += diff < 0 ? -diff : diff;
        }
        d->w[k] = (uint16_t)sum;
    }
}

/* ---- with a mask: elements of b where the mask element's sign bit is set, else of a ---------- */

#define BLENDV(name, m, T)                                                                         \
    VEC_INLINE void k_##name(union lane *d, const union lane *a, const union lane *b,              \
                             const union lane *mask, unsigned bytes)                               \
    {                                                                                              \
        for (unsigned k = 0; k < bytes / sizeof(T); k++)                                           \
            d->m[k] = mask->m[k] >> (sizeof(T) * 8 - 1) ? b->m[k] : a->m[k];                       \
    }
BLENDV(pblendvb, b, uint8_t)
BLENDV(blendvps, d, uint32_t)
BLENDV(blendvpd, q, uint64_t)
#undef BLENDV

#undef KERNEL
#undef KERNEL_IMM

/* ---- the lists: X(name, bytes of an element read, bytes of an element written) --------------- */

/* Both as MMX and as SSE instructions, whatever the CPUID feature. */
#define KERNELS_MMX_SSE(X)                                                                         \
    X(paddb, 1, 1) X(paddw, 2, 2) X(paddd, 4, 4) X(paddq, 8, 8)                                    \
    X(psubb, 1, 1) X(psubw, 2, 2) X(psubd, 4, 4) X(psubq, 8, 8)                                    \
    X(paddsb, 1, 1) X(paddsw, 2, 2) X(paddusb, 1, 1) X(paddusw, 2, 2)                              \
    X(psubsb, 1, 1) X(psubsw, 2, 2) X(psubusb, 1, 1) X(psubusw, 2, 2)                              \
    X(pmullw, 2, 2) X(pmulhw, 2, 2) X(pmulhuw, 2, 2) X(pmulhrsw, 2, 2) X(pmuludq, 8, 8)            \
    X(pavgb, 1, 1) X(pavgw, 2, 2)                                                                  \
    X(pminub, 1, 1) X(pminsw, 2, 2) X(pmaxub, 1, 1) X(pmaxsw, 2, 2)                                \
    X(pcmpeqb, 1, 1) X(pcmpeqw, 2, 2) X(pcmpeqd, 4, 4)                                             \
    X(pcmpgtb, 1, 1) X(pcmpgtw, 2, 2) X(pcmpgtd, 4, 4)                                             \
    X(psignb, 1, 1) X(psignw, 2, 2) X(psignd, 4, 4)                                                \
    X(pabsb, 1, 1) X(pabsw, 2, 2) X(pabsd, 4, 4)                                                   \
    X(pand, 8, 8) X(pandn, 8, 8) X(por, 8, 8) X(pxor, 8, 8)                                        \
    X(punpckhbw, 1, 1) X(punpckhwd, 2, 2) X(punpckhdq, 4, 4)                                       \
    X(packsswb, 2, 1) X(packuswb, 2, 1) X(packssdw, 4, 2)                                          \
    X(phaddw, 2, 2) X(phaddd, 4, 4) X(phaddsw, 2, 2)                                               \
    X(phsubw, 2, 2) X(phsubd, 4, 4) X(phsubsw, 2, 2)                                               \
    X(pmaddwd, 2, 4) X(pmaddubsw, 1, 2) X(psadbw, 1, 8) X(pshufb, 1, 1)

/* The same, but the MMX form reads only 32 bits of memory. */
#define KERNELS_MMX32_SSE(X)                                                                       \
    X(punpcklbw, 1, 1) X(punpcklwd, 2, 2) X(punpckldq, 4, 4)

#define KERNELS_SSE(X)                                                                             \
    X(punpcklqdq, 8, 8) X(punpckhqdq, 8, 8) X(packusdw, 4, 2)                                      \
    X(pmulld, 4, 4) X(pmuldq, 8, 8) X(pcmpeqq, 8, 8) X(pcmpgtq, 8, 8)                              \
    X(pminuw, 2, 2) X(pminud, 4, 4) X(pminsb, 1, 1) X(pminsd, 4, 4)                                \
    X(pmaxuw, 2, 2) X(pmaxud, 4, 4) X(pmaxsb, 1, 1) X(pmaxsd, 4, 4)                                \
    X(phminposuw, 2, 2)

#define KERNELS_SHIFT(X)                                                                           \
    X(psrlw, 2, 2) X(psrld, 4, 4) X(psrlq, 8, 8) X(psllw, 2, 2) X(pslld, 4, 4) X(psllq, 8, 8)      \
    X(psraw, 2, 2) X(psrad, 4, 4)

/* d = f(a, b, imm): reg, rm or memory, immediate. */
#define KERNELS_SSE_IMM(X)                                                                         \
    X(pshufd, 4, 4) X(pshuflw, 2, 2) X(pshufhw, 2, 2) X(shufps, 4, 4) X(shufpd, 8, 8)              \
    X(palignr, 1, 1) X(pblendw, 2, 2) X(blendps, 4, 4) X(blendpd, 8, 8) X(mpsadbw, 1, 2)

/* VEX-encoded only. */
#define KERNELS_AVX(X)                                                                             \
    X(psrlvd, 4, 4) X(psrlvq, 8, 8) X(psllvd, 4, 4) X(psllvq, 8, 8) X(psravd, 4, 4)                \
    X(permilps_by, 4, 4) X(permilpd_by, 8, 8)

#define KERNELS_AVX_IMM(X) X(permilpd, 8, 8)

#define KERNELS_MMX_IMM(X) X(pshufw, 2, 2) X(palignr, 1, 1)

#define KERNELS_BLENDV(X) X(pblendvb, 1, 1) X(blendvps, 4, 4) X(blendvpd, 8, 8)

#endif
