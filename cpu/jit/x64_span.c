/* Spans: memory operands of a unit that lie at known distances from each other are checked once, all of
 * them, where the first of them is used; the others find the addend of their page in cpu->tr.span.
 *
 * The unit is emitted twice. The first time only records the accesses as they are checked, with what is
 * known of their addresses: a register's value as it was at the head, or after an instruction that nothing
 * is known of (a version), plus a constant. tr_spans() then puts together what one check can cover: the same
 * versions, all within SPAN_BYTES, and no write after a check for reading alone. The second time uses it.
 *
 * A check that fails for the whole span breaks it: the rest of the block is interpreted, for the accesses
 * that follow have no checks of their own. Units that break often are translated again without spans
 * (jit_broken): their operands lie across pages, or in pages that are not ordinary.
 *
 * Between the check and the last access nothing may take the translation away: what could do that (an
 * instruction that the interpreter executes as a matter of course) ends all spans, and what an interpreted
 * access asks for (a flush, an interrupt) is seen at once by jit_run_one, which leaves.
 */
#include "cpu/jit/x64_x87.h"

#define SPAN_BYTES 256
#define FAR        (1 << 28) /* offsets beyond are not followed */

enum { VERSION_NONE, VERSION_PAGE, VERSION_FIRST };

/* ---- values of registers ------------------------------------------------------------------------- */

static void renew(struct tr *t, unsigned n)
{
    t->value[n] = (struct value){t->next_version++, 0};
}

static void set_value(struct tr *t, unsigned n, struct value v, int64_t plus)
{
    v.offset += plus;
    if (v.offset > FAR || v.offset < -FAR)
        renew(t, n);
    else
        t->value[n] = v;
}

static void renew_all(struct tr *t)
{
    for (unsigned n = 0; n < 16; n++)
        renew(t, n);
}

void tr_track_begin(struct tr *t)
{
    t->next_version = VERSION_FIRST;
    t->n_access = 0;
    t->epoch = 0;
    t->access_of[0] = 0;
    renew_all(t);
}

static unsigned full_size(const struct tr *t)
{
    return t->code64 ? 8 : 4;
}

/* The value that hot instruction writes to its register is known: base + *plus. */
static bool known_value(const struct tr *t, const struct ir_node *v, unsigned dst,
                        struct value *base, int64_t *plus)
{
    const struct insn *i = t->i;
    const struct ir_node *b = tr_node(t, v->b);

    *base = t->value[dst];
    *plus = 0;
    if (i->size != full_size(t))
        return false;
    switch (v->op) {
    case IR_ADD:
    case IR_SUB:
        if (b->op != IR_IMM)
            return false;
        *plus = v->op == IR_ADD ? (int64_t)b->imm : -(int64_t)b->imm;
        return *plus <= FAR && *plus >= -FAR;
    case IR_SRC:
        *base = t->value[i->reg];
        return t->ir[t->k].form == HF_RR;
    case IR_EA:
        if (i->base >= 16 || i->index != REG_ZERO || i->ea_shift != (t->code64 ? 0 : 32))
            return false;
        *base = t->value[i->base];
        *plus = i->disp;
        return true;
    default:
        return false;
    }
}

static unsigned reg_field(const struct tr *t, unsigned field)
{
    return t->i->size == 1 ? field >> 3 : field;
}

static void track_hot(struct tr *t)
{
    bool src_mem = t->ir[t->k].form == HF_RM;
    unsigned dst = reg_field(t, src_mem ? t->i->reg : t->i->rm);
    const struct ir_node *n;
    struct value base;
    int64_t plus;

    if ((n = tr_find(t, IR_PUSH))) {
        set_value(t, REG_SP, t->value[REG_SP], -(int64_t)full_size(t));
        return;
    }
    if (tr_find(t, IR_PEEK)) {
        set_value(t, REG_SP, t->value[REG_SP], full_size(t));
        if (tr_find(t, IR_WRITE))
            renew(t, t->i->rm);
        return;
    }
    if (tr_find(t, IR_LEAVE)) {
        set_value(t, REG_SP, t->value[REG_BP], full_size(t));
        renew(t, REG_BP);
        return;
    }
    if (tr_find(t, IR_WIDEN_A))
        renew(t, REG_AX);
    if (tr_find(t, IR_SIGN_OF_A))
        renew(t, REG_DX);
    if (tr_find(t, IR_WRITE_SRC))
        renew(t, reg_field(t, t->i->reg));
    n = tr_find(t, IR_WRITE);
    if (n && !tr_dst_is_mem(t)) {
        /* Of an exchange the other value is not known any more. */
        if (!tr_find(t, IR_WRITE_SRC) && known_value(t, tr_node(t, n->a), dst, &base, &plus))
            set_value(t, dst, base, plus);
        else
            renew(t, dst);
    }
    if ((tr_find(t, IR_SHIFT) || tr_find(t, IR_MULTIPLY)) && !tr_dst_is_mem(t))
        renew(t, dst);
}

void tr_track(struct tr *t, bool by_interpreter)
{
    t->access_of[t->k + 1] = (uint16_t)t->n_access;
    t->interpreted[t->k] = by_interpreter;
    if (by_interpreter) {
        t->epoch++;
        renew_all(t);
    } else if (t->hot[t->k]) {
        track_hot(t);
    } else if (t->native[t->k]) {
        renew(t, t->i->reg & 15);
        renew(t, t->i->rm & 15);
        renew(t, t->i->vvvv & 15); /* BLSR and its kin */
    } else if (t->x87[t->k]) {
        for (unsigned n = 0; n < 16; n++)
            if (tr_x87_writes(t->i) >> n & 1)
                renew(t, n);
    } else {
        renew_all(t);
    }
}

