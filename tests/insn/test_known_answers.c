/* Known answers for instructions that few processors have: VAES and VPCLMULQDQ are what their 128-bit
 * forms do in each lane, GFNI makes the AES S-box, SHA makes the digests of FIPS 180-4. And gathers
 * that fault in the middle. Where the host has these, test_oracle.c compares with it too.
 */
#include <stdio.h>

#define HAND_MEM 4096
#include "tests/insn/hand_cpu.h"

static void fill(uint8_t *p, unsigned n)
{
    for (unsigned k = 0; k < n; k++)
        p[k] = (uint8_t)any64();
}

static unsigned put_prefixes(const struct insn_row *row, bool wide, uint8_t *code)
{
    static const uint8_t pp[] = {0, 0, 1, 2, 3};
    unsigned map_no = row->opcode >> 8 == 0x0f38 ? 2 : 3, n = 0;
    unsigned vvvv = strchr(row->operands, 'H') ? 2 : 0, w = row->attr & AT_W1 ? 0x80 : 0;

    if (row->attr & AT_AVX) {
        code[n++] = 0xc4;
        code[n++] = (uint8_t)(0xe0 | map_no);
        code[n++] = (uint8_t)(w | (~vvvv & 15) << 3 | wide << 2 | pp[row->prefix]);
        return n;
    }
    if (row->prefix == P_66)
        code[n++] = 0x66;
    code[n++] = 0x0f;
    code[n++] = map_no == 2 ? 0x38 : 0x3a;
    return n;
}

/* An instruction of ours: registers 0, 1 and 2 are destination or first source, second source, and
 * for VEX forms the first source. */
static void ours(const char *name, bool wide, unsigned imm)
{
    const struct insn_row *row = insn_rows;
    struct decode_result res;
    struct insn i;
    uint8_t code[8];
    unsigned n;

    while (strcmp(row->name, name) != 0 || (wide && !(row->attr & (AT_VEXL | AT_L1))))
        ck_assert_msg(++row < insn_rows + insn_row_count, "no %s", name);
    n = put_prefixes(row, wide, code);
    code[n++] = (uint8_t)row->opcode;
    code[n++] = 0xc1; /* register 0, register 1 */
    code[n++] = (uint8_t)imm;
    ck_assert_msg(insn_decode(cpu, code, n, 0, &i, &res), "%s", name);
    ck_assert_str_eq(insn_rows[i.row].name, name);
    cpu->cur = &i;
    ck_assert_msg(insn_rows[i.row].fn(cpu, &i), "%s", name);
}

/* Both lanes of 256-bit AES and carry-less multiplication are what the 128-bit form makes of them. */
START_TEST(wide_crypto_is_lane_by_lane)
{
    static const char *const names[] = {"VAESENC", "VAESENCLAST", "VAESDEC", "VAESDECLAST",
                                        "VPCLMULQDQ"};
    seed = 99;
    for (unsigned n = 0; n < ARRAY_LEN(names) * 64; n++) {
        union vec a, b, want;
        fill(a.b, 32);
        fill(b.b, 32);
        for (unsigned lane = 0; lane < 32; lane += 16) {
            memcpy(cpu->xmm[2].b, a.b + lane, 16);
            memcpy(cpu->xmm[1].b, b.b + lane, 16);
            ours(names[n % ARRAY_LEN(names)], false, n);
            memcpy(want.b + lane, cpu->xmm[0].b, 16);
        }
        cpu->xmm[2] = a;
        cpu->xmm[1] = b;
        ours(names[n % ARRAY_LEN(names)], true, n);
        ck_assert_mem_eq(cpu->xmm[0].b, want.b, 32);
    }
}
END_TEST

/* The AES S-box is an affine transformation of the inverse, its inverse's matrix undoes that, and
 * a byte times its inverse is 1. VAESENCLAST with a zero key shows the S-box. */
