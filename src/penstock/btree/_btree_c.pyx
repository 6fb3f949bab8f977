# cython: freethreading_compatible=False
"""Ordered trees, compiled: the twin of _btree_py.py over csrc/btree.c.

Keys and values are words to the kernel; btree_objects.h says how objects become such, and how objects compare.

A comparison, the conversion of a number, a destructor and, before Python 3.12, the making of a tuple or a list may
run any code, also code that changes the tree. So arguments are converted first; the kernel notices what a comparison
did; what a change needs is made before the place of the change is looked for; and what leaves a tree is let go last.

Without a GIL an iterator that two threads share would need a lock of its own, and calls made of several steps would
come apart where they wait: so this module asks a free-threaded interpreter to keep its GIL.
"""

cimport cython
from cpython.list cimport PyList_New
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.object cimport Py_EQ, Py_LT, PyObject, PyObject_RichCompareBool, PyTypeObject
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, strerror

from types import GenericAlias

from penstock.btree._arguments import (
    KEY_TYPES,
    VALUE_TYPES,
    bad_index,
    base_class,
    broken_tree,
    changed_in_comparison,
    changed_in_iteration,
    check_default,
    checked_fill,
    checked_include,
    checked_index,
    checked_key,
    checked_key_type,
    checked_limit,
    checked_value,
    checked_value_type,
    different_lengths,
    empty_tree,
    frozen_tree,
    full_tree,
    is_array,
    items_list,
    keys_list,
    not_empty,
    typed_array,
    typed_values,
    unsorted_keys,
    untyped_keys,
)

__all__ = ["BTree", "MapTree", "MultiMapTree", "SetTree"]

cdef extern from "<stdbool.h>":
    ctypedef bint cbool "bool"

cdef extern from "radix_sort.h" nogil:
    ps_status ps_radix_sort(int64_t *keys, uint64_t *values, size_t n, ps_allocator allocator)

cdef extern from "btree.h" nogil:
    ctypedef enum ps_status:
        PS_OK
        PS_REFUSED
        PS_EMPTY
        PS_NO_MEMORY
        PS_CHANGED
        PS_STOPPED
        PS_BROKEN

    ctypedef struct ps_allocator:
        pass

    const ps_allocator PS_BTREE_ALLOCATOR

    enum:
        PS_BTREE_VALUES
        PS_BTREE_MULTI
        PS_BTREE_OBJECT_KEYS
        PS_BTREE_OBJECT_VALUES

    ctypedef struct ps_btree_owner:
        ps_allocator allocator

    ctypedef struct ps_btree_pages:
        pass

    ctypedef struct ps_btree:
        uint32_t length
        uint8_t height
        uint8_t flags
        uint64_t changes
        uint64_t moves
        void *dead
        ps_btree_pages *pages

    ctypedef struct ps_btree_probe:
        int64_t key
        bint use_hint

    ctypedef enum ps_btree_side:
        PS_BTREE_BEFORE
        PS_BTREE_AFTER

    ctypedef struct ps_btree_place:
        pass

    ctypedef struct ps_btree_stats:
        uint64_t leaves
        uint64_t inner_nodes
        uint64_t node_bytes
        uint64_t shared_nodes
        double fill

    void ps_btree_clear(ps_btree *tree)
    void ps_btree_snapshot(const ps_btree *tree, ps_btree *into, void *context)
    ps_status ps_btree_get(const ps_btree *tree, int64_t key, uint64_t *value)
    ps_status ps_btree_put(ps_btree *tree, int64_t key, uint64_t value, uint64_t *old, cbool *replaced)
    ps_status ps_btree_seek(
        const ps_btree *tree, const ps_btree_probe *probe, ps_btree_side side, ps_btree_place *place, cbool *found
    )
    ps_status ps_btree_seek_index(const ps_btree *tree, uint32_t index, ps_btree_place *place)
    uint32_t ps_btree_index(const ps_btree *tree, const ps_btree_place *place)
    size_t ps_btree_read(
        const ps_btree *tree, ps_btree_place *place, int64_t *keys, uint64_t *values, size_t most, ps_status *status
    )
    size_t ps_btree_read_back(
        const ps_btree *tree, ps_btree_place *place, int64_t *keys, uint64_t *values, size_t most, ps_status *status
    )
    ps_status ps_btree_insert(ps_btree *tree, ps_btree_place *place, int64_t key, uint64_t value)
    ps_status ps_btree_set_value(ps_btree *tree, ps_btree_place *place, uint64_t value, uint64_t *old)
    ps_status ps_btree_remove(ps_btree *tree, ps_btree_place *place, int64_t *key, uint64_t *value)
    ps_status ps_btree_remove_range(ps_btree *tree, uint32_t first, uint32_t last)
    ps_status ps_btree_split(ps_btree *tree, uint32_t index, ps_btree *right)
    ps_status ps_btree_load(
        ps_btree *tree, const int64_t *keys, const uint64_t *values, size_t n, double fill, size_t *unsorted
    )
    ps_status ps_btree_get_many(
        const ps_btree *tree, const int64_t *keys, size_t n, uint64_t *values, uint8_t *found
    )
    ps_status ps_btree_rank_many(
        const ps_btree *tree, const int64_t *keys, size_t n, ps_btree_side side, int64_t *ranks
    )
    ps_status ps_btree_put_many(
        ps_btree *tree, const int64_t *keys, const uint64_t *values, size_t n, size_t *added
    )
    ps_status ps_btree_remove_many(ps_btree *tree, const int64_t *keys, size_t n, size_t *removed)
    ps_status ps_btree_measure(const ps_btree *tree, ps_btree_stats *stats)
    ps_status ps_btree_check(const ps_btree *tree, const char **rule)

cdef extern from "btree.h":  # these call back, or may run any code
    void ps_btree_release_dead(ps_btree *tree) noexcept

cdef extern from "btree_file.h" nogil:
    enum:
        PS_BTREE_NO_VALUES

    ctypedef struct ps_btree_file:
        pass

    ps_status ps_btree_file_open(ps_btree_file *file, const uint8_t *bytes, size_t size, ps_allocator allocator)
    void ps_btree_file_close(ps_btree_file *file)
    ps_status ps_btree_file_map(ps_btree_file *file, ps_btree *tree)
    uint32_t ps_btree_file_broken(const ps_btree_file *file)

cdef extern from "btree_objects.h":
    ctypedef enum ps_key_type:
        PS_KEY_OBJECT
        PS_KEY_INT64
        PS_KEY_UINT64
        PS_KEY_FLOAT64
        PS_KEY_STR
        PS_KEY_BYTES

    ctypedef enum ps_value_type:
        PS_VALUE_OBJECT
        PS_VALUE_INT64
        PS_VALUE_FLOAT64

    enum:
        PS_FAMILY_NONE

    ctypedef struct ps_object_tree:
        ps_btree tree
        uint8_t key_type
        uint8_t value_type
        uint8_t family
        bint frozen

    ctypedef enum ps_walk_kind:
        PS_WALK_ITEMS
        PS_WALK_KEYS
        PS_WALK_VALUES

    ctypedef struct ps_walk:
        ps_btree_place place
        uint64_t changes
        uint64_t moves
        uint32_t next
        uint32_t remaining
        uint8_t at
        uint8_t n
        uint8_t room
        uint8_t kind
        bint reverse

    const ps_allocator PS_PYTHON_MEMORY
    ps_btree_owner PS_OBJECT_OWNER

    bint ps_is_typed(const ps_object_tree *self)
    bint ps_word_at_once(int type, PyObject *key, int64_t *word)
    bint ps_value_at_once(int type, PyObject *value, uint64_t *word)
    bint ps_key_at_once(int type, PyObject *key)
    object ps_key_object(const ps_object_tree *self, int64_t word)
    object ps_value_object(const ps_object_tree *self, uint64_t word)
    object ps_item_object(const ps_object_tree *self, int64_t key, uint64_t value)
    void ps_map_words(ps_key_type type, const int64_t *source, int64_t *to, size_t n) noexcept nogil
    void ps_map_floats(const double *source, int64_t *to, size_t n) noexcept nogil
    int ps_compare_objects(void *context, int64_t probe, int64_t key, cbool *stop)
    bint ps_fits(unsigned family, PyObject *key)
    unsigned ps_family_of(PyObject *key)
    void ps_set_family(ps_object_tree *self, unsigned family)
    void ps_object_probe(const ps_object_tree *self, PyObject *key, ps_btree_probe *probe)
    void ps_retain_words(const void *words, size_t n)
    void ps_release_words(const void *words, size_t n)
    void ps_object_tree_init(ps_object_tree *self, unsigned kind, int key_type, int value_type)
    void ps_object_tree_share(const ps_object_tree *self, ps_object_tree *into)
    void ps_object_tree_swap(ps_object_tree *a, ps_object_tree *b)
    ps_status ps_walk_fill(ps_walk *walk, const ps_object_tree *of)
    PyObject *ps_walk_take(ps_walk *walk, const ps_object_tree *of, PyObject *pair) except NULL
    object ps_owned(PyObject *reference)
    PyObject **words_of_tuple "ps_elements"(PyObject *tuple)
    int ps_reraise() except -1
    void ps_fill_list(PyObject *list, const int64_t *words, size_t n)
    PyObject *ps_run_of(
        const ps_object_tree *self, ps_btree_place *place, int64_t key, ps_status *status
    ) except? NULL
    ps_status ps_list_values(
        const ps_object_tree *self, ps_btree_place *place, PyObject *list, size_t first, size_t last
    )
    ps_status ps_read_values(const ps_object_tree *self, ps_btree_place *place, uint64_t *values, size_t n)
    ps_status ps_read_words(
        const ps_object_tree *self, ps_btree_place *place, int64_t *keys, uint64_t *values, size_t n
    )
    ps_status ps_read_objects(
        const ps_object_tree *self, ps_btree_place *place, int64_t *keys, PyObject **values, size_t n
    )
    ps_status ps_save_tree(const ps_btree *tree, uint8_t key_type, uint8_t value_type, int fd, int *error) nogil
    void ps_collect_through(PyTypeObject *type, size_t offset)

PS_OBJECT_OWNER.allocator = PS_BTREE_ALLOCATOR

cdef tuple DEFAULT_INCLUDE = (True, False)
cdef object MISSING = object()  # no value, where None is one

cdef enum:
    LONG = 1000  # words from which on work lets go of the GIL


# What is wrong, and what all methods begin and end with -----------------------------------------------------


