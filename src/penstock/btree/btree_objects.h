/* btree_objects -- what stands between Python's objects and the words of csrc/btree.h: keys and values as words, the
 * order of objects, and their hints.
 *
 * A word of a typed tree is a number whose order as int64 is that of the keys: uint64 with its top bit flipped,
 * float64 by its bits. A word of a tree of objects is a pointer; leaves own the references.
 *
 * Objects are ordered by `<` alone. For a pair of exact str, bytes, int, float, or tuples of those, what `<` says
 * is found out here without a call, and no code of others runs.
 *
 * A tree of objects has a family while all its keys are of one exact type: then each key has a hint, a number in the
 * order of the keys, that answers most comparisons without touching the key. The first key that does not fit ends
 * that until the tree is empty again. */
#ifndef PS_BTREE_OBJECTS_H
#define PS_BTREE_OBJECTS_H

#include <Python.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "btree.h"
#include "btree_file.h"

typedef enum { /* positions in _arguments.KEY_TYPES */
    PS_KEY_OBJECT,
    PS_KEY_INT64,
    PS_KEY_UINT64,
    PS_KEY_FLOAT64,
    PS_KEY_STR,
    PS_KEY_BYTES,
} ps_key_type;

typedef enum { /* positions in _arguments.VALUE_TYPES */
    PS_VALUE_OBJECT,
    PS_VALUE_INT64,
    PS_VALUE_FLOAT64,
} ps_value_type;

typedef enum {
    PS_FAMILY_NONE, /* anything: no hints */
    PS_FAMILY_STR,
    PS_FAMILY_BYTES,
    PS_FAMILY_INT,
    PS_FAMILY_FLOAT,
    PS_FAMILY_TUPLES, /* and one of the above: tuples whose first elements are all of it */
} ps_family;

typedef struct {
    ps_btree tree;
    uint8_t key_type;
    uint8_t value_type;
    uint8_t family; /* of trees of objects */
    bool frozen;
} ps_object_tree;

static inline PyObject *ps_key_of(int64_t word) { return (PyObject *)(uintptr_t)word; }
static inline PyObject *ps_value_of(uint64_t word) { return (PyObject *)(uintptr_t)word; }

static inline bool ps_is_typed(const ps_object_tree *self)
{
    return !(self->tree.flags & PS_BTREE_OBJECT_KEYS);
}

/* ---- numbers ---- */

/* Up to 60 bits without a call. */
static inline bool ps_short_int(PyObject *number, int64_t *value)
{
#if PY_VERSION_HEX >= 0x030C0000
    if (!PyUnstable_Long_IsCompact((PyLongObject *)number)) return false;
    *value = PyUnstable_Long_CompactValue((PyLongObject *)number);
    return true;
#else
    const digit *digits = ((PyLongObject *)number)->ob_digit;
    switch (Py_SIZE(number)) {
    case 0: *value = 0; return true;
    case 1: *value = (int64_t)digits[0]; return true;
    case -1: *value = -(int64_t)digits[0]; return true;
    case 2: *value = (int64_t)digits[1] << PyLong_SHIFT | (int64_t)digits[0]; return true;
    case -2: *value = -((int64_t)digits[1] << PyLong_SHIFT | (int64_t)digits[0]); return true;
    default: return false;
    }
#endif
}

/* *overflow: -1 or 1 where the number lies beyond int64, which *value is then clamped to. */
static inline void ps_clamped_int(PyObject *number, int64_t *value, int *overflow)
{
    *overflow = 0;
    if (ps_short_int(number, value)) return;
    *value = PyLong_AsLongLongAndOverflow(number, overflow);
    if (*overflow) *value = *overflow < 0 ? INT64_MIN : INT64_MAX;
}

static inline int64_t ps_flipped(int64_t bits)
{
    return bits ^ ((bits >> 63) & INT64_MAX);
}

/* The word of a float that is not NaN. */
static inline int64_t ps_float_word(double number)
{
    int64_t bits;
    number += 0.0; /* -0.0 is 0.0 */
    memcpy(&bits, &number, sizeof bits);
    return ps_flipped(bits);
}

static inline double ps_word_float(int64_t word)
{
    double number;
    word = ps_flipped(word);
    memcpy(&number, &word, sizeof number);
    return number;
}

/* Between uint64 and its word, both ways. */
static inline int64_t ps_uint_word(uint64_t number)
{
    return (int64_t)(number ^ UINT64_C(1) << 63);
}

/* n words, in place or not, from or to an array of the dtype. */
static void ps_map_words(ps_key_type type, const int64_t *from, int64_t *to, size_t n)
{
    if (type == PS_KEY_UINT64)
        for (size_t i = 0; i < n; i++) to[i] = ps_uint_word((uint64_t)from[i]);
    else if (type == PS_KEY_FLOAT64)
        for (size_t i = 0; i < n; i++) to[i] = ps_flipped(from[i]);
    else if (from != to)
        memcpy(to, from, n * sizeof *to);
}

