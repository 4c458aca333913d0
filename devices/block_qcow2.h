/* Inside the qcow2 format (docs/interop/qcow2.txt of QEMU), shared by block_qcow2.c (opening and
 * reading), block_qcow2_ref.c (host clusters and the order of metadata writes) and
 * block_qcow2_write.c.
 *
 *     header -> L1 table -> L2 tables -> data clusters        (guest offset to host offset)
 *            -> refcount table -> refcount blocks             (users of each host cluster)
 *
 * Invariants that make a crash harmless:
 * - L2 tables and refcount blocks are cached and written back by qcow2_sync, in this order with a
 *   barrier between the steps: refcount blocks and data; refcount table entries; L2 tables; L1
 *   entries; and only then refcounts that fell. So a cluster that a table on the disk names always
 *   has its refcount on the disk, and what a crash leaves is at worst an unused cluster with a count.
 * - A cluster whose count fell is not handed out again before the tables that named it are replaced
 *   on the disk.
 * - `meta` has a bit for every host cluster that holds metadata in use. Nothing is written to such a
 *   cluster except that metadata, whatever a damaged image's tables say.
 */
#ifndef DEVICES_BLOCK_QCOW2_H
#define DEVICES_BLOCK_QCOW2_H

#include "devices/block_int.h"

#define Q2_MAGIC 0x514649fbu

/* Header fields, by their byte offset. */
enum {
    Q2H_MAGIC = 0,
    Q2H_VERSION = 4,
    Q2H_BACKING_OFFSET = 8,
    Q2H_BACKING_SIZE = 16,
    Q2H_CLUSTER_BITS = 20,
    Q2H_SIZE = 24,
    Q2H_CRYPT = 32,
    Q2H_L1_SIZE = 36,
    Q2H_L1_OFFSET = 40,
    Q2H_RT_OFFSET = 48,
    Q2H_RT_CLUSTERS = 56,
    Q2H_SNAPSHOTS = 60,
    Q2H_SNAPSHOTS_OFFSET = 64,
    Q2H_V2_LENGTH = 72,
    Q2H_INCOMPATIBLE = 72,
    Q2H_COMPATIBLE = 80,
    Q2H_AUTOCLEAR = 88,
    Q2H_REFCOUNT_ORDER = 96,
    Q2H_HEADER_LENGTH = 100,
    Q2H_COMPRESSION = 104,
};

#define Q2_INCOMPAT_DIRTY   BIT64(0)
#define Q2_INCOMPAT_CORRUPT BIT64(1)
#define Q2_INCOMPAT_DATA    BIT64(2)
#define Q2_INCOMPAT_COMPR   BIT64(3)
#define Q2_INCOMPAT_EXTL2   BIT64(4)

/* L1 and L2 entries. */
#define Q2_COPIED      BIT64(63)
#define Q2_COMPRESSED  BIT64(62)
#define Q2_ZERO        BIT64(0)
#define Q2_OFFSET      0x00fffffffffffe00ull
#define Q2_L1_RESERVED 0x7f000000000001ffull
#define Q2_L2_RESERVED 0x3f000000000001feull /* and bit 0 before version 3 */

/* Arbitrary limits against absurd headers, as large as QEMU's. */
#define Q2_MAX_L1_BYTES  (32 * MIB)
#define Q2_MAX_RT_BYTES  (8 * MIB)
#define Q2_MAX_SNAPSHOTS 65536u

/* A cached table, in the file's byte order. */
struct q2_table {
    uint64_t offset;             /* in the file; 0: empty slot */
    uint64_t used;               /* for choosing the oldest */
    uint8_t *data;               /* one cluster */
    uint32_t dirty_lo, dirty_hi; /* bytes to write; equal: clean */
};

#define Q2_CACHE_MAX 64
struct q2_cache {
    struct q2_table t[Q2_CACHE_MAX];
    unsigned count;
};

struct q2_free {
    uint64_t cluster, count;
};
#define Q2_MAX_FREES 1024

