/* A vCPU as text, for people: registers, and the code it is about to execute. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "cpu/cpu.h"
#include "cpu/insn.h"
#include "machine/machine_int.h"

#define LINES_OF_CODE 24

struct text {
    char *buf;
    size_t size, len;
};

static void put(struct text *t, const char *form, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text *t, const char *form, ...)
{
    va_list ap;
    size_t room = t->len < t->size ? t->size - t->len : 0;

    va_start(ap, form);
    int n = vsnprintf(room ? t->buf + t->len : NULL, room, form, ap);
    va_end(ap);
    t->len += n > 0 ? (size_t)n : 0;
}

static void put_registers(struct text *t, const struct cpu *c)
{
    static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    static const char *const segs[6] = {"es", "cs", "ss", "ds", "fs", "gs"};

    for (unsigned n = 0; n < 16; n++)
        put(t, "%-3s %016" PRIx64 "%s", names[n], c->r[n], n % 4 == 3 ? "\n" : "  ");
    put(t, "rip %016" PRIx64 "  flags %06" PRIx64 "  cpl %u\n", c->rip, cpu_flags(c), c->cpl);
    for (unsigned n = 0; n < 6; n++)
        put(t, "%s %04x %" PRIx64 "%s", segs[n], c->seg[n].sel, c->seg[n].base,
            n == 5 ? "\n" : "  ");
    put(t, "cr0 %" PRIx64 "  cr2 %" PRIx64 "  cr3 %" PRIx64 "  cr4 %" PRIx64 "  efer %" PRIx64 "\n",
        c->cr0, c->cr2, c->cr3, c->cr4, c->efer);
    for (unsigned n = 0; n < 16; n++)
        put(t, "ymm%-2u %016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "\n", n,
            ld64(c->xmm[n].b + 24), ld64(c->xmm[n].b + 16), ld64(c->xmm[n].b + 8),
            ld64(c->xmm[n].b));
    put(t, "mxcsr %08x  x87 control %04x status %04x top %u\n", c->fpu.mxcsr, c->fpu.cw, c->fpu.sw,
        c->fpu.top);
}

static unsigned fetch(struct tnm_machine *m, struct cpu *c, uint64_t lin, uint8_t *buf, unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        uint64_t paddr;
        if (!mmu_peek(&c->mmu, lin + k, &paddr))
            return k;
        buf[k] = (uint8_t)physmap_read(m->mem, paddr, 1);
    }
    return n;
}

static void put_code(struct text *t, struct tnm_machine *m, struct cpu *c)
{
    uint64_t rip = c->rip;

    for (unsigned line = 0; line < LINES_OF_CODE; line++) {
        uint8_t code[15];
        char what[96];
        struct insn i;
        struct decode_result res;
        unsigned n = fetch(m, c, rip + c->seg_base[SEG_CS], code, sizeof(code));
        if (!insn_decode(c, code, n, 0, &i, &res))
            return;
        insn_format(&i, rip, what, sizeof(what));
        put(t, "  %016" PRIx64 "  %s\n", rip, what);
        rip += i.len;
        if (insn_rows[i.row].attr & AT_END)
            return;
    }
}

size_t tnm_cpu_describe(tnm_machine *m, unsigned n, char *buf, size_t size)
{
    struct text t = {buf, size, 0};

    if (n < m->ncpus) {
        put_registers(&t, m->cpu[n]);
        put_code(&t, m, m->cpu[n]);
    }
    return t.len;
}

uint64_t tnm_cpu_hash(tnm_machine *m)
{
    uint64_t h = m->ncpus;

    for (unsigned n = 0; n < m->ncpus; n++)
        h = vmstate_hash(&vm_cpu, m->cpu[n], h);
    return h;
}
