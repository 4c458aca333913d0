/* How much host code the translator makes of guest code, held against a file that people review.
 *
 *     codegen_sizes FILE              compares; every line that differs is told, and the test fails
 *     codegen_sizes --update FILE     writes what it is now
 *     codegen_sizes --show N FILE     the host code of line N
 *
 * A line is:  HOST WHAT BYTES : main N BYTES : cold N BYTES : guest code
 *
 *   HOST    64 or 32: guest code of that width, for a host that has all instructions the translator can
 *           use; 64- and 32-: for one with no more than every x86-64 has
 *   WHAT    insn: an instruction whose flags nobody looks at: what it adds to a block
 *           live: the same, and its flags are wanted after the block
 *           end:  an instruction that ends a block: all of the block
 *           loop: all of the unit, blocks that follow each other included
 *   BYTES   of the guest
 *   main    host instructions and bytes that run if nothing is in the way; cold: what is there besides
 *
 * To add a line, write HOST, WHAT and BYTES and call with --update. Nothing of it is executed, so the
 * host may be any x86-64 one.
 */
#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/block.h"
#include "cpu/exec.h"
#include "cpu/jit/jit_int.h"

#define CODE_MAX   128 /* guest bytes of a line */
#define LINE_MAX   1024
#define RAM        (8 * MIB)
#define CODE_CACHE (16 * MIB)

struct size {
    int insns, bytes;
};
struct sizes {
    struct size main, cold;
};

struct test {
    char host[4], what[8];
    uint8_t code[CODE_MAX];
    unsigned n;
    unsigned bits;
    bool baseline; /* a host without extensions */
};

static struct {
    struct physmap *map;
    struct phys_region ram;
    struct cpu *cpu;
    struct cpu_features everything, nothing;
    uint64_t page; /* the next unused one */
    bool show;
} m;

/* ---- the machine -------------------------------------------------------------------------------- */

static void no_view(void *opaque)
{
}

static void no_flags(void *opaque, uint64_t ra, uint64_t size)
{
}

static void no_code(void *opaque, uint64_t ra, unsigned size)
{
}

static bool machine_new(void)
{
    struct error err = {0};
    struct cpu_env env = {0};

    m.map = physmap_new(RAM, NULL, &err);
    if (!m.map)
        return false;
    physmap_set_listener(m.map, &(struct physmap_listener){NULL, no_view, no_flags, no_code});
    physmap_add_ram(m.map, &m.ram, "ram", 0, RAM, physmap_store_alloc(m.map, RAM), 0);
    env.mem = m.map;
    m.cpu = cpu_new("max", 0, 1, &env, &err);
    if (!m.cpu || !cpu_use_translator(m.cpu, CODE_CACHE, 0))
        return false;
    for (unsigned f = 0; f < F_COUNT; f++) {
        m.everything.bits[f >> 6] |= BIT64(f & 63);
        if (f <= F_SSE2)
            m.nothing.bits[f >> 6] |= BIT64(f & 63);
    }
    return true;
}

/* User code in flat segments, without paging: addresses are only looked up to find the code. */
static void enter_mode(const struct test *t)
{
    struct cpu *cpu = m.cpu;
    bool wide = t->bits == 64;

    cpu_reset(cpu, false);
    cpu->cr0 = CR0_PE | CR0_NE | CR0_ET | CR0_MP;
    cpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    cpu->efer = wide ? EFER_LME | EFER_LMA : 0;
    cpu->xcr0 = 7;
    for (unsigned s = SEG_ES; s <= SEG_GS; s++)
        cpu->seg[s] =
            (struct segreg){.limit = UINT32_MAX,
                            .ar = AR_P | AR_S | AR_DPL | AR_G | AR_ACCESSED | AR_WRITE | AR_DB};
    cpu->seg[SEG_CS].ar =
        AR_P | AR_S | AR_DPL | AR_G | AR_ACCESSED | AR_CODE | AR_READ | (wide ? AR_L : AR_DB);
    cpu_set_cpl(cpu, 3);
    cpu_cr_changed(cpu);
    cpu_update_mode(cpu);
    cpu->tlb = cpu->mmu.tlb->e[cpu->mmu_index];
    cpu->tr.jit->host = t->baseline ? m.nothing : m.everything;
    cpu->tr.jit->threshold = strcmp(t->what, "loop") == 0 ? 1 : 16;
}

