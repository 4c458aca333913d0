/* VGA: the data path (write and read modes), register protections, retrace timing, pictures of each
 * kind of mode with the VGA BIOS's own register values, dispi, and survival of random accesses. */
#include <stdlib.h>

#include "devices/vga.h"
#include "tests/device/harness.h"

struct bios_mode {
    uint8_t misc, sr[5], cr[25], gr[9], ar[20];
};

static const struct bios_mode mode_03 = {
    0x67,
    {3, 0, 3, 0, 2},
    {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
     0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff},
    {0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff},
    {0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0, 0x0f, 8},
};
static const struct bios_mode mode_04 = {
    0x63,
    {3, 9, 3, 0, 2},
    {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff},
    {0, 0, 0, 0, 0, 0x30, 0x0f, 0x0f, 0xff},
    {0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 0x01, 0, 0x03, 0},
};
static const struct bios_mode mode_12 = {
    0xe3,
    {3, 1, 0x0f, 0, 6},
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff},
    {0, 0, 0, 0, 0, 0, 5, 0x0f, 0xff},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x01, 0, 0x0f, 0},
};
static const struct bios_mode mode_13 = {
    0x63,
    {3, 1, 0x0f, 0, 0x0e},
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff},
    {0, 0, 0, 0, 0, 0x40, 5, 0x0f, 0xff},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x41, 0, 0x0f, 0},
};

static struct harness *h;
static struct vga *vga;

static void setup(void)
{
    struct error err;
    h = harness_new(0);
    physmap_free(h->board.mem); /* the harness has no store beyond its RAM */
    h->board.mem = physmap_new(17 * MIB, &h->log, &err);
    vga = harness_alloc(h, &vga_class, "vga");
    harness_start(h, (struct device *)vga);
}

static void out_index(uint16_t port, uint8_t index, uint8_t value)
{
    outw(h, port, (uint16_t)(value << 8 | index));
}

static uint8_t in_index(uint16_t port, uint8_t index)
{
    outb(h, port, index);
    return inb(h, port + 1);
}

static void set_mode(const struct bios_mode *m)
{
    outb(h, 0x3c2, m->misc);
    for (uint8_t i = 0; i < 5; i++)
        out_index(0x3c4, i, m->sr[i]);
    out_index(0x3d4, 0x11, 0);
    for (uint8_t i = 0; i < 25; i++)
        out_index(0x3d4, i, m->cr[i]);
    for (uint8_t i = 0; i < 9; i++)
        out_index(0x3ce, i, m->gr[i]);
    inb(h, 0x3da);
    for (uint8_t i = 0; i < 20; i++) {
        outb(h, 0x3c0, i);
        outb(h, 0x3c0, m->ar[i]);
    }
    outb(h, 0x3c0, 0x20);
    /* A palette in which entry n is n in all components, as far as six bits go. */
    outb(h, 0x3c8, 0);
    for (unsigned i = 0; i < 768; i++)
        outb(h, 0x3c9, (uint8_t)(i / 3 & 63));
}

static void poke(uint32_t addr, uint64_t v, unsigned size)
{
    physmap_write(h->board.mem, addr, v, size);
}

static uint64_t peek(uint32_t addr, unsigned size)
{
    return physmap_read(h->board.mem, addr, size);
}

static uint8_t plane(unsigned n, uint32_t offset)
{
    return physmap_host(h->board.mem, vga_vram_ra(vga))[offset * 4 + n];
}

/* The colour that set_mode's palette gives DAC entry n (below 64). */
static uint32_t gray(uint32_t n)
{
    return (n << 2 | n >> 4) * 0x010101u;
}

