/* See jit_program.h. */
#include "tests/fuzz/jit_maker.h"

/* ---- encoding -------------------------------------------------------------------------------- */

void maker_byte(struct maker *m, unsigned v)
{
    m->i->bytes[m->i->len++] = (uint8_t)v;
}

void maker_number(struct maker *m, uint64_t v, unsigned bytes)
{
    for (unsigned k = 0; k < bytes; k++)
        maker_byte(m, (unsigned)(v >> k * 8));
}

void maker_begin(struct maker *m)
{
    m->i = &m->p->insn[m->p->n];
    memset(m->i, 0, sizeof(*m->i));
}

bool maker_end(struct maker *m)
{
    return ++m->p->n < PROGRAM_MAX;
}

bool maker_next(struct maker *m)
{
    if (maker_end(m)) {
        maker_begin(m);
        return true;
    }
    m->p->n--;
    return false;
}

/* Registers that the translator keeps in memory come often. */
unsigned maker_any_reg(struct maker *m)
{
    static const uint8_t wide[] = {AX, CX, DX, BX, BP, SI, DI, 8,  9,  10, 10, 11,
                                   11, 12, 13, 14, 14, 15, 15, 10, 15, AX, CX, DX};
    static const uint8_t narrow[] = {AX, CX, DX, BX, BP, SI, DI, AX, CX, DX};

    if (!m->calm && fuzz_one_in(m->f, 64))
        return SP;
    return m->wide ? FUZZ_PICK(m->f, wide) : FUZZ_PICK(m->f, narrow);
}

/* Some registers point at memory at first, and are seldom written. */
unsigned maker_pointer_reg(struct maker *m)
{
    static const uint8_t wide[] = {BX, SI, DI, 12, 13, 14, 15, BP, SP};
    static const uint8_t narrow[] = {BX, SI, DI, BP, SP};
    return m->wide ? FUZZ_PICK(m->f, wide) : FUZZ_PICK(m->f, narrow);
}

unsigned maker_plain_reg(struct maker *m)
{
    static const uint8_t wide[] = {AX, CX, DX, 8, 9, 10, 11, 10, 11};
    static const uint8_t narrow[] = {AX, CX, DX};
    if (!m->calm && fuzz_one_in(m->f, 12))
        return maker_any_reg(m);
    return m->wide ? FUZZ_PICK(m->f, wide) : FUZZ_PICK(m->f, narrow);
}

static int32_t displacement(struct maker *m)
{
    switch (fuzz_below(m->f, m->calm ? 32 : 8)) {
    case 0:
        return (int32_t)fuzz_below(m->f, 0x2000);
    case 1:
        return -(int32_t)fuzz_below(m->f, 64);
    case 2:
        return 0;
    default:
        return (int32_t)fuzz_below(m->f, 128);
    }
}

void maker_pick_memory(struct maker *m, struct operands *o)
{
    o->mem = true;
    o->disp = displacement(m);
    o->base = maker_pointer_reg(m);
    if (fuzz_one_in(m->f, 24))
        o->segment = fuzz_one_in(m->f, 2) ? 0x64 : 0x65;
    if (!m->calm && fuzz_one_in(m->f, 40))
        o->base = maker_any_reg(m);
    switch (fuzz_below(m->f, 12)) {
    case 0:
        o->shape = SHAPE_ABSOLUTE;
        o->disp = (int32_t)((m->half ? 0 : DATA) + fuzz_below(m->f, 0x2000));
        break;
    case 1:
        o->shape = m->wide ? SHAPE_RIP : SHAPE_BASE;
        o->disp = m->wide ? (int32_t)(DATA + fuzz_below(m->f, 0x2000) - m->p->at) : o->disp;
        break;
    case 2:
    case 3:
        o->shape = SHAPE_INDEX;
        o->index = !m->calm && fuzz_one_in(m->f, 4) ? maker_any_reg(m) : CX;
        o->scale = fuzz_below(m->f, 4);
        if (o->index == SP)
            o->index = CX;
        break;
    default:
        o->shape = SHAPE_BASE;
        break;
    }
    if (o->shape != SHAPE_RIP)
        o->small_address = fuzz_one_in(m->f, m->half ? 6 : 32);
}

