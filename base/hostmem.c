/* Host memory by mmap: see base/hostmem.h. Pages that were never touched are not resident, which is
 * what keeps a machine's footprint near what its guest uses. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* mremap */
#endif
#include "base/hostmem.h"

#include <sys/mman.h>
#include <unistd.h>

#ifdef MAP_NORESERVE
#define HOSTMEM_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
#else
#define HOSTMEM_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS)
#endif

static size_t round_up(size_t size)
{
    return (size_t)align_up(size, (uint64_t)sysconf(_SC_PAGESIZE));
}

void *hostmem_alloc(size_t size)
{
    void *p = mmap(NULL, round_up(size), PROT_READ | PROT_WRITE, HOSTMEM_FLAGS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

#ifdef MADV_HUGEPAGE
#define HUGE_PAGE (2 * MIB)

/* More than is wanted, and what is too much at both ends given back. */
void *hostmem_alloc_huge(size_t size)
{
    uint8_t *p, *start;
    size_t rest;

    size = round_up(size);
    if (size < HUGE_PAGE || !(p = hostmem_alloc(size + HUGE_PAGE)))
        return hostmem_alloc(size);
    start = p + (-(uintptr_t)p & (HUGE_PAGE - 1));
    rest = HUGE_PAGE - (size_t)(start - p);
    if (start > p)
        munmap(p, (size_t)(start - p));
    if (rest)
        munmap(start + size, rest);
    madvise(start, size, MADV_HUGEPAGE);
    return start;
}
#else
void *hostmem_alloc_huge(size_t size)
{
    return hostmem_alloc(size);
}
#endif

void hostmem_free(void *p, size_t size)
{
    if (p)
        munmap(p, round_up(size));
}

void hostmem_discard(void *p, size_t size)
{
    /* Fresh pages over the old ones work everywhere; MADV_DONTNEED zeroes on Linux only. */
    if (mmap(p, round_up(size), PROT_READ | PROT_WRITE, HOSTMEM_FLAGS | MAP_FIXED, -1, 0) ==
        MAP_FAILED)
        memset(p, 0, size);
}

#ifdef MREMAP_MAYMOVE
/* Shared memory is mapped once more by mremap of nothing of it (mremap(2), "old_size is zero"). Memory of
 * a memfd would do, too, but perf takes that for a file, and does not look for its names elsewhere. */
void *hostmem_alloc_code(size_t size, void **exec)
{
    void *rw =
        mmap(NULL, round_up(size), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    void *rx;

    if (rw == MAP_FAILED)
        return NULL;
    rx = mremap(rw, 0, round_up(size), MREMAP_MAYMOVE);
    if (rx == MAP_FAILED || mprotect(rx, round_up(size), PROT_READ | PROT_EXEC) != 0) {
        if (rx != MAP_FAILED)
            munmap(rx, round_up(size));
        munmap(rw, round_up(size));
        return NULL;
    }
    *exec = rx;
    return rw;
}

void hostmem_free_code(void *p, void *exec, size_t size)
{
    munmap(p, round_up(size));
    munmap(exec, round_up(size));
}
#else
void *hostmem_alloc_code(size_t size, void **exec)
{
    return NULL;
}

void hostmem_free_code(void *p, void *exec, size_t size)
{
}
#endif

uint64_t hostmem_physical(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}
