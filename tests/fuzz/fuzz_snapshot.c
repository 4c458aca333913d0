/* Snapshots that are none: a file, and a delta on it, with anything in them wrong that a writer, a
 * disk or an enemy could get wrong. Most cases change the inside of chunks, which are inflated for
 * that, and then make all checksums right again, so that what lies behind them is reached too.
 *
 * What is refused must be refused with a sentence. What is opened is looked at in every way; now and
 * then it is verified, made into a machine that runs, and restored over a running machine, which must
 * be what it was when that fails.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "base/hash.h"
#include "include/tinamou.h"
#include "snapshots/snapformat.h"
#include "tests/fuzz/fuzz.h"

#define FILE_MAX   (512 * 1024)
#define CHUNKS_MAX 32
#define CHUNK_MAX  (256 * 1024)
#define STATE_MAX  6000 /* of subjects[] */
#define ROM_SIZE   65536

struct chunk {
    uint32_t type, flags;
    uint8_t *raw;
    size_t len;
};

/* A good file, taken apart. */
struct subject {
    uint8_t *file;
    size_t size;
    struct chunk chunk[CHUNKS_MAX];
    unsigned chunks;
};

static char rom[128], vga_rom[128], whole_path[128], delta_path[128], case_path[128];
static struct subject whole_one, delta_one; /* as saved */
static struct subject subjects[2];          /* with the state of few devices: most cases */
static tnm_machine *running;
static uint64_t running_hash;
static int case_fd;
static uint8_t *buf;

/* ---- good files ------------------------------------------------------------------------------- */

static void configure(tnm_config *cfg)
{
    tnm_config_init(cfg);
    cfg->memory = 1 * MIB;
    cfg->clock = TNM_CLOCK_INSN;
    cfg->firmware = rom;
    cfg->vga_firmware = vga_rom;
}

/* It stores what it counts in 64 KiB of RAM: xor bx, bx; inc word [bx]; add bx, 2; jmp. */
static void write_roms(void)
{
    static const uint8_t loop[] = {0x31, 0xdb, 0xff, 0x07, 0x83, 0xc3, 0x02, 0xeb, 0xf9};
    static uint8_t image[ROM_SIZE];

    memcpy(image + 0xff00, loop, sizeof(loop));
    memcpy(image + 0xfff0, "\xe9\x0d\xff", 3); /* jmp ff00h */
    fuzz_write_file(rom, image, sizeof(image));
    memset(image, 0, sizeof(image));
    memcpy(image, "\x55\xaa\x01\xcb", 4);
    fuzz_write_file(vga_rom, image, 512);
}

static void take_apart(struct subject *s, const char *path)
{
    FILE *f = fopen(path, "rb");

    s->file = malloc(FILE_MAX);
    s->size = f && s->file ? fread(s->file, 1, FILE_MAX, f) : 0;
    FUZZ_ASSERT(s->size > SNAP_HEADER && s->size < FILE_MAX, "%s: %zu bytes", path, s->size);
    fclose(f);
    const uint8_t *table = s->file + ld64(s->file + SNAP_H_TABLE);
    size_t len = (size_t)ld64(s->file + SNAP_H_TABLE_LEN);
    for (size_t at = 0; at < len && s->chunks < CHUNKS_MAX - 1; at += SNAP_TABLE_ENTRY) {
        const uint8_t *e = table + at, *stored = s->file + ld64(e + SNAP_T_OFFSET);
        struct chunk *c = &s->chunk[s->chunks++];
        uLongf raw = (uLongf)ld64(e + SNAP_T_RAW);
        c->type = ld32(e + SNAP_T_TYPE);
        c->flags = ld32(e + SNAP_T_FLAGS) & ~(uint32_t)SNAP_DEFLATED;
        c->len = (size_t)raw;
        c->raw = malloc(c->len + 1);
        FUZZ_ASSERT(c->raw && c->len < CHUNK_MAX, "a chunk of %zu bytes", c->len);
        if (ld32(e + SNAP_T_FLAGS) & SNAP_DEFLATED)
            uncompress(c->raw, &raw, stored, (uLong)ld64(e + SNAP_T_STORED));
        else
            memcpy(c->raw, stored, c->len);
    }
}

