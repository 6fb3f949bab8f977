"""What ordered maps are asked to do in the races, in loops as cheap as Python can make them, and by whom."""

import sqlite3
from collections import defaultdict
from itertools import cycle
from typing import NamedTuple

import numpy as np
from BTrees.LLBTree import LLBTree, LLTreeSet
from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree
from sortedcontainers import SortedDict

from penstock.btree import BTreeMap, BTreeMultiMap
from penstock.btree._btree_py import MapTree as PurePythonMap

RANGE = 100  # entries in a range, and ranges in one call
ROWS_A_KEY = 10
SPREAD = 1 << 40  # how far apart keys are, on average
ROW_BITS = 32  # of a key and its row in one int
ROW = (1 << ROW_BITS) - 1


class Sizes(NamedTuple):
    """How much is held, and how much is done in one call."""

    keys: int
    """In a tree that fits no cache of the processor."""
    texts: int
    inserted: int
    loaded: int
    batch: int
    """Of the keys, asked for in one call."""


FULL = Sizes(keys=1_000_000, texts=100_000, inserted=50_000, loaded=200_000, batch=25_000)
SMALL = Sizes(keys=2_000, texts=400, inserted=400, loaded=800, batch=200)


# ---- keys


def random_ints(count):
    """So many distinct int64 in random order, always the same."""
    dice = np.random.default_rng(8)
    return dice.permutation(count) * SPREAD + dice.integers(0, SPREAD, count)


def other_ints(count, queries):
    """Keys from the range of random_ints(count), in random order; hardly any of them is one of those."""
    return np.random.default_rng(9).integers(0, count * SPREAD, queries)


def random_texts(count):
    return [f"user:{n}" for n in np.random.default_rng(8).permutation(count)]


def shuffled(keys):
    """The same keys as objects of their own, in another random order, which is that of memory."""
    again = np.random.default_rng(10).permutation(np.asarray(keys))
    return again.tolist() if again.dtype == np.int64 else [str(key) for key in again]


