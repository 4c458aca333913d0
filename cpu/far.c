/* Far transfers: JMP, CALL, RET and IRET between segments, privilege levels, modes and tasks, and
 * the INT instructions. SDM vol. 2, the instructions' operation sections; vol. 3, 5.8, 7.3, 20.2.
 *
 * All of them read and check first, then write the stack, then change registers.
 */
#include "cpu/sys.h"

/* A code segment and where in it to go. */
struct target {
    struct descriptor d;
    uint64_t ip;
    uint16_t sel;
};

static void load_cs(struct cpu *cpu, const struct target *t, unsigned cpl)
{
    seg_set(cpu, SEG_CS, (uint16_t)((t->sel & 0xfffc) | cpl), &t->d);
    cpu->cpl = (uint8_t)cpl;
    cpu->rip = t->ip;
}

/* In long mode a segment with both L and D is reserved. */
static bool code_bits_ok(const struct cpu *cpu, uint32_t ar)
{
    return !cpu_long(cpu) || (ar & (AR_L | AR_DB)) != (AR_L | AR_DB);
}

/* ---- real and virtual-8086 mode ------------------------------------------------------------- */

static bool far_real(struct cpu *cpu, uint16_t sel, uint64_t ip, unsigned size, bool call)
{
    struct stack s;
    uint64_t vals[2] = {cpu->seg[SEG_CS].sel, cpu->rip};

    if (size == 2)
        ip = (uint16_t)ip;
    if (ip > (cpu->mode & MODE_VM86 ? 0xffff : cpu->seg[SEG_CS].limit))
        return cpu_gp0(cpu);
    if (call) {
        stack_current(cpu, &s);
        if (!stack_push_n(cpu, &s, size, vals, 2))
            return false;
        cpu->r[REG_SP] = stack_new_sp(cpu, &s);
    }
    seg_load_real(cpu, SEG_CS, sel);
    cpu->rip = ip;
    cpu_update_mode(cpu);
    return true;
}

/* ---- tasks ---------------------------------------------------------------------------------- */

/* A switch from an instruction. Faults after the switch have the new task's RIP, which a false
 * return would undo, so they are taken here. */
static bool switch_from_insn(struct cpu *cpu, uint16_t sel, struct descriptor *d,
                             enum task_reason why)
{
    bool committed;

    if (task_switch(cpu, sel, d, why, false, 0, 0, &committed))
        return true;
    if (!committed)
        return false;
    cpu_take_exception(cpu);
    return true;
}

static bool far_task_gate(struct cpu *cpu, const struct descriptor *gate, bool call)
{
    uint16_t sel = (uint16_t)(gate->raw >> 16);
    struct descriptor d;

    if (sel_null(sel) || (sel & 4))
        return desc_fault(cpu, EXC_GP, sel, 0);
    if (!desc_get(cpu, sel, &d, EXC_GP, 0))
        return false;
    if ((d.ar & AR_S) || ((d.ar & AR_TYPE) != SYS_TSS16 && (d.ar & AR_TYPE) != SYS_TSS32))
        return desc_fault(cpu, EXC_GP, sel, 0);
    if (!(d.ar & AR_P))
        return desc_fault(cpu, EXC_NP, sel, 0);
    return switch_from_insn(cpu, sel, &d, call ? TASK_CALL : TASK_JMP);
}

/* ---- call gates ----------------------------------------------------------------------------- */

