/* Direct boot of a multiboot kernel: Multiboot Specification 0.6.96.
 *
 * The ELF file's segments (or what the header's address fields say) become one image; the initrd,
 * if there is one, becomes the first module. The information structure with all strings is prepared
 * here; memory sizes and map are filled in by the option ROM (roms/multiboot.asm), which asks the
 * firmware.
 *
 * Known limits: no video mode setting (header flag 2 is ignored), no symbol table, one module.
 */
#include <stdlib.h>

#include "devices/fw_cfg.h"
#include "machine/machine_int.h"
#include "roms/boot_roms.h"

#define MB_MAGIC      0x1badb002
#define MB_SEARCH     8192
#define MB_REQUIRED   0xfff8 /* required features that we do not know */
#define MB_ADDRESSES  BIT(16)
#define IMAGE_MAX     (512 * MIB)
#define FIRMWARE_TOP  (1 * MIB)
#define LOW_FIRST     0x7c00u
#define MBI_AT        0x10000u
#define MBI_STRINGS   128u
#define MBI_MMAP_ROOM (64 * 24u)
#define MBI_MAX       0xf000u
#define BOOT_LOADER   "Tinamou"

enum { MBI_MEM = 1, MBI_CMDLINE = 4, MBI_MODS = 8, MBI_MMAP = 64, MBI_LOADER = 512 };

/* Offset of the header in the file, or -1. */
static long find_header(const struct blob *k)
{
    for (size_t at = 0; at + 12 <= MIN(k->size, (size_t)MB_SEARCH); at += 4) {
        const uint8_t *h = k->data + at;
        if (ld32(h) == MB_MAGIC && ld32(h) + ld32(h + 4) + ld32(h + 8) == 0)
            return (long)at;
    }
    return -1;
}

bool multiboot_is(const struct blob *kernel)
{
    return kernel->data && find_header(kernel) >= 0;
}

struct image {
    uint64_t lo, hi; /* physical */
    uint32_t entry;
    uint8_t *data;
};

/* Above 1 MiB, or in the conventional memory between the ROM's stack and the information structure. */
static bool range_ok(const struct tnm_machine *m, uint64_t at, uint64_t size)
{
    uint64_t end = m->ram_below_4g - MIN(m->ram_below_4g, FIRMWARE_TOP);
    if (at >= LOW_FIRST && at < MBI_AT)
        return size <= MBI_AT - at;
    return at >= MIB && at < end && size <= end - at;
}

/* Where segment n of the ELF file lies: 32- and 64-bit files differ only in field offsets. */
static bool elf_segment(const struct blob *k, unsigned n, uint64_t *offset, uint64_t *paddr,
                        uint64_t *filesz, uint64_t *memsz)
{
    bool is64 = k->data[4] == 2;
    uint64_t phoff = is64 ? ld64(k->data + 32) : ld32(k->data + 28);
    uint64_t entsize = ld16(k->data + (is64 ? 54 : 42));
    uint64_t at = phoff + n * entsize;

    *memsz = 0;
    if (phoff > k->size || entsize < (is64 ? 56u : 32u) || at + entsize > k->size)
        return false;
    const uint8_t *p = k->data + at;
    if (ld32(p) != 1) /* PT_LOAD */
        return true;
    *offset = is64 ? ld64(p + 8) : ld32(p + 4);
    *paddr = is64 ? ld64(p + 24) : ld32(p + 12);
    *filesz = is64 ? ld64(p + 32) : ld32(p + 16);
    *memsz = is64 ? ld64(p + 40) : ld32(p + 20);
    return *filesz <= *memsz && *offset <= k->size && *filesz <= k->size - *offset;
}

