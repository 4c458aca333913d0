/* A 16550A serial port.
 *
 * Transmission is instant: a byte written goes to cfg.out at once and the transmitter is empty
 * again, so a serial console costs the guest no waiting. Reception takes bytes from a bounded queue
 * into the FIFO (or the one holding register) as the guest makes room.
 */
#ifndef DEVICES_UART_H
#define DEVICES_UART_H

#include "devices/bus.h"

#define UART_QUEUE 4096

struct uart_config {
    uint16_t port; /* 3F8h, 2F8h, 3E8h, 2E8h */
    struct irq_line irq;
    void (*out)(void *opaque, uint8_t byte); /* may be NULL */
    void *opaque;
};

struct uart {
    struct device dev;
    struct uart_config cfg;
    uint16_t divisor;
    uint8_t ier, fcr, lcr, mcr, lsr, msr, scr;
    uint8_t modem_in;     /* CTS, DSR, RI, DCD as the other side drives them, MSR bits 4-7 */
    bool thre_pending;    /* the THRE interrupt is asserted */
    bool timeout_pending; /* the character timeout interrupt is asserted */
    bool irq_level;
    uint8_t fifo[16], fifo_head, fifo_len;
    uint16_t queue_head, queue_len;
    uint8_t queue[UART_QUEUE];
    struct event rx;      /* the next queued byte arrives */
    struct event timeout; /* four character times without a read */
};

extern const struct device_class uart_class;
extern const struct vmstate vm_uart;

/* Bytes from the other side; returns how many were taken (the rest did not fit: try again). */
size_t uart_receive(struct uart *u, const uint8_t *data, size_t len);
/* How many uart_receive would take. */
size_t uart_room(const struct uart *u);

#endif
