/* The oracle's host side: cases run natively, in a child process. See oracle.h.
 *
 * A case is loaded by returning from a signal handler whose frame has been given the case's
 * registers, and ends in the handler again, by INT3, EFLAGS.TF or a fault, so that the kernel loads
 * and stores the whole state: RSP may be anything, and a 32-bit code segment is as good as any. What
 * is not in the frame (FS and GS bases, data segments) the handler itself sets and reads, before
 * anything that could need them.
 */
#define _GNU_SOURCE
#include "tests/insn/oracle.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/ucontext.h>
#include <sys/wait.h>
#include <unistd.h>

/* What parent and child share. */
struct shared {
    struct oracle_case cases[ORACLE_BATCH];
    struct oracle_state out[ORACLE_BATCH];
    volatile unsigned done;
};

struct oracle_host {
    struct shared *s;
    unsigned n;
    pid_t child;
    int to_child, from_child;
};

/* ---- the child -------------------------------------------------------------------------------- */

enum {
    FX_CW = 0,
    FX_SW = 2,
    FX_TAGS = 4,
    FX_FOP = 6,
    FX_FIP = 8,
    FX_FDP = 16,
    FX_MXCSR = 24,
    FX_ST = 32,
    FX_XMM = 160,
    XS_BV = 512,
    XS_YMM = 576,
    FP_SAVED = 832
};

static const struct oracle_case *running;
static struct oracle_state *result;
static bool loaded;
static gregset_t host_regs;
static uint8_t host_fp[FP_SAVED];
static uint64_t host_fs_base;
static uint8_t *code_alias;
static unsigned pkru_offset; /* in the frame's XSAVE area, 0: none */

static void load(ucontext_t *uc)
{
    const struct oracle_state *in = &running->in;
    uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
    greg_t *g = uc->uc_mcontext.gregs;
    static const uint8_t where[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                      REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                      REG_R12, REG_R13, REG_R14, REG_R15};

    memcpy(host_regs, g, sizeof(host_regs));
    memcpy(host_fp, fp, FP_SAVED);
    for (unsigned k = 0; k < 16; k++)
        g[where[k]] = (greg_t)in->r[k];
    g[REG_RIP] = (greg_t)in->rip;
    g[REG_EFL] = (greg_t)(in->flags | (running->step ? FL_TF : 0));
    g[REG_CSGSFS] = (greg_t)(in->seg[SEG_CS] | (uint64_t)in->seg[SEG_SS] << 48);
    st16(fp + FX_CW, in->cw);
    st16(fp + FX_SW, in->sw);
    fp[FX_TAGS] = in->tags;
    st16(fp + FX_FOP, in->fop);
    st64(fp + FX_FIP, in->fip);
    st64(fp + FX_FDP, in->fdp);
    st32(fp + FX_MXCSR, in->mxcsr);
    for (unsigned k = 0; k < 8; k++)
        memcpy(fp + FX_ST + 16 * k, in->st[k], 10);
    for (unsigned k = 0; k < 16; k++) {
        memcpy(fp + FX_XMM + 16 * k, in->ymm[k], 16);
        memcpy(fp + XS_YMM + 16 * k, in->ymm[k] + 16, 16);
    }
    st64(fp + XS_BV, ld64(fp + XS_BV) | 7);
    if (pkru_offset) {
        st64(fp + XS_BV, ld64(fp + XS_BV) | 1 << 9);
        st32(fp + pkru_offset, in->pkru);
    }
}

