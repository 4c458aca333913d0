/* Tasks: the TSS, switches between tasks, and what else is kept in a TSS (inner stacks, the I/O
 * permission map). SDM vol. 3, chapter 7.
 *
 * A switch reads and checks all it can before it changes anything. Once the new task's registers
 * have been loaded, faults belong to the new task (7.3): cpu->rip is then its EIP.
 */
#include "cpu/sys.h"

enum { TSS16_SIZE = 44, TSS32_SIZE = 104 };

static bool tss_is_32(uint32_t ar)
{
    return ar & 8;
}

bool task_inner_stack(struct cpu *cpu, unsigned cpl, uint32_t ext, uint16_t *ss, uint64_t *sp)
{
    const struct segreg *tss = &cpu->seg[SEG_TSS];
    bool wide = tss_is_32(tss->ar);
    unsigned size = wide ? 4 : 2, at = wide ? cpl * 8 + 4 : cpl * 4 + 2;
    uint64_t sel;

    if (at + size + 1 > tss->limit || (tss->ar & AR_UNUSABLE))
        return desc_fault(cpu, EXC_TS, tss->sel, ext);
    if (!sys_read(cpu, tss->base + at, size, sp) || !sys_read(cpu, tss->base + at + size, 2, &sel))
        return false;
    *ss = (uint16_t)sel;
    return true;
}

bool task_stack64(struct cpu *cpu, unsigned cpl, unsigned ist, uint32_t ext, uint64_t *sp)
{
    const struct segreg *tss = &cpu->seg[SEG_TSS];
    unsigned at = ist ? 0x24 + (ist - 1) * 8 : 4 + cpl * 8;

    if (at + 7 > tss->limit || (tss->ar & AR_UNUSABLE))
        return desc_fault(cpu, EXC_TS, tss->sel, ext);
    return sys_read(cpu, tss->base + at, 8, sp);
}

bool task_io_allowed(struct cpu *cpu, uint16_t port, unsigned size)
{
    const struct segreg *tss = &cpu->seg[SEG_TSS];
    uint64_t base, map;

    if ((tss->ar & AR_UNUSABLE) || !tss_is_32(tss->ar) || tss->limit < 103)
        return cpu_gp0(cpu);
    if (!sys_read(cpu, tss->base + 102, 2, &base))
        return false;
    /* two bytes are always read (vol. 1, 19.5.2) */
    if (base + port / 8 + 1 > tss->limit)
        return cpu_gp0(cpu);
    if (!sys_read(cpu, tss->base + base + port / 8, 2, &map))
        return false;
    if (map >> (port & 7) & ((1u << size) - 1))
        return cpu_gp0(cpu);
    return true;
}

/* A TSS in memory, unpacked. */
struct task_state {
    uint32_t cr3, eip, eflags, r[8];
    uint16_t seg[6]; /* in the order of enum seg_id: ES CS SS DS FS GS */
    uint16_t ldt, trap;
};

static bool tss_read(struct cpu *cpu, const struct descriptor *d, struct task_state *t)
{
    bool wide = tss_is_32(d->ar);
    unsigned size = wide ? 4 : 2, at = wide ? 0x1c : 0x0e, k;
    uint64_t v;

    memset(t, 0, sizeof(*t));
    if (wide) {
        if (!sys_read(cpu, d->base + at, 4, &v))
            return false;
        t->cr3 = (uint32_t)v;
        at += 4;
    }
    for (k = 0; k < 10; k++, at += size) {
        if (!sys_read(cpu, d->base + at, size, &v))
            return false;
        if (k == 0)
            t->eip = (uint32_t)v;
        else if (k == 1)
            t->eflags = (uint32_t)v;
        else
            t->r[k - 2] = wide ? (uint32_t)v : (uint32_t)v | 0xffff0000;
    }
    for (k = 0; k < (wide ? 6u : 4u); k++, at += size) {
        if (!sys_read(cpu, d->base + at, 2, &v))
            return false;
        t->seg[k] = (uint16_t)v;
    }
    if (!sys_read(cpu, d->base + at, 2, &v))
        return false;
    t->ldt = (uint16_t)v;
    if (wide) {
        if (!sys_read(cpu, d->base + at + 4, 2, &v))
            return false;
        t->trap = v & 1;
    }
    return true;
}

