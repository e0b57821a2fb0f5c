/* The way into 32-bit code and back. native_io (native_side.c) is reached relative to RIP. */
#include "tests/diff/native_io.h"

        .text
        .globl native_enter, native_back
        .hidden native_io

/* int native_enter(void): comes back through native_back, with what that was given. */
native_enter:
        push %rbp
        push %rbx
        push %r12
        push %r13
        push %r14
        push %r15
        mov %rsp, native_io+IO_HOST_RSP(%rip)
        mov $7, %eax
        xor %edx, %edx
        xrstor native_io+IO_VECTOR(%rip)
        mov native_io+IO_SEG+0(%rip), %es
        mov native_io+IO_SEG+6(%rip), %ds
        mov native_io+IO_SEG+8(%rip), %fs
        mov native_io+IO_SEG+10(%rip), %gs
        movzwl native_io+IO_SEG+4(%rip), %eax
        push %rax
        mov native_io+IO_GPR+16(%rip), %eax
        push %rax
        mov native_io+IO_EFLAGS(%rip), %eax
        push %rax
        movzwl native_io+IO_SEG+2(%rip), %eax
        push %rax
        mov native_io+IO_EIP(%rip), %eax
        push %rax
        mov native_io+IO_GPR+0(%rip), %eax
        mov native_io+IO_GPR+4(%rip), %ecx
        mov native_io+IO_GPR+8(%rip), %edx
        mov native_io+IO_GPR+12(%rip), %ebx
        mov native_io+IO_GPR+20(%rip), %ebp
        mov native_io+IO_GPR+24(%rip), %esi
        mov native_io+IO_GPR+28(%rip), %edi
        iretq

/* From the signal handler, which has stored everything: its frame is forgotten. */
native_back:
        mov native_io+IO_HOST_RSP(%rip), %rsp
        push $2                 /* no NT, which IRETQ would trip over */
        popfq
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbx
        pop %rbp
        ret
        .section .note.GNU-stack, "", @progbits
