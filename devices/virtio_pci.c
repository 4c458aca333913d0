/* The PCI transport of virtio devices: see virtio_pci.h. */
#include "devices/virtio_pci.h"

#define NS_NOTIFY 5000u /* from a notification to the work */

enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

/* Legacy registers (virtio 1.0, 4.1.4.8). */
enum {
    LEGACY_FEATURES = 0,
    LEGACY_DRIVER_FEATURES = 4,
    LEGACY_PFN = 8,
    LEGACY_QUEUE_SIZE = 12,
    LEGACY_SELECT = 14,
    LEGACY_NOTIFY = 16,
    LEGACY_STATUS = 18,
    LEGACY_ISR = 19,
    LEGACY_CONFIG_VECTOR = 20,
    LEGACY_QUEUE_VECTOR = 22,
};

/* Common configuration (4.1.4.3). */
enum {
    COMMON_DEVICE_SELECT = 0x00,
    COMMON_DEVICE_FEATURES = 0x04,
    COMMON_DRIVER_SELECT = 0x08,
    COMMON_DRIVER_FEATURES = 0x0c,
    COMMON_CONFIG_VECTOR = 0x10,
    COMMON_STATUS = 0x14,
    COMMON_SELECT = 0x16,
    COMMON_QUEUE_SIZE = 0x18,
    COMMON_QUEUE_VECTOR = 0x1a,
    COMMON_QUEUE_ENABLE = 0x1c,
    COMMON_DESC = 0x20,
    COMMON_AVAIL = 0x28,
    COMMON_USED = 0x30,
};

#define BAR_LEGACY        0
#define BAR_MSIX          1
#define BAR_MODERN        4

#define AREA_SIZE         0x1000u
#define AREA_COMMON       0u
#define AREA_ISR          1u
#define AREA_CONFIG       2u
#define AREA_NOTIFY       3u

#define NOTIFY_MULTIPLIER 4u

/* ---- interrupts ------------------------------------------------------------------------------- */

static void interrupt(struct virtio_pci *v, uint8_t why, uint16_t vector)
{
    if (pci_msix_enabled(&v->pci)) {
        if (vector != 0xffff)
            pci_msix_notify(&v->pci, vector);
        return;
    }
    v->isr |= why;
    pci_set_irq(&v->pci, 1);
}

static uint8_t read_isr(struct virtio_pci *v)
{
    uint8_t isr = v->isr;
    v->isr = 0;
    pci_set_irq(&v->pci, 0);
    return isr;
}

void virtio_pci_interrupt(struct virtio_pci *v, unsigned n)
{
    struct virtq *q = &v->queue[n];
    if (virtq_wants_interrupt(q, v->dev->board->mem))
        interrupt(v, ISR_QUEUE, q->vector);
    if (q->broken && !(v->status & VIRTIO_S_NEEDS_RESET)) {
        LOG(v->dev->board->log, LOG_GUEST_ERROR, "%s: queue %u makes no sense", v->dev->id, n);
        v->status |= VIRTIO_S_NEEDS_RESET;
        if (virtio_has(v, VIRTIO_F_VERSION_1))
            interrupt(v, ISR_CONFIG, v->config_vector);
    }
}

/* ---- state shared by both register sets ------------------------------------------------------- */

static void reset_device(struct virtio_pci *v)
{
    v->driver_features = 0;
    v->device_select = v->driver_select = 0;
    v->queue_select = 0;
    v->config_vector = 0xffff;
    v->status = 0;
    v->work = 0;
    read_isr(v);
    event_cancel(&v->event);
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
        virtq_reset(&v->queue[i]);
}

/* NULL: the selected queue does not exist. */
static struct virtq *selected(struct virtio_pci *v)
{
    return v->queue_select < v->ops->queues ? &v->queue[v->queue_select] : NULL;
}

static void enable(struct virtio_pci *v, struct virtq *q)
{
    q->event_idx = virtio_has(v, VIRTIO_F_EVENT_IDX);
    q->indirect = virtio_has(v, VIRTIO_F_INDIRECT_DESC);
    q->last_avail = q->used_idx = q->signalled = 0;
    q->broken = false;
    q->enabled = true;
}

