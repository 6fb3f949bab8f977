/* term_index -- an index that threads share: its locks, and how it is changed.
 *
 *     if (ps_change_try(&shared)) ... else { without the GIL: ps_change_wait(&shared); ... }
 *     outcome = ps_add_document(&shared, &document);
 *     if (ps_change_end(&shared)) without the GIL: ps_merge_parts(&shared);
 *
 * Nobody waits for a lock with the GIL held, nor for the GIL with the readers' lock held alone. No object of
 * Python's is touched here. */
#ifndef PS_TERM_INDEX_H
#define PS_TERM_INDEX_H

#include <Python.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "inverted_index.h"
#include "readers_lock.h"
#include "words.h"

#define PS_MOST_DOCUMENTS (UINT32_MAX - 4096) /* that an index can have had */
#define PS_IDLE 8                             /* searches whose memory is kept for the next ones */

struct ps_search;

/* Who lent the bytes of a mapped segment; they are given back where code of others can run. */
typedef struct ps_loan {
    struct ps_shared_index *shared;
    struct ps_loan *next;
    Py_buffer view;
} ps_loan;

typedef struct ps_shared_index {
    ps_inverted *index; /* made anew when the first id tells of which kind ids are */
    bool ids_known;
    bool has_rules;
    ps_word_rules rules;
    ps_readers_lock lock;
    pthread_mutex_t writers;
    uint32_t merge_again; /* ordinals that there must be until a merge is tried again that has failed */
    _Atomic(struct ps_search *) idle[PS_IDLE];
    _Atomic(ps_loan *) given_back;
    uint64_t seed;
    ps_allocator allocator;
} ps_shared_index;

typedef enum {
    PS_DONE,
    PS_DUPLICATE,  /* or, of a document that is to be deleted: there is none */
    PS_OTHER_KIND, /* ids of the index are texts and this one is a number, or the other way round */
    PS_FULL,       /* of documents */
    PS_FROZEN,
    PS_NO_ROOM,    /* in memory */
    PS_UNREADABLE, /* a segment is broken */
} ps_outcome;

/* ---- from beginning to end */

static inline ps_inverted *ps_new_index(const ps_shared_index *shared, uint32_t fields, uint32_t columns,
                                        bool positions, bool text_ids)
{
    ps_inverted *index = shared->allocator.resize(NULL, sizeof *index);
    if (index != NULL)
        ps_inverted_init(index, fields, columns, positions, text_ids, shared->seed, shared->allocator);
    return index;
}

static inline void ps_drop_index(ps_shared_index *shared, ps_inverted *index)
{
    ps_inverted_free(index);
    shared->allocator.release(index);
}

/* `shared` is zeros. PS_NO_MEMORY: there is nothing to end. */
static inline ps_status ps_shared_begin(ps_shared_index *shared, uint32_t fields, uint32_t columns,
                                        bool positions, uint64_t seed, ps_allocator allocator)
{
    shared->allocator = allocator;
    shared->seed = seed;
    if (ps_readers_lock_init(&shared->lock) != PS_OK) return PS_NO_MEMORY;
    if (pthread_mutex_init(&shared->writers, NULL) == 0) {
        shared->index = ps_new_index(shared, fields, columns, positions, false);
        if (shared->index != NULL) return PS_OK;
        pthread_mutex_destroy(&shared->writers);
    }
    ps_readers_lock_destroy(&shared->lock);
    return PS_NO_MEMORY;
}

/* Loans are left in `given_back`, searches in `idle`. */
static inline void ps_shared_end(ps_shared_index *shared)
{
    ps_drop_index(shared, shared->index);
    pthread_mutex_destroy(&shared->writers);
    ps_readers_lock_destroy(&shared->lock);
}

static inline void ps_give_back(void *owner)
{
    ps_loan *loan = owner;
    loan->next = atomic_load(&loan->shared->given_back);
    while (!atomic_compare_exchange_weak(&loan->shared->given_back, &loan->next, loan)) continue;
}

/* The loans that were given back: code of others runs when their bytes are let go. */
static inline ps_loan *ps_loans_back(ps_shared_index *shared)
{
    return atomic_exchange(&shared->given_back, NULL);
}

/* ---- changes */

static inline bool ps_change_try(ps_shared_index *shared)
{
    if (pthread_mutex_trylock(&shared->writers) != 0) return false;
    if (ps_write_try(&shared->lock)) return true;
    pthread_mutex_unlock(&shared->writers);
    return false;
}

static inline void ps_alone_wait(ps_shared_index *shared)
{
    if (!ps_write_try(&shared->lock)) ps_write_wait(&shared->lock);
}

static inline void ps_change_wait(ps_shared_index *shared)
{
    pthread_mutex_lock(&shared->writers);
    ps_alone_wait(shared);
}

/* Lets readers in. True: parts are to be merged, and the change ends with ps_merge_parts. */
static inline bool ps_change_end(ps_shared_index *shared)
{
    bool due =
        ps_inverted_merge_due(shared->index) && ps_inverted_ordinals(shared->index) >= shared->merge_again;
    ps_write_end(&shared->lock);
    if (!due) pthread_mutex_unlock(&shared->writers);
    return due;
}