/* The machine's own would be most of the file. */
static void add_thumbnail(struct subject *s)
{
    static const uint8_t picture[8 + 2 * 2 * 3] = {2, 0, 0, 0, 2, 0, 0, 0, 0xff};
    struct chunk *c = &s->chunk[s->chunks++];

    *c = (struct chunk){.type = SNAP_THMB, .raw = malloc(sizeof(picture)), .len = sizeof(picture)};
    FUZZ_ASSERT(c->raw, "no memory");
    memcpy(c->raw, picture, sizeof(picture));
}

/* Leaves of the state only what is short: objects, of u16 name, u32 fields, u32 bytes, name. Files
 * that open in a fraction of the time let ten times as many be opened. */
static void cut_state(struct subject *s)
{
    for (unsigned i = 0; i < s->chunks; i++) {
        struct chunk *c = &s->chunk[i];
        size_t kept = 0;
        if (c->type != SNAP_STAT)
            continue;
        for (size_t at = 0, next; at + 10 <= c->len; at = next) {
            next = at + 10 + ld16(c->raw + at) + ld32(c->raw + at + 6);
            if (next > c->len || next > STATE_MAX)
                break;
            kept = next;
        }
        c->len = kept;
    }
}

static void fuzz_snapshot_init(const char *dir)
{
    tnm_save_options delta = {.parent = whole_path, .name = "delta", .no_thumbnail = true};
    tnm_save_options whole = {.no_thumbnail = true};
    tnm_error err = {0};
    tnm_config cfg;

    snprintf(rom, sizeof(rom), "%s/rom", dir);
    snprintf(vga_rom, sizeof(vga_rom), "%s/vga", dir);
    snprintf(whole_path, sizeof(whole_path), "%s/whole.snap", dir);
    snprintf(delta_path, sizeof(delta_path), "%s/delta.snap", dir);
    snprintf(case_path, sizeof(case_path), "%s/case.snap", dir);
    write_roms();
    configure(&cfg);
    running = tnm_create(&cfg, &err);
    FUZZ_ASSERT(running, "%s", err.text);
    tnm_run(running, 1000 * 1000);
    FUZZ_ASSERT(tnm_snapshot_save(running, whole_path, &whole, &err), "%s", err.text);
    tnm_run(running, 1000 * 1000);
    FUZZ_ASSERT(tnm_snapshot_save(running, delta_path, &delta, &err), "%s", err.text);
    running_hash = tnm_state_hash(running);
    take_apart(&whole_one, whole_path);
    add_thumbnail(&whole_one);
    take_apart(&delta_one, delta_path);
    subjects[0] = whole_one;
    subjects[1] = delta_one;
    for (unsigned i = 0; i < ARRAY_LEN(subjects); i++)
        cut_state(&subjects[i]);
    case_fd = open(case_path, O_RDWR | O_CREAT, 0600);
    buf = malloc(FILE_MAX + CHUNKS_MAX * (CHUNK_MAX + SNAP_TABLE_ENTRY));
    FUZZ_ASSERT(case_fd >= 0 && buf, "no file or no memory");
}

static void free_subject(struct subject *s)
{
    free(s->file);
    for (unsigned k = 0; k < s->chunks; k++)
        free(s->chunk[k].raw);
}

static void fuzz_snapshot_fini(void)
{
    tnm_destroy(running);
    close(case_fd);
    free(buf);
    free_subject(&whole_one);
    free_subject(&delta_one);
}

/* ---- bad files -------------------------------------------------------------------------------- */

static void spoil(struct fuzz *f, uint8_t *p, size_t len)
{
    static const unsigned sizes[] = {1, 2, 4, 8};
    unsigned size = FUZZ_PICK(f, sizes);

    if (len < 8)
        return;
    size_t at = fuzz_below(f, (unsigned)(len - 7));
    if (fuzz_one_in(f, 3))
        at &= ~(size_t)7;
    st_sized(p + at,
             fuzz_one_in(f, 2) ? fuzz_number(f) : ld_sized(p + at, size) ^ 1u << fuzz_below(f, 8),
             size);
}

