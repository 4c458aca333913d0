/* vCPUs on host threads: see threads.h.
 *
 * Two locks. `board` is the machine's; `sync` is about who runs, is taken last and held for moments.
 * A vCPU is RUNNING, HELD (in cpu_run, between two blocks) or PARKED (outside cpu_run). Only its own
 * thread makes it RUNNING, and only while nobody has set `held`: so whoever has set it, and has seen the
 * vCPU not RUNNING under `sync`, has it to himself until he clears it.
 *
 * Whoever wants others to stand still is between two blocks himself, and counts as HELD while he waits:
 * two who want each other do not wait for ever, one comes first (`alone`).
 */
#include "machine/threads.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define SLICE          10000 /* instructions between looks at the clock */
#define SPIN_LOOKS     200   /* before a wait for another vCPU becomes a sleep */
#define CODE_REQUESTS  32
#define LAG_MAX_NS     100000000ull /* what the clock may be behind the host, when that was busy */
#define CATCH_UP_NS    20000        /* for vCPUs to take an interrupt before the next */
#define YIELD_MASK     0xfffu /* PAUSEs, where each vCPU has a processor ... */
#define YIELD_MASK_FEW 0x1fu  /* ... and where not */
#define NOBODY         (-1)

enum where { PARKED, RUNNING, HELD };

struct vcpu {
    pthread_t thread;
    bool started;
    pthread_cond_t wake; /* of its sleep while it is parked */
    atomic_int where;    /* written under sync */
    bool held;           /* under sync */
    atomic_bool asleep;
    unsigned spins;
    /* Under the board's lock: code that others wrote to. */
    struct {
        uint64_t ra;
        unsigned size;
    } code[CODE_REQUESTS];
    unsigned ncode;
    bool code_all;
};

struct threads {
    struct tnm_machine *m;
    unsigned n, yield_mask;
    bool active; /* changes only while all are parked */
    pthread_mutex_t log;

    pthread_mutex_t board;
    int holder; /* of board: a vCPU, or NOBODY: the thread in tnm_run */
    uint64_t sleep_until;
    atomic_uint_fast64_t deadline; /* of the clock, or an earlier time */

    pthread_mutex_t sync;
    pthread_cond_t changed; /* somebody came to stand, or was let go */
    atomic_bool go;         /* vCPUs may run */
    bool quit;
    int alone; /* who has others held, or NOBODY */
    unsigned running;
    uint64_t idle_since;
    struct vcpu cpu[TNM_MAX_CPUS];
};

/* ---- who runs -------------------------------------------------------------------------------- */

bool threads_active(const struct tnm_machine *m)
{
    return m->threads && m->threads->active;
}

static bool may_run(const struct threads *t, unsigned n)
{
    return atomic_load(&t->go) && !t->cpu[n].held && cpu_can_wake(t->m->cpu[n]);
}

/* Under sync. Time in which no vCPU runs is idle time. */
static void set_where(struct threads *t, unsigned n, enum where where)
{
    bool was = atomic_load(&t->cpu[n].where) != PARKED, is = where != PARKED;

    atomic_store(&t->cpu[n].where, where);
    if (is && !was && t->running++ == 0)
        t->m->idle_ns += host_now_ns() - t->idle_since;
    if (was && !is && --t->running == 0)
        t->idle_since = host_now_ns();
    if (where != RUNNING)
        pthread_cond_broadcast(&t->changed);
}

/* What is due next, and no more: if the host was busy elsewhere, several ticks of a timer may be due, and
 * a guest is to see one after the other. Time stands at the next until then. */
static void fire_due(struct tnm_machine *m)
{
    struct threads *t = m->threads;
    uint64_t now = run_host_time(m), next = clock_next_deadline(&m->clock);

    if (next < now && now - next < LAG_MAX_NS)
        clock_advance(&m->clock, MAX(next, m->clock.now));
    else
        run_catch_up(m);
    atomic_store(&t->deadline, clock_next_deadline(&m->clock));
}

/* Until it halts, or all are to stop. */
static void run_cpu(struct threads *t, unsigned n)
{
    struct tnm_machine *m = t->m;
    uint64_t executed;

    for (;;) {
        enum cpu_exit why = cpu_run(m->cpu[n], SLICE, &executed);
        if (!atomic_load(&t->go) || why == CPU_EXIT_HALT || why == CPU_EXIT_SHUTDOWN)
            return;
        if (run_host_time(m) >= atomic_load(&t->deadline)) {
            threads_enter(&m->vcpu[n]);
            fire_due(m);
            threads_leave(&m->vcpu[n]);
        }
    }
}

