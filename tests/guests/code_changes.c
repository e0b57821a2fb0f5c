/* Code that changes under the CPU: by every kind of store, through other mappings, by a new page
 * under the same address, and on both pages of an instruction that straddles them. */
#include "tests/guests/stage.h"

enum { ROUNDS = 200, ALIAS = PROBE, TARGET = PROBE + 0x10000, TARGET2 = TARGET + PAGE_SIZE };

static void serialise(void) { (void)cpuid(0); }

static uint32_t call(uint32_t address) {
    uint32_t result;
    __asm__ volatile("call *%1" : "=a"(result) : "r"(address) : "ecx", "edx", "memory");
    return result;
}

/* mov $value, %eax; ret */
static void write_function(uint32_t at, uint32_t value) {
    *byte_at(at) = 0xb8;
    *word_at(at + 1) = value;
    *byte_at(at + 5) = 0xc3;
}

/* Every kind of store hits the immediate; the call behind it sees the new one. */
static void kinds_of_store(void) {
    uint32_t at = TARGET + 0x100, field = at + 1, value = 0;
    static uint32_t source[4] __attribute__((aligned(16)));
    write_function(at, 0);
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        *word_at(field) = 0;
        *byte_at(field) = (uint8_t)i;
        value += call(at) != i;
        __asm__ volatile("lock incl %0" : "+m"(*word_at(field)));
        value += call(at) != i + 1;
        __asm__ volatile("addl $5, %0" : "+m"(*word_at(field)));
        value += call(at) != i + 6;
        uint32_t swap = i * 3;
        __asm__ volatile("xchgl %0, %1" : "+r"(swap), "+m"(*word_at(field)));
        value += call(at) != i * 3 || swap != i + 6;
        source[0] = ~i;
        memcpy((void *)field, source, 4);
        value += call(at) != ~i;
        __asm__ volatile("push %0; popl %1" : : "r"(i * 7), "m"(*word_at(field)) : "memory");
        value += call(at) != i * 7;
        __asm__ volatile("mov %%esp, %%edx; lea 4(%0), %%esp; push %1; mov %%edx, %%esp"
                         :
                         : "r"(field), "r"(i * 9)
                         : "edx", "memory");
        value += call(at) != i * 9;
        __asm__ volatile("movd %0, %%mm0; movd %%mm0, (%1); emms"
                         :
                         : "r"(i * 11), "r"(field)
                         : "memory");
        value += call(at) != i * 11;
    }
    check("kinds-of-store", 0, value);
}

static void through_other_mappings(void) {
    uint32_t physical = *space_entry(&stage, TARGET) & ~0xfffu, wrong = 0;
    stage_map(ALIAS, physical, USER_PAGE);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t way = i % 3 == 0 ? ALIAS : i % 3 == 1 ? physical : TARGET;
        write_function(way + 0x200, i * 17);
        serialise();
        wrong += call(TARGET + 0x200) != i * 17;
        wrong += call(ALIAS + 0x200) != i * 17;
        wrong += call(physical + 0x200) != i * 17;
    }
    check("aliases", 0, wrong);
    paging_off();
    write_function(physical + 0x200, 0x7777);
    wrong = call(physical + 0x200) != 0x7777;
    space_enter(&stage);
    wrong += call(TARGET + 0x200) != 0x7777;
    check("written-without-paging", 0, wrong);
}

static void new_page_below(void) {
    uint32_t a = page_take(), b = page_take(), wrong = 0;
    write_function(a, 1);
    write_function(b, 2);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        stage_map(ALIAS, i & 1 ? b : a, USER_PAGE);
        wrong += call(ALIAS) != (i & 1 ? 2 : 1);
    }
    check("page-replaced", 0, wrong);
    /* The entry goes through "not present" on the way, with a fault in between. */
    for (uint32_t i = 0; i < 20; i++) {
        stage_map(ALIAS, 0, 0);
        struct machine m = machine_kernel(ALIAS, STACK_TOP);
        guest_run(&m);
        wrong += m.vector != VECTOR_PF || m.eip != ALIAS || m.cr2 != ALIAS;
        stage_map(ALIAS, i & 1 ? b : a, USER_PAGE);
        wrong += call(ALIAS) != (i & 1 ? 2 : 1);
    }
    check("page-replaced-after-fault", 0, wrong);
}

static void straddling(void) {
    uint32_t at = TARGET2 - 3, wrong = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        write_function(at, i * 0x01010101u);
        wrong += call(at) != i * 0x01010101u;
        *byte_at(TARGET2 + 1) = (uint8_t)~i; /* the high byte of the immediate */
        wrong += call(at) >> 24 != (uint8_t)~i;
        *byte_at(TARGET2 - 2) = (uint8_t)(i * 3); /* the low byte, on the first page */
        wrong += (call(at) & 0xff) != (uint8_t)(i * 3);
    }
    check("straddling", 0, wrong);
    uint32_t other = page_take();
    memcpy((void *)other, (void *)TARGET2, PAGE_SIZE);
    *byte_at(other + 1) = 0x5a;
    uint32_t old = *space_entry(&stage, TARGET2) & ~0xfffu;
    *byte_at(TARGET2 + 1) = 0xa5;
    check("straddling.second-page", 0xa5, call(at) >> 24);
    stage_map(TARGET2, other, USER_PAGE);
    check("straddling.second-page-replaced", 0x5a, call(at) >> 24);
    stage_map(TARGET2, old, USER_PAGE);
    check("straddling.second-page-back", 0xa5, call(at) >> 24);
}

