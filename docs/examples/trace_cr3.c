/* An example of a user callout: prints every address-space switch of the guest.
 *
 *   cc -shared -fPIC -o trace_cr3.so trace_cr3.c
 *   ring3 run ... --callout 'cr3-write=./trace_cr3.so:on_cr3(u32,u32)'
 *
 * The function runs in the vCPU process under its sandbox: it may write to standard error and
 * compute, and makes no other system call, so it formats into a buffer of its own. */
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

void on_cr3(uint32_t before, uint32_t after);

void on_cr3(uint32_t before, uint32_t after) {
    char line[64];
    int len = snprintf(line, sizeof line, "cr3 %08x -> %08x\n", before, after);
    if (len > 0 && write(STDERR_FILENO, line, (size_t)len) < 0)
        _exit(1);
}
