/* The PS/2 keyboard: see ps2.h. IBM PS/2 Hardware Interface Technical Reference, "Keyboard (101- and
 * 102-key)".
 *
 * Keys come in as codes of set 1, and go out in the set that the guest chose. Set 2 is the
 * controller's translation table (kbc.c) read backwards, so it is not written down again.
 *
 * Known inaccuracies: no shift codes around the grey keys while Num Lock or Shift is on (drivers
 * drop them). Set 3 starts with every key typematic with make and break codes. The self-test takes
 * 5 ms instead of half a second.
 */
#include "devices/kbc.h"

#define BAT_NS (5 * 1000 * 1000ull)
/* Room that key presses leave for releases: the longest release is six bytes. */
#define RELEASE_ROOM 48
#define KEY_BYTES    8

enum { ACK = 0xfa, RESEND = 0xfe, BAT_OK = 0xaa };
enum {
    CMD_LEDS = 0xed,
    CMD_ECHO = 0xee,
    CMD_SET = 0xf0,
    CMD_ID = 0xf2,
    CMD_RATE = 0xf3,
    CMD_ENABLE = 0xf4,
    CMD_DISABLE = 0xf5,
    CMD_DEFAULTS = 0xf6,
    CMD_ALL_REPEAT = 0xf7,
    CMD_ALL_BREAK = 0xf8,
    CMD_ALL_MAKE = 0xf9,
    CMD_ALL_BOTH = 0xfa,
    CMD_KEY_REPEAT = 0xfb,
    CMD_KEY_BREAK = 0xfc,
    CMD_KEY_MAKE = 0xfd,
    CMD_RESEND = 0xfe,
    CMD_RESET = 0xff
};
#define RATE_DEFAULT 0x2b /* 500 ms, 10.9 a second */

enum {
    KEY_CTRL = 0x1d,
    KEY_ALT = 0x38,
    KEY_LSHIFT = 0x2a,
    KEY_RSHIFT = 0x36,
    KEY_SYSRQ = 0x54,
    KEY_PRINT = 0x137,
    KEY_PAUSE = 0x145,
    KEY_BREAK = 0x146
};

/* Where set 3 differs from set 2 (set 2's plain keys are the same), by code of set 1. */
static const struct {
    uint16_t set1;
    uint8_t set3;
} set3_exceptions[] = {
    {0x01, 0x08},  {0x1d, 0x11},  {0x2b, 0x5c},  {0x37, 0x7e},  {0x38, 0x19},  {0x3a, 0x14},
    {0x3b, 0x07},  {0x3c, 0x0f},  {0x3d, 0x17},  {0x3e, 0x1f},  {0x3f, 0x27},  {0x40, 0x2f},
    {0x41, 0x37},  {0x42, 0x3f},  {0x43, 0x47},  {0x44, 0x4f},  {0x45, 0x76},  {0x46, 0x5f},
    {0x4a, 0x84},  {0x4e, 0x7c},  {0x54, 0x57},  {0x56, 0x13},  {0x57, 0x56},  {0x58, 0x5e},
    {0x11c, 0x79}, {0x11d, 0x58}, {0x135, 0x77}, {0x137, 0x57}, {0x138, 0x39}, {0x145, 0x62},
    {0x146, 0x62}, {0x147, 0x6e}, {0x148, 0x63}, {0x149, 0x6f}, {0x14b, 0x61}, {0x14d, 0x6a},
    {0x14f, 0x65}, {0x150, 0x60}, {0x151, 0x6d}, {0x152, 0x67}, {0x153, 0x64}, {0x15b, 0x8b},
    {0x15c, 0x8c}, {0x15d, 0x8d},
};

static const struct vm_field ps2_keyboard_fields[] = {
    VM_STRUCT(struct ps2_keyboard, q, &vm_ps2_queue),
    VM_INT(struct ps2_keyboard, set),
    VM_INT(struct ps2_keyboard, leds),
    VM_INT(struct ps2_keyboard, command),
    VM_INT(struct ps2_keyboard, rate),
    VM_INT(struct ps2_keyboard, last),
    VM_INT(struct ps2_keyboard, scanning),
    VM_BYTES(struct ps2_keyboard, down),
    VM_BYTES(struct ps2_keyboard, no_break),
    VM_BYTES(struct ps2_keyboard, no_repeat),
    VM_INT(struct ps2_keyboard, repeating),
    VM_STRUCT(struct ps2_keyboard, typematic, &vm_event),
    VM_STRUCT(struct ps2_keyboard, bat, &vm_event),
    VM_SKIP(struct ps2_keyboard, wake, "wiring, set by the controller"),
    VM_SKIP(struct ps2_keyboard, opaque, "wiring, set by the controller"),
    VM_END,
};
const struct vmstate vm_ps2_keyboard =
    VMSTATE("ps2_keyboard", struct ps2_keyboard, ps2_keyboard_fields);

static bool bit_test(const uint8_t *map, unsigned n)
{
    return map[n / 8] >> (n % 8) & 1;
}

