/* The guest's kernel: an entry for each vector, which tells the monitor (by a port of its own) and
 * goes on with whatever the monitor has put in place.
 *
 * The monitor leaves: EBX nonzero: load CR3 first; ESI, EDI, ECX: a copy of ECX dwords; ESP: eight
 * registers for POPA, then GS FS ES DS, then what IRET takes. Position-independent. */
        .section .rodata
        .balign 16
        .code32
        .globl diff_guest_kernel, diff_guest_kernel_end
        .hidden diff_guest_kernel, diff_guest_kernel_end

diff_guest_kernel:
        .set vector, 0
        .rept 34                /* 33: where it starts */
        .balign 16
        out %al, $(0x80 + vector)
        jmp resume
        .set vector, vector + 1
        .endr

        .balign 16
resume: mov $0x18, %eax
        mov %eax, %ds
        mov %eax, %es
        cld
        test %ebx, %ebx
        jz 1f
        mov %cr3, %eax
        mov %eax, %cr3
1:      rep movsl
        popa
        pop %gs
        pop %fs
        pop %es
        pop %ds
        iret
diff_guest_kernel_end:
        .section .note.GNU-stack, "", @progbits
