/* Multiboot 1 header and entry: a stack, then guest_start(magic, info). */
    .set MAGIC, 0x1badb002
    .set FLAGS, 3 /* page-aligned modules, memory map */

    .section .multiboot, "a"
    .balign 4
    .long MAGIC, FLAGS, -(MAGIC + FLAGS)

    .text
    .globl _start
_start:
    cli
    cld
    mov $boot_stack_top, %esp
    xor %ebp, %ebp
    pushl $0
    popfl
    push %ebx
    push %eax
    call guest_start
1:  cli
    hlt
    jmp 1b

    .bss
    .balign 4096
    .skip 16384
boot_stack_top:
    .section .note.GNU-stack, "", @progbits
