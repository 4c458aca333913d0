/* Repeated string instructions interrupted and resumed: page faults in the middle, in either operand,
 * both directions, address sizes; interrupts between iterations; I/O strings; and instructions of
 * several accesses that a fault must leave undone. SDM vol. 2, REP; vol. 1, 7.3.9.
 *
 * QEMU is known to differ: what reads and then writes faults as a read, and x87 stores of ten bytes are
 * two stores.
 *
 * A page is filled in by the fault's handler and the instruction resumed, as an operating system does.
 */
#include "sys.h"

#if BITS == 64
#define VA 0x8000000000ul
#define SI "%rsi"
#define DI "%rdi"
#define CX "%rcx"
#define SP "%rsp"
#define BP "%rbp"
#else
#define VA 0x70000000ul
#define SI "%esi"
#define DI "%edi"
#define CX "%ecx"
#define SP "%esp"
#define BP "%ebp"
#endif
#define PAGES 8

static u8 *mem; /* PAGES physical pages, VA maps to them on demand */
static unsigned faults;
static struct {
    ulong cr2, cx, si, di, ip, error;
} at[64];
static bool fill_in;

static bool hook(struct frame *f)
{
    ulong va = get_cr2();

    if (f->vector != PF)
        return false;
    if (faults < 64) {
        at[faults].cr2 = va;
        at[faults].cx = f->cx;
        at[faults].si = f->si;
        at[faults].di = f->di;
        at[faults].ip = f->ip;
        at[faults].error = f->error;
    }
    faults++;
    if (!fill_in || va < VA || va >= VA + 2 * PAGES * 4096ul || faults > 60)
        return false;
    ulong page = (va - VA) >> 12;
    pte_set(VA + page * 4096, ((ulong)mem + (page & (PAGES - 1)) * 4096) | P | W | U);
    return true;
}

/* Nothing mapped: the second PAGES pages are an alias of the first. */
static void unmap(void)
{
    for (unsigned k = 0; k < 2 * PAGES; k++)
        pte_set(VA + k * 4096ul, 0);
    faults = 0;
}

static void pattern(void)
{
    for (unsigned k = 0; k < PAGES * 4096; k++)
        mem[k] = (u8)(k * 7 + (k >> 8));
}

CODE(movsb, "cld; rep; movsb; cld; ret");
CODE(movsb_d, "std; rep; movsb; cld; ret");
CODE(movsl, "cld; rep; movsl; cld; ret");
CODE(stosl, "cld; rep; stosl; cld; ret");
CODE(stosw_d, "std; rep; stosw; cld; ret");
CODE(lodsb, "cld; rep; lodsb; ret");
CODE(scasb, "cld; repne; scasb; ret");
CODE(cmpsb, "cld; repe; cmpsb; ret");
CODE(movs_fault, "stc; cld\n mf: rep; movsb; ret");
LABEL(mf);

