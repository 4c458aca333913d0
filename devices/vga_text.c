/* VGA text modes: pictures from characters, attributes and fonts, and the characters as UTF-8.
 *
 * A cell is drawn again when what it shows (character, attribute, cursor, blink phase) differs from
 * what it last showed; a change of font draws all. Blinking runs on virtual time: the cursor with a
 * period of 16 frames, characters with one of 32 (IBM PS/2 Video Subsystem, "Cursor start register"
 * and "Attribute mode control register").
 */
#include "devices/vga_internal.h"

#define FONT_SIZE 8192u /* 256 characters of 32 scans */

enum { CELL_CURSOR = 1 << 16, CELL_HIDDEN = 1 << 17, CELL_SHOWN = 1 << 18 };

/* Code page 437, with the graphic characters below 20h. */
static const uint16_t cp437[256] = {
    0x0020, 0x263a, 0x263b, 0x2665, 0x2666, 0x2663, 0x2660, 0x2022,
    0x25d8, 0x25cb, 0x25d9, 0x2642, 0x2640, 0x266a, 0x266b, 0x263c,
    0x25ba, 0x25c4, 0x2195, 0x203c, 0x00b6, 0x00a7, 0x25ac, 0x21a8,
    0x2191, 0x2193, 0x2192, 0x2190, 0x221f, 0x2194, 0x25b2, 0x25bc,
    0x0020, 0x0021, 0x0022, 0x0023, 0x0024, 0x0025, 0x0026, 0x0027,
    0x0028, 0x0029, 0x002a, 0x002b, 0x002c, 0x002d, 0x002e, 0x002f,
    0x0030, 0x0031, 0x0032, 0x0033, 0x0034, 0x0035, 0x0036, 0x0037,
    0x0038, 0x0039, 0x003a, 0x003b, 0x003c, 0x003d, 0x003e, 0x003f,
    0x0040, 0x0041, 0x0042, 0x0043, 0x0044, 0x0045, 0x0046, 0x0047,
    0x0048, 0x0049, 0x004a, 0x004b, 0x004c, 0x004d, 0x004e, 0x004f,
    0x0050, 0x0051, 0x0052, 0x0053, 0x0054, 0x0055, 0x0056, 0x0057,
    0x0058, 0x0059, 0x005a, 0x005b, 0x005c, 0x005d, 0x005e, 0x005f,
    0x0060, 0x0061, 0x0062, 0x0063, 0x0064, 0x0065, 0x0066, 0x0067,
    0x0068, 0x0069, 0x006a, 0x006b, 0x006c, 0x006d, 0x006e, 0x006f,
    0x0070, 0x0071, 0x0072, 0x0073, 0x0074, 0x0075, 0x0076, 0x0077,
    0x0078, 0x0079, 0x007a, 0x007b, 0x007c, 0x007d, 0x007e, 0x2302,
    0x00c7, 0x00fc, 0x00e9, 0x00e2, 0x00e4, 0x00e0, 0x00e5, 0x00e7,
    0x00ea, 0x00eb, 0x00e8, 0x00ef, 0x00ee, 0x00ec, 0x00c4, 0x00c5,
    0x00c9, 0x00e6, 0x00c6, 0x00f4, 0x00f6, 0x00f2, 0x00fb, 0x00f9,
    0x00ff, 0x00d6, 0x00dc, 0x00a2, 0x00a3, 0x00a5, 0x20a7, 0x0192,
    0x00e1, 0x00ed, 0x00f3, 0x00fa, 0x00f1, 0x00d1, 0x00aa, 0x00ba,
    0x00bf, 0x2310, 0x00ac, 0x00bd, 0x00bc, 0x00a1, 0x00ab, 0x00bb,
    0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561, 0x2562, 0x2556,
    0x2555, 0x2563, 0x2551, 0x2557, 0x255d, 0x255c, 0x255b, 0x2510,
    0x2514, 0x2534, 0x252c, 0x251c, 0x2500, 0x253c, 0x255e, 0x255f,
    0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550, 0x256c, 0x2567,
    0x2568, 0x2564, 0x2565, 0x2559, 0x2558, 0x2552, 0x2553, 0x256b,
    0x256a, 0x2518, 0x250c, 0x2588, 0x2584, 0x258c, 0x2590, 0x2580,
    0x03b1, 0x00df, 0x0393, 0x03c0, 0x03a3, 0x03c3, 0x00b5, 0x03c4,
    0x03a6, 0x0398, 0x03a9, 0x03b4, 0x221e, 0x03c6, 0x03b5, 0x2229,
    0x2261, 0x00b1, 0x2265, 0x2264, 0x2320, 0x2321, 0x00f7, 0x2248,
    0x00b0, 0x2219, 0x00b7, 0x221a, 0x207f, 0x00b2, 0x25a0, 0x0020,
};

