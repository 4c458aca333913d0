/* Disks in snapshots: every kind of image is brought back to what it was, whatever was written since,
 * while it is saved or while it is brought back; bases that changed are refused; media come back.
 * Requests are made where drives make them, at the block layer.
 */
#include "devices/block.h"
#include "tests/snapshot/kit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISK_SIZE (8 * MIB)

enum kind { RAW, RAW_DISCARD, QCOW2, QCOW2_BACKED, QCOW2_DISCARD, KINDS };

static uint8_t pattern(uint64_t at, unsigned generation)
{
    return (uint8_t)((at >> 9) * 37 + generation * 101 + at % 7);
}

static void run_command(const char *command)
{
    ck_assert_msg(system(command) == 0, "%s", command);
}

static void make_raw(const char *path)
{
    uint8_t *data = calloc(1, DISK_SIZE);
    for (uint64_t i = 0; i < DISK_SIZE / 2; i++)
        data[i] = pattern(i, 0);
    kit_write(path, data, DISK_SIZE);
    free(data);
}

/* An image with pattern 0 in its first half. */
static const char *make_image(enum kind kind)
{
    const char *raw = kit_path("base.raw"), *image = kit_path("disk.img");
    char command[512];

    make_raw(raw);
    if (kind == RAW || kind == RAW_DISCARD)
        return raw;
    if (kind == QCOW2_BACKED)
        snprintf(command, sizeof(command), "qemu-img create -q -f qcow2 -b %s -F raw %s", raw,
                 image);
    else
        snprintf(command, sizeof(command), "qemu-img convert -O qcow2 %s %s", raw, image);
    run_command(command);
    return image;
}

static void disk_config(tnm_config *cfg, enum kind kind, const char *image)
{
    kit_config(cfg);
    cfg->ndisks = 1;
    cfg->disks[0] = (tnm_disk){.path = image,
                               .interface = TNM_IF_VIRTIO,
                               .discard = kind == RAW_DISCARD || kind == QCOW2_DISCARD};
}

static void write_range(tnm_machine *m, uint64_t at, size_t len, unsigned generation)
{
    uint8_t *buf = malloc(len);
    for (size_t i = 0; i < len; i++)
        buf[i] = pattern(at + i, generation);
    ck_assert(block_write(m->disk[0], at, buf, len));
    free(buf);
}

/* The whole disk as one hash of bytes that a difference is easily found in. */
static uint8_t *contents(tnm_machine *m)
{
    uint8_t *buf = malloc(DISK_SIZE);
    for (uint64_t at = 0; at < DISK_SIZE; at += 12345 * 512 / 3 * 3)
        ck_assert(block_read(m->disk[0], at, buf + at,
                             (size_t)MIN((uint64_t)12345 * 512 / 3 * 3, DISK_SIZE - at)));
    return buf;
}

static void expect(tnm_machine *m, const uint8_t *was)
{
    uint8_t *is = contents(m);
    size_t i = 0;
    while (i < DISK_SIZE && is[i] == was[i])
        i++;
    ck_assert_msg(i == DISK_SIZE, "byte %zx is %02x and not %02x", i, is[i % DISK_SIZE],
                  was[i % DISK_SIZE]);
    free(is);
}

static void first_writes(tnm_machine *m)
{
    write_range(m, 512, 100 * 512, 1);
    write_range(m, 3 * MIB + 512, 70000 / 512 * 512, 1);
    write_range(m, 7 * MIB, 4096, 1);
    ck_assert(block_write_zeroes(m->disk[0], 1 * MIB, 300 * KIB));
    write_range(m, DISK_SIZE - 512, 512, 1);
}

static void later_writes(tnm_machine *m)
{
    write_range(m, 0, 2 * MIB + 512, 2);
    write_range(m, 5 * MIB, 700 * KIB, 2);
    ck_assert(block_write_zeroes(m->disk[0], 2 * MIB + 4096, MIB));
    ck_assert(block_trim(m->disk[0], 7 * MIB, 64 * KIB));
    ck_assert(block_flush(m->disk[0]));
}

static tnm_machine *restored(const char *path, const char *image)
{
    tnm_snapshot *s = kit_open(path);
    tnm_error err = {0};
    tnm_config cfg;

    tnm_snapshot_config(s, &cfg);
    if (image)
        cfg.disks[0].path = image;
    tnm_machine *m = tnm_snapshot_create(s, &cfg, NULL, &err);
    ck_assert_msg(m != NULL, "%s", err.text);
    tnm_snapshot_close(s);
    return m;
}

