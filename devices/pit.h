/* The 8254 programmable interval timer: three counters of 1.193182 MHz. Counter 0 drives IRQ 0,
 * counter 1 was the refresh timer, counter 2 the speaker; the gate of counter 2 is bit 0 of port
 * 61h (sysctl.c).
 *
 * Counters are arithmetic on virtual time: nothing happens between the edges of counter 0's
 * output, and nothing at all for the other two, whose output is worked out when asked for.
 */
#ifndef DEVICES_PIT_H
#define DEVICES_PIT_H

#include "devices/bus.h"

#define PIT_HZ 1193182ull

struct pit_channel {
    /* Times are ticks of PIT_HZ since power-on. `start` is the tick of elapsed count 0; it may lie
     * one tick ahead (a count is loaded on the next clock pulse) or, modulo 2^64, before 0. */
    uint64_t start;
    uint64_t elapsed;   /* while stopped: ticks counted so far */
    uint64_t switch_at; /* modes 2 and 3: the tick when next_count takes over, if null_count */
    uint32_t count;     /* in the counting element: 1 to 65536 */
    uint32_t next_count; /* in the count register */
    uint8_t mode, bcd;
    uint8_t rw;         /* 1 LSB, 2 MSB, 3 LSB then MSB */
    bool gate;
    bool armed;         /* a count was written since the control word */
    bool triggered;     /* modes 1 and 5: a gate edge started it; others: counting began */
    bool running;       /* start is valid; otherwise elapsed is */
    bool null_count;    /* the count register was not yet copied to the counting element */
    bool write_msb, read_msb; /* rw 3: the second byte is next */
    uint8_t write_lsb;
    uint8_t count_latched;    /* bytes of latch still to be read */
    uint16_t latch;
    bool status_latched;
    uint8_t status;
};

struct pit_config {
    struct irq_line irq; /* IRQ 0 */
};

struct pit {
    struct device dev;
    struct pit_config cfg;
    struct pit_channel ch[3];
    struct event edge; /* next edge of counter 0's output */
    bool irq_level;
};

extern const struct device_class pit_class;
extern const struct vmstate vm_pit;

void pit_set_gate2(struct pit *p, bool level);
bool pit_gate2(const struct pit *p);
bool pit_out(struct pit *p, unsigned channel); /* level of the output now */
/* Frequency on the speaker's counter, 0 while it makes no tone; for sound. */
uint32_t pit_tone_hz(struct pit *p);

#endif
