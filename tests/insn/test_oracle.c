/* Every row of insn.def against the host's own processor. See oracle.h.
 *
 * Without arguments, as a test: a subset, by a seed that is printed and that TINAMOU_SEED sets.
 * TINAMOU_ORACLE=full runs all cases. Arguments:
 *
 *   --full           all cases
 *   --row NAME       only rows of this name; or a row's number, as differences tell it
 *   --case N         only this case of the row, told in detail
 *   --cases N        so many cases a row
 *   --record FILE    with --full: stores the results
 *   --coverage FILE  with --full: writes docs/COVERAGE.md
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/insn/oracle.h"
#include "tests/insn/oracle_values.h"
#include "tests/insn/oracle_vectors.h"

enum { FULL_CASES = 1000, SUBSET_CASES = 24, SHOWN = 2 };

struct options {
    bool full, one;
    const char *row, *record, *coverage;
    unsigned cases, number;
    uint64_t seed;
};

struct session {
    struct options opt;
    struct oracle_ours *ours;
    struct oracle_host *host;
    struct oracle_case cases[ORACLE_BATCH];
    struct oracle_state results[ORACLE_BATCH];
    struct oracle_tally *rows;
    struct oracle_vectors *record; /* NULL: not recording */
};

/* What is no instruction for us and may be one for the host: XSAVE's opcode after F3 is PTWRITE. */
static bool may_be_ptwrite(const struct oracle_case *c)
{
    const struct insn_row *row = &insn_rows[c->row];
    return row->opcode == 0x0fae && row->form_reg == 4;
}

static bool host_has_row(const struct insn_row *row)
{
    return oracle_host_has((enum cpu_feature)row->feature) &&
           (!(row->attr & AT_AVX) || oracle_host_has(F_AVX));
}

/* Not every case of a row can be compared here: prefixes may have made another row of it. */
static bool comparable(const struct oracle_case *c, const struct insn *i)
{
    const struct insn_row *row = i ? &insn_rows[i->row] : NULL;

    if (row && row != &insn_rows[c->row] &&
        (oracle_is_image(row) || strstr(row->operands, "Mt") || row->undef & UN_LAST_PLACE))
        return false; /* these have operands made for them */
    if (!row)         /* a long one may be too long as well, which is another exception */
        return c->len < 12 && !may_be_ptwrite(c);
    return host_has_row(row) && !oracle_why_not(row);
}

static void show_state(const struct oracle_state *s)
{
    for (unsigned k = 0; k < 16; k++)
        printf(" r%-2u %016llx%s", k, (unsigned long long)s->r[k], k % 4 == 3 ? "\n" : "");
    printf(" rip %llx flags %llx fs %llx gs %llx cw %x sw %x tags %x mxcsr %x exc %u err %x cr2 "
           "%llx\n",
           (unsigned long long)s->rip, (unsigned long long)s->flags, (unsigned long long)s->fs_base,
           (unsigned long long)s->gs_base, s->cw, s->sw, s->tags, s->mxcsr, s->exception, s->error,
           (unsigned long long)s->cr2);
    for (unsigned k = 0; k < 8; k++)
        printf(" st%u %04x:%016llx%s", k, ld16(s->st[k] + 8), (unsigned long long)ld64(s->st[k]),
               k % 4 == 3 ? "\n" : "");
    for (unsigned k = 0; k < 16; k++)
        printf(" ymm%-2u %016llx %016llx %016llx %016llx\n", k,
               (unsigned long long)ld64(s->ymm[k] + 24), (unsigned long long)ld64(s->ymm[k] + 16),
               (unsigned long long)ld64(s->ymm[k] + 8), (unsigned long long)ld64(s->ymm[k]));
}

static void judge(struct session *s, const struct oracle_case *c, struct oracle_state *native,
                  struct oracle_state *ours)
{
    struct oracle_tally *t = &s->rows[c->row];
    struct insn decoded, *i = ours_decode(s->ours, c, &decoded) ? &decoded : NULL;
    struct oracle_excuse e = oracle_excuse(c, i);
    uint64_t undef = (native->flags ^ ours->flags) & e.flags;
    uint16_t digest;
    const char *why;
    char what[200];

