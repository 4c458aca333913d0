/* Guest memory operands: the inline TLB check of mmu/mmu.h, in ten instructions with the access, and
 * addresses. See x64_tr.h.
 */
#include "cpu/jit/x64_tr.h"

#define ENTRY_SHIFT 5
_Static_assert(sizeof(struct tlb_entry) == 1u << ENTRY_SHIFT, "the index is scaled by a shift");
_Static_assert(offsetof(struct tlb, e) == 0, "cpu->tlb points to entries");

void tr_rip(struct tr *t, unsigned dst, uint32_t offset)
{
    if (t->seg) {
        x64_mov_imm(&t->x, dst, t->seg_page + offset);
        return;
    }
    x64_load(&t->x, 8, dst, CPU_FIELD(tr.rip_page));
    if (offset)
        x64_lea(&t->x, t->code64 ? 8 : 4, dst, x64_m(dst, (int32_t)offset));
}

static bool in_memory(unsigned reg)
{
    return reg < 16 && x64_host_of[reg] == X64_NONE;
}

static bool can_address(const struct tr *t, const struct insn *i)
{
    int64_t disp = i->disp;

    if (i->ea_shift > 32)
        return false;
    if (i->base == REG_BRIP) { /* REG_2P30: a displacement that wrapped */
        disp += t->page_off;
        return disp == (int32_t)disp && i->index != REG_2P30;
    }
    return disp == (int32_t)disp && i->index < REG_BRIP;
}

/* Base and index in memory: a guest's register gives its host register for a moment. */
static bool address_of_two(struct tr *t, unsigned dst, const struct insn *i, unsigned size)
{
    unsigned lent = RSI;

    x64_store(&t->x, 8, CPU_FIELD(tr.lent), lent);
    x64_load(&t->x, 8, lent, tr_reg(t, i->base));
    x64_load(&t->x, 8, dst, tr_reg(t, i->index));
    x64_lea(&t->x, size, dst, x64_mi(lent, dst, i->scale, i->disp));
    x64_load(&t->x, 8, lent, CPU_FIELD(tr.lent));
    return true;
}

bool tr_address(struct tr *t, unsigned dst, const struct insn *i)
{
    unsigned size = i->ea_shift == 0 ? 8 : 4;
    unsigned base = i->base, index = i->index;

    if (i->ea_shift > 32) { /* 16 bits */
        struct insn wide = *i;
        wide.ea_shift = 32;
        if (!tr_address(t, dst, &wide))
            return false;
        x64_movzx(&t->x, 4, dst, x64_r(dst), 2);
        return true;
    }
    if (!can_address(t, i))
        return false;
    if (base == REG_BRIP) {
        x64_load(&t->x, 8, dst, CPU_FIELD(tr.rip_page));
        x64_lea(&t->x, size, dst, x64_m(dst, i->disp + (int32_t)t->page_off));
        return true;
    }
    struct x64_rm m = {true, X64_NONE, X64_NONE, i->scale, i->disp};
    if (in_memory(base) && in_memory(index) && base != index)
        return address_of_two(t, dst, i, size);
    if (in_memory(base) || in_memory(index))
        x64_load(&t->x, 8, dst, tr_reg(t, in_memory(base) ? base : index));
    if (base < 16)
        m.base = in_memory(base) ? dst : x64_host_of[base];
    if (index < 16)
        m.index = in_memory(index) ? dst : x64_host_of[index];
    if (m.index == X64_NONE && m.base != X64_NONE && m.disp == 0)
        x64_load(&t->x, size, dst, x64_r(m.base));
    else if (m.base == X64_NONE && m.index == X64_NONE)
        x64_mov_imm(&t->x, dst, size == 8 ? (uint64_t)(int64_t)m.disp : (uint32_t)m.disp);
    else
        x64_lea(&t->x, size, dst, m);
    return true;
}

enum x64_cc tr_not_canonical(struct tr *t)
{
    x64_load(&t->x, 8, TMP1, x64_r(TMP0));
    x64_shift_imm(&t->x, X_SAR, 8, x64_r(TMP1), 47); /* 0 or -1 */
    x64_alu_imm(&t->x, X_ADD, 8, x64_r(TMP1), 1);
    x64_alu_imm(&t->x, X_CMP, 8, x64_r(TMP1), 1);
    return CC_NBE;
}

void tr_tlb_entry(struct tr *t)
{
    x64_shift_imm(&t->x, X_SHR, 4, x64_r(TMP1), PAGE_SHIFT - ENTRY_SHIFT);
    x64_alu_imm(&t->x, X_AND, 4, x64_r(TMP1), (TLB_SIZE - 1) << ENTRY_SHIFT);
    x64_alu_to_reg(&t->x, X_ADD, 8, TMP1, CPU_FIELD(tlb));
}

