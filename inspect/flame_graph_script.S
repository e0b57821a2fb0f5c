/* The script that a flame graph carries with it, ended by a zero. */
    .section .rodata
    .globl flame_graph_script
flame_graph_script:
    .incbin "inspect/flame_graph.js"
    .byte 0

    .section .note.GNU-stack, "", @progbits
