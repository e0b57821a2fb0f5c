/* Why an instruction is translated as it is, in words for people: one sentence an emitter and a
 * callout, beside the instruction table. `ring3 explain` prints them; tests see that none is
 * missing. */
#ifndef RING3_TRANSLATOR_INSN_WHY_H
#define RING3_TRANSLATOR_INSN_WHY_H

#include "translator/insn_table.h"
#include "translator/translate.h"

/* "identical", "rewritten", "inline", "callout", "undefined". */
const char *insn_class_name(enum insn_class cls);
/* The row's sentence: that of its callout where it is nothing but one, else that of its emitter. */
const char *insn_why(const struct insn_row *row);
/* What the callout is for; "" for those that no instruction has for itself (raise, check, probe).
 */
const char *callout_why(enum callout_id id);

/* The row that the translator takes for the instruction `offset` bytes into the request's, and its
 * length. NULL: none; then *vector is what it raises, or 0 where bytes are missing. */
const struct insn_row *insn_row_of(const struct translate_request *req, uint32_t offset,
                                   uint32_t *len, uint32_t *vector);

#endif
