/* The oracle's own side: a case in our engine. See oracle.h.
 *
 * The guest is a 64-bit system at CPL 3 with the host's segments: what Linux gives its programs.
 * Physical memory: tables from 1000, code at 10000, data at 20000, descriptors at 30000.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/insn/oracle.h"

#include "cpu/exec.h"

enum { PHYS_CODE = 0x10000, PHYS_DATA = 0x20000, PHYS_RO = 0x28000, PHYS_GDT = 0x30000 };
#define LIN_GDT   0xffff800000030000ull
#define GDT_LIMIT 0x7f

struct oracle_ours {
    struct physmap *map;
    struct phys_region ram;
    struct cpu *cpu;
    struct error err;
    uint8_t *data, *code;
    uint8_t ro[PAGE_SIZE];
};

static void code_written(void *opaque, uint64_t ra, unsigned size)
{
    cpu_code_written(&((struct oracle_ours *)opaque)->cpu, 1, ra, size);
}

static void flags_set(void *opaque, uint64_t ra, uint64_t size)
{
    mmu_protect_ra(&((struct oracle_ours *)opaque)->cpu->mmu, ra, size);
}

static void view_changed(void *opaque)
{
}

/* lin in the lowest gigabyte or in the same of the upper half; flags: of the last level */
static void map_page(struct oracle_ours *o, uint64_t lin, uint64_t phys, unsigned flags)
{
    uint64_t tables = lin >> 63 ? 0x5000 : 0x2000;

    physmap_write(o->map, 0x1000 + (lin >> 39 & 511) * 8, tables | 7, 8);
    physmap_write(o->map, tables + (lin >> 30 & 511) * 8, (tables + 0x1000) | 7, 8);
    physmap_write(o->map, tables + 0x1000 + (lin >> 21 & 511) * 8, (tables + 0x2000) | 7, 8);
    physmap_write(o->map, tables + 0x2000 + (lin >> 12 & 511) * 8, phys | flags, 8);
}

static void fill_memory(struct oracle_ours *o)
{
    enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40 };
    /* As in Linux's arch/x86/include/asm/segment.h, 08 to 30. */
    static const uint64_t gdt[] = {0,
                                   0x00cf9b000000ffff,
                                   0x00af9b000000ffff,
                                   0x00cf93000000ffff,
                                   0x00cffb000000ffff,
                                   0x00cff3000000ffff,
                                   0x00affb000000ffff};

    for (unsigned k = 0; k < ORACLE_DATA_SIZE; k += PAGE_SIZE)
        map_page(o, ORACLE_DATA + k, PHYS_DATA + k, P | W | U | A | D);
    map_page(o, ORACLE_RO, PHYS_RO, P | U | A);
    for (unsigned k = 0; k < ORACLE_CODE_SIZE; k += PAGE_SIZE)
        map_page(o, ORACLE_CODE + k, PHYS_CODE + k, P | U | A);
    map_page(o, LIN_GDT, PHYS_GDT, P | A);
    for (unsigned k = 0; k < ARRAY_LEN(gdt); k++)
        physmap_write(o->map, PHYS_GDT + 8 * k, gdt[k], 8);
    physmap_write(o->map, PHYS_GDT + 0x800 + 0x66, 0xffff, 2); /* where the bitmap would be */
    o->code = physmap_host(o->map, PHYS_CODE);
    memset(o->code, 0xcc, ORACLE_CODE_SIZE);
    o->data = physmap_host(o->map, PHYS_DATA);
    oracle_fill_pattern(o->ro, PAGE_SIZE);
    physmap_write_buf(o->map, PHYS_RO, o->ro, PAGE_SIZE);
}

struct oracle_ours *oracle_ours_new(void)
{
    struct oracle_ours *o = calloc(1, sizeof(*o));
    struct cpu_env env = {0};
    struct cpu *cpu;

    o->map = physmap_new(MIB, NULL, &o->err);
    physmap_add_ram(o->map, &o->ram, "ram", 0, MIB, 0, 0);
    env.mem = o->map;
    cpu = o->cpu = cpu_new("max", 0, 1, &env, &o->err);
    if (!cpu) {
        fprintf(stderr, "%s\n", o->err.text);
        abort();
    }
    physmap_set_listener(o->map,
                         &(struct physmap_listener){o, view_changed, flags_set, code_written});
    if (getenv("TINAMOU_ENGINE") && strcmp(getenv("TINAMOU_ENGINE"), "jit") == 0 &&
        !cpu_use_translator(cpu, 16 * MIB, 1))
        fprintf(stderr, "there is no translator for this host: interpreted\n");
    cpu_reset(cpu, false);
    fill_memory(o);
    cpu->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_ET | CR0_WP | CR0_MP | CR0_AM;
    cpu->cr3 = 0x1000;
    cpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE | CR4_OSXSAVE | CR4_PKE |
               CR4_UMIP | CR4_SMEP | CR4_SMAP | CR4_PGE | CR4_DE | CR4_MCE;
    cpu->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    cpu->xcr0 = 0x207;
    cpu->gdt = (struct desctab){LIN_GDT, GDT_LIMIT};
    cpu->seg[SEG_LDT] = (struct segreg){.ar = AR_UNUSABLE};
    /* No I/O permission bitmap */
    cpu->seg[SEG_TSS] = (struct segreg){
        .sel = 0x40, .base = LIN_GDT + 0x800, .limit = 0x67, .ar = AR_P | 11 /* busy */};
    cpu_set_cpl(cpu, 3);
    cpu_cr_changed(cpu);
    mmu_load_cr3(&cpu->mmu, cpu->cr3, false);
    return o;
}

