/* VGA: from registers and video memory to pixels.
 *
 * vga_mode_get reduces the registers to a struct vga_mode. While that and the palette stay as they
 * were, only lines whose memory pages were written are drawn again; otherwise all are. Pictures
 * have the dots the monitor would get: mode 13h is 640x400, with each pixel drawn twice both ways.
 *
 * vga_segment_get is the CRTC's address generator in closed form: which row and which scan of it a
 * line of the picture shows, with preset row scan, split screen and doubled scans (FreeVGA, "CRT
 * controller registers"; IBM PS/2 Video Subsystem).
 */
#include "base/hostmem.h"
#include "devices/vga_internal.h"

#define SCRATCH_PIXELS (VGA_MAX_WIDTH + 64)
#define PLANAR_BYTES   (256 * KIB)

/* ---- modes ------------------------------------------------------------------------------------- */

static void linear_mode(const struct vga *v, struct vga_mode *m)
{
    m->kind = VGA_LINEAR;
    m->bpp = v->dispi[DISPI_BPP];
    m->width = v->dispi[DISPI_XRES];
    m->height = v->dispi[DISPI_YRES];
    m->pitch = vga_dispi_pitch(v);
    m->start = v->dispi[DISPI_Y_OFFSET] * m->pitch +
               v->dispi[DISPI_X_OFFSET] * ((v->dispi[DISPI_BPP] + 7u) / 8);
    m->big_endian = v->big_endian;
}

/* 16 colours in a dispi mode: planar, but without the CRTC's tricks and the 256 KiB limit. */
static void planar_dispi_mode(const struct vga *v, struct vga_mode *m)
{
    m->kind = VGA_PLANAR;
    m->width = v->dispi[DISPI_XRES];
    m->height = v->dispi[DISPI_YRES];
    m->columns = m->width / 8;
    m->dots = 8;
    m->dot_scale = 1;
    m->row_height = 1;
    m->pitch = vga_dispi_pitch(v) / 4;
    m->start = v->dispi[DISPI_Y_OFFSET] * m->pitch + v->dispi[DISPI_X_OFFSET] / 8;
    m->pan = m->split_pan = v->dispi[DISPI_X_OFFSET] & 7;
    m->line_compare = UINT32_MAX;
    m->addressing = 0x43;
    m->word_mask = v->word_mask;
}

static uint32_t panning(const struct vga *v, const struct vga_mode *m)
{
    uint32_t pan = v->ar[AR_PANNING] & 15;
    if (m->dots == 9) /* 8 is none, 0 to 7 are one to eight dots */
        pan = pan >= 8 ? 0 : pan + 1;
    else
        pan &= 7;
    return pan * m->dot_scale;
}

