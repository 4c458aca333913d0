/* Does this host's x87 unit do what the interpreter does?
 *
 * IEEE 754 and the manuals say what results are; not all of them say what becomes of C1 after FCOMI, of
 * the condition codes after arithmetic, of what empty registers hold, how far one FPREM gets, or how
 * FSCALE rounds a denormal. The interpreter does what the tests (tests/insn) have found Intel's processors
 * to do, and a guest must see the same on all hosts. So, as the translator is made, each row with AT_HOST
 * and register operands is tried on the host from some states, nasty ones among them, and compared with the
 * interpreter's function. A row that differs is left to the interpreter. It takes about a millisecond.
 */
#include <stdlib.h>

#include "cpu/decode.h"
#include "cpu/flags.h"
#include "cpu/jit/x64_x87.h"
#include "cpu/x87.h"

/* What a snippet of host code loads, and leaves; at RDI. */
struct shot {
    _Alignas(16) uint8_t before[512]; /* as FXSAVE's image */
    uint8_t after[512];
    uint64_t flags_before, flags_after, rax;
    uint16_t host_cw;
};
#define SHOT(field) x64_m(RDI, (int32_t)offsetof(struct shot, field))

#define FX_MXCSR    24
#define FX_ST       32
#define STATES      24

/* Runs one instruction on shot. The flags' other bits are the host's own. */
static void emit_snippet(struct x64 *x, unsigned opcode, unsigned modrm)
{
    x64_op(x, 0, 0xd9, 4, 7, SHOT(host_cw), 0); /* fnstcw */
    x64_op(x, 0, 0x0fae, 4, 3, x64_m(RDI, offsetof(struct shot, before) + FX_MXCSR),
           0);                                       /* stmxcsr */
    x64_op(x, 0, 0x0fae, 8, 1, SHOT(before), 0);     /* fxrstor */
    x64_op(x, 0, 0xff, 4, 6, SHOT(flags_before), 0); /* push */
    x64_byte(x, 0x9d);                               /* popf */
    x64_byte(x, opcode);
    x64_byte(x, modrm);
    x64_byte(x, 0x9c);                              /* pushf */
    x64_op(x, 0, 0x8f, 4, 0, SHOT(flags_after), 0); /* pop */
    x64_store(x, 8, SHOT(rax), RAX);
    x64_op(x, 0, 0x0fae, 8, 0, SHOT(after), 0); /* fxsave */
    for (unsigned k = 0; k < 8; k++) {          /* ffree */
        x64_byte(x, 0xdd);
        x64_byte(x, 0xc0 | k);
    }
    x64_op(x, 0, 0xd9, 4, 5, SHOT(host_cw), 0); /* fldcw */
    x64_byte(x, 0xc3);
}

/* ---- states ------------------------------------------------------------------------------------- */

static const struct fpreg values[] = {
    {0x8000000000000000, 0x3fff},
    {0xa000000000000001, 0xc000},
    {0xc90fdaa22168c235, 0x4000},
    {0, 0},
    {0, 0x8000},
    {0xffffffffffffffff, 0x7ffe},
    {0x8000000000000000, 0x7fff},
    {0x8000000000000000, 0xffff},
    {0xc000000000000001, 0x7fff},
    {0xa000000000000000, 0xffff},
    {0x0000000000000001, 0x0000},
    {0x7fffffffffffffff, 0x8000},
    {0x8000000000000000, 0x0000},
    {0x4000000000000000, 0x3fff},
    {0x8000000000000001, 0x0001},
    {0xaaaaaaaaaaaaaaab, 0x4050},
    {0xfffe000000000000, 0x400c},
    {0x0000000000000000, 0x7fff},
    {0x9249249249249249, 0x3fa0},
    {0xc000000000000000, 0xc00c},
    {0xd555555555555555, 0x409f},
};

static void put_state(struct shot *s, unsigned n)
{
    static const uint16_t control[] = {0x37f, 0x37f, 0x27f, 0x77f, 0xb7f, 0xf7f, 0x07f};
    static const uint8_t tags[] = {0xff, 0xff, 0xff, 0x7f, 0xfe, 0x0f, 0xf0, 0x00, 0xaa};
    uint64_t flags = n & 1 ? FL_ARITH : n & 2 ? FL_CF | FL_PF : n & 4 ? FL_ZF : 0;

    st16(s->before, control[n % ARRAY_LEN(control)]);
    st16(s->before + 2, (uint16_t)((n % 8) << 11 |
                                   (n & 2   ? 0x4700
                                    : n & 4 ? 0x200
                                            : 0) |
                                   (n & 8 ? 0x7f : 0)));
    st16(s->before + 4, tags[n % ARRAY_LEN(tags)]);
    for (unsigned k = 0; k < 8; k++) {
        const struct fpreg *v = &values[(n * 8 + k * (n + 1)) % ARRAY_LEN(values)];
        st64(s->before + FX_ST + 16 * k, v->mant);
        st64(s->before + FX_ST + 16 * k + 8, v->se);
    }
    s->flags_before = flags | FL_1 | FL_IF;
}

