/* The generator's parts: see oracle_gen.c.
 *
 *   oracle_rows.c    what a row says about its operands
 *   oracle_gen.c     which case it shall be: prefixes, sizes, registers
 *   oracle_encode.c  addressing and the bytes
 *   oracle_memory.c  what lies in memory
 */
#ifndef TESTS_INSN_ORACLE_GEN_H
#define TESTS_INSN_ORACLE_GEN_H

#include "tests/insn/oracle.h"
#include "tests/insn/oracle_values.h"

enum { MAX_OPERANDS = 4 };

struct operand {
    char letter; /* of the manual's notation; 0: a fixed register or constant */
    char size[3];
    char word[4]; /* what is fixed */
};

struct gen {
    struct rng rng;
    const struct insn_row *row;
    struct oracle_case *c;
    struct operand op[MAX_OPERANDS];
    unsigned ops;
    bool code64, vex, mem;
    unsigned opsize, addrsize, vecsize;
    uint32_t pinned; /* general registers that must keep their values */

    /* The encoding */
    bool odd, padded; /* something is wrong with it; it is long: the two are not combined */
    bool lock, p66, p67;
    uint8_t rep, segment; /* the prefix bytes, or 0 */
    uint8_t rex;
    bool rex_w, vex_l;
    uint8_t reg, rm, vvvv, index;
    uint8_t tail[20]; /* modrm and what follows */
    unsigned tail_len;
    int rip_at; /* of a RIP-relative displacement in tail, or -1 */

    uint64_t ea; /* linear address of the memory operand, if known */
    bool ea_known;
    unsigned access; /* its size */
};

/* ---- oracle_rows.c ---------------------------------------------------------------------------- */

bool row_is(const struct insn_row *row, const char *const *names);
bool row_begins(const struct insn_row *row, const char *with);
bool row_ends(const struct insn_row *row, const char *with);
bool row_uses_stack(const struct insn_row *row);
void gen_parse_operands(struct gen *g);
/* The first operand with one of the letters, or NULL. */
const struct operand *gen_operand(const struct gen *g, const char *letters);
bool gen_has_word(const struct gen *g, const char *word);
bool gen_sized_by_66(const struct gen *g);
/* Of the memory operand. */
unsigned gen_access_size(const struct gen *g);
unsigned gen_alignment(const struct gen *g);

/* ---- oracle_gen.c ----------------------------------------------------------------------------- */

enum flavour gen_flavour(struct gen *g);
uint64_t gen_window_address(struct gen *g, unsigned size);
/* An address for an access of size: most lie in the window, some at its edges, some far away. */
uint64_t gen_pick_address(struct gen *g, unsigned size, unsigned align);
uint64_t gen_far_offset(struct gen *g);
uint16_t gen_selector(struct gen *g);
uint64_t gen_branch_target(struct gen *g);
/* Where JMP and CALL through a register or memory go. */
uint64_t gen_indirect_target(struct gen *g);

/* ---- oracle_encode.c -------------------------------------------------------------------------- */

void gen_choose_modrm(struct gen *g);
/* Also gives the base and index registers the values that lead to the operand. */
void gen_write_modrm(struct gen *g);
void gen_write_immediates(struct gen *g);
void gen_assemble(struct gen *g);

/* ---- oracle_memory.c -------------------------------------------------------------------------- */

void gen_fill_operand(struct gen *g);
void gen_fill_stack(struct gen *g);

#endif
