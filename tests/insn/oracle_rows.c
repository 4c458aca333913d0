/* What the rows of insn.def say about their operands, for the oracle. See oracle_gen.h. */
#include "tests/insn/oracle_gen.h"

#include "base/hash.h"

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

bool row_is(const struct insn_row *row, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(row->name, *names) == 0)
            return true;
    return false;
}

bool row_begins(const struct insn_row *row, const char *with)
{
    return strncmp(row->name, with, strlen(with)) == 0;
}

bool row_ends(const struct insn_row *row, const char *with)
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

    if (row_is(row, enters))
        return "enters the kernel";
    if (row_is(row, differs))
        return "differs from run to run and machine to machine";
    if (row_is(row, emulated))
        return "Linux emulates it where UMIP forbids it";
    if (row_is(row, delivered))
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

    if (row->attr & AT_CPL0 || row_is(row, ring0) ||
        (row->opcode >= 0x0f20 && row->opcode <= 0x0f23))
        return "the exception in user mode";
    if (row_is(row, ports))
        return "the exception without permission";
    if (row_is(row, far))
        return "between user-mode segments";
    if (strcmp(row->name, "XGETBV") == 0)
        return "registers that are not there";
    return NULL;
}

void gen_parse_operands(struct gen *g)
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

const struct operand *gen_operand(const struct gen *g, const char *letters)
{
    for (unsigned k = 0; k < g->ops; k++)
        if (g->op[k].letter && strchr(letters, g->op[k].letter))
            return &g->op[k];
    return NULL;
}

bool gen_has_word(const struct gen *g, const char *word)
{
    for (unsigned k = 0; k < g->ops; k++)
        if (strcmp(g->op[k].word, word) == 0)
            return true;
    return false;
}

bool gen_sized_by_66(const struct gen *g)
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
unsigned gen_access_size(const struct gen *g)
{
    static const struct {
        const char *name;
        uint16_t size;
    } images[] = {
        {"FXSAVE", 512}, {"FXRSTOR", 512}, {"XSAVE", 832},  {"XRSTOR", 832}, {"XSAVEOPT", 832},
        {"XSAVEC", 832}, {"FLDENV", 28},   {"FNSTENV", 28}, {"FRSTOR", 108}, {"FNSAVE", 108},
    };
    const struct operand *o = gen_operand(g, "EMWQXYO");

    if (strcmp(g->row->name, "CMPXCHG8B") == 0)
        return g->rex_w ? 16 : 8;
    for (unsigned k = 0; k < ARRAY_LEN(images); k++)
        if (strcmp(images[k].name, g->row->name) == 0)
            return images[k].size;
    if (o && bytes_of(g, o->size))
        return bytes_of(g, o->size);
    return 8;
}

unsigned gen_alignment(const struct gen *g)
{
    if (row_begins(g->row, "XSAVE") || strcmp(g->row->name, "XRSTOR") == 0)
        return 64;
    if (row_begins(g->row, "FX"))
        return 16;
    return g->row->attr & AT_ALIGN ? g->vecsize : 1;
}

/* Instructions whose memory operand is a whole state. */
bool oracle_is_image(const struct insn_row *row)
{
    return strcmp(row->operands, "M") == 0 && row->opcode != 0x0f01 && row->name[0] != 'C';
}

bool row_uses_stack(const struct insn_row *row)
{
    static const char *const names[] = {"PUSH",  "POP",   "PUSHA", "POPA",  "CALL", "RET",  "ENTER",
                                        "LEAVE", "PUSHF", "POPF",  "CALLF", "RETF", "IRET", NULL};
    return row_is(row, names);
}
