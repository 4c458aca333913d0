/* Memory as instructions see it: segment checks, then the TLB, then the MMU's slow path.
 *
 * The order of checks is the manual's: segment limit and rights (#GP, #SS), canonical form,
 * alignment (#AC), then paging (#PF). Nothing is written unless all of an access can be.
 */
#include "cpu/sys.h"

bool cpu_raise_mmu(struct cpu *cpu, unsigned seg)
{
    if (cpu->mmu.fault.gp)
        return cpu_raise_code(cpu, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
    cpu->cr2 = cpu->mmu.fault.addr;
    return cpu_raise_code(cpu, EXC_PF, cpu->mmu.fault.error);
}

static inline bool linear_read(struct cpu *cpu, unsigned seg, uint64_t lin, unsigned size,
                               unsigned index, uint64_t *v)
{
    const struct tlb_entry *e = tlb_slot(&cpu->mmu, index, lin);

    if (LIKELY(((lin + size - 1) & PAGE_MASK) == e->read)) {
        *v = ld_sized((const void *)(uintptr_t)(lin + e->addend), size);
        return true;
    }
    if (LIKELY(mmu_read(&cpu->mmu, lin, size, index, v)))
        return true;
    return cpu_raise_mmu(cpu, seg);
}

static inline bool linear_write(struct cpu *cpu, unsigned seg, uint64_t lin, unsigned size,
                                unsigned index, uint64_t v)
{
    const struct tlb_entry *e = tlb_slot(&cpu->mmu, index, lin);

    if (LIKELY(((lin + size - 1) & PAGE_MASK) == e->write)) {
        st_sized((void *)(uintptr_t)(lin + e->addend), v, size);
        return true;
    }
    if (LIKELY(mmu_write(&cpu->mmu, lin, v, size, index)))
        return true;
    return cpu_raise_mmu(cpu, seg);
}

/* What goes past the end of 4 GiB outside 64-bit code goes on at 0. The MMU sees to that outside long
 * mode; in compatibility mode it cannot know. */
static inline bool wraps(uint64_t lin, unsigned size, bool wide)
{
    return UNLIKELY((lin + size - 1) >> 32) && !wide;
}

static bool probe(struct cpu *cpu, unsigned seg, uint64_t lin, unsigned size, unsigned index,
                  bool write, bool wide)
{
    bool (*fn)(struct mmu *, uint64_t, unsigned, enum mmu_index) =
        write ? mmu_probe_write : mmu_probe_read;
    unsigned first = size;

    if (wraps(lin, size, wide))
        first = (unsigned)(BIT64(32) - lin);
    if (fn(&cpu->mmu, lin, first, index) &&
        (first == size || fn(&cpu->mmu, 0, size - first, index)))
        return true;
    return cpu_raise_mmu(cpu, seg);
}

static bool wrapped_read(struct cpu *cpu, unsigned seg, uint64_t lin, unsigned size,
                         unsigned index, uint64_t *v)
{
    unsigned first = (unsigned)(BIT64(32) - lin);
    uint64_t low, high;

    if (!probe(cpu, seg, lin, size, index, false, false))
        return false;
    if (!mmu_read(&cpu->mmu, lin, first, index, &low) ||
        !mmu_read(&cpu->mmu, 0, size - first, index, &high))
        return cpu_raise_mmu(cpu, seg);
    *v = low | high << first * 8;
    return true;
}

static bool wrapped_write(struct cpu *cpu, unsigned seg, uint64_t lin, unsigned size,
                          unsigned index, uint64_t v)
{
    unsigned first = (unsigned)(BIT64(32) - lin);

    if (!probe(cpu, seg, lin, size, index, true, false))
        return false;
    if (!mmu_write(&cpu->mmu, lin, v, first, index) ||
        !mmu_write(&cpu->mmu, 0, v >> first * 8, size - first, index))
        return cpu_raise_mmu(cpu, seg);
    return true;
}

bool lin_read(struct cpu *cpu, uint64_t lin, unsigned size, unsigned index, uint64_t *v)
{
    return linear_read(cpu, SEG_NONE, lin, size, index, v);
}

bool lin_write(struct cpu *cpu, uint64_t lin, unsigned size, unsigned index, uint64_t v)
{
    return linear_write(cpu, SEG_NONE, lin, size, index, v);
}

bool sys_read(struct cpu *cpu, uint64_t lin, unsigned size, uint64_t *v)
{
    if (!cpu_long(cpu))
        lin = (uint32_t)lin;
    return linear_read(cpu, SEG_NONE, lin, size, cpu_index_implicit(cpu), v);
}

bool sys_write(struct cpu *cpu, uint64_t lin, unsigned size, uint64_t v)
{
    if (!cpu_long(cpu))
        lin = (uint32_t)lin;
    return linear_write(cpu, SEG_NONE, lin, size, cpu_index_implicit(cpu), v);
}

/* SDM vol. 3, 5.3: an expand-down segment holds what is above its limit. A flat 4 GiB segment has no
 * end to run past: accesses wrap, as they do on processors since the P6; one with a base has. */
static inline bool within_limit(uint64_t base, uint32_t limit, uint32_t ar, uint64_t ea,
                                unsigned size)
{
    if ((ar & (AR_S | AR_CODE | AR_DOWN)) == (AR_S | AR_DOWN)) {
        uint64_t top = ar & AR_DB ? 0xffffffffull : 0xffffull;
        return ea > limit && ea + size - 1 <= top;
    }
    return ea + size - 1 <= limit || (limit == 0xffffffff && base == 0);
}

bool mem_linear(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, bool write,
                uint64_t *lin)
{
    uint64_t a = ea + cpu->seg_base[seg];
    const struct segreg *s;
    unsigned bad = 0;

    if (cpu->mode & MODE_CODE64) {
        *lin = a;
        if (LIKELY(lin_canonical(a) && lin_canonical(a + size - 1)))
            return true;
        return cpu_raise_code(cpu, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
    }
    *lin = (uint32_t)a;
    if (seg == SEG_NONE)
        return true;
    s = &cpu->seg[seg];
    if (cpu->mode & MODE_PE) {
        bad = s->ar & AR_UNUSABLE;
        if (write)
            bad |= !ar_is_writable(s->ar);
        else /* execute-only code */
            bad |= (s->ar & (AR_CODE | AR_READ)) == AR_CODE;
    }
    if (LIKELY(!bad && within_limit(s->base, s->limit, s->ar, ea, size)))
        return true;
    return cpu_raise_code(cpu, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
}

static inline bool alignment_ok(struct cpu *cpu, uint64_t lin, unsigned size)
{
    if (LIKELY(!(cpu->mode & MODE_AC) || size > 8 || !(lin & (size - 1))))
        return true;
    return cpu_raise_code(cpu, EXC_AC, 0);
}

bool mem_check_m80(struct cpu *cpu, unsigned seg, uint64_t ea, bool write)
{
    uint64_t lin;

    return mem_linear(cpu, seg, ea, 10, write, &lin) && alignment_ok(cpu, lin, 8);
}

bool mem_read(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, uint64_t *v)
{
    uint64_t lin;

    if (!mem_linear(cpu, seg, ea, size, false, &lin) || !alignment_ok(cpu, lin, size))
        return false;
    if (wraps(lin, size, cpu_code64(cpu)))
        return wrapped_read(cpu, seg, lin, size, cpu->mmu_index, v);
    return linear_read(cpu, seg, lin, size, cpu->mmu_index, v);
}

bool mem_write(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size, uint64_t v)
{
    uint64_t lin;

    if (!mem_linear(cpu, seg, ea, size, true, &lin) || !alignment_ok(cpu, lin, size))
        return false;
    if (wraps(lin, size, cpu_code64(cpu)))
        return wrapped_write(cpu, seg, lin, size, cpu->mmu_index, v);
    return linear_write(cpu, seg, lin, size, cpu->mmu_index, v);
}

bool mem_probe_write(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size)
{
    uint64_t lin;

    if (!mem_linear(cpu, seg, ea, size, true, &lin) || !alignment_ok(cpu, lin, size))
        return false;
    if (LIKELY(((lin + size - 1) & PAGE_MASK) == tlb_slot(&cpu->mmu, cpu->mmu_index, lin)->write))
        return true;
    return probe(cpu, seg, lin, size, cpu->mmu_index, true, cpu_code64(cpu));
}

bool mem_probe_read(struct cpu *cpu, unsigned seg, uint64_t ea, unsigned size)
{
    uint64_t lin;

    if (!mem_linear(cpu, seg, ea, size, false, &lin) || !alignment_ok(cpu, lin, size))
        return false;
    if (LIKELY(((lin + size - 1) & PAGE_MASK) == tlb_slot(&cpu->mmu, cpu->mmu_index, lin)->read))
        return true;
    return probe(cpu, seg, lin, size, cpu->mmu_index, false, cpu_code64(cpu));
}

/* Moves len bytes, which have been probed, page by page: by a host pointer where there is one, in
 * naturally aligned pieces (device memory sees the widest) where not. */
static bool move_bytes(struct cpu *cpu, unsigned seg, uint64_t lin, uint8_t *buf, unsigned len,
                       bool write)
{
    struct mmu *u = &cpu->mmu;

    while (len) {
        unsigned n = MIN(len, PAGE_SIZE - (unsigned)(lin & (PAGE_SIZE - 1)));
        bool faulted = false;
        uint8_t *host =
            mmu_host(u, lin, write ? MMU_WRITE : MMU_READ, cpu->mmu_index, &faulted);

        if (host) {
            memcpy(write ? host : buf, write ? buf : host, n);
        } else if (faulted) {
            return cpu_raise_mmu(cpu, seg);
        } else {
            uint64_t v;

            n = 8;
            while (n > len || (lin & (n - 1)))
                n >>= 1;
            if (write ? !mmu_write(u, lin, ld_sized(buf, n), n, cpu->mmu_index)
                      : !mmu_read(u, lin, n, cpu->mmu_index, &v))
                return cpu_raise_mmu(cpu, seg);
            if (!write)
                st_sized(buf, v, n);
        }
        buf += n;
        lin += n;
        len -= n;
        if (!cpu_code64(cpu))
            lin = (uint32_t)lin;
    }
    return true;
}

bool mem_read_bytes(struct cpu *cpu, unsigned seg, uint64_t ea, void *buf, unsigned len)
{
    uint64_t lin;

    if (!mem_linear(cpu, seg, ea, len, false, &lin))
        return false;
    if (((lin ^ (lin + len - 1)) & PAGE_MASK) &&
        !probe(cpu, seg, lin, len, cpu->mmu_index, false, cpu_code64(cpu)))
        return false;
    return move_bytes(cpu, seg, lin, buf, len, false);
}

bool mem_write_bytes(struct cpu *cpu, unsigned seg, uint64_t ea, const void *buf, unsigned len)
{
    uint64_t lin;

    if (!mem_linear(cpu, seg, ea, len, true, &lin))
        return false;
    if (((lin ^ (lin + len - 1)) & PAGE_MASK) &&
        !probe(cpu, seg, lin, len, cpu->mmu_index, true, cpu_code64(cpu)))
        return false;
    return move_bytes(cpu, seg, lin, (uint8_t *)buf, len, true);
}

bool insn_read_E(struct cpu *cpu, const struct insn *i, unsigned size, uint64_t *v)
{
    if (insn_is_mem(i))
        return mem_read(cpu, i->seg, insn_ea(cpu, i), size, v);
    *v = size == 1 ? reg8_get(cpu, i->rm) : reg_get(cpu, i->rm, size);
    return true;
}

bool insn_write_E(struct cpu *cpu, const struct insn *i, unsigned size, uint64_t v)
{
    if (insn_is_mem(i))
        return mem_write(cpu, i->seg, insn_ea(cpu, i), size, v);
    if (size == 1)
        reg8_set(cpu, i->rm, (uint8_t)v);
    else
        reg_set(cpu, i->rm, v, size);
    return true;
}

bool cpu_branch_near(struct cpu *cpu, uint64_t target, unsigned size)
{
    if (cpu->mode & MODE_CODE64) {
        if (!lin_canonical(target))
            return cpu_gp0(cpu);
    } else {
        target = size == 2 ? (uint16_t)target : (uint32_t)target;
        if (target > cpu->seg[SEG_CS].limit)
            return cpu_gp0(cpu);
    }
    cpu->rip = target;
    return true;
}

/* ---- stacks ---------------------------------------------------------------------------------- */

void stack_current(const struct cpu *cpu, struct stack *s)
{
    const struct segreg *ss = &cpu->seg[SEG_SS];

    s->base = cpu->seg_base[SEG_SS];
    s->sp = cpu->r[REG_SP];
    s->limit = ss->limit;
    s->ar = ss->ar;
    s->index = cpu->mmu_index;
    s->flat64 = cpu->mode & MODE_CODE64;
    s->mask = s->flat64 ? UINT64_MAX : cpu->mode & MODE_STACK32 ? 0xffffffffull : 0xffffull;
    s->ss_error = 0;
}

void stack_of(const struct cpu *cpu, struct stack *s, const struct descriptor *d, uint64_t sp,
              unsigned cpl)
{
    s->base = d->base;
    s->sp = sp;
    s->limit = d->limit;
    s->ar = d->ar;
    s->index = cpu_index_of_cpl(cpu, cpl);
    s->flat64 = false;
    s->mask = d->ar & AR_DB ? 0xffffffffull : 0xffffull;
    s->ss_error = 0;
}

static bool stack_in_segment(struct cpu *cpu, const struct stack *s, uint64_t sp, unsigned size,
                             bool write)
{
    if (s->flat64) {
        if (LIKELY(lin_canonical(sp) && lin_canonical(sp + size - 1)))
            return true;
    } else if (within_limit(s->base, s->limit, s->ar, sp, size) &&
               (!(cpu->mode & MODE_PE) ||
                (!(s->ar & AR_UNUSABLE) && (!write || ar_is_writable(s->ar))))) {
        return true;
    }
    return cpu_raise_code(cpu, EXC_SS, s->ss_error);
}

bool stack_room(struct cpu *cpu, const struct stack *s, unsigned bytes)
{
    uint64_t sp = (s->sp - bytes) & s->mask;

    /* A push that wraps a full stack pointer (0) to the top is ordinary; one that starts inside
     * and ends beyond the other end is judged piece by piece when it is made. */
    if (!s->flat64 && sp + bytes - 1 > s->mask)
        return true;
    return stack_in_segment(cpu, s, sp, bytes, true);
}

static inline uint64_t stack_linear(const struct cpu *cpu, const struct stack *s, uint64_t sp)
{
    uint64_t lin = s->base + sp;
    return cpu_long(cpu) && s->flat64 ? lin : (uint32_t)lin;
}

bool stack_push_n(struct cpu *cpu, struct stack *s, unsigned size, const uint64_t *vals,
                  unsigned n)
{
    unsigned bytes = size * n;
    uint64_t sp = (s->sp - bytes) & s->mask;
    unsigned k;

    if (LIKELY(s->flat64 || sp + bytes - 1 <= s->mask)) {
        uint64_t lin = stack_linear(cpu, s, sp);
        const struct tlb_entry *e = tlb_slot(&cpu->mmu, s->index, lin);

        if (!stack_in_segment(cpu, s, sp, bytes, true))
            return false;
        if (LIKELY(((lin + bytes - 1) & PAGE_MASK) == e->write && !(cpu->mode & MODE_AC))) {
            uint8_t *host = (uint8_t *)(uintptr_t)(lin + e->addend);

            for (k = 0; k < n; k++)
                st_sized(host + bytes - (k + 1) * size, vals[k], size);
            s->sp = sp;
            return true;
        }
        if (!alignment_ok(cpu, lin, size) ||
            !probe(cpu, SEG_SS, lin, bytes, s->index, true, s->flat64))
            return false;
    }
    for (k = 0; k < n; k++) {
        sp = (s->sp - size) & s->mask;
        uint64_t lin = stack_linear(cpu, s, sp);
        if (!stack_in_segment(cpu, s, sp, size, true))
            return false;
        if (!(wraps(lin, size, s->flat64)
                  ? wrapped_write(cpu, SEG_SS, lin, size, s->index, vals[k])
                  : linear_write(cpu, SEG_SS, lin, size, s->index, vals[k])))
            return false;
        s->sp = sp;
    }
    return true;
}

bool stack_pop_n(struct cpu *cpu, struct stack *s, unsigned size, uint64_t *vals, unsigned n)
{
    unsigned bytes = size * n;
    uint64_t sp = s->sp & s->mask;
    unsigned k;

    if (LIKELY(s->flat64 || sp + bytes - 1 <= s->mask)) {
        uint64_t lin = stack_linear(cpu, s, sp);
        const struct tlb_entry *e = tlb_slot(&cpu->mmu, s->index, lin);

        if (!stack_in_segment(cpu, s, sp, bytes, false))
            return false;
        if (LIKELY(((lin + bytes - 1) & PAGE_MASK) == e->read && !(cpu->mode & MODE_AC))) {
            const uint8_t *host = (const uint8_t *)(uintptr_t)(lin + e->addend);

            for (k = 0; k < n; k++)
                vals[k] = ld_sized(host + k * size, size);
            s->sp = (sp + bytes) & s->mask;
            return true;
        }
    }
    for (k = 0; k < n; k++) {
        sp = s->sp & s->mask;
        uint64_t lin = stack_linear(cpu, s, sp);
        if (!stack_in_segment(cpu, s, sp, size, false) || !alignment_ok(cpu, lin, size))
            return false;
        if (!(wraps(lin, size, s->flat64)
                  ? wrapped_read(cpu, SEG_SS, lin, size, s->index, &vals[k])
                  : linear_read(cpu, SEG_SS, lin, size, s->index, &vals[k])))
            return false;
        s->sp = (sp + size) & s->mask;
    }
    return true;
}
