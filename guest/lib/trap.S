/* Trap entries for all 256 vectors and for SYSENTER, their common way out, and the switch into
 * and out of code under guest_run(). The frame is struct trap_frame of trap.h. */
    .set KERNEL_DS, 0x10
    .set USER_CS, 0x1b
    .set USER_DS, 0x23
    .set VECTOR_SYSENTER, 0x100
    .set FRAME_VECTOR, 48

    .macro save_registers
    pusha
    push %ds
    push %es
    push %fs
    push %gs
    mov $KERNEL_DS, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    cld
    .endm

    .macro restore_registers
    pop %gs
    pop %fs
    pop %es
    pop %ds
    popa
    add $8, %esp /* vector, error code */
    .endm

    .text
    .globl trap_entries, trap_return, sysenter_entry, run_enter, run_leave

/* 16 bytes each. 8, 10-14, 17 and 21 come with an error code of the CPU's. */
    .balign 16
trap_entries:
    .set vector, 0
    .rept 256
    .balign 16
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
    pushl $0
    .endif
    pushl $vector
    jmp trap_common
    .set vector, vector + 1
    .endr

trap_common:
    save_registers
    push %esp
    call trap_dispatch
    add $4, %esp
trap_return:
    restore_registers
    iret

/* Convention of the user code: ECX its stack pointer, EDX where to go on. */
sysenter_entry:
    pushl $USER_DS
    push %ecx
    pushfl
    orl $0x200, (%esp)
    pushl $USER_CS
    push %edx
    pushl $0
    pushl $VECTOR_SYSENTER
    save_registers
    push %esp
    call trap_dispatch
    add $4, %esp
    cmpl $VECTOR_SYSENTER, FRAME_VECTOR(%esp)
    jne trap_return /* another process was chosen: its frame is whole */
    restore_registers
    sti
    sysexit

/* void run_enter(struct trap_frame *frame): loads the frame; run_leave returns from here. */
run_enter:
    mov 4(%esp), %eax
    push %ebp
    push %ebx
    push %esi
    push %edi
    mov %esp, run_stack
    mov %eax, %esp
    jmp trap_return

run_leave:
    mov run_stack, %esp
    pop %edi
    pop %esi
    pop %ebx
    pop %ebp
    ret

    .bss
    .balign 4
run_stack:
    .skip 4
    .section .note.GNU-stack, "", @progbits
