/* The oracle's cases, made from the rows of insn.def alone. See oracle.h.
 *
 * A case is decided in this order: the kind of code segment; prefixes, legal and not; registers and
 * flags; where the memory operand shall lie, and the addressing form with the register values that
 * lead there; then what lies there. Everything is drawn from a generator seeded by the row and the
 * case's number, so that a case can be made again anywhere.
 */
#include "tests/insn/oracle_gen.h"

#include "cpu/exec.h"

/* ---- prefixes --------------------------------------------------------------------------------- */

static void choose_code(struct gen *g)
{
    uint64_t attr = g->row->attr;

    if (attr & AT_I64)
        g->code64 = once_in(&g->rng, 8);
    else if (attr & AT_O64)
        g->code64 = !once_in(&g->rng, 8);
    else
        g->code64 = !once_in(&g->rng, 4);
    /* 62 is EVEX in 64-bit code, which we do not have and the host may. */
    if (g->row->opcode == 0x62)
        g->code64 = false;
    g->c->code32 = !g->code64;
}

static void choose_prefixes(struct gen *g)
{
    static const uint8_t segs[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    static const uint8_t mandatory[] = {[P_66] = 0x66, [P_F3] = 0xf3, [P_F2] = 0xf2};
    struct rng *r = &g->rng;
    const struct insn_row *row = g->row;

    g->p67 = once_in(r, g->code64 ? 10 : 6);
    if (once_in(r, 8))
        g->segment = segs[once_in(r, 2) ? 4 + below(r, 2) : below(r, 6)];
    if (oracle_is_image(row) || strstr(row->name, "MASKMOV") || strstr(row->operands, "Mt"))
        g->segment = 0;
    if (oracle_is_image(row) || strstr(row->name, "MASKMOV"))
        g->p67 &= g->code64;
    g->lock = once_in(r, row->attr & AT_LOCK ? 6 : 32);
    if (g->vex) {
        g->lock = once_in(r, 64);
        g->p66 = once_in(r, 64);
        g->rep = once_in(r, 64) ? 0xf2 + below(r, 2) : 0;
        g->odd = g->lock || g->p66 || g->rep;
        return;
    }
    g->odd = g->lock;
    if (row->prefix == P_ANY) {
        g->p66 = once_in(r, gen_sized_by_66(g) ? 3 : 12);
        if (row->attr & AT_REP ? !once_in(r, 3) : once_in(r, 24))
            g->rep = (uint8_t)(0xf2 + below(r, 2));
    } else {
        if (row->prefix == P_66)
            g->p66 = true;
        else if (row->prefix != P_NP)
            g->rep = mandatory[row->prefix];
        if (row->prefix >= P_F3)
            g->p66 = once_in(r, strchr(row->operands, 'v') ? 4 : 16);
        if (once_in(r, 48)) { /* another instruction, or none */
            g->odd = true;
            g->rep = once_in(r, 2) ? (uint8_t)(0xf2 + below(r, 2)) : 0;
            g->p66 = once_in(r, 2);
        }
    }
}

static void choose_sizes(struct gen *g)
{
    uint64_t attr = g->row->attr;
    struct rng *r = &g->rng;
    bool wide = strpbrk(g->row->operands, "vyzpa") || attr & (AT_D64 | AT_F64) ||
                row_begins(g->row, "PCMPESTR") || row_begins(g->row, "VPCMPESTR") ||
                g->row->operands[0] == 'M' || !g->row->operands[0];

    g->rex_w = g->code64 && once_in(r, wide ? 3 : 12);
    if (g->vex) {
        g->rex_w = attr & AT_W1 || (!(attr & AT_W0) && once_in(r, 2));
        g->vex_l = attr & AT_L1 || (attr & (AT_VEXL | AT_LIG) && once_in(r, 2));
        if (once_in(r, 24)) {
            g->rex_w = !g->rex_w;
            g->odd = true;
        }
        if (once_in(r, 24)) {
            g->vex_l = !g->vex_l;
            g->odd = true;
        }
    }
    if (strcmp(g->row->name, "MOVBE") == 0 && g->p66) /* stores in part before a fault */
        g->rex_w = false;
    if (g->code64)
        g->opsize = g->rex_w || attr & AT_F64 ? 8 : g->p66 ? 2 : attr & AT_D64 ? 8 : 4;
    else
        g->opsize = g->p66 ? 2 : 4;
    g->addrsize = g->code64 ? (g->p67 ? 4 : 8) : g->p67 ? 2 : 4;
    g->vecsize = g->vex && g->vex_l ? 32 : 16;
}

/* ---- registers -------------------------------------------------------------------------------- */

static enum flavour main_flavour(struct gen *g)
{
    static const struct {
        const char *begin;
        enum flavour v;
    } begins[] = {
        {"VCVTPH", V_F16},     {"FBLD", V_BCD},        {"CVTDQ", V_INT},
        {"VCVTDQ", V_INT},     {"CVTSI", V_INT},       {"VCVTSI", V_INT},
        {"CVTPI", V_INT},      {"CVTPD2", V_F64},      {"CVTSD2", V_F64},
        {"CVTTPD", V_F64},     {"CVTTSD", V_F64},      {"VCVTPD2", V_F64},
        {"VCVTSD2", V_F64},    {"VCVTTPD", V_F64},     {"VCVTTSD", V_F64},
        {"CVT", V_F32},        {"VCVT", V_F32},        {"PCMPESTR", V_BYTES},
        {"PCMPISTR", V_BYTES}, {"VPCMPESTR", V_BYTES}, {"VPCMPISTR", V_BYTES},
        {"PCMP", V_BYTES},     {"VPCMP", V_BYTES},     {"PS", V_COUNT},
        {"VPS", V_COUNT},
    };
    const struct insn_row *row = g->row;

    if (row->attr & AT_X87) {
        if (strstr(row->operands, "Mt"))
            return strchr(row->name, 'B') ? V_BCD : V_F80;
        if (row_begins(row, "FI"))
            return V_INT;
        return strstr(row->operands, "Mq") ? V_F64 : strstr(row->operands, "Md") ? V_F32 : V_F80;
    }
    for (unsigned k = 0; k < ARRAY_LEN(begins); k++)
        if (row_begins(row, begins[k].begin))
            return begins[k].v;
    if (row->attr & (AT_SSE | AT_AVX)) {
        if (strstr(row->operands, "pd") || strstr(row->operands, "sd"))
            return V_F64;
        if (strstr(row->operands, "ps") || strstr(row->operands, "ss"))
            return V_F32;
        if (row->name[0] != 'P' && row->name[1] != 'P') {
            if (row_ends(row, "PD") || row_ends(row, "SD"))
                return V_F64;
            if (row_ends(row, "PS") || row_ends(row, "SS"))
                return V_F32;
        }
    }
    return V_INT;
}

enum flavour gen_flavour(struct gen *g)
{
    return once_in(&g->rng, 5) ? (enum flavour)below(&g->rng, V_FLAVOURS) : main_flavour(g);
}

/* F2XM1 and FYL2XP1 are defined for small arguments only. And processors do not round the functions
 * of the tiniest numbers as directed, which makes more than one unit at the lower end. */
static void choose_domain(struct gen *g)
{
    struct rng *r = &g->rng;
    struct oracle_state *in = &g->c->in;

    if (strcmp(g->row->name, "F2XM1") == 0 || strcmp(g->row->name, "FYL2XP1") == 0) {
        unsigned exp = 16383 - 2 - (below(r, 3) ? below(r, 70) : 0);
        value_f80(r, in->st[0]);
        st64(in->st[0], ld64(in->st[0]) | 1ull << 63);
        st16(in->st[0] + 8, (uint16_t)(exp | below(r, 2) << 15));
    }
    if ((ld16(in->st[0] + 8) & 0x7fff) < 2 || (ld16(in->st[1] + 8) & 0x7fff) < 2)
        in->cw &= (uint16_t)~0xc00;
}

static void choose_x87(struct gen *g)
{
    struct rng *r = &g->rng;
    struct oracle_state *in = &g->c->in;
    unsigned masks = once_in(r, 2) ? 0x3f : below(r, 64), flags = below(r, 64) & below(r, 64);
    unsigned top = below(r, 8);

    if (once_in(r, 4)) { /* the state in which most programs run */
        in->cw = 0x37f;
        flags |= 0x20;
    } else {
        in->cw = (uint16_t)(0x40 | masks | below(r, 16) << 8);
    }
    if (!once_in(r, 12)) /* else something is pending */
        flags &= in->cw;
    if (once_in(r, 8))
        flags |= 0x40 & 0x7f;
    in->sw = (uint16_t)(flags | top << 11 | (rnd(r) & 0x4700));
    if (flags & ~in->cw & 0x3f)
        in->sw |= 0x8080; /* ES and B follow from the others */
    in->tags = !once_in(r, 4) ? (uint8_t)(0x0f0fu >> (8 - top)) : (uint8_t)rnd(r);
    if (once_in(r, 4))
        in->tags = 0xff;
    for (unsigned k = 0; k < 8; k++)
        value_f80(r, in->st[k]);
    if (once_in(r, 3)) /* exponents that are near each other */
        for (unsigned k = 1; k < 8; k++)
            st16(in->st[k] + 8, (uint16_t)(ld16(in->st[0] + 8) + below(r, 5) - 2));
    if (g->row->attr & AT_MMX)
        for (unsigned k = 0; k < 8; k++)
            value_fill(r, in->st[k], 8, gen_flavour(g));
    if (g->row->undef & UN_LAST_PLACE)
        choose_domain(g);
    in->fip = below(r, 2) ? rnd(r) >> 17 : 0;
    in->fdp = below(r, 2) ? rnd(r) >> 17 : 0;
    in->fop = (uint16_t)(rnd(r) & 0x7ff);
}

static void choose_vectors(struct gen *g)
{
    struct rng *r = &g->rng;
    struct oracle_state *in = &g->c->in;
    unsigned masks = once_in(r, 2) ? 0x3f : below(r, 64);
    enum flavour v = gen_flavour(g);

    for (unsigned k = 0; k < 16; k++)
        value_fill(r, in->ymm[k], 32, once_in(r, 8) ? gen_flavour(g) : v);
    if (once_in(r, 3)) /* operands that are equal, or begin so */
        for (unsigned k = 1; k < 16; k++)
            memcpy(in->ymm[k], in->ymm[0], below(r, 33));
    in->mxcsr = masks << 7 | (uint32_t)(rnd(r) & 0xe07f);
    if (once_in(r, 4))
        in->mxcsr = 0x1f80 | (uint32_t)(rnd(r) & 0x3f);
    in->pkru = 0x55555554; /* what Linux gives its programs */
}

uint64_t gen_window_address(struct gen *g, unsigned size)
{
    return ORACLE_DATA + below(&g->rng, ORACLE_DATA_SIZE - MIN(size, ORACLE_DATA_SIZE / 2u));
}

/* Where nothing is, or not even an address. */
static uint64_t far_address(struct gen *g)
{
    uint64_t v = rnd(&g->rng);

    if (!g->code64)
        return v >> 32;
    return 0x800000000000ull + (v >> 18) * (1 + 2 * below(&g->rng, 100));
}

/* An address for an access of size: most lie in the window, some at its edges, some far away. */
uint64_t gen_pick_address(struct gen *g, unsigned size, unsigned align)
{
    struct rng *r = &g->rng;
    unsigned kind = below(r, 100), back = below(r, size + 1);
    uint64_t at;

    /* Which part of a large or masked operand is looked at first is no matter of the architecture. */
    if ((size > 16 && size != 32 && kind >= 60) || (size > 8 && kind == 93)) {
        kind = 84 + below(r, 16);
        kind += kind == 93;
        back = 0;
    }
    /* A 16-bit MOVSXD reads two bytes, ours four; an 80-bit number is stored in two parts. */
    if (kind >= 72 && ((g->row->opcode == 0x63 && g->p66) || size == 10))
        kind = 0;
    if (kind >= 83 && kind < 90 && strcmp(g->row->name, "CALL") == 0)
        kind = 0;   /* see gen_indirect_target() */
    if (kind == 93) /* two faults at once */
        g->c->in.flags &= ~(uint64_t)FL_AC;
    if (kind < 30)
        at = gen_window_address(g, size) & ~(uint64_t)(size & (size - 1) ? 3 : size - 1);
    else if (kind < 60)
        at = gen_window_address(g, size);
    else if (kind < 72) /* from one page into the next */
        at = ORACLE_DATA + PAGE_SIZE - back;
    else if (kind < 80) /* into a page that is not there */
        at = ORACLE_DATA + ORACLE_DATA_SIZE - back;
    else if (kind < 83)
        at = ORACLE_DATA - back;
    else if (kind < 88)
        at = ORACLE_RO + below(r, PAGE_SIZE - MIN(size, 2048u));
    else if (kind < 90)
        at = ORACLE_RO + PAGE_SIZE - back;
    else if (kind < 93)
        at = far_address(g);
    else if (kind < 94)
        at = g->code64 ? 0x800000000000ull - back : 0x100000000ull - back;
    else
        at = gen_window_address(g, size) & ~63ull;
    return once_in(r, 8) ? at : at & ~(uint64_t)(align - 1);
}

/* Where instructions with a pointer of their own find it. */
static void pin(struct gen *g, unsigned reg, uint64_t v)
{
    g->c->in.r[reg] = v;
    g->pinned |= 1u << reg;
}

static void choose_pointers(struct gen *g)
{
    static const char *const strings[] = {"MOVS", "CMPS", "STOS", "LODS",
                                          "SCAS", "INS",  "OUTS", NULL};
    static const char *const loops[] = {"LOOP", "LOOPE", "LOOPNE", "JrCXZ", NULL};
    const struct insn_row *row = g->row;
    struct rng *r = &g->rng;
    uint64_t *reg = g->c->in.r;

    if (row_uses_stack(row)) {
        bool edge = once_in(r, 4) && strchr("CRI", row->name[0]) == NULL &&
                    strcmp(row->name, "PUSHA") != 0 && strcmp(row->name, "POPA") != 0;
        uint64_t sp = edge ? gen_pick_address(g, 8, once_in(r, 2) ? 1 : 8)
                           : ORACLE_DATA + 0x80 + below(r, ORACLE_DATA_SIZE - 0x100);
        pin(g, REG_SP, edge || once_in(r, 4) ? sp : sp & ~7ull);
        if (strcmp(row->name, "ENTER") == 0 || strcmp(row->name, "LEAVE") == 0)
            pin(g, REG_BP, gen_pick_address(g, 8, once_in(r, 2) ? 1 : 8));
    }
    if (row_is(row, strings)) {
        pin(g, REG_SI, gen_pick_address(g, g->opsize, 1));
        pin(g, REG_DI,
            once_in(r, 4) ? reg[REG_SI] + below(r, 9) - 4 : gen_pick_address(g, g->opsize, 1));
        /* Compares give flags back that are older than what an interrupt shows: few iterations. */
        pin(g, REG_CX,
            once_in(r, 16) && row->opcode != 0xa6 && row->opcode != 0xa7 && row->opcode < 0xae
                ? value_int(r) & 0xffff
                : below(r, 40));
        if (once_in(r, 2))
            pin(g, REG_AX, 0x0101010101010101ull * (reg[REG_AX] & 0xff));
    }
    if (row_is(row, loops)) {
        bool any = once_in(r, 4);
        uint64_t count = any ? value_int(r) : below(r, 3), high = any ? 0 : rnd(r) << 32;
        pin(g, REG_CX, any || !below(r, 2) ? count : count + high);
    }
    if (strcmp(row->name, "XLAT") == 0) {
        uint64_t at = gen_pick_address(g, 1, 1);
        pin(g, REG_BX, at - below(r, 2) * (reg[REG_AX] & 0xff));
    }
    if (row_begins(row, "MASKMOV") || row_begins(row, "VMASKMOVDQU")) /* see fix_registers() */
        pin(g, REG_DI, gen_window_address(g, 16));
    if (gen_has_word(g, "CL"))
        pin(g, REG_CX, once_in(r, 3) ? reg[REG_CX] : (reg[REG_CX] & ~0xffull) | below(r, 70));
}

/* Registers with a meaning of their own in some instructions. */
static void choose_special_values(struct gen *g)
{
    struct rng *r = &g->rng;
    const struct insn_row *row = g->row;
    struct oracle_state *in = &g->c->in;

    if (row_ends(row, "DIV")) { /* quotients that fit */
        unsigned kind = below(r, 4);
        if (kind == 0)
            in->r[REG_DX] = 0;
        else if (kind == 1)
            in->r[REG_DX] = (uint64_t)((int64_t)in->r[REG_AX] >> 63);
        else if (kind == 2)
            in->r[REG_DX] >>= below(r, 64);
        if (once_in(r, 2))
            in->r[REG_AX] &= 0xffff;
    }
    if (row->name[0] == 'X' && strpbrk(row->name, "SR") && row->opcode > 0xff) {
        in->r[REG_AX] = below(r, 8); /* components that both machines have */
        in->r[REG_DX] = 0;
        g->pinned |= 1u << REG_AX | 1u << REG_DX;
    }
    if (row_ends(row, "PKRU") || strcmp(row->name, "XGETBV") == 0) {
        bool xcr = row->name[0] == 'X';
        in->r[REG_CX] = once_in(r, 4) || xcr ? 2 + below(r, 9) : 0;
        in->r[REG_CX] |= rnd(r) << 32;
        in->r[REG_DX] = once_in(r, 4) ? rnd(r) : 0;
        in->r[REG_DX] |= rnd(r) << 32;
        in->r[REG_AX] &= ~3ull; /* the kernel must be able to store to our memory */
    }
    if (row_ends(row, "ESTRI") || row_ends(row, "ESTRM"))
        for (unsigned k = REG_AX; k <= REG_DX; k += REG_DX)
            in->r[k] = once_in(r, 4) ? in->r[k] : (uint64_t)(int64_t)((int)below(r, 40) - 20);
}

static void choose_registers(struct gen *g)
{
    struct rng *r = &g->rng;
    const struct insn_row *row = g->row;
    struct oracle_state *in = &g->c->in;
    /* Repeated strings would stop after each go, gathers before a fault, and PUSHF would see TF. */
    bool stepped = !(row->attr & (AT_REP | AT_VSIB)) && strcmp(row->name, "PUSHF") != 0;

    for (unsigned k = 0; k < 16; k++)
        in->r[k] = value_int(r);
    if (once_in(r, 6))
        for (unsigned k = 1; k < 16; k++)
            in->r[k] = once_in(r, 2) ? in->r[0] : in->r[k];
    if (once_in(r, 6)) /* pointers everywhere */
        for (unsigned k = 0; k < 16; k++)
            in->r[k] = gen_window_address(g, 64);
    for (unsigned s = SEG_ES; s <= SEG_GS; s++)
        in->seg[s] = 0x2b;
    in->seg[SEG_CS] = g->code64 ? 0x33 : 0x23;
    in->fs_base = ORACLE_DATA + below(r, 64);
    in->gs_base = g->code64 && once_in(r, 2) ? rnd(r) >> 17 : ORACLE_DATA + PAGE_SIZE;
    in->flags = FL_1 | FL_IF | (rnd(r) & FL_ARITH);
    if (once_in(r, row->attr & AT_REP ? 3 : 32))
        in->flags |= FL_DF;
    /* Alignment checks of images "may vary with implementation"; MOVSXD: see gen_pick_address(). */
    if (once_in(r, 32) && !oracle_is_image(row) && row->opcode != 0x63)
        in->flags |= FL_AC;
    g->c->step = stepped;
    in->rip = ORACLE_CODE + (once_in(r, 12) ? PAGE_SIZE - below(r, 15) : 0x400 + below(r, 64));

    choose_special_values(g);
    choose_pointers(g);
}

/* ---- targets ---------------------------------------------------------------------------------- */

uint64_t gen_far_offset(struct gen *g)
{
    return ORACLE_CODE + below(&g->rng, ORACLE_CODE_SIZE);
}

uint16_t gen_selector(struct gen *g)
{
    static const uint16_t list[] = {0,    1,    2,    3,    0x08, 0x0b, 0x10, 0x13,   0x18,  0x1b,
                                    0x20, 0x21, 0x23, 0x23, 0x28, 0x29, 0x2b, 0x2b,   0x2b,  0x30,
                                    0x33, 0x33, 0x0c, 0x27, 0x2f, 0x80, 0x8b, 0xfff8, 0xffff};
    return list[below(&g->rng, ARRAY_LEN(list))];
}

uint64_t gen_branch_target(struct gen *g)
{
    struct rng *r = &g->rng;
    switch (below(r, 8)) {
    case 0:
        return value_int(r);
    case 1:
        return rnd(r) >> 17;
    default:
        return ORACLE_CODE + below(r, ORACLE_CODE_SIZE);
    }
}

/* CALL leaves the return address in memory when its target is no address, which nobody can see who
 * does not look below the stack pointer; we do not, so such targets are left to JMP. */
uint64_t gen_indirect_target(struct gen *g)
{
    uint64_t to = gen_branch_target(g);
    return g->row->name[0] == 'C' ? (uint64_t)((int64_t)(to << 16) >> 16) : to;
}

/* ---- the case --------------------------------------------------------------------------------- */

/* Registers that an instruction takes for something else than a number. */
static void fix_registers(struct gen *g)
{
    static const char *const near_[] = {"JMP", "CALL", NULL};
    static const char *const selectors[] = {"LAR", "LSL", "VERR", "VERW", "ARPL", NULL};
    struct rng *r = &g->rng;
    uint64_t *reg = g->c->in.r;
    const struct insn_row *row = g->row;

    if (!g->mem && row_is(row, near_) && row->form == FORM_X)
        reg[g->rm & 15] = reg[g->rm & 7] = gen_indirect_target(g); /* REX.B may not count */
    if (!g->mem && (row_is(row, selectors) || gen_operand(g, "S"))) {
        uint64_t selector = gen_selector(g);
        reg[g->rm & 15] = selector | (rnd(r) & ~0xffffull);
    }
    if (row->name[0] == 'B' && row->name[1] == 'T' && g->mem && gen_operand(g, "G") &&
        !once_in(r, 8) &&
        !(g->pinned >> (g->reg & 15) & 1)) /* bit offsets reach beyond the operand */
        reg[g->reg & 15] = (uint64_t)(int64_t)((int)below(r, 0x4000) - 0x2000);
    if (row->attr & AT_VSIB) {
        unsigned size = row->opcode & 1 ? 8 : 4;
        for (unsigned k = 0; k < 32; k += size) {
            int64_t v = once_in(r, 64) ? (int64_t)value_int(r) : (int)below(r, 0x100) - 0x80;
            st_sized(g->c->in.ymm[g->index & 15] + k, (uint64_t)v, size);
        }
    }
    if (row_begins(row, "MASKMOV") || row_begins(row, "VMASKMOVDQU")) {
        /* Whether it faults without any byte to store is left to processors. */
        if (once_in(r, 4)) {
            reg[REG_DI] = once_in(r, 2) ? ORACLE_RO : 0x800000000000ull;
            g->c->in.ymm[g->rm & 15][0] |= 0x80;
            g->c->in.st[((g->rm & 7) - (g->c->in.sw >> 11)) & 7][0] |= 0x80;
        }
    }
    if (row->form == FORM_RM || row_ends(row, "GSBASE") || row_ends(row, "FSBASE"))
        if (once_in(r, 2) && row->attr & AT_O64)
            reg[g->rm & 15] = rnd(r) >> 17;
}

void oracle_generate(unsigned row, unsigned number, struct oracle_case *c)
{
    struct gen g = {.rng = {oracle_row_key(row) ^ (uint64_t)number << 32},
                    .row = &insn_rows[row],
                    .c = c,
                    .rip_at = -1};

    memset(c, 0, sizeof(*c));
    c->row = row;
    c->number = number;
    g.vex = g.row->attr & (AT_VEX | AT_AVX);
    gen_parse_operands(&g);
    choose_code(&g);
    choose_prefixes(&g);
    choose_sizes(&g);
    g.access = gen_access_size(&g);
    gen_choose_modrm(&g);
    choose_x87(&g);
    choose_vectors(&g);
    choose_registers(&g);
    if (g.row->form >= FORM_MRM)
        gen_write_modrm(&g);
    gen_write_immediates(&g);
    gen_assemble(&g);
    fix_registers(&g);
    if (!g.code64)
        for (unsigned k = 0; k < 8; k++)
            c->in.r[k] = (uint32_t)c->in.r[k];
    oracle_fill_pattern(c->in.data, ORACLE_DATA_SIZE);
    if (row_uses_stack(g.row))
        gen_fill_stack(&g);
    if (g.ea_known)
        gen_fill_operand(&g);
    c->ea_known = g.ea_known;
    c->ea = g.ea;
}
