/* Snapshots in print: see snapshot_print.h.
 *
 * In JSON, numbers that a reader with doubles could get wrong, above 2^53, are strings in
 * hexadecimal, and so are runs of bytes, ids and hashes.
 */
#include "frontend/snapshot_print.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB_OF(n)  ((double)(n) / (1 << 20))
#define UNIT       65536 /* of tnm_snapshot_stream's counts */
#define PAGE       4096
#define EXACT      (1ull << 53)
#define PER_LINE   8
#define BYTES_LINE 32
#define COLUMN     18

static uint64_t element(const tnm_snapshot_field *f, uint32_t n)
{
    const uint8_t *p = f->data + (size_t)n * f->size;
    uint64_t v = 0;

    for (unsigned i = f->size; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static int json_failed(void)
{
    fputs("tinamou: out of memory: free some\n", stderr);
    return STATUS_FAILED;
}

static int dump(json_t *root)
{
    int status = root && json_dumpf(root, stdout, JSON_INDENT(2)) == 0 ? STATUS_OK : json_failed();
    putchar('\n');
    json_decref(root);
    return status;
}

static json_t *json_number(uint64_t v)
{
    char hex[24];

    if (v <= EXACT)
        return json_integer((json_int_t)v);
    snprintf(hex, sizeof(hex), "0x%" PRIx64, v);
    return json_string(hex);
}

/* Names and paths may be any bytes, and JSON is UTF-8: what is not becomes a replacement character. */
static json_t *json_text(const char *text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    size_t len = text ? strlen(text) : 0, n = 0;
    char *out;
    json_t *j;

    if (!text)
        return json_null();
    if ((j = json_string(text)))
        return j;
    out = malloc(len * (sizeof(replacement) - 1) + 1);
    if (!out)
        return NULL;
    while (*text) {
        size_t take = 1;
        while (take < 4 && text[take] && ((unsigned char)text[take] & 0xc0) == 0x80)
            take++;
        json_t *letter = json_stringn(text, take); /* NULL: no UTF-8 */
        memcpy(out + n, letter ? text : replacement, letter ? take : sizeof(replacement) - 1);
        n += letter ? take : sizeof(replacement) - 1;
        text += letter ? take : 1;
        json_decref(letter);
    }
    j = json_stringn(out, n);
    free(out);
    return j;
}

static json_t *json_hex(uint64_t v)
{
    char hex[24];
    snprintf(hex, sizeof(hex), "%016" PRIx64, v);
    return json_string(hex);
}

static json_t *json_bytes(const uint8_t *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    char *hex = malloc(len * 2 + 1);
    json_t *j;

    if (!hex)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        hex[i * 2] = digits[data[i] >> 4];
        hex[i * 2 + 1] = digits[data[i] & 15];
    }
    hex[len * 2] = '\0';
    j = json_string(hex);
    free(hex);
    return j;
}

static json_t *json_field(const tnm_snapshot_field *f)
{
    json_t *list;

    if (!f)
        return json_null();
    if (f->bytes)
        return json_bytes(f->data, f->count);
    if (f->count == 1)
        return json_number(element(f, 0));
    list = json_array();
    for (uint32_t i = 0; i < f->count; i++)
        json_array_append_new(list, json_number(element(f, i)));
    return list;
}

/* ---- info as JSON ------------------------------------------------------------------------------ */

static json_t *json_disk(const tnm_disk *d)
{
    return json_pack("{s:o, s:o, s:s, s:b, s:b}", "file", json_text(d->path), "format",
                     json_text(d->format), "interface",
                     d->interface == TNM_IF_VIRTIO ? "virtio" : "ide", "readonly", d->readonly,
                     "discard", d->discard);
}

static json_t *json_config(const tnm_config *cfg)
{
    json_t *disks = json_array();

    for (unsigned i = 0; i < cfg->ndisks; i++)
        json_array_append_new(disks, json_disk(&cfg->disks[i]));
    return json_pack(
        "{s:o, s:i, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i}", "memory",
        json_number(cfg->memory), "cpus", (int)cfg->cpus, "cpu", json_text(cfg->cpu_model), "clock",
        cfg->clock == TNM_CLOCK_INSN ? "insn" : "host", "disks", disks, "cdrom",
        json_text(cfg->cdrom), "floppy", json_text(cfg->floppy), "boot", json_text(cfg->boot),
        "kernel", json_text(cfg->kernel), "initrd", json_text(cfg->initrd), "append",
        json_text(cfg->append), "debug-exit", cfg->debug_exit_port);
}

static json_t *json_streams(const tnm_snapshot *s)
{
    json_t *list = json_array();
    tnm_snapshot_stream st;

    for (unsigned i = 0; tnm_snapshot_get_stream(s, i, &st); i++)
        json_array_append_new(
            list,
            json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", json_text(st.name), "size",
                      json_number(st.size), "zero-units", json_number(st.zero), "base-units",
                      json_number(st.base), "parent-units", json_number(st.parent), "stored-units",
                      json_number(st.stored), "stored-bytes", json_number(st.stored_bytes)));
    return list;
}

