/* The 8254: see pit.h for its use. Intel 8254 data sheet (231164), "Mode definitions" and
 * "Programming the 8254".
 *
 * A counter is (start, count, mode): its output and contents at a tick t follow from t - start.
 * `sync` must be called with the tick of an access before anything is read from a channel: it makes
 * a count that was waiting for the end of a period the current one.
 *
 * Known inaccuracies: the counter before its first count reads as the count last used, where the
 * chip leaves it undefined. A retriggered one-shot (mode 1) shows its output high for the one tick
 * until it is loaded. A count of 1 in modes 2 and 3, which the data sheet forbids, gives no edges.
 * After power-on all counters run in mode 3 with the largest count, as firmware leaves them.
 */
#include "devices/pit.h"

enum { RW_LATCH = 0, RW_LSB = 1, RW_MSB = 2, RW_BOTH = 3 };

static const struct vm_field pit_channel_fields[] = {
    VM_INT(struct pit_channel, start),
    VM_INT(struct pit_channel, elapsed),
    VM_INT(struct pit_channel, switch_at),
    VM_INT(struct pit_channel, count),
    VM_INT(struct pit_channel, next_count),
    VM_INT(struct pit_channel, mode),
    VM_INT(struct pit_channel, rw),
    VM_INT(struct pit_channel, bcd),
    VM_INT(struct pit_channel, gate),
    VM_INT(struct pit_channel, armed),
    VM_INT(struct pit_channel, running),
    VM_INT(struct pit_channel, null_count),
    VM_INT(struct pit_channel, write_msb),
    VM_INT(struct pit_channel, read_msb),
    VM_INT(struct pit_channel, write_lsb),
    VM_INT(struct pit_channel, count_latched),
    VM_INT(struct pit_channel, status_latched),
    VM_INT(struct pit_channel, status),
    VM_INT(struct pit_channel, latch),
    VM_END,
};

static bool pit_channel_post_load(void *obj)
{
    const struct pit_channel *ch = obj;

    return ch->mode < 6 && ch->rw >= RW_LSB && ch->rw <= RW_BOTH && ch->count_latched <= 2 &&
           ch->count >= 1 && ch->count <= 65536 && ch->next_count >= 1 && ch->next_count <= 65536;
}

static const struct vmstate vm_pit_channel = VMSTATE_HOOKS(
    "pit_channel", struct pit_channel, pit_channel_fields, NULL, pit_channel_post_load);

static const struct vm_field pit_fields[] = {
    VM_DEVICE(struct pit),
    VM_SKIP(struct pit, cfg, "wiring, set by the board"),
    VM_STRUCTS(struct pit, ch, &vm_pit_channel),
    VM_STRUCT(struct pit, edge, &vm_event),
    VM_INT(struct pit, irq_level),
    VM_END,
};
const struct vmstate vm_pit = VMSTATE("pit", struct pit, pit_fields);

static uint64_t pit_now(struct pit *p)
{
    return ns_to_ticks(clock_now(p->dev.board->clock), PIT_HZ);
}

static bool periodic(const struct pit_channel *ch)
{
    return ch->mode == 2 || ch->mode == 3;
}

/* Length of the high half of mode 3's square wave. */
static uint32_t high_half(uint32_t count)
{
    return (count + 1) / 2;
}

/* Ticks since the counting element was loaded; negative before the loading clock pulse. */
static int64_t elapsed_at(const struct pit_channel *ch, uint64_t t)
{
    return (int64_t)(ch->running ? t - ch->start : ch->elapsed);
}

static void sync(struct pit_channel *ch, uint64_t t)
{
    if (!ch->null_count || ch->switch_at > t)
        return;
    if (periodic(ch)) {
        /* Mode 3 changes its count after either half; after the high one, the new period is
         * already in its low half. */
        bool low_half = ch->mode == 3 && (ch->switch_at - ch->start) % ch->count != 0;
        ch->count = ch->next_count;
        ch->start = ch->switch_at - (low_half ? high_half(ch->count) : 0);
    }
    ch->null_count = false;
}

static bool output(const struct pit_channel *ch, uint64_t t)
{
    int64_t e = elapsed_at(ch, t);

    if (!ch->armed)
        return ch->mode != 0;
    switch (ch->mode) {
    case 0:
        return e >= (int64_t)ch->count;
    case 1:
        return !ch->running || e < 0 || e >= (int64_t)ch->count;
    case 2:
        return !ch->running || e < 0 || e % ch->count != ch->count - 1;
    case 3:
        return !ch->running || e < 0 || e % ch->count < high_half(ch->count);
    default:
        return e != (int64_t)ch->count;
    }
}

