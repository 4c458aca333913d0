/* Guests that go wrong in ways that once hung the machine or must reset it. The firmware is the
 * distribution's (package seabios).
 */
#include "include/tinamou.h"
#include "tests/unit/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MSEC      1000000ull
#define EXIT_PORT 0x501

static bool triple_fault_told;

static void log_line(void *opaque, const char *subsystem, const char *line)
{
    if (!strcmp(subsystem, "reset") && strstr(line, "triple fault"))
        triple_fault_told = true;
}

static tnm_machine *boot(const char *disk)
{
    tnm_config cfg;
    tnm_error err = {0};

    tnm_config_init(&cfg);
    cfg.memory = 16 << 20;
    cfg.clock = TNM_CLOCK_INSN;
    cfg.debug_exit_port = EXIT_PORT;
    cfg.disks[0] = (tnm_disk){.path = disk, .format = "raw", .readonly = true};
    cfg.ndisks = 1;
    cfg.log = "reset";
    cfg.log_line = log_line;
    tnm_machine *m = tnm_create(&cfg, &err);
    ck_assert_msg(m != NULL, "%s", err.text);
    return m;
}

START_TEST(triple_fault_resets)
{
    tnm_machine *m = boot(TRIPLE_FAULT_BIN);
    enum tnm_stop why = TNM_STOP_SLICE;

    for (unsigned k = 0; k < 2000 && why == TNM_STOP_SLICE; k++)
        why = tnm_run(m, 10 * MSEC);
    ck_assert_int_eq(why, TNM_STOP_EXIT);
    ck_assert_int_eq(tnm_exit_status(m), 0x15 << 1 | 1);
    ck_assert(triple_fault_told);
    tnm_destroy(m);
}
END_TEST

START_TEST(handler_that_faults)
{
    static const uint8_t code[] = {
        0xfa,                               /* cli */
        0xb8, 0x00, 0x80, 0x8e, 0xd0,       /* mov ax, 8000h; mov ss, ax: frames go round in it */
        0x31, 0xc0, 0x8e, 0xd8, 0x31, 0xe4, /* xor ax, ax; mov ds, ax; xor sp, sp */
        0xc7, 0x06, 0x18, 0x00, 0x15, 0x7c, /* mov word [6 * 4], handler */
        0xa3, 0x1a, 0x00,                   /* mov [6 * 4 + 2], ax */
        0x0f, 0x0b,                         /* handler: ud2, at 7c15h */
    };
    uint8_t sector[512] = {0};
    char path[] = "/tmp/tnm-test-XXXXXX";
    int fd = mkstemp(path);

    memcpy(sector, code, sizeof(code));
    sector[510] = 0x55;
    sector[511] = 0xaa;
    ck_assert(fd >= 0 && write(fd, sector, sizeof(sector)) == sizeof(sector));
    close(fd);
    tnm_machine *m = boot(path);
    unlink(path);
    tnm_stats st = {0};
    for (unsigned k = 0; k < 20000 && st.exceptions < 100000; k++) {
        /* time goes on, though no instruction of the handler ever ends */
        uint64_t before = tnm_time_ns(m);
        ck_assert_int_eq(tnm_run(m, MSEC), TNM_STOP_SLICE);
        ck_assert_uint_ge(tnm_time_ns(m), before + MSEC);
        tnm_get_stats(m, &st);
    }
    ck_assert_uint_ge(st.exceptions, 100000);
    tnm_destroy(m);
}
END_TEST

START_TEST(input_between_runs)
{
    tnm_machine *m = boot(TRIPLE_FAULT_BIN);

    /* Keys schedule events for a time that has come already. */
    for (unsigned k = 0; k < 200; k++) {
        tnm_key(m, 0x1e, k & 1);
        tnm_mouse(m, 1, 1, 0, k & 1);
        ck_assert_int_eq(tnm_run(m, 20000), TNM_STOP_SLICE);
    }
    tnm_destroy(m);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {triple_fault_resets, handler_that_faults, input_between_runs};
    return RUN_TESTS("hostile guest", tests);
}