static void moves(void)
{
    static u8 want[64];

    fill_in = true;
    pattern();
    unmap();
    in.si = VA + 4096 - 10;
    in.di = VA + 3 * 4096 - 20;
    in.cx = 4096;
    memcpy(want, mem + 4096 - 10, 64);
    RUN("MOVSB over two pages on each side", movsb, NONE, 0);
    CHECK("faults: one a page", faults, 4);
    CHECK("CX", trap.r.cx, 0);
    CHECK("SI", trap.r.si, VA + 4096 - 10 + 4096);
    CHECK("DI", trap.r.di, VA + 3 * 4096 - 20 + 4096);
    CHECK("data", memcmp(mem + 3 * 4096 - 20, want, 64), 0);
    CHECK("first fault is of the source", at[0].cr2, VA + 4096 - 10);
    CHECK("read", at[0].error & PFE_W, 0);
    CHECK("then of the destination", at[1].cr2, VA + 3 * 4096 - 20);
    CHECK("write", at[1].error & PFE_W, PFE_W);
    CHECK("CX at the first", at[0].cx, 4096);
    CHECK("CX at the second source page", at[2].cx, 4096 - 10);
    CHECK("SI there", at[2].si, VA + 4096);
    CHECK("DI there", at[2].di, VA + 3 * 4096 - 10);
    CHECK("CX at the second destination page", at[3].cx, 4096 - 20);
    CHECK("RIP is the instruction's each time", at[3].ip, (ulong)movsb + 1);

    pattern();
    unmap();
    memcpy(want, mem + 2 * 4096, 8);
    in.si = VA + 2 * 4096 + 7;
    in.di = VA + 5 * 4096 + 3;
    in.cx = 8;
    RUN("downwards", movsb_d, NONE, 0);
    CHECK("faults", faults, 3);
    CHECK("CX at the page border", at[2].cx, 4);
    CHECK("CR2 there", at[2].cr2, VA + 5 * 4096 - 1);
    CHECK("data", memcmp(mem + 5 * 4096 - 4, want, 8), 0);
    CHECK("SI", trap.r.si, VA + 2 * 4096 - 1);

    pattern();
    unmap();
    in.si = VA + 4096 - 6; /* elements across the border */
    in.di = VA + 4 * 4096 - 2;
    in.cx = 6;
    memcpy(want, mem + 4096 - 6, 24);
    RUN("dwords across pages", movsl, NONE, 0);
    CHECK("data", memcmp(mem + 4 * 4096 - 2, want, 24), 0);
    CHECK("CX at the element that crosses", at[2].cx, 6);
    CHECK("CR2: second page of the destination", at[2].cr2, VA + 4 * 4096);
    CHECK("CX at the source's", at[3].cx, 5);
    CHECK("CR2: second page of the source", at[3].cr2, VA + 4096);

    /* overlapping by one: a fill, in either direction */
    pattern();
    unmap();
    mem[100] = 0xaa;
    in.si = VA + 100;
    in.di = VA + 101;
    in.cx = 5000;
    RUN("overlapping upwards", movsb, NONE, 0);
    CHECK("spreads the first byte", mem[100 + 5000], 0xaa);
    CHECK("no further", mem[101 + 5000] == 0xaa,
          (u8)((101 + 5000) * 7 + ((101 + 5000) >> 8)) == 0xaa);
    pattern();
    unmap();
    mem[6000] = 0xbb;
    in.si = VA + 6000;
    in.di = VA + 5999;
    in.cx = 5000;
    RUN("overlapping downwards", movsb_d, NONE, 0);
    CHECK("spreads the last byte", mem[1000], 0xbb);
    /* the same page by two mappings: overlap that addresses do not show */
    pattern();
    unmap();
    mem[0] = 0xcc;
    in.si = VA;
    in.di = VA + PAGES * 4096 + 1;
    in.cx = 1000;
    RUN("overlapping through an alias", movsb, NONE, 0);
    CHECK("spreads the first byte", mem[1000], 0xcc);

    pattern();
    unmap();
    in.di = VA + 4096 - 8;
    in.ax = 0x11223344;
    in.cx = 4;
    RUN("STOSL over a border", stosl, NONE, 0);
    CHECK("last", ld32(mem + 4096 + 4), 0x11223344);
    CHECK("faults", faults, 2);
    unmap();
    in.di = VA + 4096 + 1; /* words across, downwards */
    in.cx = 3;
    RUN("STOSW downwards", stosw_d, NONE, 0);
    CHECK("word across the border", mem[4095] | mem[4096] << 8, 0x3344);
    CHECK("DI", trap.r.di, VA + 4096 - 5);
    unmap();
    in.si = VA + 4000;
    in.cx = 200;
    RUN("LODSB", lodsb, NONE, 0);
    CHECK("AL is the last", trap.r.ax & 0xff, mem[4199]);
    pattern();
    unmap();
    mem[9000] = 0xee;
    for (unsigned k = 4000; k < 9000; k++)
        mem[k] = 1;
    in.di = VA + 4000;
    in.ax = 0xee;
    in.cx = 100000;
    RUN("REPNE SCASB", scasb, NONE, 0);
    CHECK("stops behind it", trap.r.di, VA + 9001);
    CHECK("CX", trap.r.cx, 100000 - 5001);
    CHECK("ZF", trap.flags & FL_ZF, FL_ZF);
    unmap();
    in.si = VA + 4000;
    in.di = VA + 4500;
    in.cx = 100000;
    mem[8600] = 2;
    RUN("REPE CMPSB", cmpsb, NONE, 0);
    CHECK("stops behind the difference", trap.r.di, VA + 8601);
    CHECK("ZF", trap.flags & FL_ZF, 0);
    CHECK("CF: 1 is below 2", trap.flags & FL_CF, FL_CF);

    /* a fault that is not mended: what has been done stays done */
    fill_in = false;
    pattern();
    unmap();
    pte_set(VA, (ulong)mem | P | W);
    pte_set(VA + 4096, ((ulong)mem + 4096) | P); /* read-only */
    set_cr0(get_cr0() | CR0_WP);
    in.si = VA;
    in.di = VA + 4096 - 100;
    in.cx = 1000;
    RUN("fault in the middle", movs_fault, PF, PFE_P | PFE_W);
    CHECK("CX", trap.r.cx, 900);
    CHECK("SI", trap.r.si, VA + 100);
    CHECK("DI", trap.r.di, VA + 4096);
    CHECK("IP", trap.ip, (ulong)mf);
    CHECK("CF kept", trap.flags & FL_CF, FL_CF);
}

