/* qcow2: cached tables, host clusters and their refcounts, and the order in which metadata reaches
 * the disk. See block_qcow2.h for the invariants.
 */
#include <stdlib.h>

#include "devices/block_qcow2.h"

/* ---- cached tables ---------------------------------------------------------------------------- */

bool qcow2_cache_init(struct q2_cache *c, const struct qcow2 *q, uint64_t bytes, unsigned most)
{
    c->count = (unsigned)MIN(MAX(bytes >> q->cluster_bits, (uint64_t)4), (uint64_t)most);
    for (unsigned i = 0; i < c->count; i++) {
        c->t[i].data = malloc((size_t)q->cluster);
        if (!c->t[i].data)
            return false;
    }
    return true;
}

void qcow2_cache_fini(struct q2_cache *c)
{
    for (unsigned i = 0; i < c->count; i++)
        free(c->t[i].data);
}

void qcow2_table_dirty(struct q2_table *t, uint32_t lo, uint32_t hi)
{
    if (t->dirty_lo == t->dirty_hi) {
        t->dirty_lo = lo;
        t->dirty_hi = hi;
    } else {
        t->dirty_lo = MIN(t->dirty_lo, lo);
        t->dirty_hi = MAX(t->dirty_hi, hi);
    }
}

void qcow2_table_forget(struct q2_cache *c, uint64_t offset)
{
    for (unsigned i = 0; i < c->count; i++) {
        if (c->t[i].offset == offset)
            c->t[i].offset = c->t[i].used = c->t[i].dirty_lo = c->t[i].dirty_hi = 0;
    }
}

static bool write_table(struct qcow2 *q, struct q2_table *t)
{
    if (t->dirty_lo == t->dirty_hi)
        return true;
    if (!host_file_write(&q->file, t->offset + t->dirty_lo, t->data + t->dirty_lo,
                         t->dirty_hi - t->dirty_lo))
        return false;
    t->dirty_lo = t->dirty_hi = 0;
    return true;
}

static bool write_cache(struct qcow2 *q, struct q2_cache *c, bool *any)
{
    for (unsigned i = 0; i < c->count; i++) {
        if (c->t[i].dirty_lo != c->t[i].dirty_hi)
            *any = true;
        if (!write_table(q, &c->t[i]))
            return false;
    }
    return true;
}

struct q2_table *qcow2_table(struct qcow2 *q, struct q2_cache *c, uint64_t offset, bool blank)
{
    struct q2_table *t = &c->t[0];
    for (unsigned i = 0; i < c->count; i++) {
        if (c->t[i].offset == offset && offset && !blank) {
            c->t[i].used = ++q->use_counter;
            return &c->t[i];
        }
        if (c->t[i].used < t->used)
            t = &c->t[i];
    }
    if (!offset || offset & (q->cluster - 1))
        return NULL;
    /* Refcount blocks may go to the disk at any time, L2 tables only in their turn. */
    if (t->dirty_lo != t->dirty_hi && !(c == &q->rb_cache ? write_table(q, t) : qcow2_sync(q)))
        return NULL;
    t->offset = t->used = 0;
    if (blank) {
        qcow2_table_forget(c, offset); /* the cluster may have held a table in an earlier life */
        memset(t->data, 0, (size_t)q->cluster);
        qcow2_table_dirty(t, 0, (uint32_t)q->cluster);
    } else if (!host_file_read(&q->file, offset, t->data, (size_t)q->cluster)) {
        return NULL;
    }
    t->offset = offset;
    t->used = ++q->use_counter;
    return t;
}

/* ---- where metadata lies ---------------------------------------------------------------------- */

bool qcow2_is_meta(const struct qcow2 *q, uint64_t cluster)
{
    return cluster < q->meta_clusters && (q->meta[cluster >> 3] >> (cluster & 7) & 1);
}

bool qcow2_set_meta(struct qcow2 *q, uint64_t cluster, bool on)
{
    if (cluster >= q->meta_clusters) {
        uint64_t want = align_up(MAX(cluster + 1, q->meta_clusters + q->meta_clusters / 2), 4096);
        uint8_t *grown = realloc(q->meta, (size_t)(want / 8));
        if (!grown)
            return false;
        memset(grown + q->meta_clusters / 8, 0, (size_t)((want - q->meta_clusters) / 8));
        q->meta = grown;
        q->meta_clusters = want;
    }
    if (on)
        q->meta[cluster >> 3] |= (uint8_t)(1u << (cluster & 7));
    else
        q->meta[cluster >> 3] &= (uint8_t) ~(1u << (cluster & 7));
    return true;
}

