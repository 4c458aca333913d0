/* Page walks, rights, error codes, A and D bits; TLB flush rules; the slow path. */
#include "base/io.h"
#include "mmu/mmu.h"
#include "tests/unit/suite.h"

#include <stdio.h>

#define PG    0x80000000ull
#define WP    0x10000ull
#define PSE   0x10ull
#define PAE   0x20ull
#define PGE   0x80ull
#define PCIDE 0x20000ull
#define SMEP  0x100000ull
#define SMAP  0x200000ull
#define PKE   0x400000ull
#define LMA   0x400ull
#define NXE   0x800ull

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX BIT64(63)

static struct physmap *map;
static struct phys_region ram, high, dev;
static struct mmu u;
static char seen[128];

static uint64_t io_read(void *opaque, uint64_t offset, unsigned size)
{
    sprintf(seen + strlen(seen), "r%x.%u ", (unsigned)offset, size);
    return 0x44332211;
}
static void io_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    sprintf(seen + strlen(seen), "w%x.%u=%x ", (unsigned)offset, size, (unsigned)value);
}
static const struct io_ops ops = {.name = "dev", .read = io_read, .write = io_write};

static void view_changed(void *opaque)
{
    mmu_flush_all(&u);
}
static void flags_set(void *opaque, uint64_t ra, uint64_t size)
{
    mmu_protect_ra(&u, ra, size);
}
static void code_written(void *opaque, uint64_t ra, unsigned size)
{
    sprintf(seen + strlen(seen), "code%x+%u ", (unsigned)ra, size);
}

static void setup(void)
{
    static const struct physmap_listener l = {NULL, view_changed, flags_set, code_written};
    map = physmap_new(16 * MIB, NULL, NULL);
    ck_assert(mmu_init(&u, map));
    physmap_set_listener(map, &l);
    physmap_add_ram(map, &ram, "ram", 0, 8 * MIB, physmap_store_alloc(map, 8 * MIB), 0);
    physmap_add_ram(map, &high, "high", 4 * GIB, 8 * MIB, physmap_store_alloc(map, 8 * MIB), 0);
    physmap_add_io(map, &dev, "dev", 0xa0000, 0x2000, &ops, NULL, 1);
    seen[0] = 0;
}

static void teardown(void)
{
    mmu_fini(&u);
    physmap_free(map);
}

static void put32(uint64_t at, uint32_t v)
{
    physmap_write(map, at, v, 4);
}
static void put64(uint64_t at, uint64_t v)
{
    physmap_write(map, at, v, 8);
}
static uint64_t get(uint64_t at)
{
    return physmap_read(map, at, 8);
}

static int64_t rd(uint64_t lin, enum mmu_index index) /* -error code on a fault */
{
    uint64_t v;
    if (mmu_read(&u, lin, 4, index, &v))
        return (int64_t)v;
    return -(int64_t)u.fault.error - 1;
}
static bool wr(uint64_t lin, uint32_t v, enum mmu_index index)
{
    return mmu_write(&u, lin, v, 4, index);
}
static bool fetch(uint64_t lin, enum mmu_index index)
{
    uint64_t ra, pa;
    return mmu_fetch_ra(&u, lin, index, &ra, &pa);
}
#define FAULTS(expr, code)                                                                         \
    do {                                                                                           \
        ck_assert(!(expr));                                                                        \
        ck_assert_uint_eq(u.fault.error, code);                                                    \
        ck_assert(!u.fault.gp);                                                                    \
    } while (0)

START_TEST(no_paging)
{
    setup();
    put32(0x1000, 0x12345678);
    ck_assert_int_eq(rd(0x1000, MMU_SUPER), 0x12345678);
    ck_assert_int_eq(rd(0x100001000, MMU_SUPER), 0x12345678); /* 4 GiB wrap */
    put32(0x101000, 0xabcd);
    mmu_set_a20(&u, false);
    ck_assert_int_eq(rd(0x101000, MMU_SUPER), 0x12345678);
    mmu_set_a20(&u, true);
    ck_assert_int_eq(rd(0x101000, MMU_SUPER), 0xabcd);
    /* A page-crossing write around the top of the space. */
    ck_assert(mmu_write(&u, 0xfffffffe, 0x44332211, 4, MMU_SUPER));
    ck_assert_uint_eq(physmap_read(map, 0, 2), 0x4433);
    teardown();
}
END_TEST

