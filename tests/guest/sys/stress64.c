/* Four processors at odds with each other for as long as the command line says (seconds=N): locked
 * operations of all widths and alignments, page tables changed under others that use them, code changed
 * under others that run it, storms of interrupts and NMIs, sleeps that a single interrupt ends, INIT
 * and start-up in the middle of work. Nothing may be lost, seen too early, or too late. SDM vol. 3, 8.1,
 * 8.4, 4.10.
 *
 * Where processors take turns the same must hold; only less happens at once. A phase takes its time, and
 * longer if not everybody has got anything done: a host may have other things to do.
 */
#include "sys.h"

enum { VEC_CALL = 0x51, VEC_FLUSH = 0x52, VEC_WAKE = 0x53 };
#define AP_PAGE  0x8000
#define CPUS     4
#define POISON   0xdeaddeaddeaddeadull
#define WINDOW   0x8000000000ull /* where pages come and go */
#define PAGES    8

extern u32 boot_info;

static u64 phase_ticks, phase_end;
static volatile bool stop;
static u8 apic_of[MAX_CPUS]; /* by worker; worker 0 is this processor */
static u8 worker_of[MAX_CPUS];
static volatile unsigned who;

static inline void relax(void)
{
    __asm__ volatile("pause" ::: "memory");
}

static unsigned me(void)
{
    return worker_of[cpu_index()];
}

static u32 next_random(u32 *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 17;
    *s ^= *s << 5;
    return *s;
}

static void icr(u32 dest, u32 low)
{
    ulong flags = get_flags();

    cli(); /* the two halves belong together */
    while (apic_read(0x300) & 0x1000)
        relax();
    apic_write(0x310, dest << 24);
    apic_write(0x300, low);
    if (flags & FL_IF)
        sti();
}

static void phase_begin(void)
{
    stop = false;
    phase_end = rdtsc() + phase_ticks;
}

/* done: what the phase is there for has happened. */
static bool go_on(bool done)
{
    return !done || rdtsc() < phase_end;
}

static bool all_over(const volatile u32 *counts, u32 n)
{
    return counts[0] > n && counts[1] > n && counts[2] > n && counts[3] > n;
}

