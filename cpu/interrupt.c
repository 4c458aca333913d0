/* Delivery of interrupts and exceptions (SDM vol. 3, chapters 6, 20 and 21), and what is taken
 * between instructions: INIT, SIPI, NMI, interrupts, debug traps.
 *
 * Every delivery first reads and checks everything, then writes the stack, then changes registers;
 * when it faults nothing has changed but memory below the stack pointer. (Task gates are the
 * exception: a fault after the switch belongs to the new task.)
 */
#include "cpu/sys.h"

bool cpu_raise(struct cpu *cpu, enum exception vector)
{
    cpu->exc_vector = (uint8_t)vector;
    cpu->exc_has_error = false;
    cpu->exc_error = 0;
    cpu->exc_is_trap = false;
    return false;
}

bool cpu_raise_code(struct cpu *cpu, enum exception vector, uint32_t error)
{
    cpu->exc_vector = (uint8_t)vector;
    cpu->exc_has_error = true;
    cpu->exc_error = error;
    cpu->exc_is_trap = false;
    return false;
}

/* ---- real mode, and INT n redirected in virtual-8086 mode ----------------------------------- */

static bool deliver_real(struct cpu *cpu, unsigned vector, uint32_t ext)
{
    struct stack s;
    uint64_t entry, vals[3];
    uint32_t gate = vector * 8 + 2 + ext;

    if (vector * 4 + 3 > cpu->idt.limit)
        return cpu_raise_code(cpu, EXC_GP, gate);
    if (!sys_read(cpu, cpu->idt.base + vector * 4, 4, &entry))
        return false;
    stack_current(cpu, &s);
    s.ss_error = ext;
    if ((entry & 0xffff) > cpu->seg[SEG_CS].limit)
        return cpu_raise_code(cpu, EXC_GP, ext);
    vals[0] = cpu_flags(cpu);
    vals[1] = cpu->seg[SEG_CS].sel;
    vals[2] = cpu->rip;
    if (!stack_push_n(cpu, &s, 2, vals, 3))
        return false;
    cpu->r[REG_SP] = stack_new_sp(cpu, &s);
    seg_load_real(cpu, SEG_CS, (uint16_t)(entry >> 16));
    cpu->rip = (uint16_t)entry;
    cpu->eflags &= ~(uint64_t)(FL_IF | FL_TF | FL_AC | FL_RF);
    cpu_update_mode(cpu);
    return true;
}

/* SDM vol. 3, 20.3.3: the interrupt goes to the 8086 program's own handler. */
static bool deliver_v86_redirected(struct cpu *cpu, unsigned vector)
{
    struct stack s;
    uint64_t entry, vals[3], flags = cpu_flags(cpu);
    bool iopl3 = (flags & FL_IOPL) == FL_IOPL;

    if (!lin_read(cpu, vector * 4, 4, cpu->mmu_index, &entry))
        return false;
    if ((entry & 0xffff) > cpu->seg[SEG_CS].limit)
        return cpu_gp0(cpu);
    if (!iopl3) {
        flags = (flags & ~(uint64_t)FL_IF) | FL_IOPL;
        if (flags & FL_VIF)
            flags |= FL_IF;
    }
    stack_current(cpu, &s);
    vals[0] = flags;
    vals[1] = cpu->seg[SEG_CS].sel;
    vals[2] = cpu->rip;
    if (!stack_push_n(cpu, &s, 2, vals, 3))
        return false;
    cpu->r[REG_SP] = stack_new_sp(cpu, &s);
    seg_set_v86(cpu, SEG_CS, (uint16_t)(entry >> 16));
    cpu->rip = (uint16_t)entry;
    cpu->eflags &= ~(uint64_t)(FL_TF | FL_RF | (iopl3 ? FL_IF : FL_VIF));
    cpu_update_mode(cpu);
    return true;
}

/* INT n in virtual-8086 mode. *done: dealt with here (or faulted); else through the IDT. */
static bool v86_int_n(struct cpu *cpu, unsigned vector, bool *done)
{
    const struct segreg *tss = &cpu->seg[SEG_TSS];
    uint64_t map_base, bits = 0;

    *done = true;
    if (cpu->cr4 & CR4_VME) {
        /* the 32 bytes below the I/O map say which vectors are not redirected */
        if (tss->limit < 103)
            return cpu_gp0(cpu);
        if (!sys_read(cpu, tss->base + 102, 2, &map_base))
            return false;
        if (map_base < 32 || map_base - 32 + vector / 8 > tss->limit)
            return cpu_gp0(cpu);
        if (!sys_read(cpu, tss->base + map_base - 32 + vector / 8, 1, &bits))
            return false;
        if (!(bits >> (vector & 7) & 1))
            return deliver_v86_redirected(cpu, vector);
    }
    if ((cpu->eflags & FL_IOPL) != FL_IOPL)
        return cpu_gp0(cpu);
    *done = false;
    return true;
}

