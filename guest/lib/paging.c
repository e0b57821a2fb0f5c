/* Page tables of both kinds, and the page allocator behind them (pages are never given back). */
#include "guest/lib/paging.h"

#include "guest/lib/check.h"
#include "guest/lib/console.h"
#include "guest/lib/cpu.h"

enum { POOL_START = 4 << 20, POOL_END = 16 << 20, IDENTITY_END = POOL_END };

static uint32_t pool_next = POOL_START;

uint32_t page_take(void) {
    if (pool_next >= POOL_END) {
        print("FAIL no page left\n");
        guest_exit(1);
    }
    uint32_t page = pool_next;
    pool_next += PAGE_SIZE;
    memset((void *)page, 0, PAGE_SIZE);
    return page;
}

uint32_t space_large_page_size(const struct space *space) {
    return space->kind == PAGING_PAE ? 2u << 20 : 4u << 20;
}

volatile uint32_t *space_directory_entry(struct space *space, uint32_t linear) {
    if (space->kind == PAGING_32)
        return (volatile uint32_t *)space->root + (linear >> 22);
    volatile uint32_t *pointer = (volatile uint32_t *)space->root + (linear >> 30) * 2;
    return (volatile uint32_t *)(*pointer & ~0xfffu) + (linear >> 21 & 511) * 2;
}

volatile uint32_t *space_entry(struct space *space, uint32_t linear) {
    volatile uint32_t *directory = space_directory_entry(space, linear);
    if (!(*directory & PTE_P))
        *directory = page_take() | USER_PAGE;
    uint32_t table = *directory & ~0xfffu;
    if (space->kind == PAGING_32)
        return (volatile uint32_t *)table + (linear >> 12 & 1023);
    return (volatile uint32_t *)table + (linear >> 12 & 511) * 2;
}

void space_map(struct space *space, uint32_t linear, uint32_t physical, uint32_t flags) {
    *space_entry(space, linear) = physical | flags;
}

uint32_t space_map_new(struct space *space, uint32_t linear, uint32_t flags) {
    uint32_t page = page_take();
    space_map(space, linear, page, flags);
    return page;
}

void space_make(struct space *space, enum paging_kind kind) {
    space->kind = kind;
    space->root = page_take();
    if (kind == PAGING_PAE)
        for (uint32_t i = 0; i < 4; i++) /* these entries have no W and U bits */
            ((volatile uint32_t *)space->root)[i * 2] = page_take() | PTE_P;
    for (uint32_t at = 0; at < 4u << 20; at += PAGE_SIZE)
        space_map(space, at, at, KERNEL_PAGE);
    for (uint32_t at = 4u << 20; at < IDENTITY_END; at += space_large_page_size(space))
        *space_directory_entry(space, at) = at | KERNEL_PAGE | PTE_PS;
}

void space_enter(const struct space *space) {
    if (!(read_cr0() & CR0_PG)) {
        uint32_t cr4 = (read_cr4() | CR4_PSE) & ~(uint32_t)CR4_PAE;
        write_cr4(space->kind == PAGING_PAE ? cr4 | CR4_PAE : cr4);
    }
    write_cr3(space->root);
    if (!(read_cr0() & CR0_PG)) {
        write_cr0(read_cr0() | CR0_PG | CR0_WP);
        __asm__ volatile("jmp 1f; 1:" : : : "memory");
    }
}

void paging_off(void) {
    write_cr0(read_cr0() & ~CR0_PG);
    write_cr3(0);
}
