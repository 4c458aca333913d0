/* LOCK with several processors: counters, exchanges, compare-and-exchange of all widths, bit tests, and
 * operands across cache lines and pages. Each processor does the same number of operations; the sums
 * show whether any was lost. SDM vol. 3, 8.1.
 */
#include "sys.h"

#define ROUNDS 2000

static volatile unsigned arrived;
static unsigned n;
static volatile u64 counter __attribute__((aligned(64)));
static u8 buffer[8192] __attribute__((aligned(4096)));
static struct {
    volatile u64 lo, hi;
} wide __attribute__((aligned(16)));
static volatile u32 spin, unprotected, ticket_next, ticket_now, bits[4], parity;

/* All begin together, or the first would be done before the last has started. */
static void meet(void)
{
    unsigned target = 1; /* of its own number: others may have gone on by then */

    __asm__ volatile("lock; xaddl %0, %1" : "+r"(target), "+m"(arrived)::"memory");
    target = (target / n + 1) * n;
    while (arrived < target)
        __asm__ volatile("pause");
}

#define SPLIT_LINE (*(volatile u64 *)(buffer + 60))
#define SPLIT_PAGE (*(volatile u64 *)(buffer + 4093))

static void add_work(void)
{
    meet();
    for (unsigned k = 0; k < ROUNDS; k++) {
        u64 one = 1;

        __asm__ volatile("lock; incq %0" : "+m"(counter)::"memory");
        __asm__ volatile("lock; addq $1, %0" : "+m"(SPLIT_LINE)::"memory");
        __asm__ volatile("lock; xaddq %1, %0" : "+m"(SPLIT_PAGE), "+r"(one)::"memory");
        __asm__ volatile("lock; subq $-1, %0" : "+m"(counter)::"memory");
        __asm__ volatile("lock; negl %0" : "+m"(parity)::"memory");
        __asm__ volatile("lock; xorl %1, %0" : "+m"(bits[3]) : "r"(1u << (k & 31)) : "memory");
    }
}

static void cmpxchg_work(void)
{
    meet();
    for (unsigned k = 0; k < ROUNDS; k++) {
        u64 old = counter, now;
        bool done;

        do {
            now = old + 3;
            __asm__ volatile("lock; cmpxchgq %3, %1; sete %2"
                             : "+a"(old), "+m"(counter), "=q"(done)
                             : "r"(now)
                             : "memory");
        } while (!done);
    }
}

static void cmpxchg8b_work(void)
{
    meet();
    for (unsigned k = 0; k < ROUNDS; k++) {
        u32 lo = (u32)wide.lo, hi = (u32)(wide.lo >> 32);
        bool done;

        do {
            u64 now = (lo | (u64)hi << 32) + 0x0000000100000001;
            __asm__ volatile("lock; cmpxchg8b %0; sete %1"
                             : "+m"(wide.lo), "=q"(done), "+a"(lo), "+d"(hi)
                             : "b"((u32)now), "c"((u32)(now >> 32))
                             : "memory");
        } while (!done);
    }
}

static void cmpxchg16b_work(void)
{
    meet();
    for (unsigned k = 0; k < ROUNDS; k++) {
        u64 lo = wide.lo, hi = wide.hi;
        bool done;

        do {
            __asm__ volatile("lock; cmpxchg16b %0; sete %1"
                             : "+m"(wide), "=q"(done), "+a"(lo), "+d"(hi)
                             : "b"(lo + 1), "c"(hi + 5)
                             : "memory");
        } while (!done);
    }
}

static void xchg_work(void)
{
    meet();
    for (unsigned k = 0; k < ROUNDS / 4; k++) {
        u32 taken = 1;

        for (;;) {
            __asm__ volatile("xchgl %0, %1"
                             : "+r"(taken), "+m"(spin)::"memory"); /* locks by itself */
            if (!taken)
                break;
            __asm__ volatile("pause");
        }
        unprotected++;
        __asm__ volatile("movl $0, %0" : "=m"(spin)::"memory");
    }
}

static void ticket_work(void)
{
    meet();
    for (unsigned k = 0; k < ROUNDS / 4; k++) {
        u32 mine = 1;

        __asm__ volatile("lock; xaddl %0, %1" : "+r"(mine), "+m"(ticket_next)::"memory");
        while (ticket_now != mine)
            __asm__ volatile("pause");
        unprotected++;
        ticket_now = mine + 1;
    }
}

