/* PCI: one bus, its configuration mechanism #1 (ports CF8h and CFCh), and what every function on it
 * needs: 256 bytes of configuration space with write masks, base address registers that come and go
 * in the port and memory spaces, the interrupt pin, MSI and MSI-X. PCI Local Bus Specification 3.0.
 *
 * A PCI device's struct has `struct pci_device pci` next to its `struct device dev`, and its
 * vmstate table has VM_STRUCT(struct x, pci, &vm_pci_device). Its init does
 *
 *     if (!pci_register(x->cfg.bus, &x->pci, &x->dev, x->cfg.devfn, &(struct pci_ident){
 *             .vendor = 0x8086, .device = 0x7010, .class_code = 0x010180, .int_pin = 1 }, err))
 *         return false;
 *     pci_add_bar_io(&x->pci, 4, 16, &x_bmdma_ops, x);
 *
 * its reset calls pci_reset (then writes registers of its own), its fini pci_unregister.
 *
 * Invariants: config[] always holds what the guest would read, little-endian; a BAR is mapped
 * exactly when the command register enables its space and it holds a usable address; a function
 * drives its INTx pin at most once (intx is 0 or 1) and the bus counts functions for each PIRQ.
 *
 * Known inaccuracies: no bridges, one bus; no parity, SERR# or master-abort status; latency timers
 * and BIST are storage only; special cycles are ignored.
 */
#ifndef DEVICES_PCI_H
#define DEVICES_PCI_H

#include "devices/bus.h"
#include "mmu/physmap.h"

#define PCI_DEVFN(slot, fn) ((unsigned)(slot) << 3 | (unsigned)(fn))
#define PCI_BARS 7 /* six, and the expansion ROM as number 6 */
#define PCI_BAR_ROM 6
#define PCI_PIRQS 4
#define PCI_MSIX_MAX 64

/* Offsets of the type 0 header. */
enum {
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_CLASS_PROG = 0x09,
    PCI_CACHE_LINE = 0x0c,
    PCI_LATENCY = 0x0d,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_SUBSYS_VENDOR = 0x2c,
    PCI_SUBSYS_ID = 0x2e,
    PCI_ROM_BAR = 0x30,
    PCI_CAP_PTR = 0x34,
    PCI_INT_LINE = 0x3c,
    PCI_INT_PIN = 0x3d,
};

enum {
    PCI_CMD_IO = 0x001,
    PCI_CMD_MEMORY = 0x002,
    PCI_CMD_MASTER = 0x004,
    PCI_CMD_SERR = 0x100,
    PCI_CMD_INTX_DISABLE = 0x400,
    PCI_STATUS_INTX = 0x008,
    PCI_STATUS_CAP_LIST = 0x010,
    PCI_CAP_ID_MSI = 0x05,
    PCI_CAP_ID_VENDOR = 0x09,
    PCI_CAP_ID_MSIX = 0x11,
};

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

struct pci_device;
struct pci_bus;

struct pci_bar {
    uint8_t kind; /* enum pci_bar_kind */
    bool prefetch;
    bool mapped;
    uint64_t size, addr; /* addr: where it is mapped now */
    const struct io_ops *ops;
    void *opaque;
    struct phys_region region;
};

/* Who a function is. A subsystem vendor of 0 becomes 1af4:1100, as emulated PCs have it. */
struct pci_ident {
    uint16_t vendor, device;
    uint16_t subsys_vendor, subsys_id;
    uint32_t class_code; /* 24 bits: class, subclass, programming interface */
    uint8_t revision;
    uint8_t int_pin; /* 0 none, 1 INTA# to 4 INTD# */
    bool multifunction;
};

struct pci_device {
    uint8_t config[256];
    uint8_t intx; /* the level the function drives on its pin, before INTx disable */

    struct pci_bus *bus;
    struct device *owner;
    uint8_t devfn;
    uint8_t wmask[256];  /* bits a guest may change */
    uint8_t w1cmask[256]; /* bits a guest clears by writing 1 */
    uint8_t initial[256]; /* config[] after reset */
    uint8_t msi_cap, msix_cap, cap_end;
    struct pci_msix *msix;
    struct pci_bar bar[PCI_BARS];
    /* Optional, set after pci_register. written: after config[] took a guest's write of len bytes
     * at offset. read: before a guest's read, so that config[] can be brought up to date. */
    void (*config_written)(void *opaque, unsigned offset, unsigned len);
    void (*config_read)(void *opaque, unsigned offset, unsigned len);
    void *opaque;
};
extern const struct vmstate vm_pci_device;

