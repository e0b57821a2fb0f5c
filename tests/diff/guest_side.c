/* ring3's side: a guest that is little but page tables, descriptor tables and 34 entry points.
 *
 * Sequences run at CPL 3. Every fault, trap and tick comes through the guest's IDT to the kernel
 * stub (guest_kernel.S), whose OUT is where this file stores the outcome and sets up the next
 * sequence: registers and frame by way of the stub's stack, code by the monitor's writes or the
 * stub's own, vector state in the registers at once. */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "runtime/guest_access.h"
#include "runtime/plugins.h"
#include "runtime/system.h"
#include "tests/diff/diff.h"

#define GENERAL_REGS __attribute__((target("general-regs-only"), noinline))

extern const uint8_t diff_guest_kernel[], diff_guest_kernel_end[];

/* Guest-physical, and at KERNEL linear. */
enum {
    GDT = 0x1000,
    IDT = 0x2000,
    LDT = 0x3000,
    TSS = 0x4000,
    STUBS = 0x5000,
    STACK_TOP = 0x7000,
    PDPT = 0x8000,
    PD_LOW = 0x9000,
    PD_KERNEL = 0xa000,
    PT_CODE = 0xb000,
    PT_DATA = 0xc000,
    STAGE = 0xd000,
    CODE = 0x100000,
    DATA = 0x200000,
};
enum { PORT_BASE = 0x80, VECTOR_TICK = 0x20, VECTOR_START = 0x21, ENTRIES = 0x22 };
enum {
    STUB_BYTES = 16,
    KERNEL_CODE = 0x10,
    KERNEL_DATA = 0x18,
    TSS_SELECTOR = 0x40,
    LDT_SEL = 0x50
};

static struct {
    struct shared *shared;
    const struct runner *runner;
    struct ram ram;
    struct arena arena;
    struct bus bus;
    struct clock clock;
    struct timers timers;
    struct trace trace;
    struct counters counters;
    struct vcpu v;
    bool running;
    unsigned ticks;
    uint32_t stale_at, stale_len;
} m;

static void put(gpa_t at, const void *from, size_t len) { memcpy(m.ram.base + at, from, len); }
static void put32(gpa_t at, uint32_t value) { put(at, &value, 4); }
static void put64(gpa_t at, uint64_t value) { put(at, &value, 8); }
static uint32_t get32(gpa_t at) {
    uint32_t value;
    memcpy(&value, m.ram.base + at, 4);
    return value;
}

/* attr as in struct segment: descriptor bits 40-55. */
static uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t attr) {
    uint32_t low = base << 16 | (limit & 0xffff);
    uint32_t high =
        (base & 0xff000000) | (base >> 16 & 0xff) | (limit & 0xf0000) | (attr & 0xf0ff) << 8;
    return (uint64_t)high << 32 | low;
}

static uint64_t ldt_descriptor(const struct ldt_entry *l) {
    uint32_t type = 1u | (l->closed ? 0 : 2u) | (uint32_t)l->kind << 2;
    uint32_t attr =
        0x4000u | 0x60u | 0x10u | type | (l->pages ? 0x8000u : 0) | (l->absent ? 0 : 0x80u);
    return descriptor(l->base, l->limit, attr);
}

static void make_descriptor_tables(void) {
    static const uint32_t attrs[7] = {0, 0xc09b, 0xc09b, 0xc093, 0xc0fb, 0xc0f3, 0xa0fb};
    for (unsigned i = 1; i < 7; i++)
        put64(GDT + i * 8, descriptor(0, 0xfffff, attrs[i]));
    /* Linux keeps the processor's number in the limit of this one. */
    uint32_t rights = 0, limit = 0, selector = 0x7b;
    cpu_set_t before;
    sched_getaffinity(0, sizeof before, &before);
    stay_on_first_processor();
    __asm__("lar %2, %0; lsl %2, %1" : "+r"(rights), "+r"(limit) : "r"(selector) : "cc");
    sched_setaffinity(0, sizeof before, &before);
    put64(GDT + 15 * 8, descriptor(0, limit, rights >> 8));
    put64(GDT + TSS_SELECTOR, descriptor(KERNEL + TSS, 0x67, 0x008b));
    put64(GDT + LDT_SEL, descriptor(KERNEL + LDT, ldt_count * 8 - 1, 0x0082));
    for (unsigned i = 1; i < ldt_count; i++)
        put64(LDT + i * 8, ldt_descriptor(&ldt_entries[i]));
    for (unsigned i = 0; i < 256; i++) { /* interrupt gates; INT3 and INTO are CPL 3's */
        uint32_t entry = KERNEL + STUBS + (i < ENTRIES - 1 ? i : 0) * STUB_BYTES;
        uint32_t dpl = i == VEC_BP || i == VEC_OF ? 3 : 0;
        put32(IDT + i * 8, (uint32_t)KERNEL_CODE << 16 | (entry & 0xffff));
        put32(IDT + i * 8 + 4, (entry & 0xffff0000) | 0x8e00 | dpl << 13);
    }
    put32(TSS + 4, KERNEL + STACK_TOP);
    put32(TSS + 8, KERNEL_DATA);
    put32(TSS + 0x64, 0x680000); /* no I/O bitmap */
}

