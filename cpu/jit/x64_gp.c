/* Lowering integer instructions that have no body in sem.inc but are met often: products of two registers'
 * width, quotients, carry chains, exchanges with memory. What they leave in undefined flags is
 * what the interpreter leaves. See x64_tr.h.
 */
#include "cpu/jit/x64_tr.h"

static bool is_byte(const struct insn *i)
{
    return i->size == 1;
}

bool tr_source(struct tr *t, unsigned size, struct x64_rm *rm)
{
    if (!insn_is_mem(t->i)) {
        *rm = tr_reg(t, t->i->rm);
        return true;
    }
    if (!tr_mem_check(t, size, false, false, rm))
        return false;
    x64_load(&t->x, size, TMP1, *rm);
    x64_store(&t->x, 8, CPU_FIELD(tr.spill), TMP1);
    *rm = CPU_FIELD(tr.spill);
    return true;
}

/* ext 4 MUL, 5 IMUL: rDX:rAX = rAX * E */
static bool multiply_wide(struct tr *t, unsigned ext)
{
    struct x64 *x = &t->x;
    unsigned size = t->i->size;
    struct x64_rm rm;

    if (!tr_source(t, size, &rm))
        return false;
    x64_load(x, 8, RAX, x64_r(RBX));
    x64_op(x, 0, 0xf7, size, ext, rm, 0);
    x64_load(x, 8, RBX, x64_r(RAX));
    tr_product_flags(t, x64_r(RBX));
    return true;
}

/* ext 6 DIV, 7 IDIV. What may not fit, or has no quotient, is the interpreter's. */
static bool divide(struct tr *t, unsigned ext)
{
    struct x64 *x = &t->x;
    unsigned size = t->i->size;
    struct x64_rm rm;

    tr_reg_changes(t, REG_AX);
    tr_reg_changes(t, REG_DX);
    if (!tr_source(t, size, &rm))
        return false;
    tr_flags_clobber(t);
    if (ext == 6) {
        x64_alu_to_reg(x, X_CMP, size, RDX, rm);
        tr_miss(t, CC_NC);
    } else { /* a dividend of one register's width, and no divisor of 0 or -1 */
        x64_load(x, size, RAX, x64_r(RBX));
        x64_shift_imm(x, X_SAR, size, x64_r(RAX), size * 8 - 1);
        x64_alu_to_reg(x, X_CMP, size, RAX, x64_r(RDX));
        tr_miss(t, CC_NZ);
        x64_load(x, size, RAX, rm);
        x64_alu_imm(x, X_ADD, size, x64_r(RAX), 1);
        x64_alu_imm(x, X_CMP, size, x64_r(RAX), 1);
        tr_miss(t, CC_BE);
    }
    x64_load(x, size, RAX, x64_r(RBX));
    x64_op(x, 0, 0xf7, size, ext, rm, 0);
    x64_load(x, size, RBX, x64_r(RAX));
    return true;
}

/* AX = AL * E; AL and AH = quotient and remainder of AX by E. ext as above, and the same cases left out. */
static bool byte_product_or_quotient(struct tr *t, unsigned ext)
{
    struct x64 *x = &t->x;
    struct x64_rm rm;

    if (!insn_is_mem(t->i) && (t->i->rm & 7)) /* AH to BH */
        return false;
    tr_reg_changes(t, REG_AX);
    if (insn_is_mem(t->i)) {
        if (!tr_source(t, 1, &rm))
            return false;
    } else {
        rm = tr_reg(t, t->i->rm >> 3);
    }
    if (ext >= 6)
        tr_flags_clobber(t);
    if (ext == 6) {
        x64_load(x, 4, RAX, x64_r(RBX));
        x64_shift_imm(x, X_SHR, 4, x64_r(RAX), 8);
        x64_alu_to_reg(x, X_CMP, 1, RAX, rm);
        tr_miss(t, CC_NC);
    } else if (ext == 7) {
        x64_movsx(x, 4, RAX, x64_r(RBX), 1);
        x64_alu_to_reg(x, X_CMP, 2, RAX, x64_r(RBX));
        tr_miss(t, CC_NZ);
        x64_load(x, 1, RAX, rm);
        x64_alu_imm(x, X_ADD, 1, x64_r(RAX), 1);
        x64_alu_imm(x, X_CMP, 1, x64_r(RAX), 1);
        tr_miss(t, CC_BE);
    }
    x64_load(x, 4, RAX, x64_r(RBX));
    x64_op(x, 0, 0xf6, 1, ext, rm, X64_BYTE_RM);
    x64_store(x, 2, x64_r(RBX), RAX);
    if (ext < 6)
        tr_product_flags(t, x64_r(RBX));
    return true;
}

