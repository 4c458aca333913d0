/* Every row of insn_avx.def against the host's own CPU, as test_simd.c does it for SSE: random
 * registers, memory and MXCSR, both vector lengths; all vector and general registers, flags, MXCSR
 * and memory must agree. And: which values of VEX.L, VEX.W and VEX.vvvv are #UD.
 *
 * Rows that the host lacks are checked against what they are made of: VAES and VPCLMULQDQ against the
 * host's 128-bit instructions, GFNI against the AES S-box, SHA against digests of FIPS 180-4.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu/decode.h"
#include "cpu/exec.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

enum { ROUNDS = 100, MEM_SIZE = 4096, MEM_AT = 1024, MEM_USED = 1024 };

struct row {
    uint32_t opcode;
    uint8_t prefix, form, form_reg, form_rm;
    const char *name, *operands, *feature;
    uint32_t attr;
};
#define NOMODRM FORM_NOMODRM, 0, 0
#define MRM     FORM_MRM, 0, 0
#define MEM     FORM_MEM, 0, 0
#define REG     FORM_REG, 0, 0
#define XM(n)   FORM_XM, n, 0
#define XR(n)   FORM_XR, n, 0
#define OP(opcode, prefix, form, name, operands, how, feature, attr)                               \
    {opcode, prefix, form, #name, operands, #feature, (uint32_t)(attr)},
static const struct row rows[] = {
#include "cpu/insn_avx.def"
};

static bool host_has(const char *feature)
{
    static const struct {
        const char *name;
        uint32_t leaf, reg, bit;
    } where[] = {
        {"AVX", 1, 2, 28},  {"FMA", 1, 2, 12},  {"F16C", 1, 2, 29}, {"AES", 1, 2, 25},
        {"PCLMUL", 1, 2, 1}, {"AVX2", 7, 1, 5},  {"SHA", 7, 1, 29},  {"GFNI", 7, 2, 8},
        {"VAES", 7, 2, 9},  {"VPCLMUL", 7, 2, 10},
    };
    for (unsigned k = 0; k < ARRAY_LEN(where); k++) {
        uint32_t r[4];
        if (strcmp(where[k].name, feature) == 0)
            return __get_cpuid_count(where[k].leaf, 0, &r[0], &r[1], &r[2], &r[3]) &&
                   (r[where[k].reg] >> where[k].bit & 1);
    }
    ck_abort_msg("feature %s is not in the list", feature);
    return false;
}

/* ---- the host -------------------------------------------------------------------------------- */

struct state {
    uint8_t ymm[16][32];
    uint64_t r[16]; /* but RSP and R15 */
    uint64_t flags;
    uint32_t mxcsr;
} __attribute__((aligned(32)));

/* avx_run(state, code): code ends with RET. */
void avx_run(struct state *s, const uint8_t *code);
#define EACH_YMM(op) /* op is "load" or "store", macros of the assembler below */                  \
    op " 0\n" op " 1\n" op " 2\n" op " 3\n" op " 4\n" op " 5\n" op " 6\n" op " 7\n"                \
    op " 8\n" op " 9\n" op " 10\n" op " 11\n" op " 12\n" op " 13\n" op " 14\n" op " 15\n"