cdef int failed(BTree self, ps_status status) except -1:
    """Raises what a kernel's status says."""
    if status == PS_STOPPED:
        return ps_reraise()
    if status == PS_CHANGED:
        raise changed_in_comparison()
    if status == PS_NO_MEMORY:
        raise MemoryError()
    if status == PS_BROKEN:
        raise broken_page(self)
    raise full_tree()


cdef inline int check(BTree self, ps_status status) except -1:
    if status != PS_OK:
        return failed(self, status)
    return 0


cdef inline int check_writable(BTree self) except -1:
    if self.of.frozen:
        raise frozen_tree()
    return 0


cdef inline void settle(BTree self) noexcept:
    """Lets go of what has left the tree: any code may run."""
    if self.of.tree.dead is not NULL:
        ps_btree_release_dead(&self.of.tree)


cdef inline unsigned kind_of(BTree self) noexcept:
    return self.of.tree.flags & (PS_BTREE_VALUES | PS_BTREE_MULTI)


cdef inline unsigned types_of(BTree self) noexcept:
    return kind_of(self) | <unsigned>self.of.key_type << 8 | <unsigned>self.of.value_type << 16


cdef inline int check_types(BTree self, unsigned types) except -1:
    """After code of others: words are of the types that the tree had before."""
    if types != types_of(self):
        raise changed_in_comparison()
    return 0


cdef inline int check_unchanged(BTree self, uint64_t changes) except -1:
    """After comparisons, also those in a snapshot: the entries are those that were here before."""
    if changes != self.of.tree.changes:
        raise changed_in_comparison()
    return 0


cdef inline uint8_t has_values(BTree self) noexcept:
    return self.of.tree.flags & PS_BTREE_VALUES


cdef inline uint64_t *value_room(BTree self, uint64_t *value) noexcept:
    """Where to read a value to: a set has none."""
    return value if has_values(self) else NULL


# One key, one value -----------------------------------------------------------------------------------------


cdef inline int probe_for(BTree self, object key, ps_btree_probe *probe, str name="key") except -1:
    """What looks for `key`, an argument called `name`."""
    if ps_is_typed(&self.of):
        probe.use_hint = False
        if not ps_word_at_once(self.of.key_type, <PyObject *>key, &probe.key):
            return probe_for_other(self, key, probe, name)
    else:
        if not ps_key_at_once(self.of.key_type, <PyObject *>key):
            checked_key(key, KEY_TYPES[self.of.key_type], name)
        ps_object_probe(&self.of, <PyObject *>key, probe)
    return 0


cdef int probe_for_other(BTree self, object key, ps_btree_probe *probe, str name) except -1:
    """For what is no exact int or float."""
    cdef unsigned types = types_of(self)
    number = checked_key(key, KEY_TYPES[self.of.key_type], name)
    check_types(self, types)
    if not ps_word_at_once(self.of.key_type, <PyObject *>number, &probe.key):
        raise AssertionError(f"{name} was checked and still is no {KEY_TYPES[self.of.key_type]}")
    return 0


cdef inline int value_word(BTree self, object value, uint64_t *word) except -1:
    """The word of a value; borrowed where it is an object."""
    if not ps_value_at_once(self.of.value_type, <PyObject *>value, word):
        return word_of_other_value(self, value, word)
    return 0


cdef int word_of_other_value(BTree self, object value, uint64_t *word) except -1:
    cdef unsigned types = types_of(self)
    number = checked_value(value, VALUE_TYPES[self.of.value_type])
    check_types(self, types)
    if not ps_value_at_once(self.of.value_type, <PyObject *>number, word):
        raise AssertionError(f"value was checked and still is no {VALUE_TYPES[self.of.value_type]}")
    return 0


cdef inline int seek(
    BTree self, ps_btree_probe *probe, ps_btree_side side, ps_btree_place *place, cbool *found
) except -1:
    return check(self, ps_btree_seek(&self.of.tree, probe, side, place, found))


cdef inline int find(BTree self, ps_btree_probe *probe, uint64_t *value) except -1:
    """Whether there is such a key; the (first) value of it, borrowed."""
    cdef ps_status status
    cdef ps_btree_place place
    cdef cbool found
    cdef int64_t key
    if ps_is_typed(&self.of):
        status = ps_btree_get(&self.of.tree, probe.key, value)
        if status == PS_EMPTY:
            return False
        check(self, status)
        return True
    seek(self, probe, PS_BTREE_BEFORE, &place, &found)
    if found and has_values(self):
        ps_btree_read(&self.of.tree, &place, &key, value, 1, &status)
    return found


@cython.critical_section
cdef object look_up(BTree self, object key):
    """The value of `key`; MISSING if there is none."""
    cdef ps_btree_probe probe
    cdef uint64_t value
    probe_for(self, key, &probe)
    return ps_value_object(&self.of, value) if find(self, &probe, &value) else MISSING


cdef int begin_family(BTree self, object key, ps_btree_probe *probe) except -1:
    """Called with the first key of an empty tree: refuses one that has no order."""
    cdef unsigned family = ps_family_of(<PyObject *>key)
    cdef uint64_t changes = self.of.tree.changes
    if family == PS_FAMILY_NONE:
        PyObject_RichCompareBool(key, key, Py_LT)
        check_unchanged(self, changes)
    ps_set_family(&self.of, family)
    ps_object_probe(&self.of, <PyObject *>key, probe)
    return 0


cdef int insert_object(BTree self, object key, uint64_t value) except -1:
    """Stores an entry in a tree whose keys are objects; whether there is one more."""
    cdef ps_btree_probe probe
    cdef ps_btree_place place
    cdef cbool found
    cdef uint64_t old
    cdef bint holds = (self.of.tree.flags & PS_BTREE_OBJECT_VALUES) != 0
    probe_for(self, key, &probe)
    if self.of.tree.length == 0:
        begin_family(self, key, &probe)
    cdef bint multi = (self.of.tree.flags & PS_BTREE_MULTI) != 0
    seek(self, &probe, PS_BTREE_AFTER if multi else PS_BTREE_BEFORE, &place, &found)
    if found and not multi:
        if not has_values(self):
            return False
        check(self, ps_btree_set_value(&self.of.tree, &place, value, &old))
        if holds:
            Py_INCREF(<object><PyObject *>value)
        settle(self)
        if holds:
            Py_XDECREF(<PyObject *>old)
        return False
    if not probe.use_hint and self.of.family != PS_FAMILY_NONE:
        ps_set_family(&self.of, PS_FAMILY_NONE)
    Py_INCREF(key)
    if holds:
        Py_INCREF(<object><PyObject *>value)
    cdef ps_status status = ps_btree_insert(&self.of.tree, &place, <int64_t><PyObject *>key, value)
    if status != PS_OK:
        Py_XDECREF(<PyObject *>key)
        if holds:
            Py_XDECREF(<PyObject *>value)
        return failed(self, status)
    settle(self)
    return True


cdef inline int insert_typed(BTree self, int64_t key, uint64_t value) except -1:
    """The same for a tree of numbers; replaces, except in a multimap."""
    cdef uint64_t old
    cdef cbool replaced
    cdef bint holds = (self.of.tree.flags & PS_BTREE_OBJECT_VALUES) != 0
    if holds:
        Py_INCREF(<object><PyObject *>value)
    cdef ps_status status = ps_btree_put(&self.of.tree, key, value, &old, &replaced)
    if status != PS_OK:
        if holds:
            Py_XDECREF(<PyObject *>value)
        return failed(self, status)
    settle(self)
    if replaced and holds:
        Py_XDECREF(<PyObject *>old)
    return not replaced


@cython.critical_section
cdef int insert(BTree self, object key, object value) except -1:
    """Stores an entry: in a map for its key, in a multimap after its equals; whether there is one more."""
    cdef ps_btree_probe probe
    cdef uint64_t word = 0
    check_writable(self)
    cdef bint typed = ps_is_typed(&self.of)
    if typed:
        probe_for(self, key, &probe)
    if has_values(self):
        value_word(self, value, &word)
    return insert_typed(self, probe.key, word) if typed else insert_object(self, key, word)


cdef int remove_at(BTree self, ps_btree_place *place) except -1:
    """Removes the entry that follows."""
    cdef int64_t key
    cdef uint64_t value
    check(self, ps_btree_remove(&self.of.tree, place, &key, &value))
    cdef uint8_t flags = self.of.tree.flags
    settle(self)
    if flags & PS_BTREE_OBJECT_KEYS:
        Py_XDECREF(<PyObject *>key)
    if flags & PS_BTREE_OBJECT_VALUES:
        Py_XDECREF(<PyObject *>value)
    return 0


@cython.critical_section
cdef object take(BTree self, object key):
    """Removes the (first) entry of `key` and returns its value, True for a set; MISSING if there is none."""
    cdef ps_btree_probe probe
    cdef ps_btree_place place, ahead
    cdef ps_status status
    cdef cbool found
    cdef int64_t word
    cdef uint64_t value
    check_writable(self)
    probe_for(self, key, &probe)
    seek(self, &probe, PS_BTREE_BEFORE, &place, &found)
    if not found:
        return MISSING
    taken = True
    if has_values(self):
        ahead = place
        ps_btree_read(&self.of.tree, &ahead, &word, &value, 1, &status)
        check(self, status)
        taken = ps_value_object(&self.of, value)  # numbers: makes nothing that a collection would begin with
    remove_at(self, &place)
    return taken


@cython.critical_section
cdef object item_at(BTree self, uint32_t index, bint remove):
    """The item at an index, which is there; removes it if asked to."""
    cdef ps_btree_place place, ahead
    cdef ps_status status = PS_OK
    cdef int64_t key
    cdef uint64_t value = 0
    cdef uint64_t moves = self.of.tree.moves
    if index >= self.of.tree.length:  # another thread has been here
        raise bad_index(index, self.of.tree.length)
    check(self, ps_btree_seek_index(&self.of.tree, index, &place))
    ahead = place
    if ps_btree_read(&self.of.tree, &ahead, &key, value_room(self, &value), 1, &status) == 0:
        failed(self, PS_BROKEN)
    item = ps_item_object(&self.of, key, value)
    if remove:
        if moves != self.of.tree.moves:
            raise changed_in_comparison()  # by a destructor, in a collection that making the pair has begun
        remove_at(self, &place)
    return item


cdef inline int64_t index_of(BTree self, object index) except -1:
    """An index as one from the front."""
    cdef int64_t at
    if ps_word_at_once(PS_KEY_INT64, <PyObject *>index, &at) and 0 <= at < self.of.tree.length:
        return at
    return checked_index(index, self.of.tree.length)


