/* x87 instructions that compute in software always: remainders, scaling, transcendentals.
 */
#include "cpu/x87.h"

/* Checks n operands. False: done with, the stack fault has been dealt with and the result's place,
 * ST(dst), holds the indefinite NaN if that was masked; *pop: the instruction's pop is due. */
static bool operands(struct cpu *cpu, unsigned n, unsigned dst, bool *masked)
{
    struct fpu *f = &cpu->fpu;

    if (!x87_empty(f, 0) && (n < 2 || !x87_empty(f, 1)))
        return true;
    *masked = x87_stack_fault(cpu, false);
    if (*masked)
        x87_put(f, dst, F80_DEFAULT_NAN);
    return false;
}

/* ST0 = fn(ST0) */
X87_INLINE bool unary(struct cpu *cpu, const struct insn *i, f80 (*fn)(struct fp_env *, f80))
{
    struct fpu *f = &cpu->fpu;
    bool masked;

    x87_note(cpu, i, 1);
    if (!operands(cpu, 1, 0, &masked))
        return true;
    struct fp_env e = x87_env(f);
    f80 r = fn(&e, *x87_st(f, 0));
    if (x87_commit(cpu, &e))
        x87_put(f, 0, r);
    return true;
}

/* ST1 = fn(ST1, ST0), pop */
X87_INLINE bool binary_pop(struct cpu *cpu, const struct insn *i,
                           f80 (*fn)(struct fp_env *, f80, f80))
{
    struct fpu *f = &cpu->fpu;
    bool masked;

    x87_note(cpu, i, 1);
    if (!operands(cpu, 2, 1, &masked)) {
        if (masked)
            x87_pop(f);
        return true;
    }
    struct fp_env e = x87_env(f);
    f80 r = fn(&e, *x87_st(f, 1), *x87_st(f, 0));
    if (x87_commit(cpu, &e)) {
        x87_put(f, 1, r);
        x87_pop(f);
    }
    return true;
}

bool op_f2xm1(struct cpu *cpu, const struct insn *i)
{
    return unary(cpu, i, f80_exp2m1);
}

bool op_frndint(struct cpu *cpu, const struct insn *i)
{
    return unary(cpu, i, f80_round_int);
}

bool op_fyl2x(struct cpu *cpu, const struct insn *i)
{
    return binary_pop(cpu, i, f80_ylog2x);
}

bool op_fyl2xp1(struct cpu *cpu, const struct insn *i)
{
    return binary_pop(cpu, i, f80_ylog2xp1);
}

bool op_fpatan(struct cpu *cpu, const struct insn *i)
{
    return binary_pop(cpu, i, f80_atan2);
}

bool op_fscale(struct cpu *cpu, const struct insn *i)
{
    struct fpu *f = &cpu->fpu;
    bool masked;

    x87_note(cpu, i, 1);
    if (!operands(cpu, 2, 0, &masked))
        return true;
    struct fp_env e = x87_env(f);
    f80 r = f80_scale(&e, *x87_st(f, 0), *x87_st(f, 1));
    if (x87_commit(cpu, &e))
        x87_put(f, 0, r);
    return true;
}

static bool remainder_op(struct cpu *cpu, const struct insn *i, bool nearest)
{
    struct fpu *f = &cpu->fpu;
    unsigned q;
    bool masked, done;

    x87_note(cpu, i, 1);
    f->sw &= (uint16_t)~SW_C2;
    if (!operands(cpu, 2, 0, &masked))
        return true;
    struct fp_env e = x87_env(f);
    f80 r = f80_rem(&e, *x87_st(f, 0), *x87_st(f, 1), nearest, &q, &done);
    if (!x87_commit(cpu, &e))
        return true;
    x87_put(f, 0, r);
    if (f80_is_nan(r)) /* C0 and C3 stay as they are */
        return true;
    x87_set_cc(f, done ? (q & 4 ? SW_C0 : 0) | (q & 2 ? SW_C3 : 0) | (q & 1 ? SW_C1 : 0) : SW_C2);
    return true;
}

