/* General-purpose arithmetic that is not hot: multiply and divide, BCD, rotates through carry, double
 * shifts, bit tests and scans, exchanges with compare and add. SDM vol. 2.
 *
 * Undefined flags: where the manual leaves a flag undefined, the value is what current processors
 * give where that is known, otherwise unchanged.
 */
#include "cpu/decode.h"
#include "cpu/exec.h"
#include "cpu/flags.h"

static uint64_t size_mask(unsigned size)
{
    return size == 8 ? ~0ull : (1ull << 8 * size) - 1;
}

static int64_t sign_extend(uint64_t v, unsigned size)
{
    unsigned drop = 64 - 8 * size;
    return (int64_t)(v << drop) >> drop;
}

static unsigned log2_size(unsigned size)
{
    return (unsigned)__builtin_ctz(size);
}

static uint64_t get_reg(const struct cpu *cpu, unsigned n, unsigned size)
{
    return size == 1 ? reg8_get(cpu, n) : reg_get(cpu, n, size);
}

static void set_reg(struct cpu *cpu, unsigned n, uint64_t v, unsigned size)
{
    if (size == 1)
        reg8_set(cpu, n, (uint8_t)v);
    else
        reg_set(cpu, n, v, size);
}

static uint64_t zsp_flags(uint64_t res, unsigned size)
{
    res &= size_mask(size);
    return (res == 0 ? FL_ZF : 0) | (res >> (8 * size - 1) & 1 ? FL_SF : 0) | flags_parity(res);
}

/* Reads E for read-modify-write: a later write_modified_E cannot fault. */
static bool modify_E(struct cpu *cpu, const struct insn *i, uint64_t *v)
{
    if (i->prefix & PFX_LOCK)
        return mem_lock_read(cpu, i->seg, insn_ea(cpu, i), i->size, v);
    if (insn_is_mem(i) && !mem_probe_write(cpu, i->seg, insn_ea(cpu, i), i->size))
        return false;
    return insn_read_E(cpu, i, i->size, v);
}

/* False: another CPU has written what was read as old, and the instruction comes again. */
static bool write_modified_E(struct cpu *cpu, const struct insn *i, uint64_t old, uint64_t v)
{
    if (i->prefix & PFX_LOCK)
        return mem_lock_write(cpu, i->seg, insn_ea(cpu, i), i->size, old, v);
    return insn_write_E(cpu, i, i->size, v);
}

/* ---- multiply and divide ------------------------------------------------------------------------ */

/* rDX:rAX (AX for bytes) as low and high halves. */
static void set_wide(struct cpu *cpu, uint64_t low, uint64_t high, unsigned size)
{
    if (size == 1) {
        WORD_OF(cpu, REG_AX) = (uint16_t)((low & 0xff) | (high & 0xff) << 8);
    } else {
        reg_set(cpu, REG_AX, low, size);
        reg_set(cpu, REG_DX, high, size);
    }
}

bool op_mul(struct cpu *cpu, const struct insn *i)
{
    uint64_t b, low, high;
    if (!insn_read_E(cpu, i, i->size, &b))
        return false;
    unsigned __int128 p = (unsigned __int128)(cpu->r[REG_AX] & size_mask(i->size)) * b;
    low = (uint64_t)p & size_mask(i->size);
    high = (uint64_t)(p >> (8 * i->size)) & size_mask(i->size);
    set_wide(cpu, low, high, i->size);
    flags_set_arith(cpu, (high ? FL_CF | FL_OF : 0) | (zsp_flags(low, i->size) & ~(uint64_t)FL_ZF));
    return true;
}

bool op_imul(struct cpu *cpu, const struct insn *i)
{
    uint64_t b, low, high;
    if (!insn_read_E(cpu, i, i->size, &b))
        return false;
    __int128 p = (__int128)sign_extend(cpu->r[REG_AX], i->size) * sign_extend(b, i->size);
    low = (uint64_t)p & size_mask(i->size);
    high = (uint64_t)(p >> (8 * i->size)) & size_mask(i->size);
    set_wide(cpu, low, high, i->size);
    flags_set_arith(cpu, (p != (__int128)sign_extend(low, i->size) ? FL_CF | FL_OF : 0) |
                             (zsp_flags(low, i->size) & ~(uint64_t)FL_ZF));
    return true;
}

static unsigned __int128 dividend(const struct cpu *cpu, unsigned size)
{
    if (size == 1)
        return (uint16_t)cpu->r[REG_AX];
    return (unsigned __int128)(cpu->r[REG_DX] & size_mask(size)) << (8 * size) |
           (cpu->r[REG_AX] & size_mask(size));
}

