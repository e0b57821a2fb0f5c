/* What a host instruction is there for: its operands and its place, put into a few words.
 *
 * The roles of registers and the fields of the CPU struct are the translator's contract
 * (translator/cpu.h, docs/architecture.md, "Registers"); nothing is guessed from what the guest's
 * instruction is. */
#include <Zydis/Zydis.h>
#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "inspect/explain_private.h"
#include "runtime/system.h"
#include "translator/cpu.h"
#include "translator/emit.h"
#include "translator/insn_why.h"
#include "translator/tripwire.h"

#define FIELD(name)                                                                                \
    { offsetof(struct cpu, name), sizeof(((struct cpu *)0)->name), #name }

static const struct {
    size_t offset, size;
    const char *name;
} fields[] = {
    FIELD(gpr),
    FIELD(eip),
    FIELD(next_eip),
    FIELD(flags),
    FIELD(iflag),
    FIELD(sys_flags),
    FIELD(attention),
    FIELD(irq_pending),
    FIELD(scratch),
    FIELD(super_window),
    FIELD(fs_window),
    FIELD(gs_window),
    FIELD(user_window),
    FIELD(jump_cache),
    FIELD(result),
    FIELD(result2),
    FIELD(victims),
    FIELD(reached),
    FIELD(reached2),
    FIELD(ldt),
    FIELD(tr),
    FIELD(gdt),
    FIELD(idt),
    FIELD(granule_window),
    FIELD(paging.cr0),
    FIELD(paging.cr3),
    FIELD(paging.cr4),
    FIELD(cr2),
    FIELD(dr),
    FIELD(xcr0),
    FIELD(bit_offset),
    FIELD(tsc_offset),
    FIELD(msr.tsc_aux),
    FIELD(mode),
    FIELD(interrupt_shadow),
    FIELD(if_before_sti),
    FIELD(callout_counts),
};

static void field_name(int64_t offset, char *text, size_t size) {
    static const char *const segments[SEG_COUNT] = {"ES", "CS", "SS", "DS", "FS", "GS"};
    size_t seg = offsetof(struct cpu, seg), at = (size_t)offset;
    if (at >= seg && at < seg + sizeof(((struct cpu *)0)->seg)) {
        size_t inside = (at - seg) % sizeof(struct segment);
        snprintf(text, size, "%s.%s", segments[(at - seg) / sizeof(struct segment)],
                 inside == offsetof(struct segment, base)       ? "base"
                 : inside == offsetof(struct segment, selector) ? "selector"
                 : inside == offsetof(struct segment, limit)    ? "limit"
                                                                : "attributes");
        return;
    }
    for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++)
        if (at >= fields[i].offset && at < fields[i].offset + fields[i].size) {
            snprintf(text, size, "%s", fields[i].name);
            return;
        }
    snprintf(text, size, "struct cpu + %#zx", at);
}

const char *explain_vector_name(uint32_t vector) {
    static const char *const names[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD",
                                        "#NM", "#DF", "",    "#TS", "#NP", "#SS", "#GP",
                                        "#PF", "",    "#MF", "#AC", "",    "#XM"};
    vector &= 0xff;
    return vector < sizeof names / sizeof *names && *names[vector] ? names[vector] : "exception";
}

void explain_name_target(const struct explain_code *code, uint32_t eip, char *text, size_t size) {
    char name[64];
    gva_t linear = code->linear + (eip - code->eip);
    if (*symbols_format(code->symbols, linear, name, sizeof name))
        snprintf(text, size, "%s (%08x)", name, linear);
    else
        snprintf(text, size, "%08x", linear);
}