/* A call through a gate to an inner level: a new stack, the old one's top words copied to it. */
static bool call_inner(struct cpu *cpu, const struct target *t, unsigned size, unsigned params)
{
    unsigned cpl = ar_dpl(t->d.ar), n = 0;
    struct stack old, s;
    struct descriptor ss;
    uint64_t sp, vals[4 + 31], copied[31];
    uint16_t ss_sel = (uint16_t)cpl;

    if (cpu_long(cpu)) {
        if (!task_stack64(cpu, cpl, 0, 0, &sp))
            return false;
        memset(&s, 0, sizeof(s));
        s.sp = sp;
        s.mask = UINT64_MAX;
        s.index = cpu_index_of_cpl(cpu, cpl);
        s.flat64 = true;
    } else {
        if (!task_inner_stack(cpu, cpl, 0, &ss_sel, &sp) ||
            !seg_check_ss(cpu, ss_sel, cpl, &ss, EXC_TS, 0))
            return false;
        stack_of(cpu, &s, &ss, sp, cpl);
        s.ss_error = ss_sel & 0xfffc;
    }
    stack_current(cpu, &old);
    vals[n++] = cpu->seg[SEG_SS].sel;
    vals[n++] = cpu->r[REG_SP];
    if (params) {
        unsigned k;

        if (!stack_pop_n(cpu, &old, size, copied, params))
            return false;
        for (k = params; k-- > 0;)
            vals[n++] = copied[k];
    }
    vals[n++] = cpu->seg[SEG_CS].sel;
    vals[n++] = cpu->rip;
    if (!stack_room(cpu, &s, n * size) || !code_target_ok(cpu, &t->d, t->ip, 0))
        return false;
    if (!cpu_long(cpu) && !desc_touch(cpu, &ss))
        return false;
    if (!stack_push_n(cpu, &s, size, vals, n))
        return false;

    if (cpu_long(cpu)) {
        seg_set_null(cpu, SEG_SS, ss_sel);
        cpu->r[REG_SP] = s.sp;
    } else {
        seg_set(cpu, SEG_SS, ss_sel, &ss);
        cpu->r[REG_SP] = stack_new_sp(cpu, &s);
    }
    load_cs(cpu, t, cpl);
    cpu_update_mode(cpu);
    return true;
}

/* To a code segment at the current level: direct, or by a gate. */
static bool far_same_level(struct cpu *cpu, const struct target *t, unsigned size, bool call,
                           bool code64_stack)
{
    struct stack s;
    uint64_t vals[2] = {cpu->seg[SEG_CS].sel, cpu->rip};

    if (!code_target_ok(cpu, &t->d, t->ip, 0))
        return false;
    if (call) {
        stack_current(cpu, &s);
        if (code64_stack) { /* a 64-bit gate from compatibility mode pushes as 64-bit code does */
            s.flat64 = true;
            s.mask = UINT64_MAX;
            s.base = 0;
        }
        if (!stack_push_n(cpu, &s, size, vals, 2))
            return false;
        cpu->r[REG_SP] = stack_new_sp(cpu, &s);
    }
    load_cs(cpu, t, cpu->cpl);
    cpu_update_mode(cpu);
    return true;
}

static bool far_call_gate(struct cpu *cpu, uint16_t gate_sel, struct descriptor *gate, bool call)
{
    bool wide = cpu_long(cpu);
    struct target t;
    unsigned size = wide ? 8 : (gate->ar & AR_TYPE) == SYS_CALL32 ? 4 : 2;

    if (wide) {
        if (!desc_get_upper(cpu, gate_sel, gate, EXC_GP, 0))
            return false;
        if (gate->raw_hi >> 40 & 0x1f) /* type field of the upper half must be 0 */
            return desc_fault(cpu, EXC_GP, gate_sel, 0);
    }
    t.sel = (uint16_t)(gate->raw >> 16);
    t.ip = (gate->raw & 0xffff) | (gate->raw >> 32 & 0xffff0000) | gate->raw_hi << 32;
    if (size == 2)
        t.ip &= 0xffff;
    if (sel_null(t.sel))
        return cpu_gp0(cpu);
    if (!desc_get(cpu, t.sel, &t.d, EXC_GP, 0))
        return false;
    if (!ar_is_code(t.d.ar) || ar_dpl(t.d.ar) > cpu->cpl)
        return desc_fault(cpu, EXC_GP, t.sel, 0);
    if (!call && !ar_is_conforming(t.d.ar) && ar_dpl(t.d.ar) != cpu->cpl)
        return desc_fault(cpu, EXC_GP, t.sel, 0);
    if (wide && (t.d.ar & (AR_L | AR_DB)) != AR_L)
        return desc_fault(cpu, EXC_GP, t.sel, 0);
    if (!(t.d.ar & AR_P))
        return desc_fault(cpu, EXC_NP, t.sel, 0);
    if (!desc_touch(cpu, &t.d))
        return false;
    if (call && !ar_is_conforming(t.d.ar) && ar_dpl(t.d.ar) < cpu->cpl)
        return call_inner(cpu, &t, size, wide ? 0 : gate->raw >> 32 & 31);
    return far_same_level(cpu, &t, size, call, wide);
}

