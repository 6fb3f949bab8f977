/* term_objects -- Python's text made into words, and what was found made into lists. */
#ifndef PS_TERM_OBJECTS_H
#define PS_TERM_OBJECTS_H

#include <Python.h>

#include "term_lists.h"
#include "utf8.h"

#define PS_TERM_POINTS 255 /* code points that a term can have */

/* ---- words out of objects */

typedef enum {
    PS_TERM_FITS,
    PS_TERM_NO_TEXT,
    PS_TERM_LONG,
    PS_TERM_SURROGATE,
    PS_TERM_NO_MEMORY
} ps_term_fault;

/* Bytes that text takes as UTF-8; false: it has a lone surrogate. */
static inline bool ps_text_bytes(PyObject *text, size_t *size)
{
    size_t n = (size_t)PyUnicode_GET_LENGTH(text);
    const void *data = PyUnicode_DATA(text);
    *size = n;
    if (PyUnicode_IS_ASCII(text)) return true;
    if (PyUnicode_KIND(text) == PyUnicode_4BYTE_KIND) return ps_utf8_size_ucs4(data, n, false, size);
    if (PyUnicode_KIND(text) == PyUnicode_2BYTE_KIND) return ps_utf8_size_ucs2(data, n, false, size);
    *size = ps_utf8_size_ucs1(data, n);
    return true;
}

static inline void ps_text_write(PyObject *text, uint8_t *at)
{
    size_t n = (size_t)PyUnicode_GET_LENGTH(text);
    const void *data = PyUnicode_DATA(text);
    if (PyUnicode_IS_ASCII(text))
        memcpy(at, data, n);
    else if (PyUnicode_KIND(text) == PyUnicode_4BYTE_KIND)
        ps_utf8_write_ucs4(at, data, n);
    else if (PyUnicode_KIND(text) == PyUnicode_2BYTE_KIND)
        ps_utf8_write_ucs2(at, data, n);
    else
        ps_utf8_write_ucs1(at, data, n);
}

/* Writes text as UTF-8 behind the pile, which stays as it is but for `front` bytes of room in between. */
static inline ps_term_fault ps_text_behind(ps_allocator allocator, ps_pile *pile, PyObject *text,
                                           size_t front, size_t *size)
{
    if (!PyUnicode_Check(text)) return PS_TERM_NO_TEXT;
    if (PyUnicode_GET_LENGTH(text) > PS_TERM_POINTS) return PS_TERM_LONG;
    if (!ps_text_bytes(text, size)) return PS_TERM_SURROGATE;
    if (!ps_pile_room(allocator, pile, front + *size)) return PS_TERM_NO_MEMORY;
    ps_text_write(text, pile->at + pile->size + front);
    return PS_TERM_FITS;
}

/* Puts words of a document on the pile, each behind its size as two bytes. `wrong`: the first that is
 * refused. */
static inline ps_term_fault ps_words_to_pile(ps_allocator allocator, ps_pile *pile, PyObject *words,
                                             Py_ssize_t *wrong)
{
    Py_ssize_t n = PyTuple_GET_SIZE(words);
    for (Py_ssize_t i = 0; i < n; i++) {
        size_t size = 0;
        ps_term_fault fault = ps_text_behind(allocator, pile, PyTuple_GET_ITEM(words, i), 2, &size);
        if (fault != PS_TERM_FITS) {
            *wrong = i;
            return fault;
        }
        uint16_t written = (uint16_t)size;
        memcpy(pile->at + pile->size, &written, sizeof written);
        pile->size += 2 + size;
    }
    return PS_TERM_FITS;
}

/* A word of a query, written behind search->text. What no index can have becomes a byte that is no UTF-8,
 * which is never found. */
static inline ps_term_fault ps_query_term(ps_search *search, PyObject *text, uint32_t *size)
{
    size_t bytes = 0;
    ps_term_fault fault = ps_text_behind(search->allocator, &search->text, text, 0, &bytes);
    if (fault == PS_TERM_LONG || fault == PS_TERM_SURROGATE) {
        if (!ps_pile_room(search->allocator, &search->text, 1)) return PS_TERM_NO_MEMORY;
        search->text.at[search->text.size] = 0xff;
        bytes = 1;
        fault = PS_TERM_FITS;
    }
    *size = (uint32_t)bytes;
    return fault;
}

