/* The way into 32-bit code (native.c). There is none back but a signal. */
#define USER32_CS 0x23 /* of Linux on x86-64: flat, 32 bits */
#define USER_DS 0x2b
#define EFLAGS 0x202

        .text
        .globl native_enter
        .hidden native_enter
        .type native_enter, @function

/* void native_enter(uint32_t eip, uint32_t esp, uint32_t ebx) */
native_enter:
        mov $USER_DS, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %edx, %ebx
        mov %edi, %edi
        mov %esi, %esi
        push %rax               /* SS */
        push %rsi
        push $EFLAGS
        push $USER32_CS
        push %rdi
        xor %eax, %eax
        xor %ecx, %ecx
        xor %edx, %edx
        xor %ebp, %ebp
        iretq
        .size native_enter, . - native_enter
        .section .note.GNU-stack, "", @progbits
