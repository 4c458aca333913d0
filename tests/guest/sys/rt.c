/* The runtime's C part: output, checks, descriptor tables and exceptions. See sys.h. */
#include "sys.h"

struct trap trap;
struct regs in;
struct user user;
bool (*trap_hook)(struct frame *f);
u64 gdt[GDT_SIZE / 8] __attribute__((aligned(16))) = {
    [KCODE / 8] = BITS == 64 ? 0x00af9b000000ffff : 0x00cf9b000000ffff,
    [KDATA / 8] = 0x00cf93000000ffff,
    [UCODE32 / 8] = 0x00cffb000000ffff,
    [UDATA / 8] = 0x00cff3000000ffff,
    [UCODE64 / 8] = 0x00affb000000ffff,
    [UDATA2 / 8] = 0x00cff3000000ffff,
    [KCODE32 / 8] = 0x00cf9b000000ffff,
};
static u64 idt[256 * 2] __attribute__((aligned(16)));
extern u64 run_sp;

#define TSS_SIZE 104
/* The I/O map has one byte more than the ports need (SDM vol. 1, 19.5.2). */
u8 tss[TSS_SIZE + 8193] __attribute__((aligned(128)));

_Static_assert(offsetof(struct trap, vector) == 0, "boot.S");
_Static_assert(offsetof(struct trap, flags) == 4 * sizeof(ulong), "boot.S");
_Static_assert(offsetof(struct trap, r) == 14 * sizeof(ulong), "boot.S");

/* ---- output and checks ------------------------------------------------------------------------- */

#define COM1      0x3f8
#define EXIT_PORT 0xf4

static unsigned checks, failures;

static void put(char c)
{
    while (!(inb(COM1 + 5) & 0x20))
        ;
    outb(COM1, (u8)c);
}

static void put_hex(u64 v)
{
    int shift = 60;

    while (shift && !(v >> shift))
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        put("0123456789abcdef"[v >> shift & 15]);
}

static void put_dec(u32 v)
{
    if (v >= 10)
        put_dec(v / 10);
    put((char)('0' + v % 10));
}

void say(const char *fmt, ...)
{
    __builtin_va_list ap;

    __builtin_va_start(ap, fmt);
    for (; *fmt; fmt++) {
        if (*fmt != '%') {
            put(*fmt);
            continue;
        }
        switch (*++fmt) {
        case 's':
            for (const char *s = __builtin_va_arg(ap, const char *); *s; s++)
                put(*s);
            break;
        case 'd': {
            int v = __builtin_va_arg(ap, int);

            if (v < 0)
                put('-');
            put_dec(v < 0 ? -(u32)v : (u32)v);
            break;
        }
        case 'l':
            fmt++;
            put_hex(__builtin_va_arg(ap, u64));
            break;
        default:
            put_hex(__builtin_va_arg(ap, u32));
            break;
        }
    }
    __builtin_va_end(ap);
}

void check_at(int line, const char *what, u64 got, u64 want)
{
    checks++;
    if (got == want)
        return;
    failures++;
    say("FAIL " TOPIC ":%d: %s: got %lx, want %lx\n", line, what, got, want);
}

void check_true_at(int line, const char *what, bool ok)
{
    checks++;
    if (ok)
        return;
    failures++;
    say("FAIL " TOPIC ":%d: %s\n", line, what);
}

bool checks_failed(void)
{
    return failures;
}

static bool has_error_code(int vector)
{
    return vector == DF || (vector >= TS && vector <= PF) || vector == AC;
}

void expect_at_line(int line, const char *what, int vector, ulong error)
{
    checks++;
    if (trap.vector == vector && (!has_error_code(vector) || trap.error == error))
        return;
    failures++;
    say("FAIL " TOPIC ":%d: %s: got vector %d error %lx at %lx:%lx cr2 %lx, want vector %d error "
        "%lx\n",
        line, what, trap.vector, (u64)trap.error, (u64)trap.cs, (u64)trap.ip, (u64)trap.cr2, vector,
        (u64)error);
}

