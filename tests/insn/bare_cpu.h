/* A CPU for decoding only: model "max" with hardly any memory, its mode set from outside. */
#ifndef TESTS_INSN_BARE_CPU_H
#define TESTS_INSN_BARE_CPU_H

#include "cpu/decode.h"

static inline struct cpu *bare_cpu_new(void)
{
    struct cpu_env env = {.mem = physmap_new(PAGE_SIZE, NULL, NULL)};
    return env.mem ? cpu_new("max", 0, 1, &env, NULL) : NULL;
}

static inline void bare_cpu_free(struct cpu *cpu)
{
    struct physmap *map = cpu->env.mem;
    cpu_free(cpu);
    physmap_free(map);
}

/* Protected mode: VEX and a few others do not exist in real mode. */
static inline void bare_cpu_set_bits(struct cpu *cpu, unsigned bits)
{
    cpu->mode = MODE_PE | (bits == 64 ? MODE_CODE64 : bits == 32 ? MODE_CODE32 : 0);
}

#endif