START_TEST(every_kind)
{
    enum kind kind = (enum kind)_i;
    const char *image = make_image(kind), *snap = kit_path("a");
    tnm_error err = {0};
    tnm_config cfg;

    disk_config(&cfg, kind, image);
    tnm_machine *m = kit_create(&cfg);
    first_writes(m);
    uint8_t *was = contents(m);

    /* Written while it is saved. */
    ck_assert_msg(tnm_save_begin(m, snap, NULL, &err), "%s", err.text);
    later_writes(m);
    ck_assert_msg(tnm_save_wait(m, &err), "%s", err.text);

    /* Brought back in place: reads and partial writes before the thread comes there. */
    tnm_snapshot *s = kit_open(snap);
    ck_assert_msg(tnm_snapshot_verify(s, NULL, NULL, &err), "%s", err.text);
    ck_assert_msg(tnm_snapshot_restore(m, s, NULL, &err), "%s", err.text);
    tnm_snapshot_close(s);
    write_range(m, 6 * MIB + 512, 512, 3);
    for (size_t i = 0; i < 512; i++)
        was[6 * MIB + 512 + i] = pattern(6 * MIB + 512 + i, 3);
    expect(m, was);

    /* A delta on it, made while it may still be coming back, and a new machine from that. */
    kit_save(m, kit_path("b"), snap);
    later_writes(m);
    tnm_destroy(m);
    m = restored(kit_path("b"), NULL);
    if (_i % 2)
        while (tnm_restore_poll(m, NULL, NULL))
            usleep(1000);
    expect(m, was);
    kit_save(m, kit_path("c"), snap); /* and nothing has changed by that */
    struct blob b = kit_read(kit_path("b")), c = kit_read(kit_path("c"));
    ck_assert_uint_eq(b.size, c.size);
    ck_assert_mem_eq(b.data, c.data, b.size);
    blob_free(&b);
    blob_free(&c);
    tnm_destroy(m);

    /* What outlives the machine is as it was saved, although the machine lived for a moment only. */
    m = restored(kit_path("b"), NULL);
    tnm_destroy(m);
    disk_config(&cfg, kind, image);
    cfg.disks[0].readonly = true;
    m = kit_create(&cfg);
    uint8_t *image_has = contents(m);
    if (cfg.disks[0].discard)
        ck_assert_int_ne(memcmp(image_has, was, DISK_SIZE), 0);
    else
        ck_assert_mem_eq(image_has, was, DISK_SIZE);
    tnm_destroy(m);
    free(image_has);
    free(was);
    kit_clean();
}
END_TEST

static void refused(const char *path, const tnm_config *cfg, const char *says)
{
    tnm_snapshot *s = kit_open(path);
    tnm_error err = {0};

    ck_assert_msg(!tnm_snapshot_create(s, cfg, NULL, &err), "not refused: %s", says);
    ck_assert_msg(strstr(err.text, says) != NULL, "\"%s\" does not say \"%s\"", err.text, says);
    tnm_snapshot_close(s);
}

static void flip(const char *path, long at, bool keep_times)
{
    struct stat st;
    FILE *f = fopen(path, "r+b");
    ck_assert_int_eq(fstat(fileno(f), &st), 0);
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 1, f);
    fclose(f);
    struct timespec t[2] = {st.st_atim, st.st_mtim};
    if (keep_times)
        ck_assert_int_eq(utimensat(AT_FDCWD, path, t, 0), 0);
}

