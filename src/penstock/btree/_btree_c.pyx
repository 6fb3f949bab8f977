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
from cpython.sequence cimport PySequence_Fast_ITEMS
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

# For setup.py, which looks for kernels here; what is known of them stands in _btree_c.pxd.
cdef extern from "btree.h":
    pass
cdef extern from "btree_file.h":
    pass
cdef extern from "radix_sort.h":
    pass

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


include "btree_entries.pxi"
include "btree_ranges.pxi"
include "btree_words.pxi"
include "btree_changes.pxi"
include "btree_answers.pxi"
include "btree_files.pxi"


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
        """Removes the first entry with this key and an equal value, in O(log n + equals before it).

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
        at = place_of_value(self, value, first, last, changes)
        if at == last:
            raise KeyError((key, value))
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