START_TEST(registers)
{
    setup();
    set_mode(&mode_03);
    ck_assert_uint_eq(in_index(0x3d4, 0x01), 0x4f);
    out_index(0x3d4, 0x01, 0x27); /* CR11 bit 7 protects */
    out_index(0x3d4, 0x07, 0x00);
    ck_assert_uint_eq(in_index(0x3d4, 0x01), 0x4f);
    ck_assert_uint_eq(in_index(0x3d4, 0x07), 0x0f); /* but for line compare */
    ck_assert_uint_eq(inb(h, 0x3b5), 0xff);         /* colour: no 3Bx */
    outb(h, 0x3c2, 0x66);
    ck_assert_uint_eq(inb(h, 0x3d5), 0xff);
    ck_assert_uint_eq(in_index(0x3b4, 0x12), 0x8f);

    inb(h, 0x3ba);
    outb(h, 0x3c0, 0x10 | 0x20);
    ck_assert_uint_eq(inb(h, 0x3c1), 0x0c); /* reading does not flip */
    outb(h, 0x3c0, 0x0d);
    ck_assert_uint_eq(inb(h, 0x3c0), 0x30);
    ck_assert_uint_eq(inb(h, 0x3c1), 0x0d);

    outb(h, 0x3c8, 5);
    outb(h, 0x3c9, 0xff);
    outb(h, 0x3c9, 1);
    outb(h, 0x3c9, 2);
    ck_assert_uint_eq(inb(h, 0x3c8), 6);
    outb(h, 0x3c7, 5);
    ck_assert_uint_eq(inb(h, 0x3c7), 3);
    ck_assert_uint_eq(inb(h, 0x3c9), 0x3f); /* six bits */
    ck_assert_uint_eq(inb(h, 0x3c9), 1);
    ck_assert_uint_eq(inb(h, 0x3c9), 2);
    harness_free(h);
}
END_TEST

START_TEST(write_modes)
{
    setup();
    set_mode(&mode_12);
    poke(0xa0000, 0x5a, 1);
    for (unsigned p = 0; p < 4; p++)
        ck_assert_uint_eq(plane(p, 0), 0x5a);

    out_index(0x3c4, 2, 0x5); /* map mask */
    poke(0xa0001, 0xff, 1);
    ck_assert_uint_eq(plane(0, 1), 0xff);
    ck_assert_uint_eq(plane(1, 1), 0);
    ck_assert_uint_eq(plane(2, 1), 0xff);
    out_index(0x3c4, 2, 0xf);

    out_index(0x3ce, 0, 0x6); /* set/reset where enabled, bit mask from latches */
    out_index(0x3ce, 1, 0x3);
    out_index(0x3ce, 8, 0xf0);
    peek(0xa0001, 1);
    poke(0xa0001, 0x0f, 1);
    ck_assert_uint_eq(plane(0, 1), 0x0f); /* enabled, 0 */
    ck_assert_uint_eq(plane(1, 1), 0xf0); /* enabled, 1 */
    ck_assert_uint_eq(plane(2, 1), 0x0f); /* data in the mask, latch below */
    ck_assert_uint_eq(plane(3, 1), 0x00);
    out_index(0x3ce, 1, 0);
    out_index(0x3ce, 8, 0xff);

    out_index(0x3ce, 3, 0x18 | 4); /* xor, rotate by 4 */
    peek(0xa0000, 1);
    poke(0xa0000, 0xf0, 1);
    ck_assert_uint_eq(plane(0, 0), 0x5a ^ 0x0f);
    out_index(0x3ce, 3, 0);

    out_index(0x3ce, 5, 1); /* write mode 1: latches */
    peek(0xa0001, 1);
    poke(0xa0010, 0x77, 1);
    ck_assert_uint_eq(plane(1, 0x10), 0xf0);
    ck_assert_uint_eq(plane(2, 0x10), 0x0f);

    out_index(0x3ce, 5, 2); /* write mode 2: a colour */
    out_index(0x3ce, 8, 0x81);
    poke(0xa0020, 0x9, 1);
    out_index(0x3ce, 5, 0);
    out_index(0x3ce, 8, 0xff);
    peek(0xa0030, 1);
    out_index(0x3ce, 5, 3); /* write mode 3: set/reset through data and mask */
    out_index(0x3ce, 0, 0x5);
    out_index(0x3ce, 8, 0x3c);
    poke(0xa0030, 0xf0, 1);
    ck_assert_uint_eq(plane(0, 0x30), 0x30);
    ck_assert_uint_eq(plane(1, 0x30), 0);
    ck_assert_uint_eq(plane(2, 0x30), 0x30);

    out_index(0x3ce, 5, 8); /* read mode 1: colour compare */
    out_index(0x3ce, 2, 0x5);
    out_index(0x3ce, 7, 0xf);
    ck_assert_uint_eq(peek(0xa0030, 1), 0x30);
    out_index(0x3ce, 7, 0x2); /* only plane 1 counts, and it is 0 everywhere */
    ck_assert_uint_eq(peek(0xa0030, 1), 0xff);
    out_index(0x3ce, 5, 0);
    out_index(0x3ce, 4, 2);
    ck_assert_uint_eq(peek(0xa0030, 1), 0x30);
    ck_assert_uint_eq(peek(0xb8000, 1), 0xff); /* not in this memory map */
    harness_free(h);
}
END_TEST

