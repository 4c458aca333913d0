/* The block layer against qemu-img (package qemu-utils): what one writes the other reads, and what
 * is damaged is refused or gives I/O errors.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/block.h"
#include "tests/device/harness.h"

#define SIZE (6 * MIB + 3 * 512)

static char dir[64];

static const char *in_dir(const char *name)
{
    static char names[8][128];
    static unsigned next;
    char *s = names[next++ % 8];
    snprintf(s, sizeof(names[0]), "%s/%s", dir, name);
    return s;
}

/* Runs a shell command in the test's directory; its exit status. */
static int sh(const char *fmt, ...)
{
    char cmd[1024];
    int n = snprintf(cmd, sizeof(cmd), "cd %s && (", dir);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd + n, sizeof(cmd) - (size_t)n, fmt, ap);
    va_end(ap);
    strncat(cmd, ") >/dev/null 2>&1", sizeof(cmd) - strlen(cmd) - 1);
    int r = system(cmd);
    return WIFEXITED(r) ? WEXITSTATUS(r) : -1;
}

static void setup(void)
{
    /* Where flushes cost nothing, if there is such a place. */
    strcpy(dir, access("/dev/shm", W_OK) ? "/tmp/tnm-block-XXXXXX" : "/dev/shm/tnm-block-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_msg(sh("qemu-img --version") == 0, "qemu-img is missing: install qemu-utils");
}

static void teardown(void)
{
    char cmd[128];
    snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
    ck_assert_int_eq(system(cmd), 0);
}

static struct block_dev *open_image(const char *name, const char *how, struct error *err)
{
    struct block_options o = {.path = in_dir(name)};
    o.readonly = strstr(how, "ro") != NULL;
    o.discard = strstr(how, "discard") != NULL;
    o.format = strstr(how, "raw") ? "raw" : strstr(how, "qcow2") ? "qcow2" : NULL;
    return block_open(&o, err);
}

static struct block_dev *must_open(const char *name, const char *how)
{
    struct error err = {0};
    struct block_dev *b = open_image(name, how, &err);
    ck_assert_msg(b != NULL, "%s", err.text);
    return b;
}

static void refused(const char *name, const char *how, enum error_code code, const char *word)
{
    struct error err = {0};
    struct block_dev *b = open_image(name, how, &err);
    ck_assert_msg(!b, "%s was opened", name);
    ck_assert_msg(err.code == code && strstr(err.text, word) && strstr(err.text, ": "),
                  "%s: code %d, '%s'", name, err.code, err.text);
}

static uint32_t rng;
static uint32_t rnd(uint32_t below)
{
    rng = rng * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)(rng >> 4) * below >> 28);
}

static void fill(uint8_t *p, size_t n)
{
    uint8_t seed = (uint8_t)(rnd(255) + 1);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(seed + (i >> 9));
}

static void put_file(const char *name, const void *data, size_t n, off_t at)
{
    int fd = open(in_dir(name), O_RDWR | O_CREAT, 0644);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, data, n, at), (ssize_t)n);
    close(fd);
}

static uint64_t be_field(const char *name, off_t at, unsigned bytes)
{
    uint8_t b[8];
    uint64_t v = 0;
    int fd = open(in_dir(name), O_RDONLY);
    ck_assert_int_eq(pread(fd, b, bytes, at), (ssize_t)bytes);
    close(fd);
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | b[i];
    return v;
}

static void put_be(const char *name, off_t at, uint64_t v, unsigned bytes)
{
    uint8_t b[8];
    for (unsigned i = 0; i < bytes; i++)
        b[i] = (uint8_t)(v >> (bytes - 1 - i) * 8);
    put_file(name, b, bytes, at);
}

