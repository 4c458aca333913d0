/* The oracle's cases, made from the rows of insn.def alone. See oracle.h.
 *
 * A case is decided in this order: the kind of code segment; prefixes, legal and not; registers and
 * flags; where the memory operand shall lie, and the addressing form with the register values that
 * lead there; then what lies there. Everything is drawn from a generator seeded by the row and the
 * case's number, so that a case can be made again anywhere.
 */
#include <stdio.h>

#include "tests/insn/oracle.h"
#include "tests/insn/oracle_values.h"

#include "base/hash.h"
#include "cpu/exec.h"

enum { MAX_OPERANDS = 4 };

struct operand {
    char letter; /* of the manual's notation; 0: a fixed register or constant */
    char size[3];
    char word[4]; /* what is fixed */
};

struct gen {
    struct rng rng;
    const struct insn_row *row;
    struct oracle_case *c;
    struct operand op[MAX_OPERANDS];
    unsigned ops;
    bool code64, vex, mem;
    unsigned opsize, addrsize, vecsize;
    uint32_t pinned; /* general registers that must keep their values */

    /* The encoding */
    bool odd, padded; /* something is wrong with it; it is long: the two are not combined */
    bool lock, p66, p67;
    uint8_t rep, segment; /* the prefix bytes, or 0 */
    uint8_t rex;
    bool rex_w, vex_l;
    uint8_t reg, rm, vvvv, index;
    uint8_t tail[20]; /* modrm and what follows */
    unsigned tail_len;
    int rip_at; /* of a RIP-relative displacement in tail, or -1 */

    uint64_t ea; /* linear address of the memory operand, if known */
    bool ea_known;
    unsigned access; /* its size */
};

/* ---- what rows say ---------------------------------------------------------------------------- */

uint64_t oracle_row_key(unsigned n)
{
    const uint32_t shapes = AT_LOCK | AT_END | AT_D64 | AT_F64 | AT_I64 | AT_O64 | AT_SSE | AT_MMX |
                            AT_X87 | AT_ALIGN | AT_REP | AT_AVX | AT_VEX | AT_VEXL | AT_L1 |
                            AT_LIG | AT_W0 | AT_W1 | AT_VSIB; /* what the generator looks at */
    const struct insn_row *row = &insn_rows[n];
    uint8_t fixed[8] = {0};
    uint64_t h;

    st32(fixed, row->opcode);
    fixed[4] = row->prefix;
    fixed[5] = row->form;
    fixed[6] = row->form_reg;
    fixed[7] = row->form_rm;
    h = hash64(fixed, sizeof(fixed), 1);
    h = hash64(row->name, strlen(row->name), h);
    h = hash64(row->operands, strlen(row->operands), h);
    st32(fixed, row->attr & shapes);
    st32(fixed + 4, row->undef);
    return hash64(fixed, sizeof(fixed), h);
}

static bool is_name(const struct insn_row *row, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(row->name, *names) == 0)
            return true;
    return false;
}

static bool name_begins(const struct insn_row *row, const char *with)
{
    return strncmp(row->name, with, strlen(with)) == 0;
}

static bool name_ends(const struct insn_row *row, const char *with)
{
    size_t n = strlen(row->name), m = strlen(with);
    return n >= m && strcmp(row->name + n - m, with) == 0;
}

const char *oracle_why_not(const struct insn_row *row)
{
    static const char *const enters[] = {"SYSCALL", "SYSENTER", NULL};
    static const char *const differs[] = {"RDTSC",  "RDTSCP", "RDPID", "RDRAND",
                                          "RDSEED", "CPUID",  NULL};
    static const char *const emulated[] = {"SGDT", "SIDT", "SLDT", "STR", "SMSW", NULL};
    static const char *const delivered[] = {"INT3", "INT", "INTO", "INT1", "IRET", NULL};

    if (is_name(row, enters))
        return "enters the kernel";
    if (is_name(row, differs))
        return "differs from run to run and machine to machine";
    if (is_name(row, emulated))
        return "Linux emulates it where UMIP forbids it";
    if (is_name(row, delivered))
        return "enters the kernel by the IDT, or is its way out";
    return NULL;
}

