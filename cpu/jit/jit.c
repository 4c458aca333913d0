/* The translator's runtime: code memory, hot blocks, links, and the slow ways out of generated code.
 * See jit.h. */
#include <stdlib.h>
#include <string.h>

#include "base/hostmem.h"
#include "base/hostthread.h"
#include "cpu/flags.h"
#include "cpu/interp.h"
#include "cpu/jit/jit_int.h"
#include "cpu/sem.h"
#include "cpu/decode.h"

#define THRESHOLD 16
#define MOVED                                                                                      \
    32 /* times the threshold: entries of segmented code at another place than it is for */

static HANDLER(count_entry);

/* ---- code memory ------------------------------------------------------------------------------- */

/* The largest power of two that is no more. */
static uint32_t ring_size(size_t n)
{
    return 1u << (31 - __builtin_clz((uint32_t)MIN(n, (size_t)1 << 30)));
}

static void all_free(struct jit *j)
{
    j->used = j->fixed;
    fifo_init(&j->room, j->size - j->fixed);
    j->exit_count = j->exit_oldest = 0;
    j->piece_count = j->piece_oldest = 0;
}

/* Of bytes, what code does not get is for exits and pieces: of what is usual twice as many as code of that
 * size has (280 bytes, two exits), or as many as one translation may need. */
static bool allocate(struct jit *j, size_t bytes)
{
    void *rx;

    j->exit_room = MAX(ring_size(bytes / 128), ring_size(JIT_EXITS * 2));
    j->piece_room = MAX(ring_size(bytes / 256), 16u);
    size_t others = j->exit_room * sizeof(*j->exits) + j->piece_room * sizeof(*j->pieces);
    j->size = (bytes - others) & ~(size_t)(PAGE_SIZE - 1);
    j->rw = hostmem_alloc_code(j->size, &rx);
    j->jumps = hostmem_alloc(JIT_JUMPS * sizeof(*j->jumps));
    j->exits = hostmem_alloc(j->exit_room * sizeof(*j->exits));
    j->pieces = hostmem_alloc(j->piece_room * sizeof(*j->pieces));
    if (!j->rw || !j->jumps || !j->exits || !j->pieces)
        return false;
    j->rx = (uint8_t *)rx - j->rw;
    return true;
}

struct jit *jit_new(struct cpu *cpu, size_t bytes)
{
    struct jit *j = calloc(1, sizeof(*j));

