/* The log: subsystem names, the parser of --log lists, and formatting of one line.
 * The sink belongs to whoever owns the machine; nothing here prints. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const names[LOG_SUBSYSTEMS] = {
    [LOG_EXEC] = "exec",   [LOG_INT] = "int",
    [LOG_IO] = "io",       [LOG_MMIO] = "mmio",
    [LOG_CPU] = "cpu",     [LOG_MMU] = "mmu",
    [LOG_PCI] = "pci",     [LOG_IRQ] = "irq",
    [LOG_DISK] = "disk",   [LOG_VGA] = "vga",
    [LOG_RESET] = "reset", [LOG_POWER] = "power",
    [LOG_BIOS] = "bios",   [LOG_GUEST_ERROR] = "guest-error",
    [LOG_UNIMP] = "unimp",
};

const char *log_subsystem_name(unsigned subsystem)
{
    return subsystem < LOG_SUBSYSTEMS ? names[subsystem] : NULL;
}

bool log_enable(struct log *log, const char *list, const char **bad)
{
    uint32_t mask = 0;
    while (*list) {
        size_t len = strcspn(list, ",");
        uint32_t found = 0;
        if (len == 3 && !memcmp(list, "all", 3))
            found = BIT(LOG_SUBSYSTEMS) - 1;
        for (unsigned i = 0; i < LOG_SUBSYSTEMS; i++) {
            if (strlen(names[i]) == len && !memcmp(list, names[i], len))
                found = BIT(i);
        }
        if (!found) {
            *bad = list;
            return false;
        }
        mask |= found;
        list += len;
        if (*list == ',' && !*++list) {
            *bad = list; /* a comma at the end: an empty word */
            return false;
        }
    }
    log->enabled |= mask;
    return true;
}

void log_write(struct log *log, enum log_subsystem subsystem, const char *fmt, ...)
{
    char line[512];
    va_list ap;

    if (!log->sink)
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    log->sink(log->opaque, subsystem, line);
}