static void bit_work(void)
{
    meet();
    for (unsigned k = 0; k < ROUNDS / 4; k++) {
        bool was;

        do {
            __asm__ volatile("lock; btsl $7, %1; setc %0" : "=q"(was), "+m"(bits[0])::"memory");
        } while (was);
        unprotected++;
        __asm__ volatile("lock; btrl $7, %0" : "+m"(bits[0])::"memory");
    }
}

/* Store and load of two words: with MFENCE at least one of two processors sees the other's store. */
static volatile u32 x, y, both_missed;

static void dekker_work(void)
{
    bool first = cpu_index() == 1;

    for (unsigned k = 0; k < 200; k++) {
        volatile u32 *mine = first ? &x : &y, *other = first ? &y : &x;
        static volatile u32 result[2];

        meet();
        *mine = k + 1;
        __asm__ volatile("mfence" ::: "memory");
        result[first] = *other;
        meet();
        if (first && result[0] != k + 1 && result[1] != k + 1)
            both_missed++;
        meet();
    }
}

static void everybody(void (*fn)(void))
{
    arrived = 0;
    for (unsigned k = 1; k < n; k++)
        cpu_do(k, fn);
    fn();
    for (unsigned k = 1; k < n; k++)
        cpu_wait(k);
}

CODE(cx16_odd, "lock; cmpxchg16b 8(%rsi); ret");
CODE(lock_reg, ".byte 0xf0; add %eax, %ecx; ret");
CODE(lock_mov, ".byte 0xf0; mov %eax, (%rsi); ret");
CODE(lock_cmp, ".byte 0xf0; cmp %eax, (%rsi); ret");
CODE(lock_bt, ".byte 0xf0; bt %eax, (%rsi); ret");
CODE(lock_add_rm, ".byte 0xf0; add (%rsi), %eax; ret");
CODE(cx8_ro, "lock; cmpxchg8b (%rsi); ret");

void guest_main(void)
{
    u64 all;

    cpus_start();
    for (u32 k = 0; cpus_started < 4 && k < 10000000; k++)
        __asm__ volatile("pause");
    n = cpus_started;
    CHECK("processors", n, 4);
    all = (u64)n * ROUNDS;
    parity = 5;
    everybody(add_work);
    CHECK("INC and SUB", counter, 2 * all);
    CHECK("ADD across a cache line", SPLIT_LINE, all);
    CHECK("XADD across a page", SPLIT_PAGE, all);
    CHECK("NEG an even number of times", parity, 5);
    CHECK("XOR an even number of times", bits[3], 0);
    counter = 0;
    everybody(cmpxchg_work);
    CHECK("CMPXCHG", counter, 3 * all);
    everybody(cmpxchg8b_work);
    CHECK("CMPXCHG8B", wide.lo, all << 32 | all);
    wide.lo = 0;
    everybody(cmpxchg16b_work);
    CHECK("CMPXCHG16B, low", wide.lo, all);
    CHECK("CMPXCHG16B, high", wide.hi, 5 * all);
    everybody(xchg_work);
    CHECK("XCHG as a lock", unprotected, all / 4);
    unprotected = 0;
    everybody(ticket_work);
    CHECK("XADD tickets", unprotected, all / 4);
    unprotected = 0;
    everybody(bit_work);
    CHECK("BTS as a lock", unprotected, all / 4);
    n = 2;
    arrived = 0;
    cpu_do(1, dekker_work);
    dekker_work();
    cpu_wait(1);
    CHECK("MFENCE", both_missed, 0);

    in.si = (ulong)&wide;
    RUN("CMPXCHG16B not aligned", cx16_odd, GP, 0);
    RUN("LOCK with a register destination", lock_reg, UD, 0);
    RUN("LOCK MOV", lock_mov, UD, 0);
    RUN("LOCK CMP", lock_cmp, UD, 0);
    RUN("LOCK BT", lock_bt, UD, 0);
    RUN("LOCK ADD to a register", lock_add_rm, UD, 0);
    page_root = get_cr3();
    paging_levels = 4;
    set_cr0(get_cr0() | CR0_WP);
    pte_set(0x8000000000, (ulong)page_alloc() | P);
    in.si = 0x8000000000;
    in.ax = 1; /* differs: the comparison fails, and it writes all the same */
    RUN("failing CMPXCHG8B of a read-only page", cx8_ro, PF, PFE_P | PFE_W);
}