/* Half of all operands are memory. */
struct operands maker_pick(struct maker *m, unsigned size)
{
    struct operands o = {.size = size, .reg = maker_plain_reg(m), .rm = maker_plain_reg(m)};
    if (fuzz_one_in(m->f, 2))
        maker_pick_memory(m, &o);
    return o;
}

unsigned maker_size(struct maker *m)
{
    static const uint8_t sizes[] = {4, 4, 4, 8, 8, 8, 1, 1, 2};
    unsigned size = FUZZ_PICK(m->f, sizes);
    return size == 8 && !m->wide ? 4 : size;
}

static unsigned high(unsigned n)
{
    return n >> 3 & 1;
}

unsigned maker_rex_bits(const struct operands *o)
{
    unsigned rex = high(o->reg) << 2;
    if (!o->mem)
        return rex | high(o->rm);
    if (o->shape <= SHAPE_INDEX)
        rex |= high(o->base);
    if (o->shape == SHAPE_INDEX)
        rex |= high(o->index) << 1;
    return rex;
}

/* The forms of 16-bit addresses: two registers, one, or none. */
static void modrm16(struct maker *m, const struct operands *o)
{
    static const uint8_t forms[] = {[BX] = 7, [SI] = 4, [DI] = 5, [BP] = 6};
    unsigned reg = (o->reg & 7) << 3, rm = o->scale & 3, mod;

    if (o->shape == SHAPE_ABSOLUTE) {
        maker_byte(m, reg | 6);
        maker_number(m, (uint16_t)o->disp, 2);
        return;
    }
    if (o->shape == SHAPE_BASE && o->base < ARRAY_LEN(forms) && forms[o->base])
        rm = forms[o->base];
    mod = o->disp == 0 && rm != 6 ? 0 : o->disp == (int8_t)o->disp ? 1 : 2;
    maker_byte(m, mod << 6 | reg | rm);
    maker_number(m, (uint16_t)o->disp, mod);
}

void maker_modrm(struct maker *m, const struct operands *o)
{
    unsigned reg = (o->reg & 7) << 3, mod;

    if (!o->mem) {
        maker_byte(m, 0xc0 | reg | (o->rm & 7));
        return;
    }
    if (!m->wide && m->half != o->small_address) {
        modrm16(m, o);
        return;
    }
    if (o->shape == SHAPE_RIP || (o->shape == SHAPE_ABSOLUTE && !m->wide)) {
        maker_byte(m, reg | 5);
        maker_number(m, (uint32_t)o->disp, 4);
        return;
    }
    if (o->shape == SHAPE_ABSOLUTE) {
        maker_byte(m, reg | 4);
        maker_byte(m, 0x25);
        maker_number(m, (uint32_t)o->disp, 4);
        return;
    }
    mod = o->disp == 0 && (o->base & 7) != 5 ? 0 : o->disp == (int8_t)o->disp ? 1 : 2;
    if (o->shape == SHAPE_INDEX || (o->base & 7) == 4) {
        unsigned index = o->shape == SHAPE_INDEX ? o->index & 7 : 4;
        maker_byte(m, mod << 6 | reg | 4);
        maker_byte(m, o->scale << 6 | index << 3 | (o->base & 7));
    } else {
        maker_byte(m, mod << 6 | reg | (o->base & 7));
    }
    if (mod)
        maker_number(m, (uint32_t)o->disp, mod == 1 ? 1 : 4);
}