/* Random requests; want[] follows them. */
static void exercise(struct block_dev *b, uint8_t *want, unsigned rounds)
{
    static uint8_t buf[512 * 1024];
    for (unsigned i = 0; i < rounds; i++) {
        bool other = false;
        uint64_t at = rnd(SIZE / 512) * 512u;
        size_t n = (1 + rnd(rnd(4) ? 16 : 600)) * 512;
        n = (size_t)MIN((uint64_t)n, SIZE - at);
        switch (rnd(8)) {
        case 0:
            ck_assert(block_write_zeroes(b, at, n));
            memset(want + at, 0, n);
            break;
        case 1: /* what is trimmed is old or zero */
            ck_assert(block_trim(b, at, n));
            ck_assert(block_read(b, at, buf, n));
            for (size_t k = 0; k < n; k++)
                other |= buf[k] != 0 && buf[k] != want[at + k];
            ck_assert(!other);
            memcpy(want + at, buf, n);
            break;
        case 2:
        case 3:
            ck_assert(block_read(b, at, buf, n));
            ck_assert(!memcmp(buf, want + at, n));
            break;
        case 4:
            if (!rnd(8))
                ck_assert(block_flush(b));
            break;
        default:
            fill(want + at, n);
            ck_assert(block_write(b, at, want + at, n));
            break;
        }
    }
}

static void compare(struct block_dev *b, const uint8_t *want)
{
    uint8_t *got = malloc(SIZE);
    ck_assert_uint_eq(block_size(b), SIZE);
    ck_assert(block_read(b, 0, got, SIZE));
    ck_assert(!memcmp(got, want, SIZE));
    free(got);
}

/* qemu-img agrees with want, and finds nothing wrong (leaks: 3 is allowed). */
static void qemu_agrees(const char *name, const uint8_t *want, bool leaks)
{
    int r = sh("qemu-img check -f qcow2 %s", name);
    ck_assert_msg(r == 0 || (leaks && r == 3), "qemu-img check says %d", r);
    put_file("want.raw", want, SIZE, 0);
    ck_assert_int_eq(sh("qemu-img compare -f qcow2 -F raw %s want.raw", name), 0);
}

START_TEST(raw_files)
{
    uint8_t buf[1024], *want = calloc(1, SIZE);
    ck_assert_int_eq(sh("truncate -s %llu d.raw", (unsigned long long)SIZE), 0);
    struct block_dev *b = must_open("d.raw", "");
    rng = 1;
    exercise(b, want, 200);
    compare(b, want);
    ck_assert(!block_read(b, SIZE - 512, buf, 1024));
    ck_assert(!block_read(b, UINT64_MAX - 511, buf, 1024));
    block_close(b);
    b = must_open("d.raw", "ro");
    compare(b, want);
    ck_assert(!block_write(b, 0, buf, 512));
    block_close(b);
    b = must_open("d.raw", "discard");
    uint8_t *other = malloc(SIZE);
    memcpy(other, want, SIZE);
    exercise(b, other, 300);
    compare(b, other);
    block_close(b);
    b = must_open("d.raw", "raw,ro");
    compare(b, want);
    block_close(b);
    free(want);
    free(other);
}
END_TEST

START_TEST(raw_tail)
{
    uint8_t buf[512];
    ck_assert_int_eq(sh("truncate -s 700 t.raw"), 0);
    struct block_dev *b = must_open("t.raw", "");
    ck_assert_uint_eq(block_size(b), 1024);
    memset(buf, 1, sizeof(buf));
    ck_assert(!block_write(b, 512, buf, 512));
    memset(buf + 188, 0, sizeof(buf) - 188);
    ck_assert(block_write(b, 512, buf, 512));
    memset(buf, 9, sizeof(buf));
    ck_assert(block_read(b, 512, buf, 512));
    ck_assert(buf[187] == 1 && buf[188] == 0 && buf[511] == 0);
    block_close(b);
    struct stat st;
    stat(in_dir("t.raw"), &st);
    ck_assert_int_eq(st.st_size, 700);
}
END_TEST