__asm__(".text\n"
        ".macro avx_load n\n vmovdqu 32*\\n(%rdi), %ymm\\n\n.endm\n"
        ".macro avx_store n\n vmovdqu %ymm\\n, 32*\\n(%rdi)\n.endm\n"
        ".globl avx_run\n"
        ".type avx_run, @function\n"
        "avx_run:\n"
        "    push %rbx\n    push %rbp\n    push %r12\n    push %r13\n    push %r14\n    push %r15\n"
        "    push %rdi\n"
        "    mov %rsi, %r15\n"
        EACH_YMM("avx_load")
        "    ldmxcsr 648(%rdi)\n"
        "    push 640(%rdi)\n    popfq\n"
        "    mov 512(%rdi), %rax\n    mov 520(%rdi), %rcx\n    mov 528(%rdi), %rdx\n"
        "    mov 536(%rdi), %rbx\n    mov 552(%rdi), %rbp\n    mov 560(%rdi), %rsi\n"
        "    mov 576(%rdi), %r8\n    mov 584(%rdi), %r9\n    mov 592(%rdi), %r10\n"
        "    mov 600(%rdi), %r11\n    mov 608(%rdi), %r12\n    mov 616(%rdi), %r13\n"
        "    mov 624(%rdi), %r14\n    mov 568(%rdi), %rdi\n"
        "    call *%r15\n"
        "    xchg %rdi, (%rsp)\n"
        "    pushfq\n    pop 640(%rdi)\n"
        "    mov %rax, 512(%rdi)\n    mov %rcx, 520(%rdi)\n    mov %rdx, 528(%rdi)\n"
        "    mov %rbx, 536(%rdi)\n    mov %rbp, 552(%rdi)\n    mov %rsi, 560(%rdi)\n"
        "    mov %r8, 576(%rdi)\n    mov %r9, 584(%rdi)\n    mov %r10, 592(%rdi)\n"
        "    mov %r11, 600(%rdi)\n    mov %r12, 608(%rdi)\n    mov %r13, 616(%rdi)\n"
        "    mov %r14, 624(%rdi)\n"
        "    pop %rax\n    mov %rax, 568(%rdi)\n"
        "    stmxcsr 648(%rdi)\n"
        EACH_YMM("avx_store")
        "    vzeroupper\n"
        "    movl $0x1f80, -8(%rsp)\n    ldmxcsr -8(%rsp)\n"
        "    cld\n"
        "    pop %r15\n    pop %r14\n    pop %r13\n    pop %r12\n    pop %rbp\n    pop %rbx\n"
        "    ret\n"
        ".size avx_run, . - avx_run\n");

static sigjmp_buf escape;

static void on_signal(int sig)
{
    siglongjmp(escape, sig);
}

/* 0, or the signal. */
static int run_native(struct state *s, const uint8_t *code)
{
    int sig = sigsetjmp(escape, 1);
    if (sig == 0)
        avx_run(s, code);
    return sig;
}

/* ---- both machines --------------------------------------------------------------------------- */

static struct cpu *cpu;
static struct physmap *map;
static uint8_t *native_mem, *guest_mem; /* MEM_SIZE bytes at the same address in both */
static uint8_t *native_code;

static void no_op_listener(void *opaque)
{
    cpu_view_changed(cpu);
}

static void setup(void)
{
    static struct phys_region ram;
    struct physmap_listener listener = {.view_changed = no_op_listener};
    struct cpu_env env = {0};
    struct error err;

    signal(SIGILL, on_signal);
    signal(SIGFPE, on_signal);
    native_code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    native_mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    ck_assert(native_code != MAP_FAILED && native_mem != MAP_FAILED);
    map = physmap_new(MEM_SIZE, NULL, &err);
    ck_assert_ptr_nonnull(map);
    env.mem = map;
    cpu = cpu_new("max", 0, 1, &env, &err);
    ck_assert_ptr_nonnull(cpu);
    physmap_set_listener(map, &listener);
    physmap_add_ram(map, &ram, "ram", (uint64_t)(uintptr_t)native_mem, MEM_SIZE, 0, 0);
    guest_mem = physmap_host(map, 0);
    cpu_reset(cpu, false);
    cpu->mode = MODE_CODE64 | MODE_PE;
    cpu->mmu_index = MMU_SUPER_AC;
    cpu->cr0 = CR0_PE;
    cpu->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    cpu->xcr0 = 7;
    memset(cpu->seg_base, 0, sizeof(cpu->seg_base));
    for (unsigned k = 0; k < F_64BIT_ONLY; k++) /* rows no model has yet are tested too */
        cpu->features.bits[k >> 6] |= 1ull << (k & 63);
}

static void teardown(void)
{
    cpu_free(cpu);
    physmap_free(map);
    munmap(native_mem, MEM_SIZE);
    munmap(native_code, 4096);
}

/* ---- inputs ---------------------------------------------------------------------------------- */

static uint64_t seed;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static unsigned any_reg(void)
{
    static const uint8_t regs[] = {0, 1, 2, 3, 5, 8, 9, 10, 11, 12, 13, 14};
    return regs[rnd() % sizeof(regs)];
}

/* A floating-point pattern with exp_bits of exponent and frac_bits of fraction. */
static uint64_t number(unsigned exp_bits, unsigned frac_bits)
{
    uint64_t sign = rnd() & 1, frac = rnd() & ((1ull << frac_bits) - 1), exp;
    uint64_t top = (1ull << exp_bits) - 1;

    switch (rnd() % 8) {
    case 0:
        exp = 0;
        break;
    case 1:
        exp = top;
        break;
    case 2:
        exp = rnd() & top;
        break;
    default:
        exp = (top >> 1) + rnd() % 9 - 4;
        break;
    }
    if (rnd() % 3 == 0)
        frac = rnd() & 1 ? 0 : frac >> (frac_bits - 2) << (frac_bits - 2);
    return sign << (exp_bits + frac_bits) | exp << frac_bits | frac;
}

