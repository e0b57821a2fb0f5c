/* Vector state across context switches, signals and system calls: processes keep known values in
 * all x87 and XMM registers, spin and yield, and look whether the values are still theirs. */
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

struct __attribute__((aligned(16))) vectors {
    uint32_t xmm[8][4];
    double x87[8];
    uint16_t control;
    uint32_t mxcsr;
};

static volatile sig_atomic_t alarms;

static void fill(struct vectors *v, uint32_t seed) {
    for (unsigned i = 0; i < 8; i++) {
        for (unsigned j = 0; j < 4; j++)
            v->xmm[i][j] = seed * 2654435761u + i * 16 + j;
        v->x87[i] = (double)seed + i / 8.0;
    }
    v->control = (uint16_t)(0x037f & ~((seed & 3) << 10)) | (uint16_t)((seed & 3) << 10);
    v->mxcsr = 0x1f80 | (seed & 3) << 13;
}

/* Loads everything, spins, makes a system call (sched_yield) with everything live, and stores. */
static void hold(const struct vectors *in, struct vectors *out, unsigned spin) {
    int eax = 158; /* sched_yield */
    __asm__ volatile(
        "fninit; fldcw %[cw]; ldmxcsr %[mx]\n"
        "fldl 56(%[f]); fldl 48(%[f]); fldl 40(%[f]); fldl 32(%[f])\n"
        "fldl 24(%[f]); fldl 16(%[f]); fldl 8(%[f]); fldl (%[f])\n"
        "movaps (%[x]), %%xmm0; movaps 16(%[x]), %%xmm1\n"
        "movaps 32(%[x]), %%xmm2; movaps 48(%[x]), %%xmm3\n"
        "movaps 64(%[x]), %%xmm4; movaps 80(%[x]), %%xmm5\n"
        "movaps 96(%[x]), %%xmm6; movaps 112(%[x]), %%xmm7\n"
        "1: pause; dec %[n]; jnz 1b\n"
        "int $0x80\n"
        : "+a"(eax), [n] "+c"(spin)
        : [f] "S"(in->x87), [x] "D"(in->xmm), [cw] "m"(in->control), [mx] "m"(in->mxcsr)
        : "memory");
    __asm__ volatile("movaps %%xmm0, (%[x]); movaps %%xmm1, 16(%[x])\n"
                     "movaps %%xmm2, 32(%[x]); movaps %%xmm3, 48(%[x])\n"
                     "movaps %%xmm4, 64(%[x]); movaps %%xmm5, 80(%[x])\n"
                     "movaps %%xmm6, 96(%[x]); movaps %%xmm7, 112(%[x])\n"
                     "fstpl (%[f]); fstpl 8(%[f]); fstpl 16(%[f]); fstpl 24(%[f])\n"
                     "fstpl 32(%[f]); fstpl 40(%[f]); fstpl 48(%[f]); fstpl 56(%[f])\n"
                     "fnstcw %[cw]; stmxcsr %[mx]; fninit\n"
                     : [cw] "=m"(out->control), [mx] "=m"(out->mxcsr)
                     : [f] "S"(out->x87), [x] "D"(out->xmm)
                     : "memory");
}

/* Overwrites vector state on purpose: the kernel must give the old back after the signal. */
static void on_alarm(int number) {
    (void)number;
    alarms++;
    __asm__ volatile("fninit; fldpi; pxor %%xmm0, %%xmm0; pxor %%xmm7, %%xmm7; fstp %%st(0)"
                     :
                     :
                     : "memory");
}

static unsigned hammer(uint32_t seed, unsigned rounds) {
    struct vectors in, out;
    unsigned wrong = 0;
    memset(&in, 0, sizeof in);
    for (unsigned i = 0; i < rounds; i++) {
        fill(&in, seed + i * 2);
        memset(&out, 0, sizeof out);
        hold(&in, &out, 500 + (i & 1023));
        wrong += memcmp(&in, &out, sizeof in) != 0;
    }
    return wrong;
}

static void tick_every_millisecond(void) {
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval timer = {{0, 1000}, {0, 1000}};
    TEST_CALL(sigaction(SIGALRM, &action, NULL));
    TEST_CALL(setitimer(ITIMER_REAL, &timer, NULL));
}

int main(int argc, char **argv) {
    enum { PROCESSES = 3 };
    unsigned rounds = test_argument(argc, argv, 1, 20000);
    for (uint32_t i = 0; i < PROCESSES; i++) {
        if (TEST_CALL(fork()) == 0) {
            tick_every_millisecond();
            unsigned wrong = hammer(i * 1000003u, rounds);
            _exit(wrong ? 1 : alarms ? 0 : 3);
        }
    }
    unsigned failed = 0;
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status = 0;
        TEST_CALL(wait(&status));
        failed += status != 0;
    }
    test_check("fpu-switch.state", 0, failed);
    return test_result();
}
