/* Between fuzz_board.c, which owns the machine and the plain accesses, and board_scripts.c, which
 * knows how to get devices into the states where the interesting mistakes are. */
#ifndef TESTS_FUZZ_BOARD_H
#define TESTS_FUZZ_BOARD_H

#include "machine/machine_int.h"
#include "tests/fuzz/fuzz.h"

#define FUZZ_RAM (4 * MIB)

struct bench {
    struct fuzz *f;
    tnm_machine *m;
    uint16_t io_bar[64]; /* bases of I/O BARs that are mapped */
    unsigned io_bars;
    uint64_t mem_bar[64];
    unsigned mem_bars;
    unsigned virtio_io, virtio_mem; /* BARs of the virtio disk; index + 1, 0: not mapped */
    unsigned bus_master;            /* of the IDE function, likewise */
};

void out(struct bench *b, uint16_t port, uint32_t v, unsigned size);
uint32_t in(struct bench *b, uint16_t port, unsigned size);
/* An address for DMA: most often in RAM. */
uint64_t any_address(struct bench *b);
uint32_t ram_address(struct bench *b, uint32_t room); /* 4-aligned, room bytes follow */
void poke(struct bench *b, uint64_t at, uint64_t v, unsigned size);
void advance(struct bench *b, uint64_t ns);

void script_pci_map(struct bench *b); /* gives every BAR an address, enables everything */
void script_pci(struct bench *b);
void script_ide(struct bench *b);
void script_fdc(struct bench *b);
void script_dma(struct bench *b);
void script_vga(struct bench *b);
void script_virtio(struct bench *b);
void script_fw_cfg(struct bench *b);
void script_apic(struct bench *b);
void script_timers(struct bench *b);
void script_kbc(struct bench *b);

#endif
