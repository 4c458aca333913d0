/* A PS/2 keyboard (scan code sets 1, 2, 3) and a PS/2 mouse (standard, IntelliMouse, Explorer).
 *
 * Each is the device at the other end of the 8042's serial line: bytes written to it come in by
 * ps2_*_write, its answers and reports wait in a bounded queue until the controller takes them. A
 * key event or a packet that does not fit is dropped whole, so that the guest never sees half of
 * one; releases have room kept for them, so that no key sticks.
 */
#ifndef DEVICES_PS2_H
#define DEVICES_PS2_H

#include "devices/bus.h"

#define PS2_QUEUE   128
#define PS2_REPLIES 8
#define PS2_NO_KEY  0xffff

/* Answers to commands go before events that were waiting; a new command discards the answers to
 * the one before. */
struct ps2_queue {
    uint8_t data[PS2_QUEUE];
    uint8_t head, len;
    uint8_t reply[PS2_REPLIES];
    uint8_t reply_head, reply_len;
};

struct ps2_keyboard {
    struct ps2_queue q;
    uint8_t set; /* 1, 2, 3 */
    uint8_t leds;
    uint8_t command; /* waits for its argument; 0: none */
    uint8_t rate;    /* argument of F3h */
    uint8_t last;    /* last byte taken, for FEh */
    bool scanning;
    uint8_t down[64];                    /* bit per scan code (set 1, E0h in bit 8) that is held */
    uint8_t no_break[32], no_repeat[32]; /* bit per key of set 3: commands F7h-FDh */
    uint16_t repeating;                  /* scan code, or PS2_NO_KEY */
    struct event typematic;
    struct event bat;
    void (*wake)(void *opaque); /* there is something to take */
    void *opaque;
};

enum ps2_mouse_mode { PS2_MOUSE_STREAM, PS2_MOUSE_REMOTE, PS2_MOUSE_WRAP };

struct ps2_mouse {
    struct ps2_queue q;
    uint8_t id;   /* 0 standard, 3 wheel, 4 wheel and five buttons */
    uint8_t mode; /* enum ps2_mouse_mode */
    uint8_t mode_before_wrap;
    uint8_t rate, resolution;
    uint8_t command;  /* waits for its argument; 0: none */
    uint8_t knock[3]; /* the last sample rates set */
    uint8_t last_len; /* of the last packet, for FEh */
    uint8_t last_packet[4];
    bool scaling, enabled;
    uint8_t buttons, reported_buttons;
    int32_t dx, dy, dz; /* not yet reported; dy upwards */
    struct event report, bat;
    void (*wake)(void *opaque);
    void *opaque;
};

extern const struct vmstate vm_ps2_keyboard, vm_ps2_mouse;

void ps2_keyboard_init(struct ps2_keyboard *k, struct clock *c, void (*wake)(void *), void *opaque);
void ps2_keyboard_reset(struct ps2_keyboard *k); /* power-on; no BAT byte is sent */
void ps2_keyboard_fini(struct ps2_keyboard *k);
/* A byte from the host. */
void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t v);
void ps2_keyboard_key(struct ps2_keyboard *k, unsigned scancode, bool down);

void ps2_mouse_init(struct ps2_mouse *m, struct clock *c, void (*wake)(void *), void *opaque);
void ps2_mouse_reset(struct ps2_mouse *m);
void ps2_mouse_fini(struct ps2_mouse *m);
void ps2_mouse_write(struct ps2_mouse *m, uint8_t v);
void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz, unsigned buttons);

static inline bool ps2_queue_empty(const struct ps2_queue *q)
{
    return q->len == 0 && q->reply_len == 0;
}
/* The next byte on the line; the queue is not empty. */
uint8_t ps2_keyboard_take(struct ps2_keyboard *k);
uint8_t ps2_mouse_take(struct ps2_mouse *m);

/* For ps2_keyboard.c and ps2_mouse.c. */
extern const struct vmstate vm_ps2_queue;
void ps2_queue_clear(struct ps2_queue *q);
void ps2_queue_put(struct ps2_queue *q, const uint8_t *bytes, unsigned n); /* must fit */
void ps2_queue_reply(struct ps2_queue *q, uint8_t v);
uint8_t ps2_queue_take(struct ps2_queue *q);
static inline unsigned ps2_queue_room(const struct ps2_queue *q)
{
    return PS2_QUEUE - q->len;
}

#endif
