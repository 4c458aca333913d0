/* FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XSAVEC, XSAVES, XRSTOR, XRSTORS: x87, SSE and AVX state to memory and
 * back (SDM vol. 1, 10.5 and chapter 13).
 *
 *        0  FCW FSW FTW FOP FIP FDP      x87   | MXCSR and its mask at 24
 *       32  ST(0) to ST(7), 16 bytes each x87  |
 *      160  XMM0 to XMM15                SSE   | legacy region
 *      416  not touched                        |
 *      512  XSTATE_BV, XCOMP_BV, 0             header
 *      576  the other components, at fixed offsets, or packed in the compacted form
 *
 * Components from 2 up stand in one table. An image is checked as a whole before any register
 * changes, and stores are probed as a whole before any byte is written. XSAVEOPT does not track
 * modifications: it leaves out only what is in its initial state, as the manual permits. There are no
 * supervisor components: IA32_XSS holds nothing but 0, and XSAVES is XSAVEC for the kernel.
 */
#include "cpu/xsave.h"

#include "cpu/fastmem.h"
#include "cpu/simd.h"

enum {
    FX_MXCSR = 24, FX_ST = 32, FX_XMM = 160, FX_SIZE = 512,
    XS_HEADER = 512, XS_HEADER_SIZE = 64, XS_EXTENDED = 576, XS_MAX = 1024,
};
#define MXCSR_MASK    0xffffu
#define MXCSR_DEFAULT 0x1f80u
#define FCW_DEFAULT   0x37f
#define XCOMP_COMPACT (1ull << 63)

/* ---- x87 ------------------------------------------------------------------------------------- */

static void save_x87(const struct cpu *cpu, uint8_t *area, bool wide)
{
    const struct fpu *f = &cpu->fpu;
    unsigned k;

    st16(area, f->cw);
    st16(area + 2, (uint16_t)(f->sw | f->top << 11));
    st16(area + 4, f->tags);
    st16(area + 6, f->fop);
    st64(area + 8, wide ? f->fip : (uint32_t)f->fip | (uint64_t)f->fcs << 32);
    st64(area + 16, wide ? f->fdp : (uint32_t)f->fdp | (uint64_t)f->fds << 32);
    for (k = 0; k < 8; k++) {
        const struct fpreg *st = &f->st[(f->top + k) & 7];
        st64(area + FX_ST + 16 * k, st->mant);
        st64(area + FX_ST + 16 * k + 8, st->se);
    }
}

static void restore_x87(struct cpu *cpu, const uint8_t *area, bool wide)
{
    struct fpu *f = &cpu->fpu;
    uint16_t sw = ld16(area + 2);
    unsigned k;

    f->cw = (uint16_t)((ld16(area) & 0x1f3f) | 0x40); /* bit 6 reads as 1, reserved bits as 0 */
    f->top = sw >> 11 & 7;
    /* ES and B follow from the exceptions and their masks. */
    f->sw = sw & 0x477f;
    if (f->sw & ~f->cw & 0x3f)
        f->sw |= 0x8080;
    f->tags = area[4];
    f->fop = ld16(area + 6) & 0x7ff;
    f->fip = wide ? ld64(area + 8) : ld32(area + 8);
    f->fdp = wide ? ld64(area + 16) : ld32(area + 16);
    f->fcs = wide ? 0 : ld16(area + 12);
    f->fds = wide ? 0 : ld16(area + 20);
    for (k = 0; k < 8; k++) {
        struct fpreg *st = &f->st[(f->top + k) & 7];
        st->mant = ld64(area + FX_ST + 16 * k);
        st->se = ld16(area + FX_ST + 16 * k + 8);
    }
}

static void init_x87(struct cpu *cpu)
{
    uint32_t mxcsr = cpu->fpu.mxcsr;

    memset(&cpu->fpu, 0, sizeof(cpu->fpu));
    cpu->fpu.cw = FCW_DEFAULT;
    cpu->fpu.mxcsr = mxcsr;
}

static bool x87_in_use(const struct cpu *cpu)
{
    const struct fpu *f = &cpu->fpu;
    uint64_t any = (f->cw ^ FCW_DEFAULT) | f->sw | f->top | f->tags | f->fop | f->fcs | f->fds |
                   f->fip | f->fdp;

    for (unsigned k = 0; k < 8; k++)
        any |= f->st[k].mant | f->st[k].se;
    return any;
}

/* ---- SSE ------------------------------------------------------------------------------------- */