START_TEST(refusals)
{
    refused("nothing.img", "", ERR_NOTFOUND, "does not exist");
    refused(".", "", ERR_INVALID, "directory");
    refused(".", "ro", ERR_INVALID, "directory");
    sh("touch empty.img; mkfifo fifo");
    refused("empty.img", "", ERR_FORMAT, "empty");
    refused("fifo", "", ERR_INVALID, "neither");
    refused("empty.img", "qcow2", ERR_FORMAT, "damaged");
    sh("truncate -s 1M zero.img");
    refused("zero.img", "qcow2", ERR_FORMAT, "not a qcow2");
    sh("qemu-img create -f vmdk x.vmdk 1M");
    refused("x.vmdk", "", ERR_UNSUPPORTED, "VMDK");
    sh("qemu-img create -f vdi x.vdi 1M");
    refused("x.vdi", "", ERR_UNSUPPORTED, "VDI");
    sh("qemu-img create -f qcow2 -o extended_l2=on,cluster_size=128k e.qcow2 1M");
    refused("e.qcow2", "", ERR_UNSUPPORTED, "extended L2");
    sh("qemu-img create -f qcow2 -o compression_type=zstd z.qcow2 1M");
    refused("z.qcow2", "", ERR_UNSUPPORTED, "zstd");
    sh("qemu-img create -f qcow2 -o data_file=data.raw d.qcow2 1M");
    refused("d.qcow2", "", ERR_UNSUPPORTED, "external data file");
    sh("qemu-img create -f qcow2 u.qcow2 1M");
    put_be("u.qcow2", 72, BIT64(40), 8);
    refused("u.qcow2", "", ERR_UNSUPPORTED, "feature number 40");
    put_be("u.qcow2", 72, 2, 8);
    refused("u.qcow2", "", ERR_FORMAT, "corrupt");
    block_close(must_open("u.qcow2", "ro"));
    struct error err;
    ck_assert_ptr_null(
        block_open(&(struct block_options){.path = in_dir("u.qcow2"), .format = "vhd"}, &err));
    ck_assert_int_eq(err.code, ERR_INVALID);
}
END_TEST

START_TEST(locks)
{
    sh("qemu-img create -f qcow2 l.qcow2 1M");
    struct block_dev *a = must_open("l.qcow2", "");
    refused("l.qcow2", "", ERR_STATE, "in use");
    refused("l.qcow2", "ro", ERR_STATE, "written by another");
    /* QEMU's own locks are the same ones. */
    ck_assert_int_ne(sh("qemu-io -f qcow2 -c 'write 0 512' l.qcow2"), 0);
    block_close(a);
    a = must_open("l.qcow2", "ro");
    struct block_dev *b = must_open("l.qcow2", "discard");
    refused("l.qcow2", "", ERR_STATE, "in use");
    ck_assert_int_eq(sh("qemu-img check l.qcow2"), 0);
    block_close(b);
    block_close(a);
    block_close(must_open("l.qcow2", ""));
}
END_TEST

/* A guest must not turn its probed raw disk into an image with a backing file. */
START_TEST(magic_guard)
{
    uint8_t sector[512] = "QFI\xfb";
    sh("truncate -s 1M g.raw");
    struct block_dev *b = must_open("g.raw", "");
    ck_assert(!block_write(b, 0, sector, 512));
    ck_assert(block_write(b, 512, sector, 512));
    block_close(b);
    b = must_open("g.raw", "raw");
    ck_assert(block_write(b, 0, sector, 512));
    block_close(b);
}
END_TEST

static const char *const flavours[] = {
    "compat=v3",
    "compat=0.10",
    "compat=v3,cluster_size=512",
    "compat=0.10,cluster_size=512",
    "compat=v3,cluster_size=4096,refcount_bits=1",
    "compat=v3,cluster_size=1024,refcount_bits=4",
    "compat=v3,cluster_size=512,refcount_bits=64",
    "compat=v3,cluster_size=2M,refcount_bits=8",
    "compat=v3,lazy_refcounts=on,cluster_size=4096",
    "compat=v3,preallocation=metadata",
};

START_TEST(qcow2_flavours)
{
    uint8_t *want = calloc(1, SIZE);
    ck_assert_int_eq(
        sh("qemu-img create -f qcow2 -o %s q.qcow2 %llu", flavours[_i], (unsigned long long)SIZE),
        0);
    rng = (uint32_t)_i;
    for (unsigned pass = 0; pass < 3; pass++) {
        struct block_dev *b = must_open("q.qcow2", "");
        exercise(b, want, 250);
        compare(b, want);
        block_close(b);
        qemu_agrees("q.qcow2", want, false);
    }
    struct block_dev *b = must_open("q.qcow2", "ro");
    compare(b, want);
    block_close(b);
    free(want);
}
END_TEST

