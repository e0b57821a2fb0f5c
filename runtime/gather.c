/* VGATHER and VPGATHER element by element (SDM vol. 2C), where the host's own would miss a segment,
 * a breakpoint or the right window. An element that faults leaves the ones before it done, and
 * their mask bits clear, as on a processor. */
#include <assert.h>
#include <string.h>

#include "runtime/callout_support.h"
#include "runtime/engine_private.h"
#include "runtime/guest_access.h"
#include "runtime/segment_access.h"
#include "runtime/vector_state.h"

/* The XSAVE image: XMM registers in the legacy area, upper halves of YMM in the standard format's
 * AVX part (SDM vol. 1, 13.4), and what of it counts. */
#define XMM_OFFSET 160u
#define YMM_HIGH_OFFSET 576u
#define XSTATE_BV_OFFSET 512u
#define XSTATE_SSE 2u
#define XSTATE_AVX 4u
#define HALF 16u /* bytes */

struct gather {
    unsigned destination, index, mask, scale, segment;
    unsigned element, index_size; /* bytes */
    unsigned count, length;       /* of elements; of a vector, in bytes */
};

static struct gather parse(uint32_t arg) {
    unsigned bytes = arg & CALLOUT_GATHER_WIDE ? 2 * HALF : HALF;
    struct gather g = {
        .destination = arg >> CALLOUT_GATHER_DESTINATION & 7u,
        .index = arg >> CALLOUT_GATHER_INDEX & 7u,
        .mask = arg >> CALLOUT_GATHER_MASK & 7u,
        .scale = arg >> CALLOUT_GATHER_SCALE & 3u,
        .segment = arg >> CALLOUT_GATHER_SEGMENT & 7u,
        .element = arg & CALLOUT_GATHER_QWORDS ? 8 : 4,
        .index_size = arg & CALLOUT_GATHER_BY_QWORDS ? 8 : 4,
    };
    unsigned wider = g.element > g.index_size ? g.element : g.index_size;
    g.count = bytes / wider;
    g.length = bytes;
    return g;
}

/* What XSAVE left out is in its initial state: zero. */
static void spell_out(uint8_t *image) {
    uint64_t saved;
    memcpy(&saved, image + XSTATE_BV_OFFSET, sizeof saved);
    if (!(saved & XSTATE_SSE))
        memset(image + XMM_OFFSET, 0, 16 * HALF);
    if (!(saved & XSTATE_AVX))
        memset(image + YMM_HIGH_OFFSET, 0, 16 * HALF);
    saved |= XSTATE_SSE | XSTATE_AVX;
    memcpy(image + XSTATE_BV_OFFSET, &saved, sizeof saved);
}

static uint8_t *byte_of(uint8_t *image, unsigned reg, unsigned byte) {
    return image + (byte < HALF ? XMM_OFFSET : YMM_HIGH_OFFSET - HALF) + reg * HALF + byte;
}

/* The mask's sign bit. */
static bool is_wanted(uint8_t *image, const struct gather *g, unsigned i) {
    return *byte_of(image, g->mask, (i + 1) * g->element - 1) & 0x80;
}

static void clear_from(uint8_t *image, unsigned reg, unsigned byte) {
    for (; byte < 2 * HALF; byte++)
        *byte_of(image, reg, byte) = 0;
}

static bool load_element(struct vcpu *v, uint8_t *image, const struct gather *g, unsigned i,
                         uint32_t base) {
    uint32_t index; /* of a quadword's its low half: addresses have 32 bits */
    gva_t linear;
    uint64_t value = 0;
    memcpy(&index, byte_of(image, g->index, i * g->index_size), sizeof index);
    uint32_t offset = base + (index << g->scale);
    if (!segment_access_aligned(v, g->segment, offset, g->element, 1, false, &linear) ||
        !guest_read(v, linear, &value, g->element, false))
        return false;
    memcpy(byte_of(image, g->destination, i * g->element), &value, g->element);
    clear_from(image, g->destination, g->length);
    return true;
}

/* The mask's elements become their sign bits, those beyond the last index among them, and what lies
 * above the vector's length zero: before the first access, so that a fault shows it. */
static void widen_mask(uint8_t *image, const struct gather *g) {
    for (unsigned i = 0; i < g->length / g->element; i++)
        memset(byte_of(image, g->mask, i * g->element), is_wanted(image, g, i) ? 0xff : 0,
               g->element);
    clear_from(image, g->mask, g->length);
}

/* A register named twice is #UD, whatever the elements. */
enum callout_result callout_gather(struct vcpu *v, uint32_t arg, uint32_t operand) {
    struct engine *e = v->engine;
    struct gather g = parse(arg);
    uint8_t *image = e->vector_area;
    enum callout_result result = CALLOUT_NEXT;
    assert(e->use_xsave && g.segment < SEG_COUNT);
    if (g.destination == g.index || g.destination == g.mask || g.index == g.mask)
        return fault_raise(v, VEC_UD);
    vector_save(image, e->use_xsave);
    spell_out(image);
    widen_mask(image, &g);
    for (unsigned i = 0; i < g.count && result == CALLOUT_NEXT; i++) {
        if (is_wanted(image, &g, i) && !load_element(v, image, &g, i, operand))
            result = CALLOUT_FAULT;
        else
            memset(byte_of(image, g.mask, i * g.element), 0, g.element);
    }
    if (result == CALLOUT_NEXT) {
        clear_from(image, g.mask, 0);
        clear_from(image, g.destination, g.count * g.element);
    }
    vector_restore(image, e->use_xsave);
    return result;
}