void finish(void)
{
    cli();
    if (failures)
        say(TOPIC ": %d of %d checks failed\n", (int)failures, (int)checks);
    else
        say(TOPIC ": all %d checks passed\n", (int)checks);
    for (;;) {
        outl(EXIT_PORT, failures != 0);
        __asm__ volatile("hlt");
    }
}

void skip(const char *why)
{
    say(TOPIC ": %s: not checked\n", why);
}

u64 parameter(const char *name, u64 otherwise)
{
    extern u32 boot_info;
    const u8 *info = (const u8 *)(ulong)boot_info;
    const char *line = ld32(info) & 4 ? (const char *)(ulong)ld32(info + 16) : "";

    for (; *line; line++) {
        const char *a = line, *b = name;
        while (*b && *a == *b) {
            a++;
            b++;
        }
        if (*b || *a != '=')
            continue;
        otherwise = 0;
        for (a++; *a >= '0' && *a <= '9'; a++)
            otherwise = otherwise * 10 + (u64)(*a - '0');
        return otherwise;
    }
    return otherwise;
}

void *memset(void *d, int c, size_t n)
{
    void *to = d;

    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(c) : "memory");
    return d;
}

void *memcpy(void *d, const void *s, size_t n)
{
    void *to = d;

    __asm__ volatile("rep movsb" : "+D"(to), "+S"(s), "+c"(n)::"memory");
    return d;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const u8 *x = a, *y = b;

    for (; n; n--, x++, y++) {
        if (*x != *y)
            return *x - *y;
    }
    return 0;
}

/* ---- descriptor tables ------------------------------------------------------------------------- */

u64 seg_desc(u32 base, u32 limit, unsigned access, unsigned flags)
{
    return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)access << 40 |
           (u64)(limit >> 16 & 15) << 48 | (u64)flags << 52 | (u64)(base >> 24) << 56;
}

u64 gate_desc(u16 sel, ulong to, unsigned access, unsigned params)
{
    return (to & 0xffff) | (u64)sel << 16 | (u64)params << 32 | (u64)access << 40 |
           (u64)(to >> 16 & 0xffff) << 48;
}

void idt_raw(unsigned vector, u64 lo, u64 hi)
{
#ifdef __x86_64__
    idt[vector * 2] = lo;
    idt[vector * 2 + 1] = hi;
#else
    (void)hi;
    idt[vector] = lo;
#endif
}

void idt_set(unsigned vector, u16 sel, const void *to, unsigned access, unsigned ist)
{
    idt_raw(vector, gate_desc(sel, (ulong)to, access, ist), (u64)(ulong)to >> 32);
}

void idt_default(unsigned vector)
{
    bool user_gate = vector == BP || vector == OF || vector == VEC_DONE;

    if (BITS == 32 && vector == DF)
        idt_set(vector, DFTSS, 0, 0x85, 0);
    else
        idt_set(vector, KCODE, stub_table + 16 * vector, user_gate ? 0xee : 0x8e, 0);
}

static u8 df_stack[4096];

static void tables_setup(void)
{
    gdt[TSS_SEL / 8] = seg_desc((u32)(ulong)tss, sizeof(tss) - 1, 0x89, 0);
    st16(tss + 102, TSS_SIZE);
    memset(tss + TSS_SIZE, 0xff, sizeof(tss) - TSS_SIZE);
    for (unsigned v = 0; v < 256; v++)
        idt_default(v);
#if BITS == 32
    extern char df_task[];
    static u8 df_tss[TSS_SIZE] __attribute__((aligned(128)));

    st32(tss + 8, KDATA);
    gdt[DFTSS / 8] = seg_desc((u32)df_tss, TSS_SIZE - 1, 0x89, 0);
    st32(df_tss + 0x20, (u32)df_task);
    st32(df_tss + 0x24, 2);
    st32(df_tss + 0x38, (u32)(df_stack + sizeof(df_stack)));
    for (unsigned s = 0; s < 6; s++)
        st32(df_tss + 0x48 + 4 * s, s == 1 ? KCODE : KDATA);
#else
    *(u64 *)(tss + 0x24) = (ulong)(df_stack + sizeof(df_stack)); /* IST 1, for #DF */
    idt_set(DF, KCODE, stub_table + 16 * DF, 0x8e, 1);
#endif
}

