/* The snapshot file: chunks, streams of contents in units, parents. docs/snapshot-format.md is the
 * description for people; what stands there is normative.
 *
 * A stream is a run of contents (RAM, a disk) cut into units of 64 KiB, each compressed by itself, so
 * that any of them can be had alone. A directory says of each unit where it is: in this file, in the
 * parent, in the base image, or nowhere (zeros). Inside a unit, pages of 4 KiB that are zero or equal
 * to another page of the same stream in the same file are left out.
 *
 * Writing (snapwrite.c): the file grows under a temporary name, NAME.part, which is locked and so
 * keeps other writers out; snap_writer_finish gives it its name. Reading (snapread.c): a snap_file is
 * checked when it is opened, never changes, may be read by many threads, and is counted by reference.
 * Files are read with pread and not mapped: a file that is cut short under us is then an error and
 * not a signal, of which a library has none (docs/adr).
 */
#ifndef SNAPSHOTS_SNAPFILE_H
#define SNAPSHOTS_SNAPFILE_H

#include "base/bits.h"
#include "base/error.h"
#include "snapshots/object.h"

#define SNAP_VERSION    1u
#define SNAP_UNIT       65536u
#define SNAP_PAGE       4096u
#define SNAP_PAGES      (SNAP_UNIT / SNAP_PAGE)
#define SNAP_NAME_MAX   31u
#define SNAP_DEPTH_MAX  256u /* parents above each other */
#define SNAP_STREAM_MAX (1ull << 44)

/* SNAP_ABSENT, which is what zeroed memory says: not listed, so what the stream's `missing` is. */
enum snap_kind { SNAP_ABSENT, SNAP_ZERO, SNAP_BASE, SNAP_PARENT, SNAP_DATA, SNAP_KINDS };

/* Where one unit is. */
struct snap_entry {
    uint64_t hash;   /* hash64 of its 64 KiB; not of zero and base */
    uint64_t offset; /* of its compressed bytes, for SNAP_DATA */
    uint32_t stored; /* their number */
    uint32_t crc;    /* their CRC-32 */
    uint8_t kind;
};

#define SNAP_TYPE(a, b, c, d)                                                                      \
    ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define SNAP_CONF SNAP_TYPE('C', 'O', 'N', 'F') /* objects: configuration */
#define SNAP_STAT SNAP_TYPE('S', 'T', 'A', 'T') /* objects: state */
#define SNAP_SDIR SNAP_TYPE('S', 'D', 'I', 'R') /* directory of a stream */
#define SNAP_THMB SNAP_TYPE('T', 'H', 'M', 'B') /* picture */

enum { SNAP_DEFLATED = 1, SNAP_REQUIRED = 2 }; /* flags of a chunk */

/* ---- writing --------------------------------------------------------------------------------- */

struct snap_file;
struct snap_writer;
/* Creates and locks NAME.part. keep: an existing NAME is not replaced (ERR_EXISTS); as only who has
 * the lock makes one, this is known at once. NULL with *err filled. */
struct snap_writer *snap_writer_new(const char *path, bool keep, struct error *err);
/* Appends bytes; not to be called by two threads at once. After a failure everything fails. */
bool snap_writer_put(struct snap_writer *w, const void *data, size_t len, uint64_t *offset);
bool snap_writer_chunk(struct snap_writer *w, uint32_t type, uint32_t flags, const void *data,
                       size_t len);
/* missing: what units are that need no entry, SNAP_ZERO or SNAP_BASE. */
bool snap_writer_stream(struct snap_writer *w, const char *name, uint64_t size,
                        enum snap_kind missing, const struct snap_entry *entries);
/* False if the file would take the place of f or a parent of f. */
bool snap_writer_check_parents(const struct snap_writer *w, const struct snap_file *f,
                               struct error *err);
uint64_t snap_writer_bytes(const struct snap_writer *w);
/* The first failure. */
bool snap_writer_failed(const struct snap_writer *w, struct error *err);
/* Completes the file, brings it to the disk, renames it, and frees w, in any case. */
bool snap_writer_finish(struct snap_writer *w, struct error *err);
void snap_writer_abort(
    struct snap_writer *w); /* removes what there is, and frees w; w may be NULL */

