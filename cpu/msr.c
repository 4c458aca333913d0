/* Model-specific registers: RDMSR, WRMSR and what they reach (SDM vol. 4).
 *
 * An MSR that the model's features do not bring is not there: #GP(0). Those of the local APIC and
 * of the TSC deadline belong to a device and are passed on.
 */
#include "cpu/sys.h"

enum {
    MSR_P5_MC_ADDR = 0x0, MSR_P5_MC_TYPE = 0x1, MSR_TSC = 0x10, MSR_PLATFORM_ID = 0x17,
    MSR_APIC_BASE = 0x1b, MSR_TSC_ADJUST = 0x3b, MSR_SPEC_CTRL = 0x48, MSR_PRED_CMD = 0x49,
    MSR_BIOS_UPDT_TRIG = 0x79, MSR_BIOS_SIGN_ID = 0x8b, MSR_MTRRCAP = 0xfe,
    MSR_ARCH_CAPABILITIES = 0x10a, MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176, MSR_MCG_CAP = 0x179, MSR_MCG_STATUS = 0x17a, MSR_MCG_CTL = 0x17b,
    MSR_MISC_ENABLE = 0x1a0, MSR_DEBUGCTL = 0x1d9, MSR_MTRR_PHYS0 = 0x200,
    MSR_MTRR_PHYS_END = 0x210, MSR_MTRR_FIX64K = 0x250, MSR_MTRR_FIX16K = 0x258,
    MSR_MTRR_FIX4K = 0x268, MSR_PAT = 0x277, MSR_MTRR_DEF = 0x2ff, MSR_TSC_DEADLINE = 0x6e0,
    MSR_X2APIC = 0x800, MSR_X2APIC_END = 0x900, MSR_XSS = 0xda0,
};
#define MSR_EFER           0xc0000080u
#define MSR_STAR           0xc0000081u
#define MSR_LSTAR          0xc0000082u
#define MSR_CSTAR          0xc0000083u
#define MSR_FMASK          0xc0000084u
#define MSR_FS_BASE        0xc0000100u
#define MSR_GS_BASE        0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX        0xc0000103u

#define MTRRCAP          0x508ull /* 8 variable ranges, fixed ranges, write-combining */
#define MCG_CAP          0x100ull /* MCG_CTL, no banks */
#define MISC_ENABLE_READ_ONLY (MISC_ENABLE_NO_BTS | MISC_ENABLE_NO_PEBS)
#define MISC_ENABLE_WRITABLE                                                                       \
    (MISC_ENABLE_FAST_STRINGS | MISC_ENABLE_TM1 | MISC_ENABLE_SPEEDSTEP | MISC_ENABLE_MWAIT |      \
     MISC_ENABLE_LIMIT_CPUID | MISC_ENABLE_XTPR | MISC_ENABLE_NO_XD)
#define SPEC_CTRL_BITS   (BIT64(0) | BIT64(10)) /* IBRS, BHI_DIS_S */

/* What this CPU is not vulnerable to: all of it, as nothing here speculates. With these, Linux has
 * no mitigation to apply but setting IBRS once. RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO,
 * MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO,
 * RFDS_NO, ITS_NO. Newer Linux does not believe BHI_NO and would run a loop at each system call, if
 * SPEC_CTRL did not have BHI_DIS_S. */
#define ARCH_CAPABILITIES                                                                          \
    (BIT64(0) | BIT64(1) | BIT64(3) | BIT64(4) | BIT64(5) | BIT64(6) | BIT64(8) | BIT64(13) |      \
     BIT64(14) | BIT64(15) | BIT64(20) | BIT64(24) | BIT64(26) | BIT64(27) | BIT64(62))

uint64_t cpu_tsc(const struct cpu *cpu)
{
    return cpu->env.tsc(cpu->env.opaque) + cpu->tsc_offset;
}

