/* The decoder against Zydis: random byte strings, VEX among them, in 16-, 32- and 64-bit code have the
 * same validity, length, kinds of operands, register classes and numbers, memory operand and
 * immediates. What Zydis knows and we do not has to belong to an instruction set that our model lacks
 * (`sets`); everything else is one of `differences`, each with its reason.
 *
 * 200,000 strings in each mode; TINAMOU_CASES=10000000 is the full run, of half a minute, and
 * TINAMOU_SEED asks for others.
 */
#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/sem.h"
#include "cpu/simd.h"
#include "tests/insn/bare_cpu.h"
#include "tests/unit/suite.h"

static uint64_t rng;

static uint32_t rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 16);
}

/* ---- instruction sets ------------------------------------------------------------------------- */

static const struct {
    uint8_t set; /* ZydisISASet */
    uint8_t feature;
} sets[] = {
    {ZYDIS_ISA_SET_ADOX_ADCX, F_ADX},     {ZYDIS_ISA_SET_AES, F_AES},
    {ZYDIS_ISA_SET_AVX, F_AVX},           {ZYDIS_ISA_SET_AVX2, F_AVX2},
    {ZYDIS_ISA_SET_AVX2GATHER, F_AVX2},   {ZYDIS_ISA_SET_AVXAES, F_AVX},
    {ZYDIS_ISA_SET_AVX_GFNI, F_GFNI},     {ZYDIS_ISA_SET_BMI1, F_BMI1},
    {ZYDIS_ISA_SET_BMI2, F_BMI2},         {ZYDIS_ISA_SET_CLFLUSHOPT, F_CLFLUSHOPT},
    {ZYDIS_ISA_SET_CLFSH, F_CLFLUSH},     {ZYDIS_ISA_SET_CLWB, F_CLWB},
    {ZYDIS_ISA_SET_CMOV, F_CMOV},         {ZYDIS_ISA_SET_CMPXCHG16B, F_CX16},
    {ZYDIS_ISA_SET_F16C, F_F16C},         {ZYDIS_ISA_SET_FAT_NOP, F_CMOV},
    {ZYDIS_ISA_SET_FCMOV, F_CMOV},        {ZYDIS_ISA_SET_FMA, F_FMA},
    {ZYDIS_ISA_SET_FXSAVE, F_FXSR},       {ZYDIS_ISA_SET_FXSAVE64, F_FXSR},
    {ZYDIS_ISA_SET_GFNI, F_GFNI},         {ZYDIS_ISA_SET_I186, F_186},
    {ZYDIS_ISA_SET_I286PROTECTED, F_286}, {ZYDIS_ISA_SET_I286REAL, F_286},
    {ZYDIS_ISA_SET_I386, F_386},          {ZYDIS_ISA_SET_I486, F_486},
    {ZYDIS_ISA_SET_I486REAL, F_486},      {ZYDIS_ISA_SET_I86, F_86},
    {ZYDIS_ISA_SET_INVPCID, F_INVPCID},   {ZYDIS_ISA_SET_LAHF, F_86},
    {ZYDIS_ISA_SET_LONGMODE, F_LM},       {ZYDIS_ISA_SET_LZCNT, F_LZCNT},
    {ZYDIS_ISA_SET_MONITOR, F_MONITOR},   {ZYDIS_ISA_SET_MOVBE, F_MOVBE},
    {ZYDIS_ISA_SET_PAUSE, F_86},          {ZYDIS_ISA_SET_PCLMULQDQ, F_PCLMUL},
    {ZYDIS_ISA_SET_PENTIUMMMX, F_MMX},    {ZYDIS_ISA_SET_PENTIUMREAL, F_PENTIUM},
    {ZYDIS_ISA_SET_PKU, F_PKU},           {ZYDIS_ISA_SET_POPCNT, F_POPCNT},
    {ZYDIS_ISA_SET_PPRO, F_CMOV},         {ZYDIS_ISA_SET_PREFETCHWT1, F_LM},
    {ZYDIS_ISA_SET_PREFETCH_NOP, F_LM},   {ZYDIS_ISA_SET_RDPID, F_RDPID},
    {ZYDIS_ISA_SET_RDPMC, F_MMX},         {ZYDIS_ISA_SET_RDRAND, F_RDRAND},
    {ZYDIS_ISA_SET_RDSEED, F_RDSEED},     {ZYDIS_ISA_SET_RDTSCP, F_RDTSCP},
    {ZYDIS_ISA_SET_RDWRFSGS, F_FSGSBASE}, {ZYDIS_ISA_SET_SHA, F_SHA},
    {ZYDIS_ISA_SET_SMAP, F_SMAP},         {ZYDIS_ISA_SET_SSE, F_SSE},
    {ZYDIS_ISA_SET_SSE2, F_SSE2},         {ZYDIS_ISA_SET_SSE2MMX, F_SSE2},
    {ZYDIS_ISA_SET_SSE3, F_SSE3},         {ZYDIS_ISA_SET_SSE3X87, F_SSE3},
    {ZYDIS_ISA_SET_SSE4, F_SSE41},        {ZYDIS_ISA_SET_SSE42, F_SSE42},
    {ZYDIS_ISA_SET_SSEMXCSR, F_SSE},      {ZYDIS_ISA_SET_SSE_PREFETCH, F_CMOV},
    {ZYDIS_ISA_SET_SSSE3, F_SSSE3},       {ZYDIS_ISA_SET_SSSE3MMX, F_SSSE3},
    {ZYDIS_ISA_SET_VAES, F_VAES},         {ZYDIS_ISA_SET_VPCLMULQDQ, F_VPCLMUL},
    {ZYDIS_ISA_SET_X87, F_FPU},           {ZYDIS_ISA_SET_XSAVE, F_XSAVE},
    {ZYDIS_ISA_SET_XSAVEC, F_XSAVEC},     {ZYDIS_ISA_SET_XSAVEOPT, F_XSAVEOPT},
    {ZYDIS_ISA_SET_XSAVES, F_XSAVES},
};

