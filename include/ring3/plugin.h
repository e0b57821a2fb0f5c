/* The plugin interface of ring3: what a shared library loaded by `--plugin FILE.so[,key=value...]`
 * may ask for, and what it is told. docs/plugins.md is the guide.
 *
 * A plugin defines ring3_plugin_version (RING3_PLUGIN does it) and ring3_plugin_start. The latter is
 * called once, before the guest runs: it subscribes to events, opens outputs, and returns 0. From
 * then on its callbacks run in the vCPU process, under its sandbox: they compute, and call the
 * functions below. Of the host they may ask nothing else but write to standard error; malloc and
 * free work, realloc of large blocks does not (alloc below needs no system call).
 *
 * Every function returns RING3_OK or a negative enum ring3_status, and changes nothing when it
 * fails. Calls from another thread, outside ring3_plugin_start and callbacks, or from one where the
 * function has no meaning get RING3_WRONG_TIME. Pointers that cannot be read or written get
 * RING3_BAD_POINTER, as do those into memory that is the monitor's.
 *
 * Compatibility: versions are MAJOR.MINOR. Within one MAJOR nothing is removed or changes its
 * meaning; structs grow at their end, and enums get values behind the last. A plugin runs with any
 * ring3 of its MAJOR and of its MINOR or a later one. A plugin that can do without what is new
 * declares a lower MINOR and asks RING3_API_HAS. Structs that cross have their size in them. */
#ifndef RING3_PLUGIN_H
#define RING3_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RING3_PLUGIN_MAJOR 1u
#define RING3_PLUGIN_MINOR 0u
#define RING3_PLUGIN_VERSION (RING3_PLUGIN_MAJOR << 16 | RING3_PLUGIN_MINOR)

enum ring3_status {
    RING3_OK = 0,
    RING3_BAD_ARGUMENT = -1, /* a value out of range, an unknown name, a length too large */
    RING3_BAD_POINTER = -2,  /* memory of the plugin's that cannot be read or written */
    RING3_BAD_HANDLE = -3,   /* not a handle, closed, or another plugin's */
    RING3_WRONG_TIME = -4,   /* the function has no meaning now */
    RING3_NOT_PRESENT = -5,  /* the guest maps no page there */
    RING3_NO_MEMORY = -6,    /* the guest has no memory there, or none that can be written */
    RING3_NO_ROOM = -7,      /* a limit of ring3's is reached */
    RING3_HOST = -8          /* the host refuses: disk full, out of memory */
};

/* Events: id, name for `subscribe`, values in their order (all are uint64_t). Addresses are linear
 * unless they are called physical. `eip` is the guest's EIP when it happens.
 *
 * Besides these names `subscribe` takes the classes of docs/callouts.md (mov_to_cr, cpuid ...: the
 * event is CALLOUT), cr0-write cr2-write cr3-write cr4-write, and entry@0xADDRESS, entry@SYMBOL. */
#define RING3_EVENTS(X)                                                                            \
    X(BEGIN, "begin", "boot")                                                                      \
    X(END, "end", "reason value")                                                                  \
    X(FETCH, "fetch", "address physical bytes")                                                    \
    X(TRANSLATE, "translate", "address physical bytes insns host_bytes once")                      \
    X(LINK, "link", "from to")                                                                     \
    X(ENTER, "enter", "address")                                                                   \
    X(EXIT, "exit", "reason address")                                                              \
    X(CALLOUT, "callout", "callout argument operand eip")                                          \
    X(CR_WRITE, "cr-write", "number before after eip")                                             \
    X(ENTRY, "entry", "eip eax ecx edx ebx esp ebp esi edi")                                       \
    X(INJECT, "inject", "vector error has_error address eip")                                      \
    X(HIDDEN_FAULT, "hidden-fault", "address physical write eip")                                  \
    X(TRUE_FAULT, "true-fault", "address error eip")                                               \
    X(FLUSH, "flush", "what address eip")                                                          \
    X(INVALIDATE, "invalidate", "physical bytes eip")                                              \
    X(IO, "io", "port size value write eip")                                                       \
    X(MMIO, "mmio", "address physical write eip")                                                  \
    X(IRQ, "irq", "vector eip")                                                                    \
    X(ADDRESS_SPACE, "address-space", "before after eip")                                          \
    X(SYSCALL, "syscall", "number vector eip")                                                     \
    X(USER_RETURN, "user-return", "result esp eip")                                                \
    X(EXECUTE, "execute", "address")                                                               \
    X(SAMPLE, "sample", "address every")                                                           \
    X(MEMORY, "memory", "address size kind count step insn")