/* Makes the counter `delta` later. */
static void move_tsc(struct cpu *cpu, uint64_t delta)
{
    cpu->tsc_offset += delta;
    cpu->tsc_adjust += delta;
    if (cpu->env.tsc_moved)
        cpu->env.tsc_moved(cpu->env.opaque);
}

void cpu_reset_msrs(struct cpu *cpu)
{
    cpu->sysenter_cs = cpu->sysenter_esp = cpu->sysenter_eip = 0;
    cpu->star = cpu->lstar = cpu->cstar = cpu->fmask = 0;
    cpu->kernel_gs_base = cpu->tsc_aux = cpu->spec_ctrl = 0;
    cpu->pat = 0x0007040600070406;
    cpu->misc_enable = MISC_ENABLE_READ_ONLY | MISC_ENABLE_FAST_STRINGS |
                       (cpu_has(cpu, F_MONITOR) ? MISC_ENABLE_MWAIT : 0);
    cpu->tsc_offset = cpu->tsc_adjust = cpu->debugctl = 0;
    cpu->mtrr_def = 0;
    memset(cpu->mtrr_fixed, 0, sizeof(cpu->mtrr_fixed));
    memset(cpu->mtrr_base, 0, sizeof(cpu->mtrr_base));
    memset(cpu->mtrr_mask, 0, sizeof(cpu->mtrr_mask));
    cpu->mcg_status = 0;
    cpu->mcg_ctl = UINT64_MAX;
    cpu->bios_sign = 1ull << 32;
}

/* Index into mtrr_fixed, or -1. */
static int mtrr_fixed_index(uint32_t msr)
{
    if (msr == MSR_MTRR_FIX64K)
        return 0;
    if (msr == MSR_MTRR_FIX16K || msr == MSR_MTRR_FIX16K + 1)
        return (int)(msr - MSR_MTRR_FIX16K) + 1;
    if (msr >= MSR_MTRR_FIX4K && msr < MSR_MTRR_FIX4K + 8)
        return (int)(msr - MSR_MTRR_FIX4K) + 3;
    return -1;
}

/* Memory types: 0, 1, 4, 5, 6; the PAT has 7 too. */
static bool memory_types_ok(uint64_t v, bool pat)
{
    unsigned k;

    for (k = 0; k < 8; k++, v >>= 8) {
        uint8_t t = (uint8_t)v;
        if (t > 7 || t == 2 || t == 3 || (t == 7 && !pat))
            return false;
    }
    return true;
}

static bool is_device_msr(const struct cpu *cpu, uint32_t msr)
{
    return (msr == MSR_APIC_BASE && cpu_has(cpu, F_APIC)) ||
           (msr == MSR_TSC_DEADLINE && cpu_has(cpu, F_TSCDEADLINE)) ||
           (msr >= MSR_X2APIC && msr < MSR_X2APIC_END && cpu_has(cpu, F_X2APIC));
}

static bool mtrr_read(const struct cpu *cpu, uint32_t msr, uint64_t *v)
{
    int fixed = mtrr_fixed_index(msr);

    if (!cpu_has(cpu, F_MTRR))
        return false;
    if (msr == MSR_MTRRCAP)
        *v = MTRRCAP;
    else if (msr == MSR_MTRR_DEF)
        *v = cpu->mtrr_def;
    else if (fixed >= 0)
        *v = cpu->mtrr_fixed[fixed];
    else if (msr >= MSR_MTRR_PHYS0 && msr < MSR_MTRR_PHYS_END)
        *v = msr & 1 ? cpu->mtrr_mask[(msr - MSR_MTRR_PHYS0) / 2]
                     : cpu->mtrr_base[(msr - MSR_MTRR_PHYS0) / 2];
    else
        return false;
    return true;
}

