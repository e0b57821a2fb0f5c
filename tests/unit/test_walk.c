/* The guest page walk against a model of it.
 *
 * The matrix builds every combination of entry bits, control bits and access, walks it, and
 * compares with model(), which is written from the sentences of the SDM (vol. 3A, 4.6 and 4.7) and
 * sees flags where the walk sees entries. The other tests fix what the matrix holds constant:
 * addresses, every single reserved bit, entries outside RAM, entries that change meanwhile. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "memory/walk.h"

#define DIRECTORY 0x3000u
#define TABLE 0x5000u
#define FRAME 0x800000u /* a multiple of every page size */
#define ADDRESS 0xc0f37abcu

static struct ram ram;

static void setup(void) { ck_assert_int_eq(ram_create(&ram, 32u << 20), 0); }
static void teardown(void) { ram_destroy(&ram); }

static void put32(gpa_t gpa, uint32_t value) { memcpy(ram.base + gpa, &value, 4); }
static void put64(gpa_t gpa, uint64_t value) { memcpy(ram.base + gpa, &value, 8); }
static uint32_t get32(gpa_t gpa) {
    uint32_t value;
    memcpy(&value, ram.base + gpa, 4);
    return value;
}
static uint64_t get64(gpa_t gpa) {
    uint64_t value;
    memcpy(&value, ram.base + gpa, 8);
    return value;
}

/* One point of the matrix, a bit a flag. */
enum flag {
    /* the page-directory entry */
    DE_P,
    DE_W,
    DE_U,
    DE_A,
    DE_D,
    DE_PS,
    DE_NX,
    DE_RESERVED,
    /* the page-table entry */
    TE_P,
    TE_W,
    TE_U,
    TE_A,
    TE_D,
    TE_NX,
    TE_RESERVED,
    /* control bits */
    WP,
    PSE,
    PAE,
    PGE,
    SMEP,
    SMAP,
    NXE,
    AC,
    FLAG_COUNT
};
#define HAS(point, flag) (((point) >> (flag)&1u) != 0)

struct expected {
    bool ok;
    uint32_t error;
    bool large, user, writable, nx, global, dirty;
    bool de_a, de_d, te_a, te_d; /* in memory, after the walk */
};

static void model_rights(struct expected *e, unsigned p) {
    e->user = HAS(p, DE_U) && (e->large || HAS(p, TE_U));
    e->writable = HAS(p, DE_W) && (e->large || HAS(p, TE_W));
    e->nx = HAS(p, DE_NX) || (!e->large && HAS(p, TE_NX));
}

/* "Determination of access rights", one sentence a line. */
static bool model_allows(const struct expected *e, unsigned p, enum access_kind kind, bool user) {
    bool user_address = e->user;
    if (user) {
        switch (kind) {
        case ACCESS_READ:
            return user_address;
        case ACCESS_WRITE:
            return user_address && e->writable;
        case ACCESS_FETCH:
            return user_address && !e->nx;
        }
    }
    bool smap_refuses = user_address && HAS(p, SMAP) && !HAS(p, AC);
    switch (kind) {
    case ACCESS_READ:
        return !smap_refuses;
    case ACCESS_WRITE:
        return !smap_refuses && (HAS(p, WP) ? e->writable : true);
    case ACCESS_FETCH:
        return user_address ? !HAS(p, SMEP) && !e->nx : !e->nx;
    }
    abort();
}

static bool model_reserved(unsigned p, bool leaf_is_table) {
    bool nx_is_reserved = HAS(p, PAE) && !HAS(p, NXE);
    if (leaf_is_table)
        return HAS(p, PAE) && (HAS(p, TE_RESERVED) || (nx_is_reserved && HAS(p, TE_NX)));
    if (HAS(p, PAE))
        return HAS(p, DE_RESERVED) || (nx_is_reserved && HAS(p, DE_NX));
    return HAS(p, DE_RESERVED) && HAS(p, PSE) && HAS(p, DE_PS);
}

