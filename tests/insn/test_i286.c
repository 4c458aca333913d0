/* Real mode against a real 80286: every recording of i286-real.jsonl.gz runs on our 386, the model
 * nearest to it, and every register, flag and byte of memory must be as recorded. What a 386 does
 * differently, and nothing else, is in the table `differences`, each entry with its reason and with
 * what must happen instead.
 *
 * The 386 rather than a later model: it has the fewest encodings that a 286 has not.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/exec.h"
#include "tests/insn/vectors.h"
#include "tests/unit/suite.h"

#define RAM_BYTES (16 * MIB)
#define HANDLER   0x90ff0u /* HLT, for exceptions that the recording has not */

enum { R_CS = 8, R_SS, R_DS, R_ES, R_IP, R_FLAGS, R_COUNT };
static const char *const reg_names[R_COUNT] = {"ax", "cx", "dx", "bx", "sp", "bp", "si",
                                               "di", "cs", "ss", "ds", "es", "ip", "flags"};

struct byte_at {
    uint32_t addr;
    uint8_t was, is;
};

struct kase {
    const char *op, *name;
    uint8_t code[16];
    unsigned len; /* without the HLT */
    uint16_t before[R_COUNT], after[R_COUNT];
    struct byte_at mem[512];
    unsigned nmem;
    int exception; /* -1: none */
    uint16_t flags_mask;
};

struct bench {
    struct physmap *map;
    struct phys_region ram;
    uint64_t ra;
    struct cpu *cpu;
};

/* ---- the machine around the CPU --------------------------------------------------------------- */

static uint32_t port_in(void *opaque, uint16_t port, unsigned size)
{
    return 0xffffffff;
}
static void port_out(void *opaque, uint16_t port, uint32_t value, unsigned size)
{
}
static int intr_ack(void *opaque)
{
    return -1;
}
static uint64_t zero(void *opaque)
{
    return 0;
}
static bool msr_read(void *opaque, uint32_t msr, uint64_t *value)
{
    return false;
}
static bool msr_write(void *opaque, uint32_t msr, uint64_t value)
{
    return false;
}
static uint8_t cr8_get(void *opaque)
{
    return 0;
}
static void cr8_set(void *opaque, uint8_t value)
{
}
static void shutdown_seen(void *opaque, const char *why)
{
}
static void view_changed(void *opaque)
{
    cpu_view_changed(((struct bench *)opaque)->cpu);
}
static void flags_set(void *opaque, uint64_t ra, uint64_t size)
{
    mmu_protect_ra(&((struct bench *)opaque)->cpu->mmu, ra, size);
}
static void code_written(void *opaque, uint64_t ra, unsigned size)
{
    cpu_code_written(&((struct bench *)opaque)->cpu, 1, ra, size);
}

static void bench_new(struct bench *b)
{
    struct cpu_env env = {
        .opaque = b,
        .port_in = port_in,
        .port_out = port_out,
        .intr_ack = intr_ack,
        .tsc = zero,
        .msr_read = msr_read,
        .msr_write = msr_write,
        .cr8_get = cr8_get,
        .cr8_set = cr8_set,
        .shutdown = shutdown_seen,
        .random = zero,
    };
    const struct physmap_listener l = {b, view_changed, flags_set, code_written};

    b->map = physmap_new(RAM_BYTES, NULL, NULL);
    ck_assert_ptr_nonnull(b->map);
    env.mem = b->map;
    b->cpu = cpu_new("386", 0, 1, &env, NULL);
    ck_assert_ptr_nonnull(b->cpu);
    if (getenv("TINAMOU_ENGINE") && strcmp(getenv("TINAMOU_ENGINE"), "jit") == 0 &&
        !cpu_use_translator(b->cpu, 16 * MIB, 1))
        fprintf(stderr, "there is no translator for this host: interpreted\n");
    physmap_set_listener(b->map, &l);
    b->ra = physmap_store_alloc(b->map, RAM_BYTES);
    physmap_add_ram(b->map, &b->ram, "ram", 0, RAM_BYTES, b->ra, 0);
}

static void bench_free(struct bench *b)
{
    cpu_free(b->cpu);
    physmap_free(b->map);
}

/* ---- a recording ------------------------------------------------------------------------------ */

static unsigned hex_digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