START_TEST(text)
{
    struct vga_frame f;
    char buf[8192];

    setup();
    set_mode(&mode_03);
    /* A font whose 'A' is a full block, through plane 2. */
    out_index(0x3c4, 2, 4);
    out_index(0x3c4, 4, 7);
    out_index(0x3ce, 5, 0);
    out_index(0x3ce, 6, 0x4);
    for (unsigned i = 0; i < 16; i++)
        poke(0xa0000 + 'A' * 32 + i, 0xff, 1);
    out_index(0x3c4, 2, 3);
    out_index(0x3c4, 4, 2);
    out_index(0x3ce, 5, 0x10);
    out_index(0x3ce, 6, 0xe);
    for (unsigned i = 0; i < 80 * 25; i++)
        poke(0xb8000 + i * 2, 0x0720, 2);
    poke(0xb8000, 0x1741, 2);
    poke(0xb8000 + 160, 0x07db07b3, 4);
    ck_assert_uint_eq(peek(0xb8000, 2), 0x1741);
    ck_assert_uint_eq(plane(0, 0), 'A');
    ck_assert_uint_eq(plane(1, 0), 0x17);

    vga_render(vga, &f);
    ck_assert_uint_eq(f.width, 720);
    ck_assert_uint_eq(f.height, 400);
    ck_assert(f.changed && !f.blank);
    ck_assert_uint_eq(f.pixels[0], gray(7));
    ck_assert_uint_eq(f.pixels[7], gray(7));
    ck_assert_uint_eq(f.pixels[8], gray(1)); /* ninth dot: background */
    ck_assert_uint_eq(f.pixels[9], 0);
    /* The cursor, lines 13 and 14 of cell 0, in its foreground over the ninth dot. */
    ck_assert_uint_eq(f.pixels[13 * 720 + 8], gray(7));
    ck_assert_uint_eq(f.pixels[12 * 720 + 8], gray(1));
    vga_render(vga, &f);
    ck_assert(!f.changed);
    harness_run(h, 8 * NS_PER_SEC / 70); /* blinks */
    vga_render(vga, &f);
    ck_assert(f.changed);
    ck_assert_uint_eq(f.pixels[13 * 720 + 8], gray(1));

    vga_text(vga, buf, sizeof(buf));
    ck_assert_int_eq(strncmp(buf, "A\n│█\n\n", 9), 0);
    ck_assert_uint_lt(vga_text(vga, buf, 6), 6); /* never more than fits */
    ck_assert_str_eq(buf, "A\n│");

    out_index(0x3c4, 1, 0x20); /* screen off */
    vga_render(vga, &f);
    ck_assert(f.blank && f.changed);
    ck_assert_uint_eq(f.pixels[0], 0);
    ck_assert_uint_eq(f.width, 720);
    harness_free(h);
}
END_TEST

START_TEST(planar_picture_and_split_screen)
{
    struct vga_frame f;

    setup();
    set_mode(&mode_12);
    out_index(0x3c4, 2, 0x9);
    poke(0xa0000 + 80 * 3 + 1, 0x40, 1);
    vga_render(vga, &f);
    ck_assert_uint_eq(f.width, 640);
    ck_assert_uint_eq(f.height, 480);
    ck_assert_uint_eq(f.pixels[3 * 640 + 9], gray(9));
    ck_assert_uint_eq(f.pixels[3 * 640 + 10], 0);

    /* Only the line that was written is drawn; the rest stays. */
    poke(0xa0000 + 80 * 300, 0x80, 1);
    vga_render(vga, &f);
    ck_assert(f.changed);
    ck_assert_uint_eq(f.pixels[300 * 640], gray(9));
    ck_assert_uint_eq(f.pixels[3 * 640 + 9], gray(9));
    vga_render(vga, &f);
    ck_assert(!f.changed);

    /* Line 240 and on show memory from 0. */
    out_index(0x3d4, 0x11, 0x0c);
    out_index(0x3d4, 0x18, 239);
    out_index(0x3d4, 0x07, 0x2e);
    out_index(0x3d4, 0x09, 0);
    vga_render(vga, &f);
    ck_assert_uint_eq(f.pixels[(240 + 3) * 640 + 9], gray(9));
    /* Panning by one dot; the split part stays when AR10 bit 5 says so. */
    inb(h, 0x3da);
    outb(h, 0x3c0, 0x33);
    outb(h, 0x3c0, 1);
    outb(h, 0x3c0, 0x30);
    outb(h, 0x3c0, 0x21);
    vga_render(vga, &f);
    ck_assert_uint_eq(f.pixels[3 * 640 + 8], gray(9));
    ck_assert_uint_eq(f.pixels[(240 + 3) * 640 + 9], gray(9));
    harness_free(h);
}
END_TEST

