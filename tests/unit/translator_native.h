/* Both sides of a differential test of single instructions: the real processor in 32-bit
 * compatibility mode, and translated code in a window, each entered with the same registers,
 * flags, vector state and memory, and left with whatever came of it.
 *
 * The native side is a far jump to the kernel's 32-bit code segment; behind the instruction and at
 * every branch target stands a far jump back. Faults of either side end in one signal handler. */
#ifndef RING3_TESTS_TRANSLATOR_NATIVE_H
#define RING3_TESTS_TRANSLATOR_NATIVE_H

#include <asm/ldt.h>
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "memory/shadow.h"
#include "runtime/cpu_offsets.h"
#include "runtime/engine_private.h"
#include "runtime/guest_access.h"
#include "runtime/mmu.h"
#include "runtime/segment_access.h"
#include "runtime/system.h"
#include "runtime/vector_state.h"
#include "translator/translate.h"

/* Guest linear addresses, the same on both sides. */
#define CODE_AT 0x10002800u
#define CODE_AREA 0x10000000u
#define CODE_BYTES 0x6000u
#define DATA_AT 0x20000000u
#define DATA_BYTES 0x2000u
#define SEGMENT_BASE (DATA_AT - 0x4560u) /* of FS and GS where they are based */
#define RETURN_AT 0x30000000u            /* the way back to 64-bit mode */

#define VECTOR_BYTES 832u /* XSAVE image of x87, SSE and AVX */
#define TRAP_NONE (-1)

struct outcome {
    uint32_t gpr[8];
    uint32_t flags, eip, cr2;
    int trap;
    uint8_t vector[VECTOR_BYTES] __attribute__((aligned(64)));
};

/* Reached by the assembly below: offsets matter. */
struct native_io {
    uint32_t gpr[8];
    uint32_t flags, unused;
    uint64_t host_rsp;   /* 40 */
    uint32_t far_offset; /* 48 */
    uint16_t far_selector, gs;
    uint16_t ds, es, ss, pad;     /* 56 */
    uint8_t vector[VECTOR_BYTES]; /* 64 */
};
struct native_io native_io __attribute__((aligned(64), visibility("hidden")));
void native_enter(void);
void native_return(void);
void native_faulted(void);
int translated_enter(struct cpu *cpu, const void *code, uint8_t *vector);

__asm__(".text\n"
        "native_enter:\n"
        "push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n"
        "mov %rsp, native_io+40(%rip)\n"
        "movzwl native_io+56(%rip), %eax; mov %eax, %ds\n"
        "movzwl native_io+58(%rip), %eax; mov %eax, %es\n"
        "movzwl native_io+60(%rip), %eax; mov %eax, %ss\n"
        "movzwl native_io+54(%rip), %eax; mov %eax, %gs\n"
        "mov $7, %eax; xor %edx, %edx; xrstor native_io+64(%rip)\n"
        "mov native_io+32(%rip), %eax; push %rax; popfq\n"
        "mov native_io+0(%rip), %eax; mov native_io+4(%rip), %ecx\n"
        "mov native_io+8(%rip), %edx; mov native_io+12(%rip), %ebx\n"
        "mov native_io+20(%rip), %ebp; mov native_io+24(%rip), %esi\n"
        "mov native_io+28(%rip), %edi; mov native_io+16(%rip), %esp\n"
        "ljmp *native_io+48(%rip)\n"
        "native_return:\n"
        "mov %eax, native_io+0(%rip); mov %ecx, native_io+4(%rip)\n"
        "mov %edx, native_io+8(%rip); mov %ebx, native_io+12(%rip)\n"
        "mov %esp, native_io+16(%rip); mov %ebp, native_io+20(%rip)\n"
        "mov %esi, native_io+24(%rip); mov %edi, native_io+28(%rip)\n"
        "mov $0x2b, %eax; mov %eax, %ss\n"
        "mov native_io+40(%rip), %rsp\n"
        "pushfq; pop %rax; mov %eax, native_io+32(%rip)\n"
        "native_faulted:\n" /* the handler has stored the registers */
        "cld; mov native_io+40(%rip), %rsp\n"
        "lea native_io+64(%rip), %rdi; mov $832, %ecx; xor %eax, %eax; rep stosb\n"
        "mov $7, %eax; xor %edx, %edx; xsave native_io+64(%rip)\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp\n"
        "ret\n"
        "translated_enter:\n"
        "push %rbx; mov %rdx, %rbx\n"
        "mov $7, %eax; xor %edx, %edx; xrstor (%rbx)\n"
        "call engine_enter\n"
        "cld; mov %eax, %esi; mov %rbx, %rdi; mov $832, %ecx; xor %eax, %eax; rep stosb\n"
        "mov $7, %eax; xor %edx, %edx; xsave (%rbx)\n"
        "mov %esi, %eax; pop %rbx\n"
        "ret\n");

