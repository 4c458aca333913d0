/* The oracle. See native.h. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "tests/insn/native.h"

#include "cpu/exec.h"

/* What the stub loads and stores; offsets are written into the stub's code. */
struct frame {
    uint64_t r[16];
    uint64_t flags;
    uint64_t host_rsp;
    uint8_t xmm[16][16];
};

struct oracle {
    struct physmap *map;
    struct phys_region ram;
    struct cpu *cpu;
    struct error err;
};

static struct frame frame __attribute__((aligned(16)));
static sigjmp_buf escape;
static volatile int caught;

/* Loads everything from `frame`, jumps to ORACLE_CODE; the code there ends with a jump to `back`. */
__asm__(".text\n"
        ".globl oracle_stub\n"
        "oracle_stub:\n"
        "  push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
        "  lea frame(%rip), %rax\n"
        "  mov %rsp, 136(%rax)\n"
        "  movdqu 144(%rax), %xmm0\n movdqu 160(%rax), %xmm1\n movdqu 176(%rax), %xmm2\n"
        "  movdqu 192(%rax), %xmm3\n movdqu 208(%rax), %xmm4\n movdqu 224(%rax), %xmm5\n"
        "  movdqu 240(%rax), %xmm6\n movdqu 256(%rax), %xmm7\n movdqu 272(%rax), %xmm8\n"
        "  movdqu 288(%rax), %xmm9\n movdqu 304(%rax), %xmm10\n movdqu 320(%rax), %xmm11\n"
        "  movdqu 336(%rax), %xmm12\n movdqu 352(%rax), %xmm13\n movdqu 368(%rax), %xmm14\n"
        "  movdqu 384(%rax), %xmm15\n"
        "  push 128(%rax)\n popfq\n"
        "  mov 8(%rax), %rcx\n mov 16(%rax), %rdx\n mov 24(%rax), %rbx\n mov 32(%rax), %rsp\n"
        "  mov 40(%rax), %rbp\n mov 48(%rax), %rsi\n mov 56(%rax), %rdi\n mov 64(%rax), %r8\n"
        "  mov 72(%rax), %r9\n mov 80(%rax), %r10\n mov 88(%rax), %r11\n mov 96(%rax), %r12\n"
        "  mov 104(%rax), %r13\n mov 112(%rax), %r14\n mov 120(%rax), %r15\n"
        "  mov 0(%rax), %rax\n"
        "  jmp *oracle_code(%rip)\n"
        ".globl oracle_back\n"
        "oracle_back:\n"
        "  mov %rax, frame(%rip)\n"
        "  lea frame(%rip), %rax\n"
        "  mov %rcx, 8(%rax)\n mov %rdx, 16(%rax)\n mov %rbx, 24(%rax)\n mov %rsp, 32(%rax)\n"
        "  mov 136(%rax), %rsp\n pushfq\n pop 128(%rax)\n"
        "  mov %rbp, 40(%rax)\n mov %rsi, 48(%rax)\n mov %rdi, 56(%rax)\n mov %r8, 64(%rax)\n"
        "  mov %r9, 72(%rax)\n mov %r10, 80(%rax)\n mov %r11, 88(%rax)\n mov %r12, 96(%rax)\n"
        "  mov %r13, 104(%rax)\n mov %r14, 112(%rax)\n mov %r15, 120(%rax)\n"
        "  movdqu %xmm0, 144(%rax)\n movdqu %xmm1, 160(%rax)\n movdqu %xmm2, 176(%rax)\n"
        "  movdqu %xmm3, 192(%rax)\n movdqu %xmm4, 208(%rax)\n movdqu %xmm5, 224(%rax)\n"
        "  movdqu %xmm6, 240(%rax)\n movdqu %xmm7, 256(%rax)\n movdqu %xmm8, 272(%rax)\n"
        "  movdqu %xmm9, 288(%rax)\n movdqu %xmm10, 304(%rax)\n movdqu %xmm11, 320(%rax)\n"
        "  movdqu %xmm12, 336(%rax)\n movdqu %xmm13, 352(%rax)\n movdqu %xmm14, 368(%rax)\n"
        "  movdqu %xmm15, 384(%rax)\n"
        "  cld\n"
        "  pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
        ".data\n"
        "oracle_code: .quad 0x20010000\n"
        ".text\n");
extern void oracle_stub(void);
extern char oracle_back[];

static void on_signal(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    int trap = (int)uc->uc_mcontext.gregs[REG_TRAPNO];
    caught = trap;
    frame.flags = (uint64_t)uc->uc_mcontext.gregs[REG_EFL];
    siglongjmp(escape, 1);
}

