/* A board for one device at a time: the clock, the ports, some RAM, and interrupt lines that are
 * recorded. Tests of devices are scripts of port accesses against it, with no CPU.
 *
 *     struct harness *h = harness_new(1 * MIB);
 *     struct pit *pit = harness_alloc(h, &pit_class, "pit");
 *     pit->cfg.irq = harness_irq(h, 0);
 *     harness_start(h, &pit->dev);
 *     outb(h, 0x43, 0x34);
 *     harness_run(h, 1000000);
 *     ck_assert_uint_eq(h->irq[0].rises, 1);
 *     harness_free(h);
 */
#ifndef TESTS_DEVICE_HARNESS_H
#define TESTS_DEVICE_HARNESS_H

#include <check.h>

#include "devices/bus.h"
#include "mmu/physmap.h"

#define HARNESS_IRQS    32
#define HARNESS_DEVICES 16

struct harness_irq_record {
    int level;
    unsigned rises, falls;
    uint64_t last_rise; /* virtual time */
};

struct harness {
    struct clock clock;
    struct log log;
    struct board_if board;
    struct harness_irq_record irq[HARNESS_IRQS];
    struct device *devices[HARNESS_DEVICES];
    unsigned ndevices;
    struct phys_region ram;
    uint64_t ram_ra;
    /* What devices asked the board for. */
    unsigned resets, poweroffs, exits;
    enum reset_kind reset_kind;
    int exit_status;
    bool a20;
    int64_t wallclock;
    char last_line[256]; /* of the log; every subsystem is on */
    unsigned lines;
};

/* ram bytes at physical address 0; 0: none. */
struct harness *harness_new(uint64_t ram);
void harness_free(struct harness *h); /* fini of all devices, the last added first */
/* A zeroed device, not yet initialised: fill in its cfg, then harness_start (init and reset). */
void *harness_alloc(struct harness *h, const struct device_class *cls, const char *id);
void harness_start(struct harness *h, struct device *dev);
void harness_reset(struct harness *h, enum reset_kind kind);
struct irq_line harness_irq(struct harness *h, int n);
/* Moves virtual time by ns, firing events. */
void harness_run(struct harness *h, uint64_t ns);
uint8_t *harness_ram(struct harness *h, uint64_t paddr);

uint8_t inb(struct harness *h, uint16_t port);
uint16_t inw(struct harness *h, uint16_t port);
uint32_t inl(struct harness *h, uint16_t port);
void outb(struct harness *h, uint16_t port, uint8_t v);
void outw(struct harness *h, uint16_t port, uint16_t v);
void outl(struct harness *h, uint16_t port, uint32_t v);

/* Runs one suite of one test case and returns main's exit status. */
int harness_main(const char *name, const TTest *const *tests, size_t n);

#endif
