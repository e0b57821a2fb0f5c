/* The signal side of the vCPU process.
 *
 * SIGSEGV, SIGFPE, SIGILL and SIGBUS come from translated code (or from a bug of ours, which is
 * reported); SIGUSR1 and SIGALRM only ask for attention. Handlers call nothing that allocates or
 * touches vector registers. The kernel clears DF before a handler runs, but not AC: guest AC never
 * is in host flags, which the entry asserts. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "runtime/engine_private.h"
#include "runtime/plugin_private.h"
#include "runtime/vector_state.h"
#include "translator/tripwire.h"

/* The one machine of this process: a handler gets no argument. */
static struct vcpu *handled;

#define HANDLER_STACK_BYTES (256u << 10)

#define TRAP_DE 0
#define TRAP_UD 6
#define TRAP_GP 13
#define TRAP_PF 14
#define TRAP_MF 16
#define TRAP_XM 19

static const int guest_regs[8] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX,
                                  REG_R12, REG_RBP, REG_RSI, REG_RDI};

static void save_guest(struct cpu *cpu, const greg_t *regs) {
    for (unsigned i = 0; i < 8; i++)
        cpu->gpr[i] = (uint32_t)regs[guest_regs[i]];
    cpu->flags = ((uint32_t)regs[REG_EFL] & FL_HOST) | FL_ONE;
}

static void undo(const struct insn_map *insn, greg_t *regs) {
    bool pointing = (regs[REG_RSI] | regs[REG_RDI]) >> 32; /* into a window by now */
    if (insn->undo & UNDO_POINTERS && pointing) {
        regs[REG_RSI] = regs[REG_R8];
        regs[REG_RDI] = regs[REG_R9];
    }
    if (!(insn->undo & UNDO_SWAP_BYTES))
        return;
    greg_t *reg = &regs[guest_regs[insn->undo & 3u]];
    uint64_t value = (uint64_t)*reg;
    *reg = (greg_t)((value & ~0xffffull) | (value & 0xff) << 8 | (value >> 8 & 0xff));
}

/* Translated code goes on with what the frame's registers are by now; every other answer of the
 * functions below is the reason (enum leave) to go back to the run loop, guest state saved. */
#define RESUME (-1)

/* Run the instruction again from its first host byte behind what probes do. */
static void restart(const struct engine *e, const struct fragment *f, const struct insn_map *insn,
                    greg_t *regs) {
    for (unsigned i = 0; i < 8; i++)
        regs[guest_regs[i]] = (uint32_t)regs[guest_regs[i]];
    regs[REG_RIP] = (greg_t)(uintptr_t)(e->cache_exec + f->code + insn->body);
}

static void host_bug(const char *why, const greg_t *regs, uintptr_t address) {
    struct engine *e = handled->engine;
    e->why_dead = why;
    TRACE(handled->trace, host_fault, (uint64_t)regs[REG_TRAPNO], (uint64_t)regs[REG_RIP], address,
          (uint64_t)regs[REG_ERR]);
    engine_host_failure(handled, why, 0);
    _exit(0); /* v->exit says it all */
}

/* Which plugin it was. */
static const char *plugin_fault(const struct plugins *plugins) {
    static char text[sizeof plugins->plugins[0].name + 64];
    strcpy(text, "a fault in the code of plugin ");
    strncat(text, plugins_running(plugins), sizeof plugins->plugins[0].name);
    return text;
}

static enum leave raised(struct vcpu *v, uint8_t vector, bool has_error) {
    v->fault = (struct guest_fault){.vector = vector, .has_error = has_error};
    v->counters->other_faults++;
    return LEAVE_FAULT;
}

/* A string's address register has left its window; a single operand that crosses the window's end
 * leaves the registers where they are. */
