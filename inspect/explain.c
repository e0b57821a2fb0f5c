/* One fragment taken apart (explain.h):
 *
 *     translate_block -> host instructions -> whose they are -> notes -> what became of each
 * instruction */
#include "inspect/explain.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/explain_private.h"
#include "memory/walk.h"
#include "runtime/system.h"
#include "translator/cpu.h"
#include "translator/insn_why.h"
#include "translator/tripwire.h"

static uint32_t fixed_slot_of(void *opaque, uint32_t target) {
    struct work *work = opaque;
    for (unsigned i = 0; i < work->fixed_count; i++)
        if (work->fixed[i] == target)
            return i;
    if (work->fixed_count == FIXED_TARGETS_MAX)
        return NO_FIXED_SLOT;
    work->fixed[work->fixed_count] = target;
    return work->fixed_count++;
}

static bool peek_at(void *opaque, uint32_t eip, uint32_t *bytes) {
    const struct explain_code *code = ((const struct work *)opaque)->code;
    uint32_t offset = eip - code->eip;
    if (code->len < 4 || offset > code->len - 4)
        return false;
    memcpy(bytes, code->bytes + offset, sizeof *bytes);
    return true;
}

/* As the run loop asks (runtime/build.c, request_for). */
static struct translate_request request_for(struct work *work) {
    const struct explain_code *code = work->code;
    uint32_t left = PAGE_SIZE - (code->linear & PAGE_MASK);
    uint32_t page_bytes = left < EXPLAIN_COPY_MAX ? left : EXPLAIN_COPY_MAX;
    bool user = (code->mode & MODE_CPL) == 3;
    if (page_bytes > code->len)
        page_bytes = code->len;
    for (unsigned i = 0; i < STUB_COUNT; i++)
        work->stubs[i] = (uintptr_t)work->host + STUB_PLACE + i * STUB_BYTES;
    return (struct translate_request){.bytes = code->bytes,
                                      .len = page_bytes,
                                      .page_bytes = page_bytes,
                                      .eip = code->eip,
                                      .linear = code->linear,
                                      .mode = code->mode,
                                      .code_limit = code->code_limit,
                                      .direct_cross_page = !user,
                                      .tsc_is_host = true,
                                      .cold = work->host + COLD_PLACE,
                                      .cold_room = COLD_ROOM,
                                      .stubs = work->stubs,
                                      .poll_address = POLL_PAGE,
                                      .max_branches = EXPLAIN_BRANCHES_MAX,
                                      .peek = peek_at,
                                      .fixed_slot = user ? fixed_slot_of : NULL,
                                      .opaque = work};
}

static int translate(struct work *work, struct translate_request *req, struct error *error) {
    enum translate_status status = translate_block(req, work->host, COLD_PLACE, &work->t);
    if (status == TRANSLATE_MORE && req->len < work->code->len) {
        uint32_t more = work->code->len - req->len;
        req->len += more < INSN_BYTES_MAX ? more : INSN_BYTES_MAX;
        status = translate_block(req, work->host, COLD_PLACE, &work->t);
    }
    if (status == TRANSLATE_MORE)
        return error_set(error, "%08x: the bytes end inside this instruction", work->code->linear);
    return status == TRANSLATE_OK
               ? 0
               : error_set(error, "%08x: no room for the translation", work->code->linear);
}

/* One host instruction; false at the end of the part. */
static bool take_host(struct work *work, struct disassembler *d, bool cold, uint32_t offset,
                      struct explained_host *host) {
    uint32_t end = cold ? work->t.cold_len : work->t.code_len, place = cold ? COLD_PLACE : 0;
    if (offset >= end)
        return false;
    *host = (struct explained_host){.offset = (uint16_t)offset, .cold = cold};
    unsigned len =
        disassemble(d, work->host + place + offset, end - offset, place + offset, host->text);
    host->len = (uint8_t)(len ? len : 1);
    memcpy(host->bytes, work->host + place + offset, host->len);
    return true;
}

static int take_hosts(struct work *work, struct explained_fragment *f, enum syntax syntax) {
    struct disassembler d;
    assert(work->t.code_len <= COLD_PLACE && work->t.cold_len <= COLD_ROOM);
    f->hosts = calloc(work->t.code_len + work->t.cold_len, sizeof *f->hosts);
    if (!f->hosts || !disassembler_open(&d, CODE_64, syntax))
        return -1;
    for (unsigned cold = 0; cold < 2; cold++)
        for (uint32_t at = 0; take_host(work, &d, cold, at, &f->hosts[f->host_count]);
             at += f->hosts[f->host_count++].len)
            ;
    disassembler_close(&d);
    return 0;
}

