/* What main chooses from: each runs the machine to its end and returns the exit status. */
#ifndef FRONTEND_FRONTEND_H
#define FRONTEND_FRONTEND_H

#include "frontend/session.h"

int run_headless(const struct options *opt);
int run_window(const struct options *opt);

/* Gives the terminal to the guest's serial port, if it is stdin's, with the escape key. */
void console_attach(struct session *s);

#endif
