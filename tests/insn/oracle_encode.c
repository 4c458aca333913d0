/* Addressing and encodings of the oracle's cases. See oracle_gen.h. */
#include "tests/insn/oracle_gen.h"

#include "cpu/exec.h"

/* ---- addressing ------------------------------------------------------------------------------- */

static void put(struct gen *g, unsigned byte)
{
    g->tail[g->tail_len++] = (uint8_t)byte;
}

static void put_number(struct gen *g, uint64_t v, unsigned bytes)
{
    for (unsigned k = 0; k < bytes; k++)
        put(g, (unsigned)(v >> 8 * k & 0xff));
}

static uint64_t segment_base(const struct gen *g)
{
    const struct oracle_state *in = &g->c->in;
    uint64_t base = g->segment == 0x64 ? in->fs_base : g->segment == 0x65 ? in->gs_base : 0;
    return g->code64 ? base : (uint32_t)base;
}

static uint64_t truncated(const struct gen *g, uint64_t v)
{
    return g->addrsize == 8 ? v : g->addrsize == 4 ? (uint32_t)v : (uint16_t)v;
}

/* Gives a register the value v as far as the address size sees it. */
static void set_base(struct gen *g, unsigned reg, uint64_t v)
{
    uint64_t *r = &g->c->in.r[reg];
    if (g->addrsize == 8)
        *r = v;
    else if (g->addrsize == 4)
        *r = (uint32_t)v | *r >> 32 << 32;
    else
        *r = (uint16_t)v | *r >> 16 << 16;
}

static int64_t pick_disp(struct gen *g, unsigned bytes)
{
    if (bytes == 0)
        return 0;
    if (bytes == 1)
        return (int8_t)rnd(&g->rng);
    if (bytes == 2)
        return (int16_t)rnd(&g->rng);
    return once_in(&g->rng, 4) ? (int32_t)rnd(&g->rng) : (int32_t)below(&g->rng, 0x800) - 0x400;
}

/* The general form: base and index registers or none, a displacement of disp_bytes. Sets the base so
 * that the operand lies at want, or, if the base may not change, finds where it lies. */
static void solve_base(struct gen *g, int base, int index, unsigned scale, int64_t disp,
                       uint64_t want)
{
    const uint64_t *r = g->c->in.r;
    uint64_t rest = (uint64_t)disp + (index >= 0 ? r[index] << scale : 0);
    uint64_t seg = segment_base(g);

    if (base >= 0 && base != index && !(g->pinned >> base & 1)) {
        set_base(g, (unsigned)base, want - seg - rest);
        g->pinned |= 1u << base;
    }
    g->ea = seg + truncated(g, rest + (base >= 0 ? r[base] : 0));
    if (!g->code64)
        g->ea = (uint32_t)g->ea;
    g->ea_known = true;
}

static void modrm16(struct gen *g, uint64_t want)
{
    static const int8_t base[8] = {REG_BX, REG_BX, REG_BP, REG_BP, REG_SI, REG_DI, REG_BP, REG_BX};
    static const int8_t index[8] = {REG_SI, REG_DI, REG_SI, REG_DI, -1, -1, -1, -1};
    unsigned mod = below(&g->rng, 3), rm = below(&g->rng, 8);
    unsigned bytes = mod == 0 ? (rm == 6 ? 2 : 0) : mod;
    int64_t disp = pick_disp(g, bytes);
    int b = mod == 0 && rm == 6 ? -1 : base[rm];

    /* Only FS and GS lead from 16 bits to the window. */
    if (!once_in(&g->rng, 4) && g->segment != 0x64 && g->segment != 0x65)
        g->segment = 0x64;
    if (b < 0)
        disp = (int64_t)((want - segment_base(g)) & 0xffff);
    put(g, mod << 6 | (g->reg & 7) << 3 | rm);
    put_number(g, (uint64_t)disp, bytes);
    solve_base(g, b, index[rm], 0, disp, want);
}

static void modrm_sib(struct gen *g, unsigned mod, uint64_t want)
{
    struct rng *r = &g->rng;
    bool vsib = g->row->attr & AT_VSIB;
    unsigned base = below(r, g->code64 ? 16 : 8), scale = below(r, 4);
    unsigned index = vsib ? g->index : below(r, g->code64 ? 16 : 8);
    unsigned bytes = mod == 0 ? ((base & 7) == 5 ? 4 : 0) : mod == 1 ? 1 : 4;
    int64_t disp = pick_disp(g, bytes);
    int b = mod == 0 && (base & 7) == 5 ? -1 : (int)base, x = index == 4 || vsib ? -1 : (int)index;

    if (x >= 0 && !once_in(r, 4) && !(g->pinned >> x & 1)) /* indexes are mostly small */
        set_base(g, (unsigned)x, (uint64_t)(int64_t)((int)below(r, 0x400) - 0x200));
    if (b < 0)
        disp = (int32_t)(uint32_t)(want - segment_base(g) - (x >= 0 ? g->c->in.r[x] << scale : 0));
    if (g->code64) {
        g->index = (uint8_t)index;
        g->rm = (uint8_t)base;
    }
    put(g, mod << 6 | (g->reg & 7) << 3 | 4);
    put(g, scale << 6 | (index & 7) << 3 | (base & 7));
    put_number(g, (uint64_t)disp, bytes);
    solve_base(g, b, x, x < 0 ? 0 : scale, disp, want);
}

