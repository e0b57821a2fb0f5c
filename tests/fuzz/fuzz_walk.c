/* Fuzzes the guest page walk: random page tables, registers and accesses, each walked twice, by
 * memory/walk.c and by a model written from the tables and sentences of the SDM (vol. 3A, 4.3 to
 * 4.8) that shares no code with it.
 *
 * Compared after every access: allowed or not, the error code, the physical address, the rights of
 * the path, and the whole of memory, in which accessed and dirty bits are all that may have
 * changed. Accesses of one input follow each other over the same tables. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/walk.h"

#define PAGES 16u
#define MEMORY_BYTES (PAGES * 4096u)
#define ACCESSES_MAX 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ram ram;
static uint8_t memory[MEMORY_BYTES]; /* the model's */

struct access {
    uint32_t linear;
    enum access_kind kind;
    bool user, set_ad;
};

/* ---- the model ---- */

struct answer {
    bool present, reserved, allowed;
    uint64_t physical, page_size;
    bool user, writable, execute_disable, global;
    uint64_t leaf;       /* the entry that maps the page */
    uint64_t entries[2]; /* physical addresses of those used */
    unsigned entry_count;
};

/* Where there is no memory the bus reads all ones. */
static uint64_t model_load(uint64_t physical, unsigned bytes) {
    uint64_t value = UINT64_MAX;
    if (physical + bytes <= MEMORY_BYTES) {
        value = 0;
        memcpy(&value, memory + physical, bytes);
    }
    return bytes == 4 ? value & UINT32_MAX : value;
}

static void model_set(uint64_t physical, uint8_t bits) {
    if (physical < MEMORY_BYTES)
        memory[physical] |= bits;
}

#define BIT(value, n) (((value) >> (n)&1u) != 0)
#define BITS(value, high, low) ((value) >> (low) & ((UINT64_C(1) << ((high) - (low) + 1)) - 1))

static void use_entry(struct answer *a, uint64_t at, uint64_t entry) {
    a->entries[a->entry_count++] = at;
    a->writable &= BIT(entry, 1);
    a->user &= BIT(entry, 2);
    a->leaf = entry;
}

/* 4.3, figures 4-2 and 4-3, tables 4-4 to 4-6. */
static void translate_32(struct answer *a, const struct paging *p, uint32_t linear) {
    uint64_t at = BITS((uint64_t)p->cr3, 31, 12) << 12 | BITS(linear, 31, 22) << 2;
    uint64_t pde = model_load(at, 4);
    if (!BIT(pde, 0))
        return;
    if (BIT(p->cr4, 4) && BIT(pde, 7)) {
        a->present = true;
        a->reserved = BITS(pde, 21, 17) != 0; /* MAXPHYADDR is 36: M-20 to 13 hold 35 to 32 */
        use_entry(a, at, pde);
        a->physical = BITS(pde, 16, 13) << 32 | BITS(pde, 31, 22) << 22 | BITS(linear, 21, 0);
        a->page_size = 1u << 22;
        return;
    }
    use_entry(a, at, pde);
    at = BITS(pde, 31, 12) << 12 | BITS(linear, 21, 12) << 2;
    uint64_t pte = model_load(at, 4);
    if (!BIT(pte, 0))
        return;
    a->present = true;
    use_entry(a, at, pte);
    a->physical = BITS(pte, 31, 12) << 12 | BITS(linear, 11, 0);
}

/* Bits above the physical address, and XD where EFER.NXE is clear (table 4-8 onwards). */
static bool reserved_high(const struct paging *p, uint64_t entry) {
    return BITS(entry, 62, MAXPHYADDR) != 0 || (BIT(entry, 63) && !BIT(p->efer, 11));
}