static void set_status(struct virtio_pci *v, uint8_t status, bool legacy)
{
    if (!status) {
        reset_device(v);
        return;
    }
    /* 3.1.1: the device accepts the features by keeping FEATURES_OK set. */
    if (!legacy && status & VIRTIO_S_FEATURES_OK && !(v->status & VIRTIO_S_FEATURES_OK) &&
        (v->driver_features & ~v->features || !virtio_has(v, VIRTIO_F_VERSION_1)))
        status &= (uint8_t)~VIRTIO_S_FEATURES_OK;
    v->status = (uint8_t)(status | (v->status & VIRTIO_S_NEEDS_RESET));
}

static uint16_t checked_vector(const struct virtio_pci *v, uint64_t vector)
{
    return vector < v->msix.vectors ? (uint16_t)vector : 0xffff;
}

static void notify(struct virtio_pci *v, uint64_t n)
{
    if (n >= v->ops->queues || v->status & VIRTIO_S_NEEDS_RESET)
        return;
    v->work |= (uint8_t)BIT(n);
    if (!event_pending(&v->event))
        event_in(&v->event, NS_NOTIFY);
}

static void on_event(void *opaque)
{
    struct virtio_pci *v = opaque;
    uint8_t work = v->work;
    v->work = 0;
    for (unsigned n = 0; n < v->ops->queues; n++) {
        if (work >> n & 1) {
            v->ops->run(v->dev, n);
            if (virtq_more(&v->queue[n], v->dev->board->mem))
                notify(v, n);
        }
    }
}

static uint64_t config_read(const struct virtio_pci *v, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        if (offset + i < v->ops->config_len)
            value |= (uint64_t)v->config[offset + i] << i * 8;
    }
    return value;
}

static void config_write(struct virtio_pci *v, uint64_t offset, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size && v->ops->config_written; i++) {
        if (offset + i < v->ops->config_len) {
            v->config[offset + i] = (uint8_t)(value >> i * 8);
            v->ops->config_written(v->dev, (unsigned)offset + i);
        }
    }
}

/* ---- legacy ----------------------------------------------------------------------------------- */

/* The device's configuration moves when the MSI-X registers are there. */
static unsigned legacy_config(const struct virtio_pci *v)
{
    return pci_msix_enabled(&v->pci) ? 24 : 20;
}

static void legacy_set_pfn(struct virtio_pci *v, uint32_t pfn)
{
    struct virtq *q = selected(v);
    if (!pfn) {
        /* How legacy drivers reset the whole device. */
        if (q)
            q->enabled = false;
        return;
    }
    if (!q)
        return;
    /* 2.4.2: one block of memory, the used ring on a page of its own. */
    q->desc = (uint64_t)pfn << PAGE_SHIFT;
    q->avail = q->desc + 16ull * q->size;
    q->used = align_up(q->avail + 6 + 2ull * q->size, PAGE_SIZE);
    enable(v, q);
}

static uint64_t legacy_read(void *opaque, uint64_t offset, unsigned size)
{
    struct virtio_pci *v = opaque;
    struct virtq *q = selected(v);
    if (offset >= legacy_config(v))
        return config_read(v, offset - legacy_config(v), size);
    switch (offset) {
    case LEGACY_FEATURES:
        return (uint32_t)v->features;
    case LEGACY_DRIVER_FEATURES:
        return (uint32_t)v->driver_features;
    case LEGACY_PFN:
        return q && q->enabled ? (uint32_t)(q->desc >> PAGE_SHIFT) : 0;
    case LEGACY_QUEUE_SIZE:
        return q ? q->size : 0;
    case LEGACY_SELECT:
        return v->queue_select;
    case LEGACY_STATUS:
        return v->status;
    case LEGACY_ISR:
        return read_isr(v);
    case LEGACY_CONFIG_VECTOR:
        return v->config_vector;
    case LEGACY_QUEUE_VECTOR:
        return q ? q->vector : 0xffff;
    default:
        return 0;
    }
}