static bool have_set(const struct cpu *cpu, unsigned set)
{
    for (unsigned k = 0; k < ARRAY_LEN(sets); k++) {
        if (sets[k].set == set)
            return feature_has(&cpu->features, (enum cpu_feature)sets[k].feature);
    }
    return false;
}

/* ---- byte strings ----------------------------------------------------------------------------- */

/* Half of them only random; the others with prefixes, escapes and VEX, which chance hits rarely. */
static void make_bytes(uint8_t *p, unsigned bits)
{
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x64, 0x66, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0xf3};
    static const uint8_t escapes[] = {0x38, 0x3a};
    unsigned n = 0;

    for (unsigned k = 0; k < 15; k++)
        p[k] = (uint8_t)rnd();
    if (rnd() & 1)
        return;
    for (unsigned k = rnd() % 4; k > 1; k--)
        p[n++] = prefixes[rnd() % ARRAY_LEN(prefixes)];
    if (bits == 64 && rnd() % 4 == 0)
        p[n++] = 0x40 | (rnd() & 15);
    switch (rnd() % 9) {
    case 0:
    case 1:
        p[n++] = 0x0f;
        break;
    case 2:
        p[n++] = 0x0f;
        p[n++] = escapes[rnd() & 1];
        break;
    case 3:
    case 4:
        p[n++] = 0xc5;
        p[n] |= bits == 64 ? 0 : 0xc0;
        if (rnd() & 1)
            p[n] |= 0x78;
        break;
    case 5:
    case 6:
    case 7:
        p[n++] = 0xc4;
        p[n] = (p[n] & 0xe0) | (bits == 64 ? 0 : 0xc0) | (rnd() % 8 ? 1 + rnd() % 3 : p[n] & 31);
        if (rnd() & 1)
            p[n + 1] |= 0x78;
        break;
    default:
        break;
    }
}

/* ---- comparing -------------------------------------------------------------------------------- */

