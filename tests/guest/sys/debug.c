/* Debug registers: instruction, data and I/O breakpoints, lengths and alignments, general detect, RF,
 * and what the registers themselves take. SDM vol. 3, chapter 17, and table 6-2 for the order.
 *
 * The hook notes each #DB and goes on; a fault (instruction breakpoint, general detect) is resumed with
 * RF set, as a debugger does.
 *
 * QEMU is known to differ: it has no RF but for instruction breakpoints, ignores GD on reads of some
 * registers, and its data breakpoints know neither exact lengths nor stack pushes by deliveries.
 */
#include "sys.h"

#define MAX_HITS 16
#define VEC      0x40
enum { X = 0, WR = 1, IO = 2, RW = 3 };
enum { LEN1 = 0, LEN2 = 1, LEN8 = 2, LEN4 = 3 };
enum { BD = 1 << 13, BS = 1 << 14 };
#define DR6_INIT 0xffff0ff0ul
#define DR7_INIT 0x400ul

static struct {
    ulong ip, flags, dr6, dr7, cx;
} hits[MAX_HITS];
static int count;
static bool set_rf;

static bool hook(struct frame *f)
{
    if (f->vector == VEC)
        return true;
    if (f->vector != DB)
        return false;
    if (count < MAX_HITS) {
        hits[count].ip = f->ip;
        hits[count].flags = f->flags;
        hits[count].dr6 = get_dr6();
        hits[count].dr7 = get_dr7();
        hits[count].cx = f->cx;
    }
    if (count++ > MAX_HITS)
        return false;
    set_dr6(DR6_INIT);
    if (set_rf)
        f->flags |= FL_RF;
    return true;
}

static ulong dr7_of(unsigned n, unsigned kind, unsigned len)
{
    return 1ul << (2 * n + 1) | (ulong)(kind | len << 2) << (16 + 4 * n);
}

static void set_bp(unsigned n, ulong at, unsigned kind, unsigned len)
{
    switch (n) {
    case 0:
        set_dr0(at);
        break;
    case 1:
        set_dr1(at);
        break;
    case 2:
        set_dr2(at);
        break;
    default:
        set_dr3(at);
        break;
    }
    set_dr7((get_dr7() & ~(0xful << (16 + 4 * n))) | dr7_of(n, kind, len));
}

static void clear_bps(void)
{
    set_dr7(DR7_INIT);
    set_dr6(DR6_INIT);
    count = 0;
    set_rf = false;
}

#define LABELS(a, b, c)                                                                            \
    LABEL(a);                                                                                      \
    LABEL(b);                                                                                      \
    LABEL(c)
#if BITS == 64
#define SP "%rsp"
#define AX "%rax"
#define SI "(%rsi)"
#else
#define SP "%esp"
#define AX "%eax"
#define SI "(%esi)"
#endif

/* ---- instruction breakpoints ------------------------------------------------------------------- */

LABELS(x1, x2, x3);
CODE(three, "nop\n x1: rep; nop\n x2: add $1, %eax\n x3: ret");
LABELS(sh1, sh2, sh3);
CODE(shadowed, "mov %ss, %eax; mov %eax, %ss\n sh1: nop\n sh2: nop\n sh3: ret");
LABELS(rp1, rp2, rp3);
CODE(rep_bp, "mov $3, %ecx\n rp1: rep; movsb\n rp2: nop\n rp3: ret");
LABELS(ll1, ll2, ll3);
CODE(loop_bp, "mov $3, %ecx\n ll1: dec %ecx\n jnz ll1\n ll2: ret\n ll3:");
LABELS(st1, st2, st3);
CODE(sti_bp, "cli; sti\n st1: nop\n st2: cli; ret\n st3:");
CODE(user_nop, "nop; nop" DONE);