static void get_regs(json_t *from, uint16_t *regs)
{
    for (unsigned k = 0; k < R_COUNT; k++) {
        json_t *v = json_object_get(from, reg_names[k]);
        if (v)
            regs[k] = (uint16_t)json_integer_value(v);
    }
}

static struct byte_at *byte_of(struct kase *c, uint32_t addr)
{
    for (unsigned k = 0; k < c->nmem; k++) {
        if (c->mem[k].addr == addr)
            return &c->mem[k];
    }
    if (c->nmem == ARRAY_LEN(c->mem))
        return NULL;
    c->mem[c->nmem] = (struct byte_at){.addr = addr};
    return &c->mem[c->nmem++];
}

static bool get_ram(struct kase *c, json_t *list, bool before)
{
    size_t n;
    json_t *pair;

    json_array_foreach(list, n, pair)
    {
        struct byte_at *at = byte_of(c, (uint32_t)json_integer_value(json_array_get(pair, 0)));
        if (!at)
            return false;
        at->is = (uint8_t)json_integer_value(json_array_get(pair, 1));
        if (before)
            at->was = at->is;
    }
    return true;
}

/* From one line's object, which outlives *c. */
static bool kase_parse(json_t *line, json_t *opcodes, struct kase *c)
{
    json_t *initial = json_object_get(line, "initial"), *final = json_object_get(line, "final");
    json_t *exception = json_object_get(line, "exception"), *about, *mask;
    const char *bytes = json_string_value(json_object_get(line, "bytes"));
    char base[8], *dot;

    memset(c, 0, sizeof(*c));
    c->op = json_string_value(json_object_get(line, "op"));
    c->name = json_string_value(json_object_get(line, "name"));
    if (!c->op || !c->name || !bytes || strlen(bytes) < 4 || strlen(bytes) > 32)
        return false;
    for (c->len = 0; c->len + 1 < strlen(bytes) / 2; c->len++)
        c->code[c->len] =
            (uint8_t)(hex_digit(bytes[2 * c->len]) << 4 | hex_digit(bytes[2 * c->len + 1]));
    get_regs(json_object_get(initial, "regs"), c->before);
    memcpy(c->after, c->before, sizeof(c->after));
    get_regs(json_object_get(final, "regs"), c->after);
    c->exception = exception ? (int)json_integer_value(json_object_get(exception, "number")) : -1;

    snprintf(base, sizeof(base), "%s", c->op);
    dot = strchr(base, '.');
    if (dot)
        *dot = 0;
    about = json_object_get(opcodes, base);
    if (dot)
        about = json_object_get(json_object_get(about, "reg"), dot + 1);
    mask = json_object_get(about, "flags-mask");
    c->flags_mask = mask ? (uint16_t)json_integer_value(mask) : 0xffff;
    return get_ram(c, json_object_get(initial, "ram"), true) &&
           get_ram(c, json_object_get(final, "ram"), false);
}

/* ---- what a 386 does differently -------------------------------------------------------------- */

struct shape {
    unsigned opcode_at;
    bool lock, rep, memory;
    int override; /* segment prefix's SEG_, or -1 */
};

static struct shape shape_of(const struct kase *c)
{
    struct shape s = {.override = -1};
    uint8_t op;

    for (; s.opcode_at < c->len; s.opcode_at++) {
        uint8_t b = c->code[s.opcode_at];
        if (b == 0xf0)
            s.lock = true;
        else if ((b & 0xe7) == 0x26)
            s.override = b >> 3 & 3;
        else if (b == 0xf2 || b == 0xf3)
            s.rep = true;
        else
            break;
    }
    op = c->code[s.opcode_at];
    s.memory = (op < 0x40 ? (op & 7) < 4 : (op >= 0x80 && op < 0x90) || op >= 0xc0) &&
               c->code[s.opcode_at + 1] < 0xc0;
    return s;
}

static uint32_t linear(uint16_t seg, uint16_t off)
{
    return (uint32_t)(seg << 4) + off;
}

static void set_byte(struct kase *c, uint32_t addr, uint8_t was, uint8_t is)
{
    struct byte_at *at = byte_of(c, addr);
    ck_assert_ptr_nonnull(at);
    at->was = was;
    at->is = is;
}

static uint16_t word_before(struct kase *c, uint32_t addr)
{
    return (uint16_t)(byte_of(c, addr)->was | byte_of(c, addr + 1)->was << 8);
}

