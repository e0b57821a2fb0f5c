/* A user's library for tests: functions that remember what they were called with. */
#include <stdint.h>
#include <string.h>

struct recorded {
    unsigned calls;
    uint64_t values[9];
    char text[256];
};

extern struct recorded recorded;
struct recorded recorded;

void on_two(uint32_t a, uint32_t b);
void on_narrow(uint8_t a, int8_t b, uint16_t c);
void on_wide(int64_t a, uint64_t b, int32_t c);
void on_nine(uint32_t eip, uint32_t eax, uint32_t ecx, uint32_t edx, uint32_t ebx, uint32_t esp,
             uint32_t ebp, uint32_t esi, uint32_t edi);
void on_text(uint32_t eip, const char *text);
void on_nothing(void);

void on_two(uint32_t a, uint32_t b) {
    recorded.calls++;
    recorded.values[0] = a;
    recorded.values[1] = b;
}

void on_narrow(uint8_t a, int8_t b, uint16_t c) {
    recorded.calls++;
    recorded.values[0] = a;
    recorded.values[1] = (uint64_t)(int64_t)b;
    recorded.values[2] = c;
}

void on_wide(int64_t a, uint64_t b, int32_t c) {
    recorded.calls++;
    recorded.values[0] = (uint64_t)a;
    recorded.values[1] = b;
    recorded.values[2] = (uint64_t)(int64_t)c;
}

void on_nine(uint32_t eip, uint32_t eax, uint32_t ecx, uint32_t edx, uint32_t ebx, uint32_t esp,
             uint32_t ebp, uint32_t esi, uint32_t edi) {
    const uint64_t values[9] = {eip, eax, ecx, edx, ebx, esp, ebp, esi, edi};
    recorded.calls++;
    memcpy(recorded.values, values, sizeof values);
}

void on_text(uint32_t eip, const char *text) {
    recorded.calls++;
    recorded.values[0] = eip;
    strncpy(recorded.text, text, sizeof recorded.text - 1);
}

void on_nothing(void) { recorded.calls++; }
