/* The machine through its public header: refused configurations, small guests from boot sector,
 * bzImage and multiboot file, limits, reset, and that equal runs end in equal states. The firmware
 * is the distribution's (package seabios).
 */
#include "include/tinamou.h"
#include "tests/unit/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MSEC 1000000ull
#define EXIT_PORT 0x501

static char files[8][64];
static unsigned nfiles;

static const char *make_file(const void *data, size_t size, size_t padded)
{
    static const char zero[4096];
    char *name = files[nfiles++];
    strcpy(name, "/tmp/tnm-test-XXXXXX");
    int fd = mkstemp(name);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, size), (ssize_t)size);
    for (size_t n = size; n < padded; n += sizeof(zero))
        ck_assert_int_ge(write(fd, zero, sizeof(zero)), 0);
    close(fd);
    return name;
}

static void remove_files(void)
{
    while (nfiles)
        unlink(files[--nfiles]);
}

static void config(tnm_config *cfg)
{
    tnm_config_init(cfg);
    cfg->memory = 16 << 20;
    cfg->clock = TNM_CLOCK_INSN;
    cfg->debug_exit_port = EXIT_PORT;
}

static tnm_machine *create(const tnm_config *cfg)
{
    tnm_error err = {0};
    tnm_machine *m = tnm_create(cfg, &err);
    ck_assert_msg(m != NULL, "%s", err.text);
    return m;
}

/* A disk whose boot sector is code. */
static const char *boot_disk(const void *code, size_t size)
{
    uint8_t sector[512] = {0};
    memcpy(sector, code, size);
    sector[510] = 0x55;
    sector[511] = 0xaa;
    return make_file(sector, sizeof(sector), 1 << 20);
}

static const uint8_t exit_code[] = {
    0xba, 0x01, 0x05, /* mov dx, 501h */
    0xb0, 0x15,       /* mov al, 15h */
    0xee,             /* out dx, al */
    0xf4,             /* hlt */
};

static enum tnm_stop run_until_stop(tnm_machine *m, uint64_t slice)
{
    enum tnm_stop why = TNM_STOP_SLICE;
    for (uint64_t t = 0; t < 20000 * MSEC && why == TNM_STOP_SLICE; t += slice)
        why = tnm_run(m, slice);
    return why;
}

static void refused(const tnm_config *cfg, enum tnm_code code, const char *says)
{
    tnm_error err = {0};
    ck_assert_msg(!tnm_create(cfg, &err), "not refused: %s", says);
    ck_assert_msg(strstr(err.text, says) != NULL, "\"%s\" does not say \"%s\"", err.text, says);
    ck_assert_int_eq(err.code, code);
}

START_TEST(bad_configurations)
{
    tnm_config cfg;

    config(&cfg);
    cfg.memory = 0;
    refused(&cfg, TNM_ERR_INVALID, "memory");
    cfg.memory = 1ull << 38;
    refused(&cfg, TNM_ERR_NOMEM, "--memory");
    config(&cfg);
    cfg.cpus = 9;
    refused(&cfg, TNM_ERR_INVALID, "9 CPUs");
    config(&cfg);
    cfg.cpu_model = "8088";
    refused(&cfg, TNM_ERR_INVALID, "8088");
    config(&cfg);
    cfg.cpu_model = "486";
    cfg.cpus = 2;
    refused(&cfg, TNM_ERR_INVALID, "local APIC");
    config(&cfg);
    cfg.firmware = "/nonexistent/bios";
    refused(&cfg, TNM_ERR_NOTFOUND, "/nonexistent/bios");
    cfg.firmware = make_file("", 0, 0);
    refused(&cfg, TNM_ERR_FORMAT, "0 bytes");
    cfg.firmware = make_file("abc", 3, 0);
    refused(&cfg, TNM_ERR_FORMAT, "64 KiB");
    config(&cfg);
    cfg.vga_firmware = make_file("abc", 3, 0);
    refused(&cfg, TNM_ERR_FORMAT, "--vga-firmware");
    config(&cfg);
    cfg.boot = "cx";
    refused(&cfg, TNM_ERR_INVALID, "boot order");
    config(&cfg);
    cfg.append = "x";
    refused(&cfg, TNM_ERR_INVALID, "--kernel");
    config(&cfg);
    cfg.kernel = make_file("abc", 3, 0);
    refused(&cfg, TNM_ERR_FORMAT, "neither");
    config(&cfg);
    cfg.log = "io,nonsense";
    refused(&cfg, TNM_ERR_INVALID, "nonsense");
    config(&cfg);
    cfg.clock = TNM_CLOCK_HOST;
    cfg.state_hash_every = 1000;
    refused(&cfg, TNM_ERR_INVALID, "instruction clock");
    config(&cfg);
    cfg.floppy = make_file("abc", 3, 4 << 20);
    refused(&cfg, TNM_ERR_FORMAT, "diskette");
    remove_files();
}
END_TEST