START_TEST(gfni_makes_the_aes_sbox)
{
    for (unsigned x = 0; x < 256; x++) {
        uint8_t sbox, inverse;
        memset(cpu->xmm, 0, sizeof(cpu->xmm));
        memset(cpu->xmm[2].b, (int)x, 32);
        ours("VAESENCLAST", false, 0);
        sbox = cpu->xmm[0].b[0];
        for (unsigned k = 0; k < 32; k += 8)
            st64(cpu->xmm[1].b + k, 0xf1e3c78f1f3e7cf8ull);
        ours("VGF2P8AFFINEINVQB", true, 0x63);
        for (unsigned k = 0; k < 32; k++)
            ck_assert_uint_eq(cpu->xmm[0].b[k], sbox);
        memcpy(cpu->xmm[0].b, cpu->xmm[2].b, 16);
        ours("GF2P8AFFINEINVQB", false, 0x63);
        ck_assert_uint_eq(cpu->xmm[0].b[15], sbox);
        for (unsigned k = 0; k < 32; k += 8) /* the identity */
            st64(cpu->xmm[1].b + k, 0x0102040810204080ull);
        ours("VGF2P8AFFINEQB", true, 0xa5);
        ck_assert_uint_eq(cpu->xmm[0].b[31], x ^ 0xa5);
        ours("VGF2P8AFFINEINVQB", false, 0);
        inverse = cpu->xmm[0].b[7];
        memset(cpu->xmm[1].b, inverse, 32);
        ours("VGF2P8MULB", true, 0);
        ck_assert_uint_eq(cpu->xmm[0].b[20], x != 0);
    }
    memset(cpu->xmm[2].b, 0x57, 16); /* FIPS 197, 4.2 */
    memset(cpu->xmm[1].b, 0x83, 16);
    ours("VGF2P8MULB", false, 0);
    ck_assert_uint_eq(cpu->xmm[0].b[3], 0xc1);
}
END_TEST

/* Registers of four words, the last argument lowest. */
static union vec words(uint32_t w3, uint32_t w2, uint32_t w1, uint32_t w0)
{
    union vec v = {{0}};
    st32(v.b, w0);
    st32(v.b + 4, w1);
    st32(v.b + 8, w2);
    st32(v.b + 12, w3);
    return v;
}

static union vec sha_step(const char *name, union vec a, union vec b, unsigned imm)
{
    cpu->xmm[0] = a;
    cpu->xmm[1] = b;
    ours(name, false, imm);
    return cpu->xmm[0];
}

static union vec add_words(union vec a, union vec b)
{
    for (unsigned k = 0; k < 16; k += 4)
        st32(a.b + k, ld32(a.b + k) + ld32(b.b + k));
    return a;
}

/* "abc" with its padding is one block; the digest is FIPS 180's example. */
START_TEST(sha1_of_abc)
{
    union vec abcd = words(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476), start = abcd;
    union vec e = words(0xc3d2e1f0, 0, 0, 0), before, w[20];

    w[0] = words(0x61626380, 0, 0, 0);
    w[1] = w[2] = words(0, 0, 0, 0);
    w[3] = words(0, 0, 0, 24);
    for (unsigned k = 4; k < 20; k++) {
        union vec t = sha_step("SHA1MSG1", w[k - 4], w[k - 3], 0);
        for (unsigned b = 0; b < 16; b++)
            t.b[b] ^= w[k - 2].b[b];
        w[k] = sha_step("SHA1MSG2", t, w[k - 1], 0);
    }
    before = abcd;
    abcd = sha_step("SHA1RNDS4", abcd, add_words(e, w[0]), 0);
    for (unsigned k = 1; k < 20; k++) {
        e = sha_step("SHA1NEXTE", before, w[k], 0);
        before = abcd;
        abcd = sha_step("SHA1RNDS4", abcd, e, k / 5);
    }
    e = sha_step("SHA1NEXTE", before, words(0xc3d2e1f0, 0, 0, 0), 0);
    abcd = add_words(abcd, start);
    ck_assert_uint_eq(ld32(abcd.b + 12), 0xa9993e36);
    ck_assert_uint_eq(ld32(abcd.b + 8), 0x4706816a);
    ck_assert_uint_eq(ld32(abcd.b + 4), 0xba3e2571);
    ck_assert_uint_eq(ld32(abcd.b), 0x7850c26c);
    ck_assert_uint_eq(ld32(e.b + 12), 0x9cd0d89d);
}
END_TEST

/* Fractions of roots of the first primes, as FIPS 180-4 defines the constants. */
static uint32_t root_fraction(unsigned n, bool cube)
{
    unsigned prime = 1, d;
    for (unsigned k = 0; k <= n; k++) {
        do {
            prime++;
            for (d = 2; d < prime && prime % d; d++)
                ;
        } while (d != prime);
    }
    /* the largest v with v^2 <= prime * 2^64, or v^3 <= prime * 2^96 */
    uint64_t v = 0;
    for (int bit = 36; bit >= 0; bit--) {
        uint64_t t = v | 1ull << bit;
        __extension__ typedef unsigned __int128 u128;
        u128 p = (u128)t * t;
        bool fits = cube ? p <= ((u128)prime << 96) / t : p <= (u128)prime << 64;
        if (fits)
            v = t;
    }
    return (uint32_t)v;
}

