/* memcpy and friends without vector registers.
 *
 * The compiler calls these by name, also where the source does not. In the vCPU process the
 * vector registers hold the guest's state whenever C code runs, and glibc's versions use them;
 * these replace them in the whole program. Sanitized builds run no guests and keep their own. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(RING3_SANITIZED)

void *memcpy(void *restrict to, const void *restrict from, size_t len) {
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
    return result;
}

void *memset(void *to, int value, size_t len) {
    void *result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(value) : "memory");
    return result;
}

void *memmove(void *to, const void *from, size_t len) {
    if ((uintptr_t)to - (uintptr_t)from >= len)
        return memcpy(to, from, len);
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
