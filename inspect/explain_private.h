/* Between the parts of an explanation: taking the host code apart, and saying what each piece is
 * for. */
#ifndef RING3_INSPECT_EXPLAIN_PRIVATE_H
#define RING3_INSPECT_EXPLAIN_PRIVATE_H

#include "inspect/explain.h"
#include "translator/callouts.h"
#include "translator/cpu.h"

/* Host code is made in one buffer; its addresses in texts are offsets in it. */
#define COLD_PLACE TRANSLATION_CODE_MAX
#define COLD_ROOM 8192u
/* Behind it, as if it lay there: the run loop's stubs. */
#define STUB_PLACE (COLD_PLACE + COLD_ROOM)
#define STUB_BYTES 16u
#define FIXED_TARGETS_MAX 64u

struct work {
    const struct explain_code *code;
    struct translation t;
    uint8_t host[STUB_PLACE];
    uintptr_t stubs[STUB_COUNT];
    uint32_t fixed[FIXED_TARGETS_MAX]; /* targets by fixed jump cache slot */
    unsigned fixed_count;
    bool truncated; /* a fixed slot was wanted beyond the last one */
};

/* What one guest instruction's host code calls. */
struct calls {
    unsigned count;     /* in hot code */
    enum callout_id id; /* the first */
    uint32_t arg;
    bool raises;       /* the first is `raise` */
    bool after_branch; /* a conditional branch stands before it */
};

/* What is known while the host instructions of a fragment are walked through in order. */
struct noting {
    const struct work *work;
    uint32_t r9, r10, r11; /* the last constants loaded */
    bool has_r9, just_r9;
    bool branched;       /* since the guest instruction began */
    struct calls *calls; /* of the guest instruction */
};

/* Fills part and note. */
void explain_note(struct noting *noting, struct explained_host *host);
/* The offset in `work->host` that a relative branch leads to, or UINT32_MAX. */
uint32_t explain_branch_target(const struct explained_host *host);
/* "c0101234" or "name+0x12 (c0101234)" */
void explain_name_target(const struct explain_code *code, uint32_t eip, char *text, size_t size);
const char *explain_vector_name(uint32_t vector);

#endif
