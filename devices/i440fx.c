/* The 82441FX host bridge. See i440fx.h.
 *
 * Each of the thirteen PAM segments (data sheet 3.2.18) is a region at priority 3 that hides main
 * RAM except when both reads and writes of the segment go to RAM; then the region is off and the
 * RAM under it shows. What is not RAM is the system ROM at E0000h to FFFFFh and empty bus below.
 *
 * Known inaccuracies: DRAM timing and row boundary registers are storage; SMRAM works by D_OPEN
 * only, as there is no system management mode; no MDA or memory hole (FDHC); PAM cache-enable bits
 * mean nothing.
 */
#include "devices/i440fx.h"

enum {
    REG_PMCCFG = 0x50,
    REG_DETURBO = 0x52,
    REG_DBC = 0x53,
    REG_AXC = 0x54,
    REG_DRT = 0x55,
    REG_DRAMC = 0x57,
    REG_DRAMT = 0x58,
    REG_PAM0 = 0x59,
    REG_DRB0 = 0x60,
    REG_FDHC = 0x68,
    REG_MTT = 0x70,
    REG_CLT = 0x71,
    REG_SMRAM = 0x72,
    REG_ERRCMD = 0x90,
    REG_ERRSTS = 0x91,
    REG_TRC = 0x93,
};
enum { SMRAM_D_LCK = 0x10, SMRAM_D_CLS = 0x20, SMRAM_D_OPEN = 0x40, SMRAM_G_EN = 0x08 };
enum { PAM_READ = 1, PAM_WRITE = 2 };

#define PAM_BIOS_BASE 0xf0000u
#define PAM_BASE 0xc0000u
#define PAM_SIZE 0x4000u
#define BIOS_WINDOW 0xe0000u
#define SMRAM_BASE 0xa0000u
#define SMRAM_SIZE 0x20000u

/* Segment 0 is F0000h (64 KiB, high half of register 59h); 1 to 12 are 16 KiB each from C0000h, two
 * to a register, the lower address in the low half. */
static unsigned pam_attributes(const struct i440fx *h, unsigned seg)
{
    if (seg == 0)
        return h->pci.config[REG_PAM0] >> 4 & 3;
    return h->pci.config[REG_PAM0 + (seg + 1) / 2] >> (seg & 1 ? 0 : 4) & 3;
}

/* Where in the store the ROM for a low address is, or RA_NONE. */
static uint64_t rom_ra(const struct i440fx *h, uint64_t addr)
{
    uint64_t from_top = 0x100000 - addr;
    if (addr < BIOS_WINDOW || from_top > h->cfg.bios_size)
        return RA_NONE;
    return h->cfg.bios_ra + h->cfg.bios_size - from_top;
}

static void pam_update(struct i440fx *h)
{
    physmap_begin(h->dev.board->mem);
    for (unsigned i = 0; i < I440FX_PAM_SEGMENTS; i++) {
        struct phys_region *r = &h->pam[i];
        unsigned attr = pam_attributes(h, i);
        uint64_t ram = h->cfg.ram_ra + r->base;
        r->enabled = attr != (PAM_READ | PAM_WRITE);
        r->read_ra = attr & PAM_READ ? ram : rom_ra(h, r->base);
        r->write_ra = attr & PAM_WRITE ? ram : RA_NONE;
    }
    uint8_t smram = h->pci.config[REG_SMRAM];
    h->smram.enabled = (smram & SMRAM_G_EN) && (smram & SMRAM_D_OPEN) && !(smram & SMRAM_D_CLS);
    physmap_commit(h->dev.board->mem);
}

static void i440fx_config_written(void *opaque, unsigned offset, unsigned len)
{
    struct i440fx *h = opaque;
    if (offset <= REG_SMRAM && offset + len > REG_SMRAM) {
        uint8_t *smram = &h->pci.config[REG_SMRAM];
        /* Once locked, D_OPEN is 0 and D_LCK, D_OPEN and G_SMRAME cannot be written; only reset
         * unlocks (3.2.21). */
        if (*smram & SMRAM_D_LCK) {
            *smram &= (uint8_t)~SMRAM_D_OPEN;
            h->pci.wmask[REG_SMRAM] = SMRAM_D_CLS;
        }
        pam_update(h);
    } else if (offset < REG_PAM0 + 7 && offset + len > REG_PAM0) {
        pam_update(h);
    }
}

