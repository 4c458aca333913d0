/* MMX and SSE instructions that move: between registers, memory and general registers, with
 * inserts, extracts, widening moves and sign masks.
 *
 * Several mnemonics share a function where they differ only in what their rows say (alignment,
 * CPUID feature, the data type that no one can see). Non-temporal moves are ordinary ones: there is
 * no cache to spare.
 */
#include "cpu/simd_kernels.h"

/* ---- whole registers ------------------------------------------------------------------------- */

/* MOVAPS, MOVUPS, MOVAPD, MOVUPD, MOVDQA, MOVDQU, LDDQU, MOVNTDQA */
bool op_mov_x_w(struct cpu *cpu, const struct insn *i)
{
    uint8_t buf[16];
    const uint8_t *src = vec_src(cpu, i, buf, 16);

    if (!src)
        return false;
    memmove(cpu->xmm[i->reg].b, src, 16);
    return true;
}

/* The stores of the same, MOVNTPS, MOVNTPD, MOVNTDQ */
bool op_mov_w_x(struct cpu *cpu, const struct insn *i)
{
    const uint8_t *src = cpu->xmm[i->reg].b;

    if (insn_is_mem(i))
        return vec_store(cpu, i, src, 16);
    memmove(cpu->xmm[i->rm].b, src, 16);
    return true;
}

/* ---- parts of registers ---------------------------------------------------------------------- */

static inline void vec_set_low(union vec *v, uint64_t low) /* the rest of the lane becomes 0 */
{
    st64(v->b, low);
    st64(v->b + 8, 0);
}

bool op_movss_load(struct cpu *cpu, const struct insn *i)
{
    uint32_t v;

    if (!insn_is_mem(i)) {
        memmove(cpu->xmm[i->reg].b, cpu->xmm[i->rm].b, 4);
        return true;
    }
    if (!fast_load32(cpu, i, &v))
        return false;
    vec_set_low(&cpu->xmm[i->reg], v);
    return true;
}

bool op_movss_store(struct cpu *cpu, const struct insn *i)
{
    if (insn_is_mem(i))
        return fast_store32(cpu, i, ld32(cpu->xmm[i->reg].b));
    memmove(cpu->xmm[i->rm].b, cpu->xmm[i->reg].b, 4);
    return true;
}

bool op_movsd_load(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if (!insn_is_mem(i)) {
        memmove(cpu->xmm[i->reg].b, cpu->xmm[i->rm].b, 8);
        return true;
    }
    if (!fast_load64(cpu, i, &v))
        return false;
    vec_set_low(&cpu->xmm[i->reg], v);
    return true;
}

/* MOVSD, and MOVLPS and MOVLPD, which have no register form */
bool op_movsd_store(struct cpu *cpu, const struct insn *i)
{
    if (insn_is_mem(i))
        return fast_store64(cpu, i, ld64(cpu->xmm[i->reg].b));
    memmove(cpu->xmm[i->rm].b, cpu->xmm[i->reg].b, 8);
    return true;
}

/* MOVQ Vq,Wq */
bool op_movq_load(struct cpu *cpu, const struct insn *i)
{
    uint8_t buf[8];
    const uint8_t *src = vec_src(cpu, i, buf, 8);

    if (!src)
        return false;
    vec_set_low(&cpu->xmm[i->reg], ld64(src));
    return true;
}

/* MOVQ Wq,Vq: the register form clears the upper half too */
bool op_movq_store(struct cpu *cpu, const struct insn *i)
{
    uint64_t v = ld64(cpu->xmm[i->reg].b);

    if (insn_is_mem(i))
        return fast_store64(cpu, i, v);
    vec_set_low(&cpu->xmm[i->rm], v);
    return true;
}

/* MOVLPS and MOVLPD Vq,Mq; MOVHLPS Vq,Uq */
bool op_movlps_load(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if (!insn_is_mem(i))
        v = ld64(cpu->xmm[i->rm].b + 8);
    else if (!fast_load64(cpu, i, &v))
        return false;
    st64(cpu->xmm[i->reg].b, v);
    return true;
}

/* MOVHPS and MOVHPD Vq,Mq; MOVLHPS Vq,Uq */
bool op_movhps_load(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if (!insn_is_mem(i))
        v = ld64(cpu->xmm[i->rm].b);
    else if (!fast_load64(cpu, i, &v))
        return false;
    st64(cpu->xmm[i->reg].b + 8, v);
    return true;
}