static void crtc_mode(const struct vga *v, struct vga_mode *m)
{
    const uint8_t *cr = v->cr;
    uint8_t mode = v->ar[AR_MODE];
    uint8_t overflow = cr[CR_OVERFLOW];

    if (!(v->gr[GR_MISC] & 1))
        m->kind = VGA_TEXT;
    else if ((v->gr[GR_MODE] & 0x60) == 0)
        m->kind = VGA_PLANAR;
    else if ((v->gr[GR_MODE] & 0x60) == 0x20)
        m->kind = VGA_CGA;
    else
        m->kind = mode & 0x40 ? VGA_256 : VGA_PACKED;

    m->dots = m->kind == VGA_TEXT && !(v->sr[SR_CLOCKING] & 1) ? 9 : 8;
    m->dot_scale = v->sr[SR_CLOCKING] & 8 ? 2 : 1;
    m->columns = MIN(cr[CR_H_DISPLAY_END] + 1u, VGA_MAX_WIDTH / (m->dots * m->dot_scale));
    m->width = m->columns * m->dots * m->dot_scale;
    m->height = (cr[CR_V_DISPLAY_END] | (overflow & 0x02u) << 7 | (overflow & 0x40u) << 3) + 1;
    if (cr[CR_MODE] & 4)
        m->height *= 2;
    m->height = MIN(m->height, (uint32_t)VGA_MAX_HEIGHT);

    m->row_height = (cr[CR_MAX_SCAN] & 31) + 1u;
    m->scan_double = cr[CR_MAX_SCAN] >> 7;
    m->start = (uint32_t)(cr[CR_START_HIGH] << 8 | cr[CR_START_LOW]) + (cr[CR_PRESET_ROW] >> 5 & 3);
    m->pitch = cr[CR_OFFSET] * 2u;
    m->preset_row = MIN(cr[CR_PRESET_ROW] & 31u, m->row_height - 1);
    m->pan = panning(v, m);
    m->split_pan = mode & 0x20 ? 0 : m->pan;
    m->line_compare =
        cr[CR_LINE_COMPARE] | (overflow & 0x10u) << 4 | (cr[CR_MAX_SCAN] & 0x40u) << 3;
    m->addressing = cr[CR_MODE] | (cr[CR_UNDERLINE] & 0x60u) << 8;
    m->count_shift = cr[CR_UNDERLINE] & 0x20 ? 2 : cr[CR_MODE] >> 3 & 1;
    m->word_mask = 0xffff & v->word_mask;

    if (m->kind == VGA_TEXT) {
        /* Bit 5 of the start register switches the cursor off. */
        m->cursor_start = cr[CR_CURSOR_START] & 0x20 ? 32 : cr[CR_CURSOR_START] & 31;
        m->cursor_end = cr[CR_CURSOR_END] & 31;
        m->underline = cr[CR_UNDERLINE] & 31;
        m->char_map = v->sr[SR_CHAR_MAP];
        m->attr_mode = mode;
    }
}

void vga_mode_get(struct vga *v, struct vga_mode *m)
{
    memset(m, 0, sizeof(*m));
    if (!vga_dispi_on(v))
        crtc_mode(v, m);
    else if (v->dispi[DISPI_BPP] == 4)
        planar_dispi_mode(v, m);
    else
        linear_mode(v, m);
    m->blank = !(v->ar_index & 0x20) || (v->sr[SR_CLOCKING] & 0x20);
}

void vga_segment_get(const struct vga_mode *m, uint32_t y, struct vga_segment *s)
{
    uint32_t base = m->start, line = y + (m->preset_row << m->scan_double), end = m->height;

    s->pan = m->pan;
    if (y > m->line_compare) {
        base = 0;
        line = y - m->line_compare - 1;
        s->pan = m->split_pan;
    } else if (m->line_compare < end) {
        end = m->line_compare + 1;
    }
    uint32_t lines_per_row = m->row_height << m->scan_double;
    uint32_t in_row = line % lines_per_row;
    s->y = y;
    s->count = MIN(lines_per_row - in_row, end - y);
    s->counter = base + line / lines_per_row * m->pitch;
    s->scan = in_row >> m->scan_double;
    s->half = in_row & m->scan_double;
}

uint32_t vga_crtc_word(const struct vga_mode *m, uint32_t counter, uint32_t scan)
{
    uint32_t cr17 = m->addressing, a = counter;
    bool dword = m->addressing & 0x4000;

    /* Dword mode steps four bytes of chain-4 at a time: one plane offset, packed as we are. */
    if (!dword && !(cr17 & 0x40))
        a = (counter << 1) | (counter >> (cr17 & 0x20 ? 15 : 13) & 1);
    if (!(cr17 & 1))
        a = (a & ~0x2000u) | (scan & 1) << 13;
    if (!(cr17 & 2))
        a = (a & ~0x4000u) | (scan >> 1 & 1) << 14;
    return a & m->word_mask;
}

/* ---- palette ----------------------------------------------------------------------------------- */

static uint32_t dac_color(const struct vga *v, uint8_t index)
{
    const uint8_t *rgb = v->dac + (index & v->dac_mask) * 3;
    uint32_t r = rgb[0], g = rgb[1], b = rgb[2];

    if (!(v->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC)) {
        r = (r << 2 | r >> 4) & 0xff;
        g = (g << 2 | g >> 4) & 0xff;
        b = (b << 2 | b >> 4) & 0xff;
    }
    return r << 16 | g << 8 | b;
}

