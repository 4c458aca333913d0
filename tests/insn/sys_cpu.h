/* What the tests of the CPU's system side share: a CPU with 8 MiB of memory, its descriptor tables, gates
 * and TSS, and ways into each mode.
 *
 *     new_cpu("max"); protected_mode(3); RUN("\x0f\x0b", 1); expect_fault(EXC_UD, -1); drop_cpu();
 *
 * Linear addresses are physical ones, with paging (long mode) up to 8 MiB. Each handler is a HLT.
 */
#ifndef TESTS_INSN_SYS_CPU_H
#define TESTS_INSN_SYS_CPU_H

#include "cpu/sys.h"
#include "tests/unit/suite.h"

enum {
    GDT = 0x1000, IDT = 0x2000, TSS = 0x3000, TSS2 = 0x4000, CODE = 0x10000, HANDLERS = 0x11000,
    STACK0 = 0x20000, STACK3 = 0x30000, TABLES = 0x40000,
    /* selectors */
    K_CODE = 0x08, K_DATA = 0x10, U_CODE = 0x1b, U_DATA = 0x23, K_TSS = 0x28, K_CODE64 = 0x30,
    K_TSS64 = 0x38, SYSRET_BASE = 0x48, CALL_GATE = 0x60, K_TSS2 = 0x68, CONFORMING = 0x70,
    ABSENT = 0x78, TASK_GATE = 0x80, U_CODE64 = 0x5b, U_DATA64 = 0x53,
};

static struct physmap *map;
static struct phys_region ram;
static struct cpu *cpu;
static unsigned shutdowns;
static uint32_t last_out;
static int next_vector;

static inline uint32_t port_in(void *opaque, uint16_t port, unsigned size)
{
    return 0x11223344;
}
static inline void port_out(void *opaque, uint16_t port, uint32_t value, unsigned size)
{
    last_out = value;
}
static inline int intr_ack(void *opaque)
{
    cpu_clear_interrupt(cpu, CPU_INTR);
    return next_vector;
}
static inline uint64_t tsc(void *opaque)
{
    return cpu_retired(cpu);
}
static inline bool msr_read(void *opaque, uint32_t msr, uint64_t *value)
{
    *value = 0xfee00900;
    return msr == 0x1b;
}
static inline bool msr_write(void *opaque, uint32_t msr, uint64_t value)
{
    return false;
}
static inline uint8_t cr8_get(void *opaque)
{
    return 5;
}
static inline void cr8_set(void *opaque, uint8_t value)
{
}
static inline void shutdown_seen(void *opaque, const char *why)
{
    shutdowns++;
}
static inline uint64_t random_word(void *opaque)
{
    return 4;
}
static inline void view_changed(void *opaque)
{
    cpu_view_changed(cpu);
}
static inline void flags_set(void *opaque, uint64_t ra, uint64_t size)
{
    mmu_protect_ra(&cpu->mmu, ra, size);
}
static inline void code_written(void *opaque, uint64_t ra, unsigned size)
{
    cpu_code_written(&cpu, 1, ra, size);
}

static inline void put(uint64_t at, uint64_t v, unsigned size)
{
    physmap_write(map, at, v, size);
}
static inline uint64_t get(uint64_t at, unsigned size)
{
    return physmap_read(map, at, size);
}

static inline void put_desc(unsigned sel, uint32_t base, uint32_t limit, uint32_t ar)
{
    uint64_t d = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(ar & 0xff) << 40 |
                 (uint64_t)(limit & 0xf0000) << 32 | (uint64_t)(ar & 0xf000) << 40 |
                 (uint64_t)(base & 0xff000000) << 32;
    put(GDT + (sel & ~7u), d, 8);
}

static inline void put_gate(unsigned vector, unsigned sel, uint32_t offset, unsigned type, unsigned dpl,
                     bool wide, unsigned ist)
{
    uint64_t d = (offset & 0xffff) | (uint64_t)sel << 16 | (uint64_t)ist << 32 |
                 (uint64_t)(0x80 | dpl << 5 | type) << 40 | (uint64_t)(offset & 0xffff0000) << 32;
    put(IDT + vector * (wide ? 16 : 8), d, 8);
    if (wide)
        put(IDT + vector * 16 + 8, 0, 8);
}

static inline uint32_t handler(unsigned vector)
{
    return HANDLERS + vector * 16;
}