/* What one side has of the guest. */
struct side {
    uint8_t *data, *code;
};

static struct {
    struct side native, window; /* `window` is both windows: their memory is one memfd */
    uint32_t *landed;           /* where the native side came out */
    uint16_t ldt_selector;
    uint32_t code_base; /* of CS */
    bool limits;        /* segments have limits: they are checked */
    struct vcpu v;
    struct {
        uint64_t slots[JUMP_CACHE_SLOTS];
        uint64_t name[(JUMP_CACHE_FIXED_OFFSET - JUMP_CACHE_NAME_OFFSET) / 8];
    } jump_cache;
    uint64_t returns[1024]; /* host return addresses */
    uint8_t *emitted;       /* writable and executable: tests only */
    struct translation out; /* of the fragment in it */
    bool in_native;
    struct outcome *faulted;
    uint64_t gs_base; /* of translated code */
    bool missed;      /* the last fault was beside the window */
    unsigned callout; /* the last one that was not answered */
    uint32_t callout_arg;
} dual;

#define EMITTED_BYTES 0x4000u
#define COLD_AT 0x3000u /* in it: code that is rarely executed, where it is apart */
#define NO_CALLOUT CALLOUT_COUNT

static inline uintptr_t window_base(unsigned number) {
    return WINDOW_REGION + number * WINDOW_STRIDE + WINDOW_GUARD;
}

static inline void *map_at(uintptr_t at, size_t size, int prot, int fd) {
    void *got =
        mmap((void *)at, size, prot,
             MAP_FIXED_NOREPLACE | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED), fd, 0);
    ck_assert_msg(got == (void *)at, "mapping at %zx", (size_t)at);
    return got;
}

/* ljmp 0x33:way back, of 16-bit code with 66h; and behind it, in 64-bit mode: note where we came
 * from, then leave. */
static inline void put_landing(uint32_t at, unsigned number, bool code16) {
    uint8_t *pad = dual.native.code + (at - CODE_AREA);
    uint32_t way = RETURN_AT + 0x40 + number * 0x40;
    uint8_t *back = (uint8_t *)(uintptr_t)way;
    uint64_t target = (uint64_t)(uintptr_t)native_return;
    int32_t distance = (int32_t)(RETURN_AT - (way + 10));
    if (code16)
        *pad++ = 0x66;
    pad[0] = 0xea;
    memcpy(pad + 1, &way, 4);
    memcpy(pad + 5, &(uint16_t){0x33}, 2);
    memcpy(back, (const uint8_t[]){0xc7, 0x05}, 2); /* mov dword [rip + distance], at */
    memcpy(back + 2, &distance, 4);
    memcpy(back + 6, &(uint32_t){at - dual.code_base}, 4);
    memcpy(back + 10, (const uint8_t[]){0xff, 0x25, 0, 0, 0, 0}, 6); /* jmp [rip] */
    memcpy(back + 16, &target, 8);
}

static const int dual_regs[8] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX,
                                 REG_RSP, REG_RBP, REG_RSI, REG_RDI};

