/* The physical map: priorities, direct and device pieces, page flags, dirty tracking, lines of
 * code. */
#include "base/io.h"
#include "mmu/physmap_priv.h"
#include "tests/unit/suite.h"

#include <stdio.h>

static char seen[256];
static unsigned views, flags_told;

static uint64_t io_read(void *opaque, uint64_t offset, unsigned size)
{
    sprintf(seen + strlen(seen), "r%x.%u ", (unsigned)offset, size);
    return 0x8877665544332211ull;
}
static void io_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    sprintf(seen + strlen(seen), "w%x.%u=%x ", (unsigned)offset, size, (unsigned)value);
}
static const struct io_ops ops = {.name = "dev", .read = io_read, .write = io_write};

static void view_changed(void *opaque)
{
    views++;
}
static void flags_set(void *opaque, uint64_t ra, uint64_t size)
{
    flags_told++;
}
static void code_written(void *opaque, uint64_t ra, unsigned size)
{
    sprintf(seen + strlen(seen), "code%x+%u ", (unsigned)ra, size);
}

static struct physmap *make(void)
{
    struct physmap *m = physmap_new(1 * MIB, NULL, NULL);
    static const struct physmap_listener l = {NULL, view_changed, flags_set, code_written};
    physmap_set_listener(m, &l);
    seen[0] = 0;
    views = flags_told = 0;
    return m;
}

START_TEST(priorities)
{
    struct physmap *m = make();
    struct phys_region ram, rom, dev;
    struct phys_page p;
    uint64_t ra = physmap_store_alloc(m, 64 * KIB), rom_ra = physmap_store_alloc(m, 4096);

    ck_assert_uint_eq(ra, 0);
    ck_assert_uint_eq(physmap_store_alloc(m, 1 * MIB), RA_NONE);
    physmap_add_ram(m, &ram, "ram", 0, 64 * KIB, ra, 0);
    physmap_add_rom(m, &rom, "rom", 0x2000, 4096, rom_ra, 1);
    physmap_add_io(m, &dev, "dev", 0x3ff0, 0x10, &ops, NULL, 2);
    ck_assert_uint_eq(views, 3);
    st32(physmap_host(m, rom_ra), 0xcafef00d);

    ck_assert_uint_eq(physmap_read(m, 0x2000, 4), 0xcafef00d);
    physmap_write(m, 0x2000, 0, 4);
    ck_assert_uint_eq(physmap_read(m, 0x2000, 4), 0xcafef00d);
    physmap_write(m, 0x1ffe, 0x11223344, 4); /* half of it RAM, half ROM */
    ck_assert_uint_eq(physmap_read(m, 0x1ffc, 8), 0xcafef00d33440000ull);
    ck_assert_uint_eq(physmap_read(m, 0x20000, 8), UINT64_MAX);

    ck_assert(physmap_page(m, 0x2abc, &p));
    ck_assert_uint_eq(p.read_ra, rom_ra);
    ck_assert_uint_eq(p.write_ra, RA_NONE);
    ck_assert(!physmap_page(m, 0x3000, &p)); /* not the whole page */
    ck_assert(physmap_page(m, 0x1000, &p));
    ck_assert_uint_eq(p.write_ra, 0x1000);

    rom.enabled = false;
    physmap_begin(m);
    physmap_commit(m);
    ck_assert_uint_eq(views, 4);
    physmap_begin(m); /* nothing changed: nothing told */
    physmap_commit(m);
    ck_assert_uint_eq(views, 4);
    ck_assert_uint_eq(physmap_read(m, 0x2000, 4), 0);
    physmap_remove(m, &dev);
    ck_assert(physmap_page(m, 0x3000, &p));
    physmap_free(m);
}
END_TEST

START_TEST(devices_and_dma)
{
    struct physmap *m = make();
    struct phys_region ram, dev;
    uint8_t buf[16];

    physmap_add_ram(m, &ram, "ram", 0, 64 * KIB, physmap_store_alloc(m, 64 * KIB), 0);
    physmap_add_io(m, &dev, "dev", 0x10000, 0x1000, &ops, NULL, 1);
    ck_assert_uint_eq(physmap_read(m, 0x10004, 2), 0x2211);
    physmap_write(m, 0x10008, 0x1122334455667788ull, 8); /* max_access 4 */
    physmap_read(m, 0xfffe, 4);
    ck_assert_str_eq(seen, "r4.2 w8.4=55667788 wc.4=11223344 r0.2 ");
    seen[0] = 0;
    memset(buf, 0xaa, sizeof(buf));
    physmap_write_buf(m, 0xfffa, buf, 11);
    ck_assert_str_eq(seen, "w0.4=aaaaaaaa w4.1=aa ");
    physmap_read_buf(m, 0xfff9, buf, 9);
    ck_assert_mem_eq(buf, "\0\xaa\xaa\xaa\xaa\xaa\xaa\x11\x22", 9);
    physmap_free(m);
}
END_TEST

