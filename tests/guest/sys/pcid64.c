/* PCID, INVPCID, global pages and INVLPG: what a flush must flush. SDM vol. 3, 4.10.
 *
 * A TLB may forget at any time, so that something is kept is never checked; that nothing stale is used
 * after a flush, and nothing of another PCID at all, always is.
 */
#include "sys.h"

#define VA     0x8000000000ul
#define NOFLSH (1ull << 63)

static ulong page[4];
static u64 root2;

CODE(rd, "mov (%rsi), %rax; ret");
CODE(load_cr3, "mov %rsi, %cr3; ret");
CODE(load_cr4, "mov %rsi, %cr4; ret");
CODE(load_cr0, "mov %rsi, %cr0; ret");
CODE(do_invpcid, "invpcid (%rsi), %rdi; ret");
CODE(user_invpcid, "invpcid (%rsi), %rdi" DONE);
CODE(do_invlpg, "invlpg (%rsi); ret");
CODE(user_invlpg, "invlpg (%rsi)" DONE);

struct invpcid {
    u64 pcid, addr;
};

static void invpcid(u64 type, u64 pcid, u64 addr)
{
    struct invpcid d = {pcid, addr};

    __asm__ volatile("invpcid %0, %1" ::"m"(d), "r"(type) : "memory");
}

static u64 look(void)
{
    return *(volatile u64 *)VA;
}

/* Changes the entry without telling the TLB. */
static void quietly(unsigned n, u64 flags)
{
    *(volatile u64 *)pte(VA) = page[n] | P | W | flags;
}

static void globals(void)
{
    set_cr4(get_cr4() | CR4_PGE);
    quietly(0, G);
    invlpg(VA);
    CHECK("page 0", look(), 0xa0);
    quietly(1, G);
    invlpg(VA);
    CHECK("INVLPG flushes a global page", look(), 0xa1);
    quietly(2, G);
    set_cr4(get_cr4() & ~(ulong)CR4_PGE);
    CHECK("so does clearing PGE", look(), 0xa2);
    quietly(3, G);
    set_cr4(get_cr4() | CR4_PGE);
    CHECK("and setting it", look(), 0xa3);
    quietly(0, 0);
    set_cr4(get_cr4() ^ CR4_PGE);
    set_cr4(get_cr4() ^ CR4_PGE);
    CHECK("page 0", look(), 0xa0);
    quietly(1, 0);
    set_cr3(get_cr3());
    CHECK("MOV CR3 flushes what is not global", look(), 0xa1);
    quietly(2, 0);
    set_cr4(get_cr4() | CR4_PSE); /* no flush is required: do not look, but flush */
    invlpg(VA + 0xfff);
    CHECK("INVLPG of the page's last byte", look(), 0xa2);
    /* a large page, flushed by any address in it */
    ulong big = VA + 0x40000000;
    u64 *dir = pde(big);
    ulong phys = page[0] & ~0x1ffffful;
    *dir = phys | P | W | PS;
    CHECK("large page", *(volatile u64 *)(big + (page[0] - phys)), 0xa0);
    *dir = 0;
    invlpg(big + 0x1ff000);
    in.si = big + (page[0] - phys);
    RUN("large page flushed through another address", rd, PF, 0);
    in.si = 0x800000000000;
    RUN("INVLPG of a non-canonical address", do_invlpg, NONE, 0);
    USER("INVLPG at level 3", user_invlpg, GP, 0);
}

