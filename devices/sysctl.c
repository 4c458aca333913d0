/* Ports 61h and 92h: see sysctl.h. PIIX4 data sheet 4.2.6 (NMI status and control) and 4.2.7
 * (Port 92).
 *
 * Known inaccuracies: neither parity nor channel-check errors happen, so bits 6 and 7 of port 61h
 * are 0. A20 follows the last of this port and the 8042 to change it, where a board ORs the two.
 */
#include "devices/sysctl.h"

enum {
    P61_GATE2 = 0x01,
    P61_SPEAKER = 0x02,
    P61_WRITABLE = 0x0f,
    P61_REFRESH = 0x10,
    P61_OUT2 = 0x20
};
enum { P92_RESET = 0x01, P92_A20 = 0x02 };

/* Bit 4 changes with every refresh request of the AT, about 15 us apart. */
#define REFRESH_NS 15085

static const struct vm_field sysctl_fields[] = {
    VM_DEVICE(struct sysctl),
    VM_SKIP(struct sysctl, cfg, "wiring, set by the board"),
    VM_INT(struct sysctl, port61),
    VM_INT(struct sysctl, port92),
    VM_END,
};
const struct vmstate vm_sysctl = VMSTATE("sysctl", struct sysctl, sysctl_fields);

static uint64_t port61_read(void *opaque, uint64_t offset, unsigned size)
{
    struct sysctl *s = opaque;
    uint8_t v = s->port61;

    if (clock_now(s->dev.board->clock) / REFRESH_NS & 1)
        v |= P61_REFRESH;
    if (s->cfg.pit && pit_out(s->cfg.pit, 2))
        v |= P61_OUT2;
    return v;
}

static void port61_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct sysctl *s = opaque;
    uint8_t changed = s->port61 ^ (uint8_t)value;

    s->port61 = (uint8_t)value & P61_WRITABLE;
    if (s->cfg.pit)
        pit_set_gate2(s->cfg.pit, value & P61_GATE2);
    if ((changed & P61_SPEAKER) && s->cfg.speaker)
        s->cfg.speaker(s->cfg.opaque, value & P61_SPEAKER);
}

static uint64_t port92_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct sysctl *)opaque)->port92;
}

static void port92_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct sysctl *s = opaque;
    struct board_if *b = s->dev.board;
    uint8_t changed = s->port92 ^ (uint8_t)value;

    s->port92 = (uint8_t)value & (P92_A20 | P92_RESET);
    if (changed & P92_A20)
        b->set_a20(b->opaque, value & P92_A20);
    if (changed & value & P92_RESET)
        b->request_reset(b->opaque, s->cfg.reset_is_init ? RESET_INIT : RESET_HARD, "port 92h");
}

static const struct io_ops port61_ops = {"port61", port61_read, port61_write, 1, 1};
static const struct io_ops port92_ops = {"port92", port92_read, port92_write, 1, 1};

static bool sysctl_init(struct device *dev, struct error *err)
{
    portmap_add(dev->board->ports, 0x61, 1, &port61_ops, dev);
    portmap_add(dev->board->ports, 0x92, 1, &port92_ops, dev);
    return true;
}

static void sysctl_reset(struct device *dev, enum reset_kind kind)
{
    struct sysctl *s = (struct sysctl *)dev;
    struct board_if *b = dev->board;

    if (kind == RESET_INIT) {
        s->port92 &= ~P92_RESET; /* the bit must be able to rise again */
        return;
    }
    port61_write(s, 0, 0, 1);
    s->port92 = P92_A20;
    b->set_a20(b->opaque, true);
}

static void sysctl_fini(struct device *dev)
{
    portmap_remove(dev->board->ports, 0x61, 1, dev);
    portmap_remove(dev->board->ports, 0x92, 1, dev);
}

const struct device_class sysctl_class = {
    .name = "sysctl",
    .size = sizeof(struct sysctl),
    .vmstate = &vm_sysctl,
    .init = sysctl_init,
    .reset = sysctl_reset,
    .fini = sysctl_fini,
};
