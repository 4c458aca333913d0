/* The local APIC. See lapic.h. Sections are of the Intel SDM vol. 3, chapter 11 (2022 numbering).
 *
 * Invariants: intr_out is what set_intr was last told and equals lapic_intr_pending after every
 * function of this file; the timer event is scheduled exactly when timer_running (one-shot), when
 * running unmasked (periodic), or when tsc_deadline is not 0 (deadline mode).
 *
 * Known inaccuracies: no CMCI entry, no EOI-broadcast suppression, no focus processor; thermal and
 * performance entries are storage; a periodic timer ticks at most every 10 us, so that a guest
 * cannot stop the machine with it; remote-read is not supported; writes of 0 to the spurious
 * vector's low bits are kept.
 */
#include "devices/lapic.h"

enum {
    REG_ID = 0x02,
    REG_VERSION = 0x03,
    REG_TPR = 0x08,
    REG_APR = 0x09,
    REG_PPR = 0x0a,
    REG_EOI = 0x0b,
    REG_RRD = 0x0c,
    REG_LDR = 0x0d,
    REG_DFR = 0x0e,
    REG_SVR = 0x0f,
    REG_ISR = 0x10,
    REG_TMR = 0x18,
    REG_IRR = 0x20,
    REG_ESR = 0x28,
    REG_ICR_LOW = 0x30,
    REG_ICR_HIGH = 0x31,
    REG_LVT = 0x32,
    REG_TIMER_INITIAL = 0x38,
    REG_TIMER_CURRENT = 0x39,
    REG_TIMER_DIVIDE = 0x3e,
    REG_SELF_IPI = 0x3f,
};

#define VERSION (0x14u | (LVT_COUNT - 1) << 16)
#define SVR_ENABLE 0x100u
#define LVT_MASKED 0x10000u
#define LVT_LEVEL 0x8000u
#define LVT_REMOTE_IRR 0x4000u
#define LVT_TIMER_MODE 0x60000u
#define TIMER_PERIODIC 0x20000u
#define TIMER_DEADLINE 0x40000u
#define ESR_SEND_ILLEGAL 0x20u
#define ESR_RECEIVE_ILLEGAL 0x40u
#define ESR_REGISTER 0x80u
#define ICR_LOGICAL BIT64(11)
#define ICR_ASSERT BIT64(14)
#define ICR_LEVEL BIT64(15)
#define ICR_WRITABLE 0xcfffu /* delivery status is read-only */
#define MIN_PERIOD_NS 10000
#define BASE_RESERVED (~(((1ull << PHYS_ADDR_BITS) - 1) & ~0x2ffull))

