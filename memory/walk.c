/* The guest page walk.
 *
 * One walk reads a page-directory entry and, unless that maps a large page, a page-table entry.
 * 32-bit and PAE paging differ only in where these lie, how wide they are and which bits are
 * reserved: `struct format` holds that, the rest is shared. Entries are read once each, so that a
 * guest that changes them meanwhile gets an answer that was true for one of the values. */
#include "memory/walk.h"

#include <assert.h>
#include <stddef.h>

#define ADDRESS_BITS ((1ull << MAXPHYADDR) - 1)
#define FRAME_BITS (ADDRESS_BITS & ~(uint64_t)PAGE_MASK)

/* Reserved bits (SDM vol. 3A, tables 4-4, 4-9, 4-10 and 4-11). PSE-36 is there, so bits 13 to 16 of
 * a 4 MiB entry are address bits 32 to 35. */
#define LEGACY_LARGE_RESERVED (0x3fe000u & ~((1u << (MAXPHYADDR - 32 + 13)) - 1))
#define PAE_RESERVED (~(ADDRESS_BITS | PTE_NX))
#define PAE_LARGE_RESERVED (PAE_RESERVED | 0x1fe000u)

struct format {
    bool wide; /* 8-byte entries */
    bool has_large;
    uint64_t reserved, large_reserved;
    uint32_t large_size;
};

static struct format format_of(const struct paging *paging) {
    if ((paging->cr4 & CR4_PAE) == 0)
        return (struct format){.has_large = (paging->cr4 & CR4_PSE) != 0,
                               .large_reserved = LEGACY_LARGE_RESERVED,
                               .large_size = 4u << 20};
    uint64_t no_nx = (paging->efer & EFER_NXE) != 0 ? 0 : PTE_NX;
    return (struct format){.wide = true,
                           .has_large = true,
                           .reserved = PAE_RESERVED | no_nx,
                           .large_reserved = PAE_LARGE_RESERVED | no_nx,
                           .large_size = 2u << 20};
}

/* An entry outside RAM reads as all ones; one whose page the host cannot give was never written,
 * so it is zero. */
static uint64_t entry_read(const struct ram *ram, bool wide, gpa_t gpa) {
    size_t size = wide ? 8 : 4;
    const void *where = ram_ptr(ram, gpa, size);
    if (where == NULL)
        return wide ? UINT64_MAX : UINT32_MAX;
    if (ram_allocate(ram, gpa, size) != 0)
        return 0;
    return wide ? __atomic_load_n((const uint64_t *)where, __ATOMIC_ACQUIRE)
                : __atomic_load_n((const uint32_t *)where, __ATOMIC_ACQUIRE);
}

/* Sets `bits` in an entry that is still `*entry`, unless it lies in ROM. False when it has
 * changed. */