static void bit_assign(uint8_t *map, unsigned n, bool v)
{
    if (v)
        map[n / 8] |= (uint8_t)BIT(n % 8);
    else
        map[n / 8] &= (uint8_t)~BIT(n % 8);
}

static bool held(const struct ps2_keyboard *k, unsigned code)
{
    return bit_test(k->down, code);
}

/* ---- key codes ------------------------------------------------------------------------------ */

static uint8_t set2_code(unsigned code)
{
    /* F7 and SysRq stand twice in the table: the keyboard's own codes are the high ones. */
    for (unsigned i = 0x84; i > 0; i--)
        if (kbc_translation[i] == (code & 0x7f))
            return (uint8_t)i;
    return 0;
}

static uint8_t set3_code(unsigned code)
{
    for (unsigned i = 0; i < ARRAY_LEN(set3_exceptions); i++)
        if (set3_exceptions[i].set1 == code)
            return set3_exceptions[i].set3;
    return code < 0x80 ? set2_code(code) : 0;
}

/* Appends one key's code with its prefixes in set 1 or 2; returns the new length. */
static unsigned put_code(const struct ps2_keyboard *k, uint8_t *out, unsigned n, unsigned code,
                         bool down)
{
    if (code & 0x100)
        out[n++] = 0xe0;
    if (k->set == 1) {
        out[n++] = (uint8_t)((code & 0x7f) | (down ? 0 : 0x80));
    } else {
        if (!down)
            out[n++] = 0xf0;
        out[n++] = set2_code(code);
    }
    return n;
}

/* The bytes of a key event in the current set; 0: none. */
static unsigned key_bytes(const struct ps2_keyboard *k, unsigned code, bool down,
                          uint8_t out[KEY_BYTES])
{
    static const uint8_t pause1[] = {0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5};
    static const uint8_t pause2[] = {0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77};
    bool ctrl = held(k, KEY_CTRL) || held(k, KEY_CTRL | 0x100);
    bool shift = held(k, KEY_LSHIFT) || held(k, KEY_RSHIFT);
    bool alt = held(k, KEY_ALT) || held(k, KEY_ALT | 0x100);
    unsigned n = 0;

    if (k->set == 3) {
        uint8_t c = set3_code(code);
        if (!c || (!down && bit_test(k->no_break, c)))
            return 0;
        if (!down)
            out[n++] = 0xf0;
        out[n++] = c;
        return n;
    }
    if (code == KEY_PAUSE && ctrl)
        code = KEY_BREAK;
    if (code == KEY_PAUSE) { /* make and break in one, at the press */
        if (!down)
            return 0;
        n = k->set == 1 ? sizeof(pause1) : sizeof(pause2);
        memcpy(out, k->set == 1 ? pause1 : pause2, n);
        return n;
    }
    if (code == KEY_PRINT && alt)
        return put_code(k, out, 0, KEY_SYSRQ, down);
    if (code == KEY_PRINT && !ctrl && !shift) {
        n = put_code(k, out, 0, down ? KEY_LSHIFT | 0x100u : code, down);
        return put_code(k, out, n, down ? code : KEY_LSHIFT | 0x100u, down);
    }
    return set2_code(code) ? put_code(k, out, 0, code, down) : 0;
}

static bool send_key(struct ps2_keyboard *k, unsigned code, bool down)
{
    uint8_t bytes[KEY_BYTES];
    unsigned n = key_bytes(k, code, down, bytes);

    if (!n || ps2_queue_room(&k->q) < n + (down ? RELEASE_ROOM : 0))
        return false;
    ps2_queue_put(&k->q, bytes, n);
    k->wake(k->opaque);
    return true;
}

/* ---- typematic ------------------------------------------------------------------------------ */

static uint64_t repeat_delay(const struct ps2_keyboard *k)
{
    return ((k->rate >> 5 & 3) + 1) * 250 * 1000000ull;
}

static uint64_t repeat_period(const struct ps2_keyboard *k)
{
    return (8 + (k->rate & 7)) * (1ull << (k->rate >> 3 & 3)) * 4170000ull;
}

static void stop_repeat(struct ps2_keyboard *k)
{
    k->repeating = PS2_NO_KEY;
    event_cancel(&k->typematic);
}

static void typematic_event(void *opaque)
{
    struct ps2_keyboard *k = opaque;

    if (k->repeating == PS2_NO_KEY || !k->scanning)
        return;
    if (ps2_queue_empty(&k->q)) /* a guest that does not read gets no backlog */
        send_key(k, k->repeating, true);
    event_in(&k->typematic, repeat_period(k));
}

void ps2_keyboard_key(struct ps2_keyboard *k, unsigned scancode, bool down)
{
    unsigned code = scancode & 0x1ff;

    if (!(code & 0x7f) || (code & 0x80) || held(k, code) == down)
        return;
    bit_assign(k->down, code, down);
    if (!k->scanning)
        return;
    send_key(k, code, down);
    if (!down) {
        if (k->repeating == code)
            stop_repeat(k);
    } else if (code != KEY_PAUSE && !(k->set == 3 && bit_test(k->no_repeat, set3_code(code)))) {
        k->repeating = (uint16_t)code;
        event_in(&k->typematic, repeat_delay(k));
    } else {
        stop_repeat(k);
    }
}

