/* Stress for code that changes: a piece of code of which it is known what it computes is rewritten again
 * and again, while it runs and in between, and must compute what its bytes say: SDM vol. 3, 8.1.3 and
 * 11.6. (Stores through another linear address are seen at once here, as by every processor that watches
 * physical addresses.)
 *
 * The piece is SLOTS slots of 16 bytes, and RET. Most slots are one operation on EAX and padding; others
 * change a slot's operand or operation further on or back, through their own mapping or another one, or
 * call what replaces several slots: by stores of all widths, REP MOVS and STOS, locked ones, vector stores,
 * stores at another privilege level, and DMA from a disk. The whole lies so that instructions cross page
 * ends. A model of the slots says what comes out. Some pieces leave themselves alone, until they have run
 * so often that a translator has taken them up, and only then hit what runs.
 *
 * Command line: rounds=N, or seconds=N of the time stamp counter at 1 GHz; seed=N.
 */
#include "sys.h"

#define SLOTS   48
#define SLOT    16
#define PAGES   3
#define BYTES   (SLOTS * SLOT + 1)
#define ALIAS   0x8000000000ul
#define ACTIONS 64
#define RUN_MAX 4 /* slots that one action replaces */

enum { ADD, SUB, XOR, OR, MUL, ROL, SKIP, SIMPLE, POKE = SIMPLE, POKE4, OTHER, CALL };

struct slot {
    u8 kind, imm, target, pad;
    u8 new_kind; /* POKE4: what the target becomes, with new_imm */
    u8 new_imm;
};

enum way {
    BYTES1,
    WORDS,
    DWORDS,
    QWORDS,
    ODD,
    VECTOR,
    MOVSB,
    MOVSQ,
    STOSB,
    LOCKED,
    BY_ALIAS,
    STORES,
    BY_USER = STORES,
    BY_DMA,
    WAYS
};

struct action {
    enum way way;
    u8 first, count;
    struct slot slot[RUN_MAX];
};

static u8 *area;
static ulong at; /* where in the area the piece is */
static struct slot model[SLOTS];
static struct action queue[ACTIONS];
static volatile u32 queued, done;
static u8 source[RUN_MAX * SLOT] __attribute__((aligned(16)));
static u8 *aside; /* where stores go that are to change nothing */
static bool in_user, alias_runs, have_disk;
static bool gentle; /* the piece changes nothing but by OTHER ... */
static bool aimed;  /* ... and that, too, goes to `aside` if this is not set */
static u64 state, counts[WAYS], runs;

static u32 rnd(u32 n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (u32)(state >> 20) % n;
}

/* ---- the disk: ATA by bus master DMA, PIIX3's data sheet, and ATA-4 ------------------------------- */

static u16 bus_master;
static u8 sector[512] __attribute__((aligned(512)));
static u8 rest[512] __attribute__((aligned(512)));
static struct {
    u32 base;
    u16 bytes, flags;
} prd[4] __attribute__((aligned(64)));

static u32 pci_read(u32 device, u32 reg)
{
    outl(0xcf8, 0x80000000 | device << 8 | reg);
    return inl(0xcfc);
}

static void find_disk(void)
{
    for (u32 d = 0; d < 256; d++) {
        if (pci_read(d, 0) == 0xffffffff || pci_read(d, 8) >> 16 != 0x0101)
            continue;
        bus_master = (u16)(pci_read(d, 0x20) & 0xfff0);
        u32 command = pci_read(d, 4) & 0xffff;
        outl(0xcf8, 0x80000000 | d << 8 | 4);
        outl(0xcfc, command | 5);
        break;
    }
    outb(0x1f6, 0xe0);
    have_disk = bus_master && inb(0x1f7) && inb(0x1f7) != 0xff;
}

/* One sector, from or to the memory that prd says. */
static bool transfer(u32 lba, bool to_memory)
{
    u32 k;

    outl(bus_master + 4, (u32)(ulong)prd);
    outb(bus_master + 2, 6);
    outb(bus_master, to_memory ? 8 : 0);
    outb(0x1f6, 0xe0 | (lba >> 24 & 15));
    outb(0x1f2, 1);
    outb(0x1f3, (u8)lba);
    outb(0x1f4, (u8)(lba >> 8));
    outb(0x1f5, (u8)(lba >> 16));
    outb(0x1f7, to_memory ? 0xc8 : 0xca);
    outb(bus_master, to_memory ? 9 : 1);
    for (k = 0; k < 10000000; k++)
        if (!(inb(bus_master + 2) & 1) && !(inb(0x1f7) & 0x88))
            break;
    outb(bus_master, 0);
    return !(inb(bus_master + 2) & 2) && !(inb(0x1f7) & 1);
}