struct pair {
    const struct cpu *cpu;
    const uint8_t *code;
    unsigned bits;
    bool ours, theirs; /* valid */
    struct insn i;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    ZyanStatus status;
    bool by_operands; /* all else is alike, the operands are not */
};

static bool same_register(uint8_t ours, ZydisRegister theirs)
{
    return ours == REG_ZERO ? theirs == ZYDIS_REGISTER_NONE
                            : theirs != ZYDIS_REGISTER_NONE && ours == ZydisRegisterGetId(theirs);
}

static bool same_segment(const struct pair *p, ZydisRegister theirs)
{
    static const uint8_t regs[6] = {ZYDIS_REGISTER_ES, ZYDIS_REGISTER_CS, ZYDIS_REGISTER_SS,
                                    ZYDIS_REGISTER_DS, ZYDIS_REGISTER_FS, ZYDIS_REGISTER_GS};
    if (p->bits == 64 && p->i.seg < SEG_FS) /* all the same there */
        return theirs != ZYDIS_REGISTER_FS && theirs != ZYDIS_REGISTER_GS;
    return p->i.seg < 6 && regs[p->i.seg] == theirs;
}

/* NULL, or what differs of the memory operand that modrm names. */
static const char *compare_memory(const struct pair *p)
{
    const struct insn *i = &p->i;
    const ZydisDecodedOperandMem *m = NULL;
    uint64_t mask = p->z.address_width == 16 ? 0xffff : 0xffffffff;
    int64_t disp = i->disp;

    for (unsigned k = 0; k < p->z.operand_count && !m; k++) {
        if (p->operands[k].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            p->operands[k].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM)
            m = &p->operands[k].mem;
    }
    if (!m || !insn_is_mem(i))
        return NULL;
    if (m->base == ZYDIS_REGISTER_RIP || m->base == ZYDIS_REGISTER_EIP) {
        if (i->base != REG_BRIP)
            return "RIP";
        disp -= i->len;
    } else if (!same_register(i->base, m->base)) {
        return "base";
    } else if (!same_register(i->index, m->index)) {
        return "index";
    } else if (i->index != REG_ZERO && m->scale != 1u << i->scale) {
        return "scale";
    }
    if (i->ea_shift != 64 - p->z.address_width)
        return "address size";
    if (((uint64_t)disp ^ (uint64_t)m->disp.value) & mask)
        return "displacement";
    if (m->type == ZYDIS_MEMOP_TYPE_MEM && !same_segment(p, m->segment))
        return "segment";
    return NULL;
}

static const char *compare_immediates(const struct pair *p)
{
    const struct row_info *info = &p->cpu->decode->info[p->i.row];
    unsigned size = p->z.raw.imm[0].size, size2 = p->z.raw.imm[1].size;
    uint64_t second = info->imm2 ? p->i.vvvv : p->i.imm >> 32;

    if (!info->imm || !size) /* the 1 of shifts, and moffs */
        return NULL;
    if ((p->i.imm ^ p->z.raw.imm[0].value.u) << (64 - size))
        return "immediate";
    if (size2 && (second ^ p->z.raw.imm[1].value.u) << (64 - size2))
        return "second immediate";
    return NULL;
}

/* ---- operands ---------------------------------------------------------------------------------- */

/* One operand of a row, as "Ev" or "rAX": what our decoder says it is. */
struct operand {
    ZydisOperandType type;
    ZydisRegisterClass class;
    int id; /* in its class; -1: any */
};

/* Byte registers lie in insn as offsets into the register file: AH is the second byte of AX. */
static struct operand byte_operand(unsigned offset)
{
    unsigned n = offset / 8;
    bool high = offset == BYTE_REG_OFF(n, 1);
    struct operand op = {ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_GPR8, 0};

    op.id = (int)(high || n >= 4 ? n + 4 : n); /* AL to BL, AH to BH, SPL to R15B */
    return op;
}

static struct operand general_operand(unsigned n, unsigned size)
{
    static const uint8_t classes[9] = {
        [2] = ZYDIS_REGCLASS_GPR16, [4] = ZYDIS_REGCLASS_GPR32, [8] = ZYDIS_REGCLASS_GPR64};
    return (struct operand){ZYDIS_OPERAND_TYPE_REGISTER, classes[size], (int)n};
}