/* ---- commands ------------------------------------------------------------------------------- */

static void reply(struct ps2_keyboard *k, uint8_t v)
{
    ps2_queue_reply(&k->q, v);
}

static void set_defaults(struct ps2_keyboard *k)
{
    ps2_queue_clear(&k->q);
    k->set = 2;
    k->rate = RATE_DEFAULT;
    memset(k->no_break, 0, sizeof(k->no_break));
    memset(k->no_repeat, 0, sizeof(k->no_repeat));
    stop_repeat(k);
}

static void bat_event(void *opaque)
{
    struct ps2_keyboard *k = opaque;

    k->scanning = true;
    reply(k, BAT_OK);
    k->wake(k->opaque);
}

static void write_argument(struct ps2_keyboard *k, uint8_t command, uint8_t v)
{
    k->command = 0;
    switch (command) {
    case CMD_LEDS:
        k->leds = v & 7;
        reply(k, ACK);
        break;
    case CMD_SET:
        if (v > 3) {
            reply(k, RESEND);
            break;
        }
        reply(k, ACK);
        if (v == 0)
            reply(k, k->set);
        else
            k->set = v;
        break;
    case CMD_RATE:
        k->rate = v & 0x7f;
        reply(k, ACK);
        break;
    default: /* FBh-FDh: more keys may follow */
        bit_assign(k->no_break, v, command != CMD_KEY_BREAK);
        bit_assign(k->no_repeat, v, command != CMD_KEY_REPEAT);
        k->command = command;
        reply(k, ACK);
        break;
    }
}

static void set_all(struct ps2_keyboard *k, bool no_break, bool no_repeat)
{
    memset(k->no_break, no_break ? 0xff : 0, sizeof(k->no_break));
    memset(k->no_repeat, no_repeat ? 0xff : 0, sizeof(k->no_repeat));
    reply(k, ACK);
}

static void write_command(struct ps2_keyboard *k, uint8_t v)
{
    k->command = 0;
    switch (v) {
    case CMD_LEDS:
    case CMD_SET:
    case CMD_RATE:
    case CMD_KEY_REPEAT:
    case CMD_KEY_BREAK:
    case CMD_KEY_MAKE:
        k->command = v;
        reply(k, ACK);
        break;
    case CMD_ECHO:
        reply(k, CMD_ECHO);
        break;
    case CMD_ID:
        reply(k, ACK);
        reply(k, 0xab);
        reply(k, 0x83);
        break;
    case CMD_ENABLE:
        ps2_queue_clear(&k->q);
        k->scanning = true;
        reply(k, ACK);
        break;
    case CMD_DISABLE:
        set_defaults(k);
        k->scanning = false;
        reply(k, ACK);
        break;
    case CMD_DEFAULTS:
        set_defaults(k);
        reply(k, ACK);
        break;
    case CMD_ALL_REPEAT:
        set_all(k, true, false);
        break;
    case CMD_ALL_BREAK:
        set_all(k, false, true);
        break;
    case CMD_ALL_MAKE:
        set_all(k, true, true);
        break;
    case CMD_ALL_BOTH:
        set_all(k, false, false);
        break;
    case CMD_RESEND:
        reply(k, k->last);
        break;
    case CMD_RESET:
        set_defaults(k);
        k->scanning = false;
        k->leds = 0;
        reply(k, ACK);
        event_in(&k->bat, BAT_NS);
        break;
    default:
        reply(k, RESEND);
        break;
    }
}

void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t v)
{
    /* Transmission from the host stops whatever answer was on its way. */
    k->q.reply_len = 0;
    if (k->command && v < CMD_LEDS)
        write_argument(k, k->command, v);
    else
        write_command(k, v);
    k->wake(k->opaque);
}

uint8_t ps2_keyboard_take(struct ps2_keyboard *k)
{
    k->last = ps2_queue_take(&k->q);
    return k->last;
}

void ps2_keyboard_init(struct ps2_keyboard *k, struct clock *c, void (*wake)(void *), void *opaque)
{
    k->wake = wake;
    k->opaque = opaque;
    event_init(&k->typematic, c, "keyboard repeat", 0, typematic_event, k);
    event_init(&k->bat, c, "keyboard self-test", 0, bat_event, k);
}

void ps2_keyboard_reset(struct ps2_keyboard *k)
{
    set_defaults(k);
    event_cancel(&k->bat);
    k->scanning = true;
    k->leds = 0;
    k->command = 0;
    k->last = BAT_OK;
}

void ps2_keyboard_fini(struct ps2_keyboard *k)
{
    event_cancel(&k->typematic);
    event_cancel(&k->bat);
}