static void load(struct cpu *cpu, const struct shot *s)
{
    struct fpu *f = &cpu->fpu;
    uint16_t sw = ld16(s->before + 2);

    f->cw = ld16(s->before);
    f->top = sw >> 11 & 7;
    f->sw = sw & (uint16_t)~SW_TOP;
    f->tags = s->before[4];
    for (unsigned k = 0; k < 8; k++) {
        struct fpreg *st = x87_st(f, k);
        st->mant = ld64(s->before + FX_ST + 16 * k);
        st->se = ld16(s->before + FX_ST + 16 * k + 8);
    }
    cpu->r[REG_AX] = s->rax; /* before: anything; only AX is looked at */
    cpu_put_arith(cpu, s->flags_before & FL_ARITH, FL_ARITH);
}

static bool same(const struct cpu *cpu, const struct shot *s)
{
    const struct fpu *f = &cpu->fpu;

    if (ld16(s->after) != f->cw || ld16(s->after + 2) != x87_status(f) || s->after[4] != f->tags)
        return false;
    for (unsigned k = 0; k < 8; k++) {
        const struct fpreg *st = &f->st[(f->top + k) & 7];
        if (ld64(s->after + FX_ST + 16 * k) != st->mant ||
            ld16(s->after + FX_ST + 16 * k + 8) != st->se)
            return false;
    }
    return ((s->flags_after ^ flags_arith(cpu)) & FL_ARITH) == 0;
}

/* ---- rows --------------------------------------------------------------------------------------- */

/* Its opcode's second byte, of ST(1) or ST(n); 0: not one that is tried. */
static unsigned modrm_of(const struct insn_row *row, unsigned n)
{
    if (!(row->attr & AT_HOST) || !(row->attr & AT_X87))
        return 0;
    if (row->form == FORM_XR)
        return 0xc0u | row->form_reg << 3 | n;
    return row->form == FORM_RM ? 0xc0u | row->form_reg << 3 | row->form_rm : 0;
}

static bool agrees(struct jit *j, struct cpu *cpu, struct shot *s, unsigned row, unsigned modrm)
{
    struct x64 x = {j->rw + j->used, j->rw + j->used, j->rw + j->size - 64, false};
    struct insn i = {.row = (uint16_t)row, .modrm = (uint8_t)modrm, .size = 4};
    void *at = x.p + j->rx;
    void (*host)(struct shot *);

    emit_snippet(&x, insn_rows[row].opcode, modrm);
    if (x.overflow)
        return false;
    j->used += (size_t)align_up((uint64_t)(x.p - x.start), 64);
    memcpy(&host, &at, sizeof(host));
    for (unsigned n = 0; n < STATES; n++) {
        put_state(s, n);
        load(cpu, s);
        host(s);
        cpu->cur = &i;
        if (!insn_rows[row].fn(cpu, &i) || !same(cpu, s))
            return false;
        if (strcmp(insn_rows[row].operands, "AX") == 0 && (s->rax ^ cpu->r[REG_AX]) & 0xffff)
            return false;
    }
    return true;
}

void x64_x87_probe(struct jit *j)
{
    struct cpu *cpu = calloc(1, sizeof(*cpu));
    struct shot *s = calloc(1, sizeof(*s));
    size_t used = j->used;

    CHECK(insn_row_count <= sizeof(j->x87_differs) * 8);
    for (unsigned k = 0; k < insn_row_count; k++) {
        if (!(insn_rows[k].attr & AT_HOST) || !(insn_rows[k].attr & AT_X87))
            continue;
        unsigned near = modrm_of(&insn_rows[k], 1), far = modrm_of(&insn_rows[k], 5);
        if (!near)
            continue;
        if (!cpu || !s || !agrees(j, cpu, s, k, near) || !agrees(j, cpu, s, k, far))
            j->x87_differs[k / 8] |= (uint8_t)(1u << k % 8);
    }
    j->used = used;
    free(cpu);
    free(s);
}
