/* What lies in memory when an oracle's case begins. See oracle_gen.h. */
#include "tests/insn/oracle_gen.h"

#include "cpu/exec.h"

/* ---- memory ----------------------------------------------------------------------------------- */

void oracle_fill_pattern(uint8_t *p, unsigned n)
{
    static uint8_t page[PAGE_SIZE]; /* made once: it costs more than a case */
    static bool made;

    if (!made) {
        struct rng r = {42};
        for (unsigned k = 0; k < PAGE_SIZE; k += 64)
            value_fill(&r, page + k, 64, k & 64 ? V_BYTES : V_RANDOM);
        made = true;
    }
    for (unsigned k = 0; k < n; k += PAGE_SIZE)
        memcpy(p + k, page, MIN((unsigned)PAGE_SIZE, n - k));
}

/* Puts bytes at a linear address, as far as the window has it. */
static void poke(struct gen *g, uint64_t at, const uint8_t *p, unsigned n)
{
    for (unsigned k = 0; k < n; k++)
        if (at + k >= ORACLE_DATA && at + k < ORACLE_DATA + ORACLE_DATA_SIZE)
            g->c->in.data[at + k - ORACLE_DATA] = p[k];
}

/* Control and status word; now and then with exceptions that are not masked. */
static void fill_words(struct rng *r, uint8_t *cw, uint8_t *sw, bool unmasked)
{
    unsigned masks = below(r, 64), flags;

    st16(cw, (uint16_t)(0x40 | masks | below(r, 16) << 8));
    flags = (unsigned)rnd(r);
    flags &= unmasked && once_in(r, 4) ? 0x3f : ld16(cw) & 0x3f;
    st16(sw, (uint16_t)(flags | (rnd(r) & 0x7f00)));
}

static void fill_fxsave(struct gen *g, uint8_t *p)
{
    struct rng *r = &g->rng;
    uint32_t mxcsr;

    memset(p, 0, 512);
    fill_words(r, p, p + 2, false);
    p[4] = (uint8_t)rnd(r);
    /* XRSTOR finds a bad MXCSR when other parts have been loaded already. */
    mxcsr = (uint32_t)(rnd(r) & 0xffff);
    st32(p + 24, mxcsr | (uint32_t)(once_in(r, 12) && g->row->name[0] == 'F') << 16);
    for (unsigned k = 0; k < 8; k++)
        value_f80(r, p + 32 + 16 * k);
    value_fill(r, p + 160, 256, V_RANDOM);
}

static void fill_xsave(struct gen *g, uint8_t *p)
{
    struct rng *r = &g->rng;
    bool compact = once_in(r, 3);

    fill_fxsave(g, p);
    memset(p + 512, 0, 64);
    value_fill(r, p + 576, 256, V_RANDOM);
    st64(p + 512, below(r, 8));
    if (compact)
        st64(p + 520, (below(r, 8) | ld64(p + 512)) | 1ull << 63);
    if (once_in(r, 24)) { /* reserved bits */
        uint8_t bit = (uint8_t)(1u << below(r, 8));
        p[512 + below(r, 64)] ^= bit;
    }
    if (once_in(r, 2))
        st64(p + 512, ld64(p + 512) & below(r, 8));
    /* Components the host may have and we do not would make a difference. */
    if ((ld64(p + 512) | ld64(p + 520)) & 0x7ffffffffffffff8ull)
        p[519] |= 0x40;
}

static void fill_environment(struct gen *g, uint8_t *p)
{
    struct rng *r = &g->rng;
    unsigned step = g->opsize == 2 ? 2 : 4;

    for (unsigned k = 0; k < 7; k++)
        st32(p + k * step, (uint32_t)rnd(r) & (k < 3 || step == 2 ? 0xffff : 0x7ffffff));
    fill_words(r, p, p + step, true);
    for (unsigned k = 0; k < 8; k++)
        value_f80(r, p + 7 * step + 10 * k);
}