static bool string_ran_past(struct shadow *s, const greg_t *regs) {
    const greg_t indexes[2] = {regs[REG_RSI], regs[REG_RDI]};
    for (unsigned i = 0; i < 2; i++) {
        const struct window *w = shadow_window_at(s, (uintptr_t)indexes[i]);
        if (w && (uintptr_t)indexes[i] - w->base >= WINDOW_SIZE)
            return true;
    }
    return false;
}

/* The site gets a hint, and its instruction is run again, translated by it. */
static enum leave learn(struct vcpu *v, gpa_t insn, uint8_t hint, gva_t gva) {
    struct engine *e = v->engine;
    uint8_t old = build_get_hint(e, insn);
    build_hint(e, insn, old | hint);
    TRACE(v->trace, hint, insn, gva, old, build_get_hint(e, insn));
    e->retranslate_gpa = insn;
    v->counters->retranslations++;
    return LEAVE_RETRY;
}

/* By a divisor of zero, mostly: the next time there is no signal. */
static enum leave classify_divide(struct vcpu *v, gpa_t insn) {
    if (!(build_get_hint(v->engine, insn) & HINT_DIVIDES))
        return learn(v, insn, HINT_DIVIDES, 0);
    return raised(v, VEC_DE, false);
}

static enum leave classify_page_fault(struct vcpu *v, const greg_t *regs, uintptr_t address, gpa_t insn) {
    struct engine *e = v->engine;
    const struct window *w = shadow_window_at(&e->shadow, address);
    bool write = (regs[REG_ERR] & PF_WRITE) != 0;
    if (!w)
        host_bug("translated code left its window", regs, address);
    if (address - w->base < WINDOW_SIZE || string_ran_past(&e->shadow, regs))
        return memory_fault(v, address, write, insn);
    if (!(build_get_hint(e, insn) & HINT_WRAPS))
        return learn(v, insn, HINT_WRAPS, (gva_t)(address - w->base));
    e->crossing_gva = (gva_t)(address - w->base);
    e->crossing_write = write;
    e->crossing_window = w;
    return LEAVE_CROSSING;
}

static enum leave classify(struct vcpu *v, const greg_t *regs, uintptr_t address, gpa_t insn) {
    switch (regs[REG_TRAPNO]) {
    case TRAP_PF:
        return classify_page_fault(v, regs, address, insn);
    case TRAP_GP:
        return raised(v, VEC_GP, true); /* a misaligned SSE operand, reserved MXCSR bits */
    case TRAP_DE:
        return classify_divide(v, insn);
    case TRAP_UD:
        return raised(v, VEC_UD, false);
    case TRAP_MF:
        return raised(v, VEC_MF, false);
    case TRAP_XM:
        return raised(v, v->cpu.paging.cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD, false);
    default:
        host_bug("an unexpected trap in translated code", regs, address);
    }
    return LEAVE_STOP;
}

static void settle_returns(greg_t *regs) {
    handled->cpu.return_rsp = (uint64_t)regs[REG_RSP];
    return_stack_settle(handled, false);
    regs[REG_RSP] = (greg_t)handled->cpu.return_rsp;
}

/* A transfer that did not go where its tripwire expects, or attention: both at an instruction
 * boundary. False: something else; `*answer` else. */
static bool tripped(greg_t *regs, uintptr_t pc, uintptr_t address, int *answer) {
    struct engine *e = handled->engine;
    uint32_t difference = (uint32_t)regs[REG_R11], expected;
    uintptr_t wire = (uintptr_t)e->poll_page + TRIPWIRE_OFFSET;
    uintptr_t offset = pc - (uintptr_t)e->cache_exec;
    if (address - wire > TRIPWIRE_REACH || offset < TRIPWIRE_LOAD ||
        offset > e->cache_size - TRIPWIRE_LOAD)
        return false;
    enum tripwire kind = tripwire_at(e->cache_exec + offset, &expected);
    if (kind != TRIPWIRE_LANDING && kind != TRIPWIRE_PAD)
        return false;
    if (!difference) {
        save_guest(&handled->cpu, regs);
        handled->cpu.eip = expected;
        settle_returns(regs);
        *answer = LEAVE_ATTENTION_;
        return true;
    }
    *answer = RESUME;
    uint32_t target = expected + difference;
    regs[REG_R11] = (greg_t)target;
    regs[REG_RIP] = (greg_t)(uintptr_t)(kind == TRIPWIRE_PAD ? stub_contended : stub_return);
    if (kind == TRIPWIRE_PAD)
        jump_cache_contend(handled, target);
    else
        fragment_make_wary(handled, (uint32_t)offset - TRIPWIRE_LOAD, expected);
    return true;
}