static void *vcpu_main(void *opaque)
{
    const struct vcpu_ref *r = opaque;
    struct threads *t = r->m->threads;
    struct vcpu *v = &t->cpu[r->index];

    pthread_mutex_lock(&t->sync);
    for (;;) {
        /* Before the look at what is pending: who sets that looks at this afterwards. */
        atomic_store(&v->asleep, true);
        while (!t->quit && !may_run(t, r->index))
            pthread_cond_wait(&v->wake, &t->sync);
        atomic_store(&v->asleep, false);
        if (t->quit)
            break;
        set_where(t, r->index, RUNNING);
        pthread_mutex_unlock(&t->sync);
        run_cpu(t, r->index);
        pthread_mutex_lock(&t->sync);
        set_where(t, r->index, PARKED);
    }
    pthread_mutex_unlock(&t->sync);
    return NULL;
}

void threads_kick(struct tnm_machine *m, unsigned cpu)
{
    struct threads *t = m->threads;

    if (!threads_active(m) || !atomic_load(&t->cpu[cpu].asleep))
        return;
    pthread_mutex_lock(&t->sync);
    pthread_cond_signal(&t->cpu[cpu].wake);
    pthread_mutex_unlock(&t->sync);
}

/* ---- standing still -------------------------------------------------------------------------- */

void threads_hold(void *opaque)
{
    const struct vcpu_ref *r = opaque;
    struct threads *t = r->m->threads;

    pthread_mutex_lock(&t->sync);
    cpu_clear_interrupt(r->m->cpu[r->index], CPU_HOLD);
    if (t->cpu[r->index].held) {
        set_where(t, r->index, HELD);
        while (t->cpu[r->index].held)
            pthread_cond_wait(&t->changed, &t->sync);
        set_where(t, r->index, RUNNING);
    }
    pthread_mutex_unlock(&t->sync);
}

static bool any_runs(const struct threads *t, unsigned cpus)
{
    for (unsigned n = 0; n < t->n; n++) {
        if ((cpus >> n & 1) && atomic_load(&t->cpu[n].where) == RUNNING)
            return true;
    }
    return false;
}

/* self waits, between two blocks, until these vCPUs stand still. */
static void hold_others(struct threads *t, unsigned self, unsigned cpus)
{
    pthread_mutex_lock(&t->sync);
    set_where(t, self, HELD);
    while (t->alone != NOBODY)
        pthread_cond_wait(&t->changed, &t->sync);
    t->alone = (int)self;
    for (unsigned n = 0; n < t->n; n++) {
        if (!(cpus >> n & 1))
            continue;
        t->cpu[n].held = true;
        if (atomic_load(&t->cpu[n].where) == RUNNING)
            cpu_interrupt(t->m->cpu[n], CPU_HOLD);
    }
    if (any_runs(t, cpus)) {
        pthread_mutex_unlock(&t->sync);
        for (unsigned k = 0; k < SPIN_LOOKS && any_runs(t, cpus); k++)
            host_pause();
        pthread_mutex_lock(&t->sync);
    }
    while (any_runs(t, cpus))
        pthread_cond_wait(&t->changed, &t->sync);
    pthread_mutex_unlock(&t->sync);
}

static void let_go(struct threads *t, unsigned self, unsigned cpus)
{
    pthread_mutex_lock(&t->sync);
    for (unsigned n = 0; n < t->n; n++) {
        if (!(cpus >> n & 1))
            continue;
        t->cpu[n].held = false;
        if (atomic_load(&t->cpu[n].asleep))
            pthread_cond_signal(&t->cpu[n].wake);
    }
    t->alone = NOBODY;
    pthread_cond_broadcast(&t->changed);
    set_where(t, self, RUNNING);
    pthread_mutex_unlock(&t->sync);
}

static unsigned all_but(const struct threads *t, unsigned self)
{
    return (BIT(t->n) - 1) & ~BIT(self);
}

void threads_alone(void *opaque, bool on)
{
    const struct vcpu_ref *r = opaque;
    struct threads *t = r->m->threads;

    if (!threads_active(r->m))
        return;
    if (on)
        hold_others(t, r->index, all_but(t, r->index));
    else
        let_go(t, r->index, all_but(t, r->index));
}

