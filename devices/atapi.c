/* ATAPI CD-ROM and DVD-ROM drives: the packet commands of SFF-8020i and MMC-3 (T10/1363D) that data
 * discs need. How data moves is described in ide_int.h; a packet's result goes
 *
 *     atapi_packet -> reply()        bytes in the buffer, cut to the allocation length
 *                  -> read_frames()  frames of the medium, a buffer at a time
 *                  -> good(), check()
 *
 * Known inaccuracies:
 * - One data track of mode 1 starting at LBA 0, no audio, no sub-channels.
 * - Raw frames (READ CD with 2352 bytes) carry sync, header and data; their EDC and ECC are zero.
 * - MODE SELECT is taken and forgotten; SET CD SPEED changes nothing.
 * - The tray moves in no time.
 */
#include "devices/ide_int.h"

#define PREGAP 150u /* frames from MSF 00:00:00 to LBA 0 */

enum { KEY_NOT_READY = 2, KEY_MEDIUM = 3, KEY_ILLEGAL = 5, KEY_ATTENTION = 6 };
enum {
    ASC_READ_ERROR = 0x11,
    ASC_BAD_OPCODE = 0x20,
    ASC_BAD_LBA = 0x21,
    ASC_BAD_FIELD = 0x24,
    ASC_MEDIUM_CHANGED = 0x28,
    ASC_POWER_ON = 0x29,
    ASC_NO_SAVED = 0x39,
    ASC_NO_MEDIUM = 0x3a,
    ASC_NO_REMOVAL = 0x53,
    ASC_BAD_TRACK_MODE = 0x64,
};
/* Interrupt reason register. */
enum { IR_COMMAND = 1, IR_TO_HOST = 2 };
enum { EVENT_NEW_MEDIA = 2, EVENT_REMOVED = 3 };

static const struct vm_field atapi_fields[] = {
    VM_INT(struct atapi, sense_key),     VM_INT(struct atapi, asc),
    VM_INT(struct atapi, ascq),          VM_INT(struct atapi, attention),
    VM_INT(struct atapi, attention_asc), VM_INT(struct atapi, media_event),
    VM_INT(struct atapi, loaded),        VM_INT(struct atapi, tray_open),
    VM_INT(struct atapi, locked),        VM_INT(struct atapi, raw),
    VM_INT(struct atapi, limit),         VM_END,
};
const struct vmstate vm_atapi = VMSTATE("atapi", struct atapi, atapi_fields);

static uint16_t be16(const uint8_t *p)
{
    return __builtin_bswap16(ld16(p));
}

static uint32_t be32(const uint8_t *p)
{
    return __builtin_bswap32(ld32(p));
}

static void put16(uint8_t *p, uint32_t v)
{
    st16(p, __builtin_bswap16((uint16_t)v));
}

static void put32(uint8_t *p, uint32_t v)
{
    st32(p, __builtin_bswap32(v));
}

/* ---- ends of commands ------------------------------------------------------------------------- */

static void good(struct ide_drive *d)
{
    d->nsector = (uint8_t)((d->nsector & ~7) | IR_COMMAND | IR_TO_HOST);
    ide_done(d);
}

static void check(struct ide_drive *d, uint8_t key, uint8_t asc, uint8_t ascq)
{
    d->cd.sense_key = key;
    d->cd.asc = asc;
    d->cd.ascq = ascq;
    d->nsector = (uint8_t)((d->nsector & ~7) | IR_COMMAND | IR_TO_HOST);
    ide_fail(d, (uint8_t)(key << 4 | ATA_E_ABRT), 0);
}

static void bad_field(struct ide_drive *d)
{
    check(d, KEY_ILLEGAL, ASC_BAD_FIELD, 0);
}

static bool no_medium(struct ide_drive *d)
{
    if (d->cd.loaded)
        return false;
    check(d, KEY_NOT_READY, ASC_NO_MEDIUM, d->cd.tray_open ? 2 : 1);
    return true;
}

static void attend(struct ide_drive *d, uint8_t asc)
{
    d->cd.attention = true;
    d->cd.attention_asc = asc;
}

/* ---- data ------------------------------------------------------------------------------------- */

static uint32_t frames(const struct ide_drive *d)
{
    uint64_t n = d->cd.loaded ? (block_size(d->cfg.block) + CD_FRAME - 1) / CD_FRAME : 0;
    return (uint32_t)MIN(n, (uint64_t)INT32_MAX);
}