static void store(ucontext_t *uc)
{
    struct oracle_state *out = result;
    const uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
    const greg_t *g = uc->uc_mcontext.gregs;
    static const uint8_t where[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                      REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                      REG_R12, REG_R13, REG_R14, REG_R15};
    unsigned trap = (unsigned)g[REG_TRAPNO];
    bool has_error = trap == EXC_DF || (trap >= EXC_TS && trap <= EXC_PF) || trap == EXC_AC;

    for (unsigned k = 0; k < 16; k++)
        out->r[k] = (uint64_t)g[where[k]];
    out->rip = (uint64_t)g[REG_RIP];
    out->flags = (uint64_t)g[REG_EFL];
    out->seg[SEG_CS] = (uint16_t)g[REG_CSGSFS];
    out->seg[SEG_SS] = (uint16_t)((uint64_t)g[REG_CSGSFS] >> 48);
    out->exception = EXC_NONE;
    if (trap == EXC_BP)
        out->rip--;
    else if (trap != EXC_DB)
        out->exception = (uint8_t)trap;
    out->error = has_error ? (uint32_t)g[REG_ERR] : 0;
    out->cr2 = trap == EXC_PF ? (uint64_t)g[REG_CR2] : 0;
    out->cw = ld16(fp + FX_CW);
    out->sw = ld16(fp + FX_SW);
    out->tags = fp[FX_TAGS];
    out->fop = ld16(fp + FX_FOP);
    out->fip = ld64(fp + FX_FIP);
    out->fdp = ld64(fp + FX_FDP);
    out->mxcsr = ld32(fp + FX_MXCSR);
    for (unsigned k = 0; k < 8; k++)
        memcpy(out->st[k], fp + FX_ST + 16 * k, 10);
    for (unsigned k = 0; k < 16; k++) {
        memcpy(out->ymm[k], fp + FX_XMM + 16 * k, 16);
        if (ld64(fp + XS_BV) & 4)
            memcpy(out->ymm[k] + 16, fp + XS_YMM + 16 * k, 16);
        else
            memset(out->ymm[k] + 16, 0, 16);
    }
    out->pkru = pkru_offset ? ld32(fp + pkru_offset) : running->in.pkru;
    memcpy(uc->uc_mcontext.fpregs, host_fp, FP_SAVED);
    memcpy(uc->uc_mcontext.gregs, host_regs, sizeof(host_regs));
}

/* Comes with the case's segments and alignment check: neither thread-local storage nor unaligned
 * memory may be touched before they are put right. */
__attribute__((no_sanitize("address", "undefined"), noinline)) static void
on_signal(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    uint64_t fs_base, gs_base, flags;
    uint16_t ds, es, fs, gs;

    __asm__ volatile("pushfq\n pop %0\n" : "=r"(flags));
    flags &= ~(uint64_t)FL_AC;
    __asm__ volatile("push %0\n popfq\n" : : "r"(flags) : "cc");
    __asm__ volatile("mov %%ds, %0\n mov %%es, %1\n mov %%fs, %2\n mov %%gs, %3\n"
                     : "=r"(ds), "=r"(es), "=r"(fs), "=r"(gs));
    __asm__ volatile("rdfsbase %0\n rdgsbase %1\n" : "=r"(fs_base), "=r"(gs_base));
    if (loaded) {
        __asm__ volatile("mov %w0, %%fs\n wrfsbase %1\n" : : "r"(0), "r"(host_fs_base));
        loaded = false;
        store(uc);
        result->seg[SEG_DS] = ds;
        result->seg[SEG_ES] = es;
        result->seg[SEG_FS] = fs;
        result->seg[SEG_GS] = gs;
        result->fs_base = fs_base;
        result->gs_base = gs_base;
    } else {
        const struct oracle_state *in = &running->in;
        host_fs_base = fs_base;
        load(uc);
        loaded = true;
        __asm__ volatile("mov %w0, %%ds\n mov %w1, %%es\n"
                         :
                         : "r"(in->seg[SEG_DS]), "r"(in->seg[SEG_ES]));
        __asm__ volatile("mov %w0, %%gs\n wrgsbase %1\n mov %w2, %%fs\n wrfsbase %3\n"
                         :
                         : "r"(in->seg[SEG_GS]), "r"(in->gs_base), "r"(in->seg[SEG_FS]),
                           "r"(in->fs_base));
    }
}

