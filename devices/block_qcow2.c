/* qcow2 images, versions 2 and 3: opening and reading. See block_qcow2.h for the structure.
 *
 * Supported: backing files, internal snapshots (kept, not used), compressed clusters (zlib), zero
 * clusters, any refcount width, lazy refcounts and their dirty bit. Refused with a reason:
 * encryption, external data files, extended L2 entries, zstd, and incompatible features not known.
 * Persistent bitmaps are invalidated by the first write, as the format has it (autoclear bit 0).
 */
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "devices/block_qcow2.h"

#define EXT_END            0u
#define EXT_BACKING_FORMAT 0xe2792acau

/* ---- reading ---------------------------------------------------------------------------------- */

void qcow2_compressed_extent(const struct qcow2 *q, uint64_t entry, uint64_t *offset,
                             uint64_t *bytes)
{
    unsigned shift = 62 - (q->cluster_bits - 8);
    uint64_t sectors = ((entry & (Q2_COMPRESSED - 1)) >> shift) + 1;
    *offset = entry & (BIT64(shift) - 1);
    *bytes = sectors * SECTOR - (*offset & (SECTOR - 1));
}

bool qcow2_entry_ok(const struct qcow2 *q, uint64_t entry)
{
    if (entry & Q2_COMPRESSED) {
        uint64_t offset, bytes;
        qcow2_compressed_extent(q, entry, &offset, &bytes);
        return !(entry & Q2_COPIED) && offset && offset < q->file.size;
    }
    uint64_t offset = entry & Q2_OFFSET;
    return !(entry & Q2_L2_RESERVED) && !(q->version < 3 && (entry & Q2_ZERO)) &&
           !(offset & (q->cluster - 1)) && (offset || !(entry & Q2_COPIED)) &&
           offset < MAX(q->file.size, q->end * q->cluster);
}

static bool inflate_cluster(struct qcow2 *q, uint64_t entry)
{
    if (q->inflated_entry == entry)
        return true;
    q->inflated_entry = 0;
    uint64_t offset, bytes;
    qcow2_compressed_extent(q, entry, &offset, &bytes);
    /* At most 2^(cluster_bits - 8) sectors: two clusters. */
    uint8_t *in = malloc((size_t)bytes);
    z_stream z = {0};
    bool ok = false;
    if (in && host_file_read_padded(&q->file, offset, in, (size_t)bytes) &&
        inflateInit2(&z, -15) == Z_OK) {
        z.next_in = in;
        z.avail_in = (uInt)bytes;
        z.next_out = q->inflated;
        z.avail_out = (uInt)q->cluster;
        int r = inflate(&z, Z_FINISH);
        ok = (r == Z_STREAM_END || r == Z_BUF_ERROR) && z.avail_out == 0;
        inflateEnd(&z);
    }
    free(in);
    if (ok)
        q->inflated_entry = entry;
    return ok;
}

static bool read_backing(struct qcow2 *q, uint64_t guest, uint8_t *buf, size_t len)
{
    size_t n = 0;
    if (q->backing && guest < q->backing->size)
        n = (size_t)MIN((uint64_t)len, q->backing->size - guest);
    memset(buf + n, 0, len - n);
    return n == 0 || block_read(q->backing, guest, buf, n);
}

bool qcow2_read_entry(struct qcow2 *q, uint64_t entry, uint64_t guest, void *buf, size_t len)
{
    uint64_t in_cluster = guest & (q->cluster - 1);
    if (!qcow2_entry_ok(q, entry))
        return false;
    if (entry & Q2_COMPRESSED) {
        if (!inflate_cluster(q, entry))
            return false;
        memcpy(buf, q->inflated + in_cluster, len);
        return true;
    }
    if (entry & Q2_ZERO) {
        memset(buf, 0, len);
        return true;
    }
    if (!(entry & Q2_OFFSET))
        return read_backing(q, guest, buf, len);
    /* The last cluster of a file may have been written in part. */
    return host_file_read_padded(&q->file, (entry & Q2_OFFSET) + in_cluster, buf, len);
}

static bool qcow2_read(void *state, uint64_t offset, void *buf, size_t len)
{
    struct qcow2 *q = state;
    uint8_t *p = buf;
    while (len) {
        size_t n = (size_t)MIN((uint64_t)len, q->cluster - (offset & (q->cluster - 1)));
        uint64_t index = offset >> q->cluster_bits;
        uint64_t l1 = q->l1[index >> q->l2_bits];
        uint64_t entry = 0;
        if (l1 & Q2_OFFSET && !(l1 & Q2_L1_RESERVED)) {
            struct q2_table *t = qcow2_table(q, &q->l2_cache, l1 & Q2_OFFSET, false);
            if (!t)
                return false;
            entry = ldbe64(t->data + (index & (BIT64(q->l2_bits) - 1)) * 8);
        } else if (l1) {
            return false;
        }
        if (!qcow2_read_entry(q, entry, offset, p, n))
            return false;
        offset += n;
        p += n;
        len -= n;
    }
    return true;
}

