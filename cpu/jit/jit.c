/* The translator's runtime: code memory, hot blocks, links, and the slow ways out of generated code.
 * See jit.h. */
#include <stdlib.h>
#include <string.h>

#include "base/hostmem.h"
#include "base/hostthread.h"
#include "cpu/flags.h"
#include "cpu/interp.h"
#include "cpu/jit/jit_int.h"

#define THRESHOLD 16

static HANDLER(count_entry);

/* ---- code memory ------------------------------------------------------------------------------- */

struct jit *jit_new(struct cpu *cpu, size_t code_bytes)
{
    struct jit *j = calloc(1, sizeof(*j));
    void *rx;

    if (!j)
        return NULL;
    j->size = code_bytes;
    j->threshold = THRESHOLD;
    j->rw = hostmem_alloc_code(code_bytes, &rx);
    j->jumps = hostmem_alloc(JIT_JUMPS * sizeof(*j->jumps));
    if (!j->rw || !j->jumps || !jit_stats_init(j)) {
        jit_free(j);
        return NULL;
    }
    j->rx = (uint8_t *)rx - j->rw;
    if (!jit_backend_init(j)) {
        jit_free(j);
        return NULL;
    }
    j->fixed = j->used;
    j->next_cookie = 1;
    if (cpu->env.code_made)
        cpu->env.code_made(cpu->env.opaque,
                           &(struct cpu_code){j->rw + j->rx, j->fixed, 0, 0, false});
    cpu->tr.jumps = j->jumps;
    return j;
}

void jit_free(struct jit *j)
{
    if (!j)
        return;
    if (j->rw)
        hostmem_free_code(j->rw, j->rw + j->rx, j->size);
    if (j->jumps)
        hostmem_free(j->jumps, JIT_JUMPS * sizeof(*j->jumps));
    free(j->exits);
    jit_stats_fini(j);
    free(j);
}

void jit_set_threshold(struct jit *j, unsigned entries)
{
    j->threshold = MAX(entries, 1u);
}

/* ---- links ------------------------------------------------------------------------------------- */

struct jit_exit *jit_exit_new(struct jit *j, uint32_t *number)
{
    if (j->exit_count == j->exit_room)
        return NULL;
    struct jit_exit *e = &j->exits[j->exit_count];
    memset(e, 0, sizeof(*e));
    *number = j->exit_count++;
    return e;
}

/* The displacement is 4 aligned or not: only the CPU that owns the code runs it, and not now. */
static void point(struct jit *j, struct jit_exit *e, const uint8_t *to)
{
    int32_t d = (int32_t)(to - (e->at + j->rx + 4));
    memcpy(e->at, &d, sizeof(d));
}

static void unlink_in(struct jit *j, struct block *b)
{
    while (b->exits_in) {
        struct jit_exit *e = b->exits_in;
        b->exits_in = e->next_in;
        e->to = NULL;
        point(j, e, e->stub);
    }
}

/* Links out of dropped code stay in their targets' lists: they are never followed again, and the
 * lists are dropped with all code. */
void jit_drop_code(struct cpu *cpu, struct block *b)
{
    struct jit *j = cpu->tr.jit;

    if (!j || !b->code)
        return;
    unlink_in(j, b);
    /* RIP's low bits are those of the address in 64-bit and flat code. */
    for (unsigned k = 0; k < JIT_JUMPS; k += PAGE_SIZE) {
        struct jit_jump *s = &j->jumps[k + (b->ra & (PAGE_SIZE - 1))];
        if (s->code == b->code)
            *s = (struct jit_jump){0};
    }
    b->code = NULL;
    b->heat = 0;
    b->insn[0].fn = count_entry;
    cpu->tr.code_dropped = true;
}

void jit_flush(struct cpu *cpu)
{
    struct jit *j = cpu->tr.jit;

    if (!j)
        return;
    if (cpu->env.code_dropped)
        cpu->env.code_dropped(cpu->env.opaque, j->rw + j->rx + j->fixed, j->used - j->fixed);
    j->used = j->fixed;
    j->exit_count = 0;
    memset(j->jumps, 0, JIT_JUMPS * sizeof(*j->jumps));
    j->stats.flushes++;
}

/* ---- the table of indirect branches -------------------------------------------------------------- */

