/* User callouts at run time: which functions an event calls, and with which values.
 *
 * Nothing here allocates; a cif is prepared when its callout is parsed, and ffi_call lays plain
 * scalars out on the stack. Guest strings are read through the page walk without setting A bits,
 * so that watching a guest does not change it. */
#include "runtime/user_callouts.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "memory/walk.h"

union user_value {
    uint64_t bits; /* little endian: the low bytes are the narrower types */
    const char *string;
};

/* Copies the string at `gva` as far as it can be read; `to` has USER_STRING_MAX bytes. */
static void copy_guest_string(const struct vcpu *v, gva_t gva, char *to) {
    bool user = cpu_cpl(&v->cpu) == 3;
    unsigned used = 0;
    while (used < USER_STRING_MAX - 1) {
        struct walk walk = walk_page(v->ram, &v->cpu.paging, gva, ACCESS_READ, user, false);
        const char *from = walk.ok ? ram_ptr(v->ram, walk.gpa, 1) : NULL;
        if (!from)
            break;
        for (uint32_t left = PAGE_SIZE - (gva & PAGE_MASK); left && used < USER_STRING_MAX - 1;
             left--, gva++)
            if (!(to[used++] = *from++))
                return;
    }
    to[used] = 0;
}

/* The values of the event, as the header's table has them. Returns how many. */
static unsigned event_values(const struct vcpu *v, const struct user_callout *callout, uint32_t arg,
                             uint32_t operand, uint32_t *values) {
    const struct cpu *cpu = &v->cpu;
    if (callout->id == CALLOUT_probe) {
        values[0] = cpu->eip;
        memcpy(values + 1, cpu->gpr, sizeof cpu->gpr);
        return 9;
    }
    values[0] = arg;
    values[1] = operand;
    values[2] = cpu->eip;
    if (callout->sub == 0)
        values[0] = cpu->paging.cr0;
    else if (callout->sub == 2)
        values[0] = cpu->cr2;
    else if (callout->sub == 3)
        values[0] = cpu->paging.cr3;
    else if (callout->sub == 4)
        values[0] = cpu->paging.cr4;
    return 3;
}

/* Signed types narrower than the value are taken from its low bits, i64 extends its sign. */
static uint64_t widen(uint32_t value, enum user_type type) {
    return type == USER_I64 ? (uint64_t)(int64_t)(int32_t)value : value;
}

static void call_user(struct vcpu *v, struct user_callout *callout, uint32_t arg,
                      uint32_t operand) {
    uint32_t values[USER_VALUES_MAX];
    union user_value cells[USER_VALUES_MAX];
    void *pointers[USER_VALUES_MAX];
    char strings[USER_VALUES_MAX][USER_STRING_MAX];
    unsigned count = event_values(v, callout, arg, operand, values);
    assert(callout->type_count <= count && callout->cif.nargs == callout->type_count);
    for (unsigned i = 0; i < callout->type_count; i++) {
        if (callout->types[i] == USER_STR) {
            copy_guest_string(v, values[i], strings[i]);
            cells[i].string = strings[i];
        } else {
            cells[i].bits = widen(values[i], callout->types[i]);
        }
        pointers[i] = &cells[i];
    }
    ffi_arg ignored;
    ffi_call(&callout->cif, callout->function, &ignored, pointers);
}

int user_callouts_entry(const struct user_callouts *callouts, gva_t eip) {
    if (!user_callouts_want(callouts, CALLOUT_probe))
        return -1;
    for (unsigned i = 0; i < callouts->count; i++)
        if (callouts->list[i].id == CALLOUT_probe && callouts->list[i].address == eip)
            return (int)i;
    return -1;
}

void user_callouts_fire(struct vcpu *v, enum callout_id id, uint32_t arg, uint32_t operand) {
    struct user_callouts *callouts = v->user_callouts;
    if (!user_callouts_want(callouts, id))
        return;
    assert(id != CALLOUT_probe || arg < callouts->count);
    for (unsigned i = 0; i < callouts->count; i++) {
        struct user_callout *callout = &callouts->list[i];
        if (callout->id != id)
            continue;
        bool matches = id == CALLOUT_probe ? callout->address == callouts->list[arg].address
                                           : callout->sub < 0 || (uint32_t)callout->sub == arg;
        if (matches)
            call_user(v, callout, arg, operand);
    }
}
