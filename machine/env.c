/* What the CPUs ask of the machine (struct cpu_env). Each holds the board's lock for what it does, if CPUs
 * run on threads. */
#include "devices/lapic.h"
#include "devices/pic.h"
#include "machine/threads.h"

#define MSR_APIC_BASE    0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC_FIRST 0x800
#define MSR_X2APIC_LAST  0x8ff
#define FERR_IRQ         13

static const struct vcpu_ref *ref(void *opaque)
{
    return opaque;
}

static struct lapic *own_apic(void *opaque)
{
    const struct vcpu_ref *r = ref(opaque);
    return r->m->lapic[r->index];
}

bool machine_cpu_has_apic(const struct tnm_machine *m)
{
    return feature_has(&m->cpu[0]->features, F_APIC);
}

static uint32_t env_port_in(void *opaque, uint16_t port, unsigned size)
{
    threads_enter_device(ref(opaque));
    uint32_t value = portmap_read(ref(opaque)->m->ports, port, size);
    threads_leave(opaque);
    return value;
}

static void env_port_out(void *opaque, uint16_t port, uint32_t value, unsigned size)
{
    threads_enter_device(ref(opaque));
    portmap_write(ref(opaque)->m->ports, port, value, size);
    threads_leave(opaque);
}

static int env_intr_ack(void *opaque)
{
    const struct vcpu_ref *r = ref(opaque);
    int vector;

    threads_enter(opaque);
    if (machine_cpu_has_apic(r->m))
        vector = lapic_get_interrupt(r->m->lapic[r->index]);
    else
        vector = pic_ack(r->m->pic);
    threads_leave(opaque);
    return vector;
}

static uint64_t env_tsc(void *opaque)
{
    const struct vcpu_ref *r = ref(opaque);

    /* 1 GHz: the invariant TSC of every model. */
    return threads_active(r->m) ? threads_time(r) : clock_now(&r->m->clock);
}

static void env_tsc_moved(void *opaque)
{
    if (!machine_cpu_has_apic(ref(opaque)->m))
        return;
    threads_enter_device(ref(opaque));
    lapic_tsc_changed(own_apic(opaque));
    threads_leave(opaque);
}

static bool msr_read(void *opaque, uint32_t msr, uint64_t *value)
{
    struct lapic *l = own_apic(opaque);

    if (msr == MSR_APIC_BASE) {
        *value = lapic_get_base(l);
        return true;
    }
    if (msr == MSR_TSC_DEADLINE) {
        *value = lapic_get_tsc_deadline(l);
        return true;
    }
    if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST)
        return lapic_read_msr(l, msr, value);
    return false;
}

static bool msr_write(void *opaque, uint32_t msr, uint64_t value)
{
    struct lapic *l = own_apic(opaque);

    if (msr == MSR_APIC_BASE)
        return lapic_set_base(l, value);
    if (msr == MSR_TSC_DEADLINE) {
        lapic_set_tsc_deadline(l, value);
        return true;
    }
    if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST)
        return lapic_write_msr(l, msr, value);
    return false;
}

static bool env_msr_read(void *opaque, uint32_t msr, uint64_t *value)
{
    threads_enter_device(ref(opaque));
    bool ok = msr_read(opaque, msr, value);
    threads_leave(opaque);
    return ok;
}

static bool env_msr_write(void *opaque, uint32_t msr, uint64_t value)
{
    threads_enter_device(ref(opaque));
    bool ok = msr_write(opaque, msr, value);
    threads_leave(opaque);
    return ok;
}

static uint8_t env_cr8_get(void *opaque)
{
    threads_enter(opaque);
    uint8_t value = lapic_get_cr8(own_apic(opaque));
    threads_leave(opaque);
    return value;
}

static void env_cr8_set(void *opaque, uint8_t value)
{
    threads_enter(opaque);
    lapic_set_cr8(own_apic(opaque), value);
    threads_leave(opaque);
}

static void env_ferr(void *opaque, int level)
{
    threads_enter(opaque);
    pic_set_irq(ref(opaque)->m->pic, FERR_IRQ, level);
    threads_leave(opaque);
}

static void env_shutdown(void *opaque, const char *why)
{
    struct board_if *b = &ref(opaque)->m->board;
    threads_enter(opaque);
    b->request_reset(b->opaque, RESET_HARD, why); /* the chipset answers shutdown with a reset */
    threads_leave(opaque);
}

/* xorshift64*: good enough to tell apart, and repeatable under the instruction clock. */
static uint64_t env_random(void *opaque)
{
    struct tnm_machine *m = ref(opaque)->m;

    threads_enter(opaque);
    m->random ^= m->random >> 12;
    m->random ^= m->random << 25;
    m->random ^= m->random >> 27;
    uint64_t value = m->random * 0x2545f4914f6cdd1dull;
    threads_leave(opaque);
    return value;
}

static void env_code_made(void *opaque, const struct cpu_code *c)
{
    const struct vcpu_ref *r = ref(opaque);

    r->m->cfg.code_made(r->m->cfg.opaque, &(tnm_host_code){.host = c->host,
                                                           .size = c->size,
                                                           .address = c->lin,
                                                           .bits = c->bits,
                                                           .user = c->user,
                                                           .cpu = r->index});
}

static void env_code_dropped(void *opaque, const void *host, size_t size)
{
    struct tnm_machine *m = ref(opaque)->m;
    m->cfg.code_dropped(m->cfg.opaque, host, size);
}

void machine_cpu_env(struct tnm_machine *m, unsigned index, struct cpu_env *env)
{
    m->vcpu[index] = (struct vcpu_ref){m, index};
    *env = (struct cpu_env){
        .opaque = &m->vcpu[index],
        .mem = m->mem,
        .log = &m->log,
        .port_in = env_port_in,
        .port_out = env_port_out,
        .intr_ack = env_intr_ack,
        .tsc = env_tsc,
        .tsc_moved = env_tsc_moved,
        .msr_read = env_msr_read,
        .msr_write = env_msr_write,
        .cr8_get = env_cr8_get,
        .cr8_set = env_cr8_set,
        .ferr = env_ferr,
        .shutdown = env_shutdown,
        .random = env_random,
        .parallel = m->threads,
        .enter = threads_enter,
        .leave = threads_leave,
        .hold = threads_hold,
        .code_requests = threads_code_requests,
        .alone = threads_alone,
        .protect = threads_protect,
        .spin = threads_spin,
        .code_made = m->cfg.code_made ? env_code_made : NULL,
        .code_dropped = m->cfg.code_dropped ? env_code_dropped : NULL,
    };
}