/* ---- measuring ---------------------------------------------------------------------------------- */

static void show(const uint8_t *code, size_t len, const char *what)
{
    ZydisDisassembledInstruction i;

    printf("  %s\n", what);
    for (size_t at = 0; at < len && ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64,
                                                                       (uintptr_t)code + at,
                                                                       code + at, len - at, &i));
         at += i.info.length)
        printf("    %s\n", i.text);
}

static struct size count(const uint8_t *code, size_t len)
{
    ZydisDecoder d;
    ZydisDecodedInstruction i;
    struct size s = {0, (int)len};

    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (size_t at = 0; at < len; at += i.length) {
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&d, NULL, code + at, len - at, &i))) {
            fprintf(stderr, "codegen_sizes: this is no host code\n");
            exit(1);
        }
        s.insns++;
    }
    return s;
}

/* The block at a page of its own, translated. */
static struct sizes translate(const struct test *t, const uint8_t *code, unsigned n)
{
    struct jit *j = m.cpu->tr.jit;
    uint64_t all = j->stats.host_bytes, main_line = j->stats.main_bytes;
    uint8_t page[PAGE_SIZE];
    struct block *b;

    memset(page, 0xf4, sizeof(page)); /* HLT: nothing goes on behind it */
    memcpy(page + 256, code, n);
    physmap_write_buf(m.map, m.page, page, sizeof(page));
    enter_mode(t);
    m.cpu->rip = m.cpu->r[REG_BRIP] = m.page + 256;
    m.page += PAGE_SIZE;
    b = block_find(m.cpu, 0);
    if (!b || jit_translate(m.cpu, b) != JIT_DONE) {
        fprintf(stderr, "codegen_sizes: a block was not translated\n");
        exit(1);
    }
    all = j->stats.host_bytes - all;
    main_line = j->stats.main_bytes - main_line;
    if (m.show) {
        show(b->code, main_line, "main line");
        show(b->code + main_line, all - main_line, "cold");
    }
    return (struct sizes){count(b->code, main_line), count(b->code + main_line, all - main_line)};
}

static struct size minus(struct size a, struct size b)
{
    return (struct size){a.insns - b.insns, a.bytes - b.bytes};
}

static struct sizes measure(const struct test *t)
{
    static const uint8_t tail[] = {0x85, 0xc0, 0xf4}; /* TEST EAX, EAX; HLT */
    unsigned skip = strcmp(t->what, "live") == 0 ? 2 : 0;
    uint8_t code[CODE_MAX + sizeof(tail)];
    struct sizes with, without;
    bool showing = m.show;

    if (strcmp(t->what, "end") == 0 || strcmp(t->what, "loop") == 0)
        return translate(t, t->code, t->n);
    memcpy(code, t->code, t->n);
    memcpy(code + t->n, tail + skip, sizeof(tail) - skip);
    with = translate(t, code, t->n + (unsigned)sizeof(tail) - skip);
    m.show = false;
    without = translate(t, tail + skip, (unsigned)sizeof(tail) - skip);
    m.show = showing;
    return (struct sizes){minus(with.main, without.main), minus(with.cold, without.cold)};
}

/* ---- lines -------------------------------------------------------------------------------------- */

static void guest_text(const struct test *t, char *out, size_t size)
{
    size_t used = 0;
    struct insn i;
    struct decode_result res;

    *out = 0;
    enter_mode(t);
    for (unsigned at = 0; at < t->n && used < size; at += i.len) {
        char text[96];
        if (!insn_decode(m.cpu, t->code + at, t->n - at, 0, &i, &res)) {
            snprintf(out + used, size - used, "?");
            return;
        }
        insn_format(&i, 0x100u + at, text, sizeof(text));
        used += (size_t)snprintf(out + used, size - used, "%s%s", at ? "; " : "", text);
    }
}