START_TEST(cga_picture)
{
    struct vga_frame f;

    setup();
    set_mode(&mode_04);
    poke(0xb8000, 0x1b, 1);     /* pixels 0 1 2 3 */
    poke(0xba000 + 1, 0xc0, 1); /* second line, fifth pixel */
    vga_render(vga, &f);
    ck_assert_uint_eq(f.width, 640);
    ck_assert_uint_eq(f.height, 400);
    for (unsigned i = 0; i < 8; i++)
        ck_assert_uint_eq(f.pixels[i], gray(i / 2));
    ck_assert_uint_eq(f.pixels[640], f.pixels[0]);
    ck_assert_uint_eq(f.pixels[640 + 7], gray(3));
    ck_assert_uint_eq(f.pixels[2 * 640 + 8], gray(3));
    ck_assert_uint_eq(f.pixels[2 * 640 + 10], 0);
    harness_free(h);
}
END_TEST

START_TEST(mode_13h_and_mode_x)
{
    struct vga_frame f;
    struct phys_page page;

    setup();
    set_mode(&mode_13);
    ck_assert(physmap_page(h->board.mem, 0xa0000, &page));
    ck_assert_uint_eq(page.write_ra, vga_vram_ra(vga));
    poke(0xa0000 + 320 + 5, 42, 1);
    vga_render(vga, &f);
    ck_assert_uint_eq(f.width, 640);
    ck_assert_uint_eq(f.height, 400);
    ck_assert_uint_eq(f.pixels[2 * 640 + 10], gray(42));
    ck_assert_uint_eq(f.pixels[3 * 640 + 11], gray(42));
    ck_assert_uint_eq(f.pixels[2 * 640 + 12], 0);
    poke(0xa0000 + 320 * 199 + 319, 7, 1);
    vga_render(vga, &f);
    ck_assert_uint_eq(f.pixels[399 * 640 + 639], gray(7));

    out_index(0x3c4, 4, 6);
    out_index(0x3d4, 0x14, 0);
    out_index(0x3d4, 0x17, 0xe3);
    ck_assert(!physmap_page(h->board.mem, 0xa0000, &page));
    out_index(0x3c4, 2, 2);
    poke(0xa0000 + 80 * 10 + 2, 33, 1); /* plane 1: pixel 9 */
    vga_render(vga, &f);
    ck_assert_uint_eq(f.pixels[20 * 640 + 18], gray(33));
    out_index(0x3d4, 0x0d, 80); /* scroll by one line */
    vga_render(vga, &f);
    ck_assert_uint_eq(f.pixels[18 * 640 + 18], gray(33));
    harness_free(h);
}
END_TEST

static void dispi(uint16_t index, uint16_t value)
{
    outw(h, 0x1ce, index);
    outw(h, 0x1cf, value);
}

static uint16_t dispi_get(uint16_t index)
{
    outw(h, 0x1ce, index);
    return inw(h, 0x1cf);
}

