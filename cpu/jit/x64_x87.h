/* x87 and MMX on the host's unit: what the rest of the backend needs of it. See x64_x87.c.
 */
#ifndef CPU_JIT_X64_X87_H
#define CPU_JIT_X64_X87_H

#include "cpu/jit/x64_tr.h"

/* ---- fixed routines ------------------------------------------------------------------------------ */

/* If the guest's x87 registers are in the host's unit: to the image. Uses TMP1 and the flags. */
void x64_x87_to_memory(struct jit *j, struct x64 *x);
/* A routine that makes them live; AL is 0 afterwards if they may not be. What it needs of x64_thunks.c: */
struct x64_x87_hooks {
    void (*vec_to_memory)(struct jit *j, struct x64 *x);
    void (*vec_back)(struct jit *j, struct x64 *x);
    void (*call)(struct x64 *x, uintptr_t fn); /* from a routine, guest registers and all */
};
void x64_x87_from_memory(struct jit *j, struct x64 *x, const struct x64_x87_hooks *h);

/* Sets j->x87_differs: x64_x87_probe.c. Uses code memory from j->used on, for the moment. */
void x64_x87_probe(struct jit *j);

/* ---- of a block ------------------------------------------------------------------------------------ */

/* Sets t->x87 and t->n_x87, once t->hot and t->native are set; true if the block is to have them live. */
bool tr_x87_analyse(struct tr *t);
/* Of one with t->x87: flags before it are needed; it sets all flags. */
bool tr_x87_may_leave(const struct insn *i);
bool tr_x87_sets_flags(const struct insn *i);
uint32_t tr_x87_writes(const struct insn *i); /* general registers it may write: bits */
bool tr_x87(struct tr *t);
/* Stores what n says; uses TMP0, no flags. flush: what the main line has not stored yet; regs_change: of
 * that, what needs registers, which the running instruction may change. */
void tr_x87_note_store(struct tr *t, const struct x87_note *n);
void tr_x87_note_flush(struct tr *t);
void tr_x87_regs_change(struct tr *t);

#endif
