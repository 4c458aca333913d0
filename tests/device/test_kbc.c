/* The 8042 with keyboard and mouse, as firmware and drivers talk to it. */
#include "devices/kbc.h"
#include "tests/device/harness.h"

static struct harness *h;
static struct kbc *kbc;

#define MS 1000000ull

static void start(void)
{
    h = harness_new(0);
    kbc = harness_alloc(h, &kbc_class, "kbc");
    kbc->cfg.irq1 = harness_irq(h, 1);
    kbc->cfg.irq12 = harness_irq(h, 12);
    harness_start(h, &kbc->dev);
}

/* Waits for a byte; -1 if none comes in 20 ms. aux: from which device it must be. */
static int take(bool aux)
{
    for (int i = 0; i < 400; i++) {
        uint8_t st = inb(h, 0x64);
        if (st & 1) {
            ck_assert_int_eq(!!(st & 0x20), aux);
            return inb(h, 0x60);
        }
        harness_run(h, 50000);
    }
    return -1;
}

static void expect(bool aux, const uint8_t *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        ck_assert_int_eq(take(aux), bytes[i]);
    ck_assert_int_eq(take(aux), -1);
}
#define EXPECT_KBD(...)                                                                            \
    do {                                                                                           \
        const uint8_t b_[] = {__VA_ARGS__};                                                        \
        expect(false, b_, sizeof(b_));                                                             \
    } while (0)
#define EXPECT_MOUSE(...)                                                                          \
    do {                                                                                           \
        const uint8_t b_[] = {__VA_ARGS__};                                                        \
        expect(true, b_, sizeof(b_));                                                              \
    } while (0)

static void kbd(uint8_t v)
{
    outb(h, 0x60, v);
}

static void mouse(uint8_t v)
{
    outb(h, 0x64, 0xd4);
    outb(h, 0x60, v);
}

static void mouse_rate(uint8_t v)
{
    mouse(0xf3);
    EXPECT_MOUSE(0xfa);
    mouse(v);
    EXPECT_MOUSE(0xfa);
}

START_TEST(controller)
{
    start();
    outb(h, 0x64, 0xaa);
    EXPECT_KBD(0x55);
    outb(h, 0x64, 0xab);
    EXPECT_KBD(0x00);
    outb(h, 0x64, 0xa9);
    EXPECT_KBD(0x00);
    outb(h, 0x64, 0x60);
    outb(h, 0x60, 0x47);
    outb(h, 0x64, 0x20);
    EXPECT_KBD(0x47);
    outb(h, 0x64, 0xa7);
    outb(h, 0x64, 0x20);
    EXPECT_KBD(0x67);
    outb(h, 0x64, 0xa8);
    outb(h, 0x64, 0xd3); /* loopback as the mouse */
    outb(h, 0x60, 0x5a);
    ck_assert_int_eq(h->irq[12].level, 1);
    EXPECT_MOUSE(0x5a);
    ck_assert_int_eq(h->irq[12].level, 0);
    outb(h, 0x64, 0xd0);
    ck_assert_int_eq(take(false) & 3, 3);
    outb(h, 0x64, 0xd1);
    outb(h, 0x60, 0xcd);
    ck_assert(!h->a20);
    outb(h, 0x64, 0xdf);
    ck_assert(h->a20);
    ck_assert_uint_eq(h->resets, 0);
    outb(h, 0x64, 0xfe);
    ck_assert_uint_eq(h->resets, 1);
    ck_assert_int_eq(h->reset_kind, RESET_HARD);
    harness_free(h);
}
END_TEST