static void instruction(void)
{
    in.ax = 0;
    clear_bps();
    set_rf = true;
    set_bp(0, (ulong)x2, X, LEN1);
    RUN("breakpoint", three, NONE, 0);
    CHECK("hits", count, 1);
    CHECK("IP", hits[0].ip, (ulong)x2);
    CHECK("DR6", hits[0].dr6, DR6_INIT | 1);
    CHECK("RF in the pushed flags", hits[0].flags & FL_RF, 0);
    CHECK("resumed", trap.r.ax, 1);
    clear_bps();
    set_rf = true;
    set_bp(3, (ulong)x2, X, LEN1);
    set_bp(1, (ulong)x2, X, LEN1);
    set_dr2((ulong)x2); /* not enabled */
    RUN("two breakpoints at once", three, NONE, 0);
    CHECK("hits", count, 1);
    CHECK("DR6", hits[0].dr6 & ~4ul, DR6_INIT | 8 | 2);
    clear_bps();
    set_bp(0, (ulong)x1 + 1, X, LEN1); /* the NOP behind its prefix */
    RUN("breakpoint inside an instruction", three, NONE, 0);
    CHECK("hits", count, 0);
    clear_bps();
    set_rf = true;
    set_dr0((ulong)x1);
    set_dr7(1); /* local enable */
    RUN("local breakpoint on a prefix", three, NONE, 0);
    CHECK("hits", count, 1);
    CHECK("IP", hits[0].ip, (ulong)x1);
    clear_bps();
    set_rf = true;
    set_bp(0, (ulong)sh1, X, LEN1);
    set_bp(1, (ulong)sh2, X, LEN1);
    RUN("breakpoint in the shadow of MOV SS", shadowed, NONE, 0);
    CHECK("hits", count, 1);
    CHECK("only the one behind it", hits[0].ip, (ulong)sh2);
    clear_bps();
    set_rf = true;
    set_bp(0, (ulong)st1, X, LEN1);
    RUN("breakpoint after STI", sti_bp, NONE, 0);
    CHECK("hits", count, 1);
    clear_bps();
    set_rf = true;
    set_bp(0, (ulong)ll1, X, LEN1);
    RUN("breakpoint in a loop", loop_bp, NONE, 0);
    CHECK("hits: RF lasts one instruction", count, 3);
    static char text[4] = "abc", to[4];
    clear_bps();
    set_rf = true;
    in.si = (ulong)text;
    in.di = (ulong)to;
    set_bp(0, (ulong)rp1, X, LEN1);
    RUN("breakpoint on REP MOVSB", rep_bp, NONE, 0);
    CHECK("hits once, before the first", count, 1);
    CHECK("ECX", hits[0].cx, 3);
    clear_bps();
    set_rf = true;
    set_bp(0, (ulong)user_nop, X, LEN1);
    USER("breakpoint at the target of IRET", user_nop, NONE, 0);
    CHECK("hits", count, 1);
    clear_bps();
    set_bp(0, (ulong)user_nop, X, LEN1);
    user.flags = FL_RF | 2;
    USER("IRET with RF", user_nop, NONE, 0);
    CHECK("hits", count, 0);
    set_bp(0, (ulong)user_nop + 1, X, LEN1);
    set_rf = true;
    USER("IRET with RF, breakpoint one further", user_nop, NONE, 0);
    CHECK("hits", count, 1);
    user.flags = 2;
    clear_bps();
}

/* ---- data breakpoints -------------------------------------------------------------------------- */

LABELS(w1, w2, w3);
CODE(wr1, "movb %al, " SI "\n ret");
CODE(wr2, "movw %ax, " SI "\n ret");
CODE(wr4, "movl %eax, " SI "\n w1: ret");
CODE(rd4, "movl " SI ", %eax\n w2: ret");
CODE(rd1, "movb " SI ", %al\n ret");
CODE(rmw4, "addl %eax, " SI "\n w3: ret");
CODE(cmp4, "cmpl %eax, " SI "\n ret");
CODE(rep_data, "mov $6, %ecx\n rd_1: rep; stosb\n rd_2: nop\n rd_3: ret");
LABELS(rd_1, rd_2, rd_3);
CODE(mov_ss_mem, "mov " SI ", %ss\n mss1: nop\n mss2: nop\n mss3: ret");
LABELS(mss1, mss2, mss3);
CODE(mov_ss_int, "mov " SI ", %ss\n int $0x40\n msi1: nop\n msi2: msi3: ret");
LABELS(msi1, msi2, msi3);
CODE(int_only, "int $0x40\n ret");
CODE(pushes, "push " AX "\n pu1: pop " AX "\n pu2: ret\n pu3:");
LABELS(pu1, pu2, pu3);
#if BITS == 64
CODE(wr8, "mov %rax, (%rsi)\n ret");
#endif
CODE(step_wr, "pushf; orl $0x100, (" SP "); popf\n movl %eax, " SI
              "\n sw1: pushf; andl $~0x100, (" SP "); popf; ret\n sw2: sw3:");
LABELS(sw1, sw2, sw3);

static u8 data[64] __attribute__((aligned(64)));