static void legacy_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct virtio_pci *v = opaque;
    if (offset >= legacy_config(v)) {
        config_write(v, offset - legacy_config(v), value, size);
        return;
    }
    switch (offset) {
    case LEGACY_DRIVER_FEATURES:
        v->driver_features = value & v->features & UINT32_MAX;
        break;
    case LEGACY_PFN:
        legacy_set_pfn(v, (uint32_t)value);
        break;
    case LEGACY_SELECT:
        v->queue_select = (uint16_t)value;
        break;
    case LEGACY_NOTIFY:
        notify(v, value & 0xffff);
        break;
    case LEGACY_STATUS:
        set_status(v, (uint8_t)value, true);
        break;
    case LEGACY_CONFIG_VECTOR:
        v->config_vector = checked_vector(v, value & 0xffff);
        break;
    case LEGACY_QUEUE_VECTOR:
        if (selected(v))
            selected(v)->vector = checked_vector(v, value & 0xffff);
        break;
    }
}

static const struct io_ops legacy_ops = {
    .name = "virtio", .read = legacy_read, .write = legacy_write, .min_access = 1, .max_access = 4};

/* ---- modern ----------------------------------------------------------------------------------- */

static uint32_t half(uint64_t v, uint32_t select)
{
    return select == 0 ? (uint32_t)v : select == 1 ? (uint32_t)(v >> 32) : 0;
}

/* The dword of common configuration at offset, a multiple of 4. */
static uint32_t common_dword(struct virtio_pci *v, uint64_t offset)
{
    struct virtq none = {.vector = 0xffff};
    const struct virtq *q = selected(v) ? selected(v) : &none;
    switch (offset) {
    case COMMON_DEVICE_SELECT:
        return v->device_select;
    case COMMON_DEVICE_FEATURES:
        return half(v->features, v->device_select);
    case COMMON_DRIVER_SELECT:
        return v->driver_select;
    case COMMON_DRIVER_FEATURES:
        return half(v->driver_features, v->driver_select);
    case COMMON_CONFIG_VECTOR:
        return v->config_vector | v->ops->queues << 16;
    case COMMON_STATUS: /* the generation between is 0: configuration never changes by itself */
        return v->status | (uint32_t)v->queue_select << 16;
    case COMMON_QUEUE_SIZE:
        return q->size | (uint32_t)q->vector << 16;
    case COMMON_QUEUE_ENABLE: /* and the notification offset: the queue's own number */
        return q->enabled | (q == &none ? 0 : (uint32_t)v->queue_select << 16);
    case COMMON_DESC:
        return (uint32_t)q->desc;
    case COMMON_DESC + 4:
        return (uint32_t)(q->desc >> 32);
    case COMMON_AVAIL:
        return (uint32_t)q->avail;
    case COMMON_AVAIL + 4:
        return (uint32_t)(q->avail >> 32);
    case COMMON_USED:
        return (uint32_t)q->used;
    case COMMON_USED + 4:
        return (uint32_t)(q->used >> 32);
    default:
        return 0;
    }
}

static void set_features_half(struct virtio_pci *v, uint32_t value)
{
    /* Fixed once accepted. Bits that were not offered are kept for set_status to refuse. */
    if (v->driver_select < 2 && !(v->status & VIRTIO_S_FEATURES_OK))
        v->driver_features = bits_set(v->driver_features, v->driver_select * 32, 32, value);
}

static void queue_write(struct virtio_pci *v, struct virtq *q, uint64_t offset, uint32_t value)
{
    uint64_t *address = offset < COMMON_AVAIL  ? &q->desc
                        : offset < COMMON_USED ? &q->avail
                                               : &q->used;
    switch (offset) {
    case COMMON_QUEUE_SIZE:
        if (!q->enabled && value && value <= VIRTQ_MAX && !(value & (value - 1)))
            q->size = (uint16_t)value;
        break;
    case COMMON_QUEUE_VECTOR:
        q->vector = checked_vector(v, value & 0xffff);
        break;
    case COMMON_QUEUE_ENABLE:
        if (value == 1 && !q->enabled)
            enable(v, q);
        break;
    case COMMON_DESC:
    case COMMON_AVAIL:
    case COMMON_USED:
    case COMMON_DESC + 4:
    case COMMON_AVAIL + 4:
    case COMMON_USED + 4:
        if (!q->enabled)
            *address = bits_set(*address, offset & 4 ? 32 : 0, 32, value);
        break;
    }
}

