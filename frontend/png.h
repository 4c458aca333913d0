/* Screenshots. */
#ifndef FRONTEND_PNG_H
#define FRONTEND_PNG_H

#include <stdbool.h>
#include <stdint.h>

/* Writes 0x00RRGGBB pixels to path; on failure removes what it wrote and leaves errno. */
bool png_write_file(const char *path, const uint32_t *pixels, unsigned width, unsigned height);

#endif