/* A fault of one instruction of a fragment. */
static int instruction_fault(const struct fragment *f, greg_t *regs, uintptr_t pc, uintptr_t address) {
    struct vcpu *v = handled;
    struct engine *e = v->engine;
    const struct insn_map *insn = fragment_insn(e, f, pc);
    undo(insn, regs);
    save_guest(&v->cpu, regs);
    v->cpu.return_rsp = (uint64_t)regs[REG_RSP]; /* plugins that are told may write to code */
    int32_t lag = insn->esp;
    v->cpu.gpr[ESP] += (uint32_t)lag;
    v->cpu.eip = f->eip + insn->guest;
    gpa_t at = f->gpa + insn->guest;
    bool polled = address >> PAGE_SHIFT == (uintptr_t)e->poll_page >> PAGE_SHIFT;
    bool misread = insn->undo & UNDO_GUESS && address - (uintptr_t)e->poll_page - PAGE_SIZE < TRIPWIRE_REACH;
    enum leave reason = LEAVE_ATTENTION_;
    if (polled)
        e->polled_pc = pc;
    else if (!misread)
        reason = classify(v, regs, address, at);
    if (misread || (reason == LEAVE_FAULT && insn->undo & UNDO_GUESS &&
                    v->fault.cr2 - (v->cpu.gpr[ESP] - 4) >= 4)) {
        e->retranslate_gpa = at;
        reason = LEAVE_RETRY;
    }
    if ((reason == LEAVE_RETRY || reason == LEAVE_WATCHED) && insn->undo & UNDO_SHADOWED)
        v->cpu.interrupt_shadow = SHADOW_OF_STI;
    settle_returns(regs);
    if (reason == LEAVE_NEXT_ && !(insn->undo & (UNDO_SWAP_BYTES | UNDO_POINTERS)))
        return RESUME; /* the access is tried again just where it was */
    if (reason != LEAVE_NEXT_ && reason != LEAVE_JUMP_)
        return (int)reason;
    restart(e, f, insn, regs);
    return RESUME;
}

/* Where the guest's call at `pc` leads, be it E8 or through the jump cache at r13; callouts go through r15. */
static bool call_target(const struct fragment *f, const greg_t *regs, uintptr_t pc, uint32_t *target) {
    const struct engine *e = handled->engine;
    const uint8_t *code = (const uint8_t *)pc;
    uint32_t site = (uint32_t)(pc + 1 - (uintptr_t)e->cache_exec);
    *target = (uint32_t)regs[REG_R11];
    if (code[0] != 0xe8)
        return (code[0] & 0xf9) == 0x41 && code[1] == 0xff && (code[(code[2] & 7) == 4 ? 3 : 2] & 7) == 5;
    for (unsigned i = 0; f != &e->scratch && i < f->exit_count; i++)
        if (e->exits[f->exits + i].site == site) {
            *target = e->exits[f->exits + i].target;
            return true;
        }
    return false;
}

/* The return stack is full: it is emptied. Calls that never return look for attention nowhere else. */
static int answer_overflow(const struct fragment *f, greg_t *regs, uintptr_t pc, uint64_t emptied) {
    uint32_t target;
    regs[REG_RSP] = (greg_t)(f ? emptied : return_stack_keep_top(emptied, (uint64_t)regs[REG_RSP]));
    if (!f || !handled->engine->poll_closed || !call_target(f, regs, pc, &target))
        return RESUME;
    save_guest(&handled->cpu, regs);
    handled->cpu.eip = target;
    settle_returns(regs);
    return LEAVE_ATTENTION_;
}

