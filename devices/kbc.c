/* The 8042 keyboard controller: see kbc.h for its use. IBM PS/2 Hardware Interface Technical
 * Reference, "Keyboard and Auxiliary Device Controller".
 *
 * Invariant: while the output buffer is empty and somebody who may speak has something to say,
 * `deliver` is pending (`kick` sees to it after every change). The controller's own answers come at
 * once, a device's byte after the time of a serial frame.
 *
 * Known inaccuracies: the input buffer is never full (status bit 1 is always 0); frames take 100 us
 * instead of about a millisecond; no parity or time-out errors; A20 follows the last of this port
 * and port 92h to change it, where a board ORs the two; the self-test leaves the command byte.
 */
#include "devices/kbc.h"

#define FRAME_NS (100 * 1000ull)

enum { ST_OBF = 0x01, ST_SYS = 0x04, ST_CMD = 0x08, ST_UNLOCKED = 0x10, ST_AUX = 0x20 };
enum {
    CTR_KBD_INT = 0x01,
    CTR_AUX_INT = 0x02,
    CTR_SYS = 0x04,
    CTR_KBD_OFF = 0x10,
    CTR_AUX_OFF = 0x20,
    CTR_XLATE = 0x40
};
enum { OUT_NO_RESET = 0x01, OUT_A20 = 0x02, OUT_KBD_OBF = 0x10, OUT_AUX_OBF = 0x20 };

#define ROW(a, b, c, d, e, f, g, h) 0x##a, 0x##b, 0x##c, 0x##d, 0x##e, 0x##f, 0x##g, 0x##h
const uint8_t kbc_translation[256] = {
    ROW(ff, 43, 41, 3f, 3d, 3b, 3c, 58), ROW(64, 44, 42, 40, 3e, 0f, 29, 59),
    ROW(65, 38, 2a, 70, 1d, 10, 02, 5a), ROW(66, 71, 2c, 1f, 1e, 11, 03, 5b),
    ROW(67, 2e, 2d, 20, 12, 05, 04, 5c), ROW(68, 39, 2f, 21, 14, 13, 06, 5d),
    ROW(69, 31, 30, 23, 22, 15, 07, 5e), ROW(6a, 72, 32, 24, 16, 08, 09, 5f),
    ROW(6b, 33, 25, 17, 18, 0b, 0a, 60), ROW(6c, 34, 35, 26, 27, 19, 0c, 61),
    ROW(6d, 73, 28, 74, 1a, 0d, 62, 6e), ROW(3a, 36, 1c, 1b, 75, 2b, 63, 76),
    ROW(55, 56, 77, 78, 79, 7a, 0e, 7b), ROW(7c, 4f, 7d, 4b, 47, 7e, 7f, 6f),
    ROW(52, 53, 50, 4c, 4d, 48, 01, 45), ROW(57, 4e, 51, 4a, 37, 49, 46, 54),
    ROW(80, 81, 82, 41, 54, 85, 86, 87), ROW(88, 89, 8a, 8b, 8c, 8d, 8e, 8f),
    ROW(90, 91, 92, 93, 94, 95, 96, 97), ROW(98, 99, 9a, 9b, 9c, 9d, 9e, 9f),
    ROW(a0, a1, a2, a3, a4, a5, a6, a7), ROW(a8, a9, aa, ab, ac, ad, ae, af),
    ROW(b0, b1, b2, b3, b4, b5, b6, b7), ROW(b8, b9, ba, bb, bc, bd, be, bf),
    ROW(c0, c1, c2, c3, c4, c5, c6, c7), ROW(c8, c9, ca, cb, cc, cd, ce, cf),
    ROW(d0, d1, d2, d3, d4, d5, d6, d7), ROW(d8, d9, da, db, dc, dd, de, df),
    ROW(e0, e1, e2, e3, e4, e5, e6, e7), ROW(e8, e9, ea, eb, ec, ed, ee, ef),
    ROW(f0, f1, f2, f3, f4, f5, f6, f7), ROW(f8, f9, fa, fb, fc, fd, fe, ff),
};
#undef ROW

static const struct vm_field kbc_fields[] = {
    VM_DEVICE(struct kbc),
    VM_SKIP(struct kbc, cfg, "wiring, set by the board"),
    VM_INT(struct kbc, status),
    VM_INT(struct kbc, ctr),
    VM_INT(struct kbc, outport),
    VM_INT(struct kbc, obuf),
    VM_INT(struct kbc, command),
    VM_BYTES(struct kbc, ram),
    VM_INT(struct kbc, irq1_level),
    VM_INT(struct kbc, irq12_level),
    VM_INT(struct kbc, got_break),
    VM_BYTES(struct kbc, reply),
    VM_INT(struct kbc, reply_aux),
    VM_INT(struct kbc, replies),
    VM_STRUCT(struct kbc, deliver, &vm_event),
    VM_STRUCT(struct kbc, kbd, &vm_ps2_keyboard),
    VM_STRUCT(struct kbc, mouse, &vm_ps2_mouse),
    VM_END,
};

