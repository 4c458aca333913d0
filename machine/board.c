/* The board: which devices there are, where, and how they are wired.
 *
 * The table below is the whole wiring. All devices are allocated first, then each is configured and
 * initialized in the table's order, so that a configuration may point at any other device, and init
 * may use what stands above it. Reset runs in the same order, removal in the opposite one.
 *
 *     PCI 00.0 host bridge   01.0 PCI-ISA bridge   01.1 IDE   01.3 power management   02.0 VGA
 *         04.0 and on: virtio disks
 */
#include <stdlib.h>

#include "base/hash.h"
#include "devices/acpi_pm.h"
#include "devices/acpi_tables.h"
#include "devices/apic_bus.h"
#include "devices/cmos.h"
#include "devices/debug_exit.h"
#include "devices/debugcon.h"
#include "devices/dma.h"
#include "devices/fdc.h"
#include "devices/fw_cfg.h"
#include "devices/hpet.h"
#include "devices/i440fx.h"
#include "devices/ide.h"
#include "devices/ioapic.h"
#include "devices/kbc.h"
#include "devices/lapic.h"
#include "devices/misc_ports.h"
#include "devices/pic.h"
#include "devices/piix.h"
#include "devices/pit.h"
#include "devices/smbios.h"
#include "devices/sysctl.h"
#include "devices/uart.h"
#include "devices/vga.h"
#include "devices/virtio_blk.h"
#include "devices/vmgenid.h"
#include "machine/threads.h"
#include "machine/wires.h"
#include "roms/acpi/dsdt.h"

#define FLOPPY_144 4 /* drive type in CMOS */

struct board_entry;
typedef bool (*configure_fn)(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                             struct error *err);

/* One row. An absent device (count 0) is none; several of one kind are rows of their own. */
struct board_entry {
    const struct device_class *cls;
    const char *id;
    uint16_t base; /* first port, or PCI slot and function */
    uint8_t irq;   /* ISA interrupt */
    uint8_t index; /* among its kind */
    size_t slot;   /* offset in struct tnm_machine of the pointer to it; 0: none */
    configure_fn configure;
    bool (*present)(const struct tnm_machine *m, unsigned index); /* NULL: always */
};

/* ---- configuration of each kind -------------------------------------------------------------- */

/* For the running CPU, so that it is taken after this very instruction, however the code is cut into
 * blocks; for another in turns, because whoever sent it often spins until it is answered; for one
 * that sleeps on its thread, so that it wakes. */
static void cpu_signal(struct vcpu_ref *r)
{
    if (threads_active(r->m))
        threads_kick(r->m, r->index);
    else
        run_shorten_slice(r->m);
}

static void cpu_intr(void *opaque, int level)
{
    struct vcpu_ref *r = opaque;
    struct cpu *cpu = r->m->cpu[r->index];

    if (!level) {
        cpu_clear_interrupt(cpu, CPU_INTR);
        return;
    }
    cpu_interrupt(cpu, CPU_INTR);
    cpu_signal(r);
}

static void cpu_nmi(void *opaque)
{
    struct vcpu_ref *r = opaque;
    cpu_interrupt(r->m->cpu[r->index], CPU_NMI);
    cpu_signal(r);
}

static void cpu_init_signal(void *opaque)
{
    struct vcpu_ref *r = opaque;
    struct cpu *cpu = r->m->cpu[r->index];

    /* What came before it does not start the CPU; what comes after it does, even if it has not got so
     * far as to wait for that. */
    cpu_clear_interrupt(cpu, CPU_SIPI);
    if (threads_active(r->m) || threads_is_self(r->m, r->index)) {
        cpu_interrupt(cpu, CPU_INIT);
        cpu_signal(r);
        return;
    }
    /* It stands still, between two of its turns. The start-up message may follow within the sender's
     * turn and must find it waiting. */
    LOG(&r->m->log, LOG_RESET, "cpu%u: INIT", r->index);
    cpu_reset(cpu, true);
}

static void cpu_sipi(void *opaque, uint8_t vector)
{
    struct vcpu_ref *r = opaque;
    struct cpu *cpu = r->m->cpu[r->index];
    __atomic_store_n(&cpu->sipi_vector, vector, __ATOMIC_RELAXED);
    cpu_interrupt(cpu, CPU_SIPI);
    threads_kick(r->m, r->index);
}