static void common_write(struct virtio_pci *v, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case COMMON_DEVICE_SELECT:
        v->device_select = value;
        break;
    case COMMON_DRIVER_SELECT:
        v->driver_select = value;
        break;
    case COMMON_DRIVER_FEATURES:
        set_features_half(v, value);
        break;
    case COMMON_CONFIG_VECTOR:
        v->config_vector = checked_vector(v, value & 0xffff);
        break;
    case COMMON_STATUS:
        set_status(v, (uint8_t)value, false);
        break;
    case COMMON_SELECT:
        v->queue_select = (uint16_t)value;
        break;
    default:
        if (selected(v))
            queue_write(v, selected(v), offset, value);
        break;
    }
}

static uint64_t modern_read(void *opaque, uint64_t offset, unsigned size)
{
    struct virtio_pci *v = opaque;
    uint64_t at = offset & (AREA_SIZE - 1);
    switch (offset / AREA_SIZE) {
    case AREA_COMMON:
        return (common_dword(v, at & ~3ull) >> (at & 3) * 8) & (uint32_t)((1ull << size * 8) - 1);
    case AREA_ISR:
        return at ? 0 : read_isr(v);
    case AREA_CONFIG:
        return config_read(v, at, size);
    default:
        return 0;
    }
}

static void modern_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct virtio_pci *v = opaque;
    uint64_t at = offset & (AREA_SIZE - 1);
    switch (offset / AREA_SIZE) {
    case AREA_COMMON:
        common_write(v, at, (uint32_t)value);
        break;
    case AREA_CONFIG:
        config_write(v, at, value, size);
        break;
    case AREA_NOTIFY:
        notify(v, at / NOTIFY_MULTIPLIER);
        break;
    }
}

static const struct io_ops modern_ops = {
    .name = "virtio", .read = modern_read, .write = modern_write, .min_access = 1, .max_access = 4};

/* ---- access through configuration space (4.1.4.7) --------------------------------------------- */

/* What the capability points at; false if it is nothing of ours. */
static bool cfg_window(const struct virtio_pci *v, const struct io_ops **ops, uint64_t *offset,
                       unsigned *size)
{
    const uint8_t *cap = v->pci.config + v->cfg_cap;
    *offset = ld32(cap + 8);
    *size = ld32(cap + 12);
    *ops = cap[4] == BAR_MODERN ? &modern_ops : cap[4] == BAR_LEGACY ? &legacy_ops : NULL;
    return *ops && (*size == 1 || *size == 2 || *size == 4) && !(*offset & (*size - 1)) &&
           *offset < (cap[4] == BAR_MODERN ? 4 * AREA_SIZE : 128);
}

static bool cfg_hit(const struct virtio_pci *v, unsigned offset, unsigned len)
{
    unsigned data = v->cfg_cap + 16u;
    return offset < data + 4 && offset + len > data;
}

static void pci_config_read_hook(void *opaque, unsigned offset, unsigned len)
{
    struct virtio_pci *v = opaque;
    const struct io_ops *ops;
    uint64_t at;
    unsigned size;
    if (cfg_hit(v, offset, len) && cfg_window(v, &ops, &at, &size))
        st_sized(v->pci.config + v->cfg_cap + 16, ops->read(v, at, size), size);
}

static void pci_config_written_hook(void *opaque, unsigned offset, unsigned len)
{
    struct virtio_pci *v = opaque;
    const struct io_ops *ops;
    uint64_t at;
    unsigned size;
    if (cfg_hit(v, offset, len) && cfg_window(v, &ops, &at, &size))
        ops->write(v, at, ld_sized(v->pci.config + v->cfg_cap + 16, size), size);
}

/* ---- life ------------------------------------------------------------------------------------- */

static const struct vm_field virtio_fields[] = {
    VM_STRUCT(struct virtio_pci, pci, &vm_pci_device),
    VM_STRUCT(struct virtio_pci, msix, &vm_pci_msix),
    VM_INT(struct virtio_pci, driver_features),
    VM_INT(struct virtio_pci, device_select),
    VM_INT(struct virtio_pci, driver_select),
    VM_INT(struct virtio_pci, queue_select),
    VM_INT(struct virtio_pci, config_vector),
    VM_INT(struct virtio_pci, status),
    VM_INT(struct virtio_pci, isr),
    VM_INT(struct virtio_pci, work),
    VM_STRUCTS(struct virtio_pci, queue, &vm_virtq),
    VM_STRUCT(struct virtio_pci, event, &vm_event),
    VM_BYTES(struct virtio_pci, config),
    VM_SKIP(struct virtio_pci, dev, "wiring, set by init"),
    VM_SKIP(struct virtio_pci, ops, "wiring, set by init"),
    VM_SKIP(struct virtio_pci, features, "made from the configuration by init"),
    VM_SKIP(struct virtio_pci, cfg_cap, "layout of the capabilities, set by init"),
    VM_END,
};
const struct vmstate vm_virtio_pci = VMSTATE("virtio-pci", struct virtio_pci, virtio_fields);

