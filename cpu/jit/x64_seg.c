/* Code whose segments have bases and limits: real mode, virtual-8086 mode, 16-bit protected mode, 32-bit
 * code that is not flat. See x64_tr.h.
 *
 * Accesses are checked against cpu->seg_end, which says how far a segment can be read or written without a
 * question; past that, and in segments that are anything out of the ordinary, the interpreter goes on. Near
 * branches are checked when they are translated: code is bound to the offset in CS that it was translated
 * at, and to the limit of CS (block.seg_rip, seg_limit), so that RIP, where it wraps and what is beyond the
 * limit are known.
 */
#include "cpu/jit/x64_tr.h"

void tr_seg_begin(struct tr *t, const struct block *b)
{
    t->seg = jit_segmented(b->mode);
    t->seg_page = (uint32_t)(t->cpu->r[REG_BRIP] - (b->ra & (PAGE_SIZE - 1)));
    t->seg_limit = t->cpu->seg[SEG_CS].limit;
}

bool tr_seg_holds(const struct tr *t, uint32_t offset, unsigned bytes)
{
    return !t->seg || (uint64_t)(t->seg_page + offset) + bytes - 1 <= t->seg_limit;
}

static bool stack32(const struct tr *t)
{
    return t->b->mode & MODE_STACK32;
}

/* ---- memory ------------------------------------------------------------------------------------------- */

/* TMP1 holds an offset of 32 bits in seg. *m is the operand; both temporaries are used, the second is
 * free again. */
static void check(struct tr *t, unsigned seg, unsigned size, bool write, bool aligned,
                  struct x64_rm *m)
{
    struct x64 *x = &t->x;
    int32_t end = CPU_OFF(seg_end) + 8 * (int32_t)((write ? SEG_ENDS : 0) + seg);
    int32_t tag = write ? (int32_t)offsetof(struct tlb_entry, write)
                        : (int32_t)offsetof(struct tlb_entry, read);

    x64_lea(x, 8, TMP0, x64_m(TMP1, (int32_t)size));
    x64_alu_to_reg(x, X_CMP, 8, TMP0, x64_m(RBP, end));
    tr_miss(t, CC_NBE);
    x64_alu_to_reg(x, X_ADD, 4, TMP1, x64_m(RBP, CPU_OFF(seg_base) + 8 * (int32_t)seg));
    if (aligned) {
        x64_test_imm(x, 1, x64_r(TMP1), (int32_t)size - 1);
        tr_miss(t, CC_NZ);
    }
    x64_store(x, 8, CPU_FIELD(tr.linear), TMP1);
    x64_lea(x, 8, TMP0, x64_m(TMP1, (int32_t)size - 1));
    tr_tlb_entry(t);
    x64_alu_imm(x, X_AND, 8, x64_r(TMP0), -(int32_t)PAGE_SIZE);
    x64_alu_to_reg(x, X_CMP, 8, TMP0, x64_m(TMP1, tag));
    tr_miss(t, CC_NZ);
    x64_load(x, 8, TMP0, x64_m(TMP1, offsetof(struct tlb_entry, addend)));
    x64_alu_to_reg(x, X_ADD, 8, TMP0, CPU_FIELD(tr.linear));
    *m = x64_m(TMP0, 0);
}

bool tr_seg_mem_check(struct tr *t, unsigned size, bool write, bool aligned, struct x64_rm *m)
{
    if (t->i->seg >= SEG_ENDS)
        return false;
    tr_flags_clobber(t);
    if (!tr_address(t, TMP1, t->i))
        return false;
    check(t, t->i->seg, size, write, aligned, m);
    return true;
}

void tr_seg_check_at(struct tr *t, unsigned seg, unsigned base, unsigned size, bool write,
                     struct x64_rm *m)
{
    tr_flags_clobber(t);
    x64_movzx(&t->x, 4, TMP1, x64_r(x64_host_of[base]), t->i->ea_shift == 48 ? 2 : 4);
    check(t, seg, size, write, false, m);
}

