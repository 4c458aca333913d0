/* Lowering shifts and rotates. See x64_tr.h.
 *
 * OF is defined for a count of 1 only. What the interpreter leaves for others follows from the result; what a
 * host leaves differs between makes, so here it is either computed, or the last step of a rotate is one by 1.
 */
#include "cpu/jit/x64_tr.h"

static const uint8_t shift_ext[] = {X_SHL, X_SHR, X_SAR, X_ROL, X_ROR};

static bool is_rotate(unsigned how)
{
    return how >= IR_ROL;
}

static void emit_shift(struct tr *t, unsigned how, unsigned size, struct x64_rm rm, int count)
{
    if (count < 0)
        x64_shift_cl(&t->x, shift_ext[how], size, rm);
    else
        x64_shift_imm(&t->x, shift_ext[how], size, rm, (unsigned)count);
}

/* Guest register n; a count of -1 is CL. */
static void shift_reg(struct tr *t, unsigned how, unsigned n, int count)
{
    struct x64_rm rm = tr_reg(t, n);
    unsigned size = t->i->size;

    if (rm.is_mem && size == 4) {
        x64_load(&t->x, 4, TMP0, rm);
        emit_shift(t, how, 4, x64_r(TMP0), count);
        tr_write_reg(t, n, 4, TMP0);
    } else {
        emit_shift(t, how, size, rm, count);
    }
}

/* ---- by an immediate ------------------------------------------------------------------------------ */

/* All steps but the last, which sets CF and OF. */
static void rotate_before_last(struct tr *t, unsigned how, unsigned n, unsigned count)
{
    unsigned size = t->i->size, bits = size * 8, k = (count - 1) & (bits - 1);
    struct x64_rm rm = tr_reg(t, n);

    if (!k)
        return;
    if (size < 4 || rm.is_mem || !tr_host_has(t, F_BMI2)) {
        tr_flags_clobber(t);
        shift_reg(t, how, n, (int)k);
        return;
    }
    x64_rorx(&t->x, size, rm.base, rm.base, how == IR_ROR ? k : bits - k);
}

static bool rotate_and_flags(struct tr *t, unsigned how, unsigned count)
{
    unsigned n;
    bool af_clear;

    if (tr_dst_is_mem(t) || !tr_reg_number(t->i->rm, t->i->size, &n))
        return false; /* the flags it keeps, and the address, both want TMP0 */
    if (t->f.recipe.regs >> n & 1) /* flags are read even if none is needed afterwards */
        tr_flags_store(t);
    tr_reg_changes(t, n);
    rotate_before_last(t, how, n, count);
    tr_flags_exact(t);
    af_clear = t->f.af_clear;
    shift_reg(t, how, n, 1);
    tr_flags_set(t, af_clear, NULL);
    return true;
}

static bool by_imm(struct tr *t, unsigned how, unsigned count)
{
    unsigned n, size = t->i->size;
    enum of_fix of = OF_HOST;
    struct x64_rm rm;

    if (!count || (!is_rotate(how) && count >= size * 8))
        return false;
    if (is_rotate(how) && tr_flags_live_after(t))
        return rotate_and_flags(t, how, count);
    if (count > 1 && !is_rotate(how))
        of = how == IR_SHL ? OF_SF_CF : OF_CLEAR;
    if (tr_dst_is_mem(t)) {
        if (!tr_mem_check(t, size, true, false, &rm))
            return false;
        emit_shift(t, how, size, rm, (int)count);
    } else {
        if (!tr_reg_number(t->i->rm, size, &n))
            return false;
        shift_reg(t, how, n, (int)count);
    }
    tr_flags_set_by_shift(t, true, of);
    return true;
}

/* ---- by CL ----------------------------------------------------------------------------------------- */