@cython.critical_section
cdef object neighbour(BTree self, object key, ps_btree_side side, bint ahead):
    """The item before or after the gap on that side of `key`; None if there is none."""
    cdef ps_btree_probe probe
    cdef ps_btree_place place
    cdef ps_status status = PS_OK
    cdef cbool found
    cdef int64_t word
    cdef uint64_t value = 0
    cdef size_t n
    probe_for(self, key, &probe)
    seek(self, &probe, side, &place, &found)
    if ahead:
        n = ps_btree_read(&self.of.tree, &place, &word, value_room(self, &value), 1, &status)
    else:
        n = ps_btree_read_back(&self.of.tree, &place, &word, value_room(self, &value), 1, &status)
    check(self, status)
    return ps_item_object(&self.of, word, value) if n else None


@cython.critical_section
cdef int64_t rank_of(BTree self, object key, ps_btree_side side) except -1:
    cdef ps_btree_probe probe
    cdef ps_btree_place place
    cdef cbool found
    probe_for(self, key, &probe)
    seek(self, &probe, side, &place, &found)
    return ps_btree_index(&self.of.tree, &place)


# Ranges -------------------------------------------------------------------------------------------------------


cdef object included_by(dict options):
    """The argument `include` of a range; a parameter cannot have that name, it is a word of Cython's."""
    if not options:
        return DEFAULT_INCLUDE
    given = options.pop("include", DEFAULT_INCLUDE)
    for name in options:
        raise TypeError(f"a range has no argument {name!r}")
    return given


cdef inline int sides(object included, ps_btree_side *at_min, ps_btree_side *at_max) except -1:
    if included is not DEFAULT_INCLUDE:
        included = checked_include(included)
    at_min[0] = PS_BTREE_BEFORE if (<tuple>included)[0] is True else PS_BTREE_AFTER
    at_max[0] = PS_BTREE_AFTER if (<tuple>included)[1] is True else PS_BTREE_BEFORE
    return 0


cdef int bounds(
    BTree self, object min, object max, object included, uint32_t *first, uint32_t *last, ps_btree_place *place,
    bint at_last
) except -1:
    """The entries of a range, [first, last), and the place of the first of them, or of the end."""
    cdef ps_btree_side at_min, at_max
    cdef ps_btree_probe low, high
    cdef ps_btree_place other
    cdef cbool found
    cdef uint64_t changes, moves
    sides(included, &at_min, &at_max)
    cdef unsigned types = types_of(self)
    if min is not None:
        probe_for(self, min, &low, "min")
    if max is not None:
        probe_for(self, max, &high, "max")
    check_types(self, types)
    changes, moves = self.of.tree.changes, self.of.tree.moves
    first[0], last[0] = 0, self.of.tree.length
    if min is not None:
        seek(self, &low, at_min, other_of(place, &other, not at_last), &found)
        first[0] = ps_btree_index(&self.of.tree, other_of(place, &other, not at_last))
    if max is not None:
        seek(self, &high, at_max, other_of(place, &other, at_last), &found)
        last[0] = ps_btree_index(&self.of.tree, other_of(place, &other, at_last))
    check_unchanged(self, changes)
    if last[0] < first[0]:
        last[0] = first[0]
    if moves != self.of.tree.moves or (max if at_last else min) is None:
        check(self, ps_btree_seek_index(&self.of.tree, last[0] if at_last else first[0], place))
    return 0


cdef inline ps_btree_place *other_of(ps_btree_place *place, ps_btree_place *other, bint wanted) noexcept:
    return place if wanted else other


cdef int equals(
    BTree self, object key, uint32_t *first, uint32_t *last, ps_btree_place *place
) except -1:
    """The entries of one key, [first, last), and the place of the first."""
    cdef ps_btree_probe probe
    cdef ps_btree_place after
    cdef cbool found
    cdef uint64_t changes = self.of.tree.changes, moves
    probe_for(self, key, &probe)
    seek(self, &probe, PS_BTREE_BEFORE, place, &found)
    moves = self.of.tree.moves
    first[0] = last[0] = ps_btree_index(&self.of.tree, place)
    if not found:
        return 0
    seek(self, &probe, PS_BTREE_AFTER, &after, &found)
    last[0] = ps_btree_index(&self.of.tree, &after)
    check_unchanged(self, changes)
    if last[0] < first[0]:  # `<` lies
        last[0] = first[0]
    if moves != self.of.tree.moves:
        check(self, ps_btree_seek_index(&self.of.tree, first[0], place))
    return 0


cdef class Walk:
    """An iterator over part of a tree, in either direction."""

    cdef BTree tree  # None: at its end
    cdef object pair  # the item given out last
    cdef ps_walk walk

    def __iter__(self):
        return self

    def __length_hint__(self):
        return 0 if self.tree is None else self.walk.remaining

    def __next__(self):
        cdef PyObject *entry = step(self)
        if entry is NULL:
            raise StopIteration
        return ps_owned(entry)


cdef inline PyObject *step(Walk self) except? NULL:
    """The next entry, a new reference; NULL without an error at the end."""
    cdef BTree tree = self.tree
    cdef PyObject *entry
    if tree is None:
        return NULL
    with cython.critical_section(tree):
        if self.walk.changes != tree.of.tree.changes:
            raise changed_in_iteration()
        if self.walk.at == self.walk.n or self.walk.moves != tree.of.tree.moves:
            if self.walk.remaining:
                check(tree, ps_walk_fill(&self.walk, &tree.of))
            if self.walk.at == self.walk.n:
                self.tree = self.pair = None
                return NULL
        entry = ps_walk_take(&self.walk, &tree.of, <PyObject *>self.pair)
        if self.walk.kind == PS_WALK_ITEMS and entry != <PyObject *>self.pair:
            self.pair = <object>entry
    return entry


@cython.critical_section
cdef Walk walk_all(BTree self, ps_walk_kind kind, bint reverse):
    cdef Walk made = Walk.__new__(Walk)
    cdef uint32_t length = self.of.tree.length
    check(self, ps_btree_seek_index(&self.of.tree, length if reverse else 0, &made.walk.place))
    begin_walk(made, self, kind, reverse, length if reverse else 0, length)
    return made


cdef inline void begin_walk(
    Walk made, BTree tree, ps_walk_kind kind, bint reverse, uint32_t first, uint32_t n
) noexcept:
    made.tree = tree
    made.walk.changes, made.walk.moves = tree.of.tree.changes, tree.of.tree.moves
    made.walk.next, made.walk.remaining, made.walk.room = first, n, 8
    made.walk.kind = kind if has_values(tree) else PS_WALK_KEYS
    made.walk.reverse = reverse


@cython.critical_section
cdef Walk walk_range(
    BTree self, object min, object max, object included, object reverse, object limit, ps_walk_kind kind
):
    cdef Walk made = Walk.__new__(Walk)
    cdef uint32_t first, last, n
    cdef bint backwards = reverse
    if limit is not None:
        limit = checked_limit(limit)
    bounds(self, min, max, included, &first, &last, &made.walk.place, backwards)
    n = last - first
    if limit is not None and limit < n:
        n = limit
    begin_walk(made, self, kind, backwards, last if backwards else first, n)
    return made


cdef list values_of_key(BTree self, object key):
    cdef uint32_t first, last
    cdef ps_btree_place place
    cdef ps_btree_probe probe
    cdef uint64_t moves
    cdef ps_status status = PS_OK
    cdef PyObject *values
    cdef cbool found
    if ps_is_typed(&self.of):
        probe_for(self, key, &probe)
        seek(self, &probe, PS_BTREE_BEFORE, &place, &found)
        values = ps_run_of(&self.of, &place, probe.key, &status)
        check(self, status)
        return ps_owned(values)
    equals(self, key, &first, &last, &place)
    moves = self.of.tree.moves
    answer = PyList_New(last - first)
    if moves != self.of.tree.moves:  # by a destructor, in a collection that making the list has begun
        raise changed_in_comparison()
    check(self, ps_list_values(&self.of, &place, <PyObject *>answer, 0, last - first))
    return answer


cdef list listed(BTree self, uint32_t first, uint32_t last, ps_walk_kind kind):
    """Entries [first, last) as a list."""
    cdef Walk walk = Walk.__new__(Walk)
    check(self, ps_btree_seek_index(&self.of.tree, first, &walk.walk.place))
    begin_walk(walk, self, kind, False, first, last - first)
    return list(walk)


# Many keys and values -------------------------------------------------------------------------------------------


cdef class Words:
    """Keys or values as words: of an array or a tuple that `kept` holds, or of memory of its own."""

    cdef int64_t *at
    cdef size_t n
    cdef int64_t *own
    cdef object kept

    def __dealloc__(self):
        PyMem_RawFree(self.own)


cdef int allocate(Words words, size_t n) except -1:
    words.own = <int64_t *>PyMem_RawMalloc((n if n else 1) * sizeof(int64_t))
    if words.own is NULL:
        raise MemoryError()
    words.at, words.n = words.own, n
    return 0


cdef int own(Words words) except -1:
    """Gives the words memory of their own, which may be written to."""
    cdef const int64_t *borrowed = words.at
    if words.own is NULL:
        allocate(words, words.n)
        memcpy(words.own, borrowed, words.n * sizeof(int64_t))
    return 0