START_TEST(legacy)
{
    setup();
    put32(0x1000 + 0, 0x2000 | P | W | U);
    put32(0x1000 + 4, 0x00400000 | P | W | U | PS);
    put32(0x1000 + 8, (1u << 13) | P | W | PS); /* PSE-36: 4 GiB */
    put32(0x1000 + 12, BIT(21) | P | W | PS);   /* reserved bit */
    put32(0x2000 + 0x10 * 4, 0x3000 | P | U);
    put32(0x2000 + 0x11 * 4, 0x4000 | P | W);
    put32(0x3000, 0x55);
    put32(0x400010, 0x66);
    put32(4 * GIB + 0x20, 0x77);
    mmu_load_cr3(&u, 0x1000, false);
    mmu_set_regs(&u, PG | 1, PSE, 0);

    ck_assert_int_eq(rd(0x10000, MMU_USER), 0x55);
    ck_assert_uint_eq(get(0x2000 + 0x10 * 4) & 0xff, P | U | A);
    ck_assert_uint_eq(get(0x1000) & 0xff, P | W | U | A);
    FAULTS(wr(0x10000, 1, MMU_USER), PFEC_P | PFEC_W | PFEC_U);
    ck_assert_uint_eq(u.fault.addr, 0x10000);
    ck_assert(wr(0x10000, 0x56, MMU_SUPER)); /* WP clear */
    ck_assert_uint_eq(get(0x2000 + 0x10 * 4) & 0xff, P | U | A | D);
    mmu_set_regs(&u, PG | WP | 1, PSE, 0);
    FAULTS(wr(0x10000, 1, MMU_SUPER), PFEC_P | PFEC_W);
    ck_assert_int_eq(rd(0x11000, MMU_USER), -(PFEC_P | PFEC_U) - 1);
    ck_assert_int_eq(rd(0x12000, MMU_USER), -PFEC_U - 1);
    ck_assert_int_eq(rd(0x400010, MMU_USER), 0x66);
    ck_assert_int_eq(rd(0x800020, MMU_SUPER), 0x77);
    ck_assert_int_eq(rd(0xc00000, MMU_SUPER), -(PFEC_P | PFEC_RSVD) - 1);
    u.has_pse36 = false;
    mmu_flush_all(&u);
    ck_assert_int_eq(rd(0x800020, MMU_SUPER), -(PFEC_P | PFEC_RSVD) - 1);
    FAULTS(fetch(0x12000, MMU_SUPER), 0); /* no I without NXE and SMEP */
    /* First page fine, second not: nothing written, CR2 is the second page. */
    put32(0x4ffc, 0x99);
    FAULTS(mmu_write(&u, 0x11ffe, 0, 4, MMU_SUPER), PFEC_W);
    ck_assert_uint_eq(u.fault.addr, 0x12000);
    ck_assert_uint_eq(physmap_read(map, 0x4ffc, 4), 0x99);
    teardown();
}
END_TEST

START_TEST(pae)
{
    setup();
    put64(0x1020 + 0, 0x2000 | P);
    put64(0x2000, 0x3000 | P | W | U);
    put64(0x2008, 4 * GIB | P | W | PS);
    put64(0x2010, (4 * GIB | P | W | PS) + BIT(13));
    put64(0x3000 + 8, 0x4000 | P | W | U | NX);
    put64(0x3000 + 16, BIT64(40) | P);
    put32(0x4000, 0x41);
    put32(4 * GIB, 0x42);
    mmu_load_cr3(&u, 0x1020, false);
    ck_assert(mmu_load_pdptes(&u, 0x1020));
    mmu_set_regs(&u, PG | 1, PAE, NXE);
    put64(0x1020, 0); /* the registers keep what was read */
    put64(0x1020 + 8, 0x2000 | P | 2);
    ck_assert(!mmu_load_pdptes(&u, 0x1020)); /* a reserved bit */
    ck_assert_int_eq(rd(0x1000, MMU_USER), 0x41);
    FAULTS(fetch(0x1000, MMU_USER), PFEC_P | PFEC_U | PFEC_I);
    ck_assert_int_eq(rd(0x200000, MMU_SUPER), 0x42);
    ck_assert_int_eq(rd(0x400000, MMU_SUPER), -(PFEC_P | PFEC_RSVD) - 1);
    ck_assert_int_eq(rd(0x2000, MMU_SUPER), -(PFEC_P | PFEC_RSVD) - 1);
    ck_assert_int_eq(rd(0x40000000, MMU_SUPER), -1);
    ck_assert_int_eq(rd(0x80000000, MMU_SUPER), -1);
    put64(0x1020 + 8, 0x2000 | P);
    ck_assert(mmu_load_pdptes(&u, 0x1020));
    mmu_flush_all(&u);
    ck_assert_int_eq(rd(0x1000, MMU_SUPER), -1);
    ck_assert_int_eq(rd(0x40001000, MMU_SUPER), 0x41);
    mmu_set_regs(&u, PG | 1, PAE, 0); /* bit 63 is reserved without NXE */
    ck_assert_int_eq(rd(0x40001000, MMU_USER), -(PFEC_P | PFEC_U | PFEC_RSVD) - 1);
    teardown();
}
END_TEST

