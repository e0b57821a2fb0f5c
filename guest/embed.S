/* The guest as bytes of the program. RING3_DEMO_GUEST is the path of the built ELF. */
    .section .rodata
    .globl ring3_demo_guest, ring3_demo_guest_end
    .balign 16
ring3_demo_guest:
    .incbin RING3_DEMO_GUEST
ring3_demo_guest_end:
    .section .note.GNU-stack, "", @progbits