/* XMM8 to XMM15 can be reached in 64-bit code only. */
static unsigned vector_count(const struct cpu *cpu)
{
    return cpu_code64(cpu) ? 16 : 8;
}

static void save_mxcsr(const struct cpu *cpu, uint8_t *area)
{
    st32(area + FX_MXCSR, cpu->fpu.mxcsr);
    st32(area + FX_MXCSR + 4, MXCSR_MASK);
}

static void save_xmm(const struct cpu *cpu, uint8_t *area)
{
    for (unsigned k = 0; k < vector_count(cpu); k++)
        memcpy(area + FX_XMM + 16 * k, cpu->xmm[k].b, 16);
}

static void restore_xmm(struct cpu *cpu, const uint8_t *area)
{
    for (unsigned k = 0; k < vector_count(cpu); k++)
        memcpy(cpu->xmm[k].b, area + FX_XMM + 16 * k, 16);
}

static void init_xmm(struct cpu *cpu)
{
    for (unsigned k = 0; k < vector_count(cpu); k++)
        memset(cpu->xmm[k].b, 0, 16);
}

/* Bytes of each register; outside 64-bit code the upper eight do not count (SDM vol. 1, 13.6). */
static bool any_set(const struct cpu *cpu, unsigned from, unsigned to)
{
    uint64_t any = 0;

    for (unsigned k = 0; k < vector_count(cpu); k++)
        for (unsigned b = from; b < to; b += 8)
            any |= ld64(cpu->xmm[k].b + b);
    return any;
}

static bool xmm_in_use(const struct cpu *cpu)
{
    return any_set(cpu, 0, 16);
}

/* ---- the components from 2 up ---------------------------------------------------------------- */

static void save_avx(const struct cpu *cpu, uint8_t *p)
{
    for (unsigned k = 0; k < vector_count(cpu); k++)
        memcpy(p + 16 * k, cpu->xmm[k].b + 16, 16);
}

static void restore_avx(struct cpu *cpu, const uint8_t *p)
{
    for (unsigned k = 0; k < vector_count(cpu); k++)
        memcpy(cpu->xmm[k].b + 16, p + 16 * k, 16);
}

static void init_avx(struct cpu *cpu)
{
    for (unsigned k = 0; k < vector_count(cpu); k++)
        memset(cpu->xmm[k].b + 16, 0, 16);
}

static bool avx_in_use(const struct cpu *cpu)
{
    return any_set(cpu, 16, 32);
}

static unsigned avx_length(const struct cpu *cpu)
{
    return 16 * vector_count(cpu);
}

static void save_pkru(const struct cpu *cpu, uint8_t *p)
{
    st64(p, cpu->pkru);
}

static void set_pkru(struct cpu *cpu, uint32_t v)
{
    cpu->pkru = v;
    mmu_set_pkru(&cpu->mmu, v);
}

static void restore_pkru(struct cpu *cpu, const uint8_t *p)
{
    set_pkru(cpu, ld32(p));
}

static void init_pkru(struct cpu *cpu)
{
    set_pkru(cpu, 0);
}

static bool pkru_in_use(const struct cpu *cpu)
{
    return cpu->pkru != 0;
}

static unsigned pkru_length(const struct cpu *cpu)
{
    return 8;
}

/* In the order of their bits, so that a compacted area is laid out in one pass. */
static const struct component {
    unsigned bit, size, offset;
    bool aligned; /* to 64 bytes in the compacted form */
    void (*save)(const struct cpu *cpu, uint8_t *p);
    void (*restore)(struct cpu *cpu, const uint8_t *p);
    void (*init)(struct cpu *cpu);
    bool (*in_use)(const struct cpu *cpu);
    unsigned (*length)(const struct cpu *cpu); /* bytes that the current mode stores */
} components[] = {
    {2, 256, 576, false, save_avx, restore_avx, init_avx, avx_in_use, avx_length},
    {9, 8, 832, false, save_pkru, restore_pkru, init_pkru, pkru_in_use, pkru_length},
};

/* Where component c lies in an area whose compacted form holds mask (0: standard form). */
static unsigned component_offset(const struct component *c, uint64_t mask)
{
    unsigned at = XS_EXTENDED;

    if (!mask)
        return c->offset;
    for (const struct component *k = components; k < c; k++)
        if (mask >> k->bit & 1)
            at = (unsigned)(k->aligned ? align_up(at, 64) : at) + k->size;
    return (unsigned)(c->aligned ? align_up(at, 64) : at);
}