/* Changes a chunk of raw bytes in place, at most CHUNK_MAX of them; returns the new length. */
static size_t spoil_chunk(struct fuzz *f, uint8_t *p, size_t len)
{
    size_t at = fuzz_below(f, (unsigned)len + 1), n = fuzz_below(f, 64);

    switch (fuzz_below(f, 8)) {
    case 0:
        return at; /* cut short */
    case 1:        /* a hole */
        n = MIN(n, len - at);
        memmove(p + at, p + at + n, len - at - n);
        return len - n;
    case 2: /* something put in */
        n = MIN(n, CHUNK_MAX - len);
        memmove(p + at + n, p + at, len - at);
        fuzz_bytes(f, p + at, n);
        return len + n;
    default:
        spoil(f, p, len);
        return len;
    }
}

/* The file with its chunks after it once more, not deflated and some of them spoilt, and a table of
 * these: contents stay where directories say they are. Returns the length. */
static size_t assemble(struct fuzz *f, const struct subject *s)
{
    uint8_t table[CHUNKS_MAX * SNAP_TABLE_ENTRY];
    unsigned victim = fuzz_below(f, s->chunks), entries = 0;
    size_t len = s->size;

    memcpy(buf, s->file, len);
    for (unsigned i = 0; i < s->chunks; i++) {
        const struct chunk *c = &s->chunk[i];
        uint8_t *e = table + entries * SNAP_TABLE_ENTRY, *p = buf + len;
        size_t n = c->len;
        if (i == victim && fuzz_one_in(f, 20))
            continue; /* missing */
        memcpy(p, c->raw, n);
        for (unsigned k = 0; i == victim && k < 3 && fuzz_more(f); k++)
            n = spoil_chunk(f, p, n);
        memset(e, 0, SNAP_TABLE_ENTRY);
        st32(e + SNAP_T_TYPE, c->type);
        st32(e + SNAP_T_FLAGS, c->flags);
        st64(e + SNAP_T_OFFSET, len);
        st64(e + SNAP_T_STORED, n);
        st64(e + SNAP_T_RAW, n);
        st32(e + SNAP_T_CRC, (uint32_t)crc32(0, p, (uInt)n));
        len += n;
        entries++;
    }
    size_t table_len = entries * SNAP_TABLE_ENTRY;
    if (fuzz_one_in(f, 8))
        spoil(f, table, table_len);
    memcpy(buf + len, table, table_len);
    st64(buf + SNAP_H_TABLE, len);
    st64(buf + SNAP_H_TABLE_LEN, table_len);
    st64(buf + SNAP_H_ID, hash64(buf + len, table_len, 0));
    st32(buf + SNAP_H_TABLE_CRC, (uint32_t)crc32(0, buf + len, (uInt)table_len));
    len += table_len;
    st64(buf + SNAP_H_SIZE, len);
    if (fuzz_one_in(f, 16))
        spoil(f, buf, SNAP_H_CRC);
    if (fuzz_one_in(f, 16))
        spoil(f, buf + SNAP_HEADER, s->size - SNAP_HEADER); /* contents */
    st32(buf + SNAP_H_CRC, (uint32_t)crc32(0, buf, SNAP_H_CRC));
    return len;
}

/* A good file with some bytes wrong and nothing repaired. */
static size_t flip(struct fuzz *f, const struct subject *s)
{
    memcpy(buf, s->file, s->size);
    if (fuzz_one_in(f, 3))
        return fuzz_below(f, (unsigned)s->size);
    do
        spoil(f, buf, s->size);
    while (fuzz_more(f));
    return s->size;
}

/* ---- what is done with them ------------------------------------------------------------------- */

static void check_error(const tnm_error *err)
{
    FUZZ_ASSERT(err->code != TNM_OK && strlen(err->text) > 10, "refused with \"%s\"", err->text);
}