static inline void native_fault(greg_t *regs) {
    for (unsigned i = 0; i < 8; i++)
        native_io.gpr[i] = (uint32_t)regs[dual_regs[i]];
    native_io.flags = (uint32_t)regs[REG_EFL];
    *dual.landed = (uint32_t)regs[REG_RIP];
    regs[REG_RIP] = (greg_t)(uintptr_t)native_faulted;
    regs[REG_CSGSFS] = (greg_t)(((uint64_t)regs[REG_CSGSFS] & 0x0000ffffffff0000u) | 0x33 |
                                0x2bull << 48); /* CS and SS */
    regs[REG_EFL] &= ~(greg_t)FL_DF;
}

/* As the engine does it: host pc -> guest instruction, undo, registers. */
static inline void translated_fault(greg_t *regs, struct outcome *o) {
    struct cpu *cpu = &dual.v.cpu;
    uint32_t offset = (uint32_t)((uintptr_t)regs[REG_RIP] - (uintptr_t)dual.emitted);
    const struct insn_map *insn = dual.out.map;
    for (unsigned i = 1; i < dual.out.insn_count && dual.out.map[i].host <= offset; i++)
        insn = &dual.out.map[i];
    if (insn->undo == UNDO_POINTERS && (regs[REG_RSI] | regs[REG_RDI]) >> 32) {
        regs[REG_RSI] = regs[REG_R8];
        regs[REG_RDI] = regs[REG_R9];
    }
    if (insn->undo & UNDO_SWAP_BYTES) {
        greg_t *reg = &regs[dual_regs[insn->undo & 3u]];
        uint64_t value = (uint64_t)*reg;
        *reg = (greg_t)((value & ~0xffffull) | (value & 0xff) << 8 | (value >> 8 & 0xff));
    }
    for (unsigned i = 0; i < 8; i++)
        cpu->gpr[i] = (uint32_t)regs[i == ESP ? REG_R12 : dual_regs[i]];
    uint32_t pending = (uint32_t)(int32_t)insn->esp;
    cpu->gpr[ESP] += pending;
    cpu->flags = (uint32_t)regs[REG_EFL];
    cpu->eip = CODE_AT - dual.code_base + insn->guest;
    dual.missed = o->trap == 14 && (uint64_t)regs[REG_CR2] - dual.gs_base >= WINDOW_SIZE;
    o->cr2 = (uint32_t)((uint64_t)regs[REG_CR2] & UINT32_MAX); /* bases are multiples of 4 GiB */
    regs[REG_RAX] = LEAVE_FAULT;
    regs[REG_R15] = (greg_t)(uintptr_t)cpu;
    regs[REG_RIP] = (greg_t)(uintptr_t)engine_leave_saved;
    regs[REG_EFL] &= ~(greg_t)FL_DF;
}

static inline void dual_on_fault(int signal, siginfo_t *info, void *context) {
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    uintptr_t pc = (uintptr_t)regs[REG_RIP];
    (void)info;
    if (!dual.faulted || (!dual.in_native && pc - (uintptr_t)dual.emitted >= EMITTED_BYTES)) {
        psignal(signal, "a fault of the test itself");
        _exit(99);
    }
    dual.faulted->trap = (int)regs[REG_TRAPNO];
    dual.faulted->cr2 = (uint32_t)regs[REG_CR2];
    if (dual.in_native)
        native_fault(regs);
    else
        translated_fault(regs, dual.faulted);
    if (dual.faulted->trap != 14)
        dual.faulted->cr2 = 0;
}

