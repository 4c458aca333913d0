/* The firmware configuration device: named and numbered blobs that firmware reads through ports
 * 510h/511h or by DMA (514h). Interface: QEMU docs/specs/fw_cfg; the users are SeaBIOS and option
 * ROMs.
 *
 * The board adds items between init and the first instruction; they are configuration, not state.
 * Adding a key or name again replaces it. As firmware reads them again at each reset, a snapshot keeps
 * them: ACPI tables of another version would not be those that the guest was started with.
 */
#ifndef DEVICES_FW_CFG_H
#define DEVICES_FW_CFG_H

#include "devices/bus.h"

enum {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_MACHINE_ID = 0x06,
    FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_KERNEL_CMDLINE = 0x09,
    FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_BOOT_DEVICE = 0x0c,
    FW_CFG_NUMA = 0x0d,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_ENTRY = 0x10,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16,
    FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_ARCH_LOCAL = 0x8000,
    FW_CFG_IRQ0_OVERRIDE = 0x8002,
};

#define FW_CFG_FILES 48
#define FW_CFG_NAME_LEN 56

struct fw_cfg_item {
    const uint8_t *data;
    size_t len;
    void *owned; /* to be freed, or NULL: the caller keeps data alive */
};

struct fw_cfg {
    struct device dev;
    uint16_t selected;
    uint32_t offset;
    uint64_t dma_addr;
    struct fw_cfg_item key[FW_CFG_FILE_FIRST];
    struct fw_cfg_item arch[8];
    struct fw_cfg_item file[FW_CFG_FILES];
    char name[FW_CFG_FILES][FW_CFG_NAME_LEN];
    uint32_t files;
    uint8_t dir[4 + FW_CFG_FILES * 64];
};
extern const struct device_class fw_cfg_class;

/* The data is copied. False when the host has no memory or there is no room. */
bool fw_cfg_add(struct fw_cfg *f, uint16_t key, const void *data, size_t len);
bool fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t v);
bool fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t v);
bool fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t v);
bool fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, size_t len);
/* The data is borrowed for as long as the device lives: kernels and initrds. */
bool fw_cfg_add_ref(struct fw_cfg *f, uint16_t key, const void *data, size_t len);
bool fw_cfg_add_file_ref(struct fw_cfg *f, const char *name, const void *data, size_t len);

/* All items but borrowed ones that have a key (kernels and initrds), as one run of bytes: for each
 *
 *     u16 key   u16 length of the name   u32 length of the data   name, of files   data
 *
 * little-endian, by ascending key; *out is to be freed. False without memory. */
bool fw_cfg_write(const struct fw_cfg *f, uint8_t **out, size_t *len);
struct fw_cfg_items;
/* NULL if it makes no sense or there is no memory. */
struct fw_cfg_items *fw_cfg_parse(const uint8_t *data, size_t len);
/* They replace what fw_cfg_write would write, and are freed. Cannot fail. */
void fw_cfg_replace(struct fw_cfg *f, struct fw_cfg_items *items);
void fw_cfg_items_free(struct fw_cfg_items *items); /* may be NULL */

/* What every PC has: CPU counts, NUMA, boot menu, e820, bootorder (NULL: none; lines of
 * OpenFirmware paths), sleep states. ram_above_4g starts at 4 GiB. */
struct fw_cfg_pc {
    unsigned cpus;
    uint64_t ram_below_4g, ram_above_4g;
    const char *bootorder;
    bool boot_menu;
    uint16_t boot_fail_wait_s; /* seconds before SeaBIOS tries again; 0xffff: never */
};
bool fw_cfg_add_pc(struct fw_cfg *f, const struct fw_cfg_pc *pc);

#endif
