/* CPUID: the truth about the model, read off its feature bits (SDM vol. 2, CPUID).
 *
 * All vCPUs are cores, of one thread each, of one package. The TSC and the APIC timer's clock both
 * run at 1 GHz.
 */
#include "cpu/sys.h"
#include "cpu/xsave.h"

enum { EAX, EBX, ECX, EDX };
#define TSC_HZ 1000000000u

struct cpuid_bit {
    uint8_t reg, bit, feature;
};

static const struct cpuid_bit leaf1_bits[] = {
    {EDX, 0, F_FPU},       {EDX, 1, F_VME},      {EDX, 2, F_DE},      {EDX, 3, F_PSE},
    {EDX, 4, F_TSC},       {EDX, 5, F_MSR},      {EDX, 6, F_PAE},     {EDX, 7, F_MCE},
    {EDX, 8, F_CX8},       {EDX, 11, F_SEP},     {EDX, 12, F_MTRR},   {EDX, 13, F_PGE},
    {EDX, 14, F_MCA},      {EDX, 15, F_CMOV},    {EDX, 16, F_PAT},    {EDX, 17, F_PSE36},
    {EDX, 19, F_CLFLUSH},  {EDX, 23, F_MMX},     {EDX, 24, F_FXSR},   {EDX, 25, F_SSE},
    {EDX, 26, F_SSE2},     {ECX, 0, F_SSE3},     {ECX, 1, F_PCLMUL},  {ECX, 3, F_MONITOR},
    {ECX, 9, F_SSSE3},     {ECX, 12, F_FMA},     {ECX, 13, F_CX16},   {ECX, 17, F_PCID},
    {ECX, 19, F_SSE41},    {ECX, 20, F_SSE42},   {ECX, 21, F_X2APIC}, {ECX, 22, F_MOVBE},
    {ECX, 23, F_POPCNT},   {ECX, 24, F_TSCDEADLINE}, {ECX, 25, F_AES}, {ECX, 26, F_XSAVE},
    {ECX, 28, F_AVX},      {ECX, 29, F_F16C},    {ECX, 30, F_RDRAND}, {ECX, 31, F_HYPERVISOR},
};

static const struct cpuid_bit leaf7_bits[] = {
    {EBX, 0, F_FSGSBASE}, {EBX, 1, F_INVTSC} /* TSC_ADJUST */, {EBX, 3, F_BMI1}, {EBX, 5, F_AVX2},
    {EBX, 7, F_SMEP},     {EBX, 8, F_BMI2},     {EBX, 9, F_ERMS},       {EBX, 10, F_INVPCID},
    {EBX, 18, F_RDSEED},  {EBX, 19, F_ADX},     {EBX, 20, F_SMAP},      {EBX, 23, F_CLFLUSHOPT},
    {EBX, 24, F_CLWB},    {EBX, 29, F_SHA},     {ECX, 2, F_UMIP},       {ECX, 3, F_PKU},
    {ECX, 8, F_GFNI},     {ECX, 9, F_VAES},     {ECX, 10, F_VPCLMUL},   {ECX, 22, F_RDPID},
    {EDX, 4, F_FSRM},     {EDX, 26, F_LM} /* IBRS, IBPB */, {EDX, 29, F_LM} /* ARCH_CAPABILITIES */,
};

static const struct cpuid_bit ext1_bits[] = {
    {ECX, 0, F_LAHF64}, {ECX, 5, F_LZCNT}, {ECX, 8, F_3DNOWPREFETCH}, {EDX, 20, F_NX},
    {EDX, 26, F_1GB},   {EDX, 27, F_RDTSCP}, {EDX, 29, F_LM},
};

static void put_bits(const struct cpu *cpu, const struct cpuid_bit *bits, unsigned n,
                     uint32_t out[4])
{
    unsigned k;

    for (k = 0; k < n; k++) {
        if (feature_has(&cpu->features, bits[k].feature))
            out[bits[k].reg] |= BIT(bits[k].bit);
    }
}

/* Bits of an APIC ID that number the cores. */
static unsigned core_bits(const struct cpu *cpu)
{
    unsigned n = 0;

    while ((1u << n) < cpu->ncpus)
        n++;
    return n;
}