static int answer_fault(int signal, greg_t *regs) {
    struct vcpu *v = handled;
    struct engine *e = v->engine;
    uintptr_t pc = (uintptr_t)regs[REG_RIP];
    uintptr_t address = regs[REG_TRAPNO] == TRAP_PF ? (uintptr_t)regs[REG_CR2] : 0;
    int answer;
    if (plugins_running(v->plugins))
        host_bug(plugin_fault(v->plugins), regs, address);
    assert(!(regs[REG_EFL] & FL_AC));
    if (address && tripped(regs, pc, address, &answer))
        return answer;
    struct fragment *f = fragment_at(e, pc);
    uint64_t emptied = address ? return_stack_overflow(v, address) : 0;
    if (emptied)
        return answer_overflow(f, regs, pc, emptied);
    if (!f || signal == SIGBUS)
        host_bug(signal == SIGBUS ? "guest memory is gone (is the host out of memory?)"
                                  : "a fault in the monitor's own code",
                 regs, address);
    return instruction_fault(f, regs, pc, address);
}

/* Without SA_SIGINFO the kernel fills in no siginfo; the context is there all the same. */
static void on_fault(int signal, siginfo_t *info, void *context) {
    mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
    struct engine *e = handled->engine;
    (void)info;
    e->fault_context = context;
    if (machine->gregs[REG_RIP] == (greg_t)(uintptr_t)guarded_copy_fault) { /* a plugin's pointer was bad */
        machine->gregs[REG_RIP] = (greg_t)(uintptr_t)guarded_copy_failed;
        return;
    }
    int answer = answer_fault(signal, machine->gregs);
    vector_restore((const uint8_t *)machine->fpregs, e->use_xsave);
    assert(machine->gregs[REG_R15] == (greg_t)(uintptr_t)&handled->cpu);
    if (answer != RESUME)
        fault_leave(&handled->cpu, answer);
    handled->cpu.resume = (uint64_t)machine->gregs[REG_RIP];
    fault_resume(machine->gregs);
}

void signals_clear_alignment_checks(void) {
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~(unsigned long long)FL_AC);
}

static void on_attention(int signal, siginfo_t *info, void *context) {
    signals_clear_alignment_checks();
    (void)signal, (void)info;
    handled->cpu.attention = 1;
    handled->engine->sync_wanted = true;
    if (!handled->cpu.halted)
        attention_close_poll(handled->engine,
                             (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP]);
    handled->counters->host_signals++;
}

/* Translated code's RSP is no stack for handlers. */
static int alternate_stack(void) {
    stack_t stack = {.ss_size = HANDLER_STACK_BYTES};
    stack.ss_sp =
        mmap(NULL, HANDLER_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp == MAP_FAILED)
        return -errno;
    handled->engine->handler_stack = stack.ss_sp;
    handled->engine->handler_stack_size = HANDLER_STACK_BYTES;
    return sigaltstack(&stack, NULL) ? -errno : 0;
}

int signals_init(struct vcpu *v) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    struct sigaction action = {.sa_flags = SA_ONSTACK | SA_NODEFER};
    handled = v;
    int status = alternate_stack();
    if (status)
        return status;
    sigemptyset(&action.sa_mask);
    action.sa_sigaction = on_fault;
    for (unsigned i = 0; i < sizeof faults / sizeof *faults; i++)
        if (sigaction(faults[i], &action, NULL))
            return -errno;
    struct sigaction attention = {.sa_sigaction = on_attention, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&attention.sa_mask);
    if (sigaction(SIGUSR1, &attention, NULL) || sigaction(SIGALRM, &attention, NULL))
        return -errno;
    return 0;
}
