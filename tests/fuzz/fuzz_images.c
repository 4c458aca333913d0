/* Disk images that are damaged on purpose: qcow2 files with fields of their header and tables
 * changed, cut off, or grown, raw files of odd sizes, opened in every way, then read, written,
 * trimmed and flushed at random.
 *
 * Besides what the sanitizers and the timer see (fuzz.h), each case asserts that an image opened
 * for reading or with discard=on does not change by a byte, and that an image without damage reads back
 * what was written, also after it has been opened again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "devices/block.h"
#include "tests/fuzz/fuzz.h"

#define GUEST_MAX  (1 * MIB)
#define FILE_MAX   (4 * MIB)
#define FILE_LIMIT (64 * MIB) /* what a case can make of it */

static char path[128];

struct image {
    uint8_t *file, *guest; /* bytes of the file; what a guest should read */
    size_t file_size, guest_size;
    bool qcow2, damaged;
};

/* ---- making images --------------------------------------------------------------------------- */

static void be(uint8_t *p, uint64_t v, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        p[i] = (uint8_t)(v >> (size - 1 - i) * 8);
}

static void make_raw(struct fuzz *f, struct image *im)
{
    im->file_size = fuzz_below(f, 200000);
    fuzz_bytes(f, im->file, im->file_size);
    if (im->file_size >= 4)
        im->file[0] = 0; /* not the magic number of anything */
    im->guest_size = align_up(im->file_size, 512);
    memcpy(im->guest, im->file, im->file_size);
    im->damaged = im->file_size == 0; /* refused */
}

/* cluster 0 header, 1 refcount table, 2 refcount block, 3 L1, 4 and on L2 tables, data. */
static void make_qcow2(struct fuzz *f, struct image *im)
{
    static const uint8_t widths[] = {9, 12, 14};
    unsigned bits = FUZZ_PICK(f, widths), version = 2 + fuzz_below(f, 2);
    size_t cluster = 1u << bits, per_l2 = cluster / 8;
    size_t clusters = 1 + fuzz_below(f, bits == 9 ? 120 : 24);
    size_t l2s = (clusters + per_l2 - 1) / per_l2, next = 4 + l2s;
    uint8_t *h = im->file;

    im->qcow2 = true;
    im->guest_size = clusters * cluster - fuzz_below(f, 2) * 512u;
    if (!im->guest_size)
        im->guest_size = 512;
    memcpy(h, "QFI\xfb", 4);
    be(h + 4, version, 4);
    be(h + 20, bits, 4);
    be(h + 24, im->guest_size, 8);
    be(h + 36, l2s, 4);
    be(h + 40, 3 * cluster, 8);
    be(h + 48, cluster, 8);
    be(h + 56, 1, 4);
    be(h + 96, 4, 4);
    be(h + 100, 104, 4);
    be(im->file + cluster, 2 * cluster, 8);
    for (size_t i = 0; i < l2s; i++)
        be(im->file + 3 * cluster + i * 8, 1ull << 63 | (4 + i) * cluster, 8);
    for (size_t i = 0; i < clusters; i++) {
        uint8_t *entry = im->file + (4 + i / per_l2) * cluster + i % per_l2 * 8;
        uint8_t *guest = im->guest + i * cluster, *data = im->file + next * cluster;
        switch (fuzz_below(f, 4)) {
        case 0:
            be(entry, version == 3 && fuzz_one_in(f, 2), 8); /* hole or zeros */
            break;
        case 1: { /* compressed */
            z_stream z = {0};
            memset(guest, fuzz_u8(f), cluster);
            fuzz_bytes(f, guest, 64);
            int r = deflateInit2(&z, 6, Z_DEFLATED, -12, 8, Z_DEFAULT_STRATEGY);
            FUZZ_ASSERT(r == Z_OK, "zlib");
            z.next_in = guest;
            z.avail_in = (uInt)cluster;
            z.next_out = data;
            z.avail_out = (uInt)cluster;
            FUZZ_ASSERT(deflate(&z, Z_FINISH) == Z_STREAM_END, "zlib");
            uint64_t sectors = (z.total_out + 511) / 512 - 1;
            deflateEnd(&z);
            be(entry, 1ull << 62 | sectors << (62 - (bits - 8)) | next * cluster, 8);
            next++;
            break;
        }
        default:
            fuzz_bytes(f, guest, cluster);
            memcpy(data, guest, cluster);
            be(entry, 1ull << 63 | next * cluster, 8);
            next++;
        }
    }
    for (size_t i = 0; i < next; i++) /* 16 bits each: 256 of them in the smallest block */
        be(im->file + 2 * cluster + i * 2, 1, 2);
    memset(im->guest + im->guest_size, 0, GUEST_MAX - im->guest_size);
    im->file_size = next * cluster;
}

static void damage(struct fuzz *f, struct image *im)
{
    size_t tables = MIN(im->file_size, (size_t)24576);

    im->damaged = true;
    for (unsigned n = 1 + fuzz_below(f, 8); n; n--) {
        unsigned size = 1u << fuzz_below(f, 4);
        size_t at = fuzz_one_in(f, 2) ? 4 + fuzz_below(f, 100) : fuzz_below(f, (unsigned)tables);
        at &= ~(size_t)(size - 1);
        uint64_t v;
        if (at + size > im->file_size)
            continue;
        if (fuzz_one_in(f, 2)) /* an offset that looks right */
            v = (uint64_t)fuzz_one_in(f, 2) << 63 | fuzz_below(f, 40) * 512ull << fuzz_below(f, 8);
        else
            v = fuzz_number(f);
        be(im->file + at, v, size);
    }
    if (fuzz_one_in(f, 8))
        im->file_size = fuzz_below(f, (unsigned)im->file_size);
}