/* Words of a query that are objects already. */
static inline ps_term_fault ps_query_objects(ps_search *search, PyObject *words)
{
    Py_ssize_t n = PyTuple_GET_SIZE(words);
    for (Py_ssize_t i = 0; i < n; i++) {
        uint32_t size;
        ps_term_fault fault = ps_query_term(search, PyTuple_GET_ITEM(words, i), &size);
        if (fault != PS_TERM_FITS) return fault;
        if (ps_query_word(search, search->text.at + search->text.size, size) != PS_OK)
            return PS_TERM_NO_MEMORY;
    }
    return PS_TERM_FITS;
}

/* What terms are held against: text of up to PS_TERM_POINTS code points, lone surrogates too, which no term
 * has. */
static inline bool ps_near_points(ps_near *near, PyObject *text, uint32_t limit, uint32_t prefix)
{
    uint8_t bytes[4 * PS_TERM_POINTS];
    uint8_t *end = bytes;
    for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(text); i++) {
        uint32_t point = PyUnicode_READ_CHAR(text, i);
        if (point >= 0xd800 && point <= 0xdfff) point = 0x10ffff; /* which is no character */
        end = ps_utf8_write_ucs4(end, &point, 1);
    }
    ps_near_init(near, bytes, (uint32_t)(end - bytes), limit, prefix);
    return true;
}

/* ---- lists of what was found */

static inline PyObject *ps_text_object(const uint8_t *bytes, size_t size)
{
    return PyUnicode_DecodeUTF8((const char *)bytes, (Py_ssize_t)size, NULL);
}

/* Fills a list from place `to` on with ids from number `from` on. False: an error is set. */
static inline bool ps_fill_ids(const ps_search *search, size_t from, size_t n, PyObject *list, size_t to)
{
    for (size_t i = 0; i < n; i++) {
        int64_t id = search->ids[from + i];
        int64_t before = search->text_ids && from + i > 0 ? search->ids[from + i - 1] : 0;
        PyObject *object = search->text_ids ? ps_text_object(search->names.at + before, (size_t)(id - before))
                                            : PyLong_FromLongLong(id);
        if (object == NULL) return false;
        PyList_SET_ITEM(list, (Py_ssize_t)(to + i), object);
    }
    return true;
}

static inline PyObject *ps_list_of_ids(const ps_search *search)
{
    PyObject *list = PyList_New((Py_ssize_t)search->id_count);
    if (list == NULL || ps_fill_ids(search, 0, search->id_count, list, 0)) return list;
    Py_DECREF(list);
    return NULL;
}

static inline PyObject *ps_list_of_scores(const ps_search *search)
{
    PyObject *list = PyList_New((Py_ssize_t)search->found);
    for (uint32_t i = 0; list != NULL && i < search->found; i++) {
        PyObject *score = PyFloat_FromDouble(search->hits[i].score);
        if (score == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, score);
    }
    return list;
}

/* (ids, scores) of what the last search has found. */
static inline PyObject *ps_found_object(const ps_search *search)
{
    PyObject *ids = ps_list_of_ids(search), *scores = ps_list_of_scores(search);
    PyObject *both = ids != NULL && scores != NULL ? PyTuple_New(2) : NULL;
    if (both == NULL) {
        Py_XDECREF(ids);
        Py_XDECREF(scores);
        return NULL;
    }
    PyTuple_SET_ITEM(both, 0, ids);
    PyTuple_SET_ITEM(both, 1, scores);
    return both;
}

static inline PyObject *ps_term_tuple(const ps_term_list *list, const ps_listed_term *term,
                                      bool with_distance)
{
    PyObject *text = ps_text_object(list->text.at + term->at, term->size);
    if (text == NULL) return NULL;
    return with_distance ? Py_BuildValue("(NII)", text, term->df, term->distance)
                         : Py_BuildValue("(NI)", text, term->df);
}

/* (term, df) or (term, df, distance) of each. */
static inline PyObject *ps_list_of_terms(const ps_term_list *list, bool with_distance)
{
    PyObject *all = PyList_New((Py_ssize_t)list->count);
    for (size_t i = 0; all != NULL && i < list->count; i++) {
        PyObject *term = ps_term_tuple(list, &list->terms[i], with_distance);
        if (term == NULL)
            Py_CLEAR(all);
        else
            PyList_SET_ITEM(all, (Py_ssize_t)i, term);
    }
    return all;
}

#endif