static void *window(uint64_t at, size_t size, int prot)
{
    void *p = mmap((void *)(uintptr_t)at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (p == MAP_FAILED)
        abort();
    return p;
}

static void code_written(void *opaque, uint64_t ra, unsigned size)
{
    cpu_code_written(&((struct oracle *)opaque)->cpu, 1, ra, size);
}

static void flags_set(void *opaque, uint64_t ra, uint64_t size)
{
    mmu_protect_ra(&((struct oracle *)opaque)->cpu->mmu, ra, size);
}

static void view_changed(void *opaque)
{
}

struct oracle *oracle_new(const char *model)
{
    static const int sigs[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    struct oracle *o = calloc(1, sizeof(*o));
    struct cpu_env env = {0};
    stack_t alt = {.ss_sp = malloc(65536), .ss_size = 65536};
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    uint64_t ra;

    window(ORACLE_DATA, ORACLE_DATA_SIZE, PROT_READ | PROT_WRITE);
    window(ORACLE_CODE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
    sigaltstack(&alt, NULL);
    for (unsigned k = 0; k < ARRAY_LEN(sigs); k++)
        sigaction(sigs[k], &sa, NULL);

    o->map = physmap_new(4 * MIB, NULL, &o->err);
    ra = physmap_store_alloc(o->map, 4 * MIB - 4096);
    physmap_add_ram(o->map, &o->ram, "ram", 0, 4 * MIB - 4096, ra, 0);
    env.mem = o->map;
    o->cpu = cpu_new(model, 0, 1, &env, &o->err);
    physmap_set_listener(o->map, &(struct physmap_listener){o, view_changed, flags_set, code_written});
    if (!o->cpu) {
        fprintf(stderr, "%s\n", o->err.text);
        abort();
    }
    return o;
}

void oracle_free(struct oracle *o)
{
    cpu_free(o->cpu);
    physmap_free(o->map);
    free(o);
}

struct cpu *oracle_cpu(struct oracle *o)
{
    return o->cpu;
}

void oracle_native(struct oracle *o, const uint8_t *code, unsigned len,
                   const struct oracle_state *in, struct oracle_state *out)
{
    uint8_t *at = (uint8_t *)(uintptr_t)ORACLE_CODE;
    uint64_t back = (uint64_t)(uintptr_t)oracle_back;

    memcpy((void *)(uintptr_t)ORACLE_DATA, in->data, ORACLE_DATA_SIZE);
    memset(at, 0xcc, 64);
    memcpy(at, code, len);
    memcpy(at + len, "\xff\x25\0\0\0\0", 6); /* jmp [rip+0] */
    memcpy(at + len + 6, &back, 8);
    memcpy(frame.r, in->r, sizeof(frame.r));
    memcpy(frame.xmm, in->xmm, sizeof(frame.xmm));
    frame.flags = in->flags;
    caught = EXC_NONE;
    if (sigsetjmp(escape, 1) == 0)
        oracle_stub();
    out->exception = (uint8_t)caught;
    out->rip = ORACLE_CODE + (caught == EXC_NONE ? len : 0);
    memcpy(out->r, frame.r, sizeof(out->r));
    memcpy(out->xmm, frame.xmm, sizeof(out->xmm));
    out->flags = frame.flags;
    memcpy(out->data, (void *)(uintptr_t)ORACLE_DATA, ORACLE_DATA_SIZE);
}

/* Guest memory: page tables at 0x1000 to 0x4fff, code at 0x10000, data at 0x20000. */
static void map_page(struct oracle *o, uint64_t lin, uint64_t phys)
{
    physmap_write(o->map, 0x1000 + (lin >> 39 & 511) * 8, 0x2007, 8);
    physmap_write(o->map, 0x2000 + (lin >> 30 & 511) * 8, 0x3007, 8);
    physmap_write(o->map, 0x3000 + (lin >> 21 & 511) * 8, 0x4007, 8);
    physmap_write(o->map, 0x4000 + (lin >> 12 & 511) * 8, phys | 7, 8);
}

static void flat_segments(struct cpu *cpu)
{
    for (unsigned s = SEG_ES; s <= SEG_GS; s++) {
        bool code = s == SEG_CS;
        cpu->seg[s] = (struct segreg){.sel = code ? 0x33 : 0x2b, .limit = 0xffffffff,
            .ar = AR_P | AR_S | AR_DPL | AR_G | AR_ACCESSED |
                  (code ? AR_CODE | AR_READ | AR_L : AR_WRITE | AR_DB)};
    }
}

void oracle_ours(struct oracle *o, const uint8_t *code, unsigned len,
                 const struct oracle_state *in, struct oracle_state *out)
{
    struct cpu *cpu = o->cpu;

    cpu_reset(cpu, false);
    for (unsigned k = 0; k < ORACLE_DATA_SIZE / PAGE_SIZE; k++)
        map_page(o, ORACLE_DATA + k * PAGE_SIZE, 0x20000 + k * PAGE_SIZE);
    map_page(o, ORACLE_CODE, 0x10000);
    physmap_write_buf(o->map, 0x20000, in->data, ORACLE_DATA_SIZE);
    physmap_write_buf(o->map, 0x10000, code, len);
    cpu->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_ET | CR0_WP | CR0_MP;
    cpu->cr3 = 0x1000;
    cpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE;
    cpu->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    flat_segments(cpu);
    cpu_set_cpl(cpu, 3);
    cpu_cr_changed(cpu);
    mmu_load_cr3(&cpu->mmu, 0x1000, false);
    memcpy(cpu->r, in->r, sizeof(in->r));
    for (unsigned k = 0; k < 16; k++)
        memcpy(cpu->xmm[k].b, in->xmm[k], 16);
    cpu_set_flags(cpu, in->flags);
    cpu->rip = ORACLE_CODE;
    cpu_update_mode(cpu);
    /* Repeated strings stay at the instruction between goes. */
    do
        cpu_step_undelivered(cpu);
    while (cpu->rip == ORACLE_CODE && cpu->exc_vector == EXC_NONE);
    out->rip = cpu->rip;
    out->exception = cpu->exc_vector;
    cpu->exc_vector = EXC_NONE;
    memcpy(out->r, cpu->r, sizeof(out->r));
    for (unsigned k = 0; k < 16; k++)
        memcpy(out->xmm[k], cpu->xmm[k].b, 16);
    out->flags = cpu_flags(cpu);
    physmap_read_buf(o->map, 0x20000, out->data, ORACLE_DATA_SIZE);
}