/* ---- protected mode ------------------------------------------------------------------------- */

struct gate {
    uint64_t offset;
    uint16_t sel;
    unsigned type, ist;
    uint32_t ext;
};

static bool read_gate(struct cpu *cpu, unsigned vector, enum int_kind kind, struct gate *g)
{
    bool wide = cpu_long(cpu);
    unsigned size = wide ? 16 : 8;
    uint64_t at = cpu->idt.base + vector * size, lo, hi = 0;
    uint32_t error = vector * 8 + 2 + g->ext;

    if (vector * size + size - 1 > cpu->idt.limit)
        return cpu_raise_code(cpu, EXC_GP, error);
    if (!sys_read(cpu, at, 8, &lo) || (wide && !sys_read(cpu, at + 8, 8, &hi)))
        return false;
    g->type = lo >> 40 & 0x1f; /* with S, which must be 0 */
    g->ist = wide ? lo >> 32 & 7 : 0;
    g->sel = (uint16_t)(lo >> 16);
    g->offset = (lo & 0xffff) | (lo >> 32 & 0xffff0000) | hi << 32;
    if (g->type == SYS_INT16 || g->type == SYS_TRAP16)
        g->offset &= 0xffff;
    if (g->type != SYS_INT32 && g->type != SYS_TRAP32 &&
        (wide || (g->type != SYS_INT16 && g->type != SYS_TRAP16 && g->type != SYS_TASK_GATE)))
        return cpu_raise_code(cpu, EXC_GP, error);
    if ((kind == INT_SOFT || kind == INT_SOFT3) && (lo >> 45 & 3) < cpu->cpl)
        return cpu_raise_code(cpu, EXC_GP, error);
    if (!(lo >> 47 & 1))
        return cpu_raise_code(cpu, EXC_NP, error);
    return true;
}

/* The handler's code segment. */
static bool gate_code(struct cpu *cpu, const struct gate *g, struct descriptor *cs)
{
    if (sel_null(g->sel))
        return cpu_raise_code(cpu, EXC_GP, g->ext);
    if (!desc_get(cpu, g->sel, cs, EXC_GP, g->ext))
        return false;
    if (!ar_is_code(cs->ar) || ar_dpl(cs->ar) > cpu->cpl)
        return desc_fault(cpu, EXC_GP, g->sel, g->ext);
    if (cpu_long(cpu) && (cs->ar & (AR_L | AR_DB)) != AR_L)
        return desc_fault(cpu, EXC_GP, g->sel, g->ext);
    if (!(cs->ar & AR_P))
        return desc_fault(cpu, EXC_NP, g->sel, g->ext);
    return true;
}

static void enter_handler(struct cpu *cpu, const struct gate *g, const struct descriptor *cs,
                          unsigned cpl)
{
    bool interrupt_gate = !(g->type & 1);

    seg_set(cpu, SEG_CS, (uint16_t)((g->sel & 0xfffc) | cpl), cs);
    cpu->cpl = (uint8_t)cpl;
    cpu->rip = g->offset;
    cpu->eflags &= ~(uint64_t)(FL_TF | FL_NT | FL_RF | FL_VM | (interrupt_gate ? FL_IF : 0));
    cpu_update_mode(cpu);
}

static bool deliver_task_gate(struct cpu *cpu, const struct gate *g, bool has_error,
                              uint32_t error)
{
    struct descriptor d;
    bool committed;

    if (sel_null(g->sel) || (g->sel & 4))
        return desc_fault(cpu, EXC_GP, g->sel, g->ext);
    if (!desc_get(cpu, g->sel, &d, EXC_GP, g->ext))
        return false;
    if ((d.ar & AR_S) ||
        ((d.ar & AR_TYPE) != SYS_TSS16 && (d.ar & AR_TYPE) != SYS_TSS32))
        return desc_fault(cpu, EXC_GP, g->sel, g->ext);
    if (!(d.ar & AR_P))
        return desc_fault(cpu, EXC_NP, g->sel, g->ext);
    return task_switch(cpu, g->sel, &d, TASK_INT, has_error, error, g->ext, &committed);
}