static void fill(uint8_t *p, unsigned n, unsigned kind)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0x81, 0xff, 0xfe, 8};

    for (unsigned k = 0; k < n; k++)
        p[k] = kind == 0                  ? edges[rnd() % sizeof(edges)]
               : kind == 1 && (k & 7) > 0 ? 0
               : kind == 2 && (k & 1)     ? edges[rnd() % 6]
                                          : (uint8_t)rnd();
    for (unsigned k = 0; kind == 4 && k + 4 <= n; k += 4)
        st32(p + k, (uint32_t)number(8, 23));
    for (unsigned k = 0; kind == 5 && k + 8 <= n; k += 8)
        st64(p + k, number(11, 52));
    for (unsigned k = 0; kind == 6 && k + 2 <= n; k += 2)
        st16(p + k, (uint16_t)number(5, 10));
    if (kind == 1)
        p[0] %= 70; /* shift counts near the element sizes */
}

static unsigned fill_kind(const struct row *row)
{
    size_t len = strlen(row->name);
    char last = row->name[len - 1];

    if (strcmp(row->name, "VCVTPH2PS") == 0)
        return 6;
    if (rnd() % 4 == 0 || row->name[1] == 'P')
        return rnd() % 4;
    if (strncmp(row->name, "VCVTPD2", 7) == 0 || strncmp(row->name, "VCVTSD2", 7) == 0 ||
        strncmp(row->name, "VCVTTPD", 7) == 0 || strncmp(row->name, "VCVTTSD", 7) == 0)
        return 5;
    return last == 'D' && strncmp(row->name, "VCVT", 4) != 0 ? 5 : 4;
}

static bool has_operand(const struct row *row, const char *letters)
{
    for (const char *s = row->operands; *s; s += strcspn(s, ",") + (s[strcspn(s, ",")] == ','))
        if (strchr(letters, s[0]))
            return true;
    return false;
}

/* ---- encodings ------------------------------------------------------------------------------- */

struct encoding {
    uint8_t code[32];
    unsigned len;
    unsigned reg, rm, vvvv, index;
    bool l, w, mem;
};

static void put(struct encoding *e, unsigned byte)
{
    e->code[e->len++] = (uint8_t)byte;
}

/* Three-byte VEX, or two-byte where that can say it, half the time. */
static void encode(const struct row *row, struct encoding *e, unsigned imm)
{
    static const uint8_t pp[] = {0, 0, 1, 2, 3};
    bool vsib = row->attr & AT_VSIB, vex = row->attr & AT_AVX;
    unsigned map_no = row->opcode < 0x10000 ? 1 : row->opcode >> 8 == 0x0f38 ? 2 : 3;
    unsigned r = e->reg >> 3 & 1, x = vsib ? e->index >> 3 & 1 : 0, b = e->mem ? 0 : e->rm >> 3 & 1;
    unsigned tail = (~e->vvvv & 15) << 3 | e->l << 2 | pp[row->prefix];

    e->len = 0;
    if (!vex) {
        if (row->prefix == P_66)
            put(e, 0x66);
        put(e, 0x40 | r << 2 | b);
        put(e, 0x0f);
        put(e, map_no == 2 ? 0x38 : 0x3a);
    } else if (map_no == 1 && !e->w && !x && !b && rnd() % 2) {
        put(e, 0xc5);
        put(e, (!r) << 7 | tail);
    } else {
        put(e, 0xc4);
        put(e, (!r) << 7 | (!x) << 6 | (!b) << 5 | map_no);
        put(e, e->w << 7 | tail);
    }
    put(e, row->opcode & 0xff);
    if (row->form != FORM_NOMODRM)
        put(e, (e->mem ? 0 : 0xc0) | (e->reg & 7) << 3 | (vsib ? 4 : e->mem ? 6 : e->rm & 7));
    if (vsib)
        put(e, (rnd() & 3) << 6 | (e->index & 7) << 3 | 6);
    if (has_operand(row, "IL"))
        put(e, imm);
    memcpy(native_code, e->code, e->len);
    native_code[e->len] = 0xc3;
}

