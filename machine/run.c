/* The run loop: vCPUs in turns, virtual time, events, idling, and the requests that end a run. Under the
 * host clock several vCPUs run on threads instead (threads.c), and this one keeps the time.
 *
 * One iteration: pick the next vCPU that can run, work out how many instructions it may execute
 * before something else is due (an event, the end of its turn, a limit, the caller's time), run it,
 * move the clock, fire events. vCPUs take turns on one time line, so that time never differs
 * between them and TSCs are always in step; with n busy vCPUs each gets an n-th of it.
 *
 * Instruction clock: time is NS_PER_INSN nanoseconds for each instruction executed by any vCPU, and
 * jumps to the next event when all are halted. Slices end exactly at events; an event that is
 * scheduled inside a slice shortens it. Nothing here looks at the host.
 *
 * Host clock: time follows the host's monotonic clock, and pauses with the caller: gaps of more
 * than MAX_GAP between or within calls (a debugger, a suspended laptop) are left out. Slices are
 * sized by the measured speed to end near the next event. When all vCPUs are halted the thread sleeps.
 */
#include "machine/machine_int.h"
#include "machine/snapshot.h"
#include "machine/threads.h"

#define QUANTUM_SMP    4000     /* instructions of a turn; short, as others may spin on us */
#define QUANTUM_JITTER 10       /* and up to 2 to this power more */
#define QUANTUM_ONE    20000000 /* alone: nobody waits */
#define HOST_SLICE_NS  2000000  /* longest slice under the host clock */
#define HOST_SLICE_MIN 200      /* instructions */
#define MAX_GAP        250000000ull
#define ADVANCE_STEP   10000000ull /* look at stop requests that often while catching up */

static bool insn_clock(const struct tnm_machine *m)
{
    return m->cfg.clock == TNM_CLOCK_INSN;
}

uint64_t machine_insns(const struct tnm_machine *m)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < m->ncpus; i++)
        n += cpu_retired(m->cpu[i]);
    return n;
}

/* ---- time inside a slice --------------------------------------------------------------------- */

static uint64_t slice_insns(const struct tnm_machine *m)
{
    return cpu_retired(m->cpu[m->current]) - m->slice_retired;
}

uint64_t run_host_time(const struct tnm_machine *m)
{
    return host_now_ns() - m->host_base;
}

/* clock->read */
static uint64_t run_time(void *opaque)
{
    struct tnm_machine *m = opaque;

    if (!m->in_slice)
        return m->clock.now;
    if (insn_clock(m))
        return m->slice_ns + slice_insns(m) * NS_PER_INSN;
    return run_host_time(m);
}

/* Leaves the running CPU n more instructions at most. */
static void cut_slice(struct tnm_machine *m, uint64_t n)
{
    struct cpu *cpu = m->cpu[m->current];
    uint64_t end = slice_insns(m) + n;

    /* slice - budget is what was executed; taking the same from both moves only the end. */
    if (end < (uint64_t)cpu->slice) {
        int64_t cut = cpu->slice - (int64_t)end;
        cpu->slice -= cut;
        cpu->budget -= cut;
    }
}

void run_shorten_slice(struct tnm_machine *m)
{
    if (threads_active(m))
        threads_attention(m);
    else if (m->in_slice)
        cut_slice(m, 0);
}

/* clock->deadline_moved: an event was scheduled before all others, or time has come to one. */
static void run_deadline(void *opaque, uint64_t when)
{
    struct tnm_machine *m = opaque;

    if (!m->in_slice)
        return;
    if (threads_active(m)) {
        threads_deadline(m, when);
        return;
    }
    uint64_t now = run_time(m), left = when > now ? when - now : 0;
    if (insn_clock(m))
        cut_slice(m, (left + NS_PER_INSN - 1) / NS_PER_INSN);
    else
        cut_slice(m, ns_to_ticks(left, m->rate));
}

void run_init(struct tnm_machine *m)
{
    m->clock.read = run_time;
    m->clock.deadline_moved = run_deadline;
    m->clock.opaque = m;
    m->rate = 50000000;
    m->host_base = m->host_left = host_now_ns();
    m->next_hash = m->cfg.state_hash_every;
}

