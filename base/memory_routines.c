/* memcpy and friends without vector registers.
 *
 * The compiler calls these by name, also where the source does not. In the vCPU process the
 * vector registers hold the guest's state whenever C code runs, and glibc's versions use them;
 * these replace them in the whole program. Sanitized builds run no guests and keep their own. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(RING3_SANITIZED)

/* REP takes dozens of cycles to begin: short ones go by words, the last of which overlaps. */
#define SHORT 64u

struct word { uint64_t value; } __attribute__((packed, may_alias));
struct half { uint32_t value; } __attribute__((packed, may_alias));

/* Each word is read before what it may overlap is written: copy_up's callers count on it. */
static void copy_short(uint8_t *to, const uint8_t *from, size_t len) {
    if (len < 8) {
        if (len < 4) {
            for (size_t i = 0; i < len; i++)
                to[i] = from[i];
            return;
        }
        uint32_t last = ((const struct half *)(from + len - 4))->value;
        ((struct half *)to)->value = ((const struct half *)from)->value;
        ((struct half *)(to + len - 4))->value = last;
        return;
    }
    uint64_t last = ((const struct word *)(from + len - 8))->value;
    for (size_t i = 0; i + 8 < len; i += 8)
        ((struct word *)(to + i))->value = ((const struct word *)(from + i))->value;
    ((struct word *)(to + len - 8))->value = last;
}

static void set_short(uint8_t *to, uint8_t value, size_t len) {
    uint64_t word = value * 0x0101010101010101ull;
    if (len < 8) {
        for (size_t i = 0; i < len; i++)
            to[i] = value;
        return;
    }
    for (size_t i = 0; i + 8 < len; i += 8)
        ((struct word *)(to + i))->value = word;
    ((struct word *)(to + len - 8))->value = word;
}

/* From the first byte to the last: the destination may overlap if it comes first. */
static void copy_up(void *to, const void *from, size_t len) {
    if (len <= SHORT)
        copy_short(to, from, len);
    else
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
}

void *memcpy(void *restrict to, const void *restrict from, size_t len) {
    copy_up(to, from, len);
    return to;
}

void *memset(void *to, int value, size_t len) {
    void *result = to;
    if (len <= SHORT) {
        set_short(to, (uint8_t)value, len);
        return result;
    }
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(value) : "memory");
    return result;
}

void *memmove(void *to, const void *from, size_t len) {
    if ((uintptr_t)to - (uintptr_t)from >= len) {
        copy_up(to, from, len);
        return to;
    }
    uint8_t *end = (uint8_t *)to + len;
    const uint8_t *source = (const uint8_t *)from + len;
    while (len--)
        *--end = *--source;
    return to;
}

int memcmp(const void *left, const void *right, size_t len) {
    const uint8_t *a = left, *b = right;
    for (size_t i = 0; i < len; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

#endif
