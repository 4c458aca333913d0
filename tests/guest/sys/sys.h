/* The runtime of the system-behaviour guests: small multiboot kernels, one per topic, each a list of
 * checks of what the processor does where the manual (SDM) leaves no choice. They know nothing of
 * the emulator: the same files run under QEMU, Bochs and on hardware.
 *
 * A topic is one .c file, with checks in guest_main(). CODE() names a piece of assembly; run() executes
 * it at CPL 0, run_user() elsewhere, with registers loaded from `in`; what ended it is in `trap`: the
 * vector, or NONE when it returned (at CPL 0 by RET, in user code by INT 0x30), with all registers as
 * they were. A piece may be abandoned anywhere: the run goes back to its caller's stack.
 *
 * trap_hook sees every exception and interrupt first and may resume it by returning true.
 *
 * Memory: identity mapped; the image from 1 MiB; page_alloc() gives zeroed pages above that. 64-bit
 * guests start with paging on, 4 GiB in 2 MiB user pages; 32-bit ones with paging off.
 */
#ifndef SYS_H
#define SYS_H

/* Selectors. The order serves SYSCALL, SYSRET (from 0x18) and SYSEXIT (from 0x08). */
#define KCODE    0x08 /* of the guest's own width */
#define KDATA    0x10
#define UCODE32  0x1b
#define UDATA    0x23
#define UCODE64  0x2b
#define UDATA2   0x33
#define KCODE32  0x38
#define TSS_SEL  0x40 /* 16 bytes in 64-bit guests */
#define DFTSS    0x50 /* 32-bit: the task of #DF */
#define GDT_FREE 0x60 /* from here on for the topics */
#define GDT_SIZE 0x200

#define VEC_DONE 0x30 /* ends user code */
#define VEC_SPUR 0x31

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef unsigned long ulong;

#ifdef __x86_64__
#define BITS  64
#define UCODE UCODE64
#else
#define BITS  32
#define UCODE UCODE32
#endif

enum {
    NONE = -1,
    DE = 0,
    DB = 1,
    NMI = 2,
    BP = 3,
    OF = 4,
    BR = 5,
    UD = 6,
    NM = 7,
    DF = 8,
    TS = 10,
    NP = 11,
    SS = 12,
    GP = 13,
    PF = 14,
    MF = 16,
    AC = 17,
    MC = 18,
    XM = 19,
};

