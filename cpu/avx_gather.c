/* Gathers: elements loaded from addresses that a vector of indices gives (SDM vol. 2, VPGATHERDD).
 *
 * Each element that has been loaded clears its mask element, so that an instruction that faults in
 * the middle goes on where it stopped. Elements whose mask sign is clear keep what the destination
 * had; the others' signs are spread over them at first, as can be seen after a fault. The counts of indices and elements are the smaller of what the two vectors hold; the mask is
 * as wide as the destination.
 */
#include "cpu/avx.h"

static inline bool gather(struct cpu *cpu, const struct insn *i, unsigned index_size,
                          unsigned element)
{
    unsigned n = i->size / MAX(index_size, element), k;
    uint8_t *dst = cpu->xmm[i->reg].b, *mask = cpu->xmm[i->vvvv].b;
    const uint8_t *index = cpu->xmm[i->index].b;
    uint64_t base = cpu->r[i->base] + (uint64_t)(int64_t)i->disp, v;

    if (i->reg == i->index || i->reg == i->vvvv || i->index == i->vvvv)
        return cpu_ud(cpu);
    for (k = 0; k < i->size; k += element) /* before anything can fault */
        memset(mask + k, mask[k + element - 1] >> 7 ? 0xff : 0, element);
    avx_clear_above(cpu, i->vvvv, i->size);
    for (k = 0; k < n; k++) {
        uint64_t by = index_size == 8 ? ld64(index + 8 * k)
                                      : (uint64_t)(int64_t)(int32_t)ld32(index + 4 * k);
        uint64_t ea = (base + (by << i->scale)) << i->ea_shift >> i->ea_shift;
        if (mask[element * k + element - 1] >> 7) {
            if (!fast_load_any(cpu, i->seg, ea, element, &v))
                return false;
            st_sized(dst + element * k, v, element);
            avx_clear_above(cpu, i->reg, i->size);
        }
        memset(mask + element * k, 0, element);
    }
    avx_clear_above(cpu, i->reg, n * element);
    avx_clear_above(cpu, i->vvvv, 0);
    return true;
}

bool op_vgather_dd(struct cpu *cpu, const struct insn *i)
{
    return gather(cpu, i, 4, 4);
}

bool op_vgather_dq(struct cpu *cpu, const struct insn *i)
{
    return gather(cpu, i, 4, 8);
}

bool op_vgather_qd(struct cpu *cpu, const struct insn *i)
{
    return gather(cpu, i, 8, 4);
}

bool op_vgather_qq(struct cpu *cpu, const struct insn *i)
{
    return gather(cpu, i, 8, 8);
}
