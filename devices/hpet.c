/* The high precision event timer. See hpet.h. Sections are of the IA-PC HPET Specification 1.0a.
 *
 * Invariants: the main counter is `counter` plus the ticks since counter_at while the block is
 * enabled, and stands at `counter` otherwise; a timer's event is scheduled exactly when the block
 * and the timer's interrupt are enabled and its comparator will be met.
 *
 * Known inaccuracies: no FSB (MSI) delivery; the comparator of a periodic timer whose interrupt is
 * disabled reads as it stood then, and catches up when it is enabled again; periodic interrupts
 * come at most every 10 us; a comparator that was passed before it was written is met only after
 * the counter wraps, as the specification says and some emulators do not.
 */
#include "devices/hpet.h"

enum {
    REG_CAPABILITIES = 0x000,
    REG_CONFIG = 0x010,
    REG_STATUS = 0x020,
    REG_COUNTER = 0x0f0,
    REG_TIMER0 = 0x100,
    TIMER_STRIDE = 0x20,
    TIMER_CONFIG = 0x00,
    TIMER_COMPARATOR = 0x08,
};

#define CONFIG_ENABLE 1u
#define CONFIG_LEGACY 2u

#define T_LEVEL 0x0002u
#define T_ENABLE 0x0004u
#define T_PERIODIC 0x0008u
#define T_PERIODIC_CAP 0x0010u
#define T_64BIT_CAP 0x0020u
#define T_SET_VALUE 0x0040u
#define T_32BIT 0x0100u
#define T_ROUTE 0x3e00u
#define T_WRITABLE (T_LEVEL | T_ENABLE | T_PERIODIC | T_SET_VALUE | T_32BIT | T_ROUTE)

#define MIN_PERIOD_TICKS 1000

/* Revision 1, three timers, 64 bits, legacy routes, Intel, period (2.3.4). */
#define CAPABILITIES                                                                               \
    (HPET_PERIOD_FS << 32 | 0x8086ull << 16 | 1ull << 15 | 1ull << 13 |                            \
     (uint64_t)(HPET_TIMERS - 1) << 8 | 1)

static uint64_t counter_now(const struct hpet *h)
{
    if (!(h->config & CONFIG_ENABLE))
        return h->counter;
    return h->counter + ns_to_ticks(clock_now(h->dev.board->clock) - h->counter_at, HPET_HZ);
}

/* Where timer n's interrupt goes: legacy replacement wins over its route (2.4.7). */
static const struct irq_line *timer_line(const struct hpet *h, const struct hpet_timer *t)
{
    unsigned route = t->config >> 9 & 31;
    if ((h->config & CONFIG_LEGACY) && t->n == 0)
        return &h->cfg.legacy0;
    if ((h->config & CONFIG_LEGACY) && t->n == 1)
        return &h->cfg.legacy8;
    return route < 24 && (HPET_ROUTES >> route & 1) ? &h->cfg.gsi[route] : NULL;
}

static void timer_drive(struct hpet *h, struct hpet_timer *t, bool level)
{
    const struct irq_line *line = timer_line(h, t);
    if (t->level == level)
        return;
    t->level = level;
    if (line)
        irq_set(line, level);
}

/* Schedules the next match. met: the counter's present value has been served already. */
static void timer_arm(struct hpet *h, struct hpet_timer *t, bool met)
{
    if (!(h->config & CONFIG_ENABLE) || !(t->config & T_ENABLE)) {
        event_cancel(&t->event);
        return;
    }
    uint64_t now = counter_now(h), diff = t->comparator - now;
    bool periodic = t->config & T_PERIODIC;
    if (t->config & T_32BIT)
        diff = (uint32_t)diff;
    if (diff == 0 && met)
        diff = t->config & T_32BIT ? 1ull << 32 : UINT64_MAX;
    if (periodic && met && diff < MIN_PERIOD_TICKS)
        diff = MIN_PERIOD_TICKS;
    if (diff > UINT64_MAX / 32) { /* centuries */
        event_cancel(&t->event);
        return;
    }
    /* A tick ends at the next full 10 ns after counter_at. */
    uint64_t ticks = now + diff - h->counter;
    event_at(&t->event, h->counter_at + ticks_to_ns(ticks, HPET_HZ));
}

/* Moves a periodic comparator that was met past the counter. */
static void timer_advance(struct hpet *h, struct hpet_timer *t)
{
    uint64_t late = counter_now(h) - t->comparator;
    bool narrow = t->config & T_32BIT;
    if (narrow)
        late = (uint32_t)late;
    bool ahead = narrow ? late >> 31 : late >> 63;
    if (!(t->config & T_PERIODIC) || !t->period || ahead)
        return;
    t->comparator += (late / t->period + 1) * t->period;
    if (narrow)
        t->comparator = (uint32_t)t->comparator;
}

static void timer_matched(void *opaque)
{
    struct hpet_timer *t = opaque;
    struct hpet *h = t->hpet;
    const struct irq_line *line = timer_line(h, t);
    timer_advance(h, t);
    if (t->config & T_LEVEL) {
        h->status |= BIT64(t->n);
        timer_drive(h, t, true);
    } else if (line) {
        irq_pulse(line);
    }
    timer_arm(h, t, true);
}

