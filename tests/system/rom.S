/* A boot ROM that holds a guest: from the reset vector to the Multiboot entry of the guest.
 *
 * Bochs and QEMU start here as from any BIOS, at f000:fff0 with CS based at ffff0000. The ROM
 * turns on protection with flat segments, copies the guest to 1 MiB, and enters it with the
 * registers that a Multiboot loader gives: the same state as under `ring3 run --kernel`.
 * GUEST: the guest's flat image. ENTRY: its entry. The command line is written into the finished
 * file, which starts with it. */
    .set STUB_OFFSET, 0xf000 /* in the last 64 KiB: rom.lds */
    .set GUEST_BASE, 0x100000
    .set GUEST_SPACE, 0x300000 /* image and zeroed data behind it */

    .code16
    .section .stub, "ax"
start16:
    cli
    cld
    lgdtl %cs:gdt_pointer - start16 + STUB_OFFSET
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $start32
    .code32
start32:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    xor %eax, %eax
    mov $GUEST_BASE, %edi
    mov $GUEST_SPACE / 4, %ecx
    rep stosl
    mov $guest, %esi
    mov $GUEST_BASE, %edi
    mov $(guest_end - guest + 3) / 4, %ecx
    rep movsl
    mov $0x2badb002, %eax
    mov $multiboot_info, %ebx
    mov $ENTRY, %ecx
    jmp *%ecx

    .balign 8
gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long gdt
multiboot_info:
    .long 1 << 2, 0, 0, 0, command_line

    .section .command, "a"
command_line:
    .skip 256

    .section .guest, "a"
    .balign 4
guest:
    .incbin GUEST
guest_end:

    .section .reset, "ax"
    .code16
    .byte 0xe9 /* jmp start16 */
    .word STUB_OFFSET - 0xfff3
    .skip 13
    .section .note.GNU-stack, "", @progbits
