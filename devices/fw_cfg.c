/* The firmware configuration device. See fw_cfg.h.
 *
 * Numbers inside items are little-endian; the file directory and the DMA descriptor are big-endian,
 * as the interface's home on other machines left them. Reading past an item's end gives zeros.
 *
 * Known inaccuracies: items are read-only, DMA writes end with the error bit; DMA pads at most
 * 1 MiB of zeros after an item's end, so that a wrong length cannot stop the machine.
 */
#include "devices/fw_cfg.h"
#include "mmu/physmap.h"

#include <stdlib.h>
#include <string.h>

#define PORT_SELECT 0x510
#define PORT_DMA 0x514
#define ID_TRADITIONAL 1u
#define ID_DMA 2u
#define DMA_PAD_MAX (1 * MIB)

enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

static const char dma_signature[8] = {'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G'};

static void st_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void st_be32(uint8_t *p, uint32_t v)
{
    st_be16(p, (uint16_t)(v >> 16));
    st_be16(p + 2, (uint16_t)v);
}

static uint32_t ld_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* ---- items ----------------------------------------------------------------------------------- */

static struct fw_cfg_item *item_slot(struct fw_cfg *f, uint16_t key)
{
    if (key < FW_CFG_FILE_FIRST)
        return &f->key[key];
    if (key - FW_CFG_FILE_FIRST < FW_CFG_FILES)
        return &f->file[key - FW_CFG_FILE_FIRST];
    if (key >= FW_CFG_ARCH_LOCAL && key - FW_CFG_ARCH_LOCAL < (int)ARRAY_LEN(f->arch))
        return &f->arch[key - FW_CFG_ARCH_LOCAL];
    return NULL;
}

static bool item_set(struct fw_cfg_item *it, const void *data, size_t len, bool copy)
{
    void *owned = NULL;
    if (!it || len > UINT32_MAX)
        return false;
    if (copy && len) {
        owned = malloc(len);
        if (!owned)
            return false;
        memcpy(owned, data, len);
    }
    free(it->owned);
    it->owned = owned;
    it->data = copy ? owned : data;
    it->len = len;
    return true;
}

bool fw_cfg_add(struct fw_cfg *f, uint16_t key, const void *data, size_t len)
{
    return item_set(item_slot(f, key), data, len, true);
}

bool fw_cfg_add_ref(struct fw_cfg *f, uint16_t key, const void *data, size_t len)
{
    return item_set(item_slot(f, key), data, len, false);
}

bool fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t v)
{
    uint8_t b[2];
    st16(b, v);
    return fw_cfg_add(f, key, b, sizeof(b));
}

bool fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t v)
{
    uint8_t b[4];
    st32(b, v);
    return fw_cfg_add(f, key, b, sizeof(b));
}

bool fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t v)
{
    uint8_t b[8];
    st64(b, v);
    return fw_cfg_add(f, key, b, sizeof(b));
}

/* Directory: a count, then {size, key, 0, name} for each file. */
static void dir_update(struct fw_cfg *f)
{
    st_be32(f->dir, f->files);
    for (uint32_t i = 0; i < f->files; i++) {
        uint8_t *e = &f->dir[4 + i * 64];
        st_be32(e, (uint32_t)f->file[i].len);
        st_be16(e + 4, (uint16_t)(FW_CFG_FILE_FIRST + i));
        st_be16(e + 6, 0);
        memcpy(e + 8, f->name[i], FW_CFG_NAME_LEN);
    }
    f->key[FW_CFG_FILE_DIR] = (struct fw_cfg_item){f->dir, 4 + f->files * 64u, NULL};
}

static bool file_add(struct fw_cfg *f, const char *name, const void *data, size_t len, bool copy)
{
    uint32_t i = 0;
    if (strlen(name) >= FW_CFG_NAME_LEN)
        return false;
    while (i < f->files && strcmp(f->name[i], name) != 0)
        i++;
    if (i == FW_CFG_FILES || !item_set(&f->file[i], data, len, copy))
        return false;
    if (i == f->files) {
        memcpy(f->name[i], name, strlen(name) + 1);
        f->files++;
    }
    dir_update(f);
    return true;
}

bool fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, size_t len)
{
    return file_add(f, name, data, len, true);
}

bool fw_cfg_add_file_ref(struct fw_cfg *f, const char *name, const void *data, size_t len)
{
    return file_add(f, name, data, len, false);
}

