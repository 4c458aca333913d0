/* The local APIC, and the other processors of the guests: see sys.h. */
#include "sys.h"

#define AP_PAGE    0x8000
#define APIC_BASE  0xfee00000u
#define MSR_APIC   0x1b
#define DELAY_PORT 0x80

volatile unsigned cpus_started = 1;
static void (*volatile work[MAX_CPUS])(void);
static bool on;

void idt_load(void);

void pic_mask_all(void)
{
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
}

u32 apic_read(u32 reg)
{
    return ld32((void *)(ulong)(APIC_BASE + reg));
}

void apic_write(u32 reg, u32 v)
{
    st32((void *)(ulong)(APIC_BASE + reg), v);
}

void apic_on(void)
{
    on = true;
    wrmsr(MSR_APIC, rdmsr(MSR_APIC) | 0x800);
    apic_write(0xf0, 0x100 | VEC_SPUR);
    apic_write(0x80, 0);
    apic_write(0x350, 0x10000); /* LINT0: no interrupts of the PIC */
}

unsigned cpu_index(void)
{
    if (!on)
        return 0;
    if (rdmsr(MSR_APIC) & 0x400) /* x2APIC */
        return (unsigned)rdmsr(0x802);
    return apic_read(0x20) >> 24;
}

void ap_main(unsigned n)
{
    idt_load();
    apic_write(0xf0, 0x100 | VEC_SPUR);
    for (;;) {
        void (*fn)(void) = work[n];

        if (fn) {
            fn();
            __atomic_store_n(&work[n], (void (*)(void))0, __ATOMIC_RELEASE);
        }
        __asm__ volatile("pause");
    }
}

static void wait_us(u64 us)
{
    for (; us; us--)
        outb(DELAY_PORT, 0); /* about a microsecond each on hardware; here it is enough turns */
}

/* SDM vol. 3, 8.4.4.1; the processors are numbered as they arrive, which is no order. */
unsigned cpus_start(void)
{
    extern char ap_start[], ap_start_end[];
    static bool done;

    if (done)
        return cpus_started;
    done = true;
    apic_on();
    memcpy((void *)AP_PAGE, ap_start, (size_t)(ap_start_end - ap_start));
    apic_write(0x310, 0);
    apic_write(0x300, 0xc4500); /* INIT to all but this one */
    wait_us(10000);
    for (int k = 0; k < 2; k++) {
        apic_write(0x300, 0xc4600 | AP_PAGE >> 12);
        wait_us(20000);
    }
    return cpus_started;
}

void cpu_do(unsigned cpu, void (*fn)(void))
{
    __atomic_store_n(&work[cpu], fn, __ATOMIC_RELEASE);
}

void cpu_wait(unsigned cpu)
{
    while (__atomic_load_n(&work[cpu], __ATOMIC_ACQUIRE))
        __asm__ volatile("pause");
}
