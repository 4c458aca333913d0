/* Machines that are saved and restored: what a file that is damaged or of another machine does to one
 * that runs (nothing), contents that turn out to be damaged later, and the numbers around it. The
 * round trips are roundtrip.c's.
 */
#include "tests/snapshot/kit.h"

#include <stdio.h>
#include <unistd.h>

#include "cpu/exec.h"
#include "devices/fw_cfg.h"
#include "devices/ide_int.h"
#include "devices/vga_internal.h"

static void refused(tnm_machine *m, const char *path, const tnm_restore_options *opt,
                    enum tnm_code code, const char *says)
{
    uint64_t hash = tnm_state_hash(m), insns = tnm_insns(m);
    tnm_snapshot *s = kit_open(path);
    tnm_error err = {0};

    ck_assert_msg(!tnm_snapshot_restore(m, s, opt, &err), "%s is not refused: %s", path, says);
    ck_assert_msg(strstr(err.text, says) != NULL, "\"%s\" does not say \"%s\"", err.text, says);
    ck_assert_int_eq(err.code, code);
    ck_assert_uint_eq(tnm_state_hash(m), hash);
    ck_assert_uint_eq(tnm_insns(m), insns);
    tnm_snapshot_close(s);
}

START_TEST(refusal_changes_nothing)
{
    static const struct {
        const char *object, *field;
        uint64_t value;
    } bad[] = {
        {"cpu0", "cpl", 9},           {"cpu0", "fpu.top", 8},       {"cpu0", "activity", 77},
        {"machine", "current", 1},    {"kbc", "status", 0},         {"fdc", "phase", 200},
        {"vga", "dac_component", 99}, {"machine", "reset_kind", 7},
    };
    tnm_machine *m = kit_machine(), *other;
    tnm_config cfg;

    kit_save(m, kit_path("good"), NULL);
    tnm_run(m, 5000000);
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        if (!strcmp(bad[i].object, "kbc"))
            continue;
        kit_change_field(kit_path("good"), kit_path("bad"), bad[i].object, bad[i].field,
                         bad[i].value);
        refused(m, kit_path("bad"), NULL, TNM_ERR_FORMAT, "makes no sense");
    }
    kit_config(&cfg);
    cfg.memory = 32 * MIB;
    other = kit_create(&cfg);
    refused(other, kit_path("good"), NULL, TNM_ERR_INVALID, "memory");
    tnm_destroy(other);
    kit_config(&cfg);
    cfg.cpu_model = "486";
    other = kit_create(&cfg);
    refused(other, kit_path("good"), NULL, TNM_ERR_INVALID, "CPU");
    tnm_destroy(other);

    /* And it goes on. */
    ck_assert_int_eq(tnm_run(m, 5000000), TNM_STOP_SLICE);
    tnm_destroy(m);
    kit_clean();
}
END_TEST

/* A bit of the contents of memory flips in the file. */
static void damage_memory(const char *from, const char *to, uint64_t paddr)
{
    struct error err;
    struct snap_file *f = snap_file_open(from, &err);
    struct snap_stream *ram = snap_file_stream(f, "ram");
    const struct snap_entry *e = &ram->entry[paddr / SNAP_UNIT];
    struct blob b = kit_read(from);

    ck_assert_int_eq(e->kind, SNAP_DATA);
    b.data[e->offset + e->stored / 2] ^= 1;
    kit_write(to, b.data, b.size);
    blob_free(&b);
    snap_file_unref(f);
}

