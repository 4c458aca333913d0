/* PCI bus and functions: see pci.h for the interface, the invariants and the known inaccuracies.
 * Section numbers are of the PCI Local Bus Specification 3.0.
 */
#include "devices/pci.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONFIG_ENABLE 0x80000000u

#define MSI_CONTROL 2
#define MSI_ADDR 4
#define MSI_DATA 12
#define MSI_LEN 14
#define MSI_ENABLE 0x0001
#define MSI_64BIT 0x0080
#define MSIX_CONTROL 2
#define MSIX_TABLE 4
#define MSIX_PBA 8
#define MSIX_LEN 12
#define MSIX_ENABLE 0x8000
#define MSIX_FUNCTION_MASK 0x4000
#define MSIX_PBA_OFFSET 0x800
#define MSIX_VECTOR_MASKED 1

/* ---- base address registers (6.2.5) ---------------------------------------------------------- */

static unsigned bar_offset(unsigned n)
{
    return n == PCI_BAR_ROM ? PCI_ROM_BAR : PCI_BAR0 + 4 * n;
}

/* The address that BAR n decodes, or UINT64_MAX when it decodes nothing. A register that holds zero
 * or reaches the top of its space is being sized or was never set: decoding it would hide the ROM
 * under 4 GiB or low memory. */
static uint64_t bar_decoded(const struct pci_device *d, unsigned n)
{
    const struct pci_bar *b = &d->bar[n];
    const uint8_t *reg = &d->config[bar_offset(n)];
    uint16_t command = ld16(&d->config[PCI_COMMAND]);

    if (b->kind == PCI_BAR_IO) {
        uint32_t addr = ld32(reg) & ~3u;
        if (!(command & PCI_CMD_IO) || addr == 0 || addr + b->size - 1 >= 0xffff ||
            addr > 0xffff)
            return UINT64_MAX;
        return addr;
    }
    if (!(command & PCI_CMD_MEMORY))
        return UINT64_MAX;
    uint64_t addr;
    if (n == PCI_BAR_ROM) {
        if (!(ld32(reg) & 1))
            return UINT64_MAX;
        addr = ld32(reg) & ~0x7ffu;
    } else {
        addr = (b->kind == PCI_BAR_MEM64 ? ld64(reg) : ld32(reg)) & ~15ull;
    }
    uint64_t last = addr + b->size - 1;
    if (addr == 0 || last < addr || last == UINT32_MAX || last >> PHYS_ADDR_BITS)
        return UINT64_MAX;
    if (b->kind == PCI_BAR_MEM32 && last > UINT32_MAX)
        return UINT64_MAX;
    return addr;
}

static void bar_unmap(struct pci_device *d, unsigned n)
{
    struct pci_bar *b = &d->bar[n];
    if (!b->mapped)
        return;
    if (b->kind == PCI_BAR_IO)
        portmap_remove(d->bus->board->ports, (uint16_t)b->addr, (uint32_t)b->size, b->opaque);
    else
        physmap_remove(d->bus->board->mem, &b->region);
    b->mapped = false;
}

static void bar_update(struct pci_device *d, unsigned n)
{
    struct pci_bar *b = &d->bar[n];
    if (b->kind == PCI_BAR_NONE)
        return;
    uint64_t addr = bar_decoded(d, n);
    if (b->mapped ? addr == b->addr : addr == UINT64_MAX)
        return;
    bar_unmap(d, n);
    if (addr == UINT64_MAX)
        return;
    b->addr = addr;
    b->mapped = true;
    if (b->kind == PCI_BAR_IO) {
        portmap_add(d->bus->board->ports, (uint16_t)addr, (uint32_t)b->size, b->ops, b->opaque);
    } else {
        b->region.base = addr;
        b->region.enabled = true;
        physmap_add(d->bus->board->mem, &b->region);
    }
    LOG(d->bus->board->log, LOG_PCI, "%s: bar %u at %llx", d->owner->id, n,
        (unsigned long long)addr);
}

static void bars_update(struct pci_device *d)
{
    if (!d->bus)
        return;
    physmap_begin(d->bus->board->mem);
    for (unsigned n = 0; n < PCI_BARS; n++)
        bar_update(d, n);
    physmap_commit(d->bus->board->mem);
}