/* False: not a line with guest code. */
static bool parse(const char *line, struct test *t)
{
    char hex[2 * CODE_MAX + 1];

    memset(t, 0, sizeof(*t));
    if (line[0] == '#' || sscanf(line, "%3s %7s %256[0-9a-f]", t->host, t->what, hex) != 3)
        return false;
    t->bits = (unsigned)atoi(t->host);
    t->baseline = strchr(t->host, '-') != NULL;
    for (const char *p = hex; p[0] && p[1]; p += 2) {
        unsigned v;
        sscanf(p, "%2x", &v);
        t->code[t->n++] = (uint8_t)v;
    }
    return t->n > 0 && (t->bits == 64 || t->bits == 32);
}

static void format(const struct test *t, const struct sizes *s, char *out, size_t size)
{
    char text[LINE_MAX], hex[2 * CODE_MAX + 1];

    for (unsigned k = 0; k < t->n; k++)
        sprintf(hex + 2 * k, "%02x", t->code[k]);
    guest_text(t, text, sizeof(text));
    snprintf(out, size, "%-3s %-4s %-24s : main %3d %4d : cold %3d %4d : %s\n", t->host, t->what,
             hex, s->main.insns, s->main.bytes, s->cold.insns, s->cold.bytes, text);
}

static void differs(const char *path, unsigned line, const char *was, const char *now)
{
    printf("%s:%u:\n-%s+%s", path, line, was, now);
}

/* Compares, or writes to `to`. How many lines differ. */
static unsigned go_through(FILE *f, const char *path, FILE *to, unsigned only)
{
    char was[LINE_MAX], now[LINE_MAX];
    struct sizes s;
    struct test t;
    unsigned line = 0, tests = 0, wrong = 0;

    while (fgets(was, sizeof(was), f)) {
        line++;
        strcpy(now, was);
        if ((!only || only == line) && parse(was, &t)) {
            tests++;
            m.show = only == line;
            s = measure(&t);
            format(&t, &s, now, sizeof(now));
        }
        if (strcmp(was, now) != 0) {
            wrong++;
            differs(path, line, was, now);
        }
        if (to)
            fputs(now, to);
    }
    printf("%u pieces of guest code, %u differ\n", tests, wrong);
    return tests ? wrong : 1;
}

static int update(const char *path)
{
    char temp[LINE_MAX];
    FILE *f = fopen(path, "r"), *to;

    snprintf(temp, sizeof(temp), "%s.new", path);
    to = fopen(temp, "w");
    if (!f || !to) {
        perror(path);
        return 1;
    }
    go_through(f, path, to, 0);
    fclose(f);
    if (fclose(to) != 0 || rename(temp, path) != 0) {
        perror(path);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    unsigned only = 0, wrong;
    FILE *f;

    if (argc == 4 && strcmp(argv[1], "--show") == 0)
        only = (unsigned)atoi(argv[2]);
    else if (!(argc == 3 && strcmp(argv[1], "--update") == 0) && argc != 2) {
        fprintf(stderr, "usage: codegen_sizes [--update | --show LINE] FILE\n");
        return 2;
    }
    if (!machine_new()) {
        fprintf(stderr, "codegen_sizes: no machine: out of memory?\n");
        return 1;
    }
    if (argc == 3)
        return update(argv[2]);
    f = fopen(argv[argc - 1], "r");
    if (!f) {
        perror(argv[argc - 1]);
        return 1;
    }
    wrong = go_through(f, argv[argc - 1], NULL, only);
    fclose(f);
    if (wrong && !only)
        printf("If that is meant: cmake --build build --target codegen-update, and review\n");
    return wrong && !only;
}