static bool kbc_post_load(void *obj)
{
    const struct kbc *k = obj;

    return k->replies <= sizeof(k->reply);
}

const struct vmstate vm_kbc = VMSTATE_HOOKS("kbc", struct kbc, kbc_fields, NULL, kbc_post_load);

/* ---- the output buffer ---------------------------------------------------------------------- */

static void drive_irqs(struct kbc *k)
{
    bool full = k->status & ST_OBF, aux = k->status & ST_AUX;
    bool irq1 = full && !aux && (k->ctr & CTR_KBD_INT);
    bool irq12 = full && aux && (k->ctr & CTR_AUX_INT);

    if (irq1 != k->irq1_level) {
        k->irq1_level = irq1;
        irq_set(&k->cfg.irq1, irq1);
    }
    if (irq12 != k->irq12_level) {
        k->irq12_level = irq12;
        irq_set(&k->cfg.irq12, irq12);
    }
}

static void fill(struct kbc *k, uint8_t v, bool aux)
{
    k->obuf = v;
    k->status = (k->status & ~ST_AUX) | ST_OBF | (aux ? ST_AUX : 0);
    drive_irqs(k);
}

static bool kbd_waits(const struct kbc *k)
{
    return !(k->ctr & CTR_KBD_OFF) && !ps2_queue_empty(&k->kbd.q);
}

static bool mouse_waits(const struct kbc *k)
{
    return !(k->ctr & CTR_AUX_OFF) && !ps2_queue_empty(&k->mouse.q);
}

static void kick(struct kbc *k)
{
    if (k->status & ST_OBF)
        return;
    if (k->replies) {
        uint8_t v = k->reply[0];
        bool aux = k->reply_aux & 1;
        k->replies--;
        k->reply_aux >>= 1;
        memmove(k->reply, k->reply + 1, k->replies);
        fill(k, v, aux);
    } else if ((kbd_waits(k) || mouse_waits(k)) && !event_pending(&k->deliver)) {
        event_in(&k->deliver, FRAME_NS);
    }
}

static void deliver_event(void *opaque)
{
    struct kbc *k = opaque;

    while (!(k->status & ST_OBF) && kbd_waits(k)) {
        uint8_t v = ps2_keyboard_take(&k->kbd);
        if (!(k->ctr & CTR_XLATE)) {
            fill(k, v, false);
        } else if (v == 0xf0) {
            k->got_break = true; /* the translator swallows it */
        } else {
            fill(k, kbc_translation[v] | (k->got_break ? 0x80 : 0), false);
            k->got_break = false;
        }
    }
    if (!(k->status & ST_OBF) && mouse_waits(k))
        fill(k, ps2_mouse_take(&k->mouse), true);
    kick(k);
}

static void wake(void *opaque)
{
    kick(opaque);
}

/* An answer of the controller itself. */
static void answer(struct kbc *k, uint8_t v, bool aux)
{
    if (k->replies < sizeof(k->reply)) {
        k->reply[k->replies] = v;
        k->reply_aux = (uint8_t)((k->reply_aux & ~BIT(k->replies)) | (unsigned)aux << k->replies);
        k->replies++;
    }
    kick(k);
}

/* ---- commands ------------------------------------------------------------------------------- */

static void pulse_reset(struct kbc *k)
{
    struct board_if *b = k->dev.board;

    b->request_reset(b->opaque, k->cfg.reset_is_init ? RESET_INIT : RESET_HARD,
                     "keyboard controller");
}

static void write_outport(struct kbc *k, uint8_t v)
{
    struct board_if *b = k->dev.board;
    uint8_t changed = k->outport ^ v;

    k->outport = v;
    if (changed & OUT_A20)
        b->set_a20(b->opaque, v & OUT_A20);
    if (!(v & OUT_NO_RESET)) {
        k->outport |= OUT_NO_RESET; /* the reset brings it back */
        pulse_reset(k);
    }
}

static void write_ctr(struct kbc *k, uint8_t v)
{
    k->ctr = v;
    k->status = (k->status & ~ST_SYS) | (v & CTR_SYS ? ST_SYS : 0);
    drive_irqs(k);
}

