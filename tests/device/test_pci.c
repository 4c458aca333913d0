/* PCI bus, host bridge and ISA bridge, driven through ports CF8h and CFCh. */
#include "devices/i440fx.h"
#include "devices/piix.h"
#include "tests/device/harness.h"

#define BIOS_SIZE (256 * KIB)
#define RAM (2 * MIB)

struct card {
    struct device dev;
    struct pci_device pci;
    struct pci_msix msix;
    struct pci_bus *bus;
    unsigned devfn;
    uint64_t last_offset;
};

static uint64_t card_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0xa0 + offset;
}

static void card_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    ((struct card *)opaque)->last_offset = offset;
}

static const struct io_ops card_ops = {"card", card_read, card_write, 1, 4};

static bool card_init(struct device *dev, struct error *err)
{
    struct card *c = (struct card *)dev;
    if (!pci_register(c->bus, &c->pci, dev, c->devfn,
                      &(struct pci_ident){.vendor = 0x1234, .device = 0x5678,
                                          .class_code = 0x020000, .int_pin = 1},
                      err))
        return false;
    pci_add_bar_io(&c->pci, 0, 32, &card_ops, c);
    pci_add_bar_mem(&c->pci, 1, PCI_BAR_MEM32, false, 8192, &card_ops, c);
    pci_add_bar_mem(&c->pci, 2, PCI_BAR_MEM64, true, 1 * MIB, &card_ops, c);
    pci_add_msix(&c->pci, &c->msix, 4, 3);
    pci_add_msi(&c->pci);
    return true;
}

static void card_reset(struct device *dev, enum reset_kind kind)
{
    pci_reset(&((struct card *)dev)->pci);
}

static void card_fini(struct device *dev)
{
    pci_unregister(&((struct card *)dev)->pci);
}

static const struct device_class card_class = {
    .name = "card", .size = sizeof(struct card),
    .init = card_init, .reset = card_reset, .fini = card_fini};

struct board {
    struct harness *h;
    struct i440fx *host;
    struct piix3 *piix;
    struct card *a, *b;
    uint64_t bios_ra;
    unsigned msis;
    uint64_t msi_addr;
    uint32_t msi_data;
};

static void got_msi(void *opaque, uint64_t addr, uint32_t data)
{
    struct board *t = opaque;
    t->msis++;
    t->msi_addr = addr;
    t->msi_data = data;
}

static struct card *add_card(struct board *t, unsigned slot)
{
    struct card *c = harness_alloc(t->h, &card_class, "card");
    c->bus = &t->host->bus;
    c->devfn = PCI_DEVFN(slot, 0);
    harness_start(t->h, &c->dev);
    return c;
}

/* Host bridge, ISA bridge with ISA interrupts on lines 0 to 15 and I/O APIC pins on 16 to 19, and
 * two cards whose INTA# share a PIRQ. */
static void setup(struct board *t)
{
    memset(t, 0, sizeof(*t));
    t->h = harness_new(RAM + BIOS_SIZE);
    /* The store's second part plays the ROM. */
    t->bios_ra = t->h->ram_ra + RAM;
    memset(physmap_host(t->h->board.mem, t->bios_ra), 0x5a, BIOS_SIZE);
    t->host = harness_alloc(t->h, &i440fx_class, "host");
    t->host->cfg = (struct i440fx_cfg){t->h->ram_ra, t->bios_ra, BIOS_SIZE};
    harness_start(t->h, &t->host->dev);
    t->piix = harness_alloc(t->h, &piix3_class, "piix3");
    t->piix->cfg.bus = &t->host->bus;
    t->piix->cfg.devfn = PCI_DEVFN(1, 0);
    for (int i = 0; i < 16; i++)
        t->piix->cfg.isa[i] = harness_irq(t->h, i);
    for (int i = 0; i < 4; i++)
        t->piix->cfg.ioapic[i] = harness_irq(t->h, 16 + i);
    harness_start(t->h, &t->piix->dev);
    t->host->bus.map_pin = piix3_map_pin;
    t->host->bus.set_pirq = piix3_set_pirq;
    t->host->bus.pirq_opaque = t->piix;
    t->host->bus.msi_write = got_msi;
    t->host->bus.msi_opaque = t;
    t->a = add_card(t, 3);
    t->b = add_card(t, 7);
}