static void ps_map_floats(const double *from, int64_t *to, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] = ps_float_word(from[i]);
}

/* The word of a number that is of the exact type and fits; false: ask _arguments.py. */
static inline bool ps_word_at_once(int type, PyObject *key, int64_t *word)
{
    if (type == PS_KEY_FLOAT64) {
        if (!PyFloat_CheckExact(key)) return false;
        double number = PyFloat_AS_DOUBLE(key);
        *word = ps_float_word(number);
        return number == number;
    }
    if (!PyLong_CheckExact(key)) return false;
    int overflow;
    ps_clamped_int(key, word, &overflow);
    if (type == PS_KEY_INT64) return overflow == 0;
    if (overflow < 0 || *word < 0) return false;
    uint64_t number = (uint64_t)*word;
    if (overflow) {
        number = PyLong_AsUnsignedLongLong(key);
        if (number == UINT64_MAX && PyErr_Occurred()) {
            PyErr_Clear();
            return false;
        }
    }
    *word = ps_uint_word(number);
    return true;
}

/* The word of a value, likewise; borrowed where it is an object. */
static inline bool ps_value_at_once(int type, PyObject *value, uint64_t *word)
{
    if (type == PS_VALUE_OBJECT) {
        *word = (uint64_t)(uintptr_t)value;
        return true;
    }
    if (type == PS_VALUE_INT64) {
        int overflow;
        if (!PyLong_CheckExact(value)) return false;
        ps_clamped_int(value, (int64_t *)word, &overflow);
        return overflow == 0;
    }
    if (!PyFloat_CheckExact(value)) return false;
    double number = PyFloat_AS_DOUBLE(value);
    memcpy(word, &number, sizeof number);
    return true;
}

/* The words of the numbers in a list or tuple, up to the first that is not of the exact type or does not fit: how many.
 * No code of others runs, so nobody changes the list meanwhile. */
static size_t ps_words_at_once(int type, PyObject *const *numbers, int64_t *words, size_t n)
{
    size_t i = 0;
    if (type == PS_KEY_INT64)
        while (i < n && PyLong_CheckExact(numbers[i]) && ps_short_int(numbers[i], &words[i])) i++;
    while (i < n && ps_word_at_once(type, numbers[i], &words[i])) i++;
    return i;
}

static size_t ps_values_at_once(int type, PyObject *const *values, uint64_t *words, size_t n)
{
    size_t i = 0;
    if (type == PS_VALUE_INT64) return ps_words_at_once(PS_KEY_INT64, values, (int64_t *)words, n);
    while (i < n && ps_value_at_once(type, values[i], &words[i])) i++;
    return i;
}

/* A new reference. */
static inline PyObject *ps_key_object(const ps_object_tree *self, int64_t word)
{
    switch (self->key_type) {
    case PS_KEY_INT64: return PyLong_FromLongLong(word);
    case PS_KEY_UINT64: return PyLong_FromUnsignedLongLong((uint64_t)ps_uint_word((uint64_t)word));
    case PS_KEY_FLOAT64: return PyFloat_FromDouble(ps_word_float(word));
    default: return Py_NewRef(ps_key_of(word));
    }
}

static inline PyObject *ps_value_object(const ps_object_tree *self, uint64_t word)
{
    if (self->value_type == PS_VALUE_OBJECT) return Py_NewRef(ps_value_of(word));
    if (self->value_type == PS_VALUE_INT64) return PyLong_FromLongLong((int64_t)word);
    double number;
    memcpy(&number, &word, sizeof number);
    return PyFloat_FromDouble(number);
}

/* Whether an object can be part of no cycle. */
static inline bool ps_is_atom(PyObject *object) { return !PyType_IS_GC(Py_TYPE(object)); }

/* What an entry is to the user: a pair, or in a set its key. */
static inline PyObject *ps_item_object(const ps_object_tree *self, int64_t key, uint64_t value)
{
    PyObject *first = ps_key_object(self, key);
    if (first == NULL || !(self->tree.flags & PS_BTREE_VALUES)) return first;
    PyObject *second = ps_value_object(self, value);
    PyObject *pair = second == NULL ? NULL : PyTuple_New(2);
    if (pair == NULL) {
        Py_DECREF(first);
        Py_XDECREF(second);
        return NULL;
    }
    PyTuple_SET_ITEM(pair, 0, first);
    PyTuple_SET_ITEM(pair, 1, second);
    if (ps_is_atom(first) && ps_is_atom(second)) PyObject_GC_UnTrack(pair); /* as a collection would, which takes longer */
    return pair;
}

