/* The sentences of insn_why.h. */
#include "translator/insn_why.h"

#include <assert.h>
#include <stddef.h>

#include "translator/block.h"

/* Emitters that are not plain callouts. */
static const struct {
    emitter_fn emit;
    const char *why;
} emitters[] = {
    {e_ident, "computes on registers, flags and memory only: the processor does it itself, with memory behind the window"},
    {e_incdec, "40-4F are REX prefixes in 64-bit code: the two-byte form of INC and DEC says the same"},
    {e_alias82, "82 means 80 to a 32-bit processor and is undefined in 64-bit code"},
    {e_lea, "an address is computed and none touched: a sum of the guest's registers, ESP being r12d"},
    {e_moffs, "A0-A3 carry an address of 8 bytes in 64-bit code: an ordinary load or store through the window"},
    {e_xlat, "the table lies in guest memory at EBX + AL: a load through the window, the sum wrapping at 4 GiB"},
    {e_maskmov, "stores at EDI, for which the host has no other register: EDI becomes an address in the window meanwhile"},
    {e_string, "the ES side takes no segment override: ESI and EDI become addresses in the window and are cut to 32 bits behind"},
    {e_nop, "a hint without effect"},
    {e_push_reg, "RSP belongs to the host (return addresses): the guest's ESP is r12d; runs of pushes only count"},
    {e_push_imm, "RSP belongs to the host (return addresses): the guest's ESP is r12d; runs of pushes only count"},
    {e_push_rm, "RSP belongs to the host: a load through the window, a store below r12d"},
    {e_push_seg, "selectors are the guest's, kept in the CPU struct; the host's own would be pushed, and nothing would trap"},
    {e_pop_reg, "RSP belongs to the host: a load at r12d; ESP is moved behind it, so that a fault leaves nothing half done"},
    {e_pop_rm, "RSP belongs to the host: a load at r12d and a store through the window"},
    {e_pusha, "gone from 64-bit code: eight stores below r12d"},
    {e_popa, "gone from 64-bit code: seven loads from r12d on"},
    {e_pushf, "IF, IOPL and their kin are the guest's, kept in the struct: the host's flags would show IF set, and nothing would trap"},
    {e_popf, "POPF above CPL 0 leaves IF alone without a trap: a kernel's POPF sets the guest's IF in the struct, rare cases call out"},
    {e_enter, "RSP belongs to the host: stores below r12d; nesting levels call out"},
    {e_leave, "RSP belongs to the host: r12d from EBP, EBP from guest memory"},
    {e_call_rel, "the guest's return address goes to the guest's stack; a host CALL beside it lets the host predict the return"},
    {e_call_rm, "the target is a guest address: the jump cache gives its translation; a host CALL lets the host predict the return"},
    {e_jmp_rel, "the target's translation lies elsewhere: a link, patched once that exists"},
    {e_jmp_rm, "the target is a guest address known only now: the jump cache gives its translation"},
    {e_jcc, "the target's translation lies elsewhere: a link; where the branch is not taken translation goes on"},
    {e_loop, "ECX is counted by the host; both ways out are links"},
    {e_ret, "pops the guest's return address; a host RET goes where the host predicts, and the landing there compares"},
    {e_into, "gone from 64-bit code: a jump over a callout that delivers #OF"},
    {e_cli, "IF is the guest's: at CPL 0 a store to the struct. The host's IF would stop all of the host, so hardware forbids it"},
    {e_sti, "IF is the guest's: at CPL 0 a store to the struct, and a look for a waiting interrupt behind the next instruction"},
    {e_mov_from_seg, "selectors are the guest's, kept in the struct; the host's own would show, and nothing would trap"},
    {e_mov_from_cr, "control registers are the guest's: at CPL 0 a load from the struct"},
    {e_rdtsc, "guest and host share the time stamp counter while the guest has set no offset"},
    {e_undefined, "raises #UD on the processor that the guest's CPUID describes"},
};

