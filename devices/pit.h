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
    /* Times are ticks of PIT_HZ since power-on. `start` is the tick when the counting element held
     * `count`; it may lie one tick ahead, since a count is loaded with the next clock pulse. */
    uint64_t start;
    uint64_t elapsed;    /* while not running: ticks counted before it stopped */
    uint64_t switch_at;  /* the tick when null_count ends; CLOCK_NEVER: with the next trigger */
    uint32_t count;      /* what the counting element counts down from: 1 to 65536 */
    uint32_t next_count; /* the count register */
    uint8_t mode;        /* 0 to 5 */
    uint8_t rw;          /* 1 LSB, 2 MSB, 3 LSB then MSB */
    bool bcd;
    bool gate;
    bool armed;               /* a count was written since the control word */
    bool running;             /* start is valid; otherwise elapsed is */
    bool null_count;          /* the count register was not yet copied to the counting element */
    bool write_msb, read_msb; /* rw 3: the second byte is next */
    uint8_t write_lsb;
    uint8_t count_latched; /* bytes of the latch still to be read */
    bool status_latched;
    uint8_t status;
    uint16_t latch;
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
