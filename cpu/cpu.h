/* A virtual CPU: its registers, and how the machine runs it.
 *
 * Invariants: r[16] is 0 and r[18] is 2^30 (address arithmetic uses them); RIP is exact in `rip`
 * only between blocks: inside a block it is r[REG_BRIP] + insn->off. Arithmetic flags are lazy:
 * read them with cpu_flags(). `mode` is recomputed by cpu_update_mode() after anything it
 * depends on has changed.
 */
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include "base/bits.h"
#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "mmu/mmu.h"
#include "snapshots/vmstate.h"

enum {
    REG_AX, REG_CX, REG_DX, REG_BX, REG_SP, REG_BP, REG_SI, REG_DI,
    REG_ZERO = 16, /* always 0: "no base", "no index" */
    REG_BRIP = 17, /* RIP of the running block's first byte (offset in CS, not linear) */
    REG_2P30 = 18, /* always 2^30: corrects displacements that wrapped when made block-relative */
    REG_COUNT
};

enum seg_id { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDT, SEG_TSS, SEG_COUNT,
    SEG_NONE = SEG_COUNT /* base 0, no limit: linear addresses */ };

/* Access rights as VMX keeps them (SDM vol. 3, 24.4.1): descriptor bits 40-55. */
enum {
    AR_TYPE = 0xf, AR_S = 1 << 4, AR_DPL_SHIFT = 5, AR_DPL = 3 << 5, AR_P = 1 << 7,
    AR_AVL = 1 << 12, AR_L = 1 << 13, AR_DB = 1 << 14, AR_G = 1 << 15,
    AR_UNUSABLE = 1 << 16, /* loaded with a null selector */
    /* type bits of code and data segments */
    AR_ACCESSED = 1, AR_WRITE = 2 /* data */, AR_READ = 2 /* code */, AR_DOWN = 4 /* data */,
    AR_CONFORMING = 4 /* code */, AR_CODE = 8,
};

struct segreg {
    uint64_t base;
    uint32_t limit; /* in bytes, scaled, inclusive */
    uint32_t ar;
    uint16_t sel;
};

struct desctab {
    uint64_t base;
    uint16_t limit;
};

/* EFLAGS */
enum {
    FL_CF = 1, FL_1 = 2, FL_PF = 4, FL_AF = 0x10, FL_ZF = 0x40, FL_SF = 0x80, FL_TF = 0x100,
    FL_IF = 0x200, FL_DF = 0x400, FL_OF = 0x800, FL_IOPL = 0x3000, FL_NT = 0x4000, FL_RF = 0x10000,
    FL_VM = 0x20000, FL_AC = 0x40000, FL_VIF = 0x80000, FL_VIP = 0x100000, FL_ID = 0x200000,
    FL_ARITH = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF,
};
/* CR0, CR4, EFER */
#define CR0_PE 0x1ull
#define CR0_MP 0x2ull
#define CR0_EM 0x4ull
#define CR0_TS 0x8ull
#define CR0_ET 0x10ull
#define CR0_NE 0x20ull
#define CR0_WP 0x10000ull
#define CR0_AM 0x40000ull
#define CR0_NW 0x20000000ull
#define CR0_CD 0x40000000ull
#define CR0_PG 0x80000000ull
#define CR4_VME 0x1ull
#define CR4_PVI 0x2ull
#define CR4_TSD 0x4ull
#define CR4_DE 0x8ull
#define CR4_PSE 0x10ull
#define CR4_PAE 0x20ull
#define CR4_MCE 0x40ull
#define CR4_PGE 0x80ull
#define CR4_PCE 0x100ull
#define CR4_OSFXSR 0x200ull
#define CR4_OSXMMEXCPT 0x400ull
#define CR4_UMIP 0x800ull
#define CR4_LA57 0x1000ull
#define CR4_FSGSBASE 0x10000ull
#define CR4_PCIDE 0x20000ull
#define CR4_OSXSAVE 0x40000ull
#define CR4_SMEP 0x100000ull
#define CR4_SMAP 0x200000ull
#define CR4_PKE 0x400000ull
#define EFER_SCE 0x1ull
#define EFER_LME 0x100ull
#define EFER_LMA 0x400ull
#define EFER_NXE 0x800ull
#define EFER_FFXSR 0x4000ull

