/* Landing pads by page.
 *
 * For each page of RAM, as seen at a linear address in a code space, there is a list of the fragments that some jump
 * cache leads to, so that a table loses them when the page goes. One page may be seen in very many ways: a
 * kernel's page of system calls stands elsewhere in every process. So lists are found by a hash of both pages. */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "runtime/engine_private.h"

int page_pads_init(struct engine *e) {
    e->page_pads = arena_reserve(NULL, PAD_LISTS * sizeof *e->page_pads);
    e->pad_chunks = arena_reserve(NULL, FRAGMENTS_MAX * sizeof *e->pad_chunks); /* one each, at worst */
    e->pad_chunk_next = 1;
    return e->page_pads && e->pad_chunks ? 0 : -1;
}

static uint32_t *list_of(struct engine *e, const struct pad_view *view) {
    return &e->page_pads[(view->page * 0x9e3779b1u + view->linear * 0x85ebca6bu) >> 16 & (PAD_LISTS - 1)];
}

uint32_t page_pads_first(struct engine *e, const struct pad_view *view) { return *list_of(e, view); }

struct pad_chunk *page_pads_next(struct engine *e, uint32_t *chunk, const struct pad_view *view) {
    while (*chunk) {
        struct pad_chunk *at = &e->pad_chunks[*chunk];
        *chunk = at->next;
        if (at->view.linear == view->linear && at->view.page == view->page && code_space_equal(&at->view.space, &view->space))
            return at;
    }
    return NULL;
}

static struct pad_view view_of(const struct fragment *f) {
    return (struct pad_view){(uint32_t)(f->gpa >> PAGE_SHIFT), fragment_linear(f) >> PAGE_SHIFT, f->space};
}

static struct pad_chunk *new_chunk(struct engine *e, const struct pad_view *view) {
    uint32_t *head = list_of(e, view), index = e->pad_chunk_free;
    if (index)
        e->pad_chunk_free = e->pad_chunks[index].next;
    else
        index = e->pad_chunk_next++;
    assert(index < FRAGMENTS_MAX);
    struct pad_chunk *chunk = &e->pad_chunks[index];
    *chunk = (struct pad_chunk){.next = *head, .view = *view};
    *head = index;
    return chunk;
}

void page_pads_add(struct engine *e, struct fragment *f) {
    struct pad_view view = view_of(f);
    uint32_t at = page_pads_first(e, &view);
    struct pad_chunk *chunk;
    assert(!f->listed && !f->dead);
    do
        chunk = page_pads_next(e, &at, &view);
    while (chunk && chunk->count == PADS_A_CHUNK);
    if (!chunk)
        chunk = new_chunk(e, &view);
    chunk->places[chunk->count].pad = 0;
    chunk->fragments[chunk->count++] = fragment_index(e, f);
    f->listed = true;
}

void page_pads_share(struct engine *e, const struct fragment *f) {
    struct pad_view view = view_of(f);
    uint32_t at = page_pads_first(e, &view), index = fragment_index(e, f);
    struct pad_chunk *chunk;
    assert(f->listed && f->table == TABLE_MANY && !f->gpa2 && f->pad);
    while ((chunk = page_pads_next(e, &at, &view)))
        for (uint32_t i = 0; i < chunk->count; i++)
            if (chunk->fragments[i] == index) {
                chunk->shared += !chunk->places[i].pad;
                chunk->places[i] = (struct pad_place){f->eip, f->pad, f->code, f->fixed};
            }
}

static bool remove_pad(struct pad_chunk *chunk, uint32_t fragment) {
    for (uint32_t i = 0; i < chunk->count; i++)
        if (chunk->fragments[i] == fragment) {
            chunk->shared -= chunk->places[i].pad != 0;
            chunk->fragments[i] = chunk->fragments[--chunk->count];
            chunk->places[i] = chunk->places[chunk->count];
            return true;
        }
    return false;
}

void page_pads_remove(struct engine *e, struct fragment *f) {
    if (!f->listed)
        return;
    struct pad_view view = view_of(f);
    uint32_t *link = list_of(e, &view), index = fragment_index(e, f);
    while (!remove_pad(&e->pad_chunks[*link], index)) {
        link = &e->pad_chunks[*link].next;
        assert(*link);
    }
    f->listed = false;
    struct pad_chunk *chunk = &e->pad_chunks[*link];
    if (chunk->count)
        return;
    uint32_t gone = *link;
    *link = chunk->next;
    chunk->next = e->pad_chunk_free;
    e->pad_chunk_free = gone;
}

/* All fragments are gone, or about to go. */
void page_pads_reset(struct engine *e) {
    memset(e->page_pads, 0, PAD_LISTS * sizeof *e->page_pads);
    e->pad_chunk_next = 1;
    e->pad_chunk_free = 0;
}