/* Builds one merge, while others search, and puts it in place. */
static inline ps_status ps_merge_once(ps_shared_index *shared, bool all)
{
    ps_merge *merge;
    ps_status status = ps_inverted_merge_build(shared->index, all, &merge);
    if (status != PS_OK || merge == NULL) return status;
    ps_alone_wait(shared);
    ps_inverted_merge_swap(shared->index, merge);
    ps_write_end(&shared->lock);
    ps_inverted_merge_free(shared->index, merge);
    return PS_OK;
}

/* Merges what is due and ends the change. What cannot be merged stays as it is, and is left alone for a
 * while: the documents are there either way. */
static inline void ps_merge_parts(ps_shared_index *shared)
{
    ps_status status = PS_OK;
    while (status == PS_OK && ps_inverted_merge_due(shared->index)) status = ps_merge_once(shared, false);
    uint32_t ordinals = ps_inverted_ordinals(shared->index);
    if (status == PS_OK)
        shared->merge_again = 0;
    else
        shared->merge_again = ordinals < UINT32_MAX - PS_TAIL_DOCS ? ordinals + PS_TAIL_DOCS : UINT32_MAX;
    pthread_mutex_unlock(&shared->writers);
}

/* A call that adds many documents begins, and ends; both take the mutex and let go of it. `pack`: as for
 * ps_inverted_bulk_end. */
static inline void ps_bulk_begin(ps_shared_index *shared)
{
    ps_change_wait(shared);
    ps_inverted_bulk_begin(shared->index);
    if (ps_change_end(shared)) pthread_mutex_unlock(&shared->writers); /* merges come as documents do */
}

static inline void ps_bulk_end(ps_shared_index *shared, bool pack)
{
    ps_change_wait(shared);
    ps_inverted_bulk_end(shared->index, pack);
    if (ps_change_end(shared)) ps_merge_parts(shared);
}

/* Makes one segment of all parts. Takes the mutex and lets go of it; `freeze`: and refuses changes from then
 * on. */
static inline ps_outcome ps_compact(ps_shared_index *shared, bool freeze)
{
    pthread_mutex_lock(&shared->writers);
    ps_status status = shared->index->frozen ? PS_OK : ps_merge_once(shared, true);
    if (status == PS_OK && freeze) {
        ps_alone_wait(shared);
        shared->index->frozen = true;
        ps_write_end(&shared->lock);
    }
    pthread_mutex_unlock(&shared->writers);
    return status == PS_OK ? PS_DONE : status == PS_BROKEN ? PS_UNREADABLE : PS_NO_ROOM;
}

/* The bytes of a segment with everything that lives. Holds the mutex alone, so that others can search. */
static inline ps_status ps_pack_segment(ps_shared_index *shared, uint8_t **bytes, size_t *size)
{
    pthread_mutex_lock(&shared->writers);
    ps_status status = ps_inverted_pack(shared->index, bytes, size);
    pthread_mutex_unlock(&shared->writers);
    return status;
}

/* ---- documents */

/* The text of one field: `width` 1, 2 or 4: code points that the rules take apart; 0: n bytes of words, each
 * behind its size as two bytes. */
typedef struct {
    const uint8_t *data;
    size_t n;
    unsigned width;
} ps_field_text;

typedef struct {
    ps_doc_id id;
    ps_field_text *texts; /* one for each field */
    const uint64_t *cells;
    bool replace; /* the document of this id, if there is one */
} ps_document;

static inline ps_status ps_add_words(ps_inverted *index, uint32_t field, const ps_field_text *text)
{
    ps_status status = PS_OK;
    for (size_t at = 0; at < text->n && status == PS_OK;) {
        uint16_t size;
        memcpy(&size, text->data + at, sizeof size);
        status = ps_inverted_add_word(index, field, text->data + at + sizeof size, size);
        at += sizeof size + size;
    }
    return status;
}

static inline ps_status ps_add_text(ps_shared_index *shared, uint32_t field, const ps_field_text *text)
{
    ps_words words;
    ps_word word;
    ps_status status = PS_OK;
    ps_words_begin(&words, &shared->rules, text->data, text->n, text->width);
    while (status == PS_OK && ps_words_next(&words, &word))
        status = ps_inverted_add_word(shared->index, field, word.bytes, word.size);
    return status;
}

/* Ids of an index that had no document yet may become of the other kind. */
static inline ps_outcome ps_settle_kind(ps_shared_index *shared, bool text_ids)
{
    ps_inverted *old = shared->index;
    if (old->text_ids == text_ids) return PS_DONE;
    if (shared->ids_known) return PS_OTHER_KIND;
    ps_inverted *other = ps_new_index(shared, old->fields, old->columns, old->positions, text_ids);
    if (other == NULL) return PS_NO_ROOM;
    other->bulks = old->bulks;
    shared->index = other;
    ps_drop_index(shared, old);
    return PS_DONE;
}

