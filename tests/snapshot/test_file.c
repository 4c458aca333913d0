/* The snapshot file: what is left out of it, parents, and that damage of any kind is refused and no
 * death of a writer leaves half a file. */
#define _GNU_SOURCE

#include "base/hash.h"
#include "snapshots/snapformat.h"
#include "tests/snapshot/kit.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

static void stream(const tnm_snapshot *s, const char *name, tnm_snapshot_stream *out)
{
    for (unsigned i = 0; tnm_snapshot_get_stream(s, i, out); i++) {
        if (!strcmp(out->name, name))
            return;
    }
    ck_abort_msg("no stream %s", name);
}

/* What does not compress. */
static void fill(tnm_machine *m, uint64_t paddr, size_t len, uint64_t seed)
{
    for (size_t i = 0; i < len; i += 8)
        physmap_write(m->mem, paddr + i, hash64(&i, sizeof(i), seed), 8);
}

START_TEST(leaves_out_zero_and_repeated_pages)
{
    tnm_machine *m = kit_machine();
    tnm_snapshot_stream before, after;
    tnm_snapshot *s;

    kit_save(m, kit_path("a"), NULL);
    /* Random pages do not compress: 16 units of the same one must cost next to nothing. */
    for (unsigned i = 0; i < 256; i++)
        fill(m, 0x800000 + i * 4096, 4096, 1);
    kit_save(m, kit_path("b"), NULL);
    s = kit_open(kit_path("a"));
    stream(s, "ram", &before);
    tnm_snapshot_close(s);
    s = kit_open(kit_path("b"));
    stream(s, "ram", &after);
    tnm_snapshot_close(s);
    ck_assert_uint_eq(after.stored, before.stored + 16);
    ck_assert_uint_lt(after.stored_bytes, before.stored_bytes + 4096 + 16 * 256);
    ck_assert_uint_gt(after.zero, after.stored);
    tnm_destroy(m);
    kit_clean();
}
END_TEST

START_TEST(deltas)
{
    tnm_machine *m = kit_machine(), *back;
    tnm_error err = {0};
    char name[16], parent[16] = "";
    uint64_t hash[4];
    tnm_snapshot *s;
    bool same;

    for (unsigned i = 0; i < 4; i++) {
        fill(m, 0x400000 + i * 0x80000, 0x20000, i);
        fill(m, 0x700000, 64, i);
        hash[i] = tnm_state_hash(m);
        snprintf(name, sizeof(name), "d%u", i);
        kit_save(m, kit_path(name), i ? kit_path(parent) : NULL);
        strcpy(parent, name);
    }
    for (unsigned i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        s = kit_open(kit_path(name));
        tnm_snapshot_info info;
        tnm_snapshot_get_info(s, &info);
        ck_assert_uint_eq(info.depth, i);
        if (i) {
            tnm_snapshot_stream ram;
            stream(s, "ram", &ram);
            ck_assert_uint_eq(ram.stored, 3);
            const char above[] = {'d', (char)('0' + i - 1), 0};
            ck_assert_str_eq(info.parent, above);
        }
        ck_assert_msg(tnm_snapshot_verify(s, NULL, NULL, &err), "%s", err.text);
        back = tnm_snapshot_create(s, NULL, NULL, &err);
        ck_assert_msg(back != NULL, "%s", err.text);
        ck_assert_uint_eq(tnm_state_hash(back), hash[i]);
        tnm_destroy(back);
        tnm_snapshot_close(s);
    }
    /* Flattened, it is what a complete save of the same machine is. */
    s = kit_open(kit_path("d3"));
    ck_assert_msg(tnm_snapshot_flatten(s, kit_path("flat"), NULL, NULL, &err), "%s", err.text);
    tnm_snapshot_close(s);
    for (unsigned i = 0; i < 4; i++)
        unlink(kit_path((char[]){'d', (char)('0' + i), 0}));
    kit_save(m, kit_path("whole"), NULL);
    s = kit_open(kit_path("flat"));
    tnm_snapshot *whole = kit_open(kit_path("whole"));
    ck_assert_msg(tnm_snapshot_diff(s, whole, NULL, NULL, &same, &err), "%s", err.text);
    ck_assert(same);
    tnm_snapshot_close(s);
    tnm_snapshot_close(whole);
    struct blob a = kit_read(kit_path("flat")), b = kit_read(kit_path("whole"));
    ck_assert_uint_eq(a.size, b.size);
    ck_assert_mem_eq(a.data, b.data, a.size);
    blob_free(&a);
    blob_free(&b);
    tnm_destroy(m);
    kit_clean();
}
END_TEST

