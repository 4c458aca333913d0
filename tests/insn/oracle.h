/* The oracle: single instructions, run by the host's own processor and by ours, from the same
 * registers and memory; everything must end alike.
 *
 *   oracle_gen.h      its parts make case number n of a row of insn.def, the same on every host
 *   oracle_host.c     runs cases natively (x86-64 Linux), in a child process
 *   oracle_ours.c     runs a case in our engine; whoever tests another engine changes ours_run()
 *   oracle_check.c    what is compared, and what is excused: only what the row says is undefined
 *   oracle_vectors.c  results of a full run, for hosts that are no x86
 *   oracle_report.c   docs/COVERAGE.md
 *   test_oracle.c     the test, and the command that records vectors and has that written
 *
 * Both sides see the same linear addresses below, in user mode with flat segments:
 *
 *   20001000-20002fff  data, readable and writable, of which every byte is compared
 *   20004000-20004fff  data, readable; the pages around these two are not mapped
 *   20010000-20011fff  code; everything around the instruction is INT3
 */
#ifndef TESTS_INSN_ORACLE_H
#define TESTS_INSN_ORACLE_H

#include "cpu/decode.h"

#define ORACLE_DATA      0x20001000u
#define ORACLE_DATA_SIZE 0x2000u
#define ORACLE_RO        0x20004000u
#define ORACLE_CODE      0x20010000u
#define ORACLE_CODE_SIZE 0x2000u

/* Everything a user-mode program can see of a processor. Vector bytes and data are in guest order,
 * the rest in the host's. */
struct oracle_state {
    uint64_t r[16];
    uint64_t rip, flags;
    uint64_t fs_base, gs_base;
    uint16_t seg[6]; /* selectors, in the order of enum seg_id */
    uint16_t cw, sw; /* sw with TOP */
    uint8_t tags;    /* as FXSAVE stores them: bit n is register n, not ST(n) */
    uint16_t fop;
    uint64_t fip, fdp;
    uint8_t st[8][10]; /* ST(0) first */
    uint32_t mxcsr, pkru;
    uint8_t ymm[16][32];
    uint8_t exception; /* EXC_NONE, or the vector */
    uint32_t error;    /* its error code; 0 if it has none */
    uint64_t cr2;      /* of a page fault */
    uint8_t data[ORACLE_DATA_SIZE];
};

struct oracle_case {
    unsigned row; /* of insn_rows, for which it was made; the bytes may say another */
    unsigned number;
    bool code32; /* a 32-bit code segment, else 64-bit */
    bool step;   /* ends by EFLAGS.TF, else by the INT3 after it */
    uint8_t len;
    bool ea_known;
    uint64_t ea; /* linear address of the memory operand, if there is one */
    uint8_t code[24];
    struct oracle_state in; /* rip: where the instruction lies */
};

/* ---- cases ------------------------------------------------------------------------------------ */

/* Identifies a row, wherever in the table it is; a change of the row makes another of it. */
uint64_t oracle_row_key(unsigned row);
void oracle_generate(unsigned row, unsigned number, struct oracle_case *c);
/* Instructions whose memory operand is a whole state. */
bool oracle_is_image(const struct insn_row *row);
/* Why no case of the row can be run in user mode, or NULL. */
const char *oracle_why_not(const struct insn_row *row);
/* What user mode shows of the row, if that is only a part; or NULL. */
const char *oracle_limits(const struct insn_row *row);

/* Memory that no case has filled. */
void oracle_fill_pattern(uint8_t *p, unsigned n);

/* ---- machines --------------------------------------------------------------------------------- */

struct oracle_host;
struct oracle_host *oracle_host_new(void); /* NULL: this host has no x86-64 processor */
void oracle_host_free(struct oracle_host *h);
/* The results of n cases. begin returns at once; end waits. */
void oracle_host_begin(struct oracle_host *h, const struct oracle_case *cases, unsigned n);
const struct oracle_state *oracle_host_end(struct oracle_host *h);
enum { ORACLE_BATCH = 64 };
bool oracle_host_has(enum cpu_feature f);
/* At a linear address is memory of the test program itself: what a case does there natively says nothing.
 * Sanitizers take much of the lowest gigabytes. */
bool oracle_host_occupies(uint64_t at);

struct oracle_ours;
struct oracle_ours *oracle_ours_new(void);
void oracle_ours_free(struct oracle_ours *o);
void ours_run(struct oracle_ours *o, const struct oracle_case *c, struct oracle_state *out);
/* What our decoder says the case is; false: nothing (#UD). */
bool ours_decode(struct oracle_ours *o, const struct oracle_case *c, struct insn *out);

/* ---- comparing -------------------------------------------------------------------------------- */

/* What a comparison may leave out, from the case's own instruction. */
struct oracle_excuse {
    uint32_t flags;  /* undefined after this instruction */
    bool dest;       /* the destination, or whether it faults, is undefined: left out */
    bool last_place; /* the result's last place is the processor's own */
};
struct oracle_excuse oracle_excuse(const struct oracle_case *c, const struct insn *decoded);
/* Brings a result into the form in which it is compared. */
void oracle_normalise(const struct oracle_case *c, const struct insn *decoded,
                      const struct oracle_excuse *e, struct oracle_state *s);
/* For excuse.last_place: a result of ours within a unit of the native one becomes it. */
void oracle_forgive_last_place(const struct oracle_state *native, struct oracle_state *ours);
/* NULL if alike; else a text that says where they differ, valid until the next call. */
const char *oracle_difference(const struct oracle_state *native, const struct oracle_state *ours);
/* Of a normalised result; never 0. */
uint16_t oracle_digest(const struct oracle_case *c, const struct oracle_state *s);
void oracle_describe(const struct oracle_case *c, char *buf, size_t size);

/* ---- the report ------------------------------------------------------------------------------- */

/* What became of the cases of a row. */
struct oracle_tally {
    unsigned run, differ;
    unsigned skipped; /* another row's encoding that is not compared here, or undefined results */
    unsigned faults;  /* of run: that ended in an exception, alike */
    unsigned undef_differ; /* of run: with differences in undefined flags, which are excused */
    bool on_host;
};
bool oracle_report(const char *path, const struct oracle_tally *rows);

#endif