/* ---- the order of objects ---- */

static inline int ps_sign(int64_t a, int64_t b) { return (a > b) - (a < b); }

static inline int ps_compare_bytes(const void *a, Py_ssize_t n, const void *b, Py_ssize_t m)
{
    int order = memcmp(a, b, (size_t)(n < m ? n : m));
    return order ? order : ps_sign(n, m);
}

/* Two objects of one exact type, str, bytes, int or float: true, and their order; else false. */
static inline bool ps_compare_plain(PyObject *a, PyObject *b, int *order)
{
    if (PyUnicode_CheckExact(a)) {
        if (PyUnicode_KIND(a) == PyUnicode_1BYTE_KIND && PyUnicode_KIND(b) == PyUnicode_1BYTE_KIND)
            *order = ps_compare_bytes(PyUnicode_1BYTE_DATA(a), PyUnicode_GET_LENGTH(a), PyUnicode_1BYTE_DATA(b),
                                      PyUnicode_GET_LENGTH(b));
        else
            *order = PyUnicode_Compare(a, b);
        return true;
    }
    if (PyLong_CheckExact(a)) {
        int64_t left, right;
        int beyond, other_beyond;
        ps_clamped_int(a, &left, &beyond);
        ps_clamped_int(b, &right, &other_beyond);
        *order = ps_sign(left, right);
        return *order || !(beyond || other_beyond);
    }
    if (PyBytes_CheckExact(a)) {
        *order = ps_compare_bytes(PyBytes_AS_STRING(a), PyBytes_GET_SIZE(a), PyBytes_AS_STRING(b), PyBytes_GET_SIZE(b));
        return true;
    }
    if (PyFloat_CheckExact(a)) {
        double left = PyFloat_AS_DOUBLE(a), right = PyFloat_AS_DOUBLE(b);
        *order = (left > right) - (left < right);
        return left == left && right == right;
    }
    return false;
}

/* Two tuples by their first elements that differ; false where that cannot be told here. */
static inline bool ps_compare_tuples(PyObject *a, PyObject *b, int *order)
{
    Py_ssize_t n = PyTuple_GET_SIZE(a), m = PyTuple_GET_SIZE(b);
    for (Py_ssize_t i = 0; i < n && i < m; i++) {
        PyObject *left = PyTuple_GET_ITEM(a, i), *right = PyTuple_GET_ITEM(b, i);
        if (left == right) continue; /* as tuples do, also for what is not equal to itself */
        if (!Py_IS_TYPE(left, Py_TYPE(right)) || !ps_compare_plain(left, right, order)) return false;
        if (*order) return true;
    }
    *order = ps_sign(n, m);
    return true;
}

static inline bool ps_compare_at_once(PyObject *a, PyObject *b, int *order)
{
    if (!Py_IS_TYPE(a, Py_TYPE(b))) return false;
    return PyTuple_CheckExact(a) ? ps_compare_tuples(a, b, order) : ps_compare_plain(a, b, order);
}

/* Any two objects, by `<` alone. Holds them: what runs may take the tree apart. *stop: an exception is set. */
static int ps_compare_by_less(PyObject *a, PyObject *b, bool *stop)
{
    Py_INCREF(a);
    Py_INCREF(b);
    int order = -PyObject_RichCompareBool(a, b, Py_LT);
    if (order == 0) order = PyObject_RichCompareBool(b, a, Py_LT);
    else if (order > 0) order = -2;
    if (order == -1 && PyErr_Occurred()) order = -2;
    Py_DECREF(a);
    Py_DECREF(b);
    if (order == -2) *stop = true;
    return order;
}

static int ps_compare_objects(void *context, int64_t probe, int64_t key, bool *stop)
{
    int order;
    (void)context;
    if (ps_compare_at_once(ps_key_of(probe), ps_key_of(key), &order)) return order;
    return ps_compare_by_less(ps_key_of(probe), ps_key_of(key), stop);
}

/* ---- hints ---- */

static inline uint64_t ps_load_big(const uint8_t *bytes)
{
    return (uint64_t)bytes[0] << 56 | (uint64_t)bytes[1] << 48 | (uint64_t)bytes[2] << 40 | (uint64_t)bytes[3] << 32 |
           (uint64_t)bytes[4] << 24 | (uint64_t)bytes[5] << 16 | (uint64_t)bytes[6] << 8 | (uint64_t)bytes[7];
}

/* The first eight bytes, as if zeros followed. Shorter ones may read up to the byte after them, which is there in
 * every bytes and str. */
static inline uint64_t ps_prefix(const uint8_t *bytes, Py_ssize_t n)
{
    if (n >= 8) return ps_load_big(bytes);
    uint64_t word = 0;
    for (Py_ssize_t i = 0; i < n; i++) word |= (uint64_t)bytes[i] << (56 - 8 * i);
    return word;
}

