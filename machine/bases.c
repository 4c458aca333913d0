/* What stands in the drives, and the files under it: see machine/disks.h. */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "devices/block.h"
#include "machine/disks.h"

#define BASES_MAX  33 /* an image and its backing files */
#define HASH_PIECE (1 * MIB)
#define DRIVES_MAX (TNM_MAX_DISKS + 2)

struct base {
    char *path;
    int fd;
    struct file_identity id;
    uint64_t hash;
    bool known;
};

struct drive {
    char name[8];
    char *path, *format;
    uint8_t interface;
    bool readonly, discard, is_disk;
    uint64_t size;
    struct base base[BASES_MAX];
    unsigned nbases;
};

struct media {
    struct drive drive[DRIVES_MAX];
    unsigned n;
};

/* ---- identity and hash ----------------------------------------------------------------------- */

static int64_t ns(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool identify(int fd, struct file_identity *id)
{
    struct stat st;
    off_t end = lseek(fd, 0, SEEK_END);

    if (fstat(fd, &st) || end < 0)
        return false;
    *id = (struct file_identity){.dev = st.st_dev,
                                 .ino = st.st_ino,
                                 .size = (uint64_t)end,
                                 .mtime = ns(st.st_mtim),
                                 .ctime = ns(st.st_ctim)};
    return true;
}

static bool same_file(const struct file_identity *a, const struct file_identity *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime == b->mtime &&
           a->ctime == b->ctime;
}

/* Pieces of 1 MiB, each hashed with the hash so far as its seed. Holes are not read. tell may be NULL. */
static bool hash_file(int fd, const char *path, uint64_t size, tnm_progress_fn tell, void *opaque,
                      uint64_t *hash, struct error *err)
{
    uint8_t *buf = malloc(HASH_PIECE);
    uint64_t h = 0;
    bool ok = buf && fd >= 0, more = true;

    for (uint64_t at = 0; ok && at < size; at += HASH_PIECE) {
        if (tell && !(more = tell(opaque, at, size)))
            break;
        size_t want = (size_t)MIN((uint64_t)HASH_PIECE, size - at), have = 0;
#ifdef SEEK_DATA
        off_t data = lseek(fd, (off_t)at, SEEK_DATA);
        bool hole = data < 0 ? errno == ENXIO : (uint64_t)data >= at + want;
#else
        bool hole = false;
#endif
        if (hole)
            memset(buf, 0, want);
        while (ok && !hole && have < want) {
            ssize_t n = pread(fd, buf + have, want - have, (off_t)(at + have));
            ok = n > 0 || (n < 0 && errno == EINTR);
            have += n > 0 ? (size_t)n : 0;
        }
        h = hash64(buf, want, h);
    }
    free(buf);
    *hash = h;
    if (!more)
        return error_set(err, ERR_STATE, "cancelled");
    return ok || error_set(err, ERR_IO, "disk image '%.300s' cannot be read: check the host's disk",
                           path ? path : "?");
}

static const struct known_base *find_known(const struct tnm_machine *m,
                                           const struct file_identity *id)
{
    for (unsigned i = 0; i < m->disks->nknown; i++) {
        if (same_file(&m->disks->known[i].id, id))
            return &m->disks->known[i];
    }
    return NULL;
}

/* The oldest is forgotten. */
static void learn(struct tnm_machine *m, const struct file_identity *id, uint64_t hash)
{
    if (find_known(m, id))
        return;
    m->disks->known[m->disks->known_next] = (struct known_base){*id, hash};
    m->disks->known_next = (m->disks->known_next + 1) % KNOWN_BASES;
    m->disks->nknown =
        MAX(m->disks->nknown, m->disks->known_next ? m->disks->known_next : KNOWN_BASES);
}

/* ---- saving ---------------------------------------------------------------------------------- */

static char *full_path(const char *path)
{
    char *full = path ? realpath(path, NULL) : NULL;
    return full || !path ? full : strdup(path);
}

static void add_drive(struct tnm_machine *m, struct media *d, const char *name,
                      const struct block_dev *b, const tnm_disk *disk)
{
    struct drive *v = &d->drive[d->n++];
    struct block_base bases[BASES_MAX];

    snprintf(v->name, sizeof(v->name), "%s", name);
    v->path = full_path(block_path(b));
    v->readonly = block_readonly(b);
    v->size = block_size(b);
    if (disk) {
        v->is_disk = true;
        v->format = disk->format ? strdup(disk->format) : NULL;
        v->interface = (uint8_t)disk->interface;
        v->discard = disk->discard;
    }
    v->nbases = block_bases(b, bases, BASES_MAX);
    for (unsigned i = 0; i < v->nbases; i++) {
        struct base *base = &v->base[i];
        base->path = full_path(bases[i].path);
        base->fd = fcntl(bases[i].fd, F_DUPFD_CLOEXEC, 0);
        if (base->fd >= 0 && !identify(base->fd, &base->id)) {
            close(base->fd);
            base->fd = -1;
        }
        const struct known_base *k = base->fd >= 0 ? find_known(m, &base->id) : NULL;
        base->known = k != NULL;
        base->hash = k ? k->hash : 0;
    }
}

struct media *media_take(struct tnm_machine *m)
{
    struct media *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    for (unsigned i = 0; i < m->cfg.ndisks; i++)
        add_drive(m, d, disk_name(i), m->disk[i], &m->cfg.disks[i]);
    if (m->cdrom)
        add_drive(m, d, "cdrom", m->cdrom, NULL);
    if (m->floppy)
        add_drive(m, d, "floppy", m->floppy, NULL);
    return d;
}

static void base_int(struct snap_buf *out, unsigned i, const char *what, uint64_t v)
{
    char name[32];
    snprintf(name, sizeof(name), "base[%u].%s", i, what);
    snap_object_int(out, name, 8, v);
}

uint64_t media_unknown(const struct media *d)
{
    uint64_t bytes = 0;

    for (unsigned n = 0; n < d->n; n++) {
        for (unsigned i = 0; i < d->drive[n].nbases; i++)
            bytes += d->drive[n].base[i].known ? 0 : d->drive[n].base[i].id.size;
    }
    return bytes;
}

static bool write_base(struct base *b, unsigned i, struct snap_buf *out, tnm_progress_fn tell,
                       void *opaque, struct error *err)
{
    char name[32];

    if (!b->known && !hash_file(b->fd, b->path, b->id.size, tell, opaque, &b->hash, err))
        return false;
    b->known = true;
    snprintf(name, sizeof(name), "base[%u].path", i);
    snap_object_str(out, name, b->path);
    base_int(out, i, "size", b->id.size);
    base_int(out, i, "hash", b->hash);
    base_int(out, i, "dev", b->id.dev);
    base_int(out, i, "ino", b->id.ino);
    base_int(out, i, "mtime_ns", (uint64_t)b->id.mtime);
    base_int(out, i, "ctime_ns", (uint64_t)b->id.ctime);
    return true;
}

bool media_write(struct media *d, struct snap_buf *out, tnm_progress_fn tell, void *opaque,
                 struct error *err)
{
    for (unsigned n = 0; n < d->n; n++) {
        struct drive *v = &d->drive[n];
        snap_object_begin(out, v->name);
        snap_object_str(out, "path", v->path);
        if (v->is_disk) {
            snap_object_str(out, "format", v->format);
            snap_object_int(out, "interface", 1, v->interface);
            snap_object_int(out, "discard", 1, v->discard);
        }
        snap_object_int(out, "readonly", 1, v->readonly);
        snap_object_int(out, "size", 8, v->size);
        for (unsigned i = 0; i < v->nbases; i++) {
            if (!write_base(&v->base[i], i, out, tell, opaque, err))
                return false;
        }
        snap_object_end(out);
    }
    return true;
}

void media_free(struct tnm_machine *m, struct media *d)
{
    if (!d)
        return;
    for (unsigned n = 0; n < d->n; n++) {
        struct drive *v = &d->drive[n];
        for (unsigned i = 0; i < v->nbases; i++) {
            struct base *b = &v->base[i];
            if (b->known)
                learn(m, &b->id, b->hash);
            if (b->fd >= 0)
                close(b->fd);
            free(b->path);
        }
        free(v->path);
        free(v->format);
    }
    free(d);
}

/* ---- restoring ------------------------------------------------------------------------------- */

static uint64_t get_base(const struct snap_object *o, unsigned i, const char *what)
{
    char name[32];
    snprintf(name, sizeof(name), "base[%u].%s", i, what);
    return snap_object_get(o, name, 0);
}

static bool base_matches(struct tnm_machine *m, const struct snap_object *o, unsigned i,
                         const struct block_base *b, const tnm_restore_options *opt,
                         struct error *err)
{
    struct file_identity id, then = {.dev = get_base(o, i, "dev"),
                                     .ino = get_base(o, i, "ino"),
                                     .size = get_base(o, i, "size"),
                                     .mtime = (int64_t)get_base(o, i, "mtime_ns"),
                                     .ctime = (int64_t)get_base(o, i, "ctime_ns")};
    uint64_t hash = 0;

    if (!identify(b->fd, &id))
        return error_set(err, ERR_IO, "disk image '%.300s' cannot be read: check the host's disk",
                         b->path);
    const struct known_base *k = find_known(m, &id);
    if (same_file(&id, &then))
        hash = get_base(o, i, "hash");
    else if (k)
        hash = k->hash;
    else if (id.size == then.size &&
             !hash_file(b->fd, b->path, id.size, opt->progress, opt->opaque, &hash, err))
        return false;
    if (id.size != then.size || hash != get_base(o, i, "hash"))
        return error_set(err, ERR_INVALID,
                         "disk image '%.300s' is not what it was when the snapshot was saved: "
                         "bring the old one back",
                         b->path);
    learn(m, &id, hash);
    return true;
}

static bool drive_matches(struct tnm_machine *m, const struct snap_file *f, const char *name,
                          const struct block_dev *b, const tnm_restore_options *opt,
                          struct error *err)
{
    const struct snap_object *o = snap_objects_find(&f->conf, name);
    struct block_base bases[BASES_MAX];
    unsigned n = b ? block_bases(b, bases, BASES_MAX) : 0;

    if (!o != !b || (b && snap_object_get(o, "size", 0) != block_size(b)) ||
        (b && snap_object_get(o, "readonly", 0) != block_readonly(b)))
        return error_set(err, ERR_INVALID,
                         "%s is not what it was when the snapshot was saved (another size, or "
                         "read-only, or without a medium): configure it as it was",
                         name);
    for (unsigned i = 0; i < n; i++) {
        if (!base_matches(m, o, i, &bases[i], opt, err))
            return false;
    }
    return n == 0 || n == BASES_MAX || !get_base(o, n, "size") ||
           error_set(err, ERR_INVALID,
                     "%s had more backing files in the snapshot: use the image as it was, not one "
                     "that was flattened or rebased",
                     name);
}

static const char *interface_name(uint64_t interface)
{
    return interface == TNM_IF_VIRTIO ? "virtio" : "ide";
}

bool bases_match(struct tnm_machine *m, const struct snap_file *f, const tnm_restore_options *opt,
                 struct error *err)
{
    for (unsigned i = 0; i < m->cfg.ndisks; i++) {
        const struct snap_object *o = snap_objects_find(&f->conf, disk_name(i));
        if (snap_object_get(o, "interface", 0) != m->cfg.disks[i].interface)
            return error_set(err, ERR_INVALID, "%s has another if= in the snapshot: use if=%s",
                             disk_name(i), interface_name(snap_object_get(o, "interface", 0)));
        if (!drive_matches(m, f, disk_name(i), m->disk[i], opt, err))
            return false;
    }
    return drive_matches(m, f, "cdrom", m->cdrom, opt, err) &&
           drive_matches(m, f, "floppy", m->floppy, opt, err);
}

void media_config(const struct snap_file *f, tnm_config *cfg,
                  const char *(*text)(void *opaque, const struct snap_object *o, const char *name),
                  void *opaque)
{
    const struct snap_object *config = snap_objects_find(&f->conf, "config");

    cfg->ndisks = (unsigned)MIN(snap_object_get(config, "disks", 0), (uint64_t)TNM_MAX_DISKS);
    for (unsigned i = 0; i < cfg->ndisks; i++) {
        const struct snap_object *o = snap_objects_find(&f->conf, disk_name(i));
        tnm_disk *d = &cfg->disks[i];
        d->path = text(opaque, o, "path");
        d->format = text(opaque, o, "format");
        d->interface = snap_object_get(o, "interface", 0) ? TNM_IF_VIRTIO : TNM_IF_IDE;
        d->discard = snap_object_get(o, "discard", 0);
        d->readonly = snap_object_get(o, "readonly", 0);
    }
    cfg->cdrom = text(opaque, snap_objects_find(&f->conf, "cdrom"), "path");
    cfg->floppy = text(opaque, snap_objects_find(&f->conf, "floppy"), "path");
}
