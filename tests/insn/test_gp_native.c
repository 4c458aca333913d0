/* General-purpose instructions against the host's CPU: every row of insn_gp.def that can run in
 * user mode, with random prefixes, operand forms and values. Seeded; TINAMOU_SEED and TINAMOU_CASES
 * choose others.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/insn/native.h"

static uint64_t rng = 0x9e3779b97f4a7c15ull;

static uint64_t rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng;
}

static uint64_t value(void)
{
    static const uint64_t edges[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
        0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, ~0ull, ~1ull};
    uint64_t v = rnd();
    switch (rnd() % 4) {
    case 0:
        return edges[v % ARRAY_LEN(edges)];
    case 1:
        return v >> (rnd() % 64);
    default:
        return v;
    }
}

/* Which opcodes; op is the last byte, map 1 for 0F. ext: reg field, -1 any. undef: flags the manual
 * leaves undefined. */
struct kase {
    uint8_t map, op;
    int8_t ext;
    uint8_t imm; /* 0, 1: byte, 4: z, 8: v */
    bool modrm;
    uint32_t undef;
    const char *name;
};

#define OSZAPC (FL_OF | FL_SF | FL_ZF | FL_AF | FL_PF | FL_CF)
static const struct kase kases[] = {
    {0, 0x00, -1, 0, true, 0, "add"}, {0, 0x01, -1, 0, true, 0, "add"},
    {0, 0x02, -1, 0, true, 0, "add"}, {0, 0x03, -1, 0, true, 0, "add"},
    {0, 0x04, -1, 1, false, 0, "add"}, {0, 0x05, -1, 4, false, 0, "add"},
    {0, 0x08, -1, 0, true, FL_AF, "or"}, {0, 0x0b, -1, 0, true, FL_AF, "or"},
    {0, 0x10, -1, 0, true, 0, "adc"}, {0, 0x11, -1, 0, true, 0, "adc"},
    {0, 0x13, -1, 0, true, 0, "adc"}, {0, 0x18, -1, 0, true, 0, "sbb"},
    {0, 0x19, -1, 0, true, 0, "sbb"}, {0, 0x1b, -1, 0, true, 0, "sbb"},
    {0, 0x21, -1, 0, true, FL_AF, "and"}, {0, 0x22, -1, 0, true, FL_AF, "and"},
    {0, 0x28, -1, 0, true, 0, "sub"}, {0, 0x29, -1, 0, true, 0, "sub"},
    {0, 0x2b, -1, 0, true, 0, "sub"}, {0, 0x2d, -1, 4, false, 0, "sub"},
    {0, 0x31, -1, 0, true, FL_AF, "xor"}, {0, 0x32, -1, 0, true, FL_AF, "xor"},
    {0, 0x38, -1, 0, true, 0, "cmp"}, {0, 0x39, -1, 0, true, 0, "cmp"},
    {0, 0x3b, -1, 0, true, 0, "cmp"}, {0, 0x3c, -1, 1, false, 0, "cmp"},
    {0, 0x63, -1, 0, true, 0, "movsxd"}, {0, 0x69, -1, 4, true, FL_SF | FL_ZF | FL_AF | FL_PF, "imul3"},
    {0, 0x6b, -1, 1, true, FL_SF | FL_ZF | FL_AF | FL_PF, "imul3"},
    {0, 0x80, -2, 1, true, FL_AF, "group1"}, {0, 0x81, -2, 4, true, FL_AF, "group1"},
    {0, 0x83, -2, 1, true, FL_AF, "group1"}, {0, 0x84, -1, 0, true, FL_AF, "test"},
    {0, 0x85, -1, 0, true, FL_AF, "test"}, {0, 0x86, -1, 0, true, 0, "xchg"},
    {0, 0x87, -1, 0, true, 0, "xchg"}, {0, 0x88, -1, 0, true, 0, "mov"},
    {0, 0x89, -1, 0, true, 0, "mov"}, {0, 0x8a, -1, 0, true, 0, "mov"},
    {0, 0x8b, -1, 0, true, 0, "mov"}, {0, 0x8d, -1, 0, true, 0, "lea"},
    {0, 0x90, -1, 0, false, 0, "nop"}, {0, 0x91, -1, 0, false, 0, "xchg"},
    {0, 0x96, -1, 0, false, 0, "xchg"}, {0, 0x98, -1, 0, false, 0, "cbw"},
    {0, 0x99, -1, 0, false, 0, "cwd"}, {0, 0x9e, -1, 0, false, 0, "sahf"},
    {0, 0x9f, -1, 0, false, 0, "lahf"}, {0, 0xa8, -1, 1, false, FL_AF, "test"},
    {0, 0xa9, -1, 4, false, FL_AF, "test"}, {0, 0xb3, -1, 1, false, 0, "mov"},
    {0, 0xb5, -1, 1, false, 0, "mov"}, {0, 0xb8, -1, 8, false, 0, "mov"},
    {0, 0xbe, -1, 8, false, 0, "mov"},
    {0, 0xc0, 0, 1, true, FL_OF, "rol"}, {0, 0xc1, 0, 1, true, FL_OF, "rol"},
    {0, 0xc0, 1, 1, true, FL_OF, "ror"}, {0, 0xc1, 1, 1, true, FL_OF, "ror"},
    {0, 0xc0, 2, 1, true, FL_OF, "rcl"}, {0, 0xc1, 2, 1, true, FL_OF, "rcl"},
    {0, 0xc0, 3, 1, true, FL_OF, "rcr"}, {0, 0xc1, 3, 1, true, FL_OF, "rcr"},
    {0, 0xc0, 4, 1, true, FL_OF | FL_AF | FL_CF, "shl"}, {0, 0xc1, 4, 1, true, FL_OF | FL_AF | FL_CF, "shl"},
    {0, 0xc0, 5, 1, true, FL_OF | FL_AF | FL_CF, "shr"}, {0, 0xc1, 5, 1, true, FL_OF | FL_AF | FL_CF, "shr"},
    {0, 0xc0, 7, 1, true, FL_OF | FL_AF, "sar"}, {0, 0xc1, 7, 1, true, FL_OF | FL_AF, "sar"},
    {0, 0xd0, -3, 0, true, FL_AF, "shift1"}, {0, 0xd1, -3, 0, true, FL_AF, "shift1"},
    {0, 0xd2, -3, 0, true, FL_AF | FL_OF | FL_CF, "shiftcl"}, {0, 0xd3, -3, 0, true, FL_AF | FL_OF | FL_CF, "shiftcl"},
    {0, 0xc6, 0, 1, true, 0, "mov"}, {0, 0xc7, 0, 4, true, 0, "mov"},
    {0, 0xf5, -1, 0, false, 0, "cmc"}, {0, 0xf8, -1, 0, false, 0, "clc"},
    {0, 0xf9, -1, 0, false, 0, "stc"}, {0, 0xd7, -1, 0, false, 0, "xlat"},
    {0, 0xf6, 0, 1, true, FL_AF, "test"}, {0, 0xf7, 0, 4, true, FL_AF, "test"},
    {0, 0xf6, 2, 0, true, 0, "not"}, {0, 0xf7, 2, 0, true, 0, "not"},
    {0, 0xf6, 3, 0, true, 0, "neg"}, {0, 0xf7, 3, 0, true, 0, "neg"},
    {0, 0xf6, 4, 0, true, FL_SF | FL_ZF | FL_AF | FL_PF, "mul"},
    {0, 0xf7, 4, 0, true, FL_SF | FL_ZF | FL_AF | FL_PF, "mul"},
    {0, 0xf6, 5, 0, true, FL_SF | FL_ZF | FL_AF | FL_PF, "imul"},
    {0, 0xf7, 5, 0, true, FL_SF | FL_ZF | FL_AF | FL_PF, "imul"},
    {0, 0xf6, 6, 0, true, OSZAPC, "div"}, {0, 0xf7, 6, 0, true, OSZAPC, "div"},
    {0, 0xf6, 7, 0, true, OSZAPC, "idiv"}, {0, 0xf7, 7, 0, true, OSZAPC, "idiv"},
    {0, 0xfe, 0, 0, true, 0, "inc"}, {0, 0xff, 0, 0, true, 0, "inc"},
    {0, 0xfe, 1, 0, true, 0, "dec"}, {0, 0xff, 1, 0, true, 0, "dec"},
    {0, 0xff, 6, 0, true, 0, "push"}, {0, 0x50, -1, 0, false, 0, "push"},
    {0, 0x5b, -1, 0, false, 0, "pop"}, {0, 0x5c, -1, 0, false, 0, "pop rsp"},
    {0, 0x54, -1, 0, false, 0, "push rsp"}, {0, 0x8f, 0, 0, true, 0, "pop"},
    {0, 0x68, -1, 4, false, 0, "push"}, {0, 0x6a, -1, 1, false, 0, "push"},
    {0, 0xc9, -1, 0, false, 0, "leave"}, {0, 0xa4, -1, 0, false, 0, "movs"},
    {0, 0xa5, -1, 0, false, 0, "movs"}, {0, 0xa6, -1, 0, false, 0, "cmps"},
    {0, 0xa7, -1, 0, false, 0, "cmps"}, {0, 0xaa, -1, 0, false, 0, "stos"},
    {0, 0xab, -1, 0, false, 0, "stos"}, {0, 0xac, -1, 0, false, 0, "lods"},
    {0, 0xad, -1, 0, false, 0, "lods"}, {0, 0xae, -1, 0, false, 0, "scas"},
    {0, 0xaf, -1, 0, false, 0, "scas"},
    {1, 0x40, -1, 0, true, 0, "cmovcc"}, {1, 0x90, -1, 0, true, 0, "setcc"},
    {1, 0xa3, -1, 0, true, FL_OF | FL_SF | FL_AF | FL_PF, "bt"},
    {1, 0xab, -1, 0, true, FL_OF | FL_SF | FL_AF | FL_PF, "bts"},
    {1, 0xb3, -1, 0, true, FL_OF | FL_SF | FL_AF | FL_PF, "btr"},
    {1, 0xbb, -1, 0, true, FL_OF | FL_SF | FL_AF | FL_PF, "btc"},
    {1, 0xba, 4, 1, true, FL_OF | FL_SF | FL_AF | FL_PF, "bt"},
    {1, 0xba, 5, 1, true, FL_OF | FL_SF | FL_AF | FL_PF, "bts"},
    {1, 0xba, 6, 1, true, FL_OF | FL_SF | FL_AF | FL_PF, "btr"},
    {1, 0xba, 7, 1, true, FL_OF | FL_SF | FL_AF | FL_PF, "btc"},
    {1, 0xa4, -1, 1, true, FL_OF | FL_AF, "shld"}, {1, 0xa5, -1, 0, true, FL_OF | FL_AF, "shld"},
    {1, 0xac, -1, 1, true, FL_OF | FL_AF, "shrd"}, {1, 0xad, -1, 0, true, FL_OF | FL_AF, "shrd"},
    {1, 0xaf, -1, 0, true, FL_SF | FL_ZF | FL_AF | FL_PF, "imul2"},
    {1, 0xb0, -1, 0, true, 0, "cmpxchg"}, {1, 0xb1, -1, 0, true, 0, "cmpxchg"},
    {1, 0xb6, -1, 0, true, 0, "movzx"}, {1, 0xb7, -1, 0, true, 0, "movzx"},
    {1, 0xbe, -1, 0, true, 0, "movsx"}, {1, 0xbf, -1, 0, true, 0, "movsx"},
    {1, 0xbc, -1, 0, true, FL_OF | FL_SF | FL_AF | FL_PF | FL_CF, "bsf"},
    {1, 0xbd, -1, 0, true, FL_OF | FL_SF | FL_AF | FL_PF | FL_CF, "bsr"},
    {1, 0xc0, -1, 0, true, 0, "xadd"}, {1, 0xc1, -1, 0, true, 0, "xadd"},
    {1, 0xc7, 1, 0, true, 0, "cmpxchg8b"}, {1, 0xc8, -1, 0, false, 0, "bswap"},
    {1, 0xcf, -1, 0, false, 0, "bswap"},
};

