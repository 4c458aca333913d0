/* Translating a unit: the main line, its ends, and the cold code after it. See x64_tr.h. */
#include "cpu/jit/x64_x87.h"

const uint8_t x64_host_of[16] = {RBX, RCX, RDX,      R12,      R14, R13, RSI,      RDI,
                                 R8,  R9,  X64_NONE, X64_NONE, R10, R11, X64_NONE, X64_NONE};

struct x64_rm tr_reg(const struct tr *t, unsigned n)
{
    if (x64_host_of[n] != X64_NONE)
        return x64_r(x64_host_of[n]);
    return x64_m(RBP, CPU_OFF(r) + 8 * (int32_t)n);
}

/* ---- cold code --------------------------------------------------------------------------------- */

struct cold *tr_cold(struct tr *t, enum cold_kind kind)
{
    CHECK(t->n_cold < COLD_MAX);
    struct cold *c = &t->cold[t->n_cold++];
    memset(c, 0, sizeof(*c));
    c->kind = kind;
    c->k = t->k;
    c->flags = t->f;
    c->note = t->note;
    return c;
}

void tr_cold_from(struct cold *c, uint8_t *at)
{
    CHECK(c->n_from < ARRAY_LEN(c->from));
    c->from[c->n_from++] = at;
}

/* What follows a check that stands for other accesses cannot go on without it. */
static struct cold *slow_way(struct tr *t)
{
    bool end = (insn_row(t->i)->attr & AT_END) || tr_may_break(t, t->k);

    if (!t->one)
        t->one = tr_cold(t, end ? COLD_END : COLD_ONE);
    return t->one;
}

void tr_miss(struct tr *t, enum x64_cc cc)
{
    tr_cold_from(slow_way(t), x64_jcc(&t->x, cc));
}

void tr_tlb_miss(struct tr *t, enum x64_cc cc, bool write, uint8_t *retry)
{
    struct cold *slow = slow_way(t), *c = tr_cold(t, COLD_FILL);

    c->slow = slow;
    c->write = write;
    c->back = retry;
    tr_cold_from(c, x64_jcc(&t->x, cc));
}

static void insn_to_rax(struct tr *t, unsigned k)
{
    x64_mov_imm(&t->x, RAX, (uintptr_t)t->at[k]);
}

static const uint8_t *writable(const struct tr *t, const uint8_t *thunk)
{
    return thunk - t->j->rx;
}

static void emit_leave_at(struct tr *t, uint32_t offset)
{
    tr_rip(t, TMP0, offset);
    x64_store(&t->x, 8, CPU_FIELD(rip), TMP0);
    x64_jmp_to(&t->x, writable(t, t->j->thunk.leave));
}

static void emit_link(struct tr *t, struct cold *c)
{
    struct jit_exit *e = &t->j->exits[c->exit];

    e->at = c->from[0];
    e->stub = t->x.p + t->j->rx;
    x64_mov_imm(&t->x, RAX, c->exit);
    x64_jmp_to(&t->x, writable(t, t->j->thunk.link));
}

/* RIP in TMP0 is in no slot. If it is not canonical, the branch faults as if nothing had happened. */
static void emit_target(struct tr *t, struct cold *c)
{
    struct x64 *x = &t->x;

    uint8_t *bad = x64_jcc(x, tr_not_canonical(t));
    x64_jmp_to(x, writable(t, t->j->thunk.miss));
    x64_resolve(bad, x->p);
    if (c->undo)
        x64_lea(x, 8, R14, x64_m(R14, -c->undo));
    insn_to_rax(t, c->k);
    x64_jmp_to(x, writable(t, t->j->thunk.end));
}

static void give_back(struct tr *t, int32_t n)
{
    if (n)
        x64_alu_imm(&t->x, X_ADD, 8, CPU_FIELD(budget), n);
}

/* How many instructions of the unit, from k on, access memory: for the TLB's hit rate. */
static unsigned memory_insns(const struct tr *t, unsigned k)
{
    unsigned n = 0;

    for (; k < t->n; k++)
        n += t->hot[k]      ? ir_touches_memory(&t->ir[k])
             : t->native[k] ? tr_native_touches_memory(t->at[k])
                            : insn_is_mem(t->at[k]);
    return n;
}

/* Where code counts: instructions from k on will access memory, or (op X_SUB) will not after all. */
static void count_accesses(struct tr *t, enum x64_alu op, unsigned k)
{
    if (t->j->count_accesses)
        x64_alu_imm(&t->x, op, 8, CPU_FIELD(tr.accesses), (int32_t)memory_insns(t, k));
}

