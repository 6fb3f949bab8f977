"""One index of a table: a B-tree from what the rows have in the index's columns to their ids.

Rows with equal keys are in the order of their ids, so that one is found among any number of them in O(log n).

Left out of it are rows without a value in its first column: None, NaN, or no such column. Where a later
column of a composite index has no value, the row comes before those that have one.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Real
from typing import Any, NamedTuple

from penstock.btree.btree import KeyType
from penstock.btree.btree_multi_map import BTreeMultiMap
from penstock.btree.conditions import Condition, Equal, Prefix, Range, Row
from penstock.errors import InvalidType, InvalidValue, PenstockError, shown

__all__ = ["Bounds", "DuplicateKey", "TableIndex"]

Included = tuple[bool, bool]

BOTH = (True, True)

EXACT_IN_FLOAT64 = 1 << 53
"""Whole numbers up to this size, and not all beyond, are floats."""

ARRAYS_FROM = 50
"""Rows from which on they are sorted faster in an array than in a list."""

PLAIN = frozenset((int, str, bytes, bool))
"""Types of which no value is NaN: the common ones."""

EXACT = (Integral, float, Decimal, Fraction)
"""Numbers that compare with ints and floats by what they are, not rounded, as numpy's float32 does."""

WHOLE = {
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint64": (0, (1 << 64) - 1),
    "float64": (-EXACT_IN_FLOAT64, EXACT_IN_FLOAT64),
}
"""The whole numbers that each type of numbers has, all of them."""

WIDER: dict[KeyType, tuple[KeyType, ...]] = {"int64": ("float64", "object"), "float64": ("object",)}
"""What an index may become that chose its key type itself, when a key comes that does not fit."""


class DuplicateKey(PenstockError, ValueError):
    """Two rows may not have the same values in the columns of a unique index."""


class Null:
    """Stands in composite keys where a row has no value: less than everything."""

    __slots__ = ()
    __array_ufunc__ = None  # numpy's scalars leave the comparison to us

    def __lt__(self, other: object) -> bool:
        return self is not other

    def __gt__(self, other: object) -> bool:
        return False

    def __repr__(self) -> str:
        return "None"


class Top:
    """Ends bounds of composite keys: greater than everything."""

    __slots__ = ()
    __array_ufunc__ = None

    def __lt__(self, other: object) -> bool:
        return False

    def __gt__(self, other: object) -> bool:
        return self is not other


NULL = Null()
TOP = Top()


class Bounds(NamedTuple):
    """The part of an index that a query has to visit."""

    min: Any
    max: Any
    include: Included
    columns: tuple[str, ...]
    """Whose conditions it answers; all others are still to be tested."""
    is_key: bool = False
    """Whether it is the one key `min`."""


