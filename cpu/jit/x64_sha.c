/* SHA instructions on a host that has none, with the host's integer and SSE instructions: the rounds are
 * fixed routines on general registers, which a block calls; the message schedules are short enough to stand
 * in the block. (A host that has them does them itself: x64_vec.c.) cpu/sha.c says what they compute.
 *
 * Only legacy SSE forms, which leave the upper halves of the guest's registers alone, as the guest's own
 * instructions do. Vector registers that are borrowed are kept in tr.vec_spill meanwhile.
 */
#include "cpu/jit/x64_tr.h"

/* ---- the routines' operands ------------------------------------------------------------------------ */

/* Low and high half of the first operand in RAX and R15; the result comes back there. The second one,
 * and what XMM0 adds, are in memory, where each word is at hand. */
#define LOW      RAX
#define HIGH     R15
#define WORD(n)  x64_m(RBP, CPU_OFF(tr.vec_spill) + 4 * (int32_t)(n))
#define SPILL(n) x64_m(RBP, CPU_OFF(tr.vec_spill) + 16 * (int32_t)(n))
#define W_KEYS   4 /* WORD() of two sums of message and constant */

static void add(struct x64 *x, unsigned dst, unsigned src)
{
    x64_alu_to_reg(x, X_ADD, 4, dst, x64_r(src));
}

static void xor
    (struct x64 * x, unsigned dst, unsigned src) { x64_alu_to_reg(x, X_XOR, 4, dst, x64_r(src)); }

    static void copy(struct x64 *x, unsigned dst, unsigned src)
{
    x64_load(x, 4, dst, x64_r(src));
}

/* sum += the three rotations of v, xor-ed; uses RDI and R8. */
static void add_sigma(struct x64 *x, unsigned sum, unsigned v, unsigned r1, unsigned r2,
                      unsigned r3)
{
    x64_rorx(x, 4, RDI, v, r1);
    x64_rorx(x, 4, R8, v, r2);
    xor(x, RDI, R8);
    x64_rorx(x, 4, R8, v, r3);
    xor(x, RDI, R8);
    add(x, sum, RDI);
}

/* sum += Sigma1(e) + (e ? f : g); g is anything that can be a source. */
static void add_e_part(struct x64 *x, unsigned sum, unsigned e, unsigned f, struct x64_rm g)
{
    x64_load(x, 4, RDI, g);
    xor(x, RDI, f);
    x64_alu_to_reg(x, X_AND, 4, RDI, x64_r(e));
    x64_alu_to_reg(x, X_XOR, 4, RDI, g);
    add(x, sum, RDI);
    add_sigma(x, sum, e, 25, 11, 6);
}

/* sum += Sigma0(a) + majority(a, b, c), where RDI holds b ^ c and a_b receives a ^ b. */
static void add_a_part(struct x64 *x, unsigned sum, unsigned a, unsigned b, unsigned a_b)
{
    copy(x, a_b, a);
    xor(x, a_b, b);
    x64_alu_to_reg(x, X_AND, 4, RDI, x64_r(a_b));
    xor(x, RDI, b);
    add(x, sum, RDI);
    add_sigma(x, sum, a, 22, 13, 2);
}

static const uint8_t used[] = {RCX, RDX, RSI, RDI, R8, R9, R10, R11};

static void save(struct x64 *x, unsigned n)
{
    for (unsigned k = 0; k < n; k++)
        x64_push(x, used[k]);
}

static void restore(struct x64 *x, unsigned n)
{
    while (n-- > 0)
        x64_pop(x, used[n]);
}

/* Two rounds of SHA-256. LOW is E:F, HIGH A:B (the higher half first), and words 0 to 3 H G D C. */
static void emit_sha256(struct x64 *x)
{
    const struct x64_rm h = WORD(0), g = WORD(1), d = WORD(2), c = WORD(3);
    const unsigned a = RDX, b = HIGH, e = RCX, f = LOW, next_a = RSI, next_e = R9;

    save(x, ARRAY_LEN(used));
    x64_rorx(x, 8, e, LOW, 32);
    x64_rorx(x, 8, a, HIGH, 32);
    x64_load(x, 4, RSI, h);
    x64_alu_to_reg(x, X_ADD, 4, RSI, WORD(W_KEYS));
    add_e_part(x, RSI, e, f, g);
    x64_load(x, 4, next_e, d);
    add(x, next_e, RSI);
    x64_load(x, 4, RDI, c);
    xor(x, RDI, b);
    add_a_part(x, next_a, a, b, R10);

    x64_load(x, 4, R11, g);
    x64_alu_to_reg(x, X_ADD, 4, R11, WORD(W_KEYS + 1));
    add_e_part(x, R11, next_e, e, x64_r(f));
    x64_load(x, 4, LOW, c);
    add(x, LOW, R11);
    copy(x, RDI, R10);
    add_a_part(x, R11, next_a, a, R10);
    x64_shift_imm(x, X_SHL, 8, x64_r(LOW), 32);
    x64_alu_to_reg(x, X_OR, 8, LOW, x64_r(next_e));
    x64_load(x, 4, HIGH, x64_r(R11));
    x64_shift_imm(x, X_SHL, 8, x64_r(HIGH), 32);
    x64_alu_to_reg(x, X_OR, 8, HIGH, x64_r(next_a));
    restore(x, ARRAY_LEN(used));
    x64_byte(x, 0xc3);
}

