/* The machine: implementation of the public header, over the parts of this folder.
 *
 *     tnm_create   copies and checks the configuration, gets memory, loads firmware and kernel,
 *                  makes the CPUs, then the board (board.c), then resets everything
 *     tnm_run      run.c
 *     the rest     small: input goes to the devices, the screen comes from the VGA, statistics are
 *                  summed up
 *
 * A machine owns everything it uses; nothing is shared between machines. On failure tnm_create
 * destroys what there is, so every part's destructor copes with what its constructor had not done.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "base/hostatomic.h"
#include "base/hostmem.h"
#include "devices/fw_cfg.h"
#include "devices/acpi_pm.h"
#include "devices/fdc.h"
#include "devices/ide.h"
#include "devices/kbc.h"
#include "devices/uart.h"
#include "devices/vga.h"
#include "cpu/jit/jit.h"
#include "machine/disks.h"
#include "machine/threads.h"

#define MEMORY_MIN    (1 * MIB)
#define MEMORY_MAX    (1ull << (PHYS_ADDR_BITS - 1))
#define STORE_EXTRA   (64 * MIB) /* firmware, video memory and option ROMs */
#define LOW_RAM_LIMIT 0xe0000000ull
#define LOW_RAM_SPLIT 0xc0000000ull
#define RTC_2026      1767225600ll /* 2026-01-01 00:00:00 UTC */
#define RANDOM_SEED   0x7467616d6f75ull

_Static_assert((int)TNM_ERR_EXISTS == (int)ERR_EXISTS, "one list of codes");

/* ---- state ----------------------------------------------------------------------------------- */

static const struct vm_field wires_fields[] = {
    VM_INTS(struct wires, isa, uint32_t), VM_INTS(struct wires, gsi, uint32_t),
    VM_INT(struct wires, pit_level),      VM_INT(struct wires, rtc_level),
    VM_INT(struct wires, hpet_legacy),    VM_END,
};
static const struct vmstate vm_wires = VMSTATE("wires", struct wires, wires_fields);

/* The struct itself is mostly wiring; what a guest can see of it is the first part. */
#define MACHINE(m) VM_INT(struct tnm_machine, m)
#define CONFIG(m)  VM_SKIP(struct tnm_machine, m, "follows from the configuration")
#define PART(m)    VM_SKIP(struct tnm_machine, m, "has its own state")
#define HOST(m)    VM_SKIP(struct tnm_machine, m, "the host's side of the run")
static const struct vm_field machine_fields[] = {
    VM_STRUCT(struct tnm_machine, clock, &vm_clock),
    VM_STRUCT(struct tnm_machine, wires, &vm_wires),
    MACHINE(current),
    MACHINE(quantum_left),
    MACHINE(turns),
    MACHINE(random),
    MACHINE(want_reset),
    MACHINE(want_poweroff),
    MACHINE(want_exit),
    MACHINE(reset_kind),
    MACHINE(exit_status),

    CONFIG(cfg),
    CONFIG(cfg_strings),
    CONFIG(ncfg_strings),
    CONFIG(board),
    CONFIG(ram_below_4g),
    CONFIG(ram_above_4g),
    CONFIG(ram_low),
    CONFIG(ram_high),
    CONFIG(bios_high),
    CONFIG(bios_ra),
    CONFIG(vcpu),
    CONFIG(ncpus),
    CONFIG(ndevices),
    CONFIG(isa_sources),
    CONFIG(wires_pit_n),
    CONFIG(wires_rtc_n),
    CONFIG(cd_channel),
    CONFIG(cd_unit),
    VM_SKIP(struct tnm_machine, bios, "the store has what the guest sees of it"),
    VM_SKIP(struct tnm_machine, vga_bios, "the VGA's memory has what the guest sees of it"),
    VM_SKIP(struct tnm_machine, kernel, "fw_cfg has what the guest sees of it"),
    VM_SKIP(struct tnm_machine, initrd, "fw_cfg has what the guest sees of it"),
    VM_SKIP(struct tnm_machine, kernel_image, "made from the kernel"),
    VM_SKIP(struct tnm_machine, fw_items,
            "a copy of what fw_cfg has; snapshots have it as contents"),
    VM_SKIP(struct tnm_machine, wallclock, "read once, at power-on; the CMOS clock keeps it"),

    PART(ports),
    PART(mem),
    PART(cpu),
    PART(dev),
    PART(pic),
    PART(pit),
    PART(cmos),
    PART(kbc),
    PART(fdc),
    PART(dma),
    PART(uart),
    PART(fw_cfg),
    PART(apic_bus),
    PART(lapic),
    PART(ioapic),
    PART(host_bridge),
    PART(piix3),
    PART(acpi_pm),
    PART(ide),
    PART(vga),
    PART(hpet),
    PART(vmgenid),
    PART(disk),
    PART(cdrom),
    PART(floppy),

    HOST(origin),
    HOST(save),
    HOST(lazy),
    HOST(disks),
    HOST(saved_path),
    HOST(screen_changed),
    HOST(log),
    HOST(initialized),
    HOST(host_base),
    HOST(host_left),
    HOST(rate),
    HOST(limit_ns),
    HOST(limit_insns),
    HOST(next_hash),
    HOST(host_ns),
    HOST(idle_ns),
    HOST(wake),
    HOST(threads),
    HOST(stop),
    VM_SKIP(struct tnm_machine, in_slice, "false whenever state is looked at"),
    VM_SKIP(struct tnm_machine, slice_ns, "of the running slice"),
    VM_SKIP(struct tnm_machine, slice_retired, "of the running slice"),
    VM_END,
};
const struct vmstate vm_machine = VMSTATE("machine", struct tnm_machine, machine_fields);