START_TEST(bases)
{
    enum kind kind = (enum kind)_i;
    const char *image = make_image(kind);
    tnm_snapshot_base base;
    tnm_error err = {0};
    tnm_config cfg;
    char command[400], raw[128], copy[128];

    strcpy(raw, kit_path("base.raw"));
    strcpy(copy, kit_path("copy"));
    disk_config(&cfg, kind, image);
    tnm_machine *m = kit_create(&cfg);
    first_writes(m);
    uint8_t *was = contents(m);
    kit_save(m, kit_path("a"), NULL);
    tnm_destroy(m);

    tnm_snapshot *s = kit_open(kit_path("a"));
    ck_assert(tnm_snapshot_get_base(s, 0, &base));
    ck_assert_str_eq(base.device, "disk0");
    ck_assert_str_eq(base.path, kind == QCOW2_BACKED ? raw : image);
    ck_assert(!tnm_snapshot_get_base(s, 1, &base));
    tnm_snapshot_info info;
    tnm_snapshot_get_info(s, &info);
    ck_assert_uint_lt(info.file_size, DISK_SIZE / 4); /* not the whole disk */

    /* Another time of change, or another place, is no other image; one bit is. */
    snprintf(command, sizeof(command), "touch %s && cp %s %s", raw, image, copy);
    run_command(command);
    m = restored(kit_path("a"), NULL);
    expect(m, was);
    tnm_destroy(m);
    m = restored(kit_path("a"), copy);
    expect(m, was);
    tnm_destroy(m);
    flip(kind == QCOW2_BACKED ? raw : image, 4 * MIB - 1, true);
    refused(kit_path("a"), NULL, "is not what it was");
    flip(kind == QCOW2_BACKED ? raw : image, 4 * MIB - 1, false);
    m = restored(kit_path("a"), NULL);
    tnm_destroy(m);

    /* Nor does it fit other disks. */
    tnm_snapshot_config(s, &cfg);
    cfg.disks[0].readonly = true;
    refused(kit_path("a"), &cfg, "read-only");
    tnm_snapshot_config(s, &cfg);
    cfg.disks[0].interface = TNM_IF_IDE;
    refused(kit_path("a"), &cfg, "if=");
    tnm_snapshot_config(s, &cfg);
    cfg.ndisks = 0;
    refused(kit_path("a"), &cfg, "number of disks");
    unlink(image);
    ck_assert(!tnm_snapshot_create(s, NULL, NULL, &err));
    ck_assert_int_eq(err.code, TNM_ERR_NOTFOUND);
    tnm_snapshot_close(s);
    free(was);
    kit_clean();
}
END_TEST

START_TEST(media)
{
    uint8_t *floppy = calloc(1, 1474560), sector[512] = {0};
    tnm_error err = {0};
    tnm_config cfg;
    char cd[128], fl[128];

    strcpy(cd, kit_path("cd.iso"));
    strcpy(fl, kit_path("floppy"));
    make_raw(cd);
    kit_write(fl, floppy, 1474560);
    kit_config(&cfg);
    tnm_machine *m = kit_create(&cfg);
    kit_save(m, kit_path("empty"), NULL);
    ck_assert_msg(tnm_change_cdrom(m, cd, &err) && tnm_change_floppy(m, fl, &err), "%s", err.text);
    memset(sector, 0x5a, sizeof(sector));
    ck_assert(block_write(m->floppy, 5120, sector, sizeof(sector)));
    uint64_t hash = tnm_state_hash(m);

    /* Taken out while it is saved. */
    ck_assert_msg(tnm_save_begin(m, kit_path("full"), NULL, &err), "%s", err.text);
    memset(sector, 0x11, sizeof(sector));
    ck_assert(block_write(m->floppy, 5120, sector, sizeof(sector)));
    ck_assert(tnm_change_floppy(m, NULL, &err));
    ck_assert(tnm_change_cdrom(m, NULL, &err));
    ck_assert_msg(tnm_save_wait(m, &err), "%s", err.text);

    tnm_snapshot *empty = kit_open(kit_path("empty")), *full = kit_open(kit_path("full"));
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_msg(tnm_snapshot_restore(m, full, NULL, &err), "%s", err.text);
        ck_assert(m->cdrom && m->floppy);
        ck_assert_uint_eq(tnm_state_hash(m), hash);
        ck_assert(block_read(m->floppy, 5120, sector, sizeof(sector)));
        ck_assert_uint_eq(sector[100], 0x5a);
        memset(sector, (int)i, sizeof(sector));
        ck_assert(block_write(m->floppy, 5120, sector, sizeof(sector)));
        if (i == 1)
            continue; /* once with the media in */
        ck_assert_msg(tnm_snapshot_restore(m, empty, NULL, &err), "%s", err.text);
        ck_assert(!m->cdrom && !m->floppy);
    }
    /* A medium that is gone: refused, and nothing has changed. */
    hash = tnm_state_hash(m);
    unlink(cd);
    ck_assert(!tnm_snapshot_restore(m, full, NULL, &err));
    ck_assert_int_eq(err.code, TNM_ERR_NOTFOUND);
    ck_assert(!m->cdrom && !m->floppy);
    ck_assert_uint_eq(tnm_state_hash(m), hash);
    tnm_snapshot_close(full);
    tnm_snapshot_close(empty);
    tnm_destroy(m);
    free(floppy);
    kit_clean();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("snapshot_disks");
    TCase *tc = tcase_create("snapshot_disks");
    tcase_add_loop_test(tc, every_kind, 0, KINDS);
    tcase_add_loop_test(tc, bases, RAW_DISCARD, RAW_DISCARD + 1);
    tcase_add_loop_test(tc, bases, QCOW2_BACKED, QCOW2_BACKED + 1);
    tcase_add_test(tc, media);
    suite_add_tcase(s, tc);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
