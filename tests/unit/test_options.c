/* The command line: what is understood, and that everything else is refused. */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "frontend/options.h"
#include "tests/unit/suite.h"

static struct options opt;

/* Parses up to four arguments; what is refused explains itself on stderr, which CTest keeps. */
static bool parse(const char *a, const char *b, const char *c, const char *d)
{
    static char copy[4][256];
    const char *in[4] = {a, b, c, d};
    char *argv[4];
    int argc = 0;

    for (; argc < 4 && in[argc]; argc++) {
        snprintf(copy[argc], sizeof(copy[argc]), "%s", in[argc]);
        argv[argc] = copy[argc];
    }
    options_free(&opt);
    return options_parse_run(&opt, argc, argv);
}
#define PARSE1(a) parse(a, NULL, NULL, NULL)
#define PARSE2(a, b) parse(a, b, NULL, NULL)
#define PARSE4(a, b, c, d) parse(a, b, c, d)

START_TEST(sizes)
{
    static const char *const bad[] = {
        "", "M", "12Q", "12MM", "12Mi", " 12M", "12 M", "-1M", "+1M", "1.5G", "0", "64", "0x",
        "99999999999999999999", "17179869184G", "18446744073709551615T",
    };
    ck_assert(PARSE2("--memory", "64M"));
    ck_assert_uint_eq(opt.cfg.memory, 64 * MIB);
    ck_assert(PARSE1("--memory=1g"));
    ck_assert_uint_eq(opt.cfg.memory, GIB);
    ck_assert(PARSE1("--memory=0x100000"));
    ck_assert_uint_eq(opt.cfg.memory, MIB);
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(!PARSE2("--memory", bad[i]), "'%s' is no size", bad[i]);
}
END_TEST

START_TEST(disks)
{
    ck_assert(PARSE4("--disk", "a,,b.img,format=qcow2,readonly=on", "--disk",
                     "/x=y.img,if=virtio,discard=on"));
    ck_assert_uint_eq(opt.cfg.ndisks, 2);
    ck_assert_str_eq(opt.cfg.disks[0].path, "a,b.img");
    ck_assert_str_eq(opt.cfg.disks[0].format, "qcow2");
    ck_assert(opt.cfg.disks[0].readonly && !opt.cfg.disks[0].discard);
    ck_assert_int_eq(opt.cfg.disks[0].interface, TNM_IF_IDE);
    ck_assert_str_eq(opt.cfg.disks[1].path, "/x=y.img");
    ck_assert_ptr_null(opt.cfg.disks[1].format);
    ck_assert_int_eq(opt.cfg.disks[1].interface, TNM_IF_VIRTIO);
    ck_assert(opt.cfg.disks[1].discard);

    ck_assert(!PARSE2("--disk", ""));
    ck_assert(!PARSE2("--disk", ",if=ide"));
    ck_assert(!PARSE2("--disk", "a,"));
    ck_assert(!PARSE2("--disk", "a,if=scsi"));
    ck_assert(!PARSE2("--disk", "a,format=vdi"));
    ck_assert(!PARSE2("--disk", "a,readonly"));
    ck_assert(!PARSE2("--disk", "a,readonly=yes"));
    ck_assert(!PARSE2("--disk", "a,cache=none"));
}
END_TEST

