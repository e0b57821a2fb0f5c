/* The engine's parts, private to runtime/: fragments, links, jump caches, the signal side.
 *
 * All of it lies in the vCPU process's own memory and is made before the sandbox closes. */
#ifndef RING3_RUNTIME_ENGINE_PRIVATE_H
#define RING3_RUNTIME_ENGINE_PRIVATE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <ucontext.h>

#include "memory/shadow.h"
#include "runtime/cache_parts.h"
#include "runtime/engine.h"
#include "runtime/guest_access.h"
#include "runtime/sampler.h"
#include "runtime/vcpu.h"
#include "translator/translate.h"

/* The line of the host's caches that `at` lies in is on its way. Volatile, as the compiler drops functions that seem to
 * have no effect. */
static inline void prefetch(const void *at) { __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)at)); }

/* Why engine_enter came back; 0 and 1 are engine_callout's NEXT and JUMP. */
enum leave {
    LEAVE_NEXT_ = 0,
    LEAVE_JUMP_ = 1,
    LEAVE_STOP = 2,      /* a callout wants the run loop: exit, halt, shadow, step */
    LEAVE_CHAIN_ = 3,    /* values of cpu_offsets.h */
    LEAVE_LOOKUP_ = 4,
    LEAVE_ATTENTION_ = 5,
    LEAVE_FAULT = 6,     /* v->fault is to be delivered at cpu->eip */
    LEAVE_RETRY = 7,     /* run cpu->eip again; its translation is out of date */
    LEAVE_CODE_WRITE = 8, /* cpu->eip writes to e->written_gpa, which holds translated code */
    LEAVE_UNCLAIMED = 9,  /* cpu->eip accesses e->unclaimed_gva, which is no RAM, or writes to ROM */
    LEAVE_CROSSING = 10,  /* an operand of cpu->eip crosses the end of the linear address space */
    LEAVE_WATCHED = 11,   /* cpu->eip accesses a page with a watchpoint on it (inspection.h) */
};

/* Modes in which instructions run one by one, and the run loop looks at each. */
#define MODE_STEPWISE (MODE_TF | MODE_DEBUG)

/* What the code of a fragment, a link, a jump cache and a return stack takes for granted: the mode,
 * and of a CS that is not flat its base and limit, as they turn EIP into an address and check it. */
struct code_space {
    uint32_t mode, base, limit;
};

static inline struct code_space code_space_of(const struct cpu *cpu) {
    const struct segment *cs = &cpu->seg[SEG_CS];
    bool flat = !(cpu->mode & MODE_GENERAL_CS);
    return (struct code_space){cpu->mode, flat ? 0 : cs->base, flat ? UINT32_MAX : cs->limit};
}
static inline bool code_space_equal(const struct code_space *a, const struct code_space *b) {
    return a->mode == b->mode && a->base == b->base && a->limit == b->limit;
}

/* The last true fault of a data access. */
struct asked_page {
    gva_t gva;
    uint32_t eip, cr3;
    bool write, waits;
};

#define NO_FRAGMENT 0u /* index 0 is never a fragment */

struct fragment_exit {
    uint32_t site;   /* cache offset of the rel32 */
    uint32_t target; /* eip */
    uint32_t to;     /* fragment that it is linked to, or NO_FRAGMENT */
    uint32_t stub_rel; /* the rel32 that leads back to its own stub */
    uint32_t next, previous; /* in `to`'s list of incoming links, 0 ends */
};

struct fragment {
    /* What look-ups and jump caches want, in one line of the host's caches. */
    _Alignas(64) gpa_t gpa;
    gpa_t gpa2; /* of the first byte; second page of a straddling one, or 0 */
    uint32_t eip;
    struct code_space space; /* its base plus EIP is the linear address */
    uint32_t hash_next;
    uint32_t code; /* offset in the cache */
    uint32_t pad;  /* of its landing pad, 0: none yet */
    uint16_t table; /* the jump cache that leads to it: its place and 1, TABLE_MANY, or 0: none does */
    uint16_t fixed; /* its fixed slot there, or PAD_UNFIXED */
    bool crosses; /* some of its exits stand in the table of crossings.c */
    bool listed; /* page_pads.c */
    bool victim; /* of some jump cache */
    bool dead;
    bool is_loop; /* entered at its start only (loops.c) */

