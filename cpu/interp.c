/* Binding decoded instructions to handlers, the handlers that are not hot bodies, the slow ways of
 * memory, and the run loop.
 */
#include "cpu/decode.h"
#include "cpu/exec.h"
#include "cpu/flags.h"
#include "cpu/interp.h"
#include "cpu/interp_mem.h"
#include "cpu/sem.h"
#include "cpu/sys.h"
#include "cpu/xsave.h"

/* ---- memory ------------------------------------------------------------------------------------ */

/* A device that is written or read may schedule an event that is due before the running block ends:
 * the run loop's budget is then overdrawn; or it asks for an interrupt. What happens when must not
 * depend on how code is cut into blocks, so the instruction after this one is replaced by one that
 * leaves, until execute() puts it back. */
static void leave_after(struct cpu *cpu, const struct insn *i)
{
    struct insn *next = (struct insn *)(uintptr_t)(i + 1);
    if (LIKELY(cpu->budget >= 0 && !cpu_is_due(cpu)) || cpu->stopper)
        return;
    cpu->stopper = next;
    cpu->stopper_blk = cpu->blk;
    cpu->stopped_fn = (void (*)(void))next->fn;
    next->fn = interp_leave_dead;
}

COLD bool interp_load_slow(struct cpu *cpu, const struct insn *i, uint64_t ea, unsigned size)
{
    cpu->cur = i;
    if (!mem_read(cpu, i->seg, ea, size, &cpu->temp))
        return false;
    leave_after(cpu, i);
    return true;
}

COLD bool interp_modify_slow(struct cpu *cpu, const struct insn *i, uint64_t ea, unsigned size)
{
    cpu->cur = i;
    if (insn_is_locked(i))
        return mem_lock_read(cpu, i->seg, ea, size, &cpu->temp);
    return mem_probe_write(cpu, i->seg, ea, size) && mem_read(cpu, i->seg, ea, size, &cpu->temp);
}

COLD bool interp_modified_slow(struct cpu *cpu, const struct insn *i, uint64_t ea, uint64_t old,
                               uint64_t v, unsigned size)
{
    cpu->cur = i;
    if (!(insn_is_locked(i) ? mem_lock_write(cpu, i->seg, ea, size, old, v)
                            : mem_write(cpu, i->seg, ea, size, v)))
        return false;
    leave_after(cpu, i);
    return true;
}

COLD bool interp_store_slow(struct cpu *cpu, const struct insn *i, uint64_t ea, uint64_t v,
                            unsigned size)
{
    cpu->cur = i;
    if (!mem_write(cpu, i->seg, ea, size, v))
        return false;
    leave_after(cpu, i);
    return true;
}

COLD bool interp_push_slow(struct cpu *cpu, const struct insn *i, uint64_t sp, uint64_t v,
                           unsigned size)
{
    cpu->cur = i;
    if (!mem_write(cpu, SEG_SS, sp, size, v))
        return false;
    leave_after(cpu, i);
    return true;
}

COLD bool interp_pop_slow(struct cpu *cpu, const struct insn *i, uint64_t sp, unsigned size)
{
    cpu->cur = i;
    if (!mem_read(cpu, SEG_SS, sp, size, &cpu->temp))
        return false;
    leave_after(cpu, i);
    return true;
}

/* ---- leaving ----------------------------------------------------------------------------------- */

/* Out of the block with instructions idx and later not executed. */
static const struct insn *leave_before(struct cpu *cpu, const struct insn *i)
{
    cpu->rip = cpu_wrap_rip(cpu, insn_pc(cpu, i));
    cpu->budget += cpu->blk->n - i->idx;
    cpu->blk = NULL;
    return NULL;
}

COLD HANDLER(interp_leave_dead)
{
    return leave_before(cpu, i);
}

COLD HANDLER(interp_fault)
{
    return leave_before(cpu, i);
}