START_TEST(keyboard_commands)
{
    start();
    kbd(0xff);
    ck_assert_int_eq(take(false), 0xfa);
    EXPECT_KBD(0xaa);
    kbd(0xf2);
    EXPECT_KBD(0xfa, 0xab, 0x41); /* 83h as translated */
    kbd(0xee);
    EXPECT_KBD(0xee);
    kbd(0xed);
    EXPECT_KBD(0xfa);
    kbd(0x05);
    EXPECT_KBD(0xfa);
    ck_assert_uint_eq(kbc_leds(kbc), 5);
    kbd(0xf0);
    EXPECT_KBD(0xfa);
    kbd(0x00);
    EXPECT_KBD(0xfa, 0x41); /* set 2, translated */
    kbd(0xe0);
    EXPECT_KBD(0xfe);
    harness_free(h);
}
END_TEST

START_TEST(keys)
{
    start();
    kbc_key(kbc, 0x1e, true); /* A */
    harness_run(h, MS);
    ck_assert_int_eq(h->irq[1].level, 1);
    EXPECT_KBD(0x1e);
    kbc_key(kbc, 0x1e, false);
    EXPECT_KBD(0x9e);
    kbc_key(kbc, 0x41, true); /* F7 */
    kbc_key(kbc, 0x41, false);
    EXPECT_KBD(0x41, 0xc1);
    kbc_key(kbc, 0x148, true); /* up */
    kbc_key(kbc, 0x148, false);
    EXPECT_KBD(0xe0, 0x48, 0xe0, 0xc8);
    kbc_key(kbc, 0x145, true); /* Pause */
    kbc_key(kbc, 0x145, false);
    EXPECT_KBD(0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5);
    kbc_key(kbc, 0x137, true); /* Print Screen */
    kbc_key(kbc, 0x137, false);
    EXPECT_KBD(0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa);
    /* Untranslated set 2. */
    outb(h, 0x64, 0x60);
    outb(h, 0x60, 0x05);
    kbc_key(kbc, 0x1e, true);
    kbc_key(kbc, 0x1e, false);
    kbc_key(kbc, 0x41, true);
    kbc_key(kbc, 0x41, false);
    kbc_key(kbc, 0x11d, true);
    kbc_key(kbc, 0x11d, false);
    EXPECT_KBD(0x1c, 0xf0, 0x1c, 0x83, 0xf0, 0x83, 0xe0, 0x14, 0xe0, 0xf0, 0x14);
    /* Set 3. */
    kbd(0xf0);
    EXPECT_KBD(0xfa);
    kbd(0x03);
    EXPECT_KBD(0xfa);
    kbc_key(kbc, 0x11d, true);
    kbc_key(kbc, 0x11d, false);
    EXPECT_KBD(0x58, 0xf0, 0x58);
    harness_free(h);
}
END_TEST

/* Every key of set 1 comes back unchanged through set 2 and the translation. */
START_TEST(translation)
{
    start();
    for (unsigned code = 1; code <= 0x58; code++) {
        if (code == 0x55)
            continue; /* FFh in set 2 by the table: no key */
        kbc_key(kbc, code, true);
        ck_assert_int_eq(take(false), (int)code);
        kbc_key(kbc, code, false);
        ck_assert_int_eq(take(false), (int)(code | 0x80));
    }
    harness_free(h);
}
END_TEST

START_TEST(typematic_and_overflow)
{
    unsigned n = 0;

    start();
    kbc_key(kbc, 0x10, true);
    ck_assert_int_eq(take(false), 0x10);
    harness_run(h, 490 * MS);
    ck_assert_int_eq(inb(h, 0x64) & 1, 0);
    for (int i = 0; i < 100; i++) {
        harness_run(h, 10 * MS);
        if (inb(h, 0x64) & 1) {
            ck_assert_uint_eq(inb(h, 0x60), 0x10);
            n++;
        }
    }
    ck_assert_uint_ge(n, 10);
    ck_assert_uint_le(n, 12);
    kbc_key(kbc, 0x10, false);
    ck_assert_int_eq(take(false), 0x90);
    /* A guest that does not listen: presses are dropped, releases are kept. */
    for (unsigned i = 0; i < 1000; i++) {
        kbc_key(kbc, 2 + i % 10, true);
        if (i == 995)
            kbc_key(kbc, 0x2a, true);
        kbc_key(kbc, 2 + i % 10, false);
    }
    while (take(false) >= 0)
        n++;
    ck_assert_uint_lt(n, 200);
    harness_free(h);
}
END_TEST