unsigned xsave_area_size(uint64_t mask, bool compacted)
{
    unsigned end = XS_EXTENDED;

    for (unsigned k = 0; k < ARRAY_LEN(components); k++) {
        const struct component *c = &components[k];
        if (mask >> c->bit & 1)
            end = MAX(end, component_offset(c, compacted ? mask : 0) + c->size);
    }
    return end;
}

bool xsave_component(unsigned n, unsigned *size, unsigned *offset, bool *aligned)
{
    for (unsigned k = 0; k < ARRAY_LEN(components); k++) {
        if (components[k].bit == n) {
            *size = components[k].size;
            *offset = components[k].offset;
            *aligned = components[k].aligned;
            return true;
        }
    }
    return false;
}

uint64_t xsave_supported(const struct cpu *cpu)
{
    if (!feature_has(&cpu->features, F_XSAVE))
        return 0;
    return XCR0_X87 | (feature_has(&cpu->features, F_SSE) ? XCR0_SSE : 0u) |
           (feature_has(&cpu->features, F_AVX) ? XCR0_AVX : 0u) |
           (feature_has(&cpu->features, F_PKU) ? XCR0_PKRU : 0u);
}

bool xsave_xcr0_valid(const struct cpu *cpu, uint64_t v)
{
    if (!(v & XCR0_X87) || (v & ~xsave_supported(cpu)))
        return false;
    return !(v & XCR0_AVX) || (v & XCR0_SSE);
}

/* ---- FXSAVE, FXRSTOR ------------------------------------------------------------------------- */

/* Checks segment and alignment of the area before any byte of it is looked at. */
static bool area_aligned(struct cpu *cpu, const struct insn *i, unsigned size, unsigned align,
                         bool write)
{
    uint64_t lin;

    if (!mem_linear(cpu, i->seg, insn_ea(cpu, i), size, write, &lin))
        return false;
    return lin & (align - 1) ? cpu_gp0(cpu) : true;
}

/* XMM registers are part of the image if the OS says so, except in AMD's fast mode. */
static bool fx_has_xmm(const struct cpu *cpu)
{
    if (!feature_has(&cpu->features, F_SSE) || !(cpu->cr4 & CR4_OSFXSR))
        return false;
    return !((cpu->efer & EFER_FFXSR) && cpu->cpl == 0 && cpu_code64(cpu));
}

static bool wide_pointers(const struct cpu *cpu, const struct insn *i)
{
    return insn_y_size(cpu, i) == 8;
}

bool op_fxsave(struct cpu *cpu, const struct insn *i)
{
    uint64_t ea = insn_ea(cpu, i);
    uint8_t area[FX_SIZE] = {0};
    unsigned len = FX_XMM;

    if (!area_aligned(cpu, i, FX_SIZE, 16, true) ||
        !mem_probe_write(cpu, i->seg, ea, FX_SIZE))
        return false;
    save_x87(cpu, area, wide_pointers(cpu, i));
    if (feature_has(&cpu->features, F_SSE))
        save_mxcsr(cpu, area);
    if (fx_has_xmm(cpu)) {
        save_xmm(cpu, area);
        len += 16 * vector_count(cpu);
    }
    return mem_write_bytes(cpu, i->seg, ea, area, len);
}

bool op_fxrstor(struct cpu *cpu, const struct insn *i)
{
    uint8_t area[FX_SIZE];

    if (!area_aligned(cpu, i, FX_SIZE, 16, false) ||
        !mem_read_bytes(cpu, i->seg, insn_ea(cpu, i), area, FX_SIZE))
        return false;
    if (feature_has(&cpu->features, F_SSE)) {
        uint32_t mxcsr = ld32(area + FX_MXCSR);
        if (mxcsr & ~MXCSR_MASK)
            return cpu_gp0(cpu);
        cpu->fpu.mxcsr = mxcsr;
    }
    restore_x87(cpu, area, wide_pointers(cpu, i));
    if (fx_has_xmm(cpu))
        restore_xmm(cpu, area);
    return true;
}

/* ---- XSAVE ----------------------------------------------------------------------------------- */

static bool xsave_allowed(struct cpu *cpu)
{
    if (!(cpu->cr4 & CR4_OSXSAVE))
        return cpu_ud(cpu);
    return cpu->cr0 & CR0_TS ? cpu_raise(cpu, EXC_NM) : true;
}

/* RFBM: the components asked for in EDX:EAX that are enabled. */
static uint64_t requested(const struct cpu *cpu)
{
    return ((cpu->r[REG_DX] << 32) | (uint32_t)cpu->r[REG_AX]) & cpu->xcr0;
}