/* 4-level tables: PML4 0x1000, PDPT 0x2000, PD 0x3000, PT 0x4000; page n of the low 2 MiB is
 * what the test puts into its PTE. */
static void long_mode(uint64_t cr4, uint64_t efer)
{
    setup();
    put64(0x1000, 0x2000 | P | W | U);
    put64(0x2000, 0x3000 | P | W | U);
    put64(0x2008, 4 * GIB | P | W | PS); /* 1 GiB page at 1 GiB */
    put64(0x3000, 0x4000 | P | W | U);
    mmu_load_cr3(&u, 0x1000, false);
    mmu_set_regs(&u, PG | WP | 1, PAE | cr4, LMA | efer);
}
static void pte(unsigned n, uint64_t v)
{
    put64(0x4000 + n * 8, v);
}

START_TEST(four_level)
{
    uint64_t pa, size;
    bool w, g;

    long_mode(PGE, NXE);
    pte(5, 0x100000 | P | W | U | G);
    put32(0x100000, 0x11);
    put32(4 * GIB + 0x123450, 0x22);
    ck_assert_int_eq(rd(0x5000, MMU_USER), 0x11);
    ck_assert_int_eq(rd(GIB + 0x123450, MMU_SUPER), 0x22);
    ck_assert(mmu_walk(&u, 0x5008, MMU_READ, MMU_USER, &pa, &size, &w, &g));
    ck_assert(pa == 0x100008 && size == 4096 && !w && g); /* D not set yet */
    ck_assert(mmu_walk(&u, GIB + 0x123456, MMU_WRITE, MMU_SUPER, &pa, &size, &w, &g));
    ck_assert(pa == 4 * GIB + 0x123456 && size == GIB && w && !g);
    ck_assert(mmu_peek(&u, 0x5123, &pa) && pa == 0x100123);
    ck_assert(!mmu_peek(&u, 0x6000, &pa));
    u.has_1g = false;
    mmu_flush_all(&u);
    ck_assert_int_eq(rd(GIB, MMU_SUPER), -(PFEC_P | PFEC_RSVD) - 1);
    put64(0x1008, 0x2000 | P | PS); /* PS is reserved in the PML4 */
    ck_assert_int_eq(rd(BIT64(39), MMU_SUPER), -(PFEC_P | PFEC_RSVD) - 1);
    ck_assert(rd(BIT64(47), MMU_SUPER) < 0 && u.fault.gp);
    ck_assert(rd(BIT64(47) - 2, MMU_SUPER) < 0);
    ck_assert_uint_eq(u.fault.error, 0);
    teardown();
}
END_TEST

START_TEST(rights)
{
    long_mode(SMEP | SMAP, NXE);
    pte(1, 0x100000 | P | W | U);
    pte(2, 0x101000 | P | W | NX);
    ck_assert_int_eq(rd(0x1000, MMU_USER), 0);
    ck_assert(fetch(0x1000, MMU_USER));
    FAULTS(fetch(0x1000, MMU_SUPER), PFEC_P | PFEC_I);
    ck_assert_int_eq(rd(0x1000, MMU_SUPER), -PFEC_P - 1);
    FAULTS(wr(0x1000, 1, MMU_SUPER), PFEC_P | PFEC_W);
    ck_assert_int_eq(rd(0x1000, MMU_SUPER_AC), 0);
    FAULTS(fetch(0x2000, MMU_SUPER), PFEC_P | PFEC_I);
    FAULTS(fetch(0x2000, MMU_USER), PFEC_P | PFEC_I | PFEC_U);
    ck_assert_int_eq(rd(0x2000, MMU_SUPER), 0);
    teardown();
}
END_TEST