static void hit_at(int line, const char *what, const void *code, long offset, unsigned kind,
                   unsigned len, ulong bp_offset, bool want)
{
    clear_bps();
    set_bp(0, (ulong)data + 16 + bp_offset, kind, len);
    in.si = (ulong)data + 16 + (ulong)offset;
    run(code);
    expect_at_line(line, what, NONE, 0);
    check_at(line, what, (u64)count, want);
    if (want && count) {
        check_at(line, "DR6", hits[0].dr6, DR6_INIT | 1);
        check_at(line, "it is a trap: RF", hits[0].flags & FL_RF, 0);
    }
    clear_bps();
}
#define HIT(...)  hit_at(__LINE__, __VA_ARGS__, true)
#define MISS(...) hit_at(__LINE__, __VA_ARGS__, false)

static void data_breakpoints(void)
{
    HIT("write of the byte", wr1, 0, WR, LEN1, 0);
    MISS("write below", wr1, -1, WR, LEN1, 0);
    MISS("write above", wr1, 1, WR, LEN1, 0);
    HIT("write of 4 from 3 below", wr4, -3, WR, LEN1, 0);
    MISS("write of 4 from 4 below", wr4, -4, WR, LEN1, 0);
    HIT("2 bytes, the second", wr1, 1, WR, LEN2, 0);
    MISS("2 bytes, above", wr1, 2, WR, LEN2, 0);
    HIT("2 bytes at an odd address are those around it", wr1, 0, WR, LEN2, 1);
    MISS("2 bytes at an odd address", wr1, 2, WR, LEN2, 1);
    HIT("4 bytes, the last", wr1, 3, WR, LEN4, 0);
    MISS("4 bytes, above", wr1, 4, WR, LEN4, 0);
    HIT("4 bytes at address 3 are those around it", wr1, 0, WR, LEN4, 3);
    MISS("4 bytes at address 3", wr1, 4, WR, LEN4, 3);
    HIT("4 bytes, a word half in from below", wr2, -1, WR, LEN4, 0);
    HIT("4 bytes, a word half in from above", wr2, 3, WR, LEN4, 0);
#if BITS == 64
    HIT("8 bytes, the last", wr1, 7, WR, LEN8, 0);
    MISS("8 bytes, above", wr1, 8, WR, LEN8, 0);
    HIT("8 bytes at address 5 are those around it", wr1, 0, WR, LEN8, 5);
    HIT("write of 8 around one", wr8, -4, WR, LEN1, 0);
#endif
    MISS("read of a write breakpoint", rd4, 0, WR, LEN4, 0);
    HIT("read of a read-write breakpoint", rd4, 0, RW, LEN4, 0);
    HIT("byte read of its last byte", rd1, 3, RW, LEN4, 0);
    HIT("write of a read-write breakpoint", wr4, 0, RW, LEN4, 0);
    HIT("read-modify-write", rmw4, 0, WR, LEN4, 0);
    MISS("compare", cmp4, 0, WR, LEN4, 0);
    HIT("compare, read-write", cmp4, 0, RW, LEN4, 0);

    clear_bps();
    set_bp(0, (ulong)data, WR, LEN4);
    in.si = (ulong)data;
    in.ax = 0x12345678;
    RUN("write", wr4, NONE, 0);
    CHECK("the trap comes after it", hits[0].ip, (ulong)w1);
    CHECK("and the data is there", ld32(data), 0x12345678);
    clear_bps();
    set_bp(2, (ulong)wr4, RW, LEN1);
    RUN("a fetch is no read", wr4, NONE, 0);
    CHECK("hits", count, 0);
    clear_bps();
    set_bp(0, (ulong)data, WR, LEN4);
    set_bp(1, (ulong)data + 2, RW, LEN2);
    set_bp(2, (ulong)data + 4, RW, LEN4);
    RUN("two of three at once", wr4, NONE, 0);
    CHECK("hits", count, 1);
    CHECK("DR6", hits[0].dr6 & 7, 3);

    clear_bps();
    in.di = (ulong)data;
    set_bp(0, (ulong)data + 2, WR, LEN1);
    RUN("REP STOSB over one", rep_data, NONE, 0);
    CHECK("hits", count, 1);
    CHECK("after the iteration: IP", hits[0].ip, (ulong)rd_1);
    CHECK("after the iteration: ECX", hits[0].cx, 3);
    if (!on_qemu())
        CHECK("RF between iterations", hits[0].flags & FL_RF, FL_RF);
    clear_bps();
    set_bp(0, (ulong)data + 5, WR, LEN1);
    RUN("REP STOSB, the last", rep_data, NONE, 0);
    CHECK("hits", count, 1);
    CHECK("IP", hits[0].ip, (ulong)rd_2);

    clear_bps();
    in.si = (ulong)data;
    st16(data, KDATA);
    set_bp(0, (ulong)data, RW, LEN2);
    RUN("MOV SS from a watched place", mov_ss_mem, NONE, 0);
    CHECK("hits", count, 1);
    CHECK("the trap is held for one instruction", hits[0].ip, (ulong)mss2);
    clear_bps();
    set_bp(0, (ulong)data, RW, LEN2);
    RUN("MOV SS from a watched place, then INT", mov_ss_int, NONE, 0);
    CHECK("hits", count, 1);
    CHECK("the trap comes at the handler", hits[0].ip, (ulong)stub_table + 16 * VEC);
    CHECK("DR6", hits[0].dr6, DR6_INIT | 1);

    clear_bps();
    in.si = (ulong)data;
    set_bp(0, (ulong)data, WR, LEN4);
    RUN("single-step and a breakpoint in one", step_wr, NONE, 0);
    CHECK("both told together", hits[0].dr6, DR6_INIT | BS | 1);
    CHECK("IP", hits[0].ip, (ulong)sw1);

    clear_bps();
    set_bp(0, (ulong)run_stack_top - 2 * sizeof(ulong), WR, LEN4);
    RUN("PUSH to a watched place", pushes, NONE, 0);
    CHECK("hits", count, 1);
    CHECK("IP", hits[0].ip, (ulong)pu1);
    /* what a delivery pushes: #DB at the handler's first instruction */
    clear_bps();
    set_bp(0, (ulong)run_stack_top - (BITS == 64 ? 40 : 12), WR, LEN4); /* flags of INT's frame */
    RUN("frame of INT to a watched place", int_only, NONE, 0);
    CHECK("IP is the handler", hits[0].ip, (ulong)stub_table + 16 * VEC);
    clear_bps();
}

