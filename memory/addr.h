/* The three kinds of address, never mixed.
 *
 * gva: guest linear address (after segmentation, before paging); gpa: guest physical address;
 * a host address is a pointer or a uintptr_t. */
#ifndef RING3_MEMORY_ADDR_H
#define RING3_MEMORY_ADDR_H

#include <stdint.h>

typedef uint32_t gva_t;
typedef uint64_t gpa_t;

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096u
#define PAGE_MASK 4095u

#endif