/* For instructions that make something of what they find. */
static bool fill_special(struct gen *g, uint8_t *p)
{
    static const char *const near_[] = {"JMP", "CALL", NULL};
    static const char *const far_[] = {"JMPF", "CALLF", "LES", "LDS", "LSS", "LFS", "LGS", NULL};
    static const char *const selectors[] = {"LAR", "LSL", "VERR", "VERW", "ARPL", NULL};
    const struct insn_row *row = g->row;
    struct rng *r = &g->rng;
    bool jump = row->name[0] != 'L';

    if (row_is(row, near_)) {
        st64(p, gen_indirect_target(g));
    } else if (row_is(row, far_)) {
        uint64_t offset = jump ? gen_far_offset(g) : rnd(r);
        uint8_t far_pointer[16] = {0};
        for (unsigned k = 0; k < g->opsize; k++)
            far_pointer[k] = (uint8_t)(offset >> 8 * k);
        st16(far_pointer + g->opsize, gen_selector(g));
        memcpy(p, far_pointer, 10);
    } else if (row_is(row, selectors) || gen_operand(g, "S")) {
        st16(p, gen_selector(g));
    } else if (row_begins(row, "FX") && row->opcode == 0x0fae) {
        fill_fxsave(g, p);
    } else if (row_begins(row, "XR") || row_begins(row, "XS")) {
        fill_xsave(g, p);
    } else if (strcmp(row->name, "FLDENV") == 0 || strcmp(row->name, "FRSTOR") == 0) {
        fill_environment(g, p);
    } else if (row_ends(row, "LDMXCSR")) {
        st32(p, (uint32_t)(rnd(r) & 0xffff));
        p[2] = once_in(r, 8);
    } else if (strcmp(row->name, "BOUND") == 0) {
        for (unsigned k = 0; k < 8; k++)
            p[k] = (uint8_t)rnd(r);
        p[g->opsize - 1] |= 0x80;
        p[2 * g->opsize - 1] &= 0x7f;
    } else {
        return false;
    }
    return true;
}

void gen_fill_operand(struct gen *g)
{
    struct rng *r = &g->rng;
    const struct oracle_state *in = &g->c->in;
    uint8_t buf[1024];
    unsigned n = MAX(g->access, 32u);

    memset(buf, 0, sizeof(buf));
    if ((once_in(r, 32) && g->row->name[0] != 'C') || !fill_special(g, buf)) {
        value_fill(r, buf, n, gen_flavour(g));
        if (once_in(r, 5)) /* equal to the other operand */
            memcpy(buf, g->row->attr & (AT_SSE | AT_AVX) ? in->ymm[g->reg & 15] : buf, 32);
        if (once_in(r, 5) && !(g->row->attr & (AT_SSE | AT_AVX)))
            st64(buf, in->r[once_in(r, 2) ? REG_AX : g->reg & 15]);
        if (strcmp(g->row->name, "CMPXCHG8B") == 0 && once_in(r, 2)) {
            st64(buf + 8, in->r[REG_DX]);
            st64(buf, in->r[REG_AX]);
            if (!g->rex_w)
                st32(buf + 4, (uint32_t)in->r[REG_DX]);
        }
    }
    poke(g, g->ea, buf, n);
}

void gen_fill_stack(struct gen *g)
{
    struct rng *r = &g->rng;
    const struct insn_row *row = g->row;
    uint64_t sp = g->code64 ? g->c->in.r[REG_SP] : (uint32_t)g->c->in.r[REG_SP];
    uint8_t buf[64];
    unsigned size = g->opsize;

    if (g->code64 && (row->name[0] == 'R' || row->name[0] == 'I') && row->attr & AT_END)
        size = row->attr & AT_F64 || g->rex_w ? 8 : g->p66 ? 2 : row->attr & AT_D64 ? 8 : 4;
    value_fill(r, buf, sizeof(buf), V_INT);
    if (strcmp(row->name, "RET") == 0) {
        st64(buf, gen_branch_target(g));
    } else if (strcmp(row->name, "RETF") == 0 || strcmp(row->name, "IRET") == 0) {
        uint64_t words[5];
        words[0] = gen_far_offset(g);
        words[1] = gen_selector(g);
        words[2] = gen_window_address(g, 0) & ~7ull;
        words[3] = 0x2b;
        words[4] = 0;
        if (row->name[0] == 'I') {
            words[4] = words[3];
            words[3] = words[2];
            words[2] = FL_1 | FL_IF | (rnd(r) & (FL_ARITH | FL_DF | FL_AC));
        }
        if (once_in(r, 8))
            words[row->name[0] == 'I' ? 4 : 3] = gen_selector(g);
        for (unsigned k = 0; k < 5; k++)
            for (unsigned b = 0; b < size; b++)
                buf[k * size + b] = (uint8_t)(words[k] >> 8 * b);
    } else if (strcmp(row->name, "POPF") == 0) {
        st64(buf, rnd(r) & (FL_ARITH | FL_DF | FL_AC | FL_IF | FL_IOPL | FL_1));
    } else if (row->operands[0] && row->operands[1] == 'S') { /* POP of a segment register */
        uint64_t selector = gen_selector(g);
        st64(buf, selector | (rnd(r) << 16 & ~0xffffull));
    }
    poke(g, sp, buf, sizeof(buf));
}
