/* The 8042 keyboard controller (ports 60h/64h) with a PS/2 keyboard and a PS/2 wheel mouse.
 *
 * The controller is in kbc.c; the two devices behind it are in ps2_keyboard.c and ps2_mouse.c. A device holds a
 * queue of bytes; the controller moves one at a time into its output buffer, with the delay of a
 * serial frame, and raises IRQ 1 or IRQ 12.
 */
#ifndef DEVICES_KBC_H
#define DEVICES_KBC_H

#include "devices/bus.h"
#include "devices/ps2.h"

struct kbc_config {
    struct irq_line irq1, irq12;
    /* What a pulse on the reset line asks for: false, a reset of the whole machine; true, only of
     * the CPU (INIT), as the PIIX does. */
    bool reset_is_init;
};

struct kbc {
    struct device dev;
    struct kbc_config cfg;
    uint8_t status;  /* port 64h */
    uint8_t ctr;     /* command byte */
    uint8_t outport; /* P2 */
    uint8_t obuf;    /* port 60h */
    uint8_t command; /* waits for its data byte at port 60h; 0: none */
    uint8_t ram[32]; /* the controller's memory, commands 20h-3Fh and 60h-7Fh */
    bool irq1_level, irq12_level;
    bool got_break; /* translation: F0h came, the next byte gets bit 7 */
    /* Bytes the controller itself has to say, in front of the devices'. */
    uint8_t reply[4];
    uint8_t reply_aux; /* bit n: reply n is marked as the mouse's */
    uint8_t replies;
    struct event deliver; /* the next byte reaches the output buffer */
    struct ps2_keyboard kbd;
    struct ps2_mouse mouse;
};

/* Set 2 to set 1, as the controller translates while bit 6 of its command byte is set. */
extern const uint8_t kbc_translation[256];

extern const struct device_class kbc_class;
extern const struct vmstate vm_kbc;

/* scancode: set 1, with E0h as bit 8 (Pause is 145h, Print Screen 137h). */
void kbc_key(struct kbc *k, unsigned scancode, bool down);
/* dx to the right, dy downwards, dz wheel towards the user; buttons bit 0 left, 1 right, 2 middle,
 * 3 and 4 the side buttons. */
void kbc_mouse(struct kbc *k, int dx, int dy, int dz, unsigned buttons);
/* Caps, Num and Scroll Lock as the guest set them: bit 0 scroll, 1 num, 2 caps. */
uint8_t kbc_leds(const struct kbc *k);

#endif