/* Offset in plane 2 of font map n of the character map select register. */
static uint32_t font_offset(unsigned n)
{
    return (n & 3) * 0x4000 + (n >> 2) * 0x2000;
}

/* Gathers the two selected fonts into display.fonts; true if they changed. Font 0 is for
 * attributes with bit 3 clear (map B), font 1 for those with it set (map A). */
static bool fonts_update(struct vga *v, const struct vga_mode *m)
{
    uint32_t map = m->char_map;
    uint32_t base[2] = {
        font_offset((map & 3) | (map >> 2 & 4)),
        font_offset((map >> 2 & 3) | (map >> 3 & 4)),
    };
    bool changed = false;

    for (unsigned f = 0; f < 2; f++) {
        uint8_t *font = v->display.fonts + f * FONT_SIZE;
        const uint8_t *plane = v->vram + 2;
        for (uint32_t i = 0; i < FONT_SIZE; i++) {
            uint8_t bits = plane[(size_t)((base[f] + i) & v->word_mask) * 4];
            changed |= bits != font[i];
            font[i] = bits;
        }
    }
    return changed;
}

struct text_frame {
    const struct vga_mode *m;
    uint32_t cursor; /* CRTC counter of the cell with the cursor */
    bool cursor_on, blink_off;
};

static uint32_t cell_get(const struct vga *v, const struct text_frame *t,
                         const struct vga_segment *s, uint32_t col)
{
    uint32_t counter = s->counter + (col >> t->m->count_shift);
    uint32_t cell = ld16(v->vram + vga_crtc_word(t->m, counter, s->scan) * 4) | CELL_SHOWN;

    if (t->cursor_on && (counter & 0xffff) == t->cursor)
        cell |= CELL_CURSOR;
    if (t->blink_off && (cell & 0x8000))
        cell |= CELL_HIDDEN;
    return cell;
}

/* The dots of one scan of a cell, leftmost in bit 8; with 8-dot cells bit 0 is not used. */
static uint32_t cell_dots(const struct vga *v, const struct vga_mode *m, uint32_t cell,
                          uint32_t scan)
{
    uint32_t ch = cell & 0xff, attr = cell >> 8 & 0xff;
    const uint8_t *font = v->display.fonts + (attr & 8 ? FONT_SIZE : 0);
    uint32_t dots = (uint32_t)font[ch * 32 + (scan & 31)] << 1;

    /* Box-drawing characters run into the ninth dot. */
    if ((m->attr_mode & 4) && (ch & 0xe0) == 0xc0)
        dots |= dots >> 1 & 1;
    if ((attr & 7) == 1 && scan == m->underline)
        dots = 0x1ff;
    if (cell & CELL_HIDDEN)
        dots = 0;
    if ((cell & CELL_CURSOR) && scan >= m->cursor_start && scan <= m->cursor_end)
        dots = 0x1ff;
    return dots;
}

