/* Task switches by JMP, CALL, INT n and IRET, directly and through gates: every descriptor, every
 * limit, every segment and LDT that the new task may name, its flags, T bit, CR3 and EIP, and TSSs
 * in pages that are not there. What is recorded: the fault and the task it came in, busy bits, back
 * links, NT, and what the old task's TSS was given (SDM vol. 3A, chapter 7).
 *
 * A line has, for each switch, the outcome, then the state in one letter each where that is not
 * what it was before. */
#include "tests/system/tasks.h"

enum {
    OTHER = TASKS_FREE, /* the task under test, of 32 bits */
    GATE = TASKS_FREE + 8,
    SEGMENT = TASKS_FREE + 16,
    LDT = TASKS_FREE + 24,
    THIRD = TASKS_FREE + 32,
    IDT_GATE = 0x90,
    LANDING = 0x100, /* in the code page: where the new task begins */
    FAR_POINTER = 0,
};

SNIPPET(far_jump, "ljmp *(%ebx); nop" DONE);
SNIPPET(far_call, "lcall *(%ebx); nop" DONE);
SNIPPET(interrupt, "int $0x90; nop" DONE);
SNIPPET(task_return, "pushf; orl $0x4000, (%esp); popf; iret; nop" DONE);
SNIPPET(landing, "int $0x81");
SNIPPET(goes_back, "iret; nop" DONE);

static struct task32 *other; /* across two pages of their own */
static struct task16 narrow __attribute__((aligned(64)));
static uint8_t other_stack[1024] __attribute__((aligned(16)));
static struct space second;
static uint64_t ldt[4] __attribute__((aligned(8)));

enum way { JUMP, CALL, JUMP_GATE, CALL_GATE, INTERRUPT, RETURN, WAYS };
static const char *const way_names[] = {"jump", "call", "jump-gate", "call-gate", "int", "iret"};

static void set_other(uint8_t access, uint32_t limit) {
    bool wide = (access & 8) != 0;
    gdt_set(OTHER, wide ? address_of(other) : address_of(&narrow), limit, access, 0);
}

static uint8_t right_type(enum way way, bool wide) {
    return (uint8_t)((wide ? TSS32_AVAILABLE : TSS16_AVAILABLE) | (way == RETURN ? 2 : 0));
}

/* The task of 16 bits is one of ring 3: what the upper half of its ESP is, nobody says. */
static void reset(enum way way, bool wide) {
    task_reset(other, CODE + LANDING, address_of(other_stack + sizeof other_stack));
    other->eax = 0x1234;
    narrow = (struct task16){.ip = LANDING,
                             .flags = FLAG_FIXED,
                             .ax = 0x1234,
                             .sp0 = 0x8000,
                             .ss0 = KERNEL_DS,
                             .cs = SEGMENT | 3,
                             .es = USER_DS,
                             .ss = USER_DS,
                             .ds = USER_DS};
    if (!wide)
        gdt_set(SEGMENT, CODE, 0xffff, 0xfb, 4);
    set_other(right_type(way, wide), wide ? 103 : 43);
    main_task.link = OTHER;
    set_task_gate(GATE, OTHER, TASK_GATE | 0x60);
    set_idt_gate(IDT_GATE, OTHER, 0, TASK_GATE | 0x60);
}

static struct machine image(enum way way, unsigned ring, uint32_t selector) {
    struct machine m = way == INTERRUPT ? RING(ring, interrupt)
                       : way == RETURN  ? RING(ring, task_return)
                       : way & 1        ? RING(ring, far_call)
                                        : RING(ring, far_jump);
    memcpy((void *)(CODE + LANDING), landing, SNIPPET_SIZE(landing));
    *word_at(DATA) = 0x5555;
    *word_at(DATA + 4) = selector;
    return m;
}

static uint32_t pointed(enum way way) {
    return way == JUMP_GATE || way == CALL_GATE ? (uint32_t)GATE : (uint32_t)OTHER;
}

static void task_letter(uint32_t task) {
    line_text(task == MAIN_TASK ? "main" : task == OTHER ? "other" : task == THIRD ? "third" : "?");
}

/* `fault`: the selector that an error code is expected to name. */
static void outcome(const struct machine *m, uint32_t fault) {
    struct machine seen = *m;
    bool by_task = caught.vector != 0xff;
    if (by_task)
        seen.vector = caught.vector, seen.error = caught.error;
    line_outcome(&seen, fault);
    task_letter(by_task ? caught.task : task_at_end);
    if (!by_task)
        line_value(m->eax & 0xffff);
}