uint64_t tnm_state_hash(tnm_machine *m)
{
    uint64_t h = vmstate_hash(&vm_machine, m, 0), ram = m->ram_below_4g + m->ram_above_4g;

    machine_bring_all_in(m);
    for (unsigned i = 0; i < m->ncpus; i++)
        h = vmstate_hash(&vm_cpu, m->cpu[i], h);
    for (unsigned i = 0; i < m->ndevices; i++) {
        if (m->dev[i] && m->dev[i]->cls->vmstate)
            h = vmstate_hash(m->dev[i]->cls->vmstate, m->dev[i], h);
    }
    return hash64(physmap_host(m->mem, 0), (size_t)ram, h);
}

/* ---- configuration --------------------------------------------------------------------------- */

void tnm_config_init(tnm_config *cfg)
{
    memset(cfg, 0, sizeof(*cfg));
    cfg->memory = 512 * MIB;
    cfg->cpus = 1;
    cfg->cpu_model = "max";
    cfg->clock = TNM_CLOCK_HOST;
    cfg->code_cache = 128 * MIB;
    cfg->debug_exit_port = -1;
    cfg->rtc_base = -1;
}

static bool keep_string(struct tnm_machine *m, const char **s)
{
    if (!*s)
        return true;
    char *copy = strdup(*s);
    if (!copy)
        return false;
    CHECK(m->ncfg_strings < ARRAY_LEN(m->cfg_strings));
    m->cfg_strings[m->ncfg_strings++] = copy;
    *s = copy;
    return true;
}

static bool copy_config(struct tnm_machine *m, const tnm_config *cfg, struct error *err)
{
    tnm_config *c = &m->cfg;
    bool ok = true;

    *c = *cfg;
    if (c->ndisks > TNM_MAX_DISKS || c->nserials > TNM_MAX_SERIALS)
        return error_set(err, ERR_INVALID, "more than %d disks or %d serial ports", TNM_MAX_DISKS,
                         TNM_MAX_SERIALS);
    for (unsigned i = 0; i < c->ndisks; i++)
        ok = ok && keep_string(m, &c->disks[i].path) && keep_string(m, &c->disks[i].format);
    const char **strings[] = {&c->cpu_model, &c->cdrom,  &c->floppy,   &c->boot,         &c->kernel,
                              &c->initrd,    &c->append, &c->firmware, &c->vga_firmware, &c->log};
    for (unsigned i = 0; i < ARRAY_LEN(strings); i++)
        ok = ok && keep_string(m, strings[i]);
    return ok || error_set(err, ERR_NOMEM, "the host is out of memory");
}

