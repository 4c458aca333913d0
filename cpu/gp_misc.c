/* General-purpose instructions that are not hot and not arithmetic: stack frames, loops, flags. */
#include "cpu/decode.h"
#include "cpu/exec.h"
#include "cpu/flags.h"

/* ---- the stack ---------------------------------------------------------------------------------- */

/* POP to memory: the address is computed after rSP has moved, and rSP moves only if the store
 * succeeded. */
bool op_pop_ev(struct cpu *cpu, const struct insn *i)
{
    uint64_t sp = cpu->r[REG_SP], v;
    unsigned ss = cpu_stack_size(cpu);
    if (!mem_read(cpu, SEG_SS, cpu_sp_mask(cpu, sp), i->size, &v))
        return false;
    reg_set(cpu, REG_SP, sp + i->size, ss);
    if (!insn_is_mem(i)) {
        reg_set(cpu, i->rm, v, i->size);
        return true;
    }
    if (!mem_write(cpu, i->seg, insn_ea(cpu, i), i->size, v)) {
        cpu->r[REG_SP] = sp;
        return false;
    }
    return true;
}

bool op_pusha(struct cpu *cpu, const struct insn *i)
{
    uint64_t sp = cpu->r[REG_SP];
    for (unsigned n = 0; n < 8; n++)
        if (!mem_probe_write(cpu, SEG_SS, cpu_sp_mask(cpu, sp - (n + 1u) * i->size), i->size))
            return false;
    for (unsigned n = 0; n < 8; n++)
        if (!mem_write(cpu, SEG_SS, cpu_sp_mask(cpu, sp - (n + 1u) * i->size), i->size,
                       n == REG_SP ? sp : cpu->r[n]))
            return false;
    reg_set(cpu, REG_SP, sp - 8u * i->size, cpu_stack_size(cpu));
    return true;
}

bool op_popa(struct cpu *cpu, const struct insn *i)
{
    uint64_t sp = cpu->r[REG_SP], v[8];
    for (unsigned n = 0; n < 8; n++)
        if (!mem_read(cpu, SEG_SS, cpu_sp_mask(cpu, sp + n * i->size), i->size, &v[7 - n]))
            return false;
    for (unsigned n = 0; n < 8; n++)
        if (n != REG_SP)
            reg_set(cpu, n, v[n], i->size);
    reg_set(cpu, REG_SP, sp + 8u * i->size, cpu_stack_size(cpu));
    return true;
}

/* ENTER: copies level - 1 frame pointers and pushes the new one; the final stack top must be
 * writable before anything is changed (SDM vol. 2). */
bool op_enter(struct cpu *cpu, const struct insn *i)
{
    unsigned level = i->vvvv & 31, size = i->size, ss = cpu_stack_size(cpu);
    uint64_t sp = cpu->r[REG_SP], bp = cpu->r[REG_BP], frame, v;

    sp -= size;
    if (!mem_write(cpu, SEG_SS, cpu_sp_mask(cpu, sp), size, bp))
        return false;
    frame = sp;
    if (level > 0) {
        for (unsigned n = 1; n < level; n++) {
            bp -= size;
            sp -= size;
            if (!mem_read(cpu, SEG_SS, cpu_sp_mask(cpu, bp), size, &v) ||
                !mem_write(cpu, SEG_SS, cpu_sp_mask(cpu, sp), size, v))
                return false;
        }
        sp -= size;
        if (!mem_write(cpu, SEG_SS, cpu_sp_mask(cpu, sp), size, frame))
            return false;
    }
    sp -= (uint16_t)i->imm;
    if (!mem_probe_write(cpu, SEG_SS, cpu_sp_mask(cpu, sp), size))
        return false;
    reg_set(cpu, REG_SP, sp, ss);
    reg_set(cpu, REG_BP, frame, size);
    return true;
}

