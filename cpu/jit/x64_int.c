/* Lowering the hot integer instructions from their IR to host code, mostly one for one: the hosts' two-
 * operand instructions are the guest's. Guest registers that live in memory are memory operands, with
 * care for writes of 4 bytes, which clear the upper half. See x64_tr.h.
 */
#include "cpu/jit/x64_tr.h"

static bool src_is_mem(const struct tr *t)
{
    return t->ir[t->k].form == HF_RM;
}

static bool dst_number(const struct tr *t, unsigned *n)
{
    return tr_reg_number(src_is_mem(t) ? t->i->reg : t->i->rm, t->i->size, n);
}

static uint32_t bit(unsigned n)
{
    return 1u << n;
}

/* ---- moves ------------------------------------------------------------------------------------- */

static bool mov_imm_to_reg(struct tr *t, unsigned n, uint64_t imm)
{
    struct x64_rm r = tr_reg(t, n);
    unsigned size = t->i->size;

    if (size == 4)
        imm = (uint32_t)imm;
    if (size < 4) {
        x64_store_imm(&t->x, size, r, (int32_t)imm);
    } else if (!r.is_mem) {
        x64_mov_imm(&t->x, r.base, imm);
    } else if (imm == (uint64_t)(int64_t)(int32_t)imm) {
        x64_store_imm(&t->x, 8, r, (int32_t)imm);
    } else {
        x64_mov_imm(&t->x, TMP0, imm);
        x64_store(&t->x, 8, r, TMP0);
    }
    return true;
}

static bool mov_to_reg(struct tr *t, const struct ir_node *v)
{
    unsigned n, m = 0, size = t->i->size;
    struct x64_rm rm, dst;

    if (!dst_number(t, &n))
        return false;
    if (v->op == IR_SRC && !src_is_mem(t) && !tr_reg_number(t->i->reg, size, &m))
        return false;
    tr_reg_changes(t, n);
    dst = tr_reg(t, n);
    if (v->op == IR_IMM)
        return mov_imm_to_reg(t, n, v->imm);
    if (!src_is_mem(t)) {
        rm = tr_reg(t, m);
        if (!rm.is_mem) {
            tr_write_reg(t, n, size, rm.base);
            if (size == 4 && dst.is_mem)
                x64_store_imm(&t->x, 4, x64_m(RBP, dst.disp + 4), 0);
            return true;
        }
    } else if (!tr_mem_check(t, size, false, false, &rm)) {
        return false;
    }
    if (!dst.is_mem) {
        x64_load(&t->x, size, dst.base, rm);
        return true;
    }
    x64_load(&t->x, size, TMP1, rm);
    tr_write_reg(t, n, size, TMP1);
    return true;
}

static bool mov_to_mem(struct tr *t, const struct ir_node *v)
{
    unsigned n = 0, size = t->i->size;
    struct x64_rm rm, src;

    if (v->op == IR_SRC && !tr_reg_number(t->i->reg, size, &n))
        return false;
    if (!tr_mem_check(t, size, true, false, &rm))
        return false;
    if (v->op == IR_IMM) {
        x64_store_imm(&t->x, size, rm, (int32_t)v->imm);
        return true;
    }
    src = tr_reg(t, n);
    if (src.is_mem) {
        tr_mem_free_tmp1(t, &rm);
        x64_load(&t->x, size, TMP1, src);
        src = x64_r(TMP1);
    }
    x64_store(&t->x, size, rm, src.base);
    return true;
}

static bool extend(struct tr *t, const struct ir_node *v)
{
    unsigned n, m, size = t->i->size, from = MIN(v->aux / 8u, size);
    unsigned into;
    struct x64_rm rm;
    bool high = false;

    if (!tr_reg_number(src_is_mem(t) ? t->i->reg : t->i->rm, size, &n))
        return false;
    tr_reg_changes(t, n);
    if (src_is_mem(t)) {
        if (!tr_mem_check(t, from, false, false, &rm))
            return false;
    } else {
        high = !tr_reg_number(t->i->reg, from, &m);
        rm = tr_reg(t, m);
        if (high) { /* by way of AH */
            x64_load(&t->x, 4, RAX, rm);
            rm = x64_r(RSP); /* AH, without REX */
        }
    }
    into = tr_reg(t, n).is_mem || high ? TMP1 : x64_host_of[n];
    if (high) {
        x64_op(&t->x, 0, v->op == IR_ZEXT ? 0x0fb6 : 0x0fbe, 4, RAX, rm, 0);
        if (v->op == IR_ZEXT || size < 8)
            x64_load(&t->x, 4, TMP1, x64_r(RAX));
        else
            x64_movsx(&t->x, 8, TMP1, x64_r(RAX), 4);
    } else if (v->op == IR_ZEXT) {
        x64_movzx(&t->x, size, into, rm, from);
    } else {
        x64_movsx(&t->x, size, into, rm, from);
    }
    if (into == TMP1)
        tr_write_reg(t, n, size, TMP1);
    return true;
}

