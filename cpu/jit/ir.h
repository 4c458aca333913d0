/* The translator's intermediate representation of one guest instruction: what the words of sem.inc
 * leave when the translator reads them. A backend lowers it node by node, in order.
 *
 * Values are numbers of nodes. A value node does nothing by itself; a backend may compute it when an
 * effect uses it, for guest registers do not change between a node and its uses except by effects
 * that come later. Sizes: every value has the instruction's operand size unless the op says.
 */
#ifndef CPU_JIT_IR_H
#define CPU_JIT_IR_H

#include "cpu/decode.h"
#include "cpu/sem.h"

typedef uint8_t ir_ref;

enum ir_op {
    /* values */
    IR_DST,        /* the first operand: register insn.rm or insn.reg (form RM), or memory */
    IR_DST_MODIFY, /* the same, and a write follows */
    IR_SRC,        /* the second operand, aux bytes wide (0: the operand size) */
    IR_IMM,        /* imm */
    IR_EA,         /* the memory operand's offset */
    IR_CL,
    IR_CARRY,  /* the carry flag as it was before */
    IR_RETURN, /* RIP of the next instruction */
    IR_TARGET, /* next RIP plus the immediate, as wide as the operand */
    IR_PEEK,   /* read from the stack at offset imm */
    IR_ADD,
    IR_SUB,
    IR_AND,
    IR_OR,
    IR_XOR,
    IR_ADC,
    IR_SBB,
    IR_NOT,
    IR_NEG,
    IR_BSWAP,
    IR_ZEXT,
    IR_SEXT,   /* of aux bits */
    IR_BOOL,   /* condition aux */
    IR_SELECT, /* condition aux ? a : b */
    /* effects */
    IR_WRITE,     /* first operand = a */
    IR_WRITE_SRC, /* second operand's register = a */
    IR_FLAGS,     /* lazy flags of kind aux, result a */
    IR_SHIFT,     /* how aux (enum ir_shift), by b: writes the operand and flags */
    IR_MULTIPLY,  /* destination = a * b, signed; flags */
    IR_WIDEN_A,
    IR_SIGN_OF_A,
    IR_PUSH,   /* a */
    IR_SP_ADD, /* imm */
    IR_LEAVE,
    IR_CHECK,      /* a can be branched to, or #GP */
    IR_BRANCH,     /* to a, static */
    IR_BRANCH_IF,  /* condition aux: to a, else to the next instruction */
    IR_BRANCH_IND, /* to a */
};
enum ir_shift { IR_SHL, IR_SHR, IR_SAR, IR_ROL, IR_ROR };

struct ir_node {
    uint8_t op, aux;
    ir_ref a, b;
    uint64_t imm;
};

/* What an instruction does with the arithmetic flags. */
enum ir_flags_use {
    IR_READS_FLAGS = 1,
    IR_SETS_FLAGS = 2,   /* all six, always */
    IR_ALTERS_FLAGS = 4, /* some of them, or not always */
};

#define IR_MAX 12
struct ir {
    const struct insn *insn;
    enum hot_form form;
    uint8_t count, flags_use;
    struct ir_node n[IR_MAX];
};

/* Reads the body of a hot instruction. */
void ir_record(struct ir *ir, const struct cpu *cpu, const struct insn *i);
bool ir_touches_memory(const struct ir *ir);

#endif
