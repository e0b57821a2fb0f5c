/* Single step and breakpoints around one instruction (SDM vol. 3B, 17.2.4, 17.3.1). */
#include "runtime/stepping.h"

#include "runtime/debug_registers.h"
#include "runtime/engine_private.h"
#include "runtime/exception.h"

#define BREAKPOINTS 4u
#define BREAK_ON_WRITE 1u
#define BREAK_ON_ACCESS 3u

bool debug_before_instruction(struct vcpu *v) {
    v->engine->data_hits = 0;
    return debug_instruction_breakpoint(v);
}

void debug_data_access(struct vcpu *v, gva_t linear, uint32_t size, bool write) {
    static const uint8_t lengths[4] = {1, 2, 8, 4}; /* DR7.LEN */
    const uint32_t *dr = v->cpu.dr;
    for (unsigned i = 0; i < BREAKPOINTS; i++) {
        uint32_t condition = dr[7] >> (16 + 4 * i) & 3u;
        uint32_t length = lengths[dr[7] >> (18 + 4 * i) & 3u];
        gva_t start = dr[i] & ~(length - 1);
        bool armed = dr[7] >> 2 * i & 3u;
        bool kind = condition == BREAK_ON_ACCESS || (condition == BREAK_ON_WRITE && write);
        if (armed && kind && linear < start + length && start < linear + size)
            v->engine->data_hits |= DR6_B(i);
    }
}

void debug_after_instruction(struct vcpu *v, bool single_step) {
    struct cpu *cpu = &v->cpu;
    uint32_t bits = v->engine->data_hits | (single_step ? DR6_BS : 0);
    bool resume = cpu->between_elements;
    v->engine->data_hits = 0;
    cpu->between_elements = false;
    if (!bits || cpu->debug_shadow)
        return;
    cpu->next_eip = cpu->eip;
    exception_deliver_debug(v, bits, true, resume); /* RF: SDM vol. 3B, 17.3.1.1 */
    v->engine->delivered = true;
}