cdef size_t data_of(object array, void **data, int flags) except? 0:
    """Where a contiguous array has its elements, as long as it lives; how many of 8 bytes."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, flags)
    data[0] = view.buf
    cdef size_t n = view.len // 8
    PyBuffer_Release(&view)  # who holds the array holds its memory
    return n


cdef Words key_words(BTree self, object keys):
    """The keys of a typed tree as words."""
    cdef Words words = Words()
    cdef unsigned types = types_of(self)
    cdef int type = self.of.key_type
    cdef size_t i
    cdef void *data = NULL
    cdef PyObject **kept_words
    if not is_array(keys):
        if not isinstance(keys, (list, tuple)):
            keys = items_list(keys, "keys")
        kept = tuple(keys)  # others may change a list while a word of ours is made
        allocate(words, len(kept))
        kept_words = words_of_tuple(<PyObject *>kept)
        for i in range(words.n):
            if not ps_word_at_once(type, kept_words[i], &words.own[i]):
                break
        else:
            check_types(self, types)
            return words
        PyMem_RawFree(words.own)
        words.own = NULL
        keys = kept
    array = typed_array(keys, KEY_TYPES[type], "keys")
    check_types(self, types)
    words.n = data_of(array, &data, PyBUF_SIMPLE)
    words.kept = array
    if type == PS_KEY_INT64:
        words.at = <int64_t *>data
    else:
        allocate(words, words.n)
        if type == PS_KEY_FLOAT64:
            ps_map_floats(<const double *>data, words.own, words.n)
        else:
            ps_map_words(PS_KEY_UINT64, <const int64_t *>data, words.own, words.n)
    return words


cdef Words value_words(BTree self, object values):
    """The values as words, borrowed where they are objects."""
    cdef Words words = Words()
    cdef unsigned types = types_of(self)
    cdef int type = self.of.value_type
    cdef size_t i
    cdef void *data = NULL
    if type == PS_VALUE_OBJECT or not is_array(values):
        if not isinstance(values, (list, tuple)):
            values = items_list(values, "values")
        words.kept = tuple(values)
        words.n = len(<tuple>words.kept)
        if type == PS_VALUE_OBJECT:
            words.at = <int64_t *>words_of_tuple(<PyObject *>words.kept)
            check_types(self, types)
            return words
        allocate(words, words.n)
        for i in range(words.n):
            if not ps_value_at_once(type, words_of_tuple(<PyObject *>words.kept)[i], <uint64_t *>&words.own[i]):
                break
        else:
            check_types(self, types)
            return words
        PyMem_RawFree(words.own)
        words.own = NULL
        values = words.kept
    words.kept = typed_values(values, VALUE_TYPES[type], "values")
    check_types(self, types)
    words.n = data_of(words.kept, &data, PyBUF_SIMPLE)
    words.at = <int64_t *>data
    return words


cdef Words object_words(BTree self, object keys):
    """The keys of a tree of objects, checked, as words that `kept` holds."""
    cdef Words words = Words()
    cdef unsigned types = types_of(self)
    cdef int type = self.of.key_type
    cdef size_t i
    if not isinstance(keys, (list, tuple)):
        keys = items_list(keys, "keys")
    words.kept = tuple(keys)
    words.n = len(<tuple>words.kept)
    words.at = <int64_t *>words_of_tuple(<PyObject *>words.kept)
    for i in range(words.n):
        if not ps_key_at_once(type, <PyObject *>words.at[i]):
            keys_list(words.kept, KEY_TYPES[type], "keys")  # raises, unless all are instances of subclasses
            break
    check_types(self, types)
    return words


cdef object new_array(size_t n, object dtype, void **data):
    from numpy import empty

    array = empty(n, dtype)
    data_of(array, data, PyBUF_WRITABLE)
    return array


cdef str key_dtype(BTree self):
    if not ps_is_typed(&self.of):
        raise untyped_keys(KEY_TYPES[self.of.key_type])
    return KEY_TYPES[self.of.key_type]


cdef BTree new_of_class(BTree self):
    if has_values(self):
        if self.of.tree.flags & PS_BTREE_MULTI:
            return MultiMapTree.__new__(type(self))
        return MapTree.__new__(type(self))
    return SetTree.__new__(type(self))


cdef BTree shared(BTree self):
    """A tree with the same entries and types; the two change apart."""
    cdef unsigned types = types_of(self)
    cdef BTree made = new_of_class(self)
    check_types(self, types)
    ps_object_tree_share(&self.of, &made.of)
    made.mapped = self.mapped
    return made


cdef int adopt(BTree self, BTree work, uint64_t changes, uint64_t moves) except -1:
    """Makes the entries of `work` those of `self`, if nobody has changed it since."""
    check_writable(self)
    if changes != self.of.tree.changes or moves != self.of.tree.moves or types_of(self) != types_of(work):
        raise changed_in_comparison()
    ps_object_tree_swap(&self.of, &work.of)
    self.mapped, work.mapped = work.mapped, self.mapped
    return 0


cdef size_t ascending(const int64_t *words, size_t n, bint strictly) noexcept nogil:
    """The index of the first that is less than the one before (strictly: not greater); 0: there is none."""
    cdef size_t i
    for i in range(1, n):
        if words[i] < words[i - 1] or (strictly and words[i] == words[i - 1]):
            return i
    return 0


cdef size_t ascending_objects(Words keys, bint strictly) except? 0:
    """The same for objects."""
    cdef size_t i
    cdef int order
    cdef cbool stop = False
    for i in range(1, keys.n):
        order = ps_compare_objects(NULL, keys.at[i], keys.at[i - 1], &stop)
        if stop:
            ps_reraise()
        if order < 0 or (strictly and order == 0):
            return i
    return 0


cdef Words sorted_objects(Words keys, Words values):
    """The keys in order, equal ones in the order given, and the values along with them."""
    cdef Words ordered = Words()
    cdef size_t i, at
    order = sorted(range(keys.n), key=(<tuple>keys.kept).__getitem__)
    ordered.kept = tuple([(<tuple>keys.kept)[i] for i in order])
    ordered.n = keys.n
    ordered.at = <int64_t *>words_of_tuple(<PyObject *>ordered.kept)
    if values is None:
        return ordered
    cdef Words moved = Words()
    allocate(moved, values.n)
    for i, at in enumerate(order):
        moved.own[i] = values.at[at]
    PyMem_RawFree(values.own)
    values.own = values.at = moved.own
    moved.own = NULL
    return ordered


cdef size_t distinct(BTree self, Words keys, Words values) except? 0:
    """Leaves the first of equal keys, with the last of their values, in words of one's own; how many there are."""
    cdef size_t i, n = 0
    cdef bint equal, typed = ps_is_typed(&self.of)
    cdef cbool stop = False
    own(keys)
    if values is not None:
        own(values)
    for i in range(keys.n):
        if n == 0:
            equal = False
        elif typed:
            equal = keys.own[n - 1] == keys.own[i]
        else:
            equal = ps_compare_objects(NULL, keys.own[n - 1], keys.own[i], &stop) == 0
            if stop:
                ps_reraise()
        if not equal:
            keys.own[n] = keys.own[i]
            n += 1
        if values is not None:
            values.own[n - 1] = values.own[i]
    keys.n = n
    if values is not None:
        values.n = n
    return n


cdef int load_words(BTree self, Words keys, Words values, double fill) except -1:
    """Fills an empty tree with entries in order."""
    cdef uint8_t flags = self.of.tree.flags
    cdef size_t i, unsorted = 0
    cdef unsigned family
    if flags & PS_BTREE_OBJECT_KEYS:
        family = ps_family_of(<PyObject *>keys.at[0]) if keys.n else PS_FAMILY_NONE
        for i in range(keys.n):
            if not ps_fits(family, <PyObject *>keys.at[i]):
                family = PS_FAMILY_NONE
                break
        ps_set_family(&self.of, family)
        ps_retain_words(keys.at, keys.n)
    if flags & PS_BTREE_OBJECT_VALUES:
        ps_retain_words(values.at, values.n)
    cdef ps_status status = ps_btree_load(
        &self.of.tree, keys.at, NULL if values is None else <uint64_t *>values.at, keys.n, fill, &unsorted
    )
    if status == PS_OK:
        return 0
    if flags & PS_BTREE_OBJECT_KEYS:
        ps_release_words(keys.at, keys.n)
    if flags & PS_BTREE_OBJECT_VALUES:
        ps_release_words(values.at, values.n)
    if status == PS_REFUSED and unsorted < keys.n:
        raise unsorted_at(self, keys, unsorted)
    return failed(self, status)


cdef object unsorted_at(BTree self, Words keys, size_t at):
    return unsorted_keys(ps_key_object(&self.of, keys.at[at]), ps_key_object(&self.of, keys.at[at - 1]), at)


cdef int check_lengths(Words keys, Words values) except -1:
    if values is not None and keys.n != values.n:
        raise different_lengths(keys.n, values.n)
    return 0


@cython.critical_section
cdef object insert_all(BTree self, object keys, object values, bint is_sorted):
    """Inserts all entries or none; how many there are more."""
    cdef Words words, moved = None
    cdef bint typed = ps_is_typed(&self.of), first_try = True
    cdef size_t wrong
    cdef uint64_t changes, moves
    cdef unsigned types = types_of(self)
    cdef object added  # an int made before the change, which then cannot fail
    cdef BTree work
    check_writable(self)
    words = key_words(self, keys) if typed else object_words(self, keys)
    if has_values(self):
        moved = value_words(self, values)
    check_lengths(words, moved)
    check_types(self, types)
    changes, moves = self.of.tree.changes, self.of.tree.moves
    if typed:
        sort_words(self, words, moved, is_sorted)
        check_types(self, types)
        changes, moves = self.of.tree.changes, self.of.tree.moves
    else:
        wrong = ascending_objects(words, False)
        if wrong and is_sorted:
            raise unsorted_at(self, words, wrong)
        if wrong:
            words = sorted_objects(words, moved)
        check_types(self, types)
    work = with_entries(self, words, moved, words.n < LONG)
    if typed and (changes != self.of.tree.changes or moves != self.of.tree.moves):
        changes, moves = self.of.tree.changes, self.of.tree.moves  # another thread was faster: now it has to wait
        check_types(self, types)
        work = with_entries(self, words, moved, True)
    added = work.of.tree.length - self.of.tree.length
    adopt(self, work, changes, moves)
    return added


cdef BTree with_entries(BTree self, Words keys, Words values, bint keep_gil):
    """A new tree with the entries of `self` and others, which are sorted."""
    cdef BTree work = shared(self), made
    cdef bint typed = ps_is_typed(&self.of)
    cdef size_t i
    if typed and not self.of.tree.flags & PS_BTREE_OBJECT_VALUES:
        put_words(work, keys, values, keep_gil)
        return work
    if keys.n <= 1 or keys.n < work.of.tree.length // 8:
        for i in range(keys.n):
            insert_one(work, keys, values, i, typed)
        return work
    if not work.of.tree.flags & PS_BTREE_MULTI:
        distinct(work, keys, values)
    if work.of.tree.length:
        keys, values = merged(work, keys, values)
    made = new_of_class(work)
    ps_object_tree_init(&made.of, kind_of(work), work.of.key_type, work.of.value_type)
    load_words(made, keys, values, 0.9)
    return made