START_TEST(wrong_parents)
{
    tnm_machine *m = kit_machine();
    tnm_error err = {0};

    kit_save(m, kit_path("a"), NULL);
    kit_save(m, kit_path("b"), kit_path("a"));
    kit_save(m, kit_path("c"), kit_path("b"));
    /* Its own ancestor cannot be overwritten. */
    ck_assert(
        !tnm_snapshot_save(m, kit_path("a"), &(tnm_save_options){.parent = kit_path("c")}, &err));
    ck_assert_msg(strstr(err.text, "own parent") != NULL, "%s", err.text);
    fill(m, 0x500000, 4096, 3);
    kit_save(m, kit_path("a"), NULL);
    kit_refused(kit_path("b"), TNM_ERR_FORMAT, "another");
    kit_refused(kit_path("c"), TNM_ERR_FORMAT, "another");
    unlink(kit_path("a"));
    kit_refused(kit_path("c"), TNM_ERR_NOTFOUND, "cannot be opened");
    tnm_destroy(m);
    kit_clean();
}
END_TEST

/* Every length, and a flipped bit in every byte: refused when it is opened or when it is checked. */
START_TEST(damage)
{
    tnm_machine *m = kit_machine();
    unsigned found_late = 0;

    kit_save(m, kit_path("a"), NULL);
    tnm_destroy(m);
    struct blob b = kit_read(kit_path("a"));
    for (size_t n = 0; n < b.size; n += n < 80 ? 1 : b.size / 50) {
        kit_write(kit_path("cut"), b.data, n);
        kit_refused(kit_path("cut"), TNM_ERR_FORMAT, n < 64 ? "no snapshot" : "damaged");
    }
    size_t step = b.size / 300, start = b.size - 4000;
    for (size_t n = 8; n < b.size; n += n < 64 ? 1 : n < start ? step : 7) {
        tnm_error err = {0};
        b.data[n] ^= 0x10;
        kit_write(kit_path("flip"), b.data, b.size);
        b.data[n] ^= 0x10;
        tnm_snapshot *s = tnm_snapshot_open(kit_path("flip"), &err);
        if (s) {
            found_late++;
            ck_assert_msg(!tnm_snapshot_verify(s, NULL, NULL, &err), "byte %zu", n);
            tnm_snapshot_close(s);
        }
        ck_assert_msg(err.code == TNM_ERR_FORMAT || (n < 12 && err.code == TNM_ERR_UNSUPPORTED),
                      "byte %zu: %s", n, err.text);
    }
    ck_assert_uint_gt(found_late, 100);
    blob_free(&b);
    kit_clean();
}
END_TEST

/* A file that says it is huge, and mostly is not on the disk, gets no memory for that: one chunk is said
 * to be compressed from a few bytes to nearly all of it, with all checksums right that are looked at
 * before the chunk is read. */
