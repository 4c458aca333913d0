/* Errors that travel up to a front end: a code from the public header's enum and one sentence in
 * the form "what went wrong: what to do". The callee fills it once; callers add nothing.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "base/bits.h"

enum error_code {
    ERR_OK = 0,
    ERR_NOMEM,    /* the host has not enough memory */
    ERR_INVALID,  /* an argument that makes no sense */
    ERR_IO,       /* the host's file system or device said no */
    ERR_NOTFOUND, /* a file that should be there is not */
    ERR_FORMAT,   /* a file that is not what it should be, or damaged */
    ERR_STATE,    /* not possible in the state the machine is in */
    ERR_UNSUPPORTED,
    ERR_EXISTS, /* a file that must not be replaced is there */
};

struct error {
    enum error_code code;
    char text[512];
};

/* Fills *e (which may be NULL) and returns false, so that callers can write
 * `return error_set(e, ERR_IO, "...")`. */
bool error_set(struct error *e, enum error_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
