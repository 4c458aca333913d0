/* qcow2: writing. A guest cluster is written in place when its entry says that nothing else uses
 * it; otherwise the whole cluster is put together and goes to a new place, and the L2 entry follows.
 */
#include "devices/block_qcow2.h"

/* Done once, before the first change: settles what an earlier writer left, and takes back promises
 * in the header that we do not keep up (autoclear features). */
static bool prepare(struct qcow2 *q)
{
    uint8_t v[8];
    if (q->broken)
        return false;
    if (q->prepared)
        return true;
    if (q->incompatible & Q2_INCOMPAT_DIRTY) {
        if (!qcow2_repair_refcounts(q)) {
            q->broken = true;
            return false;
        }
        q->incompatible &= ~Q2_INCOMPAT_DIRTY;
        stbe64(v, q->incompatible);
        if (!host_file_write(&q->file, Q2H_INCOMPATIBLE, v, 8))
            return false;
    }
    if (q->autoclear) {
        q->autoclear = 0;
        stbe64(v, 0);
        if (!host_file_write(&q->file, Q2H_AUTOCLEAR, v, 8) || !host_file_flush(&q->file))
            return false;
    }
    q->prepared = true;
    return true;
}

static void l1_set(struct qcow2 *q, uint32_t i, uint64_t value)
{
    q->l1[i] = value;
    if (q->l1_dirty_lo == q->l1_dirty_hi) {
        q->l1_dirty_lo = i;
        q->l1_dirty_hi = i + 1;
    } else {
        q->l1_dirty_lo = MIN(q->l1_dirty_lo, i);
        q->l1_dirty_hi = MAX(q->l1_dirty_hi, i + 1);
    }
}

/* The L2 table for an L1 index, made ours alone: new when there is none, copied when a snapshot
 * shares it. */
static struct q2_table *own_l2(struct qcow2 *q, uint32_t i)
{
    uint64_t old = q->l1[i];
    if (old & Q2_COPIED)
        return qcow2_table(q, &q->l2_cache, old & Q2_OFFSET, false);

    if (old) {
        /* Through the bounce buffer: both tables may not be in the cache at once. */
        struct q2_table *t = qcow2_table(q, &q->l2_cache, old & Q2_OFFSET, false);
        if (!t)
            return NULL;
        memcpy(q->bounce, t->data, (size_t)q->cluster);
    }
    uint64_t home = qcow2_alloc(q);
    if (!home)
        return NULL;
    struct q2_table *t = NULL;
    if (qcow2_set_meta(q, home >> q->cluster_bits, true))
        t = qcow2_table(q, &q->l2_cache, home, true);
    if (!t) {
        qcow2_set_meta(q, home >> q->cluster_bits, false);
        qcow2_alloc_undo(q, home);
        return NULL;
    }
    if (old)
        memcpy(t->data, q->bounce, (size_t)q->cluster);
    l1_set(q, i, home | Q2_COPIED);
    if (old) {
        qcow2_set_meta(q, (old & Q2_OFFSET) >> q->cluster_bits, false);
        if (!qcow2_free_later(q, old & Q2_OFFSET, q->cluster))
            return NULL;
        /* A full list of frees was written out and may have moved the cache. */
        t = qcow2_table(q, &q->l2_cache, home, false);
    }
    return t;
}

/* Whatever host clusters an entry used lose one user. */
static bool release_entry(struct qcow2 *q, uint64_t entry)
{
    uint64_t offset = entry & Q2_OFFSET, bytes = q->cluster;
    if (entry & Q2_COMPRESSED) {
        qcow2_compressed_extent(q, entry, &offset, &bytes);
        bytes += offset & (SECTOR - 1);
        offset = align_down(offset, SECTOR);
        q->inflated_entry = 0;
    }
    return !offset || qcow2_free_later(q, offset, bytes);
}

static void set_entry(struct q2_table *t, uint32_t i, uint64_t entry)
{
    stbe64(t->data + i * 8, entry);
    qcow2_table_dirty(t, i * 8, i * 8 + 8);
}