static inline int64_t ps_signed(uint64_t word) { return (int64_t)(word ^ UINT64_C(1) << 63); }

/* The first eight characters, each as a byte. Characters from 255 on are one as far as this goes, and what follows
 * one of them says nothing. */
static inline int64_t ps_str_hint(PyObject *key)
{
    Py_ssize_t n = PyUnicode_GET_LENGTH(key);
    if (PyUnicode_IS_ASCII(key)) return ps_signed(ps_prefix(PyUnicode_1BYTE_DATA(key), n));
    int kind = (int)PyUnicode_KIND(key);
    const void *data = PyUnicode_DATA(key);
    uint64_t word = 0;
    for (Py_ssize_t i = 0; i < n && i < 8; i++) {
        Py_UCS4 character = PyUnicode_READ(kind, data, i);
        word |= (uint64_t)(character < 255 ? character : 255) << (56 - 8 * i);
        if (character >= 255) break;
    }
    return ps_signed(word);
}

/* Whether a key has a hint in a family. NaN has none. */
static inline bool ps_fits_plain(unsigned family, PyObject *key)
{
    switch (family) {
    case PS_FAMILY_STR: return PyUnicode_CheckExact(key);
    case PS_FAMILY_BYTES: return PyBytes_CheckExact(key);
    case PS_FAMILY_INT: return PyLong_CheckExact(key);
    case PS_FAMILY_FLOAT: return PyFloat_CheckExact(key) && PyFloat_AS_DOUBLE(key) == PyFloat_AS_DOUBLE(key);
    default: return false;
    }
}

static inline bool ps_fits(unsigned family, PyObject *key)
{
    if (family < PS_FAMILY_TUPLES) return ps_fits_plain(family, key);
    return PyTuple_CheckExact(key) && PyTuple_GET_SIZE(key) > 0 &&
           ps_fits_plain(family - PS_FAMILY_TUPLES, PyTuple_GET_ITEM(key, 0));
}

static inline int64_t ps_hint_of(unsigned family, PyObject *key)
{
    int64_t number;
    int overflow;
    if (family >= PS_FAMILY_TUPLES) {
        key = PyTuple_GET_ITEM(key, 0);
        family -= PS_FAMILY_TUPLES;
    }
    switch (family) {
    case PS_FAMILY_STR: return ps_str_hint(key);
    case PS_FAMILY_BYTES: return ps_signed(ps_prefix((const uint8_t *)PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)));
    case PS_FAMILY_INT: ps_clamped_int(key, &number, &overflow); return number;
    case PS_FAMILY_FLOAT: return ps_float_word(PyFloat_AS_DOUBLE(key));
    default: return 0;
    }
}

static inline unsigned ps_plain_family_of(PyObject *key)
{
    for (unsigned family = PS_FAMILY_STR; family < PS_FAMILY_TUPLES; family++)
        if (ps_fits_plain(family, key)) return family;
    return PS_FAMILY_NONE;
}

/* The family of a tree whose only key this is. */
static unsigned ps_family_of(PyObject *key)
{
    if (!PyTuple_CheckExact(key) || PyTuple_GET_SIZE(key) == 0) return ps_plain_family_of(key);
    unsigned family = ps_plain_family_of(PyTuple_GET_ITEM(key, 0));
    return family == PS_FAMILY_NONE ? PS_FAMILY_NONE : PS_FAMILY_TUPLES + family;
}

static int64_t ps_object_hint(void *context, int64_t key)
{
    return ps_hint_of(((const ps_object_tree *)context)->family, ps_key_of(key));
}

static inline void ps_set_family(ps_object_tree *self, unsigned family)
{
    self->family = (uint8_t)family;
    self->tree.use_hints = family != PS_FAMILY_NONE;
}

/* What is to be looked for; its hint, if it has one. */
static inline void ps_object_probe(const ps_object_tree *self, PyObject *key, ps_btree_probe *probe)
{
    probe->key = (int64_t)(intptr_t)key;
    probe->use_hint = ps_fits(self->family, key);
    if (probe->use_hint) probe->hint = ps_hint_of(self->family, key);
}

/* Whether a key may stand in a tree of objects, as far as that is seen at once; false: ask _arguments.py. */
static inline bool ps_key_at_once(int type, PyObject *key)
{
    if (type == PS_KEY_STR) return PyUnicode_CheckExact(key);
    if (type == PS_KEY_BYTES) return PyBytes_CheckExact(key);
    return !PyFloat_CheckExact(key) || PyFloat_AS_DOUBLE(key) == PyFloat_AS_DOUBLE(key);
}

/* ---- references ---- */

static void ps_retain_words(const void *words, size_t n)
{
    for (size_t i = 0; i < n; i++) Py_INCREF(((PyObject *const *)words)[i]);
}