void oracle_ours_free(struct oracle_ours *o)
{
    cpu_free(o->cpu);
    physmap_free(o->map);
    free(o);
}

static struct segreg segment(uint16_t sel, uint64_t base, bool code32)
{
    bool code = sel == 0x23 || sel == 0x33;
    return (struct segreg){
        .sel = sel,
        .base = base,
        .limit = 0xffffffff,
        .ar = AR_P | AR_S | AR_DPL | AR_G | AR_ACCESSED |
              (code ? AR_CODE | AR_READ | (code32 ? AR_DB : AR_L) : AR_WRITE | AR_DB)};
}

static void load(struct cpu *cpu, const struct oracle_case *c)
{
    const struct oracle_state *in = &c->in;
    struct fpu *f = &cpu->fpu;

    memcpy(cpu->r, in->r, sizeof(in->r));
    cpu->rip = in->rip;
    for (unsigned s = SEG_ES; s <= SEG_GS; s++)
        cpu->seg[s] = segment(in->seg[s], 0, c->code32);
    cpu->seg[SEG_FS].base = in->fs_base;
    cpu->seg[SEG_GS].base = in->gs_base;
    f->cw = in->cw;
    f->top = in->sw >> 11 & 7;
    f->sw = in->sw & 0xc7ff;
    f->tags = in->tags;
    f->fop = in->fop;
    f->fcs = f->fds = 0;
    f->fip = in->fip;
    f->fdp = in->fdp;
    f->mxcsr = in->mxcsr;
    for (unsigned k = 0; k < 8; k++) {
        f->st[(f->top + k) & 7].mant = ld64(in->st[k]);
        f->st[(f->top + k) & 7].se = ld16(in->st[k] + 8);
    }
    for (unsigned k = 0; k < 16; k++)
        memcpy(cpu->xmm[k].b, in->ymm[k], 32);
    cpu->pkru = in->pkru;
    mmu_set_pkru(&cpu->mmu, in->pkru);
    cpu_set_flags(cpu, in->flags);
    cpu->exc_vector = EXC_NONE;
    cpu->pending_dr6 = 0;
    cpu->shadow_intr = cpu->shadow_ss = false;
    cpu->activity = CPU_ACTIVE;
    cpu_set_cpl(cpu, 3);
    cpu_update_mode(cpu);
}

static void store(struct cpu *cpu, struct oracle_state *out)
{
    const struct fpu *f = &cpu->fpu;

    memcpy(out->r, cpu->r, sizeof(out->r));
    out->rip = cpu->rip;
    out->flags = cpu_flags(cpu);
    for (unsigned s = SEG_ES; s <= SEG_GS; s++)
        out->seg[s] = cpu->seg[s].sel;
    out->fs_base = cpu->seg[SEG_FS].base;
    out->gs_base = cpu->seg[SEG_GS].base;
    out->cw = f->cw;
    out->sw = (uint16_t)(f->sw | f->top << 11);
    out->tags = f->tags;
    out->fop = f->fop;
    out->fip = f->fip;
    out->fdp = f->fdp;
    out->mxcsr = f->mxcsr;
    for (unsigned k = 0; k < 8; k++) {
        st64(out->st[k], f->st[(f->top + k) & 7].mant);
        st16(out->st[k] + 8, f->st[(f->top + k) & 7].se);
    }
    for (unsigned k = 0; k < 16; k++)
        memcpy(out->ymm[k], cpu->xmm[k].b, 32);
    out->pkru = cpu->pkru;
    out->exception = cpu->exc_vector;
    out->error = cpu->exc_vector != EXC_NONE && cpu->exc_has_error ? cpu->exc_error : 0;
    out->cr2 = cpu->exc_vector == EXC_PF ? cpu->cr2 : 0;
}

void ours_run(struct oracle_ours *o, const struct oracle_case *c, struct oracle_state *out)
{
    struct cpu *cpu = o->cpu;
    unsigned at = (unsigned)(c->in.rip - ORACLE_CODE);
    unsigned n = MIN((unsigned)c->len, ORACLE_CODE_SIZE - at);
    uint8_t after[sizeof(c->code)];

    memcpy(o->data, c->in.data, ORACLE_DATA_SIZE);
    physmap_write_buf(o->map, PHYS_CODE + at, c->code, n);
    load(cpu, c);
    /* Repeated strings stay at the instruction between goes. */
    do
        cpu_step_undelivered(cpu);
    while (cpu->rip == c->in.rip && cpu->exc_vector == EXC_NONE && !c->step);
    store(cpu, out);
    cpu->exc_vector = EXC_NONE;
    memcpy(out->data, o->data, ORACLE_DATA_SIZE);
    memset(after, 0xcc, n);
    physmap_write_buf(o->map, PHYS_CODE + at, after, n);
    if (memcmp(physmap_host(o->map, PHYS_RO), o->ro, PAGE_SIZE) != 0) {
        out->exception = 253; /* nothing a processor does */
        physmap_write_buf(o->map, PHYS_RO, o->ro, PAGE_SIZE);
    }
}

bool ours_decode(struct oracle_ours *o, const struct oracle_case *c, struct insn *out)
{
    struct decode_result res;
    uint8_t code[sizeof(c->code)];

    memset(code, 0xcc, sizeof(code));
    memcpy(code, c->code, c->len);
    o->cpu->mode = MODE_PE | (c->code32 ? MODE_CODE32 : MODE_CODE64);
    return insn_decode(o->cpu, code, sizeof(code), 0, out, &res);
}