/* fn runs on all four at once; worker 0 ends the phase. */
static void everybody(void (*fn)(void))
{
    phase_begin();
    for (unsigned k = 1; k < CPUS; k++)
        cpu_do(k, fn);
    fn();
    for (unsigned k = 1; k < CPUS; k++)
        cpu_wait(k);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static volatile u64 flush_va;
static volatile u32 flush_seq, flush_ack[CPUS];
static volatile u32 call_sent[CPUS][CPUS], call_done[CPUS][CPUS]; /* from, to */
static volatile u32 nmi_sent[CPUS], nmi_done[CPUS];
static volatile u32 wakes[CPUS], faults[CPUS];

static bool hook(struct frame *f)
{
    unsigned k = me();

    switch (f->vector) {
    case NMI:
        nmi_done[k] = nmi_sent[k];
        return true;
    case PF: /* a page of the window that is away for the moment */
        if (get_cr2() - WINDOW >= PAGES * 4096)
            return false;
        faults[k]++;
        relax();
        return true;
    case VEC_FLUSH:
        invlpg(flush_va);
        flush_ack[k] = flush_seq;
        break;
    case VEC_CALL:
        for (unsigned from = 0; from < CPUS; from++)
            call_done[from][k] = call_sent[from][k];
        break;
    case VEC_WAKE:
        wakes[k]++;
        break;
    default:
        return false;
    }
    apic_write(0xb0, 0);
    return true;
}

static void interrupts_on(void)
{
    apic_write(0x80, 0);
    sti();
}

static void interrupts_off(void)
{
    cli();
}

/* ---- locked operations ----------------------------------------------------------------------- */

static u8 buffer[3 * 4096] __attribute__((aligned(4096)));
static struct {
    volatile u64 lo, hi;
} wide __attribute__((aligned(16)));
static volatile u64 total[8], mine[CPUS][8];
static volatile u32 lock_word, lock_flags[4], lock_code[16];
static volatile u64 unprotected;
static volatile u32 locked_times[CPUS];

#define IN_WORD    (*(volatile u32 *)(buffer + 66))   /* not aligned, in 8 bytes */
#define OVER_WORD  (*(volatile u32 *)(buffer + 134))  /* over the end of 8 bytes */
#define OVER_LINE  (*(volatile u64 *)(buffer + 252))
#define OVER_PAGE  (*(volatile u64 *)(buffer + 4093))
#define OVER_PAGE2 (*(volatile u16 *)(buffer + 8191))

static void add_16(void)
{
    u64 lo = wide.lo, hi = wide.hi;
    bool done;

    do {
        __asm__ volatile("lock; cmpxchg16b %0; sete %1"
                         : "+m"(wide), "=q"(done), "+a"(lo), "+d"(hi)
                         : "b"(lo + 1), "c"(hi + lo + 1)
                         : "memory");
    } while (!done);
}

static void add_8(volatile u64 *at, u64 n)
{
    u32 lo = (u32)*at, hi = (u32)(*at >> 32);
    bool done;

    do {
        u64 now = (lo | (u64)hi << 32) + n;
        __asm__ volatile("lock; cmpxchg8b %0; sete %1"
                         : "+m"(*at), "=q"(done), "+a"(lo), "+d"(hi)
                         : "b"((u32)now), "c"((u32)(now >> 32))
                         : "memory");
    } while (!done);
}

static void add_any(volatile u64 *at, u64 n)
{
    u64 old = *at;
    bool done;

    do {
        __asm__ volatile("lock; cmpxchgq %3, %1; sete %2"
                         : "+a"(old), "+m"(*at), "=q"(done)
                         : "r"(old + n)
                         : "memory");
    } while (!done);
}

static void one_locked(u32 r, volatile u64 *count)
{
    u64 n = r >> 8 & 0xff, add = n;

    switch (r & 7) {
    case 0:
        __asm__ volatile("lock; xaddq %0, %1" : "+r"(add), "+m"(total[0])::"memory");
        count[0] += n;
        break;
    case 1:
        add_any(&total[0], n);
        count[0] += n;
        break;
    case 2:
        __asm__ volatile("lock; addq %1, %0" : "+m"(OVER_LINE) : "r"(n) : "memory");
        count[1] += n;
        break;
    case 3:
        if (r & 0x70000) /* now and then: all others stop for it */
            break;
        __asm__ volatile("lock; subq %1, %0" : "+m"(OVER_PAGE) : "r"(-n) : "memory");
        __asm__ volatile("lock; incw %0" : "+m"(OVER_PAGE2)::"memory");
        count[2] += n;
        count[3]++;
        break;
    case 4:
        add_16();
        count[4]++;
        break;
    case 5:
        add_8(&total[5], n);
        count[5] += n;
        break;
    case 6:
        __asm__ volatile("lock; addl %1, %0" : "+m"(IN_WORD) : "r"((u32)n) : "memory");
        __asm__ volatile("lock; addl %1, %0" : "+m"(OVER_WORD) : "r"((u32)n) : "memory");
        count[6] += n;
        break;
    case 7:
        __asm__ volatile("lock; addb %1, %0" : "+m"(*(u8 *)&total[7]) : "q"((u8)n) : "memory");
        __asm__ volatile("lock; adcw $0, %0" : "+m"(*((u16 *)&total[7] + 1))::"memory", "cc");
        count[7] += n;
        break;
    }
}

/* XCHG, BTS and a word in turns as the lock of a plain counter. */
static void one_critical(u32 r, unsigned k)
{
    bool was = true;
    u32 one = 1;

    if (r & 1) {
        do {
            one = 1;
            __asm__ volatile("xchgl %0, %1" : "+r"(one), "+m"(lock_word)::"memory");
        } while (one);
    } else {
        do
            __asm__ volatile("lock; btsl $0, %1; setc %0" : "=q"(was), "+m"(lock_word)::"memory");
        while (was);
    }
    unprotected++;
    locked_times[k]++;
    lock_word = 0;
}

static void locked_work(void)
{
    unsigned k = me();
    u32 seed = 0x1234567 * (k + 1);

    interrupts_on();
    while (!stop) {
        for (unsigned j = 0; j < 64; j++)
            one_locked(next_random(&seed), mine[k]);
        one_critical(seed >> 9, k);
        if (k == 0 && !go_on(all_over(locked_times, 2)))
            stop = true;
    }
    interrupts_off();
}

static u64 sum_of(unsigned c)
{
    u64 s = 0;

    for (unsigned k = 0; k < CPUS; k++)
        s += mine[k][c];
    return s;
}

static void locked(void)
{
    u64 times = 0;

    everybody(locked_work);
    for (unsigned k = 0; k < CPUS; k++)
        times += locked_times[k];
    CHECK("XADD and CMPXCHG", total[0], sum_of(0));
    CHECK("ADD across a cache line", OVER_LINE, sum_of(1));
    CHECK("SUB across a page", OVER_PAGE, sum_of(2));
    CHECK("INC of a word across a page", OVER_PAGE2, (u16)sum_of(3));
    CHECK("CMPXCHG16B, low", wide.lo, sum_of(4));
    CHECK("CMPXCHG16B, high", wide.hi, wide.lo * (wide.lo + 1) / 2);
    CHECK("CMPXCHG8B", total[5], sum_of(5));
    CHECK("ADD not aligned in a word", IN_WORD, (u32)sum_of(6));
    CHECK("ADD over the end of a word", OVER_WORD, (u32)sum_of(6));
    CHECK("ADDB", (u8)total[7], (u8)sum_of(7));
    CHECK("critical sections", unprotected, times);
    CHECK_TRUE("they did something", total[0] && wide.lo);
}

/* ---- page tables ----------------------------------------------------------------------------- */

struct frame_page {
    volatile u64 tag, slot[CPUS];
    u64 rest[507];
};
static struct frame_page *frames[2 * PAGES];
static volatile u64 seen_poison, late_writes;
static volatile u32 writes[CPUS];

static void flush_everywhere(u64 va)
{
    flush_va = va;
    __atomic_store_n(&flush_seq, flush_seq + 1, __ATOMIC_SEQ_CST);
    icr(0, 0xc0000 | VEC_FLUSH); /* to all others */
    for (unsigned k = 1; k < CPUS; k++) {
        while (flush_ack[k] != flush_seq)
            relax();
    }
}

/* The others read and write the window all the time; what they see is never a page that had been taken out
 * of it everywhere. */
static void page_user(void)
{
    unsigned k = me();
    u32 seed = 77 * (k + 1);
    u64 n = 0;

    interrupts_on();
    while (!stop) {
        struct frame_page *p = (struct frame_page *)(WINDOW + (next_random(&seed) % PAGES) * 4096);
        if (p->tag == POISON)
            __atomic_fetch_add(&seen_poison, 1, __ATOMIC_SEQ_CST);
        p->slot[k] = ++n;
        writes[k] = (u32)n;
        if (seed & 0x100)
            __asm__ volatile("lock; orq $1, %0" : "+m"(p->rest[seed >> 20 & 255])::"memory");
    }
    interrupts_off();
}

static void page_changer(void)
{
    u32 seed = 99;
    unsigned in[PAGES];

    for (unsigned j = 0; j < PAGES; j++)
        in[j] = j;
    interrupts_on();
    writes[0] = ~0u;
    while (go_on(all_over(writes, 10))) {
        unsigned j = next_random(&seed) % PAGES, old = in[j], fresh = 0;
        u64 va = WINDOW + j * 4096, slot[CPUS];
        u64 *e = pte(va);

        for (bool used = true; used;) {
            used = false;
            fresh = next_random(&seed) % (2 * PAGES);
            for (unsigned i = 0; i < PAGES; i++)
                used |= in[i] == fresh;
        }
        frames[fresh]->tag = fresh;
        if (seed & 0x1000) { /* away for a while, or straight to another page */
            *(volatile u64 *)e = 0;
            flush_everywhere(va);
            *(volatile u64 *)e = (ulong)frames[fresh] | P | W;
        } else {
            __atomic_exchange_n((volatile u64 *)e, (ulong)frames[fresh] | P | W, __ATOMIC_SEQ_CST);
        }
        invlpg(va);
        flush_everywhere(va);
        in[j] = fresh;
        /* Nobody has it any more. */
        frames[old]->tag = POISON;
        for (unsigned k = 0; k < CPUS; k++)
            slot[k] = frames[old]->slot[k];
        for (unsigned i = 0; i < 50; i++)
            relax();
        for (unsigned k = 0; k < CPUS; k++)
            late_writes += slot[k] != frames[old]->slot[k];
    }
    stop = true;
    interrupts_off();
}

static void page_work(void)
{
    set_cr3(get_cr3()); /* nothing of an earlier phase */
    if (me())
        page_user();
    else
        page_changer();
}

static void window_set(void)
{
    for (unsigned j = 0; j < 2 * PAGES; j++) {
        if (!frames[j])
            frames[j] = page_alloc();
        frames[j]->tag = j;
    }
    for (unsigned j = 0; j < PAGES; j++)
        pte_set(WINDOW + j * 4096, (ulong)frames[j] | P | W);
}

static void pages(void)
{
    window_set();
    memset((void *)writes, 0, sizeof(writes));
    everybody(page_work);
    CHECK("pages read after their shoot-down", seen_poison, 0);
    CHECK("pages written after their shoot-down", late_writes, 0);
}

/* ---- accessed and dirty bits ----------------------------------------------------------------- */

#define AVAIL_SHIFT 52
static volatile u32 avail_added[CPUS];
static volatile u64 wrong_entries;

/* All count in the available bits of the same entries, clear A and D, and use the pages. */
static void entry_work(void)
{
    unsigned k = me();
    u32 seed = 1234 * (k + 1);

    set_cr3(get_cr3());
    while (!stop) {
        unsigned j = next_random(&seed) % PAGES;
        u64 va = WINDOW + j * 4096;
        u64 *e = pte(va), add = 1ull << AVAIL_SHIFT;

        if (j == k) { /* few additions: the field has seven bits and is emptied by its owner */
            __asm__ volatile("lock; xaddq %0, %1" : "+r"(add), "+m"(*e)::"memory");
            avail_added[k]++;
            if ((add >> AVAIL_SHIFT & 63) != ((avail_added[k] - 1) & 63))
                __atomic_fetch_add(&wrong_entries, 1, __ATOMIC_SEQ_CST);
            if ((avail_added[k] & 63) == 0)
                __asm__ volatile("lock; btrq $58, %0" : "+m"(*e)::"memory");
        }
        __asm__ volatile("lock; andq %1, %0" : "+m"(*e) : "r"(~(u64)(A | D)) : "memory");
        invlpg(va);
        ((struct frame_page *)va)->slot[k]++;
        if (((*e ^ (ulong)frames[j]) & 0xffffffffff000) || (*e & 7) != (P | W))
            __atomic_fetch_add(&wrong_entries, 1, __ATOMIC_SEQ_CST);
        if (k == 0 && !go_on(all_over(avail_added, 2)))
            stop = true;
    }
}

static void entries(void)
{
    window_set();
    memset((void *)avail_added, 0, sizeof(avail_added));
    everybody(entry_work);
    CHECK("page table entries", wrong_entries, 0);
}

/* ---- code ------------------------------------------------------------------------------------ */

static u8 *code_page[2];
static volatile u32 version, version_before, code_ack[CPUS], wrong_results, odd_results;
static u8 *volatile code_at;

static u32 call_code(const u8 *at)
{
    u32 v;

    __asm__ volatile("call *%1" : "=a"(v) : "r"(at) : "memory", "cc");
    return v;
}

/* A function that returns v, in one of several shapes and places. */
static void write_code(u8 *at, u32 v, u32 shape)
{
    unsigned n = 0;

    for (unsigned k = shape & 3; k; k--)
        at[n++] = 0x90;
    if (shape & 4) { /* in two parts */
        at[n++] = 0xb8;
        st32(at + n, v - 5);
        n += 4;
        at[n++] = 0x83;
        at[n++] = 0xc0;
        at[n++] = 5;
    } else {
        at[n++] = 0xb8;
        st32(at + n, v);
        n += 4;
    }
    at[n] = 0xc3;
}

static void code_user(void)
{
    unsigned k = me();
    u32 have = version_before, r[4]; /* that of the last round may be overwritten already */

    interrupts_on();
    while (!stop) {
        u32 v = version;
        if (v == have) {
            /* Not told to, but allowed: the immediate of the other function, in one aligned store, is
             * an old or a new one. */
            u32 got = call_code(code_page[0] + 0x803);
            if (got >> 16 != 0xc0de)
                __atomic_fetch_add(&odd_results, 1, __ATOMIC_SEQ_CST);
            continue;
        }
        cpuid(0, 0, r); /* serializes */
        for (unsigned j = 0; j < 20; j++) {
            if (call_code(code_at) != v)
                __atomic_fetch_add(&wrong_results, 1, __ATOMIC_SEQ_CST);
        }
        have = v;
        __atomic_store_n(&code_ack[k], v, __ATOMIC_RELEASE);
    }
    interrupts_off();
}

static void code_changer(void)
{
    u32 seed = 4321, n = version;

    interrupts_on();
    while (go_on(n > version_before + 3)) {
        u32 r = next_random(&seed);
        u8 *at = code_page[r >> 8 & 1] + (r >> 16 & 0x3c0);

        write_code(at, ++n, r);
        code_at = at;
        __atomic_store_n(&version, n, __ATOMIC_RELEASE);
        st32(code_page[0] + 0x804, 0xc0de0000 | (n & 0xffff));
        if (call_code(at) != n)
            wrong_results++;
        for (unsigned k = 1; k < CPUS; k++) {
            while (__atomic_load_n(&code_ack[k], __ATOMIC_ACQUIRE) != n) {
                st32(code_page[0] + 0x804, 0xc0de0000 | (next_random(&seed) & 0xffff));
                relax();
            }
        }
    }
    stop = true;
    interrupts_off();
}

static void code_work(void)
{
    if (me())
        code_user();
    else
        code_changer();
}

static void code(void)
{
    version_before = version;
    if (!code_page[0]) {
        code_page[0] = page_alloc();
        code_page[1] = page_alloc();
    }
    write_code(code_page[0] + 0x803, 0xc0de0000, 0); /* its immediate is aligned */
    everybody(code_work);
    CHECK("code changed by another", wrong_results, 0);
    CHECK("an immediate changed by another", odd_results, 0);
}

/* ---- interrupts between all ------------------------------------------------------------------ */

static volatile u32 storms[CPUS], storm_over;

static void storm_work(void)
{
    unsigned k = me();
    u32 seed = 31 * (k + 1);

    interrupts_on();
    while (!stop) {
        unsigned to = next_random(&seed) % CPUS;
        if (to == k)
            continue;
        if ((seed & 0xf0) == 0) {
            /* NMIs fold into one: one at a time for a processor, and one sender */
            if (k == (to + 1) % CPUS && nmi_done[to] == nmi_sent[to]) {
                nmi_sent[to]++;
                icr(apic_of[to], 0x400);
            }
        } else {
            call_sent[k][to]++;
            icr(apic_of[to], VEC_CALL);
            while (call_done[k][to] != call_sent[k][to])
                relax();
        }
        storms[k]++;
        if (k == 0 && !go_on(all_over(storms, 4)))
            stop = true;
    }
    /* Others may still wait for this one's answer. */
    __atomic_fetch_add(&storm_over, 1, __ATOMIC_SEQ_CST);
    while (storm_over != CPUS)
        relax();
    interrupts_off();
}

static bool nmis_settle(void)
{
    for (unsigned k = 0; k < CPUS; k++) {
        for (u32 j = 0; nmi_done[k] != nmi_sent[k]; j++) {
            if (j > 100000000)
                return false;
            relax();
        }
    }
    return true;
}

static void storm(void)
{
    memset((void *)storms, 0, sizeof(storms));
    storm_over = 0;
    everybody(storm_work);
    CHECK_TRUE("every NMI arrived", nmis_settle());
}

/* ---- sleep ----------------------------------------------------------------------------------- */

static volatile u32 token, laps;

/* A token goes around; whoever has it wakes the next, and sleeps until it comes again. A wake-up that
 * is lost is the end of it. */
static void sleep_work(void)
{
    unsigned k = me(), next = (k + 1) % CPUS;

    apic_write(0x80, 0);
    cli();
    while (!stop) {
        while (token != k && !stop)
            __asm__ volatile("sti; hlt; cli" ::: "memory");
        if (k == 0) {
            if (!go_on(++laps > 10))
                stop = true;
        }
        token = next;
        icr(apic_of[next], VEC_WAKE);
    }
    icr(apic_of[next], VEC_WAKE);
    sti();
    relax();
    cli();
}

static void sleeping(void)
{
    token = laps = 0;
    everybody(sleep_work);
    CHECK_TRUE("the token went around", laps > 10);
}

/* ---- INIT and start-up ------------------------------------------------------------------------ */

static volatile u32 starts, spins;

static void victim(void)
{
    interrupts_on();
    __atomic_fetch_add(&starts, 1, __ATOMIC_SEQ_CST);
    while (!stop) {
        __asm__ volatile("lock; incl %0" : "+m"(spins)::"memory");
        relax();
    }
    interrupts_off();
}

static void restart_others(void)
{
    unsigned k = me();
    u32 seed = 5 * (k + 1);

    interrupts_on();
    while (!stop)
        one_locked(next_random(&seed), mine[k]);
    interrupts_off();
}

/* Processor 3 is thrown back to its start again and again, wherever it is, while 1 and 2 work. */
static void restarts(void)
{
    u32 n = 0, lost = 0;

    phase_begin();
    starts = 0;
    cpu_do(1, restart_others);
    cpu_do(2, restart_others);
    cpu_do(3, victim);
    while (go_on(n > 3)) {
        u64 end = rdtsc() + 20000000000;
        while (starts == n && rdtsc() < end)
            relax();
        if (starts == n) {
            lost++;
            break;
        }
        n = starts;
        cpus_started = 3; /* the number that it takes */
        icr(apic_of[3], 0x4500);
        icr(apic_of[3], 0x4600 | AP_PAGE >> 12);
    }
    stop = true;
    for (unsigned k = 1; k < CPUS; k++)
        cpu_wait(k);
    CHECK("restarts that were lost", lost, 0);
    CHECK("processors", cpus_started, 4);
}

/* ---- all of it -------------------------------------------------------------------------------- */

static u64 seconds_asked(void)
{
    const u32 *info = (const u32 *)(ulong)boot_info;
    u64 n = 0;

    if (!boot_info || !(info[0] & 4))
        return 0;
    for (const char *s = (const char *)(ulong)info[4]; *s; s++) {
        if (memcmp(s, "seconds=", 8) != 0)
            continue;
        for (s += 8; *s >= '0' && *s <= '9'; s++)
            n = n * 10 + (u64)(*s - '0');
        break;
    }
    return n;
}

static void tell(void)
{
    who = cpu_index();
}

static void number_processors(void)
{
    apic_of[0] = (u8)cpu_index();
    for (unsigned k = 1; k < CPUS; k++) {
        cpu_do(k, tell);
        cpu_wait(k);
        apic_of[k] = (u8)who;
        worker_of[who] = (u8)k;
    }
}

void guest_main(void)
{
    u64 seconds = seconds_asked(), end;

    cpus_start();
    for (u32 k = 0; cpus_started < CPUS && k < 10000000; k++)
        relax();
    CHECK("processors", cpus_started, CPUS);
    if (cpus_started != CPUS)
        return;
    number_processors();
    page_root = get_cr3();
    paging_levels = 4;
    trap_hook = hook;
    /* Ticks are nanoseconds here. Each round of all phases takes about half a second. */
    phase_ticks = 70000000;
    end = rdtsc() + seconds * 1000000000;
    unsigned rounds = 0, all_laps = 0;
    do {
        memset((void *)mine, 0, sizeof(mine));
        memset((void *)total, 0, sizeof(total));
        memset(buffer, 0, sizeof(buffer));
        memset((void *)locked_times, 0, sizeof(locked_times));
        wide.lo = wide.hi = unprotected = 0;
        locked();
        pages();
        entries();
        code();
        storm();
        sleeping();
        all_laps += laps;
        restarts();
        rounds++;
    } while (rdtsc() < end && !checks_failed());
    say("%d rounds, %d laps, %d faults\n", (int)rounds, (int)all_laps,
        (int)(faults[1] + faults[2] + faults[3]));
}
