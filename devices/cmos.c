/* The MC146818 clock and CMOS memory: see cmos.h for its use. Motorola MC146818 data sheet, and
 * the PIIX4 data sheet for its place in a PC.
 *
 * Update cycles happen at whole seconds of the clock. Flags in register C are worked out for the
 * time since `flags_at` when somebody looks (`catch_up`); while an interrupt is enabled an event
 * stands at the next moment when its flag would rise.
 *
 * Known inaccuracies: daylight saving (DSE) is ignored. The day of the week follows the date and
 * cannot be set apart from it. The square wave output is not connected. Any time base but 32768 Hz
 * stops the clock. After the divider chain is released the first update comes a second, not half a
 * second, later.
 */
#include "devices/cmos.h"

enum {
    RTC_SEC,
    RTC_SEC_ALARM,
    RTC_MIN,
    RTC_MIN_ALARM,
    RTC_HOUR,
    RTC_HOUR_ALARM,
    RTC_WDAY,
    RTC_DAY,
    RTC_MONTH,
    RTC_YEAR,
    RTC_A,
    RTC_B,
    RTC_C,
    RTC_D
};
enum { A_UIP = 0x80 };
enum { B_24H = 0x02, B_BINARY = 0x04, B_UIE = 0x10, B_AIE = 0x20, B_PIE = 0x40, B_SET = 0x80 };
enum { C_UF = 0x10, C_AF = 0x20, C_PF = 0x40, C_IRQF = 0x80 };
enum { D_VRT = 0x80 };

#define DAY_SEC 86400
/* An update takes 1984 us and is announced by UIP 244 us before (data sheet, "Update cycle"). */
#define UIP_NS ((1984 + 244) * 1000ull)

static const struct vm_field cmos_fields[] = {
    VM_DEVICE(struct cmos),
    VM_SKIP(struct cmos, cfg, "wiring, set by the board"),
    VM_BYTES(struct cmos, ram),
    VM_INT(struct cmos, index),
    VM_INT(struct cmos, base_sec),
    VM_INT(struct cmos, base_ns),
    VM_INT(struct cmos, flags_at),
    VM_STRUCT(struct cmos, periodic, &vm_event),
    VM_STRUCT(struct cmos, update, &vm_event),
    VM_INT(struct cmos, irq_level),
    VM_INT(struct cmos, has_time),
    VM_END,
};
const struct vmstate vm_cmos = VMSTATE("cmos", struct cmos, cmos_fields);

/* ---- the calendar --------------------------------------------------------------------------- */

struct calendar {
    int64_t year;
    unsigned month, day; /* from 1 */
    unsigned hour, min, sec;
    unsigned wday; /* 0 Sunday */
};

/* Days since 1970-01-01 of a date of the Gregorian calendar; years begin in March here, so that the
 * leap day comes last. */
static int64_t days_of_date(int64_t year, unsigned month, unsigned day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    unsigned yoe = (unsigned)(y - era * 400);
    unsigned doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + (int64_t)(yoe * 365 + yoe / 4 - yoe / 100 + doy) - 719468;
}