START_TEST(sha256_of_abc)
{
    static const uint32_t want[8] = {0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223,
                                     0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad};
    uint32_t h[8];
    union vec w[16], abef, cdgh, start[2];

    for (unsigned k = 0; k < 8; k++)
        h[k] = root_fraction(k, false);
    w[0] = words(0, 0, 0, 0x61626380);
    w[1] = w[2] = words(0, 0, 0, 0);
    w[3] = words(24, 0, 0, 0);
    for (unsigned k = 4; k < 16; k++) {
        union vec t = sha_step("SHA256MSG1", w[k - 4], w[k - 3], 0), shifted;
        memcpy(shifted.b, w[k - 2].b + 4, 12); /* PALIGNR: words 9 to 12 of 16 back */
        memcpy(shifted.b + 12, w[k - 1].b, 4);
        w[k] = sha_step("SHA256MSG2", add_words(t, shifted), w[k - 1], 0);
    }
    start[0] = abef = words(h[0], h[1], h[4], h[5]);
    start[1] = cdgh = words(h[2], h[3], h[6], h[7]);
    for (unsigned k = 0; k < 64; k += 2) {
        const uint8_t *at = w[k / 4].b + 4 * (k & 2);
        union vec wk = words(0, 0, ld32(at + 4) + root_fraction(k + 1, true),
                             ld32(at) + root_fraction(k, true));
        union vec next;
        /* XMM0 is the implicit third operand here: destination 3, source 1 */
        struct insn i;
        struct decode_result res;
        static const uint8_t code[] = {0x0f, 0x38, 0xcb, 0xd9};
        cpu->xmm[0] = wk;
        cpu->xmm[3] = cdgh;
        cpu->xmm[1] = abef;
        ck_assert(insn_decode(cpu, code, sizeof(code), 0, &i, &res));
        ck_assert(insn_rows[i.row].fn(cpu, &i));
        next = cpu->xmm[3];
        cdgh = abef;
        abef = next;
    }
    abef = add_words(abef, start[0]);
    cdgh = add_words(cdgh, start[1]);
    for (unsigned k = 0; k < 8; k++) {
        const union vec *v = k & 2 ? &cdgh : &abef;
        ck_assert_uint_eq(ld32(v->b + (k & 4 ? 4 : 12) - 4 * (k & 1)), want[k]);
    }
}
END_TEST

/* A gather that faults keeps what it has, and goes on from there. */
START_TEST(gathers_resume)
{
    static const uint8_t code[] = {0xc4, 0xe2, 0xed, 0x91, 0x04, 0x0e}; /* ymm0, [rsi+ymm1], ymm2 */
    struct decode_result res;
    struct insn i;

    ck_assert(insn_decode(cpu, code, sizeof(code), 0, &i, &res));
    ck_assert_str_eq(insn_rows[i.row].name, "VPGATHERQQ");
    cpu->cur = &i;
    cpu->r[REG_SI] = MEM_AT;
    memset(cpu->xmm[0].b, 0, 32);
    memset(cpu->xmm[2].b, 0xff, 32);
    memset(cpu->xmm[2].b, 0, 8);
    st64(cpu->xmm[0].b, 77);
    for (unsigned k = 0; k < 4; k++) {
        st64(cpu->xmm[1].b + 8 * k, 8 * k);
        st64(guest_mem + 8 * k, 100 + k);
    }
    st64(cpu->xmm[1].b + 16, 1ull << 60); /* not canonical */
    ck_assert(!insn_rows[i.row].fn(cpu, &i));
    ck_assert_uint_eq(ld64(cpu->xmm[0].b), 77);
    ck_assert_uint_eq(ld64(cpu->xmm[0].b + 8), 101);
    ck_assert_uint_eq(ld64(cpu->xmm[0].b + 16), 0);
    ck_assert_uint_eq(ld64(cpu->xmm[2].b + 8), 0);
    ck_assert_uint_eq(ld64(cpu->xmm[2].b + 16), UINT64_MAX);
    st64(cpu->xmm[1].b + 16, 0);
    ck_assert(insn_rows[i.row].fn(cpu, &i));
    ck_assert_uint_eq(ld64(cpu->xmm[0].b + 16), 100);
    ck_assert_uint_eq(ld64(cpu->xmm[0].b + 24), 103);
    for (unsigned k = 0; k < 32; k++)
        ck_assert_uint_eq(cpu->xmm[2].b[k], 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {wide_crypto_is_lane_by_lane, gfni_makes_the_aes_sbox, sha1_of_abc,
                                  sha256_of_abc, gathers_resume};
    return run_by_hand("known answers", tests, ARRAY_LEN(tests));
}
