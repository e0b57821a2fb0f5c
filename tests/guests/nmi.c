/* NMIs: taken whatever IF is, blocked from one's delivery to the next IRET, even one that faults or
 * returns from another event, and by the shadows of STI and MOV SS (SDM vol. 3A, 6.7 and 6.8).
 *
 * The option "nmi" says that `--debug inject-nmi=40001800-40001800` raises one whenever the
 * instruction at TRIGGER comes. Without it the same code runs and none comes. */
#include "tests/guests/stage.h"

enum {
    TRIGGER = CODE2 + 0x800,
    END = TRIGGER + 0x40,
    VECTOR_NMI = 2,
    SEEN_MAX = 8,
    BAD_SELECTOR = 0x7ff8,
    POP_SS = 0x17
};

/* What the handler does of the first NMI. */
static struct plan {
    unsigned triggers; /* so many times */
    bool breakpoint;   /* then INT3, whose handler returns with an IRET */
    bool bad_return;   /* its own IRET faults */
} plan;
static unsigned count, depth, deepest, breakpoints;
static uint32_t seen_eip[SEEN_MAX], seen_flags[SEEN_MAX];
static uint16_t seen_cs[SEEN_MAX];

static void trigger(void) { ((void (*)(void))TRIGGER)(); }

static bool on_nmi(struct trap_frame *frame) {
    unsigned number = count++;
    if (number < SEEN_MAX) {
        seen_eip[number] = frame->eip;
        seen_flags[number] = frame->eflags;
        seen_cs[number] = (uint16_t)frame->cs;
    }
    if (++depth > deepest)
        deepest = depth;
    if (!number) {
        for (unsigned i = 0; i < plan.triggers; i++)
            trigger();
        if (plan.breakpoint)
            __asm__ volatile("int3");
        if (plan.bad_return)
            frame->cs = BAD_SELECTOR;
    }
    depth--;
    return true;
}

static bool on_breakpoint(struct trap_frame *frame) {
    (void)frame;
    breakpoints++;
    return true;
}

/* Some bytes before TRIGGER, a NOP there, and a return. */
static void lay_out(const uint8_t *before, uint32_t size) {
    static const uint8_t at_trigger[] = {0x90, 0xc3}, at_end[] = {0xcd, VECTOR_DONE};
    memcpy((void *)(TRIGGER - size), before, size);
    memcpy((void *)TRIGGER, at_trigger, sizeof at_trigger);
    memcpy((void *)END, at_end, sizeof at_end);
}

/* A run from so many bytes before TRIGGER to END; `item` is popped first where the code does. */
static struct machine run_from(unsigned ring, uint32_t before, uint32_t item) {
    uint32_t esp = STACK_TOP - (item ? 8 : 4), eip = TRIGGER - before;
    struct machine m = ring ? machine_user(eip, esp) : machine_kernel(eip, esp);
    *word_at(STACK_TOP - 8) = item;
    *word_at(STACK_TOP - 4) = END;
    m.eax = KERNEL_DS;
    guest_run(&m);
    depth = 0;
    return m;
}

static void start(struct plan what) {
    plan = what;
    count = depth = deepest = breakpoints = 0;
    lay_out(NULL, 0);
}

/* So many NMIs, of which so many at a time; none without the option. */
static void expect(const char *name, unsigned nmis, unsigned nested) {
    bool comes = guest_option("nmi");
    check(name, comes ? nmis : 0, count);
    check("nested", comes ? nested : 0, deepest);
}

static void in_the_kernel(void) {
    start((struct plan){0});
    trigger();
    expect("one", 1, 1);
    if (count)
        check("at-its-boundary", TRIGGER, seen_eip[0]);
    check("if-is-clear", 0, seen_flags[0] & FLAG_IF);
    for (unsigned i = 1; i <= 3; i++) {
        start((struct plan){.triggers = i});
        trigger();
        expect("waits-for-iret", 2, 1); /* one waits, however many are raised */
        if (count == 2)
            check("behind-iret", TRIGGER, seen_eip[1]);
    }
    start((struct plan){.triggers = 1, .breakpoint = true});
    trigger();
    expect("any-iret-unblocks", 2, 2);
    start((struct plan){.breakpoint = true});
    trigger();
    expect("nothing-waits", 1, 1);
}

/* INT 2 goes the same way and blocks nothing: the handler's own is nested. */
static void by_software(void) {
    start((struct plan){.triggers = 1});
    __asm__ volatile("int $2");
    check("software", guest_option("nmi") ? 2 : 1, count);
    check("software.blocks-nothing", guest_option("nmi") ? 2 : 1, deepest);
}

/* The IRET faults, and the NMI that waits comes before the first instruction of the fault's
 * handler. */
static void faulting_return(void) {
    start((struct plan){.triggers = 1, .bad_return = true});
    struct machine m = run_from(0, 0, 0);
    bool comes = guest_option("nmi");
    check("faulting-iret", comes ? VECTOR_GP : VECTOR_DONE, m.vector);
    check("faulting-iret.error", comes ? BAD_SELECTOR : 0, m.error);
    expect("faulting-iret.unblocks", 2, 1);
    if (count == 2)
        check_true("in-its-handler", seen_eip[1] != m.eip && seen_cs[1] == KERNEL_CS);
    trigger(); /* the NMI of this boundary has been: it was left by the fault */
}

static void shadow(const char *name, const uint8_t *before, uint32_t size, uint32_t eip) {
    for (unsigned i = 0; i < 3; i++) {
        start((struct plan){0});
        lay_out(before, size);
        struct machine m = run_from(0, size, before[0] == POP_SS ? KERNEL_DS : 0);
        check(name, VECTOR_DONE, m.vector);
        expect("in-the-shadow", 1, 1);
        if (count)
            check("boundary", eip, seen_eip[0]);
    }
}

static void shadows(void) {
    static const uint8_t sti[] = {0xfb}, sti_sti[] = {0xfb, 0xfb}, mov_ss[] = {0x8e, 0xd0},
                         pop_ss[] = {POP_SS}, mov_ds[] = {0x8e, 0xd8};
    shadow("sti", sti, sizeof sti, TRIGGER + 1);
    shadow("sti-sti", sti_sti, sizeof sti_sti, TRIGGER);
    shadow("mov-ss", mov_ss, sizeof mov_ss, TRIGGER + 1);
    shadow("pop-ss", pop_ss, sizeof pop_ss, TRIGGER + 1);
    shadow("mov-ds", mov_ds, sizeof mov_ds, TRIGGER);
}

static void in_user_code(void) {
    for (unsigned i = 0; i < 3; i++) {
        start((struct plan){.triggers = 1});
        struct machine m = run_from(3, 0, 0);
        check("user", VECTOR_DONE, m.vector);
        expect("user.nmis", 2, 1);
        if (count == 2)
            check("user.cs", USER_CS, seen_cs[0] & seen_cs[1]);
    }
}

void guest_main(void) {
    stage_start();
    trap_set_handler(VECTOR_NMI, on_nmi);
    trap_set_handler(VECTOR_BP, on_breakpoint);
    for (unsigned i = 0; i < 2; i++) {
        in_the_kernel();
        by_software();
        faulting_return();
        shadows();
        in_user_code();
    }
    check_finish("nmi");
}