START_TEST(contents_damaged)
{
    tnm_machine *m = kit_machine();
    tnm_error err = {0};
    enum tnm_stop why = TNM_STOP_SLICE;

    for (unsigned i = 0; i < 0x10000; i += 4)
        physmap_write(m->mem, 0x600000 + i, i * 2654435761u, 4);
    kit_save(m, kit_path("good"), NULL);
    damage_memory(kit_path("good"), kit_path("bad"), 0x600000);
    refused(m, kit_path("bad"), &(tnm_restore_options){.verify = true}, TNM_ERR_FORMAT, "damaged");
    ck_assert_int_eq(tnm_run(m, 1000000), TNM_STOP_SLICE);
    /* Unchecked, the machine starts, and stops when it is found: here by the thread behind. */
    tnm_snapshot *s = kit_open(kit_path("bad"));
    tnm_machine *back = tnm_snapshot_create(s, NULL, NULL, &err);
    ck_assert_msg(back != NULL, "%s", err.text);
    for (unsigned i = 0; i < 1000 && why == TNM_STOP_SLICE; i++) {
        why = tnm_run(back, 1000000);
        usleep(1000);
    }
    ck_assert_int_eq(why, TNM_STOP_ERROR);
    tnm_get_error(back, &err);
    ck_assert_msg(strstr(err.text, "could not be read") != NULL, "%s", err.text);
    ck_assert(!tnm_snapshot_save(back, kit_path("c"), NULL, &err));
    tnm_destroy(back);
    tnm_snapshot_close(s);
    tnm_destroy(m);
    kit_clean();
}
END_TEST

/* A save begins while most of memory is still in another file, and a part of that turns out to be
 * damaged: what would be saved is not what the guest had. */
START_TEST(damaged_while_saved)
{
    tnm_machine *m = kit_machine();
    tnm_error err = {0};

    for (unsigned i = 0; i < 0x10000; i += 4)
        physmap_write(m->mem, 0xf00000 + i, i * 2654435761u, 4);
    kit_save(m, kit_path("good"), NULL);
    tnm_destroy(m);
    damage_memory(kit_path("good"), kit_path("bad"), 0xf00000);
    for (unsigned i = 0; i < 2; i++) {
        tnm_snapshot *s = kit_open(kit_path(i ? "good" : "bad"));
        m = tnm_snapshot_create(s, NULL, NULL, &err);
        ck_assert_msg(m != NULL, "%s", err.text);
        bool saved = tnm_snapshot_save(m, kit_path("next"), NULL, &err);
        ck_assert_msg(saved == (i == 1), "%s", err.text);
        ck_assert(saved == kit_exists(kit_path("next")));
        if (!saved)
            ck_assert_msg(strstr(err.text, "could not be read") != NULL, "%s", err.text);
        ck_assert(!kit_exists(kit_path("next.part")));
        tnm_destroy(m);
        tnm_snapshot_close(s);
    }
    kit_clean();
}
END_TEST

START_TEST(many_copies)
{
    tnm_machine *m = kit_machine(), *back[3];
    tnm_error err = {0};
    tnm_snapshot *s;

    kit_save(m, kit_path("a"), NULL);
    s = kit_open(kit_path("a"));
    for (unsigned i = 0; i < 3; i++) {
        back[i] =
            tnm_snapshot_create(s, NULL, &(tnm_restore_options){.fresh_identity = i > 0}, &err);
        ck_assert_msg(back[i] != NULL, "%s", err.text);
    }
    tnm_snapshot_close(s);
    unlink(kit_path("a")); /* they have it open */
    ck_assert_uint_eq(back[0]->random, m->random);
    ck_assert_uint_ne(back[1]->random, m->random);
    ck_assert_uint_ne(back[1]->random, back[2]->random);
    tnm_run(m, 30000000);
    tnm_run(back[0], 30000000);
    ck_assert_uint_eq(tnm_state_hash(m), tnm_state_hash(back[0]));
    for (unsigned i = 0; i < 3; i++)
        tnm_destroy(back[i]);
    tnm_destroy(m);
    kit_clean();
}
END_TEST

/* Memory as devices reach it: written while it is saved, read and written while it is still in the
 * file. */