static void leaf_features(const struct cpu *cpu, uint32_t out[4])
{
    uint64_t apic_base = 0;

    out[EAX] = cpu->model->signature;
    put_bits(cpu, leaf1_bits, ARRAY_LEN(leaf1_bits), out);
    if (cpu_has(cpu, F_CLFLUSH))
        out[EBX] |= 8 << 8;
    out[EBX] |= cpu->index << 24;
    if (cpu->ncpus > 1) {
        out[EBX] |= 1u << core_bits(cpu) << 16;
        out[EDX] |= BIT(28);
    }
    /* the APIC disappears with the enable bit of its MSR */
    if (cpu_has(cpu, F_APIC) && cpu->env.msr_read(cpu->env.opaque, 0x1b, &apic_base) &&
        (apic_base & 0x800))
        out[EDX] |= BIT(9);
    if (cpu->cr4 & CR4_OSXSAVE)
        out[ECX] |= BIT(27);
    if (!(cpu->misc_enable & MISC_ENABLE_MWAIT))
        out[ECX] &= ~BIT(3);
}

/* Deterministic cache parameters: 32 KiB L1s, 256 KiB L2, 8 MiB shared L3; lines of 64 bytes. */
static void leaf_caches(const struct cpu *cpu, uint32_t subleaf, uint32_t out[4])
{
    static const struct {
        uint8_t type, level, ways;
        uint16_t sets;
    } caches[] = {{1, 1, 8, 64}, {2, 1, 8, 64}, {3, 2, 8, 512}, {3, 3, 16, 8192}};
    uint32_t cores = (1u << core_bits(cpu)) - 1;

    if (subleaf >= ARRAY_LEN(caches))
        return;
    out[EAX] = caches[subleaf].type | (uint32_t)caches[subleaf].level << 5 | BIT(8) | cores << 26;
    if (caches[subleaf].level == 3)
        out[EAX] |= cores << 14;
    out[EBX] = 63 | (caches[subleaf].ways - 1u) << 22;
    out[ECX] = caches[subleaf].sets - 1u;
}

static void leaf_topology(const struct cpu *cpu, uint32_t subleaf, uint32_t out[4])
{
    out[ECX] = subleaf & 0xff;
    out[EDX] = cpu->index;
    if (subleaf == 0) { /* threads */
        out[EBX] = 1;
        out[ECX] |= 1 << 8;
    } else if (subleaf == 1) { /* cores */
        out[EAX] = core_bits(cpu);
        out[EBX] = cpu->ncpus;
        out[ECX] |= 2 << 8;
    }
}

static void leaf_xsave(const struct cpu *cpu, uint32_t subleaf, uint32_t out[4])
{
    uint64_t all = xsave_supported(cpu);
    unsigned size, offset;
    bool aligned;

    if (!all)
        return;
    if (subleaf == 0) {
        out[EAX] = (uint32_t)all;
        out[EBX] = xsave_area_size(cpu->xcr0, false);
        out[ECX] = xsave_area_size(all, false);
    } else if (subleaf == 1) {
        out[EAX] = (cpu_has(cpu, F_XSAVEOPT) ? 1 : 0) | (cpu_has(cpu, F_XSAVEC) ? 2 : 0) |
                   (cpu_has(cpu, F_XSAVES) ? 8 : 0);
        out[EBX] = xsave_area_size(cpu->xcr0, true);
    } else if (subleaf < 63 && (all >> subleaf & 1) &&
               xsave_component(subleaf, &size, &offset, &aligned)) {
        out[EAX] = size;
        out[EBX] = offset;
        out[ECX] = aligned ? 2 : 0;
    }
}

static void put_text(uint32_t *regs, const char *text, unsigned words)
{
    unsigned k;

    for (k = 0; k < words; k++)
        regs[k] = ld32(text + 4 * k);
}

static uint32_t max_leaf(const struct cpu *cpu)
{
    uint32_t max = cpu->model->max_leaf;
    return cpu->misc_enable & MISC_ENABLE_LIMIT_CPUID ? MIN(max, 2u) : max;
}

