/* Code that changes: within a block, the very next instruction, across pages, through another mapping,
 * by another processor and by DMA (the firmware configuration device's). SDM vol. 3, 8.1.3 and 11.6: a
 * store is seen by later fetches through the same linear address at once; other ways, after a branch or
 * a serializing instruction.
 */
#include "sys.h"

#define VA 0x8000000000ul

static u8 *code; /* two pages to write code to */

/* mov $imm, %eax; ret */
static void put_fn(u8 *at, u32 value)
{
    at[0] = 0xb8;
    memcpy(at + 1, &value, 4);
    at[5] = 0xc3;
}

static u32 call(const void *fn)
{
    u32 v;

    __asm__ volatile("call *%1" : "=a"(v) : "r"(fn) : "memory", "rcx", "rdx", "rsi", "rdi");
    return v;
}

/* Each returns EAX; the patched instruction is in the running block. Written where they lie: the image
 * is writable. */
CODE(patch_next, "xor %eax, %eax; movb $0x05, pn1 + 1(%rip)\n pn1: mov $1, %al\n ret");
CODE(patch_opcode, "mov $3, %eax; movb $0x48, po1(%rip)\n po1: nop; inc %eax\n ret"); /* REX.W */
CODE(patch_back, "xor %eax, %eax; mov $3, %ecx\n 1: pb1: add $1, %eax\n incb pb1 + 2(%rip)\n"
                 " dec %ecx; jnz 1b\n ret");
CODE(patch_jump, "mov $7, %eax; movb $2, pj1 + 1(%rip)\n pj1: jmp 1f\n 1: mov $8, %al\n ret");
CODE(patch_far_in_block,
     "xor %eax, %eax; movb $9, pf1 + 1(%rip)\n nop; nop; nop; nop; inc %ecx; dec %ecx\n"
     " pf1: mov $1, %al\n ret");
CODE(patch_self, "ps1: movb $0x90, ps1(%rip); mov $6, %eax; ret"); /* its own first byte */
CODE(patch_wide, "mov $0x909004b0c3909090, %rdx; mov $0, %eax; movq %rdx, pw1(%rip)\n"
                 " pw1: .byte 0x90, 0x90, 0x90, 0xb0, 1, 0xc3, 0x90, 0x90");
CODE(patch_string, "lea ps_from(%rip), %rsi; lea ps_to(%rip), %rdi; mov $8, %ecx; xor %eax, %eax\n"
                   " rep; movsb\n ps_to: mov $1, %al; ret; .skip 8, 0x90\n"
                   " ps_from: mov $0x77, %al; ret; .skip 8, 0x90");
CODE(patch_rep_over_itself, "lea pr1(%rip), %rdi; mov $4, %ecx; mov $0x90, %al\n"
                            " pr1: rep; stosb\n nop; nop\n mov %ecx, %eax; ret");

static void in_block(void)
{
    CHECK("next instruction's operand", call(patch_next), 5);
    CHECK("next instruction's prefix", call(patch_opcode), 4);
    CHECK("an instruction of a loop: 1 + 2 + 3", call(patch_back), 6);
    CHECK("a jump's target", call(patch_jump), 7);
    CHECK("further on in the block", call(patch_far_in_block), 9);
    CHECK("itself, first time", call(patch_self), 6);
    CHECK("eight bytes at once", call(patch_wide), 0x00);
    CHECK("REP MOVSB over what follows", call(patch_string), 0x77);
    u32 left = call(patch_rep_over_itself);
    /* iterations stop when REP STOSB is overwritten, or go on: the store may have been one burst */
    CHECK_TRUE("REP STOSB over itself", left <= 4);
}

static void pages(void)
{
    put_fn(code, 1);
    CHECK("fresh code", call(code), 1);
    put_fn(code, 2);
    CHECK("rewritten", call(code), 2);
    for (u32 k = 0; k < 100; k++) {
        put_fn(code, k);
        if (call(code) != k)
            CHECK("rewritten many times", k, ~0u);
    }
    /* an instruction that lies in two pages: the immediate is in the second */
    put_fn(code + 4094, 0x01020304);
    CHECK("across pages", call(code + 4094), 0x01020304);
    code[4096] = 0x55; /* second byte of the immediate */
    CHECK("second page changed", call(code + 4094), 0x01025504);
    code[4095] = 0x66;
    CHECK("first page changed", call(code + 4094), 0x01025566);
    /* one store over both */
    *(volatile u32 *)(code + 4095) = 0x0a0b0c0d;
    CHECK("store across the pages", call(code + 4094), 0x0a0b0c0d);

    /* through another mapping; after a jump, and for good measure a serializing instruction */
    page_root = get_cr3();
    paging_levels = 4;
    pte_set(VA, (ulong)code | P | W);
    put_fn(code, 10);
    CHECK("by the alias", call((void *)VA), 10);
    put_fn(code, 11);
    __asm__ volatile("cpuid" ::"a"(0) : "ebx", "ecx", "edx");
    CHECK("written by the identity", call((void *)VA), 11);
    put_fn((u8 *)VA, 12);
    __asm__ volatile("cpuid" ::"a"(0) : "ebx", "ecx", "edx");
    CHECK("written by the alias", call(code), 12);
    /* the mapping changes, the bytes do not */
    put_fn(code + 4096, 13);
    pte_set(VA, ((ulong)code + 4096) | P | W);
    CHECK("another page at the same address", call((void *)VA), 13);
    pte_set(VA, (ulong)code | P | W);
    CHECK("and back", call((void *)VA), 12);
    /* code in two pages that are not neighbours in memory */
    u8 *third = page_alloc();
    put_fn((u8 *)VA + 100, 14);
    pte_set(VA + 4096, (ulong)third | P | W);
    u8 *cross = (u8 *)VA + 4094;
    put_fn(cross, 0x11223344);
    CHECK("across scattered pages", call(cross), 0x11223344);
    third[0] = 0x99;
    __asm__ volatile("cpuid" ::"a"(0) : "ebx", "ecx", "edx");
    CHECK("second one changed through the identity", call(cross), 0x11229944);
    pte_set(VA + 4096, ((ulong)code + 4096) | P | W);
    code[4096] = 0x77;
    CHECK("second one replaced", call(cross) >> 8 & 0xff, 0x77);
}

