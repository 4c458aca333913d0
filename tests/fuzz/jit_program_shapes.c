/* Shapes for random programs: instructions that only together try what the translator makes of several.
 * Accesses through registers that change by known amounts, or trade places (x64_span.c); loops of several
 * blocks with ways out and flags that live around them (x64_unit.c); calls that return to where they came
 * from, and to elsewhere; chains of flags. Between them comes anything. See jit_program.h.
 *
 * A shape stops writing where the program is full; what leads out of it then leads to the program's end.
 */
#include "tests/fuzz/jit_maker.h"

enum { ALWAYS = 16, CALL, NOWHERE = 255 };

/* ---- one instruction after the other ------------------------------------------------------------- */

static bool room(struct maker *m)
{
    if (!m->full && m->i->len)
        m->full = !maker_next(m);
    return !m->full;
}

/* Number of the next instruction. */
static unsigned here(const struct maker *m)
{
    return m->p->n + (m->i->len != 0);
}

static unsigned word_size(const struct maker *m)
{
    return m->half ? 2 : m->wide ? 8 : 4;
}

static void filler(struct maker *m)
{
    if (room(m))
        maker_filler(m);
}

static void fillers(struct maker *m, unsigned most)
{
    for (unsigned n = fuzz_below(m->f, most + 1); n > 0; n--)
        filler(m);
}

static void bytes(struct maker *m, unsigned n, const uint8_t *p)
{
    if (!room(m))
        return;
    for (unsigned k = 0; k < n; k++)
        maker_byte(m, p[k]);
}

static void one_byte(struct maker *m, uint8_t opcode)
{
    bytes(m, 1, &opcode);
}

/* Register and register or extension. */
static void two_registers(struct maker *m, unsigned size, uint32_t opcode, unsigned reg,
                          unsigned rm)
{
    struct operands o = {.size = size, .reg = reg, .rm = rm};
    if (room(m))
        maker_encode(m, 0, opcode, &o);
}

static void push_pop(struct maker *m, bool pop, unsigned reg)
{
    if (!room(m))
        return;
    if (reg >= 8)
        maker_byte(m, 0x41);
    maker_byte(m, (pop ? 0x58 : 0x50) | (reg & 7));
}

static void set_number(struct maker *m, unsigned reg, uint32_t v)
{
    struct operands o = {.size = 4, .rm = reg};
    if (!room(m))
        return;
    maker_encode(m, 0, 0xc7, &o);
    maker_number(m, v, 4);
}

/* CALL, JMP or Jcc; which one it is, for land(). */
static unsigned branch(struct maker *m, unsigned cc, unsigned target)
{
    if (!room(m))
        return NOWHERE;
    if (cc >= ALWAYS) {
        maker_byte(m, cc == CALL ? 0xe8 : 0xe9);
    } else {
        maker_byte(m, 0x0f);
        maker_byte(m, 0x80 | cc);
    }
    maker_lead_to(m, PLACE_REL32, target, 0);
    return m->p->n;
}

/* What was branch k leads here. */
static void land(struct maker *m, unsigned k)
{
    if (k != NOWHERE)
        m->p->insn[k].target = (uint8_t)here(m);
}

static unsigned any_condition(struct maker *m)
{
    return fuzz_below(m->f, 16);
}

/* ---- accesses ------------------------------------------------------------------------------------ */

/* Two pointers that are not the same, nor the stack's. */
static void two_pointers(struct maker *m, unsigned *a, unsigned *b)
{
    do
        *a = maker_pointer_reg(m);
    while (*a == SP);
    do
        *b = maker_pointer_reg(m);
    while (*b == SP || *b == *a);
}

/* Near the end of a page, of the last one that can be written, of the last one there is; or anywhere. */
static void place_pointer(struct maker *m, unsigned reg)
{
    uint32_t at = (m->half ? 0 : DATA) + fuzz_below(m->f, 0x1f00);

    if (fuzz_one_in(m->f, 2))
        at = (at & ~0xfffu) + PAGE_SIZE * fuzz_below(m->f, 3) -
             fuzz_below(m->f, fuzz_one_in(m->f, 2) ? 80 : 20);
    if (!fuzz_one_in(m->f, 3))
        set_number(m, reg, at);
}

