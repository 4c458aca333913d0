/* The translator against the interpreter: programs that look like something (jit_program.h) run on two
 * CPUs with memories of their own, one of them with the translator (cpu/jit/jit.h). Both run the same
 * slices of instructions, and after each all declared state of the CPUs must be the same, and memory.
 *
 * The oracle has each instruction by itself; what this looks at is what instructions do to one another
 * in a block and blocks to their neighbours: where the flags are, faults in the middle, branches,
 * links, code that is written while it runs. Exceptions go to handlers that change a register and lead
 * on somewhere in the program. A program that differs is reduced before it is shown.
 *
 * Only x86-64 hosts have a translator; elsewhere there is nothing to compare.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu/block.h"
#include "cpu/insn.h"
#include "cpu/jit/jit.h"
#include "tests/fuzz/jit_program.h"

#define STEPS  24                 /* programs of a case */
#define BODIES (HANDLERS + 0x800) /* of handlers, 32 bytes each */

/* Memory for code: plenty; a few blocks; few translations of more blocks. */
static const size_t code_rooms[] = {16 * MIB, JIT_MIN + BLOCK_ARENA_MIN, JIT_MIN + MIB};

/* Entries before a block is translated: what has been entered more often decides how a unit goes on. */
static const uint8_t thresholds[] = {1, 1, 1, 2, 2, 3, 5, 16};

static struct {
    uint64_t programs, slices, insns;
} count;
static bool no_translator;

/* ---- surroundings of a program ------------------------------------------------------------------ */

static bool has_error_code(unsigned vector)
{
    return vector == EXC_DF || (vector >= EXC_TS && vector <= EXC_PF) || vector == EXC_AC;
}

/* Handler of a vector: takes the error code off, sends the program to one of its instructions, and
 * changes a register, so that it does not fault there for ever. */
static void put_handler(struct bench *b, const struct program *p, unsigned vector)
{
    static const uint8_t regs[] = {0, 1, 2, 3, 5, 6, 7};
    uint8_t code[32], *c = code, jump[5] = {0xe9};
    bool wide = p->mode >= COMPAT, real = p->mode == REAL;
    uint32_t body = BODIES + vector * 32, at = HANDLERS + vector * 16;
    uint32_t to = p->address[fuzz_below(b->f, p->n)] - p->cs;

    if (real) { /* MOV word [ESP], address; MOV register; IRET */
        uint8_t code16[16] = {0x67, 0xc7, 0x04, 0x24, (uint8_t)to, (uint8_t)(to >> 8)};
        code16[6] = 0xb8 | FUZZ_PICK(b->f, regs);
        st16(code16 + 7, (uint16_t)bench_any_pointer(b));
        code16[9] = 0xcf;
        physmap_write_buf(b->map, at, code16, 10);
        return;
    }
    if (has_error_code(vector)) { /* ADD (E/R)SP */
        if (wide)
            *c++ = 0x48;
        *c++ = 0x83;
        *c++ = 0xc4;
        *c++ = wide ? 8 : 4;
    }
    *c++ = 0xc7; /* MOV dword [(E/R)SP], address */
    *c++ = 0x04;
    *c++ = 0x24;
    st32(c, to);
    c += 4;
    *c++ = 0xb8 | FUZZ_PICK(b->f, regs);
    st32(c, (uint32_t)bench_any_pointer(b));
    c += 4;
    if (wide)
        *c++ = 0x48;
    *c++ = 0xcf;
    physmap_write_buf(b->map, body, code, (size_t)(c - code));
    st32(jump + 1, body - (at + 5));
    physmap_write_buf(b->map, at, jump, sizeof(jump));
}

static void put_gates(struct bench *b, const struct program *p)
{
    bool wide = p->mode >= COMPAT;

    for (unsigned v = 0; v < 32; v++) {
        uint64_t at = IDT + v * (wide ? 16 : 8), offset = HANDLERS + v * 16;
        put_handler(b, p, v);
        if (p->mode == REAL)
            continue;
        physmap_write(b->map, at,
                      (offset & 0xffff) | (uint64_t)(wide ? K_CODE64 : K_CODE) << 16 |
                          (uint64_t)(0xe0 | SYS_INT32) << 40 | (offset & 0xffff0000) << 32,
                      8);
    }
}