static void modrm_memory(struct gen *g)
{
    struct rng *r = &g->rng;
    uint64_t want = gen_pick_address(g, g->access, gen_alignment(g));
    unsigned mod = below(r, 3), rm = below(r, g->code64 ? 16 : 8), bytes;
    int64_t disp;

    if (g->row->attr & AT_VSIB)
        want = ORACLE_DATA + 0x800 + below(r, 0x1000);
    if (g->addrsize == 2) {
        modrm16(g, want);
        return;
    }
    if ((rm & 7) == 4 || (g->row->attr & AT_VSIB && !once_in(r, 32)) || once_in(r, 3)) {
        modrm_sib(g, mod, want);
        return;
    }
    bytes = mod == 0 ? ((rm & 7) == 5 ? 4 : 0) : mod == 1 ? 1 : 4;
    disp = pick_disp(g, bytes);
    g->rm = (uint8_t)rm;
    put(g, mod << 6 | (g->reg & 7) << 3 | (rm & 7));
    if (mod == 0 && (rm & 7) == 5) {
        disp = (int32_t)(uint32_t)(want - segment_base(g));
        if (g->code64)
            g->rip_at = (int)g->tail_len;
        put_number(g, (uint64_t)disp, 4);
        g->ea = segment_base(g) + (g->code64 ? (uint64_t)disp : (uint32_t)disp);
        if (!g->code64)
            g->ea = (uint32_t)g->ea;
        g->ea_known = true;
        return;
    }
    put_number(g, (uint64_t)disp, bytes);
    solve_base(g, (int)rm, -1, 0, disp, want);
}

/* ---- the rest of the encoding ------------------------------------------------------------------ */

void gen_choose_modrm(struct gen *g)
{
    const struct insn_row *row = g->row;
    struct rng *r = &g->rng;
    /* 0F 01's register forms include what traps to a hypervisor. */
    bool strict = row->opcode == 0x0f01;

    g->reg = (uint8_t)below(r, g->code64 ? 16 : 8);
    g->rm = (uint8_t)below(r, g->code64 ? 16 : 8);
    g->vvvv = (uint8_t)(gen_operand(g, "HB") || once_in(r, 16) ? below(r, 16) : 0);
    if (row->form == FORM_MRM || row->form == FORM_X)
        g->mem = row->opcode != 0x0f01 && once_in(r, 2);
    else if (row->form == FORM_MEM || row->form == FORM_XM)
        g->mem = strict || !once_in(r, 24);
    else
        g->mem = !strict && row->form != FORM_RM && once_in(r, 24);
    g->odd |= g->mem != (row->form == FORM_MEM || row->form == FORM_XM);
    if (row->form == FORM_X && strict)
        g->mem = true;
    if (row->form >= FORM_X)
        g->reg = (uint8_t)((g->reg & 8) | row->form_reg);
    if (row->form == FORM_RM)
        g->rm = (uint8_t)((g->rm & 8) | row->form_rm);
    if (strpbrk(row->operands, "CD") && row->opcode >= 0x0f20 && row->opcode <= 0x0f23)
        g->mem = false;
    if (row->attr & AT_VSIB) { /* three registers, mostly different */
        g->reg = (uint8_t)below(r, g->code64 ? 16 : 8);
        g->vvvv = (uint8_t)((g->reg + below(r, 5)) & (g->code64 ? 15 : 7));
        g->index = (uint8_t)((g->reg + 5 + below(r, 3)) & (g->code64 ? 15 : 7));
    }
    if (gen_operand(g, "S") && once_in(r, 2))
        g->reg = (uint8_t)below(r, 6);
}

void gen_write_modrm(struct gen *g)
{
    if (g->mem)
        modrm_memory(g);
    else
        put(g, 0xc0 | (g->reg & 7) << 3 | (g->rm & 7));
}

void gen_write_immediates(struct gen *g)
{
    struct rng *r = &g->rng;

    for (unsigned k = 0; k < g->ops; k++) {
        const struct operand *o = &g->op[k];
        unsigned n;
        uint64_t v = value_int(r);
        switch (o->letter) {
        case 'I':
            n = o->size[0] == 'v'   ? g->opsize
                : o->size[0] == 'z' ? (g->opsize == 2 ? 2 : 4)
                : o->size[0] == 'w' ? 2
                                    : 1;
            if (strcmp(g->row->name, "ENTER") == 0)
                v = n == 2 ? below(r, 0x800) : once_in(r, 4) ? v : below(r, 4);
            else if (once_in(r, 3))
                v = below(r, 70);
            put_number(g, v, n);
            break;
        case 'J':
            put_number(g, v, o->size[0] == 'b' ? 1 : g->opsize == 2 ? 2 : 4);
            break;
        case 'O':
            g->ea = gen_pick_address(g, g->access, 1);
            v = g->ea - segment_base(g);
            put_number(g, v, g->addrsize);
            g->ea = segment_base(g) + truncated(g, v);
            if (!g->code64)
                g->ea = (uint32_t)g->ea;
            g->ea_known = true;
            break;
        case 'A':
            put_number(g, gen_far_offset(g), g->opsize == 2 ? 2 : 4);
            put_number(g, gen_selector(g), 2);
            break;
        case 'L':
            put_number(g, v, 1);
            break;
        default:
            break;
        }
    }
}