/* The monitor's own accesses, for the callouts that are answered: only the data area is there. */
static inline bool dual_access(uint32_t gva, uint32_t len, bool write) {
    for (uint32_t i = 0; i < len; i++)
        if (gva + i - DATA_AT >= DATA_BYTES) {
            fault_raise_error(&dual.v, VEC_PF, write ? PF_WRITE : 0);
            dual.v.fault.cr2 = gva + i;
            return false;
        }
    return true;
}
bool guest_read(struct vcpu *v, gva_t gva, void *to, uint32_t len, bool system) {
    (void)v, (void)system;
    bool there = dual_access(gva, len, false);
    if (there)
        memcpy(to, dual.window.data + (gva - DATA_AT), len);
    return there;
}
bool guest_write(struct vcpu *v, gva_t gva, const void *from, uint32_t len, bool system) {
    (void)v, (void)system;
    bool there = dual_access(gva, len, true);
    if (there)
        memcpy(dual.window.data + (gva - DATA_AT), from, len);
    return there;
}
bool guest_probe_write(struct vcpu *v, gva_t gva, uint32_t len, bool system) {
    (void)v, (void)system;
    return dual_access(gva, len, true);
}

/* Named by the state's reset, which nothing here calls. */
void mmu_cr3_loaded(struct vcpu *v) { (void)v; }
void mmu_paging_changed(struct vcpu *v) { (void)v; }
void mmu_invlpg(struct vcpu *v, gva_t gva) { (void)v, (void)gva; }
void mmu_retranslate_all(struct vcpu *v) { (void)v; }

/* Callouts that stand for an unprivileged instruction, and need nothing of the engine. */
static inline callout_fn answered_callout(uint32_t id) {
    static const struct {
        uint32_t id;
        callout_fn handler;
    } list[] = {
        {CALLOUT_string, callout_string}, {CALLOUT_enter, callout_enter},
        {CALLOUT_daa, callout_daa},       {CALLOUT_das, callout_das},
        {CALLOUT_aaa, callout_aaa},       {CALLOUT_aas, callout_aas},
        {CALLOUT_aam, callout_aam},       {CALLOUT_aad, callout_aad},
        {CALLOUT_salc, callout_salc},     {CALLOUT_pusha, callout_pusha},
        {CALLOUT_popa, callout_popa},     {CALLOUT_gather, callout_gather},
    };
    for (unsigned i = 0; i < sizeof list / sizeof *list; i++)
        if (list[i].id == id)
            return list[i].handler;
    return NULL;
}

static inline unsigned stop_with(uint32_t id, uint32_t arg) {
    dual.callout = id;
    dual.callout_arg = arg;
    return LEAVE_STOP;
}

static inline unsigned check_access(struct vcpu *v, uint32_t arg, uint32_t operand) {
    uint32_t kind = CHECK_KIND(arg), segment = CHECK_SEGMENT(arg);
    bool ok = kind == ACCESS_FETCH
                  ? operand <= v->cpu.seg[segment].limit || fault_raise_gp(v, 0) != CALLOUT_FAULT
                  : segment_access(v, segment, operand, CHECK_SIZE(arg), kind == ACCESS_WRITE,
                                   &v->cpu.result2);
    return ok ? LEAVE_NEXT_ : stop_with(CALLOUT_raise, v->fault.vector);
}

const void *engine_missed(struct vcpu *v) {
    (void)v;
    return NULL;
}

/* Callouts of fragments arrive here: some are answered, the rest stops. */
unsigned engine_callout(struct vcpu *v, uint32_t id, uint32_t arg, uint32_t operand) {
    struct cpu *cpu = &v->cpu;
    bool write_to_code =
        id == CALLOUT_check && CHECK_SEGMENT(arg) == SEG_CS && CHECK_KIND(arg) == ACCESS_WRITE;
    callout_fn handler = answered_callout(id);
    if (id == CALLOUT_check && dual.limits)
        return check_access(v, arg, operand);
    if (write_to_code)
        return stop_with(CALLOUT_raise, VEC_GP);
    if (id == CALLOUT_check) {
        cpu->result2 = cpu->seg[CHECK_SEGMENT(arg)].base + operand;
        return LEAVE_NEXT_;
    }
    enum callout_result result = handler ? handler(v, arg, operand) : CALLOUT_EXIT;
    if (result == CALLOUT_NEXT)
        return LEAVE_NEXT_;
    return result == CALLOUT_FAULT ? stop_with(CALLOUT_raise, v->fault.vector) : stop_with(id, arg);
}