START_TEST(dispi_modes)
{
    struct vga_frame f;
    uint8_t *vram;

    setup();
    set_mode(&mode_03);
    vram = physmap_host(h->board.mem, vga_vram_ra(vga));
    ck_assert_uint_eq(dispi_get(0), 0xb0c5);
    ck_assert_uint_eq(dispi_get(10), 256);
    dispi(4, 2);
    ck_assert_uint_eq(dispi_get(1), 2560);
    ck_assert_uint_eq(dispi_get(2), 1600);
    ck_assert_uint_eq(dispi_get(3), 32);
    dispi(4, 0);

    static const struct {
        uint16_t bpp;
        uint32_t raw, color;
    } cases[] = {
        {15, 0x7c1f, 0xff00ff}, {16, 0x07e0, 0x00ff00},
        {24, 0x123456, 0x123456}, {32, 0xff123456, 0x123456},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t bytes = (cases[i].bpp + 7u) / 8;
        dispi(4, 0);
        dispi(1, 1024);
        dispi(2, 768);
        dispi(3, cases[i].bpp);
        dispi(4, 0x41);
        st_sized(vram + (1024 * 2 + 3) * bytes, cases[i].raw, bytes == 3 ? 4 : bytes);
        physmap_written(h->board.mem, vga_vram_ra(vga), 3 * 1024 * bytes);
        vga_render(vga, &f);
        ck_assert_uint_eq(f.width, 1024);
        ck_assert_uint_eq(f.height, 768);
        ck_assert_uint_eq(f.pixels[1024 * 2 + 3], cases[i].color);
    }

    /* A wider virtual screen, panned beyond the end of memory: it wraps. */
    dispi(6, 2048);
    ck_assert_uint_eq(dispi_get(7), 16 * MIB / (2048 * 4));
    dispi(8, 3);
    dispi(9, 2047);
    st32(vram + 2048 * 4 + 12, 0x00abcdef);
    vga_render(vga, &f);
    ck_assert_uint_eq(f.pixels[2 * 1024], 0xabcdef);

    /* The banked window, and 8-bit colours. */
    dispi(4, 0);
    dispi(3, 8);
    dispi(4, 0x21);
    dispi(5, 2);
    poke(0xa0010, 0x77, 1);
    ck_assert_uint_eq(vram[0x20010], 0x77);
    outb(h, 0x3c8, 0x77);
    outb(h, 0x3c9, 0xfe);
    outb(h, 0x3c9, 0x80);
    outb(h, 0x3c9, 0x01);
    vga_render(vga, &f);
    ck_assert_uint_eq(f.pixels[0x20010], 0xfe8001);
    /* Back to the registers underneath. */
    dispi(4, 0);
    set_mode(&mode_03);
    vga_render(vga, &f);
    ck_assert_uint_eq(f.width, 720);
    harness_free(h);
}
END_TEST

START_TEST(retrace)
{
    unsigned retrace = 0, off = 0;

    setup();
    set_mode(&mode_03);
    uint64_t frame_ns = 449ull * (100 * 9 * NS_PER_SEC / 28322000);
    for (unsigned i = 0; i < 4490; i++) {
        uint8_t st = inb(h, 0x3da);
        retrace += st >> 3 & 1;
        off += st & 1;
        harness_run(h, frame_ns / 4490);
    }
    ck_assert_uint_ge(retrace, 19); /* lines 412 and 413 of 449 */
    ck_assert_uint_le(retrace, 21);
    /* 49 lines below the picture, and a fifth of each of 400. */
    ck_assert_uint_ge(off, 490 + 750);
    ck_assert_uint_le(off, 490 + 850);

    out_index(0x3d4, 0x11, 0x0e); /* clear the interrupt, */
    out_index(0x3d4, 0x11, 0x1e); /* and arm it */
    ck_assert_uint_eq(inb(h, 0x3c2) & 0x80, 0);
    harness_run(h, frame_ns);
    ck_assert_uint_eq(inb(h, 0x3c2) & 0x80, 0x80);
    harness_free(h);
}
END_TEST

/* Whatever a guest writes, pictures stay inside their bounds (run under ASan in CI). */
START_TEST(nonsense)
{
    struct vga_frame f;
    char buf[512];
    uint64_t x = 88172645463325252ull;

    setup();
    for (unsigned i = 0; i < 20000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        uint32_t r = (uint32_t)(x >> 32);
        switch (x & 7) {
        case 0:
            dispi(r >> 16 & 15, (uint16_t)r);
            break;
        case 1:
            poke(0xa0000 + (r & 0x1ffff), x, 1 + (r >> 20 & 7));
            break;
        case 2:
            peek(0xa0000 + (r & 0x1ffff), 1 + (r >> 20 & 7));
            break;
        default:
            portmap_write(h->board.ports, (uint16_t)(0x3b0 + (r & 0x2f)), r >> 8, 1 + (r >> 30 & 1));
            portmap_read(h->board.ports, (uint16_t)(0x3b0 + (r >> 8 & 0x2f)), 1);
            break;
        }
        if (i % 64 == 0) {
            vga_render(vga, &f);
            ck_assert_uint_le(f.width, VGA_MAX_WIDTH);
            ck_assert_uint_le(f.height, VGA_MAX_HEIGHT);
            ck_assert_uint_lt(vga_text(vga, buf, sizeof(buf)), sizeof(buf));
        }
    }
    harness_free(h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        registers, write_modes, text, planar_picture_and_split_screen, cga_picture,
        mode_13h_and_mode_x, dispi_modes, retrace, nonsense,
    };
    return harness_main("vga", tests, ARRAY_LEN(tests));
}
