/* The decoder: bytes to struct insn, by the rows of insn.def.
 *
 * The rows of one opcode form a short list; the first row whose prefix, modrm form and CPU feature
 * match is the instruction. Everything after that (immediates, sizes, byte registers) follows from
 * the row's operand string, which is parsed once into struct row_info.
 */
#include <stdlib.h>

#include "cpu/decode.h"
#include "cpu/exec.h"
#include "cpu/sem.h"

enum imm_kind { IMM_NONE, IMM_B, IMM_BS, IMM_W, IMM_Z, IMM_V, IMM_JB, IMM_JZ, IMM_O, IMM_FAR, IMM_ONE };
enum size_kind { SIZE_V, SIZE_B, SIZE_W, SIZE_D, SIZE_Q, SIZE_Y, SIZE_Z };

/* ---- rows ------------------------------------------------------------------------------------ */

static uint8_t size_of_suffix(const char *s)
{
    switch (s[0]) {
    case 'b':
        return s[1] == 's' ? SIZE_V : SIZE_B;
    case 'w':
        return SIZE_W;
    case 'd':
        return s[1] == 'q' ? SIZE_V : SIZE_D;
    case 'q':
        return SIZE_Q;
    case 'y':
        return SIZE_Y;
    case 'z':
        return SIZE_Z;
    default:
        return SIZE_V;
    }
}

static uint8_t imm_of_suffix(char letter, const char *s)
{
    if (letter == 'J')
        return s[0] == 'b' ? IMM_JB : IMM_JZ;
    if (letter == 'O')
        return IMM_O;
    if (letter == 'A')
        return IMM_FAR;
    if (s[0] == 'b')
        return s[1] == 's' ? IMM_BS : IMM_B;
    return s[0] == 'w' ? IMM_W : s[0] == 'z' ? IMM_Z : IMM_V;
}

static bool is_word(const char *s, size_t n, const char *word)
{
    return strlen(word) == n && memcmp(s, word, n) == 0;
}

/* Forms of the first two operands' letters for hot rows. */
static void find_forms(const char *a, size_t na, const char *b, size_t nb, struct row_info *info)
{
    bool acc = is_word(a, na, "AL") || is_word(a, na, "rAX");
    info->form_reg = info->form_mem = HF_NONE;
    if (na == 0)
        return;
    if (nb && b[0] == 'I' && (a[0] == 'E' || acc || a[0] == 'Z')) {
        info->form_reg = HF_RI;
        info->form_mem = HF_MI;
    } else if (a[0] == 'E' && nb && b[0] == '1') {
        info->form_reg = HF_RI;
        info->form_mem = HF_MI;
    } else if (a[0] == 'E' && nb && b[0] == 'G') {
        info->form_reg = HF_RR;
        info->form_mem = HF_MR;
    } else if (a[0] == 'G' && nb && (b[0] == 'E' || b[0] == 'M')) {
        info->form_reg = HF_RR;
        info->form_mem = HF_RM;
        info->swap = true;
    } else if (acc && nb && b[0] == 'O') {
        info->form_mem = HF_RM;
        info->moffs = true;
    } else if (a[0] == 'O') {
        info->form_mem = HF_MR;
        info->moffs = true;
    } else if (a[0] == 'Z' && nb) {
        info->form_reg = HF_RR;
    } else if (a[0] == 'E' || a[0] == 'Z') {
        info->form_reg = HF_R;
        info->form_mem = HF_M;
    } else if (a[0] == 'I' || a[0] == 'J') {
        info->form_reg = HF_I;
    }
}