/* TMP1 holds the address of access a: TMP0 = addend of its TLB entry, or a miss. */
static void check(struct tr *t, const struct access *a, unsigned size, bool write, uint8_t *retry)
{
    struct x64 *x = &t->x;
    int32_t tag = write ? (int32_t)offsetof(struct tlb_entry, write)
                        : (int32_t)offsetof(struct tlb_entry, read);

    if (tr_opens_span(t, a)) {
        const struct span *s = &t->span[a->span];
        if (s->lo != a->offset)
            x64_lea(x, t->code64 ? 8 : 4, TMP1, x64_m(TMP1, (int32_t)(s->lo - a->offset)));
        size = (unsigned)(s->hi - s->lo);
    }
    x64_lea(x, 8, TMP0, x64_m(TMP1, (int32_t)size - 1));
    tr_tlb_entry(t);
    x64_alu_imm(x, X_AND, 8, x64_r(TMP0), -(int32_t)PAGE_SIZE);
    x64_alu_to_reg(x, X_CMP, 8, TMP0, x64_m(TMP1, tag));
    tr_tlb_miss(t, CC_NZ, write, retry);
    x64_load(x, 8, TMP0, x64_m(TMP1, offsetof(struct tlb_entry, addend)));
}

static struct x64_rm span_slot(const struct tr *t, const struct access *a)
{
    return x64_m(RBP, CPU_OFF(tr.span) + 8 * t->span[a->span].slot);
}

static bool seg_is_flat(const struct tr *t, unsigned seg, bool write)
{
    if (t->code64)
        return seg != SEG_FS && seg != SEG_GS;
    return seg <= SEG_DS && !(write && seg == SEG_CS);
}

/* TMP1 = linear address of the memory operand. */
static void linear_address(struct tr *t, bool flat)
{
    tr_address(t, TMP1, t->i);
    if (!flat)
        x64_alu_to_reg(&t->x, X_ADD, 8, TMP1, x64_m(RBP, CPU_OFF(seg_base) + 8 * t->i->seg));
}

static void miss_if_not_aligned(struct tr *t, unsigned size)
{
    x64_test_imm(&t->x, 1, x64_r(TMP1), (int32_t)size - 1);
    tr_miss(t, CC_NZ);
}

/* TMP0 = what is to be added to the operand's offset. */
static void check_operand(struct tr *t, const struct access *a, unsigned size, bool write,
                          bool aligned, bool flat)
{
    struct x64 *x = &t->x;
    uint8_t *retry;

    tr_flags_clobber(t);
    retry = x->p;
    linear_address(t, flat);
    if (aligned)
        miss_if_not_aligned(t, size);
    check(t, a, size, write, retry);
    if (!flat)
        x64_alu_to_reg(x, X_ADD, 8, TMP0, x64_m(RBP, CPU_OFF(seg_base) + 8 * t->i->seg));
    if (tr_opens_span(t, a))
        x64_store(x, 8, span_slot(t, a), TMP0);
}

bool tr_mem_check(struct tr *t, unsigned size, bool write, bool aligned, struct x64_rm *m)
{
    const struct insn *i = t->i;
    bool flat = seg_is_flat(t, i->seg, write);
    bool plain = t->code64 && i->ea_shift == 0 && i->index == REG_ZERO && i->base < 16 &&
                 !in_memory(i->base);
    const struct access *a;

    if (t->seg || (!flat && !t->code64))
        return tr_seg_mem_check(t, size, write, aligned, m);
    if (!can_address(t, i))
        return false;
    a = tr_access(t, REG_ZERO, 0, size, write, flat);
    if (!tr_in_span(t, a)) {
        check_operand(t, a, size, write, aligned, flat);
    } else {
        if (aligned) {
            tr_flags_clobber(t);
            linear_address(t, flat);
            miss_if_not_aligned(t, size);
        }
        x64_load(&t->x, 8, TMP0, span_slot(t, a));
    }
    if (plain) {
        *m = x64_mi(x64_host_of[i->base], TMP0, 0, i->disp);
        return true;
    }
    tr_address(t, TMP1, i);
    *m = x64_mi(TMP0, TMP1, 0, 0);
    return true;
}

bool tr_stack_check(struct tr *t, unsigned base, int32_t disp, unsigned size, bool write,
                    struct x64_rm *m)
{
    unsigned host = x64_host_of[base];
    const struct access *a;

    if (t->seg) {
        tr_seg_stack_check(t, base, disp, size, write, m);
        return true;
    }
    a = tr_access(t, base, disp, size, write, true);
    if (!tr_in_span(t, a)) {
        tr_flags_clobber(t);
        uint8_t *retry = t->x.p;
        x64_lea(&t->x, t->code64 ? 8 : 4, TMP1, x64_m(host, disp));
        check(t, a, size, write, retry);
        if (tr_opens_span(t, a))
            x64_store(&t->x, 8, span_slot(t, a), TMP0);
    } else {
        x64_load(&t->x, 8, TMP0, span_slot(t, a));
    }
    if (t->code64) {
        *m = x64_mi(host, TMP0, 0, disp);
    } else {
        x64_lea(&t->x, 4, TMP1, x64_m(host, disp));
        *m = x64_mi(TMP0, TMP1, 0, 0);
    }
    return true;
}

void tr_mem_free_tmp1(struct tr *t, struct x64_rm *m)
{
    if (m->index != TMP1)
        return;
    x64_lea(&t->x, 8, TMP0, x64_mi(TMP0, TMP1, 0, 0)); /* flags may be in use */
    *m = x64_m(TMP0, m->disp);
}

void tr_write_reg(struct tr *t, unsigned n, unsigned size, unsigned src)
{
    struct x64_rm r = tr_reg(t, n);

    if (r.is_mem)
        x64_store(&t->x, size == 4 ? 8 : size, r, src);
    else if (size >= 4)
        x64_load(&t->x, size, r.base, x64_r(src));
    else
        x64_store(&t->x, size, r, src);
}