/* Writable bits of each local vector entry, 11.5.1. */
static const uint32_t lvt_mask[LVT_COUNT] = {
    [LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_PERF] = 0x107ff,
    [LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff,   [LVT_ERROR] = 0x100ff,
};

static bool in_x2apic(const struct lapic *l)
{
    return l->base & LAPIC_BASE_EXTD;
}

static bool hw_enabled(const struct lapic *l)
{
    return l->base & LAPIC_BASE_ENABLE;
}

static bool sw_enabled(const struct lapic *l)
{
    return l->svr & SVR_ENABLE;
}

/* ---- the three 256-bit registers ------------------------------------------------------------- */

static void bit_set(uint32_t *r, unsigned v)
{
    r[v >> 5] |= BIT(v & 31);
}

static void bit_clear(uint32_t *r, unsigned v)
{
    r[v >> 5] &= ~BIT(v & 31);
}

static bool bit_test(const uint32_t *r, unsigned v)
{
    return r[v >> 5] >> (v & 31) & 1;
}

static int bit_highest(const uint32_t *r)
{
    for (int i = 7; i >= 0; i--) {
        if (r[i])
            return i * 32 + 31 - __builtin_clz(r[i]);
    }
    return -1;
}

/* ---- priorities and the output to the CPU (11.8.3) ------------------------------------------- */

unsigned lapic_priority(const struct lapic *l)
{
    int isrv = bit_highest(l->isr);
    unsigned serving = isrv < 0 ? 0 : (unsigned)isrv & 0xf0;
    return (l->tpr & 0xf0) >= serving ? l->tpr : serving;
}

/* The vector that would be served now, or -1. */
static int next_vector(const struct lapic *l)
{
    int v = bit_highest(l->irr);
    if (v < 0 || !hw_enabled(l) || !sw_enabled(l))
        return -1;
    return ((unsigned)v & 0xf0) > (lapic_priority(l) & 0xf0) ? v : -1;
}

/* Whether the 8259's request passes: by a LINT0 in ExtINT mode ("virtual wire"), or past a disabled
 * APIC straight to the boot processor. */
static bool pic_pending(const struct lapic *l)
{
    if (l->extint)
        return true;
    if (!(l->lint_level & 1))
        return false;
    if (!hw_enabled(l))
        return l->cfg.id == 0;
    uint32_t lint0 = l->lvt[LVT_LINT0];
    return !(lint0 & LVT_MASKED) && (lint0 >> 8 & 7) == APIC_EXTINT;
}

bool lapic_intr_pending(const struct lapic *l)
{
    return next_vector(l) >= 0 || pic_pending(l);
}

static void update(struct lapic *l)
{
    int level = lapic_intr_pending(l);
    if (level == l->intr_out)
        return;
    l->intr_out = level;
    if (l->cfg.set_intr)
        l->cfg.set_intr(l->cfg.opaque, level);
}

int lapic_get_interrupt(struct lapic *l)
{
    int v = next_vector(l);
    if (v >= 0) {
        bit_clear(l->irr, (unsigned)v);
        bit_set(l->isr, (unsigned)v);
    } else if (pic_pending(l)) {
        l->extint = false;
        v = l->cfg.pic_ack ? l->cfg.pic_ack(l->cfg.opaque) : -1;
    }
    update(l);
    return v;
}

/* ---- accepting interrupts -------------------------------------------------------------------- */

static void local_interrupt(struct lapic *l, enum lapic_lvt n);

static void raise_error(struct lapic *l, uint32_t bit)
{
    bool first = !(l->esr_pending & bit);
    l->esr_pending |= bit;
    if (first && !(l->lvt[LVT_ERROR] & LVT_MASKED))
        local_interrupt(l, LVT_ERROR);
}

static void accept_fixed(struct lapic *l, uint8_t vector, bool level)
{
    if (!hw_enabled(l) || !sw_enabled(l))
        return;
    if (vector < 16) {
        raise_error(l, ESR_RECEIVE_ILLEGAL);
        return;
    }
    bit_set(l->irr, vector);
    if (level)
        bit_set(l->tmr, vector);
    else
        bit_clear(l->tmr, vector);
    update(l);
}

static void local_interrupt(struct lapic *l, enum lapic_lvt n)
{
    uint32_t e = l->lvt[n];
    if (e & LVT_MASKED)
        return;
    switch (n == LVT_LINT0 || n == LVT_LINT1 ? e >> 8 & 7 : APIC_FIXED) {
    case APIC_FIXED:
        /* The error entry may point at an illegal vector itself: then nobody is told. */
        if ((uint8_t)e < 16 && n == LVT_ERROR)
            l->esr_pending |= ESR_RECEIVE_ILLEGAL;
        else
            accept_fixed(l, (uint8_t)e, n == LVT_LINT0 && (e & LVT_LEVEL));
        break;
    case APIC_NMI:
        if (l->cfg.nmi)
            l->cfg.nmi(l->cfg.opaque);
        break;
    case APIC_INIT:
        if (l->cfg.init)
            l->cfg.init(l->cfg.opaque);
        break;
    default:
        break;
    }
}

void lapic_set_lint(void *opaque, int n, int level)
{
    struct lapic *l = opaque;
    uint8_t bit = n ? 2 : 1;
    bool was = l->lint_level & bit;
    l->lint_level = (uint8_t)(level ? l->lint_level | bit : l->lint_level & ~bit);
    if (level && !was && hw_enabled(l))
        local_interrupt(l, n ? LVT_LINT1 : LVT_LINT0);
    update(l);
}

/* ---- messages (11.6.2) ----------------------------------------------------------------------- */

static uint32_t x2apic_ldr(const struct lapic *l)
{
    return (l->cfg.id >> 4) << 16 | BIT(l->cfg.id & 15);
}

bool lapic_accepts(const struct lapic *l, const struct apic_msg *m)
{
    uint32_t dest = m->dest;
    if (!hw_enabled(l))
        return false;
    if (dest == (m->x2apic ? UINT32_MAX : 0xffu))
        return true;
    if (in_x2apic(l)) {
        uint32_t ldr = x2apic_ldr(l);
        if (!m->logical)
            return dest == l->cfg.id;
        return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff);
    }
    if (!m->logical)
        return dest == l->id;
    uint8_t ldr = (uint8_t)(l->ldr >> 24);
    if (l->dfr >> 28 == 0xf) /* flat */
        return dest & ldr;
    if (dest >> 4 != (uint32_t)ldr >> 4 && dest >> 4 != 0xf)
        return false;
    return dest & ldr & 0xf;
}

