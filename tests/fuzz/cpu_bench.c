/* See cpu_bench.h. */
#include "tests/fuzz/cpu_bench.h"

#include <stdio.h>

#include "base/io.h"
#include "cpu/insn.h"
#include "cpu/x87.h"
#include "cpu/xsave.h"

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

void bench_new(struct bench *b, const char *model)
{
    struct cpu_env env = {
        .opaque = b,
        .port_in = port_in,
        .port_out = port_out,
        .intr_ack = intr_ack,
        .tsc = tsc,
        .msr_read = msr_read,
        .msr_write = msr_write,
        .cr8_get = cr8_get,
        .cr8_set = cr8_set,
        .ferr = ferr,
        .shutdown = shutdown_seen,
        .random = random_word,
    };

    b->map = physmap_new(RAM_BYTES, NULL, NULL);
    FUZZ_ASSERT(b->map, "no memory");
    env.mem = b->map;
    b->cpu = cpu_new(model, 0, 1, &env, NULL);
    FUZZ_ASSERT(b->cpu, "no CPU");
    physmap_set_listener(b->map,
                         &(struct physmap_listener){b, view_changed, flags_set, code_written});
    b->ram_ra = physmap_store_alloc(b->map, RAM_BYTES);
    physmap_add_ram(b->map, &b->ram, "ram", 0, RAM_BYTES, b->ram_ra, 0);
    physmap_add_io(b->map, &b->device, "noise", DEVICE_AT, 0x10000, &device_ops, b, 0);
}

void bench_free(struct bench *b)
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
    static const uint8_t types[] = {SYS_INT32, SYS_INT32,  SYS_INT32,    SYS_TRAP32,
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

void bench_enter_mode(struct bench *b)
{
    struct cpu *cpu = b->cpu;
    unsigned cpl = b->mode == V86 ? 3 : b->mode <= PROT16 ? 0 : fuzz_one_in(b->f, 2) * 3u;

    cpu_reset(cpu, false);
    cpu->cr0 &= ~(CR0_CD | CR0_NW);
    if (cpu_has(cpu, F_FXSR))
        cpu->cr4 |= CR4_OSFXSR | (fuzz_one_in(b->f, 4) ? 0 : CR4_OSXMMEXCPT);
    if (cpu_has(cpu, F_XSAVE)) {
        cpu->cr4 |= CR4_OSXSAVE;
        cpu->xcr0 = fuzz_one_in(b->f, 8) ? XCR0_X87 | XCR0_SSE : xsave_supported(cpu);
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
        cpu->cr4 |= (BIT64(fuzz_below(b->f, 24)) | BIT64(fuzz_below(b->f, 24))) &
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
    mmu_load_pdptes(&cpu->mmu, cpu->cr3);
    mmu_load_cr3(&cpu->mmu, cpu->cr3, false);
    cpu_cr_changed(cpu);
}

uint64_t bench_any_pointer(struct bench *b)
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

void bench_set_flags(struct bench *b)
{
    cpu_change_flags(b->cpu, fuzz_u32(b->f) & (fuzz_one_in(b->f, 4) ? ~0u : ~(uint32_t)FL_TF),
                     FL_ARITH | FL_TF | FL_IF | FL_DF | FL_AC | FL_ID | FL_NT | FL_RF |
                         (fuzz_one_in(b->f, 4) ? FL_IOPL : 0));
}

void bench_set_registers(struct bench *b)
{
    struct cpu *cpu = b->cpu;
    uint64_t mask = b->mode >= COMPAT ? UINT64_MAX : UINT32_MAX;

    for (unsigned k = 0; k < 16; k++)
        cpu->r[k] = k < 8 || b->mode >= COMPAT ? bench_any_pointer(b) & mask : 0;
    if (!fuzz_one_in(b->f, 8))
        cpu->r[REG_SP] = cpu->cpl ? STACK3 : STACK0;
    if (fuzz_one_in(b->f, 2))
        cpu->r[REG_CX] &= 0xff;
    bench_set_flags(b);
    for (unsigned k = 0; k < 8; k++) {
        cpu->fpu.st[k].mant = fuzz_number(b->f);
        cpu->fpu.st[k].se = (uint16_t)(fuzz_one_in(b->f, 4) ? fuzz_u32(b->f) : 0x3ff0 + k);
    }
    cpu->fpu.tags = fuzz_u8(b->f);
    cpu->fpu.top = (uint8_t)fuzz_below(b->f, 8);
    x87_set_control(cpu, fuzz_one_in(b->f, 4) ? (uint16_t)fuzz_u32(b->f) : 0x37f);
    if (fuzz_one_in(b->f, 4)) /* some flags, seldom one that is pending */
        x87_set_status(cpu, (uint16_t)(fuzz_u32(b->f) &
                                       (fuzz_one_in(b->f, 8) ? UINT32_MAX : ~0x3fu | cpu->fpu.cw)));
    for (unsigned k = 0; k < 16 && cpu_has(cpu, F_SSE); k++) {
        st64(cpu->xmm[k].b, fuzz_number(b->f));
        fuzz_bytes(b->f, cpu->xmm[k].b + 8, cpu_has(cpu, F_AVX) ? 24 : 8);
    }
    cpu_update_mode(cpu);
}

/* ---- code ------------------------------------------------------------------------------------ */

unsigned bench_random_insn(struct bench *b, uint8_t *p)
{
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66,
                                       0x66, 0x67, 0x67, 0xf0, 0xf2, 0xf3, 0xf3};
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

unsigned bench_random_vex(struct bench *b, uint8_t *p)
{
    static const uint8_t prefixes[] = {0x64, 0x67, 0x26, 0x66, 0xf2, 0xf3, 0xf0, 0x48};
    unsigned n = 0;

    if (fuzz_one_in(b->f, 8))
        p[n++] = FUZZ_PICK(b->f, prefixes);
    fuzz_bytes(b->f, p + n + 1, 12);
    if (fuzz_one_in(b->f, 4)) {
        p[n] = 0xc5;
    } else {
        p[n] = 0xc4;
        if (!fuzz_one_in(b->f, 16)) /* a map that exists */
            p[n + 1] = (uint8_t)((p[n + 1] & 0xe0) | (1 + fuzz_below(b->f, 3)));
    }
    if (b->mode != LONG64 && !fuzz_one_in(b->f, 8)) /* else it would be LES or LDS */
        p[n + 1] |= 0xc0;
    return n + 5 + fuzz_below(b->f, 4);
}

void bench_put_code(struct bench *b, uint64_t at)
{
    uint8_t code[CODE_BYTES + 32];

    if (fuzz_one_in(b->f, 4)) {
        fuzz_bytes(b->f, code, CODE_BYTES);
    } else {
        for (unsigned n = 0; n < CODE_BYTES;)
            n += fuzz_one_in(b->f, 8) ? bench_random_vex(b, code + n)
                                      : bench_random_insn(b, code + n);
    }
    physmap_write_buf(b->map, at, code, CODE_BYTES);
}

/* ---- messages ------------------------------------------------------------------------------- */

void bench_describe(const struct cpu *c)
{
    fprintf(stderr, "  cs:rip %04x:%llx flags %llx cr0 %llx cr2 %llx retired %llu activity %u\n ",
            c->seg[SEG_CS].sel, (unsigned long long)c->rip, (unsigned long long)cpu_flags(c),
            (unsigned long long)c->cr0, (unsigned long long)c->cr2, (unsigned long long)c->retired,
            c->activity);
    for (unsigned k = 0; k < 16; k++)
        fprintf(stderr, " %llx", (unsigned long long)c->r[k]);
    fputc('\n', stderr);
}