static bool deliver_protected(struct cpu *cpu, unsigned vector, enum int_kind kind,
                              bool has_error, uint32_t error, uint64_t flags, uint32_t ext)
{
    struct gate g = {.ext = ext};
    struct descriptor cs, ss;
    struct stack s;
    uint64_t vals[10], sp = 0;
    uint16_t ss_sel = 0;
    unsigned n = 0, cpl, size;
    bool from_v86 = flags & FL_VM, inner;

    if (!read_gate(cpu, vector, kind, &g))
        return false;
    if (g.type == SYS_TASK_GATE) {
        cpu->eflags |= flags & FL_RF; /* a fault's RF goes to the old task's TSS */
        return deliver_task_gate(cpu, &g, has_error, error);
    }
    if (!gate_code(cpu, &g, &cs))
        return false;
    cpl = ar_is_conforming(cs.ar) ? cpu->cpl : ar_dpl(cs.ar);
    if (from_v86 && cpl != 0)
        return desc_fault(cpu, EXC_GP, g.sel, ext);
    inner = cpl < cpu->cpl;
    size = g.type & 8 ? 4 : 2;

    if (inner) {
        if (!task_inner_stack(cpu, cpl, ext, &ss_sel, &sp) ||
            !seg_check_ss(cpu, ss_sel, cpl, &ss, EXC_TS, ext))
            return false;
        stack_of(cpu, &s, &ss, sp, cpl);
        s.ss_error = (ss_sel & 0xfffcu) | ext;
        if (from_v86) {
            vals[n++] = cpu->seg[SEG_GS].sel;
            vals[n++] = cpu->seg[SEG_FS].sel;
            vals[n++] = cpu->seg[SEG_DS].sel;
            vals[n++] = cpu->seg[SEG_ES].sel;
        }
        vals[n++] = cpu->seg[SEG_SS].sel;
        vals[n++] = cpu->r[REG_SP];
    } else {
        stack_current(cpu, &s);
        s.ss_error = ext;
    }
    vals[n++] = flags;
    vals[n++] = cpu->seg[SEG_CS].sel;
    vals[n++] = cpu->rip;
    if (has_error)
        vals[n++] = error;
    if (!stack_room(cpu, &s, n * size) || !code_target_ok(cpu, &cs, g.offset, ext) ||
        !desc_touch(cpu, &cs) || (inner && !desc_touch(cpu, &ss)) ||
        !stack_push_n(cpu, &s, size, vals, n))
        return false;

    if (inner) {
        seg_set(cpu, SEG_SS, ss_sel, &ss);
        if (from_v86) {
            seg_set_null(cpu, SEG_ES, 0);
            seg_set_null(cpu, SEG_DS, 0);
            seg_set_null(cpu, SEG_FS, 0);
            seg_set_null(cpu, SEG_GS, 0);
        }
    }
    cpu->r[REG_SP] = stack_new_sp(cpu, &s);
    enter_handler(cpu, &g, &cs, cpl);
    return true;
}

/* SDM vol. 3, 6.14. */
static bool deliver_long(struct cpu *cpu, unsigned vector, enum int_kind kind, bool has_error,
                         uint32_t error, uint64_t flags, uint32_t ext)
{
    struct gate g = {.ext = ext};
    struct descriptor cs;
    struct stack s;
    uint64_t vals[6];
    unsigned n = 0, cpl;

    if (!read_gate(cpu, vector, kind, &g) || !gate_code(cpu, &g, &cs))
        return false;
    cpl = ar_is_conforming(cs.ar) ? cpu->cpl : ar_dpl(cs.ar);
    s.sp = cpu->r[REG_SP];
    if ((g.ist || cpl < cpu->cpl) && !task_stack64(cpu, cpl, g.ist, ext, &s.sp))
        return false;
    s.sp &= ~15ull;
    s.base = 0;
    s.mask = UINT64_MAX;
    s.limit = 0;
    s.ar = 0;
    s.index = cpu_index_of_cpl(cpu, cpl);
    s.flat64 = true;
    s.ss_error = ext;

    vals[n++] = cpu->seg[SEG_SS].sel;
    vals[n++] = cpu->r[REG_SP];
    vals[n++] = flags;
    vals[n++] = cpu->seg[SEG_CS].sel;
    vals[n++] = cpu->rip;
    if (has_error)
        vals[n++] = error;
    if (!code_target_ok(cpu, &cs, g.offset, ext) || !desc_touch(cpu, &cs) ||
        !stack_push_n(cpu, &s, 8, vals, n))
        return false;

    if (cpl < cpu->cpl)
        seg_set_null(cpu, SEG_SS, (uint16_t)cpl);
    cpu->r[REG_SP] = s.sp;
    enter_handler(cpu, &g, &cs, cpl);
    return true;
}

