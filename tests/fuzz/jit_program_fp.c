/* Instructions of the vector and floating-point units for random programs: SSE, AVX, SHA, x87, MMX. See
 * jit_program.h. */
#include "tests/fuzz/jit_maker.h"

void make_sse(struct maker *m)
{
    static const struct {
        uint8_t prefix;
        uint32_t opcode;
    } rows[] = {
        {0, 0x0f10},    {0, 0x0f11},    {0, 0x0f28},      {0, 0x0f29},      {0x66, 0x0f6f},
        {0x66, 0x0f7f}, {0xf3, 0x0f6f}, {0xf3, 0x0f7f},   {0xf2, 0x0f10},   {0xf2, 0x0f11},
        {0xf3, 0x0f10}, {0xf3, 0x0f11}, {0x66, 0x0f6e},   {0x66, 0x0f7e},   {0xf3, 0x0f7e},
        {0x66, 0x0fd6}, {0x66, 0x0fef}, {0x66, 0x0ffe},   {0x66, 0x0ffa},   {0x66, 0x0fd4},
        {0x66, 0x0f76}, {0x66, 0x0f60}, {0x66, 0x0fdb},   {0x66, 0x0feb},   {0xf2, 0x0f58},
        {0xf2, 0x0f59}, {0xf2, 0x0f5c}, {0xf2, 0x0f5e},   {0xf3, 0x0f58},   {0, 0x0f58},
        {0x66, 0x0f59}, {0, 0x0f57},    {0x66, 0x0f2e},   {0, 0x0f2f},      {0xf2, 0x0f2a},
        {0xf2, 0x0f2c}, {0xf3, 0x0f2d}, {0x66, 0x0fd7},   {0x66, 0x0f3800}, {0, 0x0f16},
        {0, 0x0f17},    {0, 0x0f12},    {0x66, 0x0f2b},   {0, 0x0fc3},      {0xf3, 0x0f5a},
        {0xf2, 0x0f5a}, {0xf3, 0x0fe6}, {0x66, 0x0f3817},
    };
    unsigned k = fuzz_below(m->f, ARRAY_LEN(rows));
    struct operands o = maker_pick(m, fuzz_one_in(m->f, 3) && m->wide ? 8 : m->half ? 2 : 4);

    o.reg = fuzz_below(m->f, m->wide ? 16 : 8);
    if (!o.mem && fuzz_one_in(m->f, 2))
        o.rm = fuzz_below(m->f, m->wide ? 16 : 8);
    if (o.mem && fuzz_one_in(m->f, 2)) { /* aligned */
        o.shape = SHAPE_ABSOLUTE;
        o.disp = (int32_t)((m->half ? 0 : DATA) + fuzz_below(m->f, 0x100) * 16);
    }
    maker_encode(m, rows[k].prefix, rows[k].opcode, &o);
}

/* SHA, often of one register and itself; as the hashes use them, and mixed with what touches the same
 * registers. */
void make_sha(struct maker *m)
{
    static const uint32_t opcodes[] = {0x0f38c8, 0x0f38c9, 0x0f38ca, 0x0f38cb, 0x0f38cb,
                                       0x0f38cc, 0x0f38cd, 0x0f3acc, 0x0f3acc};
    struct operands o = maker_pick(m, m->half ? 2 : 4);
    uint32_t opcode = FUZZ_PICK(m->f, opcodes);

    o.reg = fuzz_below(m->f, m->wide ? 16 : 8);
    o.rm = fuzz_one_in(m->f, 4) ? o.reg : fuzz_below(m->f, m->wide ? 16 : 8);
    if (o.mem && !fuzz_one_in(m->f, 4)) { /* aligned */
        o.shape = SHAPE_ABSOLUTE;
        o.disp = (int32_t)((m->half ? 0 : DATA) + fuzz_below(m->f, 0x100) * 16);
    }
    maker_encode(m, 0, opcode, &o);
    if (opcode == 0x0f3acc)
        maker_byte(m, fuzz_u8(m->f));
}

void maker_vex(struct maker *m, unsigned map, unsigned pp, bool w, bool l, unsigned vvvv,
               unsigned opcode, const struct operands *o)
{
    if (o->segment)
        maker_byte(m, o->segment);
    maker_byte(m, 0xc4);
    maker_byte(m, (~maker_rex_bits(o) & 7) << 5 | map);
    maker_byte(m, (unsigned)w << 7 | (vvvv == 16 ? 15 : ~vvvv & 15) << 3 | (unsigned)l << 2 | pp);
    maker_byte(m, opcode);
    if (opcode != 0x77 || map != 1) /* VZEROUPPER, VZEROALL */
        maker_modrm(m, o);
}

