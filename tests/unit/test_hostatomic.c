/* Compare-and-swap of guest memory: every size at every place in a word of 8 bytes, both outcomes, what
 * stands beside it; and threads that count in neighbouring bytes at once. */
#include <pthread.h>

#include "base/hostatomic.h"
#include "tests/unit/suite.h"

#define ROUNDS 20000

START_TEST(places)
{
    static const unsigned sizes[] = {1, 2, 4, 8};

    for (unsigned s = 0; s < 4; s++) {
        unsigned size = sizes[s];
        uint64_t mask = size == 8 ? UINT64_MAX : BIT64(8 * size) - 1;
        for (unsigned at = 0; at + size <= 8; at++) {
            uint8_t b[24] __attribute__((aligned(8))), want[24];
            memset(b, 0x5a, sizeof(b));
            uint8_t *p = b + 8 + at;
            uint64_t old = 0x8877665544332211 & mask, fresh = 0x0102030405060708 & mask;
            st_sized(p, old, size);
            memcpy(want, b, sizeof(b));
            ck_assert(host_in_word(p, size));
            ck_assert(!host_cas(p, size, old ^ BIT64(8 * size - 1), fresh));
            ck_assert_mem_eq(b, want, sizeof(b));
            ck_assert(host_cas(p, size, old, fresh));
            st_sized(want + 8 + at, fresh, size);
            ck_assert_mem_eq(b, want, sizeof(b));
        }
    }
    ck_assert(!host_in_word((void *)0x1007, 2));
    ck_assert(!host_in_word((void *)0x1001, 8));
    ck_assert(host_in_word((void *)0x1006, 2));
}
END_TEST

START_TEST(sixteen)
{
    uint8_t b[16] __attribute__((aligned(16)));
    const uint64_t old[2] = {1, 2}, other[2] = {1, 3}, fresh[2] = {0x1122334455667788, 5};
    bool can;

    st64(b, 1);
    st64(b + 8, 2);
    ck_assert(!host_cas16(b, other, fresh, &can));
    ck_assert_uint_eq(ld64(b), 1);
    bool done = host_cas16(b, old, fresh, &can);
    ck_assert_int_eq(done, can);
    ck_assert_uint_eq(ld64(b), can ? fresh[0] : 1);
    ck_assert_uint_eq(ld64(b + 8), can ? 5 : 2);
}
END_TEST

/* Two bytes, a word that is not aligned between them, each counted by a thread of its own. */
static uint8_t shared[8] __attribute__((aligned(8)));
struct counter {
    unsigned at, size;
};

static void *count(void *opaque)
{
    const struct counter *c = opaque;

    for (unsigned k = 0; k < ROUNDS; k++) {
        uint64_t old;
        do
            old = ld_sized(shared + c->at, c->size);
        while (!host_cas(shared + c->at, c->size, old, old + 1));
    }
    return NULL;
}

START_TEST(neighbours)
{
    static const struct counter counters[] = {{0, 1}, {1, 4}, {1, 4}, {5, 2}, {7, 1}};
    pthread_t t[5];

    for (unsigned k = 0; k < 5; k++)
        ck_assert_int_eq(pthread_create(&t[k], NULL, count, (void *)&counters[k]), 0);
    for (unsigned k = 0; k < 5; k++)
        pthread_join(t[k], NULL);
    ck_assert_uint_eq(shared[0], ROUNDS & 0xff);
    ck_assert_uint_eq(ld32(shared + 1), 2 * ROUNDS);
    ck_assert_uint_eq(ld16(shared + 5), ROUNDS & 0xffff);
    ck_assert_uint_eq(shared[7], ROUNDS & 0xff);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {places, sixteen, neighbours};
    return RUN_TESTS("hostatomic", tests);
}