static bool lea(struct tr *t)
{
    struct insn i = *t->i;
    unsigned n = i.reg, size = i.size;

    if (size == 4 && i.ea_shift == 0)
        i.ea_shift = 32;
    tr_reg_changes(t, n);
    bool direct = size >= 4 && !tr_reg(t, n).is_mem && !(i.base < 16 && tr_reg(t, i.base).is_mem) &&
                  !(i.index < 16 && tr_reg(t, i.index).is_mem);
    if (!tr_address(t, direct ? x64_host_of[n] : TMP1, &i))
        return false;
    if (!direct)
        tr_write_reg(t, n, size, TMP1);
    return true;
}

static bool bswap(struct tr *t)
{
    unsigned n = t->i->rm, size = t->i->size;
    struct x64_rm r = tr_reg(t, n);
    unsigned reg = r.is_mem ? TMP1 : r.base;

    if (size == 2)
        return false;
    tr_reg_changes(t, n);
    if (r.is_mem)
        x64_load(&t->x, size, TMP1, r);
    x64_byte(&t->x, 0x40 | (size == 8 ? 8 : 0) | (reg & 8 ? 1 : 0));
    x64_byte(&t->x, 0x0f);
    x64_byte(&t->x, 0xc8 | (reg & 7));
    if (r.is_mem)
        tr_write_reg(t, n, size, TMP1);
    return true;
}

static bool setcc(struct tr *t, const struct ir_node *v)
{
    unsigned n;
    struct x64_rm rm;

    if (!tr_dst_is_mem(t)) {
        if (!dst_number(t, &n))
            return false;
        tr_flags_native(t, (enum x64_cc)v->aux);
        tr_reg_changes(t, n);
        x64_setcc(&t->x, (enum x64_cc)v->aux, tr_reg(t, n));
        return true;
    }
    tr_flags_native(t, (enum x64_cc)v->aux);
    x64_setcc(&t->x, (enum x64_cc)v->aux, CPU_FIELD(tr.spill));
    if (!tr_mem_check(t, 1, true, false, &rm))
        return false;
    tr_mem_free_tmp1(t, &rm);
    x64_load(&t->x, 1, TMP1, CPU_FIELD(tr.spill));
    x64_store(&t->x, 1, rm, TMP1);
    return true;
}

static void cmov(struct x64 *x, unsigned cc, unsigned size, unsigned dst, struct x64_rm src)
{
    x64_op(x, 0, 0x0f40u + cc, size, dst, src, 0);
}

static bool select_value(struct tr *t, const struct ir_node *v)
{
    unsigned n = src_is_mem(t) ? t->i->reg : t->i->rm, size = t->i->size;
    struct x64_rm src, dst = tr_reg(t, n);

    tr_reg_changes(t, n);
    if (src_is_mem(t)) {
        if (!tr_mem_check(t, size, false, false, &src))
            return false;
        x64_load(&t->x, size, TMP1, src);
        x64_store(&t->x, 8, CPU_FIELD(tr.spill), TMP1);
        tr_flags_native(t, (enum x64_cc)v->aux);
        src = CPU_FIELD(tr.spill);
    } else {
        tr_flags_native(t, (enum x64_cc)v->aux);
        src = tr_reg(t, t->i->reg);
    }
    if (!dst.is_mem) {
        cmov(&t->x, v->aux, size, dst.base, src);
        return true;
    }
    x64_load(&t->x, size, TMP0, dst);
    cmov(&t->x, v->aux, size, TMP0, src);
    tr_write_reg(t, n, size, TMP0);
    return true;
}

