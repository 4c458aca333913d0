/* Control and debug registers: what may be written to them (SDM vol. 3, 2.5 and 17.2), and what
 * follows from it.
 */
#include "cpu/sys.h"

void cpu_cr_changed(struct cpu *cpu)
{
    mmu_set_regs(&cpu->mmu, cpu->cr0, cpu->cr4, cpu->efer);
    cpu_update_mode(cpu);
}

/* PAE paging outside long mode. */
static bool uses_pdptes(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LME);
}

bool cpu_load_pdptes(struct cpu *cpu, uint64_t cr3)
{
    return !uses_pdptes(cpu->cr0, cpu->cr4, cpu->efer) || mmu_load_pdptes(&cpu->mmu, cr3) ||
           cpu_gp0(cpu);
}

bool cpu_set_cr0(struct cpu *cpu, uint64_t v)
{
    uint64_t defined = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_PG, efer = cpu->efer;
    uint64_t changed;

    if (v >> 32)
        return cpu_gp0(cpu);
    if (cpu_has(cpu, F_486)) {
        defined |= CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD;
        if ((v & CR0_NW) && !(v & CR0_CD))
            return cpu_gp0(cpu);
    }
    v = (v & defined) | CR0_ET;
    if ((v & CR0_PG) && !(v & CR0_PE))
        return cpu_gp0(cpu);
    changed = v ^ cpu->cr0;
    if (changed & CR0_PG) {
        if (v & CR0_PG) {
            if (efer & EFER_LME) {
                /* vol. 3, 9.8.5: TR must not hold a 16-bit TSS */
                if (!(cpu->cr4 & CR4_PAE) || (cpu->seg[SEG_CS].ar & AR_L) ||
                    (cpu->seg[SEG_TSS].ar & AR_TYPE) < SYS_TSS32)
                    return cpu_gp0(cpu);
                efer |= EFER_LMA;
            }
        } else {
            if (cpu_code64(cpu) || (cpu->cr4 & CR4_PCIDE))
                return cpu_gp0(cpu);
            efer &= ~EFER_LMA;
        }
    }
    if ((changed & (CR0_PG | CR0_CD | CR0_NW)) && uses_pdptes(v, cpu->cr4, efer) &&
        !mmu_load_pdptes(&cpu->mmu, cpu->cr3))
        return cpu_gp0(cpu);
    if (changed & (CR0_PE | CR0_PG))
        LOG(cpu->env.log, LOG_CPU, "cpu%u: cr0 %llx", cpu->index, (unsigned long long)v);
    cpu->cr0 = v;
    cpu->efer = efer;
    /* TS, MP, EM and NE mean nothing to the MMU: context switches flip TS often */
    if (changed & ~(CR0_TS | CR0_MP | CR0_EM | CR0_NE))
        cpu_cr_changed(cpu);
    else if (changed)
        cpu_update_mode(cpu);
    return true;
}

bool cpu_set_cr3(struct cpu *cpu, uint64_t v)
{
    bool noflush = false;

    if (cpu_long(cpu)) {
        if (cpu->cr4 & CR4_PCIDE) {
            noflush = v >> 63;
            v &= ~(1ull << 63);
        }
        if (v & ~cpu->mmu.phys_mask)
            return cpu_gp0(cpu);
    } else if (!cpu_load_pdptes(cpu, v)) {
        return false;
    }
    cpu->cr3 = v;
    mmu_load_cr3(&cpu->mmu, v, noflush);
    cpu->tlb = cpu->mmu.tlb->e[cpu->mmu_index];
    return true;
}

uint64_t cpu_cr4_allowed(const struct cpu *cpu)
{
    static const struct {
        uint64_t bit;
        enum cpu_feature feature;
    } bits[] = {
        {CR4_VME | CR4_PVI, F_VME}, {CR4_TSD, F_TSC},       {CR4_DE, F_DE},
        {CR4_PSE, F_PSE},           {CR4_PAE, F_PAE},       {CR4_MCE, F_MCE},
        {CR4_PGE, F_PGE},           {CR4_PCE, F_MMX},       {CR4_OSFXSR, F_FXSR},
        {CR4_OSXMMEXCPT, F_SSE},    {CR4_UMIP, F_UMIP},     {CR4_FSGSBASE, F_FSGSBASE},
        {CR4_PCIDE, F_PCID},        {CR4_OSXSAVE, F_XSAVE}, {CR4_SMEP, F_SMEP},
        {CR4_SMAP, F_SMAP},         {CR4_PKE, F_PKU},
    };
    uint64_t allowed = 0;
    unsigned k;

    for (k = 0; k < ARRAY_LEN(bits); k++) {
        if (cpu_has(cpu, bits[k].feature))
            allowed |= bits[k].bit;
    }
    return allowed;
}