static bool is_dvd(const struct ide_drive *d)
{
    return frames(d) > 90 * 60 * 75; /* more than the longest CD */
}

static void put_msf(uint8_t *p, uint32_t lba)
{
    lba += PREGAP;
    p[0] = (uint8_t)(lba / 75 / 60);
    p[1] = (uint8_t)(lba / 75 % 60);
    p[2] = (uint8_t)(lba % 75);
}

/* An address in a table of contents: a dword, as blocks or as minutes, seconds, frames. */
static void put_address(uint8_t *p, uint32_t lba, bool msf)
{
    p[0] = 0;
    if (msf)
        put_msf(p + 1, lba);
    else
        put32(p, lba);
}

/* Mode 1 frame (ECMA-130, 14): sync, header, data; EDC and ECC left zero. */
static void wrap_frame(uint8_t *raw, uint32_t lba)
{
    memset(raw, 0xff, 12);
    raw[0] = raw[11] = 0;
    put_msf(raw + 12, lba);
    for (unsigned i = 12; i < 15; i++)
        raw[i] = to_bcd(raw[i] % 100);
    raw[15] = 1;
    memset(raw + 16 + CD_FRAME, 0, CD_RAW - 16 - CD_FRAME);
}

static bool load_frames(struct ide_drive *d)
{
    uint32_t size = d->cd.raw ? CD_RAW : CD_FRAME;
    uint32_t n = MIN(d->left, IDE_BUF / size);
    bool ok = d->cd.loaded && d->lba + n <= frames(d);
    for (uint32_t i = 0; ok && i < n; i++) {
        uint8_t *p = d->buf + i * size;
        uint64_t at = (d->lba + i) * CD_FRAME;
        /* The last frame of an image that is no whole number of them. */
        uint64_t have = MIN((uint64_t)CD_FRAME, block_size(d->cfg.block) - at);
        uint8_t *data = d->cd.raw ? p + 16 : p;
        memset(data + have, 0, (size_t)(CD_FRAME - have));
        if (d->cd.raw)
            wrap_frame(p, (uint32_t)(d->lba + i));
        ok = block_read(d->cfg.block, at, data, (size_t)have);
    }
    if (!ok) {
        IDE_LOG(d, IDE_ID_FMT ": host cannot read frame %llu", IDE_ID(d),
                (unsigned long long)d->lba);
        check(d, d->cd.loaded ? KEY_MEDIUM : KEY_NOT_READY,
              d->cd.loaded ? ASC_READ_ERROR : ASC_NO_MEDIUM, 0);
        return false;
    }
    d->lba += n;
    d->left -= n;
    d->pos = d->end = 0;
    d->len = n * size;
    return true;
}

/* Opens the next PIO block out of what the buffer holds. */
static void open_block(struct ide_drive *d, bool to_host)
{
    uint32_t n = d->len - d->pos;
    if (n > d->cd.limit)
        n = MAX(d->cd.limit & ~1u, 2u);
    d->end = d->pos + n;
    d->lcyl = (uint8_t)n;
    d->hcyl = (uint8_t)(n >> 8);
    d->nsector = (uint8_t)((d->nsector & ~7) | (to_host ? IR_TO_HOST : 0));
    ide_drq(d, true);
}

void atapi_next(struct ide_drive *d)
{
    bool more;
    switch (d->xfer) {
    case IDE_X_READ:
        if (d->pos == d->len && d->left && !load_frames(d))
            return;
        more = d->pos < d->len;
        break;
    case IDE_X_BUF_IN:
    case IDE_X_BUF_OUT:
        more = d->pos < d->len;
        break;
    default:
        return;
    }
    if (more)
        open_block(d, d->xfer != IDE_X_BUF_OUT);
    else
        good(d);
}

bool atapi_refill(struct ide_drive *d, bool *ok)
{
    if (d->xfer == IDE_X_READ && d->left) {
        *ok = load_frames(d);
        return *ok;
    }
    d->nsector = (uint8_t)((d->nsector & ~7) | IR_COMMAND | IR_TO_HOST);
    return false;
}

static void start(struct ide_drive *d, enum ide_xfer xfer, uint32_t len)
{
    d->xfer = (uint8_t)xfer;
    d->pos = d->end = 0;
    d->len = len;
    if (d->dma)
        ide_dma_ready(d);
    else
        atapi_next(d);
}

