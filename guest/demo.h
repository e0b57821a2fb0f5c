/* The subjects of the embedded guest, in the order in which it shows them. */
#ifndef RING3_GUEST_DEMO_H
#define RING3_GUEST_DEMO_H

#include "guest/lib/guest.h"

enum {
    USER_CODE = 0x40000000,
    USER_DATA = 0x40001000,
    USER_STACK = 0x40002000,
    USER_STACK_TOP = USER_STACK + PAGE_SIZE,
};

/* A space with the three user pages above. */
struct demo_space {
    struct space space;
    uint8_t *code, *data; /* where ring 0 finds the pages */
};
void demo_space_make(struct demo_space *demo, enum paging_kind kind);
/* Runs the code to its end or first exception: ring 3 on the user pages, ring 0 in place. EBX is
 * the address of scratch memory, `eflags` the flags at the start. */
struct machine demo_run(struct demo_space *demo, unsigned ring, const uint8_t *code, uint32_t size,
                        uint32_t eflags);

/* Pieces of code from the command line: "try0=HEX,...", "try3=HEX,...". Ends the guest. */
bool demo_wants_try(void);
__attribute__((noreturn)) void demo_try(void);

void show_timer(void);
void show_real_mode(void);
void show_exceptions(struct demo_space *demo);
void show_page_faults(struct demo_space *demo);
void show_debug(struct demo_space *demo);
void show_sensitive(struct demo_space *demo);
void show_self_modification(struct demo_space *demo);
void show_virtual_8086(struct demo_space *demo);
void show_processes(enum paging_kind kind);

#endif
