/* x87 data transfer: loads, stores, constants, FXCH, FCMOVcc.
 *
 * A store writes memory before anything else changes, so that a page fault restarts it; unmasked
 * exceptions that forbid storing are found before that (SDM vol. 1, 8.5).
 */
#include "cpu/x87.h"

/* ---- loads ------------------------------------------------------------------------------------ */

X87_INLINE bool push_full(const struct fpu *f)
{
    return UNLIKELY(!x87_empty(f, 7));
}

/* FLD onto a register in use. */
static bool push_overflow(struct cpu *cpu)
{
    if (x87_stack_fault(cpu, true))
        x87_push(&cpu->fpu, F80_DEFAULT_NAN);
    return true;
}

/* Operands that may raise something. An unmasked DE is reported after the push, only IE before. */
static bool push_converted(struct cpu *cpu, f80 v, struct fp_env *e)
{
    x87_commit(cpu, e);
    if (!(e->flags & ~e->masks & FP_IE))
        x87_push(&cpu->fpu, v);
    return true;
}

X87_INLINE bool push_exact(struct cpu *cpu, f80 v)
{
    x87_clear_c1(&cpu->fpu);
    x87_push(&cpu->fpu, v);
    return true;
}

bool op_fld_m32(struct cpu *cpu, const struct insn *i)
{
    struct fpu *f = &cpu->fpu;
    uint32_t v;

    if (!fast_load32(cpu, i, &v))
        return false;
    x87_note_mem(cpu, i, 1);
    if (push_full(f))
        return push_overflow(cpu);
    if (LIKELY(f32_is_ordinary(v)))
        return push_exact(cpu, (f80){0x8000000000000000ull | (uint64_t)v << 40,
                                     (uint16_t)(v >> 31 << 15 | ((v >> 23 & 0xff) + 16256))});
    struct fp_env e = x87_env(f);
    f80 r = f32_to_f80(&e, v);
    return push_converted(cpu, r, &e);
}

bool op_fld_m64(struct cpu *cpu, const struct insn *i)
{
    struct fpu *f = &cpu->fpu;
    uint64_t v;

    if (!fast_load64(cpu, i, &v))
        return false;
    x87_note_mem(cpu, i, 5);
    if (push_full(f))
        return push_overflow(cpu);
    if (LIKELY(f64_is_ordinary(v)))
        return push_exact(cpu, (f80){0x8000000000000000ull | v << 11,
                                     (uint16_t)(v >> 63 << 15 | ((v >> 52 & 0x7ff) + 15360))});
    struct fp_env e = x87_env(f);
    f80 r = f64_to_f80(&e, v);
    return push_converted(cpu, r, &e);
}

bool op_fld_m80(struct cpu *cpu, const struct insn *i)
{
    uint8_t buf[10];

    if (!vec_load(cpu, i, buf, 10))
        return false;
    x87_note_mem(cpu, i, 3);
    if (push_full(&cpu->fpu))
        return push_overflow(cpu);
    return push_exact(cpu, (f80){ld64(buf), ld16(buf + 8)});
}

X87_INLINE bool fild(struct cpu *cpu, const struct insn *i, unsigned low, int64_t v)
{
    x87_note_mem(cpu, i, low);
    if (push_full(&cpu->fpu))
        return push_overflow(cpu);
    return push_exact(cpu, i64_to_f80(v));
}

bool op_fild_m16(struct cpu *cpu, const struct insn *i)
{
    uint16_t v;
    return fast_load16(cpu, i, &v) && fild(cpu, i, 7, (int16_t)v);
}

bool op_fild_m32(struct cpu *cpu, const struct insn *i)
{
    uint32_t v;
    return fast_load32(cpu, i, &v) && fild(cpu, i, 3, (int32_t)v);
}

bool op_fild_m64(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;
    return fast_load64(cpu, i, &v) && fild(cpu, i, 7, (int64_t)v);
}

bool op_fbld(struct cpu *cpu, const struct insn *i)
{
    uint8_t buf[10];

    if (!vec_load(cpu, i, buf, 10))
        return false;
    x87_note_mem(cpu, i, 7);
    if (push_full(&cpu->fpu))
        return push_overflow(cpu);
    return push_exact(cpu, bcd_to_f80(buf));
}