/* ---- address sizes ----------------------------------------------------------------------------- */

#if BITS == 64
CODE(stos_a32, "cld; addr32 rep stosb; ret");
CODE(movs_a32, "cld; addr32 rep movsb; ret");
CODE(loop_a32, "xor %eax, %eax\n 1: inc %eax; addr32 loop 1b; ret");
CODE(jecxz, "xor %eax, %eax; jecxz 1f; inc %eax\n 1: ret");

static void address_sizes(void)
{
    static u8 buf[64] __attribute__((aligned(64)));

    memset(buf, 0, sizeof(buf));
    in.di = 0xffffffff00000000 | (ulong)buf;
    in.cx = 0xffffffff00000003;
    in.ax = 0x41;
    RUN("32-bit STOSB", stos_a32, NONE, 0);
    CHECK("three", buf[2], 0x41);
    CHECK("no more", buf[3], 0);
    CHECK("RDI is zero-extended", trap.r.di, (ulong)buf + 3);
    CHECK("RCX is zero-extended", trap.r.cx, 0);
    in.cx = 0xffffffff00000000;
    in.di = 0xffffffff00000000 | (ulong)buf;
    RUN("32-bit count of 0", stos_a32, NONE, 0);
    CHECK("nothing stored", buf[0], 0x41);
    CHECK_TRUE("RCX: kept or zero-extended", trap.r.cx == in.cx || trap.r.cx == 0);
    in.cx = 0xffffffff00000002;
    RUN("32-bit LOOP", loop_a32, NONE, 0);
    CHECK("turns", trap.r.ax, 2);
    in.cx = 0xffffffff00000000;
    RUN("JECXZ", jecxz, NONE, 0);
    CHECK("taken", trap.r.ax, 0);
    in.si = (ulong)buf;
    in.di = (ulong)buf + 8;
    in.cx = 2;
    RUN("32-bit MOVSB", movs_a32, NONE, 0);
    CHECK("stored", buf[9], 0x41);
}
#else
CODE(stos_a16, "cld; addr16 rep stosb; ret");
CODE(movs_a16, "cld; addr16 rep movsb; ret");
CODE(lods_a16_d, "std; addr16 lodsb; cld; ret");

