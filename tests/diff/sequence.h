/* A sequence as the generator makes it: elements that can be taken away one by one. */
#ifndef RING3_TESTS_DIFF_SEQUENCE_H
#define RING3_TESTS_DIFF_SEQUENCE_H

#include <Zydis/Zydis.h>

#include "tests/common/insn_random.h"
#include "tests/diff/diff.h"

#define ELEMENTS_MAX 24u
#define ELEMENT_BYTES 24u
#define FIXUPS_MAX 24u
#define NO_ROW UINT16_MAX /* a MOV that only prepares a register */

struct element {
    uint8_t bytes[ELEMENT_BYTES];
    uint8_t len;
    uint16_t row;
    bool removed;
    /* A relative branch: its displacement and where it leads (an element; `count`: the end). */
    uint8_t rel_at, rel_len;
    uint8_t target;
};

/* Where the address of an element goes when the layout is known. */
enum fixup_kind { FIX_GPR, FIX_PATCH, FIX_IMMEDIATE };
struct fixup {
    enum fixup_kind kind;
    uint8_t index;   /* register, patch, or the element that holds the immediate */
    uint8_t at;      /* FIX_IMMEDIATE: offset of the 32 bits in it */
    uint8_t element; /* whose address */
};

struct sequence {
    uint64_t seed, number;
    struct element elements[ELEMENTS_MAX];
    unsigned count;
    struct fixup fixups[FIXUPS_MAX];
    unsigned fixup_count;
    struct job job;     /* all but the code; registers and patches before the fixups */
    uint32_t code_base; /* of CS */
};

/* The rows that sequences are drawn from. */
struct row_choice {
    uint16_t *rows;
    unsigned count;
};

/* generate.c: sequence `number` of `seed`. */
void generate(struct sequence *s, const struct row_choice *rows, uint64_t seed, uint64_t number);
/* cases.c: the fixed sequences. Returns the subject. */
extern const unsigned fixed_case_count;
const char *generate_fixed(struct sequence *s, unsigned number);
/* assemble.c: the job of what is left of a sequence. */
void assemble(const struct sequence *s, struct job *job);
/* The element that holds an EIP, or -1; `s->count` for the end. */
int element_at(const struct sequence *s, uint32_t eip);
bool decode(const uint8_t *bytes, unsigned len, ZydisDecodedInstruction *z);

/* left_out.c: why a row is not drawn, or NULL; why a pair of outcomes says nothing, or NULL. */
const char *row_left_out(const struct insn_row *row);
const char *outcome_left_out(const struct sequence *s, const struct outcome *native,
                             const struct outcome *guest);
/* An MMX, SSE or AVX instruction whose operand the segment refuses: the processor may have turned
 * the x87 stack into MMX registers or set exception flags by then, ring3's check comes before. */
bool vector_state_is_open(const struct sequence *s, const struct outcome *native);
bool memory_is_open(const struct sequence *s, const struct outcome *native,
                    const struct outcome *guest);
/* Flags that the manual leaves undefined and that ring3 does not take from the processor. */
uint32_t undefined_flags(const struct sequence *s);

/* compare.c: the field that differs, or NULL. Both outcomes are brought to one form first. */
const char *compare(const struct sequence *s, struct outcome *native, struct outcome *guest);
void print_failure(const struct sequence *s, const struct job *job, const struct outcome *native,
                   const struct outcome *guest, const char *what);

#endif