static void put_special(struct bench *b, uint8_t *to)
{
    static const uint64_t mants[] = {0,
                                     1,
                                     1ull << 63,
                                     3ull << 62,
                                     (1ull << 63) + 1,
                                     1ull << 62,
                                     UINT64_MAX,
                                     (1ull << 63) | 1ull << 40};
    static const uint16_t exps[] = {0, 1, 0x3fff, 0x7fff, 0x7ffe, 0x3c00, 0x43ff, 0x3f80, 0x407f};
    unsigned exp = FUZZ_PICK(b->f, exps) | fuzz_below(b->f, 2) << 15;

    switch (fuzz_below(b->f, 3)) {
    case 0:
        st64(to, FUZZ_PICK(b->f, mants));
        st16(to + 8, (uint16_t)exp);
        break;
    case 1:
        st64(to, FUZZ_PICK(b->f, mants) >> 12 | (uint64_t)FUZZ_PICK(b->f, exps) << 52);
        break;
    default:
        st32(to, (uint32_t)(FUZZ_PICK(b->f, mants) >> 41) | (uint32_t)FUZZ_PICK(b->f, exps) << 23);
        break;
    }
}

/* Where pages of data and of stacks are when they are scattered. */
#define SCATTERED 0xa0000

static uint64_t scattered(uint64_t lin)
{
    uint64_t page = lin / PAGE_SIZE;
    return SCATTERED + (page >> 4 & 7) * 0x8000 + (page * 3 & 7) * PAGE_SIZE;
}

/* Every page has its own, or one would do for another. */
static void put_data(struct bench *b)
{
    static const uint8_t zeros[PAGE_SIZE];
    uint8_t data[512];

    for (uint64_t at = 0; at < RAM_BYTES; at += PAGE_SIZE)
        physmap_write_buf(b->map, at, zeros, PAGE_SIZE);
    fuzz_bytes(b->f, data, 256);
    if (fuzz_one_in(b->f, 2)) /* floating-point numbers that are special in one format or another */
        for (unsigned k = 0; k + 10 < 256; k += 2 + fuzz_below(b->f, 20))
            put_special(b, data + k);
    memcpy(data + 256, data, 256);
    for (uint64_t at = DATA; at < DATA + 0x3000; at += 256) {
        const uint8_t *from = data + at / PAGE_SIZE * 56 % 256;
        physmap_write_buf(b->map, at, from, 256);
        physmap_write_buf(b->map, scattered(at) + at % PAGE_SIZE, from, 256);
    }
}

static void set_registers(struct bench *b, const struct program *p)
{
    bench_set_registers(b);
    for (unsigned k = 0; k < 16; k++) { /* mostly pointers; some anything */
        if (k == REG_SP || (k >= 8 && p->mode < COMPAT))
            continue;
        if (k == REG_AX || k == REG_DX || (k >= 8 && k < 12))
            b->cpu->r[k] = fuzz_number(b->f);
        else if (p->calm)
            b->cpu->r[k] = DATA + fuzz_below(b->f, 0x1fc0);
        if (p->mode < COMPAT)
            b->cpu->r[k] = (uint32_t)b->cpu->r[k];
        if (mode_is_16(p->mode) && p->calm) /* offsets, whatever the address size */
            b->cpu->r[k] &= 0xffff;
    }
    if (mode_is_16(p->mode) && !fuzz_one_in(b->f, 16))
        b->cpu->r[REG_SP] = fuzz_one_in(b->f, 16) ? fuzz_below(b->f, 9) : 0x8000;
    b->cpu->r[REG_CX] = !p->calm && fuzz_one_in(b->f, 8) ? fuzz_number(b->f) : fuzz_below(b->f, 24);
    if (p->mode < COMPAT)
        b->cpu->r[REG_CX] = (uint32_t)b->cpu->r[REG_CX];
    cpu_change_flags(b->cpu, 0, fuzz_one_in(b->f, 32) ? 0 : FL_TF | FL_AC | FL_NT);
    if (!fuzz_one_in(b->f, 8))
        b->cpu->fpu.mxcsr = fuzz_one_in(b->f, 4) ? 0x9fc0 : 0x1f80;
    b->cpu->rip = p->at - p->cs;
    cpu_update_mode(b->cpu);
}

static void put_page(struct bench *b, uint64_t lin, uint64_t phys, unsigned rights)
{
    unsigned size = b->cpu->cr4 & CR4_PAE ? 8 : 4;
    uint64_t table = TABLES + 0x4000; /* of cpu_bench.c */
    physmap_write(b->map, table + lin / PAGE_SIZE * size, phys | rights, size);
}

/* Pages are in another order in memory than in the address space: who takes one for its neighbour is found
 * out. Behind the data there is a page that cannot be written, and none. */