/* 4.4, figures 4-5 and 4-6, tables 4-8 to 4-11. */
static void translate_pae(struct answer *a, const struct paging *p, uint32_t linear) {
    uint64_t pdpte = p->pdpte[BITS(linear, 31, 30)];
    if (!BIT(pdpte, 0))
        return;
    uint64_t at = BITS(pdpte, MAXPHYADDR - 1, 12) << 12 | BITS(linear, 29, 21) << 3;
    uint64_t pde = model_load(at, 8);
    if (!BIT(pde, 0))
        return;
    bool large = BIT(pde, 7);
    a->execute_disable = BIT(pde, 63);
    use_entry(a, at, pde);
    if (reserved_high(p, pde) || (large && BITS(pde, 20, 13) != 0)) {
        a->present = a->reserved = true;
        return;
    }
    if (large) {
        a->present = true;
        a->physical = BITS(pde, MAXPHYADDR - 1, 21) << 21 | BITS(linear, 20, 0);
        a->page_size = 1u << 21;
        return;
    }
    at = BITS(pde, MAXPHYADDR - 1, 12) << 12 | BITS(linear, 20, 12) << 3;
    uint64_t pte = model_load(at, 8);
    if (!BIT(pte, 0))
        return;
    a->present = true;
    a->reserved = reserved_high(p, pte);
    a->execute_disable |= BIT(pte, 63);
    use_entry(a, at, pte);
    a->physical = BITS(pte, MAXPHYADDR - 1, 12) << 12 | BITS(linear, 11, 0);
}

/* 4.6.1: "the following items detail how paging determines access rights". */
static bool access_allowed(const struct answer *a, const struct paging *p, const struct access *x) {
    bool wp = BIT(p->cr0, 16), smep = BIT(p->cr4, 20), smap = BIT(p->cr4, 21);
    if (x->user)
        return a->user && (x->kind == ACCESS_READ || (x->kind == ACCESS_WRITE && a->writable) ||
                           (x->kind == ACCESS_FETCH && !a->execute_disable));
    if (x->kind == ACCESS_FETCH)
        return !a->execute_disable && !(a->user && smep);
    bool data_from_user_page = !a->user || !smap || p->ac;
    return data_from_user_page && (x->kind == ACCESS_READ || a->writable || !wp);
}

/* 4.7: the error code of the fault. */
static uint32_t error_code(const struct answer *a, const struct paging *p, const struct access *x) {
    bool reports_fetch = BIT(p->cr4, 20) || (BIT(p->cr4, 5) && BIT(p->efer, 11));
    return (a->present ? 1u : 0) | (x->kind == ACCESS_WRITE ? 2u : 0) | (x->user ? 4u : 0) |
           (a->reserved ? 8u : 0) | (x->kind == ACCESS_FETCH && reports_fetch ? 16u : 0);
}

/* 4.8: accessed in every entry used, dirty in the one that maps the page. */
static void set_accessed_dirty(const struct answer *a, bool write) {
    for (unsigned i = 0; i < a->entry_count; i++)
        model_set(a->entries[i], 1u << 5);
    if (write)
        model_set(a->entries[a->entry_count - 1], 1u << 6);
}

static struct answer model(const struct paging *p, const struct access *x) {
    struct answer a = {.user = true, .writable = true, .page_size = 4096};
    if (BIT(p->cr4, 5))
        translate_pae(&a, p, x->linear);
    else
        translate_32(&a, p, x->linear);
    a.allowed = a.present && !a.reserved && access_allowed(&a, p, x);
    a.global = BIT(a.leaf, 8) && BIT(p->cr4, 7);
    if (a.allowed && x->set_ad)
        set_accessed_dirty(&a, x->kind == ACCESS_WRITE);
    return a;
}

/* ---- the comparison ---- */

static void require(bool holds, const char *what, const struct paging *p, const struct access *x) {
    if (holds)
        return;
    fprintf(stderr, "%s differs: linear %08x kind %d user %d a/d %d cr0 %08x cr3 %08x cr4 %08x\n",
            what, x->linear, (int)x->kind, x->user, x->set_ad, p->cr0, p->cr3, p->cr4);
    abort();
}

