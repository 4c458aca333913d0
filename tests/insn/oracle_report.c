/* docs/COVERAGE.md: what the oracle has compared, row by row. See oracle.h. */
#include <stdio.h>

#include "tests/insn/oracle.h"

static const char *const head =
    "# Instructions compared with a real processor\n"
    "\n"
    "Written by\n"
    "\n"
    "```\n"
    "build/tests/insn/insn_test_oracle --full --record tests/insn/vectors/oracle.gz \\\n"
    "    --coverage docs/COVERAGE.md\n"
    "```\n"
    "\n"
    "Each row of `cpu/insn.def` is run with generated operands, prefixes (legal and not), values "
    "and\n"
    "addresses, by the host's processor and by ours (`tests/insn/oracle.h`), in 64-bit and in "
    "32-bit\n"
    "code. Compared are all general, segment, x87, vector and control registers that user mode "
    "can\n"
    "see, flags, tags, memory, and the exception with its error code and address. The same "
    "results,\n"
    "as digests in `tests/insn/vectors/`, are checked on hosts that are no x86.\n"
    "\n"
    "Excused are flags that the row says the manual leaves undefined (`UNDEF()`), the destination "
    "of\n"
    "SHLD and SHRD by more than the operand's bits, and the last place of transcendental "
    "functions.\n"
    "Beyond that, not compared, or not generated:\n"
    "\n"
    "- FDP, FCS and FDS: processors differ in them, as CPUID leaf 7 tells (EBX bits 6 and 13).\n"
    "- Which byte's address CR2 has for FXSAVE, XSAVE and FLDENV images; within the page, for "
    "masked\n"
    "  moves, gathers and CALLF. What is stored of such images, of PUSHA and of 80-bit numbers "
    "before\n"
    "  a page fault in their middle. Alignment checks of images.\n"
    "- The upper halves of registers after 32-bit code; null selectors' RPL.\n"
    "- F2XM1 and FYL2XP1 outside the range for which they are defined.\n"
    "- What is no instruction and too long as well; MASKMOVQ and MASKMOVDQU without a byte to store.\n"
    "- EVEX (62 in 64-bit code), which we do not have.\n"
    "\n"
    "Known to differ, and not generated: CALL to an address that is not canonical leaves the "
    "return\n"
    "address below the stack pointer on processors when it raises #GP, not here. MOVBE with both 66\n"
    "and REX.W stores a part of its operand on processors before a page fault in the middle of it.\n"
    "VDPPS may set PE here where a processor stops before it, when OE, UE and PE are unmasked: one\n"
    "case in a million.\n"
    "\n"
    "What user mode cannot show is proven by other tests: exceptions, gates, system registers, "
    "ports\n"
    "and far transfers between privileges by `tests/insn/test_sys.c` and by the guests of\n"
    "`tests/guest/sys/`; 16-bit code by `tests/insn/test_i286.c`, which replays recordings of a "
    "real\n"
    "80286; decoding in all modes by `test_zydis.c` and `test_iced.c`; SHA, GFNI, VAES and "
    "VPCLMULQDQ\n"
    "by known answers in `test_known_answers.c`, besides this on hosts that have them.\n"
    "\n";

static void undefined(FILE *f, uint32_t undef)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {{FL_OF, "OF"},
                 {FL_SF, "SF"},
                 {FL_ZF, "ZF"},
                 {FL_AF, "AF"},
                 {FL_PF, "PF"},
                 {FL_CF, "CF"},
                 {UN_BY_COUNT, "by count"},
                 {UN_LAST_PLACE, "last place"}};
    const char *space = "";

    for (unsigned k = 0; k < ARRAY_LEN(names); k++) {
        if (undef & names[k].bit) {
            fprintf(f, "%s%s", space, names[k].name);
            space = " ";
        }
    }
}

static const char *state_of(const struct insn_row *row, const struct oracle_tally *t)
{
    const char *why = oracle_why_not(row), *limits = oracle_limits(row);

    if (why)
        return why;
    if (!t->on_host)
        return "not checked here: the host does not have it";
    return limits ? limits : "";
}

static void totals(FILE *f, const struct oracle_tally *rows)
{
    unsigned run = 0, differ = 0, tested = 0, elsewhere = 0, missing = 0, least = ~0u;

    for (unsigned k = 0; k < insn_row_count; k++) {
        run += rows[k].run;
        differ += rows[k].differ;
        elsewhere += oracle_why_not(&insn_rows[k]) != NULL;
        missing += !oracle_why_not(&insn_rows[k]) && !rows[k].on_host;
        if (rows[k].run) {
            tested++;
            least = MIN(least, rows[k].run);
        }
    }
    fprintf(f,
            "%u rows: %u compared in %u cases, at least %u each, of which %u agree (%.4f %%);\n"
            "%u proven elsewhere only; %u that the host of this run does not have.\n\n",
            insn_row_count, tested, run, least, run - differ, 100.0 * (run - differ) / MAX(run, 1u),
            elsewhere, missing);
}

bool oracle_report(const char *path, const struct oracle_tally *rows)
{
    FILE *f = fopen(path, "w");

    if (!f)
        return false;
    fputs(head, f);
    totals(f, rows);
    fputs("| Opcode | Instruction | Cases | Exceptions | Agree | Undefined | Differ in these | |\n"
          "| --- | --- | ---: | ---: | ---: | --- | ---: | --- |\n",
          f);
    for (unsigned k = 0; k < insn_row_count; k++) {
        const struct insn_row *row = &insn_rows[k];
        const struct oracle_tally *t = &rows[k];
        static const char *const prefix[] = {"", "NP ", "66 ", "F3 ", "F2 "};
        bool reg = row->form >= FORM_X;
        char group[8] = "";
        if (reg)
            snprintf(group, sizeof(group), " /%u", row->form_reg);
        fprintf(f, "| %s%02X%s | %s %s | ", prefix[row->prefix], row->opcode, group, row->name,
                row->operands);
        if (t->run)
            fprintf(f, "%u | %u | %u | ", t->run, t->faults, t->run - t->differ);
        else
            fputs("| | | ", f);
        undefined(f, row->undef);
        if (t->undef_differ)
            fprintf(f, " | %u", t->undef_differ);
        else
            fputs(" | ", f);
        fprintf(f, " | %s |\n", state_of(row, t));
    }
    return fclose(f) == 0;
}
