/* The 8259A pair: see pic.h for its use. Intel 8259A data sheet (231468), "Operation of the 8259A"
 * and "Programming the 8259A"; 82371AB (PIIX4) data sheet 4.2.5 for ELCR.
 *
 * Invariants: cfg.intr always has the level p->intr, which is what `resolve` says of the master;
 * line 2 of the master is what `resolve` says of the slave.
 *
 * Known inaccuracies: the MCS-80/85 mode (ICW4 bit 0 clear) answers like the 8086 mode. LTIM of
 * ICW1 is ignored in favour of ELCR, as the PIIX does. Buffered mode has no effect. A poll that
 * finds nothing reads as 0, where the chip leaves the low bits undefined.
 */
#include "devices/pic.h"

#define CASCADE 2

enum { ICW1_IC4 = 0x01, ICW1_SNGL = 0x02, ICW1 = 0x10 };
enum { ICW4_AEOI = 0x02, ICW4_SFNM = 0x10 };
enum {
    OCW3 = 0x08,
    OCW3_RIS = 0x01,
    OCW3_RR = 0x02,
    OCW3_P = 0x04,
    OCW3_SMM = 0x20,
    OCW3_ESMM = 0x40
};
enum { MASTER, SLAVE };

/* The inputs whose trigger mode ELCR can change: not the timer, the keyboard, the cascade, the
 * clock, or the coprocessor. */
static const uint8_t elcr_mask[2] = {0xf8, 0xde};

static const struct vm_field pic_chip_fields[] = {
    VM_INT(struct pic_chip, lines),
    VM_INT(struct pic_chip, irr),
    VM_INT(struct pic_chip, isr),
    VM_INT(struct pic_chip, imr),
    VM_INT(struct pic_chip, elcr),
    VM_INT(struct pic_chip, vector_base),
    VM_INT(struct pic_chip, icw1),
    VM_INT(struct pic_chip, icw3),
    VM_INT(struct pic_chip, icw4),
    VM_INT(struct pic_chip, init_step),
    VM_INT(struct pic_chip, top),
    VM_INT(struct pic_chip, special_mask),
    VM_INT(struct pic_chip, rotate_on_aeoi),
    VM_INT(struct pic_chip, read_isr),
    VM_INT(struct pic_chip, poll),
    VM_END,
};
static const struct vmstate vm_pic_chip = VMSTATE("pic_chip", struct pic_chip, pic_chip_fields);

static const struct vm_field pic_fields[] = {
    VM_DEVICE(struct pic),
    VM_SKIP(struct pic, cfg, "wiring, set by the board"),
    VM_STRUCTS(struct pic, chip, &vm_pic_chip),
    VM_INTS(struct pic, rose_at, uint64_t),
    VM_INT(struct pic, intr),
    VM_END,
};

static bool pic_post_load(void *obj)
{
    struct pic *p = obj;

    return p->chip[MASTER].top < 8 && p->chip[SLAVE].top < 8;
}

const struct vmstate vm_pic = VMSTATE_HOOKS("pic", struct pic, pic_fields, NULL, pic_post_load);

/* The input that the chip would have acknowledged next, or -1. */
static int resolve(const struct pic *p, unsigned which)
{
    const struct pic_chip *c = &p->chip[which];
    unsigned req = c->irr & ~c->imr;
    unsigned blocking = c->special_mask ? c->isr & ~c->imr : c->isr;
    /* Special fully nested mode: a slave in service may interrupt again. */
    unsigned nests = which == MASTER && (c->icw4 & ICW4_SFNM) ? BIT(CASCADE) : 0;

    if (!req || c->init_step)
        return -1;
    for (unsigned i = 0; i < 8; i++) {
        unsigned n = (c->top + i) & 7;
        if ((req & BIT(n)) && !(blocking & ~nests & BIT(n)))
            return (int)n;
        if (blocking & BIT(n))
            return -1;
    }
    return -1;
}