START_TEST(dma)
{
    enum { AT = 0x600000, LEN = 0x200000, TEXT = 0xb8000 };
    tnm_machine *m = kit_machine();
    uint8_t *was = malloc(LEN), *now = malloc(LEN);
    tnm_error err = {0};

    for (unsigned i = 0; i < LEN; i++)
        was[i] = (uint8_t)(i * 13 + (i >> 12));
    physmap_write_buf(m->mem, AT, was, LEN);
    ck_assert(tnm_save_begin(m, kit_path("a"), NULL, &err));
    memset(now, 0xee, LEN);
    physmap_write_buf(m->mem, AT + 1, now, LEN - 2);
    ck_assert_msg(tnm_save_wait(m, &err), "%s", err.text);
    physmap_read_buf(m->mem, AT, now, LEN);
    ck_assert(now[0] == was[0] && now[1] == 0xee && now[LEN - 2] == 0xee &&
              now[LEN - 1] == was[LEN - 1]);

    tnm_snapshot *s = kit_open(kit_path("a"));
    for (unsigned round = 0; round < 6; round++) {
        tnm_machine *back = m;
        if (round % 2)
            ck_assert_msg(tnm_snapshot_restore(m, s, NULL, &err), "%s", err.text);
        else
            back = tnm_snapshot_create(s, NULL, NULL, &err);
        ck_assert_msg(back != NULL, "%s", err.text);
        /* From the end, so that the thread that brings the rest has not been there. */
        for (unsigned at = LEN - 0x1000; at > LEN - 0x20000; at -= 0x1000) {
            physmap_write(back->mem, AT + at + 0xffe, 0x5555, 2);
            ck_assert_uint_eq(physmap_read(back->mem, AT + at + 0x500, 8), ld64(was + at + 0x500));
            physmap_write(back->mem, AT + at + 0xffe, ld16(was + at + 0xffe), 2);
        }
        physmap_read_buf(back->mem, AT, now, LEN);
        ck_assert_mem_eq(now, was, LEN);
        physmap_read_buf(back->mem, 0x900000, now, 0x100000);
        for (unsigned i = 0; i < 0x100000; i += 8)
            now[0] |= ld64(now + i) != 0;
        ck_assert_uint_eq(now[0], 0);
        if (back != m)
            tnm_destroy(back);
        physmap_write_buf(m->mem, 0x900000, was, 0x100000); /* zero in the file */
    }
    tnm_snapshot_close(s);
    tnm_destroy(m);
    free(was);
    free(now);
    kit_clean();
}
END_TEST

/* What is cached is no state: a wish to drop it is granted, and is not in the file. */
START_TEST(flushes_are_no_state)
{
    enum { WISHES = CPU_STOP | CPU_FLUSH | CPU_LEAVE | CPU_FLUSH_CODE };
    tnm_machine *m = kit_machine();
    tnm_error err = {0};

    kit_save(m, kit_path("a"), NULL);
    cpu_interrupt(m->cpu[0], CPU_FLUSH | CPU_FLUSH_CODE);
    kit_save(m, kit_path("b"), NULL);
    struct blob a = kit_read(kit_path("a")), b = kit_read(kit_path("b"));
    ck_assert_uint_eq(a.size, b.size);
    ck_assert_mem_eq(a.data, b.data, a.size);
    blob_free(&a);
    blob_free(&b);
    uint64_t hash = tnm_state_hash(m);
    cpu_interrupt(m->cpu[0], CPU_FLUSH_CODE);
    ck_assert_uint_eq(tnm_state_hash(m), hash);

    /* From a file that has them, as early ones may. */
    kit_change_field(kit_path("a"), kit_path("c"), "cpu0", "pending", WISHES);
    tnm_snapshot *s = kit_open(kit_path("c"));
    ck_assert_msg(tnm_snapshot_restore(m, s, NULL, &err), "%s", err.text);
    ck_assert_uint_eq(tnm_state_hash(m), hash);
    ck_assert_uint_eq(m->cpu[0]->pending & WISHES, 0);
    tnm_snapshot_close(s);
    ck_assert_int_eq(tnm_run(m, 1000000), TNM_STOP_SLICE);
    tnm_destroy(m);
    kit_clean();
}
END_TEST

/* From firmware into flat protected mode, interrupts off. */
static void go_flat(tnm_machine *m, uint32_t rip)
{
    struct cpu *cpu = m->cpu[0];

    cpu->cr0 |= CR0_PE;
    for (unsigned seg = SEG_ES; seg <= SEG_GS; seg++)
        cpu->seg[seg] =
            (struct segreg){.limit = 0xffffffff, .ar = seg == SEG_CS ? 0xc09b : 0xc093, .sel = 8};
    cpu_set_flags(cpu, 2);
    cpu->rip = rip;
    cpu->activity = CPU_ACTIVE;
    cpu_cr_changed(cpu);
}