cdef tuple merged(BTree self, Words keys, Words values):
    """Keys and values of a tree that nobody else has, and of sorted entries that come into it, in order."""
    cdef Words all_keys = Words(), all_values = None
    cdef uint32_t length = self.of.tree.length
    cdef size_t i = 0, j = 0, n = 0
    cdef int order
    cdef bint typed = ps_is_typed(&self.of), multi = (self.of.tree.flags & PS_BTREE_MULTI) != 0
    cdef cbool stop = False
    cdef ps_btree_place place
    cdef Words old_keys = Words(), old_values = Words()
    allocate(old_keys, length)
    allocate(all_keys, length + keys.n)
    if values is not None:
        all_values = Words()
        allocate(old_values, length)
        allocate(all_values, length + keys.n)
    check(self, ps_btree_seek_index(&self.of.tree, 0, &place))
    check(self, ps_read_words(&self.of, &place, old_keys.own, <uint64_t *>old_values.own, length))
    while i < keys.n or j < length:
        if i == keys.n:
            order = 1
        elif j == length:
            order = -1
        elif typed:
            order = (keys.at[i] > old_keys.own[j]) - (keys.at[i] < old_keys.own[j])
        else:
            order = ps_compare_objects(NULL, keys.at[i], old_keys.own[j], &stop)
            if stop:
                ps_reraise()
        if order > 0 or (order == 0 and multi):
            all_keys.own[n] = old_keys.own[j]
            if values is not None:
                all_values.own[n] = old_values.own[j]
            j += 1
        else:
            all_keys.own[n] = old_keys.own[j] if order == 0 else keys.at[i]
            if values is not None:
                all_values.own[n] = values.at[i]
            i += 1
            j += order == 0
        n += 1
    all_keys.n, all_keys.kept = n, keys  # what is borrowed there
    if values is not None:
        all_values.n, all_values.kept = n, values
    return all_keys, all_values


cdef int mark_members(BTree self, Words keys, uint8_t *found) except -1:
    """Which of the ascending keys are in a tree of objects that nobody else has: goes through both once."""
    cdef int64_t held[64]
    cdef size_t i = 0, j = 0, n = 0
    cdef int order
    cdef cbool stop = False
    cdef ps_status status = PS_OK
    cdef ps_btree_place place
    check(self, ps_btree_seek_index(&self.of.tree, 0, &place))
    while i < keys.n:
        if j == n:
            j, n = 0, ps_btree_read(&self.of.tree, &place, held, NULL, 64, &status)
            check(self, status)
        order = ps_compare_objects(NULL, keys.at[i], held[j], &stop) if n else -1
        if stop:
            ps_reraise()
        if order > 0:
            j += 1
        else:
            found[i] = order == 0
            i += 1
    return 0


cdef inline int insert_one(BTree self, Words keys, Words values, size_t at, bint typed) except -1:
    cdef uint64_t value = 0 if values is None else <uint64_t>values.at[at]
    if typed:
        return insert_typed(self, keys.at[at], value)
    return insert_object(self, <object><PyObject *>keys.at[at], value)


cdef int sort_words(BTree self, Words keys, Words values, bint is_sorted) except -1:
    """Sorts typed keys with their values; refuses what was said to be sorted and is not.

    Both are in memory of one's own after it: nobody writes to what was found in order.
    """
    cdef size_t wrong
    cdef ps_status status
    cdef uint64_t *moved = NULL
    own(keys)
    if values is not None:
        own(values)
        moved = <uint64_t *>values.own
    wrong = ascending(keys.own, keys.n, False)
    if not wrong:
        return 0
    if is_sorted:
        raise unsorted_at(self, keys, wrong)
    if keys.n < LONG:
        status = ps_radix_sort(keys.own, moved, keys.n, PS_PYTHON_MEMORY)
    else:
        with nogil:
            status = ps_radix_sort(keys.own, moved, keys.n, PS_PYTHON_MEMORY)
    return check(self, status)


cdef int put_words(BTree work, Words keys, Words values, bint keep_gil) except -1:
    """Puts sorted numbers in a tree that nobody else has yet."""
    cdef ps_status status
    cdef size_t added
    cdef uint64_t *moved = NULL if values is None else <uint64_t *>values.at
    if keep_gil:
        status = ps_btree_put_many(&work.of.tree, keys.at, moved, keys.n, &added)
    else:
        with nogil:
            status = ps_btree_put_many(&work.of.tree, keys.at, moved, keys.n, &added)
    return check(work, status)


cdef BTree looked_up(BTree self, unsigned types, Words keys, uint64_t *values, uint8_t *found):
    """Looks up typed keys in a tree that is of these types still.

    Returns the tree that holds the values: a snapshot where it was done without the GIL.
    """
    cdef BTree pinned
    cdef ps_status status
    check_types(self, types)
    if keys.n < LONG:
        check(self, ps_btree_get_many(&self.of.tree, keys.at, keys.n, values, found))
        return self
    pinned = shared(self)
    with nogil:
        status = ps_btree_get_many(&pinned.of.tree, keys.at, keys.n, values, found)
    check(pinned, status)
    return pinned


cdef object array_of_ranks(BTree self, Words keys, ps_btree_side side):
    cdef void *data
    cdef BTree pinned
    cdef ps_status status
    cdef unsigned types = types_of(self)
    ranks = new_array(keys.n, "int64", &data)
    check_types(self, types)
    if keys.n < LONG:
        check(self, ps_btree_rank_many(&self.of.tree, keys.at, keys.n, side, <int64_t *>data))
        return ranks
    pinned = shared(self)
    with nogil:
        status = ps_btree_rank_many(&pinned.of.tree, keys.at, keys.n, side, <int64_t *>data)
    check(pinned, status)
    return ranks


@cython.critical_section
cdef object ranks_of(BTree self, object keys):
    cdef Words words
    cdef BTree pinned
    cdef void *data
    cdef size_t i
    cdef uint64_t changes
    if ps_is_typed(&self.of):
        return array_of_ranks(self, key_words(self, keys), PS_BTREE_BEFORE)
    words = object_words(self, keys)
    ranks = new_array(words.n, "int64", &data)
    pinned = shared(self)
    changes = self.of.tree.changes
    for i in range(words.n):
        (<int64_t *>data)[i] = rank_of(pinned, <object><PyObject *>words.at[i], PS_BTREE_BEFORE)
    check_unchanged(self, changes)
    return ranks


@cython.critical_section
cdef object memberships(BTree self, object keys):
    cdef Words words
    cdef BTree pinned
    cdef ps_btree_probe probe
    cdef uint64_t value
    cdef void *data
    cdef size_t i
    cdef unsigned types = types_of(self)
    cdef uint64_t changes
    if ps_is_typed(&self.of):
        words = key_words(self, keys)
        found = new_array(words.n, "bool", &data)
        looked_up(self, types, words, NULL, <uint8_t *>data)
        return found
    words = object_words(self, keys)
    found = new_array(words.n, "bool", &data)
    check_types(self, types)
    pinned = shared(self)
    changes = self.of.tree.changes
    if words.n >= pinned.of.tree.length // 8 and words.n > 1 and not ascending_objects(words, False):
        mark_members(pinned, words, <uint8_t *>data)
    else:
        for i in range(words.n):
            probe_for(pinned, <object><PyObject *>words.at[i], &probe)
            (<uint8_t *>data)[i] = find(pinned, &probe, &value)
    check_unchanged(self, changes)
    return found


@cython.critical_section
cdef object values_of(BTree self, object keys, object default):
    """The value of each key, or the default; without one (`...`), KeyError."""
    cdef Words words, held
    cdef uint8_t *found
    cdef BTree pinned
    cdef size_t i
    cdef bint strict = default is ...
    cdef uint64_t otherwise = 0
    cdef void *data
    cdef unsigned types = types_of(self)
    cdef uint64_t changes
    if not strict:
        default = checked_value(default, VALUE_TYPES[self.of.value_type], "default")
        value_word(self, default, &otherwise)
    if not ps_is_typed(&self.of):
        words = object_words(self, keys)
        answers = []
        pinned = shared(self)
        changes = self.of.tree.changes
        for i in range(words.n):
            key = <object><PyObject *>words.at[i]
            value = look_up(pinned, key)
            if value is MISSING:
                if strict:
                    raise KeyError(key)
                value = default
            answers.append(value)
        check_unchanged(self, changes)
        return answers

    words = key_words(self, keys)
    marks = bytearray(words.n)
    found = <uint8_t *><char *>marks
    held = Words()
    allocate(held, words.n)
    if self.of.value_type == PS_VALUE_OBJECT:
        answers = PyList_New(words.n)  # before the values are borrowed
    else:
        answers = new_array(words.n, VALUE_TYPES[self.of.value_type], &data)
        held.at = <int64_t *>data
    pinned = looked_up(self, types, words, <uint64_t *>held.at, found)
    for i in range(words.n):
        if not found[i]:
            if strict:
                raise KeyError(ps_key_object(&pinned.of, words.at[i]))
            held.at[i] = <int64_t>otherwise
    if self.of.value_type == PS_VALUE_OBJECT:
        ps_fill_list(<PyObject *>answers, held.at, words.n)
    del pinned
    return answers


@cython.critical_section
cdef object runs_of(BTree self, object keys):
    """The values of each key of a multimap, one key's after the other's, and where they begin and end."""
    cdef Words words
    cdef size_t n, i
    cdef bint typed = ps_is_typed(&self.of)
    cdef int64_t *ends
    cdef int64_t *begins
    cdef void *data
    cdef int64_t total = 0
    cdef ps_btree_place place
    cdef BTree pinned
    cdef unsigned types = types_of(self)
    cdef uint64_t changes
    words = key_words(self, keys) if typed else object_words(self, keys)
    n = words.n
    starts = new_array(n, "int64", &data)
    begins = <int64_t *>data
    offsets = new_array(n + 1, "int64", &data)
    ends = <int64_t *>data
    ends[0] = 0
    check_types(self, types)
    pinned = shared(self)  # of one moment, whatever others do
    changes = self.of.tree.changes
    if typed:
        check(pinned, ps_btree_rank_many(&pinned.of.tree, words.at, n, PS_BTREE_BEFORE, begins))
        check(pinned, ps_btree_rank_many(&pinned.of.tree, words.at, n, PS_BTREE_AFTER, ends + 1))
    else:
        for i in range(n):
            key = <object><PyObject *>words.at[i]
            begins[i] = rank_of(pinned, key, PS_BTREE_BEFORE)
            ends[i + 1] = rank_of(pinned, key, PS_BTREE_AFTER)
        check_unchanged(self, changes)
    for i in range(n):
        total += ends[i + 1] - begins[i] if ends[i + 1] > begins[i] else 0
        ends[i + 1] = total
    cdef bint as_list = not typed or pinned.of.value_type == PS_VALUE_OBJECT
    if as_list:
        values = PyList_New(total)
    else:
        values = new_array(total, VALUE_TYPES[pinned.of.value_type], &data)
    for i in range(n):
        if ends[i + 1] > ends[i]:
            check(pinned, ps_btree_seek_index(&pinned.of.tree, begins[i], &place))
            if as_list:
                check(pinned, ps_list_values(&pinned.of, &place, <PyObject *>values, ends[i], ends[i + 1]))
            else:
                check(pinned, ps_read_values(&pinned.of, &place, <uint64_t *>data + ends[i], ends[i + 1] - ends[i]))
    return values, offsets


