/* Snapshots from inside: what machine/'s snapshot files share.
 *
 *     snapshot_state.c    configuration and declared state to objects and back
 *     snapshot_save.c     the life of a save: tnm_save_begin to the file's name
 *     capture.c           the engine under it: copies units before they change, compresses, writes
 *     snapshot_restore.c  making a machine from a file, and turning one into another
 *     lazy.c              contents that are still in the file: brought in when touched, or behind
 *     snapshot_info.c     looking at files: fields, streams, verify, diff, flatten
 *
 * Threads: page flags, TLBs and devices are the machine's threads' alone. A save and a restore begin
 * and end between runs, when none of them runs; their own threads share with the machine's only the
 * store's contents, and all agree about each unit of 64 KiB under a lock.
 */
#ifndef MACHINE_SNAPSHOT_H
#define MACHINE_SNAPSHOT_H

#include <pthread.h>

#include "machine/machine_int.h"
#include "snapshots/snapfile.h"

#define UNIT_LOCKS 64 /* units share them by number */

struct tnm_snapshot {
    struct snap_file *file;
    char *name, *cpu_model;
    char *strings[TNM_MAX_DISKS * 2 + 16]; /* what tnm_snapshot_config gave out */
    unsigned nstrings;
    unsigned nbases;
    tnm_snapshot_base *base;
};

/* Fills *err, which may be NULL, from e; returns false. */
bool give_error(const struct error *e, tnm_error *err);

/* ---- streams of a machine -------------------------------------------------------------------- */

enum source_kind { SOURCE_MEMORY, SOURCE_BLOB, SOURCE_DISK, SOURCE_FILE };

/* What a stream's contents are taken from. */
struct source {
    char name[SNAP_NAME_MAX + 1];
    enum source_kind kind;
    uint64_t size;
    uint64_t ra;                    /* memory: place in the store */
    const uint8_t *data;            /* blob: never changes */
    unsigned disk;                  /* disk: its place, see disks.h */
    const struct snap_stream *file; /* another snapshot's */
    enum snap_kind missing;
};
#define MAX_SOURCES (7 + TNM_MAX_DISKS + 1)
/* All that m has; returns their number. */
unsigned machine_sources(struct tnm_machine *m, struct source *out);

/* ---- capture.c ------------------------------------------------------------------------------- */

struct capture;
struct capture_options {
    unsigned threads;            /* 0: by the host */
    const char *parent;          /* path; NULL: none */
    uint64_t parent_id;          /* as snap_file_peek gave it */
    struct tnm_machine *machine; /* NULL: no memory and no disks among the sources */
    uint64_t pool;               /* bytes for copies */
    /* Called by the last thread when all streams are written, to write the rest. */
    bool (*last)(void *opaque, struct snap_writer *w, struct error *err);
    void *opaque;
};
/* w is the capture's from here on, on failure too. */
struct capture *capture_new(struct snap_writer *w, const struct source *sources, unsigned n,
                            const struct capture_options *opt, struct error *err);
/* Starts the threads. The caller has armed PF_COPY for memory and watches the disks. What is wrong with
 * the parent comes out at the end. After a failure here: capture_free. */
bool capture_go(struct capture *c, struct error *err);
void capture_free(struct capture *c); /* instead of capture_go */
/* The machine is about to change the page at ra, or a unit of a disk. For memory any number of threads
 * may ask at once; a disk's units are asked for by one at a time. */
void capture_memory(struct capture *c, uint64_t ra, uint64_t *unit_ra, uint64_t *unit_size);
void capture_disk(struct capture *c, unsigned stream, uint64_t unit);
void capture_progress(struct capture *c, uint64_t *done, uint64_t *total, uint64_t *bytes);
bool capture_finished(struct capture *c);
bool capture_wait(struct capture *c, unsigned ms); /* at most so long; whether it is finished */
/* What opt.last has to do beside, which then counts in the progress, and how far it is with a part of
 * it (a tnm_progress_fn, for the capture): false if the save was cancelled. */
void capture_more(struct capture *c, uint64_t bytes);
bool capture_tell(void *c, uint64_t done, uint64_t total);
/* Waits for the threads and frees c. False with *err filled if there is no new file. */
bool capture_end(struct capture *c, struct error *err);
void capture_cancel(struct capture *c); /* makes it end soon, and fail */

/* ---- lazy.c ---------------------------------------------------------------------------------- */

struct lazy;
/* fresh: the store is all zeros yet. lazy_start does what can fail; from lazy_go on, memory's contents
 * come from f. The caller then has m->lazy lead here, calls machine_set_keeper, and flushes TLBs. */
struct lazy *lazy_start(struct tnm_machine *m, struct snap_file *f, bool fresh, struct error *err);
void lazy_go(struct lazy *l);
void lazy_bring_in(struct lazy *l, uint64_t ra); /* any of the machine's threads */
/* Any thread: makes the contents of [ra, ra+size) be in the store; page flags stay. */
void lazy_fill(struct lazy *l, uint64_t ra, uint64_t size);
bool lazy_finished(struct lazy *l, uint64_t *done, uint64_t *total);
/* True, with the reason, when contents turned out to be damaged. */
bool lazy_failed(const struct lazy *l, struct error *err);
void lazy_end(struct lazy *l); /* what was not brought in stays out; l may be NULL */

/* ---- snapshot_state.c ------------------------------------------------------------------------ */

void state_write(struct tnm_machine *m, struct snap_buf *out);
/* Resets the machine and takes over what o says. False: half done, to be overwritten. */
bool state_read(struct tnm_machine *m, const struct snap_objects *o, struct error *err);
/* Configuration; bases are added when their hashes are known. */
void config_write(struct tnm_machine *m, const tnm_save_options *opt, uint64_t parent_id,
                  const char *path, struct snap_buf *out);
/* False if the file's machine is another than m. */
bool config_matches(const struct tnm_machine *m, const struct snap_file *f, struct error *err);

/* ---- the rest -------------------------------------------------------------------------------- */

/* snapshot_save.c: tells physmap who looks after pages. */
void machine_set_keeper(struct tnm_machine *m);
/* snapshot_restore.c: a file that the machine was made with, from the snapshot. */
bool origin_blob(const struct snap_file *f, const char *name, uint64_t max, struct blob *out,
                 struct error *err);
/* True, with the reason, when the machine cannot go on. */
bool lazy_broken(const struct tnm_machine *m, struct error *err);
/* snapshot_info.c: fills s->base. */
bool snapshot_find_bases(struct tnm_snapshot *s, struct error *err);
/* All contents into the store; returns when they are there. */
void machine_bring_all_in(struct tnm_machine *m);
/* Lets go of a restore that is complete; called between runs. */
void machine_restore_done(struct tnm_machine *m);

#endif
