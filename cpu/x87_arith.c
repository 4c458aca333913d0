/* x87 arithmetic and comparison: FADD to FDIVR in all forms, FCOM to FTST, FSQRT, FABS, FCHS, FXAM.
 *
 * Each operation is one always-inline body; the forms differ in where the second operand is, where
 * the result goes and whether something is popped. The host's own unit is used where hostfloat.h
 * allows it.
 */
#include "cpu/x87.h"

enum arith { ARITH_ADD, ARITH_MUL, ARITH_SUB, ARITH_SUBR, ARITH_DIV, ARITH_DIVR };

/* The guest's modes are those the host's unit is used in, and PE is set already. */
X87_INLINE bool host_usable(const struct fpu *f)
{
    return LIKELY((f->cw & HOSTFLOAT_CW_MASK) == HOSTFLOAT_CW && (f->sw & FP_PE));
}

X87_INLINE void host_done(struct fpu *f, uint16_t c1)
{
    f->sw = (uint16_t)((f->sw & ~SW_C1) | c1);
}

X87_INLINE bool host_arith(enum arith op, const f80 *a, const f80 *b, f80 *r, uint16_t *c1)
{
    switch (op) {
    case ARITH_ADD:
        return host_f80_op(FPOP_ADD, a, b, r, c1);
    case ARITH_MUL:
        return host_f80_op(FPOP_MUL, a, b, r, c1);
    case ARITH_SUB:
        return host_f80_op(FPOP_SUB, a, b, r, c1);
    case ARITH_SUBR:
        return host_f80_op(FPOP_SUB, b, a, r, c1);
    case ARITH_DIV:
        return host_f80_op(FPOP_DIV, a, b, r, c1);
    default:
        return host_f80_op(FPOP_DIV, b, a, r, c1);
    }
}

X87_INLINE f80 soft_arith(enum arith op, struct fp_env *e, f80 a, f80 b)
{
    switch (op) {
    case ARITH_ADD:
        return f80_add(e, a, b);
    case ARITH_MUL:
        return f80_mul(e, a, b);
    case ARITH_SUB:
        return f80_sub(e, a, b);
    case ARITH_SUBR:
        return f80_sub(e, b, a);
    case ARITH_DIV:
        return f80_div(e, a, b);
    default:
        return f80_div(e, b, a);
    }
}

/* ST(dst) = a op b. False: the operands are to stay as they are, and nothing popped. */
X87_INLINE bool arith(struct cpu *cpu, enum arith op, const f80 *a, const f80 *b, bool wide_denormal,
                      unsigned dst)
{
    struct fpu *f = &cpu->fpu;
    f80 r;
    uint16_t c1;

    if (host_usable(f) && !wide_denormal && host_arith(op, a, b, &r, &c1)) {
        host_done(f, c1);
    } else {
        struct fp_env e = x87_env(f);
        e.wide_denormal = wide_denormal;
        r = soft_arith(op, &e, *a, *b);
        if (!x87_commit(cpu, &e))
            return false;
    }
    x87_put(f, dst, r);
    return true;
}

/* An operand is missing: the indefinite NaN goes to ST(dst). False if nothing may change. */
static bool arith_empty(struct cpu *cpu, unsigned dst)
{
    if (!x87_stack_fault(cpu, false))
        return false;
    x87_put(&cpu->fpu, dst, F80_DEFAULT_NAN);
    return true;
}

/* ST0 = ST0 op b, a memory operand. */
X87_INLINE bool arith_mem(struct cpu *cpu, enum arith op, f80 b, bool wide_denormal)
{
    if (UNLIKELY(x87_empty(&cpu->fpu, 0)))
        arith_empty(cpu, 0);
    else
        arith(cpu, op, x87_st(&cpu->fpu, 0), &b, wide_denormal, 0);
    return true;
}

X87_INLINE f80 widen_f64(f64 a, bool *denormal)
{
    if (LIKELY(f64_is_ordinary(a))) {
        *denormal = false;
        return (f80){0x8000000000000000ull | a << 11,
                     (uint16_t)(a >> 63 << 15 | ((a >> 52 & 0x7ff) + 16383 - 1023))};
    }
    return f64_widen(a, denormal);
}

X87_INLINE f80 widen_f32(f32 a, bool *denormal)
{
    if (LIKELY(f32_is_ordinary(a))) {
        *denormal = false;
        return (f80){0x8000000000000000ull | (uint64_t)a << 40,
                     (uint16_t)(a >> 31 << 15 | ((a >> 23 & 0xff) + 16383 - 127))};
    }
    return f32_widen(a, denormal);
}

/* ST(dst) = ST0 op STi or STi op ST0; dst is one of them. */
X87_INLINE bool arith_reg(struct cpu *cpu, const struct insn *i, enum arith op, bool to_sti,
                          bool pop)
{
    struct fpu *f = &cpu->fpu;
    unsigned n = i->modrm & 7, dst = to_sti ? n : 0;
    bool done;

    if (UNLIKELY(x87_empty(f, 0) || x87_empty(f, n)))
        done = arith_empty(cpu, dst);
    else
        done = arith(cpu, op, x87_st(f, dst), x87_st(f, to_sti ? 0 : n), false, dst);
    if (pop && done)
        x87_pop(f);
    return true;
}