static bool mtrr_write(struct cpu *cpu, uint32_t msr, uint64_t v)
{
    int fixed = mtrr_fixed_index(msr);

    if (!cpu_has(cpu, F_MTRR))
        return false;
    if (msr == MSR_MTRR_DEF) {
        if ((v & ~0xcffull) || !memory_types_ok(v & 0xff, false))
            return false;
        cpu->mtrr_def = v;
    } else if (fixed >= 0) {
        if (!memory_types_ok(v, false))
            return false;
        cpu->mtrr_fixed[fixed] = v;
    } else if (msr >= MSR_MTRR_PHYS0 && msr < MSR_MTRR_PHYS_END) {
        unsigned n = (msr - MSR_MTRR_PHYS0) / 2;
        uint64_t reserved = ~cpu->mmu.phys_mask | (msr & 1 ? 0x7ff : 0xf00);

        if ((v & reserved) || (!(msr & 1) && !memory_types_ok(v & 0xff, false)))
            return false;
        if (msr & 1)
            cpu->mtrr_mask[n] = v;
        else
            cpu->mtrr_base[n] = v;
    } else {
        return false;
    }
    return true;
}

static bool read_long_msr(struct cpu *cpu, uint32_t msr, uint64_t *v)
{
    switch (msr) {
    case MSR_EFER:
        *v = cpu->efer;
        return cpu_has(cpu, F_LM) || cpu_has(cpu, F_NX) || cpu_has(cpu, F_SYSCALL);
    case MSR_TSC_AUX:
        *v = cpu->tsc_aux;
        return cpu_has(cpu, F_RDTSCP) || cpu_has(cpu, F_RDPID);
    case MSR_STAR:
        *v = cpu->star;
        break;
    case MSR_LSTAR:
        *v = cpu->lstar;
        break;
    case MSR_CSTAR:
        *v = cpu->cstar;
        break;
    case MSR_FMASK:
        *v = cpu->fmask;
        break;
    case MSR_FS_BASE:
        *v = cpu->seg[SEG_FS].base;
        break;
    case MSR_GS_BASE:
        *v = cpu->seg[SEG_GS].base;
        break;
    case MSR_KERNEL_GS_BASE:
        *v = cpu->kernel_gs_base;
        break;
    default:
        return false;
    }
    return cpu_has(cpu, F_LM);
}

bool cpu_read_msr(struct cpu *cpu, uint32_t msr, uint64_t *v)
{
    if (msr >= MSR_EFER)
        return read_long_msr(cpu, msr, v);
    if (is_device_msr(cpu, msr))
        return cpu->env.msr_read(cpu->env.opaque, msr, v);
    *v = 0;
    switch (msr) {
    case MSR_P5_MC_ADDR:
    case MSR_P5_MC_TYPE:
        return cpu_has(cpu, F_MCE);
    case MSR_TSC:
        *v = cpu_tsc(cpu);
        return cpu_has(cpu, F_TSC);
    case MSR_TSC_ADJUST:
        *v = cpu->tsc_adjust;
        return cpu_has(cpu, F_INVTSC);
    case MSR_SPEC_CTRL:
        *v = cpu->spec_ctrl;
        return cpu_has(cpu, F_LM);
    case MSR_ARCH_CAPABILITIES:
        *v = ARCH_CAPABILITIES;
        return cpu_has(cpu, F_LM);
    case MSR_PLATFORM_ID:
        return cpu_has(cpu, F_CMOV);
    case MSR_BIOS_SIGN_ID:
        *v = cpu->bios_sign;
        return cpu_has(cpu, F_CMOV);
    case MSR_SYSENTER_CS:
        *v = cpu->sysenter_cs;
        return cpu_has(cpu, F_SEP);
    case MSR_SYSENTER_ESP:
        *v = cpu->sysenter_esp;
        return cpu_has(cpu, F_SEP);
    case MSR_SYSENTER_EIP:
        *v = cpu->sysenter_eip;
        return cpu_has(cpu, F_SEP);
    case MSR_MCG_CAP:
        *v = MCG_CAP;
        return cpu_has(cpu, F_MCA);
    case MSR_MCG_STATUS:
        *v = cpu->mcg_status;
        return cpu_has(cpu, F_MCA);
    case MSR_MCG_CTL:
        *v = cpu->mcg_ctl;
        return cpu_has(cpu, F_MCA);
    case MSR_MISC_ENABLE:
        *v = cpu->misc_enable;
        return cpu_has(cpu, F_LM);
    case MSR_DEBUGCTL:
        *v = cpu->debugctl;
        return cpu_has(cpu, F_CMOV);
    case MSR_PAT:
        *v = cpu->pat;
        return cpu_has(cpu, F_PAT);
    case MSR_XSS: /* no component of its own: cpu/xsave.c */
        return cpu_has(cpu, F_XSAVES);
    default:
        return mtrr_read(cpu, msr, v);
    }
}