/* MOV of control and debug registers, INVPCID, RDPID: 64 bits in 64-bit code, whatever the prefixes. */
static bool has_size_of_mode(const struct pair *p)
{
    uint32_t op = insn_row(&p->i)->opcode;
    return (op & ~3u) == 0x0f20 || op == 0x0f3882 || !strcmp(insn_row(&p->i)->name, "RDPID");
}

/* What the size letter of a general register means here. */
static unsigned size_of(const struct pair *p, char letter)
{
    unsigned mode_size = p->bits == 64 ? 8 : 4;

    switch (letter) {
    case 'b':
        return 1;
    case 'w':
        return 2;
    case 'd':
        return 4;
    case 'q':
        return 8;
    case 'y':
        return has_size_of_mode(p) ? mode_size : insn_y_size(p->cpu, &p->i);
    case 'z':
        return MIN(p->i.size, 4u);
    default:
        return has_size_of_mode(p) ? mode_size : p->i.size;
    }
}

static struct operand general(const struct pair *p, unsigned field, char letter)
{
    unsigned size = size_of(p, letter);
    return size == 1 ? byte_operand(field) : general_operand(field, size);
}

/* Of vectors, the letter says whether VEX.L matters. */
static struct operand vector(const struct pair *p, unsigned n, const char *size)
{
    bool whole = size[0] == 'x' || (size[0] == 'p' && (size[1] == 's' || size[1] == 'd'));
    ZydisRegisterClass class = whole && p->i.size == 32 ? ZYDIS_REGCLASS_YMM : ZYDIS_REGCLASS_XMM;
    return (struct operand){ZYDIS_OPERAND_TYPE_REGISTER, class, (int)n};
}

static struct operand fixed_operand(const struct pair *p, const char *word, size_t len)
{
    static const struct {
        const char *word;
        struct operand op;
    } words[] = {
        {"AL", {ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_GPR8, 0}},
        {"CL", {ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_GPR8, 1}},
        {"AX", {ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_GPR16, 0}},
        {"DX", {ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_GPR16, 2}},
        {"ES", {ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_SEGMENT, 0}},
        {"CS", {ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_SEGMENT, 1}},
        {"SS", {ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_SEGMENT, 2}},
        {"DS", {ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_SEGMENT, 3}},
        {"FS", {ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_SEGMENT, 4}},
        {"GS", {ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_SEGMENT, 5}},
        {"ST", {ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_X87, 0}},
        {"1", {ZYDIS_OPERAND_TYPE_IMMEDIATE, 0, -1}},
    };

    for (unsigned k = 0; k < ARRAY_LEN(words); k++) {
        if (strlen(words[k].word) == len && !memcmp(words[k].word, word, len))
            return words[k].op;
    }
    if (len == 3 && !memcmp(word, "rAX", 3))
        return general_operand(REG_AX, p->i.size);
    if (len == 3 && !memcmp(word, "STi", 3))
        return (struct operand){ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_X87, p->i.modrm & 7};
    return (struct operand){ZYDIS_OPERAND_TYPE_UNUSED, 0, -1};
}

static struct operand our_operand(const struct pair *p, const char *word, size_t len)
{
    const struct insn *i = &p->i;
    const struct row_info *info = &p->cpu->decode->info[i->row];
    bool hot = insn_row(i)->sem != SEM_NONE, mem = insn_is_mem(i);
    bool swapped = hot && info->swap && !mem;
    struct operand fixed = fixed_operand(p, word, len);
    struct operand memory = {ZYDIS_OPERAND_TYPE_MEMORY, 0, -1};

