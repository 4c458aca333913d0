/* Firmware files: finding SeaBIOS and its VGA BIOS, reading them, and where they stand in memory.
 *
 * The system ROM ends at 4 GiB, where the CPU starts; its last 128 KiB show again below 1 MiB
 * through the host bridge (devices/i440fx.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "machine/machine_int.h"
#include "machine/snapshot.h"

#define BIOS_MAX     (16 * MIB)
#define VGA_BIOS_MAX (64 * KIB)

static const char *const directories[] = {
    "/usr/share/seabios",     "/usr/share/qemu",       "/usr/local/share/seabios",
    "/usr/local/share/qemu",  "/usr/share/qemu-kvm",   "/opt/homebrew/share/qemu",
    "/usr/share/seabios/bin", "/opt/local/share/qemu",
};

bool read_file(const char *what, const char *path, size_t max, struct blob *out, struct error *err)
{
    struct stat st;
    FILE *f = fopen(path, "rb");

    if (!f)
        return error_set(err, errno == ENOENT ? ERR_NOTFOUND : ERR_IO,
                         "%s %s cannot be opened (%s): check the name and the permissions", what,
                         path, strerror(errno));
    if (fstat(fileno(f), &st) || !S_ISREG(st.st_mode)) {
        fclose(f);
        return error_set(err, ERR_FORMAT, "%s %s is not a plain file: name a file", what, path);
    }
    if (st.st_size == 0 || (uint64_t)st.st_size > max) {
        fclose(f);
        return error_set(err, ERR_FORMAT, "%s %s has %lld bytes: it must have 1 to %llu", what,
                         path, (long long)st.st_size, (unsigned long long)max);
    }
    out->size = (size_t)st.st_size;
    out->data = malloc(out->size);
    if (!out->data) {
        fclose(f);
        return error_set(err, ERR_NOMEM, "%s %s does not fit into the host's memory", what, path);
    }
    size_t got = fread(out->data, 1, out->size, f);
    fclose(f);
    if (got == out->size)
        return true;
    blob_free(out);
    return error_set(err, ERR_IO, "%s %s could not be read to its end: check the disk", what, path);
}

void blob_free(struct blob *b)
{
    free(b->data);
    *b = (struct blob){0};
}

static bool load_named(const char *what, const char *given, const char *name, const char *option,
                       size_t max, struct blob *out, struct error *err)
{
    char path[256];

    if (given)
        return read_file(what, given, max, out, err);
    for (unsigned i = 0; i < ARRAY_LEN(directories); i++) {
        struct stat st;
        snprintf(path, sizeof(path), "%s/%s", directories[i], name);
        if (!stat(path, &st))
            return read_file(what, path, max, out, err);
    }
    return error_set(err, ERR_NOTFOUND,
                     "%s %s is not in the usual places: install the package seabios, or name a "
                     "file with %s",
                     what, name, option);
}

/* From the files, or from the snapshot that the machine is made from: firmware that was updated since
 * would not be what the guest runs. */
static bool load_both(struct tnm_machine *m, struct error *err)
{
    if (m->origin)
        return origin_blob(m->origin, "firmware", BIOS_MAX, &m->bios, err) &&
               origin_blob(m->origin, "vga_firmware", VGA_BIOS_MAX, &m->vga_bios, err);
    return load_named("system firmware", m->cfg.firmware, "bios-256k.bin", "--firmware", BIOS_MAX,
                      &m->bios, err) &&
           load_named("VGA firmware", m->cfg.vga_firmware, "vgabios-stdvga.bin", "--vga-firmware",
                      VGA_BIOS_MAX, &m->vga_bios, err);
}

bool firmware_load(struct tnm_machine *m, struct error *err)
{
    if (!load_both(m, err))
        return false;
    if (!m->bios.size || m->bios.size % (64 * KIB))
        return error_set(err, ERR_FORMAT,
                         "system firmware has %zu bytes, not a multiple of 64 KiB: the file is "
                         "damaged, or no PC firmware",
                         m->bios.size);
    if (m->vga_bios.size < 512 || ld16(m->vga_bios.data) != 0xaa55 ||
        m->vga_bios.data[2] * 512u > m->vga_bios.size)
        return error_set(err, ERR_FORMAT,
                         "VGA firmware is no option ROM, or cut short: name another file with "
                         "--vga-firmware");
    m->bios_ra = physmap_store_alloc(m->mem, m->bios.size);
    if (m->bios_ra == RA_NONE)
        return error_set(err, ERR_NOMEM, "no room for the system firmware");
    memcpy(physmap_host(m->mem, m->bios_ra), m->bios.data, m->bios.size);
    return true;
}

void firmware_map(struct tnm_machine *m)
{
    physmap_add_rom(m->mem, &m->bios_high, "bios", 4 * GIB - m->bios.size, m->bios.size, m->bios_ra,
                    1);
}
