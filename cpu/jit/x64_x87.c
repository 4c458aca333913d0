/* x87 and MMX instructions on the host's own unit: the guest's instruction again, with its memory operand
 * replaced by the host's.
 *
 * Where the guest's registers are says cpu->tr.x87_live:
 *   X87_MEMORY  in cpu->fpu, as everywhere outside generated code
 *   X87_LIVE    in the host's unit, control and status words with them
 *   X87_IMAGE   in jit.x87_image, as FXSAVE left them; the host's unit is the host's again
 * Code that has such instructions sees at its entry to it that they are live; before C is called, and
 * before generated code is left, they become an image (x64_x87_to_memory), for C may use the unit; and
 * before C looks at cpu->fpu, jit_backend_settle() takes the image apart. What stays in cpu->fpu always,
 * and is exact there: the control word, MXCSR, and the pointers FIP, FCS, FDP, FDS and FOP.
 *
 * The host's unit may only be lent to guests whose exceptions are all masked, with none pending: then an
 * instruction of the host's never traps, and leaves what the guest's leaves, stack faults, denormals,
 * unsupported encodings and condition codes included (tests/insn compares). Everything else is the
 * interpreter's: other control words, transcendental functions, whose last place differs between
 * processors, and what is named in insn_x87.def without AT_HOST.
 *
 * Pointers: what an instruction notes of itself is known when it is translated (struct x87_note), and
 * stored where somebody may look: at the block's end, before the interpreter is called, and in cold code;
 * FDP also before its operand's registers can change.
 */
#include "cpu/jit/x64_x87.h"

#include "cpu/x87.h"

#define FX_MXCSR 24
#define FX_ST    32

#define EMMS     0x0f77 /* has no ModRM byte */

/* ---- the unit and cpu->fpu --------------------------------------------------------------------- */

bool jit_backend_fpu_fits(const struct cpu *cpu)
{
    const struct fpu *f = &cpu->fpu;

    /* The reserved precision is none that manuals define. */
    return (f->cw & FP_ALL) == FP_ALL && (f->cw & 0x300) != 0x100 && !(f->sw & SW_ES);
}

void jit_backend_settle(struct cpu *cpu)
{
    const uint8_t *image = cpu->tr.jit->x87_image;
    struct fpu *f = &cpu->fpu;
    uint16_t sw = ld16(image + 2);

    if (cpu->tr.x87_live == X87_MEMORY)
        return;
    CHECK(cpu->tr.x87_live == X87_IMAGE);
    cpu->tr.x87_live = X87_MEMORY;
    f->sw = sw & (uint16_t)~SW_TOP;
    f->top = sw >> 11 & 7;
    f->tags = image[4];
    for (unsigned k = 0; k < 8; k++) {
        struct fpreg *st = x87_st(f, k);
        st->mant = ld64(image + FX_ST + 16 * k);
        st->se = ld16(image + FX_ST + 16 * k + 8);
    }
}

/* Called by generated code: cpu->fpu as an image. False: it does not fit. */
static bool make_image(struct cpu *cpu)
{
    uint8_t *image = cpu->tr.jit->x87_image;
    struct fpu *f = &cpu->fpu;

    if (!jit_backend_fpu_fits(cpu))
        return false;
    cpu->tr.jit->stats.x87_loads++;
    st16(image, f->cw);
    st16(image + 2, x87_status(f));
    st16(image + 4, f->tags);
    st32(image + FX_MXCSR, 0x1f80);
    for (unsigned k = 0; k < 8; k++) {
        const struct fpreg *st = x87_st(f, k);
        st64(image + FX_ST + 16 * k, st->mant);
        st64(image + FX_ST + 16 * k + 8, st->se);
    }
    return true;
}

/* FXSAVE (ext 0) and FXRSTOR (ext 1); uses TMP1. */
static void emit_image(struct jit *j, struct x64 *x, unsigned ext)
{
    x64_mov_imm(x, TMP1, (uintptr_t)j->x87_image);
    x64_op(x, 0, 0x0fae, 8, ext, x64_m(TMP1, 0), 0);
}

void x64_x87_to_memory(struct jit *j, struct x64 *x)
{
    x64_alu_imm(x, X_CMP, 4, CPU_FIELD(tr.x87_live), X87_LIVE);
    uint8_t *not_live = x64_jcc(x, CC_NZ);
    emit_image(j, x, 0);
    for (unsigned k = 0; k < 8; k++) { /* ffree: the cheapest way to an empty stack */
        x64_byte(x, 0xdd);
        x64_byte(x, 0xc0 | k);
    }
    x64_op(x, 0, 0xd9, 4, 5, CPU_FIELD(tr.host_cw), 0); /* fldcw */
    x64_store_imm(x, 4, CPU_FIELD(tr.x87_live), X87_IMAGE);
    x64_resolve(not_live, x->p);
}

