/* The PIIX4's power management function. See acpi_pm.h. Data sheet: Intel 82371AB, order number
 * 290562, chapters 7 (function 3) and 11; ACPI specification 4.8.
 *
 * Invariants: the SCI is asserted exactly when SCI_EN is set and an enabled PM1 or GPE0 status bit
 * is; the timer event is scheduled exactly when the timer's interrupt is enabled and not yet
 * pending.
 *
 * Known inaccuracies: sleep states other than S5 are ignored; the general purpose block stands at
 * AFE0h, where emulated boards have it, not in the PM block; no SMI, hence DEVACTB starts as if
 * firmware had set SMM up; device monitors, throttling and GPO are storage or absent; the SMBus
 * has no devices, every transaction ends with "device error".
 */
#include "devices/acpi_pm.h"

enum {
    REG_PMBASE = 0x40,
    REG_DEVACTB = 0x58,
    REG_PMREGMISC = 0x80,
    REG_SMBBASE = 0x90,
    REG_SMBHSTCFG = 0xd2,
    REG_SMBREV = 0xd6,
};

/* PM block. */
enum {
    PM1_STS = 0x00,
    PM1_EN = 0x02,
    PM1_CNT = 0x04,
    PM_TMR = 0x08,
    PM_GLBCTL = 0x28,
    PM_SIZE = 0x40,
};
enum {
    PM1_TMR = 0x0001,
    PM1_GBL = 0x0020,
    PM1_PWRBTN = 0x0100,
    PM1_RTC = 0x0400,
    PM1_WAK = 0x8000,
    PM1_EVENTS = PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_RTC,
    CNT_SCI_EN = 0x0001,
    CNT_BM_RLD = 0x0002,
    CNT_GBL_RLS = 0x0004,
    CNT_SLP_TYP = 0x1c00,
    CNT_SLP_EN = 0x2000,
};
#define SLP_TYP_S5 0 /* what the DSDT's _S5 says */
#define TIMER_MASK 0xffffffu
#define TIMER_TOP 0x800000u

/* SMBus host block. */
enum {
    SMB_STS = 0,
    SMB_CNT = 2,
    SMB_CMD = 3,
    SMB_ADDR = 4,
    SMB_DATA0 = 5,
    SMB_DATA1 = 6,
    SMB_SLVCNT = 8,
    SMB_SIZE = 16,
    SMB_STS_DEV_ERR = 0x04,
    SMB_CNT_START = 0x40,
    SMB_CNT_KILL = 0x02,
};

/* ---- SCI and the timer ----------------------------------------------------------------------- */

static uint64_t timer_ticks(const struct acpi_pm *pm)
{
    return ns_to_ticks(clock_now(pm->dev.board->clock), ACPI_PM_TIMER_HZ);
}

static void update(struct acpi_pm *pm)
{
    bool event = (pm->pm1_sts & pm->pm1_en & PM1_EVENTS) || (pm->gpe0_sts & pm->gpe0_en);
    irq_set(&pm->cfg.sci, event && (pm->pm1_cnt & CNT_SCI_EN));

    if (!(pm->pm1_en & PM1_TMR) || (pm->pm1_sts & PM1_TMR)) {
        event_cancel(&pm->timer);
    } else if (!event_pending(&pm->timer)) {
        /* TMR_STS is set whenever the top bit changes (4.8.3.3). */
        uint64_t next = (timer_ticks(pm) & ~(uint64_t)(TIMER_TOP - 1)) + TIMER_TOP;
        event_at(&pm->timer, ticks_to_ns(next, ACPI_PM_TIMER_HZ));
    }
}

static void timer_changed(void *opaque)
{
    struct acpi_pm *pm = opaque;
    pm->pm1_sts |= PM1_TMR;
    update(pm);
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
    LOG(pm->dev.board->log, LOG_POWER, "power button");
    pm->pm1_sts |= PM1_PWRBTN;
    update(pm);
}

void acpi_pm_gpe(struct acpi_pm *pm, unsigned n)
{
    pm->gpe0_sts |= (uint16_t)(1u << n);
    update(pm);
}

/* ---- PM1 block ------------------------------------------------------------------------------- */