static void choose(const struct row *row, struct encoding *e, bool mem)
{
    uint32_t attr = row->attr;

    memset(e, 0, sizeof(*e));
    e->mem = mem;
    e->reg = has_operand(row, "G") ? any_reg() : rnd() & 15;
    if (row->form == FORM_XM || row->form == FORM_XR)
        e->reg = row->form_reg;
    e->rm = has_operand(row, "ER") ? any_reg() : rnd() & 15;
    e->vvvv = has_operand(row, "H") ? rnd() & 15 : 0;
    e->l = attr & AT_L1 || (attr & (AT_VEXL | AT_LIG) && rnd() & 1);
    e->w = attr & AT_W1 || (!(attr & AT_W0) && rnd() & 1);
    if (attr & AT_VSIB) {
        unsigned first = rnd() & 15;
        e->reg = first;
        e->vvvv = (first + 1 + rnd() % 5) & 15;
        e->index = (first + 8 + rnd() % 5) & 15;
    }
}

/* ---- comparing ------------------------------------------------------------------------------- */

#define EXPECT(cond, ...)                                                                          \
    do {                                                                                           \
        if (!(cond))                                                                               \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

static const char *show(const struct row *row, const struct encoding *e)
{
    static char text[128];
    int at = snprintf(text, sizeof(text), "%s %s:", row->name, row->operands);
    for (unsigned k = 0; k < e->len; k++)
        at += snprintf(text + at, sizeof(text) - (size_t)at, " %02x", e->code[k]);
    return text;
}

static void to_guest(const struct state *s)
{
    memcpy(cpu->r, s->r, sizeof(s->r));
    cpu_set_flags(cpu, s->flags);
    cpu->fpu.mxcsr = s->mxcsr;
    for (unsigned k = 0; k < 16; k++)
        memcpy(cpu->xmm[k].b, s->ymm[k], 32);
}

static void fill_state(struct state *s, const struct row *row, const struct encoding *e)
{
    unsigned kind = fill_kind(row);
    memset(s, 0, sizeof(*s));
    for (unsigned k = 0; k < 16; k++) {
        fill(s->ymm[k], 32, kind);
        s->r[k] = strstr(row->name, "ESTR") && rnd() % 4 ? rnd() % 40 - 20 : rnd();
    }
    if (rnd() % 2)
        for (unsigned k = 1; k < 16; k++)
            memcpy(s->ymm[k], s->ymm[0], rnd() % 32);
    s->r[REG_SI] = (uint64_t)(uintptr_t)native_mem + MEM_AT + (rnd() % 512 & ~31ull);
    if (!(row->attr & AT_ALIGN))
        s->r[REG_SI] += rnd() % 32;
    s->r[REG_DI] = (uint64_t)(uintptr_t)native_mem + MEM_AT + rnd() % 512;
    s->flags = 2 | (rnd() & FL_ARITH);
    s->mxcsr = 0x1f80 | (rnd() & 0xe07f);
    if (row->attr & AT_VSIB) {
        unsigned size = row->opcode & 1 ? 8 : 4;
        for (unsigned k = 0; k < 32; k += size)
            st_sized(s->ymm[e->index] + k, (uint64_t)((int64_t)(rnd() % 64) - 32), size);
        fill(s->ymm[e->vvvv], 32, 3);
    }
}

static void compare(const struct row *row, bool mem, unsigned imm)
{
    struct encoding e;
    struct state start, native;
    struct decode_result res;
    struct insn i;
    uint8_t *nm = native_mem + MEM_AT, *gm = guest_mem + MEM_AT;

    choose(row, &e, mem);
    encode(row, &e, imm);
    fill_state(&start, row, &e);
    fill(nm, MEM_USED, fill_kind(row));
    if (strcmp(row->name, "VLDMXCSR") == 0)
        for (unsigned k = 0; k < MEM_USED; k++)
            st32(nm + (k & ~3u), 0x1f80 | (rnd() & 0xe07f)), start.r[REG_SI] &= ~3ull;
    memcpy(gm, nm, MEM_USED);
    native = start;
    EXPECT(run_native(&native, native_code) == 0, "%s: the host faults", show(row, &e));
    to_guest(&start);
    EXPECT(insn_decode(cpu, e.code, e.len, 0, &i, &res), "%s: not decoded", show(row, &e));
    EXPECT(i.len == e.len && strcmp(insn_rows[i.row].name, row->name) == 0, "%s: decoded as %s",
           show(row, &e), insn_rows[i.row].name);
    cpu->cur = &i;
    EXPECT(insn_rows[i.row].fn(cpu, &i), "%s: faulted", show(row, &e));
    for (unsigned k = 0; k < 15; k++)
        EXPECT(k == 4 || cpu->r[k] == native.r[k], "%s: r%u is %016llx, not %016llx", show(row, &e),
               k, (unsigned long long)cpu->r[k], (unsigned long long)native.r[k]);
    EXPECT(((cpu_flags(cpu) ^ native.flags) & FL_ARITH) == 0, "%s: flags are %llx, not %llx",
           show(row, &e), (unsigned long long)cpu_flags(cpu), (unsigned long long)native.flags);
    EXPECT(cpu->fpu.mxcsr == native.mxcsr, "%s: MXCSR is %x, not %x, from %x", show(row, &e),
           cpu->fpu.mxcsr, native.mxcsr, start.mxcsr);
    for (unsigned k = 0; k < 16; k++)
        for (unsigned at = 0; at < 32; at += 8)
            EXPECT(ld64(cpu->xmm[k].b + at) == ld64(native.ymm[k] + at),
                   "%s: ymm%u[%u] is %016llx, not %016llx; was %016llx, mxcsr %x", show(row, &e), k,
                   at, (unsigned long long)ld64(cpu->xmm[k].b + at),
                   (unsigned long long)ld64(native.ymm[k] + at),
                   (unsigned long long)ld64(start.ymm[k] + at), start.mxcsr);
    EXPECT(memcmp(nm, gm, MEM_USED) == 0, "%s: memory differs", show(row, &e));
}

static bool row_on_host(const struct row *row)
{
    return host_has(row->feature) && (!(row->attr & AT_AVX) || host_has("AVX")) &&
           (!(row->attr & AT_L_AVX2) || host_has("AVX2"));
}

static bool may_reg(const struct row *row)
{
    return row->form != FORM_MEM && row->form != FORM_XM;
}

static bool may_mem(const struct row *row)
{
    return row->form == FORM_MRM || row->form == FORM_MEM || row->form == FORM_XM;
}

START_TEST(rows_match_the_host)
{
    const char *from = getenv("TNM_SEED"), *only = getenv("TNM_ROW");
    unsigned compared = 0;

    seed = from ? strtoull(from, NULL, 0) | 1 : 0x9e3779b97f4a7c15ull;
    for (unsigned n = 0; n < ARRAY_LEN(rows); n++) {
        const struct row *row = &rows[n];
        unsigned rounds = has_operand(row, "IL") ? 256 : ROUNDS;
        if (!row_on_host(row) || (only && strcmp(only, row->name) != 0))
            continue;
        for (unsigned k = 0; k < rounds; k++) {
            if (may_reg(row))
                compare(row, false, k);
            if (may_mem(row))
                compare(row, true, k);
        }
        compared++;
    }
    if (host_has("AVX2") && host_has("FMA") && !only)
        ck_assert_uint_ge(compared, 380);
}
END_TEST

/* Which of L, W and vvvv are #UD. */
START_TEST(legality_matches_the_host)
{
    seed = 12345;
    for (unsigned n = 0; n < ARRAY_LEN(rows); n++) {
        const struct row *row = &rows[n];
        if (!row_on_host(row) || !(row->attr & AT_AVX))
            continue;
        for (unsigned k = 0; k < 16; k++) {
            bool mem = may_mem(row) && (!may_reg(row) || k & 8);
            struct encoding e;
            struct decode_result res;
            struct insn i;
            struct state s;
            bool ours;
            int sig;
            choose(row, &e, mem);
            e.l = k & 1;
            e.w = k & 2;
            if (k & 4 && !(row->attr & AT_VSIB))
                e.vvvv = 5;
            encode(row, &e, 0);
            fill_state(&s, row, &e);
            if (!strncmp(row->name, "VMOV", 4))
                s.r[REG_SI] &= ~31ull;
            s.mxcsr |= 0x1f80;
            memset(native_mem + MEM_AT, 0, MEM_USED);
            sig = run_native(&s, native_code);
            ours = insn_decode(cpu, e.code, e.len, 0, &i, &res);
            /* what another row or a later extension makes of the encoding is not this row's */
            if (ours && strcmp(insn_rows[i.row].name, row->name) != 0)
                continue;
            if (ours && !host_has(row->feature))
                continue;
            if (ours && e.l && (strncmp(row->name, "VAES", 4) == 0 || strstr(row->name, "CLMUL")))
                continue; /* the host may lack these */
            EXPECT(ours == (sig == 0), "%s: %s by us, signal %d on the host", show(row, &e),
                   ours ? "accepted" : "#UD", sig);
        }
    }
}
END_TEST

/* An instruction of ours: registers 0, 1 and 2 are destination or first source, second source, and
 * for VEX forms the first source. */
static void ours(const char *name, bool wide, unsigned imm)
{
    struct encoding e = {.reg = 0, .rm = 1, .vvvv = 2, .l = wide};
    const struct row *row = NULL;
    struct decode_result res;
    struct insn i;

    for (unsigned n = 0; n < ARRAY_LEN(rows) && !row; n++)
        if (strcmp(rows[n].name, name) == 0 && (!wide || rows[n].attr & (AT_VEXL | AT_L1)))
            row = &rows[n];
    ck_assert_ptr_nonnull(row);
    e.w = row->attr & AT_W1;
    if (!has_operand(row, "H"))
        e.vvvv = 0;
    encode(row, &e, imm);
    ck_assert_msg(insn_decode(cpu, e.code, e.len, 0, &i, &res), "%s", show(row, &e));
    ck_assert_str_eq(insn_rows[i.row].name, name);
    cpu->cur = &i;
    ck_assert_msg(insn_rows[i.row].fn(cpu, &i), "%s", show(row, &e));
}

/* Both lanes of 256-bit AES and carry-less multiplication are what the 128-bit form makes of them. */
START_TEST(wide_crypto_is_lane_by_lane)
{
    static const char *const names[] = {"VAESENC", "VAESENCLAST", "VAESDEC", "VAESDECLAST",
                                        "VPCLMULQDQ"};
    seed = 99;
    for (unsigned n = 0; n < ARRAY_LEN(names) * 64; n++) {
        union vec a, b, want;
        fill(a.b, 32, 3);
        fill(b.b, 32, 3);
        for (unsigned lane = 0; lane < 32; lane += 16) {
            memcpy(cpu->xmm[2].b, a.b + lane, 16);
            memcpy(cpu->xmm[1].b, b.b + lane, 16);
            ours(names[n % ARRAY_LEN(names)], false, n);
            memcpy(want.b + lane, cpu->xmm[0].b, 16);
        }
        cpu->xmm[2] = a;
        cpu->xmm[1] = b;
        ours(names[n % ARRAY_LEN(names)], true, n);
        ck_assert_mem_eq(cpu->xmm[0].b, want.b, 32);
    }
}
END_TEST

/* The AES S-box is an affine transformation of the inverse, its inverse's matrix undoes that, and
 * a byte times its inverse is 1. VAESENCLAST with a zero key shows the S-box. */
START_TEST(gfni_makes_the_aes_sbox)
{
    for (unsigned x = 0; x < 256; x++) {
        uint8_t sbox, inverse;
        memset(cpu->xmm, 0, sizeof(cpu->xmm));
        memset(cpu->xmm[2].b, (int)x, 32);
        ours("VAESENCLAST", false, 0);
        sbox = cpu->xmm[0].b[0];
        for (unsigned k = 0; k < 32; k += 8)
            st64(cpu->xmm[1].b + k, 0xf1e3c78f1f3e7cf8ull);
        ours("VGF2P8AFFINEINVQB", true, 0x63);
        for (unsigned k = 0; k < 32; k++)
            ck_assert_uint_eq(cpu->xmm[0].b[k], sbox);
        memcpy(cpu->xmm[0].b, cpu->xmm[2].b, 16);
        ours("GF2P8AFFINEINVQB", false, 0x63);
        ck_assert_uint_eq(cpu->xmm[0].b[15], sbox);
        for (unsigned k = 0; k < 32; k += 8) /* the identity */
            st64(cpu->xmm[1].b + k, 0x0102040810204080ull);
        ours("VGF2P8AFFINEQB", true, 0xa5);
        ck_assert_uint_eq(cpu->xmm[0].b[31], x ^ 0xa5);
        ours("VGF2P8AFFINEINVQB", false, 0);
        inverse = cpu->xmm[0].b[7];
        memset(cpu->xmm[1].b, inverse, 32);
        ours("VGF2P8MULB", true, 0);
        ck_assert_uint_eq(cpu->xmm[0].b[20], x != 0);
    }
    memset(cpu->xmm[2].b, 0x57, 16); /* FIPS 197, 4.2 */
    memset(cpu->xmm[1].b, 0x83, 16);
    ours("VGF2P8MULB", false, 0);
    ck_assert_uint_eq(cpu->xmm[0].b[3], 0xc1);
}
END_TEST

/* Registers of four words, the last argument lowest. */
static union vec words(uint32_t w3, uint32_t w2, uint32_t w1, uint32_t w0)
{
    union vec v = {{0}};
    st32(v.b, w0);
    st32(v.b + 4, w1);
    st32(v.b + 8, w2);
    st32(v.b + 12, w3);
    return v;
}

static union vec sha_step(const char *name, union vec a, union vec b, unsigned imm)
{
    cpu->xmm[0] = a;
    cpu->xmm[1] = b;
    ours(name, false, imm);
    return cpu->xmm[0];
}

static union vec add_words(union vec a, union vec b)
{
    for (unsigned k = 0; k < 16; k += 4)
        st32(a.b + k, ld32(a.b + k) + ld32(b.b + k));
    return a;
}

/* "abc" with its padding is one block; the digest is FIPS 180's example. */
START_TEST(sha1_of_abc)
{
    union vec abcd = words(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476), start = abcd;
    union vec e = words(0xc3d2e1f0, 0, 0, 0), before, w[20];

    w[0] = words(0x61626380, 0, 0, 0);
    w[1] = w[2] = words(0, 0, 0, 0);
    w[3] = words(0, 0, 0, 24);
    for (unsigned k = 4; k < 20; k++) {
        union vec t = sha_step("SHA1MSG1", w[k - 4], w[k - 3], 0);
        for (unsigned b = 0; b < 16; b++)
            t.b[b] ^= w[k - 2].b[b];
        w[k] = sha_step("SHA1MSG2", t, w[k - 1], 0);
    }
    before = abcd;
    abcd = sha_step("SHA1RNDS4", abcd, add_words(e, w[0]), 0);
    for (unsigned k = 1; k < 20; k++) {
        e = sha_step("SHA1NEXTE", before, w[k], 0);
        before = abcd;
        abcd = sha_step("SHA1RNDS4", abcd, e, k / 5);
    }
    e = sha_step("SHA1NEXTE", before, words(0xc3d2e1f0, 0, 0, 0), 0);
    abcd = add_words(abcd, start);
    ck_assert_uint_eq(ld32(abcd.b + 12), 0xa9993e36);
    ck_assert_uint_eq(ld32(abcd.b + 8), 0x4706816a);
    ck_assert_uint_eq(ld32(abcd.b + 4), 0xba3e2571);
    ck_assert_uint_eq(ld32(abcd.b), 0x7850c26c);
    ck_assert_uint_eq(ld32(e.b + 12), 0x9cd0d89d);
}
END_TEST

/* Fractions of roots of the first primes, as FIPS 180-4 defines the constants. */
static uint32_t root_fraction(unsigned n, bool cube)
{
    unsigned prime = 1, d;
    for (unsigned k = 0; k <= n; k++) {
        do {
            prime++;
            for (d = 2; d < prime && prime % d; d++)
                ;
        } while (d != prime);
    }
    /* the largest v with v^2 <= prime * 2^64, or v^3 <= prime * 2^96 */
    uint64_t v = 0;
    for (int bit = 36; bit >= 0; bit--) {
        uint64_t t = v | 1ull << bit;
        __extension__ typedef unsigned __int128 u128;
        u128 p = (u128)t * t;
        bool fits = cube ? p <= ((u128)prime << 96) / t : p <= (u128)prime << 64;
        if (fits)
            v = t;
    }
    return (uint32_t)v;
}

START_TEST(sha256_of_abc)
{
    static const uint32_t want[8] = {0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223,
                                     0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad};
    uint32_t h[8];
    union vec w[16], abef, cdgh, start[2];

    for (unsigned k = 0; k < 8; k++)
        h[k] = root_fraction(k, false);
    w[0] = words(0, 0, 0, 0x61626380);
    w[1] = w[2] = words(0, 0, 0, 0);
    w[3] = words(24, 0, 0, 0);
    for (unsigned k = 4; k < 16; k++) {
        union vec t = sha_step("SHA256MSG1", w[k - 4], w[k - 3], 0), shifted;
        memcpy(shifted.b, w[k - 2].b + 4, 12); /* PALIGNR: words 9 to 12 of 16 back */
        memcpy(shifted.b + 12, w[k - 1].b, 4);
        w[k] = sha_step("SHA256MSG2", add_words(t, shifted), w[k - 1], 0);
    }
    start[0] = abef = words(h[0], h[1], h[4], h[5]);
    start[1] = cdgh = words(h[2], h[3], h[6], h[7]);
    for (unsigned k = 0; k < 64; k += 2) {
        const uint8_t *at = w[k / 4].b + 4 * (k & 2);
        union vec wk = words(0, 0, ld32(at + 4) + root_fraction(k + 1, true),
                             ld32(at) + root_fraction(k, true));
        union vec next;
        /* XMM0 is the implicit third operand here: destination 3, source 1 */
        struct insn i;
        struct decode_result res;
        static const uint8_t code[] = {0x0f, 0x38, 0xcb, 0xd9};
        cpu->xmm[0] = wk;
        cpu->xmm[3] = cdgh;
        cpu->xmm[1] = abef;
        ck_assert(insn_decode(cpu, code, sizeof(code), 0, &i, &res));
        ck_assert(insn_rows[i.row].fn(cpu, &i));
        next = cpu->xmm[3];
        cdgh = abef;
        abef = next;
    }
    abef = add_words(abef, start[0]);
    cdgh = add_words(cdgh, start[1]);
    for (unsigned k = 0; k < 8; k++) {
        const union vec *v = k & 2 ? &cdgh : &abef;
        ck_assert_uint_eq(ld32(v->b + (k & 4 ? 4 : 12) - 4 * (k & 1)), want[k]);
    }
}
END_TEST

/* A gather that faults keeps what it has, and goes on from there. */
START_TEST(gathers_resume)
{
    static const uint8_t code[] = {0xc4, 0xe2, 0xed, 0x91, 0x04, 0x0e}; /* ymm0, [rsi+ymm1], ymm2 */
    struct decode_result res;
    struct insn i;

    ck_assert(insn_decode(cpu, code, sizeof(code), 0, &i, &res));
    ck_assert_str_eq(insn_rows[i.row].name, "VPGATHERQQ");
    cpu->cur = &i;
    cpu->r[REG_SI] = (uint64_t)(uintptr_t)native_mem;
    memset(cpu->xmm[0].b, 0, 32);
    memset(cpu->xmm[2].b, 0xff, 32);
    memset(cpu->xmm[2].b, 0, 8);
    st64(cpu->xmm[0].b, 77);
    for (unsigned k = 0; k < 4; k++) {
        st64(cpu->xmm[1].b + 8 * k, 8 * k);
        st64(guest_mem + 8 * k, 100 + k);
    }
    st64(cpu->xmm[1].b + 16, 1ull << 60); /* not canonical */
    ck_assert(!insn_rows[i.row].fn(cpu, &i));
    ck_assert_uint_eq(ld64(cpu->xmm[0].b), 77);
    ck_assert_uint_eq(ld64(cpu->xmm[0].b + 8), 101);
    ck_assert_uint_eq(ld64(cpu->xmm[0].b + 16), 0);
    ck_assert_uint_eq(ld64(cpu->xmm[2].b + 8), 0);
    ck_assert_uint_eq(ld64(cpu->xmm[2].b + 16), UINT64_MAX);
    st64(cpu->xmm[1].b + 16, 0);
    ck_assert(insn_rows[i.row].fn(cpu, &i));
    ck_assert_uint_eq(ld64(cpu->xmm[0].b + 16), 100);
    ck_assert_uint_eq(ld64(cpu->xmm[0].b + 24), 103);
    for (unsigned k = 0; k < 32; k++)
        ck_assert_uint_eq(cpu->xmm[2].b[k], 0);
}
END_TEST
#endif

int main(void)
{
    Suite *s = suite_create("avx");
    TCase *tc = tcase_create("avx");
    SRunner *sr;
    int failed;

#ifdef __x86_64__
    tcase_add_checked_fixture(tc, setup, teardown);
    if (host_has("AVX")) {
        tcase_add_test(tc, rows_match_the_host);
        tcase_add_test(tc, legality_matches_the_host);
    }
    tcase_add_test(tc, wide_crypto_is_lane_by_lane);
    tcase_add_test(tc, gfni_makes_the_aes_sbox);
    tcase_add_test(tc, sha1_of_abc);
    tcase_add_test(tc, sha256_of_abc);
    tcase_add_test(tc, gathers_resume);
#endif
    tcase_set_timeout(tc, 60);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? 1 : 0;
}