void make_vex(struct maker *m)
{
    static const struct {
        uint8_t pp, map, opcode, w, imm;
    } rows[] = {
        {0, 1, 0x10, 0, 0}, {0, 1, 0x11, 0, 0}, {0, 1, 0x28, 0, 0}, {1, 1, 0x6f, 0, 0},
        {1, 1, 0x7f, 0, 0}, {2, 1, 0x6f, 0, 0}, {2, 1, 0x7f, 0, 0}, {1, 1, 0xef, 0, 0},
        {1, 1, 0xfe, 0, 0}, {1, 1, 0xd4, 0, 0}, {0, 1, 0x58, 0, 0}, {1, 1, 0x59, 0, 0},
        {3, 1, 0x58, 0, 0}, {3, 1, 0x10, 0, 0}, {1, 1, 0x6e, 1, 0}, {1, 1, 0x7e, 1, 0},
        {0, 1, 0x77, 0, 0}, {1, 1, 0x76, 0, 0}, {1, 1, 0xd7, 0, 0}, {1, 2, 0x00, 0, 0},
        {1, 2, 0x58, 0, 0}, {1, 2, 0xb8, 1, 0}, {1, 3, 0x46, 0, 1}, {1, 3, 0x39, 0, 1},
        {1, 1, 0x2e, 0, 0}, {0, 2, 0xf2, 1, 0}, {0, 2, 0xf7, 1, 0}, {1, 2, 0xf7, 1, 0},
        {2, 2, 0xf7, 1, 0}, {3, 2, 0xf7, 1, 0}, {3, 2, 0xf6, 1, 0}, {3, 3, 0xf0, 1, 1},
        {0, 2, 0xf3, 1, 0}, {1, 2, 0x17, 0, 0}, {1, 2, 0x18, 0, 0}, {1, 2, 0x30, 0, 0},
    };
    unsigned k = fuzz_below(m->f, ARRAY_LEN(rows));
    struct operands o = maker_pick(m, 4);
    bool general = rows[k].map == 2 && rows[k].opcode >= 0xf0;
    unsigned vvvv = maker_plain_reg(m), w = m->wide && rows[k].w && fuzz_one_in(m->f, 2);
    bool l = !general && fuzz_one_in(m->f, 2);

    o.small_address &= m->wide;
    if (!general) {
        o.reg = fuzz_below(m->f, m->wide ? 16 : 8);
        vvvv = fuzz_below(m->f, m->wide ? 16 : 8);
    } else if (rows[k].opcode == 0xf3) {
        o.reg = 1 + fuzz_below(m->f, 3); /* BLSR, BLSMSK, BLSI */
    }
    if (rows[k].map == 3 && rows[k].opcode == 0xf0)
        vvvv = 0; /* RORX has none */
    bool two = rows[k].map == 1 && rows[k].opcode != 0xef && rows[k].opcode != 0xfe &&
               rows[k].opcode != 0xd4 && rows[k].opcode != 0x76 && rows[k].opcode < 0x58;
    unsigned none = two || rows[k].opcode == 0x6e || rows[k].opcode == 0x7e ||
                    rows[k].opcode == 0x6f || rows[k].opcode == 0x7f || rows[k].opcode == 0xd7 ||
                    rows[k].opcode == 0x77 || rows[k].imm || rows[k].opcode == 0x17 ||
                    rows[k].opcode == 0x18 || rows[k].opcode == 0x30 ||
                    (rows[k].map == 2 && rows[k].opcode == 0x58);
    if (rows[k].map == 3 && rows[k].opcode == 0x46)
        none = false;
    if ((rows[k].opcode == 0x6e || rows[k].opcode == 0x7e) || rows[k].opcode == 0xf0)
        l = false;
    maker_vex(m, rows[k].map, rows[k].pp, w, l, none ? 16 : vvvv, rows[k].opcode, &o);
    if (rows[k].imm)
        maker_byte(m, fuzz_u8(m->f));
}

/* An aligned place, and one in the middle of the data. */
static struct operands pick_area(struct maker *m, unsigned ext)
{
    struct operands o = {.size = 4, .reg = ext, .mem = true, .shape = SHAPE_ABSOLUTE};
    o.disp = (int32_t)(DATA + 0x400 + fuzz_below(m->f, 4) * 0x200);
    return o;
}

/* Control words that are mostly such as programs use. */
static void make_control_word(struct maker *m)
{
    struct operands o = pick_area(m, 0);
    unsigned masks = fuzz_one_in(m->f, 8) ? fuzz_below(m->f, 64) : 0x3f;

    o.size = 2;
    maker_encode(m, 0, 0xc7, &o);
    maker_number(m, fuzz_below(m->f, 16) << 8 | 0x40 | masks, 2);
    if (!maker_next(m))
        return;
    o.size = 4;
    o.reg = 5;
    maker_encode(m, 0, 0xd9, &o); /* FLDCW */
}

