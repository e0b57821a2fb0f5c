/* Firmware that tests what lies under it: ROM at its two addresses, writes to it, the PAM registers
 * with code in the segments that they switch, memory that is not there, video memory.
 *
 * It starts at the reset vector, goes to flat 32-bit code at its high address, and writes the number
 * of the first check that failed, or 0, to port 0xf4, after a line on the debug console. */
#define PAM_F_ROM 0x00
#define PAM_F_READ_ONLY 0x10
#define PAM_F_RAM 0x30
#define LOW(label) (label - 0xfff00000) /* its address below 1 MiB */
#define RAM_STACK 0x9000

    .macro pam value /* of PAM0, at byte 1 of the dword 0x58 of 0:00.0 */
    movl $0x80000058, %eax
    movw $0xcf8, %dx
    outl %eax, %dx
    movb $\value, %al
    movw $0xcfd, %dx
    outb %al, %dx
    .endm

    .set checks, 0
    .macro expect value, operand
    .set checks, checks + 1
    movl $checks, %ebp
    cmpl \value, \operand
    jne failed
    .endm

    .text
    .code32
start32:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $RAM_STACK, %esp
    cld

    /* The same bytes at both addresses. */
    expect $0x12345678, marker
    expect $0x12345678, LOW(marker)

    /* Writes of every kind vanish; flags and registers are as ever. */
    movl $0, marker
    movl $0, LOW(marker)
    expect $0x12345678, marker
    expect $0x12345678, LOW(marker)
    xorl $0x12345678, LOW(marker)
    setz %al
    movzbl %al, %eax
    expect $1, %eax
    movl $1, %eax
    xaddl %eax, marker
    expect $0x12345678, %eax
    expect $0x12345678, marker
    pushl $LOW(marker) /* a stack in ROM takes nothing */
    popl %ebx
    movl %ebx, %ecx
    xchgl %esp, %ebx
    pushl $7
    xchgl %esp, %ebx
    subl $4, %ecx
    expect %ecx, %ebx
    expect $0x89abcdef, LOW(before_marker)

    /* Across pages, and a string over several. */
    movl $0, LOW(crossing)
    expect $0x11223344, LOW(crossing)
    movl $LOW(marker), %esi
    movl $0xf1000, %edi
    movl $0x900, %ecx
    rep movsl
    expect $0, %ecx
    expect $0xf3400, %edi
    expect $0x55667788, 0xf1004

    /* No memory at all, within a page and across two. */
    movl $0, 0xd0000
    expect $-1, 0xd0000
    movl $0, 0xd0ffe
    expect $-1, 0xd0ffe
    movl 0xfec00ffd, %eax
    expect $-1, %eax

    /* RAM and ROM change places, with code in them. */
    call *low_routine
    expect $1, %eax
    pam PAM_F_RAM
    expect $0, LOW(routine) /* RAM that nobody wrote */
    movl $0xc3d88942, LOW(routine) /* INC EDX; MOV EBX, EAX; RET */
    movl $2, %ebx
    call *low_routine
    expect $2, %eax
    pam PAM_F_READ_ONLY
    movl $0xc3c03190, LOW(routine) /* NOP; XOR EAX, EAX; RET: vanishes */
    movl $3, %ebx
    call *low_routine
    expect $3, %eax
    pam PAM_F_RAM
    movl $0xc3d8f790, LOW(routine) /* NOP; NEG EAX; RET */
    movl $5, %eax
    call *low_routine
    expect $-5, %eax
    pam PAM_F_ROM
    call *low_routine
    expect $1, %eax
    expect $0x12345678, LOW(marker)

    /* Code that switches away the memory under itself goes on in what stands there then. */
    pam PAM_F_RAM
    movl $0xffff0000, %esi
    movl $0xf0000, %edi
    movl $0x4000, %ecx
    rep movsl
    movl $0xff, LOW(switched) + 1 /* the copy's MOV $1, %EBX */
    call *low_switch
    expect $1, %ebx
    pam PAM_F_RAM
    expect $0xff, LOW(switched) + 1
    pam PAM_F_ROM

    /* Video memory is memory. */
    movl $0xb8000, %edi
    movl $0x07200720, %eax
    movl $1000, %ecx
    rep stosl
    expect $0x07200720, 0xb8000 + 3996

    xorl %ebp, %ebp
    movl $passed, %esi
    movl $passed_end - passed, %ecx
    movw $0xe9, %dx
    rep outsb
failed:
    movl %ebp, %eax
    movw $0xf4, %dx
    outl %eax, %dx
1:  hlt
    jmp 1b

routine:
    movl $1, %eax
    ret

switch_away:
    pam PAM_F_ROM
    jmp switched
switched:
    movl $1, %ebx
    ret

low_routine:
    .long LOW(routine)
low_switch:
    .long LOW(switch_away)
    .altmacro
    .macro line count
    .ascii "rom: \count checks, 0 failed\n"
    .endm
passed:
    line %checks
passed_end:
    .noaltmacro

    .balign 16
    .long 0
before_marker:
    .long 0x89abcdef
marker:
    .long 0x12345678

    .balign 0x1000
    .long 0, 0x55667788
    .fill 0x1000 - 10, 1, 0
crossing: /* two bytes on each page */
    .long 0x11223344

    .balign 8
gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_register:
    .word gdt_register - gdt - 1
    .long gdt

    .code16
start16: /* CS's base is 0xffff0000 until it is loaded */
    lgdtl %cs:gdt_register - start32
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $8, $start32

    .section .reset, "ax"
reset:
    jmp start16
    .org 16