@cython.critical_section
cdef object arrays_of(BTree self, object min, object max, object included):
    """The keys of a range as an array, or keys and values."""
    cdef uint32_t first, last
    cdef ps_btree_place place
    cdef void *key_data
    cdef void *value_data = NULL
    cdef size_t n
    cdef ps_status status
    dtype = key_dtype(self)
    cdef BTree pinned = shared(self)  # of one moment, whatever others do
    bounds(pinned, min, max, included, &first, &last, &place, False)
    n = last - first
    keys = new_array(n, dtype, &key_data)
    values = None
    if has_values(pinned):
        values = new_array(n, VALUE_TYPES[pinned.of.value_type], &value_data)
    if has_values(pinned) and pinned.of.value_type == PS_VALUE_OBJECT:
        status = ps_read_objects(&pinned.of, &place, <int64_t *>key_data, <PyObject **>value_data, n)
    else:
        status = ps_read_words(&pinned.of, &place, <int64_t *>key_data, <uint64_t *>value_data, n)
    check(pinned, status)
    ps_map_words(<ps_key_type>pinned.of.key_type, <int64_t *>key_data, <int64_t *>key_data, n)
    return (keys, values) if has_values(pinned) else keys


cdef int delete_equals(BTree self, object key) except -1:
    """Removes all entries of a key."""
    cdef uint32_t first, last
    cdef ps_btree_place place
    equals(self, key, &first, &last, &place)
    if first < last:
        check(self, ps_btree_remove_range(&self.of.tree, first, last))
        settle(self)
    return 0


@cython.critical_section
cdef object delete_all(BTree self, object keys):
    """Removes the entries of all keys that are there; all or nothing. How many there were."""
    cdef Words words
    cdef size_t count, i
    cdef uint64_t changes, moves
    cdef object removed  # an int made before the change, which then cannot fail
    cdef BTree work
    check_writable(self)
    if ps_is_typed(&self.of):
        words = key_words(self, keys)
        sort_words(self, words, None, False)
        changes, moves = self.of.tree.changes, self.of.tree.moves
        work = shared(self)
        check(work, ps_btree_remove_many(&work.of.tree, words.at, words.n, &count))
    else:
        words = object_words(self, keys)
        changes, moves = self.of.tree.changes, self.of.tree.moves
        work = shared(self)
        for i in range(words.n):
            if work.of.tree.flags & PS_BTREE_MULTI:
                delete_equals(work, <object><PyObject *>words.at[i])
            else:
                take(work, <object><PyObject *>words.at[i])
    removed = self.of.tree.length - work.of.tree.length
    check_unchanged(self, changes)
    check_writable(self)
    if removed:
        adopt(self, work, changes, moves)
    return removed


@cython.critical_section
cdef object delete_bounds(BTree self, object min, object max, object included):
    cdef uint32_t first, last
    cdef ps_btree_place place
    cdef object removed  # an int made before the change, which then cannot fail
    check_writable(self)
    bounds(self, min, max, included, &first, &last, &place, False)
    removed = last - first
    if first < last:
        check(self, ps_btree_remove_range(&self.of.tree, first, last))
        settle(self)
    return removed


@cython.critical_section
cdef int load_sorted(BTree self, object keys, object values, object fill, bint checked) except -1:
    cdef Words words, moved = None
    cdef size_t wrong
    cdef double full = checked_fill(fill)
    cdef bint strictly = not self.of.tree.flags & PS_BTREE_MULTI
    cdef unsigned types = types_of(self)
    check_writable(self)
    words = key_words(self, keys) if ps_is_typed(&self.of) else object_words(self, keys)
    if has_values(self):
        moved = value_words(self, values)
    check_lengths(words, moved)
    if not ps_is_typed(&self.of) and checked:
        wrong = ascending_objects(words, strictly)
        if wrong:
            raise unsorted_at(self, words, wrong)
    if not ps_is_typed(&self.of) and words.n == 1:
        PyObject_RichCompareBool(<object><PyObject *>words.at[0], <object><PyObject *>words.at[0], Py_LT)
    check_types(self, types)
    check_writable(self)
    if self.of.tree.length:
        raise not_empty(self.of.tree.length)
    return load_words(self, words, moved, full)


# Files ----------------------------------------------------------------------------------------------------------


cdef class Mapped:
    """A file in memory that nodes of trees lie in; every tree that shares them holds it."""

    cdef ps_btree_file file
    cdef Py_buffer view
    cdef bint is_open, is_viewed
    cdef str path

    def __dealloc__(self):
        if self.is_open:
            ps_btree_file_close(&self.file)
        if self.is_viewed:
            PyBuffer_Release(&self.view)


cdef inline bint has_broken_page(BTree self) noexcept:
    return self.mapped is not None and ps_btree_file_broken(&self.mapped.file) != 0


cdef object broken_page(BTree self):
    from penstock.btree import _tree_header

    cdef Mapped mapped = self.mapped
    if mapped is None:
        return broken_tree("nodes do not hold what their counts say")
    return _tree_header.broken_page(mapped.path, ps_btree_file_broken(&mapped.file))


@cython.critical_section
cdef int map_file(BTree self, object mapping, str path, str key_type, object value_type) except -1:
    cdef Mapped mapped = Mapped()
    cdef unsigned kind = kind_of(self)
    cdef ps_status status
    PyObject_GetBuffer(mapping, &mapped.view, PyBUF_SIMPLE)
    mapped.is_viewed = True
    mapped.path = path
    status = ps_btree_file_open(&mapped.file, <const uint8_t *>mapped.view.buf, mapped.view.len, PS_PYTHON_MEMORY)
    if status == PS_OK:
        mapped.is_open = True
        if self.of.tree.length:
            raise not_empty(self.of.tree.length)
        ps_object_tree_init(&self.of, kind, KEY_TYPES.index(key_type), VALUE_TYPES.index(value_type or "object"))
        status = ps_btree_file_map(&mapped.file, &self.of.tree)
    self.mapped = mapped
    return check(self, PS_BROKEN if status == PS_REFUSED else status)


@cython.critical_section
cdef int save_file(BTree self, int fd) except -1:
    cdef BTree pinned = shared(self)
    cdef int error = 0
    cdef ps_status status
    cdef uint8_t key_type = self.of.key_type
    cdef uint8_t value_type = self.of.value_type if has_values(self) else PS_BTREE_NO_VALUES
    with nogil:
        status = ps_save_tree(&pinned.of.tree, key_type, value_type, fd, &error)
    if status == PS_STOPPED:
        raise OSError(error, strerror(error))
    return check(pinned, status)


# The trees --------------------------------------------------------------------------------------------------------