bool op_movhps_store(struct cpu *cpu, const struct insn *i)
{
    return fast_store64(cpu, i, ld64(cpu->xmm[i->reg].b + 8));
}

bool op_movddup(struct cpu *cpu, const struct insn *i)
{
    uint8_t buf[8];
    const uint8_t *src = vec_src(cpu, i, buf, 8);
    uint64_t v;

    if (!src)
        return false;
    v = ld64(src);
    st64(cpu->xmm[i->reg].b, v);
    st64(cpu->xmm[i->reg].b + 8, v);
    return true;
}

static inline bool mov_dup(struct cpu *cpu, const struct insn *i, unsigned odd)
{
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, 16);
    uint64_t low, high;

    if (!src)
        return false;
    low = ld32(src + 4 * odd);
    high = ld32(src + 8 + 4 * odd);
    st64(dst, low | low << 32);
    st64(dst + 8, high | high << 32);
    return true;
}

bool op_movsldup(struct cpu *cpu, const struct insn *i)
{
    return mov_dup(cpu, i, 0);
}

bool op_movshdup(struct cpu *cpu, const struct insn *i)
{
    return mov_dup(cpu, i, 1);
}

/* ---- MMX ------------------------------------------------------------------------------------- */

/* MOVQ Pq,Qq */
bool op_movq_p_q(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if (!mmx_src(cpu, i, 8, &v))
        return false;
    mmx_begin(cpu);
    mmx_set(cpu, i->reg, v);
    return true;
}

/* MOVQ Qq,Pq and MOVNTQ */
bool op_movq_q_p(struct cpu *cpu, const struct insn *i)
{
    uint64_t v = mmx_get(cpu, i->reg);

    cpu->fpu.top = 0; /* even if the store faults: so do processors */
    if (insn_is_mem(i) && !fast_store64(cpu, i, v))
        return false;
    mmx_begin(cpu);
    if (!insn_is_mem(i))
        mmx_set(cpu, i->rm, v);
    return true;
}

bool op_movq2dq(struct cpu *cpu, const struct insn *i)
{
    mmx_begin(cpu);
    vec_set_low(&cpu->xmm[i->reg], mmx_get(cpu, i->rm));
    return true;
}

bool op_movdq2q(struct cpu *cpu, const struct insn *i)
{
    mmx_begin(cpu);
    mmx_set(cpu, i->reg, ld64(cpu->xmm[i->rm].b));
    return true;
}

bool op_emms(struct cpu *cpu, const struct insn *i)
{
    cpu->fpu.top = 0; /* as after any MMX instruction: processors do, the manual is silent */
    cpu->fpu.tags = 0;
    return true;
}

/* ---- between general and vector registers ---------------------------------------------------- */

/* Stores the low size bytes of v to memory, or a zero-extended register. */
static inline bool gpr_dst(struct cpu *cpu, const struct insn *i, unsigned size, uint64_t v)
{
    if (insn_is_mem(i))
        return fast_store(cpu, i->seg, insn_ea(cpu, i), size, v);
    cpu->r[i->rm] = v;
    return true;
}

static inline uint64_t y_truncate(uint64_t v, unsigned size)
{
    return size == 8 ? v : (uint32_t)v;
}

bool op_movd_v_e(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);
    uint64_t v;

    if (!gpr_src(cpu, i, size, &v))
        return false;
    vec_set_low(&cpu->xmm[i->reg], y_truncate(v, size));
    return true;
}

bool op_movd_e_v(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);

    return gpr_dst(cpu, i, size, y_truncate(ld64(cpu->xmm[i->reg].b), size));
}

bool op_movd_p_e(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);
    uint64_t v;

    if (!gpr_src(cpu, i, size, &v))
        return false;
    mmx_begin(cpu);
    mmx_set(cpu, i->reg, y_truncate(v, size));
    return true;
}

bool op_movd_e_p(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);

    cpu->fpu.top = 0; /* even if the store faults */
    if (!gpr_dst(cpu, i, size, y_truncate(mmx_get(cpu, i->reg), size)))
        return false;
    mmx_begin(cpu);
    return true;
}

bool op_movnti(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);

    return fast_store(cpu, i->seg, insn_ea(cpu, i), size, y_truncate(cpu->r[i->reg], size));
}