static void count_field(void *opaque, const tnm_snapshot_field *f)
{
    uint64_t *sum = opaque;

    *sum += strlen(f->object) + strlen(f->name);
    for (size_t i = 0; i < (size_t)f->size * f->count; i++)
        *sum += f->data[i];
}

static void look_at(tnm_snapshot *s)
{
    tnm_snapshot_info info;
    tnm_snapshot_stream st;
    tnm_snapshot_base base;
    tnm_config cfg;
    volatile uint64_t sink = 0;
    uint64_t sum = 0;

    tnm_snapshot_get_info(s, &info);
    for (size_t i = 0; i < (size_t)info.thumb_width * info.thumb_height; i++)
        sum += info.thumb[i];
    sum += strlen(info.name) + strlen(info.path);
    for (unsigned i = 0; tnm_snapshot_get_stream(s, i, &st); i++)
        sum += strlen(st.name);
    for (unsigned i = 0; tnm_snapshot_get_base(s, i, &base); i++)
        sum += strlen(base.device) + strlen(base.path);
    tnm_snapshot_fields(s, count_field, &sum);
    tnm_config_init(&cfg);
    tnm_snapshot_config(s, &cfg);
    sink += sum + cfg.cpus;
}

static void restore_over(tnm_snapshot *s)
{
    tnm_restore_options verify = {.verify = true};
    tnm_error err = {0};
    tnm_snapshot *back;

    if (!tnm_snapshot_restore(running, s, &verify, &err)) {
        check_error(&err);
        FUZZ_ASSERT(tnm_state_hash(running) == running_hash,
                    "a failed restore changed the machine");
        return;
    }
    tnm_run(running, 100 * 1000);
    back = tnm_snapshot_open(delta_path, &err);
    FUZZ_ASSERT(back && tnm_snapshot_restore(running, back, NULL, &err), "%s", err.text);
    tnm_snapshot_close(back);
    FUZZ_ASSERT(tnm_state_hash(running) == running_hash, "it does not come back");
}

/* Firmware and memory may be any, and their sizes must not cost a case its time. */
static void run_it(tnm_snapshot *s)
{
    tnm_error err = {0};
    tnm_config cfg;
    tnm_machine *m;

    tnm_config_init(&cfg);
    tnm_snapshot_config(s, &cfg);
    if (cfg.memory > 64 * MIB)
        return;
    m = tnm_snapshot_create(s, NULL, NULL, &err);
    if (!m) {
        check_error(&err);
        return;
    }
    tnm_run(m, 100 * 1000);
    tnm_destroy(m);
}

static void fuzz_snapshot_run(struct fuzz *f)
{
    bool all = fuzz_one_in(f, 50);
    const struct subject *s = !all                ? &FUZZ_PICK(f, subjects)
                              : fuzz_one_in(f, 2) ? &whole_one
                                                  : &delta_one;
    size_t len = fuzz_one_in(f, 6) ? flip(f, s) : assemble(f, s);
    tnm_error err = {0};
    tnm_snapshot *snap;

    FUZZ_ASSERT(pwrite(case_fd, buf, len, 0) == (ssize_t)len && ftruncate(case_fd, (off_t)len) == 0,
                "cannot write the case");
    snap = tnm_snapshot_open(case_path, &err);
    if (!snap) {
        check_error(&err);
        return;
    }
    look_at(snap);
    if (fuzz_one_in(f, 20) && !tnm_snapshot_verify(snap, NULL, NULL, &err))
        check_error(&err);
    if (all && fuzz_one_in(f, 4))
        restore_over(snap);
    if (all && fuzz_one_in(f, 3))
        run_it(snap);
    tnm_snapshot_close(snap);
}

const struct fuzz_target fuzz_target = {
    .name = "fuzz_snapshot",
    .cases = 20000,
    .steps = 12,
    .init = fuzz_snapshot_init,
    .run = fuzz_snapshot_run,
    .fini = fuzz_snapshot_fini,
};