bool op_div(struct cpu *cpu, const struct insn *i)
{
    uint64_t b;
    if (!insn_read_E(cpu, i, i->size, &b))
        return false;
    unsigned __int128 a = dividend(cpu, i->size), q;
    if (b == 0)
        return cpu_raise(cpu, EXC_DE);
    if (i->size <= 4) { /* 64-bit division is much cheaper */
        uint64_t q64 = (uint64_t)a / b;
        if (q64 > size_mask(i->size))
            return cpu_raise(cpu, EXC_DE);
        set_wide(cpu, q64, (uint64_t)a % b, i->size);
        return true;
    }
    if ((uint64_t)(a >> 64) >= b)
        return cpu_raise(cpu, EXC_DE);
    q = a / b;
    set_wide(cpu, (uint64_t)q, (uint64_t)(a - q * b), i->size);
    return true;
}

bool op_idiv(struct cpu *cpu, const struct insn *i)
{
    uint64_t raw;
    if (!insn_read_E(cpu, i, i->size, &raw))
        return false;
    int64_t b = sign_extend(raw, i->size);
    unsigned __int128 wide = dividend(cpu, i->size);
    unsigned bits = 16 * i->size;
    __int128 a = bits == 128 ? (__int128)wide : (__int128)(wide << (128 - bits)) >> (128 - bits);
    if (b == 0)
        return cpu_raise(cpu, EXC_DE);
    /* Magnitudes: the most negative dividend divided by -1 must not overflow in the host. */
    unsigned __int128 ua = a < 0 ? 0 - (unsigned __int128)a : (unsigned __int128)a;
    uint64_t ub = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
    unsigned __int128 uq = ua >> 64 ? ua / ub : (unsigned __int128)((uint64_t)ua / ub);
    uint64_t ur = (uint64_t)(ua - uq * ub);
    bool negative = (a < 0) != (b < 0);
    unsigned __int128 limit = ((unsigned __int128)1 << (8 * i->size - 1)) - !negative;
    if (uq > limit)
        return cpu_raise(cpu, EXC_DE);
    set_wide(cpu, negative ? 0 - (uint64_t)uq : (uint64_t)uq, a < 0 ? 0 - ur : ur, i->size);
    return true;
}

/* ---- BCD ---------------------------------------------------------------------------------------- */

bool op_daa(struct cpu *cpu, const struct insn *i)
{
    uint8_t al = (uint8_t)cpu->r[REG_AX], old = al;
    bool old_cf = flags_cf(cpu), cf = false, af = false;
    if ((al & 15) > 9 || flags_af(cpu)) {
        cf = old_cf || al > 0xf9;
        al = (uint8_t)(al + 6);
        af = true;
    }
    if (old > 0x99 || old_cf) {
        al = (uint8_t)(al + 0x60);
        cf = true;
    } else {
        cf = false;
    }
    reg8_set(cpu, BYTE_REG_OFF(REG_AX, 0), al);
    flags_set_arith(cpu, zsp_flags(al, 1) | (cf ? FL_CF : 0) | (af ? FL_AF : 0));
    return true;
}

bool op_das(struct cpu *cpu, const struct insn *i)
{
    uint8_t al = (uint8_t)cpu->r[REG_AX], old = al;
    bool old_cf = flags_cf(cpu), cf = false, af = false;
    if ((al & 15) > 9 || flags_af(cpu)) {
        cf = old_cf || al < 6;
        al = (uint8_t)(al - 6);
        af = true;
    }
    if (old > 0x99 || old_cf) {
        al = (uint8_t)(al - 0x60);
        cf = true;
    }
    reg8_set(cpu, BYTE_REG_OFF(REG_AX, 0), al);
    flags_set_arith(cpu, zsp_flags(al, 1) | (cf ? FL_CF : 0) | (af ? FL_AF : 0));
    return true;
}

static bool ascii_adjust(struct cpu *cpu, int sign)
{
    uint16_t ax = (uint16_t)cpu->r[REG_AX];
    bool adjust = (ax & 15) > 9 || flags_af(cpu);
    if (adjust)
        ax = (uint16_t)(ax + sign * 0x106);
    ax &= 0xff0f;
    WORD_OF(cpu, REG_AX) = ax;
    flags_set_arith(cpu, zsp_flags(ax & 0xff, 1) | (adjust ? FL_CF | FL_AF : 0));
    return true;
}

bool op_aaa(struct cpu *cpu, const struct insn *i)
{
    return ascii_adjust(cpu, 1);
}

bool op_aas(struct cpu *cpu, const struct insn *i)
{
    return ascii_adjust(cpu, -1);
}