void run_restored(struct tnm_machine *m)
{
    m->host_left = host_now_ns();
    m->host_base = m->host_left - m->clock.now;
    if (m->cfg.state_hash_every)
        m->next_hash = (machine_insns(m) / m->cfg.state_hash_every + 1) * m->cfg.state_hash_every;
    m->slice_ns = m->clock.now;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static bool can_run(const struct tnm_machine *m, unsigned n)
{
    return m->cpu[n]->activity == CPU_ACTIVE || cpu_can_wake(m->cpu[n]);
}

/* Turns differ in length, or a loop that gives a lock away for one instruction in five would always
 * be interrupted in the other four. */
static uint64_t next_quantum(struct tnm_machine *m)
{
    if (m->ncpus == 1)
        return QUANTUM_ONE;
    m->turns++;
    return QUANTUM_SMP + (m->turns * 0x9e3779b97f4a7c15ull >> (64 - QUANTUM_JITTER));
}

/* Makes the vCPU whose turn it is current; false if all are halted. */
static bool choose_cpu(struct tnm_machine *m)
{
    if (m->quantum_left && can_run(m, m->current))
        return true;
    for (unsigned i = 1; i <= m->ncpus; i++) {
        unsigned n = (m->current + i) % m->ncpus;
        if (can_run(m, n)) {
            m->current = n;
            m->quantum_left = next_quantum(m); /* not while idle: turns are state */
            return true;
        }
    }
    return false;
}

/* Instructions until virtual time `when`. */
static uint64_t insns_until(const struct tnm_machine *m, uint64_t when)
{
    uint64_t ns = when > m->clock.now ? when - m->clock.now : 0;
    if (insn_clock(m))
        return ns / NS_PER_INSN + (ns % NS_PER_INSN != 0);
    return MAX(ns_to_ticks(MIN(ns, (uint64_t)HOST_SLICE_NS), m->rate), (uint64_t)HOST_SLICE_MIN);
}

/* ---- one iteration --------------------------------------------------------------------------- */

static void advance_to(struct tnm_machine *m, uint64_t to)
{
    if (insn_clock(m)) { /* to the end: what was executed has taken its time */
        clock_advance(&m->clock, to);
        return;
    }
    while (m->clock.now < to && !atomic_load_explicit(&m->stop, memory_order_relaxed))
        clock_advance(&m->clock, MIN(to, m->clock.now + ADVANCE_STEP));
    clock_advance(&m->clock, m->clock.now); /* what was scheduled for the past */
}

void run_catch_up(struct tnm_machine *m)
{
    advance_to(m, run_host_time(m));
}

static void run_slice(struct tnm_machine *m, uint64_t end)
{
    struct cpu *cpu = m->cpu[m->current];
    uint64_t n = MIN(m->quantum_left, insns_until(m, MIN(end, clock_next_deadline(&m->clock))));
    uint64_t executed, before, total = machine_insns(m);

    if (m->limit_insns)
        n = MIN(n, m->limit_insns - MIN(total, m->limit_insns));
    if (m->next_hash)
        n = MIN(n, m->next_hash - MIN(total, m->next_hash));
    if (!n) {
        clock_advance(&m->clock, m->clock.now); /* due already: scheduled between runs, by input */
        return;
    }
    physmap_sync(m->mem);
    m->slice_ns = m->clock.now;
    m->slice_retired = cpu_retired(cpu);
    before = insn_clock(m) ? 0 : host_now_ns();
    m->in_slice = true;
    enum cpu_exit why = cpu_run(cpu, n, &executed);
    m->in_slice = false;
    if (why == CPU_EXIT_HALT && !executed)
        executed = 1; /* waking and halting again takes time too, or this would never end */
    m->quantum_left -= MIN(executed, m->quantum_left);
    if (why == CPU_EXIT_HALT || why == CPU_EXIT_SHUTDOWN)
        m->quantum_left = 0; /* but not when the caller stops us: turns are state */

    if (insn_clock(m)) {
        advance_to(m, m->slice_ns + executed * NS_PER_INSN);
        return;
    }
    uint64_t now = host_now_ns(), took = now - before;
    if (took > MAX_GAP) {
        m->host_base += took - MAX_GAP;
    } else if (executed > 1000 && took) {
        /* A quarter of the new measurement: one page-walking slice should not halve the next. */
        uint64_t seen = executed * NS_PER_SEC / took;
        m->rate = MAX((m->rate * 3 + seen) / 4, (uint64_t)1000000);
    }
    advance_to(m, now - m->host_base);
}

/* All vCPUs are halted: on to the next event, or to the end of the caller's time. */
static void idle(struct tnm_machine *m, uint64_t end)
{
    uint64_t until = MIN(end, clock_next_deadline(&m->clock));

    if (insn_clock(m)) {
        if (until > m->clock.now)
            m->idle_ns += until - m->clock.now;
        advance_to(m, until);
        return;
    }
    uint64_t start = host_now_ns(), now = start - m->host_base;
    if (until > now)
        host_wake_wait(m->wake, until - now);
    uint64_t slept = host_now_ns() - start, asked = until > now ? until - now : 0;
    m->idle_ns += slept;
    if (slept > asked + MAX_GAP) /* the host was suspended */
        m->host_base += slept - asked;
    run_catch_up(m);
}

/* Limits of instructions are kept to the instruction, which needs turns. */
static bool on_threads(const struct tnm_machine *m)
{
    return m->threads && !m->limit_insns && !m->next_hash;
}

/* Until something is to be looked at. */
static void run_threads(struct tnm_machine *m, uint64_t end)
{
    physmap_sync(m->mem);
    if (!threads_start(m)) {
        threads_free(m->threads);
        m->threads = NULL;
        return;
    }
    threads_keep_time(m, end);
    threads_park(m);
}

static void report_hash(struct tnm_machine *m)
{
    uint64_t total = machine_insns(m);

    if (!m->next_hash || total < m->next_hash)
        return;
    if (m->cfg.state_hash)
        m->cfg.state_hash(m->cfg.opaque, total, tnm_state_hash(m));
    m->next_hash += m->cfg.state_hash_every;
}

static bool limit_reached(const struct tnm_machine *m)
{
    return (m->limit_ns && m->clock.now >= m->limit_ns) ||
           (m->limit_insns && machine_insns(m) >= m->limit_insns);
}

enum tnm_stop tnm_run(tnm_machine *m, uint64_t ns)
{
    uint64_t entered = host_now_ns(), end;
    enum tnm_stop why = TNM_STOP_SLICE;

    if (entered - m->host_left > MAX_GAP || m->host_base + m->clock.now > entered)
        m->host_base = entered - m->clock.now;
    end = ns < CLOCK_NEVER - m->clock.now ? m->clock.now + ns : CLOCK_NEVER;
    if (m->limit_ns)
        end = MIN(end, m->limit_ns);
    machine_restore_done(m);
    for (;;) {
        if (UNLIKELY(lazy_broken(m, NULL))) {
            why = TNM_STOP_ERROR;
            break;
        }
        if (m->want_reset) {
            m->want_reset = false;
            board_reset(m, m->reset_kind);
        }
        if (m->want_poweroff) {
            why = TNM_STOP_POWEROFF;
            break;
        }
        if (m->want_exit) {
            why = TNM_STOP_EXIT;
            break;
        }
        report_hash(m);
        if (limit_reached(m)) {
            why = TNM_STOP_LIMIT;
            break;
        }
        if (atomic_exchange(&m->stop, false)) {
            why = TNM_STOP_REQUEST;
            break;
        }
        if (m->clock.now >= end)
            break;
        if (on_threads(m))
            run_threads(m, end);
        else if (choose_cpu(m))
            run_slice(m, end);
        else
            idle(m, end);
    }
    m->host_left = host_now_ns();
    m->host_ns += m->host_left - entered;
    return why;
}

void tnm_stop(tnm_machine *m)
{
    atomic_store(&m->stop, true);
    for (unsigned i = 0; i < m->ncpus; i++)
        cpu_interrupt(m->cpu[i], CPU_STOP);
    host_wake_set(m->wake);
}

void tnm_set_limits(tnm_machine *m, uint64_t ns, uint64_t insns)
{
    m->limit_ns = ns;
    m->limit_insns = insns;
}