void tr_seg_stack_check(struct tr *t, unsigned base, int32_t disp, unsigned size, bool write,
                        struct x64_rm *m)
{
    tr_flags_clobber(t);
    x64_lea(&t->x, 4, TMP1, x64_m(x64_host_of[base], disp));
    if (!stack32(t))
        x64_movzx(&t->x, 4, TMP1, x64_r(TMP1), 2);
    check(t, SEG_SS, size, write, false, m);
}

/* ---- the stack ---------------------------------------------------------------------------------------- */

/* The host's flags are nobody's: there has been a check. */
static void add_to_sp(struct tr *t, int32_t n)
{
    if (stack32(t))
        x64_lea(&t->x, 4, R14, x64_m(R14, n));
    else
        x64_alu_imm(&t->x, X_ADD, 2, x64_r(R14), n);
}

static bool push(struct tr *t, const struct ir_node *v)
{
    unsigned size = t->i->size;
    struct x64_rm m, src = {0};

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
    tr_seg_stack_check(t, REG_SP, -(int32_t)size, size, true, &m);
    if (v->op == IR_IMM) {
        x64_store_imm(&t->x, size, m, (int32_t)v->imm);
    } else if (src.is_mem) {
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
    unsigned size = t->i->size, n = t->i->rm;
    struct x64_rm m;

    tr_reg_changes(t, REG_SP);
    tr_reg_changes(t, n);
    tr_seg_stack_check(t, REG_SP, 0, size, false, &m);
    x64_load(&t->x, size, TMP1, m);
    add_to_sp(t, (int32_t)size);
    tr_write_reg(t, n, size, TMP1);
    return true;
}

static bool leave(struct tr *t)
{
    unsigned size = t->i->size;
    struct x64_rm m;

    tr_reg_changes(t, REG_SP);
    tr_reg_changes(t, REG_BP);
    tr_seg_stack_check(t, REG_BP, 0, size, false, &m);
    x64_load(&t->x, size, TMP1, m);
    x64_lea(&t->x, 4, TMP0, x64_m(R13, (int32_t)size));
    tr_write_reg(t, REG_SP, stack32(t) ? 4 : 2, TMP0);
    tr_write_reg(t, REG_BP, size, TMP1);
    return true;
}

/* ---- branches ----------------------------------------------------------------------------------------- */

static uint32_t next_rip(const struct tr *t)
{
    return t->seg_page + tr_next_offset(t);
}

bool tr_seg_target(const struct tr *t, uint32_t *offset)
{
    uint32_t to = next_rip(t) + (uint32_t)t->i->imm;

    if (t->i->size == 2)
        to &= 0xffff;
    *offset = to - t->seg_page;
    /* A conditional branch that is not taken looks at what follows too. */
    return to <= t->seg_limit && next_rip(t) <= t->seg_limit;
}

/* What follows TMP0 = a target of the operand size: #GP, before anything has happened. */
static void check_target(struct tr *t)
{
    if (t->seg_limit >= (t->i->size == 2 ? 0xffff : UINT32_MAX))
        return;
    x64_alu_imm(&t->x, X_CMP, 4, x64_r(TMP0), (int32_t)t->seg_limit);
    tr_miss(t, CC_NBE);
}

static void load_target(struct tr *t, struct x64_rm from)
{
    x64_movzx(&t->x, 4, TMP0, from, t->i->size);
    check_target(t);
}

static void push_return(struct tr *t, struct x64_rm m)
{
    x64_store_imm(&t->x, t->i->size, m, (int32_t)next_rip(t));
    add_to_sp(t, -(int32_t)t->i->size);
}

static bool call(struct tr *t)
{
    struct x64_rm m;
    uint32_t to;

    if (!tr_seg_target(t, &to))
        return false;
    tr_flags_store(t);
    tr_seg_stack_check(t, REG_SP, -(int32_t)t->i->size, t->i->size, true, &m);
    push_return(t, m);
    tr_goto(t, to);
    return true;
}

static bool read_target(struct tr *t)
{
    struct x64_rm m = {0};

    tr_flags_store(t);
    t->f.native = false;
    if (!tr_dst_is_mem(t))
        m = tr_reg(t, t->i->rm);
    else if (!tr_mem_check(t, t->i->size, false, false, &m))
        return false;
    load_target(t, m);
    return true;
}

static bool indirect(struct tr *t, bool pushes)
{
    struct x64_rm m;

    if (!read_target(t))
        return false;
    if (pushes) {
        x64_store(&t->x, 8, CPU_FIELD(tr.spill), TMP0);
        tr_seg_stack_check(t, REG_SP, -(int32_t)t->i->size, t->i->size, true, &m);
        push_return(t, m);
        x64_load(&t->x, 8, TMP0, CPU_FIELD(tr.spill));
    }
    tr_goto_tmp0(t, 0);
    return true;
}

static bool ret(struct tr *t, int32_t sp_add)
{
    struct x64_rm m;

    tr_flags_store(t);
    tr_seg_stack_check(t, REG_SP, 0, t->i->size, false, &m);
    load_target(t, m);
    add_to_sp(t, sp_add);
    tr_goto_tmp0(t, 0);
    return true;
}

bool tr_seg_flow(struct tr *t, bool *done)
{
    const struct ir_node *pushed = tr_find(t, IR_PUSH);

    if (tr_find(t, IR_BRANCH_IF) || (tr_find(t, IR_BRANCH) && !pushed))
        return false;
    if (tr_find(t, IR_BRANCH))
        *done = call(t);
    else if (tr_find(t, IR_BRANCH_IND))
        *done =
            tr_find(t, IR_PEEK) ? ret(t, (int32_t)tr_find(t, IR_SP_ADD)->imm) : indirect(t, pushed);
    else if (pushed)
        *done = push(t, tr_node(t, pushed->a));
    else if (tr_find(t, IR_PEEK))
        *done = pop(t);
    else if (tr_find(t, IR_LEAVE))
        *done = leave(t);
    else
        return false;
    return true;
}

/* As tr_goto_tmp0, but slots are found by the linear address, and tell where the page begins in CS. */
void tr_seg_goto_tmp0(struct tr *t)
{
    struct x64 *x = &t->x;
    const uint8_t *miss = t->j->thunk.miss - t->j->rx;

    x64_load(x, 4, TMP1, x64_r(TMP0));
    x64_alu_to_reg(x, X_ADD, 4, TMP1, x64_m(RBP, CPU_OFF(seg_base) + 8 * SEG_CS));
    x64_alu_imm(x, X_AND, 4, x64_r(TMP1), JIT_JUMPS - 1);
    x64_shift_imm(x, X_SHL, 4, x64_r(TMP1), 5);
    x64_alu_to_reg(x, X_ADD, 8, TMP1, CPU_FIELD(tr.jumps));
    x64_alu_to_reg(x, X_CMP, 8, TMP0, x64_m(TMP1, offsetof(struct jit_jump, rip)));
    uint8_t *other = x64_jcc(x, CC_NZ);
    x64_load(x, 4, TMP0, x64_m(TMP1, offsetof(struct jit_jump, cookie)));
    x64_alu_to_reg(x, X_CMP, 4, TMP0, CPU_FIELD(tr.cookie));
    uint8_t *stale = x64_jcc(x, CC_NZ);
    x64_load(x, 8, TMP0, x64_m(TMP1, offsetof(struct jit_jump, rip_page)));
    x64_store(x, 8, CPU_FIELD(tr.rip_page), TMP0);
    x64_op(x, 0, 0xff, 4, 4, x64_m(TMP1, offsetof(struct jit_jump, code)), 0); /* jmp m */
    if (x->overflow)
        return;
    x64_resolve(stale, x->p);
    x64_load(x, 8, TMP0, x64_m(TMP1, offsetof(struct jit_jump, rip)));
    x64_resolve(other, x->p);
    x64_jmp_to(x, miss);
}
