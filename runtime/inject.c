/* Torture: an interrupt at every instruction boundary of a chosen block of code.
 *
 * The run loop asks before each instruction of the block. When the instruction is reached again,
 * behind the interrupt's handler, it has had its interrupt and runs. Boundaries at which no
 * interrupt may be taken (IF clear, the shadow of STI or MOV SS) are left out; an NMI waits there. */
#include "runtime/engine_private.h"

static gva_t current(const struct vcpu *v) { return v->cpu.seg[SEG_CS].base + v->cpu.eip; }

bool inject_covers(const struct vcpu *v) {
    const struct injection *inject = &v->engine->options.inject;
    gva_t page = current(v) >> PAGE_SHIFT;
    return inject->raise && page >= inject->start >> PAGE_SHIFT &&
           page <= inject->end >> PAGE_SHIFT;
}

/* An NMI that waits, for the end of another or of a shadow, comes first: then there is none to add. */
static void inject_nmi(struct vcpu *v) {
    struct engine *e = v->engine;
    if (v->cpu.nmi_pending)
        return;
    if (e->injected && !v->cpu.nmi_blocked) {
        e->injected = false;
        return;
    }
    e->options.inject.raise(e->options.inject.opaque);
    e->injected |= vcpu_nmi_is_due(&v->cpu);
}

void inject_before_instruction(struct vcpu *v) {
    struct engine *e = v->engine;
    const struct injection *inject = &e->options.inject;
    if (!inject->raise || current(v) < inject->start || current(v) > inject->end)
        return;
    if (inject->nmi) {
        inject_nmi(v);
        return;
    }
    if (!v->cpu.iflag || v->cpu.interrupt_shadow)
        return;
    if (e->injected) {
        e->injected = false;
        return;
    }
    inject->raise(inject->opaque);
    e->injected = v->cpu.irq_pending; /* masked: nothing will come back here */
}
