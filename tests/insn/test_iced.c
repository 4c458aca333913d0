/* The decoder against the tests of the iced project's decoder: length and validity, LOCK's rules
 * among it, and the addresses of memory operands, in 16-, 32- and 64-bit code. Codes of instruction
 * sets that our model lacks have to be refused, but for the hints among them: `lacking` names them
 * all. Lines for other makers' decoders ("decopt=") are left out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/insn/bare_cpu.h"
#include "tests/insn/vectors.h"
#include "tests/unit/suite.h"

/* Codes by their beginnings, with a space before each. */
static const struct {
    uint8_t feature; /* with it we have them; F_COUNT: we never do */
    const char *codes, *sets;
} lacking[] = {
    {F_COUNT, " EVEX_ VEX_K", "AVX-512"},
    {F_COUNT, " XOP_ VEX_Vpermil2 D3NOW_ Insertq Extrq Movnts", "AMD's XOP, FMA4, 3DNow!, SSE4a"},
    {F_COUNT,
     " VEX_Vfmaddpd_ VEX_Vfmaddps_ VEX_Vfmaddsd_ VEX_Vfmaddss_ VEX_Vfmaddsubp VEX_Vfmsubaddp "
     "VEX_Vfmsubpd_ VEX_Vfmsubps_ VEX_Vfmsubsd_ VEX_Vfmsubss_ VEX_Vfnmaddpd_ VEX_Vfnmaddps_ "
     "VEX_Vfnmaddsd_ VEX_Vfnmaddss_ VEX_Vfnmsubpd_ VEX_Vfnmsubps_ VEX_Vfnmsubsd_ VEX_Vfnmsubss_",
     "AMD's FMA4"},
    {F_COUNT, " VEX_Vbcstne VEX_Vcvtne VEX_Vpdp VEX_Vpmadd52",
     "AVX-VNNI, AVX-IFMA, AVX-NE-CONVERT"},
    {F_COUNT, " VEX_Vsha512 VEX_Vsm3 VEX_Vsm4", "SHA512, SM3, SM4"},
    {F_COUNT, " Aadd Aand Aor Axor Movdir Enqcmd Hreset Ptwrite Serialize",
     "direct stores and such"},
    {F_COUNT, " Umonitor Umwait Tpause Mwaitx Monitorx", "user-mode waiting"},
    {F_COUNT, " Aesdec128kl Aesdec256kl Aesdecwide Aesenc128kl Aesenc256kl Aesencwide Encodekey",
     "key locker"},
    {F_COUNT,
     " Vm Invvpid Invept Clgi Stgi Skinit Invlpga Invlpgb Tlbsync Tdcall Pvalidate Rdpru Clzero",
     "VMX, SVM, TDX, SNP"},
    {F_COUNT, " Encl Pconfig Getsec", "SGX, SMX"},
    {F_COUNT, " Clrssbsy Incssp Rstorssp Saveprevssp Setssbsy Wruss Wrss", "shadow stacks"},
    {F_COUNT, " Xabort Xbegin Xsusldtrk Xresldtrk", "TSX"},
    {F_COUNT, " Via Ccs Montmul Xcrypt Xsha1 Xsha256 Xsha512 Xstore", "VIA PadLock and Zhaoxin"},
    {F_SHA, " Sha", "SHA"},
    {F_PKU, " Rdpkru Wrpkru", "protection keys"},
    {F_GFNI, " Gf2p8 VEX_Vgf2p8", "GFNI"},
    {F_FMA, " VEX_Vfmadd VEX_Vfmsub VEX_Vfnmadd VEX_Vfnmsub", "FMA"},
    {F_F16C, " VEX_Vcvtph2ps VEX_Vcvtps2ph", "F16C"},
    {F_AVX2, " VEX_Vpgather VEX_Vgather", "AVX2"},
    {F_AVX, " VEX_V", "AVX"},
};

static bool lacks(const struct cpu *cpu, const char *code)
{
    for (unsigned k = 0; k < ARRAY_LEN(lacking); k++) {
        uint8_t f = lacking[k].feature;
        if (f != F_COUNT && feature_has(&cpu->features, (enum cpu_feature)f))
            continue;
        for (const char *p = lacking[k].codes; p; p = strchr(p, ' ')) {
            size_t n = strcspn(++p, " ");
            if (n && strncmp(p, code, n) == 0)
                return true;
        }
    }
    return false;
}

/* Instructions of the 287 and of in-circuit emulators that iced knows only when asked to: what it
 * says of them otherwise is no answer. */
static bool of_no_processor(const char *line)
{
    return strstr(line, "code=Frstpm") || strstr(line, "code=Fnstdw_AX") ||
           strstr(line, "code=Fnstsg_AX") || strstr(line, "code=Storeall");
}

/* MOV to and from segment, control and debug registers that do not exist raises #UD when it is
 * executed. */
static bool refused_later(const struct insn *i, const char *line)
{
    uint32_t op = insn_row(i)->opcode;
    return (op == 0x8c || op == 0x8e || (op >= 0x0f20 && op <= 0x0f23)) &&
           strstr(line, "code=Mov_");
}

/* ---- reading ---------------------------------------------------------------------------------- */

static unsigned hex_digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

static unsigned get_bytes(const char *field, uint8_t *code, unsigned max)
{
    unsigned n = 0;
    for (; field[0] && n < max; field++) {
        if (*field == ' ')
            continue;
        code[n++] = (uint8_t)(hex_digit(field[0]) << 4 | hex_digit(field[1]));
        field++;
    }
    return n;
}

