/* The processor's side: sequences run in 32-bit compatibility mode, each until a fault or trap.
 *
 * Every sequence ends in a signal, whose handler stores what the processor and the kernel say and
 * leaves for native_enter's caller. FS belongs to the sequence meanwhile, so nothing that runs
 * before it is put back may use thread-local storage: this file is built without stack protector.
 * A seccomp filter turns system calls that a sequence makes by accident into an outcome. */
#include <asm/ldt.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "tests/diff/diff.h"
#include "tests/diff/native_io.h"

struct native_io {
    struct state in;
    uint64_t host_rsp;
};
_Static_assert(offsetof(struct native_io, in.gpr) == IO_GPR &&
                   offsetof(struct state, eip) == IO_EIP &&
                   offsetof(struct state, eflags) == IO_EFLAGS &&
                   offsetof(struct state, seg) == IO_SEG &&
                   offsetof(struct state, vector) == IO_VECTOR &&
                   offsetof(struct native_io, host_rsp) == IO_HOST_RSP,
               "native_io.h");
struct native_io native_io __attribute__((aligned(64), visibility("hidden")));
void native_enter(void);
void native_back(void);

#define FLAG_AC (1ull << 18)
#define XFEATURES 512 /* offset of the XSAVE header's first word */

static struct {
    uint8_t *code; /* writable alias of the code pages */
    uint64_t fs_base;
    volatile bool inside; /* in a sequence */
    unsigned ticks;
    struct outcome *outcome;
    uint32_t stale_at, stale_len; /* code of the sequence before */
} native;

static const int regs_order[8] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX,
                                  REG_RSP, REG_RBP, REG_RSI, REG_RDI};

/* Components in their initial state may be left out of the image. */
static void store_vector(uint8_t *to, const uint8_t *from) {
    __builtin_memcpy(to, from, VECTOR_BYTES);
    uint64_t present;
    __builtin_memcpy(&present, from + XFEATURES, sizeof present);
    if (!(present & 4))
        __builtin_memset(to + 576, 0, VECTOR_BYTES - 576);
}

static void store_segments(uint16_t *seg, greg_t csgsfs) {
    __asm__ volatile("mov %%es, %0" : "=r"(seg[0]));
    __asm__ volatile("mov %%ds, %0" : "=r"(seg[3]));
    __asm__ volatile("mov %%fs, %0" : "=r"(seg[4]));
    __asm__ volatile("mov %%gs, %0" : "=r"(seg[5]));
    seg[1] = (uint16_t)csgsfs;
    seg[2] = (uint16_t)((uint64_t)csgsfs >> 48);
}

static enum ending ending_of(int signal) {
    return signal == SIGALRM ? ENDED_TIMEOUT : signal == SIGSYS ? ENDED_SYSCALL : ENDED_TRAP;
}

static void on_signal(int signal, siginfo_t *info, void *context) {
    /* The kernel leaves AC as it was. */
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~FLAG_AC);
    ucontext_t *u = context;
    greg_t *regs = u->uc_mcontext.gregs;
    struct outcome *o = native.outcome;
    (void)info;
    if (signal == SIGALRM && (!native.inside || ++native.ticks < 2))
        return;
    if (!native.inside)
        _exit(99);
    store_segments(o->out.seg, regs[REG_CSGSFS]);
    __asm__ volatile("mov %0, %%fs; wrfsbase %1" : : "r"(0), "r"(native.fs_base));
    for (unsigned i = 0; i < 8; i++)
        o->out.gpr[i] = (uint32_t)regs[regs_order[i]];
    o->out.eip = (uint32_t)regs[REG_RIP];
    o->out.eflags = (uint32_t)regs[REG_EFL];
    o->ending = ending_of(signal);
    o->trap = (int)regs[REG_TRAPNO];
    o->error = (uint32_t)regs[REG_ERR];
    o->cr2 = o->trap == 14 ? (uint32_t)regs[REG_CR2] : 0;
    store_vector(o->out.vector, (const uint8_t *)u->uc_mcontext.fpregs);
    native.inside = false;
    __asm__ volatile("jmp native_back");
}

