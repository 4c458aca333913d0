/* What the fuzzers share: where a case's choices come from, and who watches over it.
 *
 * A fuzzer is one struct fuzz_target named `fuzz_target` and a function that runs one case. It asks
 * for its choices with the functions below, and goes on as long as fuzz_more() says so. fuzz_main.c
 * makes a program of it that feeds seeded pseudo-random numbers; a case depends on nothing but the
 * seed and its number, so that what fails can be run again by itself:
 *
 *     fuzz_board --seed 7 --cases 100000      a long run
 *     fuzz_board --seed 7 --first 4711 --cases 1
 *     fuzz_board --seconds 3600               until the time is over
 *
 * With clang and -DTINAMOU_LIBFUZZER=ON, fuzz_libfuzzer.c makes one whose choices are the bytes
 * that libFuzzer offers. In both, each step may use STEP_SECONDS of processor time: a step that takes
 * more is a hang, and ends the program with the case's number.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "base/bits.h"

/* Source of choices. */
struct fuzz {
    const uint8_t *data; /* libFuzzer's; NULL: random numbers */
    size_t left;         /* bytes of data, or steps */
    uint64_t state;      /* of the random numbers */
};

struct fuzz_target {
    const char *name;
    unsigned cases; /* of a short run */
    unsigned steps; /* of a case at most */
    /* Files that all cases share go into dir, which is new and is removed after fini. */
    void (*init)(const char *dir);
    void (*run)(struct fuzz *f);
    void (*fini)(void); /* may be NULL */
};
extern const struct fuzz_target fuzz_target;

/* Begins a step; false: the case is over. */
bool fuzz_more(struct fuzz *f);

/* Zeros once libFuzzer's bytes are used up. */
uint64_t fuzz_u64(struct fuzz *f);
uint32_t fuzz_u32(struct fuzz *f);
uint8_t fuzz_u8(struct fuzz *f);
unsigned fuzz_below(struct fuzz *f, unsigned n); /* 0 to n-1 */
bool fuzz_one_in(struct fuzz *f, unsigned n);
void fuzz_bytes(struct fuzz *f, void *buf, size_t len);
/* A number that programs stumble over: small, near a power of two, all ones, or any. */
uint64_t fuzz_number(struct fuzz *f);
#define FUZZ_PICK(f, array) ((array)[fuzz_below(f, ARRAY_LEN(array))])

/* Fails the case unless cond. */
#define FUZZ_ASSERT(cond, ...)                                                                     \
    do {                                                                                           \
        if (!(cond))                                                                               \
            fuzz_fail(__VA_ARGS__);                                                                \
    } while (0)
_Noreturn void fuzz_fail(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* For the mains. */
void fuzz_begin(const char *what);
void fuzz_end(void);
void fuzz_case(uint64_t seed, uint64_t number); /* for messages */
void fuzz_write_file(const char *path, const void *data, size_t len);

#endif