bool op_aam(struct cpu *cpu, const struct insn *i)
{
    uint8_t al = (uint8_t)cpu->r[REG_AX], base = (uint8_t)i->imm;
    if (base == 0)
        return cpu_raise(cpu, EXC_DE);
    WORD_OF(cpu, REG_AX) = (uint16_t)((al / base) << 8 | al % base);
    flags_set_arith(cpu, zsp_flags(al % base, 1));
    return true;
}

bool op_aad(struct cpu *cpu, const struct insn *i)
{
    uint16_t ax = (uint16_t)cpu->r[REG_AX];
    uint8_t al = (uint8_t)((ax & 0xff) + (ax >> 8) * (uint8_t)i->imm);
    WORD_OF(cpu, REG_AX) = al;
    flags_set_arith(cpu, zsp_flags(al, 1));
    return true;
}

bool op_salc(struct cpu *cpu, const struct insn *i)
{
    reg8_set(cpu, BYTE_REG_OFF(REG_AX, 0), flags_cf(cpu) ? 0xff : 0);
    return true;
}

/* ---- rotates through carry, double shifts -------------------------------------------------------- */

/* The count of a shift: an immediate, 1, or CL; masked to 5 or 6 bits. */
static unsigned shift_count(const struct cpu *cpu, const struct insn *i, bool by_cl)
{
    unsigned n = by_cl ? reg8_get(cpu, BYTE_REG_OFF(REG_CX, 0)) : (unsigned)(uint8_t)i->imm;
    return n & (i->size == 8 ? 63 : 31);
}

static bool rotate_carry(struct cpu *cpu, const struct insn *i, bool left)
{
    unsigned bits = 8u * i->size;
    bool by_cl = (insn_row(i)->opcode & 0xfe) == 0xd2;
    unsigned n = shift_count(cpu, i, by_cl) % (bits + 1);
    uint64_t a, r;
    bool c = flags_cf(cpu), of;

    if (!modify_E(cpu, i, &a))
        return false;
    r = a;
    for (unsigned k = 0; k < n; k++) {
        bool out = left ? r >> (bits - 1) & 1 : r & 1;
        r = left ? (r << 1 | c) & size_mask(i->size) : r >> 1 | (uint64_t)c << (bits - 1);
        c = out;
    }
    if (!insn_write_E(cpu, i, i->size, r))
        return false;
    if (n == 0)
        return true;
    of = left ? (r >> (bits - 1) & 1) != c : (r >> (bits - 1) ^ r >> (bits - 2)) & 1;
    flags_set_arith(cpu, (flags_arith(cpu) & ~(uint64_t)(FL_CF | FL_OF)) | (c ? FL_CF : 0) |
                             (of ? FL_OF : 0));
    return true;
}

bool op_rcl(struct cpu *cpu, const struct insn *i)
{
    return rotate_carry(cpu, i, true);
}

bool op_rcr(struct cpu *cpu, const struct insn *i)
{
    return rotate_carry(cpu, i, false);
}

/* SHLD and SHRD. With 16-bit operands a count over 16 goes on into the destination again, as
 * processors since the Pentium Pro do. */
static bool shift_double(struct cpu *cpu, const struct insn *i, bool left)
{
    unsigned bits = 8u * i->size, n = shift_count(cpu, i, insn_row(i)->opcode & 1);
    uint64_t a, b, r;
    bool c, of;

    if (!modify_E(cpu, i, &a))
        return false;
    if (n == 0)
        return insn_write_E(cpu, i, i->size, a);
    b = reg_get(cpu, i->reg, i->size);
    if (i->size == 2) {
        if (left) {
            uint64_t wide = a << 32 | b << 16 | a; /* a:b:a */
            r = (wide << n >> 32) & 0xffff;
            c = wide >> (48 - n) & 1;
        } else {
            uint64_t wide = a << 32 | b << 16 | a;
            r = (wide >> n) & 0xffff;
            c = wide >> (n - 1) & 1;
        }
    } else if (left) {
        r = (a << n | b >> (bits - n)) & size_mask(i->size);
        c = a >> (bits - n) & 1;
    } else {
        r = (a >> n | b << (bits - n)) & size_mask(i->size);
        c = a >> (n - 1) & 1;
    }
    if (!insn_write_E(cpu, i, i->size, r))
        return false;
    of = (a ^ r) >> (bits - 1) & 1;
    flags_set_arith(cpu, zsp_flags(r, i->size) | (c ? FL_CF : 0) | (of ? FL_OF : 0));
    return true;
}