/* What a read of the counting element gives. */
static uint16_t contents(const struct pit_channel *ch, uint64_t t)
{
    uint32_t modulus = ch->bcd ? 10000 : 65536;
    uint32_t n = ch->count, v;
    int64_t e = elapsed_at(ch, t);

    if (!ch->armed || e < 0) {
        v = n;
    } else if (ch->mode == 2) {
        v = n - (uint32_t)(e % n);
    } else if (ch->mode == 3) {
        /* Counts down by two from an even number in each half. */
        uint32_t phase = (uint32_t)(e % n), high = high_half(n);
        v = (n & ~1u) - 2 * (phase < high ? phase : phase - high);
    } else {
        v = n + modulus - (uint32_t)(e % modulus);
    }
    v %= modulus;
    return ch->bcd ? (uint16_t)(to_bcd(v / 100) << 8 | to_bcd(v % 100)) : (uint16_t)v;
}

/* The next tick after t when the output of a counter with its gate high may change. */
static uint64_t next_edge(const struct pit_channel *ch, uint64_t t)
{
    int64_t e = elapsed_at(ch, t);
    uint64_t n = ch->count, next = CLOCK_NEVER, phase;

    if (!ch->armed || !ch->running)
        return CLOCK_NEVER;
    switch (ch->mode) {
    case 0:
    case 1:
        if (e < (int64_t)n)
            next = e < 0 && ch->mode == 1 ? ch->start : ch->start + n;
        break;
    case 2:
    case 3:
        if (e < 0) {
            next = ch->start;
            break;
        }
        if (n < 2)
            break;
        phase = (uint64_t)e % n;
        if (ch->mode == 2)
            next = t - phase + (phase < n - 1 ? n - 1 : n);
        else
            next = t - phase + (phase < high_half(ch->count) ? high_half(ch->count) : n);
        break;
    default:
        if (e <= (int64_t)n)
            next = ch->start + n + (e == (int64_t)n);
        break;
    }
    if (ch->null_count && ch->switch_at > t)
        next = MIN(next, ch->switch_at);
    return next;
}

/* Brings IRQ 0 to the level of counter 0's output and waits for its next edge. */
static void drive_irq(struct pit *p)
{
    struct pit_channel *ch = &p->ch[0];
    uint64_t t = pit_now(p), next;
    bool level;

    sync(ch, t);
    level = output(ch, t);
    next = next_edge(ch, t);
    if (next == CLOCK_NEVER)
        event_cancel(&p->edge);
    else
        event_at(&p->edge, ticks_to_ns(next, PIT_HZ));
    if (level != p->irq_level) {
        p->irq_level = level;
        irq_set(&p->cfg.irq, level);
    }
}

static void edge_event(void *opaque)
{
    drive_irq(opaque);
}

/* Loads the count register into the counting element with the next clock pulse. */
static void load(struct pit_channel *ch, uint64_t t)
{
    ch->count = ch->next_count;
    ch->start = t + 1;
    ch->switch_at = t + 1;
    ch->null_count = true;
    ch->elapsed = 0;
}

static void write_count(struct pit_channel *ch, uint64_t t, uint32_t value)
{
    int64_t e = elapsed_at(ch, t);
    bool first = !ch->armed;

    if (ch->bcd)
        value = from_bcd((uint8_t)(value >> 8)) * 100 + from_bcd((uint8_t)value);
    ch->next_count = value ? value : ch->bcd ? 10000 : 65536;
    ch->armed = true;
    switch (ch->mode) {
    case 0:
    case 4:
        load(ch, t);
        ch->running = ch->gate;
        break;
    case 1:
    case 5:
        if (!ch->null_count || first)
            ch->switch_at = CLOCK_NEVER;
        ch->null_count = true;
        break;
    default:
        if (first || e < 0 || !ch->running) {
            load(ch, t);
            ch->running = ch->gate;
        } else if (!ch->null_count) {
            uint64_t n = ch->count, phase = (uint64_t)e % n;
            uint64_t half = high_half(ch->count);
            ch->null_count = true;
            ch->switch_at = t - phase + (ch->mode == 3 && phase < half ? half : n);
        }
        break;
    }
}

static void write_counter(struct pit_channel *ch, uint64_t t, uint8_t v)
{
    switch (ch->rw) {
    case RW_LSB:
        write_count(ch, t, v);
        break;
    case RW_MSB:
        write_count(ch, t, (uint32_t)v << 8);
        break;
    default:
        if (!ch->write_msb) {
            ch->write_lsb = v;
            if (ch->mode == 0) { /* the first byte stops the counter */
                ch->armed = false;
                ch->running = false;
            }
        } else {
            write_count(ch, t, (uint32_t)v << 8 | ch->write_lsb);
        }
        ch->write_msb = !ch->write_msb;
        break;
    }
}

static void latch_count(struct pit_channel *ch, uint64_t t)
{
    if (ch->count_latched)
        return;
    ch->latch = contents(ch, t);
    ch->count_latched = ch->rw == RW_BOTH ? 2 : 1;
    ch->read_msb = false;
}

static void latch_status(struct pit_channel *ch, uint64_t t)
{
    if (ch->status_latched)
        return;
    ch->status =
        (uint8_t)(output(ch, t) << 7 | ch->null_count << 6 | ch->rw << 4 | ch->mode << 1 | ch->bcd);
    ch->status_latched = true;
}

