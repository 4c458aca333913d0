/* The host's end of a guest's serial port: the terminal, a file, a pseudo-terminal, a socket or
 * nothing. All calls come from the thread that runs the machine. */
#ifndef FRONTEND_SERIAL_H
#define FRONTEND_SERIAL_H

#include "frontend/options.h"

struct serial_port;

/* NULL, having said why on stderr, when it cannot be opened. number counts from 0. */
struct serial_port *serial_open(const struct serial_option *opt, unsigned number);
void serial_close(struct serial_port *p); /* writes out what is left */
/* For tnm_serial.out; opaque is the port. */
void serial_out(void *opaque, uint8_t byte);
/* Between slices: writes what the guest sent, and hands it what arrived. */
void serial_poll(struct serial_port *p, tnm_machine *m);
/* Bytes read from stdin go through filter first, which returns how many remain of them. */
void serial_set_filter(struct serial_port *p, size_t (*filter)(void *opaque, uint8_t *buf, size_t n),
                       void *opaque);

#endif
