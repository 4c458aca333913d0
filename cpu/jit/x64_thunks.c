/* The fixed routines of generated code: into it, out of it, and calls of C from the middle of it.
 * See x64_tr.h for the registers. C is called by the System V convention; the stack is 16-aligned in
 * generated code.
 */
#include <cpuid.h>

#include "cpu/jit/x64_x87.h"

static const uint8_t saved[] = {RBX, RBP, R12, R13, R14, R15};

static void regs_to_memory(struct x64 *x)
{
    for (unsigned n = 0; n < 16; n++)
        if (x64_host_of[n] != X64_NONE)
            x64_store(x, 8, x64_m(RBP, CPU_OFF(r) + 8 * (int32_t)n), x64_host_of[n]);
}

static void regs_from_memory(struct x64 *x)
{
    for (unsigned n = 0; n < 16; n++)
        if (x64_host_of[n] != X64_NONE)
            x64_load(x, 8, x64_host_of[n], x64_m(RBP, CPU_OFF(r) + 8 * (int32_t)n));
}

static struct x64_rm vec_field(unsigned n, unsigned half)
{
    return x64_m(RBP, CPU_OFF(xmm) + (int32_t)(n * sizeof(union vec) + half * 16));
}

/* Guest vectors to memory, whatever part of them is in registers, and MXCSR, if its own place is to hold the
 * host's: code with integers only does not care. */
static void vec_store(struct jit *j, struct x64 *x, bool mxcsr)
{
    x64_alu_imm(x, X_CMP, 4, CPU_FIELD(tr.vec_live), VEC_XMM);
    uint8_t *none = x64_jcc(x, CC_C), *ymm = NULL, *done = NULL;
    if (j->has_avx2)
        ymm = x64_jcc(x, CC_NBE);
    for (unsigned n = 0; n < 16; n++) /* movups */
        x64_op(x, 0, 0x0f11, 4, n, vec_field(n, 0), 0);
    if (j->has_avx2) {
        done = x64_jmp(x);
        x64_resolve(ymm, x->p);
        for (unsigned n = 0; n < 16; n++) /* vmovups ymm */
            x64_vex(x, 1, 0, 0, 1, 0, 0x11, n, vec_field(n, 0));
        x64_byte(x, 0xc5); /* vzeroupper: C code is legacy SSE */
        x64_byte(x, 0xf8);
        x64_byte(x, 0x77);
        x64_resolve(done, x->p);
    }
    if (mxcsr) {
        x64_op(x, 0, 0x0fae, 4, 3, CPU_FIELD(fpu.mxcsr), 0);     /* stmxcsr */
        x64_op(x, 0, 0x0fae, 4, 2, CPU_FIELD(tr.host_mxcsr), 0); /* ldmxcsr */
    }
    x64_resolve(none, x->p);
}

static void vec_to_memory(struct jit *j, struct x64 *x)
{
    vec_store(j, x, true);
}

static void xmm_load(struct jit *j, struct x64 *x)
{
    if (j->has_avx2) {
        x64_byte(x, 0xc5);
        x64_byte(x, 0xf8);
        x64_byte(x, 0x77);
    }
    for (unsigned n = 0; n < 16; n++)
        x64_op(x, 0, 0x0f10, 4, n, vec_field(n, 0), 0);
}

static void ymm_load(struct x64 *x)
{
    for (unsigned n = 0; n < 16; n++)
        x64_vex(x, 1, 0, 0, 1, 0, 0x10, n, vec_field(n, 0));
}

static void load_mxcsr(struct x64 *x)
{
    x64_op(x, 0, 0x0fae, 4, 2, CPU_FIELD(fpu.mxcsr), 0);
}

/* After C: as vec_live says they were. mxcsr: as vec_store was told. */
static void vec_restore(struct jit *j, struct x64 *x, bool mxcsr)
{
    x64_alu_imm(x, X_CMP, 4, CPU_FIELD(tr.vec_live), VEC_XMM);
    uint8_t *no_vec = x64_jcc(x, CC_C);
    if (mxcsr)
        load_mxcsr(x); /* the host's flags stay */
    if (j->has_avx2) {
        uint8_t *no_ymm = x64_jcc(x, CC_Z);
        ymm_load(x);
        uint8_t *loaded = x64_jmp(x);
        x64_resolve(no_ymm, x->p);
        xmm_load(j, x);
        x64_resolve(loaded, x->p);
    } else {
        xmm_load(j, x);
    }
    x64_resolve(no_vec, x->p);
}

static void vec_back(struct jit *j, struct x64 *x)
{
    vec_restore(j, x, true);
}

/* Before C runs: it may use the host's units, and MXCSR and the x87 control word are the host's own. */
static void units_to_memory(struct jit *j, struct x64 *x)
{
    vec_to_memory(j, x);
    x64_x87_to_memory(j, x);
}

