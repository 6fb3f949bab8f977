"""What _inverted_index_c.pyx knows of the kernels in csrc and of the C code beside it."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    void *PyUnicode_DATA(object text)
    unsigned PyUnicode_KIND(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    Py_buffer *PyMemoryView_GET_BUFFER(object view)

cdef extern from "<stdbool.h>":
    ctypedef bint cbool "bool"

cdef extern from "allocator.h":
    ctypedef struct ps_allocator:
        void *(*resize)(void *memory, size_t size) noexcept nogil
        void (*release)(void *memory) noexcept nogil

cdef extern from "status.h":
    ctypedef enum ps_status:
        PS_OK
        PS_REFUSED
        PS_NO_MEMORY
        PS_BROKEN

cdef extern from "words.h" nogil:
    enum:
        PS_WORDS_ASCII
        PS_WORDS_UNICODE

    ctypedef struct ps_stop_words:
        pass

    ctypedef struct ps_word_rules:
        uint8_t segmentation
        cbool lower
        uint32_t shortest
        uint32_t longest
        const ps_stop_words *stop_words

    ps_status ps_stop_words_init(
        ps_stop_words **set, const uint8_t *bytes, const uint32_t *sizes, uint32_t count, ps_allocator allocator
    )
    void ps_stop_words_free(ps_stop_words *set)

cdef extern from "edit_distance.h" nogil:
    ctypedef struct ps_near:
        uint32_t *points
        uint32_t n

    void ps_near_init(ps_near *near, const uint8_t *bytes, uint32_t size, uint32_t limit, uint32_t prefix)

cdef extern from "search_part.h" nogil:
    ctypedef struct ps_term:
        const uint8_t *bytes
        uint32_t size
        uint32_t field

    ctypedef struct ps_part:
        uint32_t base
        const uint32_t **lengths

cdef extern from "search_scorer.h" nogil:
    ctypedef struct ps_scorer:
        uint8_t variant
        double k1
        double b
        double delta

cdef extern from "search_plan.h" nogil:
    enum:
        PS_TERM
        PS_PHRASE
        PS_ANY
        PS_ALL
        PS_EXCEPT
        PS_MASK
        PS_CONST
        PS_EVERY
        PS_PLAN_NODES
    const uint32_t PS_NO_NODE

    ctypedef struct ps_plan_node:
        uint32_t child
        uint32_t sibling
        uint32_t words
        uint32_t slop
        uint32_t minimum

    ctypedef struct ps_plan:
        pass

cdef extern from "inverted_index.h" nogil:
    ctypedef struct ps_doc_id:
        const uint8_t *bytes
        size_t size
        int64_t number

    ctypedef struct ps_inverted:
        uint32_t live
        uint64_t *words
        cbool frozen

    enum:
        PS_BULK_DOCS
    ctypedef struct ps_inverted_sizes:
        uint64_t segments
        uint64_t segment_bytes
        uint64_t mapped_bytes
        uint64_t tail_bytes
        uint64_t id_bytes
        uint64_t dead_docs
        uint64_t terms
        uint64_t postings
        uint64_t other

    uint32_t ps_inverted_df(const ps_inverted *index, ps_term term)
    uint32_t ps_inverted_ordinals(const ps_inverted *index)
    const ps_part *ps_inverted_part_of(const ps_inverted *index, uint32_t ordinal)
    uint32_t ps_inverted_freq(
        const ps_inverted *index, uint32_t ordinal, ps_term term, uint32_t *places, uint32_t most, uint32_t *placed
    )
    void ps_inverted_measure(const ps_inverted *index, ps_inverted_sizes *sizes)

cdef extern from "term_index.h" nogil:
    ctypedef struct ps_loan:
        ps_shared_index *shared
        ps_loan *next
        Py_buffer view

    ctypedef struct ps_shared_index:
        ps_inverted *index
        cbool has_rules
        ps_word_rules rules

    ctypedef enum ps_outcome:
        PS_DONE
        PS_DUPLICATE
        PS_OTHER_KIND
        PS_FULL
        PS_FROZEN
        PS_NO_ROOM
        PS_UNREADABLE

    ctypedef struct ps_field_text:
        const uint8_t *data
        size_t n
        unsigned width

    ctypedef struct ps_document:
        ps_doc_id id
        ps_field_text *texts
        const uint64_t *cells
        cbool replace

    ps_status ps_shared_begin(
        ps_shared_index *shared, uint32_t fields, uint32_t columns, cbool positions, uint64_t seed, ps_allocator memory
    )
    void ps_shared_end(ps_shared_index *shared)
    ps_loan *ps_loans_back(ps_shared_index *shared)
    bint ps_change_try(ps_shared_index *shared)
    void ps_change_wait(ps_shared_index *shared)
    bint ps_change_end(ps_shared_index *shared)
    void ps_merge_parts(ps_shared_index *shared)
    void ps_bulk_begin(ps_shared_index *shared)
    void ps_bulk_end(ps_shared_index *shared, cbool pack)
    ps_outcome ps_compact(ps_shared_index *shared, cbool freeze)
    ps_outcome ps_add_document(ps_shared_index *shared, const ps_document *document)
    ps_outcome ps_add_documents(
        ps_shared_index *shared, const ps_document *documents, size_t count, size_t *done
    )
    ps_outcome ps_delete_document(ps_shared_index *shared, ps_doc_id id)
    ps_status ps_map_segment(ps_shared_index *shared, const uint8_t *bytes, size_t size, ps_loan *loan)
    ps_status ps_pack_segment(ps_shared_index *shared, uint8_t **bytes, size_t *size)
    bint ps_enter_try(ps_shared_index *shared, cbool by_id)
    void ps_enter(ps_shared_index *shared)
    ps_status ps_enter_by_id(ps_shared_index *shared)
    void ps_leave(ps_shared_index *shared)
    bint ps_has_text_ids(const ps_shared_index *shared)
    uint32_t ps_ordinal_of(const ps_shared_index *shared, ps_doc_id id)

cdef extern from "term_memory.h" nogil:
    ctypedef struct ps_pile:
        uint8_t *at
        size_t size

    ctypedef struct ps_plan_mask:
        const uint8_t *bytes
        size_t size

    ctypedef struct ps_search:
        ps_allocator allocator
        ps_plan_node *nodes
        size_t node_count
        size_t word_count
        ps_pile text
        size_t mask_count
        uint32_t found
        size_t id_count
        uint32_t live
        cbool text_ids

    ps_search *ps_search_take(ps_shared_index *shared)
    void ps_search_put(ps_shared_index *shared, ps_search *search)
    void ps_searches_free(ps_shared_index *shared)
    void ps_search_clear(ps_search *search)
    void ps_documents_end(const ps_search *search, const ps_document *documents, size_t n, uint32_t fields)

cdef extern from "term_plan.h" nogil:
    ps_plan_node *ps_plan_node_add(ps_search *search, uint8_t kind, double weight)
    bint ps_plan_word_add(ps_search *search, uint32_t field, uint32_t size, double weight)
    bint ps_plan_mask_add(ps_search *search, size_t node, const void *bytes, size_t size, size_t same_as)
    void ps_plans_end(ps_search *search)
    ps_plan ps_only_plan(const ps_search *search)
    bint ps_query_begin(ps_search *search)
    ps_status ps_query_text(
        ps_search *search, const ps_word_rules *rules, const void *text, size_t n, unsigned width
    )
    void ps_query_end(ps_search *search, uint32_t minimum)

cdef extern from "term_search.h" nogil:
    enum:
        PS_LONG

    ctypedef struct ps_plan_start:
        size_t node
        size_t word

    ps_status ps_search_top(
        ps_shared_index *shared, ps_search *search, const ps_plan *plan, const ps_scorer *scorer, size_t k,
        const ps_plan_mask *mask, size_t *wrong
    )
    ps_status ps_search_bind(
        ps_shared_index *shared, ps_search *search, const ps_plan *plan, const ps_scorer *scorer,
        const ps_plan_mask *mask, size_t *wrong, uint64_t *cost
    )
    ps_status ps_search_best(ps_shared_index *shared, ps_search *search, size_t k)
    bint ps_masks_are_long(const ps_shared_index *shared, const ps_search *search, const ps_plan_mask *mask)
    ps_status ps_search_many(
        ps_shared_index *shared, ps_search *search, const ps_plan_start *starts, size_t n, const ps_scorer *scorer,
        size_t k, uint32_t *counts, int64_t *numbers, double *scores
    )
    ps_status ps_search_scores(
        ps_shared_index *shared, ps_search *search, const ps_plan *plan, const ps_scorer *scorer, double **scores,
        uint8_t **matched, size_t *wrong
    )
    ps_status ps_search_cells(ps_shared_index *shared, ps_search *search, uint32_t column, uint64_t **cells)
    ps_status ps_search_all_ids(ps_shared_index *shared, ps_search *search)
    ps_status ps_search_ids_mask(
        ps_shared_index *shared, ps_search *search, const ps_doc_id *ids, size_t n, uint8_t **bytes
    )

cdef extern from "term_lists.h" nogil:
    ctypedef struct ps_term_list:
        ps_allocator allocator
        size_t most

    ps_status ps_list_terms(
        const ps_shared_index *shared, uint32_t field, const uint8_t *prefix, uint32_t size, const ps_near *near,
        ps_term_list *list
    )
    ps_status ps_list_terms_of(
        const ps_shared_index *shared, uint32_t ordinal, uint32_t field, ps_term_list *list
    )
    void ps_term_list_free(ps_term_list *list)

cdef extern from "term_objects.h":
    ctypedef enum ps_term_fault:
        PS_TERM_FITS
        PS_TERM_NO_TEXT
        PS_TERM_LONG
        PS_TERM_SURROGATE
        PS_TERM_NO_MEMORY

    enum:
        PS_TERM_POINTS

    ps_term_fault ps_words_to_pile(ps_allocator allocator, ps_pile *pile, PyObject *words, Py_ssize_t *wrong)
    ps_term_fault ps_query_term(ps_search *search, PyObject *text, uint32_t *size)
    ps_term_fault ps_query_objects(ps_search *search, PyObject *words)
    bint ps_near_points(ps_near *near, PyObject *text, uint32_t limit, uint32_t prefix)
    bint ps_fill_ids(const ps_search *search, size_t start, size_t n, PyObject *list, size_t to) except False
    object ps_list_of_ids(const ps_search *search)
    object ps_found_object(const ps_search *search)
    object ps_list_of_terms(const ps_term_list *list, cbool with_distance)