START_TEST(disabled_lines)
{
    start();
    outb(h, 0x64, 0xad);
    kbc_key(kbc, 0x1e, true);
    ck_assert_int_eq(take(false), -1);
    outb(h, 0x64, 0xae);
    EXPECT_KBD(0x1e);
    kbd(0xf5);
    EXPECT_KBD(0xfa);
    kbc_key(kbc, 0x1e, false);
    ck_assert_int_eq(take(false), -1);
    harness_free(h);
}
END_TEST

START_TEST(mouse_basics)
{
    start();
    mouse(0xff);
    EXPECT_MOUSE(0xfa, 0xaa, 0x00);
    kbc_mouse(kbc, 5, 5, 0, 0);
    ck_assert_int_eq(take(true), -1); /* not enabled */
    mouse(0xf4);
    EXPECT_MOUSE(0xfa);
    kbc_mouse(kbc, 10, 3, 0, 1);
    EXPECT_MOUSE(0x29, 10, 0xfd);
    kbc_mouse(kbc, -300, 0, 0, 0);
    EXPECT_MOUSE(0x18, 0x01, 0x00, 0x18, 0xd3, 0x00); /* -255 and -45 */
    mouse(0xe9);
    EXPECT_MOUSE(0xfa, 0x20, 0x02, 100);
    mouse(0xe7);
    EXPECT_MOUSE(0xfa);
    kbc_mouse(kbc, 7, 0, 0, 0);
    EXPECT_MOUSE(0x08, 14, 0);
    mouse(0xf0); /* remote */
    EXPECT_MOUSE(0xfa);
    kbc_mouse(kbc, 1, 0, 0, 4);
    ck_assert_int_eq(take(true), -1);
    mouse(0xeb);
    EXPECT_MOUSE(0xfa, 0x0c, 1, 0);
    mouse(0xee); /* wrap */
    EXPECT_MOUSE(0xfa);
    mouse(0xf2);
    EXPECT_MOUSE(0xf2);
    mouse(0xec);
    EXPECT_MOUSE(0xfa);
    mouse(0xea);
    EXPECT_MOUSE(0xfa);
    harness_free(h);
}
END_TEST

START_TEST(mouse_wheel)
{
    start();
    mouse_rate(200);
    mouse_rate(100);
    mouse_rate(80);
    mouse(0xf2);
    EXPECT_MOUSE(0xfa, 0x03);
    mouse(0xf4);
    EXPECT_MOUSE(0xfa);
    kbc_mouse(kbc, 0, 0, -1, 0);
    EXPECT_MOUSE(0x08, 0, 0, 0xff);
    mouse_rate(200);
    mouse_rate(200);
    mouse_rate(80);
    mouse(0xf2);
    EXPECT_MOUSE(0xfa, 0x04);
    kbc_mouse(kbc, 0, 0, 1, 8);
    EXPECT_MOUSE(0x08, 0, 0, 0x11);
    harness_free(h);
}
END_TEST

START_TEST(quick_click_is_seen)
{
    start();
    mouse(0xf4);
    EXPECT_MOUSE(0xfa);
    kbc_mouse(kbc, 1, 0, 0, 0);
    kbc_mouse(kbc, 0, 0, 0, 1);
    kbc_mouse(kbc, 0, 0, 0, 0);
    EXPECT_MOUSE(0x08, 1, 0, 0x09, 0, 0, 0x08, 0, 0);
    harness_free(h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        controller,     keyboard_commands, keys,        translation,        typematic_and_overflow,
        disabled_lines, mouse_basics,      mouse_wheel, quick_click_is_seen};
    return harness_main("kbc", tests, ARRAY_LEN(tests));
}
