/* The oracle: one instruction, run by the host's own CPU in 64-bit mode and by ours, from the same
 * registers and memory. x86-64 hosts only.
 *
 * A fixed window of host addresses is mapped at the same linear addresses in the guest, so that
 * memory operands mean the same on both sides. The instruction must not change CS or use the stack
 * beyond the window.
 */
#ifndef TESTS_INSN_NATIVE_H
#define TESTS_INSN_NATIVE_H

#include "cpu/cpu.h"

#define ORACLE_DATA      0x20000000ull /* window for memory operands */
#define ORACLE_DATA_SIZE 0x4000u
#define ORACLE_CODE      0x20010000ull

struct oracle_state {
    uint64_t r[16];
    uint64_t flags;
    uint64_t rip; /* after */
    uint8_t xmm[16][16];
    uint8_t exception; /* EXC_NONE, or the vector */
    uint8_t data[ORACLE_DATA_SIZE];
};

struct oracle;
struct oracle *oracle_new(const char *model);
void oracle_free(struct oracle *o);
struct cpu *oracle_cpu(struct oracle *o);
/* Both run in->..., and leave the result in *out. len at most 15. */
void oracle_native(struct oracle *o, const uint8_t *code, unsigned len,
                   const struct oracle_state *in, struct oracle_state *out);
void oracle_ours(struct oracle *o, const uint8_t *code, unsigned len,
                 const struct oracle_state *in, struct oracle_state *out);

#endif