static struct expected model(unsigned p, enum access_kind kind, bool user) {
    struct expected e = {
        .de_a = HAS(p, DE_A), .de_d = HAS(p, DE_D), .te_a = HAS(p, TE_A), .te_d = HAS(p, TE_D)};
    bool present = HAS(p, DE_P), reserved = false;
    if (present) {
        e.large = HAS(p, DE_PS) && (HAS(p, PAE) || HAS(p, PSE));
        reserved = model_reserved(p, false);
        if (!reserved && !e.large) {
            present = HAS(p, TE_P);
            reserved = present && model_reserved(p, true);
        }
    }
    model_rights(&e, p);
    e.ok = present && !reserved && model_allows(&e, p, kind, user);
    if (!e.ok) {
        bool id = kind == ACCESS_FETCH && ((HAS(p, PAE) && HAS(p, NXE)) || HAS(p, SMEP));
        e.error = (uint32_t)present << 0 | (uint32_t)(kind == ACCESS_WRITE) << 1 |
                  (uint32_t)user << 2 | (uint32_t)reserved << 3 | (uint32_t)id << 4;
        return e;
    }
    e.de_a = true;
    if (e.large) {
        e.de_d |= kind == ACCESS_WRITE;
    } else {
        e.te_a = true;
        e.te_d |= kind == ACCESS_WRITE;
    }
    e.dirty = e.large ? e.de_d : e.te_d;
    e.global = HAS(p, PGE);
    return e;
}

/* The entries that a point stands for. G is set in both; the address is in the frame's bits. */
static uint64_t directory_entry(unsigned p) {
    uint64_t entry = (uint64_t)HAS(p, DE_P) << 0 | (uint64_t)HAS(p, DE_W) << 1 |
                     (uint64_t)HAS(p, DE_U) << 2 | (uint64_t)HAS(p, DE_A) << 5 |
                     (uint64_t)HAS(p, DE_D) << 6 | (uint64_t)HAS(p, DE_PS) << 7 | 1u << 8;
    bool large = HAS(p, DE_PS) && (HAS(p, PAE) || HAS(p, PSE));
    entry |= large ? FRAME : TABLE;
    if (HAS(p, PAE))
        return entry | (uint64_t)HAS(p, DE_NX) << 63 | (uint64_t)HAS(p, DE_RESERVED) << 36;
    return large ? entry | (uint64_t)HAS(p, DE_RESERVED) << 17 : entry; /* else an address bit */
}

static uint64_t table_entry(unsigned p) {
    uint64_t entry = (uint64_t)HAS(p, TE_P) << 0 | (uint64_t)HAS(p, TE_W) << 1 |
                     (uint64_t)HAS(p, TE_U) << 2 | (uint64_t)HAS(p, TE_A) << 5 |
                     (uint64_t)HAS(p, TE_D) << 6 | 1u << 8 | FRAME;
    if (HAS(p, PAE))
        entry |= (uint64_t)HAS(p, TE_NX) << 63 | (uint64_t)HAS(p, TE_RESERVED) << 36;
    return entry;
}

static struct paging paging_of(unsigned p) {
    struct paging paging = {.cr0 = CR0_PG | CR0_PE, .cr3 = DIRECTORY, .ac = HAS(p, AC)};
    paging.cr0 |= HAS(p, WP) ? CR0_WP : 0;
    paging.cr4 |= HAS(p, PSE) ? CR4_PSE : 0;
    paging.cr4 |= HAS(p, PAE) ? CR4_PAE : 0;
    paging.cr4 |= HAS(p, PGE) ? CR4_PGE : 0;
    paging.cr4 |= HAS(p, SMEP) ? CR4_SMEP : 0;
    paging.cr4 |= HAS(p, SMAP) ? CR4_SMAP : 0;
    paging.efer |= HAS(p, NXE) ? EFER_NXE : 0;
    paging.pdpte[ADDRESS >> 30] = DIRECTORY | 1;
    return paging;
}

static bool as_expected(const struct walk *w, const struct expected *e, uint64_t de_after,
                        uint64_t te_after) {
    uint64_t de = (uint64_t)e->de_a << 5 | (uint64_t)e->de_d << 6;
    uint64_t te = (uint64_t)e->te_a << 5 | (uint64_t)e->te_d << 6;
    if (w->ok != e->ok || w->error != e->error)
        return false;
    if ((de_after & 0x60) != de || (te_after & 0x60) != te)
        return false;
    if (!e->ok)
        return w->gpa == 0;
    if (w->pde != de_after || w->pte != (e->large ? 0 : te_after))
        return false;
    return w->large == e->large && w->user == e->user && w->writable == e->writable &&
           w->nx == e->nx && w->global == e->global && w->dirty == e->dirty;
}

