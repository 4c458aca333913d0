/* Instructions that the host has too (AT_HOST), vector ones above all: the guest's instruction again, with its general registers
 * and its memory operand replaced by the host's. Vector register n is the host's vector register n.
 *
 * MXCSR is the guest's while guest vectors are in registers, its exceptions all masked: cold code and
 * jit_run_one see to that.
 */
#include "cpu/jit/x64_tr.h"

#define VZEROUPPER 0x0f77 /* the one that has no operands */

/* What the operand string of a row says. */
struct shape {
    char reg, rm; /* letters of the operands in modrm.reg and modrm.rm; 0: none */
    bool general_vvvv;
    unsigned mem_size; /* of a memory operand, 0 if it is not clear */
    bool imm8, imm_is_reg, writes_rm,
        scaled; /* scaled: a piece of the vector, which grows with VEX.L */
    bool sets_flags;
};

static unsigned width_of(const char *o, const struct insn *i, bool avx, bool code64)
{
    switch (o[1]) {
    case 'b':
        return 1;
    case 'w':
        return 2;
    case 'd':
        return o[2] == 'q' ? 16 : 4;
    case 'q':
        return 8;
    case 'v':
        return i->size;
    case 'y':
        return code64 && (i->prefix & PFX_REXW) ? 8 : 4;
    case 's':
        return o[2] == 's' ? 4 : 8;
    case 'x':
    case 'p':
        return avx ? i->size : 16;
    default:
        return 0;
    }
}

static struct shape shape_of(const struct insn *i, bool code64)
{
    const struct insn_row *row = insn_row(i);
    bool avx = row->attr & AT_AVX;
    struct shape s = {0};

    for (const char *o = row->operands; o && *o; o = strchr(o, ',') ? strchr(o, ',') + 1 : NULL) {
        switch (o[0]) {
        case 'V':
        case 'G':
            s.reg = o[0];
            break;
        case 'W':
        case 'U':
        case 'E':
        case 'R':
        case 'M':
            s.rm = o[0];
            s.writes_rm = o == row->operands;
            s.mem_size = width_of(o, i, avx, code64);
            s.scaled = s.mem_size < 16 && o[1] != 's';
            if ((o[0] == 'E' || o[0] == 'R') && o[1] == 'b')
                s.mem_size = 0; /* register numbers are byte offsets there */
            break;
        case 'B':
            s.general_vvvv = true;
            break;
        case 'I':
        case 'L':
            s.imm8 = true;
            s.imm_is_reg = o[0] == 'L';
            break;
        default:
            break;
        }
    }
    s.sets_flags = strcmp(row->name, "POPCNT") == 0 || strstr(row->name, "COMIS") ||
                   strstr(row->name, "PTEST") || strstr(row->name, "VTESTP");
    return s;
}

/* Prefetches, fences and the many NOPs: nothing to do, but for a fence that others might notice. */
static bool is_hint(const struct insn_row *row)
{
    return row->attr & AT_NOFAULT;
}

static bool is_vector(const struct insn_row *row)
{
    return row->attr & (AT_SSE | AT_AVX);
}

static bool by_sha_routines(const struct tr *t, const struct insn_row *row)
{
    return row->feature == F_SHA && !tr_host_has(t, F_SHA) && t->j->thunk.sha256;
}

bool tr_is_native(const struct tr *t, const struct insn *i, enum jit_vec *vec)
{
    const struct insn_row *row = insn_row(i);
    bool avx = row->attr & AT_AVX;
    struct shape s;

    *vec = VEC_NONE;
    if (!(row->attr & AT_HOST) || (row->attr & (AT_X87 | AT_MMX))) /* x64_x87.c */
        return false;
    if (is_hint(row))
        return true;
    if (!tr_host_has(t, (enum cpu_feature)row->feature) && !by_sha_routines(t, row))
        return false;
    if (is_vector(row) && !(t->b->mode & (avx ? MODE_AVX : MODE_SSE)))
        return false;
    if (row->opcode == VZEROUPPER) { /* outside 64-bit code it clears eight */
        *vec = VEC_YMM;
        return t->code64;
    }
    s = shape_of(i, t->code64);
    if (!s.rm || !s.mem_size)
        return false;
    if (insn_is_mem(i)) {
        bool broadcast = strstr(row->name, "BROADCAST") != NULL;
        if (avx && i->size == 32 && s.scaled && !broadcast && !(row->attr & AT_LIG))
            return false;
    }
    if (is_vector(row))
        *vec = avx ? VEC_YMM : VEC_XMM;
    return true;
}