static void vector_access(struct maker *m, struct operands *o)
{
    static const struct {
        uint8_t prefix;
        uint16_t opcode;
    } sse[] = {{0, 0x0f10},    {0, 0x0f11},    {0x66, 0x0f6f}, {0x66, 0x0f7f}, {0xf3, 0x0f6f},
               {0xf3, 0x0f7f}, {0xf2, 0x0f10}, {0xf2, 0x0f11}, {0xf3, 0x0f10}, {0xf3, 0x0f11},
               {0x66, 0x0fd6}, {0xf3, 0x0f7e}, {0, 0x0f28},    {0, 0x0f29},    {0x66, 0x0fef}},
      avx[] = {{0, 0x10}, {0, 0x11}, {1, 0x6f}, {1, 0x7f}, {2, 0x6f}, {2, 0x7f}};
    unsigned k = fuzz_below(m->f, ARRAY_LEN(sse));

    o->reg = fuzz_below(m->f, m->wide ? 16 : 8);
    if (fuzz_one_in(m->f, 2) && !m->half) {
        k = fuzz_below(m->f, ARRAY_LEN(avx));
        maker_vex(m, 1, avx[k].prefix, 0, !fuzz_one_in(m->f, 3), 16, avx[k].opcode, o);
        return;
    }
    o->size = m->half ? 2 : 4;
    maker_encode(m, sse[k].prefix, sse[k].opcode, o);
}

static void general_access(struct maker *m, struct operands *o)
{
    static const uint32_t extends[] = {0x0fb6, 0x0fb7, 0x0fbe, 0x0fbf};
    static const uint32_t bits[] = {0x0fa3, 0x0fab, 0x0fb3, 0x0fbb};

    switch (fuzz_below(m->f, 10)) {
    case 0:
        maker_encode_sized(m, fuzz_below(m->f, 8) << 3, o);
        break;
    case 1:
        maker_encode_sized(m, fuzz_below(m->f, 8) << 3 | 2, o);
        break;
    case 2:
        o->reg = fuzz_below(m->f, 8);
        maker_encode_sized(m, 0x80, o);
        maker_number(m, fuzz_number(m->f), MIN(o->size, 4u));
        break;
    case 3:
        if (fuzz_one_in(m->f, 2))
            maker_byte(m, 0xf0);
        maker_encode_sized(m, fuzz_one_in(m->f, 2) ? 0x86 : 0x0fc0, o);
        break;
    case 4:
        o->reg = fuzz_below(m->f, 2);
        maker_encode_sized(m, 0xfe, o);
        break;
    case 5:
        o->size = word_size(m);
        o->reg = fuzz_one_in(m->f, 2) ? 6 : 0;
        maker_encode(m, 0, o->reg ? 0xff : 0x8f, o); /* PUSH, POP */
        break;
    case 6:
        o->size = MAX(o->size, 2u);
        maker_encode(m, 0, FUZZ_PICK(m->f, extends), o);
        break;
    case 7: /* MOVBE */
        o->size = MAX(o->size, 2u);
        maker_encode(m, 0, 0x0f38f0 | fuzz_below(m->f, 2), o);
        break;
    case 8: /* BT and its kin: CX is mostly small, and leads not far away */
        o->size = MAX(o->size, 2u);
        o->reg = fuzz_one_in(m->f, 4) ? o->reg : CX;
        maker_encode(m, 0, FUZZ_PICK(m->f, bits), o);
        break;
    default: /* SETcc */
        o->size = 1;
        maker_encode(m, 0, 0x0f90 | any_condition(m), o);
        break;
    }
}