    if (fixed.type != ZYDIS_OPERAND_TYPE_UNUSED)
        return fixed;
    switch (word[0]) {
    case 'E':
        return mem ? memory : general(p, swapped ? i->reg : i->rm, word[1]);
    case 'G':
        return general(p, swapped ? i->rm : i->reg, word[1]);
    case 'Z':
        return general(p, hot ? i->rm : i->reg, word[1]);
    case 'R':
        return general(p, i->rm, word[1]);
    case 'B':
        return general(p, i->vvvv, word[1]);
    case 'V':
        return vector(p, i->reg, word + 1);
    case 'W':
        return mem ? memory : vector(p, i->rm, word + 1);
    case 'U':
        return vector(p, i->rm, word + 1);
    case 'H':
        return vector(p, i->vvvv, word + 1);
    case 'L':
        return vector(p, i->imm >> 4 & (p->bits == 64 ? 15 : 7), word + 1);
    case 'P':
        return (struct operand){ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_MMX, i->reg & 7};
    case 'Q':
        if (mem)
            return memory;
        /* fall through */
    case 'N':
        return (struct operand){ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_MMX, i->rm & 7};
    case 'S':
        return (struct operand){ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_SEGMENT, i->reg & 7};
    case 'C':
        return (struct operand){ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_CONTROL, i->reg};
    case 'D':
        return (struct operand){ZYDIS_OPERAND_TYPE_REGISTER, ZYDIS_REGCLASS_DEBUG, i->reg};
    case 'I':
    case 'J':
        return (struct operand){ZYDIS_OPERAND_TYPE_IMMEDIATE, 0, -1};
    case 'A':
        return (struct operand){ZYDIS_OPERAND_TYPE_POINTER, 0, -1};
    default: /* M, O, X, Y */
        return memory;
    }
}

/* Kinds, register classes and register numbers of the operands that are written, in their order. */
static const char *compare_operands(const struct pair *p)
{
    unsigned n = 0;

    for (const char *word = insn_row(&p->i)->operands; *word; n++) {
        size_t len = strcspn(word, ",");
        struct operand ours = our_operand(p, word, len);
        const ZydisDecodedOperand *theirs = &p->operands[n];

        /* Zydis hides those of string instructions. */
        if (n >= p->z.operand_count)
            return "more operands";
        if (ours.type != theirs->type)
            return "kind of operand";
        if (word[0] == 'X' && (ZydisRegisterGetId(theirs->mem.base) != REG_SI ||
                               !same_segment(p, theirs->mem.segment)))
            return "source of a string instruction";
        if (word[0] == 'Y' && ZydisRegisterGetId(theirs->mem.base) != REG_DI)
            return "destination of a string instruction";
        if (ours.type == ZYDIS_OPERAND_TYPE_REGISTER) {
            ZydisRegister reg = theirs->reg.value;
            if (ZydisRegisterGetClass(reg) != ours.class)
                return "register class";
            if (ZydisRegisterGetId(reg) != ours.id)
                return "register";
        }
        word += len;
        word += *word == ',';
    }
    return n >= p->z.operand_count_visible ? NULL : "fewer operands";
}

static const char *compare(struct pair *p)
{
    const char *what;

    if (!p->theirs)
        return p->ours ? "Zydis refuses it" : NULL;
    if (!have_set(p->cpu, p->z.meta.isa_set))
        return p->ours && p->i.len != p->z.length ? "length" : NULL;
    if (!p->ours)
        return "only Zydis accepts it";
    if (p->i.len != p->z.length)
        return "length";
    what = compare_memory(p);
    if (!what)
        what = compare_immediates(p);
    if (what)
        return what;
    what = compare_operands(p);
    p->by_operands = what;
    return what;
}

/* ---- differences ------------------------------------------------------------------------------ */

/* MOV to and from segment, control and debug registers. */
static bool no_such_register(const struct pair *p)
{
    uint32_t op = insn_row(&p->i)->opcode;
    return p->ours && p->status == ZYDIS_STATUS_BAD_REGISTER &&
           (op == 0x8c || op == 0x8e || (op >= 0x0f20 && op <= 0x0f23));
}

/* Gathers whose destination, mask and index are not all different. */
static bool registers_coincide(const struct pair *p)
{
    const struct insn *i = &p->i;
    return p->ours && p->status == ZYDIS_STATUS_BAD_REGISTER && (insn_row(i)->attr & AT_VSIB) &&
           (i->reg == i->index || i->reg == i->vvvv || i->vvvv == i->index);
}

