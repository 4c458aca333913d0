/* MMX and SSE instructions that compute: arithmetic, logic, compares, shifts, packs and shuffles.
 *
 * What they compute is in cpu/simd_kernels.h; here kernels get their operands. op_x is the SSE form
 * of x, op_x_mmx the MMX form, op_x_imm the form of groups 12 to 14 that shifts by an immediate.
 */
#include "cpu/simd_kernels.h"

/* ---- two sources ----------------------------------------------------------------------------- */

VEC_INLINE bool sse_binary(struct cpu *cpu, const struct insn *i, lane_kernel *kernel, unsigned in,
                           unsigned out)
{
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, 16);
    union lane a, b, d;

    if (!src)
        return false;
    lane_get(&a, dst, 16, in);
    lane_get(&b, src, 16, in);
    kernel(&d, &a, &b, 16);
    lane_put(dst, &d, 16, out);
    return true;
}

/* An MMX register as a lane with elements of the given size, and back. */
VEC_INLINE void mmx_lane_get(union lane *l, uint64_t v, unsigned element)
{
    uint8_t bytes[8];

    st64(bytes, v);
    lane_get(l, bytes, 8, element);
}

VEC_INLINE uint64_t mmx_lane_put(union lane *l, unsigned element)
{
    uint8_t bytes[8];

    lane_put(bytes, l, 8, element);
    return ld64(bytes);
}

VEC_INLINE bool mmx_binary(struct cpu *cpu, const struct insn *i, lane_kernel *kernel, unsigned in,
                           unsigned out, unsigned mem_size)
{
    union lane a, b, d;
    uint64_t src;

    if (!mmx_src(cpu, i, mem_size, &src))
        return false;
    mmx_begin(cpu);
    mmx_lane_get(&a, mmx_get(cpu, i->reg), in);
    mmx_lane_get(&b, src, in);
    kernel(&d, &a, &b, 8);
    mmx_set(cpu, i->reg, mmx_lane_put(&d, out));
    return true;
}

