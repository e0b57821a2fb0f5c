/* Fragments: made, found, linked, evicted and forgotten; what leads to them by address (jump caches), and which bytes
 * of guest memory they hang on. Private to runtime/, a part of engine_private.h. */
#ifndef RING3_RUNTIME_FRAGMENTS_H
#define RING3_RUNTIME_FRAGMENTS_H

#include "runtime/engine_private.h"

/* fragments.c */
void fragments_flush_all(struct vcpu *v);
/* Is there room in the open part for any block? */
bool fragment_has_room(const struct vcpu *v);
struct fragment *fragment_new(struct vcpu *v); /* NULL: there is none */
/* Room for the code of the new fragment, from cache offset `at` on. */
uint32_t fragment_room(const struct vcpu *v);
void fragment_commit(struct vcpu *v, struct fragment *f, const struct translation *t);
struct fragment *fragment_find(struct engine *e, gpa_t gpa, uint32_t eip,
                               const struct code_space *space);
/* A fragment that has the instruction at `gpa` further on, and may be entered there: `*at` bytes behind the
 * start of its code. */
struct fragment *fragment_inside(struct engine *e, gpa_t gpa, uint32_t eip,
                                 const struct code_space *space, uint32_t *at);
struct fragment *fragment_at(struct engine *e, uintptr_t pc); /* host code -> fragment */
const struct insn_map *fragment_insn(const struct engine *e, const struct fragment *f, uintptr_t pc);
/* Where the instruction whose code starts `at` bytes behind its fragment's can be run again. */
uint32_t fragment_body(const struct engine *e, const struct fragment *f, uint32_t at);
/* What is far away of it will be wanted: a fragment that goes, and one that is made. */
void fragment_forget_soon(const struct engine *e, const struct fragment *f);
void fragment_expect(const struct engine *e, gpa_t gpa, uint32_t mode);
/* A fragment goes; its code stays as long as its part. */
void fragment_forget(struct vcpu *v, struct fragment *f);
/* It goes with its part: what is outside forgets it. The jump caches have done so. */
void fragment_evict(struct vcpu *v, struct fragment *f, const struct cache_part *part);
/* Every fragment that holds an instruction at the linear address, in whatever space, goes. */
void fragments_invalidate_linear(struct vcpu *v, gva_t linear);
/* Every fragment with code on the page goes; `counter` counts them. */
void fragments_invalidate_page(struct vcpu *v, gpa_t gpa, uint64_t *counter);
/* Every fragment that a write to these bytes may change goes; they lie on one page. */
void fragments_invalidate_range(struct vcpu *v, gpa_t gpa, uint32_t len, uint64_t *counter);
/* Fragments that hold the instruction at `gpa` go: it is to be translated otherwise. */
void fragments_invalidate_insn(struct vcpu *v, gpa_t gpa);
/* The mapping of `gva` to the page at `gpa` is gone from a window: nothing may go from there to
 * the page's fragments without a fresh look-up. */
void fragments_unmapped(struct vcpu *v, unsigned window, gpa_t gpa, gva_t gva);
/* Patches the exit whose rel32 is at host address `site` to go to `to`, `at` bytes behind the start of its
 * code. */
void fragment_link(struct vcpu *v, uintptr_t site, struct fragment *to, uint32_t at);
/* The same of an exit, given by its place in the pool, to the start of `to`; and back to its stub: links of user code
 * across page ends. */
void fragment_link_exit(struct vcpu *v, const struct fragment *from, uint32_t index, struct fragment *to);
void fragment_unlink_exit(struct vcpu *v, uint32_t index);
static inline gva_t fragment_linear(const struct fragment *f) { return f->space.base + f->eip; }
static inline uint32_t fragment_index(const struct engine *e, const struct fragment *f) {
    return (uint32_t)(f - e->fragments);
}

/* Makes the JMP, Jcc or CALL rel32 at a site go elsewhere. */
static inline void cache_patch(struct engine *e, uint32_t site, uint32_t rel) {
    __atomic_store_n((uint32_t *)(void *)(e->cache_write + site), rel, __ATOMIC_RELAXED);
}

/* Its bytes are, or will be: it goes, and if `clear` its bits, which others may hang on, too. */
void fragment_overwritten(struct vcpu *v, struct fragment *f, bool clear);
/* sweeps.c: a write has met code; code behind it on the page may go, too, but not if the fragment that writes is
 * there. True: it went. */
bool sweeps_note(struct vcpu *v, const struct fragment *running, gpa_t gpa, uint64_t *counter);

/* late_code.c. The landing pad's host address, made when first asked for; 0: the open part is full. */
uint64_t fragment_pad(struct vcpu *v, struct fragment *f);
/* A thunk (translate_thunk) for an exit whose target may not be linked directly. */
void fragment_link_thunk(struct engine *e, struct fragment_exit *exit);
/* The landing at cache offset `at`, where a return to elsewhere has arrived, compares from now on
 * without its tripwire. */
