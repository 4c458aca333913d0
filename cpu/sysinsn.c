/* System instructions that are neither far transfers, control registers nor MSRs: descriptor
 * tables and their inspection, fast system calls, flags, waiting, and TLB control.
 */
#include "cpu/sys.h"
#include "cpu/xsave.h"

/* SGDT and the like below CPL 0 with CR4.UMIP. */
static bool umip_ok(struct cpu *cpu)
{
    return !((cpu->cr4 & CR4_UMIP) && cpu->cpl) || cpu_gp0(cpu);
}

/* ---- GDTR, IDTR, LDTR, TR ------------------------------------------------------------------- */

static bool load_desctab(struct cpu *cpu, const struct insn *i, struct desctab *t)
{
    uint64_t ea = insn_ea(cpu, i), limit, base;

    if (!mem_read(cpu, i->seg, ea, 2, &limit) ||
        !mem_read(cpu, i->seg, (ea + 2) << i->ea_shift >> i->ea_shift, cpu_code64(cpu) ? 8 : 4,
                  &base))
        return false;
    if (cpu_code64(cpu)) {
        if (!lin_canonical(base))
            return cpu_gp0(cpu);
    } else if (i->size == 2) {
        base &= 0xffffff;
    }
    t->limit = (uint16_t)limit;
    t->base = base;
    return true;
}

static bool store_desctab(struct cpu *cpu, const struct insn *i, const struct desctab *t)
{
    uint8_t bytes[10];

    if (!umip_ok(cpu))
        return false;
    st16(bytes, t->limit);
    st64(bytes + 2, t->base);
    return mem_write_bytes(cpu, i->seg, insn_ea(cpu, i), bytes, cpu_code64(cpu) ? 10 : 6);
}

bool op_lgdt(struct cpu *cpu, const struct insn *i)
{
    return load_desctab(cpu, i, &cpu->gdt);
}

bool op_lidt(struct cpu *cpu, const struct insn *i)
{
    return load_desctab(cpu, i, &cpu->idt);
}

bool op_sgdt(struct cpu *cpu, const struct insn *i)
{
    return store_desctab(cpu, i, &cpu->gdt);
}

bool op_sidt(struct cpu *cpu, const struct insn *i)
{
    return store_desctab(cpu, i, &cpu->idt);
}

/* Reads and checks the system descriptor for LLDT and LTR; type2 is a second type that will do. */
static bool system_desc(struct cpu *cpu, uint16_t sel, struct descriptor *d, unsigned type,
                        unsigned type2)
{
    unsigned got;

    if (sel & 4)
        return desc_fault(cpu, EXC_GP, sel, 0);
    if (!desc_get(cpu, sel, d, EXC_GP, 0))
        return false;
    got = d->ar & (AR_S | AR_TYPE);
    if (got != type && got != type2)
        return desc_fault(cpu, EXC_GP, sel, 0);
    if (!(d->ar & AR_P))
        return desc_fault(cpu, EXC_NP, sel, 0);
    if (cpu_long(cpu)) {
        if (!desc_get_upper(cpu, sel, d, EXC_GP, 0))
            return false;
        if (!lin_canonical(d->base) || (d->raw_hi >> 40 & 0x1f))
            return desc_fault(cpu, EXC_GP, sel, 0);
    }
    return true;
}

bool op_lldt(struct cpu *cpu, const struct insn *i)
{
    struct descriptor d;
    uint64_t v;

    if (!insn_read_E(cpu, i, 2, &v))
        return false;
    if (sel_null((uint16_t)v)) {
        seg_set_null(cpu, SEG_LDT, (uint16_t)v);
        return true;
    }
    if (!system_desc(cpu, (uint16_t)v, &d, SYS_LDT, SYS_LDT))
        return false;
    seg_set(cpu, SEG_LDT, (uint16_t)v, &d);
    return true;
}

