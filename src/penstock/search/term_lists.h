/* term_lists -- terms that an index tells one by one, in order, of which the most important are kept: the
 * nearest, of these those in most documents, of equal ones the first. No object of Python's is touched here.
 */
#ifndef PS_TERM_LISTS_H
#define PS_TERM_LISTS_H

#include "term_search.h"

typedef struct {
    size_t at; /* of the bytes in `text` */
    uint32_t size, df, distance, order;
} ps_listed_term;

typedef struct {
    ps_allocator allocator;
    ps_listed_term *terms;
    size_t count, room;
    ps_pile text;
    size_t most;
    uint32_t next; /* order of the next term */
    bool no_memory;
} ps_term_list;

static inline int ps_by_importance(const void *left, const void *right)
{
    const ps_listed_term *a = left, *b = right;
    if (a->distance != b->distance) return a->distance < b->distance ? -1 : 1;
    if (a->df != b->df) return a->df > b->df ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

static inline int ps_by_order(const void *left, const void *right)
{
    return ((const ps_listed_term *)left)->order < ((const ps_listed_term *)right)->order ? -1 : 1;
}

/* Keeps the most important, in order. */
static inline void ps_term_list_cut(ps_term_list *list)
{
    if (list->count <= list->most) return;
    qsort(list->terms, list->count, sizeof *list->terms, ps_by_importance);
    list->count = list->most;
    if (list->count > 0) qsort(list->terms, list->count, sizeof *list->terms, ps_by_order);
    list->text.size = 0;
    for (size_t i = 0; i < list->count; i++) { /* bytes lie in order too, so none is written over */
        ps_listed_term *term = &list->terms[i];
        memmove(list->text.at + list->text.size, list->text.at + term->at, term->size);
        term->at = list->text.size;
        list->text.size += term->size;
    }
}

/* One term more; a ps_take_term. */
static bool ps_term_list_take(void *context, const uint8_t *bytes, uint32_t size, uint32_t df,
                              uint32_t distance)
{
    ps_term_list *list = context;
    if (list->count >= 1024 && list->count / 2 >= list->most) ps_term_list_cut(list);
    list->no_memory =
        !ps_pile_room(list->allocator, &list->text, size) ||
        !ps_make_room(list->allocator, &list->terms, &list->room, list->count + 1, sizeof *list->terms);
    if (list->no_memory) return false;
    if (size > 0) memcpy(list->text.at + list->text.size, bytes, size);
    list->terms[list->count++] = (ps_listed_term){list->text.size, size, df, distance, list->next++};
    list->text.size += size;
    return true;
}

static inline void ps_term_list_free(ps_term_list *list)
{
    list->allocator.release(list->terms);
    list->allocator.release(list->text.at);
}

/* [read] Terms of a field that begin with a prefix, or are near. */
static inline ps_status ps_list_terms(const ps_shared_index *shared, uint32_t field, const uint8_t *prefix,
                                      uint32_t size, const ps_near *near, ps_term_list *list)
{
    ps_status status = ps_inverted_terms(shared->index, field, prefix, size, near, ps_term_list_take, list);
    ps_term_list_cut(list);
    return list->no_memory ? PS_NO_MEMORY : status;
}

/* [read] Terms of a document. */
static inline ps_status ps_list_terms_of(const ps_shared_index *shared, uint32_t ordinal, uint32_t field,
                                         ps_term_list *list)
{
    ps_status status = ps_inverted_terms_of(shared->index, ordinal, field, ps_term_list_take, list);
    return list->no_memory ? PS_NO_MEMORY : status;
}

#endif