void fragment_make_wary(struct vcpu *v, uint32_t at, uint32_t return_eip);

/* code_bytes.c: which bytes of guest memory fragments hang on. Ranges lie on one page. */
/* May a write to these bytes change a fragment? */
bool fragments_on(const struct engine *e, gpa_t gpa, uint32_t len);
/* Would it change this one? */
bool fragment_covers(const struct engine *e, const struct fragment *f, gpa_t gpa, uint32_t len);
void code_bytes_mark(struct vcpu *v, const struct fragment *f);
/* Clears the bits of a fragment, of bytes, or of a page: others may hang on some of them. */
void code_bytes_clear(struct engine *e, const struct fragment *f);
void code_bytes_clear_range(struct engine *e, gpa_t gpa, uint32_t len);
void code_bytes_clear_page(struct engine *e, gpa_t gpa);
/* Some went that hung on bytes of a page between these: what is known of the bytes is found out anew. */
void fragments_note_again(struct vcpu *v, gpa_t from, gpa_t to);
/* A write changes the fragment: an instruction that this happens to again and again, in its last bytes
 * only, has its immediate read when it runs (HINT_LIVE) from the next translation on. */
void code_bytes_patched(struct vcpu *v, const struct fragment *f, gpa_t gpa, uint32_t len);

/* insn_starts.c. Made of a fragment when it is committed; a page's go when all its fragments do. */
int insn_starts_init(struct vcpu *v);
void insn_starts_add(struct engine *e, gpa_t gpa, const struct translation *t);
void insn_starts_note(struct engine *e, const struct fragment *f, const struct insn_map *map);
void insn_starts_forget_page(struct engine *e, gpa_t gpa);
void insn_starts_forget_range(struct engine *e, gpa_t gpa, uint32_t len);
/* False: no fragment, in whatever code space, can be entered at the byte. */
static inline bool insn_starts_at(const struct engine *e, gpa_t gpa) {
    return e->insn_starts[gpa / 64] >> gpa % 64 & 1u;
}

/* jump_cache.c */
int jump_caches_init(struct vcpu *v);
uint64_t *jump_cache_get(struct vcpu *v, unsigned window, const struct code_space *space);
void jump_cache_set(struct vcpu *v, struct fragment *f);
/* The current table has missed `eip`: it and whatever several tables lead to on this page
 * is entered where the table has nothing. The target's code in the cache; 0: not known here, or its slot is taken. */
uint32_t jump_cache_enter_page(struct vcpu *v, const struct pad_view *view, uint32_t eip);
void jump_cache_contend(struct vcpu *v, uint32_t target);
void jump_caches_forget_window(struct engine *e, unsigned window);
/* The fragment is gone, from every table. */
void jump_caches_forget(struct engine *e, struct fragment *f);
/* In how many tables that looks; is looking through all tables less work than looking in so many? */
unsigned jump_caches_places(const struct engine *e, const struct fragment *f);
bool jump_caches_scan_is_less(const struct engine *e, uint64_t places);
/* That: nothing leads into this code any more. */
void jump_caches_forget_code(struct engine *e, uintptr_t code, uint32_t len);
/* The mapping of `gva` to the page is gone from a window, and with it what leads to the page's fragments. */
void jump_caches_unmapped(struct engine *e, unsigned window, uint32_t page, gva_t gva);
uint32_t jump_cache_fixed_slot(struct engine *e, uint32_t target);
/* The fragment that the target's fixed slot leads to in the current table; NULL: none. */
struct fragment *jump_cache_fixed_target(struct vcpu *v, uint32_t target);
void jump_caches_forget_soon(const struct engine *e, const struct fragment *f);
void jump_caches_reset(struct engine *e);

/* renewal.c: is it time, `now` being nanoseconds that the guest ran, `fragments` those made by then, and `gone` those of
 * them that were overwritten? */
bool renewal_is_due(struct renewal *renewal, uint64_t now, uint64_t fragments, uint64_t gone);
/* Has the cache thrown away where that is so. */
void renewal_consider(struct vcpu *v);

/* page_pads.c: for each page of code as it is seen somewhere, what jump caches lead to there. */
int page_pads_init(struct engine *e);
void page_pads_add(struct engine *e, struct fragment *f);
/* More than one jump cache leads to it, so the next one may well, too: it is entered with its page. */
void page_pads_share(struct engine *e, const struct fragment *f);
void page_pads_remove(struct engine *e, struct fragment *f);
/* The first chunk that may be of a view, and the next one that is, from `*chunk` on; NULL: no more. */
uint32_t page_pads_first(struct engine *e, const struct pad_view *view);
struct pad_chunk *page_pads_next(struct engine *e, uint32_t *chunk, const struct pad_view *view);
void page_pads_reset(struct engine *e);

#endif