/* Legacy encoding: prefixes, opcode of one to three bytes, ModRM. */
void maker_encode(struct maker *m, unsigned mandatory, uint32_t opcode, const struct operands *o)
{
    unsigned rex = maker_rex_bits(o) | (o->size == 8 ? 8 : 0);

    if (o->segment)
        maker_byte(m, o->segment);
    if (o->small_address)
        maker_byte(m, 0x67);
    if (o->size == (m->half ? 4 : 2))
        maker_byte(m, 0x66);
    if (mandatory)
        maker_byte(m, mandatory);
    /* Without REX byte registers 4 to 7 are AH to BH. */
    if (m->wide && (rex || (o->size == 1 && fuzz_one_in(m->f, 2))))
        maker_byte(m, 0x40 | rex);
    if (opcode > 0xffff)
        maker_byte(m, opcode >> 16);
    if (opcode > 0xff)
        maker_byte(m, opcode >> 8 & 0xff);
    maker_byte(m, opcode & 0xff);
    maker_modrm(m, o);
}

void maker_encode_sized(struct maker *m, uint32_t opcode, const struct operands *o)
{
    maker_encode(m, 0, opcode | (o->size > 1), o);
}

static void immediate(struct maker *m, unsigned size)
{
    maker_number(m, fuzz_number(m->f), MIN(size, 4u));
}

void maker_lead_to(struct maker *m, enum place place, unsigned target, unsigned into)
{
    if (m->half && place == PLACE_REL32)
        place = PLACE_REL16;
    m->i->place = place;
    m->i->place_at = m->i->len;
    m->i->target = (uint8_t)target;
    m->i->into = (uint8_t)into;
    maker_number(m, 0,
                 place == PLACE_REL8                            ? 1
                 : place == PLACE_REL16 || place == PLACE_ABS16 ? 2
                                                                : 4);
}

/* Mostly a little ahead. */
static unsigned pick_target(struct maker *m)
{
    return m->p->n + (fuzz_one_in(m->f, 8) ? 0 : 1 + fuzz_below(m->f, 6));
}

static unsigned pick_target_back(struct maker *m)
{
    unsigned back = 1 + fuzz_below(m->f, 12);
    return m->p->n > back ? m->p->n - back : 0;
}

/* ---- kinds of instructions --------------------------------------------------------------------- */

static void make_alu(struct maker *m)
{
    struct operands o = maker_pick(m, maker_size(m));
    unsigned kind = fuzz_below(m->f, 8);

    switch (fuzz_below(m->f, 4)) {
    case 0:
        maker_encode_sized(m, kind << 3, &o);
        break;
    case 1:
        maker_encode_sized(m, kind << 3 | 2, &o);
        break;
    case 2:
        o.reg = kind;
        if (o.size > 1 && fuzz_one_in(m->f, 2)) {
            maker_encode(m, 0, 0x83, &o);
            immediate(m, 1);
        } else {
            maker_encode_sized(m, 0x80, &o);
            immediate(m, o.size);
        }
        break;
    default: /* of the same register: XOR, SBB, SUB */
        o.mem = false;
        o.rm = o.reg;
        maker_encode_sized(m, kind << 3, &o);
        break;
    }
}

static void make_mov(struct maker *m)
{
    struct operands o = maker_pick(m, maker_size(m));

    switch (fuzz_below(m->f, 4)) {
    case 0:
    case 1:
        maker_encode_sized(m, fuzz_one_in(m->f, 2) ? 0x88 : 0x8a, &o);
        break;
    case 2:
        o.reg = 0;
        maker_encode_sized(m, 0xc6, &o);
        immediate(m, o.size);
        break;
    default: /* a pointer */
        o = (struct operands){.size = 4, .rm = maker_pointer_reg(m)};
        if (o.rm == SP)
            o.rm = BX;
        maker_encode(m, 0, 0xc7, &o);
        maker_number(
            m, m->calm ? (m->half ? 0 : DATA) + fuzz_below(m->f, 0x2000) : bench_any_pointer(m->b),
            4);
        break;
    }
}

static void make_unary(struct maker *m)
{
    struct operands o = maker_pick(m, maker_size(m));

    o.reg = fuzz_below(m->f, 2);
    if (fuzz_one_in(m->f, 2)) { /* NOT, NEG */
        o.reg += 2;
        maker_encode_sized(m, 0xf6, &o);
    } else {
        maker_encode_sized(m, 0xfe, &o);
    }
}

