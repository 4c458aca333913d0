/* Ports that only have to be there: see misc_ports.h.
 *
 * Known inaccuracies: the IMCR (MultiProcessor Specification 1.4, 3.6.2.1) is stored without
 * effect: INTR reaches the boot processor through LINT0 in either setting.
 */
#include "devices/misc_ports.h"

#define IMCR 0x70 /* its index at port 22h */

static const struct vm_field misc_ports_fields[] = {
    VM_DEVICE(struct misc_ports),     VM_INT(struct misc_ports, post),
    VM_INT(struct misc_ports, delay), VM_INT(struct misc_ports, index22),
    VM_INT(struct misc_ports, imcr),  VM_END,
};
const struct vmstate vm_misc_ports = VMSTATE("misc_ports", struct misc_ports, misc_ports_fields);

static uint64_t post_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct misc_ports *)opaque)->post;
}

static void post_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    ((struct misc_ports *)opaque)->post = (uint8_t)value;
}

static uint64_t delay_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct misc_ports *)opaque)->delay;
}

static void delay_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    ((struct misc_ports *)opaque)->delay = (uint8_t)value;
}

static uint64_t imcr_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct misc_ports *m = opaque;

    if (offset == 0)
        return m->index22;
    return m->index22 == IMCR ? m->imcr : 0xff;
}

static void imcr_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct misc_ports *m = opaque;

    if (offset == 0)
        m->index22 = (uint8_t)value;
    else if (m->index22 == IMCR)
        m->imcr = (uint8_t)value;
}

static const struct io_ops post_ops = {"post", post_read, post_write, 1, 1};
static const struct io_ops delay_ops = {"delay", delay_read, delay_write, 1, 1};
static const struct io_ops imcr_ops = {"imcr", imcr_read, imcr_write, 1, 1};

static bool misc_ports_init(struct device *dev, struct error *err)
{
    portmap_add(dev->board->ports, 0x80, 1, &post_ops, dev);
    portmap_add(dev->board->ports, 0xed, 1, &delay_ops, dev);
    portmap_add(dev->board->ports, 0x22, 2, &imcr_ops, dev);
    return true;
}

static void misc_ports_reset(struct device *dev, enum reset_kind kind)
{
    struct misc_ports *m = (struct misc_ports *)dev;

    if (kind == RESET_INIT)
        return;
    m->post = m->delay = m->index22 = m->imcr = 0;
}

static void misc_ports_fini(struct device *dev)
{
    portmap_remove(dev->board->ports, 0x80, 1, dev);
    portmap_remove(dev->board->ports, 0xed, 1, dev);
    portmap_remove(dev->board->ports, 0x22, 2, dev);
}

const struct device_class misc_ports_class = {
    .name = "misc",
    .size = sizeof(struct misc_ports),
    .vmstate = &vm_misc_ports,
    .init = misc_ports_init,
    .reset = misc_ports_reset,
    .fini = misc_ports_fini,
};
