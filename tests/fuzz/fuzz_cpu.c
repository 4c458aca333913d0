/* Code that nobody meant: instructions made of random rows of insn.def with random operands, and
 * plain random bytes, in every mode, over descriptor tables, page tables, gates and a TSS that are
 * mostly sensible, with registers that mostly point at memory, at itself and at a device.
 *
 * Besides what the sanitizers and the timer see (fuzz.h), each case runs twice on two fresh CPUs:
 * in blocks, and one instruction at a time. Both must come to the same registers and memory, which
 * is what the instruction clock and lockstep rest on.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/io.h"
#include "cpu/insn.h"
#include "cpu/sys.h"
#include "tests/fuzz/fuzz.h"

#define RAM_BYTES  (1 * MIB)
#define DEVICE_AT  (2 * MIB)
#define CODE_BYTES 96
#define STEPS      64 /* of a case */

enum {
    GDT = 0x1000, IDT = 0x2000, TSS = 0x3000, TSS2 = 0x5800, CODE = 0x10000, HANDLERS = 0x12000,
    STACK0 = 0x20000, STACK3 = 0x30000, DATA = 0x40000, TABLES = 0x80000,
    K_CODE = 0x08, K_DATA = 0x10, U_CODE = 0x1b, U_DATA = 0x23, K_TSS = 0x28, K_CODE64 = 0x30,
    U_CODE64 = 0x5b, K_CODE16 = 0x38, K_DATA16 = 0x48, LDT_SEL = 0x70,
    GDT_ENTRIES = 32,
};
enum mode { REAL, PROT16, PROT32, V86, COMPAT, LONG64, MODES };

struct bench {
    struct fuzz *f;
    struct physmap *map;
    struct phys_region ram, device;
    uint64_t ram_ra;
    struct cpu *cpu;
    enum mode mode;
    bool stepwise;
    uint64_t noise;
};

/* ---- surroundings ---------------------------------------------------------------------------- */

static uint64_t noise(struct bench *b)
{
    b->noise = b->noise * 6364136223846793005ull + 1442695040888963407ull;
    return b->noise >> 20;
}

static uint64_t device_read(void *opaque, uint64_t offset, unsigned size)
{
    return noise(opaque);
}

static void device_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const struct io_ops device_ops = {
    .name = "noise", .read = device_read, .write = device_write, .min_access = 1, .max_access = 8};

static uint32_t port_in(void *opaque, uint16_t port, unsigned size)
{
    return (uint32_t)noise(opaque);
}

static void port_out(void *opaque, uint16_t port, uint32_t value, unsigned size)
{
    struct bench *b = opaque;
    if (port == 0x92)
        mmu_set_a20(&b->cpu->mmu, value & 2);
}

static int intr_ack(void *opaque)
{
    struct bench *b = opaque;
    cpu_clear_interrupt(b->cpu, CPU_INTR);
    return (int)(noise(b) % 257) - 1;
}

static uint64_t tsc(void *opaque)
{
    return cpu_retired(((struct bench *)opaque)->cpu);
}

static bool msr_read(void *opaque, uint32_t msr, uint64_t *value)
{
    *value = noise(opaque);
    return msr == 0x1b || msr == 0x6e0;
}

static bool msr_write(void *opaque, uint32_t msr, uint64_t value)
{
    return msr == 0x1b || msr == 0x6e0;
}

static uint8_t cr8_get(void *opaque)
{
    return noise(opaque) & 15;
}

static void cr8_set(void *opaque, uint8_t value)
{
}

static void ferr(void *opaque, int level)
{
}

static void shutdown_seen(void *opaque, const char *why)
{
}

static uint64_t random_word(void *opaque)
{
    return noise(opaque);
}

static void view_changed(void *opaque)
{
    cpu_view_changed(((struct bench *)opaque)->cpu);
}

static void flags_set(void *opaque, uint64_t ra, uint64_t size)
{
    mmu_protect_ra(&((struct bench *)opaque)->cpu->mmu, ra, size);
}

static void code_written(void *opaque, uint64_t ra, unsigned size)
{
    cpu_code_written(&((struct bench *)opaque)->cpu, 1, ra, size);
}