void lapic_deliver(struct lapic *l, const struct apic_msg *m)
{
    const struct lapic_cfg *cfg = &l->cfg;
    switch (m->delivery) {
    case APIC_FIXED:
    case APIC_LOWEST:
        accept_fixed(l, m->vector, m->level);
        break;
    case APIC_NMI:
        if (cfg->nmi)
            cfg->nmi(cfg->opaque);
        break;
    case APIC_INIT:
        /* The de-assert message only sets arbitration IDs, of processors long gone. */
        if (!m->deassert && cfg->init)
            cfg->init(cfg->opaque);
        break;
    case APIC_SIPI:
        if (cfg->sipi)
            cfg->sipi(cfg->opaque, m->vector);
        break;
    case APIC_EXTINT:
        l->extint = true;
        update(l);
        break;
    default:
        break;
    }
}

static void send_ipi(struct lapic *l)
{
    uint64_t icr = l->icr;
    struct apic_msg m = {
        .dest = (uint32_t)(icr >> 32),
        .logical = icr & ICR_LOGICAL,
        .x2apic = in_x2apic(l),
        .delivery = icr >> 8 & 7,
        .vector = (uint8_t)icr,
        .level = (icr & ICR_LEVEL) && (icr >> 8 & 7) == APIC_INIT,
        .deassert = (icr & ICR_LEVEL) && !(icr & ICR_ASSERT),
    };
    unsigned shorthand = icr >> 18 & 3;
    struct apic_bus *bus = l->cfg.bus;

    if (!m.x2apic)
        m.dest >>= 24;
    if (m.delivery <= APIC_LOWEST && m.vector < 16) {
        raise_error(l, ESR_SEND_ILLEGAL);
        return;
    }
    if (shorthand == 0) {
        apic_bus_deliver(bus, &m);
        return;
    }
    /* To oneself, table 11-3 has nothing but fixed interrupts; hypervisors also send NMI and INIT, and
     * guests came to rely on it. */
    if (shorthand == 1) {
        if (m.delivery == APIC_FIXED || m.delivery == APIC_NMI || m.delivery == APIC_INIT)
            lapic_deliver(l, &m);
        return;
    }
    if (m.delivery == APIC_LOWEST && shorthand == 2) {
        m.dest = UINT32_MAX;
        m.x2apic = true;
        apic_bus_deliver(bus, &m);
        return;
    }
    for (unsigned i = 0; i < bus->cfg.cpus; i++) {
        struct lapic *to = bus->cfg.lapic[i];
        if (hw_enabled(to) && (shorthand == 2 || to != l))
            lapic_deliver(to, &m);
    }
}

static void eoi(struct lapic *l)
{
    int v = bit_highest(l->isr);
    if (v < 0)
        return;
    bit_clear(l->isr, (unsigned)v);
    if (bit_test(l->tmr, (unsigned)v)) {
        apic_bus_eoi(l->cfg.bus, (uint8_t)v);
        uint32_t lint0 = l->lvt[LVT_LINT0];
        if ((l->lint_level & 1) && (lint0 & LVT_LEVEL) && (uint8_t)lint0 == v)
            local_interrupt(l, LVT_LINT0);
    }
    update(l);
}

/* ---- timer (11.5.4) -------------------------------------------------------------------------- */

static unsigned timer_divisor_shift(const struct lapic *l)
{
    unsigned code = (l->timer_divide & 3) | (l->timer_divide >> 1 & 4);
    return (code + 1) & 7;
}