bool op_bound(struct cpu *cpu, const struct insn *i)
{
    uint64_t ea = insn_ea(cpu, i), lo, hi;
    unsigned drop = 64 - 8u * i->size;
    int64_t v = (int64_t)(cpu->r[i->reg] << drop);

    if (!mem_read(cpu, i->seg, ea, i->size, &lo))
        return false;
    if (v < (int64_t)(lo << drop)) /* the other bound is not looked at */
        return cpu_raise(cpu, EXC_BR);
    if (!mem_read(cpu, i->seg, (ea + i->size) << i->ea_shift >> i->ea_shift, i->size, &hi))
        return false;
    return v > (int64_t)(hi << drop) ? cpu_raise(cpu, EXC_BR) : true;
}

bool op_xlat(struct cpu *cpu, const struct insn *i)
{
    uint64_t v, ea = cpu->r[REG_BX] + (uint8_t)cpu->r[REG_AX];
    if (!mem_read(cpu, i->seg, ea << i->ea_shift >> i->ea_shift, 1, &v))
        return false;
    reg8_set(cpu, BYTE_REG_OFF(REG_AX, 0), (uint8_t)v);
    return true;
}

/* ---- loops --------------------------------------------------------------------------------------- */

static bool branch_short(struct cpu *cpu, const struct insn *i)
{
    return cpu_branch_near(cpu, insn_next_pc(cpu, i) + i->imm, i->size);
}

/* rCX is as wide as the address size. */
static bool loop(struct cpu *cpu, const struct insn *i, bool condition)
{
    unsigned size = (64u - i->ea_shift) / 8;
    uint64_t count = (cpu->r[REG_CX] - 1) << i->ea_shift >> i->ea_shift;
    if (count != 0 && condition && !branch_short(cpu, i))
        return false;
    reg_set(cpu, REG_CX, count, size);
    return true;
}

bool op_loop(struct cpu *cpu, const struct insn *i)
{
    return loop(cpu, i, true);
}

bool op_loope(struct cpu *cpu, const struct insn *i)
{
    return loop(cpu, i, flags_zf(cpu));
}

bool op_loopne(struct cpu *cpu, const struct insn *i)
{
    return loop(cpu, i, !flags_zf(cpu));
}

bool op_jrcxz(struct cpu *cpu, const struct insn *i)
{
    return cpu->r[REG_CX] << i->ea_shift ? true : branch_short(cpu, i);
}

/* ---- flags and the rest --------------------------------------------------------------------------- */

bool op_clc(struct cpu *cpu, const struct insn *i)
{
    cpu_put_arith(cpu, 0, FL_CF);
    return true;
}

bool op_stc(struct cpu *cpu, const struct insn *i)
{
    cpu_put_arith(cpu, FL_CF, FL_CF);
    return true;
}

bool op_cmc(struct cpu *cpu, const struct insn *i)
{
    cpu_put_arith(cpu, flags_cf(cpu) ? 0 : FL_CF, FL_CF);
    return true;
}

bool op_cld(struct cpu *cpu, const struct insn *i)
{
    cpu->eflags &= ~(uint64_t)FL_DF;
    return true;
}

bool op_std(struct cpu *cpu, const struct insn *i)
{
    cpu->eflags |= FL_DF;
    return true;
}

bool op_sahf(struct cpu *cpu, const struct insn *i)
{
    if (cpu_code64(cpu) && !feature_has(&cpu->features, F_LAHF64))
        return cpu_ud(cpu);
    cpu_put_arith(cpu, reg8_get(cpu, BYTE_REG_OFF(REG_AX, 1)), FL_ARITH & ~FL_OF);
    return true;
}

bool op_lahf(struct cpu *cpu, const struct insn *i)
{
    if (cpu_code64(cpu) && !feature_has(&cpu->features, F_LAHF64))
        return cpu_ud(cpu);
    reg8_set(cpu, BYTE_REG_OFF(REG_AX, 1), (uint8_t)((flags_arith(cpu) & ~FL_OF) | FL_1));
    return true;
}

/* A spin loop's hint: the row ends the block, so that other virtual CPUs get their turn soon. */
bool op_pause(struct cpu *cpu, const struct insn *i)
{
    if (cpu->env.parallel)
        cpu->env.spin(cpu->env.opaque);
    return true;
}

bool op_ud(struct cpu *cpu, const struct insn *i)
{
    return cpu_ud(cpu);
}