/* n bytes in the buffer, of which the host wants at most alloc. */
static void reply(struct ide_drive *d, uint32_t n, uint32_t alloc)
{
    n = MIN(n, alloc);
    d->left = 0;
    if (n)
        start(d, IDE_X_BUF_IN, n);
    else
        good(d);
}

static void read_frames(struct ide_drive *d, uint32_t lba, uint32_t count, bool raw)
{
    if (no_medium(d))
        return;
    if (lba > frames(d) || count > frames(d) - lba) {
        check(d, KEY_ILLEGAL, ASC_BAD_LBA, 0);
        return;
    }
    if (!count) {
        good(d);
        return;
    }
    d->lba = lba;
    d->left = count;
    d->cd.raw = raw;
    d->power = 0xff;
    start(d, IDE_X_READ, 0);
}

/* ---- commands that answer with a table -------------------------------------------------------- */

static void inquiry(struct ide_drive *d, const uint8_t *cmd)
{
    uint8_t *b = d->buf;
    if (cmd[1] & 3 || cmd[2]) { /* no vital product data */
        bad_field(d);
        return;
    }
    uint32_t alloc = be16(cmd + 3);
    memset(b, 0, 36);
    b[0] = 0x05; /* CD-ROM */
    b[1] = 0x80; /* removable */
    b[3] = 0x21; /* ATAPI, response format 1 (SFF-8020i, 10.8.1) */
    b[4] = 31;
    memcpy(b + 8, "TINAMOU CD-ROM          1.0 ", 28);
    reply(d, 36, alloc);
}

static void request_sense(struct ide_drive *d, uint32_t alloc)
{
    struct atapi *cd = &d->cd;
    if (cd->attention && !cd->sense_key) {
        cd->sense_key = KEY_ATTENTION;
        cd->asc = cd->attention_asc;
        cd->ascq = 0;
        cd->attention = false;
    }
    memset(d->buf, 0, 18);
    d->buf[0] = 0x70;
    d->buf[2] = cd->sense_key;
    d->buf[7] = 10;
    d->buf[12] = cd->asc;
    d->buf[13] = cd->ascq;
    cd->sense_key = cd->asc = cd->ascq = 0;
    reply(d, 18, alloc);
}

static uint32_t mode_page(const struct ide_drive *d, uint8_t *p, uint8_t page, bool changeable)
{
    static const struct {
        uint8_t page, len;
    } sizes[] = {{0x01, 8}, {0x0e, 16}, {0x2a, 20}};
    uint32_t n = 0;
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        if (page != 0x3f && page != sizes[i].page)
            continue;
        uint8_t *b = p + n;
        memset(b, 0, sizes[i].len);
        b[0] = sizes[i].page;
        b[1] = (uint8_t)(sizes[i].len - 2);
        n += sizes[i].len;
        if (changeable)
            continue;
        if (b[0] == 0x01) {
            b[3] = 0x05; /* retries */
        } else if (b[0] == 0x0e) {
            b[2] = 0x04; /* IMMED is always set */
            b[7] = 75;   /* blocks a second */
        } else {
            b[2] = 0x0b;                                     /* reads CD-R, CD-RW and DVD-ROM */
            b[4] = 0x40;                                     /* multi-session discs are no harm */
            b[6] = (uint8_t)(0x29 | (d->cd.locked ? 2 : 0)); /* tray, eject, lock */
            put16(b + 8, 5632);                              /* kB/s */
            put16(b + 12, 512);                              /* KiB of buffer */
            put16(b + 14, 5632);
        }
    }
    return n;
}

static void mode_sense(struct ide_drive *d, const uint8_t *cmd)
{
    bool ten = cmd[0] == 0x5a;
    uint32_t alloc = ten ? be16(cmd + 7) : cmd[4], head = ten ? 8 : 4;
    uint8_t control = cmd[2] >> 6;
    uint8_t medium = d->cd.loaded ? 0x01 : d->cd.tray_open ? 0x71 : 0x70;
    if (control == 3) {
        check(d, KEY_ILLEGAL, ASC_NO_SAVED, 0);
        return;
    }
    memset(d->buf, 0, head);
    uint32_t n = mode_page(d, d->buf + head, cmd[2] & 0x3f, control == 1);
    if (!n) {
        bad_field(d);
        return;
    }
    if (ten) {
        put16(d->buf, head + n - 2);
        d->buf[2] = medium;
    } else {
        d->buf[0] = (uint8_t)(head + n - 1);
        d->buf[1] = medium;
    }
    reply(d, head + n, alloc);
}