cdef class BTree:
    """BTree()\n--\n
    What ordered trees have in common: entries in the order of their keys.

    An item is the key in a set, and the pair `(key, value)` in a map or multimap. A bound of a range that is
    None is open. `len` is O(1); what looks for a key or an index takes O(log n) comparisons or steps.

    Keys are ordered by `<` alone: two keys neither of which is less than the other are one key. They must not
    change their order while they are in a tree. Comparisons run before anything changes: if one raises, the
    error passes and the tree is as it was; if one changes the tree, that is `TreeChanged`. Iterators raise
    `TreeChanged` at the next step when entries have come or gone; replaced values are seen. To change a tree
    while going over it, go over its `snapshot()`.

    Threads may share a tree: every call is one step for the others. While comparisons run code of their own,
    other threads may come between; if one changes the tree then, the call that compares raises `TreeChanged`.

    New trees that `copy`, `snapshot` or `split_off` give are of the same class, made without its `__init__`.

    Sources: Bayer and McCreight, Organization and Maintenance of Large Ordered Indexes, 1972; Comer, The
    Ubiquitous B-Tree, 1979; Rodeh, B-trees, Shadowing, and Clones, 2008.
    """

    cdef ps_object_tree of
    cdef Mapped mapped
    cdef object __weakref__

    __class_getitem__ = classmethod(GenericAlias)

    def __cinit__(self):
        ps_object_tree_init(&self.of, 0, PS_KEY_OBJECT, PS_VALUE_OBJECT)

    def __init__(self):
        raise base_class()

    def __dealloc__(self):
        ps_btree_clear(&self.of.tree)
        settle(self)

    @property
    def key_type(self):
        """What the keys are: "object", "int64", "uint64", "float64", "str" or "bytes"."""
        return KEY_TYPES[self.of.key_type]

    @property
    def value_type(self):
        """What the values are: "object", "int64" or "float64"; None for a set."""
        return VALUE_TYPES[self.of.value_type] if has_values(self) else None

    @property
    def frozen(self):
        """Whether this is a snapshot, which refuses to change."""
        return self.of.frozen

    def __len__(self):
        return self.of.tree.length

    def __bool__(self):
        return self.of.tree.length != 0

    def __iter__(self):
        return walk_all(self, PS_WALK_KEYS, False)

    def __reversed__(self):
        return walk_all(self, PS_WALK_KEYS, True)

    @cython.critical_section
    def __contains__(self, key):
        cdef ps_btree_probe probe
        cdef uint64_t value
        probe_for(self, key, &probe)
        return find(self, &probe, &value)

    @cython.critical_section
    def __sizeof__(self):
        cdef ps_btree_stats stats
        check(self, ps_btree_measure(&self.of.tree, &stats))
        return object.__sizeof__(self) + stats.node_bytes

    @cython.critical_section
    def clear(self):
        """Removes all entries.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        check_writable(self)
        ps_btree_clear(&self.of.tree)
        settle(self)

    def first_item(self):
        """The item with the least key, in O(1).

        Raises:
            KeyError: the tree is empty.
        """
        if self.of.tree.length == 0:
            raise empty_tree()
        return item_at(self, 0, False)

    def last_item(self):
        """The item with the greatest key, in O(1); of equal keys in a multimap, the last.

        Raises:
            KeyError: the tree is empty.
        """
        if self.of.tree.length == 0:
            raise empty_tree()
        return item_at(self, self.of.tree.length - 1, False)

    def pop_first(self):
        """Removes the item with the least key and returns it.

        Raises:
            KeyError: the tree is empty.
            FrozenTree: the tree is a snapshot.
        """
        check_writable(self)
        if self.of.tree.length == 0:
            raise empty_tree()
        return item_at(self, 0, True)

    def pop_last(self):
        """Removes the item with the greatest key and returns it; of equal keys in a multimap, the last.

        Raises:
            KeyError: the tree is empty.
            FrozenTree: the tree is a snapshot.
        """
        check_writable(self)
        if self.of.tree.length == 0:
            raise empty_tree()
        return item_at(self, self.of.tree.length - 1, True)

    def floor_item(self, key, /):
        """The item with the greatest key <= `key`; of equal keys in a multimap the last. Else None."""
        return neighbour(self, key, PS_BTREE_AFTER, False)

    def ceiling_item(self, key, /):
        """The item with the least key >= `key`; of equal keys in a multimap the first. Else None."""
        return neighbour(self, key, PS_BTREE_BEFORE, True)

    def lower_item(self, key, /):
        """The item with the greatest key < `key`; of equal keys in a multimap the last. Else None."""
        return neighbour(self, key, PS_BTREE_BEFORE, False)

    def higher_item(self, key, /):
        """The item with the least key > `key`; of equal keys in a multimap the first. Else None."""
        return neighbour(self, key, PS_BTREE_AFTER, True)

    def rank(self, key, /):
        """How many entries have a key < `key`; what bisect_left gives for a sorted list."""
        return rank_of(self, key, PS_BTREE_BEFORE)

    def rank_right(self, key, /):
        """How many entries have a key <= `key`; what bisect_right gives for a sorted list."""
        return rank_of(self, key, PS_BTREE_AFTER)

    def select(self, index, /):
        """The item at `index` in the order of keys; a negative one counts from the end.

        Raises:
            IndexError: not -len <= index < len.
            InvalidType: index is no int.
        """
        return item_at(self, index_of(self, index), False)

    def pop_at(self, index, /):
        """Removes the item at `index`, as of `select`, and returns it.

        Raises:
            IndexError: not -len <= index < len.
            InvalidType: index is no int.
            FrozenTree: the tree is a snapshot.
        """
        check_writable(self)
        return item_at(self, index_of(self, index), True)

    @cython.embedsignature(False)
    @cython.critical_section
    def count(self, min=None, max=None, **options):
        """count($self, /, min=None, max=None, *, include=(True, False))\n--\n
        How many entries have a key between `min` and `max`, in O(log n); 0 if min > max.

        Args:
            min: the least key, None for no bound.
            max: the greatest key, None for no bound.
            include: whether keys equal to min, and to max, are in the range.
        """
        cdef uint32_t first, last
        cdef ps_btree_place place
        bounds(self, min, max, included_by(options), &first, &last, &place, False)
        return last - first

    @cython.embedsignature(False)
    def range(self, min=None, max=None, *, reverse=False, limit=None, **options):
        """range($self, /, min=None, max=None, *, include=(True, False), reverse=False, limit=None)\n--\n
        The items with keys between `min` and `max`: O(log n) to begin, O(1) for each.

        Args:
            min: the least key, None for no bound.
            max: the greatest key, None for no bound.
            include: whether keys equal to min, and to max, are in the range.
            reverse: from the greatest key to the least.
            limit: items at most, >= 0; None for all.

        Returns:
            An iterator; it raises `TreeChanged` when entries come or go meanwhile.
        """
        return walk_range(self, min, max, included_by(options), reverse, limit, PS_WALK_ITEMS)

    @cython.embedsignature(False)
    def keys_range(self, min=None, max=None, *, reverse=False, limit=None, **options):
        """keys_range($self, /, min=None, max=None, *, include=(True, False), reverse=False, limit=None)\n--\n
        The keys of what `range` gives for these arguments."""
        return walk_range(self, min, max, included_by(options), reverse, limit, PS_WALK_KEYS)

    @cython.embedsignature(False)
    def range_arrays(self, min=None, max=None, **options):
        """range_arrays($self, /, min=None, max=None, *, include=(True, False))\n--\n
        The entries with keys between `min` and `max` as new arrays, for trees of typed keys.

        Args:
            min: the least key, None for no bound.
            max: the greatest key, None for no bound.
            include: whether keys equal to min, and to max, are in the range.

        Returns:
            (n,) keys for a set, `(keys, values)` of (n,) each for a map or multimap. Keys are int64, uint64
            or float64 as their type is; values int64, float64 or object.

        Raises:
            InvalidType: the key type is object, str or bytes.
        """
        return arrays_of(self, min, max, included_by(options))

    def rank_many(self, keys, /):
        """`rank` of each of `keys`.

        Args:
            keys: (n,) array or an iterable; for typed keys what makes an array of their type without loss.

        Returns:
            (n,) int64, entries.
        """
        return ranks_of(self, keys)

    def contains_many(self, keys, /):
        """Whether each of `keys` is there.

        Args:
            keys: (n,) array or an iterable; for typed keys what makes an array of their type without loss.

        Returns:
            (n,) bool.
        """
        return memberships(self, keys)

    def delete_many(self, keys, /):
        """Removes the entries of those of `keys` that are there, all of them or, if it fails, none.

        Args:
            keys: (n,) array or an iterable; for typed keys what makes an array of their type without loss.

        Returns:
            Entries removed; in a multimap all that have one of the keys.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        return delete_all(self, keys)

    @cython.embedsignature(False)
    def delete_range(self, min=None, max=None, **options):
        """delete_range($self, /, min=None, max=None, *, include=(True, False))\n--\n
        Removes the entries with keys between `min` and `max`; whole nodes at a time.

        Args:
            min: the least key, None for no bound.
            max: the greatest key, None for no bound.
            include: whether keys equal to min, and to max, are in the range.

        Returns:
            Entries removed.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        return delete_bounds(self, min, max, included_by(options))

    @cython.critical_section
    def split_off(self, key, /):
        """Moves the entries with keys >= `key` to a new tree of the same class and types, in O(log n).

        Returns:
            The tree with those entries.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        cdef BTree right
        cdef uint32_t index
        check_writable(self)
        right = new_of_class(self)
        index = rank_of(self, key, PS_BTREE_BEFORE)
        check_writable(self)
        ps_object_tree_init(&right.of, kind_of(self), self.of.key_type,
                            self.of.value_type)
        ps_set_family(&right.of, self.of.family)
        right.of.tree.pages = self.of.tree.pages
        right.mapped = self.mapped
        check(self, ps_btree_split(&self.of.tree, index, &right.of.tree))
        settle(self)
        return right

    @cython.critical_section
    def snapshot(self):
        """The tree as it is now, in O(1): a frozen tree with the same entries, which never changes.

        The two share their nodes; whichever node the tree writes to later, it copies first. Any number of
        threads may read a snapshot. A snapshot's snapshot is itself.
        """
        cdef BTree made
        if self.of.frozen:
            return self
        made = shared(self)
        made.of.frozen = True
        return made

    @cython.critical_section
    def copy(self):
        """A tree of the same class with the same entries, in O(1); the two change apart.

        They share their nodes, and each copies a shared node before it writes to it. Keys and values are
        not copied. The copy of a snapshot can be changed.
        """
        return shared(self)

    __copy__ = copy

    @cython.critical_section
    def check(self):
        """Looks whether every rule of the structure holds, the order of all keys too, in O(n).

        Raises:
            BrokenTree: one does not, the message says which; keys lie about their order, or have changed it.
            TreeFileError: a page of the tree's file is broken, the message says which.
        """
        cdef const char *rule = NULL
        cdef ps_status status = ps_btree_check(&self.of.tree, &rule)
        if status == PS_BROKEN and not has_broken_page(self):
            raise broken_tree((<bytes>rule).decode())
        check(self, status)

    @cython.critical_section
    def stats(self):
        """How the tree lies in memory, counted in O(n / 1000) or more.

        Returns:
            entries; height, levels of nodes; leaves and inner_nodes, how many; node_bytes, also of nodes that
            other trees have, too, but not of keys and values that are objects; shared_nodes, that other trees
            have or had; bytes_per_entry; fill, the used part of the room for entries in leaves.
        """
        cdef ps_btree_stats stats
        cdef uint32_t n = self.of.tree.length
        check(self, ps_btree_measure(&self.of.tree, &stats))
        return {
            "entries": n,
            "height": self.of.tree.height,
            "leaves": stats.leaves,
            "inner_nodes": stats.inner_nodes,
            "node_bytes": stats.node_bytes,
            "shared_nodes": stats.shared_nodes,
            "bytes_per_entry": stats.node_bytes / <double>n if n else 0.0,
            "fill": stats.fill,
        }

    def _load_sorted(self, keys, values, fill, check):
        """Fills the empty tree with entries in order, its leaves `fill` full, in O(n)."""
        load_sorted(self, keys, values, fill, check)

    @cython.critical_section
    def _entries_at(self, start, stop):
        """The items [start, stop) by index."""
        return listed(self, start, stop, PS_WALK_ITEMS)

    def _save(self, fd):
        """Writes the file of the tree, for `tree_file`."""
        save_file(self, fd)

    def _map(self, mapping, path, key_type, value_type):
        """Takes the entries of a file, for `tree_file`; reads all of it."""
        map_file(self, mapping, path, key_type, value_type)


cdef int begin(BTree self, object key_type, object value_type) except -1:
    """What __init__ does: sets the types of an empty tree."""
    cdef int key = KEY_TYPES.index(checked_key_type(key_type))
    cdef int value = VALUE_TYPES.index(checked_value_type(value_type))
    check_writable(self)
    settle(self)  # a destructor may be who calls
    if self.of.tree.length:
        raise not_empty(self.of.tree.length)
    ps_object_tree_init(&self.of, kind_of(self), key, value)
    self.mapped = None
    return 0


