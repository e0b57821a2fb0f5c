/* Records on the debug console: see record.h. */
#include "tests/system/record.h"

static const char *section;
static char case_name[96];
static unsigned names;
static uint8_t kernel_stack[8192] __attribute__((aligned(16)));

void record_start(void) {
    console_to_debug_port();
    stage_start();
    __asm__ volatile("fninit"); /* the entry says nothing about the x87 */
    gdt_set(RING1_CS, 0, 0xfffff, 0xbb, 0xc);
    gdt_set(RING1_DS, 0, 0xfffff, 0xb3, 0xc);
    gdt_set(RING2_CS, 0, 0xfffff, 0xdb, 0xc);
    gdt_set(RING2_DS, 0, 0xfffff, 0xd3, 0xc);
}

void record_section(const char *name) {
    section = name;
    case_name[0] = 0;
}

static char *put_number(char *to, uint32_t value) {
    char digits[8];
    unsigned n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value);
    while (n)
        *to++ = digits[--n];
    return to;
}

/* %x is the next value; nothing else is known. */
void record_case(const char *format, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    const uint32_t values[] = {a, b, c, d};
    unsigned next = 0;
    char *to = case_name;
    for (; *format && to < case_name + sizeof case_name - 12; format++) {
        if (format[0] == '%' && format[1] == 'x' && next < 4) {
            to = put_number(to, values[next++]);
            format++;
        } else {
            *to++ = *format;
        }
    }
    *to = 0;
}

static void print_name(const char *name) {
    names++;
    print("= %s%s%s%s%s ", section ? section : "", section ? "." : "", case_name,
          case_name[0] && name ? "." : "", name ? name : "");
}

void record_text(const char *name, const char *text) {
    print_name(name);
    print("%s\n", text);
}

void record_value(const char *name, uint32_t value) {
    print_name(name);
    print("%08x\n", value);
}

void record_skipped(const char *name, const char *reason) {
    print_name(name);
    print("skipped: %s\n", reason);
}

void record_outcome(const char *name, const struct machine *m, uint32_t eip, uint32_t esp) {
    uint32_t distance = m->eip - eip;
    print_name(name);
    if (m->vector == VECTOR_DONE)
        print("done");
    else
        print("%02x(%x)", m->vector, m->error);
    if (distance < 64)
        print(" at +%u", distance);
    else
        print(" at %08x", m->eip);
    print(" flags %06x esp %d", m->eflags & ~NO_FLAGS, (int32_t)(m->esp - esp));
    if (m->vector == VECTOR_PF)
        print(" cr2 %08x", m->cr2);
    print("\n");
}

void record_run(const char *name, struct machine *m) {
    uint32_t eip = m->eip, esp = m->esp;
    guest_run(m);
    record_outcome(name, m, eip, esp);
}

void line_begin(const char *name) { print_name(name); }
void line_end(void) { print("\n"); }
void line_text(const char *text) { print("%s ", text); }
void line_value(uint32_t value) { print("%x ", value); }

void line_flags(uint32_t flags) { print(" flags %06x ", flags & ~NO_FLAGS); }

void line_outcome(const struct machine *m, uint32_t selector) {
    if (m->vector == VECTOR_DONE)
        print("ok ");
    else if (m->error && m->error == (selector & 0xfffc))
        print("%02x:s ", m->vector);
    else
        print("%02x:%x ", m->vector, m->error);
}

static volatile uint32_t *descriptor(uint32_t selector) {
    return word_at(gdt_address() + (selector & ~7u));
}

void set_descriptor(uint32_t selector, uint32_t low, uint32_t high) {
    descriptor(selector)[0] = low;
    descriptor(selector)[1] = high;
}

void set_flat(uint32_t selector, uint8_t access) {
    bool expands_down = (access & 0x1c) == 0x14;
    gdt_set(selector, 0, expands_down ? 0 : 0xfffff, access, expands_down ? 4 : 12);
}

uint8_t access_of(uint32_t selector) { return (uint8_t)(descriptor(selector)[1] >> 8); }

void set_call_gate(uint32_t selector, uint32_t target, uint32_t offset, uint8_t access,
                   uint8_t count) {
    set_descriptor(selector, target << 16 | (offset & 0xffff),
                   (offset & 0xffff0000) | (uint32_t)access << 8 | count);
}

void set_idt_gate(unsigned vector, uint32_t target, uint32_t offset, uint8_t access) {
    volatile uint32_t *gate = word_at(idt_address() + vector * 8);
    gate[0] = target << 16 | (offset & 0xffff);
    gate[1] = (offset & 0xffff0000) | (uint32_t)access << 8;
}

void restore_stack_segment(void) { __asm__ volatile("mov %0, %%ss" : : "r"(KERNEL_DS)); }

volatile uint32_t *tss_word(uint32_t offset) {
    volatile uint32_t *d = descriptor(TSS_SELECTOR);
    return word_at((d[0] >> 16 | (d[1] & 0xff) << 16 | (d[1] & 0xff000000)) + offset);
}

struct machine ring_at(unsigned ring, const uint8_t *code, uint32_t size) {
    static const uint16_t code_segments[] = {KERNEL_CS, RING1_CS, RING2_CS, USER_CS};
    static const uint16_t data_segments[] = {KERNEL_DS, RING1_DS, RING2_DS, USER_DS};
    struct machine m = stage_at(ring ? 3 : 0, CODE, code, size);
    m.cs = code_segments[ring];
    m.ss = m.ds = m.es = m.fs = m.gs = data_segments[ring];
    if (ring == 0) /* with room above, for what pops more than it has pushed */
        m.esp = address_of(kernel_stack + sizeof kernel_stack - 64);
    return m;
}

/* 0x8900 is Bochs's way out, 0xf4 that of ring3 and QEMU; both ports are nobody's elsewhere. */
void record_finish(void) {
    static const char word[] = "Shutdown";
    print("= records %u\n", names);
    for (const char *at = word; *at; at++)
        outb(0x8900, (uint8_t)*at);
    guest_exit(0);
}
