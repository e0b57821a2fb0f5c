/* What the translator makes of a piece of guest code, taken apart: each guest instruction with the
 * host instructions made from it, its class and the reason, what each host instruction does that is
 * not the guest's, and the ways out.
 *
 * The host code is the translator's own (translate_block), made for a mode and bytes as the run
 * loop would ask for it; nothing is described that was not emitted. A value: bytes and mode in, a
 * structure out, so that a command, a page and tests can all use it. */
#ifndef RING3_INSPECT_EXPLAIN_H
#define RING3_INSPECT_EXPLAIN_H

#include "base/error.h"
#include "inspect/disassemble.h"
#include "inspect/symbols.h"
#include "translator/insn_table.h"
#include "translator/translate.h"

#define EXPLAIN_COPY_MAX 512u /* of a page, as the run loop copies */
#define EXPLAIN_BRANCHES_MAX 4u
#define EXPLAIN_NOTE_MAX 112u

/* A piece of guest code as the CPU would meet it. */
struct explain_code {
    const uint8_t *bytes; /* from `linear` on; may go on in the next page */
    uint32_t len;
    gva_t linear;
    uint32_t eip;        /* linear - CS.base */
    uint32_t mode;       /* MODE_* (translator/cpu.h) */
    uint32_t code_limit; /* of CS */
    enum syntax syntax;
    const struct symbols *symbols; /* or NULL: targets have no names */
};

/* What became of a guest instruction. */
enum explained_how {
    EXPLAINED_COPIED,  /* byte for byte */
    EXPLAINED_ENCODED, /* the same instruction in another encoding, memory through the window */
    EXPLAINED_REWRITTEN,
    EXPLAINED_INLINE,
    EXPLAINED_CALLOUT,
    EXPLAINED_UNDEFINED, /* raises an exception and does nothing else */
};
#define EXPLAINED_HOWS (EXPLAINED_UNDEFINED + 1)

/* What a host instruction is there for. */
enum explained_part {
    PART_PLAIN,   /* the instruction's own work */
    PART_MEMORY,  /* guest memory through a window */
    PART_STATE,   /* the virtual CPU's state */
    PART_CALLOUT, /* into C */
    PART_LINK,    /* to another fragment, or by the jump cache */
    PART_GUARD,   /* tripwires and looks for attention */
};

struct explained_host {
    uint16_t offset; /* in the fragment's code, or in its cold code */
    uint8_t len;
    bool cold;
    uint8_t insn; /* the guest instruction that it was made from */
    uint8_t part; /* enum explained_part */
    uint8_t bytes[INSN_BYTES_MAX];
    char text[INSN_TEXT_MAX];
    char note[EXPLAIN_NOTE_MAX]; /* or empty */
};

struct explained_insn {
    gva_t linear;
    uint32_t eip;
    uint8_t len;
    uint8_t bytes[INSN_BYTES_MAX];
    char text[INSN_TEXT_MAX];
    enum explained_how how;
    char label[64];  /* "copied", "callout sgdt" ... */
    const char *why; /* never NULL */
    char row[INSN_ROW_ID_MAX];
    uint16_t hot_bytes, cold_bytes;
    int8_t lag;        /* guest ESP is r12d plus this while it runs */
    bool starts_block; /* a basic block: what is before it may have branched away */
};

struct explained_exit {
    uint32_t eip;
    gva_t linear;
    char name[64]; /* of the target, or empty */
};

struct explained_fragment {
    gva_t linear;
    uint32_t eip, mode;
    uint32_t guest_len, code_len, cold_len;
    unsigned insn_count, host_count, exit_count;
    struct explained_insn insns[TRANSLATION_INSNS_MAX];
    struct explained_host *hosts; /* in order, the hot ones first */
    struct explained_exit exits[TRANSLATION_EXITS_MAX];
};

/* 0, or -1 with `error` filled and nothing to release. */
int explain_fragment(const struct explain_code *code, struct explained_fragment *fragment,
                     struct error *error);
void explained_fragment_release(struct explained_fragment *fragment);

const char *explained_how_name(enum explained_how how); /* "copied" ... */
const char *explained_part_name(enum explained_part part);

/* The mode word of a CPU with flat segments (or, of 16 bits, such as real mode has), paging and FPU
 * on. */
enum explain_mode { EXPLAIN_32, EXPLAIN_16, EXPLAIN_REAL, EXPLAIN_VM86 };
uint32_t explain_mode_word(enum explain_mode mode, unsigned cpl);

/* All fragments of a piece of code: from its start, then what their exits lead to inside it, then
 * what nothing leads to, as if jumped at. */
struct explanation {
    struct explained_fragment *fragments;
    unsigned count;
    bool cut; /* more would have followed */
    uint32_t insns, guest_bytes, hot_bytes, cold_bytes;
    uint32_t hows[EXPLAINED_HOWS];
};

/* `code` is the whole piece; no more than `max` fragments. */
int explain_piece(const struct explain_code *code, unsigned max, struct explanation *explanation,
                  struct error *error);
void explanation_release(struct explanation *explanation);

#endif