static int cpu_pic_ack(void *opaque)
{
    struct vcpu_ref *r = opaque;
    return pic_ack(r->m->pic);
}

static uint64_t cpu_tsc_to_ns(void *opaque, uint64_t tsc)
{
    struct vcpu_ref *r = opaque;
    uint64_t now = clock_now(&r->m->clock), current = now + r->m->cpu[r->index]->tsc_offset;

    /* Not simply the difference: what has been, on a counter that was set forward, may lie before
     * power-on. */
    return tsc <= current ? now : now + MIN(tsc - current, BIT64(62));
}

static void intr_pin(void *opaque, int n, int level) /* CPUs without a local APIC */
{
    struct tnm_machine *m = opaque;
    cpu_intr(&m->vcpu[0], level);
}

static bool conf_pic(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                     struct error *err)
{
    struct pic *p = (struct pic *)dev;
    if (machine_cpu_has_apic(m))
        p->cfg.intr = (struct irq_line){lapic_set_lint, m->lapic[0], 0};
    else
        p->cfg.intr = (struct irq_line){intr_pin, m, 0};
    return true;
}

static unsigned current_cpu(void *opaque)
{
    return ((struct tnm_machine *)opaque)->current;
}

static bool conf_apic_bus(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                          struct error *err)
{
    struct apic_bus *b = (struct apic_bus *)dev;
    b->cfg = (struct apic_bus_cfg){
        .current_cpu = current_cpu, .opaque = m, .cpus = m->ncpus, .ioapic = m->ioapic};
    for (unsigned i = 0; i < m->ncpus; i++)
        b->cfg.lapic[i] = m->lapic[i];
    return true;
}

static bool conf_lapic(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                       struct error *err)
{
    ((struct lapic *)dev)->cfg = (struct lapic_cfg){
        .bus = m->apic_bus,
        .id = e->index,
        .x2apic = feature_has(&m->cpu[0]->features, F_X2APIC),
        .opaque = &m->vcpu[e->index],
        .set_intr = cpu_intr,
        .nmi = cpu_nmi,
        .init = cpu_init_signal,
        .sipi = cpu_sipi,
        .pic_ack = cpu_pic_ack,
        .tsc_to_ns = cpu_tsc_to_ns,
    };
    return true;
}

static bool conf_ioapic(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                        struct error *err)
{
    ((struct ioapic *)dev)->cfg = (struct ioapic_cfg){.bus = m->apic_bus, .id = 0};
    return true;
}

static bool conf_pit(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                     struct error *err)
{
    ((struct pit *)dev)->cfg.irq = wires_pit(m);
    return true;
}

static bool conf_cmos(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                      struct error *err)
{
    ((struct cmos *)dev)->cfg.irq = wires_rtc(m);
    return true;
}

static bool conf_hpet(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                      struct error *err)
{
    struct hpet *h = (struct hpet *)dev;
    for (unsigned pin = 0; pin < GSIS; pin++) {
        if (HPET_ROUTES >> pin & 1)
            h->cfg.gsi[pin] = wires_gsi(m, pin, 1);
    }
    h->cfg.legacy0 = wires_isa(m, 0);
    h->cfg.legacy8 = wires_isa(m, 8);
    h->cfg.legacy_mode = wires_hpet_legacy;
    h->cfg.opaque = m;
    return true;
}

static bool conf_sysctl(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                        struct error *err)
{
    ((struct sysctl *)dev)->cfg.pit = m->pit;
    return true;
}

static bool conf_kbc(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                     struct error *err)
{
    struct kbc *k = (struct kbc *)dev;
    k->cfg.irq1 = wires_isa(m, 1);
    k->cfg.irq12 = wires_isa(m, 12);
    return true;
}

static bool conf_fdc(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                     struct error *err)
{
    struct fdc *f = (struct fdc *)dev;
    f->cfg.irq = wires_isa(m, e->irq);
    f->cfg.dma = m->dma;
    f->cfg.drives = 1;
    f->cfg.drive_type[0] = FLOPPY_144;
    f->cfg.media[0] = m->floppy;
    return true;
}

static bool conf_uart(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                      struct error *err)
{
    struct uart *u = (struct uart *)dev;
    u->cfg.port = e->base;
    u->cfg.irq = wires_isa(m, e->irq);
    if (e->index < m->cfg.nserials) {
        u->cfg.out = m->cfg.serial[e->index].out;
        u->cfg.opaque = m->cfg.serial[e->index].opaque;
    }
    return true;
}

