/* Segment registers: descriptors, their checks, and loads (SDM vol. 3, chapters 3 and 5).
 *
 * Hidden parts are kept unpacked: base, limit in bytes, and access rights as VMX has them. A null
 * selector leaves a segment "unusable"; in 64-bit code that stops nobody, as the base is what
 * counts there.
 */
#include "cpu/sys.h"

void desc_unpack(struct descriptor *d)
{
    uint64_t raw = d->raw;

    d->ar = (uint32_t)(raw >> 40) & 0xf0ff;
    d->base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000);
    d->limit = (uint32_t)((raw & 0xffff) | (raw >> 32 & 0xf0000));
    if (d->ar & AR_G)
        d->limit = d->limit << 12 | 0xfff;
}

enum desc_status desc_fetch(struct cpu *cpu, uint16_t sel, struct descriptor *d)
{
    uint32_t offset = sel & 0xfff8u;

    if (sel & 4) {
        const struct segreg *ldt = &cpu->seg[SEG_LDT];

        if ((ldt->ar & AR_UNUSABLE) || offset + 7 > ldt->limit)
            return DESC_BEYOND;
        d->addr = ldt->base + offset;
    } else {
        if (offset + 7 > cpu->gdt.limit)
            return DESC_BEYOND;
        d->addr = cpu->gdt.base + offset;
    }
    d->raw_hi = 0;
    if (!sys_read(cpu, d->addr, 8, &d->raw))
        return DESC_FAULT;
    desc_unpack(d);
    return DESC_OK;
}

bool desc_get(struct cpu *cpu, uint16_t sel, struct descriptor *d, enum exception vec,
              uint32_t ext)
{
    enum desc_status st = desc_fetch(cpu, sel, d);

    if (LIKELY(st == DESC_OK))
        return true;
    return st == DESC_BEYOND ? desc_fault(cpu, vec, sel, ext) : false;
}

bool desc_get_upper(struct cpu *cpu, uint16_t sel, struct descriptor *d, enum exception vec,
                    uint32_t ext)
{
    uint32_t limit = sel & 4 ? cpu->seg[SEG_LDT].limit : cpu->gdt.limit;

    if ((sel & 0xfff8u) + 15 > limit)
        return desc_fault(cpu, vec, sel, ext);
    if (!sys_read(cpu, d->addr + 8, 8, &d->raw_hi))
        return false;
    d->base |= d->raw_hi << 32;
    return true;
}

bool desc_set_type(struct cpu *cpu, struct descriptor *d, unsigned type)
{
    uint64_t byte = (d->raw >> 40 & 0xf0) | type;

    if (!sys_write(cpu, d->addr + 5, 1, byte))
        return false;
    d->raw = (d->raw & ~(0xffull << 40)) | byte << 40;
    d->ar = (d->ar & ~0xffu) | (uint32_t)byte;
    return true;
}

bool desc_touch(struct cpu *cpu, struct descriptor *d)
{
    if (LIKELY(d->ar & AR_ACCESSED))
        return true;
    return desc_set_type(cpu, d, (d->ar & AR_TYPE) | AR_ACCESSED);
}

void seg_set(struct cpu *cpu, unsigned seg, uint16_t sel, const struct descriptor *d)
{
    struct segreg *s = &cpu->seg[seg];

    s->sel = sel;
    s->base = d->base;
    s->limit = d->limit;
    s->ar = d->ar;
}

/* Intel's processors clear base and limit when a null selector is loaded. */
void seg_set_null(struct cpu *cpu, unsigned seg, uint16_t sel)
{
    struct segreg *s = &cpu->seg[seg];

    s->sel = sel;
    s->base = 0;
    s->limit = 0;
    s->ar = AR_UNUSABLE | (uint32_t)(sel & 3) << AR_DPL_SHIFT;
}

void seg_set_v86(struct cpu *cpu, unsigned seg, uint16_t sel)
{
    struct segreg *s = &cpu->seg[seg];

    s->sel = sel;
    s->base = (uint32_t)sel << 4;
    s->limit = 0xffff;
    s->ar = AR_P | AR_DPL | AR_S | AR_WRITE | AR_ACCESSED;
}

/* Real mode changes selector and base only: a limit loaded in protected mode stays ("unreal
 * mode"). In virtual-8086 mode all is given. */