static unsigned put_modrm(uint8_t *code, int ext, bool lock)
{
    unsigned n = 0, reg = ext >= 0 ? (unsigned)ext : (unsigned)rnd() & 7;
    unsigned mod = rnd() & 3, rm = (unsigned)rnd() & 7;
    if (lock && mod == 3)
        mod = 1;
    if (mod == 0 && rm == 5)
        mod = 1; /* RIP-relative: the window is elsewhere */
    code[n++] = (uint8_t)(mod << 6 | reg << 3 | rm);
    if (mod != 3 && rm == 4) {
        unsigned base = (unsigned)rnd() & 7;
        if (base == 5 && mod == 0)
            base = 3;
        code[n++] = (uint8_t)(4 << 3 | base | (rnd() & 1 ? 0 : 0));
    }
    if (mod == 1) {
        code[n++] = (uint8_t)rnd();
    } else if (mod == 2) {
        st32(code + n, (uint32_t)(int32_t)(int16_t)(rnd() & 0x3ff));
        n += 4;
    }
    return n;
}

static unsigned make(const struct kase *k, uint8_t *code)
{
    unsigned n = 0;
    uint8_t rex = 0;
    bool small = rnd() % 4 == 0, string = k->map == 0 && k->op >= 0xa4 && k->op <= 0xaf && k->op != 0xa8 && k->op != 0xa9;
    bool lock = rnd() % 16 == 0 && k->modrm;
    int ext = k->ext;
    if (ext == -2)
        ext = (int)(rnd() & 7);
    if (ext == -3) {
        ext = (int)(rnd() % 7);
        ext += ext == 6;
    }
    if (lock)
        code[n++] = 0xf0;
    if (small && k->op != 0xc8 && k->op != 0xcf)
        code[n++] = 0x66;
    if (string && rnd() & 1)
        code[n++] = rnd() & 1 ? 0xf3 : 0xf2;
    if (rnd() & 1) {
        rex = (uint8_t)(0x40 | (rnd() & 15));
        code[n++] = rex;
    }
    if (k->map)
        code[n++] = 0x0f;
    code[n] = k->op;
    if (k->map && (k->op == 0x40 || k->op == 0x90))
        code[n] |= rnd() & 15;
    n++;
    if (k->modrm)
        n += put_modrm(code + n, ext, lock);
    unsigned imm = k->imm == 1 ? 1 : k->imm == 0 ? 0 : 4;
    if (imm == 4 && !(rex & 8) && small)
        imm = 2;
    if (k->imm == 8 && (rex & 8))
        imm = 8;
    for (unsigned j = 0; j < imm; j++)
        code[n++] = (uint8_t)rnd();
    return n;
}