static void set_prd(u32 n, const void *base, ulong bytes, bool last)
{
    prd[n].base = (u32)(ulong)base;
    prd[n].bytes = (u16)bytes;
    prd[n].flags = last ? 0x8000 : 0;
}

/* Writes the bytes to a sector and reads them from there, to where they belong and may not cross a
 * page's end in one descriptor; what is left of the sector goes elsewhere. */
static bool by_dma(u8 *to, const u8 *from, ulong bytes)
{
    ulong left = 4096 - ((ulong)to & 4095), first = bytes < left ? bytes : left;
    u32 lba = rnd(1000), n = 0;

    memcpy(sector, from, bytes);
    set_prd(0, sector, 512, true);
    if (!transfer(lba, false))
        return false;
    set_prd(n++, to, first, false);
    if (first < bytes)
        set_prd(n++, to + first, bytes - first, false);
    set_prd(n, rest, 512 - bytes, true);
    return transfer(lba, true);
}

/* ---- slots as bytes ------------------------------------------------------------------------------- */

static const u8 operation[SIMPLE][2] = {
    [ADD] = {0x83, 0xc0}, [SUB] = {0x83, 0xe8}, [XOR] = {0x83, 0xf0}, [OR] = {0x83, 0xc8},
    [MUL] = {0x6b, 0xc0}, [ROL] = {0xc1, 0xc0}, [SKIP] = {0xeb, 0x0e}};
/* No operation: in 6 bytes, 3 and 3. */
static const u8 long_pad[] = {0x66, 0x0f, 0x1f, 0x44, 0, 0, 0x0f, 0x1f, 0, 0x0f, 0x1f, 0};

static void put32(u8 *p, u32 v)
{
    memcpy(p, &v, 4);
}

static void encode(const struct slot *s, u32 n, u8 *p)
{
    u32 target = s->target * SLOT;

    memset(p, 0x90, SLOT);
    if (s->pad && s->kind != POKE4)
        memcpy(p + 4, long_pad, sizeof(long_pad));
    switch (s->kind) {
    case POKE: /* MOV byte [RIP + to operand], imm */
        memset(p, 0x90, SLOT);
        p[0] = 0xc6;
        p[1] = 0x05;
        put32(p + 2, target + 2 - (n * SLOT + 7));
        p[6] = s->imm;
        break;
    case POKE4: /* MOV dword [RIP + to it], operation */
        p[0] = 0xc7;
        p[1] = 0x05;
        put32(p + 2, target - (n * SLOT + 10));
        p[6] = operation[s->new_kind][0];
        p[7] = operation[s->new_kind][1];
        p[8] = s->new_imm;
        break;
    case OTHER: /* MOV byte [RBX + to operand], imm: RBX is the piece's beginning in the other mapping */
        memset(p, 0x90, SLOT);
        p[0] = 0xc6;
        p[1] = 0x83;
        put32(p + 2, target + 2);
        p[6] = s->imm;
        break;
    case CALL: /* CALL R12 */
        p[0] = 0x41;
        p[1] = 0xff;
        p[2] = 0xd4;
        break;
    default:
        p[0] = operation[s->kind][0];
        p[1] = operation[s->kind][1];
        p[2] = s->imm;
        break;
    }
}

/* ---- choices --------------------------------------------------------------------------------------- */

/* Slots with odd numbers may be anything; those with even ones are what the others change, and simple. */
static void choose_slot(struct slot *s, u32 n, bool simple)
{
    s->kind = (u8)rnd(SIMPLE);
    if ((n & 1) && !simple && !rnd(3))
        s->kind = gentle ? OTHER : (u8)(POKE + rnd(4));
    s->imm = (u8)rnd(256);
    s->target = (u8)(rnd(SLOTS / 2) * 2);
    if (!rnd(3) && s->target + 4 < SLOTS && n + 2 < SLOTS) /* close behind itself */
        s->target = (u8)((n + 1) & ~1u);
    s->pad = (u8)rnd(2);
    s->new_kind = (u8)rnd(SIMPLE);
    s->new_imm = (u8)rnd(256);
}