/* ---- units ----------------------------------------------------------------------------------- */

/* What a worker needs to compress units; one each. */
struct snap_encoder;
struct snap_encoder *snap_encoder_new(int level);
void snap_encoder_free(struct snap_encoder *e);

/* Pages that a stream already has in this file. */
struct snap_dedupe;
struct snap_dedupe *snap_dedupe_new(void);
void snap_dedupe_free(struct snap_dedupe *d);

/* What each page of a unit becomes. */
struct snap_plan {
    uint64_t hash[SNAP_PAGES][2]; /* 128 bits: enough to take pages with equal ones for equal */
    uint64_t word[SNAP_PAGES];    /* as in the file: 0 zero, 1 data, page << 2 | 2: same as page */
};
bool snap_unit_zero(const uint8_t *unit);
/* Hashes the pages; no lock needed. */
void snap_plan_hash(struct snap_plan *p, const uint8_t *unit);
/* Looks the pages up and adds them; one thread at a time for one stream, and in the order of units
 * if the file's bytes are to be repeatable. */
void snap_plan_dedupe(struct snap_plan *p, struct snap_dedupe *d, uint64_t unit_number);
/* Compresses; the bytes are valid until the encoder's next use. NULL without memory. */
const uint8_t *snap_encode(struct snap_encoder *e, const struct snap_plan *p, const uint8_t *unit,
                           size_t *len);

/* ---- reading --------------------------------------------------------------------------------- */

struct snap_stream {
    char name[SNAP_NAME_MAX + 1];
    uint64_t size, units;
    enum snap_kind missing;
    struct snap_entry *entry; /* of every unit: see snap_kind */
    uint64_t count[SNAP_KINDS];
    uint64_t stored_bytes;
    struct snap_file *file;
    struct snap_stream *parent; /* the parent file's stream of that name; NULL: none */
};

struct snap_file {
    char *path;
    int fd;
    int refs; /* atomic */
    uint32_t version;
    uint64_t size, id;
    struct snap_buf conf_bytes, stat_bytes;
    struct snap_objects conf, stat;
    struct snap_stream *streams;
    unsigned nstreams;
    struct snap_file *parent;
    char *parent_path; /* as stored */
    uint64_t parent_id;
    unsigned depth;
    uint32_t thumb_width, thumb_height;
    uint32_t *thumb; /* 0x00RRGGBB */
};

static inline enum snap_kind snap_kind(const struct snap_stream *s, uint64_t unit)
{
    enum snap_kind k = (enum snap_kind)s->entry[unit].kind;
    return k == SNAP_ABSENT ? s->missing : k;
}

/* Opens a file and its parents and checks all but the contents of streams. */
struct snap_file *snap_file_open(const char *path, struct error *err);
/* A snapshot's identity, from its header: quick. */
bool snap_file_peek(const char *path, uint64_t *id, struct error *err);
struct snap_file *snap_file_ref(struct snap_file *f);
void snap_file_unref(struct snap_file *f); /* f may be NULL */
struct snap_stream *snap_file_stream(const struct snap_file *f, const char *name);

/* What a thread needs to read units; one each. */
struct snap_decoder;
struct snap_decoder *snap_decoder_new(void);
void snap_decoder_free(struct snap_decoder *d);
/* SNAP_DATA with out filled in, SNAP_ZERO or SNAP_BASE with out as it was; parents are followed. */
enum snap_result { SNAP_IS_ZERO, SNAP_IS_BASE, SNAP_IS_DATA, SNAP_DAMAGED };
enum snap_result snap_read_unit(struct snap_decoder *d, const struct snap_stream *s, uint64_t unit,
                                uint8_t *out);
/* The entry that says where the contents are, its own or a parent's. */
const struct snap_entry *snap_resolve(const struct snap_stream *s, uint64_t unit);
/* Reads a unit and compares its hash too. */
bool snap_check_unit(struct snap_decoder *d, const struct snap_stream *s, uint64_t unit,
                     uint8_t *scratch);

#endif
