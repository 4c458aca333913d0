/* Interrupt wires of the board: see wires.c. Each call makes a wire's end for one more source. */
#ifndef MACHINE_WIRES_H
#define MACHINE_WIRES_H

#include "machine/machine_int.h"

struct irq_line wires_isa(struct tnm_machine *m, unsigned irq);
/* source 1 to 31; 0 is the ISA wire of the same pin. */
struct irq_line wires_gsi(struct tnm_machine *m, unsigned pin, unsigned source);
struct irq_line wires_pit(struct tnm_machine *m);
struct irq_line wires_rtc(struct tnm_machine *m);
void wires_hpet_legacy(void *machine, bool on);

#endif