static void *map(uint32_t at, size_t size, int prot, int fd) {
    void *got = mmap((void *)(uintptr_t)at, size, prot,
                     (at ? MAP_FIXED_NOREPLACE : 0) | MAP_POPULATE |
                         (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED),
                     fd, 0);
    if (got == MAP_FAILED || (at && got != (void *)(uintptr_t)at)) {
        perror("tests/diff: mapping the native side's memory");
        _exit(98);
    }
    return got;
}

static void map_pages(const struct shared *shared) {
    int fd = memfd_create("code", MFD_CLOEXEC);
    if (ftruncate(fd, CODE_BYTES))
        _exit(98);
    native.code = map(0, CODE_BYTES, PROT_READ | PROT_WRITE, fd);
    memset(native.code, 0xcc, CODE_BYTES);
    map(CODE_AT, CODE_BYTES, PROT_READ | PROT_EXEC, fd);
    for (unsigned i = 0; i < WRITABLE_PAGES; i++)
        memset(map(DATA_PAGE(writable_page[i]), 0x1000, PROT_READ | PROT_WRITE, -1), 0, 0x1000);
    void *fixed = map(DATA_PAGE(PAGE_READ_ONLY), 0x1000, PROT_READ | PROT_WRITE, -1);
    memcpy(fixed, shared->images[0] + PAGE_READ_ONLY * 0x1000, 0x1000);
    mprotect(fixed, 0x1000, PROT_READ);
}

static void set_up_ldt(void) {
    for (unsigned i = 1; i < ldt_count; i++) {
        const struct ldt_entry *l = &ldt_entries[i];
        struct user_desc d = {.entry_number = i,
                              .base_addr = l->base,
                              .limit = l->limit,
                              .seg_32bit = 1,
                              .contents = l->kind,
                              .read_exec_only = l->closed,
                              .limit_in_pages = l->pages,
                              .seg_not_present = l->absent};
        if (syscall(SYS_modify_ldt, 0x11, &d, sizeof d))
            _exit(98);
    }
}

static void set_up_signals(void) {
    static uint8_t stack[256 * 1024] __attribute__((aligned(64)));
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGALRM};
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_sigaction = on_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART};
    sigaltstack(&alternate, NULL);
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
    runner_tick();
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ALLOW(nr)                                                                                  \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void filter_system_calls(void) {
    struct sock_filter rules[] = {
        LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        LOAD(nr),
        ALLOW(SYS_read),
        ALLOW(SYS_write),
        ALLOW(SYS_rt_sigreturn),
        ALLOW(SYS_restart_syscall),
        ALLOW(SYS_exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(98);
}

static void place(const struct shared *shared, const struct job *job) {
    for (unsigned i = 0; i < WRITABLE_PAGES; i++)
        memcpy((void *)(uintptr_t)DATA_PAGE(writable_page[i]),
               shared->images[job->image] + writable_page[i] * 0x1000u, 0x1000);
    for (unsigned i = 0; i < job->patch_count; i++)
        memcpy((void *)(uintptr_t)job->patches[i].at, &job->patches[i].value, 4);
    memset(native.code + native.stale_at, 0xcc, native.stale_len);
    native.stale_at = job->code_at - CODE_AT;
    native.stale_len = job->code_len;
    memcpy(native.code + native.stale_at, job->code, job->code_len);
}

static void run(const struct shared *shared, const struct job *job, struct outcome *outcome) {
    place(shared, job);
    native_io.in = job->in;
    native.outcome = outcome;
    native.ticks = 0;
    native.inside = true;
    native_enter();
    for (unsigned i = 0; i < WRITABLE_PAGES; i++)
        memcpy(outcome->memory + i * 0x1000u, (void *)(uintptr_t)DATA_PAGE(writable_page[i]),
               0x1000);
}

_Noreturn void native_side(struct shared *shared, const struct runner *runner) {
    map_pages(shared);
    set_up_ldt();
    set_up_signals();
    __asm__ volatile("rdfsbase %0" : "=r"(native.fs_base));
    filter_system_calls();
    for (;;) {
        runner_wait(runner);
        for (uint32_t i = 0; i < shared->count; i++) {
            shared->at[SIDE_NATIVE] = i;
            run(shared, &shared->jobs[i], &shared->outcomes[SIDE_NATIVE][i]);
        }
        runner_done(runner);
    }
}
