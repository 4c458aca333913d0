/* Read-modify-writes that other CPUs must not come between: LOCK and XCHG with memory (SDM vol. 3, 8.1.2).
 *
 * With one CPU, with CPUs in turns, and while all others stand still (is_alone), an ordinary read and
 * write will do. Otherwise the write is the host's compare-and-swap with what was read; if that does not
 * hold any more the instruction, of which nothing else has happened, is executed once more. So it is
 * when it has to be alone: an operand that no host changes in one step (over the end of an aligned word
 * of 8 bytes, over pages), registers in memory, watched memory.
 */
#include "base/hostatomic.h"
#include "cpu/sys.h"

/* The instruction comes again, from the run loop. */
static bool again(struct cpu *cpu, bool alone)
{
    cpu->again = true;
    cpu->alone_wanted |= alone;
    return false;
}

/* An operand in host memory; held: with the lock, and physmap_written is to be called. */
struct place {
    uint8_t *host;
    bool held;
};

static void done(struct cpu *cpu, const struct place *p, unsigned size, bool written)
{
    if (!p->held)
        return;
    if (written)
        physmap_written(cpu->env.mem, (uint64_t)(p->host - physmap_host(cpu->env.mem, 0)), size);
    cpu->env.leave(cpu->env.opaque);
}

/* False: faulted, or comes again. */
static bool find(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, struct place *p)
{
    const struct tlb_entry *e;
    bool faulted;
    uint64_t lin;

    /* Faults come before anybody is stopped. */
    if (!mem_probe_write(cpu, seg, ea, size) || !mem_linear(cpu, seg, ea, size, true, &lin))
        return false;
    if ((lin ^ (lin + size - 1)) & PAGE_MASK)
        return again(cpu, true);
    e = tlb_slot(&cpu->mmu, cpu->mmu_index, lin);
    p->held = false;
    if (LIKELY(e->write == (lin & PAGE_MASK))) {
        p->host = (uint8_t *)(uintptr_t)(lin + e->addend);
    } else {
        p->host =
            mmu_lock_host(&cpu->mmu, lin, size, (enum mmu_index)cpu->mmu_index, &p->held, &faulted);
        if (!p->host)
            return faulted ? cpu_raise_mmu(cpu, seg) : again(cpu, true);
    }
    if (size == 16 ? (uintptr_t)p->host & 15 : !host_in_word(p->host, size))
        return again(cpu, true);
    if (p->held)
        cpu->env.enter(cpu->env.opaque);
    return true;
}

static bool plain(const struct cpu *cpu)
{
    return !cpu->env.parallel || cpu->is_alone;
}

bool mem_lock_read(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, uint64_t *v)
{
    struct place p;

    if (plain(cpu))
        return mem_probe_write(cpu, seg, ea, size) && mem_read(cpu, seg, ea, size, v);
    if (!find(cpu, seg, ea, size, &p))
        return false;
    *v = ld_sized(p.host, size);
    done(cpu, &p, size, false);
    return true;
}

bool mem_lock_write(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, uint64_t old,
                    uint64_t fresh)
{
    struct place p;

    if (plain(cpu))
        return mem_write(cpu, seg, ea, size, fresh);
    if (!find(cpu, seg, ea, size, &p))
        return false;
    bool same = host_cas(p.host, size, old, fresh);
    done(cpu, &p, size, same);
    return same || again(cpu, false);
}

bool mem_lock_write16(struct cpu *cpu, unsigned seg, uint64_t ea, const uint64_t old[2],
                      const uint64_t fresh[2])
{
    struct place p;
    bool can;

    if (plain(cpu))
        return mem_write(cpu, seg, ea, 8, fresh[0]) && mem_write(cpu, seg, ea + 8, 8, fresh[1]);
    if (!find(cpu, seg, ea, 16, &p))
        return false;
    bool same = host_cas16(p.host, old, fresh, &can);
    done(cpu, &p, 16, same);
    return same || again(cpu, !can);
}