static struct pci_bar *bar_setup(struct pci_device *d, unsigned n, enum pci_bar_kind kind,
                                 bool prefetch, uint64_t size)
{
    CHECK(n < PCI_BARS && size && !(size & (size - 1)));
    CHECK(kind != PCI_BAR_MEM64 || n < 5);
    struct pci_bar *b = &d->bar[n];
    b->kind = (uint8_t)kind;
    b->prefetch = prefetch;
    b->size = size;
    b->mapped = false;
    unsigned off = bar_offset(n);
    uint64_t mask = ~(size - 1);
    uint32_t type = kind == PCI_BAR_IO ? 1 : 0;
    if (kind == PCI_BAR_MEM64)
        type = 4;
    if (prefetch)
        type |= 8;
    if (n == PCI_BAR_ROM)
        mask = (mask & ~0x7ffull) | 1;
    pci_set_wmask(d, off, (uint32_t)mask, 4);
    if (kind == PCI_BAR_MEM64)
        pci_set_wmask(d, off + 4, (uint32_t)(mask >> 32), 4);
    pci_set_initial(d, off, type, 4);
    memset(&b->region, 0, sizeof(b->region));
    b->region.name = d->owner->id;
    b->region.size = size;
    b->region.priority = 2;
    b->region.read_ra = b->region.write_ra = RA_NONE;
    return b;
}

void pci_add_bar_io(struct pci_device *d, unsigned n, uint32_t size, const struct io_ops *ops,
                    void *opaque)
{
    struct pci_bar *b = bar_setup(d, n, PCI_BAR_IO, false, size);
    b->ops = ops;
    b->opaque = opaque;
}

void pci_add_bar_mem(struct pci_device *d, unsigned n, enum pci_bar_kind kind, bool prefetch,
                     uint64_t size, const struct io_ops *ops, void *opaque)
{
    struct pci_bar *b = bar_setup(d, n, kind, prefetch, size);
    b->ops = b->region.ops = ops;
    b->opaque = b->region.opaque = opaque;
}

void pci_add_bar_ram(struct pci_device *d, unsigned n, enum pci_bar_kind kind, bool prefetch,
                     uint64_t size, uint64_t ra, bool writable)
{
    struct pci_bar *b = bar_setup(d, n, kind, prefetch, size);
    b->region.read_ra = ra;
    b->region.write_ra = writable ? ra : RA_NONE;
}

void pci_add_rom(struct pci_device *d, uint64_t size, uint64_t ra)
{
    pci_add_bar_ram(d, PCI_BAR_ROM, PCI_BAR_MEM32, false, size, ra, false);
}

uint64_t pci_bar_addr(const struct pci_device *d, unsigned n)
{
    return d->bar[n].mapped ? d->bar[n].addr : UINT64_MAX;
}

/* ---- interrupt pins -------------------------------------------------------------------------- */

/* What the function drives: its wish, unless software took the pin from it (6.2.2, bit 10). */
static bool pin_driven(const struct pci_device *d)
{
    return d->intx && !(ld16(&d->config[PCI_COMMAND]) & PCI_CMD_INTX_DISABLE);
}

static void pin_changed(struct pci_device *d, bool before)
{
    bool now = pin_driven(d);
    unsigned pin = d->config[PCI_INT_PIN];
    struct pci_bus *bus = d->bus;
    if (now == before || !bus || pin == 0 || pin > 4 || !bus->map_pin)
        return;
    unsigned pirq = bus->map_pin(d->devfn >> 3, pin - 1) % PCI_PIRQS;
    unsigned was = bus->pirq_count[pirq];
    if (!now && was == 0)
        return;
    bus->pirq_count[pirq] = (uint8_t)(now ? was + 1 : was - 1);
    if ((was == 0) != (bus->pirq_count[pirq] == 0) && bus->set_pirq)
        bus->set_pirq(bus->pirq_opaque, pirq, now);
}

void pci_set_irq(struct pci_device *d, int level)
{
    bool before = pin_driven(d);
    d->intx = level != 0;
    /* The status bit shows the wish, masked or not (6.2.3, bit 3). */
    if (level)
        d->config[PCI_STATUS] |= PCI_STATUS_INTX;
    else
        d->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTX;
    pin_changed(d, before);
}