static uint64_t timer_period_ns(const struct lapic *l)
{
    return ticks_to_ns((uint64_t)l->timer_initial << timer_divisor_shift(l), LAPIC_TIMER_HZ);
}

static uint32_t timer_mode(const struct lapic *l)
{
    return l->lvt[LVT_TIMER] & LVT_TIMER_MODE;
}

static uint64_t now_ns(const struct lapic *l)
{
    return clock_now(l->dev.board->clock);
}

static uint32_t timer_current(const struct lapic *l)
{
    if (!l->timer_running || !l->timer_initial || (timer_mode(l) & TIMER_DEADLINE))
        return 0;
    uint64_t ticks =
        ns_to_ticks(now_ns(l) - l->timer_start, LAPIC_TIMER_HZ) >> timer_divisor_shift(l);
    if (timer_mode(l) == TIMER_PERIODIC)
        return l->timer_initial - (uint32_t)(ticks % l->timer_initial);
    return ticks >= l->timer_initial ? 0 : l->timer_initial - (uint32_t)ticks;
}

static void timer_arm(struct lapic *l)
{
    uint32_t mode = timer_mode(l);
    if (mode & TIMER_DEADLINE) {
        if (!l->tsc_deadline) {
            event_cancel(&l->timer);
            return;
        }
        event_at(&l->timer, l->cfg.tsc_to_ns ? l->cfg.tsc_to_ns(l->cfg.opaque, l->tsc_deadline)
                                             : l->tsc_deadline);
        return;
    }
    if (!l->timer_running || !l->timer_initial ||
        (mode == TIMER_PERIODIC && (l->lvt[LVT_TIMER] & LVT_MASKED))) {
        event_cancel(&l->timer);
        return;
    }
    uint64_t period = timer_period_ns(l), when = l->timer_start + period;
    if (mode == TIMER_PERIODIC) {
        uint64_t now = now_ns(l), passed = now - l->timer_start;
        l->timer_start += passed - passed % period;
        when = MAX(l->timer_start + period, now + MIN_PERIOD_NS);
    }
    event_at(&l->timer, when);
}

static void timer_expired(void *opaque)
{
    struct lapic *l = opaque;
    uint32_t mode = timer_mode(l);
    if (mode & TIMER_DEADLINE)
        l->tsc_deadline = 0;
    else if (mode != TIMER_PERIODIC)
        l->timer_running = false;
    local_interrupt(l, LVT_TIMER);
    if (mode == TIMER_PERIODIC)
        timer_arm(l);
    update(l);
}

static void timer_set_initial(struct lapic *l, uint32_t v)
{
    if (timer_mode(l) & TIMER_DEADLINE)
        return;
    l->timer_initial = v;
    l->timer_start = now_ns(l);
    l->timer_running = v != 0;
    timer_arm(l);
}

/* The count goes on from where it is, at the new rate. */
static void timer_set_divide(struct lapic *l, uint32_t v)
{
    uint32_t done = l->timer_initial - timer_current(l);
    l->timer_divide = v & 0xb;
    if (!l->timer_running)
        return;
    uint64_t past = ticks_to_ns((uint64_t)done << timer_divisor_shift(l), LAPIC_TIMER_HZ);
    /* A start before power-on is none: the count is then late by the difference. */
    l->timer_start = now_ns(l) > past ? now_ns(l) - past : 0;
    timer_arm(l);
}

uint64_t lapic_get_tsc_deadline(struct lapic *l)
{
    return timer_mode(l) & TIMER_DEADLINE ? l->tsc_deadline : 0;
}

void lapic_set_tsc_deadline(struct lapic *l, uint64_t v)
{
    if (!(timer_mode(l) & TIMER_DEADLINE))
        return;
    l->tsc_deadline = v;
    timer_arm(l);
}

void lapic_tsc_changed(struct lapic *l)
{
    if (timer_mode(l) & TIMER_DEADLINE)
        timer_arm(l);
}

/* ---- registers ------------------------------------------------------------------------------- */