/* What a switch stores of the old task: EIP, EFLAGS, general and segment registers. */
static bool tss_save(struct cpu *cpu, uint64_t flags)
{
    const struct segreg *tss = &cpu->seg[SEG_TSS];
    bool wide = tss_is_32(tss->ar);
    unsigned size = wide ? 4 : 2, at = wide ? 0x20 : 0x0e, k;

    /* all of it or nothing: the pages are tried first */
    if (!mmu_probe_write(&cpu->mmu, tss->base + at, size * 10 + (wide ? 24 : 8),
                         cpu_index_implicit(cpu)))
        return cpu_raise_mmu(cpu, SEG_NONE);
    for (k = 0; k < 10; k++, at += size) {
        uint64_t v = k == 0 ? cpu->rip : k == 1 ? flags : cpu->r[k - 2];

        if (!sys_write(cpu, tss->base + at, size, v))
            return false;
    }
    for (k = 0; k < (wide ? 6u : 4u); k++, at += size) {
        if (!sys_write(cpu, tss->base + at, 2, cpu->seg[k].sel))
            return false;
    }
    return true;
}

static bool load_ldt(struct cpu *cpu, uint16_t sel)
{
    struct descriptor d;

    if (sel_null(sel))
        return true;
    if (sel & 4)
        return desc_fault(cpu, EXC_TS, sel, 0);
    if (!desc_get(cpu, sel, &d, EXC_TS, 0))
        return false;
    if ((d.ar & (AR_S | AR_TYPE)) != SYS_LDT || !(d.ar & AR_P))
        return desc_fault(cpu, EXC_TS, sel, 0);
    seg_set(cpu, SEG_LDT, sel, &d);
    return true;
}

static bool load_cs(struct cpu *cpu, uint16_t sel)
{
    struct descriptor d;

    if (sel_null(sel))
        return desc_fault(cpu, EXC_TS, sel, 0);
    if (!desc_get(cpu, sel, &d, EXC_TS, 0))
        return false;
    if (!ar_is_code(d.ar))
        return desc_fault(cpu, EXC_TS, sel, 0);
    if (ar_is_conforming(d.ar) ? ar_dpl(d.ar) > (sel & 3u) : ar_dpl(d.ar) != (sel & 3u))
        return desc_fault(cpu, EXC_TS, sel, 0);
    if (!(d.ar & AR_P))
        return desc_fault(cpu, EXC_NP, sel, 0);
    if (!desc_touch(cpu, &d))
        return false;
    seg_set(cpu, SEG_CS, sel, &d);
    return true;
}

static bool load_data(struct cpu *cpu, unsigned seg, uint16_t sel)
{
    struct descriptor d;

    if (sel_null(sel))
        return true;
    if (!desc_get(cpu, sel, &d, EXC_TS, 0))
        return false;
    if (!(d.ar & AR_S) || (d.ar & (AR_CODE | AR_READ)) == AR_CODE)
        return desc_fault(cpu, EXC_TS, sel, 0);
    if (!ar_is_conforming(d.ar) && ((sel & 3u) > ar_dpl(d.ar) || cpu->cpl > ar_dpl(d.ar)))
        return desc_fault(cpu, EXC_TS, sel, 0);
    if (!(d.ar & AR_P))
        return desc_fault(cpu, EXC_NP, sel, 0);
    if (!desc_touch(cpu, &d))
        return false;
    seg_set(cpu, seg, sel, &d);
    return true;
}

/* Segment registers of the new task, in the order of the SDM's checks. All selectors are visible
 * from the start; what fails stays unusable. */