    uint32_t code_len, guest_len;
    uint32_t map, map_count;            /* entries in the map pool */
    uint32_t page_next, page_previous, page2_next;
    uint32_t incoming; /* first exit that is linked here, in the pool of exits; 0: none */
    uint32_t exits;    /* its own, in the pool */
    uint8_t exit_count;
    uint8_t undecoded; /* bytes behind guest_len that it hangs on, too */
    bool live;         /* some of its instructions read their immediates as they run: MAP_LIVE */
    bool probed; /* a plugin's instrumentation is in it: it is entered at its start only */
    uint8_t copy;         /* tails.c: it is in no index, for one branch only; how many of those have led here; 0: none */
    uint16_t copied;      /* a bit for each exit that is linked to such a copy only */
    uint32_t origin;      /* of a copy: the branch's EIP */
};

#define CACHE_DEFAULT (48u << 20)
#define CACHE_MINIMUM (64u << 10)
#define FRAGMENTS_MAX (512u * 1024u)
#define MAPS_MAX (8u << 20)
#define EXITS_MAX (2u << 20)
#define HASH_SIZE 262144u
#define HINT_SLOTS 16384u
#define HINTED_BYTES 64u
#define HINTED_WORDS 1024u
#define HINT_PAGE_WORDS 64u
#define SITE_SLOTS 4096u
#define PATCHED_SLOTS 1024u
#define UNASKED_SLOTS 256u
#define CHURN_SLOTS 4096u
#define JUMP_CACHES 256u
#define JUMP_CACHE_HINTS 1024u
#define TABLE_MANY UINT16_MAX
#define COLD_CODE_MAX 2048u /* of one block */
#define DRAFT_BEFORE 64u /* in front of the block: its pad */
#define SCRATCH_CODE TRANSLATION_CODE_MAX /* at the cache's start: one-shot fragments */

/* One table for all jump caches, since their names are in the key. A victim stands in one of
 * VICTIM_WAYS places, from the one that its hash names. */
struct jump_victim {
    uint64_t minus_key; /* of name and target; 0: nothing here */
    uint64_t pad;
};
#define VICTIMS 65536u
#define VICTIM_WAYS 4u

#define FIXED_INDEX 16384u
struct fixed_entry {
    uint32_t target;
    uint16_t slot;
    bool used;
};

/* A branch back to the start of its fragment, which does not look for attention. */
struct loop_edge {
    uint32_t site;               /* as in fragment_exit */
    uint32_t loop_rel, stub_rel; /* the rel32 that goes round, and the one that leads to its stub */
    uint32_t start, len;         /* the fragment's code */
    uint32_t fragment;
};
#define LOOP_EDGES_MAX 256u

/* Linear addresses of a loop of user code that was found running across a page end. */
struct crossing_loop {
    gva_t head, branch; /* its first instruction and its last, the branch back */
    gva_t straddler;    /* an instruction on both pages, 0: none */
};
#define TAILS_MAX 64u
#define CROSSING_LOOPS 32u

/* An exit of such a loop, linked while it leads where its fixed slot does. */
struct crossing {
    uint32_t exit, fragment; /* in the pools */
};
#define CROSSINGS_MAX 128u
#define CROSSING_PAGE_WORDS 64u

struct jump_cache {
    uint64_t *slots; /* the name and JUMP_CACHE_FIXED fixed slots behind them */
    struct code_space space;
    uint16_t window;
    bool used;
    bool empty;         /* nothing was set since it was cleared */
    uint8_t dropped;    /* pages forgotten since something was set */
    uint64_t last_use;
};

#define PAD_UNFIXED UINT16_MAX
#define PADS_A_CHUNK 10u
#define PAD_LISTS 65536u
/* A page as seen at a linear address in a code space. */
struct pad_view {
    uint32_t page; /* of RAM */
    gva_t linear;  /* >> PAGE_SHIFT */
    struct code_space space;
};
/* Fragments of it that a jump cache has led to (page_pads.c). */
struct pad_place {
    uint32_t eip, pad, code; /* as the fragment's; pad 0: not to be entered with its page */
    uint16_t fixed;
};
struct pad_chunk {
    _Alignas(64) struct pad_view view;
    uint32_t next, count, shared; /* so many of the places are known */
    struct pad_place places[PADS_A_CHUNK]; /* of these */
    uint32_t fragments[PADS_A_CHUNK];
};

