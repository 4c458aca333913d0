/* Translation to x86-64, a unit of blocks (x64_unit.c) at a time: what the parts of the backend share.
 *
 * Register use in generated code:
 *   RBP            struct cpu + BIAS, so that the hot fields have 8-bit displacements
 *   RAX, R15       temporaries (TMP0, TMP1); between guest instructions they hold nothing
 *   RSP            the host's stack
 *   all others     twelve guest registers, across blocks (x64_host_of); the other four live in memory
 *   XMM0 to 15     guest vector registers, while cpu->tr.vec_live says so
 *
 * Flags. The guest's arithmetic flags are, at each point of a block, in one or more of three places: the
 * host's flags (native), memory (CC_HOST or any lazy form: mem), or what they can be computed from
 * again (recipe: an operation whose operands are still there). At the start and the end of a block they
 * are in memory. Before code that destroys the host's flags they are put in memory only if they are
 * needed later and no recipe stands; the slow ways out of a block, where the guest may look at them,
 * compute them there.
 */
#ifndef CPU_JIT_X64_TR_H
#define CPU_JIT_X64_TR_H

#include <string.h>

#include "cpu/decode.h"
#include "cpu/jit/ir.h"
#include "cpu/jit/jit_int.h"
#include "cpu/jit/x64.h"

#define BIAS             128
#define CPU_OFF(field)   ((int32_t)offsetof(struct cpu, field) - BIAS)
#define CPU_FIELD(field) x64_m(RBP, CPU_OFF(field))
#define TMP0             RAX
#define TMP1             R15

extern const uint8_t x64_host_of[16];
bool x64_host_has(enum cpu_feature f); /* x64_thunks.c: this host; struct jit keeps the answers */

struct recipe {
    enum { RECIPE_NONE, RECIPE_ADD, RECIPE_SUB, RECIPE_CMP, RECIPE_TEST } kind;
    uint8_t size;
    bool b_imm;
    uint32_t regs;      /* guest registers it reads: bits */
    struct x64_rm a, b; /* ADD, SUB: a is the result; TEST: a alone */
    int32_t imm;
};

/* What OF is where the host's is not the guest's: after shifts by more than 1, where the manual leaves it
 * undefined and processors differ. */
enum of_fix { OF_HOST, OF_CLEAR, OF_SF_CF /* SF != CF */ };

struct flag_state {
    bool native, mem;
    bool host_form; /* memory holds CC_HOST for certain */
    bool af_unsure; /* ... and flags are as they are there, where AF may be 0 whatever its bit says */
    bool af_clear;  /* AF is 0 whatever the host's flags say: cc_op in memory is one more */
    enum of_fix of;
    struct recipe recipe;
};

/* What x87 instructions have noted of themselves that is not in cpu->fpu yet. */
struct x87_note {
    bool ip, ds; /* FIP, FCS and FOP; FDS */
    uint8_t seg; /* for FDS */
    uint16_t fop;
    uint32_t offset;       /* FIP's in the page */
    const struct insn *dp; /* whose memory operand FDP is, by registers as they still are */
    uint32_t dp_page_off;  /* of its block */
};

/* Code out of the main line, emitted after the block. */
enum cold_kind {
    COLD_ONE,
    COLD_END,
    COLD_FILL,
    COLD_BUDGET,
    COLD_LINK,
    COLD_SIDE,
    COLD_STOP,
    COLD_TARGET,
    COLD_COOKIE,
    COLD_FRAMES,
    COLD_LOAD_FLAGS,
    COLD_LOAD_VEC,
    COLD_LOAD_X87
};
struct cold {
    enum cold_kind kind;
    unsigned n_from;
    uint8_t *from[6];        /* displacements that lead here */
    uint8_t *back;           /* where it goes on */
    unsigned k;              /* instruction */
    bool want_flags;         /* the main line goes on with native flags */
    struct flag_state flags; /* on entry */
    struct x87_note note;    /* the same */
    uint32_t exit;           /* COLD_LINK: its number */
    uint32_t target;         /* COLD_STOP, COLD_SIDE: of the branch, offset in the page */
    int32_t undo;            /* COLD_TARGET: what RSP has grown by */
    bool write;              /* COLD_FILL: the kind of access */
    uint8_t *start;          /* where its code begins, once it has been emitted */
    struct cold *slow;       /* COLD_FILL: what it leads to if that did not help; COLD_COOKIE, too */
};