enum exception {
    EXC_DE, EXC_DB, EXC_NMI, EXC_BP, EXC_OF, EXC_BR, EXC_UD, EXC_NM, EXC_DF, EXC_CSO, EXC_TS,
    EXC_NP, EXC_SS, EXC_GP, EXC_PF, EXC_15, EXC_MF, EXC_AC, EXC_MC, EXC_XM,
    EXC_NONE = 255
};

/* Lazy flags: cc_res is the result sign-extended to 64 bits, cc_a the first operand (or what the
 * kind says), cc_op = kind * 4 + log2(size). ZF is cc_res == 0 whatever the kind.
 * CC_FLAGS: cc_a holds CF PF AF SF OF as EFLAGS bits, cc_res is 0 exactly if ZF. */
enum cc_kind {
    CC_FLAGS, CC_ADD, CC_ADC /* carry came in */, CC_SUB, CC_SBB /* borrow came in */, CC_LOGIC,
    CC_INC /* cc_a: CF */, CC_DEC /* cc_a: CF */,
    CC_SHIFT /* cc_a: CF and OF as EFLAGS bits; AF clear */, CC_KINDS,
    CC_HOST = CC_KINDS /* only while translated code runs: in tr.host_flags, as LAHF and SETO have them */
};

/* What blocks of decoded instructions depend on, besides their bytes. */
enum {
    MODE_CODE32 = 1 << 0,   /* CS.D and not 64-bit code */
    MODE_CODE64 = 1 << 1,   /* CS.L and EFER.LMA */
    MODE_STACK32 = 1 << 2,  /* SS.B, and not 64-bit */
    MODE_PE = 1 << 3,
    MODE_VM86 = 1 << 4,
    MODE_FLAT = 1 << 5,     /* DS, ES, SS and CS base 0, limit 4 GiB, readable, writable (not CS) */
    MODE_USER = 1 << 6,     /* CPL 3 */
    MODE_SINGLE = 1 << 7,   /* one instruction a block: TF, shadows, end of a budget, hooks */
    MODE_AC = 1 << 8,       /* alignment checked: CR0.AM, EFLAGS.AC, CPL 3 */
    MODE_TRACE = 1 << 9,    /* hooks or traces before every instruction */
    MODE_FPU = 1 << 10,     /* CR0.EM and TS clear: x87 and MMX need no look at CR0 */
    MODE_SSE = 1 << 11,     /* ... and CR4.OSFXSR set: SSE needs no look at CR0 and CR4 */
    MODE_AVX = 1 << 12,     /* CR0.TS clear, CR4.OSXSAVE, SSE and AVX in XCR0: VEX needs no look */
};

/* CPU features: one bit each, in insn.def's rows and in the models. Some stand for generations. */
enum cpu_feature {
    F_86, F_186, F_286, F_386, F_486, F_PENTIUM, F_CMOV, F_FPU, F_MMX, F_SSE, F_SSE2, F_SSE3,
    F_SSSE3, F_SSE41, F_SSE42, F_POPCNT, F_AES, F_PCLMUL, F_MOVBE, F_BMI1, F_BMI2, F_LZCNT, F_CX8,
    F_CX16, F_FXSR, F_XSAVE, F_XSAVEOPT, F_XSAVEC, F_XSAVES, F_FSGSBASE, F_RDRAND, F_RDSEED,
    F_INVPCID, F_PCID, F_SMEP, F_SMAP, F_UMIP, F_RDTSCP, F_SYSCALL, F_SEP, F_LM, F_NX, F_PSE,
    F_PSE36, F_PAE,
    F_PGE, F_TSC, F_MSR, F_APIC, F_X2APIC, F_MTRR, F_PAT, F_CLFLUSH, F_CLFLUSHOPT, F_CLWB, F_MONITOR,
    F_1GB, F_LAHF64, F_VME, F_DE, F_MCE, F_MCA, F_TSCDEADLINE, F_ERMS, F_AVX, F_AVX2, F_FMA,
    F_F16C, F_SHA, F_ADX, F_PKU, F_RDPID, F_GFNI, F_VAES, F_VPCLMUL, F_CPUID, F_3DNOWPREFETCH,
    F_FSRM, F_INVTSC, F_ARAT, F_HYPERVISOR,
    F_64BIT_ONLY, F_COUNT
};
struct cpu_features {
    uint64_t bits[2];
};
static inline bool feature_has(const struct cpu_features *f, enum cpu_feature n)
{
    return f->bits[n >> 6] >> (n & 63) & 1;
}

/* A vector register: 32 bytes in guest (little-endian) order; use ld and st helpers for lanes. */
union vec {
    uint8_t b[32];
    uint64_t align_;
};