/* The running instruction by the interpreter, which must not find the rest of the unit taken off the
 * budget: an event that it makes due ends the slice. */
static void emit_one(struct tr *t, bool want_flags)
{
    struct x64 *x = &t->x;
    const struct jit_thunks *th = &t->j->thunk;
    int32_t rest = tr_rest(t, t->k), left = (int32_t)(t->b->n - t->i->idx) - 1;
    bool x87 = t->k + 1 < t->n_x87;
    uint8_t *on, *out;

    give_back(t, rest);
    insn_to_rax(t, t->k);
    x64_call_to(x, writable(t, want_flags ? th->one_flags : th->one));
    if (!rest && !x87)
        return;
    if (rest)
        x64_alu_imm(x, X_SUB, 8, CPU_FIELD(budget), rest);
    on = rest ? x64_jcc(x, CC_NS) : x64_jmp(x);
    out = x->p;
    give_back(t, rest + left);
    emit_leave_at(t, tr_next_offset(t));
    x64_resolve(on, x->p);
    if (x87) { /* it may not be, after a new control word */
        x64_call_to(x, writable(t, th->load_x87));
        x64_test(x, 1, x64_r(RAX), RAX);
        x64_resolve(x64_jcc(x, CC_Z), out);
    }
    if (want_flags)
        tr_get_host_flags(x);
}

static void emit_end(struct tr *t)
{
    give_back(t, tr_rest(t, t->k));
    insn_to_rax(t, t->k);
    x64_jmp_to(&t->x, writable(t, t->j->thunk.end));
}

static void emit_fill(struct tr *t, struct cold *c)
{
    struct x64 *x = &t->x;
    const struct jit_thunks *th = &t->j->thunk;

    x64_call_to(x, writable(t, c->write ? th->fill_write : th->fill_read));
    x64_resolve(x64_jcc(x, CC_NZ), c->back);
    if (c->slow->start)
        x64_jmp_to(x, c->slow->start);
    else
        tr_cold_from(c->slow, x64_jmp(x));
}

static void emit_cold(struct tr *t, struct cold *c)
{
    struct x64 *x = &t->x;
    const struct jit_thunks *th = &t->j->thunk;

    for (unsigned n = 0; n < c->n_from; n++)
        x64_resolve(c->from[n], x->p);
    c->start = x->p;
    tr_select(t, c->k);
    switch (c->kind) {
    case COLD_ONE:
        tr_x87_note_store(t, &c->note);
        if (t->live[c->k])
            tr_flags_store_from(t, &c->flags);
        emit_one(t, c->want_flags);
        x64_jmp_to(x, c->back);
        break;
    case COLD_END:
        tr_x87_note_store(t, &c->note);
        tr_flags_store_from(t, &c->flags);
        if (tr_may_break(t, c->k)) {
            x64_mov_imm(x, RAX, (uintptr_t)t->part[0].b);
            x64_store(x, 8, CPU_FIELD(tr.broken), RAX);
        }
        emit_end(t);
        break;
    case COLD_FILL:
        emit_fill(t, c);
        break;
    case COLD_BUDGET:
        give_back(t, (int32_t)t->n);
        emit_leave_at(t, t->page_off);
        break;
    case COLD_LINK:
        emit_link(t, c);
        break;
    case COLD_SIDE:
        tr_x87_note_store(t, &c->note);
        tr_flags_store_from(t, &c->flags);
        give_back(t, tr_rest(t, c->k));
        count_accesses(t, X_SUB, t->part[t->part_of[c->k] + 1].first);
        tr_goto(t, c->target);
        break;
    case COLD_STOP:
        emit_leave_at(t, c->target);
        break;
    case COLD_TARGET:
        emit_target(t, c);
        break;
    case COLD_COOKIE: /* RIP is what the slot says, only the address space is another */
        x64_load(x, 8, TMP0, x64_m(TMP1, offsetof(struct jit_jump, rip)));
        x64_jmp_to(x, c->slow ? c->slow->start : writable(t, th->miss));
        break;
    case COLD_FRAMES:
        tr_frames_forget(x);
        x64_jmp_to(x, c->back);
        break;
    case COLD_LOAD_FLAGS:
        x64_call_to(x, writable(t, th->load_flags));
        x64_jmp_to(x, c->back);
        break;
    case COLD_LOAD_VEC: /* exceptions that are not masked are the interpreter's */
        x64_load(x, 4, RAX, CPU_FIELD(fpu.mxcsr));
        x64_op(x, 0, 0xf7, 4, 2, x64_r(RAX), 0); /* not */
        x64_test_imm(x, 4, x64_r(RAX), 0x1f80);
        tr_cold_from(&t->cold[0], x64_jcc(x, CC_NZ));
        x64_call_to(x, writable(t, t->vec == VEC_YMM ? th->load_ymm : th->load_vec));
        x64_jmp_to(x, c->back);
        break;
    case COLD_LOAD_X87:
        x64_call_to(x, writable(t, th->load_x87));
        x64_test(x, 1, x64_r(RAX), RAX);
        tr_cold_from(&t->cold[0], x64_jcc(x, CC_Z));
        x64_jmp_to(x, c->back);
        break;
    }
}