/* ---- JMP and CALL --------------------------------------------------------------------------- */

static bool far_system(struct cpu *cpu, uint16_t sel, struct descriptor *d, bool call)
{
    unsigned type = d->ar & AR_TYPE, dpl = ar_dpl(d->ar);

    switch (type) {
    case SYS_CALL32:
        break;
    case SYS_CALL16:
    case SYS_TASK_GATE:
    case SYS_TSS16:
    case SYS_TSS32:
        if (!cpu_long(cpu))
            break;
        return desc_fault(cpu, EXC_GP, sel, 0);
    default: /* busy TSS included */
        return desc_fault(cpu, EXC_GP, sel, 0);
    }
    if (dpl < cpu->cpl || dpl < (sel & 3u))
        return desc_fault(cpu, EXC_GP, sel, 0);
    if (!(d->ar & AR_P))
        return desc_fault(cpu, EXC_NP, sel, 0);
    switch (type) {
    case SYS_TASK_GATE:
        return far_task_gate(cpu, d, call);
    case SYS_TSS16:
    case SYS_TSS32:
        if (sel & 4) /* a TSS descriptor must be in the GDT */
            return desc_fault(cpu, EXC_GP, sel, 0);
        return switch_from_insn(cpu, sel, d, call ? TASK_CALL : TASK_JMP);
    default:
        return far_call_gate(cpu, sel, d, call);
    }
}

static bool far_transfer(struct cpu *cpu, uint16_t sel, uint64_t ip, unsigned size, bool call)
{
    struct target t = {.ip = ip, .sel = sel};

    if (cpu_real_or_vm(cpu))
        return far_real(cpu, sel, ip, size, call);
    if (sel_null(sel))
        return cpu_gp0(cpu);
    if (!desc_get(cpu, sel, &t.d, EXC_GP, 0))
        return false;
    if (!(t.d.ar & AR_S))
        return far_system(cpu, sel, &t.d, call);
    if (!(t.d.ar & AR_CODE) || !code_bits_ok(cpu, t.d.ar))
        return desc_fault(cpu, EXC_GP, sel, 0);
    if (ar_is_conforming(t.d.ar)
            ? ar_dpl(t.d.ar) > cpu->cpl
            : (sel & 3) > cpu->cpl || ar_dpl(t.d.ar) != cpu->cpl)
        return desc_fault(cpu, EXC_GP, sel, 0);
    if (!(t.d.ar & AR_P))
        return desc_fault(cpu, EXC_NP, sel, 0);
    if (!desc_touch(cpu, &t.d))
        return false;
    return far_same_level(cpu, &t, size, call, false);
}

static bool far_operand(struct cpu *cpu, const struct insn *i, uint16_t *sel, uint64_t *ip)
{
    uint64_t ea = insn_ea(cpu, i), v;

    /* the selector is read last: with it the operand is complete */
    if (!mem_read(cpu, i->seg, ea, i->size, ip) ||
        !mem_read(cpu, i->seg, (ea + i->size) << i->ea_shift >> i->ea_shift, 2, &v))
        return false;
    *sel = (uint16_t)v;
    return true;
}

bool op_jmp_far_imm(struct cpu *cpu, const struct insn *i)
{
    return far_transfer(cpu, (uint16_t)(i->imm >> 32), (uint32_t)i->imm, i->size, false);
}

bool op_call_far_imm(struct cpu *cpu, const struct insn *i)
{
    return far_transfer(cpu, (uint16_t)(i->imm >> 32), (uint32_t)i->imm, i->size, true);
}

bool op_jmp_far_mem(struct cpu *cpu, const struct insn *i)
{
    uint16_t sel;
    uint64_t ip;

    return far_operand(cpu, i, &sel, &ip) && far_transfer(cpu, sel, ip, i->size, false);
}

bool op_call_far_mem(struct cpu *cpu, const struct insn *i)
{
    uint16_t sel;
    uint64_t ip;

    return far_operand(cpu, i, &sel, &ip) && far_transfer(cpu, sel, ip, i->size, true);
}

/* ---- RET and IRET --------------------------------------------------------------------------- */