static void lvt_write(struct lapic *l, enum lapic_lvt n, uint32_t v)
{
    uint32_t old = l->lvt[n];
    v &= lvt_mask[n];
    if (!sw_enabled(l))
        v |= LVT_MASKED;
    l->lvt[n] = v;
    if (n == LVT_TIMER) {
        if ((old ^ v) & TIMER_DEADLINE) {
            l->timer_running = false;
            l->timer_initial = 0;
            l->tsc_deadline = 0;
        }
        if ((old ^ v) & (LVT_TIMER_MODE | LVT_MASKED))
            timer_arm(l);
    } else if (n == LVT_LINT0 && (l->lint_level & 1) && (v & LVT_LEVEL) && hw_enabled(l)) {
        local_interrupt(l, n);
    }
    update(l);
}

static void svr_write(struct lapic *l, uint32_t v)
{
    l->svr = v & 0x1ff;
    if (!sw_enabled(l)) {
        for (unsigned n = 0; n < LVT_COUNT; n++)
            l->lvt[n] |= LVT_MASKED;
        timer_arm(l);
    }
    update(l);
}

/* Registers by number (offset / 16); false if there is none. */
static bool reg_read(struct lapic *l, unsigned reg, uint32_t *v)
{
    if (reg >= REG_ISR && reg < REG_ISR + 8)
        *v = l->isr[reg - REG_ISR];
    else if (reg >= REG_TMR && reg < REG_TMR + 8)
        *v = l->tmr[reg - REG_TMR];
    else if (reg >= REG_IRR && reg < REG_IRR + 8)
        *v = l->irr[reg - REG_IRR];
    else if (reg >= REG_LVT && reg < REG_LVT + LVT_COUNT)
        *v = l->lvt[reg - REG_LVT];
    else
        switch (reg) {
        case REG_ID:
            *v = in_x2apic(l) ? l->cfg.id : l->id << 24;
            break;
        case REG_VERSION:
            *v = VERSION;
            break;
        case REG_TPR:
            *v = l->tpr;
            break;
        case REG_APR:
        case REG_PPR:
            *v = lapic_priority(l);
            break;
        case REG_EOI:
        case REG_RRD:
            *v = 0;
            break;
        case REG_LDR:
            *v = in_x2apic(l) ? x2apic_ldr(l) : l->ldr;
            break;
        case REG_DFR:
            *v = l->dfr;
            break;
        case REG_SVR:
            *v = l->svr;
            break;
        case REG_ESR:
            *v = l->esr;
            break;
        case REG_ICR_LOW:
            *v = (uint32_t)l->icr;
            break;
        case REG_ICR_HIGH:
            *v = (uint32_t)(l->icr >> 32);
            break;
        case REG_TIMER_INITIAL:
            *v = l->timer_initial;
            break;
        case REG_TIMER_CURRENT:
            *v = timer_current(l);
            break;
        case REG_TIMER_DIVIDE:
            *v = l->timer_divide;
            break;
        default:
            return false;
        }
    return true;
}

static bool reg_write(struct lapic *l, unsigned reg, uint32_t v)
{
    if (reg >= REG_LVT && reg < REG_LVT + LVT_COUNT) {
        lvt_write(l, (enum lapic_lvt)(reg - REG_LVT), v);
        return true;
    }
    switch (reg) {
    case REG_ID:
        l->id = v >> 24;
        break;
    case REG_TPR:
        l->tpr = v & 0xff;
        update(l);
        break;
    case REG_EOI:
        eoi(l);
        break;
    case REG_LDR:
        l->ldr = v & 0xff000000;
        break;
    case REG_DFR:
        l->dfr = v | 0x0fffffff;
        break;
    case REG_SVR:
        svr_write(l, v);
        break;
    case REG_ESR:
        l->esr = l->esr_pending;
        l->esr_pending = 0;
        break;
    case REG_ICR_LOW:
        l->icr = bits_set(l->icr, 0, 32, v & (ICR_WRITABLE | 0xc0000));
        send_ipi(l);
        break;
    case REG_ICR_HIGH:
        l->icr = bits_set(l->icr, 32, 32, v & 0xff000000);
        break;
    case REG_TIMER_INITIAL:
        timer_set_initial(l, v);
        break;
    case REG_TIMER_DIVIDE:
        timer_set_divide(l, v);
        break;
    default:
        return false;
    }
    return true;
}