static void make_page_tables(void) {
    put64(PDPT + (CODE_AT >> 30) * 8, PD_LOW | PTE_P);
    put64(PDPT + (KERNEL >> 30) * 8, PD_KERNEL | PTE_P);
    put64(PD_LOW + (CODE_AT >> 21 & 511) * 8, PT_CODE | PTE_P | PTE_W | PTE_U);
    put64(PD_LOW + (DATA_AT >> 21 & 511) * 8, PT_DATA | PTE_P | PTE_W | PTE_U);
    for (unsigned i = 0; i < GUEST_RAM >> 21; i++)
        put64(PD_KERNEL + ((KERNEL >> 21 & 511) + i) * 8, i << 21 | PTE_P | PTE_W | PTE_PS);
    for (unsigned i = 0; i < CODE_PAGES; i++)
        put64(PT_CODE + i * 8, (CODE + i * 0x1000u) | PTE_P | PTE_U);
    for (unsigned i = 0; i < DATA_PAGES; i++) {
        bool writable = i == writable_page[0] || i == writable_page[1] || i == writable_page[2];
        if (writable || i == PAGE_READ_ONLY)
            put64(PT_DATA + i * 8,
                  (DATA + i * 0x1000u) | PTE_P | PTE_U | (writable ? PTE_W : 0) | PTE_NX);
    }
}

static void fail(const char *why) {
    snprintf(m.shared->exit_text, sizeof m.shared->exit_text, "%s", why);
    _exit(97);
}

/* The handler's frame: what the CPU has pushed for the sequence. */
static void store_outcome(unsigned vector) {
    const struct cpu *cpu = &m.v.cpu;
    struct outcome *o = &m.shared->outcomes[SIDE_GUEST][m.shared->at[SIDE_GUEST]];
    gpa_t frame = STACK_TOP - 20;
    bool has_error = cpu->gpr[ESP] == KERNEL + frame - 4;
    if ((!has_error && cpu->gpr[ESP] != KERNEL + frame) || (get32(frame + 4) & 3) != 3) {
        snprintf(m.shared->exit_text, sizeof m.shared->exit_text,
                 "exception %u in the guest's kernel, esp %x, cr2 %x, frame %x %x %x", vector,
                 cpu->gpr[ESP], cpu->cr2, get32(cpu->gpr[ESP] - KERNEL),
                 get32(cpu->gpr[ESP] - KERNEL + 4), get32(cpu->gpr[ESP] - KERNEL + 8));
        _exit(97);
    }
    o->ending = vector == VECTOR_TICK ? ENDED_TIMEOUT : ENDED_TRAP;
    o->trap = (int)vector;
    o->error = has_error ? get32(frame - 4) : 0;
    o->cr2 = vector == VEC_PF ? cpu->cr2 : 0;
    memcpy(o->out.gpr, cpu->gpr, sizeof o->out.gpr);
    o->out.eip = get32(frame);
    o->out.eflags = get32(frame + 8);
    o->out.gpr[ESP] = get32(frame + 12);
    for (unsigned i = 0; i < 6; i++)
        o->out.seg[i] = cpu->seg[i].selector;
    o->out.seg[SEG_CS] = (uint16_t)get32(frame + 4);
    o->out.seg[SEG_SS] = (uint16_t)get32(frame + 16);
    for (unsigned i = 0; i < WRITABLE_PAGES; i++)
        memcpy(o->memory + i * 0x1000u, m.ram.base + DATA + writable_page[i] * 0x1000u, 0x1000);
}

/* What the stub will pop, and the registers of its copy. */
static void resume_with(const struct state *s) {
    struct cpu *cpu = &m.v.cpu;
    gpa_t frame = STACK_TOP - 17 * 4;
    for (unsigned i = 0; i < 8; i++)
        put32(frame + i * 4, s->gpr[7 - i]);
    put32(frame + 32, s->seg[SEG_GS]);
    put32(frame + 36, s->seg[SEG_FS]);
    put32(frame + 40, s->seg[SEG_ES]);
    put32(frame + 44, s->seg[SEG_DS]);
    put32(frame + 48, s->eip);
    put32(frame + 52, s->seg[SEG_CS]);
    put32(frame + 56, s->eflags);
    put32(frame + 60, s->gpr[ESP]);
    put32(frame + 64, s->seg[SEG_SS]);
    cpu->gpr[ESP] = KERNEL + (uint32_t)frame;
    cpu->gpr[ECX] = cpu->gpr[EBX] = 0;
}