static bool load_segments(struct cpu *cpu, const struct task_state *t)
{
    static const uint8_t data_segs[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    struct descriptor d;
    unsigned k;

    for (k = SEG_ES; k <= SEG_GS; k++)
        seg_set_null(cpu, k, t->seg[k]);
    seg_set_null(cpu, SEG_LDT, t->ldt);
    if (cpu->eflags & FL_VM) {
        cpu->cpl = 3;
        for (k = SEG_ES; k <= SEG_GS; k++)
            seg_set_v86(cpu, k, t->seg[k]);
        return load_ldt(cpu, t->ldt);
    }
    cpu->cpl = t->seg[SEG_CS] & 3;
    if (!load_ldt(cpu, t->ldt) || !load_cs(cpu, t->seg[SEG_CS]))
        return false;
    if (!seg_check_ss(cpu, t->seg[SEG_SS], cpu->cpl, &d, EXC_TS, 0) || !desc_touch(cpu, &d))
        return false;
    seg_set(cpu, SEG_SS, t->seg[SEG_SS], &d);
    for (k = 0; k < ARRAY_LEN(data_segs); k++) {
        if (!load_data(cpu, data_segs[k], t->seg[data_segs[k]]))
            return false;
    }
    return true;
}

/* Everything from the point of no return on. */
static bool enter_task(struct cpu *cpu, uint16_t sel, struct descriptor *d,
                       const struct task_state *t, bool has_error, uint32_t error)
{
    bool wide = tss_is_32(d->ar), ok, pdptes_ok = true;
    uint64_t flags = t->eflags;
    unsigned k;

    seg_set(cpu, SEG_TSS, sel, d);
    cpu->cr0 |= CR0_TS;
    if (wide && (cpu->cr0 & CR0_PG) && t->cr3 != cpu->cr3) {
        cpu->cr3 = t->cr3;
        pdptes_ok = cpu_load_pdptes(cpu, cpu->cr3);
        mmu_load_cr3(&cpu->mmu, cpu->cr3, false);
    }
    cpu->rip = t->eip;
    for (k = 0; k < 8; k++)
        cpu->r[k] = t->r[k];
    cpu_set_flags(cpu, (flags & cpu_flags_exist(cpu)) | FL_1);
    cpu->dr[7] &= ~0x155ull; /* local breakpoints are the old task's (vol. 3, 17.2.4) */

    ok = load_segments(cpu, t);
    cpu_dr_changed(cpu);
    cpu_update_mode(cpu);
    if (!pdptes_ok)
        return cpu_gp0(cpu);
    if (!ok)
        return false;
    if (t->trap)
        cpu->pending_dr6 |= DR6_BT;
    if (cpu->rip > cpu->seg[SEG_CS].limit)
        return cpu_gp0(cpu);
    if (has_error) {
        struct stack s;
        uint64_t v = error;

        stack_current(cpu, &s);
        if (!stack_push_n(cpu, &s, wide ? 4 : 2, &v, 1))
            return false;
        cpu->r[REG_SP] = stack_new_sp(cpu, &s);
    }
    return true;
}

bool task_switch(struct cpu *cpu, uint16_t sel, struct descriptor *d, enum task_reason why,
                 bool has_error, uint32_t error, uint32_t ext, bool *committed)
{
    struct segreg *old = &cpu->seg[SEG_TSS];
    bool wide = tss_is_32(d->ar);
    bool nests = why == TASK_CALL || why == TASK_INT;
    uint64_t flags = cpu_flags(cpu);
    struct descriptor old_desc;
    struct task_state t;

    *committed = false;
    if (d->limit < (wide ? TSS32_SIZE : TSS16_SIZE) - 1u)
        return desc_fault(cpu, EXC_TS, sel, ext);
    LOG(cpu->env.log, LOG_INT, "cpu%u: task switch %04x -> %04x", cpu->index, old->sel, sel);
    if (!tss_read(cpu, d, &t))
        return false;
    if (nests && !mmu_probe_write(&cpu->mmu, d->base, 2, cpu_index_implicit(cpu)))
        return cpu_raise_mmu(cpu, SEG_NONE);
    if (why == TASK_IRET)
        flags &= ~(uint64_t)FL_NT;
    if ((old->ar & AR_UNUSABLE) || desc_fetch(cpu, old->sel, &old_desc) != DESC_OK)
        return desc_fault(cpu, EXC_TS, old->sel, ext);
    if (!tss_save(cpu, flags))
        return false;
    if (!nests && !desc_set_type(cpu, &old_desc, old_desc.ar & AR_TYPE & ~2u))
        return false;
    if (nests) {
        if (!sys_write(cpu, d->base, 2, old->sel))
            return false;
        t.eflags |= FL_NT;
    }
    if (why != TASK_IRET && !desc_set_type(cpu, d, (d->ar & AR_TYPE) | 2))
        return false;
    *committed = true;
    return enter_task(cpu, sel, d, &t, has_error, error);
}
