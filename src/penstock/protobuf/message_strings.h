/* message_strings -- str objects of ASCII bytes, the short ones shared. */
#ifndef PS_MESSAGE_STRINGS_H
#define PS_MESSAGE_STRINGS_H

#include <Python.h>
#include <string.h>

#include "message_plan.h"

enum {
    PS_CACHE_SLOTS = 512,
    PS_CACHE_LONGEST = 32, /* bytes of a string in it */
    PS_CACHE_BEST = 64,    /* a field's score: a hit adds PS_CACHE_GAIN, a miss takes 1; at 0 it does without, */
    PS_CACHE_GAIN = 4,
    PS_CACHE_RETRY = 32,   /* but for one string in so many */
};

/* Short strings seen lately. The keys and labels of messages repeat, and one that is found here costs no
 * allocation and no memory. Fields whose strings never repeat stop asking, but for a try now and then. */
static PyObject *ps_cached_strings[PS_CACHE_SLOTS];

static inline uint64_t ps_cache_hash(const char *text, size_t size)
{
    uint64_t first = 0, last = 0;
    if (size >= 8) {
        memcpy(&first, text, 8);
        memcpy(&last, text + size - 8, 8);
        if (size > 16) {
            uint64_t middle;
            memcpy(&middle, text + size / 2 - 4, 8);
            first ^= middle * UINT64_C(0x9e3779b97f4a7c15);
        }
    } else {
        for (size_t i = 0; i < size; i++)
            first = first << 8 | (uint8_t)text[i];
    }
    uint64_t mixed = (first ^ last * UINT64_C(0xff51afd7ed558ccd) ^ size) * UINT64_C(0x9e3779b97f4a7c15);
    return mixed >> 55; /* 9 bits: PS_CACHE_SLOTS */
}

static inline PyObject *ps_new_ascii(const char *text, size_t size)
{
    PyObject *made = PyUnicode_New((Py_ssize_t)size, 127);
    if (made && size)
        memcpy(PyUnicode_DATA(made), text, size);
    return made;
}

static PyObject *ps_read_ascii(ps_plan_field *field, const char *text, size_t size)
{
    if (size == 0 || size > PS_CACHE_LONGEST)
        return ps_new_ascii(text, size);
    if (field->cache_score == 0 && ++field->cache_skips % PS_CACHE_RETRY != 0)
        return ps_new_ascii(text, size);
    PyObject **slot = &ps_cached_strings[ps_cache_hash(text, size)];
    PyObject *found = *slot;
    if (found && (size_t)PyUnicode_GET_LENGTH(found) == size &&
        memcmp(PyUnicode_DATA(found), text, size) == 0) {
        if (field->cache_score <= PS_CACHE_BEST - PS_CACHE_GAIN)
            field->cache_score += PS_CACHE_GAIN;
        return Py_NewRef(found);
    }
    if (field->cache_score)
        field->cache_score--;
    PyObject *made = ps_new_ascii(text, size);
    if (made)
        Py_XSETREF(*slot, Py_NewRef(made));
    return made;
}

#endif
