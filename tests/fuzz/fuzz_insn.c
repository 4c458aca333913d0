/* Random instructions, very many of them: each is a byte string of its own, met in 16-, 32- or 64-bit
 * code with registers of its own, decoded afresh and executed until it is done or has raised an
 * exception, whose delivery is part of it. A third are plain random bytes, a third begin with VEX
 * prefixes, a third are made of rows of insn.def (tests/fuzz/cpu_bench.h).
 *
 * fuzz_cpu looks at what instructions do to one another; this looks at each instruction, and is fast
 * enough for a hundred million in each mode under sanitizers: docs/FUZZING.md. The counts are
 * printed at the end.
 */
#include <inttypes.h>
#include <stdio.h>

#include "tests/fuzz/cpu_bench.h"

#define SLOT  16  /* bytes: an instruction is 15 at most */
#define SLOTS 256 /* instructions of a step: a page of them */
#define STEPS 400 /* of a machine at most */

enum width { W16, W32, W64, WIDTHS };

static struct {
    uint64_t run, faults;
} count[WIDTHS];

/* What a step starts each instruction with; the floating-point and vector registers go on from
 * instruction to instruction, as the memory does. */
struct start {
    uint64_t r[16], eflags, cr0, cr3, cr4, efer, xcr0, dr7;
    struct segreg seg[SEG_COUNT];
    struct desctab gdt, idt;
    uint32_t pkru;
    uint8_t cpl;
};

static void remember(const struct cpu *cpu, struct start *s)
{
    memcpy(s->r, cpu->r, sizeof(s->r));
    memcpy(s->seg, cpu->seg, sizeof(s->seg));
    s->eflags = cpu->eflags;
    s->cr0 = cpu->cr0;
    s->cr3 = cpu->cr3;
    s->cr4 = cpu->cr4;
    s->efer = cpu->efer;
    s->xcr0 = cpu->xcr0;
    s->dr7 = cpu->dr[7];
    s->gdt = cpu->gdt;
    s->idt = cpu->idt;
    s->pkru = cpu->pkru;
    s->cpl = cpu->cpl;
}

static void restore(struct cpu *cpu, const struct start *s)
{
    memcpy(cpu->r, s->r, sizeof(s->r));
    memcpy(cpu->seg, s->seg, sizeof(s->seg));
    cpu->eflags = s->eflags;
    cpu->gdt = s->gdt;
    cpu->idt = s->idt;
    cpu->xcr0 = s->xcr0;
    cpu->cpl = s->cpl;
    if (cpu->cr3 != s->cr3)
        mmu_load_cr3(&cpu->mmu, cpu->cr3 = s->cr3, false);
    if (cpu->cr0 != s->cr0 || cpu->cr4 != s->cr4 || cpu->efer != s->efer) {
        cpu->cr0 = s->cr0;
        cpu->cr4 = s->cr4;
        cpu->efer = s->efer;
        cpu_cr_changed(cpu);
    }
    if (cpu->pkru != s->pkru)
        mmu_set_pkru(&cpu->mmu, cpu->pkru = s->pkru);
    if (cpu->dr[7] != s->dr7) {
        cpu->dr[7] = s->dr7;
        cpu_dr_changed(cpu);
    }
    cpu->activity = CPU_ACTIVE;
    cpu->shadow_intr = cpu->shadow_ss = cpu->nmi_blocked = false;
    cpu->pending_dr6 = 0;
    cpu_clear_interrupt(cpu, CPU_INTR | CPU_NMI | CPU_INIT | CPU_SIPI | CPU_STOP);
    mmu_set_a20(&cpu->mmu, true);
    cpu_update_mode(cpu);
}

static void put_instructions(struct bench *b, uint64_t at)
{
    uint8_t code[SLOTS * SLOT + SLOT];

    for (unsigned k = 0; k < SLOTS; k++) {
        uint8_t p[32];

        fuzz_bytes(b->f, p, SLOT);
        switch (fuzz_below(b->f, 3)) {
        case 0:
            bench_random_insn(b, p);
            break;
        case 1:
            bench_random_vex(b, p);
            break;
        default:
            break;
        }
        memcpy(code + k * SLOT, p, SLOT);
    }
    physmap_write_buf(b->map, at, code, SLOTS * SLOT);
}

/* A page of instructions, not aligned, so that one of them crosses into the next page. */
static void step(struct bench *b, enum width width)
{
    struct cpu *cpu = b->cpu;
    struct start start;
    unsigned at = 0x800 + fuzz_below(b->f, SLOT);

    bench_enter_mode(b);
    bench_set_registers(b);
    put_instructions(b, CODE + at);
    at += CODE - (uint32_t)cpu->seg[SEG_CS].base;
    remember(cpu, &start);
    for (unsigned k = 0; k < SLOTS; k++) {
        uint64_t exceptions = cpu->stat_exceptions, done;

        restore(cpu, &start);
        cpu->r[fuzz_below(b->f, b->mode >= COMPAT ? 16 : 8)] =
            b->mode >= COMPAT ? bench_any_pointer(b) : (uint32_t)bench_any_pointer(b);
        if (fuzz_one_in(b->f, 8))
            bench_set_flags(b);
        cpu->rip = at + k * SLOT;
        cpu_update_mode(cpu);
        cpu_run(cpu, 1, &done);
        FUZZ_ASSERT(done <= 1, "%" PRIu64 " instructions instead of one", done);
        FUZZ_ASSERT(cpu->r[REG_ZERO] == 0 && cpu->r[REG_2P30] == 1ull << 30, "constants changed");
        count[width].run++;
        count[width].faults += cpu->stat_exceptions != exceptions;
    }
}

static void run(struct fuzz *f)
{
    static const char *const models[] = {"max",       "max",       "max",    "max",
                                         "x86-64-v3", "x86-64-v2", "x86-64", "pentium3",
                                         "pentium",   "486",       "386"};
    static const enum mode modes[WIDTHS][3] = {
        {REAL, PROT16, V86}, {PROT32, PROT32, COMPAT}, {LONG64, LONG64, LONG64}};
    struct bench b = {.f = f};
    enum width width = fuzz_below(f, WIDTHS);

    bench_new(&b, models[fuzz_below(f, width == W64 ? 7 : ARRAY_LEN(models))]);
    while (fuzz_more(f)) {
        b.mode = FUZZ_PICK(f, modes[width]);
        if (b.mode == COMPAT && !cpu_has(b.cpu, F_LM))
            b.mode = PROT32;
        step(&b, width);
    }
    bench_free(&b);
}

static void init(const char *dir)
{
}

static void fini(void)
{
    for (unsigned k = 0; k < WIDTHS; k++)
        printf("%2u-bit code: %" PRIu64 " instructions, %" PRIu64 " of them raised an exception\n",
               16u << k, count[k].run, count[k].faults);
}

const struct fuzz_target fuzz_target = {
    .name = "fuzz_insn", .cases = 24, .steps = STEPS, .init = init, .run = run, .fini = fini};