/* ---- I/O breakpoints, general detect, the registers -------------------------------------------- */

CODE(io_out1, "mov $0x80, %edx; out %al, %dx\n io1: ret");
CODE(io_out2, "mov $0x7f, %edx; outw %ax, %dx\n ret");
CODE(io_in1, "in $0x81, %al\n ret");
LABEL(io1);
CODE(rd_dr7, "mov %dr7, " AX "; ret");
CODE(wr_dr6, "xor %eax, %eax; mov " AX ", %dr6; ret");
CODE(wr_dr0, "mov " AX ", %dr0; ret");
CODE(rd_dr4, "mov %dr4, " AX "; ret");
CODE(rd_dr5, "mov %dr5, " AX "; ret");
CODE(wr_dr5, "mov " AX ", %dr5; ret");
CODE(user_dr, "mov %dr0, " AX DONE);
CODE(int1, "nop\n .byte 0xf1\n in1_1: ret");
LABEL(in1_1);

static void io(void)
{
    set_cr4(get_cr4() | CR4_DE);
    clear_bps();
    set_bp(0, 0x80, IO, LEN1);
    RUN("OUT to a watched port", io_out1, NONE, 0);
    CHECK("hits", count, 1);
    CHECK("after it", hits[0].ip, (ulong)io1);
    CHECK("DR6", hits[0].dr6, DR6_INIT | 1);
    clear_bps();
    set_bp(0, 0x80, IO, LEN1);
    RUN("word OUT that ends in it", io_out2, NONE, 0);
    CHECK("hits", count, 1);
    RUN("IN of the port above", io_in1, NONE, 0);
    CHECK("hits", count, 1);
    clear_bps();
    set_bp(0, 0x82, IO, LEN4); /* 80 to 83 */
    RUN("IN in a watched range", io_in1, NONE, 0);
    CHECK("hits", count, 1);
    clear_bps();
    set_bp(0, (ulong)data, IO, LEN4);
    in.si = (ulong)data;
    RUN("a store to such an address", wr4, NONE, 0);
    CHECK("hits", count, 0);
    set_cr4(get_cr4() & ~(ulong)CR4_DE);
    clear_bps();
}