static inline void new_cpu(const char *model)
{
    static const struct physmap_listener l = {NULL, view_changed, flags_set, code_written};
    struct cpu_env env = {
        .port_in = port_in, .port_out = port_out, .intr_ack = intr_ack, .tsc = tsc,
        .msr_read = msr_read, .msr_write = msr_write, .cr8_get = cr8_get, .cr8_set = cr8_set,
        .shutdown = shutdown_seen, .random = random_word,
    };
    unsigned k;

    map = physmap_new(16 * MIB, NULL, NULL);
    env.mem = map;
    cpu = cpu_new(model, 0, 1, &env, NULL);
    ck_assert_ptr_nonnull(cpu);
    physmap_set_listener(map, &l);
    physmap_add_ram(map, &ram, "ram", 0, 8 * MIB, physmap_store_alloc(map, 8 * MIB), 0);
    shutdowns = 0;
    for (k = 0; k < 256; k++)
        put(handler(k), 0xf4, 1); /* hlt */

    put_desc(K_CODE, 0, 0xfffff, 0xc09b);
    put_desc(K_DATA, 0, 0xfffff, 0xc093);
    put_desc(U_CODE, 0, 0xfffff, 0xc0fb);
    put_desc(U_DATA, 0, 0xfffff, 0xc0f3);
    put_desc(K_TSS, TSS, 0x2067, 0x8b);
    put_desc(K_CODE64, 0, 0xfffff, 0xa09b);
    put_desc(K_TSS64, TSS, 0x67, 0x89);
    put_desc(SYSRET_BASE, 0, 0xfffff, 0xc0fb);
    put_desc(SYSRET_BASE + 8, 0, 0xfffff, 0xc0f3);
    put_desc(SYSRET_BASE + 16, 0, 0xfffff, 0xa0fb);
    put_desc(K_TSS2, TSS2, 0x67, 0x89);
    put_desc(CONFORMING, 0, 0xfffff, 0xc09f);
    put_desc(ABSENT, 0, 0xfffff, 0xc073);
    put(GDT + CALL_GATE, (uint64_t)(HANDLERS & 0xffff) | K_CODE << 16 | 0xec02ull << 32 |
        (uint64_t)(HANDLERS & 0xffff0000) << 32, 8); /* 32-bit, DPL 3, two parameters */
    put(GDT + TASK_GATE, (uint64_t)K_TSS2 << 16 | 0xe500ull << 32, 8);
    put(TSS + 4, STACK0, 4); /* ESP0, SS0 */
    put(TSS + 8, K_DATA, 4);
    put(TSS + 102, 104 + 32, 2); /* I/O map, with the redirection map below it */
}

static inline void drop_cpu(void)
{
    cpu_free(cpu);
    physmap_free(map);
}

static inline void set_seg(unsigned seg, uint16_t sel, uint32_t ar)
{
    cpu->seg[seg] = (struct segreg){.limit = 0xffffffff, .ar = ar, .sel = sel};
}

static inline void protected_mode(unsigned cpl)
{
    static const uint8_t data[] = {SEG_ES, SEG_SS, SEG_DS, SEG_FS, SEG_GS};
    unsigned k;

    cpu->cr0 |= CR0_PE;
    cpu->cpl = (uint8_t)cpl;
    set_seg(SEG_CS, cpl ? U_CODE : K_CODE, cpl ? 0xc0fb : 0xc09b);
    for (k = 0; k < ARRAY_LEN(data); k++)
        set_seg(data[k], cpl ? U_DATA : K_DATA, cpl ? 0xc0f3 : 0xc093);
    cpu->seg[SEG_TSS] =
        (struct segreg){.base = TSS, .limit = 0x2067, .ar = AR_P | SYS_TSS32_BUSY, .sel = K_TSS};
    cpu->gdt = (struct desctab){GDT, 0xff};
    cpu->idt = (struct desctab){IDT, 0x7ff};
    cpu->r[REG_SP] = cpl ? STACK3 : STACK0;
    cpu->rip = CODE;
    for (k = 0; k < 256; k++)
        put_gate(k, K_CODE, handler(k), SYS_INT32, k >= 0x80 ? 3 : 0, false, 0);
    cpu_cr_changed(cpu);
}

static inline void long_mode(unsigned cpl)
{
    unsigned k;

    protected_mode(cpl);
    put(TABLES, (TABLES + 0x1000) | 7, 8);
    put(TABLES + 0x1000, (TABLES + 0x2000) | 7, 8);
    for (k = 0; k < 4; k++)
        put(TABLES + 0x2000 + k * 8, k << 21 | 0x87, 8);
    cpu->cr4 |= CR4_PAE;
    cpu->cr3 = TABLES;
    cpu->cr0 |= CR0_PG;
    cpu->efer |= EFER_LME | EFER_LMA | EFER_SCE;
    set_seg(SEG_CS, cpl ? U_CODE64 : K_CODE64, cpl ? 0xa0fb : 0xa09b);
    put(TSS + 0x24, STACK0 - 0x1000, 8); /* IST1 */
    put(TSS + 4, STACK0, 8);
    cpu->seg[SEG_TSS].sel = K_TSS64;
    cpu->idt.limit = 0xfff;
    for (k = 0; k < 256; k++)
        put_gate(k, K_CODE64, handler(k), SYS_INT32, k >= 0x80 ? 3 : 0, true, k == 8 ? 1 : 0);
    mmu_load_cr3(&cpu->mmu, cpu->cr3, false);
    cpu_cr_changed(cpu);
}

static inline void run_code(const char *bytes, unsigned len, unsigned insns)
{
    uint64_t done, at = cpu->seg[SEG_CS].base + cpu->rip;
    unsigned k;

    for (k = 0; k < len; k++)
        put(at + k, (uint8_t)bytes[k], 1);
    cpu_run(cpu, insns, &done);
}
#define RUN(bytes, insns) run_code(bytes, sizeof(bytes) - 1, insns)

/* The frame on the handler's stack after one faulting instruction at CODE; 4 or 8 bytes a slot. */
static inline void expect_fault(unsigned vector, int64_t error)
{
    unsigned slot = cpu->mode & MODE_CODE64 ? 8 : 4;
    uint64_t sp = cpu->r[REG_SP];

    ck_assert_uint_eq(cpu->rip & ~15ull, handler(vector));
    if (error >= 0) {
        ck_assert_uint_eq(get(sp, slot), (uint64_t)error);
        sp += slot;
    }
    ck_assert_uint_eq(get(sp, slot), CODE);
}

#endif
