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
    unsigned size; /* of an element */
    unsigned seg;  /* of rSI */
    int64_t step;
    uint64_t count; /* iterations wanted in this go */
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

/* How many of n elements one go may do: those that lie in the page of the first. Only what the guest
 * can see decides, never whether the memory can be reached in bulk: a go counts as one instruction,
 * and time must not depend on what is in the TLB or on the flags of a page. */
static uint64_t in_page(const struct cpu *cpu, const struct string_op *op, unsigned seg,
                        uint64_t ea, uint64_t n)
{
    uint64_t off = (ea + cpu->seg_base[seg]) & (PAGE_SIZE - 1), run;

    if (off + op->size > PAGE_SIZE)
        return 1; /* reaches into the next page by itself */
    run = op->step > 0 ? (PAGE_SIZE - off) / op->size : off / op->size + 1;
    return MIN(n, run);
}

/* An instruction that overwrites itself is decoded again after each element. */
static uint64_t clear_of_code(const struct cpu *cpu, const struct insn *i,
                              const struct string_op *op, uint64_t di, uint64_t n)
{
    uint64_t bytes = n * op->size, low = op->step > 0 ? di : di - (bytes - op->size);
    uint64_t to = low + cpu->seg_base[SEG_ES], code = insn_pc(cpu, i) + cpu->seg_base[SEG_CS];

    return to - code < i->len || code - to < bytes ? 1 : n;
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
        if ((cpu->eflags & FL_TF) || (cpu->mode & MODE_TRACE))
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
        insn_again(cpu, i);
    else
        insn_again_no_more(cpu);
}

/* A fault after n iterations, which stay done. */
static bool fault_after(struct cpu *cpu, const struct insn *i, uint64_t n)
{
    if (n && repeated(i))
        addr_reg_add(cpu, i, REG_CX, 0 - n);
    return false;
}

/* Host address of n elements in one page if they can be accessed in bulk, the lowest for both
 * directions; NULL: go element by element. */
static uint8_t *bulk(struct cpu *cpu, const struct insn *i, unsigned seg, uint64_t ea,
                     const struct string_op *op, bool write, uint64_t n)
{
    uint64_t lin, span = (n - 1) * op->size, top = ~0ull >> i->ea_shift;
    uint8_t *host;

    /* the offset would wrap in the run */
    if (op->step > 0 ? ea > top - span - (op->size - 1) : ea < span)
        return NULL;
    if (!fast_linear(cpu, seg, ea, write, &lin)) {
        /* Segments with limits: try the whole run at once. */
        const struct segreg *s = &cpu->seg[seg];
        if ((cpu->mode & (MODE_AC | MODE_CODE64)) || op->step < 0 || (s->ar & AR_UNUSABLE) ||
            ea + span + op->size - 1 > s->limit ||
            ((s->ar & (AR_CODE | AR_DOWN)) && (cpu->mode & MODE_PE)) ||
            (write && (cpu->mode & MODE_PE) && !(cpu->mode & MODE_VM86) && !(s->ar & AR_WRITE)))
            return NULL;
        lin = ea + cpu->seg_base[seg];
        if (lin > UINT32_MAX - (span + op->size))
            return NULL;
    }
    if (op->step < 0)
        lin -= span;
    return fast_host(cpu, lin, (unsigned)(n * op->size), write, &host) ? host : NULL;
}

/* The TLB may lack a page, and a page a flag, until it is written: bulk is tried again after each of
 * the first elements. */
#define BULK_TRIES 3

/* Devices that elements reach may end the slice: the go ends with it. */
static bool go_on(const struct cpu *cpu, uint64_t done, uint64_t n)
{
    return done < n && (done == 0 || cpu->budget >= 0);
}

/* What lies at dst in front of the run repeats in it: dst is gap bytes behind src. Every copy is of whole
 * periods, and of what is there. */
static void repeat_run(uint8_t *dst, size_t bytes, size_t gap)
{
    const uint8_t *src = dst - gap;

    for (size_t done = 0, n; done < bytes; done += n) {
        n = MIN(done + gap, bytes - done);
        memcpy(dst + done, src, n);
    }
}

static void copy_run(uint8_t *dst, const uint8_t *src, size_t bytes, const struct string_op *op)
{
    size_t gap = dst > src ? (size_t)(dst - src) : (size_t)(src - dst);
    bool reads_its_own = gap < bytes && (op->step > 0 ? dst > src : dst < src);

    if (!reads_its_own) {
        memmove(dst, src, bytes);
    } else if (op->step > 0 && gap >= op->size) {
        repeat_run(dst, bytes, gap);
    } else if (op->step > 0) { /* in parts of elements */
        for (size_t k = 0; k < bytes; k += op->size)
            st_sized(dst + k, ld_sized(src + k, op->size), op->size);
    } else {
        for (size_t k = bytes; k > 0; k -= op->size)
            st_sized(dst + k - op->size, ld_sized(src + k - op->size, op->size), op->size);
    }
}

static bool move_one(struct cpu *cpu, const struct string_op *op, uint64_t si, uint64_t di)
{
    uint64_t v;
    return fast_load(cpu, op->seg, si, op->size, &v) && fast_store(cpu, SEG_ES, di, op->size, v);
}