static void basic_leaf(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    switch (leaf) {
    case 0: {
        static const char vendor[] = "GenuineIntel";

        out[EAX] = max_leaf(cpu);
        out[EBX] = ld32(vendor);
        out[EDX] = ld32(vendor + 4);
        out[ECX] = ld32(vendor + 8);
        break;
    }
    case 1:
        leaf_features(cpu, out);
        break;
    case 2:
        if (cpu->model->max_leaf >= 4) {
            out[EAX] = 0x00feff01; /* see leaf 4; TLBs by other means */
        } else {                   /* a Pentium III's own */
            out[EAX] = 0x03020101;
            out[EDX] = 0x0c040882;
        }
        break;
    case 4:
        leaf_caches(cpu, subleaf, out);
        break;
    case 5:
        if (cpu_has(cpu, F_MONITOR)) {
            out[EAX] = out[EBX] = 64;
            out[ECX] = 3;
        }
        break;
    case 6:
        out[EAX] = cpu_has(cpu, F_ARAT) ? BIT(2) : 0;
        break;
    case 7:
        if (subleaf == 0) {
            put_bits(cpu, leaf7_bits, ARRAY_LEN(leaf7_bits), out);
            if (cpu->cr4 & CR4_PKE)
                out[ECX] |= BIT(4);
            out[EAX] = cpu_has(cpu, F_LM) ? 2 : 0;
        } else if (subleaf == 2) {
            out[EDX] = cpu_has(cpu, F_LM) ? BIT(4) : 0; /* BHI_CTRL: see msr.c */
        }
        break;
    case 0xb:
        leaf_topology(cpu, subleaf, out);
        break;
    case 0xd:
        leaf_xsave(cpu, subleaf, out);
        break;
    case 0x15: /* TSC = crystal * EBX / EAX; the crystal also clocks the APIC timer */
        out[EAX] = out[EBX] = 1;
        out[ECX] = TSC_HZ;
        break;
    case 0x16: /* MHz: base, maximum, bus */
        out[EAX] = out[EBX] = TSC_HZ / 1000000;
        out[ECX] = 100;
        break;
    default:
        break;
    }
}

static void extended_leaf(const struct cpu *cpu, uint32_t leaf, uint32_t out[4])
{
    char brand[48] = {0};

    switch (leaf) {
    case 0x80000000:
        out[EAX] = cpu->model->max_ext_leaf;
        break;
    case 0x80000001:
        put_bits(cpu, ext1_bits, ARRAY_LEN(ext1_bits), out);
        if (cpu_has(cpu, F_SYSCALL) && cpu_code64(cpu)) /* elsewhere the instruction is #UD */
            out[EDX] |= BIT(11);
        if (cpu->misc_enable & MISC_ENABLE_NO_XD)
            out[EDX] &= ~BIT(20);
        break;
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
        memcpy(brand, cpu->model->brand, MIN(strlen(cpu->model->brand), sizeof(brand) - 1));
        put_text(out, brand + 16 * (leaf - 0x80000002), 4);
        break;
    case 0x80000006:
        out[ECX] = 256u << 16 | 6 << 12 | 64;
        break;
    case 0x80000007:
        out[EDX] = cpu_has(cpu, F_INVTSC) ? BIT(8) : 0;
        break;
    case 0x80000008:
        out[EAX] = PHYS_ADDR_BITS | 48 << 8;
        break;
    default:
        break;
    }
}

void cpu_cpuid(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    memset(out, 0, 4 * sizeof(out[0]));
    if (leaf == 0x40000000 && cpu_has(cpu, F_HYPERVISOR)) {
        out[EAX] = leaf;
        put_text(&out[EBX], "TinamouTCG__", 3);
        return;
    }
    if (leaf >= 0x80000000 && leaf <= cpu->model->max_ext_leaf) {
        extended_leaf(cpu, leaf, out);
        return;
    }
    /* out of range: Intel's answer is the last basic leaf's */
    basic_leaf(cpu, MIN(leaf, max_leaf(cpu)), subleaf, out);
}

bool op_cpuid(struct cpu *cpu, const struct insn *i)
{
    uint32_t out[4];

    cpu_cpuid(cpu, (uint32_t)cpu->r[REG_AX], (uint32_t)cpu->r[REG_CX], out);
    cpu->r[REG_AX] = out[EAX];
    cpu->r[REG_BX] = out[EBX];
    cpu->r[REG_CX] = out[ECX];
    cpu->r[REG_DX] = out[EDX];
    return true;
}
