/* The virtio block device (virtio 1.0, 5.2; discard and write zeroes from 1.1, 5.2.6).
 *
 * Requests run one after the other in the transport's event, each to its end; nothing of a request
 * outlives the event, so the rings' indexes are all there is to save.
 *
 * Known inaccuracies: requests are answered in order, whatever the depth of the queue.
 */
#include "devices/virtio_blk.h"

#include "devices/virtio_pci.h"

#define CHUNK       (64u * 1024)
#define MAX_REQUEST (256 * MIB) /* no driver asks for more at once; a hostile one might */
#define ID_LEN      20u
#define HEADER      16u
#define MAX_RANGES  32u /* in one discard */

enum { REQ_IN = 0, REQ_OUT = 1, REQ_FLUSH = 4, REQ_ID = 8, REQ_DISCARD = 11, REQ_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
enum { ZEROES_UNMAP = 1 };

#define F_SEG_MAX  BIT64(2)
#define F_GEOMETRY BIT64(4)
#define F_RO       BIT64(5)
#define F_BLK_SIZE BIT64(6)
#define F_FLUSH    BIT64(9)
#define F_TOPOLOGY BIT64(10)
#define F_DISCARD  BIT64(13)
#define F_ZEROES   BIT64(14)

/* Configuration (5.2.4). */
enum {
    C_CAPACITY = 0,
    C_SEG_MAX = 12,
    C_CYLS = 16,
    C_HEADS = 18,
    C_SECTORS = 19,
    C_BLK_SIZE = 20,
    C_PHYS_EXP = 24,
    C_OPT_IO = 28,
    C_WRITEBACK = 32,
    C_DISCARD_MAX = 36,
    C_DISCARD_SEGS = 40,
    C_DISCARD_ALIGN = 44,
    C_ZEROES_MAX = 48,
    C_ZEROES_SEGS = 52,
    C_ZEROES_UNMAP = 56,
    C_LEN = 60,
};

struct virtio_blk {
    struct device dev;
    struct virtio_pci virtio;
    struct virtio_blk_cfg cfg;
    struct virtio_elem elem;
    uint8_t buf[CHUNK];
};

/* ---- requests --------------------------------------------------------------------------------- */

static bool sectors_ok(const struct virtio_blk *b, uint64_t sector, uint64_t bytes)
{
    uint64_t size = block_size(b->cfg.block);
    return sector <= size / 512 && bytes <= size - sector * 512;
}

static uint8_t read_write(struct virtio_blk *b, uint64_t sector, bool write, uint32_t *written)
{
    struct physmap *mem = b->dev.board->mem;
    const struct virtio_elem *e = &b->elem;
    uint64_t len = write ? e->out_len - HEADER : e->in_len - 1;
    if (len % 512 || len > MAX_REQUEST || !sectors_ok(b, sector, len) ||
        (write && block_readonly(b->cfg.block)))
        return S_IOERR;
    for (uint64_t done = 0; done < len;) {
        size_t n = (size_t)MIN(len - done, (uint64_t)CHUNK);
        bool ok = write ? virtio_get(mem, e, HEADER + done, b->buf, n) &&
                              block_write(b->cfg.block, sector * 512 + done, b->buf, n)
                        : block_read(b->cfg.block, sector * 512 + done, b->buf, n) &&
                              virtio_put(mem, e, done, b->buf, n);
        if (!ok) {
            LOG(b->dev.board->log, LOG_DISK, "%s: host cannot %s sector %llu", b->dev.id,
                write ? "write" : "read", (unsigned long long)(sector + done / 512));
            return S_IOERR;
        }
        done += n;
    }
    if (!write)
        *written = (uint32_t)len;
    /* A driver that knows no flush counts on writes that last (5.2.5.2). */
    if (write && !virtio_has(&b->virtio, F_FLUSH) && !block_flush(b->cfg.block))
        return S_IOERR;
    return S_OK;
}

static uint8_t ranges(struct virtio_blk *b, bool zeroes)
{
    uint64_t len = b->elem.out_len - HEADER;
    if (block_readonly(b->cfg.block))
        return S_IOERR;
    if (!len || len % 16 || len / 16 > MAX_RANGES)
        return S_UNSUPP;
    if (!virtio_get(b->dev.board->mem, &b->elem, HEADER, b->buf, (size_t)len))
        return S_IOERR;
    for (uint64_t i = 0; i < len; i += 16) {
        uint64_t sector = ld64(b->buf + i), bytes = (uint64_t)ld32(b->buf + i + 8) * 512;
        uint32_t flags = ld32(b->buf + i + 12);
        if (flags & ~(uint32_t)ZEROES_UNMAP || (flags && !zeroes))
            return S_UNSUPP;
        if (!sectors_ok(b, sector, bytes))
            return S_IOERR;
        if (!(zeroes ? block_write_zeroes(b->cfg.block, sector * 512, bytes)
                     : block_trim(b->cfg.block, sector * 512, bytes)))
            return S_IOERR;
    }
    return S_OK;
}

static uint8_t get_id(struct virtio_blk *b, uint32_t *written)
{
    char id[ID_LEN + 1] = {0};
    uint32_t n = (uint32_t)MIN(b->elem.in_len - 1, (uint64_t)ID_LEN);
    if (b->cfg.serial)
        strncpy(id, b->cfg.serial, ID_LEN);
    if (!virtio_put(b->dev.board->mem, &b->elem, 0, id, n))
        return S_IOERR;
    *written = n;
    return S_OK;
}

static uint8_t handle(struct virtio_blk *b, const uint8_t *header, uint32_t *written)
{
    uint32_t type = ld32(header);
    uint64_t sector = ld64(header + 8);
    LOG(b->dev.board->log, LOG_DISK, "%s: request %u sector %llu out %llu in %llu", b->dev.id, type,
        (unsigned long long)sector, (unsigned long long)b->elem.out_len,
        (unsigned long long)b->elem.in_len);
    switch (type) {
    case REQ_IN:
        return read_write(b, sector, false, written);
    case REQ_OUT:
        return read_write(b, sector, true, written);
    case REQ_FLUSH:
        return block_flush(b->cfg.block) ? S_OK : S_IOERR;
    case REQ_ID:
        return get_id(b, written);
    case REQ_DISCARD:
    case REQ_ZEROES:
        return ranges(b, type == REQ_ZEROES);
    default:
        return S_UNSUPP;
    }
}

static void run(struct device *dev, unsigned n)
{
    struct virtio_blk *b = (struct virtio_blk *)dev;
    struct physmap *mem = dev->board->mem;
    struct virtq *q = &b->virtio.queue[n];
    for (unsigned i = 0; i < q->size && virtq_pop(q, mem, &b->elem); i++) {
        uint8_t header[HEADER], status;
        uint32_t written = 0;
        if (!b->elem.in_len || !virtio_get(mem, &b->elem, 0, header, HEADER)) {
            q->broken = true; /* no room for a status: nothing can be answered */
            break;
        }
        status = handle(b, header, &written);
        virtio_put(mem, &b->elem, b->elem.in_len - 1, &status, 1);
        virtq_push(q, mem, &b->elem, written + 1);
    }
    virtio_pci_interrupt(&b->virtio, n);
}

/* ---- device ----------------------------------------------------------------------------------- */

static const struct virtio_ops blk_ops = {
    .type = 2,
    .pci_id = 0x1001,
    .class_code = 0x010000,
    .queues = 1,
    .config_len = C_LEN,
    .run = run,
};

static const struct vm_field blk_fields[] = {
    VM_DEVICE(struct virtio_blk),
    VM_STRUCT(struct virtio_blk, virtio, &vm_virtio_pci),
    VM_SKIP(struct virtio_blk, cfg, "wiring, set by the board"),
    VM_SKIP(struct virtio_blk, elem, "scratch of one request"),
    VM_SKIP(struct virtio_blk, buf, "scratch of one request"),
    VM_END,
};
static const struct vmstate vm_virtio_blk = VMSTATE("virtio-blk", struct virtio_blk, blk_fields);

void virtio_blk_configure(struct device *dev, const struct virtio_blk_cfg *cfg)
{
    ((struct virtio_blk *)dev)->cfg = *cfg;
}

static void fill_config(struct virtio_blk *b)
{
    uint8_t *c = b->virtio.config;
    uint64_t sectors = block_size(b->cfg.block) / 512;
    uint32_t most = (uint32_t)MIN(sectors, (uint64_t)(BIT(22) - 1)); /* 2 GiB at a time */
    st64(c + C_CAPACITY, sectors);
    st32(c + C_SEG_MAX, VIRTQ_MAX - 2);
    st16(c + C_CYLS, (uint16_t)MIN(sectors / (16 * 63), (uint64_t)16383));
    c[C_HEADS] = 16;
    c[C_SECTORS] = 63;
    st32(c + C_BLK_SIZE, 512);
    c[C_PHYS_EXP] = 3; /* 4 KiB blocks are best */
    st32(c + C_OPT_IO, 128);
    c[C_WRITEBACK] = 1;
    st32(c + C_DISCARD_MAX, most);
    st32(c + C_DISCARD_SEGS, MAX_RANGES);
    st32(c + C_DISCARD_ALIGN, 8);
    st32(c + C_ZEROES_MAX, most);
    st32(c + C_ZEROES_SEGS, 1);
    c[C_ZEROES_UNMAP] = 1;
}

static bool blk_init(struct device *dev, struct error *err)
{
    struct virtio_blk *b = (struct virtio_blk *)dev;
    uint64_t features = F_SEG_MAX | F_GEOMETRY | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY;
    if (!b->cfg.block)
        return error_set(err, ERR_INVALID, "virtio disk '%s' has no image: give it one", dev->id);
    features |= block_readonly(b->cfg.block) ? F_RO : F_DISCARD | F_ZEROES;
    fill_config(b);
    return virtio_pci_init(&b->virtio, dev, b->cfg.bus, b->cfg.devfn, &blk_ops, features, err);
}

static void blk_reset(struct device *dev, enum reset_kind kind)
{
    if (kind != RESET_INIT)
        virtio_pci_reset(&((struct virtio_blk *)dev)->virtio);
}

static void blk_fini(struct device *dev)
{
    virtio_pci_fini(&((struct virtio_blk *)dev)->virtio);
}

const struct device_class virtio_blk_class = {
    .name = "virtio-blk",
    .size = sizeof(struct virtio_blk),
    .vmstate = &vm_virtio_blk,
    .init = blk_init,
    .reset = blk_reset,
    .fini = blk_fini,
};