static bool load_elf(struct tnm_machine *m, struct image *img, struct error *err)
{
    const struct blob *k = &m->kernel;
    const char *path = m->cfg.kernel;
    bool is64 = k->size > 64 && k->data[4] == 2;
    uint64_t offset, paddr, filesz, memsz;

    if (k->size < 64 || ld32(k->data) != 0x464c457f || k->data[5] != 1)
        return error_set(err, ERR_FORMAT, "multiboot kernel %s is no little-endian ELF file", path);
    unsigned count = ld16(k->data + (is64 ? 56 : 44));
    img->lo = UINT64_MAX;
    for (unsigned n = 0; n < count; n++) {
        if (!elf_segment(k, n, &offset, &paddr, &filesz, &memsz))
            return error_set(err, ERR_FORMAT, "multiboot kernel %s is damaged or cut short", path);
        if (!memsz)
            continue;
        if (!range_ok(m, paddr, memsz))
            return error_set(err, ERR_INVALID,
                             "multiboot kernel %s wants memory at %llx, which is not there: give "
                             "more with --memory",
                             path, (unsigned long long)paddr);
        img->lo = MIN(img->lo, paddr);
        img->hi = MAX(img->hi, paddr + memsz);
    }
    if (img->lo >= img->hi || img->hi - img->lo > IMAGE_MAX)
        return error_set(err, ERR_FORMAT, "multiboot kernel %s has nothing to load", path);
    img->data = calloc(1, img->hi - img->lo);
    if (!img->data)
        return error_set(err, ERR_NOMEM, "no memory for kernel %s", path);
    for (unsigned n = 0; n < count; n++) {
        if (elf_segment(k, n, &offset, &paddr, &filesz, &memsz) && memsz)
            memcpy(img->data + (paddr - img->lo), k->data + offset, filesz);
    }
    img->entry = (uint32_t)(is64 ? ld64(k->data + 24) : ld32(k->data + 24));
    return true;
}

static bool load_addresses(struct tnm_machine *m, long header, struct image *img, struct error *err)
{
    const struct blob *k = &m->kernel;
    const uint8_t *h = k->data + header;

    if ((size_t)header + 32 > k->size)
        return error_set(err, ERR_FORMAT, "multiboot kernel %s is cut short", m->cfg.kernel);
    uint32_t header_addr = ld32(h + 12), load = ld32(h + 16), load_end = ld32(h + 20),
             bss_end = ld32(h + 24);
    uint64_t skip = (uint64_t)header - (header_addr - load);
    if (header_addr < load || skip >= k->size)
        return error_set(err, ERR_FORMAT, "multiboot kernel %s has a wrong header", m->cfg.kernel);
    uint64_t filesz = load_end ? load_end - load : k->size - skip;
    uint64_t memsz = bss_end ? MAX((uint64_t)bss_end - load, filesz) : filesz;
    if ((load_end && load_end < load) || filesz > k->size - skip || memsz > IMAGE_MAX ||
        !range_ok(m, load, memsz))
        return error_set(err, ERR_FORMAT,
                         "multiboot kernel %s is cut short, or wants more memory than there is",
                         m->cfg.kernel);
    img->lo = load;
    img->hi = load + memsz;
    img->entry = ld32(h + 28);
    img->data = calloc(1, memsz);
    if (!img->data)
        return error_set(err, ERR_NOMEM, "no memory for kernel %s", m->cfg.kernel);
    memcpy(img->data, k->data + skip, filesz);
    return true;
}

static uint32_t put_string(uint8_t *mbi, uint32_t *at, const char *a, const char *b)
{
    uint32_t start = *at;
    size_t alen = strlen(a), blen = b ? strlen(b) : 0;

    memcpy(mbi + *at, a, alen);
    *at += (uint32_t)alen;
    if (b) {
        mbi[(*at)++] = ' ';
        memcpy(mbi + *at, b, blen);
        *at += (uint32_t)blen;
    }
    mbi[(*at)++] = 0;
    return MBI_AT + start;
}

