/* Shared by the vga*.c files only: the state of the card and the calls between its parts.
 *
 *   vga.c         registers, ports, retrace timing, device class
 *   vga_mem.c     the data path between the CPU and the planes, the legacy window
 *   vga_dispi.c   Bochs VBE extension, PCI function
 *   vga_render.c  modes, graphics pictures
 *   vga_text.c    text pictures and the text as characters
 *
 * Video memory layout: byte 4 * w + p of the store range is plane p at plane offset w. Chain-4 and
 * linear modes then see consecutive bytes, and four planes are one 32-bit word.
 *
 * Invariants: every index into video memory is masked by vram_mask or word_mask; no register value
 * makes a picture larger than VGA_MAX_WIDTH x VGA_MAX_HEIGHT.
 */
#ifndef DEVICES_VGA_INTERNAL_H
#define DEVICES_VGA_INTERNAL_H

#include "devices/pci.h"
#include "devices/vga.h"
#include "mmu/physmap.h"

/* Sequencer. */
enum { SR_RESET, SR_CLOCKING, SR_MAP_MASK, SR_CHAR_MAP, SR_MEMORY_MODE, SR_COUNT = 8 };
/* Graphics controller. */
enum {
    GR_SET_RESET, GR_ENABLE_SET_RESET, GR_COMPARE, GR_ROTATE, GR_READ_MAP, GR_MODE, GR_MISC,
    GR_DONT_CARE, GR_BIT_MASK, GR_COUNT = 16,
};
/* CRT controller. */
enum {
    CR_H_TOTAL = 0x00, CR_H_DISPLAY_END = 0x01, CR_OVERFLOW = 0x07, CR_PRESET_ROW = 0x08,
    CR_MAX_SCAN = 0x09, CR_CURSOR_START = 0x0a, CR_CURSOR_END = 0x0b, CR_START_HIGH = 0x0c,
    CR_START_LOW = 0x0d, CR_CURSOR_HIGH = 0x0e, CR_CURSOR_LOW = 0x0f, CR_V_RETRACE_START = 0x10,
    CR_V_RETRACE_END = 0x11, CR_V_DISPLAY_END = 0x12, CR_OFFSET = 0x13, CR_UNDERLINE = 0x14,
    CR_V_TOTAL = 0x06, CR_MODE = 0x17, CR_LINE_COMPARE = 0x18, CR_LATCH = 0x22,
    CR_ATTR_STATE = 0x24, CR_COUNT = 0x19,
};
/* Attribute controller. */
enum { AR_MODE = 0x10, AR_OVERSCAN, AR_PLANE_ENABLE, AR_PANNING, AR_COLOR_SELECT, AR_COUNT };

/* Bochs VBE extension ("dispi"): QEMU docs/specs/standard-vga and Bochs vbe.h. */
enum {
    DISPI_ID, DISPI_XRES, DISPI_YRES, DISPI_BPP, DISPI_ENABLE, DISPI_BANK, DISPI_VIRT_WIDTH,
    DISPI_VIRT_HEIGHT, DISPI_X_OFFSET, DISPI_Y_OFFSET, DISPI_MEMORY_64K, DISPI_COUNT,
};
enum {
    DISPI_ENABLED = 0x01, DISPI_GETCAPS = 0x02, DISPI_8BIT_DAC = 0x20, DISPI_LFB = 0x40,
    DISPI_NOCLEAR = 0x80,
};

enum vga_kind {
    VGA_TEXT,
    VGA_PLANAR,  /* 16 colours, one bit a pixel from each plane */
    VGA_CGA,     /* two bits a pixel, interleaved */
    VGA_PACKED,  /* four bits a pixel: 256-colour shift without the attribute controller's pairing */
    VGA_256,     /* mode 13h, mode X */
    VGA_LINEAR,  /* dispi, 8 to 32 bits */
};

/* Everything that decides where pixels come from, besides memory and palette. Compared as bytes, so
 * it is always cleared first. */
struct vga_mode {
    uint32_t kind;         /* enum vga_kind */
    uint32_t blank;
    uint32_t width, height;
    uint32_t columns;      /* character clocks a line */
    uint32_t dots;         /* dots a character clock: 8 or 9 */
    uint32_t dot_scale;    /* 2 where the dot clock is halved */
    uint32_t row_height;   /* scan lines a row, before doubling */
    uint32_t scan_double;  /* 0 or 1 */
    uint32_t start;        /* CRTC counter, or byte address when linear */
    uint32_t pitch;        /* counter steps a row, or bytes a line when linear */
    uint32_t preset_row;
    uint32_t pan, split_pan; /* pixels */
    uint32_t line_compare;
    uint32_t addressing;   /* CR17, and CR14 bits 5 and 6 above it */
    uint32_t count_shift;  /* character clocks a counter step, as a power of two */
    uint32_t word_mask;    /* plane offsets wrap here */
    uint32_t bpp, big_endian;
    /* Text only. */
    uint32_t cursor_start, cursor_end, underline, char_map, attr_mode;
};

