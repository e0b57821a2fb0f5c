/* What is not compared, each with its reason: rows whose results differ by design, outcomes that
 * say nothing, and flags that the manual leaves undefined. */
#include <string.h>

#include "tests/diff/generator.h"
#include "translator/block.h"

static const struct {
    const char *name, *operands; /* operands: NULL for any */
    const char *reason;
} left_out_rows[] = {
    {"CPUID", NULL, "the guest's processor is a model of its own"},
    {"RDTSC", NULL, "time"},
    {"RDTSCP", NULL, "time; TSC_AUX is the kernel's"},
    {"RDRAND", NULL, "random"},
    {"RDSEED", NULL, "random"},
    {"RDPMC", NULL, "CR4.PCE is the kernel's"},
    {"XGETBV/XSETBV", NULL, "XCR0 is the kernel's"},
    {"SGDT", NULL, "the descriptor tables' addresses are the kernel's; UMIP"},
    {"SIDT", NULL, "the descriptor tables' addresses are the kernel's; UMIP"},
    {"SLDT", NULL, "the selector is the kernel's; UMIP"},
    {"STR", NULL, "the selector is the kernel's; UMIP"},
    {"SMSW", NULL, "CR0 is the kernel's; UMIP"},
    {"SYSENTER", NULL, "the host's system call"},
    {"SYSCALL", NULL, "the host's system call"},
    {"SYSRET", NULL, "not there outside 64-bit mode on Intel's processors"},
};

const char *row_left_out(const struct insn_row *row) {
    for (unsigned i = 0; i < sizeof left_out_rows / sizeof *left_out_rows; i++)
        if (strcmp(row->name, left_out_rows[i].name) == 0 &&
            (!left_out_rows[i].operands || strcmp(row->operands, left_out_rows[i].operands) == 0))
            return left_out_rows[i].reason;
    return NULL;
}

/* The instruction at an EIP of the sequence's code. False: outside, or none. */
static bool insn_at(const struct sequence *s, uint32_t eip, struct insn *in) {
    static struct job job;
    assemble(s, &job);
    uint32_t offset = eip + s->code_base - job.code_at;
    if (offset >= job.code_len)
        return false;
    const struct translate_request req = {.bytes = job.code + offset, .len = 32, .page_bytes = 32};
    return insn_decode(&req, 0, in) == 0;
}

static bool is_state_area(const struct insn *in) {
    unsigned id = in->row->callout;
    return id == CALLOUT_xsave || id == CALLOUT_xrstor || id == CALLOUT_fxsave ||
           id == CALLOUT_fxrstor;
}

/* FNSTENV, FNSAVE, FLDENV, FRSTOR. */
static bool is_x87_area(const struct insn *in) {
    unsigned reg = in->z.raw.modrm.reg;
    return in->row->unit == UNIT_X87 && (in->z.opcode == 0xd9 || in->z.opcode == 0xdd) &&
           in->z.raw.modrm.mod != 3 && (reg == 4 || reg == 6);
}

static bool converts_half(const struct insn *in) {
    return in->row->vex && ((in->row->map == 2 && in->z.opcode == 0x13) ||
                            (in->row->map == 3 && in->z.opcode == 0x1d));
}

static bool is_near_call(const struct insn *in) {
    return in->row->emit == e_call_rel || in->row->emit == e_call_rm;
}

static bool is_far_transfer(const struct insn *in) {
    unsigned id = in->row->callout;
    return id == CALLOUT_call_far || id == CALLOUT_call_far_mem || id == CALLOUT_ret_far ||
           id == CALLOUT_iret;
}

/* A string's destination across the end of its segment. */
static bool destination_wraps(const struct insn *in, const struct outcome *guest) {
    return in->row->emit == e_string && guest->out.gpr[EDI] > UINT32_MAX - 3;
}

/* Page faults that only one side raises, or elsewhere. */
static const char *open_page_fault(const struct sequence *s, const struct outcome *native,
                                   const struct outcome *guest) {
    struct insn in;
    if (guest->trap != VEC_PF || !insn_at(s, guest->out.eip, &in))
        return NULL;
    uint32_t base = selector_base(guest->out.seg[in.segment]);
    uint32_t stack = selector_base(guest->out.seg[SEG_SS]);
    bool ends = destination_wraps(&in, guest) || (base && guest->cr2 - base > UINT32_MAX - 64) ||
                (stack && guest->cr2 - stack > UINT32_MAX - 64);
    if (ends && (native->trap == VEC_GP || native->trap == VEC_SS))
        return "an operand that wraps around the end of its segment (SDM vol. 3A, 5.3)";
    if (native->trap == VEC_DB && random_is_gather(in.row))
        return "the trap of a gather's elements in lieu of its fault (SDM vol. 2C, VGATHERDPS)";
    if (in.addr16 && (is_state_area(&in) || in.row->emit == e_maskmov) &&
        guest->cr2 - base > 0xffff)
        return "a state area or masked move across the end of 64 KiB, with 16-bit addresses";
    return NULL;
}