bool op_fprem(struct cpu *cpu, const struct insn *i)
{
    return remainder_op(cpu, i, false);
}

bool op_fprem1(struct cpu *cpu, const struct insn *i)
{
    return remainder_op(cpu, i, true);
}

/* ---- two results ------------------------------------------------------------------------------ */

/* Instructions that replace ST0 and push. False: done with. */
static bool can_push_result(struct cpu *cpu)
{
    struct fpu *f = &cpu->fpu;
    bool empty = x87_empty(f, 0);

    if (!empty && x87_empty(f, 7))
        return true;
    if (x87_stack_fault(cpu, !empty)) {
        x87_put(f, 0, F80_DEFAULT_NAN);
        x87_push(f, F80_DEFAULT_NAN);
    }
    return false;
}

bool op_fxtract(struct cpu *cpu, const struct insn *i)
{
    struct fpu *f = &cpu->fpu;
    f80 exponent;

    x87_note(cpu, i, 1);
    if (!can_push_result(cpu))
        return true;
    struct fp_env e = x87_env(f);
    f80 significand = f80_extract(&e, *x87_st(f, 0), &exponent);
    if (x87_commit(cpu, &e)) {
        x87_put(f, 0, exponent);
        x87_push(f, significand);
    }
    return true;
}

/* FSIN, FCOS, FSINCOS, FPTAN of 2^63 and more: C2, and nothing else changes. */
static bool angle_too_large(struct fpu *f)
{
    f->sw = (uint16_t)((f->sw & ~SW_C1) | SW_C2);
    return true;
}

static bool sin_or_cos(struct cpu *cpu, const struct insn *i, bool sin)
{
    struct fpu *f = &cpu->fpu;
    bool masked;
    f80 r;

    x87_note(cpu, i, 1);
    f->sw &= (uint16_t)~SW_C2;
    if (!operands(cpu, 1, 0, &masked))
        return true;
    struct fp_env e = x87_env(f);
    if (!f80_sin_cos(&e, *x87_st(f, 0), sin ? &r : NULL, sin ? NULL : &r))
        return angle_too_large(f);
    if (x87_commit(cpu, &e))
        x87_put(f, 0, r);
    return true;
}

bool op_fsin(struct cpu *cpu, const struct insn *i)
{
    return sin_or_cos(cpu, i, true);
}

bool op_fcos(struct cpu *cpu, const struct insn *i)
{
    return sin_or_cos(cpu, i, false);
}

bool op_fsincos(struct cpu *cpu, const struct insn *i)
{
    struct fpu *f = &cpu->fpu;
    f80 s, c;

    x87_note(cpu, i, 1);
    f->sw &= (uint16_t)~SW_C2;
    if (!can_push_result(cpu))
        return true;
    struct fp_env e = x87_env(f);
    if (!f80_sin_cos(&e, *x87_st(f, 0), &s, &c))
        return angle_too_large(f);
    if (x87_commit(cpu, &e)) {
        x87_put(f, 0, s);
        x87_push(f, c);
    }
    return true;
}

bool op_fptan(struct cpu *cpu, const struct insn *i)
{
    struct fpu *f = &cpu->fpu;
    f80 t;

    x87_note(cpu, i, 1);
    f->sw &= (uint16_t)~SW_C2;
    if (!can_push_result(cpu))
        return true;
    struct fp_env e = x87_env(f);
    if (!f80_tan(&e, *x87_st(f, 0), &t))
        return angle_too_large(f);
    if (x87_commit(cpu, &e)) {
        /* A NaN is pushed beside itself, any number beside 1. */
        x87_put(f, 0, t);
        x87_push(f, f80_is_nan(t) ? t : F80_ONE);
    }
    return true;
}
