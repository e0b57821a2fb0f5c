/* A guest that gives the observatory something to show, until it is told to end: rounds of user
 * code, fresh pages, page faults, code that changes, and address spaces, paced by the timer. Lines
 * from the serial port are repeated; "quit" powers off by port 0xf4, "reset" resets. */
#include "tests/guests/stage.h"

enum {
    COM1 = 0x3f8,
    LINE_STATUS = COM1 + 5,
    HERTZ = 50,
    ROUNDS_A_LINE = 10,
    FRESH_PAGES = 64,
};

/* ECX rounds of work that is nothing but user code; then a store, which may fault. */
SNIPPET(work, "mov $200000, %ecx; xor %edx, %edx\n"
              "1: add %ecx, %edx; rol $3, %edx; dec %ecx; jnz 1b\n"
              "mov %edx, 0x40400000" DONE);
/* Its immediate is changed each time. */
SNIPPET(changing, "mov $0x11111111, %eax" DONE);

static char line[64];
static unsigned line_len;

static void act_on_line(void) {
    line[line_len] = 0;
    print("you said: %s\n", line);
    if (line_len == 4 && !memcmp(line, "quit", 4))
        guest_exit(0);
    if (line_len == 5 && !memcmp(line, "reset", 5))
        outb(0x64, 0xfe);
    line_len = 0;
}

static void read_serial(void) {
    while (inb(LINE_STATUS) & 1) {
        char c = (char)inb(COM1);
        if (c == '\r' || c == '\n')
            act_on_line();
        else if (line_len < sizeof line - 1)
            line[line_len++] = c;
    }
}

static bool on_tick(struct trap_frame *frame) {
    (void)frame;
    pic_end_of_interrupt(0);
    return true;
}

/* A page of its own for the store: the first access faults, the second fills the window. */
static void touch_fresh_page(uint32_t page) {
    stage_map(PROBE, 0, 0);
    struct machine m = STAGE_RUN(3, work);
    if (m.vector != VECTOR_PF)
        print("FAIL: no page fault\n");
    stage_map(PROBE, page, USER_PAGE);
    STAGE_RUN(3, work);
}

static void change_code(uint32_t round) {
    struct machine m = stage_at(3, CODE2, changing, SNIPPET_SIZE(changing));
    memcpy((void *)(CODE2 + 1), &round, sizeof round);
    guest_run(&m);
    if (m.eax != round)
        print("FAIL: stale code\n");
}

void guest_main(void) {
    struct space other;
    uint32_t pages[FRESH_PAGES];
    stage_start();
    for (unsigned i = 0; i < FRESH_PAGES; i++)
        pages[i] = page_take();
    space_make(&other, guest_paging());
    pic_start();
    trap_set_handler(VECTOR_IRQ0, on_tick);
    pit_start(HERTZ);
    pic_unmask(0);
    print("the guest is up\n");
    for (uint32_t round = 1;; round++) {
        __asm__ volatile("sti; hlt; cli" : : : "memory");
        touch_fresh_page(pages[round % FRESH_PAGES]);
        change_code(round);
        space_enter(&other);
        space_enter(&stage);
        read_serial();
        if (round % ROUNDS_A_LINE == 0)
            print("round %u\n", round);
    }
}
