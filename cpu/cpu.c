/* A CPU's life: creation, reset, its declared state, flags as a whole, and the mode word that
 * decoded blocks depend on.
 */
#include <stdlib.h>

#include "cpu/block.h"
#include "cpu/decode.h"
#include "cpu/jit/jit.h"
#include "cpu/sys.h"
#include "cpu/xsave.h"

/* Of a hundred bytes of code memory, those for translations. Of the blocks that Linux and its compiler
 * decode, 370 bytes each, four of ten are translated, to 900 bytes each with what is known of them. */
#define TRANSLATED_PART 50
#define BLOCK_ARENA_BYTES (16 * MIB) /* of decoded code, until somebody says */

/* ---- interrupts from outside ---------------------------------------------------------------- */

void cpu_interrupt(struct cpu *cpu, uint32_t what)
{
    __atomic_fetch_or(&cpu->pending, what, __ATOMIC_SEQ_CST);
}

void cpu_clear_interrupt(struct cpu *cpu, uint32_t what)
{
    __atomic_fetch_and(&cpu->pending, ~what, __ATOMIC_ACQ_REL);
}

void cpu_set_a20(struct cpu *cpu, bool on)
{
    __atomic_store_n(&cpu->a20_wanted, on, __ATOMIC_RELAXED);
    cpu_interrupt(cpu, CPU_A20);
}

/* ---- flags ---------------------------------------------------------------------------------- */

uint64_t cpu_flags(const struct cpu *cpu)
{
    return cpu->eflags | flags_arith(cpu);
}

void cpu_set_flags(struct cpu *cpu, uint64_t flags)
{
    flags_set_arith(cpu, flags);
    cpu->eflags = (flags & ~(uint64_t)FL_ARITH) | FL_1;
}

void cpu_put_arith(struct cpu *cpu, uint64_t flags, uint64_t mask)
{
    flags_set_arith(cpu, mask == FL_ARITH ? flags : (flags_arith(cpu) & ~mask) | (flags & mask));
}

uint64_t cpu_flags_exist(const struct cpu *cpu)
{
    uint64_t mask = FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM;

    if (cpu_has(cpu, F_486))
        mask |= FL_AC;
    if (cpu_has(cpu, F_CPUID))
        mask |= FL_ID;
    if (cpu_has(cpu, F_VME))
        mask |= FL_VIF | FL_VIP;
    return mask;
}

void cpu_change_flags(struct cpu *cpu, uint64_t flags, uint64_t mask)
{
    uint64_t system = mask & ~(uint64_t)FL_ARITH & cpu_flags_exist(cpu);

    cpu_put_arith(cpu, flags, mask & FL_ARITH);
    cpu->eflags = (cpu->eflags & ~system) | (flags & system);
}

/* ---- mode ----------------------------------------------------------------------------------- */

static bool seg_is_flat(const struct segreg *s, uint32_t right)
{
    return !s->base && s->limit == 0xffffffff && (s->ar & right) == right &&
           !(s->ar & AR_UNUSABLE) && !((s->ar & AR_DOWN) && !(s->ar & AR_CODE));
}

/* What mem_linear() (cpu/mem.c) allows at once. */
static void set_seg_ends(struct cpu *cpu)
{
    bool protected = cpu->cr0 & CR0_PE;

    for (unsigned k = 0; k < SEG_ENDS; k++) {
        const struct segreg *s = &cpu->seg[k];
        uint64_t end = (uint64_t)s->limit + 1;
        bool none = (s->ar & (AR_S | AR_CODE | AR_DOWN)) == (AR_S | AR_DOWN) ||
                    (protected && (s->ar & AR_UNUSABLE));
        bool read = !protected || (s->ar & (AR_CODE | AR_READ)) != AR_CODE;

        cpu->seg_end[k] = !none && read ? end : 0;
        cpu->seg_end[SEG_ENDS + k] = !none && (!protected || ar_is_writable(s->ar)) ? end : 0;
    }
}