enum ring3_event_kind {
#define RING3_EVENT_ENUM(id, name, values) RING3_EVENT_##id,
    RING3_EVENTS(RING3_EVENT_ENUM)
#undef RING3_EVENT_ENUM
        RING3_EVENT_COUNT
};

#define RING3_VALUES_MAX 9

/* The vCPU process starts; boots are counted from 1, and each begins with the plugin's
 * memory as ring3_plugin_start has left it. */
struct ring3_begin { uint64_t boot; };
/* It has stopped, by whatever reason. 1 power-off, 2 reset, 3 debug port (value: what was
 * written), 4 triple fault, 5 host failure, 6 somebody asked. */
struct ring3_end { uint64_t reason, value; };
/* Bytes of code are copied to be translated. */
struct ring3_fetch { uint64_t address, physical, bytes; };
/* A fragment is being made; see get_insn, count, sample, on_execute, on_memory. `once`: of one
 * instruction, for one use. */
struct ring3_translate { uint64_t address, physical, bytes, insns, host_bytes, once; };
/* The exit of one fragment (by its first address) now leads to another. */
struct ring3_link { uint64_t from, to; };
/* The run loop enters and leaves translated code. */
struct ring3_enter { uint64_t address; };
struct ring3_exit { uint64_t reason, address; };
/* A callout is about to be carried out; api->callout_name(callout). */
struct ring3_callout { uint64_t callout, argument, operand, eip; };
struct ring3_cr_write { uint64_t number, before, after, eip; };
struct ring3_entry { uint64_t eip, eax, ecx, edx, ebx, esp, ebp, esi, edi; };
/* An exception is delivered to the guest. `address` is CR2 for a page fault. */
struct ring3_inject { uint64_t vector, error, has_error, address, eip; };
/* A page of a window is filled that the guest does allow; one that it does not. */
struct ring3_hidden_fault { uint64_t address, physical, write, eip; };
struct ring3_true_fault { uint64_t address, error, eip; };
/* enum ring3_flushed; `address` of a page's. */
struct ring3_flush { uint64_t what, address, eip; };
/* Translations of code that was written to go. */
struct ring3_invalidate { uint64_t physical, bytes, eip; };
/* After a port was read, before it is written. */
struct ring3_io { uint64_t port, size, value, write, eip; };
/* Translated code accesses what is no memory, or writes to ROM. */
struct ring3_mmio { uint64_t address, physical, write, eip; };
/* A hardware interrupt is delivered. */
struct ring3_irq { uint64_t vector, eip; };
/* CR3 was loaded. */
struct ring3_address_space { uint64_t before, after, eip; };
/* User code enters the kernel by INT (vector) or SYSENTER (RING3_SYSENTER); `number` is EAX,
 * `eip` that of the instruction. Before it is carried out. */
struct ring3_syscall { uint64_t number, vector, eip; };
/* IRET or SYSEXIT has gone to user code: `result` is EAX. */
struct ring3_user_return { uint64_t result, esp, eip; };
/* Asked for by on_execute, sample and on_memory. */
struct ring3_execute { uint64_t address; };
struct ring3_sample { uint64_t address, every; };
/* `count` elements of `size` bytes, the first at `address`, the next at address + step (an
 * int64_t): what the instruction at `insn` is about to access. */
struct ring3_memory { uint64_t address, size, kind, count, step, insn; };

