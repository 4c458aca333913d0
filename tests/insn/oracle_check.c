/* What the oracle compares, and what it excuses. See oracle.h. */
#include <stdio.h>

#include "tests/insn/oracle.h"

#include "base/hash.h"

/* The count of a shift or rotate, masked as the instruction does it. */
static unsigned shift_count(const struct oracle_case *c, const struct insn *i)
{
    const char *last = strrchr(insn_rows[i->row].operands, ',');
    unsigned count =
        last && strcmp(last, ",CL") == 0 ? (unsigned)c->in.r[REG_CX] : (unsigned)i->imm;
    return count & (i->size == 8 ? 63 : 31);
}

/* MASKMOVQ and MASKMOVDQU without any byte to store. */
static bool stores_nothing(const struct oracle_case *c, const struct insn *i)
{
    const struct insn_row *row = &insn_rows[i->row];
    unsigned top = c->in.sw >> 11 & 7, n = row->attr & AT_MMX ? 8 : 16;
    const uint8_t *mask = n == 8 ? c->in.st[((i->rm & 7) - top) & 7] : c->in.ymm[i->rm & 15];

    if (!strstr(row->name, "MASKMOV") || (row->opcode & 0xff) != 0xf7)
        return false;
    for (unsigned k = 0; k < n; k++)
        if (mask[k] & 0x80)
            return false;
    return true;
}

struct oracle_excuse oracle_excuse(const struct oracle_case *c, const struct insn *i)
{
    struct oracle_excuse e = {0};
    uint32_t undef;

    if (!i)
        return e;
    undef = insn_rows[i->row].undef;
    e.flags = undef & FL_ARITH;
    e.last_place = undef & UN_LAST_PLACE;
    e.dest = stores_nothing(c, i); /* whether that faults is left to processors */
    if (undef & (UN_BY_COUNT | UN_BIG_COUNT)) {
        unsigned count = shift_count(c, i), bits = i->size * 8u;
        if (count == 0)
            e.flags = 0;
        if (count == 1)
            e.flags &= ~(uint32_t)FL_OF;
        if (count < bits)
            e.flags &= ~(uint32_t)FL_CF;
        if (undef & UN_BIG_COUNT && count > bits)
            e.dest = true;
    }
    return e;
}

/* Instructions that make many accesses: which of them tells CR2, within the page, is no matter of
 * the architecture. */
static bool many_accesses(const struct insn_row *row)
{
    return row->attr & AT_VSIB || strstr(row->name, "MASKMOV") || strcmp(row->name, "CALLF") == 0;
}

static void forget(const struct oracle_case *c, struct oracle_state *s, unsigned at, unsigned n)
{
    for (unsigned k = at; k < at + n; k++)
        if (c->ea + k >= ORACLE_DATA && c->ea + k < ORACLE_DATA + ORACLE_DATA_SIZE)
            s->data[c->ea + k - ORACLE_DATA] = 0;
}

/* Pointers in stored images: processors differ, as CPUID tells, in whether they keep selectors (leaf
 * 7, EBX bit 13) and the operand's address but after exceptions (bit 6). */
static void forget_pointers(const struct oracle_case *c, const struct insn *i,
                            struct oracle_state *s)
{
    const char *name = i ? insn_rows[i->row].name : "";

    s->fdp = 0;
    if (!c->ea_known)
        return;
    if (strcmp(name, "FNSTENV") == 0 || strcmp(name, "FNSAVE") == 0) {
        forget(c, s, i->size == 2 ? 8 : 16, i->size == 2 ? 2 : 2);
        forget(c, s, i->size == 2 ? 10 : 20, i->size == 2 ? 4 : 6);
    } else if (strcmp(name, "FXSAVE") == 0 || strncmp(name, "XSAVE", 5) == 0) {
        if (!(i->prefix & PFX_REXW))
            forget(c, s, 12, 2);
        forget(c, s, 16, 8);
    }
}

void oracle_normalise(const struct oracle_case *c, const struct insn *i,
                      const struct oracle_excuse *e, struct oracle_state *s)
{
    /* The top of the user half, from which on Linux hides which pages it has. */
    const uint64_t user_end = 0x7ffffffff000;

    /* IF and IOPL belong to the system; RF is set in the image that faults save. */
    s->flags &= (FL_ARITH | FL_DF | FL_AC) & ~e->flags;
    if (s->exception == EXC_PF && s->cr2 >= user_end)
        s->error |= 1;
    if (i && oracle_is_image(&insn_rows[i->row]))
        s->cr2 = 0;
    else if (i && many_accesses(&insn_rows[i->row]))
        s->cr2 &= ~(uint64_t)(PAGE_SIZE - 1);
    if (c->code32 || s->seg[SEG_CS] == 0x23) /* "undefined" after 32-bit code */
        for (unsigned k = 0; k < 8; k++)
            s->r[k] = (uint32_t)s->r[k];
    if (e->last_place)
        s->sw &= (uint16_t)~0x200;
    /* The way back from the kernel makes one null selector of four. */
    for (unsigned k = 0; k < 6; k++)
        if (s->seg[k] < 4)
            s->seg[k] = 0;
    forget_pointers(c, i, s);
}

void oracle_forgive_last_place(const struct oracle_state *native, struct oracle_state *ours)
{
    for (unsigned k = 0; k < 8; k++) {
        const uint8_t *n = native->st[k];
        uint8_t *o = ours->st[k];
        uint64_t nm = ld64(n), om = ld64(o), lowest = 1ull << 63, all = UINT64_MAX;
        unsigned ne = ld16(n + 8), oe = ld16(o + 8);
        bool near = ne == oe && nm - om + 1 <= 2;
        /* neighbours on both sides of a power of two */
        bool step = (ne == oe + 1 && nm == lowest && om == all) ||
                    (oe == ne + 1 && om == lowest && nm == all);
        if (near || step)
            memcpy(o, n, 10);
    }
}

