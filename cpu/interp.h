/* The interpreter's inside: handlers of decoded instructions and how they go from one to the next.
 *
 * A handler does its instruction and ends with NEXT(), a tail call of the following handler; the
 * last one of a block goes to the next block by interp_goto(), or leaves to cpu_run() by returning
 * NULL. In builds that cannot count on tail calls (no optimisation, sanitizers) NEXT() returns the
 * instruction and a loop in cpu_run() makes the call.
 *
 * cpu->budget is reduced by a block's whole length when the block is entered; who leaves in the
 * middle gives back what was not executed.
 */
#ifndef CPU_INTERP_H
#define CPU_INTERP_H

#include "cpu/block.h"
#include "cpu/insn.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#define INTERP_NO_TAIL_CALLS 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || !defined(__OPTIMIZE__) || defined(TINAMOU_NO_TAIL_CALLS)
#define INTERP_NO_TAIL_CALLS 1
#endif

#ifdef INTERP_NO_TAIL_CALLS
#define DISPATCH(i) return (i)
#else
#define DISPATCH(i) return (i)->fn(cpu, (i))
#endif
#define HANDLER(name) const struct insn *name(struct cpu *cpu, const struct insn *i)
#define COLD __attribute__((noinline, cold))

/* Chooses i->fn, once the rest of the instruction is decoded. */
void interp_bind(const struct cpu *cpu, struct insn *i);

HANDLER(interp_fall_through); /* sentinel: the block has no branch at its end */
HANDLER(interp_leave_dead);   /* leave before this instruction; all of dead blocks have it */
HANDLER(interp_raise_ud);
HANDLER(interp_raise_gp);
/* Leaves with the fault that has been recorded; nothing of i has happened. */
HANDLER(interp_fault);
/* The flat variant of i's handler missed the TLB: does it by the variant with all checks. */
HANDLER(interp_slow_form);
/* To cpu->rip, anywhere. */
HANDLER(interp_goto_indirect);
HANDLER(interp_goto_slow0);
HANDLER(interp_goto_slow1);

/* The handler of i in b without a translator's. */
static inline insn_fn interp_handler(const struct block *b, const struct insn *i)
{
    return i == b->insn ? b->first_fn : i->fn;
}

/* Calls fn for i, and what follows until a handler leaves. */
static inline void interp_go(struct cpu *cpu, insn_fn fn, const struct insn *i)
{
#ifdef INTERP_NO_TAIL_CALLS
    while ((i = fn(cpu, i)))
        fn = i->fn;
#else
    fn(cpu, i);
#endif
}

/* Executes i of the running block by its handler and goes no further. False: left, cpu->rip is set and
 * no block runs any more; by a fault, or because something is due. */
bool interp_one(struct cpu *cpu, const struct insn *i);

/* Enters b, which the caller has checked against the budget. */
static inline const struct insn *interp_enter(struct cpu *cpu, struct block *b, uint64_t rip)
{
    cpu->blk = b;
    cpu->r[REG_BRIP] = rip;
    cpu->budget -= b->n;
    return b->insn;
}

/* A branch within the page, to the block that link `slot` of the running block leads to. */
#define INTERP_GOTO(target, slot)                                                                  \
    do {                                                                                           \
        struct block *next_ = cpu->blk->link[slot].to;                                             \
        cpu->rip = (target);                                                                       \
        if (LIKELY(next_ && cpu->budget >= next_->n && !cpu_is_due(cpu))) {                           \
            const struct insn *first_ = interp_enter(cpu, next_, cpu->rip);                        \
            DISPATCH(first_);                                                                      \
        }                                                                                          \
        return slot ? interp_goto_slow1(cpu, i) : interp_goto_slow0(cpu, i);                       \
    } while (0)

#endif