bool cpu_set_cr4(struct cpu *cpu, uint64_t v)
{
    uint64_t changed = v ^ cpu->cr4;

    if (v & ~cpu_cr4_allowed(cpu))
        return cpu_gp0(cpu);
    if (cpu_long(cpu) && !(v & CR4_PAE))
        return cpu_gp0(cpu);
    if ((changed & v & CR4_PCIDE) && (!cpu_long(cpu) || (cpu->cr3 & 0xfff)))
        return cpu_gp0(cpu);
    if ((changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) &&
        uses_pdptes(cpu->cr0, v, cpu->efer) && !mmu_load_pdptes(&cpu->mmu, cpu->cr3))
        return cpu_gp0(cpu);
    cpu->cr4 = v;
    cpu_cr_changed(cpu);
    if (changed & CR4_DE)
        cpu_dr_changed(cpu);
    return true;
}

/* 64 bits in 64-bit code, 32 elsewhere, whatever the prefixes. */
static unsigned sysreg_size(const struct cpu *cpu)
{
    return cpu_code64(cpu) ? 8 : 4;
}

bool op_mov_r_cr(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    switch (i->reg) {
    case 0:
        v = cpu->cr0;
        break;
    case 2:
        v = cpu->cr2;
        break;
    case 3:
        v = cpu->cr3;
        break;
    case 4:
        if (!cpu_has(cpu, F_CPUID))
            return cpu_ud(cpu);
        v = cpu->cr4;
        break;
    case 8:
        if (cpu->cpl)
            return cpu_gp0(cpu);
        v = cpu->env.cr8_get(cpu->env.opaque);
        break;
    default:
        return cpu_ud(cpu);
    }
    if (cpu->cpl)
        return cpu_gp0(cpu);
    reg_set(cpu, i->rm, v, sysreg_size(cpu));
    return true;
}

bool op_mov_cr_r(struct cpu *cpu, const struct insn *i)
{
    uint64_t v = reg_get(cpu, i->rm, sysreg_size(cpu));

    if (i->reg != 0 && i->reg != 2 && i->reg != 3 && i->reg != 8 &&
        !(i->reg == 4 && cpu_has(cpu, F_CPUID)))
        return cpu_ud(cpu);
    if (cpu->cpl)
        return cpu_gp0(cpu);
    switch (i->reg) {
    case 0:
        return cpu_set_cr0(cpu, v);
    case 2:
        cpu->cr2 = v;
        return true;
    case 3:
        return cpu_set_cr3(cpu, v);
    case 4:
        return cpu_set_cr4(cpu, v);
    default:
        if (v & ~15ull)
            return cpu_gp0(cpu);
        cpu->env.cr8_set(cpu->env.opaque, (uint8_t)v);
        return true;
    }
}

bool op_clts(struct cpu *cpu, const struct insn *i)
{
    cpu->cr0 &= ~CR0_TS;
    cpu_update_mode(cpu);
    return true;
}

/* LMSW writes four bits and cannot clear PE. */
bool op_lmsw(struct cpu *cpu, const struct insn *i)
{
    uint64_t v, low = CR0_PE | CR0_MP | CR0_EM | CR0_TS;

    if (!insn_read_E(cpu, i, 2, &v))
        return false;
    v = (v & low) | (cpu->cr0 & CR0_PE);
    return cpu_set_cr0(cpu, (cpu->cr0 & ~low) | v);
}

bool op_smsw(struct cpu *cpu, const struct insn *i)
{
    if ((cpu->cr4 & CR4_UMIP) && cpu->cpl)
        return cpu_gp0(cpu);
    return insn_write_E(cpu, i, insn_is_mem(i) ? 2 : i->size, cpu->cr0);
}

/* ---- debug registers ------------------------------------------------------------------------ */

enum { BP_EXEC, BP_WRITE, BP_IO, BP_ACCESS };

static bool bp_enabled(const struct cpu *cpu, unsigned n)
{
    return cpu->dr[7] >> (2 * n) & 3;
}

static unsigned bp_kind(const struct cpu *cpu, unsigned n)
{
    return cpu->dr[7] >> (16 + 4 * n) & 3;
}

static unsigned bp_len(const struct cpu *cpu, unsigned n)
{
    static const uint8_t len[] = {1, 2, 8, 4};
    return len[cpu->dr[7] >> (18 + 4 * n) & 3];
}

