/* VGA with the Bochs/QEMU "standard VGA" PCI function: what a board and a display need of it.
 *
 * The board allocates vga_class.size bytes, calls vga_configure, then init and reset as for any
 * device. The picture is never pushed: whoever shows it calls vga_render as often as it likes, and
 * only what changed since the last call is drawn again. Calls belong on the thread that runs the
 * machine, between slices.
 */
#ifndef DEVICES_VGA_H
#define DEVICES_VGA_H

#include "devices/bus.h"

struct pci_bus; /* devices/pci.h */
struct vga;

/* Longest side lengths that any mode can reach. */
#define VGA_MAX_WIDTH  2560
#define VGA_MAX_HEIGHT 1600

struct vga_config {
    uint32_t vram_size;  /* bytes, a power of two from 256 KiB to 256 MiB; 0: 16 MiB */
    struct pci_bus *pci; /* NULL: an ISA card without the linear frame buffer's BARs */
    int devfn;           /* PCI slot * 8 + function */
    const void *rom;     /* the video BIOS for the ROM BAR, copied at init; NULL: none */
    uint32_t rom_size;
};

extern const struct device_class vga_class;

/* Before init. *cfg is copied. */
void vga_configure(struct vga *v, const struct vga_config *cfg);

struct vga_frame {
    const uint32_t *pixels; /* 0x00RRGGBB, row by row without gaps; valid until the next render */
    unsigned width, height;
    bool changed; /* since the last render */
    bool blank;   /* the guest has switched the display off: all pixels are black */
};
void vga_render(struct vga *v, struct vga_frame *out);

/* The text screen as UTF-8, trailing blanks of a line dropped, every line ended by '\n',
 * NUL-terminated. Returns the length; 0 in graphics modes or when size is 0. Independent of
 * vga_render. */
size_t vga_text(struct vga *v, char *buf, size_t size);

/* Store offset and size of the video memory, for tests and snapshots. */
uint64_t vga_vram_ra(const struct vga *v);
uint32_t vga_vram_size(const struct vga *v);

#endif