static uint32_t cfg_read(struct board *t, unsigned devfn, unsigned reg)
{
    outl(t->h, 0xcf8, 0x80000000u | devfn << 8 | (reg & 0xfc));
    return inl(t->h, 0xcfc);
}

static void cfg_write(struct board *t, unsigned devfn, unsigned reg, uint32_t v)
{
    outl(t->h, 0xcf8, 0x80000000u | devfn << 8 | (reg & 0xfc));
    outl(t->h, 0xcfc, v);
}

#define CARD PCI_DEVFN(3, 0)

START_TEST(identity_and_absent)
{
    struct board t;
    setup(&t);
    ck_assert_uint_eq(cfg_read(&t, 0, 0), 0x12378086);
    ck_assert_uint_eq(cfg_read(&t, 0, 8), 0x06000002);
    ck_assert_uint_eq(cfg_read(&t, 0, 0x2c), 0x11001af4);
    ck_assert_uint_eq(cfg_read(&t, PCI_DEVFN(1, 0), 0), 0x70008086);
    ck_assert_uint_eq(cfg_read(&t, PCI_DEVFN(9, 0), 0), 0xffffffff);
    outl(t.h, 0xcf8, 0x80010000u); /* another bus */
    ck_assert_uint_eq(inl(t.h, 0xcfc), 0xffffffff);
    outl(t.h, 0xcf8, 0x00000000u); /* not enabled */
    ck_assert_uint_eq(inl(t.h, 0xcfc), 0xffffffff);
    /* Bytes and words inside the data register. */
    outl(t.h, 0xcf8, 0x80000000u | CARD << 8);
    ck_assert_uint_eq(inw(t.h, 0xcfe), 0x5678);
    ck_assert_uint_eq(inb(t.h, 0xcfd), 0x12);
    cfg_write(&t, CARD, 0, 0); /* read-only */
    ck_assert_uint_eq(cfg_read(&t, CARD, 0), 0x56781234);
    harness_free(t.h);
}
END_TEST

START_TEST(bars_size_and_map)
{
    struct board t;
    setup(&t);
    cfg_write(&t, CARD, 4, PCI_CMD_IO | PCI_CMD_MEMORY);
    cfg_write(&t, CARD, 0x10, 0xffffffff);
    ck_assert_uint_eq(cfg_read(&t, CARD, 0x10), 0xffffffe1);
    cfg_write(&t, CARD, 0x14, 0xffffffff);
    ck_assert_uint_eq(cfg_read(&t, CARD, 0x14), 0xffffe000);
    ck_assert(pci_bar_addr(&t.a->pci, 1) == UINT64_MAX); /* being sized: not mapped */
    cfg_write(&t, CARD, 0x18, 0xffffffff);
    cfg_write(&t, CARD, 0x1c, 0xffffffff);
    ck_assert_uint_eq(cfg_read(&t, CARD, 0x18), 0xfff0000c);
    ck_assert_uint_eq(cfg_read(&t, CARD, 0x1c), 0xffffffff);

    cfg_write(&t, CARD, 0x10, 0xc000);
    ck_assert_uint_eq(inb(t.h, 0xc003), 0xa3);
    outb(t.h, 0xc01f, 1);
    ck_assert_uint_eq(t.a->last_offset, 0x1f);
    ck_assert_uint_eq(inb(t.h, 0xc020), 0xff);
    cfg_write(&t, CARD, 0x10, 0xd000);
    ck_assert_uint_eq(inb(t.h, 0xc003), 0xff);
    ck_assert_uint_eq(inb(t.h, 0xd003), 0xa3);

    cfg_write(&t, CARD, 0x14, 0xfebf0000);
    ck_assert_uint_eq(physmap_read(t.h->board.mem, 0xfebf0010, 1), 0xb0);
    cfg_write(&t, CARD, 0x18, 0);
    cfg_write(&t, CARD, 0x1c, 2); /* 8 GiB */
    ck_assert_uint_eq(physmap_read(t.h->board.mem, 0x200000004ull, 1), 0xa4);
    cfg_write(&t, CARD, 4, PCI_CMD_IO);
    ck_assert_uint_eq(physmap_read(t.h->board.mem, 0xfebf0010, 1), 0xff);
    ck_assert_uint_eq(inb(t.h, 0xd003), 0xa3);
    harness_reset(t.h, RESET_HARD);
    ck_assert_uint_eq(inb(t.h, 0xd003), 0xff);
    ck_assert_uint_eq(cfg_read(&t, CARD, 0x10), 1);
    harness_free(t.h);
}
END_TEST

