/* Random bytes executed in ring 0 (and ring 3), under page tables that are partly random too.
 *
 *   seed=N    of the generator (default 1)
 *   rounds=N  pieces of code (default 300)
 *   tables    random directories too: their tables are pages that the code writes
 *
 * There is nothing to check but the monitor: every exception ends a piece, the timer ends a loop.
 * The code may do anything, also damage this guest: the run ends with rounds done (value 0), a
 * triple fault, a reset, or a guest that stands still.
 */
#include "tests/guests/stage.h"

enum { PIECE = 256, LEAVE_AFTER_TICKS = 3 };

static uint32_t state;
static unsigned ticks_in_piece;

static uint32_t random_word(void) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

/* Leaves the piece when it has taken too long: guest_run() ends at an unhandled trap. */
static bool on_tick(struct trap_frame *frame) {
    (void)frame;
    pic_end_of_interrupt(0);
    return ++ticks_in_piece < LEAVE_AFTER_TICKS;
}

/* Beginnings of instructions that a uniform byte would rarely make. */
static const uint8_t openings[][3] = {
    {0x0f, 0x22, 0xd8}, {0x0f, 0x22, 0xc0}, {0x0f, 0x20, 0xc0}, {0x0f, 0x01, 0x18},
    {0x0f, 0x01, 0x38}, {0x0f, 0x00, 0xd8}, {0x8e, 0xd8, 0x90}, {0x8e, 0xd0, 0x90},
    {0x9d, 0x9c, 0x90}, {0xcf, 0x90, 0x90}, {0xf3, 0xa4, 0x90}, {0xf3, 0xab, 0x90},
    {0xfb, 0xf4, 0x90}, {0x0f, 0xae, 0x00}, {0x0f, 0xc7, 0x08}, {0x67, 0x66, 0xf3},
    {0xea, 0x00, 0x00}, {0x9a, 0x00, 0x00}, {0xff, 0x28, 0x90}, {0x0f, 0x30, 0x90},
    {0x0f, 0x09, 0x90}, {0x0f, 0x31, 0x90}, {0x0f, 0xa2, 0x90}, {0xc5, 0xf8, 0x77},
    {0x62, 0xf1, 0x7c}, {0xd9, 0x30, 0x90}, {0xdd, 0x20, 0x90}, {0xc8, 0x10, 0x1f},
    {0x07, 0x1f, 0x17}, {0x0f, 0x23, 0xf8}, {0xe6, 0x21, 0x90}, {0xee, 0xec, 0xed},
};

static void fill_code(uint32_t at) {
    for (uint32_t i = 0; i < PIECE; i++)
        *byte_at(at + i) = (uint8_t)random_word();
    for (uint32_t i = random_word() % 12; i; i--)
        memcpy((void *)(at + random_word() % (PIECE - 3)),
               openings[random_word() % (sizeof openings / sizeof *openings)], 3);
    /* Not the port that ends the guest, not a reset by 8042 or port 92h: too short a test. */
    for (uint32_t i = 0; i + 1 < PIECE; i++) {
        uint8_t port = *byte_at(at + i + 1);
        if ((*byte_at(at + i) & 0xfc) == 0xe4 && (port == 0xf4 || port == 0x64 || port == 0x92))
            *byte_at(at + i + 1) = 0x80;
    }
}

/* Entries with random flags, sometimes random frames, for 64 pages the code is pointed at. */
static void fill_tables(uint32_t frames) {
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t r = random_word(), physical = frames + (r >> 8 & 15) * PAGE_SIZE;
        if ((r & 0xf0) == 0)
            physical = random_word() & ~0xfffu;
        space_map(&stage, PROBE + i * PAGE_SIZE, physical, r & 0x1f7);
    }
    if (random_word() & 1)
        write_cr3(stage.root);
}

/* Directory entries behind the probed pages: tables of whatever the frames hold, large pages and
 * sometimes any page of the guest. The frames hold entries for a start, among them their own. */
static void fill_directories(uint32_t frames) {
    for (uint32_t i = 0; i < 16 * PAGE_SIZE / 4; i += 1 + (random_word() & 7))
        word_at(frames)[i] = frames + (random_word() & 0xf1ff);
    for (uint32_t i = 1; i < 8; i++) {
        uint32_t r = random_word(), linear = PROBE + i * space_large_page_size(&stage);
        uint32_t physical = r & 0x7000 ? frames + (r >> 16 & 15) * PAGE_SIZE : r & 0xfff000;
        *space_directory_entry(&stage, linear) = physical | (r & 0x1ff);
    }
    write_cr3(stage.root);
}

static uint32_t random_pointer(void) {
    uint32_t r = random_word();
    if (r >> 30 && guest_option("tables"))
        return PROBE + (r >> 4) % (8 * space_large_page_size(&stage));
    return r & 3 ? PROBE + (r >> 4) % (64 * PAGE_SIZE) : r & 4 ? r : DATA + (r >> 4) % PAGE_SIZE;
}

static void start_state(void) {
    write_dr7(0x400);
    write_cr4(read_cr4() & ~(uint32_t)CR4_PGE);
    pic_start();
    pit_start(1000);
    pic_unmask(0);
    ticks_in_piece = 0;
}

static void run_piece(uint32_t frames) {
    fill_code(CODE + 0x800);
    fill_tables(frames);
    if (guest_option("tables"))
        fill_directories(frames);
    unsigned ring = random_word() & 3 ? 0 : 3;
    struct machine m = ring ? machine_user(CODE + 0x800, STACK_TOP - 256)
                            : machine_kernel(CODE + 0x800, STACK_TOP - 256);
    m.eax = random_pointer(), m.ecx = random_word() & 0xffff, m.edx = random_pointer();
    m.ebx = random_pointer(), m.ebp = random_pointer(), m.esi = random_pointer();
    m.edi = random_pointer();
    m.eflags |= (random_word() & (FLAGS_ARITHMETIC | FLAG_DF)) | FLAG_IF;
    start_state();
    guest_run(&m);
    interrupts_disable();
    print("%u:%u ", m.vector, m.eip - CODE - 0x800);
}

void guest_main(void) {
    uint32_t rounds = guest_option_number("rounds", 300);
    state = guest_option_number("seed", 1) * 2654435761u | 1;
    stage_start();
    trap_set_handler(VECTOR_IRQ0, on_tick);
    uint32_t frames = page_take();
    for (unsigned i = 1; i < 16; i++)
        (void)page_take();
    for (uint32_t i = 0; i < rounds; i++)
        run_piece(frames);
    print("\n");
    check_true("random.rounds-done", true);
    check_finish("random_code");
}
