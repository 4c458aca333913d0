/* The rows of insn.def as a table. */
#include "cpu/decode.h"
#include "cpu/sem.h"

#define NOMODRM  FORM_NOMODRM, 0, 0
#define Z        FORM_Z, 0, 0
#define MRM      FORM_MRM, 0, 0
#define MEM      FORM_MEM, 0, 0
#define REG      FORM_REG, 0, 0
#define X(n)     FORM_X, n, 0
#define XM(n)    FORM_XM, n, 0
#define XR(n)    FORM_XR, n, 0
#define RM(n, m) FORM_RM, n, m

/* First pass: declare the functions that rows name. */
#define HOT(s)
#define FN(f) bool f(struct cpu *, const struct insn *);
#define OP(opcode, prefix, form, name, operands, how, feature, attr) how
#include "cpu/insn.def"
#undef OP
#undef HOT
#undef FN

/* Second pass: the table. */
#define HOT(s) NULL, SEM_##s
#define FN(f)  f, SEM_NONE
#define OP(opcode, prefix, form, name, operands, how, feature, attr)                               \
    {opcode, prefix, form, #name, operands, how, F_##feature, (uint32_t)(attr),                    \
     (uint32_t)((uint64_t)(attr) >> 32)},
const struct insn_row insn_rows[] = {
#include "cpu/insn.def"
};
const unsigned insn_row_count = sizeof(insn_rows) / sizeof(insn_rows[0]);