START_TEST(claims)
{
    const uint64_t huge = 64 * GIB;
    tnm_machine *m = kit_machine();

    kit_save(m, kit_path("a"), NULL);
    tnm_destroy(m);
    struct blob b = kit_read(kit_path("a"));
    uint8_t *h = b.data, *table = b.data + ld64(h + SNAP_H_TABLE);
    size_t len = (size_t)ld64(h + SNAP_H_TABLE_LEN);
    bool found = false;
    for (uint8_t *e = table; e < table + len; e += SNAP_TABLE_ENTRY) {
        if (ld32(e + SNAP_T_TYPE) != SNAP_CONF)
            continue;
        ck_assert(ld32(e + SNAP_T_FLAGS) & SNAP_DEFLATED);
        st64(e + SNAP_T_STORED, huge - 2 * b.size);
        found = true;
    }
    ck_assert(found);
    st64(h + SNAP_H_SIZE, huge);
    st64(h + SNAP_H_ID, hash64(table, len, 0));
    st32(h + SNAP_H_TABLE_CRC, (uint32_t)crc32_z(0, table, len));
    st32(h + SNAP_H_CRC, (uint32_t)crc32_z(0, h, SNAP_H_CRC));
    kit_write(kit_path("huge"), b.data, b.size);
    ck_assert_int_eq(truncate(kit_path("huge"), (off_t)huge), 0);
    kit_refused(kit_path("huge"), TNM_ERR_FORMAT, "chunk table");
    blob_free(&b);
    kit_clean();
}
END_TEST

START_TEST(two_writers)
{
    tnm_machine *a = kit_machine(), *b = kit_machine();
    tnm_error err = {0};

    ck_assert(tnm_save_begin(a, kit_path("a"), NULL, &err));
    ck_assert(!tnm_save_begin(b, kit_path("a"), NULL, &err));
    ck_assert_int_eq(err.code, TNM_ERR_STATE);
    ck_assert_msg(strstr(err.text, "another machine") != NULL, "%s", err.text);
    ck_assert(!tnm_save_begin(a, kit_path("b"), NULL, &err)); /* one at a time */
    ck_assert_int_eq(err.code, TNM_ERR_STATE);
    ck_assert(tnm_save_wait(a, &err));
    ck_assert_msg(tnm_snapshot_save(b, kit_path("a"), NULL, &err), "%s", err.text);
    tnm_snapshot_close(kit_open(kit_path("a")));
    ck_assert(!kit_exists(kit_path("a.part")));

    ck_assert(!tnm_snapshot_save(b, kit_path("none/x"), NULL, &err));
    ck_assert_int_eq(err.code, TNM_ERR_NOTFOUND);
    ck_assert(!tnm_snapshot_save(b, kit_path(""), NULL, &err));
    ck_assert_int_eq(err.code, TNM_ERR_INVALID);

    /* Who asks for it gets a new file or none, also of a name that another is still writing. */
    tnm_save_options keep = {.keep_old = true};
    ck_assert(!tnm_save_begin(b, kit_path("a"), &keep, &err));
    ck_assert_int_eq(err.code, TNM_ERR_EXISTS);
    ck_assert(!kit_exists(kit_path("a.part")));
    ck_assert(tnm_save_begin(a, kit_path("k"), &keep, &err));
    ck_assert(!tnm_save_begin(b, kit_path("k"), &keep, &err));
    ck_assert_int_eq(err.code, TNM_ERR_STATE);
    ck_assert(tnm_save_wait(a, &err));
    ck_assert(!tnm_save_begin(b, kit_path("k"), &keep, &err));
    ck_assert_int_eq(err.code, TNM_ERR_EXISTS);

    /* Cancelled, or with the machine gone, a save leaves the old file. */
    struct blob old = kit_read(kit_path("a"));
    ck_assert(tnm_save_begin(a, kit_path("a"), NULL, &err));
    tnm_save_cancel(a);
    ck_assert(tnm_save_begin(a, kit_path("a"), NULL, &err));
    tnm_destroy(a);
    ck_assert(!kit_exists(kit_path("a.part")));
    struct blob now = kit_read(kit_path("a"));
    ck_assert_uint_eq(old.size, now.size);
    ck_assert_mem_eq(old.data, now.data, old.size);
    blob_free(&old);
    blob_free(&now);
    tnm_destroy(b);
    kit_clean();
}
END_TEST

