/* User callouts: functions of a user's shared library, called when the guest does something.
 *
 * Written 'EVENT=library.so:function(types)'. EVENT is a callout class (translator/callouts.h,
 * with - or _), crN-write, or entry@0xADDRESS / entry@SYMBOL. libffi marshals the values that
 * the event has, in their order, as the types in the string say:
 *
 *   a callout class   argument, operand, eip
 *   crN-write         old value, new value, eip
 *   entry@...         eip, eax, ecx, edx, ebx, esp, ebp, esi, edi
 *
 * Types: u8 u16 u32 u64 i8 i16 i32 i64, and str: the value is the linear address of a string in
 * guest memory, of which the function gets a copy cut at USER_STRING_MAX - 1 bytes.
 *
 * Functions run in the vCPU process, under its sandbox, before the event is carried out: they may
 * compute, and write to standard error, and nothing else. Parsing happens before the fork. */
#ifndef RING3_RUNTIME_USER_CALLOUTS_H
#define RING3_RUNTIME_USER_CALLOUTS_H

#include <ffi.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "runtime/vcpu.h"

#define USER_CALLOUTS_MAX 32
#define USER_VALUES_MAX 9
#define USER_STRING_MAX 256

enum user_type {
    USER_U8,
    USER_U16,
    USER_U32,
    USER_U64,
    USER_I8,
    USER_I16,
    USER_I32,
    USER_I64,
    USER_STR,
    USER_TYPE_COUNT
};

struct user_callout {
    enum callout_id id; /* CALLOUT_probe for entry@... */
    int sub;            /* the control register of crN-write, or -1: any argument */
    gva_t address;      /* of entry@... */
    void *library;
    void (*function)(void);
    unsigned type_count;
    enum user_type types[USER_VALUES_MAX];
    ffi_type *ffi_types[USER_VALUES_MAX]; /* `cif` points at it: the struct must not move */
    ffi_cif cif;
};

struct user_callouts {
    struct user_callout list[USER_CALLOUTS_MAX];
    unsigned count;
    uint64_t wanted[(CALLOUT_COUNT + 63) / 64]; /* a bit a callout class that has one */
};

/* Who knows the guest's symbols: 0 and *address filled, or -1 with `error` filled. */
struct symbol_source {
    int (*find)(void *opaque, const char *name, gva_t *address, struct error *error);
    void *opaque;
};

/* Adds the callout that `text` describes; `source` (may be NULL) resolves symbols. 0, or -1
 * with `error` filled and nothing added. */
int user_callouts_parse(struct user_callouts *callouts, const char *text,
                        const struct symbol_source *source, struct error *error);
/* Closes the libraries. */
void user_callouts_release(struct user_callouts *callouts);

/* Cheap test before user_callouts_fire; `callouts` may be NULL. */
static inline bool user_callouts_want(const struct user_callouts *callouts, enum callout_id id) {
    return callouts && (callouts->wanted[id / 64] >> id % 64 & 1);
}
/* The index of the first callout at entry to `eip` (a linear address), or -1. The argument of
 * CALLOUT_probe. */
int user_callouts_entry(const struct user_callouts *callouts, gva_t eip);

/* Calls every function that wants this event, v->user_callouts being set. `arg` and `operand` are
 * the callout's. The general registers must be in v->cpu, and the caller keeps the guest's vector
 * state: user code may use those registers. Changes nothing in the vCPU. */
void user_callouts_fire(struct vcpu *v, enum callout_id id, uint32_t arg, uint32_t operand);

#endif