/* Checks of a code segment returned to. */
static bool return_code(struct cpu *cpu, struct target *t)
{
    unsigned rpl = t->sel & 3;

    if (sel_null(t->sel))
        return cpu_gp0(cpu);
    if (!desc_get(cpu, t->sel, &t->d, EXC_GP, 0))
        return false;
    if (!ar_is_code(t->d.ar) || rpl < cpu->cpl || !code_bits_ok(cpu, t->d.ar) ||
        (ar_is_conforming(t->d.ar) ? ar_dpl(t->d.ar) > rpl : ar_dpl(t->d.ar) != rpl))
        return desc_fault(cpu, EXC_GP, t->sel, 0);
    if (!(t->d.ar & AR_P))
        return desc_fault(cpu, EXC_NP, t->sel, 0);
    return desc_touch(cpu, &t->d);
}

/* Checks of the stack segment that comes with it; *null: 64-bit code may run without one. */
static bool return_stack(struct cpu *cpu, const struct target *t, uint16_t ss_sel,
                         struct descriptor *ss, bool *null)
{
    unsigned rpl = t->sel & 3;

    *null = false;
    if (sel_null(ss_sel)) {
        if (!cpu_long(cpu) || !(t->d.ar & AR_L) || rpl == 3 || (ss_sel & 3u) != rpl)
            return cpu_gp0(cpu);
        *null = true;
        return true;
    }
    return seg_check_ss(cpu, ss_sel, rpl, ss, EXC_GP, 0) && desc_touch(cpu, ss);
}

static void load_ss(struct cpu *cpu, uint16_t sel, const struct descriptor *ss, bool null)
{
    if (null)
        seg_set_null(cpu, SEG_SS, sel);
    else
        seg_set(cpu, SEG_SS, sel, ss);
}

/* The stack pointer as wide as the stack returned to. */
static void load_sp(struct cpu *cpu, uint64_t sp)
{
    if (cpu_long(cpu) && (cpu->seg[SEG_CS].ar & AR_L))
        cpu->r[REG_SP] = sp;
    else if (cpu->seg[SEG_SS].ar & AR_DB)
        cpu->r[REG_SP] = (uint32_t)sp;
    else
        cpu->r[REG_SP] = (cpu->r[REG_SP] & ~0xffffull) | (sp & 0xffff);
}

static bool ret_far_real(struct cpu *cpu, unsigned size, unsigned bytes)
{
    struct stack s;
    uint64_t vals[2];

    stack_current(cpu, &s);
    if (!stack_pop_n(cpu, &s, size, vals, 2))
        return false;
    if (vals[0] > (cpu->mode & MODE_VM86 ? 0xffff : cpu->seg[SEG_CS].limit))
        return cpu_gp0(cpu);
    s.sp += bytes;
    cpu->r[REG_SP] = stack_new_sp(cpu, &s);
    seg_load_real(cpu, SEG_CS, (uint16_t)vals[1]);
    cpu->rip = vals[0];
    cpu_update_mode(cpu);
    return true;
}

static bool ret_far(struct cpu *cpu, unsigned size, unsigned bytes)
{
    struct stack s;
    struct descriptor ss;
    struct target t;
    uint64_t vals[2];
    bool null_ss;

    if (cpu_real_or_vm(cpu))
        return ret_far_real(cpu, size, bytes);
    stack_current(cpu, &s);
    if (!stack_pop_n(cpu, &s, size, vals, 2))
        return false;
    t.ip = vals[0];
    t.sel = (uint16_t)vals[1];
    if (!return_code(cpu, &t))
        return false;
    s.sp = (s.sp + bytes) & s.mask;
    if ((t.sel & 3) == cpu->cpl) {
        if (!code_target_ok(cpu, &t.d, t.ip, 0))
            return false;
        cpu->r[REG_SP] = stack_new_sp(cpu, &s);
        load_cs(cpu, &t, cpu->cpl);
        cpu_update_mode(cpu);
        return true;
    }
    if (!stack_pop_n(cpu, &s, size, vals, 2) ||
        !return_stack(cpu, &t, (uint16_t)vals[1], &ss, &null_ss) ||
        !code_target_ok(cpu, &t.d, t.ip, 0))
        return false;
    load_cs(cpu, &t, t.sel & 3);
    load_ss(cpu, (uint16_t)vals[1], &ss, null_ss);
    load_sp(cpu, vals[0] + bytes);
    seg_drop_inner(cpu);
    cpu_update_mode(cpu);
    return true;
}