COLD HANDLER(interp_raise_ud)
{
    cpu->cur = i;
    cpu_ud(cpu);
    return interp_fault(cpu, i);
}

COLD HANDLER(interp_raise_gp)
{
    cpu->cur = i;
    cpu_gp0(cpu);
    return interp_fault(cpu, i);
}

/* ---- to the next block ------------------------------------------------------------------------- */

/* cpu->rip is the target, in the page of the running block: link it if it is decoded. */
static const struct insn *goto_slow(struct cpu *cpu, unsigned slot)
{
    struct block *from = cpu->blk, *to;

    if (cpu->budget <= 0 || cpu_is_due(cpu) || !(to = block_lookup(cpu, cpu->rip)) ||
        cpu->budget < to->n) {
        cpu->blk = NULL;
        return NULL;
    }
    /* The page may have been mapped elsewhere since `from` was entered, without a flush so far. */
    if (!from->dead && !from->link[slot].to && !((from->ra ^ to->ra) & PAGE_MASK))
        block_set_link(&from->link[slot], to);
    const struct insn *first = interp_enter(cpu, to, cpu->rip);
    DISPATCH(first);
}

HANDLER(interp_goto_slow0)
{
    return goto_slow(cpu, 0);
}

HANDLER(interp_goto_slow1)
{
    return goto_slow(cpu, 1);
}

HANDLER(interp_goto_indirect)
{
    struct block *to = cpu_is_due(cpu) ? NULL : block_lookup(cpu, cpu->rip);
    if (LIKELY(to && cpu->budget >= to->n)) {
        const struct insn *first = interp_enter(cpu, to, cpu->rip);
        DISPATCH(first);
    }
    cpu->blk = NULL;
    return NULL;
}

HANDLER(interp_fall_through)
{
    uint64_t next = cpu_wrap_rip(cpu, insn_pc(cpu, i));
    if (!(cpu->mode & (MODE_FLAT | MODE_CODE64)) || ((next ^ cpu->r[REG_BRIP]) & PAGE_MASK)) {
        cpu->rip = next;
        return interp_goto_indirect(cpu, i);
    }
    INTERP_GOTO(next, 0);
}

/* ---- calls of C functions ---------------------------------------------------------------------- */

static HANDLER(call_op)
{
    cpu->cur = i;
    if (UNLIKELY(!insn_row(i)->fn(cpu, i)))
        return interp_fault(cpu, i);
    leave_after(cpu, i);
    DISPATCH(i + 1);
}

/* Instructions with AT_END: they may have changed anything, so the loop looks up. */
static HANDLER(call_op_end)
{
    cpu->cur = i;
    cpu->rip = cpu_wrap_rip(cpu, insn_next_pc(cpu, i));
    if (UNLIKELY(!insn_row(i)->fn(cpu, i)))
        return interp_fault(cpu, i);
    cpu->blk = NULL;
    return NULL;
}

static HANDLER(nop)
{
    DISPATCH(i + 1);
}

/* SSE, MMX and x87 instructions look at CR0 and CR4 first, unless the mode says that all is well. */
static bool simd_allowed(struct cpu *cpu, const struct insn *i)
{
    uint32_t attr = insn_row(i)->attr;
    if (attr & AT_AVX) {
        if (!(cpu->cr4 & CR4_OSXSAVE) || ~cpu->xcr0 & (XCR0_SSE | XCR0_AVX))
            return cpu_ud(cpu);
    } else if (attr & AT_SSE) {
        if ((cpu->cr0 & CR0_EM) || !(cpu->cr4 & CR4_OSFXSR))
            return cpu_ud(cpu);
    } else if ((attr & AT_MMX) && (cpu->cr0 & CR0_EM)) {
        return cpu_ud(cpu);
    } else if ((attr & AT_X87) && (cpu->cr0 & CR0_EM)) {
        return cpu_raise(cpu, EXC_NM);
    }
    if (cpu->cr0 & CR0_TS)
        return cpu_raise(cpu, EXC_NM);
    if ((attr & (AT_MMX | AT_X87WAIT)) && (cpu->fpu.sw & 0x80)) {
        if (cpu->cr0 & CR0_NE)
            return cpu_raise(cpu, EXC_MF);
        if (cpu->env.ferr)
            cpu->env.ferr(cpu->env.opaque, 1);
    }
    if ((attr & AT_ALIGN) && insn_is_mem(i) &&
        ((insn_ea(cpu, i) + cpu->seg_base[i->seg]) & (attr & AT_AVX ? i->size - 1u : 15u)))
        return cpu_gp0(cpu);
    return true;
}

