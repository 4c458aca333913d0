/* What the files of the CPU's system side (segmentation, delivery, far transfers, tasks, control
 * and model-specific registers) share among themselves.
 *
 * Error codes: `ext` is the EXT bit, set in the code of every fault met while an event other than
 * an INT n, INT3 or INTO instruction is being delivered (SDM vol. 3, 6.13). Far transfers pass 0.
 */
#ifndef CPU_SYS_H
#define CPU_SYS_H

#include "cpu/exec.h"
#include "cpu/flags.h"

/* System descriptor types (SDM vol. 3, table 3-2). */
enum {
    SYS_TSS16 = 1, SYS_LDT = 2, SYS_TSS16_BUSY = 3, SYS_CALL16 = 4, SYS_TASK_GATE = 5,
    SYS_INT16 = 6, SYS_TRAP16 = 7, SYS_TSS32 = 9, SYS_TSS32_BUSY = 11, SYS_CALL32 = 12,
    SYS_INT32 = 14, SYS_TRAP32 = 15,
};

/* DR6 and DR7 */
#define DR6_BD 0x2000ull
#define DR6_BS 0x4000ull
#define DR6_BT 0x8000ull
#define DR6_FIXED 0xffff0ff0ull
#define DR7_GD 0x2000ull
/* IA32_DEBUGCTL */
#define DEBUGCTL_LBR 1ull
#define DEBUGCTL_BTF 2ull
#define DR7_FIXED 0x400ull

static inline bool lin_canonical(uint64_t lin)
{
    return (uint64_t)((int64_t)(lin << 16) >> 16) == lin;
}
static inline bool cpu_long(const struct cpu *cpu)
{
    return cpu->efer & EFER_LMA;
}
static inline bool sel_null(uint16_t sel)
{
    return !(sel & 0xfffc);
}
static inline unsigned ar_dpl(uint32_t ar)
{
    return ar >> AR_DPL_SHIFT & 3;
}
/* S and the type bits at once. */
static inline bool ar_is_code(uint32_t ar)
{
    return (ar & (AR_S | AR_CODE)) == (AR_S | AR_CODE);
}
static inline bool ar_is_conforming(uint32_t ar)
{
    return (ar & (AR_S | AR_CODE | AR_CONFORMING)) == (AR_S | AR_CODE | AR_CONFORMING);
}
static inline bool ar_is_writable(uint32_t ar)
{
    return (ar & (AR_S | AR_CODE | AR_WRITE)) == (AR_S | AR_WRITE);
}
/* TLB table for accesses that are supervisor accesses whatever CPL and EFLAGS.AC say. */
static inline unsigned cpu_index_implicit(const struct cpu *cpu)
{
    return cpu->cr4 & CR4_SMAP ? MMU_SUPER : MMU_SUPER_AC;
}
static inline unsigned cpu_index_of_cpl(const struct cpu *cpu, unsigned cpl)
{
    return cpl == 3 ? (unsigned)MMU_USER : cpu_index_implicit(cpu);
}

/* ---- mem.c ---------------------------------------------------------------------------------- */

/* Linear accesses with the rights of table `index`; faults are recorded as #PF or, for `seg`, as
 * #GP(0) or #SS(0). */
bool lin_read(struct cpu *cpu, uint64_t lin, unsigned size, unsigned index, uint64_t *v);
bool lin_write(struct cpu *cpu, uint64_t lin, unsigned size, unsigned index, uint64_t v);

/* A stack being pushed to or popped from: the current one, or the one a transfer switches to.
 * Nothing of the CPU changes: the caller stores sp when all is done. */
struct stack {
    uint64_t base, sp, mask; /* mask: what of sp the stack's width uses */
    uint32_t limit, ar;
    unsigned index;          /* TLB table */
    bool flat64;             /* 64-bit code: canonical check instead of limits */
    uint32_t ss_error;       /* error code of #SS */
};
void stack_current(const struct cpu *cpu, struct stack *s);
/* The stack of a data segment `d`, entered at privilege cpl. */
void stack_of(const struct cpu *cpu, struct stack *s, const struct descriptor *d, uint64_t sp,
              unsigned cpl);
/* False with #SS unless [sp - bytes, sp) is within the segment. */
bool stack_room(struct cpu *cpu, const struct stack *s, unsigned bytes);
/* vals[0] is pushed first. Room is checked before anything is written. */
bool stack_push_n(struct cpu *cpu, struct stack *s, unsigned size, const uint64_t *vals,
                  unsigned n);
/* vals[0] is popped first. Limits are checked. */
bool stack_pop_n(struct cpu *cpu, struct stack *s, unsigned size, uint64_t *vals, unsigned n);
static inline uint64_t stack_new_sp(const struct cpu *cpu, const struct stack *s)
{
    return (cpu->r[REG_SP] & ~s->mask) | (s->sp & s->mask);
}

/* ---- seg.c ---------------------------------------------------------------------------------- */

enum desc_status { DESC_OK, DESC_BEYOND, DESC_FAULT };
/* Reads the descriptor of a non-null selector. DESC_BEYOND: outside its table, nothing recorded.
 * DESC_FAULT: the table could not be read, #PF recorded. */
enum desc_status desc_fetch(struct cpu *cpu, uint16_t sel, struct descriptor *d);
/* The same, with DESC_BEYOND turned into `vec`(selector | ext). */
bool desc_get(struct cpu *cpu, uint16_t sel, struct descriptor *d, enum exception vec,
              uint32_t ext);
/* Reads the second half of a 16-byte system descriptor (long mode); true with *d completed.
 * Outside the table: `vec`(selector). */
bool desc_get_upper(struct cpu *cpu, uint16_t sel, struct descriptor *d, enum exception vec,
                    uint32_t ext);