struct tlb_entry {
    uint32_t tag; /* NOT the page's number, which is none where it is 0 */
    bool dirty, global; /* dirty: a write was walked */
    bool writable;      /* and there is no translated code on the page */
    bool large;         /* a part of a large page */
    uint64_t delta;     /* from the linear address to RAM's mapping */
};
#define TLB_SIZE 256u

static inline uint32_t tlb_tag(gva_t gva) { return ~(gva >> PAGE_SHIFT); }
static inline uint8_t *tlb_host(const struct tlb_entry *entry, gva_t gva) { return (uint8_t *)(uintptr_t)(entry->delta + gva); }

/* An instruction that windows serve badly (past_windows.c). */
struct site {
    uint32_t eip;
    uint32_t troubles;        /* since first_trouble */
    uint64_t first_trouble;
    uint32_t reaches, useful; /* past the windows; those that a window would have served badly */
    uint8_t before;           /* how its operand was reached before */
    uint8_t rejected;         /* how often that went for nothing */
    bool patient;             /* its troubles are dear: seldom ones are worth the rest */
    bool asks;                /* others use the pages that it faults on: they are mapped for them */
};

/* An instruction whose last bytes were written while it was translated. */
struct patched {
    uint32_t gpa, count;
};

/* A page of the supervisor's window that is mapped again and again. */
struct churn {
    uint32_t page, count;
};

/* Writes that meet code further and further on (sweeps.c). */
struct sweep {
    gpa_t last;
    uint32_t run; /* how many, but the first */
};

/* Pages of RAM, and 1, that are mapped one behind the other (page_pairs.c). */
struct page_pair {
    uint32_t pages[2];
};
#define PAGE_PAIRS 256u

/* When everything is to be translated anew (renewal.c). */
struct renewal {
    uint64_t period_end;  /* nanoseconds of the guest's that were not spent in HLT */
    uint64_t period_from; /* fragments made before it began, */
    uint64_t renewed_at;  /* and before the last renewal, but for those overwritten, */
    uint64_t renewed_ns, interval; /* which was then, and how long after it another one may be; */
    uint64_t working_set; /* so many were necessary again; */
    bool settling;        /* they are still being made */
};

struct engine {
    struct engine_options options;
    struct shadow shadow;
    struct window *user; /* of the current address space */

    uint8_t *cache_exec, *cache_write; /* two mappings of one memfd: never both in one */
    uint32_t cache_large;              /* bytes of it that large pages were asked for */
    bool stubs_near;                   /* all of it is near the stubs, */
    uintptr_t stubs_seen[STUB_COUNT];  /* which lie there as the mapping to write sees them */
    uint32_t cache_size;
    uint8_t draft[DRAFT_BEFORE + TRANSLATION_CODE_MAX]; /* a block while it is being made */
    struct cache_part parts[CACHE_PARTS_MAX], *part; /* and the one that is open */
    uint32_t part_count, part_bytes, part_fragments, part_exits; /* how many, and what each of them has */
    uint32_t part_cold;         /* bytes of stubs that the open part has room for */
    uint64_t parts_opened;
    struct evicted evicted[EVICTED_SLOTS]; /* by a hash of what fragments are found by */
    uint32_t part_overwritten;  /* fragments that the guest has overwritten since the open part was opened */
    uint32_t part_told, part_again; /* of fragments made in the open part, and evicted not long before */
    uint32_t random_part;
    uint64_t evictions;         /* of parts or of everything: indexes are given anew */
    bool part_full;             /* something found no room: another one is to be opened */
    struct fragment *fragments; /* in a part, each one before the last in the cache */
    uint32_t *heat;             /* by fragment: samples that found it running; NULL: nobody looks */
    struct insn_map *maps;
    struct fragment_exit *exits; /* 0 is never used */
    struct late_code *late;
    uint32_t hash[HASH_SIZE];
    uint32_t *page_fragments, *page2_fragments; /* by RAM page: first fragment */
    uint32_t *page_pads; /* by a hash of both pages: first chunk */
    struct pad_chunk *pad_chunks; /* 0 is never used */
    uint32_t pad_chunk_next, pad_chunk_free;
    uint64_t *code_bits; /* a bit for each byte of memory that fragments hang on (code_bytes.c) */
    uint64_t *insn_starts; /* a bit for each byte of RAM (insn_starts.c) */
    struct patched patched[PATCHED_SLOTS];
    struct fragment scratch; /* what the scratch area holds */
    struct insn_map scratch_map[TRANSLATION_INSNS_MAX];