/* Claims a range for one table; it must lie in the file and be nobody else's. */
static bool claim(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    if (offset & (q->cluster - 1) || offset > q->file.size || bytes > q->file.size - offset)
        return false;
    uint64_t first = offset >> q->cluster_bits;
    uint64_t last = (offset + MAX(bytes, (uint64_t)1) - 1) >> q->cluster_bits;
    for (uint64_t c = first; c <= last; c++) {
        if (qcow2_is_meta(q, c) || !qcow2_set_meta(q, c, true))
            return false;
    }
    return true;
}

bool qcow2_map_meta(struct qcow2 *q)
{
    if (!claim(q, 0, MIN(q->cluster, q->file.size)) ||
        !claim(q, q->l1_offset, (uint64_t)q->l1_size * 8) ||
        !claim(q, q->rt_offset, (uint64_t)q->rt_size * 8) ||
        (q->snapshots && !claim(q, q->snapshots_offset, 1)))
        return false;
    for (uint32_t i = 0; i < q->rt_size; i++) {
        if (q->rt[i] && !claim(q, q->rt[i], q->cluster))
            return false;
    }
    for (uint32_t i = 0; i < q->l1_size; i++) {
        if (q->l1[i] & Q2_L1_RESERVED)
            return false;
        if (q->l1[i] && !claim(q, q->l1[i] & Q2_OFFSET, q->cluster))
            return false;
    }
    return true;
}

/* ---- refcounts -------------------------------------------------------------------------------- */

static uint64_t get_count(const struct qcow2 *q, const uint8_t *block, uint64_t i)
{
    switch (q->refcount_order) {
    case 0:
        return block[i >> 3] >> (i & 7) & 1;
    case 1:
        return block[i >> 2] >> (i & 3) * 2 & 3;
    case 2:
        return block[i >> 1] >> (i & 1) * 4 & 15;
    case 3:
        return block[i];
    case 4:
        return ldbe16(block + i * 2);
    case 5:
        return ldbe32(block + i * 4);
    default:
        return ldbe64(block + i * 8);
    }
}

static void put_bits(uint8_t *p, unsigned shift, unsigned width, uint64_t v)
{
    *p = (uint8_t)bits_set(*p, shift, width, v);
}

static void put_count(const struct qcow2 *q, uint8_t *block, uint64_t i, uint64_t v)
{
    switch (q->refcount_order) {
    case 0:
        put_bits(block + (i >> 3), i & 7, 1, v);
        break;
    case 1:
        put_bits(block + (i >> 2), (i & 3) * 2, 2, v);
        break;
    case 2:
        put_bits(block + (i >> 1), (i & 1) * 4, 4, v);
        break;
    case 3:
        block[i] = (uint8_t)v;
        break;
    case 4:
        st16(block + i * 2, __builtin_bswap16((uint16_t)v));
        break;
    case 5:
        stbe32(block + i * 4, (uint32_t)v);
        break;
    default:
        stbe64(block + i * 8, v);
        break;
    }
}

static uint64_t max_count(const struct qcow2 *q)
{
    return q->refcount_order == 6 ? UINT64_MAX : BIT64(1u << q->refcount_order) - 1;
}

bool qcow2_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *count)
{
    uint64_t rti = cluster >> q->refblock_bits;
    *count = 0;
    if (rti >= q->rt_size || !q->rt[rti])
        return true;
    struct q2_table *t = qcow2_table(q, &q->rb_cache, q->rt[rti], false);
    if (!t)
        return false;
    *count = get_count(q, t->data, cluster & (BIT64(q->refblock_bits) - 1));
    return true;
}

/* The cluster's refcount block exists. */
static bool set_refcount(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
    struct q2_table *t = qcow2_table(q, &q->rb_cache, q->rt[cluster >> q->refblock_bits], false);
    if (!t || count > max_count(q))
        return false;
    uint64_t i = cluster & (BIT64(q->refblock_bits) - 1);
    uint32_t byte = (uint32_t)(i << q->refcount_order >> 3);
    put_count(q, t->data, i, count);
    qcow2_table_dirty(t, byte, byte + MAX(1u << q->refcount_order >> 3, 1u));
    return true;
}