static bool qcow2_flush(void *state)
{
    struct qcow2 *q = state;
    return qcow2_sync(q) && host_file_flush(&q->file);
}

static void qcow2_close(void *state)
{
    struct qcow2 *q = state;
    qcow2_cache_fini(&q->l2_cache);
    qcow2_cache_fini(&q->rb_cache);
    block_close(q->backing);
    host_file_close(&q->file);
    free(q->l1);
    free(q->rt);
    free(q->bounce);
    free(q->inflated);
    free(q->meta);
    free(q);
}

/* ---- opening ---------------------------------------------------------------------------------- */

static bool damaged(struct error *err, const char *path, const char *what)
{
    return error_set(err, ERR_FORMAT,
                     "qcow2 image '%s' is damaged or cut short (%s): restore it, or try 'qemu-img "
                     "check -r all' on a copy",
                     path, what);
}

static bool unsupported(struct error *err, const char *path, const char *what)
{
    return error_set(err, ERR_UNSUPPORTED,
                     "qcow2 image '%s' uses %s, which is not supported: convert it with 'qemu-img "
                     "convert -O qcow2'",
                     path, what);
}

/* Reads a table of count entries that must lie wholly in the file. */
static bool load_entries(struct qcow2 *q, uint64_t offset, uint32_t count, uint64_t **out)
{
    uint64_t bytes = (uint64_t)count * 8;
    if (!offset || offset & (q->cluster - 1) || offset > q->file.size ||
        bytes > q->file.size - offset)
        return false;
    *out = malloc((size_t)MAX(bytes, (uint64_t)8));
    if (!*out || !host_file_read(&q->file, offset, *out, (size_t)bytes))
        return false;
    for (uint32_t i = 0; i < count; i++)
        (*out)[i] = ldbe64(&(*out)[i]);
    return true;
}

static bool check_features(struct qcow2 *q, const uint8_t *h, uint32_t length, const char *path,
                           struct error *err)
{
    uint64_t known = Q2_INCOMPAT_DIRTY | Q2_INCOMPAT_CORRUPT | Q2_INCOMPAT_COMPR;
    if (ldbe32(h + Q2H_CRYPT))
        return unsupported(err, path, "encryption");
    if (q->incompatible & Q2_INCOMPAT_DATA)
        return unsupported(err, path, "an external data file");
    if (q->incompatible & Q2_INCOMPAT_EXTL2)
        return unsupported(err, path, "extended L2 entries (subclusters)");
    if (q->incompatible & Q2_INCOMPAT_COMPR && length > Q2H_COMPRESSION && h[Q2H_COMPRESSION])
        return unsupported(err, path, "zstd compression");
    if (q->incompatible & ~known) {
        char what[48];
        unsigned bit = (unsigned)__builtin_ctzll(q->incompatible & ~known);
        snprintf(what, sizeof(what), "incompatible feature number %u", bit);
        return unsupported(err, path, what);
    }
    if (q->incompatible & Q2_INCOMPAT_CORRUPT && q->file.writable)
        return error_set(err, ERR_FORMAT,
                         "qcow2 image '%s' is marked corrupt: repair it with 'qemu-img check -r "
                         "all', or use readonly=on or discard=on to save what is in it",
                         path);
    return true;
}

static bool read_header(struct qcow2 *q, const char *path, uint8_t *h, uint32_t *length,
                        struct error *err)
{
    if (q->file.size < Q2H_V2_LENGTH)
        return damaged(err, path, "no whole header");
    if (!host_file_read_padded(&q->file, 0, h, SECTOR))
        return error_set(err, ERR_IO, "cannot read disk image '%s': check the host's disk", path);
    if (ldbe32(h + Q2H_MAGIC) != Q2_MAGIC)
        return error_set(err, ERR_FORMAT,
                         "disk image '%s' is not a qcow2 image: leave format= out, or say "
                         "format=raw",
                         path);
    q->version = ldbe32(h + Q2H_VERSION);
    if (q->version != 2 && q->version != 3) {
        char what[48];
        snprintf(what, sizeof(what), "format version %u", q->version);
        return unsupported(err, path, what);
    }
    *length = Q2H_V2_LENGTH;
    q->refcount_order = 4;
    if (q->version == 3) {
        *length = ldbe32(h + Q2H_HEADER_LENGTH);
        q->incompatible = ldbe64(h + Q2H_INCOMPATIBLE);
        q->autoclear = ldbe64(h + Q2H_AUTOCLEAR);
        q->refcount_order = ldbe32(h + Q2H_REFCOUNT_ORDER);
        if (*length < Q2H_COMPRESSION)
            return damaged(err, path, "header length");
    }
    q->cluster_bits = ldbe32(h + Q2H_CLUSTER_BITS);
    if (q->cluster_bits < 9 || q->cluster_bits > 21)
        return damaged(err, path, "cluster size");
    if (q->refcount_order > 6)
        return damaged(err, path, "refcount width");
    q->cluster = BIT64(q->cluster_bits);
    if (*length > q->cluster)
        return damaged(err, path, "header length");
    q->l2_bits = q->cluster_bits - 3;
    q->refblock_bits = q->cluster_bits + 3 - q->refcount_order;
    return check_features(q, h, *length, path, err);
}