void cpu_update_mode(struct cpu *cpu)
{
    uint32_t mode = 0;
    unsigned k;

    if (cpu->cr0 & CR0_PE)
        mode |= MODE_PE;
    if (cpu->eflags & FL_VM)
        mode |= MODE_VM86;
    if (cpu->cpl == 3) {
        mode |= MODE_USER;
        if ((cpu->eflags & FL_AC) && (cpu->cr0 & CR0_AM))
            mode |= MODE_AC;
    }
    if (!(cpu->cr0 & (CR0_EM | CR0_TS)))
        mode |= cpu->cr4 & CR4_OSFXSR ? MODE_FPU | MODE_SSE : MODE_FPU;
    if (!(cpu->cr0 & CR0_TS) && (cpu->cr4 & CR4_OSXSAVE) &&
        !(~cpu->xcr0 & (XCR0_SSE | XCR0_AVX)))
        mode |= MODE_AVX;
    if (UNLIKELY(cpu->dr[7] & 0xff)) /* TF and shadows are the run loop's business */
        mode |= MODE_TRACE;

    if (cpu_long(cpu) && (cpu->seg[SEG_CS].ar & AR_L)) {
        mode |= MODE_CODE64 | MODE_FLAT;
        for (k = SEG_ES; k <= SEG_DS; k++)
            cpu->seg_base[k] = 0;
    } else {
        if (cpu->seg[SEG_CS].ar & AR_DB)
            mode |= MODE_CODE32;
        if (cpu->seg[SEG_SS].ar & AR_DB)
            mode |= MODE_STACK32;
        if (seg_is_flat(&cpu->seg[SEG_SS], AR_WRITE) && seg_is_flat(&cpu->seg[SEG_DS], AR_WRITE) &&
            seg_is_flat(&cpu->seg[SEG_ES], AR_WRITE) && seg_is_flat(&cpu->seg[SEG_CS], AR_READ) &&
            !((cpu->seg[SEG_DS].ar | cpu->seg[SEG_ES].ar) & AR_CODE))
            mode |= MODE_FLAT;
        for (k = SEG_ES; k <= SEG_DS; k++)
            cpu->seg_base[k] = cpu->seg[k].base;
        set_seg_ends(cpu);
    }
    cpu->seg_base[SEG_FS] = cpu->seg[SEG_FS].base;
    cpu->seg_base[SEG_GS] = cpu->seg[SEG_GS].base;
    cpu->seg_base[SEG_LDT] = cpu->seg[SEG_LDT].base;
    cpu->seg_base[SEG_TSS] = cpu->seg[SEG_TSS].base;
    cpu->seg_base[SEG_NONE] = 0;
    cpu->mode = mode;
    cpu_set_cpl(cpu, cpu->cpl);
    cpu->tlb = cpu->mmu.tlb->e[cpu->mmu_index];
}

/* ---- reset ---------------------------------------------------------------------------------- */

static void reset_fpu(struct cpu *cpu)
{
    memset(&cpu->fpu, 0, sizeof(cpu->fpu));
    cpu->fpu.cw = 0x40;
    cpu->fpu.tags = 0xff; /* FTW 5555h: all zero, none empty */
    cpu->fpu.mxcsr = 0x1f80;
    memset(cpu->xmm, 0, sizeof(cpu->xmm));
}

