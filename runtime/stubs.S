/* Between C and fragments: entering, leaving, calling out.
 *
 * Inside a fragment: guest eax ecx edx ebx ebp esi edi in their own host registers, esp in r12d,
 * the arithmetic flags and DF in the host's; r13 the jump cache, r14 the window, r15 the
 * cpu struct; rsp the return stack (return_stack.c), which holds nothing but host return
 * addresses. Nothing here touches a vector register. C code runs on the run loop's stack, with DF
 * clear. */
#include "runtime/cpu_offsets.h"

#define DF 0x400
#define HOST_FLAGS 0xcd5 /* CF PF AF ZF SF DF OF */

    .text
    .intel_syntax noprefix

    .macro save_guest
    mov [r15 + CPU_EAX], eax
    mov [r15 + CPU_ECX], ecx
    mov [r15 + CPU_EDX], edx
    mov [r15 + CPU_EBX], ebx
    mov [r15 + CPU_ESP], r12d
    mov [r15 + CPU_EBP], ebp
    mov [r15 + CPU_ESI], esi
    mov [r15 + CPU_EDI], edi
    pushfq
    pop rax
    cld
    and eax, HOST_FLAGS
    or eax, 2
    mov [r15 + CPU_FLAGS], eax
    .endm

/* POPF costs more than the rest together: it is taken for DF only. ADD sets OF, SAHF the others. */
    .macro load_guest
    mov r13, [r15 + CPU_JUMP_CACHE]
    mov r14, [r15 + CPU_WINDOW]
    mov eax, [r15 + CPU_FLAGS]
    mov ecx, [r15 + CPU_ECX]
    mov edx, [r15 + CPU_EDX]
    mov ebx, [r15 + CPU_EBX]
    mov r12d, [r15 + CPU_ESP]
    mov ebp, [r15 + CPU_EBP]
    mov esi, [r15 + CPU_ESI]
    mov edi, [r15 + CPU_EDI]
    test eax, DF
    jz 1f
    push rax
    popfq
    jmp 2f
1:  mov r8d, eax
    shr r8d, 11
    and r8d, 1
    shl eax, 8
    or eax, r8d
    add al, 0x7f
    sahf
2:  mov eax, [r15 + CPU_EAX]
    .endm

/* r11d: eip. Through the jump cache, as every indirect transfer. */
    .macro jump_cached
    mov r10d, r11d
    crc32 r10d, r14b
    movzx r10d, r10w
    jmp [r13 + r10 * 8]
    .endm

    .macro jump_guest
    mov r11d, [r15 + CPU_EIP]
    jump_cached
    .endm

/* int engine_enter(struct cpu *cpu, const void *code): why it came back. */
    .globl engine_enter
    .type engine_enter, @function
engine_enter:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    sub rsp, 8
    mov r15, rdi
    mov r10, rsi
    mov [r15 + CPU_HOST_RSP], rsp
    mov rsp, [r15 + CPU_RETURN_RSP]
    load_guest
    jmp r10

    .globl engine_leave_saved
engine_leave_saved: /* rax: the reason; guest registers are in the struct; r15 holds */
    mov rsp, [r15 + CPU_HOST_RSP]
    add rsp, 8
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret
    .size engine_enter, . - engine_enter

/* void fault_leave(struct cpu *cpu, int reason): out of the handler of a fault. */
    .globl fault_leave
    .type fault_leave, @function
fault_leave:
    mov r15, rdi
    mov eax, esi
    jmp engine_leave_saved
    .size fault_leave, . - fault_leave

/* void fault_resume(const greg_t *regs): all registers as the handler's frame has them, by REG_* of
 * <ucontext.h>, and RIP as the struct has it. Behind the load of RSP the frame may be overwritten. */
    .globl fault_resume
    .type fault_resume, @function
fault_resume:
    mov rsp, rdi
    push [rdi + 17 * 8]
    popfq
    mov r8, [rsp]
    mov r9, [rsp + 1 * 8]
    mov r10, [rsp + 2 * 8]
    mov r11, [rsp + 3 * 8]
    mov r12, [rsp + 4 * 8]
    mov r13, [rsp + 5 * 8]
    mov r14, [rsp + 6 * 8]
    mov r15, [rsp + 7 * 8]
    mov rdi, [rsp + 8 * 8]
    mov rsi, [rsp + 9 * 8]
    mov rbp, [rsp + 10 * 8]
    mov rbx, [rsp + 11 * 8]
    mov rdx, [rsp + 12 * 8]
    mov rax, [rsp + 13 * 8]
    mov rcx, [rsp + 14 * 8]
    mov rsp, [rsp + 15 * 8]
    jmp [r15 + CPU_RESUME]
    .size fault_resume, . - fault_resume

/* r9d id, r10d argument, r11d operand; the fragment's return address is on the stack. */
    .globl stub_callout
    .type stub_callout, @function
stub_callout:
    save_guest
    lea rdi, [rsp + 8] /* as it is behind this call */
    mov [r15 + CPU_RETURN_RSP], rdi
    mov rsp, [r15 + CPU_HOST_RSP]
    mov rdi, r15
    mov esi, r9d
    mov edx, r10d
    mov ecx, r11d
    call engine_callout
    .globl stub_callout_back