/* ---- ends -------------------------------------------------------------------------------------- */

void tr_link(struct tr *t, uint8_t *at, uint32_t offset)
{
    struct cold *c = tr_cold(t, COLD_LINK);
    struct jit_exit *e = jit_exit_new(t->j, &c->exit);

    CHECK(e);
    e->page = align_down(t->b->ra, PAGE_SIZE);
    e->offset = (uint16_t)offset;
    tr_cold_from(c, at);
}

/* Loops look whether somebody wants the CPU to stop. */
static void emit_stop_check(struct tr *t, uint32_t target)
{
    struct cold *c = tr_cold(t, COLD_STOP);

    c->target = target;
    x64_load(&t->x, 4, TMP0, CPU_FIELD(pending));
    x64_test(&t->x, 4, CPU_FIELD(pending_mask), TMP0);
    tr_cold_from(c, x64_jcc(&t->x, CC_NZ));
}

static bool backward(const struct tr *t, uint32_t offset)
{
    return offset <= t->page_off + t->i->off;
}

/* Of an instruction that runs by itself nothing leads on: what comes next may be a debug trap. */
static bool is_single(const struct tr *t)
{
    return t->b->mode & MODE_SINGLE;
}

void tr_goto(struct tr *t, uint32_t offset)
{
    if (is_single(t)) {
        emit_leave_at(t, offset);
        return;
    }
    if (offset >= PAGE_SIZE) {
        tr_rip(t, TMP0, offset);
        tr_goto_tmp0(t, 0);
        return;
    }
    if (backward(t, offset))
        emit_stop_check(t, offset);
    if (!t->frame) {
        tr_link(t, x64_jmp(&t->x), offset);
        return;
    }
    tr_frame_push(t);
    tr_link(t, x64_call(&t->x), offset);
    tr_frame_land(t);
}

void tr_goto_if(struct tr *t, enum x64_cc cc, uint32_t taken, uint32_t next)
{
    if (taken < PAGE_SIZE && !backward(t, taken) && !is_single(t)) {
        tr_link(t, x64_jcc(&t->x, cc), taken);
    } else {
        uint8_t *over = x64_jcc(&t->x, cc ^ 1);
        tr_goto(t, taken);
        x64_resolve(over, t->x.p);
    }
    tr_goto(t, next);
}

void tr_side_exit(struct tr *t, enum x64_cc cc, uint32_t offset)
{
    struct cold *c = tr_cold(t, COLD_SIDE);

    c->target = offset;
    tr_cold_from(c, x64_jcc(&t->x, cc));
}

/* from: where RIP in TMP0 has been looked for in vain; cookie: where RIP alone was right, or NULL. */
static void target_not_found(struct tr *t, uint8_t **from, unsigned n, uint8_t *cookie, int32_t undo)
{
    struct x64 *x = &t->x;
    struct cold *c = NULL, *other;

    if (t->code64) {
        c = tr_cold(t, COLD_TARGET);
        c->undo = undo;
        while (n-- > 0)
            tr_cold_from(c, from[n]);
    } else if (!x->overflow) {
        while (n-- > 0)
            x64_resolve(from[n], writable(t, t->j->thunk.miss));
    }
    if (cookie) {
        other = tr_cold(t, COLD_COOKIE);
        other->slow = c;
        tr_cold_from(other, cookie);
    }
}