static HANDLER(call_simd)
{
    cpu->cur = i;
    if (UNLIKELY(!simd_allowed(cpu, i)) || UNLIKELY(!insn_row(i)->fn(cpu, i)))
        return interp_fault(cpu, i);
    leave_after(cpu, i);
    DISPATCH(i + 1);
}

/* Allowed by the mode, but an x87 exception may be pending. */
static HANDLER(call_x87)
{
    if (UNLIKELY(cpu->fpu.sw & 0x80))
        return call_simd(cpu, i);
    return call_op(cpu, i);
}

static HANDLER(call_simd_end)
{
    cpu->cur = i;
    if (UNLIKELY(!simd_allowed(cpu, i)))
        return interp_fault(cpu, i);
    return call_op_end(cpu, i);
}

/* MOV with a 64-bit address in the instruction that the address arithmetic cannot hold. */
static HANDLER(mov_moffs)
{
    uint64_t ea = i->imm << i->ea_shift >> i->ea_shift;
    bool store = insn_row(i)->opcode >= 0xa2;
    bool ok;
    cpu->cur = i;
    if (store) {
        uint64_t v = i->size == 1 ? reg8_get(cpu, i->reg) : reg_get(cpu, REG_AX, i->size);
        ok = mem_write(cpu, i->seg, ea, i->size, v);
    } else {
        ok = mem_read(cpu, i->seg, ea, i->size, &cpu->temp);
        if (ok && i->size == 1)
            reg8_set(cpu, i->reg, (uint8_t)cpu->temp);
        else if (ok)
            reg_set(cpu, REG_AX, cpu->temp, i->size);
    }
    if (!ok)
        return interp_fault(cpu, i);
    leave_after(cpu, i);
    DISPATCH(i + 1);
}

/* ---- binding ----------------------------------------------------------------------------------- */

static unsigned variant_of(const struct cpu *cpu, const struct insn *i, enum hot_form form)
{
    uint32_t mode = cpu->mode;
    if ((mode & MODE_AC) || (cpu->env.parallel && insn_is_locked(i)))
        return 2;
    if (mode & MODE_CODE64)
        return 0;
    if (!(mode & MODE_FLAT) || !(mode & MODE_STACK32))
        return 2;
    if (form == HF_RM)
        return i->seg <= SEG_DS ? 1 : 2;
    if (form == HF_MR || form == HF_MI || form == HF_M)
        return i->seg <= SEG_DS && i->seg != SEG_CS ? 1 : 2;
    return 1;
}

static insn_fn hot_handler(const struct cpu *cpu, const struct insn *i, unsigned var)
{
    static const insn_fn(*const tables[4])[HF_COUNT][INTERP_VARIANTS] = {
        interp_table_8, interp_table_16, interp_table_32, interp_table_64};
    return tables[__builtin_ctz(i->size)][insn_row(i)->sem][insn_hot_form(cpu, i)][var];
}

COLD HANDLER(interp_slow_form)
{
    return hot_handler(cpu, i, 2)(cpu, i);
}