/* The whole unit to memory or from there: its image is seldom what was stored. */
static void make_x87_image(struct maker *m)
{
    static const struct {
        uint16_t opcode;
        uint8_t ext;
    } rows[] = {{0xd9, 4},   {0xd9, 6},   {0xdd, 4},   {0xdd, 6}, {0x0fae, 0},
                {0x0fae, 1}, {0x0fae, 0}, {0x0fae, 1}, {0xd9, 6}, {0xdd, 6}};
    unsigned k = fuzz_below(m->f, ARRAY_LEN(rows));
    struct operands o = pick_area(m, rows[k].ext);

    if (fuzz_one_in(m->f, 4))
        maker_pick_memory(m, &o);
    maker_encode(m, 0, rows[k].opcode, &o);
}

static void make_x87_registers(struct maker *m)
{
    static const uint16_t often[] = {
        0xd9c0, 0xd9c8, 0xd9e8, 0xd9ee, 0xd9eb, 0xd8c1, 0xdec1, 0xdec9, 0xdee9, 0xdef9, 0xd8f1,
        0xddd8, 0xddd9, 0xd9e0, 0xd9e1, 0xd9fa, 0xd9fc, 0xd9e5, 0xd9e4, 0xdfe0, 0xdbf1, 0xdff1,
        0xdbe9, 0xdfe9, 0xdac1, 0xdbd1, 0xdac9, 0xddc1, 0xd9f7, 0xd9f6, 0xdbe2, 0xdbe3};
    unsigned op = FUZZ_PICK(m->f, often);

    if (fuzz_one_in(m->f, 3))
        op = 0xd8c0 | fuzz_below(m->f, 8) << 8 | fuzz_below(m->f, 64);
    else if (fuzz_one_in(m->f, 2) && (op >> 8 != 0xd9 || (op & 0xff) < 0xd0))
        op ^= fuzz_below(m->f, 8);
    maker_byte(m, op >> 8);
    maker_byte(m, op & 0xff);
}

void make_x87(struct maker *m)
{
    struct operands o = maker_pick(m, 4);

    switch (fuzz_below(m->f, 24)) {
    case 0:
        make_control_word(m);
        break;
    case 1:
        make_x87_image(m);
        break;
    case 2:
        maker_byte(m, 0x9b);
        break;
    case 3: /* a transcendental or another one that is in software */
        maker_byte(m, 0xd9);
        maker_byte(m, 0xf0 + fuzz_below(m->f, 16));
        break;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
        maker_pick_memory(m, &o);
        o.reg = fuzz_below(m->f, 8);
        if (o.reg == 4 || o.reg == 5 || o.reg == 6) /* FLDCW, images: above */
            o.reg = fuzz_one_in(m->f, 8) ? o.reg : 0;
        maker_encode(m, 0, 0xd8 + fuzz_below(m->f, 8), &o);
        break;
    default:
        make_x87_registers(m);
        break;
    }
}

void make_mmx(struct maker *m)
{
    static const uint32_t rows[] = {
        0x0f6e, 0x0f6f, 0x0f7e, 0x0f7f, 0x0ffc, 0x0ffd, 0x0ffe, 0x0fd4, 0x0fef,   0x0feb,
        0x0fdb, 0x0fdf, 0x0fd5, 0x0fe5, 0x0ff5, 0x0f60, 0x0f61, 0x0f6a, 0x0f63,   0x0f67,
        0x0f74, 0x0f66, 0x0fd1, 0x0ff2, 0x0fe1, 0x0fd8, 0x0fdc, 0x0fe0, 0x0f3800, 0x0f381d,
        0x0fd7, 0x0f77, 0x0f70, 0x0f71, 0x0f73, 0x0fc4, 0x0fc5, 0x0fe7, 0x0f6b,   0x0ff6};
    uint32_t op = FUZZ_PICK(m->f, rows);
    struct operands o = maker_pick(m, m->wide && fuzz_one_in(m->f, 4) ? 8 : 4);

    if (op == 0x0f77) {
        maker_byte(m, 0x0f);
        maker_byte(m, 0x77);
        return;
    }
    if (op == 0x0f71 || op == 0x0f73) {
        o.reg = op == 0x0f71 ? 2 + 2 * fuzz_below(m->f, 3) : 2 + 4 * fuzz_below(m->f, 2);
        o.mem = false;
    }
    maker_encode(m, 0, op, &o);
    if (op == 0x0f70 || op == 0x0f71 || op == 0x0f73 || op == 0x0fc4 || op == 0x0fc5)
        maker_byte(m, fuzz_u8(m->f) & (fuzz_one_in(m->f, 4) ? 0xff : 31));
}
