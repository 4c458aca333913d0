/* The 16550A: see uart.h for its use. National Semiconductor PC16550D data sheet, section 8.
 *
 * Bytes from the other side wait in `queue` and move into the receive FIFO one at a time, as long as
 * there is room: the line holds back instead of overrunning. `rx` is pending exactly while that can
 * go on.
 *
 * Known inaccuracies: transmission takes no time. A received character takes its time at the
 * programmed rate or RX_MAX_NS, whichever is less. Parity and framing errors do not happen; a break
 * is neither sent nor looped back. DMA signalling (FCR bit 3) is not connected.
 */
#include "devices/uart.h"

#define UART_HZ   1843200ull
#define RX_MAX_NS (100 * 1000ull)

enum { IER_RDA = 0x01, IER_THRE = 0x02, IER_RLS = 0x04, IER_MSR = 0x08 };
enum {
    IIR_NONE = 0x01,
    IIR_MSR = 0x00,
    IIR_THRE = 0x02,
    IIR_RDA = 0x04,
    IIR_RLS = 0x06,
    IIR_TIMEOUT = 0x0c,
    IIR_FIFO = 0xc0
};
enum { FCR_ENABLE = 0x01, FCR_CLEAR_RX = 0x02, FCR_KEPT = 0xc9 };
enum { LCR_STOP2 = 0x04, LCR_PARITY = 0x08, LCR_DLAB = 0x80 };
enum { MCR_DTR = 0x01, MCR_RTS = 0x02, MCR_OUT1 = 0x04, MCR_OUT2 = 0x08, MCR_LOOP = 0x10 };
enum { LSR_DR = 0x01, LSR_OE = 0x02, LSR_ERRORS = 0x1e, LSR_THRE = 0x20, LSR_TEMT = 0x40 };
enum { MSR_TERI = 0x04, MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };

static const struct vm_field uart_fields[] = {
    VM_DEVICE(struct uart),
    VM_SKIP(struct uart, cfg, "configuration and wiring, set by the board"),
    VM_INT(struct uart, divisor),
    VM_INT(struct uart, ier),
    VM_INT(struct uart, fcr),
    VM_INT(struct uart, lcr),
    VM_INT(struct uart, mcr),
    VM_INT(struct uart, lsr),
    VM_INT(struct uart, msr),
    VM_INT(struct uart, scr),
    VM_INT(struct uart, modem_in),
    VM_INT(struct uart, thre_pending),
    VM_INT(struct uart, timeout_pending),
    VM_INT(struct uart, irq_level),
    VM_BYTES(struct uart, fifo),
    VM_INT(struct uart, fifo_head),
    VM_INT(struct uart, fifo_len),
    VM_INT(struct uart, queue_head),
    VM_INT(struct uart, queue_len),
    VM_BYTES(struct uart, queue),
    VM_STRUCT(struct uart, rx, &vm_event),
    VM_STRUCT(struct uart, timeout, &vm_event),
    VM_END,
};

static bool uart_post_load(void *obj)
{
    const struct uart *u = obj;

    return u->fifo_head < sizeof(u->fifo) && u->fifo_len <= sizeof(u->fifo) &&
           u->queue_head < UART_QUEUE && u->queue_len <= UART_QUEUE;
}

const struct vmstate vm_uart =
    VMSTATE_HOOKS("uart", struct uart, uart_fields, NULL, uart_post_load);

/* ---- timing and interrupts ------------------------------------------------------------------ */

static uint64_t char_ns(const struct uart *u)
{
    unsigned bits = 1 + 5 + (u->lcr & 3) + 1 + !!(u->lcr & LCR_STOP2) + !!(u->lcr & LCR_PARITY);
    uint64_t divisor = u->divisor ? u->divisor : 1;

    return bits * divisor * 16 * NS_PER_SEC / UART_HZ;
}

static unsigned fifo_depth(const struct uart *u)
{
    return u->fcr & FCR_ENABLE ? sizeof(u->fifo) : 1;
}

static unsigned trigger_level(const struct uart *u)
{
    static const uint8_t levels[4] = {1, 4, 8, 14};

    return u->fcr & FCR_ENABLE ? levels[u->fcr >> 6] : 1;
}