static void push_word(struct kase *c, uint16_t v)
{
    c->after[REG_SP] -= 2;
    byte_of(c, linear(c->before[R_SS], c->after[REG_SP]))->is = (uint8_t)v;
    byte_of(c, linear(c->before[R_SS], c->after[REG_SP] + 1))->is = (uint8_t)(v >> 8);
}

/* Nothing happens but the next instruction. */
static void expect_nothing(struct kase *c)
{
    memcpy(c->after, c->before, sizeof(c->after));
    for (unsigned k = 0; k < c->nmem; k++)
        c->mem[k].is = c->mem[k].was;
    c->after[R_IP] = (uint16_t)(c->before[R_IP] + c->len + 1);
    c->after[R_FLAGS] = (c->before[R_FLAGS] & 0xfd5) | 2;
    c->exception = -1;
}

/* Nothing happens but a fault with this vector, whose handler is a HLT of ours. */
static void expect_fault(struct kase *c, unsigned vector)
{
    static const uint8_t pointer[4] = {HANDLER & 15, 0, HANDLER >> 4 & 0xff, HANDLER >> 12};

    expect_nothing(c);
    for (unsigned k = 0; k < 4; k++)
        set_byte(c, 4 * vector + k, pointer[k], pointer[k]);
    set_byte(c, HANDLER, 0xf4, 0xf4);
    push_word(c, c->after[R_FLAGS]);
    push_word(c, c->before[R_CS]);
    push_word(c, c->before[R_IP]);
    c->after[R_FLAGS] &= (uint16_t) ~(FL_IF | FL_TF);
    c->after[R_CS] = HANDLER >> 4;
    c->after[R_IP] = (HANDLER & 15) + 1;
    c->exception = (int)vector;
}

static bool lock_refused(const struct kase *c, const struct shape *s)
{
    static const char lockable[] =
        " 00 01 08 09 10 11 18 19 20 21 28 29 30 31 80.0 80.1 80.2 80.3 80.4 80.5 80.6 81.0 81.1 "
        "81.2 "
        "81.3 81.4 81.5 81.6 82.0 82.1 82.2 82.3 82.4 82.5 82.6 83.0 83.1 83.2 83.3 83.4 83.5 83.6 "
        "86 87 F6.2 F6.3 F7.2 F7.3 FE.0 FE.1 FF.0 FF.1 ";
    char word[8];
    snprintf(word, sizeof(word), " %s ", c->op);
    return s->lock && !(s->memory && strstr(lockable, word));
}
static void expect_ud(struct kase *c, const struct shape *s)
{
    expect_fault(c, EXC_UD);
}

static bool stack_overrun(const struct kase *c, const struct shape *s)
{
    uint8_t op = c->code[s->opcode_at], modrm = c->code[s->opcode_at + 1], rm = modrm & 7;
    bool uses_bp = rm == 2 || rm == 3 || (rm == 6 && modrm >= 0x40);

    if (c->exception != EXC_GP)
        return false;
    if (op == 0xa5 || op == 0xa7 || op == 0xad || op == 0x6f)
        return s->override == SEG_SS && c->before[REG_SI] & 1 &&
               (c->after[REG_SI] == 0xfffd || c->after[REG_SI] == 1);
    if (op == 0xc9)
        return c->before[REG_BP] == 0xffff;
    if (op == 0x07 || op == 0x17 || op == 0x1f || op == 0xc2)
        return c->before[REG_SP] == 0xffff;
    return s->memory && (s->override == SEG_SS || (s->override < 0 && uses_bp));
}
static void expect_ss(struct kase *c, const struct shape *s)
{
    for (unsigned k = 0; k < 4; k++) {
        struct byte_at *gp = byte_of(c, 4 * EXC_GP + k);
        set_byte(c, 4 * EXC_SS + k, gp->was, gp->is);
        gp = byte_of(c, 4 * EXC_GP + k);
        gp->was = gp->is = 0;
    }
    c->exception = EXC_SS;
}