void cpu_reset(struct cpu *cpu, bool init_only)
{
    uint64_t cache_bits = init_only ? cpu->cr0 & (CR0_CD | CR0_NW)
                          : cpu_has(cpu, F_486) ? CR0_CD | CR0_NW
                                                : 0;
    unsigned k;

    memset(cpu->r, 0, sizeof(cpu->r));
    cpu->r[REG_2P30] = 1ull << 30;
    cpu->r[REG_DX] = cpu->model->signature;
    cpu_set_flags(cpu, FL_1);
    cpu->rip = 0xfff0;
    for (k = 0; k < SEG_COUNT; k++) {
        cpu->seg[k] = (struct segreg){.limit = 0xffff};
        cpu->seg[k].ar = AR_P | AR_S | AR_WRITE | AR_ACCESSED;
    }
    cpu->seg[SEG_CS].sel = 0xf000;
    cpu->seg[SEG_CS].base = 0xffff0000;
    cpu->seg[SEG_LDT].ar = AR_P | SYS_LDT;
    cpu->seg[SEG_TSS].ar = AR_P | SYS_TSS32_BUSY;
    cpu->gdt = cpu->idt = (struct desctab){0, 0xffff};
    cpu->cr0 = CR0_ET | cache_bits;
    cpu->cr2 = cpu->cr3 = cpu->cr4 = cpu->efer = 0;
    for (k = 0; k < 4; k++)
        cpu->dr[k] = 0;
    cpu->dr[6] = DR6_FIXED;
    cpu->dr[7] = DR7_FIXED;
    cpu->cpl = 0;

    cpu->exc_vector = EXC_NONE;
    cpu->exc_has_error = cpu->exc_is_trap = false;
    cpu->exc_error = 0;
    cpu->pending_dr6 = 0;
    cpu->shadow_intr = cpu->shadow_ss = false;
    cpu->nmi_blocked = cpu->mwait_masked = cpu->step_done = false;
    cpu->monitor_addr = UINT64_MAX;
    cpu->activity = cpu->is_bsp ? CPU_ACTIVE : CPU_WAIT_SIPI;
    if (!init_only) {
        reset_fpu(cpu);
        cpu->xcr0 = 1;
        cpu->pkru = 0;
        cpu->sipi_vector = 0;
        cpu_reset_msrs(cpu);
        /* INTR is a level others drive; the edges are forgotten */
        cpu_clear_interrupt(cpu, CPU_NMI | CPU_INIT | CPU_SIPI);
    }
    mmu_load_cr3(&cpu->mmu, 0, false);
    mmu_set_regs(&cpu->mmu, cpu->cr0, cpu->cr4, cpu->efer);
    mmu_set_pkru(&cpu->mmu, cpu->pkru);
    mmu_flush_all(&cpu->mmu);
    cpu_dr_changed(cpu);
    cpu_update_mode(cpu);
}

struct cpu *cpu_new(const char *model, unsigned index, unsigned ncpus, const struct cpu_env *env,
                    struct error *err)
{
    const struct cpu_model *m = cpu_model_find(model);
    struct cpu *cpu;

    if (!m) {
        error_set(err, ERR_INVALID, "no CPU model is called '%s': see the list in the manual",
                  model);
        return NULL;
    }
    cpu = calloc(1, sizeof(*cpu));
    if (!cpu || !mmu_init(&cpu->mmu, env->mem)) {
        free(cpu);
        error_set(err, ERR_NOMEM, "not enough memory for a CPU: close something");
        return NULL;
    }
    cpu->blocks = block_cache_new(BLOCK_ARENA_BYTES);
    cpu->decode = decode_tables_new();
    if (!cpu->blocks || !cpu->decode) {
        cpu_free(cpu);
        error_set(err, ERR_NOMEM, "not enough memory for a CPU: close something");
        return NULL;
    }
    cpu->model = m;
    cpu->features = m->features;
    cpu->index = index;
    cpu->ncpus = ncpus;
    cpu->is_bsp = index == 0;
    cpu->env = *env;
    cpu->mmu.has_1g = cpu_has(cpu, F_1GB);
    cpu->mmu.has_pse36 = cpu_has(cpu, F_PSE36);
    cpu->mmu.watch_hit = cpu_watch_hit;
    cpu->mmu.opaque = cpu;
    cpu->mmu.cpu = index;
    if (env->parallel) {
        cpu->mmu.enter = env->enter;
        cpu->mmu.leave = env->leave;
        cpu->mmu.outside = env->opaque;
    }
    cpu_reset(cpu, false);
    return cpu;
}

bool cpu_set_code_cache(struct cpu *cpu, size_t bytes)
{
    struct block_cache *c = block_cache_new(bytes);

    if (!c)
        return false;
    blocks_flush(cpu);
    block_cache_free(cpu->blocks);
    cpu->blocks = c;
    return true;
}

bool cpu_use_translator(struct cpu *cpu, size_t bytes, unsigned threshold)
{
    size_t code = MAX(bytes / 100 * TRANSLATED_PART, (size_t)JIT_MIN);

    CHECK(bytes >= code + BLOCK_ARENA_MIN);
    if (!cpu_set_code_cache(cpu, bytes - code))
        return false;
    cpu->tr.jit = jit_new(cpu, code);
    if (!cpu->tr.jit)
        return false;
    if (threshold)
        jit_set_threshold(cpu->tr.jit, threshold);
    return true;
}

