/* Guest bytes in, a fragment's host code out.
 *
 * Pure: no guest memory is read here, no state kept. The caller copies the guest's bytes once and
 * hands them over with everything that the code may assume (the mode, hints about how sites
 * reach memory). Host code is position-independent except for links, which the caller makes.
 *
 * Unit: a run of basic blocks inside one page, each entered from the one before by not taking a
 * branch or by returning from a call; an instruction that straddles a page end is a block of its
 * own. */
#ifndef RING3_TRANSLATOR_TRANSLATE_H
#define RING3_TRANSLATOR_TRANSLATE_H

#include <stdbool.h>
#include <stdint.h>

#define TRANSLATION_INSNS_MAX 64u
#define TRANSLATION_EXITS_MAX 16u
#define COPIES_MAX 2u /* one after the other */
#define LOOP_ENTRY 8u /* bytes before the place where a loop's branches go back to */
#define TRANSLATION_CODE_MAX 8192u
#define INSN_BYTES_MAX 15u
#define TRANSLATION_START_WORDS (TRANSLATION_INSNS_MAX * INSN_BYTES_MAX / 64 + 1)
#define INSN_CODE_MAX 640u /* no single instruction emits more than this */
#define JUMP_CACHE_SLOTS 65536u
/* Behind the slots stands the table's name (runtime/jump_cache.c), and behind it slots that belong to one
 * target each: exits to a known target in another page of user code go through them, to the
 * fragment's body and without a check. */
#define JUMP_CACHE_NAME_OFFSET (JUMP_CACHE_SLOTS * 8u)
#define JUMP_CACHE_FIXED 8192u
#define JUMP_CACHE_FIXED_OFFSET (JUMP_CACHE_NAME_OFFSET + 64u)
#define NO_FIXED_SLOT UINT32_MAX

/* How a site reaches memory at CPL < 3: two bits for the explicit operand (for strings: the
 * source), two for the stack (for strings: the destination). The explicit operand may go past the
 * windows, at any CPL: a callout looks up where it lies; sites that cannot do that take BOTH for it. */
enum window_hint { WINDOW_SUPER, WINDOW_USER, WINDOW_BOTH, WINDOW_PAST };
#define HINT_OPERAND(hint) ((hint) & 3u)
#define HINT_SECOND(hint) ((hint) >> 2 & 3u)
#define HINT_WRAPS 0x10u /* an address of the instruction's goes round at 4 GiB */
#define HINT_DIVIDES 0x20u /* it has raised #DE: the divisor is looked at first */
#define HINT_LIVE 0x40u  /* its immediate is patched again and again: it is read when the instruction runs */
#define HINT_LOOP 0x80u /* the head of a loop that was found running: a block starts here (runtime/loops.c) */

/* What an instruction of the block has before it, at somebody's wish; in the order of the list. */
enum probe_kind {
    PROBE_COUNT,  /* adds one to the 64 bits at `cell` */
    PROBE_SAMPLE, /* takes one away; when that makes zero, calls out */
    PROBE_CALL,   /* calls out: `instrument` with `site` */
};
struct insn_probe {
    uint8_t insn, kind;
    uint32_t site;
    uint64_t cell;
};
#define PROBE_CODE_MAX 96u

/* Where a block is to lie when it is done: it ends at `end`, or a little before it, or begins at `start`, or a little
 * behind it, so that the byte `skew` bytes behind its first one is aligned; the `before` bytes in front of it go with it. */
struct translation_place {
    uint8_t *end, *start; /* both NULL: it stays where it was emitted */
    uint32_t before, alignment;
    int32_t skew;
};
#define PLACE_SLACK 8u /* so many bytes more in front, or behind its end, may be read here, and written there */

struct translate_request {
    const uint8_t *bytes; /* copied guest code, starting at eip */
    uint32_t len;
    uint32_t page_bytes; /* bytes of `bytes` that lie on eip's page */
    uint32_t eip;        /* offset in CS */
    uint32_t linear;     /* CS.base + eip */
    uint32_t mode;       /* MODE_* */
    uint32_t code_limit; /* of CS, with MODE_GENERAL_CS: `bytes` end there at the latest */
    uint32_t max_insns;
    uint64_t live_code;  /* host address of the guest's code itself, for HINT_LIVE; 0: there is none */
    bool no_links;       /* every exit returns to the dispatcher */
    bool direct_cross_page; /* direct links may leave the page (caller undoes them) */
    bool tsc_is_host;    /* RDTSC needs no callout */
    /* Where rarely executed code goes, within reach of a rel32; NULL: behind the block. */
    uint8_t *cold;
    uint32_t cold_room;
    struct translation_place place; /* with cold code of its own only */
    /* A page below 2 GiB that loses its read permission when attention is wanted: a load from it is
     * the cheapest test there is. Nothing is mapped behind it (tripwire.h). 0: none. */
    uint32_t poll_address;
    /* Where stubs lie, seen from where the code is written, and within reach of a rel32; NULL: they are reached through r15. A
     * direct call of cold code costs the host half of what an indirect one does, as it is known when it is decoded. */
    const uintptr_t *stubs;
    uint8_t *rows; /* a bit for each row of the instruction table: those translated are set; or NULL */
    /* The block is a loop that was found running: it looks for attention once, at its start, and its branches
     * back to the start do not. The caller stops them when attention is wanted. */
    bool loop;
    /* The block is a copy for one branch (`origin`, an eip), which leads here without a look for attention: what goes
     * on to the branch or before it looks. `copy`: how many such branches, one after the other, have led here; 0: it is none. */
    uint8_t copy;
    uint32_t origin;
    uint32_t max_branches; /* branches and calls that do not end the block */
    /* Hint for the instruction at an eip; and the watch index, or -1. May be NULL. */
    uint8_t (*hint)(void *opaque, uint32_t eip);
    int (*watch)(void *opaque, uint32_t linear);
    /* Must the block end before the instruction at a linear address? NULL: never. */
    bool (*stop_before)(void *opaque, uint32_t linear);
    /* Looks at four bytes of code elsewhere, for a guess that the emitted code checks when it runs.
     * NULL: no guessing. */
    bool (*peek)(void *opaque, uint32_t eip, uint32_t *bytes);
    /* The fixed jump cache slot of a target, given when first asked for, or NO_FIXED_SLOT. NULL:
     * there are none. */
    uint32_t (*fixed_slot)(void *opaque, uint32_t target);
    /* Is an exit of the instruction at an eip to `target`, across a page end, to be a link all the same? It leads
     * through the fixed slot while the caller makes none. NULL: none is. */
    bool (*crosses)(void *opaque, uint32_t eip, uint32_t target);
    /* Is a branch to `target`, on the block's page, to have a copy of what is there? NULL: none is. */
    bool (*copies)(void *opaque, uint32_t target);
    /* Called before each use of code that may change vector registers (Zydis). NULL: that is no matter. */
    void (*foreign)(void *opaque);
    bool thorough; /* Zydis decodes everything */
    void *opaque;
    const struct insn_probe *probes;
    uint32_t probe_count;
};