static inline void set_up_segments(void) {
    native_io.far_selector = 0x23;
    native_io.ds = native_io.es = native_io.ss = 0x2b;
    struct user_desc based = {.entry_number = 1,
                              .base_addr = SEGMENT_BASE,
                              .limit = 0xfffff,
                              .seg_32bit = 1,
                              .limit_in_pages = 1,
                              .useable = 1};
    if (syscall(SYS_modify_ldt, 1, &based, sizeof based) == 0)
        dual.ldt_selector = 1 << 3 | 7;
    struct cpu *cpu = &dual.v.cpu;
    static const uint16_t selectors[SEG_COUNT] = {0x2b, 0x23, 0x2b, 0x2b, 0, 0};
    for (unsigned i = 0; i < SEG_COUNT; i++)
        cpu->seg[i] = (struct segment){.selector = selectors[i],
                                       .attr = i == SEG_CS ? 0xc0fb : 0xc0f3,
                                       .limit = UINT32_MAX,
                                       .usable = true};
    cpu->seg[SEG_FS].base = cpu->seg[SEG_GS].base = SEGMENT_BASE;
    cpu->seg[SEG_GS].selector = native_io.gs = dual.ldt_selector;
}

static inline void set_up_cpu(void) {
    struct cpu *cpu = &dual.v.cpu;
    static struct engine engine; /* for its vector area alone */
    static uint8_t vector_area[VECTOR_AREA_SIZE] __attribute__((aligned(64)));
    engine.vector_area = vector_area;
    engine.use_xsave = true;
    dual.v.engine = &engine;
    for (unsigned i = 0; i < JUMP_CACHE_SLOTS; i++)
        dual.jump_cache.slots[i] = (uint64_t)(uintptr_t)stub_miss;
    cpu->victims = (uint64_t)(uintptr_t)engine.victims;
    cpu->stubs[STUB_CALLOUT] = (uint64_t)(uintptr_t)stub_callout;
    cpu->stubs[STUB_CHAIN] = (uint64_t)(uintptr_t)stub_chain;
    cpu->stubs[STUB_MISS] = (uint64_t)(uintptr_t)stub_miss;
    cpu->stubs[STUB_ATTENTION] = (uint64_t)(uintptr_t)stub_attention;
    cpu->stubs[STUB_RETURN] = (uint64_t)(uintptr_t)stub_return;
    cpu->stubs[STUB_LEAVE] = (uint64_t)(uintptr_t)stub_leave_miss;
    cpu->stubs[STUB_REACH] = (uint64_t)(uintptr_t)stub_reach;
    cpu->stubs[STUB_REACH_READ] = (uint64_t)(uintptr_t)stub_reach_read;
    cpu->stubs[STUB_LOAD_SEGMENT] = (uint64_t)(uintptr_t)stub_load_segment;
    cpu_forget_all_loaded(cpu);
    cpu->jump_cache = (uint64_t)(uintptr_t)&dual.jump_cache;
    cpu->super_window = window_base(0);
    cpu_place_segments(cpu);
    cpu->user_window = window_base(1);
    cpu->window = window_base(0);
    cpu->iflag = FL_IF;
    for (unsigned i = 0; i < 256; i++)
        cpu->granule_window[i] = window_base(i & 1);
}

