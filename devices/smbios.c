/* SMBIOS tables. See smbios.h; structures are from the SMBIOS reference specification 2.8, chapter
 * 7.
 *
 * Each structure is a formatted part and its strings; the builder counts strings as they are used,
 * so that the numbers in the formatted part cannot be wrong. SeaBIOS fills in the entry point's
 * address, counts and checksums.
 */
#include "devices/smbios.h"

#define TABLES_MAX 4096
#define STRINGS_MAX 256
#define ANCHOR_LEN 31

struct builder {
    uint8_t out[TABLES_MAX];
    uint32_t len;
    uint32_t start;    /* of the structure being built */
    uint32_t largest;
    uint16_t count;
    char strings[STRINGS_MAX];
    uint32_t strings_len;
    uint8_t nstrings;
    bool full;
};

static void put(struct builder *b, uint64_t v, unsigned size)
{
    if (b->len + size > TABLES_MAX) {
        b->full = true;
        return;
    }
    st_sized(&b->out[b->len], v, size);
    b->len += size;
}

static void put_zeros(struct builder *b, unsigned n)
{
    while (n--)
        put(b, 0, 1);
}

/* A string's number; "" has number 0. */
static void put_string(struct builder *b, const char *s)
{
    size_t len = strlen(s) + 1;
    if (len == 1) {
        put(b, 0, 1);
        return;
    }
    if (b->strings_len + len > STRINGS_MAX) {
        b->full = true;
        return;
    }
    memcpy(b->strings + b->strings_len, s, len);
    b->strings_len += (uint32_t)len;
    put(b, ++b->nstrings, 1);
}

static void begin(struct builder *b, uint8_t type, uint16_t handle)
{
    b->start = b->len;
    b->strings_len = 0;
    b->nstrings = 0;
    put(b, type, 1);
    put(b, 0, 1);
    put(b, handle, 2);
}

static void end(struct builder *b)
{
    if (b->full)
        return;
    b->out[b->start + 1] = (uint8_t)(b->len - b->start);
    for (uint32_t i = 0; i < b->strings_len; i++)
        put(b, (uint8_t)b->strings[i], 1);
    if (!b->strings_len)
        put(b, 0, 1);
    put(b, 0, 1);
    b->largest = MAX(b->largest, b->len - b->start);
    b->count++;
}

enum { H_BIOS = 0, H_SYSTEM = 0x100, H_CHASSIS = 0x300, H_CPU = 0x400, H_ARRAY = 0x1000,
       H_DIMM = 0x1100, H_MAPPED = 0x1300, H_BOOT = 0x2000, H_END = 0x7f00 };

static void add_bios(struct builder *b, const struct smbios_cfg *cfg)
{
    begin(b, 0, H_BIOS);
    put_string(b, "Tinamou");
    put_string(b, cfg->version);
    put(b, 0xe800, 2);
    put_string(b, "01/01/2026");
    put(b, 0, 1);
    put(b, 0x08, 8); /* characteristics not supported */
    put(b, 0, 1);
    put(b, 0x14, 1); /* targeted content, virtual machine */
    put(b, 0, 1);
    put(b, 0, 1);
    put(b, 0xffff, 2);
    end(b);
}

static void add_system(struct builder *b, const struct smbios_cfg *cfg)
{
    begin(b, 1, H_SYSTEM);
    put_string(b, "Tinamou");
    put_string(b, "PC (i440FX + PIIX)");
    put_string(b, cfg->version);
    put_string(b, "");
    for (unsigned i = 0; i < 16; i++)
        put(b, cfg->uuid[i], 1);
    put(b, 6, 1); /* woken by the power switch */
    put_string(b, "");
    put_string(b, "");
    end(b);
}

static void add_chassis(struct builder *b, const struct smbios_cfg *cfg)
{
    begin(b, 3, H_CHASSIS);
    put_string(b, "Tinamou");
    put(b, 1, 1); /* other */
    put_string(b, cfg->version);
    put_string(b, "");
    put_string(b, "");
    put(b, 3, 1); /* boot-up, power and thermal state: safe */
    put(b, 3, 1);
    put(b, 3, 1);
    put(b, 2, 1); /* security unknown */
    put_zeros(b, 4 + 1 + 1 + 1 + 1);
    put_string(b, "");
    end(b);
}