const char *oracle_limits(const struct insn_row *row)
{
    static const char *const ports[] = {"IN", "OUT", "INS", "OUTS", NULL};
    static const char *const ring0[] = {"CLI",   "STI",    "MONITOR", "MWAIT",   "CLAC",
                                        "STAC",  "XSETBV", "SYSRET",  "SYSEXIT", "WRMSR",
                                        "RDMSR", "RDPMC",  "INVPCID", "RSM",     NULL};
    static const char *const far[] = {"CALLF", "JMPF", "RETF", "IRET", NULL};

    if (row->attr & AT_CPL0 || is_name(row, ring0) ||
        (row->opcode >= 0x0f20 && row->opcode <= 0x0f23))
        return "the exception in user mode";
    if (is_name(row, ports))
        return "the exception without permission";
    if (is_name(row, far))
        return "between user-mode segments";
    if (strcmp(row->name, "XGETBV") == 0)
        return "registers that are not there";
    return NULL;
}

static void parse_operands(struct gen *g)
{
    for (const char *p = g->row->operands; *p && g->ops < MAX_OPERANDS;) {
        struct operand *o = &g->op[g->ops++];
        size_t n = strcspn(p, ",");
        bool word = n > 1 ? !(p[1] >= 'a' && p[1] <= 'z') || p[0] == 'r' : p[0] < 'A';
        memset(o, 0, sizeof(*o));
        if (strncmp(p, "STi", 3) == 0)
            word = true;
        if (word)
            memcpy(o->word, p, MIN(n, 3u));
        else
            o->letter = p[0];
        if (!word)
            memcpy(o->size, p + 1, MIN(n - 1, 2u));
        p += n + (p[n] == ',');
    }
}

static const struct operand *operand(const struct gen *g, const char *letters)
{
    for (unsigned k = 0; k < g->ops; k++)
        if (g->op[k].letter && strchr(letters, g->op[k].letter))
            return &g->op[k];
    return NULL;
}

static bool has_word(const struct gen *g, const char *word)
{
    for (unsigned k = 0; k < g->ops; k++)
        if (strcmp(g->op[k].word, word) == 0)
            return true;
    return false;
}

static bool sized_by_66(const struct gen *g)
{
    return strpbrk(g->row->operands, "vzap") != NULL || g->row->attr & (AT_D64 | AT_F64) ||
           !g->row->operands[0];
}

static unsigned bytes_of(const struct gen *g, const char *size)
{
    switch (size[0]) {
    case 'b':
        return 1;
    case 'w':
        return 2;
    case 'd':
        return size[1] == 'q' ? 16 : 4;
    case 'q':
        return 8;
    case 'v':
        return g->opsize;
    case 'z':
        return MIN(g->opsize, 4u);
    case 'y':
        return g->rex_w ? 8 : 4;
    case 'x':
        return g->vecsize;
    case 'p':
        return size[1] ? g->vecsize : 2 + g->opsize;
    case 's':
        return size[1] == 's' ? 4 : size[1] == 'd' ? 8 : 10;
    case 't':
        return 10;
    case 'a':
        return 2 * g->opsize;
    default:
        return 0;
    }
}

/* Of the memory operand. */
static unsigned access_size(const struct gen *g)
{
    static const struct {
        const char *name;
        uint16_t size;
    } images[] = {
        {"FXSAVE", 512}, {"FXRSTOR", 512}, {"XSAVE", 832},  {"XRSTOR", 832}, {"XSAVEOPT", 832},
        {"XSAVEC", 832}, {"FLDENV", 28},   {"FNSTENV", 28}, {"FRSTOR", 108}, {"FNSAVE", 108},
    };
    const struct operand *o = operand(g, "EMWQXYO");

    if (strcmp(g->row->name, "CMPXCHG8B") == 0)
        return g->rex_w ? 16 : 8;
    for (unsigned k = 0; k < ARRAY_LEN(images); k++)
        if (strcmp(images[k].name, g->row->name) == 0)
            return images[k].size;
    if (o && bytes_of(g, o->size))
        return bytes_of(g, o->size);
    return 8;
}