static void ps_release_words(const void *words, size_t n)
{
    for (size_t i = 0; i < n; i++) Py_DECREF(((PyObject *const *)words)[i]);
}

static void ps_retain_keys(void *context, const int64_t *keys, size_t n)
{
    (void)context;
    for (size_t i = 0; i < n; i++) Py_INCREF(ps_key_of(keys[i]));
}

static void ps_retain_values(void *context, const uint64_t *values, size_t n)
{
    (void)context;
    for (size_t i = 0; i < n; i++) Py_INCREF(ps_value_of(values[i]));
}

static void ps_release_keys(void *context, const int64_t *keys, size_t n)
{
    (void)context;
    for (size_t i = 0; i < n; i++) Py_DECREF(ps_key_of(keys[i]));
}

static void ps_release_values(void *context, const uint64_t *values, size_t n)
{
    (void)context;
    for (size_t i = 0; i < n; i++) Py_DECREF(ps_value_of(values[i]));
}

static const ps_allocator PS_PYTHON_MEMORY = {PyMem_RawRealloc, PyMem_RawFree}; /* seen by tracemalloc */

static ps_btree_owner PS_OBJECT_OWNER = { /* its allocator is set when the module is loaded */
    .compare = ps_compare_objects,
    .hint = ps_object_hint,
    .retain_keys = ps_retain_keys,
    .retain_values = ps_retain_values,
    .release_keys = ps_release_keys,
    .release_values = ps_release_values,
};

/* ---- lifetime ---- */

/* An empty tree of these types; `kind` is PS_BTREE_VALUES, MULTI or both. */
static void ps_object_tree_init(ps_object_tree *self, unsigned kind, int key_type, int value_type)
{
    bool typed = key_type == PS_KEY_INT64 || key_type == PS_KEY_UINT64 || key_type == PS_KEY_FLOAT64;
    unsigned flags = kind | (typed ? 0 : PS_BTREE_OBJECT_KEYS);
    if (kind & PS_BTREE_VALUES && value_type == PS_VALUE_OBJECT) flags |= PS_BTREE_OBJECT_VALUES;
    if (typed && kind == (PS_BTREE_VALUES | PS_BTREE_MULTI)) flags |= PS_BTREE_RUNS; /* a key once for all its values */
    uint64_t changes = self->tree.changes, moves = self->tree.moves; /* of one made anew: iterators see it */
    ps_btree_init(&self->tree, (uint8_t)flags, &PS_OBJECT_OWNER, self);
    self->tree.changes = changes + 1;
    self->tree.moves = moves + 1;
    self->key_type = (uint8_t)key_type;
    self->value_type = (uint8_t)value_type;
    self->frozen = false;
    ps_set_family(self, PS_FAMILY_NONE);
}

/* Makes an empty tree one with the entries of another. */
static void ps_object_tree_share(const ps_object_tree *self, ps_object_tree *into)
{
    ps_btree_snapshot(&self->tree, &into->tree, into);
    into->key_type = self->key_type;
    into->value_type = self->value_type;
    into->frozen = false;
    ps_set_family(into, self->family);
}

/* Two trees change places, but for who they are: their counters go on. Where as many entries come as go, they have the
 * same keys: the caller has only put in or only taken out. */
static void ps_object_tree_swap(ps_object_tree *a, ps_object_tree *b)
{
    ps_object_tree first = *a, second = *b;
    *a = second;
    *b = first;
    a->tree.context = a;
    b->tree.context = b;
    bool other = first.tree.length != second.tree.length;
    a->tree.changes = first.tree.changes + other;
    b->tree.changes = second.tree.changes + other;
    a->tree.moves = first.tree.moves + 1;
    b->tree.moves = second.tree.moves + 1;
}

/* ---- going through a tree ---- */

enum { PS_WALK_ROOM = 32 };

typedef enum { PS_WALK_ITEMS, PS_WALK_KEYS, PS_WALK_VALUES } ps_walk_kind;

/* An iterator's place, and the entries that come next, copied. Their words are good until the tree `moves`. */
typedef struct {
    ps_btree_place place;
    uint64_t changes, moves;
    uint32_t next;      /* index of the entry after those copied; towards the front: of the gap */
    uint32_t remaining; /* entries to come, with those copied */
    uint8_t at, n;      /* of those copied */
    uint8_t room;       /* how many to copy next */
    uint8_t kind;
    bool reverse;
    int64_t keys[PS_WALK_ROOM];
    uint64_t values[PS_WALK_ROOM];
} ps_walk;

