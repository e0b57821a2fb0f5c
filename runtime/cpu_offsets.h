/* Offsets of struct cpu for assembly; checked against the C struct in stub_checks.c. */
#ifndef RING3_RUNTIME_CPU_OFFSETS_H
#define RING3_RUNTIME_CPU_OFFSETS_H

#define CPU_EAX 0
#define CPU_ECX 4
#define CPU_EDX 8
#define CPU_EBX 12
#define CPU_ESP 16
#define CPU_EBP 20
#define CPU_ESI 24
#define CPU_EDI 28
#define CPU_EIP 32
#define CPU_FLAGS 40
#define CPU_ATTENTION 52
#define CPU_WINDOW 80
#define CPU_JUMP_CACHE 88
#define CPU_RETURN_RSP 120
#define CPU_VICTIMS 128
#define CPU_REACH_TLB 136
#define CPU_REACH_BITS 144
#define CPU_REACH_LEFT 152
#define CPU_CLEAN_FROM 156
#define CPU_CLEAN_LEN 160
#define CPU_CLEAN_DELTA 168
#define CPU_REACH_SAVED 176
#define CPU_REACHED 192
#define CPU_RESUME 208
#define CPU_CHAIN_SITE 216
#define CPU_HOST_RSP 224

/* struct kernel_load */
#define LOADED_MINUS_DESCRIPTOR 8
#define LOADED_MINUS_SELECTOR 16
#define KERNEL_SEGMENT_HIDDEN 24
#define KERNEL_SEGMENT_WINDOW 40
#define KERNEL_SEGMENT_AT 56
#define KERNEL_SEGMENT_WINDOW_AT 64
#define KERNEL_SEGMENT_SIZE 72

#define JUMP_CACHE_NAME 524288 /* offset in a jump cache */

#define TLB_ENTRY_SHIFT 4 /* its size */
#define TLB_SLOTS 256
#define TLB_DIRTY 4
#define TLB_DELTA 8
#define REACH_WRITTEN 16 /* REACH_WRITTEN_SHIFT */
#define CALLOUT_REACH 70

#define LEAVE_CHAIN 3
#define LEAVE_LOOKUP 4
#define LEAVE_ATTENTION 5

#endif
