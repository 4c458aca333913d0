/* Where the guest's flags are. See x64_tr.h. */
#include "cpu/jit/x64_tr.h"

void tr_put_host_flags(struct x64 *x, bool af_clear)
{
    x64_store(x, 4, CPU_FIELD(tr.host_flags), RAX);
    x64_store_imm(x, 4, CPU_FIELD(cc_op), CC_HOST * 4 + af_clear);
}

void tr_get_host_flags(struct x64 *x)
{
    x64_load(x, 4, RAX, CPU_FIELD(tr.host_flags));
    x64_alu_imm(x, X_ADD, 1, x64_r(RAX), 0x7f); /* OF from bit 0 */
    x64_byte(x, 0x9e);                          /* sahf */
}

/* The host's flags, to memory. Changes none of them but for OF_SF_CF. */
static void emit_store(struct x64 *x, const struct flag_state *f)
{
    x64_byte(x, 0x9f); /* lahf */
    switch (f->of) {
    case OF_HOST:
        x64_setcc(x, CC_O, x64_r(RAX));
        break;
    case OF_CLEAR:
        x64_byte(x, 0xb0); /* mov al, 0 */
        x64_byte(x, 0);
        break;
    case OF_SF_CF: /* AH's bits 7 and 0 */
        x64_load(x, 4, TMP1, x64_r(RAX));
        x64_shift_imm(x, X_SHR, 4, x64_r(TMP1), 7);
        x64_alu_to_reg(x, X_XOR, 4, TMP1, x64_r(RAX));
        x64_shift_imm(x, X_SHR, 4, x64_r(TMP1), 8);
        x64_alu_imm(x, X_AND, 4, x64_r(TMP1), 1);
        x64_load(x, 1, RAX, x64_r(TMP1));
        break;
    }
    tr_put_host_flags(x, f->af_clear);
}

static void emit_recipe(struct x64 *x, const struct recipe *r)
{
    enum x64_alu undo = r->kind == RECIPE_ADD ? X_SUB : X_ADD;
    enum x64_alu redo = r->kind == RECIPE_ADD ? X_ADD : X_SUB;

    switch (r->kind) {
    case RECIPE_ADD:
    case RECIPE_SUB: /* back to the first operand, and once more */
        x64_load(x, MAX(r->size, 4), RAX, r->a);
        if (r->b_imm) {
            x64_alu_imm(x, undo, r->size, x64_r(RAX), r->imm);
            x64_alu_imm(x, redo, r->size, x64_r(RAX), r->imm);
        } else {
            x64_alu_to_reg(x, undo, r->size, RAX, r->b);
            x64_alu_to_reg(x, redo, r->size, RAX, r->b);
        }
        break;
    case RECIPE_CMP:
        if (r->b_imm) {
            x64_alu_imm(x, X_CMP, r->size, r->a, r->imm);
        } else if (r->a.is_mem) {
            x64_load(x, MAX(r->size, 4), RAX, r->a);
            x64_alu_to_reg(x, X_CMP, r->size, RAX, r->b);
        } else {
            x64_alu_to_reg(x, X_CMP, r->size, r->a.base, r->b);
        }
        break;
    case RECIPE_TEST:
        if (r->a.is_mem) {
            x64_load(x, MAX(r->size, 4), RAX, r->a);
            x64_test(x, r->size, x64_r(RAX), RAX);
        } else {
            x64_test(x, r->size, r->a, r->a.base);
        }
        break;
    case RECIPE_NONE:
        CHECK(false);
    }
}

void tr_flags_store_from(struct tr *t, struct flag_state *f)
{
    if (f->mem)
        return;
    if (!f->native) {
        emit_recipe(&t->x, &f->recipe);
        f->native = true;
    }
    emit_store(&t->x, f);
    if (f->of == OF_SF_CF)
        f->native = false;
    f->mem = f->host_form = true;
}

void tr_flags_store(struct tr *t)
{
    tr_flags_store_from(t, &t->f);
}