static bool exchange(struct tr *t)
{
    unsigned n, m, size = t->i->size;
    struct x64_rm rm, src;

    if (!tr_reg_number(t->i->reg, size, &m))
        return false;
    src = tr_reg(t, m);
    if (tr_dst_is_mem(t)) {
        if (src.is_mem)
            return false;
        tr_reg_changes(t, m);
        if (!tr_mem_check(t, size, true, tr_locked(t), &rm))
            return false;
        if (tr_locked(t)) { /* XCHG needs no prefix */
            x64_op(&t->x, 0, size > 1 ? 0x87 : 0x86, size, src.base, rm,
                   size == 1 ? X64_BYTE_REG : 0);
            return true;
        }
        tr_mem_free_tmp1(t, &rm);
        x64_load(&t->x, size, TMP1, rm);
        x64_store(&t->x, size, rm, src.base);
        tr_write_reg(t, m, size, TMP1);
        return true;
    }
    if (!tr_reg_number(t->i->rm, size, &n))
        return false;
    if (tr_find(t, IR_DST) && n == m)
        return true; /* XCHG of the accumulator with itself is NOP, also where it would clear bits */
    tr_reg_changes(t, n);
    tr_reg_changes(t, m);
    x64_load(&t->x, size, TMP1, tr_reg(t, n));
    x64_load(&t->x, size, TMP0, src);
    tr_write_reg(t, n, size, TMP0);
    tr_write_reg(t, m, size, TMP1);
    return true;
}

/* ---- arithmetic -------------------------------------------------------------------------------- */

static bool alu_of(enum ir_op op, enum x64_alu *alu)
{
    switch (op) {
    case IR_ADD:
        *alu = X_ADD;
        return true;
    case IR_SUB:
        *alu = X_SUB;
        return true;
    case IR_AND:
        *alu = X_AND;
        return true;
    case IR_OR:
        *alu = X_OR;
        return true;
    case IR_XOR:
        *alu = X_XOR;
        return true;
    case IR_ADC:
        *alu = X_ADC;
        return true;
    case IR_SBB:
        *alu = X_SBB;
        return true;
    default:
        return false;
    }
}

static bool is_logic(enum x64_alu alu)
{
    return alu == X_AND || alu == X_OR || alu == X_XOR;
}

static void set_flags_of_alu(struct tr *t, enum x64_alu alu, unsigned n, const struct ir_node *b,
                             unsigned m)
{
    struct recipe r = {.size = t->i->size, .a = tr_reg(t, n), .regs = bit(n)};

    if (is_logic(alu)) {
        r.kind = RECIPE_TEST;
    } else if (alu == X_ADD || alu == X_SUB) {
        if (b->op == IR_IMM) {
            r.b_imm = true;
            r.imm = (int32_t)b->imm;
            r.kind = alu == X_ADD ? RECIPE_ADD : RECIPE_SUB;
        } else if (!src_is_mem(t) && m != n) {
            r.b = tr_reg(t, m);
            r.regs |= bit(m);
            r.kind = alu == X_ADD ? RECIPE_ADD : RECIPE_SUB;
        }
    }
    tr_flags_set(t, is_logic(alu), &r);
}

/* AH to BH with an immediate byte, by way of the host's AH, which only instructions without REX name. ext: of
 * 80 (ALU), or F6 /0 with test. */
static bool high_byte_by_imm(struct tr *t, enum x64_alu alu, bool test, const struct ir_node *b)
{
    unsigned n = t->i->rm >> 3;
    struct x64 *x = &t->x;

    if (b->op != IR_IMM || alu == X_ADC || alu == X_SBB)
        return false;
    x64_load(x, 8, RAX, tr_reg(t, n));
    x64_byte(x, test ? 0xf6 : 0x80);
    x64_byte(x, 0xc4 | (test ? 0 : alu << 3));
    x64_byte(x, (unsigned)b->imm & 0xff);
    if (!test && alu != X_CMP)
        x64_store(x, 8, tr_reg(t, n), RAX);
    tr_flags_set(t, test || is_logic(alu), NULL);
    return true;
}

