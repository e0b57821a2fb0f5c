/* Elements to bytes: their addresses, branches between them, and what waits for an address. */
#include <string.h>

#include "tests/diff/sequence.h"

bool decode(const uint8_t *bytes, unsigned len, ZydisDecodedInstruction *z) {
    static ZydisDecoder decoder;
    if (decoder.machine_mode != ZYDIS_MACHINE_MODE_LEGACY_32)
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    return ZYAN_SUCCESS(
        ZydisDecoderDecodeInstruction(&decoder, NULL, bytes, len > 15 ? 15 : len, z));
}

/* Offset in the code; of a removed element: of what follows it. */
static uint32_t offset_of(const struct sequence *s, unsigned element) {
    uint32_t offset = 0;
    for (unsigned i = 0; i < element; i++)
        if (!s->elements[i].removed)
            offset += s->elements[i].len;
    return offset;
}

int element_at(const struct sequence *s, uint32_t eip) {
    uint32_t offset = eip + s->code_base - s->job.code_at, at = 0;
    for (unsigned i = 0; i < s->count; i++) {
        if (s->elements[i].removed)
            continue;
        if (offset - at < s->elements[i].len)
            return (int)i;
        at += s->elements[i].len;
    }
    return at == offset ? (int)s->count : -1;
}

static void put_element(const struct sequence *s, unsigned i, uint32_t offset, uint8_t *to) {
    const struct element *e = &s->elements[i];
    memcpy(to, e->bytes, e->len);
    if (e->rel_len) {
        uint32_t relative = offset_of(s, e->target) - (offset + e->len);
        memcpy(to + e->rel_at, &relative, e->rel_len);
    }
}

static void fix(const struct sequence *s, struct job *job, const struct fixup *f) {
    uint32_t address = s->job.code_at - s->code_base + offset_of(s, f->element);
    if (f->kind == FIX_GPR)
        job->in.gpr[f->index] = address;
    else if (f->kind == FIX_PATCH)
        job->patches[f->index].value = address;
    else if (!s->elements[f->index].removed)
        memcpy(job->code + offset_of(s, f->index) + f->at, &address, 4);
}

void assemble(const struct sequence *s, struct job *job) {
    uint32_t offset = 0;
    *job = s->job;
    memset(job->code, 0xcc, sizeof job->code);
    for (unsigned i = 0; i < s->count; i++) {
        if (s->elements[i].removed)
            continue;
        put_element(s, i, offset, job->code + offset);
        offset += s->elements[i].len;
    }
    for (unsigned i = 0; i < s->fixup_count; i++)
        fix(s, job, &s->fixups[i]);
    uint32_t room = CODE_AT + CODE_BYTES - job->code_at;
    job->code_len = offset < room ? offset : room;
}