START_TEST(interrupts_share_and_route)
{
    struct board t;
    setup(&t);
    /* Slots 3 and 7, pin A: both on PIRQC. */
    cfg_write(&t, PCI_DEVFN(1, 0), 0x60, 0x0b0b0a0a);
    pci_set_irq(&t.a->pci, 1);
    ck_assert_int_eq(t.h->irq[11].level, 1);
    ck_assert_int_eq(t.h->irq[18].level, 1);
    ck_assert_uint_eq(cfg_read(&t, CARD, 4) >> 16 & PCI_STATUS_INTX, PCI_STATUS_INTX);
    pci_set_irq(&t.b->pci, 1);
    pci_set_irq(&t.a->pci, 0);
    pci_set_irq(&t.a->pci, 0);
    ck_assert_int_eq(t.h->irq[11].level, 1);
    /* Rerouting a standing interrupt moves it. */
    cfg_write(&t, PCI_DEVFN(1, 0), 0x60, 0x0b050a0a);
    ck_assert_int_eq(t.h->irq[11].level, 0);
    ck_assert_int_eq(t.h->irq[5].level, 1);
    /* Taking the pin away silences it. */
    cfg_write(&t, PCI_DEVFN(7, 0), 4, PCI_CMD_INTX_DISABLE);
    ck_assert_int_eq(t.h->irq[5].level, 0);
    cfg_write(&t, PCI_DEVFN(7, 0), 4, 0);
    ck_assert_int_eq(t.h->irq[5].level, 1);
    harness_reset(t.h, RESET_HARD);
    ck_assert_int_eq(t.h->irq[5].level, 0);
    ck_assert_int_eq(t.h->irq[18].level, 0);
    harness_free(t.h);
}
END_TEST

START_TEST(msi_and_msix)
{
    struct board t;
    setup(&t);
    unsigned msi = cfg_read(&t, CARD, 0x34) & 0xff;
    ck_assert_uint_eq(cfg_read(&t, CARD, msi) & 0xff, PCI_CAP_ID_MSI);
    unsigned msix = cfg_read(&t, CARD, msi) >> 8 & 0xff;
    ck_assert_uint_eq(cfg_read(&t, CARD, msix) & 0xff, PCI_CAP_ID_MSIX);
    ck_assert_uint_eq(cfg_read(&t, CARD, msix) >> 16, 2);

    ck_assert(!pci_msi_notify(&t.a->pci));
    cfg_write(&t, CARD, 4, PCI_CMD_MASTER | PCI_CMD_MEMORY);
    cfg_write(&t, CARD, msi + 4, 0xfee01000);
    cfg_write(&t, CARD, msi + 12, 0x41);
    cfg_write(&t, CARD, msi, 0x10000);
    ck_assert(pci_msi_notify(&t.a->pci));
    ck_assert_uint_eq(t.msis, 1);
    ck_assert_uint_eq(t.msi_addr, 0xfee01000);
    ck_assert_uint_eq(t.msi_data, 0x41);
    cfg_write(&t, CARD, msi, 0);

    struct physmap *m = t.h->board.mem;
    cfg_write(&t, CARD, 0x20, 0xfebe0000);
    cfg_write(&t, CARD, msix, 0x80000000);
    ck_assert(pci_msix_enabled(&t.a->pci));
    physmap_write(m, 0xfebe0010, 0xfee00000, 4);
    physmap_write(m, 0xfebe0018, 0x52, 4);
    pci_msix_notify(&t.a->pci, 1); /* masked after reset: held back */
    pci_msix_notify(&t.a->pci, 9); /* no such vector */
    ck_assert_uint_eq(t.msis, 1);
    ck_assert_uint_eq(physmap_read(m, 0xfebe0800, 4), 2);
    physmap_write(m, 0xfebe001c, 0, 4);
    ck_assert_uint_eq(t.msis, 2);
    ck_assert_uint_eq(t.msi_data, 0x52);
    ck_assert_uint_eq(physmap_read(m, 0xfebe0800, 4), 0);
    harness_free(t.h);
}
END_TEST