uint32_t lapic_mmio_read(struct lapic *l, unsigned offset)
{
    uint32_t v = 0;
    if (!hw_enabled(l) || in_x2apic(l))
        return UINT32_MAX;
    if (!reg_read(l, offset >> 4, &v))
        raise_error(l, ESR_REGISTER);
    return v;
}

void lapic_mmio_write(struct lapic *l, unsigned offset, uint32_t v)
{
    unsigned reg = offset >> 4;
    uint32_t ignored;
    if (!hw_enabled(l) || in_x2apic(l))
        return;
    /* Writes to read-only registers are dropped; only unknown ones are errors. */
    if (!reg_write(l, reg, v) && !reg_read(l, reg, &ignored))
        raise_error(l, ESR_REGISTER);
}

bool lapic_read_msr(struct lapic *l, uint32_t msr, uint64_t *v)
{
    unsigned reg = msr - 0x800;
    uint32_t low = 0;
    if (!in_x2apic(l) || reg > 0xff)
        return false;
    if (reg == REG_ICR_LOW) {
        *v = l->icr;
        return true;
    }
    if (reg == REG_APR || reg == REG_EOI || reg == REG_RRD || reg == REG_DFR ||
        reg == REG_ICR_HIGH || !reg_read(l, reg, &low))
        return false;
    *v = low;
    return true;
}

/* Reserved bits fault, table 11-6 and 11.12.1.3. */
bool lapic_write_msr(struct lapic *l, uint32_t msr, uint64_t v)
{
    unsigned reg = msr - 0x800;
    if (!in_x2apic(l) || reg > 0xff || (reg != REG_ICR_LOW && v >> 32))
        return false;
    if (reg >= REG_LVT && reg < REG_LVT + LVT_COUNT) {
        if (v & ~(uint64_t)(lvt_mask[reg - REG_LVT] | LVT_REMOTE_IRR | 0x1000))
            return false;
        return reg_write(l, reg, (uint32_t)v);
    }
    switch (reg) {
    case REG_ICR_LOW:
        if ((uint32_t)v & ~(ICR_WRITABLE | 0xc0000 | 0x1000))
            return false;
        l->icr = v & ~0x1000ull;
        send_ipi(l);
        return true;
    case REG_SELF_IPI: {
        if (v > 0xff)
            return false;
        const struct apic_msg m = {.delivery = APIC_FIXED, .vector = (uint8_t)v};
        if (m.vector < 16)
            raise_error(l, ESR_SEND_ILLEGAL);
        else
            lapic_deliver(l, &m);
        return true;
    }
    case REG_TPR:
        return v <= 0xff && reg_write(l, reg, (uint32_t)v);
    case REG_EOI:
    case REG_ESR:
        return v == 0 && reg_write(l, reg, 0);
    case REG_SVR:
        return !(v & ~0x1fffull) && reg_write(l, reg, (uint32_t)v);
    case REG_TIMER_INITIAL:
        return reg_write(l, reg, (uint32_t)v);
    case REG_TIMER_DIVIDE:
        return !(v & ~0xbull) && reg_write(l, reg, (uint32_t)v);
    default:
        return false;
    }
}

uint8_t lapic_get_cr8(const struct lapic *l)
{
    return (uint8_t)(l->tpr >> 4);
}

void lapic_set_cr8(struct lapic *l, uint8_t v)
{
    l->tpr = (uint32_t)(v & 15) << 4;
    update(l);
}

/* ---- modes and reset ------------------------------------------------------------------------- */

/* What INIT and reset leave (11.4.7); the ID and the base register stay. */
static void registers_reset(struct lapic *l)
{
    l->tpr = l->esr = l->esr_pending = 0;
    l->ldr = 0;
    l->dfr = 0xffffffff;
    l->svr = 0xff;
    l->icr = 0;
    memset(l->irr, 0, sizeof(l->irr));
    memset(l->isr, 0, sizeof(l->isr));
    memset(l->tmr, 0, sizeof(l->tmr));
    for (unsigned n = 0; n < LVT_COUNT; n++)
        l->lvt[n] = LVT_MASKED;
    /* Firmware that knows no APIC relies on the 8259 reaching the boot processor. */
    if (l->cfg.id == 0)
        l->lvt[LVT_LINT0] = APIC_EXTINT << 8;
    l->timer_initial = l->timer_divide = 0;
    l->timer_start = 0;
    l->tsc_deadline = 0;
    l->timer_running = false;
    l->extint = false;
    event_cancel(&l->timer);
}