static void control_write(struct acpi_pm *pm, uint16_t v)
{
    struct board_if *board = pm->dev.board;
    pm->pm1_cnt = v & (CNT_SCI_EN | CNT_BM_RLD | CNT_SLP_TYP);
    if (v & CNT_SLP_EN) {
        unsigned type = (v & CNT_SLP_TYP) >> 10;
        LOG(board->log, LOG_POWER, "sleep type %u", type);
        if (type == SLP_TYP_S5)
            board->request_poweroff(board->opaque);
    }
    update(pm);
}

static uint16_t pm_read16(struct acpi_pm *pm, unsigned offset)
{
    switch (offset) {
    case PM1_STS:
        return pm->pm1_sts;
    case PM1_EN:
        return pm->pm1_en;
    case PM1_CNT:
        return pm->pm1_cnt;
    case PM_TMR:
        return (uint16_t)timer_ticks(pm);
    case PM_TMR + 2:
        return (uint16_t)((timer_ticks(pm) & TIMER_MASK) >> 16);
    case PM_GLBCTL:
        return (uint16_t)pm->glbctl;
    case PM_GLBCTL + 2:
        return (uint16_t)(pm->glbctl >> 16);
    default:
        return 0;
    }
}

static void pm_write16(struct acpi_pm *pm, unsigned offset, uint16_t v)
{
    switch (offset) {
    case PM1_STS:
        pm->pm1_sts &= (uint16_t)~(v & (PM1_EVENTS | PM1_WAK));
        update(pm);
        break;
    case PM1_EN:
        pm->pm1_en = v & PM1_EVENTS;
        update(pm);
        break;
    case PM1_CNT:
        control_write(pm, v);
        break;
    case PM_GLBCTL:
        pm->glbctl = (uint32_t)bits_set(pm->glbctl, 0, 16, v);
        break;
    case PM_GLBCTL + 2:
        pm->glbctl = (uint32_t)bits_set(pm->glbctl, 16, 16, v);
        break;
    default:
        break;
    }
}

/* The timer is read whole, so that its halves belong together. */
static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
    struct acpi_pm *pm = opaque;
    if (offset == PM_TMR && size == 4)
        return timer_ticks(pm) & TIMER_MASK;
    unsigned at = (unsigned)offset & ~1u;
    uint32_t v = pm_read16(pm, at);
    if (size == 4)
        v |= (uint32_t)pm_read16(pm, at + 2) << 16;
    return size == 1 ? v >> (8 * (offset & 1)) & 0xff : v;
}

static void pm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct acpi_pm *pm = opaque;
    unsigned at = (unsigned)offset & ~1u;
    if (size == 1) {
        unsigned low = 8 * (offset & 1);
        /* Of a status register only the byte's own bits may be cleared. */
        uint16_t other = at == PM1_STS ? 0 : pm_read16(pm, at);
        value = bits_set(other, low, 8, value);
    }
    pm_write16(pm, at, (uint16_t)value);
    if (size == 4)
        pm_write16(pm, at + 2, (uint16_t)(value >> 16));
}

static const struct io_ops pm_ops = {
    .name = "acpi-pm", .read = pm_read, .write = pm_write, .min_access = 1, .max_access = 4};

/* ---- general purpose events: two bytes of status, two of enables ----------------------------- */

static uint64_t gpe_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct acpi_pm *pm = opaque;
    uint16_t v = offset < 2 ? pm->gpe0_sts : pm->gpe0_en;
    return v >> (8 * (offset & 1)) & 0xff;
}

static void gpe_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct acpi_pm *pm = opaque;
    unsigned low = 8 * (offset & 1);
    if (offset < 2)
        pm->gpe0_sts &= (uint16_t)~((value & 0xff) << low);
    else
        pm->gpe0_en = (uint16_t)bits_set(pm->gpe0_en, low, 8, value);
    update(pm);
}

static const struct io_ops gpe_ops = {
    .name = "acpi-gpe", .read = gpe_read, .write = gpe_write, .min_access = 1, .max_access = 1};

/* ---- APM ports B2h and B3h ------------------------------------------------------------------- */

static uint64_t apm_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct acpi_pm *pm = opaque;
    return offset ? pm->apm_sts : pm->apm_cmd;
}

/* There is no SMI handler that could turn ACPI mode on: the hardware does it at once. */
static void apm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct acpi_pm *pm = opaque;
    if (offset) {
        pm->apm_sts = (uint8_t)value;
        return;
    }
    pm->apm_cmd = (uint8_t)value;
    if (pm->apm_cmd == ACPI_APM_ENABLE)
        pm->pm1_cnt |= CNT_SCI_EN;
    else if (pm->apm_cmd == ACPI_APM_DISABLE)
        pm->pm1_cnt &= (uint16_t)~CNT_SCI_EN;
    update(pm);
}

