/* An x86-64 assembler: appends instructions to a buffer.
 *
 * Nothing here knows about guests. When the buffer is full, emission stops and `overflow` is set; the
 * caller looks at the end. Instruction layout: SDM vol. 2, chapter 2.
 */
#ifndef CPU_JIT_X64_H
#define CPU_JIT_X64_H

#include "base/bits.h"

enum x64_reg {
    RAX,
    RCX,
    RDX,
    RBX,
    RSP,
    RBP,
    RSI,
    RDI,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    X64_NONE = 0xff
};

/* Condition codes as jcc, setcc and cmovcc number them. */
enum x64_cc {
    CC_O,
    CC_NO,
    CC_C,
    CC_NC,
    CC_Z,
    CC_NZ,
    CC_BE,
    CC_NBE,
    CC_S,
    CC_NS,
    CC_P,
    CC_NP,
    CC_L,
    CC_NL,
    CC_LE,
    CC_NLE
};

struct x64 {
    uint8_t *start, *p, *end; /* where bytes are written */
    bool overflow;
};

/* A register (base, with is_mem false) or memory operand. */
struct x64_rm {
    bool is_mem;
    uint8_t base, index; /* X64_NONE: none */
    uint8_t scale;       /* 0 to 3 */
    int32_t disp;
};

static inline struct x64_rm x64_r(unsigned reg)
{
    return (struct x64_rm){false, (uint8_t)reg, X64_NONE, 0, 0};
}
static inline struct x64_rm x64_m(unsigned base, int32_t disp)
{
    return (struct x64_rm){true, (uint8_t)base, X64_NONE, 0, disp};
}
static inline struct x64_rm x64_mi(unsigned base, unsigned index, unsigned scale, int32_t disp)
{
    return (struct x64_rm){true, (uint8_t)base, (uint8_t)index, (uint8_t)scale, disp};
}

void x64_byte(struct x64 *x, unsigned v);
void x64_u32(struct x64 *x, uint32_t v);
void x64_u64(struct x64 *x, uint64_t v);

/* Any instruction of the legacy encoding with a modrm byte: prefix 0, 0x66, 0xf2 or 0xf3 (mandatory
 * ones; operand size 2 adds 66 by itself); opcode 0xNN, 0x0fNN, 0x0f38NN or 0x0f3aNN; size 1, 2, 4, 8 of
 * the general registers involved, which 8 makes REX.W. With byte_reg (byte_rm) the register in reg (rm)
 * is a byte register: SPL to DIL rather than AH to BH. */
enum { X64_BYTE_REG = 1, X64_BYTE_RM = 2 };
void x64_op(struct x64 *x, unsigned prefix, unsigned opcode, unsigned size, unsigned reg,
            struct x64_rm rm, unsigned bytes);
/* VEX-encoded: map 1 to 3, pp 0 to 3, w, l, vvvv. */
void x64_vex(struct x64 *x, unsigned map, unsigned pp, unsigned w, unsigned l, unsigned vvvv,
             unsigned opcode, unsigned reg, struct x64_rm rm);

enum x64_alu { X_ADD, X_OR, X_ADC, X_SBB, X_AND, X_SUB, X_XOR, X_CMP };
void x64_alu_to_rm(struct x64 *x, enum x64_alu op, unsigned size, struct x64_rm dst, unsigned src);
void x64_alu_to_reg(struct x64 *x, enum x64_alu op, unsigned size, unsigned dst, struct x64_rm src);
void x64_alu_imm(struct x64 *x, enum x64_alu op, unsigned size, struct x64_rm dst, int32_t imm);
void x64_test(struct x64 *x, unsigned size, struct x64_rm a, unsigned b);
void x64_test_imm(struct x64 *x, unsigned size, struct x64_rm a, int32_t imm);
void x64_load(struct x64 *x, unsigned size, unsigned dst, struct x64_rm src);  /* mov reg, rm */
void x64_store(struct x64 *x, unsigned size, struct x64_rm dst, unsigned src); /* mov rm, reg */
void x64_store_imm(struct x64 *x, unsigned size, struct x64_rm dst, int32_t imm);
void x64_mov_imm(struct x64 *x, unsigned dst, uint64_t imm); /* shortest form; flags untouched */
void x64_lea(struct x64 *x, unsigned size, unsigned dst, struct x64_rm src);
/* movzx, movsx, movsxd: from bytes of src to a register of size. */
void x64_movzx(struct x64 *x, unsigned size, unsigned dst, struct x64_rm src, unsigned from);
void x64_movsx(struct x64 *x, unsigned size, unsigned dst, struct x64_rm src, unsigned from);
enum x64_shift { X_ROL = 0, X_ROR = 1, X_SHL = 4, X_SHR = 5, X_SAR = 7 };
void x64_shift_imm(struct x64 *x, enum x64_shift ext, unsigned size, struct x64_rm dst, unsigned n);
void x64_shift_cl(struct x64 *x, enum x64_shift ext, unsigned size, struct x64_rm dst);
/* dst = src rotated to the right by n, without flags (BMI2). */
void x64_rorx(struct x64 *x, unsigned size, unsigned dst, unsigned src, unsigned n);
void x64_setcc(struct x64 *x, enum x64_cc cc, struct x64_rm dst);
void x64_push(struct x64 *x, unsigned reg);
void x64_pop(struct x64 *x, unsigned reg);

/* Branches with 32-bit displacements; the place of the displacement is returned, to be resolved. */
uint8_t *x64_jcc(struct x64 *x, enum x64_cc cc);
uint8_t *x64_jmp(struct x64 *x);
uint8_t *x64_call(struct x64 *x);
void x64_jmp_to(struct x64 *x, const uint8_t *target);
void x64_call_to(struct x64 *x, const uint8_t *target);
/* Makes the displacement at `at` lead to target. */
void x64_resolve(uint8_t *at, const uint8_t *target);

#endif
