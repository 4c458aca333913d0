/* Reading sem.inc as a translator: every word appends a node. See ir.h. */
#include "cpu/jit/ir.h"

static ir_ref put(struct ir *ir, enum ir_op op, unsigned aux, ir_ref a, ir_ref b, uint64_t imm)
{
    CHECK(ir->count < IR_MAX);
    ir->n[ir->count] = (struct ir_node){(uint8_t)op, (uint8_t)aux, a, b, imm};
    return ir->count++;
}

static ir_ref imm(struct ir *ir, uint64_t v)
{
    return put(ir, IR_IMM, 0, 0, 0, v);
}

static ir_ref condition(struct ir *ir, enum ir_op op, unsigned cc, ir_ref a, ir_ref b)
{
    ir->flags_use |= IR_READS_FLAGS;
    return put(ir, op, cc, a, b, 0);
}

static ir_ref source(struct ir *ir, unsigned size)
{
    if (ir->form == HF_RI || ir->form == HF_MI)
        return imm(ir, ir->insn->imm);
    return put(ir, IR_SRC, size, 0, 0, 0);
}

static ir_ref carry(struct ir *ir)
{
    ir->flags_use |= IR_READS_FLAGS;
    return put(ir, IR_CARRY, 0, 0, 0, 0);
}

static void flags(struct ir *ir, enum cc_kind kind, ir_ref r)
{
    ir->flags_use |= IR_SETS_FLAGS;
    put(ir, IR_FLAGS, kind, r, 0, 0);
}

/* A count of 0 changes no flag; rotates change two. */
static void shift(struct ir *ir, enum ir_shift how, ir_ref a, ir_ref count)
{
    const struct ir_node *n = &ir->n[count];
    unsigned mask = ir->insn->size == 8 ? 63 : 31;
    bool none = n->op == IR_IMM && !(n->imm & mask);

    if (!none)
        ir->flags_use |= n->op == IR_IMM && how <= IR_SAR ? IR_SETS_FLAGS : IR_ALTERS_FLAGS;
    put(ir, IR_SHIFT, how, a, count, 0);
}

#define BODY(n)                        static void ir_##n(struct ir *ir)
#define BODY_BIN(n)                    BODY(n)
#define BODY_MOVE(n)                   BODY(n)
#define BODY_UN(n)                     BODY(n)
#define BODY_UN8(n)                    BODY(n)
#define BODY_UNI(n)                    BODY(n)
#define BODY_REG(n)                    BODY(n)
#define BODY_XCHG(n)                   BODY(n)
#define BODY_XCHGA(n)                  BODY(n)
#define BODY_MEMONLY(n)                BODY(n)
#define BODY_R(n)                      BODY(n)
#define BODY_IMM(n)                    BODY(n)
#define BODY_NONE(n)                   BODY(n)