void threads_protect(void *opaque, unsigned cpus, uint64_t ra, uint64_t size)
{
    const struct vcpu_ref *r = opaque;
    struct tnm_machine *m = r->m;
    unsigned others = cpus & ~BIT(r->index);
    bool hold = others && threads_active(m) && !m->cpu[r->index]->is_alone;

    if (hold)
        hold_others(m->threads, r->index, others);
    for (unsigned n = 0; n < m->ncpus; n++) {
        if (cpus >> n & 1)
            mmu_protect_ra(&m->cpu[n]->mmu, ra, size);
    }
    physmap_tlb_forget(m->mem, cpus, ra, size);
    if (hold)
        let_go(m->threads, r->index, others);
}

/* ---- the board's lock ------------------------------------------------------------------------ */

void threads_enter(void *opaque)
{
    const struct vcpu_ref *r = opaque;
    struct threads *t = r->m->threads;

    if (!threads_active(r->m))
        return;
    pthread_mutex_lock(&t->board);
    t->holder = (int)r->index;
    r->m->current = r->index;
}

void threads_leave(void *opaque)
{
    const struct vcpu_ref *r = opaque;
    struct threads *t = r->m->threads;

    if (!threads_active(r->m))
        return;
    t->holder = NOBODY;
    pthread_mutex_unlock(&t->board);
}

void threads_enter_device(const struct vcpu_ref *r)
{
    threads_enter((void *)(uintptr_t)r);
    if (threads_active(r->m) && run_host_time(r->m) >= atomic_load(&r->m->threads->deadline))
        fire_due(r->m);
}

bool threads_is_self(const struct tnm_machine *m, unsigned cpu)
{
    return threads_active(m) ? m->threads->holder == (int)cpu : m->in_slice && m->current == cpu;
}

uint64_t threads_time(const struct vcpu_ref *r)
{
    uint64_t now = run_host_time(r->m);

    if (now < atomic_load_explicit(&r->m->threads->deadline, memory_order_relaxed))
        return now;
    threads_enter_device(r); /* what is due by then has happened */
    uint64_t next = clock_next_deadline(&r->m->clock);
    now = MAX(MIN(now, next), r->m->clock.now);
    threads_leave((void *)(uintptr_t)r);
    return now;
}

void threads_spin(void *opaque)
{
    const struct vcpu_ref *r = opaque;
    struct threads *t = r->m->threads;

    if (threads_active(r->m) && !(++t->cpu[r->index].spins & t->yield_mask))
        host_yield();
}

void threads_log(struct threads *t, bool begin)
{
    if (!t)
        return;
    if (begin)
        pthread_mutex_lock(&t->log);
    else
        pthread_mutex_unlock(&t->log);
}

/* ---- code that others wrote ------------------------------------------------------------------ */

void threads_code_written(struct tnm_machine *m, unsigned cpu, uint64_t ra, unsigned size)
{
    struct vcpu *v;

    if (!threads_active(m) || threads_is_self(m, cpu)) {
        cpu_code_written(&m->cpu[cpu], 1, ra, size);
        return;
    }
    v = &m->threads->cpu[cpu];
    for (unsigned k = 0; k < v->ncode; k++) {
        uint64_t first = v->code[k].ra, end = first + v->code[k].size;
        if ((first ^ ra) & PAGE_MASK)
            continue;
        v->code[k].ra = MIN(first, ra);
        v->code[k].size = (unsigned)(MAX(end, ra + size) - v->code[k].ra);
        cpu_interrupt(m->cpu[cpu], CPU_CODE);
        return;
    }
    if (v->ncode < CODE_REQUESTS) {
        v->code[v->ncode].ra = ra;
        v->code[v->ncode++].size = size;
    } else {
        v->code_all = true;
    }
    cpu_interrupt(m->cpu[cpu], CPU_CODE);
}

/* With the board's lock; by the vCPU, or while it is parked. */
static void serve_code(struct tnm_machine *m, unsigned cpu)
{
    struct vcpu *v = &m->threads->cpu[cpu];

    for (unsigned k = 0; k < v->ncode; k++)
        cpu_code_written(&m->cpu[cpu], 1, v->code[k].ra, v->code[k].size);
    if (v->code_all)
        cpu_interrupt(m->cpu[cpu], CPU_FLUSH_CODE);
    v->ncode = 0;
    v->code_all = false;
}

void threads_code_requests(void *opaque)
{
    const struct vcpu_ref *r = opaque;

    threads_enter(opaque);
    serve_code(r->m, r->index);
    threads_leave(opaque);
}

/* ---- the thread in tnm_run -------------------------------------------------------------------- */

void threads_attention(struct tnm_machine *m)
{
    struct threads *t = m->threads;

    atomic_store(&t->go, false);
    for (unsigned n = 0; n < t->n; n++)
        cpu_interrupt(m->cpu[n], CPU_STOP);
    host_wake_set(m->wake);
}