bool multiboot_setup(struct tnm_machine *m, struct error *err)
{
    long header = find_header(&m->kernel);
    uint32_t flags = ld32(m->kernel.data + header + 4), at = MBI_STRINGS;
    struct fw_cfg *fw = m->fw_cfg;
    struct image img = {0};
    uint8_t mbi[MBI_STRINGS + 16 + 4096 * 2 + MBI_MMAP_ROOM] = {0};
    bool ok;

    if (flags & MB_REQUIRED)
        return error_set(err, ERR_UNSUPPORTED,
                         "multiboot kernel %s requires features %x, which are not there",
                         m->cfg.kernel, flags & MB_REQUIRED);
    if (strlen(m->cfg.kernel) + (m->cfg.append ? strlen(m->cfg.append) : 0) +
            (m->cfg.initrd ? strlen(m->cfg.initrd) : 0) >
        4096)
        return error_set(err, ERR_INVALID, "the kernel's command line is longer than 4096 bytes");
    ok = flags & MB_ADDRESSES ? load_addresses(m, header, &img, err) : load_elf(m, &img, err);
    if (!ok)
        return false;
    m->kernel_image = (struct blob){img.data, img.hi - img.lo};

    uint64_t mod_at = align_up(img.hi, PAGE_SIZE);
    if (m->initrd.data && !range_ok(m, mod_at, m->initrd.size))
        return error_set(err, ERR_INVALID,
                         "kernel and initrd do not fit: give more memory with --memory");

    st32(mbi + 16, put_string(mbi, &at, m->cfg.kernel, m->cfg.append));
    st32(mbi + 64, put_string(mbi, &at, BOOT_LOADER, NULL));
    uint32_t info = MBI_MEM | MBI_CMDLINE | MBI_MMAP | MBI_LOADER;
    if (m->initrd.data) {
        uint32_t name = put_string(mbi, &at, m->cfg.initrd, NULL);
        at = (uint32_t)align_up(at, 16);
        info |= MBI_MODS;
        st32(mbi + 20, 1);
        st32(mbi + 24, MBI_AT + at);
        st32(mbi + at, (uint32_t)mod_at);
        st32(mbi + at + 4, (uint32_t)(mod_at + m->initrd.size));
        st32(mbi + at + 8, name);
        at += 16;
    }
    st32(mbi, info);
    at = (uint32_t)align_up(at, 16);
    st32(mbi + 48, MBI_AT + at);
    static_assert(sizeof(mbi) < MBI_MAX, "the ROM reaches it through one segment");

    ok = fw_cfg_add_u32(fw, FW_CFG_SETUP_ADDR, MBI_AT) &&
         fw_cfg_add_u32(fw, FW_CFG_SETUP_SIZE, at) && fw_cfg_add(fw, FW_CFG_SETUP_DATA, mbi, at) &&
         fw_cfg_add_u32(fw, FW_CFG_INITRD_ADDR, (uint32_t)mod_at) &&
         fw_cfg_add_u32(fw, FW_CFG_INITRD_SIZE, (uint32_t)m->initrd.size) &&
         (!m->initrd.data ||
          fw_cfg_add_ref(fw, FW_CFG_INITRD_DATA, m->initrd.data, m->initrd.size)) &&
         fw_cfg_add_u32(fw, FW_CFG_KERNEL_ADDR, (uint32_t)img.lo) &&
         fw_cfg_add_u32(fw, FW_CFG_KERNEL_SIZE, (uint32_t)m->kernel_image.size) &&
         fw_cfg_add_u32(fw, FW_CFG_KERNEL_ENTRY, img.entry) &&
         fw_cfg_add_ref(fw, FW_CFG_KERNEL_DATA, m->kernel_image.data, m->kernel_image.size);
    if (!ok)
        return error_set(err, ERR_NOMEM, "no memory to pass on the kernel");
    return kernel_add_rom(m, "genroms/multiboot.bin", rom_multiboot, rom_multiboot_size, err);
}
