"""What `items()` and `values()` of a cache return. To look at an entry through them is no use of it."""

from collections.abc import ItemsView, Iterator, ValuesView
from typing import Any, Protocol, TypeVar

from penstock.cache._settings import MISSING

__all__ = ["CacheItems", "CacheValues"]

K = TypeVar("K")
V = TypeVar("V")


class Snapshots(Protocol):
    """What the views need of a cache, either twin of it."""

    def _peek(self, key: object) -> Any: ...
    def _snapshot(self) -> list[tuple[Any, Any]]: ...


class CacheItems(ItemsView[K, V]):
    """The pairs of a cache as they were when iteration began."""

    __slots__ = ()
    _mapping: Snapshots

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return iter(self._mapping._snapshot())

    def __contains__(self, item: object) -> bool:
        if not (isinstance(item, tuple) and len(item) == 2):
            return False
        value = self._mapping._peek(item[0])
        return value is not MISSING and (value is item[1] or bool(value == item[1]))


class CacheValues(ValuesView[V]):
    """The values of a cache as they were when iteration began."""

    __slots__ = ()
    _mapping: Snapshots

    def __iter__(self) -> Iterator[V]:
        return iter([value for _, value in self._mapping._snapshot()])

    def __contains__(self, value: object) -> bool:
        return any(held is value or held == value for held in self)