static bool add_e820(struct fw_cfg *f, const struct fw_cfg_pc *pc)
{
    uint8_t e[2 * 20];
    size_t len = 20;
    st64(e, 0);
    st64(e + 8, pc->ram_below_4g);
    st32(e + 16, 1);
    if (pc->ram_above_4g) {
        st64(e + 20, 4 * GIB);
        st64(e + 28, pc->ram_above_4g);
        st32(e + 36, 1);
        len += 20;
    }
    return fw_cfg_add_file(f, "etc/e820", e, len);
}

bool fw_cfg_add_pc(struct fw_cfg *f, const struct fw_cfg_pc *pc)
{
    /* A node count of zero, and a node number for each CPU. */
    static const uint8_t numa[8 * 9];
    /* Which of S0 to S5 exist (bit 7) and their SLP_TYP. */
    static const uint8_t states[6] = {0x80, 0, 0, 0, 0, 0x80};
    uint8_t wait[4];
    bool ok = fw_cfg_add_u16(f, FW_CFG_NB_CPUS, (uint16_t)pc->cpus) &&
              fw_cfg_add_u16(f, FW_CFG_MAX_CPUS, (uint16_t)pc->cpus) &&
              fw_cfg_add_u64(f, FW_CFG_RAM_SIZE, pc->ram_below_4g + pc->ram_above_4g) &&
              fw_cfg_add(f, FW_CFG_NUMA, numa, 8 * (1 + MIN(pc->cpus, 8u))) &&
              fw_cfg_add_u16(f, FW_CFG_BOOT_MENU, pc->boot_menu) &&
              fw_cfg_add_u16(f, FW_CFG_NOGRAPHIC, 0) &&
              fw_cfg_add(f, FW_CFG_IRQ0_OVERRIDE, "\1", 1) && add_e820(f, pc) &&
              fw_cfg_add_file(f, "etc/system-states", states, sizeof(states));
    st32(wait, pc->boot_fail_wait_s == 0xffff ? UINT32_MAX : pc->boot_fail_wait_s * 1000u);
    ok = ok && fw_cfg_add_file(f, "etc/boot-fail-wait", wait, sizeof(wait));
    if (pc->bootorder)
        ok = ok && fw_cfg_add_file(f, "bootorder", pc->bootorder, strlen(pc->bootorder) + 1);
    return ok;
}

/* ---- all items as bytes ---------------------------------------------------------------------- */

#define ITEM_HEAD 8

struct fw_cfg_items {
    struct fw_cfg_item key[FW_CFG_FILE_FIRST], arch[ARRAY_LEN(((struct fw_cfg *)0)->arch)];
    struct fw_cfg_item file[FW_CFG_FILES];
    char name[FW_CFG_FILES][FW_CFG_NAME_LEN];
    uint32_t files;
};

/* Appends an item, or, with out NULL, says how long it is. */
static size_t write_item(uint8_t *out, unsigned key, const char *name, const struct fw_cfg_item *it)
{
    size_t n = strlen(name);

    if (out) {
        st16(out, (uint16_t)key);
        st16(out + 2, (uint16_t)n);
        st32(out + 4, (uint32_t)it->len);
        memcpy(out + ITEM_HEAD, name, n);
        if (it->len)
            memcpy(out + ITEM_HEAD + n, it->data, it->len);
    }
    return ITEM_HEAD + n + it->len;
}

static size_t write_items(const struct fw_cfg *f, uint8_t *out)
{
    size_t len = 0;

    for (unsigned i = 0; i < FW_CFG_FILE_FIRST; i++) {
        if (f->key[i].owned)
            len += write_item(out ? out + len : NULL, i, "", &f->key[i]);
    }
    for (unsigned i = 0; i < f->files; i++)
        len += write_item(out ? out + len : NULL, FW_CFG_FILE_FIRST + i, f->name[i], &f->file[i]);
    for (unsigned i = 0; i < ARRAY_LEN(f->arch); i++) {
        if (f->arch[i].owned)
            len += write_item(out ? out + len : NULL, FW_CFG_ARCH_LOCAL + i, "", &f->arch[i]);
    }
    return len;
}

bool fw_cfg_write(const struct fw_cfg *f, uint8_t **out, size_t *len)
{
    *len = write_items(f, NULL);
    *out = malloc(*len + 1);
    if (*out)
        write_items(f, *out);
    return *out != NULL;
}

