/* Handlers of hot instructions with 32-bit operands. */
#include <stdint.h>

#define BITS 32
#define T uint32_t
#define ST int32_t
#define TABLE interp_table_32
#include "cpu/interp_size.inc"