static bool check_point(unsigned p, enum access_kind kind, bool user) {
    struct paging paging = paging_of(p);
    struct expected e = model(p, kind, user);
    uint64_t de = directory_entry(p), te = table_entry(p), de_after, te_after;
    gpa_t de_at, te_at;
    struct walk w;
    if (HAS(p, PAE)) {
        de_at = DIRECTORY + (ADDRESS >> 21 & 0x1ff) * 8;
        te_at = TABLE + (ADDRESS >> 12 & 0x1ff) * 8;
        put64(de_at, de);
        put64(te_at, te);
        w = walk_page(&ram, &paging, ADDRESS, kind, user, true);
        de_after = get64(de_at);
        te_after = get64(te_at);
    } else {
        de_at = DIRECTORY + (ADDRESS >> 22) * 4;
        te_at = TABLE + (ADDRESS >> 12 & 0x3ff) * 4;
        put32(de_at, (uint32_t)de);
        put32(te_at, (uint32_t)te);
        w = walk_page(&ram, &paging, ADDRESS, kind, user, true);
        de_after = get32(de_at);
        te_after = get32(te_at);
    }
    uint32_t size = !e.large ? 4096 : HAS(p, PAE) ? 2u << 20 : 4u << 20;
    bool place = !e.ok || (w.gpa == (FRAME | (ADDRESS & (size - 1))) && w.page_size == size);
    bool clean = ((de_after ^ de) & ~0x60ull) == 0 && ((te_after ^ te) & ~0x60ull) == 0;
    return place && clean && as_expected(&w, &e, de_after, te_after);
}

START_TEST(permissions_and_error_codes_are_the_models) {
    for (unsigned p = 0; p < 1u << FLAG_COUNT; p++) {
        if (!HAS(p, PAE) && (HAS(p, DE_NX) || HAS(p, TE_NX) || HAS(p, TE_RESERVED)))
            continue; /* 4-byte entries have no such bits */
        for (unsigned access = 0; access < 6; access++)
            if (!check_point(p, (enum access_kind)(access >> 1), (access & 1) != 0))
                ck_abort_msg("point %#x (de %#llx te %#llx) kind %u user %u", p,
                             (unsigned long long)directory_entry(p),
                             (unsigned long long)table_entry(p), access >> 1, access & 1);
    }
}
END_TEST

START_TEST(a_and_d_stay_when_not_asked_for) {
    unsigned p = 1u << DE_P | 1u << DE_W | 1u << DE_U | 1u << TE_P | 1u << TE_W | 1u << TE_U;
    struct paging paging = paging_of(p);
    put32(DIRECTORY + (ADDRESS >> 22) * 4, (uint32_t)directory_entry(p));
    put32(TABLE + (ADDRESS >> 12 & 0x3ff) * 4, (uint32_t)table_entry(p));
    struct walk w = walk_page(&ram, &paging, ADDRESS, ACCESS_WRITE, true, false);
    ck_assert(w.ok && !w.dirty);
    ck_assert_uint_eq(get32(DIRECTORY + (ADDRESS >> 22) * 4), directory_entry(p));
    ck_assert_uint_eq(get32(TABLE + (ADDRESS >> 12 & 0x3ff) * 4), table_entry(p));
}
END_TEST

START_TEST(global_is_the_leafs_bit) {
    struct paging paging = {.cr0 = CR0_PG, .cr3 = DIRECTORY, .cr4 = CR4_PGE | CR4_PSE};
    put32(DIRECTORY, TABLE | PTE_P | PTE_G);
    put32(TABLE, FRAME | PTE_P);
    ck_assert(!walk_page(&ram, &paging, 0, ACCESS_READ, false, false).global);
    put32(DIRECTORY, TABLE | PTE_P);
    put32(TABLE, FRAME | PTE_P | PTE_G);
    ck_assert(walk_page(&ram, &paging, 0, ACCESS_READ, false, false).global);
    put32(DIRECTORY, FRAME | PTE_P | PTE_PS);
    ck_assert(!walk_page(&ram, &paging, 0, ACCESS_READ, false, false).global);
}
END_TEST

START_TEST(paging_off_is_the_identity) {
    struct paging paging = {.cr0 = CR0_PE, .cr4 = CR4_PAE | CR4_SMEP | CR4_SMAP};
    struct walk w = walk_page(&ram, &paging, 0xfedcba98, ACCESS_WRITE, true, true);
    ck_assert(w.ok && w.user && w.writable && !w.nx && !w.global && w.dirty && w.large);
    ck_assert_uint_eq(w.gpa, 0xfedcba98);
    ck_assert_uint_eq(w.page_size, 1u << 31);
}
END_TEST

