/* The 82093AA I/O APIC. See ioapic.h. Data sheet: Intel order number 290566; version 20h adds the
 * EOI register at offset 40h.
 *
 * Lines carry assertion, not voltage: a PCI interrupt that is active low on a real board is level 1
 * here. So the polarity bit is stored and otherwise ignored.
 *
 * Known inaccuracies: delivery status is always idle; a message nobody accepts is lost instead of
 * being retried; ISA-style edges arriving while masked are ignored, as the data sheet says.
 */
#include "devices/ioapic.h"

enum { OFF_SELECT = 0x00, OFF_WINDOW = 0x10, OFF_EOI = 0x40 };
enum { REG_ID = 0, REG_VERSION = 1, REG_ARBITRATION = 2, REG_REDIR = 0x10 };

#define VERSION 0x20u
#define RTE_DELIVERY_STATUS BIT64(12)
#define RTE_REMOTE_IRR BIT64(14)
#define RTE_LEVEL BIT64(15)
#define RTE_MASKED BIT64(16)
#define RTE_LOGICAL BIT64(11)
#define RTE_WRITABLE 0xff0000000001afffull

static void send(struct ioapic *io, unsigned pin)
{
    uint64_t e = io->redir[pin];
    struct apic_msg msg = {
        .dest = (uint32_t)(e >> 56),
        .logical = e & RTE_LOGICAL,
        .delivery = e >> 8 & 7,
        .vector = (uint8_t)e,
        .level = e & RTE_LEVEL,
    };
    if (e & RTE_LEVEL)
        io->redir[pin] |= RTE_REMOTE_IRR;
    apic_bus_deliver(io->cfg.bus, &msg);
}

/* Sends a standing level unless it is masked or waits for its EOI. */
static void service_level(struct ioapic *io, unsigned pin)
{
    uint64_t e = io->redir[pin];
    if ((e & RTE_LEVEL) && !(e & (RTE_MASKED | RTE_REMOTE_IRR)) && (io->level >> pin & 1))
        send(io, pin);
}

void ioapic_set_pin(void *opaque, int n, int level)
{
    struct ioapic *io = opaque;
    if (n < 0 || n >= IOAPIC_PINS)
        return;
    bool was = io->level >> n & 1;
    if (was == (level != 0))
        return;
    io->level ^= BIT(n);
    if (!level)
        return;
    if (io->redir[n] & RTE_LEVEL)
        service_level(io, (unsigned)n);
    else if (!(io->redir[n] & RTE_MASKED))
        send(io, (unsigned)n);
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t e = io->redir[pin];
        if ((uint8_t)e != vector || !(e & RTE_LEVEL) || !(e & RTE_REMOTE_IRR))
            continue;
        io->redir[pin] &= ~RTE_REMOTE_IRR;
        service_level(io, pin);
    }
}

static uint32_t register_read(const struct ioapic *io)
{
    unsigned pin = (io->select - REG_REDIR) / 2u;
    switch (io->select) {
    case REG_ID:
    case REG_ARBITRATION:
        return (uint32_t)io->id << 24;
    case REG_VERSION:
        return VERSION | (IOAPIC_PINS - 1) << 16;
    default:
        if (io->select < REG_REDIR || pin >= IOAPIC_PINS)
            return 0;
        return (uint32_t)(io->redir[pin] >> (io->select & 1 ? 32 : 0));
    }
}

static void register_write(struct ioapic *io, uint32_t v)
{
    unsigned pin = (io->select - REG_REDIR) / 2u;
    if (io->select == REG_ID) {
        io->id = v >> 24 & 15;
        return;
    }
    if (io->select < REG_REDIR || pin >= IOAPIC_PINS)
        return;
    uint64_t e = io->redir[pin];
    uint64_t wanted = io->select & 1 ? bits_set(e, 32, 32, v) : bits_set(e, 0, 32, v);
    e = (e & ~RTE_WRITABLE) | (wanted & RTE_WRITABLE);
    /* An edge-triggered entry has no remote IRR; Linux clears a stuck one by such a switch. */
    if (!(e & RTE_LEVEL))
        e &= ~RTE_REMOTE_IRR;
    io->redir[pin] = e;
    service_level(io, pin);
}

static uint64_t ioapic_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct ioapic *io = opaque;
    switch (offset) {
    case OFF_SELECT:
        return io->select;
    case OFF_WINDOW:
        return register_read(io);
    default:
        return 0;
    }
}

static void ioapic_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct ioapic *io = opaque;
    switch (offset) {
    case OFF_SELECT:
        io->select = (uint8_t)value;
        break;
    case OFF_WINDOW:
        register_write(io, (uint32_t)value);
        break;
    case OFF_EOI:
        ioapic_eoi(io, (uint8_t)value);
        break;
    default:
        break;
    }
}

static const struct io_ops ioapic_ops = {
    .name = "ioapic", .read = ioapic_read, .write = ioapic_write,
    .min_access = 4, .max_access = 4};

static bool ioapic_init(struct device *dev, struct error *err)
{
    struct ioapic *io = (struct ioapic *)dev;
    physmap_add_io(dev->board->mem, &io->region, "ioapic", IOAPIC_BASE, PAGE_SIZE, &ioapic_ops, io,
                   3);
    return true;
}

static void ioapic_reset(struct device *dev, enum reset_kind kind)
{
    struct ioapic *io = (struct ioapic *)dev;
    if (kind == RESET_INIT)
        return;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        io->redir[pin] = RTE_MASKED;
    io->id = io->cfg.id;
    io->select = 0;
    /* level belongs to whoever drives the wires: they lower them in their own resets. */
}

static void ioapic_fini(struct device *dev)
{
    struct ioapic *io = (struct ioapic *)dev;
    if (io->region.name)
        physmap_remove(dev->board->mem, &io->region);
}

static const struct vm_field ioapic_fields[] = {
    VM_DEVICE(struct ioapic),
    VM_INTS(struct ioapic, redir, uint64_t),
    VM_INT(struct ioapic, level),
    VM_INT(struct ioapic, id),
    VM_INT(struct ioapic, select),
    VM_SKIP(struct ioapic, cfg, "configuration"),
    VM_SKIP(struct ioapic, region, "constant"),
    VM_END,
};
static const struct vmstate vm_ioapic = VMSTATE("ioapic", struct ioapic, ioapic_fields);

const struct device_class ioapic_class = {
    .name = "ioapic",
    .size = sizeof(struct ioapic),
    .vmstate = &vm_ioapic,
    .init = ioapic_init,
    .reset = ioapic_reset,
    .fini = ioapic_fini,
};