static struct calendar calendar_of(int64_t seconds)
{
    int64_t days = (seconds >= 0 ? seconds : seconds - (DAY_SEC - 1)) / DAY_SEC;
    unsigned rest = (unsigned)(seconds - days * DAY_SEC);
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    unsigned doe = (unsigned)(z - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    struct calendar c;

    c.day = doy - (153 * mp + 2) / 5 + 1;
    c.month = mp < 10 ? mp + 3 : mp - 9;
    c.year = (int64_t)yoe + era * 400 + (c.month <= 2);
    c.hour = rest / 3600;
    c.min = rest / 60 % 60;
    c.sec = rest % 60;
    c.wday = (unsigned)(((days + 4) % 7 + 7) % 7);
    return c;
}

static uint8_t encode(const struct cmos *c, unsigned v)
{
    return c->ram[RTC_B] & B_BINARY ? (uint8_t)v : to_bcd(v % 100);
}

static unsigned decode(const struct cmos *c, uint8_t v)
{
    return c->ram[RTC_B] & B_BINARY ? v : from_bcd(v);
}

static uint8_t encode_hour(const struct cmos *c, unsigned hour)
{
    if (c->ram[RTC_B] & B_24H)
        return encode(c, hour);
    return encode(c, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0);
}

static unsigned decode_hour(const struct cmos *c, uint8_t v)
{
    if (c->ram[RTC_B] & B_24H)
        return decode(c, v);
    return decode(c, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

/* ---- the running clock ---------------------------------------------------------------------- */

static bool clock_runs(const struct cmos *c)
{
    return (c->ram[RTC_A] & 0x70) == 0x20;
}

/* Updates happen, and the time registers follow base_sec and base_ns. */
static bool updates(const struct cmos *c)
{
    return clock_runs(c) && !(c->ram[RTC_B] & B_SET);
}

/* Whole seconds from base_ns to ns. Loading a snapshot can put base_ns anywhere. */
static uint64_t seconds_at(const struct cmos *c, uint64_t ns)
{
    return ns > c->base_ns ? (ns - c->base_ns) / NS_PER_SEC : 0;
}

static void store_time(struct cmos *c, int64_t seconds)
{
    struct calendar k = calendar_of(seconds);
    unsigned year = (unsigned)(((k.year % 10000) + 10000) % 10000);

    c->ram[RTC_SEC] = encode(c, k.sec);
    c->ram[RTC_MIN] = encode(c, k.min);
    c->ram[RTC_HOUR] = encode_hour(c, k.hour);
    c->ram[RTC_WDAY] = encode(c, k.wday + 1);
    c->ram[RTC_DAY] = encode(c, k.day);
    c->ram[RTC_MONTH] = encode(c, k.month);
    c->ram[RTC_YEAR] = encode(c, year % 100);
    c->ram[CMOS_CENTURY] = to_bcd(year / 100); /* always BCD: firmware keeps it */
}

static int64_t load_time(const struct cmos *c)
{
    unsigned century = from_bcd(c->ram[CMOS_CENTURY]);
    unsigned year = decode(c, c->ram[RTC_YEAR]) + 100 * century;
    unsigned month = decode(c, c->ram[RTC_MONTH]);
    unsigned day = decode(c, c->ram[RTC_DAY]);
    int64_t days;

    /* Nonsense dates count on from the nearest month; the chip counts them up strangely too. */
    month = month < 1 ? 1 : month > 12 ? 12 : month;
    days = days_of_date(year, month, 1) + (int64_t)day - 1;
    return days * DAY_SEC + (int64_t)decode_hour(c, c->ram[RTC_HOUR]) * 3600 +
           (int64_t)decode(c, c->ram[RTC_MIN]) * 60 + decode(c, c->ram[RTC_SEC]);
}

int64_t cmos_time(struct cmos *c)
{
    if (!updates(c))
        return load_time(c);
    return c->base_sec + (int64_t)seconds_at(c, clock_now(c->dev.board->clock));
}

/* ---- flags and interrupts ------------------------------------------------------------------- */

/* Period of the periodic flag in ticks of 32768 Hz; 0: none (data sheet, table 5). */
static unsigned periodic_ticks(const struct cmos *c)
{
    unsigned rs = c->ram[RTC_A] & 15;

    if (!rs || !clock_runs(c))
        return 0;
    return rs < 3 ? BIT(rs + 6) : BIT(rs - 1);
}

#define ALARM_ANY UINT32_MAX

/* An alarm register's value; C0h and above match anything. */
static unsigned alarm_field(uint8_t reg, unsigned decoded)
{
    return reg >= 0xc0 ? ALARM_ANY : decoded;
}

/* Seconds until the alarm next matches, counting from but not including `from`; 0: never. */
static uint32_t alarm_delay(const struct cmos *c, int64_t from)
{
    const uint8_t *r = c->ram;
    unsigned hour = alarm_field(r[RTC_HOUR_ALARM], decode_hour(c, r[RTC_HOUR_ALARM]));
    unsigned min = alarm_field(r[RTC_MIN_ALARM], decode(c, r[RTC_MIN_ALARM]));
    unsigned sec = alarm_field(r[RTC_SEC_ALARM], decode(c, r[RTC_SEC_ALARM]));
    int64_t first = from + 1;
    uint32_t tod = (uint32_t)(((first % DAY_SEC) + DAY_SEC) % DAY_SEC);
    uint32_t skip;

    if ((hour != ALARM_ANY && hour > 23) || (min != ALARM_ANY && min > 59) ||
        (sec != ALARM_ANY && sec > 59))
        return 0;
    for (uint32_t d = 0; d < DAY_SEC; d += skip) {
        uint32_t t = (tod + d) % DAY_SEC;
        if (hour != ALARM_ANY && hour != t / 3600)
            skip = 3600 - t % 3600;
        else if (min != ALARM_ANY && min != t / 60 % 60)
            skip = 60 - t % 60;
        else if (sec != ALARM_ANY && sec != t % 60)
            skip = 1;
        else
            return d + 1;
    }
    return 0;
}

/* Virtual time of the n-th whole second after base_ns. */
static uint64_t second_start(const struct cmos *c, uint64_t n)
{
    return c->base_ns + n * NS_PER_SEC;
}

/* Raises the flags whose moments lie between flags_at and now. */
static void catch_up(struct cmos *c)
{
    uint64_t now = clock_now(c->dev.board->clock);
    uint64_t from = c->flags_at;
    unsigned period = periodic_ticks(c);

    if (now <= from)
        return;
    c->flags_at = now;
    if (period && ns_to_ticks(now, 32768) / period != ns_to_ticks(from, 32768) / period)
        c->ram[RTC_C] |= C_PF;
    if (updates(c)) {
        uint64_t s0 = seconds_at(c, from), s1 = seconds_at(c, now);
        if (s0 != s1) {
            uint32_t delay = alarm_delay(c, c->base_sec + (int64_t)s0);
            c->ram[RTC_C] |= C_UF;
            if (delay && delay <= s1 - s0)
                c->ram[RTC_C] |= C_AF;
        }
    }
}

static void drive_irq(struct cmos *c)
{
    bool level = c->ram[RTC_C] & c->ram[RTC_B] & (C_UF | C_AF | C_PF);

    c->ram[RTC_C] = (c->ram[RTC_C] & ~C_IRQF) | (level ? C_IRQF : 0);
    if (level != c->irq_level) {
        c->irq_level = level;
        irq_set(&c->cfg.irq, level);
    }
}

/* Schedules the events that somebody would see: an enabled interrupt whose flag is not yet up.
 * Reading register C is what makes the next one visible again. */
static void schedule(struct cmos *c)
{
    uint64_t now = clock_now(c->dev.board->clock);
    uint8_t wanted = c->ram[RTC_B] & ~c->ram[RTC_C];
    unsigned period = periodic_ticks(c);
    uint64_t when = CLOCK_NEVER;

    if ((wanted & B_PIE) && period) {
        uint64_t tick = (ns_to_ticks(now, 32768) / period + 1) * period;
        event_at(&c->periodic, ticks_to_ns(tick, 32768));
    } else {
        event_cancel(&c->periodic);
    }
    if (updates(c)) {
        uint64_t s = seconds_at(c, now);
        if (wanted & B_UIE) {
            when = second_start(c, s + 1);
        } else if (wanted & B_AIE) {
            uint32_t delay = alarm_delay(c, c->base_sec + (int64_t)s);
            if (delay)
                when = second_start(c, s + delay);
        }
    }
    if (when == CLOCK_NEVER)
        event_cancel(&c->update);
    else
        event_at(&c->update, when);
}

static void flag_event(void *opaque)
{
    struct cmos *c = opaque;

    catch_up(c);
    drive_irq(c);
    schedule(c);
}

/* ---- registers ------------------------------------------------------------------------------ */

/* From the running clock to the registers, before the clock stops or is looked at. */
static void freeze(struct cmos *c)
{
    if (updates(c))
        store_time(c, cmos_time(c));
}

/* From the registers to the clock, after they changed. whole: a new second begins now. */
static void thaw(struct cmos *c, bool whole)
{
    uint64_t now = clock_now(c->dev.board->clock);
    uint64_t phase = whole || now < c->base_ns ? 0 : (now - c->base_ns) % NS_PER_SEC;

    if (!updates(c))
        return;
    c->base_sec = load_time(c);
    c->base_ns = now - phase;
}

static uint8_t read_register(struct cmos *c, unsigned reg)
{
    uint64_t now = clock_now(c->dev.board->clock);
    uint8_t v;

    switch (reg) {
    case RTC_SEC:
    case RTC_MIN:
    case RTC_HOUR:
    case RTC_WDAY:
    case RTC_DAY:
    case RTC_MONTH:
    case RTC_YEAR:
    case CMOS_CENTURY:
        freeze(c);
        return c->ram[reg];
    case RTC_A:
        v = c->ram[RTC_A] & ~A_UIP;
        if (updates(c) && now >= c->base_ns &&
            (now - c->base_ns) % NS_PER_SEC >= NS_PER_SEC - UIP_NS)
            v |= A_UIP;
        return v;
    case RTC_C:
        catch_up(c);
        drive_irq(c);
        v = c->ram[RTC_C];
        c->ram[RTC_C] = 0;
        drive_irq(c);
        schedule(c);
        return v;
    case RTC_D:
        return D_VRT;
    default:
        return c->ram[reg];
    }
}

static void write_register(struct cmos *c, unsigned reg, uint8_t v)
{
    bool ran;

    switch (reg) {
    case RTC_SEC:
    case RTC_MIN:
    case RTC_HOUR:
    case RTC_WDAY:
    case RTC_DAY:
    case RTC_MONTH:
    case RTC_YEAR:
    case CMOS_CENTURY:
        catch_up(c);
        freeze(c);
        c->ram[reg] = v;
        thaw(c, false);
        break;
    case RTC_A:
        catch_up(c);
        freeze(c);
        ran = clock_runs(c);
        c->ram[RTC_A] = v & ~A_UIP;
        /* Releasing the divider chain starts a second. */
        thaw(c, !ran);
        break;
    case RTC_B:
        catch_up(c);
        freeze(c);
        if (v & B_SET)
            v &= ~B_UIE;
        c->ram[RTC_B] = v;
        thaw(c, false);
        break;
    case RTC_C:
    case RTC_D:
        return;
    default:
        catch_up(c); /* alarm registers among them */
        c->ram[reg] = v;
        if (reg > RTC_HOUR_ALARM)
            return;
        break;
    }
    drive_irq(c);
    schedule(c);
}

static uint64_t cmos_read(void *opaque, uint64_t offset, unsigned size)
{
    struct cmos *c = opaque;

    if (offset == 0)
        return 0xff; /* write-only */
    return read_register(c, c->index & 0x7f);
}

static void cmos_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct cmos *c = opaque;

    if (offset == 0) {
        c->index = (uint8_t)value;
        irq_set(&c->cfg.nmi_enable, !(value & 0x80));
    } else {
        write_register(c, c->index & 0x7f, (uint8_t)value);
    }
}

static const struct io_ops cmos_ops = {"cmos", cmos_read, cmos_write, 1, 1};

/* ---- the board's side ----------------------------------------------------------------------- */

static void fix_checksum(struct cmos *c)
{
    unsigned sum = 0;

    for (unsigned i = 0x10; i <= 0x2d; i++)
        sum += c->ram[i];
    c->ram[0x2e] = (uint8_t)(sum >> 8);
    c->ram[0x2f] = (uint8_t)sum;
}

void cmos_set(struct cmos *c, unsigned reg, uint8_t value)
{
    CHECK(reg < sizeof(c->ram));
    c->ram[reg] = value;
    fix_checksum(c);
}

uint8_t cmos_get(const struct cmos *c, unsigned reg)
{
    CHECK(reg < sizeof(c->ram));
    return c->ram[reg];
}

static void set16(struct cmos *c, unsigned reg, uint64_t v)
{
    cmos_set(c, reg, (uint8_t)v);
    cmos_set(c, reg + 1, (uint8_t)(v >> 8));
}

void cmos_set_memory(struct cmos *c, uint64_t below_4g, uint64_t above_4g)
{
    uint64_t kib = below_4g / KIB;
    uint64_t extended = kib > 1024 ? MIN(kib - 1024, 65535) : 0;
    uint64_t above_16m = below_4g > 16 * MIB ? MIN((below_4g - 16 * MIB) / (64 * KIB), 65535) : 0;
    uint64_t high = above_4g / (64 * KIB);

    set16(c, 0x15, MIN(kib, 640));
    set16(c, 0x17, extended);
    set16(c, 0x30, extended);
    set16(c, 0x34, above_16m);
    set16(c, 0x5b, high);
    cmos_set(c, 0x5d, (uint8_t)(high >> 16));
}

void cmos_set_floppies(struct cmos *c, uint8_t type_a, uint8_t type_b)
{
    unsigned n = (type_a != 0) + (type_b != 0);
    uint8_t equipment = 0x06; /* FPU, PS/2 mouse; display type 0: EGA or later */

    cmos_set(c, CMOS_FLOPPY, (uint8_t)(type_a << 4 | type_b));
    if (n)
        equipment |= (uint8_t)(1 | (n - 1) << 6);
    cmos_set(c, CMOS_EQUIPMENT, equipment);
}

void cmos_set_boot_order(struct cmos *c, uint8_t first, uint8_t second, uint8_t third)
{
    cmos_set(c, CMOS_BOOT_FLAG2, (uint8_t)(first | second << 4));
    cmos_set(c, CMOS_BOOT_FLAG1, (uint8_t)((c->ram[CMOS_BOOT_FLAG1] & 15) | third << 4));
}

void cmos_set_boot_letters(struct cmos *c, const char *letters)
{
    static const char codes[] = "acdn";
    uint8_t order[3] = {0, 0, 0};
    unsigned n = 0;

    for (; *letters && n < 3; letters++) {
        const char *at = strchr(codes, *letters);
        if (at)
            order[n++] = (uint8_t)(at - codes + 1);
    }
    cmos_set_boot_order(c, order[0], order[1], order[2]);
}

void cmos_set_cpus(struct cmos *c, unsigned cpus)
{
    cmos_set(c, 0x5f, (uint8_t)(cpus ? cpus - 1 : 0));
}

static bool cmos_init(struct device *dev, struct error *err)
{
    struct cmos *c = (struct cmos *)dev;

    event_init(&c->periodic, dev->board->clock, "cmos periodic", 0, flag_event, c);
    event_init(&c->update, dev->board->clock, "cmos update", 0, flag_event, c);
    portmap_add(dev->board->ports, 0x70, 2, &cmos_ops, c);
    return true;
}

/* The battery keeps the time and the memory; a reset clears the interrupt enables and flags (data
 * sheet, RESET pin). */
static void cmos_reset(struct device *dev, enum reset_kind kind)
{
    struct cmos *c = (struct cmos *)dev;
    struct board_if *b = dev->board;

    if (kind == RESET_INIT)
        return;
    freeze(c);
    if (!c->has_time) {
        c->ram[RTC_A] = 0x26; /* 32768 Hz, periodic rate 1024 Hz: what firmware sets */
        c->ram[RTC_B] = B_24H;
        c->base_sec = b->wallclock ? b->wallclock(b->opaque) : 0;
        c->base_ns = clock_now(b->clock);
        c->flags_at = c->base_ns;
        c->has_time = true;
    }
    c->ram[RTC_B] &= ~(B_PIE | B_AIE | B_UIE);
    c->ram[RTC_C] = 0;
    c->index = 0;
    irq_set(&c->cfg.nmi_enable, 1);
    drive_irq(c);
    schedule(c);
}

static void cmos_fini(struct device *dev)
{
    struct cmos *c = (struct cmos *)dev;

    portmap_remove(dev->board->ports, 0x70, 2, c);
    event_cancel(&c->periodic);
    event_cancel(&c->update);
}

const struct device_class cmos_class = {
    .name = "cmos",
    .size = sizeof(struct cmos),
    .vmstate = &vm_cmos,
    .init = cmos_init,
    .reset = cmos_reset,
    .fini = cmos_fini,
};