/* Copies the next entries. PS_OK with n == 0: a file's counts were wrong, there are none. */
static ps_status ps_walk_fill(ps_walk *walk, const ps_object_tree *of)
{
    const ps_btree *tree = &of->tree;
    ps_status status = PS_OK;
    if (walk->moves != tree->moves) {
        uint32_t unread = (uint32_t)(walk->n - walk->at);
        walk->next = walk->reverse ? walk->next + unread : walk->next - unread;
        walk->at = walk->n = 0;
        walk->room = 1; /* whoever changes a value at each step moves it at each step */
        status = ps_btree_seek_index(tree, walk->next, &walk->place);
        if (status != PS_OK) return status;
        walk->moves = tree->moves;
    }
    size_t most = walk->room < walk->remaining ? walk->room : walk->remaining;
    uint64_t *values = tree->flags & PS_BTREE_VALUES && walk->kind != PS_WALK_KEYS ? walk->values : NULL;
    size_t n = walk->reverse ? ps_btree_read_back(tree, &walk->place, walk->keys, values, most, &status)
                             : ps_btree_read(tree, &walk->place, walk->keys, values, most, &status);
    walk->next = walk->reverse ? walk->next - (uint32_t)n : walk->next + (uint32_t)n;
    walk->at = 0;
    walk->n = (uint8_t)n;
    walk->room = walk->room < PS_WALK_ROOM / 2 ? (uint8_t)(walk->room * 2) : PS_WALK_ROOM;
    return status;
}

/* The next entry that was copied, as a new reference. `pair` is the item given out before, or another object: it is
 * used again if only the iterator still has it, as the items of a dict do. */
static inline PyObject *ps_walk_take(ps_walk *walk, const ps_object_tree *of, PyObject *pair)
{
    unsigned at = walk->at++;
    walk->remaining--;
    if (walk->kind == PS_WALK_KEYS) return ps_key_object(of, walk->keys[at]);
    if (walk->kind == PS_WALK_VALUES) return ps_value_object(of, walk->values[at]);
#ifndef Py_GIL_DISABLED
    if (Py_REFCNT(pair) == 1) {
        PyObject *key = ps_key_object(of, walk->keys[at]);
        PyObject *value = key == NULL ? NULL : ps_value_object(of, walk->values[at]);
        if (value == NULL) {
            Py_XDECREF(key);
            return NULL;
        }
        PyObject *old_key = PyTuple_GET_ITEM(pair, 0), *old_value = PyTuple_GET_ITEM(pair, 1);
        Py_INCREF(pair); /* before anything can run that would find it unused again */
        PyTuple_SET_ITEM(pair, 0, key);
        PyTuple_SET_ITEM(pair, 1, value);
        if (!(ps_is_atom(key) && ps_is_atom(value)) && !PyObject_GC_IsTracked(pair)) PyObject_GC_Track(pair);
        Py_DECREF(old_key);
        Py_DECREF(old_value);
        return pair;
    }
#endif
    return ps_item_object(of, walk->keys[at], walk->values[at]);
}

/* ---- many at once ---- */

static inline PyObject *ps_owned(PyObject *reference) { return reference; }
static inline int ps_reraise(void) { return -1; } /* the exception is set */

/* Copies what a list or tuple has, with a reference of its own to each. */
static void ps_take_references(PyObject *const *elements, int64_t *words, size_t n)
{
    for (size_t i = 0; i < n; i++) words[i] = (int64_t)(intptr_t)Py_NewRef(elements[i]);
}

/* How many keys from the front are of the first one's family, which is *family, and greater than the one before. No
 * code of others runs: what cannot be told without ends it. */
static size_t ps_known_keys(const int64_t *keys, size_t n, unsigned *family)
{
    *family = n > 0 ? ps_family_of(ps_key_of(keys[0])) : PS_FAMILY_NONE;
    if (*family == PS_FAMILY_NONE) return 0;
    size_t i = 1;
    int64_t number, before;
    if (*family == PS_FAMILY_INT && ps_short_int(ps_key_of(keys[0]), &before))
        for (; i < n && PyLong_CheckExact(ps_key_of(keys[i])); i++, before = number)
            if (!ps_short_int(ps_key_of(keys[i]), &number) || number <= before) break;
    for (; i < n && ps_fits(*family, ps_key_of(keys[i])); i++) {
        int order;
        if (!ps_compare_at_once(ps_key_of(keys[i]), ps_key_of(keys[i - 1]), &order) || order <= 0) break;
    }
    return i;
}

/* The hints of all keys; false: one is not of the family. */
static bool ps_hints_of(unsigned family, const int64_t *keys, int64_t *hints, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!ps_fits(family, ps_key_of(keys[i]))) return false;
        hints[i] = ps_hint_of(family, ps_key_of(keys[i]));
    }
    return true;
}

/* Sorts places by the keys there, equal ones in the order given; `room` is for half as many. False: an order cannot be
 * told at once, and the places are anything. */
