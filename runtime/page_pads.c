/* Landing pads by page.
 *
 * For each page of RAM there is a list of the fragments that some jump cache leads to, so that a table loses them
 * when the page goes. Chunks know the linear page and the code space, as one page may be seen in several ways. */
#include <assert.h>

#include "base/arena.h"
#include "runtime/engine_private.h"

int page_pads_init(struct engine *e, uint64_t pages) {
    e->page_pads = arena_reserve(NULL, pages * sizeof *e->page_pads);
    e->pad_chunks = arena_reserve(NULL, FRAGMENTS_MAX * sizeof *e->pad_chunks); /* one each, at worst */
    e->pad_chunk_next = 1;
    return e->page_pads && e->pad_chunks ? 0 : -1;
}

struct pad_chunk *page_pads_next(struct engine *e, uint32_t *chunk, gva_t page, const struct code_space *space) {
    while (*chunk) {
        struct pad_chunk *at = &e->pad_chunks[*chunk];
        *chunk = at->next;
        if (at->page == page && code_space_equal(&at->space, space))
            return at;
    }
    return NULL;
}

static struct pad_chunk *new_chunk(struct engine *e, uint32_t *head, const struct fragment *f) {
    uint32_t index = e->pad_chunk_free;
    if (index)
        e->pad_chunk_free = e->pad_chunks[index].next;
    else
        index = e->pad_chunk_next++;
    assert(index < FRAGMENTS_MAX);
    struct pad_chunk *chunk = &e->pad_chunks[index];
    *chunk = (struct pad_chunk){.next = *head, .page = fragment_linear(f) >> PAGE_SHIFT, .space = f->space};
    *head = index;
    return chunk;
}

void page_pads_add(struct engine *e, struct fragment *f) {
    uint32_t *head = &e->page_pads[f->gpa >> PAGE_SHIFT], at = *head;
    struct pad_chunk *chunk;
    assert(!f->listed && !f->dead);
    do
        chunk = page_pads_next(e, &at, fragment_linear(f) >> PAGE_SHIFT, &f->space);
    while (chunk && chunk->count == PADS_A_CHUNK);
    if (!chunk)
        chunk = new_chunk(e, head, f);
    chunk->places[chunk->count].pad = 0;
    chunk->fragments[chunk->count++] = fragment_index(e, f);
    f->listed = true;
}

void page_pads_share(struct engine *e, const struct fragment *f) {
    uint32_t at = e->page_pads[f->gpa >> PAGE_SHIFT], index = fragment_index(e, f);
    struct pad_chunk *chunk;
    assert(f->listed && f->table == TABLE_MANY && !f->gpa2 && f->pad);
    while ((chunk = page_pads_next(e, &at, fragment_linear(f) >> PAGE_SHIFT, &f->space)))
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
    uint32_t *link = &e->page_pads[f->gpa >> PAGE_SHIFT], index = fragment_index(e, f);
    if (!f->listed)
        return;
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

/* All fragments are gone, or about to go; their pages are found by the chunks. */
void page_pads_reset(struct engine *e) {
    for (uint32_t i = 1; i < e->pad_chunk_next; i++)
        for (uint32_t k = 0; k < e->pad_chunks[i].count; k++)
            e->page_pads[e->fragments[e->pad_chunks[i].fragments[k]].gpa >> PAGE_SHIFT] = 0;
    e->pad_chunk_next = 1;
    e->pad_chunk_free = 0;
}