/* Brings display.palette up to date: by pixel value for 256 colours, else by the 16 values that
 * enter the attribute controller. True if it changed. */
static bool palette_update(struct vga *v, const struct vga_mode *m)
{
    uint32_t pal[256] = {0};

    if (m->kind == VGA_256 || (m->kind == VGA_LINEAR && m->bpp == 8)) {
        for (unsigned i = 0; i < 256; i++)
            pal[i] = dac_color(v, (uint8_t)i);
    } else if (m->kind != VGA_LINEAR) {
        uint8_t select = v->ar[AR_COLOR_SELECT];
        for (unsigned i = 0; i < 16; i++) {
            uint8_t c = v->ar[i & v->ar[AR_PLANE_ENABLE] & 15];
            if (v->ar[AR_MODE] & 0x80)
                c = (uint8_t)((c & 0x0f) | (select & 0x0f) << 4);
            else
                c = (uint8_t)((c & 0x3f) | (select & 0x0c) << 4);
            pal[i] = dac_color(v, c);
        }
    }
    if (memcmp(pal, v->display.palette, sizeof(pal)) == 0)
        return false;
    memcpy(v->display.palette, pal, sizeof(pal));
    return true;
}

/* ---- what was written -------------------------------------------------------------------------- */

/* Asks for all pages of [start, start + len), which may wrap; true if any was written. */
static bool dirty_take(struct vga *v, uint32_t start, uint64_t len)
{
    uint32_t pages = v->vram_size / PAGE_SIZE;
    uint32_t page = (start & v->vram_mask) / PAGE_SIZE;
    uint64_t count = (len + (start & (PAGE_SIZE - 1)) + PAGE_SIZE - 1) / PAGE_SIZE;
    bool any = false;

    count = MIN(count, pages);
    for (uint64_t i = 0; i < count; i++, page = (page + 1) % pages) {
        bool d = physmap_dirty_take(v->dev.board->mem, v->vram_ra + page * PAGE_SIZE);
        v->display.dirty[page] = d;
        any |= d;
    }
    return any;
}

static bool range_dirty(const struct vga *v, uint32_t start, uint32_t len)
{
    uint32_t pages = v->vram_size / PAGE_SIZE;
    uint32_t page = (start & v->vram_mask) / PAGE_SIZE;
    uint32_t count = (len + (start & (PAGE_SIZE - 1)) + PAGE_SIZE - 1) / PAGE_SIZE;

    for (uint32_t i = 0; i < MIN(count, pages); i++)
        if (v->display.dirty[(page + i) % pages])
            return true;
    return false;
}

/* ---- planar, CGA and 256-colour pictures ------------------------------------------------------- */

static uint32_t *planar_pixels(uint32_t *out, uint32_t word, const uint32_t *pal)
{
    for (int bit = 7; bit >= 0; bit--) {
        uint32_t b = word >> bit;
        *out++ = pal[(b & 1) | (b >> 7 & 2) | (b >> 14 & 4) | (b >> 21 & 8)];
    }
    return out;
}

/* Planes 0 and 1 give four pairs of bits each, in turn; planes 2 and 3 the pairs above them. */
static uint32_t *cga_pixels(uint32_t *out, uint32_t word, const uint32_t *pal)
{
    for (unsigned plane = 0; plane < 2; plane++) {
        uint32_t b = word >> plane * 8;
        for (int bit = 6; bit >= 0; bit -= 2)
            *out++ = pal[(b >> bit & 3) | (b >> (16 + bit) & 3) << 2];
    }
    return out;
}

static uint32_t *packed_pixels(uint32_t *out, uint32_t word, const uint32_t *pal)
{
    for (unsigned plane = 0; plane < 4; plane++, word >>= 8) {
        *out++ = pal[word >> 4 & 15];
        *out++ = pal[word & 15];
    }
    return out;
}

static uint32_t *pixels_256(uint32_t *out, uint32_t word, const uint32_t *pal)
{
    for (unsigned plane = 0; plane < 4; plane++, word >>= 8) {
        out[0] = out[1] = pal[word & 255];
        out += 2;
    }
    return out;
}

