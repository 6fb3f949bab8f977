"""Sorted containers with the methods of sortedcontainers, for code that uses those today.

What is different:

- Keys are found by their order, not by hash and `==`: a key that cannot be compared with those that are
  there is a TypeError, also for `in` and `get`; keys need no hash; two neither of which is less are the same.
  So `d[k]` takes O(log n), where theirs, which keep a dict beside, take O(1).
- What changes the entries during an iteration ends it with a RuntimeError. What `islice` of a list goes over
  stays as it was at the first step.
- Only SortedKeyList takes a `key` function; SortedDict and SortedSet refuse one.
- NaN is refused.
- A SortedDict is no dict to `isinstance`; it is a MutableMapping. `__missing__` of a subclass is not called.
- `update` and its like of a SortedSet return nothing, and its operators take sets only.
- `copy` takes O(1).

The constructors take no key_type: for numbers as numbers use BTreeMap and its sisters, which do all this
under other names.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import eq, ge, gt, le, lt, ne
from reprlib import recursive_repr
from typing import Any, NoReturn, Self, TypeVar, cast, overload

from penstock.btree._algebra import ordered
from penstock.btree._views import MapItems, MapKeys, MapValues, items_at, same
from penstock.btree.btree import BTree, MultiMapTree
from penstock.btree.btree_map import BTreeMap
from penstock.btree.btree_set import BTreeSet
from penstock.errors import InvalidType, InvalidValue, shown

__all__ = ["SortedDict", "SortedKeyList", "SortedList", "SortedSet"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

CHUNK = 512  # items that `islice` takes at a time
NOT_GIVEN: Any = object()  # no default, where None is one


class SortedDict(BTreeMap[K, V]):
    """A BTreeMap with the methods of sortedcontainers.SortedDict.

    Args:
        *args: nothing, a mapping or an iterable of pairs; before it may stand None, for the `key` function.
        **kwargs: more entries, by keys that are names.

    Raises:
        TypeError: a `key` function was given, or keys have no order among each other.
    """

    __slots__ = ()

    @overload
    def __init__(self, items: Mapping[K, V] | Iterable[tuple[K, V]] = (), /, **kwargs: V) -> None: ...
    @overload
    def __init__(
        self, key: None, items: Mapping[K, V] | Iterable[tuple[K, V]] = (), /, **kwargs: V
    ) -> None: ...
    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        if args and (args[0] is None or callable(args[0])):
            check_no_key(args[0])
            args = args[1:]
        self.update(*args, **kwargs)

    key = None

    def bisect_left(self, key: K) -> int:
        """How many keys are less."""
        return self.rank(key)

    def bisect_right(self, key: K) -> int:
        """How many keys are not greater."""
        return self.rank_right(key)

    bisect = bisect_right

    def index(self, key: K, start: int | None = None, stop: int | None = None) -> int:
        """Where a key stands. Raises ValueError if it does not stand in [start, stop)."""
        return index_of(self, key, start, stop)

    def irange(
        self, minimum: K | None = None, maximum: K | None = None,
        inclusive: tuple[bool, bool] = (True, True), reverse: bool = False,
    ) -> Iterator[K]:  # fmt: skip
        """The keys from `minimum` to `maximum`."""
        return self.keys_range(minimum, maximum, include=inclusive, reverse=reverse)

    def islice(self, start: int | None = None, stop: int | None = None, reverse: bool = False) -> Iterator[K]:
        """The keys with the indexes from `start` to `stop`."""
        return keys_between(self, start, stop, reverse)

    def peekitem(self, index: int = -1) -> tuple[K, V]:
        """The item at an index. Raises IndexError if there is none."""
        return self.select(index)

    def popitem(self, index: int = -1) -> tuple[K, V]:
        """Removes the item at an index and returns it. Raises KeyError if there is none, else IndexError."""
        return self.pop_last() if index == -1 or not self else self.pop_at(index)

    def pop(self, key: K, default: Any = NOT_GIVEN) -> Any:
        """Removes a key and returns its value; if there is none, the default. Raises KeyError without one."""
        return super().pop(key) if default is NOT_GIVEN else super().pop(key, default)

    def setdefault(self, key: K, default: V = None) -> V:  # type: ignore[assignment]  # as a dict's
        """The value of a key; if there is none, the default, which is stored."""
        return super().setdefault(key, default)

    def keys(self) -> "SortedKeys[K]":
        """The keys, ascending: a view that has indexes."""
        return SortedKeys(self)

    def values(self) -> "SortedValues[V]":
        """The values, in the order of their keys: a view that has indexes."""
        return SortedValues(self)

    def items(self) -> "SortedItems[K, V]":
        """The items, in the order of their keys: a view that has indexes."""
        return SortedItems(self)

    @recursive_repr()
    def __repr__(self) -> str:
        return f"{type(self).__name__}({{{', '.join(f'{key!r}: {value!r}' for key, value in self.range())}}})"


class SortedKeys(MapKeys[K], Sequence[K]):
    """The keys of a SortedDict, by index too."""

    __slots__ = ()

    def __getitem__(self, at: Any) -> Any:
        items = place(self._mapping, at)
        return [key for key, _ in items] if isinstance(at, slice) else items[0]

    def __delitem__(self, at: int | slice) -> None:
        delete_at(self._mapping, at)


class SortedValues(MapValues[V], Sequence[V]):
    """The values of a SortedDict, by index too."""

    __slots__ = ()

    def __getitem__(self, at: Any) -> Any:
        items = place(self._mapping, at)
        return [value for _, value in items] if isinstance(at, slice) else items[1]


class SortedItems(MapItems[K, V], Sequence[tuple[K, V]]):
    """The items of a SortedDict, by index too."""

    __slots__ = ()

    def __getitem__(self, at: Any) -> Any:
        return place(self._mapping, at)

    def __delitem__(self, at: int | slice) -> None:
        delete_at(self._mapping, at)


class SortedSet(BTreeSet[T]):
    """A BTreeSet with the methods of sortedcontainers.SortedSet.

    Args:
        iterable: the elements; None: none.
        key: None; there is no `key` function.

    Raises:
        TypeError: a `key` function was given, or elements have no order among each other.
    """

    __slots__ = ()

    def __init__(self, iterable: Iterable[T] | None = None, key: None = None) -> None:
        super().__init__()
        check_no_key(key)
        if iterable is not None:
            self.update(iterable)

    key = None

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        """The element at an index, or the list of those of a slice."""
        return cast("T | list[T]", place(self, index))

    def __delitem__(self, index: int | slice) -> None:
        delete_at(self, index)

    def count(self, value: T) -> int:  # type: ignore[override]  # the name of sortedcontainers
        """1 if the set has the element, else 0."""
        return int(value in self)

    def pop(self, index: int = -1) -> T:
        """Removes the element at an index and returns it. Raises IndexError if there is none."""
        return self.pop_at(index)

    def bisect_left(self, value: T) -> int:
        """How many elements are less."""
        return self.rank(value)

    def bisect_right(self, value: T) -> int:
        """How many elements are not greater."""
        return self.rank_right(value)

    bisect = bisect_right

    def index(self, value: T, start: int | None = None, stop: int | None = None) -> int:
        """Where an element stands. Raises ValueError if it does not stand in [start, stop)."""
        return index_of(self, value, start, stop)

    def irange(
        self, minimum: T | None = None, maximum: T | None = None,
        inclusive: tuple[bool, bool] = (True, True), reverse: bool = False,
    ) -> Iterator[T]:  # fmt: skip
        """The elements from `minimum` to `maximum`."""
        return self.keys_range(minimum, maximum, include=inclusive, reverse=reverse)

    def islice(self, start: int | None = None, stop: int | None = None, reverse: bool = False) -> Iterator[T]:
        """The elements with the indexes from `start` to `stop`."""
        return keys_between(self, start, stop, reverse)

    @recursive_repr()
    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"


class SortedList(Sequence[T]):
    """A sorted list with the methods of sortedcontainers.SortedList, kept in a BTreeMultiMap's tree.

    Args:
        iterable: the values; None: none.
        key: None; a function makes a SortedKeyList, as there.

    Raises:
        TypeError: values have no order among each other.
    """

    __slots__ = ("__weakref__", "_tree")
    _tree: MultiMapTree[Any, T]  # the key of a value, which may be the value itself -> the value

    def __new__(cls, iterable: Iterable[T] | None = None, key: Callable[[T], Any] | None = None) -> Self:
        """A SortedKeyList, where a `key` function is given."""
        if key is not None and not issubclass(cls, SortedKeyList):
            if cls is not SortedList:
                raise InvalidType(f"key must be None for a {cls.__name__}: derive from SortedKeyList")
            return cast("Self", super().__new__(SortedKeyList))
        return super().__new__(cls)

    def __init__(self, iterable: Iterable[T] | None = None, key: Callable[[T], Any] | None = None) -> None:
        self._tree = MultiMapTree()
        if iterable is not None:
            self.update(iterable)

    @property
    def key(self) -> Callable[[T], Any] | None:
        """The function that gives the key of a value, None here."""
        return None

    def _key_of(self, value: T) -> Any:
        return value

    # ---- adding and removing

    def add(self, value: T) -> None:
        """Adds a value, behind its equals."""
        self._tree.add(self._key_of(value), value)

    def update(self, iterable: Iterable[T]) -> None:
        """Adds many values, all or none."""
        values, ascending = ordered(iterable, "object")
        self._tree.insert_many(values, values, sorted=ascending)

    def clear(self) -> None:
        """Removes all."""
        self._tree.clear()

    def remove(self, value: T) -> None:
        """Removes the first that is equal. Raises ValueError if there is none."""
        try:
            self._tree.remove(self._key_of(value), value)
        except KeyError:
            raise InvalidValue(f"value must be in the list, got {shown(value)}") from None

    def discard(self, value: T) -> None:
        """Removes the first that is equal, if there is one."""
        with suppress(InvalidValue):
            self.remove(value)

    def pop(self, index: int = -1) -> T:
        """Removes the value at an index and returns it. Raises IndexError if there is none."""
        return self._tree.pop_at(index)[1]

    def __delitem__(self, index: int | slice) -> None:
        delete_at(self._tree, index)

    # ---- finding

    def __contains__(self, value: object) -> bool:
        return value in self._tree

    def count(self, value: T) -> int:
        """How many are equal."""
        return self._tree.count(value, value, include=(True, True))

    def index(self, value: T, start: int | None = None, stop: int | None = None) -> int:
        """Where the first that is equal stands. Raises ValueError if none stands in [start, stop)."""
        first, last, _ = slice(start, stop).indices(len(self))
        at = max(first, self._tree.rank(value))
        if at >= min(last, self._tree.rank_right(value)):
            raise InvalidValue(f"value must be in the list, got {shown(value)}")
        return at

    def bisect_left(self, value: T) -> int:
        """How many values are less."""
        return self._tree.rank(self._key_of(value))

    def bisect_right(self, value: T) -> int:
        """How many values are not greater."""
        return self._tree.rank_right(self._key_of(value))

    bisect = bisect_right

    def irange(
        self, minimum: T | None = None, maximum: T | None = None,
        inclusive: tuple[bool, bool] = (True, True), reverse: bool = False,
    ) -> Iterator[T]:  # fmt: skip
        """The values from `minimum` to `maximum`."""
        lowest = None if minimum is None else self._key_of(minimum)
        highest = None if maximum is None else self._key_of(maximum)
        return self._tree.values_range(lowest, highest, include=inclusive, reverse=reverse)

    def islice(self, start: int | None = None, stop: int | None = None, reverse: bool = False) -> Iterator[T]:
        """The values with the indexes from `start` to `stop`."""
        return (value for _, value in items_between(self._tree, start, stop, reverse))

    # ---- as a list

    def __len__(self) -> int:
        return len(self._tree)

    def __iter__(self) -> Iterator[T]:
        return self._tree.values_range()

    def __reversed__(self) -> Iterator[T]:
        return self._tree.values_range(reverse=True)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        """The value at an index, or the list of those of a slice."""
        if isinstance(index, slice):
            return [value for _, value in items_at(self._tree, index)]
        return self._tree.select(index)[1]

    def copy(self) -> Self:
        """A list with the same values, in O(1): the two are apart when one of them changes."""
        other = type(self).__new__(type(self))
        other._tree = self._tree.copy()
        return other

    __copy__ = copy

    def _with(self, values: Iterable[T]) -> Self:
        return type(self)(values)

    def __add__(self, other: Iterable[T]) -> Self:
        return self._with([*self, *other])

    __radd__ = __add__

    def __iadd__(self, other: Iterable[T]) -> Self:
        self.update(other)
        return self

    def __mul__(self, times: int) -> Self:
        return self._with(list(self) * times)

    __rmul__ = __mul__

    def __imul__(self, times: int) -> Self:
        values = list(self) * times
        tree = self._with(values)._tree
        self._tree = tree
        return self

    def __eq__(self, other: object) -> bool:
        return compared(self, other, eq)

    def __ne__(self, other: object) -> bool:
        return compared(self, other, ne)

    def __lt__(self, other: object) -> bool:
        return compared(self, other, lt)

    def __le__(self, other: object) -> bool:
        return compared(self, other, le)

    def __gt__(self, other: object) -> bool:
        return compared(self, other, gt)

    def __ge__(self, other: object) -> bool:
        return compared(self, other, ge)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self),)

    @recursive_repr()
    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"

    # ---- what would put a value where it may not belong

    def append(self, value: T) -> NoReturn:
        """Refused: use `add`."""
        raise NotImplementedError("use add(value): a sorted list finds the place itself")

    def extend(self, values: Iterable[T]) -> NoReturn:
        """Refused: use `update`."""
        raise NotImplementedError("use update(values): a sorted list finds the places itself")

    def insert(self, index: int, value: T) -> NoReturn:
        """Refused: use `add`."""
        raise NotImplementedError("use add(value): a sorted list finds the place itself")

    def reverse(self) -> NoReturn:
        """Refused: use `reversed`."""
        raise NotImplementedError("use reversed(values): a sorted list has one order")

    def __setitem__(self, index: int | slice, value: Any) -> NoReturn:
        raise NotImplementedError(
            "use del values[index] and add(value): a sorted list finds the place itself"
        )


class SortedKeyList(SortedList[T]):
    """A list sorted by what a function says of each value; methods of sortedcontainers.SortedKeyList.

    Args:
        iterable: the values; None: none.
        key: called as `key(value)`, returns what the value is ordered by; once for each value that comes.

    Raises:
        TypeError: keys have no order among each other.
    """

    __slots__ = ("_key",)

    def __init__(self, iterable: Iterable[T] | None = None, key: Callable[[T], Any] | None = None) -> None:
        self._key = key if key is not None else itself
        super().__init__(iterable)

    @property
    def key(self) -> Callable[[T], Any]:
        """The function that gives the key of a value."""
        return self._key

    def _key_of(self, value: T) -> Any:
        return self._key(value)

    def update(self, iterable: Iterable[T]) -> None:
        """Adds many values, all or none."""
        values = list(iterable)
        self._tree.insert_many(list(map(self._key, values)), values)

    def _with_key_of(self, value: Any) -> list[T]:
        return self._tree.get_all(self._key(value))

    def __contains__(self, value: object) -> bool:
        return any(same(each, value) for each in self._with_key_of(value))

    def count(self, value: T) -> int:
        """How many are equal."""
        return sum(same(each, value) for each in self._with_key_of(value))

    def index(self, value: T, start: int | None = None, stop: int | None = None) -> int:
        """Where the first that is equal stands. Raises ValueError if none stands in [start, stop)."""
        first, last, _ = slice(start, stop).indices(len(self))
        for at, each in enumerate(self._with_key_of(value), self.bisect_left(value)):
            if first <= at < last and same(each, value):
                return at
        raise InvalidValue(f"value must be in the list, got {shown(value)}")

    def bisect_key_left(self, key: Any) -> int:
        """How many values have a key that is less."""
        return self._tree.rank(key)

    def bisect_key_right(self, key: Any) -> int:
        """How many values have a key that is not greater."""
        return self._tree.rank_right(key)

    bisect_key = bisect_key_right

    def irange_key(
        self, min_key: Any = None, max_key: Any = None,
        inclusive: tuple[bool, bool] = (True, True), reverse: bool = False,
    ) -> Iterator[T]:  # fmt: skip
        """The values whose keys are from `min_key` to `max_key`."""
        return self._tree.values_range(min_key, max_key, include=inclusive, reverse=reverse)

    def copy(self) -> Self:
        """A list with the same values, in O(1): the two are apart when one of them changes."""
        other = super().copy()
        other._key = self._key
        return other

    __copy__ = copy

    def _with(self, values: Iterable[T]) -> Self:
        return type(self)(values, key=self._key)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self), self._key)

    @recursive_repr()
    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r}, key={self._key!r})"


def itself(value: T) -> T:
    """The key of a value where no function was given."""
    return value


def check_no_key(key: object) -> None:
    if key is not None:
        raise InvalidType(f"key must be None: only SortedKeyList orders by a function, got {shown(key)}")


def place(tree: BTree[Any, Any], at: int | slice) -> Any:
    """The item at an index, or a list of items."""
    return items_at(tree, at) if isinstance(at, slice) else tree.select(at)


def delete_at(tree: BTree[Any, Any], at: int | slice) -> None:
    """Removes the item at an index, or those of a slice."""
    if not isinstance(at, slice):
        tree.pop_at(at)
        return
    places = range(*at.indices(len(tree)))
    if places.step < 0:
        places = places[::-1]
    if places.step == 1 and len(places) > 1:
        first, last = (key_of(tree, place) for place in (places[0], places[-1]))
        removed = tree.delete_range(first, last, include=(False, False))
        places = places[: len(places) - removed]  # the equals of the first and of the last, together now
    for each in reversed(places):
        tree.pop_at(each)


def key_of(tree: BTree[Any, Any], place: int) -> Any:
    """The key at an index."""
    item = tree.select(place)
    return item if tree.value_type is None else item[0]


def keys_between(tree: BTree[K, Any], start: int | None, stop: int | None, reverse: bool) -> Iterator[K]:
    """The keys with the indexes from start to stop, of a tree that has each key once."""
    places = range(*slice(start, stop).indices(len(tree)))
    if not places:
        return iter(())
    if reverse:
        last = key_of(tree, places[-1])
        return tree.keys_range(None, last, include=(True, True), reverse=True, limit=len(places))
    return tree.keys_range(key_of(tree, places[0]), limit=len(places))


def items_between(tree: BTree[Any, T], start: int | None, stop: int | None, reverse: bool) -> Iterator[T]:
    """The items with the indexes from start to stop, a chunk at a time, of the tree as it is at the first."""
    tree = tree.snapshot()
    first, last, _ = slice(start, stop).indices(len(tree))
    if reverse:
        for end in range(last, first, -CHUNK):
            yield from tree._entries_at(max(first, end - CHUNK), end)[::-1]
    else:
        for begin in range(first, last, CHUNK):
            yield from tree._entries_at(begin, min(begin + CHUNK, last))


def index_of(tree: BTree[K, Any], key: K, start: int | None, stop: int | None) -> int:
    first, last, _ = slice(start, stop).indices(len(tree))
    at = tree.rank(key)
    if not first <= at < last or tree.rank_right(key) == at:
        raise InvalidValue(f"key must be in the tree, got {shown(key)}")
    return at


def compared(values: SortedList[Any], other: object, compare: Callable[[Any, Any], bool]) -> bool:
    """A list with a sequence, as lists are compared."""
    if not isinstance(other, Sequence):
        return NotImplemented  # type: ignore[no-any-return]
    return bool(compare(list(values), list(other)))


Sequence.register(SortedSet)
