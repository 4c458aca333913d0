/* Pages and page tables of the guests: see sys.h. */
#include "sys.h"

int paging_levels;
ulong page_root;

void *pages_alloc(unsigned n)
{
    extern u8 image_end[];
    static ulong next;

    if (!next)
        next = (ulong)image_end;
    void *p = (void *)next;
    next += (ulong)n * 4096;
    return memset(p, 0, n * 4096ul);
}

void *page_alloc(void)
{
    return pages_alloc(1);
}

/* ---- entries of 8 bytes: PAE and 4-level ------------------------------------------------------- */

static u64 *entry(u64 *table, ulong va, int level)
{
    return &table[(u64)va >> (12 + 9 * level) & 511];
}

static u64 *descend(u64 *e)
{
    if (!(*e & P))
        *e = (ulong)page_alloc() | P | W | U;
    return (u64 *)(ulong)(*e & 0xffffffffff000);
}

u64 *pde(ulong va)
{
    u64 *table = (u64 *)page_root;

    if (paging_levels == 4)
        table = descend(entry(table, va, 3));
    if (paging_levels == 3)
        table = (u64 *)(ulong)(table[va >> 30 & 3] & 0xfffff000);
    else
        table = descend(entry(table, va, 2));
    return entry(table, va, 1);
}

static u64 *pte64(ulong va)
{
    u64 *dir = pde(va);

    if ((*dir & (P | PS)) == (P | PS)) {
        u64 *table = page_alloc(), old = *dir;

        for (unsigned k = 0; k < 512; k++)
            table[k] = (old & ~(u64)PS) + k * 4096;
        *dir = (ulong)table | P | W | U;
        set_cr3(get_cr3());
    }
    return entry(descend(dir), va, 0);
}

/* ---- entries of 4 bytes ------------------------------------------------------------------------ */

static u32 *pte32(ulong va)
{
    u32 *dir = (u32 *)page_root + (va >> 22);

    if (!(*dir & P) || (*dir & PS)) {
        u32 *table = page_alloc(), old = *dir;

        for (u32 k = 0; old && k < 1024; k++)
            table[k] = (old & ~(u32)PS) + k * 4096;
        *dir = (u32)(ulong)table | P | W | U;
        set_cr3(get_cr3());
    }
    return (u32 *)(ulong)(*dir & 0xfffff000) + (va >> 12 & 1023);
}

void *pte(ulong va)
{
    return paging_levels == 2 ? (void *)pte32(va) : (void *)pte64(va);
}

u64 pte_get(ulong va)
{
    return paging_levels == 2 ? *(volatile u32 *)pte(va) : *(volatile u64 *)pte(va);
}

void pte_set(ulong va, u64 value)
{
    if (paging_levels == 2)
        *(volatile u32 *)pte(va) = (u32)value;
    else
        *(volatile u64 *)pte(va) = value;
    invlpg(va);
}

#if BITS == 32
void *df_cr3(void);

void paging_on(int levels)
{
    paging_off();
    paging_levels = levels;
    if (levels == 2) {
        u32 *dir = page_alloc();

        for (u32 k = 0; k < 1024; k++)
            dir[k] = k << 22 | P | W | U | PS;
        page_root = (ulong)dir;
        set_cr4((get_cr4() & ~(ulong)CR4_PAE) | CR4_PSE);
    } else {
        u64 *root = page_alloc();

        for (u32 k = 0; k < 4; k++) {
            u64 *dir = page_alloc();

            root[k] = (ulong)dir | P;
            for (u32 n = 0; n < 512; n++)
                dir[n] = (u64)k << 30 | n << 21 | P | W | U | PS;
        }
        page_root = (ulong)root;
        set_cr4(get_cr4() | CR4_PAE);
    }
    st32((u8 *)df_cr3() + 0x1c, page_root);
    set_cr3(page_root);
    set_cr0(get_cr0() | CR0_PG);
}

void paging_off(void)
{
    set_cr0(get_cr0() & ~(ulong)CR0_PG);
    paging_levels = 0;
}
#endif