/* The bus. A host bridge owns it and sets the callbacks; devices are given its address. */
struct pci_bus {
    uint32_t address; /* CF8h */
    uint8_t pirq_count[PCI_PIRQS];
    struct board_if *board;
    struct pci_device *fn[256];
    /* Wiring of a slot's pins (0 to 3 for INTA# to INTD#) to the bus's four interrupt lines, and
     * who hears when one of those lines changes. */
    unsigned (*map_pin)(unsigned slot, unsigned pin);
    void (*set_pirq)(void *opaque, unsigned pirq, int level);
    void *pirq_opaque;
    /* A message-signalled interrupt: a memory write of data to addr that never reaches memory. */
    void (*msi_write)(void *opaque, uint64_t addr, uint32_t data);
    void *msi_opaque;
    /* Port CF9h lies inside the address register but is another device's for byte accesses. */
    const struct io_ops *cf9;
    void *cf9_opaque;
};
extern const struct vmstate vm_pci_bus;

void pci_bus_init(struct pci_bus *bus, struct board_if *board); /* takes CF8h to CFFh */
void pci_bus_fini(struct pci_bus *bus);
void pci_bus_reset(struct pci_bus *bus);

/* Puts a function on the bus; false with *err filled when devfn is taken. */
bool pci_register(struct pci_bus *bus, struct pci_device *d, struct device *owner, unsigned devfn,
                  const struct pci_ident *id, struct error *err);
void pci_unregister(struct pci_device *d); /* unmaps; harmless if never registered */
/* Registers back to their values after RST#: BARs unmapped, pin released, MSI off. Values written
 * to d->initial before belong to it. */
void pci_reset(struct pci_device *d);

/* Base address registers; sizes are powers of two (memory: at least 4 KiB for direct ones). A
 * MEM64 one takes two registers. offset in ops is from the BAR's start. */
void pci_add_bar_io(struct pci_device *d, unsigned n, uint32_t size, const struct io_ops *ops,
                    void *opaque);
void pci_add_bar_mem(struct pci_device *d, unsigned n, enum pci_bar_kind kind, bool prefetch,
                     uint64_t size, const struct io_ops *ops, void *opaque);
/* Store memory seen directly (video RAM); writable false makes it read-only. */
void pci_add_bar_ram(struct pci_device *d, unsigned n, enum pci_bar_kind kind, bool prefetch,
                     uint64_t size, uint64_t ra, bool writable);
void pci_add_rom(struct pci_device *d, uint64_t size, uint64_t ra);
/* The address BAR n is mapped at, or UINT64_MAX. */
uint64_t pci_bar_addr(const struct pci_device *d, unsigned n);

/* Appends a capability of len bytes (ID and next pointer included); returns its offset. */
unsigned pci_add_capability(struct pci_device *d, uint8_t id, unsigned len);
/* Makes the bits of mask at offset writable (size 1, 2 or 4). */
void pci_set_wmask(struct pci_device *d, unsigned offset, uint32_t mask, unsigned size);
/* Sets a register now and after reset. */
void pci_set_initial(struct pci_device *d, unsigned offset, uint32_t value, unsigned size);

/* Drives the function's INTx pin. */
void pci_set_irq(struct pci_device *d, int level);
bool pci_bus_master(const struct pci_device *d);

/* MSI: one vector, 64-bit address, no masking. notify returns false when the guest has MSI off:
 * then use the pin. */
void pci_add_msi(struct pci_device *d);
bool pci_msi_enabled(const struct pci_device *d);
bool pci_msi_notify(struct pci_device *d);

/* MSI-X: table at offset 0 of a BAR of its own, pending bits at 800h. The owner embeds the struct
 * and declares it with VM_STRUCT(struct x, msix, &vm_pci_msix). */
struct pci_msix {
    uint8_t table[PCI_MSIX_MAX * 16];
    uint64_t pending;
    struct pci_device *d;
    uint32_t vectors;
};
extern const struct vmstate vm_pci_msix;
void pci_add_msix(struct pci_device *d, struct pci_msix *x, unsigned bar, unsigned vectors);
bool pci_msix_enabled(const struct pci_device *d);
/* Sends vector v, or notes it pending while masked. Out-of-range vectors are dropped. */
void pci_msix_notify(struct pci_device *d, unsigned v);

/* Configuration accesses as the ports make them; size 1, 2 or 4 within one dword. */
uint32_t pci_config_read(struct pci_bus *bus, unsigned devfn, unsigned offset, unsigned size);
void pci_config_write(struct pci_bus *bus, unsigned devfn, unsigned offset, uint32_t value,
                      unsigned size);

#endif
