/* Direct boot of a Linux kernel (bzImage or old zImage): The Linux/x86 Boot Protocol.
 *
 * The firmware starts as always; an option ROM (roms/linuxboot.asm) comes first in its boot order,
 * takes the pieces that are prepared here through the firmware configuration device, and enters the
 * kernel's setup code. So the memory map, video and tables are the firmware's, as from a disk.
 *
 * Memory: setup code 10000h, command line 20000h, kernel 100000h, initrd as high as the kernel
 * allows and the firmware's tables at the end of RAM leave. (zImage: setup 90000h, kernel 10000h.)
 */
#include <stdlib.h>

#include "devices/fw_cfg.h"
#include "machine/machine_int.h"
#include "machine/snapshot.h"
#include "roms/boot_roms.h"

#define KERNEL_MAX   (512 * MIB)
#define INITRD_MAX   (2 * GIB)
#define FIRMWARE_TOP (1 * MIB) /* SeaBIOS keeps its tables in the last few hundred KiB of low RAM */

/* Offsets in the setup header. */
enum {
    HDR_SETUP_SECTS = 0x1f1,
    HDR_SYSSIZE = 0x1f4,
    HDR_VID_MODE = 0x1fa,
    HDR_MAGIC = 0x202,
    HDR_VERSION = 0x206,
    HDR_LOADER = 0x210,
    HDR_LOADFLAGS = 0x211,
    HDR_RAMDISK = 0x218,
    HDR_RAMDISK_SIZE = 0x21c,
    HDR_HEAP_END = 0x224,
    HDR_CMDLINE = 0x228,
    HDR_INITRD_MAX = 0x22c,
    HDR_CMDLINE_SIZE = 0x238,
    HDR_INIT_SIZE = 0x260,
    HDR_END = 0x264,
};
#define MAGIC_HDRS        0x53726448 /* "HdrS" */
#define LOADED_HIGH       0x01
#define CAN_USE_HEAP      0x80
#define LOADER_UNDEFINED  0xff
#define OLD_CMDLINE_MAGIC 0xa33f

/* The value of "vga=" in the command line, which is the loader's to act on. */
static bool video_mode(const char *cmdline, uint16_t *mode)
{
    const char *at = strstr(cmdline, "vga=");
    char *end;

    if (!at || (at != cmdline && at[-1] != ' '))
        return false;
    at += 4;
    if (!strncmp(at, "normal", 6))
        *mode = 0xffff;
    else if (!strncmp(at, "ext", 3))
        *mode = 0xfffe;
    else if (!strncmp(at, "ask", 3))
        *mode = 0xfffd;
    else
        *mode = (uint16_t)strtoul(at, &end, 0);
    return true;
}

bool kernel_add_rom(struct tnm_machine *m, const char *name, const uint8_t *rom, size_t size,
                    struct error *err)
{
    uint8_t copy[4096], sum = 0;

    CHECK(size <= sizeof(copy) && size % 512 == 0);
    memcpy(copy, rom, size);
    uint8_t *pnp = copy + ld16(copy + 0x1a);
    for (unsigned i = 0; i < 32; i++)
        sum += pnp[i];
    pnp[9] = (uint8_t)-sum;
    sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += copy[i];
    copy[size - 1] = (uint8_t)(copy[size - 1] - sum);
    return fw_cfg_add_file(m->fw_cfg, name, copy, size) ||
           error_set(err, ERR_NOMEM, "no memory for the boot ROM");
}

