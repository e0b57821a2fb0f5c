/* Capstone behind three functions (disassemble.h). */
#include "inspect/disassemble.h"

#include <assert.h>
#include <capstone/capstone.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(csh) <= sizeof(size_t), "Capstone's handle fits");

bool disassembler_open(struct disassembler *d, enum code_bits bits, enum syntax syntax) {
    static const cs_mode modes[] = {
        [CODE_16] = CS_MODE_16, [CODE_32] = CS_MODE_32, [CODE_64] = CS_MODE_64};
    csh handle;
    *d = (struct disassembler){0};
    if (cs_open(CS_ARCH_X86, modes[bits], &handle))
        return false;
    cs_option(handle, CS_OPT_SYNTAX,
              syntax == SYNTAX_ATT ? CS_OPT_SYNTAX_ATT : CS_OPT_SYNTAX_INTEL);
    d->handle = handle;
    d->insn = cs_malloc(handle);
    if (d->insn)
        return true;
    cs_close(&handle);
    return false;
}

void disassembler_close(struct disassembler *d) {
    csh handle = d->handle;
    if (!d->insn)
        return;
    cs_free(d->insn, 1);
    cs_close(&handle);
    d->insn = NULL;
}

unsigned disassemble(struct disassembler *d, const uint8_t *bytes, size_t len, uint64_t address,
                     char *text) {
    cs_insn *insn = d->insn;
    assert(insn);
    if (!len || !cs_disasm_iter(d->handle, &bytes, &len, &address, insn)) {
        strcpy(text, "(bad)");
        return 0;
    }
    assert(insn->size <= INSN_BYTES_MAX);
    snprintf(text, INSN_TEXT_MAX, "%.40s%s%.68s", insn->mnemonic, *insn->op_str ? " " : "",
             insn->op_str);
    return insn->size;
}