START_TEST(code_lines)
{
    struct physmap *m = make();
    struct phys_region ram;

    physmap_add_ram(m, &ram, "ram", 0, 64 * KIB, physmap_store_alloc(m, 64 * KIB), 0);
    physmap_code_add(m, 0, 0x107e, 4); /* lines 0 and 1 of page 1 */
    ck_assert_uint_eq(physmap_flags(m, 0x1000), PF_CODE);
    ck_assert_uint_eq(flags_told, 0); /* no TLB had the page */
    physmap_write(m, 0x1100, 1, 4);
    ck_assert_str_eq(seen, "");
    physmap_write(m, 0x10fe, 1, 4);
    physmap_write_buf(m, 0xffe, "....", 4); /* DMA over the page boundary */
    ck_assert_str_eq(seen, "code10fe+4 code1000+2 ");
    physmap_code_set_lines(m, 0, 0x1234, 0);
    physmap_write(m, 0x1000, 1, 4);
    ck_assert_str_eq(seen, "code10fe+4 code1000+2 ");
    physmap_free(m);
}
END_TEST

/* CPUs on threads: code_add names those that may hold a write tag, until they are forgotten; a page is
 * code as long as any CPU has lines in it. */
START_TEST(code_lines_shared)
{
    struct physmap *m = make();
    struct phys_region ram;

    ck_assert(physmap_set_cpus(m, 3, true));
    physmap_add_ram(m, &ram, "ram", 0, 64 * KIB, physmap_store_alloc(m, 64 * KIB), 0);
    ck_assert_uint_eq(physmap_note_tlb(m, 2, 0x1000), 0);
    ck_assert_uint_eq(physmap_code_add(m, 1, 0x1080, 4), BIT(2));
    ck_assert_uint_eq(physmap_note_tlb(m, 0, 0x1000), PF_CODE); /* no tag for this one */
    ck_assert_uint_eq(physmap_code_add(m, 0, 0x1400, 4), BIT(2) | BIT(0));
    physmap_tlb_forget(m, BIT(2) | BIT(0), 0x1000, PAGE_SIZE);
    ck_assert_uint_eq(physmap_code_add(m, 0, 0x1408, 4), 0);
    ck_assert_uint_eq(flags_told, 0);

    ck_assert_uint_eq(physmap_code_cpus(m, 0x1084, 1), BIT(1));
    ck_assert_uint_eq(physmap_code_cpus(m, 0x1400, 1), BIT(0));
    ck_assert_uint_eq(physmap_code_cpus(m, 0x1000, PAGE_SIZE), BIT(0) | BIT(1));
    ck_assert_uint_eq(physmap_code_cpus(m, 0x1200, 0x100), 0);
    physmap_code_set_lines(m, 1, 0x1000, 0);
    ck_assert_uint_eq(physmap_flags(m, 0x1000), PF_CODE);
    physmap_code_set_lines(m, 0, 0x1000, 0);
    ck_assert_uint_eq(physmap_flags(m, 0x1000), 0);
    physmap_free(m);
}
END_TEST

START_TEST(dirty_tracking)
{
    struct physmap *m = make();
    struct phys_region ram;

    physmap_add_ram(m, &ram, "ram", 0, 64 * KIB, physmap_store_alloc(m, 64 * KIB), 0);
    physmap_track(m, 0x4000, 0x2000);
    ck_assert(physmap_dirty_take(m, 0x4000)); /* first: everything */
    ck_assert(physmap_dirty_take(m, 0x5000));
    ck_assert(!physmap_dirty_take(m, 0x4000));
    physmap_write(m, 0x5004, 1, 1);
    ck_assert(!physmap_dirty_take(m, 0x4000));
    ck_assert_uint_eq(physmap_flags(m, 0x5000), 0);
    ck_assert(physmap_dirty_take(m, 0x5000));
    ck_assert_uint_eq(physmap_flags(m, 0x5000), PF_TRACK);
    physmap_sync(m);
    physmap_free(m);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {priorities, devices_and_dma, code_lines, code_lines_shared,
                                  dirty_tracking};
    return RUN_TESTS("physmap", tests);
}
