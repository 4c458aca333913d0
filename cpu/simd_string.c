/* PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM: comparison of two strings of bytes or words in
 * registers (SDM vol. 2, 4.1 "Imm8 control byte operation").
 *
 * IntRes1 and IntRes2 are bit masks with one bit for each element of the second operand.
 */
#include "cpu/simd_kernels.h"

enum {
    STR_WORDS = 1 << 0,
    STR_SIGNED = 1 << 1,
    STR_AGGREGATE = 3 << 2, STR_ANY = 0 << 2, STR_RANGES = 1 << 2, STR_EACH = 2 << 2,
    STR_ORDERED = 3 << 2,
    STR_NEGATE = 1 << 4,
    STR_MASKED = 1 << 5, /* negate only where the second operand has elements */
    STR_HIGH = 1 << 6,   /* index of the last hit; mask of elements instead of bits */
};

struct strings {
    int32_t a[16], b[16]; /* elements, widened */
    unsigned len_a, len_b, n;
};

static void widen(int32_t *to, const uint8_t *from, unsigned imm)
{
    unsigned k;

    if (imm & STR_WORDS)
        for (k = 0; k < 8; k++)
            to[k] = imm & STR_SIGNED ? (int16_t)ld16(from + 2 * k) : ld16(from + 2 * k);
    else
        for (k = 0; k < 16; k++)
            to[k] = imm & STR_SIGNED ? (int8_t)from[k] : from[k];
}

/* Length up to a zero element. */
static unsigned implicit_length(const int32_t *s, unsigned n)
{
    unsigned k;

    for (k = 0; k < n && s[k]; k++)
        ;
    return k;
}

/* Length from EAX or EDX (RAX, RDX with REX.W): the absolute value, at most n. */
static unsigned explicit_length(uint64_t reg, unsigned size, unsigned n)
{
    int64_t v = size == 8 ? (int64_t)reg : (int32_t)reg;
    uint64_t magnitude = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    return magnitude > n ? n : (unsigned)magnitude;
}

static unsigned equal_any(const struct strings *s)
{
    unsigned res = 0;

    for (unsigned j = 0; j < s->len_b; j++)
        for (unsigned k = 0; k < s->len_a; k++)
            res |= (unsigned)(s->a[k] == s->b[j]) << j;
    return res;
}

static unsigned ranges(const struct strings *s)
{
    unsigned res = 0;

    for (unsigned j = 0; j < s->len_b; j++)
        for (unsigned k = 0; k + 1 < s->len_a; k += 2)
            res |= (unsigned)(s->a[k] <= s->b[j] && s->b[j] <= s->a[k + 1]) << j;
    return res;
}

static unsigned equal_each(const struct strings *s)
{
    unsigned res = 0;

    for (unsigned j = 0; j < s->n; j++) {
        bool in_a = j < s->len_a, in_b = j < s->len_b;
        res |= (unsigned)(in_a && in_b ? s->a[j] == s->b[j] : in_a == in_b) << j;
    }
    return res;
}

/* Where a begins in b, also if b ends at the register's end within it. */
static unsigned equal_ordered(const struct strings *s)
{
    unsigned res = 0;

    for (unsigned j = 0; j < s->n; j++) {
        bool hit = true;
        for (unsigned k = 0; k < s->len_a && j + k < s->n; k++)
            hit &= j + k < s->len_b && s->a[k] == s->b[j + k];
        res |= (unsigned)hit << j;
    }
    return res;
}

/* Reads the operands, sets the flags, and gives IntRes2 and the number of elements. */
static bool compare_strings(struct cpu *cpu, const struct insn *i, bool explicit, unsigned *res,
                            unsigned *elements)
{
    uint8_t buf[16];
    const uint8_t *src = vec_src(cpu, i, buf, 16);
    unsigned imm = (unsigned)i->imm, size = insn_y_size(cpu, i), all, r;
    struct strings s;
    uint64_t flags = 0;

    if (!src)
        return false;
    s.n = imm & STR_WORDS ? 8 : 16;
    widen(s.a, cpu->xmm[i->reg].b, imm);
    widen(s.b, src, imm);
    if (explicit) {
        s.len_a = explicit_length(cpu->r[REG_AX], size, s.n);
        s.len_b = explicit_length(cpu->r[REG_DX], size, s.n);
    } else {
        s.len_a = implicit_length(s.a, s.n);
        s.len_b = implicit_length(s.b, s.n);
    }
    switch (imm & STR_AGGREGATE) {
    case STR_ANY:
        r = equal_any(&s);
        break;
    case STR_RANGES:
        r = ranges(&s);
        break;
    case STR_EACH:
        r = equal_each(&s);
        break;
    default:
        r = equal_ordered(&s);
        break;
    }
    all = (1u << s.n) - 1;
    if (imm & STR_NEGATE)
        r ^= imm & STR_MASKED ? (1u << s.len_b) - 1 : all;
    r &= all;
    flags |= r ? FL_CF : 0;
    flags |= s.len_b < s.n ? FL_ZF : 0;
    flags |= s.len_a < s.n ? FL_SF : 0;
    flags |= r & 1 ? FL_OF : 0;
    cpu_put_arith(cpu, flags, FL_ARITH);
    *res = r;
    *elements = s.n;
    return true;
}

static bool string_index(struct cpu *cpu, const struct insn *i, bool explicit)
{
    unsigned res, n;

    if (!compare_strings(cpu, i, explicit, &res, &n))
        return false;
    if (!res)
        cpu->r[REG_CX] = n;
    else if (i->imm & STR_HIGH)
        cpu->r[REG_CX] = 31u - (unsigned)__builtin_clz(res);
    else
        cpu->r[REG_CX] = (unsigned)__builtin_ctz(res);
    return true;
}

static bool string_mask(struct cpu *cpu, const struct insn *i, bool explicit)
{
    uint8_t *dst = cpu->xmm[0].b;
    unsigned res, n, k;

    if (!compare_strings(cpu, i, explicit, &res, &n))
        return false;
    if (i->imm & STR_HIGH) {
        for (k = 0; k < 16; k++)
            dst[k] = res >> (n == 16 ? k : k / 2) & 1 ? 0xff : 0;
    } else {
        st64(dst, res);
        st64(dst + 8, 0);
    }
    return true;
}

bool op_pcmpestri(struct cpu *cpu, const struct insn *i)
{
    return string_index(cpu, i, true);
}

bool op_pcmpistri(struct cpu *cpu, const struct insn *i)
{
    return string_index(cpu, i, false);
}

bool op_pcmpestrm(struct cpu *cpu, const struct insn *i)
{
    return string_mask(cpu, i, true);
}

bool op_pcmpistrm(struct cpu *cpu, const struct insn *i)
{
    return string_mask(cpu, i, false);
}