static json_t *json_bases(const tnm_snapshot *s)
{
    json_t *list = json_array();
    tnm_snapshot_base b;

    for (unsigned i = 0; tnm_snapshot_get_base(s, i, &b); i++)
        json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o}", "device", json_text(b.device),
                                              "file", json_text(b.path), "size",
                                              json_number(b.size), "hash", json_hex(b.hash)));
    return list;
}

static void add_field(void *opaque, const tnm_snapshot_field *f)
{
    json_t *devices = opaque, *name = json_text(f->object), *field = json_text(f->name);
    json_t *object = json_object_get(devices, json_string_value(name));

    if (!object) {
        object = json_object();
        json_object_set_new(devices, json_string_value(name), object);
    }
    json_object_set_new(object, json_string_value(field), json_field(f));
    json_decref(name);
    json_decref(field);
}

static int info_json(const tnm_snapshot *s)
{
    json_t *devices = json_object();
    tnm_snapshot_info i;
    tnm_config cfg;

    tnm_snapshot_get_info(s, &i);
    tnm_snapshot_config(s, &cfg);
    tnm_snapshot_fields(s, add_field, devices);
    return dump(json_pack(
        "{s:o, s:o, s:i, s:o, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:[i,i], s:o, s:o, s:o}", "file",
        json_text(i.path), "name", json_text(i.name), "format", (int)i.format, "id", json_hex(i.id),
        "parent", json_text(i.parent), "parent-id", i.parent ? json_hex(i.parent_id) : json_null(),
        "depth", (int)i.depth, "file-size", json_number(i.file_size), "time-ns",
        json_number(i.time_ns), "instructions", json_number(i.insns), "configuration",
        json_config(&cfg), "thumbnail", (int)i.thumb_width, (int)i.thumb_height, "contents",
        json_streams(s), "bases", json_bases(s), "state", devices));
}

/* ---- info for people --------------------------------------------------------------------------- */

/* The file may be anybody's: what would move the cursor of a terminal, or worse, is shown as ?. */
static void print_text(const char *text)
{
    for (; *text; text++)
        putchar((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
}

/* A line of info: its name, and a text. */
static void print_line(const char *name, const char *text)
{
    printf("%-*s", COLUMN, name);
    print_text(text);
    putchar('\n');
}

static bool is_text(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] < ' ' || data[i] > '~')
            return false;
    return len > 2;
}

static void print_bytes(const uint8_t *data, size_t len)
{
    size_t same = 1;

    if (is_text(data, len)) {
        printf(" \"%.*s\"\n", (int)len, data);
        return;
    }

    while (same < len && data[same] == data[0])
        same++;
    if (len > BYTES_LINE && same == len) {
        printf(" %zu times %02x\n", len, data[0]);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        if (i % BYTES_LINE == 0 && len > BYTES_LINE)
            printf("\n      ");
        printf(" %02x", data[i]);
    }
    putchar('\n');
}

static void print_value(const tnm_snapshot_field *f)
{
    if (!f) {
        puts(" (not there)");
        return;
    }
    if (f->bytes) {
        print_bytes(f->data, f->count);
        return;
    }
    for (uint32_t i = 0; i < f->count; i++) {
        if (i % PER_LINE == 0 && f->count > PER_LINE)
            printf("\n      ");
        printf(" 0x%0*" PRIx64, f->count > PER_LINE ? (int)f->size * 2 : 1, element(f, i));
    }
    putchar('\n');
}

struct listing {
    char object[64]; /* whose fields are being printed */
};

