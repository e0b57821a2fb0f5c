/* CR0.WP: read-only pages and ring 0, switched to and fro without any flush. */
#include "tests/guests/stage.h"

SNIPPET(store, "mov %eax, (%ebx)" DONE);
SNIPPET(modify, "lock addl $1, (%ebx)" DONE);
SNIPPET(store_string, "mov %ebx, %edi; mov $4, %ecx; rep stosl" DONE);

enum { ROUNDS = 10, SUPERVISOR = PROBE + PAGE_SIZE, BY_DIRECTORY = PROBE + (64 << 20) };

static void set_wp(bool on) {
    write_cr0(on ? read_cr0() | CR0_WP : read_cr0() & ~(uint32_t)CR0_WP);
}

static struct machine write_to(unsigned ring, uint32_t linear, const uint8_t *code, uint32_t size) {
    struct machine m = stage_at(ring, CODE, code, size);
    m.ebx = linear;
    m.eax = 0x1234;
    guest_run(&m);
    return m;
}

static void toggle(const char *name, uint32_t linear, const uint8_t *code, uint32_t size) {
    check_section(name);
    for (unsigned i = 0; i < ROUNDS; i++) {
        set_wp(true);
        struct machine m = write_to(0, linear, code, size);
        check("wp-set", VECTOR_PF, m.vector);
        check("wp-set.error", PF_PRESENT | PF_WRITE, m.error);
        check("wp-set.cr2", linear, m.cr2);
        set_wp(false);
        m = write_to(0, linear, code, size);
        check("wp-clear", VECTOR_DONE, m.vector);
        m = write_to(3, linear, code, size);
        check("ring3-never", VECTOR_PF, m.vector);
        m = write_to(0, linear, code, size);
        check("wp-clear-again", VECTOR_DONE, m.vector);
    }
    set_wp(true);
    check_section(NULL);
}

void guest_main(void) {
    stage_start();
    uint32_t page = page_take();
    stage_map(PROBE, page, PTE_P | PTE_U);
    stage_map(SUPERVISOR, page_take(), PTE_P);
    stage_map(BY_DIRECTORY, page_take(), USER_PAGE);
    *space_directory_entry(&stage, BY_DIRECTORY) &= ~(uint32_t)PTE_W;
    write_cr3(stage.root);
    toggle("user-page", PROBE, store, SNIPPET_SIZE(store));
    toggle("user-page-modify", PROBE, modify, SNIPPET_SIZE(modify));
    toggle("user-page-string", PROBE, store_string, SNIPPET_SIZE(store_string));
    toggle("supervisor-page", SUPERVISOR, store, SNIPPET_SIZE(store));
    toggle("by-directory", BY_DIRECTORY, store, SNIPPET_SIZE(store));
    check("written", 0x1234, *word_at(page + 8));
    check_finish("write_protect");
}