START_TEST(qcow2_backing)
{
    uint8_t *want = calloc(1, SIZE), *base = calloc(1, SIZE);
    rng = 77;
    for (uint64_t at = 0; at < 3 * MIB; at += 4096)
        fill(base + at, 4096);
    put_file("base.raw", base, 3 * MIB + 512, 0); /* shorter than what stands on it */
    memset(base + 3 * MIB + 512, 0, SIZE - 3 * MIB - 512);
    memcpy(want, base, SIZE);
    const char *compat = _i ? "v3" : "0.10";
    ck_assert_int_eq(
        sh("qemu-img create -f qcow2 -b base.raw -F raw mid.qcow2 %llu", (unsigned long long)SIZE),
        0);
    struct block_dev *b = must_open("mid.qcow2", "");
    exercise(b, want, 60);
    block_close(b);
    qemu_agrees("mid.qcow2", want, false);
    ck_assert_int_eq(sh("mkdir sub; qemu-img create -f qcow2 -o compat=%s -b ../mid.qcow2 -F qcow2 "
                        "sub/top.qcow2",
                        compat),
                     0);
    for (unsigned pass = 0; pass < 2; pass++) {
        b = must_open("sub/top.qcow2", "");
        exercise(b, want, 150);
        compare(b, want);
        block_close(b);
        qemu_agrees("sub/top.qcow2", want, false);
    }
    free(want);
    free(base);
}
END_TEST

START_TEST(qcow2_compressed)
{
    uint8_t *want = calloc(1, SIZE);
    rng = 5;
    for (uint64_t at = 0; at + 65536 <= SIZE; at += 2 * 65536)
        fill(want + at, 65536);
    put_file("src.raw", want, SIZE, 0);
    ck_assert_int_eq(
        sh("qemu-img convert -c -O qcow2 -o cluster_size=%s src.raw c.qcow2", _i ? "4k" : "64k"),
        0);
    struct block_dev *b = must_open("c.qcow2", "");
    compare(b, want);
    exercise(b, want, 200);
    compare(b, want);
    block_close(b);
    qemu_agrees("c.qcow2", want, false);
    free(want);
}
END_TEST

START_TEST(qcow2_snapshots)
{
    uint8_t *want = calloc(1, SIZE), *then = malloc(SIZE);
    ck_assert_int_eq(sh("qemu-img create -f qcow2 -o cluster_size=%s s.qcow2 %llu",
                        _i ? "64k" : "1k", (unsigned long long)SIZE),
                     0);
    rng = 9;
    struct block_dev *b = must_open("s.qcow2", "");
    exercise(b, want, 100);
    block_close(b);
    memcpy(then, want, SIZE);
    ck_assert_int_eq(sh("qemu-img snapshot -c one s.qcow2"), 0);
    b = must_open("s.qcow2", "");
    exercise(b, want, 200);
    compare(b, want);
    block_close(b);
    qemu_agrees("s.qcow2", want, false);
    ck_assert_int_eq(sh("qemu-img snapshot -a one s.qcow2"), 0);
    qemu_agrees("s.qcow2", then, false);
    free(want);
    free(then);
}
END_TEST

/* A process that dies in the middle leaves at worst unused clusters. */
START_TEST(qcow2_crash)
{
    ck_assert_int_eq(sh("qemu-img create -f qcow2 -o cluster_size=%s k.qcow2 %llu",
                        _i & 1 ? "512" : "64k", (unsigned long long)SIZE),
                     0);
    for (unsigned k = 0; k < 4; k++) {
        pid_t pid = fork();
        if (!pid) {
            uint8_t *want = malloc(SIZE);
            struct block_dev *b = must_open("k.qcow2", "");
            if (!block_read(b, 0, want, SIZE))
                _exit(1);
            rng = (uint32_t)_i * 16 + k;
            exercise(b, want, 20 + rnd(150));
            _exit(0);
        }
        int st;
        waitpid(pid, &st, 0);
        ck_assert_int_eq(WEXITSTATUS(st), 0);
        int r = sh("qemu-img check k.qcow2");
        ck_assert_msg(r == 0 || r == 3, "qemu-img check says %d", r);
    }
}
END_TEST