    if (!comparable(c, i) || e.dest ||
        (ours->exception == EXC_PF && native->exception != EXC_PF &&
         oracle_host_occupies(ours->cr2))) {
        t->skipped++;
        return;
    }
    oracle_normalise(c, i, &e, native);
    oracle_normalise(c, i, &e, ours);
    /* Where processors differ in the last place, our result is what every host must come to. */
    digest = oracle_digest(c, e.last_place ? ours : native);
    if (e.last_place)
        oracle_forgive_last_place(native, ours);
    t->run++;
    t->faults += native->exception != EXC_NONE;
    t->undef_differ += undef != 0;
    why = oracle_difference(native, ours);
    if (s->record)
        oracle_vectors_set(s->record, c->row, c->number, why ? 0 : digest);
    if (!why && !s->opt.one)
        return;
    t->differ += why != NULL;
    if (t->differ > SHOWN && !s->opt.one)
        return;
    oracle_describe(c, what, sizeof(what));
    printf("%s: %s\n", what, why ? why : "alike");
    if (s->opt.one) {
        if (i) {
            insn_format(i, c->in.rip, what, sizeof(what));
            printf("%s (%s)\n", what, insn_rows[i->row].name);
        }
        puts("before:");
        show_state(&c->in);
        puts("natively:");
        show_state(native);
        puts("by us:");
        show_state(ours);
    }
}

static void run_batch(struct session *s, unsigned n)
{
    const struct oracle_state *native;

    oracle_host_begin(s->host, s->cases, n);
    for (unsigned k = 0; k < n; k++)
        ours_run(s->ours, &s->cases[k], &s->results[k]);
    native = oracle_host_end(s->host);
    for (unsigned k = 0; k < n; k++) {
        struct oracle_state copy = native[k];
        judge(s, &s->cases[k], &copy, &s->results[k]);
    }
}

static void run_row(struct session *s, unsigned row)
{
    struct rng r = {s->opt.seed ^ oracle_row_key(row)};
    unsigned n = 0, cases = s->opt.cases;

    if (oracle_why_not(&insn_rows[row]) || !host_has_row(&insn_rows[row]))
        return;
    for (unsigned k = 0; k < cases; k++) {
        unsigned number = s->opt.one ? s->opt.number : s->opt.full ? k : (unsigned)rnd(&r);
        oracle_generate(row, number, &s->cases[n++]);
        if (n == ORACLE_BATCH || k + 1 == cases) {
            run_batch(s, n);
            n = 0;
        }
    }
}

/* The rows asked for, compared with the host; the number of differences. */
static unsigned compare(struct session *s)
{
    unsigned run = 0, differ = 0, rows = 0, skipped = 0, undef = 0;

    for (unsigned row = 0; row < insn_row_count; row++) {
        struct oracle_tally *t = &s->rows[row];
        if (s->opt.row && strcmp(s->opt.row, insn_rows[row].name) != 0 &&
            (s->opt.row[0] > '9' || strtoul(s->opt.row, NULL, 0) != row))
            continue;
        t->on_host = host_has_row(&insn_rows[row]);
        run_row(s, row);
        run += t->run;
        skipped += t->skipped;
        differ += t->differ;
        undef += t->undef_differ;
        rows += t->run > 0;
    }
    printf("%u rows, %u cases compared with the host, %u differ; %u left out, %u differ in "
           "undefined flags\n",
           rows, run, differ, skipped, undef);
    return differ;
}

/* Whether our result is the recorded one. */
static bool as_recorded(struct session *s, const struct oracle_case *c, uint16_t digest)
{
    struct insn decoded, *i = ours_decode(s->ours, c, &decoded) ? &decoded : NULL;
    struct oracle_excuse e = oracle_excuse(c, i);
    struct oracle_state *out = &s->results[0];

    ours_run(s->ours, c, out);
    oracle_normalise(c, i, &e, out);
    return oracle_digest(c, out) == digest;
}