/* caller: the slot that calls, and returns behind its first three bytes; SLOTS if none. */
static void choose_action(struct action *a, u32 caller)
{
    a->count = (u8)(1 + rnd(RUN_MAX));
    a->first = (u8)rnd(SLOTS - a->count + 1);
    if (caller < SLOTS && rnd(2)) /* near by */
        a->first = (u8)(caller < SLOTS - RUN_MAX ? caller : SLOTS - RUN_MAX);
    a->way = (enum way)rnd(STORES);
    if (!in_user && !rnd(8))
        a->way = BY_USER;
    if (!in_user && have_disk && !(at & 1) && !rnd(8))
        a->way = BY_DMA;
    for (u32 k = 0; k < a->count; k++) {
        choose_slot(&a->slot[k], a->first + k, a->first + k == caller);
        if (a->first + k == caller && a->slot[k].kind == SKIP)
            a->slot[k].kind = ADD;
        if (a->way == STOSB)
            a->slot[k].pad = 0;
    }
}

/* ---- actions --------------------------------------------------------------------------------------- */

CODE(user_copy, "rep; movsb" DONE);

static void store_qwords(u8 *to, const u8 *from, u32 bytes)
{
    for (u32 k = 0; k < bytes; k += 8)
        *(volatile u64 *)(to + k) = *(const u64 *)(from + k);
}

/* Stores that begin and end in the middle of instructions. */
static void store_odd(u8 *to, const u8 *from, u32 bytes)
{
    u32 k = 0;

    *(volatile u8 *)to = from[0];
    *(volatile u16 *)(to + 1) = *(const u16 *)(from + 1);
    for (k = 3; k + 8 <= bytes; k += 8)
        *(volatile u64 *)(to + k) = *(const u64 *)(from + k);
    for (; k < bytes; k++)
        *(volatile u8 *)(to + k) = from[k];
}

static void store_locked(u8 *to, const u8 *from, u32 bytes)
{
    for (u32 k = 0; k < bytes; k += 8) {
        u64 v = *(const u64 *)(from + k), old = *(volatile u64 *)(to + k);
        if (k & 8)
            __asm__ volatile("xchgq %0, %1" : "+r"(v), "+m"(*(u64 *)(to + k))::"memory");
        else
            __asm__ volatile("lock; cmpxchgq %2, %1"
                             : "+a"(old), "+m"(*(u64 *)(to + k))
                             : "r"(v)
                             : "memory");
    }
}

static void store_vectors(u8 *to, const u8 *from, u32 bytes)
{
    for (u32 k = 0; k < bytes; k += 16)
        __asm__ volatile("movups (%1), %%xmm0; movups %%xmm0, (%0)" ::"r"(to + k), "r"(from + k)
                         : "memory");
}

/* Operations by stores, what is all one byte by REP STOSB. */
static void store_string(u8 *to, const u8 *from, u32 bytes)
{
    for (u32 k = 0; k < bytes; k += SLOT) {
        u32 n = SLOT;
        while (n && from[k + n - 1] == 0x90)
            n--;
        void *d = to + k + n;
        ulong c = SLOT - n;
        for (u32 b = 0; b < n; b++)
            *(volatile u8 *)(to + k + b) = from[k + b];
        __asm__ volatile("rep; stosb" : "+D"(d), "+c"(c) : "a"(0x90) : "memory");
    }
}

