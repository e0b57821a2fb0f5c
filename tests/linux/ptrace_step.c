/* Single-steps a child through a loop whose every instruction address is known, and compares each
 * EIP; then steps over a system call, and over a REP MOVSB, which traps after each iteration. */
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

enum { ROUNDS = 100, MOVES = 10 };

/* The labels are the addresses that stepping must show. */
extern const char step_start[], step_inc[], step_dec[], step_branch[], step_call[], step_after[],
    step_copy[], step_copied[], step_end[];
__asm__(".text\n"
        ".globl step_start, step_inc, step_dec, step_branch, step_call, step_after\n"
        ".globl step_copy, step_copied, step_end\n"
        "step_start: mov $100, %ecx\n"
        "step_inc:   inc %ebx\n"
        "step_dec:   dec %ecx\n"
        "step_branch: jnz step_inc\n"
        "            mov $64, %eax\n" /* getppid */
        "step_call:  int $0x80\n"
        "step_after: mov $10, %ecx\n"
        "            lea step_bytes, %esi\n"
        "            lea step_room, %edi\n"
        "step_copy:  rep movsb\n"
        "step_copied: nop\n"
        "step_end:   nop\n"
        "            mov $1, %eax; mov $7, %ebx; int $0x80\n"
        ".data\n"
        "step_bytes: .ascii \"0123456789\"\n"
        "step_room:  .skip 16\n"
        ".text\n");

static struct user_regs_struct step(pid_t child) {
    struct user_regs_struct regs;
    int status;
    TEST_CALL(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL));
    TEST_CALL(waitpid(child, &status, 0));
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) {
        printf("FAIL ptrace.stop expected a trap, got status %#x\n", (unsigned)status);
        exit(1);
    }
    TEST_CALL(ptrace(PTRACE_GETREGS, child, NULL, &regs));
    return regs;
}

static pid_t start_child(void) {
    pid_t child = (pid_t)TEST_CALL(fork());
    if (child == 0) {
        TEST_CALL(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
        raise(SIGSTOP);
        _exit(9);
    }
    int status;
    TEST_CALL(waitpid(child, &status, 0));
    struct user_regs_struct regs;
    TEST_CALL(ptrace(PTRACE_GETREGS, child, NULL, &regs));
    regs.eip = (long)step_start;
    regs.orig_eax = -1; /* no system call to restart */
    regs.ebx = 0;
    TEST_CALL(ptrace(PTRACE_SETREGS, child, NULL, &regs));
    return child;
}

static void step_loop(pid_t child) {
    unsigned wrong = 0;
    struct user_regs_struct regs = step(child);
    wrong += regs.eip != (long)step_inc;
    for (long i = 1; i <= ROUNDS; i++) {
        regs = step(child);
        wrong += regs.eip != (long)step_dec || regs.ebx != i;
        regs = step(child);
        wrong += regs.eip != (long)step_branch || regs.ecx != ROUNDS - i;
        regs = step(child);
        wrong += i < ROUNDS && regs.eip != (long)step_inc;
    }
    test_check("ptrace.loop", 0, wrong);
    test_check("ptrace.count", ROUNDS, (uint64_t)regs.ebx);
}

static void step_rest(pid_t child) {
    struct user_regs_struct regs = step(child);
    test_check("ptrace.before-call", (uintptr_t)step_call, (uint64_t)regs.eip);
    regs = step(child);
    test_check("ptrace.after-call", (uintptr_t)step_after, (uint64_t)regs.eip);
    test_check("ptrace.call-result", (uint64_t)getpid(), (uint64_t)regs.eax);
    for (unsigned i = 0; i < 3; i++)
        regs = step(child);
    test_check("ptrace.before-rep", (uintptr_t)step_copy, (uint64_t)regs.eip);
    unsigned wrong = 0;
    for (long left = MOVES - 1; left > 0; left--) {
        regs = step(child);
        wrong += regs.eip != (long)step_copy || regs.ecx != left;
    }
    test_check("ptrace.rep", 0, wrong);
    regs = step(child);
    test_check("ptrace.after-rep", (uintptr_t)step_copied, (uint64_t)regs.eip);
    test_check("ptrace.rep-count", 0, (uint64_t)regs.ecx);
}

int main(void) {
    pid_t child = start_child();
    step_loop(child);
    step_rest(child);
    TEST_CALL(ptrace(PTRACE_CONT, child, NULL, NULL));
    int status;
    TEST_CALL(waitpid(child, &status, 0));
    test_check("ptrace.exit", 7 << 8, (uint64_t)status);
    return test_result();
}