/* ---- using them ------------------------------------------------------------------------------ */

static void check_all(struct block_dev *b, const struct image *im)
{
    uint8_t *buf = malloc(im->guest_size);

    FUZZ_ASSERT(buf && block_size(b) == im->guest_size, "%llu bytes instead of %zu",
                (unsigned long long)block_size(b), im->guest_size);
    FUZZ_ASSERT(block_read(b, 0, buf, im->guest_size), "a sound image cannot be read");
    for (size_t i = 0; i < im->guest_size; i++)
        FUZZ_ASSERT(buf[i] == im->guest[i], "byte %zu is %02x instead of %02x", i, buf[i],
                    im->guest[i]);
    free(buf);
}

static void request(struct fuzz *f, struct block_dev *b, struct image *im)
{
    static uint8_t buf[65536];
    uint64_t size = block_size(b), offset = fuzz_one_in(f, 8) ? fuzz_number(f) : fuzz_u32(f) % size;
    size_t len = fuzz_below(f, fuzz_one_in(f, 4) ? sizeof(buf) : 4096);
    bool inside = offset <= size && len <= size - offset, ok;

    if (fuzz_one_in(f, 2)) {
        offset &= ~511ull;
        len &= ~511u;
        inside = offset <= size && len <= size - offset;
    }
    switch (fuzz_below(f, 6)) {
    case 0:
    case 1:
        ok = block_read(b, offset, buf, len);
        if (ok && inside && !im->damaged)
            FUZZ_ASSERT(!memcmp(buf, im->guest + offset, len), "read something else");
        break;
    case 2:
    case 3:
        fuzz_bytes(f, buf, len);
        ok = block_write(b, offset, buf, len);
        if (ok && inside && !im->damaged)
            memcpy(im->guest + offset, buf, len);
        FUZZ_ASSERT(!ok || !block_readonly(b), "written, though readonly");
        break;
    case 4:
        ok = block_write_zeroes(b, offset, len);
        if (ok && inside && !im->damaged)
            memset(im->guest + offset, 0, len);
        break;
    default:
        ok = block_trim(b, offset, len);
        if (ok && inside && !im->damaged) /* what was there, or zeros */
            FUZZ_ASSERT(block_read(b, offset, im->guest + offset, len), "trimmed, not readable");
        if (fuzz_one_in(f, 4))
            block_flush(b);
    }
    FUZZ_ASSERT(!ok || inside, "a request past the end went through");
}

static void check_unchanged(const struct image *im)
{
    uint8_t *now = malloc(im->file_size + 1);
    FILE *f = fopen(path, "rb");

    FUZZ_ASSERT(now && f, "cannot read %s", path);
    size_t got = fread(now, 1, im->file_size + 1, f);
    fclose(f);
    FUZZ_ASSERT(got == im->file_size && !memcmp(now, im->file, got), "the image has changed");
    free(now);
}

static void use(struct fuzz *f, struct image *im)
{
    struct block_options opt = {.path = path, .format = im->qcow2 ? "qcow2" : "raw"};
    struct error err = {0};

    if (fuzz_one_in(f, 2))
        opt.format = NULL;
    if (fuzz_one_in(f, 2))
        *(fuzz_one_in(f, 2) ? &opt.readonly : &opt.discard) = true;
    struct block_dev *b = block_open(&opt, &err);
    FUZZ_ASSERT(b || err.text[0], "refused without a word");
    FUZZ_ASSERT(b || im->damaged, "a sound image is refused: %s", err.text);
    if (b && !im->damaged)
        check_all(b, im);
    while (fuzz_more(f)) {
        if (b && block_size(b))
            request(f, b, im);
        else
            fuzz_u8(f);
    }
    if (b && !im->damaged)
        check_all(b, im);
    block_close(b);
    if (opt.readonly || opt.discard) {
        check_unchanged(im);
        return;
    }
    struct stat st;
    FUZZ_ASSERT(!stat(path, &st) && (uint64_t)st.st_size <= FILE_LIMIT, "the image grew to %lld",
                (long long)st.st_size);
    if (!im->damaged) {
        opt.readonly = true;
        b = block_open(&opt, &err);
        FUZZ_ASSERT(b, "cannot be opened again: %s", err.text);
        check_all(b, im);
        block_close(b);
    }
}

static void run(struct fuzz *f)
{
    struct image im = {.file = calloc(1, FILE_MAX), .guest = calloc(1, GUEST_MAX)};

    FUZZ_ASSERT(im.file && im.guest, "no memory");
    if (fuzz_one_in(f, 8))
        make_raw(f, &im);
    else
        make_qcow2(f, &im);
    if (im.qcow2 && !fuzz_one_in(f, 4))
        damage(f, &im);
    fuzz_write_file(path, im.file, im.file_size);
    use(f, &im);
    free(im.file);
    free(im.guest);
}

static void init(const char *dir)
{
    snprintf(path, sizeof(path), "%s/image", dir);
}

const struct fuzz_target fuzz_target = {
    .name = "fuzz_images", .cases = 400, .steps = 100, .init = init, .run = run};
