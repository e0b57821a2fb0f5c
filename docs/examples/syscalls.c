/* A plugin: system calls of 32-bit Linux guests, with names, arguments, strings and results.
 *
 *   ring3 run ... --plugin syscalls.so[,out=FILE][,only=NAME]...
 *
 * A line a call, written when it returns; processes are told apart by CR3:
 *
 *   [01a3c000] openat(-100, "/etc/passwd", 0x8000, 0) = 3
 *
 * A call that has not returned is known by CR3 and the user's stack pointer, which it keeps. With
 * INT 0x80 that is ESP; the vDSO leaves it in EBP before SYSENTER, and the sixth argument where it
 * points. Calls that never return, or elsewhere (exit, execve, sigreturn), end in "= ?". A string
 * on a page that the guest has not loaded yet is shown as its address. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "i386_syscalls.h"
#include "ring3/plugin.h"

RING3_PLUGIN();

#define CALLS (sizeof syscalls / sizeof *syscalls)
#define TEXT_MAX 400
#define STRING_SHOWN 64
#define PENDING_MAX 128
#define ONLY_MAX 32

struct pending {
    uint32_t cr3, sp;
    uint64_t when; /* 0: free */
    char text[TEXT_MAX];
};

static const struct ring3_api *api;
static ring3_handle out = RING3_STDERR;
static struct pending pending[PENDING_MAX];
static uint64_t now;
static const char *only[ONLY_MAX];
static unsigned only_count;

static uint32_t get(enum ring3_register reg) {
    uint32_t value = 0;
    api->get_register(reg, &value);
    return value;
}

/* Text that grows in a buffer, and stops at its end. */
struct text {
    char *at;
    size_t left;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int len = vsnprintf(t->at, t->left, format, args);
    va_end(args);
    size_t used = len < 0 ? 0 : (size_t)len < t->left ? (size_t)len : t->left - 1;
    t->at += used;
    t->left -= used;
}

static void add_bytes(struct text *t, const char *bytes, size_t len, int cut) {
    add(t, "\"");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\n')
            add(t, "\\n");
        else if (c == '"' || c == '\\')
            add(t, "\\%c", c);
        else if (c >= ' ' && c < 0x7f)
            add(t, "%c", c);
        else
            add(t, "\\x%02x", c);
    }
    add(t, cut ? "\"..." : "\"");
}

static void add_string(struct text *t, uint32_t address) {
    char string[STRING_SHOWN + 2];
    if (!address || api->read_string(address, string, sizeof string) != RING3_OK) {
        add(t, address ? "0x%x" : "NULL", address);
        return;
    }
    size_t len = strlen(string);
    add_bytes(t, string, len > STRING_SHOWN ? STRING_SHOWN : len, len > STRING_SHOWN);
}

static void add_buffer(struct text *t, uint32_t address, uint32_t len) {
    char bytes[STRING_SHOWN];
    uint32_t shown = len < sizeof bytes ? len : (uint32_t)sizeof bytes;
    if (api->read_linear(address, bytes, shown) != RING3_OK)
        add(t, "0x%x", address);
    else
        add_bytes(t, bytes, shown, len > shown);
}

static void add_argument(struct text *t, char type, uint32_t value, uint32_t next) {
    switch (type) {
    case 'd':
        add(t, "%d", (int)value);
        break;
    case 'u':
        add(t, "%u", value);
        break;
    case 'o':
        add(t, value ? "0%o" : "%o", value);
        break;
    case 's':
        add_string(t, value);
        break;
    case 'b':
        add_buffer(t, value, next);
        break;
    case 'p':
        add(t, value ? "0x%x" : "NULL", value);
        break;
    default:
        add(t, value ? "0x%x" : "%x", value);
        break;
    }
}

static void write_line(const char *text, const char *result) {
    char line[TEXT_MAX + 64];
    int len = snprintf(line, sizeof line, "%s = %s\n", text, result);
    api->write_output(out, line, (size_t)len);
}

static int wanted(const char *name) {
    for (unsigned i = 0; i < only_count; i++)
        if (!strcmp(only[i], name))
            return 1;
    return !only_count;
}

static int never_returns(const char *name) {
    return !strcmp(name, "exit") || !strcmp(name, "exit_group") || !strcmp(name, "sigreturn") ||
           !strcmp(name, "rt_sigreturn");
}

