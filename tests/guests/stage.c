/* The space that every guest here tries its things in. */
#include "tests/guests/stage.h"

struct space stage;

static uint8_t kernel_stack[8192] __attribute__((aligned(16)));

void stage_start(void) {
    pic_start();
    space_make(&stage, guest_paging());
    space_map_new(&stage, CODE, USER_PAGE);
    space_map_new(&stage, CODE2, USER_PAGE);
    space_map_new(&stage, DATA, USER_PAGE);
    space_map_new(&stage, AFTER, USER_PAGE);
    space_map_new(&stage, STACK, USER_PAGE);
    space_enter(&stage);
}

struct machine stage_at(unsigned ring, uint32_t linear, const uint8_t *code, uint32_t size) {
    memcpy((void *)linear, code, size);
    struct machine m = ring
                           ? machine_user(linear, STACK_TOP)
                           : machine_kernel(linear, address_of(kernel_stack + sizeof kernel_stack));
    m.ebx = DATA;
    return m;
}

struct machine stage_run(unsigned ring, const uint8_t *code, uint32_t size) {
    struct machine m = stage_at(ring, CODE, code, size);
    guest_run(&m);
    return m;
}

void stage_map(uint32_t linear, uint32_t physical, uint32_t flags) {
    space_map(&stage, linear, physical, flags);
    invlpg(linear);
}
