"""Ordered trees: entries in the order of their keys, found by key, by range and by index in O(log n).

`BTreeMap`, `BTreeSet` and `BTreeMultiMap` are what to use; these are the hot paths that they derive from.
"""

from typing import TYPE_CHECKING

from penstock._twins import twin
from penstock.btree._arguments import KeyType, ValueType

__all__ = ["BTree", "KeyType", "MapTree", "MultiMapTree", "SetTree", "ValueType"]

if TYPE_CHECKING:
    from penstock.btree._btree_py import BTree, MapTree, MultiMapTree, SetTree
else:
    BTree = twin(__name__).BTree
    MapTree = twin(__name__).MapTree
    MultiMapTree = twin(__name__).MultiMapTree
    SetTree = twin(__name__).SetTree