/* Dirty bit with counts that were never written: an image as a crashed lazy writer leaves it. */
START_TEST(qcow2_dirty)
{
    uint8_t *want = calloc(1, SIZE);
    ck_assert_int_eq(
        sh("qemu-img create -f qcow2 -o lazy_refcounts=on y.qcow2 %llu", (unsigned long long)SIZE),
        0);
    rng = 3;
    struct block_dev *b = must_open("y.qcow2", "");
    exercise(b, want, 100);
    block_close(b);
    uint64_t rt = be_field("y.qcow2", 48, 8), block = be_field("y.qcow2", (off_t)rt, 8);
    uint8_t zeros[4096] = {0};
    put_file("y.qcow2", zeros, sizeof(zeros), (off_t)block);
    put_be("y.qcow2", 72, 1, 8);
    b = must_open("y.qcow2", "ro");
    compare(b, want);
    block_close(b);
    ck_assert_uint_eq(be_field("y.qcow2", 72, 8), 1);
    b = must_open("y.qcow2", "");
    exercise(b, want, 60);
    compare(b, want);
    block_close(b);
    ck_assert_uint_eq(be_field("y.qcow2", 72, 8), 0);
    qemu_agrees("y.qcow2", want, true);
    free(want);
}
END_TEST

START_TEST(backing_chains)
{
    sh("qemu-img create -f qcow2 a.qcow2 1M; qemu-img create -f qcow2 -b a.qcow2 -F qcow2 b.qcow2;"
       "qemu-img rebase -u -b b.qcow2 -F qcow2 a.qcow2");
    refused("a.qcow2", "", ERR_FORMAT, "comes back");
    sh("qemu-img create -f qcow2 -u -b gone.img -F raw m.qcow2 1M");
    refused("m.qcow2", "", ERR_NOTFOUND, "backing file of");
    sh("qemu-img create -f qcow2 -u -b nbd://localhost/x -F raw n.qcow2 1M");
    refused("n.qcow2", "", ERR_UNSUPPORTED, "backing file");
    sh("qemu-img create -f qcow2 c0 1M; for i in $(seq 1 40); do qemu-img create -f qcow2 -u -b "
       "c$((i-1)) -F qcow2 c$i 1M; done");
    refused("c40", "ro", ERR_FORMAT, "too long");
}
END_TEST

START_TEST(qcow2_overlaps)
{
    uint8_t buf[4096];
    memset(buf, 0xee, sizeof(buf));
    sh("qemu-img create -f qcow2 o.qcow2 1M; qemu-io -f qcow2 -c 'write 0 1M' o.qcow2");
    uint64_t l1 = be_field("o.qcow2", 40, 8), rt = be_field("o.qcow2", 48, 8);
    uint64_t entry = be_field("o.qcow2", (off_t)l1, 8);
    uint64_t l2 = entry & 0xfffffffffffe00ull, data = be_field("o.qcow2", (off_t)l2, 8);

    /* Guest data on top of the L1 table: the write must fail and leave the table alone. */
    put_be("o.qcow2", (off_t)l2, l1 | BIT64(63), 8);
    struct block_dev *b = must_open("o.qcow2", "");
    ck_assert(!block_write(b, 0, buf, sizeof(buf)));
    ck_assert(!block_write(b, 65536, buf, sizeof(buf))); /* no more writes at all */
    block_close(b);
    ck_assert_uint_eq(be_field("o.qcow2", (off_t)l1, 8), entry);
    put_be("o.qcow2", (off_t)l2, data, 8);

    /* Unaligned, past the end, reserved bits: I/O errors. */
    static const uint64_t bad[] = {0x50200, 1ull << 50, 0x2, 0x0100000000050000};
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        put_be("o.qcow2", (off_t)l2, bad[i] | BIT64(63), 8);
        b = must_open("o.qcow2", "");
        ck_assert(!block_read(b, 0, buf, 512));
        ck_assert(!block_write(b, 0, buf, 512));
        ck_assert(block_read(b, 65536, buf, 512));
        block_close(b);
    }
    put_be("o.qcow2", (off_t)l2, data, 8);

    /* A free count on a table: allocation must not hand it out. */
    uint64_t rb = be_field("o.qcow2", (off_t)rt, 8);
    put_be("o.qcow2", (off_t)(rb + (l2 >> 16) * 2), 0, 2);
    put_be("o.qcow2", (off_t)l2, 0, 8);
    b = must_open("o.qcow2", "");
    ck_assert(!block_write(b, 0, buf, sizeof(buf)));
    block_close(b);

    put_be("o.qcow2", (off_t)l1, rt | BIT64(63), 8); /* an L2 table where another table is */
    refused("o.qcow2", "", ERR_FORMAT, "tables");
    put_be("o.qcow2", 36, 0, 4);
    refused("o.qcow2", "", ERR_FORMAT, "L1");
    put_be("o.qcow2", 20, 40, 4);
    refused("o.qcow2", "ro", ERR_FORMAT, "cluster size");
}
END_TEST

