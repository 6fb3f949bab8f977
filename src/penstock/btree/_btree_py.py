"""Ordered trees, pure Python. Their compiled twins do the same over csrc/btree.c."""

from collections.abc import Iterable, Iterator
from itertools import accumulate, chain, islice
from typing import Any, Generic, TypeVar, overload

from penstock.btree._arguments import (
    ARRAY_KEY_TYPES,
    KeyType,
    ValueType,
    changed_in_comparison,
    changed_in_iteration,
    check_default,
    checked_index,
    checked_limit,
    checked_value,
    frozen_tree,
    keys_list,
    values_list,
)
from penstock.btree._leaves_py import Place
from penstock.btree._tree_py import BTree

__all__ = ["BTree", "MapTree", "MultiMapTree", "SetTree"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

ABSENT = object()
"""Stands for the value of a key that is not there."""


class SetTree(BTree[K, K]):
    """An ordered set of keys, what `BTreeSet` derives from.

    Args:
        key_type: "object" for whatever `<` orders; "int64", "uint64", "float64", "str" or "bytes" for trees
            that hold those only, in less memory and faster.

    Raises:
        InvalidValue: there is no such key type.
    """

    __slots__ = ()

    _HAS_VALUES = False

    def __init__(self, key_type: KeyType = "object", /) -> None:
        self._start(key_type, "object")

    def _item(self, at: int, place: int) -> K:
        key: K = self._leaves[at].keys[place]
        return key

    def _removed_item(self, removed: tuple[Any, Any]) -> K:
        key: K = removed[0]
        return key

    def _walk(self, changes: int, start: Place, stop: Place, reverse: bool) -> Iterator[K]:
        return self._walk_keys(changes, start, stop, reverse)

    def add(self, key: K, /) -> None:
        """Adds `key`; if an equal one is there, that one stays.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        if self._frozen:
            raise frozen_tree()
        key = self._check_key(key)
        while True:
            changes, at, place, there = self._find(key)
            if there or self._insert(changes, at, place, key, None):
                return

    def discard(self, key: K, /) -> None:
        """Removes `key` if it is there.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        if self._frozen:
            raise frozen_tree()
        key = self._check_key(key)
        while True:
            changes, at, place, there = self._find(key)
            if not there or self._remove(changes, at, place) is not None:
                return

    def remove(self, key: K, /) -> None:
        """Removes `key`.

        Raises:
            KeyError: it is not there.
            FrozenTree: the tree is a snapshot.
        """
        if self._frozen:
            raise frozen_tree()
        wanted = self._check_key(key)
        while True:
            changes, at, place, there = self._find(wanted)
            if not there:
                raise KeyError(key)
            if self._remove(changes, at, place) is not None:
                return

    def insert_many(self, keys: Iterable[K], /, *, sorted: bool = False) -> int:  # noqa: A002
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
        return self._put_many(keys_list(keys, self._key_type), None, sorted)


class ValueTree(BTree[K, tuple[K, V]], Generic[K, V]):
    """A tree whose keys have values."""

    __slots__ = ()

    def _item(self, at: int, place: int) -> tuple[K, V]:
        leaf = self._leaves[at]
        return leaf.keys[place], leaf.values[place]  # type: ignore[index]  # it has values

    def _removed_item(self, removed: tuple[Any, Any]) -> tuple[K, V]:
        return removed

    def _walk(self, changes: int, start: Place, stop: Place, reverse: bool) -> Iterator[tuple[K, V]]:
        for at, first, last in self._runs(start, stop, reverse):
            if self._changes != changes:
                raise changed_in_iteration()
            writes, leaf = self._writes, self._leaves[at]
            keys: list[K] = leaf.keys
            values: list[V] = leaf.values or []
            places = range(first, min(last, len(keys)))
            for place in reversed(places) if reverse else places:
                if self._changes != changes:
                    raise changed_in_iteration()
                if self._writes != writes:  # the leaf may be another one, with other values
                    writes, leaf = self._writes, self._leaves[at]
                    keys, values = leaf.keys, leaf.values or []
                yield keys[place], values[place]
        if self._changes != changes:
            raise changed_in_iteration()

    def _walk_values(self, changes: int, start: Place, stop: Place, reverse: bool) -> Iterator[V]:
        for _, value in self._walk(changes, start, stop, reverse):
            yield value

    def values_range(
        self,
        min: K | None = None,  # noqa: A002
        max: K | None = None,  # noqa: A002
        *,
        include: tuple[bool, bool] = (True, False),
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[V]:
        """The values of what `range` gives for these arguments."""
        changes, start, stop = self._bounds(min, max, include)
        values = self._walk_values(changes, start, stop, bool(reverse))
        return values if limit is None else islice(values, checked_limit(limit))

    def _first_value(self, key: Any, default: Any) -> Any:
        _, at, place, there = self._find(self._check_key(key))
        return self._leaves[at].values[place] if there else default  # type: ignore[index]

    def insert_many(
        self,
        keys: Iterable[K],
        values: Iterable[V],
        /,
        *,
        sorted: bool = False,  # noqa: A002
    ) -> int:
        listed = keys_list(keys, self._key_type)
        return self._put_many(listed, values_list(values, self._value_type), sorted)

    def _batch_values(self, values: list[Any]) -> Any:
        """An array if keys and values are numbers, else the list."""
        typed = self._key_type in ARRAY_KEY_TYPES and self._value_type != "object"
        return self._value_array(values) if typed else values


class MapTree(ValueTree[K, V]):
    """An ordered map from keys to values, what `BTreeMap` derives from.

    Args:
        key_type: "object" for whatever `<` orders; "int64", "uint64", "float64", "str" or "bytes" for trees
            that hold those only, in less memory and faster.
        value_type: "object" for anything; "int64" or "float64".

    Raises:
        InvalidValue: there is no such key type or value type.
    """

    __slots__ = ()

    def __init__(self, key_type: KeyType = "object", value_type: ValueType = "object", /) -> None:
        self._start(key_type, value_type)

    def __getitem__(self, key: K) -> V:
        _, at, place, there = self._find(self._check_key(key))
        if there:
            value: V = self._leaves[at].values[place]  # type: ignore[index]
            return value
        raise KeyError(key)

    def __setitem__(self, key: K, value: V) -> None:
        if self._frozen:
            raise frozen_tree()
        key = self._check_key(key)
        if self._check_value is not None:
            value = self._check_value(value)
        while True:
            changes, at, place, there = self._find(key)
            if there:
                if self._set_value(changes, at, place, value):
                    return
            elif self._insert(changes, at, place, key, value):
                return

    def __delitem__(self, key: K) -> None:
        if self._frozen:
            raise frozen_tree()
        wanted = self._check_key(key)
        while True:
            changes, at, place, there = self._find(wanted)
            if not there:
                raise KeyError(key)
            if self._remove(changes, at, place) is not None:
                return

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, default: T, /) -> V | T: ...

    def get(self, key: K, default: Any = None, /) -> Any:
        """The value of `key`, or `default`."""
        return self._first_value(key, default)

    def setdefault(self, key: K, default: V = None, /) -> V:  # type: ignore[assignment]
        """The value of `key`; if there is none, `default`, which is stored.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        if self._frozen:
            raise frozen_tree()
        key = self._check_key(key)
        if self._check_value is not None:
            default = self._check_value(default, "default")
        while True:
            changes, at, place, there = self._find(key)
            if there:
                value: V = self._leaves[at].values[place]  # type: ignore[index]
                return value
            if self._insert(changes, at, place, key, default):
                return default

    def pop(self, key: K, /, *default: Any) -> Any:
        """Removes `key` and returns its value; if there is none, the default.

        Raises:
            KeyError: it is not there, and no default was given.
            FrozenTree: the tree is a snapshot.
        """
        check_default(default)
        if self._frozen:
            raise frozen_tree()
        wanted = self._check_key(key)
        while True:
            changes, at, place, there = self._find(wanted)
            if not there:
                if default:
                    return default[0]
                raise KeyError(key)
            removed = self._remove(changes, at, place)
            if removed is not None:
                return removed[1]

    def get_many(self, keys: Iterable[K], /, default: Any = ...) -> Any:
        """The values of all of `keys`.

        Args:
            keys: (n,) array or an iterable; for typed keys what makes an array of their type without loss.
            default: the value of a key that is not there; `...` for none, then that is an error.

        Returns:
            (n,) array of the value type if keys and values are numbers by type; else a list.

        Raises:
            KeyError: a key is not there, and no default was given; it names the first.
        """
        if default is not ...:
            default = checked_value(default, self._value_type, "default")
        listed = keys_list(keys, self._key_type)
        found = self._look_up(listed, MapTree._value_or_absent)
        if default is not ...:
            found = [default if value is ABSENT else value for value in found]
        else:
            for key, value in zip(listed, found, strict=True):
                if value is ABSENT:
                    raise KeyError(key)
        return self._batch_values(found)

    def _value_or_absent(self, key: K) -> Any:
        return self._first_value(key, ABSENT)

    def insert_many(
        self,
        keys: Iterable[K],
        values: Iterable[V],
        /,
        *,
        sorted: bool = False,  # noqa: A002
    ) -> int:
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
        return super().insert_many(keys, values, sorted=sorted)


class MultiMapTree(ValueTree[K, V]):
    """An ordered map from keys to any number of values each, what `BTreeMultiMap` derives from.

    Equal keys stand together, in the order in which they were inserted.

    Args:
        key_type: "object" for whatever `<` orders; "int64", "uint64", "float64", "str" or "bytes" for trees
            that hold those only, in less memory and faster.
        value_type: "object" for anything; "int64" or "float64".

    Raises:
        InvalidValue: there is no such key type or value type.
    """

    __slots__ = ()

    _MULTI = True

    def __init__(self, key_type: KeyType = "object", value_type: ValueType = "object", /) -> None:
        self._start(key_type, value_type)

    def add(self, key: K, value: V, /) -> None:
        """Adds an entry, behind those with an equal key.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        if self._frozen:
            raise frozen_tree()
        key = self._check_key(key)
        if self._check_value is not None:
            value = self._check_value(value)
        while True:
            changes, (at, place) = self._seek(key, True)
            if self._insert(changes, at, place, key, value):
                return

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, default: T, /) -> V | T: ...

    def get(self, key: K, default: Any = None, /) -> Any:
        """The first value of `key`, or `default`."""
        return self._first_value(key, default)

    def _equals(self, key: K) -> tuple[int, Place, Place]:
        """The number of changes, and where the entries of a key start and stop."""
        while True:
            changes, start = self._seek(key, False)
            changes_later, stop = self._seek(key, True)
            if changes == changes_later:
                return changes, start, max(start, stop)
            self._try_again(1)

    def _all_values(self, key: K) -> list[V]:
        while True:
            changes, start, stop = self._equals(key)
            try:
                _, values = self._gathered(start, stop)
            except IndexError:
                if self._changes == changes:
                    raise
            if self._changes == changes:
                return values

    def get_all(self, key: K, /) -> list[V]:
        """The values of `key` in the order of insertion; an empty list if there are none."""
        return self._all_values(self._check_key(key))

    def _add_before(self, index: int, value: V, /) -> None:
        """Adds an entry with the key of entry `index`, just before it: for who keeps equals in an order."""
        if self._frozen:
            raise frozen_tree()
        if self._check_value is not None:
            value = self._check_value(value)
        while True:
            changes = self._changes
            at, place = self._place(checked_index(index, self._length))
            if self._insert(changes, at, place, self._leaves[at].keys[place], value):
                return

    def remove(self, key: K, value: V, /) -> None:
        """Removes the first entry with this key and an equal value, in O(log n + equals before it).

        Raises:
            KeyError: there is none.
            FrozenTree: the tree is a snapshot.
        """
        if self._frozen:
            raise frozen_tree()
        wanted = self._check_key(key)
        sought: Any = value if self._check_value is None else self._check_value(value)
        while True:
            changes, start, stop = self._equals(wanted)
            try:
                found = self._place_of_value(changes, start, stop, sought)
            except IndexError:
                if self._changes == changes:
                    raise
            if self._changes != changes:
                if self._value_type == "object":  # == may have done it, and would do it again
                    raise changed_in_comparison()
            elif found is None:
                raise KeyError((key, value))
            elif self._remove(changes, *found) is not None:
                return

    def _place_of_value(self, changes: int, start: Place, stop: Place, sought: Any) -> Place | None:
        """Where the first entry with an equal value is; None as well if a comparison changed the tree."""
        for at, first, last in self._runs(start, stop):
            values: list[Any] = (self._leaves[at].values or [])[first:last]
            if self._value_type != "object":
                if sought in values and sought == sought:  # NaN equals nothing
                    return at, first + values.index(sought)
                continue
            for place, stored in enumerate(values, first):
                if stored is sought or stored == sought:
                    return at, place
                if self._changes != changes:
                    return None
        return None

    def pop_all(self, key: K, /) -> list[V]:
        """Removes all entries of `key` and returns their values in the order of insertion.

        Raises:
            KeyError: there are none.
            FrozenTree: the tree is a snapshot.
        """
        if self._frozen:
            raise frozen_tree()
        wanted = self._check_key(key)
        while True:
            changes, start, stop = self._equals(wanted)
            if start == stop:
                raise KeyError(key)
            try:
                _, values = self._gathered(start, stop)
                if self._remove_between(changes, start, stop):
                    return values
            except IndexError:
                if self._changes == changes:
                    raise

    def get_many(self, keys: Iterable[K], /) -> Any:
        """The values of all of `keys`.

        Args:
            keys: (n,) array or an iterable; for typed keys what makes an array of their type without loss.

        Returns:
            `(values, offsets)`: the values of `keys[i]`, in the order of insertion, are
            `values[offsets[i] : offsets[i + 1]]`. Values are (m,), an array of the value type if keys and
            values are numbers by type, else a list; offsets are (n + 1,) int64.
        """
        import numpy as np

        groups = self._look_up(keys_list(keys, self._key_type), MultiMapTree.get_all)
        values = [*chain.from_iterable(groups)]
        offsets = [0, *accumulate(map(len, groups))]
        return self._batch_values(values), np.array(offsets, np.int64)

    def _places_of(self, keys: list[K]) -> dict[int, set[int]]:
        found: dict[int, set[int]] = {}
        for key in keys:
            _, start, stop = self._equals(key)
            for at, first, last in self._runs(start, stop):
                if first < last:
                    size = len(self._leaves[at].keys)
                    found.setdefault(at, set()).update(range(first, min(last, size)))
        return found

    def insert_many(
        self,
        keys: Iterable[K],
        values: Iterable[V],
        /,
        *,
        sorted: bool = False,  # noqa: A002
    ) -> int:
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
        return super().insert_many(keys, values, sorted=sorted)
