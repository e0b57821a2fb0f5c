/* A guest that makes system calls as a program of 32-bit Linux would; its kernel answers some. What
 * the tracer must write stands in CMakeLists.txt. */
#include "tests/guests/stage.h"

/* write, open of a name, a call with an error, SYSENTER as the vDSO makes it (its landing is
 * INT's), exit_group. */
SNIPPET(calls, "mov $4, %eax; mov $1, %ebx; mov $0x40010000, %ecx; mov $6, %edx; int $0x80;"
               "mov $295, %eax; mov $-100, %ebx; mov $0x40010010, %ecx; mov $0x8000, %edx; xor "
               "%esi, %esi; int $0x80;"
               "mov $6, %eax; mov $99, %ebx; int $0x80;"
               "mov $5, %eax; mov $0x40011000, %ebx; xor %ecx, %ecx; xor %edx, %edx; int $0x80;"
               "mov $252, %eax; mov $7, %ebx; int $0x80" DONE);

static unsigned count;

static bool on_call(struct trap_frame *frame) {
    static const uint32_t results[] = {6, 3, (uint32_t)-9, (uint32_t)-14, 0};
    frame->eax = results[count++ % 5];
    return true;
}

void guest_main(void) {
    stage_start();
    trap_set_handler(VECTOR_SYSCALL, on_call);
    memcpy((void *)DATA, "hello\n", 7);
    memcpy((void *)(DATA + 16), "/etc/passwd", 12);
    struct machine m = STAGE_RUN(3, calls);
    check("ended", VECTOR_DONE, m.vector);
    check("calls", 5, count);
    check_finish("syscalls");
}