static void pcids(void)
{
    ulong cr4 = get_cr4();

    in.si = get_cr3() | 5;
    RUN("CR3 bits 0 to 11 without PCIDE", load_cr3, NONE, 0);
    in.si = cr4 | CR4_PCIDE;
    RUN("PCIDE with PCID bits in CR3", load_cr4, GP, 0);
    set_cr3(page_root);
    RUN("PCIDE", load_cr4, NONE, 0);
    in.si = get_cr0() & ~(ulong)CR0_PG;
    RUN("PG cleared under PCIDE", load_cr0, GP, 0);
    in.si = NOFLSH | page_root | 1;
    RUN("CR3 bit 63", load_cr3, NONE, 0);
    CHECK("is not kept", get_cr3(), page_root | 1);
    in.si = 1ull << 62 | page_root;
    RUN("CR3 bit 62", load_cr3, GP, 0);
    in.si = 1ull << 52 | page_root;
    RUN("CR3 bit 52", load_cr3, GP, 0);

    /* two address spaces, two roots */
    u64 *other = page_alloc();
    memcpy(other, (void *)page_root, 4096);
    other[VA >> 39 & 511] = 0;
    root2 = (ulong)other;
    set_cr3(page_root | 1);
    quietly(0, 0);
    invlpg(VA);
    CHECK("in PCID 1", look(), 0xa0);
    in.si = VA;
    set_cr3(NOFLSH | root2 | 2);
    RUN("PCID 2 does not see PCID 1's", rd, PF, 0);
    set_cr3(NOFLSH | page_root | 1);
    CHECK("back in PCID 1", look(), 0xa0);
    quietly(1, 0);
    set_cr3(page_root | 1);
    CHECK("MOV CR3 with bit 63 clear flushes its PCID", look(), 0xa1);
    /* an absent translation is never cached */
    set_cr3(NOFLSH | root2 | 2);
    RUN("absent", rd, PF, 0);
    other[VA >> 39 & 511] = ((u64 *)page_root)[VA >> 39 & 511];
    RUN("present now", rd, NONE, 0);
    set_cr3(NOFLSH | page_root | 1);
    /* INVLPG flushes the current PCID's, and globals of all */
    quietly(2, 0);
    invlpg(VA);
    CHECK("INVLPG in PCID 1", look(), 0xa2);
    set_cr3(root2 | 2);
    CHECK("PCID 2 after a flush", look(), 0xa2);

    if (HAS_INVPCID) {
        quietly(3, 0);
        invpcid(0, 2, VA);
        CHECK("INVPCID 0: one address of the current PCID", look(), 0xa3);
        set_cr3(NOFLSH | page_root | 1);
        invpcid(0, 1, VA);
        CHECK("of another's, current again", look(), 0xa3);
        set_cr3(NOFLSH | root2 | 2);
        quietly(0, 0);
        invpcid(0, 1, VA);
        set_cr3(NOFLSH | page_root | 1);
        CHECK("INVPCID 0 for a PCID that is not current", look(), 0xa0);
        quietly(1, 0);
        invpcid(1, 1, 0);
        CHECK("INVPCID 1: one PCID", look(), 0xa1);
        quietly(2, G);
        invpcid(2, 0, 0);
        CHECK("INVPCID 2: all with globals", look(), 0xa2);
        quietly(3, G);
        invpcid(2, 0, 0);
        CHECK("INVPCID 2 flushes globals", look(), 0xa3);
        quietly(0, 0);
        invpcid(2, 0, 0);
        (void)look();
        quietly(1, 0);
        invpcid(3, 0, 0);
        CHECK("INVPCID 3: all but globals", look(), 0xa1);
        set_cr3(NOFLSH | root2 | 2);
        CHECK("in PCID 2 too", look(), 0xa1);

        static struct invpcid d;
        in.si = (ulong)&d;
        d = (struct invpcid){0x1000, 0};
        in.di = 1;
        RUN("INVPCID with a PCID above 4095", do_invpcid, GP, 0);
        d = (struct invpcid){1ull << 63, 0};
        RUN("INVPCID with reserved bits", do_invpcid, GP, 0);
        in.di = 4;
        d = (struct invpcid){0, 0};
        RUN("INVPCID type 4", do_invpcid, GP, 0);
        in.di = 1ull << 32;
        RUN("INVPCID type of 64 bits", do_invpcid, GP, 0);
        in.di = 0;
        d = (struct invpcid){0, 0x800000000000};
        RUN("INVPCID of a non-canonical address", do_invpcid, GP, 0);
        d = (struct invpcid){0, 0};
        USER("INVPCID at level 3", user_invpcid, GP, 0);
        in.si = VA + 0x1000;
        RUN("INVPCID descriptor in an absent page", do_invpcid, PF, 0);
        set_cr3(page_root);
        set_cr4(cr4);
        in.si = (ulong)&d;
        d = (struct invpcid){0, VA};
        RUN("INVPCID without PCIDE, PCID 0", do_invpcid, NONE, 0);
        d = (struct invpcid){1, VA};
        RUN("INVPCID 0 without PCIDE, PCID 1", do_invpcid, GP, 0);
    } else {
        skip("INVPCID");
        set_cr3(page_root);
        set_cr4(cr4);
    }
    quietly(2, 0);
    set_cr3(page_root);
    CHECK("PCIDE off: MOV CR3 flushes", look(), 0xa2);
}

void guest_main(void)
{
    page_root = get_cr3();
    paging_levels = 4;
    for (unsigned k = 0; k < 4; k++) {
        page[k] = (ulong)page_alloc();
        *(u64 *)page[k] = 0xa0 + k;
    }
    (void)pte(VA);
    globals();
    if (HAS_PCID)
        pcids();
    else
        skip("PCID");
}