static void write_control(struct pit *p, uint64_t t, uint8_t v)
{
    unsigned n = v >> 6;
    struct pit_channel *ch;

    if (n == 3) { /* read-back */
        for (unsigned i = 0; i < 3; i++) {
            if (!(v & BIT(i + 1)))
                continue;
            sync(&p->ch[i], t);
            if (!(v & 0x20))
                latch_count(&p->ch[i], t);
            if (!(v & 0x10))
                latch_status(&p->ch[i], t);
        }
        return;
    }
    ch = &p->ch[n];
    sync(ch, t);
    if ((v >> 4 & 3) == RW_LATCH) {
        latch_count(ch, t);
        return;
    }
    ch->rw = v >> 4 & 3;
    ch->mode = v >> 1 & 7;
    if (ch->mode > 5)
        ch->mode -= 4; /* the top bit is a don't-care in modes 2 and 3 */
    ch->bcd = v & 1;
    ch->armed = false;
    ch->running = false;
    ch->elapsed = 0;
    ch->null_count = true;
    ch->switch_at = CLOCK_NEVER;
    ch->write_msb = false;
    ch->read_msb = false;
    ch->count_latched = 0;
    ch->status_latched = false;
}

static void pit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pit *p = opaque;
    uint64_t t = pit_now(p);

    if (offset == 3) {
        write_control(p, t, (uint8_t)value);
    } else {
        sync(&p->ch[offset], t);
        write_counter(&p->ch[offset], t, (uint8_t)value);
    }
    drive_irq(p);
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pit *p = opaque;
    struct pit_channel *ch = &p->ch[offset];
    uint64_t t = pit_now(p);
    uint16_t v;
    bool msb;

    if (offset == 3)
        return 0xff; /* the control word cannot be read */
    sync(ch, t);
    if (ch->status_latched) {
        ch->status_latched = false;
        return ch->status;
    }
    v = ch->count_latched ? ch->latch : contents(ch, t);
    if (ch->count_latched)
        ch->count_latched--;
    msb = ch->rw == RW_MSB || (ch->rw == RW_BOTH && ch->read_msb);
    if (ch->rw == RW_BOTH)
        ch->read_msb = !ch->read_msb;
    return msb ? v >> 8 : v & 0xff;
}

void pit_set_gate2(struct pit *p, bool level)
{
    struct pit_channel *ch = &p->ch[2];
    uint64_t t = pit_now(p);
    int64_t e;

    if (level == ch->gate)
        return;
    sync(ch, t);
    e = elapsed_at(ch, t);
    ch->gate = level;
    if (!ch->armed)
        return;
    switch (ch->mode) {
    case 0:
    case 4: /* the level lets it count */
        if (level) {
            ch->start = t - ch->elapsed;
        } else {
            ch->elapsed = e > 0 ? (uint64_t)e : 0;
        }
        ch->running = level;
        break;
    case 1:
    case 5: /* an edge starts it */
        if (level) {
            load(ch, t);
            ch->running = true;
        }
        break;
    default: /* low stops it with the output high, an edge starts it over */
        if (level)
            load(ch, t);
        else
            ch->elapsed = e > 0 ? (uint64_t)e : 0;
        ch->running = level;
        break;
    }
}

bool pit_gate2(const struct pit *p)
{
    return p->ch[2].gate;
}

bool pit_out(struct pit *p, unsigned channel)
{
    uint64_t t = pit_now(p);

    CHECK(channel < 3);
    sync(&p->ch[channel], t);
    return output(&p->ch[channel], t);
}

uint32_t pit_tone_hz(struct pit *p)
{
    struct pit_channel *ch = &p->ch[2];

    sync(ch, pit_now(p));
    if (!ch->armed || !ch->gate || !periodic(ch) || ch->count < 2)
        return 0;
    return (uint32_t)(PIT_HZ / ch->count);
}

static const struct io_ops pit_ops = {"pit", pit_read, pit_write, 1, 1};

static bool pit_init(struct device *dev, struct error *err)
{
    struct pit *p = (struct pit *)dev;

    event_init(&p->edge, dev->board->clock, "pit edge", 0, edge_event, p);
    portmap_add(dev->board->ports, 0x40, 4, &pit_ops, p);
    return true;
}

static void pit_reset(struct device *dev, enum reset_kind kind)
{
    struct pit *p = (struct pit *)dev;

    if (kind == RESET_INIT)
        return;
    for (unsigned i = 0; i < 3; i++) {
        struct pit_channel *ch = &p->ch[i];
        *ch = (struct pit_channel){.mode = 3, .rw = RW_BOTH, .gate = i != 2, .armed = true};
        ch->next_count = 65536;
        load(ch, pit_now(p));
        ch->running = ch->gate;
    }
    drive_irq(p);
}

static void pit_fini(struct device *dev)
{
    struct pit *p = (struct pit *)dev;

    portmap_remove(dev->board->ports, 0x40, 4, p);
    event_cancel(&p->edge);
}

const struct device_class pit_class = {
    .name = "pit",
    .size = sizeof(struct pit),
    .vmstate = &vm_pit,
    .init = pit_init,
    .reset = pit_reset,
    .fini = pit_fini,
};