void x64_x87_from_memory(struct jit *j, struct x64 *x, const struct x64_x87_hooks *h)
{
    h->vec_to_memory(j, x);
    x64_alu_imm(x, X_CMP, 4, CPU_FIELD(tr.x87_live), X87_IMAGE);
    uint8_t *have_image = x64_jcc(x, CC_Z);
    h->call(x, (uintptr_t)make_image);
    x64_test(x, 1, x64_r(RAX), RAX);
    uint8_t *unfit = x64_jcc(x, CC_Z);
    x64_op(x, 0, 0xd9, 4, 7, CPU_FIELD(tr.host_cw), 0); /* fnstcw */
    x64_resolve(have_image, x->p);
    /* The image has vector registers too: the guest's have been stored, and C's are of no account. */
    emit_image(j, x, 1);
    x64_op(x, 0, 0x0fae, 4, 2, CPU_FIELD(tr.host_mxcsr), 0); /* ldmxcsr */
    x64_store_imm(x, 4, CPU_FIELD(tr.x87_live), X87_LIVE);
    x64_mov_imm(x, RAX, 1);
    x64_resolve(unfit, x->p);
    h->vec_back(j, x);
    x64_byte(x, 0xc3);
}

/* ---- which instructions ------------------------------------------------------------------------ */

/* Opcodes of one byte, D8 to DF; MMX instructions have others. */
static bool is_x87(const struct insn_row *row)
{
    return row->attr & AT_X87;
}

static bool is_fwait(const struct insn_row *row)
{
    return row->opcode == 0x9b;
}

static unsigned ext_of(const struct insn *i)
{
    return i->modrm >> 3 & 7;
}

static bool is_form(const struct insn *i, unsigned opcode, bool mem, unsigned ext)
{
    return insn_row(i)->opcode == opcode && insn_is_mem(i) == mem && ext_of(i) == ext;
}

/* FLDCW, FNSTCW, FNSTSW, FNCLEX: these leave the pointers alone. */
static bool is_control(const struct insn *i)
{
    return is_form(i, 0xd9, true, 5) || is_form(i, 0xd9, true, 7) || is_form(i, 0xdd, true, 7) ||
           is_form(i, 0xdf, false, 4) || is_form(i, 0xdb, false, 4);
}

/* Stores of all kinds are 1 (FISTTP), 2, 3, 7 of the odd opcodes, but for FLD of 80 bits. */
static bool is_store(const struct insn *i)
{
    return (insn_row(i)->opcode & 1) && (0x8e >> ext_of(i) & 1);
}

static bool is_fcmov(const struct insn *i)
{
    unsigned opcode = insn_row(i)->opcode;
    return (opcode == 0xda || opcode == 0xdb) && !insn_is_mem(i) && ext_of(i) < 4;
}

static bool sets_flags(const struct insn *i) /* FCOMI, FUCOMI and with pop */
{
    unsigned opcode = insn_row(i)->opcode, ext = ext_of(i);
    return (opcode == 0xdb || opcode == 0xdf) && !insn_is_mem(i) && (ext == 5 || ext == 6);
}

static bool host_has(const struct tr *t, const struct insn_row *row)
{
    switch (row->feature) {
    case F_FPU:
    case F_CMOV:
    case F_MMX:
        return true;
    default:
        return tr_host_has(t, (enum cpu_feature)row->feature);
    }
}

static bool is_native(const struct tr *t, const struct insn *i)
{
    const struct insn_row *row = insn_row(i);

    return (row->attr & AT_HOST) && ((row->attr & (AT_X87 | AT_MMX)) || is_fwait(row)) &&
           (t->b->mode & MODE_FPU) && host_has(t, row) &&
           !(t->j->x87_differs[i->row / 8] >> i->row % 8 & 1);
}

/* Whoever calls the interpreter in the middle of such code moves the whole unit there and back, which
 * takes as long as to interpret this many instructions. */
#define WORTH_A_MOVE 4

bool tr_x87_analyse(struct tr *t)
{
    unsigned natives = 0, calls = 0;

    t->n_x87 = 0;
    for (unsigned k = 0; k < t->n; k++) {
        const struct insn *i = t->at[k];
        t->x87[k] = is_native(t, i);
        natives += t->x87[k] && !is_fwait(insn_row(i));
        calls += !t->x87[k] && !t->hot[k] && !t->native[k] && !tr_is_general(i) &&
                 !(insn_row(i)->attr & AT_END);
        if (t->x87[k])
            t->n_x87 = k + 1;
    }
    if (natives && natives >= WORTH_A_MOVE * calls && jit_backend_fpu_fits(t->cpu))
        return true;
    memset(t->x87, 0, sizeof(t->x87));
    t->n_x87 = 0;
    return false;
}