/* Flags, control register bits, page table bits, page fault error bits. */
enum {
    FL_CF = 1,
    FL_PF = 4,
    FL_ZF = 0x40,
    FL_SF = 0x80,
    FL_TF = 0x100,
    FL_IF = 0x200,
    FL_DF = 0x400,
    FL_OF = 0x800,
    FL_IOPL = 0x3000,
    FL_NT = 0x4000,
    FL_RF = 0x10000,
    FL_VM = 0x20000,
    FL_AC = 0x40000,
    FL_VIF = 0x80000,
    FL_VIP = 0x100000,
    FL_ID = 0x200000,
};
#define CR0_PE 1u
#define CR0_MP 2u
#define CR0_EM 4u
#define CR0_TS 8u
#define CR0_NE 0x20u
#define CR0_WP 0x10000u
#define CR0_AM 0x40000u
#define CR0_PG 0x80000000u
enum {
    CR4_VME = 1,
    CR4_PVI = 2,
    CR4_TSD = 4,
    CR4_DE = 8,
    CR4_PSE = 0x10,
    CR4_PAE = 0x20,
    CR4_PGE = 0x80,
    CR4_PCE = 0x100,
    CR4_OSFXSR = 0x200,
    CR4_OSXMM = 0x400,
    CR4_UMIP = 0x800,
    CR4_LA57 = 0x1000,
    CR4_FSGSBASE = 0x10000,
    CR4_PCIDE = 0x20000,
    CR4_OSXSAVE = 0x40000,
    CR4_SMEP = 0x100000,
    CR4_SMAP = 0x200000,
    CR4_PKE = 0x400000,
};
enum { P = 1, W = 2, U = 4, PWT = 8, PCD = 16, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define XD (1ull << 63)
enum { PFE_P = 1, PFE_W = 2, PFE_U = 4, PFE_RSVD = 8, PFE_I = 16, PFE_PK = 32 };
#define MSR_EFER 0xc0000080u
enum { EFER_SCE = 1, EFER_LME = 0x100, EFER_LMA = 0x400, EFER_NXE = 0x800 };

struct regs {
    ulong ax, cx, dx, bx, bp, si, di;
#ifdef __x86_64__
    ulong r8, r9, r10, r11, r12, r13, r14, r15;
#endif
};

/* What the stubs in trap.S push. */
struct frame {
#ifdef __x86_64__
    ulong r15, r14, r13, r12, r11, r10, r9, r8, di, si, bp, bx, dx, cx, ax;
#else
    ulong gs, fs, es, ds, di, si, bp, unused, bx, dx, cx, ax;
#endif
    ulong vector, error, ip, cs, flags;
    ulong sp, ss; /* 32-bit: there only when the privilege level changed */
#ifndef __x86_64__
    ulong v_es, v_ds, v_fs, v_gs; /* from virtual-8086 mode */
#endif
};

struct trap {
    int vector;
    ulong error, ip, cs, flags, sp, ss, cr2, dr6;
    ulong frame_at;       /* address of the pushed IP, or of the error code below it */
    ulong ds, es, fs, gs; /* 32-bit: before the handler; as pushed, when out of V86 mode */
    struct regs r;
};

struct user {
    ulong cs, ss, sp, flags;
};

#define MAX_CPUS 8

extern struct trap trap; /* of processor 0; the others share what serves them */
extern struct regs in;   /* what run() loads */
extern struct user user; /* what run_user() enters with */
extern bool (*trap_hook)(struct frame *f);
extern u64 gdt[GDT_SIZE / 8];
extern u8 tss[];        /* of processor 0: 104 bytes and an I/O map that allows nothing */
extern u8 user_stack[]; /* its end: user_stack_top */
extern u8 user_stack_top[];
extern u8 run_stack_top[]; /* of what run() runs, and of level 0 in run_user(): kept afterwards */
extern u8 stub_table[];    /* 16 bytes a vector */

/* A piece of assembly: name is where it starts. In it %q0..: none; it is plain text. */
#define CODE(name, text)                                                                           \
    extern char name[], name##_end[];                                                              \
    __asm__(".pushsection .text\n.balign 16\n.globl " #name "\n" #name ":\n" text "\n" #name       \
            "_end:\n.popsection\n")
/* A label inside CODE that C can take the address of: write it as `lbl:` with LABEL(lbl). */
#define LABEL(name) extern char name[]

int run(const void *code);
int run_user(const void *code);
/* ENDs a piece of user code. */
#define DONE "\n int $0x30\n"

void guest_main(void);

/* Checks. Each prints itself when it fails. */
void check_at(int line, const char *what, u64 got, u64 want);
void check_true_at(int line, const char *what, bool ok);
void expect_at_line(int line, const char *what, int vector, ulong error);
#define CHECK(what, got, want) check_at(__LINE__, what, got, want)
#define CHECK_TRUE(what, ok)   check_true_at(__LINE__, what, ok)
/* The last run ended with this vector, and error code if it has one. */
#define EXPECT(what, vector, error)     expect_at_line(__LINE__, what, vector, error)
#define RUN(what, code, vector, error)  (run(code), EXPECT(what, vector, error))
#define USER(what, code, vector, error) (run_user(code), EXPECT(what, vector, error))
bool checks_failed(void);
void say(const char *fmt, ...); /* %d %x %s, and %lx for 64 bits */
void finish(void) __attribute__((noreturn));
/* The number after "name=" on the command line. */
u64 parameter(const char *name, u64 otherwise);
void skip(const char *why); /* a topic the processor does not have: said, and passed */

/* Tables. */
void idt_set(unsigned vector, u16 sel, const void *to, unsigned type_dpl_p, unsigned ist);
void idt_default(unsigned vector); /* the runtime's own gate again */
void idt_raw(unsigned vector, u64 lo, u64 hi);
u64 seg_desc(u32 base, u32 limit, unsigned access, unsigned flags); /* limit as the field has it */
u64 gate_desc(u16 sel, ulong to, unsigned access, unsigned params);
#define ACC_CODE 0x9b /* P, DPL 0, readable, accessed */
#define ACC_DATA 0x93
#define DPL(n)   ((n) << 5)
#define FL_G     8
#define FL_DB    4
#define FL_L     2

/* Memory. */
void *page_alloc(void);
void *pages_alloc(unsigned n);
void paging_on(int levels); /* 32-bit: 2, or 3 for PAE; identity for 4 GiB with user large pages */
void paging_off(void);
void *pte(ulong va); /* of the 4 KiB page; larger ones are split */
u64 pte_get(ulong va);
void pte_set(ulong va, u64 value); /* and INVLPG */
u64 *pde(ulong va);                /* 64-bit entries: that of 2 MiB */
extern int paging_levels;
extern ulong page_root;

void *memset(void *d, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* Other processors. */
void apic_on(void);
u32 apic_read(u32 reg);
void apic_write(u32 reg, u32 v);
unsigned cpu_index(void);
unsigned cpus_start(void);                   /* how many there are, this one included */
void cpu_do(unsigned cpu, void (*fn)(void)); /* starts fn there */
void cpu_wait(unsigned cpu);
extern volatile unsigned cpus_started;
void pic_mask_all(void);

static inline void outb(u16 port, u8 v)
{
    __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}
static inline void outw(u16 port, u16 v)
{
    __asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port));
}
static inline void outl(u16 port, u32 v)
{
    __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}