@cython.collection_type("mapping")
cdef class MapTree(BTree):
    """MapTree(key_type="object", value_type="object", /)\n--\n
    An ordered map from keys to values, what `BTreeMap` derives from.

    Args:
        key_type: "object" for whatever `<` orders; "int64", "uint64", "float64", "str" or "bytes" for trees
            that hold those only, in less memory and faster.
        value_type: "object" for anything; "int64" or "float64".

    Raises:
        InvalidValue: there is no such key type or value type.
    """

    def __cinit__(self):
        ps_object_tree_init(&self.of, PS_BTREE_VALUES, PS_KEY_OBJECT, PS_VALUE_OBJECT)

    def __init__(self, key_type="object", value_type="object", /):
        begin(self, key_type, value_type)

    def __getitem__(self, key):
        value = look_up(self, key)
        if value is MISSING:
            raise KeyError(key)
        return value

    def __setitem__(self, key, value):
        insert(self, key, value)

    def __delitem__(self, key):
        if take(self, key) is MISSING:
            raise KeyError(key)

    def get(self, key, default=None, /):
        """The value of `key`, or `default`."""
        value = look_up(self, key)
        return default if value is MISSING else value

    @cython.critical_section
    def setdefault(self, key, default=None, /):
        """The value of `key`; if there is none, `default`, which is stored.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        check_writable(self)
        if self.of.value_type != PS_VALUE_OBJECT:
            default = checked_value(default, VALUE_TYPES[self.of.value_type], "default")
        held = look_up(self, key)
        if held is not MISSING:
            return held
        insert(self, key, default)
        return default

    def pop(self, key, /, *default):
        """Removes `key` and returns its value; if there is none, the default.

        Raises:
            KeyError: it is not there, and no default was given.
            FrozenTree: the tree is a snapshot.
        """
        check_default(default)
        value = take(self, key)
        if value is not MISSING:
            return value
        if default:
            return default[0]
        raise KeyError(key)

    @cython.embedsignature(False)
    def values_range(self, min=None, max=None, *, reverse=False, limit=None, **options):
        """values_range($self, /, min=None, max=None, *, include=(True, False), reverse=False, limit=None)\n--\n
        The values of what `range` gives for these arguments."""
        return walk_range(self, min, max, included_by(options), reverse, limit, PS_WALK_VALUES)

    def get_many(self, keys, /, default=...):
        """The values of all of `keys`.

        Args:
            keys: (n,) array or an iterable; for typed keys what makes an array of their type without loss.
            default: the value of a key that is not there; `...` for none, then that is an error.

        Returns:
            (n,) array of the value type if keys and values are numbers by type; else a list.

        Raises:
            KeyError: a key is not there, and no default was given; it names the first.
        """
        return values_of(self, keys, default)

    def insert_many(self, keys, values, /, *, sorted=False):
        """Stores all `values` under `keys`, or, if it fails, none; of equal keys the last one's value stays.

        Args:
            keys: (n,) array or an iterable; for typed keys what makes an array of their type without loss.
            values: (n,) array, or an iterable; for typed values as for keys.
            sorted: the keys ascend, which is checked; equal ones are allowed.

        Returns:
            How many keys were not there.

        Raises:
            UnsortedKeys: the keys do not ascend, but `sorted` says so.
            InvalidValue: keys and values are not of one length.
            FrozenTree: the tree is a snapshot.
        """
        return insert_all(self, keys, values, sorted)


cdef class SetTree(BTree):
    """SetTree(key_type="object", /)\n--\n
    An ordered set of keys, what `BTreeSet` derives from.

    Args:
        key_type: "object" for whatever `<` orders; "int64", "uint64", "float64", "str" or "bytes" for trees
            that hold those only, in less memory and faster.

    Raises:
        InvalidValue: there is no such key type.
    """

    def __cinit__(self):
        ps_object_tree_init(&self.of, 0, PS_KEY_OBJECT, PS_VALUE_OBJECT)

    def __init__(self, key_type="object", /):
        begin(self, key_type, "object")

    def add(self, key, /):
        """Adds `key`; if an equal one is there, that one stays.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        insert(self, key, None)

    def discard(self, key, /):
        """Removes `key` if it is there.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        take(self, key)

    def remove(self, key, /):
        """Removes `key`.

        Raises:
            KeyError: it is not there.
            FrozenTree: the tree is a snapshot.
        """
        if take(self, key) is MISSING:
            raise KeyError(key)

    def insert_many(self, keys, /, *, sorted=False):
        """Adds all of `keys`, or, if it fails, none.

        Args:
            keys: (n,) array or an iterable; for typed keys what makes an array of their type without loss.
            sorted: they ascend, which is checked; equal ones are allowed.

        Returns:
            How many were not there.

        Raises:
            UnsortedKeys: they do not ascend, but `sorted` says so.
            FrozenTree: the tree is a snapshot.
        """
        return insert_all(self, keys, None, sorted)


cdef class MultiMapTree(BTree):
    """MultiMapTree(key_type="object", value_type="object", /)\n--\n
    An ordered map from keys to any number of values each, what `BTreeMultiMap` derives from.

    Equal keys stand together, in the order in which they were inserted.

    Args:
        key_type: "object" for whatever `<` orders; "int64", "uint64", "float64", "str" or "bytes" for trees
            that hold those only, in less memory and faster.
        value_type: "object" for anything; "int64" or "float64".

    Raises:
        InvalidValue: there is no such key type or value type.
    """

    def __cinit__(self):
        ps_object_tree_init(&self.of, PS_BTREE_VALUES | PS_BTREE_MULTI, PS_KEY_OBJECT, PS_VALUE_OBJECT)

    def __init__(self, key_type="object", value_type="object", /):
        begin(self, key_type, value_type)

    def add(self, key, value, /):
        """Adds an entry, behind those with an equal key.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        insert(self, key, value)

    @cython.critical_section
    def get_all(self, key, /):
        """The values of `key` in the order of insertion; an empty list if there are none."""
        return values_of_key(self, key)

    def get(self, key, default=None, /):
        """The first value of `key`, or `default`."""
        value = look_up(self, key)
        return default if value is MISSING else value

    @cython.critical_section
    def _add_before(self, index, value, /):
        """Adds an entry with the key of entry `index`, just before it: for who keeps equals in an order."""
        cdef ps_btree_place place, ahead
        cdef ps_status status
        cdef int64_t key
        cdef uint64_t word, other
        check_writable(self)
        value_word(self, value, &word)
        check(self, ps_btree_seek_index(&self.of.tree, index_of(self, index), &place))
        ahead = place
        if ps_btree_read(&self.of.tree, &ahead, &key, &other, 1, &status) == 0:
            failed(self, PS_BROKEN)
        cdef uint8_t flags = self.of.tree.flags
        if flags & PS_BTREE_OBJECT_KEYS:
            Py_INCREF(<object><PyObject *>key)
        if flags & PS_BTREE_OBJECT_VALUES:
            Py_INCREF(value)
        status = ps_btree_insert(&self.of.tree, &place, key, word)
        if status != PS_OK:
            if flags & PS_BTREE_OBJECT_KEYS:
                Py_XDECREF(<PyObject *>key)
            if flags & PS_BTREE_OBJECT_VALUES:
                Py_XDECREF(<PyObject *>value)
            failed(self, status)
        settle(self)

    @cython.critical_section
    def remove(self, key, value, /):
        """Removes the first entry with this key and an equal value, in O(log n + entries of the key).

        Raises:
            KeyError: there is none.
            FrozenTree: the tree is a snapshot.
        """
        cdef uint32_t first, last, at
        cdef ps_btree_place place
        cdef uint64_t changes
        check_writable(self)
        value = checked_value(value, VALUE_TYPES[self.of.value_type])
        equals(self, key, &first, &last, &place)
        changes = self.of.tree.changes
        for at, held in enumerate(listed(self, first, last, PS_WALK_VALUES), first):
            if PyObject_RichCompareBool(held, value, Py_EQ):
                break
        else:
            raise KeyError((key, value))
        check_unchanged(self, changes)
        check(self, ps_btree_seek_index(&self.of.tree, at, &place))
        remove_at(self, &place)

    @cython.critical_section
    def pop_all(self, key, /):
        """Removes all entries of `key` and returns their values in the order of insertion.

        Raises:
            KeyError: there are none.
            FrozenTree: the tree is a snapshot.
        """
        cdef uint32_t first, last
        cdef ps_btree_place place
        cdef uint64_t changes
        check_writable(self)
        equals(self, key, &first, &last, &place)
        if first == last:
            raise KeyError(key)
        changes = self.of.tree.changes
        values = listed(self, first, last, PS_WALK_VALUES)
        check_unchanged(self, changes)
        check(self, ps_btree_remove_range(&self.of.tree, first, last))
        settle(self)
        return values

    @cython.embedsignature(False)
    def values_range(self, min=None, max=None, *, reverse=False, limit=None, **options):
        """values_range($self, /, min=None, max=None, *, include=(True, False), reverse=False, limit=None)\n--\n
        The values of what `range` gives for these arguments."""
        return walk_range(self, min, max, included_by(options), reverse, limit, PS_WALK_VALUES)

    def get_many(self, keys, /):
        """The values of all of `keys`.

        Args:
            keys: (n,) array or an iterable; for typed keys what makes an array of their type without loss.

        Returns:
            `(values, offsets)`: the values of `keys[i]`, in the order of insertion, are
            `values[offsets[i] : offsets[i + 1]]`. Values are (m,), an array of the value type if keys and
            values are numbers by type, else a list; offsets are (n + 1,) int64.
        """
        return runs_of(self, keys)

    def insert_many(self, keys, values, /, *, sorted=False):
        """Adds all entries, or, if it fails, none; equal keys keep their order, behind those that are there.

        Args:
            keys: (n,) array or an iterable; for typed keys what makes an array of their type without loss.
            values: (n,) array, or an iterable; for typed values as for keys.
            sorted: the keys ascend, which is checked; equal ones are allowed.

        Returns:
            How many entries came.

        Raises:
            UnsortedKeys: the keys do not ascend, but `sorted` says so.
            InvalidValue: keys and values are not of one length.
            FrozenTree: the tree is a snapshot.
        """
        return insert_all(self, keys, values, sorted)


# The garbage collector --------------------------------------------------------------------------------------------

cdef BTree sample = SetTree()
cdef size_t offset_of_tree = <size_t>(<char *>&sample.of - <char *><PyObject *>sample)
ps_collect_through(<PyTypeObject *>BTree, offset_of_tree)
ps_collect_through(<PyTypeObject *>MapTree, offset_of_tree)
ps_collect_through(<PyTypeObject *>SetTree, offset_of_tree)
ps_collect_through(<PyTypeObject *>MultiMapTree, offset_of_tree)
sample = None
