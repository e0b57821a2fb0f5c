/* Instructions as text, by Capstone: not the decoder that the translator uses, since a second
 * opinion is the point. Guest code of 16 or 32 bits and host code of 64. */
#ifndef RING3_INSPECT_DISASSEMBLE_H
#define RING3_INSPECT_DISASSEMBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum code_bits { CODE_16, CODE_32, CODE_64 };
enum syntax { SYNTAX_INTEL, SYNTAX_ATT };

#define INSN_BYTES_MAX 15u
#define INSN_TEXT_MAX 112u

struct disassembler {
    size_t handle; /* Capstone's */
    void *insn;
};

/* False: Capstone does not start. */
bool disassembler_open(struct disassembler *d, enum code_bits bits, enum syntax syntax);
void disassembler_close(struct disassembler *d);

/* One instruction at `address` into `text` (INSN_TEXT_MAX): "mnemonic operands". Returns its
 * length; 0 where the bytes are none or not enough, `text` is "(bad)" then. */
unsigned disassemble(struct disassembler *d, const uint8_t *bytes, size_t len, uint64_t address,
                     char *text);

#endif