static void make_state(const struct kase *k, struct oracle_state *in, bool mem)
{
    bool string = k->map == 0 && k->op >= 0xa4 && k->op <= 0xaf;
    for (unsigned r = 0; r < 16; r++) {
        in->r[r] = value();
        /* Bases of memory operands point into the window, now and then over a page boundary. */
        if ((mem && rnd() % 8) || r == 4 || string)
            in->r[r] = ORACLE_DATA + 0x800 + rnd() % 0x2800;
    }
    if (string && rnd() & 1) {
        in->r[1] = rnd() % 40;
        in->r[0] = rnd() & 1 ? 0 : value();
    }
    in->r[1] = rnd() & 1 && !mem ? rnd() % 70 : in->r[1];
    in->flags = FL_1 | FL_IF | (rnd() & FL_ARITH) | (string && rnd() & 1 ? FL_DF : 0);
    uint64_t fill = rnd() % 3;
    for (unsigned j = 0; j < ORACLE_DATA_SIZE; j += 8)
        st64(in->data + j, fill == 0 ? 0 : value());
}

static const char *describe(const struct oracle_state *a, const struct oracle_state *b, uint32_t undef)
{
    static char text[200];
    if (a->exception != b->exception) {
        snprintf(text, sizeof(text), "exception native %d ours %d", a->exception, b->exception);
        return text;
    }
    if (a->exception == EXC_NONE) {
        for (unsigned r = 0; r < 16; r++) {
            if (a->r[r] != b->r[r]) {
                snprintf(text, sizeof(text), "r%u native %llx ours %llx", r,
                         (unsigned long long)a->r[r], (unsigned long long)b->r[r]);
                return text;
            }
        }
        if ((a->flags ^ b->flags) & ~(uint64_t)undef & (FL_ARITH | FL_DF)) {
            snprintf(text, sizeof(text), "flags native %llx ours %llx", (unsigned long long)a->flags,
                     (unsigned long long)b->flags);
            return text;
        }
        if (a->rip != b->rip) {
            snprintf(text, sizeof(text), "rip ours %llx", (unsigned long long)b->rip);
            return text;
        }
    }
    for (unsigned k = 0; k < ORACLE_DATA_SIZE; k++) {
        if (a->data[k] != b->data[k]) {
            snprintf(text, sizeof(text), "memory at %x native %02x ours %02x", k, a->data[k], b->data[k]);
            return text;
        }
    }
    return NULL;
}