/* Behind the outcome: what the switch did to descriptors and TSSs. */
static void traces(const struct machine *m, bool wide) {
    uint32_t link = wide ? other->link & 0xffff : narrow.link;
    line_text("busy"), line_value(main_access_at_end & 2), line_value(access_of(OTHER) & 2);
    line_text("link"), line_value(link == MAIN_TASK);
    line_text("saved"), line_value(main_task.eip - CODE), line_value(main_task.eflags & ~NO_FLAGS);
    if (caught.vector == 0xff)
        line_text("flags"), line_value(m->eflags & ~(NO_FLAGS | FLAG_RF)), line_value(m->cs),
            line_value(cr0_at_end & CR0_TS), line_value(ldt_at_end),
            line_value(cr3_at_end == stage.root);
}

static void run(struct machine *m) {
    main_task.eip = CODE, main_task.eflags = 0;
    tasks_run(m);
}

static void one(const char *name, enum way way, bool wide, unsigned ring, uint32_t fault) {
    struct machine m = image(way, ring, pointed(way));
    run(&m);
    line_begin(name);
    outcome(&m, fault);
    traces(&m, wide);
    line_end();
}

/* Every access byte of the descriptor. Those of code and of call gates would not switch. */
static bool switches(unsigned access, enum way way) {
    if (way != JUMP && way != CALL)
        return true;
    return !(access & 16) && (access & 7) != 4 && (access & 15) != 5;
}

static void descriptors(void) {
    record_section("descriptor");
    for (enum way way = 0; way < WAYS; way++)
        for (unsigned ring = 0; ring < 4; ring += 3)
            for (unsigned high = 0; high < 256; high += 16) {
                record_case("ring%x.access%x", ring, high, 0, 0);
                line_begin(way_names[way]);
                for (unsigned type = 0; type < 16; type++) {
                    if (!switches(high | type, way))
                        continue;
                    bool wide = type & 8;
                    reset(way, wide);
                    set_other((uint8_t)(high | type), wide ? 103 : 43);
                    struct machine m = image(way, ring, pointed(way));
                    run(&m);
                    outcome(&m, OTHER);
                    line_value(access_of(OTHER));
                }
                line_end();
            }
}

/* Task gates: DPL, presence, the selector's RPL; and what they name. */
static void gates(void) {
    static const uint32_t targets[] = {0, 1, 4, OTHER | 3, OTHER | 4, MAIN_TASK, KERNEL_CS, 0xfff8};
    record_section("gate");
    for (enum way way = JUMP_GATE; way <= INTERRUPT; way++)
        for (unsigned ring = 0; ring < 4; ring++) {
            for (unsigned rpl = 0; rpl < 4; rpl++)
                for (unsigned access = 0; access < 8; access++) {
                    reset(way, true);
                    uint8_t byte = (uint8_t)(5 | (access & 3) << 5 | (access & 4) << 5);
                    set_task_gate(GATE, OTHER, byte);
                    set_idt_gate(IDT_GATE, OTHER, 0, byte);
                    struct machine m = image(way, ring, GATE | rpl);
                    run(&m);
                    record_case("ring%x.rpl%x.access%x", ring, rpl, access, 0);
                    line_begin(way_names[way]);
                    outcome(&m, GATE);
                    line_end();
                }
            for (unsigned i = 0; i < sizeof targets / sizeof *targets; i++) {
                reset(way, true);
                set_task_gate(GATE, targets[i], TASK_GATE | 0x60);
                set_idt_gate(IDT_GATE, targets[i], 0, TASK_GATE | 0x60);
                struct machine m = image(way, ring, GATE);
                run(&m);
                record_case("ring%x.to%x", ring, targets[i], 0, 0);
                line_begin(way_names[way]);
                outcome(&m, targets[i]);
                line_end();
            }
        }
    for (unsigned i = 0; i < sizeof targets / sizeof *targets; i++) {
        reset(RETURN, true);
        main_task.link = targets[i];
        struct machine m = image(RETURN, 0, 0);
        run(&m);
        record_case("to%x", targets[i], 0, 0, 0);
        line_begin("link");
        outcome(&m, targets[i]);
        line_end();
    }
}

