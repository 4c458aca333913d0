/* Every row of insn_simd.def against the host's own CPU.
 *
 * For each row, random registers and memory, an encoding with random operands is decoded and run
 * by its op function, and executed natively; all registers, flags that are defined, and memory must
 * agree. Rows whose CPUID feature the host lacks, and hosts that are not x86-64, are left out, so
 * the table of rows that were compared is counted. Memory forms are also run at a non-canonical
 * address: they must fault and change nothing.
 *
 * The seed is fixed: failures repeat. TNM_SEED in the environment chooses another.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu/decode.h"
#include "cpu/exec.h"

enum { ROUNDS = 60, MEM_SIZE = 4096, MEM_AT = 1024, MEM_USED = 1024 };

#ifdef __x86_64__
#include <cpuid.h>
#include <sys/mman.h>

/* ---- the rows -------------------------------------------------------------------------------- */

struct row {
    uint32_t opcode;
    uint8_t prefix, form, form_reg, form_rm;
    const char *name, *operands, *feature;
    uint32_t attr;
};
#define NOMODRM  FORM_NOMODRM, 0, 0
#define MRM      FORM_MRM, 0, 0
#define MEM      FORM_MEM, 0, 0
#define REG      FORM_REG, 0, 0
#define X(n)     FORM_X, n, 0
#define XM(n)    FORM_XM, n, 0
#define XR(n)    FORM_XR, n, 0
#define RM(n, m) FORM_RM, n, m
#define OP(opcode, prefix, form, name, operands, how, feature, attr)                               \
    {opcode, prefix, form, #name, operands, #feature, (uint32_t)(attr)},
static const struct row rows[] = {
#include "cpu/insn_simd.def"
};

/* ---- the host -------------------------------------------------------------------------------- */

/* Where CPUID says that the host has a feature: leaf, register (a b c d), bit. */
static bool host_has(const char *feature)
{
    static const struct {
        const char *name;
        uint32_t leaf, sub, reg, bit;
    } where[] = {
        {"386", 1, 0, 3, 0},       {"CMOV", 1, 0, 3, 15},     {"MMX", 1, 0, 3, 23},
        {"FXSR", 1, 0, 3, 24},     {"SSE", 1, 0, 3, 25},      {"SSE2", 1, 0, 3, 26},
        {"CLFLUSH", 1, 0, 3, 19},  {"SSE3", 1, 0, 2, 0},      {"PCLMUL", 1, 0, 2, 1},
        {"SSSE3", 1, 0, 2, 9},     {"SSE41", 1, 0, 2, 19},    {"SSE42", 1, 0, 2, 20},
        {"MOVBE", 1, 0, 2, 22},    {"POPCNT", 1, 0, 2, 23},   {"AES", 1, 0, 2, 25},
        {"XSAVE", 1, 0, 2, 27},    {"BMI1", 7, 0, 1, 3},      {"BMI2", 7, 0, 1, 8},
        {"ADX", 7, 0, 1, 19},      {"CLFLUSHOPT", 7, 0, 1, 23}, {"CLWB", 7, 0, 1, 24},
        {"XSAVEOPT", 0xd, 1, 0, 0}, {"XSAVEC", 0xd, 1, 0, 1}, {"LM", 0x80000001, 0, 3, 29},
        {"LZCNT", 0x80000001, 0, 2, 5},
    };
    if (strcmp(feature, "XSAVES") == 0) /* the kernel's own: test_sysregs.c */
        return false;
    for (unsigned k = 0; k < ARRAY_LEN(where); k++) {
        uint32_t r[4];
        if (strcmp(where[k].name, feature) != 0)
            continue;
        if (!__get_cpuid_count(where[k].leaf, where[k].sub, &r[0], &r[1], &r[2], &r[3]))
            return false;
        return r[where[k].reg] >> where[k].bit & 1;
    }
    ck_abort_msg("feature %s is not in the list", feature);
    return false;
}

/* What a native run starts from and ends with. */
struct state {
    uint8_t fx[512]; /* FXSAVE64 image */
    uint64_t r[16];  /* but RSP and R15 */
    uint64_t flags;
} __attribute__((aligned(16)));

/* native_run(state, code): code ends with RET. */
void native_run(struct state *s, const uint8_t *code);
__asm__(".text\n"
        ".globl native_run\n"
        ".type native_run, @function\n"
        "native_run:\n"
        "    push %rbx\n    push %rbp\n    push %r12\n    push %r13\n    push %r14\n    push %r15\n"
        "    push %rdi\n"
        "    mov %rsi, %r15\n"
        "    fxrstor64 (%rdi)\n"
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
        "    fxsave64 (%rdi)\n"
        "    fninit\n"
        "    movl $0x1f80, -8(%rsp)\n    ldmxcsr -8(%rsp)\n"
        "    cld\n"
        "    pop %r15\n    pop %r14\n    pop %r13\n    pop %r12\n    pop %rbp\n    pop %rbx\n"
        "    ret\n"
        ".size native_run, . - native_run\n");

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
    /* 64-bit code at CPL 0, untranslated: enough for op functions, whatever a real CPU says. */
    cpu->mode = MODE_CODE64 | MODE_PE;
    cpu->mmu_index = MMU_SUPER_AC;
    cpu->cr0 = CR0_PE;
    cpu->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    cpu->xcr0 = 3;
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

static void to_guest(const struct state *s)
{
    memcpy(cpu->r, s->r, sizeof(s->r));
    cpu_set_flags(cpu, s->flags);
    cpu->fpu.cw = ld16(s->fx);
    cpu->fpu.sw = ld16(s->fx + 2) & 0xc7ff;
    cpu->fpu.top = s->fx[3] >> 3 & 7;
    cpu->fpu.tags = s->fx[4];
    cpu->fpu.fop = ld16(s->fx + 6);
    cpu->fpu.fip = cpu->fpu.fdp = 0;
    cpu->fpu.fcs = cpu->fpu.fds = 0;
    cpu->fpu.mxcsr = ld32(s->fx + 24);
    for (unsigned k = 0; k < 8; k++) {
        cpu->fpu.st[(cpu->fpu.top + k) & 7].mant = ld64(s->fx + 32 + 16 * k);
        cpu->fpu.st[(cpu->fpu.top + k) & 7].se = ld16(s->fx + 40 + 16 * k);
    }
    for (unsigned k = 0; k < 16; k++) {
        memcpy(cpu->xmm[k].b, s->fx + 160 + 16 * k, 16);
        memset(cpu->xmm[k].b + 16, 0xa5 + (int)k, 16);
    }
}

static void from_guest(struct state *s)
{
    memset(s, 0, sizeof(*s));
    memcpy(s->r, cpu->r, sizeof(s->r));
    s->flags = cpu_flags(cpu);
    st16(s->fx, cpu->fpu.cw);
    st16(s->fx + 2, (uint16_t)(cpu->fpu.sw | cpu->fpu.top << 11));
    s->fx[4] = cpu->fpu.tags;
    st32(s->fx + 24, cpu->fpu.mxcsr);
    for (unsigned k = 0; k < 8; k++) {
        st64(s->fx + 32 + 16 * k, cpu->fpu.st[(cpu->fpu.top + k) & 7].mant);
        st16(s->fx + 40 + 16 * k, cpu->fpu.st[(cpu->fpu.top + k) & 7].se);
    }
    for (unsigned k = 0; k < 16; k++) {
        memcpy(s->fx + 160 + 16 * k, cpu->xmm[k].b, 16);
        for (unsigned b = 16; b < 32; b++)
            if (cpu->xmm[k].b[b] != ((0xa5 + k) & 0xff))
                ck_abort_msg("upper half of ymm%u changed", k);
    }
}

/* ---- random inputs --------------------------------------------------------------------------- */

static uint64_t seed;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Registers that a test may name: not RSP, RSI and RDI (addresses), R15 (the thunk's). */
static unsigned any_reg(void)
{
    static const uint8_t regs[] = {0, 1, 2, 3, 5, 8, 9, 10, 11, 12, 13, 14};
    return regs[rnd() % sizeof(regs)];
}

static void fill(uint8_t *p, unsigned n)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0x81, 0xff, 0xfe, 8};
    unsigned kind = rnd() % 4;
    for (unsigned k = 0; k < n; k++)
        p[k] = kind == 0                  ? edges[rnd() % sizeof(edges)]
               : kind == 1 && (k & 7) > 0 ? 0
               : kind == 2 && (k & 1)     ? edges[rnd() % 6]
                                          : (uint8_t)rnd();
    if (kind == 1 && rnd() % 2)
        p[0] %= 70; /* shift counts near the element sizes */
}