static void put_pages(struct bench *b)
{
    static const uint32_t stacks[] = {STACK0, STACK3};
    bool scatter = !fuzz_one_in(b->f, 6);

    if (!(b->cpu->cr0 & CR0_PG) || fuzz_one_in(b->f, 6))
        return;
    for (uint64_t at = DATA; at < DATA + 0x4000; at += PAGE_SIZE)
        put_page(b, at, scatter ? scattered(at) : at, 0x67);
    for (unsigned k = 0; k < ARRAY_LEN(stacks) && scatter; k++)
        for (uint64_t at = stacks[k] - 0x2000; at < stacks[k] + PAGE_SIZE; at += PAGE_SIZE)
            put_page(b, at, scattered(at), 0x67);
    if (b->mode < COMPAT || fuzz_one_in(b->f, 4))
        return;
    put_page(b, DATA + 0x2000, scatter ? scattered(DATA + 0x2000) : DATA + 0x2000, 0x65);
    put_page(b, DATA + 0x3000, 0, 0);
    b->cpu->cr0 |= CR0_WP;
    cpu_cr_changed(b->cpu);
}

/* Bases and limits that programs meet, and some that they do not like. CS's is in the table too: handlers
 * return to it. */
static void set_segments(struct bench *b, const struct program *p)
{
    struct segreg *seg = b->cpu->seg;

    if (p->skewed) {
        seg[SEG_DS].base = fuzz_one_in(b->f, 2) ? 16 : 0;
        seg[SEG_ES].base = fuzz_one_in(b->f, 2) ? 0xfffffff0 : 0;
        seg[SEG_DS].limit = fuzz_one_in(b->f, 2) ? DATA + 0x17fe : UINT32_MAX;
        seg[SEG_SS].limit = 0xfffff;
        if (fuzz_one_in(b->f, 4))
            seg[SEG_SS].ar &= ~(uint32_t)AR_DB;
        seg[SEG_CS].limit = fuzz_one_in(b->f, 4) ? p->at + p->bytes / 2 : 0xfffff;
    }
    if (!mode_is_16(p->mode))
        return;
    seg[SEG_CS].base = p->cs;
    seg[SEG_CS].limit = fuzz_one_in(b->f, 8) ? p->at - p->cs + p->bytes / 2 : 0xffff;
    if (p->mode != PROT16) {
        seg[SEG_CS].sel = (uint16_t)(p->cs >> 4);
        return;
    }
    physmap_write(b->map, GDT + (K_CODE16 & ~7u),
                  (seg[SEG_CS].limit & 0xffff) | (uint64_t)(p->cs & 0xffffff) << 16 | 0x9bull << 40,
                  8);
    if (fuzz_one_in(b->f, 4))
        seg[SEG_SS].ar |= AR_DB;
    if (fuzz_one_in(b->f, 4))
        seg[SEG_DS].limit = 0x17fe;
    if (fuzz_one_in(b->f, 8))
        seg[SEG_ES].ar = FUZZ_PICK(b->f, ((const uint32_t[]){0x91, 0x97, 0x9b, 0x99, AR_UNUSABLE}));
}

static void set_up(struct bench *b, const struct program *p)
{
    b->mode = p->mode;
    b->noise = 1;
    cpu_clear_interrupt(b->cpu, CPU_INTR | CPU_NMI | CPU_INIT | CPU_SIPI | CPU_STOP);
    put_data(b);
    bench_enter_mode(b);
    if (!fuzz_one_in(b->f, 8)) {
        b->cpu->cr0 &= ~(CR0_TS | CR0_EM);
        cpu_cr_changed(b->cpu);
    }
    put_pages(b);
    put_gates(b, p);
    set_segments(b, p);
    physmap_write_buf(b->map, p->at, p->code, p->bytes);
    set_registers(b, p);
}

/* ---- two of everything --------------------------------------------------------------------------- */

struct pair {
    struct bench b[2]; /* the interpreter's, the translator's */
    struct fuzz f[2];
    unsigned threshold;
    size_t room;
};

static void pair_new(struct pair *t, unsigned threshold, size_t room)
{
    memset(t, 0, sizeof(*t));
    t->threshold = threshold;
    t->room = room;
    for (unsigned k = 0; k < 2; k++) {
        bench_new(&t->b[k], "max");
        t->b[k].f = &t->f[k];
    }
    if (!cpu_use_translator(t->b[1].cpu, room, threshold))
        no_translator = true;
}

static void pair_free(struct pair *t)
{
    for (unsigned k = 0; k < 2; k++)
        bench_free(&t->b[k]);
}

static const uint8_t *memory(struct bench *b)
{
    return physmap_host(b->map, b->ram_ra);
}

static bool same_memory(struct pair *t, size_t bytes)
{
    return memcmp(memory(&t->b[0]), memory(&t->b[1]), bytes) == 0;
}

