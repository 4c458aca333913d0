/* Lowering what uses the stack, and branches. See x64_tr.h.
 *
 * What ends a block stores the flags first, while the temporaries are free.
 */
#include "cpu/jit/x64_tr.h"

/* ---- the stack ---------------------------------------------------------------------------------- */

static unsigned stack_size(const struct tr *t)
{
    return t->code64 ? 8 : 4;
}

static void add_to_sp(struct tr *t, int32_t n)
{
    x64_lea(&t->x, stack_size(t), R14, x64_m(R14, n));
}

static bool push(struct tr *t, const struct ir_node *v)
{
    unsigned size = stack_size(t);
    struct x64_rm m, src;

    if (t->i->size != size)
        return false;
    tr_reg_changes(t, REG_SP);
    if (v->op == IR_DST && tr_dst_is_mem(t)) {
        if (!tr_mem_check(t, size, false, false, &src))
            return false;
        x64_load(&t->x, size, TMP1, src);
        x64_store(&t->x, 8, CPU_FIELD(tr.spill), TMP1);
        src = CPU_FIELD(tr.spill);
    } else if (v->op == IR_DST) {
        src = tr_reg(t, t->i->rm);
    }
    if (!tr_stack_check(t, REG_SP, -(int32_t)size, size, true, &m))
        return false;
    if (v->op == IR_IMM) {
        x64_store_imm(&t->x, size, m, (int32_t)v->imm);
    } else if (src.is_mem) {
        tr_mem_free_tmp1(t, &m);
        x64_load(&t->x, size, TMP1, src);
        x64_store(&t->x, size, m, TMP1);
    } else {
        x64_store(&t->x, size, m, src.base);
    }
    add_to_sp(t, -(int32_t)size);
    return true;
}

static bool pop(struct tr *t)
{
    unsigned size = stack_size(t), n = t->i->rm;
    struct x64_rm m, dst = tr_reg(t, n);

    if (t->i->size != size)
        return false;
    tr_reg_changes(t, REG_SP);
    tr_reg_changes(t, n);
    if (!tr_stack_check(t, REG_SP, 0, size, false, &m))
        return false;
    if (!dst.is_mem && n != REG_SP) {
        x64_load(&t->x, size, dst.base, m);
        add_to_sp(t, (int32_t)size);
        return true;
    }
    x64_load(&t->x, size, TMP1, m);
    add_to_sp(t, (int32_t)size);
    tr_write_reg(t, n, size, TMP1);
    return true;
}

static bool leave(struct tr *t)
{
    unsigned size = stack_size(t);
    struct x64_rm m;

    if (t->i->size != size)
        return false;
    tr_reg_changes(t, REG_SP);
    tr_reg_changes(t, REG_BP);
    if (!tr_stack_check(t, REG_BP, 0, size, false, &m))
        return false;
    x64_load(&t->x, size, TMP1, m);
    x64_lea(&t->x, size, R14, x64_m(R13, (int32_t)size));
    x64_load(&t->x, size, R13, x64_r(TMP1));
    return true;
}

/* ---- branches ----------------------------------------------------------------------------------- */

bool tr_target_offset(const struct tr *t, uint32_t *offset)
{
    int64_t to = (int64_t)tr_next_offset(t) + (int64_t)t->i->imm;

    if (t->seg)
        return tr_seg_target(t, offset);
    *offset = (uint32_t)to;
    return t->i->size == stack_size(t) && to == (int32_t)to;
}

static bool jump(struct tr *t)
{
    uint32_t to;

    if (!tr_target_offset(t, &to))
        return false;
    if (!tr_is_last(t))
        return true;
    tr_flags_store(t);
    tr_goto(t, to);
    return true;
}

static bool jump_if(struct tr *t, unsigned cc)
{
    uint32_t to;

    if (!tr_target_offset(t, &to))
        return false;
    if (!tr_is_last(t)) {
        bool takes = t->part[t->p].takes;
        tr_flags_native(t, (enum x64_cc)cc);
        tr_side_exit(t, (enum x64_cc)(cc ^ takes), takes ? tr_next_offset(t) : to);
        return true;
    }
    tr_flags_store(t);
    tr_flags_native(t, (enum x64_cc)cc);
    tr_goto_if(t, (enum x64_cc)cc, to, tr_next_offset(t));
    return true;
}