class TableIndex:
    """Entries (key, row id); keys are values of the one column, or tuples of values of several.

    Args:
        name: of the index.
        columns: one or more.
        unique: whether no two rows may have the same key; rows that lack a value are exempt.
        key_type: of the tree; None to choose by what is inserted, and again when a key does not fit.
    """

    def __init__(
        self, name: str, columns: tuple[str, ...], *, unique: bool = False, key_type: KeyType | None = None
    ) -> None:
        if len(columns) > 1 and key_type not in (None, "object"):
            raise InvalidValue(
                f"key_type of an index of several columns must be 'object', got {shown(key_type)}"
            )
        self.name = name
        self.columns = columns
        self.unique = unique
        self._chooses = key_type is None and len(columns) == 1
        self._tree: BTreeMultiMap[Any, int] = BTreeMultiMap(
            key_type="object" if key_type is None else key_type, value_type="int64"
        )

    # What it is

    @property
    def key_type(self) -> str:
        """Of its tree at present."""
        return self._tree.key_type

    def __len__(self) -> int:
        return len(self._tree)

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self._tree.__sizeof__()

    def check(self) -> None:
        """Raises BrokenTree when the tree breaks a rule of its own."""
        self._tree.check()

    # Keeping it

    def key_of(self, row: Row) -> Any:
        """The key of a row; None when the row is in no place of this index."""
        if len(self.columns) > 1:
            return self._composite_key_of(row)
        key = row.get(self.columns[0])
        if is_null(key):
            return None
        if not self._chooses and not fits(key, self.key_type):
            return self._converted(key)
        return key

    def _composite_key_of(self, row: Row) -> tuple[Any, ...] | None:
        if is_null(row.get(self.columns[0])):
            return None
        return tuple(NULL if is_null(value := row.get(column)) else value for column in self.columns)

    def _converted(self, key: Any) -> Any:
        """A key for a type that was asked for; the tree has the words for what it cannot take."""
        if self.key_type == "float64" and isinstance(key, EXACT) and exactly(key, "float64") is None:
            raise InvalidValue(f"{self.columns[0]} must be exact as a float64, got {shown(key)}")
        return key

    def state(self) -> Any:
        """What `restore` takes to undo everything that follows; O(1)."""
        return self._tree.copy()

    def restore(self, state: Any) -> None:
        """Undoes what was done since `state`."""
        self._tree = state

    def add(self, key: Any, row_id: int) -> None:
        """Adds a row's entry, O(log n); O(n) when the tree needs another key type for it.

        Raises:
            DuplicateKey: the index is unique and has the key.
            TypeError: the key cannot be compared with the others.
        """
        tree = self._tree if self._tree and fits(key, self._tree.key_type) else self._tree_for([key])
        if self.unique and self._is_whole(key) and tree.count(key, key, include=(True, True)):
            raise self._duplicate(key, tree.get_all(key)[0])
        before = tree.floor_item(key)
        if before is None or before[1] < row_id or before[0] < key:
            tree.add(key, row_id)
        else:  # an update: rows inserted later have the key already
            tree._add_before(place_of(tree, key, row_id), row_id)
        self._tree = tree

    def _tree_for(self, keys: list[Any]) -> "BTreeMultiMap[Any, int]":
        """The tree, or one of another type with the same entries, that can take keys, one or more."""
        present: Any = self._tree.key_type
        if not self._chooses or (self._tree and all_fit(keys, present)):
            return self._tree
        best: KeyType
        if self._tree:
            together = [*self._tree.keys_range(), *keys]
            best = next((kind for kind in WIDER.get(present, ()) if all_fit(together, kind)), "object")
        else:
            best = type_for(keys)
        if best == present:
            return self._tree
        tree: BTreeMultiMap[Any, int] = BTreeMultiMap(key_type=best, value_type="int64")
        tree.insert_many(list(self._tree.keys_range()), list(self._tree.values_range()))
        return tree

    def remove(self, key: Any, row_id: int) -> None:
        """Removes a row's entry, O(log n)."""
        tree = self._tree
        place = place_of(tree, key, row_id)
        if place == len(tree) or tree.select(place)[1] != row_id:  # a value that has changed in its row
            raise KeyError((key, row_id))
        tree.pop_at(place)

    def move(self, old: Any, new: Any, row_id: int) -> None:
        """Gives a row's entry another key; None is no entry. After an error the caller restores it."""
        if old is not None and type(old) is type(new) and old == new:  # 1.0 for 1 may need another tree
            return
        if old is not None:
            self.remove(old, row_id)
        if new is not None:
            self.add(new, row_id)

    def add_many(self, rows: Mapping[int, Row]) -> None:
        """Adds rows with ids greater than all before, O(n log n) for n of them.

        Raises:
            DuplicateKey: the index is unique and two rows have one key. The caller restores it.
        """
        keys, row_ids = [], []
        for row_id, row in rows.items():
            key = self.key_of(row)
            if key is not None:
                keys.append(key)
                row_ids.append(row_id)
        if not keys:
            return
        self._tree = self._tree_for(keys)
        if self.key_type in ("int64", "uint64", "float64"):
            import numpy as np  # here: to import penstock.btree takes a third of the time without it

            typed = np.array(keys, dtype=self.key_type) if all_fit(keys, self.key_type) else keys
            self._tree.insert_many(typed, np.array(row_ids, dtype=np.int64))
        else:
            self._tree.insert_many(keys, row_ids)
        if self.unique:
            self._require_unique(keys)

    def _require_unique(self, keys: Iterable[Any]) -> None:
        for key in keys:
            if self._is_whole(key) and self._tree.count(key, key, include=(True, True)) > 1:
                raise self._duplicate(key, min(self._tree.get_all(key)))

    def _is_whole(self, key: Any) -> bool:
        """Whether no column lacks its value."""
        return len(self.columns) == 1 or not any(value is NULL for value in key)

    def _duplicate(self, key: Any, row_id: int) -> DuplicateKey:
        columns = ", ".join(self.columns)
        return DuplicateKey(
            f"{columns} must be unique in index {self.name!r}, got {shown(key)} again, which row {row_id} has"
        )

    # Asking it

    def bounds_of(self, conditions: Mapping[str, Condition]) -> Bounds | str:
        """What of it a query with these conditions has to visit; why it is of no use to it as a str."""
        equal: list[Any] = []
        answered = []
        last: Range | None = None
        for column in self.columns:
            condition = conditions.get(column)
            if isinstance(condition, Prefix):
                condition = condition.as_range()
            if isinstance(condition, Equal) and not is_null(condition.value):
                equal.append(condition.value)
            elif isinstance(condition, Range) and not (is_nan(condition.min) or is_nan(condition.max)):
                last = condition
            else:
                break
            answered.append(column)
            if last:
                break
        if not answered:
            first = self.columns[0]
            if first not in conditions:
                return f"no condition is on {first}"
            return f"it cannot tell where {first} {conditions[first]}"
        if len(self.columns) == 1:
            return self._typed_bounds(last) if last else self._typed_point(equal[0])
        bounds = self._composite_bounds(tuple(equal), last)
        return Bounds(*bounds, tuple(answered), len(equal) == len(self.columns))

    def bounds_between(self, min: Any, max: Any, include: Included) -> Bounds:  # noqa: A002
        """The bounds of a range of keys; of several columns, ends are tuples of values for the first few.

        Raises:
            InvalidType: an end is no tuple, or too long.
            InvalidValue: an end is NaN, or has it or None in it.
        """
        for name, end in (("min", min), ("max", max)):
            values = end if len(self.columns) > 1 and end is not None else (end,)
            if not isinstance(values, tuple) or not 0 < len(values) <= len(self.columns):
                rule = f"a tuple of 1 to {len(self.columns)} values for index {self.name!r}"
                raise InvalidType(f"{name} must be {rule}, got {shown(end)}")
            if any(map(is_nan, values)) or (end is not None and None in values):
                raise InvalidValue(
                    f"{name} must not have None or NaN, which are in no index, got {shown(end)}"
                )
        if len(self.columns) > 1:
            if min is not None and not include[0]:
                min = (*min, TOP)  # noqa: A001
            if max is not None and include[1]:
                max = (*max, TOP)  # noqa: A001
            return Bounds(min, max, include, self.columns)
        bounds = self._typed_bounds(Range(min, max, include))
        return bounds if isinstance(bounds, Bounds) else Bounds(min, max, include, self.columns)

    def point_at(self, value: Any) -> Bounds:
        """The bounds of one key in an index of one column; what its tree cannot have, the tree refuses."""
        bounds = self._typed_point(value)
        return bounds if isinstance(bounds, Bounds) else Bounds(value, value, BOTH, self.columns, True)

    def _typed_point(self, value: Any) -> Bounds | str:
        same = exactly(value, self.key_type)
        if same is None:
            return self._typed_bounds(Range(value, value, BOTH))
        return Bounds(same, same, BOTH, self.columns, True)

    def _typed_bounds(self, asked: Range) -> Bounds | str:
        """The bounds of a range in an index of one column; as a str, why the tree cannot have them."""
        low = end_for(asked.min, asked.include[0], self.key_type, lower=True)
        if low is None:
            return f"{shown(asked.min)} is no {self.key_type} for it to look up"
        high = end_for(asked.max, asked.include[1], self.key_type, lower=False)
        if high is None:
            return f"{shown(asked.max)} is no {self.key_type} for it to look up"
        return Bounds(low[0], high[0], (low[1], high[1]), self.columns)

    def _composite_bounds(self, equal: tuple[Any, ...], last: Range | None) -> tuple[Any, Any, Included]:
        """Ends of all keys that begin with `equal` and whose next value is in the range `last`."""
        if last is None:
            whole = len(equal) == len(self.columns)
            return equal, (equal if whole else (*equal, TOP)), BOTH
        with_min, with_max = last.include
        if last.min is None:
            min_ = (*equal, NULL, TOP)  # after those without a value, which are in no range
        else:
            min_ = (*equal, last.min) if with_min else (*equal, last.min, TOP)
        if last.max is None:
            return min_, (*equal, TOP), BOTH
        return min_, ((*equal, last.max, TOP) if with_max else (*equal, last.max)), (True, with_max)

    def count(self, bounds: Bounds) -> int:
        """How many rows are within bounds, exactly, O(log n)."""
        return self._tree.count(bounds.min, bounds.max, include=bounds.include)

    def row_ids(self, bounds: Bounds) -> list[int]:
        """The rows within bounds, ascending, O(log n + k log k) for k of them."""
        if bounds.is_key:
            return self._tree.get_all(bounds.min)
        min_, max_, include = bounds.min, bounds.max, bounds.include
        if self.count(bounds) < ARRAYS_FROM:
            return sorted(self._tree.values_range(min_, max_, include=include))
        import numpy as np

        if self.key_type in ("int64", "uint64", "float64"):
            _, found = self._tree.range_arrays(min_, max_, include=include)
        else:
            found = np.fromiter(self._tree.values_range(min_, max_, include=include), dtype=np.int64)
        found.sort()
        row_ids: list[int] = found.tolist()
        return row_ids

    def row_ids_by_key(self, bounds: Bounds) -> list[int]:
        """The rows within bounds, by key and, where keys are equal, by row id; O(log n + k)."""
        return list(self._tree.values_range(bounds.min, bounds.max, include=bounds.include))


