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

/* The signs of the elements of a live YMM register: of its 4 quadwords or 8 doublewords. AVX must
 * be there. */
static inline unsigned vector_signs(unsigned reg, bool quadwords) {
    unsigned signs = 0;
#define VECTOR_SIGNS(n)                                                                            \
    case n:                                                                                        \
        if (quadwords)                                                                             \
            __asm__ volatile("vmovmskpd %%ymm" #n ", %0" : "=r"(signs));                           \
        else                                                                                       \
            __asm__ volatile("vmovmskps %%ymm" #n ", %0" : "=r"(signs));                           \
        break
    switch (reg) {
        VECTOR_SIGNS(0);
        VECTOR_SIGNS(1);
        VECTOR_SIGNS(2);
        VECTOR_SIGNS(3);
        VECTOR_SIGNS(4);
        VECTOR_SIGNS(5);
        VECTOR_SIGNS(6);
        VECTOR_SIGNS(7);
    }
#undef VECTOR_SIGNS
    return signs;
}

#endif