bool op_fld_sti(struct cpu *cpu, const struct insn *i)
{
    struct fpu *f = &cpu->fpu;
    unsigned n = i->modrm & 7;

    x87_note(cpu, i, 1);
    if (UNLIKELY(x87_empty(f, n))) {
        if (x87_stack_fault(cpu, false))
            x87_push(f, F80_DEFAULT_NAN);
        return true;
    }
    if (push_full(f))
        return push_overflow(cpu);
    const struct fpreg *src = x87_st(f, n);
    return push_exact(cpu, (f80){src->mant, src->se});
}

/* The constants are kept to 64 bits rounded to nearest; what directed rounding makes of the bits
 * beyond is their difference (SDM vol. 2, FLD1). step is -1 where nearest went up. */
static bool load_constant(struct cpu *cpu, const struct insn *i, f80 v, int step)
{
    unsigned rounding = cpu->fpu.cw >> 10 & 3;

    x87_note(cpu, i, 1);
    if (push_full(&cpu->fpu))
        return push_overflow(cpu);
    if (step < 0 && (rounding == FR_DOWN || rounding == FR_ZERO))
        v.mant--;
    if (step > 0 && rounding == FR_UP)
        v.mant++;
    return push_exact(cpu, v);
}

#define CONSTANT(name, mant, se, step)                                                             \
    bool op_##name(struct cpu *cpu, const struct insn *i)                                          \
    {                                                                                              \
        return load_constant(cpu, i, (f80){mant, se}, step);                                       \
    }

CONSTANT(fld1, 0x8000000000000000ull, 0x3fff, 0)
CONSTANT(fldl2t, 0xd49a784bcd1b8afeull, 0x4000, 1)
CONSTANT(fldl2e, 0xb8aa3b295c17f0bcull, 0x3fff, -1)
CONSTANT(fldpi, 0xc90fdaa22168c235ull, 0x4000, -1)
CONSTANT(fldlg2, 0x9a209a84fbcff799ull, 0x3ffd, -1)
CONSTANT(fldln2, 0xb17217f7d1cf79acull, 0x3ffe, -1)
CONSTANT(fldz, 0, 0, 0)

/* ---- stores ----------------------------------------------------------------------------------- */

/* Ends a store whose data has been written (or must not be): flags, pointers, pop. */
X87_INLINE bool store_done(struct cpu *cpu, const struct insn *i, unsigned low, bool stored,
                           bool pop, struct fp_env *e)
{
    x87_note_mem(cpu, i, low);
    x87_commit(cpu, e);
    if (pop && stored)
        x87_pop(&cpu->fpu);
    return true;
}

/* A store from an empty register: size bytes of the indefinite. */
static bool store_empty(struct cpu *cpu, const struct insn *i, unsigned low, const uint8_t *bytes,
                        unsigned size, bool pop)
{
    bool masked = cpu->fpu.cw & FP_IE;

    if (masked && !vec_store(cpu, i, bytes, size))
        return false;
    x87_note_mem(cpu, i, low);
    x87_stack_fault(cpu, false);
    if (masked && pop)
        x87_pop(&cpu->fpu);
    return true;
}

X87_INLINE bool fst_m32(struct cpu *cpu, const struct insn *i, bool pop)
{
    struct fpu *f = &cpu->fpu;

    if (UNLIKELY(x87_empty(f, 0))) {
        uint8_t nan[4];
        st32(nan, F32_DEFAULT_NAN);
        return store_empty(cpu, i, 1, nan, 4, pop);
    }
    struct fp_env e = x87_env(f);
    f32 v = f80_to_f32(&e, *x87_st(f, 0));
    bool store = x87_may_store(&e);
    if (store && !fast_store32(cpu, i, v))
        return false;
    return store_done(cpu, i, 1, store, pop, &e);
}