static bool check_config(const tnm_config *c, struct error *err)
{
    uint64_t host = hostmem_physical();

    if (c->memory < MEMORY_MIN || c->memory > MEMORY_MAX || c->memory % MIB)
        return error_set(err, ERR_INVALID,
                         "a machine cannot have %llu bytes of memory: give whole MiB, from 1 MiB "
                         "to %llu GiB",
                         (unsigned long long)c->memory, (unsigned long long)(MEMORY_MAX / GIB));
    if (host && c->memory > host)
        return error_set(err, ERR_NOMEM,
                         "the machine is to have %llu MiB of memory, but the host has %llu MiB: "
                         "choose a smaller --memory",
                         (unsigned long long)(c->memory / MIB), (unsigned long long)(host / MIB));
    if (c->cpus < 1 || c->cpus > TNM_MAX_CPUS)
        return error_set(err, ERR_INVALID, "%u CPUs: give 1 to %d", c->cpus, TNM_MAX_CPUS);
    if (!c->cpu_model) /* snapshots that are not ours may lack anything */
        return error_set(err, ERR_INVALID, "the machine names no CPU model: give one, as max");
    for (unsigned i = 0; i < c->ndisks; i++) {
        if (!c->disks[i].path)
            return error_set(err, ERR_INVALID, "disk %u names no file: give one", i);
    }
    if (c->debug_exit_port < -1 || c->debug_exit_port > 0xffff)
        return error_set(err, ERR_INVALID, "debug-exit port %d is no port: give 0 to 0xffff",
                         c->debug_exit_port);
    if (c->state_hash_every && c->clock != TNM_CLOCK_INSN)
        return error_set(err, ERR_INVALID,
                         "state hashes need a repeatable run: use the instruction clock");
    if (c->boot && (!*c->boot || c->boot[strspn(c->boot, "acdn")]))
        return error_set(err, ERR_INVALID, "boot order \"%s\": use the letters a, c, d and n",
                         c->boot);
    return true;
}

static void log_sink(void *opaque, enum log_subsystem subsystem, const char *line)
{
    struct tnm_machine *m = opaque;

    if (!m->cfg.log_line)
        return;
    threads_log(m->threads, true);
    m->cfg.log_line(m->cfg.opaque, log_subsystem_name(subsystem), line);
    threads_log(m->threads, false);
}

const char *tnm_cpu_model_name(unsigned n)
{
    return cpu_model_name(n);
}

const char *tnm_log_subsystem_name(unsigned n)
{
    return log_subsystem_name(n);
}

/* ---- creation -------------------------------------------------------------------------------- */

static void view_changed(void *opaque)
{
    struct tnm_machine *m = opaque;
    for (unsigned i = 0; i < m->ncpus; i++)
        cpu_view_changed(m->cpu[i]);
}

/* While CPUs run on threads this is the display alone (code has its own way, cpu/block.c), which takes
 * such a page for written: that others drop their tags before their next block will do. */
static void flags_set(void *opaque, uint64_t ra, uint64_t size)
{
    struct tnm_machine *m = opaque;
    bool active = threads_active(m);

    for (unsigned i = 0; i < m->ncpus; i++) {
        if (active && !threads_is_self(m, i))
            cpu_interrupt(m->cpu[i], CPU_FLUSH);
        else
            mmu_protect_ra(&m->cpu[i]->mmu, ra, size);
    }
    if (!active)
        physmap_tlb_forget(m->mem, ~0u, ra, size);
}

static void code_written(void *opaque, uint64_t ra, unsigned size)
{
    struct tnm_machine *m = opaque;
    unsigned cpus = physmap_code_cpus(m->mem, ra, size);

    for (unsigned i = 0; i < m->ncpus; i++) {
        if (cpus >> i & 1)
            threads_code_written(m, i, ra, size);
    }
}

/* RAM as PCs with this chipset have it in emulators: below 3.5 GiB all in one piece; with more,
 * 3 GiB low and the rest above 4 GiB, which leaves a hole for PCI. */
