/* The offsets that assembly uses are the struct's. */
#include "runtime/cpu_offsets.h"
#include "runtime/engine_private.h"

#define CHECK(offset, field)                                                                      \
    _Static_assert((offset) == __builtin_offsetof(struct cpu, field), "cpu_offsets.h: " #field)

CHECK(CPU_EAX, gpr[EAX]);
CHECK(CPU_ESP, gpr[ESP]);
CHECK(CPU_EDI, gpr[EDI]);
CHECK(CPU_EIP, eip);
CHECK(CPU_FLAGS, flags);
CHECK(CPU_ATTENTION, attention);
CHECK(CPU_WINDOW, window);
CHECK(CPU_JUMP_CACHE, jump_cache);
CHECK(CPU_VICTIMS, victims);
CHECK(CPU_REACH_TLB, reach_tlb);
CHECK(CPU_REACH_BITS, reach_bits);
CHECK(CPU_REACH_LEFT, reach_left);
CHECK(CPU_CLEAN_FROM, clean_from);
CHECK(CPU_CLEAN_LEN, clean_len);
CHECK(CPU_CLEAN_DELTA, clean_delta);
CHECK(CPU_REACH_SAVED, reach_saved);
CHECK(CPU_REACHED, reached);
_Static_assert(sizeof(struct tlb_entry) == 1 << TLB_ENTRY_SHIFT && TLB_SIZE == TLB_SLOTS &&
                   TLB_DIRTY == __builtin_offsetof(struct tlb_entry, dirty) &&
                   TLB_DELTA == __builtin_offsetof(struct tlb_entry, delta) && PAGE_SIZE == 4096,
               "cpu_offsets.h: look-aside buffer");
_Static_assert(CALLOUT_REACH == CALLOUT_reach && REACH_WRITTEN == REACH_WRITTEN_SHIFT, "cpu_offsets.h: reach");
CHECK(CPU_CHAIN_SITE, chain_site);
CHECK(CPU_HOST_RSP, host_rsp);
CHECK(CPU_RETURN_RSP, return_rsp);
CHECK(CPU_RESUME, resume);
#define CHECK_KERNEL(offset, field)                                                               \
    _Static_assert((offset) == __builtin_offsetof(struct kernel_load, field), "cpu_offsets.h: " #field)
CHECK_KERNEL(LOADED_MINUS_DESCRIPTOR, from.minus_descriptor);
CHECK_KERNEL(LOADED_MINUS_SELECTOR, from.minus_selector);
CHECK_KERNEL(KERNEL_SEGMENT_HIDDEN, segment);
CHECK_KERNEL(KERNEL_SEGMENT_WINDOW, window);
CHECK_KERNEL(KERNEL_SEGMENT_AT, segment_at);
CHECK_KERNEL(KERNEL_SEGMENT_WINDOW_AT, window_at);
_Static_assert(sizeof(struct kernel_load) == KERNEL_SEGMENT_SIZE && sizeof(struct segment) == 16,
               "cpu_offsets.h: struct kernel_load");
_Static_assert(LEAVE_CHAIN == LEAVE_CHAIN_ && LEAVE_LOOKUP == LEAVE_LOOKUP_ &&
                   LEAVE_ATTENTION == LEAVE_ATTENTION_,
               "cpu_offsets.h: reasons");
_Static_assert(REG_R8 == 0 && REG_R15 == 7 && REG_RDI == 8 && REG_RSI == 9 && REG_RBP == 10 && REG_RBX == 11 &&
                   REG_RDX == 12 && REG_RAX == 13 && REG_RCX == 14 && REG_RSP == 15 && REG_EFL == 17,
               "stubs.S: fault_resume");
_Static_assert(JUMP_CACHE_NAME == JUMP_CACHE_NAME_OFFSET, "cpu_offsets.h: jump cache");
_Static_assert(sizeof(struct jump_victim) == 16 && VICTIM_WAYS == 4, "stubs.S: victims");