bool op_ltr(struct cpu *cpu, const struct insn *i)
{
    struct descriptor d;
    uint64_t v;

    if (!insn_read_E(cpu, i, 2, &v))
        return false;
    if (sel_null((uint16_t)v))
        return cpu_gp0(cpu);
    if (!system_desc(cpu, (uint16_t)v, &d, SYS_TSS32, cpu_long(cpu) ? SYS_TSS32 : SYS_TSS16) ||
        !desc_set_type(cpu, &d, (d.ar & AR_TYPE) | 2))
        return false;
    seg_set(cpu, SEG_TSS, (uint16_t)v, &d);
    return true;
}

bool op_sldt(struct cpu *cpu, const struct insn *i)
{
    return umip_ok(cpu) &&
           insn_write_E(cpu, i, insn_is_mem(i) ? 2 : i->size, cpu->seg[SEG_LDT].sel);
}

bool op_str(struct cpu *cpu, const struct insn *i)
{
    return umip_ok(cpu) &&
           insn_write_E(cpu, i, insn_is_mem(i) ? 2 : i->size, cpu->seg[SEG_TSS].sel);
}

/* ---- looking at descriptors ----------------------------------------------------------------- */

/* *ok: the selector names a descriptor this privilege may see. False: #PF on the table. */
static bool visible_desc(struct cpu *cpu, uint16_t sel, struct descriptor *d, bool *ok)
{
    *ok = false;
    if (sel_null(sel))
        return true;
    switch (desc_fetch(cpu, sel, d)) {
    case DESC_FAULT:
        return false;
    case DESC_BEYOND:
        return true;
    default:
        *ok = ar_is_conforming(d->ar) ||
              (ar_dpl(d->ar) >= cpu->cpl && ar_dpl(d->ar) >= (sel & 3u));
        return true;
    }
}

static bool type_in(const struct cpu *cpu, uint32_t ar, uint32_t legacy, uint32_t in_long)
{
    return (ar & AR_S) || ((cpu_long(cpu) ? in_long : legacy) >> (ar & AR_TYPE) & 1);
}

bool op_lar(struct cpu *cpu, const struct insn *i)
{
    struct descriptor d;
    uint64_t sel;
    bool ok;

    if (!insn_read_E(cpu, i, 2, &sel) || !visible_desc(cpu, (uint16_t)sel, &d, &ok))
        return false;
    ok = ok && type_in(cpu, d.ar, 0x1a3e, 0x1a04);
    if (ok)
        reg_set(cpu, i->reg, d.raw >> 32 & 0xffff00, i->size); /* limit 19-16 too */
    cpu_put_arith(cpu, ok ? FL_ZF : 0, FL_ZF);
    return true;
}

bool op_lsl(struct cpu *cpu, const struct insn *i)
{
    struct descriptor d;
    uint64_t sel;
    bool ok;

    if (!insn_read_E(cpu, i, 2, &sel) || !visible_desc(cpu, (uint16_t)sel, &d, &ok))
        return false;
    ok = ok && type_in(cpu, d.ar, 0x0a0e, 0x0a04);
    if (ok)
        reg_set(cpu, i->reg, d.limit, i->size);
    cpu_put_arith(cpu, ok ? FL_ZF : 0, FL_ZF);
    return true;
}

bool op_verr(struct cpu *cpu, const struct insn *i)
{
    struct descriptor d;
    uint64_t sel;
    bool ok;

    if (!insn_read_E(cpu, i, 2, &sel) || !visible_desc(cpu, (uint16_t)sel, &d, &ok))
        return false;
    ok = ok && (d.ar & AR_S) && (d.ar & (AR_CODE | AR_READ)) != AR_CODE;
    cpu_put_arith(cpu, ok ? FL_ZF : 0, FL_ZF);
    return true;
}

bool op_verw(struct cpu *cpu, const struct insn *i)
{
    struct descriptor d;
    uint64_t sel;
    bool ok;

    if (!insn_read_E(cpu, i, 2, &sel) || !visible_desc(cpu, (uint16_t)sel, &d, &ok))
        return false;
    ok = ok && ar_is_writable(d.ar);
    cpu_put_arith(cpu, ok ? FL_ZF : 0, FL_ZF);
    return true;
}

