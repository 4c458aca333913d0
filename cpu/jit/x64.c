/* The assembler. See x64.h. */
#include <string.h>

#include "cpu/jit/x64.h"

void x64_byte(struct x64 *x, unsigned v)
{
    if (x->p >= x->end) {
        x->overflow = true;
        return;
    }
    *x->p++ = (uint8_t)v;
}

void x64_u32(struct x64 *x, uint32_t v)
{
    for (unsigned k = 0; k < 32; k += 8)
        x64_byte(x, v >> k & 0xff);
}

void x64_u64(struct x64 *x, uint64_t v)
{
    x64_u32(x, (uint32_t)v);
    x64_u32(x, (uint32_t)(v >> 32));
}

/* ModRM, SIB and displacement. RSP and R12 as base need a SIB byte, RBP and R13 a displacement. */
static void modrm(struct x64 *x, unsigned reg, struct x64_rm rm)
{
    unsigned r = (reg & 7) << 3, mod;
    bool wide;

    if (!rm.is_mem) {
        x64_byte(x, 0xc0 | r | (rm.base & 7));
        return;
    }
    if (rm.base == X64_NONE) { /* index*scale + disp32 */
        x64_byte(x, r | 4);
        x64_byte(x, (unsigned)rm.scale << 6 | (rm.index == X64_NONE ? 4u : rm.index & 7u) << 3 | 5);
        x64_u32(x, (uint32_t)rm.disp);
        return;
    }
    wide = rm.disp != (int8_t)rm.disp;
    mod = wide ? 0x80 : rm.disp || (rm.base & 7) == RBP ? 0x40 : 0;
    if (rm.index != X64_NONE || (rm.base & 7) == RSP) {
        x64_byte(x, mod | r | 4);
        x64_byte(x, (unsigned)rm.scale << 6 | (rm.index == X64_NONE ? 4u : rm.index & 7u) << 3 |
                        (rm.base & 7u));
    } else {
        x64_byte(x, mod | r | (rm.base & 7u));
    }
    if (mod == 0x80)
        x64_u32(x, (uint32_t)rm.disp);
    else if (mod == 0x40)
        x64_byte(x, (uint8_t)rm.disp);
}

static unsigned rm_bits(struct x64_rm rm) /* REX.X and REX.B */
{
    unsigned rex = 0;
    if (rm.base != X64_NONE && rm.base & 8)
        rex |= 1;
    if (rm.is_mem && rm.index != X64_NONE && rm.index & 8)
        rex |= 2;
    return rex;
}

void x64_op(struct x64 *x, unsigned prefix, unsigned opcode, unsigned size, unsigned reg,
            struct x64_rm rm, unsigned bytes)
{
    unsigned rex = rm_bits(rm) | (reg & 8 ? 4 : 0) | (size == 8 ? 8 : 0);

    if (((bytes & X64_BYTE_REG) && reg >= RSP) ||
        ((bytes & X64_BYTE_RM) && !rm.is_mem && rm.base >= RSP))
        rex |= 0x40;
    if (size == 2)
        x64_byte(x, 0x66);
    if (prefix)
        x64_byte(x, prefix);
    if (rex)
        x64_byte(x, 0x40 | rex);
    if (opcode > 0xffff)
        x64_byte(x, opcode >> 16);
    if (opcode > 0xff)
        x64_byte(x, opcode >> 8 & 0xff);
    x64_byte(x, opcode & 0xff);
    modrm(x, reg, rm);
}

void x64_vex(struct x64 *x, unsigned map, unsigned pp, unsigned w, unsigned l, unsigned vvvv,
             unsigned opcode, unsigned reg, struct x64_rm rm)
{
    unsigned rex = rm_bits(rm) | (reg & 8 ? 4 : 0);
    unsigned tail = (~vvvv & 15) << 3 | l << 2 | pp;

    if (map == 1 && !w && !(rex & 3)) {
        x64_byte(x, 0xc5);
        x64_byte(x, (rex & 4 ? 0 : 0x80) | tail);
    } else {
        x64_byte(x, 0xc4);
        x64_byte(x, (rex & 4 ? 0 : 0x80) | (rex & 2 ? 0 : 0x40) | (rex & 1 ? 0 : 0x20) | map);
        x64_byte(x, w << 7 | tail);
    }
    x64_byte(x, opcode);
    modrm(x, reg, rm);
}

/* ---- integer instructions --------------------------------------------------------------------- */

static unsigned byte_both(unsigned size)
{
    return size == 1 ? X64_BYTE_REG | X64_BYTE_RM : 0;
}

void x64_alu_to_rm(struct x64 *x, enum x64_alu op, unsigned size, struct x64_rm dst, unsigned src)
{
    x64_op(x, 0, op * 8u + (size > 1), size, src, dst, byte_both(size));
}

void x64_alu_to_reg(struct x64 *x, enum x64_alu op, unsigned size, unsigned dst, struct x64_rm src)
{
    x64_op(x, 0, op * 8u + 2 + (size > 1), size, dst, src, byte_both(size));
}

static void put_imm(struct x64 *x, unsigned size, int32_t v)
{
    x64_byte(x, v & 0xff);
    if (size > 1)
        x64_byte(x, v >> 8 & 0xff);
    if (size > 2) {
        x64_byte(x, v >> 16 & 0xff);
        x64_byte(x, v >> 24 & 0xff);
    }
}

void x64_alu_imm(struct x64 *x, enum x64_alu op, unsigned size, struct x64_rm dst, int32_t v)
{
    unsigned bytes = size == 1 ? X64_BYTE_RM : 0;

    if (size > 1 && v == (int8_t)v) {
        x64_op(x, 0, 0x83, size, op, dst, bytes);
        x64_byte(x, (uint8_t)v);
    } else {
        x64_op(x, 0, size > 1 ? 0x81 : 0x80, size, op, dst, bytes);
        put_imm(x, size, v);
    }
}

