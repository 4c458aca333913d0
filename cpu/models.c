/* The CPU models by name: which features each has. Everything else (CPUID, which encodings are
 * #UD, which control register bits and MSRs exist) follows from the feature bits.
 */
#include "cpu/sys.h"

/* Each set is written once and expanded twice, for the two words of the bit set. */
#define LO(f) ((f) < 64 ? 1ull << ((f) & 63) : 0)
#define HI(f) ((f) >= 64 ? 1ull << ((f) & 63) : 0)
#define FEATURES(set)                                                                              \
    {                                                                                              \
        {                                                                                          \
            set(LO), set(HI)                                                                       \
        }                                                                                          \
    }

#define SET_386(X) (X(F_86) | X(F_186) | X(F_286) | X(F_386) | X(F_FPU))
#define SET_486(X) (SET_386(X) | X(F_486) | X(F_CPUID) | X(F_VME) | X(F_PSE))
#define SET_PENTIUM(X)                                                                             \
    (SET_486(X) | X(F_PENTIUM) | X(F_DE) | X(F_TSC) | X(F_MSR) | X(F_MCE) | X(F_CX8) |             \
     X(F_APIC) | X(F_MMX))
/* F_HYPERVISOR says that the performance counters may be missing, as they are. */
#define SET_PENTIUM3(X)                                                                            \
    (SET_PENTIUM(X) | X(F_PAE) | X(F_SEP) | X(F_MTRR) | X(F_PGE) | X(F_MCA) | X(F_CMOV) |          \
     X(F_PAT) | X(F_PSE36) | X(F_FXSR) | X(F_SSE) | X(F_HYPERVISOR))
/* The baseline of the x86-64 psABI, and what every such processor and machine has besides. */
#define SET_X86_64(X)                                                                              \
    (SET_PENTIUM3(X) | X(F_SSE2) | X(F_CLFLUSH) | X(F_SYSCALL) | X(F_LM) | X(F_NX) |               \
     X(F_3DNOWPREFETCH) | X(F_INVTSC) | X(F_ARAT) | X(F_X2APIC) | X(F_TSCDEADLINE))
#define SET_X86_64_V2(X)                                                                           \
    (SET_X86_64(X) | X(F_SSE3) | X(F_SSSE3) | X(F_SSE41) | X(F_SSE42) | X(F_POPCNT) |              \
     X(F_CX16) | X(F_LAHF64) | X(F_RDTSCP) | X(F_ERMS))
#define SET_X86_64_V3(X)                                                                           \
    (SET_X86_64_V2(X) | X(F_AVX) | X(F_AVX2) | X(F_BMI1) | X(F_BMI2) | X(F_F16C) | X(F_FMA) |      \
     X(F_LZCNT) | X(F_MOVBE) | X(F_XSAVE) | X(F_XSAVEOPT))
#define SET_MAX(X)                                                                                 \
    (SET_X86_64_V3(X) | X(F_AES) | X(F_PCLMUL) | X(F_XSAVEC) | X(F_XSAVES) | X(F_FSGSBASE) |        \
     X(F_RDRAND) | X(F_RDSEED) | X(F_INVPCID) | X(F_PCID) | X(F_SMEP) | X(F_SMAP) | X(F_UMIP) | X(F_RDPID) |     \
     X(F_1GB) | X(F_ADX) | X(F_MONITOR) | X(F_CLFLUSHOPT) | X(F_CLWB) | X(F_FSRM) |                \
     X(F_SHA) | X(F_GFNI) | X(F_VAES) | X(F_VPCLMUL) | X(F_PKU))

/* Signatures: 486DX4, Pentium MMX, Pentium III, Core 2 and Nehalem; the last two are on no list of
 * processors that need work-arounds other than those ARCH_CAPABILITIES speaks of. */
static const struct cpu_model models[] = {
    {"386", 0x0308, 0, 0, "", FEATURES(SET_386)},
    {"486", 0x0480, 1, 0, "", FEATURES(SET_486)},
    {"pentium", 0x0543, 1, 0, "", FEATURES(SET_PENTIUM)},
    {"pentium3", 0x0683, 2, 0, "", FEATURES(SET_PENTIUM3)},
    {"x86-64", 0x006fb, 0x16, 0x80000008, "Tinamou x86-64", FEATURES(SET_X86_64)},
    {"x86-64-v2", 0x106a5, 0x16, 0x80000008, "Tinamou x86-64-v2", FEATURES(SET_X86_64_V2)},
    {"x86-64-v3", 0x106a5, 0x16, 0x80000008, "Tinamou x86-64-v3", FEATURES(SET_X86_64_V3)},
    {"max", 0x106a5, 0x16, 0x80000008, "Tinamou max", FEATURES(SET_MAX)},
};

const struct cpu_model *cpu_model_find(const char *name)
{
    unsigned k;

    for (k = 0; k < ARRAY_LEN(models); k++) {
        if (strcmp(models[k].name, name) == 0)
            return &models[k];
    }
    return NULL;
}

const char *cpu_model_name(unsigned n)
{
    return n < ARRAY_LEN(models) ? models[n].name : NULL;
}
