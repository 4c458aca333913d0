/* The translator's inside: what the runtime (jit.c) and a backend share.
 */
#ifndef CPU_JIT_JIT_INT_H
#define CPU_JIT_JIT_INT_H

#include "base/fifo.h"
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
    uint64_t rip_page; /* what tr.rip_page is there */
};
#define JIT_JUMP_BITS 14
#define JIT_JUMPS     (1u << JIT_JUMP_BITS)
_Static_assert(sizeof(struct jit_jump) == 32, "generated code shifts by 5");

/* A translation's code and exits, in the order in which they were made; both are given back when it is the
 * oldest. */
struct jit_piece {
    struct block *of; /* NULL: has died */
    uint32_t bytes;
    uint32_t exits; /* how many */
};
#define JIT_ROOM  (64 * 1024) /* more than the longest block can need */
#define JIT_EXITS 192         /* likewise */

enum jit_vec { VEC_NONE, VEC_XMM, VEC_YMM };
enum jit_x87 { X87_MEMORY, X87_IMAGE, X87_LIVE }; /* x64_x87.c */

/* Addresses of the backend's fixed routines, executable. */
struct jit_thunks {
    void (*enter)(struct cpu *cpu, const uint8_t *code);
    const uint8_t *leave;        /* to the run loop; cpu->rip is set */
    const uint8_t *leave_stored; /* the same, guest registers are in memory already */
    const uint8_t *one;          /* jit_run_one(RAX) and on */
    const uint8_t *one_flags;    /* ... and on with the guest's flags in the host's */
    const uint8_t *end;          /* jit_run_end(RAX), and on there */
    const uint8_t *fill_read;    /* jit_fill_read(RAX, R15): the result in the host's ZF */
    const uint8_t *fill_write;
    const uint8_t *link;       /* jit_link(EAX), and on in that block */
    const uint8_t *miss;       /* RIP RAX is in no slot: jit_find, and on there */
    const uint8_t *no_frame;   /* RIP RAX is what the frame behind the last one says */
    const uint8_t *load_flags; /* guest's flags into the host's, whatever form they have */
    const uint8_t *load_vec;   /* guest's vector registers into the host's: the low halves ... */
    const uint8_t *load_ymm;   /* ... or all of them */
    const uint8_t
        *load_x87; /* guest's x87 registers into the host's; AL 0: they may not be there */
    const uint8_t *sha256, *sha1[4]; /* x64_sha.c; NULL where they are not needed or cannot be */
};

struct jit {
    uint8_t *rw;  /* the code, writable ... */
    ptrdiff_t rx; /* ... and what to add for the executable alias */
    size_t size, used,
        fixed;        /* used: where the next goes; fixed: behind the routines, which stay */
    struct fifo room; /* of the code behind them */
    struct jit_thunks thunk;
    struct jit_jump *jumps;
    /* Rings: numbers grow, and their low bits are the index. */
    struct jit_exit *exits;
    struct jit_piece *pieces;
    uint32_t exit_count, exit_oldest, exit_room;
    uint32_t piece_count, piece_oldest, piece_room;
    unsigned threshold;
    struct {
        uint64_t generation; /* of a TLB */
        uint32_t mode, id;
        uint64_t cs_base; /* of segmented code, else 0 */
        uint32_t cs_limit;
    } cookies[64];
    uint32_t next_cookie;
    bool has_avx2;            /* the host */
    uint8_t x87_differs[256]; /* rows, by bits, of which this host's unit makes something else */
    _Alignas(16) uint8_t x87_image[512]; /* x87_live says when it counts */
    struct cpu_features host; /* of what the backend asks for; tests of code sizes set others */
    bool count_accesses;
    enum jit_why why; /* noted on the way out; JIT_WHY_OTHER: nobody has */
    struct jit_stats stats;
};

/* Code that segment bases and limits mean something for; its translation is bound to a place in CS. */
static inline bool jit_segmented(uint32_t mode)
{
    const uint32_t flat32 = MODE_CODE32 | MODE_FLAT | MODE_STACK32;
    return !(mode & MODE_CODE64) && (mode & flat32) != flat32;
}

/* ---- statistics (jit_stats.c) ------------------------------------------------------------------ */

bool jit_stats_init(struct jit *j);
void jit_stats_fini(struct jit *j);
/* Around generated code: entering it, and back from it. */
void jit_stats_enter(struct cpu *cpu);
void jit_stats_left(struct cpu *cpu);
/* After the interpreter has done i for generated code; seen is what the MMU saw. */
void jit_stats_one(struct cpu *cpu, const struct block *b, const struct insn *i, uint32_t seen);
/* left: and nothing translated follows. */
void jit_stats_end(struct cpu *cpu, const struct block *b, const struct insn *i, bool left);
/* Generated code is left, or would be: why. */
void jit_stats_why(struct cpu *cpu, enum jit_why why);

/* ---- called by generated code (jit.c) --------------------------------------------------------- */

/* The instruction, by the interpreter. False: leave, cpu->rip says where to. */
bool jit_run_one(struct cpu *cpu, const struct insn *i);
/* ... and its flags to cpu->tr.host_flags. */
bool jit_run_one_flags(struct cpu *cpu, const struct insn *i);
/* The same where it ends a block (AT_END). Code that follows, or NULL: leave, to cpu->rip. */
const uint8_t *jit_run_end(struct cpu *cpu, const struct insn *i);
/* The access to a page that has just missed entry e would do without more ado now. */
bool jit_fill_read(struct cpu *cpu, uint64_t page, const struct tlb_entry *e);
bool jit_fill_write(struct cpu *cpu, uint64_t page, const struct tlb_entry *e);
/* Code of the block that exit number n leads to, linked from now on; NULL: leave, to cpu->rip. */
const uint8_t *jit_link(struct cpu *cpu, uint32_t n);
/* Code of the block at rip, which has a slot from now on; NULL: leave, to cpu->rip. */
const uint8_t *jit_find(struct cpu *cpu, uint64_t rip);
void jit_host_flags(struct cpu *cpu);

/* ---- a backend (x64_*.c) ---------------------------------------------------------------------- */

/* Emits the fixed routines; false if this host will not do. */
bool jit_backend_init(struct jit *j);
/* Translates b at j->used, where there are JIT_ROOM bytes: b->code, exits and statistics are set, and
 * j->used is behind the code. */
enum jit_result { JIT_DONE, JIT_REFUSED };
enum jit_result jit_backend_translate(struct cpu *cpu, struct block *b);
/* What count_entry does with a hot block (jit.c); tests of code sizes call it, too. */
enum jit_result jit_translate(struct cpu *cpu, struct block *b);
struct jit_exit *jit_exit_new(struct jit *j, uint32_t *number);
/* Generated code that calls C may leave floating-point registers where the backend alone finds them:
 * brings them back to cpu->fpu. */
void jit_backend_settle(struct cpu *cpu);
/* Whether blocks with `x87` set can run with cpu->fpu as it is. */
bool jit_backend_fpu_fits(const struct cpu *cpu);

#endif