static bool alu_to_reg(struct tr *t, enum x64_alu alu, const struct ir_node *b)
{
    unsigned n, m = 0, size = t->i->size;
    struct x64_rm dst, src = {0};
    struct x64 *x = &t->x;

    if (!dst_number(t, &n))
        return !src_is_mem(t) && high_byte_by_imm(t, alu, false, b);
    if (b->op == IR_SRC && !src_is_mem(t) && !tr_reg_number(t->i->reg, size, &m))
        return false;
    dst = tr_reg(t, n);
    if (b->op == IR_SRC && src_is_mem(t)) {
        if (alu == X_ADC || alu == X_SBB)
            tr_flags_prepare(t); /* while TMP0 is free */
        if (!tr_mem_check(t, size, false, false, &src))
            return false;
        if (dst.is_mem) {
            x64_load(x, size, TMP1, src);
            src = x64_r(TMP1);
        }
    } else if (b->op == IR_SRC) {
        src = tr_reg(t, m);
    }
    if (alu == X_ADC || alu == X_SBB) {
        if (!src_is_mem(t) && !t->f.native)
            tr_flags_prepare(t);
        tr_flags_carry(t);
    }
    if (!dst.is_mem) {
        if (b->op == IR_IMM)
            x64_alu_imm(x, alu, size, dst, (int32_t)b->imm);
        else
            x64_alu_to_reg(x, alu, size, dst.base, src);
    } else {
        x64_load(x, size, TMP0, dst);
        if (b->op == IR_IMM)
            x64_alu_imm(x, alu, size, x64_r(TMP0), (int32_t)b->imm);
        else
            x64_alu_to_reg(x, alu, size, TMP0, src);
        tr_write_reg(t, n, size, TMP0);
    }
    set_flags_of_alu(t, alu, n, b, m);
    return true;
}

static bool alu_to_mem(struct tr *t, enum x64_alu alu, const struct ir_node *b)
{
    unsigned m = 0, size = t->i->size;
    struct x64_rm rm, src;
    struct x64 *x = &t->x;

    if (b->op == IR_SRC && !tr_reg_number(t->i->reg, size, &m))
        return false;
    if (alu == X_ADC || alu == X_SBB)
        tr_flags_prepare(t); /* while TMP0 is free */
    if (!tr_mem_check(t, size, true, tr_locked(t), &rm))
        return false;
    if (b->op == IR_SRC) {
        src = tr_reg(t, m);
        if (src.is_mem) {
            tr_mem_free_tmp1(t, &rm);
            x64_load(x, size, TMP1, src);
            src = x64_r(TMP1);
        }
    }
    if (alu == X_ADC || alu == X_SBB)
        tr_flags_carry(t);
    tr_lock(t);
    if (b->op == IR_IMM)
        x64_alu_imm(x, alu, size, rm, (int32_t)b->imm);
    else
        x64_alu_to_rm(x, alu, size, rm, src.base);
    tr_flags_set(t, is_logic(alu), NULL);
    return true;
}

/* NOT, NEG, INC, DEC: one operand; ext is the extension of the host's opcode. */
static bool unary(struct tr *t, unsigned opcode, unsigned ext)
{
    unsigned n = 0, size = t->i->size;
    struct x64_rm rm;
    bool keeps_carry = opcode == 0xfe;
    unsigned bytes = size == 1 ? X64_BYTE_RM : 0;

    keeps_carry = keeps_carry && tr_flags_live_after(t);
    if (tr_dst_is_mem(t)) {
        if (keeps_carry)
            tr_flags_prepare(t); /* while TMP0 is free */
        if (!tr_mem_check(t, size, true, tr_locked(t), &rm))
            return false;
    } else {
        if (!dst_number(t, &n))
            return false;
        rm = tr_reg(t, n);
        if (keeps_carry && !t->f.native)
            tr_flags_prepare(t);
    }
    if (keeps_carry)
        tr_flags_carry(t);
    if (size > 1)
        opcode |= 1;
    if (!tr_dst_is_mem(t) && rm.is_mem) {
        x64_load(&t->x, size, TMP0, rm);
        x64_op(&t->x, 0, opcode, size, ext, x64_r(TMP0), bytes);
        tr_write_reg(t, n, size, TMP0);
    } else {
        tr_lock(t);
        x64_op(&t->x, 0, opcode, size, ext, rm, bytes);
    }
    return true;
}

static bool invert(struct tr *t)
{
    unsigned n;

    if (!tr_dst_is_mem(t)) {
        if (!dst_number(t, &n))
            return false;
        tr_reg_changes(t, n);
    }
    return unary(t, 0xf6, 2);
}

static bool negate(struct tr *t)
{
    if (!unary(t, 0xf6, 3))
        return false;
    tr_flags_set(t, false, NULL);
    return true;
}

