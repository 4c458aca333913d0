/* Random and special values for the oracle's cases: the same sequence on every host, and from every
 * compiler. So no expression draws twice: C does not say which of its operands comes first. */
#ifndef TESTS_INSN_ORACLE_VALUES_H
#define TESTS_INSN_ORACLE_VALUES_H

#include "base/bits.h"

struct rng {
    uint64_t s;
};

static inline uint64_t rnd(struct rng *r) /* splitmix64 */
{
    uint64_t z = r->s += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static inline unsigned below(struct rng *r, unsigned n)
{
    return (unsigned)((rnd(r) >> 32) * n >> 32);
}

/* True once in n times. */
static inline bool once_in(struct rng *r, unsigned n)
{
    return below(r, n) == 0;
}

/* What memory and registers are filled with. */
enum flavour {
    V_INT,   /* integers of all sizes, near the limits of sign and carry */
    V_BYTES, /* bytes from a small set, so that some are equal and some 0 */
    V_COUNT, /* small numbers at the start of quadwords: shift counts */
    V_RANDOM,
    V_F16,
    V_F32,
    V_F64,
    V_F80,
    V_BCD,
    V_FLAVOURS
};

uint64_t value_int(struct rng *r);
/* Not a special exponent at the cost of others: denormals, zeros, infinities, NaNs, halves. */
uint64_t value_float(struct rng *r, unsigned exp_bits, unsigned frac_bits);
void value_f80(struct rng *r, uint8_t p[10]);
void value_fill(struct rng *r, uint8_t *p, unsigned n, enum flavour v);

#endif