/* Damage everywhere: anything but a crash. */
START_TEST(qcow2_fuzz)
{
    uint8_t buf[8192];
    sh("qemu-img create -f qcow2 -o cluster_size=4k f0.qcow2 1M;"
       "qemu-io -f qcow2 -c 'write -P 7 0 300k' -c 'write -z 100k 40k' f0.qcow2;"
       "qemu-img snapshot -c s f0.qcow2; qemu-io -f qcow2 -c 'write 4k 64k' f0.qcow2;"
       "qemu-img convert -c -O qcow2 -o cluster_size=4k f0.qcow2 f1.qcow2");
    for (unsigned k = 0; k < 60; k++) {
        rng = (uint32_t)_i * 1000 + k;
        ck_assert_int_eq(sh("cp f%u.qcow2 f.qcow2", k & 1), 0);
        struct stat st;
        stat(in_dir("f.qcow2"), &st);
        for (unsigned n = 1 + rnd(6); n; n--) {
            uint8_t byte = (uint8_t)rnd(256);
            /* The header and the first clusters are where the tables are. */
            put_file("f.qcow2", &byte, 1, rnd(rnd(2) ? 104 : (uint32_t)MIN(st.st_size, 40000)));
        }
        if (!rnd(6))
            ck_assert_int_eq(truncate(in_dir("f.qcow2"), rnd((uint32_t)st.st_size)), 0);
        struct error err;
        struct block_dev *b = open_image("f.qcow2", rnd(4) ? "qcow2" : "qcow2,discard", &err);
        if (!b)
            continue;
        uint64_t size = block_size(b);
        for (unsigned i = 0; i < 80 && size > sizeof(buf); i++) {
            uint64_t at = MIN((uint64_t)rnd(2048), size / 512 - 16) * 512;
            size_t len = (1 + rnd(16)) * 512;
            if (rnd(2))
                (void)block_read(b, at, buf, len);
            else if (rnd(4))
                (void)block_write(b, at, buf, len);
            else if (rnd(2))
                (void)block_write_zeroes(b, at, len);
            else
                (void)block_trim(b, at, len);
        }
        block_close(b);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("block");
    TCase *tc = tcase_create("block");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, raw_files);
    tcase_add_test(tc, raw_tail);
    tcase_add_test(tc, refusals);
    tcase_add_test(tc, locks);
    tcase_add_test(tc, magic_guard);
    tcase_add_loop_test(tc, qcow2_flavours, 0, (int)ARRAY_LEN(flavours));
    tcase_add_loop_test(tc, qcow2_backing, 0, 2);
    tcase_add_loop_test(tc, qcow2_compressed, 0, 2);
    tcase_add_loop_test(tc, qcow2_snapshots, 0, 2);
    tcase_add_loop_test(tc, qcow2_crash, 0, 6);
    tcase_add_test(tc, qcow2_dirty);
    tcase_add_test(tc, backing_chains);
    tcase_add_test(tc, qcow2_overlaps);
    tcase_add_loop_test(tc, qcow2_fuzz, 0, 4);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