void maker_shift(struct maker *m, const struct operands *o, enum shift_count by, uint8_t count)
{
    static const uint8_t opcodes[] = {[BY_ONE] = 0xd0, [BY_CL] = 0xd2, [BY_IMM] = 0xc0};

    maker_encode_sized(m, opcodes[by], o);
    if (by == BY_IMM)
        maker_byte(m, count);
}

static void make_shift(struct maker *m)
{
    static const uint8_t kinds[] = {0, 1, 4, 5, 7, 4, 5, 7, 2, 3, 6};
    struct operands o = maker_pick(m, maker_size(m));

    o.reg = FUZZ_PICK(m->f, kinds);
    switch (fuzz_below(m->f, 5)) {
    case 0:
        maker_shift(m, &o, BY_ONE, 0);
        break;
    case 1:
        maker_shift(m, &o, BY_CL, 0);
        break;
    case 2: /* SHLD, SHRD */
        o.size = MAX(o.size, 2u);
        o.reg = maker_plain_reg(m);
        if (fuzz_one_in(m->f, 2)) {
            maker_encode(m, 0, fuzz_one_in(m->f, 2) ? 0x0fa5 : 0x0fad, &o);
        } else {
            maker_encode(m, 0, fuzz_one_in(m->f, 2) ? 0x0fa4 : 0x0fac, &o);
            maker_byte(m, fuzz_u8(m->f));
        }
        break;
    default:
        maker_shift(m, &o, BY_IMM,
                    (uint8_t)(fuzz_one_in(m->f, 2) ? fuzz_u8(m->f) : fuzz_below(m->f, 3)));
        break;
    }
}

static void make_multiply(struct maker *m)
{
    struct operands o = maker_pick(m, maker_size(m));

    switch (fuzz_below(m->f, 4)) {
    case 0:
        o.size = MAX(o.size, 2u);
        maker_encode(m, 0, 0x0faf, &o);
        break;
    case 1:
        o.size = MAX(o.size, 2u);
        maker_encode(m, 0, 0x6b, &o);
        immediate(m, 1);
        break;
    case 2:
        o.size = MAX(o.size, 2u);
        maker_encode(m, 0, 0x69, &o);
        immediate(m, o.size);
        break;
    default: /* MUL, IMUL, seldom DIV, IDIV */
        o.reg = 4 + fuzz_below(m->f, 2) + (fuzz_one_in(m->f, 4) ? 2 : 0);
        maker_encode_sized(m, 0xf6, &o);
        break;
    }
}

static void make_lea(struct maker *m)
{
    struct operands o = maker_pick(m, MAX(maker_size(m), 2u));

    maker_pick_memory(m, &o);
    o.segment = 0;
    maker_encode(m, 0, 0x8d, &o);
}

static void make_condition(struct maker *m)
{
    unsigned cc = fuzz_below(m->f, 16);
    struct operands o = maker_pick(m, 1);

    if (fuzz_one_in(m->f, 2)) {
        maker_encode(m, 0, 0x0f90 | cc, &o);
    } else {
        o.size = MAX(maker_size(m), 2u);
        maker_encode(m, 0, 0x0f40 | cc, &o);
    }
}

static void make_jcc(struct maker *m)
{
    unsigned cc = fuzz_below(m->f, 16);
    unsigned target = fuzz_one_in(m->f, 5) ? pick_target_back(m) : pick_target(m);

    if (fuzz_one_in(m->f, 2)) {
        maker_byte(m, 0x70 | cc);
        maker_lead_to(m, PLACE_REL8, target, 0);
    } else {
        maker_byte(m, 0x0f);
        maker_byte(m, 0x80 | cc);
        maker_lead_to(m, PLACE_REL32, target, 0);
    }
}