def place_of(tree: "BTreeMultiMap[Any, int]", key: Any, row_id: int) -> int:
    """The place of a row among those with a key, which are in the order of their ids; O(log n)."""
    first, end = tree.rank(key), tree.rank_right(key)
    return first + bisect_left(range(first, end), row_id, key=lambda place: tree.select(place)[1])


def is_nan(value: Any) -> bool:
    """Whether it is a float, numpy's of any size too, that is no number."""
    kind = type(value)
    if kind is float:
        return bool(value != value)
    return kind not in PLAIN and isinstance(value, Real) and bool(value != value)


def is_null(value: Any) -> bool:
    """Whether an index has no place for a value."""
    return value is None or is_nan(value)


def fits(key: Any, key_type: str) -> bool:
    """Whether a tree of this type holds, and compares, a key exactly as it is."""
    if key_type == "object":
        return True
    kind = type(key)
    if key_type in ("str", "bytes"):
        return kind is (str if key_type == "str" else bytes)
    if kind is float or isinstance(key, float):  # numpy's float64 is one
        return key_type == "float64"
    if kind is not int and not isinstance(key, Integral):  # numpy's integers are some
        return False
    low, high = WHOLE[key_type]
    return bool(low <= key <= high)


def exactly(key: Any, key_type: str) -> Any:
    """What a tree of this type has in place of a key: itself, or an equal number; None when there is none."""
    if fits(key, key_type):
        return key
    if key_type in ("str", "bytes") or not isinstance(key, EXACT):
        return None
    convert: Any = float if key_type == "float64" else int
    try:
        same = convert(int(key) if isinstance(key, Integral) else key)
    except (ArithmeticError, ValueError):  # infinite or NaN
        return None
    return same if same == key and (key_type == "float64" or fits(same, key_type)) else None