static void write_code(uint32_t offset, const void *bytes, uint32_t len) {
    if (len && !guest_write(&m.v, KERNEL + CODE + offset, bytes, len, true))
        fail("the code pages cannot be written");
}

static void place_code(const struct job *job) {
    static uint8_t stop[SEQUENCE_CODE];
    struct cpu *cpu = &m.v.cpu;
    memset(stop, 0xcc, sizeof stop);
    write_code(m.stale_at, stop, m.stale_len);
    m.stale_at = job->code_at - CODE_AT;
    m.stale_len = job->code_len;
    if (!job->guest_writes_code) {
        write_code(m.stale_at, job->code, job->code_len);
        return;
    }
    uint32_t lead = m.stale_at & 3, words = (lead + job->code_len + 3) / 4;
    memset(m.ram.base + STAGE, 0xcc, words * 4);
    put(STAGE + lead, job->code, job->code_len);
    cpu->gpr[ESI] = KERNEL + STAGE;
    cpu->gpr[EDI] = KERNEL + CODE + m.stale_at - lead;
    cpu->gpr[ECX] = words;
}

static void set_up(const struct job *job) {
    const uint8_t *image = m.shared->images[job->image];
    for (unsigned i = 0; i < WRITABLE_PAGES; i++)
        put(DATA + writable_page[i] * 0x1000u, image + writable_page[i] * 0x1000u, 0x1000);
    for (unsigned i = 0; i < job->patch_count; i++)
        put32(DATA + (job->patches[i].at - DATA_AT), job->patches[i].value);
    resume_with(&job->in);
    place_code(job);
    m.v.cpu.gpr[EBX] = job->flush;
    m.ticks = 0;
    m.running = true;
}

/* Waits for a batch where one is done. */
static void next_job(void) {
    struct shared *s = m.shared;
    m.running = false;
    if (++s->at[SIDE_GUEST] >= s->count) {
        runner_done(m.runner);
        runner_wait(m.runner);
        s->at[SIDE_GUEST] = 0;
    }
    set_up(&s->jobs[s->at[SIDE_GUEST]]);
}

/* A tick that did not end the sequence: it goes on as if nothing had been. */
static void resume_interrupted(void) {
    struct state s;
    const struct cpu *cpu = &m.v.cpu;
    gpa_t frame = STACK_TOP - 20;
    memcpy(s.gpr, cpu->gpr, sizeof s.gpr);
    s.eip = get32(frame);
    s.eflags = get32(frame + 8);
    s.gpr[ESP] = get32(frame + 12);
    for (unsigned i = 0; i < 6; i++)
        s.seg[i] = cpu->seg[i].selector;
    s.seg[SEG_CS] = (uint16_t)get32(frame + 4);
    s.seg[SEG_SS] = (uint16_t)get32(frame + 16);
    resume_with(&s);
}

/* XSAVE's header, word by word: a library's memset would use vector registers. */
GENERAL_REGS static void clear_header(uint8_t *image) {
    for (unsigned i = 0; i < 8; i++)
        ((volatile uint64_t *)(image + 512))[i] = 0;
}

/* The vector registers hold the sequence's state before and after this function: what runs in
 * between may use them. */
GENERAL_REGS static void on_entry(void *device, uint16_t port, uint32_t value, unsigned size) {
    static struct state scratch;
    struct shared *s = m.shared;
    unsigned vector = port - PORT_BASE;
    uint8_t *image = scratch.vector;
    (void)device, (void)value, (void)size;
    if (vector != VECTOR_START)
        image = s->outcomes[SIDE_GUEST][s->at[SIDE_GUEST]].out.vector;
    clear_header(image);
    __asm__ volatile("xsave %0" : "+m"(*(uint8_t(*)[VECTOR_BYTES])image) : "a"(7), "d"(0));
    if (vector == VECTOR_TICK && m.ticks < 2) {
        resume_interrupted();
        __asm__ volatile("xrstor %0" : : "m"(*(uint8_t(*)[VECTOR_BYTES])image), "a"(7), "d"(0));
        return;
    }
    if (vector != VECTOR_START)
        store_outcome(vector);
    next_job();
    image = s->jobs[s->at[SIDE_GUEST]].in.vector;
    __asm__ volatile("xrstor %0" : : "m"(*(uint8_t(*)[VECTOR_BYTES])image), "a"(7), "d"(0));
}

