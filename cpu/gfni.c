/* GFNI: multiplication in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1, and affine transformations of bytes
 * (SDM vol. 2, GF2P8AFFINEQB). The VEX forms of cpu/avx.c run these for each lane.
 */
#include "cpu/simd_kernels.h"

static uint8_t gf_mul(uint8_t a, uint8_t b)
{
    unsigned r = 0, x = a;

    for (unsigned k = 0; k < 8; k++) {
        r ^= b >> k & 1 ? x : 0;
        x = x << 1 ^ (x & 0x80 ? 0x11b : 0);
    }
    return (uint8_t)r;
}

/* x^254, which is 1/x and 0 for 0. */
static uint8_t gf_inverse(uint8_t x)
{
    uint8_t r = 1, square = x;

    for (unsigned k = 1; k < 8; k++) {
        square = gf_mul(square, square);
        r = gf_mul(r, square);
    }
    return r;
}

bool op_gf2p8mulb(struct cpu *cpu, const struct insn *i)
{
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, 16);

    if (!src)
        return false;
    for (unsigned k = 0; k < 16; k++)
        dst[k] = gf_mul(dst[k], src[k]);
    return true;
}

/* Row r of the matrix, for bit r of the result, is byte 7 - r of the quadword. */
static inline bool affine(struct cpu *cpu, const struct insn *i, bool inverse)
{
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b, r[16];
    const uint8_t *src = vec_src(cpu, i, buf, 16);

    if (!src)
        return false;
    for (unsigned k = 0; k < 16; k++) {
        unsigned x = inverse ? gf_inverse(dst[k]) : dst[k], y = 0;
        for (unsigned bit = 0; bit < 8; bit++)
            y |= (unsigned)__builtin_parity(src[(k & 8) + 7 - bit] & x) << bit;
        r[k] = (uint8_t)(y ^ (uint8_t)i->imm);
    }
    memcpy(dst, r, 16);
    return true;
}

bool op_gf2p8affineqb(struct cpu *cpu, const struct insn *i)
{
    return affine(cpu, i, false);
}

bool op_gf2p8affineinvqb(struct cpu *cpu, const struct insn *i)
{
    return affine(cpu, i, true);
}
