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
CHECK(CPU_USER_WINDOW, user_window);
CHECK(CPU_JUMP_CACHE, jump_cache);
CHECK(CPU_CHAIN_SITE, chain_site);
CHECK(CPU_HOST_RSP, host_rsp);
CHECK(CPU_RETURN_RSP, return_rsp);
_Static_assert(LEAVE_CHAIN == LEAVE_CHAIN_ && LEAVE_LOOKUP == LEAVE_LOOKUP_ &&
                   LEAVE_ATTENTION == LEAVE_ATTENTION_,
               "cpu_offsets.h: reasons");
_Static_assert(JUMP_CACHE_SLOT_BYTES == JUMP_CACHE_SLOTS * 8, "cpu_offsets.h: jump cache");
