/* Port instructions: IN, OUT, INS, OUTS.
 *
 * Right to a port: CPL at most IOPL, else the I/O permission map of the TSS; in virtual-8086 mode
 * always the map (SDM vol. 1, 19.5). Repeated forms do a bounded number of iterations and leave RIP
 * at the instruction while there are more, so that interrupts and time get in between.
 */
#include "cpu/sys.h"

enum { REP_BATCH = 256 };

static bool port_allowed(struct cpu *cpu, uint16_t port, unsigned size)
{
    if (LIKELY(!(cpu->cr0 & CR0_PE) || (!(cpu->eflags & FL_VM) &&
                                        cpu->cpl <= (cpu->eflags & FL_IOPL) >> 12)))
        return true;
    return task_io_allowed(cpu, port, size);
}

static uint32_t port_in(struct cpu *cpu, uint16_t port, unsigned size)
{
    cpu_check_io_breakpoint(cpu, port, size);
    return cpu->env.port_in(cpu->env.opaque, port, size);
}

static void port_out(struct cpu *cpu, uint16_t port, uint32_t v, unsigned size)
{
    cpu_check_io_breakpoint(cpu, port, size);
    cpu->env.port_out(cpu->env.opaque, port, v, size);
}

static unsigned io_size(const struct insn *i)
{
    return MIN(i->size, 4u);
}

static bool in(struct cpu *cpu, uint16_t port, unsigned size)
{
    uint32_t v;

    if (!port_allowed(cpu, port, size))
        return false;
    v = port_in(cpu, port, size);
    if (size == 1)
        reg8_set(cpu, BYTE_REG_OFF(REG_AX, 0), (uint8_t)v);
    else
        reg_set(cpu, REG_AX, v, size);
    return true;
}

static bool out(struct cpu *cpu, uint16_t port, unsigned size)
{
    if (!port_allowed(cpu, port, size))
        return false;
    port_out(cpu, port, (uint32_t)cpu->r[REG_AX] & (size == 4 ? ~0u : (1u << 8 * size) - 1), size);
    return true;
}

bool op_in_imm(struct cpu *cpu, const struct insn *i)
{
    return in(cpu, (uint8_t)i->imm, io_size(i));
}

bool op_in_dx(struct cpu *cpu, const struct insn *i)
{
    return in(cpu, (uint16_t)cpu->r[REG_DX], io_size(i));
}

bool op_out_imm(struct cpu *cpu, const struct insn *i)
{
    return out(cpu, (uint8_t)i->imm, io_size(i));
}

bool op_out_dx(struct cpu *cpu, const struct insn *i)
{
    return out(cpu, (uint16_t)cpu->r[REG_DX], io_size(i));
}

static unsigned addr_size(const struct insn *i)
{
    return (64u - i->ea_shift) / 8;
}

static void advance(struct cpu *cpu, unsigned reg, unsigned addr, unsigned size)
{
    uint64_t step = cpu->eflags & FL_DF ? -(uint64_t)size : size;

    reg_set(cpu, reg, cpu->r[reg] + step, addr);
}

static bool ins_once(struct cpu *cpu, const struct insn *i, uint16_t port, unsigned size)
{
    unsigned addr = addr_size(i);
    uint64_t ea = reg_get(cpu, REG_DI, addr);

    /* the memory operand may fault, and reading the port may not be repeated */
    if (!mem_probe_write(cpu, SEG_ES, ea, size) ||
        !mem_write(cpu, SEG_ES, ea, size, port_in(cpu, port, size)))
        return false;
    advance(cpu, REG_DI, addr, size);
    return true;
}

static bool outs_once(struct cpu *cpu, const struct insn *i, uint16_t port, unsigned size)
{
    unsigned addr = addr_size(i), seg = i->prefix & PFX_SEG ? i->seg : (unsigned)SEG_DS;
    uint64_t v;

    if (!mem_read(cpu, seg, reg_get(cpu, REG_SI, addr), size, &v))
        return false;
    port_out(cpu, port, (uint32_t)v, size);
    advance(cpu, REG_SI, addr, size);
    return true;
}

static bool string_io(struct cpu *cpu, const struct insn *i,
                      bool (*once)(struct cpu *, const struct insn *, uint16_t, unsigned))
{
    unsigned size = io_size(i), addr = addr_size(i), n;
    uint16_t port = (uint16_t)cpu->r[REG_DX];
    bool step = (cpu->eflags & FL_TF) || (cpu->mode & MODE_TRACE);

    if (!(i->prefix & (PFX_REPZ | PFX_REPNZ)))
        return port_allowed(cpu, port, size) && once(cpu, i, port, size);
    if (!port_allowed(cpu, port, size)) /* even for no iterations */
        return false;
    if (!reg_get(cpu, REG_CX, addr))
        return true;
    for (n = step ? 1 : REP_BATCH; n > 0; n--) {
        if (!once(cpu, i, port, size))
            return false;
        reg_set(cpu, REG_CX, cpu->r[REG_CX] - 1, addr);
        if (!reg_get(cpu, REG_CX, addr)) {
            insn_again_no_more(cpu);
            return true;
        }
    }
    insn_again(cpu, i);
    return true;
}

bool op_ins(struct cpu *cpu, const struct insn *i)
{
    return string_io(cpu, i, ins_once);
}

bool op_outs(struct cpu *cpu, const struct insn *i)
{
    return string_io(cpu, i, outs_once);
}
