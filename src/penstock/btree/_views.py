"""What `keys()`, `values()`, `items()` and `at` of a tree return.

They show the tree as it is when they are used.
"""

from collections.abc import Collection, ItemsView, Iterator, KeysView, Reversible, ValuesView
from typing import Any, Generic, TypeVar, overload

from penstock.btree.btree import BTree, MapTree, MultiMapTree

__all__ = ["At", "EntryItems", "EntryKeys", "EntryValues", "MapItems", "MapKeys", "MapValues"]

I = TypeVar("I")  # noqa: E741  # an item, as in BTree[K, I]
K = TypeVar("K")
T = TypeVar("T")
V = TypeVar("V")

ABSENT: Any = object()
LONG_STEP = 32  # from this step on a slice selects its items one by one


class At(Generic[I]):
    """The items of a tree by their place in its order, as a list has them.

    `at[i]` takes O(log n), a slice O(log n) and what it returns.
    """

    __slots__ = ("_tree",)

    def __init__(self, tree: BTree[Any, I]) -> None:
        self._tree = tree

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._tree!r})"

    def __len__(self) -> int:
        return len(self._tree)

    def __iter__(self) -> Iterator[I]:
        return self._tree.range()

    def __reversed__(self) -> Iterator[I]:
        return self._tree.range(reverse=True)

    @overload
    def __getitem__(self, at: int) -> I: ...
    @overload
    def __getitem__(self, at: slice) -> list[I]: ...
    def __getitem__(self, at: int | slice) -> I | list[I]:
        """The item at an index, or the list of those of a slice.

        Raises:
            IndexError: there is no such index.
            TypeError: `at` is neither an int nor a slice of ints.
        """
        return items_at(self._tree, at) if isinstance(at, slice) else self._tree.select(at)


def items_at(tree: BTree[Any, I], at: slice) -> list[I]:
    """The items of a slice, in its order, all of one moment whatever other threads do."""
    tree = tree.snapshot()
    places = range(*at.indices(len(tree)))
    if not places:
        return []
    if abs(places.step) >= LONG_STEP:
        return [tree.select(place) for place in places]
    first, last = min(places[0], places[-1]), max(places[0], places[-1])
    items: list[I] = tree._entries_at(first, last + 1)
    # they begin at one end of the slice and go to the other
    return items if places.step == 1 else items[:: places.step]


class MapKeys(KeysView[K]):
    """The keys of a map, ascending; also a set."""

    __slots__ = ()
    _mapping: MapTree[K, Any]

    def __iter__(self) -> Iterator[K]:
        return iter(self._mapping)

    def __reversed__(self) -> Iterator[K]:
        return reversed(self._mapping)


class MapValues(ValuesView[V]):
    """The values of a map, in the order of their keys."""

    __slots__ = ()
    _mapping: MapTree[Any, V]

    def __iter__(self) -> Iterator[V]:
        return self._mapping.values_range()

    def __reversed__(self) -> Iterator[V]:
        return self._mapping.values_range(reverse=True)

    def __contains__(self, value: object) -> bool:
        return any(same(held, value) for held in self)


class MapItems(ItemsView[K, V]):
    """The pairs of a map, in the order of their keys; also a set."""

    __slots__ = ()
    _mapping: MapTree[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping.range()

    def __reversed__(self) -> Iterator[tuple[K, V]]:
        return self._mapping.range(reverse=True)

    def __contains__(self, item: object) -> bool:
        if not (isinstance(item, tuple) and len(item) == 2):
            return False
        value = self._mapping.get(item[0], ABSENT)
        return value is not ABSENT and same(value, item[1])


class EntriesView(Collection[T], Reversible[T]):
    """What the views of a multimap share."""

    __slots__ = ("_tree",)

    def __init__(self, tree: MultiMapTree[Any, Any]) -> None:
        self._tree = tree

    def __len__(self) -> int:
        return len(self._tree)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._tree!r})"


class EntryKeys(EntriesView[K]):
    """The keys of a multimap, ascending, each as often as it has entries."""

    __slots__ = ()

    def __iter__(self) -> Iterator[K]:
        return iter(self._tree)

    def __reversed__(self) -> Iterator[K]:
        return reversed(self._tree)

    def __contains__(self, key: object) -> bool:
        return key in self._tree


class EntryValues(EntriesView[V]):
    """The values of a multimap, in the order of its entries."""

    __slots__ = ()

    def __iter__(self) -> Iterator[V]:
        return self._tree.values_range()

    def __reversed__(self) -> Iterator[V]:
        return self._tree.values_range(reverse=True)

    def __contains__(self, value: object) -> bool:
        return any(same(held, value) for held in self)


class EntryItems(EntriesView[tuple[K, V]]):
    """The entries of a multimap as pairs, in their order."""

    __slots__ = ()

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._tree.range()

    def __reversed__(self) -> Iterator[tuple[K, V]]:
        return self._tree.range(reverse=True)

    def __contains__(self, item: object) -> bool:
        if not (isinstance(item, tuple) and len(item) == 2):
            return False
        return any(same(held, item[1]) for held in self._tree.get_all(item[0]))


def same(held: object, value: object) -> bool:
    """Whether a list with `held` in it has `value`: NaN is itself."""
    return held is value or bool(held == value)