static bool conf_debug_exit(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                            struct error *err)
{
    ((struct debug_exit *)dev)->cfg.port = (uint16_t)m->cfg.debug_exit_port;
    return true;
}

static bool conf_i440fx(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                        struct error *err)
{
    ((struct i440fx *)dev)->cfg =
        (struct i440fx_cfg){.ram_ra = 0, .bios_ra = m->bios_ra, .bios_size = m->bios.size};
    return true;
}

static bool conf_piix3(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                       struct error *err)
{
    struct piix3 *p = (struct piix3 *)dev;
    struct pci_bus *bus = &m->host_bridge->bus;

    p->cfg.bus = bus;
    p->cfg.devfn = e->base;
    for (unsigned i = 0; i < ISA_IRQS; i++)
        p->cfg.isa[i] = wires_isa(m, i);
    for (unsigned i = 0; i < 4; i++)
        p->cfg.ioapic[i] = wires_gsi(m, 16 + i, 2);
    bus->map_pin = piix3_map_pin;
    bus->set_pirq = piix3_set_pirq;
    bus->pirq_opaque = p;
    bus->msi_write = apic_bus_msi;
    bus->msi_opaque = m->apic_bus;
    return true;
}

static bool conf_acpi_pm(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                         struct error *err)
{
    ((struct acpi_pm *)dev)->cfg = (struct acpi_pm_cfg){
        .bus = &m->host_bridge->bus, .devfn = e->base, .sci = wires_isa(m, e->irq)};
    return true;
}

static bool conf_vmgenid(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                         struct error *err)
{
    struct vmgenid *v = (struct vmgenid *)dev;

    v->cfg.pm = m->acpi_pm;
    /* The seed is the host's or, for runs that repeat, always the same; so is the ID. */
    st64(v->cfg.id, hash64(&(uint8_t){0}, 1, m->random));
    st64(v->cfg.id + 8, hash64(&(uint8_t){1}, 1, m->random));
    return true;
}

static bool conf_ide(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                     struct error *err)
{
    struct ide_cfg cfg = {.bus = &m->host_bridge->bus, .devfn = e->base};
    unsigned place = 0; /* channel * 2 + unit; the CD-ROM drive is master of the second channel */

    cfg.irq[0] = wires_isa(m, 14);
    cfg.irq[1] = wires_isa(m, 15);
    m->cd_channel = 1;
    m->cd_unit = 0;
    cfg.drive[1][0] = (struct ide_drive_cfg){.kind = IDE_CDROM, .block = m->cdrom};
    for (unsigned i = 0; i < m->cfg.ndisks; i++) {
        if (m->cfg.disks[i].interface != TNM_IF_IDE)
            continue;
        if (place == 2)
            place++;
        if (place > 3)
            return error_set(err, ERR_INVALID,
                             "more than three IDE disks: give the others if=virtio");
        cfg.drive[place / 2][place % 2] =
            (struct ide_drive_cfg){.kind = IDE_DISK, .block = m->disk[i]};
        place++;
    }
    ide_configure(dev, &cfg);
    return true;
}

static bool conf_vga(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                     struct error *err)
{
    vga_configure((struct vga *)dev, &(struct vga_config){
                                         .pci = &m->host_bridge->bus,
                                         .devfn = e->base,
                                         .rom = m->vga_bios.data,
                                         .rom_size = (uint32_t)m->vga_bios.size,
                                     });
    return true;
}

/* The index-th disk with interface virtio: which entry of the configuration, or -1. */
static int virtio_disk(const struct tnm_machine *m, unsigned index)
{
    for (unsigned i = 0; i < m->cfg.ndisks; i++) {
        if (m->cfg.disks[i].interface == TNM_IF_VIRTIO && index-- == 0)
            return (int)i;
    }
    return -1;
}

static bool conf_virtio(struct tnm_machine *m, struct device *dev, const struct board_entry *e,
                        struct error *err)
{
    virtio_blk_configure(dev, &(struct virtio_blk_cfg){
                                  .bus = &m->host_bridge->bus,
                                  .devfn = e->base,
                                  .block = m->disk[virtio_disk(m, e->index)],
                              });
    return true;
}