GENERAL_REGS static uint32_t on_read(void *device, uint16_t port, unsigned size) {
    (void)device, (void)port, (void)size;
    return 0;
}

/* The engine's attention: SIGALRM comes every TICK_MS. */
GENERAL_REGS static void on_poll(void *opaque) {
    (void)opaque;
    if (m.running && ++m.ticks >= 2)
        vcpu_set_intr(&m.v, true);
}

GENERAL_REGS static int acknowledge(void *pic) {
    (void)pic;
    vcpu_set_intr(&m.v, false);
    return VECTOR_TICK;
}

static void set_segment(struct segment *segment, uint16_t selector, uint32_t base, uint32_t limit,
                        uint16_t attr) {
    *segment = (struct segment){
        .selector = selector, .base = base, .limit = limit, .attr = attr, .usable = true};
}

static void set_up_cpu(void) {
    struct cpu *cpu = &m.v.cpu;
    vcpu_reset(&m.v);
    cpu->paging.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
    cpu->paging.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    cpu->paging.efer = EFER_NXE;
    cpu->paging.cr3 = PDPT;
    for (unsigned i = 0; i < 4; i++)
        memcpy(&cpu->paging.pdpte[i], m.ram.base + PDPT + i * 8, 8);
    cpu->xcr0 = 7;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        set_segment(&cpu->seg[i], i == SEG_CS ? KERNEL_CODE : KERNEL_DATA, 0, UINT32_MAX,
                    i == SEG_CS ? 0xc09b : 0xc093);
        cpu_segment_changed(cpu, &cpu->seg[i]);
    }
    set_segment(&cpu->tr, TSS_SELECTOR, KERNEL + TSS, 0x67, 0x8b);
    set_segment(&cpu->ldt, LDT_SEL, KERNEL + LDT, ldt_count * 8 - 1, 0x82);
    cpu->gdt = (struct table_register){KERNEL + GDT, 0x7f};
    cpu->idt = (struct table_register){KERNEL + IDT, 0x7ff};
    cpu->eip = KERNEL + STUBS + VECTOR_START * STUB_BYTES;
    cpu->gpr[ESP] = KERNEL + STACK_TOP;
    cpu_update_mode(cpu, 0);
}

static void set_up_machine(void) {
    if (ram_create(&m.ram, GUEST_RAM) || ram_allocate(&m.ram, 0, 0xa0000) ||
        ram_allocate(&m.ram, 0x100000, GUEST_RAM - 0x100000) || arena_create(&m.arena, 1u << 20))
        fail("no memory for the guest");
    bus_init(&m.bus, &m.arena, &m.trace, &m.counters);
    bus_claim(&m.bus, "diff", PORT_BASE, ENTRIES, on_read, on_entry, NULL);
    timers_init(&m.timers);
    clock_start(&m.clock);
    m.v.ram = &m.ram;
    m.v.bus = &m.bus;
    m.v.clock = &m.clock;
    m.v.timers = &m.timers;
    m.v.trace = &m.trace;
    m.v.counters = &m.counters;
    m.v.pic.acknowledge = acknowledge;
    make_descriptor_tables();
    make_page_tables();
    put(STUBS, diff_guest_kernel, (size_t)(diff_guest_kernel_end - diff_guest_kernel));
    memset(m.ram.base + CODE, 0xcc, CODE_BYTES);
    put(DATA, m.shared->images[0], DATA_BYTES);
    set_up_cpu();
}

_Noreturn void guest_side(struct shared *shared, const struct runner *runner,
                          const struct engine_options *options, const char *plugin) {
    static struct plugins plugins;
    struct error error;
    struct engine_options engine = *options;
    sigset_t all;
    m.shared = shared;
    m.runner = runner;
    set_up_machine();
    engine.poll = on_poll;
    if (plugin && plugins_load(&plugins, plugin, &error)) {
        snprintf(shared->exit_text, sizeof shared->exit_text, "%.200s", error.text);
        _exit(96);
    }
    m.v.plugins = plugin ? &plugins : NULL;
    shared->at[SIDE_GUEST] = UINT32_MAX; /* the first OUT takes job 0 */
    runner_wait(runner);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    runner_tick();
    engine_run(&m.v, &engine);
    snprintf(shared->exit_text, sizeof shared->exit_text,
             "reason %d at %x, vector %u, cr2 %x: %.150s", m.v.exit, m.v.cpu.eip, m.v.fault.vector,
             m.v.fault.cr2, m.v.exit_text);
    _exit(96);
}
