/* What a page walk finds; between walk.c and tlb.c only. */
#ifndef MMU_WALK_H
#define MMU_WALK_H

#include "mmu/mmu.h"

struct mmu_xlat {
    uint64_t paddr; /* of the byte asked for, after the A20 mask */
    uint64_t page_size;
    bool read, write, exec; /* may be done now without another walk (write: D is set) */
    bool global;
    uint8_t key; /* protection key of a user page; 0 otherwise */
    bool keyed;  /* the key mattered */
    bool again;  /* false was returned because an entry changed under the walk */
};

/* True with *x filled, A and D set as the access does; else u->fault is filled. */
bool mmu_translate(struct mmu *u, uint64_t lin, enum mmu_access acc, enum mmu_index index,
                   struct mmu_xlat *x);
/* Takes lin modulo 2^32 outside long mode; in it, false with u->fault filled if not canonical. */
bool mmu_canonical(struct mmu *u, uint64_t *lin);

#endif
