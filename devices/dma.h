/* The pair of 8237A DMA controllers with the page registers: channels 0 to 3 move bytes, 5 to 7
 * words, 4 is the cascade.
 *
 * A device that has data calls dma_transfer, which moves as much as the programmed count allows,
 * through the board's physical memory map.
 */
#ifndef DEVICES_DMA_H
#define DEVICES_DMA_H

#include "devices/bus.h"

struct dma_channel {
    uint16_t base_addr, base_count, addr, count;
    uint8_t mode;
};

struct dma_chip {
    struct dma_channel ch[4];
    uint8_t command, mask, status_tc, request, dreq, temp;
    bool high_byte; /* the byte pointer flip-flop */
};

struct dma {
    struct device dev;
    struct dma_chip chip[2];
    uint8_t page[16];      /* ports 80h-8Fh; 80h itself belongs to misc_ports.c */
    uint8_t page_high[16]; /* ports 480h-48Fh, address bits 24-31 */
};

extern const struct device_class dma_class;
extern const struct vmstate vm_dma;

/* Moves up to len bytes between buf and memory (to_memory: buf is read; otherwise it is filled) as
 * the channel is programmed, and returns how many were moved: 0 when the channel is masked, the
 * controller off, or programmed for the other direction. In verify mode memory is not touched, and
 * buf when filled is zero. *tc tells that the terminal count was reached; nothing is moved after
 * it, and the channel masks itself unless it reloads (autoinitialize). */
size_t dma_transfer(struct dma *d, unsigned channel, void *buf, size_t len, bool to_memory,
                    bool *tc);
/* The request line as the status register shows it. */
void dma_set_dreq(struct dma *d, unsigned channel, bool level);
/* Whether dma_transfer could move anything. */
bool dma_ready(const struct dma *d, unsigned channel);

#endif