/* After a rotate by more than 0: CF and OF into what is in memory. */
static void put_rotate_flags(struct tr *t, unsigned how, unsigned n)
{
    struct x64 *x = &t->x;
    unsigned size = t->i->size, bits = size * 8;

    x64_load(x, size, TMP0, tr_reg(t, n));
    x64_load(x, size, TMP1, x64_r(TMP0));
    if (how == IR_ROL) { /* CF is bit 0, OF that and the highest */
        x64_shift_imm(x, X_SHR, size, x64_r(TMP1), bits - 1);
        x64_alu_to_reg(x, X_XOR, 4, TMP1, x64_r(TMP0));
    } else { /* CF is the highest bit, OF that and the one below */
        x64_shift_imm(x, X_SHR, size, x64_r(TMP0), bits - 1);
        x64_shift_imm(x, X_SHR, size, x64_r(TMP1), bits - 2);
        x64_alu_to_reg(x, X_XOR, 4, TMP1, x64_r(TMP0));
    }
    x64_alu_imm(x, X_AND, 4, x64_r(TMP1), 1);
    x64_store(x, 1, CPU_FIELD(tr.host_flags), TMP1);
    x64_alu_imm(x, X_AND, 4, x64_r(TMP0), 1);
    tr_flags_put_carry(t);
}

/* OF is the next bit below the sign, as for a count of 1. */
static void put_shr_flags(struct tr *t, unsigned n)
{
    struct x64 *x = &t->x;
    unsigned size = t->i->size;

    x64_byte(x, 0x9f); /* lahf */
    x64_load(x, size, TMP1, tr_reg(t, n));
    x64_shift_imm(x, X_SHR, size, x64_r(TMP1), size * 8 - 2);
    x64_load(x, 1, RAX, x64_r(TMP1));
    tr_put_host_flags(x, true);
}

/* A count of 0 leaves the flags alone: the new ones go to memory only if there are any. */
static void by_cl_and_flags(struct tr *t, unsigned how, unsigned n)
{
    unsigned size = t->i->size;
    struct x64_rm rm = tr_reg(t, n);

    if (is_rotate(how))
        tr_flags_prepare(t);
    else
        tr_flags_store(t);
    x64_test_imm(&t->x, 1, x64_r(RCX), size == 8 ? 63 : 31);
    uint8_t *over = x64_jcc(&t->x, CC_Z);
    shift_reg(t, how, n, -1);
    if (is_rotate(how)) {
        put_rotate_flags(t, how, n);
    } else if (how == IR_SHR) {
        put_shr_flags(t, n);
    } else {
        memset(&t->f, 0, sizeof(t->f));
        t->f.native = t->f.af_clear = true;
        t->f.of = how == IR_SHL ? OF_SF_CF : OF_CLEAR;
        tr_flags_store(t);
    }
    if (!t->x.overflow)
        x64_resolve(over, t->x.p);
    if (size == 4) { /* in any case */
        if (rm.is_mem)
            x64_store_imm(&t->x, 4, x64_m(RBP, rm.disp + 4), 0);
        else
            x64_load(&t->x, 4, rm.base, rm);
    }
    if (is_rotate(how))
        tr_flags_in_host_form(t);
    else
        tr_flags_in_memory(t);
}

static bool by_cl(struct tr *t, unsigned how)
{
    unsigned n, size = t->i->size;
    bool live = tr_flags_live_after(t);
    struct x64_rm rm;

    if (live && (size < 4 || tr_dst_is_mem(t)))
        return false;
    if (tr_dst_is_mem(t)) {
        if (!tr_mem_check(t, size, true, false, &rm))
            return false;
        emit_shift(t, how, size, rm, -1);
        tr_flags_set(t, true, NULL);
        return true;
    }
    if (!tr_reg_number(t->i->rm, size, &n))
        return false;
    if (live) {
        tr_reg_changes(t, n);
        by_cl_and_flags(t, how, n);
    } else {
        shift_reg(t, how, n, -1);
        tr_flags_set(t, true, NULL);
    }
    return true;
}

bool tr_shift(struct tr *t, const struct ir_node *v)
{
    const struct ir_node *count = tr_node(t, v->b);

    if (count->op == IR_IMM)
        return by_imm(t, v->aux, (unsigned)count->imm & (t->i->size == 8 ? 63 : 31));
    return by_cl(t, v->aux);
}