static const struct io_ops apm_ops = {
    .name = "apm", .read = apm_read, .write = apm_write, .min_access = 1, .max_access = 1};

/* ---- SMBus host ------------------------------------------------------------------------------ */

static uint64_t smb_read(void *opaque, uint64_t offset, unsigned size)
{
    struct acpi_pm *pm = opaque;
    switch (offset) {
    case SMB_STS:
        return pm->smb_sts;
    case SMB_CNT:
        return pm->smb_cnt;
    case SMB_CMD:
        return pm->smb_cmd;
    case SMB_ADDR:
        return pm->smb_addr;
    case SMB_DATA0:
        return pm->smb_data0;
    case SMB_DATA1:
        return pm->smb_data1;
    case SMB_SLVCNT:
        return pm->smb_slvcnt;
    default:
        return 0;
    }
}

static void smb_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct acpi_pm *pm = opaque;
    uint8_t v = (uint8_t)value;
    switch (offset) {
    case SMB_STS:
        pm->smb_sts &= (uint8_t)~v;
        break;
    case SMB_CNT:
        pm->smb_cnt = v & (uint8_t)~(SMB_CNT_START | SMB_CNT_KILL);
        if ((v & SMB_CNT_START) && !(v & SMB_CNT_KILL))
            pm->smb_sts |= SMB_STS_DEV_ERR;
        break;
    case SMB_CMD:
        pm->smb_cmd = v;
        break;
    case SMB_ADDR:
        pm->smb_addr = v;
        break;
    case SMB_DATA0:
        pm->smb_data0 = v;
        break;
    case SMB_DATA1:
        pm->smb_data1 = v;
        break;
    case SMB_SLVCNT:
        pm->smb_slvcnt = v & 0x0f;
        break;
    default:
        break;
    }
}

static const struct io_ops smb_ops = {
    .name = "smbus", .read = smb_read, .write = smb_write, .min_access = 1, .max_access = 1};

/* ---- configuration space and life ------------------------------------------------------------ */

static void block_move(struct acpi_pm *pm, uint16_t *mapped, uint16_t base, uint32_t size,
                       const struct io_ops *ops)
{
    struct portmap *ports = pm->dev.board->ports;
    if (*mapped == base)
        return;
    if (*mapped)
        portmap_remove(ports, *mapped, size, pm);
    *mapped = base;
    if (base)
        portmap_add(ports, base, size, ops, pm);
}

/* Both blocks follow their base and enable registers. */
static void blocks_update(struct acpi_pm *pm)
{
    const uint8_t *c = pm->pci.config;
    block_move(pm, &pm->pm_mapped, c[REG_PMREGMISC] & 1 ? ld16(&c[REG_PMBASE]) & 0xffc0 : 0,
               PM_SIZE, &pm_ops);
    block_move(pm, &pm->smb_mapped, c[REG_SMBHSTCFG] & 1 ? ld16(&c[REG_SMBBASE]) & 0xfff0 : 0,
               SMB_SIZE, &smb_ops);
}

static void acpi_pm_config_written(void *opaque, unsigned offset, unsigned len)
{
    blocks_update(opaque);
}

static bool acpi_pm_init(struct device *dev, struct error *err)
{
    struct acpi_pm *pm = (struct acpi_pm *)dev;
    struct pci_device *d = &pm->pci;
    event_init(&pm->timer, dev->board->clock, "acpi-pm-timer", 0, timer_changed, pm);
    if (!pci_register(pm->cfg.bus, d, dev, pm->cfg.devfn,
                      &(struct pci_ident){.vendor = 0x8086,
                                          .device = 0x7113,
                                          .class_code = 0x068000,
                                          .revision = 3,
                                          .int_pin = 1,
                                          .multifunction = true},
                      err))
        return false;
    pci_set_initial(d, PCI_STATUS, 0x0280, 2);
    pci_set_initial(d, REG_PMBASE, 1, 4);
    pci_set_wmask(d, REG_PMBASE, 0xffc0, 4);
    pci_set_wmask(d, REG_PMBASE + 4, 0xffffffff, 4);  /* CNTA */
    pci_set_wmask(d, REG_PMBASE + 8, 0xffffffff, 4);  /* CNTB */
    memset(&d->wmask[0x4c], 0xff, 0x7c - 0x4c);        /* GPICTL, DEVRESD to DEVACTB and J */
    pci_set_initial(d, REG_DEVACTB, BIT(25), 4);       /* APMC_EN: firmware need not set SMM up */
    pci_set_wmask(d, REG_PMREGMISC, 0x01, 1);
    pci_set_initial(d, REG_SMBBASE, 1, 4);
    pci_set_wmask(d, REG_SMBBASE, 0xfff0, 4);
    pci_set_wmask(d, REG_SMBHSTCFG, 0x0f, 1);
    pci_set_wmask(d, REG_SMBHSTCFG + 1, 0xff, 1);
    d->opaque = pm;
    d->config_written = acpi_pm_config_written;
    portmap_add(dev->board->ports, ACPI_GPE0_BASE, 4, &gpe_ops, pm);
    portmap_add(dev->board->ports, ACPI_APM_CMD, 2, &apm_ops, pm);
    return true;
}