struct qcow2 {
    struct host_file file;
    struct block_dev *backing; /* NULL: none */
    uint64_t size;             /* the guest's, in whole sectors */
    uint64_t cluster;          /* bytes */
    uint64_t incompatible, autoclear;
    uint64_t l1_offset, rt_offset, snapshots_offset;
    uint64_t *l1, *rt; /* host byte order */
    uint32_t version, cluster_bits, l2_bits, refblock_bits, refcount_order;
    uint32_t l1_size, rt_size, snapshots; /* entries */
    struct q2_cache l2_cache, rb_cache;
    uint64_t use_counter;
    uint8_t *bounce;         /* one cluster: what a write is merged into */
    uint8_t *inflated;       /* the last compressed cluster read */
    uint64_t inflated_entry; /* its L2 entry; 0: none */

    /* For writing only. */
    bool prepared; /* the header says that we write */
    bool broken;   /* damage was found: no more writes */
    uint8_t *meta;
    uint64_t meta_clusters; /* bits in it */
    uint64_t end;           /* first cluster past all that was ever handed out */
    uint64_t free_hint;     /* no free cluster below */
    uint32_t l1_dirty_lo, l1_dirty_hi, rt_dirty_lo, rt_dirty_hi; /* entries; equal: clean */
    struct q2_free frees[Q2_MAX_FREES]; /* counts to lower after the next sync */
    unsigned nfrees;
};

static inline uint16_t ldbe16(const void *p)
{
    return __builtin_bswap16(ld16(p));
}
static inline uint32_t ldbe32(const void *p)
{
    return __builtin_bswap32(ld32(p));
}
static inline uint64_t ldbe64(const void *p)
{
    return __builtin_bswap64(ld64(p));
}
static inline void stbe32(void *p, uint32_t v)
{
    st32(p, __builtin_bswap32(v));
}
static inline void stbe64(void *p, uint64_t v)
{
    st64(p, __builtin_bswap64(v));
}

/* ---- block_qcow2.c ---------------------------------------------------------------------------- */

/* The host clusters that a compressed entry's data touches. */
void qcow2_compressed_extent(const struct qcow2 *q, uint64_t entry, uint64_t *offset,
                             uint64_t *bytes);
/* The bytes of one guest cluster, or a part of it. */
bool qcow2_read_entry(struct qcow2 *q, uint64_t entry, uint64_t guest, void *buf, size_t len);
bool qcow2_entry_ok(const struct qcow2 *q, uint64_t entry);

/* ---- block_qcow2_ref.c ------------------------------------------------------------------------ */

/* The table at offset, cached; blank: a new one, all zero. NULL on an error. Stays valid until the
 * next call for the same cache. */
struct q2_table *qcow2_table(struct qcow2 *q, struct q2_cache *c, uint64_t offset, bool blank);
void qcow2_table_dirty(struct q2_table *t, uint32_t lo, uint32_t hi);
void qcow2_table_forget(struct q2_cache *c, uint64_t offset);
bool qcow2_cache_init(struct q2_cache *c, const struct qcow2 *q, uint64_t bytes, unsigned most);
void qcow2_cache_fini(struct q2_cache *c);

bool qcow2_is_meta(const struct qcow2 *q, uint64_t cluster);
/* Fills q->meta; false if two of the tables lie on the same cluster. */
bool qcow2_map_meta(struct qcow2 *q);
bool qcow2_set_meta(struct qcow2 *q, uint64_t cluster, bool on);

bool qcow2_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *count);
/* Sets aside one host cluster (count 1) that nothing uses; 0 on an error. */
uint64_t qcow2_alloc(struct qcow2 *q);
/* Takes back what qcow2_alloc gave, as long as nothing on the disk can name it. */
void qcow2_alloc_undo(struct qcow2 *q, uint64_t offset);
/* Lowers the counts of the clusters that [offset, offset+bytes) touches, when that is safe. */
bool qcow2_free_later(struct qcow2 *q, uint64_t offset, uint64_t bytes);
/* Writes all cached metadata in a safe order. */
bool qcow2_sync(struct qcow2 *q);
/* For an image whose writer crashed with lazy refcounts: raises every count that is too low. */
bool qcow2_repair_refcounts(struct qcow2 *q);

/* ---- block_qcow2_write.c ---------------------------------------------------------------------- */

bool qcow2_write(void *state, uint64_t offset, const void *buf, size_t len);
bool qcow2_zero(void *state, uint64_t offset, uint64_t len);
bool qcow2_trim(void *state, uint64_t offset, uint64_t len);

#endif