static bool i440fx_init(struct device *dev, struct error *err)
{
    struct i440fx *h = (struct i440fx *)dev;
    if (h->cfg.bios_size < 0x10000 || h->cfg.bios_size % 0x10000)
        return error_set(err, ERR_INVALID,
                         "system firmware has %llu bytes: it must be a multiple of 64 KiB",
                         (unsigned long long)h->cfg.bios_size);
    pci_bus_init(&h->bus, dev->board);
    if (!pci_register(&h->bus, &h->pci, dev, PCI_DEVFN(0, 0),
                      &(struct pci_ident){.vendor = 0x8086,
                                          .device = 0x1237,
                                          .class_code = 0x060000,
                                          .revision = 2},
                      err))
        return false;
    pci_set_initial(&h->pci, PCI_STATUS, 0x0280, 2);
    pci_set_initial(&h->pci, REG_SMRAM, 0x02, 1);
    /* The BIOS turns memory decode on in the command register; it is fixed here. */
    pci_set_initial(&h->pci, PCI_COMMAND, PCI_CMD_MEMORY | PCI_CMD_MASTER, 2);
    pci_set_wmask(&h->pci, PCI_COMMAND, PCI_CMD_SERR, 2);
    static const struct {
        uint8_t reg, len;
    } storage[] = {
        {REG_PMCCFG, 2}, {REG_DETURBO, 7}, {REG_DRB0, 8}, {REG_MTT, 2}, {REG_ERRCMD, 1},
        {REG_TRC, 1},
    };
    for (unsigned i = 0; i < ARRAY_LEN(storage); i++)
        memset(&h->pci.wmask[storage[i].reg], 0xff, storage[i].len);
    memset(&h->pci.wmask[REG_PAM0], 0x77, 7);
    h->pci.wmask[REG_PAM0] = 0x70;

    h->pci.opaque = h;
    h->pci.config_written = i440fx_config_written;
    for (unsigned i = 0; i < I440FX_PAM_SEGMENTS; i++) {
        struct phys_region *r = &h->pam[i];
        r->name = "pam";
        r->base = i == 0 ? PAM_BIOS_BASE : PAM_BASE + (i - 1) * PAM_SIZE;
        r->size = i == 0 ? 0x10000 : PAM_SIZE;
        r->priority = 3;
        r->read_ra = r->write_ra = RA_NONE;
        physmap_add(dev->board->mem, r);
    }
    h->smram.name = "smram";
    h->smram.base = SMRAM_BASE;
    h->smram.size = SMRAM_SIZE;
    h->smram.priority = 4; /* over the VGA window */
    h->smram.read_ra = h->smram.write_ra = h->cfg.ram_ra + SMRAM_BASE;
    physmap_add(dev->board->mem, &h->smram);
    return true;
}

static void i440fx_reset(struct device *dev, enum reset_kind kind)
{
    struct i440fx *h = (struct i440fx *)dev;
    if (kind == RESET_INIT)
        return;
    pci_bus_reset(&h->bus);
    pci_reset(&h->pci);
    h->pci.wmask[REG_SMRAM] = SMRAM_D_LCK | SMRAM_D_CLS | SMRAM_D_OPEN | SMRAM_G_EN;
    pam_update(h);
}

static void i440fx_fini(struct device *dev)
{
    struct i440fx *h = (struct i440fx *)dev;
    if (h->smram.name) {
        for (unsigned i = 0; i < I440FX_PAM_SEGMENTS; i++)
            physmap_remove(dev->board->mem, &h->pam[i]);
        physmap_remove(dev->board->mem, &h->smram);
    }
    pci_unregister(&h->pci);
    pci_bus_fini(&h->bus);
}

static bool i440fx_loaded(void *obj)
{
    struct i440fx *h = obj;
    h->pci.wmask[REG_SMRAM] = h->pci.config[REG_SMRAM] & SMRAM_D_LCK
                                  ? SMRAM_D_CLS
                                  : SMRAM_D_LCK | SMRAM_D_CLS | SMRAM_D_OPEN | SMRAM_G_EN;
    pam_update(h);
    return true;
}

static const struct vm_field i440fx_fields[] = {
    VM_DEVICE(struct i440fx),
    VM_STRUCT(struct i440fx, pci, &vm_pci_device),
    VM_STRUCT(struct i440fx, bus, &vm_pci_bus),
    VM_SKIP(struct i440fx, cfg, "configuration"),
    VM_SKIP(struct i440fx, pam, "follows from pci.config"),
    VM_SKIP(struct i440fx, smram, "follows from pci.config"),
    VM_END,
};
static const struct vmstate vm_i440fx =
    VMSTATE_HOOKS("i440fx", struct i440fx, i440fx_fields, NULL, i440fx_loaded);

const struct device_class i440fx_class = {
    .name = "i440fx",
    .size = sizeof(struct i440fx),
    .vmstate = &vm_i440fx,
    .init = i440fx_init,
    .reset = i440fx_reset,
    .fini = i440fx_fini,
};