int main(void)
{
    const char *seed = getenv("TINAMOU_SEED"), *count = getenv("TINAMOU_CASES");
    unsigned cases = count ? (unsigned)atoi(count) : 300, bad = 0, total = 0;
    static struct oracle_state in, native, ours;
    struct oracle *o = oracle_new("max");

    if (seed)
        rng ^= strtoull(seed, NULL, 0) * 0x2545f4914f6cdd1dull;
    for (unsigned k = 0; k < ARRAY_LEN(kases); k++) {
        unsigned worse = 0;
        for (unsigned c = 0; c < cases; c++) {
            uint8_t code[24];
            unsigned len = make(&kases[k], code);
            const char *why;
            make_state(&kases[k], &in, kases[k].modrm);
            oracle_native(o, code, len, &in, &native);
            oracle_ours(o, code, len, &in, &ours);
            /* our repeated strings stay at the instruction between goes: finish them */
            total++;
            why = describe(&native, &ours, kases[k].undef);
            if (!why)
                continue;
            bad++;
            if (worse++ < 2) {
                printf("%s:", kases[k].name);
                for (unsigned j = 0; j < len; j++)
                    printf(" %02x", code[j]);
                printf(": %s\n", why);
            }
        }
    }
    oracle_free(o);
    printf("%u cases, %u differ\n", total, bad);
    return bad != 0;
}