static void print_object(struct listing *l, const char *object)
{
    if (strcmp(l->object, object) == 0)
        return;
    snprintf(l->object, sizeof(l->object), "%s", object);
    fputs("  ", stdout);
    print_text(object);
    putchar('\n');
}

static void print_field(void *opaque, const tnm_snapshot_field *f)
{
    print_object(opaque, f->object);
    fputs("    ", stdout);
    print_text(f->name);
    fputs(" =", stdout);
    print_value(f);
}

static void print_config(const tnm_config *cfg)
{
    printf("%-*s%.0f MiB\n", COLUMN, "memory", MIB_OF(cfg->memory));
    printf("%-*s%u, model ", COLUMN, "processors", cfg->cpus);
    print_text(cfg->cpu_model);
    putchar('\n');
    printf("%-*s%s\n", COLUMN, "clock", cfg->clock == TNM_CLOCK_INSN ? "insn" : "host");
    for (unsigned i = 0; i < cfg->ndisks; i++) {
        printf("%-*s", COLUMN, "disk");
        print_text(cfg->disks[i].path ? cfg->disks[i].path : "?");
        printf(", %s%s%s\n", cfg->disks[i].interface == TNM_IF_VIRTIO ? "virtio" : "ide",
               cfg->disks[i].readonly ? ", readonly" : "",
               cfg->disks[i].discard ? ", discard" : "");
    }
    const struct {
        const char *name, *value;
    } rest[] = {{"cdrom", cfg->cdrom},   {"floppy", cfg->floppy}, {"boot", cfg->boot},
                {"kernel", cfg->kernel}, {"initrd", cfg->initrd}, {"append", cfg->append}};
    for (unsigned i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
        if (rest[i].value)
            print_line(rest[i].name, rest[i].value);
}

static void print_name(const char *name)
{
    int len = (int)strlen(name);

    fputs("  ", stdout);
    print_text(name);
    printf("%*s", len < COLUMN - 2 ? COLUMN - 2 - len : 1, "");
}

static void print_size(const char *before, uint64_t bytes, const char *after)
{
    if (bytes >= 1 << 20)
        printf("%s%.1f MiB%s", before, MIB_OF(bytes), after);
    else
        printf("%s%.1f KiB%s", before, (double)bytes / 1024, after);
}

/* The last unit of a stream may be a part of one only. */
static uint64_t bytes_of(const tnm_snapshot_stream *st, uint64_t units)
{
    return units * UNIT < st->size ? units * UNIT : st->size;
}

/* What of a stream is where; what it has nothing of is left out. */
static void print_stream(const tnm_snapshot_stream *st)
{
    const struct {
        uint64_t units;
        const char *where;
    } part[] = {{st->zero, " zero"}, {st->base, " in the base"}, {st->parent, " in parents"}};
    const char *before = ": ";

    print_name(st->name);
    print_size("", st->size, "");
    for (unsigned i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
        if (!part[i].units)
            continue;
        print_size(before, bytes_of(st, part[i].units), part[i].where);
        before = ", ";
    }
    if (st->stored) {
        print_size(before, bytes_of(st, st->stored), " stored in ");
        print_size("", st->stored_bytes, "");
    }
    putchar('\n');
}

static void print_contents(const tnm_snapshot *s)
{
    tnm_snapshot_stream st;
    tnm_snapshot_base b;

    puts("contents");
    for (unsigned i = 0; tnm_snapshot_get_stream(s, i, &st); i++)
        print_stream(&st);
    for (unsigned i = 0; tnm_snapshot_get_base(s, i, &b); i++) {
        if (!i)
            puts("bases");
        print_name(b.device);
        print_text(b.path);
        printf(", %" PRIu64 " bytes, hash %016" PRIx64 "\n", b.size, b.hash);
    }
}

static int info_text(const tnm_snapshot *s)
{
    struct listing l = {""};
    tnm_snapshot_info i;
    tnm_config cfg;

    tnm_snapshot_get_info(s, &i);
    tnm_snapshot_config(s, &cfg);
    printf("%-*s%s, ", COLUMN, "file", i.path);
    print_size("", i.file_size, "");
    printf(", format %u\n", i.format);
    if (i.name[0])
        print_line("name", i.name);
    printf("%-*s%016" PRIx64 "\n", COLUMN, "id", i.id);
    if (i.parent) {
        printf("%-*s", COLUMN, "parent");
        print_text(i.parent);
        printf(", id %016" PRIx64 "\n", i.parent_id);
    }
    printf("%-*s%.3f s, %" PRIu64 " instructions\n", COLUMN, "guest time", (double)i.time_ns / 1e9,
           i.insns);
    if (i.thumb_width)
        printf("%-*s%ux%u\n", COLUMN, "thumbnail", i.thumb_width, i.thumb_height);
    print_config(&cfg);
    print_contents(s);
    puts("state");
    tnm_snapshot_fields(s, print_field, &l);
    return STATUS_OK;
}

int print_info(const tnm_snapshot *s, bool json)
{
    return json ? info_json(s) : info_text(s);
}

/* ---- diff -------------------------------------------------------------------------------------- */

/* Differing pages are gathered into runs. */
struct diff {
    struct listing listing;
    char stream[64];
    uint64_t from, to; /* of the run; equal: none */
    json_t *fields, *pages;
    unsigned nfields;
    uint64_t npages;
};

static void end_run(struct diff *d)
{
    uint64_t pages = (d->to - d->from) / PAGE;

    if (!pages)
        return;
    if (d->pages)
        json_array_append_new(
            d->pages, json_pack("{s:o, s:o, s:o}", "contents", json_text(d->stream), "offset",
                                json_number(d->from), "length", json_number(d->to - d->from)));
    else
        printf("  0x%010" PRIx64 " to 0x%010" PRIx64 ", %" PRIu64 " page%s\n", d->from, d->to - 1,
               pages, pages == 1 ? "" : "s");
    d->npages += pages;
    d->from = d->to = 0;
}

static void diff_page(struct diff *d, const char *stream, uint64_t offset)
{
    bool other = strcmp(d->stream, stream) != 0;

    if (!other && d->to > d->from && offset == d->to) {
        d->to += PAGE;
        return;
    }
    end_run(d);
    if (other && !d->pages) {
        print_text(stream);
        putchar('\n');
    }
    snprintf(d->stream, sizeof(d->stream), "%s", stream);
    d->from = offset;
    d->to = offset + PAGE;
}

static void print_difference(struct diff *d, const tnm_snapshot_field *a,
                             const tnm_snapshot_field *b)
{
    const tnm_snapshot_field *f = a ? a : b;

    if (strcmp(d->listing.object, f->object) != 0) {
        print_text(f->object);
        putchar('\n');
    }
    snprintf(d->listing.object, sizeof(d->listing.object), "%s", f->object);
    fputs("  ", stdout);
    print_text(f->name);
    fputs("\n    -", stdout);
    print_value(a);
    printf("    +");
    print_value(b);
}

static void on_difference(void *opaque, const tnm_snapshot_difference *x)
{
    struct diff *d = opaque;
    const tnm_snapshot_field *f = x->a ? x->a : x->b;

    if (!f) {
        diff_page(d, x->stream, x->offset);
        return;
    }
    d->nfields++;
    if (d->fields)
        json_array_append_new(
            d->fields, json_pack("{s:o, s:o, s:o, s:o}", "object", json_text(f->object), "field",
                                 json_text(f->name), "a", json_field(x->a), "b", json_field(x->b)));
    else
        print_difference(d, x->a, x->b);
}

int print_diff(tnm_snapshot *a, tnm_snapshot *b, bool json)
{
    struct diff d = {.fields = json ? json_array() : NULL, .pages = json ? json_array() : NULL};
    tnm_error err = {0};
    bool same = true;
    bool ok = tnm_snapshot_diff(a, b, on_difference, &d, &same, &err);

    end_run(&d);
    if (!ok) {
        json_decref(d.fields);
        json_decref(d.pages);
        fprintf(stderr, "tinamou: %s\n", err.text);
        return STATUS_FAILED;
    }
    if (json) {
        int status =
            dump(json_pack("{s:b, s:o, s:o}", "same", same, "fields", d.fields, "pages", d.pages));
        return same ? status : STATUS_FAILED;
    }
    if (same)
        puts("no difference");
    else
        printf("%u field%s and %" PRIu64 " page%s differ\n", d.nfields, d.nfields == 1 ? "" : "s",
               d.npages, d.npages == 1 ? "" : "s");
    return same ? STATUS_OK : STATUS_FAILED;
}