/* A base of 5 with mod 0 is no base, REX.B or not (SDM vol. 2, table 2-3). */
static bool base_not_there(const struct pair *p)
{
    return p->ours && p->theirs && p->z.address_width == 32 && p->z.raw.modrm.mod == 0 &&
           p->z.raw.modrm.rm == 4 && p->z.raw.sib.base == 5 && p->i.base == REG_ZERO &&
           p->bits == 64;
}

static bool operands_not_used(const struct pair *p)
{
    const char *name = insn_row(&p->i)->name;
    return p->by_operands &&
           (!strcmp(name, "NOP") || !strncmp(name, "ENDBR", 5) || !strcmp(name, "PREFETCH") ||
            !strcmp(name, "UD0") || !strcmp(name, "UD1"));
}

static bool exchange_with_itself(const struct pair *p)
{
    return p->by_operands && insn_row(&p->i)->opcode == 0x90 && p->i.rm == REG_AX;
}

/* Zydis: the register is 32 bits wide if the operand size is. 16 bits of it are looked at. */
static bool selector_in_register(const struct pair *p)
{
    uint32_t op = insn_row(&p->i)->opcode;
    return p->by_operands && (op == 0x0f02 || op == 0x0f03) && !insn_is_mem(&p->i);
}

/* Zydis has one operand, or the two the other way round. */
static bool x87_compare(const struct pair *p)
{
    const char *name = insn_row(&p->i)->name;
    return p->by_operands && (!strncmp(name, "FCOM", 4) || !strncmp(name, "FUCOM", 5));
}

/* IN and OUT with REX.W, CRC32 of 8 to 16 bits, MOVMSKPS with REX.W: the row names the source's size or
 * the prefix's, where Zydis names that of what is written. The functions know. */
static bool row_says_less(const struct pair *p)
{
    static const char *const names[] = {"IN",        "OUT",      "CRC32",
                                        "MOVMSKPS",  "MOVMSKPD", "VMOVMSKPS",
                                        "VMOVMSKPD", "PMOVMSKB", "VPMOVMSKB"};
    if (!p->by_operands)
        return false;
    for (unsigned k = 0; k < ARRAY_LEN(names); k++) {
        if (!strcmp(insn_row(&p->i)->name, names[k]))
            return true;
    }
    return false;
}

/* Its source is 64 bits, or 256 of a YMM register. */
static bool movddup(const struct pair *p)
{
    return p->by_operands && !strcmp(insn_row(&p->i)->name, "VMOVDDUP") && p->i.size == 32;
}

/* MOVSXD to 16 bits takes the low half of 32 bits (AMD's manual), or 16 bits (Intel's). */
static bool movsxd_of_16(const struct pair *p)
{
    return p->by_operands && !strcmp(insn_row(&p->i)->name, "MOVSXD") && p->i.size == 2;
}

struct difference {
    bool (*applies)(const struct pair *p);
    const char *reason;
};

static const struct difference differences[] = {
    {no_such_register, "registers that do not exist raise #UD when the instruction is executed"},
    {registers_coincide, "gathers into registers they use raise #UD when they are executed"},
    {base_not_there, "Zydis 4.0 takes R13D for the base that is not there"},
    {operands_not_used, "operands of hints and of UD0 and UD1 are never looked at"},
    {exchange_with_itself, "XCHG of rAX with itself is NOP"},
    {selector_in_register, "LAR and LSL of a register look at 16 bits, which Zydis does not say"},
    {x87_compare, "FCOM and its aliases are written in several ways"},
    {row_says_less, "IN, OUT, CRC32, MOVMSK: widths that the row's letters do not say"},
    {movddup, "VMOVDDUP: the row's letters cannot say 64 or 256"},
    {movsxd_of_16, "MOVSXD to 16 bits: the manuals disagree about the source's width"},
};