/* Cuts a line into fields without the spaces around them; how many. */
static unsigned split(char *line, char **fields, unsigned max)
{
    unsigned n = 0;
    while (line && n < max) {
        char *field = strsep(&line, ",");
        while (*field == ' ')
            field++;
        for (size_t k = strlen(field); k > 0 && strchr(" \r\n", field[k - 1]); k--)
            field[k - 1] = 0;
        fields[n++] = field;
    }
    return n;
}

static int find_name(const char *name, const char *const *names, unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        if (strcmp(name, names[k]) == 0)
            return (int)k;
    }
    return -1;
}

static uint8_t register_of(const char *name)
{
    static const char *const legacy[8] = {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"};
    const char *digits = name + strcspn(name, "0123456789");
    int n;

    if (strcmp(name, "none") == 0)
        return REG_ZERO;
    if (strcmp(name + 1, "ip") == 0)
        return REG_BRIP;
    n = find_name(strlen(name) == 3 ? name + 1 : name, legacy, 8);
    return n >= 0 ? (uint8_t)n : (uint8_t)atoi(digits);
}

/* ---- comparing -------------------------------------------------------------------------------- */

static const char *compare_validity(const struct insn *i, bool ours, bool theirs, unsigned len,
                                    const char *line)
{
    if (ours && !theirs)
        return refused_later(i, line) ? NULL : "we accept it";
    if (!ours && theirs)
        return "we refuse it";
    return ours && i->len != len ? "length" : NULL;
}

/* Fields of MemoryTest: bytes, code, register, prefix, segment, base, index, scale, displacement,
 * its size. Instructions stand at the last 16 bytes of the (lower half of the) address space. */
static const char *compare_address(const struct insn *i, unsigned bits, char **fields)
{
    static const char *const segs[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
    uint8_t base = register_of(fields[5]), index = register_of(fields[6]);
    uint64_t disp = strtoull(fields[8], NULL, 0), ours = (uint64_t)(int64_t)i->disp;
    int seg = find_name(fields[4], segs, 6);

    if (bits == 64 && seg < SEG_FS && i->seg < SEG_FS) /* the same in 64-bit code */
        seg = i->seg;
    if (seg != i->seg)
        return "segment";
    if (i->base != base)
        return "base";
    if (base == REG_BRIP)
        ours += 0x7ffffffffffffff0;
    else if (i->index != index)
        return "index";
    if (index != REG_ZERO && strtoul(fields[7], NULL, 0) != i->scale)
        return "scale";
    return (ours ^ disp) << i->ea_shift ? "displacement" : NULL;
}

static unsigned run_file(struct cpu *cpu, const char *name, unsigned bits, bool addresses)
{
    char path[256], line[4096];
    unsigned lines = 0, bad = 0;
    FILE *f;

    snprintf(path, sizeof(path), "iced-decoder/iced/%s", name);
    f = fopen(path, "r");
    ck_assert_msg(f, "%s", path);
    bare_cpu_set_bits(cpu, bits);
    while (fgets(line, sizeof(line), f)) {
        char whole[sizeof(line)], *fields[16];
        const char *what;
        uint8_t code[16];
        struct insn i;
        struct decode_result res;
        unsigned n, len;
        bool ours;

        memcpy(whole, line, sizeof(whole));
        n = split(line, fields, ARRAY_LEN(fields));
        if (n < 3 || line[0] == '#' || strstr(whole, "decopt="))
            continue;
        len = get_bytes(fields[0], code, sizeof(code));
        ours = insn_decode(cpu, code, len, 0, &i, &res);
        lines++;
        if (lacks(cpu, fields[1]))
            what = ours ? "of a set that we lack" : NULL;
        else
            what = compare_validity(&i, ours, strcmp(fields[1], "INVALID") != 0, len, whole);
        if (!what && strstr(whole, "err=NoMoreBytes") && !res.need_more && !res.too_long &&
            !of_no_processor(whole))
            what = "no more bytes asked for";
        if (!what && ours && addresses)
            what = compare_address(&i, bits, fields);
        if (what && bad++ < 50)
            printf("%s, %s: %s", name, what, whole);
    }
    fclose(f);
    printf("%s: %u lines, %u differ\n", name, lines, bad);
    return bad;
}

START_TEST(lines)
{
    static const struct {
        const char *name;
        unsigned bits;
        bool addresses;
    } files[] = {
        {"DecoderTest16.txt", 16, false},     {"DecoderTest32.txt", 32, false},
        {"DecoderTestMisc16.txt", 16, false}, {"DecoderTestMisc32.txt", 32, false},
        {"DecoderTestMisc64.txt", 64, false}, {"MemoryTest16.txt", 16, true},
        {"MemoryTest32.txt", 32, true},       {"MemoryTest64.txt", 64, true},
    };
    struct cpu *cpu;
    unsigned bad = 0;

    if (!vectors_unpack("iced-decoder.tar.xz", "iced-decoder"))
        return;
    cpu = bare_cpu_new();
    ck_assert_ptr_nonnull(cpu);
    for (unsigned k = 0; k < ARRAY_LEN(files); k++)
        bad += run_file(cpu, files[k].name, files[k].bits, files[k].addresses);
    bare_cpu_free(cpu);
    ck_assert_uint_eq(bad, 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {lines};
    setvbuf(stdout, NULL, _IOLBF, 0);
    setenv("CK_DEFAULT_TIMEOUT", "600", 0);
    return RUN_TESTS("iced", tests);
}