bool op_movs(struct cpu *cpu, const struct insn *i)
{
    struct string_op op;
    uint64_t si, di, n, done = 0;
    bool ok = true;

    if (!begin(cpu, i, &op)) {
        addr_reg_add(cpu, i, REG_SI, 0); /* cut to the address size all the same */
        addr_reg_add(cpu, i, REG_DI, 0);
        return true;
    }
    si = addr_reg(cpu, i, REG_SI);
    di = addr_reg(cpu, i, REG_DI);
    n = in_page(cpu, &op, op.seg, si, op.count);
    n = in_page(cpu, &op, SEG_ES, di, n);
    n = clear_of_code(cpu, i, &op, di, n);
    while (ok && go_on(cpu, done, n)) {
        uint64_t from = addr_mask(i, si + done * (uint64_t)op.step);
        uint64_t to = addr_mask(i, di + done * (uint64_t)op.step), left = n - done;
        bool try = left > 1 && done < BULK_TRIES;
        uint8_t *src = try ? bulk(cpu, i, op.seg, from, &op, false, left) : NULL;
        uint8_t *dst = src ? bulk(cpu, i, SEG_ES, to, &op, true, left) : NULL;
        if (dst) {
            copy_run(dst, src, left * op.size, &op);
            done = n;
        } else if ((ok = move_one(cpu, &op, from, to))) {
            done++;
        }
    }
    if (done || repeated(i)) { /* a fault at once cuts them to the address size */
        addr_reg_add(cpu, i, REG_SI, done * (uint64_t)op.step);
        addr_reg_add(cpu, i, REG_DI, done * (uint64_t)op.step);
    }
    if (!ok)
        return fault_after(cpu, i, done);
    end(cpu, i, done, false);
    return true;
}

static void fill_run(uint8_t *dst, uint64_t v, uint64_t n, unsigned size)
{
    uint64_t all = (v & 0xff) * 0x0101010101010101;

    if (((v ^ all) & ~0ull >> (64 - 8 * size)) == 0) {
        memset(dst, (uint8_t)v, n * size);
    } else {
        st_sized(dst, v, size);
        repeat_run(dst + size, (n - 1) * size, size);
    }
}

bool op_stos(struct cpu *cpu, const struct insn *i)
{
    struct string_op op;
    uint64_t di, n, done = 0;
    bool ok = true;

    if (!begin(cpu, i, &op)) {
        addr_reg_add(cpu, i, REG_DI, 0);
        return true;
    }
    di = addr_reg(cpu, i, REG_DI);
    n = clear_of_code(cpu, i, &op, di, in_page(cpu, &op, SEG_ES, di, op.count));
    while (ok && go_on(cpu, done, n)) {
        uint64_t to = addr_mask(i, di + done * (uint64_t)op.step), left = n - done;
        bool try = left > 1 && done < BULK_TRIES;
        uint8_t *dst = try ? bulk(cpu, i, SEG_ES, to, &op, true, left) : NULL;
        if (dst) {
            fill_run(dst, cpu->r[REG_AX], left, op.size);
            done = n;
        } else if ((ok = fast_store(cpu, SEG_ES, to, op.size, cpu->r[REG_AX]))) {
            done++;
        }
    }
    if (done || repeated(i))
        addr_reg_add(cpu, i, REG_DI, done * (uint64_t)op.step);
    if (!ok)
        return fault_after(cpu, i, done);
    end(cpu, i, done, false);
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

/* Flags come back when a repeated compare faults (SDM vol. 2, REP). */
struct old_flags {
    uint64_t res, a;
    uint32_t op;
};

static bool compare_fault(struct cpu *cpu, const struct insn *i, uint64_t n,
                          const struct old_flags *before)
{
    cpu->cc_res = before->res;
    cpu->cc_a = before->a;
    cpu->cc_op = before->op;
    return fault_after(cpu, i, n);
}

bool op_cmps(struct cpu *cpu, const struct insn *i)
{
    const struct old_flags before = {cpu->cc_res, cpu->cc_a, cpu->cc_op};
    struct string_op op;
    uint64_t a, b, n;
    bool stop = false;

    if (!begin(cpu, i, &op))
        return true;
    op.count = MIN(op.count, COMPARE_GO);
    for (n = 0; n < op.count && !stop; n++) {
        if (!fast_load(cpu, SEG_ES, addr_reg(cpu, i, REG_DI), op.size, &b) || /* first */
            !fast_load(cpu, op.seg, addr_reg(cpu, i, REG_SI), op.size, &a))
            return compare_fault(cpu, i, n, &before);
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
    const struct old_flags before = {cpu->cc_res, cpu->cc_a, cpu->cc_op};
    struct string_op op;
    uint64_t b, n, a = 0;
    bool stop = false;

    if (!begin(cpu, i, &op))
        return true;
    op.count = MIN(op.count, COMPARE_GO);
    a = op.size == 8 ? cpu->r[REG_AX] : cpu->r[REG_AX] & ((1ull << 8 * op.size) - 1);
    for (n = 0; n < op.count && !stop; n++) {
        if (!fast_load(cpu, SEG_ES, addr_reg(cpu, i, REG_DI), op.size, &b))
            return compare_fault(cpu, i, n, &before);
        compare(cpu, a, b, op.size);
        addr_reg_add(cpu, i, REG_DI, (uint64_t)op.step);
        stop = compare_stops(cpu, i);
    }
    end(cpu, i, n, stop);
    return true;
}