/* ADCX, ADOX: one flag in and out, the others stay. */
static bool add_chain(struct tr *t, unsigned prefix)
{
    unsigned size = tr_y_size(t);
    struct x64_rm rm, dst = tr_reg(t, t->i->reg);

    if (!tr_host_has(t, F_ADX))
        return false;
    if (t->f.recipe.regs >> t->i->reg & 1) /* the flag is read even if none is needed afterwards */
        tr_flags_store(t);
    tr_reg_changes(t, t->i->reg);
    if (!tr_source(t, size, &rm))
        return false;
    tr_flags_exact(t);
    if (dst.is_mem)
        x64_load(&t->x, size, TMP0, dst);
    x64_op(&t->x, prefix, 0x0f38f6, size, dst.is_mem ? TMP0 : dst.base, rm, 0);
    if (dst.is_mem)
        tr_write_reg(t, t->i->reg, size, TMP0);
    tr_flags_set(t, t->f.af_clear, NULL);
    return true;
}

/* CLC, STC, CMC */
static bool set_carry(struct tr *t, unsigned opcode)
{
    tr_flags_exact(t);
    x64_byte(&t->x, opcode);
    tr_flags_set(t, t->f.af_clear, NULL);
    return true;
}

static bool multiply_no_flags(struct tr *t)
{
    unsigned size = tr_y_size(t);
    struct x64_rm rm, hi = tr_reg(t, t->i->reg), lo = tr_reg(t, t->i->vvvv);

    if (!tr_host_has(t, F_BMI2))
        return false;
    tr_reg_changes(t, t->i->reg);
    tr_reg_changes(t, t->i->vvvv);
    if (!tr_source(t, size, &rm))
        return false;
    x64_vex(&t->x, 2, 3, size == 8, 0, lo.is_mem ? TMP0 : lo.base, 0xf6, hi.is_mem ? TMP1 : hi.base,
            rm);
    if (lo.is_mem) /* where both are one register, it gets the upper half */
        tr_write_reg(t, t->i->vvvv, size, TMP0);
    if (hi.is_mem)
        tr_write_reg(t, t->i->reg, size, TMP1);
    return true;
}

static bool exchange_add(struct tr *t)
{
    struct x64_rm rm, src = tr_reg(t, t->i->reg);

    if (!insn_is_mem(t->i) || src.is_mem)
        return false;
    if (!tr_mem_check(t, t->i->size, true, tr_locked(t), &rm))
        return false;
    tr_lock(t);
    x64_op(&t->x, 0, 0x0fc1, t->i->size, src.base, rm, 0);
    tr_flags_set(t, false, NULL);
    return true;
}

/* The accumulator is the host's, where the address was. */
static bool compare_exchange(struct tr *t)
{
    struct x64 *x = &t->x;
    unsigned size = t->i->size;
    struct x64_rm rm, src = tr_reg(t, t->i->reg);

    if (!insn_is_mem(t->i) || src.is_mem)
        return false;
    if (!tr_mem_check(t, size, true, tr_locked(t), &rm))
        return false;
    x64_lea(x, 8, TMP1, rm);
    x64_load(x, size, RAX, x64_r(RBX));
    tr_lock(t);
    x64_op(x, 0, 0x0fb1, size, src.base, x64_m(TMP1, 0), 0);
    uint8_t *equal = x64_jcc(x, CC_Z); /* then the accumulator is not written, nor its upper half */
    x64_load(x, size, RBX, x64_r(RAX));
    if (!x->overflow)
        x64_resolve(equal, x->p);
    tr_flags_set(t, false, NULL);
    return true;
}

bool tr_is_general(const struct insn *i)
{
    switch (insn_row(i)->opcode) {
    case 0xf5:
    case 0xf7:
    case 0xf8:
    case 0xf9:
    case 0x0f38f6:
        return true;
    case 0x0fb1:
    case 0x0fc1:
        return insn_is_mem(i);
    default:
        return tr_is_bits(i);
    }
}

bool tr_general(struct tr *t)
{
    const struct insn_row *row = insn_row(t->i);

    if (tr_is_bits(t->i))
        return tr_bits(t);
    if (row->opcode == 0x0f38f6)
        return row->prefix == P_F2 ? multiply_no_flags(t)
                                   : add_chain(t, row->prefix == P_66 ? 0x66 : 0xf3);
    if (row->opcode == 0xf6 && row->form_reg >= 4)
        return byte_product_or_quotient(t, row->form_reg);
    if (row->opcode == 0xf5 || row->opcode == 0xf8 || row->opcode == 0xf9)
        return set_carry(t, row->opcode);
    if (is_byte(t->i) || row->prefix != P_ANY)
        return false;
    switch (row->opcode) {
    case 0xf7:
        return row->form_reg < 6 ? multiply_wide(t, row->form_reg) : divide(t, row->form_reg);
    case 0x0fc1:
        return exchange_add(t);
    case 0x0fb1:
        return compare_exchange(t);
    default:
        return false;
    }
}