bool op_shld(struct cpu *cpu, const struct insn *i)
{
    return shift_double(cpu, i, true);
}

bool op_shrd(struct cpu *cpu, const struct insn *i)
{
    return shift_double(cpu, i, false);
}

/* ---- bits --------------------------------------------------------------------------------------- */

enum bit_op { BIT_TEST, BIT_SET, BIT_RESET, BIT_FLIP };

static uint64_t bit_apply(uint64_t v, unsigned bit, enum bit_op op)
{
    switch (op) {
    case BIT_SET:
        return v | 1ull << bit;
    case BIT_RESET:
        return v & ~(1ull << bit);
    case BIT_FLIP:
        return v ^ 1ull << bit;
    default:
        return v;
    }
}

static void bit_flags(struct cpu *cpu, uint64_t v, unsigned bit)
{
    flags_set_arith(cpu, (flags_arith(cpu) & ~(uint64_t)FL_CF) | (v >> bit & 1 ? FL_CF : 0));
}

/* With a register index, memory is a bit string: the index reaches beyond the operand. */
static bool bit_by_register(struct cpu *cpu, const struct insn *i, enum bit_op op)
{
    uint64_t index = reg_get(cpu, i->reg, i->size), v, ea;
    unsigned bit = (unsigned)index & (8u * i->size - 1);

    if (!insn_is_mem(i)) {
        v = reg_get(cpu, i->rm, i->size);
        bit_flags(cpu, v, bit);
        if (op != BIT_TEST)
            reg_set(cpu, i->rm, bit_apply(v, bit, op), i->size);
        return true;
    }
    ea = insn_ea(cpu, i) +
         (uint64_t)((sign_extend(index, i->size) >> (3 + log2_size(i->size))) * i->size);
    ea = ea << i->ea_shift >> i->ea_shift;
    if (i->prefix & PFX_LOCK) {
        if (!mem_lock_read(cpu, i->seg, ea, i->size, &v) ||
            !mem_lock_write(cpu, i->seg, ea, i->size, v, bit_apply(v, bit, op)))
            return false;
        bit_flags(cpu, v, bit);
        return true;
    }
    if (op != BIT_TEST && !mem_probe_write(cpu, i->seg, ea, i->size))
        return false;
    if (!mem_read(cpu, i->seg, ea, i->size, &v))
        return false;
    if (op != BIT_TEST && !mem_write(cpu, i->seg, ea, i->size, bit_apply(v, bit, op)))
        return false;
    bit_flags(cpu, v, bit);
    return true;
}

static bool bit_by_imm(struct cpu *cpu, const struct insn *i, enum bit_op op)
{
    unsigned bit = (unsigned)i->imm & (8u * i->size - 1);
    uint64_t v;
    if (op == BIT_TEST ? !insn_read_E(cpu, i, i->size, &v) : !modify_E(cpu, i, &v))
        return false;
    if (op != BIT_TEST && !write_modified_E(cpu, i, v, bit_apply(v, bit, op)))
        return false;
    bit_flags(cpu, v, bit);
    return true;
}

#define BIT_OPS(name, op)                                                                          \
    bool op_##name(struct cpu *cpu, const struct insn *i)                                          \
    {                                                                                              \
        return bit_by_register(cpu, i, op);                                                        \
    }                                                                                              \
    bool op_##name##_imm(struct cpu *cpu, const struct insn *i)                                    \
    {                                                                                              \
        return bit_by_imm(cpu, i, op);                                                             \
    }
BIT_OPS(bt, BIT_TEST)
BIT_OPS(bts, BIT_SET)
BIT_OPS(btr, BIT_RESET)
BIT_OPS(btc, BIT_FLIP)

/* BSF and BSR leave the destination as it was when the source is 0, which Intel calls undefined and
 * AMD guarantees; system software relies on it. */
static bool bit_scan(struct cpu *cpu, const struct insn *i, bool reverse)
{
    uint64_t v;
    if (!insn_read_E(cpu, i, i->size, &v))
        return false;
    if (v)
        reg_set(cpu, i->reg,
                (uint64_t)(reverse ? 63 - __builtin_clzll(v) : __builtin_ctzll(v)), i->size);
    flags_set_arith(cpu, v ? 0 : FL_ZF | FL_PF);
    return true;
}

bool op_bsf(struct cpu *cpu, const struct insn *i)
{
    return bit_scan(cpu, i, false);
}

bool op_bsr(struct cpu *cpu, const struct insn *i)
{
    return bit_scan(cpu, i, true);
}

/* ---- exchanges ---------------------------------------------------------------------------------- */