/* An FXSAVE image with all exceptions masked. */
static void fill_image(uint8_t *fx)
{
    memset(fx, 0, 512);
    st16(fx, (uint16_t)(0x7f | (rnd() & 0xf00)));
    st16(fx + 2, (uint16_t)(rnd() & 0x7f7f));
    fx[4] = (uint8_t)rnd();
    st32(fx + 24, 0x1f80 | (rnd() & 0xe07f));
    for (unsigned k = 0; k < 8; k++)
        fill(fx + 32 + 16 * k, 10);
    for (unsigned k = 0; k < 16; k++)
        fill(fx + 160 + 16 * k, 16);
    if (rnd() % 2) /* equal operands are likely, as compares need them */
        for (unsigned k = 1; k < 16; k++)
            memcpy(fx + 160 + 16 * k, fx + 160, 8 + rnd() % 8);
}

static void fill_state(struct state *s, const struct row *row)
{
    fill_image(s->fx);
    for (unsigned k = 0; k < 16; k++) {
        bool length = strncmp(row->name, "PCMPESTR", 8) == 0 && (k == 0 || k == 2);
        uint8_t bytes[8];
        fill(bytes, 8);
        s->r[k] = length && rnd() % 4 ? rnd() % 40 - 20 : ld64(bytes);
    }
    if (strncmp(row->name, "XSAVE", 5) == 0 || strcmp(row->name, "XRSTOR") == 0) {
        s->r[0] = rnd() & 3;
        s->r[2] = 0;
    }
    s->r[4] = s->r[15] = 0;
    s->flags = 0x202 | (rnd() & FL_ARITH);
}

