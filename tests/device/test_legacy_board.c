/* All legacy devices on one board: their declared state covers every byte, resets leave it the same
 * every time, and random port accesses break nothing.
 */
#include <stdlib.h>

#include "devices/cmos.h"
#include "devices/debug_exit.h"
#include "devices/debugcon.h"
#include "devices/dma.h"
#include "devices/fdc.h"
#include "devices/kbc.h"
#include "devices/misc_ports.h"
#include "devices/pic.h"
#include "devices/pit.h"
#include "devices/sysctl.h"
#include "devices/uart.h"
#include "tests/device/harness.h"

static const struct device_class *const classes[] = {
    &pic_class,  &pit_class,    &cmos_class,     &kbc_class,        &dma_class,        &fdc_class,
    &uart_class, &sysctl_class, &debugcon_class, &debug_exit_class, &misc_ports_class,
};

struct legacy {
    struct harness *h;
    struct pic *pic;
    struct kbc *kbc;
    struct uart *uart;
};

static struct irq_line isa_irq(struct pic *pic, int n)
{
    return (struct irq_line){pic_set_irq, pic, n};
}

static struct legacy make_board(void)
{
    struct harness *h = harness_new(2 * MIB);
    struct pic *pic = harness_alloc(h, &pic_class, "pic");
    struct pit *pit = harness_alloc(h, &pit_class, "pit");
    struct cmos *cmos = harness_alloc(h, &cmos_class, "cmos");
    struct kbc *kbc = harness_alloc(h, &kbc_class, "kbc");
    struct dma *dma = harness_alloc(h, &dma_class, "dma");
    struct fdc *fdc = harness_alloc(h, &fdc_class, "fdc");
    struct uart *uart = harness_alloc(h, &uart_class, "uart0");
    struct sysctl *sysctl = harness_alloc(h, &sysctl_class, "sysctl");

    harness_alloc(h, &debugcon_class, "debugcon");
    harness_alloc(h, &debug_exit_class, "debug-exit");
    harness_alloc(h, &misc_ports_class, "misc");
    pic->cfg.intr = harness_irq(h, 0);
    pit->cfg.irq = isa_irq(pic, 0);
    kbc->cfg.irq1 = isa_irq(pic, 1);
    kbc->cfg.irq12 = isa_irq(pic, 12);
    uart->cfg.port = 0x3f8;
    uart->cfg.irq = isa_irq(pic, 4);
    fdc->cfg.irq = isa_irq(pic, 6);
    fdc->cfg.dma = dma;
    fdc->cfg.drives = 2;
    cmos->cfg.irq = isa_irq(pic, 8);
    sysctl->cfg.pit = pit;
    for (unsigned i = 0; i < h->ndevices; i++)
        harness_start(h, h->devices[i]);
    h->log.enabled = 0;
    return (struct legacy){h, pic, kbc, uart};
}

/* ---- field coverage ------------------------------------------------------------------------- */

static int by_offset(const void *a, const void *b)
{
    const struct vm_field *const *x = a, *const *y = b;

    return (*x)->offset < (*y)->offset ? -1 : (*x)->offset > (*y)->offset;
}

/* Fields do not overlap, and what lies between them is too small to be anything but padding: less
 * than an integer's own size in front of it, less than a pointer's size elsewhere. */
static void check_coverage(const struct vmstate *vm)
{
    const struct vm_field *sorted[256];
    unsigned n = 0;
    size_t end = 0;

    for (const struct vm_field *f = vm->fields; f->kind != VMK_END; f++) {
        ck_assert_uint_lt(n, ARRAY_LEN(sorted));
        sorted[n++] = f;
        if (f->kind == VMK_STRUCT)
            check_coverage(f->sub);
    }
    qsort(sorted, n, sizeof(sorted[0]), by_offset);
    for (unsigned i = 0; i < n; i++) {
        const struct vm_field *f = sorted[i];
        size_t align = f->kind == VMK_INT || f->kind == VMK_BYTES ? f->size : sizeof(uint64_t);
        bool array = f->kind == VMK_INT || f->kind == VMK_BYTES || f->kind == VMK_STRUCT;
        ck_assert_msg(f->offset >= end, "%s.%s overlaps", vm->name, f->name);
        ck_assert_msg(f->offset - end < align, "%s: undeclared bytes before %s", vm->name, f->name);
        end = f->offset + (size_t)f->size * (array ? f->count : 1);
    }
    ck_assert_msg(end <= vm->size && vm->size - end < sizeof(uint64_t),
                  "%s: undeclared bytes at the end", vm->name);
}

