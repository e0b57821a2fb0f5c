/* Output to the first serial port or the debug console, and the memory routines that the compiler expects. */
#ifndef RING3_GUEST_CONSOLE_H
#define RING3_GUEST_CONSOLE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

void console_start(void);
/* From here on characters go to the debug console (port 0xe9), line by line, without the CRs. */
void console_to_debug_port(void);
void print_char(char c);
/* %s %c %d %u %x with an optional zero-padded width (%08x), nothing else. */
__attribute__((format(printf, 1, 2))) void print(const char *format, ...);

void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