static void acpi_pm_reset(struct device *dev, enum reset_kind kind)
{
    struct acpi_pm *pm = (struct acpi_pm *)dev;
    if (kind == RESET_INIT)
        return;
    pci_reset(&pm->pci);
    pm->pm1_sts = pm->pm1_en = pm->pm1_cnt = 0;
    pm->gpe0_sts = pm->gpe0_en = 0;
    pm->glbctl = 0;
    pm->apm_cmd = pm->apm_sts = 0;
    pm->smb_sts = pm->smb_cnt = pm->smb_cmd = pm->smb_addr = 0;
    pm->smb_data0 = pm->smb_data1 = pm->smb_slvcnt = 0;
    blocks_update(pm);
    update(pm);
}

static void acpi_pm_fini(struct device *dev)
{
    struct acpi_pm *pm = (struct acpi_pm *)dev;
    if (pm->timer.clock)
        event_cancel(&pm->timer);
    if (!pm->pci.bus)
        return;
    block_move(pm, &pm->pm_mapped, 0, PM_SIZE, &pm_ops);
    block_move(pm, &pm->smb_mapped, 0, SMB_SIZE, &smb_ops);
    portmap_remove(dev->board->ports, ACPI_GPE0_BASE, 4, pm);
    portmap_remove(dev->board->ports, ACPI_APM_CMD, 2, pm);
    pci_unregister(&pm->pci);
}

static bool acpi_pm_loaded(void *obj)
{
    blocks_update(obj);
    return true;
}

static const struct vm_field acpi_pm_fields[] = {
    VM_DEVICE(struct acpi_pm),
    VM_STRUCT(struct acpi_pm, pci, &vm_pci_device),
    VM_INT(struct acpi_pm, pm1_sts),
    VM_INT(struct acpi_pm, pm1_en),
    VM_INT(struct acpi_pm, pm1_cnt),
    VM_INT(struct acpi_pm, gpe0_sts),
    VM_INT(struct acpi_pm, gpe0_en),
    VM_INT(struct acpi_pm, glbctl),
    VM_INT(struct acpi_pm, apm_cmd),
    VM_INT(struct acpi_pm, apm_sts),
    VM_INT(struct acpi_pm, smb_sts),
    VM_INT(struct acpi_pm, smb_cnt),
    VM_INT(struct acpi_pm, smb_cmd),
    VM_INT(struct acpi_pm, smb_addr),
    VM_INT(struct acpi_pm, smb_data0),
    VM_INT(struct acpi_pm, smb_data1),
    VM_INT(struct acpi_pm, smb_slvcnt),
    VM_STRUCT(struct acpi_pm, timer, &vm_event),
    VM_SKIP(struct acpi_pm, pm_mapped, "follows from pci.config"),
    VM_SKIP(struct acpi_pm, smb_mapped, "follows from pci.config"),
    VM_SKIP(struct acpi_pm, cfg, "configuration"),
    VM_END,
};
static const struct vmstate vm_acpi_pm =
    VMSTATE_HOOKS("acpi-pm", struct acpi_pm, acpi_pm_fields, NULL, acpi_pm_loaded);

const struct device_class acpi_pm_class = {
    .name = "acpi-pm",
    .size = sizeof(struct acpi_pm),
    .vmstate = &vm_acpi_pm,
    .init = acpi_pm_init,
    .reset = acpi_pm_reset,
    .fini = acpi_pm_fini,
};
