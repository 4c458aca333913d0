/* The x87 unit: status, control and tag words, pending exceptions, control instructions, and the
 * environment in its four formats (SDM vol. 1, 8.1.10; figures 8-9 to 8-12).
 *
 * Known inaccuracies: with CR0.NE clear the unit does not freeze at the next waiting instruction
 * until the interrupt has been taken; FERR# is asserted with the faulting instruction itself.
 */
#include "cpu/x87.h"

/* ---- words and exceptions --------------------------------------------------------------------- */

static void set_summary(struct cpu *cpu)
{
    cpu->fpu.sw |= SW_ES | SW_B;
    if (!(cpu->cr0 & CR0_NE) && cpu->env.ferr)
        cpu->env.ferr(cpu->env.opaque, 1);
}

/* An instruction has an unmasked exception, which is when processors since the Pentium 4 set FOP (SDM
 * vol. 1, 8.1.9.1); x87_note() does it for those before, always. */
static void new_exception(struct cpu *cpu)
{
    const struct insn *i = cpu->cur;

    cpu->fpu.fop = (uint16_t)((insn_rows[i->row].opcode & 7) << 8 | i->modrm);
    set_summary(cpu);
}

void x87_update_summary(struct cpu *cpu)
{
    struct fpu *f = &cpu->fpu;

    if (f->sw & ~f->cw & FP_ALL) {
        set_summary(cpu);
    } else {
        bool was_set = f->sw & SW_ES;
        f->sw &= (uint16_t)~(SW_ES | SW_B);
        if (was_set && cpu->env.ferr)
            cpu->env.ferr(cpu->env.opaque, 0);
    }
}

bool x87_take_pending(struct cpu *cpu)
{
    if (cpu->cr0 & CR0_NE)
        return cpu_raise(cpu, EXC_MF);
    set_summary(cpu); /* a state restored by FXRSTOR may not have told yet */
    return true;
}

bool x87_commit(struct cpu *cpu, struct fp_env *e)
{
    struct fpu *f = &cpu->fpu;
    unsigned flags = e->flags;
    unsigned unmasked = flags & ~e->masks;

    f->sw &= (uint16_t)~SW_C1;
    if (UNLIKELY(unmasked)) {
        if (unmasked & FP_PRE)
            flags &= FP_PRE;
        f->sw |= (uint16_t)flags;
        new_exception(cpu);
        if (unmasked & FP_PRE)
            return false;
    }
    f->sw |= (uint16_t)(flags | (e->rounded_up ? SW_C1 : 0));
    return true;
}

bool x87_stack_fault(struct cpu *cpu, bool overflow)
{
    struct fpu *f = &cpu->fpu;

    f->sw = (uint16_t)((f->sw & ~SW_C1) | FP_IE | SW_SF | (overflow ? SW_C1 : 0));
    if (f->cw & FP_IE)
        return true;
    new_exception(cpu);
    return false;
}

void x87_init(struct cpu *cpu)
{
    struct fpu *f = &cpu->fpu;

    f->cw = 0x37f;
    f->sw &= SW_ES; /* for x87_update_summary() to see the change */
    f->top = 0;
    f->tags = 0;
    f->fop = f->fcs = f->fds = 0;
    f->fip = f->fdp = 0;
    x87_update_summary(cpu);
}

uint16_t x87_status(const struct fpu *f)
{
    return (uint16_t)((f->sw & ~SW_TOP) | f->top << 11);
}

void x87_set_status(struct cpu *cpu, uint16_t sw)
{
    cpu->fpu.top = sw >> 11 & 7;
    cpu->fpu.sw = (uint16_t)((sw & ~(SW_TOP | SW_ES | SW_B)) | (cpu->fpu.sw & SW_ES));
    x87_update_summary(cpu);
}

void x87_set_control(struct cpu *cpu, uint16_t cw)
{
    cpu->fpu.cw = (cw & 0x1f3f) | 0x40;
    x87_update_summary(cpu);
}

