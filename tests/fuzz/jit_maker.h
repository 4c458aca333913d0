/* What the parts of the program generator share: a maker and its ways to write an instruction. */
#ifndef TESTS_FUZZ_JIT_MAKER_H
#define TESTS_FUZZ_JIT_MAKER_H

#include "tests/fuzz/jit_program.h"

struct maker {
    struct fuzz *f;
    struct bench *b;
    struct program *p;
    bool wide; /* 64-bit code */
    bool half; /* 16-bit code */
    enum { WILD, CALM, SELF_WRITING, FLOATING } style;
    bool calm;              /* few faults: long blocks */
    struct program_insn *i; /* the one being made */
};

/* Operand size and register numbers make the prefixes. */
struct operands {
    unsigned size, reg, rm; /* rm: a register unless mem */
    bool mem;
    unsigned base, index, scale;
    enum { SHAPE_BASE, SHAPE_INDEX, SHAPE_ABSOLUTE, SHAPE_RIP } shape;
    int32_t disp;
    unsigned segment; /* prefix or 0 */
    bool small_address;
};

/* jit_program.c */
void maker_byte(struct maker *m, unsigned v);
void maker_number(struct maker *m, uint64_t v, unsigned bytes);
void maker_begin(struct maker *m);
bool maker_end(struct maker *m);
unsigned maker_plain_reg(struct maker *m);
void maker_pick_memory(struct maker *m, struct operands *o);
struct operands maker_pick(struct maker *m, unsigned size);
unsigned maker_rex_bits(const struct operands *o);
void maker_modrm(struct maker *m, const struct operands *o);
void maker_encode(struct maker *m, unsigned mandatory, uint32_t opcode, const struct operands *o);

/* jit_program_fp.c: kinds of instructions */
void make_sse(struct maker *m);
void make_sha(struct maker *m);
void make_vex(struct maker *m);
void make_x87(struct maker *m);
void make_mmx(struct maker *m);

#endif