/* A unit: blocks of one page that are translated as a straight line. */
#define UNIT_MAX   96 /* instructions; at least BLOCK_MAX */
#define UNIT_PARTS 8
#define COLD_MAX   (4 * UNIT_MAX)
#define ACCESS_MAX (2 * UNIT_MAX)

/* x64_span.c. What is known of a register: the value of some moment, and a constant. */
struct value {
    uint32_t version;
    int64_t offset;
};
struct access {
    uint8_t size, seg, scale;
    bool write;
    uint8_t span; /* number, or SPAN_NONE: checked by itself */
    uint8_t epoch;
    uint32_t base, index; /* versions; 0: none */
    int64_t offset;
};
struct span {
    uint16_t first, last; /* accesses */
    uint8_t slot;
    int64_t lo, hi; /* offsets of what is checked */
};
#define SPAN_NONE 255

struct tr {
    struct cpu *cpu;
    struct jit *j;
    struct x64 x;
    bool code64;
    bool frame; /* the branch being emitted is a call, whose return is to be a host's (x64_frame.c) */
    bool seg; /* segmented: x64_seg.c */
    uint32_t
        seg_page; /* then: offset in CS of the page's first byte, which may be before its start */
    uint32_t seg_limit; /* of CS */
    struct {
        struct block *b;
        unsigned first; /* instruction; that of the next part is this one's end */
        bool takes;     /* the line goes on where its branch leads to, not straight ahead */
    } part[UNIT_PARTS + 1];
    unsigned n_parts, n; /* n: instructions in all parts */
    /* The instruction being translated, and the part it is in. */
    unsigned k, p;
    const struct insn *i;
    struct block *b;
    uint32_t page_off; /* of the block in its page */
    struct flag_state f;
    unsigned n_cold;
    struct cold *one; /* the running instruction's slow way, or NULL */
    enum jit_vec vec; /* what the unit needs in vector registers */
    unsigned n_x87;   /* instructions up to the last one with x87[k] */
    struct x87_note note;
    /* By instruction. */
    const struct insn *at[UNIT_MAX];
    uint8_t part_of[UNIT_MAX];
    bool hot[UNIT_MAX];         /* ir[k] has been recorded */
    bool native[UNIT_MAX];      /* tr_native does it */
    bool x87[UNIT_MAX];         /* tr_x87 does it */
    bool live[UNIT_MAX + 1];    /* flags as they are before instruction k are needed */
    bool interpreted[UNIT_MAX]; /* always, as the first time showed */
    uint16_t access_of[UNIT_MAX + 1];
    struct ir ir[UNIT_MAX];
    struct cold cold[COLD_MAX];
    /* Memory accesses, in the order of emission. */
    bool recording;
    unsigned n_access, n_spans, nth_access, next_version, epoch;
    struct value value[16];
    struct access access[ACCESS_MAX];
    struct span span[64];
};

/* False of features nobody asks for. */
static inline bool tr_host_has(const struct tr *t, enum cpu_feature f)
{
    return feature_has(&t->j->host, f);
}

/* ---- x64_unit.c --------------------------------------------------------------------------------- */

/* Collects the blocks to be translated with head, and what their instructions are. */
void tr_unit(struct tr *t, struct block *head);
void tr_liveness(struct tr *t);
uint32_t tr_unit_lines(const struct tr *t);
/* Makes instruction k, or part p, the one that is translated. */
void tr_select(struct tr *t, unsigned k);
void tr_part(struct tr *t, unsigned p);
/* The running instruction is one that cannot be decoded. */
bool tr_raises(const struct tr *t);
/* Instructions of the unit after the part that k is in: they have been taken off the budget too early for
 * everybody but the code of the unit. */
