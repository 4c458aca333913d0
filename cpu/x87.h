/* The x87 unit: what its instructions share, and what others need of it (FXSAVE, MMX, reset).
 *
 * The status word is kept without TOP. ES and B are always what flags and masks say; whoever loads
 * either word calls x87_update_summary(). An x87 instruction's own exceptions never fault it: they
 * set ES, and the next waiting instruction (AT_X87WAIT) takes #MF, or with CR0.NE clear FERR# tells
 * the interrupt controller at once (SDM vol. 1, 8.7; appendix D).
 */
#ifndef CPU_X87_H
#define CPU_X87_H

#include "cpu/fastmem.h"
#include "cpu/hostfloat.h"
#include "cpu/softfloat.h"

enum {
    SW_SF = 0x40, SW_ES = 0x80, SW_C0 = 0x100, SW_C1 = 0x200, SW_C2 = 0x400, SW_TOP = 0x3800,
    SW_C3 = 0x4000, SW_B = 0x8000, SW_CC = SW_C0 | SW_C1 | SW_C2 | SW_C3,
};

/* FNINIT's state. Power-on differs in the control word only (0x40). */
void x87_init(struct cpu *cpu);
/* The status word with TOP, as FNSTSW stores it; and setting it, ES and B recomputed. */
uint16_t x87_status(const struct fpu *f);
void x87_set_status(struct cpu *cpu, uint16_t sw);
/* Only the bits that exist, as FLDCW; ES and B recomputed. */
void x87_set_control(struct cpu *cpu, uint16_t cw);
/* ES, B and FERR# from flags and masks. */
void x87_update_summary(struct cpu *cpu);
/* The two-bit tags, physical register 0 lowest; and the reverse. */
uint16_t x87_tag_word(const struct fpu *f);
void x87_set_tag_word(struct fpu *f, uint16_t tw);
/* Before a waiting instruction when ES is set: false with #MF recorded, if CR0.NE says so. */
bool x87_take_pending(struct cpu *cpu);

static inline bool x87_wait(struct cpu *cpu)
{
    return LIKELY(!(cpu->fpu.sw & SW_ES)) || x87_take_pending(cpu);
}

/* ---- for the x87*.c files --------------------------------------------------------------------- */

#define X87_INLINE static inline __attribute__((always_inline))

X87_INLINE struct fpreg *x87_st(struct fpu *f, unsigned i)
{
    return &f->st[(f->top + i) & 7];
}

X87_INLINE bool x87_empty(const struct fpu *f, unsigned i)
{
    return !(f->tags >> ((f->top + i) & 7) & 1);
}

/* Member by member: 16-byte copies of what was written as 10 bytes stall hosts. */
X87_INLINE void x87_put(struct fpu *f, unsigned i, f80 v)
{
    unsigned n = (f->top + i) & 7;
    f->st[n].mant = v.mant;
    f->st[n].se = v.se;
    f->tags |= (uint8_t)(1u << n);
}

X87_INLINE void x87_pop(struct fpu *f)
{
    f->tags &= (uint8_t)~(1u << f->top);
    f->top = (f->top + 1) & 7;
}

X87_INLINE void x87_push(struct fpu *f, f80 v)
{
    f->top = (f->top - 1) & 7;
    x87_put(f, 0, v);
}

/* FIP and FCS, and FOP on old processors: of every instruction but the control ones. low: last three
 * opcode bits. */
X87_INLINE void x87_note(struct cpu *cpu, const struct insn *i, unsigned low)
{
    cpu->fpu.fip = insn_pc(cpu, i);
    cpu->fpu.fcs = cpu->seg[SEG_CS].sel;
    if (UNLIKELY(!feature_has(&cpu->features, F_LM)))
        cpu->fpu.fop = (uint16_t)(low << 8 | i->modrm);
}

/* ... and FDP, FDS when there is a memory operand. */
X87_INLINE void x87_note_mem(struct cpu *cpu, const struct insn *i, unsigned low)
{
    x87_note(cpu, i, low);
    cpu->fpu.fdp = insn_ea(cpu, i);
    cpu->fpu.fds = cpu->seg[i->seg].sel;
}

X87_INLINE void x87_clear_c1(struct fpu *f)
{
    f->sw &= (uint16_t)~SW_C1;
}

X87_INLINE void x87_set_cc(struct fpu *f, unsigned cc)
{
    f->sw = (uint16_t)((f->sw & ~SW_CC) | cc);
}

X87_INLINE struct fp_env x87_env(const struct fpu *f)
{
    static const uint8_t precision[4] = {24, 64, 53, 64}; /* 1 is reserved */
    return (struct fp_env){
        .rounding = f->cw >> 10 & 3,
        .precision = precision[f->cw >> 8 & 3],
        .masks = f->cw & FP_ALL,
        .x87 = true,
    };
}

/* Takes the flags and C1 of an operation over. False: an unmasked IE, DE or ZE keeps the operands
 * as they are. */
bool x87_commit(struct cpu *cpu, struct fp_env *e);
/* For stores to memory: also OE and UE keep the destination. To be asked before storing. */
X87_INLINE bool x87_may_store(const struct fp_env *e)
{
    return !(e->flags & ~e->masks & (FP_PRE | FP_OE | FP_UE));
}
/* Stack overflow or underflow. True: masked, the caller continues with the indefinite NaN. */
bool x87_stack_fault(struct cpu *cpu, bool overflow);

#endif
