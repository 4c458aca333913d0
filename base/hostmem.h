/* Memory from the host: large, zeroed, page-aligned, and not resident until touched. */
#ifndef BASE_HOSTMEM_H
#define BASE_HOSTMEM_H

#include "base/bits.h"

/* NULL when the host says no. size is rounded up to the host's page size. */
void *hostmem_alloc(size_t size);
/* The same for what is accessed here and there all the time: in large pages, where the host has them, which
 * its TLB holds more of; what is touched becomes resident in pieces of 2 MiB. */
void *hostmem_alloc_huge(size_t size);
void hostmem_free(void *p, size_t size);
/* Makes the range read as zero again and gives its pages back. p and size page-aligned. */
void hostmem_discard(void *p, size_t size);
/* Memory for generated code: the same pages mapped twice, at the returned address to be written and at
 * *exec to be executed; no mapping allows both. NULL where the host has no such thing. */
void *hostmem_alloc_code(size_t size, void **exec);
void hostmem_free_code(void *p, void *exec, size_t size);
/* Bytes of physical memory the host has in all; 0 if unknown. */
uint64_t hostmem_physical(void);

#endif