/* An x87 register: sign and exponent, significand with its explicit integer bit. */
struct fpreg {
    uint64_t mant;
    uint16_t se;
};

struct fpu {
    struct fpreg st[8]; /* physical: ST(i) is st[(top + i) & 7]; MMn is st[n].mant */
    uint16_t cw, sw;    /* sw without TOP, which is kept in top */
    uint8_t top;
    uint8_t tags;       /* bit n: physical register n is not empty */
    uint16_t fop, fcs, fds;
    uint64_t fip, fdp;
    uint32_t mxcsr;
};

/* Translated code, as profilers and debuggers want to know of it. */
struct cpu_code {
    const void *host;
    size_t size;
    uint64_t lin;
    unsigned bits; /* of the guest's code: 16, 32, 64; 0: a routine of the translator's */
    bool user;
};

/* Everything outside the CPU it can ask for; all take env.opaque. */
struct cpu_env {
    void *opaque;
    struct physmap *mem;
    struct log *log;
    uint32_t (*port_in)(void *, uint16_t port, unsigned size);
    void (*port_out)(void *, uint16_t port, uint32_t value, unsigned size);
    /* Acknowledges the highest pending interrupt: its vector, or -1 if there is none after all. */
    int (*intr_ack)(void *);
    uint64_t (*tsc)(void *); /* virtual time in TSC ticks, exact to the running instruction */
    void (*tsc_moved)(void *); /* the TSC was written: its deadline is due at another time; or NULL */
    /* MSRs that belong to devices (APIC base, x2APIC, TSC deadline). False: #GP. */
    bool (*msr_read)(void *, uint32_t msr, uint64_t *value);
    bool (*msr_write)(void *, uint32_t msr, uint64_t value);
    uint8_t (*cr8_get)(void *);
    void (*cr8_set)(void *, uint8_t value);
    void (*ferr)(void *, int level); /* FERR# (IRQ 13) when CR0.NE is clear */
    void (*shutdown)(void *, const char *why); /* triple fault */
    uint64_t (*random)(void *);

    /* CPUs run at the same time, each on a thread of its own (docs/adr/0004): then the following are
     * there, and all of the above may be called by several at once. */
    bool parallel;
    /* The board's lock: around what is shared with devices and other CPUs. Never waits for a CPU. */
    void (*enter)(void *);
    void (*leave)(void *);
    /* CPU_HOLD: another CPU, or the machine, wants this one to stand still; returns when it may go on. */
    void (*hold)(void *);
    /* CPU_CODE: what others wrote to code of this CPU is to be dropped. */
    void (*code_requests)(void *);
    /* Waits until all other CPUs stand still between two blocks (on), and lets them go. */
    void (*alone)(void *, bool on);
    /* Takes the store pages [ra, ra+size) out of the write tags of these CPUs (a bit each), which stand
     * still meanwhile. As `alone`, only between blocks and without the lock. */
    void (*protect)(void *, unsigned cpus, uint64_t ra, uint64_t size);
    void (*spin)(void *); /* PAUSE */
    /* May be NULL: host code was made; the host's bytes [host, host+size) are code no more. */
    void (*code_made)(void *, const struct cpu_code *);
    void (*code_dropped)(void *, const void *host, size_t size);
};

/* Reasons to leave the run loop or to look up between blocks; set by anyone with cpu_interrupt,
 * cleared by cpu_clear_interrupt. */
enum {
    CPU_INTR = 1 << 0, /* level: the interrupt controller has something */
    CPU_NMI = 1 << 1,  /* edge */
    CPU_INIT = 1 << 2, /* edge */
    CPU_SIPI = 1 << 3, /* edge; vector in sipi_vector */
    CPU_STOP = 1 << 4, /* return from cpu_run soon: CPU_EXIT_STOP */
    CPU_FLUSH = 1 << 5, /* flush all TLBs before the next block */
    CPU_LEAVE = 1 << 6, /* the interpreter's own: no block leads on to another */
    CPU_FLUSH_CODE = 1 << 7, /* drop all decoded and translated code before the next block */
    CPU_HOLD = 1 << 8, /* env.hold before the next block */
    CPU_CODE = 1 << 9, /* env.code_requests before the next block */
    CPU_A20 = 1 << 10, /* take over a20_wanted before the next block */
};

enum cpu_exit {
    CPU_EXIT_BUDGET,   /* the number of instructions asked for has been executed */
    CPU_EXIT_HALT,     /* HLT or MWAIT, and no interrupt pending: see cpu->activity */
    CPU_EXIT_STOP,     /* CPU_STOP was set */
    CPU_EXIT_SHUTDOWN, /* triple fault; env.shutdown was told */
};