START_TEST(values)
{
    ck_assert(PARSE1("--limit-time=1.000000001"));
    ck_assert_uint_eq(opt.limit_ns, 1000000001);
    ck_assert(!PARSE1("--limit-time=1."));
    ck_assert(!PARSE1("--limit-time=0"));
    ck_assert(!PARSE1("--limit-time=1e3"));
    ck_assert(PARSE1("--limit-insns=1000"));
    ck_assert_uint_eq(opt.limit_insns, 1000);
    ck_assert(!PARSE1("--limit-insns=1k"));
    ck_assert(PARSE1("--debug-exit=0xf4"));
    ck_assert_int_eq(opt.cfg.debug_exit_port, 0xf4);
    ck_assert(!PARSE1("--debug-exit=0x10000"));
    ck_assert(PARSE1("--boot=dca"));
    ck_assert(!PARSE1("--boot=cc"));
    ck_assert(!PARSE1("--boot=x"));
    ck_assert(!PARSE1("--cpus=9"));
    ck_assert(!PARSE1("--cpus=0"));
    ck_assert(!PARSE1("--cpu=6502"));
    ck_assert(!PARSE1("--engine=fast"));
    ck_assert(PARSE1("--engine=interp"));
    ck_assert(PARSE1("--jit-symbols=gdb"));
    ck_assert(opt.symbols_gdb && !opt.symbols_perf);
    ck_assert(PARSE1("--jit-symbols=perf,gdb"));
    ck_assert(opt.symbols_gdb && opt.symbols_perf);
    ck_assert(!PARSE1("--jit-symbols="));
    ck_assert(!PARSE1("--jit-symbols=perf,"));
    ck_assert(!PARSE1("--jit-symbols=vtune"));
    ck_assert(PARSE1("--stats-accesses"));
    ck_assert(opt.stats && opt.cfg.count_accesses);
    ck_assert(PARSE1("--stats"));
    ck_assert(opt.stats && !opt.cfg.count_accesses);
    ck_assert(!PARSE1("--clock=wall"));
    ck_assert(PARSE4("--serial", "file:/a:b", "--serial", "null"));
    ck_assert_uint_eq(opt.nserials, 2);
    ck_assert_str_eq(opt.serial[0].path, "/a:b");
    ck_assert(!PARSE1("--serial=file:"));
    ck_assert(!PARSE4("--serial", "stdio", "--serial", "stdio"));
    ck_assert(PARSE1("--log=int,io=on"));
    ck_assert_str_eq(opt.cfg.log, "int,io");
    ck_assert(PARSE1("--log=int,io,int=off"));
    ck_assert_str_eq(opt.cfg.log, "io");
    ck_assert(!PARSE1("--log="));
    ck_assert(!PARSE1("--log=io,"));
    ck_assert(!PARSE1("--log=io=3"));
}
END_TEST

START_TEST(snapshots)
{
    ck_assert(PARSE4("--restore", "a.snap", "--fresh-identity", "--clock=insn"));
    ck_assert_str_eq(opt.restore, "a.snap");
    ck_assert(opt.fresh_identity && opt.clock_given);
    ck_assert(PARSE4("--restore=a.snap", "--disk=elsewhere.img", "--cdrom=cd.iso", "--headless"));
    ck_assert(PARSE4("--restore=a.snap", "--state-hash-every=1000", NULL, NULL)); /* its own clock */
    ck_assert(PARSE2("--name=box", "--snapshot-dir=/tmp"));
    ck_assert_str_eq(opt.name, "box");
    ck_assert_str_eq(opt.snapshot_dir, "/tmp");
    ck_assert(!PARSE1("--restore="));
    ck_assert(!PARSE2("--restore=a.snap", "--memory=64M"));
    ck_assert(!PARSE2("--cpu=386", "--restore=a.snap"));
    ck_assert(!PARSE2("--restore=a.snap", "--disk=a,if=virtio"));
    ck_assert(!PARSE1("--fresh-identity"));
    ck_assert(!PARSE1("--name=a/b"));
    ck_assert(!PARSE1("--name=.a"));
    ck_assert(!PARSE1("--name="));
    ck_assert(!PARSE1("--snapshot-dir="));
    ck_assert(PARSE2("--restore=a.snap", "--parent=a.snap"));
    ck_assert_str_eq(opt.parent, "a.snap");
    ck_assert(!PARSE1("--parent="));
}
END_TEST

START_TEST(options)
{
    ck_assert(PARSE1("--mem=2M")); /* unambiguous */
    ck_assert(!PARSE1("--limit=1"));
    ck_assert(!PARSE1("--limit-"));
    ck_assert(!PARSE1("--nonsense"));
    ck_assert(!PARSE1("--"));
    ck_assert(!PARSE1("-m"));
    ck_assert(!PARSE1("disk.img"));
    ck_assert(!PARSE1("--stats=yes"));
    ck_assert(!PARSE1("--memory"));
    ck_assert(!PARSE2("--headless", "--window"));
    ck_assert(!PARSE2("--initrd", "x"));
    ck_assert(!PARSE2("--state-hash-every", "1000"));
    ck_assert(PARSE4("--state-hash-every", "1000", "--clock", "insn"));
    ck_assert(PARSE1("--cpu=max")); /* ends in '=' and a value, not a prefix of --cpus */
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {sizes, disks, values, snapshots, options};
    return RUN_TESTS("options", tests);
}
