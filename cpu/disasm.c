/* Disassembly for people, out of the rows' own operand strings. Intel syntax. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "cpu/decode.h"
#include "cpu/exec.h"
#include "cpu/sem.h"

struct out {
    char *buf;
    size_t size, len;
};

static void put(struct out *o, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void put(struct out *o, const char *fmt, ...)
{
    va_list ap;
    if (o->len >= o->size)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(o->buf + o->len, o->size - o->len, fmt, ap);
    va_end(ap);
    o->len = MIN(o->len + (size_t)(n > 0 ? n : 0), o->size);
}

static const char *const seg_names[] = {"es", "cs", "ss", "ds", "fs", "gs"};

static void put_reg(struct out *o, unsigned n, unsigned size)
{
    static const char *const old[8] = {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"};
    if (n == REG_BRIP)
        put(o, "rip");
    else if (n >= 8)
        put(o, "r%u%s", n, size == 8 ? "" : size == 4 ? "d" : size == 2 ? "w" : "b");
    else
        put(o, "%s%s", size == 8 ? "r" : size == 4 ? "e" : "", old[n & 7]);
}

static void put_byte_reg(struct out *o, unsigned off)
{
    static const char *const low[8] = {"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"};
    static const char *const high[4] = {"ah", "ch", "dh", "bh"};
    unsigned n = off / 8;
    if (off == BYTE_REG_OFF(n, 1))
        put(o, "%s", n < 4 ? high[n] : "?");
    else if (n < 8)
        put(o, "%s", low[n]);
    else
        put(o, "r%ub", n);
}

static void put_signed(struct out *o, int64_t v, bool plus)
{
    if (v < 0)
        put(o, "-0x%llx", (unsigned long long)(0 - (uint64_t)v));
    else
        put(o, "%s0x%llx", plus ? "+" : "", (unsigned long long)v);
}

static void put_mem(struct out *o, const struct insn *i, uint64_t pc)
{
    unsigned asize = (64u - i->ea_shift) / 8;
    bool any = false;
    put(o, "[");
    if ((i->prefix & PFX_SEG) && i->seg < SEG_LDT)
        put(o, "%s:", seg_names[i->seg]);
    if (i->base == REG_BRIP) {
        /* disp counts from the block's start, which is off bytes before pc */
        uint64_t wrap = i->index == REG_2P30 ? 1ull << 32 : 0;
        put(o, "0x%llx]", (unsigned long long)(pc - i->off + wrap + (uint64_t)(int64_t)i->disp));
        return;
    }
    if (i->base != REG_ZERO) {
        put_reg(o, i->base, asize);
        any = true;
    }
    if (i->index != REG_ZERO) {
        put(o, "%s", any ? "+" : "");
        if (insn_row(i)->attr & AT_VSIB)
            put(o, "%cmm%u", i->size == 32 ? 'y' : 'x', i->index);
        else
            put_reg(o, i->index, asize);
        if (i->scale)
            put(o, "*%u", 1u << i->scale);
        any = true;
    }
    if (!any)
        put(o, "0x%llx",
            (unsigned long long)((uint64_t)(int64_t)i->disp << i->ea_shift >> i->ea_shift));
    else if (i->disp)
        put_signed(o, i->disp, true);
    put(o, "]");
}

/* reg and rm as the encoding has them: hot rows may have them swapped or set. */
struct fields {
    unsigned reg, rm;
};

static unsigned size_of(const struct insn *i, char c)
{
    switch (c) {
    case 'b':
        return 1;
    case 'w':
        return 2;
    case 'd':
        return 4;
    case 'q':
        return 8;
    default:
        return i->size;
    }
}

static void put_general(struct out *o, const struct insn *i, unsigned n, char size)
{
    if (size == 'b')
        put_byte_reg(o, n);
    else
        put_reg(o, n, size_of(i, size));
}

static void put_vector(struct out *o, const struct insn *i, unsigned n, char size)
{
    put(o, "%cmm%u", size == 'x' && i->size == 32 ? 'y' : 'x', n);
}

