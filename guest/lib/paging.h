/* Address spaces: 32-bit and PAE page tables behind one set of calls.
 *
 * The first 16 MiB stand at their own addresses in every space, supervisor only: the first 4 MiB
 * (where the guest is) in 4 KiB pages, the rest in large ones. Page tables are taken from there,
 * so the guest can always write them. */
#ifndef RING3_GUEST_PAGING_H
#define RING3_GUEST_PAGING_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PAGE_SIZE = 4096,
    PTE_P = 1 << 0,
    PTE_W = 1 << 1,
    PTE_U = 1 << 2,
    PTE_A = 1 << 5,
    PTE_D = 1 << 6,
    PTE_PS = 1 << 7, /* directory entries: a large page */
    PTE_G = 1 << 8,
    USER_PAGE = PTE_P | PTE_W | PTE_U,
    KERNEL_PAGE = PTE_P | PTE_W,
};

enum paging_kind { PAGING_32, PAGING_PAE };

struct space {
    enum paging_kind kind;
    uint32_t root; /* for CR3 */
};

/* A zeroed page; the guest ends with a clear line when there is none left. */
uint32_t page_take(void);

void space_make(struct space *space, enum paging_kind kind);
/* Leaf and directory entry for a linear address, the table made where missing. The low half of
 * the entry in PAE: physical addresses stay below 4 GiB, the high half holds NX in bit 31. */
volatile uint32_t *space_entry(struct space *space, uint32_t linear);
volatile uint32_t *space_directory_entry(struct space *space, uint32_t linear);
void space_map(struct space *space, uint32_t linear, uint32_t physical, uint32_t flags);
/* Takes a page, maps it, and returns its physical address, where ring 0 finds it too. */
uint32_t space_map_new(struct space *space, uint32_t linear, uint32_t flags);
uint32_t space_large_page_size(const struct space *space);
/* Loads CR3, and turns paging on if it is off. */
void space_enter(const struct space *space);
/* Turns paging off; the caller runs at identity-mapped addresses. */
void paging_off(void);

#endif