/* Which of two faults comes first, where the manual leaves that to the processor. */
static const char *open_by_manual(const struct sequence *s, const struct outcome *native,
                                  const struct outcome *guest) {
    struct insn in;
    bool checked = guest->trap == VEC_SS || guest->trap == VEC_GP || guest->trap == VEC_AC;
    if (guest->ending != ENDED_TRAP || !checked || !insn_at(s, guest->out.eip, &in) ||
        (native->trap == guest->trap && native->out.eip == guest->out.eip))
        return NULL;
    if (native->trap == VEC_AC && is_state_area(&in))
        return "#AC or #GP for a misaligned state area (SDM vol. 2, FXSAVE, XSAVE: exceptions)";
    if (native->trap == VEC_GP && guest->trap == VEC_SS && in.row->unit >= UNIT_SSE)
        return "#GP by alignment or #SS by limit (SDM vol. 3A, 6.9)";
    if (native->trap == VEC_PF && in.row->callout == CALLOUT_xrstor)
        return "#GP by contents or #PF by extent of XRSTOR's area (SDM vol. 1, 13.8)";
    if (native->trap == VEC_PF && is_x87_area(&in))
        return "the limit or the page of an x87 state area, which is touched item by item";
    if (converts_half(&in) && (guest->trap == VEC_AC || native->trap == VEC_XM))
        return "VCVTPS2PH, which converts before it stores and is not checked for alignment";
    if (is_far_transfer(&in) && native->trap == VEC_PF && guest->trap == VEC_SS)
        return "the limit or the page of a far transfer's frame, which is touched item by item";
    if (is_near_call(&in) && s->code_base && guest->trap == VEC_GP)
        return "a near CALL whose target and frame both fault: the target first (SDM vol. 2A, "
               "CALL)";
    if (in.row->emit == e_maskmov)
        return "a masked move whose masked elements lie beyond the limit: all of it is checked";
    bool unmasked = (guest->out.vector[0] & 0x3f) != 0x3f; /* FCW */
    if (in.row->unit == UNIT_X87 && unmasked)
        return "an x87 store that an unmasked exception stops (SDM vol. 1, 8.5)";
    return NULL;
}

static bool returns_from_task(const struct sequence *s, const struct outcome *native) {
    struct insn in;
    return native->trap == VEC_GP && native->out.eflags & FL_NT &&
           insn_at(s, native->out.eip, &in) && in.row->callout == CALLOUT_iret;
}

const char *outcome_left_out(const struct sequence *s, const struct outcome *native,
                             const struct outcome *guest) {
    struct insn in;
    if ((native->out.seg[SEG_CS] & ~3u) == SELECTOR_LONG ||
        (guest->out.seg[SEG_CS] & ~3u) == SELECTOR_LONG)
        return "64-bit code of the host's";
    if (native->ending == ENDED_SYSCALL)
        return "a system call of the host";
    if (returns_from_task(s, native))
        return "IRET with NT, which has no tasks to return to on the host (SDM vol. 3A, 7.7)";
    if (native->ending == ENDED_TIMEOUT && guest->ending == ENDED_TIMEOUT)
        return "endless on both sides";
    if (native->ending == ENDED_TIMEOUT && insn_at(s, native->out.eip, &in) && locks_bus(&in))
        return "a locked operand across cache lines, which the host's kernel delays";
    const char *open = open_by_manual(s, native, guest);
    open = open ? open : open_page_fault(s, native, guest);
    if (open)
        return open;
    if (guest->cr2 - KERNEL < GUEST_RAM)
        return "an access to the guest's kernel";
    bool guest_ud = guest->ending == ENDED_TRAP && guest->trap == 6;
    if (guest_ud && (native->trap != VEC_UD || native->out.eip != guest->out.eip) &&
        !insn_at(s, guest->out.eip, &in))
        return "an instruction that the guest's CPUID does not offer";
    return NULL;
}

