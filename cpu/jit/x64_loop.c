/* LOOP and its kin, and string instructions without a repeat prefix, in all modes: what ends a block without
 * being hot elsewhere, but is in code of the eighties. See x64_tr.h.
 */
#include "cpu/jit/x64_tr.h"

static unsigned address_size(const struct tr *t)
{
    return (64u - t->i->ea_shift) / 8;
}

/* ---- LOOP, LOOPE, LOOPNE, JCXZ ------------------------------------------------------------------- */

/* The target may not be one that faults, for rCX has changed by then. */
static bool count_target(const struct tr *t, uint32_t *to)
{
    return tr_target_offset(t, to) && (t->seg || *to < PAGE_SIZE || !t->code64);
}

static bool counted_branch(struct tr *t)
{
    const struct insn_row *row = insn_row(t->i);
    unsigned size = address_size(t);
    uint32_t to, next = tr_next_offset(t);
    struct x64 *x = &t->x;

    if (row->opcode < 0xe0 || row->opcode > 0xe3 || !count_target(t, &to))
        return false;
    tr_flags_store(t);
    if (row->opcode == 0xe3) {
        t->f.native = false;
        x64_test(x, size, x64_r(RCX), RCX);
        tr_goto_if(t, CC_Z, to, next);
        return true;
    }
    if (row->opcode == 0xe2) {
        t->f.native = false;
        x64_alu_imm(x, X_SUB, size, x64_r(RCX), 1);
        tr_goto_if(t, CC_NZ, to, next);
        return true;
    }
    tr_flags_native(t, CC_Z);
    x64_setcc(x, row->opcode == 0xe1 ? CC_Z : CC_NZ, x64_r(TMP1));
    t->f.native = false;
    x64_alu_imm(x, X_SUB, size, x64_r(RCX), 1);
    uint8_t *none = x64_jcc(x, CC_Z);
    x64_test(x, 1, x64_r(TMP1), TMP1);
    tr_goto_if(t, CC_NZ, to, next);
    if (!x->overflow)
        x64_resolve(none, x->p);
    tr_goto(t, next);
    return true;
}

/* ---- MOVS, STOS, LODS ---------------------------------------------------------------------------- */

enum { MOVS = 0xa4, STOS = 0xaa, LODS = 0xac };

/* The element that RSI or RDI points at. */
static void check_element(struct tr *t, unsigned seg, unsigned n, bool write, struct x64_rm *m)
{
    if (t->seg)
        tr_seg_check_at(t, seg, n, t->i->size, write, m);
    else
        tr_stack_check(t, n, 0, t->i->size, write, m);
}

static void step(struct tr *t, unsigned n)
{
    unsigned host = x64_host_of[n], size = address_size(t);

    if (size == 2)
        x64_alu_imm(&t->x, X_ADD, 2, x64_r(host), t->i->size);
    else
        x64_lea(&t->x, size, host, x64_m(host, t->i->size));
}

/* Upwards only; the interpreter has DF set. */
static bool string(struct tr *t)
{
    unsigned op = insn_row(t->i)->opcode & ~1u, size = t->i->size, from = t->i->seg;
    bool flat_seg = t->code64 ? from != SEG_FS && from != SEG_GS : from <= SEG_DS;
    struct x64 *x = &t->x;
    struct x64_rm m;

    if ((op != MOVS && op != STOS && op != LODS) || (t->i->prefix & (PFX_REPZ | PFX_REPNZ)))
        return false;
    if (t->seg ? from >= SEG_ENDS : !flat_seg || address_size(t) != (t->code64 ? 8 : 4))
        return false;
    tr_flags_store(t);
    t->f.native = false;
    x64_test_imm(x, 4, CPU_FIELD(eflags), FL_DF);
    tr_miss(t, CC_NZ);
    if (op == STOS) {
        check_element(t, SEG_ES, REG_DI, true, &m);
        x64_store(x, size, m, RBX);
    } else {
        check_element(t, from, REG_SI, false, &m);
        x64_load(x, size, TMP1, m);
    }
    if (op == MOVS) {
        x64_store(x, 8, CPU_FIELD(tr.spill), TMP1);
        check_element(t, SEG_ES, REG_DI, true, &m);
        tr_mem_free_tmp1(t, &m);
        x64_load(x, size, TMP1, CPU_FIELD(tr.spill));
        x64_store(x, size, m, TMP1);
    } else if (op == LODS) {
        tr_write_reg(t, REG_AX, size, TMP1);
    }
    if (op != STOS)
        step(t, REG_SI);
    if (op != LODS)
        step(t, REG_DI);
    tr_goto(t, tr_next_offset(t));
    return true;
}

bool tr_loop(struct tr *t)
{
    const struct insn_row *row = insn_row(t->i);

    return row->sem == SEM_NONE && row->prefix == P_ANY && (counted_branch(t) || string(t));
}
