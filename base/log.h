/* Traces for people: one line each, tagged with a subsystem. A machine owns one struct log; there
 * is no global one. The check is one load and one test, so that calls can stand in hot-ish paths:
 *
 *     LOG(log, LOG_IO, "out %04x <- %02x", port, value);
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/bits.h"

enum log_subsystem {
    LOG_EXEC,  /* every instruction with registers */
    LOG_INT,   /* interrupts, exceptions, task switches */
    LOG_IO,    /* port accesses, by device name */
    LOG_MMIO,  /* memory-mapped accesses, by device name */
    LOG_CPU,   /* mode changes, MSRs, CPUID, unknown instructions */
    LOG_MMU,   /* page faults, TLB flushes */
    LOG_PCI,   /* configuration space */
    LOG_IRQ,   /* interrupt lines and controllers */
    LOG_DISK,  /* block requests */
    LOG_VGA,   /* mode sets */
    LOG_RESET, /* resets and their reasons */
    LOG_POWER, /* ACPI, sleep states */
    LOG_BIOS,  /* what the firmware prints on port 0x402 */
    LOG_GUEST_ERROR, /* things a guest did that real hardware would not like */
    LOG_UNIMP, /* what a guest asked for that is not there */
    LOG_SUBSYSTEMS,
};

/* One finished line without its newline. */
typedef void (*log_sink_fn)(void *opaque, enum log_subsystem subsystem, const char *line);

struct log {
    uint32_t enabled; /* bit per subsystem */
    log_sink_fn sink;
    void *opaque;
};

/* Names as typed after --log; NULL past the last. */
const char *log_subsystem_name(unsigned subsystem);
/* Turns on what a list as "int,io,guest-error" or "all" names. False with *bad pointing at the
 * first unknown word. */
bool log_enable(struct log *log, const char *list, const char **bad);
void log_write(struct log *log, enum log_subsystem subsystem, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static inline bool log_on(const struct log *log, enum log_subsystem s)
{
    return UNLIKELY(log && (log->enabled >> s & 1));
}

#define LOG(log, subsystem, ...)                                                                   \
    do {                                                                                           \
        if (log_on(log, subsystem))                                                                \
            log_write(log, subsystem, __VA_ARGS__);                                                \
    } while (0)

#endif