/* [alone] */
static inline ps_outcome ps_add_document(ps_shared_index *shared, const ps_document *document)
{
    if (shared->index->frozen) return PS_FROZEN;
    ps_outcome outcome = ps_settle_kind(shared, document->id.bytes != NULL);
    if (outcome != PS_DONE) return outcome;
    ps_inverted *index = shared->index;
    if (ps_inverted_ordinals(index) >= PS_MOST_DOCUMENTS) return PS_FULL;
    ps_status status = document->replace ? ps_inverted_replace_begin(index, document->id)
                                         : ps_inverted_add_begin(index, document->id);
    if (status != PS_OK)
        return status == PS_REFUSED ? PS_DUPLICATE : status == PS_BROKEN ? PS_UNREADABLE : PS_NO_ROOM;
    for (uint32_t field = 0; field < index->fields && status == PS_OK; field++) {
        const ps_field_text *text = &document->texts[field];
        status = text->width == 0 ? ps_add_words(index, field, text) : ps_add_text(shared, field, text);
    }
    if (status == PS_OK) status = ps_inverted_add_end(index, document->cells);
    if (status != PS_OK) {
        ps_inverted_add_undo(index);
        return PS_NO_ROOM;
    }
    shared->ids_known = true;
    return PS_DONE;
}

/* [alone] Adds documents until one is refused; `done`: how many were not. */
static inline ps_outcome ps_add_documents(ps_shared_index *shared, const ps_document *documents, size_t count,
                                          size_t *done)
{
    ps_outcome outcome = PS_DONE;
    for (*done = 0; *done < count; ++*done) {
        outcome = ps_add_document(shared, &documents[*done]);
        if (outcome != PS_DONE) break;
    }
    return outcome;
}

/* [alone] */
static inline ps_outcome ps_delete_document(ps_shared_index *shared, ps_doc_id id)
{
    if (shared->index->frozen) return PS_FROZEN;
    if ((id.bytes != NULL) != shared->index->text_ids) return PS_DUPLICATE;
    ps_status status = ps_inverted_delete(shared->index, id);
    return status == PS_OK        ? PS_DONE
           : status == PS_REFUSED ? PS_DUPLICATE
           : status == PS_BROKEN  ? PS_UNREADABLE
                                  : PS_NO_ROOM;
}

/* [alone] Takes the documents of a segment into an index that has had none, of whichever kind their ids are.
 * `loan` is given back when they are no longer needed; NULL: the bytes are released then. Unless PS_OK they
 * stay the caller's. PS_REFUSED: the segment is for an index of another shape. */
static inline ps_status ps_map_segment(ps_shared_index *shared, const uint8_t *bytes, size_t size,
                                       ps_loan *loan)
{
    ps_inverted *old = shared->index;
    bool text_ids = size >= sizeof(ps_segment_header) &&
                    (bytes[offsetof(ps_segment_header, flags)] & PS_SEGMENT_TEXT_IDS) != 0;
    ps_inverted *mapped = ps_new_index(shared, old->fields, old->columns, old->positions, text_ids);
    if (mapped == NULL) return PS_NO_MEMORY;
    mapped->bulks = old->bulks;
    ps_status status = ps_inverted_map(mapped, bytes, size, loan == NULL ? NULL : ps_give_back, loan);
    if (status == PS_OK) shared->index = mapped;
    ps_drop_index(shared, status == PS_OK ? old : mapped);
    if (status == PS_OK) shared->ids_known = ps_inverted_ordinals(shared->index) > 0;
    return status;
}

/* ---- reading */

/* In, without waiting; false: somebody is in the way, or ids of a mapped segment are still to be made. */
static inline bool ps_enter_try(ps_shared_index *shared, bool by_id)
{
    if (!ps_read_try(&shared->lock)) return false;
    if (!by_id || ps_inverted_ids_ready(shared->index)) return true;
    ps_read_end(&shared->lock);
    return false;
}

static inline void ps_enter(ps_shared_index *shared)
{
    if (!ps_read_try(&shared->lock)) ps_read_wait(&shared->lock);
}

static inline void ps_leave(ps_shared_index *shared) { ps_read_end(&shared->lock); }

/* [read] */
static inline bool ps_has_text_ids(const ps_shared_index *shared) { return shared->index->text_ids; }

/* In, with ids. PS_NO_MEMORY: they cannot be made, and the caller is not in. */
static inline ps_status ps_enter_by_id(ps_shared_index *shared)
{
    for (;;) {
        ps_enter(shared);
        if (ps_inverted_ids_ready(shared->index)) return PS_OK;
        ps_read_end(&shared->lock);
        ps_change_wait(shared);
        ps_status status = ps_inverted_make_ids(shared->index);
        if (ps_change_end(shared)) pthread_mutex_unlock(&shared->writers); /* whoever adds will merge */
        if (status != PS_OK) return status;
    }
}

/* [read] UINT32_MAX: there is no live document of that id. */
static inline uint32_t ps_ordinal_of(const ps_shared_index *shared, ps_doc_id id)
{
    if ((id.bytes != NULL) != shared->index->text_ids) return UINT32_MAX;
    return ps_inverted_ordinal(shared->index, id);
}

#endif