/* A run of scan lines that shows consecutive scans of one row. */
struct vga_segment {
    uint32_t y, count;
    uint32_t counter; /* CRTC counter of the row's first cell */
    uint32_t scan;    /* first scan of the row shown, before doubling */
    uint32_t half;    /* with scan doubling: 1 if the first line is a scan's second */
    uint32_t pan;
};

#define VGA_CELLS (VGA_MAX_WIDTH / 8 + 2)

/* What the last picture was drawn from. Host side: never saved. */
struct vga_display {
    uint32_t *pixels;
    uint32_t *scratch;   /* one line and a character more */
    uint32_t *cells;     /* text: what each cell last showed, VGA_CELLS a scan line */
    uint8_t *fonts;      /* the two fonts as last drawn, 8 KiB each */
    uint8_t *dirty;      /* a byte a video memory page, for one render */
    struct vga_mode mode;
    uint32_t palette[256];
    bool force;          /* draw everything at the next render */
    bool showing;        /* the last picture was not blank */
};

struct vga {
    struct device dev;
    struct vga_config cfg;

    uint8_t sr_index, sr[SR_COUNT];
    uint8_t gr_index, gr[GR_COUNT];
    uint8_t cr_index, cr[CR_COUNT];
    uint8_t ar_index, ar[AR_COUNT]; /* ar_index bit 5: palette address source */
    uint8_t ar_flip_flop;           /* 1: the next write of 3C0 is data */
    uint8_t misc, feature, enable;
    uint8_t dac_read_index, dac_write_index, dac_component, dac_state, dac_mask;
    uint8_t dac[256 * 3];
    uint8_t big_endian;
    uint32_t latch;
    uint64_t retrace_cleared; /* frame number when the vertical interrupt was last cleared */

    uint16_t dispi_index;
    uint16_t dispi[DISPI_COUNT];

    uint32_t vram_size, vram_mask, word_mask;
    uint64_t vram_ra, rom_ra;
    uint32_t rom_size;
    uint8_t *vram;
    struct phys_region window; /* A0000-BFFFF through the data path */
    struct phys_region direct; /* the same as plain memory, where the data path does nothing */
    bool ports_added;
    struct pci_device pci;
    bool pci_added;
    struct vga_display display;
};

/* vga.c */
uint8_t vga_port_read(struct vga *v, unsigned port);
void vga_port_write(struct vga *v, unsigned port, uint8_t value);
uint64_t vga_frame_number(struct vga *v);

/* vga_mem.c */
bool vga_mem_init(struct vga *v, struct error *err);
void vga_mem_fini(struct vga *v);
/* After any register that decides how the legacy window behaves has changed. */
void vga_mem_update(struct vga *v);
/* Before and after video memory is written through v->vram. */
void vga_mem_touch(struct vga *v, uint32_t addr, uint32_t size);
void vga_mem_written(struct vga *v, uint32_t addr, uint32_t size);

/* vga_dispi.c */
extern const struct io_ops vga_dispi_port_ops;
void vga_dispi_reset(struct vga *v);
bool vga_dispi_loaded(struct vga *v); /* false: no guest could have set what a file brought */
bool vga_pci_init(struct vga *v, struct error *err);
void vga_pci_fini(struct vga *v);
static inline bool vga_dispi_on(const struct vga *v)
{
    return v->dispi[DISPI_ENABLE] & DISPI_ENABLED;
}
/* Bytes of video memory from one line to the next. */
uint32_t vga_dispi_pitch(const struct vga *v);

/* vga_render.c */
bool vga_display_init(struct vga *v, struct error *err);
void vga_display_fini(struct vga *v);
void vga_mode_get(struct vga *v, struct vga_mode *m);
/* The segment that starts at scan line y (y below the mode's height). */
void vga_segment_get(const struct vga_mode *m, uint32_t y, struct vga_segment *s);
/* Plane offset that the CRTC fetches for a counter value and a scan of the row. */
uint32_t vga_crtc_word(const struct vga_mode *m, uint32_t counter, uint32_t scan);

/* vga_text.c: draws what changed into display.pixels; true if anything did. */
bool vga_text_draw(struct vga *v, const struct vga_mode *m, bool all);

#endif