START_TEST(protection_keys)
{
    long_mode(PKE, NXE);
    pte(1, 0x100000 | P | W | U | 3ull << 59);
    ck_assert_int_eq(rd(0x1000, MMU_USER), 0);
    ck_assert(wr(0x1000, 7, MMU_USER));
    mmu_set_pkru(&u, 2u << 6); /* WD of key 3 */
    ck_assert_int_eq(rd(0x1000, MMU_USER), 7);
    FAULTS(wr(0x1000, 1, MMU_USER), PFEC_P | PFEC_W | PFEC_U | PFEC_PK);
    mmu_set_pkru(&u, 1u << 6); /* AD */
    ck_assert_int_eq(rd(0x1000, MMU_SUPER), -(PFEC_P | PFEC_PK) - 1);
    ck_assert(fetch(0x1000, MMU_USER));
    teardown();
}
END_TEST

START_TEST(flush_rules)
{
    long_mode(PGE, 0);
    pte(1, 0x100000 | P | W);
    pte(2, 0x100000 | P | W | G);
    put64(0x3008, 0x200000 | P | W | PS); /* 2 MiB at 2 MiB */
    put32(0x100000, 1);
    put32(0x101000, 2);
    put32(0x203000, 3);
    put32(0x403000, 4);
    ck_assert(rd(0x1000, MMU_SUPER) == 1 && rd(0x2000, MMU_SUPER) == 1);
    ck_assert_int_eq(rd(0x203000, MMU_SUPER), 3);
    pte(1, 0x101000 | P | W);
    pte(2, 0x101000 | P | W | G);
    put64(0x3008, 0x400000 | P | W | PS);
    ck_assert(rd(0x1000, MMU_SUPER) == 1 && rd(0x2000, MMU_SUPER) == 1); /* still cached */
    mmu_load_cr3(&u, 0x1000, false);
    ck_assert(rd(0x1000, MMU_SUPER) == 2 && rd(0x2000, MMU_SUPER) == 1); /* globals stay */
    ck_assert_int_eq(rd(0x203000, MMU_SUPER), 4);
    mmu_invlpg(&u, 0x2abc);
    ck_assert_int_eq(rd(0x2000, MMU_SUPER), 2);
    put64(0x3008, 0x200000 | P | W | PS);
    mmu_invlpg(&u, 0x2ff000); /* anywhere in the large page */
    ck_assert_int_eq(rd(0x203000, MMU_SUPER), 3);

    /* PCIDs: each has its own entries; bit 63 keeps them. */
    mmu_set_regs(&u, PG | WP | 1, PAE | PGE | PCIDE, LMA);
    mmu_load_cr3(&u, 0x1001, false);
    ck_assert_int_eq(rd(0x1000, MMU_SUPER), 2);
    mmu_load_cr3(&u, 0x1002, false);
    pte(1, 0x100000 | P | W);
    ck_assert_int_eq(rd(0x1000, MMU_SUPER), 1);
    mmu_load_cr3(&u, 0x1001, true);
    ck_assert_int_eq(rd(0x1000, MMU_SUPER), 2);
    mmu_invpcid_addr(&u, 2, 0x1000);
    ck_assert_int_eq(rd(0x1000, MMU_SUPER), 2);
    mmu_invpcid_single(&u, 1);
    ck_assert_int_eq(rd(0x1000, MMU_SUPER), 1);
    for (unsigned pcid = 1; pcid < 40; pcid++) { /* more than there are spaces */
        mmu_load_cr3(&u, 0x1000 + pcid, true);
        ck_assert_int_eq(rd(0x1000, MMU_SUPER), 1);
    }
    teardown();
}
END_TEST