/* A child saves over and over; it is killed at some moment, and the file must be one of the two. */
START_TEST(killed)
{
    tnm_machine *m[2];
    uint64_t id[2];
    char path[128];
    unsigned changed = 0;

    for (unsigned i = 0; i < 2; i++) {
        tnm_snapshot_info info;
        m[i] = kit_machine();
        fill(m[i], 0x500000, 0x100000, i);
        kit_save(m[i], kit_path("a"), NULL);
        tnm_snapshot *s = kit_open(kit_path("a"));
        tnm_snapshot_get_info(s, &info);
        id[i] = info.id;
        tnm_snapshot_close(s);
    }
    strcpy(path, kit_path("a"));
    uint64_t start = host_now_ns();
    for (unsigned i = 0; i < 4; i++)
        kit_save(m[1], path, NULL);
    uint64_t one = (host_now_ns() - start) / 4000, last = id[1]; /* microseconds */
    for (unsigned n = 0; n < 40; n++) {
        pid_t child = fork();
        if (child == 0) {
            for (unsigned i = 0;; i++)
                tnm_snapshot_save(m[i % 2], path, NULL, NULL);
        }
        usleep((useconds_t)(one * n / 10)); /* up to four saves */
        ck_assert_int_eq(kill(child, SIGKILL), 0);
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
        tnm_snapshot_info info;
        tnm_error err;
        tnm_snapshot *s = kit_open(path);
        tnm_snapshot_get_info(s, &info);
        ck_assert(info.id == id[0] || info.id == id[1]);
        changed += info.id != last;
        last = info.id;
        ck_assert_msg(tnm_snapshot_verify(s, NULL, NULL, &err), "%s", err.text);
        tnm_snapshot_close(s);
    }
    ck_assert_uint_gt(changed, 0);
    kit_save(m[0], path, NULL); /* what the last one left is in nobody's way */
    ck_assert(!kit_exists(kit_path("a.part")));
    tnm_destroy(m[0]);
    tnm_destroy(m[1]);
    kit_clean();
}
END_TEST

/* In a mount namespace of its own. */
static bool mount_tiny(const char *on)
{
    if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
        return false;
    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    return mount("tinamou-test", on, "tmpfs", 0, "size=1m") == 0;
}

enum { TINY_GOOD, TINY_BAD, TINY_NO_MOUNT };

static int save_on_tiny(tnm_machine *m)
{
    tnm_error err = {0};
    const char *path = kit_path("tiny/a"), *part = kit_path("tiny/a.part");

    if (!mount_tiny(kit_path("tiny")))
        return TINY_NO_MOUNT;
    if (!tnm_snapshot_save(m, path, NULL, &err)) { /* some 300 KiB */
        fprintf(stderr, "full_disk: %s\n", err.text);
        return TINY_BAD;
    }
    struct blob old = kit_read(path);
    for (unsigned i = 0; i < 20; i++) {
        /* From 768 KiB on: with the old file too much, later by itself. */
        fill(m, 0x500000, 0xc0000 + i * 0x8000, i);
        err = (tnm_error){0};
        if (tnm_snapshot_save(m, path, NULL, &err) || err.code != TNM_ERR_IO ||
            !strstr(err.text, "free space") || kit_exists(part)) {
            fprintf(stderr, "full_disk: step %u: \"%s\"\n", i, err.text);
            return TINY_BAD;
        }
        struct blob now = kit_read(path);
        if (old.size != now.size || memcmp(old.data, now.data, old.size) != 0)
            return TINY_BAD;
        blob_free(&now);
    }
    blob_free(&old);
    return TINY_GOOD;
}

START_TEST(full_disk)
{
    tnm_machine *m = kit_machine();
    int status;

    ck_assert_int_eq(mkdir(kit_path("tiny"), 0777), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(save_on_tiny(m));
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    if (WEXITSTATUS(status) == TINY_NO_MOUNT)
        fprintf(stderr, "full_disk: not allowed to mount here: %s\n", strerror(EPERM));
    else
        ck_assert_int_eq(WEXITSTATUS(status), TINY_GOOD);
    tnm_destroy(m);
    kit_clean();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {leaves_out_zero_and_repeated_pages,
                                  deltas,
                                  wrong_parents,
                                  damage,
                                  claims,
                                  two_writers,
                                  killed,
                                  full_disk};
    return RUN_TESTS("snapshot_file", tests);
}