bool tr_native_touches_memory(const struct insn *i)
{
    return insn_is_mem(i) && insn_row(i)->opcode != VZEROUPPER && !is_hint(insn_row(i));
}

bool tr_native_sets_flags(const struct insn *i)
{
    return shape_of(i, false).sets_flags;
}

static void emit_again(struct tr *t, unsigned reg, struct x64_rm rm, unsigned vvvv,
                       const struct shape *s)
{
    static const uint8_t prefix[] = {[P_66] = 0x66, [P_F3] = 0xf3, [P_F2] = 0xf2};
    static const uint8_t pp[] = {[P_66] = 1, [P_F3] = 2, [P_F2] = 3};
    const struct insn *i = t->i;
    const struct insn_row *row = insn_row(i);
    bool w = i->prefix & PFX_REXW;

    /* Outside 64-bit code VEX.W says nothing where no row is chosen by it. */
    if (!t->code64)
        w = row->attr & AT_W1;
    if (row->attr & (AT_AVX | AT_VEX)) {
        unsigned map = row->opcode > 0xffff ? (row->opcode >> 8 & 0xff) == 0x38 ? 2 : 3 : 1;
        x64_vex(&t->x, map, pp[row->prefix], w, i->size == 32 && !(row->attr & AT_LIG), vvvv,
                row->opcode & 0xff, reg, rm);
    } else if (!is_vector(row)) {
        x64_op(&t->x, row->prefix == P_66 ? 0 : prefix[row->prefix], row->opcode, i->size, reg, rm,
               0);
    } else {
        x64_op(&t->x, prefix[row->prefix], row->opcode, w ? 8 : 4, reg, rm, 0);
    }
    if (s->imm8) /* where it names a register, that is one of eight outside 64-bit code */
        x64_byte(&t->x, (unsigned)i->imm & (s->imm_is_reg && !t->code64 ? 0x7f : 0xff));
}

bool tr_native(struct tr *t)
{
    const struct insn *i = t->i;
    const struct insn_row *row = insn_row(i);
    struct shape s = shape_of(i, t->code64);
    unsigned reg = s.reg ? i->reg : row->form_reg, written = REG_ZERO;
    unsigned vvvv = i->vvvv;
    struct x64_rm rm = x64_r(i->rm);

    if (is_hint(row)) {
        if (row->opcode == 0x0fae && row->form == FORM_XR && t->cpu->env.parallel)
            x64_op(&t->x, 0, row->opcode, 4, row->form_reg, x64_r(RAX), 0);
        return true;
    }
    if (row->opcode == VZEROUPPER) {
        x64_byte(&t->x, 0xc5);
        x64_byte(&t->x, 0xf8);
        x64_byte(&t->x, 0x77);
        return true;
    }
    if (s.general_vvvv) {
        if (tr_reg(t, vvvv).is_mem)
            return false;
        vvvv = x64_host_of[vvvv];
    }
    if (s.reg == 'G') {
        if (s.writes_rm && tr_reg(t, i->reg).is_mem)
            return false; /* read from memory: a third operand */
        if (!is_vector(row) && i->size == 2 && tr_reg(t, i->reg).is_mem)
            return false;
        if (!s.writes_rm) {
            written = i->reg;
            if (!s.sets_flags)
                tr_reg_changes(t, written);
        }
        reg = tr_reg(t, i->reg).is_mem ? TMP1 : x64_host_of[i->reg];
    }
    if (by_sha_routines(t, row))
        tr_flags_clobber(t);
    if (insn_is_mem(i)) {
        bool aligned = row->attr & AT_ALIGN;
        if (!tr_mem_check(t, s.mem_size, s.writes_rm, aligned, &rm))
            return false;
    } else if (s.rm == 'E' || s.rm == 'R') {
        rm = tr_reg(t, i->rm);
        if (s.writes_rm) {
            written = i->rm;
            tr_reg_changes(t, written);
            if (rm.is_mem)
                rm = x64_r(TMP1);
        } else if (rm.is_mem && s.rm == 'R') {
            x64_load(&t->x, 8, TMP1, rm);
            rm = x64_r(TMP1);
        }
    }
    if (by_sha_routines(t, row)) {
        tr_sha(t, rm);
        return true;
    }
    emit_again(t, reg, rm, vvvv, &s);
    if (written != REG_ZERO && tr_reg(t, written).is_mem)
        x64_store(&t->x, 8, tr_reg(t, written), TMP1);
    if (s.sets_flags)
        tr_flags_set(t, false, NULL);
    return true;
}
