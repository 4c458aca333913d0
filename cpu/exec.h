/* What the C functions of instructions (bool op_x(struct cpu *, const struct insn *)) use.
 *
 * Rules for an op function:
 *  - All reads and checks that can fault come before any register changes. On a fault return false
 *    (the helpers below have then recorded it with cpu_raise); the instruction restarts cleanly. Without
 *    a recorded fault, with cpu->again, it simply comes again: locked accesses do that.
 *  - cpu->cur is the instruction. Rows with AT_END: cpu->rip holds the next instruction's RIP when
 *    the function starts, and it may set another; on false it is put back to the instruction's own.
 *    Rows without AT_END must not touch cpu->rip.
 *  - The generic checks a row's attributes name (CPL, #NM, #UD by mode, LOCK) have been done, or the
 *    decoder put an insn that raises in its place.
 *  - After changing anything cpu->mode depends on, call cpu_update_mode() (the row is AT_END).
 *  - mmu/ accesses are linear; "seg" accesses check limits and rights of the segment.
 */
#ifndef CPU_EXEC_H
#define CPU_EXEC_H

#include "cpu/insn.h"

/* ---- faults ---------------------------------------------------------------------------------- */

/* Record a fault of the running instruction; all return false. */
bool cpu_raise(struct cpu *cpu, enum exception vector);
bool cpu_raise_code(struct cpu *cpu, enum exception vector, uint32_t error);
static inline bool cpu_gp0(struct cpu *cpu)
{
    return cpu_raise_code(cpu, EXC_GP, 0);
}
static inline bool cpu_ud(struct cpu *cpu)
{
    return cpu_raise(cpu, EXC_UD);
}
/* Turns cpu->mmu.fault into #PF (sets CR2) or #GP(0), #SS(0) if seg is SS. */
bool cpu_raise_mmu(struct cpu *cpu, unsigned seg);

/* ---- registers ------------------------------------------------------------------------------- */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BYTE_REG_OFF(n, high) ((n)*8u + (high))
#define WORD_OF(cpu, n) (((uint16_t *)(void *)&(cpu)->r[n])[0])
#else
#define BYTE_REG_OFF(n, high) ((n)*8u + 7u - (high))
#define WORD_OF(cpu, n) (((uint16_t *)(void *)&(cpu)->r[n])[3])
#endif
static inline uint8_t reg8_get(const struct cpu *cpu, unsigned off)
{
    return ((const uint8_t *)cpu->r)[off];
}
static inline void reg8_set(struct cpu *cpu, unsigned off, uint8_t v)
{
    ((uint8_t *)cpu->r)[off] = v;
}
/* General register n (0 to 15) as size 2, 4, 8 bytes; writes of 4 clear the upper half. */
static inline uint64_t reg_get(const struct cpu *cpu, unsigned n, unsigned size)
{
    return size == 8 ? cpu->r[n] : size == 4 ? (uint32_t)cpu->r[n] : (uint16_t)cpu->r[n];
}
static inline void reg_set(struct cpu *cpu, unsigned n, uint64_t v, unsigned size)
{
    if (size == 8)
        cpu->r[n] = v;
    else if (size == 4)
        cpu->r[n] = (uint32_t)v;
    else
        cpu->r[n] = (cpu->r[n] & ~0xffffull) | (v & 0xffff);
}

/* Flags at once, for op functions; the lazy state is made explicit. mask: which of FL_ARITH. */
void cpu_put_arith(struct cpu *cpu, uint64_t flags, uint64_t mask);

/* ---- memory ---------------------------------------------------------------------------------- */

/* Offset of the memory operand within its segment, truncated to the address size. */
static inline uint64_t insn_ea(const struct cpu *cpu, const struct insn *i)
{
    uint64_t ea = cpu->r[i->base] + (cpu->r[i->index] << i->scale) + (uint64_t)(int64_t)i->disp;
    return ea << i->ea_shift >> i->ea_shift;
}

/* Segmented accesses at seg:ea with the current privilege, size 1 to 8; limit, rights, canonical
 * and alignment (#AC) checks. False: fault recorded. */
bool mem_read(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, uint64_t *v);
bool mem_write(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, uint64_t v);
/* Checks that a write of size (up to 4096) at seg:ea would succeed; before read-modify-write. */
bool mem_probe_write(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size);
bool mem_probe_read(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size);
/* Segment and alignment checks of an 80-bit operand, which is aligned like 8 bytes. */
bool mem_check_m80(struct cpu *cpu, unsigned seg, uint64_t ea, bool write);
/* A locked read-modify-write of size 1 to 8: the read, after the checks of a write, and the write, which
 * gives up if `old`, which was read, is not there any more. False: a fault has been recorded, or the
 * instruction comes again (cpu->again); nothing of it has happened. cpu/lock.c */
bool mem_lock_read(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, uint64_t *v);
bool mem_lock_write(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, uint64_t old,
                    uint64_t fresh);
/* 16 bytes, 16-aligned; for CMPXCHG16B. */
bool mem_lock_write16(struct cpu *cpu, unsigned seg, uint64_t ea, const uint64_t old[2],
                      const uint64_t fresh[2]);
/* Any length up to 4096; reads and writes all of it or faults before any of it is written. */
bool mem_read_bytes(struct cpu *cpu, unsigned seg, uint64_t ea, void *buf, unsigned len);
bool mem_write_bytes(struct cpu *cpu, unsigned seg, uint64_t ea, const void *buf, unsigned len);
/* The linear address of seg:ea after all segment checks for an access of size. */
bool mem_linear(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, bool write,
                uint64_t *lin);
