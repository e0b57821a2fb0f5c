/* Single step and breakpoints around one instruction (SDM vol. 3B, 17.2.4, 17.3.1). */
#include "runtime/stepping.h"

#include "runtime/debug_registers.h"
#include "runtime/engine_private.h"
#include "runtime/exception.h"
#include "runtime/inspection.h"

#define BREAKPOINTS 4u

bool debug_before_instruction(struct vcpu *v) {
    v->breakpoint_hits = 0;
    return debug_instruction_breakpoint(v);
}

/* DR7's R/W field. */
enum { BREAK_ON_EXECUTION, BREAK_ON_WRITE, BREAK_ON_PORT, BREAK_ON_ACCESS };

/* `conditions`: a bit for each that the access meets. */
static void match(struct vcpu *v, uint32_t address, uint32_t size, uint32_t conditions) {
    static const uint8_t lengths[4] = {1, 2, 8, 4}; /* DR7.LEN */
    const uint32_t *dr = v->cpu.dr;
    for (unsigned i = 0; i < BREAKPOINTS; i++) {
        uint32_t condition = dr[7] >> (16 + 4 * i) & 3u;
        uint32_t length = lengths[dr[7] >> (18 + 4 * i) & 3u];
        uint32_t start = dr[i] & ~(length - 1);
        bool armed = dr[7] >> 2 * i & 3u, kind = conditions >> condition & 1u;
        if (armed && kind && (address - start < length || start - address < size))
            v->breakpoint_hits |= DR6_B(i);
    }
}

void debug_data_access(struct vcpu *v, gva_t linear, uint32_t size, bool write) {
    match(v, linear, size, 1u << BREAK_ON_ACCESS | (write ? 1u << BREAK_ON_WRITE : 0));
    inspection_access(v, linear, size, write);
}

void debug_port_access(struct vcpu *v, uint16_t port, uint32_t size) {
    if (v->cpu.paging.cr4 & CR4_DE)
        match(v, port, size, 1u << BREAK_ON_PORT);
}

void debug_after_instruction(struct vcpu *v, bool single_step) {
    struct cpu *cpu = &v->cpu;
    uint32_t bits = v->held_hits;
    v->held_hits = 0;
    if (!v->engine->delivered)
        bits |= v->breakpoint_hits | (single_step && !v->engine->step_dropped ? DR6_BS : 0);
    v->breakpoint_hits = 0;
    if (cpu->debug_shadow) { /* behind MOV SS hits wait, and a single step is lost */
        v->held_hits = bits & ~DR6_BS;
        return;
    }
    if (!bits)
        return;
    cpu->next_eip = cpu->eip;
    exception_deliver_debug(v, bits, true, false);
    v->engine->delivered = true;
}