static bool has_cpu(const struct tnm_machine *m, unsigned index)
{
    return index < m->ncpus;
}
static bool has_uart(const struct tnm_machine *m, unsigned index)
{
    return index < MAX(m->cfg.nserials, 2u);
}
static bool has_debug_exit(const struct tnm_machine *m, unsigned index)
{
    return m->cfg.debug_exit_port >= 0;
}
static bool has_virtio(const struct tnm_machine *m, unsigned index)
{
    return virtio_disk(m, index) >= 0;
}

/* ---- the table ------------------------------------------------------------------------------- */

#define SLOT(member) offsetof(struct tnm_machine, member)
#define LAPIC_ROW(n)                                                                               \
    {                                                                                              \
        &lapic_class, "lapic" #n, 0, 0, n, SLOT(lapic[n]), conf_lapic, has_cpu                     \
    }
#define VIRTIO_ROW(n)                                                                              \
    {                                                                                              \
        &virtio_blk_class, "virtio" #n, PCI_DEVFN(4 + n, 0), 0, n, 0, conf_virtio, has_virtio      \
    }

static const struct board_entry table[] = {
    /* class, id, base, irq, index, slot, configure, present */
    {&i440fx_class, "i440fx", PCI_DEVFN(0, 0), 0, 0, SLOT(host_bridge), conf_i440fx, NULL},
    {&pic_class, "pic", 0x20, 0, 0, SLOT(pic), conf_pic, NULL},
    {&apic_bus_class, "apic", 0, 0, 0, SLOT(apic_bus), conf_apic_bus, NULL},
    LAPIC_ROW(0),
    LAPIC_ROW(1),
    LAPIC_ROW(2),
    LAPIC_ROW(3),
    LAPIC_ROW(4),
    LAPIC_ROW(5),
    LAPIC_ROW(6),
    LAPIC_ROW(7),
    {&ioapic_class, "ioapic", 0, 0, 0, SLOT(ioapic), conf_ioapic, NULL},
    {&pit_class, "pit", 0x40, 0, 0, SLOT(pit), conf_pit, NULL},
    {&cmos_class, "cmos", 0x70, 8, 0, SLOT(cmos), conf_cmos, NULL},
    {&hpet_class, "hpet", 0, 0, 0, SLOT(hpet), conf_hpet, NULL},
    {&dma_class, "dma", 0x00, 0, 0, SLOT(dma), NULL, NULL},
    {&misc_ports_class, "misc", 0x80, 0, 0, 0, NULL, NULL},
    {&sysctl_class, "sysctl", 0x61, 0, 0, 0, conf_sysctl, NULL},
    {&kbc_class, "kbc", 0x60, 1, 0, SLOT(kbc), conf_kbc, NULL},
    {&fdc_class, "fdc", 0x3f0, 6, 0, SLOT(fdc), conf_fdc, NULL},
    {&uart_class, "uart0", 0x3f8, 4, 0, SLOT(uart[0]), conf_uart, has_uart},
    {&uart_class, "uart1", 0x2f8, 3, 1, SLOT(uart[1]), conf_uart, has_uart},
    {&uart_class, "uart2", 0x3e8, 4, 2, SLOT(uart[2]), conf_uart, has_uart},
    {&uart_class, "uart3", 0x2e8, 3, 3, SLOT(uart[3]), conf_uart, has_uart},
    {&fw_cfg_class, "fw_cfg", 0x510, 0, 0, SLOT(fw_cfg), NULL, NULL},
    {&debugcon_class, "debugcon", 0x402, 0, 0, 0, NULL, NULL},
    {&debug_exit_class, "debug_exit", 0, 0, 0, 0, conf_debug_exit, has_debug_exit},
    {&piix3_class, "piix3", PCI_DEVFN(1, 0), 0, 0, SLOT(piix3), conf_piix3, NULL},
    {&ide_class, "ide", PCI_DEVFN(1, 1), 14, 0, SLOT(ide), conf_ide, NULL},
    {&acpi_pm_class, "acpi_pm", PCI_DEVFN(1, 3), 9, 0, SLOT(acpi_pm), conf_acpi_pm, NULL},
    {&vmgenid_class, "vmgenid", 0, 0, 0, SLOT(vmgenid), conf_vmgenid, NULL},
    {&vga_class, "vga", PCI_DEVFN(2, 0), 0, 0, SLOT(vga), conf_vga, NULL},
    VIRTIO_ROW(0),
    VIRTIO_ROW(1),
    VIRTIO_ROW(2),
    VIRTIO_ROW(3),
    VIRTIO_ROW(4),
    VIRTIO_ROW(5),
    VIRTIO_ROW(6),
    VIRTIO_ROW(7),
};
static_assert(sizeof(table) / sizeof(table[0]) <= MAX_DEVICES, "room for every row");