static bool linux_setup(struct tnm_machine *m, struct error *err)
{
    const char *path = m->cfg.kernel, *cmdline = m->cfg.append ? m->cfg.append : "";
    struct fw_cfg *fw = m->fw_cfg;
    struct blob *k = &m->kernel;
    uint16_t version = 0, mode;

    if (k->size < 1024 || ld16(k->data + 0x1fe) != 0xaa55)
        return error_set(err, ERR_FORMAT,
                         "kernel %s is neither a Linux bzImage nor a multiboot ELF file", path);
    if (ld32(k->data + HDR_MAGIC) == MAGIC_HDRS)
        version = ld16(k->data + HDR_VERSION);
    unsigned sects = k->data[HDR_SETUP_SECTS] ? k->data[HDR_SETUP_SECTS] : 4;
    size_t setup_size = (sects + 1) * 512;
    if (setup_size >= k->size || setup_size < HDR_END)
        return error_set(err, ERR_FORMAT, "kernel %s is cut short: get the whole file", path);
    uint64_t syssize = version >= 0x204 ? ld32(k->data + HDR_SYSSIZE) : ld16(k->data + HDR_SYSSIZE);
    if (version >= 0x204 && setup_size + syssize * 16 > k->size + 15)
        return error_set(err, ERR_FORMAT, "kernel %s is cut short: it has %zu bytes of %llu", path,
                         k->size, (unsigned long long)(setup_size + syssize * 16));

    bool high = version >= 0x200 && (k->data[HDR_LOADFLAGS] & LOADED_HIGH);
    uint32_t setup_at = high ? 0x10000 : 0x90000, kernel_at = high ? 0x100000 : 0x10000;
    uint32_t cmdline_at = high ? 0x20000 : 0x99000;
    size_t cmdline_len = strlen(cmdline), cmdline_max = 255;
    if (version >= 0x206)
        cmdline_max = ld32(k->data + HDR_CMDLINE_SIZE);
    cmdline_max = MIN(cmdline_max, (size_t)(high ? 0x10000 : 0x1000) - 1);
    if (cmdline_len > cmdline_max)
        return error_set(err, ERR_INVALID,
                         "the kernel's command line has %zu bytes: this kernel takes %zu",
                         cmdline_len, cmdline_max);

    uint64_t kernel_len = k->size - setup_size, needed = kernel_len;
    if (version >= 0x20a)
        needed = MAX(needed, (uint64_t)ld32(k->data + HDR_INIT_SIZE));
    uint64_t kernel_end = kernel_at + needed;
    uint64_t ram_end = m->ram_below_4g - MIN(m->ram_below_4g, FIRMWARE_TOP), initrd_at = 0;
    uint64_t initrd_max = version >= 0x203 ? ld32(k->data + HDR_INITRD_MAX) : 0x37ffffff;
    if (m->initrd.data) {
        uint64_t end = MIN(initrd_max + 1, ram_end);
        initrd_at = m->initrd.size < end ? align_down(end - m->initrd.size, PAGE_SIZE) : 0;
        if (version < 0x200)
            return error_set(err, ERR_UNSUPPORTED, "kernel %s is too old for an initrd", path);
    }
    if ((high && kernel_end > ram_end) || (m->initrd.data && initrd_at < kernel_end))
        return error_set(
            err, ERR_INVALID, "kernel and initrd need %llu MiB of memory: give more with --memory",
            (unsigned long long)((kernel_end + m->initrd.size + FIRMWARE_TOP) / MIB + 1));

    uint8_t *h = k->data; /* ours: fill in what a loader fills in */
    if (version >= 0x200) {
        h[HDR_LOADER] = LOADER_UNDEFINED;
        if (version >= 0x201) {
            h[HDR_LOADFLAGS] |= CAN_USE_HEAP;
            st16(h + HDR_HEAP_END, (uint16_t)(cmdline_at - setup_at - 0x200 - 0x200));
        }
        st32(h + HDR_RAMDISK, (uint32_t)initrd_at);
        st32(h + HDR_RAMDISK_SIZE, (uint32_t)m->initrd.size);
    }
    if (version >= 0x202) {
        st32(h + HDR_CMDLINE, cmdline_at);
    } else {
        st16(h + 0x20, OLD_CMDLINE_MAGIC);
        st16(h + 0x22, (uint16_t)(cmdline_at - setup_at));
    }
    if (video_mode(cmdline, &mode))
        st16(h + HDR_VID_MODE, mode);

    bool ok =
        fw_cfg_add_u32(fw, FW_CFG_SETUP_ADDR, setup_at) &&
        fw_cfg_add_u32(fw, FW_CFG_SETUP_SIZE, (uint32_t)setup_size) &&
        fw_cfg_add_ref(fw, FW_CFG_SETUP_DATA, k->data, setup_size) &&
        fw_cfg_add_u32(fw, FW_CFG_CMDLINE_ADDR, cmdline_at) &&
        fw_cfg_add_u32(fw, FW_CFG_CMDLINE_SIZE, (uint32_t)cmdline_len + 1) &&
        fw_cfg_add_ref(fw, FW_CFG_CMDLINE_DATA, cmdline, cmdline_len + 1) &&
        fw_cfg_add_u32(fw, FW_CFG_KERNEL_ADDR, kernel_at) &&
        fw_cfg_add_u32(fw, FW_CFG_KERNEL_SIZE, (uint32_t)kernel_len) &&
        fw_cfg_add_ref(fw, FW_CFG_KERNEL_DATA, k->data + setup_size, kernel_len) &&
        fw_cfg_add_u32(fw, FW_CFG_INITRD_ADDR, (uint32_t)initrd_at) &&
        fw_cfg_add_u32(fw, FW_CFG_INITRD_SIZE, (uint32_t)m->initrd.size) &&
        (!m->initrd.data || fw_cfg_add_ref(fw, FW_CFG_INITRD_DATA, m->initrd.data, m->initrd.size));
    if (!ok)
        return error_set(err, ERR_NOMEM, "no memory to pass on the kernel");
    return kernel_add_rom(m, "genroms/linuxboot.bin", rom_linuxboot, rom_linuxboot_size, err);
}

bool kernel_load(struct tnm_machine *m, struct error *err)
{
    if (!m->cfg.kernel) {
        if (m->cfg.initrd || m->cfg.append)
            return error_set(err, ERR_INVALID,
                             "an initrd or a kernel command line without a kernel: add --kernel");
        return true;
    }
    if (m->origin)
        return origin_blob(m->origin, "kernel", KERNEL_MAX, &m->kernel, err) &&
               origin_blob(m->origin, "initrd", INITRD_MAX, &m->initrd, err);
    if (!read_file("kernel", m->cfg.kernel, KERNEL_MAX, &m->kernel, err) ||
        (m->cfg.initrd && !read_file("initrd", m->cfg.initrd, INITRD_MAX, &m->initrd, err)))
        return false;
    return true;
}

bool kernel_install(struct tnm_machine *m, struct error *err)
{
    if (!m->kernel.data)
        return true;
    return multiboot_is(&m->kernel) ? multiboot_setup(m, err) : linux_setup(m, err);
}
