/* The PS/2 mouse: see ps2.h. IBM PS/2 Hardware Interface Technical Reference, "Mouse"; Microsoft's
 * "Windows and the 5-Button Wheel Mouse" for the knocks that turn the wheel on.
 *
 * Movement collects in dx, dy, dz; stream mode reports it at most `rate` times a second, at once
 * when nothing was reported for that long. A second change of the buttons inside that time is
 * reported out of turn, so that quick clicks are not lost.
 *
 * Known inaccuracies: the resolution is stored and shown but does not scale movement. The self-test
 * takes 5 ms instead of half a second. Movement that a guest does not fetch is kept up to
 * MOVE_MAX.
 */
#include "devices/ps2.h"

#define BAT_NS   (5 * 1000 * 1000ull)
#define MOVE_MAX 4096
/* Packets are held back while this much waits to be read. */
#define QUEUE_ENOUGH 16

enum { ACK = 0xfa, RESEND = 0xfe, BAT_OK = 0xaa };
enum {
    CMD_SCALE_1 = 0xe6,
    CMD_SCALE_2 = 0xe7,
    CMD_RESOLUTION = 0xe8,
    CMD_STATUS = 0xe9,
    CMD_STREAM = 0xea,
    CMD_READ = 0xeb,
    CMD_WRAP_END = 0xec,
    CMD_WRAP = 0xee,
    CMD_REMOTE = 0xf0,
    CMD_ID = 0xf2,
    CMD_RATE = 0xf3,
    CMD_ENABLE = 0xf4,
    CMD_DISABLE = 0xf5,
    CMD_DEFAULTS = 0xf6,
    CMD_RESEND = 0xfe,
    CMD_RESET = 0xff
};
enum { ID_PLAIN = 0, ID_WHEEL = 3, ID_EXPLORER = 4 };

static const struct vm_field ps2_mouse_fields[] = {
    VM_STRUCT(struct ps2_mouse, q, &vm_ps2_queue),
    VM_INT(struct ps2_mouse, id),
    VM_INT(struct ps2_mouse, mode),
    VM_INT(struct ps2_mouse, mode_before_wrap),
    VM_INT(struct ps2_mouse, rate),
    VM_INT(struct ps2_mouse, resolution),
    VM_INT(struct ps2_mouse, command),
    VM_BYTES(struct ps2_mouse, knock),
    VM_INT(struct ps2_mouse, last_len),
    VM_BYTES(struct ps2_mouse, last_packet),
    VM_INT(struct ps2_mouse, scaling),
    VM_INT(struct ps2_mouse, enabled),
    VM_INT(struct ps2_mouse, buttons),
    VM_INT(struct ps2_mouse, reported_buttons),
    VM_INT(struct ps2_mouse, dx),
    VM_INT(struct ps2_mouse, dy),
    VM_INT(struct ps2_mouse, dz),
    VM_STRUCT(struct ps2_mouse, report, &vm_event),
    VM_STRUCT(struct ps2_mouse, bat, &vm_event),
    VM_SKIP(struct ps2_mouse, wake, "wiring, set by the controller"),
    VM_SKIP(struct ps2_mouse, opaque, "wiring, set by the controller"),
    VM_END,
};

static bool ps2_mouse_post_load(void *obj)
{
    const struct ps2_mouse *m = obj;

    return m->last_len <= sizeof(m->last_packet) && m->dx >= -MOVE_MAX && m->dx <= MOVE_MAX &&
           m->dy >= -MOVE_MAX && m->dy <= MOVE_MAX && m->dz >= -MOVE_MAX && m->dz <= MOVE_MAX;
}

const struct vmstate vm_ps2_mouse =
    VMSTATE_HOOKS("ps2_mouse", struct ps2_mouse, ps2_mouse_fields, NULL, ps2_mouse_post_load);

static int32_t clamp(int64_t v, int32_t lo, int32_t hi)
{
    return v < lo ? lo : v > hi ? hi : (int32_t)v;
}

/* ---- packets -------------------------------------------------------------------------------- */

static unsigned button_mask(const struct ps2_mouse *m)
{
    return m->id == ID_EXPLORER ? 0x1f : 0x07;
}