/* sum += f(b, c, d) of SHA-1; uses RDI. */
static void add_sha1_f(struct x64 *x, unsigned kind, unsigned sum, unsigned b, unsigned c,
                       unsigned d)
{
    copy(x, RDI, kind == 0 ? c : b);
    switch (kind) {
    case 0: /* b ? c : d */
        xor(x, RDI, d);
        x64_alu_to_reg(x, X_AND, 4, RDI, x64_r(b));
        xor(x, RDI, d);
        break;
    case 2: /* majority: two terms without a bit in common */
        x64_alu_to_reg(x, X_AND, 4, RDI, x64_r(c));
        add(x, sum, RDI);
        copy(x, RDI, b);
        xor(x, RDI, c);
        x64_alu_to_reg(x, X_AND, 4, RDI, x64_r(d));
        break;
    default:
        xor(x, RDI, c);
        xor(x, RDI, d);
        break;
    }
    add(x, sum, RDI);
}

/* Four rounds of SHA-1. LOW is C:D, HIGH A:B; words 3 to 0 are the message's. */
static void emit_sha1(struct x64 *x, unsigned kind)
{
    static const uint32_t constant[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    unsigned r[] = {RDX, HIGH, RCX, LOW, RSI}; /* A to E */

    save(x, 4);
    x64_rorx(x, 8, r[0], HIGH, 32);
    x64_rorx(x, 8, r[2], LOW, 32);
    for (unsigned k = 0; k < 4; k++) {
        unsigned e = r[4];
        if (k == 0) /* E is in the message word */
            x64_load(x, 4, e, WORD(3));
        else
            x64_alu_to_reg(x, X_ADD, 4, e, WORD(3 - k));
        x64_alu_imm(x, X_ADD, 4, x64_r(e), (int32_t)constant[kind]);
        add_sha1_f(x, kind, e, r[1], r[2], r[3]);
        x64_rorx(x, 4, RDI, r[0], 27);
        add(x, e, RDI);
        x64_rorx(x, 4, r[1], r[1], 2);
        memmove(r + 1, r, 4 * sizeof(r[0]));
        r[0] = e;
    }
    for (unsigned k = 0; k < 4; k += 2) {
        x64_shift_imm(x, X_SHL, 8, x64_r(r[k]), 32);
        x64_alu_to_reg(x, X_OR, 8, r[k], x64_r(r[k + 1]));
    }
    x64_load(x, 8, RDI, x64_r(r[0]));
    x64_load(x, 8, LOW, x64_r(r[2]));
    x64_load(x, 8, HIGH, x64_r(RDI));
    restore(x, 4);
    x64_byte(x, 0xc3);
}

static const uint8_t *align_routine(const struct jit *j, struct x64 *x)
{
    while ((uintptr_t)x->p & 31)
        x64_byte(x, 0xcc);
    return x->p + j->rx;
}

void tr_sha_emit_routines(struct jit *j, struct x64 *x)
{
    j->thunk.sha256 = align_routine(j, x);
    emit_sha256(x);
    for (unsigned kind = 0; kind < 4; kind++) {
        j->thunk.sha1[kind] = align_routine(j, x);
        emit_sha1(x, kind);
    }
}

/* RORX, PEXTRQ and PALIGNR. */
bool tr_sha_can(void)
{
    return x64_host_has(F_BMI2) && x64_host_has(F_SSE41) && x64_host_has(F_SSSE3);
}

/* ---- in the block ---------------------------------------------------------------------------------- */

static void sse(struct x64 *x, unsigned opcode, unsigned reg, struct x64_rm rm)
{
    x64_op(x, 0x66, opcode, 4, reg, rm, 0);
}

static void move(struct x64 *x, unsigned dst, struct x64_rm src) /* memory is aligned */
{
    sse(x, 0x0f6f, dst, src);
}

static void sse_imm(struct x64 *x, unsigned opcode, unsigned reg, struct x64_rm rm, unsigned imm)
{
    sse(x, opcode, reg, rm);
    x64_byte(x, imm);
}

enum {
    PXOR = 0x0fef,
    POR = 0x0feb,
    PADDD = 0x0ffe,
    PSHUFD = 0x0f70,
    /* shifts by an immediate: opcode and the number in modrm.reg */
    DWORDS = 0x0f72,
    QWORDS = 0x0f73,
    RIGHT = 2,
    LEFT = 6,
    BYTES_RIGHT = 3,
    BYTES_LEFT = 7
};

static void shift(struct x64 *x, unsigned lanes, unsigned how, unsigned reg, unsigned n)
{
    sse_imm(x, lanes, how, x64_r(reg), n);
}

/* A vector register that is neither of the operands nor one of the n borrowed before, its contents kept. */
static void borrow(struct tr *t, unsigned *regs, unsigned n)
{
    unsigned rm = insn_is_mem(t->i) ? 16 : t->i->rm, next = 1;

    for (unsigned k = 0; k < n; k++, next++) {
        while (next == t->i->reg || next == rm)
            next++;
        regs[k] = next;
        sse(&t->x, 0x0f7f, next, SPILL(k));
    }
}

static void give_back(struct tr *t, const unsigned *regs, unsigned n)
{
    for (unsigned k = 0; k < n; k++)
        move(&t->x, regs[k], SPILL(k));
}

static void sha1_next_e(struct tr *t, unsigned dst, struct x64_rm src)
{
    struct x64 *x = &t->x;
    unsigned r[2];

    borrow(t, r, 2);
    move(x, r[0], x64_r(dst));
    move(x, r[1], x64_r(dst));
    shift(x, DWORDS, LEFT, r[0], 30);
    shift(x, DWORDS, RIGHT, r[1], 2);
    sse(x, POR, r[0], x64_r(r[1]));
    shift(x, QWORDS, BYTES_RIGHT, r[0], 12);
    shift(x, QWORDS, BYTES_LEFT, r[0], 12);
    sse(x, PADDD, r[0], src);
    move(x, dst, x64_r(r[0]));
    give_back(t, r, 2);
}

static void sha1_message1(struct tr *t, unsigned dst, struct x64_rm src)
{
    struct x64 *x = &t->x;
    unsigned r;

    borrow(t, &r, 1);
    move(x, r, src);
    sse_imm(x, 0x0fc6, r, x64_r(dst), 1); /* shufpd: its high half and our low one */
    sse(x, PXOR, dst, x64_r(r));
    give_back(t, &r, 1);
}

/* v = v rotated left by one; uses other. */
static void rotate_by_one(struct x64 *x, unsigned v, unsigned other)
{
    move(x, other, x64_r(v));
    shift(x, DWORDS, RIGHT, other, 31);
    sse(x, PADDD, v, x64_r(v));
    sse(x, POR, v, x64_r(other));
}

static void sha1_message2(struct tr *t, unsigned dst, struct x64_rm src)
{
    struct x64 *x = &t->x;
    unsigned r[2];

    borrow(t, r, 2);
    move(x, r[0], src);
    shift(x, QWORDS, BYTES_LEFT, r[0], 4);
    sse(x, PXOR, dst, x64_r(r[0]));
    rotate_by_one(x, dst, r[0]);
    move(x, r[0], x64_r(dst)); /* the lowest word takes the highest result */
    shift(x, QWORDS, BYTES_RIGHT, r[0], 12);
    rotate_by_one(x, r[0], r[1]);
    sse(x, PXOR, dst, x64_r(r[0]));
    give_back(t, r, 2);
}

static void sha256_message1(struct tr *t, unsigned dst, struct x64_rm src)
{
    struct x64 *x = &t->x;
    unsigned r[3];

    borrow(t, r, 3);
    move(x, r[2], src);
    sse_imm(x, 0x0f3a0f, r[2], x64_r(dst), 4); /* palignr: words 1 to 3, and the source's first */
    move(x, r[0], x64_r(r[2]));
    move(x, r[1], x64_r(r[2]));
    shift(x, DWORDS, RIGHT, r[0], 3);
    shift(x, DWORDS, RIGHT, r[1], 7); /* both rotations in parts that have no bits in common */
    sse(x, PXOR, r[0], x64_r(r[1]));
    shift(x, DWORDS, RIGHT, r[1], 18 - 7);
    sse(x, PXOR, r[0], x64_r(r[1]));
    shift(x, DWORDS, LEFT, r[2], 32 - 18);
    sse(x, PXOR, r[0], x64_r(r[2]));
    shift(x, DWORDS, LEFT, r[2], 18 - 7);
    sse(x, PXOR, r[0], x64_r(r[2]));
    sse(x, PADDD, dst, x64_r(r[0]));
    give_back(t, r, 3);
}

/* The two quadwords of v hold one word twice each: v = small sigma1 of them in words 0 and 1, else 0. A
 * quadword shifted right has the word rotated below. */
static void small_sigma1(struct x64 *x, unsigned v, unsigned other)
{
    move(x, other, x64_r(v));
    shift(x, DWORDS, RIGHT, v, 10);
    shift(x, QWORDS, RIGHT, other, 17);
    sse(x, PXOR, v, x64_r(other));
    shift(x, QWORDS, RIGHT, other, 19 - 17);
    sse(x, PXOR, v, x64_r(other));
    sse_imm(x, PSHUFD, v, x64_r(v), 0x08);
    x64_op(x, 0xf3, 0x0f7e, 4, v, x64_r(v), 0); /* movq */
}

static void sha256_message2(struct tr *t, unsigned dst, struct x64_rm src)
{
    struct x64 *x = &t->x;
    unsigned r[2];

    borrow(t, r, 2);
    sse_imm(x, PSHUFD, r[0], src, 0xfa); /* words 2 and 3 */
    small_sigma1(x, r[0], r[1]);
    sse(x, PADDD, dst, x64_r(r[0]));
    sse_imm(x, PSHUFD, r[0], x64_r(dst), 0x50); /* words 0 and 1 of the result */
    small_sigma1(x, r[0], r[1]);
    shift(x, QWORDS, BYTES_LEFT, r[0], 8);
    sse(x, PADDD, dst, x64_r(r[0]));
    give_back(t, r, 2);
}

/* Halves of an operand to LOW and HIGH. */
static void load_halves(struct tr *t, struct x64_rm rm)
{
    struct x64 *x = &t->x;

    if (rm.is_mem) { /* whose address may be in both */
        struct x64_rm above;
        tr_mem_free_tmp1(t, &rm);
        above = rm;
        above.disp += 8;
        x64_load(x, 8, HIGH, above);
        x64_load(x, 8, LOW, rm);
    } else {
        x64_op(x, 0x66, 0x0f7e, 8, rm.base, x64_r(LOW), 0);    /* movq */
        x64_op(x, 0x66, 0x0f3a16, 8, rm.base, x64_r(HIGH), 0); /* pextrq */
        x64_byte(x, 1);
    }
}

static void result_from_halves(struct x64 *x, unsigned dst)
{
    x64_op(x, 0x66, 0x0f6e, 8, dst, x64_r(LOW), 0);    /* movq */
    x64_op(x, 0x66, 0x0f3a22, 8, dst, x64_r(HIGH), 0); /* pinsrq */
    x64_byte(x, 1);
}

static void sha256_rounds(struct tr *t, unsigned dst, struct x64_rm src)
{
    struct x64 *x = &t->x;

    sse(x, 0x0f7f, dst, SPILL(0));
    sse(x, 0x0fd6, 0, WORD(W_KEYS));
    load_halves(t, src);
    x64_call_to(x, t->j->thunk.sha256 - t->j->rx);
    result_from_halves(x, dst);
}

static void sha1_rounds(struct tr *t, unsigned dst, struct x64_rm src)
{
    struct x64 *x = &t->x;

    if (src.is_mem) {
        struct x64_rm kept = SPILL(0), above = SPILL(0);
        load_halves(t, src);
        above.disp += 8;
        x64_store(x, 8, kept, LOW);
        x64_store(x, 8, above, HIGH);
    } else {
        sse(x, 0x0f7f, src.base, SPILL(0));
    }
    load_halves(t, x64_r(dst));
    x64_call_to(x, t->j->thunk.sha1[t->i->imm & 3] - t->j->rx);
    result_from_halves(x, dst);
}

void tr_sha(struct tr *t, struct x64_rm src)
{
    unsigned dst = t->i->reg;

    switch (insn_row(t->i)->opcode) {
    case 0x0f38c8:
        sha1_next_e(t, dst, src);
        break;
    case 0x0f38c9:
        sha1_message1(t, dst, src);
        break;
    case 0x0f38ca:
        sha1_message2(t, dst, src);
        break;
    case 0x0f38cb:
        sha256_rounds(t, dst, src);
        break;
    case 0x0f38cc:
        sha256_message1(t, dst, src);
        break;
    case 0x0f38cd:
        sha256_message2(t, dst, src);
        break;
    case 0x0f3acc:
        sha1_rounds(t, dst, src);
        break;
    default:
        CHECK(false);
    }
}
