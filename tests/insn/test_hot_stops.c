/* What must stop code that is hot, in the middle of a unit or a loop, with both engines: an interrupt, soon
 * and whatever the code looks like; EFLAGS.TF, breakpoints and watchpoints, after exactly the instruction they
 * are due at. The guest itself sets the latter up when its loop has run a thousand times.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "cpu/jit/jit.h"
#include "tests/insn/sys_cpu.h"

enum {
    PROGRAM = 0x100000,
    OTHER = PROGRAM + PAGE_SIZE,
    HANDLER = 0x110000,
    NUMBERS = 0x120000, /* of rounds; the loop's data behind it */
    LOG = 0x130000,
    WARM = 1000,  /* rounds before anything is armed ... */
    ROUNDS = 200, /* ... and after that */
    SOON = 1000,  /* instructions until an interrupt is taken */
    VECTOR = 0x60,
};

static const unsigned thresholds[] = {0 /* interpreted */, 1, 16};

static void begin(unsigned threshold)
{
    new_cpu("max");
    if (threshold)
        cpu_use_translator(cpu, 16 * MIB,
                           threshold); /* or there is no backend: it is interpreted then */
    long_mode(0);
    cpu->r[REG_BX] = NUMBERS + 8;
}

static void finish(unsigned threshold)
{
    if (threshold && cpu->tr.jit) /* or this has shown nothing */
        ck_assert_uint_gt(jit_stats(cpu->tr.jit)->insns_run, WARM);
    drop_cpu();
}

static void put_code(uint64_t at, const void *code, size_t n)
{
    physmap_write_buf(map, at, code, n);
}

/* ---- breakpoints, watchpoints, single steps ---------------------------------------------------------- */

/* Offsets of the loop's instructions. */
enum {
    INC = 0,
    LOAD = 8,
    ADD = 11,
    STORE = 15,
    TEST = 19,
    JNZ = 21,
    RARE = 23,
    AGAIN = 27,
    COMPARE = 30,
    JNE = 42,
    ARM = 44
};

/* Three blocks, one of them in every fourth round only; then, once, arm. Where DEC is. */
static unsigned put_loop(const void *arm, unsigned n)
{
    uint8_t code[96] =
        "\x48\xff\x04\x25\x00\x00\x12\x00"                 /* inc qword [NUMBERS] */
        "\x48\x8b\x03"                                     /* mov rax, [rbx] */
        "\x48\x83\xc0\x01"                                 /* add rax, 1 */
        "\x48\x89\x43\x08"                                 /* mov [rbx+8], rax */
        "\xa8\x03"                                         /* test al, 3 */
        "\x75\x04"                                         /* jnz AGAIN */
        "\x48\x83\xc2\x02"                                 /* add rdx, 2 */
        "\x48\x89\x03"                                     /* mov [rbx], rax */
        "\x48\x81\x3c\x25\x00\x00\x12\x00\xe8\x03\x00\x00" /* cmp qword [NUMBERS], WARM */
        "\x75";                                            /* jne DEC */
    unsigned dec = ARM + n;

    code[ARM - 1] = (uint8_t)n;
    memcpy(code + ARM, arm, n);
    memcpy(code + dec, "\xff\xc9\x75", 3); /* dec ecx; jnz INC */
    code[dec + 3] = (uint8_t) - (int)(dec + 4);
    memcpy(code + dec + 4, "\x0f\x0b", 2); /* ud2: its handler halts, TF or not */
    put_code(PROGRAM, code, sizeof(code));
    return dec;
}

/* #DB: notes where, and goes on with RF set. */
static void put_log_handler(void)
{
    static const char code[] = "\x50"                         /* push rax */
                               "\x48\x8b\x44\x24\x08"         /* mov rax, [rsp+8] */
                               "\x49\x89\x07"                 /* mov [r15], rax */
                               "\x49\x83\xc7\x08"             /* add r15, 8 */
                               "\x81\x4c\x24\x18\x00\x00\x01" /* or dword [rsp+24], 10000h */
                               "\x00\x58\x48\xcf";            /* pop rax; iretq */
    put_code(HANDLER, code, sizeof(code) - 1);
    put_gate(EXC_DB, K_CODE64, HANDLER, SYS_INT32, 0, true, 0);
    cpu->r[15] = LOG;
}