    struct jump_cache jump_caches[JUMP_CACHES];
    unsigned jump_cache_count; /* those behind were never used */
    unsigned jump_cache_at;    /* the one found last */
    uint16_t jump_cache_hints[JUMP_CACHE_HINTS]; /* the one found last for a window and mode of such a hash */
    uint64_t contended[JUMP_CACHE_SLOTS / 64]; /* a bit for each slot that two targets wanted in some user table */
    uint32_t contended_count;
    uint16_t window_tables[WINDOW_COUNT]; /* how many of them have something in them */
    uint8_t *jump_tables; /* what their slots point into */
    uint32_t jump_generation; /* of the last name given */
    struct jump_victim victims[VICTIMS + VICTIM_WAYS];
    uint64_t use_clock;
    struct fixed_entry fixed[FIXED_INDEX]; /* target -> fixed slot, the same in all tables */
    uint64_t fixed_filter[FIXED_INDEX / 64]; /* a bit for each hash of a target that has one */
    uint32_t fixed_count;

    struct { uint32_t gpa; uint8_t hint; } hints[HINT_SLOTS];
    uint64_t hinted[HINTED_WORDS];
    uint64_t hint_pages[HINT_PAGE_WORDS]; /* a bit for several pages: some instruction there has or had a hint */
    struct site sites[SITE_SLOTS];
    uint8_t *stand_ins[2]; /* a page for reads and one for writes where there is no memory */
    struct churn churn[CHURN_SLOTS];
    struct sweep sweep;
    gpa_t clean_gpa; /* the place of cpu->clean_from (clean_range.c) */
    struct page_pair page_pairs[PAGE_PAIRS];
    uint8_t *page_pairs_base; /* NULL: none was wanted yet */
    bool granule_user[256];
    uint32_t rights[3]; /* CR0, CR4, EFER bits that mappings were made under */

    struct tlb_entry tlb[2][TLB_SIZE]; /* supervisor, user */
    uint64_t tlb_locals[2][TLB_SIZE / 64]; /* a bit for each entry that was made for a page that is not global */
    uint64_t tlb_large[16]; /* a bit for each 4 MiB of linear addresses that have large pages in it */
    bool tlb_has_writable;
    bool loaded_noted; /* cpu->loaded holds something: read from pages that are global, */
    bool loaded_global, loaded_large; /* all of them; or large, some of them */
    gva_t loaded_at[SEG_COUNT];

    struct renewal renewal;
    bool flush_cache;       /* throw every translation away before the next look-up */
    bool sync_wanted;       /* monitor or timer signal: devices want to run */
    bool delivered;         /* an event was delivered since the fragment was entered */
    bool step_dropped;      /* by an INT n: there is no single step behind it */
    uint64_t uses;          /* of fragments by the run loop, under no_reuse */
    bool injected;          /* the next instruction has had its injected interrupt */
    int last_leave;         /* why translated code came back last (enum leave) */
    bool stepping;          /* what was entered last may owe a trap when it is done */
    bool runs_alone;        /* a one-shot that stands for an instruction of another fragment */
    bool calls_out;         /* a callout's handler is at work, */
    bool wrote_self;        /* and has written to what the fragment that called it is made from */
    gpa_t written_gpa;
    gpa_t retranslate_gpa; /* LEAVE_RETRY: the instruction */
    bool finishing; /* a one-shot ends an instruction that plugins know to have begun */
    bool probed;    /* the last translation */
    bool check_operands;   /* one-shots treat no segment as flat */
    gva_t crossing_gva;    /* LEAVE_CROSSING: where beyond the end it was */
    bool crossing_write;
    const struct window *crossing_window;
    gva_t unclaimed_gva;
    uint64_t unclaimed_place; /* of its page, RAM_NOWHERE or memory that cannot be written */
    struct window *unclaimed_window;
    gva_t last_fault_gva;
    gpa_t last_fault_insn;
    gva_t wrong_page; /* of the last access that met the wrong window, by its instruction */
    gpa_t wrong_insn;
    bool wrong_to_user;
    unsigned fault_repeats;
    struct asked_page asked;
    struct asked_page unasked[UNASKED_SLOTS]; /* by page: sites past the windows have faulted there */

