/* Interrupt wires between devices and the interrupt controllers.
 *
 * An ISA interrupt reaches the 8259 pair and the I/O APIC pin of the same number (interrupt 0:
 * pin 2, as every PC's MADT says). Several devices may pull one wire (COM1 and COM3, PCI interrupts
 * steered to an ISA number): a wire is high while any of its sources is.
 */
#include "machine/wires.h"

#include "devices/ioapic.h"
#include "devices/pic.h"

#define SRC_SHIFT 8 /* an irq_line's n: wire number, and the source's bit number above */
#define IRQ_TIMER 0
#define IRQ_RTC   8

static bool pull(uint32_t *sources, int n, int level)
{
    uint32_t bit = BIT(n >> SRC_SHIFT & 31);
    *sources = level ? *sources | bit : *sources & ~bit;
    return *sources != 0;
}

static void gsi_set(void *opaque, int n, int level)
{
    struct tnm_machine *m = opaque;
    int pin = n & 0xff;
    ioapic_set_pin(m->ioapic, pin, pull(&m->wires.gsi[pin], n, level));
}

static void isa_set(void *opaque, int n, int level)
{
    struct tnm_machine *m = opaque;
    int irq = n & 0xff;
    bool high = pull(&m->wires.isa[irq], n, level);

    LOG(&m->log, LOG_IRQ, "isa %d source %d: %d", irq, n >> SRC_SHIFT, level);
    pic_set_irq(m->pic, irq, high);
    if (m->ioapic && irq != 2)
        gsi_set(m, irq == 0 ? 2 : irq, high); /* source bit 0 of the pin is the ISA wire */
}

struct irq_line wires_isa(struct tnm_machine *m, unsigned irq)
{
    return (struct irq_line){isa_set, m, (int)(irq | (unsigned)m->isa_sources[irq]++ << SRC_SHIFT)};
}

struct irq_line wires_gsi(struct tnm_machine *m, unsigned pin, unsigned source)
{
    return (struct irq_line){gsi_set, m, (int)(pin | source << SRC_SHIFT)};
}

/* While the HPET's legacy replacement is on, the 8254 and the CMOS clock are cut off from
 * interrupts 0 and 8 (IA-PC HPET 1.0a, 2.3.5). Their wires are the first sources of these. */
static void pit_set(void *opaque, int n, int level)
{
    struct tnm_machine *m = opaque;
    m->wires.pit_level = level;
    if (!m->wires.hpet_legacy)
        isa_set(m, n, level);
}

static void rtc_set(void *opaque, int n, int level)
{
    struct tnm_machine *m = opaque;
    m->wires.rtc_level = level;
    if (!m->wires.hpet_legacy)
        isa_set(m, n, level);
}

struct irq_line wires_pit(struct tnm_machine *m)
{
    struct irq_line l = wires_isa(m, IRQ_TIMER);
    l.fn = pit_set;
    m->wires_pit_n = l.n;
    return l;
}

struct irq_line wires_rtc(struct tnm_machine *m)
{
    struct irq_line l = wires_isa(m, IRQ_RTC);
    l.fn = rtc_set;
    m->wires_rtc_n = l.n;
    return l;
}

void wires_hpet_legacy(void *opaque, bool on)
{
    struct tnm_machine *m = opaque;

    if (m->wires.hpet_legacy == on)
        return;
    m->wires.hpet_legacy = on;
    isa_set(m, m->wires_pit_n, on ? 0 : m->wires.pit_level);
    isa_set(m, m->wires_rtc_n, on ? 0 : m->wires.rtc_level);
}