/* One request within one guest cluster. */
static bool write_cluster(struct qcow2 *q, uint64_t guest, const uint8_t *buf, size_t len)
{
    uint64_t index = guest >> q->cluster_bits;
    uint32_t l1 = (uint32_t)(index >> q->l2_bits);
    uint32_t l2 = (uint32_t)(index & (BIT64(q->l2_bits) - 1));
    uint64_t in_cluster = guest & (q->cluster - 1);

    struct q2_table *t = own_l2(q, l1);
    if (!t)
        return false;
    uint64_t entry = ldbe64(t->data + l2 * 8);
    if (!qcow2_entry_ok(q, entry))
        return false;
    bool ours = entry & Q2_COPIED && !(entry & Q2_COMPRESSED);
    if (ours && qcow2_is_meta(q, (entry & Q2_OFFSET) >> q->cluster_bits)) {
        q->broken = true;
        return false;
    }
    if (ours && !(entry & Q2_ZERO))
        return host_file_write(&q->file, (entry & Q2_OFFSET) + in_cluster, buf, len);

    if (len < q->cluster &&
        !qcow2_read_entry(q, entry, guest - in_cluster, q->bounce, (size_t)q->cluster))
        return false;
    memcpy(q->bounce + in_cluster, buf, len);
    uint64_t home = ours ? entry & Q2_OFFSET : qcow2_alloc(q);
    if (!home)
        return false;
    if (!host_file_write(&q->file, home, q->bounce, (size_t)q->cluster)) {
        if (!ours)
            qcow2_alloc_undo(q, home);
        return false;
    }
    /* Allocation may have synced, never moved: the L2 cache saw no other table. */
    set_entry(t, l2, home | Q2_COPIED);
    return ours || release_entry(q, entry);
}

bool qcow2_write(void *state, uint64_t offset, const void *buf, size_t len)
{
    struct qcow2 *q = state;
    const uint8_t *p = buf;
    if (len && !prepare(q))
        return false;
    while (len) {
        size_t n = (size_t)MIN((uint64_t)len, q->cluster - (offset & (q->cluster - 1)));
        if (q->broken || !write_cluster(q, offset, p, n))
            return false;
        offset += n;
        p += n;
        len -= n;
    }
    return true;
}

/* Drops whole clusters. must_zero: they have to read as zeros; otherwise those that cannot cheaply
 * are left as they are. *done is false when must_zero was more than the version can say. */
static bool drop_clusters(struct qcow2 *q, uint64_t first, uint64_t end, bool must_zero, bool *done)
{
    *done = true;
    for (uint64_t index = first; index < end; index++) {
        uint32_t l1 = (uint32_t)(index >> q->l2_bits);
        uint32_t l2 = (uint32_t)(index & (BIT64(q->l2_bits) - 1));
        bool reads_backing = q->backing && index << q->cluster_bits < q->backing->size;
        if (!q->l1[l1] && (!reads_backing || !must_zero)) {
            index |= BIT64(q->l2_bits) - 1; /* nothing here in the whole table */
            continue;
        }
        uint64_t zero = reads_backing ? Q2_ZERO : 0;
        if (reads_backing && q->version < 3) {
            *done = !must_zero;
            if (must_zero)
                return true;
            continue;
        }
        struct q2_table *t = own_l2(q, l1);
        if (!t)
            return false;
        uint64_t entry = ldbe64(t->data + l2 * 8);
        if (!qcow2_entry_ok(q, entry))
            return false;
        if (entry == zero || entry == Q2_ZERO || (entry == 0 && !must_zero))
            continue;
        set_entry(t, l2, zero);
        if (!release_entry(q, entry))
            return false;
    }
    return true;
}

bool qcow2_zero(void *state, uint64_t offset, uint64_t len)
{
    static const uint8_t zeros[4096];
    struct qcow2 *q = state;
    bool done;
    if (!prepare(q))
        return false;
    uint64_t first = align_up(offset, q->cluster), end = align_down(offset + len, q->cluster);
    if (offset + len == q->size)
        end = align_up(offset + len, q->cluster);
    if (first < end &&
        (!drop_clusters(q, first >> q->cluster_bits, end >> q->cluster_bits, true, &done) || !done))
        return false;
    /* The ends that fill no cluster. */
    for (uint64_t at = offset; at < offset + len;) {
        if (first < end && at >= first && at < end) {
            at = end;
            continue;
        }
        uint64_t n = MIN(offset + len - at, (uint64_t)sizeof(zeros));
        if (at < first)
            n = MIN(n, first - at);
        if (!qcow2_write(q, at, zeros, (size_t)n))
            return false;
        at += n;
    }
    return true;
}

bool qcow2_trim(void *state, uint64_t offset, uint64_t len)
{
    struct qcow2 *q = state;
    bool done;
    uint64_t first = align_up(offset, q->cluster), end = align_down(offset + len, q->cluster);
    if (first >= end)
        return true;
    return prepare(q) &&
           drop_clusters(q, first >> q->cluster_bits, end >> q->cluster_bits, false, &done);
}