static void bench_new(struct bench *b, const char *model)
{
    struct cpu_env env = {
        .opaque = b, .port_in = port_in, .port_out = port_out, .intr_ack = intr_ack, .tsc = tsc,
        .msr_read = msr_read, .msr_write = msr_write, .cr8_get = cr8_get, .cr8_set = cr8_set,
        .ferr = ferr, .shutdown = shutdown_seen, .random = random_word,
    };

    b->map = physmap_new(RAM_BYTES, NULL, NULL);
    FUZZ_ASSERT(b->map, "no memory");
    env.mem = b->map;
    b->cpu = cpu_new(model, 0, 1, &env, NULL);
    FUZZ_ASSERT(b->cpu, "no CPU");
    physmap_set_listener(b->map, &(struct physmap_listener){b, view_changed, flags_set,
                                                            code_written});
    b->ram_ra = physmap_store_alloc(b->map, RAM_BYTES);
    physmap_add_ram(b->map, &b->ram, "ram", 0, RAM_BYTES, b->ram_ra, 0);
    physmap_add_io(b->map, &b->device, "noise", DEVICE_AT, 0x10000, &device_ops, b, 0);
}

static void bench_free(struct bench *b)
{
    cpu_free(b->cpu);
    physmap_free(b->map);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void put(struct bench *b, uint64_t at, uint64_t v, unsigned size)
{
    physmap_write(b->map, at, v, size);
}

static void put_desc(struct bench *b, unsigned sel, uint32_t base, uint32_t limit, uint32_t ar)
{
    put(b, GDT + (sel & ~7u),
        (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(ar & 0xff) << 40 |
            (uint64_t)(limit & 0xf0000) << 32 | (uint64_t)(ar & 0xf000) << 40 |
            (uint64_t)(base & 0xff000000) << 32,
        8);
}

static void make_gdt(struct bench *b)
{
    bool wide = b->mode >= COMPAT;

    for (unsigned sel = 8; sel < GDT_ENTRIES * 8; sel += 8) /* what has no number below */
        put_desc(b, sel, fuzz_one_in(b->f, 2) ? 0 : fuzz_u32(b->f) & 0xfffff, fuzz_u32(b->f),
                 fuzz_u32(b->f) | (fuzz_one_in(b->f, 4) ? 0 : AR_P));
    put_desc(b, K_CODE, 0, 0xfffff, 0xc09b);
    put_desc(b, K_DATA, 0, 0xfffff, 0xc093);
    put_desc(b, U_CODE, 0, 0xfffff, 0xc0fb);
    put_desc(b, U_DATA, 0, 0xfffff, 0xc0f3);
    put_desc(b, K_CODE64, 0, 0xfffff, 0xa09b);
    put_desc(b, U_CODE64, 0, 0xfffff, 0xa0fb);
    put_desc(b, K_CODE16, 0, 0xffff, 0x009b);
    put_desc(b, K_DATA16, 0, 0xffff, 0x0093);
    put_desc(b, K_TSS, TSS, 0x2067, 0x8b);
    if (wide)
        put(b, GDT + K_TSS + 8, 0, 8); /* which is the 64-bit kernel code's: */
    put_desc(b, K_CODE64, 0, wide ? 0 : 0xfffff, 0xa09b);
    put_desc(b, 0x60, TSS2, 0x67, 0xe9); /* a task for anybody */
    put(b, GDT + 0x68,
        (uint64_t)(HANDLERS & 0xffff) | (uint64_t)(wide ? K_CODE64 : K_CODE) << 16 |
            (uint64_t)(0xec00 | fuzz_below(b->f, 32)) << 32,
        8);
    put_desc(b, LDT_SEL, GDT, GDT_ENTRIES * 8 - 1, 0x82);
}

static void make_idt(struct bench *b)
{
    static const uint8_t types[] = {SYS_INT32, SYS_INT32, SYS_INT32,    SYS_TRAP32,
                                    SYS_INT16, SYS_TRAP16, SYS_TASK_GATE};
    bool wide = b->mode >= COMPAT;

    for (unsigned v = 0; v < 256; v++) {
        uint32_t offset = HANDLERS + (v & 31) * 16;
        unsigned type = wide ? SYS_INT32 + fuzz_below(b->f, 2) : FUZZ_PICK(b->f, types);
        unsigned sel = type == SYS_TASK_GATE ? 0x60 : wide ? K_CODE64 : K_CODE;
        if (fuzz_one_in(b->f, 16))
            sel = fuzz_below(b->f, GDT_ENTRIES) * 8;
        if (b->mode == REAL) {
            put(b, v * 4, (v & 31) * 16 | (uint32_t)(HANDLERS >> 4) << 16, 4);
            continue;
        }
        put(b, IDT + v * (wide ? 16 : 8),
            (offset & 0xffff) | (uint64_t)sel << 16 |
                (uint64_t)(wide && fuzz_one_in(b->f, 4) ? fuzz_below(b->f, 8) : 0) << 32 |
                (uint64_t)(0x80 | fuzz_below(b->f, 4) << 5 | type) << 40 |
                (uint64_t)(offset & 0xffff0000) << 32,
            8);
        if (wide)
            put(b, IDT + v * 16 + 8, 0, 8);
    }
}

static void make_tss(struct bench *b)
{
    for (unsigned i = 0; i < 0x68; i += 4)
        put(b, TSS + i, fuzz_one_in(b->f, 8) ? fuzz_number(b->f) : 0, 4);
    if (b->mode >= COMPAT) {
        for (unsigned i = 0x24; i < 0x5c; i += 8)
            put(b, TSS + i, STACK0 - 0x1000, 8);
        put(b, TSS + 4, STACK0, 8);
    } else {
        put(b, TSS + 4, STACK0, 4);
        put(b, TSS + 8, K_DATA, 4);
    }
    put(b, TSS + 102, fuzz_one_in(b->f, 8) ? fuzz_number(b->f) : 104 + 32, 2);
    for (unsigned i = 104; i < 0x2068; i += 8)
        put(b, TSS + i, fuzz_one_in(b->f, 64) ? UINT64_MAX : 0, 8);
    for (unsigned i = 0; i < 0x68; i += 4)
        put(b, TSS2 + i, fuzz_one_in(b->f, 8) ? fuzz_number(b->f) : 0, 4);
    put(b, TSS2 + 0x1c, fuzz_one_in(b->f, 4) ? fuzz_number(b->f) : b->cpu->cr3, 4);
    put(b, TSS2 + 0x20, HANDLERS, 4);
    put(b, TSS2 + 0x24, fuzz_one_in(b->f, 4) ? fuzz_number(b->f) : 2, 4);
    put(b, TSS2 + 0x38, STACK0, 4);
    for (unsigned i = 0x48; i < 0x60; i += 4)
        put(b, TSS2 + i, i == 0x4c ? K_CODE : K_DATA, 4);
}

/* Entry of a page table: mostly what the identity needs. */
static uint64_t entry(struct bench *b, uint64_t target, uint64_t bits)
{
    if (fuzz_one_in(b->f, 64))
        return fuzz_number(b->f);
    if (fuzz_one_in(b->f, 32))
        bits ^= BIT(fuzz_below(b->f, 9));
    return target | bits;
}

/* Identity of the first 4 MiB, with holes. Returns CR3. */
static void make_pages(struct bench *b)
{
    struct cpu *cpu = b->cpu;
    bool pae = b->mode >= COMPAT || (cpu_has(cpu, F_PAE) && fuzz_one_in(b->f, 2));
    uint32_t table = TABLES + 0x4000;
    unsigned k;

    cpu->cr3 = TABLES;
    cpu->cr0 |= CR0_PG;
    if (!pae) {
        put(b, TABLES, entry(b, table, 7), 4);
        for (k = 0; k < 1024; k++)
            put(b, table + k * 4, entry(b, k << 12, 0x67), 4);
        if (cpu_has(cpu, F_PSE)) {
            cpu->cr4 |= CR4_PSE;
            put(b, TABLES + 4, entry(b, 0, 0xe7), 4);
        }
        return;
    }
    cpu->cr4 |= CR4_PAE;
    if (b->mode >= COMPAT) {
        put(b, TABLES, TABLES + 0x1000 + 7, 8);
        put(b, TABLES + 0x1000, TABLES + 0x2000 + 7, 8);
        put(b, TABLES + 0x1000 + 8, entry(b, 0, 0xe7), 8); /* 1 GiB, where there is such a thing */
        put(b, TABLES + 511 * 8, TABLES + 0x1000 + 7, 8);
    } else {
        put(b, TABLES, TABLES + 0x2000 + 1, 8);
    }
    put(b, TABLES + 0x2000, entry(b, table, 7), 8);
    put(b, TABLES + 0x2000 + 8, entry(b, 2 * MIB, 0xe7), 8);
    put(b, TABLES + 0x2000 + 16, entry(b, 0, 0xe7), 8);
    for (k = 0; k < 512; k++)
        put(b, table + k * 8, entry(b, k << 12, 0x67), 8);
}

/* ---- state ----------------------------------------------------------------------------------- */

static void set_seg(struct cpu *cpu, unsigned seg, uint16_t sel, uint32_t ar)
{
    cpu->seg[seg] = (struct segreg){.limit = 0xffffffff, .ar = ar, .sel = sel};
}

static void set_real_seg(struct cpu *cpu, unsigned seg, uint16_t sel, uint32_t ar)
{
    cpu->seg[seg] =
        (struct segreg){.base = (uint32_t)sel << 4, .limit = 0xffff, .ar = ar, .sel = sel};
}

static void set_segments(struct bench *b, unsigned cpl)
{
    struct cpu *cpu = b->cpu;
    bool real = b->mode == REAL || b->mode == V86;

    for (unsigned seg = SEG_ES; seg <= SEG_GS; seg++) {
        if (real)
            set_real_seg(cpu, seg, seg == SEG_CS ? CODE >> 4 : DATA >> 4,
                         b->mode == V86 ? 0xf3 : 0x93);
        else if (b->mode == PROT16)
            cpu->seg[seg] = (struct segreg){.base = seg == SEG_CS ? CODE : DATA,
                                            .limit = 0xffff,
                                            .ar = seg == SEG_CS ? 0x9b : 0x93,
                                            .sel = seg == SEG_CS ? K_CODE16 : K_DATA16};
        else
            set_seg(cpu, seg, cpl ? U_DATA : K_DATA, cpl ? 0xc0f3 : 0xc093);
    }
    if (b->mode == PROT32 || b->mode == COMPAT)
        set_seg(cpu, SEG_CS, cpl ? U_CODE : K_CODE, cpl ? 0xc0fb : 0xc09b);
    if (b->mode == LONG64)
        set_seg(cpu, SEG_CS, cpl ? U_CODE64 : K_CODE64, cpl ? 0xa0fb : 0xa09b);
    cpu->rip = real || b->mode == PROT16 ? 0 : CODE;
}

static void enter_mode(struct bench *b)
{
    struct cpu *cpu = b->cpu;
    unsigned cpl = b->mode == V86 ? 3 : b->mode <= PROT16 ? 0 : fuzz_one_in(b->f, 2) * 3u;

    cpu_reset(cpu, false);
    cpu->cr0 &= ~(CR0_CD | CR0_NW);
    if (cpu_has(cpu, F_FXSR))
        cpu->cr4 |= CR4_OSFXSR | (fuzz_one_in(b->f, 4) ? 0 : CR4_OSXMMEXCPT);
    if (cpu_has(cpu, F_XSAVE)) {
        cpu->cr4 |= CR4_OSXSAVE;
        cpu->xcr0 = 3;
    }
    if (fuzz_one_in(b->f, 4))
        cpu->cr0 |= FUZZ_PICK(b->f, ((const uint64_t[]){CR0_TS, CR0_EM, CR0_NE, CR0_AM, CR0_WP}));
    if (b->mode != REAL) {
        cpu->cr0 |= CR0_PE;
        cpu->seg[SEG_TSS] = (struct segreg){
            .base = TSS, .limit = 0x2067, .ar = AR_P | SYS_TSS32_BUSY, .sel = K_TSS};
        cpu->seg[SEG_LDT].ar = AR_UNUSABLE;
        cpu->gdt = (struct desctab){GDT, GDT_ENTRIES * 8 - 1};
        cpu->idt = (struct desctab){IDT, b->mode >= COMPAT ? 0xfff : 0x7ff};
        if (b->mode >= COMPAT || fuzz_one_in(b->f, 2))
            make_pages(b);
    }
    if (b->mode >= COMPAT)
        cpu->efer |= EFER_LME | EFER_LMA | EFER_SCE | (fuzz_one_in(b->f, 2) ? EFER_NXE : 0);
    if (fuzz_one_in(b->f, 2))
        cpu->cr4 |= (BIT64(fuzz_below(b->f, 22)) | BIT64(fuzz_below(b->f, 22))) &
                    cpu_cr4_allowed(cpu) & ~(CR4_PAE | CR4_PCIDE);
    cpu->cpl = (uint8_t)cpl;
    set_segments(b, cpl);
    make_gdt(b);
    make_idt(b);
    make_tss(b);
    cpu->eflags |= b->mode == V86 ? FL_VM | FL_IOPL : 0;
    cpu->kernel_gs_base = DATA;
    cpu->lstar = cpu->cstar = HANDLERS;
    cpu->star = (uint64_t)(U_CODE - 0x10 + 0x30) << 48 | (uint64_t)K_CODE << 32;
    cpu->sysenter_cs = K_CODE;
    cpu->sysenter_esp = STACK0;
    cpu->sysenter_eip = HANDLERS;
    mmu_load_cr3(&cpu->mmu, cpu->cr3, false);
    cpu_cr_changed(cpu);
}

static uint64_t any_pointer(struct bench *b)
{
    switch (fuzz_below(b->f, 8)) {
    case 0:
        return CODE + fuzz_below(b->f, 256); /* code that writes itself */
    case 1:
        return DEVICE_AT + fuzz_below(b->f, 0x1000);
    case 2:
        return fuzz_number(b->f);
    case 3:
        return DATA + 0xff0 + fuzz_below(b->f, 32); /* over the end of a page */
    case 4:
        return fuzz_below(b->f, 8);
    default:
        return DATA + fuzz_below(b->f, 0x2000);
    }
}

static void set_registers(struct bench *b)
{
    struct cpu *cpu = b->cpu;
    uint64_t mask = b->mode >= COMPAT ? UINT64_MAX : UINT32_MAX;

    for (unsigned k = 0; k < 16; k++)
        cpu->r[k] = k < 8 || b->mode >= COMPAT ? any_pointer(b) & mask : 0;
    if (!fuzz_one_in(b->f, 8))
        cpu->r[REG_SP] = cpu->cpl ? STACK3 : STACK0;
    if (fuzz_one_in(b->f, 2))
        cpu->r[REG_CX] &= 0xff;
    cpu_change_flags(cpu, fuzz_u32(b->f) & (fuzz_one_in(b->f, 4) ? ~0u : ~(uint32_t)FL_TF),
                     FL_ARITH | FL_TF | FL_IF | FL_DF | FL_AC | FL_ID | FL_NT | FL_RF |
                         (fuzz_one_in(b->f, 4) ? FL_IOPL : 0));
    for (unsigned k = 0; k < 8; k++) {
        cpu->fpu.st[k].mant = fuzz_number(b->f);
        cpu->fpu.st[k].se = (uint16_t)(fuzz_one_in(b->f, 4) ? fuzz_u32(b->f) : 0x3ff0 + k);
    }
    cpu->fpu.tags = fuzz_u8(b->f);
    cpu->fpu.top = (uint8_t)fuzz_below(b->f, 8);
    cpu->fpu.cw = fuzz_one_in(b->f, 4) ? fuzz_u32(b->f) & 0x1f7f : 0x37f;
    for (unsigned k = 0; k < 16 && cpu_has(cpu, F_SSE); k++) {
        st64(cpu->xmm[k].b, fuzz_number(b->f));
        st64(cpu->xmm[k].b + 8, fuzz_u64(b->f));
    }
    cpu_update_mode(cpu);
}

/* ---- code ------------------------------------------------------------------------------------ */

static unsigned put_random_insn(struct bench *b, uint8_t *p)
{
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x66,
                                       0x67, 0x67, 0xf0, 0xf2, 0xf3, 0xf3};
    const struct insn_row *row = &insn_rows[fuzz_below(b->f, insn_row_count)];
    unsigned n = 0, form = row->form, modrm = fuzz_u8(b->f);
    uint32_t op = row->opcode;

    while (fuzz_one_in(b->f, 4) && n < 3)
        p[n++] = FUZZ_PICK(b->f, prefixes);
    if (row->prefix >= 2) /* P_66, P_F3, P_F2 of cpu/decode.h */
        p[n++] = (const uint8_t[]){0, 0, 0x66, 0xf3, 0xf2}[row->prefix];
    if (b->mode == LONG64 && fuzz_one_in(b->f, 2))
        p[n++] = 0x40 | fuzz_below(b->f, 16);
    if (row->attr & AT_VEX) {
        unsigned map = op > 0xffff ? (op >> 8 & 0xff) == 0x3a ? 3 : 2 : 1;
        p[n++] = 0xc4;
        p[n++] = (uint8_t)((b->mode == LONG64 ? fuzz_u8(b->f) & 0xe0 : 0xe0) | map);
        p[n++] = (uint8_t)(fuzz_u8(b->f) & 0xfc) | (row->prefix >= 2 ? row->prefix - 1 : 0);
    } else {
        for (int shift = op > 0xffff ? 16 : op > 0xff ? 8 : 0; shift > 0; shift -= 8)
            p[n++] = (uint8_t)(op >> shift);
    }
    p[n++] = (uint8_t)(op | (form == 1 ? fuzz_below(b->f, 8) : 0)); /* FORM_Z */
    if (form > 1) {
        if (row->form_reg || form >= 5)
            modrm = (modrm & ~0x38u) | row->form_reg << 3;
        if (fuzz_one_in(b->f, 2)) /* plain registers or [register] */
            modrm = (modrm & 0x3f) | (fuzz_one_in(b->f, 2) ? 0xc0 : 0);
        p[n++] = (uint8_t)modrm;
    }
    if (fuzz_one_in(b->f, 2)) { /* immediates and displacements that are small */
        memset(p + n, 0, 4);
        p[n++] = (uint8_t)fuzz_below(b->f, 16);
        return n + (fuzz_one_in(b->f, 2) ? 3 : 0);
    }
    fuzz_bytes(b->f, p + n, 4);
    return n + fuzz_below(b->f, 5);
}

static void put_code(struct bench *b, uint64_t at)
{
    uint8_t code[CODE_BYTES + 32];

    if (fuzz_one_in(b->f, 4)) {
        fuzz_bytes(b->f, code, CODE_BYTES);
    } else {
        for (unsigned n = 0; n < CODE_BYTES;)
            n += put_random_insn(b, code + n);
    }
    physmap_write_buf(b->map, at, code, CODE_BYTES);
}

/* ---- a case ---------------------------------------------------------------------------------- */

static uint64_t hash_state(struct bench *b, uint64_t h)
{
    const struct cpu *c = b->cpu;
    uint64_t words[] = {c->rip, cpu_flags(c), c->cr0, c->cr2, c->cr3, c->cr4, c->efer, c->cpl,
                        c->dr[6], c->dr[7], c->fpu.sw, c->fpu.cw, c->fpu.top, c->fpu.tags,
                        c->fpu.mxcsr, c->activity, c->fpu.fip, c->fpu.fdp, c->retired};

    h = hash64(words, sizeof(words), hash64(c->r, 16 * sizeof(c->r[0]), h));
    for (unsigned k = 0; k < SEG_COUNT; k++) {
        const struct segreg *s = &c->seg[k];
        uint64_t seg[] = {s->base, s->limit, s->ar, s->sel};
        h = hash64(seg, sizeof(seg), h);
    }
    for (unsigned k = 0; k < 8; k++) {
        uint64_t st[] = {c->fpu.st[k].mant, c->fpu.st[k].se};
        h = hash64(st, sizeof(st), h);
    }
    return hash64(c->xmm, sizeof(c->xmm), h);
}

static void describe(const struct cpu *c)
{
    fprintf(stderr, "  cs:rip %04x:%llx flags %llx cr0 %llx cr2 %llx retired %llu activity %u\n ",
            c->seg[SEG_CS].sel, (unsigned long long)c->rip, (unsigned long long)cpu_flags(c),
            (unsigned long long)c->cr0, (unsigned long long)c->cr2,
            (unsigned long long)c->retired, c->activity);
    for (unsigned k = 0; k < 16; k++)
        fprintf(stderr, " %llx", (unsigned long long)c->r[k]);
    fputc('\n', stderr);
}

static void run_insns(struct bench *b, uint64_t n)
{
    uint64_t done, step = b->stepwise ? 1 : n;
    enum cpu_exit why = CPU_EXIT_BUDGET;

    for (uint64_t total = 0; total < n && why == CPU_EXIT_BUDGET; total += done) {
        why = cpu_run(b->cpu, step, &done);
        FUZZ_ASSERT(done <= step, "%llu instructions instead of %llu", (unsigned long long)done,
                    (unsigned long long)step);
        FUZZ_ASSERT(why != CPU_EXIT_BUDGET || done == step, "left with %llu of %llu instructions",
                    (unsigned long long)done, (unsigned long long)step);
    }
    FUZZ_ASSERT(b->cpu->r[REG_ZERO] == 0 && b->cpu->r[REG_2P30] == 1ull << 30, "constants changed");
}

/* One step of a case. */
static void step(struct bench *b)
{
    struct cpu *cpu = b->cpu;

    if (cpu->activity == CPU_SHUTDOWN || fuzz_one_in(b->f, 16)) {
        b->mode = b->mode >= COMPAT ? COMPAT + fuzz_below(b->f, 2) : fuzz_below(b->f, COMPAT);
        enter_mode(b);
    }
    if (fuzz_one_in(b->f, 2)) {
        set_registers(b);
        put_code(b, HANDLERS + fuzz_below(b->f, 16) * 16);
    }
    if (fuzz_one_in(b->f, 4)) {
        uint32_t events[] = {CPU_INTR, CPU_NMI, CPU_INIT, CPU_FLUSH, CPU_SIPI};
        cpu_interrupt(cpu, FUZZ_PICK(b->f, events));
    }
    if (cpu->activity == CPU_WAIT_SIPI || cpu->activity == CPU_HALTED)
        cpu_interrupt(cpu, CPU_NMI);
    uint64_t at = cpu->rip + cpu->seg[SEG_CS].base;
    put_code(b, at < RAM_BYTES - CODE_BYTES ? at : CODE);
    run_insns(b, 1 + fuzz_below(b->f, 64));
}

struct record {
    uint64_t hash[STEPS + 1], rip[STEPS + 1], retired[STEPS + 1];
    unsigned steps;
};

static void run_once(struct fuzz *f, bool stepwise, struct record *r, const struct record *other)
{
    static const char *const models[] = {"max", "max", "max", "x86-64-v2", "x86-64",
                                         "pentium3", "pentium", "486", "386"};
    struct bench b = {.f = f, .stepwise = stepwise};
    const char *model = FUZZ_PICK(f, models);

    bench_new(&b, model);
    b.mode = fuzz_below(f, cpu_has(b.cpu, F_LM) ? MODES : COMPAT);
    enter_mode(&b);
    set_registers(&b);
    while (r->steps < STEPS && fuzz_more(f)) {
        step(&b);
        r->hash[r->steps] = hash_state(&b, 0);
        r->rip[r->steps] = b.cpu->rip;
        r->retired[r->steps] = cpu_retired(b.cpu);
        if (other && other->hash[r->steps] != r->hash[r->steps]) {
            fprintf(stderr, "one by one, in step %u of mode %u, model %s:\n", r->steps, b.mode,
                    model);
            describe(b.cpu);
            fuzz_fail("other registers than in blocks, which came to rip %llx, retired %llu",
                      (unsigned long long)other->rip[r->steps],
                      (unsigned long long)other->retired[r->steps]);
        }
        r->steps++;
    }
    uint64_t h = hash64(physmap_host(b.map, b.ram_ra), RAM_BYTES, 0);
    FUZZ_ASSERT(!other || other->hash[r->steps] == h, "other memory than in blocks");
    r->hash[r->steps] = h;
    bench_free(&b);
}

static void run(struct fuzz *f)
{
    struct fuzz again = *f;
    struct record blocks = {.steps = 0}, single = {.steps = 0};

    run_once(f, false, &blocks, NULL);
    run_once(&again, true, &single, &blocks);
}

static void init(const char *dir)
{
}

/* About 100,000 blocks of instructions. */
const struct fuzz_target fuzz_target = {
    .name = "fuzz_cpu", .cases = 500, .steps = STEPS, .init = init, .run = run};
