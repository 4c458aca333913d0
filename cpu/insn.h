/* A decoded instruction, and the rows of insn.def that describe every encoding.
 */
#ifndef CPU_INSN_H
#define CPU_INSN_H

#include "cpu/cpu.h"

/* Prefixes that were present, insn.prefix. REPZ and REPNZ are both the last of F2/F3 seen. */
enum {
    PFX_LOCK = 1, PFX_REPNZ = 2, PFX_REPZ = 4, PFX_OPSIZE = 8, PFX_ADDRSIZE = 16, PFX_REX = 32,
    PFX_SEG = 64, PFX_REXW = 128,
};

/* An interpreter handler: does its instruction and goes on to the next by a tail call, or, in builds
 * without them, returns it; NULL leaves the run of blocks (cpu/interp.c). */
typedef const struct insn *(*insn_fn)(struct cpu *, const struct insn *);
typedef bool (*op_fn)(struct cpu *, const struct insn *);

struct insn {
    insn_fn fn;       /* interpreter's handler: chains to the next by a tail call */
    uint64_t imm;     /* immediate, sign-extended to 64 bits; moffs; branch displacement; far
                         pointer (Ap): selector << 32 | offset; Ib after Iw: see vvvv */
    int32_t disp;     /* RIP-relative: counted from the block's start */
    uint16_t row;     /* index into insn_rows */
    uint8_t reg;      /* modrm.reg with REX.R, or the opcode's register; byte regs: see below */
    uint8_t rm;       /* modrm.rm with REX.B when it is a register; byte regs: see below */
    uint8_t base, index; /* of a memory operand: REG_ZERO if none, REG_BRIP if RIP-relative */
    uint8_t scale;    /* shift of the index, 0 to 3 */
    uint8_t ea_shift; /* 64 - address size in bits: 0, 32, 48 */
    uint8_t seg;      /* enum seg_id of the memory operand, overrides applied */
    uint8_t size;     /* operand size in bytes: 1, 2, 4, 8 (vector rows: what the row says) */
    uint8_t len;      /* in bytes, 1 to 15 */
    uint8_t off;      /* from the start of the block */
    uint8_t idx;      /* instruction's number in the block */
    uint8_t prefix;   /* PFX_ */
    uint8_t modrm;    /* raw; 0xc0 and more: register form */
    uint8_t vvvv;     /* VEX; immediates of a second kind (ENTER's level) */
};
/* Byte registers are stored in reg and rm as byte offsets into cpu->r, so that AH to BH are
 * ordinary: use reg8_get and reg8_set of cpu/exec.h. Rows say which operand is a byte register by
 * their operand strings ("Eb", "Gb", "Zb"). */

static inline bool insn_is_mem(const struct insn *i)
{
    return i->modrm < 0xc0;
}

/* ---- rows of insn.def ------------------------------------------------------------------------
 *
 *   OP(opcode, prefix, form, NAME, "operands", how, FEATURE, attributes)
 *
 * opcode    0xNN one byte; 0x0FNN, 0x0F38NN, 0x0F3ANN two and three; 0xD8NN..0xDFNN is not used:
 *           x87 rows are written as one-byte opcodes with forms.
 * prefix    P_ANY: 66/F2/F3 are not part of the opcode (66 is operand size, F2/F3 repeat or nothing)
 *           P_NP: none of 66 F3 F2; P_66, P_F3, P_F2: that mandatory prefix (F3/F2 win over 66)
 * form      NOMODRM: no modrm byte; Z: like it, low three opcode bits are a register (row stands
 *           for eight opcodes); MRM: any modrm; MEM / REG: memory or register forms only;
 *           X(n), XM(n), XR(n): modrm.reg is n (any, memory, register form);
 *           RM(n, m): register form with reg n and rm m (fixed encodings such as 0F 01 C8)
 * operands  in the manual's notation, destination first, with these letters
 *           E general register or memory; G general register in reg; Z register in opcode
 *           M memory only; R register rm only; I immediate; J branch displacement; O moffs; A far
 *           pointer; S segment register; C control register; D debug register; F EFLAGS;
 *           X DS:rSI; Y ES:rDI; P Q MMX in reg, in rm or memory; N MMX in rm only;
 *           V W XMM in reg, in rm or memory; U XMM in rm only; H XMM in VEX.vvvv; B general in vvvv;
 *           L XMM in the top half of an immediate byte
 *           followed by the size: b 1, w 2, d 4, q 8, v operand size 2/4/8, z operand size at most
 *           4, y 4/8 by REX.W, x whole vector (16, with VEX.L 32), dq 16, ps pd x, ss 4, sd 8,
 *           p far pointer 2+2/4/8, t 10 bytes, s 6 or 10 (descriptor table), a bound pair,
 *           bs immediate byte sign-extended to the operand size; none (M alone): no size, LEA etc.
 *           Fixed: AL, CL, DX, AX, rAX (operand size), 1, 3, ES.. GS, ST, STi
 * how       HOT(S): body in sem.inc under S; FN(f): bool f(struct cpu *, const struct insn *)
 * FEATURE   CPUID feature it needs (#UD without it), as in enum cpu_feature without F_
 * attributes or-ed: see below
 */
