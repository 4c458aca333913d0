/* A CPU for fuzzers, with just enough around it: a megabyte of memory, a device that answers with
 * noise, descriptor tables, page tables, gates and a TSS that are mostly sensible, registers that
 * mostly point at memory, at the code and at the device, and random code.
 *
 *     bench_new(&b, "max"); b.mode = LONG64;
 *     bench_enter_mode(&b); bench_set_registers(&b); bench_put_code(&b, CODE); ... bench_free(&b);
 *
 * All choices come from b.f; what the device answers is a sequence of its own (b.noise), so that two
 * benches with the same choices see the same.
 */
#ifndef TESTS_FUZZ_CPU_BENCH_H
#define TESTS_FUZZ_CPU_BENCH_H

#include "cpu/sys.h"
#include "tests/fuzz/fuzz.h"

#define RAM_BYTES  (1 * MIB)
#define DEVICE_AT  (2 * MIB)
#define CODE_BYTES 96 /* of one piece of random code */

enum {
    GDT = 0x1000,
    IDT = 0x2000,
    TSS = 0x3000,
    TSS2 = 0x5800,
    CODE = 0x10000,
    HANDLERS = 0x12000,
    STACK0 = 0x20000,
    STACK3 = 0x30000,
    DATA = 0x40000,
    TABLES = 0x80000,
    K_CODE = 0x08,
    K_DATA = 0x10,
    U_CODE = 0x1b,
    U_DATA = 0x23,
    K_TSS = 0x28,
    K_CODE64 = 0x30,
    U_CODE64 = 0x5b,
    K_CODE16 = 0x38,
    K_DATA16 = 0x48,
    LDT_SEL = 0x70,
    GDT_ENTRIES = 32,
};
enum mode { REAL, PROT16, PROT32, V86, COMPAT, LONG64, MODES };

struct bench {
    struct fuzz *f;
    struct physmap *map;
    struct phys_region ram, device;
    uint64_t ram_ra;
    struct cpu *cpu;
    enum mode mode;
    uint64_t noise;
};

void bench_new(struct bench *b, const char *model);
void bench_free(struct bench *b);
/* Resets the CPU into b->mode and makes the tables. */
void bench_enter_mode(struct bench *b);
void bench_set_registers(struct bench *b);
/* One value for a register, and EFLAGS as a whole. */
uint64_t bench_any_pointer(struct bench *b);
void bench_set_flags(struct bench *b);
/* A random instruction of a random row, up to 24 bytes; its length or a little more. */
unsigned bench_random_insn(struct bench *b, uint8_t *p);
/* A VEX prefix and what may follow it, nothing checked. */
unsigned bench_random_vex(struct bench *b, uint8_t *p);
/* CODE_BYTES of random code at a physical address. */
void bench_put_code(struct bench *b, uint64_t at);
void bench_describe(const struct cpu *c);

#endif