static void fill_memory(const struct row *row, uint8_t *mem)
{
    for (unsigned k = 0; k < MEM_USED; k += 16)
        fill(mem + k, 16);
    if (strcmp(row->name, "FXRSTOR") == 0)
        fill_image(mem);
    if (strcmp(row->name, "XRSTOR") == 0) {
        fill_image(mem);
        memset(mem + 512, 0, 64);
        st64(mem + 512, rnd() & 3);
        if (rnd() % 2)
            st64(mem + 520, 3 | 1ull << 63);
    }
}

/* ---- encodings ------------------------------------------------------------------------------- */

static bool has_operand(const struct row *row, const char *letters)
{
    for (const char *p = row->operands; *p; p++)
        if (strchr(letters, *p) && (p == row->operands || p[-1] == ','))
            return true;
    return false;
}

static bool may_be_wide(const struct row *row)
{
    return strchr(row->operands, 'y') || strchr(row->operands, 'v') ||
           strncmp(row->name, "PCMPESTR", 8) == 0 || row->attr == AT_X87;
}

/* Writes one encoding of the row with random operands at code; its length. */
static unsigned encode(const struct row *row, bool mem, uint8_t *code, unsigned imm)
{
    unsigned map = row->opcode < 0x10000 ? 1 : row->opcode >> 8 == 0x0f38 ? 2 : 3;
    unsigned reg = any_reg(), rm = mem ? REG_SI : any_reg(), vvvv = 0, n = 0;
    bool wide = may_be_wide(row) && rnd() % 2;
    static const uint8_t prefixes[] = {[P_66] = 0x66, [P_F3] = 0xf3, [P_F2] = 0xf2};
    static const uint8_t pp[] = {[P_66] = 1, [P_F3] = 2, [P_F2] = 3};

    if (row->form >= FORM_X)
        reg = row->form_reg;
    if (row->form == FORM_RM)
        rm = row->form_rm;
    if (has_operand(row, "B"))
        vvvv = any_reg();
    if (row->attr & AT_VEX) {
        code[n++] = 0xc4;
        code[n++] = (uint8_t)((reg & 8 ? 0 : 0x80) | 0x40 | (rm & 8 ? 0 : 0x20) | map);
        code[n++] = (uint8_t)((wide ? 0x80 : 0) | (~vvvv & 15) << 3 | pp[row->prefix]);
    } else {
        unsigned rex = (wide ? 8 : 0) | (reg & 8) >> 1 | (rm & 8) >> 3;
        if (strchr(row->operands, 'v') && rnd() % 2 && row->prefix != P_NP)
            code[n++] = 0x66;
        if (row->prefix >= P_66 && !(n && row->prefix == P_66))
            code[n++] = prefixes[row->prefix];
        if (rex)
            code[n++] = (uint8_t)(0x40 | rex);
        code[n++] = 0x0f;
        if (map > 1)
            code[n++] = map == 2 ? 0x38 : 0x3a;
    }
    code[n++] = (uint8_t)row->opcode;
    if (row->form >= FORM_MRM)
        code[n++] = (uint8_t)((mem ? 0 : 0xc0) | (reg & 7) << 3 | (rm & 7));
    if (has_operand(row, "I"))
        code[n++] = (uint8_t)imm;
    return n;
}