bool op_arpl(struct cpu *cpu, const struct insn *i)
{
    uint64_t dst, rpl = cpu->r[i->reg] & 3;
    bool lower;

    if (!insn_read_E(cpu, i, 2, &dst))
        return false;
    lower = (dst & 3) < rpl;
    if (lower && !insn_write_E(cpu, i, 2, (dst & 0xfffc) | rpl))
        return false;
    cpu_put_arith(cpu, lower ? FL_ZF : 0, FL_ZF);
    return true;
}

/* ---- fast system calls ---------------------------------------------------------------------- */

enum { FLAT_CODE64, FLAT_CODE32 };

/* The flat segments these instructions load without looking at a descriptor. */
static void load_flat(struct cpu *cpu, unsigned cs_sel, unsigned ss_sel, unsigned cpl, int kind)
{
    uint32_t ar = AR_P | AR_S | AR_ACCESSED | AR_G | cpl << AR_DPL_SHIFT;

    cpu->seg[SEG_CS] = (struct segreg){
        .limit = 0xffffffff,
        .ar = ar | AR_CODE | AR_READ | (kind == FLAT_CODE64 ? AR_L : AR_DB),
        .sel = (uint16_t)((cs_sel & 0xfffc) | cpl),
    };
    cpu->seg[SEG_SS] = (struct segreg){
        .limit = 0xffffffff,
        .ar = ar | AR_WRITE | AR_DB,
        .sel = (uint16_t)((ss_sel & 0xfffc) | cpl),
    };
    cpu->cpl = (uint8_t)cpl;
}

bool op_syscall(struct cpu *cpu, const struct insn *i)
{
    uint64_t flags;

    if (!cpu_code64(cpu) || !(cpu->efer & EFER_SCE))
        return cpu_ud(cpu);
    flags = cpu_flags(cpu) & ~(uint64_t)FL_RF;
    cpu->r[REG_CX] = cpu->rip;
    cpu->r[11] = flags;
    cpu_set_flags(cpu, flags & ~cpu->fmask);
    cpu->step_done = !(cpu->eflags & FL_TF);
    load_flat(cpu, cpu->star >> 32 & 0xfffc, (cpu->star >> 32 & 0xfffc) + 8, 0, FLAT_CODE64);
    cpu->rip = cpu->lstar;
    cpu_update_mode(cpu);
    return true;
}

bool op_sysret(struct cpu *cpu, const struct insn *i)
{
    unsigned sel = cpu->star >> 48 & 0xffff;

    if (!cpu_code64(cpu) || !(cpu->efer & EFER_SCE))
        return cpu_ud(cpu);
    if (cpu->cpl)
        return cpu_gp0(cpu);
    if (i->size == 8) {
        if (!lin_canonical(cpu->r[REG_CX]))
            return cpu_gp0(cpu);
        cpu->rip = cpu->r[REG_CX];
        load_flat(cpu, sel + 16, sel + 8, 3, FLAT_CODE64);
    } else {
        cpu->rip = (uint32_t)cpu->r[REG_CX];
        load_flat(cpu, sel, sel + 8, 3, FLAT_CODE32);
    }
    cpu_set_flags(cpu, (cpu->r[11] & cpu_flags_exist(cpu) & ~(uint64_t)(FL_RF | FL_VM)) | FL_1);
    /* Traps at once if TF is set now, as though SYSCALL itself had been stepped over. */
    cpu->step_done = true;
    if (cpu->eflags & FL_TF)
        cpu->pending_dr6 |= DR6_BS;
    cpu_update_mode(cpu);
    return true;
}

bool op_sysenter(struct cpu *cpu, const struct insn *i)
{
    bool wide = cpu_long(cpu);
    unsigned sel = cpu->sysenter_cs & 0xffff;

    if (!(cpu->cr0 & CR0_PE) || sel_null((uint16_t)sel))
        return cpu_gp0(cpu);
    cpu->eflags &= ~(uint64_t)(FL_VM | FL_IF | FL_RF);
    load_flat(cpu, sel, sel + 8, 0, wide ? FLAT_CODE64 : FLAT_CODE32);
    cpu->r[REG_SP] = wide ? cpu->sysenter_esp : (uint32_t)cpu->sysenter_esp;
    cpu->rip = wide ? cpu->sysenter_eip : (uint32_t)cpu->sysenter_eip;
    cpu_update_mode(cpu);
    return true;
}