/* Stored vectors, all or one in twenty; the number of differences. */
static unsigned replay(struct session *s)
{
    struct oracle_vectors *v = oracle_vectors_load(ORACLE_VECTORS);
    struct rng r = {s->opt.seed};
    unsigned run = 0, differ = 0, without = 0, step = s->opt.full ? 1 : 20;
    char what[200];

    if (!v) {
        printf("%s: no vectors, or of another version of the generator\n", ORACLE_VECTORS);
        return 1;
    }
    for (unsigned row = 0; row < insn_row_count; row++) {
        unsigned n = oracle_vectors_cases(v, row), bad = 0;
        without += n == 0 && !oracle_why_not(&insn_rows[row]);
        for (unsigned k = below(&r, step); k < n; k += 1 + below(&r, 2 * step - 1)) {
            uint16_t digest = oracle_vectors_get(v, row, k);
            if (!digest)
                continue;
            run++;
            oracle_generate(row, k, &s->cases[0]);
            if (as_recorded(s, &s->cases[0], digest))
                continue;
            differ++;
            if (bad++ >= SHOWN)
                continue;
            oracle_describe(&s->cases[0], what, sizeof(what));
            printf("%s: not as recorded\n", what);
        }
    }
    printf("%u cases compared with stored vectors, %u differ; %u rows have none\n", run, differ,
           without);
    oracle_vectors_free(v);
    return differ;
}

static bool parse(int argc, char **argv, struct options *opt)
{
    const char *env = getenv("TINAMOU_ORACLE"), *seed = getenv("TINAMOU_SEED");

    opt->seed = seed ? strtoull(seed, NULL, 0) : 1;
    opt->full = env && strcmp(env, "full") == 0;
    for (int k = 1; k < argc; k++) {
        const char *value = k + 1 < argc ? argv[k + 1] : NULL;
        if (strcmp(argv[k], "--full") == 0) {
            opt->full = true;
            continue;
        }
        if (!value)
            return false;
        k++;
        if (strcmp(argv[k - 1], "--row") == 0)
            opt->row = value;
        else if (strcmp(argv[k - 1], "--record") == 0)
            opt->record = value;
        else if (strcmp(argv[k - 1], "--coverage") == 0)
            opt->coverage = value;
        else if (strcmp(argv[k - 1], "--cases") == 0)
            opt->cases = (unsigned)strtoul(value, NULL, 0);
        else if (strcmp(argv[k - 1], "--case") == 0) {
            opt->one = true;
            opt->number = (unsigned)strtoul(value, NULL, 0);
        } else
            return false;
    }
    if (!opt->cases)
        opt->cases = opt->full ? FULL_CASES : SUBSET_CASES;
    if (opt->one)
        opt->cases = 1;
    return true;
}

static bool finish(struct session *s)
{
    bool ok = true;

    if (s->opt.record)
        ok = oracle_vectors_save(s->record, s->opt.record);
    if (s->opt.coverage)
        ok = oracle_report(s->opt.coverage, s->rows) && ok;
    if (!ok)
        fputs("cannot write the results\n", stderr);
    return ok;
}

int main(int argc, char **argv)
{
    struct session *s = calloc(1, sizeof(*s));
    bool ok = true;

    if (!parse(argc, argv, &s->opt)) {
        fputs("usage: insn_test_oracle [--full] [--row NAME] [--cases N] [--case N] "
              "[--record FILE] [--coverage FILE]\n",
              stderr);
        return 2;
    }
    printf("seed %llu\n", (unsigned long long)s->opt.seed);
    s->rows = calloc(insn_row_count, sizeof(*s->rows));
    s->ours = oracle_ours_new();
    s->host = oracle_host_new();
    if (s->opt.record)
        s->record = oracle_vectors_new();
    if (s->host)
        ok = compare(s) == 0;
    else
        puts("no x86-64 host to compare with: stored vectors only");
    if (!s->opt.row && !s->opt.record)
        ok = replay(s) == 0 && ok;
    ok = finish(s) && ok;
    oracle_vectors_free(s->record);
    oracle_host_free(s->host);
    oracle_ours_free(s->ours);
    free(s->rows);
    free(s);
    return !ok;
}