/* Translated code writes memory that a save has still to copy: it must come to the keeper, whether
 * its page is in the TLB or not. The pages are written before, so that they are. */
START_TEST(translated_writes)
{
    /* mov edi, 0d00000h; mov [edi], eax; inc eax; add edi, 40h; cmp edi, 0e00000h; jb back; jmp first */
    static const uint8_t code[] = {0xbf, 0,    0, 0xd0, 0,    0x89, 0x07, 0x40, 0x83, 0xc7, 0x40,
                                   0x81, 0xff, 0, 0,    0xe0, 0,    0x72, 0xf2, 0xeb, 0xeb};
    enum { CODE = 0x200000, AT = 0xd00000, LEN = 0x100000 };
    tnm_config cfg;
    tnm_error err = {0};

    kit_config(&cfg);
    cfg.engine = TNM_ENGINE_JIT;
    tnm_machine *m = kit_create(&cfg);
    tnm_run(m, 10000000);
    physmap_write_buf(m->mem, CODE, code, sizeof(code));
    go_flat(m, CODE);
    tnm_run(m, 5000000);
    uint8_t *was = malloc(LEN), *saved = malloc(LEN);
    physmap_read_buf(m->mem, AT, was, LEN);
    ck_assert_uint_ne(ld32(was), 0);
    uint64_t hash = tnm_state_hash(m);
    ck_assert(tnm_save_begin(m, kit_path("a"), &(tnm_save_options){.threads = 1}, &err));
    tnm_run(m, 5000000);
    ck_assert_msg(tnm_save_wait(m, &err), "%s", err.text);
    physmap_read_buf(m->mem, AT, saved, LEN);
    ck_assert(memcmp(saved, was, LEN));

    uint64_t later = tnm_state_hash(m);
    tnm_snapshot *s = kit_open(kit_path("a"));
    for (unsigned e = 0; e < 3; e++) {
        tnm_snapshot_config(s, &cfg);
        cfg.clock = TNM_CLOCK_INSN;
        cfg.engine = (enum tnm_engine)e;
        tnm_machine *back = tnm_snapshot_create(s, &cfg, NULL, &err);
        ck_assert_msg(back != NULL, "%s", err.text);
        tnm_run(back, 5000000); /* pages come in as it writes them */
        ck_assert_uint_eq(tnm_state_hash(back), later);
        ck_assert_msg(tnm_snapshot_restore(back, s, NULL, &err), "%s", err.text);
        physmap_read_buf(back->mem, AT, saved, LEN);
        ck_assert_mem_eq(saved, was, LEN);
        ck_assert_uint_eq(tnm_state_hash(back), hash);
        tnm_destroy(back);
    }
    tnm_snapshot_close(s);
    tnm_destroy(m);
    free(was);
    free(saved);
    kit_clean();
}
END_TEST

static void count_field(void *opaque, const tnm_snapshot_field *f)
{
    unsigned *n = opaque;
    if (!strcmp(f->object, "pit") && !strncmp(f->name, "ch[1].", 6))
        n[0]++;
    if (!strcmp(f->object, "config") && !strcmp(f->name, "memory"))
        n[1] = f->count * (ld_sized(f->data, f->size) == 16 * MIB);
}

static void count_difference(void *opaque, const tnm_snapshot_difference *d)
{
    unsigned *n = opaque;
    if (d->a || d->b)
        n[0]++;
    else if (!strcmp(d->stream, "ram") && d->offset == 0x600000)
        n[1]++;
    else
        n[2]++;
}