static bool stores_x87_pointers(const struct insn_row *row) {
    unsigned id = row->callout;
    return id == CALLOUT_fnstenv || id == CALLOUT_fnsave || id == CALLOUT_fxsave ||
           id == CALLOUT_xsave;
}

/* The last x87 opcode (FOP, two bytes) and data pointer (FDP, four), stored after an instruction
 * with an operand in memory: they are those of the translated instruction, whose ModRM byte and
 * segment may be others. The instruction pointer is not among them. */
static bool x87_pointers_are_open(const struct sequence *s, const struct outcome *native,
                                  const struct outcome *guest) {
    bool x87 = false, stored = false;
    unsigned differing = 0;
    for (unsigned i = 0; i < s->count; i++) {
        if (s->elements[i].row == NO_ROW || s->elements[i].removed)
            continue;
        const struct insn_row *row = &insn_rows[s->elements[i].row];
        stored |= x87 && stores_x87_pointers(row);
        x87 |= row->unit == UNIT_X87;
    }
    for (uint32_t i = 0; i < WRITABLE_BYTES; i++)
        differing += native->memory[i] != guest->memory[i];
    return stored && differing <= 6;
}

/* XSAVEOPT need not write what XRSTOR has loaded from the same place (SDM vol. 1, 13.9). */
static bool is_optimized_away(const struct sequence *s) {
    bool restored = false, saved = false;
    for (unsigned i = 0; i < s->count; i++) {
        if (s->elements[i].row == NO_ROW || s->elements[i].removed)
            continue;
        const char *name = insn_rows[s->elements[i].row].name;
        restored |= strcmp(name, "XRSTOR") == 0;
        saved |= restored && strcmp(name, "XSAVEOPT") == 0;
    }
    return saved;
}

/* A far CALL whose frame crosses into a page or beyond a limit that faults, and a near CALL to a
 * target beyond CS's limit: the processor has written what it could. The manual has no write before
 * the fault (SDM vol. 2A, CALL, Operation).
 */
bool memory_is_open(const struct sequence *s, const struct outcome *native,
                    const struct outcome *guest) {
    struct insn in;
    if (is_optimized_away(s) || x87_pointers_are_open(s, native, guest))
        return true;
    if (native->ending != ENDED_TRAP || !insn_at(s, native->out.eip, &in))
        return false;
    bool far = in.row->callout == CALLOUT_call_far || in.row->callout == CALLOUT_call_far_mem;
    if (!(far && (native->trap == VEC_PF || native->trap == VEC_SS)) &&
        !(is_near_call(&in) && native->trap == VEC_GP))
        return false;
    uint32_t top = native->out.gpr[ESP] + selector_base(native->out.seg[SEG_SS]);
    for (uint32_t i = 0; i < WRITABLE_BYTES; i++) {
        uint32_t at = DATA_PAGE(writable_page[i >> 12]) + (i & 0xfff);
        if (native->memory[i] != guest->memory[i] && at - (top - 8) >= 8)
            return false;
    }
    return true;
}

bool vector_state_is_open(const struct sequence *s, const struct outcome *native) {
    struct insn in;
    bool by_segment = native->trap == VEC_SS || native->trap == VEC_GP || native->trap == VEC_AC;
    if (native->ending != ENDED_TRAP || !by_segment || !insn_at(s, native->out.eip, &in))
        return false;
    return in.row->unit != UNIT_INT;
}

/* Instructions that C code carries out, whose undefined flags need not be this processor's. */
static const struct {
    const char *name;
    uint32_t flags;
    const char *section; /* of the SDM, volume 2 */
} undefined[] = {
    {"AAA", FL_OF | FL_SF | FL_ZF | FL_PF, "AAA, Flags Affected"},
    {"AAS", FL_OF | FL_SF | FL_ZF | FL_PF, "AAS, Flags Affected"},
    {"AAM", FL_OF | FL_AF | FL_CF, "AAM, Flags Affected"},
    {"DAA", FL_OF, "DAA, Flags Affected"},
    {"DAS", FL_OF, "DAS, Flags Affected"},
};

uint32_t undefined_flags(const struct sequence *s) {
    uint32_t flags = 0;
    for (unsigned i = 0; i < s->count; i++) {
        if (s->elements[i].row == NO_ROW || s->elements[i].removed)
            continue;
        for (unsigned j = 0; j < sizeof undefined / sizeof *undefined; j++)
            if (strcmp(insn_rows[s->elements[i].row].name, undefined[j].name) == 0)
                flags |= undefined[j].flags;
    }
    return flags;
}
