/* Handlers of hot instructions with 8-bit operands. */
#include <stdint.h>

#define BITS 8
#define T uint8_t
#define ST int8_t
#define TABLE interp_table_8
#include "cpu/interp_size.inc"
