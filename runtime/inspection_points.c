/* Where breakpoints and watchpoints are, and accesses that meet them (inspection.h). */
#include "runtime/inspection.h"

bool inspection_breaks_at(const struct inspection *i, gva_t address, uint32_t len) {
    if (!i)
        return false;
    for (uint32_t n = 0; n < i->breakpoint_count; n++)
        if (i->breakpoints[n] - address < len)
            return true;
    return false;
}

void inspection_forget_access(struct vcpu *v) {
    if (v->inspection)
        v->inspection->hit.reason = STOP_NONE;
}

/* The first access that one watches is told. */
void inspection_access(struct vcpu *v, gva_t address, uint32_t len, bool write) {
    struct inspection *i = v->inspection;
    uint32_t kind = write ? WATCH_WRITE : WATCH_READ;
    for (uint32_t n = 0; i && !i->hit.reason && n < i->watchpoint_count; n++) {
        const struct watchpoint *w = &i->watchpoints[n];
        bool meets = address - w->address < w->len || w->address - address < len;
        if (!meets || !(w->kind & kind))
            continue;
        i->hit = (struct inspection_stop){.reason = STOP_WATCHPOINT,
                                          .address =
                                              address - w->address < w->len ? address : w->address,
                                          .watch = w->kind,
                                          .watchpoint = w->address};
        v->cpu.attention = 1;
    }
}
