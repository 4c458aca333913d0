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
    enum { WILD, CALM, SELF_WRITING, FLOATING, SHAPED, STYLES } style;
    bool calm;              /* few faults: long blocks */
    struct program_insn *i; /* the one being made */
    bool full;              /* of a shape: the program is */
};

enum { AX, CX, DX, BX, SP, BP, SI, DI };

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
/* Ends an instruction and begins the next one of the same kind; false: no room, there is none. */
bool maker_next(struct maker *m);
unsigned maker_any_reg(struct maker *m);
unsigned maker_pointer_reg(struct maker *m);
unsigned maker_plain_reg(struct maker *m);
void maker_pick_memory(struct maker *m, struct operands *o);
struct operands maker_pick(struct maker *m, unsigned size);
unsigned maker_rex_bits(const struct operands *o);
void maker_modrm(struct maker *m, const struct operands *o);
void maker_encode(struct maker *m, unsigned mandatory, uint32_t opcode, const struct operands *o);

/* Opcodes whose lowest bit says "not bytes". */
void maker_encode_sized(struct maker *m, uint32_t opcode, const struct operands *o);
unsigned maker_size(struct maker *m);
/* A shift or rotate: which one o->reg says. */
enum shift_count { BY_ONE, BY_CL, BY_IMM };
void maker_shift(struct maker *m, const struct operands *o, enum shift_count by, uint8_t count);
/* What comes last of an instruction leads to another one, into bytes behind its beginning. */
void maker_lead_to(struct maker *m, enum place place, unsigned target, unsigned into);
/* One instruction of any kind that the program's style has, but no shape. */
void maker_filler(struct maker *m);

/* jit_program_fp.c: kinds of instructions */
/* VEX prefix, opcode and ModRM; vvvv 16: none. */
void maker_vex(struct maker *m, unsigned map, unsigned pp, bool w, bool l, unsigned vvvv,
               unsigned opcode, const struct operands *o);
void make_sse(struct maker *m);
void make_sha(struct maker *m);
void make_vex(struct maker *m);
void make_x87(struct maker *m);
void make_mmx(struct maker *m);

/* jit_program_shapes.c: several instructions that belong together */
void shape_exchange(struct maker *m);
void shape_span(struct maker *m);
void shape_loop(struct maker *m);
void shape_call(struct maker *m);
void shape_recursion(struct maker *m);
void shape_stack(struct maker *m);
void shape_rotate(struct maker *m);
void shape_carry_chain(struct maker *m);
void shape_high_bytes(struct maker *m);

#endif