/* Linear accesses with supervisor rights whatever the CPL: descriptor tables, TSS, stacks of
 * delivery. A fault is recorded as #PF. */
bool sys_read(struct cpu *cpu, uint64_t lin, unsigned size, uint64_t *v);
bool sys_write(struct cpu *cpu, uint64_t lin, unsigned size, uint64_t v);

/* The E operand of the row (register or memory) as size bytes; byte registers by offset. */
bool insn_read_E(struct cpu *cpu, const struct insn *i, unsigned size, uint64_t *v);
bool insn_write_E(struct cpu *cpu, const struct insn *i, unsigned size, uint64_t v);

/* ---- control --------------------------------------------------------------------------------- */

/* RIP of the instruction itself, and of the one after it (not truncated). */
static inline uint64_t insn_pc(const struct cpu *cpu, const struct insn *i)
{
    return cpu->r[REG_BRIP] + i->off;
}
static inline uint64_t insn_next_pc(const struct cpu *cpu, const struct insn *i)
{
    return cpu->r[REG_BRIP] + i->off + i->len;
}
/* A repeated string instruction has iterations left: it comes again. Its breakpoint was for the first
 * one, and what interrupts it pushes RF (SDM vol. 3, 17.3.1.1), until insn_again_no_more(). */
static inline void insn_again(struct cpu *cpu, const struct insn *i)
{
    cpu->rip = insn_pc(cpu, i);
    cpu->eflags |= FL_RF;
}
static inline void insn_again_no_more(struct cpu *cpu)
{
    cpu->eflags &= ~(uint64_t)FL_RF;
}
static inline bool cpu_code64(const struct cpu *cpu)
{
    return cpu->mode & MODE_CODE64;
}
/* RIP has 64 bits in 64-bit code and 32 elsewhere. */
static inline uint64_t cpu_wrap_rip(const struct cpu *cpu, uint64_t rip)
{
    return cpu_code64(cpu) ? rip : (uint32_t)rip;
}
static inline bool cpu_real_or_vm(const struct cpu *cpu)
{
    return !(cpu->mode & MODE_PE) || (cpu->mode & MODE_VM86);
}
static inline unsigned cpu_stack_size(const struct cpu *cpu) /* of rSP: 2, 4 or 8 */
{
    return cpu_code64(cpu) ? 8 : cpu->mode & MODE_STACK32 ? 4 : 2;
}
/* What a stack access uses of a stack pointer: 2, 4 or 8 bytes of it. */
static inline uint64_t cpu_sp_mask(const struct cpu *cpu, uint64_t sp)
{
    unsigned size = cpu_stack_size(cpu);
    return size == 8 ? sp : size == 4 ? (uint32_t)sp : (uint16_t)sp;
}
/* Near branch to offset target in CS: checks limit or canonical form, sets cpu->rip. */
bool cpu_branch_near(struct cpu *cpu, uint64_t target, unsigned size);

/* ---- cpu/seg.c, cpu/interrupt.c, cpu/task.c --------------------------------------------------- */

struct descriptor {
    uint64_t base;
    uint32_t limit, ar;
    uint64_t raw, raw_hi;
    uint64_t addr; /* linear, of its first byte */
};
/* Loads selector into a data segment register or SS as MOV does, all checks. */
bool seg_load(struct cpu *cpu, unsigned seg, uint16_t sel);
/* Sets a segment register as real mode does. */
void seg_load_real(struct cpu *cpu, unsigned seg, uint16_t sel);
void cpu_set_cpl(struct cpu *cpu, unsigned cpl);

enum int_kind { INT_HARDWARE, INT_EXCEPTION, INT_SOFT /* INT n */, INT_SOFT3 /* INT3, INTO */,
    INT_ICEBP };
/* Delivers through the IDT or IVT. cpu->rip is what is pushed. False if delivery itself faulted
 * (recorded with cpu_raise). */
bool cpu_deliver(struct cpu *cpu, unsigned vector, enum int_kind kind, bool has_error,
                 uint32_t error);
/* Takes the recorded exception, with double and triple fault rules. Called by the run loop with
 * cpu->rip at the faulting instruction (or after it for traps). */
void cpu_take_exception(struct cpu *cpu);
/* Takes pending NMI, interrupts, INIT, SIPI, debug traps as the state allows; called between
 * blocks when cpu->pending or debug traps ask for it. True if something was taken. */
bool cpu_service_pending(struct cpu *cpu);
/* Executes one instruction; a fault stays recorded in exc_vector instead of being delivered. For
 * tests that compare single instructions. */
void cpu_step_undelivered(struct cpu *cpu);
/* Recomputes CR-dependent state after any change of control registers. */
void cpu_cr_changed(struct cpu *cpu);
bool cpu_set_cr0(struct cpu *cpu, uint64_t v);
bool cpu_set_cr3(struct cpu *cpu, uint64_t v);
bool cpu_set_cr4(struct cpu *cpu, uint64_t v);
/* Debug registers changed: hand breakpoints to the MMU and set MODE_SINGLE where needed. */
void cpu_dr_changed(struct cpu *cpu);
/* Instruction breakpoints, asked before each instruction while MODE_TRACE is set. False: #DB has been
 * recorded. */
bool cpu_check_insn_breakpoint(struct cpu *cpu);

#endif