#define SIZE                           (ir->insn->size)
#define IMM                            imm(ir, ir->insn->imm)
#define IMM16                          ((uint16_t)ir->insn->imm)
#define ZERO                           0
#define ONE                            imm(ir, 1)
#define READ_DST(v)                    ir_ref v = put(ir, IR_DST, 0, 0, 0, 0)
#define READ_DST_REG(v)                READ_DST(v)
#define MODIFY_DST(v)                  ir_ref v = put(ir, IR_DST_MODIFY, 0, 0, 0, 0)
#define READ_SRC(v)                    ir_ref v = source(ir, 0)
#define READ_SRC_8(v)                  ir_ref v = source(ir, 1)
#define READ_SRC_16(v)                 ir_ref v = source(ir, 2)
#define READ_SRC_32(v)                 ir_ref v = source(ir, MIN(4u, (unsigned)SIZE))
#define WRITE_DST(v)                   put(ir, IR_WRITE, 0, v, 0, 0)
#define WRITE_NEW_DST(v)               put(ir, IR_WRITE, 0, v, 0, 0)
#define WRITE_SRC(v)                   put(ir, IR_WRITE_SRC, 0, v, 0, 0)
#define VALUE(r, x)                    ir_ref r = (x)
#define ADD(a, b)                      put(ir, IR_ADD, 0, a, b, 0)
#define SUB(a, b)                      put(ir, IR_SUB, 0, a, b, 0)
#define AND(a, b)                      put(ir, IR_AND, 0, a, b, 0)
#define OR(a, b)                       put(ir, IR_OR, 0, a, b, 0)
#define XOR(a, b)                      put(ir, IR_XOR, 0, a, b, 0)
#define ADD_CARRY(a, b, c)             ((void)(c), put(ir, IR_ADC, 0, a, b, 0))
#define SUB_BORROW(a, b, c)            ((void)(c), put(ir, IR_SBB, 0, a, b, 0))
#define NOT(a)                         put(ir, IR_NOT, 0, a, 0, 0)
#define NEG(a)                         put(ir, IR_NEG, 0, a, 0, 0)
#define BYTESWAP(a)                    put(ir, IR_BSWAP, 0, a, 0, 0)
#define ZERO_EXT(bits, v)              put(ir, IR_ZEXT, bits, v, 0, 0)
#define SIGN_EXT(bits, v)              put(ir, IR_SEXT, bits, v, 0, 0)
#define BOOL(cc)                       condition(ir, IR_BOOL, cc, 0, 0)
#define SELECT(cc, b, a)               condition(ir, IR_SELECT, cc, b, a)
#define EFFECTIVE_ADDRESS              put(ir, IR_EA, 0, 0, 0, 0)
#define RETURN_ADDRESS                 put(ir, IR_RETURN, 0, 0, 0, 0)
#define REL_TARGET                     put(ir, IR_TARGET, 0, 0, 0, 0)
#define CARRY(c)                       ir_ref c = carry(ir)
#define FLAGS(kind, r, a)              ((void)(a), flags(ir, kind, r))
#define FLAGS_CARRIED(k1, k0, c, r, a) flags(ir, k1, r)
#define SHIFT(how, a, count)           shift(ir, IR_##how, a, count)
#define COUNT_CL                       put(ir, IR_CL, 0, 0, 0, 0)
#define MULTIPLY(a, b)                 (ir->flags_use |= IR_SETS_FLAGS, (void)put(ir, IR_MULTIPLY, 0, a, b, 0))
#define WIDEN_A                        put(ir, IR_WIDEN_A, 0, 0, 0, 0)
#define SIGN_OF_A_TO_D                 put(ir, IR_SIGN_OF_A, 0, 0, 0, 0)
#define PUSH_VALUE(v)                  put(ir, IR_PUSH, 0, v, 0, 0)
#define PEEK_VALUE(v, offset)          ir_ref v = put(ir, IR_PEEK, 0, 0, 0, offset)
#define STACK_ADD(n)                   put(ir, IR_SP_ADD, 0, 0, 0, n)
#define POP_VALUE(v)                                                                               \
    PEEK_VALUE(v, 0);                                                                              \
    STACK_ADD(SIZE)
#define LEAVE_FRAME        put(ir, IR_LEAVE, 0, 0, 0, 0)
#define CHECK_TARGET(t)    put(ir, IR_CHECK, 0, t, 0, 0)
#define BRANCH(slot, t)    put(ir, IR_BRANCH, 0, t, 0, 0)
#define BRANCH_IF(cc, t)   condition(ir, IR_BRANCH_IF, cc, t, 0)
#define BRANCH_INDIRECT(t) put(ir, IR_BRANCH_IND, 0, t, 0, 0)
#define NEXT               return

/* As the manual numbers them (SDM vol. 2, appendix B.1.4.7). */
enum {
    COND_O,
    COND_NO,
    COND_B,
    COND_AE,
    COND_E,
    COND_NE,
    COND_BE,
    COND_A,
    COND_S,
    COND_NS,
    COND_P,
    COND_NP,
    COND_L,
    COND_GE,
    COND_LE,
    COND_G
};

#include "cpu/sem.inc"

static void (*const bodies[SEM_COUNT])(struct ir *) = {
#define S(n) [SEM_##n] = ir_##n,
    SEM_LIST(S)
#undef S
};

void ir_record(struct ir *ir, const struct cpu *cpu, const struct insn *i)
{
    ir->insn = i;
    ir->form = insn_hot_form(cpu, i);
    ir->count = 0;
    ir->flags_use = 0;
    bodies[insn_row(i)->sem](ir);
}

bool ir_touches_memory(const struct ir *ir)
{
    bool mem = ir->form == HF_RM || ir->form == HF_MR || ir->form == HF_MI || ir->form == HF_M;

    for (unsigned k = 0; k < ir->count; k++) {
        switch (ir->n[k].op) {
        case IR_DST:
        case IR_DST_MODIFY:
        case IR_SRC:
        case IR_WRITE:
            if (mem && insn_row(ir->insn)->sem != SEM_LEA)
                return true;
            break;
        case IR_PUSH:
        case IR_PEEK:
        case IR_LEAVE:
            return true;
        default:
            break;
        }
    }
    return false;
}