static void compare(const struct paging *p, const struct access *x) {
    struct answer a = model(p, x);
    struct walk w = walk_page(&ram, p, x->linear, x->kind, x->user, x->set_ad);
    require(w.ok == a.allowed, "the verdict", p, x);
    require(memcmp(ram.base, memory, MEMORY_BYTES) == 0, "memory", p, x);
    if (!w.ok) {
        require(w.error == error_code(&a, p, x) && w.gpa == 0, "the error code", p, x);
        return;
    }
    require(w.error == 0 && w.gpa == a.physical, "the physical address", p, x);
    require(w.page_size == a.page_size && w.large == (a.page_size > 4096), "the page size", p, x);
    require(w.user == a.user && w.writable == a.writable && w.nx == a.execute_disable &&
                w.global == a.global,
            "the rights", p, x);
    uint64_t leaf = model_load(a.entries[a.entry_count - 1], BIT(p->cr4, 5) ? 8 : 4);
    require(w.dirty == BIT(leaf, 6), "the dirty bit", p, x);
}

/* ---- inputs ---- */

struct input {
    const uint8_t *at, *end;
};

static uint32_t take(struct input *in, unsigned bytes) {
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes && in->at < in->end; i++)
        value |= (uint32_t)*in->at++ << 8 * i;
    return value;
}

/* Flags as they come; a frame mostly in memory or a little above; sometimes one high bit. */
static uint64_t take_entry(struct input *in) {
    uint32_t flags = take(in, 2), frame = take(in, 1), high = take(in, 1);
    uint64_t entry = (flags & 0xfffu) | (uint64_t)(frame & 31u) << 12;
    if (flags & 0x1000u)
        entry |= (uint64_t)(frame >> 5) << 17;
    return high & 0x80u ? entry | UINT64_C(1) << (32u + (high & 31u)) : entry;
}

/* Sixteen entries, spread over memory so that neighbours differ. */
static void fill_memory(struct input *in, bool wide) {
    uint64_t pool[16];
    for (unsigned i = 0; i < 16; i++)
        pool[i] = take_entry(in);
    unsigned step = take(in, 1) | 1u;
    for (unsigned at = 0, n = 0; at < MEMORY_BYTES; at += wide ? 8 : 4, n += step)
        memcpy(memory + at, &pool[n >> 2 & 15u], wide ? 8 : 4);
    memcpy(ram.base, memory, MEMORY_BYTES);
}

static struct paging take_registers(struct input *in) {
    uint32_t bits = take(in, 2);
    struct paging p = {.cr0 = CR0_PE | CR0_PG | (bits & 1 ? CR0_WP : 0), .ac = BIT(bits, 7)};
    p.cr4 = (bits & 2 ? CR4_PSE : 0) | (bits & 4 ? CR4_PAE : 0) | (bits & 8 ? CR4_PGE : 0) |
            (bits & 16 ? CR4_SMEP : 0) | (bits & 32 ? CR4_SMAP : 0);
    p.efer = bits & 64 ? EFER_NXE : 0;
    p.cr3 = (bits >> 8 & 31u) << 12 | 0x18u;
    for (unsigned i = 0; i < 4; i++)
        p.pdpte[i] = take_entry(in);
    return p;
}

static struct access take_access(struct input *in) {
    uint32_t how = take(in, 1);
    return (struct access){.linear = take(in, 4),
                           .kind = (enum access_kind)(how % 3),
                           .user = BIT(how, 6),
                           .set_ad = !BIT(how, 7)};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, data + size};
    if (!ram.base && ram_create(&ram, MEMORY_BYTES))
        abort();
    struct paging p = take_registers(&in);
    fill_memory(&in, BIT(p.cr4, 5));
    for (unsigned i = 0; i < ACCESSES_MAX && in.at < in.end; i++) {
        struct access x = take_access(&in);
        compare(&p, &x);
    }
    return 0;
}