static void parse_row(const struct insn_row *row, struct row_info *info)
{
    const char *op[4] = {"", "", "", ""};
    size_t len[4] = {0};
    unsigned n = 0;

    memset(info, 0, sizeof(*info));
    for (const char *p = row->operands; *p && n < 4; n++) {
        op[n] = p;
        len[n] = strcspn(p, ",");
        p += len[n];
        p += *p == ',';
    }
    for (unsigned k = 0; k < n; k++) {
        char c = op[k][0];
        const char *suffix = op[k] + 1;
        info->vvvv |= c == 'H' || c == 'B';
        if (len[k] == 1 && c == '1') {
            info->imm = IMM_ONE;
        } else if (c == 'L') {
            info->imm = IMM_B;
        } else if ((c == 'I' || c == 'J' || c == 'O') || (c == 'A' && suffix[0] == 'p')) {
            if (info->imm)
                info->imm2 = IMM_B;
            else
                info->imm = imm_of_suffix(c, suffix);
        } else if (suffix[0] == 'b' && suffix[1] != 's') {
            info->reg_is_byte |= c == 'G' || c == 'Z';
            info->rm_is_byte |= c == 'E';
        }
        info->force_reg |= (c == 'C' || c == 'D') && suffix[0] != 'L' && suffix[0] != 'X';
    }
    if (n && strchr("EGZMOXYRBP", op[0][0]))
        info->size = size_of_suffix(op[0] + 1);
    else if (n && is_word(op[0], len[0], "AL"))
        info->size = SIZE_B;
    if (row->attr & AT_SIZE_B)
        info->size = SIZE_B;
    find_forms(op[0], len[0], op[1], len[1], info);
}

static unsigned map_of(uint32_t opcode)
{
    return opcode < 0x100 ? 0 : opcode < 0x10000 ? 1 : opcode >> 8 == 0x0f38 ? 2 : 3;
}

const struct decode_tables *decode_tables_new(void)
{
    struct decode_tables *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->next = calloc(insn_row_count, sizeof(*t->next));
    t->info = calloc(insn_row_count, sizeof(*t->info));
    if (!t->next || !t->info) {
        decode_tables_free(t);
        return NULL;
    }
    /* Backwards, so that lists keep the order of the rows; a Z row stands for eight opcodes but
     * has one next: rows that share some of its opcodes must come before it in the file. */
    for (unsigned r = insn_row_count; r-- > 0;) {
        const struct insn_row *row = &insn_rows[r];
        unsigned map = map_of(row->opcode), count = row->form == FORM_Z ? 8 : 1;
        parse_row(row, &t->info[r]);
        t->next[r] = t->head[map][row->opcode & 0xff];
        for (unsigned k = 0; k < count; k++)
            t->head[map][(row->opcode & 0xff) + k] = (uint16_t)(r + 1);
    }
    return t;
}

