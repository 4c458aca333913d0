/* State components of XSAVE, for CPUID leaf 0Dh, XSETBV and whoever else asks. */
#ifndef CPU_XSAVE_H
#define CPU_XSAVE_H

#include "cpu/cpu.h"

enum {
    XCR0_X87 = 1 << 0, XCR0_SSE = 1 << 1, XCR0_AVX = 1 << 2, XCR0_PKRU = 1 << 9,
};

/* Bits of XCR0 that this CPU's model supports; 0 without XSAVE. */
uint64_t xsave_supported(const struct cpu *cpu);
/* True if XSETBV may write v to XCR0 (SDM vol. 1, 13.3). */
bool xsave_xcr0_valid(const struct cpu *cpu, uint64_t v);
/* Bytes of an XSAVE area with the components in mask, in standard or compacted form. */
unsigned xsave_area_size(uint64_t mask, bool compacted);
/* Size of component n, its offset in the standard form, and whether the compacted form aligns it to
 * 64 bytes: CPUID leaf 0Dh, sub-leaves 2 and up. False if there is no such component. */
bool xsave_component(unsigned n, unsigned *size, unsigned *offset, bool *aligned);

#endif