void tr_flags_clobber(struct tr *t)
{
    if (t->live[t->k] && !t->f.mem && t->f.recipe.kind == RECIPE_NONE)
        tr_flags_store(t);
    t->f.native = false;
    if (!t->f.mem && t->f.recipe.kind == RECIPE_NONE)
        t->f.mem = true; /* needed by nobody: whatever memory holds will do */
}

/* strict: and AF what memory says. */
static void to_host_form(struct tr *t, bool strict)
{
    if (t->f.host_form && !(strict && t->f.af_unsure))
        return;
    struct cold *c = tr_cold(t, COLD_LOAD_FLAGS);
    x64_alu_imm(&t->x, X_CMP, 4, CPU_FIELD(cc_op), CC_HOST * 4);
    tr_cold_from(c, x64_jcc(&t->x, strict ? CC_NZ : CC_C)); /* it is the greatest kind */
    c->back = t->x.p;
    t->f.host_form = true;
    t->f.af_unsure = !strict;
}

void tr_flags_prepare(struct tr *t)
{
    tr_flags_store(t);
    to_host_form(t, false);
}

void tr_flags_put_carry(struct tr *t)
{
    struct x64_rm cf = CPU_FIELD(tr.host_flags);

    cf.disp++;
    x64_alu_imm(&t->x, X_AND, 1, cf, -2);
    x64_alu_to_rm(&t->x, X_OR, 1, cf, TMP0);
}

void tr_flags_in_host_form(struct tr *t)
{
    tr_flags_in_memory(t);
    t->f.host_form = t->f.af_unsure = true;
}

static bool looks_at_of(enum x64_cc cc)
{
    return cc <= CC_NO || cc >= CC_L;
}

void tr_flags_native(struct tr *t, enum x64_cc cc)
{
    if (t->f.native && (t->f.of == OF_HOST || !looks_at_of(cc)))
        return;
    if (t->f.of != OF_HOST)
        tr_flags_store(t);
    if (!t->f.mem || (t->f.recipe.kind != RECIPE_NONE && t->f.of == OF_HOST)) {
        emit_recipe(&t->x, &t->f.recipe);
    } else {
        to_host_form(t, false);
        tr_get_host_flags(&t->x);
        t->f.of = OF_HOST;
    }
    t->f.native = true;
}

void tr_flags_exact(struct tr *t)
{
    if (t->f.af_unsure)
        t->f.native = false;
    if (!t->f.native && t->f.recipe.kind == RECIPE_NONE)
        to_host_form(t, true);
    tr_flags_native(t, CC_ALL);
}

void tr_flags_carry(struct tr *t)
{
    if (t->f.native)
        return;
    CHECK(t->f.mem && t->f.host_form);
    x64_op(&t->x, 0, 0x0fba, 4, 4, CPU_FIELD(tr.host_flags), 0); /* bt m, 8 */
    x64_byte(&t->x, 8);
}

void tr_flags_set(struct tr *t, bool af_clear, const struct recipe *r)
{
    memset(&t->f, 0, sizeof(t->f));
    t->f.native = true;
    t->f.af_clear = af_clear;
    if (r)
        t->f.recipe = *r;
    if (!tr_flags_live_after(t)) {
        t->f.mem = true;
        t->f.recipe.kind = RECIPE_NONE;
    }
}

void tr_flags_set_by_shift(struct tr *t, bool af_clear, enum of_fix of)
{
    tr_flags_set(t, af_clear, NULL);
    t->f.of = of;
}

void tr_reg_changes(struct tr *t, unsigned n)
{
    if (t->f.recipe.kind == RECIPE_NONE || !(t->f.recipe.regs >> n & 1))
        return;
    if (!t->f.mem && (t->live[t->k] || tr_flags_live_after(t)))
        tr_flags_store(t);
    t->f.recipe.kind = RECIPE_NONE;
    if (!t->f.native)
        t->f.mem = true;
}

void tr_flags_in_memory(struct tr *t)
{
    memset(&t->f, 0, sizeof(t->f));
    t->f.mem = true;
}
