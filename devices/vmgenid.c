/* The generation ID: see vmgenid.h. It stands at the start of a page beside the chipset's registers,
 * which the guest finds by the ACPI method ADDR; that page is no RAM, as the interface demands, and
 * writes to it do nothing. A reset does not change it: the machine is still the same.
 *
 * Known inaccuracies: none.
 */
#include "devices/vmgenid.h"

#include "devices/acpi_pm.h"

static uint64_t vmgenid_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct vmgenid *v = opaque;
    uint8_t bytes[8] = {0};

    if (offset < VMGENID_SIZE)
        memcpy(bytes, v->id + offset, MIN((size_t)size, VMGENID_SIZE - (size_t)offset));
    return ld_sized(bytes, size);
}

static void vmgenid_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const struct io_ops vmgenid_ops = {"vmgenid", vmgenid_read, vmgenid_write, 1, 8};

void vmgenid_change(struct vmgenid *v, const uint8_t id[VMGENID_SIZE])
{
    memcpy(v->id, id, VMGENID_SIZE);
    if (v->cfg.pm)
        acpi_pm_gpe(v->cfg.pm, VMGENID_GPE);
}

static bool vmgenid_init(struct device *dev, struct error *err)
{
    struct vmgenid *v = (struct vmgenid *)dev;

    memcpy(v->id, v->cfg.id, VMGENID_SIZE);
    physmap_add_io(dev->board->mem, &v->region, "vmgenid", VMGENID_BASE, 4096, &vmgenid_ops, v, 3);
    return true;
}

static void vmgenid_reset(struct device *dev, enum reset_kind kind)
{
}

static void vmgenid_fini(struct device *dev)
{
    struct vmgenid *v = (struct vmgenid *)dev;

    if (v->region.name)
        physmap_remove(dev->board->mem, &v->region);
}

static const struct vm_field vmgenid_fields[] = {
    VM_DEVICE(struct vmgenid),
    VM_BYTES(struct vmgenid, id),
    VM_SKIP(struct vmgenid, region, "wiring, set by init"),
    VM_SKIP(struct vmgenid, cfg, "wiring, set by the board"),
    VM_END,
};
static const struct vmstate vm_vmgenid = VMSTATE("vmgenid", struct vmgenid, vmgenid_fields);

const struct device_class vmgenid_class = {
    .name = "vmgenid",
    .size = sizeof(struct vmgenid),
    .vmstate = &vm_vmgenid,
    .init = vmgenid_init,
    .reset = vmgenid_reset,
    .fini = vmgenid_fini,
};