static inline int32_t tr_rest(const struct tr *t, unsigned k)
{
    return (int32_t)(t->n - t->part[t->part_of[k] + 1].first);
}
/* Size of an operand that the manual calls y. */
static inline unsigned tr_y_size(const struct tr *t)
{
    return t->code64 && (t->i->prefix & PFX_REXW) ? 8 : 4;
}
/* Offset in the page of the instruction behind the running one. */
static inline uint32_t tr_next_offset(const struct tr *t)
{
    return t->page_off + t->i->off + t->i->len;
}
/* The running instruction is in the last part: what it leads to is not in the unit. */
static inline bool tr_is_last(const struct tr *t)
{
    return t->p + 1 == t->n_parts;
}

/* ---- x64_span.c --------------------------------------------------------------------------------- */

/* Before the recording, after each recorded instruction, after all of them. */
void tr_track_begin(struct tr *t);
void tr_track(struct tr *t, bool by_interpreter);
void tr_spans(struct tr *t);
/* The next access of the running instruction, to its memory operand (base REG_ZERO) or to guest register
 * base + disp. */
const struct access *tr_access(struct tr *t, unsigned base, int32_t disp, unsigned size, bool write,
                               bool flat);
bool tr_opens_span(const struct tr *t, const struct access *a);
bool tr_in_span(const struct tr *t, const struct access *a); /* and needs no check */
/* Instruction k has an access with a check; one whose check stands for others. */
bool tr_is_checked(const struct tr *t, unsigned k);
bool tr_may_break(const struct tr *t, unsigned k);

/* ---- x64_flags.c: where the flags are ---------------------------------------------------------- */

/* RAX, as LAHF and SETO leave it, to memory; and back into the host's flags. */
void tr_put_host_flags(struct x64 *x, bool af_clear);
void tr_get_host_flags(struct x64 *x);
/* The running instruction is about to destroy the host's flags before its own effects. */
void tr_flags_clobber(struct tr *t);
/* Makes the host's flags the guest's (uses the temporaries if they are not yet); cc is the condition that
 * looks at them. */
void tr_flags_native(struct tr *t, enum x64_cc cc);
#define CC_ALL CC_LE /* looks at OF too */
/* The same to the last bit, for instructions that change only some of them. */
void tr_flags_exact(struct tr *t);
/* Flags of a product whose low half is in dst, from the host's CF and OF (x64_int.c). */
void tr_product_flags(struct tr *t, struct x64_rm dst);
/* Makes the host's CF the guest's, after tr_flags_prepare or where they are native; uses no temporaries,
 * destroys the other flags. */
void tr_flags_carry(struct tr *t);
/* Puts them where tr_flags_carry finds them; uses TMP0. */
void tr_flags_prepare(struct tr *t);
/* There, after tr_flags_prepare: CF = TMP0's lowest byte, 0 or 1. */
void tr_flags_put_carry(struct tr *t);
/* After the running instruction, which has changed some of them there. */
void tr_flags_in_host_form(struct tr *t);
/* Puts them in memory if they are not there. Uses the temporaries, and leaves native ones alone but where OF
 * had to be computed. */
void tr_flags_store(struct tr *t);
/* The same from a given state, in cold code. */
void tr_flags_store_from(struct tr *t, struct flag_state *f);
/* The running instruction has set all six in the host's flags. */
void tr_flags_set(struct tr *t, bool af_clear, const struct recipe *r);
/* ... by a shift. */
void tr_flags_set_by_shift(struct tr *t, bool af_clear, enum of_fix of);
/* Guest register n will change in the running instruction, which does not set the flags. To be called
 * before TMP0 is in use. */
