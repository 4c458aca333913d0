/* VEX-encoded instructions that move: whole vectors, broadcasts, permutations across lanes, inserts
 * and extracts of lanes, sign masks, and moves of masked elements. Gathers are in cpu/avx_gather.c.
 */
#include "cpu/avx.h"

/* ---- whole vectors --------------------------------------------------------------------------- */

/* VMOVAPS, VMOVUPS, VMOVAPD, VMOVUPD, VMOVDQA, VMOVDQU, VLDDQU, VMOVNTDQA */
bool op_vmov_x_w(struct cpu *cpu, const struct insn *i)
{
    union vec buf;
    const uint8_t *src = avx_src(cpu, i, &buf);

    if (!src)
        return false;
    avx_put(cpu, i->reg, src, i->size);
    return true;
}

/* The stores of the same, VMOVNTPS, VMOVNTPD, VMOVNTDQ */
bool op_vmov_w_x(struct cpu *cpu, const struct insn *i)
{
    const uint8_t *src = cpu->xmm[i->reg].b;

    if (insn_is_mem(i))
        return i->size == 32 ? vec_store(cpu, i, src, 32) : vec_store(cpu, i, src, 16);
    avx_put(cpu, i->rm, src, i->size);
    return true;
}

/* VMOVSS and VMOVSD between registers, the encodings whose destination is rm. */
static bool merge_to_rm(struct cpu *cpu, const struct insn *i, unsigned size)
{
    union vec r = cpu->xmm[i->vvvv];

    memcpy(r.b, cpu->xmm[i->reg].b, size);
    avx_put(cpu, i->rm, r.b, 16);
    return true;
}

bool op_vmovss_rm(struct cpu *cpu, const struct insn *i)
{
    return merge_to_rm(cpu, i, 4);
}

bool op_vmovsd_rm(struct cpu *cpu, const struct insn *i)
{
    return merge_to_rm(cpu, i, 8);
}

/* VMOVQ Wq,Vq */
bool op_vmovq_store(struct cpu *cpu, const struct insn *i)
{
    uint64_t v = ld64(cpu->xmm[i->reg].b);

    if (insn_is_mem(i))
        return fast_store64(cpu, i, v);
    st64(cpu->xmm[i->rm].b, v);
    avx_clear_above(cpu, i->rm, 8);
    return true;
}

/* VZEROUPPER and, with VEX.L, VZEROALL: the registers that the mode can name. */
bool op_vzero(struct cpu *cpu, const struct insn *i)
{
    unsigned count = cpu_code64(cpu) ? 16 : 8;

    for (unsigned n = 0; n < count; n++)
        avx_clear_above(cpu, n, i->size == 32 ? 0 : 16);
    return true;
}

/* ---- broadcasts ------------------------------------------------------------------------------ */

static inline bool broadcast(struct cpu *cpu, const struct insn *i, unsigned element)
{
    uint8_t buf[16], *dst = cpu->xmm[i->reg].b;
    const uint8_t *src = vec_src(cpu, i, buf, element);

    if (!src)
        return false;
    memmove(buf, src, element);
    for (unsigned at = 0; at < i->size; at += element)
        memcpy(dst + at, buf, element);
    avx_clear_above(cpu, i->reg, i->size);
    return true;
}

#define OP_BROADCAST(name, element)                                                                \
    bool op_vbroadcast_##name(struct cpu *cpu, const struct insn *i)                               \
    {                                                                                              \
        return broadcast(cpu, i, element);                                                         \
    }
OP_BROADCAST(b, 1)
OP_BROADCAST(w, 2)
OP_BROADCAST(d, 4)
OP_BROADCAST(q, 8)
OP_BROADCAST(dq, 16)

/* ---- across lanes ---------------------------------------------------------------------------- */

/* VPERM2F128, VPERM2I128: each half of the immediate chooses one of four lanes, or zero. */
bool op_vperm2(struct cpu *cpu, const struct insn *i)
{
    union vec buf, r, first = cpu->xmm[i->vvvv];
    const uint8_t *src = avx_src(cpu, i, &buf);

    if (!src)
        return false;
    for (unsigned k = 0; k < 2; k++) {
        unsigned by = (unsigned)i->imm >> (4 * k);
        if (by & 8)
            memset(r.b + 16 * k, 0, 16);
        else
            memcpy(r.b + 16 * k, (by & 2 ? src : first.b) + (by & 1 ? 16 : 0), 16);
    }
    avx_put(cpu, i->reg, r.b, 32);
    return true;
}