/* ---- what devices ask of the board ----------------------------------------------------------- */

static void request_reset(void *opaque, enum reset_kind kind, const char *why)
{
    struct tnm_machine *m = opaque;

    LOG(&m->log, LOG_RESET, "%s: %s", kind == RESET_INIT ? "INIT" : "reset", why);
    if (!m->want_reset || kind != RESET_INIT)
        m->reset_kind = kind;
    m->want_reset = true;
    run_shorten_slice(m);
}

static void request_poweroff(void *opaque)
{
    struct tnm_machine *m = opaque;

    LOG(&m->log, LOG_POWER, "power off");
    m->want_poweroff = true;
    run_shorten_slice(m);
}

static void request_exit(void *opaque, int status)
{
    struct tnm_machine *m = opaque;

    if (!m->want_exit)
        m->exit_status = status;
    m->want_exit = true;
    run_shorten_slice(m);
}

static void set_a20(void *opaque, bool on)
{
    struct tnm_machine *m = opaque;
    for (unsigned i = 0; i < m->ncpus; i++) {
        if (threads_active(m) && !threads_is_self(m, i))
            cpu_set_a20(m->cpu[i], on);
        else
            mmu_set_a20(&m->cpu[i]->mmu, on);
    }
}

static int64_t wallclock(void *opaque)
{
    return ((struct tnm_machine *)opaque)->wallclock;
}

/* ---- media ----------------------------------------------------------------------------------- */

struct block_dev *board_open_cdrom(const char *path, struct error *err)
{
    return block_open(&(struct block_options){.path = path, .format = "raw", .readonly = true},
                      err);
}

struct block_dev *board_open_floppy(const char *path, struct error *err)
{
    struct block_dev *b = block_open(&(struct block_options){.path = path, .format = "raw"}, err);

    /* An image that cannot be written is a diskette with its tab open. */
    if (!b && err->code == ERR_IO)
        b = block_open(&(struct block_options){.path = path, .format = "raw", .readonly = true},
                       err);
    if (b && !fdc_size_ok(block_size(b))) {
        error_set(err, ERR_FORMAT,
                  "floppy image %s has %llu bytes, the size of no diskette: 1.44M is 1474560", path,
                  (unsigned long long)block_size(b));
        block_close(b);
        return NULL;
    }
    return b;
}

static bool open_media(struct tnm_machine *m, struct error *err)
{
    for (unsigned i = 0; i < m->cfg.ndisks; i++) {
        const tnm_disk *d = &m->cfg.disks[i];
        m->disk[i] = block_open(&(struct block_options){.path = d->path,
                                                        .format = d->format,
                                                        .readonly = d->readonly,
                                                        .discard = d->discard},
                                err);
        if (!m->disk[i])
            return false;
    }
    if (m->cfg.cdrom && !(m->cdrom = board_open_cdrom(m->cfg.cdrom, err)))
        return false;
    if (m->cfg.floppy && !(m->floppy = board_open_floppy(m->cfg.floppy, err)))
        return false;
    return true;
}

/* ---- what the firmware is told --------------------------------------------------------------- */