void tr_reg_changes(struct tr *t, unsigned n);
/* After the running instruction, as the interpreter left them. */
void tr_flags_in_memory(struct tr *t);
static inline bool tr_flags_live_after(const struct tr *t)
{
    return t->live[t->k + 1];
}

/* The running instruction is to be atomic in fact: other CPUs run at the same time. Its operand is then
 * checked as one that must be aligned (tr_mem_check), and tr_lock comes before the host's instruction;
 * operands that are not aligned are the interpreter's. */
static inline bool tr_locked(const struct tr *t)
{
    return t->cpu->env.parallel && insn_is_locked(t->i);
}
static inline void tr_lock(struct tr *t)
{
    if (tr_locked(t))
        x64_byte(&t->x, 0xf0);
}

/* ---- x64_mem.c --------------------------------------------------------------------------------- */

/* Emits the TLB check of the instruction's memory operand (of size bytes) or of an operand at base
 * register + disp; *m is then the host's. TMP0 is used by it, TMP1 too if m->index says so. Misses go to
 * tr_miss(). False: not this way. */
bool tr_mem_check(struct tr *t, unsigned size, bool write, bool aligned, struct x64_rm *m);
bool tr_stack_check(struct tr *t, unsigned base, int32_t disp, unsigned size, bool write,
                    struct x64_rm *m);
/* dst = the memory operand's offset; flags are untouched. */
bool tr_address(struct tr *t, unsigned dst, const struct insn *i);
/* TMP1 = the TLB entry that answers for the address in TMP1. */
void tr_tlb_entry(struct tr *t);
/* Guest register n = the low size bytes of host register src, whose upper half is clear if size is 4. */
void tr_write_reg(struct tr *t, unsigned n, unsigned size, unsigned src);
/* Frees TMP1 from *m. */
void tr_mem_free_tmp1(struct tr *t, struct x64_rm *m);

/* ---- x64_seg.c --------------------------------------------------------------------------------- */

void tr_seg_begin(struct tr *t, const struct block *b);
/* So many bytes at offset in the page are in CS. */
bool tr_seg_holds(const struct tr *t, uint32_t offset, unsigned bytes);
/* As the functions without seg, for t->seg; tr_seg_mem_check also for segments of flat code that are not. */
bool tr_seg_mem_check(struct tr *t, unsigned size, bool write, bool aligned, struct x64_rm *m);
void tr_seg_stack_check(struct tr *t, unsigned base, int32_t disp, unsigned size, bool write,
                        struct x64_rm *m);
bool tr_seg_target(const struct tr *t, uint32_t *offset);
void tr_seg_goto_tmp0(struct tr *t);
bool tr_seg_flow(struct tr *t, bool *done);
/* The element of a string at register base, as wide as the address size. */
void tr_seg_check_at(struct tr *t, unsigned seg, unsigned base, unsigned size, bool write,
                     struct x64_rm *m);

/* ---- x64_block.c ------------------------------------------------------------------------------- */

struct cold *tr_cold(struct tr *t, enum cold_kind kind);
void tr_cold_from(struct cold *c, uint8_t *at);
/* jcc to the slow way of the running instruction: the interpreter does all of it. Only where nothing of it
 * has happened. */
void tr_miss(struct tr *t, enum x64_cc cc);
/* The same after a look at the TLB (TMP0 the page, TMP1 the entry): first it is filled, and then it goes on at
 * retry. */
void tr_tlb_miss(struct tr *t, enum x64_cc cc, bool write, uint8_t *retry);
/* Where a guest register is. */
struct x64_rm tr_reg(const struct tr *t, unsigned n);
/* dst = RIP of the running page + offset; flags untouched. */
void tr_rip(struct tr *t, unsigned dst, uint32_t offset);
/* Looks at the address in TMP0, uses TMP1; the condition under which it is not canonical. */
enum x64_cc tr_not_canonical(struct tr *t);
/* The end of the block; the flags have been stored. To the address at offset in the page (maybe outside),
 * or to RIP in TMP0, where RSP has grown by undo if that cannot be a target after all. */