static void mode_select(struct ide_drive *d, const uint8_t *cmd)
{
    uint32_t n = cmd[0] == 0x55 ? be16(cmd + 7) : cmd[4];
    if (n > IDE_BUF)
        bad_field(d);
    else if (n)
        start(d, IDE_X_BUF_OUT, n);
    else
        good(d);
}

static void read_toc(struct ide_drive *d, const uint8_t *cmd)
{
    uint8_t *b = d->buf;
    bool msf = cmd[1] & 2;
    uint8_t format = cmd[2] & 15 ? cmd[2] & 15 : cmd[9] >> 6;
    uint32_t n = 4;
    if (no_medium(d))
        return;
    memset(b, 0, 64);
    b[2] = b[3] = 1; /* first and last track, or session */
    switch (format) {
    case 0:
        if (cmd[6] > 1 && cmd[6] != 0xaa) {
            bad_field(d);
            return;
        }
        if (cmd[6] <= 1) {
            b[n + 1] = 0x14; /* data track, uninterrupted */
            b[n + 2] = 1;
            put_address(b + n + 4, 0, msf);
            n += 8;
        }
        b[n + 1] = 0x14;
        b[n + 2] = 0xaa;
        put_address(b + n + 4, frames(d), msf);
        n += 8;
        break;
    case 1: /* one session */
        b[n + 1] = 0x14;
        b[n + 2] = 1;
        put_address(b + n + 4, 0, msf);
        n += 8;
        break;
    case 2: { /* raw table: points A0, A1, A2 and the track (MMC-3, table 235); always MSF */
        static const uint8_t points[] = {0xa0, 0xa1, 0xa2, 0x01};
        for (unsigned i = 0; i < ARRAY_LEN(points); i++, n += 11) {
            b[n] = 1;
            b[n + 1] = 0x14;
            b[n + 3] = points[i];
            if (points[i] == 0xa2)
                put_msf(b + n + 8, frames(d));
            else if (points[i] == 0x01)
                put_msf(b + n + 8, 0);
            else
                b[n + 8] = 1; /* first or last track number */
        }
        break;
    }
    default:
        bad_field(d);
        return;
    }
    put16(b, n - 2);
    reply(d, n, be16(cmd + 7));
}

/* Appends a feature descriptor; returns its room for data. */
static uint8_t *feature(uint8_t **p, uint16_t code, uint8_t flags, uint8_t len)
{
    uint8_t *f = *p;
    put16(f, code);
    f[2] = flags;
    f[3] = len;
    memset(f + 4, 0, len);
    *p += 4 + len;
    return f + 4;
}

static void get_configuration(struct ide_drive *d, const uint8_t *cmd)
{
    enum { CURRENT = 1, PERSISTENT = 2 };
    uint8_t all[128], *end = all, *f;
    bool dvd = d->cd.loaded && is_dvd(d), cdrom = d->cd.loaded && !dvd;
    uint8_t which = cmd[1] & 3;
    uint16_t from = be16(cmd + 2);
    if (which == 3) {
        bad_field(d);
        return;
    }
    f = feature(&end, 0x0000, CURRENT | PERSISTENT, 8); /* profile list */
    put16(f, 0x0010);
    f[2] = dvd;
    put16(f + 4, 0x0008);
    f[6] = cdrom;
    f = feature(&end, 0x0001, 0x04 | CURRENT | PERSISTENT, 4); /* core: ATAPI */
    put32(f, 2);
    f = feature(&end, 0x0003, CURRENT | PERSISTENT, 4); /* removable: tray, eject, lock */
    f[0] = 0x29;
    f = feature(&end, 0x0010, d->cd.loaded ? CURRENT : 0, 8); /* random readable */
    put32(f, CD_FRAME);
    put16(f + 4, 1);
    feature(&end, 0x001e, cdrom ? CURRENT : 0, 0); /* CD read */
    feature(&end, 0x001f, dvd ? CURRENT : 0, 0);   /* DVD read */

    uint32_t n = 8;
    memset(d->buf, 0, n);
    put16(d->buf + 6, dvd ? 0x0010 : cdrom ? 0x0008 : 0);
    for (f = all; f < end; f += 4 + f[3]) {
        if (which == 2 ? be16(f) != from : be16(f) < from || (which == 1 && !(f[2] & CURRENT)))
            continue;
        memcpy(d->buf + n, f, 4u + f[3]);
        n += 4u + f[3];
    }
    put32(d->buf, n - 4);
    reply(d, n, be16(cmd + 7));
}