static void address_sizes(void)
{
    u8 *low = (u8 *)0xfffe;

    memset((void *)0xfff0, 0, 32);
    u8 zero = *(volatile u8 *)8;
    in.di = 0x5555fffe;
    in.cx = 0xaaaa0003;
    in.ax = 0x41;
    RUN("16-bit STOSB wraps at 64 KiB", stos_a16, NONE, 0);
    CHECK("before the end", low[1], 0x41);
    CHECK("not beyond", low[2], 0);
    CHECK("EDI's high half", trap.r.di, 0x55550001);
    CHECK("ECX's high half", trap.r.cx, 0xaaaa0000);
    CHECK("wrapped to 0", *(volatile u8 *)(ulong)(zero & 0), 0x41);
    in.si = 0x1234fffe;
    in.di = 0x43218000;
    in.cx = 2;
    RUN("16-bit MOVSB", movs_a16, NONE, 0);
    CHECK("ESI's high half", trap.r.si, 0x12340000);
    CHECK("moved", *(volatile u8 *)0x8001, 0x41);
    in.si = 0x12340000;
    RUN("16-bit LODSB downwards", lods_a16_d, NONE, 0);
    CHECK("ESI wraps", trap.r.si, 0x1234ffff);
}
#endif

/* ---- interrupts -------------------------------------------------------------------------------- */

enum { VEC = 0x51 };
static volatile unsigned ticks, inside;
static ulong first_cx, last_cx;

static bool tick_hook(struct frame *f)
{
    if (f->vector != VEC)
        return false;
    ticks++;
    if (f->ip == (ulong)mf && f->cx) {
        if (!inside++)
            first_cx = f->cx;
        CHECK("SI + CX is constant", f->si + f->cx, in.si + in.cx);
        if (f->cx != last_cx && !on_qemu()) /* an iteration has been done since the last IRET */
            CHECK("RF is pushed", f->flags & FL_RF, FL_RF);
        last_cx = f->cx;
    }
    apic_write(0xb0, 0);
    if (inside < 20) /* not at a fixed distance, or the handler might always meet itself */
        apic_write(0x380, 150 + ticks * 37 % 400);
    return true;
}

static void interrupted(void)
{
    u8 *from = pages_alloc(512), *to = pages_alloc(512);

    for (unsigned k = 0; k < 512 * 4096; k += 64)
        from[k] = (u8)(k >> 6);
    trap_hook = tick_hook;
    apic_on();
    apic_write(0x3e0, 11);
    apic_write(0x320, VEC);
    apic_write(0x380, 200);
    in.si = (ulong)from;
    in.di = (ulong)to;
    in.cx = last_cx = 512 * 4096;
    sti(); /* a block of it may count as one instruction of time: hence so short a period */
    RUN("2 MiB of REP MOVSB under a timer", movs_fault, NONE, 0);
    cli();
    apic_write(0x380, 0);
    CHECK("data", memcmp(from, to, 512 * 4096), 0);
    CHECK_TRUE("interrupts came in its middle", inside > 0);
    CHECK_TRUE("before it was nearly done", first_cx > 4096);
    trap_hook = hook;
}

/* ---- several accesses: all or nothing ---------------------------------------------------------- */

CODE(pushes, "mov " SI ", " SP "; push (" DI "); hlt");
CODE(pop_mem, "mov " SI ", " SP "\n pm: pop (" DI "); hlt");
LABEL(pm);
CODE(call_mem, "mov " SI ", " SP "; call *(" DI ")");
CODE(xchg_mem, "xchg %eax, (" DI "); ret");
CODE(leave_bad, "mov " SI ", " BP "; leave; ret");
CODE(enter_bad, "mov " SI ", " SP "; mov $77, %ebp; enter $0, $0; hlt");
CODE(cmpxchg8b_bad, "cmpxchg8b (" DI "); ret");
CODE(fnsave_bad, "fninit; fld1\n fnsave (" DI "); ret");
CODE(fstp_bad, "fninit; fld1; fstpt (" DI "); ret");
CODE(x87_top, "fnstsw %ax; ret");
#if BITS == 32
CODE(pusha_bad, "mov " SI ", " SP "; pushal; hlt");
CODE(popa_bad, "mov " SI ", " SP "; popal; hlt");
CODE(les_bad, "les (" DI "), %ebx; ret");
#endif