static void limits(void) {
    record_section("limit");
    for (enum way way = 0; way < WAYS; way++)
        for (unsigned wide = 0; wide < 2; wide++)
            for (unsigned limit = 0; limit < 112; limit++) {
                if (limit > 8 && (limit < 38 || (limit > 46 && limit < 98)))
                    continue;
                reset(way, wide);
                set_other(right_type(way, wide), limit);
                record_case("wide%x.limit%x", wide, limit, 0, 0);
                one(way_names[way], way, wide, 0, OTHER);
            }
}

/* A segment register of the new task with every access byte, RPL and level of the task. */
static void segments(void) {
    static const struct {
        const char *name;
        uint16_t offset;
    } registers[] = {{"es", 72}, {"cs", 76}, {"ss", 80}, {"ds", 84}, {"fs", 88}, {"gs", 92}};
    record_section("segment");
    for (unsigned r = 0; r < sizeof registers / sizeof *registers; r++)
        for (unsigned ring = 0; ring < 4; ring += 3)
            for (unsigned rpl = 0; rpl < 4; rpl++)
                for (unsigned high = 0; high < 256; high += 16) {
                    record_case("ring%x.rpl%x.access%x", ring, rpl, high, 0);
                    line_begin(registers[r].name);
                    for (unsigned type = 0; type < 16; type++) {
                        reset(JUMP, true);
                        if (ring) {
                            other->cs = USER_CS, other->ss = USER_DS, other->esp = STACK_TOP;
                            other->ds = other->es = other->fs = other->gs = USER_DS;
                        }
                        set_flat(SEGMENT, (uint8_t)(high | type));
                        *(uint32_t *)(void *)((uint8_t *)other + registers[r].offset) =
                            SEGMENT | rpl;
                        struct machine m = image(JUMP, 0, OTHER);
                        run(&m);
                        outcome(&m, SEGMENT);
                    }
                    line_end();
                }
}

static void odd_segments(void) {
    static const uint32_t selectors[] = {
        0, 3, 4, 7, 0xfff8, KERNEL_CS, KERNEL_DS, USER_CS, USER_DS, MAIN_TASK, LDT, 0x14, 0x0c};
    record_section("odd");
    for (unsigned at = 72; at <= 96; at += 4) /* ES to GS, and the LDT */
        for (unsigned i = 0; i < sizeof selectors / sizeof *selectors; i++)
            for (unsigned with_ldt = 0; with_ldt < 2; with_ldt++) {
                reset(CALL, true);
                other->ldt = with_ldt ? LDT : 0;
                *(uint32_t *)(void *)((uint8_t *)other + at) = selectors[i];
                record_case("at%x.selector%x.ldt%x", at, selectors[i], with_ldt, 0);
                one("call", CALL, true, 0, selectors[i]);
            }
    for (unsigned access = 0; access < 256; access++) {
        reset(CALL, true);
        gdt_set(SEGMENT, address_of(ldt), sizeof ldt - 1, (uint8_t)access, 0);
        other->ldt = SEGMENT;
        other->fs = 0x14;
        struct machine m = image(CALL, 0, OTHER);
        run(&m);
        record_case("access%x", access, 0, 0, 0);
        line_begin("ldt");
        outcome(&m, SEGMENT);
        line_end();
    }
}

/* Flags, T bit, CR3, EIP, and 16-bit tasks: what the new task runs with. */
static void states(void) {
    static const uint32_t flags[] = {0,       FLAG_TF, FLAG_IF, FLAG_DF,   FLAG_IOPL,
                                     FLAG_NT, FLAG_RF, FLAG_AC, FLAG_VIF,  FLAG_VIP,
                                     FLAG_ID, FLAG_CF, 0x8028,  0xffc00000};
    record_section("state");
    for (enum way way = 0; way < WAYS; way++)
        for (unsigned wide = 0; wide < 2; wide++) {
            for (unsigned f = 0; f < sizeof flags / sizeof *flags; f++)
                for (unsigned before = 0; before < 2; before++) {
                    reset(way, wide);
                    other->eflags |= flags[f], narrow.flags |= (uint16_t)flags[f];
                    struct machine m = image(way, 0, pointed(way));
                    m.eflags |= before ? FLAG_DF | FLAG_IOPL | FLAG_NT | FLAG_AC : 0;
                    if (way == RETURN && before)
                        continue;
                    run(&m);
                    record_case("wide%x.flags%x.before%x", wide, flags[f], before, 0);
                    line_begin(way_names[way]);
                    outcome(&m, 0);
                    traces(&m, wide);
                    line_end();
                }
            static const uint32_t offsets[] = {0x2000, 0xffff, 0x10000, 0xffffffff};
            for (unsigned i = 0; i < 4; i++) {
                reset(way, wide);
                gdt_set(SEGMENT, 0, 0x1fff, wide ? 0x9b : 0xfb, 4);
                other->eip = offsets[i], other->cs = SEGMENT;
                narrow.ip = (uint16_t)offsets[i];
                if (!wide && i > 1)
                    continue;
                record_case("wide%x.eip%x", wide, offsets[i], 0, 0);
                one(way_names[way], way, wide, 0, 0);
            }
        }
    for (enum way way = 0; way < WAYS; way++)
        for (unsigned bits = 0; bits < 8; bits++) {
            reset(way, true);
            other->cr3 = bits & 1 ? second.root : stage.root;
            other->trap = bits & 2 ? 1 : 0;
            other->eflags |= bits & 4 ? FLAG_TF : 0;
            write_dr6(0xffff0ff0);
            record_case("cr3%x.trap%x.tf%x", bits & 1, bits >> 1 & 1, bits >> 2, 0);
            struct machine m = image(way, 0, pointed(way));
            run(&m);
            line_begin(way_names[way]);
            outcome(&m, 0);
            line_value(m.eip - CODE), line_value(read_dr6() & 0xe00f);
            traces(&m, true);
            line_end();
        }
}