static bool bp_is_data(const struct cpu *cpu, unsigned n)
{
    unsigned kind = bp_kind(cpu, n);
    return bp_enabled(cpu, n) && (kind == BP_WRITE || kind == BP_ACCESS);
}

/* Which register the MMU's n-th watch stands for: the n-th one that watches data. */
void cpu_watch_hit(void *opaque, unsigned watch, uint64_t addr, unsigned size, bool write)
{
    struct cpu *cpu = opaque;
    unsigned n;

    for (n = 0; n < 4; n++) {
        if (bp_is_data(cpu, n) && watch-- == 0) {
            cpu->pending_dr6 |= 1ull << n;
            return;
        }
    }
}

void cpu_dr_changed(struct cpu *cpu)
{
    struct mmu_watch w[4];
    unsigned n, count = 0;

    for (n = 0; n < 4; n++) {
        unsigned len = bp_len(cpu, n);

        if (!bp_is_data(cpu, n))
            continue;
        w[count].addr = cpu->dr[n] & ~(uint64_t)(len - 1);
        w[count].len = len;
        w[count].on_write = true;
        w[count].on_read = bp_kind(cpu, n) == BP_ACCESS;
        count++;
    }
    if (count || cpu->mmu.watches)
        mmu_set_watches(&cpu->mmu, w, count);
    cpu_update_mode(cpu);
}

bool cpu_check_insn_breakpoint(struct cpu *cpu)
{
    uint64_t lin = cpu->seg_base[SEG_CS] + cpu->rip, hit = 0;
    unsigned n;

    if (cpu->eflags & FL_RF) {
        cpu->eflags &= ~(uint64_t)FL_RF;
        return true;
    }
    if (!cpu_code64(cpu))
        lin = (uint32_t)lin;
    for (n = 0; n < 4; n++) {
        if (bp_enabled(cpu, n) && bp_kind(cpu, n) == BP_EXEC && cpu->dr[n] == lin)
            hit |= 1ull << n;
    }
    if (!hit || cpu->shadow_ss)
        return true;
    cpu->dr[6] = (cpu->dr[6] & ~15ull) | hit;
    return cpu_raise(cpu, EXC_DB);
}

void cpu_check_io_breakpoint(struct cpu *cpu, uint16_t port, unsigned size)
{
    unsigned n;

    if (LIKELY(!(cpu->dr[7] & 0xff)) || !(cpu->cr4 & CR4_DE))
        return;
    for (n = 0; n < 4; n++) {
        uint64_t len = bp_len(cpu, n), at = cpu->dr[n] & ~(len - 1);

        if (bp_enabled(cpu, n) && bp_kind(cpu, n) == BP_IO && port < at + len &&
            at < (uint64_t)port + size)
            cpu->pending_dr6 |= 1ull << n;
    }
}

/* What MOV to and from a debug register checks; *n: the register, aliases resolved. */
static bool dr_access(struct cpu *cpu, unsigned reg, unsigned *n)
{
    *n = reg == 4 || reg == 5 ? reg + 2 : reg;
    if (reg > 7)
        return cpu_ud(cpu);
    if (cpu->cpl)
        return cpu_gp0(cpu);
    if ((cpu->cr4 & CR4_DE) && (reg == 4 || reg == 5))
        return cpu_ud(cpu);
    if (cpu->dr[7] & DR7_GD) {
        cpu->dr[6] |= DR6_BD;
        cpu->eflags |= FL_RF; /* a fault, not an instruction breakpoint's: pushed with RF (17.3.1.1) */
        return cpu_raise(cpu, EXC_DB);
    }
    return true;
}

bool op_mov_r_dr(struct cpu *cpu, const struct insn *i)
{
    unsigned n;

    if (!dr_access(cpu, i->reg, &n))
        return false;
    reg_set(cpu, i->rm, cpu->dr[n], sysreg_size(cpu));
    return true;
}

bool op_mov_dr_r(struct cpu *cpu, const struct insn *i)
{
    uint64_t v = reg_get(cpu, i->rm, sysreg_size(cpu));
    unsigned n;

    if (!dr_access(cpu, i->reg, &n))
        return false;
    if (n >= 6 && v >> 32)
        return cpu_gp0(cpu);
    if (n == 6)
        v = (v & 0xe00f) | DR6_FIXED;
    else if (n == 7)
        v = (v & 0xffff23ff) | DR7_FIXED;
    cpu->dr[n] = v;
    if (n != 6)
        cpu_dr_changed(cpu);
    return true;
}