static bool increment(struct tr *t, bool down)
{
    if (!unary(t, 0xfe, down))
        return false;
    tr_flags_set(t, false, NULL);
    return true;
}

/* CMP and TEST. */
static bool compare(struct tr *t, const struct ir_node *v)
{
    const struct ir_node *b = tr_node(t, v->b);
    bool test = v->op == IR_AND;
    unsigned n = 0, m = 0, size = t->i->size;
    struct recipe r = {.size = (uint8_t)size};
    struct x64_rm a, src = {0};
    struct x64 *x = &t->x;

    if (!tr_dst_is_mem(t) && !dst_number(t, &n))
        return !src_is_mem(t) && high_byte_by_imm(t, X_CMP, test, b);
    if (b->op == IR_SRC && !src_is_mem(t) && !tr_reg_number(t->i->reg, size, &m))
        return false;
    a = tr_reg(t, n);
    if (tr_dst_is_mem(t) || src_is_mem(t)) {
        struct x64_rm rm;
        if (!tr_mem_check(t, size, false, false, &rm))
            return false;
        if (tr_dst_is_mem(t))
            a = rm;
        else
            src = rm;
    }
    if (b->op == IR_IMM) {
        if (test)
            x64_test_imm(x, size, a, (int32_t)b->imm);
        else
            x64_alu_imm(x, X_CMP, size, a, (int32_t)b->imm);
    } else {
        if (!src_is_mem(t))
            src = tr_reg(t, m);
        if (a.is_mem && src.is_mem) { /* one of them is a guest register */
            unsigned tmp = tr_dst_is_mem(t) || src_is_mem(t) ? TMP1 : TMP0;
            if (tr_dst_is_mem(t))
                x64_load(x, size, TMP1, a), a = x64_r(TMP1);
            else if (src_is_mem(t))
                x64_load(x, size, TMP1, src), src = x64_r(TMP1);
            else
                x64_load(x, size, tmp, a), a = x64_r(tmp);
        }
        if (test && src.is_mem)
            x64_test(x, size, src, a.base);
        else if (test)
            x64_test(x, size, a, src.base);
        else if (src.is_mem)
            x64_alu_to_reg(x, X_CMP, size, a.base, src);
        else
            x64_alu_to_rm(x, X_CMP, size, a, src.base);
    }
    if (!tr_dst_is_mem(t) && !src_is_mem(t)) {
        r.a = tr_reg(t, n);
        r.regs = bit(n);
        if (!test) {
            r.kind = RECIPE_CMP;
            r.b_imm = b->op == IR_IMM;
            r.imm = (int32_t)b->imm;
            if (!r.b_imm) {
                r.b = tr_reg(t, m);
                r.regs |= bit(m);
            }
        } else if (b->op == IR_SRC && m == n) {
            r.kind = RECIPE_TEST;
        }
    }
    tr_flags_set(t, test, &r);
    return true;
}

/* ---- products ----------------------------------------------------------------------------------- */

/* CF and OF as the host's; SF and PF of the result, AF and ZF clear. */
static void store_product_flags(struct tr *t, struct x64_rm dst, unsigned size)
{
    struct x64 *x = &t->x;

    x64_setcc(x, CC_O, x64_r(TMP1));
    x64_alu_imm(x, X_CMP, size, dst, 0);
    x64_byte(x, 0x9f); /* lahf */
    x64_alu_imm(x, X_AND, 4, x64_r(RAX), (FL_SF | FL_PF) << 8);
    x64_movzx(x, 4, TMP1, x64_r(TMP1), 1);
    x64_op(x, 0, 0x69, 4, TMP1, x64_r(TMP1), 0); /* OF also to CF's place */
    x64_u32(x, 0x101);
    x64_alu_to_reg(x, X_OR, 4, RAX, x64_r(TMP1));
    tr_put_host_flags(x, false);
}

void tr_product_flags(struct tr *t, struct x64_rm dst)
{
    if (!tr_flags_live_after(t)) {
        tr_flags_set(t, false, NULL);
        return;
    }
    store_product_flags(t, dst, t->i->size);
    tr_flags_in_memory(t);
    t->f.host_form = true;
}