struct insn_map {
    uint16_t host;  /* offset of its first host byte */
    uint16_t body;  /* the same behind what probes have put before it: where it may be run again */
    uint16_t guest; /* offset of its first guest byte */
    uint8_t undo;   /* UNDO_*, MAP_LIVE */
    int8_t esp;     /* guest ESP is r12d plus this while the instruction runs */
};

/* On a fault: byte registers `reg` low and high were swapped. */
#define UNDO_NONE 0u
#define UNDO_SWAP_BYTES 0x80u /* | register 0-3 */
/* The block guessed what the called code is and reads it to be sure: a true fault there, or a
 * tripwire behind it, is not the guest's; without the guess the instruction is translated again. */
#define UNDO_GUESS 0x40u
/* ESI and EDI hold host pointers; the guest's own wait in r8d and r9d. */
#define UNDO_POINTERS 0x20u
/* Nothing to undo: the instruction stands in the shadow of the STI before it. */
#define UNDO_SHADOWED 0x10u
/* Nothing to undo: the instruction's last bytes, 1, 2 or 4 by the values 1, 2 and 3, are an immediate that
 * is read when it runs, so that its translation does not hang on them. */
#define MAP_LIVE_SHIFT 2u
#define MAP_LIVE (3u << MAP_LIVE_SHIFT)

struct translation_exit {
    uint32_t site;   /* offset of the rel32 to patch */
    uint32_t target; /* eip */
    bool copied;     /* linked to nothing but a copy made for it */
    bool crosses;    /* its stub goes through the target's fixed slot; see `crosses` above */
};

struct translation {
    uint8_t *code; /* its first byte */
    uint32_t code_len, cold_len;
    uint32_t guest_len;
    uint32_t insn_count;
    uint8_t undecoded; /* bytes behind guest_len that it hangs on, too: no instruction was found in them */
    bool live;         /* some instruction has MAP_LIVE */
    bool crosses;      /* some exit does */
    /* A bit for each guest byte from the first one on: an instruction starts there, and r12d does not lag. Some may be
     * set without reason. */
    uint64_t starts[TRANSLATION_START_WORDS];
    struct insn_map map[TRANSLATION_INSNS_MAX];
    struct translation_exit exits[TRANSLATION_EXITS_MAX];
    uint32_t exit_count;
    uint32_t loop_at; /* of a loop: where its branches back to the start go; else 0 */
};

enum translate_status {
    TRANSLATE_OK,
    TRANSLATE_MORE, /* the first instruction straddles: call again with the next page's bytes */
    TRANSLATE_FULL, /* the buffer is too small for the block */
};

/* Emits into [code, code+room), and moves what it has emitted to its place. */
enum translate_status translate_block(const struct translate_request *req, uint8_t *code,
                                      uint32_t room, struct translation *out);

/* A CRC, since CRC32 is a hash that touches no flags. */
static inline uint32_t jump_cache_hash(uint32_t target) {
    uint32_t crc = 0;
    __asm__("crc32l %1, %0" : "+r"(crc) : "rm"(target));
    return crc;
}

/* The jump cache slot of a target: a CRC of its low byte, onto the bits above. Functions are aligned, so low
 * bits alone would not do; and those that lie together, aligned alike, have slots in the same lines of memory. */
static inline uint32_t jump_cache_slot(uint32_t target) {
    uint32_t slot = target;
    __asm__("crc32b %1, %0" : "+r"(slot) : "q"((uint8_t)0));
    return slot % JUMP_CACHE_SLOTS;
}

/* The landing pad through which indirect transfers enter a fragment: trips if r11d is not `eip` or
 * attention is wanted, then jumps to `body` (NULL: what stands behind the pad). Returns its length. */
uint32_t translate_pad(uint8_t *code, uint32_t room, const uint8_t *code_exec, uint32_t eip,
                       const uint8_t *body, uint32_t poll_address);
/* What a landing behind a call jumps to instead of its tripwire, once that has tripped: a comparison
 * that does not fault, then `back`. */
uint32_t translate_wary_landing(uint8_t *code, uint32_t room, const uint8_t *code_exec,
                                uint32_t return_eip, const uint8_t *back);
/* mov r11d, target; jump through the jump cache: stands for a link that may not be direct. */
uint32_t translate_thunk(uint8_t *code, uint32_t room, uint32_t target);

#endif