bool pci_bus_master(const struct pci_device *d)
{
    return ld16(&d->config[PCI_COMMAND]) & PCI_CMD_MASTER;
}

/* ---- message-signalled interrupts (6.8) ------------------------------------------------------ */

static void msi_send(struct pci_device *d, uint64_t addr, uint32_t data)
{
    struct pci_bus *bus = d->bus;
    if (bus->msi_write && pci_bus_master(d))
        bus->msi_write(bus->msi_opaque, addr, data);
}

void pci_add_msi(struct pci_device *d)
{
    unsigned cap = pci_add_capability(d, PCI_CAP_ID_MSI, MSI_LEN);
    d->msi_cap = (uint8_t)cap;
    pci_set_initial(d, cap + MSI_CONTROL, MSI_64BIT, 2);
    pci_set_wmask(d, cap + MSI_CONTROL, MSI_ENABLE, 2);
    pci_set_wmask(d, cap + MSI_ADDR, 0xfffffffc, 4);
    pci_set_wmask(d, cap + MSI_ADDR + 4, 0xffffffff, 4);
    pci_set_wmask(d, cap + MSI_DATA, 0xffff, 2);
}

bool pci_msi_enabled(const struct pci_device *d)
{
    return d->msi_cap && (ld16(&d->config[d->msi_cap + MSI_CONTROL]) & MSI_ENABLE);
}

bool pci_msi_notify(struct pci_device *d)
{
    if (!pci_msi_enabled(d))
        return false;
    const uint8_t *cap = &d->config[d->msi_cap];
    msi_send(d, ld64(cap + MSI_ADDR), ld16(cap + MSI_DATA));
    return true;
}

bool pci_msix_enabled(const struct pci_device *d)
{
    return d->msix_cap && (ld16(&d->config[d->msix_cap + MSIX_CONTROL]) & MSIX_ENABLE);
}

static bool msix_masked(const struct pci_device *d, unsigned v)
{
    return (ld16(&d->config[d->msix_cap + MSIX_CONTROL]) & MSIX_FUNCTION_MASK) ||
           (d->msix->table[v * 16 + 12] & MSIX_VECTOR_MASKED);
}

void pci_msix_notify(struct pci_device *d, unsigned v)
{
    struct pci_msix *x = d->msix;
    if (!pci_msix_enabled(d) || v >= x->vectors)
        return;
    if (msix_masked(d, v)) {
        x->pending |= BIT64(v);
        return;
    }
    x->pending &= ~BIT64(v);
    msi_send(d, ld64(&x->table[v * 16]), ld32(&x->table[v * 16 + 8]));
}

/* Sends what was held back by a mask that is gone. */
static void msix_flush(struct pci_device *d)
{
    struct pci_msix *x = d->msix;
    if (!x || !pci_msix_enabled(d))
        return;
    for (unsigned v = 0; v < x->vectors && x->pending; v++) {
        if ((x->pending >> v & 1) && !msix_masked(d, v))
            pci_msix_notify(d, v);
    }
}

static uint64_t msix_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct pci_msix *x = opaque;
    uint8_t pba[8];
    if (offset + size <= x->vectors * 16)
        return ld_sized(&x->table[offset], size);
    st64(pba, x->pending);
    if (offset >= MSIX_PBA_OFFSET && offset + size <= MSIX_PBA_OFFSET + sizeof(pba))
        return ld_sized(&pba[offset - MSIX_PBA_OFFSET], size);
    return 0;
}

static void msix_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pci_msix *x = opaque;
    if (offset + size > x->vectors * 16)
        return;
    st_sized(&x->table[offset], value, size);
    msix_flush(x->d);
}

static const struct io_ops msix_ops = {
    .name = "msix", .read = msix_read, .write = msix_write, .min_access = 4, .max_access = 8};