static insn_fn bind_hot(const struct cpu *cpu, const struct insn *i)
{
    if (insn_row(i)->sem == SEM_XCHGA && i->rm == i->reg)
        return nop;
    if (cpu->decode->info[i->row].moffs && i->imm != (uint64_t)(int64_t)(int32_t)i->imm &&
        i->ea_shift == 0)
        return mov_moffs;
    return hot_handler(cpu, i, variant_of(cpu, i, insn_hot_form(cpu, i)));
}

static insn_fn bind_simd(const struct cpu *cpu, const struct insn *i, uint32_t attr)
{
    if (attr & AT_END)
        return call_simd_end;
    if ((attr & AT_ALIGN) && insn_is_mem(i))
        return call_simd;
    if (attr & AT_AVX)
        return cpu->mode & MODE_AVX ? call_op : call_simd;
    if (attr & AT_SSE)
        return !(cpu->mode & MODE_SSE) ? call_simd : attr & AT_MMX ? call_x87 : call_op;
    if (!(cpu->mode & MODE_FPU))
        return call_simd;
    return attr & (AT_MMX | AT_X87WAIT) ? call_x87 : call_op;
}

void interp_bind(const struct cpu *cpu, struct insn *i)
{
    const struct insn_row *row = insn_row(i);
    uint32_t attr = row->attr;

    if ((attr & AT_PE) && cpu_real_or_vm(cpu)) {
        i->fn = interp_raise_ud;
    } else if ((attr & AT_CPL0) && (cpu->mode & MODE_USER)) {
        i->fn = interp_raise_gp;
    } else if (row->sem != SEM_NONE) {
        i->fn = bind_hot(cpu, i);
        CHECK(i->fn);
    } else if (attr & (AT_SSE | AT_MMX | AT_X87 | AT_AVX)) {
        i->fn = bind_simd(cpu, i, attr);
    } else {
        i->fn = attr & AT_END ? call_op_end : call_op;
    }
}

/* ---- one instruction ----------------------------------------------------------------------------- */

static HANDLER(one_done)
{
    return NULL;
}

bool interp_one(struct cpu *cpu, const struct insn *i)
{
    insn_fn fn = interp_handler(cpu->blk, i);
    struct insn pair[2];

    if (fn == call_op) {
        cpu->cur = i;
        if (LIKELY(insn_row(i)->fn(cpu, i)))
            return true;
        interp_fault(cpu, i);
        return false;
    }
    pair[0] = *i;
    memset(&pair[1], 0, sizeof(pair[1]));
    pair[1].off = i->off + i->len;
    pair[1].idx = i->idx + 1;
    pair[1].fn = one_done;
    interp_go(cpu, fn, pair);
    cpu->stopper = NULL;
    cpu->cur = i;
    return cpu->blk != NULL;
}

/* ---- the run loop ------------------------------------------------------------------------------ */

uint64_t cpu_retired(const struct cpu *cpu)
{
    int64_t left = cpu->budget;
    if (cpu->blk && cpu->cur)
        left += cpu->blk->n - cpu->cur->idx;
    return cpu->retired + (uint64_t)(cpu->slice - left);
}

static void trace(struct cpu *cpu, const struct block *b)
{
    char text[96];
    insn_format(&b->insn[0], cpu->rip, text, sizeof(text));
    log_write(cpu->env.log, LOG_EXEC,
              "%u %04x:%016llx %-36s ax=%llx cx=%llx dx=%llx bx=%llx sp=%llx bp=%llx si=%llx di=%llx "
              "fl=%llx",
              cpu->index, cpu->seg[SEG_CS].sel, (unsigned long long)cpu->rip, text,
              (unsigned long long)cpu->r[REG_AX], (unsigned long long)cpu->r[REG_CX],
              (unsigned long long)cpu->r[REG_DX], (unsigned long long)cpu->r[REG_BX],
              (unsigned long long)cpu->r[REG_SP], (unsigned long long)cpu->r[REG_BP],
              (unsigned long long)cpu->r[REG_SI], (unsigned long long)cpu->r[REG_DI],
              (unsigned long long)cpu_flags(cpu));
}