/* With RF as the pushed image shall have it. */
static bool deliver(struct cpu *cpu, unsigned vector, enum int_kind kind, bool has_error,
                    uint32_t error, bool set_rf)
{
    uint32_t ext = kind != INT_SOFT && kind != INT_SOFT3;
    uint64_t flags;

    LOG(cpu->env.log, LOG_INT, "cpu%u: vector %02x kind %d error %x at %04x:%llx cpl %u%s",
        cpu->index, vector, kind, has_error ? error : 0, cpu->seg[SEG_CS].sel,
        (unsigned long long)cpu->rip, cpu->cpl, vector == EXC_PF && has_error ? " #PF" : "");
    if (vector == EXC_DB && kind != INT_SOFT) {
        cpu->dr[7] &= ~DR7_GD; /* so that the handler may use the debug registers */
        cpu->debugctl &= ~(DEBUGCTL_LBR | DEBUGCTL_BTF); /* vol. 3, 17.4.3 and 17.4.4 */
    }
    if (!(cpu->cr0 & CR0_PE))
        return deliver_real(cpu, vector, ext);
    if (kind == INT_SOFT && (cpu->eflags & FL_VM)) {
        bool done, ok = v86_int_n(cpu, vector, &done);

        if (done)
            return ok;
    }
    flags = cpu_flags(cpu) | (set_rf ? FL_RF : 0);
    if (cpu_long(cpu))
        return deliver_long(cpu, vector, kind, has_error, error, flags, ext);
    return deliver_protected(cpu, vector, kind, has_error, error, flags, ext);
}

bool cpu_deliver(struct cpu *cpu, unsigned vector, enum int_kind kind, bool has_error,
                 uint32_t error)
{
    return deliver(cpu, vector, kind, has_error, error, false);
}

/* ---- exceptions ----------------------------------------------------------------------------- */

/* SDM vol. 3, tables 6-4 and 6-5. */
enum exc_class { EXC_BENIGN, EXC_CONTRIBUTORY, EXC_PAGE, EXC_DOUBLE };

static enum exc_class exc_class_of(unsigned vector)
{
    switch (vector) {
    case EXC_DE:
    case EXC_TS:
    case EXC_NP:
    case EXC_SS:
    case EXC_GP:
        return EXC_CONTRIBUTORY;
    case EXC_PF:
        return EXC_PAGE;
    case EXC_DF:
        return EXC_DOUBLE;
    default:
        return EXC_BENIGN;
    }
}

static void shut_down(struct cpu *cpu)
{
    cpu->activity = CPU_SHUTDOWN;
    cpu->exc_vector = EXC_NONE;
    LOG(cpu->env.log, LOG_RESET, "cpu%u: triple fault at %04x:%llx", cpu->index,
        cpu->seg[SEG_CS].sel, (unsigned long long)cpu->rip);
    if (cpu->env.shutdown)
        cpu->env.shutdown(cpu->env.opaque, "triple fault");
}

/* Delivers an event; what goes wrong on the way becomes the next exception, until one arrives or
 * the processor shuts down. The chain is at most as long as the classes allow, but a fault while
 * delivering a benign exception starts over, so the count is bounded here. */
static void deliver_chain(struct cpu *cpu, unsigned vector, enum int_kind kind, bool has_error,
                          uint32_t error, bool set_rf)
{
    enum exc_class first = kind == INT_EXCEPTION ? exc_class_of(vector) : EXC_BENIGN;
    unsigned tries;

    for (tries = 0; tries < 8; tries++) {
        enum exc_class second;

        cpu->exc_vector = EXC_NONE;
        if (deliver(cpu, vector, kind, has_error, error, set_rf))
            return;
        second = exc_class_of(cpu->exc_vector);
        if (first == EXC_DOUBLE && second != EXC_BENIGN)
            break;
        if ((first == EXC_CONTRIBUTORY && second == EXC_CONTRIBUTORY) ||
            (first == EXC_PAGE && (second == EXC_CONTRIBUTORY || second == EXC_PAGE))) {
            vector = EXC_DF;
            has_error = true;
            error = 0;
        } else {
            vector = cpu->exc_vector;
            has_error = cpu->exc_has_error;
            error = cpu->exc_error;
        }
        kind = INT_EXCEPTION;
        set_rf = true;
        first = exc_class_of(vector);
    }
    shut_down(cpu);
}