static bool multiply(struct tr *t, const struct ir_node *v)
{
    unsigned n = src_is_mem(t) ? t->i->reg : t->i->rm, size = t->i->size;
    const struct ir_node *b = tr_node(t, v->b);
    bool by_imm = b->op == IR_IMM;
    struct x64_rm src, dst = tr_reg(t, n);
    unsigned reg;

    if (size == 1)
        return false;
    if (src_is_mem(t)) {
        if (!tr_mem_check(t, size, false, false, &src))
            return false;
    } else {
        src = tr_reg(t, t->i->reg);
    }
    if (dst.is_mem && !by_imm && src_is_mem(t)) {
        x64_load(&t->x, size, TMP1, src);
        src = x64_r(TMP1);
    }
    reg = dst.is_mem ? TMP0 : dst.base;
    if (by_imm) {
        x64_op(&t->x, 0, 0x69, size, reg, src, 0);
        if (size == 2) {
            x64_byte(&t->x, (unsigned)b->imm & 0xff);
            x64_byte(&t->x, (unsigned)(b->imm >> 8) & 0xff);
        } else {
            x64_u32(&t->x, (uint32_t)b->imm);
        }
    } else {
        if (dst.is_mem)
            x64_load(&t->x, size, TMP0, dst);
        x64_op(&t->x, 0, 0x0faf, size, reg, src, 0);
    }
    if (dst.is_mem)
        tr_write_reg(t, n, size, TMP0);
    tr_product_flags(t, dst);
    return true;
}

static bool widen_a(struct tr *t)
{
    tr_reg_changes(t, REG_AX);
    x64_movsx(&t->x, t->i->size, RBX, x64_r(RBX), t->i->size / 2u);
    return true;
}

static bool sign_of_a(struct tr *t)
{
    unsigned size = t->i->size;

    tr_reg_changes(t, REG_DX);
    tr_flags_clobber(t);
    if (size == 2) {
        x64_movsx(&t->x, 4, RAX, x64_r(RBX), 2);
        x64_shift_imm(&t->x, X_SHR, 4, x64_r(RAX), 16);
        x64_store(&t->x, 2, x64_r(RDX), RAX);
        return true;
    }
    x64_load(&t->x, size, RDX, x64_r(RBX));
    x64_shift_imm(&t->x, X_SAR, size, x64_r(RDX), size * 8 - 1);
    return true;
}

/* ---- which of them it is ------------------------------------------------------------------------- */

static bool lower_write(struct tr *t, const struct ir_node *v)
{
    const struct ir_node *flags = tr_find(t, IR_FLAGS);
    enum x64_alu alu;

    switch (v->op) {
    case IR_SRC:
    case IR_IMM:
        return tr_dst_is_mem(t) ? mov_to_mem(t, v) : mov_to_reg(t, v);
    case IR_EA:
        return lea(t);
    case IR_NOT:
        return invert(t);
    case IR_NEG:
        return negate(t);
    case IR_BSWAP:
        return bswap(t);
    case IR_ZEXT:
    case IR_SEXT:
        return extend(t, v);
    case IR_BOOL:
        return setcc(t, v);
    case IR_SELECT:
        return select_value(t, v);
    default:
        break;
    }
    if (flags && (flags->aux == CC_INC || flags->aux == CC_DEC))
        return increment(t, flags->aux == CC_DEC);
    if (!alu_of((enum ir_op)v->op, &alu))
        return false;
    return tr_dst_is_mem(t) ? alu_to_mem(t, alu, tr_node(t, v->b))
                            : alu_to_reg(t, alu, tr_node(t, v->b));
}

bool tr_hot(struct tr *t)
{
    const struct ir_node *n;
    const struct row_info *info = &t->cpu->decode->info[t->i->row];
    bool done;

    if (info->moffs && t->i->imm != (uint64_t)(int64_t)(int32_t)t->i->imm)
        return false;
    if (tr_flow(t, &done))
        return done;
    if ((n = tr_find(t, IR_SHIFT)))
        return tr_shift(t, n);
    if ((n = tr_find(t, IR_MULTIPLY)))
        return multiply(t, n);
    if (tr_find(t, IR_WIDEN_A))
        return widen_a(t);
    if (tr_find(t, IR_SIGN_OF_A))
        return sign_of_a(t);
    if (tr_find(t, IR_WRITE_SRC))
        return exchange(t);
    if ((n = tr_find(t, IR_WRITE)))
        return lower_write(t, tr_node(t, n->a));
    if ((n = tr_find(t, IR_FLAGS)))
        return compare(t, tr_node(t, n->a));
    return false;
}
