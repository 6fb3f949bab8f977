"""Conditions on a column's value, for `Table.select` and `Table.explain`.

    table.select(user_id=5000, amount=between(10, 20), status=prefix("comp"))

A plain value is the condition to be equal to it, None the condition to have no value. Rows without a value,
that is with None or without the column, meet no other condition, as in SQL; nor does NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.btree._arguments import checked_include
from penstock.errors import InvalidType, InvalidValue, shown

__all__ = [
    "Absent",
    "Condition",
    "Equal",
    "Prefix",
    "Present",
    "Range",
    "Row",
    "above",
    "absent",
    "at_least",
    "at_most",
    "below",
    "between",
    "condition_of",
    "prefix",
    "present",
]

Row = Mapping[str, Any]


class Condition:
    """What a column's value must be for a row to be selected."""

    __slots__ = ()

    def passed(self, column: str, rows: Sequence[Row]) -> list[Row]:
        """Those of `rows` whose value of `column` meets the condition, in their order."""
        try:  # nearly always every row has the column; asking for it costs a third less than asking whether
            return self._passed(column, rows)
        except KeyError:
            return self._passed(column, [row for row in rows if column in row])

    def _passed(self, column: str, rows: Sequence[Row]) -> list[Row]:
        """As `passed`, where every row has the column; else KeyError."""
        raise NotImplementedError


@dataclass(slots=True)
class Equal(Condition):
    """Equal to a value."""

    value: Any

    def _passed(self, column: str, rows: Sequence[Row]) -> list[Row]:
        value = self.value
        return [row for row in rows if row[column] == value]

    def __str__(self) -> str:
        return f"= {shown(self.value)}"


@dataclass(slots=True)
class Range(Condition):
    """Between two values, of which one may be None for an open end."""

    min: Any
    max: Any
    include: tuple[bool, bool]

    def _passed(self, column: str, rows: Sequence[Row]) -> list[Row]:
        min_, max_ = self.min, self.max
        with_min, with_max = self.include
        if max_ is None:
            if with_min:
                return [row for row in rows if (value := row[column]) is not None and value >= min_]
            return [row for row in rows if (value := row[column]) is not None and value > min_]
        if min_ is None:
            if with_max:
                return [row for row in rows if (value := row[column]) is not None and value <= max_]
            return [row for row in rows if (value := row[column]) is not None and value < max_]
        if with_min and with_max:
            return [row for row in rows if (value := row[column]) is not None and min_ <= value <= max_]
        if with_min:
            return [row for row in rows if (value := row[column]) is not None and min_ <= value < max_]
        if with_max:
            return [row for row in rows if (value := row[column]) is not None and min_ < value <= max_]
        return [row for row in rows if (value := row[column]) is not None and min_ < value < max_]

    def __str__(self) -> str:
        words = []
        if self.min is not None:
            words.append(f"{'>=' if self.include[0] else '>'} {shown(self.min)}")
        if self.max is not None:
            words.append(f"{'<=' if self.include[1] else '<'} {shown(self.max)}")
        return " and ".join(words)


@dataclass(slots=True)
class Prefix(Condition):
    """A str or bytes that begins with another."""

    value: str | bytes

    def _passed(self, column: str, rows: Sequence[Row]) -> list[Row]:
        start: Any = self.value
        kind = str if isinstance(start, str) else bytes
        return [row for row in rows if isinstance(value := row[column], kind) and value.startswith(start)]

    def as_range(self) -> Range | None:
        """The same as a range; None where everything begins with it."""
        if not self.value:
            return None
        end = successor(self.value)
        return Range(self.value, end, (True, False))

    def __str__(self) -> str:
        return f"begins with {shown(self.value)}"


@dataclass(slots=True)
class Absent(Condition):
    """None, or no such column."""

    def passed(self, column: str, rows: Sequence[Row]) -> list[Row]:
        """Those without a value."""
        return [row for row in rows if row.get(column) is None]

    def __str__(self) -> str:
        return "is absent"


@dataclass(slots=True)
class Present(Condition):
    """Any value but None."""

    def _passed(self, column: str, rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if row[column] is not None]

    def __str__(self) -> str:
        return "is present"


def condition_of(value: Any) -> Condition:
    """A condition as it is; None: to have no value; any other value: to be equal to it."""
    if isinstance(value, Condition):
        return value
    return Absent() if value is None else Equal(value)


def between(min: Any, max: Any, *, include: tuple[bool, bool] = (True, True)) -> Range:  # noqa: A002
    """Values from `min` to `max`; `include`: whether these two belong to them. None is an open end.

    Raises:
        InvalidValue: both ends are open.
        InvalidType: `include` is no two bools.
    """
    if min is None and max is None:
        raise InvalidValue("min or max must be given, got None for both; present() is every value")
    return Range(min, max, checked_include(include))


def at_least(value: Any) -> Range:
    """Values >= `value`."""
    return between(value, None)


def at_most(value: Any) -> Range:
    """Values <= `value`."""
    return between(None, value)


def above(value: Any) -> Range:
    """Values > `value`."""
    return between(value, None, include=(False, False))


def below(value: Any) -> Range:
    """Values < `value`."""
    return between(None, value, include=(False, False))


def prefix(value: str | bytes) -> Prefix:
    """Values of type str, or of type bytes, that begin with `value`.

    Raises:
        InvalidType: `value` is neither.
    """
    if not isinstance(value, (str, bytes)):
        raise InvalidType(f"prefix must be a str or bytes, got {shown(value)}")
    return Prefix(value)


def absent() -> Absent:
    """No value: None, or a row without the column."""
    return Absent()


def present() -> Present:
    """Any value but None."""
    return Present()


def successor(start: str | bytes) -> str | bytes | None:
    """The least text greater than all that begin with `start`; None when there is none."""
    if isinstance(start, str):
        kept = start.rstrip("\U0010ffff")
        return kept[:-1] + chr(ord(kept[-1]) + 1) if kept else None
    rest = start.rstrip(b"\xff")
    return rest[:-1] + bytes([rest[-1] + 1]) if rest else None
