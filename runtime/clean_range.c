/* The clean range: linear addresses that the guest is about to write, as it seems.
 *
 * Behind a sweep (sweeps.c) all of a page up to its end, or up to the next code, is known to be there, writable, dirty
 * and without code. As long as that holds, the stub of stores that go past the windows needs one comparison. Code that
 * is made of some of it takes away what lies before, too; what empties the look-aside buffer ends it. */
#include "runtime/engine_private.h"

#define ACCESS_MAX 16u

void clean_range_set(struct vcpu *v, gva_t gva, gpa_t gpa) {
    struct engine *e = v->engine;
    uint32_t left = PAGE_SIZE - (uint32_t)(gpa & PAGE_MASK), len = 0;
    while (len < left) {
        gpa_t at = gpa + len;
        uint64_t word = e->code_bits[at / 64] >> at % 64;
        uint32_t free = word ? (uint32_t)__builtin_ctzll(word) : 64 - (uint32_t)(at % 64);
        len += free;
        if (word)
            break;
    }
    len = len < left ? len : left;
    e->clean_gpa = gpa;
    v->cpu.clean_from = gva;
    v->cpu.clean_len = len >= ACCESS_MAX ? len - (ACCESS_MAX - 1) : 0;
    v->cpu.clean_delta = (uint64_t)(uintptr_t)(v->ram->base + gpa) - gva;
}

void clean_range_forget(struct vcpu *v) { v->cpu.clean_len = 0; }

void clean_range_cut(struct vcpu *v, gpa_t from, uint32_t len) {
    struct engine *e = v->engine;
    struct cpu *cpu = &v->cpu;
    uint32_t clean = cpu->clean_len ? cpu->clean_len + ACCESS_MAX - 1 : 0;
    if (from >= e->clean_gpa + clean || from + len <= e->clean_gpa)
        return;
    uint32_t gone = (uint32_t)(from + len - e->clean_gpa);
    cpu->clean_len = gone < cpu->clean_len ? cpu->clean_len - gone : 0;
    cpu->clean_from += gone;
    e->clean_gpa += gone;
}
