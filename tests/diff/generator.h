/* The generator's inside: state.c, operands.c and generate.c. */
#ifndef RING3_TESTS_DIFF_GENERATOR_H
#define RING3_TESTS_DIFF_GENERATOR_H

#include "tests/diff/sequence.h"
#include "translator/block.h"

struct generator {
    struct random r;
    struct sequence *s;
    bool exactly;     /* registers must get the values that are prepared */
    bool first;       /* no instruction stands yet: registers have their first values */
    unsigned claimed; /* registers whose first value is settled */
};

#define FLAT 0xffffffffu

/* state.c */
void random_state(struct generator *g);
/* A linear address for an operand: mostly in writable pages, often near an edge of something. */
uint32_t random_place(struct generator *g);
uint16_t random_selector(struct generator *g);
uint16_t loaded_selector(const struct generator *g, unsigned segment);

/* generate.c: elements that prepare the next instruction. */
struct element *add_element(struct generator *g, const uint8_t *bytes, unsigned len, unsigned row);
/* Gives a register a value: its first one where that is still open, or by a MOV. */
void prepare_gpr(struct generator *g, unsigned gpr, uint32_t value);
void prepare_push(struct generator *g, uint32_t value);
/* The same with the address of the element `behind` the instruction to come (1: the next one). */
void prepare_gpr_address(struct generator *g, unsigned gpr, unsigned behind);
void prepare_push_address(struct generator *g, unsigned behind);
/* Memory at a linear address, if it is writable. Returns the patch's number, or -1. */
int patch(struct generator *g, uint32_t linear, uint32_t value);
void add_fixup(struct generator *g, enum fixup_kind kind, unsigned index, unsigned at,
               unsigned behind);

/* Does the instruction lock the bus? Across two cache lines that is very slow (the kernel sees to
 * it), and must not happen: may an operand come to lie there, however it is steered? */
bool locks_bus(const struct insn *in);
bool may_split_lock(const struct insn *in);
/* operands.c: makes an instruction's operands matter. May change its bytes, not their number. */
void steer(struct generator *g, struct element *e, struct insn *in);

#endif