void cpu_free(struct cpu *cpu)
{
    if (!cpu)
        return;
    jit_free(cpu->tr.jit);
    block_cache_free(cpu->blocks);
    decode_tables_free(cpu->decode);
    mmu_fini(&cpu->mmu);
    free(cpu);
}

/* ---- declared state ------------------------------------------------------------------------- */

static const struct vm_field segreg_fields[] = {
    VM_INT(struct segreg, base),
    VM_INT(struct segreg, limit),
    VM_INT(struct segreg, ar),
    VM_INT(struct segreg, sel),
    VM_END,
};
static const struct vmstate vm_segreg = VMSTATE("segreg", struct segreg, segreg_fields);

static const struct vm_field desctab_fields[] = {
    VM_INT(struct desctab, base),
    VM_INT(struct desctab, limit),
    VM_END,
};
static const struct vmstate vm_desctab = VMSTATE("desctab", struct desctab, desctab_fields);

static const struct vm_field vec_fields[] = {
    VM_BYTES(union vec, b),
    VM_END,
};
static const struct vmstate vm_vec = VMSTATE("vec", union vec, vec_fields);

static const struct vm_field fpreg_fields[] = {
    VM_INT(struct fpreg, mant),
    VM_INT(struct fpreg, se),
    VM_END,
};
static const struct vmstate vm_fpreg = VMSTATE("fpreg", struct fpreg, fpreg_fields);

static const struct vm_field fpu_fields[] = {
    VM_STRUCTS(struct fpu, st, &vm_fpreg),
    VM_INT(struct fpu, cw),
    VM_INT(struct fpu, sw),
    VM_INT(struct fpu, top),
    VM_INT(struct fpu, tags),
    VM_INT(struct fpu, fop),
    VM_INT(struct fpu, fcs),
    VM_INT(struct fpu, fds),
    VM_INT(struct fpu, fip),
    VM_INT(struct fpu, fdp),
    VM_INT(struct fpu, mxcsr),
    VM_END,
};
static const struct vmstate vm_fpu = VMSTATE("fpu", struct fpu, fpu_fields);

#define COPY_OF_REGS "copy of the CPU's registers, made again after loading"
#define HOST_CACHE   "cache of the host, empty after loading"
#define WIRING       "wiring, set when the CPU is made"

static const struct vm_field mmu_fields[] = {
    VM_SKIP(struct mmu, cr0, COPY_OF_REGS),
    VM_SKIP(struct mmu, cr3, COPY_OF_REGS),
    VM_SKIP(struct mmu, cr4, COPY_OF_REGS),
    VM_SKIP(struct mmu, efer, COPY_OF_REGS),
    VM_SKIP(struct mmu, pkru, COPY_OF_REGS),
    VM_SKIP(struct mmu, phys_mask, WIRING),
    VM_INT(struct mmu, a20_mask),
    VM_INTS(struct mmu, pdpte, uint64_t),
    VM_SKIP(struct mmu, has_1g, WIRING),
    VM_SKIP(struct mmu, has_pse36, WIRING),
    VM_SKIP(struct mmu, map, WIRING),
    VM_SKIP(struct mmu, tlb, HOST_CACHE),
    VM_SKIP(struct mmu, spaces, HOST_CACHE),
    VM_SKIP(struct mmu, space_pcid, HOST_CACHE),
    VM_SKIP(struct mmu, space_used, HOST_CACHE),
    VM_SKIP(struct mmu, space_large, HOST_CACHE),
    VM_SKIP(struct mmu, use_counter, HOST_CACHE),
    VM_SKIP(struct mmu, watch, COPY_OF_REGS),
    VM_SKIP(struct mmu, watches, COPY_OF_REGS),
    VM_SKIP(struct mmu, watch_hit, WIRING),
    VM_SKIP(struct mmu, opaque, WIRING),
    VM_SKIP(struct mmu, enter, WIRING),
    VM_SKIP(struct mmu, leave, WIRING),
    VM_SKIP(struct mmu, outside, WIRING),
    VM_SKIP(struct mmu, cpu, WIRING),
    VM_SKIP(struct mmu, view_hint, HOST_CACHE),
    VM_SKIP(struct mmu, fault, "used up when the fault was recorded"),
    VM_SKIP(struct mmu, generation, HOST_CACHE),
    VM_SKIP(struct mmu, write_lin, HOST_CACHE),
    VM_SKIP(struct mmu, stat_fills, "statistics"),
    VM_SKIP(struct mmu, stat_slow, "statistics"),
    VM_SKIP(struct mmu, slow_seen, "statistics"),
    VM_SKIP(struct mmu, stat_flushes, "statistics"),
    VM_SKIP(struct mmu, stat_page_flushes, "statistics"),
    VM_END,
};
static const struct vmstate vm_mmu = VMSTATE("mmu", struct mmu, mmu_fields);