bool op_pinsrb(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if (!gpr_src(cpu, i, 1, &v))
        return false;
    cpu->xmm[i->reg].b[i->imm & 15] = (uint8_t)v;
    return true;
}

bool op_pinsrw(struct cpu *cpu, const struct insn *i)
{
    uint64_t v;

    if (!gpr_src(cpu, i, 2, &v))
        return false;
    st16(cpu->xmm[i->reg].b + 2 * (i->imm & 7), (uint16_t)v);
    return true;
}

bool op_pinsrw_mmx(struct cpu *cpu, const struct insn *i)
{
    unsigned at = 16 * (i->imm & 3);
    uint64_t v;

    if (!gpr_src(cpu, i, 2, &v))
        return false;
    mmx_begin(cpu);
    mmx_set(cpu, i->reg, bits_set(mmx_get(cpu, i->reg), at, 16, v & 0xffff));
    return true;
}

/* PINSRD and PINSRQ */
bool op_pinsrd(struct cpu *cpu, const struct insn *i)
{
    unsigned size = insn_y_size(cpu, i);
    uint64_t v;

    if (!gpr_src(cpu, i, size, &v))
        return false;
    if (size == 8)
        st64(cpu->xmm[i->reg].b + 8 * (i->imm & 1), v);
    else
        st32(cpu->xmm[i->reg].b + 4 * (i->imm & 3), (uint32_t)v);
    return true;
}

bool op_pextrb(struct cpu *cpu, const struct insn *i)
{
    return gpr_dst(cpu, i, 1, cpu->xmm[i->reg].b[i->imm & 15]);
}

bool op_pextrw(struct cpu *cpu, const struct insn *i)
{
    return gpr_dst(cpu, i, 2, ld16(cpu->xmm[i->reg].b + 2 * (i->imm & 7)));
}

/* PEXTRD, PEXTRQ */
bool op_pextrd(struct cpu *cpu, const struct insn *i)
{
    if (insn_y_size(cpu, i) == 8)
        return gpr_dst(cpu, i, 8, ld64(cpu->xmm[i->reg].b + 8 * (i->imm & 1)));
    return gpr_dst(cpu, i, 4, ld32(cpu->xmm[i->reg].b + 4 * (i->imm & 3)));
}

bool op_extractps(struct cpu *cpu, const struct insn *i)
{
    return gpr_dst(cpu, i, 4, ld32(cpu->xmm[i->reg].b + 4 * (i->imm & 3)));
}

/* PEXTRW Gd,Udq (0F C5): the general register is in reg, unlike in 0F 3A 15 */
bool op_pextrw_g(struct cpu *cpu, const struct insn *i)
{
    cpu->r[i->reg] = ld16(cpu->xmm[i->rm].b + 2 * (i->imm & 7));
    return true;
}

bool op_pextrw_g_mmx(struct cpu *cpu, const struct insn *i)
{
    mmx_begin(cpu);
    cpu->r[i->reg] = bits_get(mmx_get(cpu, i->rm), 16 * (i->imm & 3), 16);
    return true;
}

/* Bits 7-6 choose the source element (of a register), 5-4 the destination, 3-0 zero elements. */
bool op_insertps(struct cpu *cpu, const struct insn *i)
{
    uint8_t *dst = cpu->xmm[i->reg].b;
    unsigned k;
    uint32_t v;

    if (!insn_is_mem(i))
        v = ld32(cpu->xmm[i->rm].b + 4 * (i->imm >> 6 & 3));
    else if (!fast_load32(cpu, i, &v))
        return false;
    st32(dst + 4 * (i->imm >> 4 & 3), v);
    for (k = 0; k < 4; k++)
        if (i->imm >> k & 1)
            st32(dst + 4 * k, 0);
    return true;
}

/* ---- sign masks ------------------------------------------------------------------------------ */

/* The top bit of each of eight bytes, the first byte's lowest. */
static inline unsigned byte_signs(uint64_t v)
{
    return (unsigned)(((v >> 7 & 0x0101010101010101ull) * 0x0102040810204080ull) >> 56);
}

bool op_pmovmskb(struct cpu *cpu, const struct insn *i)
{
    const uint8_t *src = cpu->xmm[i->rm].b;

    cpu->r[i->reg] = byte_signs(ld64(src)) | byte_signs(ld64(src + 8)) << 8;
    return true;
}

