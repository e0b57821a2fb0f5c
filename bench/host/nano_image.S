/* RING3_NANO_GUEST is the path of the built ELF. */
    .section .rodata
    .globl ring3_nano_guest, ring3_nano_guest_end
    .balign 16
ring3_nano_guest:
    .incbin RING3_NANO_GUEST
ring3_nano_guest_end:
    .section .note.GNU-stack, "", @progbits
