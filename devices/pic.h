/* The pair of 8259A interrupt controllers of an AT, cascaded on input 2, with the edge/level
 * control registers (ELCR) of the PIIX at 4D0h/4D1h.
 *
 * pic_set_irq is the end of the sixteen ISA wires; cfg.intr is the INTR pin of the CPU (or LINT0 of
 * its local APIC). When the CPU takes the interrupt it calls pic_ack, which is both INTA cycles.
 *
 * As on the chip, an edge-triggered request is withdrawn when its line falls before it is
 * acknowledged. A pulse without length (irq_pulse) stands for one that is long enough.
 */
#ifndef DEVICES_PIC_H
#define DEVICES_PIC_H

#include "devices/bus.h"

struct pic_chip {
    uint8_t lines; /* levels at the inputs */
    uint8_t irr, isr, imr, elcr;
    uint8_t vector_base;
    uint8_t icw1, icw3, icw4;
    uint8_t init_step; /* 0: running; else the ICW (2 to 4) that is expected next */
    uint8_t top;       /* the input of highest priority; 0 unless rotated */
    bool special_mask;
    bool rotate_on_aeoi;
    bool read_isr; /* OCW3: what port 20h reads */
    bool poll;     /* the next read is a poll */
};

struct pic_config {
    struct irq_line intr;
};

struct pic {
    struct device dev;
    struct pic_config cfg;
    struct pic_chip chip[2]; /* master, slave */
    uint64_t rose_at[16];    /* virtual time when each line last rose */
    bool intr;               /* level of cfg.intr */
};

extern const struct device_class pic_class;
extern const struct vmstate vm_pic;

/* ISA interrupt n (0 to 15); 2 is the cascade and is ignored. opaque is the struct pic. */
void pic_set_irq(void *opaque, int n, int level);
/* Interrupt acknowledge: the vector, possibly the spurious one (IR7 of either chip). */
int pic_ack(struct pic *p);
static inline bool pic_pending(const struct pic *p)
{
    return p->intr;
}

#endif
