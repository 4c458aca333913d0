/* Kernels that are none: Linux bzImages, multiboot ELF files of both classes and multiboot files
 * with address fields, with any of their fields wrong or the end missing, and odd initrds, command
 * lines and memory sizes. Each is given to a new machine. What is refused must be refused with a
 * sentence; what is taken is read back through the firmware configuration device, as the boot ROM
 * does it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "machine/machine_int.h"
#include "tests/fuzz/fuzz.h"

#define KERNEL_MAX 65536

static char bios[128], vga_bios[128], kernel[128], initrd[128];

static size_t make_linux(struct fuzz *f, uint8_t *k)
{
    unsigned sects = 1 + fuzz_below(f, 8), version = 0x200 + fuzz_below(f, 16);
    size_t body = fuzz_below(f, 20000), setup = (sects + 1) * 512;

    k[0x1f1] = (uint8_t)sects;
    st32(k + 0x1f4, (uint32_t)(body / 16));
    st16(k + 0x1fe, 0xaa55);
    st32(k + 0x202, 0x53726448);
    st16(k + 0x206, (uint16_t)version);
    k[0x211] = fuzz_one_in(f, 4) ? 0 : 1;
    st32(k + 0x22c, 0x7fffffff);
    st32(k + 0x238, 255);
    st32(k + 0x260, (uint32_t)body);
    return setup + body;
}

static size_t make_multiboot(struct fuzz *f, uint8_t *k)
{
    bool elf = fuzz_one_in(f, 2), wide = fuzz_one_in(f, 2);
    size_t header = elf ? 512 : fuzz_below(f, 100) * 4, size = 600 + fuzz_below(f, 20000);
    uint32_t flags = (elf ? 0 : BIT(16)) | fuzz_below(f, 4);

    st32(k + header, 0x1badb002);
    st32(k + header + 4, flags);
    st32(k + header + 8, -(0x1badb002 + flags));
    if (!elf) {
        st32(k + header + 12, (uint32_t)(MIB + header));
        st32(k + header + 16, MIB);
        st32(k + header + 20, fuzz_one_in(f, 2) ? 0 : (uint32_t)(MIB + size));
        st32(k + header + 24, fuzz_one_in(f, 2) ? 0 : (uint32_t)(MIB + size + 5000));
        st32(k + header + 28, MIB);
        return size;
    }
    memcpy(k, "\x7f" "ELF", 4);
    k[4] = wide ? 2 : 1;
    k[5] = 1;
    unsigned n = 1 + fuzz_below(f, 3), entsize = wide ? 56 : 32, at = 64;
    if (wide) {
        st64(k + 24, MIB);
        st64(k + 32, at);
        st16(k + 54, (uint16_t)entsize);
        st16(k + 56, (uint16_t)n);
    } else {
        st32(k + 24, MIB);
        st32(k + 28, at);
        st16(k + 42, (uint16_t)entsize);
        st16(k + 44, (uint16_t)n);
    }
    for (unsigned i = 0; i < n; i++, at += entsize) {
        uint64_t fields[] = {fuzz_below(f, 500), MIB + i * 8192, fuzz_below(f, 4000),
                             4000 + fuzz_below(f, 4000)}; /* offset, address, in file, in memory */
        st32(k + at, 1);
        if (wide) {
            st64(k + at + 8, fields[0]);
            st64(k + at + 24, fields[1]);
            st64(k + at + 32, fields[2]);
            st64(k + at + 40, fields[3]);
        } else {
            st32(k + at + 4, (uint32_t)fields[0]);
            st32(k + at + 12, (uint32_t)fields[1]);
            st32(k + at + 16, (uint32_t)fields[2]);
            st32(k + at + 20, (uint32_t)fields[3]);
        }
    }
    return size;
}

static size_t make_kernel(struct fuzz *f, uint8_t *k)
{
    bool is_linux = fuzz_one_in(f, 2);
    size_t size;

    memset(k, 0, KERNEL_MAX);
    size = is_linux ? make_linux(f, k) : make_multiboot(f, k);
    for (unsigned n = fuzz_below(f, 4); n; n--) {
        unsigned width = 1u << fuzz_below(f, 4);
        size_t at = is_linux ? 0x1f0 + fuzz_below(f, 0x80) : fuzz_below(f, 700);
        st_sized(k + (at & ~(size_t)(width - 1)), fuzz_number(f), width);
    }
    return fuzz_one_in(f, 4) ? fuzz_below(f, (unsigned)size) : size;
}

/* Every item by DMA, as far as it goes and beyond. */
static void read_items(tnm_machine *m)
{
    for (unsigned key = 0; key < 0x60; key++) {
        physmap_write(m->mem, 0x1000, __builtin_bswap32(key << 16 | 8 | 2), 4);
        physmap_write(m->mem, 0x1004, __builtin_bswap32(512 * 1024), 4);
        physmap_write(m->mem, 0x1008, __builtin_bswap64(0x8000), 8);
        portmap_write(m->ports, 0x514, 0, 4);
        portmap_write(m->ports, 0x518, __builtin_bswap32(0x1000), 4);
    }
}

static void run(struct fuzz *f)
{
    static const uint64_t sizes[] = {1 * MIB, 2 * MIB, 4 * MIB, 64 * MIB, 3 * GIB + 600 * MIB};
    static const char *const videos[] = {"vga=ask x", "vga=0x317", "vga=", "vga=ext"};
    static uint8_t data[KERNEL_MAX];
    char text[5000];
    tnm_config cfg;

    while (fuzz_more(f)) {
        tnm_error err = {.text = ""};
        tnm_config_init(&cfg);
        cfg.memory = FUZZ_PICK(f, sizes);
        cfg.clock = TNM_CLOCK_INSN;
        cfg.firmware = bios;
        cfg.vga_firmware = vga_bios;
        cfg.kernel = kernel;
        size_t size = make_kernel(f, data);
        fuzz_write_file(kernel, data, size);
        if (fuzz_one_in(f, 2)) {
            fuzz_write_file(initrd, data, fuzz_below(f, KERNEL_MAX));
            cfg.initrd = initrd;
        }
        if (fuzz_one_in(f, 2)) {
            size_t len = fuzz_one_in(f, 4) ? fuzz_below(f, sizeof(text)) : fuzz_below(f, 40);
            memset(text, 'x', len);
            text[len] = 0;
            const char *video = FUZZ_PICK(f, videos);
            if (len > 10)
                memcpy(text, video, strlen(video));
            cfg.append = text;
        }
        tnm_machine *m = tnm_create(&cfg, &err);
        FUZZ_ASSERT(m || strchr(err.text, ':') || strchr(err.text, ' '), "refused without a word");
        if (m)
            read_items(m);
        tnm_destroy(m);
    }
}

static void init(const char *dir)
{
    static uint8_t rom[65536] = {0x55, 0xaa, 8};

    snprintf(bios, sizeof(bios), "%s/bios", dir);
    snprintf(vga_bios, sizeof(vga_bios), "%s/vgabios", dir);
    snprintf(kernel, sizeof(kernel), "%s/kernel", dir);
    snprintf(initrd, sizeof(initrd), "%s/initrd", dir);
    fuzz_write_file(bios, rom, sizeof(rom));
    fuzz_write_file(vga_bios, rom, 4096);
}

const struct fuzz_target fuzz_target = {
    .name = "fuzz_loader", .cases = 60, .steps = 16, .init = init, .run = run};