bool op_pmovmskb_mmx(struct cpu *cpu, const struct insn *i)
{
    mmx_begin(cpu);
    cpu->r[i->reg] = byte_signs(mmx_get(cpu, i->rm));
    return true;
}

bool op_movmskps(struct cpu *cpu, const struct insn *i)
{
    const uint8_t *src = cpu->xmm[i->rm].b;

    cpu->r[i->reg] = (unsigned)(src[3] >> 7 | src[7] >> 7 << 1 | src[11] >> 7 << 2 |
                                src[15] >> 7 << 3);
    return true;
}

bool op_movmskpd(struct cpu *cpu, const struct insn *i)
{
    const uint8_t *src = cpu->xmm[i->rm].b;

    cpu->r[i->reg] = (unsigned)(src[7] >> 7 | src[15] >> 7 << 1);
    return true;
}

/* ---- widening moves -------------------------------------------------------------------------- */

#define OP_WIDEN(x, from, to, n)                                                                   \
    bool op_##x(struct cpu *cpu, const struct insn *i)                                             \
    {                                                                                              \
        uint8_t buf[16];                                                                           \
        unsigned bytes = (n) * sizeof(((union lane *)0)->from[0]);                                 \
        const uint8_t *src = vec_src(cpu, i, buf, bytes);                                          \
        union lane s, d;                                                                           \
        if (!src)                                                                                  \
            return false;                                                                          \
        lane_get(&s, src, bytes, sizeof(s.from[0]));                                               \
        for (unsigned k = 0; k < (n); k++)                                                         \
            d.to[k] = s.from[k];                                                                   \
        lane_put(cpu->xmm[i->reg].b, &d, 16, sizeof(d.to[0]));                                     \
        return true;                                                                               \
    }
OP_WIDEN(pmovsxbw, sb, sw, 8)
OP_WIDEN(pmovsxbd, sb, sd, 4)
OP_WIDEN(pmovsxbq, sb, sq, 2)
OP_WIDEN(pmovsxwd, sw, sd, 4)
OP_WIDEN(pmovsxwq, sw, sq, 2)
OP_WIDEN(pmovsxdq, sd, sq, 2)
OP_WIDEN(pmovzxbw, b, w, 8)
OP_WIDEN(pmovzxbd, b, d, 4)
OP_WIDEN(pmovzxbq, b, q, 2)
OP_WIDEN(pmovzxwd, w, d, 4)
OP_WIDEN(pmovzxwq, w, q, 2)
OP_WIDEN(pmovzxdq, d, q, 2)

/* ---- masked stores --------------------------------------------------------------------------- */

/* Stores at seg:rDI the bytes of v whose mask byte has its top bit set; all of them or, on a fault,
 * none. Bytes that are not stored are not touched at all, as they may be MMIO. */
static bool masked_store(struct cpu *cpu, const struct insn *i, const uint8_t *v,
                         const uint8_t *mask, unsigned n)
{
    uint64_t ea = cpu->r[REG_DI] << i->ea_shift >> i->ea_shift;
    unsigned k, first = n, last = 0;

    for (k = 0; k < n; k++) {
        if (mask[k] & 0x80) {
            first = MIN(first, k);
            last = k;
        }
    }
    if ((cpu->mode & MODE_AC) && ((ea + cpu->seg_base[i->seg]) & 7))
        return cpu_raise_code(cpu, EXC_AC, 0);
    if (first == n)
        return true;
    if (!mem_probe_write(cpu, i->seg, ea + first, 1) || !mem_probe_write(cpu, i->seg, ea + last, 1))
        return false;
    for (k = first; k <= last; k++)
        if (mask[k] & 0x80 && !mem_write(cpu, i->seg, ea + k, 1, v[k]))
            return false;
    return true;
}

bool op_maskmovdqu(struct cpu *cpu, const struct insn *i)
{
    return masked_store(cpu, i, cpu->xmm[i->reg].b, cpu->xmm[i->rm].b, 16);
}

bool op_maskmovq(struct cpu *cpu, const struct insn *i)
{
    uint8_t v[8], mask[8];

    st64(v, mmx_get(cpu, i->reg));
    st64(mask, mmx_get(cpu, i->rm));
    mmx_begin(cpu); /* even if the store faults */
    return masked_store(cpu, i, v, mask, 8);
}