/* To where the slot of RIP in TMP0 says. */
static void goto_by_table(struct tr *t, uint8_t **from, unsigned n, int32_t undo)
{
    struct x64 *x = &t->x;
    uint8_t *cookie;

    x64_load(x, 4, TMP1, x64_r(TMP0));
    x64_alu_imm(x, X_AND, 4, x64_r(TMP1), JIT_JUMPS - 1);
    x64_shift_imm(x, X_SHL, 4, x64_r(TMP1), 5);
    x64_alu_to_reg(x, X_ADD, 8, TMP1, CPU_FIELD(tr.jumps));
    x64_alu_to_reg(x, X_CMP, 8, TMP0, x64_m(TMP1, offsetof(struct jit_jump, rip)));
    from[n++] = x64_jcc(x, CC_NZ);
    x64_load(x, 4, TMP0, CPU_FIELD(tr.cookie));
    x64_alu_to_reg(x, X_CMP, 4, TMP0, x64_m(TMP1, offsetof(struct jit_jump, cookie)));
    cookie = x64_jcc(x, CC_NZ);
    if (t->frame)
        tr_frame_push(t);
    x64_load(x, 8, TMP0, x64_m(TMP1, offsetof(struct jit_jump, rip_page)));
    x64_store(x, 8, CPU_FIELD(tr.rip_page), TMP0);
    x64_op(x, 0, 0xff, 4, t->frame ? 2 : 4, x64_m(TMP1, offsetof(struct jit_jump, code)), 0);
    if (t->frame)
        tr_frame_land(t);
    target_not_found(t, from, n, cookie, undo);
}

void tr_goto_tmp0(struct tr *t, int32_t undo)
{
    struct x64 *x = &t->x;
    uint8_t *from[3];
    unsigned n = 0;

    if (t->seg && !is_single(t)) {
        tr_seg_goto_tmp0(t);
        return;
    }
    if (is_single(t)) { /* jit_find leaves then */
        from[0] = x64_jmp(x);
        target_not_found(t, from, 1, NULL, undo);
        return;
    }
    /* Where others run at the same time and cannot cut the budget, no loop may be without a look. */
    if (t->cpu->env.parallel) {
        x64_load(x, 4, TMP1, CPU_FIELD(pending));
        x64_test(x, 4, CPU_FIELD(pending_mask), TMP1);
        from[n++] = x64_jcc(x, CC_NZ);
    }
    if (undo)
        tr_frame_return(t);
    goto_by_table(t, from, n, undo);
}

/* ---- the main line ----------------------------------------------------------------------------- */

static void emit_by_interpreter(struct tr *t)
{
    bool end = (insn_row(t->i)->attr & AT_END) || tr_raises(t);

    tr_x87_note_flush(t);
    t->b->no_code |= BIT(t->i->idx);
    if (t->live[t->k])
        tr_flags_store(t);
    if (end)
        emit_end(t);
    else
        emit_one(t, false);
    tr_flags_in_memory(t);
}

/* False: the interpreter does it. */
static bool emit_insn(struct tr *t)
{
    bool done = false;

    t->one = NULL;
    t->nth_access = 0;
    if ((insn_row(t->i)->attr & AT_END) && tr_is_last(t))
        tr_x87_note_flush(t);
    else if (!t->x87[t->k])
        tr_x87_regs_change(t);
    if (!tr_raises(t))
        done = t->hot[t->k]                    ? tr_hot(t)
               : t->native[t->k]               ? tr_native(t)
               : t->x87[t->k]                  ? tr_x87(t)
               : insn_row(t->i)->attr & AT_END ? tr_loop(t)
                                               : tr_general(t);
    if (!done) {
        CHECK(!t->one);
        CHECK(t->recording || t->interpreted[t->k]);
        emit_by_interpreter(t);
        return false;
    }
    if (t->one) {
        t->one->back = t->x.p;
        t->one->want_flags = t->f.native || t->f.host_form;
    }
    return true;
}

/* An instruction that reaches into the next page: only while that page is where it was decoded from. The
 * run loop looks again, and fills the TLB, if it does not seem so. */
static void emit_second_page(struct tr *t)
{
    struct x64 *x = &t->x;
    const uint8_t *host = physmap_host(t->cpu->env.mem, t->b->ra2);

    tr_rip(t, TMP0, PAGE_SIZE);
    x64_load(x, 4, TMP1, x64_r(TMP0));
    tr_tlb_entry(t);
    x64_alu_to_reg(x, X_CMP, 8, TMP0, x64_m(TMP1, offsetof(struct tlb_entry, exec)));
    tr_cold_from(&t->cold[0], x64_jcc(x, CC_NZ));
    x64_alu_to_reg(x, X_ADD, 8, TMP0, x64_m(TMP1, offsetof(struct tlb_entry, addend)));
    x64_mov_imm(x, TMP1, (uintptr_t)host);
    x64_alu_to_reg(x, X_CMP, 8, TMP0, x64_r(TMP1));
    tr_cold_from(&t->cold[0], x64_jcc(x, CC_NZ));
}