static bool write_efer(struct cpu *cpu, uint64_t v)
{
    uint64_t allowed = (cpu_has(cpu, F_SYSCALL) ? EFER_SCE : 0) |
                       (cpu_has(cpu, F_LM) ? EFER_LME | EFER_LMA : 0) |
                       (cpu_has(cpu, F_NX) && !(cpu->misc_enable & MISC_ENABLE_NO_XD)
                            ? EFER_NXE
                            : cpu->efer & EFER_NXE);

    if (!allowed || (v & ~allowed))
        return false;
    if (((v ^ cpu->efer) & EFER_LME) && (cpu->cr0 & CR0_PG))
        return false;
    cpu->efer = (v & ~EFER_LMA) | (cpu->efer & EFER_LMA);
    cpu_cr_changed(cpu);
    return true;
}

static bool write_long_msr(struct cpu *cpu, uint32_t msr, uint64_t v)
{
    if (msr == MSR_EFER)
        return write_efer(cpu, v);
    if (msr == MSR_TSC_AUX) {
        if (v >> 32 || !(cpu_has(cpu, F_RDTSCP) || cpu_has(cpu, F_RDPID)))
            return false;
        cpu->tsc_aux = v;
        return true;
    }
    if (!cpu_has(cpu, F_LM))
        return false;
    if (msr == MSR_STAR) {
        cpu->star = v;
        return true;
    }
    if (msr == MSR_FMASK) {
        if (v >> 32)
            return false;
        cpu->fmask = v;
        return true;
    }
    if (!lin_canonical(v))
        return false;
    switch (msr) {
    case MSR_LSTAR:
        cpu->lstar = v;
        return true;
    case MSR_CSTAR:
        cpu->cstar = v;
        return true;
    case MSR_FS_BASE:
        cpu->seg[SEG_FS].base = cpu->seg_base[SEG_FS] = v;
        return true;
    case MSR_GS_BASE:
        cpu->seg[SEG_GS].base = cpu->seg_base[SEG_GS] = v;
        return true;
    case MSR_KERNEL_GS_BASE:
        cpu->kernel_gs_base = v;
        return true;
    default:
        return false;
    }
}

