"""BTreeMultiMap: several values of one key, in the order in which they came."""

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import ClassVar, Self, TypeVar

from penstock.btree._algebra import checked_side, columns, columns_of, equal, joined
from penstock.btree._arguments import KeyType, ValueType
from penstock.btree._common import NOTHING, OrderedTree
from penstock.btree._views import EntryItems, EntryKeys, EntryValues
from penstock.btree.btree import MapTree, MultiMapTree
from penstock.btree.cursor import MultiMapCursor

__all__ = ["BTreeMultiMap"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class BTreeMultiMap(OrderedTree[K, tuple[K, V]], MultiMapTree[K, V]):
    """Entries in the order of their keys, those of equal keys in the order in which they were inserted.

    `len()`, ranks, indexes, ranges and iteration count every entry. It is no mapping: there is no `t[k]`, but
    `get` for the first value, `get_all` for the list of all, `add` and `remove` for one.
    All else is as BTreeMap tells.

    Two are equal when they have equal entries in the same order. Set algebra goes by keys: a union has the
    entries of both, those of the other side behind their equals; an intersection has the own entries whose
    keys the other side has, a difference those whose keys it has not.

    Args:
        items: a mapping, another tree, or an iterable of pairs; all are kept, equal keys in the order given.
        key_type: "object" for anything that `<` orders, "int64", "uint64", "float64", "str" or "bytes".
        value_type: "object" for anything, "int64" or "float64".

    Raises:
        TypeError: a key or a value has not the type, or keys have no order among each other.
        ValueError: a key is NaN, key_type or value_type is unknown, or an item is no pair.
        OverflowError: a key or a value does not fit.
    """

    __slots__ = ()

    _united: ClassVar[tuple[type, ...]] = (MapTree, MultiMapTree, Mapping)
    _matched: ClassVar[tuple[type, ...]] = (MapTree, MultiMapTree, Mapping, Set)

    def __init__(
        self,
        items: Mapping[K, V] | Iterable[tuple[K, V]] = (),
        *,
        key_type: KeyType = "object",
        value_type: ValueType = "object",
    ) -> None:
        super().__init__(key_type, value_type)
        if items is not NOTHING:
            self.update(items)

    @classmethod
    def _empty(cls, key_type: KeyType, value_type: ValueType | None) -> Self:
        tree = cls.__new__(cls)
        MultiMapTree.__init__(tree, key_type, "object" if value_type is None else value_type)
        return tree

    @classmethod
    def from_sorted(
        cls,
        keys: Iterable[K],
        values: Iterable[V],
        *,
        key_type: KeyType | None = None,
        value_type: ValueType | None = None,
        check: bool = True,
        fill: float = 0.9,
    ) -> Self:
        """A multimap of keys that ascend already, equal ones together, in O(n).

        Args:
            keys: (n,) array or an iterable, ascending.
            values: (n,) array or an iterable, as many.
            key_type: as in the class; None: by the dtype of an array of numbers, else "object".
            value_type: as in the class; None: as for the keys.
            check: False trusts the order of keys that are objects; ask `check()` if in doubt.
            fill: how full the nodes are made, in [0.5, 1.0]; 1.0 if nothing will be inserted.

        Raises:
            ValueError: keys do not ascend (UnsortedKeys), or keys and values are of different lengths.
            TypeError: a key or a value has not the type.
            OverflowError: a key or a value does not fit.
        """
        return cls._of_sorted(keys, values, key_type, value_type, check, fill)

    def keys(self) -> EntryKeys[K]:
        """The keys, ascending, each as often as it has entries: a view."""
        return EntryKeys(self)

    def values(self) -> EntryValues[V]:
        """The values, in the order of the entries: a view."""
        return EntryValues(self)

    def items(self) -> EntryItems[K, V]:
        """The entries as pairs of key and value, in order: a view."""
        return EntryItems(self)

    def update(self, items: Mapping[K, V] | Iterable[tuple[K, V]] = (), /) -> None:
        """Adds many entries at once, all or none, each behind those with an equal key.

        Args:
            items: a mapping, another tree, or an iterable of pairs.

        Raises:
            TypeError: a key or a value has not the type, or keys have no order among each other.
            ValueError: a key is NaN, or an item is no pair.
            OverflowError: a key or a value does not fit.
        """
        keys, values, ascending = columns_of(items)
        self.insert_many(keys, values, sorted=ascending)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, MultiMapTree):
            return NotImplemented
        if len(self) != len(other):
            return False
        return all(equal(one, another) for one, another in zip(columns(self), columns(other), strict=True))

    __hash__ = None  # type: ignore[assignment]

    def cursor(self, key: K | None = None, /) -> MultiMapCursor[K, V]:
        """A cursor in the gap before the first entry whose key is not less than `key`; None: at the start."""
        return MultiMapCursor(self, key)

    def merge_join(self, other: "MapTree[K, T] | MultiMapTree[K, T]", /) -> Iterator[tuple[K, V, T]]:
        """Each entry with each of `other` that has its key: (key, value, value of `other`).

        Both as they are now: later changes do not show. One pass over both, or, where one is far smaller, a
        look-up for each of its keys.

        Raises:
            TypeError: `other` is no map or multimap, or has another key_type.
        """
        return joined(self.snapshot(), checked_side(other, self.key_type))
