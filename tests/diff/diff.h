/* The instruction differential: what the generator, the two sides and the comparison share.
 *
 * A sequence is a few instructions with a state to start from. Each side runs it as CPL 3 code in
 * 32-bit segments over the same linear addresses and leaves an outcome: ring3 in a guest of its own
 * (guest_side.c), the processor in compatibility mode (native_side.c). Each is a forked process
 * that takes jobs in batches from shared memory. */
#ifndef RING3_TESTS_DIFF_H
#define RING3_TESTS_DIFF_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/engine.h"
#include "translator/insn_table.h"

/* Linear addresses, the same on both sides. Everything else below 4 GiB is not mapped for CPL 3. */
#define CODE_AT 0x10000000u
#define CODE_PAGES 3u /* readable, executable, not writable; what follows is not there */
#define CODE_BYTES (CODE_PAGES * 0x1000u)
#define DATA_AT 0x20000000u
#define DATA_PAGES 7u /* absent, rw, rw, read-only, absent, rw, absent; none executable */
#define DATA_BYTES (DATA_PAGES * 0x1000u)
#define DATA_PAGE(i) (DATA_AT + (i)*0x1000u)
#define WRITABLE_PAGES 3u
#define WRITABLE_BYTES (WRITABLE_PAGES * 0x1000u)
extern const uint8_t writable_page[WRITABLE_PAGES]; /* their numbers */
enum { PAGE_READ_ONLY = 3 };

/* The guest's kernel, which the processor's side does not have: supervisor pages. */
#define KERNEL 0xe5600000u
#define GUEST_RAM (4u << 20)

#define VECTOR_BYTES 832u /* XSAVE image of x87, SSE and AVX */
#define SEQUENCE_CODE 640u
#define PATCHES_MAX 32u
#define IMAGES 8u /* contents of the data pages to choose from */
#define BATCH 64u

/* Selectors as Linux has them in its descriptor table; the guest's table is made like it. */
#define SELECTOR_CODE 0x23u
#define SELECTOR_DATA 0x2bu
#define SELECTOR_LONG 0x30u /* the host's code of 64 bits */

/* The local descriptor table: the same on both sides. */
enum ldt_kind { LDT_DATA, LDT_DOWN, LDT_CODE };
struct ldt_entry {
    uint32_t base, limit; /* limit: in units of `pages` */
    enum ldt_kind kind;
    bool pages, closed, absent; /* closed: read-only or execute-only */
};
extern const struct ldt_entry ldt_entries[];
extern const unsigned ldt_count;
#define LDT_SELECTOR(i) ((uint16_t)((i) << 3 | 7u))
uint32_t selector_base(uint16_t selector);

struct state {
    uint32_t gpr[8];
    uint32_t eip, eflags;
    uint16_t seg[6]; /* in the order of enum segment_index */
    uint8_t vector[VECTOR_BYTES] __attribute__((aligned(64)));
};

struct patch {
    uint32_t at, value;
};

/* What a side is given. */
struct job {
    struct state in;
    uint32_t code_at; /* linear */
    uint32_t code_len;
    uint8_t code[SEQUENCE_CODE];
    bool guest_writes_code; /* the guest's kernel stores the code, not the monitor */
    bool flush;             /* the guest's kernel loads CR3 first */
    uint8_t image;
    uint32_t patch_count;
    struct patch patches[PATCHES_MAX];
};

enum ending {
    ENDED_TRAP,    /* `trap`, `error`, `cr2` */
    ENDED_TIMEOUT, /* it was still running */
    ENDED_SYSCALL, /* the processor took it for a system call of the host */
};

/* What comes of it. */
struct outcome {
    enum ending ending;
    int trap;
    uint32_t error, cr2;
    struct state out;
    uint8_t memory[WRITABLE_BYTES];
};

enum side { SIDE_GUEST, SIDE_NATIVE, SIDES };

struct shared {
    uint32_t count;              /* jobs in this batch */
    volatile uint32_t at[SIDES]; /* the job each side works on */
    char exit_text[256];         /* why the guest's side ended */
    struct job jobs[BATCH];
    struct outcome outcomes[SIDES][BATCH];
    uint8_t images[IMAGES][DATA_BYTES];
};

/* A process that runs batches. */
struct runner {
    int pid, go, done; /* pipes: a byte starts a batch, a byte says that it is done */
};

/* sides.c. Both sides run the jobs in shared memory. False: the side that died has been started
 * again, `dead` says which and the job that it was at. */
struct sides {
    struct shared *shared;
    struct runner runners[SIDES];
    struct engine_options engine;
    const char *plugin; /* as for --plugin; NULL: none */
};
bool sides_start(struct sides *sides);
bool sides_run(struct sides *sides, enum side *dead, unsigned *job);
void sides_stop(struct sides *sides);
/* For the side's own process: waits for a batch, answers that it is done. */
void runner_wait(const struct runner *runner);
void runner_done(const struct runner *runner);
/* LSL of one of the kernel's selectors tells processors apart: the native side does not move. */
void stay_on_first_processor(void);
void runner_tick(void); /* SIGALRM every TICK_MS from here on */

/* Do not return. */
_Noreturn void guest_side(struct shared *shared, const struct runner *runner,
                          const struct engine_options *options, const char *plugin);
_Noreturn void native_side(struct shared *shared, const struct runner *runner);

#define TICK_MS 10 /* of processor time; the second one ends a sequence */

#endif