bool cpu_write_msr(struct cpu *cpu, uint32_t msr, uint64_t v)
{
    if (msr >= MSR_EFER)
        return write_long_msr(cpu, msr, v);
    if (is_device_msr(cpu, msr))
        return cpu->env.msr_write(cpu->env.opaque, msr, v);
    switch (msr) {
    case MSR_P5_MC_ADDR:
    case MSR_P5_MC_TYPE:
        return cpu_has(cpu, F_MCE);
    case MSR_TSC:
        if (!cpu_has(cpu, F_TSC))
            return false;
        move_tsc(cpu, v - cpu_tsc(cpu));
        return true;
    case MSR_TSC_ADJUST:
        if (!cpu_has(cpu, F_INVTSC))
            return false;
        move_tsc(cpu, v - cpu->tsc_adjust);
        return true;
    case MSR_SPEC_CTRL:
        if (!cpu_has(cpu, F_LM) || (v & ~SPEC_CTRL_BITS))
            return false;
        cpu->spec_ctrl = v;
        return true;
    case MSR_PRED_CMD: /* IBPB */
        return cpu_has(cpu, F_LM) && !(v & ~1ull);
    case MSR_BIOS_UPDT_TRIG:
        return cpu_has(cpu, F_CMOV);
    case MSR_BIOS_SIGN_ID: /* software clears it before CPUID fills in the revision */
        return cpu_has(cpu, F_CMOV);
    case MSR_SYSENTER_CS:
        if (!cpu_has(cpu, F_SEP))
            return false;
        cpu->sysenter_cs = (uint32_t)v;
        return true;
    case MSR_SYSENTER_ESP:
        if (!cpu_has(cpu, F_SEP) || !lin_canonical(v))
            return false;
        cpu->sysenter_esp = v;
        return true;
    case MSR_SYSENTER_EIP:
        if (!cpu_has(cpu, F_SEP) || !lin_canonical(v))
            return false;
        cpu->sysenter_eip = v;
        return true;
    case MSR_MCG_STATUS:
        if (!cpu_has(cpu, F_MCA) || v)
            return false;
        cpu->mcg_status = v;
        return true;
    case MSR_MCG_CTL:
        if (!cpu_has(cpu, F_MCA) || (v && ~v))
            return false;
        cpu->mcg_ctl = v;
        return true;
    case MSR_MISC_ENABLE:
        if (!cpu_has(cpu, F_LM))
            return false;
        cpu->misc_enable = (v & MISC_ENABLE_WRITABLE) | MISC_ENABLE_READ_ONLY;
        return true;
    case MSR_DEBUGCTL: /* LBR is kept; the models name no registers that would hold branches */
        if (!cpu_has(cpu, F_CMOV) || (v & ~(DEBUGCTL_LBR | DEBUGCTL_BTF)))
            return false;
        cpu->debugctl = v;
        return true;
    case MSR_PAT:
        if (!cpu_has(cpu, F_PAT) || !memory_types_ok(v, true))
            return false;
        cpu->pat = v;
        return true;
    case MSR_XSS:
        return cpu_has(cpu, F_XSAVES) && !v;
    default:
        return mtrr_write(cpu, msr, v);
    }
}

bool op_rdmsr(struct cpu *cpu, const struct insn *i)
{
    uint32_t msr = (uint32_t)cpu->r[REG_CX];
    uint64_t v;

    if (cpu->cpl || !cpu_read_msr(cpu, msr, &v)) {
        LOG(cpu->env.log, LOG_UNIMP, "cpu%u: rdmsr %x refused", cpu->index, msr);
        return cpu_gp0(cpu);
    }
    cpu->r[REG_AX] = (uint32_t)v;
    cpu->r[REG_DX] = v >> 32;
    return true;
}

bool op_wrmsr(struct cpu *cpu, const struct insn *i)
{
    uint32_t msr = (uint32_t)cpu->r[REG_CX];
    uint64_t v = (uint32_t)cpu->r[REG_AX] | cpu->r[REG_DX] << 32;

    if (cpu->cpl || !cpu_write_msr(cpu, msr, v)) {
        LOG(cpu->env.log, LOG_UNIMP, "cpu%u: wrmsr %x <- %llx refused", cpu->index, msr,
            (unsigned long long)v);
        return cpu_gp0(cpu);
    }
    return true;
}

bool op_rdtsc(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if ((cpu->cr4 & CR4_TSD) && cpu->cpl)
        return cpu_gp0(cpu);
    v = cpu_tsc(cpu);
    cpu->r[REG_AX] = (uint32_t)v;
    cpu->r[REG_DX] = v >> 32;
    return true;
}

bool op_rdtscp(struct cpu *cpu, const struct insn *i)
{
    if (!op_rdtsc(cpu, i))
        return false;
    cpu->r[REG_CX] = (uint32_t)cpu->tsc_aux;
    return true;
}

bool op_rdpid(struct cpu *cpu, const struct insn *i)
{
    reg_set(cpu, i->rm, (uint32_t)cpu->tsc_aux, cpu_code64(cpu) ? 8 : 4);
    return true;
}

/* There are no performance counters to read. */
bool op_rdpmc(struct cpu *cpu, const struct insn *i)
{
    return cpu_gp0(cpu);
}
