/* Checks: each prints "ok NAME" or "FAIL NAME expected X got Y"; the last line is the total. */
#ifndef RING3_GUEST_CHECK_H
#define RING3_GUEST_CHECK_H

#include <stdbool.h>
#include <stdint.h>

/* First and last part of the names that follow: "pae" and "ring3" give "pae.NAME.ring3".
 * NULL: none. */
void check_section(const char *name);
void check_variant(const char *name);
void check(const char *name, uint32_t expected, uint32_t got);
void check_true(const char *name, bool condition);
/* As check, for a place where QEMU's TCG is known to differ from hardware: under TCG, and only
 * there, `tcg` is accepted too, with a note that says so. */
void check_deviation(const char *name, uint32_t expected, uint32_t got, uint32_t tcg);
/* By CPUID, or the option "tcg": a KVM in TCG shows a CPUID of its own. */
bool check_under_tcg(void);
/* Counts and prints a check whose values the caller prints: with false the line is left open for
 * " expected X got Y". Returns `good`. */
bool check_verdict(const char *name, bool good);
/* Prints "NAME: N checks, M failed", writes 0 (all passed) or 1 to port 0xf4, and halts. */
__attribute__((noreturn)) void check_finish(const char *name);
__attribute__((noreturn)) void guest_exit(uint8_t value);

#endif