static void get_event_status(struct ide_drive *d, const uint8_t *cmd)
{
    if (!(cmd[1] & 1)) { /* only when polled */
        bad_field(d);
        return;
    }
    memset(d->buf, 0, 8);
    d->buf[3] = 0x10; /* of the classes only media */
    if (!(cmd[4] & 0x10)) {
        put16(d->buf, 2);
        d->buf[2] = 0x80;
        reply(d, 4, be16(cmd + 7));
        return;
    }
    put16(d->buf, 6);
    d->buf[2] = 4;
    d->buf[4] = d->cd.media_event;
    d->buf[5] = (uint8_t)((d->cd.tray_open ? 1 : 0) | (d->cd.loaded ? 2 : 0));
    d->cd.media_event = 0;
    reply(d, 8, be16(cmd + 7));
}

static void read_disc_information(struct ide_drive *d, const uint8_t *cmd)
{
    if (no_medium(d))
        return;
    memset(d->buf, 0, 34);
    put16(d->buf, 32);
    d->buf[2] = 0x0e; /* complete disc, complete session */
    d->buf[3] = d->buf[4] = d->buf[5] = d->buf[6] = 1;
    d->buf[7] = 0x20;             /* unrestricted use */
    memset(d->buf + 16, 0xff, 8); /* no addresses for further sessions */
    reply(d, 34, be16(cmd + 7));
}

static void read_dvd_structure(struct ide_drive *d, const uint8_t *cmd)
{
    uint8_t *b = d->buf;
    uint32_t n;
    if (no_medium(d))
        return;
    if (!is_dvd(d)) {
        check(d, KEY_ILLEGAL, 0x30, 2); /* cannot read medium: incompatible format */
        return;
    }
    memset(b, 0, 4 + 2048);
    switch (cmd[7]) {
    case 0x00: /* physical format (MMC-3, table 259): DVD-ROM, 120 mm, one layer */
        n = 4 + 2048;
        b[4] = 0x01;
        b[5] = 0x0f;
        b[6] = 0x01;
        put32(b + 8, 0x30000);
        put32(b + 12, 0x30000 + frames(d) - 1);
        break;
    case 0x01: /* copyright: none */
        n = 8;
        break;
    case 0x04: /* manufacturing: empty */
        n = 4 + 2048;
        break;
    default:
        bad_field(d);
        return;
    }
    put16(b, n - 2);
    reply(d, n, be16(cmd + 8));
}

static void read_subchannel(struct ide_drive *d, const uint8_t *cmd)
{
    uint32_t n = 4;
    if (no_medium(d))
        return;
    memset(d->buf, 0, 24);
    d->buf[1] = 0x15; /* no audio status */
    if (cmd[2] & 0x40) {
        if (cmd[3] < 1 || cmd[3] > 3) {
            bad_field(d);
            return;
        }
        n = cmd[3] == 1 ? 16 : 24;
        d->buf[4] = cmd[3];
        if (cmd[3] == 1) {
            d->buf[5] = 0x14;
            d->buf[6] = d->buf[7] = 1; /* track, index */
            put_address(d->buf + 8, 0, cmd[1] & 2);
            put_address(d->buf + 12, 0, cmd[1] & 2);
        }
        put16(d->buf + 2, n - 4);
    }
    reply(d, n, be16(cmd + 7));
}

static void mechanism_status(struct ide_drive *d, const uint8_t *cmd)
{
    memset(d->buf, 0, 8);
    d->buf[1] = d->cd.tray_open ? 0x10 : 0;
    d->buf[5] = 1; /* no changer: one slot, no table */
    reply(d, 8, be16(cmd + 8));
}

static void read_capacity(struct ide_drive *d)
{
    if (no_medium(d))
        return;
    put32(d->buf, frames(d) - 1);
    put32(d->buf + 4, CD_FRAME);
    reply(d, 8, 8);
}

/* ---- other commands --------------------------------------------------------------------------- */