/* Where an item of this key goes; NULL if there is no such place or it is taken. */
static struct fw_cfg_item *place(struct fw_cfg_items *x, unsigned key, const uint8_t *name,
                                 size_t name_len)
{
    struct fw_cfg_item *it = NULL;

    if (key < FW_CFG_FILE_FIRST && key != FW_CFG_FILE_DIR && !name_len)
        it = &x->key[key];
    else if (key >= FW_CFG_ARCH_LOCAL && key - FW_CFG_ARCH_LOCAL < ARRAY_LEN(x->arch) && !name_len)
        it = &x->arch[key - FW_CFG_ARCH_LOCAL];
    else if (key == FW_CFG_FILE_FIRST + x->files && x->files < FW_CFG_FILES && name_len &&
             name_len < FW_CFG_NAME_LEN && !memchr(name, 0, name_len)) {
        memcpy(x->name[x->files], name, name_len);
        it = &x->file[x->files++];
    }
    return it && !it->owned ? it : NULL;
}

struct fw_cfg_items *fw_cfg_parse(const uint8_t *data, size_t len)
{
    struct fw_cfg_items *x = calloc(1, sizeof(*x));

    while (x && len) {
        bool fits = len >= ITEM_HEAD;
        size_t n = fits ? ld16(data + 2) : 0, size = fits ? ld32(data + 4) : 0;
        fits = fits && n <= len - ITEM_HEAD && size <= len - ITEM_HEAD - n;
        struct fw_cfg_item *it = fits ? place(x, ld16(data), data + ITEM_HEAD, n) : NULL;
        if (!it || !(it->owned = malloc(size + 1))) {
            fw_cfg_items_free(x);
            return NULL;
        }
        memcpy(it->owned, data + ITEM_HEAD + n, size);
        it->data = it->owned;
        it->len = size;
        data += ITEM_HEAD + n + size;
        len -= ITEM_HEAD + n + size;
    }
    return x;
}

/* With all: borrowed items go too. */
static void replace(struct fw_cfg_item *to, struct fw_cfg_item *from, size_t n, bool all)
{
    for (size_t i = 0; i < n; i++) {
        if (!all && !to[i].owned && !from[i].owned)
            continue;
        free(to[i].owned);
        to[i] = from[i];
        from[i] = (struct fw_cfg_item){0};
    }
}

void fw_cfg_replace(struct fw_cfg *f, struct fw_cfg_items *items)
{
    replace(f->key, items->key, ARRAY_LEN(f->key), false);
    replace(f->arch, items->arch, ARRAY_LEN(f->arch), false);
    replace(f->file, items->file, ARRAY_LEN(f->file), true);
    memcpy(f->name, items->name, sizeof(f->name));
    f->files = items->files;
    dir_update(f);
    fw_cfg_items_free(items);
}

static void free_owned(struct fw_cfg_item *it, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(it[i].owned);
}

void fw_cfg_items_free(struct fw_cfg_items *items)
{
    if (!items)
        return;
    free_owned(items->key, ARRAY_LEN(items->key));
    free_owned(items->arch, ARRAY_LEN(items->arch));
    free_owned(items->file, ARRAY_LEN(items->file));
    free(items);
}

/* ---- ports ----------------------------------------------------------------------------------- */

static void select_item(struct fw_cfg *f, uint16_t key)
{
    f->selected = key;
    f->offset = 0;
}

/* Copies up to len bytes of the selected item and moves on; returns how many it had. */
static size_t item_take(struct fw_cfg *f, const uint8_t **data, uint64_t len)
{
    /* Bit 14 chose the write direction long ago. */
    const struct fw_cfg_item *it = item_slot(f, f->selected & (uint16_t)~0x4000u);
    size_t left = it && f->offset < it->len ? it->len - f->offset : 0;
    size_t n = (size_t)MIN(len, (uint64_t)left);
    *data = n ? it->data + f->offset : NULL;
    f->offset = (uint32_t)MIN((uint64_t)f->offset + len, (uint64_t)UINT32_MAX);
    return n;
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    struct fw_cfg *f = opaque;
    const uint8_t *p;
    if (offset != 1)
        return UINT64_MAX;
    return item_take(f, &p, 1) ? *p : 0;
}

static void port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct fw_cfg *f = opaque;
    if (offset == 0 && size == 2)
        select_item(f, (uint16_t)value);
}

static const struct io_ops port_ops = {
    .name = "fw-cfg", .read = port_read, .write = port_write, .min_access = 1, .max_access = 2};

