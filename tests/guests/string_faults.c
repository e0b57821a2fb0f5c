/* Repeated string instructions that fault in the middle: the registers say how far they came,
 * memory agrees, EIP is the instruction, and flags are those from before (SDM 2B, REP). */
#include "tests/guests/stage.h"

SNIPPET(rep_movsb, "nop; rep movsb" DONE);
SNIPPET(rep_movsd, "nop; rep movsl" DONE);
SNIPPET(rep_stosb, "nop; rep stosb" DONE);
SNIPPET(rep_stosd, "nop; rep stosl" DONE);
SNIPPET(rep_lodsw, "nop; rep lodsw" DONE);
SNIPPET(repne_scasb, "nop; repne scasb" DONE);
SNIPPET(repe_cmpsd, "nop; repe cmpsl" DONE);
SNIPPET(rep_outsb, "nop; rep outsb" DONE);
SNIPPET(rep_insb, "nop; rep insb" DONE);
SNIPPET(addr16_stosb, "nop; addr16 rep stosb" DONE);

enum { UP = 0, DOWN = FLAG_DF, SOURCE = DATA + 0x400, PORT_DELAY = 0x80 };

struct string_case {
    const char *name;
    const uint8_t *code, *end;
    unsigned ring;
    uint32_t direction;
    uint32_t ecx, esi, edi; /* before */
    uint32_t ecx_after;     /* what is left at the fault */
    uint32_t step;          /* bytes an iteration */
    uint32_t uses;          /* USES_* */
    uint32_t error, cr2;
    bool tcg_differs; /* flags, or error code */
};
enum { USES_SI = 1, USES_DI = 2 };
#define ROW(name) name, name##_end

static const struct string_case cases[] = {
    {"movsb-to-hole", ROW(rep_movsb), 3, UP, 10, SOURCE, HOLE - 5, 5, 1, USES_SI | USES_DI,
     PF_USER | PF_WRITE, HOLE},
    {"movsb-from-hole", ROW(rep_movsb), 3, UP, 10, HOLE - 5, SOURCE, 5, 1, USES_SI | USES_DI,
     PF_USER, HOLE},
    {"movsd-straddling", ROW(rep_movsd), 3, UP, 4, SOURCE, HOLE - 6, 3, 4, USES_SI | USES_DI,
     PF_USER | PF_WRITE, HOLE},
    {"movsd-from-straddling", ROW(rep_movsd), 3, UP, 4, HOLE - 6, SOURCE, 3, 4, USES_SI | USES_DI,
     PF_USER, HOLE},
    {"movsb-to-hole-down", ROW(rep_movsb), 3, DOWN, 10, SOURCE, AFTER + 3, 6, 1, USES_SI | USES_DI,
     PF_USER | PF_WRITE, AFTER - 1},
    {"movsd-to-hole-down", ROW(rep_movsd), 3, DOWN, 10, SOURCE, AFTER + 8, 7, 4, USES_SI | USES_DI,
     PF_USER | PF_WRITE, AFTER - 4},
    {"movsd-straddling-down", ROW(rep_movsd), 3, DOWN, 10, SOURCE, AFTER + 6, 8, 4,
     USES_SI | USES_DI, PF_USER | PF_WRITE, AFTER - 2},
    {"movsb-from-hole-down", ROW(rep_movsb), 3, DOWN, 10, AFTER + 3, SOURCE, 6, 1,
     USES_SI | USES_DI, PF_USER, AFTER - 1},
    {"movsd-long", ROW(rep_movsd), 3, UP, 1000, SOURCE - 0x400, HOLE - 800, 800, 4,
     USES_SI | USES_DI, PF_USER | PF_WRITE, HOLE},
    {"stosb", ROW(rep_stosb), 3, UP, 4096, 0, HOLE - 100, 3996, 1, USES_DI, PF_USER | PF_WRITE,
     HOLE},
    {"stosd-down", ROW(rep_stosd), 3, DOWN, 100, 0, AFTER + 4, 98, 4, USES_DI, PF_USER | PF_WRITE,
     AFTER - 4},
    {"lodsw", ROW(rep_lodsw), 3, UP, 100, HOLE - 20, 0, 90, 2, USES_SI, PF_USER, HOLE},
    {"scasb", ROW(repne_scasb), 3, UP, 100, 0, HOLE - 20, 80, 1, USES_DI, PF_USER, HOLE},
    {"cmpsd", ROW(repe_cmpsd), 3, UP, 100, HOLE - 400 - 20, HOLE - 20, 95, 4, USES_SI | USES_DI,
     PF_USER, HOLE},
    {"outsb", ROW(rep_outsb), 0, UP, 100, HOLE - 20, 0, 80, 1, USES_SI, 0, HOLE},
    {"insb", ROW(rep_insb), 0, UP, 100, 0, HOLE - 20, 80, 1, USES_DI, PF_WRITE, HOLE},
    {"movsb-ring0", ROW(rep_movsb), 0, UP, 10, SOURCE, HOLE - 5, 5, 1, USES_SI | USES_DI, PF_WRITE,
     HOLE},
    /* A kernel's short ones are loops; 31 elements are short. */
    {"movsd-ring0-straddling", ROW(rep_movsd), 0, UP, 31, SOURCE, HOLE - 6, 30, 4, USES_SI | USES_DI, PF_WRITE, HOLE},
    {"movsd-ring0-from-hole", ROW(rep_movsd), 0, UP, 31, HOLE - 120, SOURCE, 1, 4, USES_SI | USES_DI, 0, HOLE},
    {"movsd-ring0-32", ROW(rep_movsd), 0, UP, 32, HOLE - 120, SOURCE, 2, 4, USES_SI | USES_DI, 0, HOLE},
    {"movsd-ring0-many", ROW(rep_movsd), 0, UP, 0x20000001, HOLE - 120, SOURCE, 0x20000001 - 30, 4, USES_SI | USES_DI, 0,
     HOLE},
    {"movsd-ring0-down", ROW(rep_movsd), 0, DOWN, 10, SOURCE, AFTER + 8, 7, 4, USES_SI | USES_DI, PF_WRITE, AFTER - 4},
    {"stosb-ring0", ROW(rep_stosb), 0, UP, 31, 0, HOLE - 30, 1, 1, USES_DI, PF_WRITE, HOLE},
    {"stosd-ring0-down", ROW(rep_stosd), 0, DOWN, 30, 0, AFTER + 4, 28, 4, USES_DI, PF_WRITE, AFTER - 4},
};

