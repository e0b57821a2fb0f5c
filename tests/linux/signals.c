/* Faults as signals with their addresses, and a timer signal into a tight loop. */
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "test.h"

static sigjmp_buf back;
static volatile int seen_signal, seen_code;
static volatile uintptr_t seen_address, seen_eip, seen_error;
static volatile sig_atomic_t alarmed;

static void on_fault(int number, siginfo_t *info, void *context) {
    const ucontext_t *at = context;
    seen_signal = number;
    seen_code = info->si_code;
    seen_address = (uintptr_t)info->si_addr;
    seen_eip = (uintptr_t)at->uc_mcontext.gregs[REG_EIP];
    seen_error = (uintptr_t)at->uc_mcontext.gregs[REG_ERR];
    siglongjmp(back, 1);
}

static void on_alarm(int number) {
    (void)number;
    alarmed = 1;
}

extern const char fault_read[], fault_write[], fault_divide[], fault_undefined[];
__asm__(".text\n"
        ".globl do_read, do_write, do_divide, do_undefined\n"
        ".globl fault_read, fault_write, fault_divide, fault_undefined\n"
        "do_read:  mov 4(%esp), %edx\n"
        "fault_read: mov (%edx), %eax\n"
        "          ret\n"
        "do_write: mov 4(%esp), %edx\n"
        "fault_write: addl $1, (%edx)\n"
        "          ret\n"
        "do_divide: xor %edx, %edx; mov $1, %eax; xor %ecx, %ecx\n"
        "fault_divide: idiv %ecx\n"
        "          ret\n"
        "do_undefined:\n"
        "fault_undefined: ud2\n");
void do_read(volatile void *at);
void do_write(volatile void *at);
void do_divide(volatile void *at);
void do_undefined(volatile void *at);

static void expect(const char *name, void (*action)(volatile void *), volatile void *at, int signal,
                   uintptr_t address, const char *eip) {
    seen_signal = 0;
    if (!sigsetjmp(back, 1))
        action(at);
    char text[64];
    snprintf(text, sizeof text, "signal.%s.number", name);
    test_check(text, (uint64_t)signal, (uint64_t)seen_signal);
    snprintf(text, sizeof text, "signal.%s.address", name);
    test_check(text, address, seen_address);
    snprintf(text, sizeof text, "signal.%s.eip", name);
    test_check(text, (uintptr_t)eip, seen_eip);
}

static void check_memory_faults(void) {
    char *page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TEST_CALL(munmap(page + 4096, 4096));
    uintptr_t at = (uintptr_t)page;
    expect("read-unmapped", do_read, page + 4096 + 24, SIGSEGV, at + 4096 + 24, fault_read);
    test_check("signal.read-unmapped.code", SEGV_MAPERR, (uint64_t)seen_code);
    expect("write-readonly", do_write, page + 8, SIGSEGV, at + 8, fault_write);
    test_check("signal.write-readonly.code", SEGV_ACCERR, (uint64_t)seen_code);
    test_check("signal.write-readonly.error-has-write", 2, seen_error & 2);
    /* Four bytes over the page's end: the first byte that is missing is the next page's. */
    expect("read-across", do_read, page + 4094, SIGSEGV, at + 4096, fault_read);
    expect("null", do_read, NULL, SIGSEGV, 0, fault_read);
}

static void check_alarm(void) {
    struct sigaction action = {.sa_handler = on_alarm};
    TEST_CALL(sigaction(SIGALRM, &action, NULL));
    struct itimerval timer = {{0, 0}, {0, 50000}};
    double start = test_seconds();
    TEST_CALL(setitimer(ITIMER_REAL, &timer, NULL));
    while (!alarmed)
        continue;
    double seconds = test_seconds() - start;
    test_check("signal.alarm-in-loop", 1, (uint64_t)alarmed);
    test_check("signal.alarm-not-early", 1, seconds > 0.045);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    TEST_CALL(sigaction(SIGSEGV, &action, NULL));
    TEST_CALL(sigaction(SIGFPE, &action, NULL));
    TEST_CALL(sigaction(SIGILL, &action, NULL));
    check_memory_faults();
    expect("divide", do_divide, NULL, SIGFPE, (uintptr_t)fault_divide, fault_divide);
    test_check("signal.divide.code", FPE_INTDIV, (uint64_t)seen_code);
    expect("undefined", do_undefined, NULL, SIGILL, (uintptr_t)fault_undefined, fault_undefined);
    check_alarm();
    return test_result();
}