/* Stores of doubles are the commonest: inline for results that are normal, to nearest. */
X87_INLINE bool fst_m64(struct cpu *cpu, const struct insn *i, bool pop)
{
    struct fpu *f = &cpu->fpu;

    if (UNLIKELY(x87_empty(f, 0))) {
        uint8_t nan[8];
        st64(nan, F64_DEFAULT_NAN);
        return store_empty(cpu, i, 5, nan, 8, pop);
    }
    const f80 *a = x87_st(f, 0);
    unsigned exp = (a->se & 0x7fff) - (16383 - 1023);
    struct fp_env e;
    f64 v;
    if (LIKELY(exp - 2 < 0x7fb && a->mant >> 63 && !(f->cw & 0xc00))) {
        uint64_t rest = a->mant & 0x7ff, kept = a->mant >> 11;
        bool up = rest + (kept & 1) > 0x400; /* half to even */
        /* A carry out of the significand counts the exponent up, as it should. */
        v = ((f64)(a->se >> 15) << 63) + ((f64)(exp - 1) << 52) + kept + up;
        if (LIKELY(!rest || (f->cw & FP_PE))) {
            if (!fast_store64(cpu, i, v))
                return false;
            x87_note_mem(cpu, i, 5);
            f->sw = (uint16_t)((f->sw & ~SW_C1) | (rest ? FP_PE : 0) | (up ? SW_C1 : 0));
            if (pop)
                x87_pop(f);
            return true;
        }
    }
    e = x87_env(f);
    v = f80_to_f64(&e, *a);
    bool store = x87_may_store(&e);
    if (store && !fast_store64(cpu, i, v))
        return false;
    return store_done(cpu, i, 5, store, pop, &e);
}

bool op_fst_m32(struct cpu *cpu, const struct insn *i)
{
    return fst_m32(cpu, i, false);
}

bool op_fstp_m32(struct cpu *cpu, const struct insn *i)
{
    return fst_m32(cpu, i, true);
}

bool op_fst_m64(struct cpu *cpu, const struct insn *i)
{
    return fst_m64(cpu, i, false);
}

bool op_fstp_m64(struct cpu *cpu, const struct insn *i)
{
    return fst_m64(cpu, i, true);
}

bool op_fstp_m80(struct cpu *cpu, const struct insn *i)
{
    struct fpu *f = &cpu->fpu;
    uint8_t buf[10];

    bool empty = x87_empty(f, 0);
    f80 v = empty ? F80_DEFAULT_NAN : *x87_st(f, 0);
    st64(buf, v.mant);
    st16(buf + 8, v.se);
    if (UNLIKELY(empty))
        return store_empty(cpu, i, 3, buf, 10, true);
    if (!vec_store(cpu, i, buf, 10))
        return false;
    x87_note_mem(cpu, i, 3);
    x87_clear_c1(f);
    x87_pop(f);
    return true;
}

X87_INLINE bool fist(struct cpu *cpu, const struct insn *i, unsigned low, unsigned size,
                     bool truncate, bool pop)
{
    struct fpu *f = &cpu->fpu;

    if (UNLIKELY(x87_empty(f, 0))) {
        uint8_t indefinite[8];
        st64(indefinite, 0x8000000000000000ull >> (64 - size * 8));
        return store_empty(cpu, i, low, indefinite, size, pop);
    }
    struct fp_env e = x87_env(f);
    enum fp_round rounding = truncate ? FR_ZERO : (enum fp_round)e.rounding;
    int64_t v = f80_to_int(&e, *x87_st(f, 0), size * 8, rounding);
    bool store = x87_may_store(&e);
    if (store && !fast_store(cpu, i->seg, insn_ea(cpu, i), size, (uint64_t)v))
        return false;
    return store_done(cpu, i, low, store, pop, &e);
}

#define FIST(name, low, size, truncate, pop)                                                       \
    bool op_##name(struct cpu *cpu, const struct insn *i)                                          \
    {                                                                                              \
        return fist(cpu, i, low, size, truncate, pop);                                             \
    }

FIST(fist_m16, 7, 2, false, false)
FIST(fist_m32, 3, 4, false, false)
FIST(fistp_m16, 7, 2, false, true)
FIST(fistp_m32, 3, 4, false, true)
FIST(fistp_m64, 7, 8, false, true)
FIST(fisttp_m16, 7, 2, true, true)
FIST(fisttp_m32, 3, 4, true, true)
FIST(fisttp_m64, 5, 8, true, true)

bool op_fbstp(struct cpu *cpu, const struct insn *i)
{
    struct fpu *f = &cpu->fpu;
    struct fp_env e = x87_env(f);
    uint8_t bcd[10];

    bool empty = x87_empty(f, 0);
    f80_to_bcd(&e, empty ? F80_DEFAULT_NAN : *x87_st(f, 0), bcd);
    if (UNLIKELY(empty))
        return store_empty(cpu, i, 7, bcd, 10, true);
    bool store = x87_may_store(&e);
    if (store && !vec_store(cpu, i, bcd, 10))
        return false;
    return store_done(cpu, i, 7, store, true, &e);
}

/* ---- between registers ------------------------------------------------------------------------ */