/* The new task goes back by IRET: nested by CALL and INT n, and what is written then. */
static void round_trips(void) {
    record_section("round");
    for (enum way way = CALL; way <= INTERRUPT; way++)
        for (unsigned wide = 0; wide < 2; wide++)
            for (unsigned ring = 0; ring < 4; ring += 3) {
                if (way == JUMP_GATE || (way == CALL && ring))
                    continue;
                reset(way, wide);
                struct machine m = image(way, ring, pointed(way));
                memcpy((void *)(CODE + LANDING), goes_back, SNIPPET_SIZE(goes_back));
                run(&m);
                record_case("wide%x.ring%x", wide, ring, 0, 0);
                line_begin(way_names[way]);
                outcome(&m, OTHER);
                line_value(m.eip - CODE), line_value(access_of(OTHER));
                line_value((wide ? other->eip : narrow.ip) & 0xfff);
                line_value((wide ? other->eflags : narrow.flags) & ~NO_FLAGS);
                traces(&m, wide);
                line_end();
            }
}

/* Either TSS in pages that are absent or read-only. */
static void pages(void) {
    static const uint32_t rights[] = {0, PTE_P, KERNEL_PAGE};
    uint32_t frames[2] = {page_take(), page_take()};
    struct task32 *good = other;
    record_section("page");
    for (enum way way = 0; way < WAYS; way++)
        for (unsigned r = 0; r < 9; r++)
            for (unsigned offset = 0; offset < 112; offset += 12) {
                if (r == 8 && offset)
                    continue;
                stage_map(PROBE, frames[0], KERNEL_PAGE);
                stage_map(PROBE + PAGE_SIZE, frames[1], KERNEL_PAGE);
                other = (struct task32 *)(PROBE + PAGE_SIZE - offset);
                reset(way, true);
                stage_map(PROBE, frames[0], rights[r % 3]);
                stage_map(PROBE + PAGE_SIZE, frames[1], rights[r / 3]);
                uint32_t cr0 = read_cr0();
                write_cr0(cr0 | CR0_WP);
                struct machine m = image(way, 0, pointed(way));
                run(&m);
                write_cr0(cr0);
                record_case("first%x.second%x.offset%x", r % 3, r / 3, offset, 0);
                line_begin(way_names[way]);
                outcome(&m, OTHER);
                line_value(access_of(OTHER));
                if (caught.vector == VECTOR_PF)
                    line_value((caught.cr2 - PROBE) >> 12);
                line_end();
            }
    other = good;
}

void guest_main(void) {
    static struct task32 usual __attribute__((aligned(128)));
    other = &usual;
    record_start();
    space_make(&second, guest_paging());
    space_map(&second, CODE, *space_entry(&stage, CODE) & 0xfffff000, USER_PAGE);
    space_map(&second, DATA, *space_entry(&stage, DATA) & 0xfffff000, USER_PAGE);
    ldt[1] = ldt[2] = 0x00cf93000000ffff;
    gdt_set(LDT, address_of(ldt), sizeof ldt - 1, 0x82, 0);
    tasks_start();
    tasks_catch(true);
    descriptors();
    gates();
    limits();
    segments();
    odd_segments();
    states();
    round_trips();
    pages();
    record_finish();
}