static inline u8 inb(u16 port)
{
    u8 v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline u16 inw(u16 port)
{
    u16 v;
    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline u32 inl(u16 port)
{
    u32 v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
#define DEFINE_REG(name, reg)                                                                      \
    static inline ulong get_##name(void)                                                           \
    {                                                                                              \
        ulong v;                                                                                   \
        __asm__ volatile("mov %%" reg ", %0" : "=r"(v)::"memory");                                 \
        return v;                                                                                  \
    }                                                                                              \
    static inline void set_##name(ulong v)                                                         \
    {                                                                                              \
        __asm__ volatile("mov %0, %%" reg ::"r"(v) : "memory");                                    \
    }
DEFINE_REG(cr0, "cr0")
DEFINE_REG(cr2, "cr2")
DEFINE_REG(cr3, "cr3")
DEFINE_REG(cr4, "cr4")
DEFINE_REG(dr0, "dr0")
DEFINE_REG(dr1, "dr1")
DEFINE_REG(dr2, "dr2")
DEFINE_REG(dr3, "dr3")
DEFINE_REG(dr6, "dr6")
DEFINE_REG(dr7, "dr7")
static inline void invlpg(ulong va)
{
    __asm__ volatile("invlpg (%0)" ::"r"(va) : "memory");
}
static inline void cpuid(u32 leaf, u32 sub, u32 out[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                     : "a"(leaf), "c"(sub));
}
/* Whether CPUID's bit is set: register 0 to 3 for EAX to EDX. */
static inline bool has(u32 leaf, unsigned reg, unsigned bit)
{
    u32 r[4];

    cpuid(leaf & 0x80000000, 0, r);
    if (r[0] < leaf)
        return false;
    cpuid(leaf, 0, r);
    return r[reg] >> bit & 1;
}
/* QEMU's TCG, known to differ from the manual in places that the topics name. */
static inline bool on_qemu(void)
{
    u32 r[4];

    cpuid(0x40000000, 0, r);
    return r[1] == 0x54474354; /* TCGT */
}
#define HAS_PCID    has(1, 2, 17)
#define HAS_XSAVE   has(1, 2, 26)
#define HAS_NX      has(0x80000001, 3, 20)
#define HAS_SSE2    has(1, 3, 26)
#define HAS_SSE42   has(1, 2, 20)
#define HAS_SMEP    has(7, 1, 7)
#define HAS_INVPCID has(7, 1, 10)
#define HAS_SMAP    has(7, 1, 20)
#define HAS_UMIP    has(7, 2, 2)
#define HAS_PKU     has(7, 2, 3)
#define HAS_TSCDL   has(1, 2, 24)
#define HAS_1G      has(0x80000001, 3, 26)
static inline u64 rdmsr(u32 msr)
{
    u32 lo, hi;
    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return lo | (u64)hi << 32;
}
static inline void wrmsr(u32 msr, u64 v)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}
static inline u64 rdtsc(void)
{
    u32 lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return lo | (u64)hi << 32;
}
static inline void sti(void)
{
    __asm__ volatile("sti" ::: "memory");
}
static inline void cli(void)
{
    __asm__ volatile("cli" ::: "memory");
}
static inline ulong get_flags(void)
{
    ulong v;
    __asm__ volatile("pushf; pop %0" : "=r"(v)::"memory");
    return v;
}
static inline u32 ld32(const void *p)
{
    return *(const volatile u32 *)p;
}
static inline void st32(void *p, u32 v)
{
    *(volatile u32 *)p = v;
}
static inline void st16(void *p, u16 v)
{
    *(volatile u16 *)p = v;
}
#endif
#endif
