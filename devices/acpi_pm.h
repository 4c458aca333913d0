/* The power management function of the 82371AB, PIIX4 (8086:7113): ACPI fixed registers, general
 * purpose events, the APM ports, soft-off, and an SMBus host without devices. Device 1, function 3.
 */
#ifndef DEVICES_ACPI_PM_H
#define DEVICES_ACPI_PM_H

#include "devices/pci.h"

#define ACPI_PM_TIMER_HZ 3579545
#define ACPI_SCI_IRQ 9
#define ACPI_GPE0_BASE 0xafe0
#define ACPI_APM_CMD 0xb2
#define ACPI_APM_ENABLE 0xf1
#define ACPI_APM_DISABLE 0xf0
/* Where SeaBIOS puts PMBASE: the ACPI tables say so too. */
#define ACPI_PM_BASE 0x600

struct acpi_pm_cfg {
    struct pci_bus *bus;
    unsigned devfn;      /* PCI_DEVFN(1, 3) */
    struct irq_line sci; /* IRQ 9, level, active high */
};

struct acpi_pm {
    struct device dev;
    struct pci_device pci;
    uint16_t pm1_sts, pm1_en, pm1_cnt;
    uint16_t gpe0_sts, gpe0_en;
    uint32_t glbctl;
    uint8_t apm_cmd, apm_sts;
    uint8_t smb_sts, smb_cnt, smb_cmd, smb_addr, smb_data0, smb_data1, smb_slvcnt;
    struct event timer; /* next change of the PM timer's bit 23 while it may interrupt */
    uint16_t pm_mapped, smb_mapped; /* where the ports are now; 0: nowhere */
    struct acpi_pm_cfg cfg;
};
extern const struct device_class acpi_pm_class;

/* The user pressed the button: the guest is told through PM1. */
void acpi_pm_power_button(struct acpi_pm *pm);
/* General purpose event n, 0 to 15, has happened. */
void acpi_pm_gpe(struct acpi_pm *pm, unsigned n);

#endif