static bool read_tables(struct qcow2 *q, const char *path, const uint8_t *h, struct error *err)
{
    uint64_t size = ldbe64(h + Q2H_SIZE);
    if (size == 0)
        return error_set(err, ERR_FORMAT,
                         "disk image '%s' has a size of 0: give it one with 'qemu-img resize'",
                         path);
    if (size > INT64_MAX - q->cluster)
        return damaged(err, path, "disk size");
    q->size = align_up(size, SECTOR);
    q->l1_size = ldbe32(h + Q2H_L1_SIZE);
    q->l1_offset = ldbe64(h + Q2H_L1_OFFSET);
    unsigned l1_shift = q->cluster_bits + q->l2_bits;
    uint64_t needed = (q->size + BIT64(l1_shift) - 1) >> l1_shift;
    if (q->l1_size > Q2_MAX_L1_BYTES / 8 || q->l1_size < needed ||
        !load_entries(q, q->l1_offset, q->l1_size, &q->l1))
        return damaged(err, path, "L1 table");
    uint64_t rt_bytes = (uint64_t)ldbe32(h + Q2H_RT_CLUSTERS) * q->cluster;
    q->rt_offset = ldbe64(h + Q2H_RT_OFFSET);
    q->rt_size = (uint32_t)(rt_bytes / 8);
    if (rt_bytes == 0 || rt_bytes > MAX(Q2_MAX_RT_BYTES, q->cluster) ||
        !load_entries(q, q->rt_offset, q->rt_size, &q->rt))
        return damaged(err, path, "refcount table");
    q->snapshots = ldbe32(h + Q2H_SNAPSHOTS);
    q->snapshots_offset = ldbe64(h + Q2H_SNAPSHOTS_OFFSET);
    if (q->snapshots > Q2_MAX_SNAPSHOTS ||
        (q->snapshots && (!q->snapshots_offset || q->snapshots_offset & (q->cluster - 1) ||
                          q->snapshots_offset >= q->file.size)))
        return damaged(err, path, "snapshot table");
    return true;
}

/* The backing file's format from the header extensions; empty: to be looked at. */
static bool backing_format(struct qcow2 *q, uint32_t pos, uint64_t end, char *fmt, size_t size)
{
    uint8_t head[8];
    fmt[0] = 0;
    while (pos + sizeof(head) <= end && host_file_read(&q->file, pos, head, sizeof(head))) {
        uint32_t type = ldbe32(head), len = ldbe32(head + 4);
        pos += sizeof(head);
        if (type == EXT_END)
            return true;
        if (len > end - pos)
            return false;
        if (type == EXT_BACKING_FORMAT) {
            if (len >= size || !host_file_read(&q->file, pos, fmt, len))
                return false;
            fmt[len] = 0;
        }
        pos += (uint32_t)align_up(len, 8);
    }
    return true;
}

static bool open_backing(struct qcow2 *q, const char *path, const uint8_t *h, uint32_t length,
                         const struct block_chain *above, struct error *err)
{
    uint64_t offset = ldbe64(h + Q2H_BACKING_OFFSET);
    uint32_t len = ldbe32(h + Q2H_BACKING_SIZE);
    if (!offset || !len)
        return true;
    char name[1024], fmt[32];
    if (len >= sizeof(name) || offset > q->cluster || len > q->cluster - offset ||
        !host_file_read(&q->file, offset, name, len))
        return damaged(err, path, "backing file name");
    name[len] = 0;
    if (!backing_format(q, length, offset, fmt, sizeof(fmt)))
        return damaged(err, path, "header extensions");

    const char *file = name, *slash = strchr(name, '/'), *colon = strchr(name, ':');
    if (!strncmp(name, "file:", 5))
        file = name + 5;
    else if (colon && (!slash || colon < slash))
        return unsupported(err, path, "a backing file that is not a plain file");

    /* Relative names start from the image's own directory. */
    char *full = malloc(strlen(path) + strlen(file) + 2);
    if (!full)
        return error_set(err, ERR_NOMEM, "not enough memory to open '%s'", path);
    full[0] = 0;
    const char *dir_end = strrchr(path, '/');
    if (file[0] != '/' && dir_end) {
        size_t n = (size_t)(dir_end - path) + 1;
        memcpy(full, path, n);
        full[n] = 0;
    }
    strcat(full, file);

    struct block_chain here = {
        .above = above, .file = &q->file, .depth = above ? above->depth + 1 : 1};
    struct error inner = {0};
    q->backing = block_open_chained(
        &(struct block_options){.path = full, .format = fmt[0] ? fmt : NULL, .readonly = true},
        &here, &inner);
    free(full);
    if (q->backing)
        return true;
    /* Once, for the image that the user named. */
    return above ? error_set(err, inner.code, "%s", inner.text)
                 : error_set(err, inner.code, "backing file of '%.120s': %.380s", path, inner.text);
}