static bool string_overrun(const struct kase *c, const struct shape *s)
{
    return c->exception == EXC_GP || c->exception == EXC_SS;
}
/* The element that does not fit is at offset FFFF: what came before it is done, no more. */
static void expect_restartable(struct kase *c, const struct shape *s)
{
    static const uint8_t pointers[2] = {REG_SI, REG_DI};
    uint8_t op = c->code[s->opcode_at];
    bool down = c->before[R_FLAGS] & FL_DF;
    bool uses[2] = {op == 0x6f || op == 0xa5 || op == 0xa7 || op == 0xad, op != 0x6f && op != 0xad};
    unsigned n = 0x10000;

    for (unsigned k = 0; k < 2; k++) {
        uint16_t v = c->before[pointers[k]], way = (uint16_t)(down ? v - 0xffff : 0xffff - v);
        if (uses[k] && (v & 1))
            n = MIN(n, way / 2u);
    }
    for (unsigned k = 0; k < 2; k++) {
        uint16_t v = c->before[pointers[k]];
        if (uses[k])
            c->after[pointers[k]] = (uint16_t)(down ? v - 2 * n : v + 2 * n);
    }
    c->after[REG_CX] = (uint16_t)(c->before[REG_CX] - (s->rep ? n : 0));
}

static bool always(const struct kase *c, const struct shape *s)
{
    return c->exception < 0;
}
static void expect_popped_flags(struct kase *c, const struct shape *s)
{
    unsigned at = strcmp(c->op, "CF") == 0 ? 4 : 0;
    uint32_t addr = linear(c->before[R_SS], (uint16_t)(c->before[REG_SP] + at));
    c->after[R_FLAGS] |= word_before(c, addr) & (FL_IOPL | FL_NT);
}

static bool fs_or_gs(const struct kase *c, const struct shape *s)
{
    unsigned reg = c->code[s->opcode_at + 1] >> 3 & 7;
    return c->exception == EXC_UD && (reg == 4 || reg == 5);
}
/* Both are 0. Loads change nothing that is compared. */
static void expect_fs_gs(struct kase *c, const struct shape *s)
{
    unsigned modrm = c->code[s->opcode_at + 1];
    expect_nothing(c);
    if (strcmp(c->op, "8C") == 0 && modrm >= 0xc0)
        c->after[modrm & 7] = 0;
}

static bool whole_turns(const struct kase *c, const struct shape *s)
{
    return (c->code[c->len - 1] & 31) % 9 == 0;
}
static void expect_same_of(struct kase *c, const struct shape *s)
{
    c->after[R_FLAGS] = (c->after[R_FLAGS] & ~FL_OF) | (c->before[R_FLAGS] & FL_OF);
}

static bool divide_fault(const struct kase *c, const struct shape *s)
{
    return c->exception == EXC_DE;
}
static void expect_same_flags(struct kase *c, const struct shape *s)
{
    c->after[R_FLAGS] = (c->before[R_FLAGS] & 0xcd5) | 2;
    c->after[REG_SP] += 6;
    push_word(c, (c->before[R_FLAGS] & 0xfd5) | 2);
    c->after[REG_SP] -= 4;
    c->flags_mask = 0xffff;
}

static bool over_ten_bytes(const struct kase *c, const struct shape *s)
{
    return c->len > 10 && c->exception == EXC_GP;
}

static uint32_t operand_address(const struct kase *c, const struct shape *s)
{
    static const uint8_t base[8] = {REG_BX, REG_BX, REG_BP, REG_BP, REG_SI, REG_DI, REG_BP, REG_BX};
    static const uint8_t segs[4] = {R_ES, R_CS, R_SS, R_DS};
    const uint8_t *p = c->code + s->opcode_at + 1;
    unsigned rm = p[0] & 7, mod = p[0] >> 6;
    bool plain = mod == 0 && rm == 6, bp = rm == 2 || rm == 3 || (rm == 6 && !plain);
    uint16_t ea = plain ? 0 : c->before[base[rm]];

    if (rm < 4)
        ea += c->before[rm & 1 ? REG_DI : REG_SI];
    if (mod == 1)
        ea += (uint16_t)(int8_t)p[1];
    else if (mod == 2 || plain)
        ea += (uint16_t)(p[1] | p[2] << 8);
    return linear(c->before[s->override >= 0 ? segs[s->override] : bp ? R_SS : R_DS], ea);
}