static void access_at(struct maker *m, unsigned base, int32_t disp)
{
    struct operands o = {.size = maker_size(m), .mem = true, .base = base, .disp = disp};

    if (!room(m))
        return;
    o.reg = fuzz_one_in(m->f, 4) ? maker_any_reg(m) : maker_plain_reg(m);
    if (fuzz_one_in(m->f, 10)) {
        o.shape = SHAPE_INDEX;
        o.index = CX;
        o.scale = fuzz_below(m->f, 4);
    }
    o.small_address = m->half && base == SP;
    switch (fuzz_below(m->f, 8)) {
    case 0:
    case 1:
        maker_encode_sized(m, 0x8a, &o);
        break;
    case 2:
    case 3:
        maker_encode_sized(m, 0x88, &o);
        break;
    case 4:
        vector_access(m, &o);
        break;
    case 5: /* FLD, FSTP, FADD */
        o.size = m->half ? 2 : 4;
        o.reg = fuzz_below(m->f, 3) * 3 % 4;
        maker_encode(m, 0, fuzz_one_in(m->f, 3) ? 0xd9 : 0xdd, &o);
        break;
    default:
        general_access(m, &o);
        break;
    }
}

/* Changes a pointer by what can be known, or mostly can. */
static void step_pointer(struct maker *m, unsigned reg)
{
    unsigned size = fuzz_one_in(m->f, 8) ? 2 + 2 * fuzz_below(m->f, 2) : word_size(m);
    struct operands o = {.size = size, .rm = reg}, lea = {.size = size, .mem = true};
    int8_t by = (int8_t)(fuzz_below(m->f, 2) ? 1 << fuzz_below(m->f, 6) : fuzz_u8(m->f));

    if (fuzz_one_in(m->f, 4)) /* by so much that it is in another page */
        set_number(m, CX, fuzz_below(m->f, 0x1800));
    if (!room(m))
        return;
    switch (fuzz_below(m->f, 8)) {
    case 0:
    case 1:
    case 2: /* ADD, SUB */
        o.reg = fuzz_one_in(m->f, 3) ? 5 : 0;
        maker_encode(m, 0, 0x83, &o);
        maker_byte(m, (uint8_t)by);
        break;
    case 3: /* INC, DEC */
        o.reg = fuzz_below(m->f, 2);
        maker_encode(m, 0, 0xff, &o);
        break;
    case 4:
    case 5:
        lea.reg = lea.base = reg;
        lea.disp = by;
        if (fuzz_one_in(m->f, 3)) {
            lea.shape = SHAPE_INDEX;
            lea.index = CX;
            lea.scale = fuzz_below(m->f, 2);
        }
        maker_encode(m, 0, 0x8d, &lea);
        break;
    case 6: /* to the stack and back, maybe as another value */
        push_pop(m, false, reg);
        if (fuzz_one_in(m->f, 2))
            step_pointer(m, reg);
        push_pop(m, true, reg);
        break;
    default: /* in one byte of it, or by what is in a register */
        if (fuzz_one_in(m->f, 3)) {
            o.size = 1;
            o.rm = reg == BX && fuzz_one_in(m->f, 2) ? 7 : reg;
            maker_encode(m, 0, 0x80, &o);
            maker_byte(m, fuzz_u8(m->f));
            break;
        }
        o.reg = CX;
        maker_encode(m, 0, fuzz_one_in(m->f, 2) ? 0x01 : 0x29, &o);
        break;
    }
}

/* b becomes what a is, nearly. */
static void copy_pointer(struct maker *m, unsigned a, unsigned b)
{
    struct operands o = {.size = word_size(m), .reg = b, .mem = true, .base = a};

    if (fuzz_one_in(m->f, 2)) {
        two_registers(m, fuzz_one_in(m->f, 6) ? 4 : word_size(m), 0x89, a, b);
    } else if (room(m)) {
        o.disp = (int8_t)fuzz_u8(m->f) / 2;
        maker_encode(m, 0, 0x8d, &o);
    }
}

static int32_t near_by(struct maker *m)
{
    return (int32_t)fuzz_below(m->f, 40) - (fuzz_one_in(m->f, 6) ? 32 : 0);
}

/* ---- shapes of accesses -------------------------------------------------------------------------- */

