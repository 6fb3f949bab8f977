"""What an ordered map takes in memory, measured by a script in a process of its own.

usage: btree_memory.py CONTESTANT ENTRIES

Prints the growth of resident memory in bytes, and the entries held, after ENTRIES were stored. Keys and
values that are objects, or arrays to load from, were there before, and so was the code.
"""

import sys
from typing import NamedTuple

import numpy as np
from cache_memory import resident_bytes

ANY_ENTRIES = 10  # stored beforehand, so that what is loaded or made for the first entry is not counted
ROW_BITS = 32  # of a key and its row in one int


class Entries(NamedTuple):
    """int64 arrays in random order, keys distinct, and the same as lists of int objects."""

    keys: np.ndarray
    values: np.ndarray
    key_objects: list[int]
    value_objects: list[int]
    ascending: np.ndarray
    ascending_objects: list[int]


def entries_of(count):
    dice = np.random.default_rng(8)
    keys = dice.permutation(count) * 1_000 + dice.integers(0, 1_000, count)
    ascending = np.sort(keys)
    values = np.arange(count) + 1_000  # none of the small ints that Python keeps
    return Entries(keys, values, keys.tolist(), values.tolist(), ascending, ascending.tolist())


def stored(tree, keys, values):
    """`tree`, when each entry was stored by subscript."""
    for key, value in zip(keys, values, strict=True):
        tree[key] = value
    return tree


def int_tree():
    from penstock.btree import BTreeMap

    return BTreeMap(key_type="int64", value_type="int64")


def int_tree_loaded(entries):
    from penstock.btree import BTreeMap

    return BTreeMap.from_sorted(entries.ascending, entries.values)


def int_tree_packed(entries):
    from penstock.btree import BTreeMap

    return BTreeMap.from_sorted(entries.ascending, entries.values, fill=1.0)


def int_tree_sorted(entries):
    return stored(int_tree(), entries.ascending_objects, entries.value_objects)


def int_tree_random(entries):
    return stored(int_tree(), entries.key_objects, entries.value_objects)


def objects_loaded(entries):
    from penstock.btree import BTreeMap

    return BTreeMap.from_sorted(entries.ascending_objects, entries.value_objects)


def objects_random(entries):
    from penstock.btree import BTreeMap

    return stored(BTreeMap(), entries.key_objects, entries.value_objects)


def index_keys(entries):
    """Ten entries a key, in random order."""
    return np.argsort(np.argsort(entries.keys)) // 10


def multimap_loaded(entries):
    from penstock.btree import BTreeMultiMap

    tree = BTreeMultiMap(key_type="int64", value_type="int64")
    tree.insert_many(index_keys(entries), entries.values)
    return tree


def packed_set(entries):
    from BTrees.LLBTree import LLTreeSet

    return LLTreeSet((index_keys(entries) << ROW_BITS | entries.values).tolist())


def sorted_dict(entries):
    from sortedcontainers import SortedDict

    return SortedDict(zip(entries.key_objects, entries.value_objects, strict=True))


def oo_tree(entries):
    from BTrees.OOBTree import OOBTree

    return stored(OOBTree(), entries.key_objects, entries.value_objects)


def ll_tree(entries):
    from BTrees.LLBTree import LLBTree

    return stored(LLBTree(), entries.key_objects, entries.value_objects)


def ll_tree_sorted(entries):
    from BTrees.LLBTree import LLBTree

    return stored(LLBTree(), entries.ascending_objects, entries.value_objects)


def dictionary(entries):
    return dict(zip(entries.key_objects, entries.value_objects, strict=True))


class Rows:
    """A table of SQLite in memory."""

    def __init__(self, keys, values):
        import sqlite3

        self.connection = sqlite3.connect(":memory:")
        self.connection.execute("CREATE TABLE entries (key INTEGER PRIMARY KEY, value INTEGER)")
        self.connection.executemany("INSERT INTO entries VALUES (?, ?)", zip(keys, values, strict=True))

    def __len__(self):
        return self.connection.execute("SELECT count(*) FROM entries").fetchone()[0]


def sqlite_rows(entries):
    return Rows(entries.key_objects, entries.value_objects)


CONTESTANTS = {
    "penstock, int64 to int64, loaded": int_tree_loaded,
    "penstock, int64 to int64, loaded full": int_tree_packed,
    "penstock, int64 to int64, sorted inserts": int_tree_sorted,
    "penstock, int64 to int64, random inserts": int_tree_random,
    "penstock, objects, loaded": objects_loaded,
    "penstock, objects, random inserts": objects_random,
    "penstock, 10 rows a key": multimap_loaded,
    "LLTreeSet, packed": packed_set,
    "SortedDict": sorted_dict,
    "OOBTree, random inserts": oo_tree,
    "LLBTree, random inserts": ll_tree,
    "LLBTree, sorted inserts": ll_tree_sorted,
    "SQLite": sqlite_rows,
    "dict": dictionary,
}


def growth(contestant, count):
    """Bytes by which memory grew when `contestant` was filled, and the entries that it then held."""
    fill = CONTESTANTS[contestant]
    fill(entries_of(ANY_ENTRIES))
    entries = entries_of(count)
    before = resident_bytes()
    tree = fill(entries)
    after = resident_bytes()
    return after - before, len(tree)


if __name__ == "__main__":
    print(*growth(sys.argv[1], int(sys.argv[2])))
