"""Which shard owns which keys: ranges that do not overlap, and the number of the map."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Any, Generic, NamedTuple, TypeVar

from penstock.errors import InvalidType, InvalidValue
from penstock.sharding.keys import checked_key, shown
from penstock.sharding.shard import NoShard, Shard

__all__ = ["Range", "ShardMap", "Span"]

K = TypeVar("K")
V = TypeVar("V")


class Span(NamedTuple):
    """Bounds of keys, as `Shard.page` takes them; each that is not None holds."""

    first: Any = None
    last: Any = None
    after: Any = None
    before: Any = None

    def __contains__(self, key: Any) -> bool:
        return bool(
            (self.first is None or self.first <= key)
            and (self.last is None or key <= self.last)
            and (self.after is None or self.after < key)
            and (self.before is None or key < self.before)
        )

    def __and__(self, other: "Span") -> "Span":
        return Span(
            highest(self.first, other.first),
            lowest(self.last, other.last),
            highest(self.after, other.after),
            lowest(self.before, other.before),
        )

    def meets(self, other: "Span") -> bool:
        """Whether a key may be in both."""
        return not below(self, other) and not below(other, self)

    def above(self) -> "Span | None":
        """All keys higher than the span; None when it has no upper bound."""
        if self.last is not None:
            return Span(after=self.last)
        return None if self.before is None else Span(first=self.before)


@dataclass(frozen=True, slots=True, eq=False)
class Range(Generic[K, V]):
    """The keys from `first` to `last`, both included, and the shard that has them.

    Args:
        first: the lowest key; None for no lower bound.
        last: the highest key; None for no upper bound, or when `before` is given.
        shard: owns the keys.
        before: the range ends short of this key. For keys such as str, where none is the next lower one.

    Raises:
        ValueError: no key is in the range, both last and before are given, or a bound is NaN.
        TypeError: the bounds cannot be compared.
    """

    first: K | None
    last: K | None
    shard: Shard[K, V]
    before: K | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for bound in (self.first, self.last, self.before):
            if bound is not None:
                checked_key(bound)
        if self.last is not None and self.before is not None:
            raise InvalidValue(
                f"a range must have last or before, got {shown(self.last)} and {shown(self.before)}"
            )
        try:
            empty = below(self.span, self.span)
        except TypeError as error:
            raise InvalidType(f"bounds of a range must be comparable: {error}") from None
        if empty or (self.first is not None and self.first == self.before):
            raise InvalidValue(f"first must be <= last, or < before, got {self}")

    def __str__(self) -> str:
        start = "(" if self.first is None else f"[{shown(self.first)}"
        if self.last is not None:
            return f"{start}, {shown(self.last)}]"
        return f"{start}, )" if self.before is None else f"{start}, {shown(self.before)})"

    @property
    def span(self) -> Span:
        """The bounds, without the shard."""
        return Span(self.first, self.last, None, self.before)


class ShardMap(Generic[K, V]):
    """Ranges in the order of their keys. It never changes: a split or a merge makes another.

    Args:
        ranges: in any order. Keys between them have no shard.
        epoch: the number of the map; each that is made from it has one more.

    Raises:
        ValueError: two ranges overlap, there are none, or epoch is below 1.
        TypeError: bounds cannot be compared, or what is given is no range.

    Attributes:
        ranges: tuple, in order.
        epoch: int.
    """

    __slots__ = ("_firsts", "epoch", "ranges")

    def __init__(self, ranges: Iterable[Range[K, V]], *, epoch: int = 1) -> None:
        if not isinstance(epoch, int):
            raise InvalidType(f"epoch must be an int, got {type(epoch).__name__}")
        if epoch < 1:
            raise InvalidValue(f"epoch must be >= 1, got {shown(epoch)}")
        self.epoch = epoch
        self.ranges = in_order(ranges)
        self._firsts: list[Any] = [range_.first for range_ in self.ranges if range_.first is not None]

    def __repr__(self) -> str:
        return (
            f"<ShardMap {self.epoch}: {' '.join(map(str, self.ranges[:8]))}{' ...' * (len(self.ranges) > 8)}>"
        )

    def find(self, key: K) -> Range[K, V] | None:
        """The range of a key, or None in a gap. Cost: a binary search.

        Raises:
            TypeError: it cannot be compared with the bounds, or is None.
            ValueError: it is NaN.
        """
        checked_key(key)
        try:
            place = self._place(key)
            found = self.ranges[place] if place >= 0 else None
            return found if found is not None and key in found.span else None
        except TypeError as error:
            raise InvalidType(f"key must be comparable with the bounds of the ranges: {error}") from None

    def meeting(self, span: Span) -> list[Range[K, V]]:
        """The ranges that may have keys of a span, in order. Cost: a binary search, and each of them."""
        try:
            lowest_key = highest(span.first, span.after)
            place = 0 if lowest_key is None else max(0, self._place(lowest_key))
            met = takewhile(lambda range_: not below(span, range_.span), self.ranges[place:])
            return [range_ for range_ in met if not below(range_.span, span)]
        except TypeError as error:
            raise InvalidType(f"key must be comparable with the bounds of the ranges: {error}") from None

    def split(self, at: K, new_shard: Shard[K, V]) -> "ShardMap[K, V]":
        """The map in which `new_shard` has the keys from `at` on, of the range that has `at`.

        Raises:
            NoShard: no range has the key.
            ValueError: it is the first of its range.
        """
        old = self.owner(at)
        if at == old.first:
            raise InvalidValue(f"at must be inside a range, got {shown(at)}, the first key of {old}")
        return self._replaced([old], [lower_part(old, at), Range(at, old.last, new_shard, before=old.before)])

    def merge(self, at: K) -> "ShardMap[K, V]":
        """The map in which the range that begins with `at` belongs to the shard of the range before it.

        Raises:
            NoShard: no range has the key.
            ValueError: none begins with it, or there is a gap before it.
        """
        right = self.owner(at)
        place = self.ranges.index(right)
        if right.first != at or not place:
            raise InvalidValue(f"at must be where a range begins that has one before it, got {shown(at)}")
        left = self.ranges[place - 1]
        if not touching(left, right):
            raise InvalidValue(f"ranges that are merged must touch, got {left} and {right}")
        return self._replaced([left, right], [Range(left.first, right.last, left.shard, before=right.before)])

    def move(self, key: K, new_shard: Shard[K, V]) -> "ShardMap[K, V]":
        """The map in which `new_shard` has the range of `key`.

        Raises:
            NoShard: no range has the key.
        """
        old = self.owner(key)
        return self._replaced([old], [Range(old.first, old.last, new_shard, before=old.before)])

    def owner(self, key: K) -> Range[K, V]:
        """The range of a key.

        Raises:
            NoShard: no range has it.
        """
        found = self.find(key)
        if found is None:
            raise NoShard(f"no shard configured for key={shown(key)}")
        return found

    def _place(self, key: K) -> int:
        """Of the last range that does not begin above a key; -1 if all do."""
        return bisect_right(self._firsts, key) - 1 + len(self.ranges) - len(self._firsts)

    def _replaced(self, old: list[Range[K, V]], new: list[Range[K, V]]) -> "ShardMap[K, V]":
        kept = [range_ for range_ in self.ranges if range_ not in old]
        return ShardMap([*kept, *new], epoch=self.epoch + 1)


def in_order(ranges: Iterable[Range[K, V]]) -> tuple[Range[K, V], ...]:
    """The ranges, sorted.

    Raises:
        ValueError: two overlap, or there are none.
        TypeError: bounds cannot be compared, or what is given is no range.
    """
    given = list(ranges)
    for range_ in given:
        if not isinstance(range_, Range):
            raise InvalidType(f"ranges must be Range objects, got {type(range_).__name__}")
    if not given:
        raise InvalidValue("ranges must have at least one range, got none")
    try:
        bounded: list[Any] = [range_ for range_ in given if range_.first is not None]
        bounded.sort(key=lambda range_: range_.first)
        ordered = [*(range_ for range_ in given if range_.first is None), *bounded]
        for left, right in pairwise(ordered):
            if not below(left.span, right.span):
                raise InvalidValue(f"ranges must not overlap, got {left} and {right}")
    except TypeError as error:
        raise InvalidType(f"bounds of ranges must be comparable: {error}") from None
    return tuple(ordered)


def below(low: Span, high: Span) -> bool:
    """Whether every key of `low` is lower than every key of `high`."""
    return (
        (low.last is not None and high.first is not None and low.last < high.first)
        or (low.last is not None and high.after is not None and low.last <= high.after)
        or (low.before is not None and high.first is not None and low.before <= high.first)
        or (low.before is not None and high.after is not None and low.before <= high.after)
    )


def lower_part(range_: Range[Any, Any], at: Any) -> Range[Any, Any]:
    """The range, up to but without a key of it."""
    if type(at) is int and type(range_.first) is int and type(range_.last) is int:
        return Range(range_.first, at - 1, range_.shard)  # as people write ranges of ints
    return Range(range_.first, None, range_.shard, before=at)


def touching(left: Range[Any, Any], right: Range[Any, Any]) -> bool:
    """Whether no key lies between two ranges."""
    if left.before is not None:
        return bool(left.before == right.first)
    return type(left.last) is int and type(right.first) is int and left.last + 1 == right.first


def highest(one: Any, other: Any) -> Any:
    return other if one is None else one if other is None else max(one, other)


def lowest(one: Any, other: Any) -> Any:
    return other if one is None else one if other is None else min(one, other)
