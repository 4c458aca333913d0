/* Compare-and-swap of guest memory: see hostatomic.h. */
#include "base/hostatomic.h"

static bool cas8(void *p, uint64_t old, uint64_t fresh)
{
    uint64_t expect = LE64(old);
    return __atomic_compare_exchange_n((uint64_t *)p, &expect, LE64(fresh), false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

/* An operand anywhere in its word: the other bytes must stay, and may change meanwhile. */
static bool cas_in_word(void *p, unsigned size, uint64_t old, uint64_t fresh)
{
    uint64_t *word = (uint64_t *)((uintptr_t)p & ~(uintptr_t)7);
    unsigned shift = 8 * (unsigned)((uintptr_t)p & 7);
    uint64_t mask = (BIT64(8 * size) - 1) << shift;

    for (;;) {
        uint64_t now = LE64(__atomic_load_n(word, __ATOMIC_RELAXED));
        if ((now & mask) != (old << shift & mask))
            return false;
        if (cas8(word, now, (now & ~mask) | (fresh << shift & mask)))
            return true;
    }
}

bool host_cas(void *p, unsigned size, uint64_t old, uint64_t fresh)
{
    uint8_t e1 = (uint8_t)old;
    uint16_t e2 = LE16(old);
    uint32_t e4 = LE32(old);

    if ((uintptr_t)p & (size - 1))
        return cas_in_word(p, size, old, fresh);
    switch (size) {
    case 1:
        return __atomic_compare_exchange_n((uint8_t *)p, &e1, (uint8_t)fresh, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    case 2:
        return __atomic_compare_exchange_n((uint16_t *)p, &e2, LE16(fresh), false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
    case 4:
        return __atomic_compare_exchange_n((uint32_t *)p, &e4, LE32(fresh), false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
    default:
        return cas8(p, old, fresh);
    }
}

#if defined(__x86_64__)
bool host_cas16(void *p, const uint64_t old[2], const uint64_t fresh[2], bool *can)
{
    uint64_t low = old[0], high = old[1];
    bool done;

    *can = __builtin_cpu_supports(
        "ssse3"); /* younger than this instruction, and asked for at no cost */
    if (!*can)
        return false;
    __asm__ volatile("lock; cmpxchg16b %1"
                     : "=@ccz"(done), "+m"(*(unsigned __int128 *)p), "+a"(low), "+d"(high)
                     : "b"(fresh[0]), "c"(fresh[1])
                     : "memory");
    return done;
}
#else
bool host_cas16(void *p, const uint64_t old[2], const uint64_t fresh[2], bool *can)
{
    *can = false;
    return false;
}
#endif
