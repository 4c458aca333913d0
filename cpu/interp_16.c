/* Handlers of hot instructions with 16-bit operands. */
#include <stdint.h>

#define BITS 16
#define T uint16_t
#define ST int16_t
#define TABLE interp_table_16
#include "cpu/interp_size.inc"