    uint8_t *handler_stack;
    size_t handler_stack_size;
    void *fault_context; /* of the last host fault: always at the same place of that stack */
    timer_t sampler_timer;
    uint64_t sampler_left; /* of its period, while the vCPU sleeps */

    timer_t timer;
    uint64_t timer_armed; /* deadline the host timer stands at */
    sigset_t wait_mask;   /* signals let in while waiting */
    void *poll_page;      /* translated code reads it on back edges */
    bool poll_closed;     /* it cannot be read now */
    uintptr_t polled_pc;  /* LEAVE_ATTENTION_: the look for attention that failed; 0: none to learn from */
    struct loop_edge loop_edges[LOOP_EDGES_MAX];
    uint32_t loop_edge_count;
    bool loops_suspended; /* some of them lead to their stubs */
    struct crossing_loop crossing_loops[CROSSING_LOOPS];
    uint64_t crossing_pages[CROSSING_PAGE_WORDS]; /* a bit for several pages: some loop is or was there */
    struct crossing crossings[CROSSINGS_MAX];
    uint32_t crossing_count, crossing_loop_next;
    gpa_t tails[TAILS_MAX]; /* tails.c; 0: none */
    uint64_t tail_pages;    /* a bit for several pages: some tail is or was there */
    uint64_t copied_targets; /* a bit for several addresses: some exit that wants a copy leads or led there */
    uint32_t tail_next;
    unsigned linked_window; /* the one whose user code ran last: all links across page ends hold for it */
    bool crossings_linked;  /* there are some */
    bool crossings_wait;    /* some may be missing */
    const char *why_dead; /* set in a signal handler before giving up */

    uint64_t return_base[2]; /* supervisor, user */
    uint64_t user_return_rsp;
    unsigned return_window, user_return_window;
    struct code_space return_space, user_return_space;
    bool returns_stale, user_returns_stale;

    uint8_t *vector_area; /* two XSAVE or FXSAVE images, 64-byte aligned; the second is for plugins */
    bool use_xsave;
};

/* stubs.S */
int engine_enter(struct cpu *cpu, const void *code);
void engine_leave_saved(void);
_Noreturn void fault_leave(struct cpu *cpu, int reason);
_Noreturn void fault_resume(const greg_t *regs);
void stub_callout(void);
void stub_callout_back(void); /* where its C code returns to */
void stub_reach(void);
void stub_reach_read(void);
void stub_reach_read_bmi2(void);
void stub_load_segment(void);
void stub_reach_end(void);
void stub_chain(void);
void stub_miss(void);
void stub_contended(void);
void stub_leave_miss(void);
void stub_attention(void);
void stub_return(void);
void stub_return_empty(void);
void stubs_end(void); /* where they end */
unsigned engine_callout(struct vcpu *v, uint32_t id, uint32_t arg, uint32_t operand);
/* The jump cache knows nothing of cpu->eip: the code to be entered, which it knows from now on, or NULL: the
 * run loop is next. */
const void *engine_missed(struct vcpu *v);

/* engine.c: once round the run loop. True: translated code has run and completed an instruction. */
bool engine_iterate(struct vcpu *v);
/* progress.c: after EXIT_QUIT; a guest that gets nowhere makes it a host failure. */
void progress_prove(struct vcpu *v);

#include "runtime/fragments.h"

/* return_stack.c: host return addresses of guest calls, one stack a privilege half. */
int return_stacks_init(struct vcpu *v);
/* Translated code is about to run in another code space or window. */
void return_stack_switch(struct vcpu *v, unsigned window, const struct code_space *space);
/* Code mappings changed: no address on any stack may be used. */
void return_stacks_forget(struct engine *e);
/* Returns into this code, which is going, take the jump cache. */
void return_stacks_forget_code(struct vcpu *v, uintptr_t code, uint32_t len);
/* Empties the current stack if that was asked for; `keep`: a callout's own return address stands
 * on top and stays. */
void return_stack_settle(struct vcpu *v, bool keep);
/* Is `address` in the guard below a stack? Then RSP is to become what it returns, else 0. */
uint64_t return_stack_overflow(const struct vcpu *v, uintptr_t address);
/* The same when a stub has pushed: what it stands on moves to the bottom. Returns the new RSP. */
uint64_t return_stack_keep_top(uint64_t base, uint64_t rsp);