static void all_or_nothing(void)
{
    ulong edge = VA + 4096;

    fill_in = false;
    unmap();
    pte_set(VA, (ulong)mem | P | W | U);
    memset(mem, 0x33, 4096);
    *(ulong *)mem = 0x333333; /* canonical: CALL's target */
    in.ax = 0x1111;
    in.bx = 0x2222;
    in.bp = 0x7777;
    in.si = VA + 2048;
    in.di = edge;
    USER("PUSH from an absent page", pushes, PF, PFE_U);
    CHECK("SP", trap.sp, in.si);
    USER("POP to an absent page", pop_mem, PF, PFE_U | PFE_W);
    CHECK("SP is not popped", trap.sp, in.si);
    CHECK("IP", trap.ip, (ulong)pm);
    USER("CALL through an absent page", call_mem, PF, PFE_U);
    CHECK("SP", trap.sp, in.si);
    in.si = edge + 4; /* the stack's page is absent, the operand is there */
    in.di = VA;
    USER("PUSH to an absent page", pushes, PF, PFE_U | PFE_W);
    CHECK("SP", trap.sp, in.si);
    USER("CALL with an absent stack", call_mem, PF, PFE_U | PFE_W);
    CHECK("SP", trap.sp, in.si);
    CHECK("IP is the call", trap.ip - (ulong)call_mem, BITS == 64 ? 3 : 2);
    in.di = edge - 2;
    RUN("XCHG across", xchg_mem, PF, PFE_W);
    CHECK("EAX kept", trap.r.ax, 0x1111);
    CHECK("memory kept", *(u16 *)(mem + 4094), 0x3333);
    in.si = edge;
    USER("LEAVE from an absent page", leave_bad, PF, PFE_U);
    CHECK("SP kept", trap.sp, user.sp);
    in.si = edge + 4;
    USER("ENTER to an absent page", enter_bad, PF, PFE_U | PFE_W);
    CHECK("BP kept", trap.r.bp, 77);
    CHECK("SP kept", trap.sp, in.si);
    in.di = edge - 4;
    in.dx = 5;
    in.cx = 6;
    RUN("CMPXCHG8B across", cmpxchg8b_bad, PF, PFE_W);
    CHECK("EDX kept", trap.r.dx, 5);
    in.di = edge - 60;
    RUN("FNSAVE across", fnsave_bad, PF, PFE_W);
    RUN("x87", x87_top, NONE, 0);
    CHECK("not initialized by it", trap.r.ax >> 11 & 7, 7);
    in.di = edge - 8;
    RUN("FSTP across", fstp_bad, PF, PFE_W);
    RUN("x87", x87_top, NONE, 0);
    CHECK("not popped by it", trap.r.ax >> 11 & 7, 7);
    CHECK("memory kept", mem[4090], 0x33);
#if BITS == 32
    in.si = edge + 16;
    USER("PUSHA across", pusha_bad, PF, PFE_U | PFE_W);
    CHECK("ESP", trap.sp, in.si);
    in.si = edge - 16;
    in.di = 0x9999;
    USER("POPA across", popa_bad, PF, PFE_U);
    CHECK("ESP", trap.sp, in.si);
    CHECK("EDI kept", trap.r.di, 0x9999);
    in.di = edge - 4;
    RUN("LES across", les_bad, PF, 0);
    CHECK("EBX kept", trap.r.bx, 0x2222);
#endif
}

void guest_main(void)
{
    mem = pages_alloc(PAGES);
#if BITS == 32
    paging_on(2);
#else
    page_root = get_cr3();
    paging_levels = 4;
#endif
    trap_hook = hook;
    moves();
    address_sizes();
    interrupted();
    all_or_nothing();
}