/* DEC and a jump back, or LOOP. */
static void make_loop(struct maker *m)
{
    unsigned target = pick_target_back(m);
    struct operands o = {.size = 4, .reg = 1, .rm = maker_plain_reg(m)};

    if (fuzz_one_in(m->f, 3)) {
        maker_byte(m, 0xe0 + fuzz_below(m->f, 4));
        maker_lead_to(m, PLACE_REL8, target, 0);
        return;
    }
    maker_encode(m, 0, 0xff, &o);
    if (maker_next(m)) {
        maker_byte(m, 0x75);
        maker_lead_to(m, PLACE_REL8, target, 0);
    }
}

static void make_stack(struct maker *m)
{
    struct operands o = maker_pick(m, 4);
    bool other = !m->wide && fuzz_one_in(m->f, 4);

    switch (fuzz_below(m->f, 8)) {
    case 0:
        maker_byte(m, 0x6a);
        immediate(m, 1);
        break;
    case 1:
        if (other)
            maker_byte(m, 0x66);
        maker_byte(m, 0x68);
        immediate(m, other != m->half ? 2 : 4);
        break;
    case 2:
        o.reg = 6;
        maker_encode(m, 0, 0xff, &o);
        break;
    case 3:
        o.reg = 0;
        maker_encode(m, 0, 0x8f, &o);
        break;
    case 4:
        if (other)
            maker_byte(m, 0x66);
        maker_byte(m, fuzz_one_in(m->f, 8) ? 0xc9 : 0x9c); /* LEAVE, PUSHF */
        break;
    default:
        o.rm = maker_any_reg(m);
        if (other)
            maker_byte(m, 0x66);
        if (m->wide && o.rm >= 8)
            maker_byte(m, 0x41);
        maker_byte(m, (fuzz_one_in(m->f, 2) ? 0x50 : 0x58) | (o.rm & 7));
        break;
    }
}

static void make_branch(struct maker *m)
{
    struct operands o = {.size = 4, .rm = maker_plain_reg(m)};

    switch (fuzz_below(m->f, 6)) {
    case 0:
        maker_byte(m, 0xe9);
        maker_lead_to(m, PLACE_REL32, pick_target(m), 0);
        break;
    case 1:
        maker_byte(m, 0xeb);
        maker_lead_to(m, PLACE_REL8, pick_target(m), 0);
        break;
    case 2:
        maker_byte(m, 0xe8);
        maker_lead_to(m, PLACE_REL32, fuzz_one_in(m->f, 4) ? pick_target_back(m) : pick_target(m),
                      0);
        break;
    case 3:
        maker_byte(m, fuzz_one_in(m->f, 8) ? 0xc2 : 0xc3);
        if (m->i->bytes[0] == 0xc2)
            maker_number(m, fuzz_below(m->f, 4) * 8, 2);
        break;
    default: /* MOV register, address and a jump or a call there */
        maker_encode(m, 0, 0xc7, &o);
        maker_lead_to(m, PLACE_ABS32, pick_target(m) + 1, 0);
        if (!maker_next(m))
            break;
        o.reg = fuzz_one_in(m->f, 2) ? 4 : 2;
        maker_encode(m, 0, 0xff, &o);
        break;
    }
}

static void make_extend(struct maker *m)
{
    static const uint32_t opcodes[] = {0x0fb6, 0x0fb7, 0x0fbe, 0x0fbf};
    struct operands o = maker_pick(m, MAX(maker_size(m), 2u));

    if (m->wide && fuzz_one_in(m->f, 6)) {
        o.size = 8;
        maker_encode(m, 0, 0x63, &o);
        return;
    }
    if (fuzz_one_in(m->f, 3)) { /* of AH to BH */
        o.mem = false;
        o.rm = 4 + fuzz_below(m->f, 4);
        o.reg &= 7;
        o.size = MIN(o.size, 4u);
    }
    maker_encode(m, 0, FUZZ_PICK(m->f, opcodes), &o);
}

