/* Values for the oracle's cases. See oracle_values.h. */
#include "tests/insn/oracle_values.h"

#include <string.h>

uint64_t value_int(struct rng *r)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     2,
                                     3,
                                     0x7f,
                                     0x80,
                                     0x81,
                                     0xff,
                                     0x100,
                                     0x7fff,
                                     0x8000,
                                     0x8001,
                                     0xffff,
                                     0x10000,
                                     0x7fffffff,
                                     0x80000000,
                                     0x80000001,
                                     0xffffffff,
                                     0x100000000,
                                     0x7fffffffffffffff,
                                     0x8000000000000000,
                                     0x8000000000000001,
                                     ~0ull,
                                     ~1ull,
                                     0x5555555555555555,
                                     0xaaaaaaaaaaaaaaaa};
    uint64_t v = rnd(r);
    switch (below(r, 6)) {
    case 0:
        return edges[v % ARRAY_LEN(edges)];
    case 1:
        return v >> below(r, 64);
    case 2: /* negative and small */
        return ~(v >> below(r, 64));
    case 3: /* each byte at a limit */
        for (unsigned k = 0; k < 64; k += 8)
            v = (v & ~(0xffull << k)) | (edges[(v >> k & 0xff) % 8] & 0xff) << k;
        return v;
    default:
        return v;
    }
}

static uint64_t fraction(struct rng *r, unsigned bits)
{
    uint64_t top = 1ull << (bits - 1), all = top | (top - 1), v = rnd(r) & all;
    switch (below(r, 8)) {
    case 0:
        return 0;
    case 1:
        return 1ull << below(r, bits);
    case 2:
        return all;
    case 3:
        return all << below(r, bits) & all;
    case 4:
        return top;
    case 5:
        return v & 7;
    default:
        return v;
    }
}

/* Exponents: the extremes, around the bias, around where narrower formats end, anything. */
static unsigned exponent(struct rng *r, unsigned bits)
{
    unsigned all = (1u << bits) - 1, bias = all >> 1;
    switch (below(r, 10)) {
    case 0:
        return 0;
    case 1:
        return all;
    case 2:
        return below(r, 4);
    case 3:
        return all - below(r, 4);
    case 4:
        return (bias - 160 + below(r, 320)) & all;
    case 5:
        return (bias - 1100 + below(r, 2200)) & all;
    case 6:
        return below(r, all + 1);
    default:
        return (bias - 2 + below(r, 68)) & all;
    }
}

uint64_t value_float(struct rng *r, unsigned exp_bits, unsigned frac_bits)
{
    uint64_t frac = fraction(r, frac_bits);
    uint64_t exp = exponent(r, exp_bits);
    return frac | exp << frac_bits | (uint64_t)below(r, 2) << (exp_bits + frac_bits);
}

/* Now and then without the integer bit, or with one that should not be: unnormals, pseudo-denormals. */
void value_f80(struct rng *r, uint8_t p[10])
{
    unsigned exp = exponent(r, 15);
    uint64_t integer = exp ? 1ull << 63 : 0;
    if (once_in(r, 32))
        integer ^= 1ull << 63;
    st64(p, fraction(r, 63) | integer);
    st16(p + 8, (uint16_t)(exp | below(r, 2) << 15));
}

static void fill_small(struct rng *r, uint8_t *p, unsigned n, enum flavour v)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0x81, 0xff, 0xfe, 8};

    for (unsigned k = 0; k < n; k++) {
        if (v == V_BCD) {
            unsigned tens = below(r, 10);
            p[k] = (uint8_t)(tens << 4 | below(r, 10));
        } else if (v == V_COUNT) {
            p[k] = k % 8 ? 0 : (uint8_t)below(r, 70);
        } else {
            p[k] = edges[below(r, sizeof(edges))];
        }
    }
    if (v == V_BCD && n >= 10)
        p[9] = once_in(r, 2) ? 0x80 : 0;
}

void value_fill(struct rng *r, uint8_t *p, unsigned n, enum flavour v)
{
    uint8_t last[16];

    if (v == V_BYTES || v == V_BCD || v == V_COUNT) {
        fill_small(r, p, n, v);
        return;
    }
    for (unsigned k = 0, size; k < n; k += size) {
        size = v == V_F16 ? 2 : v == V_F32 ? 4 : v == V_F80 ? 10 : 8;
        if (v == V_F16)
            st16(last, (uint16_t)value_float(r, 5, 10));
        else if (v == V_F32)
            st32(last, (uint32_t)value_float(r, 8, 23));
        else if (v == V_F64)
            st64(last, value_float(r, 11, 52));
        else if (v == V_F80)
            value_f80(r, last);
        else
            st64(last, v == V_INT ? value_int(r) : rnd(r));
        memcpy(p + k, last, MIN(size, n - k));
    }
}
