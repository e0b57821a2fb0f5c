/* The guest page walk: linear to guest-physical, with rights (Intel SDM vol. 3A, 4.3, 4.4, 4.6,
 * 4.7, 4.8).
 *
 * A pure function of guest RAM and a few control bits. Every consumer (shadow filling,
 * instruction fetch, the monitor's own accesses) goes through it. */
#ifndef RING3_MEMORY_WALK_H
#define RING3_MEMORY_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/addr.h"
#include "memory/ram.h"

#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR0_WP (1u << 16)
#define CR0_AM (1u << 18)
#define CR0_NW (1u << 29)
#define CR0_CD (1u << 30)
#define CR0_PG (1u << 31)

#define CR4_VME (1u << 0)
#define CR4_PVI (1u << 1)
#define CR4_TSD (1u << 2)
#define CR4_DE (1u << 3)
#define CR4_PSE (1u << 4)
#define CR4_PAE (1u << 5)
#define CR4_MCE (1u << 6)
#define CR4_PGE (1u << 7)
#define CR4_PCE (1u << 8)
#define CR4_OSFXSR (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_UMIP (1u << 11)
#define CR4_FSGSBASE (1u << 16)
#define CR4_OSXSAVE (1u << 18)
#define CR4_SMEP (1u << 20)
#define CR4_SMAP (1u << 21)

#define EFER_SCE (1u << 0)
#define EFER_NXE (1u << 11)

#define PTE_P (1u << 0)
#define PTE_W (1u << 1)
#define PTE_U (1u << 2)
#define PTE_PWT (1u << 3)
#define PTE_PCD (1u << 4)
#define PTE_A (1u << 5)
#define PTE_D (1u << 6)
#define PTE_PS (1u << 7)
#define PTE_PAT (1u << 7) /* of a 4 KiB entry */
#define PTE_G (1u << 8)
#define PTE_NX (1ull << 63)

/* Physical address bits of the model: CPUID 80000008 says so, bits above are reserved. */
#define MAXPHYADDR 36

/* Page-fault error code bits (SDM vol. 3A, 4.7). */
#define PF_PRESENT (1u << 0)
#define PF_WRITE (1u << 1)
#define PF_USER (1u << 2)
#define PF_RESERVED (1u << 3)
#define PF_FETCH (1u << 4)

/* The registers that decide what a walk means. Part of the vCPU state. */
struct paging {
    uint32_t cr0, cr3, cr4, efer;
    uint64_t pdpte[4]; /* PAE: loaded by MOV to CR3, not re-read by walks (SDM 4.4.1) */
    bool ac;           /* EFLAGS.AC, for SMAP */
};

enum access_kind { ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH };

struct walk {
    gpa_t gpa;      /* of the byte asked for, when ok */
    bool ok;        /* false: a true fault with `error` */
    uint32_t error; /* page-fault error code */
    bool user, writable, nx, global, dirty, large; /* combined rights of the path */
    uint64_t pde, pte;   /* the entries met, as last seen (0 where the path has none) */
    gpa_t pde_gpa, pte_gpa;
    uint32_t page_size;  /* 4 KiB, 2 MiB or 4 MiB; paging off: 2 GiB, identity */
};

/* Walks for one access of a CPL-3 (`user`) or supervisor access. When the access is allowed and
 * `set_ad`, sets A on the path and D for writes, atomically; pde, pte and dirty are as after that.
 * An implicit supervisor access ignores EFLAGS.AC (SDM 4.6.1): its caller clears paging->ac in a
 * copy. When not ok, the fields describe the path as far as it was walked, and gpa is 0. */
struct walk walk_page(const struct ram *ram, const struct paging *paging, gva_t gva,
                      enum access_kind kind, bool user, bool set_ad);

#endif