/* Which single bits of a present entry refuse a walk: a mask of 64. */
static uint64_t refusing_bits(const struct paging *paging, gpa_t at, uint64_t entry,
                              unsigned width) {
    uint64_t mask = 0;
    for (unsigned bit = 0; bit < width; bit++) {
        uint64_t value = entry | 1ull << bit;
        memcpy(ram.base + at, &value, width / 8);
        struct walk w = walk_page(&ram, paging, 0, ACCESS_READ, false, false);
        bool strayed = w.pte == UINT64_MAX; /* to a table outside RAM */
        if (!w.ok && w.error == (PF_PRESENT | PF_RESERVED) && !strayed)
            mask |= 1ull << bit;
    }
    memcpy(ram.base + at, &entry, width / 8);
    return mask;
}

START_TEST(reserved_bits_are_the_manuals) {
    struct paging paging = {.cr0 = CR0_PG, .cr3 = DIRECTORY, .cr4 = CR4_PSE};
    put32(TABLE, FRAME | PTE_P);
    ck_assert_uint_eq(refusing_bits(&paging, DIRECTORY, FRAME | PTE_P | PTE_PS, 32), 0x3e0000);
    ck_assert_uint_eq(refusing_bits(&paging, DIRECTORY, TABLE | PTE_P, 32) & ~PTE_PS, 0);
    ck_assert_uint_eq(refusing_bits(&paging, TABLE, FRAME | PTE_P, 32), 0);

    memset(ram.base + DIRECTORY, 0, 0x4000);
    paging.cr4 = CR4_PAE;
    paging.pdpte[0] = DIRECTORY | 1;
    uint64_t high = 0x7ffffff000000000;
    put64(TABLE, FRAME | PTE_P);
    ck_assert_uint_eq(refusing_bits(&paging, DIRECTORY, FRAME | PTE_P | PTE_PS, 64),
                      high | PTE_NX | 0x1fe000);
    ck_assert_uint_eq(refusing_bits(&paging, DIRECTORY, TABLE | PTE_P, 64) & ~(uint64_t)PTE_PS,
                      high | PTE_NX);
    ck_assert_uint_eq(refusing_bits(&paging, TABLE, FRAME | PTE_P, 64), high | PTE_NX);
    paging.efer = EFER_NXE;
    ck_assert_uint_eq(refusing_bits(&paging, DIRECTORY, FRAME | PTE_P | PTE_PS, 64),
                      high | 0x1fe000);
    put64(DIRECTORY, TABLE | PTE_P);
    ck_assert_uint_eq(refusing_bits(&paging, TABLE, FRAME | PTE_P, 64), high);
}
END_TEST

START_TEST(pse36_puts_bits_32_to_35_into_13_to_16) {
    struct paging paging = {.cr0 = CR0_PG, .cr3 = DIRECTORY, .cr4 = CR4_PSE};
    for (uint64_t high = 0; high < 16; high++) {
        put32(DIRECTORY + 4, (uint32_t)(0xffc00000u | high << 13 | PTE_P | PTE_PS));
        struct walk w = walk_page(&ram, &paging, 0x7654321, ACCESS_READ, false, false);
        ck_assert(!w.ok); /* another entry */
        w = walk_page(&ram, &paging, 0x654321, ACCESS_READ, false, false);
        ck_assert(w.ok);
        ck_assert_uint_eq(w.gpa, high << 32 | 0xffc00000 | 0x254321);
    }
}
END_TEST

START_TEST(pae_uses_each_pdpte) {
    struct paging paging = {.cr0 = CR0_PG, .cr4 = CR4_PAE};
    for (unsigned i = 0; i < 4; i++) {
        gva_t gva = i << 30 | 0x3ffff123;
        struct walk w = walk_page(&ram, &paging, gva, ACCESS_WRITE, true, true);
        ck_assert(!w.ok && w.error == (PF_WRITE | PF_USER));
        paging.pdpte[i] = (uint64_t)(0x10000 + i * 0x1000) | 1;
        put64(0x10ff8 + i * 0x1000, TABLE | 7);
        put64(TABLE + 0xff8, 0x800000000 | i << 12 | 7);
        w = walk_page(&ram, &paging, gva, ACCESS_WRITE, true, true);
        ck_assert(w.ok);
        ck_assert_uint_eq(w.gpa, 0x800000000 | i << 12 | 0x123);
        ck_assert_uint_eq(w.pde_gpa, 0x10ff8 + i * 0x1000);
        ck_assert_uint_eq(w.pte_gpa, TABLE + 0xff8);
    }
}
END_TEST