/* Flags that the manual defines after the instruction. */
static uint64_t defined_flags(const char *name)
{
    static const struct {
        const char *name;
        uint64_t mask;
    } special[] = {
        {"TZCNT", FL_CF | FL_ZF},
        {"LZCNT", FL_CF | FL_ZF},
        {"BEXTR", FL_CF | FL_OF | FL_ZF},
        {"ANDN", FL_ARITH & ~(FL_AF | FL_PF)},
        {"BLSR", FL_ARITH & ~(FL_AF | FL_PF)},
        {"BLSI", FL_ARITH & ~(FL_AF | FL_PF)},
        {"BLSMSK", FL_ARITH & ~(FL_AF | FL_PF)},
        {"BZHI", FL_ARITH & ~(FL_AF | FL_PF)},
    };
    for (unsigned k = 0; k < ARRAY_LEN(special); k++)
        if (strcmp(special[k].name, name) == 0)
            return special[k].mask;
    return FL_ARITH;
}

/* Check's own assertions write to a pipe each time: too slow for millions. */
#define EXPECT(cond, ...)                                                                          \
    do {                                                                                           \
        if (!(cond))                                                                               \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

static const char *show(const struct row *row, const uint8_t *code, unsigned len)
{
    static char text[128];
    int at = snprintf(text, sizeof(text), "%s %s:", row->name, row->operands);
    for (unsigned k = 0; k < len; k++)
        at += snprintf(text + at, sizeof(text) - (size_t)at, " %02x", code[k]);
    return text;
}

/* The op function of the encoding at code, after checks of what the decoder made of it. */
static const struct insn_row *decode(const struct row *row, const uint8_t *code, unsigned len,
                                     struct insn *i)
{
    struct decode_result res;
    const struct insn_row *found;

    EXPECT(insn_decode(cpu, code, len, 0, i, &res), "%s: not decoded", show(row, code, len));
    found = &insn_rows[i->row];
    /* hints have other names for some values of reg */
    EXPECT(i->len == len && (strcmp(found->name, row->name) == 0 ||
                             (found->attr == row->attr && row->attr == AT_NOFAULT)),
           "%s: decoded as %s", show(row, code, len), found->name);
    cpu->cur = i;
    return found;
}

/* FXSAVE images are compared without pointers, which hosts keep or drop as they like. */
static void mask_image(uint8_t *fx)
{
    memset(fx + 6, 0, 18);
    memset(fx + 28, 0, 4);
    memset(fx + 416, 0, 96);
}

static void compare(const struct row *row, bool mem, unsigned imm)
{
    struct state start, native, guest;
    uint8_t code[32], *nm = native_mem + MEM_AT, *gm = guest_mem + MEM_AT;
    unsigned len = encode(row, mem, code, imm), align = 1;
    bool image = row->attr == AT_X87 || strncmp(row->name, "XSAVE", 5) == 0;
    const struct insn_row *found;
    struct insn i;

    memset(&start, 0, sizeof(start));
    fill_state(&start, row);
    fill_memory(row, nm);
    memcpy(gm, nm, MEM_USED);
    if (row->attr & AT_ALIGN)
        align = 16;
    if (strcmp(row->operands, "M") == 0)
        align = 1024; /* images: at the start */
    start.r[REG_SI] = (uint64_t)(uintptr_t)nm + rnd() % 512 / align * align;
    if (strncmp(row->name, "MASKMOV", 7) == 0)
        start.r[REG_DI] = (uint64_t)(uintptr_t)nm + rnd() % 512;

    memcpy(native_code, code, len);
    native_code[len] = 0xc3;
    native = start;
    native_run(&native, native_code);

    to_guest(&start);
    found = decode(row, code, len, &i);
    EXPECT(found->fn(cpu, &i), "%s: faulted", show(row, code, len));
    from_guest(&guest);

    for (unsigned k = 0; k < 15; k++)
        EXPECT(k == 4 || guest.r[k] == native.r[k], "%s: r%u is %016llx, not %016llx",
               show(row, code, len), k, (unsigned long long)guest.r[k],
               (unsigned long long)native.r[k]);
    EXPECT(((guest.flags ^ native.flags) & defined_flags(row->name)) == 0,
           "%s: flags are %llx, not %llx", show(row, code, len),
           (unsigned long long)guest.flags & FL_ARITH, (unsigned long long)native.flags & FL_ARITH);
    mask_image(guest.fx);
    mask_image(native.fx);
    for (unsigned k = 0; k < 512; k++)
        EXPECT(guest.fx[k] == native.fx[k], "%s: image byte %u (%s) is %02x, not %02x",
               show(row, code, len), k,
               k < 32    ? "control"
               : k < 160 ? "x87"
                         : "xmm",
               guest.fx[k], native.fx[k]);
    if (image) {
        mask_image(nm);
        mask_image(gm);
    }
    for (unsigned k = 0; k < MEM_USED; k++)
        EXPECT(nm[k] == gm[k], "%s: memory byte %u is %02x, not %02x", show(row, code, len), k,
               gm[k], nm[k]);
}

/* A memory form at a non-canonical address faults and leaves all registers as they were. */
static void check_restart(const struct row *row)
{
    struct state start, after;
    uint8_t code[32];
    unsigned len = encode(row, true, code, (unsigned)rnd());
    struct insn i;

    memset(&start, 0, sizeof(start));
    fill_state(&start, row);
    start.r[REG_SI] = 0x800000000000ull;
    to_guest(&start);
    decode(row, code, len, &i);
    from_guest(&start);
    EXPECT(!insn_rows[i.row].fn(cpu, &i), "%s: did not fault", show(row, code, len));
    from_guest(&after);
    EXPECT(memcmp(&start, &after, sizeof(start)) == 0, "%s: changed state before a fault",
           show(row, code, len));
}

START_TEST(rows_match_the_host)
{
    const char *from = getenv("TNM_SEED");
    unsigned compared = 0;

    seed = from ? strtoull(from, NULL, 0) | 1 : 0x9e3779b97f4a7c15ull;
    for (unsigned n = 0; n < ARRAY_LEN(rows); n++) {
        const struct row *row = &rows[n];
        bool may_reg = row->form != FORM_MEM && row->form != FORM_XM;
        bool may_mem = row->form == FORM_MRM || row->form == FORM_MEM || row->form == FORM_X ||
                       row->form == FORM_XM;
        bool hint = row->attr == AT_NOFAULT;
        unsigned rounds = has_operand(row, "I") ? 256 : ROUNDS;

        if (may_mem && !hint)
            check_restart(row);
        /* F3 0F BC and BD are other instructions on hosts without these */
        if (!host_has(row->feature) || (strcmp(row->name, "LZCNT") == 0 && !host_has("LZCNT")) ||
            (strcmp(row->name, "TZCNT") == 0 && !host_has("BMI1")))
            continue;
        for (unsigned k = 0; k < rounds; k++) {
            if (may_reg)
                compare(row, false, k);
            if (may_mem)
                compare(row, true, k);
        }
        compared++;
    }
    ck_assert_uint_ge(compared, 250); /* an x86-64-v2 host has this many */
}
END_TEST
#endif

/* F3 0F BC and BD on processors that do not know TZCNT and LZCNT. */
START_TEST(counts_fall_back_to_scans)
{
    struct insn i = {.modrm = 0xc0, .reg = REG_AX, .rm = REG_CX, .size = 4};
    bool op_tzcnt(struct cpu *, const struct insn *), op_lzcnt(struct cpu *, const struct insn *);
    struct cpu *c = calloc(1, sizeof(*c));

    c->r[REG_AX] = 77;
    ck_assert(op_lzcnt(c, &i) && op_tzcnt(c, &i));
    ck_assert_uint_eq(c->r[REG_AX], 77);
    ck_assert(cpu_flags(c) & FL_ZF);
    c->r[REG_CX] = 0x00f0;
    ck_assert(op_lzcnt(c, &i));
    ck_assert_uint_eq(c->r[REG_AX], 7);
    ck_assert(op_tzcnt(c, &i));
    ck_assert_uint_eq(c->r[REG_AX], 4);
    ck_assert(!(cpu_flags(c) & FL_ZF));
    free(c);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("simd");
    TCase *tc = tcase_create("simd");
    SRunner *sr;
    int failed;

#ifdef __x86_64__
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, rows_match_the_host);
#endif
    tcase_add_test(tc, counts_fall_back_to_scans);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? 1 : 0;
}