/* A vendor capability that says where one of the areas lies (4.1.4). */
static unsigned add_cap(struct virtio_pci *v, uint8_t type, unsigned area, uint32_t len,
                        unsigned extra)
{
    unsigned cap = pci_add_capability(&v->pci, PCI_CAP_ID_VENDOR, 16 + extra);
    pci_set_initial(&v->pci, cap + 2, 16 + extra, 1);
    pci_set_initial(&v->pci, cap + 3, type, 1);
    pci_set_initial(&v->pci, cap + 4, BAR_MODERN, 1);
    pci_set_initial(&v->pci, cap + 8, area * AREA_SIZE, 4);
    pci_set_initial(&v->pci, cap + 12, len, 4);
    return cap;
}

bool virtio_pci_init(struct virtio_pci *v, struct device *dev, struct pci_bus *bus, unsigned devfn,
                     const struct virtio_ops *ops, uint64_t features, struct error *err)
{
    CHECK(ops->queues <= VIRTIO_QUEUES && ops->config_len <= VIRTIO_CONFIG_MAX);
    v->dev = dev;
    v->ops = ops;
    v->features = features | VIRTIO_F_ANY_LAYOUT | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX |
                  VIRTIO_F_VERSION_1;
    event_init(&v->event, dev->board->clock, "virtio", 0, on_event, v);
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
        virtq_reset(&v->queue[i]);
    v->config_vector = 0xffff;
    if (!pci_register(bus, &v->pci, dev, devfn,
                      &(struct pci_ident){.vendor = 0x1af4,
                                          .device = ops->pci_id,
                                          .subsys_vendor = 0x1af4,
                                          .subsys_id = ops->type,
                                          .class_code = ops->class_code,
                                          .int_pin = 1},
                      err))
        return false;
    pci_add_bar_io(&v->pci, BAR_LEGACY, 128, &legacy_ops, v);
    pci_add_msix(&v->pci, &v->msix, BAR_MSIX, ops->queues + 1);
    pci_add_bar_mem(&v->pci, BAR_MODERN, PCI_BAR_MEM64, true, 4 * AREA_SIZE, &modern_ops, v);

    add_cap(v, 1, AREA_COMMON, 0x38, 0);
    unsigned cap = add_cap(v, 2, AREA_NOTIFY, AREA_SIZE, 4);
    pci_set_initial(&v->pci, cap + 16, NOTIFY_MULTIPLIER, 4);
    add_cap(v, 3, AREA_ISR, 1, 0);
    add_cap(v, 4, AREA_CONFIG, ops->config_len, 0);
    v->cfg_cap = (uint8_t)add_cap(v, 5, 0, 0, 4);
    pci_set_initial(&v->pci, v->cfg_cap + 4u, 0, 1);
    pci_set_wmask(&v->pci, v->cfg_cap + 4u, 0xff, 1);
    pci_set_wmask(&v->pci, v->cfg_cap + 8u, 0xffffffff, 4);
    pci_set_wmask(&v->pci, v->cfg_cap + 12u, 0xffffffff, 4);
    pci_set_wmask(&v->pci, v->cfg_cap + 16u, 0xffffffff, 4);
    v->pci.config_read = pci_config_read_hook;
    v->pci.config_written = pci_config_written_hook;
    v->pci.opaque = v;
    return true;
}

void virtio_pci_reset(struct virtio_pci *v)
{
    reset_device(v);
    pci_reset(&v->pci);
}

void virtio_pci_fini(struct virtio_pci *v)
{
    if (v->event.clock)
        event_cancel(&v->event);
    pci_unregister(&v->pci);
}