static void run_to_halt(void)
{
    uint64_t done;

    cpu->r[REG_CX] = WARM + ROUNDS;
    cpu->r[REG_DX] = 0;
    cpu->rip = PROGRAM;
    while (cpu->activity == CPU_ACTIVE)
        cpu_run(cpu, 100000, &done);
    ck_assert_int_eq(cpu->activity, CPU_HALTED);
    ck_assert_uint_eq(cpu->rip & ~15ull, handler(EXC_UD));
    ck_assert_uint_eq(get(NUMBERS, 8), WARM + ROUNDS);
    ck_assert_uint_eq(get(NUMBERS + 8, 8), WARM + ROUNDS);
    ck_assert_uint_eq(cpu->r[REG_DX], (WARM + ROUNDS) / 4 * 2);
}

static unsigned logged;

/* The next entry is of the instruction at offset. */
static void expect(unsigned round, unsigned offset)
{
    uint64_t at = LOG + 8 * logged++;
    ck_assert_msg(at < cpu->r[15], "in round %u nothing came at %x", round, offset);
    ck_assert_msg(get(at, 8) == PROGRAM + offset, "in round %u: %x, not %x", round,
                  (unsigned)get(at, 8) - PROGRAM, offset);
}

static void expect_no_more(void)
{
    ck_assert_uint_eq(cpu->r[15], LOG + 8 * logged);
}

static const char set_dr7[] = "\x41\x0f\x23\xfe"; /* mov dr7, r14 */

static void begin_debugging(unsigned threshold)
{
    begin(threshold);
    put_log_handler();
    put_loop(set_dr7, 4);
    logged = 0;
}

START_TEST(breakpoints)
{
    for (unsigned k = 0; k < ARRAY_LEN(thresholds); k++) {
        begin_debugging(thresholds[k]);
        cpu->dr[0] = PROGRAM + AGAIN;
        cpu->dr[1] = PROGRAM + RARE;
        cpu->r[14] = 0x405;
        run_to_halt();
        for (unsigned round = WARM + 1; round <= WARM + ROUNDS; round++) {
            if (round % 4 == 0)
                expect(round, RARE);
            expect(round, AGAIN);
        }
        expect_no_more();
        finish(thresholds[k]);
    }
}
END_TEST

/* One for stores alone, one for loads too, both to addresses that the translator checks as one span. */
START_TEST(watchpoints)
{
    for (unsigned k = 0; k < ARRAY_LEN(thresholds); k++) {
        begin_debugging(thresholds[k]);
        cpu->dr[0] = NUMBERS + 16;
        cpu->dr[1] = NUMBERS + 8;
        cpu->r[14] = 0x405 | 9 << 16 | 0xb << 20; /* eight bytes written; eight touched */
        run_to_halt();
        for (unsigned round = WARM + 1; round <= WARM + ROUNDS; round++) {
            expect(round, ADD);
            expect(round, TEST);
            expect(round, COMPARE);
        }
        expect_no_more();
        finish(thresholds[k]);
    }
}
END_TEST

START_TEST(single_steps)
{
    for (unsigned k = 0; k < ARRAY_LEN(thresholds); k++) {
        static const char set_tf[] =
            "\x9c\x80\x4c\x24\x01\x01\x9d"; /* pushf; or byte [rsp+1], 1; popf */
        unsigned dec;

        begin_debugging(thresholds[k]);
        dec = put_loop(set_tf, sizeof(set_tf) - 1);
        run_to_halt();
        for (unsigned round = WARM + 1; round <= WARM + ROUNDS; round++) {
            static const uint8_t line[] = {INC, LOAD, ADD, STORE, TEST, JNZ};
            expect(round, dec + 2);
            for (unsigned n = 0; n < sizeof(line); n++)
                expect(round, line[n]);
            if (round % 4 == 0)
                expect(round, RARE);
            expect(round, AGAIN);
            expect(round, COMPARE);
            expect(round, JNE);
            expect(round, dec);
        }
        expect(WARM + ROUNDS, dec + 2);
        expect(WARM + ROUNDS, dec + 4);
        expect_no_more();
        finish(thresholds[k]);
    }
}
END_TEST

/* ---- interrupts -------------------------------------------------------------------------------------- */

/* Comes on this thread between any two of the host's instructions, as the board's request comes from another
 * one; notes how far the guest is. */
static volatile uint64_t rounds_before, requests;

static void on_alarm(int sig)
{
    if (requests)
        return;
    requests = 1;
    memcpy((void *)&rounds_before, physmap_host(map, NUMBERS), 8);
    cpu_interrupt(cpu, CPU_INTR);
}

#define COUNT_ROUND "\x48\xff\x04\x25\x00\x00\x12\x00" /* inc qword [NUMBERS] */