/* Serves what is due before registers change under it. */
static void timers_sync(struct hpet *h)
{
    uint64_t now = clock_now(h->dev.board->clock);
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        struct hpet_timer *t = &h->timer[i];
        if (event_pending(&t->event) && t->event.when <= now) {
            event_cancel(&t->event);
            timer_matched(t);
        }
    }
}

static void config_write(struct hpet *h, uint64_t v)
{
    uint64_t old = h->config;
    uint64_t now = counter_now(h);
    v &= CONFIG_ENABLE | CONFIG_LEGACY;
    if ((old ^ v) & CONFIG_LEGACY) {
        for (unsigned i = 0; i < HPET_TIMERS; i++)
            timer_drive(h, &h->timer[i], false);
        h->config = (h->config & ~(uint64_t)CONFIG_LEGACY) | (v & CONFIG_LEGACY);
        if (h->cfg.legacy_mode)
            h->cfg.legacy_mode(h->cfg.opaque, v & CONFIG_LEGACY);
    }
    h->config = v;
    if ((old ^ v) & CONFIG_ENABLE) {
        h->counter = now;
        h->counter_at = clock_now(h->dev.board->clock);
        for (unsigned i = 0; i < HPET_TIMERS; i++)
            timer_arm(h, &h->timer[i], false);
    }
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        if (h->status >> i & 1)
            timer_drive(h, &h->timer[i], v & CONFIG_ENABLE);
    }
}

static void status_write(struct hpet *h, uint64_t v)
{
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        if ((v >> i & 1) && (h->status >> i & 1)) {
            h->status &= ~BIT64(i);
            timer_drive(h, &h->timer[i], false);
        }
    }
}

static void timer_config_write(struct hpet *h, struct hpet_timer *t, uint64_t v)
{
    bool was_on = t->config & T_ENABLE;
    timer_drive(h, t, false); /* from the line it may be about to leave */
    t->config = v & T_WRITABLE;
    if (!was_on)
        timer_advance(h, t);
    if (t->config & T_32BIT) {
        t->comparator = (uint32_t)t->comparator;
        t->period = (uint32_t)t->period;
    }
    if ((t->config & (T_ENABLE | T_LEVEL)) != (T_ENABLE | T_LEVEL))
        h->status &= ~BIT64(t->n);
    else if (h->status >> t->n & 1)
        timer_drive(h, t, true);
    timer_arm(h, t, false);
}

/* 2.3.9.2.2: in periodic mode a write sets the period, and with Tn_VAL_SET_CNF before it the
 * comparator; software that writes only once expects both. */
static void timer_comparator_write(struct hpet *h, struct hpet_timer *t, uint64_t v)
{
    if (t->config & T_32BIT)
        v = (uint32_t)v;
    if (!(t->config & T_PERIODIC) || (t->config & T_SET_VALUE))
        t->comparator = v;
    if (t->config & T_PERIODIC)
        t->period = v;
    t->config &= ~(uint64_t)T_SET_VALUE;
    timer_arm(h, t, false);
}

static uint64_t timer_config_read(const struct hpet_timer *t)
{
    return t->config | T_PERIODIC_CAP | T_64BIT_CAP | (uint64_t)HPET_ROUTES << 32;
}

/* The register at offset, aligned to 8 bytes. */
static uint64_t reg_read(struct hpet *h, uint64_t offset)
{
    if (offset >= REG_TIMER0 && offset < REG_TIMER0 + HPET_TIMERS * TIMER_STRIDE) {
        const struct hpet_timer *t = &h->timer[(offset - REG_TIMER0) / TIMER_STRIDE];
        switch ((offset - REG_TIMER0) % TIMER_STRIDE) {
        case TIMER_CONFIG:
            return timer_config_read(t);
        case TIMER_COMPARATOR:
            return t->comparator;
        default:
            return 0;
        }
    }
    switch (offset) {
    case REG_CAPABILITIES:
        return CAPABILITIES;
    case REG_CONFIG:
        return h->config;
    case REG_STATUS:
        return h->status;
    case REG_COUNTER:
        return counter_now(h);
    default:
        return 0;
    }
}

static void reg_write(struct hpet *h, uint64_t offset, uint64_t v)
{
    if (offset >= REG_TIMER0 && offset < REG_TIMER0 + HPET_TIMERS * TIMER_STRIDE) {
        struct hpet_timer *t = &h->timer[(offset - REG_TIMER0) / TIMER_STRIDE];
        switch ((offset - REG_TIMER0) % TIMER_STRIDE) {
        case TIMER_CONFIG:
            timer_config_write(h, t, v);
            break;
        case TIMER_COMPARATOR:
            timer_comparator_write(h, t, v);
            break;
        default:
            break;
        }
        return;
    }
    switch (offset) {
    case REG_CONFIG:
        config_write(h, v);
        break;
    case REG_STATUS:
        status_write(h, v);
        break;
    case REG_COUNTER:
        h->counter = v;
        h->counter_at = clock_now(h->dev.board->clock);
        for (unsigned i = 0; i < HPET_TIMERS; i++)
            timer_arm(h, &h->timer[i], false);
        break;
    default:
        break;
    }
}