static bool perform(const struct action *a)
{
    u8 *to = area + at + a->first * SLOT, *from = source;
    ulong bytes = a->count * SLOT, n;

    for (u32 k = 0; k < a->count; k++)
        encode(&a->slot[k], a->first + k, source + k * SLOT);
    if (a->way != BY_DMA && alias_runs) /* through the mapping that runs, or the other one */
        to += ALIAS - (ulong)area;
    switch (a->way) {
    case BYTES1:
        for (n = 0; n < bytes; n++)
            *(volatile u8 *)(to + n) = from[n];
        break;
    case WORDS:
        for (n = 0; n < bytes; n += 2)
            *(volatile u16 *)(to + n) = *(u16 *)(from + n);
        break;
    case DWORDS:
        for (n = bytes; n > 0; n -= 4) /* from the end */
            *(volatile u32 *)(to + n - 4) = *(u32 *)(from + n - 4);
        break;
    case QWORDS:
        store_qwords(to, from, (u32)bytes);
        break;
    case ODD:
        store_odd(to, from, (u32)bytes);
        break;
    case VECTOR:
        store_vectors(to, from, (u32)bytes);
        break;
    case MOVSB:
        memcpy(to, from, bytes);
        break;
    case MOVSQ:
        n = bytes / 8;
        __asm__ volatile("rep; movsq" : "+D"(to), "+S"(from), "+c"(n)::"memory");
        break;
    case STOSB:
        store_string(to, from, (u32)bytes);
        break;
    case LOCKED:
        store_locked(to, from, (u32)bytes);
        break;
    case BY_ALIAS:
        to += alias_runs ? (ulong)area - ALIAS : ALIAS - (ulong)area;
        store_qwords(to, from, (u32)bytes);
        break;
    case BY_USER:
        in.si = (ulong)from;
        in.di = (ulong)to;
        in.cx = bytes;
        return run_user(user_copy) == NONE;
    case BY_DMA:
        return by_dma(to, from, bytes);
    default:
        break;
    }
    return true;
}

static volatile bool failed;

/* What CALL slots come to: the next action. */
void act(void)
{
    if (done >= queued || !perform(&queue[done]))
        failed = true;
    done = done + 1;
}
CODE(stub, "push %rax; push %rcx; push %rdx; push %rbx; push %rsi; push %rdi; push %rbp; push %r8\n"
           "push %r9; push %r10; push %r11; push %r12; mov %rsp, %rbp; and $-16, %rsp; cld\n"
           "call act\n"
           "mov %rbp, %rsp; pop %r12; pop %r11; pop %r10; pop %r9; pop %r8; pop %rbp; pop %rdi\n"
           "pop %rsi; pop %rbx; pop %rdx; pop %rcx; pop %rax; ret");

/* ---- the model ------------------------------------------------------------------------------------- */

static u32 simple(const struct slot *s, u32 v)
{
    u32 imm = (u32)(int32_t)(int8_t)s->imm, n = s->imm & 31;

    switch (s->kind) {
    case ADD:
        return v + imm;
    case SUB:
        return v - imm;
    case XOR:
        return v ^ imm;
    case OR:
        return v | imm;
    case MUL:
        return v * imm;
    case ROL:
        return n ? v << n | v >> (32 - n) : v;
    default:
        return v;
    }
}

static void model_action(const struct action *a)
{
    for (u32 k = 0; k < a->count; k++)
        model[a->first + k] = a->slot[k];
}

/* What a run of the piece will come to. Actions of its calls are chosen, and queued. */
static u32 model_run(u32 v)
{
    queued = done = 0;
    for (u32 k = 0; k < SLOTS; k++) {
        struct slot *s = &model[k], *t = &model[s->target];
        switch (s->kind) {
        case OTHER:
            if (aimed)
                t->imm = s->imm;
            break;
        case POKE:
            t->imm = s->imm;
            break;
        case POKE4:
            t->kind = s->new_kind;
            t->imm = s->new_imm;
            break;
        case CALL:
            if (queued == ACTIONS)
                break;
            choose_action(&queue[queued], k);
            model_action(&queue[queued++]);
            break;
        default:
            v = simple(s, v);
            break;
        }
    }
    return v;
}

/* ---- running --------------------------------------------------------------------------------------- */

