/* Counting and printing of checks, and the way out of the machine (debug-exit port 0xf4). */
#include "guest/lib/check.h"

#include <stddef.h>

#include "guest/lib/console.h"
#include "guest/lib/cpu.h"
#include "guest/lib/guest.h"

static const char *section, *variant;
static unsigned checks, failures;

void check_section(const char *name) { section = name; }
void check_variant(const char *name) { variant = name; }

bool check_verdict(const char *name, bool good) {
    checks++;
    failures += !good;
    print("%s %s%s%s%s%s%s", good ? "ok" : "FAIL", section ? section : "", section ? "." : "", name,
          variant ? "." : "", variant ? variant : "", good ? "\n" : "");
    return good;
}

void check(const char *name, uint32_t expected, uint32_t got) {
    if (!check_verdict(name, expected == got))
        print(" expected %08x got %08x\n", expected, got);
}

void check_true(const char *name, bool condition) { check(name, 1, condition); }

bool check_under_tcg(void) {
    if (guest_option("tcg"))
        return true;
    if (!(cpuid(1).ecx & 1u << 31))
        return false;
    struct cpuid id = cpuid(0x40000000);
    return id.ebx == 0x54474354 && id.ecx == 0x43544743 && id.edx == 0x47435447;
}

void check_deviation(const char *name, uint32_t expected, uint32_t got, uint32_t tcg) {
    bool known = expected != got && got == tcg && check_under_tcg();
    check(name, expected, known ? expected : got);
    if (known)
        print("   (TCG gives %08x, hardware %08x)\n", got, expected);
}

void guest_exit(uint8_t value) {
    outb(0xf4, value);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void check_finish(const char *name) {
    print("%s: %u checks, %u failed\n", name, checks, failures);
    guest_exit(checks && !failures ? 0 : 1);
}