void pci_add_msix(struct pci_device *d, struct pci_msix *x, unsigned bar, unsigned vectors)
{
    CHECK(vectors > 0 && vectors <= PCI_MSIX_MAX);
    x->d = d;
    x->vectors = vectors;
    d->msix = x;
    pci_add_bar_mem(d, bar, PCI_BAR_MEM32, false, PAGE_SIZE, &msix_ops, x);
    unsigned cap = pci_add_capability(d, PCI_CAP_ID_MSIX, MSIX_LEN);
    d->msix_cap = (uint8_t)cap;
    pci_set_initial(d, cap + MSIX_CONTROL, vectors - 1, 2);
    pci_set_wmask(d, cap + MSIX_CONTROL, MSIX_ENABLE | MSIX_FUNCTION_MASK, 2);
    pci_set_initial(d, cap + MSIX_TABLE, bar, 4);
    pci_set_initial(d, cap + MSIX_PBA, MSIX_PBA_OFFSET | bar, 4);
}

/* ---- configuration space --------------------------------------------------------------------- */

void pci_set_wmask(struct pci_device *d, unsigned offset, uint32_t mask, unsigned size)
{
    CHECK(offset + size <= sizeof(d->wmask));
    st_sized(&d->wmask[offset], mask, size);
}

void pci_set_initial(struct pci_device *d, unsigned offset, uint32_t value, unsigned size)
{
    CHECK(offset + size <= sizeof(d->initial));
    st_sized(&d->initial[offset], value, size);
    st_sized(&d->config[offset], value, size);
}

unsigned pci_add_capability(struct pci_device *d, uint8_t id, unsigned len)
{
    unsigned at = (unsigned)align_up(d->cap_end, 4);
    CHECK(at + len <= 256);
    d->cap_end = (uint8_t)MIN(at + len, 255u);
    /* New capabilities go to the head of the list. */
    pci_set_initial(d, at, id, 1);
    pci_set_initial(d, at + 1, d->initial[PCI_CAP_PTR], 1);
    pci_set_initial(d, PCI_CAP_PTR, at, 1);
    pci_set_initial(d, PCI_STATUS, ld16(&d->initial[PCI_STATUS]) | PCI_STATUS_CAP_LIST, 2);
    return at;
}

static bool touches(unsigned offset, unsigned len, unsigned reg, unsigned reg_len)
{
    return offset < reg + reg_len && reg < offset + len;
}

uint32_t pci_config_read(struct pci_bus *bus, unsigned devfn, unsigned offset, unsigned size)
{
    struct pci_device *d = bus->fn[devfn & 255];
    if (!d || offset + size > sizeof(d->config))
        return UINT32_MAX;
    if (d->config_read)
        d->config_read(d->opaque, offset, size);
    return (uint32_t)ld_sized(&d->config[offset], size);
}

void pci_config_write(struct pci_bus *bus, unsigned devfn, unsigned offset, uint32_t value,
                      unsigned size)
{
    struct pci_device *d = bus->fn[devfn & 255];
    if (!d || offset + size > sizeof(d->config))
        return;
    LOG(bus->board->log, LOG_PCI, "%s: config %02x <- %0*x", d->owner->id, offset,
        (int)(2 * size), value);
    bool driven = pin_driven(d);
    for (unsigned i = 0; i < size; i++) {
        uint8_t v = (uint8_t)(value >> (8 * i)), *c = &d->config[offset + i];
        uint8_t w = d->wmask[offset + i], w1c = d->w1cmask[offset + i];
        *c = (uint8_t)((*c & ~w) | (v & w));
        *c &= (uint8_t)~(v & w1c);
    }
    if (touches(offset, size, PCI_COMMAND, 2)) {
        pin_changed(d, driven);
        bars_update(d);
    } else if (touches(offset, size, PCI_BAR0, 24) || touches(offset, size, PCI_ROM_BAR, 4)) {
        bars_update(d);
    }
    if (d->msix_cap && touches(offset, size, d->msix_cap + MSIX_CONTROL, 2))
        msix_flush(d);
    if (d->config_written)
        d->config_written(d->opaque, offset, size);
}

void pci_reset(struct pci_device *d)
{
    if (!d->bus)
        return;
    pci_set_irq(d, 0);
    memcpy(d->config, d->initial, sizeof(d->config));
    if (d->msix) {
        memset(d->msix->table, 0, sizeof(d->msix->table));
        for (unsigned v = 0; v < d->msix->vectors; v++)
            d->msix->table[v * 16 + 12] = MSIX_VECTOR_MASKED;
        d->msix->pending = 0;
    }
    bars_update(d);
}