static void add_cpu(struct builder *b, const struct smbios_cfg *cfg, unsigned n)
{
    char socket[8] = "CPU 0";
    socket[4] = (char)('0' + n % 10);
    begin(b, 4, (uint16_t)(H_CPU + n));
    put_string(b, socket);
    put(b, 3, 1);    /* central processor */
    put(b, 1, 1);    /* family: other */
    put_string(b, "Tinamou");
    put(b, 0, 8);    /* ID */
    put_string(b, cfg->version);
    put(b, 0, 1);    /* voltage */
    put(b, 0, 2);    /* external clock */
    put(b, 1000, 2); /* MHz, as the time-stamp counter has it */
    put(b, 1000, 2);
    put(b, 0x41, 1); /* populated, enabled */
    put(b, 1, 1);    /* upgrade: other */
    put(b, 0xffff, 2); /* caches: none described */
    put(b, 0xffff, 2);
    put(b, 0xffff, 2);
    put_string(b, "");
    put_string(b, "");
    put_string(b, "");
    put(b, 1, 1); /* cores, enabled, threads */
    put(b, 1, 1);
    put(b, 1, 1);
    put(b, 2, 2); /* characteristics unknown */
    put(b, 1, 2);
    put(b, 1, 2); /* the counts again, 16 bits */
    put(b, 1, 2);
    put(b, 1, 2);
    end(b);
}

static void add_memory(struct builder *b, const struct smbios_cfg *cfg)
{
    uint64_t total = cfg->ram_below_4g + cfg->ram_above_4g;
    uint64_t mb = total / MIB;
    uint64_t kb = total / KIB;

    begin(b, 16, H_ARRAY);
    put(b, 1, 1); /* other place */
    put(b, 3, 1); /* system memory */
    put(b, 6, 1); /* multi-bit ECC */
    put(b, kb < 0x80000000 ? kb : 0x80000000, 4);
    put(b, 0xfffe, 2);
    put(b, 1, 2);
    put(b, kb < 0x80000000 ? 0 : total, 8);
    end(b);

    begin(b, 17, H_DIMM);
    put(b, H_ARRAY, 2);
    put(b, 0xfffe, 2);
    put(b, 0xffff, 2); /* widths unknown */
    put(b, 0xffff, 2);
    put(b, mb < 0x7fff ? mb : 0x7fff, 2);
    put(b, 9, 1); /* DIMM */
    put(b, 0, 1);
    put_string(b, "DIMM 0");
    put_string(b, "");
    put(b, 7, 1); /* RAM */
    put(b, 2, 2); /* detail: other */
    put(b, 0, 2);
    put_string(b, "Tinamou");
    put_string(b, "");
    put_string(b, "");
    put_string(b, "");
    put(b, 0, 1);
    put(b, mb < 0x7fff ? 0 : mb, 4);
    put(b, 0, 2);
    put_zeros(b, 6);
    end(b);

    const uint64_t ranges[2][2] = {{0, cfg->ram_below_4g}, {4 * GIB, cfg->ram_above_4g}};
    for (unsigned i = 0; i < 2; i++) {
        uint64_t first = ranges[i][0], size = ranges[i][1];
        if (!size)
            continue;
        bool wide = (first + size) / KIB > UINT32_MAX;
        begin(b, 19, (uint16_t)(H_MAPPED + i));
        put(b, wide ? UINT32_MAX : first / KIB, 4);
        put(b, wide ? UINT32_MAX : (first + size) / KIB - 1, 4);
        put(b, H_ARRAY, 2);
        put(b, 1, 1);
        put(b, wide ? first : 0, 8);
        put(b, wide ? first + size - 1 : 0, 8);
        end(b);
    }
}

bool smbios_add(struct fw_cfg *fw, const struct smbios_cfg *cfg)
{
    struct builder b = {.len = 0};
    uint8_t anchor[ANCHOR_LEN] = {0};

    add_bios(&b, cfg);
    add_system(&b, cfg);
    add_chassis(&b, cfg);
    for (unsigned i = 0; i < cfg->cpus; i++)
        add_cpu(&b, cfg, i);
    add_memory(&b, cfg);
    begin(&b, 32, H_BOOT);
    put_zeros(&b, 7); /* no errors detected */
    end(&b);
    begin(&b, 127, H_END);
    end(&b);

    memcpy(anchor, "_SM_", 4);
    anchor[5] = ANCHOR_LEN;
    anchor[6] = 2;
    anchor[7] = 8;
    st16(anchor + 8, (uint16_t)b.largest);
    memcpy(anchor + 16, "_DMI_", 5);
    st16(anchor + 22, (uint16_t)b.len);
    st16(anchor + 28, b.count);
    anchor[30] = 0x28;
    return !b.full && fw_cfg_add_file(fw, "etc/smbios/smbios-anchor", anchor, sizeof(anchor)) &&
           fw_cfg_add_file(fw, "etc/smbios/smbios-tables", b.out, b.len);
}