static unsigned alignment(const struct gen *g)
{
    if (name_begins(g->row, "XSAVE") || strcmp(g->row->name, "XRSTOR") == 0)
        return 64;
    if (name_begins(g->row, "FX"))
        return 16;
    return g->row->attr & AT_ALIGN ? g->vecsize : 1;
}

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

/* Instructions whose memory operand is a whole state. */
bool oracle_is_image(const struct insn_row *row)
{
    return strcmp(row->operands, "M") == 0 && row->opcode != 0x0f01 && row->name[0] != 'C';
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
        g->p66 = once_in(r, sized_by_66(g) ? 3 : 12);
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
                name_begins(g->row, "PCMPESTR") || name_begins(g->row, "VPCMPESTR") ||
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
        if (name_begins(row, "FI"))
            return V_INT;
        return strstr(row->operands, "Mq") ? V_F64 : strstr(row->operands, "Md") ? V_F32 : V_F80;
    }
    for (unsigned k = 0; k < ARRAY_LEN(begins); k++)
        if (name_begins(row, begins[k].begin))
            return begins[k].v;
    if (row->attr & (AT_SSE | AT_AVX)) {
        if (strstr(row->operands, "pd") || strstr(row->operands, "sd"))
            return V_F64;
        if (strstr(row->operands, "ps") || strstr(row->operands, "ss"))
            return V_F32;
        if (row->name[0] != 'P' && row->name[1] != 'P') {
            if (name_ends(row, "PD") || name_ends(row, "SD"))
                return V_F64;
            if (name_ends(row, "PS") || name_ends(row, "SS"))
                return V_F32;
        }
    }
    return V_INT;
}

static enum flavour some_flavour(struct gen *g)
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
            value_fill(r, in->st[k], 8, some_flavour(g));
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
    enum flavour v = some_flavour(g);

    for (unsigned k = 0; k < 16; k++)
        value_fill(r, in->ymm[k], 32, once_in(r, 8) ? some_flavour(g) : v);
    if (once_in(r, 3)) /* operands that are equal, or begin so */
        for (unsigned k = 1; k < 16; k++)
            memcpy(in->ymm[k], in->ymm[0], below(r, 33));
    in->mxcsr = masks << 7 | (uint32_t)(rnd(r) & 0xe07f);
    if (once_in(r, 4))
        in->mxcsr = 0x1f80 | (uint32_t)(rnd(r) & 0x3f);
    in->pkru = 0x55555554; /* what Linux gives its programs */
}

static uint64_t window_address(struct gen *g, unsigned size)
{
    return ORACLE_DATA + below(&g->rng, ORACLE_DATA_SIZE - MIN(size, ORACLE_DATA_SIZE / 2u));
}

/* An address for an access of size: most lie in the window, some at its edges, some far away. */
static uint64_t pick_address(struct gen *g, unsigned size, unsigned align)
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
        kind = 0;   /* see indirect_target() */
    if (kind == 93) /* two faults at once */
        g->c->in.flags &= ~(uint64_t)FL_AC;
    if (kind < 30)
        at = window_address(g, size) & ~(uint64_t)(size & (size - 1) ? 3 : size - 1);
    else if (kind < 60)
        at = window_address(g, size);
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
        at =
            g->code64 ? 0x800000000000ull + (rnd(r) >> 18) * (1 + 2 * below(r, 100)) : rnd(r) >> 32;
    else if (kind < 94)
        at = g->code64 ? 0x800000000000ull - back : 0x100000000ull - back;
    else
        at = window_address(g, size) & ~63ull;
    return once_in(r, 8) ? at : at & ~(uint64_t)(align - 1);
}

