/* String instructions: MOVS, STOS, LODS, CMPS, SCAS, with and without repeat prefixes.
 *
 * A repeated instruction does as many iterations as stay within one page of each operand in one
 * go; it then sets RIP back to itself, so that interrupts and single steps come between iterations,
 * as the manual wants (SDM vol. 2, REP). Each such go counts as one instruction and is bounded.
 * Within a page, plain memory is moved in bulk; everything else element by element.
 */
#include "cpu/exec.h"
#include "cpu/fastmem.h"
#include "cpu/flags.h"

#define MAX_ELEMENTS 4096u

struct string_op {
    unsigned size;      /* of an element */
    unsigned seg;       /* of rSI */
    unsigned shift;     /* of addresses */
    int64_t step;
    uint64_t count;     /* iterations wanted in this go */
};

static uint64_t addr_mask(const struct insn *i, uint64_t v)
{
    return v << i->ea_shift >> i->ea_shift;
}

/* rSI, rDI and rCX as wide as the address size. */
static uint64_t addr_reg(const struct cpu *cpu, const struct insn *i, unsigned n)
{
    return addr_mask(i, cpu->r[n]);
}

static void addr_reg_set(struct cpu *cpu, const struct insn *i, unsigned n, uint64_t v)
{
    reg_set(cpu, n, v, (64u - i->ea_shift) / 8);
}

static void addr_reg_add(struct cpu *cpu, const struct insn *i, unsigned n, uint64_t delta)
{
    addr_reg_set(cpu, i, n, cpu->r[n] + delta);
}

static bool repeated(const struct insn *i)
{
    return i->prefix & (PFX_REPZ | PFX_REPNZ);
}

/* Elements from address a up to the end of its page, or of the address space, in direction step. */
static uint64_t in_page(uint64_t lin, int64_t step, unsigned size)
{
    uint64_t off = lin & (PAGE_SIZE - 1);
    return step > 0 ? (PAGE_SIZE - off) / size : off / size + (off % size == 0 || off + size <= PAGE_SIZE);
}

/* Fills *op; false if there is nothing to do (a repeat count of 0). */
static bool begin(struct cpu *cpu, const struct insn *i, struct string_op *op)
{
    op->size = i->size;
    op->seg = i->seg;
    op->step = cpu->eflags & FL_DF ? -(int64_t)i->size : i->size;
    op->count = 1;
    if (repeated(i)) {
        op->count = addr_reg(cpu, i, REG_CX);
        if (op->count == 0)
            return false;
        op->count = MIN(op->count, MAX_ELEMENTS);
        if (cpu->eflags & FL_TF)
            op->count = 1;
    }
    return true;
}

/* n iterations are done: counts down, and stays at the instruction if more are due. */
static void end(struct cpu *cpu, const struct insn *i, uint64_t n, bool stop)
{
    if (!repeated(i))
        return;
    addr_reg_add(cpu, i, REG_CX, 0 - n);
    if (!stop && addr_reg(cpu, i, REG_CX) != 0)
        cpu->rip = insn_pc(cpu, i);
}

/* Host address of a run of elements if it can be accessed in bulk: *n is cut to what fits in the
 * page and below the wrap of the address; NULL: go element by element. The lowest address of the run
 * is returned for both directions. */
static uint8_t *bulk(struct cpu *cpu, const struct insn *i, unsigned seg, uint64_t ea,
                     const struct string_op *op, bool write, uint64_t *n)
{
    uint64_t lin, run, low;
    uint8_t *host;

    if (!fast_linear(cpu, seg, ea, write, &lin)) {
        /* Segments with limits: try the whole run at once below. */
        uint64_t bytes = MIN(*n * op->size, (uint64_t)PAGE_SIZE);
        if ((cpu->mode & MODE_AC) || op->step < 0)
            return NULL;
        uint64_t top = ~0ull >> i->ea_shift;
        if (ea > top - (bytes - 1)) /* the offset would wrap in the run */
            return NULL;
        if (cpu_code64(cpu) || cpu->seg[seg].ar & AR_UNUSABLE ||
            ea + bytes - 1 > cpu->seg[seg].limit ||
            ((cpu->seg[seg].ar & (AR_CODE | AR_DOWN)) && (cpu->mode & MODE_PE)) ||
            (write && (cpu->mode & MODE_PE) && !(cpu->mode & MODE_VM86) &&
             !(cpu->seg[seg].ar & AR_WRITE)))
            return NULL;
        lin = ea + cpu->seg_base[seg];
        if (lin > UINT32_MAX - bytes)
            return NULL;
    } else {
        uint64_t top = ~0ull >> i->ea_shift, span = (*n - 1) * op->size;
        if (op->step > 0 ? ea > top - span - (op->size - 1) : ea < span)
            return NULL;
    }
    run = MIN(*n, in_page(lin, op->step, op->size));
    if (run == 0)
        return NULL;
    low = op->step > 0 ? lin : lin - (run - 1) * op->size;
    if (!fast_host(cpu, low, (unsigned)(run * op->size), write, &host))
        return NULL;
    *n = run;
    return host;
}

static void copy_run(uint8_t *dst, const uint8_t *src, size_t bytes, const struct string_op *op)
{
    size_t gap = dst > src ? (size_t)(dst - src) : (size_t)(src - dst);
    if (gap >= bytes) {
        memcpy(dst, src, bytes);
    } else if (op->step > 0) { /* overlapping: the pattern repeats, as element order has it */
        for (size_t k = 0; k < bytes; k += op->size)
            st_sized(dst + k, ld_sized(src + k, op->size), op->size);
    } else {
        for (size_t k = bytes; k > 0; k -= op->size)
            st_sized(dst + k - op->size, ld_sized(src + k - op->size, op->size), op->size);
    }
}