static void call_c(struct x64 *x, uintptr_t fn)
{
    x64_lea(x, 8, RDI, x64_m(RBP, -BIAS));
    x64_mov_imm(x, RAX, fn);
    x64_op(x, 0, 0xff, 4, 2, x64_r(RAX), 0); /* call rax */
}

static const uint8_t *here(const struct jit *j, const struct x64 *x)
{
    return x->p + j->rx;
}

static void emit_enter(struct jit *j, struct x64 *x)
{
    void *fn = x->p + j->rx;

    memcpy(&j->thunk.enter, &fn, sizeof(fn));
    for (unsigned n = 0; n < ARRAY_LEN(saved); n++)
        x64_push(x, saved[n]);
    x64_alu_imm(x, X_SUB, 8, x64_r(RSP), 8);
    x64_lea(x, 8, RBP, x64_m(RDI, BIAS));
    x64_load(x, 8, RAX, x64_r(RSI));
    x64_store(x, 8, CPU_FIELD(tr.host_sp), RSP);
    tr_frames_begin(j, x);
    x64_op(x, 0, 0x0fae, 4, 3, CPU_FIELD(tr.host_mxcsr), 0);
    regs_from_memory(x);
    x64_op(x, 0, 0xff, 4, 4, x64_r(RAX), 0); /* jmp rax */
}

static void emit_leave(struct jit *j, struct x64 *x)
{
    j->thunk.leave = here(j, x);
    units_to_memory(j, x);
    regs_to_memory(x);
    j->thunk.leave_stored = here(j, x);
    x64_load(x, 8, RSP, CPU_FIELD(tr.host_sp));
    x64_alu_imm(x, X_ADD, 8, x64_r(RSP), 8);
    for (unsigned n = ARRAY_LEN(saved); n-- > 0;)
        x64_pop(x, saved[n]);
    x64_byte(x, 0xc3);
}

/* Called with RAX the instruction: the return address makes the stack 8 off. */
static const uint8_t *emit_one(struct jit *j, struct x64 *x, uintptr_t fn, bool flags)
{
    const uint8_t *entry = here(j, x);

    units_to_memory(j, x);
    regs_to_memory(x);
    x64_load(x, 8, RSI, x64_r(RAX));
    x64_alu_imm(x, X_SUB, 8, x64_r(RSP), 8);
    call_c(x, fn);
    x64_alu_imm(x, X_ADD, 8, x64_r(RSP), 8);
    x64_test(x, 1, x64_r(RAX), RAX);
    uint8_t *go_on = x64_jcc(x, CC_NZ);
    x64_jmp_to(x, j->thunk.leave_stored - j->rx);
    x64_resolve(go_on, x->p);
    vec_back(j, x);
    regs_from_memory(x);
    if (flags)
        tr_get_host_flags(x);
    x64_byte(x, 0xc3);
    return entry;
}

/* x87 registers and MXCSR stay where they are: a page walk has integers only. */
static const uint8_t *emit_fill(struct jit *j, struct x64 *x, uintptr_t fn)
{
    const uint8_t *entry = here(j, x);

    vec_store(j, x, false);
    regs_to_memory(x);
    x64_load(x, 8, RSI, x64_r(RAX));
    x64_load(x, 8, RDX, x64_r(TMP1));
    x64_alu_imm(x, X_SUB, 8, x64_r(RSP), 8);
    call_c(x, fn);
    x64_alu_imm(x, X_ADD, 8, x64_r(RSP), 8);
    vec_restore(j, x, false);
    regs_from_memory(x);
    x64_test(x, 1, x64_r(RAX), RAX);
    x64_byte(x, 0xc3);
    return entry;
}

/* To the code that fn returns for RAX, or out. That code asks for vector registers if it needs them.
 * elsewhere: it may be in another address space or mode. */
static const uint8_t *emit_go(struct jit *j, struct x64 *x, uintptr_t fn, bool elsewhere)
{
    const uint8_t *entry = here(j, x);

    units_to_memory(j, x);
    x64_store_imm(x, 4, CPU_FIELD(tr.vec_live), VEC_NONE);
    regs_to_memory(x);
    x64_load(x, 8, RSI, x64_r(RAX));
    call_c(x, fn);
    x64_test(x, 8, x64_r(RAX), RAX);
    uint8_t *found = x64_jcc(x, CC_NZ);
    x64_jmp_to(x, j->thunk.leave_stored - j->rx);
    x64_resolve(found, x->p);
    if (elsewhere)
        tr_frames_forget(x);
    regs_from_memory(x);
    x64_op(x, 0, 0xff, 4, 4, x64_r(RAX), 0);
    return entry;
}

/* From a routine that generated code calls: the return address makes the stack 8 off. RAX is fn's result. */
static void call_with_regs(struct x64 *x, uintptr_t fn)
{
    regs_to_memory(x);
    x64_alu_imm(x, X_SUB, 8, x64_r(RSP), 8);
    call_c(x, fn);
    x64_alu_imm(x, X_ADD, 8, x64_r(RSP), 8);
    regs_from_memory(x);
}