static void rt_dirty(struct qcow2 *q, uint32_t i)
{
    if (q->rt_dirty_lo == q->rt_dirty_hi) {
        q->rt_dirty_lo = i;
        q->rt_dirty_hi = i + 1;
    } else {
        q->rt_dirty_lo = MIN(q->rt_dirty_lo, i);
        q->rt_dirty_hi = MAX(q->rt_dirty_hi, i + 1);
    }
}

static bool write_entries(struct qcow2 *q, uint64_t offset, const uint64_t *table, uint32_t lo,
                          uint32_t hi)
{
    uint8_t buf[SECTOR];
    while (lo < hi) {
        uint32_t n = MIN(hi - lo, (uint32_t)(SECTOR / 8));
        for (uint32_t i = 0; i < n; i++)
            stbe64(buf + i * 8, table[lo + i]);
        if (!host_file_write(&q->file, offset + (uint64_t)lo * 8, buf, n * 8))
            return false;
        lo += n;
    }
    return true;
}

/* Moves the refcount table to the end of the file, with room for at least `need` entries. The new
 * table and the blocks that count it are written and on the disk before the header names them. */
static bool grow_rt(struct qcow2 *q, uint64_t need)
{
    uint64_t per_cluster = q->cluster / 8;
    uint64_t first = q->end, lo = first >> q->refblock_bits;
    uint64_t have = lo < q->rt_size && q->rt[lo] ? 1 : 0;
    uint64_t entries, table_clusters, blocks, total;
    /* The new area counts itself, with `blocks` blocks of which all but an existing first are new
     * and follow the table. */
    for (entries = MAX(need, (uint64_t)q->rt_size + q->rt_size / 2);; entries = lo + blocks) {
        table_clusters = (entries + per_cluster - 1) / per_cluster;
        for (blocks = 1;; blocks++) {
            total = table_clusters + blocks - have;
            if (((first + total - 1) >> q->refblock_bits) - lo + 1 <= blocks)
                break;
        }
        if (lo + blocks <= table_clusters * per_cluster)
            break;
    }
    entries = table_clusters * per_cluster;
    if (entries * 8 > MAX(Q2_MAX_RT_BYTES, q->cluster) || !qcow2_sync(q))
        return false;

    uint64_t *rt = calloc((size_t)entries, sizeof(*rt));
    uint8_t *block = malloc((size_t)q->cluster);
    bool ok = rt && block;
    if (ok)
        memcpy(rt, q->rt, (size_t)q->rt_size * sizeof(*rt));
    for (uint64_t b = 0; ok && b < blocks; b++) {
        uint64_t base = (lo + b) << q->refblock_bits;
        memset(block, 0, (size_t)q->cluster);
        if (lo + b < q->rt_size && rt[lo + b]) {
            ok = host_file_read(&q->file, rt[lo + b], block, (size_t)q->cluster);
            qcow2_table_forget(&q->rb_cache, rt[lo + b]);
        } else {
            rt[lo + b] = (first + table_clusters + b - have) << q->cluster_bits;
        }
        for (uint64_t i = 0; i < BIT64(q->refblock_bits); i++) {
            if (base + i >= first && base + i < first + total)
                put_count(q, block, i, 1);
        }
        ok = ok && host_file_write(&q->file, rt[lo + b], block, (size_t)q->cluster);
    }
    uint8_t header[12];
    stbe64(header, first << q->cluster_bits);
    stbe32(header + 8, (uint32_t)table_clusters);
    ok = ok && write_entries(q, first << q->cluster_bits, rt, 0, (uint32_t)entries) &&
         host_file_flush(&q->file) && host_file_write(&q->file, Q2H_RT_OFFSET, header, 12) &&
         host_file_flush(&q->file);
    for (uint64_t c = first; ok && c < first + total; c++)
        ok = qcow2_set_meta(q, c, true);
    free(block);
    if (!ok) {
        free(rt);
        /* Whether the header was changed is not known: nothing more may be written. */
        q->broken = true;
        return false;
    }
    uint64_t old = q->rt_offset, old_bytes = (uint64_t)q->rt_size * 8;
    free(q->rt);
    q->rt = rt;
    q->rt_size = (uint32_t)entries;
    q->rt_offset = first << q->cluster_bits;
    q->end = first + total;
    return qcow2_free_later(q, old, old_bytes);
}