X87_INLINE bool fst_sti(struct cpu *cpu, const struct insn *i, unsigned low, bool pop)
{
    struct fpu *f = &cpu->fpu;
    unsigned n = i->modrm & 7;

    x87_note(cpu, i, low);
    if (UNLIKELY(x87_empty(f, 0))) {
        if (!x87_stack_fault(cpu, false))
            return true;
        x87_put(f, n, F80_DEFAULT_NAN);
    } else {
        const struct fpreg *src = x87_st(f, 0);
        x87_clear_c1(f);
        x87_put(f, n, (f80){src->mant, src->se});
    }
    if (pop)
        x87_pop(f);
    return true;
}

bool op_fst_sti(struct cpu *cpu, const struct insn *i)
{
    return fst_sti(cpu, i, 5, false);
}

bool op_fstp_sti(struct cpu *cpu, const struct insn *i)
{
    return fst_sti(cpu, i, 5, true);
}

/* Undocumented: D9 D8 (FSTP1), which only pops when ST0 is empty. */
bool op_fstp1(struct cpu *cpu, const struct insn *i)
{
    struct fpu *f = &cpu->fpu;

    if (LIKELY(!x87_empty(f, 0)))
        return fst_sti(cpu, i, 1, true);
    x87_note(cpu, i, 1);
    x87_clear_c1(f);
    x87_pop(f);
    return true;
}

/* Undocumented: DF D0 (FSTP8) and DF D8 (FSTP9). */
bool op_fstp8(struct cpu *cpu, const struct insn *i)
{
    return fst_sti(cpu, i, 7, true);
}

X87_INLINE bool fxch(struct cpu *cpu, const struct insn *i, unsigned low)
{
    struct fpu *f = &cpu->fpu;
    unsigned n = i->modrm & 7;

    x87_note(cpu, i, low);
    if (UNLIKELY(x87_empty(f, 0) || x87_empty(f, n))) {
        if (!x87_stack_fault(cpu, false))
            return true;
        if (x87_empty(f, 0))
            x87_put(f, 0, F80_DEFAULT_NAN);
        if (x87_empty(f, n))
            x87_put(f, n, F80_DEFAULT_NAN);
    } else {
        x87_clear_c1(f);
    }
    struct fpreg *a = x87_st(f, 0), *b = x87_st(f, n);
    uint64_t mant = a->mant;
    uint16_t se = a->se;
    a->mant = b->mant;
    a->se = b->se;
    b->mant = mant;
    b->se = se;
    return true;
}

bool op_fxch(struct cpu *cpu, const struct insn *i)
{
    return fxch(cpu, i, 1);
}

/* Undocumented: DD C8 (FXCH4) and DF C8 (FXCH7). */
bool op_fxch4(struct cpu *cpu, const struct insn *i)
{
    return fxch(cpu, i, 5);
}

bool op_fxch7(struct cpu *cpu, const struct insn *i)
{
    return fxch(cpu, i, 7);
}

/* ---- FCMOVcc ---------------------------------------------------------------------------------- */

static bool fcmov(struct cpu *cpu, const struct insn *i, unsigned low, uint64_t flags)
{
    struct fpu *f = &cpu->fpu;
    unsigned n = i->modrm & 7;
    bool wanted = low == 2; /* DA: if any is set; DB: if none is */

    x87_note(cpu, i, low);
    if (UNLIKELY(x87_empty(f, 0) || x87_empty(f, n))) {
        if (x87_stack_fault(cpu, false))
            x87_put(f, 0, F80_DEFAULT_NAN);
        return true;
    }
    /* C1 stays as it is. */
    if (((cpu_flags(cpu) & flags) != 0) == wanted)
        x87_put(f, 0, *x87_st(f, n));
    return true;
}

#define FCMOV(name, low, flags)                                                                    \
    bool op_##name(struct cpu *cpu, const struct insn *i)                                          \
    {                                                                                              \
        return fcmov(cpu, i, low, flags);                                                          \
    }

FCMOV(fcmovb, 2, FL_CF)
FCMOV(fcmove, 2, FL_ZF)
FCMOV(fcmovbe, 2, FL_CF | FL_ZF)
FCMOV(fcmovu, 2, FL_PF)
FCMOV(fcmovnb, 3, FL_CF)
FCMOV(fcmovne, 3, FL_ZF)
FCMOV(fcmovnbe, 3, FL_CF | FL_ZF)
FCMOV(fcmovnu, 3, FL_PF)