static inline void dual_set_up(void) {
    static uint8_t stack[64 * 1024];
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    struct sigaction action = {.sa_sigaction = dual_on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    memset(&dual, 0, sizeof dual);
    ck_assert_int_eq(sigaltstack(&alternate, NULL), 0);
    for (unsigned i = 0; i < sizeof faults / sizeof *faults; i++)
        ck_assert_int_eq(sigaction(faults[i], &action, NULL), 0);
    int all = PROT_READ | PROT_WRITE | PROT_EXEC;
    int fd = memfd_create("window", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(fd, DATA_BYTES), 0);
    dual.native.code = map_at(CODE_AREA, CODE_BYTES, all, -1);
    dual.native.data = map_at(DATA_AT, DATA_BYTES, PROT_READ | PROT_WRITE, -1);
    map_at(RETURN_AT, PAGE_SIZE, all, -1);
    dual.landed = (uint32_t *)(uintptr_t)RETURN_AT;
    dual.window.data = map_at(window_base(0) + DATA_AT, DATA_BYTES, PROT_READ | PROT_WRITE, fd);
    map_at(window_base(1) + DATA_AT, DATA_BYTES, PROT_READ | PROT_WRITE, fd);
    dual.emitted = mmap(NULL, EMITTED_BYTES, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(dual.emitted, MAP_FAILED);
    set_up_segments();
    set_up_cpu();
}

/* An XSAVE image leaves out what is in its initial state; comparing wants it spelt out. FOP, FIP
 * and FDP name addresses, which differ by design. */
static inline void normalise_vector(uint8_t *image) {
    if (!(image[512] & 1))
        memcpy(image, (const uint8_t[]){0x7f, 0x03, 0, 0, 0, 0}, 6);
    memset(image + 6, 0, 18);
    memset(image + 28, 0, 4); /* MXCSR_MASK */
    memset(image + 464, 0, 48);
    memset(image + 512, 0, 64);
}

static inline void run_native(const struct outcome *in, struct outcome *out) {
    memcpy(native_io.gpr, in->gpr, sizeof in->gpr);
    memcpy(native_io.vector, in->vector, VECTOR_BYTES);
    native_io.flags = in->flags | FL_ONE | FL_IF;
    native_io.far_offset = CODE_AT - dual.code_base;
    *out = (struct outcome){.trap = TRAP_NONE};
    dual.faulted = out;
    dual.in_native = true;
    native_enter();
    dual.in_native = false;
    dual.faulted = NULL;
    memcpy(out->gpr, native_io.gpr, sizeof out->gpr);
    memcpy(out->vector, native_io.vector, VECTOR_BYTES);
    out->flags = native_io.flags & FL_HOST;
    out->eip = *dual.landed;
    normalise_vector(out->vector);
}

/* Enters what translate_block left in `dual.emitted`. Returns the reason for coming back. */
static inline int run_translated(const struct outcome *in, uint32_t mode, struct outcome *out) {
    struct cpu *cpu = &dual.v.cpu;
    memcpy(cpu->gpr, in->gpr, sizeof in->gpr);
    cpu->flags = in->flags | FL_ONE;
    cpu->mode = mode;
    dual.returns[1000] = (uint64_t)(uintptr_t)stub_return_empty;
    cpu->return_rsp = (uint64_t)(uintptr_t)&dual.returns[1000];
    dual.callout = NO_CALLOUT;
    *out = (struct outcome){.trap = TRAP_NONE};
    memcpy(out->vector, in->vector, VECTOR_BYTES);
    uint64_t base = (mode & MODE_CPL) == 3 ? cpu->user_window : cpu->super_window;
    __asm__ volatile("wrgsbase %0" : : "r"(base));
    cpu->window = base;
    dual.gs_base = base;
    dual.missed = false;
    dual.faulted = out;
    int reason = translated_enter(cpu, dual.emitted, out->vector);
    dual.faulted = NULL;
    memcpy(out->gpr, cpu->gpr, sizeof out->gpr);
    out->flags = cpu->flags & FL_HOST;
    out->eip = cpu->eip;
    if (reason == LEAVE_STOP && dual.callout == CALLOUT_raise) {
        out->trap = (int)(dual.callout_arg & 0xff);
        out->cr2 = out->trap == VEC_PF ? dual.v.fault.cr2 : 0;
    }
    normalise_vector(out->vector);
    return reason;
}

#endif