static void set_cookie(struct cpu *cpu)
{
    struct jit *j = cpu->tr.jit;
    unsigned k =
        (unsigned)((uintptr_t)cpu->mmu.tlb / sizeof(struct tlb) * 2 + cpu->mode / MODE_USER) &
        (ARRAY_LEN(j->cookies) - 1);

    if (j->cookies[k].generation != cpu->mmu.generation || j->cookies[k].space != cpu->mmu.tlb ||
        j->cookies[k].mode != cpu->mode || !j->cookies[k].id) {
        if (!j->next_cookie) { /* all used: none may mean two things */
            memset(j->jumps, 0, JIT_JUMPS * sizeof(*j->jumps));
            memset(j->cookies, 0, sizeof(j->cookies));
            j->next_cookie = 1;
        }
        j->cookies[k].generation = cpu->mmu.generation;
        j->cookies[k].space = cpu->mmu.tlb;
        j->cookies[k].mode = cpu->mode;
        j->cookies[k].id = j->next_cookie++;
    }
    cpu->tr.cookie = j->cookies[k].id;
}

const uint8_t *jit_find(struct cpu *cpu, uint64_t rip)
{
    struct jit *j = cpu->tr.jit;
    struct block *b;

    cpu->rip = rip;
    cpu->blk = NULL;
    j->stats.lookups++;
    if ((cpu->pending & cpu->pending_mask) || !(b = block_lookup_any(cpu, rip)) || !b->code) {
        j->stats.lookup_misses++;
        jit_stats_why(cpu, JIT_WHY_LOOKUP);
        return NULL;
    }
    struct jit_jump *s = &j->jumps[rip & (JIT_JUMPS - 1)];
    *s = (struct jit_jump){rip, cpu->tr.cookie, 0, b->code, 0};
    cpu->tr.rip_page = rip - (b->ra & (PAGE_SIZE - 1));
    return b->code;
}

const uint8_t *jit_link(struct cpu *cpu, uint32_t n)
{
    struct jit *j = cpu->tr.jit;
    struct jit_exit *e = &j->exits[n];
    uint64_t rip = cpu_wrap_rip(cpu, cpu->tr.rip_page + e->offset);
    struct block *b;

    cpu->rip = rip;
    cpu->blk = NULL;
    j->stats.links++;
    if ((cpu->pending & cpu->pending_mask) || !(b = block_lookup_any(cpu, rip)) || !b->code) {
        jit_stats_why(cpu, JIT_WHY_LINK);
        return NULL;
    }
    /* The page may have been mapped elsewhere since it was entered, without a flush so far. */
    if (!e->to && align_down(b->ra, PAGE_SIZE) == e->page) {
        e->to = b;
        e->next_in = b->exits_in;
        b->exits_in = e;
        point(j, e, b->code);
    }
    return b->code;
}

/* ---- one instruction by the interpreter ------------------------------------------------------------ */

static void flags_from_host(struct cpu *cpu)
{
    if (cpu->cc_op >> 2 == CC_HOST)
        flags_set_host(cpu, cpu->tr.host_flags & (cpu->cc_op & 1 ? ~(FL_AF << 8) : ~0));
}

void jit_host_flags(struct cpu *cpu)
{
    flags_from_host(cpu);
    cpu->tr.host_flags = flags_to_host(flags_arith(cpu));
    cpu->cc_op = CC_HOST * 4;
}

/* Only the interpreter raises #XM. */
static bool unmasked(const struct cpu *cpu)
{
    return (cpu->fpu.mxcsr & 0x1f80) != 0x1f80;
}

static struct block *block_of(const struct insn *i)
{
    return (struct block *)(uintptr_t)((const uint8_t *)(i - i->idx) -
                                       offsetof(struct block, insn));
}

static struct block *resume(struct cpu *cpu, const struct insn *i)
{
    struct block *b = block_of(i);

    flags_from_host(cpu);
    cpu->blk = b;
    cpu->r[REG_BRIP] = cpu_wrap_rip(cpu, cpu->tr.rip_page + (b->ra & (PAGE_SIZE - 1)));
    return b;
}

bool jit_run_one(struct cpu *cpu, const struct insn *i)
{
    struct block *b = resume(cpu, i);
    bool ok;

    cpu->mmu.slow_seen = 0;
    ok = interp_one(cpu, i);
    jit_stats_one(cpu, b, i, cpu->mmu.slow_seen);
    if (!ok) {
        cpu->tr.jit->why = JIT_WHY_FAULT;
        return false;
    }
    if (UNLIKELY(cpu->budget < 0 || (cpu->pending & cpu->pending_mask) || cpu->tr.code_dropped ||
                 (cpu->tr.vec_live && unmasked(cpu)))) {
        jit_stats_why(cpu, cpu->tr.code_dropped ? JIT_WHY_CODE
                           : cpu->budget < 0    ? JIT_WHY_BUDGET
                                                : JIT_WHY_OTHER);
        interp_leave_dead(cpu, i + 1);
        return false;
    }
    return true;
}