static void boot_sector_twice(unsigned cpus)
{
    tnm_config cfg;
    uint64_t hash[2], insns[2];
    char text[8192];

    config(&cfg);
    cfg.cpus = cpus;
    cfg.disks[0] = (tnm_disk){.path = boot_disk(exit_code, sizeof(exit_code)), .format = "raw",
                              .discard = true};
    cfg.ndisks = 1;
    for (int run = 0; run < 2; run++) { /* the caller's slices do not matter */
        tnm_machine *m = create(&cfg);
        ck_assert_int_eq(run_until_stop(m, run ? 10 * MSEC : 777777), TNM_STOP_EXIT);
        ck_assert_int_eq(tnm_exit_status(m), 0x15 << 1 | 1);
        ck_assert_uint_gt(tnm_get_text(m, text, sizeof(text)), 0);
        ck_assert(strstr(text, "SeaBIOS") && strstr(text, "Booting from Hard Disk"));
        hash[run] = tnm_state_hash(m);
        insns[run] = tnm_insns(m);
        tnm_reset(m); /* boots again */
        ck_assert_int_eq(run_until_stop(m, 10 * MSEC), TNM_STOP_EXIT);
        ck_assert_uint_gt(tnm_insns(m), insns[run]);
        tnm_destroy(m);
    }
    ck_assert_uint_eq(insns[0], insns[1]);
    ck_assert_uint_eq(hash[0], hash[1]);
    remove_files();
}

START_TEST(boot_sector_and_repeatability)
{
    boot_sector_twice(1);
}
END_TEST

START_TEST(several_cpus_and_repeatability)
{
    boot_sector_twice(3); /* the firmware starts the others */
}
END_TEST

static unsigned hashes;
static void count_hash(void *opaque, uint64_t insns, uint64_t hash)
{
    hashes++;
    ck_assert_uint_eq(insns, hashes * 100000ull);
}

START_TEST(limits)
{
    tnm_config cfg;
    config(&cfg);
    cfg.state_hash_every = 100000;
    cfg.state_hash = count_hash;
    tnm_machine *m = create(&cfg);

    tnm_set_limits(m, 0, 123456);
    ck_assert_int_eq(tnm_run(m, 1000 * MSEC), TNM_STOP_LIMIT);
    ck_assert_uint_eq(tnm_insns(m), 123456);
    ck_assert_uint_eq(hashes, 1);
    tnm_set_limits(m, 700 * MSEC, 0);
    ck_assert_int_eq(tnm_run(m, 1000 * MSEC), TNM_STOP_LIMIT);
    ck_assert(tnm_time_ns(m) >= 700 * MSEC && tnm_time_ns(m) < 700 * MSEC + 100);
    tnm_set_limits(m, 0, 0);
    tnm_stop(m);
    ck_assert_int_eq(tnm_run(m, 1000 * MSEC), TNM_STOP_REQUEST);
    ck_assert_int_eq(tnm_run(m, MSEC), TNM_STOP_SLICE);
    tnm_destroy(m);
}
END_TEST

static char heard[16];
static void serial_out(void *opaque, uint8_t byte)
{
    size_t n = strlen(heard);
    if (n < sizeof(heard) - 1)
        heard[n] = (char)byte;
}

START_TEST(serial_and_host_clock)
{
    static const uint8_t echo[] = {
        0xba, 0xf8, 0x03, 0xb0, 'H', 0xee, /* mov dx, 3f8h; mov al, 'H'; out dx, al */
        0x42, 0x42, 0x42, 0x42, 0x42,      /* inc dx, to the line status register */
        0xec, 0xa8, 0x01, 0x74, 0xfb,      /* in al, dx; test al, 1; jz to in */
        0x83, 0xea, 0x05, 0xec, 0xee,      /* sub dx, 5; in al, dx; out dx, al */
        0xba, 0x01, 0x05, 0xee,            /* mov dx, 501h; out dx, al */
        0xf4,
    };
    tnm_config cfg;
    config(&cfg);
    cfg.clock = TNM_CLOCK_HOST;
    cfg.nserials = 1;
    cfg.serial[0].out = serial_out;
    cfg.disks[0] = (tnm_disk){.path = boot_disk(echo, sizeof(echo)), .format = "raw",
                              .interface = TNM_IF_VIRTIO, .readonly = true};
    cfg.ndisks = 1;
    tnm_machine *m = create(&cfg);
    enum tnm_stop why = TNM_STOP_SLICE;
    for (int i = 0; i < 1500 && why == TNM_STOP_SLICE; i++) {
        why = tnm_run(m, 10 * MSEC);
        if (!strcmp(heard, "H"))
            tnm_serial_input(m, 0, "q", 1);
    }
    ck_assert_int_eq(why, TNM_STOP_EXIT);
    ck_assert_str_eq(heard, "Hq");
    ck_assert_int_eq(tnm_exit_status(m), 'q' << 1 | 1);
    tnm_destroy(m);
    remove_files();
}
END_TEST

