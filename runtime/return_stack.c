/* Return stacks: where translated code's host CALLs keep their return addresses.
 *
 * A guest call is a host call and a guest return a host return, so the host predicts them. The
 * guest may call without end or return without a call: the stack is small, below it lies a guard
 * page (a fault there empties it, but for the topmost entries when a stub pushes), and its bottom
 * entry leads to the jump cache. An entry is a promise about one code space and address space: the
 * stack of user code is set aside while the kernel
 * runs and taken up again only if both are the same, and no code mapping changed meanwhile. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/engine_private.h"

#define STACK_BYTES 65536u
#define GUARD_BYTES 65536u
#define KEPT_BYTES 32u /* more than a stub has on the stack */

int return_stacks_init(struct vcpu *v) {
    struct engine *e = v->engine;
    for (unsigned user = 0; user < 2; user++) {
        uint8_t *at = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
                           -1, 0);
        if (at == MAP_FAILED || mprotect(at + GUARD_BYTES, STACK_BYTES, PROT_READ | PROT_WRITE))
            return -errno;
        uint64_t base = (uint64_t)(uintptr_t)(at + GUARD_BYTES + STACK_BYTES) - 64;
        *(uint64_t *)(uintptr_t)base = (uint64_t)(uintptr_t)stub_return_empty;
        e->return_base[user] = base;
    }
    e->user_returns_stale = true;
    e->return_window = WINDOW_SUPERVISOR;
    v->cpu.return_rsp = e->return_base[0];
    return 0;
}

void return_stack_switch(struct vcpu *v, unsigned window, const struct code_space *space) {
    struct engine *e = v->engine;
    if (window == e->return_window && code_space_equal(space, &e->return_space)) {
        return_stack_settle(v, false);
        return;
    }
    if (e->return_window != WINDOW_SUPERVISOR) {
        e->user_return_rsp = v->cpu.return_rsp;
        e->user_return_window = e->return_window;
        e->user_return_space = e->return_space;
        e->user_returns_stale = e->returns_stale;
    }
    bool user = window != WINDOW_SUPERVISOR;
    bool resume = user && !e->user_returns_stale && e->user_return_window == window &&
                  code_space_equal(&e->user_return_space, space);
    v->cpu.return_rsp = resume ? e->user_return_rsp : e->return_base[user];
    e->return_window = window;
    e->return_space = *space;
    e->returns_stale = false;
}

void return_stacks_forget(struct engine *e) { e->returns_stale = e->user_returns_stale = true; }

static void redirect(uint64_t rsp, uint64_t base, uintptr_t code, uint32_t len) {
    assert(rsp <= base && base - rsp < STACK_BYTES && rsp % 8 == 0);
    for (uint64_t *at = (uint64_t *)(uintptr_t)rsp; at < (uint64_t *)(uintptr_t)base; at++)
        if (*at - code < len)
            *at = (uint64_t)(uintptr_t)stub_return;
}

/* stub_return goes where the guest's return address says, as the landing would have found out. */
void return_stacks_forget_code(struct vcpu *v, uintptr_t code, uint32_t len) {
    const struct engine *e = v->engine;
    bool user = e->return_window != WINDOW_SUPERVISOR;
    if (!e->returns_stale)
        redirect(v->cpu.return_rsp, e->return_base[user], code, len);
    if (!user && !e->user_returns_stale)
        redirect(e->user_return_rsp, e->return_base[1], code, len);
}

void return_stack_settle(struct vcpu *v, bool keep) {
    struct engine *e = v->engine;
    if (!e->returns_stale)
        return;
    uint64_t base = e->return_base[e->return_window != WINDOW_SUPERVISOR];
    if (keep)
        memcpy((void *)(uintptr_t)(base - 8), (void *)(uintptr_t)(v->cpu.return_rsp - 8), 8);
    v->cpu.return_rsp = base;
    e->returns_stale = false;
}

uint64_t return_stack_overflow(const struct vcpu *v, uintptr_t address) {
    const struct engine *e = v->engine;
    for (unsigned user = 0; user < 2; user++) {
        uint64_t top = e->return_base[user] + 64 - STACK_BYTES;
        if (address >= top - GUARD_BYTES && address < top)
            return e->return_base[user];
    }
    return 0;
}

uint64_t return_stack_keep_top(uint64_t base, uint64_t rsp) {
    uint64_t to = base - KEPT_BYTES;
    assert(rsp < to && base - rsp <= STACK_BYTES);
    memcpy((void *)(uintptr_t)to, (const void *)(uintptr_t)rsp, KEPT_BYTES);
    return to;
}