bool op_sysexit(struct cpu *cpu, const struct insn *i)
{
    unsigned sel = cpu->sysenter_cs & 0xffff;

    if (!(cpu->cr0 & CR0_PE) || sel_null((uint16_t)sel) || cpu->cpl)
        return cpu_gp0(cpu);
    if (i->size == 8) {
        if (!lin_canonical(cpu->r[REG_CX]) || !lin_canonical(cpu->r[REG_DX]))
            return cpu_gp0(cpu);
        cpu->r[REG_SP] = cpu->r[REG_CX];
        cpu->rip = cpu->r[REG_DX];
        load_flat(cpu, sel + 32, sel + 40, 3, FLAT_CODE64);
    } else {
        cpu->r[REG_SP] = (uint32_t)cpu->r[REG_CX];
        cpu->rip = (uint32_t)cpu->r[REG_DX];
        load_flat(cpu, sel + 16, sel + 24, 3, FLAT_CODE32);
    }
    cpu_update_mode(cpu);
    return true;
}

bool op_swapgs(struct cpu *cpu, const struct insn *i)
{
    uint64_t base = cpu->seg[SEG_GS].base;

    cpu->seg[SEG_GS].base = cpu->seg_base[SEG_GS] = cpu->kernel_gs_base;
    cpu->kernel_gs_base = base;
    return true;
}

/* RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE by modrm.reg 0 to 3. */
bool op_fsgsbase(struct cpu *cpu, const struct insn *i)
{
    unsigned op = i->modrm >> 3 & 7, seg = op & 1 ? SEG_GS : SEG_FS;
    uint64_t v;

    if (!(cpu->cr4 & CR4_FSGSBASE))
        return cpu_ud(cpu);
    if (op < 2) {
        reg_set(cpu, i->rm, cpu->seg[seg].base, i->size == 8 ? 8 : 4);
        return true;
    }
    v = reg_get(cpu, i->rm, i->size == 8 ? 8 : 4);
    if (!lin_canonical(v))
        return cpu_gp0(cpu);
    cpu->seg[seg].base = cpu->seg_base[seg] = v;
    return true;
}

/* ---- flags ---------------------------------------------------------------------------------- */

enum if_right { IF_OWN, IF_VIRTUAL, IF_NONE };

/* Whether CLI and STI touch IF, VIF (VME, PVI) or fault. */
static enum if_right if_right(const struct cpu *cpu)
{
    if (!(cpu->cr0 & CR0_PE) || cpu->cpl <= (cpu->eflags & FL_IOPL) >> 12)
        return IF_OWN;
    if (cpu->eflags & FL_VM)
        return cpu->cr4 & CR4_VME ? IF_VIRTUAL : IF_NONE;
    return cpu->cpl == 3 && (cpu->cr4 & CR4_PVI) ? IF_VIRTUAL : IF_NONE;
}

bool op_cli(struct cpu *cpu, const struct insn *i)
{
    switch (if_right(cpu)) {
    case IF_OWN:
        cpu->eflags &= ~(uint64_t)FL_IF;
        return true;
    case IF_VIRTUAL:
        cpu->eflags &= ~(uint64_t)FL_VIF;
        return true;
    default:
        return cpu_gp0(cpu);
    }
}

bool op_sti(struct cpu *cpu, const struct insn *i)
{
    switch (if_right(cpu)) {
    case IF_OWN:
        if (!(cpu->eflags & FL_IF))
            cpu->shadow_intr = true;
        cpu->eflags |= FL_IF;
        return true;
    case IF_VIRTUAL:
        if (cpu->eflags & FL_VIP)
            return cpu_gp0(cpu);
        cpu->eflags |= FL_VIF;
        return true;
    default:
        return cpu_gp0(cpu);
    }
}