static void dma_run(struct fw_cfg *f)
{
    static const uint8_t zeros[4096];
    struct physmap *mem = f->dev.board->mem;
    uint64_t at = f->dma_addr;
    uint8_t desc[16], status[4];

    f->dma_addr = 0;
    physmap_read_buf(mem, at, desc, sizeof(desc));
    uint32_t control = ld_be32(desc), len = ld_be32(desc + 4);
    uint64_t to = (uint64_t)ld_be32(desc + 8) << 32 | ld_be32(desc + 12);
    if (control & DMA_SELECT)
        select_item(f, (uint16_t)(control >> 16));
    if (control & (DMA_READ | DMA_SKIP)) {
        const uint8_t *data;
        size_t n = item_take(f, &data, len);
        if (control & DMA_READ) {
            uint64_t pad = MIN((uint64_t)(len - n), DMA_PAD_MAX);
            if (n)
                physmap_write_buf(mem, to, data, n);
            for (to += n; pad; ) {
                size_t piece = (size_t)MIN(pad, (uint64_t)sizeof(zeros));
                physmap_write_buf(mem, to, zeros, piece);
                to += piece;
                pad -= piece;
            }
        }
        st_be32(status, 0);
    } else {
        st_be32(status, control & DMA_WRITE ? DMA_ERROR : 0);
    }
    physmap_write_buf(mem, at, status, sizeof(status));
}

static uint64_t dma_read(void *opaque, uint64_t offset, unsigned size)
{
    uint8_t b[8] = {0};
    memcpy(b, dma_signature + offset, MIN(sizeof(b) - offset, (uint64_t)size));
    return ld_sized(b, size);
}

/* The descriptor's address, big-endian, high half first; the low half starts the transfer. */
static void dma_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct fw_cfg *f = opaque;
    if (size != 4)
        return;
    uint32_t v = __builtin_bswap32((uint32_t)value);
    if (offset == 0) {
        f->dma_addr = (uint64_t)v << 32;
    } else if (offset == 4) {
        f->dma_addr = (f->dma_addr & 0xffffffff00000000ull) | v;
        dma_run(f);
    }
}

static const struct io_ops dma_ops = {
    .name = "fw-cfg-dma", .read = dma_read, .write = dma_write, .min_access = 1, .max_access = 4};

/* ---- life ------------------------------------------------------------------------------------ */

static bool fw_cfg_init(struct device *dev, struct error *err)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;
    portmap_add(dev->board->ports, PORT_SELECT, 2, &port_ops, f);
    portmap_add(dev->board->ports, PORT_DMA, 8, &dma_ops, f);
    dir_update(f);
    if (!fw_cfg_add(f, FW_CFG_SIGNATURE, dma_signature, 4) ||
        !fw_cfg_add_u32(f, FW_CFG_ID, ID_TRADITIONAL | ID_DMA))
        return error_set(err, ERR_NOMEM, "no memory for firmware configuration: free some");
    return true;
}

static void fw_cfg_reset(struct device *dev, enum reset_kind kind)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;
    if (kind == RESET_INIT)
        return;
    select_item(f, FW_CFG_SIGNATURE);
    f->dma_addr = 0;
}

static void fw_cfg_fini(struct device *dev)
{
    struct fw_cfg *f = (struct fw_cfg *)dev;
    portmap_remove(dev->board->ports, PORT_DMA, 8, f);
    portmap_remove(dev->board->ports, PORT_SELECT, 2, f);
    free_owned(f->key, ARRAY_LEN(f->key));
    free_owned(f->arch, ARRAY_LEN(f->arch));
    free_owned(f->file, ARRAY_LEN(f->file));
}

static const struct vm_field fw_cfg_fields[] = {
    VM_DEVICE(struct fw_cfg),
    VM_INT(struct fw_cfg, selected),
    VM_INT(struct fw_cfg, offset),
    VM_INT(struct fw_cfg, dma_addr),
    VM_SKIP(struct fw_cfg, key, "configuration; snapshots have it as contents"),
    VM_SKIP(struct fw_cfg, arch, "configuration; snapshots have it as contents"),
    VM_SKIP(struct fw_cfg, file, "configuration; snapshots have it as contents"),
    VM_SKIP(struct fw_cfg, name, "configuration; snapshots have it as contents"),
    VM_SKIP(struct fw_cfg, files, "configuration; snapshots have it as contents"),
    VM_SKIP(struct fw_cfg, dir, "configuration; snapshots have it as contents"),
    VM_END,
};
static const struct vmstate vm_fw_cfg = VMSTATE("fw-cfg", struct fw_cfg, fw_cfg_fields);

const struct device_class fw_cfg_class = {
    .name = "fw-cfg",
    .size = sizeof(struct fw_cfg),
    .vmstate = &vm_fw_cfg,
    .init = fw_cfg_init,
    .reset = fw_cfg_reset,
    .fini = fw_cfg_fini,
};