uint64_t lapic_get_base(const struct lapic *l)
{
    return l->base;
}

bool lapic_set_base(struct lapic *l, uint64_t v)
{
    const uint64_t mode = LAPIC_BASE_ENABLE | LAPIC_BASE_EXTD;
    if (v & (BASE_RESERVED | (l->cfg.x2apic ? 0 : LAPIC_BASE_EXTD)))
        return false;
    /* Transitions of figure 11-27: to x2APIC only from xAPIC, out of it only by disabling. */
    bool was_x2 = in_x2apic(l), x2 = v & LAPIC_BASE_EXTD, on = v & LAPIC_BASE_ENABLE;
    if ((x2 && !on) || (x2 && !hw_enabled(l)) || (was_x2 && on && !x2))
        return false;
    uint64_t old = l->base;
    l->base = (v & ~(uint64_t)LAPIC_BASE_BSP) | (old & LAPIC_BASE_BSP);
    if ((old & mode) && !on) {
        registers_reset(l);
        l->id = l->cfg.id;
    }
    LOG(l->dev.board->log, LOG_IRQ, "%s: base %llx", l->dev.id, (unsigned long long)l->base);
    update(l);
    return true;
}

static bool lapic_init(struct device *dev, struct error *err)
{
    struct lapic *l = (struct lapic *)dev;
    CHECK(l->cfg.bus);
    event_init(&l->timer, dev->board->clock, "lapic-timer", 0, timer_expired, l);
    return true;
}

static void lapic_reset(struct device *dev, enum reset_kind kind)
{
    struct lapic *l = (struct lapic *)dev;
    registers_reset(l);
    if (kind != RESET_INIT) {
        l->base = LAPIC_BASE | LAPIC_BASE_ENABLE | (l->cfg.id == 0 ? LAPIC_BASE_BSP : 0);
        l->id = l->cfg.id;
    }
    l->intr_out = -1;
    update(l);
}

static void lapic_fini(struct device *dev)
{
    struct lapic *l = (struct lapic *)dev;
    if (l->timer.clock)
        event_cancel(&l->timer);
}

static bool lapic_loaded(void *obj)
{
    struct lapic *l = obj;
    l->intr_out = -1;
    update(l);
    return true;
}

static const struct vm_field lapic_fields[] = {
    VM_DEVICE(struct lapic),
    VM_INT(struct lapic, base),
    VM_INT(struct lapic, id),
    VM_INT(struct lapic, tpr),
    VM_INT(struct lapic, ldr),
    VM_INT(struct lapic, dfr),
    VM_INT(struct lapic, svr),
    VM_INT(struct lapic, esr),
    VM_INT(struct lapic, esr_pending),
    VM_INTS(struct lapic, irr, uint32_t),
    VM_INTS(struct lapic, isr, uint32_t),
    VM_INTS(struct lapic, tmr, uint32_t),
    VM_INT(struct lapic, icr),
    VM_INTS(struct lapic, lvt, uint32_t),
    VM_INT(struct lapic, timer_initial),
    VM_INT(struct lapic, timer_divide),
    VM_INT(struct lapic, timer_start),
    VM_INT(struct lapic, tsc_deadline),
    VM_INT(struct lapic, lint_level),
    VM_INT(struct lapic, extint),
    VM_INT(struct lapic, timer_running),
    VM_STRUCT(struct lapic, timer, &vm_event),
    VM_SKIP(struct lapic, intr_out, "follows from the other fields"),
    VM_SKIP(struct lapic, cfg, "configuration"),
    VM_END,
};
static const struct vmstate vm_lapic =
    VMSTATE_HOOKS("lapic", struct lapic, lapic_fields, NULL, lapic_loaded);

const struct device_class lapic_class = {
    .name = "lapic",
    .size = sizeof(struct lapic),
    .vmstate = &vm_lapic,
    .init = lapic_init,
    .reset = lapic_reset,
    .fini = lapic_fini,
};