static bool something_new(const struct ps2_mouse *m)
{
    return m->dx || m->dy || (m->dz && m->id != ID_PLAIN) ||
           ((m->buttons ^ m->reported_buttons) & button_mask(m));
}

/* Scaling 2:1 applies in stream mode only. */
static int32_t scaled(const struct ps2_mouse *m, int32_t v)
{
    static const uint8_t small[] = {0, 1, 1, 3, 6, 9};
    int32_t a = v < 0 ? -v : v;

    if (!m->scaling || m->mode != PS2_MOUSE_STREAM)
        return v;
    a = a < (int32_t)ARRAY_LEN(small) ? small[a] : MIN(2 * a, 255);
    return v < 0 ? -a : a;
}

/* Takes what one packet can hold out of the counters. */
static unsigned make_packet(struct ps2_mouse *m, uint8_t out[4])
{
    int32_t x = clamp(m->dx, -255, 255), y = clamp(m->dy, -255, 255), z = clamp(m->dz, -8, 7);
    int32_t sx = scaled(m, x), sy = scaled(m, y);
    unsigned n = 3;

    m->dx -= x;
    m->dy -= y;
    m->dz -= z;
    m->reported_buttons = m->buttons;
    out[0] = (uint8_t)(0x08 | (m->buttons & 7) | (sx < 0) << 4 | (sy < 0) << 5);
    out[1] = (uint8_t)sx;
    out[2] = (uint8_t)sy;
    if (m->id == ID_WHEEL)
        out[n++] = (uint8_t)z;
    else if (m->id == ID_EXPLORER)
        out[n++] = (uint8_t)((z & 15) | (m->buttons & 0x18) << 1);
    if (m->id == ID_PLAIN)
        m->dz = 0;
    memcpy(m->last_packet, out, n);
    m->last_len = (uint8_t)n;
    return n;
}

static bool streams(const struct ps2_mouse *m)
{
    return m->enabled && m->mode == PS2_MOUSE_STREAM;
}

static void send_report(struct ps2_mouse *m)
{
    uint8_t packet[4];

    if (ps2_queue_room(&m->q) < sizeof(packet))
        return;
    ps2_queue_put(&m->q, packet, make_packet(m, packet));
    m->wake(m->opaque);
}

static void report_event(void *opaque)
{
    struct ps2_mouse *m = opaque;

    if (!streams(m) || !something_new(m))
        return;
    if (m->q.len < QUEUE_ENOUGH)
        send_report(m);
    event_in(&m->report, NS_PER_SEC / m->rate);
}

void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz, unsigned buttons)
{
    bool press = (m->buttons ^ buttons) & button_mask(m);
    bool waiting = (m->buttons ^ m->reported_buttons) & button_mask(m);

    if (streams(m) && press && waiting)
        send_report(m);
    m->buttons = buttons & 0x1f;
    if (!m->enabled && m->mode == PS2_MOUSE_STREAM)
        return;
    m->dx = clamp((int64_t)m->dx + dx, -MOVE_MAX, MOVE_MAX);
    m->dy = clamp((int64_t)m->dy - dy, -MOVE_MAX, MOVE_MAX);
    m->dz = clamp((int64_t)m->dz + dz, -MOVE_MAX, MOVE_MAX);
    if (!event_pending(&m->report))
        report_event(m);
}

/* ---- commands ------------------------------------------------------------------------------- */

static void reply(struct ps2_mouse *m, uint8_t v)
{
    ps2_queue_reply(&m->q, v);
}

static void clear_movement(struct ps2_mouse *m)
{
    ps2_queue_clear(&m->q);
    m->dx = m->dy = m->dz = 0;
    m->reported_buttons = m->buttons;
    event_cancel(&m->report);
}

static void set_defaults(struct ps2_mouse *m)
{
    clear_movement(m);
    m->rate = 100;
    m->resolution = 2;
    m->scaling = false;
    m->enabled = false;
    m->mode = PS2_MOUSE_STREAM;
}

static void bat_event(void *opaque)
{
    struct ps2_mouse *m = opaque;

    reply(m, BAT_OK);
    reply(m, m->id);
    m->wake(m->opaque);
}