static bool entry_set(const struct ram *ram, bool wide, gpa_t gpa, uint64_t *entry, uint32_t bits) {
    if ((*entry & bits) == bits)
        return true;
    void *where = ram_ptr(ram, gpa, wide ? 8 : 4);
    assert(where != NULL); /* all ones have every bit set */
    if (!ram_is_writable(ram, ram_locate(ram, gpa)))
        return true;
    uint64_t set = *entry | bits;
    bool done;
    if (wide) {
        uint64_t expected = *entry;
        done = __atomic_compare_exchange_n((uint64_t *)where, &expected, set, false,
                                           __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    } else {
        uint32_t expected = (uint32_t)*entry;
        done = __atomic_compare_exchange_n((uint32_t *)where, &expected, (uint32_t)set, false,
                                           __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    if (done)
        *entry = set;
    return done;
}

/* The part of the error code that the access alone decides (SDM vol. 3A, 4.7). */
static uint32_t access_error(const struct paging *paging, enum access_kind kind, bool user) {
    uint32_t error = user ? PF_USER : 0;
    if (kind == ACCESS_WRITE)
        error |= PF_WRITE;
    bool nx_enabled = (paging->cr4 & CR4_PAE) != 0 && (paging->efer & EFER_NXE) != 0;
    if (kind == ACCESS_FETCH && (nx_enabled || (paging->cr4 & CR4_SMEP) != 0))
        error |= PF_FETCH;
    return error;
}

/* Access rights (SDM vol. 3A, 4.6.1), for a path whose rights stand in `walk`. */
static bool is_allowed(const struct walk *walk, const struct paging *paging, enum access_kind kind,
                       bool user) {
    if (user && !walk->user)
        return false;
    bool over_user_page = !user && walk->user;
    if (kind == ACCESS_FETCH)
        return !walk->nx && !(over_user_page && (paging->cr4 & CR4_SMEP) != 0);
    if (over_user_page && (paging->cr4 & CR4_SMAP) != 0 && !paging->ac)
        return false;
    return kind == ACCESS_READ || walk->writable || (!user && (paging->cr0 & CR0_WP) == 0);
}

/* Where the page-directory entry lies; false when the PDPTE is not present. */
static bool locate_pde(struct walk *walk, const struct paging *paging, gva_t gva) {
    if ((paging->cr4 & CR4_PAE) == 0) {
        walk->pde_gpa = (paging->cr3 & ~PAGE_MASK) + (gva >> 22) * 4;
        return true;
    }
    uint64_t pdpte = paging->pdpte[gva >> 30];
    if ((pdpte & PTE_P) == 0)
        return false;
    walk->pde_gpa = (pdpte & FRAME_BITS) + (gva >> 21 & 0x1ff) * 8;
    return true;
}

static void combine(struct walk *walk, uint64_t entry) {
    walk->user &= (entry & PTE_U) != 0;
    walk->writable &= (entry & PTE_W) != 0;
    walk->nx |= (entry & PTE_NX) != 0; /* reserved unless enabled, absent from 4-byte entries */
}

static uint64_t large_frame(const struct format *format, uint64_t pde) {
    if (format->wide)
        return pde & FRAME_BITS & ~(uint64_t)(format->large_size - 1);
    uint64_t high = pde >> 13 & ((1u << (MAXPHYADDR - 32)) - 1);
    return (pde & ~(uint64_t)(format->large_size - 1)) | high << 32;
}

/* Follows the path. Fills the entries, the rights and gpa; false where it ends early, with
 * PF_PRESENT and PF_RESERVED in walk->error as far as they apply. */
static bool follow_path(struct walk *walk, const struct ram *ram, const struct paging *paging,
                        const struct format *format, gva_t gva) {
    if (!locate_pde(walk, paging, gva))
        return false;
    walk->pde = entry_read(ram, format->wide, walk->pde_gpa);
    if ((walk->pde & PTE_P) == 0)
        return false;
    walk->large = format->has_large && (walk->pde & PTE_PS) != 0;
    walk->error = PF_PRESENT;
    if ((walk->pde & (walk->large ? format->large_reserved : format->reserved)) != 0) {
        walk->error = PF_PRESENT | PF_RESERVED;
        return false;
    }
    combine(walk, walk->pde);
    if (walk->large) {
        walk->page_size = format->large_size;
        walk->gpa = large_frame(format, walk->pde) | (gva & (format->large_size - 1));
        return true;
    }
    uint32_t index =
        format->wide ? (gva >> PAGE_SHIFT & 0x1ff) * 8 : (gva >> PAGE_SHIFT & 0x3ff) * 4;
    walk->pte_gpa = (walk->pde & FRAME_BITS) + index;
    walk->pte = entry_read(ram, format->wide, walk->pte_gpa);
    if ((walk->pte & PTE_P) == 0) {
        walk->error = 0;
        return false;
    }
    if ((walk->pte & format->reserved) != 0) {
        walk->error = PF_PRESENT | PF_RESERVED;
        return false;
    }
    combine(walk, walk->pte);
    walk->gpa = (walk->pte & FRAME_BITS) | (gva & PAGE_MASK);
    return true;
}

static bool set_accessed_dirty(struct walk *walk, const struct ram *ram, bool wide, bool write) {
    uint32_t leaf = write ? PTE_A | PTE_D : PTE_A;
    if (walk->large)
        return entry_set(ram, wide, walk->pde_gpa, &walk->pde, leaf);
    return entry_set(ram, wide, walk->pde_gpa, &walk->pde, PTE_A) &&
           entry_set(ram, wide, walk->pte_gpa, &walk->pte, leaf);
}

struct walk walk_page(const struct ram *ram, const struct paging *paging, gva_t gva,
                      enum access_kind kind, bool user, bool set_ad) {
    if ((paging->cr0 & CR0_PG) == 0)
        return (struct walk){.gpa = gva,
                             .ok = true,
                             .user = true,
                             .writable = true,
                             .dirty = true,
                             .large = true,
                             .page_size = 1u << 31};

    struct format format = format_of(paging);
    struct walk walk;
    do {
        walk = (struct walk){.user = true, .writable = true, .page_size = PAGE_SIZE};
        walk.ok =
            follow_path(&walk, ram, paging, &format, gva) && is_allowed(&walk, paging, kind, user);
        if (!walk.ok) {
            walk.gpa = 0;
            walk.error |= access_error(paging, kind, user);
            return walk;
        }
        /* An entry that changed under the walk: what it said no longer holds, walk again. */
    } while (set_ad && !set_accessed_dirty(&walk, ram, format.wide, kind == ACCESS_WRITE));

    uint64_t leaf = walk.large ? walk.pde : walk.pte;
    walk.error = 0;
    walk.dirty = (leaf & PTE_D) != 0;
    walk.global = (leaf & PTE_G) != 0 && (paging->cr4 & CR4_PGE) != 0;
    return walk;
}