static void registers(void)
{
    clear_bps();
    set_dr7(0x2000 | DR7_INIT);
    RUN("reading DR7 under GD", rd_dr7, NONE, 0);
    CHECK("hits once: the handler has GD clear", count, 1);
    CHECK("IP", hits[0].ip, (ulong)rd_dr7);
    CHECK("DR6", hits[0].dr6, DR6_INIT | BD);
    CHECK("DR7 in the handler", hits[0].dr7, DR7_INIT);
    if (!on_qemu())
        CHECK("RF pushed by this fault", hits[0].flags & FL_RF, FL_RF);
    CHECK("then it is read", trap.r.ax, DR7_INIT);
    clear_bps();
    set_dr7(0x2000);
    RUN("writing DR6 under GD", wr_dr6, NONE, 0);
    CHECK("hits", count, 1);
    clear_bps();
    set_dr7(0x2000);
    USER("level 3 under GD", user_dr, GP, 0);
    /* the runtime's handler reads DR6, which ended GD */
    CHECK_TRUE("is no #DB", count == 1 && hits[0].ip != (ulong)user_dr);
    clear_bps();

    set_dr6(0);
    CHECK("DR6 from 0", get_dr6(), 0xffff0ff0);
    set_dr6(0xffffffff);
    CHECK("DR6 from all ones", get_dr6() & ~(ulong)0x1800,
          0xffffe7ff); /* RTM, bus lock: not here */
    set_dr7(0);
    CHECK("DR7 from 0", get_dr7(), 0x400);
    set_dr7(0xffff0000 | 0xd800); /* all but GD and the enables: 14, 15, 12, 11 are reserved */
    CHECK("DR7 from much", get_dr7() & ~(ulong)0x800, 0xffff0400);
    clear_bps();
    set_dr3(0xdeadbeef);
    CHECK("DR3", get_dr3(), 0xdeadbeef);
    set_cr4(get_cr4() & ~(ulong)CR4_DE);
    set_dr6(0xffff0ff1);
    RUN("DR4 is DR6 without DE", rd_dr4, NONE, 0);
    CHECK("its value", trap.r.ax, 0xffff0ff1);
    RUN("DR5 is DR7 without DE", rd_dr5, NONE, 0);
    CHECK("its value", trap.r.ax, 0x400);
    set_cr4(get_cr4() | CR4_DE);
    RUN("DR4 with DE", rd_dr4, UD, 0);
    RUN("writing DR5 with DE", wr_dr5, UD, 0);
    set_cr4(get_cr4() & ~(ulong)CR4_DE);
    USER("DR0 at level 3", user_dr, GP, 0);
    /* DR6 is not cleared by the processor: BS of before stays beside B0 */
    clear_bps();
    set_dr6(DR6_INIT | BS);
    set_bp(0, (ulong)data, WR, LEN4);
    in.si = (ulong)data;
    RUN("write", wr4, NONE, 0);
    CHECK("DR6 accumulates", hits[0].dr6, DR6_INIT | BS | 1);
    clear_bps();
    RUN("INT1", int1, NONE, 0);
    CHECK("hits", count, 1);
    CHECK("INT1 is a trap", hits[0].ip, (ulong)in1_1);
    CHECK("INT1 leaves DR6", hits[0].dr6, DR6_INIT);
#if BITS == 64
    in.ax = 0x100000000;
    RUN("high half of DR7", wr_dr5, GP, 0);
    in.ax = 0x8000000000000000;
    RUN("non-canonical DR0", wr_dr0, NONE, 0);
    CHECK("is kept", get_dr0(), 0x8000000000000000);
#endif
    clear_bps();
}

/* The breakpoint comes before the page fault of fetching it (table 6-2). */
CODE(jump_si, "jmp *%" /* to where nothing is */
#if BITS == 64
              "rsi");
#else
              "esi");
#endif

static void priority(void)
{
    ulong va = BITS == 64 ? (ulong)0x8000000000 : 0x70000000ul;

#if BITS == 32
    paging_on(2);
#else
    page_root = get_cr3();
    paging_levels = 4;
#endif
    pte_set(va, 0);
    clear_bps();
    set_rf = true;
    in.si = va;
    set_bp(0, va, X, LEN1);
    RUN("breakpoint in an absent page", jump_si, PF, BITS == 64 ? PFE_I : 0);
    CHECK("#DB comes first", count, 1);
    clear_bps();
}

void guest_main(void)
{
    trap_hook = hook;
    idt_set(VEC, KCODE, stub_table + 16 * VEC, 0xee, 0);
    instruction();
    data_breakpoints();
    io();
    registers();
    priority();
}