static uint32_t moved(const struct string_case *c, uint32_t from, uint32_t uses) {
    uint32_t distance = (c->ecx - c->ecx_after) * c->step;
    if (!(c->uses & uses))
        return from;
    return c->direction == DOWN ? from - distance : from + distance;
}

static void try_case(const struct string_case *c) {
    memset((void *)DATA, 0x11, PAGE_SIZE);
    memset((void *)AFTER, 0x11, PAGE_SIZE);
    struct machine m = stage_at(c->ring, CODE, c->code, (uint32_t)(c->end - c->code));
    uint32_t start_flags = c->direction | FLAG_PF | FLAG_AF;
    m.eflags |= start_flags;
    m.ecx = c->ecx, m.esi = c->esi, m.edi = c->edi;
    m.eax = 0x22222222;
    m.edx = PORT_DELAY;
    guest_run(&m);
    check_variant(c->name);
    check_trap("trap", &m, VECTOR_PF, c->error, CODE + 1);
    check("cr2", c->cr2, m.cr2);
    check("ecx", c->ecx_after, m.ecx);
    check("esi", moved(c, c->esi, USES_SI), m.esi);
    check("edi", moved(c, c->edi, USES_DI), m.edi);
    /* TCG leaves the flags of the last comparison. */
    uint32_t flags = m.eflags & (FLAGS_ARITHMETIC | FLAG_DF);
    check_deviation("flags", start_flags, flags,
                    c->code == repne_scasb  ? FLAG_PF
                    : c->code == repe_cmpsd ? FLAG_ZF | FLAG_PF
                                            : start_flags);
}

/* The faulting STOSB wrote what ECX says, and no more; with the page there it goes on. */
static void resume_after_fault(void) {
    memset((void *)DATA, 0, PAGE_SIZE);
    struct machine m = STAGE(3, rep_stosb);
    m.ecx = 200, m.edi = HOLE - 100, m.eax = 0x77;
    guest_run(&m);
    uint32_t sum = 0;
    for (uint32_t at = DATA; at < HOLE; at++)
        sum += *byte_at(at);
    check_variant(NULL);
    check("resume.first-part", 100 * 0x77, sum);
    uint32_t page = space_map_new(&stage, HOLE, USER_PAGE); /* was absent: needs no flush */
    guest_run(&m);
    check_trap("resume.end", &m, VECTOR_DONE, 0, CODE + SNIPPET_SIZE(rep_stosb));
    check("resume.count", 0, m.ecx);
    for (uint32_t i = 0; i < PAGE_SIZE; i++)
        sum += *byte_at(page + i);
    check("resume.all", 200 * 0x77, sum);
    stage_map(HOLE, 0, 0);
}

static void zero_count(void) {
    struct machine m = STAGE(3, rep_movsd);
    m.esi = m.edi = HOLE;
    guest_run(&m);
    check("zero-count.no-access", VECTOR_DONE, m.vector);
    check("zero-count.edi", HOLE, m.edi);
    m = STAGE(3, repne_scasb);
    m.edi = HOLE;
    m.eflags |= FLAG_ZF | FLAG_CF;
    guest_run(&m);
    check("zero-count.flags", FLAG_ZF | FLAG_CF, m.eflags & FLAGS_ARITHMETIC);
}

/* With an address-size prefix only CX and DI count, and their upper halves stay. */
static void sixteen_bit_addresses(void) {
    memset((void *)0x7000, 0, 32);
    struct machine m = STAGE(0, addr16_stosb);
    m.ecx = 0x50000 + 16, m.edi = 0xabcd0000 + 0x7000, m.eax = 0x5a;
    guest_run(&m);
    check("addr16.ecx", 0x50000, m.ecx);
    check("addr16.edi", 0xabcd7010, m.edi);
    check("addr16.first", 0x5a5a5a5a, *word_at(0x7000));
    check("addr16.last", 0x5a5a5a5a, *word_at(0x700c));
    check("addr16.beyond", 0, *word_at(0x7010));
}

/* Each iteration is a step of its own for the trap flag. */
static void single_step(void) {
    struct machine m = STAGE(3, rep_movsb);
    m.ecx = 3, m.esi = DATA, m.edi = DATA + 100;
    m.eflags |= FLAG_TF;
    guest_run(&m);
    check_trap("step.before", &m, VECTOR_DB, 0, CODE + 1);
    for (uint32_t left = 2; left; left--) {
        guest_run(&m);
        check_trap("step.inside", &m, VECTOR_DB, 0, CODE + 1);
        check("step.ecx", left, m.ecx);
    }
    guest_run(&m);
    check_trap("step.after", &m, VECTOR_DB, 0, CODE + 3);
    check("step.ecx", 0, m.ecx);
}

void guest_main(void) {
    stage_start();
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        try_case(cases + i);
    resume_after_fault();
    zero_count();
    sixteen_bit_addresses();
    single_step();
    check_finish("string_faults");
}