bool pci_register(struct pci_bus *bus, struct pci_device *d, struct device *owner, unsigned devfn,
                  const struct pci_ident *id, struct error *err)
{
    CHECK(bus && bus->board && devfn < 256);
    if (bus->fn[devfn])
        return error_set(err, ERR_INVALID, "PCI slot %02x.%x is taken: use another",
                         devfn >> 3, devfn & 7);
    d->bus = bus;
    d->owner = owner;
    d->devfn = (uint8_t)devfn;
    d->cap_end = 0x40;
    bus->fn[devfn] = d;
    pci_set_initial(d, PCI_VENDOR_ID, id->vendor, 2);
    pci_set_initial(d, PCI_DEVICE_ID, id->device, 2);
    pci_set_initial(d, PCI_REVISION, id->revision, 1);
    pci_set_initial(d, PCI_CLASS_PROG, id->class_code & 0xff, 1);
    pci_set_initial(d, PCI_CLASS_PROG + 1, id->class_code >> 8, 2);
    pci_set_initial(d, PCI_HEADER_TYPE, id->multifunction ? 0x80 : 0, 1);
    pci_set_initial(d, PCI_SUBSYS_VENDOR, id->subsys_vendor ? id->subsys_vendor : 0x1af4, 2);
    pci_set_initial(d, PCI_SUBSYS_ID, id->subsys_vendor ? id->subsys_id : 0x1100, 2);
    pci_set_initial(d, PCI_INT_PIN, id->int_pin, 1);
    pci_set_wmask(d, PCI_COMMAND,
                  PCI_CMD_IO | PCI_CMD_MEMORY | PCI_CMD_MASTER | PCI_CMD_SERR |
                      PCI_CMD_INTX_DISABLE,
                  2);
    pci_set_wmask(d, PCI_CACHE_LINE, 0xff, 1);
    pci_set_wmask(d, PCI_INT_LINE, 0xff, 1);
    /* The sticky error bits of the status register. */
    d->w1cmask[PCI_STATUS + 1] = 0xf9;
    return true;
}

void pci_unregister(struct pci_device *d)
{
    if (!d->bus)
        return;
    pci_set_irq(d, 0);
    for (unsigned n = 0; n < PCI_BARS; n++)
        bar_unmap(d, n);
    d->bus->fn[d->devfn] = NULL;
    d->bus = NULL;
}

/* ---- configuration mechanism #1 (3.2.2.3.2) -------------------------------------------------- */

static uint64_t address_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct pci_bus *bus = opaque;
    /* Only whole doublewords are the register; other accesses pass it by. */
    if (offset == 1 && size == 1 && bus->cf9)
        return bus->cf9->read(bus->cf9_opaque, 0, 1);
    return offset == 0 && size == 4 ? bus->address : UINT64_MAX;
}

static void address_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pci_bus *bus = opaque;
    if (offset == 0 && size == 4)
        bus->address = (uint32_t)value & 0x80fffffcu;
    else if (offset == 1 && size == 1 && bus->cf9)
        bus->cf9->write(bus->cf9_opaque, 0, value, 1);
}

static const struct io_ops address_ops = {
    .name = "pci-address", .read = address_read, .write = address_write,
    .min_access = 1, .max_access = 4};

/* True with *devfn and *reg filled when the address register selects a function of this bus. */
static bool data_target(const struct pci_bus *bus, uint64_t offset, unsigned *devfn, unsigned *reg)
{
    *devfn = bus->address >> 8 & 0xff;
    *reg = (bus->address & 0xfc) + (unsigned)offset;
    return (bus->address & CONFIG_ENABLE) && (bus->address >> 16 & 0xff) == 0;
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_bus *bus = opaque;
    unsigned devfn, reg;
    if (!data_target(bus, offset, &devfn, &reg))
        return UINT64_MAX;
    return pci_config_read(bus, devfn, reg, size);
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pci_bus *bus = opaque;
    unsigned devfn, reg;
    if (data_target(bus, offset, &devfn, &reg))
        pci_config_write(bus, devfn, reg, (uint32_t)value, size);
}