/* x87 registers stay where they are: jit_host_flags has integers only. */
static void emit_load_flags(struct jit *j, struct x64 *x)
{
    j->thunk.load_flags = here(j, x);
    vec_to_memory(j, x);
    call_with_regs(x, (uintptr_t)jit_host_flags);
    vec_back(j, x);
    x64_byte(x, 0xc3);
}

static void emit_load_x87(struct jit *j, struct x64 *x)
{
    static const struct x64_x87_hooks hooks = {vec_to_memory, vec_back, call_with_regs};

    j->thunk.load_x87 = here(j, x);
    x64_x87_from_memory(j, x, &hooks);
}

static void emit_load_vec(struct jit *j, struct x64 *x)
{
    j->thunk.load_vec = here(j, x);
    xmm_load(j, x);
    load_mxcsr(x);
    x64_store_imm(x, 4, CPU_FIELD(tr.vec_live), VEC_XMM);
    x64_byte(x, 0xc3);
    j->thunk.load_ymm = here(j, x);
    vec_to_memory(j, x);
    load_mxcsr(x);
    x64_store_imm(x, 4, CPU_FIELD(tr.vec_live), VEC_YMM);
    ymm_load(x);
    x64_byte(x, 0xc3);
}

/* A bit of CPUID.7.EBX or CPUID.1.ECX; compilers' lists of names differ. */
static bool has_by_leaf7(unsigned bit)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> bit & 1);
}

static bool has_by_leaf1(unsigned bit)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c >> bit & 1);
}

bool x64_host_has(enum cpu_feature f)
{
    switch (f) {
    case F_SSE:
    case F_SSE2:
        return true;
    case F_SSE3:
        return __builtin_cpu_supports("sse3");
    case F_SSSE3:
        return __builtin_cpu_supports("ssse3");
    case F_SSE41:
        return __builtin_cpu_supports("sse4.1");
    case F_SSE42:
        return __builtin_cpu_supports("sse4.2");
    case F_POPCNT:
        return __builtin_cpu_supports("popcnt");
    case F_BMI1:
        return __builtin_cpu_supports("bmi");
    case F_LZCNT:
        return __builtin_cpu_supports("lzcnt");
    case F_MOVBE:
        return has_by_leaf1(22);
    case F_ADX:
        return has_by_leaf7(19);
    case F_BMI2:
        return __builtin_cpu_supports("bmi2");
    case F_AES:
        return __builtin_cpu_supports("aes");
    case F_PCLMUL:
        return __builtin_cpu_supports("pclmul");
    case F_AVX:
    case F_AVX2:
        return __builtin_cpu_supports("avx2");
    case F_FMA:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case F_SHA:
        return has_by_leaf7(29);
    case F_GFNI:
        return __builtin_cpu_supports("gfni");
    case F_VAES:
        return __builtin_cpu_supports("vaes");
    case F_VPCLMUL:
        return __builtin_cpu_supports("vpclmulqdq");
    default:
        return false;
    }
}

bool jit_backend_init(struct jit *j)
{
    struct x64 x = {j->rw, j->rw, j->rw + j->size - 64, false};

    for (unsigned f = 0; f < F_COUNT; f++)
        if (x64_host_has((enum cpu_feature)f))
            j->host.bits[f >> 6] |= BIT64(f & 63);
    j->has_avx2 = x64_host_has(F_AVX2);
    emit_leave(j, &x);
    j->thunk.fill_read = emit_fill(j, &x, (uintptr_t)jit_fill_read);
    j->thunk.fill_write = emit_fill(j, &x, (uintptr_t)jit_fill_write);
    j->thunk.one = emit_one(j, &x, (uintptr_t)jit_run_one, false);
    j->thunk.one_flags = emit_one(j, &x, (uintptr_t)jit_run_one_flags, true);
    j->thunk.end = emit_go(j, &x, (uintptr_t)jit_run_end, true);
    j->thunk.link = emit_go(j, &x, (uintptr_t)jit_link, false);
    j->thunk.miss = emit_go(j, &x, (uintptr_t)jit_find, false);
    j->thunk.no_frame = here(j, &x);
    tr_frames_forget(&x);
    x64_jmp_to(&x, j->thunk.miss - j->rx);
    emit_enter(j, &x);
    emit_load_flags(j, &x);
    emit_load_vec(j, &x);
    emit_load_x87(j, &x);
    if (!x64_host_has(F_SHA) && tr_sha_can())
        tr_sha_emit_routines(j, &x);
    j->used = (size_t)align_up((uint64_t)(x.p - j->rw), 64);
    if (x.overflow)
        return false;
    x64_x87_probe(j);
    return true;
}
