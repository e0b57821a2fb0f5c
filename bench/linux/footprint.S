/* Code with a footprint of 2 MiB: 8192 functions of 256 bytes, no two alike, each called through a
 * table. uint32_t footprint_N(uint32_t in EAX), result in EAX; EDX and ECX are lost. */
    .set FUNCTIONS, 8192
    .set FUNCTION_BYTES, 256

    .text
    .balign 4096
    .globl footprint_start, footprint_end
footprint_start:
    .set n, 0
    .rept FUNCTIONS
    .set key, (n * 0x9e3779b1 + 0x7f4a7c15) & 0x7fffffff
    mov $key, %edx
    mov $(n & 7) + 1, %ecx
    xor %edx, %eax
    .set step, 0
    .rept 10 /* 22 bytes each: mixing, and a branch that depends on the data */
    imul $(key >> (step + 3)) | 0x10001, %eax, %eax
    test $1 << ((n + step) % 31), %eax
    je 1f
    add %edx, %eax
    lea 0x01010101(%edx,%ecx,2), %edx
1:  .set step, step + 1
    .endr
    ret
    .balign FUNCTION_BYTES, 0xcc
    .set n, n + 1
    .endr
footprint_end:
    .section .note.GNU-stack, "", @progbits