void desc_unpack(struct descriptor *d);
/* Sets the accessed bit in memory and in *d. */
bool desc_touch(struct cpu *cpu, struct descriptor *d);
/* Rewrites the type field in memory (busy bit). */
bool desc_set_type(struct cpu *cpu, struct descriptor *d, unsigned type);
static inline bool desc_fault(struct cpu *cpu, enum exception vec, uint16_t sel, uint32_t ext)
{
    return cpu_raise_code(cpu, vec, (sel & 0xfffcu) | ext);
}
/* Fills the hidden part; no checks, no mode update. */
void seg_set(struct cpu *cpu, unsigned seg, uint16_t sel, const struct descriptor *d);
void seg_set_null(struct cpu *cpu, unsigned seg, uint16_t sel);
/* As virtual-8086 mode has them. */
void seg_set_v86(struct cpu *cpu, unsigned seg, uint16_t sel);
/* Checks of a code segment that a transfer at privilege `cpl` returns or branches to are in far.c;
 * these are those of a new SS for privilege `cpl`, with `vec` (#TS or #GP) for all but absence. */
bool seg_check_ss(struct cpu *cpu, uint16_t sel, unsigned cpl, struct descriptor *d,
                  enum exception vec, uint32_t ext);
/* After a return to an outer level: data segments it may not see become null. */
void seg_drop_inner(struct cpu *cpu);
/* Offset `ip` in code segment d: canonical or within the limit; else #GP(ext). */
bool code_target_ok(struct cpu *cpu, const struct descriptor *d, uint64_t ip, uint32_t ext);

/* ---- task.c --------------------------------------------------------------------------------- */

enum task_reason { TASK_JMP, TASK_CALL, TASK_IRET, TASK_INT };
/* Switches to the task of `sel`, whose descriptor has been read and is a TSS of the right kind
 * (available; busy for IRET). cpu->rip is what the old task resumes at. False: a fault, recorded;
 * *committed then says whether it belongs to the new task already. */
bool task_switch(struct cpu *cpu, uint16_t sel, struct descriptor *d, enum task_reason why,
                 bool has_error, uint32_t error, uint32_t ext, bool *committed);
/* The inner stack pointer for privilege cpl from the TSS. False: #TS or #PF. */
bool task_inner_stack(struct cpu *cpu, unsigned cpl, uint32_t ext, uint16_t *ss, uint64_t *sp);
/* 64-bit TSS: RSPn (ist 0) or ISTn. */
bool task_stack64(struct cpu *cpu, unsigned cpl, unsigned ist, uint32_t ext, uint64_t *sp);
/* Whether the I/O permission map allows the ports; #GP(0) if not. */
bool task_io_allowed(struct cpu *cpu, uint16_t port, unsigned size);

/* ---- interrupt.c, sysregs.c, msr.c, cpuid.c, models.c --------------------------------------- */

/* EFLAGS bits that exist in this model. */
uint64_t cpu_flags_exist(const struct cpu *cpu);
/* Takes over the bits of `mask` from `flags`, arithmetic ones included; no mode update. */
void cpu_change_flags(struct cpu *cpu, uint64_t flags, uint64_t mask);
/* Runs before each instruction under MODE_TRACE: false with a #DB fault recorded when an
 * instruction breakpoint is due at cpu->rip. Uses up EFLAGS.RF. */
bool cpu_check_insn_breakpoint(struct cpu *cpu);
/* Notes I/O breakpoints (CR4.DE) an access to a port meets. */
void cpu_check_io_breakpoint(struct cpu *cpu, uint16_t port, unsigned size);
/* MMU callback: a data breakpoint was met. */
void cpu_watch_hit(void *opaque, unsigned watch, uint64_t addr, unsigned size, bool write);
/* False, nothing recorded, where RDMSR or WRMSR is to raise #GP(0). */
bool cpu_read_msr(struct cpu *cpu, uint32_t msr, uint64_t *v);
bool cpu_write_msr(struct cpu *cpu, uint32_t msr, uint64_t v);
void cpu_reset_msrs(struct cpu *cpu);
uint64_t cpu_tsc(const struct cpu *cpu);
/* For a CR3 that is about to be loaded: under PAE paging its page-directory-pointer entries, too; #GP(0)
 * if one of them is bad. */
bool cpu_load_pdptes(struct cpu *cpu, uint64_t cr3);
uint64_t cpu_cr4_allowed(const struct cpu *cpu);

/* IA32_MISC_ENABLE: what can be switched. Thermal monitor, SpeedStep and xTPR are kept and do nothing, as
 * there is no heat, frequency or bus here. */
#define MISC_ENABLE_FAST_STRINGS BIT64(0)
#define MISC_ENABLE_TM1          BIT64(3)
#define MISC_ENABLE_NO_BTS       BIT64(11)
#define MISC_ENABLE_NO_PEBS      BIT64(12)
#define MISC_ENABLE_SPEEDSTEP    BIT64(16)
#define MISC_ENABLE_MWAIT        BIT64(18)
#define MISC_ENABLE_LIMIT_CPUID  BIT64(22)
#define MISC_ENABLE_XTPR         BIT64(23)
#define MISC_ENABLE_NO_XD        BIT64(34)

struct cpu_model {
    const char *name;
    uint32_t signature; /* CPUID.1:EAX, and EDX at reset */
    uint32_t max_leaf, max_ext_leaf;
    const char *brand;
    struct cpu_features features;
};
const struct cpu_model *cpu_model_find(const char *name);
void cpu_cpuid(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

static inline bool cpu_has(const struct cpu *cpu, enum cpu_feature f)
{
    return feature_has(&cpu->features, f);
}

#endif
