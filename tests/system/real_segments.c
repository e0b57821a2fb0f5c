/* Real mode: accesses of every size and kind at the ends of 64 KiB, by addresses of 16 and 32
 * bits, with the limit that real mode has and with the one of 4 GiB that a visit to protected mode
 * leaves; stack instructions where SP wraps; strings; hidden parts that outlive CR0.PE (SDM vol.
 * 3A, 20.1, 9.9). */
#include "tests/guests/real.h"
#include "tests/system/record.h"

enum {
    KEPT = TEST_SELECTOR,
    WINDOW = 0x58000, /* base of what KEPT names */
    END = 0x40,       /* bytes that are looked at, at both ends of the data */
};

#define FORMS(name, code)                                                                          \
    SNIPPET16(name##_bx, code("(%bx)") REAL_END);                                                  \
    SNIPPET16(name##_bx_wraps, code("0x4001(%bx)") REAL_END);                                      \
    SNIPPET16(name##_bp, "mov %bx, %bp\n" code("(%bp)") REAL_END);                                 \
    SNIPPET16(name##_ebx, code("(%ebx)") REAL_END);                                                \
    SNIPPET16(name##_fs, code("%fs:(%ebx)") REAL_END)
#define READ8(m) "mov " m ", %al"
#define READ16(m) "mov " m ", %ax"
#define READ32(m) "mov " m ", %eax"
#define WRITE8(m) "mov %al, " m
#define WRITE16(m) "mov %ax, " m
#define WRITE32(m) "mov %eax, " m
#define MODIFY16(m) "addw $0x101, " m
#define MODIFY32(m) "addl $0x101, " m
/* Without LOCK: hosts slow down those who lock across a cache line. */
#define EXCHANGE(m) "cmpxchg %ecx, " m
#define COMPARE64(m) "cmpxchg8b " m
#define PUSH_MEMORY(m) "pushl " m "; pop %eax"
#define POP_MEMORY(m) "pushl $0x1234; popl " m
#define FAR_POINTER(m) "les " m ", %ax; mov %es, %dx"
#define FAR_POINTER32(m) "lgsl " m ", %eax; mov %gs, %dx"
#define BOUNDS(m) "xor %ax, %ax; bound %ax, " m
#define BIT_TEST(m) "mov $-16, %cx; bt %cx, " m "; setc %al"
#define LOAD_X87(m) "fninit; fldt " m "; fnstsw %ax"
#define STORE_X87(m) "fninit; fld1; fstpl " m
#define STORE_TABLE(m) "sidt " m
#define ADDRESS(m) "lea " m ", %eax"
FORMS(read8, READ8);
FORMS(read16, READ16);
FORMS(read32, READ32);
FORMS(write8, WRITE8);
FORMS(write16, WRITE16);
FORMS(write32, WRITE32);
FORMS(modify16, MODIFY16);
FORMS(modify32, MODIFY32);
FORMS(exchange, EXCHANGE);
FORMS(compare64, COMPARE64);
FORMS(push_memory, PUSH_MEMORY);
FORMS(pop_memory, POP_MEMORY);
FORMS(far_pointer, FAR_POINTER);
FORMS(far_pointer32, FAR_POINTER32);
FORMS(bounds, BOUNDS);
FORMS(bit_test, BIT_TEST);
FORMS(load_x87, LOAD_X87);
FORMS(store_x87, STORE_X87);
FORMS(store_table, STORE_TABLE);
FORMS(address, ADDRESS);

SNIPPET16(lods16, "mov %bx, %si; lodsl" REAL_END);
SNIPPET16(lods32, "mov %ebx, %esi; addr32 lodsl" REAL_END);
SNIPPET16(stos16, "mov %bx, %di; stosw" REAL_END);
SNIPPET16(stos32, "mov %ebx, %edi; addr32 stosl" REAL_END);
SNIPPET16(movs16, "mov %bx, %si; mov $0x10, %di; movsw" REAL_END);
SNIPPET16(movs32, "mov %ebx, %edi; mov $0x10, %esi; addr32 movsl" REAL_END);
SNIPPET16(cmps16, "mov %bx, %si; mov $0x10, %di; cmpsl" REAL_END);
SNIPPET16(scas32, "mov %ebx, %edi; addr32 scasw" REAL_END);
SNIPPET16(rep_stos16, "mov %bx, %di; mov $5, %cx; rep stosw" REAL_END);
SNIPPET16(rep_stos32, "mov %ebx, %edi; mov $5, %ecx; addr32 rep stosl" REAL_END);
SNIPPET16(rep_movs16, "mov %bx, %si; mov $0x10, %di; mov $7, %cx; rep movsb" REAL_END);
SNIPPET16(rep_movs_down, "std; mov %bx, %si; mov $0x10, %di; mov $7, %cx; rep movsw; cld" REAL_END);
SNIPPET16(rep_lods32, "mov %ebx, %esi; mov $5, %ecx; addr32 rep lodsw" REAL_END);
SNIPPET16(repe_cmps, "mov %bx, %si; mov %bx, %di; mov $6, %cx; repe cmpsw" REAL_END);
SNIPPET16(repne_scas, "mov %bx, %di; mov $6, %cx; mov $0xee, %al; repne scasb" REAL_END);
SNIPPET16(ins16, "mov %bx, %di; mov $0x80, %dx; outsb; mov %bx, %si; outsw" REAL_END);
SNIPPET16(xlat16, "xor %ax, %ax; mov $0x20, %al; xlatb" REAL_END);
SNIPPET16(xlat32, "xor %ax, %ax; mov $0x20, %al; addr32 xlatb" REAL_END);
SNIPPET16(jump_memory, "jmp *(%bx)");
SNIPPET16(far_jump_memory, "ljmp *(%bx)");
SNIPPET16(far_call_memory32, "lcalll *(%ebx)");

struct way {
    const char *name;
    const uint8_t *code, *end;
};
#define WAY(name)                                                                                  \
    { #name, name, name##_end }
#define FORM_WAYS(name)                                                                            \
    WAY(name##_bx), WAY(name##_bx_wraps), WAY(name##_bp), WAY(name##_ebx), WAY(name##_fs)
static const struct way ways[] = {FORM_WAYS(read8),
                                  FORM_WAYS(read16),
                                  FORM_WAYS(read32),
                                  FORM_WAYS(write8),
                                  FORM_WAYS(write16),
                                  FORM_WAYS(write32),
                                  FORM_WAYS(modify16),
                                  FORM_WAYS(modify32),
                                  FORM_WAYS(exchange),
                                  FORM_WAYS(compare64),
                                  FORM_WAYS(push_memory),
                                  FORM_WAYS(pop_memory),
                                  FORM_WAYS(far_pointer),
                                  FORM_WAYS(bounds),
                                  FORM_WAYS(far_pointer32),
                                  FORM_WAYS(bit_test),
                                  FORM_WAYS(load_x87),
                                  FORM_WAYS(store_x87),
                                  FORM_WAYS(store_table),
                                  FORM_WAYS(address),
                                  WAY(lods16),
                                  WAY(lods32),
                                  WAY(stos16),
                                  WAY(stos32),
                                  WAY(movs16),
                                  WAY(movs32),
                                  WAY(cmps16),
                                  WAY(scas32),
                                  WAY(rep_stos16),
                                  WAY(rep_stos32),
                                  WAY(rep_movs16),
                                  WAY(rep_movs_down),
                                  WAY(rep_lods32),
                                  WAY(repe_cmps),
                                  WAY(repne_scas),
                                  WAY(ins16),
                                  WAY(xlat16),
                                  WAY(xlat32),
                                  WAY(jump_memory),
                                  WAY(far_jump_memory),
                                  WAY(far_call_memory32)};

static const uint32_t offsets[] = {0,      1,       0x100,   0x3ffe,  0xbffb,     0xbffd,
                                   0xbffe, 0xbfff,  0xfff0,  0xfff6,  0xfff7,     0xfff8,
                                   0xfff9, 0xfffa,  0xfffb,  0xfffc,  0xfffd,     0xfffe,
                                   0xffff, 0x10000, 0x1000f, 0x2fffe, 0xfffffff8, 0xffffffff};

/* A byte that its address tells, at both ends of the data segment. */
static void fill(void) {
    for (uint32_t i = 0; i < END; i++) {
        *(volatile uint8_t *)(REAL_DATA + i) = (uint8_t)(i * 5 + 1);
        *(volatile uint8_t *)(REAL_DATA + 0x10000 - END + i) = (uint8_t)(i * 3 + 7);
        *(volatile uint8_t *)(REAL_STACK + i) = (uint8_t)(i * 7);
        *(volatile uint8_t *)(REAL_STACK + 0x10000 - END + i) = (uint8_t)(i * 9);
    }
}

/* A sum of what lies there, by position. */
static uint32_t sum(uint32_t from, uint32_t size) {
    uint32_t value = 0;
    for (uint32_t i = 0; i < size; i++)
        value = value * 31 + *(volatile uint8_t *)(from + i);
    return value;
}

static struct real image(const struct way *way) {
    static const uint8_t *there;
    static struct real usual;
    fill();
    if (way->code != there) {                /* writing code costs simulators dear */
        memset((void *)REAL_CODE, 0xcc, 64); /* INT3 where nothing should go */
        usual = real_image(way->code, (uint32_t)(way->end - way->code));
        there = way->code;
    }
    return usual;
}

static void outcome(const struct real *r) {
    line_value(r->vector), line_value(r->ip), line_value(r->esp & 0xffff);
}

/* Jumps find offsets and selectors of 1010h. */
static bool jumps(const struct way *way) { return way->end - way->code <= 4; }

static void accesses(void) {
    *half_at(REAL_CODE + 0x1010) = *half_at(0x10100 + 0x1010) = 0xf0cd; /* INT F0h */
    for (unsigned unreal = 0; unreal < 2; unreal++)
        for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
            record_section(unreal ? "unreal" : "access");
            for (unsigned o = 0; o < sizeof offsets / sizeof *offsets; o++) {
                struct real r = image(&ways[i]);
                if (unreal && offsets[o] < 0xfffb)
                    continue;
                if (jumps(&ways[i])) { /* elsewhere they would find anything */
                    if (unreal || offsets[o] > 0xffff || (offsets[o] > 1 && offsets[o] < 0xfff0))
                        continue;
                    memset((void *)REAL_DATA, 0x10, 16);
                    memset((void *)(REAL_DATA + 0xfff0), 0x10, 32); /* and where TCG reads */
                }
                r.ebx = offsets[o];
                r.unreal = (uint16_t)unreal;
                r.esp = 0x1000;
                real_run(&r);
                record_case("at%x", offsets[o], 0, 0, 0);
                line_begin(ways[i].name);
                outcome(&r);
                line_value(jumps(&ways[i]) ? 0 : r.eax), line_value(r.edx & 0xffff);
                line_value(r.ecx), line_value(r.esi), line_value(r.edi);
                line_value(sum(REAL_DATA, END) ^ sum(REAL_DATA + 0x10000 - END, END));
                line_end();
            }
        }
}

SNIPPET16(push16, "push %ax" REAL_END);
SNIPPET16(push32, "pushl %eax" REAL_END);
SNIPPET16(push_sp, "push %sp" REAL_END);
SNIPPET16(push_segment, "push %ds; pushl %es" REAL_END);
SNIPPET16(pop16, "pop %cx" REAL_END);
SNIPPET16(pop32, "popl %ecx" REAL_END);
SNIPPET16(pop_segment, "pop %fs" REAL_END);
SNIPPET16(pusha16, "pusha" REAL_END);
SNIPPET16(pusha32, "pushal" REAL_END);
SNIPPET16(popa16, "popa; mov %sp, %ax" REAL_END);
SNIPPET16(popa32, "popal; mov %sp, %ax" REAL_END);
SNIPPET16(pushf16, "pushf" REAL_END);
SNIPPET16(pushf32, "pushfl" REAL_END);
SNIPPET16(call16, "call 1f; 1:" REAL_END);
SNIPPET16(call32, "calll 1f; 1:" REAL_END);
SNIPPET16(far_call16, "lcall $0x4000, $5" REAL_END);
SNIPPET16(far_call32, "lcalll $0x4000, $8" REAL_END);
SNIPPET16(enter0, "enter $4, $0" REAL_END);
SNIPPET16(enter2, "enter $4, $2" REAL_END);
SNIPPET16(enter32, "enterl $4, $1" REAL_END);
SNIPPET16(leave16, "mov %sp, %bp; leave" REAL_END);
SNIPPET16(leave32, "mov %esp, %ebp; leavel" REAL_END);
SNIPPET16(load_sp, "mov (%esp), %cx" REAL_END);
SNIPPET16(load_ss, "push %ss; pop %ss; push %ax" REAL_END);
static void stacks(void) {
    static const struct way all[] = {WAY(push16),     WAY(push32),  WAY(push_sp), WAY(push_segment),
                                     WAY(pop16),      WAY(pop32),   WAY(pusha16), WAY(pop_segment),
                                     WAY(pusha32),    WAY(popa16),  WAY(popa32),  WAY(pushf16),
                                     WAY(pushf32),    WAY(call16),  WAY(call32),  WAY(far_call16),
                                     WAY(far_call32), WAY(enter0),  WAY(enter2),  WAY(enter32),
                                     WAY(leave16),    WAY(leave32), WAY(load_sp), WAY(load_ss)};
    /* Odd ones near 0 have no room for the frame of the INT that ends the run: shutdown. */
    static const uint32_t pointers[] = {
        0,      2,      4,      6,      8,      0xa,        0xc,        0x10,      0x12,   0x20,
        0x31,   0x100,  0xffd0, 0xffe0, 0xffe1, 0xffef,     0xfff0,     0xfff1,    0xfff8, 0xfffa,
        0xfffb, 0xfffc, 0xfffd, 0xfffe, 0xffff, 0x5aa50000, 0x5aa50100, 0x5aa5fffe};
    record_section("stack");
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        for (unsigned p = 0; p < sizeof pointers / sizeof *pointers; p++) {
            struct real r = image(&all[i]);
            r.esp = pointers[p];
            r.ebp = 0x80;
            r.eax = 0xaabbccdd;
            for (uint32_t k = 0; k < 64; k++) {
                *(volatile uint8_t *)(REAL_STACK + k) = (uint8_t)(k + 1);
                *(volatile uint8_t *)(REAL_STACK + 0xffc0 + k) = (uint8_t)(k + 0x81);
            }
            real_run(&r);
            record_case("sp%x", pointers[p], 0, 0, 0);
            line_begin(all[i].name);
            line_value(r.vector), line_value(r.ip), line_value(r.esp), line_value(r.ebp);
            line_value(r.ecx), line_value(r.fs);
            line_end();
        }
}

/* Segments loaded in protected mode, used with CR0.PE clear, before and after a load in real
 * mode: base, limit and kind of what they named. EBX the offset, DX the selector. */
SNIPPET16(keep_read,
          "mov %cr0, %eax; or $1, %al; mov %eax, %cr0; mov %dx, %fs; and $0xfe, %al; mov "
          "%eax, %cr0; jmp 1f; 1: mov %fs:(%ebx), %al" REAL_END);
SNIPPET16(keep_write,
          "mov %cr0, %eax; or $1, %al; mov %eax, %cr0; mov %dx, %fs; and $0xfe, %al; mov "
          "%eax, %cr0; jmp 1f; 1: mov %al, %fs:(%ebx)" REAL_END);
SNIPPET16(keep_reload,
          "mov %cr0, %eax; or $1, %al; mov %eax, %cr0; mov %dx, %fs; and $0xfe, %al; mov "
          "%eax, %cr0; jmp 1f; 1: mov $0x5000, %cx; mov %cx, %fs; mov %fs:(%ebx), %al; "
          "mov %al, %fs:(%ebx)" REAL_END);
SNIPPET16(keep_selector,
          "mov %cr0, %eax; or $1, %al; mov %eax, %cr0; mov %dx, %fs; and $0xfe, %al; "
          "mov %eax, %cr0; jmp 1f; 1: mov %fs, %cx" REAL_END);
SNIPPET16(keep_code,
          "mov %cr0, %eax; or $1, %al; mov %eax, %cr0; jmp 1f; 1: mov %cs, %cx; and $0xfe, "
          "%al; mov %eax, %cr0; mov %cs:(%ebx), %al; mov %al, %cs:(%ebx)" REAL_END);
static void hidden_parts(void) {
    static const struct way all[] = {WAY(keep_read), WAY(keep_write), WAY(keep_reload),
                                     WAY(keep_selector), WAY(keep_code)};
    static const struct {
        const char *name;
        uint32_t limit;
        uint8_t access, flags;
    } kinds[] = {{"bytes", 0x1f, 0x93, 4},  {"bytes-16", 0x1f, 0x93, 0},
                 {"page", 0, 0x93, 8},      {"all", 0xfffff, 0x93, 12},
                 {"64k", 0xffff, 0x93, 0},  {"read-only", 0xffff, 0x91, 0},
                 {"down", 0x1f, 0x97, 4},   {"down-16", 0x1f, 0x97, 0},
                 {"code", 0xffff, 0x9b, 0}, {"ring3", 0x1f, 0xf3, 4}};
    static const uint32_t at[] = {0, 0x1e, 0x1f, 0x20, 0x100, 0xfff, 0x1000, 0xffff, 0x10000};
    record_section("kept");
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            record_case(kinds[k].name, 0, 0, 0, 0);
            line_begin(all[i].name);
            for (unsigned o = 0; o < sizeof at / sizeof *at; o++) {
                gdt_set(KEPT, WINDOW, kinds[k].limit, kinds[k].access, kinds[k].flags);
                struct real r = image(&all[i]);
                *(volatile uint8_t *)(WINDOW + at[o]) = (uint8_t)(0x40 + o);
                *(volatile uint8_t *)(REAL_DATA + at[o]) = (uint8_t)(0x60 + o);
                r.ebx = at[o], r.edx = KEPT, r.ecx = 0;
                r.esp = 0x1000;
                if (all[i].code == keep_code) {
                    r.ebx |= 0x200;
                    *(volatile uint8_t *)(REAL_CODE + (r.ebx & 0xffff)) = (uint8_t)o;
                }
                real_run(&r);
                line_value(r.vector), line_value(r.ip), line_value(r.eax & 0xff);
                line_value(r.ecx), line_value(r.fs);
            }
            line_end();
        }
}

void guest_main(void) {
    record_start();
    paging_off();
    real_start();
    accesses();
    stacks();
    hidden_parts();
    record_finish();
}