static void graphics_line(struct vga *v, const struct vga_mode *m, const struct vga_segment *s,
                          uint32_t *out)
{
    const uint32_t *pal = v->display.palette;
    uint32_t *start = v->display.scratch, *p = start;

    for (uint32_t col = 0; col <= m->columns; col++) {
        uint32_t counter = s->counter + (col >> m->count_shift);
        uint32_t word = ld32(v->vram + vga_crtc_word(m, counter, s->scan) * 4);
        switch (m->kind) {
        case VGA_PLANAR:
            p = planar_pixels(p, word, pal);
            break;
        case VGA_CGA:
            p = cga_pixels(p, word, pal);
            break;
        case VGA_PACKED:
            p = packed_pixels(p, word, pal);
            break;
        default:
            p = pixels_256(p, word, pal);
            break;
        }
    }
    if (m->dot_scale == 1) {
        memcpy(out, start + s->pan, m->width * sizeof(*out));
        return;
    }
    for (uint32_t x = 0; x < m->width; x++)
        out[x] = start[(x + s->pan) / 2];
}

static bool graphics_draw(struct vga *v, const struct vga_mode *m, bool all)
{
    /* The bytes a dispi mode shows may lie anywhere; the CRTC reaches the first 256 KiB. */
    bool any = vga_dispi_on(v)
                   ? dirty_take(v, m->start * 4, (uint64_t)(m->height + 1) * m->pitch * 4)
                   : dirty_take(v, 0, MIN(PLANAR_BYTES, (uint64_t)v->vram_size));
    if (!any && !all)
        return false;

    bool changed = false, last_drawn = false;
    uint32_t last_word = UINT32_MAX, last_pan = 0;
    for (uint32_t y = 0; y < m->height; y++) {
        struct vga_segment s;
        vga_segment_get(m, y, &s);
        uint32_t *out = v->display.pixels + y * m->width;
        uint32_t word = vga_crtc_word(m, s.counter, s.scan);

        /* Doubled scans, and scans of one row, show the same memory again. */
        if (word == last_word && s.pan == last_pan) {
            if (last_drawn)
                memcpy(out, out - m->width, m->width * sizeof(*out));
            continue;
        }
        last_word = word;
        last_pan = s.pan;

        uint32_t end =
            vga_crtc_word(m, s.counter + (m->columns >> m->count_shift), s.scan);
        bool wraps = end < word;
        last_drawn = all || wraps || range_dirty(v, word * 4, (end - word + 1) * 4);
        if (last_drawn) {
            graphics_line(v, m, &s, out);
            changed = true;
        }
    }
    return changed;
}

/* ---- linear pictures --------------------------------------------------------------------------- */

static uint32_t rgb555(uint32_t p)
{
    uint32_t r = p >> 10 & 31, g = p >> 5 & 31, b = p & 31;
    return (r << 3 | r >> 2) << 16 | (g << 3 | g >> 2) << 8 | (b << 3 | b >> 2);
}

