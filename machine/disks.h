/* Disks in snapshots: what is saved of them and brought back, and the files they stand on.
 *
 * disks.c stands between a drive and its image (block_set_watch) as long as a save or a restore is
 * under way: a unit that a request is about to change is copied for the save first; one that a request
 * touches and that is still to be brought back is brought back first. Everything is done under the
 * disk's lock, as the formats know nothing of threads.
 *
 * bases.c names the files that a disk stands on, by path, size and a hash of the contents, and checks
 * them when a snapshot is restored. The hash of a large image takes time, so it is kept for as long as
 * the file's identity (device, inode, size, times of change) is the same: in the machine, and in the
 * snapshot.
 */
#ifndef MACHINE_DISKS_H
#define MACHINE_DISKS_H

#include "machine/snapshot.h"

#define DISKS_MAX (TNM_MAX_DISKS + 1) /* the floppy comes last */

/* ---- disks.c --------------------------------------------------------------------------------- */

struct disk;
/* What disks_prepare makes ready. */
struct disk_restore {
    struct snap_file *file;
    const struct snap_stream *from;
    uint8_t *pending;
    uint64_t left;
    bool kept;
    struct snap_decoder *decoder;
};

/* A file that has not changed as long as all of this is the same. */
struct file_identity {
    uint64_t dev, ino, size;
    int64_t mtime, ctime; /* nanoseconds since 1970 */
};
struct known_base {
    struct file_identity id;
    uint64_t hash;
};
#define KNOWN_BASES 64

struct disk_set {
    struct disk *disk[DISKS_MAX];
    struct disk_restore next[DISKS_MAX];
    struct known_base known[KNOWN_BASES];
    unsigned nknown, known_next;
};

/* The image in place i of the machine, NULL if none; floppy: DISKS_MAX - 1. */
struct block_dev *disk_block(const struct tnm_machine *m, unsigned i);
/* "disk0"; the text is constant. */
const char *disk_name(unsigned i);
void disks_free(struct tnm_machine *m);
/* The floppy's image is about to be closed: a save or restore must be done with it. */
void disks_floppy_leaves(struct tnm_machine *m);

/* A save begins and ends. disks_ready does what can fail; stream: of each disk, UINT32_MAX: none. */
bool disks_ready(struct tnm_machine *m);
void disks_watch(struct tnm_machine *m, struct capture *c, const unsigned *stream);
void disks_unwatch(struct tnm_machine *m);
/* By any thread: like block_unit_get, but seeing what is still to be brought back; under disk_lock. */
enum block_unit disk_unit(struct tnm_machine *m, unsigned i, uint64_t unit, uint8_t *buf);
void disk_lock(struct tnm_machine *m, unsigned i);
void disk_unlock(struct tnm_machine *m, unsigned i);

/* A restore: prepare does what can fail and go changes, now or bit by bit. fresh: the images are as
 * they were opened. */
bool disks_prepare(struct tnm_machine *m, struct snap_file *f, bool fresh, struct error *err);
void disks_abandon(struct tnm_machine *m); /* instead of go */
void disks_go(struct tnm_machine *m);
/* Brings the rest back, unless stopped; false if something cannot be read or written. */
bool disks_bring_rest(struct tnm_machine *m, const atomic_bool *stop, atomic_uint_fast64_t *done);
uint64_t disks_left(struct tnm_machine *m); /* units */
/* What must be in images that outlive the machine is brought there. */
void disks_settle(struct tnm_machine *m);

/* ---- bases.c --------------------------------------------------------------------------------- */

struct media;
/* What stands in all drives now. */
struct media *media_take(struct tnm_machine *m);
/* Finds the hashes that are not known, which may take long, and writes the objects. Any thread. tell is
 * told how far it is with each file, and may end it. */
bool media_write(struct media *d, struct snap_buf *out, tnm_progress_fn tell, void *opaque,
                 struct error *err);
uint64_t media_unknown(const struct media *d); /* bytes that media_write is going to look through */
void media_free(struct tnm_machine *m, struct media *d); /* m learns the hashes; d may be NULL */
/* Whether the files under m's disks are those that f names. */
bool bases_match(struct tnm_machine *m, const struct snap_file *f, const tnm_restore_options *opt,
                 struct error *err);
/* Fills in what f says of drives; strings by text(opaque, object, field). */
void media_config(const struct snap_file *f, tnm_config *cfg,
                  const char *(*text)(void *opaque, const struct snap_object *o, const char *name),
                  void *opaque);

#endif
