/* The decoder's tables, built from insn.def when a CPU is made, and operand patterns of rows.
 */
#ifndef CPU_DECODE_H
#define CPU_DECODE_H

#include "cpu/insn.h"
#include "cpu/sem.h"

enum { P_ANY, P_NP, P_66, P_F3, P_F2 };
enum { FORM_NOMODRM, FORM_Z, FORM_MRM, FORM_MEM, FORM_REG, FORM_X, FORM_XM, FORM_XR, FORM_RM };

/* Operand forms of hot instructions; RR, RI and R have their destination in insn.rm, RM in
 * insn.reg, MR has its source in insn.reg. */
enum hot_form { HF_RR, HF_RI, HF_RM, HF_MR, HF_MI, HF_R, HF_M, HF_I, HF_NONE, HF_COUNT };

/* What an operand string says, found once. */
struct row_info {
    uint8_t imm;      /* enum imm_kind of the first immediate */
    uint8_t imm2;     /* a second immediate byte (ENTER) */
    uint8_t size;     /* enum size_kind of the operation */
    bool reg_is_byte, rm_is_byte;
    uint8_t form_reg, form_mem; /* enum hot_form for register and memory forms */
    bool swap;        /* register form: source is rm and destination reg: swapped for hot rows */
    bool force_reg;   /* mod bits are ignored: always registers (MOV CR, DR) */
    bool moffs;
    bool vvvv;        /* VEX.vvvv is an operand: else it must be 1111b */
};

struct decode_tables {
    uint16_t head[4][256]; /* by opcode map: row number + 1, 0 if none */
    uint16_t *next;        /* next row of the same opcode */
    struct row_info *info;
};

const struct decode_tables *decode_tables_new(void);
void decode_tables_free(const struct decode_tables *t);

/* For the block builder: fills in->fn is not the decoder's business. */
static inline const struct insn_row *insn_row(const struct insn *i)
{
    return &insn_rows[i->row];
}
/* A read-modify-write of memory that is atomic: SDM vol. 3, 8.1.2.1. */
static inline bool insn_is_locked(const struct insn *i)
{
    return (i->prefix & PFX_LOCK) || (insn_row(i)->sem == SEM_XCHG && insn_is_mem(i));
}
enum hot_form insn_hot_form(const struct cpu *cpu, const struct insn *i);

#endif
