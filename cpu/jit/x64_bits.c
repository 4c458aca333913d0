/* Lowering bit tests, counts of zeros and BMI1: instructions that set some flags from their result and leave
 * others undefined, which here are what the interpreter says. See x64_tr.h.
 */
#include "cpu/jit/x64_tr.h"

enum {
    BT = 0x0fa3,
    BTS = 0x0fab,
    BTR = 0x0fb3,
    BTC = 0x0fbb,
    BT_IMM = 0x0fba,
    TZCNT = 0x0fbc,
    LZCNT = 0x0fbd,
    ANDN = 0x0f38f2,
    BLS = 0x0f38f3, /* BLSR, BLSMSK, BLSI */
    BZHI = 0x0f38f5,
    BEXTR = 0x0f38f7
};

/* ---- BT, BTS, BTR, BTC ---------------------------------------------------------------------------- */

/* ext as in 0F BA: 4 to 7. CF alone changes. */
static bool test_register(struct tr *t, unsigned ext, bool by_imm)
{
    struct x64_rm bit = by_imm ? x64_r(RAX) : tr_reg(t, t->i->reg);
    struct x64_rm dst = tr_reg(t, t->i->rm);

    if (dst.is_mem || bit.is_mem)
        return false;
    if (ext != 4)
        tr_reg_changes(t, t->i->rm);
    tr_flags_exact(t);
    if (by_imm) {
        x64_op(&t->x, 0, 0x0fba, t->i->size, ext, dst, 0);
        x64_byte(&t->x, (unsigned)t->i->imm & 0xff);
    } else {
        x64_op(&t->x, 0, 0x0f83 + ext * 8, t->i->size, bit.base, dst, 0);
    }
    tr_flags_set(t, t->f.af_clear, NULL);
    return true;
}

/* A register's bit may be far from the operand; an immediate's is in it. */
static bool test_memory(struct tr *t, unsigned ext)
{
    struct x64 *x = &t->x;
    struct x64_rm rm;

    tr_flags_prepare(t);
    if (!tr_mem_check(t, t->i->size, ext != 4, tr_locked(t), &rm))
        return false;
    tr_lock(t);
    x64_op(x, 0, 0x0fba, t->i->size, ext, rm, 0);
    x64_byte(x, (unsigned)t->i->imm & 0xff);
    x64_setcc(x, CC_C, x64_r(TMP0));
    tr_flags_put_carry(t);
    tr_flags_in_host_form(t);
    return true;
}

static bool bit_test(struct tr *t)
{
    const struct insn_row *row = insn_row(t->i);
    bool by_imm = row->opcode == BT_IMM;
    unsigned ext = by_imm ? row->form_reg : (row->opcode - 0x0f83) / 8;

    if (insn_is_mem(t->i))
        return by_imm && test_memory(t, ext);
    return test_register(t, ext, by_imm);
}

/* ---- counts, BMI1 ---------------------------------------------------------------------------------- */

/* The flags of mask as the host's instruction has left them, all others clear. */
static void put_flags(struct tr *t, unsigned mask)
{
    if (!tr_flags_live_after(t)) {
        tr_flags_set(t, false, NULL);
        return;
    }
    x64_byte(&t->x, 0x9f); /* lahf */
    x64_alu_imm(&t->x, X_AND, 4, x64_r(RAX), (int32_t)(mask << 8));
    tr_put_host_flags(&t->x, false);
    tr_flags_in_memory(t);
    t->f.host_form = true;
}

static bool count_zeros(struct tr *t, unsigned opcode)
{
    struct x64_rm rm, dst = tr_reg(t, t->i->reg);
    enum cpu_feature f = opcode == TZCNT ? F_BMI1 : F_LZCNT;

    if (t->i->size < 4 || !tr_host_has(t, f) || !feature_has(&t->cpu->features, f))
        return false;
    if (!tr_source(t, t->i->size, &rm))
        return false;
    x64_op(&t->x, 0xf3, opcode, t->i->size, dst.is_mem ? TMP1 : dst.base, rm, 0);
    if (dst.is_mem)
        tr_write_reg(t, t->i->reg, t->i->size, TMP1);
    put_flags(t, FL_CF | FL_ZF);
    return true;
}

/* Three operands: E, one in VEX.vvvv, and ModRM.reg or the number of the operation. */
static bool bmi(struct tr *t)
{
    const struct insn_row *row = insn_row(t->i);
    bool bls = row->opcode == BLS;
    unsigned size = tr_y_size(t);
    unsigned written = bls ? t->i->vvvv : t->i->reg;
    struct x64_rm rm, dst = tr_reg(t, written), b = tr_reg(t, t->i->vvvv);
    unsigned to = dst.is_mem ? TMP1 : dst.base;

    if (!tr_host_has(t, (enum cpu_feature)row->feature))
        return false;
    if (!tr_source(t, size, &rm))
        return false;
    if (!bls && b.is_mem) {
        x64_load(&t->x, 8, TMP0, b);
        b = x64_r(TMP0);
    }
    x64_vex(&t->x, 2, 0, size == 8, 0, bls ? to : b.base, row->opcode & 0xff,
            bls ? row->form_reg : to, rm);
    if (dst.is_mem)
        tr_write_reg(t, written, size, TMP1);
    put_flags(t, row->opcode == BEXTR ? FL_ZF : FL_SF | FL_ZF | FL_CF);
    return true;
}

bool tr_is_bits(const struct insn *i)
{
    const struct insn_row *row = insn_row(i);

    switch (row->opcode) {
    case BT:
    case BTS:
    case BTR:
    case BTC:
    case BT_IMM:
        return true;
    case TZCNT:
    case LZCNT:
        return row->prefix == P_F3;
    case ANDN:
    case BLS:
    case BZHI:
    case BEXTR:
        return row->prefix == P_NP;
    default:
        return false;
    }
}

bool tr_bits(struct tr *t)
{
    unsigned opcode = insn_row(t->i)->opcode;

    if (opcode > 0xffff)
        return bmi(t);
    return opcode == TZCNT || opcode == LZCNT ? count_zeros(t, opcode) : bit_test(t);
}