/* The place for a call from there: what still waits there will not return. */
static struct pending *place_for(uint32_t cr3, uint32_t sp) {
    struct pending *oldest = &pending[0];
    for (unsigned i = 0; i < PENDING_MAX; i++) {
        struct pending *p = &pending[i];
        if (p->when && p->cr3 == cr3 && p->sp == sp) {
            oldest = p;
            break;
        }
        if (p->when < oldest->when)
            oldest = p;
    }
    if (oldest->when)
        write_line(oldest->text, "?");
    *oldest = (struct pending){.cr3 = cr3, .sp = sp, .when = ++now};
    return oldest;
}

/* CR3, and NAME(ARGUMENTS). */
static void describe(struct text *t, uint32_t cr3, const char *name, const char *types,
                     const uint32_t arguments[7]) {
    add(t, "[%08x] %s(", cr3, name);
    for (unsigned i = 0; types[i] && types[i] != '-' && i < 6; i++) {
        add(t, i ? ", " : "");
        add_argument(t, types[i], arguments[i], arguments[i + 1]);
    }
    add(t, ")");
}

static void on_syscall(void *opaque, const struct ring3_event *event) {
    uint64_t number = event->syscall.number;
    int fast = event->syscall.vector == RING3_SYSENTER,
        known = number < CALLS && syscalls[number].name;
    uint32_t arguments[7] = {get(RING3_EBX),
                             get(RING3_ECX),
                             get(RING3_EDX),
                             get(RING3_ESI),
                             get(RING3_EDI),
                             get(RING3_EBP),
                             0};
    uint32_t sp = fast ? arguments[5] : get(RING3_ESP), cr3 = get(RING3_CR3);
    char other[32], text[TEXT_MAX];
    (void)opaque;
    if (!fast && event->syscall.vector != 0x80)
        return;
    if (fast)
        api->read_linear(sp, &arguments[5], 4);
    snprintf(other, sizeof other, "syscall_%u", (unsigned)number);
    const char *name = known ? syscalls[number].name : other;
    if (!wanted(name))
        return;
    char *to = never_returns(name) ? text : place_for(cr3, sp)->text;
    struct text t = {to, TEXT_MAX};
    describe(&t, cr3, name, known ? syscalls[number].types : "xxx", arguments);
    if (to == text)
        write_line(text, "?");
}

static void on_return(void *opaque, const struct ring3_event *event) {
    uint32_t cr3 = get(RING3_CR3), result = (uint32_t)event->user_return.result;
    char text[64];
    (void)opaque;
    for (unsigned i = 0; i < PENDING_MAX; i++) {
        struct pending *p = &pending[i];
        if (!p->when || p->cr3 != cr3 || p->sp != event->user_return.esp)
            continue;
        const char *error = result >= 0xfffff001u ? strerrorname_np((int)(0u - result)) : NULL;
        if (error)
            snprintf(text, sizeof text, "-%s", error);
        else
            snprintf(text, sizeof text, result > 0xffff && result < 0xffff0000u ? "0x%x" : "%d",
                     result);
        write_line(p->text, text);
        p->when = 0;
        return;
    }
}

static void on_end(void *opaque, const struct ring3_event *event) {
    (void)opaque, (void)event;
    for (unsigned i = 0; i < PENDING_MAX; i++)
        if (pending[i].when)
            write_line(pending[i].text, "?");
}

int ring3_plugin_start(const struct ring3_api *given, int argc, char **argv) {
    api = given;
    for (int i = 1; i < argc; i++) {
        int status = RING3_OK;
        if (!strncmp(argv[i], "out=", 4))
            status = api->open_output(argv[i] + 4, &out);
        else if (!strncmp(argv[i], "only=", 5) && only_count < ONLY_MAX)
            only[only_count++] = strdup(argv[i] + 5);
        else
            status = RING3_BAD_ARGUMENT;
        if (status) {
            api->refuse("options are out=FILE (that can be written) and only=NAME");
            return 1;
        }
    }
    return api->subscribe("syscall", on_syscall, NULL) ||
           api->subscribe("user-return", on_return, NULL) || api->subscribe("end", on_end, NULL);
}