static void say(struct explained_host *host, enum explained_part part, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(struct explained_host *host, enum explained_part part, const char *format, ...) {
    va_list args;
    host->part = (uint8_t)part;
    va_start(args, format);
    vsnprintf(host->note, sizeof host->note, format, args);
    va_end(args);
}

static void note_callout(struct noting *n, struct explained_host *host) {
    assert(n->calls);
    enum callout_id id =
        n->has_r9 && n->r9 < CALLOUT_COUNT ? (enum callout_id)n->r9 : CALLOUT_COUNT;
    if (id == CALLOUT_COUNT) {
        say(host, PART_CALLOUT, "callout");
        return;
    }
    if (!host->cold && !n->calls->count++) {
        n->calls->id = id;
        n->calls->arg = n->r10;
        n->calls->raises = id == CALLOUT_raise;
        n->calls->after_branch = n->branched;
    }
    if (id == CALLOUT_raise)
        say(host, PART_CALLOUT, "callout raise: %s at this instruction",
            explain_vector_name(n->r10));
    else
        say(host, PART_CALLOUT, "callout %s", callout_name(id));
}

/* call or jmp through one of the run loop's entry points. */
static void note_stub(struct noting *n, struct explained_host *host, unsigned stub) {
    char target[96];
    explain_name_target(n->work->code, n->r11, target, sizeof target);
    switch (stub) {
    case STUB_CALLOUT:
        note_callout(n, host);
        break;
    case STUB_CHAIN:
        say(host, PART_LINK, "stub: makes the link to %s, once", target);
        break;
    case STUB_MISS:
        say(host, PART_LINK, "jump cache, victims, then the run loop");
        break;
    case STUB_ATTENTION:
        say(host, PART_GUARD, "to the run loop: somebody wants attention");
        break;
    case STUB_RETURN:
        say(host, PART_LINK, "predicted wrong: where it returns by the jump cache");
        break;
    case STUB_REACH:
    case STUB_REACH_READ:
        say(host, PART_CALLOUT, "callout reach, by C only where it must");
        break;
    case STUB_LOAD_SEGMENT:
        say(host, PART_STATE, "loads the segment, if it was loaded from this before");
        break;
    case STUB_LEAVE:
        say(host, PART_LINK, "to the run loop");
        break;
    default:
        say(host, PART_LINK, "entry point %u of the run loop", stub);
    }
}

static void note_state(struct noting *n, struct explained_host *host,
                       const ZydisDecodedInstruction *z, const ZydisDecodedOperand *op) {
    size_t stubs = offsetof(struct cpu, stubs), at = (size_t)op->mem.disp.value;
    char name[48];
    if (at >= stubs && at < stubs + sizeof(((struct cpu *)0)->stubs)) {
        note_stub(n, host, (unsigned)((at - stubs) / 8));
        return;
    }
    field_name(op->mem.disp.value, name, sizeof name);
    if (z->mnemonic == ZYDIS_MNEMONIC_MOV && at == offsetof(struct cpu, eip))
        say(host, PART_CALLOUT, "EIP of this instruction, for the handler");
    else if (z->mnemonic == ZYDIS_MNEMONIC_MOV && at == offsetof(struct cpu, next_eip))
        say(host, PART_CALLOUT, "EIP of the next one");
    else
        say(host, PART_STATE, "virtual CPU: %s", name);
}

static void note_jump_cache(struct noting *n, struct explained_host *host,
                            const ZydisDecodedOperand *op) {
    char target[96];
    uint64_t disp = (uint64_t)op->mem.disp.value;
    explain_name_target(n->work->code, n->r11, target, sizeof target);
    if (op->mem.index != ZYDIS_REGISTER_NONE)
        say(host, PART_LINK, "jump cache: by the target in r11d");
    else if (disp >= JUMP_CACHE_FIXED_OFFSET &&
             (disp - JUMP_CACHE_FIXED_OFFSET) / 8 < n->work->fixed_count)
        say(host, PART_LINK, "jump cache: the slot of %s alone", target);
    else
        say(host, PART_LINK, "jump cache: slot of %s", target);
}

/* The load of a tripwire or of the poll page. */
static void note_poll_page(const struct noting *n, struct explained_host *host) {
    uint32_t expected;
    const uint8_t *at = n->work->host + (host->cold ? COLD_PLACE : 0) + host->offset;
    switch (host->offset >= TRIPWIRE_LOAD ? tripwire_at(at, &expected) : TRIPWIRE_NONE) {
    case TRIPWIRE_LANDING:
        say(host, PART_GUARD, "landing: faults unless the guest returns to %08x", expected);
        break;
    case TRIPWIRE_PAD:
        say(host, PART_GUARD, "landing pad: faults unless the target is %08x", expected);
        break;
    case TRIPWIRE_GUESS:
        say(host, PART_GUARD, "tripwire: faults unless what was read is %08x", expected);
        break;
    case TRIPWIRE_NONE:
        say(host, PART_GUARD, "faults when somebody wants attention");
        break;
    }
}

static void note_memory(struct noting *n, struct explained_host *host,
                        const ZydisDecodedInstruction *z, const ZydisDecodedOperand *op) {
    ZydisRegister base = op->mem.base;
    bool lea = z->mnemonic == ZYDIS_MNEMONIC_LEA;
    int64_t disp = op->mem.disp.value;
    if (op->mem.segment == ZYDIS_REGISTER_GS && !lea)
        say(host, PART_MEMORY, "guest memory, by the window in GS");
    else if (base == ZYDIS_REGISTER_R15)
        note_state(n, host, z, op);
    else if (base == ZYDIS_REGISTER_R14)
        say(host, PART_MEMORY, "guest memory, by the user's window");
    else if (base == ZYDIS_REGISTER_R13)
        note_jump_cache(n, host, op);
    else if (lea && base == ZYDIS_REGISTER_RIP)
        say(host, PART_LINK, "the branch to patch");
    else if (!lea && disp >= (int64_t)POLL_PAGE && disp < (int64_t)(POLL_PAGE + PAGE_SIZE))
        note_poll_page(n, host);
}

uint32_t explain_branch_target(const struct explained_host *host) {
    const uint8_t *b = host->bytes;
    unsigned at = b[0] == 0x67 ? 1 : 0; /* JECXZ and the LOOPs */
    uint32_t next = host->offset + host->len + (host->cold ? COLD_PLACE : 0);
    int32_t far;
    bool near =
        (b[at] >= 0x70 && b[at] <= 0x7f) || b[at] == 0xeb || (b[at] >= 0xe0 && b[at] <= 0xe3);
    if (near && host->len == at + 2)
        return next + (b[at + 1] < 0x80u ? b[at + 1] : b[at + 1] - 0x100u);
    bool jcc = b[0] == 0x0f && (b[1] & 0xf0) == 0x80 && host->len == 6;
    if (!jcc && !((b[0] == 0xe8 || b[0] == 0xe9) && host->len == 5))
        return UINT32_MAX;
    memcpy(&far, b + host->len - 4, 4);
    return next + (uint32_t)far;
}

/* A relative branch: a link of the fragment's, or inside its code. */
static void note_branch(struct noting *n, struct explained_host *host) {
    const struct translation *t = &n->work->t;
    uint32_t to = explain_branch_target(host);
    char target[96];
    if (to >= STUB_PLACE && to < STUB_PLACE + STUB_COUNT * STUB_BYTES) {
        note_stub(n, host, (to - STUB_PLACE) / STUB_BYTES);
        return;
    }
    for (unsigned i = 0; !host->cold && i < t->exit_count; i++)
        if (t->exits[i].site >= host->offset && t->exits[i].site < host->offset + host->len) {
            explain_name_target(n->work->code, t->exits[i].target, target, sizeof target);
            say(host, PART_LINK, "%s %s", *host->bytes == 0xe8 ? "host call, linked to" : "link to",
                target);
            return;
        }
    for (unsigned i = host->insn + 1; !host->cold && i < t->insn_count; i++)
        if (t->map[i].host == to) {
            explain_name_target(n->work->code, n->work->code->eip + t->map[i].guest, target, sizeof target);
            say(host, PART_LINK, "branch to %s, further on in the fragment", target);
            return;
        }
    n->branched |= *host->bytes != 0xeb && *host->bytes != 0xe9;
    if (to >= COLD_PLACE && !host->cold)
        say(host, PART_GUARD, "rarely taken: goes on in cold code");
    else if (host->cold && to < COLD_PLACE)
        say(host, PART_GUARD, "and back");
}

/* Constants for the run loop's entry points. */
static void note_constants(struct noting *n, struct explained_host *host,
                           const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops) {
    if (z->mnemonic != ZYDIS_MNEMONIC_MOV || ops[0].type != ZYDIS_OPERAND_TYPE_REGISTER ||
        ops[1].type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
        return;
    uint32_t value = (uint32_t)ops[1].imm.value.u;
    if (ops[0].reg.value == ZYDIS_REGISTER_R9D) {
        n->r9 = value;
        n->has_r9 = n->just_r9 = true;
        if (value < CALLOUT_COUNT)
            say(host, PART_CALLOUT, "which callout");
    } else if (ops[0].reg.value == ZYDIS_REGISTER_R10D) {
        n->r10 = value;
        if (n->just_r9)
            say(host, PART_CALLOUT, "its argument");
    } else if (ops[0].reg.value == ZYDIS_REGISTER_R11D) {
        n->r11 = value;
        say(host, PART_LINK, "the target, or the callout's operand");
    }
}

/* The first half of a tripwire: the load behind it faults unless this makes zero. */
static bool starts_tripwire(const struct noting *n, const struct explained_host *host) {
    uint32_t place = host->cold ? COLD_PLACE : 0, expected;
    return host->len == TRIPWIRE_LOAD && host->offset + TRIPWIRE_LEN <= COLD_PLACE &&
           tripwire_at(n->work->host + place + host->offset + TRIPWIRE_LOAD, &expected) !=
               TRIPWIRE_NONE;
}

/* r12d is the guest's ESP. */
static bool moves_esp(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops) {
    return z->mnemonic == ZYDIS_MNEMONIC_LEA && ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
           (ops[0].reg.value == ZYDIS_REGISTER_R12D || ops[0].reg.value == ZYDIS_REGISTER_R12W) &&
           ops[1].type == ZYDIS_OPERAND_TYPE_MEMORY &&
           (ops[1].mem.base == ZYDIS_REGISTER_R12 || ops[1].mem.base == ZYDIS_REGISTER_R12D) &&
           ops[1].mem.index == ZYDIS_REGISTER_NONE;
}

void explain_note(struct noting *n, struct explained_host *host) {
    ZydisDecoder decoder;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    memset(ops, 0, sizeof ops);
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, host->bytes, host->len, &z, ops)))
        return;
    if (explain_branch_target(host) != UINT32_MAX) {
        note_branch(n, host);
        return;
    }
    if (z.mnemonic == ZYDIS_MNEMONIC_RET) {
        say(host, PART_LINK, "to the landing behind the guest's call");
        return;
    }
    if (moves_esp(&z, ops)) {
        say(host, PART_STATE, "ESP brought up to date");
        return;
    }
    if (starts_tripwire(n, host)) {
        say(host, PART_GUARD, "how far it is from what is expected");
        return;
    }
    for (unsigned i = 0; i < z.operand_count_visible && i < 3; i++)
        if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
            note_memory(n, host, &z, &ops[i]);
    bool just_r9 = n->just_r9;
    note_constants(n, host, &z, ops);
    n->just_r9 &= !just_r9;
}
