/* term_memory -- what a search works with, from the words that come in to the ids that go out; the words of a
 * document that is added are put together in it too. It is kept for the next search, so that a short one
 * allocates nothing.
 *
 *     ps_search *search = ps_search_take(&shared);
 *     ps_search_clear(search);
 *     ...                                             term_plan.h, term_search.h
 *     ps_search_put(&shared, search);
 *
 * No object of Python's is touched here. */
#ifndef PS_TERM_MEMORY_H
#define PS_TERM_MEMORY_H

#include "search_run.h"
#include "term_index.h"

#define PS_SEARCH_KEEPS (1u << 20) /* bytes that are kept for the next search */

/* A run of bytes that grows; places in it are told by offsets until it is done. */
typedef struct {
    uint8_t *at;
    size_t size, room;
} ps_pile;

typedef struct {
    uint32_t node; /* of the plan */
    const uint8_t *bytes;
    size_t size;
    uint32_t same_as; /* the first mask of the same bytes */
} ps_plan_mask;

typedef struct ps_search {
    ps_run *run;
    ps_allocator allocator;
    uint64_t seed;

    ps_plan_node *nodes;
    ps_plan_word *words;
    size_t node_count, node_room, word_count, word_room;
    size_t first_node, first_word; /* of the plan that is being made */
    ps_pile text;    /* bytes of the words; words tell of theirs by offsets until the plan is done */
    uint32_t *slots; /* of words of a query that are many: 1 + number of the word, by hash */
    size_t slot_count, slot_room;
    ps_plan_mask *masks;
    size_t mask_count, mask_room;

    uint64_t *bits; /* masks as bits of ordinals, one after the other */
    size_t bit_room;
    bool bits_ahead; /* the first of them are not of the plan, but of all that can be found */
    ps_hit *hits;
    size_t hit_room;
    uint32_t found;
    int64_t *ids; /* of what all plans have found so far: numbers; or, of texts, where each ends in `names` */
    size_t id_count, id_room;
    ps_pile names;
    uint32_t live; /* documents when it was looked for, */
    bool text_ids; /* and the kind of their ids */
} ps_search;

/* Room for `need` items behind the pointer that lies at `memory`; false: there is none, and nothing has
 * changed. */
static inline bool ps_make_room(ps_allocator allocator, void *memory, size_t *room, size_t need, size_t item)
{
    if (need <= *room) return true;
    size_t more = *room < 32 ? 64 : *room * 2;
    if (more < need) more = need;
    if (more > PTRDIFF_MAX / item) return false;
    void *grown;
    memcpy(&grown, memory, sizeof grown); /* a pointer to whatever */
    grown = allocator.resize(grown, more * item);
    if (grown == NULL) return false;
    memcpy(memory, &grown, sizeof grown);
    *room = more;
    return true;
}

#define PS_ROOM(search, member, room, need) \
    ps_make_room((search)->allocator, &(search)->member, &(search)->room, need, sizeof *(search)->member)

/* Room for `more` bytes behind it, which are somewhere even if they are none. */
static inline bool ps_pile_room(ps_allocator allocator, ps_pile *pile, size_t more)
{
    return ps_make_room(allocator, &pile->at, &pile->room, pile->size + more + 1, 1);
}

static inline void ps_search_free(ps_search *search)
{
    void (*release)(void *) = search->allocator.release;
    ps_run_free(search->run);
    release(search->nodes);
    release(search->words);
    release(search->text.at);
    release(search->slots);
    release(search->masks);
    release(search->bits);
    release(search->hits);
    release(search->ids);
    release(search->names.at);
    release(search);
}

/* The memory of an earlier search, or new one; NULL: there is none. */
static inline ps_search *ps_search_take(ps_shared_index *shared)
{
    ps_search *search;
    for (int i = 0; i < PS_IDLE; i++) {
        if (atomic_load_explicit(&shared->idle[i], memory_order_relaxed) == NULL) continue;
        search = atomic_exchange_explicit(&shared->idle[i], NULL, memory_order_acquire);
        if (search != NULL) return search;
    }
    search = shared->allocator.resize(NULL, sizeof *search);
    if (search == NULL) return NULL;
    memset(search, 0, sizeof *search);
    search->allocator = shared->allocator;
    search->seed = shared->seed;
    if (ps_run_new(&search->run, shared->allocator) == PS_OK) return search;
    shared->allocator.release(search);
    return NULL;
}

static inline void ps_search_put(ps_shared_index *shared, ps_search *search)
{
    size_t kept = search->node_room * sizeof *search->nodes + search->word_room * sizeof *search->words +
                  search->text.room + search->slot_room * sizeof *search->slots +
                  search->mask_room * sizeof *search->masks + search->bit_room * sizeof *search->bits +
                  search->hit_room * sizeof *search->hits + search->id_room * sizeof *search->ids +
                  search->names.room;
    for (int i = 0; i < PS_IDLE && kept <= PS_SEARCH_KEEPS; i++) {
        struct ps_search *none = NULL;
        if (atomic_load_explicit(&shared->idle[i], memory_order_relaxed) != NULL) continue;
        if (atomic_compare_exchange_strong_explicit(&shared->idle[i], &none, search, memory_order_release,
                                                    memory_order_relaxed))
            return;
    }
    ps_search_free(search);
}

static inline void ps_searches_free(ps_shared_index *shared)
{
    for (int i = 0; i < PS_IDLE; i++)
        if (shared->idle[i] != NULL) ps_search_free(shared->idle[i]);
}

/* ---- words of documents, which lie in `text` and are told by offsets until all are there */

static inline void ps_documents_end(const ps_search *search, const ps_document *documents, size_t n,
                                    uint32_t fields)
{
    for (size_t i = 0; i < n; i++)
        for (uint32_t field = 0; field < fields; field++) {
            ps_field_text *text = &documents[i].texts[field];
            if (text->width == 0) text->data = search->text.at + (uintptr_t)text->data;
        }
}

#endif
