/* The bounds of decoded and translated code: programs that are much larger than their cache run as they
 * do in a large one, with both engines, also while they write into themselves; pages that have no code
 * any more are ordinary memory again; and no step gives up more than it needs.
 */
#include "cpu/block.h"
#include "cpu/jit/jit.h"
#include "tests/insn/sys_cpu.h"

enum { PROGRAM = 0x100000, BLOCKS = 4096, BLOCK = 32, ROUNDS = 3 };

static uint32_t address_of(unsigned k)
{
    return PROGRAM + k % BLOCKS * BLOCK;
}

/* Blocks in an order that goes on in the page three times of four, and elsewhere then. */
static unsigned next_of(unsigned k)
{
    return k % 4 != 3 ? k + 1 : (k + 1) * 5 % BLOCKS;
}

static unsigned length; /* blocks of one round */

static uint8_t *put_jump(uint8_t *c, uint32_t at, uint32_t to)
{
    *c++ = 0xe9;
    st32(c, to - (at + 5));
    return c + 4;
}

/* Each block: ADD RAX, imm32; ROL RAX, 7; JMP. Every 16th calls, that is pushes where it goes and
 * returns there; the last of a round changes the number that the first adds, and counts. */
static void put_program(void)
{
    unsigned k = 0;

    length = 0;
    do {
        uint8_t code[BLOCK] = {0x48, 0x05}, *c = code + 10;
        uint32_t at = address_of(k), to = address_of(next_of(k));
        st32(code + 2, k * 0x9e3779b9);
        memcpy(code + 6, "\x48\xc1\xc0\x07", 4);
        length++;
        if (next_of(k) == 0) {
            memcpy(c, "\x81\x04\x25\x02\x00\x10\x00\x01\x02\x00\x00", 11); /* add [0x100002], 513 */
            c += 11;
            *c++ = 0xff; /* dec ecx */
            *c++ = 0xc9;
            *c++ = 0x75; /* jnz */
            *c++ = 1;
            *c++ = 0xf4;
            put_jump(c, at + (uint32_t)(c - code), to);
        } else if (length % 16 == 0) {
            *c++ = 0x68; /* push imm32; ret */
            st32(c, to);
            c[4] = 0xc3;
        } else {
            put_jump(c, at + (uint32_t)(c - code), to);
        }
        physmap_write_buf(map, at, code, sizeof(code));
        k = next_of(k);
    } while (k != 0);
    ck_assert_uint_gt(length, BLOCKS / 4);
}

enum engine { INTERP, JIT };

static void begin(enum engine e, size_t bytes)
{
    new_cpu("max");
    if (e == INTERP)
        ck_assert(cpu_set_code_cache(cpu, bytes));
    else
        cpu_use_translator(cpu, bytes, 1); /* or there is no backend: it is interpreted then */
    long_mode(0);
    put_program();
    cpu->r[REG_CX] = ROUNDS;
    cpu->rip = PROGRAM;
}

static uint64_t evicted(void)
{
    return blocks_evicted(cpu->blocks);
}

/* In slices of so many instructions. */
static void run_all(unsigned slice)
{
    uint64_t done;

    while (cpu->activity == CPU_ACTIVE)
        cpu_run(cpu, slice, &done);
    ck_assert_int_eq(cpu->activity, CPU_HALTED);
}

static uint64_t hash_of_all(void)
{
    uint64_t h = vmstate_hash(&vm_cpu, cpu, 0);

    for (uint64_t at = 0; at < 8 * MIB; at += 8)
        h = (h ^ get(at, 8)) * 0x9e3779b97f4a7c15ull;
    return h;
}

static uint64_t expected(void)
{
    uint64_t h;

    begin(INTERP, 64 * MIB);
    run_all(1000000);
    ck_assert_uint_eq(evicted(), 0);
    h = hash_of_all();
    drop_cpu();
    return h;
}

static const unsigned slices[] = {1000000, 1000, 7, 1};

START_TEST(interpreted)
{
    uint64_t h = expected();

    for (unsigned k = 0; k < ARRAY_LEN(slices); k++) {
        begin(INTERP, BLOCK_ARENA_MIN);
        run_all(slices[k]);
        ck_assert_uint_gt(evicted(), length * (ROUNDS - 1));
        ck_assert_uint_eq(hash_of_all(), h);
        drop_cpu();
    }
}
END_TEST

/* Translations go with their blocks, or before them. */
START_TEST(translated)
{
    static const size_t sizes[] = {JIT_MIN + BLOCK_ARENA_MIN, JIT_MIN + 64 * 1024, JIT_MIN + MIB};
    uint64_t h = expected();

    for (unsigned n = 0; n < ARRAY_LEN(sizes); n++) {
        for (unsigned k = 0; k < ARRAY_LEN(slices); k++) {
            begin(JIT, sizes[n]);
            run_all(slices[k]);
            ck_assert_uint_eq(hash_of_all(), h);
            if (cpu->tr.jit) {
                const struct jit_stats *s = jit_stats(cpu->tr.jit);
                ck_assert_uint_gt(evicted() + s->evicted, length);
                ck_assert(n != 1 || slices[k] == 1 || s->evicted > length / 4);
                ck_assert_uint_eq(s->flushes, 0);
            }
            drop_cpu();
        }
    }
}
END_TEST

/* A block may need the room of several, but no more than stand where the longest would. */
START_TEST(small_steps)
{
    uint64_t done, before = 0;

    begin(INTERP, BLOCK_ARENA_MIN);
    for (unsigned k = 0; k < 3000; k++) {
        cpu_run(cpu, 1, &done);
        ck_assert_uint_le(evicted() - before, 8);
        before = evicted();
    }
    ck_assert_uint_gt(before, 2000);
    drop_cpu();
}
END_TEST

static unsigned code_pages(void)
{
    unsigned n = 0;

    for (uint64_t at = 0; at < 8 * MIB; at += PAGE_SIZE)
        n += physmap_flags(map, at) & PF_CODE;
    return n;
}

START_TEST(pages)
{
    begin(INTERP, 64 * MIB);
    run_all(1000000);
    ck_assert_uint_gt(code_pages(), 16);
    blocks_flush(cpu);
    ck_assert_uint_eq(code_pages(), 0);
    drop_cpu();

    begin(INTERP, BLOCK_ARENA_MIN);
    run_all(1000000);
    ck_assert_uint_ge(code_pages(), 1);
    ck_assert_uint_le(code_pages(), 16);
    drop_cpu();
}
END_TEST

/* A line that has no code, though it is said to have: the first write tells the truth, and the page is as
 * good as any other. With code elsewhere in the page only that stays. */
START_TEST(stale_lines)
{
    uint64_t done;

    begin(INTERP, 64 * MIB);
    cpu_run(cpu, 1, &done); /* one block in the first line of the program's first page */
    physmap_code_add(map, 0, PROGRAM + 0x400, 1);
    physmap_code_add(map, 0, PROGRAM + 0x200000, 1);
    put(PROGRAM + 0x200000, 1, 8);
    ck_assert_int_eq(physmap_flags(map, PROGRAM + 0x200000), 0);
    put(PROGRAM + 0x400, 0, 8);
    ck_assert_int_eq(physmap_flags(map, PROGRAM), PF_CODE);
    put(PROGRAM, 0x90, 1);
    ck_assert_int_eq(physmap_flags(map, PROGRAM), 0);
    drop_cpu();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {interpreted, translated, small_steps, pages, stale_lines};

    return RUN_TESTS("code cache", tests);
}