/* Pointers trade places in one of several ways; accesses through both, before and after. */
void shape_exchange(struct maker *m)
{
    unsigned a, b, size = fuzz_one_in(m->f, 6) ? 4 : word_size(m);
    int32_t around = (int32_t)fuzz_below(m->f, 64);

    two_pointers(m, &a, &b);
    place_pointer(m, a);
    if (fuzz_one_in(m->f, 3))
        copy_pointer(m, a, b);
    for (unsigned n = fuzz_below(m->f, 4); n > 0; n--)
        access_at(m, n & 1 ? a : b, around + near_by(m));
    switch (fuzz_below(m->f, 8)) {
    case 0: /* by the stack */
        push_pop(m, false, a);
        push_pop(m, false, b);
        push_pop(m, true, a);
        push_pop(m, true, b);
        break;
    case 1: /* by a third register */
        two_registers(m, size, 0x89, a, AX);
        two_registers(m, size, 0x89, b, a);
        two_registers(m, size, 0x89, AX, b);
        break;
    case 2: /* XADD */
        two_registers(m, size, 0x0fc1, a, b);
        break;
    case 3: /* CMPXCHG, of what may be the same */
        if (fuzz_one_in(m->f, 2))
            two_registers(m, size, 0x89, b, AX);
        two_registers(m, size, 0x0fb1, a, b);
        break;
    case 4: /* CMOVcc */
        two_registers(m, size, 0x0f40 | any_condition(m), a, b);
        break;
    default:
        two_registers(m, size, 0x87, a, b);
        break;
    }
    for (unsigned n = 2 + fuzz_below(m->f, 4); n > 0; n--) {
        access_at(m, n & 1 ? a : b, around + near_by(m));
        if (fuzz_one_in(m->f, 6))
            filler(m);
    }
}

/* Accesses at known distances while the registers move. */
void shape_span(struct maker *m)
{
    unsigned a, b;
    int32_t around = fuzz_one_in(m->f, 2) ? 0 : (int32_t)fuzz_below(m->f, 64);
    bool vectors = fuzz_one_in(m->f, 3);

    two_pointers(m, &a, &b);
    place_pointer(m, a);
    for (unsigned n = 3 + fuzz_below(m->f, 8); n > 0; n--) {
        if (vectors && fuzz_one_in(m->f, 2)) {
            struct operands o = {.mem = true, .base = a, .disp = around + near_by(m)};
            if (room(m))
                vector_access(m, &o);
            continue;
        }
        switch (fuzz_below(m->f, 12)) {
        case 0:
        case 1:
        case 2:
            step_pointer(m, a);
            break;
        case 3:
            copy_pointer(m, a, b);
            break;
        case 4:
            access_at(m, b, around + near_by(m));
            break;
        case 5:
            filler(m);
            break;
        default:
            access_at(m, a, around + near_by(m));
            break;
        }
    }
}

/* Runs of PUSH and POP, what lies below and above the pointer, frames. */
void shape_stack(struct maker *m)
{
    unsigned pushed = 1 + fuzz_below(m->f, 4);
    bool frame = fuzz_one_in(m->f, 3);

    if (frame) {
        push_pop(m, false, BP);
        two_registers(m, word_size(m), 0x89, SP, BP);
    }
    for (unsigned n = pushed; n > 0; n--) {
        push_pop(m, false, fuzz_one_in(m->f, 8) ? SP : maker_any_reg(m));
        if (fuzz_one_in(m->f, 3))
            access_at(m, frame && fuzz_one_in(m->f, 2) ? BP : SP, near_by(m) & ~7);
        if (fuzz_one_in(m->f, 6))
            filler(m);
    }
    if (frame && fuzz_one_in(m->f, 2)) {
        access_at(m, BP, near_by(m) & ~7);
        one_byte(m, 0xc9); /* LEAVE: what was beside the frame is beside the stack now */
        for (unsigned n = fuzz_below(m->f, 4); n > 0; n--)
            access_at(m, SP, near_by(m) & ~7);
        return;
    }
    for (unsigned n = pushed + frame; n > 0; n--) {
        push_pop(m, true, n == 1 && frame ? BP : fuzz_one_in(m->f, 16) ? SP : maker_plain_reg(m));
        if (fuzz_one_in(m->f, 4))
            access_at(m, SP, -(int32_t)fuzz_below(m->f, 4) * 8);
    }
}

/* ---- loops and calls ----------------------------------------------------------------------------- */