static const char *const callouts[CALLOUT_COUNT] = {
    [CALLOUT_int_n] = "goes through the guest's IDT, with its gate, privilege and stack; the host's would take it",
    [CALLOUT_int3] = "a breakpoint of the guest: #BP through the guest's IDT; on the host it would be a SIGTRAP",
    [CALLOUT_into] = "delivers #OF through the guest's IDT",
    [CALLOUT_int1] = "delivers #DB through the guest's IDT",
    [CALLOUT_bound] = "gone from 64-bit code: the bounds are compared in C, #BR goes through the guest's IDT",
    [CALLOUT_iret] = "takes CS, SS, EFLAGS and the privilege level from the guest's stack: all of them are virtual",
    [CALLOUT_sysenter] = "enters the guest's kernel by the guest's MSRs; the host's would enter the host's",
    [CALLOUT_sysexit] = "lowers the guest's privilege; the host allows it at its own CPL 0 only",
    [CALLOUT_call_far] = "loads CS: descriptor, gate or task of the guest's tables, and maybe another privilege level",
    [CALLOUT_call_far_mem] = "loads CS: descriptor, gate or task of the guest's tables, and maybe another privilege level",
    [CALLOUT_jmp_far] = "loads CS: descriptor, gate or task of the guest's tables",
    [CALLOUT_jmp_far_mem] = "loads CS: descriptor, gate or task of the guest's tables",
    [CALLOUT_ret_far] = "loads CS and maybe SS by the guest's tables, and may lower the privilege",
    [CALLOUT_mov_to_seg] = "loads a descriptor of the guest's GDT or LDT; the host's tables know no such selector",
    [CALLOUT_pop_seg] = "loads a descriptor of the guest's GDT or LDT; the host's tables know no such selector",
    [CALLOUT_load_far] = "loads a descriptor of the guest's GDT or LDT; the host's tables know no such selector",
    [CALLOUT_popf] = "above CPL 0 the processor leaves IF and IOPL as they are and does not trap: who sees which flags is decided in C",
    [CALLOUT_hlt] = "the guest's processor sleeps until the guest's next interrupt, not the host's",
    [CALLOUT_lgdt] = "the descriptor tables are the guest's; the host keeps its own",
    [CALLOUT_lidt] = "the interrupt table is the guest's; the host keeps its own",
    [CALLOUT_sgdt] = "in ring 3 it stores where the host's GDT lies, and does not trap: the guest must see its own",
    [CALLOUT_sidt] = "in ring 3 it stores where the host's IDT lies, and does not trap: the guest must see its own",
    [CALLOUT_lldt] = "loads the guest's LDT by the guest's GDT",
    [CALLOUT_ltr] = "loads the guest's task register by the guest's GDT, and marks the task busy",
    [CALLOUT_sldt] = "in ring 3 it gives the host's LDT selector, and does not trap: the guest must see its own",
    [CALLOUT_str] = "in ring 3 it gives the host's task register, and does not trap: the guest must see its own",
    [CALLOUT_smsw] = "in ring 3 it gives the host's CR0, and does not trap: the guest must see its own",
    [CALLOUT_lmsw] = "changes the guest's CR0, and with it the mode",
    [CALLOUT_clts] = "changes TS in the guest's CR0: whether x87 and SSE fault",
    [CALLOUT_mov_to_cr] = "changes the guest's paging or mode: windows and translations may have to follow",
    [CALLOUT_mov_to_dr] = "arms breakpoints of the guest, which translation takes care of",
    [CALLOUT_mov_from_dr] = "debug registers are the guest's, kept in the struct",
    [CALLOUT_invlpg] = "the window's page must go, so that the guest's changed entry is seen",
    [CALLOUT_wbinvd] = "caches are the host's: nothing to do but to check the privilege",
    [CALLOUT_rdmsr] = "model-specific registers are those of the guest's CPU model",
    [CALLOUT_wrmsr] = "model-specific registers are those of the guest's CPU model",
    [CALLOUT_rdpmc] = "the guest's CPU model has no performance counters",
    [CALLOUT_cpuid] = "describes the guest's CPU model; the host's would promise what is not there, and does not trap",
    [CALLOUT_xgetbv] = "XCR0 is the guest's",
    [CALLOUT_xsetbv] = "XCR0 is the guest's: which vector state exists",
    [CALLOUT_lar] = "reads the rights from the host's descriptor tables, and does not trap: the guest's must be read",
    [CALLOUT_lsl] = "reads the limit from the host's descriptor tables, and does not trap: the guest's must be read",
    [CALLOUT_verr] = "asks the host's descriptor tables, and does not trap: the guest's must be asked",
    [CALLOUT_verw] = "asks the host's descriptor tables, and does not trap: the guest's must be asked",
    [CALLOUT_arpl] = "means MOVSXD in 64-bit code: done in C",
    [CALLOUT_in] = "the port is a device of the guest's machine",
    [CALLOUT_out] = "the port is a device of the guest's machine",
    [CALLOUT_ins] = "the port is a device of the guest's machine, the memory the guest's",
    [CALLOUT_outs] = "the port is a device of the guest's machine, the memory the guest's",
    [CALLOUT_daa] = "gone from 64-bit code: done in C",
    [CALLOUT_das] = "gone from 64-bit code: done in C",
    [CALLOUT_aaa] = "gone from 64-bit code: done in C",
    [CALLOUT_aas] = "gone from 64-bit code: done in C",
    [CALLOUT_aam] = "gone from 64-bit code: done in C",
    [CALLOUT_aad] = "gone from 64-bit code: done in C",
    [CALLOUT_salc] = "gone from 64-bit code: done in C",
    [CALLOUT_fxsave] = "its image differs in 64-bit code, and holds addresses of translated code",
    [CALLOUT_fxrstor] = "its image differs in 64-bit code, and is the guest's to choose",
    [CALLOUT_xsave] = "its image differs in 64-bit code, and holds addresses of translated code",
    [CALLOUT_xrstor] = "its image differs in 64-bit code, and is the guest's to choose",
    [CALLOUT_fnsave] = "stores the address of the last x87 instruction, which is the guest's and not the translation's",
    [CALLOUT_fnstenv] = "stores the address of the last x87 instruction, which is the guest's and not the translation's",
};

const char *insn_class_name(enum insn_class cls) {
    static const char *const names[] = {[CLASS_IDENTICAL] = "identical",
                                        [CLASS_REWRITTEN] = "rewritten",
                                        [CLASS_INLINE] = "inline",
                                        [CLASS_CALLOUT] = "callout",
                                        [CLASS_UNDEFINED] = "undefined"};
    assert(cls <= CLASS_UNDEFINED);
    return names[cls];
}

const char *insn_why(const struct insn_row *row) {
    for (unsigned i = 0; i < sizeof emitters / sizeof *emitters; i++)
        if (emitters[i].emit == row->emit)
            return emitters[i].why;
    return row->callout < CALLOUT_COUNT ? callout_why((enum callout_id)row->callout) : "";
}

const char *callout_why(enum callout_id id) {
    assert(id < CALLOUT_COUNT);
    return callouts[id] ? callouts[id] : "";
}

const struct insn_row *insn_row_of(const struct translate_request *req, uint32_t offset,
                                   uint32_t *len, uint32_t *vector) {
    struct insn in;
    assert(offset < req->len);
    int verdict = insn_decode(req, offset, &in);
    *vector = verdict == DECODE_MORE ? 0 : (uint32_t)verdict;
    *len = verdict ? 1 : in.len;
    return verdict ? NULL : in.row;
}
