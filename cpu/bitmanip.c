/* Bit manipulation in general registers: POPCNT, LZCNT, TZCNT, CRC32, MOVBE, BMI1, BMI2, ADX; and
 * the fences, hints and cache-line instructions that came with SSE and after.
 *
 * VEX forms name their second register operand in insn.vvvv. Flags that the manual leaves undefined
 * are cleared, as most processors do.
 */
#include "cpu/simd.h"

static inline uint64_t size_mask(unsigned size)
{
    return size == 8 ? ~0ull : (1ull << (8 * size)) - 1;
}

/* The E operand, 2, 4 or 8 bytes, zero-extended. */
VEC_INLINE bool read_e(struct cpu *cpu, const struct insn *i, unsigned size, uint64_t *v)
{
    if (!insn_is_mem(i)) {
        *v = cpu->r[i->rm] & size_mask(size);
        return true;
    }
    return fast_load(cpu, i->seg, insn_ea(cpu, i), size, v);
}

/* ---- counts ---------------------------------------------------------------------------------- */

bool op_popcnt(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if (!read_e(cpu, i, i->size, &v))
        return false;
    reg_set(cpu, i->reg, (unsigned)__builtin_popcountll(v), i->size);
    cpu_put_arith(cpu, v ? 0 : FL_ZF, FL_ARITH);
    return true;
}

/* BSF and BSR: what F3 0F BC and BD are on processors that do not know TZCNT and LZCNT. The
 * destination is left alone if the source is 0. */
static void scan(struct cpu *cpu, const struct insn *i, uint64_t v, bool reverse)
{
    if (v)
        reg_set(cpu, i->reg,
                (unsigned)(reverse ? 63 - __builtin_clzll(v) : __builtin_ctzll(v)), i->size);
    cpu_put_arith(cpu, v ? 0 : FL_ZF, FL_ZF);
}

static void put_count(struct cpu *cpu, const struct insn *i, uint64_t v, unsigned count)
{
    reg_set(cpu, i->reg, count, i->size);
    cpu_put_arith(cpu, (v ? 0 : FL_CF) | (count ? 0 : FL_ZF), FL_ARITH);
}

bool op_tzcnt(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if (!read_e(cpu, i, i->size, &v))
        return false;
    if (!feature_has(&cpu->features, F_BMI1))
        scan(cpu, i, v, false);
    else
        put_count(cpu, i, v, v ? (unsigned)__builtin_ctzll(v) : 8u * i->size);
    return true;
}

bool op_lzcnt(struct cpu *cpu, const struct insn *i)
{
    unsigned bits = 8u * i->size;
    uint64_t v;

    if (!read_e(cpu, i, i->size, &v))
        return false;
    if (!feature_has(&cpu->features, F_LZCNT))
        scan(cpu, i, v, true);
    else
        put_count(cpu, i, v, v ? (unsigned)__builtin_clzll(v) - (64 - bits) : bits);
    return true;
}

/* ---- CRC32 (polynomial 11EDC6F41h, bits reflected) ------------------------------------------- */

/* Remainders of the sixteen nibbles. */
static const uint32_t crc32c_nibble[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

static uint32_t crc32c(uint32_t crc, uint64_t v, unsigned size)
{
    for (unsigned k = 0; k < size; k++) {
        crc ^= (uint8_t)(v >> (8 * k));
        crc = crc >> 4 ^ crc32c_nibble[crc & 15];
        crc = crc >> 4 ^ crc32c_nibble[crc & 15];
    }
    return crc;
}

bool op_crc32_b(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if (!insn_read_E(cpu, i, 1, &v))
        return false;
    cpu->r[i->reg] = crc32c((uint32_t)cpu->r[i->reg], v, 1);
    return true;
}

bool op_crc32_v(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if (!read_e(cpu, i, i->size, &v))
        return false;
    cpu->r[i->reg] = crc32c((uint32_t)cpu->r[i->reg], v, i->size);
    return true;
}

/* ---- MOVBE ----------------------------------------------------------------------------------- */

static uint64_t byte_swap(uint64_t v, unsigned size)
{
    return __builtin_bswap64(v) >> (64 - 8 * size);
}

bool op_movbe_load(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if (!read_e(cpu, i, i->size, &v))
        return false;
    reg_set(cpu, i->reg, byte_swap(v, i->size), i->size);
    return true;
}

bool op_movbe_store(struct cpu *cpu, const struct insn *i)
{
    uint64_t v = reg_get(cpu, i->reg, i->size);

    return fast_store(cpu, i->seg, insn_ea(cpu, i), i->size, byte_swap(v, i->size));
}

/* ---- BMI1 ------------------------------------------------------------------------------------ */

static void put_result(struct cpu *cpu, unsigned reg, uint64_t v, unsigned size, bool carry)
{
    uint64_t flags = carry ? FL_CF : 0;

    v &= size_mask(size);
    reg_set(cpu, reg, v, size);
    flags |= v ? 0 : FL_ZF;
    flags |= v >> (8 * size - 1) ? FL_SF : 0;
    cpu_put_arith(cpu, flags, FL_ARITH);
}

bool op_andn(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);
    uint64_t v;

    if (!read_e(cpu, i, size, &v))
        return false;
    put_result(cpu, i->reg, ~cpu->r[i->vvvv] & v, size, false);
    return true;
}

bool op_blsr(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);
    uint64_t v;

    if (!read_e(cpu, i, size, &v))
        return false;
    put_result(cpu, i->vvvv, v & (v - 1), size, !v);
    return true;
}

