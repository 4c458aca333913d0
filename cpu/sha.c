/* SHA-1 and SHA-256 instructions (SDM vol. 2, SHA1MSG1 to SHA256RNDS2; the hashes are FIPS 180-4).
 * A register holds four words, the first one of the schedule in the highest element.
 */
#include "cpu/simd_kernels.h"

struct words {
    uint32_t w[4]; /* element 0 is the register's lowest */
};

static inline uint32_t rol32(uint32_t v, unsigned n)
{
    return v << n | v >> (32 - n);
}

static inline uint32_t ror32(uint32_t v, unsigned n)
{
    return v >> n | v << (32 - n);
}

static struct words words_get(const uint8_t *p)
{
    return (struct words){{ld32(p), ld32(p + 4), ld32(p + 8), ld32(p + 12)}};
}

static void words_put(uint8_t *p, const struct words *v)
{
    for (unsigned k = 0; k < 4; k++)
        st32(p + 4 * k, v->w[k]);
}

typedef struct words sha_kernel(struct words a, struct words b);

VEC_INLINE bool sha_op(struct cpu *cpu, const struct insn *i, sha_kernel *kernel)
{
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, 16);

    if (!src)
        return false;
    struct words r = kernel(words_get(dst), words_get(src));
    words_put(dst, &r);
    return true;
}

/* ---- SHA-1 ----------------------------------------------------------------------------------- */

static struct words sha1nexte(struct words a, struct words b)
{
    b.w[3] += rol32(a.w[3], 30);
    return b;
}

static struct words sha1msg1(struct words a, struct words b)
{
    return (struct words){{a.w[0] ^ b.w[2], a.w[1] ^ b.w[3], a.w[2] ^ a.w[0], a.w[3] ^ a.w[1]}};
}

static struct words sha1msg2(struct words a, struct words b)
{
    struct words r;

    r.w[3] = rol32(a.w[3] ^ b.w[2], 1);
    r.w[2] = rol32(a.w[2] ^ b.w[1], 1);
    r.w[1] = rol32(a.w[1] ^ b.w[0], 1);
    r.w[0] = rol32(a.w[0] ^ r.w[3], 1);
    return r;
}

bool op_sha1nexte(struct cpu *cpu, const struct insn *i)
{
    return sha_op(cpu, i, sha1nexte);
}

bool op_sha1msg1(struct cpu *cpu, const struct insn *i)
{
    return sha_op(cpu, i, sha1msg1);
}

bool op_sha1msg2(struct cpu *cpu, const struct insn *i)
{
    return sha_op(cpu, i, sha1msg2);
}

static uint32_t sha1_f(unsigned kind, uint32_t b, uint32_t c, uint32_t d)
{
    switch (kind) {
    case 0:
        return (b & c) ^ (~b & d);
    case 2:
        return (b & c) ^ (b & d) ^ (c & d);
    default:
        return b ^ c ^ d;
    }
}

/* Four rounds; E of the first is part of the source's highest word already. */
bool op_sha1rnds4(struct cpu *cpu, const struct insn *i)
{
    static const uint32_t constant[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, 16);
    unsigned kind = (unsigned)i->imm & 3;

    if (!src)
        return false;
    struct words s = words_get(dst), w = words_get(src);
    uint32_t a = s.w[3], b = s.w[2], c = s.w[1], d = s.w[0], e = 0;
    for (unsigned k = 0; k < 4; k++) {
        uint32_t next = sha1_f(kind, b, c, d) + rol32(a, 5) + w.w[3 - k] + e + constant[kind];
        e = d;
        d = c;
        c = rol32(b, 30);
        b = a;
        a = next;
    }
    words_put(dst, &(struct words){{d, c, b, a}});
    return true;
}

/* ---- SHA-256 --------------------------------------------------------------------------------- */

static inline uint32_t small_sigma0(uint32_t v)
{
    return ror32(v, 7) ^ ror32(v, 18) ^ v >> 3;
}

static inline uint32_t small_sigma1(uint32_t v)
{
    return ror32(v, 17) ^ ror32(v, 19) ^ v >> 10;
}

static struct words sha256msg1(struct words a, struct words b)
{
    struct words r;

    for (unsigned k = 0; k < 4; k++)
        r.w[k] = a.w[k] + small_sigma0(k < 3 ? a.w[k + 1] : b.w[0]);
    return r;
}

static struct words sha256msg2(struct words a, struct words b)
{
    struct words r;

    r.w[0] = a.w[0] + small_sigma1(b.w[2]);
    r.w[1] = a.w[1] + small_sigma1(b.w[3]);
    r.w[2] = a.w[2] + small_sigma1(r.w[0]);
    r.w[3] = a.w[3] + small_sigma1(r.w[1]);
    return r;
}

bool op_sha256msg1(struct cpu *cpu, const struct insn *i)
{
    return sha_op(cpu, i, sha256msg1);
}

bool op_sha256msg2(struct cpu *cpu, const struct insn *i)
{
    return sha_op(cpu, i, sha256msg2);
}

/* Two rounds: the destination holds C D G H, the source A B E F (highest first), XMM0 the sums of
 * message words and constants. */
bool op_sha256rnds2(struct cpu *cpu, const struct insn *i)
{
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, 16);

    if (!src)
        return false;
    struct words x = words_get(src), y = words_get(dst);
    uint32_t a = x.w[3], b = x.w[2], c = y.w[3], d = y.w[2];
    uint32_t e = x.w[1], f = x.w[0], g = y.w[1], h = y.w[0];
    uint32_t wk[2] = {ld32(cpu->xmm[0].b), ld32(cpu->xmm[0].b + 4)};
    for (unsigned k = 0; k < 2; k++) {
        uint32_t t1 = h + (ror32(e, 6) ^ ror32(e, 11) ^ ror32(e, 25)) + ((e & f) ^ (~e & g)) + wk[k];
        uint32_t t2 = (ror32(a, 2) ^ ror32(a, 13) ^ ror32(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    words_put(dst, &(struct words){{f, e, b, a}});
    return true;
}