static void run(const struct oracle_case *c, struct oracle_state *out)
{
    uint8_t *code = code_alias;
    unsigned at = (unsigned)(c->in.rip - ORACLE_CODE);
    unsigned n = MIN((unsigned)c->len, ORACLE_CODE_SIZE - at);

    memcpy((void *)(uintptr_t)ORACLE_DATA, c->in.data, ORACLE_DATA_SIZE);
    memcpy(code + at, c->code, n);
    running = c;
    result = out;
    __asm__ volatile("int3" : : : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5");
    memset(code + at, 0xcc, n);
    memcpy(out->data, (void *)(uintptr_t)ORACLE_DATA, ORACLE_DATA_SIZE);
}

static void *map(uint64_t at, size_t size, int prot, int fd)
{
    void *want = (void *)(uintptr_t)at;
    int flags =
        (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | (at ? MAP_FIXED_NOREPLACE : 0);
    void *got = mmap(want, size, prot, flags, fd, 0);
    if (got == MAP_FAILED || (at && got != want)) {
        fprintf(stderr, "oracle: cannot map %llx: %s\n", (unsigned long long)at, strerror(errno));
        _exit(1);
    }
    return got;
}

/* Cases may execute and read it, and we write it through a second mapping. */
static void map_code(void)
{
    int fd = memfd_create("code", 0);
    if (fd < 0 || ftruncate(fd, ORACLE_CODE_SIZE) != 0) {
        perror("oracle");
        _exit(1);
    }
    map(ORACLE_CODE, ORACLE_CODE_SIZE, PROT_READ | PROT_EXEC, fd);
    code_alias = map(0, ORACLE_CODE_SIZE, PROT_READ | PROT_WRITE, fd);
    close(fd);
    memset(code_alias, 0xcc, ORACLE_CODE_SIZE);
}

static void child_main(struct shared *s, int from_parent, int to_parent)
{
    static const int sigs[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t alt = {.ss_sp = malloc(1 << 17), .ss_size = 1 << 17};
    uint32_t a, b, c, d;
    unsigned n;

    map(ORACLE_DATA, ORACLE_DATA_SIZE, PROT_READ | PROT_WRITE, -1);
    map(ORACLE_RO, PAGE_SIZE, PROT_READ | PROT_WRITE, -1);
    oracle_fill_pattern((uint8_t *)(uintptr_t)ORACLE_RO, PAGE_SIZE);
    mprotect((void *)(uintptr_t)ORACLE_RO, PAGE_SIZE, PROT_READ);
    map_code();
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && c & 1 << 4 /* OSPKE */ &&
        __get_cpuid_count(13, 9, &a, &b, &c, &d))
        pkru_offset = b;
    sigaltstack(&alt, NULL);
    for (unsigned k = 0; k < ARRAY_LEN(sigs); k++)
        sigaction(sigs[k], &sa, NULL);
    while (read(from_parent, &n, sizeof(n)) == sizeof(n)) {
        for (unsigned k = s->done; k < n; k++) {
            run(&s->cases[k], &s->out[k]);
            s->done = k + 1;
        }
        if (write(to_parent, &n, sizeof(n)) != sizeof(n))
            break;
    }
    _exit(0);
}

/* ---- the parent ------------------------------------------------------------------------------- */

static void start_child(struct oracle_host *h)
{
    int down[2], up[2];

    fflush(NULL);
    if (pipe(down) || pipe(up) || (h->child = fork()) < 0) {
        perror("oracle");
        abort();
    }
    if (h->child == 0) {
        close(down[1]);
        close(up[0]);
        child_main(h->s, down[0], up[1]);
    }
    close(down[0]);
    close(up[1]);
    h->to_child = down[1];
    h->from_child = up[0];
}

static void end_child(struct oracle_host *h)
{
    close(h->to_child);
    close(h->from_child);
    waitpid(h->child, NULL, 0);
}

struct oracle_host *oracle_host_new(void)
{
    struct oracle_host *h;
    enum { HWCAP2_FSGSBASE_BIT = 2 };

    if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT) || !oracle_host_has(F_AVX)) {
        puts("the host's kernel or processor is too old to compare with");
        return NULL;
    }
    h = calloc(1, sizeof(*h));
    h->s = mmap(NULL, sizeof(*h->s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (h->s == MAP_FAILED)
        abort();
    start_child(h);
    return h;
}

void oracle_host_free(struct oracle_host *h)
{
    if (!h)
        return;
    end_child(h);
    munmap(h->s, sizeof(*h->s));
    free(h);
}

static void send_batch(struct oracle_host *h)
{
    if (write(h->to_child, &h->n, sizeof(h->n)) != sizeof(h->n))
        perror("oracle");
}

void oracle_host_begin(struct oracle_host *h, const struct oracle_case *cases, unsigned n)
{
    memcpy(h->s->cases, cases, n * sizeof(*cases));
    h->s->done = 0;
    h->n = n;
    send_batch(h);
}

static bool answered(struct oracle_host *h)
{
    enum { TOO_LONG_MS = 5000 };
    struct pollfd p = {.fd = h->from_child, .events = POLLIN};
    unsigned n;

    if (poll(&p, 1, TOO_LONG_MS) <= 0) {
        kill(h->child, SIGKILL);
        return false;
    }
    return read(h->from_child, &n, sizeof(n)) == sizeof(n);
}

/* A case that ends the child, or never ends, is a result too: exception 254. */
const struct oracle_state *oracle_host_end(struct oracle_host *h)
{
    while (!answered(h)) {
        end_child(h);
        if (h->s->done < h->n)
            h->s->out[h->s->done++].exception = 254;
        start_child(h);
        send_batch(h);
    }
    return h->s->out;
}

/* The child's address space is ours but for the window. */
bool oracle_host_occupies(uint64_t at)
{
    unsigned char there;
    return mincore((void *)(uintptr_t)align_down(at, PAGE_SIZE), PAGE_SIZE, &there) == 0;
}

bool oracle_host_has(enum cpu_feature f)
{
    enum { A, B, C, D };
    static const struct {
        uint8_t feature, reg, bit;
        uint32_t leaf;
    } where[] = {
        {F_MMX, D, 23, 1},        {F_SSE, D, 25, 1},
        {F_SSE2, D, 26, 1},       {F_SSE3, C, 0, 1},
        {F_SSSE3, C, 9, 1},       {F_SSE41, C, 19, 1},
        {F_SSE42, C, 20, 1},      {F_POPCNT, C, 23, 1},
        {F_AES, C, 25, 1},        {F_PCLMUL, C, 1, 1},
        {F_MOVBE, C, 22, 1},      {F_BMI1, B, 3, 7},
        {F_BMI2, B, 8, 7},        {F_LZCNT, C, 5, 0x80000001},
        {F_CX8, D, 8, 1},         {F_CX16, C, 13, 1},
        {F_FXSR, D, 24, 1},       {F_XSAVE, C, 27, 1},
        {F_XSAVEOPT, A, 0, 13},   {F_XSAVEC, A, 1, 13},
        {F_FSGSBASE, B, 0, 7},    {F_RDRAND, C, 30, 1},
        {F_RDSEED, B, 18, 7},     {F_INVPCID, B, 10, 7},
        {F_SMAP, B, 20, 7},       {F_RDTSCP, D, 27, 0x80000001},
        {F_MONITOR, C, 3, 1},     {F_CLFLUSH, D, 19, 1},
        {F_CLFLUSHOPT, B, 23, 7}, {F_CLWB, B, 24, 7},
        {F_AVX, C, 28, 1},        {F_AVX2, B, 5, 7},
        {F_FMA, C, 12, 1},        {F_F16C, C, 29, 1},
        {F_SHA, B, 29, 7},        {F_ADX, B, 19, 7},
        {F_PKU, C, 4, 7},         {F_RDPID, C, 22, 7},
        {F_GFNI, C, 8, 7},        {F_VAES, C, 9, 7},
        {F_VPCLMUL, C, 10, 7},    {F_CMOV, D, 15, 1},
    };
    for (unsigned k = 0; k < ARRAY_LEN(where); k++) {
        uint32_t r[4];
        if (where[k].feature != f)
            continue;
        return __get_cpuid_count(where[k].leaf, where[k].leaf == 13, &r[A], &r[B], &r[C], &r[D]) &&
               (r[where[k].reg] >> where[k].bit & 1);
    }
    return true; /* what every processor with 64-bit mode has */
}

#else

struct oracle_host *oracle_host_new(void)
{
    return NULL;
}

void oracle_host_free(struct oracle_host *h)
{
}

void oracle_host_begin(struct oracle_host *h, const struct oracle_case *cases, unsigned n)
{
}

const struct oracle_state *oracle_host_end(struct oracle_host *h)
{
    return NULL;
}

bool oracle_host_occupies(uint64_t at)
{
    return false;
}

bool oracle_host_has(enum cpu_feature f)
{
    return false;
}

#endif