static void push_return(struct tr *t, struct x64_rm m)
{
    unsigned size = stack_size(t);

    tr_mem_free_tmp1(t, &m);
    tr_rip(t, TMP1, tr_next_offset(t));
    x64_store(&t->x, size, m, TMP1);
    add_to_sp(t, -(int32_t)size);
}

static bool call(struct tr *t)
{
    unsigned size = stack_size(t);
    struct x64_rm m;
    uint32_t to;

    if (!tr_target_offset(t, &to))
        return false;
    tr_flags_store(t);
    if (!tr_stack_check(t, REG_SP, -(int32_t)size, size, true, &m))
        return false;
    push_return(t, m);
    t->frame = tr_frame_fits(t) && to != tr_next_offset(t); /* that is how code asks where it is */
    tr_goto(t, to);
    t->frame = false;
    return true;
}

/* TMP0 = target of an indirect branch, its operand read. */
static bool read_target(struct tr *t)
{
    unsigned size = stack_size(t);
    struct x64_rm m;

    if (t->i->size != size)
        return false;
    tr_flags_store(t);
    if (!tr_dst_is_mem(t)) {
        x64_load(&t->x, size, TMP0, tr_reg(t, t->i->rm));
        return true;
    }
    if (!tr_mem_check(t, size, false, false, &m))
        return false;
    x64_load(&t->x, size, TMP0, m);
    return true;
}

static bool jump_indirect(struct tr *t)
{
    if (!read_target(t))
        return false;
    tr_goto_tmp0(t, 0);
    return true;
}

static bool call_indirect(struct tr *t)
{
    unsigned size = stack_size(t);
    struct x64 *x = &t->x;
    struct x64_rm m;

    if (!read_target(t))
        return false;
    if (t->code64) /* canonical, or it faults before the push */
        tr_miss(t, tr_not_canonical(t));
    x64_store(x, 8, CPU_FIELD(tr.spill), TMP0);
    if (!tr_stack_check(t, REG_SP, -(int32_t)size, size, true, &m))
        return false;
    push_return(t, m);
    x64_load(x, 8, TMP0, CPU_FIELD(tr.spill));
    t->frame = tr_frame_fits(t);
    tr_goto_tmp0(t, 0);
    t->frame = false;
    return true;
}

static bool ret(struct tr *t, int32_t sp_add)
{
    unsigned size = stack_size(t);
    struct x64_rm m;

    if (t->i->size != size)
        return false;
    tr_flags_store(t);
    if (!tr_stack_check(t, REG_SP, 0, size, false, &m))
        return false;
    x64_load(&t->x, size, TMP0, m);
    add_to_sp(t, sp_add);
    tr_goto_tmp0(t, sp_add);
    return true;
}

static bool lower_branch(struct tr *t, const struct ir_node *n)
{
    bool pushes = tr_find(t, IR_PUSH) != NULL;

    switch (n->op) {
    case IR_BRANCH:
        return pushes ? call(t) : jump(t);
    case IR_BRANCH_IF:
        return jump_if(t, n->aux);
    default:
        if (tr_find(t, IR_PEEK))
            return ret(t, (int32_t)tr_find(t, IR_SP_ADD)->imm);
        return pushes ? call_indirect(t) : jump_indirect(t);
    }
}

bool tr_flow(struct tr *t, bool *done)
{
    const struct ir_node *n;

    if (t->seg && tr_seg_flow(t, done))
        return true;
    if ((n = tr_find(t, IR_BRANCH)) || (n = tr_find(t, IR_BRANCH_IF)) ||
        (n = tr_find(t, IR_BRANCH_IND)))
        *done = lower_branch(t, n);
    else if ((n = tr_find(t, IR_PUSH)))
        *done = push(t, tr_node(t, n->a));
    else if (tr_find(t, IR_PEEK))
        *done = pop(t);
    else if (tr_find(t, IR_LEAVE))
        *done = leave(t);
    else
        return false;
    return true;
}
