/* Handlers of hot instructions with 64-bit operands. */
#include <stdint.h>

#define BITS 64
#define T uint64_t
#define ST int64_t
#define TABLE interp_table_64
#include "cpu/interp_size.inc"