static bool ps_sort_places(const int64_t *keys, int64_t *places, int64_t *room, size_t n)
{
    if (n < 2) return true;
    size_t half = n / 2, left = 0, right = half, at = 0;
    if (!ps_sort_places(keys, places, room, half) || !ps_sort_places(keys, places + half, room, n - half)) return false;
    memcpy(room, places, half * sizeof *room);
    while (left < half && right < n) {
        int order;
        if (!ps_compare_at_once(ps_key_of(keys[places[right]]), ps_key_of(keys[room[left]]), &order)) return false;
        places[at++] = order < 0 ? places[right++] : room[left++];
    }
    memcpy(places + at, room + left, (half - left) * sizeof *room);
    return true;
}

/* Sorts the places of keys that have the same hint, which stand together; as above, and `room` is for n. */
static bool ps_sort_equal_hints(unsigned family, const int64_t *keys, const int64_t *hints, int64_t *places,
                                int64_t *room, size_t n)
{
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && hints[to] == hints[from];) to++;
        bool is_exact = family == PS_FAMILY_FLOAT ||
                        (family == PS_FAMILY_INT && hints[from] != INT64_MIN && hints[from] != INT64_MAX);
        if (!is_exact && !ps_sort_places(keys, places + from, room, to - from)) return false;
    }
    return true;
}

/* Fills a new list with values that it comes to own too. */
static void ps_fill_list(PyObject *list, const int64_t *words, size_t n)
{
    for (size_t i = 0; i < n; i++) PyList_SET_ITEM(list, (Py_ssize_t)i, Py_NewRef(ps_key_of(words[i])));
}

/* Copies the n entries, n at the least, that follow a place; `values` NULL: keys only. */
static ps_status ps_read_words(const ps_object_tree *self, ps_btree_place *place, int64_t *keys, uint64_t *values,
                               size_t n)
{
    ps_status status = PS_OK;
    for (size_t done = 0; done < n && status == PS_OK;) {
        size_t read = ps_btree_read(&self->tree, place, keys + done, values ? values + done : NULL, n - done, &status);
        if (read == 0 && status == PS_OK) return PS_BROKEN;
        done += read;
    }
    return status;
}

static ps_status ps_read_values(const ps_object_tree *self, ps_btree_place *place, uint64_t *values, size_t n)
{
    ps_status status = PS_OK;
    int64_t keys[64];
    for (size_t done = 0; done < n && status == PS_OK;) {
        size_t most = n - done < 64 ? n - done : 64;
        size_t read = ps_btree_read(&self->tree, place, keys, values + done, most, &status);
        if (read == 0 && status == PS_OK) return PS_BROKEN;
        done += read;
    }
    return status;
}

/* The same with values as objects, into list[first:last], which is new. */
static ps_status ps_list_values(const ps_object_tree *self, ps_btree_place *place, PyObject *list, size_t first,
                                size_t last)
{
    ps_status status = PS_OK;
    int64_t keys[64];
    uint64_t values[64];
    while (first < last && status == PS_OK) {
        size_t most = last - first < 64 ? last - first : 64;
        size_t read = ps_btree_read(&self->tree, place, keys, values, most, &status);
        if (read == 0 && status == PS_OK) return PS_BROKEN;
        for (size_t i = 0; i < read; i++) {
            PyObject *value = ps_value_object(self, values[i]);
            if (value == NULL) return PS_NO_MEMORY;
            PyList_SET_ITEM(list, (Py_ssize_t)first++, value);
        }
    }
    return status;
}

/* A new list of the values of the entries with this key that follow a place, in a tree of numbers. NULL: an exception
 * is set, or *status says why. */
static PyObject *ps_run_of(const ps_object_tree *self, ps_btree_place *place, int64_t key, ps_status *status)
{
    int64_t keys[32];
    size_t n = 0, run, total = 0;
    ps_btree_place first = *place;
    do { /* counted first: making a list may run code */
        n = ps_btree_read(&self->tree, place, keys, NULL, 32, status);
        if (*status != PS_OK) return NULL;
        for (run = 0; run < n && keys[run] == key;) run++;
        total += run;
    } while (run == n && n > 0);
    uint64_t moves = self->tree.moves;
    PyObject *list = PyList_New((Py_ssize_t)total);
    if (list == NULL) return NULL;
    *status = moves == self->tree.moves ? ps_list_values(self, &first, list, 0, total) : PS_CHANGED;
    if (*status == PS_OK) return list;
    Py_DECREF(list);
    return NULL;
}