static const struct vm_field cpu_fields[] = {
    VM_INTS(struct cpu, r, uint64_t),
    VM_INT(struct cpu, cc_res),
    VM_INT(struct cpu, cc_a),
    VM_INT(struct cpu, cc_op),
    VM_SKIP(struct cpu, temp, "of the running instruction"),
    VM_SKIP(struct cpu, mode, "follows from the registers"),
    VM_SKIP(struct cpu, budget, "0 between runs"),
    VM_SKIP(struct cpu, cur, "set by the running instruction"),
    VM_SKIP(struct cpu, blk, "none between runs"),
    VM_SKIP(struct cpu, tlb, HOST_CACHE),
    VM_SKIP(struct cpu, stopper, "none between runs"),
    VM_SKIP(struct cpu, stopper_blk, "none between runs"),
    VM_SKIP(struct cpu, stopped_fn, "none between runs"),
    VM_SKIP(struct cpu, tr, "the translator's, between runs of no meaning"),
    VM_SKIP(struct cpu, seg_base, "follows from the registers"),
    VM_SKIP(struct cpu, seg_end, "follows from the registers"),
    VM_SKIP(struct cpu, mmu_index, "follows from the registers"),
    VM_INT(struct cpu, pending),
    VM_SKIP(struct cpu, pending_mask, "follows from the flags"),
    VM_STRUCT(struct cpu, mmu, &vm_mmu),
    VM_INT(struct cpu, rip),
    VM_INT(struct cpu, eflags),
    VM_STRUCTS(struct cpu, seg, &vm_segreg),
    VM_STRUCT(struct cpu, gdt, &vm_desctab),
    VM_STRUCT(struct cpu, idt, &vm_desctab),
    VM_INT(struct cpu, cr0),
    VM_INT(struct cpu, cr2),
    VM_INT(struct cpu, cr3),
    VM_INT(struct cpu, cr4),
    VM_INT(struct cpu, xcr0),
    VM_INT(struct cpu, efer),
    VM_INTS(struct cpu, dr, uint64_t),
    VM_INT(struct cpu, cpl),
    VM_STRUCT(struct cpu, fpu, &vm_fpu),
    VM_STRUCTS(struct cpu, xmm, &vm_vec),
    VM_INT(struct cpu, sysenter_cs),
    VM_INT(struct cpu, sysenter_esp),
    VM_INT(struct cpu, sysenter_eip),
    VM_INT(struct cpu, star),
    VM_INT(struct cpu, lstar),
    VM_INT(struct cpu, cstar),
    VM_INT(struct cpu, fmask),
    VM_INT(struct cpu, kernel_gs_base),
    VM_INT(struct cpu, tsc_aux),
    VM_INT(struct cpu, pat),
    VM_INT(struct cpu, misc_enable),
    VM_INT(struct cpu, spec_ctrl),
    VM_INT(struct cpu, tsc_offset),
    VM_INT(struct cpu, tsc_adjust),
    VM_INT(struct cpu, debugctl),
    VM_INT(struct cpu, mtrr_def),
    VM_INTS(struct cpu, mtrr_fixed, uint64_t),
    VM_INTS(struct cpu, mtrr_base, uint64_t),
    VM_INTS(struct cpu, mtrr_mask, uint64_t),
    VM_INT(struct cpu, mcg_status),
    VM_INT(struct cpu, mcg_ctl),
    VM_INT(struct cpu, bios_sign),
    VM_INT(struct cpu, pkru),
    VM_INT(struct cpu, exc_vector),
    VM_INT(struct cpu, exc_has_error),
    VM_INT(struct cpu, exc_error),
    VM_INT(struct cpu, exc_is_trap),
    VM_INT(struct cpu, pending_dr6),
    VM_INT(struct cpu, shadow_intr),
    VM_INT(struct cpu, shadow_ss),
    VM_INT(struct cpu, nmi_blocked),
    VM_SKIP(struct cpu, step_done, "used up when the instruction ends"),
    VM_INT(struct cpu, mwait_masked),
    VM_INT(struct cpu, activity),
    VM_INT(struct cpu, sipi_vector),
    VM_INT(struct cpu, monitor_addr),
    VM_SKIP(struct cpu, is_bsp, WIRING),
    VM_SKIP(struct cpu, index, WIRING),
    VM_SKIP(struct cpu, a20_wanted, "taken over whenever the CPU stands still"),
    VM_SKIP(struct cpu, again, "of the running instruction"),
    VM_SKIP(struct cpu, alone_wanted, "looked for again by the same instruction"),
    VM_SKIP(struct cpu, is_alone, "false between runs"),
    VM_INT(struct cpu, retired),
    VM_SKIP(struct cpu, slice, "0 between runs"),
    VM_SKIP(struct cpu, features, "the model's; the model is part of the configuration"),
    VM_SKIP(struct cpu, model, "part of the configuration"),
    VM_SKIP(struct cpu, ncpus, WIRING),
    VM_SKIP(struct cpu, blocks, HOST_CACHE),
    VM_SKIP(struct cpu, decode, "the decoder's tables, built when the CPU is made"),
    VM_SKIP(struct cpu, env, WIRING),
    VM_SKIP(struct cpu, stat_blocks, "statistics"),
    VM_SKIP(struct cpu, stat_block_misses, "statistics"),
    VM_SKIP(struct cpu, stat_exceptions, "statistics"),
    VM_SKIP(struct cpu, stat_interrupts, "statistics"),
    VM_END,
};

