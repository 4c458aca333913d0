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
    TNM_ERR_STATE, TNM_ERR_UNSUPPORTED, TNM_ERR_EXISTS,
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
/* AUTO: the translator where the host has a backend, and the interpreter for what is not hot. JIT:
 * translate all code at once; for tests. Both engines execute the same instructions and leave the same
 * state. */
enum tnm_engine { TNM_ENGINE_AUTO, TNM_ENGINE_INTERP, TNM_ENGINE_JIT };

/* Where a serial port's bytes go. out may be NULL (dropped). Input comes by tnm_serial_input. With vCPUs
 * on threads, out and log_line are called by any of them while tnm_run is under way, one at a time. */
typedef struct tnm_serial {
    void (*out)(void *opaque, uint8_t byte);
    void *opaque;
} tnm_serial;

/* Host code that the translator made, for profilers and debuggers. */
typedef struct tnm_host_code {
    const void *host; /* where it is executed */
    size_t size;      /* bytes */
    uint64_t address; /* linear, of the guest's code that it stands for */
    unsigned bits;    /* 16, 32, 64: of that code; 0: a routine of the translator's own */
    bool user;        /* made for privilege level 3 */
    unsigned cpu;     /* vCPU */
} tnm_host_code;

typedef struct tnm_config {
    uint64_t memory; /* bytes */
    unsigned cpus;
    const char *cpu_model;
    enum tnm_clock clock;
    enum tnm_engine engine;
    bool cpu_turns;             /* several vCPUs under the host clock run in turns too, and not each on a
                                   thread of its own; always so on hosts whose memory is ordered less
                                   strictly than that of x86 */
    uint64_t code_cache;        /* bytes of decoded and translated code at most, all vCPUs together; each
                                   has 512 KiB at least */
    bool count_accesses;        /* for tnm_stats.jit_accesses; translated code is a little slower */
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
    /* Host code was made; [host, host+size) is code no more, and may become other code. Both NULL if
     * nobody wants to know. On the thread that runs the vCPU: under the host clock on several at once. */
    void (*code_made)(void *opaque, const tnm_host_code *code);
    void (*code_dropped)(void *opaque, const void *host, size_t size);
    void *opaque;               /* for these four */
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
    TNM_STOP_ERROR,    /* the machine cannot go on, as when a snapshot it was restored from turns out
                          to be damaged: tnm_get_error says why */
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
uint64_t tnm_cpu_hash(tnm_machine *m); /* of the vCPUs alone */
/* vCPU n's registers and the code at its instruction pointer, as text in lines; returns the length as
 * snprintf does. */
size_t tnm_cpu_describe(tnm_machine *m, unsigned n, char *buf, size_t size);

/* What kept an access to memory from the shortest way. */
enum tnm_slow {
    TNM_SLOW_OTHER, /* nothing: whatever made it had no short way */
    TNM_SLOW_FILL,  /* no TLB entry */
    TNM_SLOW_WATCH, /* a watchpoint in the page */
    TNM_SLOW_COPY,  /* a write to a page that a snapshot has yet to copy */
    TNM_SLOW_TRACK, /* a write to a page whose changes are wanted, as the screen's */
    TNM_SLOW_CODE,  /* a write to a page with code in it */
    TNM_SLOW_IO,    /* registers in memory, ROM, nothing at all */
    TNM_SLOW_CROSS, /* it lies in two pages */
    TNM_SLOW_FAULT, /* it faulted */
    TNM_SLOWS
};
/* Why translated code returned to the run loop. */
enum tnm_exit {
    TNM_EXIT_OTHER,
    TNM_EXIT_BUDGET,  /* the time until the next event is over */
    TNM_EXIT_PENDING, /* an interrupt, or a request to stop */
    TNM_EXIT_END,     /* an instruction that may have changed anything */
    TNM_EXIT_FAULT,
    TNM_EXIT_LINK,    /* what follows is not translated */
    TNM_EXIT_LOOKUP,  /* what an indirect branch or one to another page leads to is not translated */
    TNM_EXIT_CODE,    /* the running code was written to */
    TNM_EXITS
};

typedef struct tnm_stats {
    uint64_t insns, blocks, block_misses, tlb_slow, tlb_fills, tlb_flushes, interrupts, exceptions;
    uint64_t blocks_evicted; /* decoded ones, for others' room */
    uint64_t tlb_slow_by[TNM_SLOWS]; /* tlb_slow, by reason */
    uint64_t host_ns, idle_ns, virtual_ns;
    /* The translator. Of the instructions it translated: */
    uint64_t jit_blocks /* units: one block or several */, jit_insns, jit_guest_bytes, jit_host_bytes,
        jit_main_bytes /* of those, without slow ways */, jit_ns /* spent translating */,
        jit_refused /* hot blocks left to the interpreter */, jit_flushes /* of the whole code cache */,
        jit_evicted /* for others' room */, jit_parts /* blocks in them all */,
        jit_regions /* of several blocks */, jit_memory_insns /* with a memory operand */;
    /* Executed from entries into its code to exits, and how many accesses to memory they made: only with
     * tnm_config.count_accesses, else 0. */
    uint64_t jit_insns_run, jit_accesses;
    /* Ways into and out of its code: */
    uint64_t jit_enters, jit_exits[TNM_EXITS];
    /* Instructions that went a slow way, and on: those that have no code, and others by why. */
    uint64_t jit_slow, jit_no_code, jit_slow_by[TNM_SLOWS];
    uint64_t jit_ends /* those that end a run */, jit_links, jit_lookups /* indirect branches not in
        the table */, jit_lookup_misses /* to code that is not translated */,
        jit_x87_loads /* x87 registers brought into the host's unit */;
} tnm_stats;
void tnm_get_stats(const tnm_machine *m, tnm_stats *out);
/* The instructions that translated code most often left to the interpreter for want of code of their
 * own, most frequent first; returns how many of the n places were filled. */
typedef struct tnm_no_code {
    const char *name; /* "CPUID" */
    uint64_t count;
    bool ends; /* it ends the run of translated code, too */
} tnm_no_code;
unsigned tnm_get_no_code(const tnm_machine *m, tnm_no_code *out, unsigned n);

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

/* ---- snapshots --------------------------------------------------------------------------------
 *
 * A snapshot file holds a whole machine: docs/snapshot-format.md. Saving is live: tnm_save_begin
 * notes the state of the moment and returns within milliseconds, the guest goes on, and threads of
 * the library write the file, which has its name only when it is whole.
 *
 *     tnm_save_begin(m, "a.snap", NULL, &err);
 *     while (tnm_save_poll(m, NULL, &err) == TNM_SAVE_RUNNING)
 *         tnm_run(m, 10 * 1000 * 1000);
 *
 *     tnm_snapshot *s = tnm_snapshot_open("a.snap", &err);
 *     tnm_snapshot_config(s, &cfg);     then what belongs to this host: serial ports, log, ...
 *     tnm_machine *m = tnm_snapshot_create(s, &cfg, NULL, &err);
 *     tnm_snapshot_close(s);            the machine keeps what it needs of the file
 */

typedef struct tnm_save_options {
    const char *parent; /* store only what differs from this snapshot; NULL: everything */
    const char *name;   /* for lists; NULL: none */
    unsigned threads;   /* that compress; 0: one for each processor of the host */
    bool no_thumbnail;
    bool keep_old; /* fail with TNM_ERR_EXISTS rather than replace a file, whoever makes it when */
} tnm_save_options;

enum tnm_save_state {
    TNM_SAVE_NONE,    /* nothing under way (any more) */
    TNM_SAVE_RUNNING,
    TNM_SAVE_DONE,    /* told once: the file is whole and on the disk */
    TNM_SAVE_FAILED,  /* told once, with the error; the file is as it was before */
};
typedef struct tnm_save_progress {
    uint64_t done, total; /* bytes of memory and disks looked at */
    uint64_t pause_ns;    /* for which the guest stood still in tnm_save_begin */
    uint64_t file_bytes;  /* written so far */
    const char *path;     /* until the next call for this machine */
} tnm_save_progress;

/* Begins a save of the machine as it is now, between two calls of tnm_run. One at a time. opt may be
 * NULL. */
bool tnm_save_begin(tnm_machine *m, const char *path, const tnm_save_options *opt, tnm_error *err);
/* How it goes. Call it now and then; out and err may be NULL. */
enum tnm_save_state tnm_save_poll(tnm_machine *m, tnm_save_progress *out, tnm_error *err);
/* Waits for the end; the guest stands still. False with *err filled if it failed. */
bool tnm_save_wait(tnm_machine *m, tnm_error *err);
/* Nothing is left of it, unless it was whole already. */
void tnm_save_cancel(tnm_machine *m);
/* tnm_save_begin and tnm_save_wait: the same state gives the same bytes. */
bool tnm_snapshot_save(tnm_machine *m, const char *path, const tnm_save_options *opt,
                       tnm_error *err);

/* An opened snapshot with its parents. Opening checks structure and the checksums of everything but
 * the contents of memory and disks; those are checked when they are read. */
typedef struct tnm_snapshot tnm_snapshot;
tnm_snapshot *tnm_snapshot_open(const char *path, tnm_error *err);
void tnm_snapshot_close(tnm_snapshot *s);

/* Progress of long work; false: give up (TNM_ERR_STATE). May be NULL. */
typedef bool (*tnm_progress_fn)(void *opaque, uint64_t done, uint64_t total);

typedef struct tnm_restore_options {
    bool fresh_identity; /* new random seed and VM generation ID, for many copies of one machine */
    bool verify;         /* read and check all contents first, which takes time */
    /* Of that, and of looking through disk images that have moved since; once from 0 for each. */
    tnm_progress_fn progress;
    void *opaque; /* its first argument */
} tnm_restore_options;
/* Fills in what the saved machine was configured with, over tnm_config_init's values for what a
 * snapshot does not say (serial outputs, log). Strings belong to s. */
void tnm_snapshot_config(const tnm_snapshot *s, tnm_config *cfg);
/* Makes the machine. cfg: tnm_snapshot_config's, with changes that the guest cannot see: serial
 * outputs, log, clock, other paths of the same images; NULL: as it is. opt may be NULL. */
tnm_machine *tnm_snapshot_create(tnm_snapshot *s, const tnm_config *cfg,
                                 const tnm_restore_options *opt, tnm_error *err);
/* Turns a machine of the same configuration into the saved one. On failure it is what it was. */
bool tnm_snapshot_restore(tnm_machine *m, tnm_snapshot *s, const tnm_restore_options *opt,
                          tnm_error *err);
/* Whether contents are still being brought in; the machine runs meanwhile. done and total in bytes
 * may be NULL. */
bool tnm_restore_poll(tnm_machine *m, uint64_t *done, uint64_t *total);
/* Why tnm_run returned TNM_STOP_ERROR. */
void tnm_get_error(const tnm_machine *m, tnm_error *err);

typedef struct tnm_snapshot_info {
    const char *path, *name;   /* name: "" if none */
    const char *parent;        /* path as stored; NULL: none */
    uint32_t format;           /* version */
    uint64_t id, parent_id;    /* id: of this very content */
    uint64_t file_size;
    uint64_t memory;           /* bytes of RAM */
    unsigned cpus;
    const char *cpu_model;
    uint64_t time_ns, insns;   /* virtual time since power-on, instructions executed */
    unsigned depth;            /* parents above */
    unsigned thumb_width, thumb_height; /* 0: no thumbnail */
    const uint32_t *thumb;     /* 0x00RRGGBB, row by row */
} tnm_snapshot_info;
void tnm_snapshot_get_info(const tnm_snapshot *s, tnm_snapshot_info *out);

/* The n-th run of contents: "ram", "vram", "disk0", "kernel", ... False past the last. */
typedef struct tnm_snapshot_stream {
    const char *name;
    uint64_t size;
    /* Units of 64 KiB, by what the file says of them. */
    uint64_t zero, base, parent, stored;
    uint64_t stored_bytes; /* in this file, compressed */
} tnm_snapshot_stream;
bool tnm_snapshot_get_stream(const tnm_snapshot *s, unsigned n, tnm_snapshot_stream *out);

/* The n-th file that the machine stands on and that is not in the snapshot. False past the last. */
typedef struct tnm_snapshot_base {
    const char *device; /* "disk0", "cdrom", "floppy" */
    const char *path;
    uint64_t size, hash;
} tnm_snapshot_base;
bool tnm_snapshot_get_base(const tnm_snapshot *s, unsigned n, tnm_snapshot_base *out);

/* Every declared field, object by object ("machine", "cpu0", "pit", ...), in the file's order. */
typedef struct tnm_snapshot_field {
    const char *object, *name; /* name: "ch[1].count" */
    bool bytes;                /* a run of plain bytes; otherwise integers */
    unsigned size;             /* bytes of an element: 1, 2, 4, 8 */
    uint32_t count;            /* elements */
    const uint8_t *data;       /* little-endian */
} tnm_snapshot_field;
typedef void (*tnm_field_fn)(void *opaque, const tnm_snapshot_field *f);
void tnm_snapshot_fields(const tnm_snapshot *s, tnm_field_fn fn, void *opaque);

/* Reads all there is and checks every checksum, parents included. */
bool tnm_snapshot_verify(tnm_snapshot *s, tnm_progress_fn fn, void *opaque, tnm_error *err);

/* What differs: a field (a or b NULL where only one has it), or a page of a stream. */
typedef struct tnm_snapshot_difference {
    const tnm_snapshot_field *a, *b; /* both NULL: a page */
    const char *stream;
    uint64_t offset; /* of the 4 KiB page in the stream */
} tnm_snapshot_difference;
typedef void (*tnm_diff_fn)(void *opaque, const tnm_snapshot_difference *d);
/* False on an error; *same (may be NULL) says whether nothing differs. */
bool tnm_snapshot_diff(tnm_snapshot *a, tnm_snapshot *b, tnm_diff_fn fn, void *opaque, bool *same,
                       tnm_error *err);
/* Writes s and its parents as one snapshot that needs no other. path must be new. */
bool tnm_snapshot_flatten(tnm_snapshot *s, const char *path, tnm_progress_fn fn, void *opaque,
                          tnm_error *err);

#ifdef __cplusplus
}
#endif
#endif
