/* The debug console: see debugcon.h. Lines longer than the buffer are cut into several.
 * Known inaccuracies: none.
 */
#include "devices/debugcon.h"

#define DEFAULT_PORT 0x402
#define PRESENT      0xe9

static const struct vm_field debugcon_fields[] = {
    VM_DEVICE(struct debugcon),
    VM_SKIP(struct debugcon, cfg, "configuration"),
    VM_INT(struct debugcon, len),
    VM_BYTES(struct debugcon, line),
    VM_END,
};

static bool debugcon_post_load(void *obj)
{
    return ((struct debugcon *)obj)->len < sizeof(((struct debugcon *)obj)->line);
}

const struct vmstate vm_debugcon =
    VMSTATE_HOOKS("debugcon", struct debugcon, debugcon_fields, NULL, debugcon_post_load);

static void flush(struct debugcon *d)
{
    LOG(d->dev.board->log, LOG_BIOS, "%.*s", (int)d->len, d->line);
    d->len = 0;
}

static uint64_t debugcon_read(void *opaque, uint64_t offset, unsigned size)
{
    return PRESENT;
}

static void debugcon_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct debugcon *d = opaque;
    uint8_t c = (uint8_t)value;

    if (c == '\n') {
        flush(d);
        return;
    }
    if (c == '\r' || c == 0)
        return;
    d->line[d->len++] = (char)c;
    if (d->len == sizeof(d->line) - 1)
        flush(d);
}

static const struct io_ops debugcon_ops = {"debugcon", debugcon_read, debugcon_write, 1, 1};

static uint16_t port_of(const struct debugcon *d)
{
    return d->cfg.port ? d->cfg.port : DEFAULT_PORT;
}

static bool debugcon_init(struct device *dev, struct error *err)
{
    portmap_add(dev->board->ports, port_of((struct debugcon *)dev), 1, &debugcon_ops, dev);
    return true;
}

/* The line goes on: a reset does not take back what was written. */
static void debugcon_reset(struct device *dev, enum reset_kind kind)
{
}

static void debugcon_fini(struct device *dev)
{
    struct debugcon *d = (struct debugcon *)dev;

    portmap_remove(dev->board->ports, port_of(d), 1, dev);
    if (d->len)
        flush(d);
}

const struct device_class debugcon_class = {
    .name = "debugcon",
    .size = sizeof(struct debugcon),
    .vmstate = &vm_debugcon,
    .init = debugcon_init,
    .reset = debugcon_reset,
    .fini = debugcon_fini,
};