void tr_goto(struct tr *t, uint32_t offset);
void tr_goto_if(struct tr *t, enum x64_cc cc, uint32_t taken, uint32_t next);
/* Out of the line if cc, with flags that need not have been stored. */
void tr_side_exit(struct tr *t, enum x64_cc cc, uint32_t offset);
void tr_goto_tmp0(struct tr *t, int32_t undo);
/* Code goes on from the displacement at `at` to the block at offset in the page, once that is known. */
void tr_link(struct tr *t, uint8_t *at, uint32_t offset);

/* ---- x64_frame.c --------------------------------------------------------------------------------- */

/* As generated code is entered; when what runs next may be in another address space or mode. */
void tr_frames_begin(struct jit *j, struct x64 *x);
void tr_frames_forget(struct x64 *x);
/* The running instruction is a call that can have a frame. */
bool tr_frame_fits(const struct tr *t);
/* Before the host's call; uses no registers. */
void tr_frame_push(struct tr *t);
/* Behind it: where the host's return leads to. */
void tr_frame_land(struct tr *t);
/* Returns to RIP in TMP0 if the last frame says so, else goes on. */
void tr_frame_return(struct tr *t);

/* ---- the instruction's representation ------------------------------------------------------------ */

static inline const struct ir_node *tr_node(const struct tr *t, ir_ref n)
{
    return &t->ir[t->k].n[n];
}

static inline const struct ir_node *tr_find(const struct tr *t, enum ir_op op)
{
    const struct ir *ir = &t->ir[t->k];
    for (unsigned k = 0; k < ir->count; k++)
        if (ir->n[k].op == op)
            return &ir->n[k];
    return NULL;
}

/* The number of a register operand of size bytes; false for AH to BH. */
static inline bool tr_reg_number(unsigned field, unsigned size, unsigned *n)
{
    if (size > 1) {
        *n = field;
        return true;
    }
    *n = field >> 3;
    return (field & 7) == 0;
}

static inline bool tr_dst_is_mem(const struct tr *t)
{
    enum hot_form f = t->ir[t->k].form;
    return f == HF_MR || f == HF_MI || f == HF_M;
}

/* ---- lowering: false if the instruction is to be left to the interpreter ------------------------- */

/* x64_flow.c: offset in the page of the running instruction's relative target, if 32 bits hold it. */
bool tr_target_offset(const struct tr *t, uint32_t *offset);
/* The stack and branches. False if t->ir[t->k] is neither; else *done is tr_hot's result. */
bool tr_flow(struct tr *t, bool *done);
bool tr_hot(struct tr *t);                /* x64_int.c: t->ir[t->k] */
bool tr_shift(struct tr *t, const struct ir_node *v); /* x64_shift.c: v is IR_SHIFT */
bool tr_general(struct tr *t);            /* x64_gp.c */
/* The E operand as something that stays while both temporaries change: a register, a guest register in
 * memory, or, loaded, cpu->tr.spill. */
bool tr_source(struct tr *t, unsigned size, struct x64_rm *rm);
bool tr_is_bits(const struct insn *i); /* x64_bits.c may do it */
bool tr_bits(struct tr *t);
bool tr_is_general(const struct insn *i); /* it may */
bool tr_loop(struct tr *t);               /* x64_loop.c */
bool tr_native(struct tr *t);             /* x64_vec.c: the host's own instruction */
/* Whether tr_native can do it, and what it needs in vector registers. */
bool tr_is_native(const struct tr *t, const struct insn *i, enum jit_vec *vec);
/* x64_sha.c: SHA instructions where the host has none; the source is a vector register or memory, and the
 * host's flags are free. tr_sha_can: the host has what that takes. */
bool tr_sha_can(void);
void tr_sha(struct tr *t, struct x64_rm src);
void tr_sha_emit_routines(struct jit *j, struct x64 *x);
bool tr_native_touches_memory(const struct insn *i);
bool tr_native_sets_flags(const struct insn *i);

#endif