static void make_exchange(struct maker *m)
{
    struct operands o = maker_pick(m, maker_size(m));

    if (o.mem && fuzz_one_in(m->f, 3))
        maker_byte(m, 0xf0);
    switch (fuzz_below(m->f, 5)) {
    case 0:
        maker_encode_sized(m, 0x0fc0, &o); /* XADD */
        break;
    case 1:
        maker_encode_sized(m, 0x0fb0, &o); /* CMPXCHG */
        break;
    case 2:
        if (m->i->len)
            m->i->len = 0;
        if (m->wide)
            maker_byte(m, 0x48 | fuzz_below(m->f, 2));
        maker_byte(m, 0x90 + fuzz_below(m->f, 4));
        break;
    default:
        maker_encode_sized(m, 0x86, &o);
        break;
    }
}

static void make_bits(struct maker *m)
{
    static const uint32_t tests[] = {0x0fa3, 0x0fab, 0x0fb3, 0x0fbb};
    struct operands o = maker_pick(m, MAX(maker_size(m), 2u));

    switch (fuzz_below(m->f, 6)) {
    case 0:
        o.mem = o.mem && fuzz_one_in(m->f, 4);
        maker_encode(m, 0, FUZZ_PICK(m->f, tests), &o);
        break;
    case 1:
        o.reg = 4 + fuzz_below(m->f, 4);
        maker_encode(m, 0, 0x0fba, &o);
        maker_byte(m, fuzz_u8(m->f));
        break;
    case 2:
        maker_encode(m, fuzz_one_in(m->f, 2) ? 0xf3 : 0, 0x0fbc | fuzz_below(m->f, 2), &o);
        break;
    case 3:
        maker_encode(m, 0xf3, 0x0fb8, &o); /* POPCNT */
        break;
    case 4:
        maker_encode(m, fuzz_one_in(m->f, 2) ? 0xf3 : 0x66, 0x0f38f6, &o); /* ADOX, ADCX */
        break;
    default:
        if (m->wide)
            maker_byte(m, 0x40 | fuzz_below(m->f, 16));
        maker_byte(m, 0x0f);
        maker_byte(m, 0xc8 | fuzz_below(m->f, 4)); /* BSWAP */
        break;
    }
}

static void make_test(struct maker *m)
{
    struct operands o = maker_pick(m, maker_size(m));

    switch (fuzz_below(m->f, 3)) {
    case 0:
        maker_encode_sized(m, 0x84, &o);
        break;
    case 1:
        o.mem = false;
        o.rm = o.reg;
        maker_encode_sized(m, 0x84, &o);
        break;
    default:
        o.reg = 0;
        maker_encode_sized(m, 0xf6, &o);
        immediate(m, o.size);
        break;
    }
}

static void make_string(struct maker *m)
{
    static const uint8_t ops[] = {0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf};
    unsigned op = FUZZ_PICK(m->f, ops), rep = fuzz_below(m->f, 4);

    if (rep >= 2) {
        maker_byte(m, 0xb9); /* MOV ECX */
        maker_number(m, fuzz_below(m->f, fuzz_one_in(m->f, 8) ? 0x1000 : 16), m->half ? 2 : 4);
        if (!maker_next(m))
            return;
        maker_byte(m, 0xf0 | rep);
    }
    if (op & 1 && fuzz_one_in(m->f, 4))
        maker_byte(m, 0x66);
    else if (m->wide && fuzz_one_in(m->f, 3))
        maker_byte(m, 0x48);
    maker_byte(m, op);
}

static void make_flags(struct maker *m)
{
    static const uint8_t ops[] = {0x9f, 0x9f, 0x9e, 0x9c, 0x9d, 0xf5, 0xf8,
                                  0xf9, 0xfc, 0xfd, 0x98, 0x99, 0x90, 0xd7};
    unsigned op = FUZZ_PICK(m->f, ops);

    if ((op == 0x98 || op == 0x99) && m->wide && fuzz_one_in(m->f, 2))
        maker_byte(m, 0x48);
    maker_byte(m, op);
    if (op == 0x9d && fuzz_one_in(m->f, 2)) { /* POPF after a PUSHF */
        m->i->bytes[0] = 0x9c;
        if (!maker_next(m))
            return;
        maker_byte(m, 0x9d);
    }
}