/* What a callback gets. Of the union that member counts which `kind` names. */
struct ring3_event {
    uint32_t size; /* of what this ring3 fills */
    uint32_t kind; /* enum ring3_event_kind */
    union {
        uint64_t value[RING3_VALUES_MAX];
        struct ring3_begin begin;
        struct ring3_end end;
        struct ring3_fetch fetch;
        struct ring3_translate translate;
        struct ring3_link link;
        struct ring3_enter enter;
        struct ring3_exit exit;
        struct ring3_callout callout;
        struct ring3_cr_write cr_write;
        struct ring3_entry entry;
        struct ring3_inject inject;
        struct ring3_hidden_fault hidden_fault;
        struct ring3_true_fault true_fault;
        struct ring3_flush flush;
        struct ring3_invalidate invalidate;
        struct ring3_io io;
        struct ring3_mmio mmio;
        struct ring3_irq irq;
        struct ring3_address_space address_space;
        struct ring3_syscall syscall;
        struct ring3_user_return user_return;
        struct ring3_execute execute;
        struct ring3_sample sample;
        struct ring3_memory memory;
    };
};

#define RING3_SYSENTER 256u
#define RING3_READ 1u /* kinds of memory accesses */
#define RING3_WRITE 2u

enum ring3_flushed {
    RING3_FLUSH_SPACE, /* CR3 was loaded: entries that are not global */
    RING3_FLUSH_PAGE,  /* INVLPG */
    RING3_FLUSH_ALL,   /* CR0, CR4 or EFER changed what entries mean */
    RING3_FLUSH_CACHE, /* the translation cache */
    RING3_FLUSH_PART   /* a part of it, when it is full */
};

enum ring3_register {
    RING3_EAX, RING3_ECX, RING3_EDX, RING3_EBX, RING3_ESP, RING3_EBP, RING3_ESI, RING3_EDI,
    RING3_EIP, RING3_EFLAGS,
    RING3_ES, RING3_CS, RING3_SS, RING3_DS, RING3_FS, RING3_GS, /* selectors */
    RING3_ES_BASE, RING3_CS_BASE, RING3_SS_BASE, RING3_DS_BASE, RING3_FS_BASE, RING3_GS_BASE,
    RING3_CR0, RING3_CR2, RING3_CR3, RING3_CR4, RING3_EFER,
    RING3_TR_BASE, RING3_GDT_BASE, RING3_IDT_BASE,
    RING3_CPL, RING3_MODE, /* RING3_MODE_* */
    RING3_REGISTER_COUNT
};

#define RING3_MODE_REAL 1u
#define RING3_MODE_V86 2u
#define RING3_MODE_CODE16 4u
#define RING3_MODE_PAGING 8u
#define RING3_MODE_PAE 16u

/* An instruction of the fragment that is being made. */
struct ring3_insn {
    uint32_t size;       /* set it to sizeof(struct ring3_insn) */
    uint32_t address;    /* linear */
    uint32_t len;        /* as far as it decodes */
    uint32_t leads;      /* 1: control may come here from elsewhere than the one before */
    uint8_t bytes[16];
};

typedef uint64_t ring3_handle; /* 0 is none */
typedef void (*ring3_callback)(void *opaque, const struct ring3_event *event);

/* Open at any time, and never written to a file: standard error. */
#define RING3_STDERR ((ring3_handle)1)

struct ring3_api {
    uint32_t size;    /* of this struct in this ring3: RING3_API_HAS */
    uint32_t version; /* RING3_PLUGIN_VERSION of this ring3 */

    /* At any time. Never NULL. */
    const char *(*status_text)(int status);
    const char *(*callout_name)(uint64_t callout); /* "?" when there is none */