/* Uses flags as it finds them: at the head of a loop, those of the last round. */
static void use_flags(struct maker *m)
{
    static const uint8_t carry[] = {0x10, 0x18};
    struct operands o = {
        .size = maker_size(m), .reg = maker_plain_reg(m), .rm = maker_plain_reg(m)};

    if (!room(m))
        return;
    switch (fuzz_below(m->f, 6)) {
    case 0:
    case 1: /* ADC, SBB */
        maker_encode_sized(m, FUZZ_PICK(m->f, carry), &o);
        break;
    case 2:
        o.size = 1;
        maker_encode(m, 0, 0x0f90 | any_condition(m), &o);
        break;
    case 3: /* RCL, RCR */
        o.reg = 2 + fuzz_below(m->f, 2);
        maker_encode_sized(m, 0xd0, &o);
        break;
    case 4:
        o.size = MAX(o.size, 2u);
        maker_encode(m, 0, 0x0f40 | any_condition(m), &o);
        break;
    default: /* PUSHF, LAHF */
        maker_byte(m, fuzz_one_in(m->f, 2) ? 0x9c : 0x9f);
        break;
    }
}

/* The way back to the head, as compilers and people write it; it may leave other flags than it looks at. */
static void close_loop(struct maker *m, unsigned counter, unsigned head)
{
    struct operands o = {.size = 4, .reg = 1, .rm = counter};
    struct operands lea = {.size = 4, .reg = counter, .mem = true, .base = counter, .disp = -1};
    unsigned out, way = fuzz_below(m->f, 6);

    if (!room(m))
        return;
    if (m->half)
        lea.small_address = true;
    if (way == 0) {
        maker_byte(m, 0xe2 - fuzz_below(m->f, 3)); /* LOOP and its kin, if the head is that near */
        maker_lead_to(m, PLACE_REL8, head, 0);
        return;
    }
    if (way == 1) {
        maker_encode(m, 0, 0x8d, &lea);
        two_registers(m, 4, 0x85, counter, counter);
    } else if (way == 2) { /* SUB */
        o.reg = 5;
        maker_encode(m, 0, 0x83, &o);
        maker_byte(m, 1);
    } else {
        maker_encode(m, 0, 0xff, &o);
    }
    if (way == 3) { /* out here, and back without a condition */
        out = branch(m, 4, 0);
        fillers(m, 2);
        branch(m, ALWAYS, head);
        land(m, out);
    } else {
        branch(m, fuzz_one_in(m->f, 8) ? 9 : 5, head); /* JNS, JNZ */
    }
}

/* Two to five blocks, with ways out and short cuts. */
void shape_loop(struct maker *m)
{
    unsigned blocks = 1 + fuzz_below(m->f, 4),
             counter = fuzz_one_in(m->f, 2) ? CX : maker_plain_reg(m);
    unsigned p, other, head, out[8], n_out = 0, skip = NOWHERE;
    int32_t around = (int32_t)fuzz_below(m->f, 64);

    two_pointers(m, &p, &other);
    place_pointer(m, p);
    set_number(m, counter, 1 + fuzz_below(m->f, 40));
    head = here(m);
    if (fuzz_one_in(m->f, 2))
        use_flags(m);
    for (unsigned b = 0; b < blocks; b++) {
        for (unsigned n = fuzz_below(m->f, 4); n > 0; n--) {
            if (fuzz_one_in(m->f, 2))
                access_at(m, fuzz_one_in(m->f, 6) ? other : p, around + near_by(m));
            else
                filler(m);
        }
        land(m, skip);
        skip = NOWHERE;
        if (fuzz_one_in(m->f, 5))
            step_pointer(m, p);
        if (fuzz_one_in(m->f, 6))
            branch(m, any_condition(m), head);
        else if (fuzz_one_in(m->f, 3))
            skip = branch(m, any_condition(m), 0);
        else
            out[n_out++] = branch(m, any_condition(m), 0);
    }
    if (fuzz_one_in(m->f, 2))
        step_pointer(m, p);
    land(m, skip);
    close_loop(m, counter, head);
    if (fuzz_one_in(m->f, 2)) { /* the ways out meet behind what the loop's end goes through */
        use_flags(m);
        filler(m);
    }
    for (unsigned k = 0; k < n_out; k++)
        land(m, out[k]);
}