static unsigned owner_of(const struct translation *t, uint32_t offset) {
    unsigned insn = 0;
    assert(offset < t->code_len);
    while (insn + 1 < t->insn_count && t->map[insn + 1].host <= offset)
        insn++;
    return insn;
}

/* Cold code belongs to whom a branch in hot code leads there from. */
static void find_owners(const struct work *work, struct explained_fragment *f) {
    uint8_t owners[COLD_ROOM] = {0};
    for (unsigned i = 0; i < f->host_count && !f->hosts[i].cold; i++) {
        struct explained_host *host = &f->hosts[i];
        uint32_t to = explain_branch_target(host);
        host->insn = (uint8_t)owner_of(&work->t, host->offset);
        if (to != UINT32_MAX && to >= COLD_PLACE && to - COLD_PLACE < COLD_ROOM)
            owners[to - COLD_PLACE] = (uint8_t)(host->insn + 1);
    }
    uint8_t owner = 0;
    for (unsigned i = 0; i < f->host_count; i++) {
        struct explained_host *host = &f->hosts[i];
        if (!host->cold)
            continue;
        if (owners[host->offset])
            owner = (uint8_t)(owners[host->offset] - 1);
        host->insn = owner;
    }
}

/* The label of an instruction that calls out. */
static void label_callout(struct explained_insn *insn, const struct calls *calls) {
    if (calls->raises) {
        snprintf(insn->label, sizeof insn->label, "raises %s", explain_vector_name(calls->arg));
        insn->how = insn->how == EXPLAINED_UNDEFINED ? EXPLAINED_UNDEFINED : EXPLAINED_CALLOUT;
    } else if (calls->after_branch) {
        insn->how = insn->how == EXPLAINED_CALLOUT ? EXPLAINED_INLINE : insn->how;
        snprintf(insn->label, sizeof insn->label, "%s, or callout %s",
                 explained_how_name(insn->how), callout_name(calls->id));
    } else if (insn->how == EXPLAINED_ENCODED || insn->how == EXPLAINED_REWRITTEN) {
        snprintf(insn->label, sizeof insn->label, "%s, with callout %s",
                 explained_how_name(insn->how), callout_name(calls->id));
    } else {
        insn->how = EXPLAINED_CALLOUT;
        snprintf(insn->label, sizeof insn->label, "callout %s", callout_name(calls->id));
    }
}

static void label_insn(const struct work *work, struct explained_insn *insn, uint32_t host_at,
                       const struct insn_row *row, const struct calls *calls) {
    static const enum explained_how by_class[] = {[CLASS_IDENTICAL] = EXPLAINED_ENCODED,
                                                  [CLASS_REWRITTEN] = EXPLAINED_REWRITTEN,
                                                  [CLASS_INLINE] = EXPLAINED_INLINE,
                                                  [CLASS_CALLOUT] = EXPLAINED_CALLOUT,
                                                  [CLASS_UNDEFINED] = EXPLAINED_UNDEFINED};
    insn->how = row ? by_class[row->cls] : EXPLAINED_UNDEFINED;
    insn->why = row ? insn_why(row)
                    : "no row of the instruction table: the guest's CPUID does not offer it";
    if (row)
        insn_row_id(row, insn->row);
    if (insn->how == EXPLAINED_ENCODED && insn->hot_bytes >= insn->len &&
        !memcmp(work->host + host_at, insn->bytes, insn->len))
        insn->how = EXPLAINED_COPIED;
    snprintf(insn->label, sizeof insn->label, "%s", explained_how_name(insn->how));
    if (calls->count)
        label_callout(insn, calls);
}

/* Did an instruction before it branch, or one to it, so that a basic block begins here? */
static bool starts_block(const struct work *work, const struct explained_fragment *f, unsigned insn) {
    for (unsigned i = 0; insn && i < f->host_count && !f->hosts[i].cold; i++) {
        const struct explained_host *host = &f->hosts[i];
        bool lands = explain_branch_target(host) == work->t.map[insn].host;
        if (host->part == PART_LINK && (host->insn == insn - 1 || (host->insn < insn && lands)))
            return true;
    }
    return insn == 0;
}

