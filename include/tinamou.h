/* tinamou.h: the machine as a library.
 *
 * A machine is configured, created, run in slices and destroyed; everything a front end does goes
 * through this header. Functions are not thread-safe for one machine except those marked "any
 * thread"; different machines are independent. No function prints, exits or installs signal
 * handlers. Strings given to the library are copied.
 *
 *     tnm_config cfg;
 *     tnm_config_init(&cfg);
 *     cfg.memory = 256 << 20;
 *     tnm_error err;
 *     tnm_machine *m = tnm_create(&cfg, &err);
 *     while (tnm_run(m, 10 * 1000 * 1000) == TNM_STOP_SLICE)
 *         ;
 *     tnm_destroy(m);
 */
#ifndef TINAMOU_H
#define TINAMOU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tnm_machine tnm_machine;

enum tnm_code {
    TNM_OK, TNM_ERR_NOMEM, TNM_ERR_INVALID, TNM_ERR_IO, TNM_ERR_NOTFOUND, TNM_ERR_FORMAT,
    TNM_ERR_STATE, TNM_ERR_UNSUPPORTED,
};
typedef struct tnm_error {
    enum tnm_code code;
    char text[512]; /* "what went wrong: what to do" */
} tnm_error;

/* ---- configuration ---------------------------------------------------------------------------- */

#define TNM_MAX_DISKS   8
#define TNM_MAX_SERIALS 4
#define TNM_MAX_CPUS    8

enum tnm_disk_if { TNM_IF_IDE, TNM_IF_VIRTIO };
typedef struct tnm_disk {
    const char *path;
    const char *format; /* "raw", "qcow2" or NULL: detect */
    enum tnm_disk_if interface;
    bool readonly, discard;
} tnm_disk;

enum tnm_clock { TNM_CLOCK_HOST, TNM_CLOCK_INSN };

/* Where a serial port's bytes go. out may be NULL (dropped). Input comes by tnm_serial_input. */
typedef struct tnm_serial {
    void (*out)(void *opaque, uint8_t byte);
    void *opaque;
} tnm_serial;

typedef struct tnm_config {
    uint64_t memory; /* bytes */
    unsigned cpus;
    const char *cpu_model;
    enum tnm_clock clock;
    tnm_disk disks[TNM_MAX_DISKS];
    unsigned ndisks;
    const char *cdrom, *floppy; /* NULL: empty drive (cdrom: present and empty) */
    const char *boot;           /* letters as "cad"; NULL: what is there */
    const char *kernel, *initrd, *append;
    const char *firmware, *vga_firmware; /* NULL: looked up */
    tnm_serial serial[TNM_MAX_SERIALS];
    unsigned nserials;          /* at least 2 ports exist whatever this says */
    int debug_exit_port;        /* -1: none */
    int64_t rtc_base;           /* seconds since 1970 at power-on; -1: the host's now (host clock) or
                                   2026-01-01 (instruction clock) */
    uint64_t state_hash_every;  /* instructions; 0: never; needs the instruction clock */
    const char *log;            /* as after --log, or NULL */
    void (*log_line)(void *opaque, const char *subsystem, const char *line);
    void (*state_hash)(void *opaque, uint64_t insns, uint64_t hash);
    void *opaque;               /* for the two above */
} tnm_config;

void tnm_config_init(tnm_config *cfg);
/* NULL with *err filled on failure; nothing is left behind. */
tnm_machine *tnm_create(const tnm_config *cfg, tnm_error *err);
void tnm_destroy(tnm_machine *m);
const char *tnm_cpu_model_name(unsigned n);  /* NULL past the last */
const char *tnm_log_subsystem_name(unsigned n);

/* ---- running ---------------------------------------------------------------------------------- */

enum tnm_stop {
    TNM_STOP_SLICE,    /* the time asked for is over; call again */
    TNM_STOP_REQUEST,  /* tnm_stop was called */
    TNM_STOP_POWEROFF, /* the guest powered off */
    TNM_STOP_EXIT,     /* the guest wrote to the debug-exit port: tnm_exit_status */
    TNM_STOP_LIMIT,    /* tnm_set_limits was reached */
    TNM_STOP_HASH_ERROR,
};
/* Runs for at most ns nanoseconds of virtual time (and, under the host clock, about as much host
 * time). Sleeps while the guest is idle under the host clock. */
enum tnm_stop tnm_run(tnm_machine *m, uint64_t ns);
void tnm_stop(tnm_machine *m); /* any thread, and signal handlers: tnm_run returns soon */
int tnm_exit_status(const tnm_machine *m); /* (value << 1) | 1 */
void tnm_set_limits(tnm_machine *m, uint64_t ns, uint64_t insns); /* 0: none */
void tnm_reset(tnm_machine *m);            /* as the reset button */
void tnm_power_button(tnm_machine *m);     /* ACPI power button */
uint64_t tnm_time_ns(const tnm_machine *m);
uint64_t tnm_insns(const tnm_machine *m);
uint64_t tnm_state_hash(tnm_machine *m);

typedef struct tnm_stats {
    uint64_t insns, blocks, block_misses, tlb_slow, tlb_fills, tlb_flushes, interrupts, exceptions;
    uint64_t host_ns, idle_ns, virtual_ns;
} tnm_stats;
void tnm_get_stats(const tnm_machine *m, tnm_stats *out);

/* ---- input ------------------------------------------------------------------------------------ */

/* Scan code set 1 with 0xE0 as bit 8 (Pause is 0x145), pressed or released. */
void tnm_key(tnm_machine *m, unsigned scancode, bool down);
enum { TNM_BUTTON_LEFT = 1, TNM_BUTTON_RIGHT = 2, TNM_BUTTON_MIDDLE = 4 };
/* Movement since the last call: right, down, and the wheel towards the user are positive. */
void tnm_mouse(tnm_machine *m, int dx, int dy, int dz, unsigned buttons);
/* Bytes for a serial port; returns how many were taken (its queue is bounded). */
size_t tnm_serial_input(tnm_machine *m, unsigned port, const void *data, size_t len);

/* ---- screen ----------------------------------------------------------------------------------- */

typedef struct tnm_screen {
    const uint32_t *pixels; /* 0x00RRGGBB, row by row, valid until the next call for this machine */
    unsigned width, height; /* pixels */
    bool changed;           /* since the last call */
    bool blank;
} tnm_screen;
void tnm_get_screen(tnm_machine *m, tnm_screen *out);
/* Text modes: fills buf with the screen's characters as UTF-8, lines ended by '\n'; returns the
 * length, 0 in graphics modes. */
size_t tnm_get_text(tnm_machine *m, char *buf, size_t size);

/* ---- removable media -------------------------------------------------------------------------- */

/* path NULL ejects. */
bool tnm_change_cdrom(tnm_machine *m, const char *path, tnm_error *err);
bool tnm_change_floppy(tnm_machine *m, const char *path, tnm_error *err);

#ifdef __cplusplus
}
#endif
#endif
