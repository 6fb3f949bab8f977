"""Ordered trees: a map, a set and a multimap in the order of their keys, and tables with such indexes."""

from penstock.btree.btree import KeyType, ValueType
from penstock.btree.btree_map import BTreeMap
from penstock.btree.btree_multi_map import BTreeMultiMap
from penstock.btree.btree_set import BTreeSet
from penstock.btree.conditions import (
    Condition,
    above,
    absent,
    at_least,
    at_most,
    below,
    between,
    prefix,
    present,
)
from penstock.btree.cursor import Cursor
from penstock.btree.drop_in import SortedDict, SortedKeyList, SortedList, SortedSet
from penstock.btree.errors import (
    BrokenTree,
    FrozenTree,
    KeyOverflow,
    TreeChanged,
    TreeFileError,
    TreeFull,
    UnsortedKeys,
)
from penstock.btree.planner import Path, Plan
from penstock.btree.table import DuplicateKey, IndexInfo, Table, UnknownColumn, UnknownIndex, UnknownRow

__all__ = [
    "BTreeMap",
    "BTreeMultiMap",
    "BTreeSet",
    "BrokenTree",
    "Condition",
    "Cursor",
    "DuplicateKey",
    "FrozenTree",
    "IndexInfo",
    "KeyOverflow",
    "KeyType",
    "Path",
    "Plan",
    "SortedDict",
    "SortedKeyList",
    "SortedList",
    "SortedSet",
    "Table",
    "TreeChanged",
    "TreeFileError",
    "TreeFull",
    "UnknownColumn",
    "UnknownIndex",
    "UnknownRow",
    "UnsortedKeys",
    "ValueType",
    "above",
    "absent",
    "at_least",
    "at_most",
    "below",
    "between",
    "prefix",
    "present",
]
