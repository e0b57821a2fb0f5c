/* The child that runs 32-bit code (native.h). The code ends with INT3; every way out is a signal,
 * whose handler writes down the registers and ends the child. */
#include "inspect/native.h"

#include <assert.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define CODE_MAX 256u
#define DATA_AT 1024u /* in the one page */
#define STACK_AT 4096u
#define PAGE 4096u
#define SECONDS 2
#define INT3 0xcc

/* Shared with the child, whose handler finds it here. */
static struct native_result *shared;
static uint8_t *page; /* below 2 GiB: code, data, stack */

/* native_entry.S: into 32-bit code at `eip`. */
__attribute__((noreturn)) void native_enter(uint32_t eip, uint32_t esp, uint32_t ebx);

static void take(int number, siginfo_t *info, void *opaque) {
    const greg_t *regs = ((const ucontext_t *)opaque)->uc_mcontext.gregs;
    uint64_t at = (uint64_t)regs[REG_RIP] - (uintptr_t)page;
    (void)info;
    shared->eax = (uint32_t)regs[REG_RAX];
    shared->ecx = (uint32_t)regs[REG_RCX];
    shared->edx = (uint32_t)regs[REG_RDX];
    shared->eflags = (uint32_t)regs[REG_EFL];
    memcpy(shared->data, page + DATA_AT, sizeof shared->data);
    shared->signal = number;
    shared->offset = (uint32_t)at;
    shared->end = at >= CODE_MAX + 1  ? NATIVE_IMPOSSIBLE
                  : number == SIGTRAP ? NATIVE_ENDED
                                      : NATIVE_SIGNAL;
    _exit(0);
}

__attribute__((noreturn)) static void run_child(void) {
    static const int signals[] = {SIGSEGV, SIGILL, SIGTRAP, SIGBUS, SIGFPE};
    static uint8_t stack[65536];
    const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_sigaction = take, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    alarm(SECONDS);
    if (sigaltstack(&alternate, NULL))
        _exit(1);
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], &action, NULL))
            _exit(1);
    uint32_t low = (uint32_t)(uintptr_t)page;
    native_enter(low, low + STACK_AT, low + DATA_AT);
}

static void run_in_child(const uint8_t *code, size_t size, struct native_result *result) {
    int status;
    assert((uintptr_t)page + PAGE <= UINT32_MAX && size < DATA_AT);
    memcpy(page, code, size);
    page[size] = INT3;
    *shared = (struct native_result){.end = NATIVE_IMPOSSIBLE};
    pid_t child = fork();
    if (child == 0)
        run_child();
    if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
        !WEXITSTATUS(status))
        *result = *shared;
}

void native_run(const uint8_t *code, size_t size, struct native_result *result) {
    assert(size <= CODE_MAX);
    *result = (struct native_result){.end = NATIVE_IMPOSSIBLE};
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED && shared != MAP_FAILED)
        run_in_child(code, size, result);
    if (page != MAP_FAILED)
        munmap(page, PAGE);
    if (shared != MAP_FAILED)
        munmap(shared, PAGE);
}