/* The same into an array of objects, which holds None or NULL. */
static ps_status ps_read_objects(const ps_object_tree *self, ps_btree_place *place, int64_t *keys, PyObject **values,
                                 size_t n)
{
    ps_status status = PS_OK;
    uint64_t words[64];
    for (size_t done = 0; done < n && status == PS_OK;) {
        size_t most = n - done < 64 ? n - done : 64;
        size_t read = ps_btree_read(&self->tree, place, keys + done, words, most, &status);
        if (read == 0 && status == PS_OK) return PS_BROKEN;
        for (size_t i = 0; i < read; i++) {
            PyObject *old = values[done + i];
            values[done + i] = Py_NewRef(ps_value_of(words[i]));
            Py_XDECREF(old);
        }
        done += read;
    }
    return status;
}

/* ---- files ---- */

typedef struct {
    int fd;
    int error; /* errno */
} ps_descriptor;

static bool ps_put_in_descriptor(void *context, const uint8_t *bytes, size_t size)
{
    ps_descriptor *to = context;
    while (size > 0) {
        ssize_t written = write(to->fd, bytes, size);
        if (written < 0 && errno == EINTR) continue; /* a handler runs when the caller is back in Python */
        if (written <= 0) {
            to->error = written < 0 ? errno : EIO;
            return false;
        }
        bytes += written;
        size -= (size_t)written;
    }
    return true;
}

/* Needs no GIL. PS_STOPPED: *error is the errno. */
static ps_status ps_save_tree(const ps_btree *tree, uint8_t key_type, uint8_t value_type, int fd, int *error)
{
    ps_descriptor to = {fd, 0};
    ps_btree_sink sink = {ps_put_in_descriptor, &to};
    ps_status status = ps_btree_write(tree, key_type, value_type, sink, PS_PYTHON_MEMORY);
    *error = to.error;
    return status;
}

/* ---- the garbage collector ----
 *
 * Cython writes traverse and dealloc for the attributes that are objects; ours come before them. Its clear would
 * leave a tree that cannot be used, so ours takes its place: what it does not clear is not part of a cycle. */

static traverseproc ps_traverse_attributes;
static destructor ps_dealloc_attributes;
static size_t ps_tree_offset; /* of the ps_object_tree in the object */
static size_t ps_weakrefs_offset;

static inline ps_object_tree *ps_tree_in(PyObject *self)
{
    return (ps_object_tree *)((char *)self + ps_tree_offset);
}

typedef struct {
    visitproc visit;
    void *arg;
    unsigned flags;
} ps_visit;

static int ps_visit_leaf(const int64_t *keys, const uint64_t *values, size_t n, void *arg)
{
    const ps_visit *to = arg;
    visitproc visit = to->visit;
    arg = to->arg;
    if (to->flags & PS_BTREE_OBJECT_KEYS)
        for (size_t i = 0; i < n; i++) Py_VISIT(ps_key_of(keys[i]));
    if (to->flags & PS_BTREE_OBJECT_VALUES)
        for (size_t i = 0; i < n; i++) Py_VISIT(ps_value_of(values[i]));
    return 0;
}

static int ps_traverse_tree(PyObject *self, visitproc visit, void *arg)
{
    const ps_btree *tree = &ps_tree_in(self)->tree;
    if (tree->flags & (PS_BTREE_OBJECT_KEYS | PS_BTREE_OBJECT_VALUES)) {
        ps_visit to = {visit, arg, tree->flags};
        int stop = ps_btree_traverse(tree, ps_visit_leaf, &to);
        if (stop) return stop;
    }
    return ps_traverse_attributes(self, visit, arg);
}

/* Breaks the cycles that a dead tree is part of. A destructor may still use it, and finds it empty. */
static int ps_clear_tree(PyObject *self)
{
    ps_btree *tree = &ps_tree_in(self)->tree;
    if (tree->flags & (PS_BTREE_OBJECT_KEYS | PS_BTREE_OBJECT_VALUES)) {
        ps_btree_clear(tree);
        ps_btree_release_dead(tree);
    }
    return 0;
}

/* Weak references end before keys and values do: a destructor of theirs must not revive the tree. */
static void ps_dealloc_tree(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, ps_dealloc_tree) /* a tree in a tree in a tree takes no stack */
    if (*(PyObject **)((char *)self + ps_weakrefs_offset) != NULL) PyObject_ClearWeakRefs(self);
    ps_dealloc_attributes(self);
    Py_TRASHCAN_END
}

/* For the base first, then for the types that derive from it and add no attributes. */
static void ps_collect_through(PyTypeObject *type, size_t offset)
{
    if (ps_traverse_attributes == NULL) {
        ps_tree_offset = offset;
        ps_weakrefs_offset = (size_t)type->tp_weaklistoffset;
        ps_traverse_attributes = type->tp_traverse;
        ps_dealloc_attributes = type->tp_dealloc;
    }
    type->tp_traverse = ps_traverse_tree;
    type->tp_clear = ps_clear_tree;
    type->tp_dealloc = ps_dealloc_tree;
}

#endif