uint16_t x87_tag_word(const struct fpu *f)
{
    uint16_t tw = 0;

    for (unsigned n = 0; n < 8; n++) {
        unsigned tag;
        if (!(f->tags >> n & 1))
            tag = 3;
        else if (f80_is_zero(&f->st[n]))
            tag = 1;
        else
            tag = f80_is_ordinary(&f->st[n]) ? 0 : 2;
        tw |= (uint16_t)(tag << n * 2);
    }
    return tw;
}

void x87_set_tag_word(struct fpu *f, uint16_t tw)
{
    f->tags = 0;
    for (unsigned n = 0; n < 8; n++)
        if ((tw >> n * 2 & 3) != 3)
            f->tags |= (uint8_t)(1u << n);
}

/* ---- control instructions --------------------------------------------------------------------- */

bool op_fwait(struct cpu *cpu, const struct insn *i)
{
    if ((cpu->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
        return cpu_raise(cpu, EXC_NM);
    return x87_wait(cpu);
}

/* FENI, FDISI (8087), FSETPM (80287): nothing since the 386. */
bool op_fnop8087(struct cpu *cpu, const struct insn *i)
{
    return true;
}

bool op_fnop(struct cpu *cpu, const struct insn *i)
{
    x87_note(cpu, i, 1);
    return true;
}

bool op_fninit(struct cpu *cpu, const struct insn *i)
{
    x87_init(cpu);
    return true;
}

bool op_fnclex(struct cpu *cpu, const struct insn *i)
{
    cpu->fpu.sw &= (uint16_t)~(FP_ALL | SW_SF);
    x87_update_summary(cpu);
    return true;
}

bool op_fldcw(struct cpu *cpu, const struct insn *i)
{
    uint16_t v;

    if (!fast_load16(cpu, i, &v))
        return false;
    x87_set_control(cpu, v);
    return true;
}

bool op_fnstcw(struct cpu *cpu, const struct insn *i)
{
    return fast_store16(cpu, i, cpu->fpu.cw);
}

bool op_fnstsw(struct cpu *cpu, const struct insn *i)
{
    return fast_store16(cpu, i, x87_status(&cpu->fpu));
}

bool op_fnstsw_ax(struct cpu *cpu, const struct insn *i)
{
    reg_set(cpu, REG_AX, x87_status(&cpu->fpu), 2);
    return true;
}

bool op_ffree(struct cpu *cpu, const struct insn *i)
{
    struct fpu *f = &cpu->fpu;

    x87_note(cpu, i, 5);
    f->tags &= (uint8_t)~(1u << ((f->top + (i->modrm & 7)) & 7));
    x87_clear_c1(f);
    return true;
}

bool op_ffreep(struct cpu *cpu, const struct insn *i) /* undocumented */
{
    struct fpu *f = &cpu->fpu;

    x87_note(cpu, i, 7);
    f->tags &= (uint8_t)~(1u << ((f->top + (i->modrm & 7)) & 7));
    x87_pop(f);
    x87_clear_c1(f);
    return true;
}

bool op_fincstp(struct cpu *cpu, const struct insn *i)
{
    x87_note(cpu, i, 1);
    cpu->fpu.top = (cpu->fpu.top + 1) & 7;
    x87_clear_c1(&cpu->fpu);
    return true;
}

bool op_fdecstp(struct cpu *cpu, const struct insn *i)
{
    x87_note(cpu, i, 1);
    cpu->fpu.top = (cpu->fpu.top - 1) & 7;
    x87_clear_c1(&cpu->fpu);
    return true;
}

/* ---- the environment -------------------------------------------------------------------------- */

static unsigned env_size(const struct insn *i)
{
    return i->size == 2 ? 14 : 28;
}

/* Words of the environment, in their order: control, status, tag, FIP, FCS (with FOP), FDP, FDS. In
 * real and virtual-8086 mode linear addresses stand for the pointers. */
static void env_build(const struct cpu *cpu, const struct insn *i, uint8_t *buf)
{
    const struct fpu *f = &cpu->fpu;
    bool narrow = i->size == 2;
    uint32_t w[7] = {f->cw, x87_status(f), x87_tag_word(f)};

    if (cpu_real_or_vm(cpu)) {
        uint32_t ip = (uint32_t)f->fip + ((uint32_t)f->fcs << 4);
        uint32_t dp = (uint32_t)f->fdp + ((uint32_t)f->fds << 4);
        w[3] = ip & 0xffff;
        w[4] = (ip >> 16) << 12 | (f->fop & 0x7ff);
        w[5] = dp & 0xffff;
        w[6] = (dp >> 16) << 12;
    } else {
        w[3] = (uint32_t)f->fip;
        w[4] = f->fcs | (narrow ? 0 : (uint32_t)(f->fop & 0x7ff) << 16);
        w[5] = (uint32_t)f->fdp;
        w[6] = f->fds;
    }
    for (unsigned n = 0; n < 7; n++) {
        if (narrow) {
            st16(buf + n * 2, (uint16_t)w[n]);
        } else {
            /* Unused upper halves are stored as ones. */
            bool half = n < 3 || (cpu_real_or_vm(cpu) ? n == 3 || n == 5 : n == 6);
            st32(buf + n * 4, half ? w[n] | 0xffff0000u : w[n]);
        }
    }
}

static void env_apply(struct cpu *cpu, const struct insn *i, const uint8_t *buf)
{
    struct fpu *f = &cpu->fpu;
    bool narrow = i->size == 2;
    uint32_t w[7];

    for (unsigned n = 0; n < 7; n++)
        w[n] = narrow ? ld16(buf + n * 2) : ld32(buf + n * 4);
    if (cpu_real_or_vm(cpu)) {
        f->fip = (w[3] & 0xffff) | (w[4] >> 12 << 16);
        f->fdp = (w[5] & 0xffff) | (w[6] >> 12 << 16);
        f->fop = w[4] & 0x7ff;
        f->fcs = f->fds = 0;
    } else {
        f->fip = w[3];
        f->fcs = (uint16_t)w[4];
        f->fop = narrow ? 0 : w[4] >> 16 & 0x7ff;
        f->fdp = w[5];
        f->fds = (uint16_t)w[6];
    }
    x87_set_tag_word(f, (uint16_t)w[2]);
    f->cw = (w[0] & 0x1f3f) | 0x40;
    x87_set_status(cpu, (uint16_t)w[1]);
}

bool op_fnstenv(struct cpu *cpu, const struct insn *i)
{
    uint8_t buf[28];

    env_build(cpu, i, buf);
    if (!mem_write_bytes(cpu, i->seg, insn_ea(cpu, i), buf, env_size(i)))
        return false;
    x87_set_control(cpu, cpu->fpu.cw | FP_ALL);
    return true;
}

bool op_fldenv(struct cpu *cpu, const struct insn *i)
{
    uint8_t buf[28];

    if (!mem_read_bytes(cpu, i->seg, insn_ea(cpu, i), buf, env_size(i)))
        return false;
    env_apply(cpu, i, buf);
    return true;
}

bool op_fnsave(struct cpu *cpu, const struct insn *i)
{
    uint8_t buf[28 + 80];
    unsigned size = env_size(i);

    env_build(cpu, i, buf);
    for (unsigned n = 0; n < 8; n++) {
        const struct fpreg *r = x87_st(&cpu->fpu, n);
        st64(buf + size + n * 10, r->mant);
        st16(buf + size + n * 10 + 8, r->se);
    }
    if (!mem_write_bytes(cpu, i->seg, insn_ea(cpu, i), buf, size + 80))
        return false;
    x87_init(cpu);
    return true;
}

bool op_frstor(struct cpu *cpu, const struct insn *i)
{
    uint8_t buf[28 + 80];
    unsigned size = env_size(i);

    if (!mem_read_bytes(cpu, i->seg, insn_ea(cpu, i), buf, size + 80))
        return false;
    env_apply(cpu, i, buf);
    for (unsigned n = 0; n < 8; n++) {
        struct fpreg *r = x87_st(&cpu->fpu, n);
        r->mant = ld64(buf + size + n * 10);
        r->se = ld16(buf + size + n * 10 + 8);
    }
    return true;
}
