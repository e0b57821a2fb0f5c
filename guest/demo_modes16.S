/* The other modes' side of demo_modes.c: the ways there and back, and the 16-bit code that runs there,
 * which is copied to LOW and stores what it finds at RESULTS (enum result). */
    .set KERNEL_CS, 0x08
    .set KERNEL_DS, 0x10
    .set CODE16, 0x30
    .set DATA16, 0x38
    .set LOW, 0x8000
    .set RESULTS, 0x8e00
    .set STACK16, 0x8ff0
    .set VECTOR, 0x60 /* of the interrupt that the 16-bit code calls */
#define AT(label) (label - modes16 + LOW)
#define RESULT(number) RESULTS + 2 * number

    .text
    .globl modes16, modes16_end, modes_real, modes_v86, modes_v86_leave, modes16_v86

/* void modes_real(void): through 16-bit protected mode into real mode, and back. Paging and
 * interrupts are off. */
modes_real:
    pusha
    mov %esp, kernel_stack
    sidt kernel_idt
    ljmp $CODE16, $AT(protected16)
back32:
    mov $KERNEL_DS, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    mov kernel_stack, %esp
    lidt kernel_idt
    popa
    ret

/* void modes_v86(uint32_t ip): runs LOW:ip as a task in virtual-8086 mode; its monitor comes
 * back by modes_v86_leave. */
modes_v86:
    mov 4(%esp), %eax
    pusha
    mov %esp, kernel_stack
    pushl $0 /* GS, FS, DS, ES, SS */
    pushl $0
    pushl $0
    pushl $0
    pushl $0
    pushl $STACK16
    pushl $0x20202 /* VM, IF */
    pushl $0
    push %eax
    iret
modes_v86_leave:
    mov kernel_stack, %esp
    popa
    ret

modes16:
    .code16
protected16:
    mov $DATA16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $STACK16, %sp
    push $0x1234 /* two bytes, by SP alone */
    mov %sp, RESULT(0)
    pop RESULT(1)
    mov $5, %cx
    xor %ax, %ax
1:  add %cx, %ax
    loop 1b
    mov %ax, RESULT(2)
    smsw %ax
    and $1, %ax
    mov %ax, RESULT(3)
    mov $KERNEL_DS, %ax /* its limit of 4 GiB stays with FS in real mode */
    mov %ax, %fs
    mov %cr0, %eax
    and $0xfe, %al
    mov %eax, %cr0
    ljmp $0, $AT(real16)
real16:
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    smsw %ax
    and $1, %ax
    mov %ax, RESULT(4)
    lidt AT(real_idt)
    movw $AT(service), VECTOR * 4
    movw $0, VECTOR * 4 + 2
    mov $0x2340, %bx
    int $VECTOR
    mov %bx, RESULT(5)
    mov $0xffff, %ax /* ffff:10 is 1 MiB */
    mov %ax, %ds
    mov 0x10, %bx
    mov $0x100000, %esi
    mov %fs:(%esi), %cx
    xor %ax, %ax
    mov %ax, %ds
    sub %cx, %bx
    mov %bx, RESULT(6)
    mov $LOW, %si
    mov $RESULTS + 0x80, %di
    mov $16, %cx
    rep movsw
    mov %di, RESULT(7)
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $KERNEL_CS, $back32

/* The handler of the interrupt, in real mode and for the task. */
service:
    add $5, %bx
    iret
real_idt:
    .word 0x3ff
    .long 0

/* The task. */
modes16_v86:
    pushf
    pop RESULT(8)
    cli
    pushf
    pop RESULT(9)
    sti
    pushf
    pop RESULT(10)
    mov $0x1230, %bx
    int $VECTOR /* by its monitor, to `service`, whose IRET goes through the monitor, too */
    mov %bx, RESULT(11)
    mov $0x5a, %al
    out %al, $0x80
    in $0x80, %al
    mov %ax, RESULT(12)
    mov $0x0900, %ax /* 900:0 is the supervisor's until its first fault */
    mov %ax, %es
    mov $0x4321, %ax
    mov %ax, %es:0
    mov %es:0, %ax
    mov %ax, RESULT(13)
    hlt
modes16_end:
    .code32

    .bss
    .balign 4
kernel_stack:
    .skip 4
kernel_idt:
    .skip 8
    .section .note.GNU-stack, "", @progbits