static void execute(struct cpu *cpu, struct block *b)
{
    const struct insn *i = interp_enter(cpu, b, cpu->rip);
    cpu->stat_blocks++;
    interp_go(cpu, i->fn, i);
    if (UNLIKELY(cpu->stopper != NULL)) {
        if (!cpu->stopper_blk->dead)
            cpu->stopper->fn = (insn_fn)cpu->stopped_fn;
        cpu->stopper = NULL;
    }
    cpu->blk = NULL;
}

/* With DEBUGCTL.BTF, TF traps only taken branches: what led elsewhere than to the next instruction, or,
 * repeating, to itself. */
static bool step_is_due(const struct cpu *cpu, const struct insn *i, uint64_t from)
{
    uint64_t next = from + i->len;

    if (LIKELY(!(cpu->debugctl & DEBUGCTL_BTF)))
        return true;
    if (!(cpu->mode & MODE_CODE64))
        next = (uint32_t)next;
    return cpu->rip != next && !(cpu->rip == from && (insn_row(i)->attr & AT_REP));
}

/* One instruction and no more, whatever links lead on. */
static void execute_single(struct cpu *cpu, struct block *b, bool tf)
{
    struct insn insn = b->insn[0]; /* the block may go */
    uint64_t from = cpu->rip;

    cpu->step_done = false;
    cpu_interrupt(cpu, CPU_LEAVE);
    execute(cpu, b);
    cpu_clear_interrupt(cpu, CPU_LEAVE);
    /* MOV SS and POP SS lose their own single-step trap (SDM vol. 3, 6.8.3). */
    if (tf && !cpu->again && !cpu->step_done && !cpu->shadow_ss && cpu->exc_vector == EXC_NONE &&
        step_is_due(cpu, &insn, from))
        cpu->pending_dr6 |= DR6_BS;
}

/* One turn: service what is pending, then run blocks until one leaves; alone: one instruction. */
static void run_blocks(struct cpu *cpu, bool alone)
{
    bool shadow, tf, single, no_debug, no_intr;
    struct block *b;

    /* The shadows hold off interrupts, that of MOV SS debug traps too: cpu_service_pending knows. */
    cpu->pending_mask = cpu->eflags & FL_IF ? ~0u : ~(uint32_t)CPU_INTR;
    if ((cpu_is_due(cpu) || cpu->pending_dr6) && cpu_service_pending(cpu)) {
        cpu->shadow_intr = cpu->shadow_ss = false;
        cpu->budget--; /* so that a guest that does nothing else still uses up its time */
        return;
    }
    no_debug = cpu->shadow_ss;
    no_intr = cpu->shadow_intr;
    shadow = no_intr || no_debug;
    cpu->again = false;
    cpu->shadow_intr = cpu->shadow_ss = false;
    if (!no_debug && (cpu->mode & MODE_TRACE) && !cpu_check_insn_breakpoint(cpu))
        return;
    tf = cpu->eflags & FL_TF;
    single = alone || shadow || tf || (cpu->mode & MODE_TRACE) || log_on(cpu->env.log, LOG_EXEC);
    cpu->tlb = cpu->mmu.tlb->e[cpu->mmu_index];
    b = single ? NULL : block_lookup(cpu, cpu->rip);
    if (!b)
        b = block_find(cpu, single ? MODE_SINGLE : 0);
    if (b && b->n > cpu->budget)
        b = block_find(cpu, MODE_SINGLE);
    if (!b)
        return;
    if (log_on(cpu->env.log, LOG_EXEC))
        trace(cpu, b);
    if (single)
        execute_single(cpu, b, tf);
    else
        execute(cpu, b);
    if (UNLIKELY(cpu->again) && shadow) { /* the instruction is still the one after STI, MOV SS */
        cpu->shadow_intr = no_intr;
        cpu->shadow_ss = no_debug;
    }
}