enum cpu_activity { CPU_ACTIVE, CPU_HALTED, CPU_MWAIT, CPU_WAIT_SIPI, CPU_SHUTDOWN };

struct block;
struct block_cache;
struct decode_tables;
struct insn;

#define CPU_SPANS 6

/* What translated code addresses besides the CPU's registers; valid while it runs. */
struct cpu_jit {
    uint64_t rip_page;       /* RIP of the first byte of the page that runs */
    struct jit_jump *jumps;  /* where indirect branches led last */
    uint64_t host_sp;        /* the host's stack pointer as generated code was entered */
    uint64_t host_frames;    /* ... while it has no frame of a call (x64_frame.c) */
    uint64_t host_low;       /* ... below which there may be no more of them */
    uint64_t spill;          /* a value kept across a TLB check */
    uint64_t lent;           /* of a guest register while its host register is in use otherwise */
    uint64_t linear;         /* address of the operand being checked */
    uint64_t span[CPU_SPANS]; /* addends of pages that have been checked for more than one access */
    struct block *broken;    /* unit whose check for several accesses has failed, or NULL */
    uint32_t cookie;         /* names address space, its TLB generation and mode in `jumps` */
    uint32_t vec_live;       /* guest vector registers are in the host's: enum jit_vec */
    uint32_t host_flags;     /* arithmetic flags as LAHF and SETO give them: flags.h */
    uint32_t host_mxcsr;     /* the host's own */
    uint32_t x87_live;       /* where guest x87 registers are: enum jit_x87 */
    uint16_t host_cw;        /* the host's own x87 control word */
    bool code_dropped;       /* since it was entered: maybe what runs, or what it goes on to */
    uint64_t accesses;       /* to memory, where code was made to count them (statistics) */
    struct jit *jit;         /* NULL: no translator */
    _Alignas(16) uint8_t vec_spill[48]; /* vector registers and operands of one instruction */
};

#define SEG_ENDS 6 /* ES to GS */

struct cpu {
    uint64_t r[REG_COUNT]; /* first: generated code and handlers address it with short offsets */
    uint64_t cc_res, cc_a;
    uint32_t cc_op;
    uint32_t mode;
    uint64_t temp;               /* what the interpreter's slow loads return */
    int64_t budget;              /* instructions left before the loop must look up */
    const struct insn *cur;      /* set before anything that may fault, call out or look at RIP */
    struct block *blk;           /* running block, or NULL */
    struct tlb_entry *tlb;       /* mmu.tlb->e[mmu_index], set whenever blocks are entered */
    struct insn *stopper;        /* a handler replaced to leave early, or NULL: cpu/interp.c */
    struct block *stopper_blk;
    void (*stopped_fn)(void);
    struct cpu_jit tr;           /* the translator's: cpu/jit/ */
    uint64_t seg_base[SEG_COUNT + 1]; /* effective: 0 for CS DS ES SS in 64-bit code; last is 0 */
    /* First offset past what may be read and written (at [SEG_ENDS] and on) without a fault of the segment;
     * 0 where it takes a closer look. Of no meaning in 64-bit code. */
    uint64_t seg_end[2 * SEG_ENDS];
    uint32_t mmu_index;          /* of the CPL and EFLAGS.AC: enum mmu_index */
    uint32_t pending;            /* CPU_INTR...; atomic */
    uint32_t pending_mask;       /* the part of pending that stops a run of blocks */
    struct mmu mmu;

    uint64_t rip;
    uint64_t eflags; /* all but the arithmetic flags, which are lazy; bit 1 set */
    struct segreg seg[SEG_COUNT];
    struct desctab gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, xcr0, efer;
    uint64_t dr[8];
    uint8_t cpl;

    struct fpu fpu;
    union vec xmm[16];

    /* MSRs */
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t star, lstar, cstar, fmask, kernel_gs_base, tsc_aux, pat, misc_enable, spec_ctrl;
    uint64_t tsc_offset, tsc_adjust, debugctl;
    uint64_t mtrr_def, mtrr_fixed[11], mtrr_base[8], mtrr_mask[8];
    uint64_t mcg_status, mcg_ctl, bios_sign;
    uint32_t pkru;