static bool create_memory(struct tnm_machine *m, struct error *err)
{
    uint64_t size = m->cfg.memory;

    m->ram_below_4g = size < LOW_RAM_LIMIT ? size : LOW_RAM_SPLIT;
    m->ram_above_4g = size - m->ram_below_4g;
    m->mem = physmap_new(size + STORE_EXTRA, &m->log, err);
    if (!m->mem)
        return false;
    if (!physmap_set_cpus(m->mem, m->cfg.cpus, m->threads))
        return error_set(err, ERR_NOMEM, "the host is out of memory");
    physmap_set_listener(m->mem,
                         &(struct physmap_listener){m, view_changed, flags_set, code_written});
    uint64_t ra = physmap_store_alloc(m->mem, size);
    physmap_add_ram(m->mem, &m->ram_low, "ram", 0, m->ram_below_4g, ra, 0);
    if (m->ram_above_4g)
        physmap_add_ram(m->mem, &m->ram_high, "ram", 4 * GIB, m->ram_above_4g, ra + m->ram_below_4g,
                        0);
    return true;
}

static bool create_cpus(struct tnm_machine *m, struct error *err)
{
    for (unsigned i = 0; i < m->cfg.cpus; i++) {
        struct cpu_env env;
        machine_cpu_env(m, i, &env);
        m->cpu[i] = cpu_new(m->cfg.cpu_model, i, m->cfg.cpus, &env, err);
        if (!m->cpu[i])
            return false;
        m->ncpus = i + 1;
        size_t code = MAX((size_t)(m->cfg.code_cache / m->cfg.cpus), CODE_CACHE_MIN);
        if (m->cfg.engine == TNM_ENGINE_INTERP ||
            !cpu_use_translator(m->cpu[i], code, m->cfg.engine == TNM_ENGINE_JIT))
            cpu_set_code_cache(m->cpu[i], code);
        if (m->cpu[i]->tr.jit)
            jit_count_accesses(m->cpu[i]->tr.jit, m->cfg.count_accesses);
    }
    if (m->ncpus > 1 && !machine_cpu_has_apic(m))
        return error_set(err, ERR_INVALID,
                         "CPU model %s has no local APIC: it cannot be one of several CPUs",
                         m->cfg.cpu_model);
    return true;
}

static void set_date(struct tnm_machine *m)
{
    bool host = m->cfg.clock == TNM_CLOCK_HOST;

    m->wallclock = m->cfg.rtc_base >= 0 ? m->cfg.rtc_base : host ? host_wallclock_sec() : RTC_2026;
    m->random = RANDOM_SEED;
    if (host)
        m->random ^= host_now_ns() << 1 | 1;
}

/* A guest counts on the order in which x86 processors see each other's stores. */
static bool want_threads(const tnm_config *c)
{
    return HOST_IS_TSO && c->clock == TNM_CLOCK_HOST && c->cpus > 1 && !c->cpu_turns;
}

static bool create(struct tnm_machine *m, const tnm_config *cfg, struct error *err)
{
    const char *bad;

    if (!copy_config(m, cfg, err) || !check_config(&m->cfg, err))
        return false;
    m->log.sink = log_sink;
    m->log.opaque = m;
    if (m->cfg.log && !log_enable(&m->log, m->cfg.log, &bad))
        return error_set(err, ERR_INVALID, "no log subsystem is called \"%.*s\"",
                         (int)strcspn(bad, ","), bad);
    m->wake = host_wake_new();
    m->ports = portmap_new(&m->log);
    m->disks = calloc(1, sizeof(*m->disks));
    if (want_threads(&m->cfg) && !(m->threads = threads_new(m)))
        return error_set(err, ERR_NOMEM, "the host is out of memory");
    if (!m->wake || !m->ports || !m->disks)
        return error_set(err, ERR_NOMEM, "the host is out of memory");
    clock_init(&m->clock);
    set_date(m);
    if (!create_memory(m, err) || !firmware_load(m, err) || !kernel_load(m, err) ||
        !create_cpus(m, err))
        return false;
    firmware_map(m);
    if (!board_create(m, err) || !kernel_install(m, err))
        return false;
    if (!fw_cfg_write(m->fw_cfg, &m->fw_items.data, &m->fw_items.size))
        return error_set(err, ERR_NOMEM, "the host is out of memory");
    run_init(m);
    board_reset(m, RESET_POWER_ON);
    return true;
}

struct tnm_machine *machine_new(const tnm_config *cfg, struct snap_file *origin, struct error *err)
{
    struct tnm_machine *m = calloc(1, sizeof(*m));
    bool ok = false;

