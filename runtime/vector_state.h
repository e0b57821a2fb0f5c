/* Saving the guest's x87, SSE and AVX state around code that is not built without vector
 * registers (the decoder, user callouts). */
#ifndef RING3_RUNTIME_VECTOR_STATE_H
#define RING3_RUNTIME_VECTOR_STATE_H

#include <stdbool.h>
#include <stdint.h>

#define VECTOR_AREA_SIZE 4096u

/* `area`: VECTOR_AREA_SIZE bytes, zeroed once, aligned to 64. */
static inline void vector_save(uint8_t *area, bool xsave) {
    if (xsave)
        __asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(7), "d"(0) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}

static inline void vector_restore(const uint8_t *area, bool xsave) {
    if (xsave)
        __asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"(7), "d"(0) : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

#endif