void *qcow2_open(struct host_file *f, const char *path, const struct block_chain *above,
                 uint64_t *size, struct error *err)
{
    struct qcow2 *q = calloc(1, sizeof(*q));
    if (!q) {
        host_file_close(f);
        error_set(err, ERR_NOMEM, "not enough memory to open '%s'", path);
        return NULL;
    }
    q->file = *f;
    uint8_t header[SECTOR];
    uint32_t length = 0;
    if (!read_header(q, path, header, &length, err) || !read_tables(q, path, header, err) ||
        !open_backing(q, path, header, length, above, err))
        goto fail;
    q->end = (q->file.size + q->cluster - 1) >> q->cluster_bits;
    q->bounce = malloc((size_t)q->cluster);
    q->inflated = malloc((size_t)q->cluster);
    if (!q->bounce || !q->inflated || !qcow2_cache_init(&q->l2_cache, q, 8 * MIB, Q2_CACHE_MAX) ||
        (q->file.writable && !qcow2_cache_init(&q->rb_cache, q, 2 * MIB, 16))) {
        error_set(err, ERR_NOMEM, "not enough memory to open '%s'", path);
        goto fail;
    }
    if (q->file.writable && !qcow2_map_meta(q)) {
        damaged(err, path, "tables out of place");
        goto fail;
    }
    *size = q->size;
    return q;

fail:
    qcow2_close(q);
    return NULL;
}

/* ---- snapshots -------------------------------------------------------------------------------- */

static unsigned qcow2_bases(const void *state, bool written, struct block_base *out, unsigned max)
{
    const struct qcow2 *q = state;
    unsigned n = 0;

    if (!written && max)
        out[n++] = (struct block_base){.fd = q->file.fd};
    return n + (q->backing ? block_bases(q->backing, out + n, max - n) : 0);
}

/* The L2 entry of a guest cluster; false on an error. */
static bool find_entry(struct qcow2 *q, uint64_t index, uint64_t *entry)
{
    uint64_t l1 = q->l1[index >> q->l2_bits];

    *entry = 0;
    if (!l1)
        return true;
    if (!(l1 & Q2_OFFSET) || (l1 & Q2_L1_RESERVED))
        return false;
    struct q2_table *t = qcow2_table(q, &q->l2_cache, l1 & Q2_OFFSET, false);
    if (t)
        *entry = ldbe64(t->data + (index & (BIT64(q->l2_bits) - 1)) * 8);
    return t != NULL;
}

static bool qcow2_written(void *state, uint64_t offset, uint64_t len)
{
    struct qcow2 *q = state;
    uint64_t entry;

    for (uint64_t i = offset >> q->cluster_bits; i << q->cluster_bits < offset + len; i++) {
        if (!find_entry(q, i, &entry) || entry)
            return true; /* reading will tell of the error */
    }
    return false;
}

/* An entry is not taken back; the cluster gets the contents of the backing file. */
static bool qcow2_revert(void *state, uint64_t offset, uint64_t len)
{
    struct qcow2 *q = state;
    uint8_t *buf;
    bool ok;

    if (!qcow2_written(q, offset, len))
        return true;
    buf = malloc((size_t)len);
    ok = buf && read_backing(q, offset, buf, (size_t)len) &&
         qcow2_write(q, offset, buf, (size_t)len);
    free(buf);
    return ok;
}

const struct block_driver qcow2_driver = {
    .name = "qcow2",
    .read = qcow2_read,
    .write = qcow2_write,
    .zero = qcow2_zero,
    .trim = qcow2_trim,
    .flush = qcow2_flush,
    .close = qcow2_close,
    .bases = qcow2_bases,
    .written = qcow2_written,
    .revert = qcow2_revert,
};