def end_for(end: Any, included: bool, key_type: str, *, lower: bool) -> tuple[Any, bool] | None:
    """An end of a range as a key of this type, and whether the range has it; None when there is no such key.

    What lies between two numbers of the type becomes the next of them within the range.
    """
    if end is None:
        return end, included
    same = exactly(end, key_type)
    if same is not None:
        return same, included
    if key_type in ("str", "bytes") or not isinstance(end, EXACT):
        return None
    try:
        if key_type == "float64":
            return next_float(end, upwards=lower), True
        whole = math.ceil(end) if lower else math.floor(end)
    except (ArithmeticError, ValueError):  # as above
        return None
    return (whole, True) if fits(whole, key_type) else None


def next_float(number: Any, *, upwards: bool) -> float:
    """The float next to a number that is none."""
    near = float(number)
    if upwards:
        return near if near > number else math.nextafter(near, math.inf)
    return near if near < number else math.nextafter(near, -math.inf)


def all_fit(keys: list[Any], key_type: str) -> bool:
    """Whether every key fits."""
    kinds = set(map(type, keys))
    if key_type == "object":
        return True
    if key_type in ("str", "bytes"):
        return kinds == {str if key_type == "str" else bytes}
    if kinds == {float}:
        return key_type == "float64"
    if kinds == {int}:
        return fits(min(keys), key_type) and fits(max(keys), key_type)
    return all(fits(key, key_type) for key in keys)


def type_for(keys: list[Any]) -> KeyType:
    """The narrowest key type that all keys fit."""
    kinds: tuple[KeyType, ...] = ("int64", "float64", "str", "bytes")
    return next((kind for kind in kinds if all_fit(keys, kind)), "object")