START_TEST(linux_protocol)
{
    /* A bzImage whose setup code exits with the first byte of its command line, and one that has
     * lost its end. */
    static const uint8_t code[] = {
        0xb8, 0x00, 0x20, 0x8e, 0xd8, /* mov ax, 2000h; mov ds, ax */
        0xa0, 0x00, 0x00,             /* mov al, [0] */
        0xba, 0x01, 0x05, 0xee, 0xf4, /* mov dx, 501h; out dx, al; hlt */
    };
    uint8_t image[2048] = {0};
    tnm_config cfg;

    image[0x1f1] = 2;    /* setup sectors */
    image[0x1f4] = 32;   /* 512 bytes of kernel */
    memcpy(image + 0x1fe, "\x55\xaa\xeb\x6e" "HdrS", 8);
    image[0x206] = 0x0a; /* version 2.10 */
    image[0x207] = 0x02;
    image[0x211] = 1;    /* loaded high */
    memcpy(image + 0x22c, "\xff\xff\xff\x37", 4);
    image[0x239] = 1;    /* command line up to 256 */
    memcpy(image + 0x270, code, sizeof(code));
    config(&cfg);
    cfg.kernel = make_file(image, sizeof(image), 0);
    cfg.initrd = make_file("initrd", 6, 0);
    cfg.append = "*";
    tnm_machine *m = create(&cfg);
    ck_assert_int_eq(run_until_stop(m, 10 * MSEC), TNM_STOP_EXIT);
    ck_assert_int_eq(tnm_exit_status(m), '*' << 1 | 1);
    tnm_destroy(m);

    image[0x1f4] = 100;
    cfg.kernel = make_file(image, sizeof(image), 0);
    refused(&cfg, TNM_ERR_FORMAT, "cut short");
    remove_files();
}
END_TEST

START_TEST(multiboot)
{
    /* ELF32, one segment at 1 MiB: exits with the number of modules if EAX is right. */
    /* clang-format off */
    static const uint8_t elf[] = {
        0x7f, 'E', 'L', 'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        2, 0, 3, 0, 1, 0, 0, 0, 0x60, 0, 0x10, 0, 52, 0, 0, 0, /* entry 100060h, headers at 52 */
        0, 0, 0, 0, 0, 0, 0, 0, 52, 0, 32, 0, 1, 0, 0, 0,
        0, 0, 0, 0,
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0x10, 0,   /* load all of it at 100000h */
        0x80, 0, 0, 0, 0, 0x10, 0, 0, 7, 0, 0, 0, 0, 0x10, 0, 0,
        0x02, 0xb0, 0xad, 0x1b, 3, 0, 0, 0, 0xfb, 0x4f, 0x52, 0xe4, /* multiboot header, at 54h */
        0x3d, 0x02, 0xb0, 0xad, 0x2b, 0x75, 0x0a,               /* cmp eax, magic; jne */
        0x66, 0xba, 0x01, 0x05, 0x8a, 0x43, 0x14, 0xee,         /* mov al, [ebx+20]; out dx, al */
        0xf4, 0xeb, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    };
    /* clang-format on */
    tnm_config cfg;

    config(&cfg);
    cfg.kernel = make_file(elf, sizeof(elf), 0x80);
    cfg.initrd = make_file("module", 6, 0);
    cfg.append = "some words";
    tnm_machine *m = create(&cfg);
    ck_assert_int_eq(run_until_stop(m, 10 * MSEC), TNM_STOP_EXIT);
    ck_assert_int_eq(tnm_exit_status(m), 3);
    tnm_destroy(m);
    remove_files();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {bad_configurations,
                                  boot_sector_and_repeatability,
                                  several_cpus_and_repeatability,
                                  limits,
                                  serial_and_host_clock,
                                  linux_protocol,
                                  multiboot};
    return RUN_TESTS("machine", tests);
}