START_TEST(every_byte_is_declared)
{
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        if (!classes[i]->vmstate)
            continue;
        ck_assert_uint_eq(classes[i]->vmstate->size, classes[i]->size);
        check_coverage(classes[i]->vmstate);
    }
}
END_TEST

/* ---- behaviour ------------------------------------------------------------------------------ */

static uint64_t board_hash(struct harness *h)
{
    uint64_t hash = 0;

    for (unsigned i = 0; i < h->ndevices; i++)
        if (h->devices[i]->cls->vmstate)
            hash = vmstate_hash(h->devices[i]->cls->vmstate, h->devices[i], hash);
    return hash;
}

/* Everything there is, in a fixed random order; the hash of the end state. */
static uint64_t storm(uint64_t seed, unsigned n)
{
    static const uint16_t bases[] = {0x00, 0x20, 0x22, 0x40,  0x60,  0x60,  0x70,  0x80,  0x92,
                                     0xa0, 0xc0, 0xed, 0x3f0, 0x3f8, 0x402, 0x481, 0x4d0, 0x501};
    struct legacy b = make_board();
    struct harness *h = b.h;
    uint64_t hash;

    for (unsigned i = 0; i < n; i++) {
        uint64_t r;
        uint16_t port;
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        r = seed >> 20;
        port = (uint16_t)(bases[r % ARRAY_LEN(bases)] + (r >> 8) % 16);
        switch ((r >> 16) % 16) {
        case 0:
            harness_run(h, (r >> 20) % 20000);
            break;
        case 1:
            kbc_key(b.kbc, (unsigned)(r >> 20) & 0x1ff, r >> 30 & 1);
            kbc_mouse(b.kbc, (int)(r >> 20 & 511) - 256, (int)(r >> 29 & 511) - 256, 1,
                      (unsigned)(r >> 24) & 31);
            uart_receive(b.uart, (const uint8_t *)&r, 1);
            break;
        case 2:
            if (b.pic->intr)
                pic_ack(b.pic);
            break;
        case 3:
            outl(h, port, (uint32_t)(r >> 12));
            break;
        case 4:
            inw(h, port);
            break;
        case 5:
        case 6:
        case 7:
            inb(h, port);
            break;
        default:
            outb(h, port, (uint8_t)(r >> 24));
            break;
        }
        if (i % 5000 == 4999)
            harness_reset(h, (r >> 20) & 1 ? RESET_HARD : RESET_INIT);
    }
    hash = board_hash(h);
    harness_free(h);
    return hash;
}

START_TEST(nonsense_is_survived_and_repeatable)
{
    for (uint64_t seed = 1; seed <= 8; seed++)
        ck_assert_uint_eq(storm(seed, 20000), storm(seed, 20000));
}
END_TEST

START_TEST(reset_forgets)
{
    struct legacy a = make_board(), b = make_board();

    for (uint16_t port = 0; port < 0x500; port++)
        if (port != 0x71 && port != 0x402) /* the battery and the console keep what they have */
            outb(b.h, port, (uint8_t)(port * 7));
    harness_reset(a.h, RESET_HARD);
    harness_reset(b.h, RESET_HARD);
    for (unsigned i = 0; i < a.h->ndevices; i++) {
        struct device *x = a.h->devices[i], *y = b.h->devices[i];
        if (!x->cls->vmstate || x->cls == &pit_class || x->cls == &pic_class ||
            x->cls == &fdc_class || x->cls == &kbc_class)
            continue; /* these hold event numbers, times of edges, and old buffers */
        ck_assert_msg(vmstate_hash(x->cls->vmstate, x, 0) == vmstate_hash(y->cls->vmstate, y, 0),
                      "%s remembers something", x->id);
    }
    harness_free(a.h);
    harness_free(b.h);
}
END_TEST

START_TEST(timer_interrupt_end_to_end)
{
    struct legacy b = make_board();
    struct harness *h = b.h;
    unsigned n = 0;

    outb(h, 0x20, 0x11);
    outb(h, 0x21, 0x08);
    outb(h, 0x21, 0x04);
    outb(h, 0x21, 0x01);
    outb(h, 0x21, 0xfe);
    for (int ms = 0; ms < 1000; ms++) {
        harness_run(h, 1000000);
        if (b.pic->intr) {
            ck_assert_int_eq(pic_ack(b.pic), 8);
            outb(h, 0x20, 0x20);
            n++;
        }
    }
    ck_assert_uint_eq(n, 18); /* 18.2 a second */
    harness_free(h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {every_byte_is_declared, nonsense_is_survived_and_repeatable,
                                  reset_forgets, timer_interrupt_end_to_end};
    return harness_main("legacy-board", tests, ARRAY_LEN(tests));
}
