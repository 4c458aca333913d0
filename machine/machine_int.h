/* The machine from inside: what machine/'s files share. See machine.c for the story.
 *
 * Invariants: devices exist from creation to destruction in dev[], in the order of the wiring
 * table; `current` is the vCPU that runs or ran last; `in_slice` is true exactly while cpu_run is on the
 * stack (of any thread), and only then is virtual time finer than clock.now.
 */
#ifndef MACHINE_MACHINE_INT_H
#define MACHINE_MACHINE_INT_H

#include <stdatomic.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/hostthread.h"
#include "base/log.h"
#include "cpu/cpu.h"
#include "devices/block.h"
#include "devices/bus.h"
#include "include/tinamou.h"
#include "mmu/physmap.h"

#define MAX_DEVICES 48
/* Of the instruction clock: a 100 MHz machine that needs one cycle each. Guests that wait by
 * polling the time then cost no more host time than they would take on the host clock. */
#define NS_PER_INSN 10
#define ISA_IRQS    16
#define GSIS        24
#define UARTS       4

struct pic;
struct pit;
struct cmos;
struct kbc;
struct fdc;
struct dma;
struct uart;
struct fw_cfg;
struct lapic;
struct ioapic;
struct apic_bus;
struct i440fx;
struct piix3;
struct acpi_pm;
struct ide;
struct vga;
struct hpet;
struct vmgenid;
struct lazy;
struct save;
struct disk_set;
struct snap_file;
struct threads;

/* A file's contents in host memory. */
struct blob {
    uint8_t *data;
    size_t size;
};

/* Interrupt wires of the board. Several sources may pull one wire; each has its own bit. */
struct wires {
    uint32_t isa[ISA_IRQS];
    uint32_t gsi[GSIS];
    bool pit_level, rtc_level; /* kept while the HPET stands in for them */
    bool hpet_legacy;
};

/* What a vCPU's callbacks get. */
struct vcpu_ref {
    struct tnm_machine *m;
    unsigned index;
};

struct tnm_machine {
    tnm_config cfg; /* its strings are the copies in cfg_strings */
    char *cfg_strings[TNM_MAX_DISKS * 2 + 16];
    unsigned ncfg_strings;

    struct log log;
    struct clock clock;
    struct portmap *ports;
    struct physmap *mem;
    struct board_if board;
    uint64_t ram_below_4g, ram_above_4g;
    struct phys_region ram_low, ram_high, bios_high;
    struct blob bios, vga_bios;
    uint64_t bios_ra;
    struct blob kernel, initrd;
    struct blob kernel_image; /* multiboot: the kernel as it is loaded */
    struct blob fw_items; /* what fw_cfg has beside them, as fw_cfg_write writes it */
    struct snap_file *origin; /* while it is made: the snapshot that has these four; NULL: files */

    struct cpu *cpu[TNM_MAX_CPUS];
    struct vcpu_ref vcpu[TNM_MAX_CPUS];
    unsigned ncpus, current;

    struct device *dev[MAX_DEVICES];
    unsigned ndevices, initialized;
    struct pic *pic;
    struct pit *pit;
    struct cmos *cmos;
    struct kbc *kbc;
    struct fdc *fdc;
    struct dma *dma;
    struct uart *uart[UARTS];
    struct fw_cfg *fw_cfg;
    struct apic_bus *apic_bus;
    struct lapic *lapic[TNM_MAX_CPUS];
    struct ioapic *ioapic;
    struct i440fx *host_bridge;
    struct piix3 *piix3;
    struct acpi_pm *acpi_pm;
    struct ide *ide;
    struct vga *vga;
    struct hpet *hpet;
    struct vmgenid *vmgenid;
    struct wires wires;
    uint8_t isa_sources[ISA_IRQS]; /* source bits given out */
    int wires_pit_n, wires_rtc_n;

    struct block_dev *disk[TNM_MAX_DISKS];
    struct block_dev *cdrom, *floppy;
    unsigned cd_channel, cd_unit;
    int64_t wallclock;
    uint64_t random;

    /* Snapshots: snapshot.h. */
    struct save *save; /* under way; NULL: none */
    struct lazy *lazy; /* contents still in a file; NULL: none */
    struct disk_set *disks;
    char *saved_path;    /* of the save that tnm_save_poll told the end of */
    bool screen_changed; /* a thumbnail was drawn since the screen was asked for */

    /* Run loop: run.c. */
    bool in_slice;
    uint64_t slice_ns;      /* virtual time at the start of the slice */
    uint64_t slice_retired; /* of the running CPU, then */
    uint64_t quantum_left;  /* instructions of the current CPU's turn */
    uint64_t turns;         /* so far, with more than one CPU */
    uint64_t host_base;     /* host clock: virtual time 0 as the host's time */
    uint64_t host_left;     /* when tnm_run was last left */
    uint64_t rate;          /* host clock: instructions a second, measured */
    uint64_t limit_ns, limit_insns, next_hash;
    uint64_t host_ns, idle_ns;
    struct host_wake *wake;
    struct threads *threads; /* vCPUs run on threads of their own; NULL: in turns */
    atomic_bool stop;
    bool want_reset, want_poweroff, want_exit;
    enum reset_kind reset_kind;
    int exit_status;
};

extern const struct vmstate vm_machine;

/* machine.c: tnm_create, with files out of a snapshot where origin is not NULL. */
struct tnm_machine *machine_new(const tnm_config *cfg, struct snap_file *origin, struct error *err);

/* board.c: creates, configures, initializes the devices of the wiring table. */
bool board_create(struct tnm_machine *m, struct error *err);
void board_destroy(struct tnm_machine *m);
void board_reset(struct tnm_machine *m, enum reset_kind kind);
/* The machine becomes another one, as when a snapshot is restored once more: a new random seed and
 * generation ID, from the host. */
void board_fresh_identity(struct tnm_machine *m);
/* Opens a removable medium; NULL with *err filled. */
struct block_dev *board_open_cdrom(const char *path, struct error *err);
struct block_dev *board_open_floppy(const char *path, struct error *err);

/* env.c: what the CPUs ask for. */
void machine_cpu_env(struct tnm_machine *m, unsigned index, struct cpu_env *env);
bool machine_cpu_has_apic(const struct tnm_machine *m);

/* run.c */
void run_init(struct tnm_machine *m);
void run_restored(struct tnm_machine *m);      /* the state is another one: host times follow */
void run_shorten_slice(struct tnm_machine *m); /* end the running slice at this instruction */
uint64_t run_host_time(const struct tnm_machine *m); /* host clock: virtual time now */
void run_catch_up(struct tnm_machine *m); /* ... is the clock's, and what is due is done */
uint64_t machine_insns(const struct tnm_machine *m);

/* firmware.c */
bool read_file(const char *what, const char *path, size_t max, struct blob *out, struct error *err);
void blob_free(struct blob *b);
bool firmware_load(struct tnm_machine *m, struct error *err);
void firmware_map(struct tnm_machine *m);

/* linuxboot.c, multiboot.c. kernel_load reads the files, before the board is created;
 * kernel_install puts a kernel's pieces into fw_cfg afterwards. Both do nothing if there is no kernel. */
bool kernel_load(struct tnm_machine *m, struct error *err);
bool kernel_install(struct tnm_machine *m, struct error *err);
bool multiboot_is(const struct blob *kernel);
bool multiboot_setup(struct tnm_machine *m, struct error *err);
/* Adds a boot ROM to fw_cfg, its checksums filled in. */
bool kernel_add_rom(struct tnm_machine *m, const char *name, const uint8_t *rom, size_t size,
                    struct error *err);

#endif