stub_callout_back:
    cmp eax, 1
    ja engine_leave_saved
    mov rsp, [r15 + CPU_RETURN_RSP]
    je 3f
    sub rsp, 8
    load_guest
    mov r11, [r15 + CPU_REACHED] /* of `reach` */
    ret
3:  load_guest
    jump_guest
    .size stub_callout, . - stub_callout

/* The callout `reach` where the address is in the clean range, or the look-aside buffer knows the page and, of a
 * write, no code hangs on the bytes.
 * Flags wait in ax and rax in r8. The slot is that of the first byte's page and the tag that of the last
 * one's, so that an operand on two pages is C's. r10d argument, r11d linear address. */
    .globl stub_reach
    .type stub_reach, @function
stub_reach:
    mov r8, rax
    lahf
    seto al
    mov r9d, r11d
    sub r9d, [r15 + CPU_CLEAN_FROM]
    cmp r9d, [r15 + CPU_CLEAN_LEN]
    jae 1f
    add r11, [r15 + CPU_CLEAN_DELTA]
    add al, 0x7f
    sahf
    mov rax, r8
    ret
1:  mov [r15 + CPU_REACH_SAVED], rcx
    sub dword ptr [r15 + CPU_REACH_LEFT], 1
    jle 9f
    mov ecx, r11d
    shr ecx, 12 - TLB_ENTRY_SHIFT
    and ecx, (TLB_SLOTS - 1) << TLB_ENTRY_SHIFT
    add rcx, [r15 + CPU_REACH_TLB]
    movzx r9d, r10b
    lea r9d, [r11 + r9 - 1]
    shr r9d, 12
    not r9d
    cmp r9d, [rcx]
    jne 9f
    mov r9, [rcx + TLB_DELTA]
    add r9, r11
    test r10d, 0xffff << REACH_WRITTEN
    jz 7f
    cmp byte ptr [rcx + TLB_DIRTY], 0
    je 9f
    mov [r15 + CPU_REACH_SAVED + 8], rdx
    mov rcx, r9
    shr rcx, 3
    add rcx, [r15 + CPU_REACH_BITS]
    mov edx, [rcx]
    mov ecx, r9d
    and ecx, 7
    shr edx, cl
    mov ecx, r10d
    shr ecx, REACH_WRITTEN
    test edx, ecx
    mov rdx, [r15 + CPU_REACH_SAVED + 8]
    jnz 9f
7:  mov r11, r9
    mov rcx, [r15 + CPU_REACH_SAVED]
    add al, 0x7f
    sahf
    mov rax, r8
    ret
9:  mov rcx, [r15 + CPU_REACH_SAVED]
    add al, 0x7f
    sahf
    mov rax, r8
    mov r9d, CALLOUT_REACH
    jmp stub_callout
    .size stub_reach, . - stub_reach

/* The same of what only reads. */
    .globl stub_reach_read
    .type stub_reach_read, @function
stub_reach_read:
    mov r8, rax
    lahf
    seto al
    mov [r15 + CPU_REACH_SAVED], rcx
    sub dword ptr [r15 + CPU_REACH_LEFT], 1
    jle 9b
    mov ecx, r11d
    shr ecx, 12 - TLB_ENTRY_SHIFT
    and ecx, (TLB_SLOTS - 1) << TLB_ENTRY_SHIFT
    add rcx, [r15 + CPU_REACH_TLB]
    movzx r9d, r10b
    lea r9d, [r11 + r9 - 1]
    shr r9d, 12
    not r9d
    cmp r9d, [rcx]
    jne 9b
    add r11, [rcx + TLB_DELTA]
    mov rcx, [r15 + CPU_REACH_SAVED]
    add al, 0x7f
    sahf
    mov rax, r8
    ret

/* The same with BMI2, whose shifts leave the flags alone. */
    .globl stub_reach_read_bmi2
    .type stub_reach_read_bmi2, @function
stub_reach_read_bmi2:
    mov [r15 + CPU_REACH_SAVED], rcx
    mov ecx, [r15 + CPU_REACH_LEFT]
    lea ecx, [rcx - 1]
    mov [r15 + CPU_REACH_LEFT], ecx
    jecxz 8f
    rorx r9d, r11d, 12
    movzx r9d, r9b /* TLB_SLOTS */
    lea r9d, [r9 + r9]
    mov rcx, [r15 + CPU_REACH_TLB]
    lea r9, [rcx + r9 * 8]
    movzx ecx, r10b
    lea ecx, [r11 + rcx - 1]
    pext ecx, ecx, [rip + page_number]
    mov r8d, [r9]
    lea ecx, [rcx + r8 + 1]
    jecxz 7f
8:  mov rcx, [r15 + CPU_REACH_SAVED]
    mov r9d, CALLOUT_REACH
    jmp stub_callout