static void cell_draw(struct vga *v, const struct vga_mode *m, const struct vga_segment *s,
                      uint32_t col, uint32_t cell)
{
    const uint32_t *pal = v->display.palette;
    uint32_t attr = cell >> 8 & 0xff;
    uint32_t fg = pal[attr & 15];
    uint32_t bg = pal[m->attr_mode & 8 ? attr >> 4 & 7 : attr >> 4];
    uint32_t cell_width = m->dots * m->dot_scale;
    uint32_t left = col * cell_width; /* before panning */
    uint32_t first = left < s->pan ? s->pan - left : 0;
    uint32_t x = left + first - s->pan;
    if (x >= m->width)
        return;
    uint32_t count = MIN(cell_width - first, m->width - x);

    for (uint32_t i = 0; i < s->count; i++) {
        uint32_t dots = cell_dots(v, m, cell, s->scan + ((i + s->half) >> m->scan_double));
        uint32_t *out = v->display.pixels + (s->y + i) * m->width + x;
        for (uint32_t j = 0; j < count; j++)
            out[j] = dots >> (8 - (first + j) / m->dot_scale) & 1 ? fg : bg;
    }
}

bool vga_text_draw(struct vga *v, const struct vga_mode *m, bool all)
{
    uint64_t frame = vga_frame_number(v);
    struct text_frame t = {
        .m = m,
        .cursor = ((uint32_t)(v->cr[CR_CURSOR_HIGH] << 8 | v->cr[CR_CURSOR_LOW]) +
                   (v->cr[CR_CURSOR_END] >> 5 & 3)) & 0xffff,
        .cursor_on = m->cursor_start <= m->cursor_end && !(frame & 8),
        .blink_off = (m->attr_mode & 8) && (frame & 16),
    };
    bool changed = all;

    all |= fonts_update(v, m);
    struct vga_segment s;
    for (uint32_t y = 0; y < m->height; y += s.count) {
        vga_segment_get(m, y, &s);
        uint32_t *shown = v->display.cells + y * VGA_CELLS;
        /* One cell more than fits: panning brings it in. */
        for (uint32_t col = 0; col <= m->columns; col++) {
            uint32_t cell = cell_get(v, &t, &s, col);
            if (cell == shown[col] && !all)
                continue;
            shown[col] = cell;
            cell_draw(v, m, &s, col, cell);
            changed = true;
        }
    }
    return changed;
}

/* Appends c; false when it does not fit with a terminator. */
static bool utf8_put(char *buf, size_t size, size_t *len, uint32_t c)
{
    char b[3];
    size_t n = 1;

    if (c < 0x80) {
        b[0] = (char)c;
    } else if (c < 0x800) {
        b[0] = (char)(0xc0 | c >> 6);
        b[1] = (char)(0x80 | (c & 0x3f));
        n = 2;
    } else {
        b[0] = (char)(0xe0 | c >> 12);
        b[1] = (char)(0x80 | (c >> 6 & 0x3f));
        b[2] = (char)(0x80 | (c & 0x3f));
        n = 3;
    }
    if (*len + n >= size)
        return false;
    memcpy(buf + *len, b, n);
    *len += n;
    return true;
}

size_t vga_text(struct vga *v, char *buf, size_t size)
{
    struct vga_mode m;
    struct vga_segment s;
    size_t len = 0;

    if (size == 0)
        return 0;
    vga_mode_get(v, &m);
    for (uint32_t y = 0; m.kind == VGA_TEXT && y < m.height; y += s.count) {
        vga_segment_get(&m, y, &s);
        uint32_t blanks = 0;
        bool fits = true;
        for (uint32_t col = 0; col < m.columns && fits; col++) {
            uint32_t counter = s.counter + (col >> m.count_shift);
            uint32_t c = cp437[v->vram[vga_crtc_word(&m, counter, s.scan) * 4]];
            if (c == ' ') {
                blanks++;
                continue;
            }
            for (; blanks && fits; blanks--)
                fits = utf8_put(buf, size, &len, ' ');
            fits = fits && utf8_put(buf, size, &len, c);
        }
        if (!fits || !utf8_put(buf, size, &len, '\n'))
            break;
    }
    buf[len] = '\0';
    return len;
}