static unsigned write_legacy_prefixes(struct gen *g, uint8_t *out)
{
    struct rng *r = &g->rng;
    uint8_t list[5];
    unsigned n = 0, done = 0;

    if (g->lock)
        list[n++] = 0xf0;
    if (g->p66)
        list[n++] = 0x66;
    if (g->p67)
        list[n++] = 0x67;
    if (g->rep)
        list[n++] = g->rep;
    if (g->segment)
        list[n++] = g->segment;
    while (n) { /* in any order */
        unsigned k = below(r, n);
        out[done++] = list[k];
        list[k] = list[--n];
    }
    return done;
}

static unsigned write_vex(struct gen *g, uint8_t *out)
{
    static const uint8_t pp[] = {0, 0, 1, 2, 3};
    unsigned map = g->row->opcode < 0x10000 ? 1 : g->row->opcode >> 8 == 0x0f38 ? 2 : 3;
    bool has_index = g->mem && g->tail_len > 1 && (g->tail[0] & 7) == 4;
    unsigned r = g->reg >> 3 & 1, x = has_index ? g->index >> 3 & 1 : 0, b = g->rm >> 3 & 1;
    unsigned last = (unsigned)(~g->vvvv & 15) << 3 | g->vex_l << 2 | pp[g->row->prefix];

    if (!g->code64)
        r = x = b = 0;
    if (once_in(&g->rng, 64) && !g->padded && g->tail_len < 7)
        last = (last & ~3u) | below(&g->rng, 4);
    if (map == 1 && !g->rex_w && !x && !b && once_in(&g->rng, 2)) {
        out[0] = 0xc5;
        out[1] = (uint8_t)((!r) << 7 | last);
        return 2;
    }
    out[0] = 0xc4;
    out[1] = (uint8_t)((!r) << 7 | (!x) << 6 | (!b) << 5 | map);
    out[2] = (uint8_t)(g->rex_w << 7 | last);
    return 3;
}

static unsigned write_opcode(struct gen *g, uint8_t *out)
{
    unsigned n = 0, op = g->row->opcode & 0xff;

    if (!g->vex) {
        if (g->row->opcode > 0xff)
            out[n++] = 0x0f;
        if (g->row->opcode > 0xffff)
            out[n++] = (uint8_t)(g->row->opcode >> 8);
    }
    if (g->row->form == FORM_Z)
        op |= g->rm & 7;
    out[n++] = (uint8_t)op;
    return n;
}

void gen_assemble(struct gen *g)
{
    struct oracle_case *c = g->c;
    struct rng *r = &g->rng;
    uint8_t head[24];
    bool has_index = g->mem && g->tail_len > 1 && (g->tail[0] & 7) == 4 && g->tail[0] < 0xc0;
    unsigned n = write_legacy_prefixes(g, head), len;
    unsigned rex = 0x40 | g->rex_w << 3 | (g->reg >> 3 & 1) << 2 |
                   (has_index ? g->index >> 3 & 1 : 0) << 1 | (g->rm >> 3 & 1);

    if (once_in(r, 100) && !g->odd &&
        (!g->vex || g->vvvv == 0 || gen_operand(g, "HB"))) { /* as long as can be, or longer */
        unsigned more = below(r, 8);
        g->padded = true;
        memmove(head + more, head, n);
        memset(head, g->vex || once_in(r, 2) ? 0x2e : 0x3e, more);
        n += more;
    }
    if (g->vex) {
        if (g->code64 && once_in(r, 64) && !g->padded && n + g->tail_len < 9)
            head[n++] = (uint8_t)(0x40 | below(r, 16));
        n += write_vex(g, head + n);
    } else if (g->code64 && (rex != 0x40 || once_in(r, 4))) {
        if (once_in(r, 64) && n) { /* before another prefix it says nothing */
            memmove(head + 1, head, n);
            head[0] = (uint8_t)rex;
            n++;
        } else {
            head[n++] = (uint8_t)rex;
        }
    }
    n += write_opcode(g, head + n);
    len = n + g->tail_len;
    if (g->rip_at >= 0) {
        uint32_t disp = ld32(g->tail + g->rip_at) - (uint32_t)(c->in.rip + len);
        st32(g->tail + g->rip_at, disp);
        g->ea = truncated(g, c->in.rip + len + (uint64_t)(int64_t)(int32_t)disp) + segment_base(g);
    }
    c->len = (uint8_t)MIN(len, sizeof(c->code));
    memcpy(c->code, head, MIN(n, sizeof(c->code)));
    memcpy(c->code + MIN(n, sizeof(c->code)), g->tail, c->len - MIN(n, (unsigned)c->len));
}