void cpu_take_exception(struct cpu *cpu)
{
    unsigned vector = cpu->exc_vector;
    bool trap = cpu->exc_is_trap;

    if (vector == EXC_NONE)
        return;
    cpu->stat_exceptions++;
    cpu->exc_is_trap = false;
    /* RF: not for traps, nor for #DB faults of instruction breakpoints (6.8.3), which handlers
     * that want to go on set themselves. */
    deliver_chain(cpu, vector, INT_EXCEPTION, cpu->exc_has_error, cpu->exc_error,
                  !trap && vector != EXC_DB);
}

/* ---- between instructions ------------------------------------------------------------------- */

static bool take(struct cpu *cpu, uint32_t what)
{
    if (!(__atomic_load_n(&cpu->pending, __ATOMIC_ACQUIRE) & what))
        return false;
    cpu_clear_interrupt(cpu, what);
    return true;
}

static void take_debug_trap(struct cpu *cpu)
{
    cpu->dr[6] = (cpu->dr[6] & ~15ull) | cpu->pending_dr6;
    cpu->pending_dr6 = 0;
    cpu->activity = CPU_ACTIVE; /* a step over HLT ends it */
    cpu->stat_exceptions++;
    deliver_chain(cpu, EXC_DB, INT_EXCEPTION, false, 0, false);
}

bool cpu_can_wake(const struct cpu *cpu)
{
    uint32_t pending = __atomic_load_n(&cpu->pending, __ATOMIC_ACQUIRE);

    switch (cpu->activity) {
    case CPU_ACTIVE:
        return true;
    case CPU_WAIT_SIPI:
        return pending & (CPU_SIPI | CPU_INIT);
    case CPU_SHUTDOWN:
        return pending & CPU_INIT; /* the board has been told, and resets */
    default: /* HLT, MWAIT */
        if (cpu->pending_dr6 || (pending & (CPU_INIT | (cpu->nmi_blocked ? 0 : CPU_NMI))))
            return true;
        return (pending & CPU_INTR) && ((cpu->eflags & FL_IF) || cpu->mwait_masked);
    }
}

/* Order: SDM vol. 3, table 6-2. */
bool cpu_service_pending(struct cpu *cpu)
{
    uint32_t pending = __atomic_load_n(&cpu->pending, __ATOMIC_ACQUIRE);
    int vector;

    if ((pending & CPU_FLUSH) && take(cpu, CPU_FLUSH))
        mmu_flush_all(&cpu->mmu);
    if ((pending & CPU_INIT) && take(cpu, CPU_INIT)) {
        LOG(cpu->env.log, LOG_RESET, "cpu%u: INIT", cpu->index);
        cpu_reset(cpu, true);
        return true;
    }
    if (cpu->activity == CPU_WAIT_SIPI) {
        if (!(pending & CPU_SIPI) || !take(cpu, CPU_SIPI))
            return false;
        uint8_t page = __atomic_load_n(&cpu->sipi_vector, __ATOMIC_RELAXED);
        cpu->seg[SEG_CS].sel = (uint16_t)(page << 8);
        cpu->seg[SEG_CS].base = (uint64_t)page << 12;
        cpu->rip = 0;
        cpu->activity = CPU_ACTIVE;
        cpu_update_mode(cpu);
        return true;
    }
    if (pending & CPU_SIPI)
        cpu_clear_interrupt(cpu, CPU_SIPI); /* ignored unless waiting for it */
    if (cpu->activity == CPU_SHUTDOWN)
        return false;

    if (cpu->pending_dr6 && !cpu->shadow_ss) {
        take_debug_trap(cpu);
        return true;
    }
    if ((pending & CPU_NMI) && !cpu->nmi_blocked && !cpu->shadow_ss && take(cpu, CPU_NMI)) {
        cpu->activity = CPU_ACTIVE;
        cpu->nmi_blocked = true;
        cpu->stat_interrupts++;
        deliver_chain(cpu, EXC_NMI, INT_HARDWARE, false, 0, false);
        return true;
    }
    if ((pending & CPU_INTR) && !cpu->shadow_intr && !cpu->shadow_ss) {
        if (cpu->eflags & FL_IF) {
            vector = cpu->env.intr_ack(cpu->env.opaque);
            if (vector >= 0) {
                cpu->activity = CPU_ACTIVE;
                cpu->stat_interrupts++;
                deliver_chain(cpu, (unsigned)vector, INT_HARDWARE, false, 0, false);
                return true;
            }
        } else if (cpu->activity == CPU_MWAIT && cpu->mwait_masked) {
            cpu->activity = CPU_ACTIVE;
            return true;
        }
    }
    return false;
}