/* Two ways to hold the same flags must not look like two states. RIP of the last block is noise, and
 * a request to stop is the host's: whoever made it has noted it elsewhere. */
static void cpu_pre_save(void *obj)
{
    struct cpu *cpu = obj;

    flags_set_arith(cpu, flags_arith(cpu));
    cpu->r[REG_BRIP] = 0;
    cpu_clear_interrupt(cpu, CPU_STOP | CPU_HOLD);
    /* What is cached is no state, so neither is the wish to drop it. */
    if (cpu->pending & CPU_FLUSH) {
        cpu_clear_interrupt(cpu, CPU_FLUSH);
        mmu_flush_all(&cpu->mmu);
    }
    if (cpu->pending & CPU_FLUSH_CODE) {
        cpu_clear_interrupt(cpu, CPU_FLUSH_CODE);
        blocks_flush(cpu);
    }
}

static bool cpu_post_load(void *obj)
{
    struct cpu *cpu = obj;

    if (cpu->cpl > 3 || cpu->cc_op >= CC_KINDS * 4 || cpu->fpu.top > 7 ||
        cpu->activity > CPU_SHUTDOWN)
        return false;
    cpu->r[REG_ZERO] = 0;
    cpu->r[REG_2P30] = 1ull << 30;
    /* All others are the host's, or nobody's. */
    cpu_clear_interrupt(cpu, ~(uint32_t)(CPU_INTR | CPU_NMI | CPU_INIT | CPU_SIPI));
    cpu->again = cpu->alone_wanted = cpu->is_alone = false;
    cpu->blk = NULL;
    cpu->cur = NULL;
    mmu_load_cr3(&cpu->mmu, cpu->cr3, false);
    mmu_set_regs(&cpu->mmu, cpu->cr0, cpu->cr4, cpu->efer);
    mmu_set_pkru(&cpu->mmu, cpu->pkru);
    mmu_flush_all(&cpu->mmu);
    blocks_flush(cpu);
    cpu_dr_changed(cpu);
    cpu_update_mode(cpu);
    return true;
}

const struct vmstate vm_cpu =
    VMSTATE_HOOKS("cpu", struct cpu, cpu_fields, cpu_pre_save, cpu_post_load);