static const struct io_ops data_ops = {
    .name = "pci-data", .read = data_read, .write = data_write, .min_access = 1, .max_access = 4};

void pci_bus_init(struct pci_bus *bus, struct board_if *board)
{
    bus->board = board;
    portmap_add(board->ports, CONFIG_ADDRESS, 4, &address_ops, bus);
    portmap_add(board->ports, CONFIG_DATA, 4, &data_ops, bus);
}

void pci_bus_fini(struct pci_bus *bus)
{
    if (!bus->board)
        return;
    portmap_remove(bus->board->ports, CONFIG_DATA, 4, bus);
    portmap_remove(bus->board->ports, CONFIG_ADDRESS, 4, bus);
    bus->board = NULL;
}

/* The PIRQ counts are the functions' doing and go back when they are reset. */
void pci_bus_reset(struct pci_bus *bus)
{
    bus->address = 0;
}

/* ---- state ----------------------------------------------------------------------------------- */

/* Where a BAR can stand is a matter of its size, whatever a file says. */
static bool pci_device_loaded(void *obj)
{
    struct pci_device *d = obj;

    for (unsigned n = 0; n < PCI_BARS; n++) {
        for (unsigned i = bar_offset(n); i < bar_offset(n) + 4; i++)
            d->config[i] = (uint8_t)((d->initial[i] & ~d->wmask[i]) | (d->config[i] & d->wmask[i]));
    }
    bars_update(d);
    return true;
}

static const struct vm_field pci_device_fields[] = {
    VM_BYTES(struct pci_device, config),
    VM_INT(struct pci_device, intx),
    VM_SKIP(struct pci_device, bus, "wiring"),
    VM_SKIP(struct pci_device, owner, "wiring"),
    VM_SKIP(struct pci_device, devfn, "configuration"),
    VM_SKIP(struct pci_device, wmask, "the kind of device"),
    VM_SKIP(struct pci_device, w1cmask, "the kind of device"),
    VM_SKIP(struct pci_device, initial, "the kind of device"),
    VM_SKIP(struct pci_device, msi_cap, "the kind of device"),
    VM_SKIP(struct pci_device, msix_cap, "the kind of device"),
    VM_SKIP(struct pci_device, cap_end, "the kind of device"),
    VM_SKIP(struct pci_device, msix, "wiring"),
    VM_SKIP(struct pci_device, bar, "follows from config"),
    VM_SKIP(struct pci_device, config_written, "wiring"),
    VM_SKIP(struct pci_device, config_read, "wiring"),
    VM_SKIP(struct pci_device, opaque, "wiring"),
    VM_END,
};
const struct vmstate vm_pci_device =
    VMSTATE_HOOKS("pci-device", struct pci_device, pci_device_fields, NULL, pci_device_loaded);

static const struct vm_field pci_msix_fields[] = {
    VM_BYTES(struct pci_msix, table),
    VM_INT(struct pci_msix, pending),
    VM_SKIP(struct pci_msix, d, "wiring"),
    VM_SKIP(struct pci_msix, vectors, "the kind of device"),
    VM_END,
};
const struct vmstate vm_pci_msix = VMSTATE("pci-msix", struct pci_msix, pci_msix_fields);

static const struct vm_field pci_bus_fields[] = {
    VM_INT(struct pci_bus, address),
    VM_INTS(struct pci_bus, pirq_count, uint8_t),
    VM_SKIP(struct pci_bus, board, "wiring"),
    VM_SKIP(struct pci_bus, fn, "wiring"),
    VM_SKIP(struct pci_bus, map_pin, "wiring"),
    VM_SKIP(struct pci_bus, set_pirq, "wiring"),
    VM_SKIP(struct pci_bus, pirq_opaque, "wiring"),
    VM_SKIP(struct pci_bus, msi_write, "wiring"),
    VM_SKIP(struct pci_bus, msi_opaque, "wiring"),
    VM_SKIP(struct pci_bus, cf9, "wiring"),
    VM_SKIP(struct pci_bus, cf9_opaque, "wiring"),
    VM_END,
};
const struct vmstate vm_pci_bus = VMSTATE("pci-bus", struct pci_bus, pci_bus_fields);