def pairs_to_index(count):
    """(keys, rows): int64 arrays in random order of keys, ROWS_A_KEY rows a key."""
    keys = np.random.default_rng(11).permutation(np.arange(count) // ROWS_A_KEY)
    return keys, np.arange(count)


# ---- trees


def int_tree():
    return BTreeMap(key_type="int64", value_type="int64")


def pure_python_int_tree():
    return PurePythonMap("int64", "int64")


def text_tree():
    return BTreeMap(key_type="str")


class SQLiteMap:
    """Keys and values in a table in memory, `execute` to ask for them."""

    def __init__(self, key_type="INTEGER"):
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        without = "" if key_type == "INTEGER" else "WITHOUT ROWID"
        self.connection.execute(f"CREATE TABLE entries (key {key_type} PRIMARY KEY, value INTEGER) {without}")
        self.execute = self.connection.execute

    def insert(self, keys, values):
        self.execute("BEGIN")
        self.connection.executemany("INSERT INTO entries VALUES (?, ?)", zip(keys, values, strict=True))
        self.execute("COMMIT")
        return self


class SQLiteMultiMap(SQLiteMap):
    """Keys with several rows each."""

    def __init__(self):
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute(
            "CREATE TABLE entries (key INTEGER, value INTEGER, PRIMARY KEY (key, value)) WITHOUT ROWID"
        )
        self.execute = self.connection.execute


class SortedArrays(NamedTuple):
    """What numpy offers to whoever never inserts."""

    keys: np.ndarray
    values: np.ndarray

    def slice(self, low, high):
        """The entries with keys in [low, high)."""
        between = slice(*self.keys.searchsorted((low, high)))
        return self.keys[between], self.values[between]


class Trees(NamedTuple):
    """Ordered maps of the same int keys, of which each is its own value, but for those that `objects` has."""

    ours: BTreeMap
    objects: BTreeMap
    pure_python: PurePythonMap
    sorted_dict: SortedDict
    oo: OOBTree
    ll: LLBTree
    sqlite: SQLiteMap
    arrays: SortedArrays


def stored(tree, keys):
    """`tree`, when each key was stored by subscript, in the order given."""
    for key in keys:
        tree[key] = key
    return tree


def grown_trees(count):
    """Trees that `count` random keys were stored in, one by one."""
    array = random_ints(count)
    keys = array.tolist()
    ascending = np.sort(array)
    return Trees(
        stored(int_tree(), keys),
        stored(BTreeMap(), keys),
        stored(PurePythonMap(), keys),
        SortedDict(zip(keys, keys, strict=True)),  # by subscript it ends the same, later
        stored(OOBTree(), keys),
        stored(LLBTree(), keys),
        SQLiteMap().insert(keys, keys),
        SortedArrays(ascending, ascending.copy()),
    )


class Indexes(NamedTuple):
    """The rows of each key."""

    ours: BTreeMultiMap
    objects: BTreeMultiMap
    sorted_dict: SortedDict
    lo: LOBTree
    packed: LLTreeSet
    sqlite: SQLiteMultiMap
    arrays: SortedArrays


def lists_of_rows(keys, rows):
    """A dict of lists, in order of keys when it is given to a tree."""
    lists = defaultdict(list)
    for key, row in zip(keys, rows, strict=True):
        lists[key].append(row)
    return lists


def packed(keys, rows):
    """Arrays of keys and rows as ints in the order of (key, row)."""
    return (keys << ROW_BITS | rows).tolist()


def built_indexes(count):
    keys, rows = pairs_to_index(count)
    key_list, row_list = keys.tolist(), rows.tolist()
    ours, objects = multimap(), BTreeMultiMap()
    ours.insert_many(keys, rows)
    objects.insert_many(key_list, row_list)
    order = np.argsort(keys, kind="stable")
    return Indexes(
        ours,
        objects,
        SortedDict(lists_of_rows(key_list, row_list)),
        LOBTree(lists_of_rows(key_list, row_list)),
        LLTreeSet(packed(keys, rows)),
        SQLiteMultiMap().insert(key_list, row_list),
        SortedArrays(keys[order], rows[order]),
    )


def multimap():
    return BTreeMultiMap(key_type="int64", value_type="int64")


# ---- operations


def calls(function, keys):
    """Returns a callable that calls `function(key)` for every key."""

    def run():
        for key in keys:
            function(key)

    return run


def calls_between(function, bounds):
    """Returns a callable that calls `function(low, high)` for all bounds."""

    def run():
        for low, high in bounds:
            function(low, high)

    return run


def looks_up(tree, keys):
    """Returns a callable that subscripts `tree` with every key."""

    def run():
        for key in keys:
            tree[key]

    return run


def stores(make, keys):
    """Returns a callable that stores the keys, one by one, in what `make()` returns."""
    return lambda: stored(make(), keys)


def iterates(iterable):
    """Returns a callable that goes through all there is."""

    def run():
        for _ in iterable:
            pass

    return run


def empty_calls(count):
    """Returns a callable that calls an empty method of a C type so many times."""

    def run():
        method = "".isascii
        for _ in range(count):
            method()

    return run


def batch_by_batch(operation, subject, keys, size):
    """Returns a callable that does `operation` with the next `size` keys at each call.

    Before a key comes again, all others have pushed it out of the processor's caches.
    """
    runs = cycle([operation(subject, keys[start : start + size]) for start in range(0, len(keys), size)])
    return lambda: next(runs)()


def bounds_of(ascending, length=RANGE):
    """(low, high) of RANGE ranges that hold `length` of the ascending keys each, high not included."""
    starts = np.random.default_rng(12).integers(0, len(ascending) - length, RANGE)
    return [(int(ascending[start]), int(ascending[start + length])) for start in starts]