/* The identification of the pending interrupt of highest priority (data sheet, table IV). */
static uint8_t pending(const struct uart *u)
{
    if ((u->ier & IER_RLS) && (u->lsr & LSR_ERRORS))
        return IIR_RLS;
    if ((u->ier & IER_RDA) && u->fifo_len >= trigger_level(u))
        return IIR_RDA;
    if ((u->ier & IER_RDA) && u->timeout_pending)
        return IIR_TIMEOUT;
    if ((u->ier & IER_THRE) && u->thre_pending)
        return IIR_THRE;
    if ((u->ier & IER_MSR) && (u->msr & 0x0f))
        return IIR_MSR;
    return IIR_NONE;
}

/* A PC takes the interrupt through a driver that OUT2 opens; loopback lets go of the pin. */
static void drive_irq(struct uart *u)
{
    bool open = (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;
    bool level = open && pending(u) != IIR_NONE;

    if (level != u->irq_level) {
        u->irq_level = level;
        irq_set(&u->cfg.irq, level);
    }
}

/* ---- receiver ------------------------------------------------------------------------------- */

static void schedule_rx(struct uart *u)
{
    bool can = u->queue_len && u->fifo_len < fifo_depth(u) && !(u->mcr & MCR_LOOP);

    if (!can)
        event_cancel(&u->rx);
    else if (!event_pending(&u->rx))
        event_in(&u->rx, MIN(char_ns(u), RX_MAX_NS));
}

/* Four character times after the last arrival or read the guest hears of what is left below the
 * trigger level. */
static void restart_timeout(struct uart *u)
{
    u->timeout_pending = false;
    if ((u->fcr & FCR_ENABLE) && u->fifo_len)
        event_in(&u->timeout, 4 * char_ns(u));
    else
        event_cancel(&u->timeout);
}

static void push(struct uart *u, uint8_t v)
{
    if (u->fifo_len >= fifo_depth(u)) {
        u->lsr |= LSR_OE;
        if (!(u->fcr & FCR_ENABLE)) /* the holding register is overwritten, a FIFO is not */
            u->fifo[u->fifo_head] = v;
        return;
    }
    u->fifo[(u->fifo_head + u->fifo_len++) % sizeof(u->fifo)] = v;
    u->lsr |= LSR_DR;
    restart_timeout(u);
}

static uint8_t pop(struct uart *u)
{
    uint8_t v = u->fifo[u->fifo_head];

    if (u->fifo_len) {
        u->fifo_head = (u->fifo_head + 1) % sizeof(u->fifo);
        u->fifo_len--;
    }
    if (!u->fifo_len)
        u->lsr &= ~LSR_DR;
    restart_timeout(u);
    return v;
}

static void clear_rx(struct uart *u)
{
    u->fifo_len = 0;
    u->lsr &= ~LSR_DR;
    restart_timeout(u);
}

static void rx_event(void *opaque)
{
    struct uart *u = opaque;

    if (u->queue_len && u->fifo_len < fifo_depth(u) && !(u->mcr & MCR_LOOP)) {
        push(u, u->queue[u->queue_head]);
        u->queue_head = (u->queue_head + 1) % UART_QUEUE;
        u->queue_len--;
    }
    schedule_rx(u);
    drive_irq(u);
}

static void timeout_event(void *opaque)
{
    struct uart *u = opaque;

    u->timeout_pending = u->fifo_len > 0;
    drive_irq(u);
}

size_t uart_room(const struct uart *u)
{
    return UART_QUEUE - u->queue_len;
}

size_t uart_receive(struct uart *u, const uint8_t *data, size_t len)
{
    size_t n = MIN(len, uart_room(u));

    for (size_t i = 0; i < n; i++)
        u->queue[(u->queue_head + u->queue_len++) % UART_QUEUE] = data[i];
    schedule_rx(u);
    return n;
}

/* ---- registers ------------------------------------------------------------------------------ */

static void transmit(struct uart *u, uint8_t v)
{
    /* The interrupt goes away with the write and comes back with the empty transmitter, so that a
     * controller that looks at edges sees one. */
    u->thre_pending = false;
    drive_irq(u);
    if (u->mcr & MCR_LOOP)
        push(u, v);
    else if (u->cfg.out)
        u->cfg.out(u->cfg.opaque, v);
    u->thre_pending = true;
}

static void update_msr(struct uart *u)
{
    uint8_t lines = u->modem_in, changed;

    if (u->mcr & MCR_LOOP)
        lines = (uint8_t)((u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
                          (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0));
    changed = (u->msr ^ lines) & 0xf0;
    if (lines & MSR_RI) /* only the trailing edge of RI counts */
        changed &= ~MSR_RI;
    u->msr = lines | (u->msr & 0x0f) | changed >> 4;
}

static void write_fcr(struct uart *u, uint8_t v)
{
    if ((u->fcr ^ v) & FCR_ENABLE)
        clear_rx(u);
    u->fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
    if (v & FCR_CLEAR_RX)
        clear_rx(u);
}

static void uart_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct uart *u = opaque;
    uint8_t v = (uint8_t)value;

    switch (offset) {
    case 0:
        if (u->lcr & LCR_DLAB)
            u->divisor = (u->divisor & 0xff00) | v;
        else
            transmit(u, v);
        break;
    case 1:
        if (u->lcr & LCR_DLAB) {
            u->divisor = (uint16_t)((u->divisor & 0x00ff) | v << 8);
            break;
        }
        /* Enabling the transmitter's interrupt raises it: the transmitter is empty. */
        if (v & ~u->ier & IER_THRE)
            u->thre_pending = true;
        u->ier = v & 0x0f;
        break;
    case 2:
        write_fcr(u, v);
        break;
    case 3:
        u->lcr = v;
        break;
    case 4:
        u->mcr = v & 0x1f;
        update_msr(u);
        break;
    case 7:
        u->scr = v;
        break;
    default: /* LSR and MSR are for reading; their writes are factory tests */
        break;
    }
    schedule_rx(u);
    drive_irq(u);
}

static uint8_t read_register(struct uart *u, unsigned reg)
{
    uint8_t v;

    switch (reg) {
    case 0:
        return u->lcr & LCR_DLAB ? (uint8_t)u->divisor : pop(u);
    case 1:
        return u->lcr & LCR_DLAB ? (uint8_t)(u->divisor >> 8) : u->ier;
    case 2:
        v = pending(u);
        if (v == IIR_THRE)
            u->thre_pending = false;
        return v | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
    case 3:
        return u->lcr;
    case 4:
        return u->mcr;
    case 5:
        v = u->lsr;
        u->lsr &= ~LSR_ERRORS;
        return v;
    case 6:
        v = u->msr;
        u->msr &= 0xf0;
        return v;
    default:
        return u->scr;
    }
}

static uint64_t uart_read(void *opaque, uint64_t offset, unsigned size)
{
    struct uart *u = opaque;
    uint8_t v = read_register(u, (unsigned)offset);

    schedule_rx(u);
    drive_irq(u);
    return v;
}

static const struct io_ops uart_ops = {"uart", uart_read, uart_write, 1, 1};

static bool uart_init(struct device *dev, struct error *err)
{
    struct uart *u = (struct uart *)dev;

    event_init(&u->rx, dev->board->clock, "uart receive", 0, rx_event, u);
    event_init(&u->timeout, dev->board->clock, "uart timeout", 0, timeout_event, u);
    if (!u->cfg.port)
        return error_set(err, ERR_INVALID, "%s: no port: set cfg.port", dev->id);
    portmap_add(dev->board->ports, u->cfg.port, 8, &uart_ops, u);
    return true;
}

/* What the other side sent stays queued over a reset, as it would in its buffers. */
static void uart_reset(struct device *dev, enum reset_kind kind)
{
    struct uart *u = (struct uart *)dev;

    if (kind == RESET_INIT)
        return;
    u->divisor = 12;
    u->ier = u->fcr = u->lcr = u->mcr = u->scr = 0;
    u->lsr = LSR_THRE | LSR_TEMT;
    u->modem_in = MSR_CTS | MSR_DSR | MSR_DCD;
    u->msr = u->modem_in;
    u->thre_pending = false;
    u->fifo_head = 0;
    clear_rx(u);
    schedule_rx(u);
    drive_irq(u);
}

static void uart_fini(struct device *dev)
{
    struct uart *u = (struct uart *)dev;

    if (u->cfg.port)
        portmap_remove(dev->board->ports, u->cfg.port, 8, u);
    event_cancel(&u->rx);
    event_cancel(&u->timeout);
}

const struct device_class uart_class = {
    .name = "uart",
    .size = sizeof(struct uart),
    .vmstate = &vm_uart,
    .init = uart_init,
    .reset = uart_reset,
    .fini = uart_fini,
};