static void set_line(struct pic *p, unsigned which, unsigned n, bool level)
{
    struct pic_chip *c = &p->chip[which];
    uint8_t bit = (uint8_t)BIT(n);
    /* Not clock_now: that may move on between the two halves of an irq_pulse. */
    uint64_t now = p->dev.board->clock->now;

    if (c->elcr & bit) {
        c->irr = level ? c->irr | bit : c->irr & ~bit;
    } else if (level && !(c->lines & bit)) {
        c->irr |= bit;
        p->rose_at[which * 8 + n] = now;
    } else if (!level && (c->lines & bit) && p->rose_at[which * 8 + n] != now) {
        c->irr &= ~bit;
    }
    c->lines = level ? c->lines | bit : c->lines & ~bit;
}

static void update(struct pic *p)
{
    bool slave = resolve(p, SLAVE) >= 0;
    bool intr;

    /* The cascade has no pulses: a slave that has nothing more to say withdraws its request. */
    if (!slave)
        p->chip[MASTER].irr &= ~BIT(CASCADE);
    set_line(p, MASTER, CASCADE, slave);
    intr = resolve(p, MASTER) >= 0;
    if (intr != p->intr) {
        p->intr = intr;
        irq_set(&p->cfg.intr, intr);
    }
}

void pic_set_irq(void *opaque, int n, int level)
{
    struct pic *p = opaque;

    if (n < 0 || n > 15 || n == CASCADE)
        return;
    set_line(p, n >> 3, n & 7, level != 0);
    update(p);
}

static void take(struct pic_chip *c, unsigned n)
{
    if (c->icw4 & ICW4_AEOI) {
        if (c->rotate_on_aeoi)
            c->top = (n + 1) & 7;
    } else {
        c->isr |= BIT(n);
    }
    if (!(c->elcr & BIT(n)))
        c->irr &= ~BIT(n);
}

/* INT falls with the first INTA and rises again if there is more; the receiver of an edge sees
 * every request that way. */
static void drop_outputs(struct pic *p, bool slave_too)
{
    if (slave_too)
        set_line(p, MASTER, CASCADE, false);
    if (p->intr) {
        p->intr = false;
        irq_set(&p->cfg.intr, 0);
    }
}

int pic_ack(struct pic *p)
{
    struct pic_chip *m = &p->chip[MASTER], *s = &p->chip[SLAVE];
    int n = resolve(p, MASTER);
    int vector;

    if (n < 0) {
        /* The request went away: IR7 without its in-service bit (data sheet, "Edge and level
         * triggered modes"). */
        vector = m->vector_base | 7;
    } else if (n == CASCADE) {
        int k = resolve(p, SLAVE);
        take(m, CASCADE);
        vector = s->vector_base | (k < 0 ? 7 : k);
        if (k >= 0)
            take(s, (unsigned)k);
    } else {
        take(m, (unsigned)n);
        vector = m->vector_base | n;
    }
    drop_outputs(p, n == CASCADE);
    update(p);
    LOG(p->dev.board->log, LOG_IRQ, "pic: acknowledge %d, vector %02x", n, (unsigned)vector);
    return vector;
}

/* The in-service input of highest priority, or -1. */
static int in_service(const struct pic_chip *c)
{
    unsigned isr = c->special_mask ? c->isr & ~c->imr : c->isr;

    for (unsigned i = 0; i < 8; i++)
        if (isr & BIT((c->top + i) & 7))
            return (int)((c->top + i) & 7);
    return -1;
}

static void write_ocw2(struct pic_chip *c, uint8_t v)
{
    unsigned level = v & 7;
    int n;

    switch (v >> 5) {
    case 0: /* rotate in automatic EOI mode: clear, set */
    case 4:
        c->rotate_on_aeoi = v >> 7;
        break;
    case 1: /* non-specific EOI, with or without rotation */
    case 5:
        n = in_service(c);
        if (n < 0)
            break;
        c->isr &= ~BIT(n);
        if (v & 0x80)
            c->top = (n + 1) & 7;
        break;
    case 3: /* specific EOI */
        c->isr &= ~BIT(level);
        break;
    case 7:
        c->isr &= ~BIT(level);
        c->top = (level + 1) & 7;
        break;
    case 6: /* set priority: level gets the lowest */
        c->top = (level + 1) & 7;
        break;
    default: /* 2: no operation */
        break;
    }
}

static void write_icw1(struct pic_chip *c, uint8_t v)
{
    c->icw1 = v;
    c->init_step = 2;
    c->imr = 0;
    c->isr = 0;
    c->irr = c->lines & c->elcr; /* the edge sense circuits are reset */
    c->top = 0;
    c->special_mask = false;
    c->rotate_on_aeoi = false;
    c->read_isr = false;
    c->poll = false;
    if (!(v & ICW1_IC4))
        c->icw4 = 0;
}