static uint32_t rgb565(uint32_t p)
{
    uint32_t r = p >> 11 & 31, g = p >> 5 & 63, b = p & 31;
    return (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
}

static void linear_line(const struct vga *v, const struct vga_mode *m, const uint8_t *in,
                        uint32_t *out)
{
    uint32_t width = m->width;

    switch (m->bpp) {
    case 8:
        for (uint32_t x = 0; x < width; x++)
            out[x] = v->display.palette[in[x]];
        break;
    case 15:
    case 16:
        for (uint32_t x = 0; x < width; x++) {
            uint32_t p = m->big_endian ? (uint32_t)in[x * 2] << 8 | in[x * 2 + 1] : ld16(in + x * 2);
            out[x] = m->bpp == 15 ? rgb555(p) : rgb565(p);
        }
        break;
    case 24:
        for (uint32_t x = 0; x < width; x++, in += 3)
            out[x] = (uint32_t)in[2] << 16 | (uint32_t)in[1] << 8 | in[0];
        break;
    default:
        if (m->big_endian) {
            for (uint32_t x = 0; x < width; x++)
                out[x] = __builtin_bswap32(ld32(in + x * 4)) & 0xffffff;
        } else {
            for (uint32_t x = 0; x < width; x++)
                out[x] = ld32(in + x * 4) & 0xffffff;
        }
        break;
    }
}

static bool linear_draw(struct vga *v, const struct vga_mode *m, bool all)
{
    uint32_t len = m->width * ((m->bpp + 7) / 8);
    bool any = dirty_take(v, m->start, (uint64_t)m->pitch * m->height);
    if (!any && !all)
        return false;

    bool changed = false;
    for (uint32_t y = 0; y < m->height; y++) {
        uint32_t start = (m->start + y * m->pitch) & v->vram_mask;
        if (!all && !range_dirty(v, start, len))
            continue;
        const uint8_t *in = v->vram + start;
        if (start + len > v->vram_size) {
            uint8_t *joined = (uint8_t *)v->display.scratch;
            uint32_t head = v->vram_size - start;
            memcpy(joined, in, head);
            memcpy(joined + head, v->vram, len - head);
            in = joined;
        }
        linear_line(v, m, in, v->display.pixels + y * m->width);
        changed = true;
    }
    return changed;
}

/* ---- the picture ------------------------------------------------------------------------------- */

static void blank_frame(struct vga *v, struct vga_frame *out)
{
    struct vga_display *d = &v->display;

    /* Guests blank the screen while they change modes: keep the size until there is a new one. */
    if (d->mode.width == 0) {
        d->mode.width = 640;
        d->mode.height = 400;
        d->force = true;
    }
    *out = (struct vga_frame){d->pixels, d->mode.width, d->mode.height, d->showing || d->force, true};
    if (out->changed)
        memset(d->pixels, 0, (size_t)d->mode.width * d->mode.height * sizeof(*d->pixels));
    d->showing = d->force = false;
}

void vga_render(struct vga *v, struct vga_frame *out)
{
    struct vga_display *d = &v->display;
    struct vga_mode m;

    vga_mode_get(v, &m);
    if (m.blank) {
        blank_frame(v, out);
        return;
    }
    bool all = memcmp(&m, &d->mode, sizeof(m)) != 0;
    d->mode = m;
    all |= palette_update(v, &m);
    all |= d->force || !d->showing;
    d->force = false;
    d->showing = true;

    bool changed;
    if (m.kind == VGA_TEXT)
        changed = vga_text_draw(v, &m, all);
    else if (m.kind == VGA_LINEAR)
        changed = linear_draw(v, &m, all);
    else
        changed = graphics_draw(v, &m, all);
    *out = (struct vga_frame){d->pixels, m.width, m.height, changed, false};
}

#define PIXEL_BYTES   ((size_t)VGA_MAX_WIDTH * VGA_MAX_HEIGHT * 4)
#define SCRATCH_BYTES ((size_t)SCRATCH_PIXELS * 4)
#define CELL_BYTES    ((size_t)VGA_CELLS * VGA_MAX_HEIGHT * 4)
#define FONT_BYTES    ((size_t)2 * 8192)

static size_t display_bytes(const struct vga *v)
{
    return PIXEL_BYTES + SCRATCH_BYTES + CELL_BYTES + FONT_BYTES + v->vram_size / PAGE_SIZE;
}

/* Room for the largest picture, so that no mode can fail later; the host gives pages only as
 * pictures reach them. */
bool vga_display_init(struct vga *v, struct error *err)
{
    struct vga_display *d = &v->display;
    uint8_t *p = hostmem_alloc(display_bytes(v));

    if (!p)
        return error_set(err, ERR_NOMEM, "no memory for the screen: free some");
    d->pixels = (uint32_t *)p;
    d->scratch = (uint32_t *)(p + PIXEL_BYTES);
    d->cells = (uint32_t *)(p + PIXEL_BYTES + SCRATCH_BYTES);
    d->fonts = p + PIXEL_BYTES + SCRATCH_BYTES + CELL_BYTES;
    d->dirty = d->fonts + FONT_BYTES;
    d->force = true;
    return true;
}

void vga_display_fini(struct vga *v)
{
    if (v->display.pixels)
        hostmem_free(v->display.pixels, display_bytes(v));
    v->display.pixels = NULL;
}