static void write_command(struct kbc *k, uint8_t v)
{
    k->status |= ST_CMD;
    k->command = 0;
    if (v >= 0xf0) { /* pulse the output port's low bits that are 0 here */
        if (!(v & 1))
            pulse_reset(k);
        return;
    }
    if (v >= 0x20 && v < 0x40) {
        answer(k, v == 0x20 ? k->ctr : k->ram[v & 31], false);
        return;
    }
    if (v >= 0x60 && v < 0x80) {
        k->command = v;
        return;
    }
    switch (v) {
    case 0xa4: /* is there a password: no */
        answer(k, 0xf1, false);
        break;
    case 0xa7:
        k->ctr |= CTR_AUX_OFF;
        break;
    case 0xa8:
        k->ctr &= ~CTR_AUX_OFF;
        break;
    case 0xa9: /* interface tests: no fault */
    case 0xab:
        answer(k, 0x00, false);
        break;
    case 0xaa:
        k->ctr |= CTR_SYS;
        k->status |= ST_SYS;
        answer(k, 0x55, false);
        break;
    case 0xad:
        k->ctr |= CTR_KBD_OFF;
        break;
    case 0xae:
        k->ctr &= ~CTR_KBD_OFF;
        break;
    case 0xc0: /* input port: not locked */
        answer(k, 0x80, false);
        break;
    case 0xd0:
        answer(k,
               (uint8_t)(k->outport | (k->irq1_level ? OUT_KBD_OBF : 0) |
                         (k->irq12_level ? OUT_AUX_OBF : 0)),
               false);
        break;
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xd4:
        k->command = v;
        break;
    case 0xdd: /* A20 off and on, as later controllers have it */
        write_outport(k, k->outport & ~OUT_A20);
        break;
    case 0xdf:
        write_outport(k, k->outport | OUT_A20);
        break;
    case 0xe0: /* test inputs: both clock lines low */
        answer(k, 0x00, false);
        break;
    default:
        LOG(k->dev.board->log, LOG_UNIMP, "kbc: command %02x", v);
        break;
    }
    kick(k);
}

static void write_data(struct kbc *k, uint8_t v)
{
    uint8_t command = k->command;

    k->status &= ~ST_CMD;
    k->command = 0;
    switch (command) {
    case 0:
        /* Talking to the keyboard switches its line on again. */
        k->ctr &= ~CTR_KBD_OFF;
        ps2_keyboard_write(&k->kbd, v);
        break;
    case 0xd1:
        write_outport(k, v);
        break;
    case 0xd2:
    case 0xd3:
        answer(k, v, command == 0xd3);
        break;
    case 0xd4:
        k->ctr &= ~CTR_AUX_OFF;
        ps2_mouse_write(&k->mouse, v);
        break;
    case 0x60:
        write_ctr(k, v);
        break;
    default: /* 61h-7Fh */
        k->ram[command & 31] = v;
        break;
    }
    kick(k);
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    struct kbc *k = opaque;
    uint8_t v = k->obuf;

    k->status &= ~(ST_OBF | ST_AUX);
    drive_irqs(k);
    kick(k);
    return v;
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    write_data(opaque, (uint8_t)value);
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct kbc *k = opaque;

    return k->status;
}

static void status_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    write_command(opaque, (uint8_t)value);
}

static const struct io_ops data_ops = {"kbc", data_read, data_write, 1, 1};
static const struct io_ops status_ops = {"kbc", status_read, status_write, 1, 1};

/* ---- the board's side ----------------------------------------------------------------------- */

void kbc_key(struct kbc *k, unsigned scancode, bool down)
{
    ps2_keyboard_key(&k->kbd, scancode, down);
}

void kbc_mouse(struct kbc *k, int dx, int dy, int dz, unsigned buttons)
{
    ps2_mouse_move(&k->mouse, dx, dy, dz, buttons);
}

uint8_t kbc_leds(const struct kbc *k)
{
    return k->kbd.leds;
}

static bool kbc_init(struct device *dev, struct error *err)
{
    struct kbc *k = (struct kbc *)dev;

    event_init(&k->deliver, dev->board->clock, "kbc", 0, deliver_event, k);
    ps2_keyboard_init(&k->kbd, dev->board->clock, wake, k);
    ps2_mouse_init(&k->mouse, dev->board->clock, wake, k);
    portmap_add(dev->board->ports, 0x60, 1, &data_ops, k);
    portmap_add(dev->board->ports, 0x64, 1, &status_ops, k);
    return true;
}

/* What firmware would leave: translation and the keyboard's interrupt on. Firmware sets it anyway;
 * a kernel loaded without firmware finds it so. */
static void kbc_reset(struct device *dev, enum reset_kind kind)
{
    struct kbc *k = (struct kbc *)dev;

    if (kind == RESET_INIT)
        return;
    event_cancel(&k->deliver);
    k->status = ST_CMD | ST_UNLOCKED | ST_SYS;
    k->ctr = CTR_KBD_INT | CTR_SYS | CTR_XLATE;
    k->outport = 0xcc | OUT_NO_RESET | OUT_A20;
    k->obuf = 0;
    k->command = 0;
    memset(k->ram, 0, sizeof(k->ram));
    memset(k->reply, 0, sizeof(k->reply));
    k->replies = 0;
    k->reply_aux = 0;
    k->got_break = false;
    ps2_keyboard_reset(&k->kbd);
    ps2_mouse_reset(&k->mouse);
    drive_irqs(k);
}

static void kbc_fini(struct device *dev)
{
    struct kbc *k = (struct kbc *)dev;

    portmap_remove(dev->board->ports, 0x60, 1, k);
    portmap_remove(dev->board->ports, 0x64, 1, k);
    event_cancel(&k->deliver);
    ps2_keyboard_fini(&k->kbd);
    ps2_mouse_fini(&k->mouse);
}

const struct device_class kbc_class = {
    .name = "kbc",
    .size = sizeof(struct kbc),
    .vmstate = &vm_kbc,
    .init = kbc_init,
    .reset = kbc_reset,
    .fini = kbc_fini,
};