bool op_movs(struct cpu *cpu, const struct insn *i)
{
    struct string_op op;
    uint64_t si, di, n, v;
    uint8_t *src, *dst;

    if (!begin(cpu, i, &op))
        return true;
    si = addr_reg(cpu, i, REG_SI);
    di = addr_reg(cpu, i, REG_DI);
    n = op.count;
    src = n > 1 ? bulk(cpu, i, op.seg, si, &op, false, &n) : NULL;
    dst = src ? bulk(cpu, i, SEG_ES, di, &op, true, &n) : NULL;
    if (dst) {
        if (op.step < 0) /* the destination may have shortened the run: find the low end again */
            src = bulk(cpu, i, op.seg, si, &op, false, &n);
        copy_run(dst, src, n * op.size, &op);
    } else {
        n = 1;
        if (!fast_load(cpu, op.seg, si, op.size, &v) || !fast_store(cpu, SEG_ES, di, op.size, v))
            return false;
    }
    addr_reg_add(cpu, i, REG_SI, n * (uint64_t)op.step);
    addr_reg_add(cpu, i, REG_DI, n * (uint64_t)op.step);
    end(cpu, i, n, false);
    return true;
}

bool op_stos(struct cpu *cpu, const struct insn *i)
{
    struct string_op op;
    uint64_t di, n;
    uint8_t *dst;

    if (!begin(cpu, i, &op))
        return true;
    di = addr_reg(cpu, i, REG_DI);
    n = op.count;
    dst = n > 1 ? bulk(cpu, i, SEG_ES, di, &op, true, &n) : NULL;
    if (dst && op.size == 1) {
        memset(dst, (uint8_t)cpu->r[REG_AX], n);
    } else if (dst) {
        for (uint64_t k = 0; k < n; k++)
            st_sized(dst + k * op.size, cpu->r[REG_AX], op.size);
    } else {
        n = 1;
        if (!fast_store(cpu, SEG_ES, di, op.size, cpu->r[REG_AX]))
            return false;
    }
    addr_reg_add(cpu, i, REG_DI, n * (uint64_t)op.step);
    end(cpu, i, n, false);
    return true;
}

bool op_lods(struct cpu *cpu, const struct insn *i)
{
    struct string_op op;
    uint64_t v;

    if (!begin(cpu, i, &op))
        return true;
    if (!fast_load(cpu, op.seg, addr_reg(cpu, i, REG_SI), op.size, &v))
        return false;
    if (op.size == 1)
        reg8_set(cpu, BYTE_REG_OFF(REG_AX, 0), (uint8_t)v);
    else
        reg_set(cpu, REG_AX, v, op.size);
    addr_reg_add(cpu, i, REG_SI, (uint64_t)op.step);
    end(cpu, i, 1, false);
    return true;
}

static void compare(struct cpu *cpu, uint64_t a, uint64_t b, unsigned size)
{
    unsigned drop = 64 - 8 * size;
    cpu->cc_a = a;
    cpu->cc_res = (uint64_t)((int64_t)((a - b) << drop) >> drop);
    cpu->cc_op = CC_SUB * 4 + (unsigned)__builtin_ctz(size);
}

/* REPE goes on while equal, REPNE while not. */
static bool compare_stops(const struct cpu *cpu, const struct insn *i)
{
    return repeated(i) && flags_zf(cpu) != !!(i->prefix & PFX_REPZ);
}

/* Iterations of a compare in one go; the loop ends at a fault with what was done before it kept. */
#define COMPARE_GO 64

bool op_cmps(struct cpu *cpu, const struct insn *i)
{
    struct string_op op;
    uint64_t a, b, n;
    bool stop = false;

    if (!begin(cpu, i, &op))
        return true;
    op.count = MIN(op.count, COMPARE_GO);
    for (n = 0; n < op.count && !stop; n++) {
        if (!fast_load(cpu, op.seg, addr_reg(cpu, i, REG_SI), op.size, &a) ||
            !fast_load(cpu, SEG_ES, addr_reg(cpu, i, REG_DI), op.size, &b)) {
            if (repeated(i))
                addr_reg_add(cpu, i, REG_CX, 0 - n);
            return false;
        }
        compare(cpu, a, b, op.size);
        addr_reg_add(cpu, i, REG_SI, (uint64_t)op.step);
        addr_reg_add(cpu, i, REG_DI, (uint64_t)op.step);
        stop = compare_stops(cpu, i);
    }
    end(cpu, i, n, stop);
    return true;
}

bool op_scas(struct cpu *cpu, const struct insn *i)
{
    struct string_op op;
    uint64_t b, n, a = 0;
    bool stop = false;

    if (!begin(cpu, i, &op))
        return true;
    op.count = MIN(op.count, COMPARE_GO);
    a = op.size == 8 ? cpu->r[REG_AX] : cpu->r[REG_AX] & ((1ull << 8 * op.size) - 1);
    for (n = 0; n < op.count && !stop; n++) {
        if (!fast_load(cpu, SEG_ES, addr_reg(cpu, i, REG_DI), op.size, &b)) {
            if (repeated(i))
                addr_reg_add(cpu, i, REG_CX, 0 - n);
            return false;
        }
        compare(cpu, a, b, op.size);
        addr_reg_add(cpu, i, REG_DI, (uint64_t)op.step);
        stop = compare_stops(cpu, i);
    }
    end(cpu, i, n, stop);
    return true;
}