static int describe_insns(struct work *work, const struct translate_request *req,
                          struct explained_fragment *f, const struct calls *calls,
                          enum syntax syntax) {
    struct disassembler d;
    if (!disassembler_open(&d, req->mode & MODE_CODE16 ? CODE_16 : CODE_32, syntax))
        return -1;
    assert(f->insn_count > 0 && f->insn_count <= TRANSLATION_INSNS_MAX);
    for (unsigned i = 0; i < f->insn_count; i++) {
        struct explained_insn *insn = &f->insns[i];
        uint32_t at = work->t.map[i].guest, len, vector;
        const struct insn_row *row = insn_row_of(req, at, &len, &vector);
        *insn = (struct explained_insn){.linear = f->linear + at,
                                        .eip = f->eip + at,
                                        .len = (uint8_t)len,
                                        .lag = work->t.map[i].esp};
        memcpy(insn->bytes, req->bytes + at, len);
        disassemble(&d, req->bytes + at, req->len - at, f->eip + at, insn->text);
        for (unsigned k = 0; k < f->host_count; k++)
            if (f->hosts[k].insn == i)
                *(f->hosts[k].cold ? &insn->cold_bytes : &insn->hot_bytes) += f->hosts[k].len;
        label_insn(work, insn, work->t.map[i].host, row, &calls[i]);
        insn->starts_block = starts_block(work, f, i);
    }
    disassembler_close(&d);
    return 0;
}

static void note_all(struct work *work, struct explained_fragment *f, struct calls *calls) {
    struct noting noting = {.work = work};
    unsigned insn = UINT32_MAX;
    for (unsigned i = 0; i < f->host_count; i++) {
        if (f->hosts[i].insn != insn) {
            insn = f->hosts[i].insn;
            noting.branched = false;
            noting.calls = &calls[insn];
        }
        explain_note(&noting, &f->hosts[i]);
    }
}

/* Each target once. */
static void list_exit(const struct work *work, struct explained_fragment *f, uint32_t eip) {
    for (unsigned i = 0; i < f->exit_count; i++)
        if (f->exits[i].eip == eip)
            return;
    if (f->exit_count == TRANSLATION_EXITS_MAX)
        return;
    struct explained_exit *exit = &f->exits[f->exit_count++];
    exit->eip = eip;
    exit->linear = f->linear + (eip - f->eip);
    symbols_format(work->code->symbols, exit->linear, exit->name, sizeof exit->name);
}

static void list_exits(const struct work *work, struct explained_fragment *f) {
    for (unsigned i = 0; i < work->t.exit_count; i++)
        list_exit(work, f, work->t.exits[i].target);
    for (unsigned i = 0; i < work->fixed_count; i++)
        list_exit(work, f, work->fixed[i]);
}

int explain_fragment(const struct explain_code *code, struct explained_fragment *f,
                     struct error *error) {
    struct calls calls[TRANSLATION_INSNS_MAX] = {{0}};
    struct work *work = calloc(1, sizeof *work);
    assert(code->len > 0);
    *f = (struct explained_fragment){.linear = code->linear, .eip = code->eip, .mode = code->mode};
    if (!work)
        return error_set(error, "no memory");
    work->code = code;
    struct translate_request req = request_for(work);
    int rc = translate(work, &req, error);
    if (!rc && take_hosts(work, f, code->syntax))
        rc = error_set(error, "no memory, or Capstone does not start");
    if (!rc) {
        f->guest_len = work->t.guest_len;
        f->code_len = work->t.code_len;
        f->cold_len = work->t.cold_len;
        f->insn_count = work->t.insn_count;
        find_owners(work, f);
        note_all(work, f, calls);
        rc = describe_insns(work, &req, f, calls, code->syntax);
        if (rc)
            error_set(error, "Capstone does not start");
        list_exits(work, f);
    }
    free(work);
    if (rc)
        explained_fragment_release(f);
    return rc;
}

void explained_fragment_release(struct explained_fragment *f) {
    free(f->hosts);
    f->hosts = NULL;
    f->host_count = 0;
}

const char *explained_how_name(enum explained_how how) {
    static const char *const names[EXPLAINED_HOWS] = {
        [EXPLAINED_COPIED] = "copied",       [EXPLAINED_ENCODED] = "re-encoded",
        [EXPLAINED_REWRITTEN] = "rewritten", [EXPLAINED_INLINE] = "inline",
        [EXPLAINED_CALLOUT] = "callout",     [EXPLAINED_UNDEFINED] = "undefined"};
    return names[how];
}

const char *explained_part_name(enum explained_part part) {
    static const char *const names[] = {
        [PART_PLAIN] = "plain",     [PART_MEMORY] = "memory", [PART_STATE] = "state",
        [PART_CALLOUT] = "callout", [PART_LINK] = "link",     [PART_GUARD] = "guard"};
    return names[part];
}