/* A store into the program. */
static void make_self_write(struct maker *m)
{
    unsigned target = fuzz_below(m->f, m->p->n + (m->calm ? 1 : 4));
    unsigned size = m->calm || fuzz_one_in(m->f, 2) ? 1 : 4;
    unsigned op = fuzz_below(m->f, 3), into = fuzz_below(m->f, 8);

    /* The last byte is mostly of an immediate or a displacement: what it becomes is the same
     * instruction. */
    if (m->calm && target < m->p->n && m->p->insn[target].len)
        into = m->p->insn[target].len - 1u;

    if (m->half) {
        maker_byte(m, 0x2e);
        maker_byte(m, op == 0 ? 0xc6 : 0x80);
        maker_byte(m, 0x06);
        maker_lead_to(m, PLACE_ABS16, target, into);
        immediate(m, 1);
        return;
    }
    /* MOV, or an addition that takes every time around */
    maker_byte(m, op == 0 ? (size == 1 ? 0xc6 : 0xc7) : (size == 1 ? 0x80 : 0x81));
    if (m->wide) {
        maker_byte(m, 0x04);
        maker_byte(m, 0x25);
    } else {
        maker_byte(m, 0x05);
    }
    maker_lead_to(m, PLACE_ABS32, target, into);
    immediate(m, size);
}

static void make_any(struct maker *m)
{
    uint8_t bytes[32] = {0};

    m->i->len = (uint8_t)bench_random_insn(m->b, bytes);
    m->i->len = MIN(m->i->len, INSN_MAX);
    memcpy(m->i->bytes, bytes, m->i->len);
}

static const struct {
    uint8_t weight[STYLES]; /* of wild, calm, self-writing, floating-point, shaped programs */
    void (*make)(struct maker *);
} kinds[] = {
    {{20, 30, 24, 8, 24}, make_alu},    {{12, 12, 10, 6, 20}, make_mov},
    {{9, 9, 6, 1, 6}, make_unary},      {{9, 9, 5, 2, 6}, make_shift},
    {{5, 5, 3, 1, 4}, make_multiply},   {{5, 5, 4, 2, 5}, make_lea},
    {{8, 12, 6, 4, 8}, make_condition}, {{12, 4, 10, 4, 8}, make_jcc},
    {{4, 1, 4, 1, 0}, make_loop},       {{7, 3, 2, 1, 6}, make_stack},
    {{5, 1, 3, 1, 1}, make_branch},     {{6, 6, 3, 0, 4}, make_extend},
    {{4, 4, 1, 0, 5}, make_exchange},   {{5, 5, 2, 0, 4}, make_bits},
    {{5, 8, 4, 1, 6}, make_test},       {{3, 1, 1, 0, 2}, make_string},
    {{8, 6, 2, 5, 6}, make_sse},        {{6, 5, 2, 3, 6}, make_vex},
    {{6, 6, 3, 6, 6}, make_flags},      {{2, 0, 10, 0, 1}, make_self_write},
    {{2, 0, 0, 0, 0}, make_any},        {{6, 4, 2, 70, 5}, make_x87},
    {{3, 2, 1, 9, 2}, make_mmx},        {{3, 3, 1, 1, 1}, make_sha},
};

static const struct {
    uint8_t weight;
    void (*make)(struct maker *);
} shapes[] = {{4, shape_exchange}, {8, shape_span},        {10, shape_loop},
              {5, shape_call},     {3, shape_recursion},   {4, shape_stack},
              {4, shape_rotate},   {3, shape_carry_chain}, {3, shape_high_bytes}};

/* One of n things that have their weights stride bytes from each other. */
static unsigned weighted(struct maker *m, const uint8_t *weight, size_t stride, unsigned n)
{
    unsigned sum = 0, at, k;

    for (k = 0; k < n; k++)
        sum += weight[k * stride];
    at = fuzz_below(m->f, sum);
    for (k = 0; at >= weight[k * stride]; k++)
        at -= weight[k * stride];
    return k;
}

