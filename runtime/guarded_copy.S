/* A copy whose faults are answers (plugin_copy.c): the handler of SIGSEGV and SIGBUS resumes one at
 * guarded_copy_fault at guarded_copy_failed. */
    .text
    .intel_syntax noprefix

/* int guarded_copy(void *to, const void *from, uint64_t len) */
    .globl guarded_copy, guarded_copy_fault, guarded_copy_failed
    .type guarded_copy, @function
guarded_copy:
    mov rcx, rdx
guarded_copy_fault:
    rep movsb
    xor eax, eax
    ret
guarded_copy_failed:
    mov eax, 1
    ret
    .size guarded_copy, . - guarded_copy

    .section .note.GNU-stack, "", @progbits