bool tr_x87_may_leave(const struct insn *i)
{
    const struct insn_row *row = insn_row(i);

    if (is_fwait(row) || row->opcode == EMMS)
        return false;
    return insn_is_mem(i) || (is_x87(row) && is_fcmov(i));
}

bool tr_x87_sets_flags(const struct insn *i)
{
    return is_x87(insn_row(i)) && sets_flags(i);
}

uint32_t tr_x87_writes(const struct insn *i)
{
    if (insn_row(i)->attr & AT_MMX)
        return 1u << (i->reg & 15) | 1u << (i->rm & 15);
    return insn_row(i)->opcode == 0xdf ? 1u << REG_AX : 0; /* FNSTSW */
}

/* ---- pointers ---------------------------------------------------------------------------------- */

static struct x64_rm selector(unsigned seg)
{
    return x64_m(RBP, CPU_OFF(seg) +
                          (int32_t)(seg * sizeof(struct segreg) + offsetof(struct segreg, sel)));
}

static void copy16(struct x64 *x, struct x64_rm dst, struct x64_rm src)
{
    x64_movzx(x, 4, TMP0, src, 2);
    x64_store(x, 2, dst, TMP0);
}

static void store_dp(struct tr *t, const struct x87_note *n)
{
    if (!n->dp)
        return;
    uint32_t page_off = t->page_off;
    t->page_off = n->dp_page_off;
    tr_address(t, TMP0, n->dp); /* leaves flags alone */
    t->page_off = page_off;
    x64_store(&t->x, 8, CPU_FIELD(fpu.fdp), TMP0);
}

void tr_x87_note_store(struct tr *t, const struct x87_note *n)
{
    store_dp(t, n);
    if (!n->ip)
        return;
    tr_rip(t, TMP0, n->offset);
    x64_store(&t->x, 8, CPU_FIELD(fpu.fip), TMP0);
    copy16(&t->x, CPU_FIELD(fpu.fcs), selector(SEG_CS));
    if (n->ds)
        copy16(&t->x, CPU_FIELD(fpu.fds), selector(n->seg));
    if (!feature_has(&t->cpu->features, F_LM)) /* as x87_note() */
        x64_store_imm(&t->x, 2, CPU_FIELD(fpu.fop), n->fop);
}

void tr_x87_note_flush(struct tr *t)
{
    tr_x87_note_store(t, &t->note);
    t->note = (struct x87_note){0};
}

void tr_x87_regs_change(struct tr *t)
{
    store_dp(t, &t->note);
    t->note.dp = NULL;
}

static void note(struct tr *t)
{
    const struct insn *i = t->i;

    t->note.ip = true;
    t->note.offset = t->page_off + i->off;
    t->note.fop = (uint16_t)((insn_row(i)->opcode & 7) << 8 | i->modrm);
    if (insn_is_mem(i)) {
        t->note.ds = true;
        t->note.seg = i->seg;
        t->note.dp = i;
        t->note.dp_page_off = t->page_off;
    }
}

/* ---- x87 --------------------------------------------------------------------------------------- */

static unsigned operand_size(const struct insn *i)
{
    switch (insn_row(i)->operands[1]) {
    case 'w':
        return 2;
    case 'd':
        return 4;
    case 'q':
        return 8;
    default: /* t */
        return 10;
    }
}

/* New masks that do not mask everything are the interpreter's, which then leaves. */
static void load_control(struct tr *t, struct x64_rm m)
{
    struct x64 *x = &t->x;

    x64_movzx(x, 4, TMP0, m, 2);
    x64_load(x, 4, TMP1, x64_r(TMP0));
    x64_op(x, 0, 0xf7, 4, 2, x64_r(TMP1), 0); /* not */
    x64_test_imm(x, 4, x64_r(TMP1), FP_ALL);
    tr_miss(t, CC_NZ);
    x64_load(x, 4, TMP1, x64_r(TMP0));
    x64_alu_imm(x, X_AND, 4, x64_r(TMP1), 0x300);
    x64_alu_imm(x, X_CMP, 4, x64_r(TMP1), 0x100);
    tr_miss(t, CC_Z);
    x64_alu_imm(x, X_AND, 4, x64_r(TMP0), 0x1f3f); /* as x87_set_control() */
    x64_alu_imm(x, X_OR, 4, x64_r(TMP0), 0x40);
    x64_store(x, 2, CPU_FIELD(fpu.cw), TMP0);
    x64_op(x, 0, 0xd9, 4, 5, CPU_FIELD(fpu.cw), 0);
}