void threads_deadline(struct tnm_machine *m, uint64_t when)
{
    struct threads *t = m->threads;

    if (when < atomic_load(&t->deadline))
        atomic_store(&t->deadline, when);
    if (t->holder != NOBODY && when < t->sleep_until) {
        t->sleep_until = when;
        host_wake_set(m->wake);
    }
}

static bool start_threads(struct threads *t)
{
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the front end's */
    for (unsigned n = 0; n < t->n; n++) {
        struct vcpu *v = &t->cpu[n];
        if (!v->started)
            v->started = pthread_create(&v->thread, NULL, vcpu_main, &t->m->vcpu[n]) == 0;
        if (!v->started)
            break;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return t->cpu[t->n - 1].started;
}

bool threads_start(struct tnm_machine *m)
{
    struct threads *t = m->threads;

    if (!t->cpu[t->n - 1].started && !start_threads(t))
        return false;
    t->active = true;
    t->holder = NOBODY;
    m->in_slice = true;
    atomic_store(&t->deadline, clock_next_deadline(&m->clock));
    pthread_mutex_lock(&t->sync);
    atomic_store(&t->go, true);
    t->idle_since = host_now_ns();
    for (unsigned n = 0; n < t->n; n++) {
        if (may_run(t, n))
            pthread_cond_signal(&t->cpu[n].wake);
    }
    pthread_mutex_unlock(&t->sync);
    return true;
}

void threads_keep_time(struct tnm_machine *m, uint64_t end)
{
    struct threads *t = m->threads;

    pthread_mutex_lock(&t->board);
    t->holder = NOBODY;
    while (atomic_load(&t->go) && !atomic_load(&m->stop)) {
        fire_due(m);
        uint64_t now = run_host_time(m);
        if (m->clock.now >= end)
            break;
        t->sleep_until = MIN(end, clock_next_deadline(&m->clock));
        uint64_t ns = t->sleep_until > now ? t->sleep_until - now : CATCH_UP_NS;
        pthread_mutex_unlock(&t->board);
        host_wake_wait(m->wake, ns);
        pthread_mutex_lock(&t->board);
        t->holder = NOBODY;
    }
    t->sleep_until = 0;
    pthread_mutex_unlock(&t->board);
}

void threads_park(struct tnm_machine *m)
{
    struct threads *t = m->threads;

    pthread_mutex_lock(&t->sync);
    atomic_store(&t->go, false);
    for (unsigned n = 0; n < t->n; n++) {
        if (atomic_load(&t->cpu[n].where) != PARKED)
            cpu_interrupt(m->cpu[n], CPU_STOP);
    }
    while (t->running)
        pthread_cond_wait(&t->changed, &t->sync);
    m->idle_ns += host_now_ns() - t->idle_since;
    pthread_mutex_unlock(&t->sync);
    t->active = false;
    m->in_slice = false;
    for (unsigned n = 0; n < t->n; n++) {
        struct cpu *cpu = m->cpu[n];
        serve_code(m, n);
        if (cpu_pending(cpu) & CPU_A20)
            mmu_set_a20(&cpu->mmu, cpu->a20_wanted);
        cpu_clear_interrupt(cpu, CPU_STOP | CPU_HOLD | CPU_CODE | CPU_A20);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

struct threads *threads_new(struct tnm_machine *m)
{
    struct threads *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->m = m;
    t->n = m->cfg.cpus;
    t->yield_mask = host_processors() < t->n ? YIELD_MASK_FEW : YIELD_MASK;
    t->holder = t->alone = NOBODY;
    pthread_mutex_init(&t->log, NULL);
    pthread_mutex_init(&t->board, NULL);
    pthread_mutex_init(&t->sync, NULL);
    pthread_cond_init(&t->changed, NULL);
    for (unsigned n = 0; n < t->n; n++)
        pthread_cond_init(&t->cpu[n].wake, NULL);
    return t;
}

void threads_free(struct threads *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->sync);
    t->quit = true;
    for (unsigned n = 0; n < t->n; n++)
        pthread_cond_signal(&t->cpu[n].wake);
    pthread_mutex_unlock(&t->sync);
    for (unsigned n = 0; n < t->n; n++) {
        if (t->cpu[n].started)
            pthread_join(t->cpu[n].thread, NULL);
        pthread_cond_destroy(&t->cpu[n].wake);
    }
    pthread_mutex_destroy(&t->log);
    pthread_mutex_destroy(&t->board);
    pthread_mutex_destroy(&t->sync);
    pthread_cond_destroy(&t->changed);
    free(t);
}