static bool v86_without_iopl(const struct cpu *cpu)
{
    return (cpu->eflags & FL_VM) && (cpu->eflags & FL_IOPL) != FL_IOPL;
}

bool op_pushf(struct cpu *cpu, const struct insn *i)
{
    uint64_t flags = cpu_flags(cpu) & ~(uint64_t)(FL_VM | FL_RF);
    struct stack s;

    if (v86_without_iopl(cpu)) {
        if (!(cpu->cr4 & CR4_VME) || i->size != 2)
            return cpu_gp0(cpu);
        flags = (flags & ~(uint64_t)FL_IF) | FL_IOPL | (flags & FL_VIF ? FL_IF : 0);
    }
    stack_current(cpu, &s);
    if (!stack_push_n(cpu, &s, i->size, &flags, 1))
        return false;
    cpu->r[REG_SP] = stack_new_sp(cpu, &s);
    return true;
}

bool op_popf(struct cpu *cpu, const struct insn *i)
{
    uint64_t flags, mask = FL_ARITH | FL_TF | FL_DF | FL_NT, old = cpu->eflags;
    bool virtual_if = false;
    struct stack s;

    if (v86_without_iopl(cpu)) {
        if (!(cpu->cr4 & CR4_VME) || i->size != 2)
            return cpu_gp0(cpu);
        virtual_if = true;
    }
    stack_current(cpu, &s);
    if (!stack_pop_n(cpu, &s, i->size, &flags, 1))
        return false;
    if (virtual_if) {
        if ((flags & FL_TF) || ((flags & FL_IF) && (cpu->eflags & FL_VIP)))
            return cpu_gp0(cpu);
        flags = (flags & ~(uint64_t)FL_VIF) | (flags & FL_IF ? FL_VIF : 0);
        mask |= FL_VIF;
    } else {
        if (i->size != 2)
            mask |= FL_AC | FL_ID;
        if (cpu->cpl == 0)
            mask |= FL_IOPL;
        if (cpu->cpl <= (cpu->eflags & FL_IOPL) >> 12)
            mask |= FL_IF;
    }
    cpu->r[REG_SP] = stack_new_sp(cpu, &s);
    cpu_change_flags(cpu, flags, mask);
    cpu->eflags &= ~(uint64_t)FL_RF;
    if ((cpu->eflags ^ old) & FL_AC)
        cpu_update_mode(cpu);
    return true;
}

/* CLAC and STAC, by modrm 0xca and 0xcb: the mode stays, as AC checks alignment at CPL 3 only. */
bool op_clac_stac(struct cpu *cpu, const struct insn *i)
{
    if (cpu->cpl)
        return cpu_ud(cpu);
    if (i->modrm & 1)
        cpu->eflags |= FL_AC;
    else
        cpu->eflags &= ~(uint64_t)FL_AC;
    cpu_set_cpl(cpu, 0);
    cpu->tlb = cpu->mmu.tlb->e[cpu->mmu_index];
    return true;
}

/* ---- waiting -------------------------------------------------------------------------------- */

bool op_hlt(struct cpu *cpu, const struct insn *i)
{
    cpu->activity = CPU_HALTED;
    cpu->mwait_masked = false;
    return true;
}

bool op_monitor(struct cpu *cpu, const struct insn *i)
{
    unsigned seg = i->prefix & PFX_SEG ? i->seg : (unsigned)SEG_DS;
    uint64_t ea = cpu->r[REG_AX] << i->ea_shift >> i->ea_shift, lin, v, paddr, page;
    bool writable, global;

    if (cpu->cpl || !(cpu->misc_enable & MISC_ENABLE_MWAIT))
        return cpu_ud(cpu);
    if ((uint32_t)cpu->r[REG_CX])
        return cpu_gp0(cpu);
    if (!mem_read(cpu, seg, ea, 1, &v) || !mem_linear(cpu, seg, ea, 1, false, &lin))
        return false;
    if (!mmu_walk(&cpu->mmu, lin, MMU_READ, (enum mmu_index)cpu->mmu_index, &paddr, &page,
                  &writable, &global))
        return cpu_raise_mmu(cpu, seg);
    cpu->monitor_addr = paddr & ~63ull;
    return true;
}