static bool with_memory(struct tr *t)
{
    const struct insn *i = t->i;
    bool fldcw = is_form(i, 0xd9, true, 5);
    struct x64_rm m;

    if (fldcw)
        tr_flags_clobber(t);
    if (!tr_mem_check(t, operand_size(i), is_store(i), false, &m))
        return false;
    if (fldcw)
        load_control(t, m);
    else
        x64_op(&t->x, 0, insn_row(i)->opcode, 4, ext_of(i), m, 0);
    return true;
}

/* DA C0 to DF: B, E, BE, U; DB: their opposites. */
static enum x64_cc fcmov_condition(const struct insn *i)
{
    static const uint8_t cc[] = {CC_C, CC_Z, CC_BE, CC_P};
    return (enum x64_cc)(cc[ext_of(i)] ^ (insn_row(i)->opcode & 1));
}

static void with_registers(struct tr *t)
{
    const struct insn *i = t->i;
    bool to_ax = is_form(i, 0xdf, false, 4);

    if (is_fcmov(i))
        tr_flags_native(t, fcmov_condition(i));
    if (to_ax) {
        tr_x87_regs_change(t);
        tr_reg_changes(t, REG_AX);
    }
    x64_byte(&t->x, insn_row(i)->opcode);
    x64_byte(&t->x, i->modrm);
    if (to_ax)
        tr_write_reg(t, REG_AX, 2, RAX);
    if (sets_flags(i))
        tr_flags_set(t, false, NULL);
}

/* ---- MMX --------------------------------------------------------------------------------------- */

/* Letters of the operands in modrm.reg and modrm.rm, and of the one that is written. */
struct mmx_shape {
    char reg, rm, first;
    unsigned rm_size; /* of it in memory, or as a general register */
    bool imm8;
};

static struct mmx_shape mmx_shape_of(const struct tr *t, const struct insn *i)
{
    const char *operands = insn_row(i)->operands;
    struct mmx_shape s = {.first = operands[0]};

    for (const char *o = operands; o; o = strchr(o, ',') ? strchr(o, ',') + 1 : NULL) {
        if (*o == 'P' || *o == 'G') {
            s.reg = *o;
        } else if (*o == 'I') {
            s.imm8 = true;
        } else {
            s.rm = *o;
            s.rm_size = o[1] == 'q'   ? 8
                        : o[1] == 'w' ? 2
                        : o[1] == 'y' ? (t->code64 && (i->prefix & PFX_REXW) ? 8 : 4)
                                      : 4;
        }
    }
    return s;
}

/* MMX registers are eight, whatever REX says. A general register that is written and lives in memory is
 * TMP1 first. */
static bool mmx(struct tr *t)
{
    const struct insn *i = t->i;
    const struct insn_row *row = insn_row(i);
    struct mmx_shape s;
    unsigned reg, written = REG_ZERO;
    struct x64_rm rm = x64_r(i->rm & 7u);

    if (row->opcode == EMMS) { /* has no operands */
        x64_byte(&t->x, 0x0f);
        x64_byte(&t->x, 0x77);
        return true;
    }
    s = mmx_shape_of(t, i);
    reg = s.reg ? i->reg & 7u : row->form_reg;
    if (s.reg == 'G')
        written = i->reg;
    else if (s.rm == 'E' && s.first == 'E' && !insn_is_mem(i))
        written = i->rm;
    if (written != REG_ZERO) {
        tr_x87_regs_change(t);
        tr_reg_changes(t, written);
    }
    if (s.reg == 'G')
        reg = tr_reg(t, written).is_mem ? TMP1 : x64_host_of[written];
    if (insn_is_mem(i)) {
        if (!tr_mem_check(t, s.rm_size, s.rm == s.first, false, &rm))
            return false;
    } else if (s.rm == 'E' || s.rm == 'R') {
        rm = tr_reg(t, i->rm);
        if (rm.is_mem && s.rm == 'R')
            x64_load(&t->x, 8, TMP1, rm);
        if (rm.is_mem && (s.rm == 'R' || written != REG_ZERO))
            rm = x64_r(TMP1);
    }
    x64_op(&t->x, 0, row->opcode, s.rm == 'E' ? s.rm_size : 4, reg, rm, 0);
    if (s.imm8)
        x64_byte(&t->x, (unsigned)i->imm & 0xff);
    if (written != REG_ZERO && tr_reg(t, written).is_mem)
        x64_store(&t->x, 8, tr_reg(t, written), TMP1);
    return true;
}

/* ------------------------------------------------------------------------------------------------- */

bool tr_x87(struct tr *t)
{
    if (is_fwait(insn_row(t->i)))
        return true; /* nothing is pending */
    if (!is_x87(insn_row(t->i)))
        return mmx(t);
    if (insn_is_mem(t->i)) {
        if (!with_memory(t))
            return false;
    } else {
        with_registers(t);
    }
    if (!is_control(t->i))
        note(t);
    return true;
}