/* ---- accesses ------------------------------------------------------------------------------------ */

/* What is known of a memory operand's address. */
static bool operand_key(const struct tr *t, const struct insn *i, struct access *a)
{
    if (i->ea_shift != (t->code64 ? 0 : 32))
        return false;
    a->offset = i->disp;
    a->scale = i->scale;
    if (i->base == REG_BRIP) {
        a->base = VERSION_PAGE;
        a->offset += t->page_off;
    } else if (i->base < 16) {
        a->base = t->value[i->base].version;
        a->offset += t->value[i->base].offset;
    }
    if (i->index < 16) {
        a->index = t->value[i->index].version;
        a->offset += t->value[i->index].offset * (1 << i->scale);
    } else if (i->index != REG_ZERO) {
        return false;
    }
    return true;
}

static struct access *record(struct tr *t, unsigned base, int32_t disp, bool flat)
{
    struct access *a = &t->access[t->n_access++];
    bool known = true;

    CHECK(t->n_access <= ACCESS_MAX);
    memset(a, 0, sizeof(*a));
    a->span = SPAN_NONE;
    a->seg = flat ? SEG_NONE : t->i->seg;
    a->epoch = t->epoch;
    if (base == REG_ZERO) {
        known = operand_key(t, t->i, a);
    } else {
        a->base = t->value[base].version;
        a->offset = t->value[base].offset + disp;
    }
    if (!known)
        a->base = t->next_version++;
    return a;
}

const struct access *tr_access(struct tr *t, unsigned base, int32_t disp, unsigned size, bool write,
                               bool flat)
{
    static const struct access unknown = {.span = SPAN_NONE};
    unsigned n = t->access_of[t->k] + t->nth_access++;
    struct access *a;

    if (t->recording) {
        a = record(t, base, disp, flat);
        a->size = (uint8_t)size;
        a->write = write;
        return a;
    }
    if (n >= t->access_of[t->k + 1])
        return &unknown;
    a = &t->access[n];
    CHECK(a->size == size && a->write == write);
    return a;
}

static bool joins(const struct span *s, const struct access *first, const struct access *a)
{
    int64_t lo = MIN(s->lo, a->offset), hi = MAX(s->hi, a->offset + a->size);

    return first->base == a->base && first->index == a->index && first->scale == a->scale &&
           first->seg == a->seg && first->epoch == a->epoch && (first->write || !a->write) &&
           hi - lo <= SPAN_BYTES;
}

/* The latest span that a can join, or a new one in the place of the one that has been unused longest. */
static struct span *span_for(struct tr *t, struct span **open, const struct access *a)
{
    unsigned oldest = 0;

    for (unsigned n = CPU_SPANS; n-- > 0;) {
        struct span *s = open[n];
        if (!s) {
            oldest = n;
            continue;
        }
        if (joins(s, &t->access[s->first], a))
            return s;
        if (open[oldest] && s->last < open[oldest]->last)
            oldest = n;
    }
    if (t->n_spans == ARRAY_LEN(t->span))
        return NULL;
    open[oldest] = &t->span[t->n_spans++];
    *open[oldest] = (struct span){.first = (uint16_t)(a - t->access),
                                  .slot = (uint8_t)oldest,
                                  .lo = a->offset,
                                  .hi = a->offset + a->size};
    return open[oldest];
}

void tr_spans(struct tr *t)
{
    struct span *open[CPU_SPANS] = {NULL};

    t->n_spans = 0;
    for (unsigned n = 0; n < t->n_access; n++) {
        struct access *a = &t->access[n];
        struct span *s = span_for(t, open, a);
        if (!s)
            continue;
        s->lo = MIN(s->lo, a->offset);
        s->hi = MAX(s->hi, a->offset + a->size);
        s->last = (uint16_t)n;
        a->span = (uint8_t)(s - t->span);
    }
    for (unsigned n = 0; n < t->n_access; n++) {
        struct access *a = &t->access[n];
        if (a->span != SPAN_NONE && t->span[a->span].first == t->span[a->span].last)
            a->span = SPAN_NONE;
    }
}

bool tr_opens_span(const struct tr *t, const struct access *a)
{
    return a->span != SPAN_NONE && &t->access[t->span[a->span].first] == a;
}

bool tr_in_span(const struct tr *t, const struct access *a)
{
    return a->span != SPAN_NONE && !tr_opens_span(t, a);
}

bool tr_is_checked(const struct tr *t, unsigned k)
{
    /* Operands in segments are checked in ways of their own. */
    if (t->recording || t->interpreted[k] || t->access_of[k] == t->access_of[k + 1])
        return true;
    for (unsigned n = t->access_of[k]; n < t->access_of[k + 1]; n++)
        if (!tr_in_span(t, &t->access[n]))
            return true;
    return false;
}

bool tr_may_break(const struct tr *t, unsigned k)
{
    if (t->recording)
        return false;
    for (unsigned n = t->access_of[k]; n < t->access_of[k + 1]; n++)
        if (tr_opens_span(t, &t->access[n]))
            return true;
    return false;
}