#define OP_SSE(x, in, out)                                                                         \
    bool op_##x(struct cpu *cpu, const struct insn *i)                                             \
    {                                                                                              \
        return sse_binary(cpu, i, k_##x, in, out);                                                 \
    }
#define OP_MMX(x, in, out)                                                                         \
    bool op_##x##_mmx(struct cpu *cpu, const struct insn *i)                                       \
    {                                                                                              \
        return mmx_binary(cpu, i, k_##x, in, out, 8);                                              \
    }
#define OP_MMX32(x, in, out)                                                                       \
    bool op_##x##_mmx(struct cpu *cpu, const struct insn *i)                                       \
    {                                                                                              \
        return mmx_binary(cpu, i, k_##x, in, out, 4);                                              \
    }
KERNELS_MMX_SSE(OP_SSE)
KERNELS_MMX_SSE(OP_MMX)
KERNELS_MMX32_SSE(OP_SSE)
KERNELS_MMX32_SSE(OP_MMX32)
KERNELS_SSE(OP_SSE)

/* ---- shifts ---------------------------------------------------------------------------------- */

VEC_INLINE void sse_shift_reg(uint8_t *dst, lane_kernel_shift *kernel, uint64_t count,
                              unsigned element)
{
    union lane a, d;

    lane_get(&a, dst, 16, element);
    kernel(&d, &a, count, 16);
    lane_put(dst, &d, 16, element);
}

VEC_INLINE void mmx_shift_reg(struct cpu *cpu, unsigned n, lane_kernel_shift *kernel,
                              uint64_t count, unsigned element)
{
    union lane a, d;

    mmx_begin(cpu);
    mmx_lane_get(&a, mmx_get(cpu, n), element);
    kernel(&d, &a, count, 8);
    mmx_set(cpu, n, mmx_lane_put(&d, element));
}

#define OP_SHIFT(x, in, out)                                                                       \
    bool op_##x(struct cpu *cpu, const struct insn *i)                                             \
    {                                                                                              \
        uint8_t buf[16];                                                                           \
        const uint8_t *src = vec_src(cpu, i, buf, 16);                                             \
        if (!src)                                                                                  \
            return false;                                                                          \
        sse_shift_reg(cpu->xmm[i->reg].b, k_##x, ld64(src), in);                                   \
        return true;                                                                               \
    }                                                                                              \
    bool op_##x##_imm(struct cpu *cpu, const struct insn *i)                                       \
    {                                                                                              \
        sse_shift_reg(cpu->xmm[i->rm].b, k_##x, (uint8_t)i->imm, in);                              \
        return true;                                                                               \
    }                                                                                              \
    bool op_##x##_mmx(struct cpu *cpu, const struct insn *i)                                       \
    {                                                                                              \
        uint64_t count;                                                                            \
        if (!mmx_src(cpu, i, 8, &count))                                                           \
            return false;                                                                          \
        mmx_shift_reg(cpu, i->reg, k_##x, count, in);                                              \
        return true;                                                                               \
    }                                                                                              \
    bool op_##x##_imm_mmx(struct cpu *cpu, const struct insn *i)                                   \
    {                                                                                              \
        mmx_shift_reg(cpu, i->rm, k_##x, (uint8_t)i->imm, in);                                     \
        return true;                                                                               \
    }
KERNELS_SHIFT(OP_SHIFT)

#define OP_BYTE_SHIFT(x)                                                                           \
    bool op_##x(struct cpu *cpu, const struct insn *i)                                             \
    {                                                                                              \
        union lane a, d;                                                                           \
        lane_get(&a, cpu->xmm[i->rm].b, 16, 1);                                                    \
        k_##x(&d, &a, &a, (uint8_t)i->imm, 16);                                                    \
        lane_put(cpu->xmm[i->rm].b, &d, 16, 1);                                                    \
        return true;                                                                               \
    }
OP_BYTE_SHIFT(pslldq)
OP_BYTE_SHIFT(psrldq)

/* ---- two sources and an immediate ------------------------------------------------------------ */

VEC_INLINE bool sse_imm(struct cpu *cpu, const struct insn *i, lane_kernel_imm *kernel, unsigned in,
                        unsigned out)
{
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, 16);
    union lane a, b, d;

    if (!src)
        return false;
    lane_get(&a, dst, 16, in);
    lane_get(&b, src, 16, in);
    kernel(&d, &a, &b, (uint8_t)i->imm, 16);
    lane_put(dst, &d, 16, out);
    return true;
}

VEC_INLINE bool mmx_imm(struct cpu *cpu, const struct insn *i, lane_kernel_imm *kernel, unsigned in,
                        unsigned out)
{
    union lane a, b, d;
    uint64_t src;

    if (!mmx_src(cpu, i, 8, &src))
        return false;
    mmx_begin(cpu);
    mmx_lane_get(&a, mmx_get(cpu, i->reg), in);
    mmx_lane_get(&b, src, in);
    kernel(&d, &a, &b, (uint8_t)i->imm, 8);
    mmx_set(cpu, i->reg, mmx_lane_put(&d, out));
    return true;
}

#define OP_SSE_IMM(x, in, out)                                                                     \
    bool op_##x(struct cpu *cpu, const struct insn *i)                                             \
    {                                                                                              \
        return sse_imm(cpu, i, k_##x, in, out);                                                    \
    }
#define OP_MMX_IMM(x, in, out)                                                                     \
    bool op_##x##_mmx(struct cpu *cpu, const struct insn *i)                                       \
    {                                                                                              \
        return mmx_imm(cpu, i, k_##x, in, out);                                                    \
    }
KERNELS_SSE_IMM(OP_SSE_IMM)
KERNELS_MMX_IMM(OP_MMX_IMM)

/* ---- blends by a mask in XMM0 ---------------------------------------------------------------- */

#define OP_BLENDV(x, in, out)                                                                      \
    bool op_##x(struct cpu *cpu, const struct insn *i)                                             \
    {                                                                                              \
        uint8_t buf[16], *dst = cpu->xmm[i->reg].b;                                                \
        const uint8_t *src = vec_src(cpu, i, buf, 16);                                             \
        union lane a, b, mask, d;                                                                  \
        if (!src)                                                                                  \
            return false;                                                                          \
        lane_get(&a, dst, 16, in);                                                                 \
        lane_get(&b, src, 16, in);                                                                 \
        lane_get(&mask, cpu->xmm[0].b, 16, in);                                                    \
        k_##x(&d, &a, &b, &mask, 16);                                                              \
        lane_put(dst, &d, 16, out);                                                                \
        return true;                                                                               \
    }
KERNELS_BLENDV(OP_BLENDV)

/* ---- flags ----------------------------------------------------------------------------------- */

bool op_ptest(struct cpu *cpu, const struct insn *i)
{
    uint8_t buf[16];
    const uint8_t *src = vec_src(cpu, i, buf, 16), *dst = cpu->xmm[i->reg].b;
    uint64_t flags = 0;

    if (!src)
        return false;
    if (!((ld64(src) & ld64(dst)) | (ld64(src + 8) & ld64(dst + 8))))
        flags |= FL_ZF;
    if (!((ld64(src) & ~ld64(dst)) | (ld64(src + 8) & ~ld64(dst + 8))))
        flags |= FL_CF;
    cpu_put_arith(cpu, flags, FL_ARITH);
    return true;
}
