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
#include "tests/fuzz/cpu_bench.h"

#define STEPS 64 /* of a case */

static uint64_t hash_state(struct bench *b, uint64_t h)
{
    const struct cpu *c = b->cpu;
    uint64_t words[] = {c->rip,      cpu_flags(c), c->cr0,     c->cr2,      c->cr3,
                        c->cr4,      c->efer,      c->cpl,     c->dr[6],    c->dr[7],
                        c->fpu.sw,   c->fpu.cw,    c->fpu.top, c->fpu.tags, c->fpu.mxcsr,
                        c->activity, c->fpu.fip,   c->fpu.fdp, c->retired};

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

static void run_insns(struct bench *b, uint64_t n, bool stepwise)
{
    uint64_t done, step = stepwise ? 1 : n;
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
static void step(struct bench *b, bool stepwise)
{
    struct cpu *cpu = b->cpu;

    if (cpu->activity == CPU_SHUTDOWN || fuzz_one_in(b->f, 16)) {
        b->mode = b->mode >= COMPAT ? COMPAT + fuzz_below(b->f, 2) : fuzz_below(b->f, COMPAT);
        bench_enter_mode(b);
    }
    if (fuzz_one_in(b->f, 2)) {
        bench_set_registers(b);
        bench_put_code(b, HANDLERS + fuzz_below(b->f, 16) * 16);
    }
    if (fuzz_one_in(b->f, 4)) {
        uint32_t events[] = {CPU_INTR, CPU_NMI, CPU_INIT, CPU_FLUSH, CPU_SIPI};
        cpu_interrupt(cpu, FUZZ_PICK(b->f, events));
    }
    if (cpu->activity == CPU_WAIT_SIPI || cpu->activity == CPU_HALTED)
        cpu_interrupt(cpu, CPU_NMI);
    uint64_t at = cpu->rip + cpu->seg[SEG_CS].base;
    bench_put_code(b, at < RAM_BYTES - CODE_BYTES ? at : CODE);
    run_insns(b, 1 + fuzz_below(b->f, 64), stepwise);
}

struct record {
    uint64_t hash[STEPS + 1], rip[STEPS + 1], retired[STEPS + 1];
    unsigned steps;
};

static void run_once(struct fuzz *f, bool stepwise, struct record *r, const struct record *other)
{
    static const char *const models[] = {"max",      "max",     "max", "x86-64-v2", "x86-64",
                                         "pentium3", "pentium", "486", "386"};
    struct bench b = {.f = f};
    const char *model = FUZZ_PICK(f, models);

    bench_new(&b, model);
    b.mode = fuzz_below(f, cpu_has(b.cpu, F_LM) ? MODES : COMPAT);
    bench_enter_mode(&b);
    bench_set_registers(&b);
    while (r->steps < STEPS && fuzz_more(f)) {
        step(&b, stepwise);
        r->hash[r->steps] = hash_state(&b, 0);
        r->rip[r->steps] = b.cpu->rip;
        r->retired[r->steps] = cpu_retired(b.cpu);
        if (other && other->hash[r->steps] != r->hash[r->steps]) {
            fprintf(stderr, "one by one, in step %u of mode %u, model %s:\n", r->steps, b.mode,
                    model);
            bench_describe(b.cpu);
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