static void start_stop(struct ide_drive *d, const uint8_t *cmd)
{
    struct atapi *cd = &d->cd;
    if (!(cmd[4] & 2)) { /* only spins: it is always ready */
        if (!(cmd[4] & 1) || !no_medium(d))
            good(d);
        return;
    }
    if (cmd[4] & 1) {
        if (cd->tray_open && d->cfg.block) {
            attend(d, ASC_MEDIUM_CHANGED);
            cd->media_event = EVENT_NEW_MEDIA;
        }
        cd->tray_open = false;
        cd->loaded = d->cfg.block != NULL;
        good(d);
        return;
    }
    if (cd->locked) {
        check(d, cd->loaded ? KEY_ILLEGAL : KEY_NOT_READY, ASC_NO_REMOVAL, 2);
        return;
    }
    if (!cd->tray_open)
        cd->media_event = EVENT_REMOVED;
    cd->tray_open = true;
    cd->loaded = false;
    good(d);
}

/* READ CD and READ CD MSF: byte 9 chooses the parts of the frame (MMC-3, 6.15). */
static void read_cd(struct ide_drive *d, const uint8_t *cmd, uint32_t lba, uint32_t count)
{
    uint8_t type = cmd[1] >> 2 & 7;
    if (type && type != 2) { /* any, or mode 1 */
        check(d, KEY_ILLEGAL, ASC_BAD_TRACK_MODE, 0);
        return;
    }
    switch (cmd[9] & 0xf8) {
    case 0x00:
        good(d);
        break;
    case 0x10:
        read_frames(d, lba, count, false);
        break;
    case 0xf8:
        read_frames(d, lba, count, true);
        break;
    default:
        bad_field(d);
        break;
    }
}

static void read_cd_msf(struct ide_drive *d, const uint8_t *cmd)
{
    uint32_t from = (cmd[3] * 60u + cmd[4]) * 75u + cmd[5];
    uint32_t to = (cmd[6] * 60u + cmd[7]) * 75u + cmd[8];
    if (from < PREGAP || to < from)
        check(d, KEY_ILLEGAL, ASC_BAD_LBA, 0);
    else
        read_cd(d, cmd, from - PREGAP, to - from);
}

void atapi_packet(struct ide_drive *d)
{
    struct atapi *cd = &d->cd;
    uint8_t cmd[12];
    memcpy(cmd, d->buf, sizeof(cmd));
    d->xfer = IDE_X_NONE;
    IDE_LOG(d, IDE_ID_FMT ": packet %02x %02x %02x%02x%02x%02x %02x%02x%02x%02x%s", IDE_ID(d),
            cmd[0], cmd[1], cmd[2], cmd[3], cmd[4], cmd[5], cmd[6], cmd[7], cmd[8], cmd[9],
            d->dma ? " dma" : "");

    /* INQUIRY, REQUEST SENSE, GET CONFIGURATION and GET EVENT STATUS look past a unit attention. */
    if (cd->attention && cmd[0] != 0x12 && cmd[0] != 0x03 && cmd[0] != 0x46 && cmd[0] != 0x4a) {
        cd->attention = false;
        check(d, KEY_ATTENTION, cd->attention_asc, 0);
        return;
    }
    if (cmd[0] != 0x03)
        cd->sense_key = cd->asc = cd->ascq = 0;

    switch (cmd[0]) {
    case 0x00: /* TEST UNIT READY */
        if (!no_medium(d))
            good(d);
        break;
    case 0x03:
        request_sense(d, cmd[4]);
        break;
    case 0x12:
        inquiry(d, cmd);
        break;
    case 0x15: /* MODE SELECT */
    case 0x55:
        mode_select(d, cmd);
        break;
    case 0x1a: /* MODE SENSE */
    case 0x5a:
        mode_sense(d, cmd);
        break;
    case 0x1b:
        start_stop(d, cmd);
        break;
    case 0x1e: /* PREVENT ALLOW MEDIUM REMOVAL */
        cd->locked = cmd[4] & 1;
        good(d);
        break;
    case 0x25:
        read_capacity(d);
        break;
    case 0x28: /* READ(10), READ(12) */
        read_frames(d, be32(cmd + 2), be16(cmd + 7), false);
        break;
    case 0xa8:
        read_frames(d, be32(cmd + 2), be32(cmd + 6), false);
        break;
    case 0x2b: /* SEEK(10) */
        if (no_medium(d))
            break;
        if (be32(cmd + 2) >= frames(d))
            check(d, KEY_ILLEGAL, ASC_BAD_LBA, 0);
        else
            good(d);
        break;
    case 0x42:
        read_subchannel(d, cmd);
        break;
    case 0x43:
        read_toc(d, cmd);
        break;
    case 0x46:
        get_configuration(d, cmd);
        break;
    case 0x4a:
        get_event_status(d, cmd);
        break;
    case 0x4e: /* STOP PLAY/SCAN: nothing plays */
    case 0xbb: /* SET CD SPEED */
        good(d);
        break;
    case 0x51:
        read_disc_information(d, cmd);
        break;
    case 0xad:
        read_dvd_structure(d, cmd);
        break;
    case 0xb9:
        read_cd_msf(d, cmd);
        break;
    case 0xbd:
        mechanism_status(d, cmd);
        break;
    case 0xbe:
        read_cd(d, cmd, be32(cmd + 2), be32(cmd + 5) & 0xffffff);
        break;
    default:
        LOG(d->ch->ide->dev.board->log, LOG_UNIMP, IDE_ID_FMT ": packet command %02x", IDE_ID(d),
            cmd[0]);
        check(d, KEY_ILLEGAL, ASC_BAD_OPCODE, 0);
        break;
    }
}