struct table_ptr {
    u16 limit;
    ulong base;
} __attribute__((packed));

void idt_load(void)
{
    struct table_ptr p = {BITS == 64 ? 4095 : 2047, (ulong)idt};

    __asm__ volatile("lidt %0" ::"m"(p));
}

/* ---- exceptions -------------------------------------------------------------------------------- */

#if BITS == 32
void *df_cr3(void)
{
    return (void *)(ulong)(gdt[DFTSS / 8] >> 16 & 0xffffff);
}

/* Back to the guest's own task, as though nothing had been switched. */
void on_df_task(ulong error)
{
    gdt[TSS_SEL / 8] &= ~(2ull << 40);
    gdt[DFTSS / 8] &= ~(2ull << 40);
    __asm__ volatile("clts; ltr %w0" ::"r"(TSS_SEL));
    trap.vector = DF;
    trap.error = error;
    trap.ip = ld32(tss + 0x20);
    trap.flags = ld32(tss + 0x24);
    trap.sp = ld32(tss + 0x38);
    trap.cs = ld32(tss + 0x4c);
    trap.ss = ld32(tss + 0x50);
    trap.cr2 = get_cr2();
    if (!run_sp) {
        say("FAIL " TOPIC ": double fault at %x\n", (u32)trap.ip);
        failures++;
        finish();
    }
}
#endif

static void fill_trap(struct frame *f)
{
    bool inner = BITS == 64 || (f->cs & 3) || (f->flags & FL_VM);

    trap.vector = f->vector == VEC_DONE ? NONE : (int)f->vector;
    trap.error = f->error;
    trap.ip = f->ip;
    trap.cs = f->cs;
    trap.flags = f->flags;
    trap.sp = inner ? f->sp : (ulong)&f->sp;
    trap.ss = inner ? f->ss : KDATA;
    trap.cr2 = get_cr2();
    trap.dr6 = get_dr6();
    trap.frame_at = (ulong)(has_error_code((int)f->vector) ? &f->error : &f->ip);
    trap.r = (struct regs)
    {
        f->ax, f->cx, f->dx, f->bx, f->bp, f->si, f->di
#if BITS == 64
            ,
            f->r8, f->r9, f->r10, f->r11, f->r12, f->r13, f->r14, f->r15
#endif
    };
#if BITS == 32
    bool vm = f->flags & FL_VM;

    trap.ds = vm ? f->v_ds : f->ds;
    trap.es = vm ? f->v_es : f->es;
    trap.fs = vm ? f->v_fs : f->fs;
    trap.gs = vm ? f->v_gs : f->gs;
#endif
}

/* Called by the stubs; true resumes what was interrupted. */
bool on_trap(struct frame *f)
{
    if (trap_hook && trap_hook(f))
        return true;
    if (f->vector == VEC_SPUR)
        return true;
    if (!run_sp || cpu_index()) {
        say("FAIL " TOPIC ": cpu %d: unexpected vector %d error %lx at %lx:%lx sp %lx cr2 %lx\n",
            (int)cpu_index(), (int)f->vector, (u64)f->error, (u64)f->cs, (u64)f->ip, (u64)(ulong)f,
            (u64)get_cr2());
        failures++;
        finish();
    }
    fill_trap(f);
    return false;
}

void guest_start(void)
{
    tables_setup();
    idt_load();
    __asm__ volatile("ltr %w0; lldt %w1" ::"r"(TSS_SEL), "r"(0));
    pic_mask_all();
    user = (struct user){UCODE, UDATA, (ulong)user_stack_top, 2};
    guest_main();
    finish();
}