/* Breakpoints in the program and watchpoints on its data, or a single step, in code that may be hot by now. */
static void debug(struct bench *b, const struct program *p)
{
    struct cpu *cpu = b->cpu;

    if (fuzz_one_in(b->f, 4)) {
        cpu_change_flags(cpu, FL_TF, FL_TF);
        cpu_update_mode(cpu);
        return;
    }
    cpu->dr[7] = 0x400;
    for (unsigned k = 0; k < 4; k++) {
        bool data = fuzz_one_in(b->f, 2);
        unsigned kind = data ? fuzz_below(b->f, 16) : 0;
        cpu->dr[k] = data ? DATA + fuzz_below(b->f, 0x2000) : p->address[fuzz_below(b->f, p->n)];
        cpu->dr[7] |= kind << (16 + 4 * k) | fuzz_below(b->f, 4) << 2 * k;
    }
    cpu_dr_changed(cpu);
}

/* A slice on both; false if they differ afterwards. */
static bool slice(struct pair *t, const struct program *p, uint64_t n, bool look_at_memory)
{
    enum cpu_exit why[2];
    uint64_t done[2];

    for (unsigned k = 0; k < 2; k++) {
        struct cpu *cpu = t->b[k].cpu;
        if (cpu->activity != CPU_ACTIVE && cpu->activity != CPU_SHUTDOWN)
            cpu_interrupt(cpu, CPU_NMI);
        if (fuzz_one_in(&t->f[k], 64))
            cpu_interrupt(cpu, fuzz_one_in(&t->f[k], 2) ? CPU_INTR : CPU_FLUSH);
        if (fuzz_one_in(&t->f[k], 128))
            debug(&t->b[k], p);
        why[k] = cpu_run(cpu, n, &done[k]);
    }
    count.slices++;
    count.insns += done[1];
    return why[0] == why[1] && done[0] == done[1] &&
           vmstate_hash(&vm_cpu, t->b[0].cpu, 0) == vmstate_hash(&vm_cpu, t->b[1].cpu, 0) &&
           same_memory(t, look_at_memory ? RAM_BYTES : 0);
}

/* Starts it, a few times with other registers, and lets it run; false if it comes to different ends. */
static bool run_program(struct pair *t, const struct program *p, const struct fuzz *choices)
{
    static const uint16_t sizes[] = {1, 3, 50, 1000};
    static const uint8_t slices[] = {48, 32, 8, 2};
    unsigned rounds;

    for (unsigned k = 0; k < 2; k++) {
        t->f[k] = *choices;
        set_up(&t->b[k], p);
    }
    rounds = 1 + fuzz_below(&t->f[0], 4);
    fuzz_below(&t->f[1], 4);
    for (unsigned r = 0; r < rounds; r++) {
        unsigned size = fuzz_below(&t->f[0], 4), n = slices[size];
        fuzz_below(&t->f[1], 4);
        if (r) {
            set_registers(&t->b[0], p);
            set_registers(&t->b[1], p);
        }
        for (unsigned k = 0; k < n && t->b[0].cpu->activity != CPU_SHUTDOWN; k++)
            if (!slice(t, p, sizes[size], k + 1 == n || sizes[size] >= 50))
                return false;
    }
    return same_memory(t, RAM_BYTES);
}

/* ---- what differs -------------------------------------------------------------------------------- */

struct fields {
    uint8_t data[64 * 1024];
    size_t used;
    bool compare;
};

static void field(void *opaque, const char *path, const struct vm_field *fd, void *data)
{
    struct fields *s = opaque;
    size_t bytes = (size_t)fd->size * fd->count;

    if (s->used + bytes > sizeof(s->data))
        return;
    if (!s->compare) {
        memcpy(s->data + s->used, data, bytes);
    } else {
        for (unsigned k = 0; k < fd->count; k++) {
            const uint8_t *was = s->data + s->used + k * fd->size;
            const uint8_t *is = (uint8_t *)data + k * fd->size;
            if (memcmp(was, is, fd->size) == 0)
                continue;
            fprintf(stderr, "  %s[%u]: interpreter ", path, k);
            for (unsigned n = fd->size; n-- > 0;)
                fprintf(stderr, "%02x", was[n]);
            fprintf(stderr, " translator ");
            for (unsigned n = fd->size; n-- > 0;)
                fprintf(stderr, "%02x", is[n]);
            fputc('\n', stderr);
        }
    }
    s->used += bytes;
}

