/* Double faults, the exceptions that do not make them, and the triple fault, which resets the machine.
 * SDM vol. 3, 6.15, tables 6-4 and 6-5.
 *
 * The triple fault comes last: a byte of CMOS RAM, which a reset leaves, says that it has been. Checks
 * that failed before it say so, and leave it out.
 */
#include "sys.h"

#define MARK 0x6e
#define SEEN 0xa5

static u8 cmos_get(u8 index)
{
    outb(0x70, index);
    return inb(0x71);
}

static void cmos_put(u8 index, u8 v)
{
    outb(0x70, index);
    outb(0x71, v);
}

CODE(do_de, "xor %ecx, %ecx; div %ecx");
CODE(do_ud, "ud2");
CODE(do_gp, "mov $0x1238, %eax; mov %eax, %ds");
CODE(do_int, "int $0x40");
CODE(do_int3, "int3");
#if BITS == 64
CODE(do_pf, "mov (%rsi), %eax");
#define VA 0x8000000000ul
#else
CODE(do_pf, "mov (%esi), %eax");
#define VA 0x70000000ul
#endif

static const struct cause {
    const void *code;
    int vector;
    u32 error;
    char class; /* b: benign, c: contributory, p: page fault */
} causes[] = {
    {do_de, DE, 0, 'c'}, {do_ud, UD, 0, 'b'},   {do_gp, GP, 0x1238, 'c'},
    {do_pf, PF, 0, 'p'}, {do_int3, BP, 0, 'b'},
};

static void idt_entry_absent(int vector)
{
    idt_set((unsigned)vector, KCODE, stub_table + 16 * vector, 0x6e, 0);
}

static void second_np(void)
{
    for (unsigned k = 0; k < sizeof(causes) / sizeof(causes[0]); k++) {
        const struct cause *c = &causes[k];
        u32 err = (u32)c->vector * 8 + 2 + (c->vector != BP);

        idt_entry_absent(c->vector);
        run(c->code);
        if (c->class == 'b') {
            EXPECT("benign, then contributory: the second", NP, err);
        } else {
            EXPECT("contributory or page fault, then contributory: #DF", DF, 0);
            CHECK_TRUE("#DF where it began",
                       trap.ip >= (ulong)c->code && trap.ip < (ulong)c->code + 16);
        }
        idt_default(c->vector);
    }
}

/* An IDT whose entries from #GP on lie in an absent page. */
static void second_pf(void)
{
    struct {
        u16 limit;
        ulong base;
    } __attribute__((packed)) old, moved;
    const ulong size = BITS == 64 ? 16 : 8;
    u8 *first = page_alloc();

    __asm__ volatile("sidt %0" : "=m"(old));
    memcpy(first + 4096 - GP * size, (void *)old.base, GP * size);
    pte_set(VA, (ulong)first | P | W);
    pte_set(VA + 4096, 0);
    moved.limit = old.limit;
    moved.base = VA + 4096 - GP * size;
    __asm__ volatile("lidt %0" ::"m"(moved));
    run(do_de);
    struct trap de = trap;
    run(do_gp);
    struct trap gp = trap;
    in.si = VA + 4096;
    run(do_pf);
    struct trap pf = trap;
    __asm__ volatile("lidt %0" ::"m"(old));
    CHECK("#DE arrives", de.vector, DE);
    CHECK("#GP, then #PF, then #PF: #DF", gp.vector, DF);
    CHECK("its error code", gp.error, 0);
    CHECK("CR2 is the last page fault's", gp.cr2, moved.base + PF * size);
    CHECK("#PF, then #PF: #DF", pf.vector, DF);
    CHECK("CR2 is the second one's", pf.cr2, moved.base + PF * size);
}

/* Contributory after #PF is #DF; #PF after contributory is a page fault of its own. */
static void order(void)
{
    idt_set(PF, KDATA, 0, 0x8e, 0);
    RUN("#PF, then #GP: #DF", do_pf, DF, 0);
    idt_default(PF);
    idt_set(UD, KCODE, (void *)(VA + 8), 0x8e, 0);
    pte_set(VA, 0);
    RUN("handler in an absent page: #PF at its first instruction", do_ud, PF,
        BITS == 64 ? PFE_I : 0);
    CHECK("its IP", trap.ip, VA + 8);
    idt_default(UD);
    idt_set(0x40, KDATA, 0, 0xee, 0);
    RUN("INT n is benign", do_int, GP, KDATA);
}

/* #DF itself cannot be delivered: shutdown, which the board answers with a reset. */
static void triple_fault(void)
{
    cmos_put(MARK, SEEN);
    idt_set(DF, 0, 0, 0, 0);
    idt_set(GP, 0, 0, 0, 0);
    run(do_gp);
    cmos_put(MARK, 0);
    CHECK_TRUE("a triple fault ends in a reset", false);
}

void guest_main(void)
{
    if (cmos_get(MARK) == SEEN) {
        cmos_put(MARK, 0);
        CHECK_TRUE("the triple fault has reset the machine", true);
        return;
    }
#if BITS == 32
    paging_on(2);
#else
    page_root = get_cr3();
    paging_levels = 4;
#endif
    pte_set(VA, 0);
    in.si = VA;
    second_np();
    second_pf();
    order();
    if (checks_failed())
        return;
    triple_fault();
}