/* Stores of other processors are not watched, so with several of them MWAIT comes back at once, as
 * it may for any reason; alone, only an interrupt can end it. */
bool op_mwait(struct cpu *cpu, const struct insn *i)
{
    bool armed = cpu->monitor_addr != UINT64_MAX;

    if (cpu->cpl || !(cpu->misc_enable & MISC_ENABLE_MWAIT))
        return cpu_ud(cpu);
    if ((uint32_t)cpu->r[REG_CX] & ~1u)
        return cpu_gp0(cpu);
    cpu->monitor_addr = UINT64_MAX;
    if (armed && cpu->ncpus == 1) {
        cpu->activity = CPU_MWAIT;
        cpu->mwait_masked = cpu->r[REG_CX] & 1;
    }
    return true;
}

/* ---- TLB and caches ------------------------------------------------------------------------- */

bool op_invlpg(struct cpu *cpu, const struct insn *i)
{
    uint64_t lin = cpu->seg_base[i->seg] + insn_ea(cpu, i);

    if (!cpu_code64(cpu))
        lin = (uint32_t)lin;
    if (lin_canonical(lin))
        mmu_invlpg(&cpu->mmu, lin);
    return true;
}

bool op_invpcid(struct cpu *cpu, const struct insn *i)
{
    uint64_t type = reg_get(cpu, i->reg, cpu_code64(cpu) ? 8 : 4), pcid, lin;
    uint8_t desc[16];

    if (cpu->cpl)
        return cpu_gp0(cpu);
    if (!mem_read_bytes(cpu, i->seg, insn_ea(cpu, i), desc, sizeof(desc)))
        return false;
    pcid = ld64(desc);
    lin = ld64(desc + 8);
    if (type > 3 || pcid >> 12)
        return cpu_gp0(cpu);
    if (type <= 1 && pcid && !(cpu->cr4 & CR4_PCIDE))
        return cpu_gp0(cpu);
    if (type == 0 && !lin_canonical(lin))
        return cpu_gp0(cpu);
    switch (type) {
    case 0:
        mmu_invpcid_addr(&cpu->mmu, (uint16_t)pcid, lin);
        break;
    case 1:
        mmu_invpcid_single(&cpu->mmu, (uint16_t)pcid);
        break;
    default:
        mmu_invpcid_all(&cpu->mmu, type == 2);
        break;
    }
    return true;
}

/* Caches are always coherent with memory. */
bool op_wbinvd(struct cpu *cpu, const struct insn *i)
{
    return true;
}

/* ---- extended control registers, random numbers --------------------------------------------- */

bool op_xgetbv(struct cpu *cpu, const struct insn *i)
{
    if (!(cpu->cr4 & CR4_OSXSAVE))
        return cpu_ud(cpu);
    if ((uint32_t)cpu->r[REG_CX])
        return cpu_gp0(cpu);
    cpu->r[REG_AX] = (uint32_t)cpu->xcr0;
    cpu->r[REG_DX] = cpu->xcr0 >> 32;
    return true;
}

bool op_xsetbv(struct cpu *cpu, const struct insn *i)
{
    uint64_t v = (uint32_t)cpu->r[REG_AX] | cpu->r[REG_DX] << 32;

    if (!(cpu->cr4 & CR4_OSXSAVE))
        return cpu_ud(cpu);
    if (cpu->cpl || (uint32_t)cpu->r[REG_CX] || !xsave_xcr0_valid(cpu, v))
        return cpu_gp0(cpu);
    cpu->xcr0 = v;
    cpu_update_mode(cpu);
    return true;
}

bool op_rdrand(struct cpu *cpu, const struct insn *i)
{
    reg_set(cpu, i->rm, cpu->env.random(cpu->env.opaque), i->size);
    cpu_put_arith(cpu, FL_CF, FL_ARITH);
    return true;
}