7:  mov rcx, [r15 + CPU_REACH_SAVED]
    mov r9, [r9 + TLB_DELTA]
    lea r11, [r11 + r9]
    ret
page_number:
    .long 0xfffff000
    .globl stub_reach_end
stub_reach_end:
    .size stub_reach_read, . - stub_reach_read

/* A kernel's load of FS or GS with what it was loaded with before, from a descriptor that is what it was: r9d says where
 * that is kept in the struct. r11d selector. Flags stay; rcx is zero where it is done, and ecx waits in r8. */
    .globl stub_load_segment
    .type stub_load_segment, @function
stub_load_segment:
    mov r8, rcx
    lea r9, [r9 + r15]
    mov rcx, [r9 + LOADED_MINUS_SELECTOR]
    lea rcx, [rcx + r11]
    jrcxz 1f
    lea r9, [r9 + KERNEL_SEGMENT_SIZE]
    mov rcx, [r9 + LOADED_MINUS_SELECTOR]
    lea rcx, [rcx + r11]
    jrcxz 1f
    ret
1:  mov rcx, [r9]
    mov rcx, [rcx]
    mov r10, [r9 + LOADED_MINUS_DESCRIPTOR]
    lea rcx, [rcx + r10]
    jrcxz 2f
    ret
2:  mov r10, [r9 + KERNEL_SEGMENT_AT]
    mov rcx, [r9 + KERNEL_SEGMENT_HIDDEN]
    mov [r10], rcx
    mov rcx, [r9 + KERNEL_SEGMENT_HIDDEN + 8]
    mov [r10 + 8], rcx
    mov r10, [r9 + KERNEL_SEGMENT_WINDOW_AT]
    mov rcx, [r9 + KERNEL_SEGMENT_WINDOW]
    mov [r10], rcx
    mov rcx, [r9 + KERNEL_SEGMENT_WINDOW + 8]
    mov [r10 + 8], rcx
    mov ecx, 0
    ret
    .size stub_load_segment, . - stub_load_segment

/* A return that the return stack did not know, or knew wrong. r11d: eip. */
    .globl stub_return
stub_return:
    jump_cached

/* The return stack is empty: its one fixed entry leads here, and stays. */
    .globl stub_return_empty
stub_return_empty:
    lea rsp, [rsp - 8]
    jmp stub_return

    .globl stub_chain
stub_chain: /* r10 site, r11d target */
    save_guest
    mov [r15 + CPU_RETURN_RSP], rsp
    mov [r15 + CPU_CHAIN_SITE], r10
    mov [r15 + CPU_EIP], r11d
    mov eax, LEAVE_CHAIN
    jmp engine_leave_saved

/* Goes on when the victim at r9 is not the one for the name and target in r10. */
    .macro try_victim
    mov rcx, [r9]
    lea rcx, [rcx + r10]
    jrcxz 5f
    lea r9, [r9 + 16]
    .endm

/* r11d target, whose slot several want: the victims are looked at before C is. Neither flags nor ecx change on
 * the way to a landing pad, which checks the target once more. */
    .globl stub_contended
stub_contended:
    mov r8d, ecx
    mov ecx, [r15 + CPU_ATTENTION]
    jecxz 4f
    mov ecx, r8d
    jmp stub_leave_miss
4:  mov r10, [r13 + JUMP_CACHE_NAME]
    lea r10, [r10 + r11]
    mov r9d, 0
    crc32 r9, r10
    movzx r9d, r9w
    lea r9, [r9 * 8]
    lea r9, [r9 * 2]
    mov rcx, [r15 + CPU_VICTIMS]
    lea r9, [r9 + rcx]
    try_victim
    try_victim
    try_victim
    try_victim
    mov ecx, r8d
    jmp stub_miss
5:  mov ecx, r8d
    jmp [r9 + 8]

/* r11d target, whose slot is empty: so it is no victim. Most are known to somebody, and entered at once. */
    .globl stub_miss
    .type stub_miss, @function
stub_miss:
    save_guest
    mov [r15 + CPU_RETURN_RSP], rsp
    mov [r15 + CPU_EIP], r11d
    mov rsp, [r15 + CPU_HOST_RSP]
    mov rdi, r15
    call engine_missed
    mov r10, rax
    test rax, rax
    mov eax, LEAVE_LOOKUP
    jz engine_leave_saved
    mov rsp, [r15 + CPU_RETURN_RSP]
    load_guest
    jmp r10
    .size stub_miss, . - stub_miss

    .globl stub_leave_miss
stub_leave_miss: /* r11d target: the run loop is to go there */
    save_guest
    mov [r15 + CPU_RETURN_RSP], rsp
    mov [r15 + CPU_EIP], r11d
    mov eax, LEAVE_LOOKUP
    jmp engine_leave_saved

    .globl stub_attention
stub_attention: /* r11d where to go on */
    save_guest
    mov [r15 + CPU_RETURN_RSP], rsp
    mov [r15 + CPU_EIP], r11d
    mov eax, LEAVE_ATTENTION
    jmp engine_leave_saved

    .globl stubs_end
stubs_end:

    .section .note.GNU-stack, "", @progbits