START_TEST(looked_at)
{
    tnm_machine *m = kit_machine();
    unsigned fields[2] = {0}, differences[3] = {0};
    tnm_snapshot_info info;
    tnm_error err = {0};
    tnm_screen screen;
    bool same;

    ck_assert(tnm_snapshot_save(m, kit_path("a"), &(tnm_save_options){.name = "first"}, &err));
    tnm_get_screen(m, &screen);
    ck_assert(screen.changed); /* the thumbnail has not used that up */
    physmap_write(m->mem, 0x600123, 7, 1);
    ck_assert(tnm_snapshot_save(m, kit_path("b"), &(tnm_save_options){.no_thumbnail = true}, &err));
    tnm_snapshot *a = kit_open(kit_path("a")), *b = kit_open(kit_path("b"));
    tnm_snapshot_get_info(a, &info);
    ck_assert_str_eq(info.name, "first");
    ck_assert_str_eq(info.cpu_model, "max");
    ck_assert_uint_eq(info.memory, 16 * MIB);
    ck_assert_uint_eq(info.time_ns, tnm_time_ns(m));
    ck_assert_uint_eq(info.insns, tnm_insns(m));
    ck_assert(info.thumb && info.thumb_width && info.thumb_width <= 320 &&
              info.thumb_height <= 240);
    tnm_snapshot_fields(a, count_field, fields);
    ck_assert_uint_gt(fields[0], 3);
    ck_assert_uint_eq(fields[1], 1);
    ck_assert(tnm_snapshot_diff(a, b, count_difference, differences, &same, &err));
    ck_assert(!same);
    ck_assert_uint_eq(differences[0], 1); /* the name */
    ck_assert_uint_eq(differences[1], 1);
    ck_assert_uint_eq(differences[2], 0);
    ck_assert(tnm_snapshot_diff(a, a, NULL, NULL, &same, &err));
    ck_assert(same);
    tnm_snapshot_close(a);
    tnm_snapshot_close(b);
    tnm_destroy(m);
    kit_clean();
}
END_TEST

/* Whether firmware finds a file, and what is in it. */
static bool told(const tnm_machine *m, const char *name, const char *text)
{
    const struct fw_cfg *f = m->fw_cfg;

    for (uint32_t i = 0; i < f->files; i++) {
        if (!strcmp(f->name[i], name))
            return f->file[i].len == strlen(text) && !memcmp(f->file[i].data, text, strlen(text));
    }
    return false;
}

/* Tables that another version made: who was started with them sees them again after a reset, and a
 * machine that becomes another one has that one's. */
START_TEST(firmware_is_told_the_same)
{
    tnm_machine *m = kit_machine(), *other = kit_machine();
    tnm_error err = {0};

    ck_assert(fw_cfg_add_file(m->fw_cfg, "etc/acpi/tables", "older", 5));
    ck_assert(fw_cfg_add_file(m->fw_cfg, "opt/gone", "x", 1));
    ck_assert(fw_cfg_add_u16(m->fw_cfg, FW_CFG_BOOT_MENU, 0x1234));
    blob_free(&m->fw_items);
    ck_assert(fw_cfg_write(m->fw_cfg, &m->fw_items.data, &m->fw_items.size));
    kit_save(m, kit_path("told"), NULL);
    kit_save(other, kit_path("plain"), NULL);
    tnm_destroy(m);

    tnm_snapshot *s = kit_open(kit_path("told"));
    m = tnm_snapshot_create(s, NULL, NULL, &err);
    ck_assert_msg(m != NULL, "%s", err.text);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert(told(m, "etc/acpi/tables", "older"));
        ck_assert(told(m, "opt/gone", "x"));
        ck_assert_uint_eq(ld16(m->fw_cfg->key[FW_CFG_BOOT_MENU].data), 0x1234);
        tnm_reset(m);
        tnm_run(m, 1000000);
    }
    kit_save(m, kit_path("again"), NULL);
    tnm_destroy(m);

    ck_assert(tnm_snapshot_restore(other, s, NULL, &err));
    ck_assert(told(other, "opt/gone", "x"));
    tnm_snapshot_close(s);
    s = kit_open(kit_path("plain"));
    ck_assert(tnm_snapshot_restore(other, s, NULL, &err));
    ck_assert(!told(other, "opt/gone", "x") && !told(other, "etc/acpi/tables", "older"));
    ck_assert_uint_eq(ld16(other->fw_cfg->key[FW_CFG_BOOT_MENU].data), 0);
    tnm_snapshot_close(s);
    tnm_destroy(other);
}
END_TEST

