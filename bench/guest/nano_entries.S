/* The kernel's side of the traps: straight back. */
    .text
    .globl nano_skip_page_fault, nano_skip_divide, nano_return, nano_sysexit, nano_count_interrupt

/* Behind the faulting instruction, which has two bytes in both rows. */
    .balign 16
nano_skip_page_fault:
    add $4, %esp /* the error code */
    addl $2, (%esp)
    iret

    .balign 16
nano_skip_divide:
    addl $2, (%esp)
    iret

    .balign 16
nano_return:
    iret

/* The user code has put its stack pointer and where to go on into ECX and EDX. */
    .balign 16
nano_sysexit:
    sysexit

    .balign 16
nano_count_interrupt:
    incl nano_interrupts
    iret

    .bss
    .balign 4
    .globl nano_interrupts
nano_interrupts:
    .skip 4
    .section .note.GNU-stack, "", @progbits