static void give_back(struct maker *m)
{
    if (!room(m))
        return;
    if (fuzz_one_in(m->f, 8)) {
        maker_byte(m, 0xc2);
        maker_number(m, fuzz_below(m->f, 3) * word_size(m), 2);
    } else {
        maker_byte(m, 0xc3);
    }
}

/* Takes return addresses off the stack, as longjmp does. */
static void drop(struct maker *m, unsigned frames)
{
    unsigned size = word_size(m);
    struct operands o = {.size = size, .rm = SP};

    if (!room(m))
        return;
    if (fuzz_one_in(m->f, 2)) {
        maker_encode(m, 0, 0x83, &o);
        maker_byte(m, frames * size);
        return;
    }
    while (frames-- > 0)
        push_pop(m, true, maker_plain_reg(m));
}

/* [(E/R)SP] = address of instruction target, or PUSH of it. */
static void put_address(struct maker *m, bool push, unsigned target)
{
    struct operands o = {.size = word_size(m), .mem = true, .base = SP, .small_address = m->half};

    if (!room(m))
        return;
    if (push)
        maker_byte(m, 0x68);
    else
        maker_encode(m, 0, 0xc7, &o);
    maker_lead_to(m, m->half ? PLACE_ABS16 : PLACE_ABS32, target, 0);
}

/* A function behind a jump around it; what it does with its return address differs. */
void shape_call(struct maker *m)
{
    unsigned call = branch(m, CALL, 0), inner, over, saved = maker_pointer_reg(m), k;
    bool saves = fuzz_one_in(m->f, 3);

    fillers(m, 2);
    if (fuzz_one_in(m->f, 3))
        use_flags(m);
    over = branch(m, ALWAYS, 0);
    land(m, call);
    if (saves)
        push_pop(m, false, saved);
    fillers(m, 2);
    if (fuzz_one_in(m->f, 3)) {
        k = branch(m, any_condition(m), 0);
        fillers(m, 2);
        land(m, k);
    }
    if (saves)
        push_pop(m, true, saved);
    switch (fuzz_below(m->f, 8)) {
    case 0: /* one more, which returns past this one */
        inner = branch(m, CALL, 0);
        filler(m);
        give_back(m);
        land(m, inner);
        fillers(m, 1);
        drop(m, fuzz_one_in(m->f, 4) ? 2 : 1);
        give_back(m);
        break;
    case 1: /* returns to elsewhere */
        put_address(m, false, here(m) + fuzz_below(m->f, 4));
        give_back(m);
        break;
    case 2: /* jumps by a return */
        put_address(m, true, here(m) + 1 + fuzz_below(m->f, 4));
        give_back(m);
        break;
    case 3: /* returns by a jump */
        k = maker_plain_reg(m);
        push_pop(m, true, k);
        two_registers(m, word_size(m), 0xff, 4, k);
        break;
    case 4: /* where am I? */
        inner = branch(m, CALL, 0);
        land(m, inner);
        push_pop(m, true, maker_plain_reg(m));
        give_back(m);
        break;
    default:
        give_back(m);
        break;
    }
    land(m, over);
}

/* Deeper than any stack of return addresses that a translator keeps. */
void shape_recursion(struct maker *m)
{
    unsigned counter = maker_plain_reg(m), saved = maker_pointer_reg(m), f, over, last, call;
    bool saves = fuzz_one_in(m->f, 2);

    set_number(m, counter, 1 + fuzz_below(m->f, fuzz_one_in(m->f, 2) ? 6 : 100));
    call = branch(m, CALL, 0);
    fillers(m, 1);
    over = branch(m, ALWAYS, 0);
    land(m, call);
    f = here(m);
    if (saves)
        push_pop(m, false, saved);
    fillers(m, 2);
    two_registers(m, 4, 0xff, 1, counter);
    last = branch(m, 4, 0);
    branch(m, CALL, f);
    fillers(m, 2);
    if (fuzz_one_in(m->f, 3)) /* twice: the depth goes up and down */
        branch(m, CALL, f);
    land(m, last);
    if (saves)
        push_pop(m, true, saved);
    if (fuzz_one_in(m->f, 8)) /* out of some of the calls at once */
        drop(m, 1 + fuzz_below(m->f, 3));
    give_back(m);
    land(m, over);
}

/* ---- flags --------------------------------------------------------------------------------------- */