static void show_difference(struct pair *t)
{
    static struct fields s;
    const uint8_t *a = memory(&t->b[0]), *b = memory(&t->b[1]);

    vmstate_walk(&vm_cpu, t->b[0].cpu, field, &s);
    s.used = 0;
    s.compare = true;
    vmstate_walk(&vm_cpu, t->b[1].cpu, field, &s);
    for (unsigned k = 0, n = 0; k < RAM_BYTES && n < 16; k++)
        if (a[k] != b[k] && ++n)
            fprintf(stderr, "  memory %x: interpreter %02x translator %02x\n", k, a[k], b[k]);
    fprintf(stderr, "interpreter:\n");
    bench_describe(t->b[0].cpu);
    fprintf(stderr, "translator:\n");
    bench_describe(t->b[1].cpu);
}

static void show_program(struct pair *t, const struct program *p, const struct fuzz *choices)
{
    struct bench *b = &t->b[0];
    char text[96];

    t->f[0] = *choices;
    set_up(b, p);
    fprintf(stderr, "mode %u, cpl %u, threshold %u, %zu bytes of code; to begin with:\n", p->mode,
            b->cpu->cpl, t->threshold, t->room);
    bench_describe(b->cpu);
    for (unsigned k = 0; k < p->n; k++) {
        for (unsigned at = p->address[k]; at < p->address[k + 1] && p->keep[k];) {
            const uint8_t *code = p->code + (at - p->at);
            unsigned left = p->address[k + 1] - at;
            struct insn i;
            struct decode_result res;
            bool ok = insn_decode(b->cpu, code, left, 0, &i, &res);
            unsigned len = ok ? MAX((unsigned)i.len, 1u) : left;

            snprintf(text, sizeof(text), "?");
            if (ok)
                insn_format(&i, at, text, sizeof(text));
            fprintf(stderr, "%3u %x: %-36s", k, at, text);
            for (unsigned n = 0; n < len; n++)
                fprintf(stderr, " %02x", code[n]);
            fputc('\n', stderr);
            at += len;
        }
    }
}

static bool fails_afresh(const struct pair *like, const struct program *p,
                         const struct fuzz *choices)
{
    struct pair t;
    bool same;

    pair_new(&t, like->threshold, like->room);
    same = run_program(&t, p, choices);
    pair_free(&t);
    return !same;
}

/* Leaves out what is not needed for a difference. */
static void reduce(const struct pair *like, struct program *p, const struct fuzz *choices)
{
    bool again = true;

    while (again) {
        again = false;
        for (unsigned k = 0; k < p->n; k++) {
            if (!p->keep[k])
                continue;
            p->keep[k] = false;
            program_lay_out(p);
            if (fails_afresh(like, p, choices))
                again = true;
            else
                p->keep[k] = true;
        }
    }
    program_lay_out(p);
}

_Noreturn static void failed(struct pair *t, struct program *p, const struct fuzz *choices)
{
    struct pair fresh;

    if (!fails_afresh(t, p, choices)) {
        show_difference(t);
        show_program(t, p, choices);
        fuzz_fail("translated code comes to another end, after the programs before it");
    }
    reduce(t, p, choices);
    pair_new(&fresh, t->threshold, t->room);
    run_program(&fresh, p, choices);
    show_difference(&fresh);
    show_program(&fresh, p, choices);
    fuzz_fail("translated code comes to another end");
}

/* ---- cases --------------------------------------------------------------------------------------- */

static void run(struct fuzz *f)
{
    static const enum mode modes[] = {LONG64, LONG64, LONG64, PROT32, COMPAT,
                                      REAL,   PROT16, V86,    PROT32};
    struct pair t;
    struct program p;

    unsigned threshold = FUZZ_PICK(f, thresholds);
    pair_new(&t, threshold, FUZZ_PICK(f, code_rooms));
    while (!no_translator && fuzz_more(f)) {
        struct bench maker = {.f = f, .mode = FUZZ_PICK(f, modes)};
        program_make(&p, &maker);
        program_lay_out(&p);
        struct fuzz choices = *f;
        if (!run_program(&t, &p, &choices))
            failed(&t, &p, &choices);
        count.programs++;
        *f = t.f[0];
    }
    pair_free(&t);
}

static void init(const char *dir)
{
}

static void fini(void)
{
    if (no_translator)
        printf("no translator for this host: nothing to compare\n");
    else
        printf("%" PRIu64 " programs, %" PRIu64 " slices, %" PRIu64 " instructions\n",
               count.programs, count.slices, count.insns);
}

const struct fuzz_target fuzz_target = {
    .name = "fuzz_jit", .cases = 100, .steps = STEPS, .init = init, .run = run, .fini = fini};