static void put_operand(struct out *o, const struct insn *i, const struct fields *f,
                        const char *s, size_t len, uint64_t pc)
{
    char letter = s[0], size = len > 1 ? s[1] : 0;
    uint64_t mask = i->size >= 8 ? ~0ull : (1ull << (8 * i->size)) - 1;

    switch (letter) {
    case 'E':
    case 'M':
    case 'R':
        if (letter != 'R' && (insn_is_mem(i) || letter == 'M'))
            put_mem(o, i, pc);
        else
            put_general(o, i, f->rm, size);
        return;
    case 'G':
        put_general(o, i, f->reg, size);
        return;
    case 'Z':
        put_general(o, i, f->rm, size);
        return;
    case 'I':
        put(o, "0x%llx", (unsigned long long)(i->imm & mask));
        return;
    case 'J':
        put(o, "0x%llx",
            (unsigned long long)((pc + i->len + i->imm) & (i->size == 2 ? 0xffff : ~0ull)));
        return;
    case 'O':
        put(o, "[0x%llx]", (unsigned long long)i->imm);
        return;
    case 'A':
        if (size == 'p') {
            put(o, "%llx:%llx", (unsigned long long)(i->imm >> 32),
                (unsigned long long)(uint32_t)i->imm);
            return;
        }
        break;
    case 'P':
    case 'Q':
    case 'N':
        if (letter == 'Q' && insn_is_mem(i))
            put_mem(o, i, pc);
        else
            put(o, "mm%u", (letter == 'P' ? i->reg : i->rm) & 7);
        return;
    case 'V':
    case 'W':
    case 'U':
    case 'H':
        if (letter == 'W' && insn_is_mem(i))
            put_mem(o, i, pc);
        else
            put_vector(o, i, letter == 'V' ? i->reg : letter == 'H' ? i->vvvv : i->rm, size);
        return;
    case 'L':
        put_vector(o, i, i->imm >> 4 & 15, size);
        return;
    case 'B':
        put_general(o, i, i->vvvv, size);
        return;
    case 'X':
        put(o, "[rsi]");
        return;
    case 'Y':
        put(o, "[rdi]");
        return;
    case 'C':
    case 'D':
        if (size != 'L' && size != 'X' && size != 'S') {
            put(o, "%cr%u", tolower((unsigned char)letter), i->reg);
            return;
        }
        break;
    case 'S':
        if (size == 'w' || size == 0) {
            put(o, "%s", i->reg < 6 ? seg_names[i->reg] : "?");
            return;
        }
        if (len == 3 && s[2] == 'i') {
            put(o, "st%u", i->rm & 7);
            return;
        }
        break;
    case 'r':
        put_reg(o, REG_AX, i->size);
        return;
    default:
        break;
    }
    for (size_t k = 0; k < len; k++)
        put(o, "%c", tolower((unsigned char)s[k]));
}

void insn_format(const struct insn *i, uint64_t pc, char *buf, size_t size)
{
    const struct insn_row *row = insn_row(i);
    struct out o = {buf, size, 0};
    struct fields f = {i->reg, i->rm};
    bool hot = row->sem != SEM_NONE;

    buf[0] = 0;
    if (i->prefix & PFX_LOCK)
        put(&o, "lock ");
    if ((row->attr & AT_REP) && (i->prefix & (PFX_REPZ | PFX_REPNZ)))
        put(&o, i->prefix & PFX_REPZ ? "rep " : "repne ");
    for (const char *p = row->name; *p; p++)
        put(&o, "%c", tolower((unsigned char)*p));
    if (hot && row->operands[0] == 'G' && !insn_is_mem(i)) {
        f.reg = i->rm;
        f.rm = i->reg;
    } else if (!hot && row->form == FORM_Z) {
        f.rm = i->reg;
    }
    for (const char *s = row->operands; *s;) {
        size_t len = strcspn(s, ",");
        put(&o, "%s", s == row->operands ? " " : ", ");
        put_operand(&o, i, &f, s, len, pc);
        s += len;
        s += *s == ',';
    }
}