/* All shifts and rotates, by all kinds of counts, and who looks at what they leave. */
void shape_rotate(struct maker *m)
{
    static const uint8_t counts[] = {0, 0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255};

    for (unsigned n = 1 + fuzz_below(m->f, 3); n > 0; n--) {
        struct operands o = maker_pick(m, maker_size(m));
        if (fuzz_one_in(m->f, 2)) { /* MOV CL */
            uint8_t mov[] = {0xb1, FUZZ_PICK(m->f, counts)};
            bytes(m, sizeof(mov), mov);
        }
        if (fuzz_one_in(m->f, 3))
            use_flags(m);
        if (!room(m))
            return;
        if (!o.mem && fuzz_one_in(m->f, 4))
            o.rm = maker_any_reg(m);
        o.reg = fuzz_below(m->f, 8);
        maker_shift(m, &o, (enum shift_count)fuzz_below(m->f, 3), FUZZ_PICK(m->f, counts));
        use_flags(m);
    }
}

/* ADCX, ADOX and MULX as big numbers are multiplied, and what disturbs the chains. */
void shape_carry_chain(struct maker *m)
{
    for (unsigned n = 2 + fuzz_below(m->f, 5); n > 0; n--) {
        struct operands o = maker_pick(m, m->wide && !fuzz_one_in(m->f, 3) ? 8 : 4);
        unsigned low;

        if (!room(m))
            return;
        o.small_address &= m->wide; /* before a VEX prefix */
        o.reg = maker_any_reg(m);
        if (!o.mem)
            o.rm = maker_any_reg(m);
        switch (fuzz_below(m->f, 6)) {
        case 0:
        case 1:
            maker_encode(m, fuzz_one_in(m->f, 2) ? 0xf3 : 0x66, 0x0f38f6, &o);
            break;
        case 2:
        case 3: /* flags of what it overwrites are still wanted */
            low = maker_any_reg(m);
            if (fuzz_one_in(m->f, 2))
                two_registers(m, o.size, fuzz_one_in(m->f, 2) ? 0x39 : 0x01, maker_plain_reg(m),
                              fuzz_one_in(m->f, 2) ? low : o.reg);
            if (!room(m))
                return;
            maker_vex(m, 2, 3, o.size == 8, 0, low, 0xf6, &o);
            if (fuzz_one_in(m->f, 2))
                use_flags(m);
            break;
        case 4:
            use_flags(m);
            break;
        default:
            filler(m);
            break;
        }
    }
}

/* AH, CH, DH and BH on either side, and what their registers are afterwards. */
void shape_high_bytes(struct maker *m)
{
    static const uint32_t opcodes[] = {0x88, 0x8a, 0x84, 0x86, 0xfe,
                                       0xf6, 0xc0, 0xd2, 0x80, 0x0fb0};

    for (unsigned n = 2 + fuzz_below(m->f, 3); n > 0; n--) {
        struct operands o = maker_pick(m, 1);
        uint32_t opcode = fuzz_one_in(m->f, 2)
                              ? FUZZ_PICK(m->f, opcodes)
                              : fuzz_below(m->f, 8) << 3 | fuzz_below(m->f, 2) << 1;
        bool bh = fuzz_one_in(m->f, 8);
        unsigned high = 4 + fuzz_below(m->f, bh ? 4 : 3);

        if (!room(m))
            return;
        o.reg &= 7;
        o.rm &= 7;
        if (o.mem && o.base >= 8)
            o.base = BX;
        if (!o.mem && fuzz_one_in(m->f, 3))
            o.reg = 4 + fuzz_below(m->f, 3);
        *(o.mem || fuzz_one_in(m->f, 2) ? &o.reg : &o.rm) = high;
        if (opcode == 0xfe)
            o.reg &= 1; /* INC, DEC; the others are no bytes' */
        maker_encode(m, 0, opcode, &o);
        if (opcode == 0xc0 || opcode == 0x80 || (opcode == 0xf6 && o.reg < 2))
            maker_byte(m, fuzz_u8(m->f));
        if (fuzz_one_in(m->f, 2))
            use_flags(m);
        else if (fuzz_one_in(m->f, 3))
            filler(m);
    }
}