void maker_filler(struct maker *m)
{
    kinds[weighted(m, &kinds[0].weight[m->style], sizeof(kinds[0]), ARRAY_LEN(kinds))].make(m);
}

static void make_one(struct maker *m)
{
    static const uint8_t one_in[STYLES] = {16, 16, 16, 24, 2};

    maker_begin(m);
    if (!fuzz_one_in(m->f, one_in[m->style])) {
        maker_filler(m);
        return;
    }
    shapes[weighted(m, &shapes[0].weight, sizeof(shapes[0]), ARRAY_LEN(shapes))].make(m);
}

void program_make(struct program *p, struct bench *b)
{
    struct fuzz *f = b->f;
    struct maker m = {
        .f = f, .b = b, .p = p, .wide = b->mode == LONG64, .half = mode_is_16(b->mode)};
    unsigned n;

    memset(p, 0, sizeof(*p));
    m.style = fuzz_one_in(f, 3)   ? SHAPED
              : fuzz_one_in(f, 5) ? SELF_WRITING
              : fuzz_one_in(f, 4) ? FLOATING
                                  : fuzz_below(f, 2);
    n = 4 + fuzz_below(f, m.style == SHAPED ? PROGRAM_MAX - 4 : 37);
    m.calm = p->calm = m.style != WILD;
    p->mode = b->mode;
    p->at = CODE + (fuzz_one_in(f, 2) ? 0xf00 + fuzz_below(f, 256) : fuzz_below(f, 0x800));
    if (m.half)
        p->cs = fuzz_one_in(f, 6) ? (p->at - 0xff00 - fuzz_below(f, 0x100)) & ~15u /* the end */
                                  : CODE - 16 * fuzz_below(f, 0x80);
    p->skewed = b->mode == PROT32 && fuzz_one_in(f, 2);
    do
        make_one(&m);
    while (maker_end(&m) && p->n < n);
    for (unsigned k = 0; k < p->n; k++) {
        p->keep[k] = true;
        p->insn[k].target = (uint8_t)MIN(p->insn[k].target, p->n);
    }
}

/* ---- layout ------------------------------------------------------------------------------------ */

static void put_place(struct program *p, const struct program_insn *i, uint32_t at)
{
    uint8_t *to = p->code + (at - p->at) + i->place_at;
    uint32_t target = p->address[i->target] + i->into;

    switch (i->place) {
    case PLACE_NONE:
        break;
    case PLACE_REL8:
        *to = (uint8_t)(target - (at + i->len));
        break;
    case PLACE_REL16:
        st16(to, (uint16_t)(target - (at + i->len)));
        break;
    case PLACE_REL32:
        st32(to, target - (at + i->len));
        break;
    case PLACE_ABS16:
        st16(to, (uint16_t)(target - p->cs));
        break;
    case PLACE_ABS32:
        st32(to, target - p->cs);
        break;
    }
}

void program_lay_out(struct program *p)
{
    uint32_t at = p->at;

    for (unsigned k = 0; k < p->n; k++) {
        p->address[k] = at;
        if (p->keep[k]) {
            memcpy(p->code + (at - p->at), p->insn[k].bytes, p->insn[k].len);
            at += p->insn[k].len;
        }
    }
    p->address[p->n] = at;
    for (unsigned k = 0; k < p->n; k++)
        if (p->keep[k])
            put_place(p, &p->insn[k], p->address[k]);
    p->code[at - p->at] = 0xe9; /* and again */
    if (mode_is_16(p->mode)) {
        st16(p->code + (at - p->at) + 1, (uint16_t)(p->at - (at + 3)));
        p->bytes = at + 3 - p->at;
        return;
    }
    st32(p->code + (at - p->at) + 1, p->at - (at + 5));
    p->bytes = at + 5 - p->at;
}