bool jit_run_one_flags(struct cpu *cpu, const struct insn *i)
{
    if (!jit_run_one(cpu, i))
        return false;
    jit_host_flags(cpu);
    return true;
}

void jit_run_end(struct cpu *cpu, const struct insn *i)
{
    struct block *b = resume(cpu, i);

    /* Branches must not go on to the next block: that might enter generated code again. */
    cpu_interrupt(cpu, CPU_LEAVE);
    interp_go(cpu, interp_handler(b, i), i);
    cpu_clear_interrupt(cpu, CPU_LEAVE);
    jit_stats_end(cpu, b, i);
}

/* ---- hot blocks -------------------------------------------------------------------------------- */

static HANDLER(enter)
{
    struct block *b = cpu->blk;

    if ((b->vec && unmasked(cpu)) || cpu->budget + b->n < b->unit_n) {
        insn_fn fn = b->first_fn;
        return fn(cpu, i);
    }
    set_cookie(cpu);
    cpu->budget += b->n; /* the code takes it off again */
    cpu->tr.rip_page = cpu->r[REG_BRIP] - (b->ra & (PAGE_SIZE - 1));
    cpu->tr.vec_live = VEC_NONE;
    cpu->tr.code_dropped = false;
    jit_stats_enter(cpu);
    cpu->tr.jit->thunk.enter(cpu, b->code);
    jit_stats_left(cpu);
    flags_from_host(cpu);
    cpu->blk = NULL;
    return NULL;
}

/* The array of exits may not move, for lists lead through it: it is as large as code can need. */
static bool exits_left(struct jit *j)
{
    if (!j->exits) {
        j->exit_room = (uint32_t)(j->size / 48);
        j->exits = calloc(j->exit_room, sizeof(*j->exits));
        if (!j->exits)
            j->exit_room = 0;
    }
    return j->exit_room - j->exit_count >= 4;
}

/* Tells whoever names code for profilers and debuggers. */
static void tell(struct cpu *cpu, const struct block *b, size_t bytes)
{
    struct cpu_code c = {b->code, bytes, cpu->r[REG_BRIP] + cpu->seg_base[SEG_CS], 16,
                         b->mode & MODE_USER};

    if (b->mode & (MODE_CODE32 | MODE_CODE64))
        c.bits = b->mode & MODE_CODE64 ? 64 : 32;
    if (!(b->mode & MODE_CODE64))
        c.lin = (uint32_t)c.lin;
    cpu->env.code_made(cpu->env.opaque, &c);
}

enum jit_result jit_translate(struct cpu *cpu, struct block *b)
{
    struct jit *j = cpu->tr.jit;
    uint64_t start = host_now_ns(), bytes = j->stats.host_bytes;
    enum jit_result r = exits_left(j) ? jit_backend_translate(cpu, b) : JIT_FULL;

    j->stats.ns += host_now_ns() - start;
    if (r == JIT_DONE && cpu->env.code_made)
        tell(cpu, b, j->stats.host_bytes - bytes);
    return r;
}

static HANDLER(count_entry)
{
    struct block *b = cpu->blk;
    insn_fn fn = b->first_fn;

    if (++b->heat >= cpu->tr.jit->threshold) {
        switch (jit_translate(cpu, b)) {
        case JIT_DONE:
            b->insn[0].fn = enter;
            return enter(cpu, i);
        case JIT_REFUSED:
            cpu->tr.jit->stats.refused++;
            b->insn[0].fn = fn;
            break;
        case JIT_FULL: /* nothing may be dropped while a block runs */
            cpu_interrupt(cpu, CPU_FLUSH_CODE);
            break;
        }
    }
    return fn(cpu, i);
}

/* Alignment checks, single steps and breakpoints are the interpreter's; so are segments with bases
 * and limits. */
static bool mode_fits(const struct jit *j, uint32_t mode)
{
    if (mode & (MODE_AC | MODE_TRACE | MODE_VM86))
        return false;
    if ((mode & MODE_SINGLE) && j->threshold > 1)
        return false;
    return (mode & MODE_CODE64) || (mode & (MODE_CODE32 | MODE_FLAT | MODE_STACK32)) ==
                                       (MODE_CODE32 | MODE_FLAT | MODE_STACK32);
}

void jit_block_made(struct cpu *cpu, struct block *b)
{
    b->first_fn = b->insn[0].fn;
    if (cpu->tr.jit && mode_fits(cpu->tr.jit, b->mode))
        b->insn[0].fn = count_entry;
}