bool op_ret_far(struct cpu *cpu, const struct insn *i)
{
    return ret_far(cpu, i->size, 0);
}

bool op_ret_far_imm(struct cpu *cpu, const struct insn *i)
{
    return ret_far(cpu, i->size, (uint16_t)i->imm);
}

static bool iret_real(struct cpu *cpu, unsigned size)
{
    struct stack s;
    uint64_t vals[3], mask;

    stack_current(cpu, &s);
    if (!stack_pop_n(cpu, &s, size, vals, 3))
        return false;
    if (vals[0] > cpu->seg[SEG_CS].limit)
        return cpu_gp0(cpu);
    mask = FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT;
    if (size == 4)
        mask |= FL_RF | FL_AC | FL_ID;
    cpu->r[REG_SP] = stack_new_sp(cpu, &s);
    seg_load_real(cpu, SEG_CS, (uint16_t)vals[1]);
    cpu->rip = vals[0];
    cpu_change_flags(cpu, vals[2], mask);
    return true;
}

/* IRET by an 8086 program: IOPL 3, or 16-bit with VME (SDM vol. 3, table 20-2). */
static bool iret_v86(struct cpu *cpu, unsigned size)
{
    struct stack s;
    uint64_t vals[3], mask, flags;

    bool iopl3 = (cpu->eflags & FL_IOPL) == FL_IOPL;

    if (!iopl3 && !(size == 2 && (cpu->cr4 & CR4_VME)))
        return cpu_gp0(cpu);
    stack_current(cpu, &s);
    if (!stack_pop_n(cpu, &s, size, vals, 3))
        return false;
    if (vals[0] > 0xffff)
        return cpu_gp0(cpu);
    flags = vals[2];
    mask = FL_ARITH | FL_TF | FL_DF | FL_NT;
    if (iopl3) {
        mask |= FL_IF | (size == 4 ? FL_RF | FL_AC | FL_ID : 0);
    } else {
        if ((flags & FL_TF) || ((flags & FL_IF) && (cpu->eflags & FL_VIP)))
            return cpu_gp0(cpu);
        mask |= FL_VIF;
        flags = (flags & ~(uint64_t)FL_VIF) | (flags & FL_IF ? FL_VIF : 0);
    }
    cpu->r[REG_SP] = stack_new_sp(cpu, &s);
    seg_set_v86(cpu, SEG_CS, (uint16_t)vals[1]);
    cpu->rip = vals[0];
    cpu_change_flags(cpu, flags, mask);
    return true;
}