/* VPERMQ, VPERMPD */
bool op_vpermq(struct cpu *cpu, const struct insn *i)
{
    union vec buf, r;
    const uint8_t *src = avx_src(cpu, i, &buf);

    if (!src)
        return false;
    for (unsigned k = 0; k < 4; k++)
        memcpy(r.b + 8 * k, src + 8 * (i->imm >> (2 * k) & 3), 8);
    avx_put(cpu, i->reg, r.b, 32);
    return true;
}

/* VPERMD, VPERMPS: vvvv chooses the elements. */
bool op_vpermd(struct cpu *cpu, const struct insn *i)
{
    union vec buf, r, by = cpu->xmm[i->vvvv];
    const uint8_t *src = avx_src(cpu, i, &buf);

    if (!src)
        return false;
    for (unsigned k = 0; k < 8; k++)
        memcpy(r.b + 4 * k, src + 4 * (by.b[4 * k] & 7), 4);
    avx_put(cpu, i->reg, r.b, 32);
    return true;
}

bool op_vinsert128(struct cpu *cpu, const struct insn *i)
{
    uint8_t buf[16];
    const uint8_t *src = vec_src(cpu, i, buf, 16);
    union vec r = cpu->xmm[i->vvvv];

    if (!src)
        return false;
    memcpy(r.b + (i->imm & 1 ? 16 : 0), src, 16);
    avx_put(cpu, i->reg, r.b, 32);
    return true;
}

bool op_vextract128(struct cpu *cpu, const struct insn *i)
{
    const uint8_t *src = cpu->xmm[i->reg].b + (i->imm & 1 ? 16 : 0);

    if (insn_is_mem(i))
        return vec_store(cpu, i, src, 16);
    avx_put(cpu, i->rm, src, 16);
    return true;
}

/* ---- sign masks ------------------------------------------------------------------------------ */

static inline bool sign_mask(struct cpu *cpu, const struct insn *i, unsigned element)
{
    const uint8_t *src = cpu->xmm[i->rm].b;
    uint32_t mask = 0;

    for (unsigned k = 0; k < i->size / element; k++)
        mask |= (uint32_t)(src[element * k + element - 1] >> 7) << k;
    cpu->r[i->reg] = mask;
    return true;
}

bool op_vmovmskps(struct cpu *cpu, const struct insn *i)
{
    return sign_mask(cpu, i, 4);
}

bool op_vmovmskpd(struct cpu *cpu, const struct insn *i)
{
    return sign_mask(cpu, i, 8);
}

bool op_vpmovmskb(struct cpu *cpu, const struct insn *i)
{
    return sign_mask(cpu, i, 1);
}

/* ---- masked elements ------------------------------------------------------------------------- */

/* Elements whose mask sign is clear are not touched in memory at all, and cannot fault. */
static inline bool mask_load(struct cpu *cpu, const struct insn *i, unsigned element)
{
    uint64_t ea = insn_ea(cpu, i), v;
    const uint8_t *mask = cpu->xmm[i->vvvv].b;
    union vec r = {{0}};

    for (unsigned at = 0; at < i->size; at += element) {
        if (!(mask[at + element - 1] >> 7))
            continue;
        if (!fast_load_any(cpu, i->seg, (ea + at) << i->ea_shift >> i->ea_shift, element, &v))
            return false;
        st_sized(r.b + at, v, element);
    }
    avx_put(cpu, i->reg, r.b, i->size);
    return true;
}

/* All that is to be stored, or nothing. */
static inline bool mask_store(struct cpu *cpu, const struct insn *i, unsigned element)
{
    uint64_t ea = insn_ea(cpu, i);
    const uint8_t *mask = cpu->xmm[i->vvvv].b, *src = cpu->xmm[i->reg].b;

    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned at = 0; at < i->size; at += element) {
            uint64_t to = (ea + at) << i->ea_shift >> i->ea_shift;
            if (!(mask[at + element - 1] >> 7))
                continue;
            /* bytes: alignment is not checked */
            if (pass == 0 ? !mem_probe_write(cpu, i->seg, to, 1) ||
                                !mem_probe_write(cpu, i->seg, to + element - 1, 1)
                          : !mem_write_bytes(cpu, i->seg, to, src + at, element))
                return false;
        }
    }
    return true;
}

bool op_vmaskmov_load_d(struct cpu *cpu, const struct insn *i)
{
    return mask_load(cpu, i, 4);
}

bool op_vmaskmov_load_q(struct cpu *cpu, const struct insn *i)
{
    return mask_load(cpu, i, 8);
}

bool op_vmaskmov_store_d(struct cpu *cpu, const struct insn *i)
{
    return mask_store(cpu, i, 4);
}

bool op_vmaskmov_store_q(struct cpu *cpu, const struct insn *i)
{
    return mask_store(cpu, i, 8);
}