/* An instruction with a memory operand: v is loaded, b made of it, and use(cpu, how, b, denormal) does
 * the rest. */
#define MEM_FORM(name, type, load, low, b, use, how)                                               \
    bool op_##name(struct cpu *cpu, const struct insn *i)                                          \
    {                                                                                              \
        type v;                                                                                    \
        bool denormal = false;                                                                     \
        if (!load(cpu, i, &v))                                                                     \
            return false;                                                                          \
        x87_note_mem(cpu, i, low);                                                                 \
        f80 operand = b;                                                                           \
        return use(cpu, how, operand, denormal);                                                   \
    }
#define MEM_FORMS(name, use, how)                                                                  \
    MEM_FORM(name##_m32, uint32_t, fast_load32, 0, widen_f32(v, &denormal), use, how)              \
    MEM_FORM(name##_m64, uint64_t, fast_load64, 4, widen_f64(v, &denormal), use, how)              \
    MEM_FORM(name##_i32, uint32_t, fast_load32, 2, i64_to_f80((int32_t)v), use, how)               \
    MEM_FORM(name##_i16, uint16_t, fast_load16, 6, i64_to_f80((int16_t)v), use, how)

#define REG_FORM(name, op, low, to_sti, pop)                                                       \
    bool op_##name(struct cpu *cpu, const struct insn *i)                                          \
    {                                                                                              \
        x87_note(cpu, i, low);                                                                     \
        return arith_reg(cpu, i, op, to_sti, pop);                                                 \
    }

#define ARITH_FORMS(name, op)                                                                      \
    MEM_FORMS(name, arith_mem, op)                                                                 \
    REG_FORM(name##_st, op, 0, false, false)                                                       \
    REG_FORM(name##_sti, op, 4, true, false)                                                       \
    REG_FORM(name##p, op, 6, true, true)

ARITH_FORMS(fadd, ARITH_ADD)
ARITH_FORMS(fmul, ARITH_MUL)
ARITH_FORMS(fsub, ARITH_SUB)
ARITH_FORMS(fsubr, ARITH_SUBR)
ARITH_FORMS(fdiv, ARITH_DIV)
ARITH_FORMS(fdivr, ARITH_DIVR)

/* ---- comparison ------------------------------------------------------------------------------- */

X87_INLINE enum fp_order simple_order(const f80 *a, const f80 *b)
{
    bool sa = a->se >> 15, sb = b->se >> 15;

    if (!a->mant && !b->mant)
        return FP_EQUAL;
    if (sa != sb)
        return sa ? FP_LESS : FP_GREATER;
    int m = a->se != b->se ? ((a->se & 0x7fff) < (b->se & 0x7fff) ? -1 : 1)
                           : (a->mant > b->mant) - (a->mant < b->mant);
    return sa ? -m : m;
}

/* False: an unmasked exception; nothing is to be popped. The result is set all the same. */
X87_INLINE bool compare(struct cpu *cpu, const f80 *a, const f80 *b, bool wide_denormal, bool quiet,
                        enum fp_order *o)
{
    struct fpu *f = &cpu->fpu;

    if (LIKELY(f80_is_simple(a) && f80_is_simple(b) && !wide_denormal)) {
        x87_clear_c1(f);
        *o = simple_order(a, b);
        return true;
    }
    struct fp_env e = x87_env(f);
    e.wide_denormal = wide_denormal;
    *o = f80_compare(&e, *a, *b, quiet);
    return x87_commit(cpu, &e);
}

X87_INLINE void order_to_cc(struct fpu *f, enum fp_order o)
{
    unsigned cc = o == FP_GREATER ? 0
                  : o == FP_LESS  ? SW_C0
                  : o == FP_EQUAL ? SW_C3
                                  : SW_C0 | SW_C2 | SW_C3;
    f->sw = (uint16_t)((f->sw & ~(SW_C0 | SW_C2 | SW_C3)) | cc);
}

X87_INLINE bool compare_mem(struct cpu *cpu, bool pop, f80 b, bool wide_denormal)
{
    struct fpu *f = &cpu->fpu;
    enum fp_order o = FP_UNORDERED;
    bool done;

    if (UNLIKELY(x87_empty(f, 0)))
        done = x87_stack_fault(cpu, false);
    else
        done = compare(cpu, x87_st(f, 0), &b, wide_denormal, false, &o);
    order_to_cc(f, o);
    if (pop && done)
        x87_pop(f);
    return true;
}

MEM_FORMS(fcom, compare_mem, false)
MEM_FORMS(fcomp, compare_mem, true)

/* All six arithmetic flags are written, so the lazy state is set outright. */
X87_INLINE void order_to_flags(struct cpu *cpu, enum fp_order o)
{
    cpu->cc_op = CC_FLAGS * 4;
    cpu->cc_a = o == FP_LESS ? FL_CF : o == FP_UNORDERED ? FL_CF | FL_PF : 0;
    cpu->cc_res = o == FP_LESS || o == FP_GREATER;
}

/* ST0 with ST(n), into the condition codes or into EFLAGS. */
X87_INLINE bool compare_reg(struct cpu *cpu, const struct insn *i, unsigned low, bool quiet,
                            bool eflags, unsigned pops)
{
    struct fpu *f = &cpu->fpu;
    unsigned n = i->modrm & 7;
    enum fp_order o = FP_UNORDERED;
    bool done;

    x87_note(cpu, i, low);
    if (UNLIKELY(x87_empty(f, 0) || x87_empty(f, n))) {
        done = x87_stack_fault(cpu, false);
    } else {
        uint16_t c1 = f->sw & SW_C1;
        done = compare(cpu, x87_st(f, 0), x87_st(f, n), false, quiet, &o);
        if (eflags) /* these leave C1 alone */
            f->sw |= c1;
    }
    if (eflags)
        order_to_flags(cpu, o);
    else
        order_to_cc(f, o);
    while (done && pops--)
        x87_pop(f);
    return true;
}

#define COMPARE_REG(name, low, quiet, eflags, pops)                                                \
    bool op_##name(struct cpu *cpu, const struct insn *i)                                          \
    {                                                                                              \
        return compare_reg(cpu, i, low, quiet, eflags, pops);                                      \
    }

COMPARE_REG(fcom, 0, false, false, 0)
COMPARE_REG(fcomp, 0, false, false, 1)
COMPARE_REG(fcom2, 4, false, false, 0)  /* undocumented DC D0 */
COMPARE_REG(fcomp3, 4, false, false, 1) /* undocumented DC D8 */
COMPARE_REG(fcomp5, 6, false, false, 1) /* undocumented DE D0 */
COMPARE_REG(fcompp, 6, false, false, 2)
COMPARE_REG(fucom, 5, true, false, 0)
COMPARE_REG(fucomp, 5, true, false, 1)
COMPARE_REG(fucompp, 2, true, false, 2)
COMPARE_REG(fcomi, 3, false, true, 0)
COMPARE_REG(fucomi, 3, true, true, 0)
COMPARE_REG(fcomip, 7, false, true, 1)
COMPARE_REG(fucomip, 7, true, true, 1)

bool op_ftst(struct cpu *cpu, const struct insn *i)
{
    x87_note(cpu, i, 1);
    return compare_mem(cpu, false, F80_ZERO, false);
}

/* ---- one operand ------------------------------------------------------------------------------ */

bool op_fxam(struct cpu *cpu, const struct insn *i)
{
    struct fpu *f = &cpu->fpu;
    const f80 *a = x87_st(f, 0);
    unsigned cc;

    x87_note(cpu, i, 1);
    if (x87_empty(f, 0))
        cc = SW_C3 | SW_C0;
    else if (f80_is_ordinary(a))
        cc = SW_C2;
    else if (f80_is_unsupported(*a))
        cc = 0;
    else if (f80_is_zero(a))
        cc = SW_C3;
    else if (!(a->se & 0x7fff))
        cc = SW_C3 | SW_C2;
    else
        cc = f80_is_nan(*a) ? SW_C0 : SW_C2 | SW_C0;
    x87_set_cc(f, cc | (a->se >> 15 ? SW_C1 : 0));
    return true;
}

X87_INLINE bool sign_op(struct cpu *cpu, const struct insn *i, unsigned and, unsigned xor)
{
    struct fpu *f = &cpu->fpu;

    x87_note(cpu, i, 1);
    if (UNLIKELY(x87_empty(f, 0))) {
        arith_empty(cpu, 0);
        return true;
    }
    struct fpreg *a = x87_st(f, 0);
    a->se = (uint16_t)((a->se & and) ^ xor);
    x87_clear_c1(f);
    return true;
}

bool op_fchs(struct cpu *cpu, const struct insn *i)
{
    return sign_op(cpu, i, 0xffff, 0x8000);
}

bool op_fabs(struct cpu *cpu, const struct insn *i)
{
    return sign_op(cpu, i, 0x7fff, 0);
}

bool op_fsqrt(struct cpu *cpu, const struct insn *i)
{
    struct fpu *f = &cpu->fpu;
    f80 r;
    uint16_t c1;

    x87_note(cpu, i, 1);
    if (UNLIKELY(x87_empty(f, 0))) {
        arith_empty(cpu, 0);
        return true;
    }
    const f80 *a = x87_st(f, 0);
    if (host_usable(f) && host_f80_sqrt(a, &r, &c1)) {
        host_done(f, c1);
    } else {
        struct fp_env e = x87_env(f);
        r = f80_sqrt(&e, *a);
        if (!x87_commit(cpu, &e))
            return true;
    }
    x87_put(f, 0, r);
    return true;
}