void decode_tables_free(const struct decode_tables *t)
{
    if (!t)
        return;
    free(t->next);
    free(t->info);
    free((void *)(uintptr_t)t);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct reader {
    const uint8_t *code;
    unsigned avail, pos;
    bool short_of; /* ran out of bytes */
};

static uint64_t take(struct reader *rd, unsigned n)
{
    uint64_t v = 0;
    if (rd->pos + n > rd->avail) {
        rd->short_of = true;
        rd->pos += n;
        return 0;
    }
    for (unsigned k = 0; k < n; k++)
        v |= (uint64_t)rd->code[rd->pos + k] << (8 * k);
    rd->pos += n;
    return v;
}

static int64_t take_signed(struct reader *rd, unsigned n)
{
    uint64_t v = take(rd, n);
    unsigned shift = 64 - 8 * n;
    return (int64_t)(v << shift) >> shift;
}

struct prefixes {
    uint8_t flags; /* PFX_ */
    uint8_t rex;   /* 0x40 to 0x4f, or 0 */
    uint8_t seg;   /* SEG_NONE if none */
    uint8_t rep;   /* 0xf2, 0xf3 or 0 */
    bool vex, rex_before; /* a REX prefix before VEX */
    uint8_t vex_l, vex_pp, vvvv;
};

/* ---- addresses ------------------------------------------------------------------------------- */

static void mem16(struct reader *rd, struct insn *i, unsigned mod, unsigned rm, uint8_t *dseg)
{
    static const uint8_t base[8] = {REG_BX, REG_BX, REG_BP, REG_BP, REG_SI, REG_DI, REG_BP, REG_BX};
    static const uint8_t index[8] = {REG_SI,   REG_DI,   REG_SI,   REG_DI,
                                     REG_ZERO, REG_ZERO, REG_ZERO, REG_ZERO};
    i->base = base[rm];
    i->index = index[rm];
    *dseg = i->base == REG_BP ? SEG_SS : SEG_DS;
    if (mod == 0 && rm == 6) {
        i->base = REG_ZERO;
        *dseg = SEG_DS;
        i->disp = (int32_t)take(rd, 2);
    } else if (mod == 1) {
        i->disp = (int32_t)take_signed(rd, 1);
    } else if (mod == 2) {
        i->disp = (int32_t)take_signed(rd, 2);
    }
}

static bool mem32(struct reader *rd, struct insn *i, unsigned mod, unsigned rm, unsigned rex,
                  bool code64, bool vsib, uint8_t *dseg)
{
    bool rip_relative = false;
    i->index = REG_ZERO;
    if (rm == 4) {
        unsigned sib = (unsigned)take(rd, 1);
        unsigned index = (sib >> 3 & 7) | (rex & 2) << 2, base = (sib & 7) | (rex & 1) << 3;
        i->scale = (uint8_t)(sib >> 6);
        if (index != 4 || vsib)
            i->index = (uint8_t)index;
        else
            i->scale = 0;
        i->base = (uint8_t)base;
        if ((sib & 7) == 5 && mod == 0) {
            i->base = REG_ZERO;
            i->disp = (int32_t)take_signed(rd, 4);
        }
    } else if (rm == 5 && mod == 0) {
        i->base = REG_ZERO;
        i->disp = (int32_t)take_signed(rd, 4);
        rip_relative = code64;
    } else {
        i->base = (uint8_t)(rm | (rex & 1) << 3);
    }
    *dseg = i->base == REG_SP || i->base == REG_BP ? SEG_SS : SEG_DS;
    if (mod == 1)
        i->disp = (int32_t)take_signed(rd, 1);
    else if (mod == 2)
        i->disp = (int32_t)take_signed(rd, 4);
    return rip_relative;
}

/* RIP-relative displacements count from the next instruction; ours from the block's start. */
static void fix_rip_relative(struct insn *i)
{
    int64_t d = (int64_t)i->disp + i->off + i->len;
    i->base = REG_BRIP;
    if (d > INT32_MAX) { /* wrapped by 2^32: put that back through the scaled constant */
        i->index = REG_2P30;
        i->scale = 2;
    }
    i->disp = (int32_t)(uint32_t)d;
}

/* ---- matching -------------------------------------------------------------------------------- */

static bool form_matches(const struct insn_row *row, unsigned modrm, bool force_reg)
{
    unsigned reg = modrm >> 3 & 7;
    bool mem = modrm < 0xc0 && !force_reg;
    switch (row->form) {
    case FORM_MEM:
        return mem;
    case FORM_REG:
        return !mem;
    case FORM_X:
        return reg == row->form_reg;
    case FORM_XM:
        return mem && reg == row->form_reg;
    case FORM_XR:
        return !mem && reg == row->form_reg;
    case FORM_RM:
        return !mem && reg == row->form_reg && (modrm & 7) == row->form_rm;
    default:
        return true;
    }
}

static unsigned mandatory_prefix(const struct prefixes *p)
{
    static const uint8_t vex_pp[4] = {P_NP, P_66, P_F3, P_F2};
    if (p->vex)
        return vex_pp[p->vex_pp];
    if (p->rep)
        return p->rep == 0xf3 ? P_F3 : P_F2;
    return p->flags & PFX_OPSIZE ? P_66 : P_NP;
}

/* VEX.L and VEX.W as the row wants them, and the features that vectors need besides the row's. */
static bool vex_matches(const struct cpu *cpu, const struct insn_row *row, const struct prefixes *p)
{
    uint32_t attr = row->attr;

    if ((attr & AT_AVX) && !feature_has(&cpu->features, F_AVX))
        return false;
    if (p->vex_l ? !(attr & (AT_VEXL | AT_L1 | AT_LIG)) : (attr & AT_L1) != 0)
        return false;
    if (p->vex_l && (attr & AT_L_AVX2) && !feature_has(&cpu->features, F_AVX2))
        return false;
    return !(attr & (p->rex & 8 ? AT_W0 : AT_W1));
}

/* The row for the opcode, or insn_row_count. modrm is -1 if there is no byte left to look at;
 * *wants_modrm says whether one belongs to the opcode. */
static unsigned find_row(const struct cpu *cpu, unsigned map, unsigned op, int modrm,
                         const struct prefixes *p, bool *wants_modrm)
{
    const struct decode_tables *t = cpu->decode;
    unsigned mandatory = mandatory_prefix(p);
    bool code64 = cpu->mode & MODE_CODE64;
    *wants_modrm = false;
    for (unsigned r = t->head[map][op]; r; r = t->next[r - 1]) {
        const struct insn_row *row = &insn_rows[r - 1];
        bool has_modrm = row->form >= FORM_MRM;
        if (!!(row->attr & (AT_VEX | AT_AVX)) != p->vex)
            continue;
        if (row->attr & (code64 ? AT_I64 : AT_O64))
            continue;
        *wants_modrm |= has_modrm;
        if (row->prefix != P_ANY && row->prefix != mandatory)
            continue;
        if (p->vex && !vex_matches(cpu, row, p))
            continue;
        if (!feature_has(&cpu->features, (enum cpu_feature)row->feature))
            continue;
        if (has_modrm && (modrm < 0 || !form_matches(row, (unsigned)modrm, t->info[r - 1].force_reg)))
            continue;
        return r - 1;
    }
    return insn_row_count;
}

/* ---- the instruction ------------------------------------------------------------------------- */

static void read_prefixes(struct reader *rd, bool code64, struct prefixes *p)
{
    memset(p, 0, sizeof(*p));
    p->seg = SEG_NONE;
    for (; rd->pos < rd->avail && rd->pos < 15; rd->pos++) {
        uint8_t b = rd->code[rd->pos];
        uint8_t rex = 0;
        switch (b) {
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
            if (!code64) /* null prefixes in 64-bit code; they do not cancel FS and GS */
                p->seg = (uint8_t)(b >> 3 & 3);
            p->flags |= PFX_SEG;
            break;
        case 0x64:
        case 0x65:
            p->seg = (uint8_t)(b - 0x64 + SEG_FS);
            p->flags |= PFX_SEG;
            break;
        case 0x66:
            p->flags |= PFX_OPSIZE;
            break;
        case 0x67:
            p->flags |= PFX_ADDRSIZE;
            break;
        case 0xf0:
            p->flags |= PFX_LOCK;
            break;
        case 0xf2:
        case 0xf3:
            p->rep = b;
            break;
        default:
            if (!code64 || (b & 0xf0) != 0x40)
                return;
            rex = b;
            break;
        }
        p->rex = rex; /* counts only directly before the opcode */
    }
}

/* C4 and C5 at the reader: a VEX prefix unless they are LES and LDS. False: not VEX. */
static bool read_vex(const struct cpu *cpu, struct reader *rd, struct prefixes *p, unsigned *map)
{
    bool three = rd->code[rd->pos] == 0xc4;
    unsigned b1, b2;
    if (rd->pos + 1 >= rd->avail)
        return rd->short_of = true;
    b1 = rd->code[rd->pos + 1];
    if (!(cpu->mode & MODE_CODE64) && b1 < 0xc0)
        return false;
    if (cpu_real_or_vm(cpu))
        return false;
    rd->pos += 2;
    p->vex = true;
    p->rex_before = p->rex;
    p->rex = 0;
    *map = 1;
    b2 = b1;
    p->rex |= b1 & 0x80 ? 0 : 0x44;
    if (three) {
        b2 = (unsigned)take(rd, 1);
        p->rex |= (b1 & 0x40 ? 0 : 0x42) | (b1 & 0x20 ? 0 : 0x41) | (b2 & 0x80 ? 0x48 : 0);
        *map = b1 & 0x1f;
    }
    if (!(cpu->mode & MODE_CODE64))
        p->rex &= 0x48;
    p->vvvv = (uint8_t)(~b2 >> 3 & 15);
    p->vex_l = b2 >> 2 & 1;
    p->vex_pp = b2 & 3;
    return true;
}

static unsigned operand_size(const struct cpu *cpu, const struct insn_row *row,
                             const struct prefixes *p)
{
    bool small = p->flags & PFX_OPSIZE;
    if (cpu->mode & MODE_CODE64) {
        if ((p->rex & 8) || (row->attr & AT_F64))
            return 8;
        return small ? 2 : row->attr & AT_D64 ? 8 : 4;
    }
    return !!(cpu->mode & MODE_CODE32) != small ? 4 : 2;
}

static uint8_t sized(uint8_t kind, unsigned opsize, bool wide)
{
    switch (kind) {
    case SIZE_B:
        return 1;
    case SIZE_W:
        return 2;
    case SIZE_D:
        return 4;
    case SIZE_Q:
        return 8;
    case SIZE_Y:
        return wide ? 8 : 4;
    case SIZE_Z:
        return (uint8_t)MIN(opsize, 4u);
    default:
        return (uint8_t)opsize;
    }
}

static uint64_t read_imm(struct reader *rd, uint8_t kind, unsigned opsize, unsigned addrsize)
{
    switch (kind) {
    case IMM_B:
    case IMM_BS:
    case IMM_JB:
        return (uint64_t)take_signed(rd, 1);
    case IMM_W:
        return take(rd, 2);
    case IMM_Z:
    case IMM_JZ:
        return (uint64_t)take_signed(rd, opsize == 2 ? 2 : 4);
    case IMM_V:
        return (uint64_t)take_signed(rd, opsize);
    case IMM_O:
        return take(rd, addrsize);
    case IMM_FAR: {
        uint64_t offset = take(rd, opsize == 2 ? 2 : 4);
        return take(rd, 2) << 32 | offset;
    }
    case IMM_ONE:
        return 1;
    default:
        return 0;
    }
}

static uint8_t byte_reg(unsigned n, bool rex)
{
    return (uint8_t)(!rex && n >= 4 && n < 8 ? BYTE_REG_OFF(n - 4, 1) : BYTE_REG_OFF(n, 0));
}

/* Brings the operands of a hot row into the places its form promises. */
static void normalise_hot(struct insn *i, const struct insn_row *row, const struct row_info *info)
{
    bool nomodrm = row->form < FORM_MRM;
    if (info->moffs) {
        i->reg = info->size == SIZE_B ? byte_reg(REG_AX, true) : REG_AX;
        i->base = i->index = REG_ZERO;
        i->disp = (int32_t)(uint32_t)i->imm;
        i->modrm = 0x05;
    } else if (nomodrm && row->form == FORM_Z) {
        uint8_t z = i->reg;
        i->rm = z;
        i->reg = REG_AX; /* the source of XCHG Zv,rAX */
    } else if (nomodrm && info->form_reg == HF_RI) {
        i->rm = info->size == SIZE_B ? byte_reg(REG_AX, true) : REG_AX;
    } else if (info->swap && !insn_is_mem(i)) {
        uint8_t dst = i->reg;
        i->reg = i->rm;
        i->rm = dst;
    }
}

bool insn_decode(const struct cpu *cpu, const uint8_t *code, unsigned avail, unsigned block_off,
                 struct insn *out, struct decode_result *res)
{
    struct reader rd = {code, MIN(avail, 15u), 0, false};
    struct prefixes p;
    bool code64 = cpu->mode & MODE_CODE64, rip_relative = false, wants_modrm;
    unsigned map = 0, op, row_no, modrm, opsize, addrsize;
    uint8_t dseg = SEG_DS;

    memset(out, 0, sizeof(*out));
    res->need_more = res->too_long = false;
    out->off = (uint8_t)block_off;
    read_prefixes(&rd, code64, &p);
    if (rd.pos >= rd.avail)
        goto out_of_bytes;
    op = rd.code[rd.pos];
    if ((op == 0xc4 || op == 0xc5) && read_vex(cpu, &rd, &p, &map)) {
        if (rd.short_of)
            goto out_of_bytes;
        if (map < 1 || map > 3)
            return false;
        op = (unsigned)take(&rd, 1);
    } else {
        rd.pos++;
        if (op == 0x0f) {
            map = 1;
            op = (unsigned)take(&rd, 1);
            if (!rd.short_of && (op == 0x38 || op == 0x3a)) {
                map = op == 0x38 ? 2 : 3;
                op = (unsigned)take(&rd, 1);
            }
        }
    }
    if (rd.short_of)
        goto out_of_bytes;

    row_no = find_row(cpu, map, op, rd.pos < rd.avail ? rd.code[rd.pos] : -1, &p, &wants_modrm);
    if (wants_modrm && rd.pos >= rd.avail)
        goto out_of_bytes;
    if (row_no == insn_row_count)
        return false;
    const struct insn_row *row = &insn_rows[row_no];
    const struct row_info *info = &cpu->decode->info[row_no];

    out->row = (uint16_t)row_no;
    out->prefix = p.flags | (p.rep == 0xf3 ? PFX_REPZ : p.rep ? PFX_REPNZ : 0) |
                  (p.rex & 0xf0 ? PFX_REX : 0) | (p.rex & 8 ? PFX_REXW : 0);
    /* Outside 64-bit code the top bit of vvvv does not count, but where vvvv names nothing it has to
     * be 1 as the others: so real processors do. */
    out->vvvv = code64 ? p.vvvv : p.vvvv & 7;
    opsize = operand_size(cpu, row, &p);
    addrsize = code64 ? (p.flags & PFX_ADDRSIZE ? 4 : 8)
                      : !!(cpu->mode & MODE_CODE32) != !!(p.flags & PFX_ADDRSIZE) ? 4 : 2;
    out->ea_shift = (uint8_t)(64 - 8 * addrsize);
    out->size = sized(info->size, opsize, p.rex & 8);
    if (row->attr & AT_AVX)
        out->size = p.vex_l && !(row->attr & AT_LIG) ? 32 : 16;
    out->base = out->index = REG_ZERO;
    out->modrm = 0xc0;
    if (row->form >= FORM_MRM) {
        modrm = (unsigned)take(&rd, 1);
        if (info->force_reg)
            modrm |= 0xc0;
        out->modrm = (uint8_t)modrm;
        out->reg = (uint8_t)((modrm >> 3 & 7) | (p.rex & 4) << 1);
        out->rm = (uint8_t)((modrm & 7) | (p.rex & 1) << 3);
        if (modrm < 0xc0) {
            if (addrsize == 2)
                mem16(&rd, out, modrm >> 6, modrm & 7, &dseg);
            else
                rip_relative = mem32(&rd, out, modrm >> 6, modrm & 7, p.rex, code64,
                                     row->attr & AT_VSIB, &dseg);
        }
    } else if (row->form == FORM_Z) {
        out->reg = (uint8_t)((op & 7) | (p.rex & 1) << 3);
    }
    out->seg = p.seg != SEG_NONE ? p.seg : dseg;
    out->imm = read_imm(&rd, info->imm, info->imm == IMM_FAR || info->imm == IMM_Z ||
                        info->imm == IMM_JZ || info->imm == IMM_V ? opsize : out->size, addrsize);
    if (info->imm2)
        out->vvvv = (uint8_t)take(&rd, 1);
    if (rd.short_of)
        goto out_of_bytes;
    out->len = (uint8_t)rd.pos;
    if (rip_relative)
        fix_rip_relative(out);
    if ((p.flags & PFX_LOCK) && !((row->attr & AT_LOCK) && insn_is_mem(out)))
        return false;
    if (p.vex && ((p.flags & (PFX_LOCK | PFX_OPSIZE)) || p.rep || p.rex_before))
        return false;
    if (p.vex && p.vvvv && !info->vvvv)
        return false;
    if ((row->attr & AT_VSIB) && (addrsize == 2 || (out->modrm & 7) != 4))
        return false;
    if (info->reg_is_byte)
        out->reg = byte_reg(out->reg, p.rex);
    if (info->rm_is_byte && !insn_is_mem(out))
        out->rm = byte_reg(out->rm, p.rex);
    if (row->sem != SEM_NONE)
        normalise_hot(out, row, info);
    return true;

out_of_bytes:
    if (avail >= 15)
        res->too_long = true;
    else
        res->need_more = true;
    return false;
}

enum hot_form insn_hot_form(const struct cpu *cpu, const struct insn *i)
{
    const struct row_info *info = &cpu->decode->info[i->row];
    if (info->moffs)
        return (enum hot_form)info->form_mem;
    return (enum hot_form)(insn_is_mem(i) ? info->form_mem : info->form_reg);
}