static void write_command(struct pic_chip *c, uint8_t v)
{
    if (v & ICW1) {
        write_icw1(c, v);
    } else if (v & OCW3) {
        if (v & OCW3_ESMM)
            c->special_mask = v & OCW3_SMM;
        if (v & OCW3_P)
            c->poll = true;
        else if (v & OCW3_RR)
            c->read_isr = v & OCW3_RIS;
    } else {
        write_ocw2(c, v);
    }
}

static void write_data(struct pic_chip *c, uint8_t v)
{
    bool icw4 = c->icw1 & ICW1_IC4;

    switch (c->init_step) {
    case 2:
        c->vector_base = v & 0xf8;
        c->init_step = !(c->icw1 & ICW1_SNGL) ? 3 : icw4 ? 4 : 0;
        break;
    case 3:
        c->icw3 = v;
        c->init_step = icw4 ? 4 : 0;
        break;
    case 4:
        c->icw4 = v;
        c->init_step = 0;
        break;
    default:
        c->imr = v;
        break;
    }
}

static void chip_write(struct pic *p, unsigned which, uint64_t offset, uint8_t v)
{
    if (offset == 0)
        write_command(&p->chip[which], v);
    else
        write_data(&p->chip[which], v);
    update(p);
}

static uint8_t chip_read(struct pic *p, unsigned which, uint64_t offset)
{
    struct pic_chip *c = &p->chip[which];

    if (c->poll) {
        int n = resolve(p, which);
        c->poll = false;
        if (n < 0)
            return 0;
        take(c, (unsigned)n);
        drop_outputs(p, which == SLAVE);
        update(p);
        return (uint8_t)(0x80 | n);
    }
    if (offset == 1)
        return c->imr;
    return c->read_isr ? c->isr : c->irr;
}

static uint64_t master_read(void *opaque, uint64_t offset, unsigned size)
{
    return chip_read(opaque, MASTER, offset);
}

static void master_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    chip_write(opaque, MASTER, offset, (uint8_t)value);
}

static uint64_t slave_read(void *opaque, uint64_t offset, unsigned size)
{
    return chip_read(opaque, SLAVE, offset);
}

static void slave_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    chip_write(opaque, SLAVE, offset, (uint8_t)value);
}

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pic *p = opaque;

    return p->chip[offset].elcr;
}

static void elcr_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pic *p = opaque;
    struct pic_chip *c = &p->chip[offset];

    c->elcr = (uint8_t)value & elcr_mask[offset];
    c->irr = (c->irr & ~c->elcr) | (c->lines & c->elcr);
    update(p);
}

static const struct io_ops master_ops = {"pic", master_read, master_write, 1, 1};
static const struct io_ops slave_ops = {"pic2", slave_read, slave_write, 1, 1};
static const struct io_ops elcr_ops = {"elcr", elcr_read, elcr_write, 1, 1};

static bool pic_init(struct device *dev, struct error *err)
{
    struct portmap *ports = dev->board->ports;

    portmap_add(ports, 0x20, 2, &master_ops, dev);
    portmap_add(ports, 0xa0, 2, &slave_ops, dev);
    portmap_add(ports, 0x4d0, 2, &elcr_ops, dev);
    return true;
}

static void pic_reset(struct device *dev, enum reset_kind kind)
{
    struct pic *p = (struct pic *)dev;

    if (kind == RESET_INIT)
        return;
    for (unsigned i = 0; i < 2; i++) {
        /* The wires keep the levels that the devices give them. */
        p->chip[i] = (struct pic_chip){.lines = p->chip[i].lines};
    }
    update(p);
}

static void pic_fini(struct device *dev)
{
    struct portmap *ports = dev->board->ports;

    portmap_remove(ports, 0x20, 2, dev);
    portmap_remove(ports, 0xa0, 2, dev);
    portmap_remove(ports, 0x4d0, 2, dev);
}

const struct device_class pic_class = {
    .name = "pic",
    .size = sizeof(struct pic),
    .vmstate = &vm_pic,
    .init = pic_init,
    .reset = pic_reset,
    .fini = pic_fini,
};