    if (m) {
        m->origin = origin;
        ok = create(m, cfg, err);
        m->origin = NULL;
    } else {
        error_set(err, ERR_NOMEM, "the host is out of memory");
    }
    if (ok)
        return m;
    tnm_destroy(m);
    return NULL;
}

tnm_machine *tnm_create(const tnm_config *cfg, tnm_error *err)
{
    struct error e = {0};
    struct tnm_machine *m = machine_new(cfg, NULL, &e);

    if (!m)
        give_error(&e, err);
    return m;
}

void tnm_destroy(tnm_machine *m)
{
    if (!m)
        return;
    threads_free(m->threads);
    m->threads = NULL;
    tnm_save_cancel(m);
    lazy_end(m->lazy);
    if (m->disks) {
        disks_settle(m);
        disks_free(m);
    }
    board_destroy(m);
    for (unsigned i = 0; i < m->ncpus; i++)
        cpu_free(m->cpu[i]);
    if (m->mem)
        physmap_free(m->mem);
    portmap_free(m->ports);
    host_wake_free(m->wake);
    blob_free(&m->bios);
    blob_free(&m->vga_bios);
    blob_free(&m->kernel);
    blob_free(&m->initrd);
    blob_free(&m->kernel_image);
    blob_free(&m->fw_items);
    for (unsigned i = 0; i < m->ncfg_strings; i++)
        free(m->cfg_strings[i]);
    free(m->saved_path);
    free(m->disks);
    free(m);
}

/* ---- control and inspection ------------------------------------------------------------------ */

int tnm_exit_status(const tnm_machine *m)
{
    return m->exit_status;
}

void tnm_reset(tnm_machine *m)
{
    m->want_poweroff = m->want_exit = false;
    m->board.request_reset(m, RESET_HARD, "reset button");
}

void tnm_power_button(tnm_machine *m)
{
    acpi_pm_power_button(m->acpi_pm);
}

uint64_t tnm_time_ns(const tnm_machine *m)
{
    return m->clock.now;
}

uint64_t tnm_insns(const tnm_machine *m)
{
    return machine_insns(m);
}

/* ---- input and screen ------------------------------------------------------------------------ */

void tnm_key(tnm_machine *m, unsigned scancode, bool down)
{
    kbc_key(m->kbc, scancode, down);
}

void tnm_mouse(tnm_machine *m, int dx, int dy, int dz, unsigned buttons)
{
    kbc_mouse(m->kbc, dx, dy, dz, buttons);
}

size_t tnm_serial_input(tnm_machine *m, unsigned port, const void *data, size_t len)
{
    if (port >= UARTS || !m->uart[port])
        return 0;
    return uart_receive(m->uart[port], data, len);
}

void tnm_get_screen(tnm_machine *m, tnm_screen *out)
{
    struct vga_frame f;

    vga_render(m->vga, &f);
    *out = (tnm_screen){f.pixels, f.width, f.height, f.changed || m->screen_changed, f.blank};
    m->screen_changed = false;
}

size_t tnm_get_text(tnm_machine *m, char *buf, size_t size)
{
    return vga_text(m->vga, buf, size);
}

/* ---- removable media ------------------------------------------------------------------------- */

bool tnm_change_cdrom(tnm_machine *m, const char *path, tnm_error *err)
{
    struct block_dev *b = NULL, *old = m->cdrom;
    struct error e;

    if (path && !(b = board_open_cdrom(path, &e)))
        return give_error(&e, err);
    ide_set_cdrom(m->ide, m->cd_channel, m->cd_unit, b);
    m->cdrom = b;
    if (old)
        block_close(old);
    return true;
}

bool tnm_change_floppy(tnm_machine *m, const char *path, tnm_error *err)
{
    struct block_dev *b = NULL, *old = m->floppy;
    struct error e;

    if (path && !(b = board_open_floppy(path, &e)))
        return give_error(&e, err);
    disks_floppy_leaves(m);
    if (!fdc_set_media(m->fdc, 0, b)) {
        if (b)
            block_close(b);
        error_set(&e, ERR_INVALID, "the floppy drive cannot take %s", path ? path : "this");
        return give_error(&e, err);
    }
    m->floppy = b;
    if (old)
        block_close(old);
    return true;
}
