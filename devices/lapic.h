/* The local APIC of one CPU: xAPIC registers in memory and x2APIC registers as MSRs (Intel SDM vol.
 * 3, chapter 11). The CPU hears through the callbacks of struct lapic_cfg and asks with
 * lapic_get_interrupt when it can take an interrupt.
 */
#ifndef DEVICES_LAPIC_H
#define DEVICES_LAPIC_H

#include "devices/apic_bus.h"

#define LAPIC_TIMER_HZ 1000000000ull /* bus clock, before the divider */

enum { LAPIC_BASE_BSP = 0x100, LAPIC_BASE_EXTD = 0x400, LAPIC_BASE_ENABLE = 0x800 };
enum lapic_lvt { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

struct lapic_cfg {
    struct apic_bus *bus;
    unsigned id; /* APIC ID, also the CPU's index; CPU 0 is the boot processor */
    bool x2apic; /* CPUID announces it */
    void *opaque; /* for all below; any may be NULL */
    void (*set_intr)(void *opaque, int level); /* an interrupt waits */
    void (*nmi)(void *opaque);
    void (*init)(void *opaque);
    void (*sipi)(void *opaque, uint8_t vector);
    int (*pic_ack)(void *opaque); /* the 8259's INTA cycle: returns its vector */
    /* Virtual time at which the CPU's time-stamp counter reaches tsc; NULL: they are equal. */
    uint64_t (*tsc_to_ns)(void *opaque, uint64_t tsc);
};

struct lapic {
    struct device dev;
    uint64_t base;   /* IA32_APIC_BASE */
    uint32_t id;     /* xAPIC: bits 31:24 of the ID register, shifted down */
    uint32_t tpr, ldr, dfr, svr, esr, esr_pending;
    uint32_t irr[8], isr[8], tmr[8];
    uint64_t icr;
    uint32_t lvt[LVT_COUNT];
    uint32_t timer_initial, timer_divide;
    uint64_t timer_start; /* when the count last was timer_initial, ns */
    uint64_t tsc_deadline;
    uint8_t lint_level; /* bits 0 and 1 */
    bool extint;        /* an ExtINT message waits */
    bool timer_running; /* a one-shot count has not reached zero, or a periodic one runs */
    struct event timer;
    int intr_out; /* what set_intr was last told */
    struct lapic_cfg cfg;
};
extern const struct device_class lapic_class;

/* Acknowledges the highest waiting interrupt: its vector, the 8259's if that is next, or -1. */
int lapic_get_interrupt(struct lapic *l);
bool lapic_intr_pending(const struct lapic *l);

/* IA32_APIC_BASE. set: false: #GP. */
uint64_t lapic_get_base(const struct lapic *l);
bool lapic_set_base(struct lapic *l, uint64_t v);
/* x2APIC MSRs 800h to 8FFh. False: #GP. */
bool lapic_read_msr(struct lapic *l, uint32_t msr, uint64_t *v);
bool lapic_write_msr(struct lapic *l, uint32_t msr, uint64_t v);
/* IA32_TSC_DEADLINE. */
uint64_t lapic_get_tsc_deadline(struct lapic *l);
void lapic_set_tsc_deadline(struct lapic *l, uint64_t v);
void lapic_tsc_changed(struct lapic *l); /* the CPU's TSC was written: deadlines move */
/* CR8. */
uint8_t lapic_get_cr8(const struct lapic *l);
void lapic_set_cr8(struct lapic *l, uint8_t v);

/* Pins: an irq_line function with the lapic as opaque; n 0: LINT0 (the 8259's INTR), 1: LINT1. */
void lapic_set_lint(void *lapic, int n, int level);

/* The register page, offset 0 to FF0h. */
uint32_t lapic_mmio_read(struct lapic *l, unsigned offset);
void lapic_mmio_write(struct lapic *l, unsigned offset, uint32_t v);

/* For apic_bus. */
bool lapic_accepts(const struct lapic *l, const struct apic_msg *m);
void lapic_deliver(struct lapic *l, const struct apic_msg *m);
unsigned lapic_priority(const struct lapic *l); /* the processor priority register */

#endif