void x64_test(struct x64 *x, unsigned size, struct x64_rm a, unsigned b)
{
    x64_op(x, 0, size > 1 ? 0x85 : 0x84, size, b, a, byte_both(size));
}

void x64_test_imm(struct x64 *x, unsigned size, struct x64_rm a, int32_t v)
{
    x64_op(x, 0, size > 1 ? 0xf7 : 0xf6, size, 0, a, size == 1 ? X64_BYTE_RM : 0);
    put_imm(x, size, v);
}

void x64_load(struct x64 *x, unsigned size, unsigned dst, struct x64_rm src)
{
    x64_op(x, 0, size > 1 ? 0x8b : 0x8a, size, dst, src, byte_both(size));
}

void x64_store(struct x64 *x, unsigned size, struct x64_rm dst, unsigned src)
{
    x64_op(x, 0, size > 1 ? 0x89 : 0x88, size, src, dst, byte_both(size));
}

void x64_store_imm(struct x64 *x, unsigned size, struct x64_rm dst, int32_t v)
{
    x64_op(x, 0, size > 1 ? 0xc7 : 0xc6, size, 0, dst, size == 1 ? X64_BYTE_RM : 0);
    put_imm(x, size, v);
}

void x64_mov_imm(struct x64 *x, unsigned dst, uint64_t v)
{
    if (v <= UINT32_MAX) {
        if (dst & 8)
            x64_byte(x, 0x41);
        x64_byte(x, 0xb8 | (dst & 7));
        x64_u32(x, (uint32_t)v);
    } else if (v == (uint64_t)(int64_t)(int32_t)v) {
        x64_op(x, 0, 0xc7, 8, 0, x64_r(dst), 0);
        x64_u32(x, (uint32_t)v);
    } else {
        x64_byte(x, dst & 8 ? 0x49 : 0x48);
        x64_byte(x, 0xb8 | (dst & 7));
        x64_u64(x, v);
    }
}

void x64_lea(struct x64 *x, unsigned size, unsigned dst, struct x64_rm src)
{
    x64_op(x, 0, 0x8d, size, dst, src, 0);
}

void x64_movzx(struct x64 *x, unsigned size, unsigned dst, struct x64_rm src, unsigned from)
{
    if (from == 4)
        x64_load(x, 4, dst, src);
    else
        x64_op(x, 0, from == 1 ? 0x0fb6 : 0x0fb7, size == 2 ? 2 : 4, dst, src,
               from == 1 ? X64_BYTE_RM : 0);
}

void x64_movsx(struct x64 *x, unsigned size, unsigned dst, struct x64_rm src, unsigned from)
{
    if (from == 4)
        x64_op(x, 0, 0x63, size, dst, src, 0);
    else
        x64_op(x, 0, from == 1 ? 0x0fbe : 0x0fbf, size, dst, src, from == 1 ? X64_BYTE_RM : 0);
}

void x64_shift_imm(struct x64 *x, enum x64_shift ext, unsigned size, struct x64_rm dst, unsigned n)
{
    x64_op(x, 0, size > 1 ? 0xc1 : 0xc0, size, ext, dst, size == 1 ? X64_BYTE_RM : 0);
    x64_byte(x, n);
}

void x64_shift_cl(struct x64 *x, enum x64_shift ext, unsigned size, struct x64_rm dst)
{
    x64_op(x, 0, size > 1 ? 0xd3 : 0xd2, size, ext, dst, size == 1 ? X64_BYTE_RM : 0);
}

void x64_rorx(struct x64 *x, unsigned size, unsigned dst, unsigned src, unsigned n)
{
    x64_vex(x, 3, 3, size == 8, 0, 0, 0xf0, dst, x64_r(src));
    x64_byte(x, n);
}

void x64_setcc(struct x64 *x, enum x64_cc cc, struct x64_rm dst)
{
    x64_op(x, 0, 0x0f90u + cc, 4, 0, dst, X64_BYTE_RM);
}

void x64_push(struct x64 *x, unsigned reg)
{
    if (reg & 8)
        x64_byte(x, 0x41);
    x64_byte(x, 0x50 | (reg & 7));
}

void x64_pop(struct x64 *x, unsigned reg)
{
    if (reg & 8)
        x64_byte(x, 0x41);
    x64_byte(x, 0x58 | (reg & 7));
}

/* ---- branches --------------------------------------------------------------------------------- */

static uint8_t *rel32(struct x64 *x)
{
    uint8_t *at = x->p;
    x64_u32(x, 0);
    return at;
}

uint8_t *x64_jcc(struct x64 *x, enum x64_cc cc)
{
    x64_byte(x, 0x0f);
    x64_byte(x, 0x80u | cc);
    return rel32(x);
}

uint8_t *x64_jmp(struct x64 *x)
{
    x64_byte(x, 0xe9);
    return rel32(x);
}

uint8_t *x64_call(struct x64 *x)
{
    x64_byte(x, 0xe8);
    return rel32(x);
}

void x64_resolve(uint8_t *at, const uint8_t *target)
{
    int32_t d = (int32_t)(target - (at + 4));
    memcpy(at, &d, 4);
}

void x64_jmp_to(struct x64 *x, const uint8_t *target)
{
    uint8_t *at = x64_jmp(x);
    if (!x->overflow)
        x64_resolve(at, target);
}

void x64_call_to(struct x64 *x, const uint8_t *target)
{
    uint8_t *at = x64_call(x);
    if (!x->overflow)
        x64_resolve(at, target);
}