void seg_load_real(struct cpu *cpu, unsigned seg, uint16_t sel)
{
    struct segreg *s = &cpu->seg[seg];

    if (cpu->mode & MODE_VM86) {
        seg_set_v86(cpu, seg, sel);
        return;
    }
    s->sel = sel;
    s->base = (uint32_t)sel << 4;
    s->ar &= ~(uint32_t)AR_UNUSABLE;
    if (seg == SEG_CS) /* a far branch makes CS an ordinary real-mode segment again */
        s->ar = AR_P | AR_S | AR_WRITE | AR_ACCESSED;
}

bool seg_check_ss(struct cpu *cpu, uint16_t sel, unsigned cpl, struct descriptor *d,
                  enum exception vec, uint32_t ext)
{
    if (sel_null(sel))
        return cpu_raise_code(cpu, vec, ext);
    if (!desc_get(cpu, sel, d, vec, ext))
        return false;
    if ((sel & 3) != cpl || ar_dpl(d->ar) != cpl || !ar_is_writable(d->ar))
        return desc_fault(cpu, vec, sel, ext);
    if (!(d->ar & AR_P))
        return desc_fault(cpu, EXC_SS, sel, ext);
    return true;
}

bool seg_load(struct cpu *cpu, unsigned seg, uint16_t sel)
{
    struct descriptor d;

    if (cpu_real_or_vm(cpu)) {
        seg_load_real(cpu, seg, sel);
        return true;
    }
    if (seg == SEG_SS) {
        if (sel_null(sel)) {
            if (!cpu_code64(cpu) || cpu->cpl == 3 || (sel & 3) != cpu->cpl)
                return cpu_gp0(cpu);
            seg_set_null(cpu, seg, sel);
            return true;
        }
        if (!seg_check_ss(cpu, sel, cpu->cpl, &d, EXC_GP, 0))
            return false;
    } else {
        if (sel_null(sel)) {
            seg_set_null(cpu, seg, sel);
            return true;
        }
        if (!desc_get(cpu, sel, &d, EXC_GP, 0))
            return false;
        /* data, or readable code */
        if (!(d.ar & AR_S) || (d.ar & (AR_CODE | AR_READ)) == AR_CODE)
            return desc_fault(cpu, EXC_GP, sel, 0);
        if (!ar_is_conforming(d.ar) &&
            ((sel & 3u) > ar_dpl(d.ar) || cpu->cpl > ar_dpl(d.ar)))
            return desc_fault(cpu, EXC_GP, sel, 0);
        if (!(d.ar & AR_P))
            return desc_fault(cpu, EXC_NP, sel, 0);
    }
    if (!desc_touch(cpu, &d))
        return false;
    seg_set(cpu, seg, sel, &d);
    return true;
}

/* SDM vol. 2, RET: the registers become null, and their contents unusable; FS and GS keep their
 * bases, which 64-bit code may have set without a descriptor. */
void seg_drop_inner(struct cpu *cpu)
{
    static const uint8_t data_segs[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    unsigned k;

    for (k = 0; k < ARRAY_LEN(data_segs); k++) {
        struct segreg *s = &cpu->seg[data_segs[k]];

        if ((s->ar & AR_UNUSABLE) || ar_is_conforming(s->ar) || ar_dpl(s->ar) >= cpu->cpl)
            continue;
        s->sel = 0;
        s->ar = AR_UNUSABLE;
    }
}

bool code_target_ok(struct cpu *cpu, const struct descriptor *d, uint64_t ip, uint32_t ext)
{
    if (cpu_long(cpu) && (d->ar & AR_L)) {
        if (LIKELY(lin_canonical(ip)))
            return true;
    } else if (ip <= d->limit) {
        return true;
    }
    return cpu_raise_code(cpu, EXC_GP, ext);
}

void cpu_set_cpl(struct cpu *cpu, unsigned cpl)
{
    cpu->cpl = (uint8_t)cpl;
    cpu->mmu_index = cpl == 3                                           ? MMU_USER
                     : (cpu->cr4 & CR4_SMAP) && !(cpu->eflags & FL_AC) ? MMU_SUPER
                                                                        : MMU_SUPER_AC;
}