static void emit_entry(struct tr *t)
{
    tr_cold(t, COLD_BUDGET);
    x64_alu_imm(&t->x, X_SUB, 8, CPU_FIELD(budget), (int32_t)t->n);
    tr_cold_from(&t->cold[0], x64_jcc(&t->x, CC_S));
    count_accesses(t, X_ADD, 0);
    if (t->b->ra2 != RA_NONE)
        emit_second_page(t);
    if (t->vec) {
        struct cold *c = tr_cold(t, COLD_LOAD_VEC);
        x64_alu_imm(&t->x, X_CMP, 4, CPU_FIELD(tr.vec_live), t->vec);
        tr_cold_from(c, x64_jcc(&t->x, CC_C));
        c->back = t->x.p;
    }
    if (t->n_x87) {
        struct cold *c = tr_cold(t, COLD_LOAD_X87);
        x64_alu_imm(&t->x, X_CMP, 4, CPU_FIELD(tr.x87_live), X87_LIVE);
        tr_cold_from(c, x64_jcc(&t->x, CC_NZ));
        c->back = t->x.p;
    }
}

/* From the entry to where the last instruction leads on. */
static void emit_main_line(struct tr *t)
{
    t->n_cold = 0;
    t->note = (struct x87_note){0};
    tr_liveness(t);
    tr_flags_in_memory(t);
    tr_select(t, 0);
    emit_entry(t);
    for (unsigned k = 0; k < t->n; k++) {
        tr_select(t, k);
        bool done = emit_insn(t);
        if (t->recording)
            tr_track(t, !done);
    }
    if (!(insn_row(t->i)->attr & AT_END) && !tr_raises(t)) {
        tr_x87_note_flush(t);
        tr_flags_store(t);
        tr_goto(t, t->page_off + t->b->bytes);
    }
}

/* What the accesses are is known only when they have been emitted: once for that, and once for good. */
static void emit_unit(struct tr *t)
{
    uint32_t exits = t->j->exit_count;

    tr_x87_analyse(t);
    t->recording = true;
    tr_track_begin(t);
    emit_main_line(t);
    t->recording = false;
    t->n_spans = 0;
    if (!t->part[0].b->no_spans)
        tr_spans(t);
    t->x.p = t->x.start;
    t->j->exit_count = exits;
    emit_main_line(t);
    t->j->stats.main_bytes += (size_t)(t->x.p - t->x.start);
    for (unsigned n = 1; n < t->n_cold; n++)
        emit_cold(t, &t->cold[n]);
    emit_cold(t, &t->cold[0]);
}

static void note_done(struct jit *j, struct tr *t)
{
    struct block *b = t->part[0].b;

    b->code = t->x.start + j->rx;
    b->vec = t->vec != VEC_NONE;
    b->x87 = t->n_x87 != 0;
    b->unit_n = (uint16_t)t->n;
    b->unit_lines = tr_unit_lines(t);
    for (unsigned p = 1; p < t->n_parts; p++)
        t->part[p].b->in_unit |= t->part[p].b != b;
    j->used = (size_t)align_up((uint64_t)(t->x.p - j->rw), 16);
    j->stats.blocks++;
    j->stats.parts += t->n_parts;
    j->stats.regions += t->n_parts > 1;
    j->stats.memory_insns += memory_insns(t, 0);
    j->stats.insns += t->n;
    for (unsigned p = 0; p < t->n_parts; p++)
        j->stats.guest_bytes += t->part[p].b->bytes;
    j->stats.host_bytes += (uint64_t)(t->x.p - t->x.start);
}

enum jit_result jit_backend_translate(struct cpu *cpu, struct block *b)
{
    struct jit *j = cpu->tr.jit;
    struct tr t;
    uint32_t exits = j->exit_count;

    memset(&t, 0, offsetof(struct tr, at));
    t.cpu = cpu;
    t.j = j;
    t.x.start = t.x.p = j->rw + j->used;
    t.x.end = t.x.start + JIT_ROOM - 64;
    t.code64 = b->mode & MODE_CODE64;
    tr_seg_begin(&t, b);
    if (t.seg && b->ra2 != RA_NONE)
        return JIT_REFUSED;
    tr_unit(&t, b);
    emit_unit(&t);
    if (t.x.overflow) {
        j->exit_count = exits;
        return JIT_REFUSED;
    }
    note_done(j, &t);
    b->seg_rip = cpu->r[REG_BRIP];
    b->seg_limit = t.seg_limit;
    return JIT_DONE;
}