static uint64_t components_in_use(const struct cpu *cpu)
{
    uint64_t used = (x87_in_use(cpu) ? XCR0_X87 : 0u) | (xmm_in_use(cpu) ? XCR0_SSE : 0u);

    for (unsigned k = 0; k < ARRAY_LEN(components); k++)
        if (components[k].in_use(cpu))
            used |= 1ull << components[k].bit;
    return used;
}

static bool write_part(struct cpu *cpu, const struct insn *i, const uint8_t *area, unsigned from,
                       unsigned to)
{
    return mem_write_bytes(cpu, i->seg, insn_ea(cpu, i) + from, area + from, to - from);
}

/* Writes the components in mask; compact is XCOMP_BV's mask, 0 for the standard form. */
static bool write_components(struct cpu *cpu, const struct insn *i, uint64_t mask,
                             uint64_t compact, bool mxcsr)
{
    uint8_t area[XS_MAX] = {0};

    save_x87(cpu, area, wide_pointers(cpu, i));
    save_mxcsr(cpu, area);
    save_xmm(cpu, area);
    if ((mask & XCR0_X87) && (!write_part(cpu, i, area, 0, FX_MXCSR) ||
                              !write_part(cpu, i, area, FX_ST, FX_XMM)))
        return false;
    if (mxcsr && !write_part(cpu, i, area, FX_MXCSR, FX_ST))
        return false;
    if ((mask & XCR0_SSE) &&
        !write_part(cpu, i, area, FX_XMM, FX_XMM + 16 * vector_count(cpu)))
        return false;
    for (unsigned k = 0; k < ARRAY_LEN(components); k++) {
        const struct component *c = &components[k];
        unsigned at = component_offset(c, compact);
        if (!(mask >> c->bit & 1))
            continue;
        c->save(cpu, area + at);
        if (!write_part(cpu, i, area, at, at + c->length(cpu)))
            return false;
    }
    return true;
}

static bool xsave_standard(struct cpu *cpu, const struct insn *i, bool optimised)
{
    uint64_t rfbm, in_use, present, ea = insn_ea(cpu, i);
    unsigned size;

    if (!xsave_allowed(cpu))
        return false;
    rfbm = requested(cpu);
    size = xsave_area_size(rfbm, false);
    if (!area_aligned(cpu, i, size, 64, true) || !mem_probe_write(cpu, i->seg, ea, size) ||
        !mem_read(cpu, i->seg, ea + XS_HEADER, 8, &present))
        return false;
    in_use = components_in_use(cpu);
    if (!write_components(cpu, i, optimised ? rfbm & in_use : rfbm, 0,
                          rfbm & (XCR0_SSE | XCR0_AVX)))
        return false;
    return mem_write(cpu, i->seg, ea + XS_HEADER, 8, (present & ~rfbm) | (rfbm & in_use));
}

bool op_xsave(struct cpu *cpu, const struct insn *i)
{
    return xsave_standard(cpu, i, false);
}

bool op_xsaveopt(struct cpu *cpu, const struct insn *i)
{
    return xsave_standard(cpu, i, true);
}

static bool xsave_compacted(struct cpu *cpu, const struct insn *i)
{
    uint64_t rfbm, in_use, ea = insn_ea(cpu, i);
    uint8_t header[16];
    unsigned size;

    rfbm = requested(cpu);
    size = xsave_area_size(rfbm, true);
    if (!area_aligned(cpu, i, size, 64, true) || !mem_probe_write(cpu, i->seg, ea, size))
        return false;
    in_use = components_in_use(cpu);
    if (cpu->fpu.mxcsr != MXCSR_DEFAULT)
        in_use |= XCR0_SSE;
    in_use &= rfbm;
    if (!write_components(cpu, i, in_use, rfbm | XCOMP_COMPACT, in_use & XCR0_SSE))
        return false;
    st64(header, in_use);
    st64(header + 8, rfbm | XCOMP_COMPACT);
    return mem_write_bytes(cpu, i->seg, ea + XS_HEADER, header, sizeof(header));
}

bool op_xsavec(struct cpu *cpu, const struct insn *i)
{
    return xsave_allowed(cpu) && xsave_compacted(cpu, i);
}

bool op_xsaves(struct cpu *cpu, const struct insn *i)
{
    if (!xsave_allowed(cpu))
        return false;
    return cpu->cpl ? cpu_gp0(cpu) : xsave_compacted(cpu, i);
}

/* ---- XRSTOR ---------------------------------------------------------------------------------- */