static void sub_flags(struct cpu *cpu, uint64_t a, uint64_t b, unsigned size)
{
    cpu->cc_a = a;
    cpu->cc_res = (uint64_t)sign_extend(a - b, size);
    cpu->cc_op = CC_SUB * 4 + log2_size(size);
}

/* The destination is written in both cases (SDM vol. 2), so it must be writable. A 32-bit register
 * that did not match keeps its upper half only if it is the accumulator's partner: the write of the
 * old value clears it, that of rAX too. */
bool op_cmpxchg(struct cpu *cpu, const struct insn *i)
{
    uint64_t v, acc = cpu->r[REG_AX] & size_mask(i->size);
    if (!modify_E(cpu, i, &v))
        return false;
    if (v == acc) {
        if (!write_modified_E(cpu, i, v, get_reg(cpu, i->reg, i->size)))
            return false;
    } else {
        if (insn_is_mem(i) && !write_modified_E(cpu, i, v, v))
            return false;
        set_reg(cpu, i->size == 1 ? BYTE_REG_OFF(REG_AX, 0) : REG_AX, v, i->size);
    }
    sub_flags(cpu, acc, v, i->size);
    return true;
}

bool op_xadd(struct cpu *cpu, const struct insn *i)
{
    uint64_t a, b = get_reg(cpu, i->reg, i->size), r;
    if (!modify_E(cpu, i, &a))
        return false;
    r = (a + b) & size_mask(i->size);
    if (insn_is_mem(i)) {
        if (!write_modified_E(cpu, i, a, r))
            return false;
        set_reg(cpu, i->reg, a, i->size);
    } else { /* xadd of a register with itself doubles it */
        set_reg(cpu, i->reg, a, i->size);
        set_reg(cpu, i->rm, r, i->size);
    }
    cpu->cc_a = a;
    cpu->cc_res = (uint64_t)sign_extend(r, i->size);
    cpu->cc_op = CC_ADD * 4 + log2_size(i->size);
    return true;
}

static bool cmpxchg16b(struct cpu *cpu, const struct insn *i)
{
    uint64_t ea = insn_ea(cpu, i), low, high;
    bool equal, ok;
    if (!feature_has(&cpu->features, F_CX16))
        return cpu_ud(cpu);
    if ((ea + cpu->seg_base[i->seg]) & 15)
        return cpu_gp0(cpu);
    if (!mem_probe_write(cpu, i->seg, ea, 16) || !mem_read(cpu, i->seg, ea, 8, &low) ||
        !mem_read(cpu, i->seg, ea + 8, 8, &high))
        return false;
    equal = low == cpu->r[REG_AX] && high == cpu->r[REG_DX];
    const uint64_t old[2] = {low, high};
    const uint64_t fresh[2] = {equal ? cpu->r[REG_BX] : low, equal ? cpu->r[REG_CX] : high};
    if (i->prefix & PFX_LOCK)
        ok = mem_lock_write16(cpu, i->seg, ea, old, fresh);
    else
        ok = mem_write(cpu, i->seg, ea, 8, fresh[0]) && mem_write(cpu, i->seg, ea + 8, 8, fresh[1]);
    if (!ok)
        return false;
    if (!equal) {
        cpu->r[REG_AX] = low;
        cpu->r[REG_DX] = high;
    }
    cpu_put_arith(cpu, equal ? FL_ZF : 0, FL_ZF);
    return true;
}

bool op_cmpxchg8b(struct cpu *cpu, const struct insn *i)
{
    uint64_t ea = insn_ea(cpu, i), v, expect, fresh;
    bool equal, lock = i->prefix & PFX_LOCK;
    if (i->prefix & PFX_REXW)
        return cmpxchg16b(cpu, i);
    if (lock ? !mem_lock_read(cpu, i->seg, ea, 8, &v)
             : !mem_probe_write(cpu, i->seg, ea, 8) || !mem_read(cpu, i->seg, ea, 8, &v))
        return false;
    expect = cpu->r[REG_DX] << 32 | (uint32_t)cpu->r[REG_AX];
    equal = v == expect;
    fresh = equal ? cpu->r[REG_CX] << 32 | (uint32_t)cpu->r[REG_BX] : v;
    if (lock ? !mem_lock_write(cpu, i->seg, ea, 8, v, fresh)
             : !mem_write(cpu, i->seg, ea, 8, fresh))
        return false;
    if (!equal) {
        cpu->r[REG_AX] = (uint32_t)v;
        cpu->r[REG_DX] = v >> 32;
    }
    cpu_put_arith(cpu, equal ? FL_ZF : 0, FL_ZF);
    return true;
}