static u32 run_here(const u8 *fn, const u8 *other, u32 v)
{
    ulong ax = v;

    __asm__ volatile("mov %2, %%r12; call *%3"
                     : "+a"(ax)
                     : "b"(other), "r"((ulong)stub), "r"(fn)
                     : "memory", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12");
    return (u32)ax;
}

CODE(user_run, "call *%rdx" DONE);

static u32 run_there(const u8 *fn, const u8 *other, u32 v)
{
    in.ax = v;
    in.bx = (ulong)other;
    in.dx = (ulong)fn;
    in.r12 = (ulong)stub;
    if (run_user(user_run) != NONE)
        failed = true;
    return (u32)trap.r.ax;
}

static void compare_bytes(void)
{
    u8 want[SLOT];

    for (u32 k = 0; k < SLOTS; k++) {
        encode(&model[k], k, want);
        if (memcmp(area + at + k * SLOT, want, SLOT) != 0) {
            say("slot %d of kind %d at %lx: %lx %lx, want %lx %lx\n", (int)k, (int)model[k].kind,
                (u64)(at + k * SLOT), *(u64 *)(area + at + k * SLOT),
                *(u64 *)(area + at + k * SLOT + 8), *(u64 *)want, *(u64 *)(want + 8));
            failed = true;
        }
    }
}

static bool run_once(bool aim)
{
    u8 *here = area + at, *alias = (u8 *)ALIAS + at;
    u8 *fn, *other;
    u32 v = rnd(~0u), want, got;
    u64 before = state;

    in_user = !rnd(3);
    alias_runs = !rnd(3);
    aimed = aim;
    fn = alias_runs ? alias : here;
    other = !aimed ? aside : rnd(2) ? here : alias;
    want = model_run(v);
    got = in_user ? run_there(fn, other, v) : run_here(fn, other, v);
    runs++;
    for (u32 k = 0; k < queued; k++)
        counts[queue[k].way]++;
    if (got == want && done == queued && !failed)
        return true;
    CHECK("result", got, want);
    CHECK("calls", done, queued);
    say("state %lx, run %lx, at %lx, user %d, alias %d\n", before, runs, (u64)at, (int)in_user,
        (int)alias_runs);
    compare_bytes();
    return false;
}

/* The piece somewhere else, all new; often with a page's end in it. */
static void move(void)
{
    gentle = rnd(2);
    at = rnd(PAGES * 4096 - BYTES);
    if (rnd(4))
        at = 4096 * (1 + rnd(PAGES - 1)) - rnd(BYTES);
    if (rnd(2))
        at &= ~1ul;
    for (u32 k = 0; k < SLOTS; k++) {
        choose_slot(&model[k], k, false);
        encode(&model[k], k, area + at + k * SLOT);
    }
    area[at + SLOTS * SLOT] = 0xc3;
}

static bool round_of_runs(void)
{
    u32 n = rnd(4) ? 1 + rnd(3) : 20 + rnd(40);

    if (!rnd(8))
        move();
    for (u32 k = rnd(4); k > 0; k--) {
        struct action a;
        in_user = alias_runs = false;
        choose_action(&a, SLOTS);
        model_action(&a);
        counts[a.way]++;
        if (!perform(&a)) {
            CHECK("an action by itself", a.way, ~0u);
            return false;
        }
    }
    while (n-- > 0)
        if (!run_once(!gentle || n == 0))
            return false;
    compare_bytes();
    return !failed;
}

void guest_main(void)
{
    u64 rounds = parameter("rounds", 300), seconds = parameter("seconds", 0), k = 0;
    u64 end = rdtsc() + seconds * 1000000000ull;
    bool ok = true;

    state = parameter("seed", 1) * 0x9e3779b97f4a7c15ull | 1;
    find_disk();
    if (!have_disk)
        skip("no disk for DMA");
    page_root = get_cr3();
    paging_levels = 4;
    area = pages_alloc(PAGES);
    aside = page_alloc();
    for (ulong p = 0; p < PAGES * 4096; p += 4096)
        pte_set(ALIAS + p, ((ulong)area + p) | P | W | U);
    move();
    for (; ok && (seconds ? rdtsc() < end : k < rounds); k++)
        ok = round_of_runs();
    CHECK_TRUE("all rounds", ok);
    CHECK_TRUE("all ways used", !ok || k < 100 || counts[BY_USER] > 0);
    CHECK_TRUE("DMA used", !ok || k < 100 || !have_disk || counts[BY_DMA] > 0);
    say("%lx rounds, %lx runs; replaced by DMA %lx times, by user code %lx, REP MOVS %lx\n", k,
        runs, counts[BY_DMA], counts[BY_USER], counts[MOVSB] + counts[MOVSQ]);
}
