/* Makes a snapshot to be kept under fixtures/, when a version of the format is released:
 *
 *     make_fixture ROM DELTA.snap BASE.snap
 *
 * ROM is fixture.asm, assembled: no firmware of others is in the files. BASE is a complete snapshot,
 * DELTA one on it of some time later.
 */
#include <stdio.h>
#include <stdlib.h>

#include "include/tinamou.h"

static void die(const char *what)
{
    fprintf(stderr, "make_fixture: %s\n", what);
    exit(1);
}

int main(int argc, char **argv)
{
    static const unsigned char vga_rom[512] = {0x55, 0xaa, 1, 0xcb};
    const char *vga = "fixture-vga.rom";
    tnm_error err = {0};
    tnm_config cfg;

    if (argc != 4)
        die("usage: make_fixture ROM DELTA BASE");
    FILE *f = fopen(vga, "wb");
    if (!f || fwrite(vga_rom, 1, sizeof(vga_rom), f) != sizeof(vga_rom) || fclose(f))
        die("cannot write here");
    tnm_config_init(&cfg);
    cfg.memory = 1 << 20;
    cfg.clock = TNM_CLOCK_INSN;
    cfg.firmware = argv[1];
    cfg.vga_firmware = vga;
    tnm_machine *m = tnm_create(&cfg, &err);
    if (!m)
        die(err.text);
    tnm_run(m, 30000000);
    tnm_save_options opt = {.name = "fixture"};
    if (!tnm_snapshot_save(m, argv[3], &opt, &err))
        die(err.text);
    tnm_run(m, 30000000);
    opt.parent = argv[3];
    if (!tnm_snapshot_save(m, argv[2], &opt, &err))
        die(err.text);
    tnm_destroy(m);
    remove(vga);
    return 0;
}