    /* Delivery */
    uint8_t exc_vector;    /* raised by the running instruction; EXC_NONE if none */
    bool exc_has_error;
    uint32_t exc_error;
    bool exc_is_trap;      /* #DB and #BP style: RIP is already past the instruction */
    uint64_t pending_dr6;  /* debug traps due after the running instruction: DR6 bits */
    bool shadow_intr;      /* interrupts held off for one instruction: STI, MOV SS, POP SS */
    bool shadow_ss;        /* ... and debug traps too: MOV SS, POP SS */
    bool nmi_blocked;      /* until IRET */
    bool step_done;        /* the running instruction cleared TF for good: no trap after it */
    bool mwait_masked;     /* MWAIT asked to be woken by interrupts even with IF clear */
    uint8_t activity;      /* enum cpu_activity */
    uint8_t sipi_vector;
    uint64_t monitor_addr; /* physical line armed by MONITOR; UINT64_MAX: none */
    bool is_bsp;
    uint32_t index; /* vCPU number, initial APIC ID */
    bool a20_wanted;       /* for CPU_A20; atomic */
    bool again;            /* an instruction left to be executed once more, with nothing changed */
    bool alone_wanted;     /* ... with all other CPUs standing still */
    bool is_alone;         /* they do */
    uint64_t retired;      /* instructions executed since power-on, without the running slice */
    int64_t slice;         /* budget at the start of the slice: see cpu_retired() */

    struct cpu_features features;
    const struct cpu_model *model;
    uint32_t ncpus;
    struct block_cache *blocks;
    const struct decode_tables *decode;
    struct cpu_env env;
    uint64_t stat_blocks, stat_block_misses, stat_exceptions, stat_interrupts;
};
extern const struct vmstate vm_cpu;

/* model is a name from cpu_model_name(); env is copied. NULL with *err filled on failure. */
struct cpu *cpu_new(const char *model, unsigned index, unsigned ncpus, const struct cpu_env *env,
                    struct error *err);
void cpu_free(struct cpu *cpu);
/* What is enough for one CPU's code; guests run faster with more. */
#define CODE_CACHE_MIN ((size_t)512 * 1024)
/* Bounds decoded code, before the CPU runs. False if there is no such memory: as it was. */
bool cpu_set_code_cache(struct cpu *cpu, size_t bytes);
/* Translates blocks that have been entered `threshold` times (0: as many as pays). Decoded and translated
 * code together take so many bytes. False if there is no backend for this
 * host, or no such memory: everything is interpreted then. Before the CPU runs. */
bool cpu_use_translator(struct cpu *cpu, size_t bytes, unsigned threshold);
const char *cpu_model_name(unsigned n); /* NULL past the last */
/* Power-on or INIT state, SDM vol. 3, table 9-1. */
void cpu_reset(struct cpu *cpu, bool init_only);

/* Executes at most n instructions; *executed says how many were. */
enum cpu_exit cpu_run(struct cpu *cpu, uint64_t n, uint64_t *executed);
/* Instructions executed so far, exact also when called back from inside a run (MMIO, RDTSC). */
uint64_t cpu_retired(const struct cpu *cpu);
/* What the CPU is to look at between blocks; others set bits at any time. */
static inline uint32_t cpu_pending(const struct cpu *cpu)
{
    return __atomic_load_n(&cpu->pending, __ATOMIC_RELAXED);
}
static inline bool cpu_is_due(const struct cpu *cpu)
{
    return cpu_pending(cpu) & cpu->pending_mask;
}
/* May be called from any thread. */
void cpu_interrupt(struct cpu *cpu, uint32_t what);
void cpu_clear_interrupt(struct cpu *cpu, uint32_t what);
/* True if a halted CPU would wake now. */
bool cpu_can_wake(const struct cpu *cpu);
/* A20 from the next block on; from any thread. */
void cpu_set_a20(struct cpu *cpu, bool on);
/* physmap listeners call these. A write hit lines of code in [ra, ra+size), within one page: the n
 * CPUs that share the memory drop the blocks it overlaps. With CPUs on threads: this thread's own, or
 * one that stands still, and with the lock. */
void cpu_code_written(struct cpu *const *cpus, unsigned n, uint64_t ra, unsigned size);
void cpu_view_changed(struct cpu *cpu);

/* Current EFLAGS in full; and setting all of them (no checks, mode updated by the caller). */
uint64_t cpu_flags(const struct cpu *cpu);
void cpu_set_flags(struct cpu *cpu, uint64_t flags);
/* Recomputes mode, seg_base and mmu_index. */
void cpu_update_mode(struct cpu *cpu);

#endif
