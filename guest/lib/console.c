/* COM1 at 115200 8N1, polled, or the debug console; and a printf of the few conversions that the guests use. */
#include "guest/lib/console.h"

#include "guest/lib/cpu.h"

enum { COM1 = 0x3f8, LINE_STATUS = COM1 + 5, LSR_EMPTY = 0x20, DEBUG_CONSOLE = 0xe9 };

void console_start(void) {
    outb(COM1 + 1, 0x00); /* no interrupts */
    outb(COM1 + 3, 0x80); /* divisor latch */
    outb(COM1 + 0, 1);
    outb(COM1 + 1, 0);
    outb(COM1 + 3, 0x03);
    outb(COM1 + 2, 0x07); /* FIFOs on and empty */
    outb(COM1 + 4, 0x03);
}

static char line[256]; /* what waits for the debug console */
static unsigned line_used;
static bool to_debug_port;

void console_to_debug_port(void) { to_debug_port = true; }

static void debug_char(char c) {
    line[line_used++] = c;
    if (c != '\n' && line_used < sizeof line)
        return;
    const char *from = line;
    uint32_t left = line_used;
    __asm__ volatile("rep outsb" : "+S"(from), "+c"(left) : "d"(DEBUG_CONSOLE) : "memory");
    line_used = 0;
}

void print_char(char c) {
    if (to_debug_port) {
        debug_char(c);
        return;
    }
    if (c == '\n')
        print_char('\r');
    while (!(inb(LINE_STATUS) & LSR_EMPTY))
        continue;
    outb(COM1, (uint8_t)c);
}

static void print_number(uint32_t value, uint32_t base, unsigned width) {
    char digits[11];
    unsigned n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    while (n < width && n < sizeof digits)
        digits[n++] = '0';
    while (n)
        print_char(digits[--n]);
}

static void print_text(const char *text) {
    while (*text)
        print_char(*text++);
}

static void print_signed(int32_t value) {
    if (value < 0)
        print_char('-');
    print_number(value < 0 ? 0u - (uint32_t)value : (uint32_t)value, 10, 0);
}

/* One conversion; returns the place after it. */
static const char *print_conversion(const char *at, va_list *args) {
    unsigned width = 0;
    while (*at >= '0' && *at <= '9')
        width = width * 10 + (unsigned)(*at++ - '0');
    switch (*at) {
    case 's':
        print_text(va_arg(*args, const char *));
        break;
    case 'c':
        print_char((char)va_arg(*args, int));
        break;
    case 'd':
        print_signed(va_arg(*args, int32_t));
        break;
    case 'u':
        print_number(va_arg(*args, uint32_t), 10, width);
        break;
    case 'x':
        print_number(va_arg(*args, uint32_t), 16, width);
        break;
    default:
        print_char(*at);
        break;
    }
    return at + 1;
}

void print(const char *format, ...) {
    va_list args;
    va_start(args, format);
    while (*format) {
        if (*format == '%')
            format = print_conversion(format + 1, &args);
        else
            print_char(*format++);
    }
    va_end(args);
}

void *memcpy(void *to, const void *from, size_t n) {
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    return result;
}

void *memmove(void *to, const void *from, size_t n) {
    uint8_t *out = to;
    const uint8_t *in = from;
    if (out <= in)
        return memcpy(to, from, n);
    while (n--) {
        out[n] = in[n];
        __asm__ volatile("" : : : "memory"); /* keep it a loop, not a call of itself */
    }
    return to;
}

void *memset(void *to, int value, size_t n) {
    void *result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
    return result;
}

int memcmp(const void *a, const void *b, size_t n) {
    const uint8_t *x = a, *y = b;
    for (; n; n--, x++, y++) {
        if (*x != *y)
            return *x < *y ? -1 : 1;
        __asm__ volatile("" : : : "memory");
    }
    return 0;
}
