/* What a device may know of the machine: ports, memory-mapped registers, interrupt lines, DMA, the
 * clock, the log. Nothing in devices/ includes cpu/ or machine/; the board passes a struct board_if.
 *
 * A device is a struct, a table of declared fields and a device_class:
 *
 *     const struct device_class pit_class = {
 *         .name = "pit", .size = sizeof(struct pit), .vmstate = &vm_pit,
 *         .init = pit_init, .reset = pit_reset, .fini = pit_fini,
 *     };
 *
 * The board allocates size zeroed bytes, fills in the device's wiring through the functions that
 * the device's own header declares (config structs), calls init once, then reset. The first member
 * of every device struct is `struct device dev`.
 */
#ifndef DEVICES_BUS_H
#define DEVICES_BUS_H

#include "base/bits.h"
#include "base/check.h"
#include "base/error.h"
#include "base/io.h"
#include "base/log.h"
#include "devices/clock.h"
#include "snapshots/vmstate.h"

struct physmap; /* mmu/physmap.h */

/* ---- interrupt lines ------------------------------------------------------------------------ */

/* One wire: the receiver's function, its object, and which of its inputs. Level: 1 high, 0 low;
 * setting the level it has is allowed and does nothing. An unconnected line has fn NULL. */
struct irq_line {
    void (*fn)(void *opaque, int n, int level);
    void *opaque;
    int n;
};

static inline void irq_set(const struct irq_line *l, int level)
{
    if (l->fn)
        l->fn(l->opaque, l->n, level);
}

static inline void irq_pulse(const struct irq_line *l)
{
    irq_set(l, 1);
    irq_set(l, 0);
}

/* ---- registers ------------------------------------------------------------------------------ */

/* struct io_ops, the access functions of a block of registers, is in base/io.h. */

/* The 64 KiB port space. Later registrations of a port hide earlier ones until removed. */
struct portmap;
struct portmap *portmap_new(struct log *log);
void portmap_free(struct portmap *p);
/* opaque and ops must outlive the registration. */
void portmap_add(struct portmap *p, uint16_t base, uint32_t count, const struct io_ops *ops,
                 void *opaque);
/* Removes what portmap_add put there with the same base, count and opaque. */
void portmap_remove(struct portmap *p, uint16_t base, uint32_t count, void *opaque);
/* size 1, 2 or 4. Unclaimed ports read as all ones. */
uint32_t portmap_read(struct portmap *p, uint16_t port, unsigned size);
void portmap_write(struct portmap *p, uint16_t port, uint32_t value, unsigned size);

/* ---- what the board offers ------------------------------------------------------------------ */

enum reset_kind { RESET_POWER_ON, RESET_HARD, RESET_INIT };

/* One a machine; every device holds a pointer to it in dev.board. */
struct board_if {
    struct clock *clock;
    struct portmap *ports;
    struct physmap *mem; /* DMA and memory-mapped regions: mmu/physmap.h */
    struct log *log;
    void *opaque;
    /* Whole-machine requests; they take effect when the running instruction has ended. */
    void (*request_reset)(void *opaque, enum reset_kind kind, const char *why);
    void (*request_poweroff)(void *opaque);
    void (*request_exit)(void *opaque, int status); /* debug-exit port */
    void (*set_a20)(void *opaque, bool on);         /* from port 92h or the 8042 */
    /* The date for the CMOS clock at power-on, seconds since 1970 UTC. */
    int64_t (*wallclock)(void *opaque);
};

struct device_class;
struct device {
    const struct device_class *cls;
    struct board_if *board;
    const char *id; /* unique on the board: "pit", "uart0", "ide.0" */
};
#define VM_DEVICE(S) VM_SKIP(S, dev, "wiring, set by the board")

struct device_class {
    const char *name;
    size_t size;
    const struct vmstate *vmstate; /* NULL: the device has no state */
    /* Registers ports and regions and creates what it owns. False with *err filled on bad
     * configuration. fini undoes init; it is also called after a failed init. */
    bool (*init)(struct device *dev, struct error *err);
    void (*reset)(struct device *dev, enum reset_kind kind);
    void (*fini)(struct device *dev);
};

#endif
