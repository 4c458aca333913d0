/* What is translated as one: a block that is hot and those that follow it most often, in its page, as a
 * straight line with exits to the side; and which instructions of it need which flags. See x64_tr.h.
 *
 * Blocks of a unit stay blocks of their own: each can be entered, interpreted, and translated as the head
 * of another unit. The instructions of the whole line are taken off the budget at its head, and those that
 * are left are given back on the way out.
 */
#include "cpu/interp.h"
#include "cpu/jit/x64_x87.h"

#define UNROLL_MAX 48 /* instructions of all rounds of a loop */

void tr_part(struct tr *t, unsigned p)
{
    t->p = p;
    t->b = t->part[p].b;
    t->page_off = (uint32_t)(t->b->ra & (PAGE_SIZE - 1));
}

void tr_select(struct tr *t, unsigned k)
{
    t->k = k;
    t->i = t->at[k];
    tr_part(t, t->part_of[k]);
}

bool tr_raises(const struct tr *t)
{
    insn_fn fn = interp_handler(t->b, t->i);
    return fn == interp_raise_ud || fn == interp_raise_gp;
}

uint32_t tr_unit_lines(const struct tr *t)
{
    uint32_t lines = 0;

    for (unsigned p = 0; p < t->n_parts; p++)
        lines |= block_lines(t->part[p].b);
    return lines;
}

static void add_part(struct tr *t, struct block *b)
{
    unsigned p = t->n_parts++;

    t->part[p].b = b;
    t->part[p].first = t->n;
    for (unsigned k = 0; k < b->n; k++) {
        t->at[t->n] = &b->insn[k];
        t->part_of[t->n++] = (uint8_t)p;
    }
    t->part[t->n_parts].first = t->n;
}

/* ---- which blocks -------------------------------------------------------------------------------- */

static bool is_part(const struct tr *t, const struct block *b)
{
    for (unsigned p = 0; p < t->n_parts; p++)
        if (t->part[p].b == b)
            return true;
    return false;
}

/* The block at offset in the page, if it may follow in the line. */
static struct block *candidate(const struct tr *t, uint32_t offset)
{
    struct block *b;

    if (offset >= PAGE_SIZE)
        return NULL;
    b = block_at(t->cpu, align_down(t->b->ra, PAGE_SIZE) + offset, t->b->mode,
                 t->j->threshold == 1);
    if (!b || !tr_seg_holds(t, offset, b->bytes) || b->ra2 != RA_NONE || is_part(t, b) ||
        t->n + b->n > UNIT_MAX)
        return NULL;
    return b;
}

/* As often as the head, nearly: what has been translated does not count any more. */
static unsigned warmth(const struct tr *t, const struct block *b)
{
    if (!b)
        return 0;
    if (b->code || t->j->threshold == 1)
        return t->j->threshold;
    return b->heat * 4u >= t->j->threshold ? b->heat : 0;
}

/* After a branch the line goes on where the guest went more often; on a tie, straight ahead. */
static struct block *after_condition(struct tr *t, uint32_t taken, uint32_t next)
{
    struct block *a = candidate(t, next), *b = taken > next ? candidate(t, taken) : NULL;
    bool takes = warmth(t, b) > warmth(t, a);

    t->part[t->p].takes = takes;
    return warmth(t, takes ? b : a) ? (takes ? b : a) : NULL;
}

/* What follows the last part, or NULL: the unit ends there. */
static struct block *next_block(struct tr *t)
{
    const struct ir_node *n;
    uint32_t to, next = t->page_off + t->b->bytes;
    struct block *b;

    if (!(insn_row(t->i)->attr & AT_END)) {
        b = candidate(t, next);
        return warmth(t, b) ? b : NULL;
    }
    if (!t->hot[t->k] || !tr_target_offset(t, &to))
        return NULL;
    n = tr_find(t, IR_BRANCH_IF);
    if (n)
        return after_condition(t, to, next);
    if (!tr_find(t, IR_BRANCH) || tr_find(t, IR_PUSH) || to < next)
        return NULL;
    b = candidate(t, to);
    return warmth(t, b) ? b : NULL;
}

/* ---- what instructions do -------------------------------------------------------------------------- */

static void look_at(struct tr *t)
{
    enum jit_vec vec;
    unsigned k = t->k;

    t->hot[k] = insn_row(t->i)->sem != SEM_NONE;
    t->native[k] = false;
    if (t->hot[k]) {
        ir_record(&t->ir[k], t->cpu, t->i);
    } else if (tr_is_native(t, t->i, &vec)) {
        t->native[k] = true;
        t->vec = MAX(t->vec, vec);
    }
}

static void add_block(struct tr *t, struct block *b)
{
    add_part(t, b);
    for (unsigned k = t->part[t->n_parts - 1].first; k < t->n; k++) {
        tr_select(t, k);
        look_at(t);
    }
}

/* The last part's branch leads back to the head. */
static bool is_loop(const struct tr *t)
{
    uint32_t to;

    return t->hot[t->k] && (tr_find(t, IR_BRANCH_IF) || tr_find(t, IR_BRANCH)) &&
           !tr_find(t, IR_PUSH) && tr_target_offset(t, &to) &&
           to == (t->part[0].b->ra & (PAGE_SIZE - 1));
}

/* A short loop is translated several rounds at once: what is done once for a unit is done less often, and
 * operands of different rounds lie in one span. */
static void unroll(struct tr *t)
{
    unsigned round = t->n_parts, insns = t->n;

    while (t->n + insns <= UNROLL_MAX && t->n_parts + round <= UNIT_PARTS) {
        t->part[t->n_parts - 1].takes = true;
        for (unsigned p = 0; p < round; p++) {
            t->part[t->n_parts].takes = t->part[p].takes;
            add_block(t, t->part[p].b);
        }
    }
    t->part[t->n_parts - 1].takes = false;
}

void tr_unit(struct tr *t, struct block *head)
{
    struct block *b = head;
    bool alone = (head->mode & MODE_SINGLE) || head->ra2 != RA_NONE;

    do {
        add_block(t, b);
        b = alone || t->n_parts == UNIT_PARTS || tr_raises(t) ? NULL : next_block(t);
    } while (b);
    if (!alone && !tr_raises(t) && is_loop(t))
        unroll(t);
}

static bool may_leave(const struct tr *t)
{
    const struct ir *ir = &t->ir[t->k];

    if (t->native[t->k])
        return tr_native_touches_memory(t->i) &&
               ((insn_row(t->i)->attr & AT_ALIGN) || tr_is_checked(t, t->k));
    if (t->x87[t->k])
        return tr_x87_may_leave(t->i);
    if (!t->hot[t->k] || (ir_touches_memory(ir) && tr_is_checked(t, t->k)) ||
        (ir->flags_use & (IR_READS_FLAGS | IR_ALTERS_FLAGS)))
        return true;
    return (insn_row(t->i)->attr & AT_END) && tr_is_last(t);
}

/* Flags before an instruction are needed if it reads them, may leave (whoever gets the fault sees
 * them), or leaves them to the next. */
void tr_liveness(struct tr *t)
{
    t->live[t->n] = true;
    for (unsigned k = t->n; k-- > 0;) {
        bool sets;
        tr_select(t, k);
        sets = t->native[k] ? tr_native_sets_flags(t->i)
               : t->x87[k]  ? tr_x87_sets_flags(t->i)
                            : t->hot[k] && (t->ir[k].flags_use & IR_SETS_FLAGS);
        t->live[k] = may_leave(t) || (!sets && t->live[k + 1]);
    }
}