static bool excused(const struct pair *p, unsigned *used)
{
    for (unsigned k = 0; k < ARRAY_LEN(differences); k++) {
        if (differences[k].applies(p)) {
            used[k]++;
            return true;
        }
    }
    return false;
}

/* ---- the runs --------------------------------------------------------------------------------- */

static void init_zydis(ZydisDecoder *decoder, unsigned bits)
{
    /* These give meanings to hints that are hints without the features. */
    static const ZydisDecoderMode off[] = {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET,
                                           ZYDIS_DECODER_MODE_CLDEMOTE};
    ZydisMachineMode mode = bits == 64   ? ZYDIS_MACHINE_MODE_LONG_64
                            : bits == 32 ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32
                                         : ZYDIS_MACHINE_MODE_LONG_COMPAT_16;
    ZydisStackWidth stack = bits == 64   ? ZYDIS_STACK_WIDTH_64
                            : bits == 32 ? ZYDIS_STACK_WIDTH_32
                                         : ZYDIS_STACK_WIDTH_16;
    ck_assert(ZYAN_SUCCESS(ZydisDecoderInit(decoder, mode, stack)));
    for (unsigned k = 0; k < ARRAY_LEN(off); k++)
        ZydisDecoderEnableMode(decoder, off[k], ZYAN_FALSE);
}

static void report(const struct pair *p, const char *what)
{
    printf("%u bits, %s:", p->bits, what);
    for (unsigned k = 0; k < 15; k++)
        printf(" %02x", p->code[k]);
    if (p->ours)
        printf("; ours: %s, %u bytes", insn_row(&p->i)->name, p->i.len);
    if (p->theirs)
        printf("; Zydis: %s (%s), %u bytes", ZydisMnemonicGetString(p->z.mnemonic),
               ZydisISASetGetString(p->z.meta.isa_set), p->z.length);
    putchar('\n');
}

static uint64_t number_from(const char *variable, uint64_t normally)
{
    const char *value = getenv(variable);
    return value ? strtoull(value, NULL, 0) : normally;
}

static void run_mode(unsigned bits)
{
    uint64_t cases = number_from("TINAMOU_CASES", 200000);
    unsigned used[ARRAY_LEN(differences)] = {0}, bad = 0, valid = 0;
    struct cpu *cpu = bare_cpu_new();
    ZydisDecoder decoder;

    ck_assert_ptr_nonnull(cpu);
    bare_cpu_set_bits(cpu, bits);
    init_zydis(&decoder, bits);
    rng = number_from("TINAMOU_SEED", 0x9e3779b97f4a7c15ull) * 2 + 1 + bits;
    for (uint64_t k = 0; k < cases; k++) {
        uint8_t code[16];
        struct pair p = {.cpu = cpu, .code = code, .bits = bits};
        struct decode_result res;
        const char *what;

        make_bytes(code, bits);
        p.ours = insn_decode(cpu, code, 15, 0, &p.i, &res);
        ck_assert_msg(!res.need_more, "asks for more than 15 bytes");
        p.status = ZydisDecoderDecodeFull(&decoder, code, 15, &p.z, p.operands);
        p.theirs = ZYAN_SUCCESS(p.status);
        valid += p.ours;
        what = compare(&p);
        if (what && !excused(&p, used) && bad++ < 100)
            report(&p, what);
    }
    printf("%u bits: %llu strings, %u valid, %u differ without a reason\n", bits,
           (unsigned long long)cases, valid, bad);
    for (unsigned k = 0; k < ARRAY_LEN(differences); k++)
        printf("%6u: %s\n", used[k], differences[k].reason);
    bare_cpu_free(cpu);
    ck_assert_uint_eq(bad, 0);
}

START_TEST(code16)
{
    run_mode(16);
}
END_TEST

START_TEST(code32)
{
    run_mode(32);
}
END_TEST

START_TEST(code64)
{
    run_mode(64);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {code16, code32, code64};
    setvbuf(stdout, NULL, _IOLBF, 0);
    setenv("CK_DEFAULT_TIMEOUT", "36000", 0);
    return RUN_TESTS("zydis", tests);
}