static char text[256];

static const char *number_differs(const char *what, unsigned k, uint64_t native, uint64_t ours)
{
    snprintf(text, sizeof(text), "%s%.0u is %llx natively, %llx by us", what, k,
             (unsigned long long)native, (unsigned long long)ours);
    return text;
}

static const char *bytes_differ(const char *what, unsigned k, const uint8_t *native,
                                const uint8_t *ours, unsigned n)
{
    int at = snprintf(text, sizeof(text), "%s%u is ", what, k);
    for (unsigned b = n; b-- > 0;)
        at += snprintf(text + at, sizeof(text) - (size_t)at, "%02x", native[b]);
    at += snprintf(text + at, sizeof(text) - (size_t)at, " natively, ");
    for (unsigned b = n; b-- > 0;)
        at += snprintf(text + at, sizeof(text) - (size_t)at, "%02x", ours[b]);
    snprintf(text + at, sizeof(text) - (size_t)at, " by us");
    return text;
}

const char *oracle_difference(const struct oracle_state *a, const struct oracle_state *b)
{
    if (a->exception != b->exception)
        return number_differs("exception", 0, a->exception, b->exception);
#define SAME(field)                                                                                \
    if (a->field != b->field)                                                                      \
    return number_differs(#field, 0, a->field, b->field)
    SAME(error);
    SAME(cr2);
    SAME(rip);
    for (unsigned k = 0; k < 16; k++)
        if (a->r[k] != b->r[k])
            return number_differs("r", k ? k : 100, a->r[k], b->r[k]);
    SAME(flags);
    for (unsigned k = 0; k < 6; k++)
        if (a->seg[k] != b->seg[k])
            return number_differs("seg", k ? k : 100, a->seg[k], b->seg[k]);
    SAME(fs_base);
    SAME(gs_base);
    SAME(cw);
    SAME(sw);
    SAME(tags);
    for (unsigned k = 0; k < 8; k++)
        if (memcmp(a->st[k], b->st[k], 10) != 0)
            return bytes_differ("st", k, a->st[k], b->st[k], 10);
    SAME(fop);
    SAME(fip);
    SAME(fdp);
    SAME(mxcsr);
    SAME(pkru);
#undef SAME
    for (unsigned k = 0; k < 16; k++)
        if (memcmp(a->ymm[k], b->ymm[k], 32) != 0)
            return bytes_differ("ymm", k, a->ymm[k], b->ymm[k], 32);
    for (unsigned k = 0; k < ORACLE_DATA_SIZE; k++)
        if (a->data[k] != b->data[k])
            return bytes_differ("memory at ", ORACLE_DATA + k, a->data + k, b->data + k,
                                MIN(8u, ORACLE_DATA_SIZE - k));
    return NULL;
}

static unsigned put_le(uint8_t *p, uint64_t v, unsigned n)
{
    for (unsigned k = 0; k < n; k++)
        p[k] = (uint8_t)(v >> 8 * k);
    return n;
}

uint16_t oracle_digest(const struct oracle_case *c, const struct oracle_state *s)
{
    uint8_t buf[1024];
    unsigned n = 0;
    uint64_t h;

    for (unsigned k = 0; k < 16; k++)
        n += put_le(buf + n, s->r[k], 8);
    n += put_le(buf + n, s->rip, 8);
    n += put_le(buf + n, s->flags, 8);
    n += put_le(buf + n, s->fs_base, 8);
    n += put_le(buf + n, s->gs_base, 8);
    for (unsigned k = 0; k < 6; k++)
        n += put_le(buf + n, s->seg[k], 2);
    n += put_le(buf + n, s->cw, 2);
    n += put_le(buf + n, s->sw, 2);
    n += put_le(buf + n, s->tags, 1);
    n += put_le(buf + n, s->fop, 2);
    n += put_le(buf + n, s->fip, 8);
    n += put_le(buf + n, s->fdp, 8);
    n += put_le(buf + n, s->mxcsr, 4);
    n += put_le(buf + n, s->pkru, 4);
    n += put_le(buf + n, s->exception, 1);
    n += put_le(buf + n, s->error, 4);
    n += put_le(buf + n, s->cr2, 8);
    memcpy(buf + n, s->st, sizeof(s->st));
    n += sizeof(s->st);
    h = hash64(buf, n, 0);
    h = hash64(s->ymm, sizeof(s->ymm), h);
    for (unsigned k = 0; k < ORACLE_DATA_SIZE; k += 64) /* what was written */
        if (memcmp(s->data + k, c->in.data + k, 64) != 0)
            h = hash64(s->data + k, 64, h + k);
    h = (h ^ h >> 16 ^ h >> 32 ^ h >> 48) & 0xffff;
    return (uint16_t)(h ? h : 1);
}

void oracle_describe(const struct oracle_case *c, char *buf, size_t size)
{
    const struct insn_row *row = &insn_rows[c->row];
    int at = snprintf(buf, size, "row %u %s %s case %u, %u-bit:", c->row, row->name, row->operands,
                      c->number, c->code32 ? 32 : 64);
    for (unsigned k = 0; k < c->len; k++)
        at += snprintf(buf + at, size - (size_t)at, " %02x", c->code[k]);
}