/* A step towards the block that counts `cluster`; to be called until it exists. It goes to the end
 * of the file, where nothing can be that the counts do not know of; the table that has to grow, or
 * the block that counts the new block, comes first. */
static bool make_refblock(struct qcow2 *q, uint64_t cluster)
{
    uint64_t rti = cluster >> q->refblock_bits;
    uint64_t own = q->end >> q->refblock_bits;
    if (MAX(rti, own) >= q->rt_size)
        return grow_rt(q, MAX(rti, own) + 1);
    if (own != rti && !q->rt[own])
        return make_refblock(q, q->end);

    uint64_t home = q->end;
    if (qcow2_is_meta(q, home) || !qcow2_set_meta(q, home, true) ||
        !qcow2_table(q, &q->rb_cache, home << q->cluster_bits, true))
        return false;
    q->end++;
    q->rt[rti] = home << q->cluster_bits;
    rt_dirty(q, (uint32_t)rti);
    return set_refcount(q, home, 1);
}

uint64_t qcow2_alloc(struct qcow2 *q)
{
    for (uint64_t c = q->free_hint;; c++) {
        uint64_t rti = c >> q->refblock_bits, count;
        if (c >= BIT64(55) >> q->cluster_bits)
            return 0;
        while (rti >= q->rt_size || !q->rt[rti]) {
            if (q->broken || !make_refblock(q, c))
                return 0;
        }
        if (!qcow2_refcount(q, c, &count))
            return 0;
        if (count)
            continue;
        /* Free by its count and yet a table: the counts are wrong. */
        if (qcow2_is_meta(q, c)) {
            q->broken = true;
            return 0;
        }
        if (!set_refcount(q, c, 1))
            return 0;
        q->free_hint = c + 1;
        q->end = MAX(q->end, c + 1);
        return c << q->cluster_bits;
    }
}

void qcow2_alloc_undo(struct qcow2 *q, uint64_t offset)
{
    uint64_t c = offset >> q->cluster_bits;
    if (set_refcount(q, c, 0))
        q->free_hint = MIN(q->free_hint, c);
}

bool qcow2_free_later(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    if (q->nfrees == Q2_MAX_FREES && !qcow2_sync(q))
        return false;
    uint64_t first = offset >> q->cluster_bits;
    uint64_t last = (offset + MAX(bytes, (uint64_t)1) - 1) >> q->cluster_bits;
    q->frees[q->nfrees++] = (struct q2_free){first, last - first + 1};
    return true;
}

static bool apply_frees(struct qcow2 *q)
{
    while (q->nfrees) {
        /* Taken off first: what fails half-way must not be done again, only be wasted. */
        struct q2_free f = q->frees[--q->nfrees];
        for (uint64_t c = f.cluster; c < f.cluster + f.count; c++) {
            uint64_t count;
            if (!qcow2_refcount(q, c, &count))
                return false;
            if (count == 0) {
                q->broken = true; /* freed twice: two tables named it */
                return false;
            }
            if (!set_refcount(q, c, count - 1))
                return false;
            if (count == 1) {
                qcow2_set_meta(q, c, false);
                q->free_hint = MIN(q->free_hint, c);
                host_file_punch(&q->file, c << q->cluster_bits, q->cluster);
            }
        }
    }
    return true;
}

bool qcow2_sync(struct qcow2 *q)
{
    bool blocks = false, tables = false;
    bool rt = q->rt_dirty_lo != q->rt_dirty_hi, l1 = q->l1_dirty_lo != q->l1_dirty_hi;
    if (!write_cache(q, &q->rb_cache, &blocks))
        return false;
    for (unsigned i = 0; i < q->l2_cache.count; i++)
        tables |= q->l2_cache.t[i].dirty_lo != q->l2_cache.t[i].dirty_hi;
    if (rt) {
        if (!host_file_flush(&q->file) ||
            !write_entries(q, q->rt_offset, q->rt, q->rt_dirty_lo, q->rt_dirty_hi))
            return false;
        q->rt_dirty_lo = q->rt_dirty_hi = 0;
    }
    if (tables && (!host_file_flush(&q->file) || !write_cache(q, &q->l2_cache, &tables)))
        return false;
    if (l1) {
        if (!host_file_flush(&q->file) ||
            !write_entries(q, q->l1_offset, q->l1, q->l1_dirty_lo, q->l1_dirty_hi))
            return false;
        q->l1_dirty_lo = q->l1_dirty_hi = 0;
    }
    if (q->nfrees &&
        (!host_file_flush(&q->file) || !apply_frees(q) || !write_cache(q, &q->rb_cache, &blocks)))
        return false;
    return true;
}

