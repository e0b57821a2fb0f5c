/* A shadow over guest page tables built by hand: two-level tables, directory at 0x1000, tables from
 * 0x2000 on, as many as asked for. */
#ifndef RING3_TESTS_SHADOW_FIXTURE_H
#define RING3_TESTS_SHADOW_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "memory/shadow.h"

#define GUEST_RAM (64u << 20)
#define DIRECTORY 0x1000u
#define TABLES 0x100000u /* one a directory entry */
#define FRAMES 0x800000u /* where the mapped pages are */
#define RIGHTS (PTE_P | PTE_W | PTE_U)
#define CLEAN (RIGHTS | PTE_A)
#define DIRTY (CLEAN | PTE_D)

static struct {
    struct ram ram;
    struct counters counters;
    struct shadow shadow;
    struct paging paging;
    struct window *supervisor, *user;
    unsigned dropped;
    gva_t dropped_gva;
} fix;

#define S (&fix.shadow)

static inline void put32(gpa_t gpa, uint32_t value) { memcpy(fix.ram.base + gpa, &value, 4); }
static inline uint32_t get32(gpa_t gpa) {
    uint32_t value;
    memcpy(&value, fix.ram.base + gpa, 4);
    return value;
}
static inline gpa_t pte_at(gva_t gva) { return TABLES + (gva >> 12) * 4; }
static inline gpa_t pde_at(gva_t gva) { return DIRECTORY + (gva >> 22) * 4; }
static inline uint32_t frame(unsigned n) { return FRAMES + n * PAGE_SIZE; }
/* Maps `gva` to frame n with `flags`, through the table that lies at its own place. */
static inline void guest_map(gva_t gva, unsigned n, uint32_t flags) {
    put32(pde_at(gva), (uint32_t)((TABLES + (gva >> 22) * PAGE_SIZE) | RIGHTS | PTE_A));
    put32(pte_at(gva), frame(n) | flags);
}

static inline void on_dropped(void *opaque, unsigned window, gva_t gva, gpa_t gpa) {
    (void)opaque, (void)window, (void)gpa;
    fix.dropped++;
    fix.dropped_gva = gva;
}

static inline void fixture_set_up(void) {
    bool fresh;
    memset(&fix, 0, sizeof fix);
    ck_assert_int_eq(ram_create(&fix.ram, GUEST_RAM), 0);
    ck_assert_int_eq(ram_allocate(&fix.ram, 0, GUEST_RAM), 0);
    ck_assert_int_eq(shadow_init(S, &fix.ram, &fix.counters, NULL), 0);
    S->dropped = on_dropped;
    fix.paging = (struct paging){
        .cr0 = CR0_PE | CR0_PG | CR0_WP, .cr3 = DIRECTORY, .cr4 = CR4_PSE | CR4_PGE};
    fix.supervisor = &S->windows[WINDOW_SUPERVISOR];
    fix.user = shadow_user_window(S, DIRECTORY, &fresh);
    ck_assert(fresh);
}

static inline enum fill_result fill(struct window *w, gva_t gva, bool write) {
    struct walk walk = walk_page(&fix.ram, &fix.paging, gva, write ? ACCESS_WRITE : ACCESS_READ,
                                 w != fix.supervisor, true);
    ck_assert_msg(walk.ok, "no access to %x: error %x", gva, walk.error);
    return shadow_fill(S, w, &fix.paging, gva, &walk, write);
}
static inline void fill_ok(struct window *w, gva_t gva, bool write) {
    ck_assert_int_eq(fill(w, gva, write), FILL_OK);
}
static inline void flush(struct window *w, bool global_too) {
    shadow_flush_window(S, w, &fix.paging, global_too);
}

/* What the host's page tables say: 0 nothing, 1 readable, 2 writable as well. */
static inline int host_rights(const struct window *w, gva_t gva) {
    FILE *maps = fopen("/proc/self/maps", "r");
    uintptr_t at = w->base + gva, low, high;
    char line[512], rights[8];
    int found = 0;
    ck_assert_ptr_nonnull(maps);
    while (!found && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %7s", &low, &high, rights) == 3 && low <= at && at < high)
            found = rights[1] == 'w' ? 2 : 1;
    fclose(maps);
    return found;
}
static inline uint32_t window_read(const struct window *w, gva_t gva) {
    return *(const volatile uint32_t *)(w->base + gva);
}
static inline unsigned count_host_mappings(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned lines = 0;
    int c;
    ck_assert_ptr_nonnull(maps);
    while ((c = getc(maps)) != EOF)
        lines += c == '\n';
    fclose(maps);
    return lines;
}

#endif