static void set_rate(struct ps2_mouse *m, uint8_t v)
{
    m->rate = v ? v : 100;
    m->knock[0] = m->knock[1];
    m->knock[1] = m->knock[2];
    m->knock[2] = v;
    if (m->knock[0] == 200 && m->knock[1] == 100 && m->knock[2] == 80 && m->id == ID_PLAIN)
        m->id = ID_WHEEL;
    else if (m->knock[0] == 200 && m->knock[1] == 200 && m->knock[2] == 80)
        m->id = ID_EXPLORER;
}

static void reply_status(struct ps2_mouse *m)
{
    unsigned b = m->buttons;

    reply(m, ACK);
    reply(m, (uint8_t)((b & 1) << 2 | (b & 4) >> 1 | (b & 2) >> 1 | m->scaling << 4 |
                       m->enabled << 5 | (m->mode == PS2_MOUSE_REMOTE) << 6));
    reply(m, m->resolution);
    reply(m, m->rate);
}

static void reply_packet(struct ps2_mouse *m, const uint8_t *packet, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        reply(m, packet[i]);
}

static void write_command(struct ps2_mouse *m, uint8_t v)
{
    uint8_t packet[4];

    switch (v) {
    case CMD_SCALE_1:
    case CMD_SCALE_2:
        m->scaling = v == CMD_SCALE_2;
        break;
    case CMD_RESOLUTION:
    case CMD_RATE:
        m->command = v;
        break;
    case CMD_STATUS:
        reply_status(m);
        return;
    case CMD_STREAM:
        clear_movement(m);
        m->mode = PS2_MOUSE_STREAM;
        break;
    case CMD_READ:
        reply(m, ACK);
        reply_packet(m, packet, make_packet(m, packet));
        return;
    case CMD_WRAP_END:
        if (m->mode == PS2_MOUSE_WRAP)
            m->mode = m->mode_before_wrap;
        break;
    case CMD_WRAP:
        clear_movement(m);
        m->mode_before_wrap = m->mode;
        m->mode = PS2_MOUSE_WRAP;
        break;
    case CMD_REMOTE:
        clear_movement(m);
        m->mode = PS2_MOUSE_REMOTE;
        break;
    case CMD_ID:
        reply(m, ACK);
        reply(m, m->id);
        return;
    case CMD_ENABLE:
        clear_movement(m);
        m->enabled = true;
        break;
    case CMD_DISABLE:
        clear_movement(m);
        m->enabled = false;
        break;
    case CMD_DEFAULTS:
        set_defaults(m);
        break;
    case CMD_RESEND:
        reply_packet(m, m->last_packet, m->last_len);
        return;
    case CMD_RESET:
        set_defaults(m);
        m->id = ID_PLAIN;
        event_in(&m->bat, BAT_NS);
        break;
    default:
        reply(m, RESEND);
        return;
    }
    reply(m, ACK);
}

void ps2_mouse_write(struct ps2_mouse *m, uint8_t v)
{
    uint8_t command = m->command;

    m->q.reply_len = 0;
    m->command = 0;
    if (m->mode == PS2_MOUSE_WRAP && v != CMD_WRAP_END && v != CMD_RESET) {
        reply(m, v);
    } else if (command == CMD_RATE) {
        set_rate(m, v);
        reply(m, ACK);
    } else if (command == CMD_RESOLUTION) {
        m->resolution = v & 3;
        reply(m, ACK);
    } else {
        write_command(m, v);
    }
    m->wake(m->opaque);
}

uint8_t ps2_mouse_take(struct ps2_mouse *m)
{
    return ps2_queue_take(&m->q);
}

void ps2_mouse_init(struct ps2_mouse *m, struct clock *c, void (*wake)(void *), void *opaque)
{
    m->wake = wake;
    m->opaque = opaque;
    event_init(&m->report, c, "mouse report", 0, report_event, m);
    event_init(&m->bat, c, "mouse self-test", 0, bat_event, m);
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
    set_defaults(m);
    event_cancel(&m->bat);
    m->id = ID_PLAIN;
    m->command = 0;
    m->last_len = 0;
    memset(m->knock, 0, sizeof(m->knock));
}

void ps2_mouse_fini(struct ps2_mouse *m)
{
    event_cancel(&m->report);
    event_cancel(&m->bat);
}