/* Far jumps, and ALU operations with memory that is 0: all that the recordings have. */
static void expect_execution(struct kase *c, const struct shape *s)
{
    const uint8_t *p = c->code + s->opcode_at;
    unsigned op = p[0], group = p[1] >> 3 & 7;
    uint16_t imm = (uint16_t)(c->code[c->len - 2] | c->code[c->len - 1] << 8);

    expect_nothing(c);
    if (op == 0xea) {
        c->after[R_IP] = (uint16_t)((p[1] | p[2] << 8) + 1);
        c->after[R_CS] = imm;
        set_byte(c, linear(imm, (uint16_t)(c->after[R_IP] - 1)), 0xf4, 0xf4);
        return;
    }
    c->flags_mask = (uint16_t)~FL_ARITH;
    if (op == 0x81 && group != 4 && group != 7) {
        uint16_t r = group == 3 || group == 5 ? (uint16_t)-imm : imm;
        if (group == 2 || group == 3)
            r += (uint16_t)(group == 2 ? c->before[R_FLAGS] & 1 : -(c->before[R_FLAGS] & 1));
        set_byte(c, operand_address(c, s), 0, (uint8_t)r);
        set_byte(c, operand_address(c, s) + 1, 0, (uint8_t)(r >> 8));
    }
}

struct difference {
    const char *ops; /* as in the recordings, with a space before and after each; NULL: any */
    bool (*applies)(const struct kase *c, const struct shape *s);
    void (*expect)(struct kase *c, const struct shape *s); /* makes *c what a 386 has to do */
    bool last;                                             /* no later entry matters */
    const char *reason;
};

static const struct difference differences[] = {
    {NULL, lock_refused, expect_ud, true,
     "a 286 accepts LOCK anywhere; a 386 raises #UD where it is not allowed (386 manual, 14.7)"},
    {" EA 81.1 81.2 81.6 81.7 F7.0 F7.1 ", over_ten_bytes, expect_execution, true,
     "a 286 raises #GP for instructions over 10 bytes, a 386 for those over 15 (14.7)"},
    {" 8C 8E ", fs_or_gs, expect_fs_gs, true, "a 286 has no FS and GS and raises #UD"},
    {NULL, stack_overrun, expect_ss, false,
     "operands past the end of the stack segment raise 13 on a 286 in real mode, 12 on a 386"},
    {" 6D 6F A5 A7 AB AD AF ", string_overrun, expect_restartable, true,
     "a faulting string instruction leaves SI, DI and CX of a 286 advanced; a 386 restarts it"},
    {" 9D CF ", always, expect_popped_flags, true,
     "IOPL and NT do not exist in a 286's real mode; a 386 loads them"},
    {" C0.2 C0.3 ", whole_turns, expect_same_of, true,
     "OF after rotating by whole turns of 9 bits is undefined; a 386 and later leave it"},
    {" D4 F6.6 F6.7 F7.6 F7.7 ", divide_fault, expect_same_flags, true,
     "flags after #DE are undefined; a 286 has computed some, here a fault changes none"},
};

static void apply_differences(struct kase *c, unsigned *used)
{
    struct shape s = shape_of(c);
    char word[8];

    snprintf(word, sizeof(word), " %s ", c->op);
    for (unsigned k = 0; k < ARRAY_LEN(differences); k++) {
        const struct difference *d = &differences[k];
        if ((d->ops && !strstr(d->ops, word)) || !d->applies(c, &s))
            continue;
        d->expect(c, &s);
        used[k]++;
        if (d->last)
            break;
    }
}

/* ---- running ---------------------------------------------------------------------------------- */

static void put(struct bench *b, uint32_t addr, uint8_t v)
{
    physmap_write(b->map, addr, v, 1);
}
static uint8_t get(struct bench *b, uint32_t addr)
{
    return (uint8_t)physmap_read(b->map, addr, 1);
}

static void run(struct bench *b, const struct kase *c, uint16_t *regs)
{
    static const uint8_t segs[] = {SEG_CS, SEG_SS, SEG_DS, SEG_ES};
    struct cpu *cpu = b->cpu;
    uint64_t done;

    for (unsigned k = 0; k < 8; k++)
        cpu->r[k] = c->before[k];
    for (unsigned k = 0; k < ARRAY_LEN(segs); k++)
        seg_load_real(cpu, segs[k], c->before[R_CS + k]);
    seg_load_real(cpu, SEG_FS, 0);
    seg_load_real(cpu, SEG_GS, 0);
    cpu->rip = c->before[R_IP];
    cpu_set_flags(cpu, c->before[R_FLAGS] & 0xfff);
    cpu->activity = CPU_ACTIVE;
    cpu->exc_vector = EXC_NONE;
    cpu_update_mode(cpu);
    cpu_run(cpu, 200000, &done); /* iterations of REP count */
    for (unsigned k = 0; k < 8; k++)
        regs[k] = (uint16_t)cpu->r[k];
    for (unsigned k = 0; k < ARRAY_LEN(segs); k++)
        regs[R_CS + k] = cpu->seg[segs[k]].sel;
    regs[R_IP] = (uint16_t)cpu->rip;
    regs[R_FLAGS] = (uint16_t)cpu_flags(cpu);
}