/* Where instructions with a pointer of their own find it. */
static void pin(struct gen *g, unsigned reg, uint64_t v)
{
    g->c->in.r[reg] = v;
    g->pinned |= 1u << reg;
}

static bool uses_stack(const struct insn_row *row)
{
    static const char *const names[] = {"PUSH",  "POP",   "PUSHA", "POPA",  "CALL", "RET",  "ENTER",
                                        "LEAVE", "PUSHF", "POPF",  "CALLF", "RETF", "IRET", NULL};
    return is_name(row, names);
}

static void choose_pointers(struct gen *g)
{
    static const char *const strings[] = {"MOVS", "CMPS", "STOS", "LODS",
                                          "SCAS", "INS",  "OUTS", NULL};
    static const char *const loops[] = {"LOOP", "LOOPE", "LOOPNE", "JrCXZ", NULL};
    const struct insn_row *row = g->row;
    struct rng *r = &g->rng;
    uint64_t *reg = g->c->in.r;

    if (uses_stack(row)) {
        bool edge = once_in(r, 4) && strchr("CRI", row->name[0]) == NULL &&
                    strcmp(row->name, "PUSHA") != 0 && strcmp(row->name, "POPA") != 0;
        pin(g, REG_SP,
            edge ? pick_address(g, 8, once_in(r, 2) ? 1 : 8)
                 : (ORACLE_DATA + 0x80 + below(r, ORACLE_DATA_SIZE - 0x100)) &
                       (once_in(r, 4) ? ~0ull : ~7ull));
        if (strcmp(row->name, "ENTER") == 0 || strcmp(row->name, "LEAVE") == 0)
            pin(g, REG_BP, pick_address(g, 8, once_in(r, 2) ? 1 : 8));
    }
    if (is_name(row, strings)) {
        pin(g, REG_SI, pick_address(g, g->opsize, 1));
        pin(g, REG_DI,
            once_in(r, 4) ? reg[REG_SI] + below(r, 9) - 4 : pick_address(g, g->opsize, 1));
        /* Compares give flags back that are older than what an interrupt shows: few iterations. */
        pin(g, REG_CX,
            once_in(r, 16) && row->opcode != 0xa6 && row->opcode != 0xa7 && row->opcode < 0xae
                ? value_int(r) & 0xffff
                : below(r, 40));
        if (once_in(r, 2))
            pin(g, REG_AX, 0x0101010101010101ull * (reg[REG_AX] & 0xff));
    }
    if (is_name(row, loops))
        pin(g, REG_CX, once_in(r, 4) ? value_int(r) : below(r, 3) + (rnd(r) << 32) * below(r, 2));
    if (strcmp(row->name, "XLAT") == 0)
        pin(g, REG_BX, pick_address(g, 1, 1) - below(r, 2) * (reg[REG_AX] & 0xff));
    if (name_begins(row, "MASKMOV") || name_begins(row, "VMASKMOVDQU")) /* see fix_registers() */
        pin(g, REG_DI, window_address(g, 16));
    if (has_word(g, "CL"))
        pin(g, REG_CX, once_in(r, 3) ? reg[REG_CX] : (reg[REG_CX] & ~0xffull) | below(r, 70));
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
            in->r[k] = window_address(g, 64);
    for (unsigned s = SEG_ES; s <= SEG_GS; s++)
        in->seg[s] = 0x2b;
    in->seg[SEG_CS] = g->code64 ? 0x33 : 0x23;
    in->fs_base = ORACLE_DATA + below(r, 64);
    in->gs_base = g->code64 && once_in(r, 2) ? rnd(r) >> 17 : ORACLE_DATA + PAGE_SIZE;
    in->flags = FL_1 | FL_IF | (rnd(r) & FL_ARITH);
    if (once_in(r, row->attr & AT_REP ? 3 : 32))
        in->flags |= FL_DF;
    if (once_in(r, 32) && !oracle_is_image(row) &&
        row->opcode != 0x63) /* images: "may vary with implementation" */
        in->flags |= FL_AC;
    g->c->step = stepped;
    in->rip = ORACLE_CODE + (once_in(r, 12) ? PAGE_SIZE - below(r, 15) : 0x400 + below(r, 64));

    if (name_ends(row, "DIV")) { /* quotients that fit */
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
    if (name_ends(row, "PKRU") || strcmp(row->name, "XGETBV") == 0) {
        bool xcr = row->name[0] == 'X';
        in->r[REG_CX] = (once_in(r, 4) || xcr ? 2 + below(r, 9) : 0) | (rnd(r) << 32);
        in->r[REG_DX] = (once_in(r, 4) ? rnd(r) : 0) | (rnd(r) << 32);
        in->r[REG_AX] &= ~3ull; /* the kernel must be able to store to our memory */
    }
    if (name_ends(row, "ESTRI") || name_ends(row, "ESTRM"))
        for (unsigned k = REG_AX; k <= REG_DX; k += REG_DX)
            in->r[k] = once_in(r, 4) ? in->r[k] : (uint64_t)(int64_t)((int)below(r, 40) - 20);
    choose_pointers(g);
}

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
    uint64_t want = pick_address(g, g->access, alignment(g));
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

static void choose_modrm(struct gen *g)
{
    const struct insn_row *row = g->row;
    struct rng *r = &g->rng;
    /* 0F 01's register forms include what traps to a hypervisor. */
    bool strict = row->opcode == 0x0f01;

    g->reg = (uint8_t)below(r, g->code64 ? 16 : 8);
    g->rm = (uint8_t)below(r, g->code64 ? 16 : 8);
    g->vvvv = (uint8_t)(operand(g, "HB") || once_in(r, 16) ? below(r, 16) : 0);
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
    if (operand(g, "S") && once_in(r, 2))
        g->reg = (uint8_t)below(r, 6);
}

static void write_modrm(struct gen *g)
{
    if (g->mem)
        modrm_memory(g);
    else
        put(g, 0xc0 | (g->reg & 7) << 3 | (g->rm & 7));
}

static uint64_t far_offset(struct gen *g)
{
    return ORACLE_CODE + below(&g->rng, ORACLE_CODE_SIZE);
}

static uint16_t some_selector(struct gen *g)
{
    static const uint16_t list[] = {0,    1,    2,    3,    0x08, 0x0b, 0x10, 0x13,   0x18,  0x1b,
                                    0x20, 0x21, 0x23, 0x23, 0x28, 0x29, 0x2b, 0x2b,   0x2b,  0x30,
                                    0x33, 0x33, 0x0c, 0x27, 0x2f, 0x80, 0x8b, 0xfff8, 0xffff};
    return list[below(&g->rng, ARRAY_LEN(list))];
}

static void write_immediates(struct gen *g)
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
            g->ea = pick_address(g, g->access, 1);
            v = g->ea - segment_base(g);
            put_number(g, v, g->addrsize);
            g->ea = segment_base(g) + truncated(g, v);
            if (!g->code64)
                g->ea = (uint32_t)g->ea;
            g->ea_known = true;
            break;
        case 'A':
            put_number(g, far_offset(g), g->opsize == 2 ? 2 : 4);
            put_number(g, some_selector(g), 2);
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

static void assemble(struct gen *g)
{
    struct oracle_case *c = g->c;
    struct rng *r = &g->rng;
    uint8_t head[24];
    bool has_index = g->mem && g->tail_len > 1 && (g->tail[0] & 7) == 4 && g->tail[0] < 0xc0;
    unsigned n = write_legacy_prefixes(g, head), len;
    unsigned rex = 0x40 | g->rex_w << 3 | (g->reg >> 3 & 1) << 2 |
                   (has_index ? g->index >> 3 & 1 : 0) << 1 | (g->rm >> 3 & 1);

    if (once_in(r, 100) && !g->odd &&
        (!g->vex || g->vvvv == 0 || operand(g, "HB"))) { /* as long as can be, or longer */
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

static void fill_fxsave(struct gen *g, uint8_t *p)
{
    struct rng *r = &g->rng;

    memset(p, 0, 512);
    st16(p, (uint16_t)(0x40 | below(r, 64) | below(r, 16) << 8));
    st16(p + 2, (uint16_t)(rnd(r) & ld16(p) & 0x3f) | (uint16_t)(rnd(r) & 0x7f00));
    p[4] = (uint8_t)rnd(r);
    /* XRSTOR finds a bad MXCSR when other parts have been loaded already. */
    st32(p + 24, (uint32_t)(rnd(r) & 0xffff) | (uint32_t)(once_in(r, 12) && g->row->name[0] == 'F')
                                                   << 16);
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
    if (once_in(r, 24)) /* reserved bits */
        p[512 + below(r, 64)] ^= (uint8_t)(1u << below(r, 8));
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
    st16(p, (uint16_t)(0x40 | below(r, 64) | below(r, 16) << 8));
    st16(p + step, (uint16_t)(rnd(r) & (once_in(r, 4) ? 0x3f : ld16(p) & 0x3f)) |
                       (uint16_t)(rnd(r) & 0x7f00));
    for (unsigned k = 0; k < 8; k++)
        value_f80(r, p + 7 * step + 10 * k);
}

static uint64_t branch_target(struct gen *g)
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
static uint64_t indirect_target(struct gen *g)
{
    uint64_t to = branch_target(g);
    return g->row->name[0] == 'C' ? (uint64_t)((int64_t)(to << 16) >> 16) : to;
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

    if (is_name(row, near_)) {
        st64(p, indirect_target(g));
    } else if (is_name(row, far_)) {
        uint64_t offset = jump ? far_offset(g) : rnd(r);
        uint8_t far_pointer[16] = {0};
        for (unsigned k = 0; k < g->opsize; k++)
            far_pointer[k] = (uint8_t)(offset >> 8 * k);
        st16(far_pointer + g->opsize, some_selector(g));
        memcpy(p, far_pointer, 10);
    } else if (is_name(row, selectors) || operand(g, "S")) {
        st16(p, some_selector(g));
    } else if (name_begins(row, "FX") && row->opcode == 0x0fae) {
        fill_fxsave(g, p);
    } else if (name_begins(row, "XR") || name_begins(row, "XS")) {
        fill_xsave(g, p);
    } else if (strcmp(row->name, "FLDENV") == 0 || strcmp(row->name, "FRSTOR") == 0) {
        fill_environment(g, p);
    } else if (name_ends(row, "LDMXCSR")) {
        st32(p, (uint32_t)(rnd(r) & 0xffff) | (uint32_t)(once_in(r, 8) << 16));
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

static void fill_operand(struct gen *g)
{
    struct rng *r = &g->rng;
    const struct oracle_state *in = &g->c->in;
    uint8_t buf[1024];
    unsigned n = MAX(g->access, 32u);

    memset(buf, 0, sizeof(buf));
    if ((once_in(r, 32) && g->row->name[0] != 'C') || !fill_special(g, buf)) {
        value_fill(r, buf, n, some_flavour(g));
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

static void fill_stack(struct gen *g)
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
        st64(buf, branch_target(g));
    } else if (strcmp(row->name, "RETF") == 0 || strcmp(row->name, "IRET") == 0) {
        uint64_t words[5] = {far_offset(g), some_selector(g), window_address(g, 0) & ~7ull, 0x2b,
                             0};
        if (row->name[0] == 'I') {
            words[4] = words[3];
            words[3] = words[2];
            words[2] = FL_1 | FL_IF | (rnd(r) & (FL_ARITH | FL_DF | FL_AC));
        }
        if (once_in(r, 8))
            words[row->name[0] == 'I' ? 4 : 3] = some_selector(g);
        for (unsigned k = 0; k < 5; k++)
            for (unsigned b = 0; b < size; b++)
                buf[k * size + b] = (uint8_t)(words[k] >> 8 * b);
    } else if (strcmp(row->name, "POPF") == 0) {
        st64(buf, rnd(r) & (FL_ARITH | FL_DF | FL_AC | FL_IF | FL_IOPL | FL_1));
    } else if (row->operands[0] && row->operands[1] == 'S') { /* POP of a segment register */
        st64(buf, some_selector(g) | (rnd(r) << 16 & ~0xffffull));
    }
    poke(g, sp, buf, sizeof(buf));
}

/* Registers that an instruction takes for something else than a number. */
static void fix_registers(struct gen *g)
{
    static const char *const near_[] = {"JMP", "CALL", NULL};
    static const char *const selectors[] = {"LAR", "LSL", "VERR", "VERW", "ARPL", NULL};
    struct rng *r = &g->rng;
    uint64_t *reg = g->c->in.r;
    const struct insn_row *row = g->row;

    if (!g->mem && is_name(row, near_) && row->form == FORM_X)
        reg[g->rm & 15] = reg[g->rm & 7] = indirect_target(g); /* REX.B may not count */
    if (!g->mem && (is_name(row, selectors) || operand(g, "S")))
        reg[g->rm & 15] = some_selector(g) | (rnd(r) & ~0xffffull);
    if (row->name[0] == 'B' && row->name[1] == 'T' && g->mem && operand(g, "G") && !once_in(r, 8) &&
        !(g->pinned >> (g->reg & 15) & 1)) /* bit offsets reach beyond the operand */
        reg[g->reg & 15] = (uint64_t)(int64_t)((int)below(r, 0x4000) - 0x2000);
    if (row->attr & AT_VSIB) {
        unsigned size = row->opcode & 1 ? 8 : 4;
        for (unsigned k = 0; k < 32; k += size) {
            int64_t v = once_in(r, 64) ? (int64_t)value_int(r) : (int)below(r, 0x100) - 0x80;
            st_sized(g->c->in.ymm[g->index & 15] + k, (uint64_t)v, size);
        }
    }
    if (name_begins(row, "MASKMOV") || name_begins(row, "VMASKMOVDQU")) {
        /* Whether it faults without any byte to store is left to processors. */
        if (once_in(r, 4)) {
            reg[REG_DI] = once_in(r, 2) ? ORACLE_RO : 0x800000000000ull;
            g->c->in.ymm[g->rm & 15][0] |= 0x80;
            g->c->in.st[((g->rm & 7) - (g->c->in.sw >> 11)) & 7][0] |= 0x80;
        }
    }
    if (row->form == FORM_RM || name_ends(row, "GSBASE") || name_ends(row, "FSBASE"))
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
    parse_operands(&g);
    choose_code(&g);
    choose_prefixes(&g);
    choose_sizes(&g);
    g.access = access_size(&g);
    choose_modrm(&g);
    choose_x87(&g);
    choose_vectors(&g);
    choose_registers(&g);
    if (g.row->form >= FORM_MRM)
        write_modrm(&g);
    write_immediates(&g);
    assemble(&g);
    fix_registers(&g);
    if (!g.code64)
        for (unsigned k = 0; k < 8; k++)
            c->in.r[k] = (uint32_t)c->in.r[k];
    oracle_fill_pattern(c->in.data, ORACLE_DATA_SIZE);
    if (uses_stack(g.row))
        fill_stack(&g);
    if (g.ea_known)
        fill_operand(&g);
    c->ea_known = g.ea_known;
    c->ea = g.ea;
}