enum {
    AT_LOCK = 1 << 0,    /* LOCK allowed (memory destination) */
    AT_END = 1 << 1,     /* ends the block: may branch, change the mode or be followed by a check */
    AT_D64 = 1 << 2,     /* operand size defaults to 64 in 64-bit code (push, near branches) */
    AT_F64 = 1 << 3,     /* operand size is 64 in 64-bit code, 66 ignored */
    AT_I64 = 1 << 4,     /* #UD in 64-bit code */
    AT_O64 = 1 << 5,     /* #UD outside 64-bit code */
    AT_PE = 1 << 6,      /* #UD in real and virtual-8086 mode */
    AT_CPL0 = 1 << 7,    /* #GP(0) if CPL > 0 */
    AT_SSE = 1 << 8,     /* #UD if CR0.EM or !CR4.OSFXSR; #NM if CR0.TS */
    AT_MMX = 1 << 9,     /* #UD if CR0.EM; #NM if CR0.TS; #MF if pending */
    AT_X87 = 1 << 10,    /* #NM if CR0.EM or CR0.TS */
    AT_ALIGN = 1 << 11,  /* 16-byte memory operand must be aligned: #GP(0) */
    AT_REP = 1 << 12,    /* F3/F2 repeat it */
    AT_AVX = 1 << 13,    /* VEX-encoded vector instruction: #UD without AVX, in XCR0 too; #NM if
                            CR0.TS. insn.size is the vector's, AT_ALIGN asks for as much */
    AT_NOFAULT = 1 << 14, /* cannot fault and touches no memory but what its operands say */
    AT_X87WAIT = 1 << 15, /* x87 that checks pending exceptions first (#MF) */
    AT_SIZE_B = 1 << 16, /* operand size is 1 whatever the prefixes */
    AT_VEX = 1 << 17,    /* only the VEX-encoded form, with VEX.L 0; the prefix is VEX.pp */
    AT_VEXL = 1 << 18,   /* VEX forms: VEX.L 1 is allowed and means 256-bit vectors */
    AT_L1 = 1 << 19,     /* VEX.L must be 1 */
    AT_LIG = 1 << 20,    /* VEX.L is ignored: scalars */
    AT_W0 = 1 << 21,     /* VEX.W must be 0; ignored without one of these two */
    AT_W1 = 1 << 22,
    AT_L_AVX2 = 1 << 23, /* the 256-bit form needs AVX2 */
    AT_VSIB = 1 << 24,   /* the memory operand's index is a vector register (insn.index) */
    AT_HOST = 1 << 25,   /* an x86 host's own instruction of that name does the same to the bit */
};

/* What the manual leaves undefined after the instruction, or-ed to the attributes: UNDEF(AF) for a
 * flag. Tests compare everything else with real processors. */
#define UNDEF(flag)       ((uint64_t)FL_##flag << 32)
/* Shifts and rotates. By a masked count of 0 nothing is undefined, by 1 OF is defined, and CF by less
 * than the operand's bits. */
#define UNDEF_BY_COUNT    ((uint64_t)UN_BY_COUNT << 32)
/* SHLD and SHRD: the destination and all flags, by a count above the operand's bits. */
#define UNDEF_BIG_COUNT   ((uint64_t)UN_BIG_COUNT << 32)
/* Transcendental functions: the result's last place, and with it C1. */
#define UNDEF_LAST_PLACE  ((uint64_t)UN_LAST_PLACE << 32)
enum { UN_BY_COUNT = 1 << 24, UN_BIG_COUNT = 1 << 25, UN_LAST_PLACE = 1 << 26 };

struct insn_row {
    uint32_t opcode;
    uint8_t prefix, form, form_reg, form_rm;
    const char *name, *operands;
    op_fn fn;          /* NULL for hot rows */
    uint16_t sem;      /* enum sem of hot rows */
    uint8_t feature;
    uint32_t attr;
    uint32_t undef;    /* FL_ and UN_ */
};
extern const struct insn_row insn_rows[];
extern const unsigned insn_row_count;

/* Decodes the bytes at code (at most avail) as in mode; true with *out filled except fn. False:
 * *need_more if avail was too short for what was seen so far, else it is #UD or, over 15 bytes,
 * #GP (*too_long). */
struct decode_result {
    bool need_more, too_long;
};
bool insn_decode(const struct cpu *cpu, const uint8_t *code, unsigned avail, unsigned block_off,
                 struct insn *out, struct decode_result *res);

/* Disassembles for people, Intel syntax: "add eax, [rbx+8]". pc is the instruction's own RIP. */
void insn_format(const struct insn *i, uint64_t pc, char *buf, size_t size);

#endif
