/* Accesses through segments that are not flat: every kind of access at every offset around the
 * limit, expand-up and expand-down, byte and page granular, read-only, execute-only, null
 * (SDM vol. 3A, 5.3-5.5). A line has the outcomes of a row of offsets. */
#include "tests/system/record.h"

enum { SEGMENT = TEST_SELECTOR };

#define DS_FORMS(name, code)                                                                       \
    SNIPPET(name##_ds, code("%ds:") DONE);                                                         \
    SNIPPET(name##_es, code("%es:") DONE);                                                         \
    SNIPPET(name##_fs, code("%fs:") DONE)
#define READ8(s) "mov " s "(%edx), %al"
#define READ16(s) "mov " s "(%edx), %ax"
#define READ32(s) "mov " s "(%edx), %eax"
#define WRITE8(s) "mov %al, " s "(%edx)"
#define WRITE32(s) "mov %eax, " s "(%edx)"
#define MODIFY32(s) "addl $0, " s "(%edx)"
#define COMPARE64(s) "lock cmpxchg8b " s "(%edx)"
#define PUSH_MEMORY(s) "pushl " s "(%edx); pop %eax"
#define POP_MEMORY(s) "pushl $0; popl " s "(%edx)"
#define FAR_POINTER(s) "les " s "(%edx), %ecx"
#define BIT_TEST(s) "mov $-8, %ecx; bt %ecx, " s "(%edx)"
#define BIT_SET(s) "mov $64, %ecx; bts %ecx, " s "-8(%edx)"
#define BOUNDS(s) "xor %eax, %eax; bound %eax, " s "(%edx)"
#define STORE_TABLE(s) "sidt " s "(%edx)"
#define XLAT(s) "mov %edx, %ebx; xor %eax, %eax; xlatb " s "(%ebx)"
#define LOAD_STRING(s) "mov %edx, %esi; lodsl " s "(%esi)"
#define MOVE_STRING(s) "mov %edx, %esi; push %ds; pop %es; movsl " s "(%esi), %es:(%edi)"
#define COMPARE_STRING(s) "mov %edx, %esi; cmpsl %es:(%edi), " s "(%esi)"
#define NO_ACCESS(s) "lea " s "(%edx), %eax; nopl " s "(%edx)"
DS_FORMS(read8, READ8);
DS_FORMS(read16, READ16);
DS_FORMS(read32, READ32);
DS_FORMS(write8, WRITE8);
DS_FORMS(write32, WRITE32);
DS_FORMS(modify32, MODIFY32);
DS_FORMS(compare64, COMPARE64);
DS_FORMS(push_memory, PUSH_MEMORY);
DS_FORMS(pop_memory, POP_MEMORY);
DS_FORMS(far_pointer, FAR_POINTER);
DS_FORMS(bit_test, BIT_TEST);
DS_FORMS(bit_set, BIT_SET);
DS_FORMS(bounds, BOUNDS);
DS_FORMS(store_table, STORE_TABLE);
DS_FORMS(xlat, XLAT);
DS_FORMS(load_string, LOAD_STRING);
DS_FORMS(no_access, NO_ACCESS);
SNIPPET(store_string, "mov %edx, %edi; stosl" DONE);
SNIPPET(scan_string, "mov %edx, %edi; scasb" DONE);
SNIPPET(store_many, "mov %edx, %edi; mov $4, %ecx; rep stosl" DONE);
SNIPPET(store_many_down, "std; mov %edx, %edi; mov $4, %ecx; rep stosl; cld" DONE);

struct way {
    const char *name;
    const uint8_t *code, *end;
};
#define FORMS(name)                                                                                \
    {#name ".ds", name##_ds, name##_ds_end}, {#name ".es", name##_es, name##_es_end}, {            \
#name ".fs", name##_fs, name##_fs_end                                                      \
    }
static const struct way ways[] = {
    FORMS(read8),
    FORMS(read16),
    FORMS(read32),
    FORMS(write8),
    FORMS(write32),
    FORMS(modify32),
    FORMS(compare64),
    FORMS(push_memory),
    FORMS(pop_memory),
    FORMS(far_pointer),
    FORMS(bit_test),
    FORMS(bit_set),
    FORMS(bounds),
    FORMS(store_table),
    FORMS(xlat),
    FORMS(load_string),
    FORMS(no_access),
    {"store_string", store_string, store_string_end},
    {"scan_string", scan_string, scan_string_end},
    {"store_many", store_many, store_many_end},
    {"store_many_down", store_many_down, store_many_down_end},
};

/* How the segment is made: type, limit, flags, base. */
static const struct shape {
    const char *name;
    uint32_t limit;
    uint8_t access, flags;
} shapes[] = {
    {"bytes", 0x1f, 0xf3, 4},          {"bytes-16", 0x1f, 0xf3, 0}, {"pages", 0, 0xf3, 12},
    {"read-only", 0x1f, 0xf1, 4},      {"code", 0x1f, 0xfb, 4},     {"conforming", 0x1f, 0xff, 4},
    {"down", 0x1f, 0xf7, 4},           {"down-64k", 0x1f, 0xf7, 0}, {"down-pages", 0, 0xf7, 12},
    {"down-read-only", 0x1f, 0xf5, 4}, {"empty", 0, 0xf3, 4},       {"full", 0xfffff, 0xf3, 12},
    {"down-full", 0xfffff, 0xf7, 12},
};

static const uint32_t offsets[] = {
    0,      1,      0x10,   0x17,    0x18,        0x19,        0x1c,        0x1d,       0x1e,
    0x1f,   0x20,   0x21,   0x800,   0xff8,       0xffc,       0xffd,       0xfff,      0x1000,
    0xfff8, 0xfffd, 0xffff, 0x10000, 0xffffffe0u, 0xfffffffcu, 0xfffffffdu, 0xffffffffu};

static void outcome(const struct machine *m, const struct machine *before) {
    line_outcome(m, SEGMENT);
    if (m->vector == VECTOR_PF)
        line_value(m->cr2);
    if (m->vector != VECTOR_DONE && m->ecx != before->ecx && m->ecx < 8)
        line_value(m->ecx);
}

static void row(const struct way *way, const struct shape *shape, unsigned ring) {
    record_case("%x", ring, 0, 0, 0);
    line_begin(way->name);
    gdt_set(SEGMENT, DATA, shape->limit, shape->access, shape->flags);
    struct machine before = ring_at(ring, way->code, (uint32_t)(way->end - way->code));
    before.ds = before.es = before.fs = SEGMENT | 3;
    memset((void *)DATA, 0, PAGE_SIZE);
    for (unsigned i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        struct machine m = before;
        m.edx = offsets[i];
        guest_run(&m);
        outcome(&m, &before);
    }
    line_end();
}

/* The stack segment: pushes, pops, calls and frames at both ends. */
SNIPPET(push1, "push %eax" DONE);
SNIPPET(push_word, "pushw %ax" DONE);
SNIPPET(pop1, "pop %ecx" DONE);
SNIPPET(pusha1, "pusha" DONE);
SNIPPET(popa1, "popa" DONE);
SNIPPET(call1, "call 1f; 1:" DONE);
SNIPPET(ret1, "ret" DONE);
SNIPPET(enter0, "enter $0, $0" DONE);
SNIPPET(enter2, "enter $0, $2" DONE);
SNIPPET(leave1, "mov %esp, %ebp; leave" DONE);
SNIPPET(pushf1, "pushf" DONE);
SNIPPET(popf1, "popf" DONE);
SNIPPET(read_by_ebp, "mov (%ebp), %ecx" DONE);
SNIPPET(read_by_esp, "mov (%esp), %ecx" DONE);
SNIPPET(write_by_esp, "mov %ecx, (%esp)" DONE);
SNIPPET(push_segment, "push %fs" DONE);
SNIPPET(iret1, "iret");
SNIPPET(lret1, "lret");

#define WAY(name)                                                                                  \
    { #name, name, name##_end }
static void stacks(void) {
    static const struct way all[] = {
        WAY(push1),        WAY(push_word), WAY(pop1),        WAY(pusha1),      WAY(popa1),
        WAY(call1),        WAY(ret1),      WAY(enter0),      WAY(enter2),      WAY(leave1),
        WAY(pushf1),       WAY(popf1),     WAY(read_by_ebp), WAY(read_by_esp), WAY(write_by_esp),
        WAY(push_segment), WAY(iret1),     WAY(lret1)};
    static const struct shape kinds[] = {{"bytes", 0x3f, 0xf3, 4}, {"down", 0x1f, 0xf7, 4}};
    static const uint32_t pointers[] = {0,    1,    2,    3,    4,    8,    0x1c, 0x1f, 0x20, 0x21,
                                        0x22, 0x23, 0x24, 0x28, 0x30, 0x34, 0x38, 0x3b, 0x3c, 0x3d,
                                        0x3e, 0x3f, 0x40, 0x41, 0x42, 0x43, 0x44, 0x60};
    for (unsigned k = 0; k < 2; k++) {
        record_section(k ? "stack-down" : "stack-up");
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
            record_case("", 0, 0, 0, 0);
            line_begin(all[i].name);
            gdt_set(SEGMENT, DATA, kinds[k].limit, kinds[k].access, kinds[k].flags);
            struct machine image = ring_at(3, all[i].code, (uint32_t)(all[i].end - all[i].code));
            for (unsigned p = 0; p < sizeof pointers / sizeof *pointers; p++) {
                struct machine m = image;
                memset((void *)DATA, 0, 256);
                m.ss = SEGMENT | 3;
                m.esp = m.ebp = pointers[p];
                guest_run(&m);
                line_outcome(&m, SEGMENT);
                if (m.vector == VECTOR_DONE || m.esp != pointers[p])
                    line_value(m.esp);
            }
            line_end();
        }
    }
}

/* Reads and writes by a CS override, and the fetch itself: code that ends before, at and after its
 * segment's limit. */
SNIPPET(read_cs, "mov %cs:(%edx), %eax" DONE);
SNIPPET(write_cs, "mov %eax, %cs:(%edx)" DONE);
SNIPPET(runs_out, "nop; nop; mov $0x12345678, %eax; nop" DONE);
SNIPPET(jumps_out, "jmp 1f; .skip 30, 0x90; 1: nop" DONE);
SNIPPET(calls_out, "call 1f; .skip 30, 0x90; 1: nop" DONE);
SNIPPET(branches_out, "cmp %eax, %eax; je 1f; .skip 30, 0x90; 1: nop" DONE);
SNIPPET(returns_out, "push $40; ret" DONE);
SNIPPET(jumps_by_register, "mov $40, %ecx; jmp *%ecx" DONE);
SNIPPET(calls_by_register, "mov $40, %ecx; call *%ecx" DONE);
SNIPPET(loops_out, "mov $2, %ecx; loop 1f; .skip 30, 0x90; 1: nop" DONE);
static void code(void) {
    static const uint8_t accesses[] = {0xf9, 0xfb, 0xfd, 0xff};
    record_section("code");
    for (unsigned i = 0; i < 4; i++)
        for (unsigned limit = 0; limit < 48; limit++) {
            static const struct way all[] = {
                WAY(read_cs),           WAY(write_cs),     WAY(runs_out),    WAY(jumps_out),
                WAY(calls_out),         WAY(branches_out), WAY(returns_out), WAY(jumps_by_register),
                WAY(calls_by_register), WAY(loops_out)};
            for (unsigned w = 0; w < sizeof all / sizeof *all; w++) {
                gdt_set(SEGMENT, CODE, limit, accesses[i], 4);
                struct machine m = ring_at(3, all[w].code, (uint32_t)(all[w].end - all[w].code));
                m.cs = SEGMENT | 3;
                m.eip = 0;
                m.edx = 13;
                record_case("access%x.limit%x", accesses[i], limit, 0, 0);
                record_run(all[w].name, &m);
            }
        }
}

static void nulls(void) {
    record_section("null");
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
        for (unsigned ring = 0; ring < 4; ring += 3) {
            struct machine m = ring_at(ring, ways[i].code, (uint32_t)(ways[i].end - ways[i].code));
            m.ds = m.es = m.fs = 0;
            m.edx = DATA;
            record_case("ring%x", ring, 0, 0, 0);
            record_run(ways[i].name, &m);
        }
}

void guest_main(void) {
    record_start();
    for (unsigned s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
            for (unsigned ring = 0; ring < 4; ring += 3) {
                record_section(shapes[s].name);
                row(&ways[i], &shapes[s], ring);
            }
    stacks();
    code();
    nulls();
    record_finish();
}
