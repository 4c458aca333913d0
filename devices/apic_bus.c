/* The path of interrupt messages between APICs. See apic_bus.h.
 *
 * Delivery is immediate: a message is in the target's IRR when apic_bus_deliver returns.
 *
 * Known inaccuracies: the register page stands at FEE00000h whatever IA32_APIC_BASE says; SMIs are
 * dropped; lowest-priority arbitration takes turns between equals instead of using arbitration
 * priorities.
 */
#include "devices/apic_bus.h"
#include "devices/ioapic.h"
#include "devices/lapic.h"

/* Fields of the MSI address and data, SDM vol. 3, 11.11. */
#define MSI_WINDOW 0xfeeu
#define MSI_ADDR_LOGICAL 0x4
#define MSI_DATA_LEVEL 0x8000

void apic_bus_deliver(struct apic_bus *bus, const struct apic_msg *msg)
{
    const struct apic_bus_cfg *cfg = &bus->cfg;
    struct lapic *best = NULL;

    LOG(bus->dev.board->log, LOG_IRQ, "apic: mode %u vector %02x to %s %x", msg->delivery,
        msg->vector, msg->logical ? "logical" : "physical", msg->dest);
    if (msg->delivery != APIC_LOWEST) {
        for (unsigned i = 0; i < cfg->cpus; i++) {
            if (lapic_accepts(cfg->lapic[i], msg))
                lapic_deliver(cfg->lapic[i], msg);
        }
        return;
    }
    for (unsigned i = 0; i < cfg->cpus; i++) {
        struct lapic *l = cfg->lapic[(bus->next_lowest + i) % cfg->cpus];
        if (lapic_accepts(l, msg) && (!best || lapic_priority(l) < lapic_priority(best)))
            best = l;
    }
    if (best) {
        bus->next_lowest = (uint8_t)((best->cfg.id + 1) % cfg->cpus);
        lapic_deliver(best, msg);
    }
}

void apic_bus_msi(void *opaque, uint64_t addr, uint32_t data)
{
    struct apic_bus *bus = opaque;
    if (addr >> 20 != MSI_WINDOW) {
        LOG(bus->dev.board->log, LOG_GUEST_ERROR, "MSI to %llx", (unsigned long long)addr);
        return;
    }
    struct apic_msg msg = {
        .dest = addr >> 12 & 0xff,
        .logical = addr & MSI_ADDR_LOGICAL,
        .delivery = data >> 8 & 7,
        .vector = (uint8_t)data,
        .level = data & MSI_DATA_LEVEL,
    };
    apic_bus_deliver(bus, &msg);
}

void apic_bus_eoi(struct apic_bus *bus, uint8_t vector)
{
    if (bus->cfg.ioapic)
        ioapic_eoi(bus->cfg.ioapic, vector);
}

static struct lapic *current(struct apic_bus *bus)
{
    unsigned n = bus->cfg.current_cpu ? bus->cfg.current_cpu(bus->cfg.opaque) : 0;
    return n < bus->cfg.cpus ? bus->cfg.lapic[n] : NULL;
}

/* Registers are 32 bits wide on 16-byte boundaries; what lies between them reads as zero. */
static uint64_t page_read(void *opaque, uint64_t offset, unsigned size)
{
    struct lapic *l = current(opaque);
    if (!l)
        return UINT64_MAX;
    return offset & 15 ? 0 : lapic_mmio_read(l, (unsigned)offset);
}

static void page_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct lapic *l = current(opaque);
    if (l && !(offset & 15))
        lapic_mmio_write(l, (unsigned)offset, (uint32_t)value);
}

static const struct io_ops page_ops = {
    .name = "lapic", .read = page_read, .write = page_write, .min_access = 4, .max_access = 4};

static bool apic_bus_init(struct device *dev, struct error *err)
{
    struct apic_bus *bus = (struct apic_bus *)dev;
    if (bus->cfg.cpus < 1 || bus->cfg.cpus > APIC_MAX_CPUS)
        return error_set(err, ERR_INVALID, "%u CPUs: 1 to %d are possible", bus->cfg.cpus,
                         APIC_MAX_CPUS);
    physmap_add_io(dev->board->mem, &bus->region, "lapic", LAPIC_BASE, PAGE_SIZE, &page_ops, bus,
                   3);
    return true;
}

static void apic_bus_reset(struct device *dev, enum reset_kind kind)
{
    struct apic_bus *bus = (struct apic_bus *)dev;
    bus->next_lowest = 0;
}

static void apic_bus_fini(struct device *dev)
{
    struct apic_bus *bus = (struct apic_bus *)dev;
    if (bus->region.name)
        physmap_remove(dev->board->mem, &bus->region);
}

static const struct vm_field apic_bus_fields[] = {
    VM_DEVICE(struct apic_bus),
    VM_INT(struct apic_bus, next_lowest),
    VM_SKIP(struct apic_bus, cfg, "configuration"),
    VM_SKIP(struct apic_bus, region, "constant"),
    VM_END,
};
static const struct vmstate vm_apic_bus = VMSTATE("apic-bus", struct apic_bus, apic_bus_fields);

const struct device_class apic_bus_class = {
    .name = "apic-bus",
    .size = sizeof(struct apic_bus),
    .vmstate = &vm_apic_bus,
    .init = apic_bus_init,
    .reset = apic_bus_reset,
    .fini = apic_bus_fini,
};