START_TEST(flags_and_devices)
{
    uint8_t *host;
    bool faulted;
    struct tlb_entry *e;

    setup();
    mmu_set_regs(&u, 1, 0, 0);
    ck_assert(wr(0x5000, 1, MMU_SUPER));
    e = tlb_slot(&u, MMU_SUPER, 0x5000);
    ck_assert(e->write == 0x5000 && e->read == 0x5000);
    ck_assert_ptr_eq((void *)(uintptr_t)(e->addend + 0x5000), physmap_host(map, 0x5000));
    physmap_code_add(map, 0, 0x5080, 4);
    ck_assert_uint_ne(e->write, 0x5000);
    ck_assert_uint_eq(e->read, 0x5000);
    ck_assert(wr(0x5000, 1, MMU_SUPER)); /* another line */
    ck_assert_str_eq(seen, "");
    ck_assert(wr(0x507e, 1, MMU_SUPER));
    ck_assert_str_eq(seen, "code507e+4 ");
    ck_assert_ptr_null(mmu_host(&u, 0x5000, MMU_WRITE, MMU_SUPER, &faulted));
    ck_assert(!faulted);
    host = mmu_host(&u, 0x5004, MMU_READ, MMU_SUPER, &faulted);
    ck_assert_ptr_eq(host, physmap_host(map, 0x5004));
    physmap_code_set_lines(map, 0, 0x5000, 0);
    ck_assert(wr(0x5000, 1, MMU_SUPER));
    ck_assert_uint_eq(e->write, 0x5000);

    physmap_track(map, 0x5000, 0x1000);
    physmap_dirty_take(map, 0x5000);
    ck_assert_uint_ne(e->write, 0x5000);
    ck_assert(wr(0x5000, 1, MMU_SUPER) && wr(0x5000, 1, MMU_SUPER));
    ck_assert_uint_eq(e->write, 0x5000);
    ck_assert(physmap_dirty_take(map, 0x5000));
    physmap_sync(map);
    ck_assert_uint_ne(e->write, 0x5000);

    seen[0] = 0;
    ck_assert_int_eq(rd(0xa0010, MMU_SUPER), 0x44332211);
    ck_assert_ptr_null(mmu_host(&u, 0xa0010, MMU_READ, MMU_SUPER, &faulted));
    ck_assert(wr(0xa0ffd, 0x04030201, MMU_SUPER)); /* over a page boundary */
    ck_assert_str_eq(seen, "r10.4 wffd.2=201 wfff.1=3 w1000.1=4 ");

    /* Shadowed ROM while it is filled: writes go to RAM, reads do not, neither does an exchange's. */
    struct phys_region shadow = {.name = "shadow",
                                 .base = 0xc0000,
                                 .size = 0x4000,
                                 .priority = 1,
                                 .enabled = true,
                                 .read_ra = RA_NONE,
                                 .write_ra = 0xc0000};
    physmap_add(map, &shadow);
    ck_assert(wr(0xc0000, 0x12345678, MMU_SUPER) && wr(0xc0000, 0x12345678, MMU_SUPER));
    ck_assert_uint_eq(ld32(physmap_host(map, 0xc0000)), 0x12345678);
    ck_assert_int_eq(rd(0xc0000, MMU_SUPER), 0xffffffff);
    ck_assert_uint_ne(tlb_slot(&u, MMU_SUPER, 0xc0000)->write, 0xc0000);
    teardown();
}
END_TEST

static void watch_hit(void *opaque, unsigned n, uint64_t addr, unsigned size, bool write)
{
    sprintf(seen + strlen(seen), "%c%u@%x.%u ", write ? 'w' : 'r', n, (unsigned)addr, size);
}

START_TEST(watches)
{
    struct mmu_watch w[2] = {{0x6004, 4, true, true}, {0x6ffe, 4, false, true}};
    setup();
    mmu_set_regs(&u, 1, 0, 0);
    u.watch_hit = watch_hit;
    wr(0x6000, 1, MMU_SUPER);
    mmu_set_watches(&u, w, 2);
    ck_assert_uint_ne(tlb_slot(&u, MMU_SUPER, 0x6000)->write, 0x6000);
    wr(0x6000, 1, MMU_SUPER);
    ck_assert_str_eq(seen, "");
    wr(0x6001, 1, MMU_SUPER);
    rd(0x6007, MMU_SUPER);
    rd(0x6ffe, MMU_SUPER);
    wr(0x7000, 1, MMU_SUPER);
    ck_assert_str_eq(seen, "w0@6001.4 r0@6007.4 w1@7000.4 ");
    physmap_code_add(map, 0, 0x6100, 4); /* flags reach watched pages too */
    wr(0x6100, 1, MMU_SUPER);
    ck_assert_str_eq(seen, "w0@6001.4 r0@6007.4 w1@7000.4 code6100+4 ");
    mmu_set_watches(&u, NULL, 0);
    physmap_code_set_lines(map, 0, 0x6100, 0);
    wr(0x6004, 1, MMU_SUPER);
    ck_assert_uint_eq(tlb_slot(&u, MMU_SUPER, 0x6000)->write, 0x6000);
    teardown();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {no_paging, legacy,          pae,         four_level,
                                  rights,    protection_keys, flush_rules, flags_and_devices,
                                  watches};
    return RUN_TESTS("mmu", tests);
}