/* A chain of direct jumps whose middle is turned to another end again and again. */
SNIPPET(chain, "jmp 1f; .skip 59, 0x90\n"
               "1: jmp 2f; .skip 62, 0x90\n"
               "2: mov $1, %eax; ret; .skip 58, 0x90\n"
               "3: mov $2, %eax; ret");
static void retargeted_jump(void) {
    uint32_t at = TARGET + 0x400, wrong = 0;
    memcpy((void *)at, chain, SNIPPET_SIZE(chain));
    uint32_t displacement = 0;
    while (*byte_at(at + displacement) != 0x90 || displacement < 2)
        displacement++;
    uint32_t middle = at + 2 + *byte_at(at + 1);
    uint8_t near = *byte_at(middle + 1);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        *byte_at(middle + 1) = (uint8_t)(i & 1 ? near + 64 : near);
        wrong += call(at) != (i & 1 ? 2 : 1);
    }
    check("jump-retargeted", 0, wrong);
}

/* A store that overwrites itself and what follows: the old instruction completes first. */
SNIPPET(own_bytes, "call 1f; 1: pop %ecx; mov $0x90909090, %edx\n"
                   "2: mov %edx, 2b-1b(%ecx); nop; nop; inc %eax; inc %eax" DONE);
SNIPPET(own_string, "call 1f; 1: pop %edi; add $2f-1b, %edi; mov $0x40, %al; mov $6, %ecx; cld\n"
                    "rep stosb; 2: nop; nop; nop; nop; nop; nop" DONE);
static void self_overwriting(unsigned ring) {
    check_variant(ring_name(ring));
    for (unsigned i = 0; i < 3; i++) {
        struct machine m = STAGE_RUN(ring, own_bytes);
        check_trap("store-over-itself", &m, VECTOR_DONE, 0, CODE + SNIPPET_SIZE(own_bytes));
        check("store-over-itself.after", 2, m.eax);
        check("store-over-itself.bytes", 0x90909090, *word_at(CODE + 11));
        m = STAGE_RUN(ring, own_string); /* six times inc %eax, with AL = 40h before */
        check("string-over-what-follows", 0x46, m.eax);
    }
    check_variant(NULL);
}

/* The instruction behind a call is another one when the call returns. */
SNIPPET(changed_return,
        "call 1f; inc %eax; jmp 2f; 1: mov (%esp), %ecx; movb $0x42, (%ecx); ret; 2:" DONE);
static void return_into_new_code(unsigned ring) {
    for (unsigned i = 0; i < 3; i++) {
        struct machine m = STAGE_RUN(ring, changed_return);
        check("return-into-new-code", 0x10000, m.edx << 16 | m.eax);
    }
}

/* Instructions of the monitor's C code overwrite what comes next, which counts in EDX from then on and
 * counted in EAX before. %ebp is CODE; SEGMENT has a limit. */
SNIPPET(by_sgdt, "sgdt 1f - by_sgdt(%ebp); 1: inc %eax; nop; nop; nop; nop; nop; inc %edx" DONE);
SNIPPET(by_ins, "mov $0x3ff, %edx; lea 1f - by_ins(%ebp), %edi; insb; 1: inc %eax; sub $0x3ff, %edx" DONE);
SNIPPET(by_limited_string, "lea 1f - by_limited_string(%ebp), %edi; mov $0x42424242, %eax; stosl; "
                           "1: .skip 4, 0x40; and $7, %eax" DONE);
SNIPPET(by_limited_pusha, "pusha; 1: .skip 10, 0x40; .byte 0xeb, 22; .skip 22" DONE);
enum { SEGMENT = FREE_SELECTOR, SCRATCH_PORT = 0x3ff, INC_EDX = 0x42, GDT_LIMIT_JUMPS = 0x04eb };

static void load_gdt(uint16_t limit) {
    struct __attribute__((packed)) {
        uint16_t limit;
        uint32_t base;
    } table = {limit, gdt_address()};
    __asm__ volatile("lgdt %0" : : "m"(table));
}

static void handler_writes(const char *name, struct machine m, uint32_t edx) {
    m.ebp = m.ebp ? m.ebp : CODE;
    guest_run(&m);
    check(name, edx << 16 | VECTOR_DONE, m.edx << 16 | m.vector);
    check("old-code-is-gone", 0, m.eax & 1);
}

static void by_handlers(void) {
    uint32_t limit = gdt_limit();
    gdt_set(SEGMENT, 0, 0x7ffff, 0xf3, 12); /* data of ring 3, in pages */
    outb(SCRATCH_PORT, INC_EDX);
    for (unsigned i = 0; i < 3; i++) {
        load_gdt(GDT_LIMIT_JUMPS); /* and stored it is a jump over the base */
        handler_writes("by-sgdt", STAGE(0, by_sgdt), 1);
        load_gdt((uint16_t)limit);
        handler_writes("by-ins", STAGE(0, by_ins), 1);
        struct machine m = STAGE(3, by_limited_string);
        m.es = SEGMENT | 3;
        handler_writes("by-limited-string", m, 4);
        m = STAGE(3, by_limited_pusha);
        m.ss = SEGMENT | 3;
        m.esp = CODE + 1 + 32;
        m.edi = m.esi = 0x42424242, m.ebp = 0x16eb4242;
        handler_writes("by-limited-pusha", m, 10);
    }
}

void guest_main(void) {
    stage_start();
    space_map_new(&stage, TARGET, USER_PAGE);
    space_map_new(&stage, TARGET2, USER_PAGE);
    kinds_of_store();
    through_other_mappings();
    new_page_below();
    straddling();
    retargeted_jump();
    self_overwriting(0);
    self_overwriting(3);
    return_into_new_code(0);
    return_into_new_code(3);
    by_handlers();
    check_finish("code_changes");
}