/* ---- by another processor ---------------------------------------------------------------------- */

static volatile u32 stage;

static void other(void)
{
    put_fn(code, 21);
    stage = 1;
    while (stage < 2)
        __asm__ volatile("pause");
    put_fn(code, 22);
    stage = 3;
}

/* A loop that never ends unless the store of the other is seen: SDM 8.1.3's cross-modifying code
 * without serialization may run old code for a while, not for ever. */
CODE(until_patched, "1: up1: jmp 1b; mov $33, %eax; ret");

static void patch_loop(void)
{
    for (volatile int k = 0; k < 2000; k++)
        ;
    *(volatile u16 *)until_patched = 0x9090;
}

static void from_another(void)
{
    put_fn(code, 20);
    CHECK("own", call(code), 20);
    cpu_do(1, other);
    while (stage < 1)
        __asm__ volatile("pause");
    __asm__ volatile("cpuid" ::"a"(0) : "ebx", "ecx", "edx");
    CHECK("the other's", call(code), 21);
    stage = 2;
    while (stage < 3)
        __asm__ volatile("pause");
    __asm__ volatile("cpuid" ::"a"(0) : "ebx", "ecx", "edx");
    CHECK("and again", call(code), 22);
    cpu_wait(1);
    cpu_do(1, patch_loop);
    CHECK("a loop the other ends", call(until_patched), 33);
    cpu_wait(1);
}

/* ---- by DMA: QEMU's docs/specs/fw_cfg, which both machines have -------------------------------- */

enum { FW_KERNEL_DATA = 0x11, FW_READ = 2, FW_SKIP = 4, FW_SELECT = 8 };

static u32 be32(u32 v)
{
    return __builtin_bswap32(v);
}

static bool fw_dma(u32 control, u32 length, void *to)
{
    static struct {
        u32 control, length;
        u64 address;
    } access __attribute__((aligned(16)));

    access.control = be32(control);
    access.length = be32(length);
    access.address = __builtin_bswap64((ulong)to);
    __asm__ volatile("" ::: "memory");
    outl(0x514, 0);
    outl(0x518, be32((u32)(ulong)&access));
    for (u32 k = 0; ld32(&access.control) && k < 1000000; k++)
        ;
    __asm__ volatile("" ::: "memory");
    return access.control == 0;
}

CODE(dma_code, ".ascii \"DMA:\"; mov $44, %eax; ret");

static void by_dma(void)
{
    /* find the piece in the kernel's image as the device has it */
    u8 *image = pages_alloc(32);

    outw(0x510, 0);
    if (inb(0x511) != 'Q') {
        skip("no firmware configuration device");
        return;
    }
    if (!fw_dma(FW_KERNEL_DATA << 16 | FW_SELECT | FW_READ, 32 * 4096, image)) {
        CHECK_TRUE("DMA", false);
        return;
    }
    u32 at = 0;
    for (u32 k = 0; k < 32 * 4096 - 16 && !at; k++) {
        if (memcmp(image + k, dma_code, 16) == 0)
            at = k + 4;
    }
    CHECK_TRUE("image found by DMA", at);
    put_fn(code, 40);
    CHECK("before", call(code), 40);
    fw_dma(FW_KERNEL_DATA << 16 | FW_SELECT | FW_SKIP, at, 0);
    fw_dma(FW_READ, 6, code);
    CHECK("code written by DMA", call(code), 44);
    put_fn(code + 4094, 41);
    CHECK("before, across pages", call(code + 4094), 41);
    fw_dma(FW_KERNEL_DATA << 16 | FW_SELECT | FW_SKIP, at, 0);
    fw_dma(FW_READ, 6, code + 4094);
    CHECK("across pages by DMA", call(code + 4094), 44);
    put_fn(code + 4094, 42);
    CHECK("before, second page alone", call(code + 4094), 42);
    fw_dma(FW_KERNEL_DATA << 16 | FW_SELECT | FW_SKIP, at + 2, 0);
    fw_dma(FW_READ, 4, code + 4096);
    CHECK("second page alone by DMA: low byte stays", call(code + 4094), 42);
    code[4095] = 1;
    CHECK("then that changes", call(code + 4094), 1);
}

void guest_main(void)
{
    code = pages_alloc(2);
    in_block();
    pages();
    cpus_start();
    for (u32 k = 0; cpus_started < 2 && k < 10000000; k++)
        __asm__ volatile("pause");
    CHECK("processors", cpus_started, 2);
    if (cpus_started >= 2)
        from_another();
    by_dma();
}