/* ---- repair ----------------------------------------------------------------------------------- */

struct tally {
    uint32_t *count;
    uint64_t clusters;
};

static bool tally_range(struct qcow2 *q, struct tally *t, uint64_t offset, uint64_t bytes)
{
    uint64_t first = offset >> q->cluster_bits;
    uint64_t last = (offset + MAX(bytes, (uint64_t)1) - 1) >> q->cluster_bits;
    if (last >= t->clusters)
        return false;
    for (uint64_t c = first; c <= last; c++)
        t->count[c]++;
    return true;
}

static bool tally_l1(struct qcow2 *q, struct tally *t, uint64_t l1_offset, uint64_t l1_size)
{
    uint8_t *l2 = malloc((size_t)q->cluster);
    bool ok = l2 && tally_range(q, t, l1_offset, l1_size * 8);
    for (uint64_t i = 0; ok && i < l1_size; i++) {
        uint8_t raw[8];
        ok = host_file_read(&q->file, l1_offset + i * 8, raw, 8);
        uint64_t offset = ok ? ldbe64(raw) & Q2_OFFSET : 0;
        if (!offset)
            continue;
        ok = tally_range(q, t, offset, q->cluster) &&
             host_file_read(&q->file, offset, l2, (size_t)q->cluster);
        for (uint64_t k = 0; ok && k < q->cluster / 8; k++) {
            uint64_t e = ldbe64(l2 + k * 8), at = e & Q2_OFFSET, bytes = q->cluster;
            if (e & Q2_COMPRESSED) {
                qcow2_compressed_extent(q, e, &at, &bytes);
                bytes += at & (SECTOR - 1);
                at = align_down(at, SECTOR);
            }
            if (at)
                ok = tally_range(q, t, at, bytes);
        }
    }
    free(l2);
    return ok;
}

/* Snapshot table entries: "Snapshots" in the format's description. */
static bool tally_snapshots(struct qcow2 *q, struct tally *t)
{
    uint64_t pos = q->snapshots_offset;
    for (uint32_t i = 0; i < q->snapshots; i++) {
        uint8_t e[40];
        if (!host_file_read(&q->file, pos, e, sizeof(e)))
            return false;
        uint64_t l1_offset = ldbe64(e), l1_size = ldbe32(e + 8);
        if (l1_size > Q2_MAX_L1_BYTES / 8 || !tally_l1(q, t, l1_offset, l1_size))
            return false;
        pos += align_up(sizeof(e) + (uint64_t)ldbe32(e + 36) + ldbe16(e + 12) + ldbe16(e + 14), 8);
    }
    return q->snapshots == 0 || tally_range(q, t, q->snapshots_offset, pos - q->snapshots_offset);
}

bool qcow2_repair_refcounts(struct qcow2 *q)
{
    struct tally t = {.clusters = q->end};
    t.count = calloc((size_t)t.clusters, sizeof(*t.count));
    bool ok = t.count && tally_range(q, &t, 0, 1) &&
              tally_range(q, &t, q->rt_offset, (uint64_t)q->rt_size * 8) &&
              tally_l1(q, &t, q->l1_offset, q->l1_size) && tally_snapshots(q, &t);
    for (uint32_t i = 0; ok && i < q->rt_size; i++) {
        if (q->rt[i])
            ok = tally_range(q, &t, q->rt[i], q->cluster);
    }
    /* Counts that are too high only waste room: they may belong to what is not known here. */
    for (uint64_t c = 0; ok && c < t.clusters; c++) {
        uint64_t have;
        ok = qcow2_refcount(q, c, &have);
        if (!ok || t.count[c] <= have)
            continue;
        while (ok && (c >> q->refblock_bits >= q->rt_size || !q->rt[c >> q->refblock_bits]))
            ok = !q->broken && make_refblock(q, c);
        ok = ok && set_refcount(q, c, t.count[c]);
    }
    free(t.count);
    return ok && qcow2_sync(q) && host_file_flush(&q->file);
}