static bool tell_firmware(struct tnm_machine *m, struct error *err)
{
    struct fw_cfg *fw = m->fw_cfg;
    const char *boot = m->cfg.boot ? m->cfg.boot : m->floppy ? "acd" : "cdn";
    bool ok;

    cmos_set_memory(m->cmos, m->ram_below_4g, m->ram_above_4g);
    cmos_set_floppies(m->cmos, FLOPPY_144, 0);
    cmos_set_boot_letters(m->cmos, boot);
    cmos_set_cpus(m->cmos, m->ncpus);
    ok = fw_cfg_add_pc(fw, &(struct fw_cfg_pc){
                               .cpus = m->ncpus,
                               .ram_below_4g = m->ram_below_4g,
                               .ram_above_4g = m->ram_above_4g,
                               .bootorder = !m->kernel.data ? NULL
                                            : multiboot_is(&m->kernel)
                                                ? "/rom@genroms/multiboot.bin\nHALT\n"
                                                : "/rom@genroms/linuxboot.bin\nHALT\n",
                               .boot_fail_wait_s = 0xffff,
                           });
    if (ok && machine_cpu_has_apic(m))
        ok = acpi_tables_add(fw, &(struct acpi_tables_cfg){
                                     .cpus = m->ncpus,
                                     .ram_below_4g = m->ram_below_4g,
                                     .ram_above_4g = m->ram_above_4g,
                                     .dsdt = acpi_dsdt,
                                     .dsdt_len = acpi_dsdt_size,
                                     .phys_bits = PHYS_ADDR_BITS,
                                     .hpet = true,
                                 });
    ok = ok && smbios_add(fw, &(struct smbios_cfg){
                                  .cpus = m->ncpus,
                                  .ram_below_4g = m->ram_below_4g,
                                  .ram_above_4g = m->ram_above_4g,
                                  .version = "0.1",
                              });
    return ok || error_set(err, ERR_NOMEM, "no memory for the firmware's tables");
}

/* ---- life ------------------------------------------------------------------------------------ */

bool board_create(struct tnm_machine *m, struct error *err)
{
    m->board = (struct board_if){
        .clock = &m->clock,
        .ports = m->ports,
        .mem = m->mem,
        .log = &m->log,
        .opaque = m,
        .request_reset = request_reset,
        .request_poweroff = request_poweroff,
        .request_exit = request_exit,
        .set_a20 = set_a20,
        .wallclock = wallclock,
    };
    if (!open_media(m, err))
        return false;
    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        const struct board_entry *e = &table[i];
        if (e->present && !e->present(m, e->index))
            continue;
        struct device *dev = calloc(1, e->cls->size);
        if (!dev)
            return error_set(err, ERR_NOMEM, "no memory for device %s", e->id);
        *dev = (struct device){.cls = e->cls, .board = &m->board, .id = e->id};
        m->dev[i] = dev;
        if (e->slot)
            memcpy((char *)m + e->slot, &dev, sizeof(dev));
    }
    m->ndevices = ARRAY_LEN(table);
    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        const struct board_entry *e = &table[i];
        if (!m->dev[i])
            continue;
        if (e->configure && !e->configure(m, m->dev[i], e, err))
            return false;
        m->initialized = i + 1;
        if (!e->cls->init(m->dev[i], err))
            return false;
    }
    return tell_firmware(m, err);
}

void board_destroy(struct tnm_machine *m)
{
    for (unsigned i = m->initialized; i-- > 0;) {
        if (m->dev[i] && m->dev[i]->cls->fini)
            m->dev[i]->cls->fini(m->dev[i]);
    }
    for (unsigned i = 0; i < MAX_DEVICES; i++)
        free(m->dev[i]);
    for (unsigned i = 0; i < TNM_MAX_DISKS; i++) {
        if (m->disk[i])
            block_close(m->disk[i]);
    }
    if (m->cdrom)
        block_close(m->cdrom);
    if (m->floppy)
        block_close(m->floppy);
}

void board_fresh_identity(struct tnm_machine *m)
{
    uint8_t id[VMGENID_SIZE];

    m->random = host_random() | 1; /* never 0, of which the generator makes only zeros */
    st64(id, host_random());
    st64(id + 8, host_random());
    vmgenid_change(m->vmgenid, id);
}

void board_reset(struct tnm_machine *m, enum reset_kind kind)
{
    if (kind == RESET_INIT) {
        cpu_clear_interrupt(m->cpu[0], CPU_SIPI);
        cpu_interrupt(m->cpu[0], CPU_INIT);
        return;
    }
    set_a20(m, true);
    for (unsigned i = 0; i < m->ndevices; i++) {
        if (m->dev[i] && m->dev[i]->cls->reset)
            m->dev[i]->cls->reset(m->dev[i], kind);
    }
    for (unsigned i = 0; i < m->ncpus; i++) {
        cpu_clear_interrupt(m->cpu[i], CPU_NMI | CPU_INIT | CPU_SIPI);
        cpu_reset(m->cpu[i], false);
    }
    m->current = 0;
    m->quantum_left = 0;
}