/* The header's rules, SDM vol. 1, 13.8: reserved bits must be 0, and a compacted image lists the
 * components it has room for. */
static bool header_valid(const struct cpu *cpu, const uint8_t *header)
{
    uint64_t present = ld64(header), compact = ld64(header + 8), reserved = 0;
    unsigned from = compact & XCOMP_COMPACT ? 16 : 8;
    unsigned to = compact & XCOMP_COMPACT ? XS_HEADER_SIZE : 24;

    for (unsigned k = from; k < to; k += 8)
        reserved |= ld64(header + k);
    if (reserved || (present & ~cpu->xcr0))
        return false;
    if (!(compact & XCOMP_COMPACT))
        return true;
    compact &= ~XCOMP_COMPACT;
    return (feature_has(&cpu->features, F_XSAVEC) || feature_has(&cpu->features, F_XSAVES)) &&
           !(compact & ~cpu->xcr0) && !(present & ~compact);
}

static bool xrstor(struct cpu *cpu, const struct insn *i, bool compact_only)
{
    uint64_t rfbm, present, compact, ea = insn_ea(cpu, i);
    uint8_t area[XS_MAX], *header = area + XS_HEADER;
    uint32_t mxcsr = MXCSR_DEFAULT;
    bool sets_mxcsr;
    unsigned size;

    rfbm = requested(cpu);
    if (!area_aligned(cpu, i, XS_EXTENDED, 64, false) ||
        !mem_read_bytes(cpu, i->seg, ea, area, XS_EXTENDED))
        return false;
    if (!header_valid(cpu, header))
        return cpu_gp0(cpu);
    present = ld64(header);
    compact = ld64(header + 8);
    if (compact_only && !compact)
        return cpu_gp0(cpu);
    size = xsave_area_size(compact ? compact : rfbm & present, compact);
    if (size > XS_EXTENDED &&
        !mem_read_bytes(cpu, i->seg, ea + XS_EXTENDED, area + XS_EXTENDED, size - XS_EXTENDED))
        return false;
    /* The standard form always loads MXCSR, the compacted form as a part of component 1. */
    sets_mxcsr = compact ? rfbm & XCR0_SSE : rfbm & (XCR0_SSE | XCR0_AVX);
    if (sets_mxcsr && (!compact || (present & XCR0_SSE)))
        mxcsr = ld32(area + FX_MXCSR);
    if (mxcsr & ~MXCSR_MASK)
        return cpu_gp0(cpu);

    if (sets_mxcsr)
        cpu->fpu.mxcsr = mxcsr;
    if (rfbm & present & XCR0_X87)
        restore_x87(cpu, area, wide_pointers(cpu, i));
    else if (rfbm & XCR0_X87)
        init_x87(cpu);
    if (rfbm & present & XCR0_SSE)
        restore_xmm(cpu, area);
    else if (rfbm & XCR0_SSE)
        init_xmm(cpu);
    for (unsigned k = 0; k < ARRAY_LEN(components); k++) {
        const struct component *c = &components[k];
        if (rfbm & present & 1ull << c->bit)
            c->restore(cpu, area + component_offset(c, compact));
        else if (rfbm >> c->bit & 1)
            c->init(cpu);
    }
    return true;
}

bool op_xrstor(struct cpu *cpu, const struct insn *i)
{
    return xsave_allowed(cpu) && xrstor(cpu, i, false);
}

bool op_xrstors(struct cpu *cpu, const struct insn *i)
{
    if (!xsave_allowed(cpu))
        return false;
    return cpu->cpl ? cpu_gp0(cpu) : xrstor(cpu, i, true);
}

/* ---- protection keys ------------------------------------------------------------------------- */

/* RDPKRU and WRPKRU, SDM vol. 2: ECX must be 0, and EDX too for WRPKRU. */
bool op_rdpkru(struct cpu *cpu, const struct insn *i)
{
    if (!(cpu->cr4 & CR4_PKE))
        return cpu_ud(cpu);
    if ((uint32_t)cpu->r[REG_CX])
        return cpu_gp0(cpu);
    cpu->r[REG_AX] = cpu->pkru;
    cpu->r[REG_DX] = 0;
    return true;
}

bool op_wrpkru(struct cpu *cpu, const struct insn *i)
{
    if (!(cpu->cr4 & CR4_PKE))
        return cpu_ud(cpu);
    if ((uint32_t)cpu->r[REG_CX] || (uint32_t)cpu->r[REG_DX])
        return cpu_gp0(cpu);
    set_pkru(cpu, (uint32_t)cpu->r[REG_AX]);
    return true;
}
