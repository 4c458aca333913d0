/* Programs for fuzz_jit: instructions that compilers make, and what surrounds them in hostile ones,
 * over a few pages of memory. A program is a list of instructions, so that one can be left out and
 * the rest laid out again: branches name the instruction they lead to, not its address.
 *
 *     program_make(&p, &bench); program_lay_out(&p); ... p.keep[3] = false; program_lay_out(&p);
 */
#ifndef TESTS_FUZZ_JIT_PROGRAM_H
#define TESTS_FUZZ_JIT_PROGRAM_H

#include "tests/fuzz/cpu_bench.h"

#define PROGRAM_MAX 64
#define INSN_MAX    24 /* bytes: a random row may be longer than an instruction is */

/* Where the last bytes of an instruction say another one's place. */
enum place { PLACE_NONE, PLACE_REL8, PLACE_REL16, PLACE_REL32, PLACE_ABS16, PLACE_ABS32 };

struct program_insn {
    uint8_t bytes[INSN_MAX];
    uint8_t len;
    uint8_t place_at; /* of the displacement or address in bytes */
    enum place place;
    uint8_t target; /* an instruction; the number of them: the program's end */
    uint8_t into;   /* bytes behind the target's first one (PLACE_ABS32) */
};

struct program {
    enum mode mode;
    bool calm;   /* meant to run without faults: registers must be pointers */
    uint32_t at; /* where it is */
    uint32_t cs; /* base of CS there */
    bool skewed; /* not all of the segments of 32-bit code are flat */
    unsigned n;
    struct program_insn insn[PROGRAM_MAX];
    bool keep[PROGRAM_MAX];
    /* made by program_lay_out */
    uint32_t address[PROGRAM_MAX + 1];
    uint8_t code[PROGRAM_MAX * INSN_MAX + 8];
    unsigned bytes;
};

static inline bool mode_is_16(enum mode mode)
{
    return mode == REAL || mode == PROT16 || mode == V86;
}

/* Of b only the choices and the mode are used. */
void program_make(struct program *p, struct bench *b);
/* Sets address, code and bytes. Ends with a jump to the program's beginning. */
void program_lay_out(struct program *p);

#endif