/* ---- commands that are no packets ------------------------------------------------------------- */

void atapi_exec(struct ide_drive *d)
{
    d->lba48 = false;
    d->left = 0;
    switch (d->command) {
    case 0xa0:                /* PACKET */
        if (d->feature & 2) { /* overlapped: not announced */
            ide_fail(d, ATA_E_ABRT, 0);
            break;
        }
        d->dma = d->feature & 1;
        d->cd.limit = (uint32_t)(d->lcyl | d->hcyl << 8);
        if (!d->cd.limit || d->cd.limit == 0xffff)
            d->cd.limit = 0xfffe;
        d->xfer = IDE_X_PACKET;
        d->pos = 0;
        d->end = d->len = 12;
        d->nsector = IR_COMMAND;
        ide_drq(d, false);
        break;
    case 0xa1: /* IDENTIFY PACKET DEVICE */
        ide_identify_packet(d);
        d->xfer = IDE_X_BUF_IN;
        d->pos = 0;
        d->end = d->len = 512;
        ide_drq(d, true);
        break;
    case 0x20: /* READ SECTORS, IDENTIFY DEVICE: aborted with the signature (9.12) */
    case 0xec:
        ide_signature(d);
        ide_fail(d, ATA_E_ABRT, 0);
        break;
    case 0xe0: /* STANDBY, IDLE, SLEEP, CHECK POWER MODE */
    case 0xe2:
        d->power = 0x00;
        ide_done(d);
        break;
    case 0xe1:
    case 0xe3:
        d->power = 0x80;
        ide_done(d);
        break;
    case 0xe5:
        d->nsector = d->power;
        ide_done(d);
        break;
    case 0xe6:
        d->asleep = true;
        d->power = 0x00;
        ide_done(d);
        break;
    case 0xef: /* SET FEATURES: transfer mode, reverting to defaults */
        if ((d->feature == 0x03 && ide_set_transfer_mode(d)) || d->feature == 0x66 ||
            d->feature == 0xcc)
            ide_done(d);
        else
            ide_fail(d, ATA_E_ABRT, 0);
        break;
    default:
        ide_fail(d, ATA_E_ABRT, 0);
        break;
    }
}

void atapi_reset(struct ide_drive *d, bool power_on)
{
    struct atapi *cd = &d->cd;
    cd->sense_key = cd->asc = cd->ascq = 0;
    cd->locked = false;
    if (power_on) {
        /* The tray stays as it is: a guest that ejects its installation disc and restarts does
         * not boot from it again. */
        d->mdma = BIT(2);
        d->udma = 0;
        attend(d, ASC_POWER_ON);
    }
}

void atapi_set_medium(struct ide_drive *d, struct block_dev *block)
{
    struct atapi *cd = &d->cd;
    d->cfg.block = block;
    cd->loaded = block != NULL;
    cd->tray_open = !block;
    cd->media_event = block ? EVENT_NEW_MEDIA : EVENT_REMOVED;
    if (block)
        attend(d, ASC_MEDIUM_CHANGED);
    /* A transfer under way finds no medium, or the end of the new one, at its next frame. */
}
