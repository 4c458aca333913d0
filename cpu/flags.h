/* Evaluation of the lazy arithmetic flags.
 *
 * An instruction leaves its sign-extended result in cc_res, its first operand (or what the kind
 * says) in cc_a, and kind and size in cc_op; what the flags are is worked out here, when somebody
 * asks. ZF is cc_res == 0 for every kind, so CC_FLAGS keeps cc_res as "not ZF". The second operand
 * is never stored: it follows from the result and the first.
 */
#ifndef CPU_FLAGS_H
#define CPU_FLAGS_H

#include "cpu/cpu.h"

/* PF for a result: even parity of the low byte. */
static inline uint64_t flags_parity(uint64_t res)
{
    unsigned v = (unsigned)(res ^ res >> 4) & 15;
    return (0x9669u >> v & 1) ? FL_PF : 0;
}

/* The values of an operation of cc_op's size, as unsigned numbers of that size. */
static inline uint64_t flags_trunc(uint64_t v, unsigned log2size)
{
    unsigned drop = 64 - (8u << log2size);
    return v << drop >> drop;
}

static inline bool flags_zf(const struct cpu *cpu)
{
    return cpu->cc_res == 0;
}

static inline bool flags_sf(const struct cpu *cpu)
{
    if (cpu->cc_op < 4)
        return cpu->cc_a & FL_SF;
    return cpu->cc_res >> 63;
}

static inline bool flags_pf(const struct cpu *cpu)
{
    if (cpu->cc_op < 4)
        return cpu->cc_a & FL_PF;
    return flags_parity(cpu->cc_res) != 0;
}

static inline bool flags_cf(const struct cpu *cpu)
{
    unsigned log2size = cpu->cc_op & 3;
    uint64_t res = flags_trunc(cpu->cc_res, log2size);
    uint64_t a = flags_trunc(cpu->cc_a, log2size);

    switch (cpu->cc_op >> 2) {
    case CC_ADD:
        return res < a;
    case CC_ADC:
        return res <= a;
    case CC_SUB: /* a < a - res */
        return a < flags_trunc(a - res, log2size);
    case CC_SBB:
        return a <= flags_trunc(a - res - 1, log2size);
    case CC_LOGIC:
        return false;
    default: /* CC_FLAGS, CC_INC, CC_DEC */
        return cpu->cc_a & FL_CF;
    }
}

static inline bool flags_of(const struct cpu *cpu)
{
    unsigned sign = (8u << (cpu->cc_op & 3)) - 1;
    uint64_t res = cpu->cc_res, a = cpu->cc_a;

    switch (cpu->cc_op >> 2) {
    case CC_ADD:
        return ((a ^ res) & ((res - a) ^ res)) >> sign & 1;
    case CC_ADC:
        return ((a ^ res) & ((res - a - 1) ^ res)) >> sign & 1;
    case CC_SUB:
        return ((a ^ (a - res)) & (a ^ res)) >> sign & 1;
    case CC_SBB:
        return ((a ^ (a - res - 1)) & (a ^ res)) >> sign & 1;
    case CC_LOGIC:
        return false;
    case CC_INC:
        return flags_trunc(res, cpu->cc_op & 3) == 1ull << sign;
    case CC_DEC:
        return flags_trunc(res, cpu->cc_op & 3) == (1ull << sign) - 1;
    default:
        return a & FL_OF;
    }
}

static inline bool flags_af(const struct cpu *cpu)
{
    uint64_t res = cpu->cc_res, a = cpu->cc_a;

    switch (cpu->cc_op >> 2) {
    case CC_ADD:
        return (a ^ (res - a) ^ res) & 0x10;
    case CC_ADC:
        return (a ^ (res - a - 1) ^ res) & 0x10;
    case CC_SUB:
        return (a ^ (a - res) ^ res) & 0x10;
    case CC_SBB:
        return (a ^ (a - res - 1) ^ res) & 0x10;
    case CC_LOGIC:
        return false;
    case CC_INC:
        return (res & 0xf) == 0;
    case CC_DEC:
        return (res & 0xf) == 0xf;
    default:
        return a & FL_AF;
    }
}

/* The six arithmetic flags as EFLAGS bits. */
static inline uint64_t flags_arith(const struct cpu *cpu)
{
    uint64_t f = flags_zf(cpu) ? FL_ZF : 0;

    if (cpu->cc_op < 4)
        return f | (cpu->cc_a & (FL_ARITH & ~FL_ZF));
    return f | (flags_cf(cpu) ? FL_CF : 0) | flags_parity(cpu->cc_res) |
           (flags_af(cpu) ? FL_AF : 0) | (flags_sf(cpu) ? FL_SF : 0) |
           (flags_of(cpu) ? FL_OF : 0);
}

/* Makes the six flags explicit. */
static inline void flags_set_arith(struct cpu *cpu, uint64_t flags)
{
    cpu->cc_op = CC_FLAGS * 4;
    cpu->cc_a = flags & (FL_ARITH & ~FL_ZF);
    cpu->cc_res = !(flags & FL_ZF);
}

/* The form of x86 hosts: AH as LAHF gives it, AL 1 if OF. */
static inline uint32_t flags_to_host(uint64_t f)
{
    return (uint32_t)(f & (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF)) << 8 | (f & FL_OF ? 1 : 0);
}

static inline void flags_set_host(struct cpu *cpu, uint32_t host)
{
    flags_set_arith(cpu, (host >> 8 & (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF)) |
                             (host & 1 ? FL_OF : 0));
}

#endif