bool op_blsmsk(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);
    uint64_t v;

    if (!read_e(cpu, i, size, &v))
        return false;
    put_result(cpu, i->vvvv, v ^ (v - 1), size, !v);
    return true;
}

bool op_blsi(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);
    uint64_t v;

    if (!read_e(cpu, i, size, &v))
        return false;
    put_result(cpu, i->vvvv, v & (0 - v), size, v);
    return true;
}

bool op_bextr(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);
    unsigned start = (uint8_t)cpu->r[i->vvvv], len = (uint8_t)(cpu->r[i->vvvv] >> 8);
    uint64_t v;

    if (!read_e(cpu, i, size, &v))
        return false;
    v = start < 64 ? v >> start : 0;
    if (len < 64)
        v &= (1ull << len) - 1;
    put_result(cpu, i->reg, v, size, false);
    cpu_put_arith(cpu, 0, FL_SF);
    return true;
}

/* ---- BMI2 ------------------------------------------------------------------------------------ */

bool op_bzhi(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i), n = (uint8_t)cpu->r[i->vvvv];
    uint64_t v;

    if (!read_e(cpu, i, size, &v))
        return false;
    if (n < 8 * size)
        v &= (1ull << n) - 1;
    put_result(cpu, i->reg, v, size, n >= 8 * size);
    return true;
}

bool op_pdep(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);
    uint64_t mask, src = cpu->r[i->vvvv], v = 0;

    if (!read_e(cpu, i, size, &mask))
        return false;
    for (; mask; mask &= mask - 1, src >>= 1)
        if (src & 1)
            v |= mask & (0 - mask);
    reg_set(cpu, i->reg, v, size);
    return true;
}

bool op_pext(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i), k;
    uint64_t mask, src = cpu->r[i->vvvv], v = 0;

    if (!read_e(cpu, i, size, &mask))
        return false;
    for (k = 0; mask; mask &= mask - 1, k++)
        if (src & mask & (0 - mask))
            v |= 1ull << k;
    reg_set(cpu, i->reg, v, size);
    return true;
}

/* The upper half of a 64 by 64 bit product, in terms that every host has. */
static uint64_t mul_high(uint64_t a, uint64_t b)
{
    uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
    uint64_t mid = ah * bl + (al * bl >> 32);
    uint64_t mid2 = al * bh + (uint32_t)mid;

    return ah * bh + (mid >> 32) + (mid2 >> 32);
}

bool op_mulx(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);
    uint64_t a = reg_get(cpu, REG_DX, size), b, low, high;

    if (!read_e(cpu, i, size, &b))
        return false;
    low = a * b;
    high = size == 8 ? mul_high(a, b) : low >> 32;
    reg_set(cpu, i->vvvv, low, size);
    reg_set(cpu, i->reg, high, size); /* wins where both name one register */
    return true;
}

bool op_rorx(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i), bits = 8 * size, n = i->imm & (bits - 1);
    uint64_t v;

    if (i->vvvv) /* names no operand: must be 1111b, which is 0 here */
        return cpu_ud(cpu);
    if (!read_e(cpu, i, size, &v))
        return false;
    reg_set(cpu, i->reg, v >> n | v << ((bits - n) & (bits - 1)), size);
    return true;
}

bool op_shlx(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);
    uint64_t v;

    if (!read_e(cpu, i, size, &v))
        return false;
    reg_set(cpu, i->reg, v << (cpu->r[i->vvvv] & (8 * size - 1)), size);
    return true;
}

bool op_shrx(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);
    uint64_t v;

    if (!read_e(cpu, i, size, &v))
        return false;
    reg_set(cpu, i->reg, v >> (cpu->r[i->vvvv] & (8 * size - 1)), size);
    return true;
}

bool op_sarx(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);
    uint64_t v;

    if (!read_e(cpu, i, size, &v))
        return false;
    if (size == 4)
        v = (uint64_t)(int64_t)(int32_t)v;
    reg_set(cpu, i->reg, (uint64_t)((int64_t)v >> (cpu->r[i->vvvv] & (8 * size - 1))), size);
    return true;
}

/* ---- ADX: additions with carry that leave all flags but their own ---------------------------- */

static bool add_with(struct cpu *cpu, const struct insn *i, uint64_t flag)
{
    unsigned size = insn_y_size(cpu, i);
    uint64_t a = reg_get(cpu, i->reg, size), b, sum;
    bool carry = cpu_flags(cpu) & flag;

    if (!read_e(cpu, i, size, &b))
        return false;
    sum = (a + b + carry) & size_mask(size);
    reg_set(cpu, i->reg, sum, size);
    cpu_put_arith(cpu, sum < a || (carry && sum == a) ? flag : 0, flag);
    return true;
}

bool op_adcx(struct cpu *cpu, const struct insn *i)
{
    return add_with(cpu, i, FL_CF);
}

bool op_adox(struct cpu *cpu, const struct insn *i)
{
    return add_with(cpu, i, FL_OF);
}

/* ---- hints and caches ------------------------------------------------------------------------ */

/* PREFETCHh, hinting NOPs, and fences: every access of this CPU is already done in order. */
bool op_hint(struct cpu *cpu, const struct insn *i)
{
    return true;
}

/* A fence where CPUs run on threads of their own. */
bool op_fence(struct cpu *cpu, const struct insn *i)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return true;
}

/* CLFLUSH, CLFLUSHOPT, CLWB: no cache to flush, but they fault as a load of a byte does. */
bool op_clflush(struct cpu *cpu, const struct insn *i)
{
    return mem_probe_read(cpu, i->seg, insn_ea(cpu, i), 1);
}