START_TEST(pam_shadows_the_bios)
{
    struct board t;
    setup(&t);
    struct physmap *m = t.h->board.mem;
    ck_assert_uint_eq(physmap_read(m, 0xf0000, 1), 0x5a);
    ck_assert_uint_eq(physmap_read(m, 0xe0000, 1), 0x5a);
    ck_assert_uint_eq(physmap_read(m, 0xc0000, 1), 0xff);
    /* Read ROM, write RAM: the copy loop of a BIOS. */
    cfg_write(&t, 0, 0x58, 0x00002000);
    physmap_write(m, 0xf0000, 0x77, 1);
    ck_assert_uint_eq(physmap_read(m, 0xf0000, 1), 0x5a);
    cfg_write(&t, 0, 0x58, 0x00001000);
    ck_assert_uint_eq(physmap_read(m, 0xf0000, 1), 0x77);
    physmap_write(m, 0xf0000, 0x78, 1);
    ck_assert_uint_eq(physmap_read(m, 0xf0000, 1), 0x77);
    /* Register 5Ah: C0000h in the low half, C4000h in the high half. */
    cfg_write(&t, 0, 0x58, 0x00303000);
    physmap_write(m, 0xc4000, 0x11, 1);
    physmap_write(m, 0xc0000, 0x22, 1);
    ck_assert_uint_eq(physmap_read(m, 0xc4000, 1), 0x11);
    ck_assert_uint_eq(physmap_read(m, 0xc0000, 1), 0xff);
    /* Register 5Fh: EC000h in the high half. */
    cfg_write(&t, 0, 0x5c, 0x30000000);
    physmap_write(m, 0xec000, 0x33, 1);
    ck_assert_uint_eq(physmap_read(m, 0xec000, 1), 0x33);
    ck_assert_uint_eq(physmap_read(m, 0xe8000, 1), 0x5a);
    harness_reset(t.h, RESET_HARD);
    ck_assert_uint_eq(physmap_read(m, 0xf0000, 1), 0x5a);
    ck_assert_uint_eq(physmap_read(m, 0xec000, 1), 0x5a);
    harness_free(t.h);
}
END_TEST

START_TEST(smram_locks)
{
    struct board t;
    setup(&t);
    cfg_write(&t, 0, 0x70, 0x00480000);
    ck_assert(t.host->smram.enabled);
    cfg_write(&t, 0, 0x70, 0x00580000); /* D_LCK closes it */
    ck_assert(!t.host->smram.enabled);
    cfg_write(&t, 0, 0x70, 0x00480000);
    ck_assert_uint_eq(cfg_read(&t, 0, 0x70) >> 16 & 0xff, 0x1a);
    harness_reset(t.h, RESET_HARD);
    ck_assert_uint_eq(cfg_read(&t, 0, 0x70) >> 16 & 0xff, 0x02);
    harness_free(t.h);
}
END_TEST

START_TEST(reset_port)
{
    struct board t;
    setup(&t);
    outl(t.h, 0xcf8, 0x80000600); /* bits of CF9h inside the address register do nothing */
    ck_assert_uint_eq(t.h->resets, 0);
    outb(t.h, 0xcf9, 2);
    ck_assert_uint_eq(t.h->resets, 0);
    outb(t.h, 0xcf9, 6);
    ck_assert_uint_eq(t.h->resets, 1);
    ck_assert_uint_eq(inl(t.h, 0xcf8), 0x80000600);
    harness_free(t.h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        identity_and_absent, bars_size_and_map, interrupts_share_and_route, msi_and_msix,
        pam_shadows_the_bios, smram_locks, reset_port,
    };
    return harness_main("pci", tests, ARRAY_LEN(tests));
}
