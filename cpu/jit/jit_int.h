/* The translator's inside: what the runtime (jit.c) and a backend share.
 */
#ifndef CPU_JIT_JIT_INT_H
#define CPU_JIT_JIT_INT_H

#include "cpu/exec.h"
#include "cpu/jit/jit.h"

/* A place in translated code that leads straight to another block of the same page. */
struct jit_exit {
    uint8_t *at;              /* writable alias of the displacement to patch */
    const uint8_t *stub;      /* where it leads while it is not linked */
    struct block *to;         /* linked to, or NULL */
    struct jit_exit *next_in; /* other exits into the same block */
    uint64_t page;            /* store address of the page it is in */
    uint16_t offset;          /* of the target in the page */
};

/* One slot of the table of indirect branches, in the layout generated code expects. */
struct jit_jump {
    uint64_t rip;
    uint32_t cookie, pad;
    const uint8_t *code;
    uint64_t pad2;
};
#define JIT_JUMP_BITS 14
#define JIT_JUMPS     (1u << JIT_JUMP_BITS)
_Static_assert(sizeof(struct jit_jump) == 32, "generated code shifts by 5");

enum jit_vec { VEC_NONE, VEC_XMM, VEC_YMM };

/* Addresses of the backend's fixed routines, executable. */
struct jit_thunks {
    void (*enter)(struct cpu *cpu, const uint8_t *code);
    const uint8_t *leave;        /* to the run loop; cpu->rip is set */
    const uint8_t *leave_stored; /* the same, guest registers are in memory already */
    const uint8_t *one;          /* jit_run_one(RAX) and on */
    const uint8_t *one_flags;    /* ... and on with the guest's flags in the host's */
    const uint8_t *end;          /* jit_run_end(RAX), and leave */
    const uint8_t *link;         /* jit_link(EAX), and on in that block */
    const uint8_t *miss;         /* RIP RAX is in no slot: jit_find, and on there */
    const uint8_t *load_flags;   /* guest's flags into the host's, whatever form they have */
    const uint8_t *load_vec;     /* guest's vector registers into the host's: the low halves ... */
    const uint8_t *load_ymm;     /* ... or all of them */
};

struct jit {
    uint8_t *rw;              /* the code, writable ... */
    ptrdiff_t rx;             /* ... and what to add for the executable alias */
    size_t size, used, fixed; /* fixed: the routines, which stay */
    struct jit_thunks thunk;
    struct jit_jump *jumps;
    struct jit_exit *exits;
    uint32_t exit_count, exit_room;
    unsigned threshold;
    struct {
        uint64_t generation;
        const struct tlb *space;
        uint32_t mode, id;
    } cookies[64];
    uint32_t next_cookie;
    bool has_avx2;            /* the host */
    struct cpu_features host; /* of what the backend asks for; tests of code sizes set others */
    bool count_accesses;
    enum jit_why why; /* noted on the way out; JIT_WHY_OTHER: nobody has */
    struct jit_stats stats;
};

/* ---- statistics (jit_stats.c) ------------------------------------------------------------------ */

bool jit_stats_init(struct jit *j);
void jit_stats_fini(struct jit *j);
/* Around generated code: entering it, and back from it. */
void jit_stats_enter(struct cpu *cpu);
void jit_stats_left(struct cpu *cpu);
/* After the interpreter has done i for generated code; seen is what the MMU saw. */
void jit_stats_one(struct cpu *cpu, const struct block *b, const struct insn *i, uint32_t seen);
void jit_stats_end(struct cpu *cpu, const struct block *b, const struct insn *i);
/* Generated code is left, or would be: why. */
void jit_stats_why(struct cpu *cpu, enum jit_why why);

/* ---- called by generated code (jit.c) --------------------------------------------------------- */

/* The instruction, by the interpreter. False: leave, cpu->rip says where to. */
bool jit_run_one(struct cpu *cpu, const struct insn *i);
/* ... and its flags to cpu->tr.host_flags. */
bool jit_run_one_flags(struct cpu *cpu, const struct insn *i);
void jit_run_end(struct cpu *cpu, const struct insn *i);
/* Code of the block that exit number n leads to, linked from now on; NULL: leave, to cpu->rip. */
const uint8_t *jit_link(struct cpu *cpu, uint32_t n);
/* Code of the block at rip, which has a slot from now on; NULL: leave, to cpu->rip. */
const uint8_t *jit_find(struct cpu *cpu, uint64_t rip);
void jit_host_flags(struct cpu *cpu);

/* ---- a backend (x64_*.c) ---------------------------------------------------------------------- */

/* Emits the fixed routines; false if this host will not do. */
bool jit_backend_init(struct jit *j);
/* Translates b at j->used: b->code, exits and statistics are set. */
enum jit_result { JIT_DONE, JIT_REFUSED, JIT_FULL };
enum jit_result jit_backend_translate(struct cpu *cpu, struct block *b);
/* What count_entry does with a hot block (jit.c); tests of code sizes call it, too. */
enum jit_result jit_translate(struct cpu *cpu, struct block *b);
struct jit_exit *jit_exit_new(struct jit *j, uint32_t *number);

#endif