/* Endless loops; no round is of more instructions than that. */
static const struct {
    const char *name, *code;
    unsigned bytes, round;
    const char *other; /* at OTHER */
    unsigned other_bytes;
} endless[] = {
#define LOOP(name, code, round)                                                                    \
    {                                                                                              \
        name, code, sizeof(code) - 1, round, "", 0                                                 \
    }
#define LOOP_AND(name, code, round, other)                                                         \
    {                                                                                              \
        name, code, sizeof(code) - 1, round, other, sizeof(other) - 1                              \
    }
    LOOP("tight", COUNT_ROUND "\xeb\xf6", 2),
    LOOP("register",
         COUNT_ROUND "\xb9\x64\x00\x00\x00" /* mov ecx, 100 */
                     "\x48\x01\xc8\xff\xc9\x75\xf9" /* add rax, rcx; dec ecx; jnz */ "\xeb\xea",
         303),
    LOOP("LOOP", COUNT_ROUND "\xb9\x64\x00\x00\x00\xe2\xfe\xeb\xef", 103),
    LOOP("blocks",
         COUNT_ROUND "\xa8\x01\x75\x03\x48\xff\xc2\xa8\x02\x74\x03\x48\xff\xc3\x48\xff\xc0\xeb\xe5",
         9),
    LOOP("no way back in between",
         COUNT_ROUND "\xff\xc0\xff\xc1\xff\xc2\xff\xc3\xff\xc6\xff\xc7\xff\xc0\xff\xc1"
                     "\xff\xc2\xff\xc3\xff\xc6\xff\xc7\xeb\xde",
         14),
    LOOP("call", "\xe8\x02\x00\x00\x00\xeb\xf9" COUNT_ROUND "\xc3", 4),
    LOOP("indirect", COUNT_ROUND "\xb8\x00\x00\x10\x00\xff\xe0", 3),
    LOOP("PUSHF", COUNT_ROUND "\x9c\x9d\xeb\xf4", 4),
    LOOP_AND("pages", COUNT_ROUND "\xe9\xf3\x0f\x00\x00", 3, "\xe9\xfb\xef\xff\xff"),
    LOOP_AND("calls of another page", COUNT_ROUND "\xe8\xf3\x0f\x00\x00\xeb\xf1", 4, "\xc3"),
};

static unsigned worst; /* instructions from a request to its handler */

static void interrupt_loop(unsigned k, unsigned times)
{
    put(NUMBERS, 0, 8);
    put_code(PROGRAM, endless[k].code, endless[k].bytes);
    put_code(OTHER, endless[k].other, endless[k].other_bytes);
    for (unsigned n = 0; n < times; n++) {
        uint64_t done, late;

        cpu->activity = CPU_ACTIVE;
        cpu->rip = PROGRAM;
        cpu->r[REG_SP] = STACK0;
        cpu_change_flags(cpu, FL_IF, FL_IF);
        requests = 0;
        while (cpu->activity == CPU_ACTIVE)
            cpu_run(cpu, 1000000000, &done);
        ck_assert_uint_eq(cpu->rip & ~15ull, handler(VECTOR));
        late = (get(NUMBERS, 8) - rounds_before + 1) * endless[k].round;
        worst = MAX(worst, (unsigned)late);
        ck_assert_msg(late <= SOON, "%s, %s: up to %u instructions late",
                      cpu->tr.jit ? "translated" : "interpreted", endless[k].name, (unsigned)late);
    }
}

static void no_lock(void *opaque)
{
}

static void no_others(void *opaque, bool on)
{
}

/* Otherwise who interrupts is on the CPU's own thread and cuts its budget. */
static void run_in_parallel(void)
{
    cpu->env.parallel = true;
    cpu->env.enter = cpu->env.leave = cpu->env.hold = cpu->env.code_requests = cpu->env.spin =
        no_lock;
    cpu->env.alone = no_others;
}

START_TEST(interrupts)
{
    struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};

    signal(SIGALRM, on_alarm);
    next_vector = VECTOR;
    for (unsigned t = 0; t < ARRAY_LEN(thresholds); t++) {
        begin(thresholds[t]);
        run_in_parallel();
        worst = 0;
        requests = 1;
        ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
        for (unsigned k = 0; k < ARRAY_LEN(endless); k++)
            interrupt_loop(k, 100);
        setitimer(ITIMER_REAL, &never, NULL);
        printf("threshold %u: interrupts came at most %u instructions late\n", thresholds[t],
               worst);
        finish(thresholds[t]);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {breakpoints, watchpoints, single_steps, interrupts};

    setenv("CK_DEFAULT_TIMEOUT", "120", 0);
    return RUN_TESTS("hot stops", tests);
}