static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned size)
{
    struct hpet *h = opaque;
    uint8_t bytes[8];
    st64(bytes, reg_read(h, offset & ~7ull));
    return ld_sized(&bytes[offset & 7 & ~(size - 1u)], size);
}

/* A 32-bit write changes its half; the other half keeps what it reads as. */
static void hpet_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct hpet *h = opaque;
    uint64_t reg = offset & ~7ull;
    timers_sync(h);
    if (size == 4 && reg == REG_STATUS) {
        if (!(offset & 4))
            status_write(h, (uint32_t)value);
        return;
    }
    if (size == 4) {
        unsigned low = offset & 4 ? 32 : 0;
        uint64_t old = reg_read(h, reg);
        bool timer = reg >= REG_TIMER0 && reg < REG_TIMER0 + HPET_TIMERS * TIMER_STRIDE;
        if (timer && (reg - REG_TIMER0) % TIMER_STRIDE == TIMER_COMPARATOR) {
            /* In periodic mode the other half must come from what is being set. */
            const struct hpet_timer *t = &h->timer[(reg - REG_TIMER0) / TIMER_STRIDE];
            if ((t->config & T_PERIODIC) && !(t->config & T_SET_VALUE))
                old = t->period;
        }
        value = bits_set(old, low, 32, value);
    }
    reg_write(h, reg, value);
}

static const struct io_ops hpet_ops = {
    .name = "hpet", .read = hpet_read, .write = hpet_write, .min_access = 4, .max_access = 8};

static bool hpet_init(struct device *dev, struct error *err)
{
    struct hpet *h = (struct hpet *)dev;
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        struct hpet_timer *t = &h->timer[i];
        t->hpet = h;
        t->n = (uint8_t)i;
        event_init(&t->event, dev->board->clock, "hpet", 0, timer_matched, t);
    }
    physmap_add_io(dev->board->mem, &h->region, "hpet", HPET_BASE, 0x400, &hpet_ops, h, 3);
    return true;
}

static void hpet_reset(struct device *dev, enum reset_kind kind)
{
    struct hpet *h = (struct hpet *)dev;
    if (kind == RESET_INIT)
        return;
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        struct hpet_timer *t = &h->timer[i];
        event_cancel(&t->event);
        timer_drive(h, t, false);
        t->config = 0;
        t->comparator = UINT64_MAX;
        t->period = 0;
    }
    if ((h->config & CONFIG_LEGACY) && h->cfg.legacy_mode)
        h->cfg.legacy_mode(h->cfg.opaque, false);
    h->config = h->status = h->counter = 0;
    h->counter_at = 0;
}

static void hpet_fini(struct device *dev)
{
    struct hpet *h = (struct hpet *)dev;
    if (!h->region.name)
        return;
    for (unsigned i = 0; i < HPET_TIMERS; i++)
        event_cancel(&h->timer[i].event);
    physmap_remove(dev->board->mem, &h->region);
}

static bool hpet_loaded(void *obj)
{
    struct hpet *h = obj;
    if (h->cfg.legacy_mode)
        h->cfg.legacy_mode(h->cfg.opaque, h->config & CONFIG_LEGACY);
    return h->counter_at <= h->dev.board->clock->now;
}

static const struct vm_field hpet_timer_fields[] = {
    VM_INT(struct hpet_timer, config),
    VM_INT(struct hpet_timer, comparator),
    VM_INT(struct hpet_timer, period),
    VM_INT(struct hpet_timer, level),
    VM_STRUCT(struct hpet_timer, event, &vm_event),
    VM_SKIP(struct hpet_timer, hpet, "wiring"),
    VM_SKIP(struct hpet_timer, n, "constant"),
    VM_END,
};
static const struct vmstate vm_hpet_timer =
    VMSTATE("hpet-timer", struct hpet_timer, hpet_timer_fields);

static const struct vm_field hpet_fields[] = {
    VM_DEVICE(struct hpet),
    VM_INT(struct hpet, config),
    VM_INT(struct hpet, status),
    VM_INT(struct hpet, counter),
    VM_INT(struct hpet, counter_at),
    VM_STRUCTS(struct hpet, timer, &vm_hpet_timer),
    VM_SKIP(struct hpet, cfg, "configuration"),
    VM_SKIP(struct hpet, region, "constant"),
    VM_END,
};
static const struct vmstate vm_hpet =
    VMSTATE_HOOKS("hpet", struct hpet, hpet_fields, NULL, hpet_loaded);

const struct device_class hpet_class = {
    .name = "hpet",
    .size = sizeof(struct hpet),
    .vmstate = &vm_hpet,
    .init = hpet_init,
    .reset = hpet_reset,
    .fini = hpet_fini,
};