/* build.c: the fragment for cpu->eip in the current mode, translated if need be. NULL with
 * v->fault set: an instruction fetch fault. `indirect`: it was reached through the jump cache, and needs a
 * landing pad; otherwise it may be one that is to be entered `*at` bytes behind its start. */
struct fragment *build_find(struct vcpu *v, bool indirect, uint32_t *at);
/* A copy of that for the branch at `origin` (tails.c), itself the `copy`th in turn; may be something else, which is not
 * to be linked. */
struct fragment *build_copy(struct vcpu *v, uint8_t copy, uint32_t origin);
/* The same if it is there already, reached through the jump cache and without an event in between; else NULL. */
struct fragment *build_known(struct vcpu *v);
/* That one's code, entered with what else is known of its page; 0: not done so. */
uint32_t build_enter_page(struct vcpu *v);
/* Nobody knows a fragment for the current EIP, and one is made; NULL: the run loop has to look at something first. */
struct fragment *build_at_once(struct vcpu *v);
/* The same instruction alone, translated into the scratch area and registered nowhere. */
struct fragment *build_one_shot(struct vcpu *v);

/* hints.c */
void build_hint(struct engine *e, gpa_t gpa, uint8_t hint);
uint8_t build_get_hint(const struct engine *e, gpa_t gpa);
/* May some instruction among these bytes of a page have one? */
bool build_has_hints(const struct engine *e, gpa_t gpa, uint32_t len);

/* clean_range.c. From `gva` on, which is at place `gpa`, the page may be written and is dirty; nobody watches it. */
void clean_range_set(struct vcpu *v, gva_t gva, gpa_t gpa);
void clean_range_forget(struct vcpu *v);
/* Code hangs on these bytes from now on. */
void clean_range_cut(struct vcpu *v, gpa_t from, uint32_t len);

/* page_pairs.c: where the page at place `first` is followed by the one at `second`, both RAM. NULL: the host refuses. */
uint8_t *page_pair(struct vcpu *v, uint64_t first, uint64_t second);

/* past_windows.c: operands that are looked up instead of being reached through a window. */
/* The site at EIP and `gpa` met trouble: it wrote to a page with code or met a page that churns (`patient`), raised #PF
 * or accessed what is no memory. True: it has got the hint to go past the windows from now on. */
bool past_windows_trouble(struct vcpu *v, gpa_t gpa, bool patient);
/* A hidden fault of user code: did a site that goes past the windows leave the page to it? */
void past_windows_unasked(struct vcpu *v, gva_t gva);
/* Would the fragment that has called out change what it does itself by a write to these bytes? */
bool past_windows_writes_self(struct vcpu *v, gpa_t gpa, uint32_t len);
/* The fragment that has called out; NULL: it is not known. */
const struct fragment *past_windows_running(const struct vcpu *v);
/* What STUB_REACH may look into, at the current privilege level. */
uint64_t past_windows_tlb(struct vcpu *v);
/* It may find something there. */
bool past_windows_may_hit(const struct vcpu *v);
/* A hidden fault at `gva` in the supervisor's window: is that page mapped again and again? */
bool past_windows_churns(struct engine *e, gva_t gva);

/* What is known of the instruction at EIP. */
struct site *past_windows_site(struct vcpu *v);
/* The instruction at EIP, which is looking up its operand, will reach it through a window (enum window_hint). */
void past_windows_give_up(struct vcpu *v, unsigned to);

/* sparse_windows.c: a window has been given to an address space; an address space has been chosen; `count` operands
 * were looked up in it, the last one at EIP for `gva`. */
void sparse_begin(struct vcpu *v, struct window *w);
void sparse_chosen(struct vcpu *v);
void sparse_judge(struct vcpu *v, gva_t gva, enum reach_use use, uint32_t count);

/* signals.c, memory_fault.c */
int signals_init(struct vcpu *v);
/* The kernel leaves AC as it found it; with it set, C code that is not aligned would trap. */
void signals_clear_alignment_checks(void);
/* A data fault in translated code. Returns LEAVE_NEXT_ to retry the access, LEAVE_JUMP_ to
 * restart the instruction, or why to leave. */
enum leave memory_fault(struct vcpu *v, uintptr_t address, bool write, gpa_t insn_gpa);