    if (!j)
        return NULL;
    CHECK(bytes >= JIT_MIN);
    j->threshold = THRESHOLD;
    if (!allocate(j, bytes) || !jit_stats_init(j) || !jit_backend_init(j)) {
        jit_free(j);
        return NULL;
    }
    j->fixed = j->used;
    all_free(j);
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
    if (j->exits)
        hostmem_free(j->exits, j->exit_room * sizeof(*j->exits));
    if (j->pieces)
        hostmem_free(j->pieces, j->piece_room * sizeof(*j->pieces));
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
    if (j->exit_count - j->exit_oldest == j->exit_room)
        return NULL;
    *number = j->exit_count++ & (j->exit_room - 1);
    struct jit_exit *e = &j->exits[*number];
    memset(e, 0, sizeof(*e));
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

static void unlink_out(struct jit_exit *e)
{
    if (!e->to)
        return;
    for (struct jit_exit **p = &e->to->exits_in; *p; p = &(*p)->next_in) {
        if (*p == e) {
            *p = e->next_in;
            return;
        }
    }
}

/* The code may be running: its memory, and the links out of it in their targets' lists, stay until it is
 * the oldest. */
void jit_drop_code(struct cpu *cpu, struct block *b)
{
    struct jit *j = cpu->tr.jit;

    if (!j || !b->code)
        return;
    unlink_in(j, b);
    /* A slot's low bits are those of the address. */
    for (unsigned k = 0; k < JIT_JUMPS; k += PAGE_SIZE) {
        struct jit_jump *s = &j->jumps[k + (b->ra & (PAGE_SIZE - 1))];
        if (s->code == b->code)
            *s = (struct jit_jump){0};
    }
    j->pieces[b->piece & (j->piece_room - 1)].of = NULL;
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
        cpu->env.code_dropped(cpu->env.opaque, j->rw + j->rx + j->fixed, j->size - j->fixed);
    all_free(j);
    memset(j->jumps, 0, JIT_JUMPS * sizeof(*j->jumps));
    j->stats.flushes++;
}

/* ---- the table of indirect branches -------------------------------------------------------------- */

static void set_cookie(struct cpu *cpu)
{
    struct jit *j = cpu->tr.jit;
    uint64_t base = jit_segmented(cpu->mode) ? cpu->seg_base[SEG_CS] : 0;
    uint32_t limit = jit_segmented(cpu->mode) ? cpu->seg[SEG_CS].limit : 0;
    unsigned k = (unsigned)((uintptr_t)cpu->mmu.tlb / sizeof(struct tlb) * 2 +
                            cpu->mode / MODE_USER + (base >> 4) * 5) &
                 (ARRAY_LEN(j->cookies) - 1);

    if (j->cookies[k].generation != cpu->mmu.tlb->generation || j->cookies[k].mode != cpu->mode ||
        j->cookies[k].cs_base != base || j->cookies[k].cs_limit != limit || !j->cookies[k].id) {
        if (!j->next_cookie) { /* all used: none may mean two things */
            memset(j->jumps, 0, JIT_JUMPS * sizeof(*j->jumps));
            memset(j->cookies, 0, sizeof(j->cookies));
            j->next_cookie = 1;
        }
        j->cookies[k].generation = cpu->mmu.tlb->generation;
        j->cookies[k].mode = cpu->mode;
        j->cookies[k].cs_base = base;
        j->cookies[k].cs_limit = limit;
        j->cookies[k].id = j->next_cookie++;
    }
    cpu->tr.cookie = j->cookies[k].id;
}

static struct block *look_up(struct cpu *cpu, uint64_t rip)
{
    return jit_segmented(cpu->mode) ? block_lookup(cpu, rip) : block_lookup_any(cpu, rip);
}

/* b's code, if it is for where CS has b now. */
static const uint8_t *code_of(const struct cpu *cpu, const struct block *b, uint64_t rip)
{
    if (jit_segmented(b->mode) && (b->seg_rip != rip || b->seg_limit != cpu->seg[SEG_CS].limit))
        return NULL;
    return b->code;
}

const uint8_t *jit_find(struct cpu *cpu, uint64_t rip)
{
    struct jit *j = cpu->tr.jit;
    uint64_t lin = rip + cpu->seg_base[SEG_CS];
    struct block *b;

    cpu->rip = rip;
    cpu->blk = NULL;
    j->stats.lookups++;
    if (cpu_is_due(cpu) || !(b = look_up(cpu, rip)) || !code_of(cpu, b, rip)) {
        j->stats.lookup_misses++;
        jit_stats_why(cpu, JIT_WHY_LOOKUP);
        return NULL;
    }
    struct jit_jump *s = &j->jumps[lin & (JIT_JUMPS - 1)];
    cpu->tr.rip_page = rip - (b->ra & (PAGE_SIZE - 1));
    *s = (struct jit_jump){rip, cpu->tr.cookie, 0, b->code, cpu->tr.rip_page};
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
    if (cpu_is_due(cpu) || !(b = look_up(cpu, rip)) || !code_of(cpu, b, rip)) {
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

    jit_backend_settle(cpu);
    flags_from_host(cpu);
    cpu->blk = b;
    cpu->r[REG_BRIP] = cpu_wrap_rip(cpu, cpu->tr.rip_page + (b->ra & (PAGE_SIZE - 1)));
    return b;
}

bool jit_run_one(struct cpu *cpu, const struct insn *i)
{
    struct block *b = resume(cpu, i);
    bool go_on;

    cpu->mmu.slow_seen = 0;
    go_on = interp_one(cpu, i);
    jit_stats_one(cpu, b, i, cpu->mmu.slow_seen);
    cpu->mmu.fault.kept = false;
    if (!go_on) {
        cpu->tr.jit->why = JIT_WHY_FAULT;
        return false;
    }
    if (UNLIKELY(cpu->budget < 0 || cpu_is_due(cpu) || cpu->tr.code_dropped ||
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

#define BROKEN_MAX    32
#define WORTH_A_BREAK 5000u /* instructions: once in so many is no harm */

/* Faults break spans as a matter of course, and whoever goes through memory breaks one at each page's end;
 * operands that always lie across pages would break them for ever. */
static void count_broken(struct cpu *cpu)
{
    struct block *head = cpu->tr.broken;

    cpu->tr.broken = NULL;
    cpu->tr.jit->stats.broken++;
    if (cpu->exc_vector != EXC_NONE || head->dead)
        return;
    if (!head->broken)
        head->broken_since = cpu_retired(cpu);
    if (++head->broken < BROKEN_MAX)
        return;
    if (cpu_retired(cpu) - head->broken_since > BROKEN_MAX * WORTH_A_BREAK) {
        head->broken = 0;
        return;
    }
    head->no_spans = true;
    jit_drop_code(cpu, head);
}

/* What the run loop does between two blocks, as long as it comes to nothing but the next block's code: else
 * NULL, and nothing has changed. A shadow (STI, MOV SS) holds off only what there is none of. */
static const uint8_t *next_code(struct cpu *cpu)
{
    uint32_t mask = cpu->eflags & FL_IF ? ~0u : ~(uint32_t)CPU_INTR;
    struct block *b;

    if ((cpu_pending(cpu) & mask) || cpu->pending_dr6 || cpu->exc_vector != EXC_NONE ||
        cpu->activity != CPU_ACTIVE || cpu->stopper || (cpu->eflags & FL_TF) || cpu->budget <= 0)
        return NULL;
    cpu->tlb = cpu->mmu.tlb->e[cpu->mmu_index];
    b = look_up(cpu, cpu->rip);
    if (!b || !code_of(cpu, b, cpu->rip) || b->unit_n > cpu->budget || (b->vec && unmasked(cpu)) ||
        (b->x87 && !jit_backend_fpu_fits(cpu)))
        return NULL;
    cpu->pending_mask = mask;
    cpu->shadow_intr = cpu->shadow_ss = false;
    set_cookie(cpu);
    cpu->tr.rip_page = cpu->rip - (b->ra & (PAGE_SIZE - 1));
    cpu->tr.code_dropped = false;
    cpu->stat_blocks++;
    return b->code;
}

const uint8_t *jit_run_end(struct cpu *cpu, const struct insn *i)
{
    struct block *b = resume(cpu, i);
    bool single = b->mode & MODE_SINGLE;
    const uint8_t *code;

    if (insn_row(i)->sem == SEM_NONE && (insn_row(i)->attr & AT_END)) {
        interp_go(cpu, interp_handler(b, i), i);
    } else { /* branches must not go on to the next block: that might enter generated code again */
        cpu_interrupt(cpu, CPU_LEAVE);
        interp_go(cpu, interp_handler(b, i), i);
        cpu_clear_interrupt(cpu, CPU_LEAVE);
    }
    cpu->blk = NULL;
    cpu->mmu.fault.kept = false;
    if (cpu->tr.broken)
        count_broken(cpu);
    code = single ? NULL : next_code(cpu);
    jit_stats_end(cpu, b, i, !code);
    return code;
}

static bool fill(struct cpu *cpu, uint64_t page, const struct tlb_entry *e, enum mmu_access acc)
{
    enum mmu_index index = (enum mmu_index)cpu->mmu_index;

    cpu->tr.jit->stats.fills++;
    if (tlb_slot(&cpu->mmu, index, page) != e) /* over two pages */
        return false;
    if (!mmu_fill(&cpu->mmu, page, acc, index)) /* jit_run_one or jit_run_end says what it is */
        return false;
    cpu->tr.jit->stats.one++;
    cpu->tr.jit->stats.slow[MMU_SLOW_FILL]++;
    return true;
}

bool jit_fill_read(struct cpu *cpu, uint64_t page, const struct tlb_entry *e)
{
    return fill(cpu, page, e, MMU_READ);
}

bool jit_fill_write(struct cpu *cpu, uint64_t page, const struct tlb_entry *e)
{
    return fill(cpu, page, e, MMU_WRITE);
}

/* ---- hot blocks -------------------------------------------------------------------------------- */

static HANDLER(enter)
{
    struct block *b = cpu->blk;

    if (!code_of(cpu, b, cpu->r[REG_BRIP])) {
        insn_fn fn = b->first_fn;
        if (++b->heat > MOVED * cpu->tr.jit->threshold)
            jit_drop_code(cpu, b);
        return fn(cpu, i);
    }
    if ((b->vec && unmasked(cpu)) || (b->x87 && !jit_backend_fpu_fits(cpu)) ||
        cpu->budget + b->n < b->unit_n) {
        insn_fn fn = b->first_fn;
        return fn(cpu, i);
    }
    set_cookie(cpu);
    cpu->budget += b->n; /* the code takes it off again */
    cpu->tr.rip_page = cpu->r[REG_BRIP] - (b->ra & (PAGE_SIZE - 1));
    cpu->tr.vec_live = VEC_NONE;
    cpu->tr.x87_live = X87_MEMORY;
    cpu->tr.code_dropped = false;
    jit_stats_enter(cpu);
    cpu->tr.jit->thunk.enter(cpu, b->code);
    jit_backend_settle(cpu);
    jit_stats_left(cpu);
    flags_from_host(cpu);
    cpu->blk = NULL;
    return NULL;
}

static void evict_oldest(struct cpu *cpu)
{
    struct jit *j = cpu->tr.jit;
    struct jit_piece *p = &j->pieces[j->piece_oldest++ & (j->piece_room - 1)];

    if (p->of) {
        jit_drop_code(cpu, p->of);
        j->stats.evicted++;
    }
    for (uint32_t n = 0; n < p->exits; n++)
        unlink_out(&j->exits[j->exit_oldest++ & (j->exit_room - 1)]);
    if (cpu->env.code_dropped)
        cpu->env.code_dropped(cpu->env.opaque, j->rw + j->rx + j->fixed + j->room.tail, p->bytes);
    fifo_give(&j->room, p->bytes);
}

static bool has_room(struct jit *j)
{
    return j->piece_count - j->piece_oldest < j->piece_room &&
           j->exit_room - (j->exit_count - j->exit_oldest) >= JIT_EXITS &&
           fifo_room(&j->room, JIT_ROOM);
}

static void note_piece(struct jit *j, struct block *b, uint32_t exits)
{
    size_t at = j->fixed + j->room.head, bytes = j->used - at;

    b->piece = j->piece_count++;
    j->pieces[b->piece & (j->piece_room - 1)] = (struct jit_piece){b, (uint32_t)bytes, exits};
    fifo_take(&j->room, bytes);
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

/* No generated code runs now, so any of it may go. */
enum jit_result jit_translate(struct cpu *cpu, struct block *b)
{
    struct jit *j = cpu->tr.jit;
    uint64_t start = host_now_ns(), bytes = j->stats.host_bytes;

    while (!has_room(j))
        evict_oldest(cpu);
    j->used = j->fixed + j->room.head;
    uint32_t exits = j->exit_count;
    enum jit_result r = jit_backend_translate(cpu, b);
    if (r == JIT_DONE)
        note_piece(j, b, j->exit_count - exits);
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
        if (jit_translate(cpu, b) == JIT_DONE) {
            b->insn[0].fn = enter;
            return enter(cpu, i);
        }
        cpu->tr.jit->stats.refused++;
        b->insn[0].fn = fn;
    }
    return fn(cpu, i);
}

/* Alignment checks, single steps and breakpoints are the interpreter's. */
static bool mode_fits(const struct jit *j, uint32_t mode)
{
    return !(mode & (MODE_AC | MODE_TRACE)) && !((mode & MODE_SINGLE) && j->threshold > 1);
}

void jit_block_made(struct cpu *cpu, struct block *b)
{
    b->first_fn = b->insn[0].fn;
    if (cpu->tr.jit && mode_fits(cpu->tr.jit, b->mode))
        b->insn[0].fn = count_entry;
}