static bool iret_to_v86(struct cpu *cpu, const uint64_t *vals, struct stack *s)
{
    static const uint8_t order[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    uint64_t more[6];
    unsigned k;

    if (!stack_pop_n(cpu, s, 4, more, 6))
        return false;
    if ((uint32_t)vals[0] > 0xffff)
        return cpu_gp0(cpu);
    cpu_set_flags(cpu, (vals[2] & cpu_flags_exist(cpu)) | FL_1 | FL_VM);
    cpu->rip = vals[0];
    cpu->r[REG_SP] = (uint32_t)more[0];
    seg_set_v86(cpu, SEG_CS, (uint16_t)vals[1]);
    seg_set_v86(cpu, SEG_SS, (uint16_t)more[1]);
    for (k = 0; k < 4; k++)
        seg_set_v86(cpu, order[k], (uint16_t)more[2 + k]);
    cpu->cpl = 3;
    return true;
}

static bool iret_task(struct cpu *cpu)
{
    const struct segreg *tss = &cpu->seg[SEG_TSS];
    struct descriptor d;
    uint64_t link;
    uint16_t sel;

    if (!sys_read(cpu, tss->base, 2, &link))
        return false;
    sel = (uint16_t)link;
    if (sel_null(sel) || (sel & 4))
        return desc_fault(cpu, EXC_TS, sel, 0);
    if (!desc_get(cpu, sel, &d, EXC_TS, 0))
        return false;
    if ((d.ar & AR_S) ||
        ((d.ar & AR_TYPE) != SYS_TSS16_BUSY && (d.ar & AR_TYPE) != SYS_TSS32_BUSY))
        return desc_fault(cpu, EXC_TS, sel, 0);
    if (!(d.ar & AR_P))
        return desc_fault(cpu, EXC_NP, sel, 0);
    return switch_from_insn(cpu, sel, &d, TASK_IRET);
}

static bool iret_protected(struct cpu *cpu, unsigned size)
{
    struct stack s;
    struct descriptor ss;
    struct target t;
    uint64_t vals[5], mask;
    unsigned cpl = cpu->cpl;
    bool null_ss = false, code64 = cpu_code64(cpu), outer;

    if (cpu->eflags & FL_NT)
        return cpu_long(cpu) ? cpu_gp0(cpu) : iret_task(cpu);
    stack_current(cpu, &s);
    /* 64-bit code always pops five */
    if (!stack_pop_n(cpu, &s, size, vals, code64 ? 5 : 3))
        return false;
    if (size == 4 && (vals[2] & FL_VM) && cpl == 0 && !cpu_long(cpu))
        return iret_to_v86(cpu, vals, &s);
    t.ip = vals[0];
    t.sel = (uint16_t)vals[1];
    if (!return_code(cpu, &t))
        return false;
    outer = (t.sel & 3) != cpl;
    if (outer || code64) {
        if (!code64 && !stack_pop_n(cpu, &s, size, &vals[3], 2))
            return false;
        if (!return_stack(cpu, &t, (uint16_t)vals[4], &ss, &null_ss))
            return false;
    }
    if (!code_target_ok(cpu, &t.d, t.ip, 0))
        return false;

    mask = FL_ARITH | FL_TF | FL_DF | FL_NT;
    if (size != 2)
        mask |= FL_RF | FL_AC | FL_ID;
    if (cpl == 0)
        mask |= FL_IOPL | (size != 2 ? FL_VIF | FL_VIP : 0);
    if (cpl <= (cpu->eflags & FL_IOPL) >> 12)
        mask |= FL_IF;
    load_cs(cpu, &t, t.sel & 3);
    if (outer || code64) {
        load_ss(cpu, (uint16_t)vals[4], &ss, null_ss);
        load_sp(cpu, vals[3]);
    } else {
        cpu->r[REG_SP] = stack_new_sp(cpu, &s);
    }
    cpu_change_flags(cpu, vals[2], mask);
    if (outer)
        seg_drop_inner(cpu);
    return true;
}

bool op_iret(struct cpu *cpu, const struct insn *i)
{
    bool ok;

    if (!(cpu->mode & MODE_PE))
        ok = iret_real(cpu, i->size);
    else if (cpu->mode & MODE_VM86)
        ok = iret_v86(cpu, i->size);
    else
        ok = iret_protected(cpu, i->size);
    if (!ok)
        return false;
    cpu->nmi_blocked = false;
    /* RF matters to instruction breakpoints alone; without them it would only cost the exits that
     * end it after the next instruction. */
    if ((cpu->eflags & FL_RF) && !(cpu->dr[7] & 0xff))
        cpu->eflags &= ~(uint64_t)FL_RF;
    cpu_update_mode(cpu);
    return true;
}

/* ---- INT ------------------------------------------------------------------------------------ */

/* A delivery that fails leaves the fault to the run loop: it is one of this instruction, and not
 * a double fault (SDM vol. 3, table 6-5 is about exceptions). */
static bool int_insn(struct cpu *cpu, unsigned vector, enum int_kind kind)
{
    cpu->step_done = true; /* TF was cleared before it could trap (SDM vol. 3, 17.3.1.4) */
    if (cpu_deliver(cpu, vector, kind, false, 0))
        return true;
    cpu->step_done = false;
    return false;
}

bool op_int(struct cpu *cpu, const struct insn *i)
{
    return int_insn(cpu, (uint8_t)i->imm, INT_SOFT);
}

bool op_int3(struct cpu *cpu, const struct insn *i)
{
    return int_insn(cpu, EXC_BP, INT_SOFT3);
}

bool op_into(struct cpu *cpu, const struct insn *i)
{
    if (!flags_of(cpu))
        return true;
    return int_insn(cpu, EXC_OF, INT_SOFT3);
}

bool op_icebp(struct cpu *cpu, const struct insn *i)
{
    /* Debug traps that MOV SS held back are told with this one. */
    cpu->dr[6] |= cpu->pending_dr6;
    cpu->pending_dr6 = 0;
    return int_insn(cpu, EXC_DB, INT_ICEBP);
}