/* A true fault at EIP, and after an IRET: maps the user's page that an access faulted on, if it goes back there. */
void memory_fault_ask(struct vcpu *v, gva_t gva, bool write);
void memory_fault_answered(struct vcpu *v);
/* A return from the kernel: a sparse window has the page of the stack that is used next. */
void memory_fault_returned(struct vcpu *v);

/* loops.c */
/* Async-signal-safe: those of the fragment at host address `pc` leave it the next time; of all, if `pc` is not in
 * a fragment's hot code. */
void loops_suspend(struct engine *e, uintptr_t pc);
void loops_resume(struct engine *e);
/* A fragment that is a loop has been committed; it goes. */
void loops_add(struct vcpu *v, struct fragment *f, uint32_t loop_at);
void loops_forget(struct engine *e, const struct fragment *f);
/* Attention was noticed by a branch back: what it goes back to is a loop. */
void loops_learn(struct vcpu *v);

/* tails.c */
/* A branch of the fragment back to `target`, on its page, has noticed attention. True: it leads to an indirect jump, so
 * branches to it get copies. */
bool tails_learn(struct vcpu *v, const struct fragment *f, uint32_t target);
/* May some branch on the page lead to such a place; does one to this address? */
bool tails_near(const struct engine *e, gpa_t gpa);
bool tails_at(const struct engine *e, gpa_t gpa);
static inline uint64_t tail_bit(uint32_t target) { return 1ull << (target * 0x9e3779b1u >> 26); }
/* The branch of which an exit's link is wanted, if that must be a copy; NULL: anything will do. */
const struct fragment *tails_origin(struct engine *e, uintptr_t site, uint32_t target, uint32_t *origin);
/* The copy for a branch at `origin`; NULL: there is none yet. */
struct fragment *tails_find(struct engine *e, gpa_t gpa, uint32_t eip, const struct code_space *space, uint8_t copy,
                            uint32_t origin);

/* crossings.c */
/* An instruction whose look for attention failed: is it the branch back of a loop across a page end? */
void crossings_learn(struct vcpu *v, const struct fragment *f, const struct insn_map *insn);
/* Is there such a loop on the page, and is an exit between two of its instructions to be a link? */
bool crossings_near(const struct engine *e, gva_t linear);
bool crossings_link(const struct engine *e, gva_t from, gva_t to);
/* A fragment with such exits has been committed; it goes. */
void crossings_add(struct engine *e, struct fragment *f, const struct translation *t);
void crossings_forget(struct engine *e, const struct fragment *f);
/* User code is entered. */
void crossings_enter(struct vcpu *v, unsigned window);
/* A page of code, or all, goes from a window, or the window gets another address space. */
void crossings_take_back(struct vcpu *v, unsigned window);

/* attention.c */
int attention_init(struct vcpu *v);
/* Makes the next back edge fault (async-signal-safe), and ends that. `pc`: what the host runs, 0: our code. */
void attention_close_poll(struct engine *e, uintptr_t pc);
void attention_open_poll(struct engine *e);
static inline uint32_t poll_address(const struct engine *e) { return (uint32_t)(uintptr_t)e->poll_page; }
void attention_arm_timer(struct vcpu *v);
void attention_pay(struct vcpu *v);
void attention_halt(struct vcpu *v);

/* mmu.c */
int mmu_init(struct vcpu *v);
struct window *mmu_window(struct vcpu *v); /* of the current privilege level */
/* After a mode or address space change: jump cache, windows and GS base of the CPU. */
void mmu_activate(struct vcpu *v);
void mmu_user_window_changed(struct vcpu *v);

/* guest_access.c */
void guest_tlb_flush(struct vcpu *v, bool global_too);
void guest_tlb_flush_page(struct vcpu *v, gva_t gva);
void guest_tlb_drop_writable(struct engine *e);

/* What C code is at, for the sampler. */
static inline uint32_t engine_activity(struct vcpu *v, uint32_t activity) {
    uint32_t before = 0;
    if (v->sampler) {
        before = v->sampler->activity;
        v->sampler->activity = activity;
    }
    return before;
}

/* engine.c */
void engine_host_failure(struct vcpu *v, const char *what, int error_number);

/* inject.c */
/* Does the current instruction share a page with those that interrupts are injected before? Such
 * instructions run one by one and are entered by the run loop only. */
bool inject_covers(const struct vcpu *v);
/* Raises the interrupt that is due before the current instruction, if one is. */
void inject_before_instruction(struct vcpu *v);

#endif
