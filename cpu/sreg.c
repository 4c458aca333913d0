/* Instructions that load and store segment registers.
 *
 * A load of SS by MOV or POP holds off interrupts and debug traps for one instruction, so that a
 * stack pointer can follow (SDM vol. 3, 6.8.3); LSS loads both and needs no such thing.
 */
#include "cpu/sys.h"

static void ss_shadow(struct cpu *cpu, unsigned seg)
{
    if (seg == SEG_SS)
        cpu->shadow_intr = cpu->shadow_ss = true;
}

bool op_mov_r_sreg(struct cpu *cpu, const struct insn *i)
{
    unsigned seg = i->reg & 7;

    if (seg > SEG_GS)
        return cpu_ud(cpu);
    return insn_write_E(cpu, i, insn_is_mem(i) ? 2 : i->size, cpu->seg[seg].sel);
}

bool op_mov_sreg_r(struct cpu *cpu, const struct insn *i)
{
    unsigned seg = i->reg & 7;
    uint64_t sel;

    if (seg > SEG_GS || seg == SEG_CS)
        return cpu_ud(cpu);
    if (!insn_read_E(cpu, i, 2, &sel) || !seg_load(cpu, seg, (uint16_t)sel))
        return false;
    ss_shadow(cpu, seg);
    cpu_update_mode(cpu);
    return true;
}

/* 06 0E 16 1E, 0F A0, 0F A8 push and the next opcodes pop: bits 5 to 3 number the register. */
static unsigned seg_of_opcode(const struct insn *i)
{
    return insn_rows[i->row].opcode >> 3 & 7;
}

/* 16 bits of the slot are accessed (SDM vol. 2, PUSH: recent processors), but for 64-bit pushes. */
bool op_push_sreg(struct cpu *cpu, const struct insn *i)
{
    struct stack s;

    stack_current(cpu, &s);
    s.sp = (s.sp - i->size) & s.mask;
    if (!mem_write(cpu, SEG_SS, s.sp, i->size == 8 ? 8 : 2, cpu->seg[seg_of_opcode(i)].sel))
        return false;
    cpu->r[REG_SP] = stack_new_sp(cpu, &s);
    return true;
}

bool op_pop_sreg(struct cpu *cpu, const struct insn *i)
{
    unsigned seg = seg_of_opcode(i);
    struct stack s;
    uint64_t sel;

    stack_current(cpu, &s);
    if (!mem_read(cpu, SEG_SS, s.sp & s.mask, 2, &sel) || !seg_load(cpu, seg, (uint16_t)sel))
        return false;
    s.sp = (s.sp + i->size) & s.mask;
    cpu->r[REG_SP] = stack_new_sp(cpu, &s);
    ss_shadow(cpu, seg);
    cpu_update_mode(cpu);
    return true;
}

/* LES C4, LDS C5, LSS 0F B2, LFS 0F B4, LGS 0F B5. */
bool op_load_far(struct cpu *cpu, const struct insn *i)
{
    uint64_t ea = insn_ea(cpu, i), offset, sel;
    unsigned seg;

    switch (insn_rows[i->row].opcode) {
    case 0xc4:
        seg = SEG_ES;
        break;
    case 0xc5:
        seg = SEG_DS;
        break;
    case 0x0fb2:
        seg = SEG_SS;
        break;
    case 0x0fb4:
        seg = SEG_FS;
        break;
    default:
        seg = SEG_GS;
        break;
    }
    if (!mem_read(cpu, i->seg, ea, i->size, &offset) ||
        !mem_read(cpu, i->seg, (ea + i->size) << i->ea_shift >> i->ea_shift, 2, &sel) ||
        !seg_load(cpu, seg, (uint16_t)sel))
        return false;
    reg_set(cpu, i->reg, offset, i->size);
    cpu_update_mode(cpu);
    return true;
}