    /* While ring3_plugin_start runs.
     * Calls `callback` at each event of that name. In the order of subscription. */
    int (*subscribe)(const char *event, ring3_callback callback, void *opaque);
    /* The same with the event's values as arguments of the types named: "u32,str" and so on out of
     * u8 u16 u32 u64 i8 i16 i32 i64 and str (the value is the address of a string in guest memory,
     * of which the function gets a copy). Of a class and of crN-write the first value is left out.
     * Not for execute, sample and memory. */
    int (*subscribe_typed)(const char *event, const char *types, void (*function)(void));
    /* Creates or empties a file. What is written is buffered, and flushed when the buffer is full and
     * when the machine ends, however it ends. */
    int (*open_output)(const char *path, ring3_handle *output);
    /* The text stands in ring3's one line when the start returns nonzero. */
    int (*refuse)(const char *why);

    /* While the start or any callback runs. */
    int (*write_output)(ring3_handle output, const void *bytes, size_t len);
    int (*close_output)(ring3_handle output);
    /* Zeroed memory out of a reserve, aligned to 16, for good. */
    int (*alloc)(size_t bytes, void **memory);
    int (*new_counter)(ring3_handle *counter);
    int (*read_counter)(ring3_handle counter, uint64_t *value);
    int (*set_counter)(ring3_handle counter, uint64_t value);

    /* While any callback runs. Guest memory is read through the guest's page tables with the rights of
     * its kernel; no bit of them is set, and nothing faults: a page that is not present is an error. */
    int (*read_linear)(uint32_t address, void *to, size_t len);
    int (*read_string)(uint32_t address, char *to, size_t room); /* cut at room - 1 bytes */
    int (*read_physical)(uint64_t address, void *to, size_t len);
    int (*find_physical)(uint32_t address, uint64_t *physical);
    int (*get_register)(uint32_t reg, uint32_t *value); /* enum ring3_register */

    /* While a callback of CALLOUT, CR_WRITE, ENTRY, SYSCALL, USER_RETURN, EXECUTE or SAMPLE runs.
     * Translations of what is written go; the fragment that runs goes on to its end as it is. */
    int (*write_linear)(uint32_t address, const void *from, size_t len);
    int (*write_physical)(uint64_t address, const void *from, size_t len);
    /* EAX to EDI, and EFLAGS (CF PF AF ZF SF DF OF; the rest stays). Of ENTRY, EXECUTE and SAMPLE
     * EIP as well: the guest goes on there. */
    int (*set_register)(uint32_t reg, uint32_t value);

    /* While a callback of TRANSLATE runs: instrumentation of its instructions, 0 to insns - 1. All of
     * it stands before the instruction, and happens once each time that it is begun; one that
     * faults is begun again when the guest comes back to it. RING3_NO_ROOM: the fragment holds no
     * more. */
    int (*get_insn)(uint32_t index, struct ring3_insn *insn);
    /* Adds one to the counter, inline: four host instructions, and no flags. */
    int (*count)(uint32_t index, ring3_handle counter);
    /* SAMPLE each `every` times. */
    int (*sample)(uint32_t index, uint64_t every, ring3_callback callback, void *opaque);
    /* EXECUTE each time. */
    int (*on_execute)(uint32_t index, ring3_callback callback, void *opaque);
    /* MEMORY for each memory operand, the stack's included; not what the processor itself reads and
     * writes (descriptors, frames of interrupts), nor the elements of a gather. */
    int (*on_memory)(uint32_t index, ring3_callback callback, void *opaque);
};

/* Has this ring3 a function that came later than the plugin's MINOR? */
#define RING3_API_HAS(api, function)                                                               \
    ((api)->size >= offsetof(struct ring3_api, function) + sizeof((api)->function))

/* For the plugin to define. argv[0] is the file's name, the others are the words behind it, as
 * "key=value". Nonzero: ring3 refuses to run. */
#define RING3_EXPORT __attribute__((visibility("default")))
RING3_EXPORT extern const uint32_t ring3_plugin_version;
RING3_EXPORT int ring3_plugin_start(const struct ring3_api *api, int argc, char **argv);
#define RING3_PLUGIN() const uint32_t ring3_plugin_version = RING3_PLUGIN_VERSION

#ifdef __cplusplus
}
#endif

#endif