START_TEST(entries_outside_ram_are_all_ones) {
    /* PSE: a large page with reserved bits. */
    struct paging paging = {.cr0 = CR0_PG, .cr3 = 0xfe000000, .cr4 = CR4_PSE};
    struct walk w = walk_page(&ram, &paging, 0, ACCESS_READ, false, true);
    ck_assert(!w.ok && w.error == (PF_PRESENT | PF_RESERVED));
    /* No PSE: a table at 0xfffff000, all ones too, and a page there. */
    paging.cr4 = 0;
    w = walk_page(&ram, &paging, 0x123, ACCESS_WRITE, true, true);
    ck_assert(w.ok && w.gpa == 0xfffff123 && w.pte == 0xffffffff && w.dirty);
    /* The video hole, and PAE. */
    paging = (struct paging){.cr0 = CR0_PG, .cr4 = CR4_PAE, .efer = EFER_NXE};
    paging.pdpte[0] = RAM_HOLE_START | 1;
    w = walk_page(&ram, &paging, 0, ACCESS_READ, false, true);
    ck_assert(!w.ok && w.error == (PF_PRESENT | PF_RESERVED) && w.pde == UINT64_MAX);
}
END_TEST

/* Another processor flips an unrelated bit of both entries all the time: updates of A and D must
 * not lose its change, and the walk must end. */
static _Atomic bool flipper_stop;

static void *flipper(void *unused) {
    (void)unused;
    while (!flipper_stop) {
        __atomic_fetch_xor((uint32_t *)(void *)(ram.base + DIRECTORY), 1u << 9, __ATOMIC_SEQ_CST);
        __atomic_fetch_xor((uint32_t *)(void *)(ram.base + TABLE), 1u << 9, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

START_TEST(a_walk_survives_entries_that_change) {
    struct paging paging = {.cr0 = CR0_PG, .cr3 = DIRECTORY};
    uint32_t *pde = (uint32_t *)(void *)(ram.base + DIRECTORY);
    uint32_t *pte = (uint32_t *)(void *)(ram.base + TABLE);
    __atomic_store_n(pde, TABLE | 7, __ATOMIC_SEQ_CST);
    __atomic_store_n(pte, FRAME | 7, __ATOMIC_SEQ_CST);
    flipper_stop = false;
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, flipper, NULL), 0);
    for (unsigned i = 0; i < 200000; i++) {
        __atomic_fetch_and(pde, ~PTE_A, __ATOMIC_SEQ_CST);
        __atomic_fetch_and(pte, ~(PTE_A | PTE_D), __ATOMIC_SEQ_CST);
        struct walk w = walk_page(&ram, &paging, 0x42, ACCESS_WRITE, true, true);
        ck_assert(w.ok && w.gpa == (FRAME | 0x42));
        uint32_t pde_now = __atomic_load_n(pde, __ATOMIC_SEQ_CST);
        uint32_t pte_now = __atomic_load_n(pte, __ATOMIC_SEQ_CST);
        ck_assert_uint_eq(pde_now & ~0x200u, TABLE | 7 | PTE_A);
        ck_assert_uint_eq(pte_now & ~0x200u, FRAME | 7 | PTE_A | PTE_D);
    }
    flipper_stop = true;
    pthread_join(thread, NULL);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("walk");
    TCase *tests = tcase_create("walk");
    tcase_set_timeout(tests, 110);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, permissions_and_error_codes_are_the_models);
    tcase_add_test(tests, a_and_d_stay_when_not_asked_for);
    tcase_add_test(tests, global_is_the_leafs_bit);
    tcase_add_test(tests, paging_off_is_the_identity);
    tcase_add_test(tests, reserved_bits_are_the_manuals);
    tcase_add_test(tests, pse36_puts_bits_32_to_35_into_13_to_16);
    tcase_add_test(tests, pae_uses_each_pdpte);
    tcase_add_test(tests, entries_outside_ram_are_all_ones);
    tcase_add_test(tests, a_walk_survives_entries_that_change);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
