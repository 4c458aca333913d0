/* Names of the hot instructions, whose bodies are in sem.inc. */
#ifndef CPU_SEM_H
#define CPU_SEM_H

#define SEM_LIST(S)                                                                                \
    S(ADD) S(OR) S(ADC) S(SBB) S(AND) S(SUB) S(XOR) S(CMP) S(TEST) S(INC) S(DEC) S(NEG) S(NOT)     \
    S(MOV) S(LEA) S(XCHG) S(XCHGA) S(MOVZXB) S(MOVZXW) S(MOVSXB) S(MOVSXW) S(MOVSXD)               \
    S(SHL) S(SHR) S(SAR) S(ROL) S(ROR) S(SHLC) S(SHRC) S(SARC) S(ROLC) S(RORC)                     \
    S(IMUL2) S(IMUL3) S(CBW) S(CWD) S(BSWAP)                                                       \
    S(PUSH) S(PUSHI) S(PUSHE) S(POP) S(LEAVE)                                                      \
    S(CALL) S(CALLI) S(JMP) S(JMPI) S(RET) S(RETI)                                                 \
    SEM_CC(S, J) SEM_CC(S, SET) SEM_CC(S, CMOV)
#define SEM_CC(S, p)                                                                               \
    S(p##O) S(p##NO) S(p##B) S(p##AE) S(p##E) S(p##NE) S(p##BE) S(p##A)                            \
    S(p##S) S(p##NS) S(p##P) S(p##NP) S(p##L) S(p##GE) S(p##LE) S(p##G)

enum sem {
    SEM_NONE,
#define S(n) SEM_##n,
    SEM_LIST(S)
#undef S
    SEM_COUNT
};

#endif
