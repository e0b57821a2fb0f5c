/* Page tables: changing them, and meeting what was changed. */
#include "bench/guest/nano.h"
#include "guest/lib/guest.h"

enum {
    VICTIM = 0x50000000, /* one page that is remapped to and fro */
    BATCH = 0x58000000,  /* pages that are met for the first time */
    BATCH_PAGES = NANO_COUNT_MIN,
    SCATTER = 37,        /* odd: neighbours in the batch are no neighbours in memory */
    SHARED = 0x60000000, /* same address, other pages in each of two spaces */
    SHARED_PAGES = 4,
    SHARED_TABLES = 16 << 20,
    SEEN_PAGE = KERNEL_PAGE | PTE_A | PTE_D,
};

extern struct space nano_space;

static uint32_t read_word(uint32_t linear) { return *(volatile uint32_t *)linear; }

struct victim {
    volatile uint32_t *entry;
    uint32_t values[2];
};

static struct victim prepare_victim(void) {
    struct victim victim = {space_entry(&nano_space, VICTIM),
                            {page_take() | SEEN_PAGE, page_take() | SEEN_PAGE}};
    *victim.entry = victim.values[0];
    invlpg(VICTIM);
    read_word(VICTIM);
    return victim;
}

static uint64_t run_ptemod(uint32_t count) {
    struct victim victim = prepare_victim();
    uint64_t start = nano_tsc();
    for (uint32_t i = 0; i < count; i++)
        *victim.entry = victim.values[i & 1];
    return nano_tsc() - start;
}

static uint64_t run_ptemod_flush(uint32_t count) {
    struct victim victim = prepare_victim();
    uint64_t start = nano_tsc();
    for (uint32_t i = 0; i < count; i++) {
        *victim.entry = victim.values[i & 1];
        invlpg(VICTIM);
    }
    return nano_tsc() - start;
}

/* The same with a look at the page: it must be the new one. */
static uint64_t run_ptemod_touch(uint32_t count) {
    struct victim victim = prepare_victim();
    *(volatile uint32_t *)(victim.values[0] & ~0xfffu) = 0;
    *(volatile uint32_t *)(victim.values[1] & ~0xfffu) = 1;
    uint32_t sum = 0;
    uint64_t start = nano_tsc();
    for (uint32_t i = 0; i < count; i++) {
        *victim.entry = victim.values[i & 1];
        invlpg(VICTIM);
        sum += read_word(VICTIM);
    }
    uint64_t cycles = nano_tsc() - start;
    if (sum != count / 2)
        nano_fail("ptemod-touch: an old page was read");
    return cycles;
}

static void map_batch(const uint32_t *frames) {
    for (uint32_t i = 0; i < BATCH_PAGES; i++)
        *space_entry(&nano_space, BATCH + i * PAGE_SIZE) = 0;
    write_cr3(read_cr3());
    for (uint32_t i = 0; i < BATCH_PAGES; i++)
        *space_entry(&nano_space, BATCH + i * PAGE_SIZE) =
            frames[i * SCATTER % BATCH_PAGES] | SEEN_PAGE;
}

/* First touches of pages that the guest has mapped: a TLB miss on hardware, and work for whoever
 * keeps shadow page tables. Only the touches are timed. */
static uint64_t run_hidden_fault(uint32_t count) {
    static uint32_t frames[BATCH_PAGES];
    for (uint32_t i = 0; !frames[BATCH_PAGES - 1] && i < BATCH_PAGES; i++)
        frames[i] = page_take();
    uint64_t cycles = 0;
    for (uint32_t done = 0; done < count; done += BATCH_PAGES) {
        map_batch(frames);
        uint64_t start = nano_tsc();
        for (uint32_t i = 0; i < BATCH_PAGES; i++)
            read_word(BATCH + i * PAGE_SIZE);
        cycles += nano_tsc() - start;
    }
    return cycles;
}

/* As kernels do it, all spaces share the page tables of the kernel's half. */
static void make_switch_space(struct space *space, uint32_t mark) {
    space_make(space, nano_space.kind);
    for (uint32_t at = 0; at < SHARED_TABLES; at += space_large_page_size(space))
        *space_directory_entry(space, at) = *space_directory_entry(&nano_space, at);
    for (uint32_t i = 0; i < SHARED_PAGES; i++)
        *(uint32_t *)space_map_new(space, SHARED + i * PAGE_SIZE, USER_PAGE) = mark;
}

/* CR3 to another address space and a look at four of its pages. */
static uint64_t run_context_switch(uint32_t count) {
    static struct space spaces[2];
    for (uint32_t i = 0; i < 2; i++)
        if (!spaces[i].root)
            make_switch_space(&spaces[i], i);
    uint32_t sum = 0, before = read_cr3();
    uint64_t start = nano_tsc();
    for (uint32_t i = 0; i < count; i++) {
        write_cr3(spaces[i & 1].root);
        for (uint32_t page = 0; page < SHARED_PAGES; page++)
            sum += read_word(SHARED + page * PAGE_SIZE);
    }
    uint64_t cycles = nano_tsc() - start;
    write_cr3(before);
    if (sum != count / 2 * SHARED_PAGES)
        nano_fail("context-switch: a page of the other space was read");
    return cycles;
}

const struct nano_row nano_memory_rows[] = {
    {"ptemod", run_ptemod},
    {"ptemod-flush", run_ptemod_flush},
    {"ptemod-touch", run_ptemod_touch},
    {"hidden-fault", run_hidden_fault},
    {"context-switch", run_context_switch},
    {NULL, NULL},
};