/* Bytes that are no items, of any length, are refused. */
/* What devices use as indices, sizes and divisors, and no guest can set. */
START_TEST(device_nonsense)
{
    tnm_config cfg;

    kit_write(kit_path("disk"), kit_path("disk"), 4);
    ck_assert_int_eq(truncate(kit_path("disk"), 1 * MIB), 0);
    kit_config(&cfg);
    cfg.ndisks = 1;
    cfg.disks[0] = (tnm_disk){.path = kit_path("disk"), .format = "raw", .discard = true};
    tnm_machine *m = kit_create(&cfg);
    struct ide_drive *d = &m->ide->ch[0].drive[0];
    uint8_t sectors = d->sectors, *bar = &m->vga->pci.config[PCI_BAR0];
    uint32_t good = ld32(bar);

    kit_save(m, kit_path("good"), NULL);
    for (unsigned i = 0; i < 4; i++) {
        tnm_snapshot *s = kit_open(kit_path("good"));
        ck_assert(tnm_snapshot_restore(m, s, NULL, NULL));
        tnm_snapshot_close(s);
        d->multiple = i == 0 ? 255 : 0;
        d->sectors = i == 1 ? 0 : sectors;
        m->vga->dispi[DISPI_ENABLE] = i >= 2 ? DISPI_ENABLED : 0;
        m->vga->dispi[DISPI_BPP] = i == 2 ? 200 : 8;
        m->vga->dispi[DISPI_VIRT_WIDTH] = i == 3 ? 8 : 640;
        m->vga->dispi[DISPI_XRES] = 640;
        m->vga->dispi[DISPI_YRES] = 480;
        kit_save(m, kit_path("bad"), NULL);
        d->multiple = 0;
        d->sectors = sectors;
        m->vga->dispi[DISPI_ENABLE] = 0;
        refused(m, kit_path("bad"), NULL, TNM_ERR_FORMAT, "makes no sense");
    }
    /* These become what they can be. */
    memset(m->vga->gr, 0xff, sizeof(m->vga->gr));
    memset(m->vga->ar, 0xff, AR_MODE);
    m->vga->dispi[DISPI_BANK] = 0xffff;
    st32(bar, 0xe0000810);
    kit_save(m, kit_path("bad"), NULL);
    tnm_snapshot *s = kit_open(kit_path("bad"));
    ck_assert(tnm_snapshot_restore(m, s, NULL, NULL));
    tnm_snapshot_close(s);
    ck_assert_uint_eq(m->vga->gr[GR_COMPARE], 0x0f);
    ck_assert_uint_eq(m->vga->ar[0], 0x3f);
    ck_assert_uint_eq(m->vga->dispi[DISPI_BANK], (vga_vram_size(m->vga) >> 16) - 1);
    ck_assert_uint_eq(ld32(bar), (0xe0000810 & ~(vga_vram_size(m->vga) - 1)) | (good & 15));
    tnm_destroy(m);
    kit_clean();
}
END_TEST

START_TEST(told_nonsense)
{
    tnm_machine *m = kit_machine();
    uint8_t bad[64] = {0};

    for (size_t n = 1; n < m->fw_items.size && n < 4000; n++) {
        struct fw_cfg_items *x = fw_cfg_parse(m->fw_items.data, n);
        fw_cfg_items_free(x); /* at an item's end it is whole */
    }
    ck_assert(!fw_cfg_parse(bad, 7));
    st32(bad + 4, UINT32_MAX);
    ck_assert(!fw_cfg_parse(bad, sizeof(bad)));
    st32(bad + 4, 0);
    st16(bad + 2, UINT16_MAX);
    ck_assert(!fw_cfg_parse(bad, sizeof(bad)));
    st16(bad + 2, 0);
    ck_assert(!fw_cfg_parse(bad, 16)); /* one key twice */
    st16(bad, FW_CFG_FILE_FIRST);      /* a file without a name */
    ck_assert(!fw_cfg_parse(bad, 8));
    st16(bad, FW_CFG_FILE_DIR);
    ck_assert(!fw_cfg_parse(bad, 8));
    tnm_destroy(m);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {refusal_changes_nothing,
                                  contents_damaged,
                                  damaged_while_saved,
                                  many_copies,
                                  dma,
                                  flushes_are_no_state,
                                  translated_writes,
                                  looked_at,
                                  firmware_is_told_the_same,
                                  told_nonsense,
                                  device_nonsense};
    return RUN_TESTS("snapshot_machine", tests);
}
