/* The debug-exit port: see debug_exit.h. It has no state.
 * Known inaccuracies: none.
 */
#include "devices/debug_exit.h"

#define DEFAULT_PORT 0x501
#define PORTS        4

static uint64_t debug_exit_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void debug_exit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct board_if *b = ((struct debug_exit *)opaque)->dev.board;

    b->request_exit(b->opaque, (int)((value << 1 & INT32_MAX) | 1));
}

static const struct io_ops debug_exit_ops = {"debug-exit", debug_exit_read, debug_exit_write, 1, 4};

static uint16_t port_of(const struct device *dev)
{
    const struct debug_exit *d = (const struct debug_exit *)dev;

    return d->cfg.port ? d->cfg.port : DEFAULT_PORT;
}

static bool debug_exit_init(struct device *dev, struct error *err)
{
    portmap_add(dev->board->ports, port_of(dev), PORTS, &debug_exit_ops, dev);
    return true;
}

static void debug_exit_reset(struct device *dev, enum reset_kind kind)
{
}

static void debug_exit_fini(struct device *dev)
{
    portmap_remove(dev->board->ports, port_of(dev), PORTS, dev);
}

static const struct vm_field debug_exit_fields[] = {
    VM_DEVICE(struct debug_exit),
    VM_SKIP(struct debug_exit, cfg, "wiring, set by the board"),
    VM_END,
};
static const struct vmstate vm_debug_exit =
    VMSTATE("debug-exit", struct debug_exit, debug_exit_fields);

const struct device_class debug_exit_class = {
    .name = "debug-exit",
    .size = sizeof(struct debug_exit),
    .vmstate = &vm_debug_exit,
    .init = debug_exit_init,
    .reset = debug_exit_reset,
    .fini = debug_exit_fini,
};
