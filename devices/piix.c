/* The PIIX3 PCI-to-ISA bridge. See piix.h. Data sheet: Intel 82371SB, order number 290550.
 *
 * Invariant: isa_level bit n is set exactly when some PIRQ that is routed to ISA interrupt n is
 * asserted, and cfg.isa[n] was last told so.
 *
 * Known inaccuracies: each PIRQ also drives an I/O APIC pin of its own whatever its routing
 * register says, as later chipsets do, so that the interrupts of ACPI's APIC mode are not shared
 * with ISA ones; X-bus decode, MBIRQ, DMA aliasing and APIC base registers are storage; NMI status
 * and SERR# are not connected.
 */
#include "devices/piix.h"

enum {
    REG_IORT = 0x4c,
    REG_XBCS = 0x4e,
    REG_PIRQ = 0x60,
    REG_TOM = 0x69,
    REG_MSTAT = 0x6a,
    REG_MBIRQ0 = 0x70,
    REG_MBDMA0 = 0x76,
    REG_PCSC = 0x78,
    REG_APICBASE = 0x80,
    REG_DLC = 0x82,
    REG_SMICNTL = 0xa0,
};
#define PIRQ_DISABLE 0x80
enum { RCR_HARD = 2, RCR_RESET = 4 };
/* Interrupts that a PIRQ may be routed to (data sheet 2.4.10): 3 to 7, 9 to 12, 14, 15. */
#define PIRQ_ALLOWED 0xdef8u

unsigned piix3_map_pin(unsigned slot, unsigned pin)
{
    /* The usual swizzle of a PIIX board, which SeaBIOS and the ACPI _PRT know too. */
    return (slot + pin + 3) & 3;
}

static void isa_update(struct piix3 *p)
{
    uint16_t level = 0;
    for (unsigned i = 0; i < PCI_PIRQS; i++) {
        uint8_t route = p->pci.config[REG_PIRQ + i];
        if ((p->pirq_level >> i & 1) && !(route & PIRQ_DISABLE))
            level |= (uint16_t)BIT(route & 15);
    }
    level &= PIRQ_ALLOWED;
    uint16_t changed = level ^ p->isa_level;
    p->isa_level = level;
    for (unsigned n = 0; n < 16; n++) {
        if (changed >> n & 1)
            irq_set(&p->cfg.isa[n], level >> n & 1);
    }
}

void piix3_set_pirq(void *opaque, unsigned pirq, int level)
{
    struct piix3 *p = opaque;
    if (pirq >= PCI_PIRQS)
        return;
    uint8_t bit = (uint8_t)BIT(pirq);
    p->pirq_level = (uint8_t)(level ? p->pirq_level | bit : p->pirq_level & ~bit);
    LOG(p->dev.board->log, LOG_IRQ, "PIRQ%c %d", 'A' + (int)pirq, level != 0);
    isa_update(p);
    irq_set(&p->cfg.ioapic[pirq], level != 0);
}

static void piix3_config_written(void *opaque, unsigned offset, unsigned len)
{
    if (offset < REG_PIRQ + PCI_PIRQS && offset + len > REG_PIRQ)
        isa_update(opaque);
}

static uint64_t rcr_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct piix3 *p = opaque;
    return p->rcr;
}

/* 2.5.1.4: bit 1 chooses between CPU and full reset, a rise of bit 2 makes it. Guests that ask for
 * the CPU's reset want the machine to start anew, so both are full. */
static void rcr_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct piix3 *p = opaque;
    uint8_t old = p->rcr;
    p->rcr = value & (RCR_HARD | RCR_RESET);
    if ((p->rcr & RCR_RESET) && !(old & RCR_RESET)) {
        p->rcr &= (uint8_t)~RCR_RESET;
        p->dev.board->request_reset(p->dev.board->opaque, RESET_HARD, "port CF9h");
    }
}

static const struct io_ops rcr_ops = {
    .name = "reset-control", .read = rcr_read, .write = rcr_write,
    .min_access = 1, .max_access = 1};

static bool piix3_init(struct device *dev, struct error *err)
{
    struct piix3 *p = (struct piix3 *)dev;
    if (!pci_register(p->cfg.bus, &p->pci, dev, p->cfg.devfn,
                      &(struct pci_ident){.vendor = 0x8086,
                                          .device = 0x7000,
                                          .class_code = 0x060100,
                                          .multifunction = true},
                      err))
        return false;
    struct pci_device *d = &p->pci;
    pci_set_initial(d, PCI_COMMAND, PCI_CMD_IO | PCI_CMD_MEMORY | PCI_CMD_MASTER, 2);
    pci_set_wmask(d, PCI_COMMAND, PCI_CMD_SERR, 2);
    pci_set_initial(d, PCI_STATUS, 0x0200, 2);
    static const struct {
        uint8_t reg, value, mask;
    } regs[] = {
        {REG_IORT, 0x4d, 0x7f},     {REG_XBCS, 0x03, 0xff},      {REG_XBCS + 1, 0x00, 0x01},
        {REG_PIRQ, 0x80, 0x8f},     {REG_PIRQ + 1, 0x80, 0x8f},  {REG_PIRQ + 2, 0x80, 0x8f},
        {REG_PIRQ + 3, 0x80, 0x8f}, {REG_TOM, 0x02, 0xfe},       {REG_MSTAT, 0x00, 0x94},
        {REG_MBIRQ0, 0x80, 0xef},   {REG_MBIRQ0 + 1, 0x80, 0xef}, {REG_MBDMA0, 0x0c, 0x8f},
        {REG_MBDMA0 + 1, 0x0c, 0x8f}, {REG_PCSC, 0x02, 0xff},    {REG_PCSC + 1, 0x00, 0xff},
        {REG_APICBASE, 0x00, 0x7f}, {REG_DLC, 0x00, 0x0f},       {REG_SMICNTL, 0x08, 0x1f},
    };
    for (unsigned i = 0; i < ARRAY_LEN(regs); i++) {
        pci_set_initial(d, regs[i].reg, regs[i].value, 1);
        pci_set_wmask(d, regs[i].reg, regs[i].mask, 1);
    }
    d->opaque = p;
    d->config_written = piix3_config_written;
    p->cfg.bus->cf9 = &rcr_ops;
    p->cfg.bus->cf9_opaque = p;
    return true;
}

static void piix3_reset(struct device *dev, enum reset_kind kind)
{
    struct piix3 *p = (struct piix3 *)dev;
    if (kind == RESET_INIT)
        return;
    pci_reset(&p->pci);
    p->rcr = 0;
    isa_update(p);
}

static void piix3_fini(struct device *dev)
{
    struct piix3 *p = (struct piix3 *)dev;
    if (p->pci.bus)
        p->cfg.bus->cf9 = NULL;
    pci_unregister(&p->pci);
}

static const struct vm_field piix3_fields[] = {
    VM_DEVICE(struct piix3),
    VM_STRUCT(struct piix3, pci, &vm_pci_device),
    VM_INT(struct piix3, pirq_level),
    VM_INT(struct piix3, isa_level),
    VM_INT(struct piix3, rcr),
    VM_SKIP(struct piix3, cfg, "configuration"),
    VM_END,
};
static const struct vmstate vm_piix3 = VMSTATE("piix3", struct piix3, piix3_fields);

const struct device_class piix3_class = {
    .name = "piix3",
    .size = sizeof(struct piix3),
    .vmstate = &vm_piix3,
    .init = piix3_init,
    .reset = piix3_reset,
    .fini = piix3_fini,
};