/* Writes what differs to buf; empty if all agrees. */
static void compare(struct bench *b, const struct kase *c, const uint16_t *regs, char *buf,
                    size_t size)
{
    uint32_t pushed = linear(c->after[R_SS], (uint16_t)(c->after[REG_SP] + 4));
    size_t n = 0;

    buf[0] = 0;
    if (b->cpu->activity != CPU_HALTED)
        n += (size_t)snprintf(buf, size, " not halted");
    for (unsigned k = 0; k < R_COUNT && n < size; k++) {
        uint16_t mask = k == R_FLAGS ? c->flags_mask : 0xffff;
        if ((regs[k] ^ c->after[k]) & mask)
            n += (size_t)snprintf(buf + n, size - n, " %s %04x not %04x", reg_names[k], regs[k],
                                  c->after[k]);
    }
    for (unsigned k = 0; k < c->nmem && n < size; k++) {
        uint32_t addr = c->mem[k].addr;
        uint8_t v = get(b, addr), mask = 0xff;
        if (c->exception >= 0 && addr - pushed < 2)
            mask = (uint8_t)(c->flags_mask >> (8 * (addr - pushed)));
        if ((v ^ c->mem[k].is) & mask)
            n += (size_t)snprintf(buf + n, size - n, " [%x] %02x not %02x", c->mem[k].addr, v,
                                  c->mem[k].is);
    }
}

static bool all_zero(const uint8_t *p)
{
    return p[0] == 0 && memcmp(p, p + 1, RAM_BYTES - 1) == 0;
}

START_TEST(recordings)
{
    char path[4096], what[1024];
    struct kase *c;
    struct bench b;
    json_t *meta, *opcodes;
    struct gzlines *lines;
    unsigned total = 0, bad = 0, used[ARRAY_LEN(differences)] = {0};

    if (!vectors_path("i286-metadata.json", path, sizeof(path)))
        return;
    meta = json_load_file(path, 0, NULL);
    opcodes = json_object_get(meta, "opcodes");
    ck_assert_ptr_nonnull(opcodes);
    ck_assert(vectors_path("i286-real.jsonl.gz", path, sizeof(path)));
    lines = gzlines_open(path);
    c = malloc(sizeof(*c));
    ck_assert(lines && c);
    bench_new(&b);
    for (char *text; (text = gzlines_next(lines)); total++) {
        json_t *line = json_loads(text, 0, NULL);
        uint16_t regs[R_COUNT];

        ck_assert_msg(line && kase_parse(line, opcodes, c), "line %u", total + 1);
        apply_differences(c, used);
        for (unsigned k = 0; k < c->nmem; k++)
            put(&b, c->mem[k].addr, c->mem[k].was);
        run(&b, c, regs);
        compare(&b, c, regs, what, sizeof(what));
        if (what[0]) {
            printf("%s %s, exception %d:%s\n", c->op, c->name, c->exception, what);
            bad++;
        }
        for (unsigned k = 0; k < c->nmem; k++)
            put(&b, c->mem[k].addr, 0);
        json_decref(line);
        if (total % 5000 == 4999 && !all_zero(physmap_host(b.map, b.ra))) {
            printf("a write beside what was recorded, in the 5,000 lines up to %u\n", total + 1);
            memset(physmap_host(b.map, b.ra), 0, RAM_BYTES);
            bad++;
        }
    }
    printf("%u recordings, %u differ without a reason\n", total, bad);
    for (unsigned k = 0; k < ARRAY_LEN(differences); k++)
        printf("%6u: %s\n", used[k], differences[k].reason);
    ck_assert_uint_eq(bad, 0);
    ck_assert_uint_ge(total, 5000);
    gzlines_close(lines);
    json_decref(meta);
    bench_free(&b);
    free(c);
}
END_TEST

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    setenv("CK_DEFAULT_TIMEOUT", "600", 0);
    const TTest *const tests[] = {recordings};
    return RUN_TESTS("i286", tests);
}