/* An instruction that nothing else makes atomic, while all other CPUs stand still. */
static COLD void run_alone(struct cpu *cpu)
{
    cpu->alone_wanted = false;
    cpu->env.alone(cpu->env.opaque, true);
    cpu->is_alone = true;
    run_blocks(cpu, true);
    cpu->is_alone = false;
    cpu->env.alone(cpu->env.opaque, false);
}

static void run_once(struct cpu *cpu)
{
    if (UNLIKELY(cpu->alone_wanted))
        run_alone(cpu);
    else
        run_blocks(cpu, false);
}

/* What others want of the CPU before its next block. True: it is to stop. */
static COLD bool serve_requests(struct cpu *cpu)
{
    if (cpu_pending(cpu) & CPU_HOLD)
        cpu->env.hold(cpu->env.opaque);
    if (cpu_pending(cpu) & CPU_A20) {
        cpu_clear_interrupt(cpu, CPU_A20);
        mmu_set_a20(&cpu->mmu, __atomic_load_n(&cpu->a20_wanted, __ATOMIC_RELAXED));
    }
    if (cpu_pending(cpu) & CPU_CODE) {
        cpu_clear_interrupt(cpu, CPU_CODE);
        cpu->env.code_requests(cpu->env.opaque);
    }
    if (cpu_pending(cpu) & CPU_FLUSH_CODE) {
        cpu_clear_interrupt(cpu, CPU_FLUSH_CODE);
        blocks_flush(cpu);
    }
    if (cpu_pending(cpu) & CPU_FLUSH) {
        cpu_clear_interrupt(cpu, CPU_FLUSH);
        mmu_flush_all(&cpu->mmu);
    }
    if (!(cpu_pending(cpu) & CPU_STOP))
        return false;
    cpu_clear_interrupt(cpu, CPU_STOP);
    return true;
}

void cpu_step_undelivered(struct cpu *cpu)
{
    if (cpu->pending & CPU_FLUSH_CODE) {
        cpu_clear_interrupt(cpu, CPU_FLUSH_CODE);
        blocks_flush(cpu);
    }
    cpu->slice = cpu->budget = 1;
    run_once(cpu);
    cpu->slice = cpu->budget = 0;
}

/* A delivery counts as an instruction: a handler that faults at its first one, or a #DB whose frame
 * meets a data breakpoint, would otherwise go on for ever in no time. */
enum cpu_exit cpu_run(struct cpu *cpu, uint64_t n, uint64_t *executed)
{
    enum cpu_exit why = CPU_EXIT_BUDGET;

    cpu->slice = cpu->budget = (int64_t)MIN(n, (uint64_t)INT64_MAX / 2);
    while (cpu->budget > 0) {
        if (UNLIKELY(cpu_pending(cpu) & (CPU_STOP | CPU_FLUSH | CPU_FLUSH_CODE | CPU_HOLD |
                                         CPU_CODE | CPU_A20)) &&
            serve_requests(cpu)) {
            why = CPU_EXIT_STOP;
            break;
        }
        if (UNLIKELY(cpu->activity != CPU_ACTIVE)) {
            if (cpu_can_wake(cpu))
                cpu_service_pending(cpu);
            why = cpu->activity == CPU_SHUTDOWN ? CPU_EXIT_SHUTDOWN : CPU_EXIT_HALT;
            if (cpu->activity != CPU_ACTIVE)
                break;
            why = CPU_EXIT_BUDGET;
        } else {
            run_once(cpu);
        }
        if (UNLIKELY(cpu->exc_vector != EXC_NONE)) {
            cpu_take_exception(cpu);
            cpu->budget -= cpu->budget > 0; /* unless the slice was cut meanwhile */
        }
    }
    *executed = (uint64_t)(cpu->slice - cpu->budget);
    cpu->retired += *executed;
    cpu->slice = cpu->budget = 0;
    return why;
}
